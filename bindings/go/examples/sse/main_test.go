package main

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	agx "github.com/libagx/libagx/bindings/go"
)

func start(t *testing.T) (*agx.Session, string) {
	t.Helper()
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.Session(1, 42, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(ctx); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler(client))
	t.Cleanup(func() {
		server.Close()
		client.Close()
	})
	return session, server.URL
}

// follow asks for the session, and gives line by line what comes.
func follow(t *testing.T, url, lastEventID string) *bufio.Scanner {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastEventID != "" {
		request.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); response.StatusCode == 200 && kind != "text/event-stream" {
		t.Fatalf("the type is %q", kind)
	}
	return bufio.NewScanner(response.Body)
}

func event(lines *bufio.Scanner) (id, kind, data string) {
	for lines.Scan() && lines.Text() != "" {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		}
	}
	return id, kind, data
}

func TestFollowAndResume(t *testing.T) {
	ctx := context.Background()
	session, url := start(t)
	url += "/sessions/1/42/a/b"
	lines := follow(t, url, "")
	if _, _, data := event(lines); !strings.Contains(data, `"begin"`) {
		t.Fatal(data)
	}
	// What is added while it follows comes, and its lines become one.
	added, err := session.Add(ctx, "event", "test", []byte("{\n\"n\": 1}"))
	if err != nil {
		t.Fatal(err)
	}
	id, kind, data := event(lines)
	if id != added || kind != "message" || !strings.Contains(data, `{"n":1}`) {
		t.Fatal(id, kind, data)
	}
	if _, err := session.Add(ctx, "event", "test", []byte(`{"n":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := session.Stop(ctx, agx.DefaultGrace); err != nil {
		t.Fatal(err)
	}
	resumed := follow(t, url, added)
	if _, _, data := event(resumed); !strings.Contains(data, `{"n":2}`) {
		t.Fatal(data)
	}
	if _, kind, _ := event(resumed); kind != "end" {
		t.Fatal(kind)
	}
	if resumed.Scan() {
		t.Fatal("the response goes on after the end")
	}
}

// What fails for good is told once, and is not tried for ever.
func TestWhatFailsForGoodEndsTheResponse(t *testing.T) {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// A list where the stream would be.
	list, err := client.Stream("wrong", agx.Format("ag2"), agx.Prefix("agx:1:42"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Add(ctx, "test.Event", "test", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler(client))
	defer server.Close()
	lines := follow(t, server.URL+"/sessions/1/42/wrong", "")
	if _, kind, data := event(lines); kind != "failed" {
		t.Fatal(kind, data)
	}
	if lines.Scan() {
		t.Fatal("the response goes on with ", lines.Text())
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	_, url := start(t)
	for _, path := range []string{"/sessions/1/x/a", "/sessions/1", "/sessions/1/42/"} {
		response, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, response.Status)
		}
	}
}
