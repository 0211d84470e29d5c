package agx_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// A stopped server answers nothing before the test has ended.
func stopped(t *testing.T, r *redis) {
	t.Helper()
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = r.command.Process.Signal(syscall.SIGCONT) })
}

// atOnce fails if it takes as long as the store is waited for.
func atOnce(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%s took %v", what, took)
	}
}

// A deferred Close does not wait for the call that its context has ended.
func TestClosingDoesNotWaitForTheStore(t *testing.T) {
	type opened struct {
		s     *agx.Session
		r     *agx.Run
		ofRun *agx.Session
		g     *agx.Group
		n     *agx.Group // its consumer has no name of its own
		m     *agx.Messages
		q     *agx.Query
		l     [2]*agx.Listener
		u     *agx.Subscription
		i     *agx.Interceptor
	}
	event := []agx.NewEvent{{Type: "event", Origin: "test"}}
	swallow := func(*agx.Intercepted) error { return nil }
	session := func(o opened) func() error { return o.s.Close }
	group := func(o opened) func() error { return o.g.Close }
	messages := func(o opened) func() error { return o.m.Close }
	cases := map[string]struct {
		call  func(ctx context.Context, o opened) error
		close func(o opened) func() error
		again func(o opened) error // is refused then
	}{
		"Add": {func(ctx context.Context, o opened) error {
			_, err := o.s.Add(ctx, "event", "test", nil)
			return err
		}, session, func(o opened) error { _, err := o.s.Add(background, "event", "test", nil); return err }},
		"Add, intercepted": {func(ctx context.Context, o opened) error {
			_, err := o.s.Intercept("", swallow)
			must(t, err)
			_, err = o.s.Add(ctx, "event", "test", nil)
			return err
		}, session, func(o opened) error { _, err := o.s.Intercept("", swallow); return err }},
		"AddMany": {func(ctx context.Context, o opened) error {
			_, err := o.s.AddMany(ctx, event)
			return err
		}, session, func(o opened) error { _, err := o.s.AddMany(background, event); return err }},
		"Stop": {func(ctx context.Context, o opened) error { return o.s.Stop(ctx, grace) },
			session, func(o opened) error { return o.s.Stop(background, grace) }},
		"IsLive": {func(ctx context.Context, o opened) error { _, err := o.s.IsLive(ctx); return err },
			session, func(o opened) error { return o.s.WaitCanceled(background) }},
		"OpenListener": {func(ctx context.Context, o opened) error {
			_, err := o.s.OpenListener(ctx, agx.OnlyNew())
			return err
		}, session, func(o opened) error { _, err := o.s.OpenListener(background); return err }},
		"WaitFor": {func(ctx context.Context, o opened) error { _, err := o.s.WaitFor(ctx, ""); return err },
			session, func(o opened) error { _, err := o.s.WaitFor(background, ""); return err }},
		"Ack": {func(ctx context.Context, o opened) error { _, err := o.g.Ack(ctx, "1-1"); return err },
			group, func(o opened) error { _, err := o.g.Ack(background, "1-1"); return err }},
		"Read": {func(ctx context.Context, o opened) error { _, err := o.g.Read(ctx, 1); return err },
			group, func(o opened) error { _, err := o.g.Read(background, 1); return err }},
		"Read, without a name": {func(ctx context.Context, o opened) error {
			_, err := o.n.Read(ctx, 1)
			return err
		}, func(o opened) func() error { return o.n.Close },
			func(o opened) error { _, err := o.n.Pending(background); return err }},
		"nothing, of a group without a name": {func(ctx context.Context, o opened) error {
			<-ctx.Done()
			return ctx.Err()
		}, func(o opened) func() error { return o.n.Close },
			func(o opened) error { _, err := o.n.Pending(background); return err }},
		"Finish": {func(ctx context.Context, o opened) error { return o.r.Finish(ctx) },
			func(o opened) func() error { return o.ofRun.Close },
			func(o opened) error { return o.ofRun.Start(background) }},
		"Load": {func(ctx context.Context, o opened) error { return o.m.Load(ctx) },
			messages, func(o opened) error { _, err := o.m.JSON(); return err }},
		"Save": {func(ctx context.Context, o opened) error {
			must(t, o.m.AppendUser("hello"))
			return o.m.Save(ctx)
		}, messages, func(o opened) error { return o.m.Save(background) }},
		"Query": {func(ctx context.Context, o opened) error { _, err := o.q.Next(ctx); return err },
			func(o opened) func() error { return o.q.Close },
			func(o opened) error { _, err := o.q.Next(background); return err }},
		// The first is received for by itself, the second in the mux.
		"Next": {func(ctx context.Context, o opened) error {
			_, err := o.l[0].Next(ctx)
			wantIs(t, err, context.DeadlineExceeded)
			again, cancel := context.WithTimeout(background, 50*time.Millisecond)
			defer cancel()
			_, err = o.l[1].Next(again)
			time.Sleep(200 * time.Millisecond) // and they ask whether the producer is there
			return err
		}, func(o opened) func() error {
			return func() error {
				must(t, o.l[1].Close())
				return o.l[0].Close()
			}
		}, func(o opened) error { _, err := o.l[1].Next(background); return err }},
		"Wait": {func(ctx context.Context, o opened) error { return o.u.Wait(ctx) },
			func(o opened) func() error { return o.u.Close },
			func(o opened) error { return o.u.Wait(background) }},
		"Add, its interceptor": {func(ctx context.Context, o opened) error {
			_, err := o.s.Add(ctx, "intercepted", "test", nil)
			return err
		}, func(o opened) func() error {
			return func() error {
				must(t, o.i.Close())
				return o.s.Close()
			}
		}, func(o opened) error { _, err := o.s.Intercept("", swallow); return err }},
	}
	for name, test := range cases {
		test := test
		t.Run(name, func(t *testing.T) {
			r := ownRedis(t)
			c, err := agx.Open(background, withParameter(r.url(), "command_timeout=20000&reconnect_timeout=20000&connect_timeout=20000"))
			must(t, err)
			var o opened
			o.s, err = c.Session(1, 42, unique())
			must(t, err)
			must(t, o.s.Start(background, agx.Lease(100*time.Millisecond)))
			o.g, err = o.s.Group(background, "workers", agx.GroupOptions{Start: "new"})
			must(t, err)
			o.n, err = o.s.Group(background, "others", agx.GroupOptions{})
			must(t, err)
			_, err = o.n.Read(background, 1)
			must(t, err)
			o.ofRun, err = c.Session(1, 42, unique())
			must(t, err)
			o.r, err = o.ofRun.Run(background)
			must(t, err)
			o.m, err = o.s.Messages()
			must(t, err)
			o.q, err = c.Query(agx.Any, agx.Any)
			must(t, err)
			for i := range o.l {
				o.l[i], err = o.s.OpenListener(background)
				must(t, err)
			}
			o.u, err = o.s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {})
			must(t, err)
			o.i, err = o.s.Intercept(`type = "intercepted"`, swallow)
			must(t, err)
			stopped(t, r)
			ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
			defer cancel()
			wantIs(t, test.call(ctx, o), context.DeadlineExceeded)
			before := runtime.NumGoroutine()
			atOnce(t, "closing", func() { must(t, test.close(o)()) })
			if more := runtime.NumGoroutine() - before; more > 1 {
				t.Errorf("closing costs %d goroutines", more)
			}
			atOnce(t, "closing again", func() { must(t, test.close(o)()) })
			atOnce(t, "a further call", func() { wantIs(t, test.again(o), agx.ErrClosed) })
			if strings.Contains(name, "without a name") { // which is waited for, to take its consumer out
				must(t, r.command.Process.Signal(syscall.SIGCONT))
			}
			atOnce(t, "closing the client", func() { must(t, c.Close()) })
			// What went on ends with the client, and C's handles with it.
			until(t, "nobody is in C", func() bool { return inside("native.Agx") == 0 })
		})
	}
}

// Nor do those wait who are told so.
func TestClosingTellsWhoWaitsWhileTheStoreIsSilent(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=20000&reconnect_timeout=20000&connect_timeout=20000"))
	s := session(t, c)
	must(t, s.Start(background))
	waits := map[string]func() error{
		"WaitCanceled": func() error { return s.WaitCanceled(background) },
		"WaitFor":      func() error { _, err := s.WaitFor(background, `type = "never"`); return err },
	}
	ended := make(chan error, len(waits))
	for _, wait := range waits {
		wait := wait
		go func() { ended <- wait() }()
	}
	// WaitFor's own wait for a cancel is one of them.
	until(t, "they wait", func() bool {
		return parkedIn("(*Session).WaitCanceled(") == 2 && parkedIn("(*Listener).Next(") == 1
	})
	stopped(t, r)
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	_, err := s.Add(ctx, "event", "test", nil) // holds the one that sends
	wantIs(t, err, context.DeadlineExceeded)
	var all []*agx.Pending
	for n := 0; n < 10; n++ {
		p, err := s.AddAsync(background, "event", "test", nil)
		must(t, err)
		all = append(all, p)
	}
	atOnce(t, "closing", func() { must(t, s.Close()) })
	atOnce(t, "telling who waits", func() {
		for range waits {
			wantIs(t, <-ended, agx.ErrClosed)
		}
	})
	atOnce(t, "telling of what was queued", func() {
		for _, p := range all {
			_, err := p.Wait(background)
			wantIs(t, err, agx.ErrClosed)
		}
	})
	want(t, s.IsCanceled(), true)
}

// Also who waits behind a call that goes on in C, for its turn.
func TestClosingTellsWhoWaitsForItsTurn(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=20000&reconnect_timeout=20000&connect_timeout=20000"))
	s := session(t, c)
	must(t, s.Start(background))
	m, err := s.Messages()
	must(t, err)
	q, err := c.Query(agx.Any, agx.Any)
	must(t, err)
	g := group(t, s, "one")
	stopped(t, r)
	cutOff := func(call func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
		defer cancel()
		wantIs(t, call(ctx), context.DeadlineExceeded)
	}
	cutOff(m.Load)
	cutOff(func(ctx context.Context) error { _, err := q.Next(ctx); return err })
	cutOff(func(ctx context.Context) error {
		_, err := s.AddMany(ctx, []agx.NewEvent{{Type: "a", Origin: "b"}})
		return err
	})
	_, err = s.AddAsync(background, "event", "test", nil)
	must(t, err)
	told := make(chan error)
	waits := []func() error{
		func() error { _, err := m.JSON(); return err },
		func() error { return m.Save(background) },
		func() error { _, err := q.Next(background); return err },
		func() error { return s.Stop(background, grace) }, // behind what is queued
		func() error { _, err := g.Read(background, 1); return err },
		func() error { _, err := g.Read(background, 1); return err },
	}
	for _, wait := range waits {
		wait := wait
		go func() { told <- wait() }()
	}
	until(t, "they wait", func() bool {
		return inside("(*Messages).JSON(") == 1 && inside("(*Messages).Save(") == 1 && inside("(*Query).Next(") == 1 &&
			inside("(*adder).drain(") == 1 && inside("(*Group).Read(") == 2
	})
	atOnce(t, "closing all", func() {
		must(t, m.Close())
		must(t, q.Close())
		must(t, s.Close())
		must(t, g.Close())
		for range waits {
			wantIs(t, <-told, agx.ErrClosed)
		}
	})
}

// What was under way when it was closed ends some time later, and C's handle with it: nobody renews the session.
func TestWhatIsClosedInACallIsClosedAfterIt(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=20000&reconnect_timeout=20000&connect_timeout=20000"))
	calls := map[string]func(ctx context.Context, s *agx.Session) error{
		"Add": func(ctx context.Context, s *agx.Session) error {
			_, err := s.Add(ctx, "event", "test", nil)
			return err
		},
		"AddMany": func(ctx context.Context, s *agx.Session) error {
			_, err := s.AddMany(ctx, []agx.NewEvent{{Type: "a", Origin: "b"}})
			return err
		},
		"IsLive":       func(ctx context.Context, s *agx.Session) error { _, err := s.IsLive(ctx); return err },
		"WaitCanceled": func(ctx context.Context, s *agx.Session) error { return s.WaitCanceled(ctx) },
		"OpenListener": func(ctx context.Context, s *agx.Session) error {
			_, err := s.OpenListener(ctx, agx.OnlyNew())
			return err
		},
		"nothing": func(ctx context.Context, s *agx.Session) error { <-ctx.Done(); return ctx.Err() },
	}
	sessions := map[string]*agx.Session{}
	for name := range calls {
		sessions[name] = session(t, c)
		must(t, sessions[name].Start(background, agx.Lease(300*time.Millisecond)))
	}
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = r.command.Process.Signal(syscall.SIGCONT) })
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
		wantIs(t, call(ctx, sessions[name]), context.DeadlineExceeded)
		cancel()
		must(t, sessions[name].Close())
	}
	must(t, r.command.Process.Signal(syscall.SIGCONT))
	other := open(t, r.url())
	until(t, "no session is live any more", func() bool {
		q, err := other.Query(agx.Any, agx.Any)
		must(t, err)
		defer q.Close()
		_, err = q.Next(background)
		return err == io.EOF
	})
}

// A consumer that has no name of its own is not left behind, though nobody waits for it.
func TestAMadeUpConsumerGoesWithItsGroup(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		g := group(t, s, "one")
		id := add(t, s, 1)
		for n := 0; n < 20; n++ {
			c, err := agx.Open(background, url)
			must(t, err)
			other := another(t, c, s)
			made, err := other.Group(background, "workers", agx.GroupOptions{})
			must(t, err)
			if n == 0 {
				want(t, ids(read(t, made, 1)), id)
				_, err = made.Ack(background, id)
				must(t, err)
			} else {
				_, err = made.Read(background, 1, agx.ReadWait(0))
				wantIs(t, err, agx.ErrTimeout)
			}
			must(t, made.Close())
			if n%2 == 0 {
				must(t, c.Close())
			} else {
				until(t, "its consumer is gone", func() bool {
					consumers, err := g.Consumers(background)
					must(t, err)
					return len(consumers) == 0
				})
				must(t, c.Close())
			}
			consumers, err := g.Consumers(background)
			must(t, err)
			want(t, len(consumers), 0)
		}
	})
}

// When Close returns no call of the function is running; only within the function it does not wait for that.
func TestClosingWaitsForTheFunctionThatRuns(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		entered, leave := make(chan struct{}, 10), make(chan struct{})
		defer close(leave)
		var running, calls int32
		function := func() {
			atomic.AddInt32(&calls, 1)
			atomic.StoreInt32(&running, 1)
			entered <- struct{}{}
			<-leave
			atomic.StoreInt32(&running, 0)
		}
		closesWith := func(name string, close func() error) {
			t.Helper()
			<-entered
			closed := make(chan int32, 1)
			go func() {
				must(t, close())
				closed <- atomic.LoadInt32(&running)
			}()
			until(t, "it is being closed", func() bool { return inside(name) == 1 || len(closed) == 1 })
			select {
			case <-closed:
				t.Fatal("it is closed while its function runs")
			case <-time.After(20 * time.Millisecond):
			}
			leave <- struct{}{}
			want(t, <-closed, int32(0))
		}
		sub, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) { function() })
		must(t, err)
		add(t, s, 1) // it would be called again
		closesWith("(*Subscription).Close(", sub.Close)
		want(t, calls, int32(1))
		i, err := s.Intercept("", func(*agx.Intercepted) error { function(); return nil })
		must(t, err)
		p, err := s.AddAsync(background, "event", "test", nil)
		must(t, err)
		closesWith("(*Interceptor).Close(", i.Close)
		_, err = p.Wait(background)
		must(t, err)
		add(t, s, 2)
		want(t, calls, int32(2))
		_, err = s.Intercept("", func(*agx.Intercepted) error { function(); return nil })
		must(t, err)
		p, err = s.AddAsync(background, "event", "test", nil)
		must(t, err)
		closesWith("(*Session).Close(", s.Close)
		_, err = p.Wait(background)
		wantIs(t, err, agx.ErrClosed)
		want(t, calls, int32(3))
	})
}

// Nor for what is sent together with another session's.
func TestClosingOneOfManySessionsWhoseEventsGoTogether(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=20000&reconnect_timeout=20000&connect_timeout=20000"))
	goOn := holdsAdds(t, c)
	var all []*agx.Session
	for n := 0; n < 3; n++ {
		all = append(all, session(t, c))
		_, err := all[n].AddAsync(background, "event", "test", nil)
		must(t, err)
	}
	must(t, all[2].Close()) // whose event is left out
	stopped(t, r)
	goOn()
	until(t, "they are sent", func() bool { return inside("Agxb_add_each(") == 1 })
	atOnce(t, "closing", func() { must(t, all[0].Close()) })
	_, err := all[0].AddAsync(background, "event", "test", nil)
	must(t, err)
	must(t, r.command.Process.Signal(syscall.SIGCONT))
	for n, count := range []int{1, 1, 0} {
		other := another(t, c, all[n])
		until(t, "what was sent is stored", func() bool {
			events, err := other.History(background, agx.HistoryRange{})
			must(t, err)
			return len(events) == count
		})
	}
}

// An answer holds nothing of another call's.
func TestAddManyToWhatIsClosedGivesNoIDs(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		events := []agx.NewEvent{{Type: "event", Origin: "test"}, {Type: "event", Origin: "test"}}
		for n := 0; n < 10; n++ {
			_, err := s.AddMany(background, events)
			must(t, err)
		}
		must(t, s.Close())
		ids, err := s.AddMany(background, events)
		wantIs(t, err, agx.ErrClosed)
		want(t, len(ids), 0)
	})
}
