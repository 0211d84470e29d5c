// A session's live flag: starting and stopping, and what becomes of a run whose flag is taken, lost or
// left to run out.
#include <algorithm>
#include <utility>

#include "base/token.h"
#include "core/session.h"
#include "format/agx_format.h"

namespace agx {
namespace {

constexpr std::string_view kDefaultOrigin = "opale";
constexpr int64_t kDefaultGraceMs = 5000;

}  // namespace

// --- Starting and stopping

Status Session::Start(const agx_start_options& options) {
  std::lock_guard lock(start_mutex_);
  if (client_->closed()) return Client::ClosedStatus();
  if (state() == State::kLive) {
    return {AGX_EBUSY, Cat("this handle has started ", key_, " already; stop it first")};
  }
  Result<RunPtr> made = MakeRun(options, client_->config());
  if (!made.ok()) return made.status();
  RunPtr run = *made;
  if (!uncertain_token_.empty()) run->token = uncertain_token_;
  EndKeeping();  // of an earlier run that was cancelled or taken over

  // What can be refused here comes before anything is written.
  if (!run->detached) {
    if (Status status = BeginKeeping(run); !status.ok()) return status;
  }
  if (options.keep != 0 && options.take_over == 0) {
    return {AGX_EINVAL, "the option keep goes with take_over"};
  }
  StartMode mode = options.keep != 0        ? StartMode::kContinue
                   : options.take_over != 0 ? StartMode::kTakeOver
                                            : StartMode::kIfNotLive;
  EntryId before;  // what there is of earlier runs, and stays
  bool stays = mode == StartMode::kIfNotLive && !format_->traits().starts_afresh;
  Status status = stays ? LastId(&before) : Status();
  if (status.ok()) status = StartLive(run, mode);
  if (!status.ok()) {
    EndKeeping();
    // The next try must not find the session busy with this one.
    if (status.code() == AGX_EUNCERTAIN) uncertain_token_.swap(run->token);
    return status;
  }
  uncertain_token_.clear();
  {
    std::lock_guard numbering(numbering_mutex_);
    next_number_.reset();
  }
  WaitFrom(before, mode != StartMode::kIfNotLive);
  if (run->detached) return {};
  client_->keeper().Renewed(this);
  // The look arms the watch; if it fails the keeper tries again.
  if (!CheckNow(true).ok()) client_->keeper().Poke(this);
  return {};
}

Status Session::StartLive(const RunPtr& run, StartMode mode) {
  std::lock_guard flag_lock(flag_mutex_);
  StartOutcome outcome = StartOutcome::kBusy;
  if (Status status = StartAs(run, mode, &outcome); !status.ok()) return status;
  if (outcome == StartOutcome::kBusy) {
    return {AGX_EBUSY, Cat("the session ", key_,
                           " is live already; wait for its end, cancel it, or take it over")};
  }
  wrote_ = outcome == StartOutcome::kTakenOver ? 1 : 0;
  attended_ = !run->detached;
  std::lock_guard run_lock(run_mutex_);
  run_ = run;
  SetState(State::kLive);
  return {};
}

Result<Session::RunPtr> Session::MakeRun(const agx_start_options& options, const Config& config) {
  if (options.origin != nullptr) {
    if (Status status = CheckName("origin", options.origin); !status.ok()) return status;
  }
  if (options.lease_ms != 0 && (options.lease_ms < 100 || options.lease_ms > 86400000)) {
    return Status(AGX_EINVAL, "the option lease_ms is to be 100 to 86400000, or 0");
  }
  auto run = std::make_shared<Run>();
  run->token = NewToken();
  run->origin = options.origin != nullptr ? options.origin : kDefaultOrigin;
  run->lease_ms = options.lease_ms != 0 ? options.lease_ms : config.lease_ms;
  run->detached = options.detached != 0;
  return run;
}

Status Session::StartAs(const RunPtr& run, StartMode mode, StartOutcome* outcome) {
  EventFields begin;
  format_->WriteBegin(session_id_, run->origin, Now(), &begin);
  StartRequest request;
  request.key = key_;
  request.live_key = live_key_;
  request.token = run->token;
  request.lease_ms = run->lease_ms;
  request.expire_ms = expire_ms();
  request.mode = mode;
  request.begin = begin.entry();
  request.keep = !format_->traits().starts_afresh;
  request.list = is_list();
  TimePoint asked = Clock::now();
  Status status = client_->store().Start(request, outcome);
  if (status.ok() && *outcome != StartOutcome::kBusy) {
    run->leased_until = asked + Millis(run->lease_ms);
  }
  return status;
}

Status Session::BeginKeeping(const RunPtr& run) {
  if (Status status = client_->keeper().EnsureRunning(); !status.ok()) return status;
  Status status = client_->store().Watch(live_key_, Store::KeyKind::kFlag, this);
  watched_ = status.ok();
  if (!watched_) return status;
  client_->keeper().Add(shared_from_this(), Millis(run->lease_ms / 3));
  return {};
}

void Session::EndKeeping() noexcept {
  if (watched_) client_->store().Unwatch(live_key_, this);
  watched_ = false;
  client_->keeper().Remove(this);
}

Session::RunPtr Session::run() const {
  std::lock_guard lock(run_mutex_);
  return run_;
}

Status Session::Stop(int64_t grace_ms) {
  std::lock_guard lock(start_mutex_);
  State before = state();
  if (before == State::kTakenOver) return TakenOver();
  bool ours = before == State::kLive || before == State::kCanceled;
  RunPtr run = this->run();
  std::unique_lock<std::mutex> numbering;
  Result<Stamp> stamp = NextStamp(&numbering);
  if (!stamp.ok()) return stamp.status();
  EventFields end;
  format_->WriteEnd(ours ? std::string_view(run->origin) : kDefaultOrigin, *stamp, &end);
  StopRequest request;
  if (ours) request.token = run->token;
  request.end = end.entry();
  request.grace_ms = grace_ms;
  return StopWith(request, ours, State::kStopped);
}

Status Session::StopAfter(std::span<const NewEntry> entries, int64_t grace_ms,
                          bool expect_canceled) {
  std::lock_guard lock(start_mutex_);
  State before = state();
  if (before == State::kTakenOver) return TakenOver();
  if (before != State::kLive && before != State::kCanceled) {
    return {AGX_NOT_LIVE, Cat("the session ", key_, " was stopped already")};
  }
  RunPtr run = this->run();
  EventFields end;
  format_->WriteEnd(run->origin, Now(), &end);
  StopRequest request;
  request.token = run->token;
  request.before = entries;
  request.end = end.entry();
  request.grace_ms = grace_ms;
  // A lease that had time to run out was no cancel.
  request.unless_canceled = !expect_canceled && Clock::now() < run->leased_until.load();
  bool canceled = before == State::kCanceled;
  return StopWith(request, true, canceled ? State::kCanceledAndStopped : State::kStopped);
}

// `ours`: this handle started what is to be stopped, and is `then` afterwards.
Status Session::StopWith(const StopRequest& given, bool ours, State then) {
  StopRequest request = given;
  request.key = key_;
  request.live_key = live_key_;
  request.grace_ms = GraceFor(given.grace_ms);
  request.end_marks = format_->end_marks();
  // Where nothing is written to begin with, that nothing is there does not say that it was lost.
  request.begun = ours && !format_->has_begin();
  request.keep = !format_->traits().starts_afresh;
  request.list = is_list();
  StopOutcome outcome = StopOutcome::kAbsent;
  Stopping stopping(this);
  std::lock_guard flag_lock(flag_mutex_);
  Status status = client_->store().Stop(request, &outcome);
  if (!status.ok()) return status;
  if (outcome == StopOutcome::kCanceled) {
    std::lock_guard run_lock(run_mutex_);
    SetState(State::kCanceled);
  } else if (ours || outcome == StopOutcome::kTakenOver) {
    EndKeeping();
    std::lock_guard run_lock(run_mutex_);
    SetState(outcome == StopOutcome::kTakenOver ? State::kTakenOver : then);
  }
  switch (outcome) {
    case StopOutcome::kTakenOver:
      return TakenOver();
    case StopOutcome::kCanceled:
      return {AGX_CANCELED, Cat("the session ", key_, " was cancelled")};
    case StopOutcome::kAbsent:
      return {AGX_NOT_LIVE, Cat("there is no session ", key_)};
    case StopOutcome::kStopped:
      return {};
  }
  return {};
}

Status Session::Delete() {
  std::lock_guard lock(start_mutex_);
  State before = state();
  bool ours = before == State::kLive || before == State::kCanceled;
  RunPtr run = this->run();
  std::string text_key = MessagesKey(key_);
  EventFields end;
  format_->WriteEnd(kDefaultOrigin, Now(), &end);
  DeleteRequest request;
  request.key = key_;
  request.live_key = live_key_;
  request.text_key = text_key;
  if (ours) request.token = run->token;
  request.end = end.entry();
  request.list = is_list();
  Stopping stopping(this);
  std::lock_guard flag_lock(flag_mutex_);
  bool was_there = false;
  if (Status status = client_->store().Delete(request, &was_there); !status.ok()) return status;
  if (ours) {
    EndKeeping();
    std::lock_guard run_lock(run_mutex_);
    SetState(State::kStopped);
  }
  if (!was_there) return {AGX_NONE, Cat("there is nothing of a session ", key_)};
  return {};
}

// How long after a live producer's lease the stream expires.
int64_t Session::expire_ms() const {
  return entry_expire_ms_ > 0 ? entry_expire_ms_ : client_->config().expire_ms;
}

int64_t Session::GraceFor(int64_t given) const {
  if (given >= 0) return std::min(given, kLongestWaitMs);
  return entry_expire_ms_ > 0 ? entry_expire_ms_ : kDefaultGraceMs;
}

// --- The live flag

Status Session::IsLive(bool* live) {
  LiveFlag flag;
  Status status = client_->store().Live(live_key_, &flag);
  *live = flag.present;
  return status;
}

Status Session::Renew() {
  bool present = false;
  Status status = client_->store().Extend(live_key_, client_->config().lease_ms, &present);
  if (status.ok() && !present) return {AGX_NOT_LIVE, Cat("the session ", key_, " is not live")};
  return status;
}

Status Session::Cancel(bool* was_live) { return client_->store().Cancel(live_key_, was_live); }

bool Session::IsCanceled() const {
  State now = state();
  return now == State::kCanceled || now == State::kTakenOver || now == State::kCanceledAndStopped;
}

Status Session::WaitCanceled(TimePoint deadline) {
  RunPtr run = this->run();
  bool watched = run != nullptr && !run->detached;
  bool waits = deadline > Clock::now();
  waiters_.fetch_add(1);
  Status status;
  for (;;) {
    uint32_t ticket = bell_.ticket();
    State now = state();
    if (client_->closed()) {
      status = Client::ClosedStatus();
    } else if (closed_) {
      status = {AGX_ECLOSED, "the session is closed"};
    } else if (now == State::kTakenOver) {
      status = TakenOver();
    } else if (now == State::kLive && watched) {
      // Whoever waits looks at the flag itself, which saves a hop through the keeper. Who does not
      // wait does not wait for a store that hangs either.
      if (waits && changed_.exchange(false) && !CheckNow(false).ok()) {
        client_->keeper().Poke(this);
      }
      if (state() != now) continue;
      if (client_->store().WaitFor(&bell_, ticket, deadline)) continue;
      status = {AGX_TIMEOUT, "not cancelled yet"};
    } else if (now != State::kCanceled && now != State::kCanceledAndStopped) {
      status = {AGX_NOT_LIVE, "this handle has not started the session, or has stopped it"};
    }
    break;
  }
  waiters_.fetch_sub(1);
  if (changed_) client_->keeper().Poke(this);
  return status;
}

void Session::Changed() noexcept {
  changed_ = true;
  if (waiters_.load() != 0 || client_->closed()) {
    bell_.Ring();
  } else {
    client_->keeper().Poke(this);
  }
}

// Saves the look at the flag that Changed asks for.
void Session::Taken(std::string_view token) noexcept {
  RunPtr run = this->run();
  if (run != nullptr && run->token == token) Lose(run, State::kCanceled);
}

Lease Session::LeaseOf(const Run& run) const {
  Lease lease;
  lease.key = key_;
  lease.live_key = live_key_;
  lease.token = run.token;
  lease.lease_ms = run.lease_ms;
  lease.expire_ms = expire_ms();
  return lease;
}

// Throws nothing: its callers have to go on.
Status Session::CheckNow(bool waits) noexcept try {
  RunPtr run = this->run();
  Lease lease = LeaseOf(*run);
  TimePoint leased_until = run->leased_until;
  Store& store = client_->store();
  Status status = waits ? store.Check({&lease, 1}) : store.CheckIfConnected({&lease, 1});
  if (status.ok()) Learn(run, lease, leased_until);
  return status;
} catch (const std::bad_alloc&) {
  return {AGX_ENOMEM, {}};
}

// What the store has just said of the run's flag, whose lease was known to last so long when it was
// asked.
void Session::Learn(const RunPtr& run, const Lease& lease, TimePoint leased_until) {
  if (state() != State::kLive || run != this->run() || stopping_) return;
  bool gone = lease.state == LeaseState::kAbsent || lease.state == LeaseState::kLost;
  if (gone && run->leased_until.load() != leased_until) {
    // Another thread has set the flag since, perhaps behind this look.
    changed_ = true;
    return client_->keeper().Poke(this);
  }
  switch (lease.state) {
    case LeaseState::kOther:
      return Lose(run, State::kTakenOver);
    case LeaseState::kAbsent:
      return LearnAbsent(run, leased_until);
    case LeaseState::kLost:
      // Where a run begins with an entry, or had one since, the store forgot everything, which is no
      // cancel.
      if (!format_->has_begin() && wrote_ == 0) return LearnAbsent(run, leased_until);
      return TakeBack(run, leased_until);
    case LeaseState::kOwn:
    case LeaseState::kUnknown:
      return;
  }
}

// The flag is gone. It was taken, unless the lease had time to run out because the store could not
// be reached or this process was stopped: then it is taken back, if nobody else has it. What counts
// is when the answer came, since the question may have waited for the store.
void Session::LearnAbsent(const RunPtr& run, TimePoint leased_until) {
  if (Clock::now() < leased_until) return Lose(run, State::kCanceled);
  TakeBack(run, leased_until);
}

void Session::TakeBack(const RunPtr& run, TimePoint leased_until) {
  // A stop or start that is under way has to be the last to write the flag, and nobody is to wait
  // for it here. If it fails it has the flag looked at again.
  std::unique_lock flag_lock(flag_mutex_, std::try_to_lock);
  if (!flag_lock.owns_lock() || stopping_ || state() != State::kLive || run != this->run()) return;
  // Another thread may have set it before the lock was free, and somebody have taken it since.
  bool set = run->leased_until.load() != leased_until;
  if (!set && Resume(run).code() == AGX_TAKEN_OVER) return;
  // Looks again, because it failed or to arm the watch.
  changed_ = true;
  client_->keeper().Poke(this);
}

// Under flag_mutex_. Begins anew if there is no stream.
Status Session::Resume(const RunPtr& run) {
  StartOutcome outcome = StartOutcome::kBusy;
  uint64_t wrote = wrote_;
  if (Status status = StartAs(run, StartMode::kResume, &outcome); !status.ok()) return status;
  if (outcome == StartOutcome::kBusy) {
    Lose(run, State::kTakenOver);
    return TakenOver();
  }
  if (outcome == StartOutcome::kStarted) {
    // Unless another thread has written since: then the stream is there, and can be lost again.
    wrote_.compare_exchange_strong(wrote, 0);
    client_->LogLine(AGX_LOG_WARNING,
                     Cat("the store has lost the session ", key_, ", which was begun anew"));
  }
  return {};
}

// The run is over, unless it was already: by now there may be another.
void Session::Lose(const RunPtr& run, State to) noexcept {
  std::lock_guard lock(run_mutex_);
  if (run == run_ && state() == State::kLive) SetState(to);
}

void Session::SetState(State state) noexcept {
  state_.store(state, std::memory_order_release);
  bell_.Ring();
  bool interrupted = state == State::kCanceled || state == State::kTakenOver;
  if (interrupted && observed_) client_->keeper().Poke(this);
}

}  // namespace agx
