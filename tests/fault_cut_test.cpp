// ctest-labels: redis threads
// ctest-timeout: 120
// Connections that are cut at every byte, of the replies and of the requests, and ones that fall silent.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSample = 23;
#else
constexpr uint64_t kSample = 1;
#endif
constexpr uint64_t kShards = 4;

// One event's outcome.
using Outcomes = std::map<int, agx_status>;

// The life of a session, from agx_open to its end, with every call's status looked at. A connection that is lost
// once may show in agx_open, which does not try again, and in what must not be done twice; nowhere else.
class Cycle {
 public:
  Cycle(const std::string& url, const std::string& id) : url_(url), id_(id) {}

  void Run() {
    agx_client* client = nullptr;
    agx_status opened = Timed([&] { return agx_open(url_.c_str(), nullptr, &client); });
    if (IsOutage(opened)) {
      opened = Timed([&] { return agx_open(url_.c_str(), nullptr, &client); });
    }
    ASSERT_EQ(opened, AGX_OK) << agx_last_error();
    client_.reset(client);
    session_ = OpenSession(client, id_);
    Expect("agx_start", [&] { return agx_start(session_.get(), nullptr); });
    ASSERT_FALSE(testing::Test::HasFailure());
    listener_ = Listen(session_.get());
    OpenMux();
    ASSERT_FALSE(testing::Test::HasFailure());
    HearOne();
    Add(0);
    Add(1);
    AddMany(2, 3);
    Look();
    Cancel();
    Add(5);
    Expect("agx_stop", [&] { return agx_stop(session_.get(), 60000); });
    HearAll();
    HearMux();
    EXPECT_EQ(agx_is_canceled(session_.get()), 0);
  }

  void Check(const RedisServer& server) const {
    std::vector<Stored> stream = ReadStream(server, KeyOf(id_));
    ASSERT_GE(stream.size(), 2U);
    EXPECT_EQ(stream.front().type, "begin");
    EXPECT_EQ(stream.back().type, "end");
    std::map<int, int> times;
    int last = -1;
    std::vector<std::string> ids;
    for (size_t i = 0; i + 1 < stream.size(); ++i) {
      ids.push_back(stream[i].id);
      if (i == 0) continue;
      EXPECT_EQ(stream[i].type, "t");
      int n = stream[i].event.number;
      EXPECT_GT(n, last) << "repeated or out of order";
      last = n;
      ++times[n];
    }
    for (auto [n, status] : outcomes_) {
      EXPECT_GE(times[n], status == AGX_OK ? 1 : 0) << n << " was acknowledged, and is lost";
      EXPECT_LE(times[n], 1);
    }
    EXPECT_EQ(heard_, ids);
    EXPECT_EQ(heard_by_mux_, ids);
  }

 private:
  template <class Call>
  agx_status Timed(Call call) {
    auto began = SteadyClock::now();
    agx_status status = call();
    EXPECT_LT(SteadyClock::now() - began, milliseconds(5000));
    return status;
  }
  template <class Call>
  void Expect(const char* name, Call call) {
    agx_status status = Timed(call);
    EXPECT_EQ(status, AGX_OK) << name << ": " << Explain(status);
  }

  void OpenMux() {
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client_.get(), &mux));
    mux_.reset(mux);
    in_mux_ = Listen(session_.get());
    Expect("agx_mux_add", [&] { return agx_mux_add(mux_.get(), in_mux_.get()); });
  }

  void Add(int n) {
    outcomes_[n] = Timed([&] {
      return agx_add(session_.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr);
    });
    bool fits = outcomes_[n] == AGX_OK || outcomes_[n] == AGX_EUNCERTAIN;
    EXPECT_TRUE(fits) << Explain(outcomes_[n]);
  }

  void AddMany(int first, int count) {
    std::vector<std::string> bodies;
    for (int n = first; n < first + count; ++n) bodies.push_back(BodyOf({0, n}));
    std::vector<agx_new_event> events;
    for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
    size_t added = 0;
    agx_status status = Timed([&] {
      return agx_add_many(session_.get(), events.data(), events.size(), nullptr, &added);
    });
    EXPECT_TRUE(status == AGX_OK || status == AGX_EUNCERTAIN) << Explain(status);
    for (int i = 0; i < count; ++i) {
      outcomes_[first + i] = static_cast<size_t>(i) < added ? AGX_OK : status;
    }
  }

  // What only reads is simply done again.
  void Look() {
    int live = 0;
    Expect("agx_is_live", [&] { return agx_is_live(session_.get(), &live); });
    EXPECT_EQ(live, 1);
    Expect("agx_renew", [&] { return agx_renew(session_.get()); });
    agx_query* query = nullptr;
    Require(agx_query_open(client_.get(), 1, 2, &query));
    Owned<agx_query> owned(query);
    const char* found = nullptr;
    Expect("agx_query_next", [&] { return agx_query_next(query, nullptr, nullptr, &found); });
    EXPECT_STREQ(found, id_.c_str());
    EXPECT_EQ(agx_query_next(query, nullptr, nullptr, &found), AGX_ENDED) << agx_last_error();
    agx_event* event = nullptr;
    size_t count = 0;
    Expect("agx_history_read",
           [&] { return agx_history_read(session_.get(), nullptr, &event, 1, &count); });
    agx_event_free(event);
    agx_history info = AGX_HISTORY_INIT;
    Expect("agx_history_info", [&] { return agx_history_info(session_.get(), &info); });
    EXPECT_EQ(info.live, 1);
    Expect("agx_history_trim",
           [&] { return agx_history_trim(session_.get(), -1, info.first_id, nullptr); });
    agx_listen_options options = Patient("new");
    agx_listener* listener = nullptr;
    Expect("agx_listen", [&] { return agx_listen(session_.get(), &options, &listener); });
    agx_listener_close(listener);
  }

  // Of another session, which may be cancelled or not if the connection was lost.
  void Cancel() {
    Owned<agx_session> other = OpenSession(client_.get(), id_ + "x");
    agx_start_options options = AGX_START_OPTIONS_INIT;
    options.detached = 1;
    Expect("agx_start", [&] { return agx_start(other.get(), &options); });
    int was_live = 0;
    agx_status status = Timed([&] { return agx_cancel(other.get(), &was_live); });
    EXPECT_TRUE(status == AGX_OK || status == AGX_EUNCERTAIN) << Explain(status);
    EXPECT_EQ(was_live, status == AGX_OK ? 1 : 0);
    // Twice is as good as once.
    if (status != AGX_OK) {
      Expect("agx_cancel", [&] { return agx_cancel(other.get(), nullptr); });
    }
    int live = 1;
    Expect("agx_is_live", [&] { return agx_is_live(other.get(), &live); });
    EXPECT_EQ(live, 0);
  }

  agx_status HearOne() {
    agx_event* event = nullptr;
    agx_status status = Timed([&] { return agx_listen_next(listener_.get(), 5000, &event); });
    Owned<agx_event> owned(event);
    if (status == AGX_OK) heard_.emplace_back(agx_event_id(event, nullptr));
    return status;
  }

  void HearAll() {
    agx_status status = AGX_OK;
    while (status == AGX_OK) status = HearOne();
    EXPECT_EQ(status, AGX_ENDED) << Explain(status);
  }

  void HearMux() {
    for (;;) {
      agx_listener* listener = nullptr;
      agx_event* event = nullptr;
      agx_status status = Timed([&] { return agx_mux_next(mux_.get(), 5000, &listener, &event); });
      Owned<agx_event> owned(event);
      if (status == AGX_OK) {
        heard_by_mux_.emplace_back(agx_event_id(event, nullptr));
        continue;
      }
      EXPECT_EQ(status, AGX_ENDED) << Explain(status);
      return;
    }
  }

  const std::string url_;
  const std::string id_;
  Owned<agx_client> client_;
  Owned<agx_session> session_;
  Owned<agx_listener> listener_;
  Owned<agx_mux> mux_;
  Owned<agx_listener> in_mux_;
  Outcomes outcomes_;
  std::vector<std::string> heard_;
  std::vector<std::string> heard_by_mux_;
};

// Each byte is the last of one cycle; each shard takes its part of them, until a cycle is over before the cut.
class EveryByte : public testing::TestWithParam<uint64_t> {
 protected:
  // A long INFO would be most of the bytes, and is all alike.
  void ShortenInfo(FaultProxy* proxy) {
    proxy->ReplaceReply("INFO", "$22\r\nredis_version:7.0.15\r\n\r\n", -1);
  }

  template <class Arm>
  void Run(uint64_t stride, Arm arm) {
    RedisServer server;
    uint64_t bytes = GetParam() * stride;
    for (;; bytes += kShards * stride) {
      FaultProxy proxy(server.port());
      ShortenInfo(&proxy);
      arm(&proxy, bytes);
      Cycle cycle(proxy.url(), "s");
      cycle.Run();
      cycle.Check(server);
      ASSERT_FALSE(HasFailure()) << "cut after " << bytes << " bytes";
      server.Command({"FLUSHALL"});
      if (proxy.cuts() == 0) break;
    }
    EXPECT_GT(bytes, 500U);
    RecordProperty("bytes", std::to_string(bytes));
  }
};

TEST_P(EveryByte, OfTheReplies) {
  Run(kSample, [](FaultProxy* proxy, uint64_t bytes) { proxy->CutAfterReplyBytes(bytes); });
}

// A server does nothing with a part of a command: some bytes of each are enough.
TEST_P(EveryByte, OfTheRequests) {
  Run(kSample * 5, [](FaultProxy* proxy, uint64_t bytes) { proxy->CutAfterRequestBytes(bytes); });
}

INSTANTIATE_TEST_SUITE_P(Cut, EveryByte, testing::Range(uint64_t{0}, kShards));

// --- Many at once, in several writes

class ManyAtOnce : public testing::Test {
 protected:
  static constexpr int kCount = 300;

  void Run(uint64_t bytes, bool requests) {
    FaultProxy proxy(server_.port());
    Owned<agx_client> client = OpenClient(proxy.url());
    Owned<agx_session> session = OpenSession(client.get(), "s");
    std::vector<std::string> bodies;
    for (int n = 0; n < kCount; ++n) bodies.push_back(BodyOf({0, n}));
    std::vector<agx_new_event> events;
    for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
    if (requests) {
      proxy.CutAfterRequestBytes(bytes);
    } else {
      proxy.CutAfterReplyBytes(bytes);
    }
    size_t added = 0;
    agx_status status = agx_add_many(session.get(), events.data(), events.size(), nullptr, &added);
    std::vector<int> times(kCount);
    int last = -1;
    for (Numbered event : EventsIn(ReadStream(server_, KeyOf("s")))) {
      ++times[static_cast<size_t>(event.number)];
      EXPECT_GT(event.number, last) << "repeated or out of order";
      last = event.number;
    }
    for (size_t n = 0; n < kCount; ++n) {
      EXPECT_GE(times[n], n < added ? 1 : 0) << n << " of " << added;
      EXPECT_LE(times[n], n < added || status == AGX_EUNCERTAIN ? 1 : 0) << n << " of " << added;
    }
    EXPECT_TRUE(status == AGX_OK || status == AGX_EUNCERTAIN) << Explain(status);
    EXPECT_EQ(status == AGX_OK, added == kCount);
    server_.Command({"FLUSHALL"});
  }

  RedisServer server_;
};

TEST_F(ManyAtOnce, AreWrittenAtMostOnceAndInOrderIfRepliesAreCut) {
  for (uint64_t bytes = 0; bytes < uint64_t{kCount} * 24; bytes += 61 + kSample) {
    Run(bytes, false);
    ASSERT_FALSE(HasFailure()) << "cut after " << bytes << " bytes";
  }
}

TEST_F(ManyAtOnce, AreWrittenAtMostOnceAndInOrderIfRequestsAreCut) {
  for (uint64_t bytes = 0; bytes < uint64_t{kCount} * 100; bytes += 397 + kSample) {
    Run(bytes, true);
    ASSERT_FALSE(HasFailure()) << "cut after " << bytes << " bytes";
  }
}

// --- Each to a stream of its own, in several writes

class EachAtOnce : public testing::Test {
 protected:
  static constexpr int kSessions = 100;
  static constexpr int kEach = 3;

  static std::string IdOf(int session) { return "s" + std::to_string(session); }

  void Run(uint64_t bytes, bool requests) {
    FaultProxy proxy(server_.port());
    Owned<agx_client> client = OpenClient(proxy.url());
    std::vector<Owned<agx_session>> sessions;
    for (int s = 0; s < kSessions; ++s) sessions.push_back(OpenSession(client.get(), IdOf(s)));
    std::vector<std::string> bodies;
    for (int n = 0; n < kEach; ++n) bodies.push_back(BodyOf({0, n}));
    std::vector<agx_addition> additions;
    for (const std::string& body : bodies) {
      for (const Owned<agx_session>& session : sessions) {
        agx_addition& one = additions.emplace_back();
        one.session = session.get();
        one.event = {"t", "o", body.c_str()};
      }
    }
    if (requests) {
      proxy.CutAfterRequestBytes(bytes);
    } else {
      proxy.CutAfterReplyBytes(bytes);
    }
    bool all = agx_add_each(additions.data(), additions.size()) == AGX_OK;
    for (int s = 0; s < kSessions; ++s) {
      std::vector<int> times(kEach);
      int last = -1;
      for (Numbered event : EventsIn(ReadStream(server_, KeyOf(IdOf(s))))) {
        ++times[static_cast<size_t>(event.number)];
        EXPECT_GT(event.number, last) << "repeated or out of order";
        last = event.number;
      }
      for (int n = 0; n < kEach; ++n) {
        const agx_addition& one = additions[static_cast<size_t>(n * kSessions + s)];
        bool stored = one.status == AGX_OK;
        EXPECT_TRUE(stored || one.status == AGX_EUNCERTAIN) << Explain(one.status);
        EXPECT_GE(times[static_cast<size_t>(n)], stored ? 1 : 0);
        EXPECT_LE(times[static_cast<size_t>(n)], 1);
        EXPECT_EQ(*one.id != '\0', stored);
        all = all && stored;
      }
    }
    uncertain_ += all ? 0 : 1;
    server_.Command({"FLUSHALL"});
  }

  RedisServer server_;
  int uncertain_ = 0;
};

TEST_F(EachAtOnce, IsWrittenAtMostOnceAndInOrderIfRepliesAreCut) {
  for (uint64_t bytes = 0; bytes < uint64_t{kSessions * kEach} * 24; bytes += 331 + kSample) {
    Run(bytes, false);
    ASSERT_FALSE(HasFailure()) << "cut after " << bytes << " bytes";
  }
  EXPECT_GT(uncertain_, 0);
}

TEST_F(EachAtOnce, IsWrittenAtMostOnceAndInOrderIfRequestsAreCut) {
  for (uint64_t bytes = 0; bytes < uint64_t{kSessions * kEach} * 100; bytes += 1597 + kSample) {
    Run(bytes, true);
    ASSERT_FALSE(HasFailure()) << "cut after " << bytes << " bytes";
  }
}

// --- Cut again and again

TEST(CutOften, ListenersFollowWithoutLoss) {
  RedisServer server;
  FaultProxy proxy(server.port());
  Owned<agx_client> writer = OpenClient(server.url());
  Owned<agx_session> session = StartSession(writer.get(), "s");
  Owned<agx_client> reader = OpenClient(proxy.url());
  Owned<agx_session> read = OpenSession(reader.get(), "s");
  Owned<agx_listener> listener = Listen(read.get());
  Owned<agx_listener> in_mux = Listen(read.get());
  agx_mux* mux = nullptr;
  Require(agx_mux_open(reader.get(), &mux));
  Owned<agx_mux> owned_mux(mux);
  Require(agx_mux_add(mux, in_mux.get()));

  std::vector<Numbered> heard[2];
  auto take = [](agx_status status, agx_event* event, std::vector<Numbered>* to) {
    Owned<agx_event> owned(event);
    Numbered numbered;
    if (status == AGX_OK && ParseBody(agx_event_body(event, nullptr), &numbered)) {
      to->push_back(numbered);
    }
    EXPECT_TRUE(status == AGX_OK || status == AGX_ENDED) << Explain(status);
    return status == AGX_OK;
  };
  std::thread single([&] {
    agx_event* event = nullptr;
    agx_status status = AGX_OK;
    do status = agx_listen_next(listener.get(), -1, &event);
    while (take(status, event, &heard[0]));
  });
  std::thread multiple([&] {
    agx_listener* whose = nullptr;
    agx_event* event = nullptr;
    agx_status status = AGX_OK;
    do status = agx_mux_next(mux, -1, &whose, &event);
    while (take(status, event, &heard[1]));
  });
  std::vector<Numbered> added;
  for (int n = 0; n < 400; ++n) {
    added.push_back({0, n});
    ASSERT_EQ(agx_add(session.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr), AGX_OK);
    if (n % 20 == 10) proxy.CutAll();
    if (n % 20 == 0) proxy.CutAfterReplyBytes(static_cast<uint64_t>(n) * 3);
  }
  ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK);
  single.join();
  multiple.join();
  EXPECT_EQ(heard[0], added);
  EXPECT_EQ(heard[1], added);
}

TEST(Chunked, RepliesMayComeByteByByte) {
  RedisServer server;
  FaultProxy proxy(server.port());
  proxy.ChunkReplies(1);
  Cycle cycle(proxy.url(), "s");
  cycle.Run();
  cycle.Check(server);
}

// --- Stops

class LostStop : public testing::Test {
 protected:
  // Detached, so that no other connection takes part.
  Owned<agx_session> Started(const std::string& id) {
    Owned<agx_session> session = OpenSession(client_.get(), id);
    agx_start_options options = AGX_START_OPTIONS_INIT;
    options.detached = 1;
    Require(agx_start(session.get(), &options));
    return session;
  }

  RedisServer server_;
  FaultProxy proxy_{server_.port()};
  Owned<agx_client> client_ = OpenClient(proxy_.url());
};

// The reply of the stop is lost with its connection, and the second try finds what the first has left.
TEST_F(LostStop, IsRepeatedAndFindsItselfWhateverItsGrace) {
  for (int64_t grace_ms : {0, 60000}) {
    Owned<agx_session> session = Started(std::to_string(grace_ms));
    proxy_.CutAfterReplyBytes(0);
    agx_status status = agx_stop(session.get(), grace_ms);
    EXPECT_EQ(status, AGX_OK) << grace_ms << ": " << Explain(status);
    std::string key = KeyOf(std::to_string(grace_ms));
    EXPECT_EQ(server_.Command({"EXISTS", key + ":live"}), "0");
    EXPECT_EQ(server_.Command({"XLEN", key}), grace_ms == 0 ? "0" : "2");
  }
  EXPECT_EQ(proxy_.cuts(), 2);
}

TEST_F(LostStop, OfNothingIsSaidToBeOfNothing) {
  Owned<agx_session> session = Started("s");
  server_.Command({"DEL", KeyOf("s"), KeyOf("s") + ":live"});
  EXPECT_EQ(agx_stop(session.get(), 0), AGX_NOT_LIVE);
}

// --- Silence

class Silence : public testing::Test {
 protected:
  void SetUp() override {
    agx_options options = AGX_OPTIONS_INIT;
    options.command_timeout_ms = 300;
    options.reconnect_timeout_ms = 500;
    client_ = OpenClient(proxy_.url(), &options);
    session_ = StartSession(client_.get(), "s");
  }

  template <class Call>
  void ExpectWithin(milliseconds limit, agx_status expected, Call call) {
    auto began = SteadyClock::now();
    agx_status status = call();
    EXPECT_LT(SteadyClock::now() - began, limit);
    EXPECT_EQ(status, expected) << Explain(status);
  }

  RedisServer server_;
  FaultProxy proxy_{server_.port()};
  Owned<agx_client> client_;
  Owned<agx_session> session_;
};

TEST_F(Silence, AnAddIsUncertainAfterTheCommandTimeout) {
  ASSERT_EQ(agx_add(session_.get(), "t", "o", BodyOf({0, 0}).c_str(), nullptr), AGX_OK);
  proxy_.Blackhole(true);
  ExpectWithin(milliseconds(1500), AGX_EUNCERTAIN, [&] {
    return agx_add(session_.get(), "t", "o", BodyOf({0, 1}).c_str(), nullptr);
  });
  // From here on nothing can have been written: no connection gets so far.
  ExpectWithin(milliseconds(2500), AGX_ETIMEOUT, [&] {
    return agx_add(session_.get(), "t", "o", BodyOf({0, 2}).c_str(), nullptr);
  });
  proxy_.Blackhole(false);
  ASSERT_EQ(agx_add(session_.get(), "t", "o", BodyOf({0, 3}).c_str(), nullptr), AGX_OK)
      << agx_last_error();
  std::vector<Numbered> events = EventsIn(ReadStream(server_, KeyOf("s")));
  std::map<int, int> times;
  for (Numbered event : events) ++times[event.number];
  EXPECT_EQ(times[0], 1);
  EXPECT_LE(times[1], 1);
  EXPECT_EQ(times[2], 0);
  EXPECT_EQ(times[3], 1);
}

TEST_F(Silence, ReadsGiveUpAfterTheCommandTimeoutAndTheReconnectLimit) {
  Owned<agx_listener> listener = Listen(session_.get());
  Owned<agx_listener> in_mux = Listen(session_.get());
  agx_mux* mux = nullptr;
  Require(agx_mux_open(client_.get(), &mux));
  Owned<agx_mux> owned_mux(mux);
  Require(agx_mux_add(mux, in_mux.get()));
  proxy_.Blackhole(true);
  int live = 0;
  agx_event* event = nullptr;
  agx_listener* whose = nullptr;
  ExpectWithin(milliseconds(2500), AGX_ETIMEOUT,
               [&] { return agx_is_live(session_.get(), &live); });
  ExpectWithin(milliseconds(2500), AGX_ETIMEOUT,
               [&] { return agx_listen_next(listener.get(), 10000, &event); });
  ExpectWithin(milliseconds(2500), AGX_ETIMEOUT,
               [&] { return agx_mux_next(mux, 10000, &whose, &event); });
  ExpectWithin(milliseconds(2500), AGX_ETIMEOUT, [&] {
    agx_client* client = nullptr;
    return agx_open((proxy_.url() + "?command_timeout=300").c_str(), nullptr, &client);
  });
  proxy_.Blackhole(false);
  EXPECT_EQ(agx_listen_next(listener.get(), 10000, &event), AGX_OK) << agx_last_error();
  agx_event_free(event);
  EXPECT_EQ(agx_mux_next(mux, 10000, &whose, &event), AGX_OK) << agx_last_error();
  agx_event_free(event);
}

// What may have been done is said to be uncertain.
// What comes next in a replay is asked for ahead; that nobody comes for it is not the server's silence.
TEST_F(Silence, OfAReaderIsNotTheServers) {
  constexpr int kAll = 3000;
  for (int i = 0; i < kAll; ++i) {
    ASSERT_EQ(agx_add(session_.get(), "t", "o", BodyOf({0, i}).c_str(), nullptr), AGX_OK);
  }
  agx_options options = AGX_OPTIONS_INIT;
  options.command_timeout_ms = 2000;
  options.reconnect_timeout_ms = -1;
  Owned<agx_client> client = OpenClient(proxy_.url(), &options);
  proxy_.HoldReply("XRANGE", 2);
  Owned<agx_listener> listener = Listen(OpenSession(client.get(), "s").get());
  agx_event* begin = nullptr;
  Require(agx_listen_next(listener.get(), 10000, &begin));
  agx_event_free(begin);
  ASSERT_TRUE(WaitUntil([&] { return !proxy_.HeldReply("XRANGE").empty(); }));
  std::this_thread::sleep_for(milliseconds(options.command_timeout_ms + 100));
  int connections = proxy_.connections();
  // Its answer comes when it is waited for.
  std::thread release([&] {
    std::this_thread::sleep_for(milliseconds(100));
    proxy_.ReleaseReply("XRANGE");
  });
  for (int i = 0; i < kAll; ++i) {
    agx_event* event = nullptr;
    agx_status status = agx_listen_next(listener.get(), 10000, &event);
    EXPECT_EQ(status, AGX_OK) << i << ": " << Explain(status);
    agx_event_free(event);
    if (status != AGX_OK) break;
  }
  release.join();
  EXPECT_EQ(proxy_.connections(), connections);
}

TEST_F(Silence, AStartOrStopWhoseReplyIsLostIsUncertain) {
  Owned<agx_session> other = OpenSession(client_.get(), "other");
  proxy_.ReplaceReply("EVAL", "", -1);
  ExpectWithin(milliseconds(2500), AGX_EUNCERTAIN, [&] { return agx_start(other.get(), nullptr); });
  EXPECT_EQ(server_.Command({"EXISTS", KeyOf("other")}), "1");
  ExpectWithin(milliseconds(2500), AGX_EUNCERTAIN, [&] { return agx_stop(session_.get(), 60000); });
  EXPECT_EQ(server_.Command({"EXISTS", KeyOf("s") + ":live"}), "0");
  // And it can be made certain.
  proxy_.ForgetCommandRules();
  EXPECT_EQ(agx_start(other.get(), nullptr), AGX_OK) << agx_last_error();
  EXPECT_EQ(agx_stop(session_.get(), 60000), AGX_OK) << agx_last_error();
}

}  // namespace
}  // namespace agx::test
