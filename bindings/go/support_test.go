package agx_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	agx "github.com/libagx/libagx/bindings/go"
)

const patience = 60 * time.Second

// How long events stay after a session: a busy machine takes its time to read them.
const grace = 10 * time.Minute

var background = context.Background()

// A store is one of those that every case runs on.
type store struct {
	name string
	url  string
}

var shared *redis

func TestMain(m *testing.M) {
	var err error
	if shared, err = startRedis(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	shared.stop()
	os.Exit(status)
}

var stores = []string{"memory", "redis"}

var counter int64

func unique() string { return fmt.Sprint("s", atomic.AddInt64(&counter, 1)) }

// urlOf is a store of the test's own: a name of its own in memory, a prefix of its own in Redis.
func urlOf(kind string) string {
	if kind == "memory" {
		return "memory:" + unique()
	}
	return shared.url() + "?prefix=" + unique()
}

func withParameter(url, parameter string) string {
	if strings.Contains(url, "?") {
		return url + "&" + parameter
	}
	return url + "?" + parameter
}

// onStores runs a test on both stores.
func onStores(t *testing.T, test func(t *testing.T, url string)) {
	for _, kind := range stores {
		kind := kind
		t.Run(kind, func(t *testing.T) { test(t, urlOf(kind)) })
	}
}

func open(t testing.TB, url string, options ...agx.Option) *agx.Client {
	t.Helper()
	client, err := agx.Open(background, url, options...)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

func session(t testing.TB, c *agx.Client) *agx.Session {
	t.Helper()
	s, err := c.Session(1, 42, unique())
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// another handle on the same session.
func another(t testing.TB, c *agx.Client, s *agx.Session) *agx.Session {
	t.Helper()
	id := s.ID()
	other, err := c.Session(id.Scope, id.User, id.Session)
	must(t, err)
	t.Cleanup(func() { other.Close() })
	return other
}

func listen(t testing.TB, s *agx.Session, options ...agx.ListenOption) *agx.Listener {
	t.Helper()
	l, err := s.OpenListener(background, options...)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func add(t testing.TB, s *agx.Session, n int) string {
	t.Helper()
	id, err := s.AddJSON(background, "event", "test", map[string]int{"n": n})
	must(t, err)
	return id
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

func want[T comparable](t testing.TB, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Fatalf("got %v, want %v", got, wanted)
	}
}

// next waits with patience.
func next(t testing.TB, l *agx.Listener) agx.Event {
	t.Helper()
	event, err := nextErr(l)
	must(t, err)
	return event
}

func nextErr(l *agx.Listener) (agx.Event, error) {
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	return l.Next(ctx)
}

// rest reads to the end.
func rest(t testing.TB, l *agx.Listener) []agx.Event {
	t.Helper()
	var all []agx.Event
	for {
		event, err := nextErr(l)
		if err == io.EOF {
			return all
		}
		must(t, err)
		all = append(all, event)
	}
}

func texts(events []agx.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, e.Type+" "+string(e.Body))
	}
	return strings.Join(all, "\n")
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("this never came to be: " + what)
		}
	}
}

// inside counts the goroutines that are in a function, such as "(*Listener).Next(".
func inside(function string) int {
	room := make([]byte, 1<<20)
	return bytes.Count(room[:runtime.Stack(room, true)], []byte(function))
}

// A redis is a server of the tests' own, on a socket.
type redis struct {
	directory string
	command   *exec.Cmd
	args      []string
}

func startRedis(args ...string) (*redis, error) {
	directory, err := os.MkdirTemp("/tmp", "agx-go-")
	if err != nil {
		return nil, err
	}
	r := &redis{directory: directory, args: args}
	if err := r.start(); err != nil {
		os.RemoveAll(directory)
		return nil, err
	}
	return r, nil
}

func (r *redis) socket() string { return filepath.Join(r.directory, "socket") }
func (r *redis) url() string    { return "unix://" + r.socket() }

func (r *redis) start() error {
	program := os.Getenv("AGX_REDIS_SERVER")
	if program == "" {
		program = "redis-server"
	}
	r.command = exec.Command(program, append([]string{"--port", "0", "--unixsocket", r.socket(),
		"--dir", r.directory, "--save", "", "--daemonize", "no"}, r.args...)...)
	r.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // it would die with the thread that started it
		started <- r.command.Start()
		select {}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("these tests need redis-server on the PATH, or AGX_REDIS_SERVER: %w", err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		answer, err := r.say("PING")
		if err == nil && answer == "+PONG" {
			return nil
		}
	}
	r.kill()
	return errors.New("redis-server does not answer")
}

// say sends a command and gives the first line of the answer.
func (r *redis) say(command string) (string, error) {
	connection, err := net.Dial("unix", r.socket())
	if err != nil {
		return "", err
	}
	defer connection.Close()
	fmt.Fprintf(connection, "%s\r\n", command)
	buffer := make([]byte, 65536)
	n, err := connection.Read(buffer)
	line, _, _ := strings.Cut(string(buffer[:n]), "\r\n")
	return line, err
}

func (r *redis) kill() {
	r.command.Process.Kill()
	r.command.Wait()
}

func (r *redis) stop() {
	r.kill()
	os.RemoveAll(r.directory)
}
