package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	agx "github.com/libagx/libagx/bindings/go"
)

func TestConsumerGoesOnWhereItWas(t *testing.T) {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:consumer")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "s")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := session.Stop(ctx, agx.DefaultGrace); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "position")
	for _, wanted := range []string{"begin {\"session_id\": \"s\"}\n", ""} {
		var out bytes.Buffer
		if err := consume(ctx, "memory:consumer", session.ID(), file, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != wanted {
			t.Fatalf("got %q", out.String())
		}
	}
}
