package agx

import (
	"context"
	"errors"
	"time"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// ProcessOptions says how a group's events are handled; its zero value is the default.
type ProcessOptions struct {
	MaxAttempts int           // after so many an event goes to the dead letters; 0: 3
	ClaimIdle   time.Duration // what others have left for so long is taken over; 0: 5 min; negative: never
	Count       int           // events that are taken at once; 0: 16; at most 1000
	Backoff     time.Duration // before the second attempt, then twice as long each time; 0: 100 ms
	BackoffMax  time.Duration // but no longer; 0: 30 s
	Outage      time.Duration // so long it goes on while the store fails; 0: for ever; negative: not at all
	Timeout     time.Duration // ErrTimeout after so long without an event; 0: never
	Limit       int           // it ends after so many events; 0: none

	// Called after an attempt has failed. An error that it returns stops Process, which returns it.
	OnFailure func(event Event, attempt int, err error) error
}

// errStopped is what a handler answers that did not handle an event, and did not fail either.
var errStopped = errors.New("the handler was told to stop")

// A process is one Process under way. Its handler is called by the goroutine of who called Process, so
// that a panic is there as it was thrown; the thread that is in C waits for it.
type process struct {
	group      *Group
	handler    func(event Event, attempt int) error
	options    ProcessOptions
	deliveries chan delivery
	answers    chan error // of the handler
	token      int64
	stopped    error // by OnFailure
	over       chan struct{}
	result     error // set before over is closed
}

type delivery struct {
	event   Event
	attempt int
}

// Process hands the group's events to a handler, until ctx is done: first what is pending for this
// consumer, then new ones and those that other consumers have left. An event whose handler returns nil
// is acknowledged. One whose handler returns an error is tried again after a pause, and after
// MaxAttempts goes to the dead letters, with the error's text as the reason. So an event is handled at
// least once, or becomes a dead letter, whatever dies. It goes on when the connection is lost.
//
// The handler is called in this goroutine, one call at a time. It may use the group's other methods,
// but for Read (ErrBusy), and close it. attempt counts from 1. When ctx is done Process returns its
// error once it has finished what it holds; the handler is still called for that. One that then returns
// ctx's error has not failed: its event comes again, with the attempts that it had. A panic is a failed
// attempt, and goes on out of Process; so does the error of OnFailure. What was held then comes again.
//
// It waits for a Read that is under way. nil: the limit is reached. ErrBusy: it is under way on this
// group already. Errors of the store only beyond Outage.
func (g *Group) Process(ctx context.Context, handler func(event Event, attempt int) error, options ProcessOptions) error {
	if handler == nil {
		return invalid("Process has no handler")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := g.beginProcess(ctx); err != nil {
		return err
	}
	defer g.endProcess()
	for {
		p := &process{group: g, handler: handler, options: options, deliveries: make(chan delivery),
			answers: make(chan error), over: make(chan struct{})}
		p.token = register(p)
		err := p.run(ctx)
		switch {
		case p.stopped != nil:
			return p.stopped
		case g.gate.isShut():
			return closed("group")
		case !isInterrupted(err):
			if isLimit(err) {
				return nil
			}
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		// An interrupt that came too late for the Read that it was meant for is nobody's.
	}
}

func (g *Group) beginProcess(ctx context.Context) error {
	if err := g.takeTurn(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.processing = true
	g.held = nil // is pending, and so comes first
	return nil
}

func (g *Group) endProcess() {
	g.mu.Lock()
	g.processing = false
	g.mu.Unlock()
	<-g.reading
}

// run lets C process, in a thread of its own, and serves what it hands out.
func (p *process) run(ctx context.Context) error {
	go p.process()
	defer p.finish()
	done := ctx.Done()
	for {
		select {
		case <-p.over:
			return p.result
		case <-done:
			done = nil
			p.group.interrupt()
		case d := <-p.deliveries:
			p.serve(ctx, d)
		}
	}
}

func (p *process) process() {
	o := &p.options
	outage, timeout := int64(-1), int64(-1)
	if o.Outage > 0 {
		outage = milliseconds(o.Outage)
	} else if o.Outage < 0 {
		outage = 0
	}
	if o.Timeout > 0 {
		timeout = milliseconds(o.Timeout)
	}
	p.result = p.group.gate.call(func() native.Enum_SS_agx_status {
		return native.Agxb_group_process(p.group.handle, int64(o.MaxAttempts),
			milliseconds(o.ClaimIdle), int64(o.Count), milliseconds(o.Backoff),
			milliseconds(o.BackoffMax), outage, timeout, int64(o.Limit), p.token)
	})
	close(p.over)
}

// serve calls the handler. If it does not come back the attempt has failed all the same.
func (p *process) serve(ctx context.Context, d delivery) {
	err := errors.New("the handler ended its goroutine")
	returned := false
	defer func() {
		if !returned {
			p.group.interrupt()
		}
		p.answers <- err
		if !returned {
			p.finish() // and a panic goes on when C has come back
		}
	}()
	throwing(func() { err = p.attempt(ctx, d) }, func(value any) { err = &thrown{value} })
	returned = true
}

func (p *process) attempt(ctx context.Context, d delivery) error {
	if p.stopped != nil {
		return errStopped
	}
	err := p.handler(d.event, d.attempt)
	if done := ctx.Err(); done != nil && errors.Is(err, done) {
		return errStopped
	}
	if err != nil && p.options.OnFailure != nil {
		if p.stopped = p.options.OnFailure(d.event, d.attempt, err); p.stopped != nil {
			p.group.interrupt()
		}
	}
	return err
}

// finish waits until C has come back. What it holds is still handed out: it is not handled any more.
func (p *process) finish() {
	for {
		select {
		case <-p.over:
			unregister(p.token)
			return
		case <-p.deliveries:
			p.answers <- errStopped
		}
	}
}

// called hands an event to the goroutine of Process.
func (p *process) called(handle uintptr, e Event, _ error, attempt int64) native.Enum_SS_agx_status {
	p.deliveries <- delivery{e, int(attempt)}
	err := <-p.answers
	if err == nil {
		return 0
	}
	if err == errStopped {
		return native.AGX_INTERRUPTED
	}
	var t texts
	native.Agx_group_fail_reason(handle, t.add("reason", printable(err.Error())))
	return native.AGX_EFAILED
}
