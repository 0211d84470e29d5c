package agx

import (
	"context"
	"encoding/json"
	"runtime"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// API is a model's, whose streams Run.Feed reads and whose requests Messages.Request writes.
type API int

// The APIs.
const (
	OpenAIChat      API = 1 // OpenAI Chat Completions and what is compatible with it
	OpenAIResponses API = 2 // OpenAI Responses
	Anthropic       API = 3 // Anthropic Messages
)

// Messages is a conversation: what a session keeps between runs, as pydantic-ai writes it.
type Messages struct {
	client *Client // or nil
	gate
	turn chan struct{} // of one: texts belong to the conversation until it is changed
}

func openMessages(c *Client, open func(*uintptr) native.Enum_SS_agx_status) (*Messages, error) {
	var handle uintptr
	err := call(func() native.Enum_SS_agx_status { return open(&handle) })
	if err != nil {
		return nil, err
	}
	m := &Messages{client: c, gate: newGate(handle, "conversation", native.Agx_messages_close),
		turn: make(chan struct{}, 1)}
	runtime.SetFinalizer(m, (*Messages).close)
	return m, nil
}

// ParseMessages makes a conversation of its JSON; nil is an empty one. It has no place to be loaded
// from or saved to.
func ParseMessages(text json.RawMessage) (*Messages, error) {
	return openMessages(nil, func(handle *uintptr) native.Enum_SS_agx_status {
		var bytes *byte
		if text != nil {
			bytes = bytesOf(text)
		}
		return native.Agx_messages_parse(bytes, int64(len(text)), handle)
	})
}

// OpenMessages opens a conversation that is kept in a file. It is empty until it is loaded.
func OpenMessages(path string) (*Messages, error) {
	var t texts
	name := t.add("path", path)
	if t.err != nil {
		return nil, t.err
	}
	return openMessages(nil, func(handle *uintptr) native.Enum_SS_agx_status {
		return native.Agx_messages_open_file(name, handle)
	})
}

// Messages opens the conversation of the session, which is kept in the store beside it and does not
// go with its events. It is empty until it is loaded.
func (s *Session) Messages() (*Messages, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	m, err := openMessages(s.client, func(handle *uintptr) native.Enum_SS_agx_status {
		return native.Agx_messages_open(s.handle, handle)
	})
	runtime.KeepAlive(s)
	return m, err
}

// Close closes the conversation; what was not saved is lost. A Load or Save that is under way goes on, and
// Close does not wait for it. It never fails.
func (m *Messages) Close() error {
	if !m.wasOpened() {
		return nil
	}
	runtime.SetFinalizer(m, nil)
	m.close()
	return nil
}

func (m *Messages) close() {
	if m.gate.shut() {
		m.gate.leave()
	}
}

func (m *Messages) locked(f func() native.Enum_SS_agx_status) error {
	return command{on: &m.gate, room: m.turn}.call(f)
}

// text is a call that gives one.
func (m *Messages) text(f func(*unsafe.Pointer, *uint64) native.Enum_SS_agx_status) ([]byte, error) {
	var copied []byte
	err := m.locked(func() native.Enum_SS_agx_status {
		var at unsafe.Pointer
		var length uint64
		status := f(&at, &length)
		if status == 0 {
			copied = copyOf(at, length)
		}
		return status
	})
	return copied, err
}

// Load replaces what is held by what is kept; nothing kept is an empty conversation.
func (m *Messages) Load(ctx context.Context) error {
	return m.do(ctx, false, native.Agx_messages_load)
}

// Save keeps what is held, if what is kept is still what was loaded or saved last: otherwise
// ErrConflict, and nothing is written.
func (m *Messages) Save(ctx context.Context) error {
	return m.do(ctx, true, native.Agx_messages_save)
}

func (m *Messages) do(ctx context.Context, writes bool, f func(uintptr) native.Enum_SS_agx_status) error {
	return command{on: &m.gate, room: m.turn, writes: writes}.do(ctx, func() native.Enum_SS_agx_status {
		return f(m.handle)
	})
}

// JSON is the whole conversation.
func (m *Messages) JSON() (json.RawMessage, error) {
	return m.text(func(at *unsafe.Pointer, length *uint64) native.Enum_SS_agx_status {
		return native.Agx_messages_json(m.handle, at, length)
	})
}

// Len is how many messages there are; 0 of what is closed.
func (m *Messages) Len() int {
	return m.count(func() int64 { return native.Agx_messages_count(m.handle) })
}

func (m *Messages) count(f func() int64) int {
	if m.gate.enter() != nil {
		return 0
	}
	defer m.gate.leave()
	return int(f())
}

// Parts is how many parts a message has; 0 if there is no such message.
func (m *Messages) Parts(message int) int {
	return m.count(func() int64 { return native.Agx_messages_part_count(m.handle, int64(message)) })
}

// Field is a message's field, such as "kind": a string as its text, anything else as JSON.
// ErrNotFound.
func (m *Messages) Field(message int, name string) (text string, isJSON bool, err error) {
	return m.field(name, func(name *byte, at *unsafe.Pointer, length *uint64, kind *int32) native.Enum_SS_agx_status {
		return native.Agx_messages_field(m.handle, int64(message), name, at, length, kind)
	})
}

// PartField is the same of a part, such as "part_kind", "content" or "args".
func (m *Messages) PartField(message, part int, name string) (text string, isJSON bool, err error) {
	return m.field(name, func(name *byte, at *unsafe.Pointer, length *uint64, kind *int32) native.Enum_SS_agx_status {
		return native.Agx_messages_part_field(m.handle, int64(message), int64(part), name, at,
			length, kind)
	})
}

func (m *Messages) field(name string, f func(*byte, *unsafe.Pointer, *uint64, *int32) native.Enum_SS_agx_status) (string, bool, error) {
	var t texts
	nameText := t.add("name", name)
	if t.err != nil {
		return "", false, t.err
	}
	var isJSON int32
	text, err := m.text(func(at *unsafe.Pointer, length *uint64) native.Enum_SS_agx_status {
		return f(nameText, at, length, &isJSON)
	})
	return string(text), isJSON != 0, err
}

// Append appends messages: a JSON object, or an array of them, such as Run.FeedEnd gives.
func (m *Messages) Append(messages json.RawMessage) error {
	return m.locked(func() native.Enum_SS_agx_status {
		return native.Agx_messages_append(m.handle, bytesOf(messages), int64(len(messages)))
	})
}

// AppendSystem adds a system prompt, to the last message if that is a request, else to a new one.
func (m *Messages) AppendSystem(content string) error {
	var t texts
	text := t.add("content", content)
	return m.append(&t, func() native.Enum_SS_agx_status {
		return native.Agx_messages_append_system(m.handle, text)
	})
}

// AppendUser adds what the user says, in the same way.
func (m *Messages) AppendUser(content string) error {
	var t texts
	text := t.add("content", content)
	return m.append(&t, func() native.Enum_SS_agx_status {
		return native.Agx_messages_append_user(m.handle, text)
	})
}

// AppendToolReturn adds a tool's result, in the same way; nil is null.
func (m *Messages) AppendToolReturn(tool, callID string, result json.RawMessage) error {
	var t texts
	name, call := t.add("tool name", tool), t.add("tool call id", callID)
	content := t.jsonOrNil("result", result)
	return m.append(&t, func() native.Enum_SS_agx_status {
		return native.Agx_messages_append_tool_return(m.handle, name, call, content)
	})
}

// AppendRetry asks the model to try again, in the same way: after a tool refused, or ("", "") after
// anything else.
func (m *Messages) AppendRetry(tool, callID, content string) error {
	var t texts
	name, call := t.optional("tool name", tool), t.optional("tool call id", callID)
	text := t.add("content", content)
	return m.append(&t, func() native.Enum_SS_agx_status {
		return native.Agx_messages_append_retry(m.handle, name, call, text)
	})
}

func (m *Messages) append(t *texts, f func() native.Enum_SS_agx_status) error {
	if t.err != nil {
		return t.err
	}
	return m.locked(f)
}

// Title is the first thing that the user said.
func (m *Messages) Title() (string, error) {
	text, err := m.text(func(at *unsafe.Pointer, length *uint64) native.Enum_SS_agx_status {
		return native.Agx_messages_title(m.handle, at, length)
	})
	return string(text), err
}

// Nodes are the conversation's nodes, as a JSON array.
func (m *Messages) Nodes() (json.RawMessage, error) {
	return m.text(func(at *unsafe.Pointer, length *uint64) native.Enum_SS_agx_status {
		return native.Agx_messages_nodes(m.handle, at, length)
	})
}

// Request is the body of a request to the model that continues the conversation, with streaming
// asked for. settings: an object whose members become the body's own, such as "model"; or nil.
func (m *Messages) Request(api API, settings json.RawMessage) (json.RawMessage, error) {
	var t texts
	given := t.jsonOrNil("settings", settings)
	if t.err != nil {
		return nil, t.err
	}
	return m.text(func(at *unsafe.Pointer, length *uint64) native.Enum_SS_agx_status {
		return native.Agx_messages_request(m.handle, native.Enum_SS_agx_model_api(api), given, at, length)
	})
}

func (t *texts) jsonOrNil(what string, value json.RawMessage) *byte {
	if value == nil {
		return nil
	}
	return t.add(what, string(value))
}
