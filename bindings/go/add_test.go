package agx_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
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
