#include "json.h"

#include <cmath>

#include "text.h"

namespace cli {
namespace {

constexpr std::string_view kBlanks = " \t\n\r";

// cJSON ends a string at an escaped NUL, which would hide what comes after it.
std::string WithoutEscapedNuls(std::string_view json) {
  std::string out(json);
  for (size_t i = out.find('\\'); i != out.npos; i = out.find('\\', i + 2)) {
    if (out.compare(i + 1, 5, "u0000") == 0) out.replace(i + 2, 4, "fffd");
  }
  return out;
}

void SkipBlanks(std::string_view* text) {
  const size_t blanks = text->find_first_not_of(kBlanks);
  text->remove_prefix(blanks == text->npos ? text->size() : blanks);
}

// The length of the string that the text begins with, quotes included.
size_t StringLength(std::string_view text) {
  size_t i = 1;
  while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
  return i < text.size() ? i + 1 : text.size();
}

size_t ValueLength(std::string_view text) {
  size_t depth = 0;
  size_t i = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '"') {
      i += StringLength(text.substr(i));
      if (depth == 0) return i;
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') {
      if (depth == 0) return i;
      if (--depth == 0) return i + 1;
    }
    if (depth == 0 && (c == ',' || kBlanks.find(c) != kBlanks.npos)) return i;
    ++i;
  }
  return i;
}

void AppendJsonEscape(char32_t code, std::string* out) {
  *out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) *out += "0123456789abcdef"[code >> shift & 0xF];
}

}  // namespace

Json Json::Parse(std::string_view text) {
  const std::string copy = WithoutEscapedNuls(text);
  Json json;
  // The NUL counts, so that something after the value is an error.
  json.root_.reset(cJSON_ParseWithLengthOpts(copy.c_str(), copy.size() + 1, nullptr, 1));
  return json;
}

std::optional<std::string_view> Json::String(const char* name) const {
  const char* text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root_.get(), name));
  if (!text) return std::nullopt;
  return text;
}

std::optional<long long> Json::Integer(const char* name) const {
  const cJSON* item = cJSON_GetObjectItemCaseSensitive(root_.get(), name);
  if (cJSON_IsNumber(item) == 0) return std::nullopt;
  const double value = item->valuedouble;
  if (value != std::floor(value) || std::fabs(value) > 9e15) return std::nullopt;
  return static_cast<long long>(value);
}

Members::Members(std::string_view object) : rest_(object) {
  SkipBlanks(&rest_);
  if (!rest_.starts_with('{')) {
    rest_ = {};
  } else {
    rest_.remove_prefix(1);
  }
}

bool Members::Next(std::string_view* key, std::string_view* value) {
  SkipBlanks(&rest_);
  if (rest_.starts_with(',')) rest_.remove_prefix(1);
  SkipBlanks(&rest_);
  if (!rest_.starts_with('"')) return false;
  const size_t key_length = StringLength(rest_);
  if (key_length < 2) return false;
  *key = rest_.substr(1, key_length - 2);
  rest_.remove_prefix(key_length);
  SkipBlanks(&rest_);
  if (!rest_.starts_with(':')) return false;
  rest_.remove_prefix(1);
  SkipBlanks(&rest_);
  const size_t value_length = ValueLength(rest_);
  *value = rest_.substr(0, value_length);
  rest_.remove_prefix(value_length);
  return value_length > 0;
}

std::optional<std::string_view> RawMember(std::string_view object, std::string_view name) {
  Members members(object);
  std::string_view key;
  std::string_view value;
  while (members.Next(&key, &value)) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string Compact(std::string_view json) {
  std::string out;
  while (!json.empty()) {
    if (json[0] == '"') {
      const size_t length = StringLength(json);
      out += Visible(json.substr(0, length));
      json.remove_prefix(length);
      continue;
    }
    if (kBlanks.find(json[0]) == kBlanks.npos) {
      const Character character = FirstCharacter(json);
      AppendVisible(character, json, &out);
      json.remove_prefix(character.size);
    } else {
      json.remove_prefix(1);
    }
  }
  return out;
}

std::string EscapedForTerminal(std::string_view json) {
  std::string out;
  while (!json.empty()) {
    const Character character = FirstCharacter(json);
    if (!character.valid) {
      out += "\uFFFD";
    } else if (IsControl(character.code) && character.code != '\t') {
      AppendJsonEscape(character.code, &out);
    } else {
      out += json.substr(0, character.size);  // a tab can only be a blank between tokens
    }
    json.remove_prefix(character.size);
  }
  return out;
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    if (!character.valid) {
      out += "\uFFFD";
    } else if (IsControl(character.code)) {
      AppendJsonEscape(character.code, &out);
    } else {
      if (character.code == '"' || character.code == '\\') out += '\\';
      out += text.substr(0, character.size);
    }
    text.remove_prefix(character.size);
  }
  return out + '"';
}

}  // namespace cli
