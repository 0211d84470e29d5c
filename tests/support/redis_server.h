// A server for one test: $AGX_REDIS_SERVER, or redis-server or valkey-server from the PATH.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "support/resp.h"

namespace agx::test {

// Listens on a free port of 127.0.0.1 and on a Unix socket. Gone with its directory when this is, and
// also if the test's process dies. What goes wrong is thrown as runtime_error, which fails the test.
class RedisServer {
 public:
  struct Options {
    std::vector<std::string> args;  // such as {"--requirepass", "secret"}
    bool append_only = false;       // what was acknowledged survives Kill9
  };

  RedisServer() : RedisServer(Options{}) {}
  explicit RedisServer(Options options);
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  uint16_t port() const { return port_; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
  std::string unix_url() const { return "unix://" + socket_path(); }
  std::string socket_path() const { return directory_ + "/socket"; }
  pid_t pid() const { return pid_; }

  void Kill9();
  void Stop();
  // Starts it again after Kill9 or Stop: same port, same directory.
  void Restart();
  // The process stands still, its connections stay.
  void Pause();
  void Continue();

  // A raw connection, and one command on a connection of its own; see PrintReply.
  RespConnection Connect() const;
  std::string Command(const std::vector<std::string>& args) const;

  // What it wrote to its log.
  std::string Log() const;

 private:
  void Start();
  bool TryStart();
  bool Answers() const;
  bool Exited();
  std::vector<std::string> CommandLine() const;

  const Options options_;
  std::string program_;
  std::string directory_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace agx::test
