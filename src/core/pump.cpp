#include "core/pump.h"

#include <utility>

#include "core/client.h"
#include "core/listener.h"

namespace agx {
namespace {

constexpr Millis kRetry{200};

}  // namespace

void Pump::Attach(const std::shared_ptr<Listener>& listener, bool has, TimePoint due,
                  TimePoint not_before) {
  std::lock_guard lock(mutex_);
  Link& link = listener->link;
  link.poked = link.ready = link.finished = link.parked = link.followed = false;
  has = has && collects_;
  bool follow = follows_ && followed_ == nullptr && returns_ == listener.get() &&
                listener->can_follow() && not_before == TimePoint::min();
  if (!follow) due = not_before;
  if (has || (follow && due == TimePoint::min())) due = kNever;
  link.timer = timers_.emplace(due, listener).first;
  link.pump = this;
  link.followed = follow;
  if (follow) {
    followed_ = listener.get();
    returns_ = nullptr;
  }
  if (has) PushReady(listener.get());
  UpdateDescriptor();
  RingBells();
}

void Pump::Detach(Listener* listener) noexcept {
  std::shared_ptr<Listener> last;  // let go of after the lock
  std::lock_guard lock(mutex_);
  Link& link = listener->link;
  if (link.pump != this) return;
  auto node = timers_.extract(link.timer);
  last = std::move(node.value().second);
  link.pump = nullptr;
  if (link.finished) --finished_;
  auto unlink = [&](Listener** first, Listener** end, Listener* Link::*next) {
    Listener* previous = nullptr;
    for (Listener* at = *first; at != nullptr; previous = at, at = at->link.*next) {
      if (at != listener) continue;
      (previous != nullptr ? previous->link.*next : *first) = at->link.*next;
      if (*end == at) *end = previous;
      return;
    }
  };
  if (link.poked) unlink(&poked_, &poked_last_, &Link::next_poked);
  if (link.ready) unlink(&ready_, &ready_last_, &Link::next_ready);
  link.poked = link.ready = false;
  // Taken out for a while it is still the one whose events come alone.
  if (followed_ == listener || (followed_ == nullptr && alone_ == listener)) returns_ = listener;
  if (alone_ == listener) alone_ = nullptr;
  if (followed_ == listener) {
    followed_ = nullptr;
    link.followed = false;
    RingBells();  // whoever follows it waits in vain
  }
  UpdateDescriptor();
  if (finished_ == timers_.size()) RingBells();  // nobody is left to be waited for
}

std::shared_ptr<Listener> Pump::Any() const {
  std::lock_guard lock(mutex_);
  return timers_.empty() ? nullptr : timers_.begin()->second;
}

void Pump::Poke(Listener* listener) noexcept {
  {
    std::lock_guard lock(mutex_);
    Link& link = listener->link;
    if (link.pump != this || link.poked || link.parked) return;
    if (link.followed && !listener->can_follow()) return LetGo();
    if (link.followed) return listener->SetChanged(false);
    PushPoked(listener);
  }
  RingBells();
}

void Pump::PushPoked(Listener* listener) noexcept {
  listener->link.poked = true;
  listener->link.next_poked = nullptr;
  (poked_last_ != nullptr ? poked_last_->link.next_poked : poked_) = listener;
  poked_last_ = listener;
}

TimePoint Pump::Work() {
  std::lock_guard work(work_mutex_);
  Round round;
  TakeDue(&round);
  if (!round.empty()) {
    uint64_t told = interrupts_told();
    Status status = Read(round);
    std::lock_guard lock(mutex_);
    // What an interrupt made give up is read again, also if another thread has told of it by now.
    if (!status.ok() && !interrupted_ && told == interrupts_told_) {
      failure_ = std::move(status);
      descriptor_.Set(true);
    }
  }
  std::lock_guard lock(mutex_);
  if (poked_ != nullptr || timers_.empty()) {
    return poked_ != nullptr ? TimePoint::min() : kNever;
  }
  return timers_.begin()->first;
}

void Pump::TakeDue(Round* round) {
  round->reserve(kRound);
  TimePoint now = Clock::now();
  std::lock_guard lock(mutex_);
  while (poked_ != nullptr && round->size() < kRound) {
    Listener* listener = poked_;
    poked_ = listener->link.next_poked;
    if (poked_ == nullptr) poked_last_ = nullptr;
    listener->link.poked = false;
    round->push_back(listener->link.timer->second);
    if (listener->link.timer->first <= now) SetDue(listener, kNever);  // it is read once
  }
  for (auto it = timers_.begin();
       it != timers_.end() && it->first <= now && round->size() < kRound;) {
    Listener* listener = (it++)->second.get();
    round->push_back(listener->link.timer->second);
    SetDue(listener, kNever);  // its own comes with what is read now
  }
}

Status Pump::Read(const Round& round) {
  std::vector<ReadRequest> requests;
  Status status;
  try {
    requests.resize(round.size());
    for (size_t i = 0; i < round.size(); ++i) round[i]->Prepare(&requests[i]);
    requests[0].stop = &interrupted_;
    status = client_->store().Read(requests);
  } catch (const std::bad_alloc&) {
    status = {AGX_ENOMEM, {}};
  }
  size_t brought = 0;
  Listener* last = nullptr;
  for (size_t i = 0; i < round.size(); ++i) {
    TimePoint due = Clock::now() + kRetry;
    bool ready = false;
    try {
      ReadRequest none;
      if (status.ok()) {
        ready = round[i]->Absorb(&requests[i], requests[i].status, &due);
      } else if (tells_each_) {
        ready = round[i]->Absorb(&none, status, &due);
      }
    } catch (const std::bad_alloc&) {
      // Read again when it is due.
    }
    Settle(round[i], due, ready);
    if (!ready) continue;
    ++brought;
    last = round[i].get();
  }
  if (brought > 0) {
    std::lock_guard lock(mutex_);
    NoteBrought(brought == 1 ? last : nullptr);
  }
  return tells_each_ ? Status() : status;
}

void Pump::Settle(const std::shared_ptr<Listener>& listener, TimePoint due, bool ready) noexcept {
  std::lock_guard lock(mutex_);
  Link& link = listener->link;
  if (link.pump != this) return;
  SetDue(listener.get(), due);
  if (ready && collects_) PushReady(listener.get());
}

void Pump::NoteBrought(Listener* only) noexcept {
  if (only == nullptr || only->link.pump != this || !only->can_follow()) {
    alone_ = nullptr;
  } else if (alone_ == only) {
    ++alone_rounds_;
  } else {
    alone_ = only;
    alone_rounds_ = 1;
  }
}

std::shared_ptr<Listener> Pump::Followed() {
  std::lock_guard lock(mutex_);
  if (followed_ != nullptr && (followed_->link.finished || !followed_->can_follow())) LetGo();
  if (alone_ != nullptr && !alone_->can_follow()) alone_ = nullptr;
  if (follows_ && alone_ != nullptr && alone_ != followed_ && !alone_->link.finished) {
    bool only = timers_.size() - finished_ == 1;
    int needed = followed_ != nullptr ? kAloneToReplace : only ? 1 : kAloneToFollow;
    if (alone_rounds_ >= needed) {
      LetGo();
      followed_ = alone_;
      returns_ = nullptr;
      followed_->link.followed = true;
    }
  }
  return followed_ != nullptr ? followed_->link.timer->second : nullptr;
}

void Pump::TakeIn(const std::shared_ptr<Listener>& listener, ReadRequest* answer) {
  TimePoint due = Clock::now() + kRetry;
  bool ready = false;
  try {
    ready = listener->Absorb(answer, {}, &due);
  } catch (const std::bad_alloc&) {
    Settle(listener, due, false);
    throw;
  }
  Settle(listener, due, ready);
  if (!ready) return;
  std::lock_guard lock(mutex_);
  NoteBrought(listener.get());
}

void Pump::Neglect() noexcept {
  std::lock_guard lock(mutex_);
  LetGo();
}

void Pump::Unfollow() noexcept {
  std::lock_guard lock(mutex_);
  alone_ = nullptr;
  returns_ = nullptr;
  LetGo();
}

void Pump::StartFollowing() noexcept {
  std::lock_guard lock(mutex_);
  follows_ = true;
}

void Pump::StopFollowing() noexcept {
  std::lock_guard lock(mutex_);
  follows_ = false;
  LetGo();
}

// What comes from here on is heard of by the bell once it has been read.
void Pump::LetGo() noexcept {
  Listener* listener = std::exchange(followed_, nullptr);
  if (listener == nullptr) return;
  listener->link.followed = false;
  listener->SetChanged(true);
  if (!listener->link.poked && !listener->link.parked) PushPoked(listener);
  RingBells();
}

void Pump::SetDue(Listener* listener, TimePoint due) noexcept {
  // What is there of the followed one already, whoever follows it asks for.
  if (listener->link.followed && due == TimePoint::min()) due = kNever;
  auto node = timers_.extract(listener->link.timer);
  node.value().first = due;
  listener->link.timer = timers_.insert(std::move(node)).position;
}

void Pump::RingBells() noexcept {
  bell_->Ring();
  if (Bell* second = second_bell_.load()) second->Ring();
}

void Pump::PushReady(Listener* listener) noexcept {
  Link& link = listener->link;
  if (link.ready) return;
  link.ready = true;
  link.next_ready = nullptr;
  (ready_last_ != nullptr ? ready_last_->link.next_ready : ready_) = listener;
  ready_last_ = listener;
  descriptor_.Set(true);
  RingBells();
}

std::shared_ptr<Listener> Pump::NextReady(bool* alone) {
  std::lock_guard lock(mutex_);
  Listener* listener = ready_;
  if (listener == nullptr) return nullptr;
  ready_ = listener->link.next_ready;
  if (ready_ == nullptr) ready_last_ = nullptr;
  listener->link.ready = false;
  if (alone != nullptr) *alone = ready_ == nullptr;
  return listener->link.timer->second;
}

void Pump::StillReady(Listener* listener) noexcept {
  std::lock_guard lock(mutex_);
  if (listener->link.pump != this) return;
  listener->link.parked = false;
  PushReady(listener);
}

void Pump::Park(Listener* listener) noexcept {
  std::lock_guard lock(mutex_);
  if (listener->link.pump != this) return;
  listener->link.parked = true;
  SetDue(listener, kNever);
}

void Pump::ReadAgain(Listener* listener, TimePoint due) noexcept {
  std::lock_guard lock(mutex_);
  if (listener->link.pump != this) return;
  // Nobody asks for more of the followed one but whoever waits.
  bool sooner = due < timers_.begin()->first || listener->link.followed;
  SetDue(listener, due);
  if (sooner) RingBells();
}

bool Pump::Finished(Listener* listener) noexcept {
  std::lock_guard lock(mutex_);
  if (listener->link.pump != this || listener->link.finished) return false;
  listener->link.finished = true;
  ++finished_;
  UpdateDescriptor();
  if (finished_ == timers_.size()) RingBells();  // threads that wait for more wait in vain
  return true;
}

Status Pump::TakeFailure() {
  std::lock_guard lock(mutex_);
  return std::exchange(failure_, Status());
}

bool Pump::exhausted() const {
  std::lock_guard lock(mutex_);
  return finished_ == timers_.size();
}

Status Pump::OpenDescriptor(int* fd) {
  std::lock_guard lock(mutex_);
  if (Status status = descriptor_.Open(); !status.ok()) return status;
  *fd = descriptor_.fd();
  UpdateDescriptor();
  return {};
}

void Pump::UpdateDescriptor() noexcept {
  if (!descriptor_.is_open()) return;
  descriptor_.Set(ready_ != nullptr || !failure_.ok() || interrupted_ || ending_ ||
                  finished_ == timers_.size());
}

void Pump::SettleDescriptor() noexcept {
  std::lock_guard lock(mutex_);
  UpdateDescriptor();
}

void Pump::Interrupt() noexcept {
  {
    std::lock_guard lock(mutex_);
    interrupted_ = true;
    UpdateDescriptor();
  }
  client_->store().Hurry();
}

bool Pump::TakeInterrupt() noexcept {
  std::lock_guard lock(mutex_);
  if (!interrupted_.exchange(false)) return false;
  ++interrupts_told_;
  return true;
}

uint64_t Pump::interrupts_told() const {
  std::lock_guard lock(mutex_);
  return interrupts_told_;
}

void Pump::AnnounceEnd() noexcept {
  std::lock_guard lock(mutex_);
  ending_ = true;
  UpdateDescriptor();
}

}  // namespace agx
