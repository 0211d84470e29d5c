#include "util.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "text.h"

namespace cli {
namespace {

// Returns 0, or errno.
int WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      // Whoever shares the descriptor made it non-blocking.
      pollfd wait = {fd, POLLOUT, 0};
      poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

std::string Named(std::string_view what, std::string_view text) {
  return std::string(what) + " \"" + std::string(text) + "\"";
}

}  // namespace

void Complain(std::string_view message) {
  WriteAll(STDERR_FILENO, "agx: " + Visible(message) + "\n");
}

ExitStatus ExitFor(agx_status status) {
  switch (status) {
    case AGX_OK:
    case AGX_ENDED:
    case AGX_LIMIT:
      return kDone;
    case AGX_ABSENT:
    case AGX_NOT_LIVE:
      return kNo;
    case AGX_EINVAL:
    case AGX_EJSON:
    case AGX_ETOOBIG:
      return kUsage;
    case AGX_ECONNECT:
    case AGX_ETIMEOUT:
    case AGX_ELOADING:
      return kUnreachable;
    case AGX_EBUSY:
      return kBusy;
    case AGX_EUNCERTAIN:
      return kUncertain;
    case AGX_SILENT:
    case AGX_TIMEOUT:
      return kSilent;
    case AGX_GONE:
      return kGone;
    case AGX_GAP:
      return kGap;
    case AGX_CANCELED:
      return kCanceled;
    case AGX_TAKEN_OVER:
      return kTakenOver;
    case AGX_EMODEL:
    case AGX_EFAILED:
      return kModelFailed;
    default:
      return kFailed;
  }
}

std::string LastError() {
  struct Words {
    std::string_view library;
    std::string_view ours;
  };
  // The library's begin its sentences, or end them: what others wrote is in between.
  constexpr std::array kBeginnings = {
      Words{"agx_options.prefix", "--prefix"},  Words{"the option after", "--after"},
      Words{"the option before", "--before"},   Words{"the option start", "--from"},
      Words{"the option format", "the format"},
  };
  constexpr std::array kEnds = {
      Words{"agx_options in agx.h names those that there are",
            "man agx names those that there are"},
      Words{", or set agx_options.password", ""},
      Words{"pass NULL for none", "leave --body out for none"},
  };
  std::string reason = agx_last_error();
  for (const auto& [library, ours] : kBeginnings) {
    if (reason.starts_with(library)) reason.replace(0, library.size(), ours);
  }
  for (const auto& [library, ours] : kEnds) {
    if (reason.ends_with(library)) {
      reason.replace(reason.size() - library.size(), library.size(), ours);
    }
  }
  return reason;
}

std::string ErrorOfOne() {
  constexpr std::string_view kPlace = "event 0: ";
  const std::string reason = LastError();
  return reason.starts_with(kPlace) ? reason.substr(kPlace.size()) : reason;
}

bool IsUnreadable(agx_status status) {
  return status == AGX_EUNSUPPORTED && *agx_last_error_entry() != '\0';
}

int Fail(agx_status status, std::string_view context) {
  std::string message(context);
  if (!message.empty()) message += ": ";
  const std::string reason = LastError();
  message += reason.empty() ? std::string(agx_status_string(status)) : reason;
  Complain(message);
  return ExitFor(status);
}

bool Output::Flush() {
  if (error_ == 0) error_ = WriteAll(STDOUT_FILENO, buffer_);
  buffer_.clear();
  return error_ == 0;
}

int Output::ExitForClosed() const {
  if (error_ == 0 || error_ == EPIPE) return kDone;
  Complain("cannot write to standard output: " + std::system_category().message(error_));
  return kFailed;
}

std::optional<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

Result<SessionName> ParseSessionName(std::string_view text) {
  using Parsed = Result<SessionName>;
  const size_t first = text.find('/');
  const size_t second = first == text.npos ? text.npos : text.find('/', first + 1);
  if (second == text.npos || second + 1 == text.size()) {
    return Parsed::Error(Named("expected SCOPE/USER/SESSION, such as 1/42/my-session, not", text));
  }
  const auto scope = ParseInt(text.substr(0, first));
  const auto user = ParseInt(text.substr(first + 1, second - first - 1));
  if (!scope || !user) {
    return Parsed::Error(Named("the scope and the user are to be integers in", text));
  }
  return SessionName{*scope, *user, std::string(text.substr(second + 1)), std::string(text)};
}

Result<SessionFilter> ParseFilter(std::string_view text) {
  using Parsed = Result<SessionFilter>;
  const size_t slash = text.find('/');
  const auto scope = ParseInt(text.substr(0, slash));
  const auto user = slash == text.npos ? AGX_ANY : ParseInt(text.substr(slash + 1));
  // AGX_ANY, as a number, would list what was not asked for.
  if (!scope || !user || scope == AGX_ANY || (slash != text.npos && user == AGX_ANY)) {
    return Parsed::Error(Named("expected SCOPE or SCOPE/USER, two integers, not", text));
  }
  return SessionFilter{*scope, *user};
}

Result<int64_t> ParseSeconds(std::string_view text, bool allow_never) {
  using Parsed = Result<int64_t>;
  if (allow_never && text == "never") return int64_t{-1};
  double seconds = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seconds, std::chars_format::fixed);
  if (error != std::errc() || stop != end || !std::isfinite(seconds)) {
    return Parsed::Error(Named("expected seconds, such as 1.5, not", text));
  }
  if (seconds < 0) {
    if (allow_never) return int64_t{-1};
    return Parsed::Error(Named("expected seconds that are not negative, not", text));
  }
  const double milliseconds = std::ceil(seconds * 1000);
  if (milliseconds >= 9e18) return INT64_MAX;
  return static_cast<int64_t>(milliseconds);
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets any
  return value ? value : "";
}

}  // namespace cli
