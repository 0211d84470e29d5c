// Quickstart: a producer, a listener that comes late, and a cancel. quickstart [URL]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func main() {
	url := "memory:"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if err := run(context.Background(), url, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, out io.Writer) error {
	client, err := agx.Open(ctx, url)
	if err != nil {
		return err
	}
	defer client.Close()

	produced := make(chan error, 1)
	started := make(chan struct{})
	go func() { produced <- produce(ctx, client, started, out) }()
	select {
	case <-started:
	case err := <-produced:
		return err
	}

	// The listener comes late, and sees all; after five events it has the session cancelled.
	session, err := client.Session(1, 42, "quickstart")
	if err != nil {
		return err
	}
	defer session.Close()
	listener, err := session.OpenListener(ctx)
	if err != nil {
		return err
	}
	defer listener.Close()
	for n := 1; ; n++ {
		event, err := listener.Next(ctx)
		if err == io.EOF {
			return <-produced
		}
		if err != nil {
			return err
		}
		if n <= 5 {
			fmt.Fprintln(out, "listener:", event.Type, string(event.Body))
		}
		if n == 5 {
			if _, err := session.Cancel(ctx); err != nil {
				return err
			}
		}
	}
}

// produce adds an event now and then, until somebody cancels.
func produce(ctx context.Context, client *agx.Client, started chan<- struct{}, out io.Writer) error {
	session, err := client.Session(1, 42, "quickstart")
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Start(ctx); err != nil {
		return err
	}
	close(started)
	work, done := session.Context(ctx)
	defer done()
	for n := 1; work.Err() == nil; n++ {
		_, err := session.AddJSON(ctx, "event", "quickstart", map[string]int{"n": n})
		if err != nil && !errors.Is(err, agx.ErrTakenOver) {
			return err
		}
		select {
		case <-work.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Fprintln(out, "producer: canceled", session.IsCanceled())
	return session.Stop(ctx, agx.DefaultGrace)
}
