// ctest-labels: redis threads
// ctest-timeout: 180
// A session's conversation: kept in a store, in a file, or by the caller.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "support/capi_tools.h"
#include "support/data.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using std::string;
using ::testing::AnyOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const char kHello[] =
    R"([{"kind":"request","parts":[{"part_kind":"user-prompt","content":"hello"}]}])";
const char kResponse[] = R"({"kind":"response","parts":[{"part_kind":"text","content":"hi"}]})";

MessagesPtr Parse(const string& json) {
  agx_messages* messages = nullptr;
  EXPECT_EQ(agx_messages_parse(json.data(), json.size(), &messages), AGX_OK);
  return MessagesPtr(messages);
}

agx_status ParseStatus(const string& json) {
  agx_messages* messages = nullptr;
  agx_status status = agx_messages_parse(json.data(), json.size(), &messages);
  EXPECT_EQ(messages != nullptr, status == AGX_OK);
  agx_messages_close(messages);
  return status;
}

MessagesPtr MessagesOf(const SessionPtr& session) {
  agx_messages* messages = nullptr;
  EXPECT_EQ(agx_messages_open(session.get(), &messages), AGX_OK);
  return MessagesPtr(messages);
}

MessagesPtr MessagesIn(const string& path) {
  agx_messages* messages = nullptr;
  EXPECT_EQ(agx_messages_open_file(path.c_str(), &messages), AGX_OK);
  return MessagesPtr(messages);
}

agx_status Load(const MessagesPtr& messages) { return agx_messages_load(messages.get()); }
agx_status Save(const MessagesPtr& messages) { return agx_messages_save(messages.get()); }
agx_status Append(const MessagesPtr& messages, const string& json) {
  return agx_messages_append(messages.get(), json.data(), json.size());
}
agx_status Say(const MessagesPtr& messages, const string& text) {
  return agx_messages_append_user(messages.get(), text.c_str());
}

string Json(const MessagesPtr& messages) {
  const char* json = nullptr;
  size_t length = 0;
  EXPECT_EQ(agx_messages_json(messages.get(), &json, &length), AGX_OK);
  if (json == nullptr) return "";
  EXPECT_EQ(json[length], '\0');
  return {json, length};
}

// The text, or the status's name; JSON is marked.
string Field(const MessagesPtr& messages, size_t message, const char* name) {
  const char* text = "x";
  size_t length = 7;
  int is_json = 7;
  agx_status status = agx_messages_field(messages.get(), message, name, &text, &length, &is_json);
  if (status != AGX_OK) {
    EXPECT_EQ(text, nullptr);
    EXPECT_EQ(length, 0u);
    return agx_status_string(status);
  }
  EXPECT_EQ(text[length], '\0');
  return (is_json != 0 ? "json " : "") + string(text, length);
}

string PartField(const MessagesPtr& messages, size_t message, size_t part, const char* name) {
  const char* text = "x";
  size_t length = 7;
  int is_json = 7;
  agx_status status =
      agx_messages_part_field(messages.get(), message, part, name, &text, &length, &is_json);
  if (status != AGX_OK) return agx_status_string(status);
  return (is_json != 0 ? "json " : "") + string(text, length);
}

// ---- What is held.

TEST(Messages, ArePassedThroughByteForByte) {
  for (const string& json :
       {ReadData("conversation.json"), string(" [ { \"a\":1,\"a\":1e999 } ]\n"), string("[]"),
        string(kHello)}) {
    EXPECT_EQ(Json(Parse(json)), json);
  }
}

TEST(Messages, OfNothingAreAnEmptyConversation) {
  agx_messages* raw = nullptr;
  ASSERT_EQ(agx_messages_parse(nullptr, 0, &raw), AGX_OK);
  MessagesPtr messages(raw);
  EXPECT_EQ(Json(messages), "[]");
  EXPECT_EQ(agx_messages_count(raw), 0u);
  EXPECT_EQ(Load(messages), AGX_OK) << "has no place, and does nothing";
  EXPECT_EQ(Save(messages), AGX_OK);
}

TEST(Messages, ThatAreNoneAreRefused) {
  for (const char* json : {"", " ", "{}", "[", "[1]", "null", "[{}]x", "[{\"a\":\"\xff\"}]"}) {
    EXPECT_EQ(ParseStatus(json), AGX_EJSON) << json;
  }
  EXPECT_EQ(ParseStatus("[{},]"), AGX_EJSON);
  EXPECT_THAT(agx_last_error(), HasSubstr("byte 4"));
  EXPECT_EQ(ParseStatus("[" + string(AGX_DEPTH_MAX, '[') + string(AGX_DEPTH_MAX, ']') + "]"),
            AGX_EJSON);
  EXPECT_EQ(ParseStatus("[" + string(AGX_BODY_MAX - 2, ' ') + "]"), AGX_OK);
  EXPECT_EQ(ParseStatus("[" + string(AGX_BODY_MAX - 1, ' ') + "]"), AGX_ETOOBIG);
}

TEST(Messages, AreReadFieldByField) {
  MessagesPtr messages = Parse(ReadData("conversation.json"));
  EXPECT_EQ(agx_messages_count(messages.get()), 6u);
  EXPECT_EQ(agx_messages_part_count(messages.get(), 1), 4u);
  EXPECT_EQ(agx_messages_part_count(messages.get(), 6), 0u);
  EXPECT_EQ(Field(messages, 0, "kind"), "request");
  EXPECT_EQ(Field(messages, 1, "model_name"), "claude-sonnet-4-5");
  EXPECT_EQ(Field(messages, 1, "metadata"), "json null");
  EXPECT_EQ(Field(messages, 1, "continuation"), R"(json {"of":null,"weights":[0.1,1e-09,-0.0]})");
  EXPECT_EQ(Field(messages, 1, "no such"), "AGX_NONE");
  EXPECT_EQ(Field(messages, 6, "kind"), "AGX_NONE");
  EXPECT_EQ(PartField(messages, 1, 2, "tool_name"), "weather");
  EXPECT_EQ(PartField(messages, 1, 2, "args"), R"({"city": "Kōchi", "unit": "°C"})");
  EXPECT_EQ(PartField(messages, 1, 3, "args"), R"(json {"city":"Nice","days":1})");
  EXPECT_EQ(PartField(messages, 1, 4, "args"), "AGX_NONE");
  EXPECT_EQ(PartField(messages, 1, 0, "nope"), "AGX_NONE");
  EXPECT_EQ(PartField(messages, 9, 0, "args"), "AGX_NONE");
}

TEST(Messages, GiveOneTextForOneField) {
  MessagesPtr messages = Parse(kHello);
  const char* first = nullptr;
  const char* again = nullptr;
  const char* other = nullptr;
  ASSERT_EQ(agx_messages_part_field(messages.get(), 0, 0, "content", &first, nullptr, nullptr),
            AGX_OK);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(agx_messages_field(messages.get(), 0, "kind", &other, nullptr, nullptr), AGX_OK);
  }
  ASSERT_EQ(agx_messages_part_field(messages.get(), 0, 0, "content", &again, nullptr, nullptr),
            AGX_OK);
  EXPECT_EQ(first, again) << "or asking often would fill the memory";
  EXPECT_STREQ(first, "hello");
  EXPECT_STREQ(other, "request");
}

TEST(Messages, AreAppendedTo) {
  MessagesPtr messages = Parse("[]");
  ASSERT_EQ(agx_messages_append_system(messages.get(), "Be kind."), AGX_OK);
  ASSERT_EQ(Say(messages, "Hé?"), AGX_OK);
  EXPECT_EQ(agx_messages_count(messages.get()), 1u);
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  ASSERT_EQ(agx_messages_append_tool_return(messages.get(), "t", "c1", " {\"a\": 1} "), AGX_OK);
  ASSERT_EQ(agx_messages_append_tool_return(messages.get(), "t", "c2", nullptr), AGX_OK);
  ASSERT_EQ(agx_messages_append_retry(messages.get(), "t", "c3", "no"), AGX_OK);
  ASSERT_EQ(agx_messages_append_retry(messages.get(), nullptr, nullptr, "again"), AGX_OK);
  EXPECT_EQ(agx_messages_count(messages.get()), 3u);
  EXPECT_EQ(agx_messages_part_count(messages.get(), 0), 2u);
  EXPECT_EQ(PartField(messages, 0, 0, "part_kind"), "system-prompt");
  EXPECT_EQ(PartField(messages, 0, 1, "content"), "Hé?");
  EXPECT_EQ(PartField(messages, 0, 1, "timestamp").size(),
            PartField(messages, 2, 0, "timestamp").size());
  EXPECT_EQ(Field(messages, 1, "kind"), "response");
  EXPECT_EQ(agx_messages_part_count(messages.get(), 2), 4u);
  EXPECT_EQ(PartField(messages, 2, 0, "content"), "json {\"a\": 1}");
  EXPECT_EQ(PartField(messages, 2, 1, "content"), "json null");
  EXPECT_EQ(PartField(messages, 2, 2, "tool_name"), "t");
  EXPECT_EQ(PartField(messages, 2, 3, "tool_name"), "json null");
  EXPECT_THAT(PartField(messages, 2, 3, "tool_call_id"), StartsWith("pyd_ai_"))
      << "pydantic-ai wants one";
  EXPECT_EQ(ParseStatus(Json(messages)), AGX_OK);
}

TEST(Messages, AreAsTheyWereAfterWhatWasRefused) {
  MessagesPtr messages = Parse(kHello);
  EXPECT_EQ(Append(messages, "{}"), AGX_EJSON);
  EXPECT_EQ(Append(messages, "[{\"kind\":\"request\",\"parts\":[]},{}]"), AGX_EJSON);
  EXPECT_EQ(agx_messages_append(messages.get(), nullptr, 0), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_system(messages.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_user(messages.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_tool_return(messages.get(), "t", "c", "{"), AGX_EJSON);
  EXPECT_EQ(agx_messages_append_tool_return(messages.get(), "t", "c", ""), AGX_EJSON);
  EXPECT_EQ(agx_messages_append_tool_return(messages.get(), nullptr, "c", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_tool_return(messages.get(), "t", nullptr, "1"), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_retry(messages.get(), "t", nullptr, "x"), AGX_EINVAL);
  EXPECT_EQ(agx_messages_append_retry(messages.get(), "t", "c", nullptr), AGX_EINVAL);
  string deep = string(AGX_DEPTH_MAX - 3, '[') + string(AGX_DEPTH_MAX - 3, ']');
  EXPECT_EQ(agx_messages_append_tool_return(messages.get(), "t", "c", deep.c_str()), AGX_EJSON);
  EXPECT_EQ(Json(messages), kHello);
}

TEST(Messages, HaveATitle) {
  auto title = [](const MessagesPtr& messages) {
    const char* text = nullptr;
    size_t length = 0;
    EXPECT_EQ(agx_messages_title(messages.get(), &text, &length), AGX_OK);
    return string(text, length);
  };
  EXPECT_EQ(title(Parse(kHello)), "hello");
  EXPECT_EQ(title(Parse("[]")), "No title");
  EXPECT_EQ(title(Parse(R"([{"parts":[{"part_kind":"user-prompt","content":["hello"]}]}])")),
            "No title");
  MessagesPtr messages = Parse("[]");
  ASSERT_EQ(Say(messages, "later"), AGX_OK);
  EXPECT_EQ(title(messages), "later");
}

TEST(Messages, HaveNodesAndRequestsThatFollowChanges) {
  MessagesPtr messages = Parse(kHello);
  const char* json = nullptr;
  size_t length = 0;
  ASSERT_EQ(agx_messages_nodes(messages.get(), &json, &length), AGX_OK);
  EXPECT_STREQ(json, "[]");
  const char* request = nullptr;
  const char* again = nullptr;
  ASSERT_EQ(
      agx_messages_request(messages.get(), AGX_ANTHROPIC, "{\"model\":\"m\"}", &request, &length),
      AGX_OK);
  ASSERT_EQ(agx_messages_request(messages.get(), AGX_OPENAI_CHAT, nullptr, &again, nullptr),
            AGX_OK);
  EXPECT_EQ(
      string(request, length),
      R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}],)"
      R"("stream":true})");
  EXPECT_EQ(agx_messages_request(messages.get(), AGX_ANTHROPIC, "[]", &again, &length), AGX_EJSON);
  EXPECT_EQ(again, nullptr);
  EXPECT_EQ(length, 0u);
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  ASSERT_EQ(agx_messages_nodes(messages.get(), &json, nullptr), AGX_OK);
  EXPECT_STREQ(
      json,
      R"([{"kind":null,"parts":[{"part_kind":"user-prompt","content":"hello","signature":null},)"
      R"({"part_kind":"text","content":"hi","signature":null}]}])");
  ASSERT_EQ(
      agx_messages_request(messages.get(), AGX_ANTHROPIC, "{\"model\":\"m\"}", &request, &length),
      AGX_OK);
  EXPECT_THAT(request, HasSubstr("assistant"));
}

TEST(Messages, RefuseWhatIsNoHandleAndNoRoom) {
  const char* text = nullptr;
  size_t length = 7;
  agx_messages* none = nullptr;
  agx_messages* closed = Parse(kHello).release();
  agx_messages_close(closed);
  agx_messages_close(closed);
  agx_messages_close(nullptr);
  for (agx_messages* handle : {none, closed, reinterpret_cast<agx_messages*>(&length)}) {
    agx_status expected = handle == nullptr ? AGX_EINVAL : AGX_ECLOSED;
    EXPECT_EQ(agx_messages_load(handle), expected);
    EXPECT_EQ(agx_messages_save(handle), expected);
    EXPECT_EQ(agx_messages_json(handle, &text, &length), expected);
    EXPECT_EQ(agx_messages_count(handle), 0u);
    EXPECT_EQ(agx_messages_part_count(handle, 0), 0u);
    EXPECT_EQ(agx_messages_field(handle, 0, "kind", &text, &length, nullptr), expected);
    EXPECT_EQ(agx_messages_part_field(handle, 0, 0, "kind", &text, &length, nullptr), expected);
    EXPECT_EQ(agx_messages_append(handle, kResponse, sizeof(kResponse) - 1), expected);
    EXPECT_EQ(agx_messages_append_user(handle, "x"), expected);
    EXPECT_EQ(agx_messages_title(handle, &text, &length), expected);
    EXPECT_EQ(agx_messages_nodes(handle, &text, &length), expected);
    EXPECT_EQ(agx_messages_request(handle, AGX_ANTHROPIC, nullptr, &text, &length), expected);
  }
  MessagesPtr messages = Parse(kHello);
  agx_messages* raw = messages.get();
  EXPECT_EQ(agx_messages_parse("[]", 2, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open(nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open(nullptr, &none), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open_file("x", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open_file(nullptr, &none), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open_file("", &none), AGX_EINVAL);
  EXPECT_EQ(agx_messages_open_file("/no-such-directory/talk.json", &none), AGX_ESYSTEM);
  EXPECT_THAT(agx_last_error(), HasSubstr("/no-such-directory/"));
  EXPECT_THAT(agx_last_error(), HasSubstr("make it first"));
  EXPECT_EQ(agx_messages_open_file("/dev/null/talk.json", &none), AGX_ESYSTEM);
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(agx_messages_open_custom(nullptr, nullptr, nullptr, &none), AGX_EINVAL);
  EXPECT_EQ(agx_messages_json(raw, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_field(raw, 0, nullptr, &text, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_field(raw, 0, "kind", nullptr, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_part_field(raw, 0, 0, nullptr, &text, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_title(raw, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_nodes(raw, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_request(raw, AGX_ANTHROPIC, nullptr, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_messages_request(raw, static_cast<agx_model_api>(0), nullptr, &text, nullptr),
            AGX_EINVAL);
  EXPECT_EQ(agx_messages_loaded(nullptr, "[]", 2), AGX_EINVAL);
}

TEST(Messages, MayBeUsedByManyThreads) {
  MessagesPtr messages = Parse("[]");
  InThreads(8, [&](int i) {
    for (int n = 0; n < 50; ++n) {
      const char* json = nullptr;
      EXPECT_EQ(i % 2 == 0 ? Say(messages, "x") : Append(messages, kResponse), AGX_OK);
      EXPECT_EQ(agx_messages_nodes(messages.get(), &json, nullptr), AGX_OK);
      EXPECT_EQ(agx_messages_request(messages.get(), AGX_OPENAI_CHAT, nullptr, &json, nullptr),
                AGX_OK);
      EXPECT_GT(agx_messages_count(messages.get()), 0u);
    }
  });
  EXPECT_EQ(ParseStatus(Json(messages)), AGX_OK);
}

// ---- In a store.

class StoredMessages : public OnEachStore {};

TEST_P(StoredMessages, AreEmptyUntilSomeAreSaved) {
  SessionPtr session = OpenSession(client_);
  MessagesPtr messages = MessagesOf(session);
  EXPECT_EQ(Json(messages), "[]");
  EXPECT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), "[]");
}

TEST_P(StoredMessages, ComeBackByteForByte) {
  string json = ReadData("conversation.json");
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  ASSERT_EQ(Append(messages, json), AGX_OK);
  EXPECT_EQ(Json(messages), json);
  ASSERT_EQ(Save(messages), AGX_OK);
  MessagesPtr other = MessagesOf(OpenSession(other_));
  ASSERT_EQ(Load(other), AGX_OK);
  EXPECT_EQ(Json(other), json);
  ASSERT_EQ(Save(other), AGX_OK);
  MessagesPtr elsewhere = MessagesOf(OpenSession(client_, "other"));
  ASSERT_EQ(Load(elsewhere), AGX_OK);
  EXPECT_EQ(Json(elsewhere), "[]");
}

TEST_P(StoredMessages, AreNotWrittenOverWhatSomebodyElseSaved) {
  MessagesPtr first = MessagesOf(OpenSession(client_));
  MessagesPtr second = MessagesOf(OpenSession(other_));
  ASSERT_EQ(Append(first, kHello), AGX_OK);
  ASSERT_EQ(Save(first), AGX_OK);
  ASSERT_EQ(Say(second, "mine"), AGX_OK);
  EXPECT_EQ(Save(second), AGX_ECONFLICT) << "it loaded nothing, and there is something";
  string mine = Json(second);
  ASSERT_EQ(Load(second), AGX_OK);
  EXPECT_EQ(Json(second), kHello);
  EXPECT_NE(Json(second), mine);

  ASSERT_EQ(Append(first, kResponse), AGX_OK);
  ASSERT_EQ(Save(first), AGX_OK) << "it knows what it saved last";
  ASSERT_EQ(Say(second, "more"), AGX_OK);
  EXPECT_EQ(Save(second), AGX_ECONFLICT);
  EXPECT_THAT(agx_last_error(), HasSubstr(":messages"));
  EXPECT_EQ(Save(second), AGX_ECONFLICT) << "still";
  ASSERT_EQ(Load(second), AGX_OK);
  EXPECT_THAT(Json(second), EndsWith(string(kResponse) + "]"));
  ASSERT_EQ(Say(second, "more"), AGX_OK);
  EXPECT_EQ(Save(second), AGX_OK);
}

TEST_P(StoredMessages, OfManyWhoSaveAtOnceEachLosesNothing) {
  constexpr int kWriters = 6;
  constexpr int kEach = 5;
  InThreads(kWriters, [&](int i) {
    MessagesPtr messages = MessagesOf(OpenSession(i % 2 == 0 ? client_ : other_));
    for (int n = 0; n < kEach;) {
      ASSERT_EQ(Load(messages), AGX_OK);
      ASSERT_EQ(Append(messages, kResponse), AGX_OK);
      agx_status status = Save(messages);
      ASSERT_TRUE(status == AGX_OK || status == AGX_ECONFLICT) << agx_last_error();
      if (status == AGX_OK) ++n;
    }
  });
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(agx_messages_count(messages.get()), size_t{kWriters * kEach})
      << "though all add the same";
  EXPECT_EQ(ParseStatus(Json(messages)), AGX_OK);
}

TEST_P(StoredMessages, OutliveTheirSessionsHandleButNotTheClient) {
  SessionPtr session = OpenSession(client_);
  MessagesPtr messages = MessagesOf(session);
  session.reset();
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_OK);
  client_.reset();
  EXPECT_EQ(Save(messages), AGX_ECLOSED);
  EXPECT_EQ(Load(messages), AGX_ECLOSED);
  EXPECT_EQ(Json(messages), kHello) << "what is held can still be read";
}

TEST_P(StoredMessages, LeaveTheSessionAlone) {
  SessionPtr session = Started(client_);
  MessagesPtr messages = MessagesOf(session);
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  ASSERT_EQ(agx_stop(session.get(), 0), AGX_OK);
  EXPECT_FALSE(IsLive(session));
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), kHello) << "which is kept between runs";
}

AGX_ON_EACH_STORE(StoredMessages);

class RedisMessages : public OnRedis {
 protected:
  static constexpr const char* kKey = "agx:1:2:s:messages";
};

TEST_F(RedisMessages, AreAStringKeyWithoutExpiry) {
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(Raw({"GET", kKey}), kHello);
  EXPECT_EQ(Raw({"PTTL", kKey}), "-1");
}

TEST_F(RedisMessages, OfAnotherProgramAreReadAndNotOverwritten) {
  Raw({"SET", kKey, kHello});
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), kHello);
  Raw({"SET", kKey, "[{}]"});
  ASSERT_EQ(Say(messages, "x"), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_ECONFLICT);
  EXPECT_EQ(Raw({"GET", kKey}), "[{}]");
  Raw({"DEL", kKey});
  EXPECT_EQ(Save(messages), AGX_ECONFLICT) << "what it loaded is not there any more";
  EXPECT_EQ(Raw({"EXISTS", kKey}), "0");
}

TEST_F(RedisMessages, ThatCannotBeReadLeaveTheHandleAsItWas) {
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  for (const char* json : {"", "nonsense", "{}", "[", "[1]"}) {
    Raw({"SET", kKey, json});
    EXPECT_EQ(Load(messages), AGX_EJSON) << json;
    EXPECT_EQ(Json(messages), kHello);
    EXPECT_EQ(Save(messages), AGX_ECONFLICT) << "and is not overwritten";
    EXPECT_EQ(Raw({"GET", kKey}), json);
  }
}

TEST_F(RedisMessages, TellOfAKeyOfAnotherType) {
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  Raw({"LPUSH", kKey, "x"});
  EXPECT_EQ(Load(messages), AGX_ETYPE);
  EXPECT_THAT(agx_last_error(), HasSubstr(kKey));
  EXPECT_EQ(Save(messages), AGX_ETYPE);
  EXPECT_EQ(Raw({"LLEN", kKey}), "1");
}

TEST_F(RedisMessages, AreTooBigForTheHandleNotForTheStore) {
  MessagesPtr messages = MessagesOf(OpenSession(client_));
  string text = "[{\"a\":\"" + string(AGX_BODY_MAX - 10, 'x') + "\"}]";
  ASSERT_EQ(text.size(), size_t{AGX_BODY_MAX});
  ASSERT_EQ(ParseStatus(text), AGX_OK);
  Raw({"SET", kKey, text});
  EXPECT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_OK);
  Raw({"APPEND", kKey, " "});
  EXPECT_EQ(Load(messages), AGX_ETOOBIG);
  EXPECT_EQ(Json(messages).size(), size_t{AGX_BODY_MAX});
}

TEST_F(RedisMessages, AreSavedOnceThoughTheReplyIsLost) {
  FaultProxy proxy(server_.port());
  ClientPtr client = OpenClient(proxy.url());
  MessagesPtr messages = MessagesOf(OpenSession(client));
  ASSERT_EQ(Load(messages), AGX_OK);
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  proxy.CutAfterReplyBytes(0);
  EXPECT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(proxy.cuts(), 1);
  EXPECT_EQ(Raw({"GET", kKey}), kHello);
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_OK) << "it knows what it saved";
}

TEST_F(RedisMessages, ThatMayHaveBeenSavedCanBeSavedAgain) {
  FaultProxy proxy(server_.port());
  ClientPtr client = OpenClient(proxy.url() + "?reconnect_timeout=-1");
  MessagesPtr messages = MessagesOf(OpenSession(client));
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  proxy.CutAfterReplyBytes(0);
  proxy.RefuseConnections(true);
  EXPECT_EQ(Save(messages), AGX_EUNCERTAIN);
  EXPECT_EQ(Raw({"GET", kKey}), kHello) << "it was";
  proxy.RefuseConnections(false);
  EXPECT_EQ(Save(messages), AGX_OK) << "and is no conflict";
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  proxy.CutAfterReplyBytes(0);
  proxy.RefuseConnections(true);
  EXPECT_EQ(Save(messages), AGX_EUNCERTAIN);
  Raw({"SET", kKey, "[{}]"});
  proxy.RefuseConnections(false);
  EXPECT_EQ(Save(messages), AGX_ECONFLICT) << "but what another wrote since is one";
}

TEST_F(RedisMessages, AreNeverThereByHalf) {
  string whole = ReadData("conversation.json");
  Raw({"SET", kKey, kHello});
  FaultProxy proxy(server_.port());
  for (uint64_t cut = 0; cut < whole.size() + 1200; cut += 400) {
    ClientPtr client = OpenClient(proxy.url() + "?reconnect_timeout=-1");
    MessagesPtr messages = MessagesOf(OpenSession(client));
    ASSERT_EQ(Load(messages), AGX_OK);
    ASSERT_EQ(Append(messages, whole), AGX_OK);
    string before = Raw({"GET", kKey});
    proxy.CutAfterRequestBytes(cut);
    Save(messages);
    EXPECT_THAT(Raw({"GET", kKey}), AnyOf(before, Json(messages)));
    Raw({"SET", kKey, kHello});
  }
}

// ---- In a file.

class MessagesFile : public testing::Test {
 protected:
  MessagesFile() {
    string name = (std::filesystem::temp_directory_path() / "agx-messages-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
    path_ = directory_ + "/conversation.json";
  }
  ~MessagesFile() override { std::filesystem::remove_all(directory_); }

  static void Write(const string& path, const string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  std::vector<string> Files() const {
    std::vector<string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }
  static mode_t ModeOf(const string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0);
    return info.st_mode & 07777;
  }

  string directory_;
  string path_;
};

TEST_F(MessagesFile, ThatIsNotThereIsAnEmptyConversation) {
  MessagesPtr messages = MessagesIn(path_);
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), "[]");
  EXPECT_TRUE(Files().empty());
}

TEST_F(MessagesFile, HoldsTheConversationByteForByteAndNothingLiesBesideIt) {
  string json = ReadData("conversation.json");
  MessagesPtr messages = MessagesIn(path_);
  ASSERT_EQ(Append(messages, json), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(ReadWholeFile(path_), json);
  EXPECT_THAT(Files(), testing::ElementsAre("conversation.json"));
  MessagesPtr other = MessagesIn(path_);
  ASSERT_EQ(Load(other), AGX_OK);
  EXPECT_EQ(Json(other), json);
  ASSERT_EQ(Append(other, kResponse), AGX_OK);
  ASSERT_EQ(Save(other), AGX_OK);
  EXPECT_EQ(ReadWholeFile(path_), Json(other));
}

TEST_F(MessagesFile, IsNotOverwrittenIfSomebodyElseChangedIt) {
  MessagesPtr messages = MessagesIn(path_);
  Write(path_, kHello);
  ASSERT_EQ(Append(messages, "[]"), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_ECONFLICT) << "it was not there";
  ASSERT_EQ(Load(messages), AGX_OK);
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  Write(path_, "[{}]");
  EXPECT_EQ(Save(messages), AGX_ECONFLICT);
  EXPECT_THAT(agx_last_error(), HasSubstr(path_));
  EXPECT_EQ(ReadWholeFile(path_), "[{}]");
  std::filesystem::remove(path_);
  EXPECT_EQ(Save(messages), AGX_ECONFLICT) << "what it loaded is not there any more";
  EXPECT_TRUE(Files().empty());
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(ReadWholeFile(path_), "[]");
  Write(path_, string(100000, ' '));
  EXPECT_EQ(Save(messages), AGX_ECONFLICT);
}

TEST_F(MessagesFile, TakesTurns) {
  {
    MessagesPtr messages = MessagesIn(path_);
    ASSERT_EQ(Save(messages), AGX_OK);
  }
  constexpr int kWriters = 4;
  constexpr int kEach = 10;
  InThreads(kWriters, [&](int) {
    MessagesPtr messages = MessagesIn(path_);
    for (int n = 0; n < kEach;) {
      ASSERT_EQ(Load(messages), AGX_OK) << agx_last_error();
      ASSERT_EQ(Append(messages, kResponse), AGX_OK);
      agx_status status = Save(messages);
      ASSERT_TRUE(status == AGX_OK || status == AGX_ECONFLICT) << agx_last_error();
      if (status == AGX_OK) ++n;
    }
  });
  MessagesPtr messages = MessagesIn(path_);
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(agx_messages_count(messages.get()), size_t{kWriters * kEach});
  EXPECT_THAT(Files(), testing::ElementsAre("conversation.json"));
}

TEST_F(MessagesFile, KeepsItsMode) {
  Write(path_, "[]");
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  MessagesPtr messages = MessagesIn(path_);
  ASSERT_EQ(Load(messages), AGX_OK);
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(ModeOf(path_), 0640u);
  mode_t before = umask(027);
  MessagesPtr fresh = MessagesIn(directory_ + "/fresh.json");
  EXPECT_EQ(Save(fresh), AGX_OK);
  umask(before);
  EXPECT_EQ(ModeOf(directory_ + "/fresh.json"), 0640u) << "a new one is as the process makes files";
}

TEST_F(MessagesFile, IsFoundThroughLinks) {
  std::filesystem::create_directory(directory_ + "/real");
  string target = directory_ + "/real/target.json";
  ASSERT_EQ(symlink("real/target.json", path_.c_str()), 0);
  MessagesPtr messages = MessagesIn(path_);
  ASSERT_EQ(Load(messages), AGX_OK) << "its target is not there yet";
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK) << agx_last_error();
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(ReadWholeFile(target), kHello);
  ASSERT_EQ(Append(messages, kResponse), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(ReadWholeFile(target), Json(messages));
  string loop = directory_ + "/loop";
  ASSERT_EQ(symlink("loop", loop.c_str()), 0);
  agx_messages* lost = nullptr;
  EXPECT_EQ(agx_messages_open_file(loop.c_str(), &lost), AGX_ESYSTEM);
}

TEST_F(MessagesFile, ThatCannotBeSaysWhy) {
  std::filesystem::create_directory(directory_ + "/none");
  MessagesPtr messages = MessagesIn(directory_ + "/none/conversation.json");
  std::filesystem::remove(directory_ + "/none");
  EXPECT_EQ(Load(messages), AGX_OK) << "there is none";
  EXPECT_EQ(Save(messages), AGX_ESYSTEM);
  EXPECT_THAT(agx_last_error(), HasSubstr(directory_ + "/none"));
  EXPECT_THAT(agx_last_error(), HasSubstr(std::strerror(ENOENT)));
  MessagesPtr directory = MessagesIn(directory_);
  EXPECT_EQ(Load(directory), AGX_ESYSTEM);
  EXPECT_EQ(Save(directory), AGX_ESYSTEM);
  string pipe = directory_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(Load(MessagesIn(pipe)), AGX_ESYSTEM) << "and it does not wait for a writer";
  Write(path_, "[1]");
  MessagesPtr broken = MessagesIn(path_);
  ASSERT_EQ(Append(broken, kHello), AGX_OK);
  EXPECT_EQ(Load(broken), AGX_EJSON);
  EXPECT_EQ(Json(broken), kHello);
  EXPECT_EQ(Save(broken), AGX_ECONFLICT);
}

TEST_F(MessagesFile, StaysTheSameAfterAChdir) {
  string before = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  MessagesPtr messages = MessagesIn("conversation.json");
  std::filesystem::current_path(before);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(ReadWholeFile(path_), "[]");
}

// ---- By the caller.

struct Keeper {
  std::optional<string> kept;
  agx_status load = AGX_OK;
  agx_status save = AGX_OK;
  int times = 1;
  agx_status told = AGX_OK;  // by agx_messages_loaded, the last time
  agx_messages* self = nullptr;

  static agx_status Load(void* data, agx_messages_sink* sink) {
    auto* keeper = static_cast<Keeper*>(data);
    for (int i = 0; keeper->kept && i < keeper->times; ++i) {
      keeper->told = agx_messages_loaded(sink, keeper->kept->data(), keeper->kept->size());
    }
    if (keeper->self != nullptr) keeper->told = agx_messages_save(keeper->self);
    return keeper->load;
  }
  static agx_status Save(void* data, const char* json, size_t length) {
    auto* keeper = static_cast<Keeper*>(data);
    EXPECT_EQ(json[length], '\0');
    if (keeper->save == AGX_OK) keeper->kept = string(json, length);
    return keeper->save;
  }
  MessagesPtr Open() {
    agx_messages* messages = nullptr;
    EXPECT_EQ(agx_messages_open_custom(Load, Save, this, &messages), AGX_OK);
    return MessagesPtr(messages);
  }
};

TEST(CustomMessages, AreWhatTheFunctionsKeep) {
  Keeper keeper;
  MessagesPtr messages = keeper.Open();
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), "[]");
  ASSERT_EQ(Append(messages, kHello), AGX_OK);
  ASSERT_EQ(Save(messages), AGX_OK);
  EXPECT_EQ(keeper.kept, kHello);
  keeper.kept = " [{}]";
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), " [{}]");
  keeper.kept.reset();
  ASSERT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(Json(messages), "[]") << "nothing is kept any more";
}

TEST(CustomMessages, PassOnWhatTheFunctionsReturn) {
  Keeper keeper;
  keeper.kept = kHello;
  MessagesPtr messages = keeper.Open();
  keeper.load = AGX_EDENIED;
  EXPECT_EQ(Load(messages), AGX_EDENIED);
  EXPECT_THAT(agx_last_error(), HasSubstr("AGX_EDENIED"));
  EXPECT_EQ(Json(messages), "[]");
  keeper.save = AGX_ECONFLICT;
  EXPECT_EQ(Save(messages), AGX_ECONFLICT);
  keeper.load = AGX_OK;
  keeper.kept = "nonsense";
  EXPECT_EQ(Load(messages), AGX_EJSON);
  keeper.kept = string(size_t{AGX_BODY_MAX} + 1, ' ');
  keeper.load = AGX_ETOOBIG;
  EXPECT_EQ(Load(messages), AGX_ETOOBIG);
  EXPECT_EQ(keeper.told, AGX_ETOOBIG);
  EXPECT_THAT(agx_last_error(), HasSubstr("bytes"));
}

TEST(CustomMessages, AreLoadedOnceAtATime) {
  Keeper keeper;
  keeper.kept = kHello;
  keeper.times = 2;
  MessagesPtr messages = keeper.Open();
  EXPECT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(keeper.told, AGX_EINVAL);
  EXPECT_EQ(Json(messages), kHello) << "the first counts";
  keeper.times = 1;
  keeper.self = messages.get();
  EXPECT_EQ(Load(messages), AGX_OK);
  EXPECT_EQ(keeper.told, AGX_EBUSY) << "and not for ever";
}

}  // namespace
}  // namespace agx::test
