package agx_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func TestSubscribingWhileTheClientClosesIsSafe(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for round := 0; round < 100; round++ {
			c := open(t, url)
			s := session(t, c)
			ctx, cancel := context.WithCancel(background)
			var all sync.WaitGroup
			for i := 0; i < 4; i++ {
				all.Add(1)
				go func() {
					defer all.Done()
					sub, err := s.Subscribe(ctx, func(*agx.Subscription, agx.Event, error) {})
					if err == nil {
						<-sub.Done()
					} else if !errors.Is(err, agx.ErrClosed) && !errors.Is(err, agx.ErrInvalid) {
						t.Error(err)
					}
				}()
			}
			must(t, c.Close())
			all.Wait()
			cancel()
		}
	})
}

func TestAChannelThatIsLeftGivesTheRestLater(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		for n := 1; n <= 3; n++ {
			add(t, s, n)
		}
		l := listen(t, s)
		ctx, cancel := context.WithCancel(background)
		items := l.Chan(ctx)
		first := <-items
		must(t, first.Err)
		// The next is on offer, and the position is still behind the one that was received.
		until(t, "the position of what was received", func() bool { return l.Position() == first.Event.ID })
		cancel()
		for range items {
		}
		want(t, l.Position(), first.Event.ID)
		for n := 1; n <= 3; n++ {
			want(t, string(next(t, l).Body), fmt.Sprintf(`{"n":%d}`, n))
		}
	})
}

func TestAWaitThatWasGivenUpTakesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		short, cancel := context.WithTimeout(background, 20*time.Millisecond)
		defer cancel()
		_, err := s.WaitFor(short, `type = "a"`)
		wantIs(t, err, context.DeadlineExceeded)
		for _, kind := range []string{"b", "a", "c"} {
			_, err := s.Add(background, kind, "test", nil)
			must(t, err)
		}
		for _, kind := range []string{"b", "c"} {
			event, err := s.WaitFor(background, `type = "`+kind+`"`)
			must(t, err)
			want(t, event.Type, kind)
		}
		_, err = s.WaitFor(background, "type =")
		wantIs(t, err, agx.ErrInvalid)
	})
}

func TestWaitsAreIndependentAndEndWithTheSessionHandle(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		other := another(t, c, s)
		never := make(chan error, 1)
		go func() {
			_, err := other.WaitFor(background, `type = "never"`)
			never <- err
		}()
		got := make(chan error, 1)
		go func() {
			_, err := s.WaitFor(background, `type = "answer"`)
			got <- err
		}()
		_, err := s.Add(background, "answer", "test", nil)
		must(t, err)
		must(t, <-got)
		must(t, other.Close())
		wantIs(t, <-never, agx.ErrClosed)
	})
}

func TestStopComesBehindWhatIsQueued(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		for round := 0; round < 5; round++ {
			s := session(t, c)
			must(t, s.Start(background))
			for n := 0; n < 1000; n++ {
				_, err := s.AddAsync(background, "event", "test", nil)
				must(t, err)
			}
			must(t, s.Stop(background, grace))
			want(t, len(rest(t, listen(t, s))), 1001)
		}
	})
}

func TestACodeIsWhatItStandsFor(t *testing.T) {
	for _, code := range []agx.Code{agx.ErrConnect, agx.ErrStoreTimeout, agx.ErrLoading} {
		wantIs(t, code, agx.ErrUnavailable)
	}
	if errors.Is(agx.ErrBusy, agx.ErrUnavailable) {
		t.Error("busy is not unavailable")
	}
	wantIs(t, session(t, open(t, "memory:")).Execute(background, nil), agx.ErrInvalid)
}
