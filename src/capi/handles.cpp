#include "capi/handles.h"

#include <mutex>

#include "base/futex.h"

namespace agx::capi {
namespace {

static_assert(sizeof(void*) == 8, "a handle holds a kind, a slot and a generation");

// A handle's bits: generation (32), slot (28), kind (4).
constexpr unsigned kKindBits = 4;
constexpr unsigned kSlotBits = 28;
constexpr size_t kSlotsInChunk = 4096;
constexpr size_t kChunks = (size_t{1} << kSlotBits) / kSlotsInChunk;

struct Slot {
  // Generation (32), closing (1), calls in it (31).
  std::atomic<uint64_t> state{0};
  std::shared_ptr<void>* object = nullptr;
  Kind kind{};
  uint32_t next_free = 0;  // the number of a slot plus one
};

constexpr uint64_t kClosing = uint64_t{1} << 31;
constexpr uint64_t kCalls = kClosing - 1;

constexpr uint64_t GenerationOf(uint64_t state) { return state >> 32; }

// The table needs no constructor, and has no destructor: handles may be used until the process
// ends. The first chunk is part of the library, so that a program with few handles allocates none.
struct Table {
  std::mutex mutex;
  uint32_t used = 0;       // slots that were ever given out
  uint32_t free_list = 0;  // the number of a slot plus one
  Bell left;               // rings when the last call leaves a handle that is being closed
  std::atomic<Slot*> chunks[kChunks] = {};
  Slot first_chunk[kSlotsInChunk];
};

constinit Table table;

Slot* SlotAt(uint32_t number) {
  size_t chunk = number / kSlotsInChunk;
  Slot* slots =
      chunk == 0 ? table.first_chunk : table.chunks[chunk].load(std::memory_order_acquire);
  return slots != nullptr ? &slots[number % kSlotsInChunk] : nullptr;
}

// A slot that nobody uses, or null. Under the table's lock.
Slot* TakeSlot(uint32_t* number) {
  if (table.free_list != 0) {
    *number = table.free_list - 1;
    Slot* slot = SlotAt(*number);
    table.free_list = slot->next_free;
    return slot;
  }
  *number = table.used;
  size_t chunk = *number / kSlotsInChunk;
  if (chunk >= kChunks) return nullptr;
  if (SlotAt(*number) == nullptr) {
    auto* slots = new (std::nothrow) Slot[kSlotsInChunk];
    if (slots == nullptr) return nullptr;
    table.chunks[chunk].store(slots, std::memory_order_release);
  }
  ++table.used;
  return SlotAt(*number);
}

struct Parts {
  Slot* slot;
  uint64_t generation;
};

Parts Split(Kind kind, const void* handle) {
  auto bits = reinterpret_cast<uint64_t>(handle);
  uint64_t generation = bits >> 32;
  auto number = static_cast<uint32_t>(bits >> kKindBits & ((uint64_t{1} << kSlotBits) - 1));
  bool fits = (bits & ((1U << kKindBits) - 1)) == static_cast<uint64_t>(kind);
  return {fits && generation != 0 ? SlotAt(number) : nullptr, generation};
}

Slot* SlotOf(const void* handle) {
  auto bits = reinterpret_cast<uint64_t>(handle);
  return SlotAt(static_cast<uint32_t>(bits >> kKindBits & ((uint64_t{1} << kSlotBits) - 1)));
}

}  // namespace

void* OpenHandle(Kind kind, std::shared_ptr<void> object) noexcept {
  auto* owned = new (std::nothrow) std::shared_ptr<void>(std::move(object));
  if (owned == nullptr) return nullptr;
  uint32_t number = 0;
  Slot* slot = nullptr;
  uint64_t generation = 0;
  {
    std::lock_guard lock(table.mutex);
    slot = TakeSlot(&number);
    if (slot != nullptr) {
      slot->object = owned;
      slot->kind = kind;
      generation = (GenerationOf(slot->state.load(std::memory_order_relaxed)) + 1) & 0xffffffff;
      if (generation == 0) generation = 1;
      slot->state.store(generation << 32, std::memory_order_release);
    }
  }
  if (slot == nullptr) {
    delete owned;
    return nullptr;
  }
  uint64_t bits = generation << 32 | uint64_t{number} << kKindBits | static_cast<uint64_t>(kind);
  return reinterpret_cast<void*>(bits);  // NOLINT(performance-no-int-to-ptr): see the top
}

void* AcquireHandle(Kind kind, const void* handle) noexcept {
  auto [slot, generation] = Split(kind, handle);
  if (slot == nullptr) return nullptr;
  uint64_t state = slot->state.load(std::memory_order_acquire);
  do {
    if (GenerationOf(state) != generation || (state & kClosing) != 0) return nullptr;
  } while (!slot->state.compare_exchange_weak(state, state + 1, std::memory_order_acquire));
  if (slot->kind == kind) return slot->object->get();
  ReleaseHandle(handle);
  return nullptr;
}

void ReleaseHandle(const void* handle) noexcept {
  uint64_t before = SlotOf(handle)->state.fetch_sub(1, std::memory_order_release);
  if ((before & kClosing) != 0 && (before & kCalls) == 1) table.left.Ring();
}

std::shared_ptr<void>* BeginClose(Kind kind, const void* handle) noexcept {
  auto [slot, generation] = Split(kind, handle);
  if (slot == nullptr) return nullptr;
  uint64_t state = slot->state.load(std::memory_order_acquire);
  do {
    if (GenerationOf(state) != generation || (state & kClosing) != 0) return nullptr;
  } while (!slot->state.compare_exchange_weak(state, state | kClosing, std::memory_order_acq_rel));
  return slot->object;
}

void FinishClose(const void* handle) noexcept {
  Slot* slot = SlotOf(handle);
  for (;;) {
    uint32_t ticket = table.left.ticket();
    if ((slot->state.load(std::memory_order_acquire) & kCalls) == 0) break;
    table.left.Wait(ticket, kNever);
  }
  std::shared_ptr<void>* object = slot->object;
  delete object;
  auto bits = reinterpret_cast<uint64_t>(handle);
  std::lock_guard lock(table.mutex);
  slot->object = nullptr;
  // The generation stays until the slot is used again: with `closing` set, no handle fits it.
  slot->next_free = table.free_list;
  table.free_list = static_cast<uint32_t>(bits >> kKindBits & ((uint64_t{1} << kSlotBits) - 1)) + 1;
}

}  // namespace agx::capi
