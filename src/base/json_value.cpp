#include "base/json_value.h"

#include <charconv>
#include <cstring>

namespace agx {
namespace {

// The text is valid, so what is looked for is there: nothing here looks for its end.

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

const char* SkipSpace(const char* p) {
  while (IsSpace(*p)) ++p;
  return p;
}

// From a string's opening quote to behind its closing one.
const char* SkipString(const char* p) {
  for (++p;; p += 2) {
    while (*p != '"' && *p != '\\') ++p;
    if (*p == '"') return p + 1;
  }
}

const char* SkipNested(const char* p) {
  size_t depth = 0;
  for (;;) {
    switch (*p) {
      case '"':
        p = SkipString(p);
        continue;
      case '[':
      case '{':
        ++depth;
        break;
      case ']':
      case '}':
        if (--depth == 0) return p + 1;
        break;
      default:
        break;
    }
    ++p;
  }
}

// Of a value inside an array or object.
const char* SkipValue(const char* p) {
  if (*p == '"') return SkipString(p);
  if (*p == '[' || *p == '{') return SkipNested(p);
  while (*p != ',' && *p != ']' && *p != '}' && !IsSpace(*p)) ++p;
  return p;
}

uint32_t HexDigits(const char* p) {
  uint32_t value = 0;
  std::from_chars(p, p + 4, value, 16);
  return value;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xC0 | code >> 6);
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xE0 | code >> 12);
    *out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *out += static_cast<char>(0xF0 | code >> 18);
    *out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    *out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// From behind the u of \uXXXX to behind it, or behind the pair that it begins.
const char* AppendEscaped(const char* p, std::string* out) {
  uint32_t code = HexDigits(p);
  p += 4;
  if (code < 0xD800 || code > 0xDFFF) {
    AppendUtf8(code, out);
    return p;
  }
  if (code < 0xDC00 && p[0] == '\\' && p[1] == 'u') {
    uint32_t low = HexDigits(p + 2);
    if (low >= 0xDC00 && low <= 0xDFFF) {
      AppendUtf8(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), out);
      return p + 6;
    }
  }
  AppendUtf8(0xFFFD, out);
  return p;
}

char Unescaped(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

JsonValue ValueBetween(const char* begin, const char* end) {
  return JsonValue({begin, static_cast<size_t>(end - begin)});
}

}  // namespace

JsonValue::JsonValue(std::string_view valid_text) : text_(valid_text) {
  while (!text_.empty() && IsSpace(text_.front())) text_.remove_prefix(1);
  while (!text_.empty() && IsSpace(text_.back())) text_.remove_suffix(1);
}

JsonValue::Kind JsonValue::kind() const {
  if (text_.empty()) return Kind::kAbsent;
  switch (text_.front()) {
    case 'n':
      return Kind::kNull;
    case 't':
    case 'f':
      return Kind::kBool;
    case '"':
      return Kind::kString;
    case '[':
      return Kind::kArray;
    case '{':
      return Kind::kObject;
    default:
      return Kind::kNumber;
  }
}

void JsonValue::AppendString(std::string* out) const {
  if (!is_string()) return;
  const char* p = text_.data() + 1;
  const char* end = text_.data() + text_.size() - 1;
  while (p < end) {
    auto* slash = static_cast<const char*>(std::memchr(p, '\\', static_cast<size_t>(end - p)));
    if (slash == nullptr) slash = end;
    out->append(p, slash);
    if (slash == end) return;
    char escaped = slash[1];
    p = slash + 2;
    if (escaped == 'u') {
      p = AppendEscaped(p, out);
    } else {
      *out += Unescaped(escaped);
    }
  }
}

std::string JsonValue::String() const {
  std::string text;
  AppendString(&text);
  return text;
}

bool JsonValue::Is(std::string_view text) const {
  if (!is_string()) return false;
  std::string_view raw = text_.substr(1, text_.size() - 2);
  if (raw == text) return raw.find('\\') == raw.npos;
  return raw.find('\\') != raw.npos && Compare(text) == 0;
}

int JsonValue::Compare(std::string_view text) const {
  const char* p = text_.data() + 1;
  const char* end = text_.data() + text_.size() - 1;
  std::string decoded;  // one character: no allocation
  while (p < end) {
    std::string_view piece(p, static_cast<size_t>(end - p));
    piece = piece.substr(0, piece.find('\\'));
    p += piece.size();
    if (piece.empty()) {
      char escaped = p[1];
      p += 2;
      decoded.clear();
      if (escaped == 'u') {
        p = AppendEscaped(p, &decoded);
      } else {
        decoded += Unescaped(escaped);
      }
      piece = decoded;
    }
    if (int order = piece.compare(text.substr(0, piece.size())); order != 0) return order;
    text.remove_prefix(piece.size());
  }
  return text.empty() ? 0 : -1;
}

std::optional<int64_t> JsonValue::Integer() const {
  int64_t value = 0;
  const char* end = text_.data() + text_.size();
  auto [rest, error] = std::from_chars(text_.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

JsonValue JsonValue::operator[](std::string_view name) const {
  JsonValue found;
  for (JsonMembers member(*this); member.Next();) {
    if (member.name().Is(name)) found = member.value();
  }
  return found;
}

JsonElements::JsonElements(JsonValue array) {
  if (!array.is_array()) return;
  p_ = SkipSpace(array.text().data() + 1);
  if (*p_ == ']') p_ = nullptr;
}

bool JsonElements::Next() {
  if (p_ == nullptr) return false;
  const char* begin = p_;
  const char* end = SkipValue(begin);
  value_ = ValueBetween(begin, end);
  p_ = SkipSpace(end);
  p_ = *p_ == ',' ? SkipSpace(p_ + 1) : nullptr;
  return true;
}

JsonMembers::JsonMembers(JsonValue object) {
  if (!object.is_object()) return;
  p_ = SkipSpace(object.text().data() + 1);
  if (*p_ == '}') p_ = nullptr;
}

bool JsonMembers::Next() {
  if (p_ == nullptr) return false;
  const char* begin = p_;
  const char* end = SkipString(begin);
  name_ = ValueBetween(begin, end);
  begin = SkipSpace(SkipSpace(end) + 1);
  end = SkipValue(begin);
  value_ = ValueBetween(begin, end);
  p_ = SkipSpace(end);
  p_ = *p_ == ',' ? SkipSpace(p_ + 1) : nullptr;
  return true;
}

}  // namespace agx
