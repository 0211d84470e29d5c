package agx

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"time"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// AGX_ID_SIZE of agx.h.
const idSize = 42

// SessionID is who a session is of, and which.
type SessionID struct {
	Scope   int64
	User    int64
	Session string
}

// Session is what a producer starts, adds to and stops, and what listeners are opened on.
type Session struct {
	client *Client
	handle uintptr
	id     SessionID
	once   sync.Once

	queue   sessionQueue
	watch   watch
	waiting waiting
}

// Session opens a session handle. No I/O: whether the session exists makes no difference.
func (c *Client) Session(scope, user int64, session string) (*Session, error) {
	var t texts
	name := t.add("session id", session)
	if t.err != nil {
		return nil, t.err
	}
	var handle uintptr
	err := call(func() native.Enum_SS_agx_status {
		return native.Agx_session_open(c.c.handle, scope, user, name, &handle)
	})
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	s := &Session{client: c, handle: handle, id: SessionID{scope, user, session}}
	runtime.SetFinalizer(s, func(s *Session) { go native.Agx_session_close(s.handle) })
	return s, nil
}

// ID is what the session was opened with.
func (s *Session) ID() SessionID { return s.id }

// Close closes the handle. A session that it started and did not stop stays live until its lease
// runs out. It never fails.
func (s *Session) Close() error {
	s.once.Do(func() {
		runtime.SetFinalizer(s, nil)
		native.Agx_session_close(s.handle)
	})
	return nil
}

func (s *Session) read(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	return command{keep: s}.do(ctx, f)
}

func (s *Session) write(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	return command{keep: s, writes: true}.do(ctx, f)
}

type startOptions struct {
	takeOver bool
	detached bool
	lease    int64
	origin   string
}

// StartOption changes how a session is started.
type StartOption func(*startOptions)

// TakeOver becomes the producer even if the session is live; the other learns of it.
func TakeOver() StartOption { return func(o *startOptions) { o.takeOver = true } }

// Detached neither renews the lease nor watches for cancels: for a program that starts a session
// and exits, leaving others to add to it and to Renew it.
func Detached() StartOption { return func(o *startOptions) { o.detached = true } }

// Lease is how long the session stays live without a sign of its producer, instead of the client's.
func Lease(d time.Duration) StartOption {
	return func(o *startOptions) { o.lease = milliseconds(d) }
}

// Origin is that of `begin` and `end`, instead of "opale".
func Origin(origin string) StartOption { return func(o *startOptions) { o.origin = origin } }

// Start starts the session, in one atomic step, and keeps it live until Stop or Close. ErrBusy: it
// is live already.
func (s *Session) Start(ctx context.Context, options ...StartOption) error {
	var chosen startOptions
	for _, option := range options {
		option(&chosen)
	}
	var t texts
	origin := t.optional("origin", chosen.origin)
	if t.err != nil {
		return t.err
	}
	return s.write(ctx, func() native.Enum_SS_agx_status {
		return native.Agxb_start(s.handle, flag(chosen.takeOver), flag(chosen.detached),
			chosen.lease, origin, 0)
	})
}

// DefaultGrace is how long Stop leaves the events for listeners that are not at the end yet: 5 s.
const DefaultGrace time.Duration = -1

// Stop ends the session, in one atomic step; its events go after grace. ErrTakenOver: another
// producer has it, and nothing was written. ErrNotLive: there is no such session.
func (s *Session) Stop(ctx context.Context, grace time.Duration) error {
	return s.write(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_stop(s.handle, milliseconds(grace))
	})
}

// IsLive asks the store whether the session is live.
func (s *Session) IsLive(ctx context.Context) (bool, error) {
	live := new(int32)
	err := s.read(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_is_live(s.handle, live)
	})
	if err != nil {
		return false, err
	}
	return *live != 0, nil
}

// Renew gives a live session's lease its full length again, without owning it. ErrNotLive.
func (s *Session) Renew(ctx context.Context) error {
	return s.write(ctx, func() native.Enum_SS_agx_status { return native.Agx_renew(s.handle) })
}

// Cancel asks the session's producer to stop, and tells whether the session was live. Anyone may.
func (s *Session) Cancel(ctx context.Context) (wasLive bool, err error) {
	was := new(int32)
	err = s.write(ctx, func() native.Enum_SS_agx_status { return native.Agx_cancel(s.handle, was) })
	if err != nil {
		return false, err
	}
	return *was != 0, nil
}

// IsCanceled tells whether the session that this handle started was cancelled or taken over. No
// I/O: for an agent's inner loop. True of a handle that is closed.
func (s *Session) IsCanceled() bool {
	canceled := native.Agx_is_canceled(s.handle) != 0
	runtime.KeepAlive(s)
	return canceled
}

// Context gives a context that ends when the session that this handle started is cancelled, taken
// over or stopped. Call cancel when it is no longer needed.
func (s *Session) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_ = s.WaitCanceled(inner)
	}()
	return inner, cancel
}

// maxWatchers sessions wait for their cancel in a thread each; any others look every watchInterval.
const (
	maxWatchers   = 16
	watchSlice    = 1000 // milliseconds
	waitSlice     = 200
	watchInterval = 10 * time.Millisecond
)

// A watch waits for a session's cancel, once for all who do.
type watch struct {
	mu      sync.Mutex
	waiters int
	round   *watchRound // or nil
}

type watchRound struct {
	done chan struct{}
	err  error
}

// WaitCanceled waits until the session that this handle started is cancelled: nil. ErrTakenOver:
// another producer has it. ErrNotLive: this handle did not start it, or has stopped it.
func (s *Session) WaitCanceled(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &s.watch
	w.mu.Lock()
	w.waiters++
	if w.round == nil {
		w.round = &watchRound{done: make(chan struct{})}
		go s.watchFor(w.round)
	}
	round := w.round
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.waiters--
		w.mu.Unlock()
	}()
	select {
	case <-round.done:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) watchFor(round *watchRound) {
	w := &s.watch
	for {
		err := s.watchOnce()
		w.mu.Lock()
		if isTimeout(err) && w.waiters > 0 {
			w.mu.Unlock()
			continue
		}
		round.err = err
		w.round = nil
		w.mu.Unlock()
		close(round.done)
		return
	}
}

func (s *Session) watchOnce() error {
	slice := int64(0)
	select {
	case s.client.c.watchers <- struct{}{}:
		slice = watchSlice
		defer func() { <-s.client.c.watchers }()
	default:
		time.Sleep(watchInterval)
	}
	return call(func() native.Enum_SS_agx_status {
		return native.Agx_wait_canceled(s.handle, slice)
	})
}

// A waiting is what WaitFor has begun.
type waiting struct {
	mu    sync.Mutex // held by the one that waits
	where string
	found *Event // by a wait that nobody waited for any more, or nil
}

// WaitFor waits for the next event of the session that a condition selects ("": any): how an agent
// waits for what a person answers. The first call on a handle that started the session looks at
// everything from its begin on, on another handle at what comes from now on; each later call goes
// on behind the event that the last one gave. io.EOF: the session has ended. ErrGone and ErrGap as
// for Listener.Next; ErrCanceled and ErrTakenOver, at once, if this handle started the session. One
// thread waits for each call.
func (s *Session) WaitFor(ctx context.Context, where string) (Event, error) {
	var t texts
	condition := t.optional("condition", where)
	if t.err != nil {
		return Event{}, t.err
	}
	type answer struct {
		event Event
		err   error
	}
	answers := make(chan answer)
	go func() {
		s.waiting.mu.Lock()
		defer s.waiting.mu.Unlock()
		event, err := s.waitFor(ctx, where, condition)
		select {
		case answers <- answer{event, err}:
		case <-ctx.Done():
			if err == nil {
				s.waiting.where, s.waiting.found = where, &event
			}
		}
	}()
	select {
	case a := <-answers:
		return a.event, a.err
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

// waitFor waits in slices, so that it ends some time after its context.
func (s *Session) waitFor(ctx context.Context, where string, condition *byte) (Event, error) {
	if found := s.waiting.found; found != nil && s.waiting.where == where {
		s.waiting.found = nil
		return *found, nil
	}
	b, err := newBatch()
	if err != nil {
		return Event{}, err
	}
	defer b.free()
	for ctx.Err() == nil {
		err := call(func() native.Enum_SS_agx_status {
			return native.Agxb_wait_for_batch(s.handle, condition, waitSlice, b.handle)
		})
		if err == nil {
			return b.events()[0], nil
		}
		if !isTimeout(err) {
			return Event{}, endIsEOF(err)
		}
	}
	return Event{}, ctx.Err()
}

// AddJSON adds an event whose body is a value, as json.Marshal writes it.
func (s *Session) AddJSON(ctx context.Context, kind, origin string, body any) (string, error) {
	bytes, err := json.Marshal(body)
	if err != nil {
		return "", &Error{Code: ErrJSON, Message: err.Error(), cause: err}
	}
	return s.Add(ctx, kind, origin, bytes)
}

// AddInfo adds an event of the type "info" of the origin "opale".
func (s *Session) AddInfo(ctx context.Context, body json.RawMessage) (string, error) {
	return s.Add(ctx, "info", "opale", body)
}

// AddError adds an event of the type "error" of the origin "opale".
func (s *Session) AddError(ctx context.Context, body json.RawMessage) (string, error) {
	return s.Add(ctx, "error", "opale", body)
}
