// Anthropic Messages.
#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

#include "base/json_cursor.h"
#include "model/decoder.h"

namespace agx {
namespace {

std::string_view FinishReason(JsonValue reason) {
  for (std::string_view stop : {"end_turn", "stop_sequence", "compaction"}) {
    if (reason.Is(stop)) return "stop";
  }
  for (std::string_view length : {"max_tokens", "model_context_window_exceeded"}) {
    if (reason.Is(length)) return "length";
  }
  if (reason.Is("tool_use")) return "tool_call";
  return reason.Is("refusal") ? "content_filter" : "";
}

class AnthropicDecoder final : public Decoder {
 public:
  Status Event(std::string_view name, JsonValue data, Response* response) override;
  std::string_view repeatable() const override { return repeatable_; }
  Status Again(std::string_view text, Response* response) override {
    return GrowIfOpen(repeatable_part_, text, response);
  }
  bool complete() const override { return complete_; }
  bool ended() const override { return complete_; }
  std::string_view provider() const override { return "anthropic"; }

 private:
  enum class Kind : uint8_t { kText, kThinking, kToolUse, kOther };
  struct Block {
    Kind kind = Kind::kOther;
    int part = -1;
    bool filled = false;  // arguments have come in pieces
    std::string input;    // the arguments, as they came with the beginning
  };
  // Of one event, as far as it is of use.
  struct Fields {
    JsonValue type;
    JsonValue index;
    JsonValue content_block;
    JsonValue message;
    JsonValue usage;
    bool failed = false;
    // Of "delta".
    JsonValue delta_type;
    JsonValue text;
    JsonValue thinking;
    JsonValue signature;
    JsonValue partial_json;
    JsonValue stop_reason;
  };

  static Fields Read(JsonValue data);
  static void ReadDelta(JsonCursor* cursor, Fields* fields);
  Status BlockStart(const Fields& event, Response* response);
  Status BlockDelta(const Fields& event, Response* response);
  Status BlockStop(Block* block, Response* response);
  Status MessageStop(Response* response);
  Status TextDelta(Block* block, JsonValue content, Response* response);
  Status ThinkingDelta(Block* block, JsonValue content, Response* response);
  Status SignatureDelta(Block* block, JsonValue content, Response* response);
  Status InputDelta(Block* block, JsonValue content, Response* response);
  Status Sign(int part, JsonValue signature, Response* response);
  void Usage(JsonValue usage, Response* response);
  Status Grow(int part, std::string_view text, Response* response);
  Block* FindOrAdd(JsonValue index, Kind kind);

  bool complete_ = false;
  std::unordered_map<int64_t, Block> blocks_;
  int64_t last_ = 0;  // the index of the block that came last
  size_t kept_ = 0;   // bytes, of signatures and of what the blocks have
  // As the API counts them: what came from the cache or went there is not among the input.
  int64_t input_ = 0;
  ModelUsage usage_;
  std::string_view repeatable_;
  int repeatable_part_ = -1;
  std::string scratch_;
  std::string kind_scratch_;
};

AnthropicDecoder::Fields AnthropicDecoder::Read(JsonValue data) {
  Fields fields;
  JsonCursor cursor(data);
  cursor.Members([&](std::string_view name) {
    if (name == "delta") return ReadDelta(&cursor, &fields);
    JsonValue value = cursor.Take();
    if (name == "type") fields.type = value;
    if (name == "index") fields.index = value;
    if (name == "content_block") fields.content_block = value;
    if (name == "message") fields.message = value;
    if (name == "usage") fields.usage = value;
    if (name == "error") fields.failed = value.is_object() || IsFilled(value);
  });
  return fields;
}

void AnthropicDecoder::ReadDelta(JsonCursor* cursor, Fields* fields) {
  cursor->Members([&](std::string_view name) {
    JsonValue value = cursor->Take();
    if (name == "type") fields->delta_type = value;
    if (name == "text") fields->text = value;
    if (name == "thinking") fields->thinking = value;
    if (name == "signature") fields->signature = value;
    if (name == "partial_json") fields->partial_json = value;
    if (name == "stop_reason") fields->stop_reason = value;
  });
}

Status AnthropicDecoder::Event(std::string_view name, JsonValue data, Response* response) {
  repeatable_ = {};
  Fields event = Read(data);
  std::string_view kind = IsFilled(event.type) ? TextOf(event.type, &kind_scratch_) : name;
  known_ = known_ || kind.starts_with("content_block_") || kind.starts_with("message_");
  if (kind == "content_block_delta") return BlockDelta(event, response);
  if (kind == "content_block_start") return BlockStart(event, response);
  if (kind == "content_block_stop") {
    auto found = blocks_.find(event.index.Integer().value_or(last_));
    return found == blocks_.end() ? Status() : BlockStop(&found->second, response);
  }
  if (kind == "message_stop") return MessageStop(response);
  if (kind == "message_start") {
    JsonValue id = event.message["id"];
    JsonValue model = event.message["model"];
    if (IsFilled(id)) response->SetResponseId(TextOf(id, &scratch_));
    if (IsFilled(model)) response->SetModel(TextOf(model, &scratch_));
    Usage(event.message["usage"], response);
  } else if (kind == "message_delta") {
    if (IsFilled(event.stop_reason)) response->SetFinishReason(FinishReason(event.stop_reason));
    Usage(event.usage, response);
  } else if (kind == "error" || (kind.empty() && event.failed)) {
    std::string text = ErrorText(data);
    return ModelError(text.empty() ? data.text() : text);
  }
  return {};
}

Status AnthropicDecoder::BlockStart(const Fields& event, Response* response) {
  last_ = event.index.Integer().value_or(blocks_.empty() ? 0 : last_ + 1);
  JsonValue content = event.content_block;
  JsonValue input = content["input"];
  kept_ += sizeof(Block) + input.text().size();
  if (Status status = CheckSize(kept_); !status.ok()) return status;
  Block& block = blocks_[last_];
  block = {};
  JsonValue type = content["type"];
  if (type.Is("text")) {
    block.kind = Kind::kText;
    JsonValue text = content["text"];
    // Without content it has not begun.
    return IsFilled(text) ? TextDelta(&block, text, response) : Status();
  }
  if (type.Is("thinking")) {
    block.kind = Kind::kThinking;
    block.part = response->Begin(AGX_PART_THINKING, TextOf(content["thinking"], &scratch_));
    return Sign(block.part, content["signature"], response);
  }
  if (type.Is("redacted_thinking")) {
    block.kind = Kind::kThinking;
    block.part = response->Begin(AGX_PART_THINKING, "");
    response->SetPartId(block.part, "redacted_thinking");
    return Sign(block.part, content["data"], response);
  }
  if (type.Is("tool_use") && IsFilled(content["name"])) {
    block.kind = Kind::kToolUse;
    std::string id = content["id"].String();
    block.part = response->BeginToolCall(TextOf(content["name"], &scratch_), id, "");
    if (JsonMembers(input).Next()) block.input = input.text();
  }
  return {};
}

Status AnthropicDecoder::BlockDelta(const Fields& event, Response* response) {
  if (Status status = CheckSize(kept_); !status.ok()) return status;
  JsonValue type = event.delta_type;
  if (type.Is("text_delta") && event.text.is_string()) {
    return TextDelta(FindOrAdd(event.index, Kind::kText), event.text, response);
  }
  if (type.Is("input_json_delta") && event.partial_json.is_string()) {
    return InputDelta(FindOrAdd(event.index, Kind::kOther), event.partial_json, response);
  }
  if (type.Is("thinking_delta") && event.thinking.is_string()) {
    return ThinkingDelta(FindOrAdd(event.index, Kind::kThinking), event.thinking, response);
  }
  if (type.Is("signature_delta") && event.signature.is_string()) {
    return SignatureDelta(FindOrAdd(event.index, Kind::kThinking), event.signature, response);
  }
  return {};
}

// A block that has not started starts with its first delta.
AnthropicDecoder::Block* AnthropicDecoder::FindOrAdd(JsonValue index, Kind kind) {
  auto [entry, added] = blocks_.try_emplace(index.Integer().value_or(last_));
  if (added) {
    entry->second.kind = kind;
    last_ = entry->first;
    kept_ += sizeof(Block);
  }
  return &entry->second;
}

Status AnthropicDecoder::TextDelta(Block* block, JsonValue content, Response* response) {
  if (block->kind != Kind::kText) return {};
  std::string_view text = TextOf(content, &scratch_);
  if (block->part >= 0) return Grow(block->part, text, response);
  block->part = BeginText(text, response);
  return {};
}

Status AnthropicDecoder::Grow(int part, std::string_view text, Response* response) {
  if (text.data() != scratch_.data()) repeatable_ = text;
  repeatable_part_ = part;
  return GrowIfOpen(part, text, response);
}

Status AnthropicDecoder::ThinkingDelta(Block* block, JsonValue content, Response* response) {
  if (block->kind != Kind::kThinking) return {};
  std::string_view text = TextOf(content, &scratch_);
  if (block->part >= 0) return Grow(block->part, text, response);
  block->part = response->Begin(AGX_PART_THINKING, text);
  return {};
}

Status AnthropicDecoder::SignatureDelta(Block* block, JsonValue content, Response* response) {
  if (block->kind != Kind::kThinking) return {};
  if (block->part < 0) block->part = response->Begin(AGX_PART_THINKING, "");
  return Sign(block->part, content, response);
}

Status AnthropicDecoder::Sign(int part, JsonValue signature, Response* response) {
  if (!IsFilled(signature)) return {};
  std::string_view text = TextOf(signature, &scratch_);
  kept_ += text.size();
  Status status = CheckSize(kept_);
  if (status.ok()) response->AppendSignature(part, text);
  return status;
}

Status AnthropicDecoder::InputDelta(Block* block, JsonValue content, Response* response) {
  if (block->kind != Kind::kToolUse || !IsFilled(content)) return {};
  block->filled = true;
  return GrowIfOpen(block->part, TextOf(content, &scratch_), response);
}

Status AnthropicDecoder::BlockStop(Block* block, Response* response) {
  Status status;
  if (block->kind == Kind::kToolUse && !block->filled && !block->input.empty()) {
    status = GrowIfOpen(block->part, block->input, response);
  }
  if (block->part >= 0) response->End(block->part);
  // What still comes for it belongs nowhere.
  *block = {};
  return status;
}

Status AnthropicDecoder::MessageStop(Response* response) {
  Status status;
  for (auto& [index, block] : blocks_) {
    if (status.ok() && block.kind == Kind::kToolUse && !block.filled && !block.input.empty()) {
      status = GrowIfOpen(block.part, block.input, response);
    }
  }
  complete_ = status.ok();
  response->EndAll();
  return status;
}

// Counts are running totals, and those that are left out have not changed.
void AnthropicDecoder::Usage(JsonValue usage, Response* response) {
  if (!usage.is_object()) return;
  struct Counter {
    std::string_view name;
    int64_t* value;
  };
  const std::array<Counter, 4> counters = {
      {{"input_tokens", &input_},
       {"output_tokens", &usage_.output_tokens},
       {"cache_read_input_tokens", &usage_.cache_read_tokens},
       {"cache_creation_input_tokens", &usage_.cache_write_tokens}}};
  for (JsonMembers member(usage); member.Next();) {
    std::optional<int64_t> count = member.value().Integer();
    for (const Counter& counter : counters) {
      if (count && *count >= 0 && member.name().Is(counter.name)) *counter.value = *count;
    }
    if (!member.name().Is("output_tokens_details")) continue;
    count = member.value()["thinking_tokens"].Integer();
    if (count && *count >= 0) usage_.reasoning_tokens = *count;
  }
  ModelUsage total = usage_;
  // pydantic-ai counts all of it as input. A server may send any number.
  auto add = [&total](int64_t count) {
    total.input_tokens = std::min(total.input_tokens, INT64_MAX - count) + count;
  };
  add(input_);
  add(usage_.cache_read_tokens);
  add(usage_.cache_write_tokens);
  response->SetUsage(total);
}

}  // namespace

std::unique_ptr<Decoder> MakeAnthropicDecoder() { return std::make_unique<AnthropicDecoder>(); }

}  // namespace agx
