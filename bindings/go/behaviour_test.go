package agx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// The cases of tests/behaviour.txt, by name; tests/behaviour_names_test.py compares them.
var behaviour = map[string]func(t *testing.T, url string){
	"start_add_stop":       startAddStop,
	"late_listener":        lateListener,
	"follow_live":          followLive,
	"resume":               resume,
	"only_new":             onlyNew,
	"limit":                limit,
	"where":                where,
	"absent":               absent,
	"silent":               silent,
	"gone":                 gone,
	"gap":                  gap,
	"end_is_iteration_end": endIsIterationEnd,
	"start_busy":           startBusy,
	"take_over":            takeOver,
	"cancel":               cancelSession,
	"cancel_not_live":      cancelNotLive,
	"live":                 live,
	"add_many":             addMany,
	"text":                 text,
	"bad_body":             badBody,
	"closed":               closed,
	"close_while_waiting":  closeWhileWaiting,
	"language_cancel":      languageCancel,
	"query":                query,
	"wait_for":             waitFor,
	"history":              history,
	"many_listeners":       manyListeners,
	"run_feed":             runFeed,
	"run_fail":             runFail,
	"messages":             messages,
	"unreachable":          unreachable,
	"group_read_ack":       groupReadAck,
	"group_claim":          groupClaim,
	"group_process":        groupProcess,
	"group_dead_letters":   groupDeadLetters,
	"group_info":           groupInfo,
	"group_interrupt":      groupInterrupt,
	"callback_error":       callbackError,
	"intercept":            intercept,
	"subscribe":            subscribe,
	"formats":              formats,
	"replace_drop":         replaceDrop,
	"checkpoint":           checkpoint,
}

func TestBehaviour(t *testing.T) {
	for _, kind := range stores {
		kind := kind
		t.Run(kind, func(t *testing.T) {
			for name, test := range behaviour {
				test := test
				t.Run(name, func(t *testing.T) { test(t, urlOf(kind)) })
			}
		})
	}
}

func startAddStop(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	first, second := add(t, s, 1), add(t, s, 2)
	must(t, s.Stop(background, grace))
	events := rest(t, listen(t, s))
	want(t, len(events), 3)
	want(t, events[0].Type, "begin")
	want(t, events[1].ID, first)
	want(t, events[2].ID, second)
	want(t, string(events[1].Body), `{"n":1}`)
	want(t, events[1].Origin, "test")
	if age := time.Since(events[1].Time()); age < -time.Minute || age > time.Minute {
		t.Fatalf("the event's time is %v", events[1].Time())
	}
}

func lateListener(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	for n := 0; n < 100; n++ {
		add(t, s, n)
	}
	must(t, s.Stop(background, grace))
	want(t, len(rest(t, listen(t, another(t, c, s)))), 101)
}

func followLive(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	l := listen(t, another(t, c, s))
	want(t, next(t, l).Type, "begin")
	got := make(chan agx.Event)
	go func() {
		event, _ := nextErr(l)
		got <- event
	}()
	id := add(t, s, 1)
	want(t, (<-got).ID, id)
	must(t, s.Stop(background, grace))
	want(t, len(rest(t, l)), 0)
}

func resume(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	for n := 0; n < 10; n++ {
		add(t, s, n)
	}
	must(t, s.Stop(background, grace))
	l := listen(t, s)
	want(t, l.Position(), "0-0")
	for n := -1; n < 4; n++ {
		want(t, next(t, l).ID, l.Position())
	}
	events := rest(t, listen(t, s, agx.After(l.Position())))
	want(t, len(events), 6)
	want(t, string(events[0].Body), `{"n":4}`)
}

func onlyNew(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	add(t, s, 1)
	l := listen(t, s, agx.OnlyNew())
	id := add(t, s, 2)
	want(t, next(t, l).ID, id)
	must(t, s.Stop(background, grace))
	want(t, len(rest(t, l)), 0)
}

func limit(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	first := add(t, s, 1)
	add(t, s, 2)
	l := listen(t, s, agx.Limit(2))
	want(t, len(rest(t, l)), 2)
	want(t, l.Position(), first)
	_, err := nextErr(l)
	wantIs(t, err, io.EOF)
}

func where(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	for n := 0; n < 6; n++ {
		add(t, s, n)
	}
	must(t, s.Stop(background, grace))
	events := rest(t, listen(t, s, agx.Where(`type = "event" and body.n >= 4`)))
	want(t, texts(events), "event {\"n\":4}\nevent {\"n\":5}")
	_, err := s.OpenListener(background, agx.Where("type = = 1"))
	wantIs(t, err, agx.ErrInvalid)
	if !strings.Contains(err.Error(), "byte") {
		t.Fatalf("the message does not say where: %v", err)
	}
}

func absent(t *testing.T, url string) {
	s := session(t, open(t, url))
	l := listen(t, s, agx.Wait(50*time.Millisecond))
	for i := 0; i < 2; i++ {
		_, err := nextErr(l)
		wantIs(t, err, agx.ErrAbsent)
	}
}

func silent(t *testing.T, url string) {
	s := session(t, open(t, url))
	must(t, s.Start(background))
	l := listen(t, s, agx.Timeout(200*time.Millisecond))
	want(t, next(t, l).Type, "begin")
	_, err := nextErr(l)
	wantIs(t, err, agx.ErrSilent)
	id := add(t, s, 1)
	for err != nil || l.Position() != id {
		if _, err = nextErr(l); err != nil {
			wantIs(t, err, agx.ErrSilent)
		}
	}
}

func gone(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background, agx.Detached(), agx.Lease(200*time.Millisecond)))
	l := listen(t, s)
	want(t, next(t, l).Type, "begin")
	_, err := nextErr(l)
	wantIs(t, err, agx.ErrGone)
	want(t, l.GoneReason(), agx.GoneExpired)
	want(t, listen(t, s).GoneReason(), agx.NotGone)
}

func gap(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	first := add(t, s, 1)
	for n := 2; n < 10; n++ {
		add(t, s, n)
	}
	_, err := s.Trim(background, 2)
	must(t, err)
	l := listen(t, s, agx.After(first))
	_, err = nextErr(l)
	wantIs(t, err, agx.ErrGap)
	want(t, string(next(t, l).Body), `{"n":8}`)
	must(t, s.Stop(background, grace))
	want(t, len(rest(t, l)), 1)
}

func endIsIterationEnd(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	must(t, s.Stop(background, grace))
	events := 0
	for item := range listen(t, s).Chan(background) {
		must(t, item.Err)
		events++
	}
	want(t, events, 1)
	l := listen(t, s, agx.HandOnEnd())
	want(t, texts(rest(t, l))[:5], "begin")
	for i := 0; i < 3; i++ {
		_, err := nextErr(l)
		wantIs(t, err, io.EOF)
	}
}

func startBusy(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	err := another(t, c, s).Start(background)
	wantIs(t, err, agx.ErrBusy)
	var told *agx.Error
	if !errors.As(err, &told) || told.Code != agx.ErrBusy || told.Message == "" {
		t.Fatalf("the error is %#v", err)
	}
}

func takeOver(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	other := another(t, c, s)
	must(t, other.Start(background, agx.TakeOver()))
	wantIs(t, s.WaitCanceled(background), agx.ErrTakenOver)
	_, err := s.Add(background, "event", "test", nil)
	wantIs(t, err, agx.ErrTakenOver)
	wantIs(t, s.Stop(background, grace), agx.ErrTakenOver)
	must(t, other.Stop(background, grace))
}

func cancelSession(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	want(t, s.IsCanceled(), false)
	inner, stop := s.Context(background)
	defer stop()
	waited := make(chan error, 1)
	go func() { waited <- s.WaitCanceled(background) }()
	was, err := another(t, c, s).Cancel(background)
	must(t, err)
	want(t, was, true)
	must(t, <-waited)
	<-inner.Done()
	want(t, s.IsCanceled(), true)
}

func cancelNotLive(t *testing.T, url string) {
	was, err := session(t, open(t, url)).Cancel(background)
	must(t, err)
	want(t, was, false)
}

func live(t *testing.T, url string) {
	s := session(t, open(t, url))
	is := func() bool {
		live, err := s.IsLive(background)
		must(t, err)
		return live
	}
	want(t, is(), false)
	must(t, s.Start(background))
	want(t, is(), true)
	must(t, s.Renew(background))
	must(t, s.Stop(background, grace))
	want(t, is(), false)
	wantIs(t, s.Renew(background), agx.ErrNotLive)
}

func addMany(t *testing.T, url string) {
	s := session(t, open(t, url))
	must(t, s.Start(background))
	var batch []agx.NewEvent
	for n := 0; n < 1000; n++ {
		batch = append(batch, agx.NewEvent{Type: "event", Origin: "test",
			Body: json.RawMessage(fmt.Sprint(n))})
	}
	batch[7].Body = nil
	ids, err := s.AddMany(background, batch)
	must(t, err)
	want(t, len(ids), 1000)
	must(t, s.Stop(background, grace))
	events := rest(t, listen(t, s))[1:]
	want(t, len(events), 1000)
	for n, event := range events {
		want(t, event.ID, ids[n])
		if n != 7 {
			want(t, string(event.Body), fmt.Sprint(n))
		}
	}
	want(t, string(events[7].Body), "{}")
}

func text(t *testing.T, url string) {
	s := session(t, open(t, url))
	must(t, s.Start(background))
	every := "a\u00e9\u4e2d\U0001F600\u2028\uFEFF\x01\u202e\\\"\n"
	_, err := s.AddJSON(background, "\U0001F600", "\u00fcml", map[string]string{"t": every})
	must(t, err)
	large, err := json.Marshal(strings.Repeat("\U0001F600x", 1<<20/5))
	must(t, err)
	_, err = s.Add(background, "large", "test", large)
	must(t, err)
	for _, bad := range []string{"a\x00b", "\xed\xa0\x80", "\xff", "\xf0\x9f\x98"} {
		_, err = s.Add(background, bad, "test", nil)
		wantIs(t, err, agx.ErrInvalid)
		_, err = s.Add(background, "event", bad, nil)
		wantIs(t, err, agx.ErrInvalid)
		_, err = s.Add(background, "event", "test", json.RawMessage(`"`+bad+`"`))
		wantIs(t, err, agx.ErrInvalid)
		_, err = s.AddMany(background, []agx.NewEvent{{Type: bad, Origin: "test"}})
		wantIs(t, err, agx.ErrInvalid)
		_, err = s.OpenListener(background, agx.Where(bad))
		wantIs(t, err, agx.ErrInvalid)
	}
	must(t, s.Stop(background, grace))
	events := rest(t, listen(t, s))
	want(t, len(events), 3)
	want(t, events[1].Type, "\U0001F600")
	want(t, events[1].Origin, "\u00fcml")
	var body struct{ T string }
	must(t, events[1].Decode(&body))
	want(t, body.T, every)
	want(t, string(events[2].Body), string(large))
}

func badBody(t *testing.T, url string) {
	s := session(t, open(t, url))
	_, err := s.Add(background, "event", "test", json.RawMessage(`{"a":`))
	wantIs(t, err, agx.ErrJSON)
	_, err = s.AddJSON(background, "event", "test", make(chan int))
	wantIs(t, err, agx.ErrJSON)
	// With a context that can end it goes another way.
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	_, err = s.Add(ctx, "event", "test", json.RawMessage(`{"a":`))
	wantIs(t, err, agx.ErrJSON)
}

func closed(t *testing.T, url string) {
	c, err := agx.Open(background, url)
	must(t, err)
	s := session(t, c)
	must(t, s.Start(background))
	l := listen(t, s)
	m, err := s.Messages()
	must(t, err)
	q, err := c.Query(1, 42)
	must(t, err)
	r, err := session(t, c).Run(background)
	must(t, err)
	for i := 0; i < 2; i++ {
		must(t, l.Close())
		must(t, q.Close())
		must(t, r.Close())
		must(t, m.Close())
		must(t, s.Close())
	}
	calls := map[string]func() error{
		"Next":        func() error { _, err := l.Next(background); return err },
		"Query.Next":  func() error { _, err := q.Next(background); return err },
		"JSON":        func() error { _, err := m.JSON(); return err },
		"Save":        func() error { return m.Save(background) },
		"Feed":        func() error { return r.Feed(background, agx.OpenAIChat, nil) },
		"NodeEnd":     func() error { _, err := r.NodeEnd(background); return err },
		"Start":       func() error { return s.Start(background) },
		"Stop":        func() error { return s.Stop(background, 0) },
		"Add":         func() error { _, err := s.Add(background, "a", "b", nil); return err },
		"AddMany":     func() error { _, err := s.AddMany(background, make([]agx.NewEvent, 1)); return err },
		"Cancel":      func() error { _, err := s.Cancel(background); return err },
		"IsLive":      func() error { _, err := s.IsLive(background); return err },
		"Open":        func() error { _, err := s.OpenListener(background); return err },
		"History":     func() error { _, err := s.History(background, agx.HistoryRange{}); return err },
		"HistoryInfo": func() error { _, err := s.HistoryInfo(background); return err },
		"Trim":        func() error { _, err := s.Trim(background, 1); return err },
		"Delete":      func() error { return s.Delete(background) },
		"Renew":       func() error { return s.Renew(background) },
		"Wait":        func() error { return s.WaitCanceled(background) },
		"WaitFor":     func() error { _, err := s.WaitFor(background, ""); return err },
		"Run":         func() error { _, err := s.Run(background); return err },
		"Messages":    func() error { _, err := s.Messages(); return err },
		"AddAsync": func() error {
			p, err := s.AddAsync(background, "a", "b", nil)
			must(t, err)
			_, err = p.Wait(background)
			return err
		},
	}
	for name, call := range calls {
		err := call()
		if !errors.Is(err, agx.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		} else if !strings.HasSuffix(err.Error(), " is closed") {
			t.Errorf("%s does not just say what is closed: %v", name, err)
		}
	}
	want(t, s.IsCanceled(), true)

	open := session(t, c)
	must(t, c.Close())
	must(t, c.Close())
	_, err = open.IsLive(background)
	wantIs(t, err, agx.ErrClosed)
	_, err = open.OpenListener(background)
	wantIs(t, err, agx.ErrClosed)
	_, err = c.Session(1, 2, "x")
	wantIs(t, err, agx.ErrClosed)
	_, err = c.Query(1, 2)
	wantIs(t, err, agx.ErrClosed)
}

func closeWhileWaiting(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	l, byClient := listen(t, s, agx.OnlyNew()), listen(t, s, agx.OnlyNew())
	waits := make(chan error, 4)
	wait := func(l *agx.Listener) {
		_, err := l.Next(background)
		waits <- err
	}
	for i := 0; i < 3; i++ {
		go wait(l)
	}
	until(t, "all wait", func() bool { return inside("(*Listener).Next(") == 3 })
	must(t, l.Close())
	for i := 0; i < 3; i++ {
		wantIs(t, <-waits, agx.ErrClosed)
	}
	go wait(byClient)
	go func() { waits <- s.WaitCanceled(background) }()
	go func() {
		_, err := s.WaitFor(background, "")
		if err == nil {
			err = errors.New("an event came")
		}
		if errors.Is(err, agx.ErrClosed) {
			waits <- err
		}
	}()
	must(t, c.Close())
	wantIs(t, <-waits, agx.ErrClosed)
	wantIs(t, <-waits, agx.ErrClosed)
}

func languageCancel(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	l := listen(t, s, agx.OnlyNew())
	waits := map[string]func(context.Context) error{
		"Next":         func(ctx context.Context) error { _, err := l.Next(ctx); return err },
		"WaitCanceled": s.WaitCanceled,
		"WaitFor":      func(ctx context.Context) error { _, err := s.WaitFor(ctx, "body.never"); return err },
	}
	for name, wait := range waits {
		ctx, cancel := context.WithCancel(background)
		result := make(chan error, 1)
		go func() { result <- wait(ctx) }()
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if err := wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that is done: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	_, err := l.Next(ctx)
	wantIs(t, err, context.DeadlineExceeded)
	_, err = s.Add(ctx, "event", "test", nil)
	wantIs(t, err, context.DeadlineExceeded)
	id := add(t, s, 1)
	want(t, next(t, l).ID, id)
}

func query(t *testing.T, url string) {
	c := open(t, url)
	for _, id := range []agx.SessionID{{1, 1, "a"}, {1, 1, "b:\u00e9*"}, {1, 2, "c"}, {2, 1, "d"}} {
		s, err := c.Session(id.Scope, id.User, id.Session)
		must(t, err)
		defer s.Close()
		must(t, s.Start(background))
	}
	count := func(scope, user int64) int {
		q, err := c.Query(scope, user)
		must(t, err)
		defer q.Close()
		found := map[agx.SessionID]bool{}
		for {
			id, err := q.Next(background)
			if err == io.EOF {
				return len(found)
			}
			must(t, err)
			found[id] = true
		}
	}
	want(t, count(1, 1), 2)
	want(t, count(1, agx.Any), 3)
	want(t, count(agx.Any, agx.Any), 4)
	_, err := c.Query(agx.Any, 1)
	wantIs(t, err, agx.ErrInvalid)
}

func waitFor(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	got := make(chan agx.Event, 1)
	go func() {
		event, err := s.WaitFor(background, `type = "answer" and body.to = 7`)
		if err != nil {
			t.Error(err)
		}
		got <- event
	}()
	other := another(t, c, s)
	for _, to := range []int{6, 7, 8} {
		_, err := other.AddJSON(background, "answer", "person", map[string]int{"to": to})
		must(t, err)
	}
	want(t, string((<-got).Body), `{"to":7}`)
	event, err := s.WaitFor(background, `type = "answer"`)
	must(t, err)
	want(t, string(event.Body), `{"to":8}`)
	_, err = other.Cancel(background)
	must(t, err)
	_, err = s.WaitFor(background, "")
	wantIs(t, err, agx.ErrCanceled)
}

func history(t *testing.T, url string) {
	s := session(t, open(t, url))
	_, err := s.HistoryInfo(background)
	wantIs(t, err, agx.ErrNotFound)
	wantIs(t, s.Delete(background), agx.ErrNotFound)
	none, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(none), 0)

	must(t, s.Start(background))
	var ids []string
	for n := 0; n < 10; n++ {
		ids = append(ids, add(t, s, n))
	}
	read := func(of agx.HistoryRange) []agx.Event {
		events, err := s.History(background, of)
		must(t, err)
		return events
	}
	want(t, len(read(agx.HistoryRange{})), 11)
	want(t, texts(read(agx.HistoryRange{Reverse: true, Limit: 2})), "event {\"n\":9}\nevent {\"n\":8}")
	want(t, texts(read(agx.HistoryRange{After: ids[7]})), "event {\"n\":8}\nevent {\"n\":9}")
	want(t, texts(read(agx.HistoryRange{Before: ids[0]}))[:5], "begin")
	want(t, texts(read(agx.HistoryRange{Where: "body.n = 3"})), "event {\"n\":3}")

	info, err := s.HistoryInfo(background)
	must(t, err)
	want(t, info.Length, 11)
	want(t, info.LastID, ids[9])
	want(t, info.Live, true)
	want(t, info.Expires < 0, true)
	removed, err := s.Trim(background, 4)
	must(t, err)
	want(t, removed, 7)
	removed, err = s.TrimBefore(background, ids[8])
	must(t, err)
	want(t, removed, 2)
	want(t, len(read(agx.HistoryRange{})), 2)
	must(t, s.Delete(background))
	_, err = s.HistoryInfo(background)
	wantIs(t, err, agx.ErrNotFound)
}

func manyListeners(t *testing.T, url string) { serveListeners(t, url, 1000) }

func runFeed(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	r, err := s.Run(background, agx.Grace(grace))
	must(t, err)
	defer r.Close()
	// Cut anywhere, also in the middle of a character.
	for i := 0; i < len(modelStream); i += 7 {
		end := i + 7
		if end > len(modelStream) {
			end = len(modelStream)
		}
		must(t, r.Feed(background, agx.OpenAIChat, []byte(modelStream[i:end])))
	}
	response, err := r.FeedEnd(background)
	must(t, err)
	must(t, r.Finish(background))
	if !strings.Contains(string(response), "Hello, \U0001F600") {
		t.Fatalf("the response is %s", response)
	}
	all := texts(rest(t, listen(t, s)))
	for _, part := range []string{"Hello", "\U0001F600", "part_delta"} {
		if !strings.Contains(all, part) {
			t.Fatalf("no %q in:\n%s", part, all)
		}
	}
	m, err := agx.ParseMessages(nil)
	must(t, err)
	defer m.Close()
	must(t, m.Append(response))
	want(t, m.Len(), 1)
	wantIs(t, r.NodeBegin(background), agx.ErrState)
}

const modelStream = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}

data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":", ` + "\U0001F600" + `"},"finish_reason":null}]}

data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

`

func runFail(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	broken := errors.New("the oven is broken")
	err := s.Execute(background, func(context.Context, *agx.Run) error { return broken }, agx.Grace(grace))
	wantIs(t, err, broken)
	events := rest(t, listen(t, s, agx.HandOnEnd()))
	want(t, events[len(events)-1].Type, "end")
	want(t, texts(events[len(events)-2:len(events)-1]), `error {"msg": "crashed - the oven is broken"}`)
}

func messages(t *testing.T, url string) {
	s := session(t, open(t, url))
	m, err := s.Messages()
	must(t, err)
	defer m.Close()
	must(t, m.Load(background))
	must(t, m.AppendSystem("Be kind."))
	must(t, m.AppendUser("H\u00e4? \U0001F600"))
	must(t, m.Save(background))
	again, err := s.Messages()
	must(t, err)
	defer again.Close()
	must(t, again.Load(background))
	before, err := m.JSON()
	must(t, err)
	after, err := again.JSON()
	must(t, err)
	want(t, string(after), string(before))
	content, isJSON, err := again.PartField(0, 1, "content")
	must(t, err)
	want(t, content, "H\u00e4? \U0001F600")
	want(t, isJSON, false)
	_, _, err = again.Field(0, "nothing")
	wantIs(t, err, agx.ErrNotFound)
	want(t, again.Parts(0), 2)
	title, err := again.Title()
	must(t, err)
	want(t, title, content)
	request, err := again.Request(agx.OpenAIChat, json.RawMessage(`{"model":"m"}`))
	must(t, err)
	if !strings.Contains(string(request), `"model":"m"`) {
		t.Fatalf("the request is %s", request)
	}
	must(t, again.AppendUser("x"))
	must(t, again.Save(background))
	must(t, m.AppendUser("y"))
	wantIs(t, m.Save(background), agx.ErrConflict)
	wantIs(t, m.AppendUser("a\x00"), agx.ErrInvalid)
}

func unreachable(t *testing.T, url string) {
	if strings.HasPrefix(url, "memory:") {
		url = "unix:///nowhere/at/all?reconnect_timeout=-1"
	} else {
		url = "redis://127.0.0.1:1?reconnect_timeout=-1"
	}
	_, err := agx.Open(background, url)
	wantIs(t, err, agx.ErrUnavailable)
	wantIs(t, err, agx.ErrConnect)
	if !strings.Contains(err.Error(), "127.0.0.1") && !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Fatalf("the message has no address: %v", err)
	}
}
