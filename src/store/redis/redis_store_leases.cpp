// Live flags on a server: they are taken, renewed, looked at and dropped, and their streams begin, end
// and go with them.
#include "store/redis/redis_store_impl.h"
#include "store/redis/resp.h"
#include "store/redis/scripts.h"

namespace agx::redis {
namespace {

LeaseState LeaseStateOf(std::string_view text) {
  if (text == "own") return LeaseState::kOwn;
  if (text == "other") return LeaseState::kOther;
  if (text == "absent") return LeaseState::kAbsent;
  if (text == "lost") return LeaseState::kLost;
  return LeaseState::kUnknown;
}

}  // namespace

Status RedisStore::Start(const StartRequest& request, StartOutcome* outcome) {
  Commands commands;
  commands.Begin(11 + request.begin.count * 2);
  commands.Arg("EVAL").Arg(kStart).Arg("3").Arg(request.key).Arg(request.live_key);
  commands.Arg(request.key, kCheckpointsSuffix);
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
  size_t words = 13 + request.end_marks.size() * 2 + 1 + request.end.count * 2;
  for (const NewEntry& entry : request.before) words += 1 + entry.count * 2;
  commands.Begin(words);
  commands.Arg("EVAL").Arg(kStop).Arg("3").Arg(request.key).Arg(request.live_key);
  commands.Arg(request.key, kCheckpointsSuffix);
  commands.Arg(request.token);
  if (request.list || request.keep) {
    commands.Arg(request.list ? "list" : "keep");
  } else {
    commands.Arg(request.grace_ms);
  }
  commands.Arg(request.unless_canceled ? "1" : "0").Arg(request.begun ? "1" : "0");
  commands.Arg(kStopChannel).Arg(config_.database);
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

Status RedisStore::Live(std::string_view live_key, LiveFlag* flag, const StopFlag* stop) {
  Commands commands;
  commands.Add("PTTL", live_key);
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("PTTL of ", live_key), &sink,
                      nullptr, stop);
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
    commands.Add("EVAL", kRenew, "3", lease.key, lease.live_key, CheckpointsKey(lease.key),
                 lease.token, lease.lease_ms,
                 lease.expire_ms > 0 ? lease.expire_ms + lease.lease_ms : 0);
  }
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, "renewing leases", &sink);
  if (!status.ok()) return status;
  for (size_t i = 0; i < leases.size(); ++i) leases[i].state = LeaseStateOf(sink.replies[i].text);
  return {};
}

Status RedisStore::Check(std::span<Lease> leases, Effect effect) {
  Commands commands;
  for (const Lease& lease : leases) {
    commands.Add("GET", lease.live_key).Add("EXISTS", lease.key);
  }
  ValueSink sink;
  Status status = Run(reads_, commands, effect, "looking at live flags", &sink);
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

Status RedisStore::Delete(const DeleteRequest& request, bool* was_there) {
  *was_there = false;
  Commands commands;
  commands.Begin(12 + request.end.count * 2);
  commands.Arg("EVAL").Arg(kDelete).Arg("4");
  commands.Arg(request.key).Arg(request.live_key).Arg(request.text_key);
  commands.Arg(request.key, kCheckpointsSuffix);
  commands.Arg(request.token).Arg(bell_.cancel_channel());
  commands.Arg(kStopChannel).Arg(config_.database);
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

}  // namespace agx::redis
