// ctest-labels: redis threads
// ctest-timeout: 120
// Listeners and events through the C API: replaying, following, and every outcome.
#include <poll.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <set>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

agx_status Stop(const SessionPtr& session, int64_t grace_ms = -1) {
  return agx_stop(session.get(), grace_ms);
}

bool BecomesReadable(int fd) { return Readable(fd, kPatienceMs); }

// A stream of begin, then "a", "b" and "c".
SessionPtr WithThree(const ClientPtr& client, std::vector<std::string>* ids) {
  SessionPtr session = Started(client);
  for (const char* type : {"a", "b", "c"}) ids->push_back(Add(session, type));
  return session;
}

class CapiListener : public OnEachStore {};
AGX_ON_EACH_STORE(CapiListener);

// --- Where it begins

TEST_P(CapiListener, ReplaysThenFollowsThenEnds) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ListenerPtr listener = Listen(OpenSession(other_));
  EXPECT_THAT(Follow(listener, 0), ElementsAre("begin", "a", "b", "c", "AGX_TIMEOUT"));
  Background<Told> next([&] { return Next(listener, -1); });
  next.AwaitBlocked();
  std::string id = Add(session, "d", R"({"x": 1})", "me");
  Told told = next.Get();
  EXPECT_EQ(told.id(), id);
  EXPECT_EQ(told.type(), "d");
  EXPECT_EQ(told.origin(), "me");
  EXPECT_EQ(told.body(), R"({"x": 1})");
  EXPECT_EQ(agx_event_time(told.event.get()), std::stoll(id));
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Follow(listener), ElementsAre("AGX_ENDED"));
}

TEST_P(CapiListener, BeginsWhereItIsTold) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  auto after = [&](const char* text) { return Follow(ListenAfter(session, text), 0); };
  for (const char* beginning : {static_cast<const char*>(nullptr), "", "0", "0-0"}) {
    EXPECT_THAT(after(beginning), ElementsAre("begin", "a", "b", "c", "AGX_TIMEOUT"));
  }
  // Ids that never were: a store may not know whether it has dropped something since.
  for (const char* early : {"0-1", "1", "1-0"}) {
    ListenerPtr listener = ListenAfter(session, early);
    std::vector<std::string> texts = Follow(listener, 0);
    if (texts[0] == "AGX_GAP") texts = Follow(listener, 0);
    EXPECT_THAT(texts, ElementsAre("begin", "a", "b", "c", "AGX_TIMEOUT"));
  }
  for (const char* now : {"new", "$"}) EXPECT_THAT(after(now), ElementsAre("AGX_TIMEOUT"));
  EXPECT_THAT(after(ids[0].c_str()), ElementsAre("b", "c", "AGX_TIMEOUT"));
  EXPECT_THAT(after(ids[2].c_str()), ElementsAre("AGX_TIMEOUT"));
  EXPECT_THAT(after("18446744073709551615-18446744073709551615"), ElementsAre("AGX_TIMEOUT"));
}

TEST_P(CapiListener, MillisecondsAloneAreTheirFirstEntry) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  Told begin = Next(listener);
  std::string ms = begin.id().substr(0, begin.id().find('-'));
  std::string after_ms = Follow(ListenAfter(session, ms.c_str()), 0)[0];
  EXPECT_EQ(after_ms, Follow(ListenAfter(session, (ms + "-0").c_str()), 0)[0]);
}

TEST_P(CapiListener, OnlyNewOnes) {
  SessionPtr session = Started(client_);
  Add(session, "old");
  for (const char* now : {"new", "$"}) {
    ListenerPtr listener = ListenAfter(session, now);
    std::string type = std::string("new ") + now;
    Add(session, type);
    EXPECT_EQ(Next(listener).type(), type);
    EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  }
}

TEST_P(CapiListener, OnlyNewOnesOfASessionThatIsNotThereYet) {
  SessionPtr session = OpenSession(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  EXPECT_EQ(Position(listener), "0-0");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Next(listener).type(), "begin");
}

TEST_P(CapiListener, PositionIsWhereToResume) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ASSERT_EQ(Stop(session), AGX_OK);
  ListenerPtr listener = Listen(session);
  std::vector<std::string> rest = {"begin", "a", "b", "c", "AGX_ENDED"};
  EXPECT_EQ(Position(listener), "0-0");
  for (;;) {
    ListenerPtr resumed = ListenAfter(session, Position(listener).c_str());
    EXPECT_EQ(Position(resumed), Position(listener));
    EXPECT_EQ(Follow(resumed), rest);
    Told told = Next(listener);
    if (told.status != AGX_OK) break;
    EXPECT_EQ(Position(listener), told.id());
    rest.erase(rest.begin());
  }
  EXPECT_EQ(Position(listener), ids.back());
}

TEST_P(CapiListener, PositionOfOneThatBeganElsewhere) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  EXPECT_EQ(Position(ListenAfter(session, ids[1].c_str())), ids[1]);
  EXPECT_EQ(Position(ListenAfter(session, "7")), "7-0");
  EXPECT_EQ(Position(ListenAfter(session, "new")), ids[2]);
  EXPECT_EQ(Position(ListenAfter(session, "18446744073709551615-18446744073709551615")),
            "18446744073709551615-18446744073709551615");
}

TEST_P(CapiListener, TheSessionHandleMayBeClosed) {
  SessionPtr session = Started(client_);
  SessionPtr other = OpenSession(client_);
  ListenerPtr listener = Listen(other);
  other.reset();
  Add(session, "a");
  EXPECT_THAT(Follow(listener, 0), ElementsAre("begin", "a", "AGX_TIMEOUT"));
}

TEST_P(CapiListener, ReplaysManyInOrder) {
  SessionPtr session = Started(client_);
  constexpr int kCount = 12000;
  std::vector<std::string> bodies;
  for (int i = 0; i < kCount; ++i) bodies.push_back(std::to_string(i));
  std::vector<agx_new_event> events;
  for (const std::string& body : bodies) events.push_back({"t", "test", body.c_str()});
  ASSERT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  ASSERT_EQ(Stop(session, 60000), AGX_OK);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  for (int i = 0; i < kCount; ++i) ASSERT_EQ(Next(listener).body(), bodies[static_cast<size_t>(i)]);
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

TEST_P(CapiListener, FollowsWhatIsAddedMeanwhile) {
  constexpr int kCount = 1500;
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(OpenSession(client_));
  std::thread producer([&] {
    for (int i = 0; i < kCount; ++i) Add(session, "t", std::to_string(i).c_str());
    EXPECT_EQ(Stop(session), AGX_OK);
  });
  EXPECT_EQ(Next(listener).type(), "begin");
  for (int i = 0; i < kCount; ++i) {
    Told told = Next(listener);
    EXPECT_EQ(told.body(), std::to_string(i));
    if (told.status != AGX_OK) break;
  }
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
  producer.join();
}

TEST_P(CapiListener, ManyListenersSeeTheSame) {
  SessionPtr session = Started(client_);
  constexpr int kListeners = 8;
  std::vector<ListenerPtr> listeners;
  for (int i = 0; i < kListeners; ++i) listeners.push_back(Listen(session));
  InThreads(kListeners + 1, [&](int i) {
    if (i == kListeners) {
      for (int n = 0; n < 100; ++n) Add(session, std::to_string(n));
      EXPECT_EQ(Stop(session), AGX_OK);
      return;
    }
    std::vector<std::string> seen = Follow(listeners[static_cast<size_t>(i)]);
    ASSERT_THAT(seen, SizeIs(102));
    EXPECT_EQ(seen.front(), "begin");
    for (size_t n = 0; n < 100; ++n) EXPECT_EQ(seen[n + 1], std::to_string(n));
    EXPECT_EQ(seen.back(), "AGX_ENDED");
  });
}

// --- The end, and the limit

TEST_P(CapiListener, EndedIsFinal) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session), AGX_OK);
  ListenerPtr listener = Listen(session);
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "AGX_ENDED"));
  for (int64_t timeout_ms : {-1, 0, 10}) EXPECT_EQ(Next(listener, timeout_ms).status, AGX_ENDED);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Next(listener, 0).status, AGX_ENDED);
}

TEST_P(CapiListener, HandsTheEndOnIfWanted) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session), AGX_OK);
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  EXPECT_EQ(Next(listener).type(), "begin");
  Told end = Next(listener);
  EXPECT_EQ(end.type(), "end");
  EXPECT_EQ(end.origin(), "opale");
  EXPECT_EQ(end.body(), "{}");
  EXPECT_EQ(Position(listener), end.id());
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

TEST_P(CapiListener, StopsAtItsLimit) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  agx_listen_options options = Patient();
  options.limit = 2;
  ListenerPtr listener = Listen(session, options);
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "a", "AGX_LIMIT"));
  EXPECT_EQ(Next(listener, 0).status, AGX_LIMIT);
  EXPECT_EQ(Position(listener), ids[0]);

  options.limit = INT64_MAX;
  EXPECT_THAT(Follow(Listen(session, options), 0), SizeIs(5));
  options.limit = -1;
  agx_listener* none = nullptr;
  EXPECT_EQ(agx_listen(session.get(), &options, &none), AGX_EINVAL);
}

// --- Waiting

TEST_P(CapiListener, WaitsAsLongAsItsCallIsTold) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  Stopwatch none;
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_LE(none.ms(), kAtOnceMs);
  for (int64_t timeout_ms : {1, 30, 300}) {
    Stopwatch some;
    EXPECT_EQ(Next(listener, timeout_ms).status, AGX_TIMEOUT);
    EXPECT_GE(some.ms(), timeout_ms);
    EXPECT_LE(some.ms(), timeout_ms + kAtOnceMs);
  }
  for (int64_t endless : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    Background<Told> next([&] { return Next(listener, endless); });
    next.AwaitBlocked();
    Add(session, "a");
    EXPECT_EQ(next.Get().type(), "a");
  }
}

TEST_P(CapiListener, IsAbsentAfterItsWaitOnce) {
  SessionPtr session = OpenSession(client_);
  agx_listen_options options = Patient();
  options.wait_ms = 300;
  Stopwatch watch;
  ListenerPtr listener = Listen(session, options);
  EXPECT_EQ(Next(listener, 100).status, AGX_TIMEOUT);
  EXPECT_EQ(Next(listener).status, AGX_ABSENT);
  EXPECT_GE(watch.ms(), 300);
  EXPECT_LE(watch.ms(), 300 + kAtOnceMs);
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  // Counted anew.
  Stopwatch again;
  EXPECT_EQ(Next(listener).status, AGX_ABSENT);
  EXPECT_GE(again.ms(), 200);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Next(listener).type(), "begin");
}

TEST_P(CapiListener, WaitCountsFromTheOpening) {
  SessionPtr session = OpenSession(client_);
  agx_listen_options options = Patient();
  options.wait_ms = 200;
  ListenerPtr listener = Listen(session, options);
  EXPECT_EQ(Next(Listen(OpenSession(client_, "other")), 250).status, AGX_TIMEOUT);
  EXPECT_EQ(Next(listener, 0).status, AGX_ABSENT);
}

TEST_P(CapiListener, WaitIsThreeSecondsByDefault) {
  SessionPtr session = OpenSession(client_);
  agx_listener* listener = nullptr;
  Stopwatch watch;
  ASSERT_EQ(agx_listen(session.get(), nullptr, &listener), AGX_OK);
  ListenerPtr owned(listener);
  EXPECT_EQ(Next(owned).status, AGX_ABSENT);
  EXPECT_GE(watch.ms(), 3000);
  EXPECT_LE(watch.ms(), 3000 + kAtOnceMs);
}

TEST_P(CapiListener, WithoutWaitItIsAbsentAtOnce) {
  agx_listen_options options = Patient();
  options.wait_ms = 0;
  SessionPtr session = OpenSession(client_);
  EXPECT_EQ(Next(Listen(session, options)).status, AGX_ABSENT);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Next(Listen(session, options)).type(), "begin");
}

TEST_P(CapiListener, HugeAndNegativeTimesNeverCome) {
  SessionPtr session = OpenSession(client_);
  for (int64_t endless : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    agx_listen_options options = Patient();
    options.wait_ms = endless;
    options.timeout_ms = endless;
    EXPECT_EQ(Next(Listen(session, options), 30).status, AGX_TIMEOUT);
  }
}

// Whoever takes longer for an event than a session may be silent is given the next all the same.
TEST_P(CapiListener, ASlowReaderIsNotToldOfASilenceThatWasNone) {
  for (bool first : {true, false}) {
    SessionPtr session = Started(client_, first ? "slow-1" : "slow-2");
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.timeout_ms = 100;
    ListenerPtr listener = Listen(session, options);
    EXPECT_EQ(Next(listener).text(), "begin");
    if (!first) {  // one that was at the store's end before
      Add(session, "a");
      EXPECT_EQ(Next(listener).text(), "a");
    }
    Add(session, "late");
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    EXPECT_EQ(Next(listener).text(), "late");
    EXPECT_EQ(Next(listener).status, AGX_SILENT);
  }
}

// As many events as are read at once have the next read asked for ahead. Its answer may lie there while
// more come: that there was nothing then says nothing of now.
TEST_P(CapiListener, IsNotSilentBecauseThereWasNothingWhenItWasAskedAhead) {
  SessionPtr session = Started(client_);
  constexpr int kReadAtOnce = 64;
  for (int i = 1; i < kReadAtOnce; ++i) Add(session, "a");
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.timeout_ms = 300;
  ListenerPtr listener = Listen(session, options);
  for (int i = 0; i < kReadAtOnce; ++i) ASSERT_EQ(Next(listener).status, AGX_OK);
  for (Stopwatch watch; watch.ms() < 2 * options.timeout_ms;) {
    Add(session, "late");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(Next(listener).text(), "late");
}

TEST_P(CapiListener, IsSilentAfterItsTimeoutOnce) {
  SessionPtr session = Started(client_);
  agx_listen_options options = Patient();
  options.timeout_ms = 400;
  ListenerPtr listener = Listen(session, options);
  EXPECT_EQ(Next(listener).type(), "begin");
  EXPECT_EQ(Next(listener, 200).status, AGX_TIMEOUT);
  Add(session, "a");
  EXPECT_EQ(Next(listener).type(), "a");
  Stopwatch watch;
  EXPECT_EQ(Next(listener).status, AGX_SILENT);
  EXPECT_GE(watch.ms(), 390);
  EXPECT_LE(watch.ms(), 400 + kAtOnceMs);
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  Stopwatch again;
  EXPECT_EQ(Next(listener).status, AGX_SILENT);
  EXPECT_GE(again.ms(), 300);
  Add(session, "b");
  EXPECT_EQ(Next(listener).type(), "b");
}

// --- Producers that die

TEST_P(CapiListener, ADeadProducerIsGoneForOneThatWaits) {
  agx_start_options leased = Leased(800);
  Stopwatch alive;
  SessionPtr session = Started(client_, "s", &leased);
  ListenerPtr listener = Listen(OpenSession(client_));
  Background<std::vector<std::string>> follow([&] { return Follow(listener, -1); });
  follow.AwaitBlocked();
  session.reset();
  EXPECT_THAT(follow.Get(), ElementsAre("begin", "AGX_GONE"));
  EXPECT_GE(alive.ms(), 790);
  EXPECT_LE(alive.ms(), 800 + kAtOnceMs);
  EXPECT_FALSE(IsLive(OpenSession(client_)));
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);  // told once
}

TEST_P(CapiListener, ADeadProducerIsGoneForOneThatComesLate) {
  ClientPtr client = Open("lease=500");
  SessionPtr session = Started(client);
  Add(session, "a");
  session.reset();
  SessionPtr late = OpenSession(client);
  ASSERT_TRUE(WaitUntil([&] { return !IsLive(late); }));
  Stopwatch watch;
  EXPECT_THAT(Follow(Listen(late)), ElementsAre("begin", "a", "AGX_GONE"));
  EXPECT_LE(watch.ms(), 500 + kAtOnceMs);
  // Also when it had read all that there is.
  ListenerPtr listener = Listen(late);
  Next(listener);
  Next(listener);
  EXPECT_THAT(Follow(ListenAfter(late, Position(listener).c_str())), ElementsAre("AGX_GONE"));
}

// --- Sessions that have ended before

// The ids of what is there.
std::vector<std::string> StoredIds(const SessionPtr& session) {
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  std::vector<std::string> ids;
  for (Told told = Next(listener, 0); told.status == AGX_OK; told = Next(listener, 0)) {
    ids.push_back(told.id());
  }
  return ids;
}

TEST_P(CapiListener, OneThatBeginsAtOrBehindTheEndIsToldSoAtOnce) {
  SessionPtr session = Started(client_);
  Add(session, "a");
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  SessionPtr late = OpenSession(other_);
  std::vector<std::string> ids = StoredIds(late);
  ASSERT_EQ(ids.size(), 3u);
  std::string behind = ids.back() + "7";
  Stopwatch watch;
  for (const std::string& after : {ids[2], behind}) {
    EXPECT_THAT(Follow(ListenAfter(late, after.c_str())), ElementsAre("AGX_ENDED")) << after;
    ListenerPtr no_wait = ListenAfter(late, after.c_str());
    EXPECT_EQ(Next(no_wait, 0).text(), "AGX_ENDED") << after;
    EXPECT_EQ(Next(no_wait, 0).text(), "AGX_ENDED") << "it is final";
    agx_listen_options options = Patient(after.c_str());
    options.hand_on_end = 1;
    options.where = "type = \"a\"";
    EXPECT_THAT(Follow(Listen(late, options)), ElementsAre("AGX_ENDED")) << "it lies before";
    MuxPtr mux = OpenMux(other_);
    ListenerPtr in_mux = ListenAfter(late, after.c_str());
    ASSERT_EQ(agx_mux_add(mux.get(), in_mux.get()), AGX_OK);
    EXPECT_EQ(Next(mux).text(), "AGX_ENDED") << after;
    ListenerPtr with_descriptor = ListenAfter(late, after.c_str());
    int fd = -1;
    ASSERT_EQ(agx_listener_fd(with_descriptor.get(), &fd), AGX_OK);
    EXPECT_TRUE(Readable(fd, kPatienceMs));
    EXPECT_EQ(Next(with_descriptor, 0).text(), "AGX_ENDED") << after;
  }
  EXPECT_THAT(Follow(ListenAfter(late, ids[1].c_str())), ElementsAre("AGX_ENDED"));
  EXPECT_LE(watch.ms(), kAtOnceMs);
}

TEST_P(CapiListener, AWaitForAnEventOfASessionThatHasEndedIsToldSoAtOnce) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  SessionPtr late = OpenSession(other_);
  Stopwatch watch;
  agx_event* event = nullptr;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(agx_wait_for(late.get(), nullptr, kPatienceMs, &event), AGX_ENDED);
  }
  EXPECT_LE(watch.ms(), kAtOnceMs);
  // Another run is waited for.
  session = Started(client_);
  Add(session, "a");
  agx_status status = agx_wait_for(late.get(), "type = \"a\"", kPatienceMs, &event);
  // The start has dropped the end, and whether anything else went with it cannot be told.
  if (status == AGX_GAP) {
    status = agx_wait_for(late.get(), "type = \"a\"", kPatienceMs, &event);
  }
  ASSERT_EQ(status, AGX_OK);
  agx_event_free(event);
}

TEST_P(CapiListener, ARunThatBeginsBehindTheEndIsFollowed) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  std::string end = StoredIds(OpenSession(other_)).back();
  ListenerPtr listener = ListenAfter(OpenSession(other_), end.c_str());
  session = Started(client_);
  Add(session, "a");
  EXPECT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  std::vector<std::string> texts = Follow(listener);
  // The start has dropped the end, and whether anything else went with it cannot be told.
  if (texts.front() == "AGX_GAP") texts = Follow(listener);
  EXPECT_THAT(texts, ElementsAre("begin", "a", "AGX_ENDED"));
}

TEST_P(CapiListener, OneThatIsLiveHasNotEndedWhateverItEndsWith) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  std::string end = StoredIds(OpenSession(other_)).back();
  agx_start_options on = TakeOver();
  on.keep = 1;
  session = Started(client_, "s", &on);
  ListenerPtr listener = ListenAfter(OpenSession(other_), end.c_str());
  EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
  Add(session, "a");
  EXPECT_EQ(Next(listener).text(), "a");
}

TEST_P(CapiListener, OneForWhatIsNewWaitsBehindTheEndForTheNextRun) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  ListenerPtr listener = ListenAfter(OpenSession(other_), "new");
  EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
  session = Started(client_);
  std::string text = Next(listener).text();
  if (text == "AGX_GAP") text = Next(listener).text();
  EXPECT_EQ(text, "begin");
}

// --- Producers that died

TEST_P(CapiListener, AfterGoneItFollowsTheNextRunThere) {
  agx_start_options leased = Leased(300);
  SessionPtr session = Started(client_, "s", &leased);
  Add(session, "a");
  ListenerPtr listener = Listen(OpenSession(client_));
  session.reset();
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "a", "AGX_GONE"));
  session = Started(client_);
  // The old run's events are dropped by the start, and all of them had been seen.
  std::vector<std::string> next = Follow(listener, 1000);
  next.erase(std::remove(next.begin(), next.end(), "AGX_GAP"), next.end());
  EXPECT_EQ(Next(ListenAfter(session, "0")).type(), "begin");
}

TEST_P(CapiListener, AProducerThatIsSilentButAliveIsNeverGone) {
  agx_start_options leased = Leased(200);
  SessionPtr session = Started(client_, "s", &leased);
  ListenerPtr listener = ListenAfter(session, "new");
  EXPECT_EQ(Next(listener, 1500).status, AGX_TIMEOUT);
}

TEST_P(CapiListener, AStoppedSessionIsNotGone) {
  ClientPtr client = Open("lease=200");
  SessionPtr session = Started(client);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  Background<Told> next([&] { return Next(listener, -1); });
  next.AwaitBlocked();
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_EQ(next.Get().status, AGX_ENDED);
}

TEST_P(CapiListener, ACancelledSessionThatStopsEnds) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  ASSERT_EQ(agx_cancel(session.get(), nullptr), AGX_OK);
  ASSERT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
  EXPECT_EQ(Next(listener, 200).status, AGX_TIMEOUT);
  EXPECT_EQ(agx_add_error(session.get(), nullptr, R"({"msg": "canceled"})", nullptr), AGX_OK);
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Follow(listener), ElementsAre("error", "AGX_ENDED"));
}

// --- Gaps

TEST_P(CapiListener, ATrimmedStreamHasAGap) {
  ClientPtr client = Open("max_length=100");
  SessionPtr session = Started(client);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  std::vector<std::string> bodies;
  for (int i = 0; i < 3000; ++i) bodies.push_back(std::to_string(i));
  std::vector<agx_new_event> events;
  for (const std::string& body : bodies) events.push_back({"t", "test", body.c_str()});
  ASSERT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  ListenerPtr fresh = Listen(session);
  Told first_there = Next(fresh);  // one that begins at the beginning has none
  EXPECT_EQ(first_there.type(), "t");
  // The first that were read ahead may still come.
  int next = 0;
  Told told = Next(listener);
  for (; told.status == AGX_OK; told = Next(listener))
    ASSERT_EQ(told.body(), bodies[static_cast<size_t>(next++)]);
  EXPECT_EQ(told.status, AGX_GAP);
  told = Next(listener);
  ASSERT_EQ(told.status, AGX_OK);
  EXPECT_EQ(told.id(), first_there.id());
  for (int number = std::stoi(told.body()); number < 2999;) {
    told = Next(listener);
    ASSERT_EQ(told.body(), std::to_string(++number));
  }
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
}

TEST_P(CapiListener, AStreamThatExpiredHasAGapForOneThatWasInIt) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ASSERT_EQ(Stop(session, 0), AGX_OK);
  EXPECT_EQ(Next(ListenAfter(session, ids[0].c_str())).status, AGX_GAP);
}

// --- next_many

// Nothing is left of it, and nobody is there to say so: a thread that waits for a server may learn of it by the
// lease alone.
TEST_P(CapiListener, AStopWithoutGraceIsNoEndForWhoeverWaits) {
  ClientPtr client = Open("lease=300");
  for (const char* way : {"thread", "descriptor", "mux"}) {
    SessionPtr session = OpenSession(client_, way);
    agx_start_options leased = Leased(1000);
    ASSERT_EQ(agx_start(session.get(), &leased), AGX_OK);
    std::string id = Add(session, "a");
    agx_listen_options options = Patient();
    options.after = id.c_str();
    ListenerPtr listener = Listen(OpenSession(client, way), options);
    MuxPtr mux = OpenMux(client);
    int fd = -1;
    bool in_mux = way == std::string("mux");
    if (in_mux) {
      ASSERT_EQ(agx_mux_add(mux.get(), listener.get()), AGX_OK);
    } else if (way == std::string("descriptor")) {
      ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    }
    auto next = [&] { return in_mux ? Next(mux).text() : Next(listener).text(); };
    Add(session, "b");
    EXPECT_EQ(next(), "b");
    Background<std::vector<std::string>> waiting([&] {
      std::vector<std::string> told;
      do {
        told.push_back(next());
      } while (told.back() == "AGX_GAP" && told.size() < 3);
      return told;
    });
    waiting.AwaitBlocked();
    EXPECT_EQ(agx_stop(session.get(), 0), AGX_OK);
    EXPECT_THAT(waiting.Get(), AnyOf(ElementsAre("AGX_GONE"), ElementsAre("AGX_GAP", "AGX_GONE")))
        << way;
    EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_TAKEN) << way;
  }
}

TEST_P(CapiListener, TakesManyAtOnce) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ASSERT_EQ(Stop(session), AGX_OK);
  ListenerPtr listener = Listen(session);
  std::vector<agx_event*> events(64, nullptr);
  auto take = [&](size_t capacity) {
    size_t count = 77;
    agx_status status =
        agx_listen_next_many(listener.get(), kPatienceMs, events.data(), capacity, &count);
    EXPECT_EQ(status == AGX_OK, count > 0);
    std::vector<std::string> types;
    for (size_t i = 0; i < count; ++i) {
      types.emplace_back(agx_event_type(events[i], nullptr));
      agx_event_free(events[i]);
    }
    if (status != AGX_OK) types.emplace_back(agx_status_string(status));
    return types;
  };
  EXPECT_THAT(take(2), ElementsAre("begin", "a"));
  EXPECT_EQ(Position(listener), ids[0]);
  EXPECT_THAT(take(64), ElementsAre("b", "c"));
  EXPECT_EQ(Position(listener), ids[2]);
  EXPECT_THAT(take(64), ElementsAre("AGX_ENDED"));
}

TEST_P(CapiListener, TakesManyButWaitsOnlyForTheFirst) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  agx_event* events[8] = {};
  size_t count = 0;
  Background<agx_status> next(
      [&] { return agx_listen_next_many(listener.get(), -1, events, 8, &count); });
  next.AwaitBlocked();
  Add(session, "a");
  EXPECT_EQ(next.Get(), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_STREQ(agx_event_type(events[0], nullptr), "a");
  agx_event_free(events[0]);
  EXPECT_EQ(agx_listen_next_many(listener.get(), 20, events, 8, &count), AGX_TIMEOUT);
  EXPECT_EQ(count, 0U);
}

TEST_P(CapiListener, TakesManyUpToItsLimit) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  agx_listen_options options = Patient();
  options.limit = 3;
  ListenerPtr listener = Listen(session, options);
  agx_event* events[8] = {};
  size_t count = 0;
  ASSERT_EQ(agx_listen_next_many(listener.get(), -1, events, 8, &count), AGX_OK);
  EXPECT_EQ(count, 3U);
  for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
  EXPECT_EQ(agx_listen_next_many(listener.get(), -1, events, 8, &count), AGX_LIMIT);
}

// --- Interrupting and closing

// Whoever calls again and again does not keep a processor, and the server, busy with it.
TEST_P(CapiListener, WhatFailsForGoodIsNotTriedAllTheTime) {
  agx_stream_options list = AGX_STREAM_OPTIONS_INIT;
  list.format = "ag2";
  list.prefix = "agx:1:2";
  agx_session* other = nullptr;
  ASSERT_EQ(agx_stream_open(client_.get(), "wrong", &list, &other), AGX_OK);
  SessionPtr foreign(other);
  ASSERT_EQ(agx_add(foreign.get(), "test.Event", "test", "{}", nullptr), AGX_OK);
  for (const char* way : {"next", "descriptor", "descriptor and next", "mux", "wait_for"}) {
    ListenerPtr listener = Listen(OpenSession(client_, "wrong"));
    int fd = -1;
    if (std::string(way).starts_with("descriptor")) {
      ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    }
    SessionPtr waits = OpenSession(client_, "wrong");
    ASSERT_EQ(agx_set_waited(waits.get(), "0-0"), AGX_OK);
    MuxPtr mux = OpenMux(client_);
    int failures = 0;
    auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (std::chrono::steady_clock::now() < until) {
      agx_event* event = nullptr;
      agx_status status;
      if (std::string(way) == "descriptor") {
        ASSERT_TRUE(BecomesReadable(fd));
        status = agx_listen_next(listener.get(), 0, &event);
      } else if (std::string(way).ends_with("next")) {
        status = agx_listen_next(listener.get(), kPatienceMs, &event);
      } else if (std::string(way) == "wait_for") {
        status = agx_wait_for(waits.get(), nullptr, kPatienceMs, &event);
      } else {
        ASSERT_EQ(agx_mux_add(mux.get(), listener.get()), AGX_OK);
        status = Next(mux).status;
        ASSERT_EQ(agx_mux_remove(mux.get(), listener.get()), AGX_OK);
      }
      ASSERT_EQ(status, AGX_ETYPE) << way;
      ++failures;
    }
    EXPECT_GE(failures, 1) << way;
    EXPECT_LE(failures, 6) << way;
  }
}

TEST_P(CapiListener, AnInterruptWakesTheCall) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  Background<Told> next([&] { return Next(listener, -1); });
  next.AwaitBlocked();
  Stopwatch watch;
  EXPECT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
  EXPECT_EQ(next.Get().status, AGX_INTERRUPTED);
  EXPECT_LE(watch.ms(), kAtOnceMs);
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  Add(session, "a");
  EXPECT_EQ(Next(listener).type(), "a");
}

TEST_P(CapiListener, AnInterruptWaitsForTheNextCall) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
  EXPECT_THAT(Follow(listener, -1), ElementsAre("AGX_INTERRUPTED"));
  EXPECT_THAT(Follow(listener, 0), ElementsAre("begin", "AGX_TIMEOUT"));
}

// Though what comes next was read long before.
TEST_P(CapiListener, AnInterruptComesBeforeWhatIsAtHand) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ListenerPtr listener = Listen(session);
  for (const char* type : {"begin", "a", "b"}) {
    EXPECT_EQ(Next(listener).text(), type);
    EXPECT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
    EXPECT_EQ(Next(listener, 0).status, AGX_INTERRUPTED);
  }
  EXPECT_THAT(Follow(listener, 0), ElementsAre("c", "AGX_TIMEOUT"));
}

TEST_P(CapiListener, ClosingWakesTheCall) {
  SessionPtr session = Started(client_);
  for (bool with_descriptor : {false, true}) {
    agx_listener* raw = ListenAfter(session, "new").release();
    int fd = -1;
    if (with_descriptor) {
      ASSERT_EQ(agx_listener_fd(raw, &fd), AGX_OK);
    }
    Background<agx_status> next([&] {
      agx_event* event = nullptr;
      return agx_listen_next(raw, -1, &event);
    });
    next.AwaitBlocked();
    Stopwatch watch;
    agx_listener_close(raw);
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(next.Get(), AGX_ECLOSED);
  }
}

TEST_P(CapiListener, ClosingTheClientWakesTheCall) {
  SessionPtr session = Started(client_);
  for (bool with_descriptor : {false, true}) {
    ClientPtr client = Open();
    ListenerPtr listener = ListenAfter(OpenSession(client), "new");
    int fd = -1;
    if (with_descriptor) {
      ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    }
    Background<Told> next([&] { return Next(listener, -1); });
    next.AwaitBlocked();
    Stopwatch watch;
    client.reset();
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(next.Get().status, AGX_ECLOSED);
    EXPECT_EQ(Next(listener).status, AGX_ECLOSED);
  }
}

// --- Several threads on one listener

TEST_P(CapiListener, ThreadsShareAListener) {
  constexpr int kThreads = 4;
  constexpr int kCount = 800;
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  std::mutex mutex;
  std::multiset<int> seen;
  InThreads(kThreads + 1, [&](int thread) {
    if (thread == kThreads) {
      for (int i = 0; i < kCount; ++i) Add(session, "t", std::to_string(i).c_str());
      EXPECT_EQ(Stop(session), AGX_OK);
      return;
    }
    int last = -1;
    for (;;) {
      Told told = Next(listener);
      if (told.status != AGX_OK) {
        EXPECT_EQ(told.status, AGX_ENDED);
        return;
      }
      int number = std::stoi(told.body());
      EXPECT_GT(number, last);
      last = number;
      std::lock_guard lock(mutex);
      seen.insert(number);
    }
  });
  EXPECT_THAT(seen, SizeIs(kCount));
  EXPECT_THAT(std::set<int>(seen.begin(), seen.end()), SizeIs(kCount));
}

TEST_P(CapiListener, TwoThreadsWaitAndEachGetsOne) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  Background<Told> one([&] { return Next(listener, -1); });
  Background<Told> two([&] { return Next(listener, -1); });
  one.AwaitBlocked();
  two.AwaitBlocked();
  Add(session, "a");
  Add(session, "b");
  std::set<std::string> types = {one.Get().type(), two.Get().type()};
  EXPECT_THAT(types, ElementsAre("a", "b"));
}

TEST_P(CapiListener, EveryThreadThatWaitsLearnsOfTheClose) {
  SessionPtr session = Started(client_);
  agx_listener* raw = ListenAfter(session, "new").release();
  auto next = [&] {
    agx_event* event = nullptr;
    return agx_listen_next(raw, -1, &event);
  };
  Background<agx_status> one(next);
  Background<agx_status> two(next);
  one.AwaitBlocked();
  two.AwaitBlocked();
  agx_listener_close(raw);
  EXPECT_EQ(one.Get(), AGX_ECLOSED);
  EXPECT_EQ(two.Get(), AGX_ECLOSED);
}

TEST_P(CapiListener, AThreadWhoseTurnDoesNotComeTimesOut) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  Background<Told> one([&] { return Next(listener, -1); });
  one.AwaitBlocked();
  Stopwatch watch;
  EXPECT_EQ(Next(listener, 200).status, AGX_TIMEOUT);
  EXPECT_GE(watch.ms(), 200);
  Add(session, "a");
  EXPECT_EQ(one.Get().type(), "a");
}

// --- Descriptors

// Handles are given out anew, and the memory behind them as well.
TEST_P(CapiListener, AfterAListenerWithADescriptorTheNextIsHeardAsWell) {
  SessionPtr session = Started(client_);
  for (int round = 0; round < 20; ++round) {
    ListenerPtr listener = ListenAfter(session, "new");
    int fd = -1;
    ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    for (int i = 0; i < 4; ++i) {
      Add(session, "t");
      ASSERT_TRUE(Readable(fd, kAtOnceMs)) << round << " " << i;
      ASSERT_EQ(Next(listener, 0).text(), "t");
    }
  }
}

TEST_P(CapiListener, ADescriptorIsReadableWhileThereIsSomething) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  ASSERT_GE(fd, 0);
  int again = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &again), AGX_OK);
  EXPECT_EQ(again, fd);

  ASSERT_TRUE(BecomesReadable(fd));
  EXPECT_EQ(Next(listener, 0).type(), "begin");
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));
  for (int i = 0; i < 20; ++i) {
    Add(session, "a");
    ASSERT_TRUE(BecomesReadable(fd)) << i;
    EXPECT_EQ(Next(listener, 0).type(), "a");
    EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
    EXPECT_FALSE(Readable(fd));
  }
  // Still readable while there is more.
  for (int i = 0; i < 5; ++i) Add(session, std::to_string(i));
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(BecomesReadable(fd));
    EXPECT_EQ(Next(listener, 0).type(), std::to_string(i));
  }
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));

  ASSERT_EQ(Stop(session), AGX_OK);
  ASSERT_TRUE(BecomesReadable(fd));
  EXPECT_EQ(Next(listener, 0).status, AGX_ENDED);
  EXPECT_TRUE(Readable(fd));  // it still would return something
}

TEST_P(CapiListener, ADescriptorThatIsReadableNeverMeansATimeout) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  constexpr int kCount = 500;
  std::thread producer([&] {
    for (int i = 0; i < kCount; ++i) Add(session, "t", std::to_string(i).c_str());
  });
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(BecomesReadable(fd));
    Told told = Next(listener, 0);
    EXPECT_EQ(told.body(), std::to_string(i));
    if (told.status != AGX_OK) break;
  }
  producer.join();
}

TEST_P(CapiListener, ADescriptorTellsOfOutcomes) {
  ClientPtr client = Open("lease=300");
  SessionPtr dies = Started(client, "dies");
  SessionPtr lives = Started(client, "lives");
  agx_listen_options options = Patient();
  options.wait_ms = 200;
  options.timeout_ms = 200;
  ListenerPtr absent = Listen(OpenSession(client, "other"), options);
  ListenerPtr silent = Listen(lives, options);
  options.timeout_ms = -1;
  ListenerPtr gone = Listen(dies, options);
  options.limit = 1;
  ListenerPtr limited = Listen(lives, options);
  dies.reset();
  auto told = [](const ListenerPtr& listener) {
    int fd = -1;
    EXPECT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    std::vector<std::string> texts;
    do {
      EXPECT_TRUE(BecomesReadable(fd));
      texts.push_back(Next(listener, 0).text());
    } while (texts.back() == "begin");
    return texts;
  };
  EXPECT_THAT(told(absent), ElementsAre("AGX_ABSENT"));
  EXPECT_THAT(told(silent), ElementsAre("begin", "AGX_SILENT"));
  EXPECT_THAT(told(gone), ElementsAre("begin", "AGX_GONE"));
  EXPECT_THAT(told(limited), ElementsAre("begin", "AGX_LIMIT"));
}

// What has failed waits for whoever takes it, also if the descriptor is asked for meanwhile.
TEST_P(CapiListener, ADescriptorTellsOfAFailure) {
  agx_stream_options list = AGX_STREAM_OPTIONS_INIT;
  list.format = "ag2";
  list.prefix = "agx:1:2";
  agx_session* other = nullptr;
  ASSERT_EQ(agx_stream_open(client_.get(), "wrong", &list, &other), AGX_OK);
  SessionPtr foreign(other);
  Add(foreign, "test.Event");
  ListenerPtr listener = Listen(OpenSession(client_, "wrong"));
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(BecomesReadable(fd));
    ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
    EXPECT_TRUE(Readable(fd));
    EXPECT_EQ(Next(listener, 0).status, AGX_ETYPE);
  }
}

TEST_P(CapiListener, ADescriptorTellsOfInterrupts) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  EXPECT_EQ(Next(listener, 50).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));
  EXPECT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(Next(listener, 0).status, AGX_INTERRUPTED);
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));
}

TEST_P(CapiListener, AnInterruptBeforeTheDescriptorIsSeenByIt) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  EXPECT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  EXPECT_TRUE(BecomesReadable(fd));
  EXPECT_EQ(Next(listener, 0).status, AGX_INTERRUPTED);
}

TEST_P(CapiListener, ADescriptorTellsOfTheClosedClient) {
  SessionPtr session = Started(client_);
  ClientPtr client = Open();
  ListenerPtr listener = ListenAfter(OpenSession(client), "new");
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  EXPECT_EQ(Next(listener, 50).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));
  client.reset();
  EXPECT_TRUE(BecomesReadable(fd));
  EXPECT_EQ(Next(listener, 0).status, AGX_ECLOSED);
}

TEST_P(CapiListener, ADescriptorFollowsFromWhereTheListenerWas) {
  std::vector<std::string> ids;
  SessionPtr session = WithThree(client_, &ids);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  EXPECT_EQ(Next(listener).type(), "a");
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(listener.get(), &fd), AGX_OK);
  for (const char* type : {"b", "c"}) {
    ASSERT_TRUE(BecomesReadable(fd));
    EXPECT_EQ(Next(listener, 0).type(), type);
  }
  Background<Told> next([&] { return Next(listener, -1); });
  next.AwaitBlocked();
  Add(session, "d");
  EXPECT_EQ(next.Get().type(), "d");
}

TEST_P(CapiListener, AHundredDescriptors) {
  constexpr size_t kCount = 100;
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  std::vector<pollfd> items;
  for (size_t i = 0; i < kCount; ++i) {
    sessions.push_back(Started(client_, "s" + std::to_string(i)));
    listeners.push_back(ListenAfter(sessions[i], "new"));
    int fd = -1;
    ASSERT_EQ(agx_listener_fd(listeners[i].get(), &fd), AGX_OK);
    items.push_back({fd, POLLIN, 0});
  }
  for (size_t i = 0; i < kCount; ++i) Add(sessions[i], std::to_string(i));
  std::vector<bool> seen(kCount, false);
  for (size_t left = kCount; left > 0;) {
    ASSERT_GT(poll(items.data(), items.size(), static_cast<int>(kPatienceMs)), 0);
    for (size_t i = 0; i < kCount; ++i) {
      if ((items[i].revents & POLLIN) == 0) continue;
      ASSERT_EQ(Next(listeners[i], 0).type(), std::to_string(i));
      ASSERT_FALSE(seen[i]);
      seen[i] = true;
      items[i].fd = -1;
      --left;
    }
  }
}

// --- Data

TEST_P(CapiListener, KeepsAPointer) {
  SessionPtr session = OpenSession(client_);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(agx_listener_data(listener.get()), nullptr);
  int here = 0;
  EXPECT_EQ(agx_listener_set_data(listener.get(), &here), AGX_OK);
  EXPECT_EQ(agx_listener_data(listener.get()), &here);
  EXPECT_EQ(agx_listener_set_data(listener.get(), nullptr), AGX_OK);
  EXPECT_EQ(agx_listener_data(listener.get()), nullptr);
}

// --- Events

TEST_P(CapiListener, EventsOutliveEverything) {
  ClientPtr client = Open();
  SessionPtr session = Started(client);
  std::string id = Add(session, "type", R"({"a": 1})", "origin");
  ListenerPtr listener = Listen(session);
  Next(listener);
  Told told = Next(listener);
  listener.reset();
  session.reset();
  client.reset();
  client_.reset();
  other_.reset();
  size_t length = 0;
  EXPECT_EQ(agx_event_id(told.event.get(), &length), id);
  EXPECT_EQ(length, id.size());
  EXPECT_STREQ(agx_event_type(told.event.get(), &length), "type");
  EXPECT_EQ(length, 4U);
  EXPECT_STREQ(agx_event_origin(told.event.get(), &length), "origin");
  EXPECT_EQ(length, 6U);
  EXPECT_STREQ(agx_event_body(told.event.get(), &length), R"({"a": 1})");
  EXPECT_EQ(length, 8U);
  const char* json = nullptr;
  ASSERT_EQ(agx_event_json(told.event.get(), AGX_JSON_FULL, &json, &length), AGX_OK);
  EXPECT_EQ(json, R"({"id":")" + id + R"(","type":"type","origin":"origin","body":{"a": 1}})");
  EXPECT_EQ(length, std::string(json).size());
}

TEST_P(CapiListener, EventsAreFreedInAnyOrderByAnyThread) {
  SessionPtr session = Started(client_);
  std::vector<agx_new_event> added(3000, {"t", "test", R"({"n": 1})"});
  ASSERT_EQ(agx_add_many(session.get(), added.data(), added.size(), nullptr, nullptr), AGX_OK);
  ListenerPtr listener = Listen(session);
  std::vector<EventPtr> events;
  for (;;) {
    Told told = Next(listener, 0);
    if (told.status != AGX_OK) break;
    events.push_back(std::move(told.event));
  }
  ASSERT_THAT(events, SizeIs(3001));
  listener.reset();
  std::shuffle(events.begin(), events.end(), std::mt19937(7));  // NOLINT: the same each time
  InThreads(4, [&](int thread) {
    for (size_t i = static_cast<size_t>(thread); i < events.size(); i += 4) {
      const char* json = nullptr;
      EXPECT_EQ(agx_event_json(events[i].get(), AGX_JSON_BARE, &json, nullptr), AGX_OK);
      events[i].reset();
    }
  });
}

TEST_P(CapiListener, ThreadsReadOneEvent) {
  SessionPtr session = Started(client_);
  Told told = Next(Listen(session));
  std::vector<const char*> texts(8, nullptr);
  InThreads(8, [&](int i) {
    EXPECT_STREQ(agx_event_type(told.event.get(), nullptr), "begin");
    EXPECT_EQ(
        agx_event_json(told.event.get(), AGX_JSON_FULL, &texts[static_cast<size_t>(i)], nullptr),
        AGX_OK);
  });
  for (const char* text : texts) EXPECT_EQ(text, texts[0]);
}

TEST_P(CapiListener, AnEventAsALineOfJson) {
  SessionPtr session = Started(client_);
  auto json = [&](const char* body, agx_json_form form) {
    ListenerPtr listener = ListenAfter(session, "new");
    Add(session, "a \"type\"\n", body, "\xF0\x9F\x98\x80\\");
    Told told = Next(listener);
    const char* text = nullptr;
    size_t length = 0;
    EXPECT_EQ(agx_event_json(told.event.get(), form, &text, &length), AGX_OK);
    EXPECT_EQ(length, std::string(text).size());
    return std::string(text);
  };
  const std::string bare =
      "{\"type\":\"a \\\"type\\\"\\n\",\"origin\":\"\xF0\x9F\x98\x80\\\\\",\"body\":";
  EXPECT_EQ(json(nullptr, AGX_JSON_BARE), bare + "{}}");
  EXPECT_EQ(json("[1,  2]", AGX_JSON_BARE), bare + "[1,  2]}");
  EXPECT_EQ(json("[1,\n\r2]", AGX_JSON_BARE), bare + "[1,  2]}");
  EXPECT_EQ(json("\"a\"", AGX_JSON_BARE), bare + "\"a\"}");
  EXPECT_THAT(json("{}", AGX_JSON_FULL), HasSubstr(bare.substr(1) + "{}}"));
  EXPECT_THAT(json("{}", AGX_JSON_FULL), testing::StartsWith("{\"id\":\""));
}

TEST(CapiEvent, NothingIsAskedOfNull) {
  size_t length = 9;
  EXPECT_STREQ(agx_event_id(nullptr, &length), "");
  EXPECT_EQ(length, 0U);
  EXPECT_STREQ(agx_event_type(nullptr, &(length = 9)), "");
  EXPECT_EQ(length, 0U);
  EXPECT_STREQ(agx_event_origin(nullptr, &(length = 9)), "");
  EXPECT_EQ(length, 0U);
  EXPECT_STREQ(agx_event_body(nullptr, &(length = 9)), "");
  EXPECT_EQ(length, 0U);
  EXPECT_STREQ(agx_event_body(nullptr, nullptr), "");
  EXPECT_EQ(agx_event_time(nullptr), 0);
  agx_event_free(nullptr);
}

// --- What only a server shows

class CapiListenerRedis : public OnRedis {
 protected:
  const std::string key_ = "agx:1:2:s";
};

TEST_F(CapiListenerRedis, AFlagWithoutExpiryIsNeverGone) {
  ClientPtr client = Open("lease=200");
  ASSERT_EQ(Raw({"SET", key_ + ":live", "1"}), "OK");
  ASSERT_EQ(Raw({"XADD", key_, "5-1", "type", "begin"}), "5-1");
  agx_listen_options options = Patient();
  options.timeout_ms = 1500;
  EXPECT_THAT(Follow(Listen(OpenSession(client), options)), ElementsAre("begin", "AGX_SILENT"));
}

TEST_F(CapiListenerRedis, TrimmedDeletedFlushedExpired) {
  struct Case {
    const char* what;
    std::vector<std::string> command;
    bool all;
  };
  const std::vector<Case> cases = {{"XTRIM", {"XTRIM", key_, "MAXLEN", "1"}, false},
                                   {"DEL", {"DEL", key_}, true},
                                   {"UNLINK", {"UNLINK", key_}, true},
                                   {"FLUSHALL", {"FLUSHALL"}, true},
                                   {"PEXPIRE", {"PEXPIRE", key_, "1"}, true}};
  for (const Case& c : cases) {
    for (bool blocked : {false, true}) {
      SCOPED_TRACE(c.what);
      Raw({"FLUSHALL"});
      for (const char* id : {"1-1", "2-1", "3-1", "4-1"}) {
        ASSERT_EQ(Raw({"XADD", key_, id, "type", id}), id);
      }
      ListenerPtr listener = ListenAfter(OpenSession(client_), blocked ? "4-1" : "1-1");
      if (blocked && !c.all) continue;
      if (blocked) {
        Background<Told> next([&] { return Next(listener, 1500); });
        next.AwaitBlocked();
        Raw(c.command);
        Raw({"XADD", key_, "9-1", "type", "9-1"});
        // All before it had been seen: nothing was lost, though the store may not be able to tell.
        std::string text = next.Get().text();
        if (text == "AGX_GAP") text = Next(listener).text();
        EXPECT_EQ(text, "9-1");
        continue;
      }
      Raw(c.command);
      EXPECT_TRUE(WaitUntil([&] { return Raw({"XLEN", key_}) == (c.all ? "0" : "1"); }));
      EXPECT_EQ(Next(listener).status, AGX_GAP);
      if (c.all) {
        EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
        ASSERT_EQ(Raw({"XADD", key_, "9-1", "type", "9-1"}), "9-1");
        EXPECT_EQ(Next(listener).text(), "9-1");
      } else {
        EXPECT_EQ(Next(listener).text(), "4-1");
      }
    }
  }
}

TEST_F(CapiListenerRedis, NothingLostNoGap) {
  for (const char* id : {"1-1", "2-1", "3-1", "4-1"}) {
    ASSERT_EQ(Raw({"XADD", key_, id, "type", id}), id);
  }
  SessionPtr session = OpenSession(client_);
  // Dropped entries were all before the cursor.
  ASSERT_EQ(Raw({"XTRIM", key_, "MAXLEN", "2"}), "2");
  EXPECT_THAT(Follow(ListenAfter(session, "3-1"), 0), ElementsAre("4-1", "AGX_TIMEOUT"));
  EXPECT_THAT(Follow(ListenAfter(session, "0"), 0), ElementsAre("3-1", "4-1", "AGX_TIMEOUT"));
  EXPECT_EQ(Next(ListenAfter(session, "1-1")).status, AGX_GAP);
  // Never there, between two that are.
  EXPECT_THAT(Follow(ListenAfter(session, "3-7"), 0), ElementsAre("4-1", "AGX_TIMEOUT"));
}

TEST_F(CapiListenerRedis, BodiesOfOthersAreNotChecked) {
  const std::string odd("a\0\xff\"b\n", 6);
  ASSERT_EQ(Raw({"XADD", key_, "1-1", "type", "t", "origin", "o", "body", odd}), "1-1");
  ASSERT_EQ(Raw({"XADD", key_, "2-1", "body", "{", "other", "x"}), "2-1");
  ASSERT_EQ(Raw({"XADD", key_, "3-1", "type", "t", "body", ""}), "3-1");
  ListenerPtr listener = Listen(OpenSession(client_));
  Told told = Next(listener);
  size_t length = 0;
  const char* body = agx_event_body(told.event.get(), &length);
  EXPECT_EQ(std::string(body, length), odd);
  const char* json = nullptr;
  ASSERT_EQ(agx_event_json(told.event.get(), AGX_JSON_BARE, &json, &length), AGX_OK);
  EXPECT_EQ(std::string(json).size(), length);
  EXPECT_THAT(json, testing::StartsWith(R"({"type":"t","origin":"o","body":"a\u0000)"));
  EXPECT_THAT(json, HasSubstr(R"(\"b\n"})"));
  told = Next(listener);
  EXPECT_EQ(told.type(), "");
  EXPECT_EQ(told.origin(), "");
  EXPECT_EQ(told.body(), "{");
  ASSERT_EQ(agx_event_json(told.event.get(), AGX_JSON_FULL, &json, nullptr), AGX_OK);
  EXPECT_STREQ(json, R"({"id":"2-1","type":"","origin":"","body":"{"})");
  told = Next(listener);
  EXPECT_EQ(told.body(), "");
  ASSERT_EQ(agx_event_json(told.event.get(), AGX_JSON_BARE, &json, nullptr), AGX_OK);
  EXPECT_STREQ(json, R"({"type":"t","origin":"","body":""})");
}

TEST_F(CapiListenerRedis, LargestIds) {
  const std::string last = "18446744073709551615-18446744073709551615";
  ASSERT_EQ(Raw({"XADD", key_, last, "type", "t"}), last);
  ListenerPtr listener = Listen(OpenSession(client_));
  EXPECT_EQ(Next(listener).id(), last);
  EXPECT_EQ(Position(listener), last);
  EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  EXPECT_EQ(Position(ListenAfter(OpenSession(client_), "new")), last);
}

TEST_F(CapiListenerRedis, WaitingSendsNextToNothing) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  EXPECT_EQ(Next(listener, 100).status, AGX_TIMEOUT);
  auto processed = [&] {
    std::string info = Raw({"INFO", "stats"});
    std::string name = "total_commands_processed:";
    return std::stol(info.substr(info.find(name) + name.size()));
  };
  long before = processed();
  EXPECT_EQ(Next(listener, 1500).status, AGX_TIMEOUT);
  EXPECT_LE(processed() - before, 8);
}

}  // namespace
}  // namespace agx::test
