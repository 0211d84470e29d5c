// Anthropic's Messages API.
#include "format/request_parts.h"

namespace agx::request {
namespace {

// Roles take turns, so what comes from one role, of however many messages, goes into one.
class Turns {
 public:
  enum class Role { kNone, kUser, kAssistant };

  // Who says what is added next.
  void Speak(Role role) { next_ = role; }

  // Results have to be the first of what follows their calls.
  JsonOut* results() { return Turn(&results_); }
  JsonOut* blocks() { return Turn(&blocks_); }
  void Text(std::string_view text) {
    if (text.empty()) return;  // is refused
    blocks()->Open('{').Member("type", "text").Member("text", text).Close('}');
  }

  std::string Take() {
    Finish();
    return Cat("[", messages_.text(), "]");
  }

 private:
  JsonOut* Turn(JsonOut* out) {
    if (role_ != next_) Finish();
    role_ = next_;
    return out;
  }
  void Finish() {
    if (!results_.empty() || !blocks_.empty()) {
      std::string content = results_.text();
      if (!results_.empty() && !blocks_.empty()) content += ',';
      content += blocks_.text();
      messages_.Open('{').Member("role", role_ == Role::kUser ? "user" : "assistant");
      messages_.Name("content").Json(Cat("[", content, "]")).Close('}');
    }
    results_.Clear();
    blocks_.Clear();
  }

  Role role_ = Role::kNone;
  Role next_ = Role::kNone;
  JsonOut results_;
  JsonOut blocks_;
  JsonOut messages_;
};

void AppendSource(const PromptItem& item, std::string_view type, JsonOut* out) {
  out->Open('{').Member("type", type).Name("source").Open('{');
  if (item.kind == PromptItem::Kind::kImage || item.kind == PromptItem::Kind::kPdf) {
    out->Member("type", "base64").Member("media_type", item.media_type).Member("data", item.text);
  } else {
    out->Member("type", "url").Member("url", item.text);
  }
  out->Close('}').Close('}');
}

Status AppendUserItem(const PromptItem& item, size_t message, Turns* turns) {
  using Kind = PromptItem::Kind;
  bool pdf = item.media_type.empty() || item.media_type == "application/pdf";
  if (item.kind == Kind::kText) {
    turns->Text(item.text);
  } else if (item.kind == Kind::kImageUrl || item.kind == Kind::kImage) {
    AppendSource(item, "image", turns->blocks());
  } else if (item.kind == Kind::kPdf || (item.kind == Kind::kDocumentUrl && pdf)) {
    AppendSource(item, "document", turns->blocks());
  } else if (item.kind != Kind::kNothing) {
    return Unsupported("Anthropic's API", item, message);
  }
  return {};
}

void AppendToolResult(JsonValue part, const std::string& content, bool is_error, Turns* turns) {
  JsonOut* out = turns->results();
  out->Open('{').Member("type", "tool_result");
  out->Member("tool_use_id", part["tool_call_id"].String()).Member("content", content);
  if (is_error) out->Name("is_error").Json("true");
  out->Close('}');
}

void AppendSystem(std::string_view text, std::string* system) {
  if (text.empty()) return;
  if (!system->empty()) *system += "\n\n";
  *system += text;
}

Status AppendRequest(JsonValue message, size_t index, std::string* system, Turns* turns) {
  turns->Speak(Turns::Role::kUser);
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kSystemPrompt) {
      AppendSystem(ContentText(part), system);
    } else if (kind == PartKind::kUserPrompt) {
      Status status = ForEachItem(
          part, [&](const PromptItem& item) { return AppendUserItem(item, index, turns); });
      if (!status.ok()) return status;
    } else if (kind == PartKind::kToolReturn) {
      AppendToolResult(part, ContentText(part), part["outcome"].Is("failed"), turns);
    } else if (kind == PartKind::kRetryPrompt && part["tool_name"].is_string()) {
      AppendToolResult(part, RetryText(part), true, turns);
    } else if (kind == PartKind::kRetryPrompt) {
      turns->Text(RetryText(part));
    }
  }
  return {};
}

// Only what it has signed itself does it take back.
void AppendThinking(JsonValue message, JsonValue part, Turns* turns) {
  std::string signature = part["signature"].String();
  std::string provider = ProviderOf(message, part);
  if (signature.empty() || (!provider.empty() && provider != "anthropic")) return;
  JsonOut* out = turns->blocks();
  if (part["id"].Is("redacted_thinking")) {
    out->Open('{').Member("type", "redacted_thinking").Member("data", signature).Close('}');
    return;
  }
  out->Open('{').Member("type", "thinking").Member("thinking", part["content"].String());
  out->Member("signature", signature).Close('}');
}

void AppendResponse(JsonValue message, Turns* turns) {
  turns->Speak(Turns::Role::kAssistant);
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kText) {
      turns->Text(part["content"].String());
    } else if (kind == PartKind::kThinking) {
      AppendThinking(message, part, turns);
    } else if (kind == PartKind::kToolCall) {
      JsonOut* out = turns->blocks();
      out->Open('{').Member("type", "tool_use").Member("id", part["tool_call_id"].String());
      out->Member("name", part["tool_name"].String());
      out->Name("input").Json(ArgumentsOf(part)).Close('}');
    }
  }
}

}  // namespace

Status AppendAnthropic(const Conversation& conversation, Members* members) {
  std::string system;
  Turns turns;
  for (size_t i = 0; i < conversation.count(); ++i) {
    JsonValue message = conversation.message(i);
    if (IsResponse(message)) AppendResponse(message, &turns);
    if (!IsRequest(message)) continue;
    Status status = AppendRequest(message, i, &system, &turns);
    if (!status.ok()) return status;
  }
  AppendSystem(Instructions(conversation), &system);
  if (!system.empty()) members->emplace_back("system", JsonOut().Text(system).text());
  members->emplace_back("messages", turns.Take());
  return {};
}

}  // namespace agx::request
