//go:build rueidis

package main

import (
	"context"
	"sync"

	"github.com/redis/rueidis"
)

func init() { opens = append(opens, openRueidis) }

type rueidisLibrary struct {
	client rueidis.Client
	mu     sync.Mutex
	keys   map[string]bool
}

func openRueidis(url string) (library, error) {
	options, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.DisableCache = true
	options.BlockingPoolSize = 20000 // a connection for each who waits
	client, err := rueidis.NewClient(options)
	if err != nil {
		return nil, err
	}
	return &rueidisLibrary{client: client, keys: map[string]bool{}}, nil
}

func (l *rueidisLibrary) name() string { return "rueidis" }

func (l *rueidisLibrary) command(key string) rueidis.Completed {
	l.mu.Lock()
	l.keys["agx-bench:"+key] = true
	l.mu.Unlock()
	return l.client.B().Xadd().Key("agx-bench:"+key).Id("*").FieldValue().
		FieldValue("type", "event").FieldValue("origin", "bench").FieldValue("body", body).Build()
}

func (l *rueidisLibrary) add(ctx context.Context, key string) error {
	return l.client.Do(ctx, l.command(key)).Error()
}

func (l *rueidisLibrary) addMany(ctx context.Context, key string, count int) error {
	commands := make(rueidis.Commands, count)
	for i := range commands {
		commands[i] = l.command(key)
	}
	return l.all(ctx, commands)
}

func (l *rueidisLibrary) all(ctx context.Context, commands rueidis.Commands) error {
	for _, reply := range l.client.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	return nil
}

func (l *rueidisLibrary) replay(ctx context.Context, key string, count int) error {
	last := "0"
	for got := 0; got < count; {
		streams, err := l.client.Do(ctx, l.client.B().Xread().Count(500).Streams().
			Key("agx-bench:"+key).Id(last).Build()).AsXRead()
		if err != nil {
			return err
		}
		for _, entry := range streams["agx-bench:"+key] {
			sum += len(entry.FieldValues["type"]) + len(entry.FieldValues["origin"]) +
				len(entry.FieldValues["body"])
			last = entry.ID
			got++
		}
	}
	return nil
}

func (l *rueidisLibrary) follow(ctx context.Context, key string, waits func(), event func()) error {
	// From now on, also for what comes before the first XREAD is there.
	last := "0"
	newest, err := l.client.Do(ctx, l.client.B().Xrevrange().Key("agx-bench:"+key).End("+").Start("-").
		Count(1).Build()).AsXRange()
	if err != nil {
		return err
	}
	if len(newest) > 0 {
		last = newest[0].ID
	}
	waits()
	for {
		streams, err := l.client.Do(ctx, l.client.B().Xread().Count(500).Block(0).Streams().
			Key("agx-bench:"+key).Id(last).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, entry := range streams["agx-bench:"+key] {
			last = entry.ID
			event()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (l *rueidisLibrary) addToEach(ctx context.Context, keys []string) error {
	for at := 0; at < len(keys); at += batch {
		var commands rueidis.Commands
		for i := at; i < len(keys) && i < at+batch; i++ {
			commands = append(commands, l.command(keys[i]))
		}
		if err := l.all(ctx, commands); err != nil {
			return err
		}
	}
	return nil
}

func (l *rueidisLibrary) close() {
	for key := range l.keys {
		l.client.Do(context.Background(), l.client.B().Del().Key(key).Build())
	}
	l.client.Close()
}
