package agx

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

type runOptions struct {
	start      startOptions
	coalesce   int64
	coalesceAt int64
	origin     string
	grace      int64
	messages   *Messages
}

// RunOption changes how a run is begun.
type RunOption func(*runOptions)

// RunStart says how the run starts the session.
func RunStart(options ...StartOption) RunOption {
	return func(o *runOptions) {
		for _, option := range options {
			option(&o.start)
		}
	}
}

// Coalesce gathers the growth of a part for so long, or until it has so many bytes (0: 16384), and
// writes it as one event. Without it every growth is an event.
func Coalesce(window time.Duration, bytes int) RunOption {
	return func(o *runOptions) { o.coalesce, o.coalesceAt = milliseconds(window), int64(bytes) }
}

// ModelOrigin is the origin of the model's events, instead of "pydantic-ai".
func ModelOrigin(origin string) RunOption { return func(o *runOptions) { o.origin = origin } }

// Grace is how long the session's events stay after the run, as with Stop.
func Grace(d time.Duration) RunOption {
	return func(o *runOptions) { o.grace = milliseconds(d) }
}

// WithMessages has Execute load the conversation before the agent, and save it if that succeeded.
func WithMessages(m *Messages) RunOption { return func(o *runOptions) { o.messages = m } }

// Run is one execution of an agent inside a session: it starts the session, turns what the model
// says into events, and ends the session, once, whatever happens.
//
// Once the session is cancelled every method gives ErrCanceled, once it is taken over ErrTakenOver.
// A call that does not fit is ErrState and writes nothing. An error of the store does not end a run:
// what could not be written goes first with the next call, so that the call is not to be repeated;
// the same is true of a call whose context was done.
type Run struct {
	session *Session
	handle  uintptr
	mu      sync.Mutex // a response belongs to the run until the next node
	once    sync.Once
	failed  int32 // Fail was called
}

// Run begins a run. The session has to stay open for as long as the run does.
func (s *Session) Run(ctx context.Context, options ...RunOption) (*Run, error) {
	return s.beginRun(ctx, chosenRun(options))
}

func chosenRun(options []RunOption) runOptions {
	chosen := runOptions{grace: -1}
	for _, option := range options {
		option(&chosen)
	}
	return chosen
}

func (s *Session) beginRun(ctx context.Context, o runOptions) (*Run, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if o.start.detached {
		return nil, invalid("a run cannot be detached: nobody would notice a cancel")
	}
	var t texts
	start, origin := t.optional("origin", o.start.origin), t.optional("origin", o.origin)
	if t.err != nil {
		return nil, t.err
	}
	var handle uintptr
	beginning := command{on: &s.gate, writes: true, undo: func() { s.closeRun(handle) }}
	err := beginning.do(ctx, func() native.Enum_SS_agx_status {
		defer s.begun()
		atomic.StoreInt32(s.ran, 1)
		status := native.Agxb_run_begin(s.handle, o.coalesce, o.coalesceAt, flag(o.start.takeOver),
			o.start.lease, start, origin, o.grace, &handle)
		if status == 0 {
			s.intercepts.hold()
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	r := &Run{session: s, handle: handle}
	runtime.SetFinalizer(r, func(r *Run) { go s.closeRun(r.handle) })
	return r, nil
}

// closeRun closes it in C, whether or not the session still is open.
func (s *Session) closeRun(handle uintptr) {
	native.Agx_run_close(handle)
	s.intercepts.release()
}

// Close ends the run, as failed if it was neither finished nor failed, and frees it. Other than Finish and
// Fail it does not wait for what AddAsync has queued; but for what it writes, and for what is under way, it
// waits as long as the store is waited for. It never fails.
func (r *Run) Close() error {
	if r.session == nil {
		return nil
	}
	r.once.Do(func() {
		runtime.SetFinalizer(r, nil)
		r.mu.Lock() // a text is being copied
		defer r.mu.Unlock()
		_ = call(func() native.Enum_SS_agx_status {
			r.session.closeRun(r.handle)
			return 0
		})
	})
	return nil
}

func (r *Run) do(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if r.session == nil {
		return notOpened("run")
	}
	return command{keep: r, writes: true}.do(ctx, f)
}

func (r *Run) withTexts(ctx context.Context, t *texts, f func() native.Enum_SS_agx_status) error {
	if t.err != nil {
		return t.err
	}
	return r.do(ctx, f)
}

// last is do of what ends the session.
func (r *Run) last(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if r.session == nil {
		return notOpened("run")
	}
	if err := r.session.client.c.adds.drain(ctx, r.session); err != nil {
		return err
	}
	return r.do(ctx, f)
}

// NodeBegin opens the next node: a request to the model.
func (r *Run) NodeBegin(ctx context.Context) error {
	return r.do(ctx, func() native.Enum_SS_agx_status { return native.Agx_run_node_begin(r.handle) })
}

// ToolReturn tells of a tool's result that goes into the request of the node that has just been
// opened; nil is null.
func (r *Run) ToolReturn(ctx context.Context, tool, callID string, result json.RawMessage) error {
	var t texts
	name, call := t.add("tool name", tool), t.add("tool call id", callID)
	content := t.jsonOrNil("result", result)
	return r.withTexts(ctx, &t, func() native.Enum_SS_agx_status {
		return native.Agx_run_tool_return(r.handle, name, call, content)
	})
}

// LastPart is the part that was begun last.
const LastPart = -1

// TextBegin begins a part that is text, and gives its number in this node.
func (r *Run) TextBegin(ctx context.Context, content string) (part int, err error) {
	return r.partBegin(ctx, 0, content)
}

// ThinkingBegin begins a part that is thinking.
func (r *Run) ThinkingBegin(ctx context.Context, content string) (part int, err error) {
	return r.partBegin(ctx, 1, content)
}

func (r *Run) partBegin(ctx context.Context, kind native.Enum_SS_agx_part_kind, content string) (int, error) {
	var t texts
	text := t.add("content", content)
	part := new(int32)
	err := r.withTexts(ctx, &t, func() native.Enum_SS_agx_status {
		return native.Agx_run_part_begin(r.handle, kind, text, part)
	})
	if err != nil {
		return 0, err
	}
	return int(*part), nil
}

// ToolCallBegin begins a tool call, with the first of its arguments (JSON). callID "": one is made
// up. Nothing is written before it ends.
func (r *Run) ToolCallBegin(ctx context.Context, tool, callID, args string) (part int, err error) {
	var t texts
	name, id := t.add("tool name", tool), t.optional("tool call id", callID)
	text := t.add("arguments", args)
	number := new(int32)
	err = r.withTexts(ctx, &t, func() native.Enum_SS_agx_status {
		return native.Agx_run_tool_call_begin(r.handle, name, id, text, number)
	})
	if err != nil {
		return 0, err
	}
	return int(*number), nil
}

// PartDelta lets a part grow.
func (r *Run) PartDelta(ctx context.Context, part int, delta string) error {
	var t texts
	text := t.add("delta", delta)
	return r.withTexts(ctx, &t, func() native.Enum_SS_agx_status {
		return native.Agx_run_part_delta(r.handle, part, text)
	})
}

// PartEnd ends a part. A tool call is written now.
func (r *Run) PartEnd(ctx context.Context, part int) error {
	return r.do(ctx, func() native.Enum_SS_agx_status { return native.Agx_run_part_end(r.handle, part) })
}

// Answer recognises the part that was begun last as the final answer.
func (r *Run) Answer(ctx context.Context) error {
	return r.do(ctx, func() native.Enum_SS_agx_status { return native.Agx_run_answer(r.handle) })
}

// NodeEnd ends the node, and what is open in it, and gives the response as a message for
// Messages.Append.
func (r *Run) NodeEnd(ctx context.Context) (response json.RawMessage, err error) {
	return r.response(ctx, native.Agx_run_node_end)
}

// response also gives one with an error, which holds what there was.
func (r *Run) response(ctx context.Context, f func(uintptr, *unsafe.Pointer, *uint64) native.Enum_SS_agx_status) (json.RawMessage, error) {
	type answer struct {
		sync.Mutex
		bytes []byte
	}
	got := new(answer)
	err := r.do(ctx, func() native.Enum_SS_agx_status {
		r.mu.Lock()
		defer r.mu.Unlock()
		var at unsafe.Pointer
		var length uint64
		status := f(r.handle, &at, &length)
		got.Lock()
		got.bytes = copyOf(at, length)
		got.Unlock()
		return status
	})
	got.Lock()
	defer got.Unlock()
	return got.bytes, err
}

// Flush writes what a coalescing window holds back.
func (r *Run) Flush(ctx context.Context) error {
	return r.do(ctx, func() native.Enum_SS_agx_status { return native.Agx_run_flush(r.handle) })
}

// Feed takes bytes of the body of a model's streaming HTTP response, cut anywhere, and writes what
// they say as the run's events. After the last byte call FeedEnd. ErrModel: the stream reports an
// error, or is none of this API.
func (r *Run) Feed(ctx context.Context, api API, bytes []byte) error {
	if ctx.Done() != nil {
		bytes = append([]byte(nil), bytes...) // the call may outlive this one
	}
	return r.do(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_run_feed(r.handle, native.Enum_SS_agx_model_api(api), bytesOf(bytes),
			int64(len(bytes)))
	})
}

// FeedEnd says that the response is complete, or that no more of it will come: as NodeEnd. With
// ErrModel the response holds what there was.
func (r *Run) FeedEnd(ctx context.Context) (response json.RawMessage, err error) {
	return r.response(ctx, native.Agx_run_feed_end)
}

// Finish ends the run and the session.
func (r *Run) Finish(ctx context.Context) error {
	return r.last(ctx, func() native.Enum_SS_agx_status { return native.Agx_run_finish(r.handle) })
}

// Fail does the same, after an event of the type "error" with the message.
func (r *Run) Fail(ctx context.Context, message string) error {
	var t texts
	text := t.optional("message", message)
	atomic.StoreInt32(&r.failed, 1)
	if t.err != nil {
		return t.err
	}
	return r.last(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_run_fail(r.handle, text)
	})
}

// Execute makes one whole run of an agent: begins it, loads the conversation if WithMessages gives
// one, calls the agent with a context that ends when the session is cancelled, saves the
// conversation if the agent succeeded, and ends the run. What goes wrong, a panic too, becomes an
// event of the type "error"; the session always ends. Execute returns what the agent did, or
// ErrCanceled or ErrTakenOver; a panic goes on.
func (s *Session) Execute(ctx context.Context, agent func(ctx context.Context, r *Run) error, options ...RunOption) (err error) {
	if agent == nil {
		return invalid("Execute has no agent")
	}
	chosen := chosenRun(options)
	r, err := s.beginRun(ctx, chosen)
	if err != nil {
		return err
	}
	defer r.Close()
	throwing(func() { err = s.execute(ctx, r, agent, chosen.messages) }, func(value any) {
		_ = r.Fail(context.Background(), printable(panicText(value)))
	})
	return err
}

func (s *Session) execute(ctx context.Context, r *Run, agent func(ctx context.Context, r *Run) error, messages *Messages) (err error) {
	inner, cancel := s.Context(ctx)
	defer cancel()
	if messages != nil {
		err = messages.Load(inner)
	}
	if err == nil {
		err = agent(inner, r)
	}
	if err == nil && messages != nil {
		err = messages.Save(inner)
	}
	return s.end(r, err)
}

// end ends the run also after its context was done: somebody waits for the session's end.
func (s *Session) end(r *Run, err error) error {
	ctx := context.Background()
	if err == nil && atomic.LoadInt32(&r.failed) != 0 {
		return &Error{Code: ErrFailed, Message: "the agent let the run fail"}
	}
	if err == nil {
		return r.Finish(ctx)
	}
	ended := r.Fail(ctx, printable(err.Error()))
	if errors.Is(ended, ErrCanceled) || errors.Is(ended, ErrTakenOver) {
		return ended // why the agent stopped, whatever it said
	}
	return err
}

// printable is a message that can be passed as a text.
func printable(message string) string {
	out := make([]rune, 0, len(message))
	for _, r := range message {
		if r == 0 {
			r = '\uFFFD'
		}
		out = append(out, r)
	}
	return string(out)
}
