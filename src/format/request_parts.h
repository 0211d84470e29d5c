// What the requests to the models' APIs have in common. Only for src/format/.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_value.h"
#include "base/status.h"
#include "format/conversation.h"

namespace agx::request {

// Appends JSON, value by value, and sets the commas.
class JsonOut {
 public:
  JsonOut& Open(char bracket);
  JsonOut& Close(char bracket);
  JsonOut& Name(std::string_view name);
  // A name that is a JSON string already.
  JsonOut& NameAsItCame(std::string_view json);
  JsonOut& Text(std::string_view text);
  JsonOut& Json(std::string_view json);
  JsonOut& Member(std::string_view name, std::string_view text) { return Name(name).Text(text); }

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  void Clear() { text_.clear(); }

 private:
  void Comma();

  std::string text_;
};

// Members of a body: name, and the value's JSON.
using Members = std::vector<std::pair<std::string_view, std::string>>;

Status AppendChat(const Conversation& conversation, Members* members);
Status AppendResponses(const Conversation& conversation, Members* members);
Status AppendAnthropic(const Conversation& conversation, Members* members);

// What the agent was told besides the prompts: of the last request that says something.
std::string Instructions(const Conversation& conversation);

bool IsRequest(JsonValue message);
bool IsResponse(JsonValue message);
enum class PartKind {
  kOther,
  kSystemPrompt,
  kUserPrompt,
  kToolReturn,
  kRetryPrompt,
  kText,
  kThinking,
  kToolCall
};
PartKind KindOf(JsonValue part);

// Of a tool's return or of a retry: a string's text, anything else as JSON.
std::string ContentText(JsonValue part);
// A retry, of whatever.
std::string RetryText(JsonValue part);

// A tool call's arguments as the JSON text of an object. What is none is wrapped in one, in the way
// that Anthropic recommends for it.
std::string ArgumentsOf(JsonValue part);

// Who made the part, as far as the conversation says: "" if it does not.
std::string ProviderOf(JsonValue message, JsonValue part);

// Something in a user's prompt.
struct PromptItem {
  enum class Kind { kText, kImageUrl, kDocumentUrl, kImage, kPdf, kAudio, kNothing, kOther };

  Kind kind = Kind::kOther;
  std::string text;        // or URL, or the data in base64
  std::string media_type;  // of data
  std::string detail;      // how closely an image is to be looked at, "" for the API's choice
  std::string name;        // for errors

  std::string DataUrl() const { return Cat("data:", media_type, ";base64,", text); }
};

PromptItem ReadItem(JsonValue value);

// Calls function(item) for each item of a prompt's content, until it does not return AGX_OK.
template <class Function>
Status ForEachItem(JsonValue part, Function function) {
  JsonValue content = part["content"];
  if (content.is_string()) return function(ReadItem(content));
  for (JsonElements element(content); element.Next();) {
    if (Status status = function(ReadItem(element.value())); !status.ok()) return status;
  }
  return {};
}

// AGX_EUNSUPPORTED, which says what it is, and in which message.
Status Unsupported(std::string_view api, const PromptItem& item, size_t message);

}  // namespace agx::request
