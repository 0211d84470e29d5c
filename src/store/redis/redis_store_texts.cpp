// The strings on a server: texts and their versions, and which keys there are.
#include <utility>

#include "store/redis/redis_store_impl.h"
#include "store/redis/resp.h"
#include "store/redis/scripts.h"

namespace agx::redis {
namespace {

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

}  // namespace

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

}  // namespace agx::redis
