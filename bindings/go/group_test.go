package agx_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// What a Read that was cut off was given by the store, the next one gives.
func TestAGroupsReadThatIsCutOffLosesNothing(t *testing.T) {
	r := ownRedis(t)
	s := session(t, open(t, withParameter(r.url(), "command_timeout=60000")))
	g := group(t, s, "one")
	seen := map[string]bool{}
	for n := 0; n < 10; n++ {
		added := []string{add(t, s, 1), add(t, s, 2), add(t, s, 3)}
		must(t, r.command.Process.Signal(syscall.SIGSTOP))
		ctx, cancel := context.WithCancel(background)
		cut := make(chan error, 1)
		go func() {
			_, err := g.Read(ctx, 2)
			cut <- err
		}()
		until(t, "the read waits", func() bool { return inside("Agxb_group_batch(") == 1 })
		if n%2 == 0 {
			time.AfterFunc(time.Duration(n)*time.Millisecond, cancel)
		} else {
			cancel()
		}
		wantIs(t, <-cut, context.Canceled)
		must(t, r.command.Process.Signal(syscall.SIGCONT))
		for got := 0; got < len(added); {
			for _, event := range read(t, g, 2) {
				want(t, seen[event.ID], false)
				seen[event.ID] = true
				got++
			}
		}
		for _, id := range added {
			want(t, seen[id], true)
		}
	}
}

// Whenever its context ends: each event is given once.
func TestAGroupsReadsThatEndAtAnyTimeLoseNothing(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 500
		s := session(t, open(t, url))
		g := group(t, s, "one")
		go func() {
			for n := 0; n < count; n++ {
				_, _ = s.Add(background, "event", "test", nil)
			}
		}()
		seen := map[string]bool{}
		for tries := 0; len(seen) < count; tries++ {
			ctx, cancel := context.WithTimeout(background, time.Duration(tries%20)*10*time.Microsecond)
			if tries%100 == 0 {
				ctx = patient(t)
			}
			events, err := g.Read(ctx, 3)
			cancel()
			if err != nil && tries%100 != 0 {
				wantIs(t, err, context.DeadlineExceeded)
				continue
			}
			must(t, err)
			for _, event := range events {
				want(t, seen[event.ID], false)
				seen[event.ID] = true
			}
		}
		_, err := g.Read(background, 1, agx.ReadWait(0))
		wantIs(t, err, agx.ErrTimeout)
		info, err := g.Pending(background)
		must(t, err)
		want(t, info.Count, int64(count))
	})
}

// A Process whose group is closed finishes what it holds, acknowledges it, and takes nothing more.
func TestClosingAGroupLetsAProcessFinishWhatItHolds(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for _, consumer := range []string{"one", ""} {
			s := session(t, open(t, url))
			looks := group(t, s, "looks")
			g, err := s.Group(background, "workers", agx.GroupOptions{Consumer: consumer})
			must(t, err)
			for n := 0; n < 12; n++ {
				add(t, s, n)
			}
			handled := 0
			err = g.Process(background, func(agx.Event, int) error {
				if handled++; handled == 3 {
					closed := make(chan error)
					go func() { closed <- g.Close() }()
					must(t, <-closed)
					_, err := g.Pending(background)
					wantIs(t, err, agx.ErrClosed)
				}
				return nil
			}, agx.ProcessOptions{Count: 8})
			wantIs(t, err, agx.ErrClosed)
			want(t, handled, 8)
			info, err := looks.Pending(background)
			must(t, err)
			want(t, info.Count, int64(0))
			want(t, len(read(t, looks, 10)), 4)
			must(t, g.Close())
		}
	})
}

// How long a Process goes on while the store is away is said by Outage; negative is not at all.
func TestAnOutageOfAProcess(t *testing.T) {
	r := ownRedis(t)
	s := session(t, open(t, r.url()+"?reconnect_timeout=100"))
	g := group(t, s, "one")
	handled := make(chan agx.Event, 1)
	process := func(outage time.Duration) chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- g.Process(patient(t), func(event agx.Event, _ int) error {
				handled <- event
				return nil
			}, agx.ProcessOptions{Outage: outage, Limit: 1})
		}()
		return ended
	}
	r.kill()
	for n := 0; n < 2; n++ {
		err := <-process(-time.Second)
		wantIs(t, err, agx.ErrUnavailable)
		want(t, errors.Is(err, context.DeadlineExceeded), false)
	}
	ended := process(0)
	select {
	case err := <-ended:
		t.Fatalf("it does not go on: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	must(t, r.start())
	var id string
	until(t, "an event is added", func() bool {
		var err error
		id, err = s.Add(background, "event", "test", nil)
		return err == nil
	})
	want(t, (<-handled).ID, id)
	must(t, <-ended)
}
