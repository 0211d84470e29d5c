// An agent: a model of an OpenAI-compatible endpoint, that may call two tools, answers a prompt.
#pragma once

#include <agx.h>

#include <chrono>
#include <string>
#include <vector>

#include "stop.h"
#include "tools.h"

namespace chat {

struct Settings {
  std::string url;      // of chat/completions
  std::string api_key;  // "" for a server that wants none
  std::string model;
  std::string system;  // what a new conversation begins with; "" for nothing
  std::chrono::milliseconds patience = std::chrono::minutes(5);
};

// From OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL. Returns what is wrong with them, or "".
std::string ReadEnvironment(Settings* settings);

class Agent {
 public:
  Agent(Settings settings, std::string prompt, Stop stop);

  // What an agx_agent does: all of a run, between its beginning and its end.
  agx_status Work(agx_run* run, agx_messages* messages);

  // Why it failed.
  const std::string& error() const { return error_; }

 private:
  struct Answered {
    ToolCall call;
    std::string content;  // JSON
  };

  agx_status TakePrompt();
  agx_status AskModel();
  agx_status TellToolReturns();
  agx_status Stream(const std::string& request);
  agx_status CallTools();
  std::vector<ToolCall> ToolCalls() const;
  std::string Field(size_t message, size_t part, const char* name) const;
  std::string RequestSettings() const;
  // The status as it is, with what the library says of it kept.
  agx_status Keep(agx_status status);
  agx_status Fail(const std::string& message);

  const Settings settings_;
  const std::string prompt_;
  const Stop stop_;
  agx_run* run_ = nullptr;
  agx_messages* messages_ = nullptr;
  std::vector<Answered> answered_;  // tool calls, of the response before
  std::string error_;
};

}  // namespace chat
