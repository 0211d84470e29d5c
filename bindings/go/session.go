package agx

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// AGX_ID_SIZE and AGX_NAME_MAX of agx.h.
const (
	idSize  = 42
	nameMax = 256
)

// SessionID is who a session is of, and which.
type SessionID struct {
	Scope   int64
	User    int64
	Session string
}

// Session is what a producer starts, adds to and stops, and what listeners are opened on.
type Session struct {
	client *Client
	gate
	id  SessionID
	ran *int32 // it has had a run

	queue      sessionQueue
	watch      watch
	waiting    waiting
	intercepts *interceptors
}

// Session opens a session handle. No I/O: whether the session exists makes no difference.
func (c *Client) Session(scope, user int64, session string) (*Session, error) {
	if c.c == nil {
		return nil, notOpened("client")
	}
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
	return c.sessionOf(handle, SessionID{scope, user, session}), nil
}

func (c *Client) sessionOf(handle uintptr, id SessionID) *Session {
	// A run may still be ending, also one that was closed while the store was silent: C waits for that.
	ran, closes, intercepts := new(int32), &c.c.closes, newInterceptors()
	free := func(handle uintptr) {
		if atomic.LoadInt32(ran) == 0 {
			native.Agx_session_close(handle)
		} else {
			closes.add(func() { native.Agx_session_close(handle) })
		}
		intercepts.release()
	}
	s := &Session{client: c, gate: newGate(handle, "session", free), id: id, ran: ran, intercepts: intercepts}
	runtime.SetFinalizer(s, func(s *Session) { go s.close() })
	return s
}

type streamOptions struct {
	format    string
	maxLength int64
	expire    int64
	prefix    string
	tagged    bool
}

// StreamOption changes how a stream is opened by its name.
type StreamOption func(*streamOptions)

// Format is which framework's stream it is, instead of the client's: "openai-agents",
// "agent-framework" or "ag2".
func Format(format string) StreamOption { return func(o *streamOptions) { o.format = format } }

// MaxLength is about how many entries the stream keeps; not of "ag2".
func MaxLength(entries int) StreamOption {
	return func(o *streamOptions) { o.maxLength = int64(entries) }
}

// Expire is how long after its last entry a stream of "agent-framework" goes, instead of 10 minutes. Other
// formats refuse it.
func Expire(d time.Duration) StreamOption {
	return func(o *streamOptions) { o.expire = milliseconds(d) }
}

// Prefix is the first part of an "ag2" stream's keys, instead of "ag2:stream".
func Prefix(prefix string) StreamOption { return func(o *streamOptions) { o.prefix = prefix } }

// Tagged publishes on "ag2" with an instance id, as newer versions of it do, and older cannot read. Other
// formats refuse it.
func Tagged() StreamOption { return func(o *streamOptions) { o.tagged = true } }

// Stream opens a session by its stream's name, in the format of another agent framework: no I/O. For
// "openai-agents" the name is the key itself, for "agent-framework" the conversation's id, for "ag2"
// the stream's. What is added that the format cannot hold is ErrUnsupported. "openai-agents" and "ag2"
// have no end: who listens when the session is stopped is told ErrGone, and a listener that comes later
// ErrSilent, after its timeout.
func (c *Client) Stream(name string, options ...StreamOption) (*Session, error) {
	if c.c == nil {
		return nil, notOpened("client")
	}
	var chosen streamOptions
	for _, option := range options {
		option(&chosen)
	}
	var t texts
	nameText := t.add("stream's name", name)
	format, prefix := t.optional("format", chosen.format), t.optional("prefix", chosen.prefix)
	if t.err != nil {
		return nil, t.err
	}
	var handle uintptr
	err := call(func() native.Enum_SS_agx_status {
		return native.Agxb_stream_open(c.c.handle, nameText, format, chosen.maxLength, chosen.expire,
			prefix, flag(chosen.tagged), &handle)
	})
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	return c.sessionOf(handle, SessionID{Session: name}), nil
}

// ID is what the session was opened with; of a Stream the name alone.
func (s *Session) ID() SessionID { return s.id }

// Close closes the handle. A session that it started and did not stop stays live until its lease
// runs out. Its interceptors are closed as well: when it returns no call of their functions is running and none
// will come, but the one that it is called by. Who waits in WaitFor or WaitCanceled gets ErrClosed, as do events
// of AddAsync that were not sent yet. Its listeners, subscriptions and groups stay open, each
// until its own Close or the client's. A command that is under way goes on, and Close does not wait for it.
// It never fails.
func (s *Session) Close() error {
	if !s.wasOpened() {
		return nil
	}
	runtime.SetFinalizer(s, nil)
	s.close()
	return nil
}

// close does not wait for another that is closing it, which may wait for who calls this.
func (s *Session) close() {
	s.intercepts.refuse() // first: who is told that the session is closed finds them so as well
	if s.gate.shut() {
		s.waiting.tell()
		s.client.c.adds.drop(s)
		s.intercepts.close()
		s.gate.leave()
	}
}

// usable tells why there is nothing to be done with it, or nil.
func (s *Session) usable() error {
	if s.client == nil {
		return notOpened("session")
	}
	if s.gate.isShut() {
		return closed("session")
	}
	return nil
}

func (s *Session) read(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if err := s.usable(); err != nil {
		return err
	}
	return command{on: &s.gate}.do(ctx, f)
}

func (s *Session) write(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if err := s.usable(); err != nil {
		return err
	}
	return command{on: &s.gate, writes: true}.do(ctx, f)
}

// writeBehind is write of what comes behind the events that were added before.
func (s *Session) writeBehind(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := s.client.c.adds.drain(ctx, s); err != nil {
		return err
	}
	return s.write(ctx, f)
}

type startOptions struct {
	takeOver bool
	detached bool
	lease    int64
	origin   string
	keep     bool
}

// StartOption changes how a session is started.
type StartOption func(*startOptions)

// TakeOver becomes the producer even if the session is live; the other learns of it.
func TakeOver() StartOption { return func(o *startOptions) { o.takeOver = true } }

// Keep, with TakeOver, goes on with the stream where it was also if the session is not live any more:
// for who goes on with what an earlier process began.
func Keep() StartOption { return func(o *startOptions) { o.keep = true } }

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
	return s.writeBehind(ctx, func() native.Enum_SS_agx_status {
		defer s.begun()
		return native.Agxb_start(s.handle, flag(chosen.takeOver), flag(chosen.detached),
			chosen.lease, origin, flag(chosen.keep))
	})
}

// DefaultGrace is how long Stop leaves the events for listeners that are not at the end yet: 5 s.
const DefaultGrace time.Duration = -1

// Stop ends the session, in one atomic step; its events go after grace. It first waits until what AddAsync
// has queued is stored, or has failed; if ctx is done by then nothing was written. ErrTakenOver: another
// producer has it, and nothing was written. ErrNotLive: there is no such session.
func (s *Session) Stop(ctx context.Context, grace time.Duration) error {
	return s.writeBehind(ctx, func() native.Enum_SS_agx_status {
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
	canceled := s.gate.isShut() || native.Agx_is_canceled(s.handle) != 0
	runtime.KeepAlive(s)
	return canceled
}

// Context gives a context that ends when the session that this handle started is cancelled, taken
// over or stopped; before Start it has ended already. WaitCanceled tells which it was. Call cancel when
// it is no longer needed.
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
	watchInterval = 10 * time.Millisecond
)

// A watch waits for a session's cancel, once for all who do.
type watch struct {
	mu    sync.Mutex
	round *watchRound // or nil
}

// A watchRound is of one run: what it is told of that is nothing to who waits in the next.
type watchRound struct {
	waiters int
	done    chan struct{}
	err     error
}

// begun is called when the session was started, or would not be.
func (s *Session) begun() {
	s.watch.mu.Lock()
	s.watch.round = nil
	s.watch.mu.Unlock()
	s.waiting.tell()
}

// WaitCanceled waits until the session that this handle started is cancelled: nil. ErrTakenOver:
// another producer has it. ErrNotLive: this handle did not start it, or has stopped it.
func (s *Session) WaitCanceled(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &s.watch
	w.mu.Lock()
	if w.round == nil {
		w.round = &watchRound{done: make(chan struct{})}
		go s.watchFor(w.round)
	}
	round := w.round
	round.waiters++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		round.waiters--
		w.mu.Unlock()
	}()
	select {
	case <-round.done:
		return round.err
	case <-s.over: // of which the round learns when it comes back from C
		return closed("session")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) watchFor(round *watchRound) {
	w := &s.watch
	for {
		err := s.watchOnce()
		w.mu.Lock()
		if isTimeout(err) && round.waiters > 0 {
			w.mu.Unlock()
			continue
		}
		round.err = err
		if w.round == round {
			w.round = nil
		}
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
	return s.gate.call(func() native.Enum_SS_agx_status {
		return native.Agx_wait_canceled(s.handle, slice)
	})
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
