package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func TestWorkerHandlesTasksAndGivesUpWithAReason(t *testing.T) {
	ctx := context.Background()
	const url = "memory:worker"
	client, err := agx.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, by := range []int{3, 0} {
		if _, err := session.AddJSON(ctx, "task", "test", map[string]int{"divide": 12, "by": by}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err = work(ctx, url, session.ID(), agx.ProcessOptions{MaxAttempts: 2, Backoff: time.Millisecond,
		Timeout: 500 * time.Millisecond}, &out)
	if !errors.Is(err, agx.ErrTimeout) {
		t.Fatal(err)
	}
	const wanted = `12 / 3 = 4
{"by":0,"divide":12} failed, attempt 1: cannot divide by zero
{"by":0,"divide":12} failed, attempt 2: cannot divide by zero
dead: {"by":0,"divide":12} after 2 attempts: cannot divide by zero
`
	if out.String() != wanted {
		t.Fatalf("got %s", out.String())
	}
}
