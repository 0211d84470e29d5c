#include "page.h"

#include <algorithm>

#include "text.h"

namespace cli {
namespace {

constexpr int kIndent = 2;
// Narrower than this, the terminal breaks lines better than we do.
constexpr int kNarrow = 20;
// Of a folded line where nothing limits it.
constexpr int kFoldedWidth = 100;

std::string_view Code(Look look) {
  switch (look) {
    case Look::kDim:
      return "\x1b[2m";
    case Look::kStrong:
      return "\x1b[1m";
    case Look::kTool:
      return "\x1b[36m";
    case Look::kError:
      return "\x1b[31m";
    case Look::kNotice:
      return "\x1b[35m";
    case Look::kPlain:
      break;
  }
  return "";
}

}  // namespace

void Page::Line(const Mark& mark, Look look, std::string_view visible, std::string* out) {
  Close(out);
  const int width = style_.width();
  // The last column stays free: what a terminal does with it differs.
  const int room = std::max(1, (width > 0 ? width : kFoldedWidth) - kIndent - 1);
  std::string line(style_.utf8 ? mark.utf8 : mark.ascii);
  line += ' ';
  line += Truncated(visible, room, style_.utf8);
  Paint(look, line, out);
  *out += '\n';
}

void Page::Open(const Mark& mark, Look look, std::string* out) {
  Close(out);
  open_ = true;
  look_ = look;
  column_ = kIndent;
  empty_ = true;
  Paint(look, std::string(style_.utf8 ? mark.utf8 : mark.ascii) + " ", out);
}

void Page::Grow(std::string_view text, std::string* out) {
  const std::string whole = cut_ + std::string(text);
  cut_.clear();
  const int usable = Usable();
  std::string grown;
  std::string_view rest = whole;
  while (!rest.empty()) {
    const bool line_end = rest[0] == '\n' || rest[0] == '\r';
    const size_t taken = line_end ? TakeLineEnd(rest, &grown) : TakeWord(rest, usable, &grown);
    if (taken == 0) break;
    rest.remove_prefix(taken);
  }
  cut_ = rest;
  Paint(look_, grown, out);
}

void Page::Close(std::string* out) {
  if (!open_) return;
  if (!cut_.empty() && cut_ != "\r") Paint(look_, Visible(cut_), out);
  cut_.clear();
  line_ends_ = 0;
  open_ = false;
  *out += '\n';
}

void Page::Paint(Look look, std::string_view text, std::string* out) const {
  const std::string_view code = style_.color ? Code(look) : "";
  if (text.empty()) return;
  *out += code;
  *out += text;
  if (!code.empty()) *out += "\x1b[0m";
}

int Page::Usable() const {
  const int width = style_.width();
  return width < kNarrow ? 0 : width - 1;
}

// Returns how much of the text it took; 0: what follows has to be seen first.
size_t Page::TakeLineEnd(std::string_view text, std::string* out) {
  size_t taken = 1;
  if (text[0] == '\r') {
    if (text.size() == 1) return 0;
    if (text[1] != '\n') {
      WriteLineEnds(out);
      WriteWord("\\r", 0, out);
      return 1;
    }
    taken = 2;
  }
  // Models like to begin with empty lines.
  if (!empty_) ++line_ends_;
  return taken;
}

// As TakeLineEnd. Takes a run of blanks, or of everything else.
size_t Page::TakeWord(std::string_view text, int usable, std::string* out) {
  WriteLineEnds(out);
  size_t taken = 0;
  if (text[0] == ' ' || text[0] == '\t') {
    const int blanks = text[0] == ' ' ? 1 : 4 - column_ % 4;
    if (usable > 0 && column_ + blanks >= usable) {
      Wrap(out);
    } else {
      WriteWord(std::string(static_cast<size_t>(blanks), ' '), 0, out);
    }
    return 1;
  }
  std::string word;
  while (taken < text.size() && std::string_view(" \t\n\r").find(text[taken]) == text.npos) {
    const Character character = FirstCharacter(text.substr(taken));
    if (character.cut) break;
    AppendVisible(character, text.substr(taken), &word);
    taken += character.size;
  }
  if (!word.empty()) WriteWord(word, usable, out);
  return taken;
}

void Page::WriteWord(std::string_view word, int usable, std::string* out) {
  empty_ = false;
  const int columns = Columns(word);
  if (usable == 0) {
    *out += word;
    column_ += columns;
    return;
  }
  if (column_ + columns > usable && column_ > kIndent) Wrap(out);
  while (!word.empty()) {
    const Character character = FirstCharacter(word);
    const int width = Columns(character.code);
    if (column_ + width > usable) Wrap(out);
    *out += word.substr(0, character.size);
    column_ += width;
    word.remove_prefix(character.size);
  }
}

void Page::WriteLineEnds(std::string* out) {
  if (line_ends_ == 0) return;
  out->append(static_cast<size_t>(line_ends_ - 1), '\n');
  line_ends_ = 0;
  Wrap(out);
}

void Page::Wrap(std::string* out) {
  *out += '\n';
  out->append(kIndent, ' ');
  column_ = kIndent;
}

}  // namespace cli
