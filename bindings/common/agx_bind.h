/* What the bindings add to agx.h so that a call into C is worth its price: options as plain
 * arguments, events by the batch in one buffer, a log that is fetched instead of called back, and
 * one function of the language's for everything that must be called back.
 *
 * It uses agx.h and nothing else of ours, and is compiled into each binding's own native part.
 * Functions are as thread-safe as what they call; a batch is used by one thread at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AGX_BIND_H_
#define AGX_BIND_H_

#include <agx.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Batches
 *
 * A batch is one buffer of records, each aligned to 8 bytes, in the machine's byte order:
 *
 *     offset 0   int32   kind, as below
 *            4   int32   status; of all but outcomes AGX_OK
 *            8   int64   token: what agx_listener_set_data gave the listener
 *           16   uint32  length of the id         20   uint32  of the type
 *           24   uint32  of the origin            28   uint32  of the body, or of a message
 *           32   uint32  length of what is extra  36   uint32  0
 *           40   the four texts, one behind the other, without NULs; at the next multiple of 8 what
 *                is extra
 *
 * The next record begins at the next multiple of 8. Extra are, of an event that has other fields than
 * type, origin and body, all its fields, each as uint32 length of the name, uint32 of the value, and
 * both texts without NULs or padding; of what tells of something, int64 numbers. */

#define AGXB_EVENT 0
#define AGXB_OUTCOME \
  1 /* of a listener; its id and body are agx_last_error_entry and agx_last_error */
#define AGXB_MUX_OUTCOME 2 /* of the mux itself; likewise */
/* Follows the event, which is the dead letter: id and type: the original's id and stream; body: the
 * reason. Numbers: attempts, when it died. */
#define AGXB_DEAD_LETTER 3
#define AGXB_PENDING 4 /* id; type: the consumer. Numbers: idle ms, attempts */
#define AGXB_GROUP \
  5 /* id: the last that was given out; type: name. Numbers: consumers, pending, lag */
#define AGXB_CONSUMER 6 /* type: name. Numbers: pending, idle ms */

#define AGXB_HEADER 40

typedef struct agxb_batch agxb_batch;

/* NULL if there is no memory. */
agxb_batch* agxb_batch_new(void);
void agxb_batch_free(agxb_batch* batch);
/* The records, until the next call that fills the batch. */
const void* agxb_batch_data(const agxb_batch* batch);
size_t agxb_batch_size(const agxb_batch* batch);
/* How many records. */
size_t agxb_batch_count(const agxb_batch* batch);

/* Empties the batch, and fills it with what is there: waits for the first event only, and stops at
 * max_events, or at about max_bytes. AGX_OK: there is a record. An outcome that comes behind events
 * is the last record. No event is lost on AGX_ENOMEM: it is in the next batch. */
agx_status agxb_listen_batch(agx_listener* listener, int64_t timeout_ms, size_t max_events,
                             size_t max_bytes, agxb_batch* batch);
agx_status agxb_mux_batch(agx_mux* mux, int64_t timeout_ms, size_t max_events, size_t max_bytes,
                          agxb_batch* batch);
/* As agx_history_read. */
agx_status agxb_history_batch(agx_session* session, const char* after, const char* before,
                              int reverse, const char* where, size_t max_events, agxb_batch* batch);
/* One event. */
agx_status agxb_wait_for_batch(agx_session* session, const char* where, int64_t timeout_ms,
                               agxb_batch* batch);

/* --- Adding
 *
 * events: `count` times uint32 length of type, of origin, of body (UINT32_MAX: none), then these
 * texts, each with a NUL behind it (that of no body too); without padding. */
agx_status agxb_add_many(agx_session* session, const void* events, size_t size, size_t count,
                         char* ids, size_t* added);
/* As agx_add_each. sessions: `count` handles, uint64 each. ids: room for count * AGX_ID_SIZE bytes;
 * statuses: for count int32. */
agx_status agxb_add_each(const void* sessions, size_t sessions_size, const void* events,
                         size_t size, size_t count, char* ids, char* statuses);
/* As agx_history_replace and agx_add_checked. */
agx_status agxb_history_replace(agx_session* session, const void* events, size_t size, size_t count,
                                uint64_t* removed);
agx_status agxb_add_checked(agx_session* session, const void* events, size_t size, size_t count,
                            const char* name, const char* from, const char* to);

/* --- Groups
 *
 * ids: `count` of them, each with a NUL behind it; without padding. */
agx_status agxb_group_open(agx_session* session, const char* group, const char* consumer,
                           const char* start, int must_exist, int recreate,
                           const char* dead_letters, agx_group** handle);
agx_status agxb_group_batch(agx_group* group, int source, int64_t timeout_ms, size_t max_events,
                            agxb_batch* batch);
agx_status agxb_group_ack(agx_group* group, const void* ids, size_t size, size_t count,
                          uint64_t* acknowledged);
agx_status agxb_group_claim(agx_group* group, int64_t min_idle_ms, const void* ids, size_t size,
                            size_t count, agxb_batch* batch);
/* cursor: room for AGX_ID_SIZE bytes. */
agx_status agxb_group_autoclaim(agx_group* group, int64_t min_idle_ms, char* cursor,
                                size_t max_events, agxb_batch* batch);
/* ids: room for 2 * AGX_ID_SIZE bytes: the lowest, the highest. numbers: room for 2: how many are
 * pending, for how many consumers. */
agx_status agxb_group_pending(agx_group* group, char* ids, int64_t* numbers);
/* AGXB_PENDING records. */
agx_status agxb_group_pending_batch(agx_group* group, const char* consumer, int64_t min_idle_ms,
                                    const char* after, size_t max_events, agxb_batch* batch);
/* AGXB_GROUP and AGXB_CONSUMER records: of all that there are. */
agx_status agxb_group_list(agx_session* session, agxb_batch* batch);
agx_status agxb_group_consumers(agx_group* group, agxb_batch* batch);
/* ids: room for AGX_ID_SIZE bytes: the last that was given out. numbers: room for 6: length,
 * pending, lag, consumers, dead letters, age of the oldest pending in ms. */
agx_status agxb_group_health(agx_group* group, char* ids, int64_t* numbers);
/* Pairs of an event and an AGXB_DEAD_LETTER record. */
agx_status agxb_group_dead_letters(agx_group* group, const char* after, size_t max_letters,
                                   agxb_batch* batch);
agx_status agxb_group_replay(agx_group* group, const void* ids, size_t size, size_t count,
                             uint64_t* replayed);
agx_status agxb_group_delete_dead_letters(agx_group* group, const void* ids, size_t size,
                                          size_t count, uint64_t* deleted);

/* --- Calls back
 *
 * A language has one function that takes all calls. It must not throw or unwind: what its user's
 * function throws it keeps, and hands to the caller of what called here, in the same thread. */

#define AGXB_HANDLE 0    /* of agxb_group_process */
#define AGXB_INTERCEPT 1 /* of agxb_intercept */
#define AGXB_TELL 2      /* of agxb_subscribe; what it returns does not count */

/* record: one record, valid during the call, whose token is what was registered, and whose status and
 * body are an outcome's if it is not an event. handle: the agx_group*, agx_intercepted* or
 * agx_subscription*. attempt: of AGXB_HANDLE. Returns an agx_status. */
typedef int32_t (*agxb_function)(int32_t kind, void* handle, const void* record, size_t size,
                                 int64_t attempt);
/* Before any of the functions below is used; not while calls are under way. */
void agxb_set_function(agxb_function function);

agx_status agxb_group_process(agx_group* group, int64_t max_retries, int64_t claim_idle_ms,
                              int64_t count, int64_t backoff_ms, int64_t backoff_max_ms,
                              int64_t outage_ms, int64_t timeout_ms, int64_t limit, int64_t token);
agx_status agxb_intercept(agx_session* session, const char* where, int64_t token,
                          agx_interceptor** interceptor);
agx_status agxb_subscribe(agx_session* session, const char* where, const char* after,
                          int64_t wait_ms, int64_t timeout_ms, int hand_on_end, int64_t limit,
                          int64_t queue, int64_t queue_bytes, int64_t token,
                          agx_subscription** subscription);

/* --- Options as arguments. What is not here is a parameter of the URL. */

/* Keeps the newest lines of a client's log until they are fetched. */
typedef struct agxb_log agxb_log;
agxb_log* agxb_log_new(void);
/* After the client was closed. */
void agxb_log_free(agxb_log* log);
/* Fetches one line, as much of it as fits, and sets its agx_log_level; 0 if there is none. */
int agxb_log_take(agxb_log* log, int* level, char* text, size_t room);

/* log: NULL for none. */
agx_status agxb_open(const char* url, int log_level, agxb_log* log, agx_client** client);
agx_status agxb_stream_open(agx_client* client, const char* name, const char* format,
                            int64_t max_length, int64_t expire_ms, const char* prefix, int tagged,
                            agx_session** session);
agx_status agxb_start(agx_session* session, int take_over, int detached, int64_t lease_ms,
                      const char* origin, int keep);
agx_status agxb_listen(agx_session* session, const char* after, int64_t wait_ms, int64_t timeout_ms,
                       int hand_on_end, int64_t limit, const char* where, int64_t token,
                       agx_listener** listener);
agx_status agxb_run_begin(agx_session* session, int64_t coalesce_ms, int64_t coalesce_bytes,
                          int take_over, int64_t lease_ms, const char* start_origin,
                          const char* origin, int64_t grace_ms, agx_run** run);
/* ids: room for 3 * AGX_ID_SIZE bytes: the first, the last, the last generated. numbers: room for 4:
 * length, live, expire_ms, groups. */
agx_status agxb_history_info(agx_session* session, char* ids, int64_t* numbers);

#ifdef __cplusplus
}
#endif

#endif /* AGX_BIND_H_ */
