// ctest-timeout: 120
// What the streams of models' APIs become. The streams of tests/data/model have the shapes that the
// APIs' documentation gives.
#include "model/feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/json_value.h"

namespace agx {
namespace {

using std::string;
using std::string_view;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Texts = std::vector<string>;

class Recorder final : public PartSink {
 public:
  void PartBegan(int part, agx_part_kind kind, string_view content) override {
    Note(part, kind == AGX_PART_TEXT ? "text [" : "thinking [", content);
  }
  void PartGrew(int part, agx_part_kind kind, string_view delta) override {
    EXPECT_NE(kind, AGX_PART_TOOL_CALL);
    Note(part, "+ [", delta);
  }
  void ToolCallEnded(int part, string_view name, string_view id, string_view args) override {
    EXPECT_TRUE(ValidateJson(args, AGX_DEPTH_MAX, nullptr)) << args;
    Note(part, "call " + string(name) + " " + string(id) + " [", args);
  }
  void Answered() override { texts.emplace_back("answer"); }

  Texts texts;

 private:
  void Note(int part, const string& what, string_view content) {
    EXPECT_TRUE(ValidateUtf8(content)) << content;
    texts.push_back(std::to_string(part) + " " + what + string(content) + "]");
  }
};

struct Outcome {
  Texts parts;
  agx_status status = AGX_OK;
  string message;
  string json;  // of the response, without what its time is

  JsonValue operator[](string_view name) const { return JsonValue(json)[name]; }
  friend bool operator==(const Outcome&, const Outcome&) = default;
  friend void PrintTo(const Outcome& outcome, std::ostream* out) {
    *out << outcome.status << " " << outcome.message << "\n" << outcome.json;
  }
};

// Each piece is in a buffer that ends where it ends and is then gone.
Outcome FeedCut(agx_model_api api, const std::vector<string_view>& pieces) {
  Recorder recorder;
  Response response(&recorder);
  Feed feed(api, &response);
  Status taken;
  for (string_view piece : pieces) {
    std::unique_ptr<char[]> bytes(new char[piece.size()]);
    std::memcpy(bytes.get(), piece.data(), piece.size());
    Status status = feed.Take({bytes.get(), piece.size()});
    if (!taken.ok()) {
      EXPECT_EQ(status.code(), taken.code());
      EXPECT_EQ(status.message(), taken.message());
    }
    taken = status;
  }
  Status end = feed.Finish();
  if (!taken.ok()) {
    EXPECT_EQ(end.message(), taken.message());
  }
  EXPECT_EQ(feed.Finish().message(), end.message());
  for (int i = 0; i < response.part_count(); ++i) EXPECT_FALSE(response.IsOpen(i));
  Outcome outcome{recorder.texts, end.code(), end.message(), response.Json()};
  EXPECT_TRUE(ValidateJson(outcome.json, AGX_DEPTH_MAX, nullptr)) << outcome.json;
  size_t time = outcome.json.find("\"timestamp\":");
  outcome.json.erase(time, outcome.json.find(',', time) - time);
  // A call to which the model gave no id got a random one.
  EXPECT_EQ(end.ok(), end.message().empty());
  return outcome;
}

Outcome Whole(agx_model_api api, string_view bytes) { return FeedCut(api, {bytes}); }

string Sse(const Texts& events) {
  string bytes;
  for (const string& event : events) bytes += "data: " + event + "\n\n";
  return bytes;
}

string Load(const string& name) {
  std::ifstream file(string(std::getenv("AGX_SOURCE_DIR")) + "/tests/data/model/" + name,
                     std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Recorded {
  const char* file;
  agx_model_api api;
  Texts parts;
  const char* finish_reason;
  const char* model;
  const char* id;
  Texts usage;  // input, output, cache read, cache write, reasoning
};

void PrintTo(const Recorded& recorded, std::ostream* out) { *out << recorded.file; }

const Recorded kRecorded[] = {
    {"chat_text.sse",
     AGX_OPENAI_CHAT,
     {"0 text [Grüß]", "answer", "0 + [ dich, \"Welt\"\n]", "0 + [😀 \u2028done.]"},
     "stop",
     "gpt-4o-2024-08-06",
     "chatcmpl-A1",
     {"21", "9", "5", "0", "3"}},
    {"chat_tools.sse",
     AGX_OPENAI_CHAT,
     {"0 text [Looking.]", "answer", "1 call get_weather call_a [{\"city\":\"Zürich\"}]",
      "2 call get_time call_b [{\"zone\":\"CET\"}]", "3 call ping call_c [{}]"},
     "tool_call",
     "gpt-4o-2024-08-06",
     "chatcmpl-A1",
     {"21", "9", "5", "0", "3"}},
    {"chat_reasoning.sse",
     AGX_OPENAI_CHAT,
     {"0 thinking [Let me]", "0 + [ see.]", "1 text [4]", "answer", "1 + [2]"},
     "length",
     "deepseek-reasoner",
     "chatcmpl-A1",
     {"7", "8", "0", "0", ""}},
    {"responses.sse",
     AGX_OPENAI_RESPONSES,
     {"0 thinking []", "0 + [**Plan**]", "0 + [ first]", "1 thinking []", "1 + [then act]",
      "2 text [Checking,]", "answer", "2 + [ naïve.]",
      "3 call get_weather call_1 [{\"city\":\"Zürich\"}]", "4 call now call_2 [{}]"},
     "stop",
     "gpt-5-2025-08-07",
     "resp_1",
     {"70", "40", "64", "0", "32"}},
    {"responses_whole.sse",
     AGX_OPENAI_RESPONSES,
     {"0 thinking [**Plan** first]", "1 thinking [then act]", "2 text [Checking, naïve.]", "answer",
      "3 call get_weather call_1 [{\"city\":\"Zürich\"}]"},
     "length",
     "gpt-5-2025-08-07",
     "resp_1",
     {"70", "40", "64", "0", "32"}},
    {"anthropic.sse",
     AGX_ANTHROPIC,
     {"0 thinking []", "0 + [Hm, ὅτι]", "0 + [ so.]", "1 thinking []", "2 text [I’ll]", "answer",
      "2 + [ look.]", "3 call get_weather toolu_1 [{\"a\":1}]", "4 call now toolu_2 [{}]"},
     "tool_call",
     "claude-sonnet-4-5",
     "msg_01",
     {"1110", "89", "1000", "100", ""}},
};

class RecordedStream : public ::testing::TestWithParam<Recorded> {};

TEST_P(RecordedStream, BecomesItsParts) {
  const Recorded& want = GetParam();
  Outcome got = Whole(want.api, Load(want.file));
  EXPECT_EQ(got.status, AGX_OK) << got.message;
  EXPECT_THAT(got.parts, ElementsAreArray(want.parts));
  EXPECT_EQ(got["finish_reason"].String(), want.finish_reason);
  EXPECT_EQ(got["model_name"].String(), want.model);
  EXPECT_EQ(got["provider_response_id"].String(), want.id);
  EXPECT_EQ(got["provider_name"].String(), want.api == AGX_ANTHROPIC ? "anthropic" : "openai");
  JsonValue usage = got["usage"];
  EXPECT_THAT(
      (Texts{string(usage["input_tokens"].text()), string(usage["output_tokens"].text()),
             string(usage["cache_read_tokens"].text()), string(usage["cache_write_tokens"].text()),
             string(usage["details"]["reasoning_tokens"].text())}),
      ElementsAreArray(want.usage));
}

TEST_P(RecordedStream, IsTheSameHoweverItIsCut) {
  string bytes = Load(GetParam().file);
  string_view view = bytes;
  Outcome whole = Whole(GetParam().api, bytes);
  std::vector<string_view> single;
  for (size_t i = 0; i < bytes.size(); ++i) {
    single.push_back(view.substr(i, 1));
    ASSERT_EQ(FeedCut(GetParam().api, {view.substr(0, i), view.substr(i)}), whole) << i;
  }
  EXPECT_EQ(FeedCut(GetParam().api, single), whole);
}

TEST_P(RecordedStream, IsIncompleteWithoutItsEnd) {
  string bytes = Load(GetParam().file);
  bool chat = GetParam().api == AGX_OPENAI_CHAT;
  // Where the last event that makes it complete has come, without the line's end.
  size_t complete = chat ? bytes.find("}],\"usage\"", bytes.find("\"finish_reason\":\"")) : 0;
  complete = chat ? bytes.find('\n', complete) : bytes.find_last_not_of('\n') + 1;
  if (bytes[complete - 1] == '\r') --complete;
  Outcome whole = Whole(GetParam().api, bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    Outcome part = Whole(GetParam().api, string_view(bytes).substr(0, size));
    ASSERT_EQ(part.status, size < complete ? AGX_EMODEL : AGX_OK) << size << part.message;
    ASSERT_LE(part.parts.size(), whole.parts.size());
    size_t same = std::min(part.parts.size(), GetParam().parts.size());
    // Of calls less may have come, and they end in the end.
    for (size_t i = 0; i < same && part.parts[i].find("call") == string::npos; ++i) {
      ASSERT_EQ(part.parts[i], whole.parts[i]) << size;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Feed, RecordedStream, ::testing::ValuesIn(kRecorded),
                         [](const auto& tested) {
                           string name = tested.param.file;
                           name.resize(name.find('.'));
                           return name;
                         });

TEST(Feed, PartsKeepWhatTheApiAsksForAgain) {
  Outcome responses = Whole(AGX_OPENAI_RESPONSES, Load("responses.sse"));
  EXPECT_THAT(responses.json, HasSubstr(R"("content":"**Plan** first","id":"rs_1",)"
                                        R"("signature":"gAAAsig==")"));
  EXPECT_THAT(responses.json, HasSubstr(R"("content":"then act","id":"rs_1","signature":null)"));
  EXPECT_THAT(responses.json, HasSubstr(R"("content":"Checking, naïve.","id":"msg_1")"));
  EXPECT_THAT(responses.json, HasSubstr(R"("tool_call_id":"call_1","id":"fc_1")"));
  Outcome anthropic = Whole(AGX_ANTHROPIC, Load("anthropic.sse"));
  EXPECT_THAT(anthropic.json, HasSubstr(R"("content":"Hm, ὅτι so.","id":null,)"
                                        R"("signature":"EqQB/+=")"));
  EXPECT_THAT(anthropic.json, HasSubstr(R"("content":"","id":"redacted_thinking",)"
                                        R"("signature":"EmwKAhgB")"));
  Outcome chat = Whole(AGX_OPENAI_CHAT, Load("chat_reasoning.sse"));
  EXPECT_THAT(chat.json, HasSubstr(R"("content":"Let me see.","id":"reasoning_content")"));
}

// --- OpenAI Chat Completions

string Delta(const string& delta) { return R"({"choices":[{"index":0,"delta":)" + delta + "}]}"; }
string CallDelta(const string& call) { return Delta(R"({"tool_calls":[)" + call + "]}"); }
const char kStop[] = R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})";

Outcome Chat(Texts events) {
  events.emplace_back(kStop);
  Outcome outcome = Whole(AGX_OPENAI_CHAT, Sse(events));
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  return outcome;
}

TEST(ChatFeed, DoneOrAFinishReasonCompletesIt) {
  string text = Delta(R"({"content":"x"})");
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text})).status, AGX_EMODEL);
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text, kStop})).status, AGX_OK);
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text, "[DONE]"})).status, AGX_OK);
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text}) + "data:[DONE]").status, AGX_OK);
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text}) + "data: " + kStop).status, AGX_OK);
  EXPECT_EQ(Whole(AGX_OPENAI_CHAT, Sse({text, "[DONE]"}) + "<html>rest").status, AGX_OK);
}

TEST(ChatFeed, FinishReasonsArePydanticAis) {
  auto reason = [](const string& raw) {
    return string(Whole(AGX_OPENAI_CHAT, Sse({R"({"choices":[{"delta":{},"finish_reason":")" + raw +
                                              "\"}]}"}))["finish_reason"]
                      .text());
  };
  EXPECT_EQ(reason("stop"), "\"stop\"");
  EXPECT_EQ(reason("length"), "\"length\"");
  EXPECT_EQ(reason("content_filter"), "\"content_filter\"");
  EXPECT_EQ(reason("tool_calls"), "\"tool_call\"");
  EXPECT_EQ(reason("function_call"), "\"tool_call\"");
  EXPECT_EQ(reason("error"), "\"error\"");
  EXPECT_EQ(reason("whatever"), "null");
}

TEST(ChatFeed, EmptyContentIsNone) {
  EXPECT_THAT(Chat({Delta(R"({"content":""})"), Delta(R"({"content":"a"})"),
                    Delta(R"({"content":""})"), Delta(R"({"content":" "})")})
                  .parts,
              ElementsAre("0 text [a]", "answer", "0 + [ ]"));
}

TEST(ChatFeed, ThinkingComesFirstWhateverTheOrder) {
  EXPECT_THAT(
      Chat(
          {Delta(R"({"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}],)"
                 R"("content":"a","reasoning":"b","reasoning_content":"c"})")})
          .parts,
      ElementsAre("0 thinking [b]", "1 text [a]", "answer", "2 call f c [{}]"));
}

TEST(ChatFeed, ThinkingBetweenTags) {
  auto content = [](const string& text) { return Delta(R"({"content":")" + text + "\"}"); };
  Outcome outcome = Chat({content("<think>"), content("hm"), content("m"), content("</think>"),
                          content("so"), content("<think> "), content("</think>")});
  EXPECT_THAT(outcome.parts, ElementsAre("0 thinking []", "0 + [hm]", "0 + [m]", "1 text [so]",
                                         "answer", "1 + [<think> ]", "1 + [</think>]"));
  EXPECT_THAT(outcome.json, HasSubstr(R"("content":"hmm","id":"content")"));
}

// As pydantic-ai has it: the text before the call grows on.
TEST(ChatFeed, TextGoesOnBehindAToolCall) {
  EXPECT_THAT(Chat({R"({"choices":[{"delta":{"content":"a"}}]})",
                    R"({"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":)"
                    R"({"name":"f","arguments":"{}"}}]}}]})",
                    R"({"choices":[{"delta":{"content":"b"}}]})", "[DONE]"})
                  .parts,
              ElementsAre("0 text [a]", "answer", "0 + [b]", "1 call f c [{}]"));
}

TEST(ChatFeed, ARefusalIsText) {
  Outcome outcome = Chat({Delta(R"({"refusal":"I can"})"), Delta(R"({"refusal":"not."})")});
  EXPECT_THAT(outcome.parts, ElementsAre("0 text [I can]", "answer", "0 + [not.]"));
  EXPECT_TRUE(outcome["finish_reason"].Is("content_filter"));
}

TEST(ChatFeed, OneAnswerOfSeveral) {
  EXPECT_THAT(
      Chat({R"({"choices":[{"index":1,"delta":{"content":"b"}}]})", Delta(R"({"content":"a"})")})
          .parts,
      ElementsAre("0 text [a]", "answer"));
}

// Pieces of calls, and what becomes of them.
TEST(ChatFeed, ToolCallsInAllTheirWays) {
  struct Case {
    const char* what;
    Texts pieces;
    Texts calls;
  };
  const Case kCases[] = {
      {"arguments begin empty",
       {R"({"index":0,"id":"c","function":{"name":"f","arguments":""}})",
        R"({"index":0,"function":{"arguments":"{\"a\""}})",
        R"({"index":0,"function":{"arguments":":1}"}})"},
       {R"(0 call f c [{"a":1}])"}},
      {"arguments are missing, or null",
       {R"({"index":0,"id":"c","function":{"name":"f"}})",
        R"({"index":0,"function":{"arguments":null}})",
        R"({"index":0,"function":{"arguments":"{\"a\":1}"}})"},
       {R"(0 call f c [{"a":1}])"}},
      {"none at all", {R"({"index":0,"id":"c","function":{"name":"f"}})"}, {"0 call f c [{}]"}},
      {"as an object",
       {R"({"index":0,"id":"c","function":{"name":"f","arguments":{"a": [1]}}})"},
       {R"(0 call f c [{"a": [1]}])"}},
      {"not JSON",
       {R"({"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\""}})"},
       {R"(0 call f c ["{\"a\""])"}},
      {"id and name in every piece",
       {R"({"index":0,"id":"c","function":{"name":"f","arguments":"{"}})",
        R"({"index":0,"id":"c","function":{"name":"f","arguments":"}"}})"},
       {"0 call f c [{}]"}},
      {"a name in pieces",
       {R"({"index":0,"id":"c","function":{"name":"get_"}})",
        R"({"index":0,"function":{"name":"time","arguments":"{}"}})"},
       {"0 call get_time c [{}]"}},
      {"the id comes late",
       {R"({"index":0,"function":{"name":"f"}})",
        R"({"index":0,"id":"c","function":{"arguments":"{}"}})"},
       {"0 call f c [{}]"}},
      {"the name comes late",
       {R"({"index":0,"id":"c","function":{"arguments":"{\"a\""}})",
        R"({"index":0,"function":{"name":"f","arguments":":1}"}})"},
       {R"(0 call f c [{"a":1}])"}},
      {"no name ever", {R"({"index":0,"id":"c","function":{"arguments":"{}"}})"}, {}},
      {"interleaved, with indexes that jump",
       {R"({"index":7,"id":"a","function":{"name":"f","arguments":"{\"x\":"}})",
        R"({"index":2,"id":"b","function":{"name":"g","arguments":"{\"y\":"}})",
        R"({"index":7,"function":{"arguments":"1}"}})",
        R"({"index":2,"function":{"arguments":"2}"}})"},
       {R"(0 call f a [{"x":1}])", R"(1 call g b [{"y":2}])"}},
      {"no indexes",
       {R"({"id":"a","function":{"name":"f","arguments":"{\"x\":"}})",
        R"({"function":{"arguments":"1}"}})",
        R"({"id":"b","function":{"name":"g","arguments":"{\"y\":"}})",
        R"({"function":{"arguments":"2}"}})"},
       {R"(0 call f a [{"x":1}])", R"(1 call g b [{"y":2}])"}},
      {"no indexes, but ids in every piece",
       {R"({"id":"a","function":{"name":"f","arguments":"{\"x\":"}})",
        R"({"id":"b","function":{"name":"g","arguments":"{\"y\":"}})",
        R"({"id":"a","function":{"name":"f","arguments":"1}"}})",
        R"({"id":"b","function":{"name":"g","arguments":"2}"}})"},
       {R"(0 call f a [{"x":1}])", R"(1 call g b [{"y":2}])"}},
      {"all of them number 0",
       {R"({"index":0,"id":"a","function":{"name":"f","arguments":"{}"}})",
        R"({"index":0,"id":"b","function":{"name":"g","arguments":"{\"y\":"}})",
        R"({"index":0,"function":{"arguments":"2}"}})"},
       {"0 call f a [{}]", R"(1 call g b [{"y":2}])"}},
      {"more after it was complete",
       {R"({"index":0,"id":"a","function":{"name":"f","arguments":"{}"}})",
        R"({"index":1,"id":"b","function":{"name":"g","arguments":"{}"}})",
        R"({"index":0,"id":"z","function":{"name":"x","arguments":" "}})",
        R"({"index":0,"id":"a","function":{"arguments":"{\"late\":1}"}})"},
       {"0 call f a [{}]", "1 call g b [{}]"}},
      {"a piece of a call that never began", {R"({"function":{"arguments":"{}"}})"}, {}},
      {"unexpected types",
       {"null", "3", "[]", R"({"index":"0","id":7,"function":{"name":["f"],"arguments":1}})",
        R"({"index":null,"id":null,"function":null})", R"({"index":1.5,"function":"f"})"},
       {}},
  };
  for (const Case& c : kCases) {
    Texts events;
    for (const string& piece : c.pieces) events.push_back(CallDelta(piece));
    Texts parts = Chat(events).parts;
    // In the order of their numbers: a call may end before one that began earlier.
    std::sort(parts.begin(), parts.end());
    if (c.what == string("more after it was complete")) {
      // Which of the two the piece with another id and name is a new call for does not matter.
      EXPECT_THAT(parts, ::testing::IsSupersetOf(c.calls)) << c.what;
    } else {
      EXPECT_THAT(parts, ElementsAreArray(c.calls)) << c.what;
    }
  }
}

TEST(ChatFeed, ErrorsInMidStream) {
  for (const char* event :
       {R"({"error":{"message":"Overloaded","type":"server_error","code":null}})",
        R"({"error":"Overloaded"})", R"({"object":"error","message":"Overloaded","code":400})",
        R"({"error":{"code":502,"message":"Overloaded"},"choices":[{"delta":{},)"
        R"("finish_reason":"error"}]})"}) {
    Outcome outcome =
        Whole(AGX_OPENAI_CHAT, Sse({Delta(R"({"content":"a"})"), event, kStop, "[DONE]"}));
    EXPECT_EQ(outcome.status, AGX_EMODEL);
    EXPECT_THAT(outcome.message, HasSubstr("Overloaded"));
    EXPECT_THAT(outcome.parts, ElementsAre("0 text [a]", "answer"));
    EXPECT_TRUE(outcome["finish_reason"].Is("error"));
  }
  EXPECT_THAT(Whole(AGX_OPENAI_CHAT, "event: error\ndata: {\"reason\":\"x\"}\n\n").message,
              HasSubstr(R"({"reason":"x"})"));
  EXPECT_EQ(Chat({R"({"error":null,"choices":null})"}).status, AGX_OK);
}

TEST(ChatFeed, UsageIsTheLast) {
  Outcome outcome = Chat({R"({"usage":{"prompt_tokens":3,"completion_tokens":1}})",
                          R"({"usage":{"prompt_tokens":3,"completion_tokens":2}})",
                          R"({"usage":null})", R"({"usage":7})"});
  EXPECT_EQ(outcome["usage"]["input_tokens"].text(), "3");
  EXPECT_EQ(outcome["usage"]["output_tokens"].text(), "2");
  outcome = Chat({R"({"usage":{"prompt_tokens":-3,"completion_tokens":1e3,)"
                  R"("prompt_tokens_details":null,"completion_tokens_details":[1]}})"});
  EXPECT_EQ(outcome["usage"]["input_tokens"].text(), "0");
}

// --- OpenAI Responses

const char kCompleted[] = R"({"type":"response.completed","response":{"status":"completed"}})";

Outcome Responses(Texts events) {
  events.emplace_back(kCompleted);
  Outcome outcome = Whole(AGX_OPENAI_RESPONSES, Sse(events));
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  return outcome;
}

TEST(ResponsesFeed, TheEventsNameIsItsTypeIfItHasNone) {
  Outcome outcome = Whole(AGX_OPENAI_RESPONSES,
                          "event: response.output_text.delta\ndata: {\"item_id\":\"m\","
                          "\"delta\":\"a\"}\n\nevent: response.completed\ndata: {}\n\n");
  EXPECT_EQ(outcome.status, AGX_OK);
  EXPECT_THAT(outcome.parts, ElementsAre("0 text [a]", "answer"));
}

TEST(ResponsesFeed, EmptyDeltasCountAsPydanticAisDo) {
  EXPECT_THAT(Responses({R"({"type":"response.output_text.delta","item_id":"m","delta":""})",
                         R"({"type":"response.output_text.delta","item_id":"m","delta":"a"})",
                         R"({"type":"response.output_text.delta","item_id":"m","delta":null})"})
                  .parts,
              ElementsAre("0 text []", "answer", "0 + [a]"));
}

TEST(ResponsesFeed, WhatComesAgainIsNotDoubled) {
  EXPECT_THAT(Responses({R"({"type":"response.refusal.delta","item_id":"m","delta":"No"})",
                         R"({"type":"response.refusal.done","item_id":"m","refusal":"No"})",
                         R"({"type":"response.output_item.done","item":{"type":"message","id":"m",)"
                         R"("content":[{"type":"refusal","refusal":"No"}]}})"})
                  .parts,
              ElementsAre("0 text [No]", "answer"));
  EXPECT_THAT(
      Responses(
          {R"({"type":"response.refusal.done","item_id":"m","refusal":"No"})"})["finish_reason"]
          .text(),
      "\"content_filter\"");
  EXPECT_THAT(
      Responses({R"({"type":"response.output_item.added","output_index":0,"item":)"
                 R"({"type":"function_call","id":"i","call_id":"c","name":"f","arguments":""}})",
                 R"({"type":"response.function_call_arguments.done","item_id":"i",)"
                 R"("arguments":"{\"a\":1}"})",
                 R"({"type":"response.output_item.done","item":{"type":"function_call","id":"i",)"
                 R"("call_id":"c","name":"f","arguments":"{\"a\":1}"}})",
                 R"({"type":"response.function_call_arguments.delta","item_id":"i","delta":"x"})"})
          .parts,
      ElementsAre(R"(0 call f c [{"a":1}])"));
}

TEST(ResponsesFeed, RawThoughtsAreThinking) {
  Outcome outcome = Responses(
      {R"({"type":"response.reasoning_text.delta","item_id":"r","content_index":0,"delta":"a"})",
       R"({"type":"response.reasoning_text.delta","item_id":"r","content_index":0,"delta":"b"})",
       R"({"type":"response.reasoning_text.done","item_id":"r","content_index":0,"text":"ab"})",
       R"({"type":"response.output_item.done","item":{"type":"reasoning","id":"r",)"
       R"("content":[{"type":"reasoning_text","text":"ab"}],"encrypted_content":"s"}})"});
  EXPECT_THAT(outcome.parts, ElementsAre("0 thinking [a]", "0 + [b]"));
  EXPECT_THAT(outcome.json, HasSubstr(R"("content":"ab","id":"r","signature":"s")"));
}

TEST(ResponsesFeed, ASignatureWithoutThoughtsIsThinking) {
  Outcome outcome = Responses({R"({"type":"response.output_item.done","item":{"type":"reasoning",)"
                               R"("id":"r","summary":[],"encrypted_content":"s"}})"});
  EXPECT_THAT(outcome.parts, ElementsAre("0 thinking []"));
  EXPECT_THAT(outcome.json, HasSubstr(R"("id":"r","signature":"s")"));
}

TEST(ResponsesFeed, IdsThatChangeOrAreMissing) {
  for (const char* id : {R"("item_id":"other",)", ""}) {
    EXPECT_THAT(Responses({R"({"type":"response.output_item.added","output_index":0,"item":)"
                           R"({"type":"function_call","id":"i","call_id":"c","name":"f"}})",
                           R"({"type":"response.output_item.added","output_index":1,"item":)"
                           R"({"type":"function_call","id":"j","call_id":"d","name":"g"}})",
                           R"({"type":"response.function_call_arguments.delta",)" + string(id) +
                               R"("output_index":0,"delta":"{\"a\""})",
                           R"({"type":"response.function_call_arguments.delta",)" + string(id) +
                               R"("output_index":1,"delta":"{}"})",
                           R"({"type":"response.function_call_arguments.delta",)" + string(id) +
                               R"("output_index":0,"delta":":1}"})"})
                    .parts,
                ElementsAre(R"(0 call f c [{"a":1}])", "1 call g d [{}]"));
  }
}

TEST(ResponsesFeed, DeltasOfItemsThatNeverStarted) {
  EXPECT_THAT(
      Responses({R"({"type":"response.function_call_arguments.delta","item_id":"x","delta":"{}"})",
                 R"({"type":"response.output_item.added","item":{"type":"function_call",)"
                 R"("id":"i","call_id":"c","name":"f"}})",
                 R"({"type":"response.function_call_arguments.delta","item_id":"x","delta":"{}"})",
                 R"({"type":"response.output_text.delta","item_id":"y","delta":"a"})",
                 R"({"type":"response.output_text.delta","item_id":"z","delta":"b"})",
                 R"({"type":"response.output_text.delta","item_id":"y","delta":"late"})"})
          .parts,
      ElementsAre("1 text [a]", "answer", "2 text [b]", "1 + [late]", "0 call f c [{}]"));
}

TEST(ResponsesFeed, NothingButTheWhole) {
  EXPECT_THAT(Whole(AGX_OPENAI_RESPONSES,
                    Sse({R"({"type":"response.completed","response":{"status":"completed",)"
                         R"("output":[{"type":"message","content":[{"text":"a"},{"text":"b"}]},)"
                         R"({"type":"function_call","call_id":"c","name":"f","arguments":"{}"},)"
                         R"(null,{"type":"function_call","name":null}]}})"}))
                  .parts,
              ElementsAre("0 text [a]", "answer", "0 + [b]", "1 call f c [{}]"));
}

TEST(ResponsesFeed, FinishReasonsArePydanticAis) {
  auto reason = [](const string& response) {
    return string(Whole(AGX_OPENAI_RESPONSES, Sse({R"({"type":"response.incomplete","response":)" +
                                                   response + "}"}))["finish_reason"]
                      .text());
  };
  EXPECT_EQ(reason(R"({"incomplete_details":{"reason":"max_output_tokens"}})"), "\"length\"");
  EXPECT_EQ(reason(R"({"incomplete_details":{"reason":"content_filter"}})"), "\"content_filter\"");
  EXPECT_EQ(reason(R"({"status":"completed"})"), "\"stop\"");
  EXPECT_EQ(reason(R"({"status":"cancelled"})"), "\"error\"");
  EXPECT_EQ(reason("null"), "null");
}

TEST(ResponsesFeed, Errors) {
  for (const char* event :
       {R"({"type":"response.failed","response":{"error":{"code":"server_error","message":"Oh"}}})",
        R"({"type":"error","code":"server_error","message":"Oh","param":null})",
        R"({"type":"error","error":{"type":"server_error","message":"Oh"}})",
        R"({"error":{"type":"server_error","message":"Oh"}})"}) {
    Outcome outcome = Whole(AGX_OPENAI_RESPONSES, Sse({event, kCompleted}));
    EXPECT_EQ(outcome.status, AGX_EMODEL);
    EXPECT_THAT(outcome.message, HasSubstr("Oh (server_error)"));
  }
  EXPECT_EQ(Whole(AGX_OPENAI_RESPONSES, Sse({R"({"type":"response.failed"})"})).status, AGX_EMODEL);
}

// --- Anthropic Messages

Outcome Anthropic(Texts events) {
  events.emplace_back(R"({"type":"message_stop"})");
  Outcome outcome = Whole(AGX_ANTHROPIC, Sse(events));
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  return outcome;
}

string BlockStart(const string& index, const string& block) {
  return R"({"type":"content_block_start","index":)" + index + R"(,"content_block":)" + block + "}";
}
string BlockDelta(const string& index, const string& delta) {
  return R"({"type":"content_block_delta","index":)" + index + R"(,"delta":)" + delta + "}";
}
string BlockStop(const string& index) {
  return R"({"type":"content_block_stop","index":)" + index + "}";
}
string Input(const string& index, const string& json) {
  return BlockDelta(index, R"({"type":"input_json_delta","partial_json":")" + json + "\"}");
}
string Text(const string& index, const string& text) {
  return BlockDelta(index, R"({"type":"text_delta","text":")" + text + "\"}");
}

TEST(AnthropicFeed, TextBeginsWithItsFirstContentOrDelta) {
  EXPECT_THAT(
      Anthropic({BlockStart("0", R"({"type":"text","text":"a"})"), Text("0", "b"), BlockStop("0"),
                 BlockStart("1", R"({"type":"text","text":""})"), Text("1", ""), Text("1", "c"),
                 BlockStop("1"), BlockStart("2", R"({"type":"text","text":""})"), BlockStop("2")})
          .parts,
      ElementsAre("0 text [a]", "answer", "0 + [b]", "1 text []", "1 + [c]"));
}

TEST(AnthropicFeed, ArgumentsComeWithTheBlockOrAfterIt) {
  string tool = R"({"type":"tool_use","id":"t","name":"f","input":)";
  EXPECT_THAT(Anthropic({BlockStart("0", tool + "{}}"), Input("0", ""), Input("0", "{\\\"a\\\""),
                         Input("0", ":1}"), BlockStop("0")})
                  .parts,
              ElementsAre(R"(0 call f t [{"a":1}])"));
  EXPECT_THAT(Anthropic({BlockStart("0", tool + R"({"a":1}})"), BlockStop("0")}).parts,
              ElementsAre(R"(0 call f t [{"a":1}])"));
  EXPECT_THAT(Anthropic({BlockStart("0", tool + R"({"a":1}})")}).parts,
              ElementsAre(R"(0 call f t [{"a":1}])"));
  EXPECT_THAT(Anthropic({BlockStart("0", tool + R"({"a":1}})"), Input("0", "{}")}).parts,
              ElementsAre("0 call f t [{}]"));
  EXPECT_THAT(Anthropic({BlockStart("0", tool + "null}"), BlockStop("0")}).parts,
              ElementsAre("0 call f t [{}]"));
}

TEST(AnthropicFeed, BlocksInterleave) {
  string tool = R"({"type":"tool_use","input":{},"id":")";
  EXPECT_THAT(Anthropic({BlockStart("3", tool + R"(a","name":"f"})"), Input("3", "{\\\"x\\\":"),
                         BlockStart("9", tool + R"(b","name":"g"})"), Input("9", "{\\\"y\\\":"),
                         Input("3", "1}"), Input("9", "2}"), BlockStop("9"), BlockStop("3")})
                  .parts,
              ElementsAre(R"(1 call g b [{"y":2}])", R"(0 call f a [{"x":1}])"));
}

TEST(AnthropicFeed, EventsOutOfOrder) {
  string tool = R"({"type":"tool_use","id":"t","name":"f","input":{}})";
  EXPECT_THAT(Anthropic({Input("0", "{}"), Text("1", "a"), BlockStop("7"), BlockStart("2", tool),
                         Text("2", "no"), Input("1", "no"), Input("2", "{}"), BlockStop("2"),
                         Input("2", "no"), Text("2", "no"), Text("1", "late"),
                         BlockDelta("2", R"({"type":"signature_delta","signature":"no"})")})
                  .parts,
              ElementsAre("0 text [a]", "answer", "1 call f t [{}]", "0 + [late]"));
}

TEST(AnthropicFeed, ToolsOfTheServerArePassedOver) {
  EXPECT_THAT(
      Anthropic({BlockStart("0", R"({"type":"server_tool_use","id":"s","name":"web_search"})"),
                 Input("0", "{\\\"query\\\":1}"), BlockStop("0"),
                 BlockStart("1", R"({"type":"web_search_tool_result","content":[]})"),
                 BlockStop("1"), Text("2", "a")})
          .parts,
      ElementsAre("0 text [a]", "answer"));
}

TEST(AnthropicFeed, FinishReasonsArePydanticAis) {
  auto reason = [](const string& raw) {
    return string(Anthropic({R"({"type":"message_delta","delta":{"stop_reason":")" + raw +
                             "\"}}"})["finish_reason"]
                      .text());
  };
  EXPECT_EQ(reason("end_turn"), "\"stop\"");
  EXPECT_EQ(reason("stop_sequence"), "\"stop\"");
  EXPECT_EQ(reason("max_tokens"), "\"length\"");
  EXPECT_EQ(reason("model_context_window_exceeded"), "\"length\"");
  EXPECT_EQ(reason("tool_use"), "\"tool_call\"");
  EXPECT_EQ(reason("refusal"), "\"content_filter\"");
  EXPECT_EQ(reason("pause_turn"), "null");
}

TEST(AnthropicFeed, Errors) {
  Outcome outcome = Whole(AGX_ANTHROPIC,
                          "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                          "\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n");
  EXPECT_EQ(outcome.status, AGX_EMODEL);
  EXPECT_THAT(outcome.message, HasSubstr("Overloaded (overloaded_error)"));
}

// --- What any of them may bring

const agx_model_api kApis[] = {AGX_OPENAI_CHAT, AGX_OPENAI_RESPONSES, AGX_ANTHROPIC};

// --- What a hostile server may send

// How many such events are taken, of at most so many.
int Taken(agx_model_api api, int most, const std::function<string(int)>& event) {
  Recorder recorder;
  Response response(&recorder);
  Feed feed(api, &response);
  for (int i = 0; i < most; ++i) {
    Status status = feed.Take(Sse({event(i)}));
    if (status.ok()) continue;
    EXPECT_EQ(status.code(), AGX_ETOOBIG) << status.message();
    EXPECT_EQ(feed.Take(Sse({event(i)})).code(), AGX_ETOOBIG);
    return i;
  }
  return most;
}

TEST(HostileFeed, NoTextGrowsWithoutBound) {
  const string large(size_t{1} << 20, 'x');
  auto numbered = [&](int i) { return large + std::to_string(i); };
  const Texts kinds = {
      R"({"type":"content_block_start","index":#,"content_block":{"type":"tool_use","id":"i","name":"@"}})",
      R"({"type":"content_block_start","index":#,"content_block":{"type":"tool_use","id":"@","name":"n"}})",
      R"({"type":"content_block_start","index":#,"content_block":{"type":"tool_use","id":"i","name":"n","input":{"a":"@"}}})"};
  auto filled = [&](const string& kind, int i) {
    string event = kind;
    event.replace(event.find('#'), 1, std::to_string(i));
    event.replace(event.find('@'), 1, numbered(i));
    return event;
  };
  for (const string& kind : kinds) {
    EXPECT_LT(Taken(AGX_ANTHROPIC, 100, [&](int i) { return filled(kind, i); }), 80) << kind;
  }
  EXPECT_LT(
      Taken(AGX_OPENAI_CHAT, 100,
            [&](int i) { return Delta(R"({"tool_calls":[{"id":")" + numbered(i) + "\"}]}"); }),
      80);
  for (const char* type : {"function_call", "other"}) {
    EXPECT_LT(Taken(AGX_OPENAI_RESPONSES, 100,
                    [&](int i) {
                      return R"({"type":"response.output_item.added","item":{"type":")" +
                             string(type) + R"(","name":"n","call_id":"c","id":")" + numbered(i) +
                             "\"}}";
                    }),
              80)
        << type;
  }
}

TEST(HostileFeed, AResponseThatIsTooBigHasNoFurtherParts) {
  const string large(size_t{40} << 20, 'x');
  Recorder recorder;
  Response response(&recorder);
  Feed feed(AGX_ANTHROPIC, &response);
  EXPECT_TRUE(feed.Take(Sse({Text("0", large)})).ok());
  EXPECT_EQ(feed.Take(Sse({Text("1", large), Text("2", "x")})).code(), AGX_ETOOBIG);
  EXPECT_EQ(feed.Take(Sse({Text("3", "x")})).code(), AGX_ETOOBIG);
  EXPECT_EQ(feed.Finish().code(), AGX_ETOOBIG);
  EXPECT_EQ(response.part_count(), 1);
  EXPECT_LT(response.Json().size(), AGX_BODY_MAX);
}

TEST(HostileFeed, WhatGrowsWhenItIsWrittenIsCountedAsItIsWritten) {
  Recorder recorder;
  Response response(&recorder);
  int call = response.BeginToolCall("f", "c", "");
  EXPECT_TRUE(response.Grow(call, string(AGX_BODY_MAX / 7, '\x01')).ok());
  EXPECT_EQ(response.Grow(call, string(AGX_BODY_MAX / 7, '\x01')).code(), AGX_ETOOBIG);
  EXPECT_LT(response.Json().size(), AGX_BODY_MAX);
}

TEST(HostileFeed, ArgumentsThatNeverEndAreNotReadAgainAndAgain) {
  Recorder recorder;
  Response response(&recorder);
  std::vector<int> calls = {
      response.BeginToolCall("f", "c", "{\"a\":\"" + string(size_t{16} << 20, 'x')),
      response.BeginToolCall("f", "d", "{\"a\":\"" + string(size_t{16} << 20, 'x') + "\"}x")};
  auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 10000; ++i) {
    for (int call : calls) ASSERT_TRUE(response.Grow(call, "}").ok());
    response.Begin(AGX_PART_TEXT, "");
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  for (int call : calls) EXPECT_TRUE(response.IsOpen(call));
}

class AnyApi : public ::testing::TestWithParam<agx_model_api> {
 protected:
  // A stream with one text, which is `escaped` within a JSON string.
  static string Stream(const string& escaped) {
    switch (GetParam()) {
      case AGX_OPENAI_RESPONSES:
        return Sse(
            {R"({"type":"response.output_text.delta","item_id":"m","delta":")" + escaped + "\"}",
             kCompleted});
      case AGX_ANTHROPIC:
        return Sse({Text("0", escaped), R"({"type":"message_stop"})"});
      default:
        return Sse({Delta(R"({"content":")" + escaped + "\"}"), kStop, "[DONE]"});
    }
  }
  // The same however it is cut.
  static Outcome Cut(const string& bytes) {
    Outcome whole = Whole(GetParam(), bytes);
    std::vector<string_view> single;
    for (size_t i = 0; i < bytes.size(); ++i) single.push_back(string_view(bytes).substr(i, 1));
    Outcome cut = FeedCut(GetParam(), single);
    EXPECT_EQ(cut.status, whole.status);
    EXPECT_EQ(cut.parts, whole.parts);
    return whole;
  }
  static void ExpectModelError(const string& bytes, const string& message) {
    Outcome outcome = Cut(bytes);
    EXPECT_EQ(outcome.status, AGX_EMODEL);
    EXPECT_THAT(outcome.message, HasSubstr(message));
    EXPECT_TRUE(ValidateUtf8(outcome.message)) << outcome.message;
  }
};

TEST_P(AnyApi, UnknownEventsAndKeepAlivesArePassedOver) {
  Outcome outcome =
      Cut(":\n\n: PROCESSING\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: ping\n"
          "data: pong\n\ndata:\n\nevent: new\ndata: {\"type\":\"brand.new\",\"x\":[{}]}\n\n"
          "data: 3\n\ndata: null\n\ndata: \"x\"\n\ndata: []\n\ndata: {}\n\n" +
          Stream("a"));
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  EXPECT_THAT(outcome.parts, ElementsAre("0 text [a]", "answer"));
}

TEST_P(AnyApi, WhatIsNotUtf8IsReplaced) {
  Outcome outcome =
      Cut(Stream("a\xFF"
                 "b\xE2\x82"
                 "c\xC3\xA9\xED\xA0\x80\\ud800"));
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  EXPECT_THAT(outcome.parts,
              ElementsAre("0 text [a\uFFFDb\uFFFDc\u00E9\uFFFD\uFFFD\uFFFD\uFFFD]", "answer"));
}

TEST_P(AnyApi, EscapesAreDecoded) {
  EXPECT_THAT(Cut(Stream(R"(\u0041\n\"\\\/\ud83d\ude00\u0000)")).parts,
              ElementsAre(string("0 text [A\n\"\\/😀") + '\0' + "]", "answer"));
}

TEST_P(AnyApi, WhatIsNoJsonIsAnError) {
  ExpectModelError("data: {\"a\":\n\n" + Stream("a"), "not JSON");
  ExpectModelError("data: hello\n\n", "not JSON");
  ExpectModelError("data: {} {}\n\n", "not JSON");
  ExpectModelError("data: {\"a\":\"\xFF\"\n\n", "not JSON");
  EXPECT_THAT(Cut("data: {\"a\":\n\n" + Stream("a")).parts, IsEmpty());
}

TEST_P(AnyApi, WhatIsNestedTooDeepIsAnError) {
  for (size_t depth : {AGX_DEPTH_MAX + 1, 10000, 1000000}) {
    string deep = string(depth, '[') + string(depth, ']');
    Outcome outcome = Whole(GetParam(), "data: " + deep + "\n\n");
    EXPECT_EQ(outcome.status, AGX_EMODEL);
    EXPECT_THAT(outcome.message, HasSubstr("nested too deep"));
    EXPECT_EQ(Whole(GetParam(), deep).status, AGX_EMODEL);
    EXPECT_EQ(Whole(GetParam(), "{\"error\":" + deep + "}").status, AGX_EMODEL);
  }
  string deep = string(AGX_DEPTH_MAX, '[') + string(AGX_DEPTH_MAX, ']');
  EXPECT_EQ(Whole(GetParam(), "data: " + deep + "\n\n" + Stream("a")).status, AGX_OK);
}

TEST_P(AnyApi, ALargeEventWorks) {
  string text(10000000, 'x');
  string bytes = Stream(text);
  std::vector<string_view> pieces;
  for (size_t i = 0; i < bytes.size(); i += 16384) {
    pieces.push_back(string_view(bytes).substr(i, 16384));
  }
  Outcome outcome = FeedCut(GetParam(), pieces);
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  EXPECT_THAT(outcome.parts, ElementsAre("0 text [" + text + "]", "answer"));
  EXPECT_EQ(Whole(GetParam(), bytes), outcome);
}

TEST_P(AnyApi, AnEventLargerThanAllowedIsTooBig) {
  string bytes = Stream(string(AGX_BODY_MAX, 'x'));
  EXPECT_EQ(Whole(GetParam(), bytes).status, AGX_ETOOBIG);
  Recorder recorder;
  Response response(&recorder);
  Feed feed(GetParam(), &response);
  string piece(1 << 20, ':');
  int taken = 0;
  while (feed.Take(piece).ok() && taken < 100) ++taken;
  EXPECT_EQ(taken, AGX_BODY_MAX >> 20);
  EXPECT_EQ(feed.Finish().code(), AGX_ETOOBIG);
}

TEST_P(AnyApi, AnErrorsBodyIsTold) {
  string said = "No such model";
  ExpectModelError(R"({"error":{"message":"No such model","type":"invalid_request_error"}})",
                   said + " (invalid_request_error)");
  ExpectModelError("\xEF\xBB\xBF \r\n{\n  \"error\": \"No such model\"\n}\n", said);
  ExpectModelError(R"([{"error":{"message":"No such model","code":404}}])", said);
  ExpectModelError(R"({"detail":"No such model"})", said);
  ExpectModelError(R"({"object":"error","message":"No such model","code":404})", said);
  ExpectModelError(R"({"type":"error","error":{"type":"not_found_error","message":)"
                   R"("No such model"},"request_id":"r"})",
                   said + " (not_found_error)");
  ExpectModelError("{\"error\":{\"message\":\"No such model \xFF\"}}", said + " \uFFFD");
  ExpectModelError(R"({"error":{"code":7}})", R"({"code":7})");
}

TEST_P(AnyApi, AnErrorsBodyIsToldAsSoonAsItHasCome) {
  Recorder recorder;
  Response response(&recorder);
  Feed feed(GetParam(), &response);
  EXPECT_EQ(feed.Take("{\"error\":{\"mess").code(), AGX_OK);
  EXPECT_EQ(feed.Take("age\":\"no }\\\"\"}").code(), AGX_OK);
  Status status = feed.Take("}");
  EXPECT_EQ(status.code(), AGX_EMODEL);
  EXPECT_THAT(status.message(), HasSubstr("no }\""));
  EXPECT_EQ(feed.Take(Stream("a")).message(), status.message());
  EXPECT_EQ(feed.Finish().message(), status.message());
  EXPECT_THAT(recorder.texts, IsEmpty());
}

TEST_P(AnyApi, WhatIsNoEventStreamIsAnError) {
  string no = "no event stream";
  ExpectModelError("<!DOCTYPE html>\n<html><title>502 Bad Gateway</title></html>", no);
  EXPECT_THAT(Whole(GetParam(), "<html>\n502").message, HasSubstr("<html> 502"));
  ExpectModelError(R"({"id":"chatcmpl-1","object":"chat.completion","choices":[]})", no);
  EXPECT_THAT(Whole(GetParam(), R"({"id":"chatcmpl-1"})").message, HasSubstr("\"stream\": true"));
  ExpectModelError("{\"id\":\"chatc", no);
  ExpectModelError("Internal Server Error", no);
  ExpectModelError("upstream connect error or disconnect\nreset", no);
  ExpectModelError("Bad Gateway\n\n" + Stream("a"), no);
  ExpectModelError("\x1F\x8B\x08\x01\x02\x03", no);
  ExpectModelError("\xEF\xBB<", no);
  ExpectModelError("", "no event");
  ExpectModelError("\n\n", "no event");
  ExpectModelError(": ping\n\n", "no event");
  EXPECT_EQ(Whole(GetParam(), "[" + string(200000, ' ')).status, AGX_EMODEL);
}

TEST_P(AnyApi, AStreamOfAnotherApiIsSaidToBeNone) {
  const char* names[] = {"OpenAI Chat Completions", "OpenAI Responses", "Anthropic Messages"};
  for (agx_model_api api : {AGX_OPENAI_CHAT, AGX_OPENAI_RESPONSES, AGX_ANTHROPIC}) {
    if (api == GetParam()) continue;
    string stream = api == AGX_OPENAI_CHAT ? R"(data: {"id":"chatcmpl-1","choices":[]})"
                    : api == AGX_ANTHROPIC ? R"(data: {"type":"message_start","message":{}})"
                                           : R"(data: {"type":"response.created","response":{}})";
    ExpectModelError(stream + "\n\n", string("no stream of ") + names[GetParam() - 1]);
    ExpectModelError(stream + "\n\n", "begins: " + stream.substr(6));
    ExpectModelError(stream, "no stream of");  // its last line is not ended
  }
  ExpectModelError("event: new\ndata: {\"type\":\"brand.new\"}\n\n", "no stream of");
  ExpectModelError("data: {\"detail\":\"no such model\"}\n\n", "reports: no such model");
  ExpectModelError("data: {\"code\":5,\"message\":\"quota\"}\n\n", "reports: quota");
}

TEST_P(AnyApi, ABreakIsAnError) {
  string bytes = Stream("a");
  bytes.resize(bytes.find("\n\n") + 2);
  ExpectModelError(bytes, "broke off");
  EXPECT_THAT(Cut(bytes).parts, ElementsAre("0 text [a]", "answer"));
}

// What differs from the event before in its text alone is read in another way, to the same end.
TEST_P(AnyApi, EventsThatRepeatTheOneBefore) {
  string stream = Stream("@");
  string event = stream.substr(0, stream.find("\n\n") + 2);
  string end = stream.substr(event.size());
  auto with = [&event](const string& text) {
    string copy = event;
    return copy.replace(copy.find('@'), 1, text);
  };
  Texts texts = {"a",    "b",       "",     "c", "}]}",      "\\n", "\u00E9", "d",
                 "\x7F", "<think>", "e",    "f", "</think>", "g",   "h",      string(5000, 'x'),
                 "y",    "z",       "\xFF", "i", "j"};
  string repeated;
  string apart;
  for (const string& text : texts) {
    repeated += with(text);
    apart += with(text) + "data: {}\n\n";
  }
  Outcome outcome = Cut(repeated + end);
  EXPECT_EQ(outcome.status, AGX_OK) << outcome.message;
  EXPECT_EQ(outcome, Whole(GetParam(), apart + end));
  // More or less than the text differs.
  EXPECT_EQ(Whole(GetParam(), with("a") + with("b\"") + end).status, AGX_EMODEL);
  EXPECT_EQ(Whole(GetParam(), with("a") + with("b\t") + end).status, AGX_EMODEL);
  EXPECT_EQ(Whole(GetParam(), with("a") + "data: \n\n" + with("b").substr(0, 20)).status,
            AGX_EMODEL);
}

// Every value of every event, each in turn replaced by one of another type.
TEST_P(AnyApi, UnexpectedTypesArePassedOver) {
  const char* file = GetParam() == AGX_ANTHROPIC          ? "anthropic.sse"
                     : GetParam() == AGX_OPENAI_RESPONSES ? "responses.sse"
                                                          : "chat_tools.sse";
  string bytes = Load(file);
  for (const char* value : {"null", "7", "-1.5e300", "true", "[]", "{}", "\"\"", "[null]",
                            R"({"type":{"type":[]}})", "99999999999999999999"}) {
    for (size_t at = bytes.find("\":"); at != string::npos; at = bytes.find("\":", at + 1)) {
      // Within a string of JSON it is none of the event's values.
      size_t begin = at + 2;
      if (bytes[at - 1] == '\\' || bytes[at - 1] == ':' ||
          string_view("{[").find(bytes[begin]) != string_view::npos) {
        continue;
      }
      size_t end = begin;
      if (bytes[begin] == '"') {
        do {
          end = bytes.find('"', end + 1);
        } while (bytes[end - 1] == '\\');
        ++end;
      } else {
        end = bytes.find_first_of(",}", begin);
      }
      string changed = bytes.substr(0, begin) + value + bytes.substr(end);
      Outcome outcome = Whole(GetParam(), changed);
      EXPECT_THAT(outcome.message, Not(HasSubstr("not JSON"))) << changed.substr(begin - 20, 80);
    }
  }
}

// In any order, and again and again.
TEST_P(AnyApi, EventsInAnyOrder) {
  const char* file = GetParam() == AGX_ANTHROPIC          ? "anthropic.sse"
                     : GetParam() == AGX_OPENAI_RESPONSES ? "responses.sse"
                                                          : "chat_tools.sse";
  string bytes = Load(file);
  bytes.erase(std::remove(bytes.begin(), bytes.end(), '\r'), bytes.end());
  Texts events;
  for (size_t at = 0; at < bytes.size();) {
    size_t end = bytes.find("\n\n", at) + 2;
    events.push_back(bytes.substr(at, end - at));
    at = end;
  }
  for (size_t step = 1; step < events.size(); ++step) {
    string mixed;
    for (size_t i = 0; i < 3 * events.size(); ++i) mixed += events[i * step % events.size()];
    Whole(GetParam(), mixed);
  }
  string reversed;
  for (const string& event : events) reversed.insert(0, event);
  Whole(GetParam(), reversed);
}

INSTANTIATE_TEST_SUITE_P(Feed, AnyApi, ::testing::ValuesIn(kApis), [](const auto& tested) {
  return string(tested.param == AGX_ANTHROPIC          ? "Anthropic"
                : tested.param == AGX_OPENAI_RESPONSES ? "Responses"
                                                       : "Chat");
});

}  // namespace
}  // namespace agx
