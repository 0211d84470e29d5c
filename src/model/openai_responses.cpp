// OpenAI Responses. An item of the output comes in pieces, then some of the pieces whole, then the
// item whole, and in the end everything once more: what has come in pieces is not taken again.
#include <deque>
#include <map>
#include <string>
#include <unordered_map>

#include "base/json_cursor.h"
#include "model/decoder.h"

namespace agx {
namespace {

// The raw thoughts' place among the summaries, which are numbered from 0.
constexpr int64_t kRaw = -1;

class ResponsesDecoder final : public Decoder {
 public:
  Status Event(std::string_view name, JsonValue data, Response* response) override;
  bool complete() const override { return complete_; }
  bool ended() const override { return complete_; }
  std::string_view provider() const override { return "openai"; }

 private:
  struct Part {
    int number = -1;
    bool filled = false;  // its text has come, or some of it
  };
  struct Item {
    std::string id;
    Part text;
    Part call;
    std::map<int64_t, Part> thinking;  // by summary_index, or kRaw
  };
  // The members that events have, as far as they are of use.
  struct Fields {
    JsonValue type;
    JsonValue item_id;
    JsonValue output_index;
    JsonValue summary_index;
    JsonValue item;
    JsonValue part;
    JsonValue delta;
    JsonValue text;
    JsonValue refusal;
    JsonValue arguments;
    JsonValue response;
  };

  static Fields Read(JsonValue data);
  Status OfText(std::string_view kind, const Fields& event, Response* response);
  Status OfThinking(std::string_view kind, const Fields& event, Response* response);
  Status OfArguments(std::string_view kind, const Fields& event, Response* response);
  Status ItemAdded(const Fields& event, Response* response);
  Status ItemDone(Item* item, JsonValue value, Response* response);
  Status CallDone(Item* item, JsonValue value, Response* response);
  Status MessageDone(Item* item, JsonValue value, Response* response);
  Status ReasoningDone(Item* item, JsonValue value, Response* response);
  Status Completed(JsonValue value, Response* response);
  void Describe(JsonValue value, Response* response);

  Item* Find(JsonValue id, JsonValue output_index);
  Item* FindOrAdd(JsonValue id, JsonValue output_index);
  void BeginCall(Item* item, JsonValue value, Response* response);
  Status GrowText(Item* item, std::string_view content, Response* response);
  Status GrowThinking(Item* item, int64_t index, std::string_view content, Response* response);
  void Refuse(Response* response);

  bool complete_ = false;
  bool refused_ = false;
  size_t kept_ = 0;         // bytes, of signatures and of the items
  std::deque<Item> items_;  // a deque's elements stay where they are
  std::unordered_map<std::string, Item*> by_id_;
  std::unordered_map<int64_t, Item*> by_output_;
  std::string scratch_;
  std::string id_scratch_;
  std::string kind_scratch_;
};

ResponsesDecoder::Fields ResponsesDecoder::Read(JsonValue data) {
  Fields fields;
  JsonCursor cursor(data);
  cursor.Members([&](std::string_view name) {
    JsonValue value = cursor.Take();
    if (name == "type") fields.type = value;
    if (name == "delta") fields.delta = value;
    if (name == "item_id") fields.item_id = value;
    if (name == "output_index") fields.output_index = value;
    if (name == "summary_index") fields.summary_index = value;
    if (name == "item") fields.item = value;
    if (name == "part") fields.part = value;
    if (name == "text") fields.text = value;
    if (name == "refusal") fields.refusal = value;
    if (name == "arguments") fields.arguments = value;
    if (name == "response") fields.response = value;
  });
  return fields;
}

Status ResponsesDecoder::Event(std::string_view name, JsonValue data, Response* response) {
  if (Status status = CheckSize(kept_); !status.ok()) return status;
  Fields event = Read(data);
  std::string_view kind = IsFilled(event.type) ? TextOf(event.type, &kind_scratch_) : name;
  if (kind == "error" || (kind.empty() && !ErrorText(data).empty())) {
    std::string text = ErrorText(data);
    return ModelError(text.empty() ? data.text() : text);
  }
  constexpr std::string_view kPrefix = "response.";
  if (!kind.starts_with(kPrefix)) return {};
  known_ = true;
  kind.remove_prefix(kPrefix.size());
  if (kind.starts_with("output_text.") || kind.starts_with("refusal.")) {
    return OfText(kind, event, response);
  }
  if (kind.starts_with("function_call_arguments.")) return OfArguments(kind, event, response);
  if (kind.starts_with("reasoning_")) return OfThinking(kind, event, response);
  if (kind == "output_item.added") return ItemAdded(event, response);
  if (kind == "output_item.done") {
    if (!event.item.is_object()) return {};
    return ItemDone(FindOrAdd(event.item["id"], event.output_index), event.item, response);
  }
  if (kind == "created" || kind == "in_progress") Describe(event.response, response);
  if (kind == "completed" || kind == "incomplete") return Completed(event.response, response);
  if (kind == "failed") {
    Describe(event.response, response);
    std::string text = ErrorText(event.response);
    return ModelError(text.empty() ? "the response failed" : text);
  }
  return {};
}

Status ResponsesDecoder::OfText(std::string_view kind, const Fields& event, Response* response) {
  if (kind.starts_with("refusal.")) Refuse(response);
  if (kind == "output_text.delta" || kind == "refusal.delta") {
    if (!event.delta.is_string()) return {};
    return GrowText(FindOrAdd(event.item_id, event.output_index), TextOf(event.delta, &scratch_),
                    response);
  }
  JsonValue whole;
  if (kind == "output_text.done") whole = event.text;
  if (kind == "refusal.done") whole = event.refusal;
  if (!IsFilled(whole)) return {};
  Item* item = FindOrAdd(event.item_id, event.output_index);
  if (item->text.filled) return {};
  return GrowText(item, TextOf(whole, &scratch_), response);
}

Status ResponsesDecoder::OfThinking(std::string_view kind, const Fields& event,
                                    Response* response) {
  bool raw = kind.starts_with("reasoning_text.");
  JsonValue content;
  bool whole = kind.ends_with(".done");
  if (kind == "reasoning_summary_part.added") content = event.part["text"];
  if (kind == "reasoning_summary_text.delta" || kind == "reasoning_text.delta") {
    content = event.delta;
  }
  if (kind == "reasoning_summary_text.done" || kind == "reasoning_text.done") content = event.text;
  if (!content.is_string() || (whole && !IsFilled(content))) return {};
  Item* item = FindOrAdd(event.item_id, event.output_index);
  int64_t index = raw ? kRaw : event.summary_index.Integer().value_or(0);
  if (whole && item->thinking[index].filled) return {};
  return GrowThinking(item, index, TextOf(content, &scratch_), response);
}

Status ResponsesDecoder::OfArguments(std::string_view kind, const Fields& event,
                                     Response* response) {
  Item* item = Find(event.item_id, event.output_index);
  if (item == nullptr || item->call.number < 0) return {};
  bool whole = kind == "function_call_arguments.done";
  if (whole ? item->call.filled : kind != "function_call_arguments.delta") return {};
  JsonValue content = whole ? event.arguments : event.delta;
  if (!IsFilled(content)) return {};
  item->call.filled = true;
  return GrowIfOpen(item->call.number, TextOf(content, &scratch_), response);
}

Status ResponsesDecoder::ItemAdded(const Fields& event, Response* response) {
  if (!event.item.is_object()) return {};
  JsonValue id = event.item["id"];
  // Another item where one was: the deltas that name no id are the new one's from now on.
  if (std::optional<int64_t> index = event.output_index.Integer()) {
    auto old = by_output_.find(*index);
    if (old != by_output_.end() && !id.Is(old->second->id)) by_output_.erase(old);
  }
  bool nameless = !IsFilled(id) && !event.output_index.Integer();
  if (nameless) kept_ += sizeof(Item);
  Item* item = nameless ? &items_.emplace_back() : FindOrAdd(id, event.output_index);
  if (event.item["type"].Is("function_call")) BeginCall(item, event.item, response);
  return {};
}

// Without a name it is none yet.
void ResponsesDecoder::BeginCall(Item* item, JsonValue value, Response* response) {
  JsonValue name = value["name"];
  if (item->call.number >= 0 || !IsFilled(name)) return;
  JsonValue args = value["arguments"];
  std::string call_id = value["call_id"].String();
  std::string arguments = args.is_object() ? std::string(args.text()) : args.String();
  item->call.number = response->BeginToolCall(TextOf(name, &scratch_), call_id, arguments);
  item->call.filled = !arguments.empty();
  if (!item->id.empty()) response->SetPartId(item->call.number, item->id);
}

Status ResponsesDecoder::ItemDone(Item* item, JsonValue value, Response* response) {
  JsonValue type = value["type"];
  if (type.Is("function_call")) return CallDone(item, value, response);
  if (type.Is("message")) return MessageDone(item, value, response);
  if (type.Is("reasoning")) return ReasoningDone(item, value, response);
  return {};
}

Status ResponsesDecoder::CallDone(Item* item, JsonValue value, Response* response) {
  BeginCall(item, value, response);
  if (item->call.number < 0) return {};
  JsonValue args = value["arguments"];
  if (!item->call.filled && IsFilled(args)) {
    item->call.filled = true;
    Status status = GrowIfOpen(item->call.number, TextOf(args, &scratch_), response);
    if (!status.ok()) return status;
  }
  response->End(item->call.number);
  return {};
}

Status ResponsesDecoder::MessageDone(Item* item, JsonValue value, Response* response) {
  if (!item->text.filled) {
    for (JsonElements element(value["content"]); element.Next();) {
      JsonValue refusal = element.value()["refusal"];
      JsonValue content = IsFilled(refusal) ? refusal : element.value()["text"];
      if (!IsFilled(content)) continue;
      if (IsFilled(refusal)) Refuse(response);
      Status status = GrowText(item, TextOf(content, &scratch_), response);
      if (!status.ok()) return status;
    }
  }
  if (item->text.number >= 0) response->End(item->text.number);
  return {};
}

Status ResponsesDecoder::ReasoningDone(Item* item, JsonValue value, Response* response) {
  if (item->thinking.empty()) {
    int64_t index = 0;
    for (JsonElements element(value["summary"]); element.Next(); ++index) {
      JsonValue content = element.value()["text"];
      if (!IsFilled(content)) continue;
      Status status = GrowThinking(item, index, TextOf(content, &scratch_), response);
      if (!status.ok()) return status;
    }
    for (JsonElements element(value["content"]); element.Next();) {
      JsonValue content = element.value()["text"];
      if (!IsFilled(content)) continue;
      Status status = GrowThinking(item, kRaw, TextOf(content, &scratch_), response);
      if (!status.ok()) return status;
    }
  }
  // It signs the item, whose first part bears it.
  JsonValue signature = value["encrypted_content"];
  if (IsFilled(signature)) {
    std::string_view text = TextOf(signature, &scratch_);
    kept_ += text.size();
    Status status = CheckSize(kept_);
    if (status.ok() && item->thinking.empty()) status = GrowThinking(item, 0, "", response);
    if (!status.ok()) return status;
    response->AppendSignature(item->thinking.begin()->second.number, text);
  }
  for (auto& [index, part] : item->thinking) response->End(part.number);
  return {};
}

Status ResponsesDecoder::Completed(JsonValue value, Response* response) {
  Describe(value, response);
  // A server that sends no pieces at all.
  if (items_.empty()) {
    for (JsonElements element(value["output"]); element.Next();) {
      if (!element.value().is_object()) continue;
      Status status = ItemDone(&items_.emplace_back(), element.value(), response);
      if (!status.ok()) return status;
    }
  }
  complete_ = true;
  if (!refused_) {
    JsonValue reason = value["incomplete_details"]["reason"];
    JsonValue status = value["status"];
    if (reason.Is("max_output_tokens")) {
      response->SetFinishReason("length");
    } else if (reason.Is("content_filter")) {
      response->SetFinishReason("content_filter");
    } else if (status.Is("completed")) {
      response->SetFinishReason("stop");
    } else if (status.Is("cancelled") || status.Is("failed")) {
      response->SetFinishReason("error");
    }
  }
  response->EndAll();
  return {};
}

void ResponsesDecoder::Describe(JsonValue value, Response* response) {
  for (JsonMembers member(value); member.Next();) {
    JsonValue content = member.value();
    if (member.name().Is("id") && IsFilled(content)) {
      response->SetResponseId(TextOf(content, &scratch_));
    } else if (member.name().Is("model") && IsFilled(content)) {
      response->SetModel(TextOf(content, &scratch_));
    } else if (member.name().Is("usage") && content.is_object()) {
      response->SetUsage(OpenAiUsage(content));
    }
  }
}

// By its id; by its place if there is none, or an unknown one: some servers give every event
// another.
ResponsesDecoder::Item* ResponsesDecoder::Find(JsonValue id, JsonValue output_index) {
  std::string_view text = TextOf(id, &id_scratch_);
  if (!text.empty()) {
    if (!items_.empty() && items_.back().id == text) return &items_.back();
    auto found = by_id_.find(std::string(text));
    if (found != by_id_.end()) return found->second;
  }
  if (std::optional<int64_t> index = output_index.Integer()) {
    auto found = by_output_.find(*index);
    return found == by_output_.end() ? nullptr : found->second;
  }
  return text.empty() && !items_.empty() ? &items_.back() : nullptr;
}

ResponsesDecoder::Item* ResponsesDecoder::FindOrAdd(JsonValue id, JsonValue output_index) {
  Item* item = Find(id, output_index);
  if (item != nullptr) return item;
  item = &items_.emplace_back();
  item->id = TextOf(id, &id_scratch_);
  kept_ += sizeof(Item) + item->id.size();
  if (!item->id.empty()) by_id_.try_emplace(item->id, item);
  if (std::optional<int64_t> index = output_index.Integer()) by_output_[*index] = item;
  return item;
}

Status ResponsesDecoder::GrowText(Item* item, std::string_view content, Response* response) {
  item->text.filled |= !content.empty();
  if (item->text.number >= 0) return GrowIfOpen(item->text.number, content, response);
  item->text.number = BeginText(content, response);
  if (!item->id.empty()) response->SetPartId(item->text.number, item->id);
  return {};
}

Status ResponsesDecoder::GrowThinking(Item* item, int64_t index, std::string_view content,
                                      Response* response) {
  Part& part = item->thinking[index];
  part.filled |= !content.empty();
  if (part.number >= 0) return GrowIfOpen(part.number, content, response);
  part.number = response->Begin(AGX_PART_THINKING, content);
  if (!item->id.empty()) response->SetPartId(part.number, item->id);
  return {};
}

void ResponsesDecoder::Refuse(Response* response) {
  refused_ = true;
  response->SetFinishReason("content_filter");
}

}  // namespace

std::unique_ptr<Decoder> MakeOpenAiResponsesDecoder() {
  return std::make_unique<ResponsesDecoder>();
}

}  // namespace agx
