// What is in a memory store's streams and lists, and what is known of them.
#include <algorithm>
#include <iterator>

#include "store/memory/memory_store_impl.h"

namespace agx::memory {
namespace {

using Access = MemoryStore::Access;

void ReadList(const Stream& stream, ReadRequest* request) {
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

Status ReadOne(Access& access, ReadRequest* request) {
  request->batch.reset();
  request->gap = request->exists = false;
  request->live = {};
  request->last.reset();
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
  if (request->want_last) {
    request->last = EntriesOf(stream.entries.rbegin(), stream.entries.rend(), 1);
  }
  return {};
}

}  // namespace

// Each request is one step of its own; one that fails does not hold up the others.
Status MemoryStore::Read(std::span<ReadRequest> requests) {
  for (ReadRequest& request : requests) {
    Access access(this);
    if (access.closed) return Closed();
    request.status = ReadOne(access, &request);
  }
  return {};
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

}  // namespace agx::memory
