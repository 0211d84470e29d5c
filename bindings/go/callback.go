package agx

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// A callee is what C calls by its token. It does not panic.
type callee interface {
	called(handle uintptr, event Event, err error, attempt int64) native.Enum_SS_agx_status
}

var callees = struct {
	mu         sync.Mutex
	byToken    map[int64]callee
	token      int64
	intercepts int32 // of them, read without mu
}{byToken: map[int64]callee{}}

func init() { native.Called = called }

// register makes something callable by the token that it gives.
func register(c callee) int64 {
	callees.mu.Lock()
	defer callees.mu.Unlock()
	callees.token++
	callees.byToken[callees.token] = c
	count(c, 1)
	return callees.token
}

func unregister(token int64) {
	callees.mu.Lock()
	defer callees.mu.Unlock()
	if c := callees.byToken[token]; c != nil {
		delete(callees.byToken, token)
		count(c, -1)
	}
}

func count(c callee, by int32) {
	if _, is := c.(*Interceptor); is {
		atomic.AddInt32(&callees.intercepts, by)
	}
}

func called(kind int32, handle uintptr, at unsafe.Pointer, size uint64, attempt int64) int32 {
	r := record(copyOf(at, size))
	callees.mu.Lock()
	c := callees.byToken[r.token()]
	callees.mu.Unlock()
	if c == nil {
		return int32(native.AGX_ECLOSED) // closed while the call was on its way
	}
	if r.kind() != native.AGXB_EVENT {
		return int32(c.called(handle, Event{}, endIsEOF(r.err()), attempt))
	}
	return int32(c.called(handle, r.event(), nil, attempt))
}

// What a function of the user's gave that C can tell its caller only a status of. It is kept for the
// call that is under way in this thread.
type kept struct {
	err      error // what it returned
	value    any   // or what it panicked with
	panicked bool
}

var keptNow = struct {
	mu       sync.Mutex
	byThread map[int]kept
	count    int32 // read without mu
}{byThread: map[int]kept{}}

// keep has the call return it that this thread is in. In a thread of C's own there is none.
func keep(k kept) {
	if !inside(callName) {
		return
	}
	keptNow.mu.Lock()
	defer keptNow.mu.Unlock()
	keptNow.byThread[syscall.Gettid()] = k
	atomic.StoreInt32(&keptNow.count, int32(len(keptNow.byThread)))
}

// takeKept is for the thread that has just come back from C.
func takeKept() (kept, bool) {
	if atomic.LoadInt32(&keptNow.count) == 0 {
		return kept{}, false
	}
	keptNow.mu.Lock()
	defer keptNow.mu.Unlock()
	thread := syscall.Gettid()
	k, found := keptNow.byThread[thread]
	delete(keptNow.byThread, thread)
	atomic.StoreInt32(&keptNow.count, int32(len(keptNow.byThread)))
	return k, found
}

// A thrown is a panic on its way from a function of the user's to who called what called it.
type thrown struct{ value any }

func (t *thrown) Error() string { return panicText(t.value) }

func panicText(value any) string { return fmt.Sprint("panic: ", value) }

// caught calls a function of the user's, and gives what it panicked with; nil: it has returned. It may not
// have called runtime.Goexit, as testing's FailNow does: the frames of C that would be torn down with the
// goroutine hold locks. recover gives nil then, as it does after panic(nil), after which one comes back.
func caught(what string, f func()) (thrown *thrown) {
	cameBack := false
	defer func() {
		if !cameBack {
			go panic("agx: " + what + " has ended its goroutine, as runtime.Goexit and testing's FailNow do; it has to return")
			select {}
		}
	}()
	thrown = recovered(f)
	cameBack = true
	return thrown
}

func recovered(f func()) (t *thrown) {
	returned := false
	defer func() {
		if !returned {
			t = &thrown{recover()}
		}
	}()
	f()
	returned = true
	return nil
}

// throwing calls a function of the user's. If it panics, that is told first, and goes on.
func throwing(f func(), told func(value any)) {
	returned := false
	func() {
		defer func() {
			if returned {
				return
			}
			if value := recover(); value != nil {
				told(value)
				panic(value) // here, where what threw it is still on the stack
			}
		}()
		f()
		returned = true
	}()
	if !returned { // and came back: it was panic(nil), and not runtime.Goexit
		told(nil)
		panic(nil)
	}
}

// raise lets a panic go on.
func raise(err error) error {
	if t, ok := err.(*thrown); ok {
		panic(t.value)
	}
	return err
}

var (
	callName      = nameOf(call)
	interceptName = nameOf((*Interceptor).called)
)

func nameOf(f any) string { return runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name() }

// inside tells whether this goroutine is in a function of that name, through C and back too.
func inside(name string) bool {
	var room [64]uintptr
	for skip := 2; ; skip += len(room) {
		count := runtime.Callers(skip, room[:])
		if count == 0 {
			return false
		}
		frames := runtime.CallersFrames(room[:count])
		for {
			frame, more := frames.Next()
			if frame.Function == name {
				return true
			}
			if !more {
				break
			}
		}
		if count < len(room) {
			return false
		}
	}
}

// inInterceptor tells whether this goroutine is an interceptor's.
func inInterceptor() bool {
	return atomic.LoadInt32(&callees.intercepts) > 0 && inside(interceptName)
}

// codeOf is the status and the message by which C knows an error.
func codeOf(err error) (native.Enum_SS_agx_status, string) {
	code := ErrFailed
	for at := err; at != nil; at = unwrap(at) {
		if e, ok := at.(*Error); ok {
			code = e.Code
			if at == err {
				return native.Enum_SS_agx_status(code), printable(e.Message)
			}
			break
		}
		if c, ok := at.(Code); ok {
			code = c
			break
		}
	}
	return native.Enum_SS_agx_status(code), printable(err.Error())
}

func unwrap(err error) error {
	if wrapper, ok := err.(interface{ Unwrap() error }); ok {
		return wrapper.Unwrap()
	}
	return nil
}
