// ctest-labels: redis threads
// ctest-timeout: 120
// Sessions through the C API: starting, adding, leases, cancels, stopping.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <set>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

agx_status Start(const SessionPtr& session, const agx_start_options* options = nullptr) {
  return agx_start(session.get(), options);
}
agx_status Stop(const SessionPtr& session, int64_t grace_ms = -1) {
  return agx_stop(session.get(), grace_ms);
}
agx_status WaitCanceled(const SessionPtr& session, int64_t timeout_ms = kPatienceMs) {
  return agx_wait_canceled(session.get(), timeout_ms);
}
bool Cancel(const SessionPtr& session) {
  int was_live = -1;
  EXPECT_EQ(agx_cancel(session.get(), &was_live), AGX_OK);
  return was_live == 1;
}
bool IsCanceled(const SessionPtr& session) { return agx_is_canceled(session.get()) == 1; }

// Lets so much time pass, in a wait that nothing ends.
void Elapse(const ClientPtr& client, int64_t ms) {
  ASSERT_EQ(Next(Listen(OpenSession(client, "a session that nobody starts")), ms).status,
            AGX_TIMEOUT);
}

class CapiSession : public OnEachStore {};
AGX_ON_EACH_STORE(CapiSession);

TEST_P(CapiSession, AStopByAnotherIsACancelWhateverItsGrace) {
  for (int64_t grace_ms : {int64_t{0}, int64_t{1}, int64_t{-1}}) {
    SessionPtr session = Started(client_, "grace " + std::to_string(grace_ms));
    ASSERT_EQ(Stop(OpenSession(other_, "grace " + std::to_string(grace_ms)), grace_ms), AGX_OK);
    EXPECT_EQ(WaitCanceled(session), AGX_OK);
    EXPECT_TRUE(IsCanceled(session));
    EXPECT_FALSE(IsLive(session));
    EXPECT_EQ(Stored(session), (std::vector<std::string>{"begin", "end"}));
  }
}

// --- Start

TEST_P(CapiSession, IsNotLiveUntilStarted) {
  SessionPtr session = OpenSession(client_);
  EXPECT_FALSE(IsLive(session));
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_THAT(Stored(session), IsEmpty());
  ASSERT_EQ(Start(session), AGX_OK);
  EXPECT_TRUE(IsLive(session));
  EXPECT_TRUE(IsLive(OpenSession(client_)));
  EXPECT_TRUE(IsLive(OpenSession(other_)));
}

TEST_P(CapiSession, BeginsWithItsIdAndOrigin) {
  SessionPtr session = Started(client_, "an \"id\"");
  Told begin = Next(Listen(session));
  EXPECT_EQ(begin.type(), "begin");
  EXPECT_EQ(begin.origin(), "opale");
  EXPECT_EQ(begin.body(), R"({"session_id": "an \"id\""})");
}

TEST_P(CapiSession, BeginAndEndCarryTheOriginOfTheOptions) {
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.origin = "pydantic-ai-stream";
  SessionPtr session = Started(client_, "s", &options);
  ASSERT_EQ(Stop(session), AGX_OK);
  agx_listen_options listen = Patient();
  listen.hand_on_end = 1;
  ListenerPtr listener = Listen(session, listen);
  EXPECT_EQ(Next(listener).origin(), "pydantic-ai-stream");
  Told end = Next(listener);
  EXPECT_EQ(end.type(), "end");
  EXPECT_EQ(end.origin(), "pydantic-ai-stream");
  EXPECT_EQ(end.body(), "{}");
}

TEST_P(CapiSession, TheLibraryCopiesWhatItIsGiven) {
  std::string id = "copied";
  std::string origin = "mine";
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.origin = origin.c_str();
  SessionPtr session = OpenSession(client_, id);
  id.assign(id.size(), 'x');
  ASSERT_EQ(Start(session, &options), AGX_OK);
  origin.assign(origin.size(), 'x');
  ASSERT_EQ(Stop(session), AGX_OK);
  agx_listen_options listen = Patient();
  listen.hand_on_end = 1;
  ListenerPtr listener = Listen(OpenSession(client_, "copied"), listen);
  EXPECT_EQ(Next(listener).type(), "begin");
  EXPECT_EQ(Next(listener).origin(), "mine");
}

TEST_P(CapiSession, ALiveSessionIsLeftAlone) {
  SessionPtr first = Started(client_);
  Add(first, "a");
  SessionPtr second = OpenSession(other_);
  EXPECT_EQ(Start(second), AGX_EBUSY);
  EXPECT_THAT(agx_last_error(), HasSubstr("live"));
  EXPECT_THAT(Stored(first), ElementsAre("begin", "a"));
  EXPECT_FALSE(IsCanceled(first));
  EXPECT_FALSE(IsCanceled(second));
  EXPECT_EQ(WaitCanceled(second, 0), AGX_NOT_LIVE);
  EXPECT_EQ(Start(first), AGX_EBUSY);
  EXPECT_TRUE(IsLive(first));
  EXPECT_EQ(WaitCanceled(first, 0), AGX_TIMEOUT);
}

TEST_P(CapiSession, OfManyThatStartAtOnceOneSucceeds) {
  constexpr int kThreads = 8;
  std::vector<SessionPtr> sessions;
  for (int i = 0; i < kThreads; ++i) sessions.push_back(OpenSession(client_));
  std::vector<agx_status> told(kThreads, AGX_ENOMEM);
  InThreads(kThreads,
            [&](int i) { told[static_cast<size_t>(i)] = Start(sessions[static_cast<size_t>(i)]); });
  EXPECT_EQ(std::count(told.begin(), told.end(), AGX_OK), 1);
  EXPECT_EQ(std::count(told.begin(), told.end(), AGX_EBUSY), kThreads - 1);
  EXPECT_THAT(Stored(sessions[0]), ElementsAre("begin"));
}

TEST_P(CapiSession, TakeOverOfALiveSessionGoesOnWhereItWas) {
  SessionPtr first = Started(client_);
  Add(first, "a");
  SessionPtr second = OpenSession(other_);
  Background<agx_status> wait([&] { return WaitCanceled(first); });
  wait.AwaitBlocked();
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(Start(second, &take_over), AGX_OK);

  EXPECT_EQ(wait.Get(), AGX_TAKEN_OVER);
  EXPECT_TRUE(IsCanceled(first));
  EXPECT_EQ(WaitCanceled(first, 0), AGX_TAKEN_OVER);
  char id[AGX_ID_SIZE] = "?";
  EXPECT_EQ(agx_add(first.get(), "b", "test", nullptr, id), AGX_TAKEN_OVER);
  EXPECT_STREQ(id, "");
  agx_new_event event = {"b", "test", nullptr};
  size_t added = 9;
  EXPECT_EQ(agx_add_many(first.get(), &event, 1, nullptr, &added), AGX_TAKEN_OVER);
  EXPECT_EQ(added, 0U);
  EXPECT_EQ(agx_add_info(first.get(), nullptr, nullptr, nullptr), AGX_TAKEN_OVER);
  EXPECT_EQ(Stop(first), AGX_TAKEN_OVER);
  EXPECT_NE(std::string(agx_last_error()), "");

  EXPECT_FALSE(IsCanceled(second));
  EXPECT_TRUE(IsLive(second));
  Add(second, "c");
  EXPECT_THAT(Stored(second), ElementsAre("begin", "a", "c"));
  EXPECT_EQ(Stop(second), AGX_OK);
  EXPECT_THAT(Stored(second), ElementsAre("begin", "a", "c", "end"));
}

TEST_P(CapiSession, OneTakenOverLearnsItWithoutAsking) {
  SessionPtr first = Started(client_);
  SessionPtr second = OpenSession(client_);
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(Start(second, &take_over), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return IsCanceled(first); }));
  EXPECT_FALSE(IsCanceled(second));
}

TEST_P(CapiSession, StopByOneThatDoesNotYetKnowThatItWasTakenOverWritesNothing) {
  SessionPtr first = Started(client_);
  SessionPtr second = OpenSession(client_);
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(Start(second, &take_over), AGX_OK);
  EXPECT_EQ(Stop(first), AGX_TAKEN_OVER);
  EXPECT_THAT(Stored(second), ElementsAre("begin"));
  EXPECT_TRUE(IsLive(second));
}

TEST_P(CapiSession, TakeOverGoesBackAndForth) {
  SessionPtr first = Started(client_);
  SessionPtr second = OpenSession(client_);
  agx_start_options take_over = TakeOver();
  ASSERT_EQ(Start(second, &take_over), AGX_OK);
  ASSERT_TRUE(WaitUntil([&] { return IsCanceled(first); }));
  ASSERT_EQ(Start(first, &take_over), AGX_OK);
  ASSERT_TRUE(WaitUntil([&] { return IsCanceled(second); }));
  EXPECT_FALSE(IsCanceled(first));
  EXPECT_EQ(WaitCanceled(first, 0), AGX_TIMEOUT);
  Add(first, "a");
  EXPECT_EQ(Stop(second), AGX_TAKEN_OVER);
  EXPECT_EQ(Stop(first), AGX_OK);
  EXPECT_THAT(Stored(first), ElementsAre("begin", "a", "end"));
}

TEST_P(CapiSession, TakeOverOfOneThatIsNotLiveBeginsAfresh) {
  agx_start_options take_over = TakeOver();
  SessionPtr session = Started(client_, "s", &take_over);
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
  Add(session, "a");
  ASSERT_EQ(Stop(session), AGX_OK);
  ASSERT_EQ(Start(session, &take_over), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
}

TEST_P(CapiSession, StartedAgainItShowsNothingOfBefore) {
  SessionPtr session = Started(client_);
  std::string old = Add(session, "a");
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "a", "end"));
  ASSERT_EQ(Start(session), AGX_OK);
  EXPECT_TRUE(IsLive(session));
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
  Add(session, "b");
  ListenerPtr listener = Listen(session);
  EXPECT_THAT(Follow(listener, 0), ElementsAre("begin", "b", "AGX_TIMEOUT"));
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Follow(listener), ElementsAre("AGX_ENDED"));
}

TEST_P(CapiSession, StartedAgainWithinTheGraceItKeepsNoOldExpiry) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session, 300), AGX_OK);
  ASSERT_EQ(Start(session), AGX_OK);
  Add(session, "b");
  if (is_redis()) {
    EXPECT_EQ(server().Command({"PTTL", "agx:1:2:s"}), "-1");
  }
  Elapse(client_, 600);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "b"));
}

TEST_P(CapiSession, AStartDropsWhatADeadProducerLeft) {
  agx_start_options leased = Leased(100);
  SessionPtr dead = Started(client_, "s", &leased);
  Add(dead, "a");
  dead.reset();
  SessionPtr session = OpenSession(client_);
  ASSERT_TRUE(WaitUntil([&] { return Start(session) == AGX_OK; }));
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
}

TEST_P(CapiSession, IdentitiesAreApart) {
  SessionPtr session = Started(client_);
  std::vector<SessionPtr> others;
  others.push_back(OpenSession(client_, "s", 1, 3));
  others.push_back(OpenSession(client_, "s", 2, 2));
  others.push_back(OpenSession(client_, "s", -1, 2));
  others.push_back(OpenSession(client_, "s", 1, -2));
  others.push_back(OpenSession(client_, "s", INT64_MAX, INT64_MAX));
  others.push_back(OpenSession(client_, "S"));
  for (const SessionPtr& other : others) {
    EXPECT_FALSE(IsLive(other));
    EXPECT_EQ(Start(other), AGX_OK);
    Add(other, "other");
  }
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
  for (const SessionPtr& other : others) EXPECT_THAT(Stored(other), ElementsAre("begin", "other"));
}

// --- Adding

TEST_P(CapiSession, AddsGetTheIdsThatListenersSee) {
  SessionPtr session = Started(client_);
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(Add(session, "a", "{}"));
  ListenerPtr listener = Listen(session);
  Next(listener);
  for (const std::string& id : ids) EXPECT_EQ(Next(listener).id(), id);
}

TEST_P(CapiSession, BodiesAreStoredByteForByte) {
  SessionPtr session = Started(client_);
  const std::vector<std::string> bodies = {"{}",
                                           "null",
                                           "-0.5e+10",
                                           "\"\"",
                                           "  [1,\t2 ,\n3 ]  ",
                                           R"({"a":1,"a":2})",
                                           "1",
                                           "[]",
                                           "true",
                                           R"("\u0000\ud83d\ude00")",
                                           "\"\xF0\x9F\x98\x80\"",
                                           R"({"b":{"c":[[[{}]]]}})"};
  for (const std::string& body : bodies) Add(session, "t", body.c_str());
  ListenerPtr listener = Listen(session);
  Next(listener);
  for (const std::string& body : bodies) EXPECT_EQ(Next(listener).body(), body);
}

TEST_P(CapiSession, NoBodyIsReadAsAnEmptyObject) {
  SessionPtr session = Started(client_);
  Add(session, "a", nullptr);
  ListenerPtr listener = Listen(session);
  Next(listener);
  EXPECT_EQ(Next(listener).body(), "{}");
}

TEST_P(CapiSession, ErrorsAndInfosHaveTheirTypeAndADefaultOrigin) {
  SessionPtr session = Started(client_);
  char id[AGX_ID_SIZE] = "";
  EXPECT_EQ(agx_add_error(session.get(), nullptr, R"({"msg": "canceled"})", id), AGX_OK);
  EXPECT_EQ(agx_add_info(session.get(), nullptr, nullptr, nullptr), AGX_OK);
  EXPECT_EQ(agx_add_error(session.get(), "developer", nullptr, nullptr), AGX_OK);
  EXPECT_EQ(agx_add_info(session.get(), "developer", "1", nullptr), AGX_OK);
  ListenerPtr listener = Listen(session);
  Next(listener);
  Told error = Next(listener);
  EXPECT_EQ(error.id(), id);
  EXPECT_EQ(error.type() + " " + error.origin() + " " + error.body(),
            R"(error opale {"msg": "canceled"})");
  Told info = Next(listener);
  EXPECT_EQ(info.type() + " " + info.origin() + " " + info.body(), "info opale {}");
  error = Next(listener);
  EXPECT_EQ(error.type() + " " + error.origin(), "error developer");
  info = Next(listener);
  EXPECT_EQ(info.type() + " " + info.origin() + " " + info.body(), "info developer 1");
}

TEST_P(CapiSession, AnyHandleMayAdd) {
  SessionPtr nobodys = OpenSession(client_);
  Add(nobodys, "a");
  SessionPtr session = Started(client_, "t");
  Add(OpenSession(other_, "t"), "b");
  EXPECT_THAT(Stored(nobodys), ElementsAre("a"));
  EXPECT_THAT(Stored(session), ElementsAre("begin", "b"));
  EXPECT_FALSE(IsLive(nobodys));
}

TEST_P(CapiSession, AddsManyInTheirOrder) {
  SessionPtr session = Started(client_);
  constexpr size_t kCount = 1500;
  std::vector<std::string> bodies;
  for (size_t i = 0; i < kCount; ++i) bodies.push_back(std::to_string(i));
  std::vector<agx_new_event> events;
  for (const std::string& body : bodies) events.push_back({"t", "test", body.c_str()});
  events[7].body = nullptr;
  bodies[7] = "{}";
  std::vector<char> ids(kCount * AGX_ID_SIZE, '?');
  size_t added = 0;
  ASSERT_EQ(agx_add_many(session.get(), events.data(), kCount, ids.data(), &added), AGX_OK);
  EXPECT_EQ(added, kCount);
  ListenerPtr listener = Listen(session);
  Next(listener);
  for (size_t i = 0; i < kCount; ++i) {
    Told told = Next(listener);
    ASSERT_EQ(told.body(), bodies[i]);
    ASSERT_EQ(told.id(), &ids[i * AGX_ID_SIZE]);
  }
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
}

TEST_P(CapiSession, AddsManyWithoutAskingForIds) {
  SessionPtr session = Started(client_);
  std::vector<agx_new_event> events(3, {"t", "test", nullptr});
  EXPECT_EQ(agx_add_many(session.get(), events.data(), 3, nullptr, nullptr), AGX_OK);
  size_t added = 9;
  EXPECT_EQ(agx_add_many(session.get(), events.data(), 0, nullptr, &added), AGX_OK);
  EXPECT_EQ(added, 0U);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "t", "t", "t"));
}

TEST_P(CapiSession, AddsManyOrNoneIfOneIsWrong) {
  SessionPtr session = Started(client_);
  for (agx_new_event wrong : {agx_new_event{"t", "test", "{"}, agx_new_event{"", "test", "{}"},
                              agx_new_event{nullptr, "test", "{}"}, agx_new_event{"t", "", "{}"}}) {
    std::vector<agx_new_event> events(5, {"t", "test", "{}"});
    events[3] = wrong;
    size_t added = 9;
    EXPECT_THAT(agx_add_many(session.get(), events.data(), events.size(), nullptr, &added),
                AnyOf(AGX_EINVAL, AGX_EJSON));
    EXPECT_THAT(agx_last_error(), HasSubstr("3"));
    EXPECT_EQ(added, 0U);
  }
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
}

TEST_P(CapiSession, ThreadsAddAtOnce) {
  constexpr int kThreads = 16;
  constexpr int kEach = 60;
  SessionPtr session = Started(client_);
  std::vector<std::vector<std::string>> ids(kThreads);
  InThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      std::string body = std::to_string(i);
      ids[static_cast<size_t>(thread)].push_back(
          Add(session, std::to_string(thread), body.c_str()));
    }
  });
  std::set<std::string> all;
  std::vector<int> next(kThreads, 0);
  agx_listen_options options = Patient();
  options.limit = 1 + kThreads * kEach;
  ListenerPtr listener = Listen(session, options);
  EXPECT_EQ(Next(listener).type(), "begin");
  for (int i = 0; i < kThreads * kEach; ++i) {
    Told told = Next(listener);
    ASSERT_EQ(told.status, AGX_OK);
    auto thread = static_cast<size_t>(std::stoi(told.type()));
    auto& number = next[thread];
    ASSERT_EQ(told.body(), std::to_string(number));
    ASSERT_EQ(told.id(), ids[thread][static_cast<size_t>(number)]);
    ++number;
    ASSERT_TRUE(all.insert(told.id()).second);
  }
  EXPECT_EQ(Next(listener).status, AGX_LIMIT);
  EXPECT_THAT(all, SizeIs(kThreads * kEach));
}

TEST_P(CapiSession, AStreamIsKeptAboutAsLongAsMaxLength) {
  ClientPtr client = Open("max_length=100");
  SessionPtr session = Started(client);
  std::vector<agx_new_event> events(500, {"t", "test", "{}"});
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  }
  Add(session, "last");
  std::vector<std::string> stored = Stored(session);
  EXPECT_GE(stored.size(), 100U);
  EXPECT_LE(stored.size(), 400U);
  EXPECT_EQ(stored.back(), "last");
}

// --- Leases

// Leases that a machine which is busy does not outlast, each looked at for longer than it is.
TEST_P(CapiSession, ALeaseIsRenewedInSilence) {
  agx_start_options leased = Leased(2000);
  SessionPtr session = Started(client_, "s", &leased);
  SessionPtr watcher = OpenSession(other_);
  EXPECT_FALSE(WaitUntil([&] { return !IsLive(watcher); }, std::chrono::milliseconds(4500)));
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_EQ(WaitCanceled(session, 0), AGX_TIMEOUT);
  EXPECT_EQ(Next(ListenAfter(session, "new"), 500).status, AGX_TIMEOUT);
  EXPECT_TRUE(IsLive(watcher));
}

TEST_P(CapiSession, TheLeaseOfTheUrlCounts) {
  ClientPtr client = Open("lease=2000");
  SessionPtr session = Started(client);
  SessionPtr watcher = OpenSession(client_);
  EXPECT_FALSE(WaitUntil([&] { return !IsLive(watcher); }, std::chrono::milliseconds(4500)));
  Stopwatch watch;
  session.reset();
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(watcher); }));
  // The one that there is without it is of 15 s, of which a third may have gone by.
  EXPECT_LT(watch.ms(), 9000);
}

TEST_P(CapiSession, AClosedHandlesSessionLivesUntilItsLeaseRunsOut) {
  agx_start_options leased = Leased(2000);
  Stopwatch watch;
  SessionPtr session = Started(client_, "s", &leased);
  SessionPtr watcher = OpenSession(client_);
  session.reset();
  EXPECT_TRUE(IsLive(watcher));
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(watcher); }));
  EXPECT_GE(watch.ms(), 1990);
  EXPECT_LE(watch.ms(), 2000 + kAtOnceMs);
  EXPECT_THAT(Stored(watcher), ElementsAre("begin"));
}

TEST_P(CapiSession, AClosedClientsSessionsLiveUntilTheirLeaseRunsOut) {
  ClientPtr client = Open();
  agx_start_options leased = Leased(2000);
  Stopwatch watch;
  SessionPtr session = Started(client, "s", &leased);
  SessionPtr watcher = OpenSession(client_);
  client.reset();
  EXPECT_TRUE(IsLive(watcher));
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(watcher); }));
  EXPECT_GE(watch.ms(), 1990);
}

TEST_P(CapiSession, ADetachedSessionIsNotRenewed) {
  agx_start_options options = Leased(300);
  options.detached = 1;
  Stopwatch watch;
  SessionPtr session = Started(client_, "s", &options);
  EXPECT_TRUE(IsLive(session));
  EXPECT_EQ(WaitCanceled(session, kPatienceMs), AGX_NOT_LIVE);
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(session); }));
  EXPECT_GE(watch.ms(), 290);
  EXPECT_LE(watch.ms(), 300 + kAtOnceMs);
}

TEST_P(CapiSession, OthersRenewADetachedSession) {
  ClientPtr client = Open("lease=400");
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.detached = 1;
  Started(client, "s", &options).reset();
  SessionPtr other = OpenSession(client);
  for (Stopwatch watch; watch.ms() < 1500;) {
    ASSERT_EQ(agx_renew(other.get()), AGX_OK) << watch.ms();
  }
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(other); }));
  EXPECT_EQ(agx_renew(other.get()), AGX_NOT_LIVE);
  EXPECT_FALSE(IsLive(other));
}

TEST_P(CapiSession, RenewNeverShortensALease) {
  agx_start_options options = Leased(3000);
  options.detached = 1;
  Stopwatch watch;
  SessionPtr session = Started(client_, "s", &options);
  ClientPtr client = Open("lease=100");
  SessionPtr other = OpenSession(client);
  ASSERT_EQ(agx_renew(other.get()), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(session); }));
  EXPECT_GE(watch.ms(), 2990);
}

TEST_P(CapiSession, AnAbandonedStreamExpires) {
  ClientPtr client = Open("expire=500&lease=300");
  Stopwatch watch;
  SessionPtr session = Started(client);
  Add(session, "a");
  // Not while its producer lives.
  Elapse(client_, 1200);
  EXPECT_THAT(Stored(OpenSession(client_)), ElementsAre("begin", "a"));
  Stopwatch dead;
  session.reset();
  SessionPtr late = OpenSession(client_);
  ASSERT_TRUE(WaitUntil([&] { return !IsLive(late); }));
  EXPECT_TRUE(WaitUntil([&] { return Stored(late).empty(); }));
  EXPECT_GE(dead.ms(), 490);
  EXPECT_LE(dead.ms(), 800 + kAtOnceMs);
}

TEST_P(CapiSession, WithoutExpireAnAbandonedStreamStays) {
  agx_start_options leased = Leased(100);
  Started(client_, "s", &leased).reset();
  SessionPtr late = OpenSession(client_);
  ASSERT_TRUE(WaitUntil([&] { return !IsLive(late); }));
  Elapse(client_, 300);
  EXPECT_THAT(Stored(late), ElementsAre("begin"));
}

// --- Cancel

TEST_P(CapiSession, ACancelReachesItsProducer) {
  SessionPtr session = Started(client_);
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_TRUE(Cancel(OpenSession(other_)));
  EXPECT_EQ(WaitCanceled(session), AGX_OK);
  EXPECT_TRUE(IsCanceled(session));
  EXPECT_EQ(WaitCanceled(session, 0), AGX_OK);
  EXPECT_FALSE(IsLive(session));
  EXPECT_FALSE(Cancel(session));
}

TEST_P(CapiSession, ACancelIsSeenWithoutWaiting) {
  SessionPtr session = Started(client_);
  EXPECT_TRUE(Cancel(OpenSession(client_)));
  EXPECT_TRUE(WaitUntil([&] { return IsCanceled(session); }));
}

TEST_P(CapiSession, ACancelWakesThoseWhoWait) {
  SessionPtr session = Started(client_);
  auto wait = [&] { return WaitCanceled(session, -1); };
  Background<agx_status> one(wait);
  Background<agx_status> two(wait);
  one.AwaitBlocked();
  two.AwaitBlocked();
  Stopwatch watch;
  EXPECT_TRUE(Cancel(OpenSession(other_)));
  EXPECT_EQ(one.Get(), AGX_OK);
  EXPECT_EQ(two.Get(), AGX_OK);
  EXPECT_LE(watch.ms(), kAtOnceMs);
}

TEST_P(CapiSession, ItsOwnHandleMayCancelASession) {
  SessionPtr session = Started(client_);
  EXPECT_TRUE(Cancel(session));
  EXPECT_EQ(WaitCanceled(session), AGX_OK);
}

TEST_P(CapiSession, ACancelledProducerMaySayWhatHappenedAndStop) {
  SessionPtr session = Started(client_);
  ASSERT_TRUE(Cancel(OpenSession(client_)));
  ASSERT_EQ(WaitCanceled(session), AGX_OK);
  EXPECT_EQ(agx_add_error(session.get(), nullptr, R"({"msg": "canceled"})", nullptr), AGX_OK);
  EXPECT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "error", "end"));
  EXPECT_EQ(WaitCanceled(session, 0), AGX_NOT_LIVE);
}

TEST_P(CapiSession, ACancelledSessionCanBeStartedAgain) {
  SessionPtr session = Started(client_);
  ASSERT_TRUE(Cancel(session));
  ASSERT_EQ(WaitCanceled(session), AGX_OK);
  ASSERT_EQ(Start(session), AGX_OK);
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_TRUE(IsLive(session));
  EXPECT_EQ(WaitCanceled(session, 0), AGX_TIMEOUT);
  EXPECT_TRUE(Cancel(session));
  EXPECT_EQ(WaitCanceled(session), AGX_OK);
}

TEST_P(CapiSession, AfterACancelAnotherMayStartAndTheOneCancelledMayNotStopIt) {
  SessionPtr first = Started(client_);
  ASSERT_TRUE(Cancel(first));
  ASSERT_EQ(WaitCanceled(first), AGX_OK);
  SessionPtr second = Started(client_);
  EXPECT_EQ(Stop(first), AGX_TAKEN_OVER);
  EXPECT_TRUE(IsLive(second));
  EXPECT_THAT(Stored(second), ElementsAre("begin"));
}

TEST_P(CapiSession, CancelOfADeadSession) {
  SessionPtr session = OpenSession(client_);
  EXPECT_FALSE(Cancel(session));
  EXPECT_EQ(agx_cancel(session.get(), nullptr), AGX_OK);
  EXPECT_THAT(Stored(session), IsEmpty());
  ASSERT_EQ(Start(session), AGX_OK);
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_FALSE(Cancel(session));
  EXPECT_FALSE(IsCanceled(session));
}

TEST_P(CapiSession, OfManyCancelsOneFindsItLive) {
  SessionPtr session = Started(client_);
  std::atomic<int> found{0};
  InThreads(8, [&](int) {
    if (Cancel(OpenSession(client_))) found.fetch_add(1);
  });
  EXPECT_EQ(found, 1);
}

TEST_P(CapiSession, WaitsForACancelAsLongAsItIsTold) {
  SessionPtr session = Started(client_);
  Stopwatch none;
  EXPECT_EQ(WaitCanceled(session, 0), AGX_TIMEOUT);
  EXPECT_LE(none.ms(), kAtOnceMs);
  Stopwatch some;
  EXPECT_EQ(WaitCanceled(session, 250), AGX_TIMEOUT);
  EXPECT_GE(some.ms(), 250);
  EXPECT_LE(some.ms(), 250 + kAtOnceMs);
  for (int64_t endless : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    Background<agx_status> wait([&] { return WaitCanceled(session, endless); });
    wait.AwaitBlocked();
    Cancel(session);
    EXPECT_EQ(wait.Get(), AGX_OK);
    ASSERT_EQ(Start(session), AGX_OK);
  }
}

TEST_P(CapiSession, OnlyAStartedSessionIsWaitedFor) {
  SessionPtr session = OpenSession(client_);
  EXPECT_EQ(WaitCanceled(session), AGX_NOT_LIVE);
  SessionPtr started = Started(client_);
  EXPECT_EQ(WaitCanceled(session), AGX_NOT_LIVE);
  Background<agx_status> wait([&] { return WaitCanceled(started, -1); });
  wait.AwaitBlocked();
  ASSERT_EQ(Stop(started), AGX_OK);
  EXPECT_EQ(wait.Get(), AGX_NOT_LIVE);
  EXPECT_EQ(WaitCanceled(started), AGX_NOT_LIVE);
  EXPECT_FALSE(IsCanceled(started));
}

// Whoever waits listens to the store for all of the client, and what it leaves behind is not lost.
TEST_P(CapiSession, ACancelIsHeardWhileAnotherSessionsWaiterComesAndGoes) {
  SessionPtr waited = Started(client_, "waited");
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    for (int64_t i = 0; !done; ++i) WaitCanceled(waited, i % 3);
  });
  // Well before the lease would be looked at.
  for (int i = 0; i < 200; ++i) {
    SessionPtr session = Started(client_, std::to_string(i));
    EXPECT_TRUE(Cancel(OpenSession(other_, std::to_string(i))));
    if (!WaitUntil([&] { return IsCanceled(session); }, std::chrono::milliseconds(kAtOnceMs))) {
      ADD_FAILURE() << "of the cancel of session " << i;
      break;
    }
  }
  done = true;
  waiter.join();
}

TEST_P(CapiSession, ClosingWakesThoseWhoWait) {
  SessionPtr session = Started(client_);
  Background<agx_status> wait([raw = session.get()] { return agx_wait_canceled(raw, -1); });
  wait.AwaitBlocked();
  agx_session* raw = session.release();
  Stopwatch watch;
  agx_session_close(raw);
  EXPECT_LE(watch.ms(), kAtOnceMs);
  EXPECT_EQ(wait.Get(), AGX_ECLOSED);
  EXPECT_EQ(agx_is_canceled(raw), 1);
}

TEST_P(CapiSession, ClosingTheClientWakesThoseWhoWait) {
  ClientPtr client = Open();
  SessionPtr session = Started(client);
  Background<agx_status> wait([&] { return WaitCanceled(session, -1); });
  wait.AwaitBlocked();
  Stopwatch watch;
  client.reset();
  EXPECT_LE(watch.ms(), kAtOnceMs);
  EXPECT_EQ(wait.Get(), AGX_ECLOSED);
}

// --- Stop

TEST_P(CapiSession, StopEndsTheSession) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  Background<std::vector<std::string>> follow([&] { return Follow(listener); });
  follow.AwaitBlocked();
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(follow.Get(), ElementsAre("begin", "AGX_ENDED"));
  EXPECT_FALSE(IsLive(session));
  EXPECT_FALSE(IsCanceled(session));
}

TEST_P(CapiSession, AnEndedStreamExpiresAfterItsGrace) {
  SessionPtr session = Started(client_);
  Stopwatch watch;
  ASSERT_EQ(Stop(session, 600), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return Stored(session).empty(); }));
  EXPECT_GE(watch.ms(), 590);
  EXPECT_LE(watch.ms(), 600 + kAtOnceMs);
}

TEST_P(CapiSession, ANegativeGraceIsTheDefault) {
  SessionPtr session = Started(client_);
  Stopwatch watch;
  ASSERT_EQ(Stop(session, -7), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return Stored(session).empty(); }));
  EXPECT_GE(watch.ms(), 4990);
  EXPECT_LE(watch.ms(), 5000 + kAtOnceMs);
}

TEST_P(CapiSession, WithoutGraceTheStreamGoesAtOnce) {
  SessionPtr session = Started(client_);
  Add(session, "a");
  ASSERT_EQ(Stop(session, 0), AGX_OK);
  EXPECT_THAT(Stored(session), IsEmpty());
  EXPECT_FALSE(IsLive(session));
  EXPECT_EQ(Stop(session, 0), AGX_NOT_LIVE);
}

TEST_P(CapiSession, AnEndlessGraceIsTaken) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session, INT64_MAX), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
}

TEST_P(CapiSession, AStreamEndsOnce) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_EQ(Stop(session), AGX_OK);
  EXPECT_EQ(Stop(OpenSession(other_)), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
}

TEST_P(CapiSession, AnyHandleMayStop) {
  SessionPtr session = Started(client_);
  Background<agx_status> wait([&] { return WaitCanceled(session); });
  wait.AwaitBlocked();
  SessionPtr other = OpenSession(other_);
  ASSERT_EQ(Stop(other), AGX_OK);
  EXPECT_FALSE(IsLive(session));
  EXPECT_EQ(wait.Get(), AGX_OK);  // its flag was taken
  EXPECT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
}

TEST_P(CapiSession, NothingToStop) {
  SessionPtr session = OpenSession(client_);
  EXPECT_EQ(Stop(session), AGX_NOT_LIVE);
  EXPECT_NE(std::string(agx_last_error()), "");
  EXPECT_THAT(Stored(session), IsEmpty());
  if (is_redis()) {
    EXPECT_EQ(server().Command({"DBSIZE"}), "0");
  }
}

TEST_P(CapiSession, OfManyStopsOneWritesTheEnd) {
  SessionPtr session = Started(client_);
  InThreads(8, [&](int) { EXPECT_EQ(Stop(OpenSession(client_)), AGX_OK); });
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
}

// --- What only a server shows

class CapiSessionRedis : public OnRedis {};

TEST_F(CapiSessionRedis, WaitingForACancelSendsNothing) {
  SessionPtr session = Started(client_);
  auto processed = [&] {
    std::string info = Raw({"INFO", "stats"});
    std::string name = "total_commands_processed:";
    return std::stol(info.substr(info.find(name) + name.size()));
  };
  EXPECT_EQ(WaitCanceled(session, 100), AGX_TIMEOUT);
  long before = processed();
  EXPECT_EQ(WaitCanceled(session, 1500), AGX_TIMEOUT);
  EXPECT_FALSE(IsCanceled(session));
  EXPECT_LE(processed() - before, 5);
}

TEST_F(CapiSessionRedis, ACancelByAnotherProgramReachesTheProducer) {
  SessionPtr session = Started(client_);
  Background<agx_status> wait([&] { return WaitCanceled(session, -1); });
  wait.AwaitBlocked();
  EXPECT_NE(Raw({"GETDEL", "agx:1:2:s:live"}), "(nil)");
  EXPECT_EQ(wait.Get(), AGX_OK);
  EXPECT_TRUE(IsCanceled(session));
  ASSERT_EQ(Stop(session), AGX_OK);

  ASSERT_EQ(Start(session), AGX_OK);
  EXPECT_EQ(Raw({"DEL", "agx:1:2:s:live"}), "1");
  EXPECT_TRUE(WaitUntil([&] { return IsCanceled(session); }));
}

TEST_F(CapiSessionRedis, TakenOverByAnotherProgram) {
  SessionPtr session = Started(client_);
  EXPECT_EQ(Raw({"SET", "agx:1:2:s:live", "1"}), "OK");
  EXPECT_EQ(WaitCanceled(session), AGX_TAKEN_OVER);
  EXPECT_EQ(Stop(session), AGX_TAKEN_OVER);
  EXPECT_EQ(Raw({"GET", "agx:1:2:s:live"}), "1");
  EXPECT_EQ(Raw({"PTTL", "agx:1:2:s:live"}), "-1");
}

TEST_F(CapiSessionRedis, AFlagWithoutExpiryCountsAsLive) {
  ASSERT_EQ(Raw({"SET", "agx:1:2:s:live", "1"}), "OK");
  SessionPtr session = OpenSession(client_);
  EXPECT_TRUE(IsLive(session));
  EXPECT_EQ(Start(session), AGX_EBUSY);
  EXPECT_EQ(Raw({"EXISTS", "agx:1:2:s"}), "0");
  EXPECT_EQ(agx_renew(session.get()), AGX_OK);
  EXPECT_EQ(Raw({"PTTL", "agx:1:2:s:live"}), "-1");
  agx_start_options take_over = TakeOver();
  EXPECT_EQ(Start(session, &take_over), AGX_OK);
  EXPECT_NE(Raw({"PTTL", "agx:1:2:s:live"}), "-1");
  EXPECT_EQ(Stop(session), AGX_OK);
  EXPECT_FALSE(IsLive(session));
}

// In a process of its own; ready when it wrote to `out`. Forked before there is any thread, so the
// URL comes through a pipe.
[[noreturn]] void Produce(int in, int out) {
  char url[128] = "";
  if (read(in, url, sizeof(url) - 1) <= 0) _exit(1);
  agx_client* client = nullptr;
  agx_session* session = nullptr;
  agx_start_options leased = Leased(1000);
  if (agx_open(url, nullptr, &client) != AGX_OK) _exit(2);
  if (agx_session_open(client, 1, 2, "s", &session) != AGX_OK) _exit(3);
  if (agx_start(session, &leased) != AGX_OK) _exit(4);
  if (agx_add(session, "a", "test", nullptr, nullptr) != AGX_OK) _exit(5);
  if (write(out, "!", 1) != 1) _exit(6);
  for (;;) pause();
}

TEST(CapiSessionProcess, AProducerThatIsKilledIsDeadWithinItsLease) {
  int to_child[2];
  int from_child[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(from_child), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) Produce(to_child[0], from_child[1]);
  close(from_child[1]);  // so that a child that fails is not waited for

  RedisServer server;
  ClientPtr client = OpenClient(server.url());
  SessionPtr session = OpenSession(client);
  ListenerPtr listener = Listen(session);
  Background<std::vector<std::string>> follow([&] { return Follow(listener); });
  std::string url = server.url();
  ASSERT_EQ(write(to_child[1], url.data(), url.size()), static_cast<ssize_t>(url.size()));
  char ready = 0;
  ASSERT_EQ(read(from_child[0], &ready, 1), 1);
  for (Stopwatch watch; watch.ms() < 2500;) ASSERT_TRUE(IsLive(session)) << watch.ms();

  Stopwatch dead;
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_THAT(follow.Get(), ElementsAre("begin", "a", "AGX_GONE"));
  EXPECT_LE(dead.ms(), 1000 + kAtOnceMs);
  EXPECT_FALSE(IsLive(session));
  agx_query* query = nullptr;
  ASSERT_EQ(agx_query_open(client.get(), AGX_ANY, AGX_ANY, &query), AGX_OK);
  EXPECT_EQ(agx_query_next(query, nullptr, nullptr, nullptr), AGX_ENDED);
  agx_query_close(query);
  close(to_child[0]);
  close(to_child[1]);
  close(from_child[0]);
}

}  // namespace
}  // namespace agx::test
