#include "tools.h"

#include <cjson/cJSON.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <optional>
#include <thread>

#include "arithmetic.h"

namespace chat {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct DeleteJson {
  void operator()(cJSON* json) const { cJSON_Delete(json); }
};
using Json = std::unique_ptr<cJSON, DeleteJson>;

// Both tools are quick. A test of what happens meanwhile needs one that is not.
void Dawdle(const Stop& stop) {
  const char* text = std::getenv("CHAT_TOOL_DELAY_MS");  // NOLINT(concurrency-mt-unsafe)
  if (!text) return;
  const auto until = steady_clock::now() + milliseconds(std::atoi(text));
  while (steady_clock::now() < until && !stop()) std::this_thread::sleep_for(milliseconds(10));
}

ToolResult CurrentTime() {
  const time_t now = time(nullptr);
  tm utc = {};
  std::array<char, 64> text = {};
  gmtime_r(&now, &utc);
  strftime(text.data(), text.size(), "\"%Y-%m-%dT%H:%M:%SZ\"", &utc);
  return {text.data(), {}};
}

ToolResult RunCalculate(const cJSON* args) {
  const char* expression = cJSON_GetStringValue(cJSON_GetObjectItem(args, "expression"));
  if (!expression) return {{}, "calculate needs an argument \"expression\", a string."};
  const Calculation done = Calculate(expression);
  if (!done.value) return {{}, "This cannot be calculated: " + done.error + "."};
  std::array<char, 40> text = {};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), *done.value).ptr;
  return {std::string(text.data(), end), {}};
}

}  // namespace

std::string_view ToolSpecs() {
  return R"([
    {"type": "function", "function": {
      "name": "current_time",
      "description": "The current date and time, in UTC.",
      "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {
      "name": "calculate",
      "description": "Calculates: + - * / % ^ and parentheses on decimal numbers.",
      "parameters": {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "Such as 2 * (3 + 4) ^ 2"}},
        "required": ["expression"]}}}
  ])";
}

ToolResult CallTool(const ToolCall& call, const Stop& stop) {
  Dawdle(stop);
  const Json args(cJSON_ParseWithLength(call.args.data(), call.args.size()));
  if (!cJSON_IsObject(args.get())) return {{}, "The arguments are not a JSON object."};
  if (call.name == "current_time") return CurrentTime();
  if (call.name == "calculate") return RunCalculate(args.get());
  return {{}, "There is no tool " + call.name + "."};
}

std::string Quoted(const std::string& text) {
  const Json json(cJSON_CreateString(text.c_str()));
  const std::unique_ptr<char, decltype(&cJSON_free)> printed(cJSON_PrintUnformatted(json.get()),
                                                             cJSON_free);
  if (!printed) throw std::bad_alloc();
  return printed.get();
}

}  // namespace chat
