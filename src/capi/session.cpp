#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

constexpr const char* kDefaultOrigin = "opale";

// An interceptor may close the handle: then it is not held meanwhile.
template <class Function>
agx_status CallAdding(agx_session* session, Function function) noexcept {
  std::shared_ptr<Session> kept;
  {
    Using<agx_session> object(session);
    if (!object) return object.Invalid();
    if (!object->intercepted()) return Guarded([&] { return function(*object); });
    kept = object->shared_from_this();
  }
  return Guarded([&] { return function(*kept); });
}

agx_status AddOne(agx_session* session, const char* type, const char* origin, const char* body,
                  char* id) {
  if (id != nullptr) *id = '\0';
  return CallAdding(session, [&](Session& object) {
    EntryId entry;
    Status status = object.Add(type, origin, body, &entry);
    if (status.ok() && id != nullptr) PrintEntryId(entry, id);
    return status;
  });
}

// Of one agx_add_each.
class Additions {
 public:
  Additions(agx_addition* additions, size_t count) : all_(additions, count) {
    for (agx_addition& one : all_) {
      one.status = AGX_ENOMEM;  // for as long as nothing was sent
      *one.id = '\0';
    }
  }

  Status Add() {
    AddPlain();
    for (agx_addition* one : intercepted_) {
      const agx_new_event& event = one->event;
      agx_status code = AddOne(one->session, event.type, event.origin, event.body, one->id);
      Settle(one, code, agx_last_error());
    }
    return first_failed_ != nullptr ? std::move(failure_) : Status();
  }

 private:
  // Handles are not closed meanwhile; but an interceptor may close what it likes. What comes behind an
  // intercepted event of its session is added behind it, also by another handle.
  void AddPlain() {
    using Held = std::optional<Using<agx_session>>;
    auto held = std::make_unique<Held[]>(all_.size());
    std::vector<Session::ToAdd> events;
    std::vector<agx_addition*> additions;
    events.reserve(all_.size());
    additions.reserve(all_.size());
    intercepted_.reserve(all_.size());
    const Client* client = nullptr;
    std::set<std::string, std::less<>> intercepted;
    for (size_t i = 0; i < all_.size(); ++i) {
      agx_addition& one = all_[i];
      Using<agx_session>& session = held[i].emplace(one.session);
      if (!session) {
        agx_status code = session.Invalid();
        Settle(&one, code, agx_last_error());
        continue;
      }
      if (client == nullptr) client = session->client().get();
      if (client != session->client().get()) {
        Settle(&one, AGX_EINVAL, "the session is of another client than the first");
      } else if (session->intercepted() || intercepted.contains(session->key())) {
        if (!intercepted.contains(session->key())) intercepted.emplace(session->key());
        held[i].reset();
        intercepted_.push_back(&one);
      } else {
        events.push_back({&*session, one.event, {}, {}});
        additions.push_back(&one);
      }
    }
    Session::AddEach(events);
    for (size_t i = 0; i < events.size(); ++i) {
      const Session::ToAdd& event = events[i];
      if (event.status.ok()) PrintEntryId(event.id, additions[i]->id);
      Settle(additions[i], event.status.code(), event.status.message());
    }
  }

  void Settle(agx_addition* one, agx_status code, std::string_view message) noexcept {
    one->status = code;
    if (code == AGX_OK || (first_failed_ != nullptr && first_failed_ < one)) return;
    first_failed_ = one;
    try {
      failure_ = {code, Cat("event ", one - all_.data(), ": ", message)};
    } catch (const std::bad_alloc&) {
      failure_ = {code, {}};
    }
  }

  std::span<agx_addition> all_;
  std::vector<agx_addition*> intercepted_;
  const agx_addition* first_failed_ = nullptr;
  Status failure_;
};

}  // namespace

extern "C" {

agx_status agx_session_open(agx_client* client, int64_t scope_id, int64_t user_id,
                            const char* session_id, agx_session** session) {
  if (session == nullptr) return MissingOut("agx_session_open: session is NULL");
  *session = nullptr;
  return Call(client, [&](Client& object) -> Status {
    if (object.closed()) return Client::ClosedStatus();
    auto opened = Session::Open(object.shared_from_this(), scope_id, user_id, session_id);
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), session);
  });
}

agx_status agx_stream_open(agx_client* client, const char* name, const agx_stream_options* options,
                           agx_session** session) {
  if (session == nullptr) return MissingOut("agx_stream_open: session is NULL");
  *session = nullptr;
  return Call(client, [&](Client& object) -> Status {
    if (object.closed()) return Client::ClosedStatus();
    agx_stream_options read = AGX_STREAM_OPTIONS_INIT;
    const agx_stream_options defaults = AGX_STREAM_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    auto opened = Session::OpenStream(object.shared_from_this(), name, read);
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), session);
  });
}

void agx_session_close(agx_session* session) { Close(session); }

agx_status agx_start(agx_session* session, const agx_start_options* options) {
  return Call(session, [&](Session& object) {
    agx_start_options read = AGX_START_OPTIONS_INIT;
    const agx_start_options defaults = AGX_START_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    return object.Start(read);
  });
}

agx_status agx_stop(agx_session* session, int64_t grace_ms) {
  return Call(session, [&](Session& object) { return object.Stop(grace_ms); });
}

agx_status agx_add(agx_session* session, const char* type, const char* origin, const char* body,
                   char* id) {
  return AddOne(session, type, origin, body, id);
}

agx_status agx_add_many(agx_session* session, const agx_new_event* events, size_t count, char* ids,
                        size_t* added) {
  if (added != nullptr) *added = 0;
  for (size_t i = 0; ids != nullptr && i < count; ++i) ids[i * AGX_ID_SIZE] = '\0';
  return CallAdding(session, [&](Session& object) -> Status {
    if (count == 0) return object.client()->closed() ? Client::ClosedStatus() : Status();
    if (events == nullptr) return {AGX_EINVAL, "agx_add_many: events is NULL"};
    std::vector<EntryId> entries(ids != nullptr ? count : 0);
    size_t stored = 0;
    Status status =
        object.AddMany({events, count}, ids != nullptr ? entries.data() : nullptr, &stored);
    if (added != nullptr) *added = stored;
    for (size_t i = 0; ids != nullptr && i < stored; ++i) {
      if (entries[i] != EntryId()) PrintEntryId(entries[i], ids + i * AGX_ID_SIZE);
    }
    return status;
  });
}

agx_status agx_add_each(agx_addition* additions, size_t count) {
  if (count == 0) return Report(Status());
  if (additions == nullptr) return Report(AGX_EINVAL, "agx_add_each: additions is NULL");
  Additions all(additions, count);
  return Guarded([&] { return all.Add(); });
}

agx_status agx_add_checked(agx_session* session, const agx_new_event* events, size_t count,
                           const char* name, const char* from, const char* to) {
  return Call(session, [&](Session& object) -> Status {
    if (count > 0 && events == nullptr) return {AGX_EINVAL, "agx_add_checked: events is NULL"};
    return object.AddChecked({events, count}, name, from, to);
  });
}

agx_status agx_checkpoint(agx_session* session, const char* name, char* position) {
  if (position == nullptr) return MissingOut("agx_checkpoint: position is NULL");
  *position = '\0';
  return Call(session, [&](Session& object) {
    std::string kept;
    Status status = object.GetCheckpoint(name, &kept);
    if (status.ok()) std::memcpy(position, kept.c_str(), kept.size() + 1);
    return status;
  });
}

agx_status agx_add_error(agx_session* session, const char* origin, const char* body, char* id) {
  return AddOne(session, "error", origin != nullptr ? origin : kDefaultOrigin, body, id);
}

agx_status agx_add_info(agx_session* session, const char* origin, const char* body, char* id) {
  return AddOne(session, "info", origin != nullptr ? origin : kDefaultOrigin, body, id);
}

agx_status agx_is_live(agx_session* session, int* live) {
  if (live == nullptr) return MissingOut("agx_is_live: live is NULL");
  *live = 0;
  return Call(session, [&](Session& object) {
    bool is_live = false;
    Status status = object.IsLive(&is_live);
    *live = is_live ? 1 : 0;
    return status;
  });
}

agx_status agx_renew(agx_session* session) {
  return Call(session, [](Session& object) { return object.Renew(); });
}

agx_status agx_cancel(agx_session* session, int* was_live) {
  if (was_live != nullptr) *was_live = 0;
  return Call(session, [&](Session& object) {
    bool live = false;
    Status status = object.Cancel(&live);
    if (was_live != nullptr) *was_live = live ? 1 : 0;
    return status;
  });
}

int agx_is_canceled(agx_session* session) {
  Using<agx_session> object(session);
  return !object || object->client()->closed() || object->IsCanceled() ? 1 : 0;
}

agx_status agx_wait_canceled(agx_session* session, int64_t timeout_ms) {
  return Call(session,
              [&](Session& object) { return object.WaitCanceled(DeadlineAfter(timeout_ms)); });
}
}
