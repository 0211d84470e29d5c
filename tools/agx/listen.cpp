// agx listen.
#include <unistd.h>

#include <array>
#include <memory>

#include "commands.h"
#include "connect.h"
#include "json.h"
#include "pretty.h"
#include "signals.h"
#include "terminal.h"

namespace cli {
namespace {

constexpr int64_t kWaitMs = 3000;
constexpr int64_t kTimeoutMs = 60000;
constexpr size_t kBatch = 64;

struct Plan {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  Terminal terminal;
  bool pretty = false;
};

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  const Result<int64_t> wait = arguments.Seconds("wait", kWaitMs, true);
  if (!wait.ok()) return Result<Plan>::Error(wait.error());
  const Result<int64_t> timeout = arguments.Seconds("timeout", kTimeoutMs, true);
  if (!timeout.ok()) return Result<Plan>::Error(timeout.error());
  const Result<Terminal> terminal = LookAtTerminal(arguments);
  if (!terminal.ok()) return Result<Plan>::Error(terminal.error());
  if (const std::string* limit = arguments.Get("limit")) {
    plan.options.limit = ParseInt(*limit).value_or(0);
    if (plan.options.limit <= 0) {
      return Result<Plan>::Error("--limit is to be a number from 1 on, not \"" + *limit + "\"");
    }
  }
  if (arguments.Has("pretty") && arguments.Has("json")) {
    return Result<Plan>::Error("listen: --pretty and --json do not go together");
  }
  plan.options.wait_ms = *wait;
  plan.options.timeout_ms = *timeout;
  if (const std::string* after = arguments.Get("after")) plan.options.after = after->c_str();
  plan.terminal = *terminal;
  plan.pretty = arguments.Has("pretty") || (terminal->is_terminal && !arguments.Has("json"));
  // The pretty form always shows how it ended.
  plan.options.hand_on_end = plan.pretty || arguments.Has("end") ? 1 : 0;
  return plan;
}

// Writes events to standard output, in either form.
class Writer {
 public:
  explicit Writer(const Plan& plan)
      : plan_(plan),
        pretty_(Page::Style{plan.terminal.color, plan.terminal.utf8,
                            [terminal = plan.terminal] { return terminal.Width(); }}) {}

  agx_status Write(const agx_event* event) {
    if (plan_.pretty) {
      pretty_.Show(event, &out_.buffer());
      return AGX_OK;
    }
    const char* json = nullptr;
    size_t length = 0;
    const agx_status status = agx_event_json(event, AGX_JSON_FULL, &json, &length);
    if (status != AGX_OK) return status;
    const std::string_view line(json, length);
    if (plan_.terminal.is_terminal) {
      out_.buffer() += EscapedForTerminal(line);
    } else {
      out_.buffer() += line;
    }
    out_.buffer() += '\n';
    return AGX_OK;
  }

  bool Flush() { return out_.Flush(); }

  void Finish(agx_status status) {
    if (!plan_.pretty) return;
    pretty_.EndLine(&out_.buffer());
    if (status == AGX_ENDED) pretty_.ShowEnded(&out_.buffer());
    out_.Flush();
  }

  const Output& output() const { return out_; }

 private:
  const Plan& plan_;
  Output out_;
  Pretty pretty_;
};

class Listening {
 public:
  Listening(const Plan& plan, const Watcher& watcher, agx_listener* listener)
      : plan_(plan), watcher_(watcher), listener_(listener), writer_(plan) {}

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
    const std::string reason = agx_last_error();
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
  Writer writer_;
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
