// What a session's stream holds, read back rather than followed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "agx.h"
#include "base/status.h"
#include "core/session.h"
#include "store/store.h"

namespace agx {

// AGX_OK with up to capacity entries, at least one, which are the caller's to release; fewer only
// where the range ends. Any other status comes with none.
Status ReadHistory(const Session& session, const agx_history_options& options, Entry** entries,
                   size_t capacity, size_t* count);

// AGX_NONE if there is neither a stream nor a live flag.
Status LookAtHistory(const Session& session, StreamFacts* facts);

// max_length is negative, or before_id is null.
Status TrimHistory(const Session& session, int64_t max_length, const char* before_id,
                   uint64_t* removed);

}  // namespace agx
