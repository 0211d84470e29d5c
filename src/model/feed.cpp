#include "model/feed.h"

#include <algorithm>

#include "base/json.h"

namespace agx {
namespace {

// Of a body that is JSON: an error's is smaller.
constexpr size_t kJsonBodyMax = size_t{64} * 1024;
constexpr size_t kExcerptMax = 200;
// Larger events do not come by the thousand.
constexpr size_t kRepeatableMax = 4096;

std::unique_ptr<Decoder> MakeDecoder(agx_model_api api) {
  switch (api) {
    case AGX_OPENAI_RESPONSES:
      return MakeOpenAiResponsesDecoder();
    case AGX_ANTHROPIC:
      return MakeAnthropicDecoder();
    default:
      return MakeOpenAiChatDecoder();
  }
}

std::string_view NameOf(agx_model_api api) {
  switch (api) {
    case AGX_OPENAI_RESPONSES:
      return "OpenAI Responses";
    case AGX_ANTHROPIC:
      return "Anthropic Messages";
    default:
      return "OpenAI Chat Completions";
  }
}

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Stands for itself in a JSON string.
bool IsPlain(char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

Feed::Feed(agx_model_api api, Response* response)
    : api_(api), response_(response), decoder_(MakeDecoder(api)), reader_(AGX_BODY_MAX) {}

Status Feed::Take(std::string_view bytes) {
  if (!error_.ok()) return error_;
  if (reading_) {
    error_ = {AGX_EMODEL, "bytes of the model's response were lost when memory ran out"};
    return error_;
  }
  if (decoder_->ended() || bytes.empty()) return {};
  reading_ = true;
  error_ = Read(bytes);
  if (!error_.ok()) response_->SetFinishReason("error");
  reading_ = false;
  return error_;
}

Status Feed::Finish() {
  if (error_.ok()) error_ = reading_ ? Take({}) : AtEnd();
  response_->EndAll();
  return error_;
}

Status Feed::Read(std::string_view bytes) {
  if (body_ == Body::kUnknown) {
    response_->SetProvider(decoder_->provider());
    body_ = Sniff(bytes);
    if (body_ == Body::kJson) bytes.remove_prefix(bytes.find_first_of("{["));
  }
  switch (body_) {
    case Body::kJson:
      return ReadJson(bytes);
    case Body::kOther:
      return NoStream(bytes);
    default:
      return ReadEvents(bytes);
  }
}

// Lines of events begin with a field's name or the colon of a comment.
Feed::Body Feed::Sniff(std::string_view bytes) {
  constexpr std::string_view kBom = "\xEF\xBB\xBF";
  for (char c : bytes) {
    if (bom_ < kBom.size() && c == kBom[bom_]) {
      ++bom_;
      continue;
    }
    if (bom_ == 1 || bom_ == 2) return Body::kOther;
    bom_ = kBom.size();
    if (IsSpace(c)) continue;
    if (c == '{' || c == '[') return Body::kJson;
    bool field = c == ':' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return field ? Body::kEvents : Body::kOther;
  }
  return Body::kUnknown;
}

Status Feed::ReadEvents(std::string_view bytes) {
  reader_.Take(bytes);
  for (SseEvent event; reader_.Next(&event);) {
    if (!event_seen_ && !reader_.stray().empty()) return NoStream(reader_.stray());
    event_seen_ = true;
    Status status = Dispatch(event);
    if (!status.ok()) return status;
    if (decoder_->ended()) return {};
  }
  if (reader_.too_big()) {
    return {AGX_ETOOBIG,
            Cat("the model's stream holds an event of more than ", AGX_BODY_MAX, " bytes")};
  }
  if (!event_seen_ && !reader_.stray().empty()) return NoStream(reader_.stray());
  return {};
}

Status Feed::Dispatch(const SseEvent& event) {
  std::string_view data = Trim(event.data);
  if (data.empty() || event.name == "ping") return {};
  if (data == "[DONE]") {
    decoder_->Done();
    return {};
  }
  std::string_view text = Repeated(event.name, data);
  Status status = text.empty() ? Decode(event.name, data) : decoder_->Again(text, response_);
  return status.ok() ? response_->status() : status;
}

// The text of an event that differs from the one before in that alone.
std::string_view Feed::Repeated(std::string_view name, std::string_view data) const {
  std::string_view last = last_;
  if (before_text_ == 0 || data.size() <= before_text_ + after_text_ || name != last_name_ ||
      !data.starts_with(last.substr(0, before_text_)) ||
      !data.ends_with(last.substr(last.size() - after_text_))) {
    return {};
  }
  std::string_view text = data.substr(before_text_, data.size() - before_text_ - after_text_);
  return std::all_of(text.begin(), text.end(), IsPlain) ? text : std::string_view();
}

Status Feed::Decode(std::string_view name, std::string_view data) {
  before_text_ = 0;
  JsonError error;
  bool valid = ValidateJson(data, AGX_DEPTH_MAX, &error);
  if (!valid && !ValidateUtf8(data)) {
    repaired_.clear();
    AppendRepaired(data, &repaired_);
    data = repaired_;
    valid = ValidateJson(data, AGX_DEPTH_MAX, &error);
  }
  if (valid && first_.empty() && !decoder_->known()) first_ = data.substr(0, kJsonBodyMax);
  if (!valid) {
    return {AGX_EMODEL, Cat("the model's stream holds an event that is not JSON (", error.reason,
                            ", at byte ", error.offset, "): ", Excerpt(data, kExcerptMax))};
  }
  Status status = decoder_->Event(name, JsonValue(data), response_);
  std::string_view text = decoder_->repeatable();
  if (!text.empty() && status.ok() && data.size() <= kRepeatableMax) {
    last_name_ = name;
    last_ = data;
    before_text_ = static_cast<size_t>(text.data() - data.data());
    after_text_ = data.size() - before_text_ - text.size();
  }
  return status;
}

// Until the outermost container has closed: then all is there that an error has to say.
Status Feed::ReadJson(std::string_view bytes) {
  for (char c : bytes) {
    json_ += c;
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      if (--depth_ == 0) return JsonBody();
    }
    if (json_.size() == kJsonBodyMax) return JsonBody();
  }
  return {};
}

Status Feed::JsonBody() {
  std::string body;
  AppendRepaired(json_, &body);
  if (ValidateJson(body, AGX_DEPTH_MAX, nullptr)) {
    std::string error = ErrorText(JsonValue(body));
    if (!error.empty()) return ModelError(error);
  }
  return NoStream(body);
}

Status Feed::NoStream(std::string_view beginning) const {
  std::string_view hint =
      body_ == Body::kJson ? " but JSON; is \"stream\": true missing from the request?" : "";
  return {AGX_EMODEL, Cat("the model's response is no event stream", hint,
                          "; it begins: ", Excerpt(Trim(beginning), kExcerptMax))};
}

// What a server says of its failure may come in a form of its own.
Status Feed::NoStreamOfApi() const {
  if (ValidateJson(first_, AGX_DEPTH_MAX, nullptr)) {
    std::string error = ErrorText(JsonValue(first_));
    if (!error.empty()) return ModelError(error);
  }
  return {AGX_EMODEL, Cat("the model's response is no stream of ", NameOf(api_),
                          "; is it another API's? It begins: ", Excerpt(first_, kExcerptMax))};
}

Status Feed::AtEnd() {
  if (body_ == Body::kJson) return JsonBody();
  // Servers leave out the last empty line. What is cut within its JSON never came.
  SseEvent event;
  if (reader_.Flush(&event) && !decoder_->ended()) {
    event_seen_ = true;
    std::string_view data = Trim(event.data);
    if (data == "[DONE]" || ValidateJson(data, AGX_DEPTH_MAX, nullptr)) {
      Status status = Dispatch(event);
      if (!status.ok()) return status;
    }
  }
  if (decoder_->complete()) return {};
  if (!event_seen_ && !reader_.stray().empty()) return NoStream(reader_.stray());
  if (!first_.empty() && !decoder_->known()) return NoStreamOfApi();
  return {AGX_EMODEL, event_seen_ ? "the model's response broke off before its end"
                                  : "the model's response holds no event"};
}

}  // namespace agx
