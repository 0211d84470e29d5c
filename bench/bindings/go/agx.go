package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

type agxLibrary struct {
	client *agx.Client

	mu       sync.Mutex
	sessions map[string]*agx.Session
}

func openAgx(url string) (library, error) {
	between := "?"
	if strings.Contains(url, "?") {
		between = "&"
	}
	client, err := agx.Open(context.Background(), url+between+"prefix=agx-bench")
	if err != nil {
		return nil, err
	}
	return &agxLibrary{client: client, sessions: map[string]*agx.Session{}}, nil
}

func (l *agxLibrary) name() string { return "libagx" }

func (l *agxLibrary) session(key string) (*agx.Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[key]; s != nil {
		return s, nil
	}
	s, err := l.client.Session(1, 1, key)
	if err == nil {
		l.sessions[key] = s
	}
	return s, err
}

func (l *agxLibrary) add(ctx context.Context, key string) error {
	s, err := l.session(key)
	if err != nil {
		return err
	}
	_, err = s.Add(ctx, "event", "bench", []byte(body))
	return err
}

func (l *agxLibrary) addMany(ctx context.Context, key string, count int) error {
	s, err := l.session(key)
	if err != nil {
		return err
	}
	events := make([]agx.NewEvent, count)
	text := []byte(body)
	for i := range events {
		events[i] = agx.NewEvent{Type: "event", Origin: "bench", Body: text}
	}
	_, err = s.AddMany(ctx, events)
	return err
}

var sum int

func (l *agxLibrary) replay(ctx context.Context, key string, count int) error {
	s, err := l.session(key)
	if err != nil {
		return err
	}
	listener, err := s.OpenListener(ctx, agx.Limit(count))
	if err != nil {
		return err
	}
	defer listener.Close()
	got := 0
	for {
		event, err := listener.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		sum += len(event.Type) + len(event.Origin) + len(event.Body)
		got++
	}
	if got != count {
		return fmt.Errorf("%d events", got)
	}
	return nil
}

func (l *agxLibrary) follow(ctx context.Context, key string, waits func(), event func()) error {
	s, err := l.session(key)
	if err != nil {
		return err
	}
	listener, err := s.OpenListener(ctx, agx.OnlyNew(), agx.Wait(-1), agx.Timeout(-1))
	if err != nil {
		return err
	}
	defer listener.Close()
	waits()
	for {
		if _, err := listener.Next(ctx); err != nil {
			return err
		}
		event()
	}
}

func (l *agxLibrary) addToEach(ctx context.Context, keys []string) error {
	pending := make([]*agx.Pending, len(keys))
	for i, key := range keys {
		s, err := l.session(key)
		if err != nil {
			return err
		}
		if pending[i], err = s.AddAsync(ctx, "event", "bench", []byte(body)); err != nil {
			return err
		}
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close deletes what was measured.
func (l *agxLibrary) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, s := range l.sessions {
		_ = s.Delete(ctx)
	}
	l.client.Close()
}
