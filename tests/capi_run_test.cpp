// ctest-labels: redis threads
// ctest-timeout: 120
// Runs through the C API: the entries that they write, and how they end.
#include <algorithm>
#include <thread>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Texts = std::vector<std::string>;

agx_run_options Coalescing(int64_t ms, int64_t bytes = 0) {
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.coalesce_ms = ms;
  options.coalesce_bytes = bytes;
  return options;
}

// "type origin body" of all that is there, without `begin`.
Texts Entries(const SessionPtr& session) {
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  Texts texts;
  for (;;) {
    Told told = Next(listener, 0);
    if (told.status != AGX_OK) return texts;
    if (told.type() != "begin")
      texts.push_back(told.type() + " " + told.origin() + " " + told.body());
  }
}

std::string Event(const std::string& body) { return "event pydantic-ai " + body; }
const char kEnd[] = "end opale {}";
const char kCanceled[] = R"(error opale {"msg": "canceled"})";
const char kNodeBegin[] = R"({"idx":0,"event":"llm-begin"})";
const char kNodeEnd[] = R"({"idx":0,"event":"llm-end"})";

// Until the session's end, as a listener sees it.
void AwaitEnd(const SessionPtr& session) { EXPECT_EQ(Follow(Listen(session)).back(), "AGX_ENDED"); }

class CapiRun : public OnEachStore {
 protected:
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiRun);

TEST_P(CapiRun, WritesWhatTheReferenceImplementationsWrite) {
  RunPtr run = BeginRun(session_);
  agx_run* r = run.get();
  int thinking = -1;
  int paris = -1;
  int rome = -1;
  const char* response = nullptr;
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_THINKING, "Two", &thinking), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, thinking, " cities."), AGX_OK);
  ASSERT_EQ(agx_run_tool_call_begin(r, "weather", "call_1", "", &paris), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, paris, "{\"city\": "), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, paris, "\"Paris\"}"), AGX_OK);
  ASSERT_EQ(agx_run_tool_call_begin(r, "weather", "call_2", "{\"city\":", &rome), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, AGX_LAST_PART, " \"Rome\"}"), AGX_OK);
  ASSERT_EQ(agx_run_node_end(r, &response, nullptr), AGX_OK);
  EXPECT_THAT(response, HasSubstr(R"("part_kind":"tool-call")"));
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_run_tool_return(r, "weather", "call_1", "\"sunny\""), AGX_OK);
  ASSERT_EQ(agx_run_tool_return(r, "weather", "call_2", "{\"sky\": \"grey\"}"), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "Go to", nullptr), AGX_OK);
  ASSERT_EQ(agx_run_answer(r), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, AGX_LAST_PART, " Paris \xF0\x9F\x8C\x9E"), AGX_OK);
  ASSERT_EQ(agx_run_node_end(r, nullptr, nullptr), AGX_OK);
  ASSERT_EQ(agx_run_finish(r), AGX_OK);
  EXPECT_EQ(thinking, 0);
  EXPECT_EQ(paris, 1);
  EXPECT_EQ(rome, 2);
  EXPECT_FALSE(IsLive(session_));
  EXPECT_THAT(
      Entries(session_),
      ElementsAre(
          Event(R"({"idx":0,"event":"llm-begin"})"),
          Event(
              R"({"idx":0,"event":"part_start","event_idx":0,"part_kind":"thinking","content":"Two"})"),
          Event(
              R"({"idx":0,"event":"part_delta","event_idx":0,"part_delta_kind":"thinking","content_delta":" cities."})"),
          Event(
              R"({"idx":0,"event":"part_start","event_idx":1,"part_kind":"tool-call","tool_name":"weather","tool_call_id":"call_1","args":{"city":"Paris"}})"),
          Event(
              R"({"idx":0,"event":"part_start","event_idx":2,"part_kind":"tool-call","tool_name":"weather","tool_call_id":"call_2","args":{"city":"Rome"}})"),
          Event(R"({"idx":0,"event":"llm-end"})"), Event(R"({"idx":1,"event":"llm-begin"})"),
          Event(
              R"({"idx":1,"event":"part_start","part_kind":"tool-return","tool_name":"weather","tool_call_id":"call_1","content":"sunny"})"),
          Event(
              R"({"idx":1,"event":"part_start","part_kind":"tool-return","tool_name":"weather","tool_call_id":"call_2","content":{"sky":"grey"}})"),
          Event(
              R"({"idx":1,"event":"part_start","event_idx":0,"part_kind":"text","content":"Go to"})"),
          Event(R"({"idx":1,"event":"answer"})"),
          Event("{\"idx\":1,\"event\":\"part_delta\",\"event_idx\":0,\"part_delta_kind\":\"text\","
                "\"content_delta\":\" Paris \xF0\x9F\x8C\x9E\"}"),
          Event(R"({"idx":1,"event":"llm-end"})"), kEnd));
}

TEST_P(CapiRun, IsSeenWhileItRuns) {
  ListenerPtr listener = Listen(OpenSession(other_));
  RunPtr run = BeginRun(session_);
  EXPECT_EQ(Next(listener).type(), "begin");
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  EXPECT_EQ(Next(listener).body(), kNodeBegin);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_THAT(Next(listener).body(), HasSubstr(R"("content":"a")"));
  ASSERT_EQ(agx_run_part_delta(run.get(), 0, "b"), AGX_OK);
  EXPECT_THAT(Next(listener).body(), HasSubstr(R"("content_delta":"b")"));
}

TEST_P(CapiRun, CallsThatDoNotFitWriteNothing) {
  RunPtr run = BeginRun(session_);
  agx_run* r = run.get();
  int part = 7;
  EXPECT_EQ(agx_run_node_end(r, nullptr, nullptr), AGX_ESTATE);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", &part), AGX_ESTATE);
  EXPECT_EQ(part, -1);
  EXPECT_EQ(agx_run_tool_call_begin(r, "t", "c", "", &part), AGX_ESTATE);
  EXPECT_EQ(agx_run_part_delta(r, 0, "x"), AGX_ESTATE);
  EXPECT_EQ(agx_run_part_end(r, 0), AGX_ESTATE);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", "1"), AGX_ESTATE);
  EXPECT_EQ(agx_run_answer(r), AGX_ESTATE);
  EXPECT_EQ(agx_run_feed_end(r, nullptr, nullptr), AGX_ESTATE);
  EXPECT_THAT(Entries(session_), IsEmpty());
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  EXPECT_EQ(agx_run_node_begin(r), AGX_ESTATE);
  EXPECT_EQ(agx_run_answer(r), AGX_ESTATE);
  EXPECT_EQ(agx_run_part_delta(r, AGX_LAST_PART, "x"), AGX_ESTATE);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", &part), AGX_OK);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", "1"), AGX_ESTATE);
  for (int unknown : {-2, 1, 100, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(agx_run_part_delta(r, unknown, "x"), AGX_ESTATE) << unknown;
    EXPECT_EQ(agx_run_part_end(r, unknown), AGX_ESTATE) << unknown;
  }
  ASSERT_EQ(agx_run_part_end(r, part), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(r, part, "x"), AGX_ESTATE);
  EXPECT_THAT(Entries(session_), SizeIs(2));
  ASSERT_EQ(agx_run_finish(r), AGX_OK);
  Texts at_end = Entries(session_);
  EXPECT_EQ(agx_run_finish(r), AGX_ESTATE);
  EXPECT_EQ(agx_run_fail(r, "x"), AGX_ESTATE);
  EXPECT_EQ(agx_run_node_begin(r), AGX_ESTATE);
  EXPECT_EQ(agx_run_flush(r), AGX_ESTATE);
  run.reset();
  EXPECT_EQ(Entries(session_), at_end);
}

TEST_P(CapiRun, ArgumentsThatAreNoJsonAreKeptAsText) {
  RunPtr run = BeginRun(session_);
  agx_run* r = run.get();
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  for (const char* args : {"{\"a\": \"b\n", "", "{}{\"a\":1}", "{ \"a b\" : [1, \"\\\" x\"] }"}) {
    ASSERT_EQ(agx_run_tool_call_begin(r, "t", "c", args, nullptr), AGX_OK);
    ASSERT_EQ(agx_run_part_end(r, AGX_LAST_PART), AGX_OK);
  }
  ASSERT_EQ(agx_run_finish(r), AGX_OK);
  Texts entries = Entries(session_);
  ASSERT_THAT(entries, SizeIs(7));
  EXPECT_THAT(entries[1], HasSubstr(R"("args":"{\"a\": \"b\n"})"));
  EXPECT_THAT(entries[2], HasSubstr(R"("args":{}})"));
  EXPECT_THAT(entries[3], HasSubstr(R"("args":"{}{\"a\":1}"})"));
  EXPECT_THAT(entries[4], HasSubstr(R"("args":{"a b":[1,"\" x"]}})"));
}

TEST_P(CapiRun, AToolCallWithoutAnIdGetsOne) {
  RunPtr run = BeginRun(session_);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_tool_call_begin(run.get(), "t", nullptr, "{}", nullptr), AGX_OK);
  const char* response = nullptr;
  ASSERT_EQ(agx_run_node_end(run.get(), &response, nullptr), AGX_OK);
  std::string written = Entries(session_)[1];
  size_t at = written.find("\"tool_call_id\":\"");
  ASSERT_NE(at, std::string::npos);
  std::string id = written.substr(at, written.find('"', at + 16) - at);
  EXPECT_GT(id.size(), 20U);
  EXPECT_THAT(response, HasSubstr(id));
}

// What a run leaves open is closed, in every way to end one.
TEST_P(CapiRun, LeavesNothingHalfWritten) {
  auto open_all = [](agx_run* r) {
    ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
    ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "a", nullptr), AGX_OK);
    ASSERT_EQ(agx_run_tool_call_begin(r, "t", "c", "{\"a\"", nullptr), AGX_OK);
  };
  auto expected = [](Texts last) {
    Texts all = {
        Event(kNodeBegin),
        Event(R"({"idx":0,"event":"part_start","event_idx":0,"part_kind":"text","content":"a"})"),
        Event(
            R"({"idx":0,"event":"part_start","event_idx":1,"part_kind":"tool-call","tool_name":"t","tool_call_id":"c","args":"{\"a\""})"),
        Event(kNodeEnd)};
    all.insert(all.end(), last.begin(), last.end());
    return all;
  };
  RunPtr run = BeginRun(session_);
  open_all(run.get());
  ASSERT_EQ(agx_run_finish(run.get()), AGX_OK);
  EXPECT_EQ(Entries(session_), expected({kEnd}));

  run.reset();
  run = BeginRun(session_);
  open_all(run.get());
  ASSERT_EQ(agx_run_fail(run.get(), "no \"luck\" \xC3\xA9"), AGX_OK);
  EXPECT_EQ(Entries(session_),
            expected({R"(error opale {"msg": "crashed - no \"luck\" \u00e9"})", kEnd}));

  run.reset();
  run = BeginRun(session_);
  open_all(run.get());
  run.reset();
  EXPECT_EQ(Entries(session_),
            expected({R"(error opale {"msg": "crashed - the run was abandoned"})", kEnd}));

  run = BeginRun(session_);
  open_all(run.get());
  ASSERT_EQ(agx_cancel(session_.get(), nullptr), AGX_OK);
  AwaitEnd(session_);
  EXPECT_EQ(Entries(session_), expected({kCanceled, kEnd}));
}

TEST_P(CapiRun, TheOlderOriginsAreThoseOfTheOlderImplementation) {
  agx_start_options start = AGX_START_OPTIONS_INIT;
  start.origin = "pydantic-ai-stream";
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.start = &start;
  options.origin = "other";
  RunPtr run = BeginRun(session_, &options);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_fail(run.get(), nullptr), AGX_OK);
  EXPECT_THAT(Entries(session_), ElementsAre(R"(event other {"idx":0,"event":"llm-begin"})",
                                             R"(event other {"idx":0,"event":"llm-end"})",
                                             R"(error developer {"msg": "crashed - unknown"})",
                                             "end pydantic-ai-stream {}"));
}

// --- Cancels

TEST_P(CapiRun, ACancelEndsItOnceAndEveryCallSaysSo) {
  RunPtr run = BeginRun(session_);
  agx_run* r = run.get();
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_cancel(OpenSession(other_).get(), nullptr), AGX_OK);
  ASSERT_EQ(agx_wait_canceled(session_.get(), kPatienceMs), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", nullptr), AGX_CANCELED);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "x", nullptr), AGX_CANCELED);
  EXPECT_EQ(agx_run_part_delta(r, 0, "x"), AGX_CANCELED);
  EXPECT_EQ(agx_run_node_begin(r), AGX_CANCELED);
  EXPECT_EQ(agx_run_node_end(r, nullptr, nullptr), AGX_CANCELED);
  EXPECT_EQ(agx_run_feed(r, AGX_OPENAI_CHAT, "data: {}\n\n", 10), AGX_CANCELED);
  EXPECT_EQ(agx_run_flush(r), AGX_CANCELED);
  EXPECT_EQ(agx_run_fail(r, "x"), AGX_CANCELED);
  EXPECT_EQ(agx_run_finish(r), AGX_CANCELED);
  run.reset();
  EXPECT_THAT(Entries(session_), ElementsAre(Event(kNodeBegin), Event(kNodeEnd), kCanceled, kEnd));
}

// The agent sits in a tool and calls nothing.
TEST_P(CapiRun, ACancelEndsItWithoutTheAgent) {
  RunPtr run = BeginRun(session_);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ListenerPtr listener = Listen(OpenSession(other_));
  ASSERT_EQ(agx_cancel(OpenSession(other_).get(), nullptr), AGX_OK);
  EXPECT_EQ(Follow(listener), (Texts{"begin", "event", "event", "error", "AGX_ENDED"}));
  EXPECT_EQ(agx_run_node_end(run.get(), nullptr, nullptr), AGX_CANCELED);
}

// However a cancel and the end of a run meet: if the cancel found the session live, the run says
// that it was cancelled; if not, it ended as it wanted.
TEST_P(CapiRun, ACancelThatWasTakenIsNeverForgotten) {
  for (int i = 0; i < 50; ++i) {
    SessionPtr session = OpenSession(client_, "race " + std::to_string(i));
    SessionPtr canceler = OpenSession(other_, "race " + std::to_string(i));
    RunPtr run = BeginRun(session);
    int was_live = -1;
    agx_status finished = AGX_OK;
    InThreads(2, [&](int thread) {
      if (thread == 0) {
        EXPECT_EQ(agx_cancel(canceler.get(), &was_live), AGX_OK);
      } else {
        finished = agx_run_finish(run.get());
      }
    });
    EXPECT_EQ(finished, was_live == 1 ? AGX_CANCELED : AGX_OK);
    EXPECT_EQ(Entries(session), was_live == 1 ? (Texts{kCanceled, kEnd}) : Texts{kEnd});
  }
}

TEST_P(CapiRun, ManyThreadsAndACancelLeaveOneEnd) {
  RunPtr run = BeginRun(session_);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "", nullptr), AGX_OK);
  std::atomic<int> grown{0};
  InThreads(4, [&](int thread) {
    if (thread == 0) {
      EXPECT_TRUE(WaitUntil([&] { return grown > 50; }));
      EXPECT_EQ(agx_cancel(session_.get(), nullptr), AGX_OK);
      return;
    }
    agx_status status = AGX_OK;
    while (status == AGX_OK) {
      status = agx_run_part_delta(run.get(), 0, "x");
      if (status == AGX_OK) ++grown;
    }
    EXPECT_EQ(status, AGX_CANCELED);
  });
  AwaitEnd(session_);
  Texts entries = Entries(session_);
  EXPECT_EQ(std::count(entries.begin(), entries.end(), kCanceled), 1);
  EXPECT_EQ(std::count(entries.begin(), entries.end(), kEnd), 1);
  EXPECT_EQ(entries.back(), kEnd);
  EXPECT_EQ(entries[entries.size() - 2], kCanceled);
  EXPECT_EQ(entries[entries.size() - 3], Event(kNodeEnd));
}

TEST_P(CapiRun, OneThatWasTakenOverWritesNothingMore) {
  RunPtr run = BeginRun(session_);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  SessionPtr other = OpenSession(other_);
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(agx_start(other.get(), &take_over), AGX_OK);
  EXPECT_EQ(agx_wait_canceled(session_.get(), kPatienceMs), AGX_TAKEN_OVER);
  EXPECT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "x", nullptr), AGX_TAKEN_OVER);
  EXPECT_EQ(agx_run_fail(run.get(), "x"), AGX_TAKEN_OVER);
  EXPECT_EQ(agx_run_finish(run.get()), AGX_TAKEN_OVER);
  run.reset();
  EXPECT_THAT(Entries(session_), ElementsAre(Event(kNodeBegin)));
  EXPECT_TRUE(IsLive(other));
}

// --- Coalescing

TEST_P(CapiRun, AWindowGathersTheGrowthOfAPart) {
  agx_run_options options = Coalescing(60000);
  RunPtr run = BeginRun(session_, &options);
  agx_run* r = run.get();
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_THINKING, "1", nullptr), AGX_OK);
  for (const char* text : {"2", "3", "4"}) ASSERT_EQ(agx_run_part_delta(r, 0, text), AGX_OK);
  EXPECT_THAT(Entries(session_), SizeIs(2));
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "5", nullptr), AGX_OK);
  for (const char* text : {"6", "7"}) ASSERT_EQ(agx_run_part_delta(r, 1, text), AGX_OK);
  ASSERT_EQ(agx_run_flush(r), AGX_OK);
  ASSERT_EQ(agx_run_flush(r), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(r, 1, "8"), AGX_OK);
  ASSERT_EQ(agx_run_finish(r), AGX_OK);
  Texts entries = Entries(session_);
  ASSERT_THAT(entries, SizeIs(8));
  EXPECT_THAT(entries[2], HasSubstr(R"("part_delta_kind":"thinking","content_delta":"234")"));
  EXPECT_THAT(entries[3], HasSubstr(R"("content":"5")"));
  EXPECT_THAT(entries[4],
              HasSubstr(R"("event_idx":1,"part_delta_kind":"text","content_delta":"67")"));
  EXPECT_THAT(entries[5], HasSubstr(R"("content_delta":"8")"));
}

TEST_P(CapiRun, AWindowEndsByItself) {
  agx_run_options options = Coalescing(20);
  RunPtr run = BeginRun(session_, &options);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "", nullptr), AGX_OK);
  ListenerPtr listener = ListenAfter(OpenSession(other_), "new");
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(agx_run_part_delta(run.get(), 0, "x"), AGX_OK);
    EXPECT_THAT(Next(listener).body(), HasSubstr("content_delta\":\"x"));
  }
}

TEST_P(CapiRun, AWindowEndsWhenItHasSoManyBytes) {
  agx_run_options options = Coalescing(60000, 10);
  RunPtr run = BeginRun(session_, &options);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "", nullptr), AGX_OK);
  for (int i = 0; i < 8; ++i) ASSERT_EQ(agx_run_part_delta(run.get(), 0, "abcd"), AGX_OK);
  Texts entries = Entries(session_);
  ASSERT_THAT(entries, SizeIs(4));
  EXPECT_THAT(entries[2], HasSubstr("\"abcdabcdabcd\""));
  EXPECT_THAT(entries[3], HasSubstr("\"abcdabcdabcd\""));
}

TEST_P(CapiRun, ACancelLosesNothingOfAWindow) {
  agx_run_options options = Coalescing(60000);
  RunPtr run = BeginRun(session_, &options);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "a", nullptr), AGX_OK);
  ASSERT_EQ(agx_run_part_delta(run.get(), 0, "b"), AGX_OK);
  ASSERT_EQ(agx_cancel(session_.get(), nullptr), AGX_OK);
  AwaitEnd(session_);
  Texts entries = Entries(session_);
  ASSERT_THAT(entries, SizeIs(6));
  EXPECT_THAT(entries[2], HasSubstr("\"content_delta\":\"b\""));
}

TEST_P(CapiRun, AWindowIsNoLargerThanABody) {
  agx_run_options options = Coalescing(60000, AGX_BODY_MAX / 8);
  RunPtr run = BeginRun(session_, &options);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run.get(), AGX_PART_TEXT, "", nullptr), AGX_OK);
  std::string first((AGX_BODY_MAX / 8) - 1, '\x01');
  std::string second((AGX_BODY_MAX / 6) - 8192, '\x01');
  std::string third = "x";
  ASSERT_EQ(agx_run_part_delta(run.get(), 0, first.c_str()), AGX_OK);
  // Together they have more than a message may have, if only they are escaped.
  EXPECT_EQ(agx_run_part_delta(run.get(), 0, second.c_str()), AGX_ETOOBIG);
  EXPECT_EQ(agx_run_part_delta(run.get(), 0, third.c_str()), AGX_OK);
  ASSERT_EQ(agx_run_flush(run.get()), AGX_OK);
  for (const std::string& entry : Entries(session_)) EXPECT_LE(entry.size(), AGX_BODY_MAX + 256);
}

// --- One after the other

TEST_P(CapiRun, IsNotTakenForTheOneThatWasCancelledBeforeIt) {
  SessionPtr canceller = OpenSession(other_);
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(agx_start(session_.get(), nullptr), AGX_OK) << i;
    Background<agx_status> cancel([&] { return agx_cancel(canceller.get(), nullptr); });
    agx_run* raw = nullptr;
    agx_status begun = AGX_EBUSY;
    while (begun == AGX_EBUSY) begun = agx_run_begin(session_.get(), nullptr, &raw);
    RunPtr run(raw);
    ASSERT_EQ(begun, AGX_OK);
    ASSERT_EQ(cancel.Get(), AGX_OK);
    ASSERT_EQ(agx_run_node_begin(raw), AGX_OK) << i;
    ASSERT_EQ(agx_run_finish(raw), AGX_OK) << i;
    ASSERT_THAT(Entries(session_), ElementsAre(Event(kNodeBegin), Event(kNodeEnd), kEnd)) << i;
  }
}

// --- Bad input

TEST_P(CapiRun, OneRunAtATime) {
  RunPtr run = BeginRun(session_);
  agx_run* second = nullptr;
  EXPECT_EQ(agx_run_begin(session_.get(), nullptr, &second), AGX_EBUSY);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(agx_run_begin(OpenSession(other_).get(), nullptr, &second), AGX_EBUSY);
  EXPECT_EQ(agx_start(session_.get(), nullptr), AGX_EBUSY);
  run.reset();
  run = BeginRun(session_);
}

TEST_P(CapiRun, InvalidArguments) {
  agx_run* r = nullptr;
  EXPECT_EQ(agx_run_begin(session_.get(), nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_run_begin(nullptr, nullptr, &r), AGX_EINVAL);
  agx_run_options options = Coalescing(-1);
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  options = Coalescing(1, -1);
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  options = Coalescing(1, INT64_MAX);
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  options = Coalescing(INT64_MAX);
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  agx_start_options start = AGX_START_OPTIONS_INIT;
  start.detached = 1;
  options = AGX_RUN_OPTIONS_INIT;
  options.start = &start;
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  options.size = 3;
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  options = AGX_RUN_OPTIONS_INIT;
  options.origin = "";
  EXPECT_EQ(agx_run_begin(session_.get(), &options, &r), AGX_EINVAL);
  EXPECT_EQ(r, nullptr);
  EXPECT_FALSE(IsLive(session_));

  RunPtr run = BeginRun(session_);
  r = run.get();
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  EXPECT_EQ(agx_run_tool_return(r, nullptr, "c", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", "{"), AGX_EJSON);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", ""), AGX_EJSON);
  EXPECT_EQ(agx_run_tool_return(r, "t", "c", std::string(10000, '[').c_str()), AGX_EJSON);
  EXPECT_EQ(agx_run_tool_return(r, "t", nullptr, nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TOOL_CALL, "x", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_run_part_begin(r, static_cast<agx_part_kind>(3), "x", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_run_tool_call_begin(r, nullptr, "c", "", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_run_tool_call_begin(r, "", "c", "", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_run_feed(r, static_cast<agx_model_api>(0), "x", 1), AGX_EINVAL);
  EXPECT_EQ(agx_run_feed(r, AGX_ANTHROPIC, nullptr, 1), AGX_EINVAL);
  std::string huge(AGX_BODY_MAX, 'x');
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, huge.c_str(), nullptr), AGX_ETOOBIG);
  EXPECT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "not \xFF utf-8", nullptr), AGX_OK);
  EXPECT_THAT(Entries(session_), SizeIs(3));
  EXPECT_THAT(Entries(session_)[2], HasSubstr("not \xEF\xBF\xBD utf-8"));

  run.reset();
  EXPECT_EQ(agx_run_node_begin(r), AGX_ECLOSED);
  EXPECT_EQ(agx_run_finish(nullptr), AGX_EINVAL);
  agx_run_close(nullptr);
}

TEST_P(CapiRun, AClosedClientEndsIt) {
  RunPtr run = BeginRun(session_);
  ASSERT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  client_.reset();
  EXPECT_EQ(agx_run_node_end(run.get(), nullptr, nullptr), AGX_ECLOSED);
  EXPECT_EQ(agx_run_finish(run.get()), AGX_ECLOSED);
}

// --- A store that goes away

class RunOnRedis : public OnRedis {};

TEST_F(RunOnRedis, AStoreThatGoesAwayLosesNothing) {
  ClientPtr client = Open("reconnect_timeout=200&command_timeout=200&lease=60000");
  SessionPtr session = OpenSession(client);
  RunPtr run = BeginRun(session);
  agx_run* r = run.get();
  ASSERT_EQ(agx_run_node_begin(r), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(r, AGX_PART_TEXT, "0", nullptr), AGX_OK);
  server_.Pause();
  agx_status status = AGX_OK;
  int sent = 0;
  while (status == AGX_OK && sent < 3) {
    status = agx_run_part_delta(r, 0, std::to_string(++sent).c_str());
  }
  server_.Continue();
  for (int i = 0; i < 3; ++i) {
    agx_status again = agx_run_part_delta(r, 0, std::to_string(++sent).c_str());
    EXPECT_THAT(again, AnyOf(AGX_OK, AGX_ETIMEOUT, AGX_EUNCERTAIN, AGX_ECONNECT));
  }
  EXPECT_TRUE(WaitUntil([&] { return agx_run_flush(r) == AGX_OK; }));
  ASSERT_EQ(agx_run_finish(r), AGX_OK);
  std::string text;
  for (const std::string& entry : Entries(session)) {
    size_t at = entry.find("\"content_delta\":\"");
    if (at != std::string::npos) text += entry[at + 17];
  }
  std::string expected;
  for (int i = 1; i <= sent; ++i) expected += std::to_string(i);
  EXPECT_EQ(text, expected);
}

}  // namespace
}  // namespace agx::test
