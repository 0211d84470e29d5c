// One bell for everything that is watched: a connection on which the server tells which keys have
// changed.
//
// Redis' key tracking (CLIENT TRACKING … REDIRECT) rings once for each key that the tracked
// connection has read, whoever changes it. A server or proxy that refuses tracking is watched with
// blocking reads instead, and flags by looking at them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/config.h"
#include "base/futex.h"
#include "store/redis/connection.h"
#include "store/store.h"

namespace agx::redis {

// Where Stop and Delete tell "database key", whatever the client's prefix is: the streams of others
// have none.
inline constexpr std::string_view kStopChannel = "agx:stopped";

class Doorbell {
 public:
  // `reset_reads` drops the tracked connection, whose tracking has become void.
  Doorbell(Dialer& dialer, const Log& log, std::function<void()> reset_reads);
  ~Doorbell();

  Status Watch(std::string_view key, Store::KeyKind kind, Watcher* watcher);
  void Unwatch(std::string_view key, Watcher* watcher) noexcept;

  // Makes a new connection's reads ring this bell, and rings everything, since what was read before
  // on another no longer does. From then on the connection's end rings everything too.
  Status Track(Connection& reads);

  // Where Cancel tells "token live-key".
  const std::string& cancel_channel() const { return cancel_channel_; }

  // Waits for a bell that one of the watchers rings, and listens itself meanwhile, in the place of the
  // bell's own thread: the thread that waits is then woken by the server, and no other is.
  bool WaitFor(Bell* bell, uint32_t ticket, TimePoint deadline);

  void Taken(std::string_view message) noexcept;
  void Stopped(std::string_view message) noexcept;
  void RingAll() noexcept;
  void Ring(std::string_view key) noexcept;
  void Close() noexcept;

 private:
  struct Watched {
    Store::KeyKind kind = Store::KeyKind::kStream;
    std::vector<Watcher*> watchers;
    // Without tracking: what was last seen. Only the bell's thread uses it.
    bool known = false;
    std::string seen;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  // The bell's connection, for all threads that listen on it.
  struct Listening;
  using Map = std::unordered_map<std::string, Watched, Hash, std::equal_to<>>;
  enum class State { kStarting, kTracking, kDown, kRefused };

  bool MakeWakes();
  void Run() noexcept;
  Status Serve();
  Status Subscribe(Connection& connection, int64_t* id, std::string* refusal);
  Status FollowTracking(Listening* listening);
  Status FollowReads(Connection& connection);
  Status LookAtNew(Connection& connection);
  Status LookAtFlags(Connection& connection);
  Status LookAtLists(Connection& connection);
  Status ReadStreams(Connection& connection);
  void AppendRead(std::span<const std::string> keys, bool blocks, Commands* commands);
  std::vector<std::string> Keys(Store::KeyKind kind, bool known);
  void Saw(const std::string& key, const std::string& what);
  void Forget(const std::string& key);
  void SetState(State state, int64_t id);
  void SetListening(std::shared_ptr<Listening> listening) noexcept;

  Dialer& dialer_;
  const Config& config_;
  const Log& log_;
  const std::function<void()> reset_reads_;
  const std::string cancel_channel_;

  std::mutex mutex_;
  Map watched_;
  State state_ = State::kStarting;
  int64_t id_ = 0;
  Bell state_changed_;
  std::thread thread_;
  std::atomic<bool> closed_{false};
  Bell closing_;
  int wake_fd_ = -1;
  int wakes_fd_ = -1;  // an epoll's: wake_fd_, what the server tells, tracked connections' ends
  std::shared_ptr<Listening> listening_;  // null while there is no tracking
  std::mutex guest_mutex_;                // one thread besides the bell's own may listen
  int guest_fd_ = -1;                     // wakes it
};

}  // namespace agx::redis
