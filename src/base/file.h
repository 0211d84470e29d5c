// A file that several processes read and replace.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace agx {

// The path from the root on, so that it means the same file after a chdir. AGX_EINVAL, AGX_ESYSTEM.
Result<std::string> AbsolutePath(const char* path);

// Whether a file can be in that place, through symbolic links: AGX_ESYSTEM if its directory is none, or is not
// there.
Status CheckDirectoryOf(const std::string& path);

// What is in the file; *present is false if there is none. AGX_ETOOBIG: it has more than `most`
// bytes. AGX_ESYSTEM: also for what is no regular file.
Status ReadFile(const std::string& path, size_t most, std::string* text, bool* present);

// What a file holds, or null data if there is none.
using FileText = std::string_view;

// Puts the text in the place of `expected`, in one step for everybody who reads the file, on disk
// when it returns, and with the mode that the file has. Symbolic links are followed. If something
// else is there: *conflict, and nothing is changed. `again`: this was tried before and may have
// been done, so the text itself is as good as what is expected.
// Waits for others that are doing the same in that directory, for kFileLockWaitMs at most.
Status ReplaceFile(const std::string& path, FileText expected, std::string_view text, bool again,
                   bool* conflict);

inline constexpr int kFileLockWaitMs = 10000;

}  // namespace agx
