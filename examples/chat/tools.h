// The tools that the agent offers to its model: the time, and arithmetic.
#pragma once

#include <string>
#include <string_view>

#include "stop.h"

namespace chat {

struct ToolCall {
  std::string name;
  std::string id;
  std::string args;  // JSON, if the model got it right
};

struct ToolResult {
  std::string json;
  std::string refusal;  // what the model should do better; "" if the tool did its work
};

// What a request to the model says of the tools, as JSON.
std::string_view ToolSpecs();

// A tool that is told to stop may return anything.
ToolResult CallTool(const ToolCall& call, const Stop& stop);

// The text as a JSON string.
std::string Quoted(const std::string& text);

}  // namespace chat
