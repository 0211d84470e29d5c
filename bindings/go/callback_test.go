package agx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func TestClosedGroupsInterceptorsAndSubscriptions(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		must(t, g.Close())
		must(t, g.Close())
		fine := func(*agx.Intercepted) error { return nil }
		calls := map[string]func() error{
			"Read":              func() error { _, err := g.Read(background, 1); return err },
			"Ack":               func() error { _, err := g.Ack(background, "1-1"); return err },
			"Claim":             func() error { _, err := g.Claim(background, 0, "1-1"); return err },
			"AutoClaim":         func() error { _, _, err := g.AutoClaim(background, 0, "", 1); return err },
			"Pending":           func() error { _, err := g.Pending(background); return err },
			"PendingEvents":     func() error { _, err := g.PendingEvents(background, agx.PendingFilter{}); return err },
			"Consumers":         func() error { _, err := g.Consumers(background); return err },
			"Health":            func() error { _, err := g.Health(background); return err },
			"DeleteConsumer":    func() error { _, err := g.DeleteConsumer(background, "x"); return err },
			"Delete":            func() error { return g.Delete(background) },
			"DeadLetters":       func() error { _, err := g.DeadLetters(background, "", 0); return err },
			"Replay":            func() error { _, err := g.Replay(background, "1-1"); return err },
			"DeleteDeadLetters": func() error { _, err := g.DeleteDeadLetters(background, "1-1"); return err },
			"Process": func() error {
				return g.Process(background, func(agx.Event, int) error { return nil }, agx.ProcessOptions{})
			},
			"Group":      func() error { _, err := s.Group(background, "x", agx.GroupOptions{}); return err },
			"Groups":     func() error { _, err := s.Groups(background); return err },
			"Intercept":  func() error { _, err := s.Intercept("", fine); return err },
			"Replace":    func() error { _, err := s.Replace(background, nil); return err },
			"Drop":       func() error { _, err := s.Drop(background); return err },
			"AddChecked": func() error { return s.AddChecked(background, nil, "x", "", "1") },
			"Checkpoint": func() error { _, err := s.Checkpoint(background, "x"); return err },
			"Subscribe": func() error {
				_, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {})
				return err
			},
		}
		must(t, s.Close())
		for name, call := range calls {
			if err := call(); !errors.Is(err, agx.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestClosingAGroupEndsWhoWaits(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		for i := 0; i < 10; i++ {
			one, two, three := group(t, s, "one"), group(t, s, "two"), group(t, s, "three")
			results := make(chan error, 4)
			for _, g := range []*agx.Group{one, one} {
				g := g
				go func() {
					_, err := g.Read(background, 1)
					results <- err
				}()
			}
			go func() {
				results <- two.Process(background, func(agx.Event, int) error { return nil }, agx.ProcessOptions{})
			}()
			if i%2 == 0 {
				// Else it may be before that.
				until(t, "all wait", func() bool {
					return inside("(*Group).Read(") == 2 && inside("Agxb_group_batch(") == 1 &&
						inside("Agxb_group_process(") == 1
				})
			}
			must(t, one.Close())
			must(t, two.Close())
			for n := 0; n < 3; n++ {
				wantIs(t, <-results, agx.ErrClosed)
			}
			must(t, three.Close())
		}
		g := group(t, s, "four")
		result := make(chan error, 1)
		go func() {
			_, err := g.Read(background, 1)
			result <- err
		}()
		until(t, "the read waits", func() bool { return inside("Agxb_group_batch(") == 1 })
		must(t, c.Close())
		wantIs(t, <-result, agx.ErrClosed)
	})
}

func TestAHandlerClosesWhatItLikes(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		add(t, s, 1)
		g := group(t, s, "one")
		err := g.Process(background, func(agx.Event, int) error { return g.Close() }, agx.ProcessOptions{})
		wantIs(t, err, agx.ErrClosed)
		_, err = g.Pending(background)
		wantIs(t, err, agx.ErrClosed)
		again, err := s.Group(background, "others", agx.GroupOptions{})
		must(t, err)
		err = again.Process(background, func(agx.Event, int) error { return c.Close() }, agx.ProcessOptions{})
		wantIs(t, err, agx.ErrClosed)
	})
}

func TestSubscribingWhileTheClientCloses(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for round := 0; round < 50; round++ {
			c := open(t, url)
			s := session(t, c)
			var all sync.WaitGroup
			for i := 0; i < 8; i++ {
				all.Add(1)
				go func() {
					defer all.Done()
					for {
						sub, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {})
						if err == nil {
							err = sub.Close()
						}
						if errors.Is(err, agx.ErrClosed) {
							return
						}
					}
				}()
			}
			c.Close()
			all.Wait()
		}
	})
}

// A panic stops it: what is held is left for later, without an attempt more than it had.
func TestAPanicOfAHandlerLeavesTheOthersAsTheyWere(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		for n := 0; n < 10; n++ {
			add(t, s, n)
		}
		calls := 0
		value := thrownBy(func() {
			_ = g.Process(background, func(agx.Event, int) error { calls++; panic("oh no") }, agx.ProcessOptions{Count: 10})
		})
		want(t, value == "oh no", true)
		want(t, calls, 1)
		pending, err := g.PendingEvents(background, agx.PendingFilter{})
		must(t, err)
		want(t, len(pending), 10)
		for i, event := range pending {
			if i == 0 {
				want(t, event.Attempts, int64(1))
			} else {
				want(t, event.Attempts, int64(0))
			}
		}
		handled := 0
		must(t, g.Process(patient(t), func(event agx.Event, attempt int) error {
			if handled == 0 {
				want(t, attempt, 2)
			} else {
				want(t, attempt, 1)
			}
			handled++
			return nil
		}, agx.ProcessOptions{Limit: 10}))
		want(t, handled, 10)
	})
}

// An error of OnFailure ends it at once.
func TestWhatIsHeldWhenOnFailureEndsItComesAgain(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		for n := 0; n < 5; n++ {
			add(t, s, n)
		}
		calls, enough := 0, errors.New("enough")
		options := agx.ProcessOptions{MaxAttempts: 2, OnFailure: func(agx.Event, int, error) error { return enough }}
		for end := 1; end <= 10; end++ {
			err := g.Process(patient(t), func(agx.Event, int) error { calls++; return errors.New("no") }, options)
			want(t, err == enough, true)
			want(t, calls, end)
		}
		letters, err := g.DeadLetters(background, "", 0)
		must(t, err)
		want(t, len(letters), 5)
		for _, letter := range letters {
			want(t, letter.Attempts, int64(2))
		}
	})
}

// A handler that has its process's context, and returns its error, takes no attempt from its event.
func TestAHandlerThatIsToldToStopHasNotFailed(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		add(t, s, 1)
		add(t, s, 2)
		once := agx.ProcessOptions{MaxAttempts: 1, OnFailure: func(_ agx.Event, _ int, err error) error {
			t.Error(err)
			return nil
		}}
		for stop := 0; stop < 3; stop++ {
			ctx, cancel := context.WithCancel(patient(t))
			wantIs(t, g.Process(ctx, func(_ agx.Event, attempt int) error {
				want(t, attempt, 1)
				cancel()
				return fmt.Errorf("the model: %w", ctx.Err())
			}, once), context.Canceled)
		}
		once.Limit = 2
		must(t, g.Process(patient(t), func(_ agx.Event, attempt int) error {
			want(t, attempt, 1)
			return nil
		}, once))
		letters, err := g.DeadLetters(background, "", 0)
		must(t, err)
		want(t, len(letters), 0)
		// One whose own context is done, while that of its process is not, has failed.
		add(t, s, 3)
		once.OnFailure = nil
		once.Limit = 1
		must(t, g.Process(patient(t), func(agx.Event, int) error { return context.Canceled }, once))
		letters, err = g.DeadLetters(background, "", 0)
		must(t, err)
		want(t, len(letters), 1)
	})
}

// A test's FailNow in a handler ends that test, and nothing else.
func TestAHandlerMayEndItsGoroutine(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		add(t, s, 1)
		add(t, s, 2)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = g.Process(background, func(agx.Event, int) error { runtime.Goexit(); return nil }, agx.ProcessOptions{MaxAttempts: 1})
		}()
		<-ended
		letters, err := g.DeadLetters(background, "", 0)
		must(t, err)
		want(t, len(letters), 1)
		add(t, s, 3)
		must(t, g.Process(patient(t), func(agx.Event, int) error { return nil }, agx.ProcessOptions{Limit: 2}))
	})
}

// In an interceptor C's frames would be torn down with the goroutine: the process ends, and says why.
func TestAnInterceptorMayNotEndItsGoroutine(t *testing.T) {
	if os.Getenv("AGX_TEST_GOEXIT") != "" {
		s := session(t, open(t, "memory:"))
		_, err := s.Intercept("", func(*agx.Intercepted) error { runtime.Goexit(); return nil })
		must(t, err)
		add(t, s, 1)
		return
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), "AGX_TEST_GOEXIT=1")
	output, err := command.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "agx: an interceptor has ended its goroutine") {
		t.Fatalf("%v: %s", err, output)
	}
}

// panics tells also of panic(nil), of which recover gives nothing.
func panics(f func()) (it bool) {
	defer func() { _ = recover() }()
	it = true
	f()
	return false
}

// Also of panic(nil) whoever calls is told, as of any other; it is not runtime.Goexit.
func TestAPanicOfNothingIsAPanic(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		i, err := s.Intercept("", func(*agx.Intercepted) error { panic(nil) })
		must(t, err)
		for name, add := range map[string]func(){
			"direct":  func() { _, _ = s.Add(background, "event", "test", nil) },
			"context": func() { _, _ = s.Add(ctx, "event", "test", nil) },
			"many":    func() { _, _ = s.AddMany(background, []agx.NewEvent{{Type: "event", Origin: "test"}}) },
			"async": func() {
				p, err := s.AddAsync(background, "event", "test", nil)
				must(t, err)
				_, _ = p.Wait(background)
			},
		} {
			if !panics(add) {
				t.Errorf("%s: the interceptor's panic does not go on", name)
			}
		}
		must(t, i.Close())
		events, err := s.History(background, agx.HistoryRange{})
		must(t, err)
		want(t, len(events), 0)

		g := group(t, s, "one")
		add(t, s, 1)
		calls := 0
		want(t, panics(func() {
			_ = g.Process(patient(t), func(agx.Event, int) error { calls++; panic(nil) }, agx.ProcessOptions{MaxAttempts: 1})
		}), true)
		want(t, calls, 1)
		letters, err := g.DeadLetters(background, "", 0)
		must(t, err)
		want(t, len(letters), 1)

		sub, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) { panic(nil) })
		must(t, err)
		want(t, panics(func() { _ = sub.Wait(patient(t)) }), true)

		run := session(t, open(t, url))
		want(t, panics(func() {
			_ = run.Execute(background, func(context.Context, *agx.Run) error { panic(nil) }, agx.Grace(grace))
		}), true)
		if all := texts(rest(t, listen(t, run))); !strings.Contains(all, "panic: ") {
			t.Fatal(all)
		}
	})
}

// An agent may end its goroutine, as FailNow does: the session ends, as failed.
func TestAnAgentMayEndItsGoroutine(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		ended := make(chan bool)
		go func() {
			cameBack := false
			defer func() { ended <- !cameBack }()
			_ = s.Execute(background, func(context.Context, *agx.Run) error { runtime.Goexit(); return nil }, agx.Grace(grace))
			cameBack = true
		}()
		want(t, <-ended, true)
		if all := texts(rest(t, listen(t, s))); !strings.Contains(all, "error ") {
			t.Fatal(all)
		}
	})
}

func TestInterceptorsOfARun(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		broken := errors.New("no tools here")
		_, err := s.Intercept(`body.event = "tool_call"`, func(*agx.Intercepted) error { return broken })
		must(t, err)
		_, err = s.Intercept(`body.content = "panic"`, func(*agx.Intercepted) error { panic(broken) })
		must(t, err)
		r, err := s.Run(background, agx.Grace(grace))
		must(t, err)
		defer r.Close()
		must(t, r.NodeBegin(background))
		want(t, thrownBy(func() { _, _ = r.TextBegin(background, "panic") }) == broken, true)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		want(t, thrownBy(func() { _, _ = r.TextBegin(ctx, "panic") }) == broken, true)
		_, err = r.TextBegin(background, "fine")
		must(t, err)
		must(t, r.Finish(background))
	})
}

func TestASessionIsClosedByItsInterceptor(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		for n, close := range []func(s *agx.Session, i *agx.Interceptor) error{
			func(_ *agx.Session, i *agx.Interceptor) error { return i.Close() },
			func(s *agx.Session, _ *agx.Interceptor) error { return s.Close() },
		} {
			s := session(t, c)
			var self *agx.Interceptor
			calls := 0
			self, err := s.Intercept("", func(*agx.Intercepted) error { calls++; return close(s, self) })
			must(t, err)
			_, err = s.Add(background, "event", "test", nil)
			_, again := s.Add(background, "event", "test", nil)
			want(t, calls, 1)
			stored := 2
			if n == 1 {
				wantIs(t, err, agx.ErrClosed) // the event is refused
				wantIs(t, again, agx.ErrClosed)
				stored = 0
			}
			events, err := another(t, c, s).History(background, agx.HistoryRange{})
			must(t, err)
			want(t, len(events), stored)
		}
	})
}

// redact keeps what is secret out of the stream.
func redact(t *testing.T, s *agx.Session, where string) *agx.Interceptor {
	t.Helper()
	i, err := s.Intercept(where, func(e *agx.Intercepted) error {
		e.Body = []byte(`"redacted"`)
		return nil
	})
	must(t, err)
	return i
}

func storedIn(t *testing.T, c *agx.Client, s *agx.Session) string {
	t.Helper()
	events, err := another(t, c, s).History(background, agx.HistoryRange{Where: `type != "plain"`})
	must(t, err)
	return texts(events)
}

// An interceptor that redacts does so whenever the session is closed: also between two events of one call.
func TestNothingComesPastTheInterceptorsOfASessionThatIsClosed(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		events := make([]agx.NewEvent, 20000)
		for n := range events {
			events[n] = agx.NewEvent{Type: "plain", Origin: "test", Body: []byte(`1`)}
		}
		events[0].Type = "first"
		events[len(events)-1] = agx.NewEvent{Type: "secret", Origin: "test", Body: []byte(`"raw"`)}
		refused := 0
		for deadline := time.Now().Add(patience); refused < 10; {
			if time.Now().After(deadline) {
				t.Fatal("it is never closed in the middle")
			}
			s := session(t, c)
			first := make(chan struct{})
			_, err := s.Intercept(`type = "first"`, func(*agx.Intercepted) error { close(first); return nil })
			must(t, err)
			i := redact(t, s, `type = "secret"`)
			added := make(chan error)
			go func() {
				_, err := s.AddMany(background, events)
				added <- err
			}()
			<-first
			until(t, "no function is running", func() bool { return inside("(*Interceptor).called(") == 0 })
			must(t, s.Close())
			if refused%2 == 1 {
				must(t, i.Close()) // which does not let pass what the session does not
			}
			stored := "first 1\nsecret \"redacted\""
			if err := <-added; err != nil {
				wantIs(t, err, agx.ErrClosed)
				refused++
				stored = ""
			}
			want(t, storedIn(t, c, s), stored)
		}
	})
}

// Nor what a run writes that is still open then.
func TestARunWritesNothingPastTheInterceptorsOfItsClosedSession(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for _, execute := range []bool{false, true} {
			c := open(t, url)
			s := session(t, c)
			redact(t, s, `body.event = "part_start"`)
			work := func(_ context.Context, r *agx.Run) error {
				must(t, r.NodeBegin(background))
				_, err := r.TextBegin(background, "raw")
				must(t, err)
				must(t, s.Close())
				_, err = r.TextBegin(background, "raw")
				wantIs(t, err, agx.ErrClosed)
				return nil
			}
			if execute {
				_ = s.Execute(background, work)
			} else {
				r, err := s.Run(background)
				must(t, err)
				must(t, work(background, r))
				must(t, r.Close())
			}
			until(t, "the run has ended", func() bool { return strings.Contains(storedIn(t, c, s), "end ") })
			stored := storedIn(t, c, s)
			want(t, strings.Count(stored, "redacted"), 1)
			want(t, strings.Contains(stored, "raw"), false)
		}
	})
}

// Functions that run at the same time, one in the other: none waits for ever for those that close it too.
func TestASessionIsClosedByManyOfItsInterceptors(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		const count = 4
		s := session(t, c)
		var in sync.WaitGroup
		in.Add(count)
		_, err := s.Intercept(`type = "outer"`, func(*agx.Intercepted) error {
			in.Done()
			in.Wait()
			if _, err := s.Add(background, "inner", "test", nil); !errors.Is(err, agx.ErrClosed) {
				t.Error(err)
			}
			return nil
		})
		must(t, err)
		_, err = s.Intercept(`type = "inner"`, func(*agx.Intercepted) error { return s.Close() })
		must(t, err)
		added := make(chan error)
		for n := 0; n < count; n++ {
			go func() {
				_, err := s.Add(background, "outer", "test", nil)
				added <- err
			}()
		}
		for n := 0; n < count; n++ {
			wantIs(t, <-added, agx.ErrClosed)
		}
		want(t, storedIn(t, c, s), "")
	})
}

// Interceptors, handlers and subscriptions among calls and closing: the race detector looks on.
func TestCallbacksAmongClosing(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for round := 0; round < 10; round++ {
			c := open(t, url)
			s := session(t, c)
			must(t, s.Start(background))
			var called int64
			for i := 0; i < 3; i++ {
				_, err := s.Intercept("", func(e *agx.Intercepted) error {
					if atomic.AddInt64(&called, 1)%7 == 0 {
						return agx.Refuse(agx.ErrFailed, "seven")
					}
					return nil
				})
				must(t, err)
			}
			g := group(t, s, "one")
			var all sync.WaitGroup
			for i := 0; i < 4; i++ {
				i := i
				sub, err := s.Subscribe(background, func(sub *agx.Subscription, _ agx.Event, _ error) {
					if i == 0 {
						sub.Close()
					}
				})
				must(t, err)
				all.Add(1)
				go func() {
					defer all.Done()
					_ = sub.Wait(background)
				}()
				all.Add(1)
				go func() {
					defer all.Done()
					for n := 0; n < 50; n++ {
						_, err := s.AddJSON(background, "event", "test", n)
						if err != nil && !errors.Is(err, agx.ErrFailed) && !errors.Is(err, agx.ErrClosed) && !errors.Is(err, agx.ErrUncertain) {
							t.Error(err)
						}
					}
				}()
			}
			all.Add(1)
			go func() {
				defer all.Done()
				err := g.Process(background, func(agx.Event, int) error { return nil }, agx.ProcessOptions{})
				if !errors.Is(err, agx.ErrClosed) {
					t.Error(err)
				}
			}()
			until(t, "some were added", func() bool { return atomic.LoadInt64(&called) > 30 })
			go g.Close()
			if round%2 == 0 {
				s.Close()
			}
			c.Close()
			all.Wait()
		}
	})
}

func TestFormatOfAClient(t *testing.T) {
	c := open(t, "memory:"+unique()+"?format=ag2", agx.WithFormat("openai-agents")) // the URL wins
	s, err := c.Stream("x", agx.Prefix("mine"), agx.Tagged())
	must(t, err)
	defer s.Close()
	want(t, s.ID(), agx.SessionID{Session: "x"})
	_, err = s.Add(background, "a.B", "test", nil)
	must(t, err)
	events, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, fmt.Sprint(events[0].Fields()), `[{element {"__type__": "a.B"}}]`)
	_, err = agx.Open(background, "memory:", agx.WithFormat("nobody's"))
	wantIs(t, err, agx.ErrInvalid)
}
