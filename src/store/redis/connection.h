// One connection to a Redis server, ready for commands: bytes out, replies in. It has no thread of
// its own.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/config.h"
#include "base/status.h"
#include "store/redis/address.h"
#include "store/redis/resp.h"
#include "store/store.h"

namespace agx::redis {

class Connection;
class Tls;

// Makes a store's connections, and ends them all when the store is closed, those that are just
// being made among them.
class Dialer {
 public:
  explicit Dialer(const Config& config, Log log = nullptr)
      : config_(config), log_(std::move(log)) {}

  const Config& config() const { return config_; }
  // Connects and introduces itself: TLS, AUTH, SELECT, the client's name, the server's version. All
  // of it has to be done within the connect timeout.
  Result<std::unique_ptr<Connection>> Dial();
  // Shuts down all connections, now and later.
  void Close() noexcept;

 private:
  friend class Connection;

  bool Add(Connection* connection) noexcept;
  void Remove(Connection* connection) noexcept;
  // Begins to connect the connection's socket, a new one, so that Close finds it. The system's error.
  int Begin(Connection* connection, const Address& address) noexcept;
  bool closed();

  const Config& config_;
  const Log log_;
  std::mutex mutex_;
  Connection* first_ = nullptr;  // linked through themselves
  bool closed_ = false;
};

class Connection {
 public:
  ~Connection();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends all. One thread at a time; another may receive meanwhile. On an error some of it may have
  // been sent: `*sent` says how much the system is known to have taken.
  Status Send(std::string_view bytes, size_t* sent);

  enum class Received { kData, kTimeout, kWoken, kBroken };
  // Waits for bytes and hands them to the parser. One thread at a time. If wake_fd >= 0, returns
  // kWoken once that is readable.
  Received Receive(TimePoint deadline, int wake_fd, Status* status);
  // Does not wait. kTimeout: there is nothing, or nothing more.
  Received ReceiveNow(Status* status);

  // What is received and not parsed yet, between replies.
  std::string_view held() const { return parser_.held(); }
  // The next reply of those received.
  Parser::Outcome Parse(Sink* sink) { return parser_.Next(sink); }
  // Bytes that Parse has not used.
  bool HasMore() const { return parser_.HasMore(); }
  // Why Parse said that it is broken.
  Status Broken(const Sink& sink) const;

  // Sends the commands and waits for their replies; for a connection that nobody else uses.
  Status Execute(const Commands& commands, Sink* sink);

  // For polling.
  int fd() const { return fd_; }
  // The other side has closed it, as far as can be told without waiting.
  bool Stale();
  // Makes a Send or Receive that is under way, and all later ones, fail; from any thread.
  void Shutdown();

 private:
  friend class Dialer;

  explicit Connection(Dialer* dialer);

  Status Open();
  Status Connect();
  int ConnectTo(const Address& address, TimePoint until);
  void SetSocketOptions(int family) const;
  Status StartTls();
  Status SendTls(std::string_view bytes, size_t* sent);
  Status Introduce();
  Status CheckVersion(std::string_view info);
  // One read or write without waiting: > 0 bytes, 0 not ready, -1 broken.
  long ReadSome(char* buffer, size_t size);
  long WriteSome(const char* bytes, size_t size);
  Received Take(long received, Status* status);
  static Received OutOfMemory(Status* status);
  static long Receivable(ssize_t received);
  // 1 ready, 0 deadline, 2 woken, -1 error.
  int Poll(short events, TimePoint deadline, int wake_fd) const;
  void SetReceiveTimeout(Clock::duration timeout);
  Status Lost(std::string_view why) const;
  // When a server that takes nothing more, or does not answer what is sent now, is given up.
  TimePoint GiveUpAt() const;
  Status Silent() const;

  Dialer* const dialer_;
  const Config& config_;
  Connection* next_ = nullptr;  // the dialer's
  Connection* previous_ = nullptr;
  bool added_ = false;
  int fd_ = -1;  // until it is connected changed under the dialer's lock
  TimePoint open_by_;
  bool open_ = false;
  std::string server_;  // such as ", Redis 7.0"; empty if it does not say
  std::unique_ptr<Tls> tls_;
  int64_t receive_timeout_ms_ = 0;
  std::mutex tls_mutex_;  // OpenSSL's objects take one thread at a time
  Parser parser_;
};

// Waits between attempts to reconnect: exponential, with jitter, within limits of time and number,
// and while nobody asks to stop.
class Backoff {
 public:
  explicit Backoff(const Config& config, const StopFlag* stop = nullptr);
  // How long to wait before the next attempt; false if there is none left.
  bool Next(TimePoint* until);
  bool stopped() const { return stop_ != nullptr && *stop_; }

 private:
  const StopFlag* stop_;
  TimePoint deadline_;
  int64_t attempts_left_;
  int64_t delay_ms_;
};

}  // namespace agx::redis
