// Conditions of any text, asked of a body of any bytes. The input is a condition, then, after a
// NUL, a body. What is compiled gives the same answer each time, the opposite when negated, and the
// same where a member with an escape keeps it from answering by a glance.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "format/condition.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  size_t end = input.find('\0');
  std::string_view text = input.substr(0, end);
  // Of its own size, so that a look behind its end is seen.
  std::string body(end == input.npos ? "" : input.substr(end + 1));
  auto condition = agx::Condition::Compile(text);
  if (!condition.ok()) {
    if (condition.status().message().empty()) std::abort();
    return 0;
  }
  bool selected = (*condition)->Selects("event", "pydantic-ai", body);
  if (selected != (*condition)->Selects("event", "pydantic-ai", body)) std::abort();
  size_t member = body.find_first_not_of(" \t\n\r", 1);
  if (body.starts_with('{') && member != body.npos && body[member] == '"' &&
      text.find("u0000") == text.npos) {
    std::string read = body;
    read.insert(member, R"("\u0000":0,)");
    if (selected != (*condition)->Selects("event", "pydantic-ai", read)) std::abort();
  }
  auto negated = agx::Condition::Compile("not(" + std::string(text) + ")");
  // It may be one level too deep, or a few bytes too long.
  if (negated.ok() && (*negated)->Selects("event", "pydantic-ai", body) == selected) std::abort();
  return 0;
}
