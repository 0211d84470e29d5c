// ctest-labels: redis threads
// ctest-timeout: 120
// Muxes through the C API.
#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <sstream>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

agx_status AddTo(const MuxPtr& mux, const ListenerPtr& listener) {
  return agx_mux_add(mux.get(), listener.get());
}
agx_status Remove(const MuxPtr& mux, const ListenerPtr& listener) {
  return agx_mux_remove(mux.get(), listener.get());
}

class CapiMux : public OnEachStore {};
AGX_ON_EACH_STORE(CapiMux);

TEST_P(CapiMux, AnEmptyOneHasNothingToBring) {
  MuxPtr mux = OpenMux(client_);
  Told told = Next(mux, -1);
  EXPECT_EQ(told.status, AGX_ENDED);
  EXPECT_EQ(told.listener, nullptr);
}

// As who keeps a bounded queue for each listener does.
TEST_P(CapiMux, AListenerMayLeaveAndComeBackInAReplay) {
  constexpr int kEvents = 20000;
  SessionPtr session = OpenSession(client_);
  std::vector<agx_new_event> events(kEvents, {"t", "test", nullptr});
  ASSERT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  Stopwatch watch;
  for (int i = 0; i < kEvents; ++i) {
    ASSERT_EQ(Next(mux, kAtOnceMs).text(), "t") << i;
    if (i % 500 != 0) continue;
    ASSERT_EQ(Remove(mux, listener), AGX_OK);
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  }
  EXPECT_LE(watch.ms(), kAtOnceMs);
}

TEST_P(CapiMux, BringsEventsAndOutcomesOfItsListeners) {
  SessionPtr a = Started(client_, "a");
  SessionPtr b = Started(client_, "b");
  Add(a, "a1");
  ListenerPtr to_a = Listen(a);
  ListenerPtr to_b = Listen(b);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, to_a), AGX_OK);
  ASSERT_EQ(AddTo(mux, to_b), AGX_OK);
  std::map<agx_listener*, std::vector<std::string>> seen;
  for (int i = 0; i < 3; ++i) {
    Told told = Next(mux);
    seen[told.listener].push_back(told.text());
  }
  EXPECT_THAT(seen[to_a.get()], ElementsAre("begin", "a1"));
  EXPECT_THAT(seen[to_b.get()], ElementsAre("begin"));
  EXPECT_EQ(Next(mux, 0).status, AGX_TIMEOUT);

  Background<Told> next([&] { return Next(mux, -1); });
  next.AwaitBlocked();
  Add(b, "b1");
  Told told = next.Get();
  EXPECT_EQ(told.text(), "b1");
  EXPECT_EQ(told.listener, to_b.get());

  ASSERT_EQ(agx_stop(a.get(), -1), AGX_OK);
  told = Next(mux);
  EXPECT_EQ(told.status, AGX_ENDED);
  EXPECT_EQ(told.listener, to_a.get());
  EXPECT_EQ(Next(mux, 50).status, AGX_TIMEOUT);  // once
  ASSERT_EQ(agx_stop(b.get(), -1), AGX_OK);
  told = Next(mux);
  EXPECT_EQ(told.status, AGX_ENDED);
  EXPECT_EQ(told.listener, to_b.get());
  // Now nothing can come any more.
  for (int i = 0; i < 2; ++i) {
    told = Next(mux, -1);
    EXPECT_EQ(told.status, AGX_ENDED);
    EXPECT_EQ(told.listener, nullptr);
  }
}

TEST_P(CapiMux, ItsCallerMayNotWantToKnowWhose) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  agx_event* event = nullptr;
  ASSERT_EQ(agx_mux_next(mux.get(), kPatienceMs, nullptr, &event), AGX_OK);
  agx_event_free(event);
}

TEST_P(CapiMux, GivesBackTheCallersPointer) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  int here = 0;
  ASSERT_EQ(agx_listener_set_data(listener.get(), &here), AGX_OK);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(agx_listener_data(Next(mux).listener), &here);
}

TEST_P(CapiMux, WaitsAsLongAsItIsTold) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(Next(mux, 0).status, AGX_TIMEOUT);
  for (int64_t timeout_ms : {1, 30, 300}) {
    Stopwatch watch;
    Told told = Next(mux, timeout_ms);
    EXPECT_EQ(told.status, AGX_TIMEOUT);
    EXPECT_EQ(told.listener, nullptr);
    EXPECT_GE(watch.ms(), timeout_ms);
    EXPECT_LE(watch.ms(), timeout_ms + kAtOnceMs);
  }
  for (int64_t endless : {int64_t{-1}, INT64_MIN, INT64_MAX}) {
    Background<Told> next([&] { return Next(mux, endless); });
    next.AwaitBlocked();
    Add(session, "a");
    EXPECT_EQ(next.Get().text(), "a");
  }
}

TEST_P(CapiMux, TellsEveryOutcomeOnce) {
  ClientPtr client = Open("lease=400");
  SessionPtr dies = Started(client, "dies");
  SessionPtr lives = Started(client, "lives");
  agx_listen_options options = Patient();
  options.wait_ms = 200;
  ListenerPtr absent = Listen(OpenSession(client, "none"), options);
  options.timeout_ms = 300;
  ListenerPtr silent = Listen(lives, options);
  options.timeout_ms = -1;
  ListenerPtr gone = Listen(dies, options);
  options.limit = 1;
  ListenerPtr limited = Listen(lives, options);
  std::map<agx_listener*, std::vector<std::string>> seen;
  MuxPtr mux = OpenMux(client);
  for (const ListenerPtr* listener : {&absent, &silent, &gone, &limited}) {
    ASSERT_EQ(AddTo(mux, *listener), AGX_OK);
  }
  dies.reset();
  Stopwatch watch;
  while (seen[absent.get()].empty() || seen[silent.get()].size() < 2 ||
         seen[gone.get()].size() < 2 || seen[limited.get()].size() < 2) {
    ASSERT_LE(watch.ms(), kPatienceMs) << seen[absent.get()].size() << seen[silent.get()].size()
                                       << seen[gone.get()].size() << seen[limited.get()].size();
    Told told = Next(mux, 1000);
    if (told.status != AGX_TIMEOUT) seen[told.listener].push_back(told.text());
  }
  EXPECT_EQ(seen[absent.get()][0], "AGX_ABSENT");
  EXPECT_EQ(seen[silent.get()][0], "begin");
  EXPECT_EQ(seen[silent.get()][1], "AGX_SILENT");
  EXPECT_EQ(seen[gone.get()][0], "begin");
  EXPECT_EQ(seen[gone.get()][1], "AGX_GONE");
  EXPECT_THAT(seen[limited.get()], ElementsAre("begin", "AGX_LIMIT"));
}

TEST_P(CapiMux, HandsTheEndOnIfWanted) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(Next(mux).text(), "begin");
  EXPECT_EQ(Next(mux).text(), "end");
  Told told = Next(mux);
  EXPECT_EQ(told.status, AGX_ENDED);
  EXPECT_EQ(told.listener, listener.get());
  EXPECT_EQ(Next(mux, -1).listener, nullptr);
}

TEST_P(CapiMux, OneThatWasDroppedHasAGap) {
  SessionPtr session = Started(client_);
  std::string id = Add(session, "a");
  Add(session, "b");
  ListenerPtr listener = ListenAfter(session, id.c_str());
  ASSERT_EQ(agx_stop(session.get(), 0), AGX_OK);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  Told told = Next(mux);
  EXPECT_EQ(told.status, AGX_GAP);
  EXPECT_EQ(told.listener, listener.get());
  EXPECT_EQ(Next(mux, 30).status, AGX_TIMEOUT);
}

TEST_P(CapiMux, TwoThousandListeners) {
  constexpr size_t kCount = 2000;
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  sessions.reserve(kCount);
  MuxPtr mux = OpenMux(client_);
  for (size_t i = 0; i < kCount; ++i) {
    sessions.push_back(OpenSession(client_, "s" + std::to_string(i)));
    listeners.push_back(Listen(sessions[i]));
    ASSERT_EQ(agx_listener_set_data(listeners[i].get(), &sessions[i]), AGX_OK);
    ASSERT_EQ(AddTo(mux, listeners[i]), AGX_OK);
  }
  EXPECT_EQ(Next(mux, 0).status, AGX_TIMEOUT);
  for (int round = 0; round < 3; ++round) {
    std::thread producer([&] {
      for (size_t i = 0; i < kCount; ++i) Add(sessions[i], std::to_string(i));
    });
    std::set<agx_listener*> seen;
    for (size_t i = 0; i < kCount; ++i) {
      Told told = Next(mux);
      EXPECT_EQ(told.status, AGX_OK);
      if (told.status != AGX_OK) break;
      auto* session = static_cast<SessionPtr*>(agx_listener_data(told.listener));
      EXPECT_EQ(told.text(), std::to_string(session - sessions.data()));
      EXPECT_TRUE(seen.insert(told.listener).second);
    }
    producer.join();
    EXPECT_THAT(seen, SizeIs(kCount));
  }
  if (is_redis()) {
    // However many there are: a few of this client, and those of the two others that wait.
    std::string clients = server().Command({"INFO", "clients"});
    std::string name = "connected_clients:";
    EXPECT_LE(std::stoi(clients.substr(clients.find(name) + name.size())), 8);
  }
}

TEST_P(CapiMux, ListenersThatHaveEventsTakeTurns) {
  constexpr size_t kListeners = 5;
  constexpr size_t kEvents = 40;
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  MuxPtr mux = OpenMux(client_);
  for (size_t i = 0; i < kListeners; ++i) {
    sessions.push_back(OpenSession(client_, std::to_string(i)));
    for (size_t n = 0; n < kEvents; ++n) Add(sessions[i], std::to_string(n));
    listeners.push_back(Listen(sessions[i]));
    ASSERT_EQ(AddTo(mux, listeners[i]), AGX_OK);
  }
  std::map<agx_listener*, size_t> next;
  for (size_t i = 0; i < kListeners * kEvents; ++i) {
    Told told = Next(mux);
    ASSERT_EQ(told.text(), std::to_string(next[told.listener]++));
    if (i % kListeners != kListeners - 1) continue;
    for (const ListenerPtr& listener : listeners)
      EXPECT_EQ(next[listener.get()], i / kListeners + 1);
  }
}

// --- Coming and going

TEST_P(CapiMux, OnlyTheMuxDeliversWhatIsInIt) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  MuxPtr second = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  agx_event* event = nullptr;
  EXPECT_EQ(agx_listen_next(listener.get(), 0, &event), AGX_EBUSY);
  agx_event* events[2];
  size_t count = 9;
  EXPECT_EQ(agx_listen_next_many(listener.get(), 0, events, 2, &count), AGX_EBUSY);
  EXPECT_EQ(count, 0U);
  int fd = 9;
  EXPECT_EQ(agx_listener_fd(listener.get(), &fd), AGX_EBUSY);
  EXPECT_EQ(AddTo(mux, listener), AGX_EBUSY);
  EXPECT_EQ(AddTo(second, listener), AGX_EBUSY);
  EXPECT_EQ(Remove(second, listener), AGX_EINVAL);
  EXPECT_EQ(Position(listener), "0-0");
  EXPECT_EQ(Next(mux).text(), "begin");
  EXPECT_NE(Position(listener), "0-0");
}

TEST_P(CapiMux, WhatIsBusyIsNotTaken) {
  SessionPtr session = Started(client_);
  MuxPtr mux = OpenMux(client_);
  ListenerPtr watched = Listen(session);
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(watched.get(), &fd), AGX_OK);
  EXPECT_EQ(AddTo(mux, watched), AGX_EBUSY);
  ListenerPtr in_call = ListenAfter(session, "new");
  Background<Told> next([&] { return test::Next(in_call, -1); });
  next.AwaitBlocked();
  EXPECT_EQ(AddTo(mux, in_call), AGX_EBUSY);
  Add(session, "a");
  EXPECT_EQ(next.Get().type(), "a");
  EXPECT_EQ(AddTo(mux, in_call), AGX_OK);
}

TEST_P(CapiMux, OneOfAnotherClientIsNotTaken) {
  SessionPtr session = OpenSession(other_);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(AddTo(OpenMux(client_), listener), AGX_EINVAL);
}

TEST_P(CapiMux, TakenOutItGoesOnAtItsCursor) {
  SessionPtr session = Started(client_);
  for (int i = 0; i < 10; ++i) Add(session, std::to_string(i));
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  EXPECT_EQ(test::Next(listener).type(), "begin");
  int next = 0;
  while (next < 10) {
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
    EXPECT_EQ(Next(mux).text(), std::to_string(next++));
    ASSERT_EQ(Remove(mux, listener), AGX_OK);
    EXPECT_EQ(Remove(mux, listener), AGX_EINVAL);
    EXPECT_EQ(test::Next(listener).type(), std::to_string(next++));
  }
  EXPECT_EQ(Next(mux, -1).status, AGX_ENDED);
  EXPECT_EQ(test::Next(listener, 0).status, AGX_TIMEOUT);
  Add(session, "a");
  EXPECT_EQ(test::Next(listener).type(), "a");
  // And into another.
  MuxPtr second = OpenMux(client_);
  ASSERT_EQ(AddTo(second, listener), AGX_OK);
  Add(session, "b");
  EXPECT_EQ(Next(second).text(), "b");
}

TEST_P(CapiMux, AFinishedOneStaysUntilItIsTakenOut) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(Next(mux).text(), "begin");
  EXPECT_EQ(Next(mux).listener, listener.get());
  EXPECT_EQ(AddTo(mux, listener), AGX_EBUSY);
  ASSERT_EQ(Remove(mux, listener), AGX_OK);
  EXPECT_EQ(test::Next(listener, 0).status, AGX_ENDED);
}

TEST_P(CapiMux, AListenerComesWhileAThreadWaits) {
  SessionPtr quiet = Started(client_, "quiet");
  ListenerPtr first = ListenAfter(quiet, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, first), AGX_OK);
  Background<Told> next([&] { return Next(mux, -1); });
  next.AwaitBlocked();
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(next.Get().text(), "begin");
}

TEST_P(CapiMux, AListenerIsTakenOutWhileAThreadWaits) {
  SessionPtr session = Started(client_);
  ListenerPtr stays = ListenAfter(session, "new");
  ListenerPtr leaves = ListenAfter(session, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, stays), AGX_OK);
  ASSERT_EQ(AddTo(mux, leaves), AGX_OK);
  Background<Told> next([&] { return Next(mux, -1); });
  next.AwaitBlocked();
  ASSERT_EQ(Remove(mux, leaves), AGX_OK);
  Add(session, "a");
  EXPECT_EQ(next.Get().listener, stays.get());
  EXPECT_EQ(test::Next(leaves).type(), "a");
}

TEST_P(CapiMux, TheLastOneIsTakenOutWhileAThreadWaits) {
  SessionPtr session = Started(client_);
  for (bool close : {false, true}) {
    ListenerPtr listener = ListenAfter(session, "new");
    MuxPtr mux = OpenMux(client_);
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
    Background<Told> next([&] { return Next(mux, kPatienceMs); });
    next.AwaitBlocked();
    Stopwatch watch;
    if (close) {
      listener.reset();
    } else {
      ASSERT_EQ(Remove(mux, listener), AGX_OK);
    }
    Told told = next.Get();
    EXPECT_EQ(told.status, AGX_ENDED);
    EXPECT_EQ(told.listener, nullptr);
    EXPECT_LE(watch.ms(), kAtOnceMs);
  }
}

TEST_P(CapiMux, AListenerIsClosedInIt) {
  SessionPtr session = Started(client_);
  ListenerPtr stays = ListenAfter(session, "new");
  ListenerPtr leaves = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, stays), AGX_OK);
  ASSERT_EQ(AddTo(mux, leaves), AGX_OK);
  EXPECT_EQ(Next(mux).text(), "begin");
  Background<Told> next([&] { return Next(mux, -1); });
  next.AwaitBlocked();
  leaves.reset();
  Add(session, "a");
  EXPECT_EQ(next.Get().listener, stays.get());
}

TEST_P(CapiMux, ListenersComeAndGoWhileAThreadWaits) {
  constexpr int kRounds = 60;
  SessionPtr session = OpenSession(client_);
  Add(session, "t");
  SessionPtr quiet = Started(client_, "quiet");
  ListenerPtr keeps_open = ListenAfter(quiet, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, keeps_open), AGX_OK);
  std::thread waiter([&] {
    for (;;) {
      Told told = Next(mux, kPatienceMs);
      if (told.status == AGX_INTERRUPTED) return;
      ASSERT_EQ(told.text(), "t");
    }
  });
  InThreads(3, [&](int thread) {
    for (int i = 0; i < kRounds; ++i) {
      ListenerPtr listener = Listen(session);
      EXPECT_EQ(AddTo(mux, listener), AGX_OK);
      if ((thread + i) % 2 == 0) {
        EXPECT_EQ(Remove(mux, listener), AGX_OK);
      }
    }
  });
  EXPECT_EQ(agx_mux_interrupt(mux.get()), AGX_OK);
  waiter.join();
}

TEST_P(CapiMux, ThreadsShareAMux) {
  constexpr int kThreads = 4;
  constexpr size_t kSessions = 20;
  constexpr size_t kEvents = 50;
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  MuxPtr mux = OpenMux(client_);
  for (size_t i = 0; i < kSessions; ++i) {
    sessions.push_back(Started(client_, std::to_string(i)));
    listeners.push_back(ListenAfter(sessions[i], "new"));
    ASSERT_EQ(AddTo(mux, listeners[i]), AGX_OK);
  }
  std::atomic<size_t> events{0};
  std::atomic<size_t> ends{0};
  InThreads(kThreads + 1, [&](int thread) {
    if (thread == kThreads) {
      for (size_t n = 0; n < kEvents; ++n) {
        for (const SessionPtr& session : sessions) Add(session, "t");
      }
      for (const SessionPtr& session : sessions) EXPECT_EQ(agx_stop(session.get(), 60000), AGX_OK);
      return;
    }
    for (;;) {
      Told told = Next(mux);
      if (told.status == AGX_OK) {
        events.fetch_add(1);
      } else {
        ASSERT_EQ(told.status, AGX_ENDED);
        if (told.listener == nullptr) return;
        ends.fetch_add(1);
      }
    }
  });
  EXPECT_EQ(events, kSessions * kEvents);
  EXPECT_EQ(ends, kSessions);
}

// --- Many at once

struct ManyTold {
  agx_status status;
  std::vector<agx_listener*> listeners;
  std::vector<std::string> types;
};

ManyTold NextMany(const MuxPtr& mux, size_t capacity, int64_t timeout_ms = kPatienceMs) {
  std::vector<agx_listener*> listeners(capacity);
  std::vector<agx_event*> events(capacity);
  size_t count = capacity + 1;
  ManyTold told{};
  told.status =
      agx_mux_next_many(mux.get(), timeout_ms, listeners.data(), events.data(), capacity, &count);
  EXPECT_EQ(count > 0, told.status == AGX_OK);
  for (size_t i = 0; i < count; ++i) {
    EventPtr event(events[i]);
    told.types.emplace_back(agx_event_type(event.get(), nullptr));
    told.listeners.push_back(listeners[i]);
  }
  if (count == 0) told.listeners.push_back(listeners[0]);
  return told;
}

TEST_P(CapiMux, ManyAtOnceKeepTheOrderAndSayWhose) {
  constexpr size_t kEach = 30;
  SessionPtr a = Started(client_, "a");
  SessionPtr b = Started(client_, "b");
  for (size_t i = 0; i < kEach; ++i) {
    Add(a, "a" + std::to_string(i));
    Add(b, "b" + std::to_string(i));
  }
  EXPECT_EQ(agx_stop(a.get(), 60000), AGX_OK);
  EXPECT_EQ(agx_stop(b.get(), 60000), AGX_OK);
  ListenerPtr to_a = Listen(a);
  ListenerPtr to_b = Listen(b);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, to_a), AGX_OK);
  ASSERT_EQ(AddTo(mux, to_b), AGX_OK);
  std::map<agx_listener*, std::vector<std::string>> seen;
  size_t most = 0;
  for (;;) {
    ManyTold told = NextMany(mux, 16);
    if (told.status != AGX_OK) {
      ASSERT_EQ(told.status, AGX_ENDED);
      if (told.listeners[0] == nullptr) break;
      seen[told.listeners[0]].emplace_back("end");
      continue;
    }
    most = std::max(most, told.types.size());
    for (size_t i = 0; i < told.types.size(); ++i) {
      seen[told.listeners[i]].push_back(told.types[i]);
    }
  }
  EXPECT_EQ(most, 16U);
  for (const auto& [listener, name] : {std::pair(to_a.get(), "a"), std::pair(to_b.get(), "b")}) {
    std::vector<std::string> expected = {"begin"};
    for (size_t i = 0; i < kEach; ++i) expected.push_back(name + std::to_string(i));
    expected.emplace_back("end");
    EXPECT_EQ(seen[listener], expected);
  }
}

TEST_P(CapiMux, OfManyAtOnceEachListenerHasItsShare) {
  constexpr size_t kEvents = 40;
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(client_, "b");
  for (size_t i = 0; i < kEvents; ++i) {
    Add(a, "a" + std::to_string(i));
    Add(b, "b" + std::to_string(i));
  }
  ListenerPtr to_a = Listen(a);
  ListenerPtr to_b = Listen(b);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, to_a), AGX_OK);
  ASSERT_EQ(AddTo(mux, to_b), AGX_OK);
  size_t of_a = 0;
  for (size_t round = 1; round <= 2 * kEvents / 10; ++round) {
    ManyTold told = NextMany(mux, 10);
    ASSERT_EQ(told.types.size(), 10U);
    of_a += std::count(told.listeners.begin(), told.listeners.end(), to_a.get());
    EXPECT_EQ(of_a, 5 * round);
  }
}

TEST_P(CapiMux, ManyAtOnceWaitForTheFirstOnly) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(NextMany(mux, 4, 0).status, AGX_TIMEOUT);
  Background<ManyTold> next([&] { return NextMany(mux, 4, -1); });
  next.AwaitBlocked();
  Add(session, "one");
  ManyTold told = next.Get();
  EXPECT_THAT(told.types, ElementsAre("one"));
  EXPECT_THAT(told.listeners, ElementsAre(listener.get()));
  // Whose they are need not be asked for.
  Add(session, "two");
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_mux_next_many(mux.get(), kPatienceMs, nullptr, &event, 1, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EventPtr owned(event);
  EXPECT_STREQ(agx_event_type(event, nullptr), "two");
}

TEST_P(CapiMux, ManyAtOnceNeedRoom) {
  MuxPtr mux = OpenMux(client_);
  agx_event* event = nullptr;
  size_t count = 7;
  EXPECT_EQ(agx_mux_next_many(mux.get(), 0, nullptr, &event, 0, &count), AGX_EINVAL);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(agx_mux_next_many(mux.get(), 0, nullptr, nullptr, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_mux_next_many(mux.get(), 0, nullptr, &event, 1, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_next_many(nullptr, 0, nullptr, &event, 1, &count), AGX_EINVAL);
}

// --- Interrupting and closing

TEST_P(CapiMux, AnInterruptWakesTheCallOrTheNext) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = ListenAfter(session, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  Background<Told> next([&] { return Next(mux, -1); });
  next.AwaitBlocked();
  EXPECT_EQ(agx_mux_interrupt(mux.get()), AGX_OK);
  Told told = next.Get();
  EXPECT_EQ(told.status, AGX_INTERRUPTED);
  EXPECT_EQ(told.listener, nullptr);
  EXPECT_EQ(Next(mux, 0).status, AGX_TIMEOUT);
  EXPECT_EQ(agx_mux_interrupt(mux.get()), AGX_OK);
  EXPECT_EQ(Next(mux, -1).status, AGX_INTERRUPTED);
  EXPECT_EQ(Next(mux, 0).status, AGX_TIMEOUT);
}

TEST_P(CapiMux, ClosingWakesTheCallAndLeavesTheListeners) {
  SessionPtr session = Started(client_);
  for (bool with_descriptor : {false, true}) {
    ListenerPtr listener = ListenAfter(session, "new");
    agx_mux* raw = OpenMux(client_).release();
    ASSERT_EQ(agx_mux_add(raw, listener.get()), AGX_OK);
    int fd = -1;
    if (with_descriptor) {
      ASSERT_EQ(agx_mux_fd(raw, &fd), AGX_OK);
    }
    Background<agx_status> next([&] {
      agx_event* event = nullptr;
      return agx_mux_next(raw, -1, nullptr, &event);
    });
    next.AwaitBlocked();
    Stopwatch watch;
    agx_mux_close(raw);
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(next.Get(), AGX_ECLOSED);
    Add(session, "a");
    EXPECT_EQ(test::Next(listener).type(), "a");
  }
}

TEST_P(CapiMux, ClosingTheClientWakesTheCall) {
  SessionPtr session = Started(client_);
  for (bool with_descriptor : {false, true}) {
    ClientPtr client = Open();
    ListenerPtr listener = ListenAfter(OpenSession(client), "new");
    MuxPtr mux = OpenMux(client);
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
    int fd = -1;
    if (with_descriptor) {
      ASSERT_EQ(agx_mux_fd(mux.get(), &fd), AGX_OK);
    }
    Background<Told> next([&] { return Next(mux, -1); });
    next.AwaitBlocked();
    Stopwatch watch;
    client.reset();
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(next.Get().status, AGX_ECLOSED);
    EXPECT_EQ(Next(mux).status, AGX_ECLOSED);
    if (with_descriptor) {
      EXPECT_TRUE(Readable(fd));
    }
  }
}

TEST_P(CapiMux, ClosedInAnyOrder) {
  SessionPtr session = Started(client_);
  for (int order = 0; order < 6; ++order) {
    ClientPtr client = Open();
    SessionPtr own = OpenSession(client);
    ListenerPtr listener = Listen(own);
    MuxPtr mux = OpenMux(client);
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
    Told told = Next(mux);
    if (order % 3 == 0) client.reset();
    if (order % 3 == 1) mux.reset();
    if (order % 3 == 2) listener.reset();
    if (order < 3) mux.reset();
    listener.reset();
    mux.reset();
    own.reset();
    client.reset();
    EXPECT_EQ(told.text(), "begin");
  }
}

// --- The descriptor

TEST_P(CapiMux, ADescriptorIsReadableWhileThereIsSomething) {
  SessionPtr a = Started(client_, "a");
  SessionPtr b = Started(client_, "b");
  ListenerPtr to_a = ListenAfter(a, "new");
  ListenerPtr to_b = ListenAfter(b, "new");
  MuxPtr mux = OpenMux(client_);
  int fd = -1;
  ASSERT_EQ(agx_mux_fd(mux.get(), &fd), AGX_OK);
  EXPECT_TRUE(Readable(fd));  // an empty one has ended
  ASSERT_EQ(AddTo(mux, to_a), AGX_OK);
  ASSERT_EQ(AddTo(mux, to_b), AGX_OK);
  EXPECT_EQ(Next(mux, 50).status, AGX_TIMEOUT);
  EXPECT_FALSE(Readable(fd));
  for (int i = 0; i < 20; ++i) {
    Add(a, "a");
    Add(b, "b");
    std::multiset<std::string> seen;
    for (int n = 0; n < 2; ++n) {
      ASSERT_TRUE(Readable(fd, kPatienceMs));
      seen.insert(Next(mux, 0).text());
    }
    EXPECT_THAT(seen, ElementsAre("a", "b"));
    EXPECT_FALSE(Readable(fd));
  }
  EXPECT_EQ(agx_mux_interrupt(mux.get()), AGX_OK);
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(Next(mux, 0).status, AGX_INTERRUPTED);
  EXPECT_FALSE(Readable(fd));
  for (const SessionPtr* session : {&a, &b}) {
    ASSERT_EQ(agx_stop(session->get(), -1), AGX_OK);
    ASSERT_TRUE(Readable(fd, kPatienceMs));
    EXPECT_EQ(Next(mux, 0).status, AGX_ENDED);
  }
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(Next(mux, 0).listener, nullptr);
}

TEST_P(CapiMux, ADescriptorTellsWhatTimeBrings) {
  SessionPtr session = OpenSession(client_);
  agx_listen_options options = Patient();
  options.wait_ms = 200;
  ListenerPtr listener = Listen(session, options);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  int fd = -1;
  ASSERT_EQ(agx_mux_fd(mux.get(), &fd), AGX_OK);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Readable(fd, kPatienceMs));
    EXPECT_EQ(Next(mux, 0).status, AGX_ABSENT);
    EXPECT_FALSE(Readable(fd));
  }
}

// --- On a server

class CapiMuxRedis : public OnRedis {
 protected:
  // The connection whose reads the server tracks: it redirects to another.
  std::string TrackedId() const {
    std::istringstream list(Raw({"CLIENT", "LIST"}));
    for (std::string line; std::getline(list, line);) {
      size_t redirect = line.find(" redir=");
      bool tracked = redirect != std::string::npos && std::isdigit(line[redirect + 7]) != 0;
      if (tracked) return line.substr(3, line.find(' ') - 3);  // "id=…"
    }
    return {};
  }
};

// Taking it out and putting it back is how a slow reader's backlog is bounded.
TEST_F(CapiMuxRedis, OneThatIsPutBackWithEventsInHandIsNotReadAgain) {
  auto reads = [&] {
    std::istringstream stats(Raw({"INFO", "commandstats"}));
    int64_t calls = 0;
    for (std::string line; std::getline(stats, line);) {
      // Without `xadd`: XRANGE, XREAD, XINFO.
      bool read = line.starts_with("cmdstat_xr") || line.starts_with("cmdstat_xi");
      if (read) calls += std::stoll(line.substr(line.find("calls=") + 6));
    }
    return calls;
  };
  const int count = 300;
  SessionPtr session = Started(client_);
  std::vector<agx_new_event> events(count, {"n", "test", "1"});
  ASSERT_EQ(agx_add_many(session.get(), events.data(), count, nullptr, nullptr), AGX_OK);
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(Next(mux).text(), "begin");
  int64_t before = reads();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(Remove(mux, listener), AGX_OK);
    ASSERT_EQ(AddTo(mux, listener), AGX_OK);
    EXPECT_EQ(Next(mux).text(), "n");
  }
  EXPECT_LE(reads() - before, 5);
  // What came while it was out is not forgotten.
  ASSERT_EQ(Remove(mux, listener), AGX_OK);
  Add(session, "last");
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  for (int i = 20; i < count; ++i) EXPECT_EQ(Next(mux).text(), "n");
  EXPECT_EQ(Next(mux).text(), "last");
}

// Nobody reads on it and there is no live flag, so nothing else would tell of its end.
TEST_F(CapiMuxRedis, TheEndOfTheTrackedConnectionAloneIsNoticedAtOnce) {
  ClientPtr writer = Open();
  SessionPtr in_mux = OpenSession(writer, "in mux");
  SessionPtr with_fd = OpenSession(writer, "with fd");
  Add(in_mux, "first");
  Add(with_fd, "first");
  MuxPtr mux = OpenMux(client_);
  ListenerPtr listener = Listen(OpenSession(client_, "in mux"));
  ASSERT_EQ(AddTo(mux, listener), AGX_OK);
  EXPECT_EQ(Next(mux).text(), "first");
  ListenerPtr by_fd = Listen(OpenSession(client_, "with fd"));
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(by_fd.get(), &fd), AGX_OK);
  EXPECT_EQ(Next(by_fd).text(), "first");
  EXPECT_EQ(Next(by_fd, 0).text(), "AGX_TIMEOUT");
  for (int round = 0; round < 3; ++round) {
    Background<Told> waiting([&] { return Next(mux); });
    waiting.AwaitBlocked();
    std::string tracked = TrackedId();
    ASSERT_EQ(Raw({"CLIENT", "KILL", "ID", tracked}), "1");
    Add(in_mux, "next");
    Add(with_fd, "next");
    Stopwatch watch;
    EXPECT_EQ(waiting.Get().text(), "next");
    EXPECT_TRUE(Readable(fd, kPatienceMs));
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(Next(by_fd, 0).text(), "next");
    EXPECT_EQ(Next(by_fd, 0).text(), "AGX_TIMEOUT");
  }
}

}  // namespace
}  // namespace agx::test
