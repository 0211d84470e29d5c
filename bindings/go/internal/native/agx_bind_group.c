#include <stdlib.h>
#include <string.h>

#include "agx_bind_batch.h"

/* Consumer groups, and what is called back. */

enum { kMost = 4096 }; /* so that a caller's number is not an allocation */

static size_t most(size_t wanted) { return wanted < kMost ? wanted : kMost; }

/* A place for `count` things, which may be none. */
static void* room_for(size_t count, size_t size) { return calloc(count == 0 ? 1 : count, size); }

/* The ids that lie one behind another, as an array to be freed; NULL, and *status says why. */
static const char** take_ids(const char* at, size_t size, size_t count, agx_status* status) {
  const char* end = at + size;
  *status = AGX_EINVAL;
  if (count > size) return NULL;
  *status = AGX_ENOMEM;
  const char** ids = room_for(count, sizeof(ids[0]));
  if (ids == NULL) return NULL;
  *status = AGX_OK;
  for (size_t i = 0; i < count; ++i) {
    const char* nul = memchr(at, '\0', (size_t)(end - at));
    if (nul == NULL) {
      free(ids);
      *status = AGX_EINVAL;
      return NULL;
    }
    ids[i] = at;
    at = nul + 1;
  }
  return ids;
}

/* Events that are the batch's from now on. */
static agx_status keep_events(agxb_batch* batch, agx_event** events, size_t count,
                              agx_status status) {
  int all = 1;
  for (size_t i = 0; i < count; ++i) {
    all = all && agxb_append_event(batch, events[i], 0);
    agx_event_free(events[i]);
  }
  free(events);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_group_open(agx_session* session, const char* group, const char* consumer,
                           const char* start, int must_exist, int recreate,
                           const char* dead_letters, agx_group** handle) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = consumer;
  options.start = start;
  options.must_exist = must_exist;
  options.recreate = recreate;
  options.dead_letters = dead_letters;
  return agx_group_open(session, group, &options, handle);
}

agx_status agxb_group_batch(agx_group* group, int source, int64_t timeout_ms, size_t max_events,
                            agxb_batch* batch) {
  agxb_reset(batch);
  size_t room = most(max_events);
  agx_event** events = room_for(room, sizeof(events[0]));
  if (events == NULL) return AGX_ENOMEM;
  size_t count = 0;
  agx_status status =
      agx_group_read(group, (agx_group_source)source, timeout_ms, events, room, &count);
  return keep_events(batch, events, count, status);
}

agx_status agxb_group_ack(agx_group* group, const void* ids, size_t size, size_t count,
                          uint64_t* acknowledged) {
  agx_status status;
  const char** list = take_ids(ids, size, count, &status);
  if (list == NULL) return status;
  status = agx_group_ack(group, list, count, acknowledged);
  free(list);
  return status;
}

agx_status agxb_group_claim(agx_group* group, int64_t min_idle_ms, const void* ids, size_t size,
                            size_t count, agxb_batch* batch) {
  agxb_reset(batch);
  agx_status status;
  const char** list = take_ids(ids, size, count, &status);
  if (list == NULL) return status;
  agx_event** events = room_for(count, sizeof(events[0]));
  size_t claimed = 0;
  status = AGX_ENOMEM;
  if (events != NULL) {
    status = agx_group_claim(group, min_idle_ms, list, count, events, &claimed);
    status = keep_events(batch, events, claimed, status);
  }
  free(list);
  return status;
}

agx_status agxb_group_autoclaim(agx_group* group, int64_t min_idle_ms, char* cursor,
                                size_t max_events, agxb_batch* batch) {
  agxb_reset(batch);
  size_t room = most(max_events);
  agx_event** events = room_for(room, sizeof(events[0]));
  if (events == NULL) return AGX_ENOMEM;
  size_t count = 0;
  agx_status status = agx_group_autoclaim(group, min_idle_ms, cursor, events, room, &count);
  return keep_events(batch, events, count, status);
}

agx_status agxb_group_pending(agx_group* group, char* ids, int64_t* numbers) {
  agx_pending pending = AGX_PENDING_INIT;
  agx_status status = agx_group_pending(group, &pending);
  memcpy(ids, pending.lowest_id, AGX_ID_SIZE);
  memcpy(ids + AGX_ID_SIZE, pending.highest_id, AGX_ID_SIZE);
  numbers[0] = (int64_t)pending.count;
  numbers[1] = (int64_t)pending.consumers;
  return status;
}

agx_status agxb_group_pending_batch(agx_group* group, const char* consumer, int64_t min_idle_ms,
                                    const char* after, size_t max_events, agxb_batch* batch) {
  agxb_reset(batch);
  size_t room = most(max_events);
  agx_pending_event* events = room_for(room, sizeof(events[0]));
  if (events == NULL) return AGX_ENOMEM;
  size_t count = 0;
  agx_status status =
      agx_group_pending_events(group, consumer, min_idle_ms, after, events, room, &count);
  int all = 1;
  for (size_t i = 0; i < count; ++i) {
    agxb_text texts[4] = {agxb_text_of(events[i].id), agxb_text_of(events[i].consumer)};
    int64_t numbers[2] = {events[i].idle_ms, events[i].attempts};
    all = all && agxb_append(batch, AGXB_PENDING, 0, texts, numbers, 2);
  }
  free(events);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_group_list(agx_session* session, agxb_batch* batch) {
  agxb_reset(batch);
  agx_group_info* groups = NULL;
  size_t room = 0;
  size_t count = 16;
  agx_status status = AGX_OK;
  /* More may have come since they were counted. */
  while (status == AGX_OK && count > room) {
    room = count;
    free(groups);
    groups = room_for(room, sizeof(groups[0]));
    if (groups == NULL) return AGX_ENOMEM;
    status = agx_group_list(session, groups, room, &count);
  }
  int all = 1;
  for (size_t i = 0; status == AGX_OK && i < count; ++i) {
    agxb_text texts[4] = {agxb_text_of(groups[i].last_delivered_id), agxb_text_of(groups[i].name)};
    int64_t numbers[3] = {(int64_t)groups[i].consumers, (int64_t)groups[i].pending, groups[i].lag};
    all = all && agxb_append(batch, AGXB_GROUP, 0, texts, numbers, 3);
  }
  free(groups);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_group_consumers(agx_group* group, agxb_batch* batch) {
  agxb_reset(batch);
  agx_consumer_info* consumers = NULL;
  size_t room = 0;
  size_t count = 16;
  agx_status status = AGX_OK;
  while (status == AGX_OK && count > room) {
    room = count;
    free(consumers);
    consumers = room_for(room, sizeof(consumers[0]));
    if (consumers == NULL) return AGX_ENOMEM;
    status = agx_group_consumers(group, consumers, room, &count);
  }
  int all = 1;
  for (size_t i = 0; status == AGX_OK && i < count; ++i) {
    agxb_text texts[4] = {{NULL, 0}, agxb_text_of(consumers[i].name)};
    int64_t numbers[2] = {(int64_t)consumers[i].pending, consumers[i].idle_ms};
    all = all && agxb_append(batch, AGXB_CONSUMER, 0, texts, numbers, 2);
  }
  free(consumers);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_group_health(agx_group* group, char* ids, int64_t* numbers) {
  agx_health health = AGX_HEALTH_INIT;
  agx_status status = agx_group_health(group, &health);
  memcpy(ids, health.last_delivered_id, AGX_ID_SIZE);
  numbers[0] = (int64_t)health.length;
  numbers[1] = (int64_t)health.pending;
  numbers[2] = health.lag;
  numbers[3] = (int64_t)health.consumers;
  numbers[4] = (int64_t)health.dead_letters;
  numbers[5] = health.oldest_pending_ms;
  return status;
}

static int append_letter(agxb_batch* batch, const agx_dead_letter* letter) {
  agxb_text texts[4] = {agxb_text_of(letter->original_id),
                        agxb_text_of(letter->original_stream),
                        {NULL, 0},
                        agxb_text_of(letter->reason)};
  int64_t numbers[2] = {letter->attempts, letter->time_ms};
  return agxb_append_event(batch, letter->event, 0) &&
         agxb_append(batch, AGXB_DEAD_LETTER, 0, texts, numbers, 2);
}

agx_status agxb_group_dead_letters(agx_group* group, const char* after, size_t max_letters,
                                   agxb_batch* batch) {
  agxb_reset(batch);
  size_t room = most(max_letters);
  agx_dead_letter* letters = room_for(room, sizeof(letters[0]));
  if (letters == NULL) return AGX_ENOMEM;
  size_t count = 0;
  agx_status status = agx_group_dead_letters(group, after, letters, room, &count);
  int all = 1;
  for (size_t i = 0; i < count; ++i) {
    all = all && append_letter(batch, &letters[i]);
    agx_event_free(letters[i].event);
  }
  free(letters);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_group_replay(agx_group* group, const void* ids, size_t size, size_t count,
                             uint64_t* replayed) {
  agx_status status;
  const char** list = take_ids(ids, size, count, &status);
  if (list == NULL) return status;
  status = agx_group_replay(group, list, count, replayed);
  free(list);
  return status;
}

agx_status agxb_group_delete_dead_letters(agx_group* group, const void* ids, size_t size,
                                          size_t count, uint64_t* deleted) {
  agx_status status;
  const char** list = take_ids(ids, size, count, &status);
  if (list == NULL) return status;
  status = agx_group_delete_dead_letters(group, list, count, deleted);
  free(list);
  return status;
}

/* --- Calls back */

static agxb_function called;

void agxb_set_function(agxb_function function) { called = function; }

static agx_status call(int32_t kind, void* handle, const agxb_batch* batch, int packed,
                       int64_t attempt) {
  if (!packed) return AGX_ENOMEM;
  return (agx_status)called(kind, handle, batch->data, batch->size, attempt);
}

typedef struct process {
  agx_group* group;
  int64_t token;
  agxb_batch batch; /* calls come one at a time */
} process;

static agx_status handle(const agx_event* event, int64_t attempt, void* user_data) {
  process* process = user_data;
  agxb_reset(&process->batch);
  int packed = agxb_append_event(&process->batch, event, process->token);
  return call(AGXB_HANDLE, process->group, &process->batch, packed, attempt);
}

agx_status agxb_group_process(agx_group* group, int64_t max_retries, int64_t claim_idle_ms,
                              int64_t count, int64_t backoff_ms, int64_t backoff_max_ms,
                              int64_t outage_ms, int64_t timeout_ms, int64_t limit, int64_t token) {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.max_retries = max_retries;
  options.claim_idle_ms = claim_idle_ms;
  options.count = count;
  options.backoff_ms = backoff_ms;
  options.backoff_max_ms = backoff_max_ms;
  options.outage_ms = outage_ms;
  options.timeout_ms = timeout_ms;
  options.limit = limit;
  process process = {group, token, {0}};
  agx_status status = agx_group_process(group, &options, handle, &process);
  agxb_batch_clear(&process.batch);
  return status;
}

static void* as_data(int64_t token) { return (void*)(intptr_t)token; }

static agx_status intercept(agx_intercepted* event, void* user_data) {
  agxb_batch batch = {0};
  agxb_text texts[4] = {{NULL, 0}};
  texts[1].bytes = agx_intercepted_type(event, &texts[1].length);
  texts[2].bytes = agx_intercepted_origin(event, &texts[2].length);
  texts[3].bytes = agx_intercepted_body(event, &texts[3].length);
  int packed = agxb_append(&batch, AGXB_EVENT, (int64_t)(intptr_t)user_data, texts, NULL, 0);
  agx_status status = call(AGXB_INTERCEPT, event, &batch, packed, 0);
  agxb_batch_clear(&batch);
  return status;
}

agx_status agxb_intercept(agx_session* session, const char* where, int64_t token,
                          agx_interceptor** interceptor) {
  return agx_intercept(session, where, intercept, as_data(token), interceptor);
}

static void tell(agx_subscription* subscription, agx_status status, const agx_event* event,
                 void* user_data) {
  agxb_batch batch = {0};
  int64_t token = (int64_t)(intptr_t)user_data;
  int packed = event != NULL ? agxb_append_event(&batch, event, token)
                             : agxb_append_outcome(&batch, AGXB_OUTCOME, status, token);
  call(AGXB_TELL, subscription, &batch, packed, 0);
  agxb_batch_clear(&batch);
}

agx_status agxb_subscribe(agx_session* session, const char* where, const char* after,
                          int64_t wait_ms, int64_t timeout_ms, int hand_on_end, int64_t limit,
                          int64_t queue, int64_t queue_bytes, int64_t token,
                          agx_subscription** subscription) {
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.after = after;
  options.wait_ms = wait_ms;
  options.timeout_ms = timeout_ms;
  options.hand_on_end = hand_on_end;
  options.limit = limit;
  options.queue = queue;
  options.queue_bytes = queue_bytes;
  return agx_subscribe(session, where, &options, tell, as_data(token), subscription);
}
