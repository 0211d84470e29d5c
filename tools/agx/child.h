// A command that is run for what this one finds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cli {

// Whether it names a file that can be run, by its path or on the PATH.
bool IsProgram(const std::string& name);

struct ChildEnd {
  std::string failure;  // empty: it succeeded
  int signal = 0;       // of which it died, or says that it did
};

// Runs a command with the text as its standard input, $AGX_ATTEMPT in its environment, and waits for
// its end.
ChildEnd RunChild(const std::vector<std::string>& command, const std::string& input,
                  int64_t attempt);

}  // namespace cli
