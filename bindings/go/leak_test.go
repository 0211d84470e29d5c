package agx_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

// What a process holds, after what the collector and closing goroutines had to do is done.
type holdings struct{ threads, descriptors, goroutines, kib int }

func held() holdings {
	runtime.GC()
	return holdings{threads(), descriptors(), runtime.NumGoroutine(), residentKiB()}
}

// leavesNothing has something done `count` times by eight goroutines, after a tenth of that, and sees
// that the process holds no more than then.
func leavesNothing(t *testing.T, count int, do func(n int) error) {
	t.Helper()
	round := func(count int) {
		const workers = 8
		var all sync.WaitGroup
		errs := make(chan error, workers)
		for w := 0; w < workers; w++ {
			w := w
			all.Add(1)
			go func() {
				defer all.Done()
				for n := w; n < count; n += workers {
					if err := do(n); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		all.Wait()
		close(errs)
		must(t, <-errs)
	}
	round(count / 10)
	before := held()
	round(count)
	var after holdings
	until(t, fmt.Sprintf("as little as before, which was %+v", before), func() bool {
		after = held()
		return after.threads <= before.threads+8 && after.descriptors <= before.descriptors+4 &&
			after.goroutines <= before.goroutines+8
	})
	if more := after.kib - before.kib; more > 48<<10 && !raceDetector {
		t.Errorf("%d KiB more", more)
	}
}

func fewer(count int) int {
	if testing.Short() || raceDetector {
		return count / 50
	}
	return count
}

// A day's worth of a busy server's listeners. Every tenth is read from.
func TestAMillionListenersLeaveNothingBehind(t *testing.T) {
	for kind, count := range map[string]int{"memory": 1000000, "redis": 20000} {
		kind, count := kind, count
		t.Run(kind, func(t *testing.T) {
			s := session(t, open(t, urlOf(kind)))
			must(t, s.Start(background))
			add(t, s, 1)
			leavesNothing(t, fewer(count), func(n int) error {
				l, err := s.OpenListener(background)
				if err != nil {
					return err
				}
				if n%10 == 0 {
					_, err = nextErr(l)
				}
				l.Close()
				return err
			})
		})
	}
}

func TestTenThousandOfTheOthersLeaveNothingBehind(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		opens := map[string]func(n int) error{
			"groups": func(n int) error {
				g, err := s.Group(background, "workers", agx.GroupOptions{Consumer: "one"})
				if err != nil {
					return err
				}
				return g.Close()
			},
			"groups without a name": func(n int) error {
				g, err := s.Group(background, "others", agx.GroupOptions{Start: "new"})
				if err != nil {
					return err
				}
				if _, err = g.Read(background, 1, agx.ReadWait(0)); !errors.Is(err, agx.ErrTimeout) {
					return err
				}
				return g.Close()
			},
			"sessions": func(n int) error {
				other, err := c.Session(1, 42, s.ID().Session)
				if err != nil {
					return err
				}
				if _, err := other.IsLive(background); err != nil {
					return err
				}
				if err := other.WaitCanceled(background); !errors.Is(err, agx.ErrNotLive) {
					return err
				}
				return other.Close()
			},
			"conversations and queries": func(n int) error {
				m, err := s.Messages()
				if err != nil {
					return err
				}
				q, err := c.Query(1, 42)
				if err != nil {
					return err
				}
				defer m.Close()
				defer q.Close()
				if err := m.Load(background); err != nil {
					return err
				}
				_, err = q.Next(background)
				return err
			},
			"interceptors": func(n int) error {
				i, err := s.Intercept(`body.never`, func(*agx.Intercepted) error { return nil })
				if err != nil {
					return err
				}
				return i.Close()
			},
			"subscriptions": func(n int) error {
				called := make(chan struct{}, 1)
				sub, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {
					select {
					case called <- struct{}{}:
					default:
					}
				})
				if err != nil {
					return err
				}
				if n%10 == 0 {
					<-called
				}
				return sub.Close()
			},
		}
		for name, do := range opens {
			do := do
			t.Run(name, func(t *testing.T) { leavesNothing(t, fewer(10000), do) })
		}
	})
}

// What a session had is forgotten with it, though nobody closes the interceptor; or with its run, if that is
// closed later.
func TestAClosedSessionForgetsItsInterceptors(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		for _, withRun := range []bool{false, true} {
			s := session(t, c)
			gone := make(chan struct{})
			intercept := func() {
				of := &struct{ calls [64]int }{}
				runtime.SetFinalizer(of, func(any) { close(gone) })
				_, err := s.Intercept("", func(*agx.Intercepted) error { of.calls[0]++; return nil })
				must(t, err)
			}
			intercept()
			if withRun {
				r, err := s.Run(background)
				must(t, err)
				must(t, r.NodeBegin(background))
				must(t, s.Close())
				must(t, r.Close())
			} else {
				add(t, s, 1)
				must(t, s.Close())
			}
			until(t, "the function is collected", func() bool {
				runtime.GC()
				select {
				case <-gone:
					return true
				default:
					return false
				}
			})
			runtime.KeepAlive(s)
		}
	})
}

func TestCollectorClosesGroupsAndWhatASessionIntercepts(t *testing.T) {
	c := open(t, "memory:"+unique())
	drop := func() {
		s, err := c.Session(1, 42, unique())
		must(t, err)
		must(t, s.Start(background, agx.Lease(150*time.Millisecond)))
		_, err = s.Intercept("", func(*agx.Intercepted) error { return nil })
		must(t, err)
		_, err = s.Group(background, "workers", agx.GroupOptions{})
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
