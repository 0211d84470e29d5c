#include "model/decoder.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/json.h"

namespace agx {
namespace {

constexpr size_t kErrorTextMax = 4000;

// Of an error: its message, and its kind if that says more.
std::string Describe(JsonValue error) {
  JsonValue kind;
  JsonValue text;
  for (JsonMembers member(error); member.Next();) {
    JsonValue value = member.value();
    if (!IsFilled(value)) continue;
    if (member.name().Is("message")) text = value;
    // Of an event that is the error, the type says no more than that.
    if (member.name().Is("type") && !value.Is("error")) kind = value;
    if (member.name().Is("code") && !kind) kind = value;
  }
  if (!text) return std::string(error.text());
  std::string described = text.String();
  if (kind) described += " (" + kind.String() + ")";
  return described;
}

int64_t Count(JsonValue value) { return std::max<int64_t>(0, value.Integer().value_or(0)); }

}  // namespace

std::string_view TextOf(JsonValue value, std::string* scratch) {
  if (!value.is_string()) return {};
  std::string_view raw = value.text().substr(1, value.text().size() - 2);
  if (raw.empty() || std::memchr(raw.data(), '\\', raw.size()) == nullptr) return raw;
  scratch->clear();
  value.AppendString(scratch);
  return *scratch;
}

int BeginText(std::string_view content, Response* response) {
  int part = response->Begin(AGX_PART_TEXT, content);
  if (!response->answered()) response->Answer();
  return part;
}

Status GrowIfOpen(int part, std::string_view delta, Response* response) {
  if (!response->IsOpen(part)) return {};
  return response->Grow(part, delta);
}

Status CheckSize(size_t bytes) {
  if (bytes <= AGX_BODY_MAX) return {};
  return {AGX_ETOOBIG, Cat("the model's response has more than ", AGX_BODY_MAX, " bytes")};
}

ModelUsage OpenAiUsage(JsonValue usage) {
  ModelUsage counts;
  for (JsonMembers member(usage); member.Next();) {
    JsonValue name = member.name();
    if (name.Is("prompt_tokens") || name.Is("input_tokens")) {
      counts.input_tokens = Count(member.value());
    } else if (name.Is("completion_tokens") || name.Is("output_tokens")) {
      counts.output_tokens = Count(member.value());
    } else if (name.Is("prompt_tokens_details") || name.Is("input_tokens_details")) {
      counts.cache_read_tokens = Count(member.value()["cached_tokens"]);
    } else if (name.Is("completion_tokens_details") || name.Is("output_tokens_details")) {
      counts.reasoning_tokens = Count(member.value()["reasoning_tokens"]);
    }
  }
  return counts;
}

std::string ErrorText(JsonValue body) {
  if (body.is_array()) {
    JsonElements element(body);
    return element.Next() && element.value().is_object() ? ErrorText(element.value()) : "";
  }
  if (!body.is_object()) return {};
  JsonValue error = body["error"];
  if (error.is_object()) return Describe(error);
  if (IsFilled(error)) return error.String();
  if (IsFilled(body["message"])) return Describe(body);
  JsonValue detail = body["detail"];
  if (IsFilled(detail)) return detail.String();
  return std::string(detail.is_object() || detail.is_array() ? detail.text() : "");
}

Status ModelError(std::string_view text) {
  return {AGX_EMODEL, Cat("the model's server reports: ", Excerpt(text, kErrorTextMax))};
}

std::string Excerpt(std::string_view text, size_t max) {
  bool cut = text.size() > max;
  if (cut) {
    // Not within a character.
    while (max > 0 && (static_cast<unsigned char>(text[max]) & 0xC0) == 0x80) --max;
    text = text.substr(0, max);
  }
  std::string line;
  AppendRepaired(text, &line);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') c = ' ';
  }
  while (line.ends_with(' ')) line.pop_back();
  if (cut) line += "…";
  return line;
}

}  // namespace agx
