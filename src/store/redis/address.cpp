#include "store/redis/address.h"

#include <netdb.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace agx::redis {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* first) const { freeaddrinfo(first); }
};

std::string Numeric(const addrinfo& address) {
  char text[NI_MAXHOST];
  int failed = getnameinfo(address.ai_addr, address.ai_addrlen, text, sizeof(text), nullptr, 0,
                           NI_NUMERICHOST);
  return failed == 0 ? text : "?";
}

Address OfSocket(const std::string& path) {
  sockaddr_un socket{};
  socket.sun_family = AF_UNIX;
  // The configuration has seen to it that it fits.
  std::memcpy(socket.sun_path, path.data(), std::min(path.size(), sizeof(socket.sun_path) - 1));
  Address address;
  std::memcpy(&address.bytes, &socket, sizeof(socket));
  address.size = sizeof(socket);
  return address;
}

}  // namespace

Result<std::vector<Address>> Resolve(const Config& config) {
  if (config.kind == StoreKind::kUnix) return std::vector<Address>{OfSocket(config.path)};
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int failed =
      getaddrinfo(config.host.c_str(), std::to_string(config.port).c_str(), &hints, &found);
  if (failed == EAI_MEMORY) return Status(AGX_ENOMEM, "out of memory");
  if (failed != 0) {
    const char* why = failed == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(failed);
    return Status(AGX_ECONNECT, Cat("cannot connect to ", Describe(config), ": ", why,
                                    "; is the host's name right?"));
  }
  std::unique_ptr<addrinfo, FreeAddresses> owned(found);
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Address& address = addresses.emplace_back();
    if (at->ai_addrlen > sizeof(address.bytes)) continue;
    std::memcpy(&address.bytes, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    address.text = Numeric(*at);
    if (address.text == config.host) address.text.clear();
  }
  return addresses;
}

}  // namespace agx::redis
