// TLS over hiredis' connection, where hiredis has it.
#pragma once

#if AGX_HAVE_TLS

#include <string_view>

#include "base/config.h"
#include "base/status.h"

struct redisContext;

namespace agx::redis {

// Shakes hands, and verifies the server's certificate and name unless the configuration says not
// to. Blocks for the context's timeout.
Status BeginTls(const Config& config, redisContext* context);

// Puts the bytes into the context's buffer. False if there is no memory.
bool QueueTls(redisContext* context, std::string_view bytes);
// Writes of that buffer what can be written without waiting. False if the connection is broken.
bool FlushTls(redisContext* context, bool* done);
// > 0 bytes, 0 not ready, -1 broken.
long ReadTls(redisContext* context, char* buffer, size_t size);

}  // namespace agx::redis

#endif
