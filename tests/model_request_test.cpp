// The bodies of requests to the models' APIs.
#include "format/model_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "support/data.h"

namespace agx::test {
namespace {

using std::string;
using ::testing::HasSubstr;
using ::testing::Not;

string Body(const string& conversation, agx_model_api api, const string& settings = "{}") {
  Result<Conversation> parsed = Conversation::Parse(conversation);
  if (!parsed.ok()) return parsed.status().message();
  Result<string> body = MakeModelRequest(*parsed, api, settings);
  if (!body.ok())
    return Cat(agx_status_string(body.status().code()), ": ", body.status().message());
  EXPECT_TRUE(ValidateJson(*body, kJsonDepthLimit, nullptr)) << *body;
  return *body;
}

// The messages or input items.
string Said(const string& conversation, agx_model_api api) {
  string body = Body(conversation, api);
  if (!body.starts_with('{')) return body;
  return string(JsonValue(body)[api == AGX_OPENAI_RESPONSES ? "input" : "messages"].text());
}

string Request(const string& parts) { return R"({"kind":"request","parts":[)" + parts + "]}"; }
string Response(const string& parts, const string& more = "") {
  return R"({"kind":"response","parts":[)" + parts + "]" + more + "}";
}
string User(const string& content) {
  return R"({"part_kind":"user-prompt","content":)" + content + "}";
}
string OneUser(const string& content) { return "[" + Request(User(content)) + "]"; }
string Call(const string& args, const string& id = "c1") {
  return R"({"part_kind":"tool-call","tool_name":"t","tool_call_id":")" + id + "\"" +
         (args.empty() ? "" : ",\"args\":" + args) + "}";
}
string Returned(const string& content, const string& id = "c1") {
  return R"({"part_kind":"tool-return","tool_name":"t","tool_call_id":")" + id + R"(","content":)" +
         content + "}";
}

constexpr agx_model_api kApis[] = {AGX_OPENAI_CHAT, AGX_OPENAI_RESPONSES, AGX_ANTHROPIC};

// ---- Settings.

TEST(Settings, AreTheBodysFirstMembersAndStreamingIsAskedFor) {
  EXPECT_EQ(Body("[]", AGX_OPENAI_CHAT, R"( { "model" : "gpt" , "tools":[ {} ]} )"),
            R"({"model":"gpt","tools":[ {} ],"messages":[],"stream":true,)"
            R"("stream_options":{"include_usage":true}})");
  EXPECT_EQ(Body("[]", AGX_OPENAI_RESPONSES, R"({"model":"gpt"})"),
            R"({"model":"gpt","input":[],"stream":true})");
  EXPECT_EQ(Body("[]", AGX_ANTHROPIC, R"({"model":"claude","max_tokens":64})"),
            R"({"model":"claude","max_tokens":64,"messages":[],"stream":true})");
  EXPECT_EQ(Body("[]", AGX_ANTHROPIC), R"({"messages":[],"stream":true})");
}

TEST(Settings, WinOverWhatWouldBeThere) {
  EXPECT_EQ(Body("[]", AGX_OPENAI_CHAT, R"({"stream_options":null,"m\u0065ssages":[1]})"),
            R"({"stream_options":null,"m\u0065ssages":[1],"stream":true})");
  EXPECT_EQ(Body("[]", AGX_OPENAI_CHAT, R"({"stream":false})"), R"({"stream":false,"messages":[]})")
      << "options of a stream are refused without one";
}

TEST(Settings, AreAJsonObject) {
  for (const char* settings : {"", "{", "[]", "null", "\"{}\"", "{}x"}) {
    EXPECT_THAT(Body("[]", AGX_OPENAI_CHAT, settings), HasSubstr("AGX_EJSON")) << settings;
  }
  EXPECT_THAT(Body("[]", static_cast<agx_model_api>(0)), HasSubstr("AGX_EINVAL"));
}

// ---- Prompts.

const char kPrompts[] = R"([{"kind":"request","instructions":"Be brief.","parts":[)"
                        R"({"part_kind":"system-prompt","content":"You are \"é\"."},)"
                        R"({"part_kind":"system-prompt","content":"Really."},)"
                        R"({"part_kind":"user-prompt","content":"Hi"}]}])";

TEST(Prompts, OfChat) {
  EXPECT_EQ(Said(kPrompts, AGX_OPENAI_CHAT),
            R"([{"role":"system","content":"Be brief."},)"
            R"({"role":"system","content":"You are \"é\"."},)"
            R"({"role":"system","content":"Really."},{"role":"user","content":"Hi"}])");
}

TEST(Prompts, OfResponses) {
  EXPECT_EQ(
      Body(kPrompts, AGX_OPENAI_RESPONSES),
      R"({"instructions":"Be brief.","input":[{"role":"system","content":"You are \"é\"."},)"
      R"({"role":"system","content":"Really."},{"role":"user","content":"Hi"}],"stream":true})");
}

TEST(Prompts, OfAnthropic) {
  EXPECT_EQ(
      Body(kPrompts, AGX_ANTHROPIC),
      R"({"system":"You are \"é\".\n\nReally.\n\nBe brief.",)"
      R"("messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],"stream":true})");
}

TEST(Instructions, AreThoseOfTheLastRequestThatHasAny) {
  string conversation = R"([{"kind":"request","instructions":"old","parts":[]},)"
                        R"({"kind":"request","instructions":"new","parts":[]},)"
                        R"({"kind":"request","instructions":null,"parts":[]},)"
                        R"({"kind":"response","instructions":"none","parts":[]}])";
  EXPECT_EQ(Body(conversation, AGX_ANTHROPIC), R"({"system":"new","messages":[],"stream":true})");
}

TEST(UserPrompt, WithPicturesAndFiles) {
  string conversation = OneUser(
      R"(["look",{"kind":"text-content","content":"here"},)"
      R"({"kind":"image-url","url":"https://e/x.png"},)"
      R"({"kind":"binary","data":"-_8","media_type":"image/png","vendor_metadata":{"detail":"low"}},)"
      R"({"kind":"cache-point"},{"kind":"binary","data":"JVBERg==","media_type":"application/pdf"}])");
  EXPECT_EQ(
      Said(conversation, AGX_OPENAI_CHAT),
      R"([{"role":"user","content":[{"type":"text","text":"look"},{"type":"text","text":"here"},)"
      R"({"type":"image_url","image_url":{"url":"https://e/x.png"}},)"
      R"({"type":"image_url","image_url":{"url":"data:image/png;base64,+/8=","detail":"low"}},)"
      R"({"type":"file","file":{"file_data":"data:application/pdf;base64,JVBERg==",)"
      R"("filename":"file.pdf"}}]}])");
  EXPECT_EQ(Said(conversation, AGX_OPENAI_RESPONSES),
            R"([{"role":"user","content":[{"type":"input_text","text":"look"},)"
            R"({"type":"input_text","text":"here"},)"
            R"({"type":"input_image","image_url":"https://e/x.png","detail":"auto"},)"
            R"({"type":"input_image","image_url":"data:image/png;base64,+/8=","detail":"low"},)"
            R"({"type":"input_file","file_data":"data:application/pdf;base64,JVBERg==",)"
            R"("filename":"file.pdf"}]}])");
  EXPECT_EQ(
      Said(conversation, AGX_ANTHROPIC),
      R"([{"role":"user","content":[{"type":"text","text":"look"},{"type":"text","text":"here"},)"
      R"({"type":"image","source":{"type":"url","url":"https://e/x.png"}},)"
      R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":"+/8="}},)"
      R"({"type":"document","source":{"type":"base64","media_type":"application/pdf",)"
      R"("data":"JVBERg=="}}]}])");
}

TEST(UserPrompt, IsNotSentWithoutWhatTheApiHasNoFormFor) {
  string video = OneUser(R"(["see",{"kind":"video-url","url":"https://e/v.mp4"}])");
  for (agx_model_api api : kApis) {
    EXPECT_THAT(Said(video, api), HasSubstr("AGX_EUNSUPPORTED"));
    EXPECT_THAT(Said(video, api), HasSubstr("video-url"));
    EXPECT_THAT(Said(video, api), HasSubstr("message 0"));
    EXPECT_THAT(Said(OneUser("[7]"), api), HasSubstr("AGX_EUNSUPPORTED"));
  }
  string wav = OneUser(R"([{"kind":"binary","data":"AAAA","media_type":"audio/wav"}])");
  EXPECT_THAT(Said(wav, AGX_OPENAI_CHAT),
              HasSubstr(R"({"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}})"));
  EXPECT_THAT(Said(wav, AGX_ANTHROPIC), HasSubstr("audio/wav"));
  string pdf =
      OneUser(R"([{"kind":"document-url","url":"https://e/d","media_type":"application/pdf"}])");
  EXPECT_THAT(Said(pdf, AGX_OPENAI_RESPONSES), HasSubstr(R"("file_url":"https://e/d")"));
  EXPECT_THAT(Said(pdf, AGX_ANTHROPIC), HasSubstr(R"("type":"document")"));
  EXPECT_THAT(Said(pdf, AGX_OPENAI_CHAT), HasSubstr("document-url"));
}

// ---- Tools.

TEST(Tools, OfChat) {
  EXPECT_EQ(Said("[" + Response(Call(R"("{\"a\": 1}")") + "," + Call(R"({"b":[2]})", "c2")) + "," +
                     Request(Returned(R"("plain")") + "," + Returned("{\"x\": null}", "c2")) + "]",
                 AGX_OPENAI_CHAT),
            R"([{"role":"assistant","content":null,"tool_calls":[)"
            R"({"id":"c1","type":"function","function":{"name":"t","arguments":"{\"a\": 1}"}},)"
            R"({"id":"c2","type":"function","function":{"name":"t","arguments":"{\"b\":[2]}"}}]},)"
            R"({"role":"tool","tool_call_id":"c1","content":"plain"},)"
            R"({"role":"tool","tool_call_id":"c2","content":"{\"x\": null}"}])");
}

TEST(Tools, OfChatAreAnsweredBeforeAnythingElseIsSaid) {
  EXPECT_EQ(Said("[" + Request(User("\"a\"") + "," + Returned("1")) + "]", AGX_OPENAI_CHAT),
            R"([{"role":"tool","tool_call_id":"c1","content":"1"},{"role":"user","content":"a"}])");
}

TEST(Tools, OfResponses) {
  EXPECT_EQ(Said("[" + Response(Call(R"({"b":[2]})")) + "," + Request(Returned("[1]")) + "]",
                 AGX_OPENAI_RESPONSES),
            R"([{"type":"function_call","call_id":"c1","name":"t","arguments":"{\"b\":[2]}"},)"
            R"({"type":"function_call_output","call_id":"c1","output":"[1]"}])");
}

TEST(Tools, OfAnthropic) {
  EXPECT_EQ(
      Said(
          "[" + Response(Call(R"("{\"a\": 1}")")) + "," + Request(Returned("true")) + "," +
              Request(
                  R"({"part_kind":"tool-return","tool_call_id":"c2","content":"x","outcome":"failed"})") +
              "]",
          AGX_ANTHROPIC),
      R"([{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"t","input":{"a": 1}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"true"},)"
      R"({"type":"tool_result","tool_use_id":"c2","content":"x","is_error":true}]}])");
}

TEST(Arguments, ThatAreNoObjectAreWrappedInOne) {
  struct Case {
    string args, object;
  };
  for (const Case& c :
       {Case{"", "{}"}, Case{"null", "{}"}, Case{R"("")", "{}"}, Case{"{}", "{}"},
        Case{R"("{\"a\":")", R"({"INVALID_JSON":"{\"a\":"})"},
        Case{R"("[1]")", R"({"INVALID_JSON":"[1]"})"}, Case{"[1]", R"({"INVALID_JSON":"[1]"})"}}) {
    string body = Said("[" + Response(Call(c.args)) + "]", AGX_ANTHROPIC);
    EXPECT_THAT(body, HasSubstr("\"input\":" + c.object + "}"));
    string escaped;
    AppendJsonString(c.object, &escaped);
    body = Said("[" + Response(Call(c.args)) + "]", AGX_OPENAI_CHAT);
    EXPECT_THAT(body, HasSubstr("\"arguments\":" + escaped + "}"));
  }
}

TEST(Retry, IsAToolsErrorOrTheUsersWord) {
  string conversation =
      "[" +
      Request(
          R"({"part_kind":"retry-prompt","content":"Bad.","tool_name":"t","tool_call_id":"c1"},)"
          R"({"part_kind":"retry-prompt","content":[{"msg":"m"}],"tool_name":null,"tool_call_id":"c2"})") +
      "]";
  const string bad = R"("Bad.\n\nPlease correct this and try again.")";
  const string details = R"("[{\"msg\":\"m\"}]\n\nPlease correct this and try again.")";
  EXPECT_EQ(Said(conversation, AGX_OPENAI_CHAT),
            R"([{"role":"tool","tool_call_id":"c1","content":)" + bad +
                R"(},{"role":"user","content":)" + details + "}]");
  EXPECT_EQ(Said(conversation, AGX_OPENAI_RESPONSES),
            R"([{"type":"function_call_output","call_id":"c1","output":)" + bad +
                R"(},{"role":"user","content":)" + details + "}]");
  EXPECT_EQ(Said(conversation, AGX_ANTHROPIC),
            R"([{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":)" +
                bad + R"(,"is_error":true},{"type":"text","text":)" + details + "}]}]");
}

// ---- Responses.

TEST(Text, OfAResponse) {
  string two =
      "[" + Response(R"({"part_kind":"text","content":"a"},{"part_kind":"text","content":"b"})") +
      "]";
  EXPECT_EQ(Said(two, AGX_OPENAI_CHAT), R"([{"role":"assistant","content":"a\n\nb"}])");
  EXPECT_EQ(Said(two, AGX_OPENAI_RESPONSES),
            R"([{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}])");
  EXPECT_EQ(
      Said(two, AGX_ANTHROPIC),
      R"([{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
}

TEST(Text, ThatIsEmptyIsNotSentToAnthropic) {
  EXPECT_EQ(Said("[" + Request(User("\"\"")) + "," +
                     Response(R"({"part_kind":"text","content":""})") + "]",
                 AGX_ANTHROPIC),
            "[]");
}

TEST(Anthropic, TakesRolesInTurnAndResultsFirst) {
  EXPECT_EQ(
      Said("[" + Response(Call("{}")) + "," + Request(User("\"a\"")) + "," +
               Request(Returned("1") + "," + User("\"b\"")) + "," +
               Response(R"({"part_kind":"text","content":"x"})") + "," +
               Request(R"({"part_kind":"system-prompt","content":"s"})") + "," +
               Response(R"({"part_kind":"text","content":"y"})") + "]",
           AGX_ANTHROPIC),
      R"([{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"t","input":{}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"1"},)"
      R"({"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
      R"({"role":"assistant","content":[{"type":"text","text":"x"},{"type":"text","text":"y"}]}])");
}

TEST(Thinking, GoesBackToAnthropicIfAnthropicSignedIt) {
  auto said = [](const string& part, const string& more = "") {
    return Said("[" + Response(part, more) + "]", AGX_ANTHROPIC);
  };
  const string thought =
      R"([{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"}]}])";
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"hm","signature":"s"})"), thought);
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"hm","signature":"s"})",
                 R"(,"provider_name":"anthropic")"),
            thought);
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"hm","signature":"s"})",
                 R"(,"provider_name":"openai")"),
            "[]");
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"hm","signature":null})"), "[]");
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"hm"})"), "[]");
  EXPECT_EQ(
      said(R"({"part_kind":"thinking","content":"","id":"redacted_thinking","signature":"s"})"),
      R"([{"role":"assistant","content":[{"type":"redacted_thinking","data":"s"}]}])");
}

TEST(Thinking, GoesBackToResponsesWithItsIdAndSignature) {
  auto said = [](const string& parts) {
    return Said("[" + Response(parts, R"(,"provider_name":"openai")") + "]", AGX_OPENAI_RESPONSES);
  };
  EXPECT_EQ(
      said(
          R"({"part_kind":"thinking","content":"one","id":"rs_1","signature":"s"},)"
          R"({"part_kind":"thinking","content":"two","id":"rs_1","signature":null},)"
          R"({"part_kind":"text","content":"a","id":"msg_1"},)"
          R"({"part_kind":"tool-call","tool_name":"t","tool_call_id":"c1","args":"{}","id":"fc_1"})"),
      R"([{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"one"},)"
      R"({"type":"summary_text","text":"two"}],"encrypted_content":"s"},)"
      R"({"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[)"
      R"({"type":"output_text","text":"a","annotations":[]}]},)"
      R"({"type":"function_call","id":"fc_1","call_id":"c1","name":"t","arguments":"{}"}])");
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"","id":"rs_1","signature":"s"})"),
            R"([{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"s"}])");
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"one","id":"rs_1"},)"
                 R"({"part_kind":"text","content":"a","id":"msg_1"})"),
            R"([{"role":"assistant","content":"a"}])")
      << "without its reasoning, an item's id means nothing";
  EXPECT_EQ(said(R"({"part_kind":"thinking","content":"one","signature":"s"})"), "[]");
  EXPECT_EQ(
      said(
          R"({"part_kind":"thinking","content":"x","id":"x","signature":"s","provider_name":"anthropic"})"),
      "[]");
}

TEST(Thinking, IsNothingToChat) {
  EXPECT_EQ(
      Said("[" + Response(R"({"part_kind":"thinking","content":"hm","signature":"s","id":"i"})") +
               "]",
           AGX_OPENAI_CHAT),
      "[]");
}

TEST(UnknownParts, ArePassedOver) {
  string conversation = "[{},{\"kind\":\"later\",\"parts\":[]}," +
                        Request(R"({"part_kind":"new"},7,{})") + "," +
                        Response(R"({"part_kind":"file","content":{}},null)") + "]";
  for (agx_model_api api : kApis) EXPECT_EQ(Said(conversation, api), "[]");
}

TEST(RealConversation, GoesToEveryApi) {
  string conversation = ReadData("conversation.json");
  for (agx_model_api api : kApis) {
    string said = Said(conversation, api);
    EXPECT_THAT(said, HasSubstr("Kōchi"));
    EXPECT_THAT(said, HasSubstr("toolu_03"));
    EXPECT_THAT(said, HasSubstr("iVBORw0KGgo/+w=="));
    EXPECT_THAT(said, Not(HasSubstr("srvtoolu_01")));
    EXPECT_THAT(said, Not(HasSubstr("verdict")));
  }
  string anthropic = Said(conversation, AGX_ANTHROPIC);
  EXPECT_THAT(anthropic, HasSubstr("EqQBCkYIARgCKkDmb3JtYWw="));
  EXPECT_THAT(anthropic, HasSubstr(R"("input":{"city": "Kōchi", "unit": "°C"})"));
}

}  // namespace
}  // namespace agx::test
