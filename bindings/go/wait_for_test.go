package agx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

type waited struct {
	event agx.Event
	err   error
}

// waitsFor waits in a goroutine of its own; the wait has begun when it returns.
func waitsFor(t *testing.T, s *agx.Session, where string) <-chan waited {
	t.Helper()
	before := inside("(*Listener).Next(")
	result := make(chan waited, 1)
	go func() {
		ctx, cancel := context.WithTimeout(background, patience)
		defer cancel()
		event, err := s.WaitFor(ctx, where)
		result <- waited{event, err}
	}()
	until(t, "it waits", func() bool { return inside("(*Listener).Next(") > before })
	return result
}

func TestWaitsForEventsDoNotHinderEachOther(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		never := waitsFor(t, s, `type = "never"`)
		_, err := s.WaitFor(background, "type = ")
		wantIs(t, err, agx.ErrInvalid)
		first, second := waitsFor(t, s, "body.n = 1"), waitsFor(t, s, "body.n = 2")
		// Who is answered first does not take the others back, nor their events.
		two := add(t, s, 2)
		want(t, (<-second).event.ID, two)
		one := add(t, s, 1)
		want(t, (<-first).event.ID, one)
		last := add(t, s, 1)
		event, err := s.WaitFor(background, "")
		must(t, err)
		want(t, event.ID, last)
		must(t, s.Close())
		wantIs(t, (<-never).err, agx.ErrClosed)
	})
}

func TestAWaitThatIsGivenUpTakesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 300
		s := session(t, open(t, url))
		must(t, s.Start(background))
		added := make(chan error, 1)
		go func() {
			for n := 0; n < count; n++ {
				if _, err := s.AddJSON(background, "event", "test", n); err != nil {
					added <- err
					return
				}
			}
			added <- nil
		}()
		given := 0
		for n, deadline := 0, time.Now().Add(patience); n < count; {
			if time.Now().After(deadline) {
				t.Fatal("the events did not come")
			}
			ctx, cancel := context.WithTimeout(background, time.Duration(given%20)*100*time.Microsecond)
			event, err := s.WaitFor(ctx, `type = "event"`)
			cancel()
			given++
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
			must(t, err)
			want(t, string(event.Body), fmt.Sprint(n))
			n++
		}
		must(t, <-added)
	})
}

func TestWaitsForEventsCostNoThread(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		other := another(t, c, s)
		before := threads()
		var all []<-chan waited
		for i := 0; i < 100; i++ {
			all = append(all, waitsFor(t, s, "body.n = 1"), waitsFor(t, other, "body.n = 1"))
		}
		if more := threads() - before; more > 30 {
			t.Errorf("200 waits cost %d threads", more)
		}
		id := add(t, s, 1)
		for _, one := range all {
			got := <-one
			must(t, got.err)
			want(t, got.event.ID, id)
		}
	})
}

func TestWhatEndsAWaitForAnEvent(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		never := `type = "never"`
		started := func() (s, other *agx.Session) {
			s = session(t, c)
			must(t, s.Start(background))
			return s, another(t, c, s)
		}
		cancel := func(s *agx.Session) {
			_, err := s.Cancel(background)
			must(t, err)
		}

		s, other := started()
		waits := waitsFor(t, s, never)
		cancel(other)
		wantIs(t, (<-waits).err, agx.ErrCanceled)
		_, err := s.WaitFor(background, never)
		wantIs(t, err, agx.ErrCanceled)

		// Also if its `end` is seen first.
		for i := 0; i < 20; i++ {
			s, other = started()
			waits = waitsFor(t, s, never)
			must(t, other.Stop(background, grace))
			wantIs(t, (<-waits).err, agx.ErrCanceled)
		}

		s, other = started()
		waits = waitsFor(t, s, never)
		must(t, other.Start(background, agx.TakeOver()))
		wantIs(t, (<-waits).err, agx.ErrTakenOver)

		// Others only see the end.
		s, other = started()
		waits, own := waitsFor(t, other, never), waitsFor(t, s, never)
		must(t, s.Stop(background, grace))
		wantIs(t, (<-waits).err, io.EOF)
		wantIs(t, (<-own).err, io.EOF)

		// One that did not start it is closed at once too.
		_, other = started()
		waits = waitsFor(t, other, never)
		must(t, other.Close())
		wantIs(t, (<-waits).err, agx.ErrClosed)

		// One that starts it only now hears of the cancel.
		s = session(t, c)
		waits = waitsFor(t, s, never)
		must(t, s.Start(background))
		cancel(another(t, c, s))
		wantIs(t, (<-waits).err, agx.ErrCanceled)
	})
}

func TestAWaitForAnEventGoesOnAfterAGap(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		add(t, s, 1)
		_, err := s.WaitFor(background, "body.n = 1")
		must(t, err)
		for n := 2; n <= 5; n++ {
			add(t, s, n)
		}
		_, err = s.Trim(background, 2)
		must(t, err)
		_, err = s.WaitFor(background, "")
		wantIs(t, err, agx.ErrGap)
		for n := 4; n <= 5; n++ {
			event, err := s.WaitFor(background, "")
			must(t, err)
			want(t, string(event.Body), fmt.Sprintf(`{"n":%d}`, n))
		}
	})
}

func TestAnEntryThatCannotBeReadIsNamed(t *testing.T) {
	server, err := startRedis()
	must(t, err)
	defer server.stop()
	push := func(element string) {
		t.Helper()
		answer, err := server.say("RPUSH p:s " + element)
		must(t, err)
		if answer[0] != ':' {
			t.Fatal(answer)
		}
	}
	const pickle = `"\x80pickle"`
	push("[1]")
	push(pickle)
	push("[3]")
	s, err := open(t, server.url()).Stream("s", agx.Format("ag2"), agx.Prefix("p"))
	must(t, err)
	defer s.Close()
	named := func(err error) string {
		t.Helper()
		wantIs(t, err, agx.ErrUnsupported)
		var known *agx.Error
		if !errors.As(err, &known) || known.EntryID == "" {
			t.Fatalf("%v names no entry", err)
		}
		return known.EntryID
	}
	events, err := s.History(background, agx.HistoryRange{})
	id := named(err)
	want(t, len(events), 1)
	want(t, string(events[0].Body), "[1]")
	events, err = s.History(background, agx.HistoryRange{After: id})
	must(t, err)
	want(t, string(events[0].Body), "[3]")

	l, err := s.OpenListener(background)
	must(t, err)
	defer l.Close()
	for _, body := range []string{"[1]", "", "[3]"} {
		event, err := l.Next(background)
		if body == "" {
			want(t, named(err), id)
			continue
		}
		must(t, err)
		want(t, string(event.Body), body)
	}

	waiting := waitsFor(t, s, "")
	push(pickle)
	named((<-waiting).err)
	push("[5]")
	event, err := s.WaitFor(background, "")
	must(t, err)
	want(t, string(event.Body), "[5]")
	_, err = s.Add(background, "", "o", nil)
	var known *agx.Error
	if !errors.As(err, &known) || known.EntryID != "" {
		t.Fatal(err)
	}
}
