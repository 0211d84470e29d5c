// What can go wrong between a client and a server, on purpose.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/resp.h"

namespace agx::test {

// A thread that waits for sockets and can be woken.
class Poller {
 public:
  Poller();
  // Runs `round` again and again, which waits by calling Wait.
  void Run(std::function<void()> round);
  void Stop();
  void Wake();

  struct Item {
    int fd;
    short events;
    short revents;
  };
  void Wait(std::vector<Item>* items, int timeout_ms);

 private:
  Fd wake_read_;
  Fd wake_write_;
  std::mutex mutex_;
  bool stopping_ = false;
  std::thread thread_;
};

// A proxy on 127.0.0.1 between clients and a server on 127.0.0.1. It forwards until told otherwise;
// all functions may be called at any time from any thread.
class FaultProxy {
 public:
  explicit FaultProxy(uint16_t server_port);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  uint16_t port() const { return port_; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }

  // From now on so many bytes more reach the clients (or the server), all connections together; the
  // connection on which one more would have gone is then cut, once.
  void CutAfterReplyBytes(uint64_t bytes);
  void CutAfterRequestBytes(uint64_t bytes);
  // Cuts every connection now.
  void CutAll();
  // New connections are closed at once.
  void RefuseConnections(bool refuse);
  // Connections stay, and nothing goes through any more, until it is turned off.
  void Blackhole(bool on);
  // Replies wait for so long.
  void DelayReplies(std::chrono::milliseconds delay);
  // Replies arrive in pieces of so many bytes; 0: as they come.
  void ChunkReplies(size_t bytes);

  // Commands whose first word, or first two words, are `command` ("CLIENT", "CLIENT TRACKING") do not
  // reach the server and get `error`, such as "ERR unknown command".
  void RefuseCommand(const std::string& command, const std::string& error);
  // The next `times` of them reach the server, but their replies are replaced by raw bytes.
  void ReplaceReply(const std::string& command, const std::string& raw, int times = 1);
  void ForgetCommandRules();
  // The reply to the nth such command from now on, and all behind it on its connection, wait until
  // they are released.
  void HoldReply(const std::string& command, int nth = 1);
  // That reply, while it waits; else "".
  std::string HeldReply(const std::string& command) const;
  void ReleaseReply(const std::string& command);

  // Connections that were accepted so far, and those open now.
  int connections() const;
  int open_connections() const;
  // How often a client sent something when all that it had sent before had been answered.
  int round_trips() const;
  // How many such commands clients sent.
  int commands(const std::string& command) const;
  int cuts() const;

 private:
  struct Link;
  struct Rule {
    std::string reply;
    int times;     // negative: always
    bool forward;  // to the server, whose reply is dropped
  };

  void Round();
  void Accept();
  void Serve(Link* link, short client_events, short server_events);
  void OnRequestBytes(Link* link, std::string_view bytes);
  void OnRequest(Link* link);
  void OnReplyBytes(Link* link, std::string_view bytes);
  void OnReply(Link* link);
  void Deliver(Link* link, std::string bytes);
  void DeliverInjected(Link* link);
  void Flush(Link* link);
  bool Cut(Link* link, int64_t* budget, std::string* bytes);

  Poller poller_;
  uint16_t server_port_;
  uint16_t port_ = 0;
  Fd listener_;

  mutable std::mutex mutex_;  // guards all below
  std::vector<std::unique_ptr<Link>> links_;
  std::map<std::string, Rule> rules_;
  std::map<std::string, int> commands_;
  std::map<std::string, int> holds_;  // how many more until the one whose reply is held
  int64_t reply_budget_ = -1;         // negative: no limit
  int64_t request_budget_ = -1;
  std::chrono::milliseconds delay_{0};
  size_t chunk_ = 0;
  bool refuse_ = false;
  bool blackhole_ = false;
  int connections_ = 0;
  int round_trips_ = 0;
  int cuts_ = 0;
};

// What a scripted server answers.
struct FakeReply {
  FakeReply(std::string raw)
      : bytes(std::move(raw)) {}              // NOLINT: implicit, as in `return "+OK\r\n"`
  FakeReply(const char* raw) : bytes(raw) {}  // NOLINT
  FakeReply(std::string raw, bool then_close) : bytes(std::move(raw)), close(then_close) {}

  std::string bytes;
  bool close = false;  // after the bytes
};

// A server whose every reply is what a function returns: raw bytes, of the protocol or not.
class FakeServer {
 public:
  // Called in the server's thread, with the connection's number, from 0, and the command.
  using Handler = std::function<FakeReply(int connection, const std::vector<std::string>& command)>;

  explicit FakeServer(Handler handler);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  uint16_t port() const { return port_; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
  int connections() const;
  // Sends bytes that nobody asked for; to all if connection is negative.
  void Push(int connection, const std::string& raw);
  void CloseAll();

 private:
  struct Peer;

  void Round();
  void Serve(Peer* peer);
  static void Flush(Peer* peer);

  Poller poller_;
  Handler handler_;
  uint16_t port_ = 0;
  Fd listener_;

  mutable std::mutex mutex_;  // guards all below
  std::vector<std::unique_ptr<Peer>> peers_;
  int connections_ = 0;
};

}  // namespace agx::test
