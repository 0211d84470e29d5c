#include "core/mux.h"

#include <algorithm>
#include <utility>

namespace agx {

Result<std::shared_ptr<Mux>> Mux::Open(std::shared_ptr<Client> client) {
  return std::shared_ptr<Mux>(new Mux(std::move(client)));
}

Mux::Mux(std::shared_ptr<Client> client)
    : client_(std::move(client)),
      pump_(std::make_shared<Pump>(client_.get(), &own_bell_, true, false)),
      follower_(client_.get(), pump_.get(), &own_bell_) {
  client_->AddSleeper(this);
}

Mux::~Mux() { client_->RemoveSleeper(this); }

void Mux::Close() noexcept {
  closed_ = true;
  pump_->Interrupt();
  pump_->AnnounceEnd();
  own_bell_.Ring();
  if (kept_) client_->keeper().RemovePump(pump_.get());
  while (std::shared_ptr<Listener> listener = pump_->Any()) {
    // One that is being closed takes itself out.
    if (!listener->Leave(pump_.get()).ok()) pump_->Detach(listener.get());
  }
}

void Mux::ClientClosed() noexcept {
  pump_->AnnounceEnd();
  own_bell_.Ring();
}

void Mux::Interrupt() noexcept {
  pump_->Interrupt();
  own_bell_.Ring();
}

Status Mux::Add(const std::shared_ptr<Listener>& listener) {
  if (listener->client() != client_) {
    return {AGX_EINVAL, "the listener and the mux are of different clients"};
  }
  if (closed_) return {AGX_ECLOSED, "the mux is closed"};
  return listener->Join(pump_);
}

Status Mux::Remove(Listener* listener) { return listener->Leave(pump_.get()); }

Status Mux::Stopped() {
  if (closed_) return {AGX_ECLOSED, "the mux is closed"};
  if (client_->closed()) return Client::ClosedStatus();
  if (pump_->TakeInterrupt()) return {AGX_INTERRUPTED, "interrupted"};
  return pump_->TakeFailure();
}

Status Mux::Next(TimePoint deadline, std::shared_ptr<Listener>* listener, Entry** entry) {
  Status status = Advance(deadline, listener, entry);
  Settle();
  return status;
}

Status Mux::Advance(TimePoint deadline, std::shared_ptr<Listener>* listener, Entry** entry) {
  for (;;) {
    uint32_t ticket = own_bell_.ticket();
    Status status = Stopped();
    if (!status.ok()) return status;
    if (TakeReady(listener, entry, &status)) return status;
    if (pump_->exhausted()) {
      follower_.RestIfFree();
      return {AGX_ENDED, "no listener in the mux can bring anything more"};
    }
    follower_.Look(deadline);
    TimePoint next = pump_->Work();
    // What came is handed on before the deadline is looked at, so that a call that does not wait
    // gets it.
    if (TakeReady(listener, entry, &status)) return status;
    TimePoint now = Clock::now();
    if (now >= deadline) return {AGX_TIMEOUT, "nothing came within the timeout"};
    if (next > now) follower_.Wait(ticket, std::min(next, deadline));
  }
}

bool Mux::TakeReady(std::shared_ptr<Listener>* listener, Entry** entry, Status* status) {
  while ((*listener = pump_->NextReady()) != nullptr) {
    bool more = false;
    TimePoint due = kNever;
    bool taken = (*listener)->Take(status, entry, &more, &due);
    bool final = taken && (status->code() == AGX_ENDED || status->code() == AGX_LIMIT);
    if (final) {
      // A thread that was reading it meanwhile may have found it ready once more.
      if (!pump_->Finished(listener->get())) continue;
    } else if (more) {
      pump_->StillReady(listener->get());
    } else {
      pump_->ReadAgain(listener->get(), due);
    }
    if (taken) return true;
  }
  return false;
}

size_t Mux::NextAtHand(std::shared_ptr<Listener>* listener, Entry** entries, size_t capacity) {
  bool alone = false;
  *listener = pump_->NextReady(&alone);
  if (*listener == nullptr) return 0;
  bool more = false;
  TimePoint due = kNever;
  size_t count = (*listener)->TakeEvents(entries, alone ? capacity : 1, &more, &due);
  if (count == 0 || more) {
    pump_->StillReady(listener->get());
  } else {
    pump_->ReadAgain(listener->get(), due);
  }
  return count;
}

Status Mux::OpenDescriptor(int* fd) {
  std::lock_guard lock(descriptor_mutex_);
  if (!kept_) {
    pump_->SetSecondBell(client_->keeper().bell());
    if (Status status = client_->keeper().AddPump(pump_); !status.ok()) return status;
    pump_->StopFollowing();  // the keeper waits for bells only
    kept_ = true;
  }
  return pump_->OpenDescriptor(fd);
}

}  // namespace agx
