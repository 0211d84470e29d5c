//go:build goredis

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

func init() { opens = append(opens, openGoRedis) }

type goRedis struct {
	client *redis.Client
	mu     sync.Mutex
	keys   map[string]bool
}

func openGoRedis(url string) (library, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.PoolSize = 20000 // a connection for each who waits
	return &goRedis{client: redis.NewClient(options), keys: map[string]bool{}}, nil
}

func (l *goRedis) name() string { return "go-redis" }

func (l *goRedis) args(key string) *redis.XAddArgs {
	l.mu.Lock()
	l.keys["agx-bench:"+key] = true
	l.mu.Unlock()
	return &redis.XAddArgs{Stream: "agx-bench:" + key,
		Values: []any{"type", "event", "origin", "bench", "body", body}}
}

func (l *goRedis) add(ctx context.Context, key string) error {
	return l.client.XAdd(ctx, l.args(key)).Err()
}

func (l *goRedis) addMany(ctx context.Context, key string, count int) error {
	args := l.args(key)
	_, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for ; count > 0; count-- {
			p.XAdd(ctx, args)
		}
		return nil
	})
	return err
}

func (l *goRedis) replay(ctx context.Context, key string, count int) error {
	last := "0"
	for got := 0; got < count; {
		streams, err := l.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{"agx-bench:" + key, last}, Count: 500, Block: -1}).Result()
		if err != nil {
			return err
		}
		for _, message := range streams[0].Messages {
			for _, field := range []string{"type", "origin", "body"} {
				text, ok := message.Values[field].(string)
				if !ok {
					return fmt.Errorf("no %s", field)
				}
				sum += len(text)
			}
			last = message.ID
			got++
		}
	}
	return nil
}

func (l *goRedis) follow(ctx context.Context, key string, waits func(), event func()) error {
	last := "$"
	for first := true; ; first = false {
		if first {
			// From now on, also for what comes before the first XREAD is there.
			info, err := l.client.XInfoStream(ctx, "agx-bench:"+key).Result()
			last = "0"
			if err == nil {
				last = info.LastGeneratedID
			}
			waits()
		}
		streams, err := l.client.XRead(ctx, &redis.XReadArgs{
			Streams: []string{"agx-bench:" + key, last}, Count: 500, Block: 0}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return err
		}
		for _, message := range streams[0].Messages {
			last = message.ID
			event()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (l *goRedis) addToEach(ctx context.Context, keys []string) error {
	for at := 0; at < len(keys); at += batch {
		_, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := at; i < len(keys) && i < at+batch; i++ {
				p.XAdd(ctx, l.args(keys[i]))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *goRedis) close() {
	for key := range l.keys {
		l.client.Del(context.Background(), key)
	}
	l.client.Close()
}
