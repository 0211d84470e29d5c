// Worker: the robust consumer. It shares a session's events with others of its kind, tries again what
// fails, gives up with a reason, and leaves nothing unhandled when it dies. worker SCOPE/USER/SESSION
// [URL]
//
// Start several; stop one with Ctrl-C, or kill it: the others take over what it had.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: worker SCOPE/USER/SESSION [URL]")
	}
	var id agx.SessionID
	if _, err := fmt.Sscanf(os.Args[1], "%d/%d/%s", &id.Scope, &id.User, &id.Session); err != nil {
		log.Fatal("a session is SCOPE/USER/SESSION: ", err)
	}
	url := ""
	if len(os.Args) > 2 {
		url = os.Args[2]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := work(ctx, url, id, agx.ProcessOptions{}, os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// work handles tasks until ctx is done; then it finishes what it holds.
func work(ctx context.Context, url string, id agx.SessionID, options agx.ProcessOptions, out io.Writer) error {
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
	group, err := session.Group(ctx, "workers", agx.GroupOptions{})
	if err != nil {
		return err
	}
	defer group.Close()
	options.OnFailure = func(event agx.Event, attempt int, err error) error {
		fmt.Fprintf(out, "%s failed, attempt %d: %v\n", event.Body, attempt, err)
		return nil // an error here would stop it
	}
	err = group.Process(ctx, func(event agx.Event, attempt int) error {
		if event.Type != "task" {
			return nil // `begin`, `end` and what else there is
		}
		return handle(event, out)
	}, options)
	return report(group, out, err)
}

// handle does one task. What it returns is why the task failed. It may be called again for a task that
// was done, if the process died before that was known.
func handle(event agx.Event, out io.Writer) error {
	var task struct{ Divide, By int }
	if err := event.Decode(&task); err != nil {
		return err
	}
	if task.By == 0 {
		return errors.New("cannot divide by zero")
	}
	fmt.Fprintf(out, "%d / %d = %d\n", task.Divide, task.By, task.Divide/task.By)
	return nil
}

// report tells what could not be handled: to be looked into, and then replayed or deleted.
func report(group *agx.Group, out io.Writer, why error) error {
	if errors.Is(why, agx.ErrClosed) {
		return why
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	letters, err := group.DeadLetters(ctx, "", 100)
	if err != nil {
		return err
	}
	for _, letter := range letters {
		fmt.Fprintf(out, "dead: %s after %d attempts: %s\n", letter.Event.Body, letter.Attempts, letter.Reason)
	}
	return why
}
