package agx_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func threads() int {
	list, _ := filepath.Glob("/proc/self/task/*")
	return len(list)
}

func descriptors() int {
	list, _ := filepath.Glob("/proc/self/fd/*")
	return len(list)
}

func residentKiB() int {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.Atoi(strings.Fields(after)[0])
	return kib
}

// serveListeners has so many listeners, each in a goroutine, wait for an event, get it and end.
func serveListeners(t *testing.T, url string, count int) {
	const sessions = 10
	c := open(t, url)
	var all []*agx.Session
	for i := 0; i < sessions; i++ {
		s := session(t, c)
		must(t, s.Start(background, agx.Lease(grace))) // a busy machine renews it late
		all = append(all, s)
	}
	before := threads()
	var began, ended sync.WaitGroup
	began.Add(count)
	ended.Add(count)
	errs := make(chan error, count)
	for i := 0; i < count; i++ {
		l := listen(t, all[i%sessions], agx.Wait(-1), agx.Timeout(-1))
		go func() {
			defer ended.Done()
			event, err := l.Next(background)
			began.Done()
			n := 0
			for ; err == nil; n++ {
				event, err = l.Next(background)
			}
			if n != 2 {
				errs <- fmt.Errorf("%d events, the last %v, then %v", n, event, err)
			}
			l.Close()
		}()
	}
	inTime(t, "all have begun", &began)
	// A thread that was needed for a moment, as many are on a busy machine, stays.
	if more := threads() - before; more > 30+count/20 {
		t.Errorf("%d listeners that wait cost %d threads", count, more)
	}
	for _, s := range all {
		add(t, s, 1)
		must(t, s.Stop(background, grace))
	}
	inTime(t, "all have ended", &ended)
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
}

// inTime waits for a group, as long as a busy machine may take for ten thousand.
func inTime(t *testing.T, what string, all *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * patience):
		t.Fatal("this never came to be: " + what)
	}
}

// addInBatches adds so many events, some at a time.
func addInBatches(t testing.TB, s *agx.Session, count, atOnce int) {
	t.Helper()
	batch := make([]agx.NewEvent, atOnce)
	for i := range batch {
		batch[i] = agx.NewEvent{Type: "event", Origin: "test"}
	}
	for n := 0; n < count; n += atOnce {
		_, err := s.AddMany(background, batch)
		must(t, err)
	}
}

func TestTenThousandListeners(t *testing.T) {
	onStores(t, func(t *testing.T, url string) { serveListeners(t, url, 10000) })
}

func TestQueueIsBounded(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 50000
		s := session(t, open(t, url))
		must(t, s.Start(background))
		addInBatches(t, s, count, 1000)
		must(t, s.Stop(background, grace))
		// The one that has the receiver is another.
		other := listen(t, s, agx.OnlyNew())
		go func() { _, _ = other.Next(background) }()
		until(t, "another receives", func() bool { return inside("(*listener).receive(") == 1 })
		slow, last := listen(t, s), ""
		n := 0
		for event, err := nextErr(slow); err == nil; event, err = nextErr(slow) {
			if n++; n%5000 == 0 {
				time.Sleep(time.Millisecond)
			}
			if event.ID == last {
				t.Fatal("an event came twice")
			}
			last = event.ID
		}
		want(t, n, count+1)
	})
}

func TestCollectorClosesWhatIsDropped(t *testing.T) {
	c := open(t, "memory:"+unique())
	drop := func() {
		s, err := c.Session(1, 42, unique())
		must(t, err)
		must(t, s.Start(background, agx.Lease(150*time.Millisecond)))
		_, err = s.OpenListener(background)
		must(t, err)
	}
	for i := 0; i < 10; i++ {
		drop()
	}
	// A session that is not closed is renewed, and stays live.
	until(t, "no session is live any more", func() bool {
		runtime.GC()
		q, err := c.Query(agx.Any, agx.Any)
		must(t, err)
		defer q.Close()
		_, err = q.Next(background)
		return err != nil
	})
}

// An outcome takes the listener out of the mux; whoever else waits is not forgotten.
func TestAllWhoWaitOnOneListenerAreServed(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		l := listen(t, s, agx.OnlyNew(), agx.Timeout(20*time.Millisecond))
		results := make(chan error, 8)
		for i := 0; i < cap(results); i++ {
			go func() {
				_, err := nextErr(l)
				results <- err
			}()
		}
		for i := 0; i < cap(results); i++ {
			wantIs(t, <-results, agx.ErrSilent)
		}
	})
}

// What a channel's goroutine had taken is not lost with its context, and the position is what was received.
func TestAChannelThatIsLeftLosesNothing(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 300
		s := session(t, open(t, url))
		must(t, s.Start(background))
		for n := 1; n < count; n++ {
			add(t, s, n)
		}
		must(t, s.Stop(background, grace))
		all := rest(t, listen(t, s))
		l := listen(t, s)
		began := l.Position()
		var got []agx.Event
		for len(got) < count {
			ctx, cancel := context.WithCancel(background)
			items := l.Chan(ctx)
			for i := 0; i < 3 && len(got) < count; i++ {
				item := <-items
				must(t, item.Err)
				got = append(got, item.Event)
				want(t, l.Position(), item.Event.ID)
			}
			if len(got)%2 == 0 && len(got) < count {
				want(t, l.Position() == began, false)
				until(t, "the next is offered", func() bool { return inside("(*feed).give(") > 0 })
				want(t, l.Position(), got[len(got)-1].ID)
			}
			cancel()
			for item := range items {
				must(t, item.Err)
				got = append(got, item.Event)
			}
			want(t, l.Position(), got[len(got)-1].ID)
			if len(got) < count {
				got = append(got, next(t, l))
			}
		}
		want(t, texts(got), texts(all))
		_, err := nextErr(l)
		wantIs(t, err, io.EOF)
	})
}

// One that has the receiver takes its turn with those that wait beside it.
func TestOneThatReceivesSharesItsListener(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		receives := func() bool { return inside("(*listener).receive(") == 1 }
		for n := 0; n < 200; n++ {
			l := listen(t, s, agx.OnlyNew())
			first, second := make(chan agx.Event, 1), make(chan agx.Event, 1)
			go func() {
				event, _ := l.Next(background)
				first <- event
			}()
			if n%2 == 0 {
				until(t, "it receives", receives)
			}
			go func() {
				event, _ := nextErr(l)
				second <- event
			}()
			ids := map[string]bool{add(t, s, n): true, add(t, s, n): true}
			one, two := <-first, <-second
			want(t, ids[one.ID] && ids[two.ID] && one.ID != two.ID, true)
			must(t, l.Close())
		}
		// It has it again after it was given several at once, and closing ends the wait.
		l := listen(t, s)
		for n := 0; n <= 400; n++ {
			_, err := l.Next(background)
			must(t, err)
		}
		ended := make(chan error)
		go func() {
			_, err := l.Next(background)
			ended <- err
		}()
		until(t, "it receives", receives)
		must(t, l.Close())
		wantIs(t, <-ended, agx.ErrClosed)
	})
}

// What a channel gives back, whoever waits meanwhile is given.
func TestWhatIsGivenBackIsNotWaitedFor(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for n := 0; n < 6; n++ {
			s := session(t, open(t, url)) // whose receiver is free, so that no more is read than is taken
			must(t, s.Start(background))
			l := listen(t, s)
			_, err := l.Next(background)
			must(t, err)
			add(t, s, 1)
			_, err = s.Drop(background)
			must(t, err)
			ctx, cancel := context.WithCancel(background)
			items := l.Chan(ctx)
			until(t, "the gap is offered", func() bool { return inside("(*feed).give(") > 0 })
			got := make(chan error, 1)
			go func() {
				_, err := l.Next(background)
				got <- err
			}()
			if n%2 == 0 {
				until(t, "it receives", func() bool { return inside("(*listener).receive(") == 1 })
			}
			cancel()
			for range items {
			}
			select {
			case err := <-got:
				wantIs(t, err, agx.ErrGap)
			case <-time.After(10 * time.Second):
				t.Fatal("it is waited for")
			}
			must(t, l.Close())
		}
	})
}

func TestAllWhoWaitOnOneListenerShareIt(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		const count = 5000
		s := session(t, open(t, url))
		l := listen(t, s)
		must(t, s.Start(background))
		var mu sync.Mutex
		seen := map[string]int{}
		saw := func(e agx.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.ID]++
		}
		var all sync.WaitGroup
		for i := 0; i < 4; i++ {
			all.Add(1)
			go func(receives bool) {
				defer all.Done()
				for {
					ctx, cancel := context.WithTimeout(background, time.Millisecond)
					if receives {
						ctx = background
					}
					event, err := l.Next(ctx)
					cancel()
					if err == nil {
						saw(event)
					} else if err == io.EOF {
						return
					}
				}
			}(i < 2)
		}
		all.Add(1)
		go func() {
			defer all.Done()
			for item := range l.Chan(background) {
				saw(item.Event)
			}
		}()
		addInBatches(t, s, count, 50)
		must(t, s.Stop(background, grace))
		all.Wait()
		want(t, len(seen), count+1)
		for id, times := range seen {
			if times != 1 {
				t.Fatalf("%s came %d times", id, times)
			}
		}
	})
}

func TestAChannelSaysWhyItEnds(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		must(t, s.Start(background))
		l := listen(t, s, agx.OnlyNew())
		ctx, cancel := context.WithCancel(background)
		items := l.Chan(ctx)
		cancel()
		_, more := <-items
		want(t, more, false)
		items = l.Chan(background)
		must(t, l.Close())
		wantIs(t, (<-items).Err, agx.ErrClosed)
		_, more = <-items
		want(t, more, false)
	})
}
