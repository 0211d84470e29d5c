// A conversation, as pydantic-ai keeps it: a JSON array of messages, requests and responses in
// turn.
//
// It is kept as the text that it came as, with the places of its messages in it. So what this
// version does not know stays as it was, byte for byte, and what is asked for is read where it is.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_value.h"
#include "base/status.h"

namespace agx {

class Conversation {
 public:
  Conversation() : text_("[]") {}  // without messages

  // AGX_EJSON: it is no JSON array of objects. AGX_ETOOBIG.
  static Result<Conversation> Parse(std::string text);

  const std::string& json() const { return text_; }
  size_t count() const { return messages_.size(); }
  // Absent if there is no such message. The value points into json(), until the next change.
  JsonValue message(size_t index) const;

  // Each of these changes nothing if it fails.
  //
  // An object, or an array of objects, that have a kind and parts.
  Status Append(std::string_view json);
  // A part of a request: into the last message if that is one, else into a new one of that moment.
  // It is valid JSON, its values nested at most kPartValueDepth deep.
  Status AppendPart(std::string_view part, std::string_view timestamp);

  // The prompt of which the conversation's title is made; absent if there is none.
  JsonValue TitleContent() const;
  std::string Nodes() const;

 private:
  struct Span {
    uint32_t begin;
    uint32_t size;
  };

  Status Insert(size_t at, std::string_view text);

  std::string text_;
  std::vector<Span> messages_;
};

inline constexpr std::string_view kNoTitle = "No title";

// How deep the value of a part's member may be nested: four levels are around it.
inline constexpr size_t kPartValueDepth = AGX_DEPTH_MAX - 4;

// "2026-01-02T03:04:05.678901Z"
std::string Timestamp(std::chrono::system_clock::time_point time);

// Parts of requests, with the members that pydantic-ai gives them. What is not UTF-8 in a text
// becomes U+FFFD. `content` of a tool's return is valid JSON.
std::string SystemPromptPart(std::string_view content, std::string_view timestamp);
std::string UserPromptPart(std::string_view content, std::string_view timestamp);
std::string ToolReturnPart(std::string_view tool_name, std::string_view tool_call_id,
                           std::string_view content, std::string_view timestamp);
// tool_name: null data for none.
std::string RetryPromptPart(std::string_view tool_name, std::string_view tool_call_id,
                            std::string_view content, std::string_view timestamp);

}  // namespace agx
