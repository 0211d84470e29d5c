/* The function that agx_bind calls, in C's types; cgo's have no const.
 *
 * SPDX-License-Identifier: MIT */
#include "_cgo_export.h"
#include "agx_bind.h"

void agx_go_set_function(void);

static int32_t called(int32_t kind, void* handle, const void* record, size_t size,
                      int64_t attempt) {
  return agxGoCalled(kind, (GoUintptr)handle, (void*)record, size, attempt);
}

void agx_go_set_function(void) { agxb_set_function(called); }
