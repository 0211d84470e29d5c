// ctest-labels: redis threads
// ctest-timeout: 240
// Muxes and subscriptions that follow the one listener whose events come alone with a blocking read:
// it may be another at any time, and no event may be lost, repeated or late because of it.
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

class CapiMuxFollow : public OnRedis {
 protected:
  Told Next(int64_t timeout_ms = kPatienceMs) { return test::Next(mux_, timeout_ms); }
  ListenerPtr InMux(const std::string& session, const ClientPtr& client) {
    ListenerPtr listener = ListenAfter(OpenSession(client, session), "new");
    EXPECT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
    return listener;
  }
  ListenerPtr InMux(const std::string& session) { return InMux(session, client_); }

  // The ids of the connections on which the server holds a blocking read.
  std::vector<std::string> Blocked() const {
    std::istringstream list(Raw({"CLIENT", "LIST"}));
    std::vector<std::string> ids;
    for (std::string line; std::getline(list, line);) {
      size_t flags = line.find(" flags=");
      if (flags == std::string::npos) continue;
      bool blocked = line.find('b', flags + 7) < line.find(' ', flags + 7);
      if (blocked) ids.push_back(line.substr(3, line.find(' ') - 3));  // "id=…"
    }
    return ids;
  }
  bool AwaitBlockedRead() {
    return WaitUntil([&] { return Blocked().size() == 1; });
  }
  // Adds events, each of which is taken before the next is added.
  void AddAndTake(const SessionPtr& producer, int count, const ListenerPtr& by) {
    for (int i = 0; i < count; ++i) {
      Add(producer, "t" + std::to_string(i));
      Told told = Next();
      ASSERT_EQ(told.text(), "t" + std::to_string(i));
      ASSERT_EQ(told.listener, by.get());
    }
  }

  ClientPtr writer_ = Open();
  MuxPtr mux_ = OpenMux(client_);
};

TEST_F(CapiMuxFollow, ALoneListenersEventsComeByABlockingRead) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  Background<Told> next([&] { return Next(-1); });
  EXPECT_TRUE(AwaitBlockedRead());
  Add(session, "last");
  EXPECT_EQ(next.Get().text(), "last");
  EXPECT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  EXPECT_EQ(Next().text(), "AGX_ENDED");
  EXPECT_EQ(Next().text(), "AGX_ENDED");
}

TEST_F(CapiMuxFollow, TheOthersAreHeardWhileOneIsFollowed) {
  SessionPtr followed = Started(writer_, "followed");
  SessionPtr other = Started(writer_, "other");
  ListenerPtr to_followed = InMux("followed");
  ListenerPtr to_other = InMux("other");
  AddAndTake(followed, 5, to_followed);
  for (int round = 0; round < 10; ++round) {
    Background<Told> next([&] { return Next(); });
    ASSERT_TRUE(AwaitBlockedRead());
    Stopwatch watch;
    Add(round % 2 == 0 ? other : followed, "now");
    Told told = next.Get();
    EXPECT_EQ(told.text(), "now");
    EXPECT_EQ(told.listener, (round % 2 == 0 ? to_other : to_followed).get());
    EXPECT_LE(watch.ms(), kAtOnceMs);
  }
}

TEST_F(CapiMuxFollow, AnotherTakesItsPlace) {
  SessionPtr one = Started(writer_, "one");
  SessionPtr two = Started(writer_, "two");
  ListenerPtr to_one = InMux("one");
  ListenerPtr to_two = InMux("two");
  for (int round = 0; round < 3; ++round) {
    AddAndTake(one, 40, to_one);
    AddAndTake(two, 40, to_two);
  }
}

TEST_F(CapiMuxFollow, ACallThatDoesNotWaitGetsItsEvents) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
  for (int i = 0; i < 20; ++i) {
    Add(session, "t");
    std::string text;
    EXPECT_TRUE(WaitUntil([&] { return (text = Next(0).text()) != "AGX_TIMEOUT"; }));
    EXPECT_EQ(text, "t");
  }
}

// One of them has an event in hand and does not come back.
TEST_F(CapiMuxFollow, AnotherThreadGoesOnWhenOneHasGone) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  for (int round = 0; round < 5; ++round) {
    Background<Told> one([&] { return Next(); });
    Background<Told> other([&] { return Next(); });
    one.AwaitBlocked();
    other.AwaitBlocked();
    Stopwatch watch;
    Add(session, "t");
    ASSERT_TRUE(WaitUntil([&] { return one.done() || other.done(); }));
    Add(session, "t");
    EXPECT_EQ(one.Get().text(), "t");
    EXPECT_EQ(other.Get().text(), "t");
    EXPECT_LE(watch.ms(), kAtOnceMs);
  }
}

TEST_F(CapiMuxFollow, TakenOutItGoesOnAlone) {
  SessionPtr session = Started(writer_);
  SessionPtr quiet = Started(writer_, "quiet");
  ListenerPtr listener = InMux("s");
  ListenerPtr stays = InMux("quiet");
  for (int round = 0; round < 5; ++round) {
    AddAndTake(session, 4, listener);
    Background<Told> next([&] { return Next(); });
    ASSERT_TRUE(AwaitBlockedRead());
    ASSERT_EQ(agx_mux_remove(mux_.get(), listener.get()), AGX_OK);
    Add(session, "alone");
    EXPECT_EQ(test::Next(listener).text(), "alone");
    Add(quiet, "other");
    EXPECT_EQ(next.Get().listener, stays.get());
    ASSERT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
  }
}

// Of a replay the next read is under way while what the last one brought is handed on.
class CapiMuxReplay : public CapiMuxFollow {
 protected:
  static constexpr int kEvents = 20000;

  void SetUp() override {
    CapiMuxFollow::SetUp();
    session_ = OpenSession(writer_, "replayed");
    std::vector<std::string> types;
    for (int i = 0; i < kEvents; ++i) types.push_back("t" + std::to_string(i));
    std::vector<agx_new_event> events;
    for (const std::string& type : types) events.push_back({type.c_str(), "test", nullptr});
    ASSERT_EQ(agx_add_many(session_.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  }
  ListenerPtr Replay(const char* where = nullptr) {
    agx_listen_options options = Patient();
    options.where = where;
    ListenerPtr listener = Listen(OpenSession(client_, "replayed"), options);
    EXPECT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
    return listener;
  }
  // The rest of it, by calls that do not wait.
  void Drain(int from) {
    int got = from;
    EXPECT_TRUE(WaitUntil([&] {
      for (Told told = Next(0); told.text() == "t" + std::to_string(got); told = Next(0)) ++got;
      return got == kEvents;
    })) << got;
  }
  void Expect(int i, int64_t timeout_ms = kPatienceMs) {
    ASSERT_EQ(Next(timeout_ms).text(), "t" + std::to_string(i));
  }

  SessionPtr session_;
};

TEST_F(CapiMuxReplay, EachEventComesOnceAndInOrder) {
  ListenerPtr listener = Replay();
  for (int i = 0; i < kEvents; ++i) Expect(i);
  EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
  Add(session_, "live");
  EXPECT_EQ(Next().text(), "live");
}

TEST_F(CapiMuxReplay, AListenerThatIsTakenOutAndPutBackGoesOnWhereItWas) {
  ListenerPtr listener = Replay();
  for (int i = 0; i < kEvents; ++i) {
    Expect(i);
    if (i % 700 != 0 && i % 2048 != 0) continue;
    ASSERT_EQ(agx_mux_remove(mux_.get(), listener.get()), AGX_OK);
    if (i % 3 == 0) {
      ASSERT_EQ(Next(0).text(), "AGX_ENDED");
    }
    // What it takes by itself meanwhile does not come again.
    if (i % 5 == 0) {
      ASSERT_EQ(test::Next(listener).text(), "t" + std::to_string(++i));
    }
    ASSERT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
  }
}

TEST_F(CapiMuxReplay, ACallThatDoesNotWaitGoesOnWithIt) {
  ListenerPtr listener = Replay();
  Drain(0);
}

// AGX_TIMEOUT from a call that does not wait says that there is nothing more.
TEST_F(CapiMuxReplay, CallsThatDoNotWaitBringAllThatIsThere) {
  ListenerPtr listener = Replay();
  for (int i = 0; i < 3000; ++i) Expect(i);
  for (int i = 3000; i < kEvents; ++i) Expect(i, 0);
  EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
}

// While one thread is in the mux, another takes the listener out and puts it back.
TEST_F(CapiMuxReplay, AnotherThreadMayTakeItOutAndPutItBack) {
  ListenerPtr listener = Replay();
  std::atomic<bool> done{false};
  std::thread mover([&] {
    while (!done) {
      if (agx_mux_remove(mux_.get(), listener.get()) != AGX_OK) continue;
      EXPECT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
    }
  });
  for (int i = 0; i < kEvents; ++i) {
    Told told = Next(kAtOnceMs);
    while (told.text() == "AGX_ENDED") told = Next(kAtOnceMs);  // it was out
    EXPECT_EQ(told.text(), "t" + std::to_string(i));
    if (told.text() != "t" + std::to_string(i)) break;
  }
  for (int i = 0; i < 200; ++i) {
    Add(session_, "live");
    Told told = Next(kAtOnceMs);
    while (told.text() == "AGX_ENDED") told = Next(kAtOnceMs);
    EXPECT_EQ(told.text(), "live") << i;
    if (told.text() != "live") break;
  }
  done = true;
  mover.join();
}

// Also if the connection was given back while it was out.
TEST_F(CapiMuxReplay, ACallThatDoesNotWaitGoesOnWithOneThatCameBack) {
  ListenerPtr listener = Replay();
  ListenerPtr other = InMux("another");
  for (int i = 0; i < 5000; ++i) Expect(i);
  ASSERT_EQ(agx_mux_remove(mux_.get(), listener.get()), AGX_OK);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Next(600).text(), "AGX_TIMEOUT");
  ASSERT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
  Drain(5000);
}

TEST_F(CapiMuxReplay, AConditionMayPassOverAllOfABatch) {
  std::string where = "type = \"t" + std::to_string(kEvents - 1) + "\"";
  ListenerPtr listener = Replay(where.c_str());
  Expect(kEvents - 1);
}

TEST_F(CapiMuxReplay, TheOthersAreHeardMeanwhile) {
  SessionPtr other = Started(writer_, "other");
  ListenerPtr listener = Replay();
  ListenerPtr to_other = InMux("other");
  for (int i = 0; i < 5000; ++i) Expect(i);
  Add(other, "heard");
  bool heard = false;
  int got = 5000;
  for (; got < kEvents; ++got) {
    Told told = Next();
    if (told.listener == to_other.get()) {
      heard = true;
      break;
    }
    ASSERT_EQ(told.text(), "t" + std::to_string(got));
  }
  EXPECT_TRUE(heard);
  for (; got < kEvents; ++got) Expect(got);
}

TEST_F(CapiMuxReplay, TheEndOfItsConnectionLosesNothing) {
  ListenerPtr listener = Replay();
  for (int i = 0; i < kEvents; ++i) {
    if (i % 1500 == 0) Raw({"CLIENT", "KILL", "TYPE", "normal"});
    Told told = Next();
    while (told.status == AGX_ECONNECT) told = Next();
    ASSERT_EQ(told.text(), "t" + std::to_string(i));
  }
}

// A blocking read that ended without an event while nobody looked says nothing of the time since.
TEST_F(CapiMuxFollow, SilenceIsNotToldWhileThereIsAnEvent) {
  SessionPtr session = Started(writer_);
  agx_listen_options options = Patient("new");
  options.timeout_ms = 7000;
  ListenerPtr listener = Listen(OpenSession(client_, "s"), options);
  ASSERT_EQ(agx_mux_add(mux_.get(), listener.get()), AGX_OK);
  AddAndTake(session, 3, listener);
  Stopwatch watch;
  EXPECT_EQ(Next(100).text(), "AGX_TIMEOUT");
  ASSERT_TRUE(AwaitBlockedRead());
  // The server ends a read that waited for 5 s.
  ASSERT_TRUE(WaitUntil([&] { return Blocked().empty(); }));
  Add(session, "came");
  ASSERT_TRUE(WaitUntil([&] { return watch.ms() > 7500; }));
  EXPECT_EQ(Next().text(), "came");
}

TEST_F(CapiMuxFollow, ClosedItIsFollowedNoMore) {
  SessionPtr session = Started(writer_);
  SessionPtr quiet = Started(writer_, "quiet");
  ListenerPtr listener = InMux("s");
  ListenerPtr stays = InMux("quiet");
  AddAndTake(session, 4, listener);
  Background<Told> next([&] { return Next(); });
  ASSERT_TRUE(AwaitBlockedRead());
  listener.reset();
  EXPECT_TRUE(WaitUntil([&] { return Blocked().empty(); }));
  Add(quiet, "other");
  EXPECT_EQ(next.Get().listener, stays.get());
}

TEST_F(CapiMuxFollow, ADescriptorTellsOfWhatWasFollowed) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
  int fd = -1;
  ASSERT_EQ(agx_mux_fd(mux_.get(), &fd), AGX_OK);
  for (int i = 0; i < 5; ++i) {
    Add(session, "t");
    EXPECT_TRUE(Readable(fd, kPatienceMs));
    EXPECT_EQ(Next(0).text(), "t");
    EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
  }
}

TEST_F(CapiMuxFollow, AnInterruptAndTheEndOfTheClientWakeIt) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  Background<Told> next([&] { return Next(-1); });
  ASSERT_TRUE(AwaitBlockedRead());
  EXPECT_EQ(agx_mux_interrupt(mux_.get()), AGX_OK);
  EXPECT_EQ(next.Get().text(), "AGX_INTERRUPTED");
  Background<Told> last([&] { return Next(-1); });
  ASSERT_TRUE(AwaitBlockedRead());
  agx_close(client_.release());
  EXPECT_EQ(last.Get().text(), "AGX_ECLOSED");
}

TEST_F(CapiMuxFollow, TheEndOfItsConnectionLosesNothing) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  for (int round = 0; round < 5; ++round) {
    Background<Told> next([&] { return Next(); });
    ASSERT_TRUE(AwaitBlockedRead());
    ASSERT_EQ(Raw({"CLIENT", "KILL", "ID", Blocked()[0]}), "1");
    Add(session, "t" + std::to_string(round));
    EXPECT_EQ(next.Get().text(), "t" + std::to_string(round));
  }
}

TEST_F(CapiMuxFollow, WhatWasTrimmedIsAGap) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  for (int i = 0; i < 10; ++i) Add(session, "gone");
  ASSERT_NE(Raw({"XTRIM", "agx:1:2:s", "MAXLEN", "2"}), "0");
  EXPECT_EQ(Next().text(), "AGX_GAP");
  EXPECT_EQ(Next().text(), "gone");
  EXPECT_EQ(Next().text(), "gone");
  EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
}

TEST_F(CapiMuxFollow, ASubscriptionIsFollowedWhileThereIsOne) {
  SessionPtr session = Started(writer_);
  std::atomic<int> events{0};
  auto count = [](agx_subscription*, agx_status status, const agx_event*, void* data) {
    if (status == AGX_OK) ++*static_cast<std::atomic<int>*>(data);
  };
  SessionPtr followed = OpenSession(client_);
  agx_subscription* subscription = nullptr;
  ASSERT_EQ(agx_subscribe(followed.get(), nullptr, nullptr, count, &events, &subscription), AGX_OK);
  ASSERT_TRUE(WaitUntil([&] { return events == 1; }));  // begin
  for (int i = 0; i < 5; ++i) {
    Add(session, "t");
    ASSERT_TRUE(WaitUntil([&] { return events == i + 2; }));
  }
  EXPECT_TRUE(AwaitBlockedRead());
  agx_subscription_close(subscription);
  EXPECT_TRUE(WaitUntil([&] { return Blocked().empty(); }));
}

// A server that takes no further connection, or refuses the command, is no worse than before.
TEST_F(CapiMuxFollow, WhereItCannotBeItIsReadAsOthersAre) {
  FaultProxy proxy(server_.port());
  for (bool command : {false, true}) {
    ClientPtr client = OpenClient(proxy.url());
    mux_ = OpenMux(client);
    SessionPtr session = Started(writer_, command ? "command" : "connection");
    ListenerPtr listener = InMux(command ? "command" : "connection", client);
    EXPECT_EQ(Next(0).text(), "AGX_TIMEOUT");
    if (command) {
      proxy.RefuseCommand("XREAD", "NOPERM this user has no permissions to run it");
    } else {
      proxy.RefuseConnections(true);
    }
    for (int i = 0; i < 10; ++i) {
      Background<Told> next([&] { return Next(); });
      next.AwaitBlocked();
      Stopwatch watch;
      Add(session, "t");
      EXPECT_EQ(next.Get().text(), "t");
      EXPECT_LE(watch.ms(), kAtOnceMs);
    }
    proxy.RefuseConnections(false);
    proxy.ForgetCommandRules();
    mux_.reset();
    listener.reset();
  }
}

TEST_F(CapiMuxFollow, ACallThatDoesNotWaitLeavesItToOneThatDoes) {
  SessionPtr session = Started(writer_);
  ListenerPtr listener = InMux("s");
  AddAndTake(session, 3, listener);
  for (int round = 0; round < 30; ++round) {
    std::atomic<bool> stop{false};
    std::atomic<int> taken{0};
    std::thread looks([&] {
      while (!stop) {
        if (Next(0).status == AGX_OK) ++taken;
      }
    });
    Background<Told> waits([&] { return Next(kPatienceMs); });
    std::this_thread::yield();
    stop = true;
    looks.join();
    Stopwatch watch;
    Add(session, "t");
    EXPECT_EQ(waits.Get().text(), "t");
    EXPECT_LE(watch.ms(), kAtOnceMs);
    ASSERT_EQ(taken, 0);
  }
}

TEST_F(CapiMuxFollow, AListenerGoesFromMuxToMux) {
  constexpr int kEvents = 3000;
  SessionPtr session = Started(writer_);
  MuxPtr other = OpenMux(client_);
  SessionPtr quiet = Started(writer_, "quiet");
  ListenerPtr keeps_open = ListenAfter(OpenSession(client_, "quiet"), "new");
  ASSERT_EQ(agx_mux_add(other.get(), keeps_open.get()), AGX_OK);
  ListenerPtr also = InMux("quiet");
  ListenerPtr listener = InMux("s");
  std::atomic<int> seen{0};
  std::atomic<bool> stop{false};
  InThreads(4, [&](int thread) {
    if (thread == 0) {
      for (int i = 0; i < kEvents; ++i) Add(session, "t");
      EXPECT_TRUE(WaitUntil([&] { return seen == kEvents; }));
      stop = true;
    } else if (thread == 1) {
      for (int i = 0; !stop; ++i) {
        agx_mux* from = i % 2 == 0 ? mux_.get() : other.get();
        agx_mux* to = i % 2 == 0 ? other.get() : mux_.get();
        ASSERT_EQ(agx_mux_remove(from, listener.get()), AGX_OK);
        ASSERT_EQ(agx_mux_add(to, listener.get()), AGX_OK);
      }
    } else {
      while (!stop) {
        agx_listener* whose = nullptr;
        agx_event* event = nullptr;
        agx_status status = agx_mux_next((thread == 2 ? mux_ : other).get(), 50, &whose, &event);
        ASSERT_TRUE(status == AGX_OK || status == AGX_TIMEOUT) << agx_last_error();
        if (status == AGX_OK) ++seen;
        agx_event_free(event);
      }
    }
  });
  EXPECT_EQ(seen, kEvents);
}

// Bursts of one session or of all, connections that are cut, threads that share the mux, listeners
// that leave and come back: each event comes once, in its order.
TEST_F(CapiMuxFollow, WhateverHappensEachEventComesOnce) {
  constexpr int kSessions = 6;
  constexpr int kThreads = 3;
  constexpr int kBursts = 250;
  FaultProxy proxy(server_.port());
  ClientPtr client = OpenClient(proxy.url() + "?reconnect_attempts=50&reconnect_timeout=20000");
  mux_ = OpenMux(client);
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  std::map<agx_listener*, int> which;
  for (int i = 0; i < kSessions; ++i) {
    sessions.push_back(Started(writer_, std::to_string(i)));
    listeners.push_back(InMux(std::to_string(i), client));
    which[listeners.back().get()] = i;
  }
  std::array<std::atomic<int>, kSessions> added{};
  std::mutex mutex;
  std::array<std::set<std::string>, kSessions> seen;
  std::atomic<int> ended{0};
  std::atomic<int> repeated{0};
  InThreads(kThreads + 1, [&](int thread) {
    if (thread < kThreads) {
      while (ended < kSessions) {
        Told told = Next(200);
        if (told.status == AGX_OK) {
          std::lock_guard lock(mutex);
          bool news = seen[which.at(told.listener)].insert(told.id()).second;
          if (!news) ++repeated;
        } else if (told.status == AGX_ENDED && told.listener != nullptr) {
          ++ended;
        } else {
          ASSERT_TRUE(told.status == AGX_TIMEOUT || told.status == AGX_ENDED) << told.text();
        }
      }
      return;
    }
    std::minstd_rand random(1);
    for (int burst = 0; burst < kBursts; ++burst) {
      int session = static_cast<int>(random() % kSessions);
      int count = static_cast<int>(random() % 8);
      for (int i = 0; i < count; ++i) {
        int to = burst % 5 == 0 ? i % kSessions : session;
        Add(sessions[to], "t");
        ++added[to];
      }
      if (burst % 20 == 0) proxy.CutAll();
      if (burst % 7 == 0) {
        ASSERT_EQ(agx_mux_remove(mux_.get(), listeners[session].get()), AGX_OK);
        ASSERT_EQ(agx_mux_add(mux_.get(), listeners[session].get()), AGX_OK);
      }
    }
    for (const SessionPtr& session : sessions) ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  });
  EXPECT_EQ(repeated, 0);
  for (int i = 0; i < kSessions; ++i) EXPECT_EQ(seen[i].size(), static_cast<size_t>(added[i])) << i;
}

}  // namespace
}  // namespace agx::test
