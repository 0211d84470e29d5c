#include "core/history.h"

#include "base/options.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

void PrintId(EntryId id, char* text) {
  if (id != EntryId{}) PrintEntryId(id, text);
}

agx_history Told(const StreamFacts& facts) {
  agx_history told = AGX_HISTORY_INIT;
  told.length = facts.length;
  PrintId(facts.first, told.first_id);
  PrintId(facts.last, told.last_id);
  PrintId(facts.last_generated, told.last_generated_id);
  told.live = facts.live ? 1 : 0;
  told.expire_ms = facts.ttl_ms;
  told.groups = facts.exists ? facts.groups : 0;
  return told;
}

}  // namespace

extern "C" {

agx_status agx_history_read(agx_session* session, const agx_history_options* options,
                            agx_event** events, size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_history_read: count is NULL");
  *count = 0;
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_history_read: there is no room for events");
  }
  return Call(session, [&](Session& object) -> Status {
    agx_history_options read = AGX_HISTORY_OPTIONS_INIT;
    const agx_history_options defaults = AGX_HISTORY_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    return ReadHistory(object, read, reinterpret_cast<Entry**>(events), capacity, count);
  });
}

agx_status agx_history_info(agx_session* session, agx_history* info) {
  if (info == nullptr) return MissingOut("agx_history_info: info is NULL");
  const agx_history nothing = AGX_HISTORY_INIT;
  agx_status status = Guarded([&] { return GiveResult(nothing, info); });
  if (status != AGX_OK) return status;
  return Call(session, [&](Session& object) -> Status {
    StreamFacts facts;
    if (Status looked = LookAtHistory(object, &facts); !looked.ok()) return looked;
    return GiveResult(Told(facts), info);
  });
}

agx_status agx_history_trim(agx_session* session, int64_t max_length, const char* before_id,
                            uint64_t* removed) {
  if (removed != nullptr) *removed = 0;
  return Call(session, [&](Session& object) {
    uint64_t gone = 0;
    Status status = TrimHistory(object, max_length, before_id, &gone);
    if (removed != nullptr) *removed = gone;
    return status;
  });
}

agx_status agx_history_replace(agx_session* session, const agx_new_event* events, size_t count,
                               uint64_t* removed) {
  if (removed != nullptr) *removed = 0;
  return Call(session, [&](Session& object) -> Status {
    if (events == nullptr && count > 0) {
      return {AGX_EINVAL, "agx_history_replace: events is NULL"};
    }
    uint64_t gone = 0;
    Status status = object.Replace({events, count}, &gone);
    if (removed != nullptr) *removed = gone;
    return status;
  });
}

agx_status agx_history_drop(agx_session* session, uint64_t* removed) {
  return agx_history_replace(session, nullptr, 0, removed);
}

agx_status agx_history_delete(agx_session* session) {
  return Call(session, [](Session& object) { return object.Delete(); });
}
}
