// What a session writes: events become entries, pass the interceptors, get their numbers, and are
// written to a stream that the store may have lost.
#include <algorithm>
#include <cstring>
#include <deque>
#include <new>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/token.h"
#include "core/session.h"
#include "format/agx_format.h"

namespace agx {
namespace {

// In the course of one write.
constexpr int kMostLosses = 8;
// Entries that are looked at, at most, for the last number: what comes from elsewhere has none.
constexpr size_t kLookBack = 65536;

Status CheckEvent(const agx_new_event& event, size_t* body_length) {
  if (Status status = CheckName("type", event.type); !status.ok()) return status;
  if (Status status = CheckName("origin", event.origin); !status.ok()) return status;
  return CheckBody(event.body, body_length);
}

NewEvent EventOf(const agx_new_event& event, size_t body_length) {
  std::string_view body;
  if (event.body != nullptr) body = {event.body, body_length};
  return {event.type, event.origin, body};
}

// A copy is of what others wrote, which need not have a type or an origin.
Status CheckCopy(const agx_new_event& event, size_t* body_length) {
  auto check = [](const char* what, const char* text) {
    return text != nullptr && *text == '\0' ? Status() : CheckName(what, text);
  };
  if (Status status = check("type", event.type); !status.ok()) return status;
  if (Status status = check("origin", event.origin); !status.ok()) return status;
  return CheckBody(event.body, body_length);
}

// The same, with the numbers that Python's json writes and JSON has not.
Status CheckPythonCopy(const agx_new_event& event, size_t* body_length) {
  Status status = CheckCopy(event, body_length);
  if (status.code() != AGX_EJSON) return status;
  std::string_view body = event.body;
  if (!ValidatePythonJson(body, AGX_DEPTH_MAX)) return status;
  *body_length = body.size();
  return {};
}

Status CheckAll(std::span<const agx_new_event> events, std::vector<NewEvent>* checked,
                Status (*check)(const agx_new_event&, size_t*) = CheckEvent) {
  checked->reserve(events.size());
  for (const agx_new_event& event : events) {
    size_t length = 0;
    if (Status status = check(event, &length); !status.ok()) {
      return {status.code(), Cat("event ", checked->size(), ": ", status.message())};
    }
    checked->push_back(EventOf(event, length));
  }
  return {};
}

}  // namespace

Status Session::Add(const char* type, const char* origin, const char* body, EntryId* id) {
  agx_new_event event{type, origin, body};
  size_t length = 0;
  if (Status status = CheckEvent(event, &length); !status.ok()) return status;
  if (state() == State::kTakenOver) return TakenOver();
  NewEvent checked = EventOf(event, length);
  return intercepted() ? AddIntercepted(checked, id) : Write(checked, id);
}

Status Session::AddMany(std::span<const agx_new_event> events, EntryId* ids, size_t* added) {
  *added = 0;
  std::vector<NewEvent> checked;
  if (Status status = CheckAll(events, &checked); !status.ok()) return status;
  if (intercepted()) return AddManyIntercepted(checked, ids, added);
  return WriteMany(checked, nullptr, ids, added);
}

Status Session::Write(const NewEvent& event, EntryId* id) {
  return Onto([&] { return WriteOnce(event, id); });
}

Status Session::WriteOnce(const NewEvent& event, EntryId* id) {
  std::unique_lock<std::mutex> numbering;
  Result<Stamp> stamp = NextStamp(&numbering);
  if (!stamp.ok()) return stamp.status();
  EventFields fields;
  Status status = format_->Write(event, *stamp, &fields);
  if (!status.ok()) return status;
  if (state() == State::kTakenOver) return TakenOver();
  status = client_->store().Add(target(), fields.entry(), id);
  Numbered(status, status.ok() ? 1 : 0);
  return status;
}

// Events as entries, which may be numbered for as long as this is there.
struct Session::Written {
  std::unique_lock<std::mutex> numbering;
  std::vector<EventFields> fields;
  std::vector<NewEntry> entries;
};

// places, or null: which of the caller's events each is, for errors.
Status Session::WriteAll(std::span<const NewEvent> events, const size_t* places, Written* written) {
  written->fields.reserve(events.size());  // entries point at them
  written->entries.reserve(events.size());
  Result<Stamp> stamp = NextStamp(&written->numbering);
  if (!stamp.ok()) return stamp.status();
  for (const NewEvent& event : events) {
    EventFields& fields = written->fields.emplace_back();
    if (Status status = format_->Write(event, *stamp, &fields); !status.ok()) {
      size_t at = written->entries.size();
      return {status.code(),
              Cat("event ", places != nullptr ? places[at] : at, ": ", status.message())};
    }
    ++stamp->sequence;
    written->entries.push_back(fields.entry());
  }
  return {};
}

Status Session::WriteMany(std::span<const NewEvent> events, const size_t* places, EntryId* ids,
                          size_t* added) {
  *added = 0;
  return Onto([&]() -> Status {
    Written written;
    size_t done = *added;
    const size_t* rest = places != nullptr ? places + done : nullptr;
    if (Status status = WriteAll(events.subspan(done), rest, &written); !status.ok()) return status;
    Status status = AddOnce(written.entries, ids != nullptr ? ids + done : nullptr, added);
    Numbered(status, *added - done);
    return status;
  });
}

void Session::AddEach(std::span<ToAdd> events) {
  std::vector<EventFields> fields(events.size());  // entries point at them
  std::vector<Addition> additions;
  std::vector<ToAdd*> added;
  std::vector<ToAdd*> alone;
  additions.reserve(events.size());
  added.reserve(events.size());
  alone.reserve(events.size());
  Stamp stamp = Now();
  for (size_t i = 0; i < events.size(); ++i) {
    ToAdd& one = events[i];
    size_t length = 0;
    one.status = CheckEvent(one.event, &length);
    if (one.status.ok() && one.session->taken_over()) one.status = TakenOver();
    if (!one.status.ok()) continue;
    if (one.session->LooksBeforeItWrites()) {
      alone.push_back(&one);
      continue;
    }
    stamp.dialect = one.session->dialect_;
    one.status = one.session->format_->Write(EventOf(one.event, length), stamp, &fields[i]);
    if (!one.status.ok()) continue;
    additions.push_back({one.session->target(), fields[i].entry(), {}, {}, false});
    added.push_back(&one);
  }
  if (!additions.empty()) added[0]->session->client_->store().AddEach(additions);
  for (size_t i = 0; i < added.size(); ++i) {
    added[i]->status = std::move(additions[i].status);
    added[i]->id = additions[i].id;
    if (added[i]->status.ok()) added[i]->session->Numbered({}, 1);
  }
  try {
    AddLost(added);
  } catch (const std::bad_alloc&) {
    for (ToAdd* one : added) {
      if (one->status.code() == AGX_NONE) one->status = {AGX_ENOMEM, {}};
    }
  }
  for (ToAdd* one : alone) one->AddByItself();
}

// What was checked. An interceptor that has come since is not asked: it might close the handle, which is
// held.
void Session::ToAdd::AddByItself() noexcept {
  try {
    size_t length = event.body != nullptr ? std::strlen(event.body) : 0;
    status = session->Write(EventOf(event, length), &id);
  } catch (const std::bad_alloc&) {
    status = {AGX_ENOMEM, {}};
  }
}

// Those whose stream the store has lost: it is begun anew, unless another event was written behind one of
// them, which would be out of order then.
void Session::AddLost(std::span<ToAdd* const> added) {
  auto lost = [](const ToAdd* one) { return one->status.code() == AGX_NONE; };
  if (std::none_of(added.begin(), added.end(), lost)) return;
  std::unordered_set<std::string_view> written;
  for (size_t i = added.size(); i > 0; --i) {
    ToAdd* one = added[i - 1];
    bool may_be = one->status.ok() || one->status.code() == AGX_EUNCERTAIN;
    if (may_be) written.insert(one->session->key_);
    if (lost(one) && written.contains(one->session->key_)) {
      one->status = {AGX_ESERVER, Cat("the store lost ", one->session->key_,
                                      " while events were added to it; this one is not stored")};
    }
  }
  for (ToAdd* one : added) {
    if (lost(one)) one->AddByItself();
  }
}

Status Session::Replace(std::span<const agx_new_event> events, uint64_t* removed) {
  *removed = 0;
  if (events.size() > AGX_REPLACE_MAX) {
    return {AGX_ETOOBIG, Cat("at most ", AGX_REPLACE_MAX, " events can replace a history at once")};
  }
  std::vector<NewEvent> checked;
  if (Status status = CheckAll(events, &checked); !status.ok()) return status;
  return Onto([&]() -> Status {
    Written written;
    if (Status status = WriteAll(checked, nullptr, &written); !status.ok()) return status;
    if (state() == State::kTakenOver) return TakenOver();
    Status status = client_->store().Replace(target(), written.entries, removed);
    Numbered(status, status.ok() ? events.size() : 0);
    return status;
  });
}

Status Session::AddChecked(std::span<const agx_new_event> events, const char* name,
                           const char* from, const char* to) {
  if (Status status = CheckName("name", name); !status.ok()) return status;
  if (Status status = CheckName("to", to); !status.ok()) return status;
  if (from == nullptr) return {AGX_EINVAL, "from is NULL: pass \"\" for none"};
  if (*from != '\0') {
    if (Status status = CheckName("from", from); !status.ok()) return status;
  }
  if (std::string_view(from) == to) return {AGX_EINVAL, "from and to are to be different"};
  std::vector<NewEvent> checked;
  auto* check = format_->traits().python_json ? CheckPythonCopy : CheckCopy;
  if (Status status = CheckAll(events, &checked, check); !status.ok()) return status;
  return Onto([&]() -> Status {
    Written written;
    if (Status status = WriteAll(checked, nullptr, &written); !status.ok()) return status;
    if (state() == State::kTakenOver) return TakenOver();
    CheckedOutcome outcome{};
    Status status =
        client_->store().AddChecked(target(), written.entries, {name, from, to}, &outcome);
    if (status.ok() && outcome == CheckedOutcome::kConflict) {
      status = {AGX_ECONFLICT, Cat("the checkpoint ", name, " in ", CheckpointsKey(key_),
                                   " is not \"", from, "\": somebody else copies to ", key_)};
    }
    Numbered(status, status.ok() ? events.size() : 0);
    // Of those that had been added before, the numbers are in the stream.
    bool before = outcome == CheckedOutcome::kDoneBefore;
    if (before && format_->traits().numbered) next_number_.reset();
    return status;
  });
}

Status Session::GetCheckpoint(const char* name, std::string* position) const {
  if (Status status = CheckName("name", name); !status.ok()) return status;
  std::string kept;
  Status status = client_->store().GetCheckpoint(key_, name, &kept);
  if (!status.ok()) return status;
  if (kept.size() > AGX_NAME_MAX) {
    return {AGX_ETOOBIG, Cat(CheckpointsKey(key_), " holds more than a checkpoint")};
  }
  *position = std::move(kept);
  return {};
}

Status Session::AddEntries(std::span<const NewEntry> entries, EntryId* ids, size_t* added) {
  *added = 0;
  return Onto([&] {
    EntryId* rest = ids != nullptr ? ids + *added : nullptr;
    return AddOnce(entries.subspan(*added), rest, added);
  });
}

Status Session::AddOnce(std::span<const NewEntry> entries, EntryId* ids, size_t* added) {
  if (state() == State::kTakenOver) return TakenOver();
  size_t now = 0;
  Status status = client_->store().AddMany(target(), entries, ids, &now);
  if (now > 0) wrote_.fetch_add(1, std::memory_order_relaxed);
  *added += now;
  return status;
}

// Writes to the stream, and if the store has lost that, begins it anew first. `write` can be called
// again if it returned AGX_NONE, as Target::existing has it.
template <class F>
Status Session::Onto(F write) {
  for (int tries = 0; tries < kMostLosses; ++tries) {
    RunPtr run = this->run();
    TimePoint leased_until = run != nullptr ? run->leased_until.load() : TimePoint();
    Status status = write();
    if (status.code() != AGX_NONE) return status;
    if (status = BeginAnew(run, leased_until); !status.ok()) return status;
  }
  return {AGX_ESERVER, Cat("the store loses ", key_,
                           " each time that it is begun anew; nothing more "
                           "was written")};
}

// Another thread may have done it since the lease was known to last so long, or have stopped the session:
// then what is to be written finds that out. To do it once more would undo a cancel that came in between.
Status Session::BeginAnew(const RunPtr& run, TimePoint leased_until) {
  std::lock_guard flag_lock(flag_mutex_);
  if (state() != State::kLive || run != this->run()) return {};
  if (run != nullptr && run->leased_until.load() != leased_until) return {};
  Status status = Resume(run);
  // The look arms the watch.
  changed_ = true;
  client_->keeper().Poke(this);
  return status;
}

bool Session::LooksBeforeItWrites() const {
  return format_->traits().numbered || (format_->traits().has_dialects && dialect_ < 0);
}

// Sets dialect_ by what is in the stream; what nobody could read beside it is not written at all.
Status Session::FindDialect() {
  RangeRequest last;
  last.key = key_;
  last.reverse = true;
  last.list = is_list();
  last.count = 1;
  BatchPtr batch;
  if (Status status = client_->store().Range(last, &batch); !status.ok()) return status;
  if (batch == nullptr || batch->empty()) return {};  // the next to write looks again
  Entry* entry = batch->first();
  format_->Read(entry);
  if (entry->refusal != nullptr) {
    return {AGX_EUNSUPPORTED, Cat("the last event of ", key_, " cannot be read: ", entry->refusal)};
  }
  dialect_ = format_->Dialect(*entry);
  return {};
}

// For what is about to be written. Where entries are numbered it holds the lock until that is done.
Result<Stamp> Session::NextStamp(std::unique_lock<std::mutex>* numbering) {
  Stamp stamp = Now();
  if (format_->traits().has_dialects) {
    if (LooksBeforeItWrites()) {
      if (Status status = FindDialect(); !status.ok()) return status;
    }
    stamp.dialect = std::max(dialect_.load(), 0);
  }
  if (!format_->traits().numbered) return stamp;
  *numbering = std::unique_lock(numbering_mutex_);
  if (!next_number_) {
    Status status = FindNumber();
    if (!status.ok()) return status;
  }
  stamp.sequence = *next_number_;
  return stamp;
}

// Sets next_number_ by what is in the stream. The last entry mostly tells; only where it cannot, more
// are read.
Status Session::FindNumber() {
  RangeRequest last;
  last.key = key_;
  last.reverse = true;
  for (size_t count = 1; count <= kLookBack; count *= 16) {
    last.count = count;
    BatchPtr batch;
    Status status = client_->store().Range(last, &batch);
    if (!status.ok()) return status;
    Entry* entry = batch != nullptr ? batch->first() : nullptr;
    if (entry == nullptr) break;
    for (; entry != nullptr; entry = entry->next) {
      format_->Read(entry);
      bool ends = entry->ending != Ending::kNone;
      uint64_t number = 0;
      if (!ends && !format_->ReadSequence(*entry, &number)) continue;
      next_number_ = ends ? 0 : number + 1;
      return {};
    }
    if (batch->size() < count) break;
  }
  next_number_ = 0;
  return {};
}

// So many of what got a stamp were written.
void Session::Numbered(const Status& status, size_t count) noexcept {
  if (count > 0) wrote_.fetch_add(1, std::memory_order_relaxed);
  if (!format_->traits().numbered) return;
  if (status.ok() && state() == State::kLive) {
    *next_number_ += count;
  } else {
    next_number_.reset();  // whatever was written tells, also by others
  }
}

void Session::MakeFields(const NewEvent& event, EventFields* fields) const {
  // A format that cannot hold what the library writes has no runs.
  (void)format_->Write(event, Now(), fields);
}

Target Session::target() const {
  Target target{.key = key_};
  target.list = is_list();
  if (target.list) {
    target.channel = channel_;
    target.tag = tag_;
    target.live_key = live_key_;
  } else {
    target.max_length = static_cast<uint64_t>(max_length_);
    target.expire_ms = entry_expire_ms_;
  }
  // An add would make a stream without a `begin` of one that the store has lost, and the flag, which is
  // lost as well, look as if it was taken.
  target.existing = state() == State::kLive && attended_.load(std::memory_order_relaxed) &&
                    (format_->has_begin() || wrote_.load(std::memory_order_relaxed) != 0);
  return target;
}

Status Session::AddIntercepted(const NewEvent& event, EntryId* id) {
  Intercepted passing(event);
  if (Status status = InterceptOpen(&passing); !status.ok()) return status;
  return Write(passing.event(), id);
}

// All come by before any is written.
Status Session::AddManyIntercepted(std::span<const NewEvent> events, EntryId* ids, size_t* added) {
  std::deque<Intercepted> passing;  // stay where they are
  std::vector<size_t> places;       // of those that are to be written
  std::vector<NewEvent> passed;
  for (size_t i = 0; i < events.size(); ++i) {
    Intercepted& one = passing.emplace_back(events[i]);
    Status status = InterceptOpen(&one);
    if (status.code() == AGX_SWALLOWED) continue;
    if (!status.ok()) return {status.code(), Cat("event ", i, ": ", status.message())};
    places.push_back(i);
    passed.push_back(one.event());
  }
  std::vector<EntryId> kept(ids != nullptr ? places.size() : 0);
  size_t stored = 0;
  Status status;
  if (!passed.empty()) {
    status = WriteMany(passed, places.data(), ids != nullptr ? kept.data() : nullptr, &stored);
  }
  *added = stored < places.size() ? places[stored] : events.size();
  for (size_t i = 0; ids != nullptr && i < stored; ++i) ids[places[i]] = kept[i];
  return status.ok() && places.size() < events.size() ? Swallowed() : status;
}

Status Session::InterceptOpen(Intercepted* event) {
  if (Status status = Intercept(event); !status.ok()) return status;
  if (closed_) return {AGX_ECLOSED, "the session is closed"};
  return {};
}

}  // namespace agx
