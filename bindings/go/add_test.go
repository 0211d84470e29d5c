package agx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func TestAddAsyncKeepsTheOrder(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		var pending []*agx.Pending
		for n := 0; n < 5000; n++ {
			p, err := s.AddAsync(background, "event", "test", json.RawMessage(fmt.Sprint(n)))
			must(t, err)
			pending = append(pending, p)
		}
		// What is added at once comes behind what is queued.
		last := add(t, s, 5000)
		must(t, s.Stop(background, grace))
		events := rest(t, listen(t, s))[1:]
		want(t, len(events), 5001)
		for n, p := range pending {
			id, err := p.Wait(background)
			must(t, err)
			want(t, id, events[n].ID)
			want(t, string(events[n].Body), fmt.Sprint(n))
		}
		want(t, events[5000].ID, last)
	})
}

func TestAddsOfManyGoroutinesCostFewThreads(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		before := threads()
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		var all sync.WaitGroup
		for i := 0; i < 500; i++ {
			ctx := ctx
			if i%2 == 0 {
				ctx = background
			}
			all.Add(1)
			go func() {
				defer all.Done()
				for n := 0; n < 10; n++ {
					if _, err := s.Add(ctx, "event", "test", nil); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		all.Wait()
		if more := threads() - before; more > 30 {
			t.Errorf("%d threads more", more)
		}
		info, err := s.HistoryInfo(background)
		must(t, err)
		want(t, info.Length, 5001)
	})
}

func TestOneBadEventAmongManyFailsAlone(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		var pending []*agx.Pending
		for n := 0; n < 100; n++ {
			body := json.RawMessage(fmt.Sprint(n))
			if n == 50 {
				body = json.RawMessage("{")
			}
			p, err := s.AddAsync(background, "event", "test", body)
			must(t, err)
			pending = append(pending, p)
		}
		for n, p := range pending {
			_, err := p.Wait(background)
			if n == 50 {
				wantIs(t, err, agx.ErrJSON)
				continue
			}
			must(t, err)
		}
	})
}

// What is queued of many sessions goes to the store together, and each event fares by itself.
func TestAddAsyncToManySessions(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		const sessions, each = 300, 5
		refused := errors.New("refused")
		type one struct {
			*agx.Pending
			body string
		}
		var all []*agx.Session
		pending := make([][]one, sessions)
		for i := 0; i < sessions; i++ {
			all = append(all, session(t, c))
		}
		closed, intercepted := all[7], all[11]
		stop, err := intercepted.Intercept("", func(event *agx.Intercepted) error {
			if string(event.Body) == "2" {
				return refused
			}
			return nil
		})
		must(t, err)
		defer stop.Close()
		for n := 0; n < each; n++ {
			for i, s := range all {
				body := fmt.Sprint(n)
				if i == 3 && n == 2 {
					body = "{"
				}
				p, err := s.AddAsync(background, "event", "test", json.RawMessage(body))
				must(t, err)
				pending[i] = append(pending[i], one{p, body})
			}
		}
		must(t, closed.Close())
		for i, s := range all {
			var stored []string
			for _, p := range pending[i] {
				id, err := p.Wait(background)
				switch {
				case i == 3 && p.body == "{":
					wantIs(t, err, agx.ErrJSON)
				case s == intercepted && p.body == "2":
					wantIs(t, err, refused)
				case s == closed && err != nil:
					wantIs(t, err, agx.ErrClosed)
				default:
					must(t, err)
					stored = append(stored, id+" "+p.body)
				}
			}
			if s == closed {
				continue
			}
			var found []string
			events, err := s.History(background, agx.HistoryRange{})
			must(t, err)
			for _, event := range events {
				found = append(found, event.ID+" "+string(event.Body))
			}
			want(t, strings.Join(found, ", "), strings.Join(stored, ", "))
		}
	})
}

func TestAddsEndWithTheClient(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		var pending []*agx.Pending
		for n := 0; n < 1000; n++ {
			p, err := s.AddAsync(background, "event", "test", nil)
			must(t, err)
			pending = append(pending, p)
		}
		must(t, c.Close())
		for _, p := range pending {
			select {
			case <-p.Done():
			case <-time.After(patience):
				t.Fatal("an add never ends")
			}
			if _, err := p.Wait(background); err != nil && !errors.Is(err, agx.ErrClosed) {
				wantIs(t, err, agx.ErrUncertain)
			}
		}
	})
}

// waiting counts the goroutines that wait for an add which another sends.
func waiting() int {
	return inside("(*Pending).Wait(")
}

func TestAddsToOneSessionGoTogether(t *testing.T) {
	const others = 31
	r := ownRedis(t)
	s := session(t, open(t, withParameter(r.url(), "command_timeout=60000")))
	must(t, s.Start(background))
	calls := runtime.NumCgoCall()
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	ids := make(chan string, others+1)
	for i := 0; i <= others; i++ {
		go func() {
			id, err := s.Add(background, "event", "test", json.RawMessage("1"))
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	// One is in C by itself, whose events are its own; a worker sends those of the others.
	until(t, "all adds but one are gathered", func() bool { return waiting() == others })
	must(t, r.command.Process.Signal(syscall.SIGCONT))
	seen := map[string]bool{}
	for i := 0; i <= others; i++ {
		seen[<-ids] = true
	}
	want(t, len(seen), others+1)
	// Among them one for the first that the worker found alone.
	if calls = runtime.NumCgoCall() - calls; calls > others/2 {
		t.Errorf("%d calls into C", calls)
	}
}

func TestAnAddThatIsAloneIsOneCall(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		calls := runtime.NumCgoCall()
		for n := 0; n < 1000; n++ {
			_, err := s.Add(background, "event", "test", nil)
			must(t, err)
		}
		if calls = runtime.NumCgoCall() - calls; calls > 1500 {
			t.Errorf("%d calls into C for 1000 events", calls)
		}
	})
}

// What is used again by the next call must not be what a call still reads or writes.
func TestAddManyIsCutOffWhileOthersAdd(t *testing.T) {
	r := ownRedis(t)
	c := open(t, withParameter(r.url(), "command_timeout=60000"))
	s, other := session(t, c), session(t, c)
	must(t, s.Start(background))
	must(t, other.Start(background))
	many := func(text string, count int) []agx.NewEvent {
		events := make([]agx.NewEvent, count)
		for i := range events {
			events[i] = agx.NewEvent{Type: text, Origin: text, Body: json.RawMessage(`"` + text + `"`)}
		}
		return events
	}
	must(t, r.command.Process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithCancel(background)
	cut := make(chan error)
	go func() {
		_, err := s.AddMany(ctx, many("first", 700))
		cut <- err
	}()
	until(t, "the call waits", func() bool { return inside("Agxb_add_many(") == 1 })
	cancel()
	err := <-cut
	wantIs(t, err, agx.ErrUncertain)
	wantIs(t, err, context.Canceled)
	added := make(chan []string)
	for i := 0; i < 4; i++ {
		go func() {
			ids, err := other.AddMany(background, many("other", 700))
			if err != nil {
				t.Error(err)
			}
			added <- ids
		}()
	}
	must(t, r.command.Process.Signal(syscall.SIGCONT))
	ids := map[string]bool{}
	for i := 0; i < 4; i++ {
		for _, id := range <-added {
			ids[id] = true
		}
	}
	want(t, len(ids), 2800)
	until(t, "what was cut off is stored", func() bool {
		info, err := s.HistoryInfo(background)
		must(t, err)
		return info.Length == 701
	})
	must(t, s.Stop(background, grace))
	must(t, other.Stop(background, grace))
	for _, e := range rest(t, listen(t, s))[1:701] {
		want(t, e.Type+e.Origin+string(e.Body), `firstfirst"first"`)
	}
	for _, e := range rest(t, listen(t, other))[1:2801] {
		want(t, e.Type+e.Origin+string(e.Body), `otherother"other"`)
		want(t, ids[e.ID], true)
	}
}

// What was queued before a call is in the stream before what the call writes.
func TestNothingOvertakesWhatIsQueued(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 100
		c := open(t, url)
		queue := func(s *agx.Session) {
			for n := 0; n < count; n++ {
				_, err := s.AddAsync(background, "event", "test", json.RawMessage(fmt.Sprint(n)))
				must(t, err)
			}
		}
		all := func(s *agx.Session) []agx.Event { return rest(t, listen(t, s))[1:] }
		for round := 0; round < 5; round++ {
			s := session(t, c)
			must(t, s.Start(background))
			queue(s)
			must(t, s.Stop(background, grace))
			want(t, len(all(s)), count)

			s = session(t, c)
			must(t, s.Start(background))
			queue(s)
			_, err := s.AddMany(background, []agx.NewEvent{{Type: "many", Origin: "test"}})
			must(t, err)
			queue(s)
			must(t, s.AddChecked(background, []agx.NewEvent{{Type: "checked", Origin: "test"}}, "x", "", "1"))
			must(t, s.Stop(background, grace))
			events := all(s)
			want(t, len(events), 2*count+2)
			want(t, events[count].Type, "many")
			want(t, events[2*count+1].Type, "checked")

			s = session(t, c)
			must(t, s.Execute(background, func(context.Context, *agx.Run) error {
				queue(s)
				return nil
			}, agx.Grace(grace)))
			want(t, len(all(s)), count)
		}
	})
}

// A context ends the wait for what is queued, and an interceptor does not wait for itself.
func TestWhoWaitsForWhatIsQueued(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		entered, leave := make(chan struct{}), make(chan struct{})
		i, err := s.Intercept(`type = "slow"`, func(*agx.Intercepted) error {
			close(entered)
			<-leave
			_, err := s.AddMany(background, []agx.NewEvent{{Type: "own", Origin: "test"}})
			return err
		})
		must(t, err)
		defer i.Close()
		p, err := s.AddAsync(background, "slow", "test", nil)
		must(t, err)
		<-entered
		ctx, cancel := context.WithCancel(background)
		result := make(chan error, 1)
		go func() { result <- s.Stop(ctx, grace) }()
		until(t, "it waits", func() bool { return inside("(*adder).drain(") == 1 })
		cancel()
		err = <-result
		wantIs(t, err, context.Canceled)
		want(t, errors.Is(err, agx.ErrUncertain), false) // nothing was sent
		close(leave)
		_, err = p.Wait(background)
		must(t, err)
		must(t, s.Stop(background, grace))
		events := rest(t, listen(t, s))
		want(t, len(events), 3)
		want(t, events[1].Type, "own")
		want(t, events[2].Type, "slow")
	})
}
