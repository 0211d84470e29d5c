// The client's own thread, for what nobody else can do: renewing leases through a long silence,
// noticing a cancel that no thread waits for, ending a window in which a run gathers what it
// writes, and feeding what is watched through a file descriptor. It starts when the first of these is needed.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"

namespace agx {

class Client;
class Pump;
class Session;

class Keeper {
 public:
  explicit Keeper(Client* client);
  ~Keeper();

  Status EnsureRunning();
  // Ends the thread. From within it, by what it calls: it ends when that has returned.
  void Stop() noexcept;

  struct Renewal {
    std::shared_ptr<Session> session;
    Millis period;
  };
  using Renewals = std::multimap<TimePoint, Renewal>;

  // Renews the session's lease so often from now on, while it is live. Throws bad_alloc.
  void Add(const std::shared_ptr<Session>& session, Millis period);
  // Its lease was just renewed.
  void Renewed(Session* session) noexcept;
  void Remove(Session* session) noexcept;
  // Looks at the session's flag soon; if it was cancelled or taken over, tells its observer.
  void Poke(Session* session) noexcept;

  class Task {
   public:
    virtual void Due() noexcept = 0;

   protected:
    ~Task() = default;
  };
  // Runs the task once at that time, if it is still there; `kept` keeps it until then, or until the
  // client is closed. Throws bad_alloc.
  void RunAt(TimePoint when, std::weak_ptr<Task> task, std::shared_ptr<Task> kept = nullptr);

  // Runs the pump from now on.
  Status AddPump(const std::shared_ptr<Pump>& pump);
  void RemovePump(Pump* pump) noexcept;
  Bell* bell() { return &bell_; }

 private:
  // A round serves so many sessions at once, in one round trip.
  static constexpr size_t kRound = 128;
  struct Asked;
  struct Timed {
    std::weak_ptr<Task> task;
    std::shared_ptr<Task> kept;
  };
  using Sessions = std::vector<Asked>;

  void Run() noexcept;
  TimePoint Round();
  void TakeDue(TimePoint now, Sessions* renewals, Sessions* checks);
  void RunTasks(TimePoint now);
  void Renew(const Sessions& sessions);
  void Check(const Sessions& sessions);

  Client* const client_;
  Bell bell_;
  std::atomic<bool> stop_{false};
  std::mutex thread_mutex_;
  std::thread thread_;

  std::mutex mutex_;
  Renewals renewals_;
  Session* poked_ = nullptr;  // linked through Session::keeper_next_
  std::multimap<TimePoint, Timed> tasks_;
  std::vector<std::shared_ptr<Pump>> pumps_;
};

}  // namespace agx
