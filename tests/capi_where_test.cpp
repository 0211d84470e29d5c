// ctest-labels: redis threads
// Listeners that take only what a condition selects.
#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

agx_listen_options Where(const char* condition, const char* after = nullptr) {
  agx_listen_options options = Patient(after);
  options.where = condition;
  return options;
}

class CapiWhere : public OnEachStore {
 protected:
  SessionPtr session_ = Started(client_);
};
AGX_ON_EACH_STORE(CapiWhere);

TEST_P(CapiWhere, AWaitForWhatHasEndedAndIsGoneEnds) {
  SessionPtr session = OpenSession(client_, "gone");
  for (bool after_one : {false, true}) {
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    Add(session, "t");
    agx_event* event = nullptr;
    if (after_one) {
      ASSERT_EQ(agx_wait_for(session.get(), nullptr, kPatienceMs, &event), AGX_OK);
    }
    agx_event_free(event);
    ASSERT_EQ(agx_stop(session.get(), 0), AGX_OK);
    EXPECT_EQ(agx_wait_for(session.get(), nullptr, kPatienceMs, &event), AGX_ENDED);
    char position[AGX_ID_SIZE];
    EXPECT_EQ(agx_waited(session.get(), position), AGX_ENDED);
  }
}

TEST_P(CapiWhere, OnlyWhatIsSelectedIsHandedOn) {
  for (int i = 0; i < 3000; ++i) {
    Add(session_, i % 100 == 7 ? "wanted" : "other", ("{\"n\":" + std::to_string(i) + "}").c_str());
  }
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  ListenerPtr listener = Listen(session_, Where("type = \"wanted\" and body.n >= 1000"));
  for (int i = 1007; i < 3000; i += 100) {
    EXPECT_EQ(Next(listener).body(), "{\"n\":" + std::to_string(i) + "}");
  }
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

TEST_P(CapiWhere, ItIsFollowedLive) {
  ListenerPtr listener = Listen(OpenSession(other_), Where("body.wanted"));
  Background<std::string> next([&] { return Next(listener).body(); });
  next.AwaitBlocked();
  for (int i = 0; i < 20; ++i) Add(session_, "t", "{}");
  Add(session_, "t", "{\"wanted\":1}");
  EXPECT_EQ(next.Get(), "{\"wanted\":1}");
}

TEST_P(CapiWhere, WhatIsNotSelectedMovesTheCursor) {
  ListenerPtr listener = Listen(session_, Where("type = \"b\""));
  Add(session_, "a");
  std::string b = Add(session_, "b");
  EXPECT_EQ(Next(listener).type(), "b");
  std::string last = Add(session_, "a");
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_TRUE(WaitUntil([&] {
    EXPECT_EQ(Next(listener, 10).status, AGX_TIMEOUT);
    return Position(listener) == last;
  })) << Position(listener);
}

// Whether what comes next was read with it or not: who resumes there misses nothing.
TEST_P(CapiWhere, APositionAmongWhatIsNotSelectedIsWhereToResume) {
  std::vector<std::string> ids;
  for (const char* type : {"a", "b", "a", "a", "b", "b", "a", "b"}) {
    ids.push_back(Add(session_, type));
  }
  ListenerPtr listener = Listen(session_, Where("type = \"b\""));
  for (size_t at : {1U, 4U, 5U, 7U}) {
    EXPECT_EQ(Next(listener).id(), ids[at]);
    std::string position = Position(listener);
    EXPECT_EQ(position, ids[at]);
    agx_listen_options options = Where("type = \"b\"");
    options.after = position.c_str();
    Told next = Next(Listen(session_, options), at == 7 ? 0 : kPatienceMs);
    if (at == 7) {
      EXPECT_EQ(next.status, AGX_TIMEOUT);
    } else {
      EXPECT_EQ(next.id(), ids[at == 1 ? 4 : at == 4 ? 5 : 7]);
    }
  }
}

TEST_P(CapiWhere, TheLimitCountsWhatIsHandedOn) {
  for (int i = 0; i < 10; ++i) Add(session_, i % 2 == 0 ? "a" : "b");
  agx_listen_options options = Where("type = \"b\"");
  options.limit = 3;
  EXPECT_THAT(Follow(Listen(session_, options)), ElementsAre("b", "b", "b", "AGX_LIMIT"));
}

TEST_P(CapiWhere, TheEndIsTheEndThoughItIsNotSelected) {
  Add(session_, "a");
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  EXPECT_THAT(Follow(Listen(session_, Where("type = \"a\""))), ElementsAre("a", "AGX_ENDED"));
  EXPECT_THAT(Follow(Listen(session_, Where("type = \"none\""))), ElementsAre("AGX_ENDED"));
  agx_listen_options options = Where("type = \"a\"");
  options.hand_on_end = 1;
  EXPECT_THAT(Follow(Listen(session_, options)), ElementsAre("a", "AGX_ENDED"));
  options = Where("not type = \"a\"");
  options.hand_on_end = 1;
  EXPECT_THAT(Follow(Listen(session_, options)), ElementsAre("begin", "end", "AGX_ENDED"));
}

// Another program began the session again over what was there.
TEST_P(CapiWhere, AnEndThatABeginFollowsIsPassedOver) {
  Add(session_, "a");
  Add(session_, "end");
  Add(session_, "begin");
  Add(session_, "a");
  Add(session_, "end");
  EXPECT_THAT(Follow(Listen(session_, Where("type = \"a\""))), ElementsAre("a", "a", "AGX_ENDED"));
}

TEST_P(CapiWhere, WhatIsNotSelectedIsNoSilence) {
  agx_listen_options options = Where("type = \"b\"");
  options.timeout_ms = 1500;
  ListenerPtr listener = Listen(session_, options);
  Stopwatch watch;
  while (watch.ms() < 2500) {
    Add(session_, "a");
    ASSERT_EQ(Next(listener, 50).status, AGX_TIMEOUT);
  }
  EXPECT_EQ(Next(listener).status, AGX_SILENT);
}

TEST_P(CapiWhere, MuxesAndDescriptorsSelectAsWell) {
  ListenerPtr watched = Listen(session_, Where("type = \"b\""));
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(watched.get(), &fd), AGX_OK);
  ListenerPtr in_mux = Listen(session_, Where("type = \"b\""));
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(agx_mux_add(mux.get(), in_mux.get()), AGX_OK);
  Add(session_, "a");
  Add(session_, "b");
  ASSERT_TRUE(Readable(fd, kPatienceMs));
  EXPECT_EQ(Next(watched, 0).type(), "b");
  EXPECT_EQ(Next(mux).text(), "b");
}

TEST_P(CapiWhere, AMistakeIsToldWithItsPlace) {
  agx_listen_options options = Where("type = ");
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_listen(session_.get(), &options, &listener), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("byte 7"));
  std::string huge(1 << 20, 'x');
  options.where = huge.c_str();
  EXPECT_EQ(agx_listen(session_.get(), &options, &listener), AGX_ETOOBIG);
  EXPECT_EQ(listener, nullptr);
}

// --- agx_wait_for

Told WaitFor(const SessionPtr& session, const char* where, int64_t timeout_ms = kPatienceMs) {
  agx_event* event = nullptr;
  agx_status status = agx_wait_for(session.get(), where, timeout_ms, &event);
  EXPECT_EQ(event != nullptr, status == AGX_OK);
  return {status, EventPtr(event), status == AGX_OK ? "" : agx_last_error()};
}

TEST_P(CapiWhere, AnAgentWaitsForAnAnswer) {
  Add(session_, "question", "{\"q\":1}");
  Background<std::string> waiting(
      [&] { return WaitFor(session_, "type = \"answer\" and body.q = 1").body(); });
  waiting.AwaitBlocked();
  SessionPtr person = OpenSession(other_);
  Add(person, "remark", "{}");
  Add(person, "answer", "{\"q\":0}");
  Add(person, "answer", "{\"q\":1,\"a\":\"yes\"}");
  EXPECT_EQ(waiting.Get(), "{\"q\":1,\"a\":\"yes\"}");
}

TEST_P(CapiWhere, AnAnswerThatCameBeforeTheWaitIsNotMissed) {
  Add(session_, "question", "{\"q\":1}");
  Add(OpenSession(other_), "answer", "{\"q\":1}");
  Add(OpenSession(other_), "answer", "{\"q\":2}");
  Add(session_, "progress");
  EXPECT_EQ(WaitFor(session_, "type = \"answer\"").body(), "{\"q\":1}");
  EXPECT_EQ(WaitFor(session_, "type = \"answer\"").body(), "{\"q\":2}");
  EXPECT_EQ(WaitFor(session_, "type = \"answer\"", 20).status, AGX_TIMEOUT);
  EXPECT_EQ(WaitFor(session_, "type = \"progress\"").type(), "progress");
}

// A handle is used for one run after another.
TEST_P(CapiWhere, AWaitInAFurtherRunIsForThatRun) {
  const char* const formats[] = {"agx", "openai-agents", "ag2"};
  const std::string answers = "my.Answer";
  for (const char* format : formats) {
    agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
    options.format = format;
    SessionPtr session = OpenSession(client_, "runs");
    if (std::string(format) != "agx") {
      agx_session* opened = nullptr;
      ASSERT_EQ(agx_stream_open(client_.get(), format, &options, &opened), AGX_OK);
      session.reset(opened);
    }
    for (const char* run : {"1", "2", "3"}) {
      SCOPED_TRACE(std::string(format) + " run " + run);
      std::string answer = std::string("{\"run\":") + run + "}";
      ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK) << agx_last_error();
      Add(session, "my.Question");
      Add(session, answers, answer.c_str());
      Told told = WaitFor(session, "type = \"my.Answer\"");
      ASSERT_EQ(told.status, AGX_OK) << told.error;
      EXPECT_THAT(told.body(), testing::AllOf(HasSubstr("run"), HasSubstr(run)));
      // This one nobody waits for.
      Add(session, answers, "{\"late\":1}");
      EXPECT_EQ(WaitFor(session, "type = \"none\"", 0).status, AGX_TIMEOUT);
      ASSERT_EQ(agx_stop(session.get(), *run == '1' ? kPatienceMs : 0), AGX_OK);
    }
  }
}

TEST_P(CapiWhere, WhoTakesOverWaitsForWhatItsPredecessorAskedFor) {
  Add(session_, "answer", "{\"old\":1}");
  SessionPtr other = OpenSession(other_);
  agx_start_options options = TakeOver();
  options.keep = 1;
  ASSERT_EQ(agx_start(other.get(), &options), AGX_OK);
  EXPECT_EQ(WaitFor(other, "type = \"answer\"").body(), "{\"old\":1}");
  // And where it is taken over in its turn, and takes over again, goes on behind that.
  ASSERT_EQ(agx_start(OpenSession(client_).get(), &options), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return agx_is_canceled(other.get()) != 0; }));
  ASSERT_EQ(agx_start(other.get(), &options), AGX_OK);
  EXPECT_EQ(WaitFor(other, "type = \"answer\"", 0).status, AGX_TIMEOUT);
  Add(other, "answer", "{\"new\":1}");
  EXPECT_EQ(WaitFor(other, "type = \"answer\"").body(), "{\"new\":1}");
}

TEST_P(CapiWhere, WhoDidNotStartTheSessionWaitsForWhatIsNew) {
  Add(session_, "old");
  SessionPtr other = OpenSession(other_);
  EXPECT_EQ(WaitFor(other, nullptr, 0).status, AGX_TIMEOUT);
  Add(session_, "new");
  EXPECT_EQ(WaitFor(other, nullptr).type(), "new");
}

TEST_P(CapiWhere, ACancelEndsTheWaitAtOnce) {
  Background<agx_status> waiting([&] { return WaitFor(session_, "type = \"x\"").status; });
  waiting.AwaitBlocked();
  ASSERT_EQ(agx_cancel(OpenSession(other_).get(), nullptr), AGX_OK);
  EXPECT_EQ(waiting.Get(), AGX_CANCELED);
  EXPECT_EQ(WaitFor(session_, nullptr).status, AGX_CANCELED);
}

TEST_P(CapiWhere, ATakeOverEndsTheWaitAtOnce) {
  Background<agx_status> waiting([&] { return WaitFor(session_, "type = \"x\"").status; });
  waiting.AwaitBlocked();
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(agx_start(OpenSession(other_).get(), &take_over), AGX_OK);
  EXPECT_EQ(waiting.Get(), AGX_TAKEN_OVER);
}

TEST_P(CapiWhere, TheSessionsEndEndsTheWait) {
  SessionPtr other = OpenSession(other_);
  Background<agx_status> waiting([&] { return WaitFor(other, "type = \"x\"").status; });
  waiting.AwaitBlocked();
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  EXPECT_EQ(waiting.Get(), AGX_ENDED);
}

TEST_P(CapiWhere, ClosingTheHandleWakesWhoWaits) {
  agx_session* raw = session_.get();
  Background<agx_status> waiting([raw] {
    agx_event* event = nullptr;
    return agx_wait_for(raw, "type = \"x\"", -1, &event);
  });
  waiting.AwaitBlocked();
  session_.reset();
  EXPECT_EQ(waiting.Get(), AGX_ECLOSED);
}

TEST_P(CapiWhere, ARunWaitsForAnAnswerAndHearsOfACancel) {
  SessionPtr session = OpenSession(client_, "run");
  agx_run* run = nullptr;
  ASSERT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_OK);
  Add(OpenSession(other_, "run"), "answer");
  EXPECT_EQ(WaitFor(session, "type = \"answer\"").type(), "answer");
  Background<agx_status> waiting([&] { return WaitFor(session, "type = \"answer\"").status; });
  waiting.AwaitBlocked();
  ASSERT_EQ(agx_cancel(OpenSession(other_, "run").get(), nullptr), AGX_OK);
  EXPECT_EQ(waiting.Get(), AGX_CANCELED);
  EXPECT_EQ(agx_run_node_begin(run), AGX_CANCELED);
  agx_run_close(run);
}

TEST_P(CapiWhere, AWaitInSlicesLearnsThatTheProducerIsGone) {
  ClientPtr dying = Open();
  agx_start_options leased = Leased(300);
  SessionPtr session = Started(dying, "dying", &leased);
  SessionPtr other = OpenSession(client_, "dying");
  EXPECT_EQ(WaitFor(other, "type = \"x\"", 20).status, AGX_TIMEOUT);  // it has seen the flag
  dying.reset();
  agx_status status = AGX_TIMEOUT;
  for (int64_t waited = 0; status == AGX_TIMEOUT && waited < kPatienceMs; waited += 50) {
    status = WaitFor(other, "type = \"x\"", 50).status;
  }
  EXPECT_EQ(status, AGX_GONE);
}

TEST_P(CapiWhere, AWaitOfOnesOwnGoesOnWhereTheOthersWere) {
  char position[AGX_ID_SIZE];
  ASSERT_EQ(agx_waited(session_.get(), position), AGX_OK);
  EXPECT_STREQ(position, "0-0");
  std::string first = Add(session_, "answer", "1");
  Add(session_, "answer", "2");
  Add(session_, "answer", "3");
  agx_listen_options options = Patient(position);
  options.where = "type = \"answer\"";
  ListenerPtr own = Listen(session_, options);
  EXPECT_EQ(Next(own).body(), "1");
  ASSERT_EQ(agx_set_waited(session_.get(), first.c_str()), AGX_OK);
  EXPECT_EQ(WaitFor(session_, "type = \"answer\"").body(), "2");
  Told third = WaitFor(session_, "type = \"answer\"");
  EXPECT_EQ(third.body(), "3");
  ASSERT_EQ(agx_waited(session_.get(), position), AGX_OK);
  EXPECT_EQ(position, third.id());
  SessionPtr other = OpenSession(client_);
  ASSERT_EQ(agx_waited(other.get(), position), AGX_OK);
  EXPECT_EQ(position, third.id());
  EXPECT_EQ(agx_set_waited(other.get(), "x"), AGX_EINVAL);
  EXPECT_EQ(agx_set_waited(other.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_waited(other.get(), nullptr), AGX_EINVAL);
}

TEST_P(CapiWhere, WaitsRefuseWhatIsWrong) {
  agx_event* event = nullptr;
  EXPECT_EQ(agx_wait_for(session_.get(), nullptr, 0, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_wait_for(nullptr, nullptr, 0, &event), AGX_EINVAL);
  EXPECT_EQ(agx_wait_for(session_.get(), "type = ", 0, &event), AGX_EINVAL);
}

}  // namespace
}  // namespace agx::test
