package agx

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// HistoryRange says which events History reads; its zero value is all, from the first on.
type HistoryRange struct {
	After   string // what came after the event of this id
	Before  string // what came before it
	Reverse bool   // the newest first
	Where   string // only what a condition selects
	Limit   int    // at most so many; 0: all that there are
}

const historyBatch = 1024

// History reads back what the session's stream holds. Nothing is waited for, and `begin` and `end`
// are events like others. To go on, give the last one's id as After, or with Reverse as Before. No
// events is no error. Of an entry that cannot be read (ErrUnsupported) what is before it is given as
// well; Error.EntryID is how to go on.
func (s *Session) History(ctx context.Context, of HistoryRange) ([]Event, error) {
	var all []Event
	for of.Limit <= 0 || len(all) < of.Limit {
		most := historyBatch
		if of.Limit > 0 && of.Limit-len(all) < most {
			most = of.Limit - len(all)
		}
		events, err := s.historyPart(ctx, of, most)
		if errors.Is(err, ErrUnsupported) {
			return all, err
		}
		if err != nil && endIsEOF(err) != io.EOF {
			return nil, err
		}
		if len(events) == 0 {
			break
		}
		all = append(all, events...)
		last := events[len(events)-1].ID
		if of.Reverse {
			of.Before = last
		} else {
			of.After = last
		}
	}
	return all, nil
}

func (s *Session) historyPart(ctx context.Context, of HistoryRange, most int) ([]Event, error) {
	var t texts
	after, before := t.optional("id", of.After), t.optional("id", of.Before)
	where := t.optional("condition", of.Where)
	if t.err != nil {
		return nil, t.err
	}
	var events []Event
	err := s.read(ctx, func() native.Enum_SS_agx_status {
		b, err := newBatch()
		if err != nil {
			return native.AGX_ENOMEM
		}
		defer b.free()
		status := native.Agxb_history_batch(s.handle, after, before, flag(of.Reverse), where,
			int64(most), b.handle)
		if status == 0 {
			events = b.events()
		}
		return status
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// HistoryInfo tells how much there is of a session.
type HistoryInfo struct {
	Length          int64         // how many entries the stream has
	FirstID         string        // of the oldest that is there; "" if none is
	LastID          string        // of the newest
	LastGeneratedID string        // the highest that the stream has given out
	Live            bool          // the session is live
	Expires         time.Duration // until the stream goes; negative: it does not
	Groups          int64         // consumer groups; negative: the store's user may not ask
}

// HistoryInfo asks how much there is of the session. ErrNotFound: nothing.
func (s *Session) HistoryInfo(ctx context.Context) (HistoryInfo, error) {
	ids := make([]byte, 3*idSize)
	numbers := make([]int64, 4)
	err := s.read(ctx, func() native.Enum_SS_agx_status {
		return native.Agxb_history_info(s.handle, &ids[0], &numbers[0])
	})
	if err != nil {
		return HistoryInfo{}, err
	}
	list := idList(ids, 3)
	info := HistoryInfo{Length: numbers[0], FirstID: list[0], LastID: list[1],
		LastGeneratedID: list[2], Live: numbers[1] != 0, Expires: -1, Groups: numbers[3]}
	if numbers[2] >= 0 {
		info.Expires = time.Duration(numbers[2]) * time.Millisecond
	}
	return info, nil
}

// Trim removes all but the newest so many entries, and tells how many went. Listeners that had not
// got to them yet are told ErrGap.
func (s *Session) Trim(ctx context.Context, newest int64) (removed int64, err error) {
	if newest < 0 {
		return 0, invalid("Trim: %d entries cannot be kept", newest)
	}
	return s.trim(ctx, newest, "")
}

// TrimBefore removes the entries that are older than that of an id.
func (s *Session) TrimBefore(ctx context.Context, id string) (removed int64, err error) {
	if id == "" {
		return 0, invalid("TrimBefore: the id is empty")
	}
	return s.trim(ctx, -1, id)
}

func (s *Session) trim(ctx context.Context, newest int64, before string) (int64, error) {
	var t texts
	id := t.optional("id", before)
	if t.err != nil {
		return 0, t.err
	}
	return s.remove(ctx, func(removed *uint64) native.Enum_SS_agx_status {
		return native.Agx_history_trim(s.handle, newest, id, removed)
	})
}

// Replace replaces all that the session's stream holds by events, in one atomic step: such as a history
// by its summary. The live flag, the expiry (which an entry of agent-framework renews) and consumer groups stay; interceptors do not see them.
// Listeners that had not got to what went are told ErrGap. It tells how many entries went.
func (s *Session) Replace(ctx context.Context, events []NewEvent) (removed int64, err error) {
	packed, err := packChecked(events)
	if err != nil {
		return 0, err
	}
	return s.remove(ctx, func(removed *uint64) native.Enum_SS_agx_status {
		return native.Agxb_history_replace(s.handle, unsafe.Pointer(bytesOf(packed)),
			int64(len(packed)), int64(len(events)), removed)
	})
}

// Drop drops all that the session's stream holds; the stream stays, with its groups and its last id.
func (s *Session) Drop(ctx context.Context) (removed int64, err error) {
	return s.remove(ctx, func(removed *uint64) native.Enum_SS_agx_status {
		return native.Agx_history_drop(s.handle, removed)
	})
}

func (s *Session) remove(ctx context.Context, f func(*uint64) native.Enum_SS_agx_status) (int64, error) {
	removed := new(uint64)
	err := s.writeBehind(ctx, func() native.Enum_SS_agx_status { return f(removed) })
	if err != nil {
		return 0, err
	}
	return int64(*removed), nil
}

// Delete deletes the session: its stream, its live flag and its conversation. A producer that has
// it live sees a cancel. ErrNotFound: nothing was there.
func (s *Session) Delete(ctx context.Context) error {
	return s.writeBehind(ctx, func() native.Enum_SS_agx_status {
		return native.Agx_history_delete(s.handle)
	})
}

// Any is any scope, or any user, of a Query.
const Any int64 = -1 << 63

// Query is an iteration over live sessions. One goroutine at a time goes on with it.
type Query struct {
	client *Client
	gate
	turn chan struct{} // of one: a text belongs to the query until its next call
	mu   sync.Mutex
	come []SessionID // that nobody was given yet
}

// Query begins to list the sessions that are live: of a scope and user, of a scope (the user Any),
// or all (both Any).
func (c *Client) Query(scope, user int64) (*Query, error) {
	if c.c == nil {
		return nil, notOpened("client")
	}
	var handle uintptr
	err := call(func() native.Enum_SS_agx_status {
		return native.Agx_query_open(c.c.handle, scope, user, &handle)
	})
	runtime.KeepAlive(c)
	if err != nil {
		return nil, err
	}
	q := &Query{client: c, gate: newGate(handle, "query", native.Agx_query_close),
		turn: make(chan struct{}, 1)}
	runtime.SetFinalizer(q, (*Query).close)
	return q, nil
}

// Next gives the next live session, each once, in no order; io.EOF after the last. It ends at once, with
// the context's error, when ctx is done; nothing is lost by that.
func (q *Query) Next(ctx context.Context) (SessionID, error) {
	for {
		err := command{on: &q.gate, room: q.turn}.do(ctx, q.fetch)
		if err != nil {
			return SessionID{}, endIsEOF(err)
		}
		if id, ok := q.take(); ok {
			return id, nil
		}
	}
}

// fetch has one come, unless one has for whom nobody waited any more.
func (q *Query) fetch() native.Enum_SS_agx_status {
	q.mu.Lock()
	came := len(q.come) > 0
	q.mu.Unlock()
	if came {
		return 0
	}
	var scope, user int64
	var session unsafe.Pointer
	status := native.Agx_query_next(q.handle, &scope, &user, &session)
	if status == 0 {
		q.mu.Lock()
		q.come = append(q.come, SessionID{scope, user, fromC((*byte)(session))})
		q.mu.Unlock()
	}
	return status
}

// take finds none if another was quicker.
func (q *Query) take() (id SessionID, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.come) == 0 {
		return SessionID{}, false
	}
	id = q.come[0]
	q.come = q.come[1:]
	return id, true
}

// Close closes the query, and does not wait for a Next that is under way. It never fails.
func (q *Query) Close() error {
	if !q.wasOpened() {
		return nil
	}
	runtime.SetFinalizer(q, nil)
	q.close()
	return nil
}

func (q *Query) close() {
	if q.gate.shut() {
		q.gate.leave()
	}
}
