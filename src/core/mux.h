// Waits on any number of listeners at once.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/futex.h"
#include "core/client.h"
#include "core/follower.h"
#include "core/listener.h"
#include "core/pump.h"

namespace agx {

class Mux final : public Client::Sleeper {
 public:
  static Result<std::shared_ptr<Mux>> Open(std::shared_ptr<Client> client);
  ~Mux();

  Status Add(const std::shared_ptr<Listener>& listener);
  Status Remove(Listener* listener);
  // *listener: whose event or outcome it is; null if it is the mux's own.
  Status Next(TimePoint deadline, std::shared_ptr<Listener>* listener, Entry** entry);
  // Events of one listener that are at hand: one, and as many as there is room for if no other
  // listener has any. None if an outcome is to be told first.
  size_t NextAtHand(std::shared_ptr<Listener>* listener, Entry** entries, size_t capacity);
  // After NextAtHand.
  void Settle() noexcept {
    if (kept_) pump_->SettleDescriptor();
  }
  void Interrupt() noexcept;
  Status OpenDescriptor(int* fd);
  void Close() noexcept;

  void ClientClosed() noexcept override;

 private:
  explicit Mux(std::shared_ptr<Client> client);

  Status Advance(TimePoint deadline, std::shared_ptr<Listener>* listener, Entry** entry);
  bool TakeReady(std::shared_ptr<Listener>* listener, Entry** entry, Status* status);
  Status Stopped();

  const std::shared_ptr<Client> client_;
  Bell own_bell_;
  const std::shared_ptr<Pump> pump_;
  Follower follower_;
  std::atomic<bool> closed_{false};
  std::mutex descriptor_mutex_;
  std::atomic<bool> kept_{false};  // the keeper drives the pump
};

}  // namespace agx
