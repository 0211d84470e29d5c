#include "core/follower.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "core/client.h"
#include "core/listener.h"

namespace agx {
namespace {

// A listener that is silent for so many blocking reads has no need of them.
constexpr int kMostSilences = 2;
// After a tail could not be had, or broke, again and again.
constexpr Millis kLongestRetry{30000};
// A tail that nobody needs is kept for so long.
constexpr Millis kIdle{500};

}  // namespace

// Lets go of the lock, and tells the others that it is their turn.
struct Follower::Handover {
  Follower* follower;
  std::unique_lock<std::mutex>* one;
  ~Handover() {
    one->unlock();
    if (follower->others_ > 0) follower->bell_->Ring();
  }
};

Follower::Follower(Client* client, Pump* pump, Bell* bell)
    : client_(client), pump_(pump), bell_(bell), alert_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  pump_->StartFollowing();
}

Follower::~Follower() {
  if (alert_ >= 0) close(alert_);
}

void Follower::Look(TimePoint deadline) {
  std::unique_lock one(mutex_, std::try_to_lock);
  if (!one.owns_lock()) return;
  Handover handover{this, &one};
  if (tail_ == nullptr && Clock::now() >= deadline) {
    pump_->Neglect();
  } else if (Ask(false)) {
    // A replay is answered at once, so that even a call that does not wait gets what is there.
    TimePoint now = Clock::now();
    Await(!waits_ && now >= deadline ? kNever : now, -1);
  }
}

void Follower::Wait(uint32_t ticket, TimePoint deadline) {
  ++others_;
  std::unique_lock one(mutex_, std::try_to_lock);
  if (!one.owns_lock()) {
    bell_->Wait(ticket, deadline);
    --others_;
    return;
  }
  --others_;
  Handover handover{this, &one};
  WaitAtStore(ticket, deadline);
}

void Follower::RestIfFree() noexcept {
  std::unique_lock one(mutex_, std::try_to_lock);
  if (one.owns_lock()) Rest();
}

void Follower::Rest() noexcept {
  pump_->Unfollow();
  tail_.reset();
  asked_.reset();
}

void Follower::WaitAtStore(uint32_t ticket, TimePoint deadline) {
  if (!Ask(true)) {
    if (none_before_ > Clock::now()) deadline = std::min(deadline, none_before_);
    deadline = std::min(deadline, RestTail());
    client_->store().WaitFor(bell_, ticket, deadline);
    return;
  }
  struct Alert {
    Bell* bell;
    ~Alert() { bell->SetAlert(-1); }
  } alert{bell_};
  bell_->SetAlert(alert_);
  Await(bell_->ticket() == ticket ? deadline : Clock::now(), alert_);
}

// Gives back a tail that has not been needed for a while. When to look again.
TimePoint Follower::RestTail() {
  if (tail_ == nullptr) return kNever;
  TimePoint now = Clock::now();
  if (rests_at_ == kNever) rests_at_ = now + kIdle;
  if (now < rests_at_) return rests_at_;
  tail_.reset();
  return kNever;
}

// False if nothing is under way now. waits: the caller is about to wait for it.
bool Follower::Ask(bool waits) {
  if (tail_ == nullptr && Clock::now() < none_before_) {
    pump_->Neglect();  // it may have come back to be followed
    return false;
  }
  std::shared_ptr<Listener> followed = pump_->Followed();
  std::shared_ptr<Listener> asked = asked_.lock();
  bool has_left = followed == nullptr && asked != nullptr;
  if (has_left) RestTail();  // it may come back, and what is under way is then the next it needs
  if (!has_left && (followed == nullptr || followed != asked)) Drop();
  if (followed == nullptr) return false;
  ReadRequest request;
  bool more = false;
  if (!followed->PrepareFollow(&request, &more)) return false;
  if (tail_ == nullptr && !more && !waits) {
    pump_->Neglect();  // a connection for one that has nothing to replay is worth it to who waits
    return false;
  }
  rests_at_ = kNever;
  if (tail_ != nullptr && tail_->pending()) return true;
  if (!Open() || !Request(request, !more)) {
    pump_->Unfollow();
    PutOff();
    return false;
  }
  if (asked != followed) silences_ = 0;
  asked_ = followed;
  return true;
}

void Follower::Note(TimePoint asked_at, bool waits) {
  asked_at_ = asked_at;
  waits_ = waits;
}

bool Follower::Request(const ReadRequest& request, bool waits) {
  Note(Clock::now(), waits);
  return tail_->Request(request.key, request.after, request.count, waits).ok();
}

bool Follower::Open() {
  if (alert_ >= 0 && tail_ == nullptr) {
    tail_ = client_->store().OpenTail();
    if (tail_ != nullptr) tail_->FailAtOnce();
  }
  return tail_ != nullptr;
}

void Follower::Await(TimePoint deadline, int alert) {
  ReadRequest answer;
  answer.asked_at = asked_at_;
  Tail::Outcome outcome = Tail::Outcome::kTimeout;
  // The server looks for what comes next while this is taken in and handed on.
  TimePoint next_asked_at;
  auto foresee = [&](const Page& page, ReadRequest* next) {
    std::shared_ptr<Listener> listener = asked_.lock();
    next_asked_at = Clock::now();
    return listener != nullptr && listener->Foresee(page, next);
  };
  Status status = tail_->Await(deadline, alert, foresee, &answer, &outcome);
  if (!status.ok()) {
    tail_.reset();
    PutOff();
    pump_->Unfollow();  // it is read as others are, and what is wrong told as of others
    return;
  }
  if (outcome == Tail::Outcome::kWoken) {
    eventfd_t count = 0;
    eventfd_read(alert_, &count);
  }
  if (outcome != Tail::Outcome::kDone) return;
  put_off_ = kRetry;
  bool silent = answer.batch == nullptr || answer.batch->empty();
  silences_ = silent && waits_ ? silences_ + 1 : 0;
  if (tail_->pending()) Note(next_asked_at, false);
  if (std::shared_ptr<Listener> listener = asked_.lock()) pump_->TakeIn(listener, &answer);
  if (silences_ < kMostSilences) return;
  pump_->Unfollow();
  tail_.reset();  // another may need it
  silences_ = 0;
}

void Follower::PutOff() noexcept {
  none_before_ = Clock::now() + put_off_;
  put_off_ = std::min(put_off_ * 2, kLongestRetry);
}

// A read that is under way cannot be taken back but with its connection.
void Follower::Drop() noexcept {
  if (tail_ != nullptr && tail_->pending()) tail_.reset();
  asked_.reset();
}

}  // namespace agx
