package agx

import (
	"sync"
	"sync/atomic"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// A gate is what calls into C by a handle pass. C's close waits for those that are in it, for as long as they
// wait for the store, and Close is not to: the last that leaves closes the handle in C.
type gate struct {
	handle uintptr
	what   string        // it is, in words
	free   func(uintptr) // closes it in C
	over   chan struct{} // closed with it
	state  int32         // how many are in it, times two, and one if it is closed
}

func newGate(handle uintptr, what string, free func(uintptr)) gate {
	return gate{handle: handle, what: what, free: free, over: make(chan struct{})}
}

// wasOpened tells it from a zero value, which has no finalizer, and may be a field of what is on the heap: for
// that SetFinalizer ends the process.
func (g *gate) wasOpened() bool { return g.free != nil }

// enter lets a call in, which has to leave. It is refused if there is an error.
func (g *gate) enter() error {
	if !g.wasOpened() {
		return notOpened("handle")
	}
	for {
		state := atomic.LoadInt32(&g.state)
		if state&1 != 0 {
			return closed(g.what)
		}
		if atomic.CompareAndSwapInt32(&g.state, state, state+2) {
			return nil
		}
	}
}

// call is call by the handle.
func (g *gate) call(f func() native.Enum_SS_agx_status) error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	return call(f)
}

func (g *gate) leave() {
	if atomic.AddInt32(&g.state, -2) == 1 {
		g.free(g.handle)
	}
}

// shut lets nobody in from now on. True: nobody had shut it; then the handle is there until who did leaves.
func (g *gate) shut() bool {
	for g.wasOpened() {
		state := atomic.LoadInt32(&g.state)
		if state&1 != 0 {
			return false
		}
		if atomic.CompareAndSwapInt32(&g.state, state, state+3) {
			close(g.over)
			return true
		}
	}
	return false
}

func (g *gate) isShut() bool { return atomic.LoadInt32(&g.state)&1 != 0 }

// maxClosing may be left to close before opening another waits.
const maxClosing = 64

// A closer closes in C what waits for the store there though nobody is in it: one after the other, in a
// goroutine that ends when nothing is left.
type closer struct {
	mu    sync.Mutex
	fewer *sync.Cond
	queue []func()
	left  int // with the one that is being closed
}

func (c *closer) init() { c.fewer = sync.NewCond(&c.mu) }

func (c *closer) add(close func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, close)
	if c.left++; c.left == 1 {
		go c.run()
	}
}

func (c *closer) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.left > 0 {
		next := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		c.mu.Unlock()
		next()
		c.mu.Lock()
		c.left--
		c.fewer.Broadcast()
	}
	c.queue = nil
}

// wait waits until at most so many are left.
func (c *closer) wait(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.left > most {
		c.fewer.Wait()
	}
}
