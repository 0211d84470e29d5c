// Other programs that the benchmark runs: its own redis-server, redis-benchmark, and itself.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench.h"

namespace bench {

// A redis-server on a free port of the loopback and a unix socket, that persists nothing. Ends with this object.
class Server {
 public:
  Server();
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Address tcp() const { return {"127.0.0.1", "", port_}; }
  Address unix_socket() const { return {"", directory_ + "/socket", 0}; }
  void Stop();

 private:
  bool Start();
  bool Answers() const;

  std::string directory_;
  int port_ = 0;
  pid_t pid_ = -1;
};

// Another program, which is told what to do on its standard input and answers on its standard output. Ends with this object.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Tell(const std::string& line);
  // The next line of what it says.
  std::string Hear();
  // All that it says until it ends.
  std::string HearAll();

 private:
  pid_t pid_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

// This program.
std::string SelfPath();

}  // namespace bench
