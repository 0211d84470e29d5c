#include "terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>

namespace cli {
namespace {

// A locale that nobody chose says nothing about the terminal, and terminals speak UTF-8 nowadays.
bool SpeaksUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    if (Environment(name).empty()) continue;
    const locale_t locale = newlocale(LC_CTYPE_MASK, "", nullptr);
    if (!locale) return true;
    const bool utf8 = std::string_view(nl_langinfo_l(CODESET, locale)) == "UTF-8";
    freelocale(locale);
    return utf8;
  }
  return true;
}

}  // namespace

int Terminal::Width() const {
  winsize size = {};
  if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  const auto columns = ParseInt(Environment("COLUMNS"));
  if (columns && *columns > 0 && *columns < 10000) return static_cast<int>(*columns);
  return is_terminal ? 80 : 0;
}

Result<Terminal> LookAtTerminal(const Arguments& arguments) {
  Terminal terminal;
  terminal.is_terminal = isatty(STDOUT_FILENO) == 1;
  terminal.utf8 = SpeaksUtf8();
  const std::string* chosen = arguments.Get("color");
  const std::string when = chosen ? *chosen : "auto";
  if (when == "always") {
    terminal.color = true;
  } else if (when == "auto") {
    const std::string type = Environment("TERM");
    terminal.color =
        terminal.is_terminal && Environment("NO_COLOR").empty() && type != "dumb" && !type.empty();
  } else if (when != "never") {
    return Result<Terminal>::Error("--color is to be auto, always or never, not \"" + when + "\"");
  }
  return terminal;
}

}  // namespace cli
