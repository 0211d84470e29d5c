// Conditions: what they select, and where they say that they are wrong.
#include "format/condition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "base/find.h"

namespace {

thread_local size_t allocations = 0;

}  // namespace

// Not inlined, where compilers take malloc and delete, or new and free, for a mismatch.
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}

namespace agx {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Condition> Compiled(std::string_view text) {
  Result<std::shared_ptr<const Condition>> condition = Condition::Compile(text);
  EXPECT_TRUE(condition.ok()) << text << ": " << condition.status().message();
  return condition.ok() ? *condition : nullptr;
}

bool Selects(std::string_view condition, std::string_view body = "{}",
             std::string_view type = "event", std::string_view origin = "o") {
  auto compiled = Compiled(condition);
  return compiled != nullptr && compiled->Selects(type, origin, body);
}

TEST(Condition, ComparesTypesAndOrigins) {
  EXPECT_TRUE(Selects(R"(type = "event")"));
  EXPECT_TRUE(Selects(R"(type == "event")"));
  EXPECT_FALSE(Selects(R"(type = "Event")"));
  EXPECT_FALSE(Selects(R"(type != "event")"));
  EXPECT_TRUE(Selects(R"(origin != "event")"));
  EXPECT_TRUE(Selects(R"(origin < "p" and origin > "n" and origin >= "o" and origin <= "o")"));
  EXPECT_TRUE(Selects("type"));
  EXPECT_FALSE(Selects("type", "{}", ""));
}

TEST(Condition, ComparesFieldsOfTheBody) {
  const char body[] = R"({"a":"x","n":-1.5e1,"t":true,"f":false,"z":null,"o":{"p":[1,{"q":"r"}]},)"
                      R"("a b":"\"q\" \u00e9\ud83d\ude00\n","":"e"})";
  for (const char* held : {R"(body.a = "x")",
                           "body.n = -15",
                           "body.n < 0",
                           "body.n <= -15.0",
                           "body.n > -1e2",
                           "body.n != 15",
                           "body.t = true",
                           "body.f = false",
                           "body.z = null",
                           "body.z",
                           "body.o.p",
                           "body.o.p[0] = 1",
                           R"(body.o.p[1].q = "r")",
                           R"(body."a b" > "\"q")",
                           R"(body."a b" = "\"q\" é😀\n")",
                           R"(body."\u0061" = "x")",
                           R"(body."" = "e")",
                           "body",
                           R"(body.a >= "x" and body.a <= "x")",
                           "body.missing != 1",
                           "not body.missing",
                           R"(body.a != 1)",
                           R"(body.n != "x")",
                           "body.t != false",
                           "body.a != null"}) {
    EXPECT_TRUE(Selects(held, body)) << held;
    EXPECT_FALSE(Selects("not (" + std::string(held) + ")", body)) << held;
  }
  for (const char* not_held :
       {"body.missing = null", "body.missing < 1", R"(body.missing = "")", "body.a.b", "body[0]",
        "body.o.p[2]", "body.o[0]", R"(body.a = "xy")", R"(body.a = "")", "body.a < 1",
        "body.n = true", "body.t = 1", "body.n > -15", R"(body."a b" = "\"q\"")",
        R"(body."a b" = "\"q\" é😀\n ")"}) {
    EXPECT_FALSE(Selects(not_held, body)) << not_held;
  }
}

// As doubles: what is beyond them is more, or less, than all of them, and what is too small for one is 0.
TEST(Condition, NumbersBeyondADoubleHaveTheirPlace) {
  const std::string zeros(400, '0');
  for (const std::string& large :
       {std::string("1e400"), std::string("1E+309"), "1" + zeros, "123" + zeros + ".5",
        std::string("1.8e308"), "0." + zeros + "1e1000", std::string("1e99999999999999999999")}) {
    std::string body = "{\"n\":" + large + ",\"m\":-" + large + "}";
    for (const char* held : {"body.n > 1.7e308", "body.n >= 0", "body.n != 1", "body.m < -1.7e308",
                             "body.m <= 0", "body.m != 1"}) {
      EXPECT_TRUE(Selects(held, body)) << held << " of " << body;
      EXPECT_FALSE(Selects("not " + std::string(held), body)) << held << " of " << body;
    }
    for (const char* not_held : {"body.n < 1.7e308", "body.n = 1", "body.n <= 1.7e308",
                                 "body.m > -1.7e308", "body.m = 0", "body.n = \"x\""}) {
      EXPECT_FALSE(Selects(not_held, body)) << not_held << " of " << body;
    }
  }
  for (const std::string& small :
       {std::string("1e-400"), std::string("9.99E-330"), "0." + zeros + "1", "1" + zeros + "e-1000",
        std::string("1e-99999999999999999999"), std::string("0e400")}) {
    for (const std::string& body : {"{\"n\":" + small + "}", "{\"n\":-" + small + "}"}) {
      EXPECT_TRUE(Selects("body.n = 0 and body.n < 1e-300 and body.n > -1e-300", body)) << body;
    }
    EXPECT_TRUE(Selects("body.n = " + small, R"({"n":0})")) << small;
  }
  EXPECT_TRUE(Selects("body.n = 5e-324 and body.n > 0", R"({"n":5e-324})"));
  EXPECT_TRUE(Selects("body.n = 1.7976931348623157e308", R"({"n":1.7976931348623157e308})"));
}

TEST(Condition, CombinesByAndOrNot) {
  const char body[] = R"({"t":true})";
  auto value = [&](bool v) { return v ? "body.t" : "body.u"; };
  for (int bits = 0; bits < 8; ++bits) {
    bool a = bits & 1;
    bool b = bits & 2;
    bool c = bits & 4;
    std::string A = value(a);
    std::string B = value(b);
    std::string C = value(c);
    EXPECT_EQ(Selects(A + " or " + B + " and " + C, body), a || (b && c)) << bits;
    EXPECT_EQ(Selects(A + " and " + B + " or " + C, body), (a && b) || c) << bits;
    EXPECT_EQ(Selects("(" + A + " or " + B + ") and " + C, body), (a || b) && c) << bits;
    EXPECT_EQ(Selects("not " + A + " and not(" + B + " or " + C + ")", body), !a && !(b || c));
    EXPECT_EQ(Selects("not not " + A + " or not " + B + " and " + C, body), a || (!b && c)) << bits;
    EXPECT_EQ(Selects(A + " and " + B + " and " + C, body), a && b && c) << bits;
    EXPECT_EQ(Selects(A + " or " + B + " or " + C, body), a || b || c) << bits;
  }
}

TEST(Condition, TheExampleOfTheDocuments) {
  const char condition[] =
      R"(type = "event" and body.event = "part_delta" and not body.part_delta_kind = "thinking")";
  EXPECT_TRUE(Selects(condition, R"({"event":"part_delta","part_delta_kind":"text"})"));
  EXPECT_FALSE(Selects(condition, R"({"event":"part_delta","part_delta_kind":"thinking"})"));
  EXPECT_FALSE(Selects(condition, R"({"event":"part_start"})"));
  EXPECT_FALSE(Selects(condition, R"({"event":"part_delta","part_delta_kind":"text"})", "info"));
}

TEST(Condition, ABodyThatIsNoJsonHasNoFields) {
  for (const char* body : {"", "{", "{\"a\":1", "nonsense", "\xFF"}) {
    EXPECT_FALSE(Selects("body", body)) << body;
    EXPECT_FALSE(Selects("body.a", body)) << body;
    EXPECT_TRUE(Selects("not body.a", body)) << body;
  }
  EXPECT_TRUE(Selects("body = 7", " 7 "));
  EXPECT_TRUE(Selects(R"(body[1] = "b")", R"(["a","b"])"));
}

TEST(Condition, OfSeveralMembersWithOneNameTheLastCounts) {
  EXPECT_TRUE(Selects("body.a = 2", R"({"a":1,"a":2})"));
}

// Where what is asked for is not in the body at all, or only where it does not count.
TEST(Condition, WhatLooksLikeAFieldIsNone) {
  for (const char* body :
       {R"({"b":{"a":1}})", R"({"b":"\"a\":1"})", R"([{"a":1}])", R"({"a":2})", R"({"a" : "1"})",
        R"({"a":1)", R"({"a":1}})", R"("a")", R"({"a":1,"a":2})", R"({"c":[1,"a",1]})", R"({"a":)",
        R"({"a")", "{\"a\":\"", "", "{}"}) {
    EXPECT_FALSE(Selects("body.a = 1", body)) << body;
    EXPECT_TRUE(Selects("body.a != 1", body)) << body;
    EXPECT_TRUE(Selects("not body.a = 1", body)) << body;
  }
  for (const char* body :
       {R"({"a":1})", "{ \"a\"\n:\t1.0 }", R"({"\u0061":1})", R"({"b":"a","a":1})",
        R"({"a":2,"a":1})", R"({"b":{"a":2},"c":"\"a\":3","a":10e-1})"}) {
    EXPECT_TRUE(Selects("body.a = 1", body)) << body;
    EXPECT_TRUE(Selects("body.a", body)) << body;
    EXPECT_TRUE(Selects("body.a < 2 and body.a > 0 and not body.a = 2", body)) << body;
  }
  EXPECT_TRUE(Selects(R"(body."a\"b" = 1)", R"({"a\"b":1})"));
  EXPECT_FALSE(Selects(R"(body."a\"b" = 1)", R"({"a":1})"));
  EXPECT_TRUE(Selects("body.a[1] = 2", R"({"a":[1,2]})"));
  EXPECT_TRUE(Selects("body.a", R"({"a":[]})"));
  EXPECT_FALSE(Selects("body.a = 1", R"({"a":[1]})"));
}

// A body whose name is written with an escape says the same as one without.
TEST(Condition, EscapesMakeNoDifference) {
  std::mt19937 random(20261126);
  auto below = [&random](size_t most) { return random() % most; };
  const std::vector<std::string> names = {"a", "b", "index", "part_delta_kind", ""};
  const std::vector<std::string> values = {"1",     "2",         "-1.5",  "\"x\"",  "\"\"",
                                           "\"a\"", "true",      "false", "null",   "[]",
                                           "{}",    "[1,\"a\"]", "10",    "\"xy\"", "1e0"};
  const std::vector<std::string> spaces = {"", "", " ", "\n"};
  std::function<std::string(int)> object = [&](int depth) {
    std::string text = "{";
    for (size_t i = below(5); i > 0; --i) {
      if (text.size() > 1) text += ",";
      text += spaces[below(4)] + "\"" + names[below(names.size())] + "\"" + spaces[below(4)] + ":" +
              spaces[below(4)] +
              (depth > 0 && below(4) == 0 ? object(depth - 1) : values[below(values.size())]);
    }
    return text + "}";
  };
  size_t selected = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string path = "body.\"" + names[below(names.size())] + "\"";
    if (below(4) == 0) path += ".\"" + names[below(names.size())] + "\"";
    const char* compares[] = {" = ", " != ", " < ", " >= "};
    const char* literals[] = {"1", "\"x\"", "\"\"", "10", "-1.5"};
    std::string condition = path;
    if (below(5) != 0) condition += std::string(compares[below(4)]) + literals[below(5)];
    if (below(4) == 0) condition = "not " + condition;
    std::string body = object(2);
    std::string escaped = body;
    escaped.insert(1, body == "{}" ? R"("\u007a":0)" : R"("\u007a":0,)");
    bool selects = Selects(condition, body);
    ASSERT_EQ(selects, Selects(condition, escaped)) << condition << " of " << body;
    selected += selects ? 1 : 0;
  }
  EXPECT_GT(selected, 2000u);
  EXPECT_LT(selected, 18000u);
}

TEST(Condition, OfSeveralMembersOfOneNameTheLastCounts) {
  EXPECT_FALSE(Selects("body.n = 1", R"({"n":1,"n":2})"));
  EXPECT_TRUE(Selects("body.n = 2", R"({"n":1,"n":2})"));
  EXPECT_FALSE(Selects("body.a.x = 1", R"({"a":{"x":1},"a":5})"));
  EXPECT_TRUE(Selects("body.a = 5", R"({"a":{"x":1},"a":5})"));
  EXPECT_FALSE(Selects("body.a.x = 1", R"({"a":{"x":1},"a":{"y":2}})"));
  EXPECT_TRUE(Selects("body.a.y = 2 and not body.a.x", R"({"a":{"x":1},"a":{"y":2}})"));
}

TEST(FindText, FindsWhatTheStandardLibraryFinds) {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 80, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 3);
    std::string what(2 + random() % 5, 'a');
    for (char& c : what) c = static_cast<char>('a' + random() % 3);
    size_t from = random() % (text.size() + 2);
    ASSERT_EQ(FindText(text, what, from), text.find(what, from))
        << text << " " << what << " " << from;
  }
}

TEST(FindText, SeesATextOrAByteInOnePass) {
  std::mt19937 random(11);
  for (int round = 0; round < 40000; ++round) {
    std::string text(random() % 80, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 4);
    // A byte of none, or of one at any place.
    if (random() % 2 == 0 && !text.empty()) text[random() % text.size()] = '\\';
    std::string what(2 + random() % 20, 'a');
    for (char& c : what) c = static_cast<char>('a' + random() % 4);
    ASSERT_EQ(HasTextOrByte(text, what, '\\'),
              text.find('\\') != text.npos || text.find(what) != text.npos)
        << text << " " << what;
  }
}

TEST(Condition, AskingAllocatesNothing) {
  auto condition = Condition::Compile(
      R"((type = "event" or origin = "x") and body.a.b[1]."c d" = "\u00e9" and not body.n >= 7)");
  ASSERT_TRUE(condition.ok());
  const std::string bodies[] = {R"({"a":{"b":[0,{"c d":"\u00e9"}]},"n":6})",
                                R"({"a":{"b":[0,{"c d":"\u00e9"}]},"n":7})",
                                R"({"a":1})",
                                "no JSON",
                                "",
                                "{\"text\":\"" + std::string(100000, 'x') + "\"}",
                                std::string(500, '[') + std::string(500, ']')};
  size_t selected = 0;
  size_t before = allocations;
  for (const std::string& body : bodies) {
    selected += (*condition)->Selects("event", "o", body) ? 1 : 0;
    selected += (*condition)->Selects("info", "o", body) ? 1 : 0;
  }
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(selected, 1U);
}

// The text so often; numbered, if so asked.
std::string Times(int times, const std::string& text, bool numbered = false) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text + (numbered ? std::to_string(i) : "");
  return all;
}

TEST(Condition, AsDeepAndAsLongAsItMayBe) {
  EXPECT_TRUE(Selects(Times(64, "not ") + "type"));
  EXPECT_TRUE(Selects(Times(64, "(") + "type" + Times(64, ")")));
  EXPECT_TRUE(Selects("body" + Times(64, ".a"), Times(64, R"({"a":)") + "1" + Times(64, "}")));
  EXPECT_TRUE(Selects("body.f" + Times(31, " or body.f", true), R"({"f30":1})"));
  // What quotes or brackets end needs no space behind it.
  EXPECT_TRUE(Selects("type=\"event\"and(body.a[0]or body.n=1)and not(type=\"x\")", R"({"n":1})"));
}

TEST(Condition, SaysWhereItIsWrong) {
  struct Wrong {
    std::string text;
    size_t at;
    const char* what;
  };
  const Wrong kWrong[] = {
      {"", 0, "expected"},
      {"   ", 3, "expected"},
      {"typo = \"x\"", 0, "expected"},
      {"type = ", 7, "a string"},
      {"type = event", 7, "a string"},
      {"type = 1", 7, "strings"},
      {"type < true", 7, "more or less"},
      {"body.a < null", 9, "more or less"},
      {"type = \"x", 7, "no end"},
      {"type = \"\\x\"", 9, ""},
      {"type = \"a\" type", 11, "`and`"},
      {"type = \"a\" and", 14, "expected"},
      {"(type = \"a\"", 11, "`)`"},
      {"type = \"a\")", 10, "`and`"},
      {"body. a", 5, "name"},
      {"body.a[x]", 7, "element"},
      {"body.a[1", 8, "]"},
      {"body.a = 01", 9, "number"},
      {"body.a = 1e", 9, "number"},
      {"not", 3, "expected"},
      {"type & origin", 5, "`and`"},
      {"body.a[99999999999999999999]", 7, "element"},
      {"body.a = 1e400", 9, "too large"},
      {"body.a != -1e400", 10, "too large"},
      {"not body.a < 1" + std::string(400, '0'), 13, "too large"},
      // A word ends where another sign or a space is, and so does a number.
      {"body.n=1and type=\"x\"", 7, "a number"},
      {"body.n=trueand type=\"x\"", 7, "`true`"},
      {"body.n=1 andtype=\"x\"", 9, "`and`"},
      {"nottype=\"x\"", 0, "expected"},
      // The first that is one too many.
      {Times(64, "not ") + " not type", 257, "too deep"},
      {Times(64, "(") + " (type", 65, "too deep"},
      {Times(64, "not  ") + "typo", 320, "expected"},
      {"body" + Times(65, ".a"), 132, "too long"},
      {"body.f" + Times(32, " or body.f", true), 372, "too many"},
  };
  for (const Wrong& wrong : kWrong) {
    Result<std::shared_ptr<const Condition>> condition = Condition::Compile(wrong.text);
    ASSERT_FALSE(condition.ok()) << wrong.text;
    EXPECT_EQ(condition.status().code(), AGX_EINVAL);
    EXPECT_THAT(condition.status().message(), HasSubstr("byte " + std::to_string(wrong.at)))
        << wrong.text;
    EXPECT_THAT(condition.status().message(), HasSubstr(wrong.what)) << wrong.text;
  }
}

TEST(Condition, CannotBeMadeToRunAway) {
  auto code = [](const std::string& text) { return Condition::Compile(text).status().code(); };
  EXPECT_EQ(code(std::string(1 << 20, ' ') + "type"), AGX_ETOOBIG);
  EXPECT_EQ(code(std::string(10000, '(') + "type" + std::string(10000, ')')), AGX_EINVAL);
  std::string nots;
  for (int i = 0; i < 10000; ++i) nots += "not ";
  EXPECT_EQ(code(nots + "type"), AGX_EINVAL);
  std::string path = "body";
  for (int i = 0; i < 10000; ++i) path += ".a";
  EXPECT_EQ(code(path), AGX_EINVAL);
  std::string fields = "type";
  for (int i = 0; i < 1000; ++i) fields += " or body.f" + std::to_string(i);
  EXPECT_EQ(code(fields), AGX_EINVAL);
  std::string chain = "type = \"no\"";
  for (int i = 0; i < 2000; ++i) chain += " or body.a = " + std::to_string(i);
  EXPECT_TRUE(Selects(chain, R"({"a":1999})"));
  EXPECT_FALSE(Selects(chain, R"({"a":2000})"));
  EXPECT_EQ(code("type = \"\xFF\""), AGX_EINVAL);
}

}  // namespace
}  // namespace agx
