// Agent: streams a model's answer into a session, and keeps the conversation.
// agent [URL [PROMPT]]
//
// With OPENAI_API_KEY it asks OpenAI's API (or what OPENAI_BASE_URL names), otherwise a canned model.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"

	agx "github.com/libagx/libagx/bindings/go"
)

//go:embed canned.sse
var canned []byte

func main() {
	url, prompt := "memory:", "Hello!"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		prompt = os.Args[2]
	}
	model := os.Getenv("OPENAI_BASE_URL")
	if model == "" && os.Getenv("OPENAI_API_KEY") != "" {
		model = "https://api.openai.com/v1"
	}
	if model == "" {
		server := httptest.NewServer(http.HandlerFunc(cannedModel))
		defer server.Close()
		model = server.URL
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, url, model, prompt, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// cannedModel answers the same to everything, in pieces.
func cannedModel(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, piece := range bytes.SplitAfter(canned, []byte("\n\n")) {
		_, _ = w.Write(piece)
		w.(http.Flusher).Flush()
	}
}

func run(ctx context.Context, url, model, prompt string, out io.Writer) error {
	client, err := agx.Open(ctx, url)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := client.Session(1, 42, "agent")
	if err != nil {
		return err
	}
	defer session.Close()
	messages, err := session.Messages()
	if err != nil {
		return err
	}
	defer messages.Close()

	agent := func(ctx context.Context, run *agx.Run) error {
		if err := messages.AppendUser(prompt); err != nil {
			return err
		}
		response, err := ask(ctx, run, messages, model)
		if err != nil {
			return err
		}
		return messages.Append(response)
	}
	err = session.Execute(ctx, agent, agx.WithMessages(messages))
	if err != nil {
		return err
	}

	listener, err := session.OpenListener(ctx)
	if err != nil {
		return err
	}
	defer listener.Close()
	for {
		event, err := listener.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(out, event.Type, string(event.Body))
	}
	answer, _, err := messages.PartField(messages.Len()-1, 0, "content")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "the answer:", answer)
	return nil
}

// ask posts the conversation to the model, and feeds what comes to the run, as it comes.
func ask(ctx context.Context, run *agx.Run, messages *agx.Messages, model string) ([]byte, error) {
	body, err := messages.Request(agx.OpenAIChat, []byte(`{"model":"gpt-4o-mini"}`))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, model+"/chat/completions",
		bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return nil, fmt.Errorf("the model answers %s: %s", response.Status, text)
	}
	buffer := make([]byte, 16<<10)
	for {
		n, err := response.Body.Read(buffer)
		if n > 0 {
			if err := run.Feed(ctx, agx.OpenAIChat, buffer[:n]); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			return run.FeedEnd(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}
