// What every command needs: exit statuses, messages, standard output, and the words of the
// command line (sessions, durations) as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "agx.h"

namespace cli {

// Scripts rely on these; docs/agx.1 describes them.
enum ExitStatus {
  kDone = 0,
  kNo = 1,
  kUsage = 2,
  kUnreachable = 3,
  kFailed = 4,
  kBusy = 5,
  kUncertain = 6,
  kSilent = 7,
  kGone = 8,
  kGap = 9,
  kCanceled = 10,
  kTakenOver = 11,
  kModelFailed = 12,
  kSignal = 128,  // plus the signal's number
};

// A value, or why there is none.
template <class T>
class Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit, as in `return value`
  static Result Error(std::string message) { return Result(std::move(message), 0); }

  bool ok() const { return value_.has_value(); }
  const std::string& error() const { return error_; }
  const T& operator*() const { return *value_; }
  const T* operator->() const { return &*value_; }
  T& Take() { return *value_; }

 private:
  Result(std::string message, int) : error_(std::move(message)) {}

  std::optional<T> value_;
  std::string error_;
};

// Writes "agx: message" and a newline to standard error.
void Complain(std::string_view message);

ExitStatus ExitFor(agx_status status);

// What the library says went wrong in this thread, in the words of the command line.
std::string LastError();

// The same of one event that was added as one of many would be, without its place among them.
std::string ErrorOfOne();

// Whether a call has just returned that because of an entry that cannot be read, behind which it can
// go on.
bool IsUnreadable(agx_status status);

// What is said of an entry that stops a command which has --skip, and of one that does not.
inline constexpr std::string_view kSkipHint = "; --skip passes over it";
inline constexpr std::string_view kSkipped = "; passed over";

// Complains with what the library says of `status`, after `context` if there is one, and returns
// the exit status for it.
int Fail(agx_status status, std::string_view context = {});

// Standard output, buffered until Flush. Once a write has failed, the rest is dropped.
class Output {
 public:
  std::string& buffer() { return buffer_; }
  // False if what was written does not arrive any more.
  bool Flush();
  bool closed() const { return error_ != 0; }
  // The exit status of a command whose output ended early: a reader that has seen enough is no
  // failure, a full disk is one, and gets a message.
  int ExitForClosed() const;

 private:
  std::string buffer_;
  int error_ = 0;
};

// SCOPE/USER/SESSION.
struct SessionName {
  int64_t scope = 0;
  int64_t user = 0;
  std::string id;
  std::string text;
};
Result<SessionName> ParseSessionName(std::string_view text);

// SCOPE or SCOPE/USER; AGX_ANY for what is not said.
struct SessionFilter {
  int64_t scope = AGX_ANY;
  int64_t user = AGX_ANY;
};
Result<SessionFilter> ParseFilter(std::string_view text);

// Seconds, with a fraction if need be, as milliseconds; what is not 0 does not become 0. With
// allow_never, "never" and negative numbers give -1.
Result<int64_t> ParseSeconds(std::string_view text, bool allow_never);

std::optional<int64_t> ParseInt(std::string_view text);

// "" where the variable is not set.
std::string Environment(const char* name);

}  // namespace cli
