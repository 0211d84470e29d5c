#include "store/memory/memory_store.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <mutex>
#include <utility>

#include "store/groups.h"
#include "store/memory/key_space.h"

namespace agx {
namespace {

using memory::EntriesOf;
using memory::GroupMap;
using memory::GroupUse;
using memory::KeySpace;
using memory::Node;
using memory::StoredEntries;
using memory::StoredEntry;
using memory::Stream;

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

// The data that have an open client, by name. It needs neither a constructor nor a destructor, so
// the library can be loaded and unloaded at any time. A lock that fork() copied from a thread that
// is not in the child is taken from it: each change of the list is one write.
class Registry {
 public:
  std::shared_ptr<Shared> Open(const std::string& name);
  void Close(Shared* shared) noexcept;

 private:
  class Lock {
   public:
    explicit Lock(std::atomic<pid_t>* holder) : holder_(holder) {
      pid_t self = getpid();
      pid_t seen = 0;
      while (!holder_->compare_exchange_weak(seen, self, std::memory_order_acquire)) {
        if (seen == self) {
          seen = 0;
          sched_yield();
        }
      }
    }
    ~Lock() { holder_->store(0, std::memory_order_release); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    std::atomic<pid_t>* holder_;
  };

  std::atomic<pid_t> holder_{0};
  Shared* first_ = nullptr;
};

constinit Registry registry;

std::shared_ptr<Shared> Registry::Open(const std::string& name) {
  auto fresh = std::make_shared<Shared>(name);
  fresh->self = fresh;
  Lock lock(&holder_);
  for (Shared* shared = first_; shared != nullptr; shared = shared->next) {
    // What another process left behind in a fork is not ours to touch.
    if (shared->name != name || shared->process != fresh->process) continue;
    ++shared->open_clients;
    return shared->self.lock();
  }
  fresh->open_clients = 1;
  fresh->next = first_;
  first_ = fresh.get();
  return fresh;
}

void Registry::Close(Shared* shared) noexcept {
  Lock lock(&holder_);
  if (--shared->open_clients != 0) return;
  Shared** link = &first_;
  while (*link != shared) link = &(*link)->next;
  *link = shared->next;
}

Status Closed() { return {AGX_ECLOSED, "the client is closed"}; }

Status NotAStream(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a live flag where a stream should be")};
}

Status NotSuchAStream(std::string_view key, bool list) {
  return {AGX_ETYPE, Cat("the key ", key,
                         list ? " holds a stream where a list should be"
                              : " holds a list where a stream should be")};
}

Status NotAText(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a stream where a text should be")};
}

// A text is its own version, marked so that an empty one is other than an absent key's.
std::string VersionOf(std::string_view text) { return Cat("=", text); }

Status NotAFlag(std::string_view key) {
  return {AGX_ETYPE, Cat("the key ", key, " holds a stream where a live flag should be")};
}

TimePoint FlagExpiry(TimePoint now, int64_t lease_ms) {
  return lease_ms > 0 ? DeadlineAfter(lease_ms, now) : kNever;
}

TimePoint StreamExpiry(TimePoint now, int64_t lease_ms, int64_t expire_ms) {
  if (expire_ms <= 0 || expire_ms > kLongestWaitMs) return kNever;
  return DeadlineAfter(lease_ms + expire_ms, now);
}

LiveFlag FlagOf(const Node* flag, TimePoint now) {
  if (flag == nullptr) return {};
  return {true, flag->expires == kNever ? -1 : MillisUntil(flag->expires, now, INT64_MAX)};
}

// The entry's own fields, and those that are given, without those that are not wanted.
StoredEntry::Ptr CopyOf(const StoredEntry& entry, const std::vector<bool>* leave_out,
                        std::span<const Field> added) {
  BatchPtr batch(Batch::Create());
  entry.AppendTo(batch.get());
  const Entry& copy = *batch->first();
  std::vector<Field> fields;
  for (size_t i = 0; i < copy.field_count; ++i) {
    if (leave_out == nullptr || !(*leave_out)[i]) fields.push_back(copy.fields[i]);
  }
  fields.insert(fields.end(), added.begin(), added.end());
  return StoredEntry::Copy({fields.data(), fields.size()});
}

class MemoryStore final : public Store, private Groups {
 public:
  explicit MemoryStore(const std::string& name) : shared_(registry.Open(name)) {}
  ~MemoryStore() override;

  Groups& groups() override { return *this; }

  Status Add(const Target& target, NewEntry entry, EntryId* id) override;
  Status AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                 size_t* added) override;
  Status Replace(const Target& target, std::span<const NewEntry> entries,
                 uint64_t* removed) override;
  Status AddChecked(const Target& target, std::span<const NewEntry> entries,
                    const Checkpoint& checkpoint, CheckedOutcome* outcome) override;
  Status Start(const StartRequest& request, StartOutcome* outcome) override;
  Status Stop(const StopRequest& request, StopOutcome* outcome) override;
  Status Cancel(std::string_view live_key, bool* was_live) override;
  Status Live(std::string_view live_key, LiveFlag* flag) override;
  Status Extend(std::string_view live_key, int64_t lease_ms, bool* present) override;
  Status Renew(std::span<Lease> leases) override;
  Status Check(std::span<Lease> leases) override;
  Status Read(std::span<ReadRequest> requests) override;
  Status LastId(std::string_view key, EntryId* id) override;
  Status LastElement(std::string_view key, EntryId* id) override;
  Status ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status Range(const RangeRequest& request, BatchPtr* batch) override;
  Status Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status Trim(const TrimRequest& request, uint64_t* removed) override;
  Status Delete(const DeleteRequest& request, bool* was_there) override;
  Status GetText(std::string_view key, KeptText* kept) override;
  Status PutText(std::string_view key, std::string_view expected, std::string_view text, bool again,
                 std::string* version, bool* conflict) override;
  Status Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
              std::vector<std::string>* keys) override;
  Status Watch(std::string_view key, KeyKind kind, Watcher* watcher) override;
  void Unwatch(std::string_view key, Watcher* watcher) noexcept override;
  std::unique_ptr<Tail> OpenTail() override { return nullptr; }
  void Close() noexcept override;

  Status CreateGroup(const GroupOf& of, std::optional<EntryId> start, bool* created) override;
  Status DeleteGroup(const GroupOf& of) override;
  Status ReadNew(const NewRequest& request, BatchPtr* batch) override;
  Status Take(const TakeRequest& request, Takings* taken) override;
  Status Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
               std::span<const EntryId> ids, Takings* taken) override;
  Status Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms,
              std::span<Held> held) override;
  Status Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) override;
  Status Pending(const GroupOf& of, PendingFacts* facts) override;
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
    TimePoint After(int64_t ms) const { return DeadlineAfter(ms, now); }

    std::unique_lock<std::mutex> lock;
    KeySpace& keys;
    const bool closed;
    const TimePoint now = Clock::now();
  };

  Status Append(const Target& target, std::span<StoredEntry::Ptr> entries, EntryId* ids);
  static Status AppendIn(Access& access, const Target& target, std::span<StoredEntry::Ptr> entries,
                         EntryId* ids);
  static void TakeOver(Access& access, const StartRequest& request, Node* stream,
                       std::string token);
  static void StartAfresh(Access& access, const StartRequest& request,
                          std::unique_ptr<Stream> stream, StoredEntry::Ptr begin,
                          std::string token);
  static bool HasEnded(const Stream& stream, const StopRequest& request);
  static void AddEnd(Access& access, const StopRequest& request, int64_t grace_ms,
                     std::span<StoredEntry::Ptr> entries);
  static Status StateOf(Access& access, Lease* lease, Node** flag, Node** stream,
                        Access::Arming arming = Access::kLeave);
  static void LeaveEnd(Access& access, const DeleteRequest& request, StoredEntry::Ptr end);
  static Status RenewOne(Access& access, Lease* lease);
  // Calls `use` with what can be done with the group.
  template <class Function>
  Status WithGroup(const GroupOf& of, Function use, Access::Arming arming = Access::kLeave);
  static Status ReadOne(Access& access, ReadRequest* request);
  static void ReadList(const Stream& stream, ReadRequest* request);
  Status LastOf(std::string_view key, bool list, EntryId* id);
  Status FactsOf(std::string_view key, bool list, std::string_view live_key, StreamFacts* facts);

  const std::shared_ptr<Shared> shared_;
  // Under the lock of shared_:
  bool closed_ = false;
  size_t watches_ = 0;
};

MemoryStore::~MemoryStore() {
  Close();
  Access access(this);
  if (watches_ != 0) access.keys.UnwatchAll(this);
}

void MemoryStore::Close() noexcept {
  {
    Access access(this);
    if (closed_) return;
    closed_ = true;
    if (watches_ != 0) access.keys.RingAll(this);
  }
  registry.Close(shared_.get());
}

Status MemoryStore::Access::CheckThere(const Target& target) {
  auto there = [&](std::string_view key) {
    const Node* node = keys.Find(key, now);
    return node != nullptr && node->has_value();
  };
  if (!target.existing || there(target.key) || (target.list && there(target.live_key))) return {};
  return {AGX_NONE, Cat("there is no ", target.key, " to add to")};
}

Status MemoryStore::Access::FindFlag(std::string_view key, Node** node, Arming arming) {
  *node = keys.Find(key, now);
  if (*node != nullptr && arming == kArm) keys.Arm(*node);
  if (*node == nullptr || (*node)->is_flag) return {};
  if ((*node)->stream != nullptr) return NotAFlag(key);
  *node = nullptr;
  return {};
}

Status MemoryStore::Access::FindStream(std::string_view key, bool list, Node** node,
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

Status MemoryStore::Add(const Target& target, NewEntry entry, EntryId* id) {
  StoredEntry::Ptr stored = StoredEntry::Copy(entry);
  return Append(target, {&stored, 1}, id);
}

Status MemoryStore::AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                            size_t* added) {
  *added = 0;
  std::vector<StoredEntry::Ptr> stored;
  stored.reserve(entries.size());
  for (const NewEntry& entry : entries) stored.push_back(StoredEntry::Copy(entry));
  Status status = Append(target, stored, ids);
  if (status.ok()) *added = entries.size();
  return status;
}

Status MemoryStore::Append(const Target& target, std::span<StoredEntry::Ptr> entries,
                           EntryId* ids) {
  Access access(this);
  if (access.closed) return Closed();
  return AppendIn(access, target, entries, ids);
}

Status MemoryStore::AppendIn(Access& access, const Target& target,
                             std::span<StoredEntry::Ptr> entries, EntryId* ids) {
  if (entries.empty()) return {};
  if (Status status = access.CheckThere(target); !status.ok()) return status;
  KeySpace::Obtained node = access.keys.Obtain(target.key, access.now);
  if (node->is_flag) return NotAStream(target.key);
  std::unique_ptr<Stream> fresh;
  Stream* stream = node->stream.get();
  if (stream == nullptr) {
    fresh = access.keys.NewStream();
    stream = fresh.get();
    stream->list = target.list;
  }
  if (stream->list != target.list) return NotSuchAStream(target.key, target.list);
  stream->Append(entries, ids);
  stream->Trim(target.max_length);
  if (fresh != nullptr) access.keys.SetStream(&*node, std::move(fresh));
  if (target.expire_ms > 0) access.keys.SetExpiry(&*node, access.After(target.expire_ms));
  access.keys.Ring(&*node);
  return {};
}

Status MemoryStore::Replace(const Target& target, std::span<const NewEntry> entries,
                            uint64_t* removed) {
  *removed = 0;
  std::vector<StoredEntry::Ptr> stored;
  stored.reserve(entries.size());
  for (const NewEntry& entry : entries) stored.push_back(StoredEntry::Copy(entry));
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindStream(target.key, target.list, &node); !status.ok())
    return status;
  if (Status status = access.CheckThere(target); !status.ok()) return status;
  uint64_t old = node != nullptr ? node->stream->entries.size() : 0;
  if (!target.list) {
    if (!stored.empty()) {
      if (Status status = AppendIn(access, {target.key}, stored, nullptr); !status.ok())
        return status;
    }
    if (node != nullptr) {
      node->stream->DropFirst(old);
      access.keys.Ring(node);
    }
  } else if (!stored.empty()) {
    // The elements' ids are their places.
    KeySpace::Obtained obtained = access.keys.Obtain(target.key, access.now);
    std::unique_ptr<Stream> fresh = access.keys.NewStream();
    fresh->list = true;
    fresh->Append(stored, nullptr);
    access.keys.SetStream(&*obtained, std::move(fresh));
    access.keys.Ring(&*obtained);
  } else if (node != nullptr) {
    access.keys.DropValue(node);
  }
  *removed = old;
  return {};
}

Status MemoryStore::AddChecked(const Target& target, std::span<const NewEntry> entries,
                               const Checkpoint& checkpoint, CheckedOutcome* outcome) {
  std::vector<StoredEntry::Ptr> stored;
  stored.reserve(entries.size());
  for (const NewEntry& entry : entries) stored.push_back(StoredEntry::Copy(entry));
  std::string reached(checkpoint.reached);
  Access access(this);
  if (access.closed) return Closed();
  Node* stream;
  if (Status status = access.FindStream(target.key, target.list, &stream); !status.ok())
    return status;
  KeySpace::Obtained node = access.keys.Obtain(checkpoint.key, access.now);
  if (node->stream != nullptr) return NotAText(checkpoint.key);
  std::string_view now = node->is_flag ? std::string_view(node->token) : std::string_view();
  *outcome = now == checkpoint.reached    ? CheckedOutcome::kDoneBefore
             : now != checkpoint.expected ? CheckedOutcome::kConflict
                                          : CheckedOutcome::kAdded;
  if (*outcome != CheckedOutcome::kAdded) return {};
  if (Status status = access.CheckThere(target); !status.ok()) return status;
  auto fresh = KeySpace::NewFlag(*node);
  if (Status status = AppendIn(access, target, stored, nullptr); !status.ok()) return status;
  access.keys.SetFlag(&*node, std::move(reached), std::move(fresh));
  access.keys.SetExpiry(&*node, kNever);
  access.keys.Ring(&*node);
  return {};
}

Status MemoryStore::Start(const StartRequest& request, StartOutcome* outcome) {
  StoredEntry::Ptr begin;
  if (request.begin.count > 0) begin = StoredEntry::Copy(request.begin);
  std::string token(request.token);
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* stream;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &stream); !status.ok())
    return status;
  bool others = flag != nullptr && flag->token != request.token;
  StartMode mode = request.mode;
  bool leaves = mode == StartMode::kResume || mode == StartMode::kContinue;
  bool afresh = stream == nullptr || (flag == nullptr && !leaves);
  if (others && mode != StartMode::kTakeOver && mode != StartMode::kContinue) {
    *outcome = StartOutcome::kBusy;
  } else if (afresh && (request.keep || (begin == nullptr && stream == nullptr))) {
    TakeOver(access, request, stream, std::move(token));
    *outcome = StartOutcome::kStarted;
  } else if (afresh) {
    StartAfresh(access, request, access.keys.NewStream(), std::move(begin), std::move(token));
    *outcome = StartOutcome::kStarted;
  } else {
    TakeOver(access, request, stream, std::move(token));
    *outcome = StartOutcome::kTakenOver;
  }
  return {};
}

void MemoryStore::TakeOver(Access& access, const StartRequest& request, Node* stream,
                           std::string token) {
  KeySpace::Obtained flag = access.keys.Obtain(request.live_key, access.now);
  access.keys.SetFlag(&*flag, std::move(token));
  access.keys.SetExpiry(&*flag, FlagExpiry(access.now, request.lease_ms));
  access.keys.Ring(&*flag);
  if (stream == nullptr || (request.keep && request.expire_ms <= 0)) return;
  access.keys.SetExpiry(stream, StreamExpiry(access.now, request.lease_ms, request.expire_ms));
}

// What can fail comes first, so that nothing is left half done.
void MemoryStore::StartAfresh(Access& access, const StartRequest& request,
                              std::unique_ptr<Stream> stream, StoredEntry::Ptr begin,
                              std::string token) {
  KeySpace& keys = access.keys;
  KeySpace::Obtained node = keys.Obtain(request.key, access.now);
  KeySpace::Obtained flag = keys.Obtain(request.live_key, access.now);
  if (node->stream != nullptr) stream->last = stream->dropped = node->stream->last;
  if (begin != nullptr) stream->Append({&begin, 1}, nullptr);
  keys.SetFlag(&*flag, std::move(token));
  if (node->stream != nullptr) stream->groups.swap(node->stream->groups);
  keys.SetExpiry(&*flag, FlagExpiry(access.now, request.lease_ms));
  keys.SetStream(&*node, std::move(stream));
  keys.SetExpiry(&*node, StreamExpiry(access.now, request.lease_ms, request.expire_ms));
  keys.Ring(&*flag);
  keys.Ring(&*node);
}

Status MemoryStore::Stop(const StopRequest& request, StopOutcome* outcome) {
  std::vector<StoredEntry::Ptr> entries;
  entries.reserve(request.before.size() + 1);
  for (const NewEntry& entry : request.before) entries.push_back(StoredEntry::Copy(entry));
  if (request.end.count > 0) entries.push_back(StoredEntry::Copy(request.end));
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* node;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &node); !status.ok())
    return status;
  if (flag == nullptr && !request.begun && (request.keep || node == nullptr)) {
    *outcome = StopOutcome::kAbsent;
    return {};
  }
  if (flag != nullptr && !request.token.empty() && flag->token != request.token) {
    *outcome = StopOutcome::kTakenOver;
    return {};
  }
  bool ended = node != nullptr && HasEnded(*node->stream, request);
  if (flag == nullptr && request.unless_canceled && !ended) {
    *outcome = StopOutcome::kCanceled;
    return {};
  }
  int64_t grace_ms = request.grace_ms;
  if (flag != nullptr && request.token.empty()) grace_ms = std::max(grace_ms, kForeignGraceMs);
  if (grace_ms > 0 || request.keep) {
    AddEnd(access, request, grace_ms, entries);
  } else if (node != nullptr) {
    access.keys.DropValue(node);
  }
  if (flag != nullptr) access.keys.DropValue(flag);
  *outcome = StopOutcome::kStopped;
  return {};
}

bool MemoryStore::HasEnded(const Stream& stream, const StopRequest& request) {
  return !stream.entries.empty() && stream.entries.back()->HasOneOf(request.end_marks);
}

void MemoryStore::AddEnd(Access& access, const StopRequest& request, int64_t grace_ms,
                         std::span<StoredEntry::Ptr> entries) {
  KeySpace::Obtained node = access.keys.Obtain(request.key, access.now);
  std::unique_ptr<Stream> fresh;
  Stream* stream = node->stream.get();
  if (stream == nullptr) {
    if (entries.empty()) return;
    fresh = access.keys.NewStream();
    stream = fresh.get();
  }
  if (!entries.empty() && !HasEnded(*stream, request)) {
    stream->Append(entries, nullptr);
    if (fresh != nullptr) access.keys.SetStream(&*node, std::move(fresh));
    access.keys.Ring(&*node);
  }
  if (!request.keep) access.keys.SetExpiry(&*node, access.After(grace_ms));
}

Status MemoryStore::Cancel(std::string_view live_key, bool* was_live) {
  *was_live = false;
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  if (Status status = access.FindFlag(live_key, &flag); !status.ok()) return status;
  *was_live = flag != nullptr;
  if (flag != nullptr) access.keys.DropValue(flag);
  return {};
}

Status MemoryStore::Live(std::string_view live_key, LiveFlag* flag) {
  *flag = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindFlag(live_key, &node); !status.ok()) return status;
  *flag = FlagOf(node, access.now);
  return {};
}

Status MemoryStore::Extend(std::string_view live_key, int64_t lease_ms, bool* present) {
  *present = false;
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  if (Status status = access.FindFlag(live_key, &flag); !status.ok()) return status;
  if (flag == nullptr) return {};
  *present = true;
  if (flag->expires == kNever) return {};
  access.keys.SetExpiry(flag, std::max(flag->expires, access.After(lease_ms)));
  return {};
}

// Each lease, and each read, is one step of its own; one that fails does not hold up the others.
Status MemoryStore::Renew(std::span<Lease> leases) {
  Status first;
  for (Lease& lease : leases) {
    Access access(this);
    if (access.closed) return Closed();
    Status status = RenewOne(access, &lease);
    if (first.ok()) first = std::move(status);
  }
  return first;
}

Status MemoryStore::RenewOne(Access& access, Lease* lease) {
  Node* flag;
  Node* stream;
  if (Status status = StateOf(access, lease, &flag, &stream); !status.ok()) return status;
  if (lease->state != LeaseState::kOwn) return {};
  access.keys.SetExpiry(flag, FlagExpiry(access.now, lease->lease_ms));
  if (stream != nullptr && lease->expire_ms > 0) {
    access.keys.SetExpiry(stream, StreamExpiry(access.now, lease->lease_ms, lease->expire_ms));
  }
  return {};
}

Status MemoryStore::Check(std::span<Lease> leases) {
  Status first;
  for (Lease& lease : leases) {
    Access access(this);
    if (access.closed) return Closed();
    Node* flag;
    Node* stream;
    Status status = StateOf(access, &lease, &flag, &stream, Access::kArm);
    if (first.ok()) first = std::move(status);
  }
  return first;
}

Status MemoryStore::StateOf(Access& access, Lease* lease, Node** flag, Node** stream,
                            Access::Arming arming) {
  lease->state = LeaseState::kUnknown;
  Status status = access.FindFlag(lease->live_key, flag, arming);
  if (!status.ok()) return status;
  // A list does as well.
  *stream = access.keys.Find(lease->key, access.now);
  if (*stream != nullptr && (*stream)->is_flag) return NotAStream(lease->key);
  if (*stream != nullptr && (*stream)->stream == nullptr) *stream = nullptr;
  if (*flag != nullptr) {
    lease->state = (*flag)->token == lease->token ? LeaseState::kOwn : LeaseState::kOther;
  } else {
    lease->state = *stream != nullptr ? LeaseState::kAbsent : LeaseState::kLost;
  }
  return {};
}

Status MemoryStore::Read(std::span<ReadRequest> requests) {
  for (ReadRequest& request : requests) {
    Access access(this);
    if (access.closed) return Closed();
    request.status = ReadOne(access, &request);
  }
  return {};
}

Status MemoryStore::ReadOne(Access& access, ReadRequest* request) {
  request->batch.reset();
  request->gap = request->exists = false;
  request->live = {};
  Node* node;
  Status status = access.FindStream(request->key, request->list, &node, Access::kArm);
  if (!status.ok()) return status;
  if (!request->live_key.empty()) {
    Node* flag;
    status = access.FindFlag(request->live_key, &flag, Access::kArm);
    if (!status.ok()) return status;
    request->live = FlagOf(flag, access.now);
  }
  bool resumes = request->after != EntryId{};
  if (node == nullptr) {
    request->gap = resumes;
    return {};
  }
  const Stream& stream = *node->stream;
  if (request->list) {
    request->exists = true;
    ReadList(stream, request);
    return {};
  }
  // As on Redis, where an empty stream is found only by whoever looks for a gap.
  request->exists = resumes || !stream.entries.empty();
  request->gap = resumes && request->after < stream.dropped;
  auto [first, end] = stream.After(request->after);
  request->batch = EntriesOf(first, end, request->count);
  return {};
}

void MemoryStore::ReadList(const Stream& stream, ReadRequest* request) {
  const StoredEntries& entries = stream.entries;
  uint64_t place = request->after.ms;
  bool same = place <= entries.size();
  if (same && place > 0 && request->after.seq != 0) {
    same = entries[place - 1]->id.seq == request->after.seq;
  }
  request->gap = !same;
  auto first = entries.begin() + static_cast<std::ptrdiff_t>(same ? place : 0);
  request->batch = EntriesOf(first, entries.end(), request->count);
}

Status MemoryStore::LastElement(std::string_view key, EntryId* id) { return LastOf(key, true, id); }

Status MemoryStore::LastId(std::string_view key, EntryId* id) { return LastOf(key, false, id); }

Status MemoryStore::LastOf(std::string_view key, bool list, EntryId* id) {
  *id = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindStream(key, list, &node); !status.ok()) return status;
  if (node != nullptr) *id = node->stream->last;
  return {};
}

Status MemoryStore::Range(const RangeRequest& request, BatchPtr* batch) {
  batch->reset();
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindStream(request.key, request.list, &node); !status.ok())
    return status;
  if (node == nullptr) return {};
  // Of a list the places count, whatever the hashes.
  EntryId after = request.after;
  EntryId before = request.before.value_or(kLastEntryId);
  if (request.list) {
    if (after != EntryId{}) after.seq = UINT64_MAX;
    before.seq = 0;
  }
  auto [first, end] = node->stream->After(after);
  if (request.before) end = node->stream->NotOlderThan(before);
  *batch = request.reverse ? EntriesOf(std::make_reverse_iterator(end),
                                       std::make_reverse_iterator(first), request.count)
                           : EntriesOf(first, end, request.count);
  return {};
}

Status MemoryStore::Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) {
  return FactsOf(key, false, live_key, facts);
}

Status MemoryStore::ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) {
  return FactsOf(key, true, live_key, facts);
}

Status MemoryStore::FactsOf(std::string_view key, bool list, std::string_view live_key,
                            StreamFacts* facts) {
  *facts = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* node;
  if (Status status = access.FindFlag(live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(key, list, &node); !status.ok()) return status;
  facts->live = flag != nullptr;
  facts->exists = node != nullptr;
  facts->groups = 0;
  if (node == nullptr) return {};
  const Stream& stream = *node->stream;
  facts->length = stream.entries.size();
  if (!stream.entries.empty()) {
    facts->first = stream.entries.front()->id;
    facts->last = stream.entries.back()->id;
  }
  facts->last_generated = stream.last;
  facts->groups = static_cast<int64_t>(stream.groups.size());
  facts->ttl_ms = FlagOf(node, access.now).ttl_ms;
  return {};
}

Status MemoryStore::Trim(const TrimRequest& request, uint64_t* removed) {
  *removed = 0;
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindStream(request.key, false, &node); !status.ok()) return status;
  if (node == nullptr) return {};
  const StoredEntries& entries = node->stream->entries;
  size_t count = entries.size();
  if (request.max_length) {
    count -= static_cast<size_t>(std::min<uint64_t>(count, *request.max_length));
  } else {
    count = static_cast<size_t>(node->stream->NotOlderThan(request.before) - entries.begin());
  }
  *removed = node->stream->DropFirst(count);
  if (count > 0) access.keys.Ring(node);
  return {};
}

Status MemoryStore::Delete(const DeleteRequest& request, bool* was_there) {
  *was_there = false;
  StoredEntry::Ptr end;
  if (request.end.count > 0) end = StoredEntry::Copy(request.end);
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* node;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &node); !status.ok())
    return status;
  Node* text = access.keys.Find(request.text_key, access.now);
  if (text != nullptr && text->stream != nullptr) return NotAText(request.text_key);
  if (text != nullptr && !text->has_value()) text = nullptr;
  *was_there = flag != nullptr || node != nullptr || text != nullptr;
  if (end != nullptr && flag != nullptr && flag->token != request.token) {
    LeaveEnd(access, request, std::move(end));
  } else if (node != nullptr) {
    access.keys.DropValue(node);
  }
  if (flag != nullptr && flag->token != request.token) KeySpace::TellTaken(flag);
  if (flag != nullptr) access.keys.DropValue(flag);
  if (text != nullptr) access.keys.DropValue(text);
  return {};
}

void MemoryStore::LeaveEnd(Access& access, const DeleteRequest& request, StoredEntry::Ptr end) {
  KeySpace::Obtained node = access.keys.Obtain(request.key, access.now);
  std::unique_ptr<Stream> stream = access.keys.NewStream();
  if (node->stream != nullptr) stream->last = stream->dropped = node->stream->last;
  stream->Append({&end, 1}, nullptr);
  if (node->stream != nullptr) stream->groups.swap(node->stream->groups);
  access.keys.SetStream(&*node, std::move(stream));
  access.keys.SetExpiry(&*node, access.After(kForeignGraceMs));
  access.keys.Ring(&*node);
}

Status MemoryStore::GetText(std::string_view key, KeptText* kept) {
  *kept = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* node = access.keys.Find(key, access.now);
  if (node == nullptr || !node->has_value()) return {};
  if (!node->is_flag) return NotAText(key);
  *kept = {node->token, VersionOf(node->token)};
  return {};
}

Status MemoryStore::PutText(std::string_view key, std::string_view expected, std::string_view text,
                            bool again, std::string* version, bool* conflict) {
  *conflict = false;
  std::string fresh(text);
  std::string fresh_version = VersionOf(text);
  Access access(this);
  if (access.closed) return Closed();
  KeySpace::Obtained node = access.keys.Obtain(key, access.now);
  if (node->stream != nullptr) return NotAText(key);
  bool same = again && node->is_flag && node->token == text;
  bool expected_now = node->is_flag ? expected == VersionOf(node->token) : expected.empty();
  if (!same && !expected_now) {
    *conflict = true;
    return {};
  }
  if (!same) {
    access.keys.SetFlag(&*node, std::move(fresh));
    access.keys.SetExpiry(&*node, kNever);
    access.keys.Ring(&*node);
  }
  version->swap(fresh_version);
  return {};
}

Status MemoryStore::Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
                         std::vector<std::string>* keys) {
  Access access(this);
  if (access.closed) return Closed();
  // Between the first and the last call, the cursor is the last key that was looked at.
  std::string after;
  if (*cursor != "0") {
    if (!cursor->starts_with('>')) return {AGX_EINVAL, "the cursor of a scan is not one"};
    after = cursor->substr(1);
  }
  bool done = access.keys.Scan(prefix, suffix, &after, keys, access.now);
  *cursor = done ? "0" : Cat(">", after);
  return {};
}

Status MemoryStore::Watch(std::string_view key, KeyKind, Watcher* watcher) {
  Access access(this);
  if (access.closed) return Closed();
  KeySpace::Obtained node = access.keys.Obtain(key, access.now);
  node->watches.push_back({watcher, this});
  ++watches_;
  return {};
}

// Watchers are called under the lock that this takes, so none is being called when it has it.
void MemoryStore::Unwatch(std::string_view key, Watcher* watcher) noexcept {
  Access access(this);
  Node* node = access.keys.Find(key, access.now);
  if (node != nullptr && access.keys.Unwatch(node, watcher, this)) --watches_;
}

// --- Consumer groups

Status MemoryStore::Access::FindGroup(const GroupOf& of, Node** node, GroupMap::iterator* group,
                                      Arming arming) {
  if (Status status = FindStream(of.key, false, node, arming); !status.ok()) return status;
  if (*node != nullptr) {
    *group = (*node)->stream->groups.find(of.group);
    if (*group != (*node)->stream->groups.end()) return {};
  }
  return {AGX_NONE, Cat("there is no group ", of.group, " of the stream ", of.key)};
}

template <class Function>
Status MemoryStore::WithGroup(const GroupOf& of, Function use, Access::Arming arming) {
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  GroupMap::iterator group;
  if (Status status = access.FindGroup(of, &node, &group, arming); !status.ok()) return status;
  GroupUse with(node->stream.get(), &group->second, access.now);
  use(with);
  return {};
}

Status MemoryStore::CreateGroup(const GroupOf& of, std::optional<EntryId> start, bool* created) {
  *created = false;
  Access access(this);
  if (access.closed) return Closed();
  KeySpace::Obtained node = access.keys.Obtain(of.key, access.now);
  if (node->is_flag) return NotAStream(of.key);
  std::unique_ptr<Stream> fresh;
  Stream* stream = node->stream.get();
  if (stream == nullptr) {
    fresh = access.keys.NewStream();
    stream = fresh.get();
  }
  auto [group, inserted] = stream->groups.try_emplace(std::string(of.group));
  if (inserted) group->second.last_delivered = start.value_or(stream->last);
  *created = inserted;
  if (fresh == nullptr) return {};
  access.keys.SetStream(&*node, std::move(fresh));
  access.keys.Ring(&*node);
  return {};
}

Status MemoryStore::DeleteGroup(const GroupOf& of) {
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  GroupMap::iterator group;
  if (Status status = access.FindGroup(of, &node, &group); !status.ok()) return status;
  node->stream->groups.erase(group);
  access.keys.Ring(node);
  return {};
}

Status MemoryStore::ReadNew(const NewRequest& request, BatchPtr* batch) {
  batch->reset();
  return WithGroup(
      request.of, [&](GroupUse& group) { *batch = group.ReadNew(request.consumer, request.count); },
      request.arm ? Access::kArm : Access::kLeave);
}

Status MemoryStore::Take(const TakeRequest& request, Takings* taken) {
  *taken = {};
  return WithGroup(request.of, [&](GroupUse& group) { group.Take(request, taken); });
}

Status MemoryStore::Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
                          std::span<const EntryId> ids, Takings* taken) {
  *taken = {};
  return WithGroup(of, [&](GroupUse& group) { group.Claim(consumer, min_idle_ms, ids, taken); });
}

Status MemoryStore::Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms,
                         std::span<Held> held) {
  return WithGroup(of, [&](GroupUse& group) { group.Hold(consumer, idle_ms, held); });
}

Status MemoryStore::Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) {
  *count = 0;
  Status status = WithGroup(of, [&](GroupUse& group) { *count = group.Acknowledge(ids); });
  return status.code() == AGX_NONE ? Status() : status;
}

Status MemoryStore::Pending(const GroupOf& of, PendingFacts* facts) {
  *facts = {};
  return WithGroup(of, [&](GroupUse& group) { *facts = group.Facts(); });
}

Status MemoryStore::PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) {
  entries->clear();
  return WithGroup(range.of, [&](GroupUse& group) { group.PendingEntries(range, entries); });
}

Status MemoryStore::ListGroups(std::string_view key, std::vector<GroupFacts>* groups) {
  groups->clear();
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  Status status = access.FindStream(key, false, &node);
  if (!status.ok() || node == nullptr) return status;
  for (auto& [name, group] : node->stream->groups) {
    groups->push_back(GroupUse(node->stream.get(), &group, access.now).Describe(name));
  }
  return {};
}

Status MemoryStore::ListConsumers(const GroupOf& of, std::vector<ConsumerFacts>* consumers) {
  consumers->clear();
  return WithGroup(of, [&](GroupUse& group) { group.ListConsumers(consumers); });
}

Status MemoryStore::DeleteConsumer(const GroupOf& of, std::string_view consumer,
                                   uint64_t* pending) {
  *pending = 0;
  return WithGroup(of, [&](GroupUse& group) { *pending = group.DeleteConsumer(consumer, false); });
}

Status MemoryStore::DeleteIdleConsumer(const GroupOf& of, std::string_view consumer) {
  return WithGroup(of, [&](GroupUse& group) { group.DeleteConsumer(consumer, true); });
}

Status MemoryStore::Bury(const Burial& burial, bool* done) {
  *done = false;
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  GroupMap::iterator group;
  if (Status status = access.FindGroup(burial.of, &node, &group); !status.ok()) return status;
  GroupUse with(node->stream.get(), &group->second, access.now);
  if (!with.IsPendingFor(burial.consumer, burial.id)) return {};
  if (const StoredEntry* entry = node->stream->FindEntry(burial.id)) {
    StoredEntry::Ptr copy = CopyOf(*entry, nullptr, burial.fields);
    Status status = AppendIn(access, {burial.to}, {&copy, 1}, nullptr);
    if (!status.ok()) return status;
  }
  with.Acknowledge({&burial.id, 1});
  *done = true;
  return {};
}

// Of each name that is to go the last field goes: that is the one which was added.
Status MemoryStore::Revive(const Revival& revival, EntryId* id, RevivalOutcome* outcome) {
  *outcome = RevivalOutcome::kAbsent;
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindStream(revival.from, false, &node); !status.ok()) return status;
  const StoredEntry* entry = node != nullptr ? node->stream->FindEntry(revival.id) : nullptr;
  if (entry == nullptr) return {};
  BatchPtr batch(Batch::Create());
  entry->AppendTo(batch.get());
  const Entry& letter = *batch->first();
  std::vector<bool> going(letter.field_count);
  auto last_of = [&](std::string_view name) {
    size_t at = letter.field_count;
    while (at > 0 && letter.fields[at - 1].name != name) --at;
    return at;
  };
  for (std::string_view name : revival.without) {
    if (size_t at = last_of(name); at > 0) going[at - 1] = true;
  }
  size_t proof = last_of(revival.proof.name);
  *outcome = RevivalOutcome::kForeign;
  if (proof == 0 || letter.fields[proof - 1].value != revival.proof.value) return {};
  StoredEntry::Ptr copy = CopyOf(*entry, &going, revival.fields);
  if (Status status = AppendIn(access, {revival.key}, {&copy, 1}, id); !status.ok()) return status;
  node->stream->Delete({&revival.id, 1});
  access.keys.Ring(node);
  *outcome = RevivalOutcome::kDone;
  return {};
}

Status MemoryStore::DeleteEntries(std::string_view key, std::span<const EntryId> ids,
                                  uint64_t* count) {
  *count = 0;
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  Status status = access.FindStream(key, false, &node);
  if (!status.ok() || node == nullptr) return status;
  *count = node->stream->Delete(ids);
  if (*count > 0) access.keys.Ring(node);
  return {};
}

}  // namespace

std::shared_ptr<Store> OpenMemoryStore(const std::string& name) {
  return std::make_shared<MemoryStore>(name);
}

}  // namespace agx
