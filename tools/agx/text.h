// Text that came from somewhere else, made fit for a terminal. Nothing that can move a cursor,
// change a colour or turn the reading direction gets through as it is.
#pragma once

#include <string>
#include <string_view>

namespace cli {

// One character of UTF-8, or one byte that is none.
struct Character {
  char32_t code = 0;
  size_t size = 0;
  bool valid = false;
  bool cut = false;  // the text ends in the middle of it
};
// The first character of a text that is not empty.
Character FirstCharacter(std::string_view text);

// How many columns it takes on a terminal: 0, 1 or 2.
int Columns(char32_t code);
int Columns(std::string_view visible);

// Whether a terminal could take it for something other than a character to show.
bool IsControl(char32_t code);

// Appends the character, or if it is a control or not valid, an escape that shows it.
void AppendVisible(const Character& character, std::string_view bytes, std::string* out);

// The text on one line, controls and line ends among them as escapes.
std::string Visible(std::string_view text);

// The text on one line, each run of blanks and line ends as one blank, controls as escapes.
std::string Folded(std::string_view text);

// At most so many columns of visible text; an ellipsis says if something was left out.
// columns 0: all of it.
std::string Truncated(std::string_view visible, int columns, bool utf8);

}  // namespace cli
