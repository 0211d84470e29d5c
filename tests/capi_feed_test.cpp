// ctest-labels: redis threads
// From the bytes of a model's stream to the entries that every listener understands.
#include <algorithm>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Texts = std::vector<std::string>;

// Bodies of `event`, and the types of the others but `begin`.
Texts Written(const SessionPtr& session) {
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  Texts texts;
  for (;;) {
    Told told = Next(listener, 0);
    if (told.status != AGX_OK) return texts;
    if (told.type() != "begin") texts.push_back(told.type() == "event" ? told.body() : told.type());
  }
}

// One model's response with thinking and two parallel tool calls, and the answer to their results,
// as each API streams them.
struct Model {
  const char* name;
  agx_model_api api;
  Texts asks;
  Texts answers;
};

const std::vector<Model>& Models() {
  static const auto* models = new std::vector<Model>{
      {"Chat",
       AGX_OPENAI_CHAT,
       {R"({"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]})",
        R"({"choices":[{"index":0,"delta":{"reasoning_content":"Two"}}]})",
        R"({"choices":[{"index":0,"delta":{"reasoning_content":" cities."}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Paris\"}"}}]}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"weather","arguments":"{\"city\": "}}]}}]})",
        R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\"Rome\"}"}}]}}]})",
        R"({"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]})", "[DONE]"},
       {R"({"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})",
        R"({"choices":[{"index":0,"delta":{"content":"Go to"}}]})",
        R"({"choices":[{"index":0,"delta":{"content":" Paris."}}]})",
        R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})", "[DONE]"}},
      {"Responses",
       AGX_OPENAI_RESPONSES,
       {R"({"type":"response.created","response":{"id":"resp_1","status":"in_progress","output":[]}})",
        R"({"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[]}})",
        R"({"type":"response.reasoning_summary_part.added","item_id":"rs_1","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":"Two"}})",
        R"({"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":" cities."})",
        R"({"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"weather","arguments":""}})",
        R"({"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"{\"city\":\"Paris\"}"})",
        R"({"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":1,"arguments":"{\"city\":\"Paris\"}"})",
        R"({"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"weather","arguments":"{\"city\":\"Paris\"}"}})",
        R"({"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_2","call_id":"call_2","name":"weather","arguments":""}})",
        R"({"type":"response.function_call_arguments.delta","item_id":"fc_2","output_index":2,"delta":"{\"city\":\"Rome\"}"})",
        R"({"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","id":"fc_2","call_id":"call_2","name":"weather","arguments":"{\"city\":\"Rome\"}"}})",
        R"({"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[]}})"},
       {R"({"type":"response.created","response":{"id":"resp_2","status":"in_progress","output":[]}})",
        R"({"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"msg_1","role":"assistant","content":[]}})",
        R"({"type":"response.content_part.added","item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}})",
        R"({"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"Go to"})",
        R"({"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":" Paris."})",
        R"({"type":"response.output_text.done","item_id":"msg_1","output_index":0,"content_index":0,"text":"Go to Paris."})",
        R"({"type":"response.completed","response":{"id":"resp_2","status":"completed","output":[]}})"}},
      {"Anthropic",
       AGX_ANTHROPIC,
       {R"({"type":"message_start","message":{"id":"msg_1","role":"assistant","model":"m","content":[]}})",
        R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"Two","signature":""}})",
        R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":" cities."}})",
        R"({"type":"content_block_stop","index":0})",
        R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_1","name":"weather","input":{}}})",
        R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}})",
        R"({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"city\":\"Paris\"}"}})",
        R"({"type":"content_block_stop","index":1})",
        R"({"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"call_2","name":"weather","input":{}}})",
        R"({"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\":\"Rome\"}"}})",
        R"({"type":"content_block_stop","index":2})",
        R"({"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}})",
        R"({"type":"message_stop"})"},
       {R"({"type":"message_start","message":{"id":"msg_2","role":"assistant","model":"m","content":[]}})",
        R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})",
        R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Go to"}})",
        R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Paris."}})",
        R"({"type":"content_block_stop","index":0})",
        R"({"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}})",
        R"({"type":"message_stop"})"}},
  };
  return *models;
}

std::string Stream(const Texts& events) {
  std::string stream;
  for (const std::string& event : events) stream += "data: " + event + "\n\n";
  return stream;
}

// What a run of the reference implementations leaves for it.
const Texts& Expected() {
  static const auto* expected = new Texts{
      R"({"idx":0,"event":"llm-begin"})",
      R"({"idx":0,"event":"part_start","event_idx":0,"part_kind":"thinking","content":"Two"})",
      R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"thinking","content_delta":" cities."})",
      R"({"idx":0,"event":"part_start","event_idx":1,"part_kind":"tool-call","tool_name":"weather","tool_call_id":"call_1","args":{"city":"Paris"}})",
      R"({"idx":0,"event":"part_start","event_idx":2,"part_kind":"tool-call","tool_name":"weather","tool_call_id":"call_2","args":{"city":"Rome"}})",
      R"({"idx":0,"event":"llm-end"})",
      R"({"idx":1,"event":"llm-begin"})",
      R"({"idx":1,"event":"part_start","part_kind":"tool-return","tool_name":"weather","tool_call_id":"call_1","content":"sunny"})",
      R"({"idx":1,"event":"part_start","part_kind":"tool-return","tool_name":"weather","tool_call_id":"call_2","content":"grey"})",
      R"({"idx":1,"event":"part_start","event_idx":0,"part_kind":"text","content":"Go to"})",
      R"({"idx":1,"event":"answer"})",
      R"({"idx":1,"event":"part_delta","event_idx":0,"part_delta_kind":"text","content_delta":" Paris."})",
      R"({"idx":1,"event":"llm-end"})",
      "end"};
  return *expected;
}

class CapiFeed : public OnEachStore {
 protected:
  agx_status Feed(agx_run* run, agx_model_api api, const std::string& bytes) {
    return agx_run_feed(run, api, bytes.data(), bytes.size());
  }
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiFeed);

TEST_P(CapiFeed, ThreeApisLeaveTheSameEntries) {
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    RunPtr run = BeginRun(session_);
    const char* response = nullptr;
    size_t length = 0;
    ASSERT_EQ(Feed(run.get(), model.api, Stream(model.asks)), AGX_OK);
    ASSERT_EQ(agx_run_feed_end(run.get(), &response, &length), AGX_OK);
    EXPECT_EQ(std::string(response).size(), length);
    EXPECT_THAT(response, HasSubstr(R"("tool_name":"weather")"));
    ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
    ASSERT_EQ(agx_run_tool_return(run.get(), "weather", "call_1", "\"sunny\""), AGX_OK);
    ASSERT_EQ(agx_run_tool_return(run.get(), "weather", "call_2", "\"grey\""), AGX_OK);
    for (char byte : Stream(model.answers)) {
      ASSERT_EQ(agx_run_feed(run.get(), model.api, &byte, 1), AGX_OK);
    }
    ASSERT_EQ(agx_run_feed_end(run.get(), &response, nullptr), AGX_OK);
    EXPECT_THAT(response, HasSubstr(R"("content":"Go to Paris.")"));
    ASSERT_EQ(agx_run_finish(run.get()), AGX_OK);
    EXPECT_THAT(Written(session_), ElementsAreArray(Expected()));
  }
}

// What the run assembles continues the conversation, and so the requests to the model.
TEST_P(CapiFeed, TheResponseGoesIntoTheNextRequest) {
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    agx_messages* messages = nullptr;
    ASSERT_EQ(agx_messages_parse(nullptr, 0, &messages), AGX_OK);
    ASSERT_EQ(agx_messages_append_user(messages, "Paris or Rome?"), AGX_OK);
    RunPtr run = BeginRun(session_);
    const char* response = nullptr;
    size_t length = 0;
    ASSERT_EQ(Feed(run.get(), model.api, Stream(model.asks)), AGX_OK);
    ASSERT_EQ(agx_run_feed_end(run.get(), &response, &length), AGX_OK);
    ASSERT_EQ(agx_messages_append(messages, response, length), AGX_OK);
    ASSERT_EQ(agx_messages_count(messages), 2U);
    ASSERT_EQ(agx_messages_part_count(messages, 1), 3U);
    const char* text = nullptr;
    ASSERT_EQ(agx_messages_part_field(messages, 1, 2, "tool_call_id", &text, nullptr, nullptr),
              AGX_OK);
    EXPECT_STREQ(text, "call_2");
    ASSERT_EQ(agx_messages_append_tool_return(messages, "weather", "call_1", "\"sunny\""), AGX_OK);
    ASSERT_EQ(agx_messages_append_tool_return(messages, "weather", "call_2", "\"grey\""), AGX_OK);
    ASSERT_EQ(agx_messages_request(messages, model.api, "{\"model\":\"m\"}", &text, nullptr),
              AGX_OK);
    EXPECT_THAT(text, HasSubstr("Rome"));
    EXPECT_THAT(text, HasSubstr("call_2"));
    EXPECT_THAT(text, HasSubstr("grey"));
    agx_messages_close(messages);
  }
}

TEST_P(CapiFeed, AStreamThatBreaksOffIsToldAndWhatCameIsKept) {
  for (const Model& model : Models()) {
    SCOPED_TRACE(model.name);
    std::string stream = Stream(model.asks);
    RunPtr run = BeginRun(session_);
    ASSERT_EQ(Feed(run.get(), model.api, stream.substr(0, stream.find("Rome"))), AGX_OK);
    const char* response = nullptr;
    EXPECT_EQ(agx_run_feed_end(run.get(), &response, nullptr), AGX_EMODEL);
    EXPECT_STRNE(agx_last_error(), "");
    ASSERT_NE(response, nullptr);
    EXPECT_THAT(response, HasSubstr("call_1"));
    ASSERT_EQ(agx_run_fail(run.get(), "the model broke off"), AGX_OK);
    Texts written = Written(session_);
    EXPECT_EQ(std::count(written.begin(), written.end(), R"({"idx":0,"event":"llm-end"})"), 1);
    EXPECT_EQ(written[written.size() - 2], "error");
    EXPECT_EQ(written.back(), "end");
  }
}

TEST_P(CapiFeed, AnErrorOfTheModelIsToldInItsWords) {
  RunPtr run = BeginRun(session_);
  EXPECT_EQ(Feed(run.get(), AGX_OPENAI_CHAT, R"({"error":{"message":"no quota left"}})"),
            AGX_EMODEL);
  EXPECT_THAT(agx_last_error(), HasSubstr("no quota left"));
  EXPECT_EQ(agx_run_feed_end(run.get(), nullptr, nullptr), AGX_EMODEL);
  EXPECT_THAT(agx_last_error(), HasSubstr("no quota left"));
  // The next node may do better.
  ASSERT_EQ(Feed(run.get(), AGX_OPENAI_CHAT, Stream(Models()[0].answers)), AGX_OK);
  ASSERT_EQ(agx_run_feed_end(run.get(), nullptr, nullptr), AGX_OK);
}

TEST_P(CapiFeed, CallsThatDoNotFit) {
  RunPtr run = BeginRun(session_);
  agx_run* r = run.get();
  ASSERT_EQ(Feed(r, AGX_OPENAI_CHAT, ""), AGX_OK);
  EXPECT_EQ(Feed(r, AGX_ANTHROPIC, "x"), AGX_ESTATE);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", nullptr), AGX_ESTATE);
  EXPECT_EQ(agx_run_node_end(r, nullptr, nullptr), AGX_ESTATE);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", "1"), AGX_ESTATE);
  EXPECT_EQ(agx_run_feed_end(r, nullptr, nullptr), AGX_EMODEL);
  EXPECT_EQ(agx_run_feed_end(r, nullptr, nullptr), AGX_ESTATE);
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", nullptr), AGX_OK);
  EXPECT_EQ(Feed(r, AGX_OPENAI_CHAT, "x"), AGX_ESTATE);
}

TEST_P(CapiFeed, ACancelInTheMiddleEndsItWhole) {
  RunPtr run = BeginRun(session_);
  std::string stream = Stream(Models()[0].asks);
  ASSERT_EQ(Feed(run.get(), AGX_OPENAI_CHAT, stream.substr(0, stream.find("Rome"))), AGX_OK);
  ASSERT_EQ(agx_cancel(session_.get(), nullptr), AGX_OK);
  EXPECT_EQ(Follow(Listen(session_)).back(), "AGX_ENDED");
  EXPECT_EQ(Feed(run.get(), AGX_OPENAI_CHAT, "x"), AGX_CANCELED);
  EXPECT_EQ(agx_run_feed_end(run.get(), nullptr, nullptr), AGX_CANCELED);
  Texts written = Written(session_);
  ASSERT_GE(written.size(), 4U);
  EXPECT_THAT(written[written.size() - 4],
              HasSubstr(R"("tool_call_id":"call_2","args":"{\"city\": ")"));
  EXPECT_EQ(written[written.size() - 3], R"({"idx":0,"event":"llm-end"})");
}

}  // namespace
}  // namespace agx::test
