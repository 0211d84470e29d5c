// Where a store may be reached.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "base/config.h"
#include "base/status.h"

namespace agx::redis {

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
  std::string text;  // for messages; empty if the URL says it

  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&bytes); }
  int family() const { return bytes.ss_family; }
};

// The addresses of the configured host, in the order in which the system wants them tried, or that
// of the socket. Blocks while the system looks the host's name up: nothing can end that early.
Result<std::vector<Address>> Resolve(const Config& config);

}  // namespace agx::redis
