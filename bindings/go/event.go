package agx

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Event is one entry of a session. It shares memory with those that arrived together with it: clone
// what is to be kept for long.
type Event struct {
	ID     string          // "milliseconds-sequence"
	Type   string          // "" if the entry has none
	Origin string          // "" if the entry has none
	Body   json.RawMessage // as it was written; what other programs wrote need not be JSON
}

// Decode decodes the body, as json.Unmarshal.
func (e Event) Decode(into any) error {
	if err := json.Unmarshal(e.Body, into); err != nil {
		return fmt.Errorf("agx: the body of event %s: %w", e.ID, err)
	}
	return nil
}

// Time is when the store took the event, from its id; the zero time if that is not one.
func (e Event) Time() time.Time {
	text, _, _ := strings.Cut(e.ID, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Clone copies an event, apart from those that it arrived with.
func (e Event) Clone() Event {
	all := make([]byte, 0, len(e.ID)+len(e.Type)+len(e.Origin)+len(e.Body))
	all = append(append(append(append(all, e.ID...), e.Type...), e.Origin...), e.Body...)
	return eventIn(all, len(e.ID), len(e.Type), len(e.Origin), len(e.Body))
}

// eventIn makes an event of four texts that lie one behind the other.
func eventIn(bytes []byte, id, kind, origin, body int) Event {
	ends := [4]int{id, id + kind, id + kind + origin, id + kind + origin + body}
	return Event{
		ID:     textIn(bytes[:ends[0]]),
		Type:   textIn(bytes[ends[0]:ends[1]]),
		Origin: textIn(bytes[ends[1]:ends[2]]),
		Body:   json.RawMessage(bytes[ends[2]:ends[3]:ends[3]]),
	}
}

// textIn is the bytes as a text, without a copy: nobody else sees or changes them.
func textIn(bytes []byte) string {
	return *(*string)(unsafe.Pointer(&bytes))
}

// A record is one of a batch; agx_bind.h says how it is laid out.
type record struct {
	kind   int
	status native.Enum_SS_agx_status
	token  int64
	event  Event // of an outcome its body is the message
}

func (r *record) err() error {
	return &Error{Code: Code(r.status), Message: string(r.event.Body)}
}

// A batch is C's buffer of records. One goroutine at a time uses it.
type batch struct{ handle uintptr }

func newBatch() (batch, error) {
	handle := native.Agxb_batch_new()
	if handle == 0 {
		return batch{}, &Error{Code: ErrNoMemory}
	}
	return batch{handle}, nil
}

func (b *batch) free() {
	native.Agxb_batch_free(b.handle)
	b.handle = 0
}

// each copies the batch, once, and gives its records.
func (b *batch) each(visit func(*record)) {
	size := native.Agxb_batch_size(b.handle)
	count := native.Agxb_batch_count(b.handle)
	if count == 0 {
		return
	}
	bytes := copyOf(native.Agxb_batch_data(b.handle), uint64(size))
	var r record
	for at := 0; count > 0; count-- {
		at = (at + 7) &^ 7
		head := unsafe.Pointer(&bytes[at : at+native.AGXB_HEADER][0])
		numbers := (*[2]int32)(head)
		lengths := (*[5]uint32)(unsafe.Add(head, 16))
		r.kind, r.status = int(numbers[0]), native.Enum_SS_agx_status(numbers[1])
		r.token = *(*int64)(unsafe.Add(head, 8))
		at += native.AGXB_HEADER
		id, kind, origin, body := int(lengths[0]), int(lengths[1]), int(lengths[2]), int(lengths[3])
		r.event = eventIn(bytes[at:at+id+kind+origin+body], id, kind, origin, body)
		at += id + kind + origin + body
		if extra := int(lengths[4]); extra > 0 {
			at = (at+7)&^7 + extra
		}
		visit(&r)
	}
}

func (b *batch) events() []Event {
	list := make([]Event, 0, native.Agxb_batch_count(b.handle))
	b.each(func(r *record) { list = append(list, r.event) })
	return list
}
