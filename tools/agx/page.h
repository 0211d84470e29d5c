// Lines on a terminal: folded to one, or growing as their text arrives.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace cli {

enum class Look { kPlain, kDim, kStrong, kTool, kError, kNotice };

// What a line begins with; one column wide.
struct Mark {
  std::string_view utf8;
  std::string_view ascii;
};

// What is appended to *out never leaves a colour turned on, so that output may end anywhere.
class Page {
 public:
  struct Style {
    bool color = false;
    bool utf8 = true;
    // Columns at the moment; 0: lines have no end.
    std::function<int()> width = [] { return 0; };
  };

  explicit Page(Style style) : style_(std::move(style)) {}

  // One line. The text must be visible already (text.h); what does not fit is left out.
  void Line(const Mark& mark, Look look, std::string_view visible, std::string* out);

  // Begins a line that Grow adds to.
  void Open(const Mark& mark, Look look, std::string* out);
  // The text comes as it is. It may end in the middle of a character or of a line end, which the
  // next text goes on with. Words that do not fit go on the next line.
  void Grow(std::string_view text, std::string* out);
  // Ends the line that grows, if there is one.
  void Close(std::string* out);
  bool open() const { return open_; }

 private:
  void Paint(Look look, std::string_view text, std::string* out) const;
  // Where a line that grows has to wrap; 0: nowhere.
  int Usable() const;
  size_t TakeLineEnd(std::string_view text, std::string* out);
  size_t TakeWord(std::string_view text, int usable, std::string* out);
  void WriteWord(std::string_view word, int usable, std::string* out);
  void WriteLineEnds(std::string* out);
  void Wrap(std::string* out);

  Style style_;
  bool open_ = false;
  Look look_ = Look::kPlain;
  int column_ = 0;
  bool empty_ = true;  // nothing has been written since Open
  int line_ends_ = 0;  // read, and written once something follows them
  std::string cut_;    // what Grow's last text ended in the middle of
};

}  // namespace cli
