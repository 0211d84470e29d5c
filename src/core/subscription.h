// A function of the caller's that is called with a session's events, and the threads that do it.
//
// One thread of a client reads for all its subscriptions; a second calls their functions. A function
// that keeps the others waiting keeps that thread, from then on for itself, and the others go on in a
// new one.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "agx.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "core/follower.h"
#include "store/entry.h"

namespace agx {

class Client;
class Listener;
class Pump;
class Session;
class Subscription;

// Calls the functions of a client's subscriptions. Its threads are there while one is subscribed.
class Dispatcher {
 public:
  struct Worker;

  explicit Dispatcher(Client* client);
  ~Dispatcher();

  Status Add(const std::shared_ptr<Subscription>& subscription);
  // When it returns no call of its function is running, unless it is the one that this was called
  // from, and none will come.
  void Remove(Subscription* subscription) noexcept;
  // The client is being closed: the same for all.
  void Stop() noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  using WorkerPtr = std::shared_ptr<Worker>;

  WorkerPtr Start(void (Dispatcher::*body)(Worker*));
  void Leave(Worker* self) noexcept;
  void RingAll() noexcept;
  void AwaitThreads(Lock& lock, bool all) noexcept;
  std::vector<std::thread> TakeEnded();

  // The thread that reads.
  void Read(Worker* self) noexcept;
  TimePoint ReadRound();
  void Wait(uint32_t ticket, TimePoint until) noexcept;
  void Fill(const std::shared_ptr<Listener>& listener);
  TimePoint LookAfterCalls() noexcept;

  // A thread that calls.
  void Work(Worker* self) noexcept;
  void Serve(Lock& lock, Worker* self, Subscription* subscription) noexcept;
  void GoOnReading(Subscription* subscription) noexcept;
  void Fail(Lock& lock, Subscription* subscription, const Status& why) noexcept;

  // Under the lock.
  bool wanted() const { return !stop_ && !subscriptions_.empty(); }
  void Wake(Subscription* subscription) noexcept;
  void PushReady(Subscription* subscription) noexcept;
  std::shared_ptr<Subscription> PopReady() noexcept;
  void UnlinkReady(Subscription* subscription) noexcept;

  Client* const client_;
  Bell bell_;  // the reader's
  const std::shared_ptr<Pump> pump_;
  Follower follower_;
  Bell left_;  // rings when a call or a thread has ended

  std::mutex mutex_;
  bool stop_ = false;
  std::unordered_map<const Listener*, std::shared_ptr<Subscription>> subscriptions_;
  std::list<WorkerPtr> threads_;
  Worker* reader_ = nullptr;
  Worker* caller_ = nullptr;  // of all that have no thread of their own
  Subscription* ready_ = nullptr;
  Subscription* ready_last_ = nullptr;
};

class Subscription final : public std::enable_shared_from_this<Subscription> {
 public:
  // Gets an entry, or null and an outcome.
  using Function = std::function<void(const Status& status, const Entry* entry)>;

  static Result<std::shared_ptr<Subscription>> Open(const Session& session, const char* where,
                                                    const agx_subscribe_options& options);
  ~Subscription();

  // Calls the function from now on.
  Status Begin(Function function);
  void Close() noexcept;

 private:
  friend class Dispatcher;

  Subscription(std::shared_ptr<Listener> listener, const agx_subscribe_options& options);

  // Each under the dispatcher's lock.
  bool full() const { return count_ >= most_ || bytes_ >= most_bytes_; }
  bool has_room() const { return count_ <= most_ / 2 && bytes_ <= most_bytes_ / 2; }
  bool has() const { return behind_ || first_ != nullptr || outcome_.has_value(); }
  void Append(Entry* entry) noexcept;
  Entry* TakeFirst() noexcept;
  bool TakeNext(Status* status, Entry** entry) noexcept;
  Entry* Clear() noexcept;

  const std::shared_ptr<Listener> listener_;
  const size_t most_;
  const size_t most_bytes_;
  Function function_;

  // What is to be told: that it is behind, then the entries, then the outcome.
  bool behind_ = false;
  Entry* first_ = nullptr;  // linked through Entry::next
  Entry* last_ = nullptr;
  size_t count_ = 0;
  size_t bytes_ = 0;
  std::optional<Status> outcome_;
  agx_status last_outcome_ = AGX_OK;  // not told again before an entry

  bool caught_up_ = false;  // and may fall behind from now on
  bool parked_ = false;     // not read before there is room
  bool over_ = false;       // has told its last
  bool joining_ = false;    // the pump
  bool closed_ = false;
  bool in_ready_ = false;
  Subscription* next_ready_ = nullptr;
  Dispatcher::Worker* caller_ = nullptr;  // in which its function is being called
  Dispatcher::Worker* own_ = nullptr;     // since it was slow
};

}  // namespace agx
