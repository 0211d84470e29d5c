// OpenAI's two APIs.
#include "format/request_parts.h"

namespace agx::request {
namespace {

// The two differ in what they call an item of a prompt, and in how deep it lies.

Status AppendChatItem(const PromptItem& item, size_t message, JsonOut* out) {
  using Kind = PromptItem::Kind;
  if (item.kind == Kind::kNothing) return {};
  if (item.kind == Kind::kText) {
    out->Open('{').Member("type", "text").Member("text", item.text).Close('}');
    return {};
  }
  if (item.kind == Kind::kImageUrl || item.kind == Kind::kImage) {
    out->Open('{').Member("type", "image_url").Name("image_url").Open('{');
    out->Member("url", item.kind == Kind::kImage ? item.DataUrl() : item.text);
    if (!item.detail.empty()) out->Member("detail", item.detail);
    out->Close('}').Close('}');
    return {};
  }
  if (item.kind == Kind::kPdf) {
    out->Open('{').Member("type", "file").Name("file").Open('{');
    out->Member("file_data", item.DataUrl()).Member("filename", "file.pdf").Close('}').Close('}');
    return {};
  }
  bool wav = item.media_type == "audio/wav";
  if (item.kind == Kind::kAudio && (wav || item.media_type == "audio/mpeg")) {
    out->Open('{').Member("type", "input_audio").Name("input_audio").Open('{');
    out->Member("data", item.text).Member("format", wav ? "wav" : "mp3").Close('}').Close('}');
    return {};
  }
  return Unsupported("Chat Completions", item, message);
}

Status AppendResponsesItem(const PromptItem& item, size_t message, JsonOut* out) {
  using Kind = PromptItem::Kind;
  switch (item.kind) {
    case Kind::kNothing:
      return {};
    case Kind::kText:
      out->Open('{').Member("type", "input_text").Member("text", item.text).Close('}');
      return {};
    case Kind::kImageUrl:
    case Kind::kImage:
      out->Open('{').Member("type", "input_image");
      out->Member("image_url", item.kind == Kind::kImage ? item.DataUrl() : item.text);
      out->Member("detail", item.detail.empty() ? "auto" : item.detail).Close('}');
      return {};
    case Kind::kDocumentUrl:
      out->Open('{').Member("type", "input_file").Member("file_url", item.text).Close('}');
      return {};
    case Kind::kPdf:
      out->Open('{').Member("type", "input_file").Member("file_data", item.DataUrl());
      out->Member("filename", "file.pdf").Close('}');
      return {};
    case Kind::kAudio:
    case Kind::kOther:
      break;
  }
  return Unsupported("the Responses API", item, message);
}

void AppendRole(std::string_view role, std::string_view content, JsonOut* out) {
  out->Open('{').Member("role", role).Member("content", content).Close('}');
}

// A string stays a string: not every server that is compatible takes lists.
template <class AppendItem>
Status AppendUser(JsonValue part, size_t message, AppendItem append, JsonOut* out) {
  if (part["content"].is_string()) {
    AppendRole("user", part["content"].String(), out);
    return {};
  }
  JsonOut items;
  Status status =
      ForEachItem(part, [&](const PromptItem& item) { return append(item, message, &items); });
  if (!status.ok() || items.empty()) return status;
  out->Open('{').Member("role", "user").Name("content");
  out->Json(Cat("[", items.text(), "]")).Close('}');
  return {};
}

// --- Chat Completions

// Results have to follow their calls at once, whatever else the request has.
Status AppendChatRequest(JsonValue message, size_t index, JsonOut* out) {
  JsonOut others;
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kSystemPrompt) {
      AppendRole("system", ContentText(part), &others);
    } else if (kind == PartKind::kUserPrompt) {
      Status status = AppendUser(part, index, AppendChatItem, &others);
      if (!status.ok()) return status;
    } else if (kind == PartKind::kRetryPrompt && !part["tool_name"].is_string()) {
      AppendRole("user", RetryText(part), &others);
    } else if (kind == PartKind::kToolReturn || kind == PartKind::kRetryPrompt) {
      out->Open('{').Member("role", "tool");
      out->Member("tool_call_id", part["tool_call_id"].String());
      out->Member("content", kind == PartKind::kRetryPrompt ? RetryText(part) : ContentText(part));
      out->Close('}');
    }
  }
  if (!others.empty()) out->Json(others.text());
  return {};
}

void AppendChatResponse(JsonValue message, JsonOut* out) {
  std::string text;
  bool has_text = false;
  JsonOut calls;
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kText) {
      if (has_text) text += "\n\n";
      part["content"].AppendString(&text);
      has_text = true;
    } else if (kind == PartKind::kToolCall) {
      calls.Open('{').Member("id", part["tool_call_id"].String()).Member("type", "function");
      calls.Name("function").Open('{').Member("name", part["tool_name"].String());
      calls.Member("arguments", ArgumentsOf(part)).Close('}').Close('}');
    }
  }
  if (!has_text && calls.empty()) return;
  out->Open('{').Member("role", "assistant").Name("content");
  has_text ? out->Text(text) : out->Json("null");
  if (!calls.empty()) out->Name("tool_calls").Json(Cat("[", calls.text(), "]"));
  out->Close('}');
}

// --- Responses

// The parts of one reasoning item, which go by its id: the first of its texts, or all, are signed.
// Without the signature the API cannot read it, and another provider's is none to it.
class Reasoning {
 public:
  Reasoning(JsonValue message, JsonOut* out) : message_(message), out_(out) {}

  void Add(JsonValue part) {
    std::string id = part["id"].String();
    if (id != id_) Finish();
    std::string provider = ProviderOf(message_, part);
    bool theirs = provider.empty() || provider == "openai" || provider == "azure";
    if (id.empty() || !theirs) return;
    id_ = id;
    if (signature_.empty()) signature_ = part["signature"].String();
    std::string text = part["content"].String();
    if (text.empty()) return;
    summary_.Open('{').Member("type", "summary_text").Member("text", text).Close('}');
  }
  // Before whatever comes after it.
  void Finish() {
    if (!signature_.empty()) {
      out_->Open('{').Member("type", "reasoning").Member("id", id_);
      out_->Name("summary").Json(Cat("[", summary_.text(), "]"));
      out_->Member("encrypted_content", signature_).Close('}');
      written_ = true;
    }
    id_.clear();
    signature_.clear();
    summary_.Clear();
  }
  // The API knows items by their ids only together with the reasoning that led to them.
  bool written() const { return written_; }

 private:
  JsonValue message_;
  JsonOut* out_;
  std::string id_;
  std::string signature_;
  JsonOut summary_;
  bool written_ = false;
};

void AppendOutputText(JsonValue part, bool with_id, JsonOut* out) {
  std::string id = with_id ? part["id"].String() : std::string();
  if (id.empty()) return AppendRole("assistant", part["content"].String(), out);
  out->Open('{').Member("type", "message").Member("id", id).Member("role", "assistant");
  out->Member("status", "completed").Name("content").Open('[').Open('{');
  out->Member("type", "output_text").Member("text", part["content"].String());
  out->Name("annotations").Json("[]").Close('}').Close(']').Close('}');
}

void AppendFunctionCall(JsonValue part, bool with_id, JsonOut* out) {
  out->Open('{').Member("type", "function_call");
  std::string id = with_id ? part["id"].String() : std::string();
  if (!id.empty()) out->Member("id", id);
  out->Member("call_id", part["tool_call_id"].String());
  out->Member("name", part["tool_name"].String()).Member("arguments", ArgumentsOf(part));
  out->Close('}');
}

void AppendResponsesResponse(JsonValue message, JsonOut* out) {
  Reasoning reasoning(message, out);
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kThinking) reasoning.Add(part);
    if (kind != PartKind::kText && kind != PartKind::kToolCall) continue;
    reasoning.Finish();
    if (kind == PartKind::kText) AppendOutputText(part, reasoning.written(), out);
    if (kind == PartKind::kToolCall) AppendFunctionCall(part, reasoning.written(), out);
  }
  reasoning.Finish();
}

Status AppendResponsesRequest(JsonValue message, size_t index, JsonOut* out) {
  for (JsonElements element(message["parts"]); element.Next();) {
    JsonValue part = element.value();
    PartKind kind = KindOf(part);
    if (kind == PartKind::kSystemPrompt) {
      AppendRole("system", ContentText(part), out);
    } else if (kind == PartKind::kUserPrompt) {
      Status status = AppendUser(part, index, AppendResponsesItem, out);
      if (!status.ok()) return status;
    } else if (kind == PartKind::kRetryPrompt && !part["tool_name"].is_string()) {
      AppendRole("user", RetryText(part), out);
    } else if (kind == PartKind::kToolReturn || kind == PartKind::kRetryPrompt) {
      out->Open('{').Member("type", "function_call_output");
      out->Member("call_id", part["tool_call_id"].String());
      out->Member("output", kind == PartKind::kRetryPrompt ? RetryText(part) : ContentText(part));
      out->Close('}');
    }
  }
  return {};
}

}  // namespace

Status AppendChat(const Conversation& conversation, Members* members) {
  JsonOut messages;
  messages.Open('[');
  std::string instructions = Instructions(conversation);
  if (!instructions.empty()) AppendRole("system", instructions, &messages);
  for (size_t i = 0; i < conversation.count(); ++i) {
    JsonValue message = conversation.message(i);
    if (IsResponse(message)) AppendChatResponse(message, &messages);
    if (!IsRequest(message)) continue;
    Status status = AppendChatRequest(message, i, &messages);
    if (!status.ok()) return status;
  }
  messages.Close(']');
  members->emplace_back("messages", messages.text());
  return {};
}

Status AppendResponses(const Conversation& conversation, Members* members) {
  std::string instructions = Instructions(conversation);
  if (!instructions.empty()) {
    members->emplace_back("instructions", JsonOut().Text(instructions).text());
  }
  JsonOut input;
  input.Open('[');
  for (size_t i = 0; i < conversation.count(); ++i) {
    JsonValue message = conversation.message(i);
    if (IsResponse(message)) AppendResponsesResponse(message, &input);
    if (!IsRequest(message)) continue;
    Status status = AppendResponsesRequest(message, i, &input);
    if (!status.ok()) return status;
  }
  input.Close(']');
  members->emplace_back("input", input.text());
  return {};
}

}  // namespace agx::request
