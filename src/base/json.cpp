#include "base/json.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace agx {
namespace {

using Byte = unsigned char;

const Byte* BytesOf(std::string_view text) { return reinterpret_cast<const Byte*>(text.data()); }

// Block: as many bytes as are searched at a time, and a mask that marks those that were looked for.
#if defined(__SSE2__)

struct Block {
  static constexpr ptrdiff_t kSize = 16;
  using Mask = unsigned;

  static __m128i Load(const Byte* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  // '"', '\\', control characters and what is not ASCII; as signed bytes both are less than ' '.
  static Mask Special(const Byte* p) {
    __m128i bytes = Load(p);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));
    return static_cast<Mask>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other)));
  }
  static Mask NotAscii(const Byte* p) { return static_cast<Mask>(_mm_movemask_epi8(Load(p))); }

  static Mask Skip(Mask mask, ptrdiff_t bytes) { return mask >> bytes; }
  static ptrdiff_t First(Mask mask) { return std::countr_zero(mask); }
};

#else

struct Block {
  static constexpr ptrdiff_t kSize = 8;
  using Mask = uint64_t;

  static constexpr uint64_t kOnes = 0x0101010101010101;
  static constexpr uint64_t kHigh = kOnes * 0x80;

  // The first byte in memory becomes the lowest.
  static uint64_t Load(const Byte* p) {
    uint64_t word;
    std::memcpy(&word, p, sizeof(word));
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    return word;
  }
  // Marks exactly the ASCII bytes below the limit: no carry leaves its byte.
  static uint64_t Below(uint64_t word, uint64_t limit) {
    return ~((word & ~kHigh) + kOnes * (0x80 - limit)) & ~word & kHigh;
  }
  static Mask Special(const Byte* p) {
    uint64_t word = Load(p);
    return Below(word ^ (kOnes * '"'), 1) | Below(word ^ (kOnes * '\\'), 1) | Below(word, ' ') |
           (word & kHigh);
  }
  static Mask NotAscii(const Byte* p) { return Load(p) & kHigh; }

  static Mask Skip(Mask mask, ptrdiff_t bytes) { return mask >> (8 * bytes); }
  static ptrdiff_t First(Mask mask) { return std::countr_zero(mask) / 8; }
};

#endif

// The first byte from p on that Marks marks, or end. Nothing outside [begin, end) is read: the last
// bytes of a text that begins at `begin` are read together with those before them.
template <Block::Mask (*Marks)(const Byte*)>
inline const Byte* Find(const Byte* begin, const Byte* p, const Byte* end) {
  for (; end - p >= Block::kSize; p += Block::kSize) {
    if (Block::Mask mask = Marks(p)) return p + Block::First(mask);
  }
  ptrdiff_t rest = end - p;
  if (rest == 0) return end;
  Block::Mask mask;
  if (end - begin >= Block::kSize) {
    mask = Block::Skip(Marks(end - Block::kSize), Block::kSize - rest);
  } else {
    Byte padded[Block::kSize] = {};
    std::memcpy(padded, p, static_cast<size_t>(rest));
    mask = Marks(padded);
  }
  return mask ? p + std::min(rest, Block::First(mask)) : end;
}

struct Utf8 {
  bool valid;
  unsigned length;  // if not valid: of what could have begun a character, at least 1
};

// The character of two bytes or more at p < end. Table 3-7 of the Unicode standard.
inline Utf8 ReadUtf8(const Byte* p, const Byte* end) {
  Byte lead = *p;
  // Most characters of three bytes, at one glance.
  if (end - p >= 3 && (lead & 0xF0) == 0xE0 && lead != 0xE0 && lead != 0xED &&
      ((p[1] ^ 0x80) | (p[2] ^ 0x80)) < 0x40) {
    return {true, 3};
  }
  if (lead < 0xC2 || lead > 0xF4) return {false, 1};
  unsigned length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  Byte low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  Byte high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (unsigned i = 1; i < length; ++i) {
    if (p + i == end || p[i] < low || p[i] > high) return {false, i};
    low = 0x80;
    high = 0xBF;
  }
  return {true, length};
}

// The code point of a valid character of two bytes or more.
uint32_t CodePoint(const Byte* p, unsigned length) {
  uint32_t code = p[0] & (0xFFu >> (length + 1));
  for (unsigned i = 1; i < length; ++i) code = code << 6 | (p[i] & 0x3Fu);
  return code;
}

inline bool IsDigit(Byte c) { return static_cast<Byte>(c - '0') < 10; }

inline bool IsHex(Byte c) { return IsDigit(c) || static_cast<Byte>((c | 0x20) - 'a') < 6; }

class Validator {
 public:
  Validator(std::string_view text, size_t max_depth, bool python = false)
      : python_(python),
        begin_(BytesOf(text)),
        p_(begin_),
        end_(begin_ + text.size()),
        max_depth_(std::min(max_depth, kJsonDepthLimit)) {}

  bool Run() {
    SkipSpace();
    while (Value()) {
      bool done = false;
      if (!AfterValue(&done)) return false;
      if (done) return true;
    }
    return false;
  }

  JsonError error() const { return {static_cast<size_t>(p_ - begin_), reason_}; }

 private:
  bool Fail(const char* reason) {
    reason_ = reason;
    return false;
  }
  bool Ended() { return Fail("it ends too early"); }
  bool FailHere(const char* reason) { return p_ == end_ ? Ended() : Fail(reason); }

  void SkipSpace() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }
  bool Take(Byte c) {
    if (p_ == end_ || *p_ != c) return false;
    ++p_;
    return true;
  }

  // Moves over a scalar, an empty container, or the beginnings of containers down to one of these.
  bool Value() {
    for (;;) {
      if (p_ == end_) return Ended();
      switch (*p_) {
        case '"':
          return String();
        case '{':
          if (!Push(true)) return false;
          if (Take('}')) return Pop();
          if (!Key()) return false;
          break;
        case '[':
          if (!Push(false)) return false;
          if (Take(']')) return Pop();
          break;
        case 't':
          return Literal("true");
        case 'f':
          return Literal("false");
        case 'n':
          return Literal("null");
        default:
          return Number();
      }
    }
  }

  // Closes what ends after a value, and moves over the comma to the next one. *done: the text
  // ended.
  bool AfterValue(bool* done) {
    for (;;) {
      SkipSpace();
      if (depth_ == 0) {
        *done = true;
        return p_ == end_ || Fail("there is something after the value");
      }
      if (Take(',')) {
        SkipSpace();
        return !object_ || Key();
      }
      if (!Take(object_ ? '}' : ']')) {
        return FailHere(object_ ? "a comma or '}' is missing" : "a comma or ']' is missing");
      }
      Pop();
    }
  }

  // The bit stack holds the kinds of the containers around the innermost, whose kind is object_.
  bool Push(bool object) {
    if (depth_ >= max_depth_) return Fail("it is nested too deep");
    uint64_t& word = kinds_[depth_ / 64];
    uint64_t bit = uint64_t{1} << (depth_ % 64);
    if (bit == 1) word = 0;
    word = object_ ? word | bit : word & ~bit;
    ++depth_;
    object_ = object;
    ++p_;
    SkipSpace();
    return true;
  }
  bool Pop() {
    --depth_;
    object_ = (kinds_[depth_ / 64] >> (depth_ % 64) & 1) != 0;
    return true;
  }

  // A name and its colon, up to the value.
  bool Key() {
    if (p_ == end_ || *p_ != '"') return FailHere("a name in quotes is missing");
    if (!String()) return false;
    SkipSpace();
    if (!Take(':')) return FailHere("a colon is missing");
    SkipSpace();
    return true;
  }

  // Inlined by force: it is most of the work, and short texts are most of the texts.
  [[gnu::always_inline]] bool String() {
    ++p_;
    for (;;) {
      p_ = Find<Block::Special>(begin_, p_, end_);
      if (p_ == end_) return Ended();
      if (*p_ == '"') {
        ++p_;
        return true;
      }
      if (*p_ == '\\') {
        if (!Escape()) return false;
      } else if (*p_ < ' ') {
        return Fail("a control character is not escaped");
      } else if (!Utf8Run()) {
        return false;
      }
    }
  }

  // As many characters beyond ASCII as follow one another.
  bool Utf8Run() {
    do {
      Utf8 character = ReadUtf8(p_, end_);
      if (!character.valid) return Fail("it is not UTF-8");
      p_ += character.length;
    } while (p_ != end_ && *p_ >= 0x80);
    return true;
  }

  bool Escape() {
    ++p_;
    if (p_ == end_) return Ended();
    switch (*p_) {
      case '"':
      case '\\':
      case '/':
      case 'b':
      case 'f':
      case 'n':
      case 'r':
      case 't':
        ++p_;
        return true;
      case 'u':
        ++p_;
        for (int i = 0; i < 4; ++i, ++p_) {
          if (p_ == end_ || !IsHex(*p_)) return FailHere("\\u needs four hexadecimal digits");
        }
        return true;
      default:
        return Fail("there is no such escape");
    }
  }

  bool Literal(std::string_view word) {
    for (char c : word) {
      if (!Take(static_cast<Byte>(c))) return FailHere("a value is missing");
    }
    return true;
  }

  bool Number() {
    bool negative = Take('-');
    if (python_ && p_ != end_ && (*p_ == 'I' || (*p_ == 'N' && !negative))) {
      return Literal(*p_ == 'I' ? "Infinity" : "NaN");
    }
    if (p_ == end_ || !IsDigit(*p_)) {
      return FailHere(negative ? "a digit is missing" : "a value is missing");
    }
    if (!Take('0')) SkipDigits();
    if (p_ != end_ && IsDigit(*p_)) return Fail("a number begins with 0");
    if (Take('.') && !Digits()) return false;
    if (p_ != end_ && (*p_ | 0x20) == 'e') {
      ++p_;
      if (!Take('+')) Take('-');
      return Digits();
    }
    return true;
  }
  bool Digits() {
    if (p_ == end_ || !IsDigit(*p_)) return FailHere("a digit is missing");
    SkipDigits();
    return true;
  }
  void SkipDigits() {
    while (p_ != end_ && IsDigit(*p_)) ++p_;
  }

  const bool python_;
  const Byte* begin_;
  const Byte* p_;
  const Byte* end_;
  size_t max_depth_;
  size_t depth_ = 0;
  bool object_ = false;
  const char* reason_ = "";
  uint64_t kinds_[kJsonDepthLimit / 64];  // each word is cleared when Push comes to it
};

void AppendUnicodeEscape(uint32_t unit, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  char text[6] = {'\\', 'u'};
  for (size_t i = 0; i < 4; ++i) text[2 + i] = kHex[unit >> (12 - 4 * i) & 0xF];
  out->append(text, sizeof(text));
}

// An ASCII character that needs an escape.
void AppendEscape(Byte c, std::string* out) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  size_t at = kShort.find(static_cast<char>(c));
  if (at == std::string_view::npos) return AppendUnicodeEscape(c, out);
  out->push_back('\\');
  out->push_back(kLetters[at]);
}

void AppendCodePointEscape(uint32_t code, std::string* out) {
  if (code < 0x10000) return AppendUnicodeEscape(code, out);
  AppendUnicodeEscape(0xD800 + ((code - 0x10000) >> 10), out);
  AppendUnicodeEscape(0xDC00 + ((code - 0x10000) & 0x3FF), out);
}

void AppendCharacter(const Byte* p, Utf8 character, bool ascii, std::string* out) {
  if (ascii) {
    AppendCodePointEscape(character.valid ? CodePoint(p, character.length) : 0xFFFD, out);
  } else if (character.valid) {
    out->append(reinterpret_cast<const char*>(p), character.length);
  } else {
    out->append("\xEF\xBF\xBD");
  }
}

// Neither form lets DEL through: it is a control character for whoever prints the string.
void AppendString(std::string_view text, bool ascii, std::string* out) {
  const Byte* begin = BytesOf(text);
  const Byte* end = begin + text.size();
  out->push_back('"');
  for (const Byte* p = begin; p != end;) {
    const Byte* special = Find<Block::Special>(begin, p, end);
    const Byte* stop = std::find(p, special, Byte{0x7F});
    out->append(reinterpret_cast<const char*>(p), static_cast<size_t>(stop - p));
    p = stop;
    if (p == end) break;
    if (*p < 0x80) {
      AppendEscape(*p++, out);
      continue;
    }
    Utf8 character = ReadUtf8(p, end);
    AppendCharacter(p, character, ascii, out);
    p += character.length;
  }
  out->push_back('"');
}

}  // namespace

bool ValidateJson(std::string_view text, size_t max_depth, JsonError* error) {
  Validator validator(text, max_depth);
  if (validator.Run()) return true;
  if (error != nullptr) *error = validator.error();
  return false;
}

bool ValidatePythonJson(std::string_view text, size_t max_depth) {
  return Validator(text, max_depth, true).Run();
}

bool ValidateUtf8(std::string_view text) {
  const Byte* begin = BytesOf(text);
  const Byte* end = begin + text.size();
  for (const Byte* p = begin;;) {
    p = Find<Block::NotAscii>(begin, p, end);
    while (p != end && *p >= 0x80) {
      Utf8 character = ReadUtf8(p, end);
      if (!character.valid) return false;
      p += character.length;
    }
    if (p == end) return true;
  }
}

void AppendRepaired(std::string_view text, std::string* out) {
  const Byte* begin = BytesOf(text);
  const Byte* end = begin + text.size();
  for (const Byte* p = begin; p != end;) {
    const Byte* special = Find<Block::NotAscii>(begin, p, end);
    out->append(reinterpret_cast<const char*>(p), static_cast<size_t>(special - p));
    for (p = special; p != end && *p >= 0x80;) {
      Utf8 character = ReadUtf8(p, end);
      AppendCharacter(p, character, false, out);
      p += character.length;
    }
  }
}

void AppendJsonString(std::string_view text, std::string* out) { AppendString(text, false, out); }

size_t JsonStringSize(std::string_view text) {
  size_t size = text.size() + 2;
  bool ascii = true;
  for (char c : text) {
    auto byte = static_cast<Byte>(c);
    bool brief = c == '"' || c == '\\' || (byte >= 8 && byte <= 13 && byte != 11);
    size += brief ? 1 : byte < 0x20 || byte == 0x7F ? 5 : 0;
    ascii &= byte < 0x80;
  }
  return ascii || ValidateUtf8(text) ? size : size + 2 * text.size();
}

void AppendJsonStringAscii(std::string_view text, std::string* out) {
  AppendString(text, true, out);
}

void AppendJsonOneLine(std::string_view json, std::string* out) {
  size_t start = out->size();
  out->append(json);
  // Within its strings valid JSON has no line breaks.
  auto is_break = [](char c) { return c == '\n' || c == '\r'; };
  std::replace_if(out->begin() + static_cast<ptrdiff_t>(start), out->end(), is_break, ' ');
}

void AppendJsonCompact(std::string_view json, std::string* out) {
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (in_string && c == '\\') {
      *out += c;
      c = json[++i];
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
      continue;
    }
    *out += c;
  }
}

}  // namespace agx
