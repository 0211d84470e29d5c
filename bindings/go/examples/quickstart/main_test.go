package main

import (
	"context"
	"os"
)

func Example() {
	if err := run(context.Background(), "memory:", os.Stdout); err != nil {
		panic(err)
	}
	// Output:
	// listener: begin {"session_id": "quickstart"}
	// listener: event {"n":1}
	// listener: event {"n":2}
	// listener: event {"n":3}
	// listener: event {"n":4}
	// producer: canceled true
}
