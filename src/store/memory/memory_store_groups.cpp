// The consumer groups of a memory store: finding one, and what is done to it and its stream in one
// step. What a consumer does with a group is in memory_groups.cpp.
#include "store/memory/memory_store_impl.h"

namespace agx::memory {
namespace {

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

}  // namespace

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

Status MemoryStore::CreateGroup(const NewGroup& request, bool* created) {
  *created = false;
  const GroupOf& of = request.of;
  Access access(this);
  if (access.closed) return Closed();
  KeySpace::Obtained node = access.keys.Obtain(of.key, access.now);
  if (node->is_flag) return NotAStream(of.key);
  std::unique_ptr<Stream> fresh;
  Stream* stream = node->stream.get();
  if (stream == nullptr && !request.make_stream) {
    return {AGX_NONE, Cat("there is no stream ", of.key)};
  }
  if (stream == nullptr) {
    fresh = access.keys.NewStream();
    stream = fresh.get();
  }
  auto [group, inserted] = stream->groups.try_emplace(std::string(of.group));
  if (inserted) group->second.last_delivered = request.start.value_or(stream->last);
  *created = inserted;
  if (fresh == nullptr) return {};
  access.keys.SetStream(&*node, std::move(fresh));
  if (request.expire_ms > 0) access.keys.SetExpiry(&*node, access.After(request.expire_ms));
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
                         std::span<Held> held, const StopFlag* /*stop*/) {
  return WithGroup(of, [&](GroupUse& group) { group.Hold(consumer, idle_ms, held); });
}

Status MemoryStore::Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) {
  *count = 0;
  Status status = WithGroup(of, [&](GroupUse& group) { *count = group.Acknowledge(ids); });
  return status.code() == AGX_NONE ? Status() : status;
}

Status MemoryStore::Pending(const GroupOf& of, PendingFacts* facts, const StopFlag* /*stop*/) {
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
  Target target{.key = revival.key};
  target.expire_ms = revival.expire_ms;
  if (Status status = AppendIn(access, target, {&copy, 1}, id); !status.ok()) return status;
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

}  // namespace agx::memory
