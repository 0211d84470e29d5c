package agx_test

import (
	"context"
	"testing"

	agx "github.com/libagx/libagx/bindings/go"
)

func benchStores(b *testing.B, bench func(b *testing.B, url string)) {
	for _, kind := range stores {
		kind := kind
		b.Run(kind, func(b *testing.B) { bench(b, urlOf(kind)) })
	}
}

func benchSession(b *testing.B, url string) (*agx.Client, *agx.Session) {
	c := open(b, url)
	s := session(b, c)
	must(b, s.Start(background))
	b.ReportAllocs()
	b.ResetTimer()
	return c, s
}

var benchBody = []byte(`{"event":"part_delta","content_delta":"some words of an answer"}`)

func BenchmarkAdd(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		_, s := benchSession(b, url)
		for n := 0; n < b.N; n++ {
			_, err := s.Add(background, "event", "bench", benchBody)
			must(b, err)
		}
	})
}

func BenchmarkAddWithContext(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		_, s := benchSession(b, url)
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		for n := 0; n < b.N; n++ {
			_, err := s.Add(ctx, "event", "bench", benchBody)
			must(b, err)
		}
	})
}

func BenchmarkAddFrom16(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		_, s := benchSession(b, url)
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Add(background, "event", "bench", benchBody); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkAddMany(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		_, s := benchSession(b, url)
		batch := make([]agx.NewEvent, 100)
		for i := range batch {
			batch[i] = agx.NewEvent{Type: "event", Origin: "bench", Body: benchBody}
		}
		for n := 0; n < b.N; n += len(batch) {
			_, err := s.AddMany(background, batch)
			must(b, err)
		}
	})
}

// Each event of a replay.
func BenchmarkReplay(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		_, s := benchSession(b, url)
		batch := make([]agx.NewEvent, 1000)
		for i := range batch {
			batch[i] = agx.NewEvent{Type: "event", Origin: "bench", Body: benchBody}
		}
		for n := 0; n < 100000; n += len(batch) {
			_, err := s.AddMany(background, batch)
			must(b, err)
		}
		b.ResetTimer()
		for n := 0; n < b.N; {
			l := listen(b, s, agx.Limit(b.N-n))
			for {
				_, err := l.Next(background)
				if err != nil {
					break
				}
				if n++; n%100000 == 0 {
					break
				}
			}
			l.Close()
		}
	})
}

// From an add to its delivery.
func BenchmarkLatency(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		c, s := benchSession(b, url)
		l := listen(b, another(b, c, s), agx.OnlyNew())
		for n := 0; n < b.N; n++ {
			_, err := s.Add(background, "event", "bench", benchBody)
			must(b, err)
			_, err = l.Next(background)
			must(b, err)
		}
	})
}
