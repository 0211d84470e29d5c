// Conditions that select events: `type = "event" and not body.part_delta_kind = "thinking"`.
//
// Compiled once, then asked of each event. Asking allocates nothing, reads the body once at most, and
// not at all if the type and origin decide, or if nothing in it looks like what is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_value.h"
#include "base/status.h"

namespace agx {

class Condition {
 public:
  // AGX_EINVAL with what is wrong and where; AGX_ETOOBIG if it is longer than kMaxLength.
  static Result<std::shared_ptr<const Condition>> Compile(std::string_view text);

  bool Selects(std::string_view type, std::string_view origin, std::string_view body) const;

  static constexpr size_t kMaxLength = size_t{64} * 1024;
  // Of parentheses and `not`.
  static constexpr size_t kMaxDepth = 64;
  static constexpr size_t kMaxPaths = 32;

 private:
  friend class ConditionParser;

  enum class Compare : uint8_t { kExists, kEqual, kUnequal, kLess, kAtMost, kMore, kAtLeast };
  enum class Subject : uint8_t { kType, kOrigin, kBody };
  enum class Literal : uint8_t { kString, kNumber, kTrue, kFalse, kNull };
  struct Test {
    Subject subject = Subject::kType;
    size_t path = 0;  // of a body's field: its number
    Compare compare = Compare::kExists;
    Literal literal = Literal::kNull;
    std::string text;  // a string's text
    double number = 0;
    // As it has to be in the body of an event for which the test holds, unless that has escapes: the
    // field's name, and a string that it has to be equal to, in quotes. Empty: nothing has to be.
    std::string trace;
    std::string value;
  };
  // A program for a machine that has one flag: a test sets it, a jump goes on from elsewhere if it
  // is as wanted, a turn reverses it.
  struct Step {
    enum class Kind : uint8_t { kTest, kJumpIfTrue, kJumpIfFalse, kNot } kind = Kind::kTest;
    size_t target = 0;  // a test's number, or where to go on
  };
  // Fields of the body that tests ask for, as a tree of their names.
  struct Node {
    std::string name;  // of a member
    bool is_index = false;
    size_t index = 0;        // of an element
    size_t path = SIZE_MAX;  // the number of the path that ends here
    std::vector<Node> children;
  };

  class Fields;

  static void Collect(const Node& node, JsonValue value, JsonValue* found);
  static void Forget(const Node& node, JsonValue* found);
  static bool Ordered(Compare compare, int order);
  static bool Holds(const Test& test, JsonValue value);
  static bool HoldsText(const Test& test, std::string_view text);
  static bool MayHold(const Test& test, std::string_view body);

  std::vector<Test> tests_;
  std::vector<Step> steps_;
  Node root_;
  size_t paths_ = 0;
};

}  // namespace agx
