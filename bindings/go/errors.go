package agx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Code says what kind an error is. It is an error itself, so that errors.Is(err, agx.ErrBusy) asks
// for it.
type Code int

// Outcomes that a caller plans for.
const (
	ErrTimeout     Code = 1  // nothing within the time given
	ErrAbsent      Code = 3  // the session never appeared
	ErrSilent      Code = 4  // no event for the listener's timeout
	ErrGone        Code = 5  // the producer is gone, without an end; Listener.GoneReason tells more
	ErrGap         Code = 6  // the store dropped events that the listener may still have needed
	ErrInterrupted Code = 7  // the wait was interrupted
	ErrCanceled    Code = 9  // the session was cancelled
	ErrTakenOver   Code = 10 // another producer took the session over; nothing was written
	ErrNotLive     Code = 11 // the session is not live
	ErrNotFound    Code = 12 // there is no such message, part, field, session or group
	ErrBehind      Code = 13 // a subscription's function is too slow; nothing is lost
	ErrSwallowed   Code = 14 // an interceptor swallowed the event; it was not written
)

// Errors.
const (
	ErrInvalid      Code = -1  // an argument is not valid
	ErrNoMemory     Code = -2  // out of memory; nothing was changed
	ErrClosed       Code = -3  // it, or the client it came from, is closed
	ErrBusy         Code = -4  // the session is live already; or the group is in use
	ErrConnect      Code = -5  // the store cannot be reached; nothing was written
	ErrStoreTimeout Code = -6  // the store did not answer in time; nothing was written
	ErrUncertain    Code = -7  // it may have been written
	ErrAuth         Code = -8  // the store refuses the user or password, or wants one
	ErrDenied       Code = -9  // the store's user lacks a permission
	ErrUnsupported  Code = -10 // the store is too old; or this build, or a model's API, cannot
	ErrType         Code = -11 // a key of another type is in the way
	ErrFull         Code = -12 // the store is out of memory
	ErrReadOnly     Code = -13 // the store takes no writes
	ErrLoading      Code = -14 // the store is still loading its data
	ErrProtocol     Code = -15 // the store sent what is not its protocol
	ErrServer       Code = -16 // any other error that the store reports
	ErrTooBig       Code = -17 // a body, type, origin or id is longer than allowed
	ErrJSON         Code = -18 // a body is not JSON, or nested too deep
	ErrSystem       Code = -19 // the operating system refused a thread, descriptor, file or the like
	ErrState        Code = -20 // the call does not fit what the run is in the middle of
	ErrConflict     Code = -21 // somebody else saved the conversation, or moved the checkpoint, in between
	ErrModel        Code = -22 // the model reported an error, or its stream broke off or is not one
	ErrFailed       Code = -23 // a function of the user's failed
)

// ErrUnavailable matches whatever says that the store does not serve now, and that nothing was
// written: ErrConnect, ErrStoreTimeout and ErrLoading.
var ErrUnavailable = errors.New("agx: the store is unavailable")

const codeEnded, codeLimit native.Enum_SS_agx_status = 2, 8

// Error makes a code an error; what is returned by calls is an *Error, whose text says more.
func (c Code) Error() string {
	return "agx: " + c.String()
}

// Is matches ErrUnavailable.
func (c Code) Is(target error) bool {
	unavailable := c == ErrConnect || c == ErrStoreTimeout || c == ErrLoading
	return target == ErrUnavailable && unavailable
}

// String is the code's name in C, such as "AGX_EBUSY".
func (c Code) String() string {
	return fromC((*byte)(native.Agx_status_string(native.Enum_SS_agx_status(c))))
}

// Error is what libagx answers when it does not do what it was asked.
type Error struct {
	Code    Code
	Message string // what went wrong, in words that say what to do; never a password
	EntryID string // with ErrUnsupported: which entry of a stream cannot be read; else ""
	cause   error
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.Error()
	}
	return "agx: " + e.Message
}

// Is matches codes, and ErrUnavailable.
func (e *Error) Is(target error) bool {
	if code, ok := target.(Code); ok {
		return code == e.Code
	}
	return e.Code.Is(target)
}

// Unwrap gives the context's error, or what a function of the user's returned, if that is why.
func (e *Error) Unwrap() error { return e.cause }

func failure(status native.Enum_SS_agx_status) error {
	message := fromC((*byte)(native.Agx_last_error()))
	entry := fromC((*byte)(native.Agx_last_error_entry()))
	switch Code(status) {
	case ErrInvalid:
		message = inGo(message)
	case ErrClosed: // C cannot tell a handle that was closed from what is none, which there is not here
		message, _, _ = strings.Cut(message, ", or no")
	}
	return &Error{Code: Code(status), Message: message, EntryID: entry}
}

// namesInGo are what C's arguments are called here.
var namesInGo = strings.NewReplacer(
	"the option lease_ms", "the lease in milliseconds",
	"the option keep goes with take_over", "Keep goes with TakeOver",
	"the option after", "the id to begin after",
	"the option start", "the group's Start",
	"the option limit", "the limit",
	"the options queue and queue_bytes", "what Queue is given",
	"the option coalesce_bytes", "the bytes of Coalesce",
	"the option coalesce_ms", "the window of Coalesce in milliseconds",
	"agx_session_open", "Client.Session",
	"before_id is", "the id is",
)

// inGo says what is wrong with an argument without C's name of the function.
func inGo(message string) string {
	if function, rest, found := strings.Cut(message, ": "); found && strings.HasPrefix(function, "agx_") &&
		!strings.Contains(function, " ") {
		message = rest
	}
	return namesInGo.Replace(message)
}

func invalid(format string, args ...any) error {
	return &Error{Code: ErrInvalid, Message: fmt.Sprintf(format, args...)}
}

// notOpened is for a zero value.
func notOpened(what string) error { return invalid("the %s was not opened", what) }

func closed(what string) error {
	return &Error{Code: ErrClosed, Message: "the " + what + " is closed"}
}

// call makes one native call, and fetches what it says in the thread that made it. It gives a
// *thrown if a function of the user's panicked in it, which whoever waits for it has to raise.
func call(f func() native.Enum_SS_agx_status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := f()
	k, found := takeKept()
	if found && k.panicked {
		return &thrown{k.value}
	}
	if status == 0 {
		return nil
	}
	err := failure(status)
	if found {
		err.(*Error).cause = k.err
	}
	return err
}

// A command is a native call that may block, for as long as its context lets it.
type command struct {
	on     *gate         // of the handle, or nil
	keep   any           // must not be collected meanwhile
	writes bool          // cut off in the middle it is uncertain
	room   chan struct{} // for so many at a time; or nil
	undo   func()        // of one that succeeded after nobody waited for it any more; or nil
}

// do makes the call. What it writes may be looked at only if do returns what the call did: it goes
// on alone once the context is done.
func (c command) do(ctx context.Context, f func() native.Enum_SS_agx_status) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() == nil || c.writes && inInterceptor() { // whose own events C tells by their thread
		return doneToo(ctx, raise(c.call(f)))
	}
	done := make(chan error, 1)
	go func() { done <- c.call(f) }()
	select {
	case err := <-done:
		return doneToo(ctx, raise(err))
	case <-ctx.Done():
	}
	if c.undo != nil {
		go func() {
			if <-done == nil {
				c.undo()
			}
		}()
	}
	return cutOff(ctx, c.writes)
}

func (c command) call(f func() native.Enum_SS_agx_status) error {
	defer runtime.KeepAlive(c.keep)
	if c.room != nil {
		select {
		case c.room <- struct{}{}:
		case <-c.on.over:
			return closed(c.on.what)
		}
		defer func() { <-c.room }()
	}
	if c.on == nil {
		return call(f)
	}
	return c.on.call(f)
}

func cutOff(ctx context.Context, writes bool) error {
	if !writes {
		return ctx.Err()
	}
	message := fmt.Sprintf("%v; the store may carry the command out all the same", ctx.Err())
	return &Error{Code: ErrUncertain, Message: message, cause: ctx.Err()}
}

// doneToo has an error match the context's as well, if that is done and it was the store that was not
// there: whoever ended the call is told so, and also whether it may have been written.
func doneToo(ctx context.Context, err error) error {
	e, ok := err.(*Error)
	if !ok || e.cause != nil || ctx.Err() == nil || e.Code != ErrUncertain && !e.Is(ErrUnavailable) {
		return err
	}
	both := *e // which others may have too
	both.Message = fmt.Sprintf("%v; %s", ctx.Err(), e.Message)
	both.cause = ctx.Err()
	return &both
}

// check refuses what cannot be passed as a text.
func check(what, text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return invalid("the %s contains U+0000", what)
	}
	if !utf8.ValidString(text) {
		return invalid("the %s is not UTF-8", what)
	}
	return nil
}

// A texts passes texts to C: checks them and puts a NUL behind each. The first error stays.
type texts struct{ err error }

func (t *texts) add(what, text string) *byte {
	if t.err == nil {
		t.err = check(what, text)
	}
	if t.err != nil {
		return nil
	}
	bytes := make([]byte, len(text)+1)
	copy(bytes, text)
	return &bytes[0]
}

// optional is nil for "".
func (t *texts) optional(what, text string) *byte {
	if text == "" {
		return nil
	}
	return t.add(what, text)
}

// bytesOf gives what is not text, or is checked by whom it is for: never nil.
func bytesOf(bytes []byte) *byte {
	if len(bytes) == 0 {
		return new(byte)
	}
	return &bytes[0]
}

// fromC copies a text that ends with a NUL.
func fromC(text *byte) string {
	if text == nil {
		return ""
	}
	length := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(text), length)) != 0 {
		length++
	}
	return string(unsafe.Slice(text, length))
}

// copyOf copies what C gave by address and length.
func copyOf(at unsafe.Pointer, length uint64) []byte {
	if at == nil {
		return nil
	}
	return append(make([]byte, 0, length), unsafe.Slice((*byte)(at), length)...)
}

func upToNul(bytes []byte) string {
	for i, b := range bytes {
		if b == 0 {
			return string(bytes[:i])
		}
	}
	return string(bytes)
}

func flag(set bool) int {
	if set {
		return 1
	}
	return 0
}

func isClosed(err error) bool { return errors.Is(err, ErrClosed) }

func isTimeout(err error) bool { return errors.Is(err, ErrTimeout) }

func isInterrupted(err error) bool { return errors.Is(err, ErrInterrupted) }

func isLimit(err error) bool { return errors.Is(err, Code(codeLimit)) }

func endIsEOF(err error) error {
	if e, ok := err.(*Error); ok {
		if status := native.Enum_SS_agx_status(e.Code); status == codeEnded || status == codeLimit {
			return io.EOF
		}
	}
	return err
}
