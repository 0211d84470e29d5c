// The robust consumer: whatever dies, an event is acknowledged or comes again.
//
// What it was given and has not got rid of it holds: events that wait for the handler, those that
// failed and wait to be tried again, those that are to be buried. How often an event was delivered
// is kept by the store, so that it is known to whoever takes over.
#include <algorithm>
#include <list>
#include <random>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "core/group.h"

namespace agx {
namespace {

// Acknowledgements wait so long for company, at most.
constexpr Millis kAcknowledgeWithin{50};
constexpr size_t kLongestReason = 4096;
constexpr int64_t kLongestPauseMs = 2000;

// It may go better soon.
bool IsPassing(const Status& status) {
  switch (status.code()) {
    case AGX_ECONNECT:
    case AGX_ETIMEOUT:
    case AGX_EUNCERTAIN:
    case AGX_ELOADING:
    case AGX_EREADONLY:
    case AGX_EFULL:
      return true;
    default:
      return false;
  }
}

struct Limits {
  int64_t max_retries = 3;
  int64_t claim_idle_ms = 300000;
  size_t count = 16;
  int64_t backoff_ms = 100;
  int64_t backoff_max_ms = 30000;
  int64_t outage_ms = -1;
  int64_t timeout_ms = -1;
  int64_t limit = 0;
};

Result<Limits> Check(const agx_group_process_options& options) {
  if (options.max_retries < 0 || options.count < 0 || options.limit < 0 || options.backoff_ms < 0 ||
      options.backoff_max_ms < 0) {
    return Status(AGX_EINVAL,
                  "the options max_retries, count, limit and the back-offs are to "
                  "be 0 (the default) or more");
  }
  Limits limits;
  if (options.max_retries > 0) limits.max_retries = options.max_retries;
  if (options.claim_idle_ms != 0) limits.claim_idle_ms = options.claim_idle_ms;
  if (options.count > 0) limits.count = static_cast<size_t>(std::min<int64_t>(options.count, 1000));
  // A read counts as an attempt. Of an event that has only one, nobody could tell whether it was ever
  // handed on: so it is read when it is.
  if (limits.max_retries == 1) limits.count = 1;
  if (options.backoff_ms > 0) limits.backoff_ms = options.backoff_ms;
  if (options.backoff_max_ms > 0) limits.backoff_max_ms = options.backoff_max_ms;
  limits.outage_ms = options.outage_ms;
  limits.timeout_ms = options.timeout_ms;
  limits.limit = options.limit;
  return limits;
}

}  // namespace

class Processor {
 public:
  Processor(Group* group, const Limits& limits, const GroupHandler& handler)
      : group_(*group),
        limits_(limits),
        handler_(handler),
        random_(static_cast<uint32_t>(Clock::now().time_since_epoch().count())) {}
  ~Processor() {
    for (const Holding& one : held_) Batch::Release(one.entry);
  }
  Processor(const Processor&) = delete;
  Processor& operator=(const Processor&) = delete;

  Status Run();
  // An interrupt was seen, and stays set meanwhile: no wait for a connection begins any more, but for
  // what was handled.
  bool stopping() const { return stopping_; }

 private:
  struct Holding {
    Entry* entry = nullptr;
    int64_t attempt = 1;  // this delivery's number
    bool tried = false;   // in this delivery, which is over
    // It was delivered before, and to whom it is handed now is not counted yet: so what only lay beside
    // one of which consumers died does not die of it.
    bool uncounted = false;
    bool dying = false;  // is to be buried
    // The group was deleted meanwhile and does not know of it any more.
    bool loose = false;
    std::string reason;
    TimePoint due = TimePoint::min();
    TimePoint since;  // the store counts it as idle from then on
  };
  using Held = std::list<Holding>;

  Status Step(bool* done);
  Status Finish(Status outcome);
  void NoteHeld();
  Status GiveBack(int64_t idle_ms);
  Status Outage(const Status& status, TimePoint tried_since);
  Held::iterator NextDue(TimePoint now);
  Status Serve(Held::iterator one);
  Status Secure(Holding* one, bool* lost);
  void Call(Holding* one);
  Status BuryOne(Holding* one);
  Status AddDeadLetter(const Holding& one, std::span<const Field> facts);
  Status Flush();
  Status ClaimSome(bool* got);
  Status ReadSome(bool* got);
  void Keep(Takings taken);
  bool Knows(EntryId id) const;
  size_t Room() const;
  TimePoint Backoff(int64_t attempt);
  TimePoint WakeAt(TimePoint now) const;

  Group& group_;
  const Limits limits_;
  const GroupHandler& handler_;
  std::minstd_rand random_;
  Held held_;
  std::vector<EntryId> done_;  // to be acknowledged
  TimePoint done_since_;
  int64_t handled_ = 0;
  bool stopping_ = false;
  bool made_again_ = false;  // and nothing has succeeded since
  bool absent_ = false;      // there is no stream, by the last look
  uint32_t ticket_ = 0;      // of the last look
  EntryId claim_after_;
  TimePoint claim_at_ = TimePoint::min();
  TimePoint event_at_ = Clock::now();  // the last event, or when waiting for one began
  TimePoint outage_since_ = kNever;
  int64_t pause_ms_ = 0;
};

Status Group::Process(const agx_group_process_options& options, const GroupHandler& handler) {
  Result<Limits> limits = Check(options);
  if (!limits.ok()) return limits.status();
  Turn turn(this);
  if (Status status = turn.Take(Clock::now(), true); !status.ok()) return status;
  PendingAnew();
  rest_.reset();  // which is pending
  Processor processor(this, *limits, handler);
  Status outcome = processor.Run();
  PendingAnew();  // what it leaves
  if (processor.stopping()) interrupted_ = false;
  if (!closed_) RemoveMadeUp();
  return outcome;
}

Status Processor::Run() {
  for (;;) {
    if (group_.closed_ || group_.client_->closed()) return group_.Stopped();
    if (group_.interrupted_) stopping_ = true;
    bool done = false;
    TimePoint since = Clock::now();
    Status status = Step(&done);
    if (status.code() == AGX_NONE) {
      // The events that are held are handled all the same.
      for (Holding& one : held_) one.loose = true;
      Status made = group_.MakeAgain(&absent_);
      if (made.ok() && absent_) continue;
      // One that is gone again at once is an outage.
      if (made.ok() && !std::exchange(made_again_, true)) continue;
      if (!made.ok()) status = std::move(made);
    } else if (status.ok()) {
      made_again_ = false;
      outage_since_ = kNever;
      pause_ms_ = 0;
      if (!done) continue;
    }
    if (done) return Finish(std::move(status));
    // The store answers.
    if (!IsPassing(status) && status.code() != AGX_NONE) return Finish(std::move(status));
    if (status = Outage(status, since); status.ok()) continue;
    if (stopping_) return Finish(std::move(status));
    NoteHeld();
    return status;
  }
}

// What comes next. *done: it is over, and the status says how.
Status Processor::Step(bool* done) {
  // Of a stream that is not there it was the step before that looked.
  bool absent = std::exchange(absent_, false);
  if (!absent) ticket_ = group_.bell_.ticket();
  TimePoint now = Clock::now();
  bool late = !done_.empty() && now >= done_since_ + kAcknowledgeWithin;
  if (late || done_.size() >= limits_.count) {
    if (Status status = Flush(); !status.ok()) return status;
  }
  if (auto one = NextDue(now); one != held_.end()) return Serve(one);
  if (Status status = Flush(); !status.ok()) return status;
  if (stopping_ || (limits_.limit > 0 && handled_ >= limits_.limit)) {
    *done = true;
    if (stopping_) return {AGX_INTERRUPTED, "interrupted"};
    return {AGX_LIMIT, Cat(handled_, " events were handled")};
  }
  // This handle goes on with it, in the order in which it came.
  if (Status status = GiveBack(0); !status.ok()) return status;
  bool got = false;
  // Not while it is looked for what a lost reply has given: which was given before could not be told.
  if (!absent && now >= claim_at_ && (!group_.recovering_ || Room() == 0)) {
    Status status = ClaimSome(&got);
    if (!status.ok() || got) return status;
  }
  bool armed = group_.watched_ && group_.short_;
  if (!absent && Room() > 0) {
    Status status = ReadSome(&got);
    if (!status.ok() || got) return status;
  }
  if (limits_.timeout_ms >= 0 && held_.empty() &&
      now >= DeadlineAfter(limits_.timeout_ms, event_at_)) {
    *done = true;
    return {AGX_TIMEOUT, "no event came within the timeout"};
  }
  if (!group_.watched_) {
    if (Status status = group_.Watch(); !status.ok()) return status;
  } else if (armed || Room() == 0) {
    group_.Sleep(ticket_, WakeAt(Clock::now()));
  }
  group_.short_ = true;
  return {};
}

// Gives back what is held: whoever looks for events that were left takes it at once.
Status Processor::Finish(Status outcome) {
  NoteHeld();
  // A connection that is lost at this moment is made again once, but not waited for.
  int64_t idle_ms = std::max<int64_t>(limits_.claim_idle_ms, 0);
  if (IsPassing(GiveBack(idle_ms))) (void)GiveBack(idle_ms);
  return outcome;
}

void Processor::NoteHeld() {
  std::lock_guard lock(group_.given_back_mutex_);
  for (const Holding& one : held_) {
    if (one.loose) continue;
    // What was counted when it was read, and not handed on, was not given.
    bool unused = !one.tried && !one.uncounted;
    int64_t attempts = one.dying ? -1 : one.attempt - (unused ? 1 : 0);
    group_.given_back_.push_back({one.entry->id, attempts, false});
  }
}

// Failing that the next processing begins with it.
Status Processor::GiveBack(int64_t idle_ms) {
  std::vector<agx::Held> left;
  {
    std::lock_guard lock(group_.given_back_mutex_);
    left = group_.given_back_;
  }
  if (left.empty()) return {};
  Status status =
      group_.groups().Hold(group_.of(), group_.consumer_, idle_ms, left, &group_.interrupted_);
  if (!status.ok() && status.code() != AGX_NONE) return status;
  std::lock_guard lock(group_.given_back_mutex_);
  group_.given_back_.clear();
  return status;
}

// The store fails: pauses, or gives up.
Status Processor::Outage(const Status& status, TimePoint tried_since) {
  TimePoint now = Clock::now();
  // An interrupt may be why it gave up, and is seen to next. What was tried for as long as may be is not
  // tried once more.
  if (group_.interrupted_ && !stopping_) {
    int64_t most_ms = group_.client_->config().reconnect_timeout_ms;
    if (most_ms < 0 || now < DeadlineAfter(most_ms, tried_since)) return {};
    stopping_ = true;
  }
  if (outage_since_ == kNever) outage_since_ = now;
  bool patient = limits_.outage_ms < 0 || now < DeadlineAfter(limits_.outage_ms, outage_since_);
  // What is handled and not acknowledged comes again.
  if (stopping_ || !patient) return status;
  group_.client_->LogLine(AGX_LOG_WARNING, status.message());
  pause_ms_ = std::clamp<int64_t>(pause_ms_ * 2, 50, kLongestPauseMs);
  TimePoint until = DeadlineAfter(pause_ms_, now);
  while (Clock::now() < until) {
    uint32_t ticket = group_.bell_.ticket();
    if (group_.closed_ || group_.client_->closed() || group_.interrupted_) break;
    if (!group_.bell_.Wait(ticket, until)) break;
  }
  return {};
}

// One that is to be served now. Those that failed are not tried again once it stops.
Processor::Held::iterator Processor::NextDue(TimePoint now) {
  return std::find_if(held_.begin(), held_.end(), [&](const Holding& one) {
    return one.due <= now && !(stopping_ && one.tried && !one.dying);
  });
}

Status Processor::Serve(Held::iterator one) {
  if (!one->dying) {
    bool lost = false;
    if (Status status = Secure(&*one, &lost); !status.ok()) return status;
    if (!lost) Call(&*one);
    // It is another's now, which handles it.
    if (!lost && (one->tried || one->dying)) return {};
  } else if (Status status = BuryOne(&*one); !status.ok()) {
    return status;
  }
  Batch::Release(one->entry);
  held_.erase(one);
  return {};
}

// Before the handler is called: a further attempt is counted; what was held for long is held anew,
// so that it does not look as if it had been left.
Status Processor::Secure(Holding* one, bool* lost) {
  TimePoint now = Clock::now();
  bool stale = limits_.claim_idle_ms > 0 &&
               now - one->since >= Millis(std::max<int64_t>(limits_.claim_idle_ms / 3, 1));
  bool further = one->tried || one->uncounted;
  if (one->loose || (!further && !stale)) {
    if (further) ++one->attempt;
    one->tried = one->uncounted = false;
    return {};
  }
  std::vector<agx::Held> held = {{one->entry->id, one->attempt + (further ? 1 : 0), false}};
  Status status = group_.groups().Hold(group_.of(), group_.consumer_, 0, held);
  if (!status.ok()) return status;
  *lost = !held[0].own;
  one->attempt = held[0].attempts;
  one->tried = one->uncounted = false;
  one->since = now;
  return {};
}

void Processor::Call(Holding* one) {
  event_at_ = Clock::now();
  (void)group_.TakeFailReason();
  std::string reason;
  agx_status result = handler_(*one->entry, one->attempt, &reason);
  std::string given = group_.TakeFailReason();
  event_at_ = Clock::now();
  if (result == AGX_OK) {
    ++handled_;
    if (done_.empty()) done_since_ = event_at_;
    if (!one->loose) done_.push_back(one->entry->id);
    return;
  }
  one->tried = true;
  if (result == AGX_INTERRUPTED) {
    group_.interrupted_ = stopping_ = true;
    --one->attempt;
    return;
  }
  if (!given.empty()) reason = std::move(given);
  if (reason.empty()) reason = Cat("the handler returned ", agx_status_string(result));
  one->reason.clear();
  AppendRepaired(reason, &one->reason);
  one->reason.resize(CutShort(one->reason, kLongestReason).size());
  if (one->attempt >= limits_.max_retries) {
    one->dying = true;
    one->due = TimePoint::min();
  } else {
    one->due = Backoff(one->attempt);
  }
}

Status Processor::BuryOne(Holding* one) {
  std::string seconds = UnixSeconds(WallMillis());
  std::string attempts = std::to_string(one->attempt);
  const Field facts[] = {{kOriginalStream, group_.key_},
                         {kOriginalId, one->entry->id_text},
                         {kFailureReason, one->reason},
                         {kAttempts, attempts},
                         {kDlqTimestamp, seconds}};
  Status status;
  if (one->loose) {
    status = AddDeadLetter(*one, facts);
  } else {
    Burial burial;
    burial.of = group_.of();
    burial.consumer = group_.consumer_;
    burial.id = one->entry->id;
    burial.to = group_.dead_letters_;
    burial.fields = facts;
    bool buried = false;
    status = group_.groups().Bury(burial, &buried);
  }
  if (!status.ok()) return status;
  ++handled_;
  group_.client_->LogLine(
      AGX_LOG_WARNING,
      Cat("the event ", one->entry->id_text, " of ", group_.key_, " failed for good after ",
          one->attempt, " attempts and is in ", group_.dead_letters_, ": ", one->reason));
  return {};
}

Status Processor::AddDeadLetter(const Holding& one, std::span<const Field> facts) {
  std::vector<Field> fields(one.entry->fields, one.entry->fields + one.entry->field_count);
  fields.insert(fields.end(), facts.begin(), facts.end());
  EntryId id;
  return group_.client_->store().Add(group_.dead_letters_, {fields.data(), fields.size()}, 0, &id);
}

Status Processor::Flush() {
  if (done_.empty()) return {};
  uint64_t count = 0;
  Status status = group_.groups().Acknowledge(group_.of(), done_, &count);
  if (status.ok()) done_.clear();
  return status;
}

Status Processor::ClaimSome(bool* got) {
  int64_t pause_ms = std::clamp<int64_t>(limits_.claim_idle_ms / 10, 50, 5000);
  if (limits_.claim_idle_ms < 0) {
    claim_at_ = kNever;
    return {};
  }
  if (Room() == 0) {
    claim_at_ = DeadlineAfter(pause_ms);
    return {};
  }
  TakeRequest request;
  request.of = group_.of();
  request.consumer = group_.consumer_;
  request.mode = TakeMode::kClaimSame;
  request.min_idle_ms = limits_.claim_idle_ms;
  request.after = claim_after_;
  request.count = Room();
  request.stop = &group_.interrupted_;
  Takings taken;
  group_.consumed_ = true;
  Status status = group_.groups().Take(request, &taken);
  if (!status.ok()) {
    // What a lost reply has given is pending for this consumer, and was given before.
    if (status.code() == AGX_EUNCERTAIN) group_.PendingAnew();
    // Nothing was left: what is new is looked for first.
    if (status.code() == AGX_NONE) claim_at_ = DeadlineAfter(pause_ms);
    return status;
  }
  group_.last_taken_ = std::max(group_.last_taken_, taken.last);
  claim_after_ = taken.more ? taken.last : EntryId{};
  if (!taken.more) claim_at_ = DeadlineAfter(pause_ms);
  *got = taken.more || taken.batch != nullptr;
  Keep(std::move(taken));
  return {};
}

Status Processor::ReadSome(bool* got) {
  Takings taken;
  bool armed = group_.watched_ && group_.short_;
  // Attempts are counted when the handler is called.
  Status status = group_.Look(AGX_GROUP_PENDING_FIRST, TakeMode::kSame, Room(), armed, &taken, got);
  *got = *got || taken.batch != nullptr;
  if (status.ok()) Keep(std::move(taken));
  return status;
}

void Processor::Keep(Takings taken) {
  if (taken.batch == nullptr) return;
  TimePoint now = Clock::now();
  for (size_t i = 0; !taken.batch->empty(); ++i) {
    Holding one;
    bool redelivered = i < taken.attempts.size() && !taken.given_now;
    one.attempt = i < taken.attempts.size() ? taken.attempts[i] : 1;
    // An attempt of 0 was taken back.
    one.uncounted = redelivered || one.attempt < 1;
    one.since = now;
    if (Knows(taken.batch->first()->id)) {
      Batch::Release(taken.batch->TakeFirst());
      continue;
    }
    if (redelivered && one.attempt >= limits_.max_retries) {
      one.dying = true;
      one.reason = Cat("it was delivered ", one.attempt, " times and never acknowledged");
    }
    held_.push_back(std::move(one));
    held_.back().entry = taken.batch->TakeFirst();
    group_.MakeEvent(held_.back().entry);
    if (const char* refusal = held_.back().entry->refusal) {
      held_.back().attempt = 0;
      held_.back().dying = true;
      held_.back().reason = refusal;
    }
  }
  event_at_ = now;
}

bool Processor::Knows(EntryId id) const {
  return std::find(done_.begin(), done_.end(), id) != done_.end() ||
         std::any_of(held_.begin(), held_.end(),
                     [&](const Holding& one) { return one.entry->id == id; });
}

// How many more to take: no more than are handled before long, and than the limit leaves.
size_t Processor::Room() const {
  size_t most = limits_.count * 4;
  size_t room = held_.size() >= most ? 0 : std::min(limits_.count, most - held_.size());
  if (limits_.limit == 0) return room;
  auto left = static_cast<size_t>(std::max<int64_t>(limits_.limit - handled_, 0));
  return held_.size() >= left ? 0 : std::min(room, left - held_.size());
}

// Twice as long each time, and between half and all of that.
TimePoint Processor::Backoff(int64_t attempt) {
  int64_t delay_ms = limits_.backoff_ms;
  for (int64_t i = 1; i < attempt && delay_ms < limits_.backoff_max_ms; ++i) delay_ms *= 2;
  delay_ms = std::min(delay_ms, limits_.backoff_max_ms);
  std::uniform_int_distribution<int64_t> jitter(delay_ms / 2, delay_ms);
  return DeadlineAfter(jitter(random_));
}

TimePoint Processor::WakeAt(TimePoint now) const {
  TimePoint until = claim_at_;
  for (const Holding& one : held_) until = std::min(until, one.due);
  if (limits_.timeout_ms >= 0 && held_.empty()) {
    until = std::min(until, DeadlineAfter(limits_.timeout_ms, event_at_));
  }
  return std::max(until, now);
}

}  // namespace agx
