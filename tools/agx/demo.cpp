// agx demo: the main job, shown and checked.
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "commands.h"
#include "connect.h"
#include "demo_script.h"
#include "pretty.h"
#include "signals.h"
#include "terminal.h"

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

// How soon everybody notices that the user has had enough.
constexpr int64_t kAttentionMs = 100;
// Longer than anything here takes; what takes longer has failed.
constexpr auto kDeadline = std::chrono::seconds(20);
// Which event of a run something happens at.
constexpr size_t kLateAt = 50;
constexpr size_t kCancelAt = 22;

struct Stage {
  agx_client* client;
  SessionName name;  // of the run that is on
  bool paced;
  const Watcher& watcher;
  std::atomic<bool> over = false;  // something failed

  bool stopped() const { return over || watcher.signal() != 0 || watcher.output_closed(); }
};

std::string InMilliseconds(Clock::duration time) {
  std::array<char, 40> text = {};
  snprintf(text.data(), text.size(), "%.2f ms",
           std::chrono::duration<double, std::milli>(time).count());
  return text.data();
}

// Runs the agent, in a thread of its own.
class Producer {
 public:
  // counting: it goes on until it is cancelled.
  Producer(Stage* stage, bool counting)
      : stage_(stage), thread_([this, counting] { status_ = Run(counting); }) {}
  ~Producer() {
    if (thread_.joinable()) thread_.join();
  }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // These are for after it.
  agx_status Join() {
    thread_.join();
    return status_;
  }
  const std::string& error() const { return error_; }
  bool canceled() const { return canceled_; }
  Clock::time_point canceled_at() const { return canceled_at_; }

 private:
  agx_status Run(bool counting) {
    agx_session* opened = nullptr;
    const SessionName& name = stage_->name;
    agx_status status =
        agx_session_open(stage_->client, name.scope, name.user, name.id.c_str(), &opened);
    const Session session(opened);
    session_ = opened;
    if (status == AGX_OK) status = agx_start(session_, nullptr);
    if (status == AGX_OK) {
      status = counting ? Count() : Play(AnsweringRun());
      if (status == AGX_OK && canceled_) {
        status = agx_add_error(session_, nullptr, R"({"msg":"canceled"})", nullptr);
      }
      if (status == AGX_OK) status = agx_stop(session_, -1);
    }
    if (status != AGX_OK) {
      error_ = agx_last_error();
      stage_->over = true;
    }
    return status;
  }

  agx_status Play(const std::vector<ScriptedEvent>& events) {
    for (const ScriptedEvent& event : events) {
      const agx_status status = Step(event);
      if (status != AGX_OK || canceled_ || stage_->stopped()) return status;
    }
    return AGX_OK;
  }

  agx_status Count() {
    agx_status status = Play(CountingRun());
    const Clock::time_point until = Clock::now() + kDeadline;
    for (int n = 1; status == AGX_OK && !canceled_ && !stage_->stopped(); ++n) {
      if (Clock::now() > until) break;
      status = Step(CountingStep(n));
    }
    return status;
  }

  // The pause of an agent that works is a wait for a cancel.
  agx_status Step(const ScriptedEvent& event) {
    const agx_status waited = agx_wait_canceled(session_, stage_->paced ? event.pause_ms : 1);
    if (waited == AGX_OK || agx_is_canceled(session_)) {
      canceled_at_ = Clock::now();
      canceled_ = true;
      return AGX_OK;
    }
    if (waited != AGX_TIMEOUT) return waited;
    return agx_add(session_, "event", "pydantic-ai", event.body.c_str(), nullptr);
  }

  Stage* stage_;
  agx_session* session_ = nullptr;
  agx_status status_ = AGX_OK;
  std::string error_;
  bool canceled_ = false;
  Clock::time_point canceled_at_;
  std::thread thread_;  // last: it uses the others
};

// A listener, and all that it got.
class Follower {
 public:
  explicit Follower(Stage* stage) : stage_(stage) {}

  // Hands each event to `see`, until the session ended. False: it did not, and error() says why.
  bool Follow(const std::function<void(const agx_event*)>& see) {
    if (!Open()) return false;
    const Clock::time_point until = Clock::now() + kDeadline;
    while (!stage_->stopped()) {
      agx_event* next = nullptr;
      const agx_status status = agx_listen_next(listener_.get(), kAttentionMs, &next);
      const Event event(next);
      if (status == AGX_ENDED) return true;
      if (status == AGX_OK) {
        if (!Keep(event.get())) return false;
        see(event.get());
        continue;
      }
      // Between a cancel and the producer's end there is a moment without a sign of it.
      if (status != AGX_TIMEOUT && status != AGX_GONE) return Failed();
      if (Clock::now() > until) {
        error_ = "the session did not end";
        return false;
      }
    }
    return false;
  }

  const std::vector<std::string>& lines() const { return lines_; }
  const std::string& error() const { return error_; }

 private:
  bool Open() {
    agx_session* session = nullptr;
    const SessionName& name = stage_->name;
    if (agx_session_open(stage_->client, name.scope, name.user, name.id.c_str(), &session) !=
        AGX_OK) {
      return Failed();
    }
    const Session closer(session);
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.hand_on_end = 1;
    agx_listener* listener = nullptr;
    const agx_status status = agx_listen(session, &options, &listener);
    listener_.reset(listener);
    return status == AGX_OK || Failed();
  }

  bool Keep(const agx_event* event) {
    const char* json = nullptr;
    size_t length = 0;
    if (agx_event_json(event, AGX_JSON_FULL, &json, &length) != AGX_OK) return Failed();
    lines_.emplace_back(json, length);
    return true;
  }

  bool Failed() {
    error_ = agx_last_error();
    return false;
  }

  Stage* stage_;
  Listener listener_;
  std::vector<std::string> lines_;
  std::string error_;
};

// A second listener, in a thread of its own, that begins when the run is well under way.
class Latecomer {
 public:
  explicit Latecomer(Stage* stage) : follower_(stage) {}
  ~Latecomer() {
    if (thread_.joinable()) thread_.join();
  }
  Latecomer(const Latecomer&) = delete;
  Latecomer& operator=(const Latecomer&) = delete;

  // Starts it and waits until it has come to this event.
  bool CatchUp(const std::string& id) {
    const Clock::time_point began = Clock::now();
    thread_ = std::thread([this, id] { Run(id); });
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, kDeadline, [this] { return caught_up_ || done_; });
    took_ = caught_up_at_ - began;
    return caught_up_;
  }

  // True if it came to the end.
  bool Join() {
    if (!thread_.joinable()) return false;
    thread_.join();
    return ended_;
  }

  Clock::duration took() const { return took_; }
  const std::vector<std::string>& lines() const { return follower_.lines(); }
  const std::string& error() const { return follower_.error(); }

 private:
  void Run(const std::string& id) {
    ended_ = follower_.Follow([this, &id](const agx_event* event) {
      if (agx_event_id(event, nullptr) != id) return;
      const std::lock_guard lock(mutex_);
      caught_up_ = true;
      caught_up_at_ = Clock::now();
      wake_.notify_all();
    });
    const std::lock_guard lock(mutex_);
    done_ = true;
    wake_.notify_all();
  }

  Follower follower_;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool caught_up_ = false;
  bool done_ = false;
  Clock::time_point caught_up_at_;
  Clock::duration took_{};
  std::thread thread_;
};

class Demo {
 public:
  Demo(Stage* stage, const Terminal& terminal, bool elsewhere)
      : stage_(stage),
        elsewhere_(elsewhere),
        style_{terminal.color, terminal.utf8, [terminal] { return terminal.Width(); }},
        page_(style_),
        pretty_(style_) {}

  int Run() {
    Say(Look::kPlain,
        elsewhere_ ? "An agent's events, from the thread that runs it to those that follow it, "
                     "through the store that you named. From another terminal: agx listen " +
                         stage_->name.text
                   : std::string("An agent's events, from the thread that runs it to those that "
                                 "follow it. All in this process; --url shows it on a Redis."));
    bool good = ShowAnswer();
    if (good) good = ShowCancel();
    stage_->over = true;
    if (stage_->watcher.signal() != 0) return kSignal + stage_->watcher.signal();
    if (out_.closed() || stage_->watcher.output_closed()) return out_.ExitForClosed();
    if (!good) Complain(error_.empty() ? "the demo did not show what it should" : error_);
    return good ? kDone : kNo;
  }

 private:
  bool ShowAnswer() {
    SayTitle("1. An agent is asked: " + std::string(kQuestion));
    Pause(1000);
    Producer producer(stage_, false);
    Follower follower(stage_);
    Latecomer late(stage_);
    bool caught_up = false;
    const bool ended = follower.Follow([&](const agx_event* event) {
      Show(event);
      if (follower.lines().size() != kLateAt) return;
      caught_up = late.CatchUp(agx_event_id(event, nullptr));
      if (!caught_up) return;
      Notice("a second listener joins late; it has caught up with " + std::to_string(kLateAt) +
             " events in " + InMilliseconds(late.took()));
    });
    if (!ended) stage_->over = true;
    const agx_status produced = producer.Join();
    const bool late_ended = late.Join();
    if (produced != AGX_OK) return Failed(producer.error());
    if (!ended) return Failed(follower.error());
    if (!caught_up || !late_ended) return Failed(late.error());
    if (follower.lines() != late.lines()) {
      return Failed("the late listener did not get the same events");
    }
    Notice("both listeners got the same " + std::to_string(follower.lines().size()) +
           " events in the same order");
    Pause(1500);
    return true;
  }

  bool ShowCancel() {
    stage_->name.id += "-2";
    SayTitle("2. Another run, and somebody cancels it");
    Pause(1000);
    Producer producer(stage_, true);
    Follower follower(stage_);
    Clock::time_point canceled;
    bool told = false;
    const bool ended = follower.Follow([&](const agx_event* event) {
      Show(event);
      if (std::string_view(agx_event_type(event, nullptr)) == "error") told = true;
      if (follower.lines().size() != kCancelAt) return;
      canceled = Clock::now();
      if (!Cancel()) stage_->over = true;
      Notice("somebody else cancels the run");
    });
    if (!ended) stage_->over = true;
    const agx_status produced = producer.Join();
    if (produced != AGX_OK) return Failed(producer.error());
    if (!ended) return Failed(follower.error());
    if (!producer.canceled() || !told) return Failed("the producer did not see the cancel");
    Notice("the producer knew " + InMilliseconds(producer.canceled_at() - canceled) +
           " after the cancel");
    return true;
  }

  // As any process could that knows the session's name.
  bool Cancel() {
    agx_session* opened = nullptr;
    const SessionName& name = stage_->name;
    if (agx_session_open(stage_->client, name.scope, name.user, name.id.c_str(), &opened) !=
        AGX_OK) {
      return Failed(agx_last_error());
    }
    const Session session(opened);
    int was_live = 0;
    if (agx_cancel(opened, &was_live) != AGX_OK) return Failed(agx_last_error());
    return was_live != 0 || Failed("the session was not live when it was canceled");
  }

  bool Failed(std::string_view why) {
    if (error_.empty()) error_ = why;
    return false;
  }

  void Say(Look look, std::string_view text) {
    page_.Open({" ", " "}, look, &out_.buffer());
    page_.Grow(text, &out_.buffer());
    page_.Close(&out_.buffer());
    Flush();
  }

  void SayTitle(std::string_view text) {
    out_.buffer() += '\n';
    Say(Look::kStrong, text);
    out_.buffer() += '\n';
    Flush();
  }

  void Show(const agx_event* event) {
    pretty_.Show(event, &out_.buffer());
    Flush();
  }

  void Notice(std::string_view text) {
    pretty_.ShowNotice(text, &out_.buffer());
    Flush();
  }

  void Flush() {
    if (!out_.Flush()) stage_->over = true;
  }

  void Pause(int milliseconds) {
    if (!stage_->paced) return;
    const Clock::time_point until = Clock::now() + std::chrono::milliseconds(milliseconds);
    while (!stage_->stopped() && Clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kAttentionMs));
    }
  }

  Stage* stage_;
  bool elsewhere_;
  Page::Style style_;
  Page page_;
  Pretty pretty_;
  Output out_;
  std::string error_;
};

std::string RandomId() {
  std::array<char, 24> text = {};
  snprintf(text.data(), text.size(), "demo-%08x", std::random_device()());
  return text.data();
}

}  // namespace

int RunDemo(const Arguments& arguments) {
  const Result<Terminal> terminal = LookAtTerminal(arguments);
  if (!terminal.ok()) {
    Complain(terminal.error());
    return kUsage;
  }
  Watcher watcher;
  Client client;
  if (const int exit = OpenClient(arguments, 0, "memory:", &client); exit != kDone) return exit;
  const std::string id = RandomId();
  Stage stage = {client.get(), SessionName{1, 1, id, "1/1/" + id},
                 terminal->is_terminal && !arguments.Has("fast"), watcher};
  watcher.OnWake([] {});  // everybody looks at the stage now and then
  const int exit = Demo(&stage, *terminal, arguments.Has("url")).Run();
  watcher.OnWake({});
  return exit;
}

}  // namespace cli
