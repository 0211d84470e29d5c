#include "text.h"

#include <clocale>
#include <cstdint>
#include <cwchar>

namespace cli {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\v\f";

// The widths of characters do not depend on the user's locale, and wcwidth's do.
class WidthLocale {
 public:
  WidthLocale() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {}
  ~WidthLocale() {
    if (locale_) freelocale(locale_);
  }
  WidthLocale(const WidthLocale&) = delete;
  WidthLocale& operator=(const WidthLocale&) = delete;

  int Width(wchar_t character) const {
    if (!locale_) return 1;
    const locale_t before = uselocale(locale_);
    const int width = wcwidth(character);
    uselocale(before);
    return width < 0 ? 1 : width;
  }

 private:
  locale_t locale_;
};

int ContinuationBytes(unsigned char lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  if (lead >= 0xF0 && lead <= 0xF4) return 3;
  return -1;
}

// The second byte is what rules out overlong forms, surrogates and numbers past the last.
bool SecondByteFits(unsigned char lead, unsigned char second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

void AppendHex(std::string_view prefix, int digits, uint32_t value, std::string* out) {
  *out += prefix;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    *out += "0123456789abcdef"[value >> shift & 0xF];
  }
}

}  // namespace

Character FirstCharacter(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, false};
  const int more = ContinuationBytes(lead);
  if (more < 0) return {lead, 1, false, false};
  char32_t code = lead & (0x3FU >> more);
  for (int i = 1; i <= more; ++i) {
    const auto at = static_cast<size_t>(i);
    if (at == text.size()) return {lead, 1, false, true};
    const bool fits = i == 1 ? SecondByteFits(lead, byte(at)) : (byte(at) & 0xC0) == 0x80;
    if (!fits) return {lead, 1, false, false};
    code = code << 6 | (byte(at) & 0x3FU);
  }
  return {code, static_cast<size_t>(more) + 1, true, false};
}

int Columns(char32_t code) {
  static const WidthLocale widths;
  if (code >= 0x20 && code < 0x7F) return 1;
  return widths.Width(static_cast<wchar_t>(code));
}

int Columns(std::string_view visible) {
  int columns = 0;
  while (!visible.empty()) {
    const Character character = FirstCharacter(visible);
    columns += character.valid ? Columns(character.code) : 1;
    visible.remove_prefix(character.size);
  }
  return columns;
}

bool IsControl(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) ||  // C0, DEL, C1
         code == 0x2028 || code == 0x2029 ||               // line and paragraph separators
         (code >= 0x202A && code <= 0x202E) ||             // embeddings and overrides of direction
         (code >= 0x2066 && code <= 0x2069) ||             // isolates
         (code >= 0xFFF9 && code <= 0xFFFB);               // interlinear annotations
}

void AppendVisible(const Character& character, std::string_view bytes, std::string* out) {
  if (!character.valid) {
    AppendHex("\\x", 2, static_cast<unsigned char>(bytes[0]), out);
  } else if (!IsControl(character.code)) {
    out->append(bytes.substr(0, character.size));
  } else if (character.code == '\n') {
    *out += "\\n";
  } else if (character.code == '\r') {
    *out += "\\r";
  } else if (character.code == '\t') {
    *out += "\\t";
  } else {
    AppendHex("\\u", 4, character.code, out);  // none of them needs more digits
  }
}

std::string Visible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Character character = FirstCharacter(text);
    AppendVisible(character, text, &out);
    text.remove_prefix(character.size);
  }
  return out;
}

std::string Folded(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t blanks = text.find_first_not_of(kBlanks);
    if (blanks != 0) {
      if (!out.empty() && blanks != text.npos) out += ' ';
      text.remove_prefix(blanks == text.npos ? text.size() : blanks);
      continue;
    }
    const Character character = FirstCharacter(text);
    AppendVisible(character, text, &out);
    text.remove_prefix(character.size);
  }
  return out;
}

std::string Truncated(std::string_view visible, int columns, bool utf8) {
  if (columns <= 0) return std::string(visible);
  const std::string_view ellipsis = utf8 ? "\u2026" : "...";
  const int room = columns - Columns(ellipsis);
  int used = 0;
  size_t fits = 0;  // beside the ellipsis
  for (size_t end = 0; end < visible.size();) {
    const Character character = FirstCharacter(visible.substr(end));
    used += character.valid ? Columns(character.code) : 1;
    end += character.size;
    if (used <= room) fits = end;
    if (used > columns) {
      return std::string(visible.substr(0, fits)) + std::string(room < 0 ? "" : ellipsis);
    }
  }
  return std::string(visible);
}

}  // namespace cli
