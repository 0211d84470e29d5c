// ctest-timeout: 120
#include "format/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "support/data.h"

namespace agx::test {
namespace {

using std::string;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace std::string_literals;

Conversation Parsed(const string& json) {
  Result<Conversation> parsed = Conversation::Parse(json);
  EXPECT_TRUE(parsed.ok()) << parsed.status().message();
  return parsed.ok() ? std::move(*parsed) : Conversation();
}

Status Refused(const string& json) {
  Result<Conversation> parsed = Conversation::Parse(json);
  return parsed.ok() ? Status() : parsed.status();
}

bool IsValid(const string& json) { return ValidateJson(json, AGX_DEPTH_MAX, nullptr); }

constexpr char kNow[] = "2026-01-02T03:04:05.678901Z";

// ---- Reading.

TEST(Conversation, BeginsWithoutMessages) {
  EXPECT_EQ(Conversation().json(), "[]");
  EXPECT_EQ(Conversation().count(), 0u);
  EXPECT_FALSE(Conversation().message(0));
}

TEST(Conversation, IsKeptAsItCame) {
  for (const string& json :
       {ReadData("conversation.json"), " [ ] \n"s, "[{}]"s, "\t[ {\"kind\" : \"x\"} ,\r\n{}]"s,
        R"([{"a":1,"a":2,"":1E400,"n":-1e-400,"i":123456789012345678901234567890}])"s,
        R"([{"esc":"\u00e9\/\ud800","kind":null}])"s}) {
    EXPECT_EQ(Parsed(json).json(), json);
  }
}

TEST(Conversation, HasItsMessagesInOrder) {
  string json = " [ {\"kind\":\"request\"} , {\"n\":[{}]},{}] ";
  Conversation conversation = Parsed(json);
  ASSERT_EQ(conversation.count(), 3u);
  EXPECT_EQ(conversation.message(0).text(), "{\"kind\":\"request\"}");
  EXPECT_EQ(conversation.message(1).text(), "{\"n\":[{}]}");
  EXPECT_EQ(conversation.message(2).text(), "{}");
  EXPECT_FALSE(conversation.message(3));
  EXPECT_FALSE(conversation.message(SIZE_MAX));
}

TEST(Conversation, IsAnArrayOfObjects) {
  for (const string& json :
       {"{}"s, "null"s, "1"s, "\"[]\""s, "[1]"s, "[null]"s, "[[]]"s, "[{},\"\"]"s}) {
    EXPECT_EQ(Refused(json).code(), AGX_EJSON) << json;
  }
  EXPECT_THAT(Refused("[{}, {}, 7]").message(), HasSubstr("message 2"));
  EXPECT_THAT(Refused("[{}, {}, 7]").message(), HasSubstr("byte 9"));
}

TEST(Conversation, IsRefusedWithPlaceAndReasonIfItIsNoJson) {
  EXPECT_EQ(Refused("").code(), AGX_EJSON);
  EXPECT_THAT(Refused("[{]").message(), HasSubstr("byte 2"));
  EXPECT_EQ(Refused("[{\"a\":\"\xff\"}]").code(), AGX_EJSON);
  EXPECT_EQ(Refused("[{\"a\":\"\xed\xa0\x80\"}]").code(), AGX_EJSON) << "a surrogate";
  EXPECT_EQ(Refused("[]\0"s).code(), AGX_EJSON);
  string deep = "[{\"a\":" + string(AGX_DEPTH_MAX - 2, '[') + string(AGX_DEPTH_MAX - 2, ']') + "}]";
  EXPECT_EQ(Parsed(deep).count(), 1u);
  deep = "[{\"a\":" + string(AGX_DEPTH_MAX - 1, '[') + string(AGX_DEPTH_MAX - 1, ']') + "}]";
  EXPECT_EQ(Refused(deep).code(), AGX_EJSON);
}

TEST(Conversation, CutAnywhereIsRefused) {
  string json = ReadData("conversation.json");
  for (size_t size = 0; size < json.size(); ++size) {
    ASSERT_EQ(Refused(json.substr(0, size)).code(), AGX_EJSON) << size;
  }
}

TEST(Conversation, HasABoundedSize) {
  string filler(AGX_BODY_MAX - "[{\"a\":\"\"}]"s.size(), 'x');
  Conversation conversation = Parsed("[{\"a\":\"" + filler + "\"}]");
  ASSERT_EQ(conversation.count(), 1u);
  EXPECT_EQ(conversation.Append("{\"kind\":\"request\",\"parts\":[]}").code(), AGX_ETOOBIG);
  EXPECT_EQ(conversation.AppendPart(UserPromptPart("", kNow), kNow).code(), AGX_ETOOBIG);
  EXPECT_EQ(conversation.json().size(), size_t{AGX_BODY_MAX}) << "and is as it was";
  EXPECT_EQ(conversation.count(), 1u);
  EXPECT_EQ(Refused("[{\"a\":\"" + filler + "x\"}]").code(), AGX_ETOOBIG);
}

// ---- Appending.

TEST(Append, PutsMessagesBehindTheOthersAndDisturbsNoByte) {
  struct Case {
    string before, added, after;
  };
  const string a = R"({"kind":"request","parts":[]})";
  const string b = R"({"kind":"response","parts":[{}],"new":1e999})";
  for (const Case& c : {Case{"[]", a, "[" + a + "]"}, Case{" [ ] ", a, " [" + a + " ] "},
                        Case{"[{} ]", a, "[{}," + a + " ]"},
                        Case{"[{}\n]\n", "[" + a + " , " + b + "]", "[{}," + a + "," + b + "\n]\n"},
                        Case{"[{}]", " " + a + "\n", "[{}," + a + "]"}, Case{"[{}]", "[]", "[{}]"},
                        Case{"[]", "[ ]", "[]"}}) {
    Conversation conversation = Parsed(c.before);
    ASSERT_TRUE(conversation.Append(c.added).ok()) << c.before;
    EXPECT_EQ(conversation.json(), c.after);
  }
}

TEST(Append, FindsWhatItAppended) {
  Conversation conversation;
  for (int i = 0; i < 100; ++i) {
    string n = std::to_string(i);
    ASSERT_TRUE(conversation
                    .Append("[{\"kind\":\"request\",\"parts\":[],\"n\":" + n +
                            "},{\"kind\":\"response\",\"parts\":[]}]")
                    .ok());
  }
  ASSERT_EQ(conversation.count(), 200u);
  for (size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(conversation.message(2 * i)["n"].text(), std::to_string(i));
    EXPECT_TRUE(conversation.message(2 * i + 1)["kind"].Is("response"));
  }
  EXPECT_EQ(Parsed(conversation.json()).count(), 200u);
}

TEST(Append, TakesNothingThatIsNoMessage) {
  Conversation conversation = Parsed("[{\"old\":1}]");
  for (const string& json :
       {""s, "{"s, "1"s, "null"s, "\"\""s, "{}"s, "[1]"s, R"({"kind":"request"})"s,
        R"({"parts":[]})"s, R"({"kind":null,"parts":[]})"s, R"({"kind":"request","parts":{}})"s,
        R"([{"kind":"request","parts":[]},{}])"s, "[[]]"s}) {
    EXPECT_EQ(conversation.Append(json).code(), AGX_EJSON) << json;
    EXPECT_EQ(conversation.json(), "[{\"old\":1}]");
    EXPECT_EQ(conversation.count(), 1u);
  }
  EXPECT_THAT(conversation.Append("[{\"kind\":\"request\",\"parts\":[]},{}]").message(),
              HasSubstr("message 1"));
}

TEST(Append, NeverMakesWhatCannotBeLoadedAgain) {
  auto nested = [](size_t depth) {
    return "{\"kind\":\"request\",\"parts\":[],\"a\":" + string(depth, '[') + string(depth, ']') +
           "}";
  };
  Conversation conversation;
  EXPECT_TRUE(conversation.Append(nested(AGX_DEPTH_MAX - 2)).ok());
  EXPECT_EQ(conversation.Append(nested(AGX_DEPTH_MAX - 1)).code(), AGX_EJSON);
  EXPECT_TRUE(conversation.Append("[" + nested(AGX_DEPTH_MAX - 2) + "]").ok());
  EXPECT_EQ(conversation.Append("[" + nested(AGX_DEPTH_MAX - 1) + "]").code(), AGX_EJSON);
  string content = string(kPartValueDepth, '[') + string(kPartValueDepth, ']');
  EXPECT_TRUE(conversation.AppendPart(ToolReturnPart("t", "id", content, kNow), kNow).ok());
  EXPECT_TRUE(Conversation::Parse(conversation.json()).ok());
}

TEST(AppendPart, MakesANewRequestAsPydanticAiWritesIt) {
  Conversation conversation;
  ASSERT_TRUE(conversation.AppendPart(UserPromptPart("Hé \"\n", kNow), kNow).ok());
  EXPECT_EQ(conversation.json(),
            R"([{"parts":[{"content":"Hé \"\n","timestamp":"2026-01-02T03:04:05.678901Z",)"
            R"("part_kind":"user-prompt"}],"timestamp":"2026-01-02T03:04:05.678901Z",)"
            R"("instructions":null,"kind":"request","run_id":null,"conversation_id":null,)"
            R"("metadata":null,"state":"complete"}])");
}

TEST(AppendPart, GoesIntoTheLastRequestInPlace) {
  struct Case {
    string before, after;
  };
  for (const Case& c :
       {Case{R"([{"kind":"request","parts":[],"x":1}])",
             R"([{"kind":"request","parts":[P],"x":1}])"},
        Case{R"([{"kind":"request","parts":[ ]}])", R"([{"kind":"request","parts":[P ]}])"},
        Case{R"([ { "parts" : [{} , 1 ] , "kind":"request"} ] )",
             R"([ { "parts" : [{} , 1,P ] , "kind":"request"} ] )"},
        Case{R"([{"k\u0069nd":"requ\u0065st","parts":[0],"parts":[1]}])",
             R"([{"k\u0069nd":"requ\u0065st","parts":[0],"parts":[1,P]}])"}}) {
    Conversation conversation = Parsed(c.before);
    string part = SystemPromptPart("s", kNow);
    ASSERT_TRUE(conversation.AppendPart(part, kNow).ok());
    string after = c.after;
    after.replace(after.find('P'), 1, part);
    EXPECT_EQ(conversation.json(), after);
    ASSERT_TRUE(conversation.Append(R"({"kind":"response","parts":[]})").ok());
    EXPECT_EQ(Parsed(conversation.json()).count(), 2u);
    EXPECT_TRUE(conversation.message(1)["kind"].Is("response"));
  }
}

TEST(AppendPart, GoesIntoANewRequestIfTheLastMessageIsNone) {
  for (const string& before :
       {"[{\"kind\":\"response\",\"parts\":[]}]"s, "[{}]"s, "[{\"kind\":\"request\"}]"s,
        "[{\"kind\":\"request\",\"parts\":{}}]"s}) {
    Conversation conversation = Parsed(before);
    ASSERT_TRUE(conversation.AppendPart(UserPromptPart("u", kNow), kNow).ok());
    ASSERT_EQ(conversation.count(), 2u);
    EXPECT_THAT(conversation.json(), StartsWith(before.substr(0, before.size() - 1) + ",{"));
    EXPECT_TRUE(conversation.message(1)["kind"].Is("request"));
  }
}

TEST(Parts, HaveTheMembersThatPydanticAiGivesThem) {
  EXPECT_EQ(SystemPromptPart("s", kNow),
            R"({"content":"s","timestamp":"2026-01-02T03:04:05.678901Z","dynamic_ref":null,)"
            R"("part_kind":"system-prompt"})");
  EXPECT_EQ(ToolReturnPart("t", "id", "[1, 2]", kNow),
            R"({"tool_name":"t","content":[1, 2],"tool_call_id":"id","tool_kind":null,)"
            R"("metadata":null,"timestamp":"2026-01-02T03:04:05.678901Z","outcome":"success",)"
            R"("part_kind":"tool-return"})");
  EXPECT_EQ(RetryPromptPart("t", "id", "no", kNow),
            R"({"content":"no","tool_name":"t","tool_call_id":"id",)"
            R"("timestamp":"2026-01-02T03:04:05.678901Z","part_kind":"retry-prompt"})");
  EXPECT_THAT(RetryPromptPart({}, "id", "no", kNow), HasSubstr("\"tool_name\":null"));
}

TEST(Parts, AreValidWhateverTheTexts) {
  string any;
  for (int c = 0; c < 256; ++c) any += static_cast<char>(c);
  EXPECT_TRUE(IsValid(SystemPromptPart(any, kNow)));
  EXPECT_TRUE(IsValid(UserPromptPart(any, kNow)));
  EXPECT_TRUE(IsValid(ToolReturnPart(any, any, "null", kNow)));
  EXPECT_TRUE(IsValid(RetryPromptPart(any, any, any, kNow)));
  EXPECT_THAT(UserPromptPart("a\xff", kNow), HasSubstr("a\xEF\xBF\xBD"));
}

TEST(Timestamp, IsUtcInIso8601) {
  using std::chrono::microseconds;
  using Time = std::chrono::system_clock::time_point;
  auto at = [](int64_t micros) { return Timestamp(Time(microseconds(micros))); };
  EXPECT_EQ(at(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(at(1767323045678901), "2026-01-02T03:04:05.678901Z");
  EXPECT_EQ(at(1767323045000001), "2026-01-02T03:04:05.000001Z");
  EXPECT_EQ(at(-1), "1969-12-31T23:59:59.999999Z");
}

// ---- Title and nodes.

TEST(Title, IsTheFirstUserPromptOfTheFirstMessage) {
  auto title = [](const string& json) { return Parsed(json).TitleContent().String(); };
  EXPECT_EQ(title(ReadData("conversation.json")),
            "Où fait-il plus chaud, à Kōchi 高知 ou à Nice ? 🌞");
  EXPECT_EQ(title(R"([{"parts":[{"part_kind":"system-prompt","content":"s"},)"
                  R"({"part_kind":"user-prompt","content":"a\u00e9"},)"
                  R"({"part_kind":"user-prompt","content":"b"}]}])"),
            "aé");
  EXPECT_FALSE(Parsed("[]").TitleContent());
  EXPECT_FALSE(
      Parsed(R"([{},{"parts":[{"part_kind":"user-prompt","content":"b"}]}])").TitleContent());
  EXPECT_FALSE(Parsed(R"([{"parts":[{"part_kind":"user-prompt","content":["a"]},)"
                      R"({"part_kind":"user-prompt","content":"b"}]}])")
                   .TitleContent())
      << "the first counts, whatever it is";
}

TEST(Nodes, AreAResponseWithTheRequestsPartsBeforeItsOwn) {
  EXPECT_EQ(
      Parsed(
          R"([{"kind":"request","parts":[{"part_kind":"system-prompt","content":"s"},)"
          R"({"part_kind":"user-prompt","content":"u"}],"instructions":"i"},)"
          R"({"usage":{"n":1e999},"parts":[{"part_kind":"thinking","signature":"sig","content":"t"},)"
          R"({"part_kind":"new","x":[1, 2]},{}],"kind" : "response" , "z":0}])")
          .Nodes(),
      R"([{"usage":{"n":1e999},"parts":[{"part_kind":"user-prompt","content":"u","signature":null},)"
      R"({"part_kind":"thinking","signature":null,"content":"t"},)"
      R"({"part_kind":"new","x":[1, 2],"signature":null},{"signature":null}],"kind" : null , "z":0}])");
}

TEST(Nodes, ComeInPairs) {
  const string request = R"({"kind":"request","parts":[]})";
  const string response = R"({"kind":"response","parts":[]})";
  const string node = R"({"kind":null,"parts":[]})";
  auto nodes = [](const string& messages) { return Parsed("[" + messages + "]").Nodes(); };
  EXPECT_EQ(nodes(""), "[]");
  EXPECT_EQ(nodes(request), "[]");
  EXPECT_EQ(nodes(request + "," + response), "[" + node + "]");
  EXPECT_EQ(nodes(request + "," + response + "," + request), "[]") << "an odd count";
  EXPECT_EQ(nodes(response + "," + request), "[]") << "other kinds";
  EXPECT_EQ(nodes(request + "," + request + "," + request + "," + response), "[" + node + "]");
  EXPECT_EQ(nodes(request + "," + response + "," + request + "," + response),
            "[" + node + "," + node + "]");
}

TEST(Nodes, AddWhatIsMissingAndReplaceTheLastOfSeveral) {
  EXPECT_EQ(Parsed(R"([{"kind":"request"},{"kind":"response"}])").Nodes(),
            R"([{"kind":null,"parts":[]}])");
  EXPECT_EQ(
      Parsed(R"([{"kind":"request","parts":[1]},{"kind":7,"kind":"response","parts":{}}])").Nodes(),
      R"([{"kind":7,"kind":null,"parts":[1]}])");
}

TEST(Nodes, OfARealConversationAreValid) {
  string nodes = Parsed(ReadData("conversation.json")).Nodes();
  ASSERT_TRUE(IsValid(nodes));
  size_t count = 0;
  for (JsonElements node{JsonValue(nodes)}; node.Next(); ++count) {
    EXPECT_EQ(node.value()["kind"].text(), "null");
    EXPECT_EQ(node.value()["model_name"].String(), "claude-sonnet-4-5");
  }
  EXPECT_EQ(count, 3u);
  EXPECT_THAT(nodes, ::testing::Not(HasSubstr("system-prompt")));
  EXPECT_THAT(nodes, HasSubstr("verdict-of-a-later-release"));
}

}  // namespace
}  // namespace agx::test
