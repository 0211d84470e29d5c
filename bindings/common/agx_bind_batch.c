#include "agx_bind_batch.h"

#include <stdlib.h>
#include <string.h>

agxb_batch* agxb_batch_new(void) { return calloc(1, sizeof(agxb_batch)); }

static void drop_held(agxb_batch* batch, size_t count) {
  batch->held_count -= count;
  memmove(batch->held, batch->held + count, batch->held_count * sizeof(batch->held[0]));
  memmove(batch->held_tokens, batch->held_tokens + count,
          batch->held_count * sizeof(batch->held_tokens[0]));
}

void agxb_batch_clear(agxb_batch* batch) {
  for (size_t i = 0; i < batch->held_count; ++i) agx_event_free(batch->held[i]);
  free(batch->data);
}

void agxb_batch_free(agxb_batch* batch) {
  if (batch == NULL) return;
  agxb_batch_clear(batch);
  free(batch);
}

const void* agxb_batch_data(const agxb_batch* batch) { return batch->data; }
size_t agxb_batch_size(const agxb_batch* batch) { return batch->size; }
size_t agxb_batch_count(const agxb_batch* batch) { return batch->count; }

/* A buffer that once held a large body is not kept for ever. */
void agxb_reset(agxb_batch* batch) {
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

static size_t aligned(size_t size) { return (size + 7) & ~(size_t)7; }

/* A record but for what is extra, of which it has room for `extra` bytes: these, to be written; NULL
 * if there is no memory. They have no address if there are none of them, but another than NULL. */
static char* append(agxb_batch* batch, int32_t kind, agx_status status, int64_t token,
                    const agxb_text texts[4], size_t extra) {
  size_t at = aligned(batch->size);
  size_t size = AGXB_HEADER;
  for (int i = 0; i < 4; ++i) size += texts[i].length;
  size_t extra_at = extra == 0 ? size : aligned(size);
  if (at + extra_at + extra > batch->capacity && !grow(batch, at + extra_at + extra)) return NULL;
  int32_t numbers[2] = {kind, status};
  uint32_t lengths[6] = {0};
  for (int i = 0; i < 4; ++i) lengths[i] = (uint32_t)texts[i].length;
  lengths[4] = (uint32_t)extra;
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
  memset(out, 0, extra_at - size);
  batch->size = at + extra_at + extra;
  ++batch->count;
  return batch->data + at + extra_at;
}

int agxb_append(agxb_batch* batch, int32_t kind, int64_t token, const agxb_text texts[4],
                const int64_t* numbers, size_t number_count) {
  size_t size = number_count * sizeof(numbers[0]);
  char* extra = append(batch, kind, AGX_OK, token, texts, size);
  if (extra == NULL) return 0;
  if (size != 0) memcpy(extra, numbers, size);
  return 1;
}

agxb_text agxb_text_of(const char* text) {
  agxb_text made = {text, text == NULL ? 0 : strlen(text)};
  return made;
}

typedef struct field {
  agxb_text name;
  agxb_text value;
} field;

static field field_at(const agx_event* event, size_t index) {
  field found;
  agx_event_field_at(event, index, &found.name.bytes, &found.name.length, &found.value.bytes,
                     &found.value.length);
  return found;
}

static int is_named(const field* field, const char* name) {
  return field->name.length == strlen(name) &&
         memcmp(field->name.bytes, name, field->name.length) == 0;
}

/* How many bytes its fields take; 0 if the event tells all of them. */
static size_t size_of_fields(const agx_event* event) {
  size_t count = agx_event_field_count(event);
  size_t size = 0;
  int told = 0;
  for (size_t i = 0; i < count; ++i) {
    field field = field_at(event, i);
    told += is_named(&field, "type") || is_named(&field, "origin") || is_named(&field, "body");
    size += 2 * sizeof(uint32_t) + field.name.length + field.value.length;
  }
  return told == (int)count && count <= 3 ? 0 : size;
}

static char* put(char* out, const void* bytes, size_t size) {
  if (size != 0) memcpy(out, bytes, size);
  return out + size;
}

int agxb_append_event(agxb_batch* batch, const agx_event* event, int64_t token) {
  agxb_text texts[4];
  texts[0].bytes = agx_event_id(event, &texts[0].length);
  texts[1].bytes = agx_event_type(event, &texts[1].length);
  texts[2].bytes = agx_event_origin(event, &texts[2].length);
  texts[3].bytes = agx_event_body(event, &texts[3].length);
  size_t extra = size_of_fields(event);
  char* out = append(batch, AGXB_EVENT, AGX_OK, token, texts, extra);
  if (out == NULL) return 0;
  size_t count = extra == 0 ? 0 : agx_event_field_count(event);
  for (size_t i = 0; i < count; ++i) {
    field field = field_at(event, i);
    uint32_t lengths[2] = {(uint32_t)field.name.length, (uint32_t)field.value.length};
    out = put(out, lengths, sizeof(lengths));
    out = put(out, field.name.bytes, field.name.length);
    out = put(out, field.value.bytes, field.value.length);
  }
  return 1;
}

int agxb_append_outcome(agxb_batch* batch, int32_t kind, agx_status status, int64_t token) {
  agxb_text texts[4] = {
      agxb_text_of(agx_last_error_entry()), {NULL, 0}, {NULL, 0}, agxb_text_of(agx_last_error())};
  return append(batch, kind, status, token, texts, 0) != NULL;
}

int agxb_pack_held(agxb_batch* batch) {
  size_t packed = 0;
  while (packed < batch->held_count &&
         agxb_append_event(batch, batch->held[packed], batch->held_tokens[packed])) {
    agx_event_free(batch->held[packed++]);
  }
  drop_held(batch, packed);
  return batch->held_count == 0;
}

agx_status agxb_settle(const agxb_batch* batch, int all) {
  return all || batch->count > 0 ? AGX_OK : AGX_ENOMEM;
}
