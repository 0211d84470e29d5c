#include "store/memory/memory_groups.h"

#include <algorithm>
#include <utility>

#include "store/memory/key_space.h"

namespace agx::memory {

Consumers::iterator GroupUse::Obtain(std::string_view consumer) {
  auto found = group_->consumers.find(consumer);
  if (found == group_->consumers.end()) {
    found = group_->consumers.emplace(std::string(consumer), Consumer{}).first;
  }
  found->second.seen = now_;
  return found;
}

int64_t GroupUse::IdleOf(const Pending& pending) const {
  return MillisUntil(now_, pending.delivered, INT64_MAX);
}

void GroupUse::Drop(std::map<EntryId, Pending>::iterator pending) noexcept {
  --pending->second.consumer->second.pending;
  group_->pending.erase(pending);
}

BatchPtr GroupUse::ReadNew(std::string_view consumer, size_t count) {
  Consumers::iterator reader = Obtain(consumer);
  auto [first, end] = stream_->After(group_->last_delivered);
  BatchPtr batch = EntriesOf(first, end, count);
  if (batch == nullptr) return batch;
  std::map<EntryId, Pending> given;
  for (Entry* entry = batch->first(); entry != nullptr; entry = entry->next) {
    given.emplace_hint(given.end(), entry->id, Pending{reader, now_, 1});
  }
  group_->last_delivered = batch->last()->id;
  reader->second.pending += given.size();
  group_->pending.merge(given);
  return batch;
}

// Entries that the stream lacks go; the others become the consumer's.
void GroupUse::TakeFound(std::string_view consumer, const Found& found, bool counts,
                         Takings* taken) {
  Consumers::iterator owner = Obtain(consumer);
  Found gone;
  Found kept;
  gone.reserve(found.size());
  kept.reserve(found.size());
  taken->attempts.reserve(found.size());
  BatchPtr batch;
  for (auto pending : found) {
    const StoredEntry* entry = stream_->FindEntry(pending->first);
    (entry != nullptr ? kept : gone).push_back(pending);
    if (entry == nullptr) continue;
    if (batch == nullptr) batch.reset(Batch::Create());
    entry->AppendTo(batch.get());
  }
  for (auto pending : gone) Drop(pending);
  for (auto pending : kept) {
    --pending->second.consumer->second.pending;
    ++owner->second.pending;
    if (counts) ++pending->second.attempts;
    pending->second.consumer = owner;
    pending->second.delivered = now_;
    taken->attempts.push_back(pending->second.attempts);
  }
  taken->gone = gone.size();
  taken->batch = std::move(batch);
}

void GroupUse::Take(const TakeRequest& request, Takings* taken) {
  *taken = {};
  Found found;
  auto at = group_->pending.upper_bound(request.after);
  if (request.after == EntryId{}) at = group_->pending.begin();
  for (; at != group_->pending.end() && found.size() < request.count; ++at) {
    bool fits = IsClaim(request.mode) ? IdleOf(at->second) >= request.min_idle_ms
                                      : at->second.consumer->first == request.consumer;
    if (fits) found.push_back(at);
  }
  taken->more = !found.empty() && found.size() == request.count;
  if (!found.empty()) taken->last = found.back()->first;
  bool counts = request.mode == TakeMode::kOwn || request.mode == TakeMode::kClaim;
  TakeFound(request.consumer, found, counts, taken);
}

void GroupUse::Claim(std::string_view consumer, int64_t min_idle_ms, std::span<const EntryId> ids,
                     Takings* taken) {
  *taken = {};
  Found found;
  for (EntryId id : ids) {
    auto at = group_->pending.find(id);
    bool again = std::find(found.begin(), found.end(), at) != found.end();
    if (at == group_->pending.end() || again || IdleOf(at->second) < min_idle_ms) continue;
    found.push_back(at);
  }
  TakeFound(consumer, found, true, taken);
}

void GroupUse::Hold(std::string_view consumer, int64_t idle_ms, std::span<Held> held) {
  for (Held& one : held) {
    one.own = IsPendingFor(consumer, one.id);
    if (!one.own) continue;
    Pending& pending = group_->pending.find(one.id)->second;
    pending.delivered = now_ - Millis(std::clamp<int64_t>(idle_ms, 0, kLongestWaitMs));
    if (one.attempts >= 0) pending.attempts = one.attempts;
  }
}

uint64_t GroupUse::Acknowledge(std::span<const EntryId> ids) noexcept {
  uint64_t count = 0;
  for (EntryId id : ids) {
    auto at = group_->pending.find(id);
    if (at == group_->pending.end()) continue;
    Drop(at);
    ++count;
  }
  return count;
}

bool GroupUse::IsPendingFor(std::string_view consumer, EntryId id) const {
  auto at = group_->pending.find(id);
  return at != group_->pending.end() && at->second.consumer->first == consumer;
}

PendingFacts GroupUse::Facts() const {
  PendingFacts facts;
  facts.count = group_->pending.size();
  if (facts.count == 0) return facts;
  facts.lowest = group_->pending.begin()->first;
  facts.highest = group_->pending.rbegin()->first;
  for (const auto& [name, consumer] : group_->consumers) facts.consumers += consumer.pending > 0;
  return facts;
}

void GroupUse::PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) const {
  auto at =
      range.after == EntryId{} ? group_->pending.begin() : group_->pending.upper_bound(range.after);
  for (; at != group_->pending.end() && entries->size() < range.count; ++at) {
    const std::string& consumer = at->second.consumer->first;
    int64_t idle_ms = IdleOf(at->second);
    if (idle_ms < range.min_idle_ms) continue;
    if (!range.consumer.empty() && consumer != range.consumer) continue;
    entries->push_back({at->first, consumer, idle_ms, at->second.attempts});
  }
}

GroupFacts GroupUse::Describe(std::string_view name) const {
  auto [first, end] = stream_->After(group_->last_delivered);
  return {std::string(name), group_->consumers.size(), group_->pending.size(),
          group_->last_delivered, end - first};
}

void GroupUse::ListConsumers(std::vector<ConsumerFacts>* consumers) const {
  for (const auto& [name, consumer] : group_->consumers) {
    consumers->push_back({name, consumer.pending, MillisUntil(now_, consumer.seen, INT64_MAX)});
  }
}

uint64_t GroupUse::DeleteConsumer(std::string_view consumer, bool only_idle) noexcept {
  auto found = group_->consumers.find(consumer);
  if (found == group_->consumers.end() || (only_idle && found->second.pending > 0)) return 0;
  uint64_t count = found->second.pending;
  std::erase_if(group_->pending, [&](const auto& one) { return one.second.consumer == found; });
  group_->consumers.erase(found);
  return count;
}

}  // namespace agx::memory
