package agx

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Intercepted is an event on its way. An interceptor changes it by setting what is here.
type Intercepted struct {
	Type   string
	Origin string
	Body   json.RawMessage // nil takes it away
}

// Refuse is an error for an interceptor to return: who adds the event gets it, with this code and
// message.
func Refuse(code Code, message string) error { return &Error{Code: code, Message: message} }

// Interceptor has a say in what a session handle writes, until it is closed.
type Interceptor struct {
	of       *interceptors
	handle   uintptr
	token    int64
	function func(*Intercepted) error
	isClosed int32
	threads  map[int]struct{} // in which the function is running; of.mu's
}

// Intercept calls a function before each event that a condition selects ("": all) is written by this
// session handle: by the Adds, and by its runs. nil: the event is written, as it is by then.
// ErrSwallowed: it is not, and what was to add it returns this. Any other error refuses it: it is not
// written, and what was to add it returns an error that matches, with the code of an *Error or a Code
// in it, or else ErrFailed. A panic refuses it and goes on in who adds it; of events that are added
// asynchronously in Pending.Wait.
//
// What AddChecked and Replace write does not come by, nor what Start, Stop and the end of a run write by
// themselves: `begin`, `end` and a run's closing error.
//
// Interceptors that were registered earlier are called first. Several goroutines that add call it at
// the same time. It may call everything, close the interceptor and the session, and add to the
// session: its own events come by the other interceptors; a context does not cut these short. It must
// not wait for an AddAsync of its session, or for another goroutine that waits for one, as Stop does, nor call a method of the run whose event it has, nor end
// its goroutine (runtime.Goexit, and so testing's FailNow).
//
// It stays until it or the session is closed, whether or not the Interceptor is kept. What goes on when the
// session is closed, a call or a run, writes nothing that was to come by: such an event is refused with
// ErrClosed. A function that refers to the session keeps that from being collected.
func (s *Session) Intercept(where string, function func(*Intercepted) error) (*Interceptor, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if function == nil {
		return nil, invalid("an interceptor has no function")
	}
	var t texts
	condition := t.optional("condition", where)
	if t.err != nil {
		return nil, t.err
	}
	// What is registered does not refer to the session, which can be collected.
	i := &Interceptor{of: s.intercepts, function: function}
	i.token = register(i)
	added := false
	err := s.gate.call(func() native.Enum_SS_agx_status {
		var handle uintptr // not a field: C must not be shown what has Go's pointers beside it
		status := native.Agxb_intercept(s.handle, condition, i.token, &handle)
		if status == 0 {
			i.handle = handle
			added = s.intercepts.add(i)
		}
		return status
	})
	if err != nil {
		unregister(i.token)
		return nil, err
	}
	if !added {
		return nil, closed("session")
	}
	return i, nil
}

// Close takes the interceptor out. When it returns no call of the function is running and none will
// come; called by the function, only that very call goes on. It never fails.
func (i *Interceptor) Close() error {
	if i.of != nil && i.mark() {
		i.close()
	}
	return nil
}

// mark tells whether nobody had closed it, neither by itself nor with its session.
func (i *Interceptor) mark() bool { return atomic.CompareAndSwapInt32(&i.isClosed, 0, 1) }

// close lets events pass by it.
func (i *Interceptor) close() {
	native.Agx_interceptor_close(i.handle)
	unregister(i.token)
	i.of.forget(i)
}

// called is the interceptor's call; inInterceptor looks for it.
func (i *Interceptor) called(handle uintptr, e Event, _ error, _ int64) native.Enum_SS_agx_status {
	if !i.of.enter(i) {
		return refuse(handle, native.AGX_ECLOSED, "the session is closed")
	}
	event := &Intercepted{Type: e.Type, Origin: e.Origin, Body: e.Body}
	var err error
	thrown := caught("an interceptor", func() { err = i.function(event) })
	goesOn := i.of.leave(i)
	if thrown != nil {
		keep(kept{value: thrown.value, panicked: true})
		return refuse(handle, native.AGX_EFAILED, printable(thrown.Error()))
	}
	if err == nil && !goesOn {
		return refuse(handle, native.AGX_ECLOSED, "the session is closed")
	}
	if err == nil {
		err = change(handle, &e, event)
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, ErrSwallowed) {
		return native.AGX_SWALLOWED
	}
	status, message := codeOf(err)
	if status == 0 || status == native.AGX_SWALLOWED {
		status = native.AGX_EFAILED
	}
	keep(kept{err: err})
	return refuse(handle, status, message)
}

func refuse(handle uintptr, status native.Enum_SS_agx_status, message string) native.Enum_SS_agx_status {
	var t texts
	return native.Agx_intercepted_refuse(handle, status, t.add("message", message))
}

// change tells C what the function has set.
func change(handle uintptr, was *Event, is *Intercepted) error {
	var t texts
	kind, origin := t.add("type", is.Type), t.add("origin", is.Origin)
	body := t.jsonOrNil("body", is.Body)
	if t.err != nil {
		return t.err
	}
	return call(func() (status native.Enum_SS_agx_status) {
		if is.Type != was.Type {
			status = native.Agx_intercepted_set_type(handle, kind)
		}
		if status == 0 && is.Origin != was.Origin {
			status = native.Agx_intercepted_set_origin(handle, origin)
		}
		if status == 0 && (is.Body == nil || string(is.Body) != string(was.Body)) {
			status = native.Agx_intercepted_set_body(handle, body)
		}
		return status
	})
}

// What a session has of them. Those that are closed with it stay in C, and refuse, for as long as anybody may
// write: what is under way would be written as if they had never been there.
type interceptors struct {
	count    int32 // read without mu
	mu       sync.Mutex
	returned *sync.Cond // a function, of a session that is closed
	all      map[*Interceptor]struct{}
	closed   bool           // with the session
	left     []*Interceptor // closed with it, and still there in C
	writers  int            // the session's handle, and its runs
}

func newInterceptors() *interceptors {
	l := &interceptors{all: map[*Interceptor]struct{}{}, writers: 1}
	l.returned = sync.NewCond(&l.mu)
	return l
}

func (l *interceptors) any() bool { return atomic.LoadInt32(&l.count) > 0 }

// add is for a writer. False: it is closed already, with the session.
func (l *interceptors) add(i *Interceptor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[i] = struct{}{}
	atomic.StoreInt32(&l.count, int32(len(l.all)))
	if l.closed && i.mark() {
		l.left = append(l.left, i)
	}
	return !l.closed
}

func (l *interceptors) forget(i *Interceptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, i)
	atomic.StoreInt32(&l.count, int32(len(l.all)))
}

// enter begins a call of the function, unless the session is closed.
func (l *interceptors) enter(i *Interceptor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if i.threads == nil {
		i.threads = map[int]struct{}{}
	}
	i.threads[syscall.Gettid()] = struct{}{} // once: C leaves an interceptor out that the thread is in
	return true
}

// leave ends it, and tells whether the session is still open.
func (l *interceptors) leave(i *Interceptor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(i.threads, syscall.Gettid())
	if l.closed {
		l.returned.Broadcast()
	}
	return !l.closed
}

// refuse is the session's that is about to close: from now on they refuse.
func (l *interceptors) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// close comes behind it. It waits for the functions that run, but for those that it is called by.
func (l *interceptors) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.all {
		if i.mark() {
			l.left = append(l.left, i)
		}
	}
	self := syscall.Gettid()
	for _, i := range l.left {
		for i.runsBeside(self) {
			l.returned.Wait()
		}
	}
}

// runsBeside tells whether the function is running in another thread. It holds of.mu.
func (i *Interceptor) runsBeside(thread int) bool {
	_, own := i.threads[thread]
	return len(i.threads) > 1 || len(i.threads) == 1 && !own
}

// hold is for a writer, and lets another in.
func (l *interceptors) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writers++
}

// release is for a writer that writes no more. With the last they go.
func (l *interceptors) release() {
	l.mu.Lock()
	l.writers--
	var left []*Interceptor
	if l.writers == 0 {
		left, l.left = l.left, nil
	}
	l.mu.Unlock()
	for _, i := range left {
		i.close()
	}
}
