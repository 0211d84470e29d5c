// Follows one listener of a pump with reads of its own, while the bell is waited for as well: a blocking
// read brings an event with one round trip less than a bell does, and of a replay the next read is under
// way while what the last one brought is handed on.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/clock.h"
#include "base/futex.h"
#include "core/pump.h"
#include "store/store.h"

namespace agx {

class Client;

class Follower {
 public:
  // For the threads that drive the pump, which rings the bell.
  Follower(Client* client, Pump* pump, Bell* bell);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Takes in what the read has brought. Does not wait for more, but before the deadline it may dial the
  // connection for it. Throws bad_alloc.
  void Look(TimePoint deadline);
  // Until the bell has rung since the ticket, the read has brought something, or the deadline; may
  // return for no reason. Throws bad_alloc.
  void Wait(uint32_t ticket, TimePoint deadline);
  // For the only thread that drives the pump, when it leaves: gives the connection back.
  void Rest() noexcept;
  // The same for one of several, unless another waits.
  void RestIfFree() noexcept;

 private:
  static constexpr Millis kRetry{50};

  struct Handover;

  void WaitAtStore(uint32_t ticket, TimePoint deadline);
  bool Ask(bool waits);
  bool Open();
  void Note(TimePoint asked_at, bool waits);
  bool Request(const ReadRequest& request, bool waits);
  void Await(TimePoint deadline, int alert);
  TimePoint RestTail();
  void PutOff() noexcept;
  void Drop() noexcept;

  Client* const client_;
  Pump* const pump_;
  Bell* const bell_;
  std::mutex mutex_;            // one thread waits at the store, others for the bell alone
  std::atomic<int> others_{0};  // of those
  std::unique_ptr<Tail> tail_;
  std::weak_ptr<Listener> asked_;  // whose entries the tail is asked for
  TimePoint asked_at_;
  bool waits_ = false;  // until there are any
  int silences_ = 0;    // answers without an entry, in a row
  // The store had no tail to give, or it broke.
  TimePoint none_before_ = TimePoint::min();
  Millis put_off_ = kRetry;
  TimePoint rests_at_ = kNever;
  const int alert_;  // an eventfd; -1: none could be had, and nothing is followed
};

}  // namespace agx
