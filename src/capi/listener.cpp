#include "base/options.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

static_assert(sizeof(agx_event*) == sizeof(Entry*));

agx_event* ToEvent(Entry* entry) { return reinterpret_cast<agx_event*>(entry); }

}  // namespace

extern "C" {

agx_status agx_listen(agx_session* session, const agx_listen_options* options,
                      agx_listener** listener) {
  if (listener == nullptr) return MissingOut("agx_listen: listener is NULL");
  *listener = nullptr;
  return Call(session, [&](Session& object) -> Status {
    agx_listen_options read = AGX_LISTEN_OPTIONS_INIT;
    const agx_listen_options defaults = AGX_LISTEN_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    if (object.client()->closed()) return Client::ClosedStatus();
    Result<std::shared_ptr<Listener>> opened = Listener::Open(object, read);
    if (!opened.ok()) return opened.status();
    Listener* raw = opened->get();
    Status status = Give(std::move(*opened), listener);
    if (status.ok()) raw->set_handle(*listener);
    return status;
  });
}

agx_status agx_listen_next(agx_listener* listener, int64_t timeout_ms, agx_event** event) {
  if (event == nullptr) return MissingOut("agx_listen_next: event is NULL");
  *event = nullptr;
  return Call(listener, [&](Listener& object) {
    Entry* entry = object.NextAtHand();
    Status status;
    size_t count = 0;
    if (entry == nullptr) status = object.Next(DeadlineAfter(timeout_ms), &entry, 1, &count);
    *event = ToEvent(entry);
    return status;
  });
}

agx_status agx_listen_next_many(agx_listener* listener, int64_t timeout_ms, agx_event** events,
                                size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_listen_next_many: count is NULL");
  *count = 0;
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_listen_next_many: there is no room for events");
  }
  return Call(listener, [&](Listener& object) {
    auto** entries = reinterpret_cast<Entry**>(events);
    return object.Next(DeadlineAfter(timeout_ms), entries, capacity, count);
  });
}

agx_status agx_wait_for(agx_session* session, const char* where, int64_t timeout_ms,
                        agx_event** event) {
  if (event == nullptr) return MissingOut("agx_wait_for: event is NULL");
  *event = nullptr;
  return Call(session, [&](Session& object) {
    Entry* entry = nullptr;
    Status status = object.WaitFor(where, DeadlineAfter(timeout_ms), &entry);
    *event = ToEvent(entry);
    return status;
  });
}

agx_status agx_waited(agx_session* session, char* position) {
  if (position == nullptr) return MissingOut("agx_waited: position is NULL");
  *position = '\0';
  return Call(session, [&](Session& object) {
    EntryId after;
    Status status = object.Waited(&after);
    if (status.ok()) PrintEntryId(after, position);
    return status;
  });
}

agx_status agx_set_waited(agx_session* session, const char* position) {
  return Call(session, [&](Session& object) -> Status {
    EntryId after;
    std::string_view text = position != nullptr ? position : "";
    if (!ParseEntryId(text, &after)) {
      return {AGX_EINVAL, Cat("agx_set_waited: position is not an entry id: ", text.substr(0, 64))};
    }
    object.SetWaited(after);
    return {};
  });
}

agx_status agx_listener_interrupt(agx_listener* listener) {
  return Call(listener, [](Listener& object) {
    object.Interrupt();
    return Status();
  });
}

agx_status agx_listener_fd(agx_listener* listener, int* fd) {
  if (fd == nullptr) return MissingOut("agx_listener_fd: fd is NULL");
  *fd = -1;
  return Call(listener, [&](Listener& object) { return object.OpenDescriptor(fd); });
}

agx_status agx_listener_position(agx_listener* listener, char* position) {
  if (position == nullptr) return MissingOut("agx_listener_position: position is NULL");
  *position = '\0';
  return Call(listener, [&](Listener& object) {
    PrintEntryId(object.position(), position);
    return Status();
  });
}

agx_gone_reason agx_listener_gone(agx_listener* listener) {
  Using<agx_listener> object(listener);
  return object ? object->gone() : AGX_GONE_NOT;
}

agx_status agx_listener_set_data(agx_listener* listener, void* data) {
  return Call(listener, [&](Listener& object) {
    object.set_data(data);
    return Status();
  });
}

void* agx_listener_data(agx_listener* listener) {
  Using<agx_listener> object(listener);
  return object ? object->data() : nullptr;
}

void agx_listener_close(agx_listener* listener) { Close(listener); }
}
