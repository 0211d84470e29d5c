// ValidateJson against a second reading of RFC 8259: one function for each rule of its grammar,
// slow and recursive. What the library writes as JSON has to pass both.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/json.h"

namespace {

constexpr size_t kDepth = 100;

void Require(bool condition) {
  if (!condition) std::abort();
}

class Grammar {
 public:
  explicit Grammar(std::string_view text) : text_(text) {}

  bool Text() { return Space() && Value(kDepth) && Space() && text_.empty(); }
  bool Utf8() {
    while (!text_.empty()) {
      if (!Character()) return false;
    }
    return true;
  }

 private:
  bool Take(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }
  bool TakeAny(std::string_view set) {
    if (text_.empty() || set.find(text_[0]) == std::string_view::npos) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool Space() {
    while (TakeAny(" \t\n\r")) {
    }
    return true;
  }
  bool Value(size_t depth) {
    if (Take("null") || Take("true") || Take("false")) return true;
    if (text_.starts_with('"')) return String();
    if (text_.starts_with('[')) return depth > 0 && Array(depth - 1);
    if (text_.starts_with('{')) return depth > 0 && Object(depth - 1);
    return Number();
  }
  bool Array(size_t depth) {
    Take("[");
    Space();
    if (Take("]")) return true;
    do {
      Space();
      if (!Value(depth)) return false;
      Space();
    } while (Take(","));
    return Take("]");
  }
  bool Object(size_t depth) {
    Take("{");
    Space();
    if (Take("}")) return true;
    do {
      Space();
      if (!String() || !Space() || !Take(":") || !Space() || !Value(depth)) return false;
      Space();
    } while (Take(","));
    return Take("}");
  }
  bool Digits() {
    size_t count = 0;
    while (TakeAny("0123456789")) ++count;
    return count > 0;
  }
  bool Number() {
    Take("-");
    if (!Take("0") && (text_.starts_with('0') || !Digits())) return false;
    if (Take(".") && !Digits()) return false;
    if (!TakeAny("eE")) return true;
    TakeAny("+-");
    return Digits();
  }
  bool String() {
    if (!Take("\"")) return false;
    while (!Take("\"")) {
      if (text_.empty() || static_cast<unsigned char>(text_[0]) < 0x20) return false;
      if (Take("\\") ? !Escape() : !Character()) return false;
    }
    return true;
  }
  bool Escape() {
    if (TakeAny("\"\\/bfnrt")) return true;
    if (!Take("u")) return false;
    for (int i = 0; i < 4; ++i) {
      if (!TakeAny("0123456789abcdefABCDEF")) return false;
    }
    return true;
  }
  // Decodes, and looks at what came out.
  bool Character() {
    auto lead = static_cast<unsigned char>(text_[0]);
    size_t length = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 0 || lead >= 0xF8 || text_.size() < length) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; ++i) {
      auto byte = static_cast<unsigned char>(text_[i]);
      if ((byte & 0xC0) != 0x80) return false;
      code = code << 6 | (byte & 0x3F);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < kLeast[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
      return false;
    text_.remove_prefix(length);
    return true;
  }

  std::string_view text_;
};

void CheckWritten(const std::string& json) {
  Require(agx::ValidateJson(json, kDepth, nullptr));
  Require(Grammar(json).Text());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  agx::JsonError error;
  bool valid = agx::ValidateJson(text, kDepth, &error);
  Require(valid == Grammar(text).Text());
  Require(valid || (error.offset <= size && *error.reason != '\0'));
  Require(agx::ValidateUtf8(text) == Grammar(text).Utf8());

  std::string quoted, ascii, line;
  agx::AppendJsonString(text, &quoted);
  CheckWritten(quoted);
  agx::AppendJsonStringAscii(text, &ascii);
  CheckWritten(ascii);
  for (char c : ascii) Require(c >= ' ' && c <= '~');
  if (valid) {
    agx::AppendJsonOneLine(text, &line);
    CheckWritten(line);
    Require(line.find_first_of("\r\n") == std::string::npos);
  }
  return 0;
}
