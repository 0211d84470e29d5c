package agx

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// An `end` may stay without a cancel: in a stream that others write as they like.
const endSettles = time.Second

// WaitFor waits for the next event of the session that a condition selects ("": any): how an agent
// waits for what a person answers. The first call after a handle has started the session looks at
// everything from its begin on, on another handle at what comes from now on; each later call goes
// on behind the event that the last one gave, until Start begins another run. io.EOF: the session has ended. ErrGone and ErrGap as
// for Listener.Next, and after ErrGap the next call takes what is left; ErrCanceled and ErrTakenOver,
// at once, if this handle started the session. A call that ends with its context has taken nothing.
// Several goroutines may wait, each for a condition of its own: a call looks at all behind where it
// began, and so two that wait for the same are given the same. Waiting costs no thread.
func (s *Session) WaitFor(ctx context.Context, where string) (Event, error) {
	defer runtime.KeepAlive(s)
	if err := ctx.Err(); err != nil {
		return Event{}, err
	}
	if err := check("condition", where); err != nil {
		return Event{}, err
	}
	if _, err := s.standing(ctx); err != nil {
		return Event{}, err
	}
	after, err := s.waited(ctx)
	if err != nil {
		return Event{}, endIsEOF(err)
	}
	l, err := s.OpenListener(ctx, After(after), Where(where), Wait(-1), Timeout(-1), Limit(1))
	if err != nil {
		return Event{}, err
	}
	defer l.Close()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	lost := make(chan error, 1)
	go func() {
		lost <- s.lose(inner)
		stop()
	}()
	event, err := l.Next(inner)
	if err == nil {
		s.waiting.advance(s, after, event.ID)
		return event, nil
	}
	if ctx.Err() != nil {
		return Event{}, ctx.Err()
	}
	if inner.Err() != nil {
		return Event{}, <-lost
	}
	if lost := s.lostBy(ctx, err); lost != nil {
		return Event{}, lost
	}
	if e, ok := err.(*Error); ok && e.Code == ErrGap {
		s.waiting.rewind(s, after)
	} else if ok && e.EntryID != "" {
		s.waiting.advance(s, after, e.EntryID)
	}
	return Event{}, err
}

// standing tells whether this handle has started the session and watches it, or why it is of no use.
func (s *Session) standing(ctx context.Context) (producing bool, err error) {
	err = s.read(ctx, func() native.Enum_SS_agx_status { return native.Agx_wait_canceled(s.handle, 0) })
	if err == nil {
		return false, &Error{Code: ErrCanceled, Message: "the session was cancelled"}
	}
	producing = isTimeout(err)
	if producing || errors.Is(err, ErrNotLive) {
		err = nil
	}
	return producing, err
}

// lostBy is why the handle is of no use after what a listener has told, or nil. A cancel counts also if
// its `end` was seen first; the handle learns of it, or that it has stopped the session itself, soon.
func (s *Session) lostBy(ctx context.Context, told error) error {
	producing, err := s.standing(ctx)
	if producing && told == io.EOF {
		soon, stop := context.WithTimeout(ctx, endSettles)
		defer stop()
		_ = s.WaitCanceled(soon)
		_, err = s.standing(ctx)
	}
	return err
}

// lose waits until the handle is of no use, and says why.
func (s *Session) lose(ctx context.Context) error {
	for {
		changed := s.waiting.changes()
		producing, err := s.standing(ctx)
		if err != nil {
			return err
		}
		if producing {
			_ = s.WaitCanceled(ctx)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waited is behind what WaitFor goes on. The first time it may ask the store.
func (s *Session) waited(ctx context.Context) (string, error) {
	if err := s.usable(); err != nil {
		return "", err
	}
	position := make([]byte, idSize)
	asking := command{on: &s.gate, room: s.client.c.openings}
	err := asking.do(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_waited(s.handle, &position[0])
	})
	if err != nil {
		return "", err
	}
	return upToNul(position), nil
}

// A waiting is what those who are in WaitFor share.
type waiting struct {
	mu      sync.Mutex    // held while the position is compared and set
	changed chan struct{} // closed when the handle has started the session, or is closed; or nil
}

func (w *waiting) changes() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// tell has those who wait look at the handle again.
func (w *waiting) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// advance goes on behind an event that a call gave which began behind another. A call that was there
// at the same time may be further; in a list that was replaced, less far is ahead.
func (w *waiting) advance(s *Session, from, to string) {
	w.set(s, to, func(now string) bool { return now == from || before(now, to) })
}

// rewind goes on with what is left, if no other call has gone on since.
func (w *waiting) rewind(s *Session, from string) {
	w.set(s, "0-0", func(now string) bool { return now == from })
}

func (w *waiting) set(s *Session, id string, wanted func(now string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	position := make([]byte, idSize)
	copy(position, id)
	now := make([]byte, idSize)
	_ = s.gate.call(func() native.Enum_SS_agx_status {
		status := native.Agx_waited(s.handle, &now[0]) // which is known by now
		if status != 0 || !wanted(upToNul(now)) {
			return status
		}
		return native.Agx_set_waited(s.handle, &position[0])
	})
}

// before compares ids.
func before(one, other string) bool {
	oneMs, oneSequence := numbersOf(one)
	otherMs, otherSequence := numbersOf(other)
	return oneMs < otherMs || oneMs == otherMs && oneSequence < otherSequence
}

func numbersOf(id string) (ms, sequence uint64) {
	head, tail, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(head, 10, 64)
	sequence, _ = strconv.ParseUint(tail, 10, 64)
	return ms, sequence
}
