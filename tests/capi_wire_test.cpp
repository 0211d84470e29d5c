// ctest-labels: redis threads
// What is on the wire, byte for byte: what our calls leave in the server, and what programs of other
// implementations write, played by raw commands, as our listeners see it.
#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class CapiWire : public OnRedis {
 protected:
  // The stream without its ids, as XRANGE prints it.
  std::vector<std::string> Entries() const {
    std::vector<std::string> entries;
    std::string text = Raw({"XRANGE", key_, "-", "+"});
    // [[id, [fields]], [id, [fields]]]
    for (size_t at = 0; (at = text.find(", [", at)) != std::string::npos;) {
      size_t end = text.find("]]", at);
      entries.push_back(text.substr(at + 3, end - at - 3));
      at = end + 4;  // past the next one's opening
    }
    return entries;
  }
  int64_t Ttl(const std::string& key) const { return std::stoll(Raw({"PTTL", key})); }
  void XAdd(const std::vector<std::string>& fields) const {
    std::vector<std::string> command = {"XADD", key_, "*"};
    command.insert(command.end(), fields.begin(), fields.end());
    ASSERT_THAT(Raw(command), HasSubstr("-"));
  }

  const std::string key_ = "agx:1:2:s";
  const std::string live_ = "agx:1:2:s:live";
};

// --- Ours, as others see it

TEST_F(CapiWire, StartSetsTheFlagAndAddsBegin) {
  SessionPtr session = Started(client_);
  EXPECT_THAT(Entries(), ElementsAre(R"(type, begin, origin, opale, body, {"session_id": "s"})"));
  EXPECT_EQ(Raw({"TYPE", live_}), "string");
  EXPECT_NE(Raw({"GET", live_}), "");
  EXPECT_GT(Ttl(live_), 10000);
  EXPECT_LE(Ttl(live_), 15000);
  EXPECT_EQ(Ttl(key_), -1);
  EXPECT_EQ(Raw({"DBSIZE"}), "2");
}

TEST_F(CapiWire, BeginBodiesAreEscapedAsTheReferenceDoes) {
  struct Case {
    std::string id;
    std::string body;
  };
  for (const Case& c : {Case{"a\"b\\c/d", R"({"session_id": "a\"b\\c/d"})"},
                        Case{"a\nb\tc\x01", R"({"session_id": "a\nb\tc\u0001"})"},
                        Case{"plain id", R"({"session_id": "plain id"})"}}) {
    SessionPtr session = Started(client_, c.id);
    std::string text = Raw({"XRANGE", "agx:1:2:" + c.id, "-", "+"});
    EXPECT_THAT(text, HasSubstr("body, " + c.body + "]]")) << text;
  }
}

TEST_F(CapiWire, EventsAreTheirThreeFields) {
  SessionPtr session = OpenSession(client_);
  const char* delta =
      R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"text","content_delta":"Hi"})";
  char id[AGX_ID_SIZE];
  ASSERT_EQ(agx_add(session.get(), "event", "pydantic-ai", delta, id), AGX_OK);
  ASSERT_EQ(agx_add(session.get(), "event", "pydantic-ai", nullptr, nullptr), AGX_OK);
  ASSERT_EQ(agx_add_error(session.get(), nullptr, R"({"msg": "canceled"})", nullptr), AGX_OK);
  ASSERT_EQ(agx_add_info(session.get(), "developer", " { } ", nullptr), AGX_OK);
  agx_new_event many[] = {{"event", "pydantic-ai", "1"}, {"event", "pydantic-ai", nullptr}};
  ASSERT_EQ(agx_add_many(session.get(), many, 2, nullptr, nullptr), AGX_OK);
  EXPECT_THAT(
      Entries(),
      ElementsAre(std::string("type, event, origin, pydantic-ai, body, ") + delta,
                  "type, event, origin, pydantic-ai",
                  R"(type, error, origin, opale, body, {"msg": "canceled"})",
                  "type, info, origin, developer, body,  { } ",
                  "type, event, origin, pydantic-ai, body, 1", "type, event, origin, pydantic-ai"));
  EXPECT_THAT(Raw({"XRANGE", key_, id, id}), StartsWith(std::string("[[") + id));
  EXPECT_EQ(Raw({"EXISTS", live_}), "0");
  EXPECT_EQ(Ttl(key_), -1);
}

TEST_F(CapiWire, StopAddsEndWithoutBodyAndLetsTheStreamExpire) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(Entries(), ElementsAre(R"(type, begin, origin, opale, body, {"session_id": "s"})",
                                     "type, end, origin, opale"));
  EXPECT_EQ(Raw({"EXISTS", live_}), "0");
  EXPECT_GT(Ttl(key_), 3000);
  EXPECT_LE(Ttl(key_), 5000);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Ttl(key_), -1);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  EXPECT_GT(Ttl(key_), 50000);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  ASSERT_EQ(agx_stop(session.get(), 0), AGX_OK);
  EXPECT_EQ(Raw({"DBSIZE"}), "0");
}

TEST_F(CapiWire, AStopOfWhatAnotherProgramStarted) {
  Raw({"SET", live_, "1"});
  XAdd({"type", "begin", "origin", "pydantic-ai-stream", "body", R"({"session_id": "s"})"});
  SessionPtr session = OpenSession(client_);
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_EQ(Entries().back(), "type, end, origin, opale");
  EXPECT_EQ(Raw({"EXISTS", live_}), "0");
  EXPECT_GT(Ttl(key_), 0);
}

TEST_F(CapiWire, AnEndByAnotherProgramIsTheEnd) {
  SessionPtr session = Started(client_);
  XAdd({"type", "end", "origin", "pydantic-ai-stream"});
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(Entries(),
              ElementsAre(StartsWith("type, begin"), "type, end, origin, pydantic-ai-stream"));
  EXPECT_EQ(Raw({"EXISTS", live_}), "0");
}

TEST_F(CapiWire, CancelTakesTheFlagOnly) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_cancel(OpenSession(client_).get(), nullptr), AGX_OK);
  EXPECT_EQ(Raw({"EXISTS", live_}), "0");
  EXPECT_THAT(Entries(), ElementsAre(StartsWith("type, begin")));
  EXPECT_EQ(Ttl(key_), -1);
}

TEST_F(CapiWire, ALeaseIsRenewedInTheServer) {
  agx_start_options leased = Leased(600);
  SessionPtr session = Started(client_, "s", &leased);
  int64_t lowest = 600;
  int64_t before = 600;
  int renewals = 0;
  EXPECT_TRUE(WaitUntil([&] {
    int64_t now = Ttl(live_);
    lowest = std::min(lowest, now);
    if (now > before) ++renewals;
    before = now;
    return renewals >= 4 || now < 0;
  }));
  EXPECT_GT(lowest, 0);
  EXPECT_LE(before, 600);
}

TEST_F(CapiWire, AnExpiryForAbandonedStreamsIsKeptAhead) {
  ClientPtr client = Open("expire=60000&lease=1000");
  SessionPtr session = Started(client);
  EXPECT_GT(Ttl(key_), 59000);
  EXPECT_LE(Ttl(key_), 61000);
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_LE(Ttl(key_), 5000);
}

TEST_F(CapiWire, NegativeAndLargeNumbersInKeys) {
  SessionPtr session = OpenSession(client_, "a:b", INT64_MIN + 1, INT64_MAX);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Raw({"EXISTS", "agx:-9223372036854775807:9223372036854775807:a:b",
                 "agx:-9223372036854775807:9223372036854775807:a:b:live"}),
            "2");
}

// --- Others', as we see it

TEST_F(CapiWire, ARunOfTheReferenceImplementation) {
  struct Event {
    const char* type;
    const char* origin;
    const char* body;
  };
  const std::vector<Event> run = {
      {"begin", "pydantic-ai-stream", R"({"session_id": "s"})"},
      {"event", "pydantic-ai", R"({"idx":0,"event":"llm-begin"})"},
      {"event", "pydantic-ai",
       R"({"idx":0,"event":"part_start","event_idx":0,"part_kind":"thinking","content":""})"},
      {"event", "pydantic-ai",
       R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"thinking","content_delta":"so \u2026"})"},
      {"event", "pydantic-ai",
       R"({"idx":0,"event":"part_start","event_idx":1,"part_kind":"tool-call","tool_name":"add","tool_call_id":"c1","args":{"a":1}})"},
      {"event", "pydantic-ai", R"({"idx":0,"event":"llm-end"})"},
      {"event", "pydantic-ai", R"({"idx":1,"event":"llm-begin"})"},
      {"event", "pydantic-ai",
       R"({"idx":1,"event":"part_start","part_kind":"tool-return","tool_name":"add","tool_call_id":"c1","content":2})"},
      {"event", "pydantic-ai", R"({"idx":1,"event":"answer"})"},
      {"event", "pydantic-ai", R"({"idx":1,"event":"llm-end"})"},
      {"error", "developer", R"json({"msg": "crashed - ValueError('x')"})json"},
      {"info", "developer", nullptr}};
  agx_listen_options options = Patient();
  ListenerPtr before = Listen(OpenSession(client_), options);
  Background<Told> first([&] { return Next(before, -1); });
  first.AwaitBlocked();
  ASSERT_EQ(Raw({"SET", live_, "1"}), "OK");
  EXPECT_TRUE(IsLive(OpenSession(client_)));
  for (const Event& event : run) {
    std::vector<std::string> fields = {"type", event.type, "origin", event.origin};
    if (event.body != nullptr) fields.insert(fields.end(), {"body", event.body});
    XAdd(fields);
  }
  XAdd({"type", "end", "origin", "pydantic-ai-stream"});
  Raw({"DEL", live_});
  Raw({"EXPIRE", key_, "5"});
  auto expect = [](const Told& told, const Event& event) {
    EXPECT_EQ(told.type(), event.type);
    EXPECT_EQ(told.origin(), event.origin);
    EXPECT_EQ(told.body(), event.body != nullptr ? event.body : "{}");
  };
  expect(first.Get(), run[0]);
  for (size_t i = 1; i < run.size(); ++i) expect(Next(before), run[i]);
  EXPECT_EQ(Next(before).status, AGX_ENDED);
  // Late, with the closing end, and resumed in the middle.
  options.hand_on_end = 1;
  ListenerPtr late = Listen(OpenSession(client_), options);
  std::string middle;
  for (size_t i = 0; i < run.size(); ++i) {
    Told told = Next(late);
    expect(told, run[i]);
    if (i == 4) middle = told.id();
  }
  EXPECT_EQ(Next(late).origin(), "pydantic-ai-stream");
  EXPECT_EQ(Next(late).status, AGX_ENDED);
  ListenerPtr resumed = ListenAfter(OpenSession(client_), middle.c_str());
  for (size_t i = 5; i < run.size(); ++i) expect(Next(resumed), run[i]);
  EXPECT_EQ(Next(resumed).status, AGX_ENDED);
}

TEST_F(CapiWire, FieldsInAnyOrderAndOthersBeside) {
  XAdd({"body", "[1]", "extra", "x", "origin", "o", "type", "t"});
  XAdd({"type", "t", "type", "second", "origin", "o"});
  XAdd({"unknown", "x"});
  ListenerPtr listener = Listen(OpenSession(client_));
  Told told = Next(listener);
  EXPECT_EQ(told.type() + told.origin() + told.body(), "to[1]");
  EXPECT_EQ(Next(listener).type(), "t");
  told = Next(listener);
  EXPECT_EQ(told.type() + told.origin() + told.body(), "{}");
}

TEST_F(CapiWire, AProducerThatNeverSetsAnExpiryIsLiveForEver) {
  ClientPtr client = Open("lease=200");
  Raw({"SET", live_, "1"});
  XAdd({"type", "begin", "origin", "opale", "body", R"({"session_id": "s"})"});
  ListenerPtr listener = Listen(OpenSession(client));
  EXPECT_THAT(Follow(listener, 1200), ElementsAre("begin", "AGX_TIMEOUT"));
  EXPECT_TRUE(IsLive(OpenSession(client)));
  // Adding to it leaves that as it is.
  Add(OpenSession(client), "t");
  EXPECT_EQ(Ttl(live_), -1);
  EXPECT_EQ(Ttl(key_), -1);
}

TEST_F(CapiWire, StartedAgainByAnotherProgramWithinItsGrace) {
  // It adds its begin behind the old end, under the old expiry.
  SessionPtr session = Started(client_);
  Add(session, "a");
  ListenerPtr reader = Listen(session);
  EXPECT_THAT(Follow(reader, 0), ElementsAre("begin", "a", "AGX_TIMEOUT"));
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  Raw({"SET", live_, "1"});
  XAdd({"type", "begin", "origin", "opale", "body", R"({"session_id": "s"})"});
  XAdd({"type", "b", "origin", "opale"});
  // A new reader does not stop at the old end.
  EXPECT_THAT(Follow(ListenAfter(session, "0"), 0),
              ElementsAre("begin", "a", "begin", "b", "AGX_TIMEOUT"));
  XAdd({"type", "end", "origin", "opale"});
  EXPECT_THAT(Follow(ListenAfter(session, "0")),
              ElementsAre("begin", "a", "begin", "b", "AGX_ENDED"));
}

TEST_F(CapiWire, CancelledByAnotherProgramAndEndedByItsProducer) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  EXPECT_NE(Raw({"GETDEL", live_}), "(nil)");
  ASSERT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
  ASSERT_EQ(agx_add_error(session.get(), nullptr, R"({"msg": "canceled"})", nullptr), AGX_OK);
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "error", "AGX_ENDED"));
  EXPECT_THAT(Entries(), ElementsAre(StartsWith("type, begin"),
                                     R"(type, error, origin, opale, body, {"msg": "canceled"})",
                                     "type, end, origin, opale"));
}

// A listener as the reference implementation has it: XREAD from the beginning, blocking, up to end.
TEST_F(CapiWire, AListenerOfTheReferenceImplementation) {
  SessionPtr session = OpenSession(client_);
  RespConnection reader = server_.Connect();
  reader.Send(EncodeCommand({"XREAD", "COUNT", "1", "BLOCK", "20000", "STREAMS", key_, "0"}));
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_THAT(reader.Read(),
              HasSubstr(R"([type, begin, origin, opale, body, {"session_id": "s"}])"));
  // "$" is the last that is there: begin.
  reader.Send(EncodeCommand({"XREAD", "COUNT", "1", "BLOCK", "20000", "STREAMS", key_, "$"}));
  ASSERT_TRUE(WaitUntil([&] {
    return Raw({"CLIENT", "LIST"}).find("cmd=xread") != std::string::npos &&
           Raw({"INFO", "clients"}).find("blocked_clients:1") != std::string::npos;
  }));
  std::string id = Add(session, "event", R"({"idx":0})", "pydantic-ai");
  EXPECT_EQ(reader.Read(), "[[" + key_ + ", [[" + id +
                               R"(, [type, event, origin, pydantic-ai, body, {"idx":0}]]]]])");
  reader.Send(EncodeCommand({"XREAD", "COUNT", "1", "BLOCK", "20000", "STREAMS", key_, id}));
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(reader.Read(), HasSubstr("[type, end, origin, opale]"));
}

TEST_F(CapiWire, AQueryOfTheReferenceImplementation) {
  SessionPtr session = Started(client_);
  SessionPtr other = Started(client_, "t");
  ASSERT_EQ(agx_stop(other.get(), -1), AGX_OK);
  EXPECT_EQ(Raw({"SCAN", "0", "MATCH", "agx:1:2:*:live", "COUNT", "1000"}),
            "[0, [agx:1:2:s:live]]");
}

}  // namespace
}  // namespace agx::test
