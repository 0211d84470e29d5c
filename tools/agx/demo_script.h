// What the agent of `agx demo` does: the events of a run, as docs/protocol.md has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cli {

struct ScriptedEvent {
  std::string body;
  int pause_ms;  // before it, where somebody watches
};

inline constexpr std::string_view kQuestion = "Do I need an umbrella in Lisbon tomorrow?";

// Thinks, asks a tool, and answers.
std::vector<ScriptedEvent> AnsweringRun();

// The beginning of a run that would go on counting, and its n-th next step.
std::vector<ScriptedEvent> CountingRun();
ScriptedEvent CountingStep(int n);

}  // namespace cli
