// Stream entries, and the batches in which they arrive.
//
// A batch is one arena: an entry, its fields and their texts lie in it, so that reading thousands
// of entries costs a handful of allocations. It lives until its owner and every entry handed out
// have let go of it.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "agx.h"

namespace agx {

struct EntryId {
  uint64_t ms = 0;
  uint64_t seq = 0;

  friend auto operator<=>(const EntryId&, const EntryId&) = default;
};

inline constexpr EntryId kLastEntryId{UINT64_MAX, UINT64_MAX};

// "ms-seq", or "ms" for "ms-0"; decimal digits only, both within 64 bits.
bool ParseEntryId(std::string_view text, EntryId* id);

// Writes "ms-seq" and a NUL into at least 42 bytes; returns the length without it.
size_t PrintEntryId(EntryId id, char* text);

struct Field {
  std::string_view name;
  std::string_view value;
};

// The names of an event's fields.
inline constexpr std::string_view kTypeField = "type";
inline constexpr std::string_view kOriginField = "origin";
inline constexpr std::string_view kBodyField = "body";
// An element of a list is an entry with this one field, and {its place from 1 on, its hash} as its
// id: the hash tells a list that was replaced.
inline constexpr std::string_view kElement = "element";
uint64_t HashElement(std::string_view element);  // never 0

// The same of an element of so many bytes that comes in pieces.
class ElementHasher {
 public:
  explicit ElementHasher(size_t size = 0) : hash_(size) {}
  void Add(std::string_view piece);
  uint64_t Finish();

 private:
  void Mix(const char* word);

  uint64_t hash_;
  char rest_[sizeof(uint64_t)] = {};
  size_t rest_size_ = 0;
};

// Of an entry, the texts of its fields together; what is longer is not kept.
inline constexpr size_t kMostEntry = size_t{AGX_BODY_MAX} + size_t{1024} * 1024;
static_assert(kMostEntry == 68157440, "as kTooLarge and the scripts of groups say");
// Why it cannot be read then.
inline constexpr char kTooLarge[] =
    "it has more than 68157440 bytes (65 MiB), which is the most that is read of one";

class Batch;

// Whether a run ends with an entry.
enum class Ending : uint8_t {
  kNone,
  kMark,  // it says that, and nothing else
  kEvent  // it is an event as well
};

// One stored entry and, once a format has read it, the event that it stands for. Texts end with a
// NUL.
struct Entry {
  Batch* batch = nullptr;
  Entry* next = nullptr;
  EntryId id;
  std::string_view id_text;
  Field* fields = nullptr;
  size_t field_count = 0;

  // Filled by a format.
  std::string_view type;
  std::string_view origin;
  std::string_view body;
  bool begins = false;  // a run begins with it, whatever came before
  Ending ending = Ending::kNone;
  bool timeless = false;  // the id tells no time
  // Static: why it cannot be read as an event. Of one that is too large the store says so, and it has
  // no fields then.
  const char* refusal = nullptr;

  // Kept for what it means to a cursor; not to be handed on.
  bool hidden = false;

  // JSON forms, made when first asked for; owned by the entry.
  std::atomic<char*> json[2] = {nullptr, nullptr};
};

// Built by one thread; then its entries are handed out one by one, from first on.
class Batch {
 public:
  // Throws bad_alloc. `bytes` is what the entries are expected to take.
  static Batch* Create(size_t bytes = 0);

  // Room for `size` bytes, aligned for any of the types above. Throws bad_alloc.
  void* Allocate(size_t size) {
    size = (size + kAlign - 1) & ~(kAlign - 1);
    if (size > static_cast<size_t>(free_end_ - free_)) return AllocateBlock(size);
    char* result = free_;
    free_ += size;
    bytes_ += size;
    return result;
  }
  // A copy of the text in the arena, followed by a NUL. Throws bad_alloc.
  std::string_view Copy(std::string_view text) {
    auto* copy = static_cast<char*>(Allocate(text.size() + 1));
    if (!text.empty()) std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
    return {copy, text.size()};
  }
  // An entry with room for `fields` fields, at the end of the list; the caller fills it. Throws
  // bad_alloc.
  Entry* Append(EntryId id, std::string_view id_text, size_t fields);

  // Takes out and releases every entry that the function does not keep. It is asked in order, and
  // told the one that was kept before, or null.
  template <class Keep>
  void Filter(Keep keep);

  Entry* first() const { return first_; }
  Entry* last() const { return last_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t bytes() const { return bytes_; }

  void Reverse();

  // Takes the first entry out of the list. It keeps the batch alive until Release(entry).
  Entry* TakeFirst();

  // Gives up an entry that was taken; from any thread.
  static void Release(Entry* entry);
  // Gives up the batch and the entries that were not taken.
  void Drop();

 private:
  static constexpr size_t kAlign = alignof(Entry);

  struct Block {
    Block* next;
  };

  void* AllocateBlock(size_t size);

  Batch() = default;
  ~Batch() = default;
  void Unref(size_t count);

  std::atomic<size_t> refs_{1};
  Entry* first_ = nullptr;
  Entry* last_ = nullptr;
  size_t size_ = 0;
  size_t bytes_ = 0;
  Block* blocks_ = nullptr;
  char* free_ = nullptr;
  char* free_end_ = nullptr;
  size_t next_block_ = 0;
};

template <class Keep>
void Batch::Filter(Keep keep) {
  Entry* kept = nullptr;
  Entry** link = &first_;
  size_t gone = 0;
  while (Entry* entry = *link) {
    if (keep(*entry, static_cast<const Entry*>(kept))) {
      kept = entry;
      link = &entry->next;
      continue;
    }
    *link = entry->next;
    ++gone;
  }
  last_ = kept;
  size_ -= gone;
  if (gone != 0) Unref(gone);  // nobody has seen them, so they have no JSON
}

struct BatchDrop {
  void operator()(Batch* batch) const { batch->Drop(); }
};
using BatchPtr = std::unique_ptr<Batch, BatchDrop>;

}  // namespace agx
