#include "pretty.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "text.h"

namespace cli {
namespace {

constexpr Mark kBegin = {"▶", ">"};
constexpr Mark kThinking = {"∴", "~"};
constexpr Mark kText = {"●", "*"};
constexpr Mark kToolCall = {"→", "+"};
constexpr Mark kToolReturn = {"←", "="};
constexpr Mark kError = {"✗", "!"};
constexpr Mark kInfo = {"i", "i"};
constexpr Mark kEnd = {"■", "#"};
constexpr Mark kOther = {"·", "."};
constexpr Mark kNotice = {"┄", "-"};
constexpr Mark kContinued = {" ", " "};

std::string ClockTime(int64_t milliseconds) {
  const auto seconds = static_cast<time_t>(milliseconds / 1000);
  tm local = {};
  std::array<char, 16> text = {};
  if (!localtime_r(&seconds, &local)) return "";
  strftime(text.data(), text.size(), "%H:%M:%S", &local);
  return text.data();
}

std::string Duration(int64_t milliseconds) {
  std::array<char, 40> text = {};
  snprintf(text.data(), text.size(), "%.1f s", static_cast<double>(milliseconds) / 1000);
  return text.data();
}

// A body, or a part of one, on a line.
std::string OneLine(const Json& body, std::string_view raw) {
  return body.IsObject() ? Compact(raw) : Folded(raw);
}

std::string OneLineArguments(std::string_view arguments) {
  if (!arguments.starts_with('{')) return Compact(arguments);
  std::string out;
  Members members(arguments);
  std::string_view key;
  std::string_view value;
  while (members.Next(&key, &value)) {
    if (!out.empty()) out += ' ';
    out += Visible(key) + "=" + Compact(value);
  }
  return out;
}

}  // namespace

void Pretty::Show(const agx_event* event, std::string* out) {
  size_t length = 0;
  const std::string_view type = agx_event_type(event, nullptr);
  const char* text = agx_event_body(event, &length);
  const std::string_view raw(text, length);
  const Json body = Json::Parse(raw);
  if (type == "begin") {
    ShowBegin(agx_event_time(event), out);
  } else if (type == "end") {
    ShowEnd(agx_event_time(event), out);
  } else if (type == "error") {
    ShowError(body, raw, out);
  } else if (type == "info") {
    ShowInfo(body, raw, out);
  } else if (type != "event" || !ShowModelEvent(body, raw, out)) {
    ShowOther(event, body, out);
  }
}

void Pretty::ShowEnded(std::string* out) {
  if (!ended_) ShowEnd(0, out);
}

void Pretty::ShowNotice(std::string_view text, std::string* out) {
  page_.Open(kNotice, Look::kNotice, out);
  page_.Grow(text, out);
  page_.Close(out);
}

void Pretty::ShowBegin(int64_t time, std::string* out) {
  begin_time_ = time;
  ended_ = false;
  failure_ = Failure::kNone;
  page_.Line(kBegin, Look::kStrong, "began " + ClockTime(time), out);
}

void Pretty::ShowEnd(int64_t time, std::string* out) {
  std::string line = "ended";
  if (failure_ == Failure::kCanceled) line = "canceled";
  if (failure_ == Failure::kError) line = "ended with an error";
  if (begin_time_ && time >= *begin_time_) line += " after " + Duration(time - *begin_time_);
  page_.Line(kEnd, failure_ == Failure::kNone ? Look::kStrong : Look::kError, line, out);
  ended_ = true;
}

void Pretty::ShowError(const Json& body, std::string_view raw, std::string* out) {
  const auto message = body.String("msg");
  failure_ = message == "canceled" ? Failure::kCanceled : Failure::kError;
  if (message) {
    page_.Open(kError, Look::kError, out);
    page_.Grow(*message, out);
    page_.Close(out);
  } else {
    page_.Line(kError, Look::kError, OneLine(body, raw), out);
  }
}

void Pretty::ShowInfo(const Json& body, std::string_view raw, std::string* out) {
  const auto message = body.String("msg");
  page_.Line(kInfo, Look::kPlain, message ? Folded(*message) : OneLine(body, raw), out);
}

bool Pretty::ShowModelEvent(const Json& body, std::string_view raw, std::string* out) {
  const auto event = body.String("event");
  if (event == "part_start") return ShowPartStart(body, raw, out);
  if (event == "part_delta") return ShowPartDelta(body, out);
  if (event == "llm-begin" || event == "llm-end") {
    page_.Close(out);
    return true;
  }
  // It comes while the answer is growing, which goes on to be shown as it was.
  return event == "answer";
}

bool Pretty::ShowPartStart(const Json& body, std::string_view raw, std::string* out) {
  const auto kind = body.String("part_kind");
  if (kind == "tool-call") return ShowToolCall(body, raw, out);
  if (kind == "tool-return") return ShowToolReturn(body, raw, out);
  const auto content = body.String("content");
  if (!content || (kind != "text" && kind != "thinking")) return false;
  page_.Close(out);
  part_.reset();
  GrowPart({body.Integer("idx").value_or(-1), body.Integer("event_idx").value_or(-1),
            kind == "thinking"},
           *content, out);
  return true;
}

bool Pretty::ShowPartDelta(const Json& body, std::string* out) {
  const auto kind = body.String("part_delta_kind");
  const auto content = body.String("content_delta");
  if (!content || (kind != "text" && kind != "thinking")) return false;
  GrowPart({body.Integer("idx").value_or(-1), body.Integer("event_idx").value_or(-1),
            kind == "thinking"},
           *content, out);
  return true;
}

bool Pretty::ShowToolCall(const Json& body, std::string_view raw, std::string* out) {
  const auto name = body.String("tool_name");
  if (!name) return false;
  const auto arguments = RawMember(raw, "args");
  std::string line = Folded(*name);
  const std::string shown = arguments ? OneLineArguments(*arguments) : "";
  if (!shown.empty()) line += " " + shown;
  page_.Line(kToolCall, Look::kTool, line, out);
  return true;
}

bool Pretty::ShowToolReturn(const Json& body, std::string_view raw, std::string* out) {
  const auto name = body.String("tool_name");
  if (!name) return false;
  std::string line = Folded(*name);
  if (const auto text = body.String("content")) {
    line += ": " + Folded(*text);
  } else if (const auto content = RawMember(raw, "content")) {
    line += ": " + Compact(*content);
  }
  page_.Line(kToolReturn, Look::kDim, line, out);
  return true;
}

void Pretty::ShowOther(const agx_event* event, const Json& body, std::string* out) {
  size_t length = 0;
  const char* text = agx_event_body(event, &length);
  std::string line = Folded(agx_event_type(event, nullptr));
  line += " (" + Folded(agx_event_origin(event, nullptr)) + ") ";
  line += OneLine(body, std::string_view(text, length));
  page_.Line(kOther, Look::kDim, line, out);
}

void Pretty::GrowPart(const Part& part, std::string_view text, std::string* out) {
  if (text.empty()) return;
  const Look look = part.thinking ? Look::kDim : Look::kPlain;
  if (part_ != part) {
    page_.Open(part.thinking ? kThinking : kText, look, out);
    part_ = part;
  } else if (!page_.open()) {
    page_.Open(kContinued, look, out);
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  page_.Grow(text, out);
}

}  // namespace cli
