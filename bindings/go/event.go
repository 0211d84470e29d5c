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

	fields []byte // as agx_bind.h has them; nil if the above are all
}

// Field is a field of an entry as its writer wrote it.
type Field struct{ Name, Value string }

// Fields gives all fields of the entry, also those that an event has no place for: of the streams of
// other frameworks, and what other programs wrote. An element of an ag2 list is one field, "element".
func (e Event) Fields() []Field {
	if e.fields == nil {
		var list []Field
		for _, f := range []Field{{"type", e.Type}, {"origin", e.Origin}, {"body", string(e.Body)}} {
			if f.Value != "" {
				list = append(list, f)
			}
		}
		return list
	}
	var list []Field
	eachField(e.fields, func(name, value string) bool {
		list = append(list, Field{name, value})
		return true
	})
	return list
}

// Field gives the field of that name, the first if there are several; false: there is none.
func (e Event) Field(name string) (value string, found bool) {
	if e.fields == nil {
		for _, f := range e.Fields() {
			if f.Name == name {
				return f.Value, true
			}
		}
		return "", false
	}
	eachField(e.fields, func(has, its string) bool {
		if has == name {
			value, found = its, true
		}
		return !found
	})
	return value, found
}

func eachField(bytes []byte, visit func(name, value string) bool) {
	for len(bytes) > 0 {
		name := 8 + int(nativeOrder.Uint32(bytes))
		value := name + int(nativeOrder.Uint32(bytes[4:]))
		if !visit(textIn(bytes[8:name]), textIn(bytes[name:value])) {
			return
		}
		bytes = bytes[value:]
	}
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
	all := make([]byte, 0, len(e.ID)+len(e.Type)+len(e.Origin)+len(e.Body)+len(e.fields))
	all = append(append(append(append(all, e.ID...), e.Type...), e.Origin...), e.Body...)
	end := len(all)
	all = append(all, e.fields...)
	clone := eventIn(all, len(e.ID), len(e.Type), len(e.Origin), len(e.Body))
	if e.fields != nil {
		clone.fields = all[end:]
	}
	return clone
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
	extra  []byte
}

// number is the index-th of those that tell of something.
func (r *record) number(index int) int64 { return int64(nativeOrder.Uint64(r.extra[8*index:])) }

func (r *record) err() error {
	return &Error{Code: Code(r.status), Message: string(r.event.Body), EntryID: r.event.ID}
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
	eachRecord(copyOf(native.Agxb_batch_data(b.handle), uint64(size)), int(count), visit)
}

func eachRecord(bytes []byte, count int, visit func(*record)) {
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
		r.extra = nil
		if extra := int(lengths[4]); extra > 0 {
			at = (at + 7) &^ 7
			r.extra = bytes[at : at+extra : at+extra]
			at += extra
			if r.kind == native.AGXB_EVENT {
				r.event.fields = r.extra
			}
		}
		visit(&r)
	}
}

func (b *batch) events() []Event {
	list := make([]Event, 0, native.Agxb_batch_count(b.handle))
	b.each(func(r *record) { list = append(list, r.event) })
	return list
}
