package agx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// Cases of behaviour_test.go: groups, functions that are called, formats, and what is kept.

func group(t testing.TB, s *agx.Session, consumer string) *agx.Group {
	t.Helper()
	g, err := s.Group(background, "workers", agx.GroupOptions{Consumer: consumer})
	must(t, err)
	t.Cleanup(func() { g.Close() })
	return g
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, patience)
	t.Cleanup(cancel)
	return ctx
}

func read(t testing.TB, g *agx.Group, most int, options ...agx.ReadOption) []agx.Event {
	t.Helper()
	events, err := g.Read(patient(t), most, options...)
	must(t, err)
	return events
}

func ids(events []agx.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

func thrownBy(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func groupReadAck(t *testing.T, url string) {
	s := session(t, open(t, url))
	one, two := group(t, s, "one"), group(t, s, "two")
	want(t, one.Consumer(), "one")
	added := []string{add(t, s, 1), add(t, s, 2), add(t, s, 3), add(t, s, 4)}
	first, second := read(t, one, 2), read(t, two, 10)
	want(t, ids(first)+" "+ids(second), strings.Join(added, " "))
	acknowledged, err := one.Ack(background, added[0], added[2])
	must(t, err)
	want(t, acknowledged, 2)
	acknowledged, err = one.Ack(background, added[0])
	must(t, err)
	want(t, acknowledged, 0)
	info, err := one.Pending(background)
	must(t, err)
	want(t, info, agx.PendingInfo{Count: 2, LowestID: added[1], HighestID: added[3], Consumers: 2})
	// What was not acknowledged comes again, to whom it was given.
	again := group(t, s, "two")
	want(t, ids(read(t, again, 10, agx.PendingFirst())), added[3])
	want(t, ids(read(t, one, 10, agx.PendingOnly())), added[1])
	_, err = one.Read(background, 10, agx.PendingOnly())
	wantIs(t, err, io.EOF)
	_, err = one.Read(background, 10, agx.ReadWait(0))
	wantIs(t, err, agx.ErrTimeout)
	fifth := add(t, s, 5)
	want(t, ids(read(t, again, 10, agx.PendingFirst())), fifth)
	_, err = one.Ack(background, "not an id")
	wantIs(t, err, agx.ErrInvalid)
	_, err = s.Group(background, "nobody", agx.GroupOptions{MustExist: true})
	wantIs(t, err, agx.ErrNotFound)
}

func groupClaim(t *testing.T, url string) {
	s := session(t, open(t, url))
	one, two := group(t, s, "one"), group(t, s, "two")
	added := []string{add(t, s, 1), add(t, s, 2), add(t, s, 3)}
	want(t, len(read(t, one, 10)), 3)
	claimed, err := two.Claim(background, time.Hour, added...)
	must(t, err)
	want(t, len(claimed), 0)
	claimed, err = two.Claim(background, 0, added[0])
	must(t, err)
	want(t, ids(claimed), added[0])
	const idle = 50 * time.Millisecond
	until(t, "the others are idle", func() bool {
		left, err := one.PendingEvents(background, agx.PendingFilter{Consumer: "one", Idle: idle})
		must(t, err)
		return len(left) == 2
	})
	var all []agx.Event
	cursor := ""
	for {
		events, next, err := two.AutoClaim(background, idle, cursor, 1)
		must(t, err)
		for _, e := range events {
			if e.ID != added[0] { // that one may be idle for so long by now
				all = append(all, e)
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	want(t, ids(all), added[1]+" "+added[2])
	list, err := two.PendingEvents(background, agx.PendingFilter{After: added[0], Limit: 1})
	must(t, err)
	want(t, len(list), 1)
	want(t, list[0].ID, added[1])
	want(t, list[0].Consumer, "two")
	want(t, list[0].Attempts, int64(2))
}

func groupProcess(t *testing.T, url string) {
	s := session(t, open(t, url))
	g := group(t, s, "one")
	var added []string
	for n := 0; n < 20; n++ {
		added = append(added, add(t, s, n))
	}
	broken := errors.New("the \U0001F600 oven is broken")
	attempts := map[string][]int{}
	told := 0
	err := g.Process(patient(t), func(event agx.Event, attempt int) error {
		attempts[event.ID] = append(attempts[event.ID], attempt)
		if event.ID == added[3] || event.ID == added[5] && attempt == 1 {
			return fmt.Errorf("cannot: %w", broken)
		}
		return nil
	}, agx.ProcessOptions{MaxAttempts: 2, Backoff: time.Millisecond, Count: 4, Timeout: time.Second,
		OnFailure: func(event agx.Event, attempt int, err error) error {
			told++
			wantIs(t, err, broken)
			return nil
		}})
	wantIs(t, err, agx.ErrTimeout)
	want(t, len(attempts), 20)
	for i, id := range added {
		wanted := "[1]"
		if i == 3 || i == 5 {
			wanted = "[1 2]"
		}
		want(t, fmt.Sprint(attempts[id]), wanted)
	}
	want(t, told, 3)
	letters, err := g.DeadLetters(background, "", 0)
	must(t, err)
	want(t, len(letters), 1)
	want(t, letters[0].OriginalID, added[3])
	want(t, letters[0].Reason, "cannot: "+broken.Error())
	want(t, letters[0].Attempts, int64(2))
	info, err := g.Pending(background)
	must(t, err)
	want(t, info.Count, int64(0))

	// With a limit it ends without an error.
	add(t, s, 20)
	add(t, s, 21)
	must(t, g.Process(patient(t), func(agx.Event, int) error { return nil }, agx.ProcessOptions{Limit: 2, Count: 1}))
}

func groupDeadLetters(t *testing.T, url string) {
	s := session(t, open(t, url))
	g := group(t, s, "one")
	first, second := add(t, s, 1), add(t, s, 2)
	failing := func(agx.Event, int) error { return errors.New("no") }
	process := func() {
		err := g.Process(patient(t), failing, agx.ProcessOptions{MaxAttempts: 1, Timeout: 50 * time.Millisecond})
		wantIs(t, err, agx.ErrTimeout)
	}
	process()
	letters, err := g.DeadLetters(background, "", 10)
	must(t, err)
	want(t, len(letters), 2)
	want(t, letters[0].OriginalID, first)
	want(t, string(letters[0].Event.Body), `{"n":1}`)
	if !strings.Contains(letters[0].OriginalStream, s.ID().Session) {
		t.Fatalf("it comes from %q", letters[0].OriginalStream)
	}
	if age := time.Since(letters[0].Time); age < -time.Minute || age > time.Minute {
		t.Fatalf("it died %v ago", age)
	}
	behind, err := g.DeadLetters(background, letters[0].Event.ID, 10)
	must(t, err)
	want(t, len(behind), 1)
	want(t, behind[0].OriginalID, second)

	replayed, err := g.Replay(background, letters[0].Event.ID)
	must(t, err)
	want(t, replayed, 1)
	events := read(t, g, 10)
	want(t, texts(events), `event {"n":1}`)
	from, found := events[0].Field("replayed_from_dlq")
	want(t, found, true)
	want(t, from, letters[0].Event.ID)
	deleted, err := g.DeleteDeadLetters(background, letters[0].Event.ID, letters[1].Event.ID)
	must(t, err)
	want(t, deleted, 1)
	letters, err = g.DeadLetters(background, "", 10)
	must(t, err)
	want(t, len(letters), 0)
}

func groupInfo(t *testing.T, url string) {
	s := session(t, open(t, url))
	none, err := s.Groups(background)
	must(t, err)
	want(t, len(none), 0)
	one, two := group(t, s, "one"), group(t, s, "two")
	first := add(t, s, 1)
	last := add(t, s, 2)
	add(t, s, 3)
	read(t, one, 1)
	read(t, two, 1)
	groups, err := s.Groups(background)
	must(t, err)
	want(t, len(groups), 1)
	want(t, groups[0], agx.GroupInfo{Name: "workers", LastDeliveredID: last, Consumers: 2, Pending: 2, Lag: 1})
	consumers, err := one.Consumers(background)
	must(t, err)
	want(t, len(consumers), 2)
	want(t, consumers[0].Name, "one")
	want(t, consumers[0].Pending, int64(1))
	health, err := one.Health(background)
	must(t, err)
	want(t, health.OldestPending >= 0, true)
	health.OldestPending = 0
	want(t, health, agx.Health{Length: 3, Pending: 2, Lag: 1, Consumers: 2, LastDeliveredID: last})
	pending, err := one.PendingEvents(background, agx.PendingFilter{Consumer: "one"})
	must(t, err)
	want(t, len(pending), 1)
	want(t, pending[0].ID, first)

	lost, err := one.DeleteConsumer(background, "two")
	must(t, err)
	want(t, lost, 1)
	consumers, err = one.Consumers(background)
	must(t, err)
	want(t, len(consumers), 1)
	must(t, one.Delete(background))
	wantIs(t, one.Delete(background), agx.ErrNotFound)
	_, err = one.Health(background)
	wantIs(t, err, agx.ErrNotFound)
	_, err = one.Read(background, 1)
	wantIs(t, err, agx.ErrNotFound)
}

func groupInterrupt(t *testing.T, url string) {
	s := session(t, open(t, url))
	g := group(t, s, "one")
	for i := 0; i < 20; i++ {
		ctx, cancel := context.WithCancel(background)
		result := make(chan error, 1)
		go func() {
			_, err := g.Read(ctx, 10)
			result <- err
		}()
		if i%2 == 0 {
			// Else it may be before that.
			until(t, "the read waits", func() bool {
				return inside("(*Group).read(") == 1 && inside("Agxb_group_batch(") == 1
			})
		}
		cancel()
		wantIs(t, <-result, context.Canceled)
	}
	// The next one is not interrupted, and nothing was lost.
	id := add(t, s, 1)
	want(t, ids(read(t, g, 10)), id)
	_, err := g.Ack(background, id)
	must(t, err)

	// A process handles what it holds.
	for n := 0; n < 8; n++ {
		add(t, s, n)
	}
	ctx, cancel := context.WithCancel(background)
	handled := 0
	err = g.Process(ctx, func(agx.Event, int) error {
		if handled++; handled == 3 {
			cancel()
			_, err := g.Read(background, 1)
			wantIs(t, err, agx.ErrBusy)
		}
		return nil
	}, agx.ProcessOptions{Count: 8})
	wantIs(t, err, context.Canceled)
	want(t, handled, 8)
	info, err := g.Pending(background)
	must(t, err)
	want(t, info.Count, int64(0))
	// And one that waits ends as well.
	ctx, cancel = context.WithCancel(background)
	result := make(chan error, 1)
	go func() {
		result <- g.Process(ctx, func(agx.Event, int) error { return nil }, agx.ProcessOptions{})
	}()
	until(t, "the process waits", func() bool { return inside("Agxb_group_process(") == 1 })
	cancel()
	wantIs(t, <-result, context.Canceled)
}

func callbackError(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	broken := errors.New("the oven is broken")
	mode := ""
	i, err := s.Intercept(`type = "event"`, func(*agx.Intercepted) error {
		switch mode {
		case "panic":
			panic(broken)
		case "error":
			return fmt.Errorf("cannot: %w", broken)
		}
		return nil
	})
	must(t, err)
	defer i.Close()
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	many := []agx.NewEvent{{Type: "event", Origin: "test"}, {Type: "event", Origin: "test"}}
	adds := map[string]func() error{
		"direct":  func() error { _, err := s.Add(background, "event", "test", nil); return err },
		"context": func() error { _, err := s.Add(ctx, "event", "test", nil); return err },
		"many":    func() error { _, err := s.AddMany(background, many); return err },
		"manyctx": func() error { _, err := s.AddMany(ctx, many); return err },
		"async": func() error {
			p, err := s.AddAsync(background, "event", "test", nil)
			must(t, err)
			_, err = p.Wait(background)
			return err
		},
	}
	for name, add := range adds {
		mode = "panic"
		if value := thrownBy(func() { add() }); value != broken {
			t.Fatalf("%s: %v was thrown", name, value)
		}
		mode = "error"
		err := add()
		wantIs(t, err, broken)
		wantIs(t, err, agx.ErrFailed)
		if !strings.Contains(err.Error(), "cannot: the oven is broken") {
			t.Fatalf("%s: %v", name, err)
		}
		mode = ""
		must(t, add())
	}
	events, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(events), 7)

	g := group(t, s, "one")
	value := thrownBy(func() {
		_ = g.Process(background, func(agx.Event, int) error { panic(broken) }, agx.ProcessOptions{})
	})
	want(t, value == broken, true)
	// Its error stops it where a callback says so.
	stop := errors.New("stop")
	err = g.Process(background, func(agx.Event, int) error { return broken }, agx.ProcessOptions{
		Backoff: time.Millisecond, OnFailure: func(agx.Event, int, error) error { return stop }})
	want(t, err == stop, true)
	handled := 0
	must(t, g.Process(patient(t), func(agx.Event, int) error { handled++; return nil }, agx.ProcessOptions{Limit: 7}))
	want(t, handled, 7)

	sub, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) { panic(broken) })
	must(t, err)
	want(t, thrownBy(func() { _ = sub.Wait(patient(t)) }) == broken, true)
	must(t, sub.Close())
	add(t, s, 1)
}

func intercept(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	calls := 0
	i, err := s.Intercept(`body.n`, func(e *agx.Intercepted) error {
		calls++
		var body struct{ N int }
		must(t, json.Unmarshal(e.Body, &body))
		switch body.N {
		case 1:
			e.Type, e.Origin, e.Body = "changed", "\U0001F600", json.RawMessage(`{"is":"changed"}`)
		case 2:
			e.Body = nil
		case 3:
			return agx.ErrSwallowed
		case 4:
			return agx.Refuse(agx.ErrDenied, "not the \U0001F600")
		case 5:
			e.Body = json.RawMessage("{")
		case 6: // its own events come by the others
			_, err := s.AddJSON(background, "inner", "test", map[string]int{"n": 3})
			must(t, err)
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			_, err = s.AddJSON(ctx, "inner", "test", map[string]int{"n": 4})
			must(t, err)
		}
		return nil
	})
	must(t, err)
	defer i.Close()
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	addN := func(n int) error {
		_, err := s.AddJSON(background, "event", "test", map[string]int{"n": n})
		_, again := s.AddJSON(ctx, "event", "test", map[string]int{"n": n})
		if !errors.Is(again, codeOf(err)) {
			t.Fatalf("%v, and with a context %v", err, again)
		}
		return err
	}
	must(t, addN(0))
	must(t, addN(1))
	must(t, addN(2))
	wantIs(t, addN(3), agx.ErrSwallowed)
	err = addN(4)
	wantIs(t, err, agx.ErrDenied)
	if !strings.Contains(err.Error(), "not the \U0001F600") {
		t.Fatal(err)
	}
	wantIs(t, addN(5), agx.ErrJSON)
	must(t, addN(6))
	_, err = s.Add(background, "event", "test", json.RawMessage(`{"m":1}`))
	must(t, err)
	want(t, calls, 14)
	stored, err := s.AddMany(background, []agx.NewEvent{
		{Type: "event", Origin: "test", Body: []byte(`{"n":3}`)}, {Type: "event", Origin: "test", Body: []byte(`{"n":0}`)}})
	wantIs(t, err, agx.ErrSwallowed)
	want(t, len(stored), 2)
	want(t, stored[0], "")
	must(t, i.Close())
	must(t, i.Close())
	must(t, addN(3))
	want(t, calls, 16)
	events, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	inner := "inner {\"n\":3}\ninner {\"n\":4}\nevent {\"n\":6}\n"
	want(t, texts(events), strings.Repeat("event {\"n\":0}\n", 2)+
		strings.Repeat("changed {\"is\":\"changed\"}\n", 2)+strings.Repeat("event {}\n", 2)+
		inner+inner+"event {\"m\":1}\nevent {\"n\":0}\nevent {\"n\":3}\nevent {\"n\":3}")
	want(t, events[2].Origin, "\U0001F600")
	_, err = s.Intercept("type = = 1", func(*agx.Intercepted) error { return nil })
	wantIs(t, err, agx.ErrInvalid)
}

// codeOf is what errors.Is has to say of another error of the same kind.
func codeOf(err error) error {
	var e *agx.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return nil
}

func subscribe(t *testing.T, url string) {
	c := open(t, url)
	s := session(t, c)
	must(t, s.Start(background))
	var mu sync.Mutex
	var got []agx.Event
	ends := 0
	sub, err := s.Subscribe(background, func(_ *agx.Subscription, event agx.Event, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == io.EOF {
			ends++
			return
		}
		must(t, err)
		got = append(got, event)
	}, agx.Where("body.n >= 10"))
	must(t, err)
	closing := make(chan int, 1)
	calls := 0
	byItself, err := s.Subscribe(background, func(sub *agx.Subscription, event agx.Event, err error) {
		if calls++; calls == 3 {
			must(t, sub.Close())
			closing <- calls
		}
	})
	must(t, err)
	var added []string
	for n := 0; n < 100; n++ {
		added = append(added, add(t, s, n))
	}
	must(t, s.Stop(background, grace))
	must(t, sub.Wait(patient(t)))
	mu.Lock()
	want(t, ids(got), strings.Join(added[10:], " "))
	want(t, ends, 1)
	mu.Unlock()
	want(t, <-closing, 3)
	wantIs(t, byItself.Wait(patient(t)), agx.ErrClosed)
	want(t, calls, 3)
	must(t, byItself.Close())
	must(t, sub.Close())
	_, err = s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {}, agx.Where("type = = 1"))
	wantIs(t, err, agx.ErrInvalid)

	// Closing the client ends it too.
	open := another(t, c, s)
	last, err := open.Subscribe(background, func(*agx.Subscription, agx.Event, error) {}, agx.OnlyNew())
	must(t, err)
	must(t, c.Close())
	wantIs(t, last.Wait(patient(t)), agx.ErrClosed)
	_, err = open.Subscribe(background, func(*agx.Subscription, agx.Event, error) {})
	wantIs(t, err, agx.ErrClosed)
}

func formats(t *testing.T, url string) {
	cases := []struct{ format, kind, body, read, field, cannot string }{
		{"openai-agents", "delta", `{"text":"\ud83d\ude00"}`, `{"text":"\ud83d\ude00"}`, "data", ""},
		{"agent-framework", "event", `{"text":"Day 1"}`, "Day 1", "sequence", "other"},
		{"ag2", "my_app.Answer", `{"a":1}`, "my_app.Answer", "element", "no path!"},
	}
	for _, of := range cases {
		c := open(t, url, agx.WithFormat(of.format))
		name := unique() // such a key has no prefix
		s, err := c.Stream(name)
		must(t, err)
		defer s.Close()
		l := listen(t, s, agx.Wait(-1))
		_, err = s.Add(background, of.kind, "test", json.RawMessage(of.body))
		must(t, err)
		event := next(t, l)
		want(t, event.Type, of.kind)
		if !strings.Contains(string(event.Body), of.read) {
			t.Fatalf("%s: %s", of.format, event.Body)
		}
		value, found := event.Field(of.field)
		want(t, found, true)
		clone := event.Clone()
		want(t, fmt.Sprint(clone.Fields()), fmt.Sprint(event.Fields()))
		want(t, len(clone.Fields()) > 0, true)
		_, found = event.Field("nothing")
		want(t, found, false)
		// From another client, which says so for the one stream.
		other, err := open(t, url).Stream(name, agx.Format(of.format))
		must(t, err)
		defer other.Close()
		events, err := other.History(background, agx.HistoryRange{})
		must(t, err)
		want(t, len(events), 1)
		again, _ := events[0].Field(of.field)
		want(t, again, value)
		if of.cannot != "" {
			_, err = s.Add(background, of.cannot, "test", json.RawMessage(`[1]`))
			wantIs(t, err, agx.ErrUnsupported)
		}
	}
	_, err := open(t, url).Stream("x", agx.Format("nobody's"))
	wantIs(t, err, agx.ErrInvalid)
	plain := session(t, open(t, url))
	id := add(t, plain, 1)
	events, err := plain.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, events[0].ID, id)
	want(t, fmt.Sprint(events[0].Fields()), `[{type event} {origin test} {body {"n":1}}]`)
}

func replaceDrop(t *testing.T, url string) {
	s := session(t, open(t, url))
	must(t, s.Start(background))
	for n := 0; n < 9; n++ {
		add(t, s, n)
	}
	removed, err := s.Replace(background, []agx.NewEvent{
		{Type: "summary", Origin: "test", Body: []byte(`{"of":9}`)}, {Type: "more", Origin: "test"}})
	must(t, err)
	want(t, removed, int64(10))
	events, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, texts(events), "summary {\"of\":9}\nmore {}")
	_, err = s.Replace(background, []agx.NewEvent{{Type: "bad", Origin: "test", Body: []byte("{")}})
	wantIs(t, err, agx.ErrJSON)
	removed, err = s.Drop(background)
	must(t, err)
	want(t, removed, int64(2))
	events, err = s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(events), 0)
	live, err := s.IsLive(background)
	must(t, err)
	want(t, live, true)
}

func checkpoint(t *testing.T, url string) {
	s := session(t, open(t, url))
	must(t, s.Start(background))
	position, err := s.Checkpoint(background, "elsewhere")
	must(t, err)
	want(t, position, "")
	events := []agx.NewEvent{{Type: "event", Origin: "test", Body: []byte("1")}, {Type: "event", Origin: "test"}}
	for i := 0; i < 3; i++ {
		must(t, s.AddChecked(background, events, "elsewhere", "", "\U0001F600"))
	}
	position, err = s.Checkpoint(background, "elsewhere")
	must(t, err)
	want(t, position, "\U0001F600")
	all, err := s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(all), 3)
	wantIs(t, s.AddChecked(background, events, "elsewhere", "other", "3"), agx.ErrConflict)
	must(t, s.AddChecked(background, nil, "elsewhere", "\U0001F600", "3"))
	all, err = s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(all), 3)

	// Who goes on with what an earlier process began keeps it.
	must(t, s.Stop(background, grace))
	other := session(t, open(t, url))
	must(t, other.Start(background, agx.TakeOver(), agx.Keep()))
	must(t, s.Start(background, agx.TakeOver(), agx.Keep()))
	all, err = s.History(background, agx.HistoryRange{})
	must(t, err)
	want(t, len(all) >= 3, true)
}
