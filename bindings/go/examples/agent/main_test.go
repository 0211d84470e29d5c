package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAgent(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(cannedModel))
	defer server.Close()
	var out bytes.Buffer
	if err := run(context.Background(), "memory:", server.URL, "Hello!", &out); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"begin ", "part_delta", "the answer: Grüß dich"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in:\n%s", part, out.String())
		}
	}
}
