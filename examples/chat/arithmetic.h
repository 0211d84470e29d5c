// Arithmetic for a model that asks for it. What it sends is a stranger's text: nothing in it may do
// more than calculate, or take long.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace chat {

struct Calculation {
  std::optional<double> value;
  std::string error;  // why there is none
};

// + - * / % ^ and parentheses on decimal numbers, such as "2 * (3 + 4) ^ 2".
Calculation Calculate(std::string_view expression);

}  // namespace chat
