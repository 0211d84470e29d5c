// The store behind redis_store.h, and the file in which each of its functions is defined.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "base/futex.h"
#include "base/status.h"
#include "store/redis/connection.h"
#include "store/redis/doorbell.h"
#include "store/redis/pipe.h"
#include "store/redis/redis_groups.h"
#include "store/redis/runner.h"
#include "store/store.h"

namespace agx::redis {

class RedisTail;

// So many listeners may have a connection of their own.
inline constexpr int kTails = 2;

class RedisStore final : public Store {
 public:
  // redis_store.cpp
  RedisStore(const Config& config, Log log);
  Status Open() { return commands_.Open(); }
  std::unique_ptr<Tail> OpenTail() override;
  void Hurry() noexcept override;
  void Close() noexcept override;

  // redis_store_write.cpp
  Status Add(const Target& target, NewEntry entry, EntryId* id) override;
  Status AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                 size_t* added) override;
  void AddEach(std::span<Addition> additions) override;
  Status Replace(const Target& target, std::span<const NewEntry> entries,
                 uint64_t* removed) override;
  Status AddChecked(const Target& target, std::span<const NewEntry> entries,
                    const Checkpoint& checkpoint, CheckedOutcome* outcome) override;
  Status GetCheckpoint(std::string_view stream_key, std::string_view name,
                       std::string* position) override;
  Status Trim(const TrimRequest& request, uint64_t* removed) override;

  // redis_store_leases.cpp
  Status Start(const StartRequest& request, StartOutcome* outcome) override;
  Status Stop(const StopRequest& request, StopOutcome* outcome) override;
  Status Cancel(std::string_view live_key, bool* was_live) override;
  Status Live(std::string_view live_key, LiveFlag* flag, const StopFlag* stop) override;
  Status Extend(std::string_view live_key, int64_t lease_ms, bool* present) override;
  Status Renew(std::span<Lease> leases) override;
  Status Check(std::span<Lease> leases) override { return Check(leases, Effect::kRepeatable); }
  Status CheckIfConnected(std::span<Lease> leases) override {
    return Check(leases, Effect::kIfConnected);
  }
  Status Delete(const DeleteRequest& request, bool* was_there) override;

  // redis_store_read.cpp
  Status Read(std::span<ReadRequest> requests) override;
  Status LastId(std::string_view key, EntryId* id) override;
  Status LastElement(std::string_view key, EntryId* id) override;
  Status Range(const RangeRequest& request, BatchPtr* batch) override;
  Status Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;

  // redis_store_texts.cpp
  Status GetText(std::string_view key, KeptText* kept) override;
  Status PutText(std::string_view key, std::string_view expected, std::string_view text, bool again,
                 std::string* version, bool* conflict) override;
  Status Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
              std::vector<std::string>* keys) override;

  // What the groups and the bell do.
  Groups& groups() override { return groups_; }
  Status Watch(std::string_view key, KeyKind kind, Watcher* watcher) override {
    return bell_.Watch(key, kind, watcher);
  }
  void Unwatch(std::string_view key, Watcher* watcher) noexcept override {
    bell_.Unwatch(key, watcher);
  }
  bool WaitFor(Bell* bell, uint32_t ticket, TimePoint deadline) override {
    return bell_.WaitFor(bell, ticket, deadline);
  }

 private:
  Status Check(std::span<Lease> leases, Effect effect);
  template <class S>
  Status Run(Pipe& pipe, const Commands& commands, Effect effect, std::string_view what, S* sink,
             bool* repeated = nullptr, const StopFlag* stop = nullptr) {
    return runner_.Run(pipe, commands, effect, what, sink, repeated, stop);
  }
  Status AddPieces(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                   size_t* added, bool* may_have_run, Backoff* backoff);
  void AddSome(std::span<Addition* const> additions, Backoff* backoff) noexcept;
  static void KeepForAgain(std::vector<Addition*>* left) noexcept;
  Status ReadListAnew(ReadRequest* request, const StopFlag* stop);
  Status CheckGap(std::string_view key, EntryId after, bool* gap, bool* exists,
                  const StopFlag* stop);
  Status RangeOfList(const RangeRequest& request, BatchPtr* batch, const StopFlag* stop = nullptr);
  Status ListEnds(std::string_view key, EntryId* first, EntryId* last);
  Status PlainFacts(std::string_view key, StreamFacts* facts);

  const Config config_;
  const Log log_;
  Dialer dialer_;
  Doorbell bell_;
  Pipe commands_;
  Pipe reads_;
  std::mutex tails_mutex_;
  std::array<RedisTail*, kTails> tails_{};
  std::atomic<bool> closed_{false};
  Bell closing_;  // and hurrying
  const Runner runner_{config_, closed_, closing_};
  RedisGroups groups_{runner_, commands_, reads_};
};

}  // namespace agx::redis
