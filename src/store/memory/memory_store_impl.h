// The store behind memory_store.h, and the file in which each of its functions is defined.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "store/groups.h"
#include "store/memory/key_space.h"
#include "store/store.h"

namespace agx::memory {

// What the clients of one name share.
struct Shared {
  explicit Shared(std::string n) : name(std::move(n)) {}

  std::mutex mutex;
  KeySpace keys;

  const std::string name;
  const pid_t process = getpid();
  // The registry's:
  size_t open_clients = 0;
  Shared* next = nullptr;
  std::weak_ptr<Shared> self;
};

inline Status Closed() { return {AGX_ECLOSED, "the client is closed"}; }

inline Status NotAStream(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a live flag where a stream should be")};
}

inline Status NotSuchAStream(std::string_view key, bool list) {
  return {AGX_ETYPE, Cat("the key ", key,
                         list ? " holds a stream where a list should be"
                              : " holds a list where a stream should be")};
}

inline Status NotAFlag(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a stream where a live flag should be")};
}

inline Status NotAText(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a stream where a text should be")};
}

inline LiveFlag FlagOf(const Node* flag, TimePoint now) {
  if (flag == nullptr) return {};
  return {true, flag->expires == kNever ? -1 : MillisUntil(flag->expires, now, INT64_MAX)};
}

// Checkpoints, as the string that keeps them: the position of that name, "" if there is none; and what
// they are once it has this one.
std::string_view CheckpointIn(std::string_view packed, std::string_view name);
std::string WithCheckpoint(std::string_view packed, std::string_view name,
                           std::string_view position);

class MemoryStore final : public Store, private Groups {
 public:
  // One call's hold on the data, at one moment.
  struct Access {
    explicit Access(const MemoryStore* store)
        : lock(store->shared_->mutex), keys(store->shared_->keys), closed(store->closed_) {
      keys.Sweep(now);
    }
    ~Access() {
      std::unique_ptr<Stream> dead = keys.TakeDead();
      lock.unlock();
      while (dead != nullptr) dead = std::move(dead->next_dead);
    }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;

    // *node is null if there is no such flag, or stream. kArm: its next change rings its watchers.
    enum Arming { kLeave, kArm };
    Status FindFlag(std::string_view key, Node** node, Arming arming = kLeave);
    Status FindStream(std::string_view key, bool list, Node** node, Arming arming = kLeave);
    // Of Target::existing.
    Status CheckThere(const Target& target);
    // AGX_NONE if there is no such group.
    Status FindGroup(const GroupOf& of, Node** node, GroupMap::iterator* group,
                     Arming arming = kLeave);
    // The stream's checkpoints, or null. What else has their key is left alone.
    Node* FindCheckpoints(std::string_view stream_key);
    TimePoint After(int64_t ms) const { return DeadlineAfter(ms, now); }

    std::unique_lock<std::mutex> lock;
    KeySpace& keys;
    const bool closed;
    const TimePoint now = Clock::now();
  };

  // memory_store.cpp
  explicit MemoryStore(const std::string& name);
  ~MemoryStore() override;

  Groups& groups() override { return *this; }
  std::unique_ptr<Tail> OpenTail() override { return nullptr; }
  void Close() noexcept override;
  Status Add(const Target& target, NewEntry entry, EntryId* id) override;
  Status AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                 size_t* added) override;
  Status Replace(const Target& target, std::span<const NewEntry> entries,
                 uint64_t* removed) override;
  Status AddChecked(const Target& target, std::span<const NewEntry> entries,
                    const Checkpoint& checkpoint, CheckedOutcome* outcome) override;
  Status GetCheckpoint(std::string_view stream_key, std::string_view name,
                       std::string* position) override;
  Status Trim(const TrimRequest& request, uint64_t* removed) override;
  Status Watch(std::string_view key, KeyKind kind, Watcher* watcher) override;
  void Unwatch(std::string_view key, Watcher* watcher) noexcept override;

  // memory_store_leases.cpp
  Status Start(const StartRequest& request, StartOutcome* outcome) override;
  Status Stop(const StopRequest& request, StopOutcome* outcome) override;
  Status Cancel(std::string_view live_key, bool* was_live) override;
  Status Live(std::string_view live_key, LiveFlag* flag, const StopFlag* stop) override;
  Status Extend(std::string_view live_key, int64_t lease_ms, bool* present) override;
  Status Renew(std::span<Lease> leases) override;
  Status Check(std::span<Lease> leases) override;
  Status CheckIfConnected(std::span<Lease> leases) override { return Check(leases); }
  Status Delete(const DeleteRequest& request, bool* was_there) override;

  // memory_store_read.cpp
  Status Read(std::span<ReadRequest> requests) override;
  Status LastId(std::string_view key, EntryId* id) override;
  Status LastElement(std::string_view key, EntryId* id) override;
  Status Range(const RangeRequest& request, BatchPtr* batch) override;
  Status Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;

  // memory_store_texts.cpp
  Status GetText(std::string_view key, KeptText* kept) override;
  Status PutText(std::string_view key, std::string_view expected, std::string_view text, bool again,
                 std::string* version, bool* conflict) override;
  Status Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
              std::vector<std::string>* keys) override;

  // memory_store_groups.cpp
  Status CreateGroup(const NewGroup& request, bool* created) override;
  Status DeleteGroup(const GroupOf& of) override;
  Status ReadNew(const NewRequest& request, BatchPtr* batch) override;
  Status Take(const TakeRequest& request, Takings* taken) override;
  Status Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
               std::span<const EntryId> ids, Takings* taken) override;
  Status Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms, std::span<Held> held,
              const StopFlag* stop) override;
  Status Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) override;
  Status Pending(const GroupOf& of, PendingFacts* facts, const StopFlag* stop) override;
  Status PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) override;
  Status ListGroups(std::string_view key, std::vector<GroupFacts>* groups) override;
  Status ListConsumers(const GroupOf& of, std::vector<ConsumerFacts>* consumers) override;
  Status DeleteConsumer(const GroupOf& of, std::string_view consumer, uint64_t* pending) override;
  Status DeleteIdleConsumer(const GroupOf& of, std::string_view consumer) override;
  Status Bury(const Burial& burial, bool* done) override;
  Status Revive(const Revival& revival, EntryId* id, RevivalOutcome* outcome) override;
  Status DeleteEntries(std::string_view key, std::span<const EntryId> ids,
                       uint64_t* count) override;

 private:
  Status Append(const Target& target, std::span<StoredEntry::Ptr> entries, EntryId* ids);
  static Status AppendIn(Access& access, const Target& target, std::span<StoredEntry::Ptr> entries,
                         EntryId* ids);
  Status LastOf(std::string_view key, bool list, EntryId* id);
  Status FactsOf(std::string_view key, bool list, std::string_view live_key, StreamFacts* facts);
  // Calls `use` with what can be done with the group.
  template <class Function>
  Status WithGroup(const GroupOf& of, Function use, Access::Arming arming = Access::kLeave);

  const std::shared_ptr<Shared> shared_;
  // Under the lock of shared_:
  bool closed_ = false;
  size_t watches_ = 0;
};

// Most calls begin with one of these: here, each file can have it inline.
inline Status MemoryStore::Access::FindFlag(std::string_view key, Node** node, Arming arming) {
  *node = keys.Find(key, now);
  if (*node != nullptr && arming == kArm) keys.Arm(*node);
  if (*node == nullptr || (*node)->is_flag) return {};
  if ((*node)->stream != nullptr) return NotAFlag(key);
  *node = nullptr;
  return {};
}

inline Status MemoryStore::Access::FindStream(std::string_view key, bool list, Node** node,
                                              Arming arming) {
  *node = keys.Find(key, now);
  if (*node != nullptr && arming == kArm) keys.Arm(*node);
  if (*node == nullptr) return {};
  if ((*node)->stream != nullptr) {
    return (*node)->stream->list == list ? Status() : NotSuchAStream(key, list);
  }
  if ((*node)->is_flag) return NotAStream(key);
  *node = nullptr;
  return {};
}

}  // namespace agx::memory
