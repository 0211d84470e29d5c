// OpenAI Chat Completions, and the many servers that speak it more or less.
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/json_cursor.h"
#include "model/decoder.h"

namespace agx {
namespace {

std::string_view FinishReason(JsonValue reason) {
  if (reason.Is("stop")) return "stop";
  if (reason.Is("length")) return "length";
  if (reason.Is("tool_calls") || reason.Is("function_call")) return "tool_call";
  if (reason.Is("content_filter")) return "content_filter";
  return reason.Is("error") ? "error" : "";
}

class ChatDecoder final : public Decoder {
 public:
  Status Event(std::string_view name, JsonValue data, Response* response) override;
  std::string_view repeatable() const override { return repeatable_; }
  Status Again(std::string_view text, Response* response) override {
    return Content(text, response);
  }
  void Done() override { done_ = true; }
  // Some servers close after the finish reason; what follows it is the usage.
  bool complete() const override { return done_ || finished_; }
  bool ended() const override { return done_; }
  std::string_view provider() const override { return "openai"; }

 private:
  struct Call {
    int part = -1;  // none before its name has come
    std::string name;
    std::string id;
    std::string args;  // that came before the name
  };
  // Of one event, as far as it is of use.
  struct Fields {
    bool failed = false;
    bool usage = false;
    JsonValue index;
    JsonValue finish_reason;
    JsonValue content;
    JsonValue refusal;
    JsonValue reasoning;
    JsonValue reasoning_content;
    JsonValue tool_calls;
  };

  Fields Read(JsonValue data, Response* response);
  static bool IsNothingButContent(const Fields& fields) {
    return IsFilled(fields.content) && !IsFilled(fields.reasoning) &&
           !IsFilled(fields.reasoning_content) && !IsFilled(fields.finish_reason) &&
           !fields.tool_calls.is_array() && !fields.usage;
  }
  static void ReadChoice(JsonCursor* cursor, Fields* fields);
  Status Apply(const Fields& delta, Response* response);
  Status Thinking(JsonValue content, std::string_view field, int* part, Response* response);
  Status Content(std::string_view content, Response* response);
  Status Text(std::string_view content, Response* response);
  Status ToolCall(JsonValue delta, Response* response);
  Call* FindCall(JsonValue index, std::string_view id, std::string_view name);
  Call* AddCall(std::string_view id);
  Status GrowCall(Call* call, std::string_view name, std::string_view id, std::string_view args,
                  Response* response);

  bool done_ = false;
  bool finished_ = false;
  bool refused_ = false;
  int text_ = -1;
  int reasoning_ = -1;
  int reasoning_content_ = -1;
  int tagged_ = -1;  // thinking that came as content, between tags
  std::vector<Call> calls_;
  std::unordered_map<int64_t, size_t> by_index_;
  std::unordered_map<std::string, size_t> by_id_;
  size_t pending_ =
      0;  // bytes of the calls, their names and ids, and of arguments whose names have not come
  std::string_view repeatable_;
  // As they came last: nearly every event repeats them.
  std::string raw_id_;
  std::string raw_model_;
  std::string scratch_;
  std::string name_scratch_;
  std::string id_scratch_;
};

Status ChatDecoder::Event(std::string_view name, JsonValue data, Response* response) {
  repeatable_ = {};
  Fields fields = Read(data, response);
  if (fields.failed || name == "error") {
    std::string text = ErrorText(data);
    return ModelError(text.empty() ? data.text() : text);
  }
  // One of several answers that were asked for; there is one response.
  if (fields.index.Integer().value_or(0) > 0) return {};
  if (IsFilled(fields.finish_reason)) {
    finished_ = true;
    if (!refused_) response->SetFinishReason(FinishReason(fields.finish_reason));
  }
  return Apply(fields, response);
}

ChatDecoder::Fields ChatDecoder::Read(JsonValue data, Response* response) {
  Fields fields;
  JsonCursor cursor(data);
  cursor.Members([&](std::string_view name) {
    if (name == "choices") {
      known_ = true;
      bool first = true;
      cursor.Elements([&] {
        if (!std::exchange(first, false)) return cursor.Skip();
        ReadChoice(&cursor, &fields);
      });
    } else if (name == "id") {
      JsonValue id = cursor.Take();
      if (!IsFilled(id) || id.text() == raw_id_) return;
      raw_id_ = id.text();
      response->SetResponseId(TextOf(id, &scratch_));
    } else if (name == "model") {
      JsonValue model = cursor.Take();
      if (!IsFilled(model) || model.text() == raw_model_) return;
      raw_model_ = model.text();
      response->SetModel(TextOf(model, &scratch_));
    } else if (name == "usage") {
      JsonValue usage = cursor.Take();
      fields.usage = usage.is_object();
      if (fields.usage) response->SetUsage(OpenAiUsage(usage));
    } else if (name == "error") {
      JsonValue error = cursor.Take();
      fields.failed |= error.is_object() || IsFilled(error);
    } else if (name == "object" || name == "type") {
      fields.failed |= cursor.Take().Is("error");
    } else {
      cursor.Skip();
    }
  });
  return fields;
}

void ChatDecoder::ReadChoice(JsonCursor* cursor, Fields* fields) {
  cursor->Members([&](std::string_view name) {
    if (name == "delta") {
      cursor->Members([&](std::string_view part) {
        JsonValue value = cursor->Take();
        if (part == "content") fields->content = value;
        if (part == "tool_calls") fields->tool_calls = value;
        if (part == "refusal") fields->refusal = value;
        if (part == "reasoning") fields->reasoning = value;
        if (part == "reasoning_content") fields->reasoning_content = value;
      });
    } else if (name == "finish_reason") {
      fields->finish_reason = cursor->Take();
    } else if (name == "index") {
      fields->index = cursor->Take();
    } else {
      cursor->Skip();
    }
  });
}

Status ChatDecoder::Apply(const Fields& delta, Response* response) {
  if (IsFilled(delta.refusal)) {
    refused_ = true;
    response->SetFinishReason("content_filter");
    return Text(TextOf(delta.refusal, &scratch_), response);
  }
  if (IsNothingButContent(delta)) {
    std::string_view text = TextOf(delta.content, &scratch_);
    if (text.data() != scratch_.data()) repeatable_ = text;
    return Content(text, response);
  }
  Status status;
  if (IsFilled(delta.reasoning)) {
    status = Thinking(delta.reasoning, "reasoning", &reasoning_, response);
  } else if (IsFilled(delta.reasoning_content)) {
    status = Thinking(delta.reasoning_content, "reasoning_content", &reasoning_content_, response);
  }
  if (status.ok() && IsFilled(delta.content)) {
    status = Content(TextOf(delta.content, &scratch_), response);
  }
  for (JsonElements call(delta.tool_calls); status.ok() && call.Next();) {
    status = ToolCall(call.value(), response);
  }
  return status;
}

Status ChatDecoder::Thinking(JsonValue content, std::string_view field, int* part,
                             Response* response) {
  std::string_view text = TextOf(content, &scratch_);
  if (*part >= 0 && response->IsOpen(*part)) return response->Grow(*part, text);
  *part = response->Begin(AGX_PART_THINKING, text);
  response->SetPartId(*part, field);
  return {};
}

// Models that think aloud have their tags in events of their own.
Status ChatDecoder::Content(std::string_view content, Response* response) {
  if (tagged_ >= 0) {
    if (content == "</think>") {
      tagged_ = -1;
      return {};
    }
    if (response->IsOpen(tagged_)) return response->Grow(tagged_, content);
  }
  if (content != "<think>" && tagged_ < 0) return Text(content, response);
  text_ = -1;
  tagged_ = response->Begin(AGX_PART_THINKING, content == "<think>" ? "" : content);
  response->SetPartId(tagged_, "content");
  return {};
}

Status ChatDecoder::Text(std::string_view content, Response* response) {
  if (text_ >= 0 && response->IsOpen(text_)) return response->Grow(text_, content);
  text_ = BeginText(content, response);
  return {};
}

Status ChatDecoder::ToolCall(JsonValue delta, Response* response) {
  JsonValue index;
  JsonValue id;
  JsonValue name;
  JsonValue args;
  JsonCursor cursor(delta);
  cursor.Members([&](std::string_view member) {
    if (member == "function") {
      cursor.Members([&](std::string_view part) {
        JsonValue value = cursor.Take();
        if (part == "name") name = value;
        if (part == "arguments") args = value;
      });
    } else {
      JsonValue value = cursor.Take();
      if (member == "index") index = value;
      if (member == "id") id = value;
    }
  });
  if (!delta.is_object()) return {};
  std::string_view id_text = TextOf(id, &id_scratch_);
  std::string_view name_text = TextOf(name, &name_scratch_);
  Call* call = FindCall(index, id_text, name_text);
  if (call == nullptr) return {};
  // Some servers send them as the object that they are.
  std::string_view args_text = args.is_object() ? args.text() : TextOf(args, &scratch_);
  return GrowCall(call, name_text, id_text, args_text, response);
}

// null: it continues a call that never began.
ChatDecoder::Call* ChatDecoder::FindCall(JsonValue index, std::string_view id,
                                         std::string_view name) {
  if (std::optional<int64_t> number = index.Integer()) {
    auto [entry, added] = by_index_.try_emplace(*number, calls_.size());
    if (added) return AddCall(id);
    Call* call = &calls_[entry->second];
    // Some servers number every call 0. Others make up an id for every piece, but name no names.
    bool another = !name.empty() && !id.empty() && !call->id.empty() && call->id != id;
    if (!another) return call;
    entry->second = calls_.size();
    return AddCall(id);
  }
  if (!id.empty()) {
    auto [entry, added] = by_id_.try_emplace(std::string(id), calls_.size());
    if (!added) return &calls_[entry->second];
    bool another = !name.empty() || calls_.empty() || !calls_.back().id.empty();
    if (another) return AddCall(id);
    entry->second = calls_.size() - 1;
    return &calls_.back();
  }
  if (!name.empty()) return AddCall(id);
  return calls_.empty() ? nullptr : &calls_.back();
}

ChatDecoder::Call* ChatDecoder::AddCall(std::string_view id) {
  pending_ += sizeof(Call) + id.size();
  return &calls_.emplace_back();
}

Status ChatDecoder::GrowCall(Call* call, std::string_view name, std::string_view id,
                             std::string_view args, Response* response) {
  bool new_id = !id.empty() && id != call->id;
  if (new_id) call->id = id;
  // A name comes whole, in pieces, or again and again.
  bool new_name = !name.empty() && name != call->name;
  pending_ += (new_name ? name.size() : 0) + (call->part < 0 ? args.size() : 0);
  Status status = CheckSize(pending_);
  if (!status.ok()) return status;
  if (new_name) call->name += name;
  if (call->part < 0) {
    call->args += args;
    if (call->name.empty()) return {};
    call->part = response->BeginToolCall(call->name, call->id, call->args);
    call->args = {};
    return {};
  }
  if (!response->IsOpen(call->part)) return {};
  if (new_name) response->GrowName(call->part, name);
  if (new_id) response->SetCallId(call->part, id);
  return args.empty() ? Status() : response->Grow(call->part, args);
}

}  // namespace

std::unique_ptr<Decoder> MakeOpenAiChatDecoder() { return std::make_unique<ChatDecoder>(); }

}  // namespace agx
