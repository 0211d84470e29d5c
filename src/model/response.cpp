#include "model/response.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/json.h"
#include "base/json_value.h"

namespace agx {
namespace {

// Arguments are nested in an event's body.
constexpr size_t kArgsDepth = AGX_DEPTH_MAX - 1;

bool IsObject(std::string_view args) {
  return ValidateJson(args, kArgsDepth, nullptr) && JsonValue(args).is_object();
}

Status TooBig() {
  return {AGX_ETOOBIG, Cat("the response has more than ", AGX_BODY_MAX, " bytes")};
}

// As an event and a message have it: with arguments that are JSON as they are.
std::string ArgsAsJson(std::string_view args) {
  if (args.empty()) return "{}";
  if (ValidateJson(args, kArgsDepth, nullptr)) return std::string(args);
  std::string text;
  AppendJsonString(args, &text);
  return text;
}

std::string NewCallId() {
  unsigned char random[12] = {};
  (void)!getrandom(random, sizeof(random), 0);
  constexpr char kHex[] = "0123456789abcdef";
  std::string id = "call_";
  for (unsigned char byte : random) {
    id += kHex[byte >> 4];
    id += kHex[byte & 15];
  }
  return id;
}

void AppendText(std::string_view name, std::string_view text, std::string* out) {
  *out += '"';
  *out += name;
  *out += "\":";
  AppendJsonString(text, out);
  *out += ',';
}

// null where there is none.
void AppendOptional(std::string_view name, std::string_view text, std::string* out) {
  if (!text.empty()) return AppendText(name, text, out);
  *out += '"';
  *out += name;
  *out += "\":null,";
}

void AppendNumber(std::string_view name, int64_t number, std::string* out) {
  *out += Cat("\"", name, "\":", number, ",");
}

}  // namespace

std::string TimestampNow() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  std::time_t seconds = static_cast<std::time_t>(us / 1000000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  size_t length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string fraction = std::to_string(1000000 + us % 1000000);
  fraction[0] = '.';
  return std::string(text, length) + fraction + "Z";
}

void Response::Reset() {
  parts_.clear();
  none_ = {};
  none_.open = false;
  grown_calls_.clear();
  size_ = 0;
  status_ = {};
  answered_ = false;
  model_.clear();
  response_id_.clear();
  provider_.clear();
  finish_reason_.clear();
  usage_ = {};
}

void Response::Arguments::Look(std::string_view args) {
  for (; seen < args.size() && !closed; ++seen) {
    char c = args[seen];
    if (in_string) {
      in_string = escaped || c != '"';
      escaped = !escaped && c == '\\';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      closed = depth <= 1;
      --depth;
    }
  }
}

bool Response::Fits(size_t added) const {
  return size_ <= AGX_BODY_MAX && added <= AGX_BODY_MAX - size_;
}

Status Response::CheckRoom(std::string_view text, std::string_view name,
                           std::string_view id) const {
  size_t size = JsonStringSize(text) + JsonStringSize(name) + JsonStringSize(id) + sizeof(Part);
  return Fits(size) ? Status() : TooBig();
}

int Response::Add(Part part) {
  EndComplete();
  if (status_.ok()) status_ = CheckRoom(part.content, part.name, part.call_id);
  if (!status_.ok()) return part_count();
  size_t size = JsonStringSize(part.content) + JsonStringSize(part.name) +
                JsonStringSize(part.call_id) + sizeof(Part);
  if (part.kind == AGX_PART_TOOL_CALL) grown_calls_.push_back(part_count());
  parts_.push_back(std::move(part));
  size_ += size;
  return part_count() - 1;
}

// Looks only at what has grown since it looked last.
void Response::EndComplete() {
  std::vector<int> calls = std::exchange(grown_calls_, {});
  std::sort(calls.begin(), calls.end());
  for (int call : calls) {
    Arguments& arguments = at(call).arguments;
    arguments.grown = false;
    if (!at(call).open || arguments.invalid) continue;
    arguments.Look(at(call).content);
    if (!arguments.closed) continue;
    // What is more than an object by now does not become one.
    arguments.invalid = !IsObject(at(call).content);
    if (!arguments.invalid) End(call);
  }
}

int Response::Begin(agx_part_kind kind, std::string_view content) {
  Part part;
  part.kind = kind;
  part.content = content;
  int number = Add(std::move(part));
  if (number == part_count()) return number;
  try {
    sink_->PartBegan(number, kind, at(number).content);
  } catch (...) {
    parts_.pop_back();
    throw;
  }
  return number;
}

int Response::BeginToolCall(std::string_view name, std::string_view id, std::string_view args) {
  Part part;
  part.kind = AGX_PART_TOOL_CALL;
  part.name = name;
  part.call_id = id;
  part.content = args;
  return Add(std::move(part));
}

bool Response::IsOpen(int part) const {
  return part >= 0 && part < part_count() && parts_[static_cast<size_t>(part)].open;
}

Status Response::Grow(int part, std::string_view delta) {
  size_t size = JsonStringSize(delta);
  if (!Fits(size)) return TooBig();
  Part& grown = at(part);
  // What may throw comes before the change.
  grown.content.reserve(grown.content.size() + delta.size());
  if (grown.kind != AGX_PART_TOOL_CALL) {
    if (!delta.empty()) sink_->PartGrew(part, grown.kind, delta);
  } else if (!grown.arguments.grown) {
    grown_calls_.push_back(part);
    grown.arguments.grown = true;
  }
  grown.content += delta;
  size_ += size - 2;
  return {};
}

void Response::GrowName(int part, std::string_view name) {
  at(part).name += name;
  size_ += JsonStringSize(name);
}

void Response::Replace(std::string* text, std::string_view with) {
  size_t before = JsonStringSize(*text);
  *text = with;
  size_ += JsonStringSize(with) - before;
}

void Response::SetCallId(int part, std::string_view id) { Replace(&at(part).call_id, id); }

void Response::End(int part) {
  Part& ended = at(part);
  if (!ended.open) return;
  if (ended.kind == AGX_PART_TOOL_CALL) {
    if (ended.call_id.empty()) ended.call_id = NewCallId();
    sink_->ToolCallEnded(part, ended.name, ended.call_id, ArgsAsJson(ended.content));
  }
  ended.open = false;
}

void Response::EndAll() {
  for (int i = 0; i < part_count(); ++i) End(i);
}

void Response::Answer() {
  sink_->Answered();
  answered_ = true;
}

void Response::SetPartId(int part, std::string_view id) { Replace(&at(part).id, id); }

void Response::AppendSignature(int part, std::string_view signature) {
  at(part).signature += signature;
  size_ += JsonStringSize(signature);
}

void Response::AppendPart(const Part& part, std::string* out) const {
  *out += '{';
  switch (part.kind) {
    case AGX_PART_TEXT:
      AppendText("content", part.content, out);
      AppendOptional("id", part.id, out);
      *out += "\"part_kind\":\"text\"}";
      return;
    case AGX_PART_THINKING:
      AppendText("content", part.content, out);
      AppendOptional("id", part.id, out);
      AppendOptional("signature", part.signature, out);
      AppendOptional("provider_name", provider_, out);
      *out += "\"part_kind\":\"thinking\"}";
      return;
    case AGX_PART_TOOL_CALL:
      AppendText("tool_name", part.name, out);
      AppendText("args", part.content.empty() ? "{}" : part.content, out);
      AppendText("tool_call_id", part.call_id, out);
      AppendOptional("id", part.id, out);
      *out += "\"part_kind\":\"tool-call\"}";
      return;
  }
}

std::string Response::Json() const {
  std::string out = "{\"parts\":[";
  for (const Part& part : parts_) {
    if (&part != parts_.data()) out += ',';
    AppendPart(part, &out);
  }
  out += "],\"usage\":{";
  AppendNumber("input_tokens", usage_.input_tokens, &out);
  AppendNumber("cache_write_tokens", usage_.cache_write_tokens, &out);
  AppendNumber("cache_read_tokens", usage_.cache_read_tokens, &out);
  AppendNumber("output_tokens", usage_.output_tokens, &out);
  out += "\"details\":{";
  if (usage_.reasoning_tokens != 0) {
    out += Cat("\"reasoning_tokens\":", usage_.reasoning_tokens);
  }
  out += "}},";
  AppendOptional("model_name", model_, &out);
  AppendText("timestamp", TimestampNow(), &out);
  AppendText("kind", "response", &out);
  AppendOptional("provider_name", provider_, &out);
  AppendOptional("provider_response_id", response_id_, &out);
  AppendOptional("finish_reason", finish_reason_, &out);
  out.back() = '}';
  return out;
}

}  // namespace agx
