/* libagx: an agent's events, written in one process, followed live in any other.
 *
 * This header is the whole public surface of libagx and its reference documentation.
 * docs/protocol.md says what is on the wire, README.md shows a first program.
 *
 * Conventions, true of every function unless its comment says otherwise:
 *
 * - Handles are opaque. Every handle may be used from any thread, by several at once. A handle that
 *   was closed, that is NULL, or that is of another kind is recognised and answered with
 *   AGX_ECLOSED or AGX_EINVAL; it is never dereferenced. Handles may be closed in any order:
 *   closing a client makes every call on what was opened from it return AGX_ECLOSED, but each of
 *   those handles still has to be closed by its own function.
 * - Closing a handle wakes every thread that waits in a call on it (that call returns AGX_ECLOSED),
 *   waits until all calls on it have left, and frees the handle. A call that is in the middle of a
 *   command leaves when the command is done; closing the client ends that too. NULL is ignored.
 * - What can fail returns an agx_status; 0 is success. Positive values are outcomes that a caller
 *   plans for, negative ones are errors. The result goes through the last parameters, which are set
 *   to zero or NULL where there is none. agx_last_error() explains the last status that was not
 *   AGX_OK.
 * - Strings are UTF-8 and end with a NUL. The library copies what it is given before it returns.
 * - Times are milliseconds. A timeout of 0 does not wait, a negative one waits without end; values
 *   too large for the clock wait without end.
 * - Options are structs that begin with their own size. Start from the _INIT macro, or pass NULL
 *   for the defaults. A smaller struct, of an older header, gets the defaults for what it lacks; a
 *   larger one, of a newer header, is taken if what this version does not know is zero, else
 *   AGX_EINVAL.
 * - "Blocks" names how long a call can take. "One command" is at most the command timeout, and if
 *   the connection is lost, the reconnect limit on top of it. On a memory: store nothing blocks but
 *   waits.
 * - Any function that can fail may return AGX_EINVAL, AGX_ECLOSED, AGX_ENOMEM; the comments name
 *   the rest. "Store errors" are AGX_ECONNECT, AGX_ETIMEOUT, AGX_EAUTH, AGX_EDENIED, AGX_ETYPE,
 *   AGX_EFULL, AGX_EREADONLY, AGX_ELOADING, AGX_EPROTOCOL, AGX_ESERVER.
 * - After fork() the child may not use, or close, handles that it inherited; it may open its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AGX_H_
#define AGX_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(AGX_BUILDING)
#define AGX_API __attribute__((visibility("default")))
#else
#define AGX_API
#endif

/** @defgroup version Version
 * @{ */

#define AGX_VERSION_MAJOR 0
#define AGX_VERSION_MINOR 1
#define AGX_VERSION_PATCH 0
/** The version of this header, as agx_version() gives that of the library. */
#define AGX_VERSION_NUMBER \
  (AGX_VERSION_MAJOR * 1000000 + AGX_VERSION_MINOR * 1000 + AGX_VERSION_PATCH)

/** The linked library's version: major * 1000000 + minor * 1000 + patch. Never fails or blocks. */
AGX_API int agx_version(void);

/** The linked library's version and what it was built with, as text, such as
 * "0.1.0 (hiredis 0.14.1)". The string is static. Never fails or blocks. */
AGX_API const char* agx_version_string(void);

/** @} */
/** @defgroup status Status
 * @{ */

typedef enum agx_status {
  AGX_OK = 0,

  /* Outcomes. */
  AGX_TIMEOUT = 1,     /**< nothing within this call's timeout */
  AGX_ENDED = 2,       /**< the session ended: its `end` was reached; or there is nothing further */
  AGX_ABSENT = 3,      /**< the session never appeared within the listener's `wait_ms` */
  AGX_SILENT = 4,      /**< no event for the listener's `timeout_ms` */
  AGX_GONE = 5,        /**< the producer is gone: its lease ran out and there was no `end` */
  AGX_GAP = 6,         /**< the store dropped events that this cursor may still have needed */
  AGX_INTERRUPTED = 7, /**< agx_listener_interrupt or the like was called */
  AGX_LIMIT = 8,       /**< the listener handed on as many events as its `limit` */
  AGX_CANCELED = 9,    /**< the session was cancelled; the run has ended */
  AGX_TAKEN_OVER = 10, /**< another producer took the session over; nothing was written */
  AGX_NOT_LIVE = 11,   /**< the session is not live */
  AGX_NONE = 12,       /**< there is no such message, part or field; or no such session or group */
  AGX_BEHIND = 13,     /**< a subscription's function is too slow; nothing is lost */
  AGX_SWALLOWED = 14,  /**< an interceptor swallowed the event; it was not written */

  /* Errors. */
  AGX_EINVAL = -1,        /**< an argument is not valid */
  AGX_ENOMEM = -2,        /**< out of memory; nothing was changed */
  AGX_ECLOSED = -3,       /**< the handle, or the client it came from, is closed */
  AGX_EBUSY = -4,         /**< the session is live already; or the listener is in use by a mux */
  AGX_ECONNECT = -5,      /**< the store cannot be reached; nothing was written */
  AGX_ETIMEOUT = -6,      /**< the store did not answer in time; nothing was written */
  AGX_EUNCERTAIN = -7,    /**< the connection was lost on the way: it may have been written */
  AGX_EAUTH = -8,         /**< the store refuses the user or password, or wants one */
  AGX_EDENIED = -9,       /**< the store's user lacks a permission */
  AGX_EUNSUPPORTED = -10, /**< the store is too old; or this build, or a model's API, cannot */
  AGX_ETYPE = -11,        /**< a key of another type is in the way */
  AGX_EFULL = -12,        /**< the store is out of memory */
  AGX_EREADONLY = -13,    /**< the store takes no writes: a replica, or one that cannot persist */
  AGX_ELOADING = -14,     /**< the store is still loading its data */
  AGX_EPROTOCOL = -15,    /**< the store sent what is not its protocol */
  AGX_ESERVER = -16,      /**< any other error that the store reports */
  AGX_ETOOBIG = -17,      /**< a body, type, origin or id is longer than allowed */
  AGX_EJSON = -18,        /**< a body is not JSON, not UTF-8 or nested too deep */
  AGX_ESYSTEM = -19,   /**< the operating system refused a thread, descriptor, file or the like */
  AGX_ESTATE = -20,    /**< the call does not fit what the run is in the middle of */
  AGX_ECONFLICT = -21, /**< somebody else saved the conversation in between */
  AGX_EMODEL = -22,    /**< the model reported an error, or its stream broke off or is not one */
  AGX_EFAILED = -23    /**< the agent's function failed; or a function threw */
} agx_status;

/** A status's name, such as "AGX_EBUSY"; "AGX_UNKNOWN" for other values. Static; never fails. */
AGX_API const char* agx_status_string(agx_status status);

/** What went wrong in this thread's last call that did not return AGX_OK, in words that say what to
 * do: which host, which key, what the store said. Never contains a password. Empty before the
 * first. Valid until this thread's next call of a function that returns agx_status. Never fails. */
AGX_API const char* agx_last_error(void);

/** The id of the entry that agx_last_error tells of, where a call returned AGX_EUNSUPPORTED because
 * an entry of a stream cannot be read; else "". Valid for as long. Never fails. */
AGX_API const char* agx_last_error_entry(void);

/** @} */
/** @defgroup client Client
 * @{ */

/** One configured way to one store. */
typedef struct agx_client agx_client;
/** An identity {scope, user, session id} and what a producer does to it. */
typedef struct agx_session agx_session;
/** A cursor over one session's events: replays, then follows live. */
typedef struct agx_listener agx_listener;
/** One event: id, type, origin, body. */
typedef struct agx_event agx_event;
/** Waits on any number of listeners at once. */
typedef struct agx_mux agx_mux;
/** An iteration over live sessions. */
typedef struct agx_query agx_query;
/** One execution of an agent inside a session. */
typedef struct agx_run agx_run;
/** A conversation: what a session keeps between runs. */
typedef struct agx_messages agx_messages;
/** A consumer of a group: consumers of a group share a session's events. */
typedef struct agx_group agx_group;
/** A function that is called with a session's events. */
typedef struct agx_subscription agx_subscription;
/** A function that is called before an event is written. */
typedef struct agx_interceptor agx_interceptor;

typedef enum agx_log_level {
  AGX_LOG_ERROR = 0,
  AGX_LOG_WARNING = 1,
  AGX_LOG_INFO = 2, /**< connections that were made */
  AGX_LOG_DEBUG = 3
} agx_log_level;

/** Receives the library's log. May be called from any thread, one call at a time for each client, and
 * before agx_open returns; not any more once agx_close has. It must not call libagx and should return
 * soon. The message is one line, without a newline or a password, valid during the call. */
typedef void (*agx_log_function)(void* user_data, agx_log_level level, const char* message);

/** Options of agx_open. Each that has a URL parameter may be given there instead, as in
 * "redis://host/0?prefix=pyaix&lease=5000"; what the URL says wins. NULL and 0 mean the default. */
typedef struct agx_options {
  size_t size;
  /** `prefix`: first part of every key; default "agx"; 1 to 256 bytes */
  const char* prefix;
  /** `client_name`: for CLIENT LIST; default "agx"; no spaces or newlines */
  const char* client_name;
  const char* user; /**< `user`: used if the URL names none */
  /** used if the URL has none; not a URL parameter, so that it can stay out of it */
  const char* password;
  /** `connect_timeout`: for each attempt to connect, all of it: every address of the host, TLS,
   * logging in; default 5000. The system's look-up of the host's name comes before, and has limits
   * of its own */
  int64_t connect_timeout_ms;
  /** `command_timeout`: silence after which a command's connection counts as lost; default 10000 */
  int64_t command_timeout_ms;
  /** `reconnect_timeout`: how long one call goes on trying to reconnect, with back-off and jitter;
   * default 10000; -1: it does not try again */
  int64_t reconnect_timeout_ms;
  int64_t reconnect_attempts; /**< `reconnect_attempts`: and how many times; default 20 */
  /** `lease`: how long a session stays live without a sign of its producer; default 15000; 100 to
   * 86400000 */
  int64_t lease_ms;
  /** `max_length`: an upper bound for a stream's length, kept approximately; default 0: none */
  int64_t max_length;
  /** `expire`: a started session's stream expires so long after its producer died without agx_stop;
   * default 0: never */
  int64_t expire_ms;
  /** `tls_ca`: PEM file of trusted authorities; default: the system's */
  const char* tls_ca_file;
  const char* tls_cert_file;   /**< `tls_cert`: PEM file of the client's certificate */
  const char* tls_key_file;    /**< `tls_key`: PEM file of the client's key */
  const char* tls_server_name; /**< `tls_server_name`: for SNI; default: the URL's host */
  int tls_insecure;            /**< `tls_insecure`: 1 turns peer verification off */
  /** the most verbose level wanted, an agx_log_level; default AGX_LOG_WARNING */
  int log_level;
  agx_log_function log; /**< default NULL: nothing is logged */
  void* log_data;       /**< handed to log */
  /** `format`: which framework's streams this client reads and writes, unless a session says
   * otherwise: "agx" (the default), "openai-agents", "agent-framework" or "ag2". See @ref formats */
  const char* format;
} agx_options;

/* clang-format off */
#define AGX_OPTIONS_INIT                                                                       \
  {sizeof(agx_options), NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, \
   AGX_LOG_WARNING, NULL, NULL, NULL}
/* clang-format on */

/** Opens a client and connects it, so that a wrong address or password is known at once.
 *
 * url is one of
 *   redis://[user[:password]@]host[:port][/db][?parameters]    IPv6 addresses in brackets
 *   rediss://…                                                 the same over TLS
 *   unix:///path[?db=N&parameters]
 *   memory:[name][?parameters]    a store in this process; the same name is the same store for as
 *                                 long as a client of it is open
 * User, password, path and parameter values may be percent-encoded. NULL is $AGX_URL, or if that is
 * not set "redis://127.0.0.1:6379".
 *
 * Blocks for the connect timeout at most, besides the look-up of the host's name: AGX_ECONNECT if
 * the store cannot be reached, AGX_ETIMEOUT if it is reached and does not answer. Any number of
 * sessions, listeners and threads should share one client: it keeps few connections however many
 * they are. Free with agx_close. Errors: AGX_EINVAL (the message says which part of the URL),
 * AGX_EUNSUPPORTED (TLS is not in this build; the server is older than Redis 6.2), store errors. */
AGX_API agx_status agx_open(const char* url, const agx_options* options, agx_client** client);

/** Closes a client and its connections. Sessions that were started and not stopped stay live until
 * their lease runs out. */
AGX_API void agx_close(agx_client* client);

/** @} */
/** @defgroup session Session
 * @{ */

/** Room for an entry id's text with its NUL. */
#define AGX_ID_SIZE 42

/** The largest body, in bytes. */
#define AGX_BODY_MAX (64 * 1024 * 1024)
/** The longest type and origin, in bytes. */
#define AGX_NAME_MAX 256
/** The longest session id, in bytes. */
#define AGX_SESSION_ID_MAX 512
/** The deepest nesting of a body's arrays and objects. */
#define AGX_DEPTH_MAX 512

/** Opens a session handle: no I/O, and whether the session exists makes no difference.
 *
 * session_id is free text, 1 to AGX_SESSION_ID_MAX bytes of UTF-8. It may contain any character,
 * ':' and '*' among them, but may not end in ":live" or ":messages": those would be another
 * session's live flag and conversation.
 * scope_id and user_id may be any number but AGX_ANY. Does not block. Free with agx_session_close.
 * Errors: AGX_EINVAL, AGX_ETOOBIG. */
AGX_API agx_status agx_session_open(agx_client* client, int64_t scope_id, int64_t user_id,
                                    const char* session_id, agx_session** session);

typedef struct agx_stream_options {
  size_t size;
  const char* format; /**< one that has names, as agx_options.format; default NULL: the client's */
  /** as agx_options.max_length; default 0: the client's, and if that has none, the format's. Not of
   * "ag2", whose lists have no bound */
  int64_t max_length;
  /** "agent-framework": the stream expires so long after its last entry; default 0: 600000.
   * Others do not: AGX_EINVAL */
  int64_t expire_ms;
  /** "ag2": first part of the keys; default NULL: "ag2:stream". Others have none: AGX_EINVAL */
  const char* prefix;
  /** "ag2": what is published goes behind an instance id and a byte 0x1E, as newer versions of ag2
   * write it and older ones cannot read it: 1; default 0: the event alone, which all can read.
   * Others have no such thing: AGX_EINVAL */
  int tagged;
} agx_stream_options;

#define AGX_STREAM_OPTIONS_INIT \
  { sizeof(agx_stream_options), NULL, 0, 0, NULL, 0 }

/** @anchor formats
 * @par Formats
 * "agx" is the format of this header: events of a type, an origin and a body, in sessions of
 * {scope, user, session id}. The other formats are those of agent frameworks, whose streams have
 * names: "openai-agents" (redis-openai-agents), "agent-framework" (Microsoft Agent Framework) and
 * "ag2" (AG2's RedisStream). Their entries are read as events, and agx_event_field has what an
 * event has no place for; what is added is written as the framework's own processes would, so that
 * these follow it. What a format cannot hold is AGX_EUNSUPPORTED, and nothing is written.
 * docs/protocol.md says what becomes of what. Where a framework's versions differ, or entries are
 * numbered, a handle's first add looks at the stream's last entry, which is a command more. A live flag, {stream's key}:live, gives each of them
 * start, stop, cancel and leases. */

/** Opens a session by its stream's name, in a format that has names: no I/O. name is free text of 1
 * to AGX_SESSION_ID_MAX bytes, as session_id is: for "openai-agents" the key itself, for
 * "agent-framework" the conversation's id, for "ag2" the stream's. Does not block. Free with
 * agx_session_close. Errors: AGX_EINVAL (also: the format has no names), AGX_ETOOBIG. */
AGX_API agx_status agx_stream_open(agx_client* client, const char* name,
                                   const agx_stream_options* options, agx_session** session);

/** Closes a session handle. A session that it started and did not stop is no longer renewed and
 * stays live until its lease runs out. Blocks: not but for what is under way, such as the end of a
 * run. */
AGX_API void agx_session_close(agx_session* session);

typedef struct agx_start_options {
  size_t size;
  /** 1: become the producer even if the session is live; the other learns that it was taken over.
   * The stream goes on where it was; no `begin` is written. Default 0 */
  int take_over;
  /** 1: the lease is not renewed and cancels are not watched: for a program that starts a session
   * and exits, leaving others to add to it and agx_renew it. Default 0 */
  int detached;
  int64_t lease_ms;   /**< default 0: the client's */
  const char* origin; /**< origin of `begin` and `end`; default "opale" */
  /** 1, with take_over: the stream goes on where it was also if the session is not live any more: for
   * who goes on with what an earlier process began. Default 0 */
  int keep;
} agx_start_options;

#define AGX_START_OPTIONS_INIT \
  { sizeof(agx_start_options), 0, 0, 0, NULL, 0 }

/** Starts the session, in one atomic step: sets the live flag, drops what an earlier run of the
 * same session left, with its expiry, and adds `begin`. From here a thread of the client renews the
 * lease (`lease_ms`) until agx_stop or agx_session_close, and watches for cancels.
 *
 * A session whose live flag exists is left alone (AGX_EBUSY), unless options.take_over. Blocks: a
 * few commands. Errors: AGX_EBUSY, AGX_EUNCERTAIN, AGX_ESYSTEM, store errors. */
AGX_API agx_status agx_start(agx_session* session, const agx_start_options* options);

/** Ends the session, in one atomic step: adds `end`, deletes the live flag and lets the stream
 * expire after grace_ms (negative: the default of 5000; 0: at once, but after a second if another
 * program has started it and it is live). A stream that has ended already gets no second `end`.
 *
 * Where the stream goes at once, its `end` goes with it, and a listener that waits is not told
 * AGX_ENDED. It is told AGX_GAP, unless it waits in agx_listen_next for a server; and about a lease
 * later AGX_GONE, as of a cancel, or AGX_SILENT where timeout_ms is over before. It is otherwise where
 * a format's stream stays (docs/protocol.md).
 *
 * May be called without agx_start, for a session that another program started; to its producer that
 * looks like a cancel. If this handle started it and another has taken it over since:
 * AGX_TAKEN_OVER, nothing is written. If there is no such session: AGX_NOT_LIVE; after
 * AGX_EUNCERTAIN that may be because the call had been carried out. Blocks: one command. Outcomes:
 * AGX_TAKEN_OVER, AGX_NOT_LIVE. Errors: AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_stop(agx_session* session, int64_t grace_ms);

/** Adds one event and waits until the store has it. AGX_OK: it is stored.
 *
 * type and origin: 1 to AGX_NAME_MAX bytes. body: JSON text of at most AGX_BODY_MAX bytes, nested
 * at most AGX_DEPTH_MAX deep, stored byte for byte as given; NULL for none, which listeners read as
 * "{}". id: room for AGX_ID_SIZE bytes that gets the entry's id, or NULL.
 *
 * Works on any session handle, started or not: the store decides who may write. A handle that knows
 * that it was taken over writes nothing (AGX_TAKEN_OVER); what it added before it knew is stored.
 * Interceptors (agx_intercept) may change the event, or keep it from being written.
 * On a lost connection it is sent again only if it cannot have been written; otherwise
 * AGX_EUNCERTAIN. If this handle has started the session, not detached, and the store has lost it,
 * as a server does that is started again without its data, the session is begun anew first, with
 * `begin` and live flag: that is no cancel. Blocks: one command; three if the store lost the
 * session. Threads that add at once share round trips. Outcomes: AGX_TAKEN_OVER, AGX_SWALLOWED.
 * Errors: AGX_EJSON, AGX_ETOOBIG, AGX_EUNCERTAIN, store errors, what an interceptor
 * refuses with. */
AGX_API agx_status agx_add(agx_session* session, const char* type, const char* origin,
                           const char* body, char* id);

/** An event to be added. This struct does not grow. */
typedef struct agx_new_event {
  const char* type;
  const char* origin;
  const char* body; /**< or NULL */
} agx_new_event;

/** Adds count events in their order, each as agx_add does, in as few round trips as possible; not
 * atomic. The arguments of all are checked before any is written. ids: room for count * AGX_ID_SIZE
 * bytes, one id every AGX_ID_SIZE bytes, or NULL. added, or NULL: how many, from the first on, are
 * known to be stored. On an error each of those after the first *added may be stored or not;
 * AGX_ECONNECT and AGX_ETIMEOUT mean that none of them is. Interceptors see all before any is
 * written, and if one is refused none is. One that was swallowed counts as added, with "" for its
 * id; AGX_SWALLOWED: one was, and the others are stored. Blocks: one command. Outcomes and errors as
 * for agx_add. */
AGX_API agx_status agx_add_many(agx_session* session, const agx_new_event* events, size_t count,
                                char* ids, size_t* added);

/** One event of agx_add_each, and what became of it. This struct does not grow. */
typedef struct agx_addition {
  agx_session* session; /**< where it goes */
  agx_new_event event;  /**< what is added */
  agx_status status;    /**< out */
  char id[AGX_ID_SIZE]; /**< out: the entry's id, or "" */
} agx_addition;

/** Adds count events, each to a session of its own or not, in as few round trips as possible: for
 * who writes to many sessions. All sessions are of one client. Each event is added as agx_add does,
 * whatever becomes of the others, and has its own status and id afterwards; those of one session
 * are stored in their order. Streams of the format agent-framework, which numbers its entries, and
 * sessions with interceptors take a round trip for each event. Returns AGX_OK if all are stored,
 * else the first other status, which agx_last_error explains. The array and its texts stay the
 * caller's, who leaves them alone during the call; any thread may call. Blocks: one command.
 * Outcomes and errors, for each event, as for agx_add; AGX_EINVAL also if its session is of another
 * client than the first. */
AGX_API agx_status agx_add_each(agx_addition* additions, size_t count);

/** Adds count events (0 as well) and moves a checkpoint of the session, in one atomic step: for who
 * copies from elsewhere, and is to know after any crash how far that came. name: free text, such as
 * where the events are from. from: what the checkpoint is now ("" if there is none); to: what it is
 * then, such as the id of the last of them there; both of at most AGX_NAME_MAX bytes, and
 * different. If the checkpoint is `to` already, that was done before, and is AGX_OK. If it is
 * anything else than `from`, somebody else has moved it: AGX_ECONFLICT, and nothing is written.
 * Interceptors do not see these events: a copy is to be what it is a copy of. So the type and the
 * origin of each may be "" as well: it is written without, as the format reads it then;
 * agent-framework needs a type. For ag2 the body may have the numbers NaN, Infinity and -Infinity,
 * which Python's json writes and reads.
 *
 * It is kept in the hash {stream's key}:from, which lives as long as the stream: it expires and is
 * deleted with it. If this handle has started the session and the store has lost the stream, the
 * session is begun anew, and the checkpoint is "": AGX_ECONFLICT, unless that is what `from` is.
 * Blocks: one command, which is sent again if the connection is lost. Outcomes: AGX_TAKEN_OVER.
 * Errors: AGX_ECONFLICT, AGX_EJSON, AGX_ETOOBIG, AGX_EUNSUPPORTED, AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_add_checked(agx_session* session, const agx_new_event* events, size_t count,
                                   const char* name, const char* from, const char* to);

/** What the checkpoint of that name is; "" if there is none. position has room for AGX_NAME_MAX + 1
 * bytes. Blocks: one command. Errors: AGX_ETOOBIG (another program has put a longer text there),
 * store errors. */
AGX_API agx_status agx_checkpoint(agx_session* session, const char* name, char* position);

/** agx_add with the type "error"; origin NULL is "opale". */
AGX_API agx_status agx_add_error(agx_session* session, const char* origin, const char* body,
                                 char* id);

/** agx_add with the type "info"; origin NULL is "opale". */
AGX_API agx_status agx_add_info(agx_session* session, const char* origin, const char* body,
                                char* id);

/** Sets *live to 1 if the live flag exists, else 0. Blocks: one command. Errors: store errors. */
AGX_API agx_status agx_is_live(agx_session* session, int* live);

/** Gives a live session's lease its full length again, without owning it: for programs that add to
 * a session that was started with options.detached. Never shortens a lease, nor gives one to a flag
 * that has none. Blocks: one command. Outcomes: AGX_NOT_LIVE. Errors: store errors. */
AGX_API agx_status agx_renew(agx_session* session);

/** Cancels: takes and deletes the live flag, in one atomic step. *was_live, or NULL, says if it was
 * there. Its producer learns of it at once. Anyone may cancel. Blocks: one command. Errors:
 * AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_cancel(agx_session* session, int* was_live);

/** 1 if the session that this handle started was cancelled or taken over, else 0. No I/O, does not
 * block, cannot fail: for an agent's inner loop. An invalid handle, or one whose client is closed, gives
 * 1. */
AGX_API int agx_is_canceled(agx_session* session);

/** Waits until the session that this handle started is cancelled. The wait is woken by the store,
 * not by polling. Outcomes: AGX_OK (it was cancelled), AGX_TIMEOUT, AGX_TAKEN_OVER, AGX_NOT_LIVE
 * (this handle did not start it, started it detached, or stopped it). */
AGX_API agx_status agx_wait_canceled(agx_session* session, int64_t timeout_ms);

/** @} */
/** @defgroup listener Listener
 * @{ */

typedef struct agx_listen_options {
  size_t size;
  /** NULL, "" or "0": everything from the beginning; "new" or "$": only what comes from now on, of
   * a later run if this one has ended; else an entry id ("ms-seq", or "ms" for "ms-0"): what came
   * after it, and AGX_ENDED at once if the session ended at or before it. Default NULL */
  const char* after;
  /** AGX_ABSENT if the session has not appeared by then; default 3000; negative: never */
  int64_t wait_ms;
  /** AGX_SILENT after so long without an event; default 60000; negative: never */
  int64_t timeout_ms;
  /** 1: the closing `end` is handed on as an event, before AGX_ENDED. Default 0 */
  int hand_on_end;
  int64_t limit; /**< AGX_LIMIT after so many events; default 0: none */
  /** Only events that this condition selects are handed on; the others move the cursor all the
   * same, and count as events for timeout_ms. Default NULL: all. See @ref conditions */
  const char* where;
} agx_listen_options;

#define AGX_LISTEN_OPTIONS_INIT \
  { sizeof(agx_listen_options), NULL, 3000, 60000, 0, 0, NULL }

/** @anchor conditions
 * @par Conditions
 * A condition selects events by their type, origin and fields of their body:
 *
 *     type = "event" and body.event = "part_delta" and not body.part_delta_kind = "thinking"
 *
 * `type`, `origin`, and `body` with a path of `.name`, `."any name"` (a JSON string) and `[0]`.
 * Compared by `=` (or `==`), `!=`, `<`, `<=`, `>`, `>=` with a JSON string, a number, `true`,
 * `false` or `null`; alone it asks whether it is there. `not`, `and` and `or` bind in this order;
 * parentheses. A field that is not there, or of another kind than what it is compared with, is
 * unequal to it, and neither less nor more. Strings are compared by bytes, numbers as doubles: one
 * in a body that is too large for a double is more, or, if negative, less than any, and in a
 * condition it is a mistake. A body that is not JSON has no fields. Words and numbers are parted by
 * a space or a sign. At most 65536 bytes, 64 levels of `not` and parentheses, 32 fields, and 64 parts
 * of a path; a mistake is AGX_EINVAL, and agx_last_error tells its byte. */

/** Opens a listener on the session. The session handle may be closed afterwards. Does not block,
 * but for "new": one command. Times of the options count from here. Free with agx_listener_close.
 * Errors: store errors. */
AGX_API agx_status agx_listen(agx_session* session, const agx_listen_options* options,
                              agx_listener** listener);

/** The next event, in the order of the entry ids, none lost or repeated whatever happens to the
 * connection.
 *
 * AGX_OK: *event is the caller's; free it with agx_event_free, in any order and from any thread,
 * also after the listener was closed. Other outcomes, with *event NULL:
 *   AGX_TIMEOUT      nothing within timeout_ms
 *   AGX_ENDED        final: the session's `end` was reached; or it lies at or before
 *                    options.after, is the last entry, and the session is not live
 *   AGX_LIMIT        final: options.limit events were handed on
 *   AGX_ABSENT       the session never appeared within options.wait_ms
 *   AGX_SILENT       no event for options.timeout_ms
 *   AGX_GONE         the producer's lease ran out without `end`; or, in a format without an end,
 *                    it was stopped or the session was deleted; or there was no event for the
 *                    client's lease after the live flag was taken away by a cancel, or, in the
 *                    format agx, while there was no live flag at all; agx_listener_gone tells which
 *   AGX_GAP          events after the cursor may be gone: the store has no entry as old as the
 *                    cursor any more, so that it cannot be told; the next call goes on with the
 *                    first that is there
 *   AGX_INTERRUPTED  agx_listener_interrupt was called
 *   AGX_EUNSUPPORTED an entry cannot be read: it has more than AGX_BODY_MAX and 1 MiB, or its format
 *                    says so. agx_last_error begins with "the entry ID: "; the next call goes on
 *                    behind it
 * Those that are not final are told once; a further call goes on waiting, with its times counted
 * anew. Blocks for timeout_ms at most (not counting a reconnect). Errors: AGX_EBUSY (it is in a
 * mux), store errors; a further call tries again from the same cursor, at the earliest after 200 ms
 * what the store has refused. */
AGX_API agx_status agx_listen_next(agx_listener* listener, int64_t timeout_ms, agx_event** event);

/** As agx_listen_next, but takes up to capacity events that are there, into events[0 .. *count-1];
 * waits only for the first. Each is the caller's. Outcomes that come after some events are told by
 * the next call. */
AGX_API agx_status agx_listen_next_many(agx_listener* listener, int64_t timeout_ms,
                                        agx_event** events, size_t capacity, size_t* count);

/** Makes the call that is blocked on the listener, or else the next one, return AGX_INTERRUPTED;
 * also one that waits for a connection to a store that cannot be reached. A command that the store
 * has been given is answered first, or given up after command_timeout. Does not block. */
AGX_API agx_status agx_listener_interrupt(agx_listener* listener);

/** A descriptor that is readable whenever agx_listen_next(listener, 0, …) would return something
 * other than AGX_TIMEOUT: for poll, epoll, libuv, asyncio. After a final outcome it stays so; stop
 * watching it. Only wait on it: do not read, write or close it; it lives as long as the listener.
 * From the first call on a thread of the client feeds the listener. Does not block. Errors:
 * AGX_EBUSY (it is in a mux, or a thread waits on it), AGX_ESYSTEM. */
AGX_API agx_status agx_listener_fd(agx_listener* listener, int* fd);

/** The id of the last event that was handed on, or where the listener began: what to give as
 * `after` to resume. position has room for AGX_ID_SIZE bytes. "0-0" is the beginning. Does not
 * block. */
AGX_API agx_status agx_listener_position(agx_listener* listener, char* position);

/** What became of a producer, where a listener was told AGX_GONE. */
typedef enum agx_gone_reason {
  AGX_GONE_NOT = 0,     /**< the listener was not told that it is gone */
  AGX_GONE_EXPIRED = 1, /**< its lease ran out, or there was no live flag: it may have died */
  /** its live flag was taken away before the lease ran out, and no event came for a lease: it was
   * cancelled, or it was stopped and nobody could say so */
  AGX_GONE_TAKEN = 2,
  AGX_GONE_STOPPED = 3 /**< it was stopped, or the session deleted, in a format without an end */
} agx_gone_reason;

/** Which it was when the listener was last told AGX_GONE, also by a mux; AGX_GONE_NOT as well if the
 * handle is not valid. It holds until AGX_GONE is told again, whatever is told in between. May be
 * called from any thread. Does not block. */
AGX_API agx_gone_reason agx_listener_gone(agx_listener* listener);

/** Keeps a pointer of the caller's with the listener, for use with a mux. */
AGX_API agx_status agx_listener_set_data(agx_listener* listener, void* data);
/** What agx_listener_set_data kept; NULL at first or if the handle is not valid. */
AGX_API void* agx_listener_data(agx_listener* listener);

/** Closes the listener, and takes it out of its mux. */
AGX_API void agx_listener_close(agx_listener* listener);

/** Waits for the next event of the session that a condition selects: how an agent waits for what a
 * person answers. The first call after a session handle has started the session looks at everything
 * from its begin on (where a format's stream keeps earlier runs, at what came after agx_start), on
 * another handle at what comes from now on; each later call goes on behind the event that the last
 * one gave, until agx_start begins another run. So nothing is missed between a question and the wait
 * for its answer; let the condition tell them apart. where: see @ref conditions; NULL: any event.
 *
 * AGX_OK: *event is the caller's. Outcomes: AGX_TIMEOUT, AGX_ENDED (at once, if the session has
 * ended and is not live), AGX_GONE and AGX_GAP as for agx_listen_next; AGX_CANCELED and
 * AGX_TAKEN_OVER, at once, if this handle started the session. Blocks for timeout_ms at most (not
 * counting a reconnect). Errors: AGX_ETOOBIG, AGX_EUNSUPPORTED as for agx_listen_next (the next
 * call goes on behind that entry), store errors. */
AGX_API agx_status agx_wait_for(agx_session* session, const char* where, int64_t timeout_ms,
                                agx_event** event);

/** Where agx_wait_for goes on: the id of the event that it gave last, or where it would begin. For who
 * waits in a way of their own: a listener that begins there, and has the same condition and no
 * timeouts, is told what agx_wait_for would be, but for a cancel. position has room for AGX_ID_SIZE
 * bytes. Blocks: one command, the first time on a handle that did not start the session, and on one
 * that has stopped it. Outcomes: AGX_ENDED (it has stopped it, and the events are gone). Errors: store
 * errors. */
AGX_API agx_status agx_waited(agx_session* session, char* position);

/** Has agx_wait_for go on behind the event with that id ("0-0": the beginning), which its caller was
 * given by a listener. Does not block. Errors: AGX_EINVAL (the id). */
AGX_API agx_status agx_set_waited(agx_session* session, const char* position);

/** @} */
/** @defgroup subscription Subscription
 * Functions that the library calls: with a session's events as they come, and before events are
 * written.
 * @{ */

/** Called with an event, which is valid during the call; or with event NULL and an outcome, as the
 * table of agx_listen_next has them. AGX_ENDED and AGX_LIMIT are the last call. After AGX_ABSENT,
 * AGX_SILENT, AGX_GONE, AGX_GAP, AGX_EUNSUPPORTED and store errors it goes on as a listener does; of
 * these AGX_GAP and AGX_EUNSUPPORTED are told each time, the others once until an event has come, in
 * agx_last_error's words. AGX_BEHIND: agx_subscribe_options.queue. AGX_EFAILED, the last: it threw.
 *
 * It may call every function of this library, and close its subscription, the session and the
 * client. `subscription` is the handle that agx_subscribe gives, which may not have returned yet. */
typedef void (*agx_subscriber)(agx_subscription* subscription, agx_status status,
                               const agx_event* event, void* user_data);

typedef struct agx_subscribe_options {
  size_t size;
  const char* after;  /**< as agx_listen_options.after; default NULL: everything */
  int64_t wait_ms;    /**< as agx_listen_options.wait_ms, but default -1: never AGX_ABSENT */
  int64_t timeout_ms; /**< as agx_listen_options.timeout_ms, but default -1: never AGX_SILENT */
  int hand_on_end;    /**< as agx_listen_options.hand_on_end */
  int64_t limit;      /**< as agx_listen_options.limit */
  /** How many events may wait in memory for the function; default 0: 10000. When so many do, what
   * follows waits in the store, from which nothing is lost but what the store drops (AGX_GAP). If
   * everything that there was had been read before, so that it is the function that is too slow, it
   * is told AGX_BEHIND, before what waits, and once until everything has been read again */
  int64_t queue;
  int64_t queue_bytes; /**< and how many bytes their texts may have; default 0: 16 MiB */
} agx_subscribe_options;

#define AGX_SUBSCRIBE_OPTIONS_INIT \
  { sizeof(agx_subscribe_options), NULL, -1, -1, 0, 0, 0, 0 }

/** Calls the function with the session's events that the condition selects (where NULL: all), in
 * their order, one call at a time. The session handle may be closed afterwards.
 *
 * All functions of a client are called on one thread of it, which is none of the caller's, in turns.
 * One whose call keeps others waiting for more than about 20 ms keeps that thread for itself until
 * it is unsubscribed, and the others go on on a new one: so calls of two subscriptions may run at
 * the same time. A slow function delays but itself.
 *
 * Blocks: one command, or two with `after` "new". Free with agx_subscription_close. Errors:
 * AGX_EINVAL (the condition, an option, function NULL), AGX_ETOOBIG (the condition), AGX_ESYSTEM,
 * store errors. */
AGX_API agx_status agx_subscribe(agx_session* session, const char* where,
                                 const agx_subscribe_options* options, agx_subscriber function,
                                 void* user_data, agx_subscription** subscription);

/** Unsubscribes and frees the handle. When it returns no call of the function is running and none
 * will come, so that user_data may go; called from within the function, that very call goes on, and
 * is the last. agx_close does the same for all subscriptions of its client. Neither is told to the
 * function. Two functions that close each other's subscriptions at the same time wait for ever.
 * Blocks: for a call that is running; and of a client's last subscription for the read that is under
 * way: one command. */
AGX_API void agx_subscription_close(agx_subscription* subscription);

/** An event on its way. Valid during the interceptor's call. */
typedef struct agx_intercepted agx_intercepted;

/** Called before an event is written, in the thread that adds it. What it returns:
 *   AGX_OK         the event is written, as it is by then
 *   AGX_SWALLOWED  it is not written, and what was to add it returns AGX_SWALLOWED
 *   anything else  it is refused: it is not written, and what was to add it returns this status; see
 *                  agx_intercepted_refuse
 * A C++ exception refuses it with AGX_EFAILED. Several threads that add call it at the same time. It
 * may call every function of this library, close the interceptor, the session (the event is then
 * refused with AGX_ECLOSED) and the client, and add to the same session: its own events come by the
 * other interceptors, not by itself. Of the run whose event it has it may call nothing: AGX_ESTATE,
 * and agx_run_close does nothing. */
typedef agx_status (*agx_interceptor_function)(agx_intercepted* event, void* user_data);

/** Calls the function before each event that the condition selects (where NULL: all) is written by
 * this session handle: by agx_add, agx_add_many, agx_add_error, agx_add_info and its runs. Those
 * that were registered earlier are called first; each is asked for what the ones before it made of
 * the event.
 *
 * What agx_start, agx_stop and the end of a run write by themselves (`begin`, `end`, a run's
 * closing `error`) does not come by, nor what agx_add_checked and agx_history_replace write. A
 * run's event that is refused is left out, and the run goes on: the call that made it returns the
 * status. One that is swallowed is left out without a word. What a run writes while the agent is in
 * no call, at the end of a coalescing window and after a cancel, comes by in a thread of the
 * client, which a slow function would keep from renewing leases.
 *
 * Does not block. Free with agx_interceptor_close. Errors: AGX_EINVAL (the condition, function
 * NULL), AGX_ETOOBIG (the condition). */
AGX_API agx_status agx_intercept(agx_session* session, const char* where,
                                 agx_interceptor_function function, void* user_data,
                                 agx_interceptor** interceptor);

/** Takes the interceptor out and frees the handle. When it returns no call of its function is
 * running and none will come; called from within the function, only that very call goes on. */
AGX_API void agx_interceptor_close(agx_interceptor* interceptor);

/** The type as it is by now. The string is the event's, until it is set or the call returns.
 * `length`, or NULL, gets the length without the NUL. */
AGX_API const char* agx_intercepted_type(const agx_intercepted* event, size_t* length);
/** The origin, in the same way. */
AGX_API const char* agx_intercepted_origin(const agx_intercepted* event, size_t* length);
/** The body, in the same way; "{}" if there is none. */
AGX_API const char* agx_intercepted_body(const agx_intercepted* event, size_t* length);

/** Changes the type. The text is copied, and checked as agx_add does; if it is not valid the event
 * stays as it is. Does not block. Errors: AGX_ETOOBIG. */
AGX_API agx_status agx_intercepted_set_type(agx_intercepted* event, const char* type);
/** Changes the origin, in the same way. */
AGX_API agx_status agx_intercepted_set_origin(agx_intercepted* event, const char* origin);
/** Changes the body, in the same way; NULL takes it away. Errors: AGX_ETOOBIG, AGX_EJSON. */
AGX_API agx_status agx_intercepted_set_body(agx_intercepted* event, const char* body);

/** For an interceptor to return: `return agx_intercepted_refuse(event, AGX_EDENIED, "why");`. Gives
 * the status back, and keeps the message (copied; NULL: none) as what agx_last_error will say.
 * Errors: AGX_EINVAL (AGX_OK and AGX_SWALLOWED refuse nothing). */
AGX_API agx_status agx_intercepted_refuse(agx_intercepted* event, agx_status status,
                                          const char* message);

/** @} */
/** @defgroup history History
 * What a session's stream holds, read back rather than followed: nothing is waited for, and `begin`
 * and `end` are events like others. And what is to be kept of it.
 * @{ */

typedef struct agx_history_options {
  size_t size;
  /** An entry id as agx_listen_options.after: what came after it. Default NULL: from the first on */
  const char* after;
  /** An entry id: what came before it. Default NULL: up to the last */
  const char* before;
  int reverse; /**< 1: the newest first. Default 0 */
  /** Only events that this condition selects. Default NULL: all. See @ref conditions */
  const char* where;
} agx_history_options;

#define AGX_HISTORY_OPTIONS_INIT \
  { sizeof(agx_history_options), NULL, NULL, 0, NULL }

/** Reads up to capacity events that are there, into events[0 .. *count-1]; the last n are those of
 * capacity n and options.reverse. Each is the caller's; free it with agx_event_free. Fewer than
 * capacity: there were no more when it came to the end, or the next cannot be read. To go on, give
 * the last one's id as `after`, or with `reverse` as `before`, until AGX_ENDED.
 *
 * With options.where it reads on until capacity events were selected or the range ends, however
 * long that takes; closing the session or the client ends it. What is trimmed meanwhile is left
 * out without a word. Blocks: a command for each MiB or so that is read. Outcomes: AGX_ENDED (there
 * is nothing, or nothing more). Errors: AGX_EINVAL (an id, the condition, capacity 0), AGX_ETOOBIG
 * (the condition), AGX_EUNSUPPORTED (an entry that comes first cannot be read: go on with
 * agx_last_error_entry() as with the last event's id), store errors; no event is given then. */
AGX_API agx_status agx_history_read(agx_session* session, const agx_history_options* options,
                                    agx_event** events, size_t capacity, size_t* count);

/** What agx_history_info tells. */
typedef struct agx_history {
  size_t size;
  uint64_t length;            /**< how many entries the stream has */
  char first_id[AGX_ID_SIZE]; /**< of the oldest entry that is there; "" if none is */
  char last_id[AGX_ID_SIZE];  /**< of the newest that is there; "" if none is */
  /** The highest id that the stream has given out, of an entry that may be gone; "" if there is no
   * stream. last_id, where the store's user may not ask (XINFO) */
  char last_generated_id[AGX_ID_SIZE];
  int live;          /**< 1: the session is live */
  int64_t expire_ms; /**< until the stream expires; -1: it does not */
  int64_t groups;    /**< consumer groups of the stream; -1 where the store's user may not ask */
} agx_history;

#define AGX_HISTORY_INIT \
  { sizeof(agx_history), 0, "", "", "", 0, -1, 0 }

/** Tells how much there is of the session. info->size says how large the caller's struct is: start
 * from AGX_HISTORY_INIT. Blocks: one command, or two. Outcomes: AGX_NONE (there is neither a stream
 * nor a live flag; *info is as it was initialised). Errors: store errors. */
AGX_API agx_status agx_history_info(agx_session* session, agx_history* info);

/** Removes the oldest entries, exactly: all but the newest max_length (before_id NULL), or those
 * older than before_id (max_length negative). Listeners that had not got to them yet are told
 * AGX_GAP. *removed, or NULL: how many went; if the connection was lost on the way, those of the
 * second try. Where there is no stream none goes. Blocks: one command. Errors: AGX_EINVAL (both, or
 * neither), AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_history_trim(agx_session* session, int64_t max_length, const char* before_id,
                                    uint64_t* removed);

/** The most events that agx_history_replace takes at once. */
#define AGX_REPLACE_MAX 65536

/** Replaces all that the session's stream holds by count events, in one atomic step: such as a
 * history by its summary. Each is as agx_add takes it; interceptors do not see them. The live flag,
 * the expiry (which an entry of agent-framework renews) and consumer groups stay, and of the format
 * ag2 nothing is published, as AG2 does it.
 * Listeners that had not got to what went are told AGX_GAP; then they get the new events, or if the
 * format keeps a list, all that there is. count 0 (events may be NULL): as agx_history_drop.
 * *removed, or NULL: how many went. Blocks: one command. Outcomes: AGX_TAKEN_OVER. Errors:
 * AGX_EJSON, AGX_ETOOBIG (also: more than AGX_REPLACE_MAX events), AGX_EUNSUPPORTED (the format
 * cannot hold one), AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_history_replace(agx_session* session, const agx_new_event* events,
                                       size_t count, uint64_t* removed);

/** Drops all that the session's stream holds. The stream stays, empty, with its groups and its last
 * id; of the format ag2 it goes, for there is no empty list. Otherwise as agx_history_replace. */
AGX_API agx_status agx_history_drop(agx_session* session, uint64_t* removed);

/** Deletes the session, in one atomic step: its stream, with its checkpoints, its live flag and its
 * conversation.
 *
 * If another producer has it live, that one sees a cancel. Of the stream an `end` alone stays for a
 * second then, by which its producer tells this from a store that lost its data, and listeners end.
 * What that producer still adds comes into a stream that goes when it stops. If this handle has
 * started the session, it has stopped it now, and nothing stays. A producer whose lease ran out
 * while it could not reach the store may begin the session anew.
 *
 * Blocks: one command. Outcomes: AGX_NONE (nothing was there; after AGX_EUNCERTAIN that may be
 * because the call had been carried out). Errors: AGX_ETYPE (one of the three
 * is of another type; nothing is deleted), AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_history_delete(agx_session* session);

/** @} */
/** @defgroup event Event
 * An event does not change and may be read by several threads. Its strings live until
 * agx_event_free. An event keeps the batch in which it arrived in memory; copy what is to be kept
 * for long. Given NULL, the accessors return "" or 0. `length`, or NULL, gets the length without
 * the NUL.
 * @{ */

/** The entry id, "milliseconds-sequence". */
AGX_API const char* agx_event_id(const agx_event* event, size_t* length);
/** "" if the entry has none. */
AGX_API const char* agx_event_type(const agx_event* event, size_t* length);
/** "" if the entry has none. */
AGX_API const char* agx_event_origin(const agx_event* event, size_t* length);
/** The body as it was written; "{}" if the entry has none. What other programs wrote is not checked
 * to be JSON. */
AGX_API const char* agx_event_body(const agx_event* event, size_t* length);
/** When the store took it: milliseconds since 1970, from the id. 0 in the format "ag2", whose
 * entries have no time. */
AGX_API int64_t agx_event_time(const agx_event* event);

/** A field of the entry as its writer wrote it, the first of that name: also what the event has no
 * place for. An element of an ag2 list is one field, "element". Outcomes: AGX_NONE (there is no such
 * field; *value is NULL). */
AGX_API agx_status agx_event_field(const agx_event* event, const char* name, const char** value,
                                   size_t* length);
/** How many fields the entry has. */
AGX_API size_t agx_event_field_count(const agx_event* event);
/** The index-th of them, from 0; each out-pointer may be NULL. Outcomes: AGX_NONE (there are not so
 * many). */
AGX_API agx_status agx_event_field_at(const agx_event* event, size_t index, const char** name,
                                      size_t* name_length, const char** value, size_t* length);

typedef enum agx_json_form {
  AGX_JSON_FULL = 0, /**< {"id":…,"type":…,"origin":…,"body":…} */
  AGX_JSON_BARE = 1  /**< {"type":…,"origin":…,"body":…} */
} agx_json_form;

/** The event as one line of JSON. The body is inserted as it is (line breaks between its tokens
 * become spaces); one that is not JSON as a string. *json belongs to the event. Does not block.
 * Errors: AGX_ENOMEM. */
AGX_API agx_status agx_event_json(const agx_event* event, agx_json_form form, const char** json,
                                  size_t* length);

/** Frees the event. NULL is ignored. */
AGX_API void agx_event_free(agx_event* event);

/** @} */
/** @defgroup mux Mux
 * @{ */

/** Opens a mux, which waits on any number of listeners of its client with one thread and a few
 * connections. Free with agx_mux_close. Errors: AGX_ESYSTEM. */
AGX_API agx_status agx_mux_open(agx_client* client, agx_mux** mux);

/** Puts a listener into the mux; until it is taken out, only the mux delivers its events. Does not
 * block. Errors: AGX_EBUSY (it is in a mux, has a descriptor, or is in a call), AGX_EINVAL (it is
 * of another client). */
AGX_API agx_status agx_mux_add(agx_mux* mux, agx_listener* listener);

/** Takes a listener out, at its cursor: it can go on by itself. Does not block but for a mux that
 * is in I/O. Errors: AGX_EINVAL (it is not in this mux). */
AGX_API agx_status agx_mux_remove(agx_mux* mux, agx_listener* listener);

/** The next event or outcome of any of the listeners. *listener says whose, and is NULL if the
 * outcome is the mux's own. Of a listener: AGX_OK with *event, or AGX_ENDED, AGX_LIMIT, AGX_ABSENT,
 * AGX_SILENT, AGX_GONE, AGX_GAP as for agx_listen_next. After a final one the listener stays in the
 * mux, silent, until it is removed or closed. Of the mux: AGX_TIMEOUT, AGX_INTERRUPTED, AGX_ENDED
 * (no listener in it can bring anything any more, or it is empty). Order is kept within each
 * listener; listeners that have events take turns. Blocks for timeout_ms at most (not counting a
 * reconnect). Errors: store errors. */
AGX_API agx_status agx_mux_next(agx_mux* mux, int64_t timeout_ms, agx_listener** listener,
                                agx_event** event);

/** As agx_mux_next, but takes up to capacity events that are at hand, into events[0 .. *count-1];
 * waits only for the first, and asks the store for none of the others. listeners[i] says whose
 * events[i] is; listeners may be NULL. Each event is the caller's. Outcomes other than events come
 * one by one: *count is 0 then, and listeners[0] says whose it is, as *listener of agx_mux_next. */
AGX_API agx_status agx_mux_next_many(agx_mux* mux, int64_t timeout_ms, agx_listener** listeners,
                                     agx_event** events, size_t capacity, size_t* count);

/** As agx_listener_interrupt. */
AGX_API agx_status agx_mux_interrupt(agx_mux* mux);

/** As agx_listener_fd, for agx_mux_next(mux, 0, …). */
AGX_API agx_status agx_mux_fd(agx_mux* mux, int* fd);

/** Closes the mux. Its listeners stay open. */
AGX_API void agx_mux_close(agx_mux* mux);

/** @} */
/** @defgroup group Group
 * Consumers who share a session's events: each event is given to one consumer of a group, and stays
 * pending for it until somebody acknowledges it. So it is not lost when a consumer dies: others
 * take it over once it has been idle for long enough. A group is the store's, and stays when its
 * consumers are gone; it goes with its stream, so events are to be handled before a session that
 * was stopped expires. `begin` and `end` are events like others.
 *
 * agx_group_process does all of that: it is the whole of a robust consumer. The other functions are
 * its parts, for programs that do it their own way.
 *
 * Ids are those of agx_event_id. Names of groups and consumers have 1 to AGX_NAME_MAX bytes. Names
 * that other programs gave and that are longer are cut short in what is told of them.
 * @{ */

typedef struct agx_group_options {
  size_t size;
  /** The consumer's name. Whoever opens the group with it again finds what is still pending for it;
   * to be used by one handle at a time. Default NULL: one that nobody else has, and that goes from
   * the group with agx_group_close and at the end of agx_group_process, unless something is pending
   * for it then */
  const char* consumer;
  /** Where a group that is made begins. NULL, "" or "0": with the first event; "new" or "$": with
   * what comes from now on; else an id: with what came after it */
  const char* start;
  int must_exist; /**< 1: a group that is not there is not made, but AGX_NONE. Default 0 */
  /** 1: agx_group_read makes the group again if it is gone, behind what this handle was given, or
   * else where it began; if its stream is, from the start of the next, for which it waits. Default 0:
   * AGX_NONE */
  int recreate;
  /** Key of the stream in which events end up that could not be handled. Default NULL: the
   * stream's own key and ":dlq", which is the stream of the session whose id is this one's and
   * ":dlq" */
  const char* dead_letters;
} agx_group_options;

#define AGX_GROUP_OPTIONS_INIT \
  { sizeof(agx_group_options), NULL, NULL, 0, 0, NULL }

/** Opens a group of the session's stream, and makes it unless it is there; the stream too, if need
 * be, which then expires as after an add. The session handle may be closed afterwards. Blocks: a
 * command or two. Free with agx_group_close.
 * Outcomes: AGX_NONE (options.must_exist). Errors: AGX_ETOOBIG, store errors. */
AGX_API agx_status agx_group_open(agx_session* session, const char* group,
                                  const agx_group_options* options, agx_group** handle);

/** Closes the handle. What is pending for its consumer stays so. If its name was made up (consumer
 * NULL) and nothing is pending for it, it is taken out of the group, in one atomic step; where that
 * fails it stays, which does no harm. Blocks: one command then, for which a connection that is lost
 * is not made again. Not to be called by a handler of agx_group_process on its own group. */
AGX_API void agx_group_close(agx_group* group);

/** The consumer's name. It belongs to the handle. "" for an invalid handle. Does not block. */
AGX_API const char* agx_group_consumer_name(agx_group* group);

/** What agx_group_read gives. */
typedef enum agx_group_source {
  AGX_GROUP_NEW = 0, /**< events that were given to nobody yet */
  /** first what is pending for this consumer, each event once for this handle; then new ones */
  AGX_GROUP_PENDING_FIRST = 1,
  /** what is pending for this consumer; after the last AGX_ENDED, and then from the first again */
  AGX_GROUP_PENDING_ONLY = 2
} agx_group_source;

/** Takes up to capacity events that are there, 10000 at most, into events[0 .. *count-1]; waits only
 * for the first. Each is the caller's to free with agx_event_free, and to acknowledge.
 *
 * Events that the store gave and whose way here was cut off are pending, and come with the next
 * call; so none is lost. Outcomes: AGX_TIMEOUT, AGX_ENDED (AGX_GROUP_PENDING_ONLY), AGX_INTERRUPTED,
 * AGX_NONE (there is no such group: it was deleted, which a call that waits may notice a second
 * later, or its stream was). Blocks for timeout_ms at most (not counting a reconnect). One call at
 * a time is served. Errors: AGX_EBUSY (agx_group_process is under way on this handle),
 * AGX_EUNSUPPORTED (an entry cannot be read, as for agx_listen_next; it stays pending, to be
 * acknowledged by its id), store errors. */
AGX_API agx_status agx_group_read(agx_group* group, agx_group_source source, int64_t timeout_ms,
                                  agx_event** events, size_t capacity, size_t* count);

/** Makes the agx_group_read or agx_group_process that is under way, or else the next one, return
 * AGX_INTERRUPTED, as agx_listener_interrupt does; the latter once it has finished what it holds. If
 * what was handled cannot be acknowledged, as the store cannot be reached, that takes up to
 * reconnect_timeout, and is the store's error. Does not block. */
AGX_API agx_status agx_group_interrupt(agx_group* group);

/** Acknowledges events of this group, whoever they are pending for. *acknowledged, or NULL: how
 * many of them were pending; what was never given to anybody, was acknowledged before, or whose
 * group is gone, does not count and is no error. May be repeated. Blocks: one command. Errors:
 * AGX_EINVAL (an id), AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_group_ack(agx_group* group, const char* const* ids, size_t count,
                                 uint64_t* acknowledged);

/** Takes events over from whomever they are pending for, if nobody was given them for min_idle_ms.
 * events has room for id_count; those that came along are the caller's, in the order of their ids.
 * Pending events that the stream does not have any more are acknowledged by the way. Blocks: one
 * command. Outcomes: AGX_NONE (no such group). Errors: AGX_EINVAL (an id), AGX_EUNCERTAIN (what was
 * taken is pending for this consumer), AGX_EUNSUPPORTED (nothing was taken but what cannot be read;
 * otherwise such an entry is left out), store errors. */
AGX_API agx_status agx_group_claim(agx_group* group, int64_t min_idle_ms, const char* const* ids,
                                   size_t id_count, agx_event** events, size_t* count);

/** The same for whatever has been idle for so long. cursor, room for AGX_ID_SIZE bytes: "" or "0-0"
 * at first, then as this left it; "0-0" when it has come to the end. Up to capacity events are
 * looked at; there may be none among them. On AGX_EUNSUPPORTED the cursor has moved on as well: a
 * further call goes on behind what cannot be read. */
AGX_API agx_status agx_group_autoclaim(agx_group* group, int64_t min_idle_ms, char* cursor,
                                       agx_event** events, size_t capacity, size_t* count);

/** What agx_group_pending tells. */
typedef struct agx_pending {
  size_t size;
  uint64_t count;               /**< how many events are pending */
  char lowest_id[AGX_ID_SIZE];  /**< of the oldest of them; "" if none is */
  char highest_id[AGX_ID_SIZE]; /**< of the newest */
  uint64_t consumers;           /**< how many consumers have any */
} agx_pending;

#define AGX_PENDING_INIT \
  { sizeof(agx_pending), 0, "", "", 0 }

/** Tells how much is pending in the group. Blocks: one command. Outcomes: AGX_NONE (no such group).
 * Errors: store errors. */
AGX_API agx_status agx_group_pending(agx_group* group, agx_pending* pending);

/** An event that is pending. This struct does not grow. */
typedef struct agx_pending_event {
  char id[AGX_ID_SIZE];            /**< the event's */
  char consumer[AGX_NAME_MAX + 1]; /**< whom it is pending for */
  int64_t idle_ms;                 /**< since it was given to the consumer */
  int64_t attempts;                /**< how often it was given to one */
} agx_pending_event;

/** Lists events that are pending, in the order of their ids, into events[0 .. *count-1]: of a
 * consumer (NULL: of all), idle for min_idle_ms or longer, after an id (NULL: from the first). Fewer
 * than capacity (or 10000): there are no more. Blocks: one command. Outcomes and errors as above;
 * AGX_EINVAL (the id, or capacity 0). */
AGX_API agx_status agx_group_pending_events(agx_group* group, const char* consumer,
                                            int64_t min_idle_ms, const char* after,
                                            agx_pending_event* events, size_t capacity,
                                            size_t* count);

/** A group of a stream. This struct does not grow. */
typedef struct agx_group_info {
  char name[AGX_NAME_MAX + 1];         /**< its name */
  uint64_t consumers;                  /**< how many it has */
  uint64_t pending;                    /**< how many events are pending in it */
  char last_delivered_id[AGX_ID_SIZE]; /**< "0-0" before the first */
  /** How many events were given to nobody yet; -1: not known. Redis counts among them what was
   * trimmed before anybody was given it. Before Redis 7 it is counted, by a script, and no further
   * than about 100000 */
  int64_t lag;
} agx_group_info;

/** Tells of the groups of the session's stream, into groups[0 .. capacity-1]; *count: how many there
 * are, which may be more. Where there is no stream there is no group. Blocks: one command, before
 * Redis 7 one more for each group. Errors: store errors. */
AGX_API agx_status agx_group_list(agx_session* session, agx_group_info* groups, size_t capacity,
                                  size_t* count);

/** A consumer of a group. This struct does not grow. */
typedef struct agx_consumer_info {
  char name[AGX_NAME_MAX + 1]; /**< its name */
  uint64_t pending;            /**< how many events are pending for it */
  /** Since it last asked for something; before Redis 7.2: since it was last given something. */
  int64_t idle_ms;
} agx_consumer_info;

/** Tells of the consumers of the group, in the same way. Outcomes: AGX_NONE (no such group). */
AGX_API agx_status agx_group_consumers(agx_group* group, agx_consumer_info* consumers,
                                       size_t capacity, size_t* count);

/** Deletes a consumer (NULL: this one). What was pending for it is not pending any more, and comes
 * to nobody again: *pending, or NULL, says how many events these were. To keep them, claim them
 * first. Blocks: one command. Outcomes: AGX_NONE (no such group). Errors: AGX_EUNCERTAIN, store
 * errors. */
AGX_API agx_status agx_group_delete_consumer(agx_group* group, const char* consumer,
                                             uint64_t* pending);

/** Deletes the group, with what is pending in it. The handle stays open. Blocks: one command.
 * Outcomes: AGX_NONE (no such group). Errors: AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_group_delete(agx_group* group);

/** What agx_group_health tells. */
typedef struct agx_health {
  size_t size;
  uint64_t length;       /**< how many events the stream has */
  uint64_t pending;      /**< how many were given to a consumer and not acknowledged */
  int64_t lag;           /**< as agx_group_info.lag */
  uint64_t consumers;    /**< how many the group has */
  uint64_t dead_letters; /**< how many there are */
  /** How long ago the oldest event that is pending was written, by this machine's clock, in
   * milliseconds; -1: none is pending */
  int64_t oldest_pending_ms;
  char last_delivered_id[AGX_ID_SIZE]; /**< "0-0" before the first */
} agx_health;

#define AGX_HEALTH_INIT \
  { sizeof(agx_health), 0, 0, 0, 0, 0, -1, "" }

/** Tells how the group is doing. Blocks: a few commands. Outcomes: AGX_NONE (no such group). Errors:
 * store errors. */
AGX_API agx_status agx_group_health(agx_group* group, agx_health* health);

/** Handles one event of agx_group_process, in its thread. AGX_OK: it is handled. AGX_INTERRUPTED: it
 * was told to stop, and so is the processing; the event counts as not given to it, and can be taken
 * over at once. Anything else: it is to be tried again, or given up. attempt: how often it was given
 * to a handler, from 1 on. The event is valid during the call. A C++ exception counts as AGX_EFAILED
 * with its what(). It may use the group's other functions, but not agx_group_read (AGX_EBUSY) and not
 * agx_group_close. */
typedef agx_status (*agx_group_handler)(const agx_event* event, int64_t attempt, void* user_data);

typedef struct agx_group_process_options {
  size_t size;
  /** So often an event is given to a handler before it goes to the dead letters; default 0: 3. What
   * was read or claimed by other calls has been given so often as well */
  int64_t max_retries;
  /** Events that others were given and have not acknowledged for so long are taken over. Longer
   * than a handler takes, for else its event is handled twice; default 0: 300000; negative: none */
  int64_t claim_idle_ms;
  int64_t count; /**< events that are taken at once; default 0: 16; at most 1000 */
  /** The pause before the second attempt; twice as long before each further one, up to
   * backoff_max_ms, and each time between half and all of that; default 0: 100 */
  int64_t backoff_ms;
  int64_t backoff_max_ms; /**< default 0: 30000 */
  /** For so long it goes on while the store fails; default -1: for ever */
  int64_t outage_ms;
  int64_t timeout_ms; /**< AGX_TIMEOUT after so long without an event; default -1: never */
  int64_t limit;      /**< AGX_LIMIT after so many events; default 0: none */
} agx_group_process_options;

#define AGX_GROUP_PROCESS_OPTIONS_INIT \
  { sizeof(agx_group_process_options), 0, 0, 0, 0, 0, -1, -1, 0 }

/** Hands the group's events to a handler, in this thread, until agx_group_interrupt: first what is
 * pending for this consumer, then new ones and those that other consumers have left. An event that
 * was handled is acknowledged, within 50 ms or before anything is waited for; one that failed is
 * tried again after a pause, by this consumer while it lives, and after max_retries attempts goes
 * to the dead letters, in one atomic step with its acknowledgement. An event that was given so
 * often to handlers who all died of it goes there too, and at once one that cannot be read. What a
 * consumer that died had read ahead counts as given once; with max_retries 1 nothing is read ahead.
 *
 * So an event is handled at least once, or becomes a dead letter, whatever dies; it may be handled
 * again if its acknowledgement was lost. It goes on when the connection is lost and the store is
 * restarted; if the group was deleted it makes it again, and if its stream has gone, as with a store
 * that comes back empty, as soon as there is another.
 *
 * Outcomes: AGX_INTERRUPTED (what it held was given to the handler; what failed and waited to be tried
 * again can be taken over at once), AGX_TIMEOUT, AGX_LIMIT. Blocks: until then, and as long as the handler.
 * Errors: AGX_EBUSY (it, or agx_group_read, is under way on this handle), store errors (those that
 * pass only beyond outage_ms, or once it was interrupted); what was not acknowledged comes again. An
 * attempt that could not be taken back then is so when this handle processes next. */
AGX_API agx_status agx_group_process(agx_group* group, const agx_group_process_options* options,
                                     agx_group_handler handler, void* user_data);

/** Says why the event is about to fail that the handler of agx_group_process has: what it returns
 * tells only a status. Up to 4096 bytes of it are kept, with U+FFFD for what is not UTF-8. Does not
 * block. Errors: AGX_EINVAL. */
AGX_API agx_status agx_group_fail_reason(agx_group* group, const char* reason);

/** An event that could not be handled. The texts and the event live until agx_event_free(event).
 * This struct does not grow. */
typedef struct agx_dead_letter {
  agx_event* event;            /**< its id is the dead letter's own */
  const char* original_stream; /**< key of the stream that it comes from; "" if it does not tell */
  const char* original_id;     /**< its id there */
  const char* reason;          /**< why it failed */
  int64_t attempts;            /**< how often it was given to a handler */
  int64_t time_ms;             /**< when it died: milliseconds since 1970 */
} agx_dead_letter;

/** Lists the group's dead letters, in the order in which they died, into letters[0 .. *count-1]:
 * those after an id (NULL: from the first on). Groups of a stream share its dead letters, unless
 * options.dead_letters says otherwise. Outcomes: AGX_ENDED (there is none, or none further).
 * Blocks: one command. Errors: AGX_EINVAL (the id, or capacity 0), AGX_EUNSUPPORTED (the first of
 * them cannot be read; agx_last_error names it), store errors. */
AGX_API agx_status agx_group_dead_letters(agx_group* group, const char* after,
                                          agx_dead_letter* letters, size_t capacity, size_t* count);

/** Puts dead letters back into the stream, as new events with their own fields and
 * `replayed_from_dlq`, which is the dead letter's id, and deletes them; each in one atomic step. All
 * groups of the stream are given them; no run begins with them, and agent-framework's expiry is
 * renewed. *replayed, or NULL: how many there were. Blocks: one command for each. Errors: AGX_EINVAL (an id; or one is another stream's), AGX_EUNSUPPORTED (it is without
 * its event's fields), AGX_EUNCERTAIN, store errors; those before it were replayed. */
AGX_API agx_status agx_group_replay(agx_group* group, const char* const* ids, size_t count,
                                    uint64_t* replayed);

/** Deletes dead letters. *deleted, or NULL: how many there were; of a call that was carried out twice,
 * for its first answer was lost, how many were left. Blocks: one command. Errors:
 * AGX_EINVAL (an id), AGX_EUNCERTAIN, store errors. */
AGX_API agx_status agx_group_delete_dead_letters(agx_group* group, const char* const* ids,
                                                 size_t count, uint64_t* deleted);

/** @} */
/** @defgroup query Query
 * @{ */

/** Any scope, or any user. */
#define AGX_ANY INT64_MIN

/** Begins to list the sessions that are live: of a scope and user, of a scope (user_id AGX_ANY), or
 * all (both AGX_ANY). Does not block. Free with agx_query_close. Errors: AGX_EINVAL (a user without
 * a scope). */
AGX_API agx_status agx_query_open(agx_client* client, int64_t scope_id, int64_t user_id,
                                  agx_query** query);

/** The next live session, each once, in no order; AGX_ENDED after the last. A session that is live
 * for the whole of the iteration is in it; one that starts or stops meanwhile may be. *session_id
 * belongs to the query until its next call. Any out-pointer may be NULL. Blocks: a few commands.
 * Errors: store errors. */
AGX_API agx_status agx_query_next(agx_query* query, int64_t* scope_id, int64_t* user_id,
                                  const char** session_id);

/** Closes the query. */
AGX_API void agx_query_close(agx_query* query);

/** @} */
/** @defgroup run Run
 * One execution of an agent inside a session: it starts the session, turns what the model says into
 * the session's events, and ends the session, once, whatever happens.
 *
 * The order of calls is the order in which an agent works: agx_run_node_begin opens a node (a
 * request to the model and its response), agx_run_tool_return tells of the tool results that go into
 * that request, then parts begin, grow and end, then agx_run_node_end; more nodes follow; last
 * agx_run_finish or agx_run_fail. A call that does not fit is AGX_ESTATE and writes nothing.
 * docs/protocol.md has the events. Instead of parts, agx_run_feed takes the model's own stream.
 *
 * True of every function here: once the session is cancelled it returns AGX_CANCELED, and once it is
 * taken over AGX_TAKEN_OVER, also while the agent is in none of them: the run has then ended by
 * itself, a cancelled one with what it left open closed, `error` {"msg": "canceled"} and `end`; one
 * that was taken over writes nothing more. After agx_run_finish or agx_run_fail: AGX_ESTATE.
 *
 * A store error does not end a run: what could not be written is kept, up to AGX_BODY_MAX bytes, and
 * goes first with the next call, without loss or repetition; so the call is not to be repeated.
 * Beyond that bound a call takes nothing and returns the store error.
 *
 * Texts are UTF-8; what is not becomes U+FFFD. Unless said otherwise calls block for one command;
 * with a coalescing window, most do not.
 * @{ */

typedef struct agx_run_options {
  size_t size;
  /** Gather the growth of a part for so long and write it as one event; default 0: every growth is
   * an event */
  int64_t coalesce_ms;
  /** but no longer than until it has so many bytes; default 0: 16384 */
  int64_t coalesce_bytes;
  const agx_start_options* start; /**< how to start the session; default NULL */
  const char* origin;             /**< of the model's events; default "pydantic-ai" */
  int64_t grace_ms;               /**< as agx_stop's; default -1 */
} agx_run_options;

#define AGX_RUN_OPTIONS_INIT \
  { sizeof(agx_run_options), 0, 0, NULL, NULL, -1 }

/** Starts the session and opens a run in it. The session handle has to stay open for as long as the
 * run does; while it runs, do not call agx_start or agx_stop on it. agx_add on it is allowed, for
 * events of your own. Free with agx_run_close. Errors: those of agx_start; AGX_EINVAL
 * (options.start.detached: nobody would notice a cancel). */
AGX_API agx_status agx_run_begin(agx_session* session, const agx_run_options* options,
                                 agx_run** run);

/** Opens the next node: a request to the model. Errors: AGX_ESTATE (one is open), store errors. */
AGX_API agx_status agx_run_node_begin(agx_run* run);

/** A tool's result that goes into the request of the node that has just been opened. content: JSON
 * text; NULL is null. Errors: AGX_ESTATE (no node is open, or its response has begun), AGX_EJSON,
 * AGX_ETOOBIG, store errors. */
AGX_API agx_status agx_run_tool_return(agx_run* run, const char* tool_name,
                                       const char* tool_call_id, const char* content);

typedef enum agx_part_kind {
  AGX_PART_TEXT = 0,
  AGX_PART_THINKING = 1,
  AGX_PART_TOOL_CALL = 2
} agx_part_kind;

/** The part that was begun last. */
#define AGX_LAST_PART (-1)

/** A part of the response begins: text or thinking, with its first content (NULL: ""). *part, or
 * NULL, gets its number in this node, from 0. Parts that are open may grow on. Errors:
 * AGX_ESTATE (no node is open), AGX_ETOOBIG (the response would be larger than AGX_BODY_MAX), store
 * errors. */
AGX_API agx_status agx_run_part_begin(agx_run* run, agx_part_kind kind, const char* content,
                                      int* part);

/** A tool call begins, with the first of its arguments (JSON text; NULL: ""). Nothing is written
 * before it ends. Several can be open at once. tool_call_id NULL: one is made up. Errors: those of
 * agx_run_part_begin. */
AGX_API agx_status agx_run_tool_call_begin(agx_run* run, const char* tool_name,
                                           const char* tool_call_id, const char* args, int* part);

/** A part grows: by content, or, if it is a tool call, by a piece of its arguments. Errors:
 * AGX_ESTATE (there is no such part, or it has ended), AGX_ETOOBIG (the response would be larger
 * than AGX_BODY_MAX), store errors. */
AGX_API agx_status agx_run_part_delta(agx_run* run, int part, const char* delta);

/** A part ends. A tool call is written now: its arguments as JSON if that is what they form (none
 * at all are {}), else as a string. Parts still open when the node ends are ended then. */
AGX_API agx_status agx_run_part_end(agx_run* run, int part);

/** The part that was begun last is recognised as the final answer. */
AGX_API agx_status agx_run_answer(agx_run* run);

/** Ends the node, and what is open in it. *response, or NULL: the response as a message of a
 * conversation, for agx_messages_append; it belongs to the run until the next node begins. *length,
 * or NULL. */
AGX_API agx_status agx_run_node_end(agx_run* run, const char** response, size_t* length);

/** Writes what a coalescing window holds back. A window ends by itself as well: a thread of the
 * client sees to it. */
AGX_API agx_status agx_run_flush(agx_run* run);

/** Ends the run and the session: what is open is closed, `end` is written. Nothing further can be
 * done with the run but closing it. On a store error the run stays open: call it again.
 * AGX_NOT_LIVE: the store has lost the session, and there is nothing left to end. */
AGX_API agx_status agx_run_finish(agx_run* run);

/** The same, after an event `error` {"msg": "crashed - MESSAGE"}. NULL: "unknown". */
AGX_API agx_status agx_run_fail(agx_run* run, const char* message);

/** Ends the run, if need be as agx_run_fail(run, "the run was abandoned"), and frees it. If the
 * store cannot be reached, a thread of the client ends it as soon as it can, for as long as the
 * client is open; until then agx_run_begin and agx_start on the session return AGX_EBUSY. What was
 * asked for last, by agx_run_finish or agx_run_fail, counts. */
AGX_API void agx_run_close(agx_run* run);

/** The APIs whose streams agx_run_feed reads and whose requests agx_messages_request writes. */
typedef enum agx_model_api {
  AGX_OPENAI_CHAT = 1,      /**< OpenAI Chat Completions and what is compatible with it */
  AGX_OPENAI_RESPONSES = 2, /**< OpenAI Responses */
  AGX_ANTHROPIC = 3         /**< Anthropic Messages */
} agx_model_api;

/** Takes bytes of the body of a model's streaming HTTP response (server-sent events), cut anywhere,
 * and writes what they say as the run's events: text, thinking, tool calls, the answer (which the
 * first text part of a node is taken for, as pydantic-ai does). Opens a node if none is open. After
 * the last byte call agx_run_feed_end. Events of kinds that this version does not know are passed
 * over. One AGX_BODY_MAX is the most that one event may have.
 *
 * AGX_EMODEL: the stream reports an error, or is none of this API; agx_last_error says what, as the
 * model's server put it. What came before is written; further bytes are ignored with the same
 * status until agx_run_feed_end. Errors: AGX_ESTATE (a stream of another API is being fed),
 * AGX_EMODEL, AGX_ETOOBIG (one event, or the response, is larger than AGX_BODY_MAX: as AGX_EMODEL),
 * store errors (the bytes were taken all the same). */
AGX_API agx_status agx_run_feed(agx_run* run, agx_model_api api, const char* bytes, size_t length);

/** The response is complete, or no more of it will come: as agx_run_node_end. AGX_EMODEL if the
 * stream reported an error or broke off before its end; *response then holds what there was.
 * AGX_ESTATE if agx_run_feed was not called; feeding 0 bytes counts. */
AGX_API agx_status agx_run_feed_end(agx_run* run, const char** response, size_t* length);

/** What an agent does in a run. What it returns other than AGX_OK makes the run fail with
 * agx_last_error of its thread, or AGX_CANCELED end as cancelled. May call agx_run_fail to say
 * better why. A C++ exception counts as a failure with its what(). */
typedef agx_status (*agx_agent)(agx_run* run, agx_messages* messages, void* user_data);

/** One whole run: begins it, loads the conversation, calls the agent in this thread, saves the
 * conversation if it succeeded, ends the run, and frees it. A failure, also to load or save,
 * becomes an `error` {"msg": "crashed - …"}; the session always ends. messages NULL: without one.
 * Blocks: for as long as the agent, and a few commands. Returns AGX_OK, AGX_CANCELED,
 * AGX_TAKEN_OVER, errors of agx_run_begin (the agent was not called), of agx_messages_load,
 * agx_messages_save and agx_run_finish, what the agent returned, or AGX_EFAILED for an exception and
 * for an agent that called agx_run_fail and returned AGX_OK. */
AGX_API agx_status agx_run_execute(agx_session* session, agx_messages* messages, agx_agent agent,
                                   void* user_data);

/** agx_run_execute with options for the run. */
AGX_API agx_status agx_run_execute_with(agx_session* session, const agx_run_options* options,
                                        agx_messages* messages, agx_agent agent, void* user_data);

/** @} */
/** @defgroup messages Messages
 * A conversation, as pydantic-ai writes it: a JSON array of messages, requests and responses in
 * turn. What this library does not know in it is kept as it came, byte for byte.
 *
 * Texts that a function gives belong to the conversation until it is changed (appended to, loaded)
 * or closed. `length`, or NULL, gets the length without the NUL. Nothing here blocks but load and
 * save. Closing the client ends these two; what is held can still be read and changed.
 *
 * A function that fails changes nothing. Texts that are given as such are UTF-8; what is not
 * becomes U+FFFD. Where JSON is given it has to be valid, and nested at most AGX_DEPTH_MAX deep in
 * the conversation. A conversation has at most AGX_BODY_MAX bytes.
 * @{ */

/** A conversation from its JSON text (NULL: an empty one). It has no place to be loaded from or
 * saved to; both do nothing. Free with agx_messages_close. Errors: AGX_EJSON (not a JSON array of
 * objects), AGX_ETOOBIG (more than AGX_BODY_MAX). */
AGX_API agx_status agx_messages_parse(const char* json, size_t length, agx_messages** messages);

/** The conversation of a session, kept in the store beside it, in the string key
 * {prefix}:{scope}:{user}:{session}:messages, which does not expire. Empty until loaded. The
 * session handle may be closed afterwards, the client not. Does not block. Free with
 * agx_messages_close. */
AGX_API agx_status agx_messages_open(agx_session* session, agx_messages** messages);

/** A conversation that is kept in a file. Empty until loaded; a file that is not there is an empty
 * conversation, but its directory has to be there. Saving replaces the file in one step, through
 * symbolic links and with its mode; it takes turns with others that save in that directory by this
 * library. Does not block. Free with agx_messages_close. Errors: AGX_ESYSTEM (there is no such
 * directory). */
AGX_API agx_status agx_messages_open_file(const char* path, agx_messages** messages);

/** Where a caller's own function puts what it loads. Valid during its call. */
typedef struct agx_messages_sink agx_messages_sink;
/** Called by a caller's own function with what it has loaded: once, or not at all if there is
 * nothing yet. Copies. Errors: AGX_ETOOBIG, AGX_EINVAL (a second call). */
AGX_API agx_status agx_messages_loaded(agx_messages_sink* sink, const char* json, size_t length);

/** Loads the conversation by agx_messages_loaded. What it returns is what
 * agx_messages_load does. */
typedef agx_status (*agx_messages_loader)(void* user_data, agx_messages_sink* sink);
/** Saves the conversation. What it returns is what agx_messages_save does. */
typedef agx_status (*agx_messages_saver)(void* user_data, const char* json, size_t length);

/** A conversation that is kept by the caller's own two functions. They are called by
 * agx_messages_load and agx_messages_save, in that thread, one at a time. They may read the
 * conversation, but not load, save (AGX_EBUSY) or close it. Whether somebody else has saved in
 * between is for them to find out. Free with agx_messages_close. */
AGX_API agx_status agx_messages_open_custom(agx_messages_loader load, agx_messages_saver save,
                                            void* user_data, agx_messages** messages);

/** Replaces what the handle holds by what is kept; nothing kept is an empty conversation. Blocks:
 * one command, or the caller's function. Errors: AGX_EJSON, AGX_ETOOBIG, AGX_ESYSTEM (the file),
 * AGX_EBUSY, store errors; the handle then holds what it did. */
AGX_API agx_status agx_messages_load(agx_messages* messages);

/** Keeps what the handle holds, in one atomic step, if what is kept is still what this handle
 * loaded or saved last (or nothing, if it did neither): otherwise AGX_ECONFLICT, and nothing is
 * written. After any other failure it may be called again: what it then finds written by itself is
 * no conflict. Blocks: two commands, or a file's lock for 10 s, or the caller's function. Errors:
 * AGX_ECONFLICT, AGX_EUNCERTAIN, AGX_ESYSTEM, AGX_EBUSY, store errors. */
AGX_API agx_status agx_messages_save(agx_messages* messages);

/** The whole conversation as JSON. */
AGX_API agx_status agx_messages_json(agx_messages* messages, const char** json, size_t* length);

/** How many messages; 0 for an invalid handle. */
AGX_API size_t agx_messages_count(agx_messages* messages);

/** How many parts a message has; 0 if there is no such message. */
AGX_API size_t agx_messages_part_count(agx_messages* messages, size_t message);

/** A message's field, such as "kind" or "model_name": a string as its text, anything else as JSON.
 * *is_json, or NULL, tells which. Outcomes: AGX_NONE. */
AGX_API agx_status agx_messages_field(agx_messages* messages, size_t message, const char* name,
                                      const char** text, size_t* length, int* is_json);

/** The same of a part, such as "part_kind", "content", "tool_name", "tool_call_id", "args".
 * Outcomes: AGX_NONE. */
AGX_API agx_status agx_messages_part_field(agx_messages* messages, size_t message, size_t part,
                                           const char* name, const char** text, size_t* length,
                                           int* is_json);

/** Appends messages: a JSON object, or an array of them, such as agx_run_node_end gives. Errors:
 * AGX_EJSON (an object lacks "kind" or its "parts"), AGX_ETOOBIG. */
AGX_API agx_status agx_messages_append(agx_messages* messages, const char* json, size_t length);

/** Adds a system prompt to the last message if that is a request, else to a new one. Errors:
 * AGX_ETOOBIG. */
AGX_API agx_status agx_messages_append_system(agx_messages* messages, const char* content);
/** Adds what the user says, in the same way. */
AGX_API agx_status agx_messages_append_user(agx_messages* messages, const char* content);
/** Adds a tool's result, in the same way. content: JSON text; NULL is null. Errors: AGX_EJSON,
 * AGX_ETOOBIG. */
AGX_API agx_status agx_messages_append_tool_return(agx_messages* messages, const char* tool_name,
                                                   const char* tool_call_id, const char* content);
/** Asks the model to try again, in the same way, after a tool refused (tool_name NULL: after
 * anything else; tool_call_id may be NULL then). Errors: AGX_ETOOBIG. */
AGX_API agx_status agx_messages_append_retry(agx_messages* messages, const char* tool_name,
                                             const char* tool_call_id, const char* content);

/** The user's prompt, as a title: the content of the first user-prompt part of the first message if
 * that is a string, else "No title". */
AGX_API agx_status agx_messages_title(agx_messages* messages, const char** title, size_t* length);

/** The nodes, as a JSON array: docs/protocol.md says how they are made of messages. */
AGX_API agx_status agx_messages_nodes(agx_messages* messages, const char** json, size_t* length);

/** The body of a request to the model that continues the conversation, with streaming asked for.
 * settings: a JSON object whose members become the body's own, such as "model", "tools" and
 * "max_tokens" (which Anthropic's API requires), and win over those that would be there otherwise;
 * NULL for none. docs/protocol.md says what becomes of each part. Errors: AGX_EJSON,
 * AGX_EUNSUPPORTED (a user's prompt has something that this API has no form for). */
AGX_API agx_status agx_messages_request(agx_messages* messages, agx_model_api api,
                                        const char* settings, const char** json, size_t* length);

/** Closes the conversation; what was not saved is lost. */
AGX_API void agx_messages_close(agx_messages* messages);

/** @} */

#ifdef __cplusplus
}
#endif

#endif /* AGX_H_ */
