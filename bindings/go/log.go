package agx

import (
	"sync"
	"time"
	"unsafe"

	"github.com/libagx/libagx/bindings/go/internal/native"
)

// Logger gets the library's log, from a goroutine of the library's. *slog.Logger is one. It must return:
// Client.Close waits for it, and so must not be called by it. If it panics nobody can be told, and the
// process ends with the panic.
type Logger interface {
	Debug(message string, args ...any)
	Info(message string, args ...any)
	Warn(message string, args ...any)
	Error(message string, args ...any)
}

// LogLevel is the most verbose level that is wanted of the library.
type LogLevel int

// Levels, from the least to the most verbose.
const (
	LogError LogLevel = iota
	LogWarn
	LogInfo
	LogDebug
)

const logInterval = 100 * time.Millisecond

// A logPump hands what C has kept of its log to a logger, from a goroutine of its own.
type logPump struct {
	handle uintptr
	logger Logger
	stop   chan struct{}
	done   sync.WaitGroup
}

func newLogPump(logger Logger) (*logPump, native.Enum_SS_agx_status) {
	if logger == nil {
		return nil, 0
	}
	handle := native.Agxb_log_new()
	if handle == 0 {
		return nil, native.AGX_ENOMEM
	}
	p := &logPump{handle: handle, logger: logger, stop: make(chan struct{})}
	p.done.Add(1)
	go p.run()
	return p, 0
}

func (p *logPump) number() uintptr {
	if p == nil {
		return 0
	}
	return p.handle
}

func (p *logPump) run() {
	defer p.done.Done()
	ticker := time.NewTicker(logInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.drain()
		case <-p.stop:
			p.drain()
			return
		}
	}
}

func (p *logPump) drain() {
	line := make([]byte, 512)
	var level int32
	for native.Agxb_log_take(p.handle, &level, (*byte)(unsafe.Pointer(&line[0])), int64(len(line))) != 0 {
		log := [...]func(string, ...any){p.logger.Error, p.logger.Warn, p.logger.Info, p.logger.Debug}
		if int(level) < len(log) {
			log[level](upToNul(line), "library", "agx")
		}
	}
}

// close comes after the client's, which may still write.
func (p *logPump) close() {
	if p == nil {
		return
	}
	close(p.stop)
	p.done.Wait()
	native.Agxb_log_free(p.handle)
}
