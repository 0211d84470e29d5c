// Drives any number of listeners with one thread: reads those whose streams have changed, many in
// one round trip, and knows which of them have something to hand on. A mux is driven by the threads
// that wait in it; what is watched through a descriptor, by the keeper; subscriptions, by a thread of
// theirs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "core/descriptor.h"

namespace agx {

class Client;
class Listener;
struct ReadRequest;

class Pump {
 public:
  using Timers = std::set<std::pair<TimePoint, std::shared_ptr<Listener>>>;

  // A listener's place in its pump; part of the listener, so that a change needs no memory. Under
  // the lock of the pump that it is in; which that is anybody may ask.
  struct Link {
    std::atomic<Pump*> pump{nullptr};  // in which it is
    bool poked = false;
    bool ready = false;
    bool finished = false;
    bool parked = false;
    bool followed = false;
    Listener* next_poked = nullptr;
    Listener* next_ready = nullptr;
    Timers::iterator timer;
  };

  // `bell` is rung when there is work to do, or something to be had. collects: NextReady is used.
  // tells_each: a failure of the store is each listener's, not TakeFailure's.
  Pump(Client* client, Bell* bell, bool collects, bool tells_each)
      : client_(client), bell_(bell), collects_(collects), tells_each_(tells_each) {}
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Drives the listener, which is its caller's to watch, from now on. One that has something to hand
  // on is not read before that is taken. due: when it has to be read, if it is followed; not_before, if it
  // is not. Throws bad_alloc.
  void Attach(const std::shared_ptr<Listener>& listener, bool has, TimePoint due = TimePoint::min(),
              TimePoint not_before = TimePoint::min());
  void Detach(Listener* listener) noexcept;
  // One of the attached, or null.
  std::shared_ptr<Listener> Any() const;

  // The listener is to be read, unless it is followed, and so being read already. One that cannot be
  // followed any more is let go of. Does not block.
  void Poke(Listener* listener) noexcept;

  // Does what is due, as far as one round trip goes; says when to be called again. A failure of the
  // store is kept for TakeFailure, and what was to be read is tried again.
  TimePoint Work();

  // The next listener that has something, each in its turn; null if none has. What becomes of it is
  // said by one of those below. *alone, if given: no other has something.
  std::shared_ptr<Listener> NextReady(bool* alone = nullptr);
  // It has more.
  void StillReady(Listener* listener) noexcept;
  // It has more, but is not to be read, whatever changes, before StillReady.
  void Park(Listener* listener) noexcept;
  // It is to be read again then.
  void ReadAgain(Listener* listener, TimePoint due) noexcept;
  // It has told its last: nothing further comes from it.
  // False if that is known already.
  bool Finished(Listener* listener) noexcept;
  Status TakeFailure();
  // No listener in it can bring anything any more.
  bool exhausted() const;

  // From here on there is somebody who follows: asks for Followed before each Work.
  void StartFollowing() noexcept;
  // The one listener, if there is one, whose events come alone, so that whoever drives is to follow it
  // with reads of its own. It is not read because of a change then.
  std::shared_ptr<Listener> Followed();
  // What that read has brought.
  void TakeIn(const std::shared_ptr<Listener>& listener, ReadRequest* answer);
  // It is read as all others, until it is asked for again.
  void Neglect() noexcept;
  // The same, and the next is chosen when its turn comes.
  void Unfollow() noexcept;
  // The same, and none will be chosen.
  void StopFollowing() noexcept;

  // Readable while NextReady, TakeFailure or TakeInterrupt have something, nothing further can
  // come, or the end was announced.
  Status OpenDescriptor(int* fd);
  // After something was taken.
  void SettleDescriptor() noexcept;
  void Interrupt() noexcept;  // also a wait for a connection in Work
  bool TakeInterrupt() noexcept;
  void AnnounceEnd() noexcept;
  // Another bell to be rung, for another thread that drives.
  void SetSecondBell(Bell* bell) noexcept { second_bell_ = bell; }

 private:
  static constexpr size_t kRound = 256;
  using Round = std::vector<std::shared_ptr<Listener>>;

  // So many rounds in a row have brought events of one listener only before it is followed, and
  // before it is in another's stead, which costs a connection.
  static constexpr int kAloneToFollow = 2;
  static constexpr int kAloneToReplace = 16;

  void TakeDue(Round* round);
  Status Read(const Round& round);
  void RingBells() noexcept;
  void SetDue(Listener* listener, TimePoint due) noexcept;
  void Settle(const std::shared_ptr<Listener>& listener, TimePoint due, bool ready) noexcept;
  void PushReady(Listener* listener) noexcept;
  void PushPoked(Listener* listener) noexcept;
  void NoteBrought(Listener* only) noexcept;
  void LetGo() noexcept;
  void UpdateDescriptor() noexcept;
  uint64_t interrupts_told() const;

  Client* const client_;
  Bell* const bell_;
  std::atomic<Bell*> second_bell_{nullptr};
  const bool collects_;
  const bool tells_each_;
  std::mutex work_mutex_;  // one thread at a time in Work

  mutable std::mutex mutex_;
  Timers timers_;  // all that are attached, by when they are due
  Listener* poked_ = nullptr;
  Listener* poked_last_ = nullptr;
  Listener* ready_ = nullptr;
  Listener* ready_last_ = nullptr;
  size_t finished_ = 0;
  Listener* followed_ = nullptr;
  const Listener* returns_ = nullptr;  // has left, and is followed if it comes back
  bool follows_ = false;
  Listener* alone_ = nullptr;  // whose events came alone, in the last so many rounds
  int alone_rounds_ = 0;
  Status failure_;
  StopFlag interrupted_{false};
  uint64_t interrupts_told_ = 0;
  bool ending_ = false;
  Descriptor descriptor_;
};

}  // namespace agx
