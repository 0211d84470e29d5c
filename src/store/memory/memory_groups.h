// The consumer groups of a stream in a memory store. Not synchronised; its owner holds a lock. As
// there, what throws bad_alloc has changed nothing.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "store/entry.h"
#include "store/groups.h"

namespace agx::memory {

struct Stream;

struct Consumer {
  uint64_t pending = 0;
  TimePoint seen;
};
using Consumers = std::map<std::string, Consumer, std::less<>>;

struct Pending {
  Consumers::iterator consumer;
  TimePoint delivered;
  int64_t attempts = 1;
};

struct Group {
  EntryId last_delivered;
  Consumers consumers;
  std::map<EntryId, Pending> pending;
};
using GroupMap = std::map<std::string, Group, std::less<>>;

// What a consumer does with a group, at one moment.
class GroupUse {
 public:
  GroupUse(Stream* stream, Group* group, TimePoint now)
      : stream_(stream), group_(group), now_(now) {}

  BatchPtr ReadNew(std::string_view consumer, size_t count);
  void Take(const TakeRequest& request, Takings* taken);
  void Claim(std::string_view consumer, int64_t min_idle_ms, std::span<const EntryId> ids,
             Takings* taken);
  void Hold(std::string_view consumer, int64_t idle_ms, std::span<Held> held);
  uint64_t Acknowledge(std::span<const EntryId> ids) noexcept;
  bool IsPendingFor(std::string_view consumer, EntryId id) const;

  PendingFacts Facts() const;
  void PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) const;
  GroupFacts Describe(std::string_view name) const;
  void ListConsumers(std::vector<ConsumerFacts>* consumers) const;
  uint64_t DeleteConsumer(std::string_view consumer, bool only_idle) noexcept;

 private:
  using Found = std::vector<std::map<EntryId, Pending>::iterator>;

  Consumers::iterator Obtain(std::string_view consumer);
  int64_t IdleOf(const Pending& pending) const;
  void TakeFound(std::string_view consumer, const Found& found, bool counts, Takings* taken);
  void Drop(std::map<EntryId, Pending>::iterator pending) noexcept;

  Stream* const stream_;
  Group* const group_;
  const TimePoint now_;
};

}  // namespace agx::memory
