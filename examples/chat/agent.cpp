#include "agent.h"

#include <algorithm>
#include <cstdlib>

#include "http.h"

namespace chat {
namespace {

// A model that calls tools for ever is stopped.
constexpr int kRounds = 16;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets any
  return value ? value : "";
}

bool HasControls(const std::string& text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < ' ' || c == 0x7F; });
}

// A store that is away for a moment stops no run: what could not be written comes with what follows.
agx_status Tolerant(agx_status status) {
  const bool passing = status == AGX_ECONNECT || status == AGX_ETIMEOUT ||
                       status == AGX_EUNCERTAIN || status == AGX_ELOADING;
  return passing ? AGX_OK : status;
}

}  // namespace

std::string ReadEnvironment(Settings* settings) {
  std::string base = Environment("OPENAI_BASE_URL");
  if (base.empty()) base = "https://api.openai.com/v1";
  settings->url = JoinUrl(base, "/chat/completions");
  settings->api_key = Environment("OPENAI_API_KEY");
  settings->model = Environment("OPENAI_MODEL");
  if (settings->url.empty()) return "OPENAI_BASE_URL is no URL of http or https";
  if (HasControls(settings->api_key)) return "OPENAI_API_KEY holds a line end or the like";
  return "";
}

Agent::Agent(Settings settings, std::string prompt, Stop stop)
    : settings_(std::move(settings)), prompt_(std::move(prompt)), stop_(std::move(stop)) {}

agx_status Agent::Work(agx_run* run, agx_messages* messages) {
  run_ = run;
  messages_ = messages;
  agx_status status = TakePrompt();
  for (int round = 0; status == AGX_OK && round < kRounds; ++round) {
    status = AskModel();
    if (status == AGX_OK) status = CallTools();
    if (status == AGX_OK && answered_.empty()) return AGX_OK;
  }
  if (status != AGX_OK) return status;
  return Fail("the model still calls tools after " + std::to_string(kRounds) + " rounds");
}

agx_status Agent::TakePrompt() {
  agx_status status = AGX_OK;
  if (agx_messages_count(messages_) == 0 && !settings_.system.empty()) {
    status = agx_messages_append_system(messages_, settings_.system.c_str());
  }
  if (status == AGX_OK) status = agx_messages_append_user(messages_, prompt_.c_str());
  return Keep(status);
}

// One node: a request to the model, and its response.
agx_status Agent::AskModel() {
  const char* request = nullptr;
  size_t length = 0;
  agx_status status = agx_messages_request(messages_, AGX_OPENAI_CHAT, RequestSettings().c_str(),
                                           &request, &length);
  if (status == AGX_OK) status = Tolerant(agx_run_node_begin(run_));
  if (status == AGX_OK) status = TellToolReturns();
  if (status != AGX_OK) return Keep(status);
  return Stream({request, length});
}

agx_status Agent::TellToolReturns() {
  for (const Answered& answered : answered_) {
    const agx_status status = Tolerant(agx_run_tool_return(
        run_, answered.call.name.c_str(), answered.call.id.c_str(), answered.content.c_str()));
    if (status != AGX_OK) return status;
  }
  return AGX_OK;
}

agx_status Agent::Stream(const std::string& request) {
  Post post = {settings_.url, {"Content-Type: application/json"}, request, settings_.patience};
  if (!settings_.api_key.empty()) {
    post.headers.push_back("Authorization: Bearer " + settings_.api_key);
  }
  agx_status status = AGX_OK;
  const auto feed = [&](std::string_view bytes) {
    status = Keep(Tolerant(agx_run_feed(run_, AGX_OPENAI_CHAT, bytes.data(), bytes.size())));
    return status == AGX_OK;
  };
  if (!feed("")) return status;  // a response, even if not a byte of it comes
  const PostResult sent = Send(post, feed, stop_);
  if (status != AGX_OK) return status;
  if (sent.stopped) return AGX_CANCELED;
  if (!sent.error.empty()) return Fail(sent.error);

  const char* response = nullptr;
  size_t length = 0;
  status = Tolerant(agx_run_feed_end(run_, &response, &length));
  if (status == AGX_OK) status = agx_messages_append(messages_, response, length);
  return Keep(status);
}

agx_status Agent::CallTools() {
  answered_.clear();
  for (const ToolCall& call : ToolCalls()) {
    const ToolResult result = CallTool(call, stop_);
    if (stop_()) return AGX_CANCELED;
    const char* name = call.name.c_str();
    const char* id = call.id.c_str();
    const agx_status status =
        result.refusal.empty()
            ? agx_messages_append_tool_return(messages_, name, id, result.json.c_str())
            : agx_messages_append_retry(messages_, name, id, result.refusal.c_str());
    if (status != AGX_OK) return Keep(status);
    answered_.push_back({call, result.refusal.empty() ? result.json : Quoted(result.refusal)});
  }
  return AGX_OK;
}

std::vector<ToolCall> Agent::ToolCalls() const {
  std::vector<ToolCall> calls;
  const size_t last = agx_messages_count(messages_) - 1;
  for (size_t part = 0; part < agx_messages_part_count(messages_, last); ++part) {
    if (Field(last, part, "part_kind") != "tool-call") continue;
    calls.push_back({Field(last, part, "tool_name"), Field(last, part, "tool_call_id"),
                     Field(last, part, "args")});
  }
  return calls;
}

std::string Agent::Field(size_t message, size_t part, const char* name) const {
  const char* text = nullptr;
  size_t length = 0;
  agx_messages_part_field(messages_, message, part, name, &text, &length, nullptr);
  return {text ? text : "", length};
}

std::string Agent::RequestSettings() const {
  return R"({"model": )" + Quoted(settings_.model) + R"(, "tools": )" + std::string(ToolSpecs()) +
         "}";
}

agx_status Agent::Keep(agx_status status) {
  if (status != AGX_OK) error_ = agx_last_error();
  return status;
}

agx_status Agent::Fail(const std::string& message) {
  error_ = message;
  const agx_status status = agx_run_fail(run_, message.c_str());
  return status == AGX_OK ? AGX_EFAILED : status;
}

}  // namespace chat
