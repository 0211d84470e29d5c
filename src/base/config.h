// Everything that agx_open's URL and options say, resolved.
#pragma once

#include <cstdint>
#include <string>

#include "agx.h"
#include "base/status.h"

namespace agx {

enum class StoreKind {
  kRedis,  // TCP: host, port, database, tls
  kUnix,   // a Unix domain socket: path, database
  kMemory  // a store in this process: name
};

struct Config {
  StoreKind kind = StoreKind::kRedis;
  std::string host = "127.0.0.1";  // without brackets; an IPv6 zone follows a '%'
  int port = 6379;
  std::string path;
  std::string name;
  int database = 0;

  std::string user;      // empty: none
  std::string password;  // empty: none

  bool tls = false;
  bool tls_insecure = false;
  std::string tls_ca_file;  // empty: the system's authorities
  std::string
      tls_cert_file;  // empty: no certificate; never without tls_key_file, nor that without it
  std::string tls_key_file;
  std::string tls_server_name;  // the host if it was not given

  std::string prefix = "agx";
  std::string client_name = "agx";

  int64_t connect_timeout_ms = 5000;
  int64_t command_timeout_ms = 10000;
  int64_t reconnect_timeout_ms = 10000;  // -1: one attempt is all
  int64_t reconnect_attempts = 20;
  int64_t lease_ms = 15000;
  int64_t max_length = 0;  // 0: no bound
  int64_t expire_ms = 0;   // 0: never
  std::string format = "agx";

  agx_log_level log_level = AGX_LOG_WARNING;
  agx_log_function log = nullptr;
  void* log_data = nullptr;
};

// Reads the URL (null: $AGX_URL, or else redis://127.0.0.1:6379) and the options (null: the
// defaults). A parameter of the URL wins over its option. Errors are AGX_EINVAL with a message that
// says which part is wrong and what to do; none of them quotes what may be a password.
Result<Config> ResolveConfig(const char* url, const agx_options* options);

// The URL for messages: without user, password and parameters. Ends up at the same store if
// resolved again.
std::string Describe(const Config& config);

}  // namespace agx
