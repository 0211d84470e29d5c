#include "agx_bind.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { kHeld = 64 };

struct agxb_batch {
  char* data;
  size_t size;
  size_t capacity;
  size_t count;
  /* Taken from a listener or mux, and not in the buffer for lack of memory. */
  agx_event* held[kHeld];
  int64_t held_token;
  size_t held_count;
};

agxb_batch* agxb_batch_new(void) { return calloc(1, sizeof(agxb_batch)); }

static void drop_held(agxb_batch* batch, size_t count) {
  batch->held_count -= count;
  memmove(batch->held, batch->held + count, batch->held_count * sizeof(batch->held[0]));
}

void agxb_batch_free(agxb_batch* batch) {
  if (batch == NULL) return;
  for (size_t i = 0; i < batch->held_count; ++i) agx_event_free(batch->held[i]);
  free(batch->data);
  free(batch);
}

const void* agxb_batch_data(const agxb_batch* batch) { return batch->data; }
size_t agxb_batch_size(const agxb_batch* batch) { return batch->size; }
size_t agxb_batch_count(const agxb_batch* batch) { return batch->count; }

/* A buffer that once held a large body is not kept for ever. */
static void reset(agxb_batch* batch) {
  const size_t kept = (size_t)4 << 20;
  batch->size = 0;
  batch->count = 0;
  if (batch->capacity > kept) {
    free(batch->data);
    batch->data = NULL;
    batch->capacity = 0;
  }
}

static int grow(agxb_batch* batch, size_t wanted) {
  size_t capacity = batch->capacity == 0 ? 4096 : batch->capacity;
  while (capacity < wanted) capacity *= 2;
  char* data = realloc(batch->data, capacity);
  if (data == NULL) return 0;
  batch->data = data;
  batch->capacity = capacity;
  return 1;
}

typedef struct text {
  const char* bytes;
  size_t length;
} text;

static int append(agxb_batch* batch, int32_t kind, agx_status status, int64_t token,
                  const text texts[4]) {
  size_t at = (batch->size + 7) & ~(size_t)7;
  size_t size = AGXB_HEADER;
  for (int i = 0; i < 4; ++i) size += texts[i].length;
  if (at + size > batch->capacity && !grow(batch, at + size)) return 0;
  int32_t numbers[2] = {kind, status};
  uint32_t lengths[4];
  for (int i = 0; i < 4; ++i) lengths[i] = (uint32_t)texts[i].length;
  memset(batch->data + batch->size, 0, at - batch->size);
  char* out = batch->data + at;
  memcpy(out, numbers, sizeof(numbers));
  memcpy(out + 8, &token, sizeof(token));
  memcpy(out + 16, lengths, sizeof(lengths));
  out += AGXB_HEADER;
  for (int i = 0; i < 4; ++i) {
    if (texts[i].length != 0) memcpy(out, texts[i].bytes, texts[i].length);
    out += texts[i].length;
  }
  batch->size = at + size;
  ++batch->count;
  return 1;
}

static int append_event(agxb_batch* batch, const agx_event* event, int64_t token) {
  text texts[4];
  texts[0].bytes = agx_event_id(event, &texts[0].length);
  texts[1].bytes = agx_event_type(event, &texts[1].length);
  texts[2].bytes = agx_event_origin(event, &texts[2].length);
  texts[3].bytes = agx_event_body(event, &texts[3].length);
  return append(batch, AGXB_EVENT, AGX_OK, token, texts);
}

static int append_outcome(agxb_batch* batch, int32_t kind, agx_status status, int64_t token) {
  const char* message = agx_last_error();
  text texts[4] = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {message, strlen(message)}};
  return append(batch, kind, status, token, texts);
}

/* Moves what is held into the buffer. 0: there is no memory for all of it. */
static int pack_held(agxb_batch* batch) {
  size_t packed = 0;
  while (packed < batch->held_count &&
         append_event(batch, batch->held[packed], batch->held_token)) {
    agx_event_free(batch->held[packed++]);
  }
  drop_held(batch, packed);
  return batch->held_count == 0;
}

/* What a batch answers that could not take all. */
static agx_status settle(const agxb_batch* batch, int all) {
  return all || batch->count > 0 ? AGX_OK : AGX_ENOMEM;
}

agx_status agxb_listen_batch(agx_listener* listener, int64_t timeout_ms, size_t max_events,
                             size_t max_bytes, agxb_batch* batch) {
  reset(batch);
  if (!pack_held(batch)) return settle(batch, 0);
  batch->held_token = (int64_t)(intptr_t)agx_listener_data(listener);
  while (batch->count < max_events && batch->size < max_bytes) {
    size_t room = max_events - batch->count;
    size_t count = 0;
    agx_status status = agx_listen_next_many(listener, batch->count == 0 ? timeout_ms : 0,
                                             batch->held, room < kHeld ? room : kHeld, &count);
    batch->held_count = count;
    if (status != AGX_OK) {
      if (batch->count == 0) return status;
      if (status == AGX_TIMEOUT) break;
      return settle(batch, append_outcome(batch, AGXB_OUTCOME, status, batch->held_token));
    }
    if (!pack_held(batch)) return settle(batch, 0);
  }
  return AGX_OK;
}

agx_status agxb_mux_batch(agx_mux* mux, int64_t timeout_ms, size_t max_events, size_t max_bytes,
                          agxb_batch* batch) {
  reset(batch);
  if (!pack_held(batch)) return settle(batch, 0);
  while (batch->count < max_events && batch->size < max_bytes) {
    agx_listener* listener = NULL;
    agx_event* event = NULL;
    agx_status status = agx_mux_next(mux, batch->count == 0 ? timeout_ms : 0, &listener, &event);
    int64_t token = listener == NULL ? 0 : (int64_t)(intptr_t)agx_listener_data(listener);
    if (status == AGX_OK) {
      batch->held[0] = event;
      batch->held_token = token;
      batch->held_count = 1;
      if (!pack_held(batch)) return settle(batch, 0);
      continue;
    }
    if (listener == NULL) {
      if (batch->count == 0) return status;
      if (status == AGX_TIMEOUT) break;
      return settle(batch, append_outcome(batch, AGXB_MUX_OUTCOME, status, 0));
    }
    if (!append_outcome(batch, AGXB_OUTCOME, status, token)) return settle(batch, 0);
  }
  return AGX_OK;
}

agx_status agxb_history_batch(agx_session* session, const char* after, const char* before,
                              int reverse, const char* where, size_t max_events,
                              agxb_batch* batch) {
  reset(batch);
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
    all = all && append_event(batch, events[i], 0);
    agx_event_free(events[i]);
  }
  free(events);
  return all ? status : AGX_ENOMEM;
}

agx_status agxb_wait_for_batch(agx_session* session, const char* where, int64_t timeout_ms,
                               agxb_batch* batch) {
  reset(batch);
  if (!pack_held(batch)) return AGX_ENOMEM;
  if (batch->count > 0) return AGX_OK;
  batch->held_token = 0;
  agx_status status = agx_wait_for(session, where, timeout_ms, &batch->held[0]);
  if (status != AGX_OK) return status;
  batch->held_count = 1;
  return pack_held(batch) ? AGX_OK : AGX_ENOMEM;
}

/* Reads one text and its NUL; 0 if the buffer does not hold it. */
static int take_text(const char** at, const char* end, uint32_t length, const char** out) {
  uint32_t stored = length == UINT32_MAX ? 0 : length;
  if ((size_t)(end - *at) < (size_t)stored + 1 || (*at)[stored] != '\0') return 0;
  *out = length == UINT32_MAX ? NULL : *at;
  *at += (size_t)stored + 1;
  return 1;
}

agx_status agxb_add_many(agx_session* session, const void* events, size_t size, size_t count,
                         char* ids, size_t* added) {
  *added = 0;
  const char* at = events;
  const char* end = at + size;
  if (count > size / sizeof(uint32_t[3])) return AGX_EINVAL;
  agx_new_event* list = calloc(count == 0 ? 1 : count, sizeof(list[0]));
  if (list == NULL) return AGX_ENOMEM;
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
      return AGX_EINVAL;
    }
  }
  agx_status status = agx_add_many(session, list, count, ids, added);
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

agx_status agxb_start(agx_session* session, int take_over, int detached, int64_t lease_ms,
                      const char* origin) {
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.take_over = take_over;
  options.detached = detached;
  options.lease_ms = lease_ms;
  options.origin = origin;
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
