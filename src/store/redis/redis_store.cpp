#include "store/redis/redis_store.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "store/redis/connection.h"
#include "store/redis/doorbell.h"
#include "store/redis/pipe.h"
#include "store/redis/redis_groups.h"
#include "store/redis/resp.h"
#include "store/redis/runner.h"
#include "store/redis/scripts.h"
#include "store/redis/sinks.h"
#include "store/redis/tail.h"

namespace agx {
namespace redis {
namespace {

// So many listeners may have a connection of their own.
constexpr int kTails = 2;
// Adds are sent on in pieces of this many, so that the server works on the first while the next are
// written.
constexpr size_t kAddsInPiece = 64;

size_t SizeOf(const NewEntry& entry) {
  size_t size = 0;
  for (size_t i = 0; i < entry.count; ++i) {
    size += entry.fields[i].name.size() + entry.fields[i].value.size() + 32;
  }
  return size;
}

// Of a script that adds: the target, one more key, and what is to be there.
void AppendKeys(Commands* commands, const Target& target, std::string_view more) {
  int64_t count = 1 + (more.empty() ? 0 : 1) + (target.existing ? 1 : 0);
  commands->Arg(count).Arg(target.key);
  if (!more.empty()) commands->Arg(more);
  if (target.existing) commands->Arg(target.list ? target.live_key : target.key);
}

// Its reply is the entry's id, or of an element the list's length.
void AppendAdd(Commands* commands, const Target& target, const NewEntry& entry) {
  if (target.list) {
    commands->Begin(target.existing ? 8 : 7).Arg("EVAL").Arg(kAddElement);
    AppendKeys(commands, target, {});
    commands->Arg(target.channel).Arg(target.tag).Arg(entry.fields[0].value);
    return;
  }
  auto max_length = static_cast<int64_t>(target.max_length);
  if (target.expire_ms > 0) {
    commands->Begin(7 + entry.count * 2).Arg("EVAL").Arg(kAddExpiring).Arg("1").Arg(target.key);
    commands->Arg(target.expire_ms).Arg(max_length).Arg(target.existing ? "1" : "0");
  } else {
    size_t words = 3 + (target.existing ? 1 : 0) + (max_length > 0 ? 3 : 0);
    commands->Begin(words + entry.count * 2).Arg("XADD").Arg(target.key);
    if (target.existing) commands->Arg("NOMKSTREAM");
    if (max_length > 0) commands->Arg("MAXLEN").Arg("~").Arg(max_length);
    commands->Arg("*");
  }
  AppendFields(commands, entry);
}

size_t SizeOf(const Target& target, const NewEntry& entry) {
  size_t script = target.expire_ms > 0 ? sizeof(kAddExpiring)
                  : target.list        ? sizeof(kAddElement)
                                       : 0;
  return SizeOf(entry) + target.key.size() + target.channel.size() + script + 96;
}

std::string AddingTo(const Target& target) {
  return Cat(target.list ? "RPUSH to " : "XADD to ", target.key);
}

Status NotThere(const Target& target) {
  return {AGX_NONE, Cat("there is no ", target.key, " to add to")};
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Special characters of Redis' patterns, taken literally.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (std::string_view("*?[]\\^-").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// It may go better soon, and nothing was done.
bool IsPassing(const Status& status) {
  return status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT ||
         status.code() == AGX_ELOADING;
}

// The id of an entry as XRANGE and XINFO give it.
bool ReadEntryId(const Value& entry, EntryId* id) {
  return entry.items.size() == 2 && ParseEntryId(entry.items[0].text, id);
}

// Each entry is within the range and beyond the one before: whoever reads on comes to an end.
bool IsOf(const RangeRequest& request, const Batch& batch) {
  const Entry* before = nullptr;
  for (const Entry* entry = batch.first(); entry != nullptr; entry = entry->next) {
    if (entry->id <= request.after || (request.before && entry->id >= *request.before))
      return false;
    bool follows =
        before == nullptr || (request.reverse ? entry->id < before->id : entry->id > before->id);
    if (!follows) return false;
    before = entry;
  }
  return true;
}

// What XINFO STREAM answers: names and values in turn, some more with every version.
bool ReadStreamInfo(const Value& info, StreamFacts* facts) {
  bool has_length = false;
  bool fits = true;
  for (size_t i = 0; i + 1 < info.items.size(); i += 2) {
    const std::string& name = info.items[i].text;
    const Value& value = info.items[i + 1];
    if (name == "length") {
      facts->length = static_cast<uint64_t>(value.integer);
      has_length = value.kind == Value::Kind::kInteger && value.integer >= 0;
    } else if (name == "groups") {
      facts->groups = value.integer;
    } else if (name == "last-generated-id") {
      fits = fits && ParseEntryId(value.text, &facts->last_generated);
    } else if (name == "first-entry" || name == "last-entry") {
      EntryId* id = name == "first-entry" ? &facts->first : &facts->last;
      fits = fits && (value.kind == Value::Kind::kNil || ReadEntryId(value, id));
    }
  }
  return fits && has_length;
}

LeaseState LeaseStateOf(std::string_view text) {
  if (text == "own") return LeaseState::kOwn;
  if (text == "other") return LeaseState::kOther;
  if (text == "absent") return LeaseState::kAbsent;
  if (text == "lost") return LeaseState::kLost;
  return LeaseState::kUnknown;
}

}  // namespace

class RedisStore final : public Store {
 public:
  RedisStore(const Config& config, Log log)
      : config_(config),
        log_(std::move(log)),
        dialer_(config_, log_),
        bell_(dialer_, log_, [this] { reads_.Reset(); }),
        commands_(dialer_, log_, nullptr),
        reads_(dialer_, log_, [this](Connection& connection) { return bell_.Track(connection); }) {}

  Status Open() { return commands_.Open(); }
  Groups& groups() override { return groups_; }

  Status Add(const Target& target, NewEntry entry, EntryId* id) override;
  Status AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                 size_t* added) override;
  Status Replace(const Target& target, std::span<const NewEntry> entries,
                 uint64_t* removed) override;
  Status AddChecked(const Target& target, std::span<const NewEntry> entries,
                    const Checkpoint& checkpoint, CheckedOutcome* outcome) override;
  Status Start(const StartRequest& request, StartOutcome* outcome) override;
  Status Stop(const StopRequest& request, StopOutcome* outcome) override;
  Status Cancel(std::string_view live_key, bool* was_live) override;
  Status Live(std::string_view live_key, LiveFlag* flag) override;
  Status Extend(std::string_view live_key, int64_t lease_ms, bool* present) override;
  Status Renew(std::span<Lease> leases) override;
  Status Check(std::span<Lease> leases) override;
  Status Read(std::span<ReadRequest> requests) override;
  Status LastId(std::string_view key, EntryId* id) override;
  Status LastElement(std::string_view key, EntryId* id) override;
  Status ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status Range(const RangeRequest& request, BatchPtr* batch) override;
  Status Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) override;
  Status Trim(const TrimRequest& request, uint64_t* removed) override;
  Status Delete(const DeleteRequest& request, bool* was_there) override;
  Status GetText(std::string_view key, KeptText* kept) override;
  Status PutText(std::string_view key, std::string_view expected, std::string_view text, bool again,
                 std::string* version, bool* conflict) override;
  Status Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
              std::vector<std::string>* keys) override;
  Status Watch(std::string_view key, KeyKind kind, Watcher* watcher) override {
    return bell_.Watch(key, kind, watcher);
  }
  void Unwatch(std::string_view key, Watcher* watcher) noexcept override {
    bell_.Unwatch(key, watcher);
  }
  bool WaitFor(Bell* bell, uint32_t ticket, TimePoint deadline) override {
    return bell_.WaitFor(bell, ticket, deadline);
  }
  std::unique_ptr<Tail> OpenTail() override;
  void Close() noexcept override;

 private:
  template <class S>
  Status Run(Pipe& pipe, const Commands& commands, Effect effect, std::string_view what, S* sink,
             bool* repeated = nullptr) {
    return runner_.Run(pipe, commands, effect, what, sink, repeated);
  }
  Status AddPieces(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                   size_t* added, bool* may_have_run, Backoff* backoff);
  Status ReadListAnew(ReadRequest* request);
  Status RangeOfList(const RangeRequest& request, BatchPtr* batch);
  Status ListEnds(std::string_view key, EntryId* first, EntryId* last);
  Status CheckGap(std::string_view key, EntryId after, bool* gap, bool* exists);
  Status PlainFacts(std::string_view key, StreamFacts* facts);

  const Config config_;
  const Log log_;
  Dialer dialer_;
  Doorbell bell_;
  Pipe commands_;
  Pipe reads_;
  std::mutex tails_mutex_;
  std::array<RedisTail*, kTails> tails_{};
  std::atomic<bool> closed_{false};
  Bell closing_;
  const Runner runner_{config_, closed_, closing_};
  RedisGroups groups_{runner_, commands_, reads_};
};

Status RedisStore::Add(const Target& target, NewEntry entry, EntryId* id) {
  Commands commands;
  commands.Reserve(SizeOf(target, entry));
  AppendAdd(&commands, target, entry);
  IdsSink sink(id, 0, target);
  Status status = commands_.Execute(commands, Effect::kOnce, &sink);
  if (status.ok() && !sink.error().empty()) {
    // What was refused was not written, so it may be tried again.
    std::string what = AddingTo(target);
    status = ServerError(sink.error(), what);
    if (status.code() != AGX_ELOADING) return status;
    status = Run(commands_, commands, Effect::kOnce, what, &sink);
  }
  if (status.ok() && sink.absent()) return NotThere(target);
  if (status.ok() && target.list) id->seq = HashElement(entry.fields[0].value);
  return status;
}

Status RedisStore::AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                           size_t* added) {
  *added = 0;
  Backoff backoff(config_);
  for (;;) {
    bool may_have_run = false;
    size_t before = *added;
    Status status = AddPieces(target, entries, ids, added, &may_have_run, &backoff);
    for (size_t i = before; target.list && ids != nullptr && i < *added; ++i) {
      ids[i].seq = HashElement(entries[i].fields[0].value);
    }
    if (status.ok() || status.code() == AGX_ECLOSED) return status;
    if (may_have_run) {
      return {AGX_EUNCERTAIN, Cat(status.message(), "; of ", entries.size(), " events ", *added,
                                  " are stored, of the others it is not known")};
    }
    TimePoint until;
    uint32_t ticket = closing_.ticket();
    if (!IsPassing(status)) return status;
    if (closed_) return ClosedStore();
    if (*added == before && !backoff.Next(&until)) return status;
    if (status.code() == AGX_ELOADING && *added == before) closing_.Wait(ticket, until);
  }
}

// Adds those after the first *added, several pieces at a time.
Status RedisStore::AddPieces(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                             size_t* added, bool* may_have_run, Backoff* backoff) {
  constexpr size_t kPieces = 8;
  struct Piece {
    Pipe::Call call;
    IdsSink sink;
    size_t size = 0;
  };
  size_t next = *added;
  std::array<std::optional<Piece>, kPieces> pieces;
  size_t submitted = 0;
  size_t waited = 0;
  Status failure;
  bool counting = true;
  bool later = false;

  auto submit = [&] {
    size_t size = std::min(kAddsInPiece, entries.size() - next);
    Commands commands;
    commands.Reserve(SizeOf(target, entries[next]) * size);
    for (size_t i = 0; i < size; ++i) AppendAdd(&commands, target, entries[next + i]);
    Piece& piece = pieces[submitted % kPieces].emplace();
    piece.sink = IdsSink(ids, next, target);
    piece.size = size;
    const Pipe::Call* behind =
        submitted > waited ? &pieces[(submitted - 1) % kPieces]->call : nullptr;
    Status status =
        commands_.Submit(commands, &piece.sink, &piece.call, backoff, behind, submitted - waited);
    if (!status.ok()) return status;
    next += size;
    ++submitted;
    return status;
  };
  auto wait = [&] {
    Piece& piece = *pieces[waited++ % kPieces];
    bool ran = false;
    Status status = commands_.Wait(&piece.call, &ran);
    if (status.ok() && !piece.sink.error().empty()) {
      status = ServerError(piece.sink.error(), AddingTo(target));
    } else if (status.ok() && piece.sink.absent()) {
      status = NotThere(target);
    } else if (!status.ok()) {
      *may_have_run |= ran;
    }
    later |= piece.sink.stored_later() || (!counting && piece.sink.stored() > 0);
    if (counting) *added += piece.sink.stored();
    counting = counting && status.ok();
    if (failure.ok()) failure = status;
  };

  // What was submitted has to be waited for, whatever happens.
  try {
    while (failure.ok() && next < entries.size()) {
      if (submitted - waited == kPieces) wait();
      if (failure.ok()) failure = submit();
    }
  } catch (const std::bad_alloc&) {
    failure = {AGX_ENOMEM, {}};
  }
  while (waited < submitted) wait();
  // What is stored after one that is not must not be added again.
  *may_have_run |= later && (IsPassing(failure) || failure.code() == AGX_NONE);
  return failure;
}

Status RedisStore::AddChecked(const Target& target, std::span<const NewEntry> entries,
                              const Checkpoint& checkpoint, CheckedOutcome* outcome) {
  Commands commands;
  size_t words = target.existing ? 13 : 12;
  size_t bytes = sizeof(kAddChecked) + target.key.size() + 512;
  for (const NewEntry& entry : entries) {
    words += 1 + entry.count * 2;
    bytes += SizeOf(entry) + 16;
  }
  commands.Reserve(bytes);
  commands.Begin(words).Arg("EVAL").Arg(kAddChecked);
  AppendKeys(&commands, target, checkpoint.key);
  commands.Arg(checkpoint.expected).Arg(checkpoint.reached).Arg(target.list ? "list" : "stream");
  commands.Arg(static_cast<int64_t>(target.max_length)).Arg(target.expire_ms);
  commands.Arg(target.channel).Arg(target.tag);
  for (const NewEntry& entry : entries) {
    commands.Arg(static_cast<int64_t>(entry.count * 2));
    AppendFields(&commands, entry);
  }
  ValueSink sink;
  std::string what = AddingTo(target);
  // A second run finds what the first has reached.
  Status status = Run(commands_, commands, Effect::kRepeatableWrite, what, &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger) return Unfit(what);
  if (target.existing && reply.integer < 0) return NotThere(target);
  *outcome = reply.integer == 0   ? CheckedOutcome::kConflict
             : reply.integer == 2 ? CheckedOutcome::kDoneBefore
                                  : CheckedOutcome::kAdded;
  return {};
}

Status RedisStore::Replace(const Target& target, std::span<const NewEntry> entries,
                           uint64_t* removed) {
  *removed = 0;
  Commands commands;
  size_t words = target.existing ? 6 : 5;
  size_t bytes = sizeof(kReplace) + target.key.size() + 128;
  for (const NewEntry& entry : entries) {
    words += 1 + entry.count * 2;
    bytes += SizeOf(entry) + 16;
  }
  commands.Reserve(bytes);
  commands.Begin(words).Arg("EVAL").Arg(kReplace);
  AppendKeys(&commands, target, {});
  commands.Arg(target.list ? "list" : "stream");
  for (const NewEntry& entry : entries) {
    commands.Arg(static_cast<int64_t>(entry.count * 2));
    AppendFields(&commands, entry);
  }
  ValueSink sink;
  std::string what = Cat("replacing what is in ", target.key);
  Status status = Run(commands_, commands, Effect::kOnce, what, &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  bool fits = reply.kind == Value::Kind::kInteger;
  if (fits && target.existing && reply.integer < 0) return NotThere(target);
  if (!fits || reply.integer < 0) return Unfit(what);
  *removed = static_cast<uint64_t>(reply.integer);
  return {};
}

Status RedisStore::Start(const StartRequest& request, StartOutcome* outcome) {
  Commands commands;
  commands.Begin(10 + request.begin.count * 2);
  commands.Arg("EVAL").Arg(kStart).Arg("2").Arg(request.key).Arg(request.live_key);
  commands.Arg(request.token).Arg(request.lease_ms);
  commands.Arg(request.expire_ms > 0 ? request.expire_ms + request.lease_ms : 0);
  commands.Arg(request.mode == StartMode::kTakeOver   ? "take over"
               : request.mode == StartMode::kContinue ? "continue"
               : request.mode == StartMode::kResume   ? "resume"
                                                      : "begin");
  commands.Arg(request.list ? "list" : request.keep ? "keep" : "");
  AppendFields(&commands, request.begin);
  ValueSink sink;
  // With the same token it can be run again.
  Status status =
      Run(commands_, commands, Effect::kRepeatableWrite, Cat("starting ", request.key), &sink);
  if (!status.ok()) return status;
  const std::string& text = sink.replies[0].text;
  if (text == "busy") {
    *outcome = StartOutcome::kBusy;
  } else if (text == "taken over") {
    *outcome = StartOutcome::kTakenOver;
  } else if (text == "started") {
    *outcome = StartOutcome::kStarted;
  } else {
    return Unfit(Cat("starting ", request.key));
  }
  return {};
}

Status RedisStore::Stop(const StopRequest& request, StopOutcome* outcome) {
  Commands commands;
  size_t words = 10 + request.end_marks.size() * 2 + 1 + request.end.count * 2;
  for (const NewEntry& entry : request.before) words += 1 + entry.count * 2;
  commands.Begin(words);
  commands.Arg("EVAL").Arg(kStop).Arg("2").Arg(request.key).Arg(request.live_key);
  commands.Arg(request.token);
  if (request.list || request.keep) {
    commands.Arg(request.list ? "list" : "keep");
  } else {
    commands.Arg(request.grace_ms);
  }
  commands.Arg(request.unless_canceled ? "1" : "0").Arg(request.begun ? "1" : "0");
  commands.Arg(static_cast<int64_t>(request.end_marks.size()));
  for (const Field& mark : request.end_marks) commands.Arg(mark.name).Arg(mark.value);
  auto append = [&](const NewEntry& entry) {
    commands.Arg(static_cast<int64_t>(entry.count * 2));
    AppendFields(&commands, entry);
  };
  for (const NewEntry& entry : request.before) append(entry);
  append(request.end);
  ValueSink sink;
  // A second run finds the `end` of the first. Without a token it might end what another has begun
  // meanwhile.
  Effect effect = request.token.empty() ? Effect::kOnce : Effect::kRepeatableWrite;
  bool repeated = false;
  Status status = Run(commands_, commands, effect, Cat("stopping ", request.key), &sink, &repeated);
  if (!status.ok()) return status;
  const std::string& text = sink.replies[0].text;
  if (text == "taken over") {
    *outcome = StopOutcome::kTakenOver;
  } else if (text == "absent") {
    // Without a grace the first run leaves nothing that a second could find.
    *outcome = repeated ? StopOutcome::kStopped : StopOutcome::kAbsent;
  } else if (text == "canceled") {
    *outcome = StopOutcome::kCanceled;
  } else if (text == "stopped") {
    *outcome = StopOutcome::kStopped;
  } else {
    return Unfit(Cat("stopping ", request.key));
  }
  return {};
}

Status RedisStore::Cancel(std::string_view live_key, bool* was_live) {
  Commands commands;
  commands.Add("EVAL", kCancel, "1", live_key, bell_.cancel_channel());
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kOnce, Cat("cancelling ", live_key), &sink);
  if (status.code() == AGX_EDENIED || status.code() == AGX_EUNSUPPORTED) {
    // Where scripts are not allowed, the taking alone does.
    commands.Clear();
    commands.Add("GETDEL", live_key);
    status = Run(commands_, commands, Effect::kOnce, Cat("cancelling ", live_key), &sink);
    if (!status.ok()) return status;
    *was_live = sink.replies[0].kind == Value::Kind::kString;
    return {};
  }
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger) return Unfit(Cat("cancelling ", live_key));
  *was_live = reply.integer == 1;
  return {};
}

Status RedisStore::Live(std::string_view live_key, LiveFlag* flag) {
  Commands commands;
  commands.Add("PTTL", live_key);
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("PTTL of ", live_key), &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger) return Unfit(Cat("PTTL of ", live_key));
  *flag = {reply.integer != -2, reply.integer};
  return {};
}

Status RedisStore::Extend(std::string_view live_key, int64_t lease_ms, bool* present) {
  Commands commands;
  commands.Add("EVAL", kExtend, "1", live_key, lease_ms);
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("renewing ", live_key), &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger) return Unfit(Cat("renewing ", live_key));
  *present = reply.integer == 1;
  return {};
}

Status RedisStore::Renew(std::span<Lease> leases) {
  Commands commands;
  for (const Lease& lease : leases) {
    commands.Add("EVAL", kRenew, "2", lease.key, lease.live_key, lease.token, lease.lease_ms,
                 lease.expire_ms > 0 ? lease.expire_ms + lease.lease_ms : 0);
  }
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, "renewing leases", &sink);
  if (!status.ok()) return status;
  for (size_t i = 0; i < leases.size(); ++i) leases[i].state = LeaseStateOf(sink.replies[i].text);
  return {};
}

Status RedisStore::Check(std::span<Lease> leases) {
  Commands commands;
  for (const Lease& lease : leases) {
    commands.Add("GET", lease.live_key).Add("EXISTS", lease.key);
  }
  ValueSink sink;
  Status status = Run(reads_, commands, Effect::kRepeatable, "looking at live flags", &sink);
  if (!status.ok()) return status;
  for (size_t i = 0; i < leases.size(); ++i) {
    const Value& flag = sink.replies[i * 2];
    bool fits = (flag.kind == Value::Kind::kString || flag.kind == Value::Kind::kNil) &&
                sink.replies[i * 2 + 1].kind == Value::Kind::kInteger;
    if (!fits) return Unfit(Cat("looking at ", leases[i].live_key));
    bool stream = sink.replies[i * 2 + 1].integer != 0;
    bool own = flag.kind == Value::Kind::kString && flag.text == leases[i].token;
    leases[i].state = own                                 ? LeaseState::kOwn
                      : flag.kind == Value::Kind::kString ? LeaseState::kOther
                      : stream                            ? LeaseState::kAbsent
                                                          : LeaseState::kLost;
  }
  return {};
}

Status RedisStore::Read(std::span<ReadRequest> requests) {
  Commands commands;
  for (const ReadRequest& request : requests) {
    auto count = static_cast<int64_t>(request.count);
    if (request.list) {
      // From the cursor's own element on, which tells whether this is still the list that it was.
      auto place = static_cast<int64_t>(std::min<uint64_t>(request.after.ms, INT64_MAX / 2));
      commands.Add("LRANGE", request.key, place > 0 ? place - 1 : 0, place + count - 1);
    } else if (request.after == EntryId{}) {
      commands.Add("XRANGE", request.key, "-", "+", "COUNT", count);
    } else {
      // From the cursor's own entry on: that it is there proves that nothing after it was dropped.
      commands.Add("XRANGE", request.key, request.after, "+", "COUNT", count + 1);
    }
    if (!request.live_key.empty()) commands.Add("PTTL", request.live_key);
  }
  ReadSink sink(requests);
  std::string what = Cat("reading ", requests.size() == 1 ? requests[0].key : "streams");
  // What was sent on a connection that is lost may yet be carried out: before what is sent on the one
  // that takes its place, but maybe after what is sent on another that was open all the while.
  bool behind_writes = !requests.empty() && requests[0].behind_writes;
  Status status =
      Run(behind_writes ? commands_ : reads_, commands, Effect::kRepeatable, what, &sink);
  for (ReadRequest* request : sink.suspects()) {
    if (!status.ok()) break;
    if (request->list) {
      status = ReadListAnew(request);
      continue;
    }
    status = CheckGap(request->key, request->after, &request->gap, &request->exists);
  }
  return status;
}

// The cursor's element is not there, or another.
Status RedisStore::ReadListAnew(ReadRequest* request) {
  RangeRequest range;
  range.key = request->key;
  range.count = request->count;
  range.list = true;
  Status status = RangeOfList(range, &request->batch);
  request->gap = true;
  request->exists = request->batch != nullptr;
  return status;
}

// The cursor's entry was not found: were entries after it dropped too?
Status RedisStore::CheckGap(std::string_view key, EntryId after, bool* gap, bool* exists) {
  Commands commands;
  commands.Add("EXISTS", key);
  commands.Add("XRANGE", key, "-", after, "COUNT", int64_t{1});
  ValueSink sink;
  Status status =
      Run(commands_, commands, Effect::kRepeatable, Cat("looking for a gap in ", key), &sink);
  if (!status.ok()) return status;
  bool fits =
      sink.replies[0].kind == Value::Kind::kInteger && sink.replies[1].kind == Value::Kind::kArray;
  if (!fits) return Unfit(Cat("looking for a gap in ", key));
  *exists = sink.replies[0].integer != 0;
  // Entries go from the front: where one as old as the cursor is left, none after it has gone.
  // Where none is, it cannot be told whether the cursor's was the last to go, or whether this is
  // still the stream that it was in.
  *gap = sink.replies[1].items.empty();
  return {};
}

Status RedisStore::LastId(std::string_view key, EntryId* id) {
  Commands commands;
  commands.Add("XREVRANGE", key, "+", "-", "COUNT", int64_t{1});
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("reading ", key), &sink);
  if (!status.ok()) return status;
  *id = {};
  const Value& reply = sink.replies[0];
  bool none = reply.kind == Value::Kind::kArray && reply.items.empty();
  bool one = reply.items.size() == 1 && ReadEntryId(reply.items[0], id);
  return none || one ? Status() : Unfit(Cat("reading ", key));
}

Status RedisStore::LastElement(std::string_view key, EntryId* id) {
  EntryId first;
  return ListEnds(key, &first, id);
}

// {0,0} where there is no list.
Status RedisStore::ListEnds(std::string_view key, EntryId* first, EntryId* last) {
  std::string what = Cat("reading ", key);
  Commands commands;
  commands.Add("EVAL", kListEnds, "1", key);
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, what, &sink);
  if (!status.ok()) return status;
  *first = *last = {};
  const std::vector<Value>& items = sink.replies[0].items;
  bool fits = !items.empty() && items[0].kind == Value::Kind::kInteger && items[0].integer >= 0;
  if (!fits || items.size() != (items[0].integer == 0 ? 1 : 3)) return Unfit(what);
  if (items.size() == 1) return {};
  *first = {1, HashElement(items[1].text)};
  *last = {static_cast<uint64_t>(items[0].integer), HashElement(items[2].text)};
  return {};
}

Status RedisStore::ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) {
  *facts = {};
  Status status = ListEnds(key, &facts->first, &facts->last);
  if (!status.ok()) return status;
  std::string what = Cat("looking at ", key);
  Commands commands;
  commands.Add("PTTL", key).Add("PTTL", live_key);
  ValueSink sink;
  status = Run(commands_, commands, Effect::kRepeatable, what, &sink);
  if (!status.ok()) return status;
  const Value& ttl = sink.replies[0];
  const Value& lease = sink.replies[1];
  bool fits = ttl.kind == Value::Kind::kInteger && lease.kind == Value::Kind::kInteger;
  if (!fits) return Unfit(what);
  facts->exists = facts->last.ms > 0;
  facts->live = lease.integer != -2;
  facts->length = facts->last.ms;
  facts->last_generated = facts->last;
  facts->groups = 0;
  if (facts->exists) facts->ttl_ms = std::max<int64_t>(ttl.integer, -1);
  return {};
}

// A list grows at its end and is otherwise replaced, so that a place stays what it is.
Status RedisStore::RangeOfList(const RangeRequest& request, BatchPtr* batch) {
  batch->reset();
  uint64_t first = std::min<uint64_t>(request.after.ms, INT64_MAX / 2) + 1;
  uint64_t last = INT64_MAX / 2;
  if (request.before) {
    last = request.before->ms - 1;
  } else if (request.reverse) {
    EntryId begin;
    EntryId end;
    if (Status status = ListEnds(request.key, &begin, &end); !status.ok()) return status;
    last = end.ms;
  }
  last = std::min<uint64_t>(last, INT64_MAX / 2);
  if (request.count == 0 || last < first || (request.before && request.before->ms == 0)) return {};
  if (last - first >= request.count) {
    (request.reverse ? first : last) =
        request.reverse ? last - request.count + 1 : first + request.count - 1;
  }
  Commands commands;
  commands.Add("LRANGE", request.key, static_cast<int64_t>(first - 1),
               static_cast<int64_t>(last - 1));
  ElementsSink sink(first - 1, request.count);
  Status status =
      Run(commands_, commands, Effect::kRepeatable, Cat("reading ", request.key), &sink);
  if (!status.ok()) return status;
  *batch = sink.Take();
  if (request.reverse && *batch != nullptr) (*batch)->Reverse();
  return {};
}

Status RedisStore::Range(const RangeRequest& request, BatchPtr* batch) {
  if (request.list) return RangeOfList(request, batch);
  batch->reset();
  // The server takes no bound that leaves nothing on its other side.
  bool none = request.after == kLastEntryId || (request.before && *request.before == EntryId{});
  if (none || request.count == 0) return {};
  char id[42];
  std::string low = "-";
  std::string high = "+";
  if (request.after != EntryId{})
    low = Cat("(", std::string_view(id, PrintEntryId(request.after, id)));
  if (request.before) high = Cat("(", std::string_view(id, PrintEntryId(*request.before, id)));
  if (request.reverse) low.swap(high);
  Commands commands;
  commands.Add(request.reverse ? "XREVRANGE" : "XRANGE", request.key, low, high, "COUNT",
               static_cast<int64_t>(request.count));
  RangeSink sink(request.count);
  Status status =
      Run(commands_, commands, Effect::kRepeatable, Cat("reading ", request.key), &sink);
  if (!status.ok()) return status;
  *batch = sink.Take();
  if (*batch == nullptr || IsOf(request, **batch)) return {};
  batch->reset();
  return Unfit(Cat("reading ", request.key));
}

// Without a script, so that whoever may only read may ask.
Status RedisStore::Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) {
  *facts = {};
  std::string what = Cat("looking at ", key);
  Commands commands;
  commands.Add("XINFO", "STREAM", key).Add("XLEN", key).Add("PTTL", key).Add("PTTL", live_key);
  ValueSink sink;
  sink.may_fail = 0;
  Status status = Run(commands_, commands, Effect::kRepeatable, what, &sink);
  if (!status.ok()) return status;
  const Value& info = sink.replies[0];
  const Value& ttl = sink.replies[2];
  const Value& lease = sink.replies[3];
  bool fits = ttl.kind == Value::Kind::kInteger && lease.kind == Value::Kind::kInteger;
  if (!fits) return Unfit(what);
  facts->live = lease.integer != -2;
  facts->exists = ttl.integer != -2;
  if (!facts->exists) return {};
  facts->ttl_ms = ttl.integer;
  if (info.is_error()) return PlainFacts(key, facts);
  return ReadStreamInfo(info, facts) ? Status() : Unfit(what);
}

// What can be told of a stream where XINFO is refused.
Status RedisStore::PlainFacts(std::string_view key, StreamFacts* facts) {
  std::string what = Cat("looking at ", key);
  Commands commands;
  commands.Add("XLEN", key);
  commands.Add("XRANGE", key, "-", "+", "COUNT", int64_t{1});
  commands.Add("XREVRANGE", key, "+", "-", "COUNT", int64_t{1});
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, what, &sink);
  if (!status.ok()) return status;
  const Value& length = sink.replies[0];
  if (length.kind != Value::Kind::kInteger || length.integer < 0) return Unfit(what);
  facts->length = static_cast<uint64_t>(length.integer);
  EntryId* ids[] = {&facts->first, &facts->last};
  for (size_t i = 0; i < 2; ++i) {
    const Value& reply = sink.replies[i + 1];
    if (reply.kind != Value::Kind::kArray || reply.items.size() > 1) return Unfit(what);
    if (!reply.items.empty() && !ReadEntryId(reply.items[0], ids[i])) return Unfit(what);
  }
  facts->last_generated = facts->last;
  return {};
}

Status RedisStore::Trim(const TrimRequest& request, uint64_t* removed) {
  *removed = 0;
  Commands commands;
  commands.Begin(5).Arg("XTRIM").Arg(request.key);
  if (request.max_length) {
    commands.Arg("MAXLEN").Arg("=");
    commands.Arg(static_cast<int64_t>(std::min<uint64_t>(*request.max_length, INT64_MAX)));
  } else {
    commands.Arg("MINID").Arg("=").Arg(request.before);
  }
  ValueSink sink;
  std::string what = Cat("trimming ", request.key);
  Status status = Run(commands_, commands, Effect::kRepeatableWrite, what, &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger || reply.integer < 0) return Unfit(what);
  *removed = static_cast<uint64_t>(reply.integer);
  return {};
}

Status RedisStore::Delete(const DeleteRequest& request, bool* was_there) {
  *was_there = false;
  Commands commands;
  commands.Begin(9 + request.end.count * 2);
  commands.Arg("EVAL").Arg(kDelete).Arg("3");
  commands.Arg(request.key).Arg(request.live_key).Arg(request.text_key);
  commands.Arg(request.token).Arg(bell_.cancel_channel());
  commands.Arg(request.list ? "list" : "stream");
  AppendFields(&commands, request.end);
  ValueSink sink;
  std::string what = Cat("deleting ", request.key);
  // A second run would take the `end` that the first has left, or what was begun meanwhile.
  Status status = Run(commands_, commands, Effect::kOnce, what, &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger) return Unfit(what);
  *was_there = reply.integer != 0;
  return {};
}

Status RedisStore::GetText(std::string_view key, KeptText* kept) {
  Commands commands;
  commands.Add("EVAL", kGetText, "1", key);
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("reading ", key), &sink);
  if (!status.ok()) return status;
  *kept = {};
  Value& reply = sink.replies[0];
  if (reply.kind == Value::Kind::kArray && reply.items.empty()) return {};
  bool fits = reply.items.size() == 2 && reply.items[0].kind == Value::Kind::kString &&
              reply.items[1].kind == Value::Kind::kString && !reply.items[1].text.empty();
  if (!fits) return Unfit(Cat("reading ", key));
  *kept = {std::move(reply.items[0].text), std::move(reply.items[1].text)};
  return {};
}

Status RedisStore::PutText(std::string_view key, std::string_view expected, std::string_view text,
                           bool again, std::string* version, bool* conflict) {
  std::string what = Cat("writing ", key);
  ValueSink sink;
  auto put = [&] {
    Commands commands;
    commands.Reserve(text.size() + key.size() + sizeof(kPutText) + 128);
    commands.Add("EVAL", kPutText, "1", key, expected, text, again ? "again" : "");
    sink = ValueSink();
    return Run(commands_, commands, Effect::kOnce, what, &sink);
  };
  Status status = put();
  Status lost;
  if (status.code() == AGX_EUNCERTAIN) {
    std::swap(lost, status);
    again = true;
    status = put();
    if (!status.ok()) return status.code() == AGX_ECLOSED ? status : lost;
  }
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kString) return Unfit(what);
  *conflict = reply.text.empty();
  // Another may have written on top of what was written.
  if (*conflict && !lost.ok()) return lost;
  if (!*conflict) *version = reply.text;
  return {};
}

Status RedisStore::Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
                        std::vector<std::string>* keys) {
  Commands commands;
  commands.Add("SCAN", *cursor, "MATCH", Escaped(prefix) + "*" + Escaped(suffix), "COUNT",
               int64_t{500}, "TYPE", "string");
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, "SCAN", &sink);
  if (!status.ok()) return status;
  Value& reply = sink.replies[0];
  bool is_scan = reply.items.size() == 2 && reply.items[1].kind == Value::Kind::kArray &&
                 IsNumber(reply.items[0].text);
  // A scan that stands still would never end.
  if (!is_scan || (reply.items[0].text == *cursor && *cursor != "0")) return Unfit("SCAN");
  *cursor = reply.items[0].text;
  for (Value& key : reply.items[1].items) {
    bool fits = key.text.size() >= prefix.size() + suffix.size() && key.text.starts_with(prefix) &&
                key.text.ends_with(suffix);
    if (fits) keys->push_back(std::move(key.text));
  }
  return {};
}

std::unique_ptr<Tail> RedisStore::OpenTail() {
  std::lock_guard lock(tails_mutex_);
  auto free = std::find(tails_.begin(), tails_.end(), nullptr);
  if (closed_ || free == tails_.end()) return nullptr;
  int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) return nullptr;  // a watch needs none
  auto check = [this](std::string_view key, EntryId after, bool* gap, bool* exists) {
    return CheckGap(key, after, gap, exists);
  };
  auto released = [this](redis::RedisTail* tail) {
    std::lock_guard released_lock(tails_mutex_);
    std::replace(tails_.begin(), tails_.end(), tail, static_cast<RedisTail*>(nullptr));
  };
  auto tail = std::make_unique<RedisTail>(dialer_, log_, check, wake_fd, released);
  *free = tail.get();
  return tail;
}

void RedisStore::Close() noexcept {
  closed_ = true;
  closing_.Ring();
  // First those that know why their connections end.
  commands_.Close();
  reads_.Close();
  bell_.Close();
  bell_.RingAll();
  std::lock_guard lock(tails_mutex_);
  for (RedisTail* tail : tails_) {
    if (tail != nullptr) tail->Close();
  }
  dialer_.Close();
}

}  // namespace redis

Result<std::shared_ptr<Store>> OpenRedisStore(const Config& config, const Log& log) {
  auto store = std::make_shared<redis::RedisStore>(config, log);
  if (Status status = store->Open(); !status.ok()) return status;
  return std::shared_ptr<Store>(std::move(store));
}

}  // namespace agx
