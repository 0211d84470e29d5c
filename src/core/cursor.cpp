#include <algorithm>
#include <utility>

#include "core/listener.h"

namespace agx {
namespace {

// A batch is to be about so large, whatever the events are.
constexpr size_t kBatchBytes = size_t{1024} * 1024;
constexpr size_t kMostEvents = 2000;
constexpr size_t kLeastEvents = 16;

// A bell may be lost with its connection: everything is read again so often anyway.
constexpr Millis kReadAnyway{30000};
// How often a flag is looked at that has no expiry.
constexpr Millis kCheckHeld{15000};
// A lease that ends this soon has run out when it is gone; otherwise somebody took it.
constexpr Millis kLeaseSlack{50};

size_t CountAfter(size_t size, size_t bytes) {
  size_t average = bytes / size + 1;
  return std::clamp(kBatchBytes / average, kLeastEvents, kMostEvents);
}
bool Ends(const Entry& entry) { return entry.ending != Ending::kNone; }

bool IsPlain(const Entry& entry) {
  return !entry.hidden && !Ends(entry) && entry.refusal == nullptr;
}

TimePoint After(TimePoint then, int64_t ms) {
  return ms < 0 || then == kNever ? kNever : DeadlineAfter(ms, then);
}

}  // namespace

Cursor::Cursor(const Options& options, EntryId after, TimePoint now)
    : options_(options),
      position_(after),
      read_to_(after),
      limit_left_(options.limit > 0 ? options.limit : -1),
      since_(now),
      read_at_(TimePoint::min()),
      check_at_(now),
      last_(options.resumes && !options.format->end_marks().empty() ? Last::kUnknown
                                                                    : Last::kOfNoUse) {}

bool Cursor::Take(TimePoint now, Status* status, Entry** entry) {
  *entry = nullptr;
  Select();
  if (limited()) {
    *status = {AGX_LIMIT, "the listener's limit is reached"};
    return true;
  }
  if (gap_) {
    gap_ = false;
    *status = {AGX_GAP, "the store dropped events that this cursor may still have needed"};
    return true;
  }
  while (!ended_ && batch_ != nullptr && !batch_->empty()) {
    Entry* first = batch_->first();
    bool end = Ends(*first);
    if (end && first->next == nullptr && more_) return false;  // is it the last?
    // Another program began the session again over what was there.
    bool begun_again = end && first->next != nullptr && first->next->begins;
    bool mark = first->ending == Ending::kMark;
    ended_ = end && !begun_again;
    if (ended_ && (first->hidden || (mark && !options_.hand_on_end))) break;
    if (first->hidden || (begun_again && mark)) {
      Batch::Release(batch_->TakeFirst());
      continue;
    }
    if (first->refusal != nullptr) return Refuse(status);
    *entry = batch_->TakeFirst();
    position_ = (*entry)->id;
    if (batch_->empty()) {
      batch_.reset();  // an idle listener keeps no memory for events
      position_ = read_to_;
    }
    since_ = std::max(since_, now);
    if (limit_left_ > 0) --limit_left_;
    *status = Status();
    return true;
  }
  if (ended_) {
    *status = {AGX_ENDED, "the session has ended"};
    return true;
  }
  agx_status outcome = Outcome(now);
  if (outcome == AGX_OK) return false;
  Producer was = producer_;
  StartAnew(now);
  if (outcome == AGX_ABSENT) *status = {outcome, "the session has not appeared"};
  if (outcome == AGX_SILENT) *status = {outcome, "the session has been silent for too long"};
  if (outcome == AGX_GONE) {
    gone_ = was == Producer::kStopped    ? AGX_GONE_STOPPED
            : was == Producer::kVanished ? AGX_GONE_TAKEN
                                         : AGX_GONE_EXPIRED;
    *status = {outcome,
               gone_ == AGX_GONE_STOPPED ? "the session was stopped"
               : gone_ == AGX_GONE_TAKEN
                   ? "the session's producer is gone: its live flag was taken away, and no "
                     "end followed"
                   : "the session's producer is gone: its lease ran out without an end"};
  }
  return true;
}

bool Cursor::HoldsEntry() const {
  return Holds() && !ended_ && !unselected_ && IsPlain(*batch_->first());
}

bool Cursor::HoldsMore() const {
  if (!HoldsEntry()) return false;
  const Entry* second = batch_->first()->next;
  return second != nullptr && IsPlain(*second);
}

// Passes over an entry that cannot be read, and says so.
bool Cursor::Refuse(Status* status) {
  Entry* entry = batch_->TakeFirst();
  *status = {AGX_EUNSUPPORTED, Cat("the entry ", entry->id_text, ": ", entry->refusal),
             entry->id_text};
  position_ = entry->id;
  Batch::Release(entry);
  if (batch_->empty()) {
    batch_.reset();
    position_ = read_to_;
  }
  return true;
}

bool Cursor::Has(TimePoint now) const {
  if (limited() || gap_ || ended_) return true;
  if (batch_ != nullptr && !batch_->empty()) {
    const Entry* first = batch_->first();
    return !(Ends(*first) && first->next == nullptr && more_);
  }
  return Outcome(now) != AGX_OK;
}

// The entries at hand are used up, but for an `end` that may not be the last.
bool Cursor::WantsEntries() const {
  if (batch_ == nullptr || batch_->empty()) return true;
  const Entry* first = batch_->first();
  return more_ && first->next == nullptr && Ends(*first);
}

// An outcome is told only after a read that came later than the moment from which it holds.
agx_status Cursor::Outcome(TimePoint now) const {
  TimePoint first = TellsAt();
  if (now < first || read_at_ < first) return AGX_OK;
  if (GoneAt() <= SilentAt()) return AGX_GONE;
  return appeared_ ? AGX_SILENT : AGX_ABSENT;
}

TimePoint Cursor::SilentAt() const {
  return After(since_, appeared_ ? options_.timeout_ms : options_.wait_ms);
}

TimePoint Cursor::GoneAt() const { return appeared_ ? gone_at_ : kNever; }

TimePoint Cursor::Due() const {
  if (final()) return kNever;
  if (more_ || read_at_ == TimePoint::min()) return TimePoint::min();
  if (WantsLast()) return read_at_;
  return DueAfterEvents();
}

TimePoint Cursor::DueAfterEvents() const {
  return std::min({check_at_, TellsAt(), read_at_ + kReadAnyway});
}

// After an outcome that is not final: a further call waits as a new listener would.
void Cursor::StartAnew(TimePoint now) {
  since_ = now;
  producer_ = Producer::kUnseen;
  gone_at_ = kNever;
  check_at_ = now;
  stop_told_ = false;
  if (last_ == Last::kSeen) last_ = Last::kUnknown;
}

void Cursor::Prepare(ReadRequest* request) const {
  request->after = read_to_;
  request->count = count_;
  request->want_last = WantsLast();
}

bool Cursor::Foresee(const Page& page, ReadRequest* next) const {
  if (page.after != read_to_ || !WantsEntries()) return false;
  if (page.size == 0 || page.size < page.count) return false;
  next->after = page.last;
  next->count = CountAfter(page.size, page.bytes);
  return true;
}

bool Cursor::Absorb(ReadRequest* answer, TimePoint now) {
  if (answer->after != read_to_ || !WantsEntries()) return false;
  bool any = answer->batch != nullptr && !answer->batch->empty();
  bool begins = any && !appeared_;
  for (Entry* entry = any ? answer->batch->first() : nullptr; entry != nullptr;
       entry = entry->next) {
    options_.format->Read(entry);
    begins = begins || entry->begins;
  }
  // That there was nothing holds of when it was asked for: the answer may have lain there since.
  read_at_ = !any && answer->asked_at ? *answer->asked_at : now;
  // What is read from here on says itself how the session goes on.
  if (any || answer->gap) last_ = Last::kOfNoUse;
  if (answer->gap) {
    gap_ = true;
    if (!any) read_to_ = {};  // told once; from here on, whatever there is
  }
  more_ = any && answer->batch->size() >= answer->count;
  if (!any) {
    appeared_ = appeared_ || answer->exists;
    return true;
  }
  // A new run: how long its lease is.
  if (begins && answer->live_key.empty()) check_at_ = now;
  count_ = CountAfter(answer->batch->size(), answer->batch->bytes());
  read_to_ = answer->batch->last()->id;
  // A lone `end` that had to wait for what follows it.
  bool begun_again = answer->batch->first()->begins;
  if (batch_ != nullptr && !batch_->empty() && !begun_again) {
    more_ = false;
    return true;
  }
  batch_ = std::move(answer->batch);
  unselected_ = options_.where != nullptr;
  appeared_ = true;
  since_ = now;
  if (producer_ == Producer::kLost) StartAnew(now);
  if (producer_ == Producer::kStopped) {
    LookAgain(now);
  } else if (gone_at_ != kNever) {
    gone_at_ = After(now, options_.lease_ms);
  }
  return true;
}

// A producer that was stopped is gone if a later look at the stream finds nothing more, and one at the
// flag no other producer.
void Cursor::LookAgain(TimePoint now) { gone_at_ = check_at_ = now + Millis(1); }

// Drops what the condition does not select, but for what says whether the session has ended: an
// `end`, and a `begin` behind one.
void Cursor::Select() {
  if (!std::exchange(unselected_, false)) return;
  batch_->Filter([&](Entry& entry, const Entry* before) {
    if (entry.refusal != nullptr || options_.where->Selects(entry.type, entry.origin, entry.body))
      return true;
    entry.hidden = Ends(entry) || (before != nullptr && Ends(*before) && entry.begins);
    return entry.hidden;
  });
  if (!batch_->empty()) return;
  batch_.reset();
  position_ = read_to_;
}

void Cursor::AbsorbFlag(const LiveFlag& flag, TimePoint now) {
  bool told = std::exchange(stop_told_, false);
  if (flag.present) {
    if (last_ != Last::kOfNoUse) last_ = Last::kUnknown;
    appeared_ = true;
    gone_at_ = kNever;
    if (flag.ttl_ms < 0) {
      producer_ = Producer::kHeld;
      check_at_ = now + kCheckHeld;
      return;
    }
    producer_ = Producer::kLeased;
    leased_until_ = DeadlineAfter(flag.ttl_ms, now);
    // A living producer renews long before the lease's end, so that a flag which goes before it was
    // taken, and did not run out.
    int64_t half = flag.ttl_ms > 100 ? flag.ttl_ms / 2 : flag.ttl_ms + 10;
    check_at_ = DeadlineAfter(half, now);
    return;
  }
  if (last_ == Last::kUnknown) last_ = Last::kWanted;
  check_at_ = DeadlineAfter(std::max<int64_t>(options_.lease_ms / 2, 50), now);
  if (told) {
    producer_ = Producer::kStopped;
    LookAgain(now);
  } else if (producer_ == Producer::kLeased) {
    bool ran_out = now + kLeaseSlack >= leased_until_;
    producer_ = ran_out ? Producer::kLost : Producer::kVanished;
    // A last look at the stream has to come after the look at the flag; one that was cancelled gets
    // time to say so.
    gone_at_ = ran_out ? now + Millis(1) : After(now, options_.lease_ms);
  } else if (producer_ == Producer::kUnseen && appeared_ && gone_at_ == kNever &&
             options_.format->all_keep_flags()) {
    gone_at_ = After(since_, options_.lease_ms);
  }
}

// There was no flag before it was looked at: if a run has begun since, this is no end, or comes
// behind the cursor.
void Cursor::AbsorbLast(BatchPtr last) {
  if (!WantsLast()) return;
  last_ = Last::kSeen;
  if (last == nullptr || last->empty()) return;
  Entry* entry = last->first();
  options_.format->Read(entry);
  ended_ = ended_ || (Ends(*entry) && entry->id <= read_to_);
}

}  // namespace agx
