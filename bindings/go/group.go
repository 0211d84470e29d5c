package agx

import (
	"context"
	"io"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// GroupOptions says how a group is opened; its zero value is the default.
type GroupOptions struct {
	// The consumer's name. Whoever opens the group with it again finds what is still pending for it.
	// "": one that nobody else has.
	Consumer string
	// Where a group that is made begins. "": with the first event; "new": with what comes from now
	// on; else an id: with what came after it.
	Start       string
	MustExist   bool   // a group that is not there is not made, but ErrNotFound
	Recreate    bool   // Read makes the group again if it is gone, instead of ErrNotFound
	DeadLetters string // key of the stream of dead letters; "": the stream's own and ":dlq"
}

// Group is a consumer of a group: consumers of a group share a session's events. Each event is given
// to one of them, and stays pending for it until somebody acknowledges it; so it is not lost when a
// consumer dies. `begin` and `end` are events like others here. Process is the whole of a robust consumer, the other methods are its parts. All may
// be used by several goroutines; each Read and Process that waits holds a thread.
type Group struct {
	client *Client // is not collected as long as there is a group
	gate
	consumer string

	reading chan struct{} // held by the Read that is under way

	mu         sync.Mutex
	held       []Event // by a Read that nobody waited for any more
	processing bool
}

// Group opens a group of the session's stream, and makes it unless it is there.
func (s *Session) Group(ctx context.Context, name string, options GroupOptions) (*Group, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	var t texts
	group, consumer := t.add("group's name", name), t.optional("consumer's name", options.Consumer)
	start, letters := t.optional("id", options.Start), t.optional("key", options.DeadLetters)
	if t.err != nil {
		return nil, t.err
	}
	free, consumers := native.Agx_group_close, &s.client.c.consumers
	if options.Consumer == "" {
		// A consumer whose name was made up goes with the handle, which is a command.
		free = func(handle uintptr) { consumers.add(func() { native.Agx_group_close(handle) }) }
	}
	var handle uintptr
	opening := command{on: &s.gate, writes: true, undo: func() { free(handle) }}
	err := opening.do(ctx, func() native.Enum_SS_agx_status {
		consumers.wait(maxClosing)
		return native.Agxb_group_open(s.handle, group, consumer, start, flag(options.MustExist),
			flag(options.Recreate), letters, &handle)
	})
	if err != nil {
		return nil, err
	}
	g := &Group{client: s.client, gate: newGate(handle, "group", free), reading: make(chan struct{}, 1),
		consumer: fromC((*byte)(native.Agx_group_consumer_name(handle)))}
	runtime.SetFinalizer(g, (*Group).close)
	return g, nil
}

// Consumer is the consumer's name.
func (g *Group) Consumer() string { return g.consumer }

// Close closes the handle; what is pending for its consumer stays so. If that had no name of its own and nothing
// is pending for it, it is taken out of the group soon, or by the client's Close. A Read that waits gets ErrClosed.
// A Process ends with ErrClosed once it has finished what it holds, which Close does not wait for: its
// handler may call this. Nor does it wait for a command that is under way, and goes on. It never fails.
func (g *Group) Close() error {
	if !g.wasOpened() {
		return nil
	}
	runtime.SetFinalizer(g, nil)
	g.close()
	return nil
}

func (g *Group) close() {
	if g.gate.shut() {
		g.interrupt()
		g.gate.leave()
	}
}

func (g *Group) interrupt() { native.Agx_group_interrupt(g.handle) }

func (g *Group) do(ctx context.Context, writes bool, f func() native.Enum_SS_agx_status) error {
	if g.client == nil {
		return notOpened("group")
	}
	return command{on: &g.gate, writes: writes}.do(ctx, f)
}

// fill is do with a batch, whose records it gives.
func (g *Group) fill(ctx context.Context, writes bool, f func(batch uintptr) native.Enum_SS_agx_status) ([]record, error) {
	var list []record
	err := g.do(ctx, writes, func() native.Enum_SS_agx_status {
		records, status := filled(f)
		list = records
		return status
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func filled(f func(batch uintptr) native.Enum_SS_agx_status) ([]record, native.Enum_SS_agx_status) {
	b, err := newBatch()
	if err != nil {
		return nil, native.AGX_ENOMEM
	}
	defer b.free()
	status := f(b.handle)
	all := b.records()
	list := make([]record, 0, all.left)
	for all.left > 0 {
		list = append(list, all.next())
	}
	return list, status
}

func eventsOf(records []record) []Event {
	list := make([]Event, len(records))
	for i := range records {
		list[i] = records[i].event()
	}
	return list
}

type readOptions struct {
	source int
	wait   int64
}

// ReadOption changes what Group.Read gives.
type ReadOption func(*readOptions)

// PendingFirst gives what is pending for this consumer first, each event once for this handle, and then
// new ones.
func PendingFirst() ReadOption { return func(o *readOptions) { o.source = 1 } }

// PendingOnly gives what is pending for this consumer; after the last io.EOF, and then from the first
// again.
func PendingOnly() ReadOption { return func(o *readOptions) { o.source = 2 } }

// ReadWait is how long Read waits for an event, before ErrTimeout; 0: it does not. Without it as long
// as the context lets it.
func ReadWait(d time.Duration) ReadOption {
	return func(o *readOptions) { o.wait = milliseconds(d) }
}

// Read takes events that are there, at most so many (and 4096), and waits only for the first. Each is
// to be acknowledged. It ends at once, with the context's error, when ctx is done; nothing is lost by
// that. ErrNotFound: there is no such group. ErrBusy: Process is under way.
func (g *Group) Read(ctx context.Context, most int, options ...ReadOption) ([]Event, error) {
	chosen := readOptions{wait: -1}
	for _, option := range options {
		option(&chosen)
	}
	if most <= 0 {
		return nil, invalid("Read: %d events are none", most)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := g.takeTurn(ctx); err != nil {
		return nil, err
	}
	if held := g.takeHeld(most); len(held) > 0 {
		<-g.reading
		return held, nil
	}
	return g.read(ctx, most, chosen)
}

// takeTurn waits for a Read that is under way.
func (g *Group) takeTurn(ctx context.Context) error {
	if g.client == nil {
		return notOpened("group")
	}
	g.mu.Lock()
	processing := g.processing
	g.mu.Unlock()
	if processing {
		return &Error{Code: ErrBusy, Message: "Process is under way on this group"}
	}
	select {
	case g.reading <- struct{}{}:
	case <-g.over:
		return closed("group")
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.gate.isShut() {
		<-g.reading
		return closed("group")
	}
	return nil
}

func (g *Group) takeHeld(most int) []Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	if most > len(g.held) {
		most = len(g.held)
	}
	taken := g.held[:most:most]
	g.held = g.held[most:]
	return taken
}

func (g *Group) read(ctx context.Context, most int, o readOptions) ([]Event, error) {
	type answer struct {
		events []Event
		err    error
	}
	answers := make(chan answer)
	go func() {
		defer func() { <-g.reading }()
		events, err := g.readOnce(ctx, most, o)
		select {
		case answers <- answer{events, err}:
		case <-ctx.Done():
			g.mu.Lock()
			g.held = append(g.held, events...)
			g.mu.Unlock()
		case <-g.over: // what it brings is pending
		}
	}()
	select {
	case a := <-answers:
		return a.events, a.err
	case <-g.over:
		return nil, closed("group")
	case <-ctx.Done():
		g.interrupt()
		runtime.KeepAlive(g)
		return nil, ctx.Err()
	}
}

func (g *Group) readOnce(ctx context.Context, most int, o readOptions) ([]Event, error) {
	for {
		var records []record
		err := g.gate.call(func() (status native.Enum_SS_agx_status) {
			records, status = filled(func(b uintptr) native.Enum_SS_agx_status {
				return native.Agxb_group_batch(g.handle, o.source, o.wait, int64(most), b)
			})
			return status
		})
		// An interrupt that came too late for the Read that it was meant for is nobody's.
		if isInterrupted(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, endIsEOF(err)
		}
		return eventsOf(records), nil
	}
}

// Ack acknowledges events of this group by their ids, whoever they are pending for, and tells how many
// of them were pending. May be repeated.
func (g *Group) Ack(ctx context.Context, ids ...string) (acknowledged int, err error) {
	return g.withIDs(ctx, ids, native.Agxb_group_ack)
}

func (g *Group) withIDs(ctx context.Context, ids []string, f func(uintptr, unsafe.Pointer, int64, int64, *uint64) native.Enum_SS_agx_status) (int, error) {
	packed, err := packIDs(ids)
	if err != nil {
		return 0, err
	}
	count := new(uint64)
	err = g.do(ctx, true, func() native.Enum_SS_agx_status {
		return f(g.handle, unsafe.Pointer(bytesOf(packed)), int64(len(packed)), int64(len(ids)), count)
	})
	if err != nil && ctx.Err() != nil {
		return 0, err // it may still go on
	}
	return int(*count), err
}

func packIDs(ids []string) ([]byte, error) {
	var packed []byte
	for _, id := range ids {
		if err := check("id", id); err != nil {
			return nil, err
		}
		packed = append(append(packed, id...), 0)
	}
	return packed, nil
}

// Claim takes events over from whomever they are pending for, if nobody was given them for so long.
func (g *Group) Claim(ctx context.Context, idle time.Duration, ids ...string) ([]Event, error) {
	packed, err := packIDs(ids)
	if err != nil {
		return nil, err
	}
	records, err := g.fill(ctx, true, func(b uintptr) native.Enum_SS_agx_status {
		return native.Agxb_group_claim(g.handle, milliseconds(idle), unsafe.Pointer(bytesOf(packed)),
			int64(len(packed)), int64(len(ids)), b)
	})
	return eventsOf(records), err
}

// AutoClaim takes over whatever has been idle for so long, of the next so many that are pending behind
// the cursor; there may be none among them. The cursor is "" at first, and then what the call before
// gave; it is "" again at the end.
func (g *Group) AutoClaim(ctx context.Context, idle time.Duration, cursor string, most int) (events []Event, next string, err error) {
	if most <= 0 {
		return nil, "", invalid("AutoClaim: %d events are none", most)
	}
	if err := check("cursor", cursor); err != nil {
		return nil, "", err
	}
	if len(cursor) >= idSize {
		return nil, "", invalid("%q is not a cursor", cursor)
	}
	room := make([]byte, idSize)
	copy(room, cursor)
	records, err := g.fill(ctx, true, func(b uintptr) native.Enum_SS_agx_status {
		return native.Agxb_group_autoclaim(g.handle, milliseconds(idle), &room[0], int64(most), b)
	})
	if err != nil {
		return nil, "", err
	}
	if next = upToNul(room); next == "0-0" {
		next = ""
	}
	return eventsOf(records), next, nil
}

// PendingInfo tells how much is pending in a group.
type PendingInfo struct {
	Count     int64
	LowestID  string // of the oldest; "" if none is
	HighestID string // of the newest
	Consumers int64  // how many have any
}

// Pending asks how much is pending in the group.
func (g *Group) Pending(ctx context.Context) (PendingInfo, error) {
	ids := make([]byte, 2*idSize)
	numbers := make([]int64, 2)
	err := g.do(ctx, false, func() native.Enum_SS_agx_status {
		return native.Agxb_group_pending(g.handle, &ids[0], &numbers[0])
	})
	if err != nil {
		return PendingInfo{}, err
	}
	list := idList(ids, 2)
	return PendingInfo{numbers[0], list[0], list[1], numbers[1]}, nil
}

// PendingEvent is an event that is pending.
type PendingEvent struct {
	ID       string
	Consumer string        // whom it is pending for
	Idle     time.Duration // since it was given to the consumer
	Attempts int64         // how often it was given to one
}

// PendingFilter says which events PendingEvents lists; its zero value is all.
type PendingFilter struct {
	Consumer string        // "": of all
	Idle     time.Duration // at least
	After    string        // an id
	Limit    int           // at most so many, and 4096; 0: 4096
}

const listMost = 4096

func limitOf(limit int) int64 {
	if limit <= 0 || limit > listMost {
		return listMost
	}
	return int64(limit)
}

// PendingEvents lists events that are pending, in the order of their ids.
func (g *Group) PendingEvents(ctx context.Context, of PendingFilter) ([]PendingEvent, error) {
	var t texts
	consumer, after := t.optional("consumer's name", of.Consumer), t.optional("id", of.After)
	if t.err != nil {
		return nil, t.err
	}
	records, err := g.fill(ctx, false, func(b uintptr) native.Enum_SS_agx_status {
		return native.Agxb_group_pending_batch(g.handle, consumer, milliseconds(of.Idle), after,
			limitOf(of.Limit), b)
	})
	list := make([]PendingEvent, len(records))
	for i := range records {
		r, of := records[i], records[i].event()
		list[i] = PendingEvent{of.ID, of.Type, ms(r.number(0)), r.number(1)}
	}
	return list, err
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// GroupInfo tells of a group of a stream.
type GroupInfo struct {
	Name            string
	LastDeliveredID string // "0-0" before the first
	Consumers       int64
	Pending         int64
	Lag             int64 // how many events were given to nobody yet; -1: not known
}

// Groups tells of the groups of the session's stream.
func (s *Session) Groups(ctx context.Context) ([]GroupInfo, error) {
	var records []record
	err := s.read(ctx, func() (status native.Enum_SS_agx_status) {
		list, status := filled(func(b uintptr) native.Enum_SS_agx_status {
			return native.Agxb_group_list(s.handle, b)
		})
		records = list
		return status
	})
	if err != nil {
		return nil, err
	}
	list := make([]GroupInfo, len(records))
	for i := range records {
		r, of := records[i], records[i].event()
		list[i] = GroupInfo{of.Type, of.ID, r.number(0), r.number(1), r.number(2)}
	}
	return list, nil
}

// ConsumerInfo tells of a consumer of a group.
type ConsumerInfo struct {
	Name    string
	Pending int64
	Idle    time.Duration // since it last asked for something
}

// Consumers tells of the consumers of the group.
func (g *Group) Consumers(ctx context.Context) ([]ConsumerInfo, error) {
	records, err := g.fill(ctx, false, func(b uintptr) native.Enum_SS_agx_status {
		return native.Agxb_group_consumers(g.handle, b)
	})
	list := make([]ConsumerInfo, len(records))
	for i := range records {
		r := records[i]
		list[i] = ConsumerInfo{r.event().Type, r.number(0), ms(r.number(1))}
	}
	return list, err
}

// Health tells how a group is doing.
type Health struct {
	Length          int64         // how many events the stream has
	Pending         int64         // given to a consumer and not acknowledged
	Lag             int64         // given to nobody yet; -1: not known
	Consumers       int64         // how many the group has
	DeadLetters     int64         // how many there are
	OldestPending   time.Duration // how long ago the oldest that is pending was written; negative: none is
	LastDeliveredID string        // "0-0" before the first
}

// Health asks how the group is doing.
func (g *Group) Health(ctx context.Context) (Health, error) {
	id := make([]byte, idSize)
	n := make([]int64, 6)
	err := g.do(ctx, false, func() native.Enum_SS_agx_status {
		return native.Agxb_group_health(g.handle, &id[0], &n[0])
	})
	if err != nil {
		return Health{}, err
	}
	return Health{n[0], n[1], n[2], n[3], n[4], ms(n[5]), upToNul(id)}, nil
}

// DeleteConsumer deletes a consumer ("": this one). What was pending for it, which it tells, comes to
// nobody again: to keep that, claim it first.
func (g *Group) DeleteConsumer(ctx context.Context, consumer string) (pending int, err error) {
	var t texts
	name := t.optional("consumer's name", consumer)
	if t.err != nil {
		return 0, t.err
	}
	count := new(uint64)
	err = g.do(ctx, true, func() native.Enum_SS_agx_status {
		return native.Agx_group_delete_consumer(g.handle, name, count)
	})
	if err != nil {
		return 0, err
	}
	return int(*count), nil
}

// Delete deletes the group, with what is pending in it. The handle stays open.
func (g *Group) Delete(ctx context.Context) error {
	return g.do(ctx, true, func() native.Enum_SS_agx_status { return native.Agx_group_delete(g.handle) })
}

// DeadLetter is an event that could not be handled.
type DeadLetter struct {
	Event          Event  // its ID is the dead letter's own
	OriginalStream string // key of the stream that it comes from; "" if it does not tell
	OriginalID     string // its id there
	Reason         string // why it failed
	Attempts       int64  // how often it was given to a handler
	Time           time.Time
}

// DeadLetters lists the group's dead letters, in the order in which they died: at most limit, and
// 4096 (0: 4096), behind an id ("": from the first on). None is no error.
func (g *Group) DeadLetters(ctx context.Context, after string, limit int) ([]DeadLetter, error) {
	var t texts
	id := t.optional("id", after)
	if t.err != nil {
		return nil, t.err
	}
	records, err := g.fill(ctx, false, func(b uintptr) native.Enum_SS_agx_status {
		return native.Agxb_group_dead_letters(g.handle, id, limitOf(limit), b)
	})
	if err != nil && endIsEOF(err) != io.EOF {
		return nil, err
	}
	var list []DeadLetter
	for i := 0; i+1 < len(records); i += 2 {
		r, of := records[i+1], records[i+1].event() // what it says of the event before it
		list = append(list, DeadLetter{records[i].event(), of.Type, of.ID,
			string(of.Body), r.number(0), time.UnixMilli(r.number(1))})
	}
	return list, nil
}

// Replay puts dead letters back into the stream by their ids, as new events, for all groups of it, and
// deletes them. It tells how many there were.
func (g *Group) Replay(ctx context.Context, ids ...string) (replayed int, err error) {
	return g.withIDs(ctx, ids, native.Agxb_group_replay)
}

// DeleteDeadLetters deletes dead letters by their ids, and tells how many there were.
func (g *Group) DeleteDeadLetters(ctx context.Context, ids ...string) (deleted int, err error) {
	return g.withIDs(ctx, ids, native.Agxb_group_delete_dead_letters)
}
