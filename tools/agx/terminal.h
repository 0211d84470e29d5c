// What standard output is, and what it can show.
#pragma once

#include "args.h"
#include "util.h"

namespace cli {

struct Terminal {
  bool is_terminal = false;
  bool color = false;
  bool utf8 = true;

  // Columns, asked anew each time because a window can be resized; 0 where nothing limits a line.
  int Width() const;
};

// Follows --color, NO_COLOR, TERM and the locale.
Result<Terminal> LookAtTerminal(const Arguments& arguments);

}  // namespace cli
