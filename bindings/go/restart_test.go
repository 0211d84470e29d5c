package agx_test

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func ownRedis(t *testing.T) *redis {
	t.Helper()
	r, err := startRedis("--appendonly", "yes", "--appendfsync", "always")
	must(t, err)
	t.Cleanup(r.stop)
	return r
}

// A call whose context is done is told so, whatever else became of it. Within an interceptor a context
// cuts nothing short, so that here the store's answer always is there.
func TestWhatIsCanceledWhileTheStoreIsDownSaysSo(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url()+"?reconnect_timeout=100&command_timeout=200")
	s := session(t, c)
	must(t, s.Start(background))
	var cancel func()
	intercept := func(where string, function func(*agx.Intercepted) error) {
		t.Helper()
		i, err := s.Intercept(where, function)
		must(t, err)
		t.Cleanup(func() { _ = i.Close() })
	}
	intercept(`type = "inner"`, func(*agx.Intercepted) error {
		cancel()
		return nil
	})
	var call func(context.Context) error
	var told error
	intercept(`type = "outer"`, func(*agx.Intercepted) error {
		ctx, stop := context.WithCancel(background)
		defer stop()
		cancel = stop
		told = call(ctx)
		return agx.ErrSwallowed
	})
	add := func(ctx context.Context) error {
		_, err := s.Add(ctx, "inner", "test", nil)
		return err
	}
	addMany := func(ctx context.Context) error {
		_, err := s.AddMany(ctx, []agx.NewEvent{{Type: "inner", Origin: "test"}})
		return err
	}
	ask := func(what func(context.Context) error) error {
		t.Helper()
		call = what
		_, err := s.Add(background, "outer", "test", nil)
		wantIs(t, err, agx.ErrSwallowed)
		return told
	}
	r.kill()
	for _, what := range []func(context.Context) error{add, addMany} {
		err := ask(what)
		wantIs(t, err, context.Canceled)
		wantIs(t, err, agx.ErrConnect)
		wantIs(t, err, agx.ErrUnavailable)
	}
	// What may have been written is told as that, too.
	must(t, r.start())
	cancel = func() {}
	_, err := s.Add(background, "first", "test", nil)
	must(t, err)
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	err = ask(add)
	wantIs(t, err, agx.ErrUncertain)
	wantIs(t, err, context.Canceled)
}

// Events go on, none lost or repeated, while the server is killed and started again.
func TestRedisIsKilledAndRestarted(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url()+"?reconnect_timeout=60000&reconnect_attempts=1000")
	s := session(t, c)
	must(t, s.Start(background))
	const listeners, events = 50, 300
	results := make(chan []agx.Event, listeners)
	for i := 0; i < listeners; i++ {
		l := listen(t, s)
		go func() {
			var all []agx.Event
			for {
				event, err := l.Next(background)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					break
				}
				all = append(all, event)
			}
			results <- all
		}()
	}
	stored := map[string]bool{}
	for n := 0; n < events; n++ {
		if n == 100 || n == 200 {
			r.kill()
			restarted := make(chan error)
			go func() { restarted <- r.start() }()
			must(t, <-restarted)
		}
		id, err := s.AddJSON(background, "event", "test", n)
		if err != nil {
			wantIs(t, err, agx.ErrUncertain) // it says that it does not know
			continue
		}
		stored[id] = true
	}
	must(t, s.Stop(background, grace))
	for i := 0; i < listeners; i++ {
		all := <-results
		seen := map[string]bool{}
		last := ""
		for _, event := range all {
			if seen[event.ID] {
				t.Fatalf("%s came twice", event.ID)
			}
			seen[event.ID] = true
			last = event.ID
		}
		for id := range stored {
			if !seen[id] {
				t.Fatalf("%s was lost, the last is %s", id, last)
			}
		}
	}
}

// While the server is away listeners are told so, without spinning, and go on when it is back.
func TestListenersAreToldOfAnOutage(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url()+"?reconnect_timeout=-1")
	s := session(t, c)
	must(t, s.Start(background, agx.Lease(time.Minute)))
	first, second := listen(t, s), listen(t, s)
	want(t, next(t, first).Type, "begin")
	want(t, next(t, second).Type, "begin")
	r.kill()
	for i := 0; i < 3; i++ {
		_, err := nextErr(first)
		wantIs(t, err, agx.ErrUnavailable)
	}
	_, err := nextErr(second)
	wantIs(t, err, agx.ErrUnavailable)
	// A context ends a command that cannot be carried out.
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	_, err = s.IsLive(ctx)
	if err == nil {
		t.Fatal("a server that is not there answers")
	}
	must(t, r.start())
	var id string
	until(t, "an event is added", func() bool {
		id, err = s.AddJSON(background, "event", "test", 1)
		return err == nil
	})
	for _, l := range []*agx.Listener{first, second} {
		l := l
		until(t, "the event comes", func() bool {
			event, err := nextErr(l)
			return err == nil && event.ID == id
		})
	}
}

// A server that does not answer holds nobody longer than their context.
func TestContextEndsACommandOfAServerThatHangs(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url())
	s := session(t, c)
	must(t, s.Start(background))
	_, err := r.say("CLIENT PAUSE 20000 ALL")
	must(t, err)
	calls := map[string]func(context.Context) error{
		"Add":    func(ctx context.Context) error { _, err := s.Add(ctx, "event", "test", nil); return err },
		"IsLive": func(ctx context.Context) error { _, err := s.IsLive(ctx); return err },
		"Stop":   func(ctx context.Context) error { return s.Stop(ctx, grace) },
		"Open":   func(ctx context.Context) error { _, err := agx.Open(ctx, r.url()); return err },
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(background, 30*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		wantIs(t, err, context.DeadlineExceeded)
		if time.Since(began) > 10*time.Second {
			t.Errorf("%s ends with the server, not with its context", name)
		}
		cancel()
	}
	must(t, c.Close()) // also ends what is under way
}

// Nor does a wait for an event outlast its context, whether the listener has waited before or not.
func TestContextEndsAWaitWhileTheServerHangs(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url())
	s := session(t, c)
	must(t, s.Start(background))
	waited, fresh := listen(t, s), listen(t, s)
	want(t, next(t, waited).Type, "begin")
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = r.command.Process.Signal(syscall.SIGCONT) })
	began := time.Now()
	for _, l := range []*agx.Listener{waited, fresh, waited} {
		ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
		_, err := l.Next(ctx)
		wantIs(t, err, context.DeadlineExceeded)
		cancel()
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Fatalf("it took %v", took)
	}
}

// A session that a query brings after nobody waited for it any more is given by the next call.
func TestAQueryThatIsCutOffLosesNothing(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=60000"))
	const sessions = 20
	for n := 0; n < sessions; n++ {
		must(t, session(t, c).Start(background, agx.Lease(time.Minute)))
	}
	q, err := c.Query(agx.Any, agx.Any)
	must(t, err)
	defer q.Close()
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithCancel(background)
	cut := make(chan error)
	go func() {
		_, err := q.Next(ctx)
		cut <- err
	}()
	until(t, "the call waits", func() bool { return inside("Agx_query_next(") == 1 })
	cancel()
	wantIs(t, <-cut, context.Canceled)
	must(t, r.command.Process.Signal(syscall.SIGCONT))
	found := map[agx.SessionID]bool{}
	for {
		id, err := q.Next(patient(t))
		if err == io.EOF {
			break
		}
		must(t, err)
		want(t, found[id], false)
		found[id] = true
	}
	want(t, len(found), sessions)
}
