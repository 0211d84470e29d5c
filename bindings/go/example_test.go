package agx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func Example() {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "example")
	if err != nil {
		panic(err)
	}
	defer session.Close()
	if err := session.Start(ctx); err != nil {
		panic(err)
	}
	if _, err := session.AddJSON(ctx, "info", "example", map[string]string{"msg": "hello"}); err != nil {
		panic(err)
	}
	if err := session.Stop(ctx, agx.DefaultGrace); err != nil {
		panic(err)
	}

	listener, err := session.OpenListener(ctx)
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	for {
		event, err := listener.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(event.Type, string(event.Body))
	}
	// Output:
	// begin {"session_id": "example"}
	// info {"msg":"hello"}
}

func ExampleListener_Next() {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "nobody's")
	if err != nil {
		panic(err)
	}
	defer session.Close()
	listener, err := session.OpenListener(ctx, agx.Wait(10*time.Millisecond))
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	_, err = listener.Next(ctx)
	fmt.Println(errors.Is(err, agx.ErrAbsent))
	// Output: true
}

func ExampleSession_Execute() {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "execute")
	if err != nil {
		panic(err)
	}
	defer session.Close()
	agent := func(ctx context.Context, run *agx.Run) error {
		if err := run.NodeBegin(ctx); err != nil {
			return err
		}
		if _, err := run.TextBegin(ctx, "42"); err != nil {
			return err
		}
		return run.Answer(ctx)
	}
	if err := session.Execute(ctx, agent); err != nil {
		panic(err)
	}
	events, err := session.History(ctx, agx.HistoryRange{Where: `body.part_kind = "text"`})
	if err != nil {
		panic(err)
	}
	var part struct{ Content string }
	if err := events[0].Decode(&part); err != nil {
		panic(err)
	}
	fmt.Println(part.Content)
	// Output: 42
}

func ExampleGroup_Process() {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "tasks")
	if err != nil {
		panic(err)
	}
	defer session.Close()
	for n := 1; n <= 2; n++ {
		if _, err := session.AddJSON(ctx, "task", "example", n); err != nil {
			panic(err)
		}
	}
	group, err := session.Group(ctx, "workers", agx.GroupOptions{})
	if err != nil {
		panic(err)
	}
	defer group.Close()
	handle := func(event agx.Event, attempt int) error {
		if string(event.Body) == "2" {
			return errors.New("two is too much")
		}
		fmt.Println("handled", string(event.Body))
		return nil
	}
	err = group.Process(ctx, handle, agx.ProcessOptions{MaxAttempts: 1, Timeout: 50 * time.Millisecond})
	fmt.Println(errors.Is(err, agx.ErrTimeout))
	letters, err := group.DeadLetters(ctx, "", 10)
	if err != nil {
		panic(err)
	}
	for _, letter := range letters {
		fmt.Println("dead", string(letter.Event.Body), letter.Reason)
	}
	// Output:
	// handled 1
	// true
	// dead 2 two is too much
}

func ExampleSession_Intercept() {
	ctx := context.Background()
	client, err := agx.Open(ctx, "memory:")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	session, err := client.Session(1, 42, "intercepted")
	if err != nil {
		panic(err)
	}
	defer session.Close()
	_, err = session.Intercept(`body.secret`, func(event *agx.Intercepted) error {
		return agx.Refuse(agx.ErrDenied, "secrets stay here")
	})
	if err != nil {
		panic(err)
	}
	_, err = session.AddJSON(ctx, "info", "example", map[string]string{"secret": "hunter2"})
	fmt.Println(errors.Is(err, agx.ErrDenied), err)
	// Output: true agx: secrets stay here
}
