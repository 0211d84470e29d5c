package agx

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// So many goroutines add by themselves, each in a thread and to a session of its own; the others'
// events are gathered.
const (
	maxDirect   = 4
	maxWorkers  = 4
	maxQueued   = 8192
	gatherMost  = 512
	gatherBytes = 1 << 20
	keptBytes   = 1 << 20 // of a room that is used again
	idsTogether = 32      // that share memory
)

// NewEvent is an event to be added.
type NewEvent struct {
	Type   string          // 1 to 256 bytes
	Origin string          // 1 to 256 bytes
	Body   json.RawMessage // or nil
}

// Pending is an add that is under way.
type Pending struct {
	event NewEvent
	state int32 // of the adding goroutine and the one that waits
	done  chan struct{}
	id    string
	err   error
}

const (
	queued int32 = iota
	taken
	withdrawn
)

// Done is closed when it is known what became of the event.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits until the store has the event, and gives its id. If ctx is done before the event was
// on its way, it is not added; if it was, the error matches ErrUncertain.
func (p *Pending) Wait(ctx context.Context) (string, error) {
	select {
	case <-p.done:
		return p.id, doneToo(ctx, raise(p.err))
	case <-ctx.Done():
		written := !atomic.CompareAndSwapInt32(&p.state, queued, withdrawn)
		return "", cutOff(ctx, written)
	}
}

// Add adds one event and waits until the store has it; body may be nil. Any handle may add, whether it
// has started the session or not: the store decides who may write. After Stop the event is stored behind
// the `end`, for History, and no listener gets it. ErrTakenOver: another
// producer has the session, and nothing was written. After ErrUncertain it may be stored or not. An
// interceptor's error matches with errors.Is, its panic goes on here. ErrUnsupported: the stream's
// format cannot hold it.
func (s *Session) Add(ctx context.Context, kind, origin string, body json.RawMessage) (string, error) {
	if err := s.usable(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if inInterceptor() {
		// Who gathers events may be the one that waits for this; and C tells an interceptor's own
		// events by their thread.
		id, err := s.addNow(kind, origin, body)
		return id, doneToo(ctx, err)
	}
	a := &s.client.c.adds
	if ctx.Done() == nil && a.enter(s) {
		defer a.leave(s)
		return s.addNow(kind, origin, body)
	}
	p, err := s.AddAsync(ctx, kind, origin, body)
	if err != nil {
		return "", err
	}
	return p.Wait(ctx)
}

func checkEvent(e NewEvent) error {
	if err := check("type", e.Type); err != nil {
		return err
	}
	if err := check("origin", e.Origin); err != nil {
		return err
	}
	return check("body", textIn(e.Body))
}

func (s *Session) addNow(kind, origin string, body json.RawMessage) (string, error) {
	id, err := s.addOne(kind, origin, body)
	return id, raise(err)
}

func (s *Session) addOne(kind, origin string, body json.RawMessage) (string, error) {
	if err := checkEvent(NewEvent{kind, origin, body}); err != nil {
		return "", err
	}
	// One buffer: the id, and the texts, each with its NUL.
	bytes := make([]byte, idSize, idSize+len(kind)+len(origin)+len(body)+3)
	bytes = append(append(bytes, kind...), 0)
	originAt := len(bytes)
	bytes = append(append(bytes, origin...), 0)
	bodyAt := len(bytes)
	bytes = append(append(bytes, body...), 0)
	var bodyText *byte
	if body != nil {
		bodyText = &bytes[bodyAt]
	}
	err := s.gate.call(func() native.Enum_SS_agx_status {
		return native.Agx_add(s.handle, &bytes[idSize], &bytes[originAt], bodyText, &bytes[0])
	})
	if err != nil {
		return "", err
	}
	return upToNul(bytes[:idSize]), nil
}

// AddAsync queues an event and returns at once, unless very many are queued. Events of a session
// are stored in the order in which they were added; Start, Stop, AddMany, Replace and whatever else the
// session writes to the stream, and the end of its runs, come behind them. Session.Close does not wait:
// what has not been sent by then fails with ErrClosed.
func (s *Session) AddAsync(ctx context.Context, kind, origin string, body json.RawMessage) (*Pending, error) {
	if s.client == nil {
		return nil, notOpened("session")
	}
	event := NewEvent{kind, origin, body}
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	a := &s.client.c.adds
	p := &Pending{event: event, done: make(chan struct{})}
	select {
	case a.room <- struct{}{}:
		a.push(s, p)
	case <-s.over:
		p.settle("", closed("session"))
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p, nil
}

// AddChecked adds events, none as well, and moves a checkpoint of the session, in one atomic step: for
// who copies from elsewhere, and is to know after any crash how far that came. name is free text, such
// as where the events are from; from is what the checkpoint is now ("" if there is none), to what it
// is then. If it is to already, that was done before, and is no error. ErrConflict: it is anything
// else, and nothing is written. Interceptors do not see the events.
func (s *Session) AddChecked(ctx context.Context, events []NewEvent, name, from, to string) error {
	packed, err := packChecked(events)
	if err != nil {
		return err
	}
	var t texts
	nameText, fromText, toText := t.add("name", name), t.add("position", from), t.add("position", to)
	if t.err != nil {
		return t.err
	}
	return s.writeBehind(ctx, func() native.Enum_SS_agx_status {
		return native.Agxb_add_checked(s.handle, unsafe.Pointer(bytesOf(packed)), int64(len(packed)),
			int64(len(events)), nameText, fromText, toText)
	})
}

// Checkpoint is what the checkpoint of that name is; "" if there is none.
func (s *Session) Checkpoint(ctx context.Context, name string) (string, error) {
	var t texts
	text := t.add("name", name)
	if t.err != nil {
		return "", t.err
	}
	position := make([]byte, nameMax+1)
	err := s.read(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_checkpoint(s.handle, text, &position[0])
	})
	if err != nil {
		return "", err
	}
	return upToNul(position), nil
}

func packChecked(events []NewEvent) ([]byte, error) {
	if err := checkAll(events); err != nil {
		return nil, err
	}
	return pack(nil, events), nil
}

// checkAll looks once at a type or origin that one event after the other has.
func checkAll(events []NewEvent) error {
	for i := range events {
		e := &events[i]
		if i == 0 || e.Type != events[i-1].Type || e.Origin != events[i-1].Origin {
			if err := checkEvent(*e); err != nil {
				return err
			}
		} else if err := check("body", textIn(e.Body)); err != nil {
			return err
		}
	}
	return nil
}

// AddMany adds events in their order, behind what AddAsync has queued, in as few round trips as possible;
// not atomic. It gives the
// ids of those that are known to be stored, from the first on, also with an error; each of the
// others may be stored or not then, unless the error is ErrConnect, ErrStoreTimeout or an invalid
// event, with which none is, nor if an interceptor refuses one. One that was swallowed has "" for its
// id; ErrSwallowed: there is one, and the others are stored.
func (s *Session) AddMany(ctx context.Context, events []NewEvent) ([]string, error) {
	if len(events) == 0 {
		return nil, ctx.Err()
	}
	if err := checkAll(events); err != nil {
		return nil, err
	}
	room := newAddRoom()
	room.packed = pack(room.packed, events)
	err := s.writeBehind(ctx, func() native.Enum_SS_agx_status { return room.add(s, len(events)) })
	if err != nil && ctx.Err() != nil {
		return nil, err // it may still go on, and the room is its
	}
	defer room.free()
	return room.idList(), err
}

// An addRoom is what one call of C's reads events from and writes ids to. It is used again for the
// next, since what is large is dear to allocate.
type addRoom struct {
	packed   []byte
	ids      []byte
	added    *uint64 // not in here: C must not be shown what has Go's pointers beside it
	sessions []byte  // handles, uint64 each; and what became of each event, int32
	statuses []byte
}

var addRooms = sync.Pool{New: func() any { return &addRoom{added: new(uint64)} }}

func newAddRoom() *addRoom {
	r := addRooms.Get().(*addRoom)
	*r.added = 0
	return r
}

// free is not called while C may be using it.
func (r *addRoom) free() {
	if cap(r.packed) > keptBytes || cap(r.ids) > keptBytes {
		return
	}
	r.packed = r.packed[:0]
	r.sessions = r.sessions[:0]
	addRooms.Put(r)
}

func (r *addRoom) add(s *Session, count int) native.Enum_SS_agx_status {
	r.ids = sized(r.ids, count*idSize)
	*r.added = 0
	return native.Agxb_add_many(s.handle, unsafe.Pointer(bytesOf(r.packed)), int64(len(r.packed)),
		int64(count), &r.ids[0], r.added)
}

func (r *addRoom) addEach(count int) native.Enum_SS_agx_status {
	r.ids = sized(r.ids, count*idSize)
	r.statuses = sized(r.statuses, count*4)
	return native.Agxb_add_each(unsafe.Pointer(bytesOf(r.sessions)), int64(len(r.sessions)),
		unsafe.Pointer(bytesOf(r.packed)), int64(len(r.packed)), int64(count), &r.ids[0], &r.statuses[0])
}

// sized gives what has room for size bytes.
func sized(bytes []byte, size int) []byte {
	if cap(bytes) < size {
		return make([]byte, size)
	}
	return bytes[:size]
}

func (r *addRoom) idList() []string { return idList(r.ids, int(*r.added)) }

// idList copies ids, some of them together.
func idList(ids []byte, count int) []string {
	list := make([]string, count)
	var text strings.Builder
	for i := range list {
		id := ids[i*idSize : (i+1)*idSize]
		id = id[:bytes.IndexByte(id, 0)]
		if i%idsTogether == 0 {
			left := count - i
			if left > idsTogether {
				left = idsTogether
			}
			text = strings.Builder{}
			text.Grow(left * len(id))
		}
		from := text.Len()
		text.Write(id)
		list[i] = text.String()[from:]
	}
	return list
}

// pack writes events as agx_bind.h wants them, behind what is in out.
func pack(out []byte, events []NewEvent) []byte {
	size := 0
	for i := range events {
		size += packedSize(&events[i])
	}
	out = withRoom(out, size)
	for i := range events {
		out = packOne(out, &events[i])
	}
	return out
}

func packedSize(e *NewEvent) int { return 15 + len(e.Type) + len(e.Origin) + len(e.Body) }

// withRoom gives it room for size bytes more.
func withRoom(out []byte, size int) []byte {
	if cap(out)-len(out) >= size {
		return out
	}
	return append(make([]byte, 0, len(out)+size), out...)
}

func packOne(out []byte, e *NewEvent) []byte {
	body := uint32(len(e.Body))
	if e.Body == nil {
		body = math.MaxUint32
	}
	var lengths [12]byte
	nativeOrder.PutUint32(lengths[0:], uint32(len(e.Type)))
	nativeOrder.PutUint32(lengths[4:], uint32(len(e.Origin)))
	nativeOrder.PutUint32(lengths[8:], body)
	out = append(out, lengths[:]...)
	out = append(append(out, e.Type...), 0)
	out = append(append(out, e.Origin...), 0)
	return append(append(out, e.Body...), 0)
}

func nativeAppend64(out []byte, value uint64) []byte {
	var bytes [8]byte
	nativeOrder.PutUint64(bytes[:], value)
	return append(out, bytes[:]...)
}

var nativeOrder = func() binary.ByteOrder {
	one := uint16(1)
	if *(*byte)(unsafe.Pointer(&one)) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// An adder gathers what many goroutines add, so that few threads wait for the store.
type adder struct {
	room chan struct{} // one for each event that is queued

	mu      sync.Mutex
	direct  int
	workers int
	ready   []*Session
}

// What an adder knows of a session.
type sessionQueue struct {
	events []*Pending
	busy   bool // in ready, or with a worker: one at a time, for the order
	direct int  // who adds to it by themselves

	pushed, sent uint64 // how many came, and how many of them are settled
	barriers     []barrier
}

// A barrier is opened once so many events are settled.
type barrier struct {
	sent   uint64
	opened chan struct{}
}

// settled counts events that have come out of the queue. It holds the adder's mu.
func (q *sessionQueue) settled(count int) {
	q.sent += uint64(count)
	left := q.barriers[:0]
	for _, b := range q.barriers {
		if b.sent <= q.sent {
			close(b.opened)
		} else {
			left = append(left, b)
		}
	}
	if q.barriers = left; len(left) == 0 {
		q.barriers = nil
	}
}

func (a *adder) init() { a.room = make(chan struct{}, maxQueued) }

// enter lets a goroutine add by itself, if nothing that came before it is in the queue. To one
// session one does: two threads that wait for the store cost more than one that takes the events of
// both, which it does not do if there are interceptors.
func (a *adder) enter(s *Session) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.direct >= maxDirect || s.queue.busy || s.queue.direct > 0 && !s.intercepts.any() {
		return false
	}
	a.direct++
	s.queue.direct++
	return true
}

func (a *adder) leave(s *Session) {
	a.mu.Lock()
	a.direct--
	s.queue.direct--
	a.mu.Unlock()
}

func (a *adder) push(s *Session, p *Pending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.gate.isShut() {
		<-a.room
		p.settle("", closed("session"))
		return
	}
	s.queue.events = append(s.queue.events, p)
	s.queue.pushed++
	if s.queue.busy {
		return
	}
	s.queue.busy = true
	a.ready = append(a.ready, s)
	if a.workers < maxWorkers {
		a.workers++
		go a.work()
	}
}

// drop fails what is queued for a session that is closed, for which nothing is queued any more.
func (a *adder) drop(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range s.queue.events {
		<-a.room
		if p.take() {
			p.settle("", closed("session"))
		}
	}
	s.queue.settled(len(s.queue.events))
	s.queue.events = nil
}

// drain waits until what was added to a session before is settled, so that nothing overtakes it.
func (a *adder) drain(ctx context.Context, s *Session) error {
	a.mu.Lock()
	q := &s.queue
	if q.sent == q.pushed || inInterceptor() { // which a queue may be waiting for
		a.mu.Unlock()
		return nil
	}
	b := barrier{q.pushed, make(chan struct{})}
	q.barriers = append(q.barriers, b)
	a.mu.Unlock()
	select {
	case <-b.opened:
		return nil
	case <-s.over:
		return closed("session")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work ends when nothing is left to do.
func (a *adder) work() {
	for {
		a.mu.Lock()
		round := a.take()
		if len(round) == 0 {
			a.workers--
			a.ready = nil
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()

		if len(round) == 1 {
			round[0].session.send(round[0].list)
		} else {
			sendEach(round)
		}
		// Those who were told add the next, which then go together.
		runtime.Gosched()

		a.mu.Lock()
		for _, p := range round {
			p.session.queue.settled(p.popped)
			if s := p.session; len(s.queue.events) > 0 {
				a.ready = append(a.ready, s)
			} else {
				s.queue.events = nil
				s.queue.busy = false
			}
		}
		a.mu.Unlock()
	}
}

// A portion is what one session has in a round.
type portion struct {
	session *Session
	list    []*Pending
	popped  int // with those that were withdrawn
}

// take takes what fits into one call: of one session, or of many. What is intercepted goes alone. At
// least one session, if any is ready.
func (a *adder) take() []portion {
	var round []portion
	events, bytes := 0, 0
	for len(a.ready) > 0 && events < gatherMost && bytes < gatherBytes {
		s := a.ready[0]
		alone := s.intercepts.any()
		if alone && len(round) > 0 {
			break
		}
		a.ready[0] = nil
		a.ready = a.ready[1:]
		queued := len(s.queue.events)
		list, size := a.pop(&s.queue, gatherMost-events, gatherBytes-bytes)
		round = append(round, portion{s, list, queued - len(s.queue.events)})
		events += len(list)
		bytes += size
		if alone {
			break
		}
	}
	return round
}

// pop takes what fits, and leaves out what was withdrawn.
func (a *adder) pop(q *sessionQueue, most, mostBytes int) (list []*Pending, bytes int) {
	for len(q.events) > 0 && len(list) < most && bytes < mostBytes {
		p := q.events[0]
		q.events[0] = nil
		q.events = q.events[1:]
		<-a.room
		if p.take() {
			list = append(list, p)
			bytes += len(p.event.Body)
		}
	}
	return list, bytes
}

// sendEach sends events of many sessions.
func sendEach(round []portion) {
	room := newAddRoom()
	count := 0
	var in []portion
	for _, part := range round {
		if err := part.session.gate.enter(); err != nil {
			settleAll(part.list, err)
			continue
		}
		in = append(in, part)
		for _, p := range part.list {
			room.packed = packOne(room.packed, &p.event)
			room.sessions = nativeAppend64(room.sessions, uint64(part.session.handle))
			count++
		}
	}
	defer func() {
		for _, part := range in {
			part.session.gate.leave()
		}
	}()
	if count == 0 {
		room.free()
		return
	}
	err := call(func() native.Enum_SS_agx_status { return room.addEach(count) })
	statuses := room.statuses[:count*4]
	ids := idList(room.ids, count)
	at := 0
	for _, part := range in {
		for _, p := range part.list {
			status := native.Enum_SS_agx_status(int32(nativeOrder.Uint32(statuses[at*4:])))
			if status == 0 {
				p.settle(ids[at], nil)
			} else {
				p.settleFailed(part.session, status, err)
			}
			at++
		}
	}
	room.free()
}

// settleFailed tells what became of an event that was one of many. Where it is itself at fault, and so
// was not written, it is tried alone to learn why.
func (p *Pending) settleFailed(s *Session, status native.Enum_SS_agx_status, of error) {
	if own := (&Error{Code: Code(status)}); isOfOne(own) || own.Code == ErrTakenOver {
		p.settle(s.addOne(p.event.Type, p.event.Origin, p.event.Body))
		return
	}
	if _, ok := of.(*thrown); ok && Code(status) == ErrFailed {
		p.settle("", of)
	} else if err, ok := of.(*Error); ok && err.Code == Code(status) {
		p.settle("", err)
	} else {
		p.settle("", &Error{Code: Code(status)})
	}
}

func (s *Session) send(list []*Pending) {
	// What an interceptor does to one event is no other's business.
	if s.intercepts.any() {
		for _, p := range list {
			p.settle(s.addOne(p.event.Type, p.event.Origin, p.event.Body))
		}
		return
	}
	for len(list) > 0 {
		list = list[s.sendSome(list):]
	}
}

// sendSome sends events, and tells how many are settled, one at least.
func (s *Session) sendSome(list []*Pending) int {
	room := newAddRoom()
	for _, p := range list {
		room.packed = packOne(room.packed, &p.event)
	}
	err := s.gate.call(func() native.Enum_SS_agx_status { return room.add(s, len(list)) })
	ids := room.idList()
	room.free()
	stored := len(ids)
	for i, id := range ids {
		if id == "" {
			list[i].settle("", &Error{Code: ErrSwallowed, Message: "an interceptor swallowed the event"})
		} else {
			list[i].settle(id, nil)
		}
	}
	if err == nil || stored == len(list) {
		return len(list)
	}
	if stored == 0 && len(list) > 1 && isOfOne(err) {
		// One of them is at fault, and none was written.
		for _, p := range list {
			s.sendSome([]*Pending{p})
		}
		return len(list)
	}
	list[stored].settle("", err)
	for _, p := range list[stored+1:] {
		p.settle("", afterFailure(err))
	}
	return len(list)
}

// isOfOne tells whether one event is at fault, and not the store.
func isOfOne(err error) bool {
	e, ok := err.(*Error)
	return !ok || e.cause != nil || e.Code == ErrInvalid || e.Code == ErrJSON || e.Code == ErrTooBig ||
		e.Code == ErrUnsupported
}

// afterFailure is what an event is told that was sent behind one that failed.
func afterFailure(of error) error {
	err, ok := of.(*Error)
	if !ok {
		return of
	}
	switch err.Code {
	case ErrConnect, ErrStoreTimeout, ErrTakenOver, ErrClosed, ErrNoMemory:
		return err
	}
	return &Error{Code: ErrUncertain, Message: "an event before it failed: " + err.Message, cause: err}
}

func settleAll(list []*Pending, err error) {
	for _, p := range list {
		p.settle("", err)
	}
}

// take takes it out of the queue, unless it was withdrawn.
func (p *Pending) take() bool {
	if !atomic.CompareAndSwapInt32(&p.state, queued, taken) {
		p.settle("", context.Canceled)
		return false
	}
	return true
}

func (p *Pending) settle(id string, err error) {
	p.id, p.err = id, err
	close(p.done)
}
