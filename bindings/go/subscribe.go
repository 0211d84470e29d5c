package agx

import (
	"context"
	"io"
	"sync"
	"syscall"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Subscription calls a function with a session's events, until it, or its client, is closed or the session
// ends: whether or not it is kept, or its session's handle.
type Subscription struct {
	client   *Client // is not collected as long as it goes on
	token    int64
	function func(*Subscription, Event, error)

	mu       sync.Mutex
	returned *sync.Cond
	handle   uintptr // 0: not known yet; the function may be called before who subscribes knows it
	thread   int     // in which the function is running, or 0
	isClosed bool

	done chan struct{}
	err  error // set before done is closed
}

// Queue is how many events, and how many bytes of them, may wait in memory for the function of
// Subscribe; 0: 10,000, and 16 MiB. What is beyond waits in the store.
func Queue(events, bytes int) ListenOption {
	return func(o *listenOptions) { o.queueEvents, o.queueBytes = int64(events), int64(bytes) }
}

// Subscribe calls a function with the session's events, in their order, one call at a time; or with an
// error, as Listener.Next gives it, after which it goes on: ErrGap, ErrGone, those of the store, and
// if an option says so ErrAbsent and ErrSilent. ErrBehind: the function is too slow; nothing is lost.
// io.EOF is the last call. Options are those of a listener; without Wait and Timeout it waits for ever.
//
// All functions of a client are called in turns in one thread, none of the caller's; a slow one gets a
// thread of its own. The function may call everything, and close the subscription. It must not end
// its goroutine (runtime.Goexit, and so testing's FailNow). If it panics it is called no more, and the
// panic goes on in Wait.
func (s *Session) Subscribe(ctx context.Context, function func(s *Subscription, event Event, err error), options ...ListenOption) (*Subscription, error) {
	if function == nil {
		return nil, invalid("a subscription has no function")
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	chosen := listenOptions{wait: -1, timeout: -1}
	for _, option := range options {
		option(&chosen)
	}
	var t texts
	after, where := t.optional("id", chosen.after), t.optional("condition", chosen.where)
	if t.err != nil {
		return nil, t.err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sub := &Subscription{client: s.client, function: function, done: make(chan struct{})}
	sub.returned = sync.NewCond(&sub.mu)
	sub.token = register(sub)
	if !s.client.c.subscribed(sub) {
		unregister(sub.token)
		return nil, closed("client")
	}
	subscribing := command{on: &s.gate, undo: func() { sub.Close() }}
	err := subscribing.do(ctx, func() native.Enum_SS_agx_status {
		s.client.c.closes.wait(maxClosing)
		var handle uintptr
		status := native.Agxb_subscribe(s.handle, where, after, chosen.wait, chosen.timeout,
			flag(chosen.handOnEnd), chosen.limit, chosen.queueEvents, chosen.queueBytes, sub.token,
			&handle)
		if status != 0 {
			sub.end(nil) // unless the client's Close has
			unregister(sub.token)
		} else {
			sub.opened(handle)
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	return sub, nil
}

// opened is told the handle by who subscribes, if no call was.
func (s *Subscription) opened(handle uintptr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle == 0 {
		s.handle = handle
		s.release()
	}
}

// release has it closed in C once it is closed, its function does not run, and its handle is known: each of
// which is so last just once. C then waits for the thread that reads, and that for the store. It holds mu.
func (s *Subscription) release() {
	if !s.isClosed || s.thread != 0 || s.handle == 0 {
		return
	}
	handle, token := s.handle, s.token
	s.client.c.closes.add(func() {
		native.Agx_subscription_close(handle)
		unregister(token) // by which C may have called until now
	})
}

// Close unsubscribes. When it returns no call of the function is running and none will come; called by
// the function, that very call goes on, and is the last. It does not wait for the store. It never fails.
func (s *Subscription) Close() error {
	s.end(closed("subscription"))
	return nil
}

// end does not wait for another that ends it, which may wait for the function, which calls this.
func (s *Subscription) end(why error) {
	if s.client == nil {
		return
	}
	s.mu.Lock()
	if s.isClosed {
		s.mu.Unlock()
		return
	}
	s.isClosed = true
	if s.thread == 0 {
		s.release()
	}
	for s.thread != 0 && s.thread != syscall.Gettid() {
		s.returned.Wait()
	}
	s.mu.Unlock()
	s.client.c.unsubscribed(s)
	s.err = why
	close(s.done)
}

// Done is closed when the function is called no more.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Wait waits until the function is called no more. nil: the session has ended, or the limit is reached.
// ErrClosed: the subscription or its client was closed. If the function panicked, that goes on here.
func (s *Subscription) Wait(ctx context.Context) error {
	if s.client == nil {
		return notOpened("subscription")
	}
	select {
	case <-s.done:
		return raise(s.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Subscription) called(handle uintptr, e Event, err error, _ int64) native.Enum_SS_agx_status {
	s.mu.Lock()
	first := s.handle == 0
	s.handle = handle
	if s.isClosed {
		if first {
			s.release()
		}
		s.mu.Unlock()
		return 0
	}
	s.thread = syscall.Gettid()
	s.mu.Unlock()
	if thrown := caught("a subscription's function", func() { s.function(s, e, err) }); thrown != nil {
		s.end(thrown)
	} else if err == io.EOF {
		s.end(nil)
	}
	s.mu.Lock()
	s.thread = 0
	s.release()
	s.returned.Broadcast()
	s.mu.Unlock()
	return 0
}

func (c *client) subscribed(s *Subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed() {
		return false
	}
	c.subscriptions[s] = struct{}{}
	return true
}

func (c *client) unsubscribed(s *Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.subscriptions, s)
}

func (c *client) allSubscriptions() []*Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*Subscription, 0, len(c.subscriptions))
	for s := range c.subscriptions {
		all = append(all, s)
	}
	return all
}
