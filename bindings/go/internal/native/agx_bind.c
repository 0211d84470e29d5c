#include "agx_bind.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agx_bind_batch.h"

static int64_t token_of(agx_listener* listener) {
  return listener == NULL ? 0 : (int64_t)(intptr_t)agx_listener_data(listener);
}

/* How many events may be taken at once, by the size of those before, so that large ones do not come in
 * far beyond max_bytes. */
static size_t room_for(const agxb_batch* batch, size_t max_events, size_t max_bytes) {
  const size_t first = 4;
  size_t room = first;
  if (batch->count > 0) room = (max_bytes - batch->size) / (batch->size / batch->count + 1) + 1;
  if (room > max_events - batch->count) room = max_events - batch->count;
  return room < AGXB_HELD ? room : AGXB_HELD;
}

agx_status agxb_listen_batch(agx_listener* listener, int64_t timeout_ms, size_t max_events,
                             size_t max_bytes, agxb_batch* batch) {
  agxb_reset(batch);
  if (!agxb_pack_held(batch)) return agxb_settle(batch, 0);
  int64_t token = token_of(listener);
  for (size_t i = 0; i < AGXB_HELD; ++i) batch->held_tokens[i] = token;
  while (batch->count < max_events && batch->size < max_bytes) {
    size_t room = room_for(batch, max_events, max_bytes);
    size_t count = 0;
    agx_status status = agx_listen_next_many(listener, batch->count == 0 ? timeout_ms : 0,
                                             batch->held, room, &count);
    batch->held_count = count;
    if (status != AGX_OK) {
      if (batch->count == 0) return status;
      if (status == AGX_TIMEOUT) break;
      return agxb_settle(batch, agxb_append_outcome(batch, AGXB_OUTCOME, status, token));
    }
    if (!agxb_pack_held(batch)) return agxb_settle(batch, 0);
    if (count < room) break; /* what is at hand is not kept waiting for what the store has */
  }
  return AGX_OK;
}

agx_status agxb_mux_batch(agx_mux* mux, int64_t timeout_ms, size_t max_events, size_t max_bytes,
                          agxb_batch* batch) {
  agxb_reset(batch);
  if (!agxb_pack_held(batch)) return agxb_settle(batch, 0);
  while (batch->count < max_events && batch->size < max_bytes) {
    size_t room = room_for(batch, max_events, max_bytes);
    agx_listener* listeners[AGXB_HELD];
    size_t count = 0;
    agx_status status = agx_mux_next_many(mux, batch->count == 0 ? timeout_ms : 0, listeners,
                                          batch->held, room, &count);
    if (status == AGX_OK) {
      for (size_t i = 0; i < count; ++i) {
        int same = i > 0 && listeners[i] == listeners[i - 1];
        batch->held_tokens[i] = same ? batch->held_tokens[i - 1] : token_of(listeners[i]);
      }
      batch->held_count = count;
      if (!agxb_pack_held(batch)) return agxb_settle(batch, 0);
      if (count < room) break; /* what is at hand is not kept waiting for what the store has */
      continue;
    }
    if (listeners[0] == NULL) {
      if (batch->count == 0) return status;
      if (status == AGX_TIMEOUT) break;
      return agxb_settle(batch, agxb_append_outcome(batch, AGXB_MUX_OUTCOME, status, 0));
    }
    int64_t token = token_of(listeners[0]);
    if (!agxb_append_outcome(batch, AGXB_OUTCOME, status, token)) return agxb_settle(batch, 0);
  }
  return AGX_OK;
}

agx_status agxb_history_batch(agx_session* session, const char* after, const char* before,
                              int reverse, const char* where, size_t max_events,
                              agxb_batch* batch) {
  agxb_reset(batch);
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.after = after;
  options.before = before;
  options.reverse = reverse;
  options.where = where;
  const size_t most = 4096; /* so that a caller's number is not an allocation */
  size_t room = max_events < most ? max_events : most;
  agx_event** events = calloc(room == 0 ? 1 : room, sizeof(events[0]));
  if (events == NULL) return AGX_ENOMEM;
  size_t count = 0;
  agx_status status = agx_history_read(session, &options, events, room, &count);
  int all = 1;
  for (size_t i = 0; i < count; ++i) {
    all = all && agxb_append_event(batch, events[i], 0);
    agx_event_free(events[i]);
  }
  free(events);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_wait_for_batch(agx_session* session, const char* where, int64_t timeout_ms,
                               agxb_batch* batch) {
  agxb_reset(batch);
  if (!agxb_pack_held(batch)) return AGX_ENOMEM;
  if (batch->count > 0) return AGX_OK;
  batch->held_tokens[0] = 0;
  agx_status status = agx_wait_for(session, where, timeout_ms, &batch->held[0]);
  if (status != AGX_OK) return status;
  batch->held_count = 1;
  return agxb_pack_held(batch) ? AGX_OK : AGX_ENOMEM;
}

/* Reads one text and its NUL; 0 if the buffer does not hold it. */
static int take_text(const char** at, const char* end, uint32_t length, const char** out) {
  uint32_t stored = length == UINT32_MAX ? 0 : length;
  if ((size_t)(end - *at) < (size_t)stored + 1 || (*at)[stored] != '\0') return 0;
  *out = length == UINT32_MAX ? NULL : *at;
  *at += (size_t)stored + 1;
  return 1;
}

/* What packs of new events hold; NULL, and *status says why. To be freed. */
static agx_new_event* take_events(const void* events, size_t size, size_t count,
                                  agx_status* status) {
  const char* at = events;
  const char* end = at + size;
  *status = AGX_EINVAL;
  if (count > size / sizeof(uint32_t[3])) return NULL;
  *status = AGX_ENOMEM;
  agx_new_event* list = calloc(count == 0 ? 1 : count, sizeof(list[0]));
  if (list == NULL) return NULL;
  *status = AGX_OK;
  for (size_t i = 0; i < count; ++i) {
    uint32_t lengths[3];
    int fits = (size_t)(end - at) >= sizeof(lengths);
    if (fits) {
      memcpy(lengths, at, sizeof(lengths));
      at += sizeof(lengths);
      fits = take_text(&at, end, lengths[0], &list[i].type) &&
             take_text(&at, end, lengths[1], &list[i].origin) &&
             take_text(&at, end, lengths[2], &list[i].body);
    }
    if (!fits) {
      free(list);
      *status = AGX_EINVAL;
      return NULL;
    }
  }
  return list;
}

agx_status agxb_add_many(agx_session* session, const void* events, size_t size, size_t count,
                         char* ids, size_t* added) {
  *added = 0;
  agx_status status;
  agx_new_event* list = take_events(events, size, count, &status);
  if (list == NULL) return status;
  status = agx_add_many(session, list, count, ids, added);
  free(list);
  return status;
}

/* Pairs events with the handles of their sessions; NULL if there is no memory. To be freed. */
static agx_addition* take_additions(const void* sessions, const agx_new_event* events,
                                    size_t count) {
  agx_addition* additions = calloc(count == 0 ? 1 : count, sizeof(additions[0]));
  for (size_t i = 0; additions != NULL && i < count; ++i) {
    uint64_t handle;
    memcpy(&handle, (const char*)sessions + i * sizeof(handle), sizeof(handle));
    additions[i].session = (agx_session*)(uintptr_t)handle;
    additions[i].event = events[i];
  }
  return additions;
}

agx_status agxb_add_each(const void* sessions, size_t sessions_size, const void* events,
                         size_t size, size_t count, char* ids, char* statuses) {
  agx_status status = AGX_EINVAL;
  agx_new_event* list = NULL;
  agx_addition* additions = NULL;
  if (sessions_size == count * sizeof(uint64_t)) list = take_events(events, size, count, &status);
  if (list != NULL) {
    additions = take_additions(sessions, list, count);
    status = additions != NULL ? agx_add_each(additions, count) : AGX_ENOMEM;
  }
  for (size_t i = 0; i < count; ++i) {
    int32_t code = additions != NULL ? additions[i].status : status;
    memcpy(statuses + i * sizeof(code), &code, sizeof(code));
    ids[i * AGX_ID_SIZE] = '\0';
    if (additions != NULL) memcpy(ids + i * AGX_ID_SIZE, additions[i].id, AGX_ID_SIZE);
  }
  free(additions);
  free(list);
  return status;
}

agx_status agxb_history_replace(agx_session* session, const void* events, size_t size, size_t count,
                                uint64_t* removed) {
  agx_status status;
  agx_new_event* list = take_events(events, size, count, &status);
  if (list == NULL) return status;
  status = agx_history_replace(session, list, count, removed);
  free(list);
  return status;
}

agx_status agxb_add_checked(agx_session* session, const void* events, size_t size, size_t count,
                            const char* name, const char* from, const char* to) {
  agx_status status;
  agx_new_event* list = take_events(events, size, count, &status);
  if (list == NULL) return status;
  status = agx_add_checked(session, list, count, name, from, to);
  free(list);
  return status;
}

/* --- The log */

enum { kLines = 256, kLineSize = 512 };

struct agxb_log {
  pthread_mutex_t mutex;
  size_t first;
  size_t count;
  int levels[kLines];
  char lines[kLines][kLineSize];
};

agxb_log* agxb_log_new(void) {
  agxb_log* log = calloc(1, sizeof(*log));
  if (log != NULL) pthread_mutex_init(&log->mutex, NULL);
  return log;
}

void agxb_log_free(agxb_log* log) {
  if (log == NULL) return;
  pthread_mutex_destroy(&log->mutex);
  free(log);
}

static void copy_line(char* out, size_t room, const char* line) {
  size_t length = strlen(line);
  if (length >= room) {
    length = room - 1;
    /* Not in the middle of a character. */
    while (length > 0 && ((unsigned char)line[length] & 0xC0) == 0x80) --length;
  }
  memcpy(out, line, length);
  out[length] = '\0';
}

static void keep_line(void* data, agx_log_level level, const char* message) {
  agxb_log* log = data;
  pthread_mutex_lock(&log->mutex);
  size_t at = (log->first + log->count) % kLines;
  if (log->count == kLines) {
    log->first = (log->first + 1) % kLines;
  } else {
    ++log->count;
  }
  log->levels[at] = level;
  copy_line(log->lines[at], kLineSize, message);
  pthread_mutex_unlock(&log->mutex);
}

int agxb_log_take(agxb_log* log, int* level, char* text, size_t room) {
  if (room == 0) return 0;
  pthread_mutex_lock(&log->mutex);
  int any = log->count > 0;
  if (any) {
    *level = log->levels[log->first];
    copy_line(text, room, log->lines[log->first]);
    log->first = (log->first + 1) % kLines;
    --log->count;
  }
  pthread_mutex_unlock(&log->mutex);
  return any;
}

/* --- Options */

agx_status agxb_open(const char* url, int log_level, agxb_log* log, agx_client** client) {
  agx_options options = AGX_OPTIONS_INIT;
  options.log_level = log_level;
  if (log != NULL) {
    options.log = keep_line;
    options.log_data = log;
  }
  return agx_open(url, &options, client);
}

agx_status agxb_stream_open(agx_client* client, const char* name, const char* format,
                            int64_t max_length, int64_t expire_ms, const char* prefix, int tagged,
                            agx_session** session) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = format;
  options.max_length = max_length;
  options.expire_ms = expire_ms;
  options.prefix = prefix;
  options.tagged = tagged;
  return agx_stream_open(client, name, &options, session);
}

agx_status agxb_start(agx_session* session, int take_over, int detached, int64_t lease_ms,
                      const char* origin, int keep) {
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.take_over = take_over;
  options.detached = detached;
  options.lease_ms = lease_ms;
  options.origin = origin;
  options.keep = keep;
  return agx_start(session, &options);
}

agx_status agxb_listen(agx_session* session, const char* after, int64_t wait_ms, int64_t timeout_ms,
                       int hand_on_end, int64_t limit, const char* where, int64_t token,
                       agx_listener** listener) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = after;
  options.wait_ms = wait_ms;
  options.timeout_ms = timeout_ms;
  options.hand_on_end = hand_on_end;
  options.limit = limit;
  options.where = where;
  agx_status status = agx_listen(session, &options, listener);
  if (status == AGX_OK) status = agx_listener_set_data(*listener, (void*)(intptr_t)token);
  return status;
}

agx_status agxb_run_begin(agx_session* session, int64_t coalesce_ms, int64_t coalesce_bytes,
                          int take_over, int64_t lease_ms, const char* start_origin,
                          const char* origin, int64_t grace_ms, agx_run** run) {
  agx_start_options start = AGX_START_OPTIONS_INIT;
  start.take_over = take_over;
  start.lease_ms = lease_ms;
  start.origin = start_origin;
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.coalesce_ms = coalesce_ms;
  options.coalesce_bytes = coalesce_bytes;
  options.start = &start;
  options.origin = origin;
  options.grace_ms = grace_ms;
  return agx_run_begin(session, &options, run);
}

agx_status agxb_history_info(agx_session* session, char* ids, int64_t* numbers) {
  agx_history info = AGX_HISTORY_INIT;
  agx_status status = agx_history_info(session, &info);
  memcpy(ids, info.first_id, AGX_ID_SIZE);
  memcpy(ids + AGX_ID_SIZE, info.last_id, AGX_ID_SIZE);
  memcpy(ids + (size_t)2 * AGX_ID_SIZE, info.last_generated_id, AGX_ID_SIZE);
  numbers[0] = (int64_t)info.length;
  numbers[1] = info.live;
  numbers[2] = info.expire_ms;
  numbers[3] = info.groups;
  return status;
}
