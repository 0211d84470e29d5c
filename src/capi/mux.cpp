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
