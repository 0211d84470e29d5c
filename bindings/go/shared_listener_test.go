package agx_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// Several who take from one listener, some of whom leave.

// A lateContext is one whose end whoever was woken by something else meets first.
type lateContext struct {
	context.Context
	ended chan struct{}
}

func newLateContext() lateContext { return lateContext{background, make(chan struct{})} }

func (c lateContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c lateContext) Err() error {
	select {
	case <-c.ended:
		return context.Canceled
	default:
		return nil
	}
}

// parkedIn counts the goroutines that wait for something in a function.
func parkedIn(function string) (count int) {
	room := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(room[:runtime.Stack(room, true)]), "\n\n") {
		header, frames, _ := strings.Cut(stack, "\n")
		if strings.Contains(header, "[select") && strings.Contains(frames, function) {
			count++
		}
	}
	return count
}

// Whoever was woken and leaves all the same has not taken what there is: another does who waits.
func TestWhoLeavesAListenerWakesAnother(t *testing.T) {
	type wait struct {
		name  string
		begin func(l *agx.Listener, ctx context.Context) (left func() error)
	}
	waits := []wait{
		{"Next", func(l *agx.Listener, ctx context.Context) func() error {
			result := make(chan error, 1)
			go func() {
				_, err := l.Next(ctx)
				result <- err
			}()
			return func() error { return <-result }
		}},
		{"Chan", func(l *agx.Listener, ctx context.Context) func() error {
			items := l.Chan(ctx)
			return func() error {
				if item, more := <-items; more {
					return fmt.Errorf("it gave %v", item)
				}
				return context.Canceled
			}
		}},
	}
	comes := map[string]func(s *agx.Session) error{
		"an event": func(s *agx.Session) error { _, err := s.Add(background, "event", "test", nil); return err },
		"the end":  func(s *agx.Session) error { return s.Stop(background, grace) },
	}
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		for _, shared := range []bool{false, true} {
			if shared { // the client's receiver is another's
				other := listen(t, session(t, c), agx.OnlyNew(), agx.Wait(-1))
				go func() { _, _ = other.Next(background) }()
				until(t, "another receives", func() bool { return inside("(*listener).receive(") == 1 && parkedIn("(*Listener).Next(") == 1 })
			}
			waiting := func() int { return parkedIn("(*Listener).Next(") + parkedIn("(*feed).run(") }
			others := waiting()
			for _, first := range waits {
				for what, come := range comes {
					s := session(t, c)
					must(t, s.Start(background))
					l := listen(t, s, agx.OnlyNew(), agx.Timeout(-1))
					ctx := newLateContext()
					left := first.begin(l, ctx)
					until(t, "the first waits", func() bool { return waiting() == others+1 })
					second := make(chan error, 1)
					go func() {
						_, err := l.Next(background)
						second <- err
					}()
					until(t, "the second waits", func() bool { return waiting() == others+2 })
					close(ctx.ended)
					must(t, come(s))
					select {
					case err := <-second:
						if what == "the end" {
							wantIs(t, err, io.EOF)
						} else {
							must(t, err)
						}
					case <-time.After(10 * time.Second):
						t.Fatalf("%s has come, %s has left, and the other still waits", what, first.name)
					}
					wantIs(t, left(), context.Canceled)
					must(t, l.Close())
				}
			}
		}
	})
}

// numbered starts a session of so many events, which a listener gives from 1 on.
func numbered(t *testing.T, url string, count int) *agx.Listener {
	t.Helper()
	s := session(t, open(t, url))
	must(t, s.Start(background))
	for n := 1; n <= count; n++ {
		add(t, s, n)
	}
	l := listen(t, s)
	want(t, next(t, l).Type, "begin")
	return l
}

func number(t *testing.T, event agx.Event) int {
	t.Helper()
	var body struct{ N int }
	must(t, event.Decode(&body))
	return body.N
}

// What comes after a channel was left begins with what nobody received from it.
func TestAfterAChannelThatWasLeftTheNextIsNext(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 600
		l := numbered(t, url, count)
		for n := 1; n < count-2; {
			ctx, cancel := context.WithCancel(background)
			for item := range l.Chan(ctx) {
				must(t, item.Err)
				want(t, number(t, item.Event), n)
				n++
				break
			}
			cancel()
			event := next(t, l)
			want(t, number(t, event), n)
			want(t, l.Position(), event.ID)
			n++
			// So it is with another channel.
			ctx, cancel = context.WithCancel(background)
			l.Chan(ctx)
			cancel()
			ctx, cancel = context.WithTimeout(background, patience)
			item := <-l.Chan(ctx)
			cancel()
			must(t, item.Err)
			want(t, number(t, item.Event), n)
			want(t, l.Position(), item.Event.ID)
			n++
		}
	})
}

// Several channels hold one event each. Whatever the order in which they are left, theirs is kept.
func TestChannelsThatAreLeftGiveBackInOrder(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count, channels = 200, 4
		l := numbered(t, url, count)
		n := 1
		for ; n+channels < count; n++ {
			ctx, cancel := context.WithCancel(background)
			for i := 0; i < channels; i++ {
				l.Chan(ctx)
			}
			until(t, "each holds an event", func() bool { return parkedIn("(*feed).give(") == channels })
			cancel()
			want(t, number(t, next(t, l)), n)
		}
		for ; n <= count; n++ {
			want(t, number(t, next(t, l)), n)
		}
	})
}

// A channel that nobody reads, and whose context goes on, keeps what it holds, and nobody waits for it.
func TestAChannelThatIsNotReadHoldsNobodyUp(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		l := numbered(t, url, 3)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		l.Chan(ctx)
		until(t, "it holds an event", func() bool { return parkedIn("(*feed).give(") == 1 })
		want(t, number(t, next(t, l)), 2)
		cancel()
		want(t, number(t, next(t, l)), 1)
		want(t, number(t, next(t, l)), 3)
	})
}

// What was received before is never noted behind what Next has given since.
func TestThePositionIsThatOfWhatWasGivenLast(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 1000
		l := numbered(t, url, count)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		items := l.Chan(ctx)
		for n := 0; n < count/4; n++ {
			item := <-items
			must(t, item.Err)
			event := next(t, l)
			want(t, l.Position(), event.ID)
		}
	})
}

// Who is told that something is closed knows what that is.
func TestWhatIsClosedHasANameInGo(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for round := 0; round < 20; round++ {
			c := open(t, url)
			s := session(t, c)
			must(t, s.Start(background))
			const listeners = 200
			all := make([]*agx.Listener, listeners)
			for i := range all {
				all[i] = listen(t, s, agx.OnlyNew())
			}
			told := make(chan error, listeners)
			for i, l := range all {
				i, l := i, l
				go func() {
					if i%4 == 0 {
						told <- (<-l.Chan(background)).Err
						return
					}
					_, err := l.Next(background)
					told <- err
				}()
			}
			must(t, c.Close())
			for range all {
				err := <-told
				wantIs(t, err, agx.ErrClosed)
				if text := err.Error(); text != "agx: the client is closed" && text != "agx: the listener is closed" {
					t.Fatal(text)
				}
			}
		}
	})
}
