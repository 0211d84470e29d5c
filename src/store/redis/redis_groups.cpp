#include "store/redis/redis_groups.h"

#include <algorithm>
#include <utility>

#include "store/redis/group_scripts.h"
#include "store/redis/sinks.h"

namespace agx::redis {
namespace {

// A lag beyond this is not counted, where the server does not tell it.
constexpr int64_t kMostLag = 100000;

Status NoGroup(const GroupOf& of) {
  return {AGX_NONE, Cat("there is no group ", of.group, " of the stream ", of.key)};
}

bool SaysNoGroup(std::string_view error) {
  return error.starts_with("NOGROUP") || error.starts_with("ERR no such key") ||
         error.starts_with("ERR The XGROUP subcommand requires the key to exist");
}

// Where in the outermost array a part stands.
int TopIndex(const redisReadTask& task) {
  const redisReadTask* at = &task;
  while (at->parent != nullptr && at->parent->parent != nullptr) at = at->parent;
  return at->parent != nullptr ? static_cast<int>(at->idx) : -1;
}

// The entries of an XREADGROUP of one stream: nil, or [[key, entries]]. Before it, if so asked, a
// number that says nothing.
class NewSink final : public Sink {
 public:
  NewSink(size_t most, bool armed) : most_(most), armed_(armed) {}

  std::string_view error() const { return error_; }
  BatchPtr Take() { return builder_.Take(); }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    if (index == 0) error_.clear();
    builder_.Begin({}, most_, EntriesBuilder::Within::kStream);
  }
  ListBuilder* List() override { return IsNumber() ? nullptr : &builder_; }
  bool String(const redisReadTask& /*task*/, std::string_view /*text*/) override { return false; }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& task, int64_t /*number*/) override {
    return IsNumber() && Depth(task) == 0;
  }
  bool Nil(const redisReadTask& task) override { return !IsNumber() && Depth(task) == 0; }
  void Error(std::string_view text) override {
    if (error_.empty()) error_ = text;
  }

 private:
  bool IsNumber() const { return armed_ && index() == 0; }

  const size_t most_;
  const bool armed_;
  EntriesBuilder builder_;
  std::string error_;
};

// What kTake and kClaim give.
class TakenSink final : public Sink {
 public:
  explicit TakenSink(size_t most) : most_(most) {}

  std::string_view error() const { return error_; }
  // False if it is not what was asked for.
  bool Give(EntryId after, Takings* taken);

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    error_.clear();
    builder_.Begin({}, most_, EntriesBuilder::Within::kScriptsOwn);
    taken_ = {};
    looked_at_ = -1;
  }
  bool String(const redisReadTask& task, std::string_view text) override {
    if (Depth(task) > 1) return TopIndex(task) == 0 && builder_.String(text);
    return Depth(task) == 1 && task.idx == 2 && ParseEntryId(text, &taken_.last);
  }
  bool Array(const redisReadTask& task, size_t size) override {
    if (Depth(task) == 0) return size == 5;
    if (TopIndex(task) == 0) return builder_.Array(size);
    return Depth(task) == 1 && task.idx == 1 && size <= most_;
  }
  bool Integer(const redisReadTask& task, int64_t number) override {
    if (number < 0) return false;
    if (Depth(task) == 2 && TopIndex(task) == 1) {
      taken_.attempts.push_back(number);
      return true;
    }
    if (Depth(task) != 1) return false;
    if (task.idx == 3) taken_.gone = static_cast<uint64_t>(number);
    if (task.idx == 4) looked_at_ = number;
    return task.idx >= 3;
  }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view text) override { error_ = text; }

 private:
  const size_t most_;
  EntriesBuilder builder_;
  Takings taken_;
  int64_t looked_at_ = -1;
  std::string error_;
};

bool TakenSink::Give(EntryId after, Takings* taken) {
  taken_.batch = builder_.Take();
  size_t entries = taken_.batch != nullptr ? taken_.batch->size() : 0;
  if (looked_at_ < 0 || taken_.attempts.size() != entries) return false;
  taken_.more = static_cast<uint64_t>(looked_at_) >= most_;
  // Whoever goes on after the last comes to an end.
  if (taken_.more && taken_.last <= after) return false;
  *taken = std::move(taken_);
  return true;
}

// The value behind a name, in what XINFO answers: names and values in turn.
const Value* ValueOf(const Value& facts, std::string_view name) {
  for (size_t i = 0; i + 1 < facts.items.size(); i += 2) {
    if (facts.items[i].text == name) return &facts.items[i + 1];
  }
  return nullptr;
}

bool ReadName(const Value& facts, std::string* name) {
  const Value* value = ValueOf(facts, "name");
  if (value == nullptr || value->kind != Value::Kind::kString) return false;
  *name = value->text;
  return true;
}

template <class Number>
bool ReadCount(const Value& facts, std::string_view name, Number* number) {
  const Value* value = ValueOf(facts, name);
  if (value == nullptr || value->kind != Value::Kind::kInteger || value->integer < 0) return false;
  *number = static_cast<Number>(value->integer);
  return true;
}

bool ReadGroup(const Value& facts, GroupFacts* group) {
  const Value* last = ValueOf(facts, "last-delivered-id");
  ReadCount(facts, "lag", &group->lag);  // from Redis 7 on, and not always
  return ReadName(facts, &group->name) && ReadCount(facts, "consumers", &group->consumers) &&
         ReadCount(facts, "pending", &group->pending) && last != nullptr &&
         ParseEntryId(last->text, &group->last_delivered);
}

// XPENDING's summary: a number, two ids, and the consumers; nil instead of these if it is 0.
bool ReadPending(const Value& reply, PendingFacts* facts) {
  if (reply.items.size() != 4 || reply.items[0].kind != Value::Kind::kInteger) return false;
  if (reply.items[0].integer < 0) return false;
  facts->count = static_cast<uint64_t>(reply.items[0].integer);
  facts->consumers = reply.items[3].items.size();
  if (facts->count == 0) return true;
  return ParseEntryId(reply.items[1].text, &facts->lowest) &&
         ParseEntryId(reply.items[2].text, &facts->highest);
}

bool ReadPendingEntry(const Value& reply, PendingEntry* entry) {
  if (reply.items.size() != 4 || !ParseEntryId(reply.items[0].text, &entry->id)) return false;
  bool fits = reply.items[1].kind == Value::Kind::kString &&
              reply.items[2].kind == Value::Kind::kInteger &&
              reply.items[3].kind == Value::Kind::kInteger;
  entry->consumer = reply.items[1].text;
  entry->idle_ms = reply.items[2].integer;
  entry->attempts = reply.items[3].integer;
  return fits;
}

std::string LowEnd(EntryId after) {
  char id[42];
  if (after == EntryId{}) return "-";
  return Cat("(", std::string_view(id, PrintEntryId(after, id)));
}

std::string On(std::string_view what, const GroupOf& of) {
  return Cat(what, " the group ", of.group, " of ", of.key);
}

}  // namespace

template <class S>
Status RedisGroups::Run(Pipe& pipe, const Commands& commands, Effect effect, const GroupOf& of,
                        std::string_view what, S* sink, bool* repeated, const StopFlag* stop) {
  Status status = runner_.Run(pipe, commands, effect, what, sink, repeated, stop);
  if (status.code() == AGX_ESERVER && SaysNoGroup(sink->error())) return NoGroup(of);
  return status;
}

Status RedisGroups::CreateGroup(const NewGroup& group, bool* created) {
  const GroupOf& of = group.of;
  bool expires = group.make_stream && group.expire_ms > 0;
  Commands commands;
  if (expires) {
    commands.Begin(7).Arg("EVAL").Arg(kCreateGroupExpiring).Arg("1");
  } else {
    commands.Begin(group.make_stream ? 6 : 5).Arg("XGROUP").Arg("CREATE");
  }
  commands.Arg(of.key).Arg(of.group);
  if (group.start) {
    commands.Arg(*group.start);
  } else {
    commands.Arg("$");
  }
  if (expires) {
    commands.Arg(group.expire_ms);
  } else if (group.make_stream) {
    commands.Arg("MKSTREAM");
  }
  ValueSink sink;
  std::string what = On("making", of);
  Status status = runner_.Run(commands_, commands, Effect::kRepeatableWrite, what, &sink);
  *created = status.ok();
  if (status.code() != AGX_ESERVER) return status;
  if (sink.error().starts_with("BUSYGROUP")) return {};
  return SaysNoGroup(sink.error()) ? NoGroup(of) : status;
}

Status RedisGroups::DeleteGroup(const GroupOf& of) {
  Commands commands;
  commands.Add("XGROUP", "DESTROY", of.key, of.group);
  uint64_t count = 0;
  bool repeated = false;
  Status status = RunInteger(commands, of, On("deleting", of), &count, &repeated);
  if (!status.ok()) return status;
  return count > 0 || repeated ? Status() : NoGroup(of);
}

Status RedisGroups::ReadNew(const NewRequest& request, BatchPtr* batch) {
  batch->reset();
  Commands commands;
  // The server tracks what a reading command has looked at; XREADGROUP counts as writing.
  if (request.arm) commands.Add("EXISTS", request.of.key);
  commands.Add("XREADGROUP", "GROUP", request.of.group, request.consumer, "COUNT",
               static_cast<int64_t>(request.count), "STREAMS", request.of.key, ">");
  NewSink sink(request.count, request.arm);
  Status status = Run(reads_, commands, Effect::kOnce, request.of, On("reading", request.of), &sink,
                      nullptr, request.stop);
  if (status.ok()) *batch = sink.Take();
  return status;
}

// Of the request count, after, stop and the group are looked at.
Status RedisGroups::RunTake(const Commands& commands, Effect effect, const TakeRequest& request,
                            Takings* taken) {
  *taken = {};
  TakenSink sink(request.count);
  std::string what = On("taking what is pending in", request.of);
  Status status = Run(reads_, commands, effect, request.of, what, &sink, nullptr, request.stop);
  if (!status.ok()) return status;
  return sink.Give(request.after, taken) ? Status() : Unfit(what);
}

Status RedisGroups::Take(const TakeRequest& request, Takings* taken) {
  Commands commands;
  bool claims = IsClaim(request.mode);
  std::string_view mode = request.mode == TakeMode::kClaim       ? "claim"
                          : request.mode == TakeMode::kClaimSame ? "claim same"
                          : request.mode == TakeMode::kSame      ? "same"
                                                                 : "own";
  commands.Add("EVAL", kTake, "1", request.of.key, request.of.group, request.consumer, mode,
               request.min_idle_ms, LowEnd(request.after), static_cast<int64_t>(request.count));
  // What a claim whose reply was lost has taken is not idle any more. One's own come again, at worst
  // as if they had been delivered once more.
  Effect effect = claims ? Effect::kOnce : Effect::kRepeatable;
  return RunTake(commands, effect, request, taken);
}

Status RedisGroups::Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
                          std::span<const EntryId> ids, Takings* taken) {
  *taken = {};
  if (ids.empty()) return {};
  Commands commands;
  commands.Begin(7 + ids.size()).Arg("EVAL").Arg(kClaim).Arg("1").Arg(of.key);
  commands.Arg(of.group).Arg(consumer).Arg(min_idle_ms);
  for (EntryId id : ids) commands.Arg(id);
  // One more than there can be: that all were looked at does not mean that there are more.
  TakeRequest request;
  request.of = of;
  request.count = ids.size() + 1;
  return RunTake(commands, Effect::kOnce, request, taken);
}

Status RedisGroups::Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms,
                         std::span<Held> held, const StopFlag* stop) {
  if (held.empty()) return {};
  Commands commands;
  commands.Begin(7 + held.size() * 2).Arg("EVAL").Arg(kHold).Arg("1").Arg(of.key);
  commands.Arg(of.group).Arg(consumer).Arg(idle_ms);
  for (const Held& one : held) commands.Arg(one.id).Arg(one.attempts);
  ValueSink sink;
  std::string what = On("holding entries of", of);
  Status status =
      Run(commands_, commands, Effect::kRepeatableWrite, of, what, &sink, nullptr, stop);
  if (!status.ok()) return status;
  const std::vector<Value>& own = sink.replies[0].items;
  if (own.size() != held.size()) return Unfit(what);
  for (size_t i = 0; i < own.size(); ++i) held[i].own = own[i].integer != 0;
  return {};
}

Status RedisGroups::Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) {
  *count = 0;
  if (ids.empty()) return {};
  Commands commands;
  commands.Reserve(ids.size() * 32 + 128);
  commands.Begin(3 + ids.size()).Arg("XACK").Arg(of.key).Arg(of.group);
  for (EntryId id : ids) commands.Arg(id);
  return RunInteger(commands, of, On("acknowledging in", of), count);
}

Status RedisGroups::RunInteger(const Commands& commands, const GroupOf& of, std::string_view what,
                               uint64_t* number, bool* repeated) {
  *number = 0;
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatableWrite, of, what, &sink, repeated);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kInteger || reply.integer < 0) return Unfit(what);
  *number = static_cast<uint64_t>(reply.integer);
  return {};
}

Status RedisGroups::Pending(const GroupOf& of, PendingFacts* facts, const StopFlag* stop) {
  *facts = {};
  Commands commands;
  commands.Add("XPENDING", of.key, of.group);
  ValueSink sink;
  std::string what = On("looking at", of);
  Status status = Run(commands_, commands, Effect::kRepeatable, of, what, &sink, nullptr, stop);
  if (!status.ok()) return status;
  return ReadPending(sink.replies[0], facts) ? Status() : Unfit(what);
}

Status RedisGroups::PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) {
  entries->clear();
  Commands commands;
  size_t words = 6 + (range.min_idle_ms > 0 ? 2 : 0) + (range.consumer.empty() ? 0 : 1);
  commands.Begin(words).Arg("XPENDING").Arg(range.of.key).Arg(range.of.group);
  if (range.min_idle_ms > 0) commands.Arg("IDLE").Arg(range.min_idle_ms);
  commands.Arg(LowEnd(range.after)).Arg("+").Arg(static_cast<int64_t>(range.count));
  if (!range.consumer.empty()) commands.Arg(range.consumer);
  ValueSink sink;
  std::string what = On("looking at", range.of);
  Status status = Run(commands_, commands, Effect::kRepeatable, range.of, what, &sink);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kArray || reply.items.size() > range.count) return Unfit(what);
  EntryId last = range.after;
  for (const Value& item : reply.items) {
    PendingEntry entry;
    if (!ReadPendingEntry(item, &entry) || entry.id <= last) return Unfit(what);
    last = entry.id;
    entries->push_back(std::move(entry));
  }
  return {};
}

Status RedisGroups::ListGroups(std::string_view key, std::vector<GroupFacts>* groups) {
  groups->clear();
  Commands commands;
  commands.Add("XINFO", "GROUPS", key);
  commands.Add("XLEN", key);
  ValueSink sink;
  std::string what = Cat("looking at the groups of ", key);
  Status status = Run(commands_, commands, Effect::kRepeatable, {key, {}}, what, &sink);
  if (status.code() == AGX_NONE) return {};
  if (!status.ok()) return status;
  bool fits =
      sink.replies[0].kind == Value::Kind::kArray && sink.replies[1].kind == Value::Kind::kInteger;
  if (!fits) return Unfit(what);
  for (const Value& item : sink.replies[0].items) {
    GroupFacts group;
    if (!ReadGroup(item, &group)) return Unfit(what);
    groups->push_back(std::move(group));
  }
  for (GroupFacts& group : *groups) {
    // What was trimmed cannot be read any more, but servers count it.
    group.lag = std::min(group.lag, sink.replies[1].integer);
    if (group.lag >= 0) continue;
    if (Status counted = CountLag(key, &group); !counted.ok()) return counted;
  }
  return {};
}

Status RedisGroups::CountLag(std::string_view key, GroupFacts* group) {
  Commands commands;
  commands.Add("EVAL", kCountAfter, "1", key, group->last_delivered, kMostLag);
  ValueSink sink;
  std::string what = Cat("counting the entries of ", key);
  Status status = runner_.Run(commands_, commands, Effect::kRepeatable, what, &sink);
  // Who may not run a script is told of the rest.
  if (status.code() == AGX_EDENIED || status.code() == AGX_EUNSUPPORTED) return {};
  if (!status.ok()) return status;
  if (sink.replies[0].kind != Value::Kind::kInteger) return Unfit(what);
  group->lag = sink.replies[0].integer;
  return {};
}

Status RedisGroups::ListConsumers(const GroupOf& of, std::vector<ConsumerFacts>* consumers) {
  consumers->clear();
  Commands commands;
  commands.Add("XINFO", "CONSUMERS", of.key, of.group);
  ValueSink sink;
  std::string what = On("looking at the consumers of", of);
  Status status = Run(commands_, commands, Effect::kRepeatable, of, what, &sink);
  if (!status.ok()) return status;
  if (sink.replies[0].kind != Value::Kind::kArray) return Unfit(what);
  for (const Value& item : sink.replies[0].items) {
    ConsumerFacts consumer;
    bool fits = ReadName(item, &consumer.name) && ReadCount(item, "pending", &consumer.pending) &&
                ReadCount(item, "idle", &consumer.idle_ms);
    if (!fits) return Unfit(what);
    consumers->push_back(std::move(consumer));
  }
  return {};
}

Status RedisGroups::DeleteConsumer(const GroupOf& of, std::string_view consumer,
                                   uint64_t* pending) {
  *pending = 0;
  Commands commands;
  commands.Add("XGROUP", "DELCONSUMER", of.key, of.group, consumer);
  return RunInteger(commands, of, On("deleting a consumer of", of), pending);
}

Status RedisGroups::DeleteIdleConsumer(const GroupOf& of, std::string_view consumer) {
  Commands commands;
  commands.Add("EVAL", kDeleteIdleConsumer, "1", of.key, of.group, consumer);
  ValueSink sink;
  return Run(commands_, commands, Effect::kIfConnected, of, On("deleting a consumer of", of),
             &sink);
}

Status RedisGroups::Bury(const Burial& burial, bool* done) {
  *done = false;
  const GroupOf& of = burial.of;
  Commands commands;
  NewEntry fields{burial.fields.data(), burial.fields.size()};
  commands.Begin(8 + fields.count * 2).Arg("EVAL").Arg(kBury).Arg("2");
  commands.Arg(of.key).Arg(burial.to);
  commands.Arg(of.group).Arg(burial.consumer).Arg(burial.id);
  AppendFields(&commands, fields);
  uint64_t count = 0;
  bool repeated = false;
  Status status = RunInteger(commands, of, Cat("burying an entry of ", of.key, " in ", burial.to),
                             &count, &repeated);
  // A second run finds nothing left to do.
  *done = status.ok() && (count > 0 || repeated);
  return status;
}

Status RedisGroups::Revive(const Revival& revival, EntryId* id, RevivalOutcome* outcome) {
  *id = {};
  Commands commands;
  NewEntry fields{revival.fields.data(), revival.fields.size()};
  commands.Begin(11 + revival.without.size() + fields.count * 2);
  commands.Arg("EVAL").Arg(kRevive).Arg("3").Arg(revival.from).Arg(revival.key);
  commands.Arg(revival.key, kCheckpointsSuffix);
  commands.Arg(revival.id).Arg(revival.proof.name).Arg(revival.proof.value);
  commands.Arg(revival.expire_ms);
  commands.Arg(static_cast<int64_t>(revival.without.size()));
  for (std::string_view name : revival.without) commands.Arg(name);
  AppendFields(&commands, fields);
  ValueSink sink;
  bool repeated = false;
  std::string what = Cat("replaying a dead letter of ", revival.from);
  Status status =
      runner_.Run(commands_, commands, Effect::kRepeatableWrite, what, &sink, &repeated);
  if (!status.ok()) return status;
  const Value& reply = sink.replies[0];
  if (reply.kind != Value::Kind::kString) return Unfit(what);
  *outcome = RevivalOutcome::kDone;
  if (reply.text == "foreign") {
    *outcome = RevivalOutcome::kForeign;
  } else if (reply.text == "bare") {
    *outcome = RevivalOutcome::kBare;
  } else if (reply.text == "absent") {
    // A second run does not find what the first has deleted.
    *outcome = repeated ? RevivalOutcome::kDone : RevivalOutcome::kAbsent;
  } else if (!ParseEntryId(reply.text, id)) {
    return Unfit(what);
  }
  return {};
}

Status RedisGroups::DeleteEntries(std::string_view key, std::span<const EntryId> ids,
                                  uint64_t* count) {
  *count = 0;
  if (ids.empty()) return {};
  Commands commands;
  commands.Begin(2 + ids.size()).Arg("XDEL").Arg(key);
  for (EntryId id : ids) commands.Arg(id);
  return RunInteger(commands, {key, {}}, Cat("deleting entries of ", key), count);
}

}  // namespace agx::redis
