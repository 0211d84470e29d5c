// What counts as JSON and as UTF-8, and how texts become JSON.
#include "base/json.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace agx {
namespace {

using std::string;
using std::string_view;
using namespace std::string_literals;

// In a buffer that ends where the text ends: AddressSanitizer sees each byte read beyond it.
class Exact {
 public:
  explicit Exact(string_view text) : size_(text.size()), bytes_(new char[text.size()]) {
    std::memcpy(bytes_.get(), text.data(), size_);
  }
  string_view view() const { return {bytes_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<char[]> bytes_;
};

bool Valid(string_view text, size_t depth = 512) {
  JsonError error;
  bool valid = ValidateJson(Exact(text).view(), depth, &error);
  if (!valid) {
    EXPECT_LE(error.offset, text.size());
    EXPECT_STRNE(error.reason, "");
  }
  EXPECT_EQ(ValidateJson(Exact(text).view(), depth, nullptr), valid);
  return valid;
}

bool Utf8(string_view text) { return ValidateUtf8(Exact(text).view()); }

string Quoted(string_view text) {
  string out;
  AppendJsonString(Exact(text).view(), &out);
  return out;
}

string QuotedAscii(string_view text) {
  string out;
  AppendJsonStringAscii(Exact(text).view(), &out);
  return out;
}

string Repeat(string_view text, size_t times) {
  string out;
  while (times-- > 0) out += text;
  return out;
}

TEST(ValidateJson, AcceptsWhatTheGrammarAllows) {
  const string_view accepted[] = {
      // Any value may be the whole text.
      "null", "true", "false", "0", "\"\"", "[]", "{}",
      // Whitespace is these four, and may stand around every token.
      " \t\r\n null \t\r\n ", "[ ]", "{ }", " [ 1 , 2 ] ", "{ \"a\" : 1 , \"b\" : [ ] }", "[\n]",
      // Numbers.
      "-0", "0.0", "-0.0", "1", "10", "123456789012345678901234567890", "0e0", "0E0", "0e+0",
      "0e-0", "1.5e10", "1E400", "-1.25E-03", "1e00",
      // Strings.
      R"("\"\\\/\b\f\n\r\t")", R"("\u0000")", R"("\uABCD\uabcd")", R"("\ud83d\ude00")", "\"\x7f\"",
      "\"/\"", "\"'\"",
      // Escaped surrogates that stand alone: the grammar does not ask for pairs.
      R"("\ud800")", R"("\udc00\ud800")", R"("\ud800\u0041")",
      // Characters of two, three and four bytes, at their bounds.
      "\"\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\"",
      // Nesting.
      "[[]]", "[{}]", "{\"a\":{}}", "[[],{},[]]", R"({"a":[{"b":[{}]}]})", "[[[]],[[]]]",
      // A name may be empty, and come twice.
      R"({"":0})", R"({"a":1,"a":2})", R"({"a\u0000b":1})"};
  for (string_view text : accepted) EXPECT_TRUE(Valid(text)) << text;
}

TEST(ValidateJson, TakesPythonsNumbersOnlyIfToldTo) {
  for (string_view text :
       {"NaN", "Infinity", "-Infinity", R"({"a":NaN,"b":[Infinity,-Infinity ]})"}) {
    EXPECT_FALSE(Valid(text)) << text;
    EXPECT_TRUE(ValidatePythonJson(text, 10)) << text;
  }
  for (string_view text :
       {"-NaN", "nan", "NaNs", "Na", "I", "-I", "+Infinity", "Infinity1", "[NaN", "-"}) {
    EXPECT_FALSE(ValidatePythonJson(text, 10)) << text;
  }
}

TEST(ValidateJson, RejectsEverythingElse) {
  const string rejected[] = {
      // Nothing.
      "", " ", "\n",
      // Not a value.
      "nul", "nulll", "Null", "TRUE", "truefalse", "nan", "NaN", "Infinity", "-Infinity",
      "undefined", "'a'", "a", "\\", "\0"s, "null\0"s, "\0null"s, "//", "/**/1", "1//", "# 1",
      "\xEF\xBB\xBF{}",
      // More than one value.
      "1 2", "{}{}", "[][]", "null,", "[]]", "{}}", "\"\"\"\"", "1,2",
      // Whitespace that is none.
      "\f1", "\v1", "\u00a01", "1\u2028", "\u30001",
      // Numbers.
      "-", "+1", "00", "01", "-01", "1.", ".5", "-.5", "1.e5", "1e", "1e+", "1e-", "1e5.0", "1.2.3",
      "--1", "0x10", "1_000", "1f", "1e1e1", "1a", "\uff11",
      // Strings.
      "\"", "\"a", "\"\\\"", "\"\\", "\"\\x41\"", "\"\\u\"", "\"\\u12\"", "\"\\u12G4\"",
      "\"\\u+123\"", "\"\\U0041\"", "\"\\'\"", "\"\\a\"", "\"\\0\"", "\"\n\"", "\"\t\"", "\"\0\""s,
      "\"\x1f\"", "\"\\\n\"",
      // Arrays.
      "[", "]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", "[1}", "[:]", "[\"a\":1]",
      "[[]",
      // Objects.
      "{", "}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\"}",
      "{\"a\",1}", "{\"a\"::1}", "{\"a\" 1}", "{a:1}", "{1:1}", "{null:1}", "{\"a\":1]",
      "{\"a\":1 \"b\":2}", "{[]:1}", "{\"a\":1,2}", "{:1}", "{\"a\":}"};
  for (const string& text : rejected) EXPECT_FALSE(Valid(text)) << text;
}

// Each is not UTF-8.
const string kNotUtf8[] = {"\x80",
                           "\xBF",  // a continuation alone
                           "\xC3",
                           "\xE2\x82",
                           "\xE2",
                           "\xF0\x9F\x98",  // cut off
                           "\xC3\x28",
                           "\xE2\x28\xA1",
                           "\xE2\x82\x28",
                           "\xF0\x28\x8C\xBC",
                           "\xF0\x90\x28\xBC",
                           "\xC0\x80",
                           "\xC1\xBF",  // overlong, of two bytes
                           "\xE0\x80\x80",
                           "\xE0\x9F\xBF",  // of three
                           "\xF0\x80\x80\x80",
                           "\xF0\x8F\xBF\xBF",  // of four
                           "\xED\xA0\x80",
                           "\xED\xBF\xBF",              // surrogates
                           "\xED\xA0\xBD\xED\xB8\x80",  // a pair of them
                           "\xF4\x90\x80\x80",
                           "\xF5\x80\x80\x80",  // beyond U+10FFFF
                           "\xF8\x88\x80\x80\x80",
                           "\xFE",
                           "\xFF",
                           "\xFC\x84\x80\x80\x80\x80"};

TEST(ValidateJson, RejectsWhatIsNotUtf8) {
  for (const string& bytes : kNotUtf8) {
    for (size_t before = 0; before < 20; ++before) {
      string pad(before, 'x');
      EXPECT_FALSE(Valid("\"" + pad + bytes + "\"")) << testing::PrintToString(bytes);
      EXPECT_FALSE(Valid("\"" + pad + bytes + "0123456789abcdefghij\""));
      EXPECT_FALSE(Valid("\"" + pad + bytes));
      EXPECT_FALSE(Valid("{\"" + pad + bytes + "\":1}"));
    }
    EXPECT_FALSE(Valid(bytes));
    EXPECT_FALSE(Valid("1" + bytes));
  }
}

TEST(ValidateJson, FindsEverySpecialByteAtEveryPlace) {
  for (size_t length = 1; length <= 50; ++length) {
    for (size_t at = 0; at < length; ++at) {
      string inside(length, 'a');
      EXPECT_TRUE(Valid("\"" + inside + "\""));
      for (char bad : {'\n', '\0', '\x1f', '\\', '"', '\x80', '\xff'}) {
        inside[at] = bad;
        if (bad == '\\' && at + 1 < length) inside[at + 1] = 'x';
        ASSERT_FALSE(Valid("\"" + inside + "\"")) << length << " " << at << " " << int{bad};
        inside = string(length, 'a');
      }
      // The neighbours of those bytes are nothing special.
      for (char good : {' ', '!', '#', '[', ']', '\x7f', '~'}) {
        inside[at] = good;
        ASSERT_TRUE(Valid("\"" + inside + "\"")) << length << " " << at << " " << int{good};
      }
    }
  }
}

TEST(ValidateJson, RejectsEveryBeginningOfAText) {
  const string text =
      R"({"idx": 0, "event":"part_start","args":{"a":[1,-2.5e+3,true,false,null,{}],)"
      R"("b":"\u00e9 é 漢 😀\n"}})";
  ASSERT_TRUE(Valid(text));
  for (size_t length = 0; length < text.size(); ++length) {
    JsonError error;
    Exact cut(string_view(text).substr(0, length));
    ASSERT_FALSE(ValidateJson(cut.view(), 512, &error)) << length;
    EXPECT_GE(error.offset + 4, length) << "only the last character may be at fault";
  }
}

TEST(ValidateJson, CountsArraysAndObjectsAsDepth) {
  EXPECT_TRUE(Valid("1", 0));
  EXPECT_FALSE(Valid("[]", 0));
  EXPECT_FALSE(Valid("{}", 0));
  EXPECT_TRUE(Valid("[]", 1));
  EXPECT_FALSE(Valid("[[]]", 1));
  EXPECT_TRUE(Valid("[[],[],{}]", 2));
  EXPECT_TRUE(Valid(Repeat("[", 512) + Repeat("]", 512), 512));
  EXPECT_FALSE(Valid(Repeat("[", 513) + Repeat("]", 513), 512));
}

TEST(ValidateJson, HasALimitOfDepthOfItsOwn) {
  auto nested = [](size_t depth) { return Repeat("[", depth) + Repeat("]", depth); };
  EXPECT_TRUE(Valid(nested(kJsonDepthLimit), SIZE_MAX));
  EXPECT_FALSE(Valid(nested(kJsonDepthLimit + 1), SIZE_MAX));
  EXPECT_FALSE(Valid(Repeat("[", 1000000), SIZE_MAX));
}

TEST(ValidateJson, RemembersTheKindOfEveryContainer) {
  // Objects and arrays in turn, over several words of the bit stack, and back down and up again.
  for (size_t depth : {1, 63, 64, 65, 127, 128, 129, 700}) {
    string open, close;
    for (size_t i = 0; i < depth; ++i) {
      bool object = i % 3 == 0 || i % 64 == 63;
      open += object ? "{\"k\":" : "[";
      close.insert(0, object ? "}" : "]");
    }
    string inner = open + "0" + close;
    EXPECT_TRUE(Valid("[" + inner + "," + inner + "]", 1000)) << depth;
    string wrong = open + "0" + close;
    wrong.back() = wrong.back() == '}' ? ']' : '}';
    EXPECT_FALSE(Valid(wrong, 1000)) << depth;
  }
}

TEST(ValidateJson, SaysWhereAndWhy) {
  struct {
    string text;
    size_t offset;
    string reason;
  } cases[] = {
      {"", 0, "it ends too early"},
      {"  ", 2, "it ends too early"},
      {"{\"a\":", 5, "it ends too early"},
      {"\"abc", 4, "it ends too early"},
      {"\"\\u00", 5, "it ends too early"},
      {"hello", 0, "a value is missing"},
      {"[1,]", 3, "a value is missing"},
      {"[1 2]", 3, "a comma or ']' is missing"},
      {"{\"a\":1]", 6, "a comma or '}' is missing"},
      {"{a:1}", 1, "a name in quotes is missing"},
      {"{\"a\" 1}", 5, "a colon is missing"},
      {"{} x", 3, "there is something after the value"},
      {"01", 1, "a number begins with 0"},
      {"1.x", 2, "a digit is missing"},
      {"-x", 1, "a digit is missing"},
      {"\"\\x\"", 2, "there is no such escape"},
      {"\"\\u12x4\"", 5, "\\u needs four hexadecimal digits"},
      {"\"a\nb\"", 2, "a control character is not escaped"},
      {"\"ab\xC3\"", 3, "it is not UTF-8"},
      {Repeat("[", 513), 512, "it is nested too deep"},
  };
  for (const auto& c : cases) {
    JsonError error;
    EXPECT_FALSE(ValidateJson(Exact(c.text).view(), 512, &error));
    EXPECT_EQ(error.offset, c.offset) << c.text;
    EXPECT_EQ(error.reason, c.reason) << c.text;
  }
}

TEST(ValidateUtf8, AcceptsEveryCharacterAndNothingElse) {
  EXPECT_TRUE(Utf8(""));
  EXPECT_TRUE(Utf8("plain"));
  EXPECT_TRUE(Utf8("\0\x7f"s));
  EXPECT_TRUE(Utf8("\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"));
  for (const string& bytes : kNotUtf8) {
    for (size_t before = 0; before < 20; ++before) {
      EXPECT_FALSE(Utf8(string(before, 'x') + bytes)) << testing::PrintToString(bytes);
      EXPECT_FALSE(Utf8(string(before, 'x') + bytes + "0123456789abcdefghij"));
      EXPECT_FALSE(Utf8("漢é" + bytes + "é"));
    }
  }
}

// One character, written by the definition.
string Encode(uint32_t code) {
  string out;
  auto add = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | code >> 6);
    add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F));
    add(0x80 | (code & 0x3F));
  }
  return out;
}

TEST(ValidateUtf8, AgreesWithTheDefinitionForEveryCodePoint) {
  for (uint32_t code = 0; code < 0x120000; ++code) {
    bool character = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    ASSERT_EQ(ValidateUtf8(Encode(code)), character) << code;
  }
}

TEST(ValidateUtf8, AgreesWithItselfOnAllPairsAndTriplesOfBytes) {
  // Whatever shortcut a position takes, padding does not change the answer.
  for (unsigned a = 0x80; a < 0x100; ++a) {
    for (unsigned b = 0; b < 0x100; b += 5) {
      for (unsigned c = 0; c < 0x100; c += 5) {
        char bytes[] = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        string text(bytes, 3);
        bool valid = Utf8(text);
        ASSERT_EQ(Utf8(text + "0123456789abcdefg"), valid);
        ASSERT_EQ(Utf8("0123456789abcdefg" + text), valid);
      }
    }
  }
}

TEST(AppendJsonString, QuotesAndEscapes) {
  EXPECT_EQ(Quoted(""), R"("")");
  EXPECT_EQ(Quoted("plain / text"), R"("plain / text")");
  EXPECT_EQ(Quoted("\"\\\b\f\n\r\t"), R"("\"\\\b\f\n\r\t")");
  EXPECT_EQ(Quoted("\0\x01\x1f\x7f"s), R"("\u0000\u0001\u001f\u007f")");
  EXPECT_EQ(Quoted("é漢😀"), "\"é漢😀\"");
}

TEST(AppendJsonString, Appends) {
  string out = "x";
  AppendJsonString("a", &out);
  AppendJsonString("b", &out);
  EXPECT_EQ(out, R"(x"a""b")");
}

TEST(AppendJsonString, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(Quoted("a\xFFz"), "\"a\uFFFDz\"");
  EXPECT_EQ(Quoted("\xE2\x82"), "\"\uFFFD\"") << "one for what could have begun a character";
  EXPECT_EQ(Quoted("\xE2\x82z"), "\"\uFFFDz\"");
  EXPECT_EQ(Quoted("\xC0\x80"), "\"\uFFFD\uFFFD\"");
  EXPECT_EQ(Quoted("\xED\xA0\x80"), "\"\uFFFD\uFFFD\uFFFD\"");
  EXPECT_EQ(Quoted("\xF0\x9F\x98\xF0\x9F\x98\x80"), "\"\uFFFD😀\"");
  EXPECT_EQ(QuotedAscii("a\xFFz"), R"("a\ufffdz")");
}

TEST(AppendJsonString, AlwaysGivesValidJson) {
  for (const string& bytes : kNotUtf8) {
    for (size_t before = 0; before < 20; ++before) {
      EXPECT_TRUE(Valid(Quoted(string(before, 'x') + bytes + "\n\"")));
      EXPECT_TRUE(Valid(QuotedAscii(string(before, 'x') + bytes + "\n\"")));
    }
  }
  for (unsigned byte = 0; byte < 0x100; ++byte) {
    EXPECT_TRUE(Valid(Quoted(string(17, static_cast<char>(byte)))));
    EXPECT_TRUE(Valid(QuotedAscii(string(17, static_cast<char>(byte)))));
  }
}

TEST(AppendJsonStringAscii, WritesAsPythonDoes) {
  // json.dumps("…") of the same text.
  EXPECT_EQ(QuotedAscii("a/b\"\\\b\f\n\r\t\0\x1f\x7f"s),
            R"("a/b\"\\\b\f\n\r\t\u0000\u001f\u007f")");
  EXPECT_EQ(QuotedAscii("é漢😀\U0010ffff\u0080\uffff"),
            R"("\u00e9\u6f22\ud83d\ude00\udbff\udfff\u0080\uffff")");
}

TEST(AppendJsonOneLine, TurnsLineBreaksBetweenTokensToSpaces) {
  string out = "\n";
  AppendJsonOneLine("{\r\n\t\"a\\n\": [1,\n2]\n}", &out);
  EXPECT_EQ(out, "\n{  \t\"a\\n\": [1, 2] }");
}

}  // namespace
}  // namespace agx
