// agx listen.
#include <unistd.h>

#include <array>

#include "commands.h"
#include "connect.h"
#include "signals.h"
#include "writer.h"

namespace cli {
namespace {

constexpr int64_t kWaitMs = 3000;
constexpr int64_t kTimeoutMs = 60000;
constexpr size_t kBatch = 64;

struct Plan {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  Form form;
  bool skip = false;
};

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  const Result<int64_t> wait = arguments.Seconds("wait", kWaitMs, true);
  if (!wait.ok()) return Result<Plan>::Error(wait.error());
  const Result<int64_t> timeout = arguments.Seconds("timeout", kTimeoutMs, true);
  if (!timeout.ok()) return Result<Plan>::Error(timeout.error());
  const Result<Form> form = ChooseForm(arguments);
  if (!form.ok()) return Result<Plan>::Error(form.error());
  if (const std::string* limit = arguments.Get("limit")) {
    plan.options.limit = ParseInt(*limit).value_or(0);
    if (plan.options.limit <= 0) {
      return Result<Plan>::Error("--limit is to be a number from 1 on, not \"" + *limit + "\"");
    }
  }
  plan.options.wait_ms = *wait;
  plan.options.timeout_ms = *timeout;
  if (const std::string* after = arguments.Get("after")) plan.options.after = after->c_str();
  if (const std::string* where = arguments.Get("where")) plan.options.where = where->c_str();
  plan.form = *form;
  plan.skip = arguments.Has("skip");
  // The pretty form always shows how it ended.
  plan.options.hand_on_end = form->pretty || arguments.Has("end") ? 1 : 0;
  return plan;
}

class Listening {
 public:
  Listening(const Plan& plan, const Watcher& watcher, agx_listener* listener)
      : plan_(plan), watcher_(watcher), listener_(listener), writer_(plan.form) {}

  int Run() {
    for (;;) {
      const agx_status status = Next();
      if (writer_.output().closed()) return writer_.output().ExitForClosed();
      if (status == AGX_OK) continue;
      if (status == AGX_GAP) {
        gap_ = true;
        Fail(status, "going on after a gap");
        continue;
      }
      if (plan_.skip && IsUnreadable(status)) {
        Complain(LastError() + std::string(kSkipped));
        continue;
      }
      if (status == AGX_INTERRUPTED && !ShouldStop()) continue;
      return End(status);
    }
  }

 private:
  bool ShouldStop() const { return watcher_.signal() != 0 || watcher_.output_closed(); }

  // Writes what comes next, as soon as it comes.
  agx_status Next() {
    std::array<agx_event*, kBatch> batch = {};
    size_t count = 0;
    agx_status status = agx_listen_next_many(listener_, -1, batch.data(), batch.size(), &count);
    for (size_t i = 0; i < count; ++i) {
      const Event event(batch[i]);
      const agx_status written = writer_.Write(event.get());
      if (written != AGX_OK) status = written;
    }
    if (count > 0) writer_.Flush();
    return status;
  }

  int End(agx_status status) {
    // What is said of a status is kept until the next call, and there may be one below.
    std::string reason = LastError();
    if (IsUnreadable(status)) reason += kSkipHint;
    writer_.Finish(status);
    if (status == AGX_INTERRUPTED) {
      if (watcher_.signal() == 0) return kDone;
      SayHowToResume();
      return kSignal + watcher_.signal();
    }
    if (status == AGX_ENDED || status == AGX_LIMIT) return gap_ ? kGap : kDone;
    // Who wants no more than what is there need not be told that there is no more.
    const bool expected = status == AGX_SILENT && plan_.options.timeout_ms == 0;
    if (!expected) Complain(reason.empty() ? agx_status_string(status) : reason);
    SayHowToResume();
    return ExitFor(status);
  }

  void SayHowToResume() {
    char position[AGX_ID_SIZE];
    if (isatty(STDERR_FILENO) != 1) return;
    if (agx_listener_position(listener_, position) != AGX_OK) return;
    if (std::string_view(position) == "0-0") return;
    Complain("to go on from here: the same command with --after " + std::string(position));
  }

  const Plan& plan_;
  const Watcher& watcher_;
  agx_listener* listener_;
  EventWriter writer_;
  bool gap_ = false;
};

}  // namespace

int RunListen(const Arguments& arguments) {
  const Result<Plan> plan = MakePlan(arguments);
  if (!plan.ok()) {
    Complain(plan.error());
    return kUsage;
  }
  Watcher watcher;
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  agx_listener* opened = nullptr;
  const agx_status status = agx_listen(to.session.get(), &plan->options, &opened);
  if (status != AGX_OK) return Fail(status);
  const Listener listener(opened);
  watcher.OnWake([&listener] { agx_listener_interrupt(listener.get()); });
  const int exit = Listening(*plan, watcher, listener.get()).Run();
  watcher.OnWake({});
  return exit;
}

}  // namespace cli
