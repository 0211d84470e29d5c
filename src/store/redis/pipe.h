// A connection that many threads share.
//
// It has no thread: whoever waits, drives. A thread that waits for a reply reads the socket; if
// several wait, one reads for all, and hands over when it has its own. Commands that meet on a busy
// connection leave in one write, and the threads whose commands left together are woken together.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/config.h"
#include "base/futex.h"
#include "store/redis/connection.h"
#include "store/redis/resp.h"

namespace agx::redis {

// May a command be sent again if it is not known whether the server has run it?
enum class Effect {
  kRepeatable,       // yes: it reads, or nobody cares whether it was run
  kRepeatableWrite,  // yes: running it twice is as good as once
  kOnce,             // no
  kIfConnected       // nor is it worth a connection that is not there, or any waiting for one
};

class Pipe {
 private:
  struct Calls;
  struct Wire;  // one connection's life, with the calls that are on it

 public:
  // Run on every new connection before it is used.
  using OnConnect = std::function<Status(Connection&)>;

  Pipe(Dialer& dialer, const Log& log, OnConnect on_connect);

  // Connects now rather than with the first command; one attempt.
  Status Open();

  // Sends the commands, waits for all replies, and gives them to the sink. Reconnects within the
  // configured limits. The sink may see replies of an attempt that failed before those of the one
  // that succeeded. *repeated: an attempt that failed may have been carried out too.
  // stop, or null: once it is set, and Hurry was called, a connection is not waited for.
  Status Execute(const Commands& commands, Effect effect, Sink* sink, bool* repeated = nullptr,
                 const StopFlag* stop = nullptr);

  // Commands that are under way: Execute in two steps, so that the server works on the first while
  // the next are written. Lives until Wait has returned.
  class Call {
   private:
    friend class Pipe;

    Sink* sink_ = nullptr;
    size_t expected_ = 0;
    size_t received_ = 0;
    Call* next_ = nullptr;
    std::shared_ptr<Wire> wire_;
    uint32_t flush_ = 0;  // the write with which it leaves
    uint64_t begin_ = 0;  // where its bytes lie in all that this connection was given
    uint64_t end_ = 0;
    TimePoint deadline_;
    bool may_have_run_ = false;
    agx_status code_ = AGX_OK;
    std::shared_ptr<const Status> status_;  // null, if there was no memory for it
    std::atomic<bool> done_{false};
  };

  // Reconnects if need be; without a backoff it does not. On an error the call was not submitted and
  // need not be waited for. behind: the last of those that the caller has submitted and not waited for,
  // of which there are `own`; on another connection than that one's, where it could be carried out
  // although they were lost, this one is not submitted.
  Status Submit(const Commands& commands, Sink* sink, Call* call, Backoff* backoff,
                const Call* behind = nullptr, size_t own = 0);
  // *may_have_run: on an error, whether the server may have run some of it all the same.
  Status Wait(Call* call, bool* may_have_run) noexcept;

  // Those that wait for a connection look if they are to stop.
  void Hurry() noexcept { connected_.Ring(); }
  // Drops the connection; the next command makes a new one.
  void Reset();
  // Makes all calls, now and later, return AGX_ECLOSED.
  void Close() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;

  Status Connect(Lock& lock, Backoff* backoff);
  Status EnsureUsable(Lock& lock, Backoff* backoff);
  void Write(Lock& lock, Wire* wire, const Commands* alone) noexcept;
  void Drive(Wire* wire, const Call& own) noexcept;
  void Deliver(Wire* wire) noexcept;
  void TakeSent(Wire* wire) noexcept;
  void HandOver(Wire* wire) noexcept;
  void Break(Wire* wire) noexcept;
  void Fail(Wire* wire, agx_status code, const std::shared_ptr<const Status>& status) noexcept;
  Status Closed() const noexcept;
  Status NotConnected() const;

  Dialer& dialer_;
  const Config& config_;
  const Log& log_;
  const OnConnect on_connect_;

  std::mutex mutex_;
  std::shared_ptr<Wire> wire_;  // null: not connected
  bool closed_ = false;
  bool connecting_ = false;
  uint32_t resets_ = 0;
  Bell connected_;  // rings when an attempt to connect is over, at Hurry and at Close
};

}  // namespace agx::redis
