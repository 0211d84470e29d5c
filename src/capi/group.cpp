#include "core/group.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "base/options.h"
#include "base/text.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

Entry** ToEntries(agx_event** events) { return reinterpret_cast<Entry**>(events); }

void PrintId(EntryId id, char* text) {
  *text = '\0';
  if (id != EntryId{}) PrintEntryId(id, text);
}

// Names that others gave may be longer than ours can be.
void PrintName(std::string_view name, char* text) {
  name = CutShort(name, AGX_NAME_MAX);
  if (!name.empty()) std::memcpy(text, name.data(), name.size());
  text[name.size()] = '\0';
}

agx_pending Told(const PendingFacts& facts) {
  agx_pending told = AGX_PENDING_INIT;
  told.count = facts.count;
  PrintId(facts.lowest, told.lowest_id);
  PrintId(facts.highest, told.highest_id);
  told.consumers = facts.consumers;
  return told;
}

agx_health Told(const GroupHealth& facts) {
  agx_health told = AGX_HEALTH_INIT;
  told.length = facts.length;
  told.pending = facts.group.pending;
  told.lag = facts.group.lag;
  told.consumers = facts.group.consumers;
  told.dead_letters = facts.dead_letters;
  told.oldest_pending_ms = facts.oldest_ms;
  PrintEntryId(facts.group.last_delivered, told.last_delivered_id);
  return told;
}

agx_pending_event Told(const PendingEntry& entry) {
  agx_pending_event told{};
  PrintId(entry.id, told.id);
  PrintName(entry.consumer, told.consumer);
  told.idle_ms = entry.idle_ms;
  told.attempts = entry.attempts;
  return told;
}

agx_group_info Told(const GroupFacts& facts) {
  agx_group_info told{};
  PrintName(facts.name, told.name);
  told.consumers = facts.consumers;
  told.pending = facts.pending;
  PrintEntryId(facts.last_delivered, told.last_delivered_id);
  told.lag = facts.lag;
  return told;
}

agx_consumer_info Told(const ConsumerFacts& facts) {
  agx_consumer_info told{};
  PrintName(facts.name, told.name);
  told.pending = facts.pending;
  told.idle_ms = facts.idle_ms;
  return told;
}

agx_dead_letter Told(Entry* entry) {
  DeadLetterFacts facts = ReadDeadLetter(*entry);
  agx_dead_letter told{};
  told.event = reinterpret_cast<agx_event*>(entry);
  told.original_stream = facts.original_stream.data();
  told.original_id = facts.original_id.data();
  told.reason = facts.reason.data();
  told.attempts = facts.attempts;
  told.time_ms = facts.time_ms;
  return told;
}

// As many as there is room for.
template <class Facts, class Out>
void TellAll(const std::vector<Facts>& facts, Out* out, size_t capacity) {
  for (size_t i = 0; i < std::min(facts.size(), capacity); ++i) out[i] = Told(facts[i]);
}

// Calls the caller's handler; what it throws stops here.
agx_status CallHandler(agx_group_handler handler, const Entry& entry, int64_t attempt,
                       void* user_data, std::string* reason) {
  try {
    return handler(reinterpret_cast<const agx_event*>(&entry), attempt, user_data);
  } catch (const std::exception& error) {
    *reason = error.what();
  } catch (...) {
    *reason = "the handler threw what is no std::exception";
  }
  return AGX_EFAILED;
}

// A call that takes ids and gives a number.
template <class Function>
agx_status WithIds(agx_group* group, uint64_t* number, Function function) {
  if (number != nullptr) *number = 0;
  return Call(group, [&](Group& object) {
    uint64_t counted = 0;
    Status status = function(object, &counted);
    if (number != nullptr) *number = counted;
    return status;
  });
}

}  // namespace

extern "C" {

agx_status agx_group_open(agx_session* session, const char* group, const agx_group_options* options,
                          agx_group** handle) {
  if (handle == nullptr) return MissingOut("agx_group_open: handle is NULL");
  *handle = nullptr;
  return Call(session, [&](Session& object) -> Status {
    agx_group_options read = AGX_GROUP_OPTIONS_INIT;
    const agx_group_options defaults = AGX_GROUP_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    if (object.client()->closed()) return Client::ClosedStatus();
    Result<std::shared_ptr<Group>> opened = Group::Open(object, group, read);
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), handle);
  });
}

void agx_group_close(agx_group* group) { Close(group); }

const char* agx_group_consumer_name(agx_group* group) {
  Using<agx_group> object(group);
  return object ? object->consumer().c_str() : "";
}

agx_status agx_group_read(agx_group* group, agx_group_source source, int64_t timeout_ms,
                          agx_event** events, size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_read: count is NULL");
  *count = 0;
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_group_read: there is no room for events");
  }
  if (source < AGX_GROUP_NEW || source > AGX_GROUP_PENDING_ONLY) {
    return Report(AGX_EINVAL, "agx_group_read: source is none of agx_group_source");
  }
  return Call(group, [&](Group& object) {
    return object.Read(source, DeadlineAfter(timeout_ms), ToEntries(events), capacity, count);
  });
}

agx_status agx_group_interrupt(agx_group* group) {
  return Call(group, [](Group& object) {
    object.Interrupt();
    return Status();
  });
}

agx_status agx_group_ack(agx_group* group, const char* const* ids, size_t count,
                         uint64_t* acknowledged) {
  return WithIds(group, acknowledged, [&](Group& object, uint64_t* number) {
    return object.Acknowledge(ids, count, number);
  });
}

agx_status agx_group_claim(agx_group* group, int64_t min_idle_ms, const char* const* ids,
                           size_t id_count, agx_event** events, size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_claim: count is NULL");
  *count = 0;
  if (events == nullptr && id_count > 0) {
    return MissingOut("agx_group_claim: there is no room for events");
  }
  return Call(group, [&](Group& object) {
    return object.Claim(min_idle_ms, ids, id_count, ToEntries(events), count);
  });
}

agx_status agx_group_autoclaim(agx_group* group, int64_t min_idle_ms, char* cursor,
                               agx_event** events, size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_autoclaim: count is NULL");
  *count = 0;
  if (cursor == nullptr) return MissingOut("agx_group_autoclaim: cursor is NULL");
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_group_autoclaim: there is no room for events");
  }
  return Call(group, [&](Group& object) -> Status {
    EntryId id;
    std::string_view text(cursor, strnlen(cursor, AGX_ID_SIZE));
    if (!text.empty() && !ParseEntryId(text, &id)) {
      return {AGX_EINVAL, Cat("agx_group_autoclaim: cursor is no entry id: ", text)};
    }
    Status status = object.AutoClaim(min_idle_ms, &id, ToEntries(events), capacity, count);
    // Also past what cannot be read.
    if (status.ok() || status.code() == AGX_EUNSUPPORTED) PrintEntryId(id, cursor);
    return status;
  });
}

agx_status agx_group_pending(agx_group* group, agx_pending* pending) {
  if (pending == nullptr) return MissingOut("agx_group_pending: pending is NULL");
  const agx_pending nothing = AGX_PENDING_INIT;
  agx_status status = Guarded([&] { return GiveResult(nothing, pending); });
  if (status != AGX_OK) return status;
  return Call(group, [&](Group& object) -> Status {
    PendingFacts facts;
    if (Status looked = object.Pending(&facts); !looked.ok()) return looked;
    return GiveResult(Told(facts), pending);
  });
}

agx_status agx_group_pending_events(agx_group* group, const char* consumer, int64_t min_idle_ms,
                                    const char* after, agx_pending_event* events, size_t capacity,
                                    size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_pending_events: count is NULL");
  *count = 0;
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_group_pending_events: there is no room for events");
  }
  return Call(group, [&](Group& object) {
    std::vector<PendingEntry> entries;
    Status status = object.PendingEntries(consumer, min_idle_ms, after, capacity, &entries);
    TellAll(entries, events, capacity);
    *count = entries.size();
    return status;
  });
}

agx_status agx_group_list(agx_session* session, agx_group_info* groups, size_t capacity,
                          size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_list: count is NULL");
  *count = 0;
  if (groups == nullptr && capacity > 0) return MissingOut("agx_group_list: groups is NULL");
  return Call(session, [&](Session& object) {
    std::vector<GroupFacts> facts;
    Status status = ListGroups(object, &facts);
    TellAll(facts, groups, capacity);
    *count = facts.size();
    return status;
  });
}

agx_status agx_group_consumers(agx_group* group, agx_consumer_info* consumers, size_t capacity,
                               size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_consumers: count is NULL");
  *count = 0;
  if (consumers == nullptr && capacity > 0) {
    return MissingOut("agx_group_consumers: consumers is NULL");
  }
  return Call(group, [&](Group& object) {
    std::vector<ConsumerFacts> facts;
    Status status = object.ListConsumers(&facts);
    TellAll(facts, consumers, capacity);
    *count = facts.size();
    return status;
  });
}

agx_status agx_group_delete_consumer(agx_group* group, const char* consumer, uint64_t* pending) {
  return WithIds(group, pending, [&](Group& object, uint64_t* number) {
    return object.DeleteConsumer(consumer, number);
  });
}

agx_status agx_group_delete(agx_group* group) {
  return Call(group, [](Group& object) { return object.Delete(); });
}

agx_status agx_group_health(agx_group* group, agx_health* health) {
  if (health == nullptr) return MissingOut("agx_group_health: health is NULL");
  const agx_health nothing = AGX_HEALTH_INIT;
  agx_status status = Guarded([&] { return GiveResult(nothing, health); });
  if (status != AGX_OK) return status;
  return Call(group, [&](Group& object) -> Status {
    GroupHealth facts;
    if (Status looked = object.Health(&facts); !looked.ok()) return looked;
    return GiveResult(Told(facts), health);
  });
}

agx_status agx_group_process(agx_group* group, const agx_group_process_options* options,
                             agx_group_handler handler, void* user_data) {
  if (handler == nullptr) return MissingOut("agx_group_process: handler is NULL");
  return Call(group, [&](Group& object) -> Status {
    agx_group_process_options read = AGX_GROUP_PROCESS_OPTIONS_INIT;
    const agx_group_process_options defaults = AGX_GROUP_PROCESS_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    return object.Process(read, [&](const Entry& entry, int64_t attempt, std::string* reason) {
      return CallHandler(handler, entry, attempt, user_data, reason);
    });
  });
}

agx_status agx_group_fail_reason(agx_group* group, const char* reason) {
  if (reason == nullptr) return MissingOut("agx_group_fail_reason: reason is NULL");
  return Call(group, [&](Group& object) {
    object.SetFailReason(reason);
    return Status();
  });
}

agx_status agx_group_dead_letters(agx_group* group, const char* after, agx_dead_letter* letters,
                                  size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_group_dead_letters: count is NULL");
  *count = 0;
  if (letters == nullptr || capacity == 0) {
    return MissingOut("agx_group_dead_letters: there is no room for letters");
  }
  return Call(group, [&](Group& object) {
    std::vector<Entry*> entries(std::min<size_t>(capacity, 10000));
    Status status = object.DeadLetters(after, entries.data(), entries.size(), count);
    for (size_t i = 0; i < *count; ++i) letters[i] = Told(entries[i]);
    return status;
  });
}

agx_status agx_group_replay(agx_group* group, const char* const* ids, size_t count,
                            uint64_t* replayed) {
  return WithIds(group, replayed, [&](Group& object, uint64_t* number) {
    return object.Replay(ids, count, number);
  });
}

agx_status agx_group_delete_dead_letters(agx_group* group, const char* const* ids, size_t count,
                                         uint64_t* deleted) {
  return WithIds(group, deleted, [&](Group& object, uint64_t* number) {
    return object.DeleteDeadLetters(ids, count, number);
  });
}
}
