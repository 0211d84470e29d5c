// How the `agx` format names its keys and writes and reads its events.
#include "format/agx_format.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/event_json.h"

namespace agx {
namespace {

using std::string;
using std::string_view;
using namespace std::string_literals;

// ---- Keys.

TEST(Keys, AreWhatTheOtherImplementationsUse) {
  EXPECT_EQ(StreamKey("agx", 1, 2, "abc"), "agx:1:2:abc");
  EXPECT_EQ(LiveKey(StreamKey("pyaix", 1, 2, "abc")), "pyaix:1:2:abc:live");
  EXPECT_EQ(MessagesKey(StreamKey("agx", 1, 2, "abc")), "agx:1:2:abc:messages");
  EXPECT_EQ(StreamKey("agx", -1, INT64_MAX, "a:b*[?]{} /é\n"),
            "agx:-1:9223372036854775807:a:b*[?]{} /é\n");
}

TEST(LivePrefix, IsWhatTheLiveKeysBeginWith) {
  EXPECT_EQ(LivePrefix("agx", 1, 2), "agx:1:2:");
  EXPECT_EQ(LivePrefix("agx", 1, AGX_ANY), "agx:1:");
  EXPECT_EQ(LivePrefix("agx", AGX_ANY, AGX_ANY), "agx:");
  EXPECT_EQ(LivePrefix("a*[b]", 1, 2), "a*[b]:1:2:") << "literally";
}

TEST(ParseLiveKey, IsTheInverse) {
  const string prefixes[] = {"agx", "a:b", "agx:1", "*", "é"};
  const int64_t numbers[] = {0, 1, -1, 42, INT64_MAX, INT64_MIN};
  const string sessions[] = {
      "s",       "a:b",    ":",    "1", "*", "?[a]", "live",
      "a:livex", ":live:", "a\nb", "/", " ", "😀",    string(AGX_SESSION_ID_MAX, 's')};
  for (const string& prefix : prefixes) {
    for (int64_t scope : numbers) {
      for (int64_t user : numbers) {
        for (const string& session : sessions) {
          string key = LiveKey(StreamKey(prefix, scope, user, session));
          int64_t parsed_scope = 7, parsed_user = 7;
          string_view parsed;
          ASSERT_TRUE(ParseLiveKey(prefix, key, &parsed_scope, &parsed_user, &parsed)) << key;
          EXPECT_EQ(parsed_scope, scope);
          EXPECT_EQ(parsed_user, user);
          EXPECT_EQ(parsed, session);
          EXPECT_TRUE(key.starts_with(LivePrefix(prefix, scope, user)));
          EXPECT_TRUE(key.ends_with(kLiveSuffix));
        }
      }
    }
  }
}

TEST(ParseLiveKey, RefusesEveryOtherKey) {
  const string keys[] = {
      "", "agx", "agx:", "agx:live", "agx::live", "agx:1:live", "agx:1:2:live", "agx:1:2::live",
      // Of another prefix, and streams.
      "bgx:1:2:s:live", "agxx:1:2:s:live", "ag:1:2:s:live", "agx1:2:s:live", "agx:1:2:s",
      "agx:1:2:s:live:", "agx:1:2:s:Live", "agx:1:2:slive",
      // Numbers that StreamKey does not write.
      "agx:x:2:s:live", "agx:1:x:s:live", "agx:01:2:s:live", "agx:1:02:s:live", "agx:-0:2:s:live",
      "agx:-01:2:s:live", "agx:+1:2:s:live", "agx: 1:2:s:live", "agx:1 :2:s:live",
      "agx:1.0:2:s:live", "agx::2:s:live", "agx:1::s:live", "agx:-:2:s:live", "agx:0x1:2:s:live",
      "agx:00:2:s:live", "agx:9223372036854775808:2:s:live", "agx:1:-9223372036854775809:s:live",
      // Sessions that no handle can be opened for.
      "agx:1:2:a:live:live", "agx:1:2:a:messages:live", "agx:1:2:a\xff:live", "agx:1:2:a\0b:live"s,
      "agx:1:2:" + string(AGX_SESSION_ID_MAX + 1, 's') + ":live"};
  for (const string& key : keys) {
    int64_t scope, user;
    string_view session;
    EXPECT_FALSE(ParseLiveKey("agx", key, &scope, &user, &session)) << key;
  }
}

// ---- What may be written.

TEST(CheckSessionId, AcceptsFreeText) {
  for (const string& id :
       {"s"s, ":"s, "a:b:c"s, "*"s, "?[a]"s, "a\nb"s, "a/b"s, "é漢😀"s, "live"s, ":live:"s, ":Live"s,
        "messages"s, "a:messages:"s, "amessages"s, string(512, 's')}) {
    EXPECT_TRUE(CheckSessionId(id.c_str()).ok()) << id;
  }
}

TEST(CheckSessionId, RefusesTheRest) {
  EXPECT_EQ(CheckSessionId(nullptr).code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId("").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId("a\xff").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId("a:live").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId(":live").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId("a:messages").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId(":messages").code(), AGX_EINVAL);
  EXPECT_EQ(CheckSessionId(string(513, 's').c_str()).code(), AGX_ETOOBIG);
  EXPECT_EQ(CheckSessionId(string(1000000, 's').c_str()).code(), AGX_ETOOBIG);
}

TEST(CheckName, TakesOneToTwoHundredAndFiftySixBytesOfUtf8) {
  EXPECT_TRUE(CheckName("type", "t").ok());
  EXPECT_TRUE(CheckName("type", "any text: é\n").ok());
  EXPECT_TRUE(CheckName("type", string(256, 't').c_str()).ok());
  EXPECT_EQ(CheckName("type", nullptr).code(), AGX_EINVAL);
  EXPECT_EQ(CheckName("type", "").code(), AGX_EINVAL);
  EXPECT_EQ(CheckName("type", "\xC3").code(), AGX_EINVAL);
  EXPECT_EQ(CheckName("type", string(257, 't').c_str()).code(), AGX_ETOOBIG);
  EXPECT_EQ(CheckName("origin", "").message(), "origin is empty");
}

agx_status BodyStatus(const string& body) {
  size_t length = 1234;
  Status status = CheckBody(body.c_str(), &length);
  EXPECT_EQ(length, status.ok() ? body.size() : 0);
  EXPECT_EQ(status.ok(), status.message().empty());
  return status.code();
}

TEST(CheckBody, TakesJsonOrNone) {
  size_t length = 1234;
  EXPECT_TRUE(CheckBody(nullptr, &length).ok());
  EXPECT_EQ(length, 0u);
  EXPECT_EQ(BodyStatus("{}"), AGX_OK);
  EXPECT_EQ(BodyStatus(" [1, \"é\"]\n"), AGX_OK);
  EXPECT_EQ(BodyStatus("null"), AGX_OK);
}

TEST(CheckBody, SaysWhatIsWrong) {
  size_t length;
  EXPECT_EQ(BodyStatus(""), AGX_EJSON);
  EXPECT_NE(CheckBody("", &length).message().find("NULL"), string::npos);
  EXPECT_EQ(BodyStatus("{\"a\":1,}"), AGX_EJSON);
  EXPECT_EQ(CheckBody("{\"a\":1,}", &length).message(),
            "body is not valid JSON at byte 7: a name in quotes is missing");
  EXPECT_EQ(BodyStatus("\"\xff\""), AGX_EJSON);
}

TEST(CheckBody, BoundsDepth) {
  EXPECT_EQ(BodyStatus(string(512, '[') + string(512, ']')), AGX_OK);
  EXPECT_EQ(BodyStatus(string(513, '[') + string(513, ']')), AGX_EJSON);
}

TEST(CheckBody, BoundsSize) {
  EXPECT_EQ(BodyStatus("\"" + string(AGX_BODY_MAX - 2, 'b') + "\""), AGX_OK);
  EXPECT_EQ(BodyStatus("\"" + string(AGX_BODY_MAX - 1, 'b') + "\""), AGX_ETOOBIG);
}

// ---- Events.

using Texts = std::vector<std::pair<string_view, string_view>>;

Texts Written(const EventFields& event) {
  Texts texts;
  NewEntry entry = event.entry();
  for (size_t i = 0; i < entry.count; ++i) {
    texts.emplace_back(entry.fields[i].name, entry.fields[i].value);
  }
  return texts;
}

TEST(MakeEvent, WritesTypeOriginAndBodyInThisOrder) {
  EXPECT_EQ(Written(MakeEvent("event", "pydantic-ai", "{}")),
            (Texts{{"type", "event"}, {"origin", "pydantic-ai"}, {"body", "{}"}}));
}

TEST(MakeEvent, LeavesOutABodyThatThereIsNone) {
  EXPECT_EQ(Written(MakeEvent("end", "opale", {})), (Texts{{"type", "end"}, {"origin", "opale"}}));
}

TEST(BeginBody, IsWhatPythonWrites) {
  EXPECT_EQ(BeginBody("abc"), R"({"session_id": "abc"})");
  EXPECT_EQ(BeginBody("a\"b\\c\n/\x7f é漢😀"),
            R"({"session_id": "a\"b\\c\n/\u007f \u00e9\u6f22\ud83d\ude00"})");
  EXPECT_TRUE(ValidateJson(BeginBody("x\"y"), 1, nullptr));
}

// An entry as a store would deliver it.
class Stored {
 public:
  Stored(std::initializer_list<Texts::value_type> texts) : batch_(Batch::Create()) {
    entry_ = batch_->Append({1, 2}, batch_->Copy("1-2"), texts.size());
    Field* field = entry_->fields;
    for (auto [name, value] : texts) *field++ = {batch_->Copy(name), batch_->Copy(value)};
    ReadEvent(entry_);
  }
  const Entry& operator*() const { return *entry_; }
  const Entry* operator->() const { return entry_; }

  string Json(agx_json_form form = AGX_JSON_FULL) const {
    string out;
    AppendEventJson(*entry_, form, &out);
    EXPECT_TRUE(ValidateJson(out, kJsonDepthLimit, nullptr)) << out;
    EXPECT_EQ(out.find_first_of("\n\r"), string::npos);
    return out;
  }

 private:
  BatchPtr batch_;
  Entry* entry_;
};

TEST(ReadEvent, FindsTheFieldsInAnyOrder) {
  Stored event{{"body", "{\"a\":1}"}, {"extra", "x"}, {"origin", "o"}, {"type", "t"}};
  EXPECT_EQ(event->type, "t");
  EXPECT_EQ(event->origin, "o");
  EXPECT_EQ(event->body, "{\"a\":1}");
}

TEST(ReadEvent, GivesAnEmptyObjectForABodyThatIsMissing) {
  Stored event{{"type", "end"}, {"origin", "o"}};
  EXPECT_EQ(event->body, "{}");
  Stored empty{{"body", ""}};
  EXPECT_EQ(empty->body, "") << "one that is there is read as it is";
}

TEST(ReadEvent, GivesEmptyTextsForOthersThatAreMissing) {
  Stored event{{"something", "else"}};
  EXPECT_EQ(event->type, "");
  EXPECT_EQ(event->origin, "");
  EXPECT_STREQ(event->type.data(), "") << "and they end with a NUL";
  EXPECT_STREQ(event->body.data(), "{}");
  Stored without_fields{};
  EXPECT_EQ(without_fields->type, "");
}

TEST(ReadEvent, TakesTheFirstOfSeveral) {
  Stored event{{"type", ""},    {"type", "b"},   {"body", "1"},
               {"origin", "x"}, {"origin", "y"}, {"body", "2"}};
  EXPECT_EQ(event->type, "");
  EXPECT_EQ(event->origin, "x");
  EXPECT_EQ(event->body, "1");
}

TEST(ReadEvent, TakesNamesExactly) {
  Stored event{
      {"Type", "a"}, {"type ", "b"}, {string_view("type\0", 5), "c"}, {"typ", "d"}, {"", "e"}};
  EXPECT_EQ(event->type, "");
}

TEST(IsEnd, LooksAtTheTypeAlone) {
  EXPECT_TRUE(IsEnd(*Stored{{"type", "end"}, {"origin", "o"}}));
  EXPECT_TRUE(IsEnd(*Stored{{"type", "end"}, {"body", "{\"a\":1}"}}));
  EXPECT_FALSE(IsEnd(*Stored{{"type", "End"}}));
  EXPECT_FALSE(IsEnd(*Stored{{"type", "end "}}));
  EXPECT_FALSE(IsEnd(*Stored{{"type", "event"}, {"body", "end"}}));
  EXPECT_FALSE(IsEnd(*Stored{}));
}

// ---- Events as JSON.

TEST(EventJson, HasTwoForms) {
  Stored event{{"type", "event"}, {"origin", "pydantic-ai"}, {"body", "{\"idx\": 0}"}};
  EXPECT_EQ(event.Json(AGX_JSON_FULL),
            R"({"id":"1-2","type":"event","origin":"pydantic-ai","body":{"idx": 0}})");
  EXPECT_EQ(event.Json(AGX_JSON_BARE),
            R"({"type":"event","origin":"pydantic-ai","body":{"idx": 0}})");
}

TEST(EventJson, PutsTheBodyOnOneLine) {
  Stored event{{"type", "t"}, {"origin", "o"}, {"body", "{\r\n\"a\\n\":\n1}\n"}};
  EXPECT_EQ(event.Json(), R"({"id":"1-2","type":"t","origin":"o","body":{  "a\n": 1} })");
}

TEST(EventJson, TurnsABodyThatIsNotJsonIntoAString) {
  struct {
    string body;
    const char* json;
  } cases[] = {
      {"", R"("")"},
      {"hello", R"("hello")"},
      {"{\"a\":1},\"type\":{", R"("{\"a\":1},\"type\":{")"},
      {"{}\n{}", R"("{}\n{}")"},
      {"\xff", "\"\uFFFD\""},
      {"NaN", R"("NaN")"},
      {"1\0"s, R"("1\u0000")"},
  };
  for (const auto& c : cases) {
    Stored event{{"type", "t"}, {"origin", "o"}, {"body", c.body}};
    EXPECT_EQ(event.Json(AGX_JSON_BARE), Cat(R"({"type":"t","origin":"o","body":)", c.json, "}"));
  }
}

TEST(EventJson, TurnsABodyThatIsNestedTooDeepIntoAString) {
  string deepest = string(512, '[') + string(512, ']');
  Stored as_json{{"body", deepest}};
  EXPECT_EQ(as_json.Json(AGX_JSON_BARE), Cat(R"({"type":"","origin":"","body":)", deepest, "}"));
  string deeper = "[" + deepest + "]";
  Stored as_string{{"body", deeper}};
  EXPECT_EQ(as_string.Json(AGX_JSON_BARE),
            Cat(R"({"type":"","origin":"","body":")", deeper, "\"}"));
}

TEST(EventJson, EscapesNames) {
  Stored event{{"type", "a\"b\n"}, {"origin", "\xff\x01é"}};
  EXPECT_EQ(event.Json(AGX_JSON_BARE),
            "{\"type\":\"a\\\"b\\n\",\"origin\":\"\uFFFD\\u0001é\",\"body\":{}}");
}

}  // namespace
}  // namespace agx
