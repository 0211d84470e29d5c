// What is in a server's streams and lists, and what is known of them.
#include <algorithm>

#include "store/redis/redis_store_impl.h"
#include "store/redis/resp.h"
#include "store/redis/scripts.h"
#include "store/redis/sinks.h"

namespace agx::redis {
namespace {

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

}  // namespace

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
    if (request.want_last) {
      commands.Add("XREVRANGE", request.key, "+", "-", "COUNT", int64_t{1});
    }
  }
  ReadSink sink(requests);
  std::string what = Cat("reading ", requests.size() == 1 ? requests[0].key : "streams");
  // What was sent on a connection that is lost may yet be carried out: before what is sent on the one
  // that takes its place, but maybe after what is sent on another that was open all the while.
  bool behind_writes = !requests.empty() && requests[0].behind_writes;
  const StopFlag* stop = !requests.empty() ? requests[0].stop : nullptr;
  Pipe& pipe = behind_writes ? commands_ : reads_;
  Status status = Run(pipe, commands, Effect::kRepeatable, what, &sink, nullptr, stop);
  for (ReadRequest* request : sink.suspects()) {
    if (!status.ok()) break;
    if (request->list) {
      status = ReadListAnew(request, stop);
      continue;
    }
    status = CheckGap(request->key, request->after, &request->gap, &request->exists, stop);
  }
  return status;
}

// The cursor's element is not there, or another.
Status RedisStore::ReadListAnew(ReadRequest* request, const StopFlag* stop) {
  RangeRequest range;
  range.key = request->key;
  range.count = request->count;
  range.list = true;
  Status status = RangeOfList(range, &request->batch, stop);
  request->gap = true;
  request->exists = request->batch != nullptr;
  return status;
}

// The cursor's entry was not found: were entries after it dropped too?
Status RedisStore::CheckGap(std::string_view key, EntryId after, bool* gap, bool* exists,
                            const StopFlag* stop) {
  Commands commands;
  commands.Add("EXISTS", key);
  commands.Add("XRANGE", key, "-", after, "COUNT", int64_t{1});
  ValueSink sink;
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("looking for a gap in ", key),
                      &sink, nullptr, stop);
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
  *first = {1, items[1].element_hash()};
  *last = {static_cast<uint64_t>(items[0].integer), items[2].element_hash()};
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
Status RedisStore::RangeOfList(const RangeRequest& request, BatchPtr* batch, const StopFlag* stop) {
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
  Status status = Run(commands_, commands, Effect::kRepeatable, Cat("reading ", request.key), &sink,
                      nullptr, stop);
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

}  // namespace agx::redis
