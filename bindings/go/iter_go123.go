//go:build go1.23

package agx

import (
	"context"
	"io"
	"iter"
)

// Listen opens a listener and gives its events, and closes it in the end:
//
//	for event, err := range session.Listen(ctx) {
//		if err != nil { … }
//	}
//
// The end of the session ends the loop. An error that a listener survives (see Listener.Next) is
// given once, and the loop goes on if its body lets it; any other ends the loop.
func (s *Session) Listen(ctx context.Context, options ...ListenOption) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		l, err := s.OpenListener(ctx, options...)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer l.Close()
		l.All(ctx)(yield)
	}
}

// All gives what Next does, until the end. The listener stays open.
func (l *Listener) All(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := l.Next(ctx)
			if err == io.EOF || !yield(event, err) {
				return
			}
			if err != nil && (ctx.Err() != nil || isClosed(err)) {
				return
			}
		}
	}
}

// All gives the live sessions.
func (q *Query) All(ctx context.Context) iter.Seq2[SessionID, error] {
	return func(yield func(SessionID, error) bool) {
		for {
			id, err := q.Next(ctx)
			if err == io.EOF || !yield(id, err) || err != nil {
				return
			}
		}
	}
}
