// An agent to talk to: chat SESSION PROMPT [MODEL]
//
// It answers with a model of OPENAI_BASE_URL (https://api.openai.com/v1), with the key
// OPENAI_API_KEY; the model is OPENAI_MODEL if none is named. The session is 1/42/SESSION in the
// store AGX_URL (redis://127.0.0.1:6379), which keeps the conversation: the next prompt to the same
// session goes on with it. Meanwhile, in another terminal, try
//
//   agx listen 1/42/SESSION
//   agx cancel 1/42/SESSION
#include <agx.h>
#include <cjson/cJSON.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "agent.h"

namespace {

template <class Handle, void (*Close)(Handle*)>
struct Closer {
  void operator()(Handle* handle) const { Close(handle); }
};
using Client = std::unique_ptr<agx_client, Closer<agx_client, agx_close>>;
using Session = std::unique_ptr<agx_session, Closer<agx_session, agx_session_close>>;
using Messages = std::unique_ptr<agx_messages, Closer<agx_messages, agx_messages_close>>;
using Listener = std::unique_ptr<agx_listener, Closer<agx_listener, agx_listener_close>>;
using Event = std::unique_ptr<agx_event, Closer<agx_event, agx_event_free>>;
using Json = std::unique_ptr<cJSON, Closer<cJSON, cJSON_Delete>>;

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal's handler sets it

int Failed(const char* what, const char* why) {
  fprintf(stderr, "chat: %s: %s\n", what, why);
  return 1;
}

// Prints what the model says. It knows nothing of the agent: it listens to the session, as any
// program anywhere could.
class Printer {
 public:
  ~Printer() { Finish(); }

  agx_status Start(agx_session* session) {
    agx_listener* listener = nullptr;
    const agx_status status = agx_listen(session, nullptr, &listener);
    listener_.reset(listener);
    if (status == AGX_OK) thread_ = std::thread([this] { Follow(); });
    return status;
  }

  // The run is over: what is left is printed.
  void Finish() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Follow() {
    for (;;) {
      agx_event* next = nullptr;
      const agx_status status = agx_listen_next(listener_.get(), 200, &next);
      const Event event(next);
      if (status == AGX_OK) {
        Print(event.get());
      } else if (over_ || (status != AGX_TIMEOUT && status != AGX_ECONNECT)) {
        break;  // the session ended, or something is wrong that the agent is told as well
      }
    }
    if (in_line_) printf("\n");
  }

  void Print(const agx_event* event) {
    const Json body(cJSON_Parse(agx_event_body(event, nullptr)));
    const auto text = [&body](const char* name) {
      const char* value = cJSON_GetStringValue(cJSON_GetObjectItem(body.get(), name));
      return value ? value : "";
    };
    if (strcmp(text("part_kind"), "text") == 0) Say(text("content"));
    if (strcmp(text("part_delta_kind"), "text") == 0) Say(text("content_delta"));
    if (strcmp(text("part_kind"), "tool-call") == 0) {
      printf("%s[%s]\n", in_line_ ? "\n" : "", text("tool_name"));
      in_line_ = false;
    }
    fflush(stdout);
  }

  void Say(const char* text) {
    printf("%s", text);
    if (*text != '\0') in_line_ = text[strlen(text) - 1] != '\n';
  }

  Listener listener_;
  bool in_line_ = false;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

struct Turn {
  agx_session* session;
  chat::Agent agent;
  Printer printer;
};

agx_status RunTurn(agx_run* run, agx_messages* messages, void* data) {
  auto* turn = static_cast<Turn*>(data);
  const agx_status status = turn->printer.Start(turn->session);
  return status == AGX_OK ? turn->agent.Work(run, messages) : status;
}

int Answer(agx_session* session, const chat::Settings& settings, const char* prompt) {
  agx_messages* opened = nullptr;
  if (agx_messages_open(session, &opened)) return Failed("messages", agx_last_error());
  const Messages messages(opened);

  const auto stop = [session] { return interrupted || agx_is_canceled(session) != 0; };
  Turn turn = {session, chat::Agent(settings, prompt, stop), {}};
  const agx_status status = agx_run_execute(session, messages.get(), RunTurn, &turn);
  const std::string why = turn.agent.error().empty() ? agx_last_error() : turn.agent.error();
  turn.printer.Finish();
  return status == AGX_OK ? 0 : Failed(agx_status_string(status), why.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  chat::Settings settings;
  const std::string wrong = chat::ReadEnvironment(&settings);
  if (!wrong.empty()) return Failed("environment", wrong.c_str());
  if (argc > 3) settings.model = argv[3];
  if (argc < 3 || argc > 4 || settings.model.empty()) {
    fprintf(stderr, "usage: chat SESSION PROMPT [MODEL], or OPENAI_MODEL is set\n");
    return 2;
  }
  std::signal(SIGINT, [](int) { interrupted = true; });
  std::signal(SIGPIPE, SIG_IGN);

  agx_client* client = nullptr;
  if (agx_open(nullptr, nullptr, &client)) return Failed("open", agx_last_error());
  const Client close_client(client);
  agx_session* session = nullptr;
  if (agx_session_open(client, 1, 42, argv[1], &session)) {
    return Failed("session", agx_last_error());
  }
  const Session close_session(session);
  return Answer(session, settings, argv[2]);
}
