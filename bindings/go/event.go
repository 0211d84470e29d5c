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

// A record is one of a batch, as it lies there; agx_bind.h says how.
type record []byte

func (r record) head() unsafe.Pointer { return unsafe.Pointer(&r[:native.AGXB_HEADER][0]) }

func (r record) kind() int { return int(*(*int32)(r.head())) }

func (r record) status() native.Enum_SS_agx_status {
	return native.Enum_SS_agx_status(*(*int32)(unsafe.Add(r.head(), 4)))
}

func (r record) token() int64 { return *(*int64)(unsafe.Add(r.head(), 8)) }

// lengths are those of id, type, origin, body and what is extra.
func (r record) lengths() *[5]uint32 { return (*[5]uint32)(unsafe.Add(r.head(), 16)) }

func (r record) id() string {
	return textIn(r[native.AGXB_HEADER:][:r.lengths()[0]])
}

// event makes the event of one, or, of an outcome, what has its message as the body.
func (r record) event() Event {
	of := r.lengths()
	event := eventIn(r[native.AGXB_HEADER:], int(of[0]), int(of[1]), int(of[2]), int(of[3]))
	if of[4] > 0 && r.kind() == native.AGXB_EVENT {
		event.fields = r.extra()
	}
	return event
}

func (r record) extra() []byte { return r[len(r)-int(r.lengths()[4]) : len(r) : len(r)] }

// number is the index-th of those that tell of something.
func (r record) number(index int) int64 { return int64(nativeOrder.Uint64(r.extra()[8*index:])) }

// err is what an outcome tells.
func (r record) err() *Error {
	said := r.event()
	return &Error{Code: Code(r.status()), Message: string(said.Body), EntryID: said.ID}
}

// A recordReader gives the records of a batch.
type recordReader struct {
	bytes []byte
	left  int // how many
}

// next takes the first, of those that are left.
func (s *recordReader) next() record {
	of := record(s.bytes).lengths()
	end := native.AGXB_HEADER + int(of[0]) + int(of[1]) + int(of[2]) + int(of[3])
	if extra := int(of[4]); extra > 0 {
		end = aligned(end) + extra
	}
	r := s.bytes[:end:end]
	if s.left--; s.left > 0 {
		s.bytes = s.bytes[aligned(end):]
	}
	return r
}

func aligned(size int) int { return (size + 7) &^ 7 }

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

// records copies the batch, once.
func (b *batch) records() recordReader {
	count := int(native.Agxb_batch_count(b.handle))
	if count == 0 {
		return recordReader{}
	}
	return recordReader{copyOf(native.Agxb_batch_data(b.handle), uint64(native.Agxb_batch_size(b.handle))), count}
}

func (b *batch) events() []Event {
	all := b.records()
	list := make([]Event, 0, all.left)
	for all.left > 0 {
		list = append(list, all.next().event())
	}
	return list
}
