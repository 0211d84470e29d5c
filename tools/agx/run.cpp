// agx run: a model's raw stream on standard input becomes a session.
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "commands.h"
#include "connect.h"
#include "json.h"
#include "signals.h"
#include "terminal.h"

namespace cli {
namespace {

constexpr size_t kReadSize = 64 * 1024;
// How soon a cancel or a signal is noticed while the input is silent.
constexpr int kAttentionMs = 20;
// How long a signal may take that came with the end of the input.
constexpr int kSignalMs = 100;

struct Api {
  std::string_view name;
  agx_model_api api;
};
constexpr std::array kApis = {
    Api{"openai-chat", AGX_OPENAI_CHAT},
    Api{"openai-responses", AGX_OPENAI_RESPONSES},
    Api{"anthropic", AGX_ANTHROPIC},
};

Result<agx_model_api> ChooseApi(const Arguments& arguments) {
  const std::string* name = arguments.Get("feed");
  if (!name) return AGX_OPENAI_CHAT;
  for (const Api& known : kApis) {
    if (known.name == *name) return known.api;
  }
  return Result<agx_model_api>::Error(
      "--feed is to be openai-chat, openai-responses or anthropic, not \"" + *name + "\"");
}

// The agent of this run: what it says is what standard input says.
class Feeder {
 public:
  Feeder(agx_model_api api, const Watcher& watcher, agx_session* session)
      : api_(api), watcher_(watcher), session_(session) {}

  agx_status Work(agx_run* run, agx_messages* messages) {
    agx_status status = Keep(FeedInput(run));
    if (status == AGX_CANCELED || status == AGX_TAKEN_OVER || status == AGX_EFAILED) return status;
    const char* response = nullptr;
    size_t length = 0;
    const agx_status ended = agx_run_feed_end(run, &response, &length);
    if (response) response_.assign(response, length);
    if (status == AGX_OK) status = Keep(Tolerant(ended));
    if (status == AGX_EMODEL && SignalComes()) return AGX_CANCELED;
    if (status == AGX_OK && messages) {
      status = Keep(agx_messages_append(messages, response_.data(), response_.size()));
    }
    return status;
  }

  // The whole, or of one that broke off what there was; "" if there was nothing.
  const std::string& response() const { return response_; }
  // Why it failed, if it did.
  const std::string& error() const { return error_; }

 private:
  // What could not be written to the store comes with what follows.
  static agx_status Tolerant(agx_status status) {
    const bool passing = status == AGX_ECONNECT || status == AGX_ETIMEOUT ||
                         status == AGX_EUNCERTAIN || status == AGX_ELOADING;
    return passing ? AGX_OK : status;
  }

  // Of several failures the first says why.
  agx_status Keep(agx_status status) {
    if (status != AGX_OK && error_.empty()) error_ = agx_last_error();
    return status;
  }

  // Ctrl-C ends all of a pipeline, and the end of our input can be here before our own signal.
  bool SignalComes() const {
    for (int waited = 0; waited < kSignalMs && watcher_.signal() == 0; waited += kAttentionMs) {
      poll(nullptr, 0, kAttentionMs);
    }
    return watcher_.signal() != 0;
  }

  agx_status FeedInput(agx_run* run) {
    std::array<char, kReadSize> bytes;
    for (;;) {
      if (watcher_.signal() != 0 || agx_is_canceled(session_)) return AGX_CANCELED;
      pollfd input = {STDIN_FILENO, POLLIN, 0};
      if (poll(&input, 1, kAttentionMs) <= 0) continue;
      const ssize_t count = read(STDIN_FILENO, bytes.data(), bytes.size());
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (count < 0) return CannotRead(run, errno);
      // At the end too: an input without a byte is no response.
      const agx_status status =
          Tolerant(agx_run_feed(run, api_, bytes.data(), static_cast<size_t>(count)));
      if (status != AGX_OK || count == 0) return status;
    }
  }

  agx_status CannotRead(agx_run* run, int error) {
    error_ = "cannot read standard input: " + std::system_category().message(error);
    const agx_status status = agx_run_fail(run, error_.c_str());
    return status == AGX_OK ? AGX_EFAILED : status;
  }

  const agx_model_api api_;
  const Watcher& watcher_;
  agx_session* const session_;
  std::string response_;
  std::string error_;
};

int PrintResponse(const std::string& response, bool is_terminal) {
  Output out;
  out.buffer() = (is_terminal ? EscapedForTerminal(response) : response) + "\n";
  out.Flush();
  return out.ExitForClosed();
}

}  // namespace

int RunFeed(const Arguments& arguments) {
  const Result<agx_model_api> api = ChooseApi(arguments);
  const Result<Terminal> terminal = LookAtTerminal(arguments);
  const Result<int64_t> grace = arguments.Seconds("grace", -1, false);
  if (!api.ok() || !terminal.ok() || !grace.ok()) {
    Complain(!api.ok() ? api.error() : !terminal.ok() ? terminal.error() : grace.error());
    return kUsage;
  }
  Watcher watcher;
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  Messages messages;
  if (arguments.Has("save")) {
    if (const int exit = OpenMessages(to.session.get(), &messages); exit != kDone) return exit;
  }
  Feeder feeder(*api, watcher, to.session.get());
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.grace_ms = *grace;
  watcher.OnWake([] {});  // the feeder looks
  const agx_status status = agx_run_execute_with(
      to.session.get(), &options, messages.get(),
      [](agx_run* run, agx_messages* kept, void* data) {
        return static_cast<Feeder*>(data)->Work(run, kept);
      },
      &feeder);
  const std::string why = feeder.error().empty() ? agx_last_error() : feeder.error();
  watcher.OnWake({});
  int exit = ExitFor(status);
  const bool wanted = status != AGX_CANCELED && status != AGX_TAKEN_OVER;
  if (wanted && !feeder.response().empty() && !arguments.Has("quiet")) {
    const int printed = PrintResponse(feeder.response(), terminal->is_terminal);
    if (exit == kDone) exit = printed;
  }
  if (watcher.signal() != 0) return kSignal + watcher.signal();
  if (status != AGX_OK) Complain(why.empty() ? agx_status_string(status) : why);
  return exit;
}

}  // namespace cli
