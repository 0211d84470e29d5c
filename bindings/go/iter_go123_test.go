//go:build go1.23

package agx_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

var _ agx.Logger = (*slog.Logger)(nil)

func TestRangeOverASession(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		add(t, s, 1)
		for event, err := range s.Listen(background) {
			must(t, err)
			if event.Type == "event" {
				break
			}
		}
		silences := 0
		for _, err := range s.Listen(background, agx.Timeout(20*time.Millisecond)) {
			if err != nil {
				wantIs(t, err, agx.ErrSilent)
				if silences++; silences == 2 {
					must(t, s.Stop(background, grace))
				}
			}
		}
		want(t, silences >= 2, true)
	})
}

func TestRangeEndsWithItsContext(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		must(t, s.Start(background))
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		var last error
		for _, err := range s.Listen(ctx) {
			last = err
			if err == nil {
				cancel() // after begin
			}
		}
		wantIs(t, last, context.Canceled)

		sessions := 0
		q, err := c.Query(1, 42)
		must(t, err)
		defer q.Close()
		for id, err := range q.All(background) {
			must(t, err)
			want(t, id, s.ID())
			sessions++
		}
		want(t, sessions, 1)
		for _, err := range s.Listen(background, agx.Where("=")) {
			if !errors.Is(err, agx.ErrInvalid) {
				t.Fatal(err)
			}
		}
	})
}
