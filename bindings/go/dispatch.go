package agx

import (
	"runtime"
	"sync"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// How much one call brings, and how much a listener holds before it is taken out of the mux until
// somebody has read some of it.
const (
	batchEvents = 512
	batchBytes  = 256 << 10
	queueEvents = 2048
	queueBytes  = 1 << 20
)

// A dispatcher waits for a client's listeners, on one mux with one thread, and hands what comes to the
// listeners' queues.
type dispatcher struct {
	client *client
	// Poked when a listener came into the mux.
	changed chan struct{}
	done    chan struct{} // the goroutine has ended

	mu      sync.Mutex
	mux     uintptr // 0: not begun
	closed  bool
	byToken map[int64]*listener
	token   int64
}

func (d *dispatcher) init(c *client) {
	d.client = c
	d.changed = make(chan struct{}, 1)
	d.done = make(chan struct{})
	d.byToken = map[int64]*listener{}
}

// newToken is what the next listener is told by.
func (d *dispatcher) newToken() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.token++
	return d.token
}

// add makes a listener known, and begins to wait if this is the first.
func (d *dispatcher) add(l *listener) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return closed("client")
	}
	if d.mux == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	d.byToken[l.token] = l
	l.mux = d.mux
	return nil
}

func (d *dispatcher) begin() error {
	b, err := newBatch()
	if err != nil {
		return err
	}
	var mux uintptr // not a field: C must not be shown what has Go's pointers beside it
	err = call(func() native.Enum_SS_agx_status {
		return native.Agx_mux_open(d.client.handle, &mux)
	})
	if err != nil {
		b.free()
		return err
	}
	d.mux = mux
	go d.run(mux, b)
	return nil
}

func (d *dispatcher) forget(l *listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byToken, l.token)
}

func (d *dispatcher) find(token int64) *listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byToken[token]
}

func (d *dispatcher) all() []*listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*listener, 0, len(d.byToken))
	for _, l := range d.byToken {
		list = append(list, l)
	}
	return list
}

func (d *dispatcher) poke() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// close comes after the client was closed in C, which ends the wait.
func (d *dispatcher) close() {
	d.mu.Lock()
	begun := d.mux != 0
	d.closed = true
	d.mu.Unlock()
	d.poke()
	if begun {
		<-d.done
	}
	for _, l := range d.all() {
		l.close()
	}
}

func (d *dispatcher) run(mux uintptr, b batch) {
	defer close(d.done)
	defer b.free()
	defer native.Agx_mux_close(mux)
	for !d.client.closed() {
		err := call(func() native.Enum_SS_agx_status {
			return native.Agxb_mux_batch(mux, -1, batchEvents, batchBytes, b.handle)
		})
		if err != nil {
			d.settle(err.(*Error))
			continue
		}
		d.dispatch(&b)
		// Those who were told run here first, before this thread waits in C.
		runtime.Gosched()
	}
}

// settle does what is to be done when the mux itself has something to say.
func (d *dispatcher) settle(err *Error) {
	switch native.Enum_SS_agx_status(err.Code) {
	case native.AGX_TIMEOUT, native.AGX_INTERRUPTED:
	case native.AGX_ENDED, native.AGX_ECLOSED:
		<-d.changed // there is nothing to wait for; closing pokes as well
	default:
		// The store's, and so everybody's. Those who ask again are put back.
		for _, l := range d.all() {
			l.fail(err)
		}
	}
}

func (d *dispatcher) dispatch(b *batch) {
	var token int64
	var l *listener // holds its lock
	leave := func() {
		if l != nil {
			l.wake()
			l.mu.Unlock()
		}
		l = nil
	}
	for all := b.records(); all.left > 0; {
		r := all.next()
		if r.kind() == native.AGXB_MUX_OUTCOME {
			leave()
			d.settle(r.err())
			continue
		}
		if l == nil || token != r.token() {
			leave()
			token = r.token()
			if l = d.find(token); l == nil {
				continue // closed meanwhile
			}
			l.mu.Lock()
		}
		l.keep(r)
	}
	leave()
}
