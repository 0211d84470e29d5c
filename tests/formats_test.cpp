// Entries of each framework in and out: what is read from any fields, and what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "format/event_json.h"
#include "format/format.h"

namespace agx::test {
namespace {

using ::testing::HasSubstr;

using Texts = std::vector<std::pair<std::string, std::string>>;

const Format& Find(std::string_view name) {
  Result<const Format*> format = FindFormat("the option format", name);
  EXPECT_TRUE(format.ok()) << name;
  return **format;
}

// What is read of an entry.
struct Read {
  std::string type;
  std::string origin;
  std::string body;
  Ending ending = Ending::kNone;
  bool begins = false;

  friend bool operator==(const Read&, const Read&) = default;
  friend void PrintTo(const Read& read, std::ostream* out) {
    *out << read.type << " | " << read.origin << " | " << read.body << " | "
         << static_cast<int>(read.ending) << read.begins;
  }
};

class Stored {
 public:
  explicit Stored(const Texts& texts) : batch_(Batch::Create()) {
    entry_ = batch_->Append({1, 2}, "1-2", texts.size());
    Field* field = entry_->fields;
    for (const auto& [name, value] : texts) *field++ = {batch_->Copy(name), batch_->Copy(value)};
  }
  const Entry& ReadAs(const Format& format) const {
    format.Read(entry_);
    std::string json;
    AppendEventJson(*entry_, AGX_JSON_FULL, &json);
    EXPECT_TRUE(ValidateJson(json, kJsonDepthLimit, nullptr)) << json;
    return *entry_;
  }

 private:
  BatchPtr batch_;
  Entry* entry_;
};

Read ReadOf(std::string_view format, const Texts& texts) {
  Stored stored(texts);
  const Entry& entry = stored.ReadAs(Find(format));
  for (std::string_view text : {entry.type, entry.origin, entry.body}) {
    EXPECT_EQ(*(text.data() + text.size()), '\0') << "texts end with a NUL";
  }
  return {std::string(entry.type), std::string(entry.origin), std::string(entry.body), entry.ending,
          entry.begins};
}

constexpr Stamp kStamp = {.now_ms = 1734649123007, .sequence = 5};

Texts Written(std::string_view format, const NewEvent& event) {
  EventFields fields;
  Status status = Find(format).Write(event, kStamp, &fields);
  if (!status.ok()) return {{agx_status_string(status.code()), status.message()}};
  EventFields moved = std::move(fields);
  Texts texts;
  for (size_t i = 0; i < moved.count; ++i) {
    texts.emplace_back(moved.fields[i].name, moved.fields[i].value);
  }
  return texts;
}

std::string Chunk(const std::string& text) {
  return R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"text","content_delta":)" +
         text + "}";
}

TEST(Formats, AreFoundByTheirNames) {
  for (const char* name : {"agx", "openai-agents", "agent-framework", "ag2"}) {
    EXPECT_EQ(Find(name).name(), name);
  }
  Result<const Format*> none = FindFormat("the option format", "AGX");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), AGX_EINVAL);
  EXPECT_THAT(
      none.status().message(),
      HasSubstr("the option format is to be one of agx, openai-agents, agent-framework, ag2"));
}

TEST(Formats, SecondsAreAsPythonPrintsThem) {
  const struct {
    int64_t ms;
    const char* text;
  } cases[] = {{0, "0.000"}, {7, "0.007"}, {1734649123500, "1734649123.500"}};
  for (const auto& c : cases) EXPECT_EQ(UnixSeconds(c.ms), c.text);
}

// ---- agx

struct ReadCase {
  const char* what;
  Texts fields;
  Read read;
};

TEST(Agx, ReadsEntriesOfOtherFormats) {
  const ReadCase cases[] = {
      {"openai-agents",
       {{"type", "token"}, {"timestamp", "1734649123.5"}, {"data", R"({"token": "Hi"})"}},
       {"token", "", "{}"}},
      {"agent-framework",
       {{"text", ""}, {"sequence", "2"}, {"timestamp", "1"}, {"done", "true"}},
       {"", "", "{}"}},
      {"ag2", {{"element", R"({"__type__": "a.B"})"}}, {"", "", "{}"}},
  };
  for (const ReadCase& c : cases) EXPECT_EQ(ReadOf("agx", c.fields), c.read) << c.what;
}

// ---- openai-agents

TEST(OpenAiAgents, ReadsWhateverIsThere) {
  const ReadCase cases[] = {
      {"a token",
       {{"type", "token"}, {"timestamp", "1734649123.5"}, {"data", R"({"token": "Hi"})"}},
       {"token", "openai-agents", R"({"token": "Hi"})"}},
      {"metadata of its own",
       {{"type", "t"}, {"data", "{}"}, {"metadata", R"({"trace": 1})"}},
       {"t", "openai-agents", "{}"}},
      {"metadata with an origin",
       {{"type", "t"}, {"data", "{}"}, {"metadata", R"({"origin": "caf\u00e9"})"}},
       {"t", "café", "{}"}},
      {"an origin that is no string",
       {{"type", "t"}, {"metadata", R"({"origin": 1})"}},
       {"t", "openai-agents", "{}"}},
      {"metadata that is not JSON",
       {{"type", "t"}, {"metadata", R"({"origin": "x")"}},
       {"t", "openai-agents", "{}"}},
      {"no type", {{"data", "1"}}, {"", "openai-agents", "1"}},
      {"data that is not JSON", {{"type", "t"}, {"data", "{'a'"}}, {"t", "openai-agents", "{'a'"}},
      {"empty fields", {{"type", ""}, {"data", ""}, {"metadata", ""}}, {"", "openai-agents", ""}},
      {"fields twice: the first counts",
       {{"type", "a"}, {"type", "b"}, {"data", "1"}, {"data", "2"}},
       {"a", "openai-agents", "1"}},
      {"a timestamp that is no number",
       {{"type", "t"}, {"timestamp", "yesterday"}},
       {"t", "openai-agents", "{}"}},
      {"an end, which this format has none of",
       {{"type", "end"}, {"data", "{}"}},
       {"end", "openai-agents", "{}"}},
      {"an entry of the agx format",
       {{"type", "event"}, {"origin", "pydantic-ai"}, {"body", "1"}},
       {"event", "openai-agents", "{}"}},
      {"an entry of agent-framework", {{"text", "Hi"}, {"sequence", "0"}}, {"", "", "{}"}},
      {"unknown fields", {{"", ""}, {"x", "y"}}, {"", "", "{}"}},
      {"nothing", {}, {"", "", "{}"}},
  };
  for (const ReadCase& c : cases) EXPECT_EQ(ReadOf("openai-agents", c.fields), c.read) << c.what;
}

TEST(OpenAiAgents, WritesTypeTimestampDataAndTheOrigin) {
  EXPECT_EQ(
      Written("openai-agents", {"token", "openai-agents", R"({"token":"Hi"})"}),
      (Texts{{"type", "token"}, {"timestamp", "1734649123.007"}, {"data", R"({"token":"Hi"})"}}));
  EXPECT_EQ(Written("openai-agents", {"event", "a\"b", {}}),
            (Texts{{"type", "event"},
                   {"timestamp", "1734649123.007"},
                   {"data", "{}"},
                   {"metadata", R"({"origin": "a\"b"})"}}));
}

TEST(OpenAiAgents, GivesBackWhatItWrote) {
  for (const NewEvent& event :
       {NewEvent{"event", "pydantic-ai", R"({"idx":0})"},
        NewEvent{"complete", "openai-agents", "[]"}, NewEvent{"é", "\t", "null"}}) {
    Read read = ReadOf("openai-agents", Written("openai-agents", event));
    EXPECT_EQ(read,
              (Read{std::string(event.type), std::string(event.origin), std::string(event.body)}));
  }
}

// ---- agent-framework

TEST(AgentFramework, ReadsWhateverIsThere) {
  const ReadCase cases[] = {
      {"the first chunk",
       {{"text", "Hi"}, {"sequence", "0"}, {"timestamp", "1734649123007"}},
       {"event", "agent-framework", Chunk("\"Hi\""), Ending::kNone, true}},
      {"the first chunk once more, from the dead letters",
       {{"text", "Hi"}, {"sequence", "0"}, {"replayed_from_dlq", "5-1"}},
       {"event", "agent-framework", Chunk("\"Hi\""), Ending::kNone, false}},
      {"another",
       {{"text", "a\"\n\xff"}, {"sequence", "1"}, {"timestamp", "x"}},
       {"event", "agent-framework", Chunk("\"a\\\"\\n\uFFFD\"")}},
      {"completion",
       {{"text", ""}, {"sequence", "2"}, {"timestamp", "1"}, {"done", "true"}},
       {"end", "agent-framework", "{}", Ending::kMark}},
      {"a failure",
       {{"error", "it broke"}},
       {"error", "agent-framework", R"({"msg": "it broke"})", Ending::kEvent}},
      {"a failure that is done: readers look at the error first",
       {{"text", ""}, {"done", "true"}, {"error", "e"}},
       {"error", "agent-framework", R"({"msg": "e"})", Ending::kEvent}},
      {"an empty error is none",
       {{"text", "Hi"}, {"error", ""}},
       {"event", "agent-framework", Chunk("\"Hi\"")}},
      {"done is \"true\" and nothing else",
       {{"text", ""}, {"done", "True"}},
       {"event", "agent-framework", Chunk("\"\"")}},
      {"fields twice: the first counts",
       {{"text", "a"}, {"text", "b"}, {"done", "false"}, {"done", "true"}},
       {"event", "agent-framework", Chunk("\"a\"")}},
      {"a sequence that is no number",
       {{"text", "a"}, {"sequence", "zero"}},
       {"event", "agent-framework", Chunk("\"a\"")}},
      {"a timestamp that is no number, and unknown fields",
       {{"role", "user"}, {"text", "a"}, {"timestamp", "yesterday"}, {"", ""}},
       {"event", "agent-framework", Chunk("\"a\"")}},
      {"empty fields",
       {{"text", ""}, {"sequence", ""}, {"timestamp", ""}, {"done", ""}, {"error", ""}},
       {"event", "agent-framework", Chunk("\"\"")}},
      {"an error twice: the first counts",
       {{"error", "a"}, {"error", "b"}},
       {"error", "agent-framework", R"({"msg": "a"})", Ending::kEvent}},
      {"an element of ag2", {{"element", R"({"__type__": "a.B"})"}}, {"", "", "{}"}},
      {"an entry of the agx format", {{"type", "end"}, {"origin", "opale"}}, {"", "", "{}"}},
      {"an entry of openai-agents", {{"type", "token"}, {"data", "{}"}}, {"", "", "{}"}},
      {"nothing", {}, {"", "", "{}"}},
  };
  for (const ReadCase& c : cases) EXPECT_EQ(ReadOf("agent-framework", c.fields), c.read) << c.what;
}

Texts AgentEntry(const std::string& text, const Texts& more = {}) {
  Texts texts = {{"text", text}, {"sequence", "5"}, {"timestamp", "1734649123007"}};
  texts.insert(texts.end(), more.begin(), more.end());
  return texts;
}

TEST(AgentFramework, WritesWhatAddsToTheAnswersText) {
  for (const char* body :
       {R"({"text": "Hi"})",
        R"({"event":"part_delta","part_delta_kind":"text","content_delta":"Hi"})",
        R"({"event":"part_start","part_kind":"text","content":"\u0048i"})"}) {
    EXPECT_EQ(Written("agent-framework", {"event", "o", body}), AgentEntry("Hi")) << body;
  }
  EXPECT_EQ(Written("agent-framework", {"end", "o", {}}), AgentEntry("", {{"done", "true"}}));
  EXPECT_EQ(Written("agent-framework", {"error", "o", R"({"msg": "no"})"}),
            AgentEntry("", {{"error", "no"}}));
  EXPECT_EQ(Written("agent-framework", {"error", "o", R"({"a":1})"}),
            AgentEntry("", {{"error", R"({"a":1})"}}));
  EXPECT_EQ(Written("agent-framework", {"error", "o", {}}), AgentEntry("", {{"error", "error"}}))
      << "an empty one would be none";
}

TEST(AgentFramework, RefusesWhatItCannotHold) {
  for (const NewEvent& event :
       {NewEvent{"event", "o", R"({"event":"llm-begin"})"}, NewEvent{"event", "o", R"({"text":1})"},
        NewEvent{"event", "o", R"({"event":"part_delta","part_delta_kind":"thinking"})"},
        NewEvent{"event", "o", "[]"}, NewEvent{"event", "o", {}}, NewEvent{"info", "o", "{}"},
        NewEvent{"begin", "o", {}}}) {
    Texts refused = Written("agent-framework", event);
    ASSERT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused[0].first, "AGX_EUNSUPPORTED");
    EXPECT_THAT(refused[0].second, HasSubstr("agent-framework holds text alone"));
  }
}

TEST(AgentFramework, GivesBackTheChunkThatItWrote) {
  std::string body = Chunk(R"("é\n")");
  EXPECT_EQ(ReadOf("agent-framework", Written("agent-framework", {"event", "o", body})),
            (Read{"event", "agent-framework", body}));
}

// ---- ag2

Texts Element(const std::string& text) { return {{"element", text}}; }

TEST(Ag2, ReadsWhateverIsThere) {
  const std::string nested = std::string(513, '[') + std::string(513, ']');
  struct {
    const char* what;
    std::string element;
    std::string type;
  } cases[] = {
      {"an event", R"({"__type__": "autogen.beta.events.ToolCallEvent", "name": "f"})",
       "autogen.beta.events.ToolCallEvent"},
      {"an escaped type", R"({"a": 1, "__type__": "m\u002eC"})", "m.C"},
      {"a type twice: the last counts, as in Python", R"({"__type__": "a.B", "__type__": "a.C"})",
       "a.C"},
      {"as newer versions write it", R"({"__event__": "ag2.events.types.ModelMessage", "n": 1})",
       "ag2.events.types.ModelMessage"},
      {"both names: the old one counts", R"({"__event__": "a.B", "__type__": "a.C"})", "a.C"},
      {"a new name that is no string", R"({"__event__": ["a.B"]})", ""},
      {"the new name further in", R"({"content": {"__event__": "a.B"}})", ""},
      {"no type", R"({"name": "f"})", ""},
      {"a type that is no string", R"({"__type__": 1})", ""},
      {"a type that is none", R"({"__type__": null})", ""},
      {"an empty object", "{}", ""},
      {"an array", R"(["__type__"])", ""},
      {"not JSON", R"({"__type__": "a.B")", ""},
      {"what Python writes of a NaN", R"({"__type__": "a.B", "x": NaN})", "a.B"},
      {"and of what is without end", R"({"x": [Infinity, -Infinity], "__type__": "a.B"})", "a.B"},
      {"what it does not write", R"({"__type__": "a.B", "x": -NaN})", ""},
      {"nor this", R"({"__type__": "a.B", "x": Infinite})", ""},
      {"not UTF-8", "{\"__type__\": \"\xff\"}", ""},
      {"nested too deep", nested, ""},
      {"empty", "", ""},
      {"text", "hello", ""},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ReadOf("ag2", Element(c.element)), (Read{c.type, "ag2", c.element})) << c.what;
  }
  EXPECT_EQ(ReadOf("ag2", {{"type", "event"}}), (Read{"", "", "{}"})) << "no element at all";
}

TEST(Ag2, RefusesAPickle) {
  for (const char* pickle : {"\x80\x04\x95", "\x80"}) {
    Stored stored(Element(pickle));
    const Entry& entry = stored.ReadAs(Find("ag2"));
    ASSERT_NE(entry.refusal, nullptr);
    EXPECT_THAT(entry.refusal, HasSubstr("PICKLE"));
    EXPECT_THAT(entry.refusal, HasSubstr("Serializer.JSON"));
  }
  Stored json(Element("{}"));
  EXPECT_EQ(json.ReadAs(Find("ag2")).refusal, nullptr);
}

TEST(Ag2, WritesTheTypeIntoTheBody) {
  struct {
    std::string_view body;
    const char* element;
  } cases[] = {
      {R"({"content": "Hi"})", R"({"__type__": "my.Event", "content": "Hi"})"},
      {" { \"a\":1 } ", R"({"__type__": "my.Event", "a":1 })"},
      {"{}", R"({"__type__": "my.Event"})"},
      {"{ }", R"({"__type__": "my.Event"})"},
      {{}, R"({"__type__": "my.Event"})"},
      {R"({"x":1,"__type__":"my.Event"})", R"({"x":1,"__type__":"my.Event"})"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Written("ag2", {"my.Event", "o", c.body}), Element(c.element)) << c.body;
    EXPECT_TRUE(ValidateJson(c.element, 10, nullptr));
  }
}

TEST(Ag2, NamesTheTypeAsTheVersionThatHasTheClassReadsIt) {
  struct {
    const char* type;
    std::string_view body;
    const char* element;
  } cases[] = {
      {"ag2.events.types.ModelMessage", R"({"content": "Hi"})",
       R"({"__event__": "ag2.events.types.ModelMessage", "content": "Hi"})"},
      {"ag2.A", {}, R"({"__event__": "ag2.A"})"},
      {"ag2.A", R"({"__type__": "ag2.A"})", R"({"__type__": "ag2.A"})"},
      {"ag2x.A", {}, R"({"__type__": "ag2x.A"})"},
      {"autogen.beta.events.A", {}, R"({"__type__": "autogen.beta.events.A"})"},
      {"my.Event", R"({"__event__": "my.Event", "n": 1})", R"({"__event__": "my.Event", "n": 1})"},
      {"mon_app.événements.Réponse", "{}", R"({"__type__": "mon_app.événements.Réponse"})"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(Written("ag2", {c.type, "o", c.body}), Element(c.element)) << c.type;
    EXPECT_EQ(ReadOf("ag2", Element(c.element)), (Read{c.type, "ag2", c.element}));
  }
}

TEST(Ag2, RefusesWhatAg2CouldNotRead) {
  for (const char* type :
       {"event", "exception", ".a", "a.", "a..b", "a b.c", "a.b\n", "a.1B", "1a.B", "a.1.B"}) {
    EXPECT_EQ(Written("ag2", {type, "o", "{}"})[0].first, "AGX_EUNSUPPORTED") << type;
  }
  for (const char* body : {"[]", "1", "null", R"({"__type__": "my.Other"})", R"({"__type__": 1})",
                           R"({"__event__": "my.Other"})", R"({"__event__": null})"}) {
    EXPECT_EQ(Written("ag2", {"my.Event", "o", body})[0].first, "AGX_EUNSUPPORTED") << body;
  }
  EXPECT_THAT(Written("ag2", {"event", "o", {}})[0].second, HasSubstr("Python class's path"));
}

TEST(Ag2, GivesBackWhatItWrote) {
  const char* element = R"({"__type__": "my.Event", "content": {"__type__": "my.Part"}})";
  Read read = ReadOf("ag2", Element(element));
  EXPECT_EQ(read, (Read{"my.Event", "ag2", element}));
  EXPECT_EQ(Written("ag2", {read.type, read.origin, read.body}), Element(element));
}

}  // namespace
}  // namespace agx::test
