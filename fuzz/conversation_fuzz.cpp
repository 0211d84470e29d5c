// Conversations out of anything: reading them, appending to them, and what is made of them. Input:
// a conversation, NUL, what is appended, NUL, the text of a part, NUL, settings. Whatever comes out
// has to be valid JSON, and what was there has to be there still.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/json.h"
#include "format/conversation.h"
#include "format/model_request.h"

namespace {

using agx::Conversation;

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string_view TakeText(std::string_view* rest) {
  std::string_view text = rest->substr(0, rest->find('\0'));
  rest->remove_prefix(std::min(rest->size(), text.size() + 1));
  return text;
}

// It can be read again, and is the same then.
void CheckLoads(const Conversation& conversation) {
  auto again = Conversation::Parse(conversation.json());
  Require(again.ok());
  Require(again->count() == conversation.count());
  for (size_t i = 0; i < conversation.count(); ++i) {
    Require(again->message(i).text() == conversation.message(i).text());
  }
}

void CheckViews(const Conversation& conversation, std::string_view settings) {
  std::string nodes = conversation.Nodes();
  Require(agx::ValidateJson(nodes, AGX_DEPTH_MAX, nullptr));
  Require(agx::JsonValue(nodes).is_array());
  Require(agx::ValidateUtf8(conversation.TitleContent().String()));
  for (agx_model_api api : {AGX_OPENAI_CHAT, AGX_OPENAI_RESPONSES, AGX_ANTHROPIC}) {
    for (std::string_view given : {settings, std::string_view("{}")}) {
      auto body = agx::MakeModelRequest(conversation, api, given);
      if (!body.ok()) {
        Require(!body.status().message().empty());
        continue;
      }
      Require(agx::ValidateJson(*body, agx::kJsonDepthLimit, nullptr));
      Require(agx::JsonValue(*body).is_object());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::string_view json = TakeText(&rest);
  std::string_view appended = TakeText(&rest);
  std::string_view text = TakeText(&rest);
  std::string_view settings = TakeText(&rest);

  auto parsed = Conversation::Parse(std::string(json));
  Conversation conversation;
  if (parsed.ok()) {
    Require(parsed->json() == json);
    conversation = std::move(*parsed);
  } else {
    Require(!parsed.status().message().empty());
  }
  CheckViews(conversation, settings);

  std::string before = conversation.json();
  size_t count = conversation.count();
  agx::Status status = conversation.Append(appended);
  if (!status.ok()) Require(conversation.json() == before && conversation.count() == count);
  CheckLoads(conversation);

  constexpr std::string_view kNow = "2026-01-02T03:04:05Z";
  std::string part = agx::UserPromptPart(text, kNow);
  if (agx::ValidateJson(text, agx::kPartValueDepth, nullptr)) {
    part = agx::ToolReturnPart(text, text, agx::JsonValue(text).text(), kNow);
  }
  before = conversation.json();
  Require(conversation.AppendPart(part, kNow).ok());
  Require(conversation.json().size() > before.size());
  Require(conversation.json().find(part) != std::string::npos);
  CheckLoads(conversation);
  CheckViews(conversation, settings);
  return 0;
}
