// agx start, stop, cancel and live.
#include <unistd.h>

#include "commands.h"
#include "connect.h"

namespace cli {
namespace {

constexpr int64_t kShortestLeaseMs = 100;
constexpr int64_t kLongestLeaseMs = 86400000;

int No(const SessionName& name, std::string_view why) {
  Complain(name.text + " " + std::string(why));
  return kNo;
}

// Whether the last that is there is the end of a run. Where a format has none, nobody can tell.
agx_status HasEnded(const Arguments& arguments, agx_session* session, bool* ended) {
  const std::string format = FormatOf(arguments);
  const bool framework = format == "agent-framework";
  *ended = false;
  if (format != "agx" && !framework) return AGX_OK;
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.reverse = 1;
  agx_event* last = nullptr;
  size_t count = 0;
  const agx_status status = agx_history_read(session, &options, &last, 1, &count);
  if (status != AGX_OK) return status == AGX_ENDED ? AGX_OK : status;
  const Event event(last);
  const std::string_view type = agx_event_type(event.get(), nullptr);
  *ended = type == "end" || (framework && type == "error");
  return AGX_OK;
}

}  // namespace

Result<int64_t> LeaseOption(const Arguments& arguments) {
  Result<int64_t> lease = arguments.Seconds("lease", 0, false);
  if (!lease.ok() || !arguments.Has("lease")) return lease;
  if (*lease < kShortestLeaseMs || *lease > kLongestLeaseMs) {
    return Result<int64_t>::Error("--lease: from 0.1 to 86400 seconds");
  }
  return lease;
}

int RunStart(const Arguments& arguments) {
  const Result<int64_t> lease = LeaseOption(arguments);
  if (!lease.ok()) {
    Complain(lease.error());
    return kUsage;
  }
  Connection to;
  if (const int exit = Connect(arguments, *lease, &to); exit != kDone) return exit;
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.detached = 1;
  options.take_over = arguments.Has("take-over") ? 1 : 0;
  options.lease_ms = *lease;
  const std::string* origin = arguments.Get("origin");
  if (origin) options.origin = origin->c_str();
  const agx_status status = agx_start(to.session.get(), &options);
  return status == AGX_OK ? kDone : Fail(status);
}

int RunStop(const Arguments& arguments) {
  const Result<int64_t> grace = arguments.Seconds("grace", -1, false);
  if (!grace.ok()) {
    Complain(grace.error());
    return kUsage;
  }
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  int live = 0;
  bool ended = false;
  agx_status status = agx_is_live(to.session.get(), &live);
  if (status == AGX_OK && live == 0) status = HasEnded(arguments, to.session.get(), &ended);
  // What has ended is left alone, but for what was asked for.
  if (status == AGX_OK && (!ended || arguments.Has("grace"))) {
    status = agx_stop(to.session.get(), *grace);
  }
  if (status == AGX_NOT_LIVE) return No(to.name, "is not live: it has ended, or never began");
  if (status != AGX_OK) return Fail(status);
  return ended ? No(to.name, "has ended already") : static_cast<int>(kDone);
}

int RunCancel(const Arguments& arguments) {
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  int was_live = 0;
  const agx_status status = agx_cancel(to.session.get(), &was_live);
  if (status != AGX_OK) return Fail(status);
  return was_live ? static_cast<int>(kDone) : No(to.name, "was not live");
}

int RunLive(const Arguments& arguments) {
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  int live = 0;
  const agx_status status = agx_is_live(to.session.get(), &live);
  if (status != AGX_OK) return Fail(status);
  // The exit status is the answer; whoever sits at a terminal does not see that one.
  if (isatty(STDOUT_FILENO) == 1) {
    Output out;
    out.buffer() = live ? "live\n" : "not live\n";
    out.Flush();
  }
  return live ? kDone : kNo;
}

}  // namespace cli
