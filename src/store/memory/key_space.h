// The key space of a memory store: streams and live flags, their expiries, and who watches them.
// Not synchronised; its owner holds a lock.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "store/entry.h"
#include "store/memory/memory_groups.h"
#include "store/store.h"

namespace agx::memory {

// An entry as it is kept: one block of memory, in which its texts lie as they will in a batch.
class StoredEntry {
 public:
  struct Free {
    void operator()(StoredEntry* entry) const noexcept { std::free(entry); }
  };
  using Ptr = std::unique_ptr<StoredEntry, Free>;

  static Ptr Copy(NewEntry entry);

  // Whether one of these is among its fields: the first of that name counts, and "" is any value but
  // an empty one.
  bool HasOneOf(std::span<const Field> marks) const;
  std::string_view first_value() const;
  // About what AppendTo takes from an arena.
  size_t arena_bytes() const;
  void AppendTo(Batch* batch) const;

  EntryId id;

 private:
  struct Sizes {
    size_t name;
    size_t value;
  };

  bool Has(const Field& mark) const;

  StoredEntry(size_t fields, size_t text_bytes) : field_count_(fields), text_bytes_(text_bytes) {}

  Sizes* sizes() { return reinterpret_cast<Sizes*>(this + 1); }
  const Sizes* sizes() const { return reinterpret_cast<const Sizes*>(this + 1); }
  char* text() { return reinterpret_cast<char*>(sizes() + field_count_); }
  const char* text() const { return reinterpret_cast<const char*>(sizes() + field_count_); }

  size_t field_count_;
  size_t text_bytes_;
};

using StoredEntries = std::deque<StoredEntry::Ptr>;

// Batches of more than this grow block by block.
inline constexpr size_t kBatchBytes = size_t{256} * 1024;

// Up to count entries, from `first` on in its direction.
template <class Iterator>
BatchPtr EntriesOf(Iterator first, Iterator end, size_t count) {
  count = end - first > 0 ? std::min(count, static_cast<size_t>(end - first)) : 0;
  if (count == 0) return nullptr;
  auto last = first + static_cast<std::ptrdiff_t>(count);
  size_t bytes = 0;
  for (auto it = first; it != last && bytes < kBatchBytes; ++it) bytes += (*it)->arena_bytes();
  BatchPtr batch(Batch::Create(std::min(bytes, kBatchBytes)));
  for (auto it = first; it != last; ++it) (*it)->AppendTo(batch.get());
  return batch;
}

struct Stream {
  // Gives the entries their ids and appends them, all or (bad_alloc) none.
  void Append(std::span<StoredEntry::Ptr> added, EntryId* ids);
  void Trim(uint64_t max_length) noexcept;
  // How many went.
  uint64_t DropFirst(size_t count) noexcept;
  // Those of the ids that are there, wherever they stand; how many went.
  uint64_t Delete(std::span<const EntryId> ids) noexcept;
  EntryId NextId(uint64_t wall_ms) const noexcept;
  // The first entry that is not older than the id, or none.
  StoredEntries::const_iterator NotOlderThan(EntryId id) const;
  // From the first that is newer than the id on, to the end.
  std::pair<StoredEntries::const_iterator, StoredEntries::const_iterator> After(EntryId id) const;
  // Null if it is not there.
  const StoredEntry* FindEntry(EntryId id) const;

  StoredEntries entries;
  bool list = false;  // each is an element: its id is its place and its hash
  EntryId last;       // the highest id given out
  EntryId dropped;    // the highest id that was given out and is not there any more
  GroupMap groups;
  std::unique_ptr<Stream> next_dead;
};

// A key: a stream, a string (a flag, or a text), or nothing but watchers.
struct Node {
  static constexpr size_t kNoExpiry = SIZE_MAX;

  struct Watch {
    Watcher* watcher;
    const void* client;
  };

  bool has_value() const { return is_flag || stream != nullptr; }

  std::string_view key;
  std::unique_ptr<Stream> stream;
  bool is_flag = false;  // it holds a string
  bool armed = false;    // was read since the watchers were last told
  std::string token;     // a string's value
  TimePoint expires = kNever;
  size_t heap_index = kNoExpiry;
  std::vector<Watch> watches;
};

class KeySpace {
 public:
  // A node to put a value or a watcher into; it goes away again if that did not come about.
  class Obtained {
   public:
    Obtained(KeySpace* keys, Node* node) : keys_(keys), node_(node) {}
    ~Obtained() { keys_->Tidy(node_); }
    Obtained(const Obtained&) = delete;
    Obtained& operator=(const Obtained&) = delete;
    Node* operator->() const { return node_; }
    Node& operator*() const { return *node_; }

   private:
    KeySpace* keys_;
    Node* node_;
  };

  // The node of a key that has a value or a watcher, or null.
  Node* Find(std::string_view key, TimePoint now) noexcept;
  Obtained Obtain(std::string_view key, TimePoint now);

  // A stream for a key that has none; it is not in the key space yet.
  std::unique_ptr<Stream> NewStream() const;
  void SetStream(Node* node, std::unique_ptr<Stream> stream) noexcept;
  // Throws bad_alloc, and then changes nothing.
  void SetFlag(Node* node, std::string token) { SetFlag(node, std::move(token), NewFlag(*node)); }
  // In two steps, for who has to do something else in between that can fail.
  using Flags = std::set<std::string_view, std::less<>>;
  static Flags::node_type NewFlag(const Node& node);
  void SetFlag(Node* node, std::string token, Flags::node_type fresh) noexcept;
  // Deletes the value and tells the watchers; the node stays, for who holds it.
  void ClearValue(Node* node) noexcept;
  // Deletes the value, tells the watchers, and frees the node unless it has any.
  void DropValue(Node* node) noexcept;

  void SetExpiry(Node* node, TimePoint when) noexcept;
  // Drops some of what has expired: more than one call can add.
  void Sweep(TimePoint now) noexcept;

  void Arm(Node* node) noexcept { node->armed = !node->watches.empty(); }
  void Ring(Node* node) noexcept;
  // Tells those who watch a flag that it goes by another's hand.
  static void TellTaken(Node* flag) noexcept;
  // The watchers of a stream that its producer was stopped.
  void TellStopped(std::string_view key, TimePoint now) noexcept;
  // False if it was not watching. Frees the node if nothing is left in it.
  bool Unwatch(Node* node, Watcher* watcher, const void* client) noexcept;
  // Rings the client's watchers, or forgets them.
  void RingAll(const void* client) noexcept;
  void UnwatchAll(const void* client) noexcept;

  // Appends flags after `cursor` that fit; looks at a bounded number. True at the end.
  bool Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
            std::vector<std::string>* keys, TimePoint now) const;

  // Streams that were dropped; to be freed once the lock is released.
  std::unique_ptr<Stream> TakeDead() noexcept { return std::move(dead_); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const noexcept {
      return std::hash<std::string_view>()(key);
    }
  };
  using Nodes = std::unordered_map<std::string, Node, Hash, std::equal_to<>>;

  void Tidy(Node* node) noexcept;
  void Erase(Node* node) noexcept { nodes_.erase(nodes_.find(node->key)); }
  void Bury(std::unique_ptr<Stream> stream) noexcept;
  bool Expired(const Node& node, TimePoint now) const noexcept { return node.expires <= now; }

  void HeapRemove(Node* node) noexcept;
  void HeapPlace(size_t index, Node* node) noexcept;
  void HeapUp(size_t index, Node* node) noexcept;
  void HeapDown(size_t index, Node* node) noexcept;

  Nodes nodes_;
  Flags flags_;              // the keys that are flags, in order
  std::vector<Node*> heap_;  // what expires, soonest first; has room for every node
  EntryId removed_;          // the highest last id of a stream that was dropped whole
  std::unique_ptr<Stream> dead_;
};

}  // namespace agx::memory
