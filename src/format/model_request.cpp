#include "format/model_request.h"

#include <algorithm>

#include "base/json.h"
#include "format/request_parts.h"

namespace agx {
namespace request {
namespace {

// pydantic-ai writes bytes in the alphabet for URLs, which the APIs do not take.
std::string StandardBase64(std::string base64) {
  std::replace(base64.begin(), base64.end(), '-', '+');
  std::replace(base64.begin(), base64.end(), '_', '/');
  while (base64.size() % 4 != 0) base64 += '=';
  return base64;
}

PromptItem BinaryItem(JsonValue value) {
  PromptItem item;
  item.media_type = value["media_type"].String();
  item.text = StandardBase64(value["data"].String());
  item.name = Cat("binary content of the type ", item.media_type);
  std::string_view type = item.media_type;
  if (type.starts_with("image/")) {
    item.kind = PromptItem::Kind::kImage;
  } else if (type == "application/pdf") {
    item.kind = PromptItem::Kind::kPdf;
  } else if (type.starts_with("audio/")) {
    item.kind = PromptItem::Kind::kAudio;
  }
  return item;
}

// An object's text as a string holds it, or "" if it holds none.
std::string ObjectIn(const std::string& text) {
  if (!ValidateJson(text, AGX_DEPTH_MAX, nullptr)) return {};
  JsonValue value(text);
  return value.is_object() ? std::string(value.text()) : std::string();
}

}  // namespace

void JsonOut::Comma() {
  constexpr std::string_view kBegun = "{[:";
  if (!text_.empty() && kBegun.find(text_.back()) == kBegun.npos) text_ += ',';
}
JsonOut& JsonOut::Open(char bracket) {
  Comma();
  text_ += bracket;
  return *this;
}
JsonOut& JsonOut::Close(char bracket) {
  text_ += bracket;
  return *this;
}
JsonOut& JsonOut::Name(std::string_view name) {
  Text(name);
  text_ += ':';
  return *this;
}
JsonOut& JsonOut::NameAsItCame(std::string_view json) {
  Json(json);
  text_ += ':';
  return *this;
}
JsonOut& JsonOut::Text(std::string_view text) {
  Comma();
  AppendJsonString(text, &text_);
  return *this;
}
JsonOut& JsonOut::Json(std::string_view json) {
  Comma();
  text_ += json;
  return *this;
}

std::string Instructions(const Conversation& conversation) {
  for (size_t i = conversation.count(); i > 0; --i) {
    JsonValue message = conversation.message(i - 1);
    if (!IsRequest(message)) continue;
    std::string instructions = message["instructions"].String();
    if (!instructions.empty()) return instructions;
  }
  return {};
}

bool IsRequest(JsonValue message) { return message["kind"].Is("request"); }
bool IsResponse(JsonValue message) { return message["kind"].Is("response"); }

PartKind KindOf(JsonValue part) {
  JsonValue kind = part["part_kind"];
  if (kind.Is("system-prompt")) return PartKind::kSystemPrompt;
  if (kind.Is("user-prompt")) return PartKind::kUserPrompt;
  if (kind.Is("tool-return")) return PartKind::kToolReturn;
  if (kind.Is("retry-prompt")) return PartKind::kRetryPrompt;
  if (kind.Is("text")) return PartKind::kText;
  if (kind.Is("thinking")) return PartKind::kThinking;
  if (kind.Is("tool-call")) return PartKind::kToolCall;
  return PartKind::kOther;
}

std::string ContentText(JsonValue part) {
  JsonValue content = part["content"];
  return content.is_string() ? content.String() : std::string(content.text());
}

std::string RetryText(JsonValue part) {
  return Cat(ContentText(part), "\n\nPlease correct this and try again.");
}

std::string ArgumentsOf(JsonValue part) {
  JsonValue args = part["args"];
  if (args.is_object()) return std::string(args.text());
  std::string text = args.is_string() ? args.String() : std::string(args.text());
  if (text.empty() || args.kind() == JsonValue::Kind::kNull) return "{}";
  std::string object = args.is_string() ? ObjectIn(text) : std::string();
  if (!object.empty()) return object;
  JsonOut wrapped;
  wrapped.Open('{').Member("INVALID_JSON", text).Close('}');
  return wrapped.text();
}

std::string ProviderOf(JsonValue message, JsonValue part) {
  std::string provider = part["provider_name"].String();
  return provider.empty() ? message["provider_name"].String() : provider;
}

PromptItem ReadItem(JsonValue value) {
  PromptItem item;
  if (value.is_string()) {
    item.kind = PromptItem::Kind::kText;
    item.text = value.String();
    return item;
  }
  std::string kind = value["kind"].String();
  if (kind == "binary") {
    item = BinaryItem(value);
  } else if (kind == "text-content") {
    item.kind = PromptItem::Kind::kText;
    item.text = value["content"].String();
  } else if (kind == "image-url" || kind == "document-url") {
    item.kind = kind == "image-url" ? PromptItem::Kind::kImageUrl : PromptItem::Kind::kDocumentUrl;
    item.text = value["url"].String();
    item.media_type = value["media_type"].String();
  } else if (kind == "cache-point") {
    item.kind = PromptItem::Kind::kNothing;  // a hint, without content
  }
  if (item.name.empty()) item.name = kind.empty() ? "content without a kind" : kind;
  item.detail = value["vendor_metadata"]["detail"].String();
  return item;
}

Status Unsupported(std::string_view api, const PromptItem& item, size_t message) {
  return {AGX_EUNSUPPORTED, Cat("the user's prompt in message ", message, " has ", item.name,
                                ", for which ", api, " has no form")};
}

namespace {

Status AppendMembers(const Conversation& conversation, agx_model_api api, Members* members) {
  switch (api) {
    case AGX_OPENAI_CHAT:
      return AppendChat(conversation, members);
    case AGX_OPENAI_RESPONSES:
      return AppendResponses(conversation, members);
    case AGX_ANTHROPIC:
      return AppendAnthropic(conversation, members);
  }
  return {AGX_EINVAL, Cat("there is no model API ", static_cast<int>(api))};
}

}  // namespace
}  // namespace request

Result<std::string> MakeModelRequest(const Conversation& conversation, agx_model_api api,
                                     std::string_view settings) {
  JsonError error;
  if (!ValidateJson(settings, AGX_DEPTH_MAX, &error)) {
    return Status(AGX_EJSON,
                  Cat("settings is not valid JSON at byte ", error.offset, ": ", error.reason));
  }
  JsonValue given(settings);
  if (!given.is_object()) return Status(AGX_EJSON, "settings is no JSON object");
  request::Members members;
  if (Status status = request::AppendMembers(conversation, api, &members); !status.ok()) {
    return status;
  }
  // Chat Completions tells the usage in a stream only if asked to, and refuses to be asked without.
  bool streams = !given["stream"] || given["stream"].is_true();
  members.emplace_back("stream", "true");
  if (api == AGX_OPENAI_CHAT && streams) {
    members.emplace_back("stream_options", "{\"include_usage\":true}");
  }
  request::JsonOut body;
  body.Open('{');
  for (JsonMembers member(given); member.Next();) {
    body.NameAsItCame(member.name().text()).Json(member.value().text());
  }
  for (const auto& [name, json] : members) {
    if (!given[name]) body.Name(name).Json(json);
  }
  body.Close('}');
  return body.text();
}

}  // namespace agx
