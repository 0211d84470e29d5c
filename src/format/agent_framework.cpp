// Microsoft Agent Framework, durable agent streaming: {text, sequence, timestamp}, of which the last
// has `done` or `error` as well, in agent-stream:{conversation id}.
#include <charconv>

#include "base/json.h"
#include "base/json_value.h"
#include "format/format.h"

namespace agx {
namespace {

constexpr std::string_view kName = "agent-framework";
constexpr std::string_view kText = "text";
constexpr std::string_view kSequence = "sequence";
constexpr std::string_view kDone = "done";
constexpr std::string_view kError = "error";
constexpr std::string_view kTrue = "true";

// Around a chunk, as an event of the agx format has it.
constexpr std::string_view kChunkBegin =
    R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"text","content_delta":)";
constexpr std::string_view kErrorBegin = R"({"msg": )";

std::string_view Value(const Entry& entry, std::string_view name) {
  const Field* field = FindField(entry, name);
  return field != nullptr ? field->value : "";
}

std::string_view MakeBody(const Entry& entry, std::string_view begin, std::string_view text) {
  std::string body(begin);
  AppendJsonString(text, &body);
  body += '}';
  return entry.batch->Copy(body);
}

// The text that an event adds to the answer; absent if that is not what it does.
JsonValue TextOf(JsonValue body) {
  if (JsonValue text = body[kText]; text.is_string()) return text;
  JsonValue event = body["event"];
  bool grows = event.Is("part_delta") && body["part_delta_kind"].Is(kText);
  if (grows) return body["content_delta"];
  return event.Is("part_start") && body["part_kind"].Is(kText) ? body["content"] : JsonValue();
}

class AgentFramework final : public Format {
 public:
  constexpr AgentFramework()
      : Format({.name = kName.data(),
                .named = true,
                .starts_afresh = true,
                .numbered = true,
                .entry_expire_ms = 10 * 60 * 1000}) {}

  Result<std::string> Key(std::string_view prefix, std::string_view name) const override {
    Result<std::string> key = Format::Key(prefix, name);
    return key.ok() ? Result<std::string>(Cat("agent-stream:", *key)) : key;
  }

  void Read(Entry* entry) const override {
    std::string_view error = Value(*entry, kError);
    const Field* text = FindField(*entry, kText);
    bool done = Value(*entry, kDone) == kTrue;
    entry->type = entry->origin = "";
    entry->body = "{}";
    entry->ending = Ending::kNone;
    entry->begins = Value(*entry, kSequence) == "0" && !IsReplayed(*entry);
    if (error.empty() && !done && text == nullptr) return;
    entry->origin = kName;
    if (!error.empty()) {  // which readers look at first
      entry->type = "error";
      entry->body = MakeBody(*entry, kErrorBegin, error);
      entry->ending = Ending::kEvent;
    } else if (done) {
      entry->type = "end";
      entry->ending = Ending::kMark;
    } else {
      entry->type = "event";
      entry->body = MakeBody(*entry, kChunkBegin, text->value);
    }
  }

  Status Write(const NewEvent& event, const Stamp& stamp, EventFields* fields) const override {
    JsonValue body = event.body.data() != nullptr ? JsonValue(event.body) : JsonValue();
    if (event.type == "end") {
      WriteEnd(event.origin, stamp, fields);
      return {};
    }
    if (event.type == "error") {
      JsonValue message = body["msg"];
      std::string text = message.is_string() ? message.String() : std::string(body.text());
      Put("", stamp, text.empty() ? "error" : text, fields);
      return {};
    }
    JsonValue text = TextOf(body);
    if (event.type == "event" && text.is_string()) {
      Put(text.String(), stamp, {}, fields);
      return {};
    }
    return {
        AGX_EUNSUPPORTED,
        Cat("the format ", kName,
            " holds text alone: an \"event\" whose body is {\"text\": …}, or text that begins or "
            "grows (part_start, part_delta); an \"error\" {\"msg\": …}, which ends the run; "
            "and \"end\". This is ",
            event.type.empty()      ? "an event without a type"
            : event.type == "event" ? "an \"event\" of another kind"
                                    : Cat("\"", event.type, "\""))};
  }

  void WriteEnd(std::string_view /*origin*/, const Stamp& stamp,
                EventFields* fields) const override {
    Put("", stamp, {}, fields);
    fields->Add(kDone, kTrue);
  }

  std::span<const Field> end_marks() const override {
    static constexpr Field kMarks[] = {{kDone, kTrue}, {kError, ""}};
    return kMarks;
  }

  bool ReadSequence(const Entry& entry, uint64_t* sequence) const override {
    std::string_view text = Value(entry, kSequence);
    auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), *sequence);
    return error == std::errc() && stop == text.data() + text.size();
  }

 private:
  static void Put(std::string_view text, const Stamp& stamp, std::string_view error,
                  EventFields* fields) {
    std::string sequence = std::to_string(stamp.sequence);
    std::string timestamp = std::to_string(stamp.now_ms);
    std::string_view kept = fields->Keep(Cat(text, sequence, timestamp, error));
    auto take = [&kept](size_t size) {
      std::string_view taken = kept.substr(0, size);
      kept.remove_prefix(size);
      return taken;
    };
    fields->Add(kText, take(text.size()));
    fields->Add(kSequence, take(sequence.size()));
    fields->Add("timestamp", take(timestamp.size()));
    if (!error.empty()) fields->Add(kError, kept);
  }
};

constinit const AgentFramework format;

}  // namespace

const Format& AgentFrameworkFormat() { return format; }

}  // namespace agx
