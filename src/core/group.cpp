#include "core/group.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/json.h"
#include "base/token.h"
#include "format/agx_format.h"

namespace agx {
namespace {

// The end of a group rings no bell, so whoever waits looks again after so long.
constexpr Millis kLookAgain{1000};
// Asked for at once; more comes with the next call.
constexpr size_t kMostAtOnce = 10000;
// Names of keys: longer ones are mistakes.
constexpr size_t kLongestKey = 4096;

constexpr std::string_view kDeadLettersSuffix = ":dlq";

Status NotAnId(const char* what, std::string_view text) {
  return {AGX_EINVAL, Cat(what, " is no entry id such as 1734649123456-0: ", text.substr(0, 64))};
}

Result<EntryId> ParseId(const char* what, const char* text) {
  if (text == nullptr) return Status(AGX_EINVAL, Cat(what, " is NULL"));
  EntryId id;
  if (!ParseEntryId(text, &id)) return NotAnId(what, text);
  return id;
}

Status ParseIds(const char* const* ids, size_t count, std::vector<EntryId>* parsed) {
  if (ids == nullptr && count > 0) return {AGX_EINVAL, "ids is NULL"};
  parsed->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Result<EntryId> id = ParseId("an id", ids[i]);
    if (!id.ok()) return id.status();
    parsed->push_back(*id);
  }
  return {};
}

// Where a group that is made begins; none: from now on.
Status ParseStart(const char* start, std::optional<EntryId>* id) {
  std::string_view text = start != nullptr ? start : "";
  id->emplace();
  if (text.empty()) return {};
  if (text == "new" || text == "$") {
    id->reset();
    return {};
  }
  if (ParseEntryId(text, &**id)) return {};
  return {AGX_EINVAL, Cat("the option start is neither an entry id such as "
                          "1734649123456-0, nor \"new\", nor \"0\": ",
                          text.substr(0, 64))};
}

Status CheckKey(const char* what, std::string_view key) {
  if (key.empty()) return {AGX_EINVAL, Cat(what, " is empty")};
  if (key.size() > kLongestKey) {
    return {AGX_ETOOBIG, Cat(what, " has more than ", kLongestKey, " bytes")};
  }
  if (!ValidateUtf8(key)) return {AGX_EINVAL, Cat(what, " is not UTF-8")};
  return {};
}

// The last of that name: an event may have fields of the same names.
std::string_view LastField(const Entry& entry, std::string_view name) {
  for (size_t i = entry.field_count; i > 0; --i) {
    if (entry.fields[i - 1].name == name) return entry.fields[i - 1].value;
  }
  return "";
}

}  // namespace

// Hands on what there is room for, which is all that was asked for. What cannot be read is left out, and
// told if there is nothing else.
Status Group::Give(BatchPtr batch, Entry** entries, size_t capacity, size_t* count) const {
  Status refused;
  while (batch != nullptr && *count < capacity && !batch->empty()) {
    Entry* entry = batch->TakeFirst();
    MakeEvent(entry);
    if (entry->refusal == nullptr) {
      entries[(*count)++] = entry;
      continue;
    }
    refused = Refuse(entry);
    client_->LogLine(AGX_LOG_WARNING, refused.message());
  }
  return *count == 0 ? refused : Status();
}

// Up to the first that cannot be read, which is told by the call after those before it. It stays
// pending.
Status Group::GiveRest(Entry** entries, size_t capacity, size_t* count) {
  while (rest_ != nullptr && !rest_->empty() && *count < capacity) {
    Entry* first = rest_->first();
    MakeEvent(first);
    if (first->refusal != nullptr && *count > 0) return {};
    first = rest_->TakeFirst();
    if (first->refusal != nullptr) return Refuse(first);
    KeepAttempts(first->id);
    entries[(*count)++] = first;
  }
  if (rest_ != nullptr && rest_->empty()) rest_.reset();
  return {};
}

Status Group::Refuse(Entry* entry) const {
  Status status(AGX_EUNSUPPORTED,
                Cat("the entry ", entry->id_text, ": ", entry->refusal,
                    "; it stays pending in the group ", name_, " of ", key_),
                entry->id_text);
  Batch::Release(entry);
  return status;
}

Result<std::shared_ptr<Group>> Group::Open(const Session& session, const char* name,
                                           const agx_group_options& options) {
  if (Status status = CheckName("group", name); !status.ok()) return status;
  if (session.is_list()) {
    return Status(AGX_EUNSUPPORTED, Cat("the format ", session.format().name(),
                                        " keeps its events in a list, which has no groups"));
  }
  std::optional<EntryId> start;
  if (Status status = ParseStart(options.start, &start); !status.ok()) return status;
  std::string consumer = "agx-" + RandomHex();
  if (options.consumer != nullptr) {
    Status status = CheckName("the option consumer", options.consumer);
    if (!status.ok()) return status;
    consumer = options.consumer;
  }
  std::string dead_letters = Cat(session.key(), kDeadLettersSuffix);
  if (options.dead_letters != nullptr) {
    dead_letters = options.dead_letters;
    Status status = CheckKey("the option dead_letters", dead_letters);
    if (!status.ok()) return status;
  }
  if (dead_letters == session.key() || dead_letters == session.live_key()) {
    return Status(AGX_EINVAL,
                  "the option dead_letters is a key of the session's own; name another");
  }
  std::shared_ptr<Group> group(new Group(session, name, std::move(consumer),
                                         std::move(dead_letters), start, options.recreate != 0));
  group->made_up_ = options.consumer == nullptr;
  group->taken_known_ = group->made_up_;
  // Where "from now on" begins, should the group have to be made again.
  Status status = start ? Status() : session.LastId(&group->begin_);
  if (!status.ok()) return status;
  if (options.must_exist != 0) {
    PendingFacts facts;
    status = group->Pending(&facts);
  } else {
    bool created = false;
    status = group->groups().CreateGroup({group->of(), start, true, session.entry_expire_ms()},
                                         &created);
  }
  if (!status.ok()) return status;
  return group;
}

Group::Group(const Session& session, std::string name, std::string consumer,
             std::string dead_letters, std::optional<EntryId> start, bool recreate)
    : client_(session.client()),
      format_(session.format()),
      live_key_(session.live_key()),
      key_(session.key()),
      name_(std::move(name)),
      consumer_(std::move(consumer)),
      dead_letters_(std::move(dead_letters)),
      entry_expire_ms_(session.entry_expire_ms()),
      recreate_(recreate),
      begin_(start.value_or(EntryId{})) {
  client_->AddSleeper(this);
}

Group::~Group() {
  if (watched_) client_->store().Unwatch(key_, this);
  client_->RemoveSleeper(this);
  RemoveMadeUp();
}

// Nobody comes back to a name that was made up. Where that fails it stays: it does no harm.
void Group::RemoveMadeUp() noexcept {
  if (!made_up_ || !consumed_.exchange(false) || client_->closed()) return;
  try {
    (void)groups().DeleteIdleConsumer(of(), consumer_);
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): as above
  }
}

void Group::Close() noexcept {
  closed_ = true;
  Interrupt();
}

void Group::Interrupt() noexcept {
  interrupted_ = true;
  bell_.Ring();
  client_->store().Hurry();
}

Status Group::Ended() const {
  if (closed_) return {AGX_ECLOSED, "the group is closed"};
  if (client_->closed()) return Client::ClosedStatus();
  return {};
}

Status Group::Stopped() {
  if (Status status = Ended(); !status.ok()) return status;
  if (interrupted_.exchange(false)) return {AGX_INTERRUPTED, "interrupted"};
  return {};
}

Status Group::Turn::Take(TimePoint deadline, bool to_process) {
  for (;;) {
    uint32_t ticket = group_->bell_.ticket();
    if (group_->processing_ || (to_process && group_->busy_)) {
      return {AGX_EBUSY, "agx_group_process, or a read, is under way on this handle"};
    }
    if (!group_->busy_.exchange(true)) break;
    // An interrupt is the other's: it may give up because of it.
    if (Status status = group_->Ended(); !status.ok()) return status;
    if (Clock::now() >= deadline) return {AGX_TIMEOUT, "another thread reads by this handle"};
    group_->bell_.Wait(ticket, deadline);
  }
  taken_ = true;
  group_->processing_ = to_process;
  return {};
}

Status Group::Read(agx_group_source source, TimePoint deadline, Entry** entries, size_t capacity,
                   size_t* count) {
  *count = 0;
  capacity = std::min(capacity, kMostAtOnce);
  Turn turn(this);
  if (Status status = turn.Take(deadline, false); !status.ok()) return status;
  bool made_again = false;  // and is not to be gone at once
  for (;;) {
    uint32_t ticket = bell_.ticket();
    if (Status status = Stopped(); !status.ok()) return status;
    Status given = GiveRest(entries, capacity, count);
    if (*count > 0 || !given.ok()) return given;
    bool armed = watched_ && short_;
    bool again = false;
    Takings taken;
    Status status = Look(source, TakeMode::kOwn, capacity, armed, &taken, &again);
    if (status.code() == AGX_NONE && recreate_ && !std::exchange(made_again, true)) {
      bool absent = false;
      status = MakeAgain(&absent);
      again = !absent;
      made_again = !absent;
    } else if (status.ok()) {
      made_again = false;
    }
    if (!status.ok()) {
      Status stopped = Stopped();  // an interrupt may be why it gave up
      return stopped.ok() ? status : stopped;
    }
    rest_ = std::move(taken.batch);
    if (again || rest_ != nullptr) continue;
    if (source == AGX_GROUP_PENDING_ONLY) {
      PendingAnew();
      return {AGX_ENDED, "nothing further is pending for this consumer"};
    }
    if (Clock::now() >= deadline) return {AGX_TIMEOUT, "nothing came within the timeout"};
    if (!watched_) {
      if (status = Watch(); !status.ok()) return status;
    } else if (armed) {
      Sleep(ticket, deadline);
    }
    short_ = true;
  }
}

Status Group::Look(agx_group_source source, TakeMode own, size_t count, bool arm, Takings* taken,
                   bool* again) {
  *taken = {};
  *again = true;
  bool from_own = source != AGX_GROUP_NEW && !own_done_;
  // A read of what is pending comes to it anyway; a processing tells it from what was given before.
  if (recovering_ && (!from_own || own == TakeMode::kSame)) {
    bool done = false;
    Status status = TakeOwn(TakeMode::kSame, &recover_after_, count, taken, &done);
    taken->given_now = true;
    if (status.ok() && done) recovering_ = false;
    if (status.ok()) last_new_ = std::max(last_new_, recover_after_);
    return status;
  }
  if (from_own) {
    Status status = TakeOwn(own, &own_after_, count, taken, &own_done_);
    recover_after_ = std::max(recover_after_, own_after_);
    if (status.ok() && own_done_) recovering_ = false;
    return status;
  }
  *again = false;
  if (source == AGX_GROUP_PENDING_ONLY) return {};
  Status status = ReadNew(count, arm, taken);
  // What a lost reply has given is looked for at once.
  if (status.code() != AGX_EUNCERTAIN) return status;
  *again = true;
  return {};
}

Status Group::TakeOwn(TakeMode mode, EntryId* after, size_t count, Takings* taken, bool* done) {
  TakeRequest request;
  request.of = of();
  request.consumer = consumer_;
  request.mode = mode;
  request.after = *after;
  request.count = count;
  request.stop = &interrupted_;
  Status status = groups().Take(request, taken);
  if (!status.ok()) return status;
  *after = std::max(*after, taken->last);
  last_taken_ = std::max(last_taken_, taken->last);
  *done = !taken->more;
  return status;
}

Status Group::ReadNew(size_t count, bool arm, Takings* taken) {
  // What is pending under its name from before is none of what a lost reply gives.
  if (!taken_known_.exchange(true)) {
    PendingFacts facts;
    Status status = groups().Pending(of(), &facts, &interrupted_);
    // One who may not ask reads all the same.
    if (!status.ok() && status.code() != AGX_EDENIED) {
      taken_known_ = false;
      return status;
    }
    last_taken_ = std::max(last_taken_, facts.highest);
  }
  NewRequest request;
  request.of = of();
  request.consumer = consumer_;
  request.count = count;
  request.arm = arm;
  request.stop = &interrupted_;
  // Until its answer is there: also if memory runs out on the way.
  recover_after_ = std::max(last_new_, last_taken_);
  recovering_ = true;
  consumed_ = true;
  Status status = groups().ReadNew(request, &taken->batch);
  if (status.ok() || status.code() == AGX_NONE) recovering_ = false;
  if (taken->batch == nullptr) return status;
  size_t size = taken->batch->size();
  short_ = size < count;
  last_new_ = last_taken_ = taken->batch->last()->id;
  return status;
}

// Behind what this handle was given, or where it began, if it still is that stream; of another one from
// its beginning. One that was begun anew within the same millisecond may have given out the same ids:
// unless an older entry shows that it is the old one, that millisecond is given again. A stream that is
// not there is not made: it would stay when nobody comes any more.
Status Group::MakeAgain(bool* absent) {
  *absent = false;
  StreamFacts facts;
  Status status = client_->store().Facts(key_, live_key_, &facts);
  if (!status.ok()) return status;
  bool given = last_new_ != EntryId{};
  EntryId start;
  if (!facts.exists || facts.last_generated < (given ? last_new_ : begin_)) {
    begin_ = {};
  } else if (!given) {
    start = begin_;
  } else {
    bool old = facts.length > 0 && facts.first < last_new_;
    start = old || last_new_.ms == 0 ? last_new_ : EntryId{last_new_.ms - 1, UINT64_MAX};
  }
  if (given) last_new_ = start;
  last_taken_ = {};
  recovering_ = false;
  bool created = false;
  if (facts.exists) status = groups().CreateGroup({of(), start}, &created);
  if (!facts.exists || status.code() == AGX_NONE) {
    *absent = own_done_ = true;  // nothing is pending
    return {};
  }
  if (created) {
    client_->LogLine(AGX_LOG_WARNING,
                     Cat("the group ", name_, " of ", key_, " was gone, and was made again"));
  }
  return status;
}

Status Group::Watch() {
  Status status = client_->store().Watch(key_, Store::KeyKind::kStream, this);
  watched_ = status.ok();
  return status;
}

void Group::Sleep(uint32_t ticket, TimePoint until) {
  client_->store().WaitFor(&bell_, ticket, std::min(until, Clock::now() + kLookAgain));
}

void Group::SetFailReason(std::string_view reason) {
  std::lock_guard lock(reason_mutex_);
  reason_ = reason;
}

std::string Group::TakeFailReason() {
  std::lock_guard lock(reason_mutex_);
  return std::exchange(reason_, {});
}

void Group::KeepAttempts(EntryId id) noexcept {
  std::lock_guard lock(given_back_mutex_);
  std::erase_if(given_back_, [&](const Held& one) { return one.id == id; });
}

Status Group::Acknowledge(const char* const* ids, size_t count, uint64_t* acknowledged) {
  std::vector<EntryId> parsed;
  if (Status status = ParseIds(ids, count, &parsed); !status.ok()) return status;
  return groups().Acknowledge(of(), parsed, acknowledged);
}

Status Group::Claim(int64_t min_idle_ms, const char* const* ids, size_t id_count, Entry** entries,
                    size_t* count) {
  std::vector<EntryId> parsed;
  if (Status status = ParseIds(ids, id_count, &parsed); !status.ok()) return status;
  // Each once: there is room for no more.
  std::sort(parsed.begin(), parsed.end());
  parsed.erase(std::unique(parsed.begin(), parsed.end()), parsed.end());
  Takings taken;
  consumed_ = true;
  taken_known_ = false;
  Status status =
      groups().Claim(of(), consumer_, std::max<int64_t>(min_idle_ms, 0), parsed, &taken);
  if (status.ok()) status = Give(std::move(taken.batch), entries, id_count, count);
  for (size_t i = 0; i < *count; ++i) KeepAttempts(entries[i]->id);
  return status;
}

Status Group::AutoClaim(int64_t min_idle_ms, EntryId* cursor, Entry** entries, size_t capacity,
                        size_t* count) {
  TakeRequest request;
  request.of = of();
  request.consumer = consumer_;
  request.mode = TakeMode::kClaim;
  request.min_idle_ms = std::max<int64_t>(min_idle_ms, 0);
  request.after = *cursor;
  request.count = std::min(capacity, kMostAtOnce);
  Takings taken;
  consumed_ = true;
  taken_known_ = false;
  Status status = groups().Take(request, &taken);
  if (!status.ok()) return status;
  *cursor = taken.more ? taken.last : EntryId{};
  status = Give(std::move(taken.batch), entries, capacity, count);
  for (size_t i = 0; i < *count; ++i) KeepAttempts(entries[i]->id);
  return status;
}

Status Group::PendingEntries(const char* consumer, int64_t min_idle_ms, const char* after,
                             size_t count, std::vector<PendingEntry>* entries) {
  PendingRange range;
  range.of = of();
  if (consumer != nullptr) range.consumer = consumer;
  range.min_idle_ms = std::max<int64_t>(min_idle_ms, 0);
  if (after != nullptr) {
    Result<EntryId> id = ParseId("after", after);
    if (!id.ok()) return id.status();
    range.after = *id;
  }
  range.count = std::min(count, kMostAtOnce);
  if (range.after == kLastEntryId) return {};
  return groups().PendingEntries(range, entries);
}

Status Group::DeleteConsumer(const char* consumer, uint64_t* pending) {
  if (consumer == nullptr) return groups().DeleteConsumer(of(), consumer_, pending);
  if (Status status = CheckName("consumer", consumer); !status.ok()) return status;
  return groups().DeleteConsumer(of(), consumer, pending);
}

Status Group::Health(GroupHealth* health) {
  Store& store = client_->store();
  std::vector<GroupFacts> all;
  if (Status status = groups().ListGroups(key_, &all); !status.ok()) return status;
  auto own = std::find_if(all.begin(), all.end(),
                          [&](const GroupFacts& group) { return group.name == name_; });
  if (own == all.end()) {
    return {AGX_NONE, Cat("there is no group ", name_, " of the stream ", key_)};
  }
  health->group = std::move(*own);
  StreamFacts stream;
  StreamFacts letters;
  PendingFacts pending;
  Status status = store.Facts(key_, live_key_, &stream);
  if (status.ok()) status = store.Facts(dead_letters_, live_key_, &letters);
  if (status.ok()) status = groups().Pending(of(), &pending);
  health->length = stream.length;
  health->dead_letters = letters.length;
  if (pending.count == 0) return status;
  auto written = static_cast<int64_t>(std::min<uint64_t>(pending.lowest.ms, INT64_MAX));
  health->oldest_ms = std::max<int64_t>(WallMillis() - written, 0);
  return status;
}

Status Group::DeadLetters(const char* after, Entry** entries, size_t capacity, size_t* count) {
  RangeRequest range;
  range.key = dead_letters_;
  range.count = std::min(capacity, kMostAtOnce);
  if (after != nullptr) {
    Result<EntryId> id = ParseId("after", after);
    if (!id.ok()) return id.status();
    range.after = *id;
  }
  BatchPtr batch;
  if (Status status = client_->store().Range(range, &batch); !status.ok()) return status;
  if (Status status = Give(std::move(batch), entries, capacity, count); !status.ok()) return status;
  if (*count == 0) return {AGX_ENDED, "there are no dead letters, or no more"};
  return {};
}

Status Group::Replay(const char* const* ids, size_t count, uint64_t* replayed) {
  std::vector<EntryId> parsed;
  if (Status status = ParseIds(ids, count, &parsed); !status.ok()) return status;
  // The mark of an earlier replay, too.
  constexpr std::string_view kOwn[] = {kOriginalStream, kOriginalId,   kFailureReason,
                                       kAttempts,       kDlqTimestamp, kReplayed};
  for (EntryId id : parsed) {
    char text[AGX_ID_SIZE];
    std::string_view id_text(text, PrintEntryId(id, text));
    Field mark{kReplayed, id_text};
    Revival revival;
    revival.from = dead_letters_;
    revival.id = id;
    revival.key = key_;
    revival.without = kOwn;
    revival.fields = {&mark, 1};
    revival.proof = {kOriginalStream, key_};
    revival.expire_ms = entry_expire_ms_;
    EntryId fresh;
    RevivalOutcome outcome{};
    if (Status status = groups().Revive(revival, &fresh, &outcome); !status.ok()) return status;
    if (outcome == RevivalOutcome::kForeign) {
      return {AGX_EINVAL, Cat("the dead letter ", id_text, " of ", dead_letters_,
                              " is not of the stream ", key_)};
    }
    if (outcome == RevivalOutcome::kBare) {
      return {AGX_EUNSUPPORTED, Cat("the dead letter ", id_text, " of ", dead_letters_,
                                    " is without its event's fields, which were too many or too "
                                    "large for it: there is nothing to replay")};
    }
    *replayed += outcome == RevivalOutcome::kDone;
  }
  return {};
}

Status Group::DeleteDeadLetters(const char* const* ids, size_t count, uint64_t* deleted) {
  std::vector<EntryId> parsed;
  if (Status status = ParseIds(ids, count, &parsed); !status.ok()) return status;
  return groups().DeleteEntries(dead_letters_, parsed, deleted);
}

Status ListGroups(const Session& session, std::vector<GroupFacts>* groups) {
  return session.client()->store().groups().ListGroups(session.key(), groups);
}

DeadLetterFacts ReadDeadLetter(const Entry& entry) {
  DeadLetterFacts facts;
  facts.original_stream = LastField(entry, kOriginalStream);
  facts.original_id = LastField(entry, kOriginalId);
  facts.reason = LastField(entry, kFailureReason);
  std::string_view attempts = LastField(entry, kAttempts);
  std::from_chars(attempts.data(), attempts.data() + attempts.size(), facts.attempts);
  facts.time_ms = static_cast<int64_t>(std::min<uint64_t>(entry.id.ms, INT64_MAX));
  return facts;
}

}  // namespace agx
