#include "demo_script.h"

#include <algorithm>

#include "json.h"

namespace cli {
namespace {

constexpr int kThinkingMs = 50;
constexpr int kTextMs = 85;
constexpr int kModelMs = 500;
constexpr int kToolMs = 900;

constexpr std::string_view kThoughts =
    "The question is about tomorrow's weather in Lisbon. I cannot know that, so I ask for the "
    "forecast first and then answer in a few plain sentences.";
constexpr std::string_view kAnswer =
    "Yes, take one if you leave in the morning. Showers are likely until noon, about 4 mm in all. "
    "After that the sky clears and it gets as warm as 18 degrees, so that in the afternoon you "
    "can do without.";

std::string Node(int node, std::string_view event) {
  return "{\"idx\":" + std::to_string(node) + ",\"event\":\"" + std::string(event) + "\"";
}

std::string PartStart(int node, int part, std::string_view kind, std::string_view text) {
  return Node(node, "part_start") + ",\"event_idx\":" + std::to_string(part) + ",\"part_kind\":\"" +
         std::string(kind) + "\",\"content\":" + Quoted(text) + "}";
}

std::string PartDelta(int node, int part, std::string_view kind, std::string_view text) {
  return Node(node, "part_delta") + ",\"event_idx\":" + std::to_string(part) +
         ",\"part_delta_kind\":\"" + std::string(kind) + "\",\"content_delta\":" + Quoted(text) +
         "}";
}

// A part as a model sends it: word by word.
void AppendPart(int node, std::string_view kind, std::string_view text, int pause_ms,
                std::vector<ScriptedEvent>* out) {
  size_t end = text.find(' ');
  out->push_back({PartStart(node, 0, kind, text.substr(0, end)), kModelMs});
  while (end < text.size()) {
    const size_t next = std::min(text.find(' ', end + 1), text.size());
    out->push_back({PartDelta(node, 0, kind, text.substr(end, next - end)), pause_ms});
    end = next;
  }
}

std::string ToolPart(int node, std::string_view kind, std::string_view member,
                     std::string_view json) {
  return Node(node, "part_start") + ",\"part_kind\":\"" + std::string(kind) +
         "\",\"tool_name\":\"get_forecast\",\"tool_call_id\":\"call_1\",\"" + std::string(member) +
         "\":" + std::string(json) + "}";
}

}  // namespace

std::vector<ScriptedEvent> AnsweringRun() {
  std::vector<ScriptedEvent> run;
  run.push_back({Node(0, "llm-begin") + "}", 0});
  AppendPart(0, "thinking", kThoughts, kThinkingMs, &run);
  run.push_back(
      {ToolPart(0, "tool-call", "args", R"({"city":"Lisbon","day":"tomorrow"})"), kModelMs});
  run.push_back({Node(0, "llm-end") + "}", 0});
  run.push_back({Node(1, "llm-begin") + "}", kToolMs});
  run.push_back({ToolPart(1, "tool-return", "content",
                          R"({"summary":"showers until noon","rain_mm":4.2,"high_c":18})"),
                 0});
  AppendPart(1, "text", kAnswer, kTextMs, &run);
  run.push_back({Node(1, "answer") + "}", 0});
  run.push_back({Node(1, "llm-end") + "}", 0});
  return run;
}

std::vector<ScriptedEvent> CountingRun() {
  return {{Node(0, "llm-begin") + "}", 0},
          {PartStart(0, 0, "text", "I count sheep until you stop me:"), kModelMs}};
}

ScriptedEvent CountingStep(int n) {
  return {PartDelta(0, 0, "text", " " + std::to_string(n) + ","), kTextMs};
}

}  // namespace cli
