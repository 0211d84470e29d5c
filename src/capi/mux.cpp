#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

extern "C" {

agx_status agx_mux_open(agx_client* client, agx_mux** mux) {
  if (mux == nullptr) return MissingOut("agx_mux_open: mux is NULL");
  *mux = nullptr;
  return Call(client, [&](Client& object) -> Status {
    if (object.closed()) return Client::ClosedStatus();
    Result<std::shared_ptr<Mux>> opened = Mux::Open(object.shared_from_this());
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), mux);
  });
}

agx_status agx_mux_add(agx_mux* mux, agx_listener* listener) {
  Using<agx_listener> added(listener);
  if (!added) return added.Invalid();
  return Call(mux, [&](Mux& object) { return object.Add(added->shared_from_this()); });
}

agx_status agx_mux_remove(agx_mux* mux, agx_listener* listener) {
  Using<agx_listener> removed(listener);
  if (!removed) return removed.Invalid();
  return Call(mux, [&](Mux& object) { return object.Remove(&*removed); });
}

agx_status agx_mux_next(agx_mux* mux, int64_t timeout_ms, agx_listener** listener,
                        agx_event** event) {
  if (listener != nullptr) *listener = nullptr;
  if (event == nullptr) return MissingOut("agx_mux_next: event is NULL");
  *event = nullptr;
  return Call(mux, [&](Mux& object) {
    std::shared_ptr<Listener> whose;
    Entry* entry = nullptr;
    Status status = object.Next(DeadlineAfter(timeout_ms), &whose, &entry);
    *event = reinterpret_cast<agx_event*>(entry);
    if (listener != nullptr && whose != nullptr) {
      *listener = static_cast<agx_listener*>(whose->handle());
    }
    return status;
  });
}

agx_status agx_mux_next_many(agx_mux* mux, int64_t timeout_ms, agx_listener** listeners,
                             agx_event** events, size_t capacity, size_t* count) {
  if (count == nullptr) return MissingOut("agx_mux_next_many: count is NULL");
  *count = 0;
  if (events == nullptr || capacity == 0) {
    return MissingOut("agx_mux_next_many: there is no room for events");
  }
  if (listeners != nullptr) listeners[0] = nullptr;
  return Call(mux, [&](Mux& object) {
    std::shared_ptr<Listener> whose;
    auto** entries = reinterpret_cast<Entry**>(events);
    auto note = [&](size_t at) {
      if (listeners != nullptr) {
        listeners[at] = whose == nullptr ? nullptr : static_cast<agx_listener*>(whose->handle());
      }
    };
    Status status = object.Next(DeadlineAfter(timeout_ms), &whose, &entries[0]);
    note(0);
    if (!status.ok()) return status;
    *count = 1;
    while (*count < capacity) {
      size_t taken = object.NextAtHand(&whose, &entries[*count], capacity - *count);
      if (taken == 0) break;
      for (size_t end = *count + taken; *count < end; ++*count) note(*count);
    }
    if (*count > 1) object.Settle();
    return status;
  });
}

agx_status agx_mux_interrupt(agx_mux* mux) {
  return Call(mux, [](Mux& object) {
    object.Interrupt();
    return Status();
  });
}

agx_status agx_mux_fd(agx_mux* mux, int* fd) {
  if (fd == nullptr) return MissingOut("agx_mux_fd: fd is NULL");
  *fd = -1;
  return Call(mux, [&](Mux& object) { return object.OpenDescriptor(fd); });
}

void agx_mux_close(agx_mux* mux) { Close(mux); }
}
