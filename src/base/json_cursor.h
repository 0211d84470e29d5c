// Reading JSON in one pass, where JsonValue would look at what is nested once for each level: each
// value is entered, taken or skipped once. For what arrives a hundred thousand times.
//
// Only for text that ValidateJson has accepted.
#pragma once

#include <bit>
#include <cstddef>
#include <string>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/json_value.h"

namespace agx {

class JsonCursor {
 public:
  // Stands at the value.
  explicit JsonCursor(JsonValue value) : p_(value.text().data()), end_(p_ + value.text().size()) {}

  // Calls `member` with the name of each member of an object: it stands at the member's value, and
  // has to move over it. Of anything else no members. Moves over the value.
  template <class Member>
  void Members(Member member) {
    if (p_ == end_ || *p_ != '{') return Skip();
    ++p_;
    SkipSpace();
    if (*p_ == '}') return Close();
    for (;; SkipSpace()) {
      std::string_view name = Name();
      SkipSpace();
      ++p_;
      SkipSpace();
      member(name);
      SkipSpace();
      if (*p_++ == '}') return;
    }
  }

  // The same with the elements of an array.
  template <class Element>
  void Elements(Element element) {
    if (p_ == end_ || *p_ != '[') return Skip();
    ++p_;
    SkipSpace();
    if (*p_ == ']') return Close();
    for (;; SkipSpace()) {
      element();
      SkipSpace();
      if (*p_++ == ']') return;
    }
  }

  // Moves over the value.
  JsonValue Take() {
    const char* begin = p_;
    Skip();
    return JsonValue({begin, static_cast<size_t>(p_ - begin)});
  }
  void Skip() {
    if (p_ == end_) return;
    switch (*p_) {
      case '"':
        return SkipString();
      case '{':
      case '[':
        return SkipNested();
      default:
        while (p_ != end_ && *p_ != ',' && *p_ != '}' && *p_ != ']' && !IsSpace(*p_)) ++p_;
    }
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  void SkipSpace() {
    while (p_ != end_ && IsSpace(*p_)) ++p_;
  }
  void Close() { ++p_; }

  // True if nothing in it is escaped.
  bool PlainString() {
    bool plain = true;
    for (++p_;; p_ += 2) {
      SkipToSpecial();
      if (*p_ == '"') break;
      plain = false;
    }
    ++p_;
    return plain;
  }
  // To the next quote or backslash, which there is.
  void SkipToSpecial() {
#if defined(__SSE2__)
    for (; end_ - p_ >= 16; p_ += 16) {
      __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p_));
      __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
      __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
      auto mask = static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(quote, slash)));
      if (mask != 0) {
        p_ += std::countr_zero(mask);
        return;
      }
    }
#endif
    while (*p_ != '"' && *p_ != '\\') ++p_;
  }
  void SkipString() { PlainString(); }
  void SkipNested() {
    size_t depth = 0;
    for (;;) {
      if (*p_ == '"') {
        SkipString();
        continue;
      }
      if (*p_ == '{' || *p_ == '[') ++depth;
      bool closes = *p_ == '}' || *p_ == ']';
      ++p_;
      if (closes && --depth == 0) return;
    }
  }
  std::string_view Name() {
    const char* begin = p_;
    if (PlainString()) return {begin + 1, static_cast<size_t>(p_ - begin) - 2};
    name_.clear();
    JsonValue({begin, static_cast<size_t>(p_ - begin)}).AppendString(&name_);
    return name_;
  }

  const char* p_;
  const char* const end_;
  std::string name_;
};

}  // namespace agx
