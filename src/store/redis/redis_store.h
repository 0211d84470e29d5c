// The store on a Redis or Valkey server.
//
// It keeps at most five connections however many sessions, listeners and threads there are: one for
// commands, one for reads whose keys are tracked, the doorbell, and two that are lent to listeners
// with a thread of their own (tail.h). Each is made when first needed.
#pragma once

#include <memory>

#include "base/config.h"
#include "store/store.h"

namespace agx {

// Connects. AGX_EUNSUPPORTED for TLS without TLS.
Result<std::shared_ptr<Store>> OpenRedisStore(const Config& config, const Log& log);

}  // namespace agx
