/* How batches are filled; agx_bind.h says what is in them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef AGX_BIND_BATCH_H_
#define AGX_BIND_BATCH_H_

#include "agx_bind.h"

enum { AGXB_HELD = 64 };

struct agxb_batch {
  char* data;
  size_t size;
  size_t capacity;
  size_t count;
  /* Taken from a listener or mux, and not in the buffer for lack of memory. */
  agx_event* held[AGXB_HELD];
  int64_t held_tokens[AGXB_HELD];
  size_t held_count;
};

/* A text of a record: NULL with 0 for none. */
typedef struct agxb_text {
  const char* bytes;
  size_t length;
} agxb_text;

agxb_text agxb_text_of(const char* text);

/* Empties the buffer, not what is held. */
void agxb_reset(agxb_batch* batch);
/* Frees what the batch has, not the batch. */
void agxb_batch_clear(agxb_batch* batch);

/* All answer 0 if there is no memory; then the batch is as it was. */
int agxb_append_event(agxb_batch* batch, const agx_event* event, int64_t token);
/* With agx_last_error as its body. */
int agxb_append_outcome(agxb_batch* batch, int32_t kind, agx_status status, int64_t token);
/* texts: id, type, origin, body. */
int agxb_append(agxb_batch* batch, int32_t kind, int64_t token, const agxb_text texts[4],
                const int64_t* numbers, size_t number_count);
/* Moves what is held into the buffer. */
int agxb_pack_held(agxb_batch* batch);

/* What a call answers whose batch could not take all. */
agx_status agxb_settle(const agxb_batch* batch, int all);

#endif /* AGX_BIND_BATCH_H_ */
