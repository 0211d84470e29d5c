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

}  // namespace

bool ParseEntryId(std::string_view text, EntryId* id) {
  const char* end = text.data() + text.size();
  EntryId parsed;
  auto ms = std::from_chars(text.data(), end, parsed.ms);
  if (ms.ec != std::errc()) return false;
  if (ms.ptr != end) {
    if (*ms.ptr != '-') return false;
    auto seq = std::from_chars(ms.ptr + 1, end, parsed.seq);
    if (seq.ec != std::errc() || seq.ptr != end) return false;
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
  uint64_t hash = element.size();
  auto mix = [&hash](uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 32;
  };
  while (element.size() >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, element.data(), sizeof(word));
    mix(word);
    element.remove_prefix(sizeof(word));
  }
  uint64_t rest = 0;
  if (!element.empty()) std::memcpy(&rest, element.data(), element.size());
  mix(rest);
  return hash != 0 ? hash : 1;
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

void* Batch::Allocate(size_t size) {
  size = Aligned(size);
  if (size > static_cast<size_t>(free_end_ - free_)) {
    size_t room = std::max(size, std::min(next_block_, kLargeBlock));
    void* memory = std::malloc(Aligned(sizeof(Block)) + room);
    if (memory == nullptr) throw std::bad_alloc();
    blocks_ = new (memory) Block{blocks_};
    char* start = static_cast<char*>(memory) + Aligned(sizeof(Block));
    next_block_ = std::min(next_block_ * 2, kLargeBlock);
    // A text larger than a block gets its own; the rest of the current one stays in use.
    if (size == room && size > kLargeBlock) {
      bytes_ += size;
      return start;
    }
    free_ = start;
    free_end_ = start + room;
  }
  char* result = free_;
  free_ += size;
  bytes_ += size;
  return result;
}

std::string_view Batch::Copy(std::string_view text) {
  auto* copy = static_cast<char*>(Allocate(text.size() + 1));
  if (!text.empty()) std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  return {copy, text.size()};
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
