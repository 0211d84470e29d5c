package agx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	agx "github.com/libagx/libagx/bindings/go"
)

// holdsAdds holds all who send what is queued, so that what comes is gathered until one of them goes on.
func holdsAdds(t *testing.T, c *agx.Client) (goOn func()) {
	t.Helper()
	const workers = 4
	entered, leave := make(chan struct{}), make(chan struct{})
	for n := 0; n < workers; n++ {
		s := session(t, c)
		_, err := s.Intercept("", func(*agx.Intercepted) error {
			entered <- struct{}{}
			<-leave
			return agx.ErrSwallowed
		})
		must(t, err)
		_, err = s.AddAsync(background, "held", "test", nil)
		must(t, err)
		<-entered
	}
	t.Cleanup(func() { close(leave) }) // before the sessions are closed, which waits for the functions
	return func() { leave <- struct{}{} }
}

func queue(t *testing.T, s *agx.Session, body string) *agx.Pending {
	t.Helper()
	p, err := s.AddAsync(background, "event", "test", json.RawMessage(body))
	must(t, err)
	return p
}

func bodies(t *testing.T, s *agx.Session) string {
	t.Helper()
	events, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	var all []string
	for _, e := range events {
		all = append(all, string(e.Body))
	}
	return strings.Join(all, " ")
}

// What its context has ended before it was sent is not written, and nobody is told that it may be.
func TestAnAddThatIsWithdrawnIsNotWritten(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		goOn := holdsAdds(t, c)
		first := queue(t, s, "1")
		second := queue(t, s, "2")
		ctx, cancel := context.WithCancel(background)
		told := make(chan error, 2)
		go func() {
			_, err := second.Wait(ctx)
			told <- err
		}()
		go func() {
			_, err := s.Add(ctx, "event", "test", json.RawMessage("3"))
			told <- err
		}()
		until(t, "both wait", func() bool { return waiting() == 2 })
		last := queue(t, s, "4")
		cancel()
		for n := 0; n < 2; n++ {
			err := <-told
			want(t, err == context.Canceled, true)
		}
		goOn()
		for _, p := range []*agx.Pending{first, last} {
			_, err := p.Wait(background)
			must(t, err)
		}
		<-second.Done()
		_, err := second.Wait(background)
		want(t, err == context.Canceled, true)
		want(t, bodies(t, s), "1 4")
	})
}

// Which of those that were sent behind it the store has, it does not say.
func TestWhatWasSentBehindAnEventThatFailedIsUncertain(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url())
	s := session(t, c)
	must(t, s.Start(background))
	goOn := holdsAdds(t, c)
	var all []*agx.Pending
	for n := 0; n < 10; n++ {
		all = append(all, queue(t, s, fmt.Sprint(n)))
	}
	_, err := r.say("CONFIG SET maxmemory 1")
	must(t, err)
	goOn()
	for n, p := range all {
		_, err := p.Wait(patient(t))
		wantIs(t, err, agx.ErrFull) // why
		want(t, errors.Is(err, agx.ErrUncertain), n > 0)
	}
}

// A large batch would hold memory, and others up.
func TestWhatIsGatheredIsBoundedInBytes(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		goOn := holdsAdds(t, c)
		const mib = 16
		body := `"` + strings.Repeat("x", 1<<20/4) + `"`
		var all []*agx.Pending
		for n := 0; n < 4*mib; n++ {
			all = append(all, queue(t, s, body))
		}
		calls := runtime.NumCgoCall()
		goOn()
		for _, p := range all {
			_, err := p.Wait(background)
			must(t, err)
		}
		// One call for each MiB; and they are not sent one by one.
		if calls = runtime.NumCgoCall() - calls; calls < mib || calls > 2*mib {
			t.Errorf("%d calls into C for %d MiB", calls, mib)
		}
	})
}

// A listener that is not read holds no more than a MiB or so.
func TestWhatWaitsForAListenerIsBoundedInBytes(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const mib, most = 64, 8
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		body := json.RawMessage(`"` + strings.Repeat("x", 1<<20/8) + `"`)
		batch := make([]agx.NewEvent, 8)
		for i := range batch {
			batch[i] = agx.NewEvent{Type: "event", Origin: "test", Body: body}
		}
		for n := 0; n < mib; n++ {
			_, err := s.AddMany(background, batch)
			must(t, err)
		}
		heap := func() int {
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return int(stats.HeapAlloc >> 20)
		}
		before := heap()
		// The first is received for by itself, the second in the mux.
		first, second := listen(t, s), listen(t, s)
		for _, l := range []*agx.Listener{first, second} {
			want(t, next(t, l).Type, "begin")
			_, err := l.Next(background)
			must(t, err)
		}
		until(t, "nothing more is read", func() bool { return inside("(*listener).receive(") == 0 })
		if more := heap() - before; more > most {
			t.Errorf("%d MiB of %d are held", more, mib)
		}
		must(t, s.Stop(background, grace))
		want(t, len(rest(t, first)), 8*mib-1)
		want(t, len(rest(t, second)), 8*mib-1)
	})
}

// An interceptor has its say once about each event, however often that is sent.
func TestAnInterceptorIsCalledOnceForEachEvent(t *testing.T) {
	r := ownRedis(t)
	c := open(t, r.url()+"?reconnect_timeout=60000&reconnect_attempts=1000")
	s := session(t, c)
	must(t, s.Start(background, agx.Lease(patience)))
	var calls int32
	i, err := s.Intercept("", func(e *agx.Intercepted) error {
		atomic.AddInt32(&calls, 1)
		if string(e.Body) == `"no"` {
			return errors.New("no")
		}
		return nil
	})
	must(t, err)
	defer i.Close()
	async := func(list ...string) error {
		var all []*agx.Pending
		for _, body := range list {
			all = append(all, queue(t, s, body))
		}
		for n, p := range all {
			if _, err := p.Wait(background); err != nil && list[n] != "{" && list[n] != `"no"` {
				return err
			}
		}
		return nil
	}
	adds := []struct {
		name   string
		events int32
		add    func() error
	}{
		{"Add", 1, func() error { _, err := s.Add(background, "event", "test", nil); return err }},
		{"Add with a context", 1, func() error { _, err := s.Add(patient(t), "event", "test", nil); return err }},
		{"AddMany", 3, func() error { _, err := s.AddMany(background, make3()); return err }},
		{"AddAsync", 3, func() error { return async("1", "2", "3") }},
		{"AddAsync, one is refused", 51, func() error { return async(append(strings.Fields(strings.Repeat("1 ", 50)), `"no"`)...) }},
		{"AddAsync, one is no JSON", 2, func() error { return async("1", "{", "3") }},
	}
	for _, of := range adds {
		for _, away := range []bool{false, true} {
			atomic.StoreInt32(&calls, 0)
			if away {
				r.kill()
			}
			added := make(chan error, 1)
			go func() { added <- of.add() }()
			if away {
				until(t, "it is asked", func() bool { return atomic.LoadInt32(&calls) > 0 })
				must(t, r.start())
			}
			if err := <-added; err != nil {
				t.Fatalf("%s: %v", of.name, err)
			}
			if got := atomic.LoadInt32(&calls); got != of.events {
				t.Errorf("%s, the server away: %v: %d calls for %d events", of.name, away, got, of.events)
			}
		}
	}
}

func make3() []agx.NewEvent {
	e := agx.NewEvent{Type: "event", Origin: "test"}
	return []agx.NewEvent{e, e, e}
}
