// agx chat: the agent of examples/chat, with the output of agx listen.
#include "commands.h"
#include "util.h"

#if !AGX_HAVE_CURL

namespace cli {

int RunChat(const Arguments&) {
  Complain("chat: this agx was built without libcurl, and cannot talk to a model");
  return ExitFor(AGX_EUNSUPPORTED);
}

}  // namespace cli

#else

#include <unistd.h>

#include <array>
#include <atomic>
#include <iostream>
#include <optional>
#include <thread>

#include "chat/agent.h"
#include "connect.h"
#include "signals.h"
#include "writer.h"

namespace cli {
namespace {

constexpr size_t kBatch = 64;
// More than that no clock here can count.
constexpr std::chrono::milliseconds kNever = std::chrono::hours(24 * 365);
// How long the follower waits, after a run that could not be ended, for what may still come.
constexpr int64_t kPatienceMs = 500;
// A reader that is slow, such as a pager, gets all of a run that ended before it was read.
constexpr int64_t kGraceMs = 60000;

struct Plan {
  chat::Settings settings;
  Form form;
  int64_t grace_ms = kGraceMs;
  std::optional<std::string> prompt;  // else it is read
};

Result<Plan> MakePlan(const Arguments& arguments) {
  using Planned = Result<Plan>;
  Plan plan;
  const std::string wrong = chat::ReadEnvironment(&plan.settings);
  if (!wrong.empty()) return Planned::Error("chat: " + wrong);
  if (const std::string* model = arguments.Get("model")) plan.settings.model = *model;
  if (plan.settings.model.empty()) {
    return Planned::Error("chat: which model? --model MODEL, or OPENAI_MODEL");
  }
  if (const std::string* system = arguments.Get("system")) plan.settings.system = *system;
  const auto patience = arguments.Seconds("timeout", plan.settings.patience.count(), true);
  if (!patience.ok()) return Planned::Error(patience.error());
  const bool never = *patience < 0 || *patience > kNever.count();
  plan.settings.patience = never ? kNever : std::chrono::milliseconds(*patience);
  const Result<int64_t> grace = arguments.Seconds("grace", kGraceMs, false);
  if (!grace.ok()) return Planned::Error(grace.error());
  plan.grace_ms = *grace;
  const Result<Form> form = ChooseForm(arguments);
  if (!form.ok()) return Planned::Error(form.error());
  plan.form = *form;
  if (arguments.operands().size() > 1) plan.prompt = arguments.operands()[1];
  return plan;
}

// Shows a run's events as they come. It gets them from the store, as everybody else does.
class Follower {
 public:
  explicit Follower(const Form& form) : form_(form), writer_(form) {}
  ~Follower() { Finish(); }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  agx_status Start(agx_session* session) {
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.wait_ms = -1;
    options.timeout_ms = -1;
    options.hand_on_end = form_.pretty ? 1 : 0;
    agx_listener* opened = nullptr;
    const agx_status status = agx_listen(session, &options, &opened);
    listener_.reset(opened);
    if (status == AGX_OK) thread_ = std::thread([this] { Follow(); });
    return status;
  }
  bool started() const { return listener_ != nullptr; }

  // The run is over; what is left of it is shown. What another producer goes on with is not.
  void Finish(bool taken_over = false) {
    over_ = true;
    if (taken_over) agx_listener_interrupt(listener_.get());
    if (thread_.joinable()) thread_.join();
  }

  const Output& output() const { return writer_.output(); }

 private:
  // The agent does not give up either if the store is away for a while.
  static bool MayGoOn(agx_status status) {
    return status == AGX_TIMEOUT || status == AGX_GONE || status == AGX_ECONNECT ||
           status == AGX_ETIMEOUT || status == AGX_ELOADING;
  }

  void Follow() {
    for (;;) {
      std::array<agx_event*, kBatch> batch = {};
      size_t count = 0;
      const agx_status status =
          agx_listen_next_many(listener_.get(), kPatienceMs, batch.data(), batch.size(), &count);
      for (size_t i = 0; i < count; ++i) {
        const Event event(batch[i]);
        writer_.Write(event.get());
      }
      if (count > 0) writer_.Flush();
      if (status == AGX_OK || status == AGX_GAP || (MayGoOn(status) && !over_)) continue;
      writer_.Finish(status);
      return;
    }
  }

  const Form& form_;
  EventWriter writer_;
  Listener listener_;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

class Chat {
 public:
  Chat(const Plan& plan, const Connection& to, std::optional<Watcher>* watcher)
      : plan_(plan), to_(to), watcher_(watcher) {}

  // One prompt, and its answer.
  int Answer(const std::string& prompt) {
    if (!*watcher_) watcher_->emplace();
    Watcher& watcher = **watcher_;
    Messages messages;
    if (const int exit = OpenMessages(to_.session.get(), &messages); exit != kDone) return exit;
    const auto stop = [this, &watcher] {
      return watcher.signal() != 0 || agx_is_canceled(to_.session.get()) != 0;
    };
    Turn turn = {to_.session.get(), chat::Agent(plan_.settings, prompt, stop),
                 Follower(plan_.form)};
    agx_run_options options = AGX_RUN_OPTIONS_INIT;
    options.grace_ms = plan_.grace_ms;
    watcher.OnWake([] {});  // the agent asks
    const agx_status status =
        agx_run_execute_with(to_.session.get(), &options, messages.get(), RunTurn, &turn);
    const std::string why = turn.agent.error().empty() ? agx_last_error() : turn.agent.error();
    turn.follower.Finish(status == AGX_TAKEN_OVER);
    watcher.OnWake({});
    return ExitOf(status, why, turn.follower);
  }

  // Line by line, from a terminal. Ctrl-C while a line is being typed ends the program as ever.
  int Talk() {
    std::string line;
    for (;;) {
      watcher_->reset();
      if (plan_.form.terminal.is_terminal) std::cout << "> " << std::flush;
      if (!std::getline(std::cin, line)) break;
      if (line.find_first_not_of(" \t\r") == line.npos) continue;
      Answer(line);
      if ((*watcher_)->signal() != 0) return kSignal + (*watcher_)->signal();
    }
    if (plan_.form.terminal.is_terminal) std::cout << std::endl;
    return kDone;
  }

 private:
  struct Turn {
    agx_session* session;
    chat::Agent agent;
    Follower follower;
  };

  // The run has begun: what the session holds from here on is this run's.
  static agx_status RunTurn(agx_run* run, agx_messages* messages, void* data) {
    auto* turn = static_cast<Turn*>(data);
    const agx_status status = turn->follower.Start(turn->session);
    return status == AGX_OK ? turn->agent.Work(run, messages) : status;
  }

  int ExitOf(agx_status status, const std::string& why, const Follower& follower) const {
    if ((*watcher_)->signal() != 0) return kSignal + (*watcher_)->signal();
    if (status == AGX_OK) return follower.output().ExitForClosed();
    const bool told = plan_.form.pretty && follower.started() &&
                      (status == AGX_CANCELED || status == AGX_EFAILED || status == AGX_EMODEL);
    if (!told) Complain(why.empty() ? agx_status_string(status) : why);
    return ExitFor(status);
  }

  const Plan& plan_;
  const Connection& to_;
  std::optional<Watcher>* const watcher_;
};

// All of standard input.
Result<std::string> ReadPrompt() {
  using Prompt = Result<std::string>;
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  const size_t end = text.find_last_not_of(" \t\r\n");
  text.erase(end == text.npos ? 0 : end + 1);
  if (text.empty()) return Prompt::Error("chat: there is no prompt on standard input");
  if (text.find('\0') != text.npos) return Prompt::Error("chat: the prompt contains a NUL byte");
  return text;
}

}  // namespace

int RunChat(const Arguments& arguments) {
  Result<Plan> planned = MakePlan(arguments);
  if (!planned.ok()) {
    Complain(planned.error());
    return kUsage;
  }
  Plan plan = *planned;
  const bool talk = !plan.prompt && isatty(STDIN_FILENO) == 1;
  if (!plan.prompt && !talk) {
    const Result<std::string> read = ReadPrompt();
    if (!read.ok()) {
      Complain(read.error());
      return kUsage;
    }
    plan.prompt = *read;
  }
  std::optional<Watcher> watcher(std::in_place);
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  Chat chat(plan, to, &watcher);
  return talk ? chat.Talk() : chat.Answer(*plan.prompt);
}

}  // namespace cli

#endif
