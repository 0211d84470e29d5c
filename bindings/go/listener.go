package agx

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

type listenOptions struct {
	after     string
	wait      int64
	timeout   int64
	handOnEnd bool
	limit     int64
	where     string

	queueEvents, queueBytes int64
}

// ListenOption changes how a listener listens.
type ListenOption func(*listenOptions)

// After begins behind the event of this id: where another listener left off.
func After(id string) ListenOption { return func(o *listenOptions) { o.after = id } }

// OnlyNew begins with what comes from now on.
func OnlyNew() ListenOption { return After("new") }

// Wait is how long the session may take to appear, before ErrAbsent; negative: for ever. Without
// it 3 s.
func Wait(d time.Duration) ListenOption {
	return func(o *listenOptions) { o.wait = milliseconds(d) }
}

// Timeout is how long the session may be silent, before ErrSilent; negative: for ever. Without it
// 60 s.
func Timeout(d time.Duration) ListenOption {
	return func(o *listenOptions) { o.timeout = milliseconds(d) }
}

// HandOnEnd hands the closing `end` on as an event.
func HandOnEnd() ListenOption { return func(o *listenOptions) { o.handOnEnd = true } }

// Limit ends after so many events.
func Limit(events int) ListenOption { return func(o *listenOptions) { o.limit = int64(events) } }

// Where hands on only what a condition selects, such as
//
//	type = "event" and body.event = "part_delta"
//
// The package's page describes conditions in full.
func Where(condition string) ListenOption {
	return func(o *listenOptions) { o.where = condition }
}

func milliseconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	// Not down to 0, which is no time at all or a default.
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// Listener is a cursor over one session's events: it replays, then follows. Waiting costs no
// thread.
type Listener struct {
	l *listener
	c *Client // is not collected as long as there is a listener
}

// What the dispatcher holds of a listener. It receives for all but one, for which the receiver does.
type listener struct {
	client *client
	handle uintptr
	token  int64
	mux    uintptr

	ready  chan struct{} // something is in the queue, or it is final
	closed chan struct{}

	mu       sync.Mutex
	queue    []item
	head     int
	puts     uint64 // how many came, by which what is given back finds its place
	bytes    int
	position string
	inMux    bool
	inCall   bool // the receiver waits for it
	stalled  bool // it left the mux because the queue was full
	final    bool
	isClosed bool
	feeds    map[*feed]struct{}
	feeding  int32 // how many they are, for those who do not hold mu
}

// So many listeners are opened at a time.
const maxOpenings = 16

type item struct {
	event  record // taken apart when it is handed on
	err    error  // then no event
	number uint64
}

// OpenListener opens a listener. Without options it begins with the first event.
func (s *Session) OpenListener(ctx context.Context, options ...ListenOption) (*Listener, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	chosen := listenOptions{wait: 3000, timeout: 60000}
	for _, option := range options {
		option(&chosen)
	}
	var t texts
	after, where := t.optional("id", chosen.after), t.optional("condition", chosen.where)
	if t.err != nil {
		return nil, t.err
	}
	l := &listener{
		client: s.client.c,
		token:  s.client.c.listens.newToken(),
		ready:  make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
	position := make([]byte, idSize)
	var handle uintptr
	opening := command{on: &s.gate, room: l.client.openings, undo: func() { native.Agx_listener_close(handle) }}
	err := opening.do(ctx, func() native.Enum_SS_agx_status {
		status := native.Agxb_listen(s.handle, after, chosen.wait, chosen.timeout,
			flag(chosen.handOnEnd), chosen.limit, where, l.token, &handle)
		if status == 0 {
			native.Agx_listener_position(handle, &position[0])
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	l.handle, l.position = handle, upToNul(position)
	if err := l.client.listens.add(l); err != nil {
		native.Agx_listener_close(l.handle)
		return nil, err
	}
	outer := &Listener{l, s.client}
	runtime.SetFinalizer(outer, func(outer *Listener) { outer.l.close() })
	return outer, nil
}

// join puts the listener into the mux. It holds mu.
func (l *listener) join() error {
	err := call(func() native.Enum_SS_agx_status { return native.Agx_mux_add(l.mux, l.handle) })
	switch {
	case err == nil:
		l.inMux, l.stalled = true, false
		l.client.listens.poke()
	case isClosed(err): // the mux, of which nobody else knows: it goes with the client
		return closed("client")
	}
	return err
}

// leave takes it out, at its cursor. It holds mu.
func (l *listener) leave() {
	if l.inMux {
		l.inMux = false
		native.Agx_mux_remove(l.mux, l.handle)
	}
}

// keep puts what came into the queue. After anything but an event, or if the queue is full, the
// listener leaves the mux until somebody asks for more. It holds mu, and wakes nobody.
func (l *listener) keep(r record) {
	switch {
	case r.kind() == native.AGXB_EVENT:
		l.put(item{event: r}, false)
	case r.status() == codeEnded || r.status() == codeLimit:
		l.put(item{}, true)
	default:
		l.put(item{err: r.err()}, false)
	}
}

// fail tells of a failure of the mux those that are in it.
func (l *listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inMux {
		l.put(item{err: err}, false)
		l.wake()
	}
}

func (l *listener) put(it item, final bool) {
	if l.isClosed {
		return
	}
	if final {
		l.final = true
	} else {
		l.compact()
		l.puts++
		it.number = l.puts
		l.queue = append(l.queue, it)
		l.bytes += len(it.event)
	}
	full := len(l.queue)-l.head >= queueEvents || l.bytes >= queueBytes
	if final || it.err != nil || full {
		l.stalled = l.stalled || l.inMux && full
		l.leave()
	}
}

// grow makes room for so many more.
func (l *listener) grow(count int) {
	if left := l.queue[l.head:]; cap(l.queue)-len(l.queue) < count {
		l.queue, l.head = append(make([]item, 0, len(left)+count), left...), 0
	}
}

// compact makes room of what was taken, before the queue would grow.
func (l *listener) compact() {
	if l.head == 0 || len(l.queue) < cap(l.queue) {
		return
	}
	left := copy(l.queue, l.queue[l.head:])
	for i := left; i < len(l.queue); i++ {
		l.queue[i] = item{}
	}
	l.queue, l.head = l.queue[:left], 0
}

func (l *listener) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take gives what is there. Where nothing is, it has the listener waited for: handedOn, for one who gets what
// it takes for good, by the receiver, if that is free, else in the mux. It goes back there too when a queue
// that was full is half empty.
func (l *listener) take(it *item, handedOn bool) (ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return false, closed("listener")
	}
	if l.head == len(l.queue) {
		if l.final {
			return false, io.EOF
		}
		if !l.inMux && !l.inCall && !(handedOn && l.ask()) {
			err = l.join()
		}
		return false, err
	}
	*it = l.queue[l.head]
	l.queue[l.head] = item{}
	l.head++
	l.bytes -= len(it.event)
	if handedOn {
		l.move(it)
	}
	l.settle()
	return true, nil
}

// ask has the client's receiver wait in C for what comes. False: it waits for another, or the listener is
// waited for. It holds mu.
func (l *listener) ask() bool {
	r := &l.client.receiver
	if l.inMux || l.inCall || l.final || !atomic.CompareAndSwapInt32(&r.busy, 0, 1) {
		return false
	}
	if !r.begin() {
		atomic.StoreInt32(&r.busy, 0)
		return false
	}
	l.inCall = true
	r.asked <- l // there is room, and who closes it finds it there
	return true
}

// receive waits in C for what comes.
func (l *listener) receive(b *batch) {
	// An outcome that comes first is an error.
	err := call(func() native.Enum_SS_agx_status {
		return native.Agxb_listen_batch(l.handle, -1, batchEvents, batchBytes, b.handle)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inCall = false
	if l.isClosed {
		native.Agx_listener_close(l.handle)
	}
	switch err = endIsEOF(err); {
	case err == nil:
		all := b.records()
		l.grow(all.left)
		for all.left > 0 {
			l.keep(all.next())
		}
	case err == io.EOF:
		l.put(item{}, true)
	case !isClosed(err):
		l.put(item{err: err}, false)
	}
	// First: whoever is woken may ask again.
	atomic.StoreInt32(&l.client.receiver.busy, 0)
	l.wake()
}

// move has the position behind what was handed on. It holds mu.
func (l *listener) move(it *item) {
	if it.err == nil {
		l.position = it.event.id()
	}
}

// putBack undoes a take of what was not handed on: before all that came after it, though others may have
// taken, and put back, some of that.
func (l *listener) putBack(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return
	}
	if l.head == 0 {
		l.queue = append([]item{{}}, l.queue...)
		l.head = 1
	}
	l.head--
	at := l.head
	for at+1 < len(l.queue) && l.queue[at+1].number < it.number {
		l.queue[at] = l.queue[at+1]
		at++
	}
	l.queue[at] = *it
	l.bytes += len(it.event)
	l.wake()
}

func (l *listener) settle() {
	left := len(l.queue) - l.head
	if left == 0 {
		if !l.inMux && !l.final {
			l.wake() // another who waits puts it back
		}
		l.queue, l.head = l.queue[:0], 0
		if cap(l.queue) > 64 {
			l.queue = nil // ten thousand that wait keep no room
		}
	} else {
		l.wake()
	}
	if l.stalled && !l.inCall && !l.final && left > 0 && left <= queueEvents/2 && l.bytes <= queueBytes/2 &&
		l.queue[len(l.queue)-1].err == nil {
		// If it fails, so it does again when the queue is empty, and somebody is told.
		_ = l.join()
	}
}

// A receiver is a goroutine that waits in C for one of a client's listeners at a time. Whoever asked it
// need not wait for it: what it brings comes into the listener's queue.
type receiver struct {
	busy  int32          // it has been asked
	asked chan *listener // nil: not begun
	over  chan struct{}  // the client is closed
}

// begin begins it, if need be. False: there is no memory. For who has set busy.
func (r *receiver) begin() bool {
	if r.asked != nil {
		return true
	}
	b, err := newBatch()
	if err != nil {
		return false
	}
	r.asked = make(chan *listener, 1)
	go r.run(b)
	return true
}

func (r *receiver) run(b batch) {
	defer b.free()
	for {
		select {
		case l := <-r.asked:
			l.receive(&b)
		case <-r.over:
			select {
			case l := <-r.asked:
				l.receive(&b)
			default:
			}
			return
		}
	}
}

// Next waits for the next event. io.EOF: the session has ended, or the limit is reached. ErrAbsent,
// ErrSilent, ErrGone and ErrGap, and errors of the store, are told once: a further call goes on,
// behind them. It ends at once, with the context's error, when ctx is done; the listener can go on
// after that. Several goroutines may wait; each event goes to one.
func (l *Listener) Next(ctx context.Context) (Event, error) {
	if l.l == nil {
		return Event{}, notOpened("listener")
	}
	defer runtime.KeepAlive(l)
	var it item
	if err := l.l.next(ctx, nil, &it); err != nil {
		return Event{}, err
	}
	if it.err != nil {
		return Event{}, doneToo(ctx, it.err)
	}
	return it.event.event(), nil
}

// next waits for what comes next, for a feed or, if that is nil, for Next.
func (l *listener) next(ctx context.Context, f *feed, it *item) (err error) {
	defer func() {
		if err != nil {
			l.wake() // what woke this one may be there still, and is another's then
		}
	}()
	var asked <-chan struct{}
	if f != nil {
		asked = f.asked
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.catchUp(ctx, f); err != nil {
			return err
		}
		if ok, err := l.take(it, f == nil); ok || err != nil {
			return err
		}
		select {
		case <-l.ready:
		case <-l.closed:
		case <-ctx.Done():
		case <-asked:
		}
	}
}

// catchUp waits until each feed whose context is done has given back what it had, which comes before what is
// in the queue. But for a feed, for which another may wait in this way, it also has the others note what was
// received of them.
func (l *listener) catchUp(ctx context.Context, who *feed) error {
	if atomic.LoadInt32(&l.feeding) == 0 {
		return nil
	}
	l.mu.Lock()
	var feeds []*feed
	for f := range l.feeds {
		if f != who {
			feeds = append(feeds, f)
		}
	}
	l.mu.Unlock()
	for _, f := range feeds {
		if who != nil && f.ctx.Err() == nil {
			continue
		}
		if err := f.ask(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Item is an event, or what came instead of one.
type Item struct {
	Event Event
	Err   error
}

// Chan gives what Next does as a channel, which is closed after the end, and, with nothing said, after
// ctx is done; after the listener was closed once ErrClosed was received. Whoever stops reading it before
// has to end ctx. What nobody received by then is given by the next Next, or Chan, before all that comes
// after it; as long as ctx is not done, it is held for who reads the channel.
func (l *Listener) Chan(ctx context.Context) <-chan Item {
	if l.l == nil {
		said := make(chan Item, 1)
		said <- Item{Err: notOpened("listener")}
		close(said)
		return said
	}
	out := make(chan Item)
	f := &feed{listener: l, ctx: ctx, out: out, asked: make(chan struct{}), over: make(chan struct{})}
	l.l.mu.Lock()
	if l.l.feeds == nil {
		l.l.feeds = map[*feed]struct{}{}
	}
	l.l.feeds[f] = struct{}{}
	atomic.AddInt32(&l.l.feeding, 1)
	l.l.mu.Unlock()
	go f.run()
	return out
}

// A feed is what fills a channel of Chan.
type feed struct {
	listener *Listener
	ctx      context.Context
	out      chan<- Item
	asked    chan struct{} // to look at its context, having noted what was received
	over     chan struct{} // it holds nothing any more
}

func (f *feed) run() {
	in := f.listener.l
	defer func() {
		in.mu.Lock()
		delete(in.feeds, f)
		atomic.AddInt32(&in.feeding, -1)
		in.mu.Unlock()
		close(f.over)
		close(f.out)
		runtime.KeepAlive(f.listener)
	}()
	for {
		var it item
		err := in.next(f.ctx, f, &it)
		switch {
		case err == nil:
			if !f.give(&it) {
				in.putBack(&it)
				return
			}
		case err == io.EOF || f.ctx.Err() != nil:
			return
		default:
			if !f.give(&item{err: err}) || isClosed(err) {
				return
			}
		}
	}
}

// give tells whether somebody received it.
func (f *feed) give(it *item) bool {
	given := Item{Err: it.err}
	if it.err == nil {
		given.Event = it.event.event()
	}
	for f.ctx.Err() == nil {
		select {
		case f.out <- given:
			in := f.listener.l
			in.mu.Lock()
			in.move(it)
			in.mu.Unlock()
			return true
		case <-f.ctx.Done():
			return false
		case <-f.asked:
		}
	}
	return false
}

// ask waits until it has noted what was received, and, if its context is done, holds nothing any more.
func (f *feed) ask(ctx context.Context) error {
	for {
		left := f.ctx.Err() != nil
		select {
		case f.asked <- struct{}{}:
			if !left {
				return nil
			}
		case <-f.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Position is the id of the event that Next gave last, or that was received last from a channel of Chan,
// or where the listener began: what to give as After to resume.
func (l *Listener) Position() string {
	in := l.l
	if in == nil {
		return ""
	}
	_ = in.catchUp(context.Background(), nil)
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.position
}

// GoneReason is what became of a producer of which a listener tells ErrGone.
type GoneReason int

const (
	// NotGone: the listener has not told ErrGone.
	NotGone GoneReason = 0
	// GoneExpired: the lease ran out, or there was no live flag: the producer may have died.
	GoneExpired GoneReason = 1
	// GoneTaken: the live flag was taken away before that, and nothing came for a lease: the session was
	// cancelled, or it was stopped and nobody could say so.
	GoneTaken GoneReason = 2
	// GoneStopped: it was stopped, or the session deleted, in a format without an end.
	GoneStopped GoneReason = 3
)

// GoneReason tells what became of the producer, when ErrGone was last told.
func (l *Listener) GoneReason() GoneReason {
	if l.l == nil {
		return NotGone
	}
	defer runtime.KeepAlive(l)
	return GoneReason(native.Agx_listener_gone(l.l.handle))
}

// Close closes the listener, and does not wait for the store. It never fails.
func (l *Listener) Close() error {
	if l.l == nil {
		return nil
	}
	runtime.SetFinalizer(l, nil)
	l.l.close()
	return nil
}

func (l *listener) close() {
	l.mu.Lock()
	already, inCall := l.isClosed, l.inCall
	l.isClosed = true
	l.queue, l.head = nil, 0
	l.mu.Unlock()
	if already {
		return
	}
	close(l.closed)
	l.client.listens.forget(l)
	if inCall {
		native.Agx_listener_interrupt(l.handle) // and who receives closes it
	} else {
		native.Agx_listener_close(l.handle)
	}
}
