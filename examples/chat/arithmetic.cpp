#include "arithmetic.h"

#include <charconv>
#include <cmath>

namespace chat {
namespace {

constexpr size_t kLongest = 1000;
constexpr int kDeepest = 100;

// Recursive descent, a function for each rule:
//   sum     = product { ("+" | "-") product }
//   product = factor { ("*" | "/" | "%") factor }
//   factor  = ("+" | "-") factor | power
//   power   = atom [ "^" factor ]
//   atom    = number | "(" sum ")"
// After the first error nothing is read any more, and every rule returns at once.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Calculation Run() {
    if (text_.size() > kLongest) return {{}, "the expression is too long"};
    const double value = Sum();
    if (error_.empty() && Next() != '\0') Unexpected();
    if (error_.empty() && !std::isfinite(value)) error_ = "the result is not a finite number";
    if (!error_.empty()) return {{}, error_};
    return {value, {}};
  }

 private:
  double Sum() {
    double value = Product();
    for (;;) {
      if (Take('+')) {
        value += Product();
      } else if (Take('-')) {
        value -= Product();
      } else {
        return value;
      }
    }
  }

  double Product() {
    double value = Factor();
    for (;;) {
      if (Take('*')) {
        value *= Factor();
      } else if (Take('/')) {
        value /= Divisor();
      } else if (Take('%')) {
        value = std::fmod(value, Divisor());
      } else {
        return value;
      }
    }
  }

  double Divisor() {
    const double value = Factor();
    if (value == 0) Fail("division by zero");
    return value;
  }

  // All recursion comes through here.
  double Factor() {
    if (depth_ == kDeepest) Fail("the expression is nested too deep");
    ++depth_;
    double value = 0;
    if (Take('-')) {
      value = -Factor();
    } else if (Take('+')) {
      value = Factor();
    } else {
      value = Power();
    }
    --depth_;
    return value;
  }

  double Power() {
    const double base = Atom();
    return Take('^') ? std::pow(base, Factor()) : base;
  }

  double Atom() {
    if (Take('(')) {
      const double value = Sum();
      if (!Take(')')) Fail("a parenthesis is not closed");
      return value;
    }
    return Number();
  }

  double Number() {
    const char next = Next();
    // from_chars also reads "inf" and "nan".
    if (next != '.' && (next < '0' || next > '9')) {
      Unexpected();
      return 0;
    }
    double value = 0;
    const char* end = text_.data() + text_.size();
    const auto [stop, problem] = std::from_chars(text_.data() + at_, end, value);
    if (problem != std::errc()) Fail("a number is too large or too small");
    at_ = static_cast<size_t>(stop - text_.data());
    return value;
  }

  // What comes next after blanks; '\0' at the end.
  char Next() {
    if (!error_.empty()) return '\0';
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != text_.npos) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool Take(char wanted) {
    if (Next() != wanted) return false;
    ++at_;
    return true;
  }

  void Unexpected() {
    const char next = Next();
    Fail(next == '\0' ? "the expression is not complete"
                      : "there should not be '" + std::string(1, next) + "' at character " +
                            std::to_string(at_ + 1));
  }

  void Fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
  }

  const std::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::string error_;
};

}  // namespace

Calculation Calculate(std::string_view expression) { return Parser(expression).Run(); }

}  // namespace chat
