// A memory store is opened and closed, its streams are written, and its keys are watched.
#include "store/memory/memory_store.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "store/memory/memory_store_impl.h"

namespace agx {
namespace memory {
namespace {

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

}  // namespace

MemoryStore::MemoryStore(const std::string& name) : shared_(registry.Open(name)) {}

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
  Node* marks = target.expire_ms > 0 ? access.FindCheckpoints(target.key) : nullptr;
  stream->Append(entries, ids);
  stream->Trim(target.max_length);
  if (fresh != nullptr) access.keys.SetStream(&*node, std::move(fresh));
  if (target.expire_ms > 0) access.keys.SetExpiry(&*node, access.After(target.expire_ms));
  if (marks != nullptr) access.keys.SetExpiry(marks, node->expires);
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
      Target whole{.key = target.key};
      whole.expire_ms = target.expire_ms;
      if (Status status = AppendIn(access, whole, stored, nullptr); !status.ok()) return status;
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
  std::string key = CheckpointsKey(target.key);
  Access access(this);
  if (access.closed) return Closed();
  Node* stream;
  if (Status status = access.FindStream(target.key, target.list, &stream); !status.ok())
    return status;
  KeySpace::Obtained node = access.keys.Obtain(key, access.now);
  if (node->stream != nullptr) return NotAText(key);
  std::string_view all = node->is_flag ? std::string_view(node->token) : std::string_view();
  std::string_view now = CheckpointIn(all, checkpoint.name);
  *outcome = now == checkpoint.reached    ? CheckedOutcome::kDoneBefore
             : now != checkpoint.expected ? CheckedOutcome::kConflict
                                          : CheckedOutcome::kAdded;
  if (*outcome == CheckedOutcome::kDoneBefore) return {};
  if (Status status = access.CheckThere(target); !status.ok()) {
    // The hold on the node frees it.
    if (node->is_flag) access.keys.ClearValue(&*node);
    return status;
  }
  if (*outcome != CheckedOutcome::kAdded) return {};
  std::string changed = WithCheckpoint(all, checkpoint.name, checkpoint.reached);
  auto fresh = KeySpace::NewFlag(*node);
  if (Status status = AppendIn(access, target, stored, nullptr); !status.ok()) return status;
  access.keys.SetFlag(&*node, std::move(changed), std::move(fresh));
  stream = access.keys.Find(target.key, access.now);
  if (stream != nullptr) access.keys.SetExpiry(&*node, stream->expires);
  access.keys.Ring(&*node);
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

}  // namespace memory

std::shared_ptr<Store> OpenMemoryStore(const std::string& name) {
  return std::make_shared<memory::MemoryStore>(name);
}

}  // namespace agx
