// The store on a server is opened and closed, and streams and lists are written.
#include "store/redis/redis_store.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "store/redis/redis_store_impl.h"
#include "store/redis/resp.h"
#include "store/redis/scripts.h"
#include "store/redis/sinks.h"
#include "store/redis/tail.h"

namespace agx {
namespace redis {
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

// It may go better soon, and nothing was done.
bool IsPassing(const Status& status) {
  return status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT ||
         status.code() == AGX_ELOADING;
}

}  // namespace

RedisStore::RedisStore(const Config& config, Log log)
    : config_(config),
      log_(std::move(log)),
      dialer_(config_, log_),
      bell_(dialer_, log_, [this] { reads_.Reset(); }),
      commands_(dialer_, log_, nullptr),
      reads_(dialer_, log_, [this](Connection& connection) { return bell_.Track(connection); }) {}

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

void RedisStore::Hurry() noexcept {
  closing_.Ring();
  commands_.Hurry();
  reads_.Hurry();
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

}  // namespace redis

Result<std::shared_ptr<Store>> OpenRedisStore(const Config& config, const Log& log) {
  auto store = std::make_shared<redis::RedisStore>(config, log);
  if (Status status = store->Open(); !status.ok()) return status;
  return std::shared_ptr<Store>(std::move(store));
}

}  // namespace agx
