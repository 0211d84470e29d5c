package agx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) line(level, message string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprint(level, " ", message, " ", args))
}

func (l *lines) Debug(message string, args ...any) { l.line("debug", message, args) }
func (l *lines) Info(message string, args ...any)  { l.line("info", message, args) }
func (l *lines) Warn(message string, args ...any)  { l.line("warn", message, args) }
func (l *lines) Error(message string, args ...any) { l.line("error", message, args) }

func TestLoggerGetsTheLog(t *testing.T) {
	r := ownRedis(t)
	log := &lines{}
	c, err := agx.Open(background, r.url(), agx.WithLogger(log), agx.WithLogLevel(agx.LogDebug))
	must(t, err)
	s := session(t, c)
	must(t, s.Start(background))
	r.kill()
	must(t, r.start())
	_, _ = s.IsLive(background)
	must(t, c.Close())
	if len(log.all) == 0 {
		t.Fatal("nothing was logged")
	}
}

func TestExecuteSavesAndEnds(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		m, err := s.Messages()
		must(t, err)
		defer m.Close()
		agent := func(ctx context.Context, r *agx.Run) error {
			if err := m.AppendUser("Hello?"); err != nil {
				return err
			}
			if err := r.Feed(ctx, agx.OpenAIChat, []byte(modelStream)); err != nil {
				return err
			}
			response, err := r.FeedEnd(ctx)
			if err != nil {
				return err
			}
			return m.Append(response)
		}
		// Nor does what was told of a run's end reach the next.
		for i := 1; i <= 50; i++ {
			must(t, s.Execute(background, agent, agx.WithMessages(m), agx.Grace(grace)))
			want(t, m.Len(), 2*i)
		}
		rest(t, listen(t, s))
	})
}

func TestExecuteIsCanceled(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		c := open(t, url)
		s := session(t, c)
		running := make(chan struct{})
		result := make(chan error, 1)
		go func() {
			result <- s.Execute(background, func(ctx context.Context, r *agx.Run) error {
				close(running)
				<-ctx.Done()
				return ctx.Err()
			}, agx.Grace(grace))
		}()
		<-running
		was, err := another(t, c, s).Cancel(background)
		must(t, err)
		want(t, was, true)
		wantIs(t, <-result, agx.ErrCanceled)
		events := rest(t, listen(t, s))
		want(t, texts(events[len(events)-1:]), `error {"msg": "canceled"}`)
	})
}

func TestPanicOfAnAgentGoesOnAndEndsTheSession(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		func() {
			defer func() { want(t, fmt.Sprint(recover()), "oh no") }()
			_ = s.Execute(background, func(context.Context, *agx.Run) error { panic("oh no") }, agx.Grace(grace))
		}()
		if all := texts(rest(t, listen(t, s))); !strings.Contains(all, "panic: oh no") {
			t.Fatal(all)
		}
	})
}

func TestRunByHand(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		s := session(t, open(t, url))
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		r, err := s.Run(ctx, agx.RunStart(agx.Origin("me")), agx.ModelOrigin("my-model"), agx.Grace(grace))
		must(t, err)
		defer r.Close()
		must(t, r.NodeBegin(ctx))
		thinking, err := r.ThinkingBegin(ctx, "Hm")
		must(t, err)
		must(t, r.PartDelta(ctx, thinking, "m"))
		must(t, r.PartEnd(ctx, thinking))
		call, err := r.ToolCallBegin(ctx, "add", "call-1", `{"a":`)
		must(t, err)
		must(t, r.PartDelta(ctx, call, "1}"))
		must(t, r.PartEnd(ctx, agx.LastPart))
		_, err = r.NodeEnd(ctx)
		must(t, err)
		must(t, r.NodeBegin(ctx))
		must(t, r.ToolReturn(ctx, "add", "call-1", []byte("3")))
		_, err = r.TextBegin(ctx, "3")
		must(t, err)
		must(t, r.Answer(ctx))
		must(t, r.Flush(ctx))
		wantIs(t, r.NodeBegin(ctx), agx.ErrState)
		response, err := r.NodeEnd(ctx)
		must(t, err)
		must(t, r.Finish(ctx))
		if !strings.Contains(string(response), `"3"`) {
			t.Fatalf("the response is %s", response)
		}
		all := texts(rest(t, listen(t, s)))
		if !strings.Contains(all, `call-1`) || !strings.Contains(all, "Hm") {
			t.Fatal(all)
		}
	})
}

// Everything at once, from everywhere, while it is being closed: the race detector looks on.
func TestClosingAmongCalls(t *testing.T) {
	onStores(t, func(t *testing.T, url string) {
		for round := 0; round < 10; round++ {
			c := open(t, url)
			s := session(t, c)
			must(t, s.Start(background))
			l := listen(t, s)
			m, err := s.Messages()
			must(t, err)
			q, err := c.Query(agx.Any, agx.Any)
			must(t, err)
			calls := []func() error{
				func() error { _, err := l.Next(background); return err },
				func() error { _, err := s.Add(background, "event", "test", nil); return err },
				func() error { return m.AppendUser("x") },
				func() error { _, err := m.JSON(); return err },
				func() error { _, err := q.Next(background); return err },
				func() error { _, err := s.History(background, agx.HistoryRange{Limit: 10}); return err },
				func() error {
					l, err := s.OpenListener(background)
					if err != nil {
						return err
					}
					defer l.Close()
					_, err = l.Next(background)
					return err
				},
			}
			var all sync.WaitGroup
			for _, call := range calls {
				call := call
				all.Add(1)
				go func() {
					defer all.Done()
					for i := 0; i < 1000; i++ {
						if err := call(); errors.Is(err, agx.ErrClosed) {
							return
						}
					}
				}()
			}
			for n := 0; n < 20; n++ {
				add(t, s, n)
			}
			go l.Close()
			go m.Close()
			go q.Close()
			go s.Close()
			c.Close()
			all.Wait()
		}
	})
}

func TestUnavailableMatchesCodesAndErrors(t *testing.T) {
	for code, unavailable := range map[agx.Code]bool{agx.ErrConnect: true, agx.ErrStoreTimeout: true,
		agx.ErrLoading: true, agx.ErrUncertain: false, agx.ErrBusy: false} {
		want(t, errors.Is(code, agx.ErrUnavailable), unavailable)
		want(t, errors.Is(&agx.Error{Code: code}, agx.ErrUnavailable), unavailable)
		want(t, errors.Is(fmt.Errorf("so: %w", code), agx.ErrUnavailable), unavailable)
		want(t, errors.Is(code, code), true)
	}
}

// A zero value is an error, and closing it is nothing.
func TestWhatWasNotOpened(t *testing.T) {
	var (
		c   agx.Client
		s   agx.Session
		l   agx.Listener
		q   agx.Query
		r   agx.Run
		m   agx.Messages
		g   agx.Group
		sub agx.Subscription
		i   agx.Interceptor
	)
	fine := func(context.Context, *agx.Run) error { return nil }
	for name, call := range map[string]func() error{
		"Session":      func() error { _, err := c.Session(1, 2, "x"); return err },
		"Stream":       func() error { _, err := c.Stream("x", agx.Format("ag2")); return err },
		"Query":        func() error { _, err := c.Query(1, 2); return err },
		"Start":        func() error { return s.Start(background) },
		"Stop":         func() error { return s.Stop(background, 0) },
		"Add":          func() error { _, err := s.Add(background, "a", "b", nil); return err },
		"AddAsync":     func() error { _, err := s.AddAsync(background, "a", "b", nil); return err },
		"AddMany":      func() error { _, err := s.AddMany(background, make([]agx.NewEvent, 1)); return err },
		"AddChecked":   func() error { return s.AddChecked(background, nil, "x", "", "1") },
		"Replace":      func() error { _, err := s.Replace(background, nil); return err },
		"IsLive":       func() error { _, err := s.IsLive(background); return err },
		"History":      func() error { _, err := s.History(background, agx.HistoryRange{}); return err },
		"OpenListener": func() error { _, err := s.OpenListener(background); return err },
		"WaitCanceled": func() error { return s.WaitCanceled(background) },
		"WaitFor":      func() error { _, err := s.WaitFor(background, ""); return err },
		"Messages":     func() error { _, err := s.Messages(); return err },
		"Run":          func() error { _, err := s.Run(background); return err },
		"Execute":      func() error { return s.Execute(background, fine) },
		"Group":        func() error { _, err := s.Group(background, "x", agx.GroupOptions{}); return err },
		"Intercept":    func() error { _, err := s.Intercept("", func(*agx.Intercepted) error { return nil }); return err },
		"Subscribe": func() error {
			_, err := s.Subscribe(background, func(*agx.Subscription, agx.Event, error) {})
			return err
		},
		"Next":       func() error { _, err := l.Next(background); return err },
		"Chan":       func() error { return (<-l.Chan(background)).Err },
		"Query.Next": func() error { _, err := q.Next(background); return err },
		"NodeBegin":  func() error { return r.NodeBegin(background) },
		"Finish":     func() error { return r.Finish(background) },
		"Save":       func() error { return m.Save(background) },
		"JSON":       func() error { _, err := m.JSON(); return err },
		"Read":       func() error { _, err := g.Read(background, 1); return err },
		"Ack":        func() error { _, err := g.Ack(background, "1-1"); return err },
		"Wait":       func() error { return sub.Wait(background) },
		"Process": func() error {
			return g.Process(background, func(agx.Event, int) error { return nil }, agx.ProcessOptions{})
		},
	} {
		if value := thrownBy(func() {
			if err := call(); !errors.Is(err, agx.ErrInvalid) && !errors.Is(err, agx.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}); value != nil {
			t.Errorf("%s panics: %v", name, value)
		}
	}
	want(t, l.Position(), "")
	s.IsCanceled()
	must(t, sub.Close())
	must(t, i.Close())
	must(t, g.Close())
	must(t, m.Close())
	must(t, r.Close())
	must(t, q.Close())
	must(t, l.Close())
	must(t, s.Close())
	must(t, c.Close())
	given := session(t, open(t, "memory:"))
	wantIs(t, given.Execute(background, nil), agx.ErrInvalid)
}

// Nor where it is a field of something else, which the collector does not know by the field's address.
func TestClosingAFieldThatWasNotOpened(t *testing.T) {
	type holder struct {
		name string
		c    agx.Client
		s    agx.Session
		l    agx.Listener
		q    agx.Query
		r    agx.Run
		m    agx.Messages
		g    agx.Group
		sub  agx.Subscription
		i    agx.Interceptor
	}
	for name, of := range map[string]func(h *holder) io.Closer{
		"Client":       func(h *holder) io.Closer { return &h.c },
		"Session":      func(h *holder) io.Closer { return &h.s },
		"Listener":     func(h *holder) io.Closer { return &h.l },
		"Query":        func(h *holder) io.Closer { return &h.q },
		"Run":          func(h *holder) io.Closer { return &h.r },
		"Messages":     func(h *holder) io.Closer { return &h.m },
		"Group":        func(h *holder) io.Closer { return &h.g },
		"Subscription": func(h *holder) io.Closer { return &h.sub },
		"Interceptor":  func(h *holder) io.Closer { return &h.i },
	} {
		of := of
		t.Run(name, func(t *testing.T) {
			if os.Getenv("AGX_TEST_FIELD") == "" { // it would end the process
				command := exec.Command(os.Args[0], "-test.run=^TestClosingAFieldThatWasNotOpened$/^"+name+"$")
				command.Env = append(os.Environ(), "AGX_TEST_FIELD=1")
				if output, err := command.CombinedOutput(); err != nil {
					first, _, _ := strings.Cut(string(output), "\n")
					t.Fatalf("%v: %s", err, first)
				}
				return
			}
			h := &holder{name: name}
			must(t, of(h).Close())
			must(t, of(h).Close())
		})
	}
}

func TestWhatIsWrongIsSaidInGo(t *testing.T) {
	s := session(t, open(t, "memory:"))
	for _, call := range []func() error{
		func() error { _, err := s.TrimBefore(background, ""); return err },
		func() error { _, err := s.TrimBefore(background, "x"); return err },
		func() error { return s.Start(background, agx.Lease(time.Millisecond)) },
		func() error { return s.Start(background, agx.Keep()) },
		func() error { _, err := s.OpenListener(background, agx.After("x")); return err },
		func() error { _, _, err := group(t, s, "one").AutoClaim(background, 0, "x", 1); return err },
	} {
		err := call()
		wantIs(t, err, agx.ErrInvalid)
		for _, c := range []string{"agx_", "_ms", "the option", "before_id", "take_over"} {
			if strings.Contains(err.Error(), c) {
				t.Errorf("%q in: %v", c, err)
			}
		}
	}
}
