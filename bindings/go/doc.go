// Package agx carries what an AI agent does, while it does it, from the process that runs the agent
// to every process that wants to watch, steer or stop it. A session is a stream of small JSON
// events in Redis or Valkey, or in the memory of this process.
//
// A [Client] is one way to one store; all goroutines share it. A [Session] names a stream and is
// what a producer starts, adds to and stops. A [Listener] replays a session and follows it. A [Run]
// makes a session of an agent's work and of a model's streaming response; [Messages] is the
// conversation that it keeps. A [Group] shares a session's events among consumers. A [Subscription] calls
// a function with events, an [Interceptor] one before they are written.
//
// # Errors
//
// What libagx answers is an [*Error] with a [Code]; errors.Is matches codes, as in
// errors.Is(err, agx.ErrBusy). The end of a session is io.EOF.
//
// # Contexts
//
// A context that is done ends a call at once, with the context's error, and leaves what it was
// called on usable. A command that was on its way to the store by then may still be carried out: for
// those that change something the error matches [ErrUncertain] as well.
//
// # Closing
//
// Everything that is opened has a Close, which may be called by any goroutine and more than once; it
// ends the waits of others with [ErrClosed]. What is dropped without it is closed by the garbage
// collector, some time later; but for a [Subscription], which goes on until its session ends, and keeps
// its client until then, and an [Interceptor], which stays as long as its session is open.
//
// # Texts
//
// Texts are UTF-8. One that is not, or that contains U+0000, is refused with [ErrInvalid].
package agx
