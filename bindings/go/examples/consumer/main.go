// Consumer: follows a session whatever happens, and remembers in a file how far it came.
// consumer URL SCOPE USER SESSION POSITION-FILE
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"

	agx "github.com/libagx/libagx/bindings/go"
)

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: consumer URL SCOPE USER SESSION POSITION-FILE")
	}
	scope, scopeErr := strconv.ParseInt(os.Args[2], 10, 64)
	user, userErr := strconv.ParseInt(os.Args[3], 10, 64)
	if scopeErr != nil || userErr != nil {
		log.Fatal("scope and user are integers")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	id := agx.SessionID{Scope: scope, User: user, Session: os.Args[4]}
	if err := consume(ctx, os.Args[1], id, os.Args[5], os.Stdout); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func consume(ctx context.Context, url string, id agx.SessionID, file string, out io.Writer) error {
	client, err := agx.Open(ctx, url)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.Session(id.Scope, id.User, id.Session)
	if err != nil {
		return err
	}
	defer session.Close()
	position, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := session.OpenListener(ctx, agx.After(strings.TrimSpace(string(position))))
	if err != nil {
		return err
	}
	defer listener.Close()
	for {
		event, err := listener.Next(ctx)
		switch {
		case err == nil:
			fmt.Fprintln(out, event.Type, string(event.Body))
			if err := os.WriteFile(file, []byte(event.ID), 0o600); err != nil {
				return err
			}
		case err == io.EOF:
			return nil // the session has ended
		case errors.Is(err, agx.ErrGap):
			fmt.Fprintln(out, "some events were dropped before they were read")
		case errors.Is(err, agx.ErrSilent), errors.Is(err, agx.ErrUnavailable):
			fmt.Fprintln(os.Stderr, err, "- waiting on")
		default: // ErrAbsent, ErrGone, the context, …
			return err
		}
	}
}
