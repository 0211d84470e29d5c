package agx

import (
	"context"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Version is the version of the library that is linked, such as "0.1.0 (hiredis 0.14.1)".
func Version() string { return fromC((*byte)(native.Agx_version_string())) }

// Client is one configured way to one store. It keeps few connections and threads however many
// sessions, listeners and goroutines share it.
type Client struct{ c *client }

// The part of a client that its own goroutines hold, so that the other can be collected.
type client struct {
	handle    uintptr
	log       *logPump
	listens   dispatcher
	adds      adder
	consumers closer // of groups
	closes    closer // of the others
	receiver  receiver
	watchers  chan struct{} // room for sessions that have a thread to wait for their cancel
	openings  chan struct{} // room for listeners that ask the store where to begin
	isClosed  int32

	mu            sync.Mutex
	subscriptions map[*Subscription]struct{}
}

type openOptions struct {
	logger Logger
	level  LogLevel
	format string
}

// Option changes how a client is opened. What is not here is a parameter of the URL.
type Option func(*openOptions)

// WithLogger hands the library's log to a logger.
func WithLogger(logger Logger) Option {
	return func(o *openOptions) { o.logger = logger }
}

// WithLogLevel sets the most verbose level that is wanted; without it LogWarn.
func WithLogLevel(level LogLevel) Option {
	return func(o *openOptions) { o.level = level }
}

// WithFormat says which framework's streams the client reads and writes: "openai-agents",
// "agent-framework" or "ag2", whose streams Client.Stream opens. What the URL says wins.
func WithFormat(format string) Option {
	return func(o *openOptions) { o.format = format }
}

// inFormat is the URL with the parameter, unless it has one.
func inFormat(address, format string) string {
	if address == "" {
		address = os.Getenv("AGX_URL")
	}
	if address == "" {
		address = "redis://127.0.0.1:6379"
	}
	_, query, any := strings.Cut(address, "?")
	for _, parameter := range strings.Split(query, "&") {
		if strings.HasPrefix(parameter, "format=") {
			return address
		}
	}
	between := "?"
	if any {
		between = "&"
	}
	return address + between + "format=" + url.QueryEscape(format)
}

// Open opens a client and connects it, so that a wrong address or password is known at once.
//
// url is one of
//
//	redis://[user[:password]@]host[:port][/db][?parameters]
//	rediss://…                                    the same over TLS
//	unix:///path[?db=N&parameters]
//	memory:[name][?parameters]                    a store in this process
//
// "" is $AGX_URL, or if that is not set redis://127.0.0.1:6379. libagx's README lists the
// parameters: prefix, lease, connect_timeout and the like, in milliseconds.
func Open(ctx context.Context, url string, options ...Option) (*Client, error) {
	chosen := openOptions{level: LogWarn}
	for _, option := range options {
		option(&chosen)
	}
	if chosen.format != "" {
		url = inFormat(url, chosen.format)
	}
	var t texts
	address := t.optional("URL", url)
	if t.err != nil {
		return nil, t.err
	}
	var handle uintptr
	var log *logPump
	cleanUp := func() {
		native.Agx_close(handle)
		log.close()
	}
	err := command{undo: cleanUp}.do(ctx, func() (status native.Enum_SS_agx_status) {
		if log, status = newLogPump(chosen.logger); status != 0 {
			return status
		}
		status = native.Agxb_open(address, int(chosen.level), log.number(), &handle)
		if status != 0 {
			log.close()
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	c := &client{handle: handle, log: log, watchers: make(chan struct{}, maxWatchers),
		openings:      make(chan struct{}, maxOpenings),
		receiver:      receiver{over: make(chan struct{})},
		subscriptions: map[*Subscription]struct{}{}}
	c.listens.init(c)
	c.adds.init()
	c.consumers.init()
	c.closes.init()
	outer := &Client{c}
	runtime.SetFinalizer(outer, func(outer *Client) { go outer.c.close() })
	return outer, nil
}

// Close closes the client and everything that was opened from it. Sessions that were started and
// not stopped stay live until their lease runs out. Groups that were closed first take their consumers along,
// if their names were made up, which it waits for. It never fails.
func (c *Client) Close() error {
	if c.c == nil {
		return nil
	}
	runtime.SetFinalizer(c, nil)
	c.c.close()
	return nil
}

// close does not wait for another that is closing it: that one may wait for the function of a
// subscription, which calls this.
func (c *client) close() {
	if !atomic.CompareAndSwapInt32(&c.isClosed, 0, 1) {
		return
	}
	c.consumers.wait(0)
	native.Agx_close(c.handle)
	c.listens.close()
	close(c.receiver.over)
	for _, s := range c.allSubscriptions() {
		s.Close()
	}
	c.closes.wait(0)
	c.log.close()
}

func (c *client) closed() bool { return atomic.LoadInt32(&c.isClosed) != 0 }
