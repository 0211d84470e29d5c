#include "format/condition.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>

#include "agx.h"
#include "base/find.h"
#include "base/json.h"

namespace agx {
namespace {

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || static_cast<unsigned char>(c) >= 0x80;
}

// Of a number that no double holds: infinite, or 0 if it is too small.
double BeyondDouble(std::string_view text) {
  bool negative = text.starts_with('-');
  constexpr int64_t kFar = INT64_MAX / 4;
  int64_t exponent = 0;
  if (size_t e = text.find_first_of("eE"); e != text.npos) {
    size_t digits = text[e + 1] == '+' ? e + 2 : e + 1;
    auto [rest, error] = std::from_chars(text.data() + digits, text.data() + text.size(), exponent);
    if (error != std::errc()) exponent = text[digits] == '-' ? -kFar : kFar;
    text = text.substr(0, e);
  }
  size_t point = std::min(text.find('.'), text.size());
  size_t first = text.find_first_of("123456789");
  if (first == text.npos) return 0;
  auto place = static_cast<int64_t>(point) - static_cast<int64_t>(first);
  bool large = std::clamp(exponent, -kFar, kFar) + place > 0;
  double number = large ? std::numeric_limits<double>::infinity() : 0;
  return negative ? -number : number;
}

std::optional<double> NumberOf(std::string_view text) {
  double number = 0;
  // Most numbers are small and whole, and such are quickly read.
  constexpr size_t kExact = 15;
  size_t digits = 0;
  for (; digits < text.size() && digits <= kExact; ++digits) {
    unsigned digit = static_cast<unsigned char>(text[digits]) - static_cast<unsigned>('0');
    if (digit > 9) break;
    number = number * 10 + digit;
  }
  if (digits == text.size() && digits > 0 && digits <= kExact) return number;
  number = 0;
  auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (rest != text.data() + text.size() || error == std::errc::invalid_argument)
    return std::nullopt;
  return error == std::errc() ? number : BeyondDouble(text);
}

// More tests than these look into the body together, which costs the same for any number of them.
constexpr size_t kMostTraces = 8;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The place of the first from there on that is no space, or the text's end.
size_t SkipSpace(std::string_view text, size_t at) {
  while (at < text.size() && IsSpace(text[at])) ++at;
  return at;
}

// A name as it is written in JSON if it is written without escapes; empty if it cannot be.
std::string TraceOf(std::string_view name) {
  for (char c : name) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' ') return {};
  }
  return Cat("\"", name, "\"");
}

// The scalar that begins at a place of a text without escapes; of anything else no more than its
// beginning, which no scalar is equal to.
std::string_view ScalarAt(std::string_view text, size_t at) {
  text.remove_prefix(at);
  if (text.starts_with('"')) return text.substr(0, text.find('"', 1) + 1);
  size_t end = 0;
  auto ends = [](char c) { return c == ',' || c == '}' || c == ']' || c == '"' || IsSpace(c); };
  while (end < text.size() && !ends(text[end])) ++end;
  return text.substr(0, end);
}

}  // namespace

// Recursive descent; what is read is appended to the condition's program.
class ConditionParser {
 public:
  ConditionParser(std::string_view text, Condition* out) : text_(text), out_(out) {}

  Status Parse() {
    Or(0);
    SkipSpace();
    if (status_.ok() && at_ < text_.size()) Fail("`and`, `or` or the end is expected");
    if (traces_ > kMostTraces) {
      for (Test& test : out_->tests_) test.trace.clear();
    }
    return status_;
  }

 private:
  using Step = Condition::Step;
  using Test = Condition::Test;
  using Compare = Condition::Compare;

  void Fail(std::string_view what) {
    if (status_.ok()) {
      status_ = {AGX_EINVAL, Cat("the condition is wrong at byte ", at_, ": ", what)};
    }
  }

  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  std::string_view PeekWord() {
    SkipSpace();
    size_t end = at_;
    while (end < text_.size() && IsWordChar(text_[end])) ++end;
    return text_.substr(at_, end - at_);
  }

  bool TakeWord(std::string_view word) {
    if (PeekWord() != word) return false;
    at_ += word.size();
    return true;
  }

  bool Take(std::string_view sign) {
    SkipSpace();
    if (!text_.substr(at_).starts_with(sign)) return false;
    at_ += sign.size();
    return true;
  }

  // Jumps of a chain go to its end.
  template <class Operand>
  void Chain(std::string_view word, Step::Kind jump, Operand operand) {
    operand();
    std::vector<size_t> jumps;
    while (status_.ok() && TakeWord(word)) {
      jumps.push_back(out_->steps_.size());
      out_->steps_.push_back({jump, 0});
      operand();
    }
    for (size_t step : jumps) out_->steps_[step].target = out_->steps_.size();
  }

  void Or(size_t depth) {
    Chain("or", Step::Kind::kJumpIfTrue, [&] { And(depth); });
  }

  void And(size_t depth) {
    Chain("and", Step::Kind::kJumpIfFalse, [&] { Not(depth); });
  }

  void Not(size_t depth) {
    if (!status_.ok()) return;
    bool nests = PeekWord() == "not" || text_.substr(at_).starts_with('(');
    if (nests && depth >= Condition::kMaxDepth) return Fail("it is nested too deep");
    if (TakeWord("not")) {
      Not(depth + 1);
      out_->steps_.push_back({Step::Kind::kNot, 0});
    } else if (Take("(")) {
      Or(depth + 1);
      if (status_.ok() && !Take(")")) Fail("a `)` is missing");
    } else {
      Comparison();
    }
  }

  void Comparison() {
    Test test;
    if (!Subject(&test) || !Comparator(&test)) return;
    // Of what is not there it holds that it is unequal.
    if (test.compare == Compare::kUnequal) test.trace.clear();
    if (!test.trace.empty()) ++traces_;
    if (test.compare == Compare::kEqual && test.literal == Condition::Literal::kString) {
      test.value = TraceOf(test.text);
    }
    out_->steps_.push_back({Step::Kind::kTest, out_->tests_.size()});
    out_->tests_.push_back(std::move(test));
  }

  bool Subject(Test* test) {
    std::string_view word = PeekWord();
    if (word == "type") {
      test->subject = Condition::Subject::kType;
    } else if (word == "origin") {
      test->subject = Condition::Subject::kOrigin;
    } else if (word == "body") {
      test->subject = Condition::Subject::kBody;
    } else {
      Fail("`type`, `origin`, `body`, `not` or `(` is expected");
      return false;
    }
    size_t begin = at_;
    at_ += word.size();
    return test->subject != Condition::Subject::kBody || Path(begin, test);
  }

  // What follows `body`: .name, ."any name", [0]. No space within.
  bool Path(size_t begin, Test* test) {
    Condition::Node* node = &out_->root_;
    size_t depth = 0;
    for (;; ++depth) {
      char c = at_ < text_.size() ? text_[at_] : '\0';
      if (c != '.' && c != '[') break;
      if (depth == Condition::kMaxDepth) {
        Fail("the path is too long");
        return false;
      }
      ++at_;
      Condition::Node child;
      if (c == '[' ? !Index(&child) : !Name(&child)) return false;
      node = Child(node, std::move(child));
      test->trace = node->is_index ? std::string() : TraceOf(node->name);
    }
    if (node->path == SIZE_MAX) {
      if (out_->paths_ == Condition::kMaxPaths) {
        at_ = begin;
        Fail("it asks for too many fields");
        return false;
      }
      node->path = out_->paths_++;
    }
    test->path = node->path;
    return true;
  }

  bool Index(Condition::Node* child) {
    child->is_index = true;
    const char* begin = text_.data() + at_;
    auto [rest, error] = std::from_chars(begin, text_.data() + text_.size(), child->index);
    if (error == std::errc()) at_ += static_cast<size_t>(rest - begin);
    if (error == std::errc() && at_ < text_.size() && text_[at_] == ']') {
      ++at_;
      return true;
    }
    Fail("the number of an element and `]` are expected");
    return false;
  }

  bool Name(Condition::Node* child) {
    if (at_ < text_.size() && text_[at_] == '"') return String(&child->name);
    size_t begin = at_;
    while (at_ < text_.size() && IsWordChar(text_[at_])) ++at_;
    child->name = text_.substr(begin, at_ - begin);
    if (!child->name.empty()) return true;
    Fail("the name of a field is expected");
    return false;
  }

  static Condition::Node* Child(Condition::Node* parent, Condition::Node child) {
    for (Condition::Node& other : parent->children) {
      if (other.is_index == child.is_index && other.index == child.index &&
          other.name == child.name) {
        return &other;
      }
    }
    return &parent->children.emplace_back(std::move(child));
  }

  // A JSON string.
  bool String(std::string* out) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) {
      Fail("the string has no end");
      return false;
    }
    std::string_view json = text_.substr(at_, end + 1 - at_);
    JsonError error;
    if (!ValidateJson(json, 1, &error)) {
      at_ += error.offset;
      Fail(error.reason);
      return false;
    }
    *out = JsonValue(json).String();
    at_ = end + 1;
    return true;
  }

  bool Comparator(Test* test) {
    struct Sign {
      std::string_view text;
      Compare compare;
    };
    // The longer first.
    constexpr Sign kSigns[] = {{"!=", Compare::kUnequal}, {"<=", Compare::kAtMost},
                               {">=", Compare::kAtLeast}, {"==", Compare::kEqual},
                               {"=", Compare::kEqual},    {"<", Compare::kLess},
                               {">", Compare::kMore}};
    for (const Sign& sign : kSigns) {
      if (!Take(sign.text)) continue;
      test->compare = sign.compare;
      return Literal(test);
    }
    return true;  // it is asked whether it is there
  }

  bool Literal(Test* test) {
    using Kind = Condition::Literal;
    SkipSpace();
    bool ordered = test->compare != Compare::kEqual && test->compare != Compare::kUnequal;
    if (at_ < text_.size() && text_[at_] == '"') {
      test->literal = Kind::kString;
      return String(&test->text);
    }
    std::string_view word = PeekWord();
    // A number's sign, point and exponent are no part of a word.
    size_t end = at_;
    while (end < text_.size() &&
           (IsWordChar(text_[end]) || text_[end] == '.' || text_[end] == '+')) {
      ++end;
    }
    std::string_view number = text_.substr(at_, end - at_);
    JsonError error;
    if (word == "true" || word == "false" || word == "null") {
      test->literal = word == "true" ? Kind::kTrue : word == "false" ? Kind::kFalse : Kind::kNull;
      number = word;
      if (ordered) {
        Fail("only numbers and strings can be more or less");
        return false;
      }
    } else if (!number.empty() && ValidateJson(number, 1, &error) && NumberOf(number)) {
      test->literal = Kind::kNumber;
      test->number = *NumberOf(number);
      if (std::isinf(test->number)) {
        Fail("the number is too large for a double");
        return false;
      }
    } else {
      Fail("a string, a number, `true`, `false` or `null` is expected");
      return false;
    }
    if (test->subject != Condition::Subject::kBody) {
      Fail("a type and an origin are strings");
      return false;
    }
    at_ += number.size();
    return true;
  }

  const std::string_view text_;
  Condition* const out_;
  size_t at_ = 0;
  size_t traces_ = 0;
  Status status_;
};

Result<std::shared_ptr<const Condition>> Condition::Compile(std::string_view text) {
  if (text.size() > kMaxLength) {
    return Status(AGX_ETOOBIG, Cat("the condition has more than ", kMaxLength, " bytes"));
  }
  if (!ValidateUtf8(text)) return Status(AGX_EINVAL, "the condition is not UTF-8");
  auto condition = std::make_shared<Condition>();
  if (Status status = ConditionParser(text, condition.get()).Parse(); !status.ok()) return status;
  return std::shared_ptr<const Condition>(std::move(condition));
}

// The body's fields that a condition asks for, looked for when the first is asked for.
class Condition::Fields {
 public:
  Fields(const Node& root, size_t paths, std::string_view body)
      : root_(root), paths_(paths), body_(body) {}

  bool are_read() const { return read_; }

  JsonValue operator[](size_t path) {
    if (!read_) {
      read_ = true;
      std::uninitialized_default_construct_n(found(), paths_);
      // What others wrote need not be JSON; then it has no fields.
      if (ValidateJson(body_, AGX_DEPTH_MAX, nullptr)) Collect(root_, JsonValue(body_), found());
    }
    return found()[path];
  }

 private:
  static_assert(std::is_trivially_destructible_v<JsonValue>);
  JsonValue* found() { return reinterpret_cast<JsonValue*>(room_); }

  const Node& root_;
  const size_t paths_;
  const std::string_view body_;
  bool read_ = false;
  // Of which few are used, and none by a condition that asks for no field.
  alignas(JsonValue) std::byte room_[kMaxPaths * sizeof(JsonValue)];
};

bool Condition::Selects(std::string_view type, std::string_view origin,
                        std::string_view body) const {
  Fields fields(root_, paths_, body);
  bool flag = false;
  for (size_t at = 0; at < steps_.size(); ++at) {
    const Step& step = steps_[at];
    switch (step.kind) {
      case Step::Kind::kTest: {
        const Test& test = tests_[step.target];
        if (test.subject == Subject::kBody) {
          bool may_hold = fields.are_read() || MayHold(test, body);
          flag = may_hold && Holds(test, fields[test.path]);
        } else {
          flag = HoldsText(test, test.subject == Subject::kType ? type : origin);
        }
        break;
      }
      case Step::Kind::kJumpIfTrue:
        if (flag) at = step.target - 1;
        break;
      case Step::Kind::kJumpIfFalse:
        if (!flag) at = step.target - 1;
        break;
      case Step::Kind::kNot:
        flag = !flag;
        break;
    }
  }
  return flag;
}

void Condition::Forget(const Node& node, JsonValue* found) {
  if (node.path != SIZE_MAX) found[node.path] = {};
  for (const Node& child : node.children) Forget(child, found);
}

void Condition::Collect(const Node& node, JsonValue value, JsonValue* found) {
  if (node.path != SIZE_MAX) found[node.path] = value;
  if (node.children.empty()) return;
  if (value.is_object()) {
    for (JsonMembers member(value); member.Next();) {
      for (const Node& child : node.children) {
        if (child.is_index || !member.name().Is(child.name)) continue;
        // Of several of one name the last counts.
        Forget(child, found);
        Collect(child, member.value(), found);
      }
    }
  } else if (value.is_array()) {
    size_t index = 0;
    for (JsonElements element(value); element.Next(); ++index) {
      for (const Node& child : node.children) {
        if (child.is_index && child.index == index) Collect(child, element.value(), found);
      }
    }
  }
}

bool Condition::Ordered(Compare compare, int order) {
  switch (compare) {
    case Compare::kExists:
      return true;
    case Compare::kEqual:
      return order == 0;
    case Compare::kUnequal:
      return order != 0;
    case Compare::kLess:
      return order < 0;
    case Compare::kAtMost:
      return order <= 0;
    case Compare::kMore:
      return order > 0;
    case Compare::kAtLeast:
      return order >= 0;
  }
  return false;
}

bool Condition::HoldsText(const Test& test, std::string_view text) {
  if (test.compare == Compare::kExists) return !text.empty();
  return Ordered(test.compare, text.compare(test.text));
}

// False: no member of this name has such a value, wherever in the body, and be it JSON or not. Most
// events that are passed over are so by a glance.
bool Condition::MayHold(const Test& test, std::string_view body) {
  if (test.trace.empty() || body.empty()) return true;
  if (!test.value.empty() && !HasTextOrByte(body, test.value, '\\')) return false;
  if (std::memchr(body.data(), '\\', body.size()) != nullptr) return true;
  for (size_t at = 0; (at = FindText(body, test.trace, at)) != body.npos; ++at) {
    size_t colon = SkipSpace(body, at + test.trace.size());
    if (colon == body.size() || body[colon] != ':') continue;
    size_t value = SkipSpace(body, colon + 1);
    if (value == body.size()) continue;
    if (Holds(test, JsonValue(ScalarAt(body, value)))) return true;
  }
  return false;
}

// A value of another kind, or none, is unequal and neither more nor less.
bool Condition::Holds(const Test& test, JsonValue value) {
  if (test.compare == Compare::kExists) return static_cast<bool>(value);
  bool unequal = test.compare == Compare::kUnequal;
  switch (test.literal) {
    case Literal::kString:
      if (!value.is_string()) return unequal;
      if (test.compare == Compare::kEqual) return value.Is(test.text);
      return Ordered(test.compare, value.Compare(test.text));
    case Literal::kNumber: {
      std::optional<double> number = NumberOf(value.text());
      if (value.kind() != JsonValue::Kind::kNumber || !number) return unequal;
      return Ordered(test.compare, *number < test.number ? -1 : *number > test.number ? 1 : 0);
    }
    case Literal::kTrue:
      return (value.text() == "true") != unequal;
    case Literal::kFalse:
      return (value.text() == "false") != unequal;
    case Literal::kNull:
      return (value.text() == "null") != unequal;
  }
  return false;
}

}  // namespace agx
