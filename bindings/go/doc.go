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
// those that change something the error matches [ErrUncertain] as well. Where the store was unavailable
// until then, so that nothing was written, it matches both the context's error and [ErrUnavailable].
//
// # Conditions
//
// [Where], [Session.WaitFor], [Session.Intercept] and [HistoryRange] take a condition,
// which selects events by their type, origin and fields of their body:
//
//	type = "event" and body.event = "part_delta" and not body.part_delta_kind = "thinking"
//
// Asked is type, origin, or body with a path: .name (letters and digits, _, -, and whatever is not
// ASCII), ."any name" (a JSON string), [0] (an element, from 0 on). Alone it asks whether it is there, be
// it null; type and origin, whether they are not empty. Compared is by = (or ==), !=, <, <=, > and >=, with
// what is on the right: a JSON string in double quotes, by the bytes of UTF-8; a number, as doubles; true,
// false or null, by = and != only. What is not there, or of another kind, is unequal to it, and neither
// less nor more. not, and, or bind in this order; there are parentheses. At most 65536 bytes, 32 different
// fields and 64 levels; a mistake is [ErrInvalid], and its message tells the byte.
//
//	type = "answer" and body.to = 7          {"to":7.0}, but not {"to":"7"}
//	type >= "tool." and type < "tool/"       what begins with "tool."
//	body.n != 3                              {"n":"3"} and {}, but not {"n":3}
//	body.error and body.error != null        {"error":"full"}, but not {} or {"error":null}
//	body.user.roles[0] = "admin"             {"user":{"roles":["admin"]}}
//	body."first name" = "Zo\u00eb"           {"first name":"Zoë"}
//
// # Closing
//
// Everything that is opened has a Close, which may be called by any goroutine and more than once; it
// ends the waits of others with [ErrClosed], and does not wait for the store, but for that of a [Run], which
// ends the run, and of a [Client]. What is dropped without it is closed by the garbage
// collector, some time later; but for a [Subscription], which goes on until its session ends, and keeps
// its client until then, and an [Interceptor], which stays as long as its session is open.
//
// # Texts
//
// Texts are UTF-8. One that is not, or that contains U+0000, is refused with [ErrInvalid].
package agx
