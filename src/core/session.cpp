#include "core/session.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "base/token.h"
#include "core/listener.h"
#include "format/agx_format.h"

namespace agx {
namespace {

constexpr std::string_view kDefaultOrigin = "opale";
constexpr int64_t kDefaultGraceMs = 5000;
// In the course of one write.
constexpr int kMostLosses = 8;
// Entries that are looked at, at most, for the last number: what comes from elsewhere has none.
constexpr size_t kLookBack = 65536;

// The value of the live flag: says whose lease it is.
std::string NewToken() { return "agx:" + RandomHex(); }

Status TakenOver() {
  return {AGX_TAKEN_OVER, "another producer has taken the session over; nothing was written"};
}

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

Stamp Now() { return {.now_ms = WallMillis()}; }

Status CheckAll(std::span<const agx_new_event> events, std::vector<NewEvent>* checked) {
  checked->reserve(events.size());
  for (const agx_new_event& event : events) {
    size_t length = 0;
    if (Status status = CheckEvent(event, &length); !status.ok()) {
      return {status.code(), Cat("event ", checked->size(), ": ", status.message())};
    }
    checked->push_back(EventOf(event, length));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<Session>> Session::Open(std::shared_ptr<Client> client, int64_t scope,
                                               int64_t user, const char* session_id) {
  if (scope == AGX_ANY || user == AGX_ANY) {
    return Status(AGX_EINVAL, "AGX_ANY is no scope or user; it is for agx_query_open");
  }
  if (client->format().traits().named) {
    return Status(AGX_EINVAL, Cat("streams of the format ", client->format().name(),
                                  " have names: open them with agx_stream_open"));
  }
  if (Status status = CheckSessionId(session_id); !status.ok()) return status;
  const Config& config = client->config();
  Place place;
  place.format = &client->format();
  place.key = StreamKey(config.prefix, scope, user, session_id);
  place.id = session_id;
  place.max_length = config.max_length;
  return std::shared_ptr<Session>(new Session(std::move(client), std::move(place)));
}

Result<std::shared_ptr<Session>> Session::OpenStream(std::shared_ptr<Client> client,
                                                     const char* name,
                                                     const agx_stream_options& options) {
  const Format* format = &client->format();
  if (options.format != nullptr) {
    Result<const Format*> found = FindFormat("agx_stream_options.format", options.format);
    if (!found.ok()) return found.status();
    format = *found;
  }
  const Format::Traits& traits = format->traits();
  if (!traits.named) {
    return Status(AGX_EINVAL, Cat("streams of the format ", traits.name,
                                  " have no names: open them with agx_session_open, or choose a "
                                  "format (agx_options.format or agx_stream_options.format)"));
  }
  if (Status status = CheckStreamName(name); !status.ok()) return status;
  if (options.max_length < 0 || options.expire_ms < 0) {
    return Status(AGX_EINVAL, "agx_stream_options: max_length and expire_ms are to be 0 or more");
  }
  Place place;
  place.format = format;
  place.id = name;
  std::string_view prefix = options.prefix != nullptr ? options.prefix : "";
  Result<std::string> key = format->Key(prefix, name);
  if (!key.ok()) return key.status();
  place.key = std::move(*key);
  if (traits.list && options.max_length > 0) {
    return Status(AGX_EUNSUPPORTED, "agx_stream_options.max_length: a list of ag2 has no bound");
  }
  place.channel = format->Channel(prefix, name);
  if (traits.list && options.tagged != 0) place.tag = NewToken() + '\x1e';
  int64_t given = options.max_length > 0 ? options.max_length : client->config().max_length;
  place.max_length = given > 0 ? given : traits.max_length;
  place.entry_expire_ms = traits.entry_expire_ms;
  if (traits.entry_expire_ms > 0 && options.expire_ms > 0) {
    place.entry_expire_ms = std::min(options.expire_ms, kLongestWaitMs);
  }
  return std::shared_ptr<Session>(new Session(std::move(client), std::move(place)));
}

Session::Session(std::shared_ptr<Client> client, Place place)
    : client_(std::move(client)),
      format_(place.format),
      live_key_(LiveKey(place.key)),
      key_(live_key_.data(), live_key_.size() - kLiveSuffix.size()),
      session_id_(std::move(place.id)),
      channel_(std::move(place.channel)),
      tag_(std::move(place.tag)),
      max_length_(place.max_length),
      entry_expire_ms_(place.entry_expire_ms) {}

Session::~Session() { EndKeeping(); }

void Session::Close() noexcept {
  closed_ = true;
  bell_.Ring();
  InterruptObservers();
  std::lock_guard lock(start_mutex_);
  EndKeeping();
}

// --- Starting and stopping

Status Session::Start(const agx_start_options& options) {
  std::lock_guard lock(start_mutex_);
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
    return {AGX_EINVAL, "agx_start_options.keep goes with take_over"};
  }
  StartMode mode = options.keep != 0        ? StartMode::kContinue
                   : options.take_over != 0 ? StartMode::kTakeOver
                                            : StartMode::kIfNotLive;
  if (Status status = StartLive(run, mode); !status.ok()) {
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
  if (run->detached) return {};
  client_->keeper().Renewed(this);
  // The look arms the watch; if it fails the keeper tries again.
  if (!CheckNow().ok()) client_->keeper().Poke(this);
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
    return Status(AGX_EINVAL, "agx_start_options.lease_ms is to be 100 to 86400000, or 0");
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

// --- Adding

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
  if (Status status = CheckAll(events, &checked); !status.ok()) return status;
  std::string key = CheckpointKey(key_, name);
  return Onto([&]() -> Status {
    Written written;
    if (Status status = WriteAll(checked, nullptr, &written); !status.ok()) return status;
    if (state() == State::kTakenOver) return TakenOver();
    CheckedOutcome outcome{};
    Status status =
        client_->store().AddChecked(target(), written.entries, {key, from, to}, &outcome);
    if (status.ok() && outcome == CheckedOutcome::kConflict) {
      status = {AGX_ECONFLICT, Cat("the checkpoint ", key, " is not \"", from,
                                   "\": somebody else copies to ", key_)};
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
  KeptText kept;
  std::string key = CheckpointKey(key_, name);
  if (Status status = client_->store().GetText(key, &kept); !status.ok()) return status;
  if (kept.text.size() > AGX_NAME_MAX) {
    return {AGX_ETOOBIG, Cat(key, " holds more than a checkpoint")};
  }
  *position = std::move(kept.text);
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
    Status status = write();
    if (status.code() != AGX_NONE) return status;
    if (status = BeginAnew(); !status.ok()) return status;
  }
  return {AGX_ESERVER, Cat("the store loses ", key_,
                           " each time that it is begun anew; nothing more "
                           "was written")};
}

// Another thread may have done it, or have stopped the session: then what is to be written finds
// that out.
Status Session::BeginAnew() {
  RunPtr run = this->run();
  std::lock_guard flag_lock(flag_mutex_);
  if (state() != State::kLive || run != this->run()) return {};
  Status status = Resume(run);
  // The look arms the watch.
  changed_ = true;
  client_->keeper().Poke(this);
  return status;
}

// For what is about to be written. Where entries are numbered it holds the lock until that is done.
Result<Stamp> Session::NextStamp(std::unique_lock<std::mutex>* numbering) {
  Stamp stamp = Now();
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

// How long after a live producer's lease the stream expires.
int64_t Session::expire_ms() const {
  return entry_expire_ms_ > 0 ? entry_expire_ms_ : client_->config().expire_ms;
}

int64_t Session::GraceFor(int64_t given) const {
  if (given >= 0) return std::min(given, kLongestWaitMs);
  return entry_expire_ms_ > 0 ? entry_expire_ms_ : kDefaultGraceMs;
}

Status Session::LastId(EntryId* id) const {
  Store& store = client_->store();
  return is_list() ? store.LastElement(key_, id) : store.LastId(key_, id);
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
  if (closed_) return {AGX_ECLOSED, "the session handle was closed"};
  return {};
}

// --- Intercepting

void Session::AddInterceptor(std::shared_ptr<Interceptor> interceptor) {
  std::lock_guard lock(interceptor_mutex_);
  auto list = std::make_shared<Interceptors>();
  if (interceptors_ != nullptr) *list = *interceptors_;
  list->push_back(std::move(interceptor));
  interceptors_ = std::move(list);
  intercepted_ = true;
}

void Session::RemoveInterceptor(const Interceptor* interceptor) noexcept {
  std::shared_ptr<const Interceptors> last;  // goes after the lock
  std::lock_guard lock(interceptor_mutex_);
  if (interceptors_ == nullptr) return;
  try {
    auto list = std::make_shared<Interceptors>(*interceptors_);
    std::erase_if(*list, [&](const auto& other) { return other.get() == interceptor; });
    last = std::move(interceptors_);
    intercepted_ = !list->empty();
    interceptors_ = std::move(list);
  } catch (const std::bad_alloc&) {
    // It stays, and is not called any more.
  }
}

Status Session::Intercept(Intercepted* event) {
  std::shared_ptr<const Interceptors> list;
  {
    std::lock_guard lock(interceptor_mutex_);
    list = interceptors_;
  }
  if (list == nullptr) return {};
  for (const std::shared_ptr<Interceptor>& interceptor : *list) {
    if (Status status = interceptor->Call(event); !status.ok()) return status;
  }
  return {};
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
  waiters_.fetch_add(1);
  Status status;
  for (;;) {
    uint32_t ticket = bell_.ticket();
    State now = state();
    if (client_->closed()) {
      status = Client::ClosedStatus();
    } else if (closed_) {
      status = {AGX_ECLOSED, "the session handle was closed"};
    } else if (now == State::kTakenOver) {
      status = TakenOver();
    } else if (now == State::kLive && watched) {
      // Whoever waits looks at the flag itself, which saves a hop through the keeper.
      if (changed_.exchange(false) && !CheckNow().ok()) client_->keeper().Poke(this);
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
Status Session::CheckNow() noexcept try {
  RunPtr run = this->run();
  Lease lease = LeaseOf(*run);
  TimePoint leased_until = run->leased_until;
  Status status = client_->store().Check({&lease, 1});
  if (status.ok()) Learn(run, lease, leased_until);
  return status;
} catch (const std::bad_alloc&) {
  return {AGX_ENOMEM, {}};
}

// What the store has just said of the run's flag, whose lease was known to last so long when it was
// asked.
void Session::Learn(const RunPtr& run, const Lease& lease, TimePoint leased_until) {
  if (state() != State::kLive || run != this->run() || stopping_) return;
  switch (lease.state) {
    case LeaseState::kOther:
      return Lose(run, State::kTakenOver);
    case LeaseState::kAbsent:
      return LearnAbsent(run, leased_until);
    case LeaseState::kLost:
      // Where a run begins with an entry, or had one since, the store forgot everything, which is no
      // cancel.
      if (!format_->has_begin() && wrote_ == 0) return LearnAbsent(run, leased_until);
      return TakeBack(run);
    case LeaseState::kOwn:
    case LeaseState::kUnknown:
      return;
  }
}

// The flag is gone. It was taken, unless the lease had time to run out because the store could not
// be reached or this process was stopped: then it is taken back, if nobody else has it. What counts
// is when the answer came, since the question may have waited for the store; and the lease of
// before, since another thread may have taken it back meanwhile.
void Session::LearnAbsent(const RunPtr& run, TimePoint leased_until) {
  if (Clock::now() < leased_until) return Lose(run, State::kCanceled);
  TakeBack(run);
}

void Session::TakeBack(const RunPtr& run) {
  // A stop or start that is under way has to be the last to write the flag, and nobody is to wait
  // for it here. If it fails it has the flag looked at again.
  std::unique_lock flag_lock(flag_mutex_, std::try_to_lock);
  if (!flag_lock.owns_lock() || stopping_ || state() != State::kLive || run != this->run()) return;
  if (Resume(run).code() == AGX_TAKEN_OVER) return;
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

Status Session::Observe(const std::shared_ptr<SessionObserver>& observer, bool alone) {
  std::lock_guard lock(observer_mutex_);
  std::erase_if(observers_, [](const Observer& other) { return other.observer.expired(); });
  bool taken = std::any_of(observers_.begin(), observers_.end(),
                           [](const Observer& other) { return other.alone; });
  if (alone && taken) return {AGX_EBUSY, "a run is open in this session handle already"};
  observers_.push_back({observer, alone});
  observed_ = true;
  return {};
}

void Session::StopObserving(const SessionObserver* observer) noexcept {
  std::lock_guard lock(observer_mutex_);
  std::erase_if(observers_, [&](const Observer& other) {
    std::shared_ptr<SessionObserver> there = other.observer.lock();
    return there == nullptr || there.get() == observer;
  });
  observed_ = !observers_.empty();
}

void Session::TellObservers() noexcept {
  if (observed_ && IsCanceled()) InterruptObservers();
}

void Session::InterruptObservers() noexcept {
  for (size_t i = 0;; ++i) {
    std::shared_ptr<SessionObserver> observer;
    {
      std::lock_guard lock(observer_mutex_);
      if (i >= observers_.size()) return;
      observer = observers_[i].observer.lock();
    }
    if (observer != nullptr) observer->Interrupted();
  }
}

// --- Waiting for an event

namespace {

// Wakes a listener when the session is cancelled.
class Waiter final : public SessionObserver {
 public:
  explicit Waiter(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}
  void Interrupted() noexcept override { listener_->Interrupt(); }

 private:
  const std::shared_ptr<Listener> listener_;
};

}  // namespace

Status Session::WaitFor(const char* where, TimePoint deadline, Entry** entry) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.where = where;
  options.wait_ms = options.timeout_ms = -1;
  EntryId after;
  {
    std::lock_guard lock(observer_mutex_);
    if (waited_to_) after = *waited_to_;
    if (!waited_to_ && this->run() != nullptr) waited_to_ = after;
  }
  if (!waited_to_) {
    // It was started elsewhere: from now on.
    if (Status status = LastId(&after); !status.ok()) return status;
    std::lock_guard lock(observer_mutex_);
    waited_to_ = after;
  }
  char id[AGX_ID_SIZE];
  PrintEntryId(after, id);
  options.after = id;
  Result<std::shared_ptr<Listener>> listener = Listener::Open(*this, options);
  if (!listener.ok()) return listener.status();
  auto waiter = std::make_shared<Waiter>(*listener);
  if (Status status = Observe(waiter, false); !status.ok()) return status;
  Status status;
  if (IsCanceled() || closed_) {
    status = {AGX_INTERRUPTED, {}};
  } else {
    size_t count = 0;
    status = (*listener)->Next(deadline, entry, 1, &count);
  }
  StopObserving(waiter.get());
  (*listener)->Close();
  if (status.ok()) {
    std::lock_guard lock(observer_mutex_);
    waited_to_ = (*entry)->id;
  } else if (IsCanceled()) {
    // Also if its `end` was seen first.
    if (taken_over()) return TakenOver();
    return {AGX_CANCELED, "the session was cancelled"};
  } else if (status.code() == AGX_INTERRUPTED) {
    return {AGX_ECLOSED, "the session handle was closed"};
  }
  return status;
}

}  // namespace agx
