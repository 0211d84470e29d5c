// SSE serves sessions as server-sent events: sse [ADDRESS [URL]]
//
// GET /sessions/SCOPE/USER/SESSION follows a session. The id of each event is its id in the
// session, so that a browser that comes back with Last-Event-ID goes on behind it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

func main() {
	address, url := "127.0.0.1:8080", ""
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if len(os.Args) > 2 {
		url = os.Args[2]
	}
	client, err := agx.Open(context.Background(), url)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	log.Println("http://" + address + "/sessions/1/42/first")
	log.Fatal(http.ListenAndServe(address, handler(client)))
}

const keepAlive = 15 * time.Second

func handler(client *agx.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/sessions/", func(w http.ResponseWriter, r *http.Request) {
		session, err := sessionOf(client, strings.TrimPrefix(r.URL.Path, "/sessions/"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer session.Close()
		listener, err := session.OpenListener(r.Context(), agx.After(r.Header.Get("Last-Event-ID")),
			agx.Timeout(keepAlive))
		if err != nil {
			status := http.StatusBadGateway
			if errors.Is(err, agx.ErrInvalid) {
				status = http.StatusBadRequest
			}
			http.Error(w, err.Error(), status)
			return
		}
		defer listener.Close()
		serve(w, r, listener)
	})
	return mux
}

// sessionOf opens SCOPE/USER/SESSION; the session may contain a slash.
func sessionOf(client *agx.Client, path string) (*agx.Session, error) {
	parts := strings.SplitN(path, "/", 3)
	if len(parts) != 3 {
		return nil, errors.New("the path is /sessions/SCOPE/USER/SESSION")
	}
	scope, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return nil, err
	}
	user, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return nil, err
	}
	return client.Session(scope, user, parts[2])
}

func serve(w http.ResponseWriter, r *http.Request, listener *agx.Listener) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control, _ := w.(http.Flusher)
	if control != nil {
		control.Flush() // who connects learns of it before the first event
	}
	for {
		event, err := listener.Next(r.Context())
		over := false
		switch {
		case err == nil:
			writeEvent(w, event.ID, "message", event)
		case err == io.EOF:
			writeEvent(w, "", "end", struct{}{})
			over = true
		case errors.Is(err, agx.ErrSilent):
			fmt.Fprint(w, ": still here\n\n")
		case errors.Is(err, agx.ErrGap), errors.Is(err, agx.ErrUnavailable):
			writeEvent(w, "", "warning", map[string]string{"msg": err.Error()})
		default: // ErrAbsent, ErrGone, what the store refuses, …
			writeEvent(w, "", "failed", map[string]string{"msg": err.Error()})
			over = true
		}
		if control != nil {
			control.Flush()
		}
		if over || r.Context().Err() != nil {
			return
		}
	}
}

// writeEvent writes one event; its data is one line.
func writeEvent(w io.Writer, id, kind string, data any) {
	if event, ok := data.(agx.Event); ok {
		body := event.Body
		if !json.Valid(body) {
			body, _ = json.Marshal(string(body)) // another program wrote what is not JSON
		}
		data = map[string]any{"type": event.Type, "origin": event.Origin, "body": body}
	}
	line, err := json.Marshal(data) // also makes one line of a body that has several
	if err != nil {
		return
	}
	var out bytes.Buffer
	if id != "" {
		fmt.Fprintf(&out, "id: %s\n", id)
	}
	fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", kind, line)
	_, _ = w.Write(out.Bytes())
}
