#include "format/conversation.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <span>
#include <utility>

#include "base/json.h"

namespace agx {
namespace {

Status TooBig() {
  return {AGX_ETOOBIG, Cat("the conversation would have more than ", AGX_BODY_MAX, " bytes")};
}

Status Invalid(std::string_view what, const JsonError& error) {
  return {AGX_EJSON, Cat(what, " is not valid JSON at byte ", error.offset, ": ", error.reason)};
}

// Where a value that points into the text begins and ends.
size_t BeginOf(JsonValue value, std::string_view text) {
  return static_cast<size_t>(value.text().data() - text.data());
}
size_t EndOf(JsonValue value, std::string_view text) {
  return BeginOf(value, text) + value.text().size();
}

struct Member {
  std::string_view name;
  std::string_view value;
};

// Appends the object with these members' values in the place of its own, or, if it has no such
// member, after the others. Of several with one name the last is meant.
void AppendWith(JsonValue object, std::span<const Member> members, std::string* out) {
  constexpr size_t kMost = 2;
  std::array<const char*, kMost> own{};
  bool empty = true;
  for (JsonMembers member(object); member.Next(); empty = false) {
    for (size_t i = 0; i < members.size(); ++i) {
      if (member.name().Is(members[i].name)) own[i] = member.value().text().data();
    }
  }
  const char* done = object.text().data();
  for (JsonMembers member(object); member.Next();) {
    std::string_view value = member.value().text();
    for (size_t i = 0; i < members.size(); ++i) {
      if (own[i] != value.data()) continue;
      out->append(done, value.data());
      out->append(members[i].value);
      done = value.data() + value.size();
    }
  }
  out->append(done, object.text().data() + object.text().size() - 1);
  for (size_t i = 0; i < members.size(); ++i) {
    if (own[i] != nullptr) continue;
    if (!empty) *out += ',';
    empty = false;
    AppendJsonString(members[i].name, out);
    *out += ':';
    out->append(members[i].value);
  }
  *out += '}';
}

void AppendNodeParts(JsonValue parts, std::string* out) {
  constexpr Member kUnsigned[] = {{"signature", "null"}};
  for (JsonElements part(parts); part.Next();) {
    if (part.value()["part_kind"].Is("system-prompt")) continue;
    if (out->size() > 1) *out += ',';
    if (part.value().is_object()) {
      AppendWith(part.value(), kUnsigned, out);
    } else {
      out->append(part.value().text());
    }
  }
}

// Begins an object, or goes on with it.
void AppendMember(std::string_view name, std::string_view text, std::string* out) {
  *out += out->empty() ? '{' : ',';
  AppendJsonString(name, out);
  *out += ':';
  AppendJsonString(text, out);
}

}  // namespace

Result<Conversation> Conversation::Parse(std::string text) {
  if (text.size() > AGX_BODY_MAX) return TooBig();
  JsonError error;
  if (!ValidateJson(text, AGX_DEPTH_MAX, &error)) return Invalid("the conversation", error);
  Conversation parsed;
  parsed.text_ = std::move(text);
  JsonValue array(parsed.text_);
  if (!array.is_array()) {
    return Status(AGX_EJSON, Cat("the conversation is no JSON array of messages, at byte ",
                                 BeginOf(array, parsed.text_)));
  }
  for (JsonElements message(array); message.Next();) {
    size_t begin = BeginOf(message.value(), parsed.text_);
    if (!message.value().is_object()) {
      return Status(AGX_EJSON, Cat("message ", parsed.count(), " of the conversation, at byte ",
                                   begin, ", is no JSON object"));
    }
    parsed.messages_.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint32_t>(message.value().text().size())});
  }
  return parsed;
}

JsonValue Conversation::message(size_t index) const {
  if (index >= messages_.size()) return {};
  return JsonValue(std::string_view(text_).substr(messages_[index].begin, messages_[index].size));
}

// All or (bad_alloc, AGX_ETOOBIG) nothing.
Status Conversation::Insert(size_t at, std::string_view text) {
  if (text.size() > AGX_BODY_MAX - std::min<size_t>(text_.size(), AGX_BODY_MAX)) return TooBig();
  text_.insert(at, text);
  return {};
}

Status Conversation::Append(std::string_view json) {
  JsonError error;
  if (!ValidateJson(json, AGX_DEPTH_MAX, &error)) return Invalid("what is appended", error);
  JsonValue value(json);
  // In the conversation it stands one level deeper.
  if (value.is_object() && !ValidateJson(json, AGX_DEPTH_MAX - 1, &error)) {
    return Invalid("what is appended", error);
  }
  if (!value.is_object() && !value.is_array()) {
    return {AGX_EJSON,
            "what is appended is no message: neither a JSON object nor an array of them"};
  }
  std::string added;
  std::vector<Span> spans;
  size_t at = messages_.empty() ? BeginOf(JsonValue(text_), text_) + 1
                                : size_t{messages_.back().begin} + messages_.back().size;
  auto add = [&](JsonValue message) -> Status {
    if (!message["kind"].is_string() || !message["parts"].is_array()) {
      return {AGX_EJSON, Cat("message ", spans.size(), " of those that are appended, at byte ",
                             BeginOf(message, json),
                             ", is no message: an object with \"kind\" and an array of \"parts\"")};
    }
    if (!messages_.empty() || !spans.empty()) added += ',';
    spans.push_back(
        {static_cast<uint32_t>(at + added.size()), static_cast<uint32_t>(message.text().size())});
    added += message.text();
    return {};
  };
  if (value.is_object()) {
    if (Status status = add(value); !status.ok()) return status;
  }
  for (JsonElements element(value); element.Next();) {
    if (Status status = add(element.value()); !status.ok()) return status;
  }
  // What may throw comes before the change.
  size_t needed = messages_.size() + spans.size();
  if (needed > messages_.capacity()) messages_.reserve(std::max(needed, 2 * messages_.size()));
  if (Status status = Insert(at, added); !status.ok()) return status;
  messages_.insert(messages_.end(), spans.begin(), spans.end());
  return {};
}

Status Conversation::AppendPart(std::string_view part, std::string_view timestamp) {
  JsonValue last = messages_.empty() ? JsonValue() : message(messages_.size() - 1);
  JsonValue parts = last["kind"].Is("request") ? last["parts"] : JsonValue();
  if (parts.is_array()) {
    size_t at = BeginOf(parts, text_) + 1;
    std::string added;
    for (JsonElements element(parts); element.Next();) {
      at = EndOf(element.value(), text_);
      added = ",";
    }
    added += part;
    if (Status status = Insert(at, added); !status.ok()) return status;
    messages_.back().size += static_cast<uint32_t>(added.size());
    return {};
  }
  return Append(Cat("{\"parts\":[", part, "],\"timestamp\":\"", timestamp,
                    "\",\"instructions\":null,\"kind\":\"request\",\"run_id\":null,"
                    "\"conversation_id\":null,\"metadata\":null,\"state\":\"complete\"}"));
}

JsonValue Conversation::TitleContent() const {
  for (JsonElements part(message(0)["parts"]); part.Next();) {
    if (!part.value()["part_kind"].Is("user-prompt")) continue;
    JsonValue content = part.value()["content"];
    return content.is_string() ? content : JsonValue();
  }
  return {};
}

std::string Conversation::Nodes() const {
  std::string nodes = "[";
  for (size_t i = 0; count() % 2 == 0 && i < count(); i += 2) {
    JsonValue request = message(i);
    JsonValue response = message(i + 1);
    if (!request["kind"].Is("request") || !response["kind"].Is("response")) continue;
    std::string parts = "[";
    AppendNodeParts(request["parts"], &parts);
    AppendNodeParts(response["parts"], &parts);
    parts += ']';
    if (nodes.size() > 1) nodes += ',';
    const Member members[] = {{"kind", "null"}, {"parts", parts}};
    AppendWith(response, members, &nodes);
  }
  nodes += ']';
  return nodes;
}

std::string Timestamp(std::chrono::system_clock::time_point time) {
  auto second = std::chrono::floor<std::chrono::seconds>(time);
  auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time - second).count();
  std::time_t seconds = std::chrono::system_clock::to_time_t(second);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  size_t size = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  std::string timestamp(text, size);
  if (micros != 0) {
    std::snprintf(text, sizeof(text), ".%06d", static_cast<int>(micros));
    timestamp += text;
  }
  return timestamp + "Z";
}

std::string SystemPromptPart(std::string_view content, std::string_view timestamp) {
  std::string part;
  AppendMember("content", content, &part);
  AppendMember("timestamp", timestamp, &part);
  part += ",\"dynamic_ref\":null,\"part_kind\":\"system-prompt\"}";
  return part;
}

std::string UserPromptPart(std::string_view content, std::string_view timestamp) {
  std::string part;
  AppendMember("content", content, &part);
  AppendMember("timestamp", timestamp, &part);
  part += ",\"part_kind\":\"user-prompt\"}";
  return part;
}

std::string ToolReturnPart(std::string_view tool_name, std::string_view tool_call_id,
                           std::string_view content, std::string_view timestamp) {
  std::string part;
  AppendMember("tool_name", tool_name, &part);
  part += ",\"content\":";
  part += content;
  AppendMember("tool_call_id", tool_call_id, &part);
  part += ",\"tool_kind\":null,\"metadata\":null";
  AppendMember("timestamp", timestamp, &part);
  part += ",\"outcome\":\"success\",\"part_kind\":\"tool-return\"}";
  return part;
}

std::string RetryPromptPart(std::string_view tool_name, std::string_view tool_call_id,
                            std::string_view content, std::string_view timestamp) {
  std::string part;
  AppendMember("content", content, &part);
  if (tool_name.data() == nullptr) {
    part += ",\"tool_name\":null";
  } else {
    AppendMember("tool_name", tool_name, &part);
  }
  AppendMember("tool_call_id", tool_call_id, &part);
  AppendMember("timestamp", timestamp, &part);
  part += ",\"part_kind\":\"retry-prompt\"}";
  return part;
}

}  // namespace agx
