// TLS over a connected socket, by hiredis, where it has it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/config.h"
#include "base/status.h"

struct redisContext;
struct ssl_st;

namespace agx::redis {

#if AGX_HAVE_TLS

// Nothing in it waits: its owner polls. One thread at a time.
class Tls {
 public:
  // On a socket that does not block and outlives this. The server's certificate and name will be
  // verified unless the configuration says not to.
  static Result<std::unique_ptr<Tls>> Begin(const Config& config, int fd);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Shakes hands as far as it goes. *events: what to poll for before it is called again; 0: done.
  Status ShakeHands(short* events);

  // Puts the bytes into a buffer. False if there is no memory.
  bool Queue(std::string_view bytes);
  // Writes of that buffer what can be written. False if the connection is broken.
  bool Flush(bool* done);
  // > 0 bytes, 0 not ready, -1 broken.
  long Read(char* buffer, size_t size);
  // Why it is broken.
  const char* error() const;

 private:
  explicit Tls(const Config& config) : config_(config) {}

  Status Refused(std::string_view why) const;

  const Config& config_;
  redisContext* context_ = nullptr;
  ssl_st* ssl_ = nullptr;  // the context's
};

#else

class Tls {};

#endif

}  // namespace agx::redis
