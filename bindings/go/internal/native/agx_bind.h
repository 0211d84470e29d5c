/* What the bindings add to agx.h so that a call into C is worth its price: options as plain
 * arguments, events by the batch in one buffer, a log that is fetched instead of called back.
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
 *     offset 0   int32   kind: AGXB_EVENT, AGXB_OUTCOME, AGXB_MUX_OUTCOME
 *            4   int32   status; of an event AGX_OK
 *            8   int64   token: what agx_listener_set_data gave the listener
 *           16   uint32  length of the id         20   uint32  of the type
 *           24   uint32  of the origin            28   uint32  of the body, or of a message
 *           32   the four texts, one behind the other, without NULs
 *
 * The next record begins at the next multiple of 8. */

#define AGXB_EVENT 0
#define AGXB_OUTCOME 1     /* of a listener; its body is agx_last_error */
#define AGXB_MUX_OUTCOME 2 /* of the mux itself; likewise */

#define AGXB_HEADER 32

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
agx_status agxb_start(agx_session* session, int take_over, int detached, int64_t lease_ms,
                      const char* origin);
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
