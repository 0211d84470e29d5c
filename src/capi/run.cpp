#include <cstring>
#include <string_view>

#include "base/json.h"
#include "base/options.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

// Escaped, it has to fit into a body.
constexpr size_t kTextMax = AGX_BODY_MAX / 6 - 4096;

Status CheckText(const char* what, const char* text, std::string_view* out) {
  *out = {};
  if (text == nullptr) return {};
  size_t size = strnlen(text, kTextMax + 1);
  if (size > kTextMax) return {AGX_ETOOBIG, Cat(what, " has more than ", kTextMax, " bytes")};
  *out = {text, size};
  return {};
}

Status CheckToolName(const char* text, std::string_view* out) {
  if (text == nullptr || *text == '\0') return {AGX_EINVAL, "tool_name is NULL or empty"};
  return CheckText("tool_name", text, out);
}

Status CheckContent(const char* content, std::string_view* out) {
  *out = "null";
  if (content == nullptr) return {};
  if (Status status = CheckText("content", content, out); !status.ok()) return status;
  JsonError error;
  if (ValidateJson(*out, AGX_DEPTH_MAX - 1, &error)) return {};
  return {AGX_EJSON, Cat("content is not valid JSON at byte ", error.offset, ": ", error.reason)};
}

// An interceptor of the run's own event is in the middle of a call already.
template <class Function>
agx_status CallRun(agx_run* run, Function function) {
  return Call(run, [&](Run& object) -> Status {
    if (object.InTurn()) {
      return {AGX_ESTATE, "an interceptor may not use the run whose event it was given"};
    }
    return function(object);
  });
}

// Gives a response with its length, either of which may not be wanted.
template <class Function>
agx_status Respond(agx_run* run, const char** response, size_t* length, Function function) {
  const char* text = nullptr;
  size_t size = 0;
  agx_status status = CallRun(run, [&](Run& object) { return function(object, &text, &size); });
  if (response != nullptr) *response = text;
  if (length != nullptr) *length = size;
  return status;
}

Status WithMessages(agx_messages* messages, Status (Messages::*step)()) {
  if (messages == nullptr) return {};
  Using<agx_messages> object(messages);
  if (!object) return {AGX_ECLOSED, Traits<agx_messages>::kStale};
  return ((*object).*step)();
}

}  // namespace

extern "C" {

agx_status agx_run_begin(agx_session* session, const agx_run_options* options, agx_run** run) {
  if (run == nullptr) return MissingOut("agx_run_begin: run is NULL");
  *run = nullptr;
  return Call(session, [&](Session& object) -> Status {
    auto begun = BeginRun(object, options);
    if (!begun.ok()) return begun.status();
    std::shared_ptr<Run> kept = *begun;
    Status status = Give(std::move(*begun), run);
    if (!status.ok()) kept->Close();
    return status;
  });
}

agx_status agx_run_node_begin(agx_run* run) {
  return CallRun(run, [](Run& object) { return object.NodeBegin(); });
}

agx_status agx_run_tool_return(agx_run* run, const char* tool_name, const char* tool_call_id,
                               const char* content) {
  return CallRun(run, [&](Run& object) {
    std::string_view name;
    std::string_view id;
    std::string_view json;
    if (Status status = CheckToolName(tool_name, &name); !status.ok()) return status;
    if (Status status = CheckText("tool_call_id", tool_call_id, &id); !status.ok()) return status;
    if (Status status = CheckContent(content, &json); !status.ok()) return status;
    return object.ToolReturn(name, id, json);
  });
}

agx_status agx_run_part_begin(agx_run* run, agx_part_kind kind, const char* content, int* part) {
  int number = 0;
  if (part != nullptr) *part = -1;
  agx_status status = CallRun(run, [&](Run& object) -> Status {
    if (kind != AGX_PART_TEXT && kind != AGX_PART_THINKING) {
      return {AGX_EINVAL,
              "kind is to be AGX_PART_TEXT or AGX_PART_THINKING; tool calls begin "
              "with agx_run_tool_call_begin"};
    }
    std::string_view text;
    if (Status checked = CheckText("content", content, &text); !checked.ok()) return checked;
    return object.PartBegin(kind, text, part != nullptr ? part : &number);
  });
  return status;
}

agx_status agx_run_tool_call_begin(agx_run* run, const char* tool_name, const char* tool_call_id,
                                   const char* args, int* part) {
  int number = 0;
  if (part != nullptr) *part = -1;
  return CallRun(run, [&](Run& object) {
    std::string_view name;
    std::string_view id;
    std::string_view text;
    if (Status status = CheckToolName(tool_name, &name); !status.ok()) return status;
    if (Status status = CheckText("tool_call_id", tool_call_id, &id); !status.ok()) return status;
    if (Status status = CheckText("args", args, &text); !status.ok()) return status;
    return object.ToolCallBegin(name, id, text, part != nullptr ? part : &number);
  });
}

agx_status agx_run_part_delta(agx_run* run, int part, const char* delta) {
  return CallRun(run, [&](Run& object) {
    std::string_view text;
    if (Status status = CheckText("delta", delta, &text); !status.ok()) return status;
    return object.PartDelta(part, text);
  });
}

agx_status agx_run_part_end(agx_run* run, int part) {
  return CallRun(run, [&](Run& object) { return object.PartEnd(part); });
}

agx_status agx_run_answer(agx_run* run) {
  return CallRun(run, [](Run& object) { return object.Answer(); });
}

agx_status agx_run_node_end(agx_run* run, const char** response, size_t* length) {
  return Respond(run, response, length, [](Run& object, const char** text, size_t* size) {
    return object.NodeEnd(text, size);
  });
}

agx_status agx_run_flush(agx_run* run) {
  return CallRun(run, [](Run& object) { return object.Flush(); });
}

agx_status agx_run_finish(agx_run* run) {
  return CallRun(run, [](Run& object) { return object.Finish(); });
}

agx_status agx_run_fail(agx_run* run, const char* message) {
  return CallRun(run, [&](Run& object) {
    std::string_view text;
    if (Status status = CheckText("message", message, &text); !status.ok()) return status;
    return object.Fail(message != nullptr ? text : "unknown");
  });
}

agx_status agx_run_feed(agx_run* run, agx_model_api api, const char* bytes, size_t length) {
  return CallRun(run, [&](Run& object) -> Status {
    if (api != AGX_OPENAI_CHAT && api != AGX_OPENAI_RESPONSES && api != AGX_ANTHROPIC) {
      return {AGX_EINVAL, Cat("there is no model API ", static_cast<int>(api))};
    }
    if (bytes == nullptr && length > 0) return {AGX_EINVAL, "agx_run_feed: bytes is NULL"};
    return object.Feed(api, {bytes, length});
  });
}

agx_status agx_run_feed_end(agx_run* run, const char** response, size_t* length) {
  return Respond(run, response, length, [](Run& object, const char** text, size_t* size) {
    return object.FeedEnd(text, size);
  });
}

void agx_run_close(agx_run* run) {
  if (Using<agx_run> object(run); object && object->InTurn()) return;
  Close(run);
}

agx_status agx_run_execute(agx_session* session, agx_messages* messages, agx_agent agent,
                           void* user_data) {
  return agx_run_execute_with(session, nullptr, messages, agent, user_data);
}

agx_status agx_run_execute_with(agx_session* session, const agx_run_options* options,
                                agx_messages* messages, agx_agent agent, void* user_data) {
  if (agent == nullptr) return Report(AGX_EINVAL, "agx_run_execute: agent is NULL");
  if (Using<agx_messages> object(messages); messages != nullptr && !object) {
    return object.Invalid();
  }
  std::shared_ptr<Run> object;
  agx_run* run = nullptr;
  agx_status begun = Call(session, [&](Session& opened) -> Status {
    auto result = BeginRun(opened, options);
    if (!result.ok()) return result.status();
    object = *result;
    Status status = Give(std::move(*result), &run);
    if (!status.ok()) object->Close();
    return status;
  });
  if (begun != AGX_OK) return begun;
  // No handle is held meanwhile: the agent may close them.
  Run::Steps steps;
  steps.load = [&] { return WithMessages(messages, &Messages::Load); };
  steps.save = [&] { return WithMessages(messages, &Messages::Save); };
  steps.agent = [&]() -> Status {
    Report(AGX_EFAILED, "");
    agx_status said = agent(run, messages, user_data);
    const char* why = agx_last_error();
    return {said, *why != '\0' ? why : agx_status_string(said)};
  };
  agx_status status = Guarded([&] { return object->Execute(steps); });
  Close(run);
  return status;
}
}
