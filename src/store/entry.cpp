#include "store/entry.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>

namespace agx {
namespace {

constexpr size_t kAlign = alignof(Entry);
constexpr size_t kSmallBlock = 1024;
// Below what malloc takes from the system and gives back each time.
constexpr size_t kLargeBlock = size_t{64} * 1024;

constexpr size_t Aligned(size_t size) { return (size + kAlign - 1) & ~(kAlign - 1); }

// Digits that fit; *at moves behind them. Replays do little else, and std::from_chars takes a
// multiple of the time.
bool TakeNumber(const char** at, const char* end, uint64_t* number) {
  constexpr ptrdiff_t kAlwaysFit = 19;
  const char* begin = *at;
  const char* stop = end - begin > kAlwaysFit ? begin + kAlwaysFit : end;
  const char* p = begin;
  uint64_t value = 0;
  for (; p != stop; ++p) {
    unsigned digit = static_cast<unsigned char>(*p) - '0';
    if (digit > 9) break;
    value = value * 10 + digit;
  }
  if (p == stop && p != end) {
    auto parsed = std::from_chars(begin, end, value);
    if (parsed.ec != std::errc()) return false;
    p = parsed.ptr;
  }
  *at = p;
  *number = value;
  return p != begin;
}

}  // namespace

bool ParseEntryId(std::string_view text, EntryId* id) {
  const char* at = text.data();
  const char* end = at + text.size();
  EntryId parsed;
  if (!TakeNumber(&at, end, &parsed.ms)) return false;
  if (at != end) {
    if (*at++ != '-') return false;
    if (!TakeNumber(&at, end, &parsed.seq) || at != end) return false;
  }
  *id = parsed;
  return true;
}

size_t PrintEntryId(EntryId id, char* text) {
  char* p = std::to_chars(text, text + 20, id.ms).ptr;
  *p++ = '-';
  p = std::to_chars(p, p + 20, id.seq).ptr;
  *p = '\0';
  return static_cast<size_t>(p - text);
}

uint64_t HashElement(std::string_view element) {
  ElementHasher hasher(element.size());
  hasher.Add(element);
  return hasher.Finish();
}

void ElementHasher::Mix(const char* word) {
  uint64_t number;
  std::memcpy(&number, word, sizeof(number));
  hash_ = (hash_ ^ number) * 0x9E3779B97F4A7C15U;
  hash_ ^= hash_ >> 32;
}

void ElementHasher::Add(std::string_view piece) {
  if (rest_size_ > 0) {
    size_t size = std::min(piece.size(), sizeof(rest_) - rest_size_);
    std::memcpy(rest_ + rest_size_, piece.data(), size);
    rest_size_ += size;
    piece.remove_prefix(size);
    if (rest_size_ < sizeof(rest_)) return;
    Mix(rest_);
    rest_size_ = 0;
  }
  for (; piece.size() >= sizeof(rest_); piece.remove_prefix(sizeof(rest_))) Mix(piece.data());
  if (!piece.empty()) std::memcpy(rest_, piece.data(), piece.size());
  rest_size_ = piece.size();
}

uint64_t ElementHasher::Finish() {
  std::memset(rest_ + rest_size_, 0, sizeof(rest_) - rest_size_);
  Mix(rest_);
  return hash_ != 0 ? hash_ : 1;
}

Batch* Batch::Create(size_t bytes) {
  size_t block = std::max(kSmallBlock, bytes);
  void* memory = std::malloc(Aligned(sizeof(Batch)) + block);
  if (memory == nullptr) throw std::bad_alloc();
  auto* batch = new (memory) Batch();
  batch->free_ = static_cast<char*>(memory) + Aligned(sizeof(Batch));
  batch->free_end_ = batch->free_ + block;
  batch->next_block_ = block * 2;
  return batch;
}

void* Batch::AllocateBlock(size_t size) {
  size_t room = std::max(size, std::min(next_block_, kLargeBlock));
  void* memory = std::malloc(Aligned(sizeof(Block)) + room);
  if (memory == nullptr) throw std::bad_alloc();
  blocks_ = new (memory) Block{blocks_};
  char* start = static_cast<char*>(memory) + Aligned(sizeof(Block));
  next_block_ = std::min(next_block_ * 2, kLargeBlock);
  bytes_ += size;
  // A text larger than a block gets its own; the rest of the current one stays in use.
  if (size == room && size > kLargeBlock) return start;
  free_ = start + size;
  free_end_ = start + room;
  return start;
}

Entry* Batch::Append(EntryId id, std::string_view id_text, size_t fields) {
  // The texts follow in the same arena, so that an entry lies together.
  auto* entry = new (Allocate(sizeof(Entry))) Entry();
  entry->id_text = Copy(id_text);
  entry->fields = static_cast<Field*>(Allocate(sizeof(Field) * fields));
  std::uninitialized_value_construct_n(entry->fields, fields);
  entry->field_count = fields;
  entry->batch = this;
  entry->id = id;
  (last_ != nullptr ? last_->next : first_) = entry;
  last_ = entry;
  ++size_;
  refs_.fetch_add(1, std::memory_order_relaxed);
  return entry;
}

void Batch::Reverse() {
  Entry* reversed = nullptr;
  last_ = first_;
  while (first_ != nullptr) {
    Entry* entry = first_;
    first_ = entry->next;
    entry->next = reversed;
    reversed = entry;
  }
  first_ = reversed;
}

Entry* Batch::TakeFirst() {
  Entry* entry = first_;
  if (entry == nullptr) return nullptr;
  first_ = entry->next;
  if (first_ == nullptr) last_ = nullptr;
  --size_;
  return entry;
}

void Batch::Release(Entry* entry) {
  for (auto& json : entry->json) std::free(json.load(std::memory_order_acquire));
  entry->batch->Unref(1);
}

void Batch::Drop() { Unref(size_ + 1); }

void Batch::Unref(size_t count) {
  if (refs_.fetch_sub(count, std::memory_order_acq_rel) != count) return;
  Block* block = blocks_;
  this->~Batch();
  std::free(this);
  while (block != nullptr) {
    Block* next = block->next;
    std::free(block);
    block = next;
  }
}

}  // namespace agx
