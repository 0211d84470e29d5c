// What is written to a server's streams and lists.
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "store/redis/redis_store_impl.h"
#include "store/redis/resp.h"
#include "store/redis/scripts.h"
#include "store/redis/sinks.h"

namespace agx::redis {
namespace {

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
    commands->Begin(8 + entry.count * 2).Arg("EVAL").Arg(kAddExpiring).Arg("2").Arg(target.key);
    commands->Arg(target.key, kCheckpointsSuffix)
        .Arg(target.expire_ms)
        .Arg(max_length)
        .Arg(target.existing ? "1" : "0");
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
  return SizeOf(entry) + 2 * target.key.size() + target.channel.size() + script + 112;
}

// Adds that are under way, several at a time, so that the server works on the first while the next are
// written.
template <class S>
class Pieces {
 public:
  Pieces(Pipe& pipe, Backoff* backoff) : pipe_(pipe), backoff_(backoff) {}

  // Calls submit, which calls Submit, for as long as there is more and nothing fails; and settle with
  // each sink, how its call went, and whether it may have run: for all that were submitted, whatever
  // happens. Gives the first failure that either of them gives.
  template <class More, class SubmitNext, class Settle>
  Status Run(More more, SubmitNext submit, Settle settle) {
    Status failure;
    auto wait = [&] {
      bool ran = false;
      Piece& piece = *At(waited_++);
      Status status = pipe_.Wait(&piece.call, &ran);
      try {
        status = settle(piece.sink, std::move(status), ran);
      } catch (const std::bad_alloc&) {
        status = {AGX_ENOMEM, {}};
      }
      if (failure.ok()) failure = std::move(status);
    };
    try {
      while (failure.ok() && more()) {
        if (submitted_ - waited_ == kMost) wait();
        if (failure.ok()) failure = submit();
      }
    } catch (const std::bad_alloc&) {
      failure = {AGX_ENOMEM, {}};
    }
    while (waited_ != submitted_) wait();
    return failure;
  }

  Status Submit(const Commands& commands, S sink) {
    const Pipe::Call* behind = waited_ == submitted_ ? nullptr : &At(submitted_ - 1)->call;
    Piece& piece = At(submitted_).emplace();
    piece.sink = std::move(sink);
    Status status =
        pipe_.Submit(commands, &piece.sink, &piece.call, backoff_, behind, submitted_ - waited_);
    if (status.ok()) ++submitted_;
    return status;
  }

 private:
  static constexpr size_t kMost = 8;
  struct Piece {
    Pipe::Call call;
    S sink;
  };

  std::optional<Piece>& At(size_t number) { return ring_[number % kMost]; }

  Pipe& pipe_;
  Backoff* const backoff_;
  std::array<std::optional<Piece>, kMost> ring_;
  size_t submitted_ = 0;
  size_t waited_ = 0;
};

std::string AddingTo(const Target& target) {
  return Cat(target.list ? "RPUSH to " : "XADD to ", target.key);
}

Status NotThere(const Target& target) {
  return {AGX_NONE, Cat("there is no ", target.key, " to add to")};
}

// It may go better soon, and nothing was done.
bool IsPassing(const Status& status) {
  return status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT ||
         status.code() == AGX_ELOADING;
}

Status Uncertain(const Status& why) noexcept {
  try {
    return {AGX_EUNCERTAIN, Cat(why.message(), "; whether the event is stored is not known")};
  } catch (const std::bad_alloc&) {
    return {AGX_EUNCERTAIN, {}};
  }
}

// The replies to adds, each of its own.
class EachSink final : public Sink {
 public:
  EachSink() = default;
  explicit EachSink(std::span<Addition* const> additions) : additions_(additions) {}

  std::span<Addition* const> additions() const { return additions_; }

  bool String(const redisReadTask& task, std::string_view text) override {
    EntryId id;
    return !list() && Depth(task) == 0 && ParseEntryId(text, &id) && Stored(id);
  }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& task, int64_t number) override {
    if (!list() || Depth(task) != 0) return false;
    if (number == 0) return Absent();
    return number > 0 &&
           Stored({static_cast<uint64_t>(number), HashElement(current().entry.fields[0].value)});
  }
  bool Nil(const redisReadTask& task) override { return !list() && Depth(task) == 0 && Absent(); }
  void Error(std::string_view text) override {
    Answer(ServerError(text, AddingTo(current().target)));
  }

 private:
  Addition& current() const { return *additions_[index()]; }
  bool list() const { return current().target.list; }
  void Answer(Status status) {
    current().status = std::move(status);
    current().answered = true;
  }
  bool Absent() {
    Answer(NotThere(current().target));
    return current().target.existing;
  }
  bool Stored(EntryId id) {
    current().id = id;
    Answer({});
    return true;
  }

  std::span<Addition* const> additions_;
};

}  // namespace

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
    if (!IsPassing(status)) return status;
    if (closed_) return ClosedStore();
    if (*added == before && !backoff.Next(&until)) return status;
    if (status.code() == AGX_ELOADING && *added == before) runner_.Pause(until);
  }
}

// Adds those after the first *added, several pieces at a time.
Status RedisStore::AddPieces(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                             size_t* added, bool* may_have_run, Backoff* backoff) {
  Pieces<IdsSink> pieces(commands_, backoff);
  size_t next = *added;
  bool counting = true;
  bool later = false;
  auto more = [&] { return next < entries.size(); };
  auto submit = [&] {
    size_t size = std::min(kAddsInPiece, entries.size() - next);
    Commands commands;
    commands.Reserve(SizeOf(target, entries[next]) * size);
    for (size_t i = 0; i < size; ++i) AppendAdd(&commands, target, entries[next + i]);
    Status status = pieces.Submit(commands, IdsSink(ids, next, target));
    if (status.ok()) next += size;
    return status;
  };
  auto settle = [&](IdsSink& sink, Status status, bool ran) {
    later |= sink.stored_later() || (!counting && sink.stored() > 0);
    if (counting) *added += sink.stored();
    counting = counting && status.ok() && sink.error().empty() && !sink.absent();
    *may_have_run |= !status.ok() && ran;
    if (!status.ok()) return status;
    if (!sink.error().empty()) return ServerError(sink.error(), AddingTo(target));
    return sink.absent() ? NotThere(target) : status;
  };
  Status failure = pieces.Run(more, submit, settle);
  // What is stored after one that is not must not be added again.
  *may_have_run |= later && (IsPassing(failure) || failure.code() == AGX_NONE);
  return failure;
}

void RedisStore::AddEach(std::span<Addition> additions) {
  for (Addition& one : additions) one.status = {AGX_ENOMEM, {}};  // for as long as nothing was sent
  std::vector<Addition*> left;
  try {
    left.reserve(additions.size());
  } catch (const std::bad_alloc&) {
    return;
  }
  for (Addition& one : additions) left.push_back(&one);
  Backoff backoff(config_);
  while (!left.empty()) {
    size_t before = left.size();
    AddSome(left, &backoff);
    KeepForAgain(&left);
    if (left.empty() || closed_) return;
    TimePoint until;
    if (left.size() < before) continue;
    if (!backoff.Next(&until)) return;
    if (left.front()->status.code() == AGX_ELOADING) runner_.Pause(until);
  }
}

// One attempt, which ends where a connection breaks.
void RedisStore::AddSome(std::span<Addition* const> additions, Backoff* backoff) noexcept {
  Pieces<EachSink> pieces(commands_, backoff);
  size_t next = 0;
  auto more = [&] { return next < additions.size(); };
  auto submit = [&] {
    std::span<Addition* const> some =
        additions.subspan(next, std::min(kAddsInPiece, additions.size() - next));
    size_t bytes = 0;
    for (const Addition* one : some) bytes += SizeOf(one->target, one->entry);
    Commands commands;
    commands.Reserve(bytes);
    for (const Addition* one : some) AppendAdd(&commands, one->target, one->entry);
    for (Addition* one : some) one->answered = false;
    Status status = pieces.Submit(commands, EachSink(some));
    if (status.ok()) next += some.size();
    return status;
  };
  auto settle = [](const EachSink& sink, Status status, bool ran) {
    if (status.ok()) return status;
    bool uncertain = ran && status.code() != AGX_ECLOSED;
    Status unanswered = uncertain ? Uncertain(status) : CopyOf(status);
    for (Addition* one : sink.additions()) {
      if (!one->answered) one->status = CopyOf(unanswered);
    }
    return status;
  };
  Status failure = pieces.Run(more, submit, settle);
  for (Addition* one : additions.subspan(next)) one->status = CopyOf(failure);
}

// Those that were not written and may soon be, unless another was written behind them to the same
// stream.
void RedisStore::KeepForAgain(std::vector<Addition*>* left) noexcept {
  auto passing = [](const Addition* one) { return IsPassing(one->status); };
  if (std::none_of(left->begin(), left->end(), passing)) return left->clear();
  try {
    std::unordered_set<std::string_view> written;
    for (size_t i = left->size(); i > 0; --i) {
      Addition*& one = (*left)[i - 1];
      bool keep = passing(one) && !written.contains(one->target.key);
      bool may_be = one->status.ok() || one->status.code() == AGX_EUNCERTAIN;
      if (may_be) written.insert(one->target.key);
      if (!keep) one = nullptr;
    }
    std::erase(*left, nullptr);
  } catch (const std::bad_alloc&) {
    left->clear();
  }
}

Status RedisStore::AddChecked(const Target& target, std::span<const NewEntry> entries,
                              const Checkpoint& checkpoint, CheckedOutcome* outcome) {
  Commands commands;
  size_t words = target.existing ? 14 : 13;
  size_t bytes = sizeof(kAddChecked) + 2 * target.key.size() + 512;
  for (const NewEntry& entry : entries) {
    words += 1 + entry.count * 2;
    bytes += SizeOf(entry) + 16;
  }
  commands.Reserve(bytes);
  commands.Begin(words).Arg("EVAL").Arg(kAddChecked);
  AppendKeys(&commands, target, CheckpointsKey(target.key));
  commands.Arg(checkpoint.expected).Arg(checkpoint.reached).Arg(target.list ? "list" : "stream");
  commands.Arg(static_cast<int64_t>(target.max_length)).Arg(target.expire_ms);
  commands.Arg(target.channel).Arg(target.tag).Arg(checkpoint.name);
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

Status RedisStore::GetCheckpoint(std::string_view stream_key, std::string_view name,
                                 std::string* position) {
  Commands commands;
  std::string key = CheckpointsKey(stream_key);
  commands.Add("HGET", key, name);
  ValueSink sink;
  std::string what = Cat("reading ", key);
  Status status = Run(commands_, commands, Effect::kRepeatable, what, &sink);
  if (!status.ok()) return status;
  Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kString && reply.kind != Value::Kind::kNil) return Unfit(what);
  *position = std::move(reply.text);
  return {};
}

Status RedisStore::Replace(const Target& target, std::span<const NewEntry> entries,
                           uint64_t* removed) {
  *removed = 0;
  Commands commands;
  size_t words = target.existing ? 8 : 7;
  size_t bytes = sizeof(kReplace) + 2 * target.key.size() + 128;
  for (const NewEntry& entry : entries) {
    words += 1 + entry.count * 2;
    bytes += SizeOf(entry) + 16;
  }
  commands.Reserve(bytes);
  commands.Begin(words).Arg("EVAL").Arg(kReplace);
  AppendKeys(&commands, target, CheckpointsKey(target.key));
  commands.Arg(target.list ? "list" : "stream").Arg(target.expire_ms);
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

}  // namespace agx::redis
