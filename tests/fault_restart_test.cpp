// ctest-labels: redis threads
// ctest-timeout: 120
// A server that is killed with -9 and started again in the middle of adding and listening.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <iomanip>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/background.h"
#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr int64_t kLeaseMs = 1000;

agx_options Options() {
  agx_options options = AGX_OPTIONS_INIT;
  options.command_timeout_ms = 3000;
  options.lease_ms = kLeaseMs;
  return options;
}

// Of a server that was killed just now: until every lease that it wrote down has run out. The server
// goes by the system's clock.
void OutliveLeases() {
  std::this_thread::sleep_until(std::chrono::system_clock::now() + milliseconds(kLeaseMs + 1));
}

RedisServer::Options Durable() {
  RedisServer::Options options;
  options.append_only = true;
  return options;
}

// Adds numbered events, one by one or many at once, and keeps what became of each.
class Writer {
 public:
  Writer(agx_session* session, int number, size_t at_once)
      : session_(session), number_(number), at_once_(at_once), thread_([this] { Run(); }) {}
  ~Writer() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int stored() const { return stored_; }
  int failures() const { return failures_; }
  // Of each event, in the order of adding.
  const std::vector<agx_status>& outcomes() const { return outcomes_; }
  const std::map<std::string, int>& ids() const { return ids_; }
  int number() const { return number_; }

 private:
  void Run() {
    while (!stop_) at_once_ == 1 ? AddOne() : AddMany();
  }

  void AddOne() {
    int n = static_cast<int>(outcomes_.size());
    char id[AGX_ID_SIZE] = "";
    agx_status status = agx_add(session_, "t", "o", BodyOf({number_, n}).c_str(), id);
    Note(status);
    if (status == AGX_OK) ids_[id] = n;
  }

  void AddMany() {
    auto first = static_cast<int>(outcomes_.size());
    std::vector<std::string> bodies;
    for (size_t i = 0; i < at_once_; ++i) {
      bodies.push_back(BodyOf({number_, first + static_cast<int>(i)}));
    }
    std::vector<agx_new_event> events;
    for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
    std::string ids(at_once_ * AGX_ID_SIZE, '\0');
    size_t added = 0;
    agx_status status = agx_add_many(session_, events.data(), events.size(), ids.data(), &added);
    EXPECT_EQ(status == AGX_OK, added == at_once_);
    // Of those after the first `added` this much is said by the status.
    for (size_t i = 0; i < at_once_; ++i) Note(i < added ? AGX_OK : status);
    for (size_t i = 0; i < added; ++i) {
      ids_[ids.c_str() + i * AGX_ID_SIZE] = first + static_cast<int>(i);
    }
  }

  void Note(agx_status status) {
    outcomes_.push_back(status);
    (status == AGX_OK ? stored_ : failures_)++;
    if (status != AGX_OK && status != AGX_EUNCERTAIN && !IsOutage(status)) {
      ADD_FAILURE() << "adding: " << Explain(status);
    }
  }

  agx_session* const session_;
  const int number_;
  const size_t at_once_;
  std::vector<agx_status> outcomes_;
  std::map<std::string, int> ids_;
  std::atomic<int> stored_{0};
  std::atomic<int> failures_{0};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What a listener handed on, and how it ended.
struct Heard {
  std::vector<std::string> ids;
  std::vector<Numbered> events;
  std::vector<std::string> odd;  // statuses that have no place here
  bool ended = false;

  // True if it goes on.
  bool Take(agx_status status, agx_event* event) {
    Owned<agx_event> owned(event);
    if (status == AGX_OK) {
      ids.emplace_back(agx_event_id(event, nullptr));
      Numbered numbered;
      if (ParseBody(agx_event_body(event, nullptr), &numbered)) events.push_back(numbered);
      return true;
    }
    if (status == AGX_ENDED) ended = true;
    // The lease of a producer that cannot reach the server runs out.
    bool passing = status == AGX_TIMEOUT || status == AGX_GONE || IsOutage(status);
    if (!ended && !passing) odd.push_back(Explain(status));
    return passing && !give_up;
  }
  std::atomic<bool> give_up{false};
};

void Follow(agx_listener* listener, Heard* heard) {
  agx_event* event = nullptr;
  agx_status status = AGX_OK;
  do {
    status = agx_listen_next(listener, 200, &event);
  } while (heard->Take(status, event));
}

void FollowByDescriptor(agx_listener* listener, Heard* heard) {
  pollfd waiting{-1, POLLIN, 0};
  Require(agx_listener_fd(listener, &waiting.fd));
  for (;;) {
    poll(&waiting, 1, 200);
    agx_event* event = nullptr;
    agx_status status = agx_listen_next(listener, 0, &event);
    if (!heard->Take(status, event)) return;
  }
}

// One thread for all of the mux's listeners.
void FollowByMux(agx_mux* mux, std::vector<Heard*> heards) {
  size_t open = heards.size();
  while (open > 0) {
    agx_listener* listener = nullptr;
    agx_event* event = nullptr;
    agx_status status = agx_mux_next(mux, 200, &listener, &event);
    if (listener != nullptr) {
      auto* heard = static_cast<Heard*>(agx_listener_data(listener));
      if (!heard->Take(status, event)) --open;
    } else if (!heards.front()->Take(status, event)) {
      return;
    }
  }
}

// An audience of listeners of all kinds on one session.
class Audience {
 public:
  Audience(const std::string& url, const std::string& id, int threads, int in_mux,
           int descriptors) {
    agx_options options = Options();
    client_ = OpenClient(url, &options);
    Owned<agx_session> session = OpenSession(client_.get(), id);
    for (int i = 0; i < threads; ++i) {
      agx_listener* listener = Add(session.get());
      Heard* heard = heards_.back().get();
      threads_.emplace_back([=] { Follow(listener, heard); });
    }
    for (int i = 0; i < descriptors; ++i) {
      agx_listener* listener = Add(session.get());
      Heard* heard = heards_.back().get();
      threads_.emplace_back([=] { FollowByDescriptor(listener, heard); });
    }
    if (in_mux == 0) return;
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client_.get(), &mux));
    mux_.reset(mux);
    std::vector<Heard*> heards;
    for (int i = 0; i < in_mux; ++i) {
      agx_listener* listener = Add(session.get());
      heards.push_back(heards_.back().get());
      Require(agx_listener_set_data(listener, heards.back()));
      Require(agx_mux_add(mux, listener));
    }
    threads_.emplace_back([=] { FollowByMux(mux, heards); });
  }
  ~Audience() { Join(); }

  // Waits until all have heard the end.
  void Join() {
    std::thread watchdog;
    std::atomic<bool> joined{false};
    if (!threads_.empty()) {
      watchdog = std::thread([&] {
        if (WaitUntil([&] { return joined.load(); })) return;
        for (auto& heard : heards_) heard->give_up = true;
      });
    }
    for (std::thread& thread : threads_) thread.join();
    joined = true;
    if (watchdog.joinable()) watchdog.join();
    threads_.clear();
  }

  const std::vector<std::unique_ptr<Heard>>& heards() const { return heards_; }

 private:
  agx_listener* Add(agx_session* session) {
    listeners_.push_back(Listen(session));
    heards_.push_back(std::make_unique<Heard>());
    return listeners_.back().get();
  }

  Owned<agx_client> client_;
  std::vector<Owned<agx_listener>> listeners_;
  Owned<agx_mux> mux_;
  std::vector<std::unique_ptr<Heard>> heards_;
  std::vector<std::thread> threads_;
};

// What was acknowledged is there once and in order, what is uncertain at most once, nothing else.
void CheckWriter(const Writer& writer, const std::vector<Stored>& stream) {
  std::vector<int> times(writer.outcomes().size());
  int last = -1;
  for (const Stored& entry : stream) {
    if (entry.event.writer != writer.number()) continue;
    int n = entry.event.number;
    ASSERT_LT(static_cast<size_t>(n), times.size());
    ++times[static_cast<size_t>(n)];
    EXPECT_GT(n, last) << "writer " << writer.number() << ", out of order";
    last = n;
    auto id = writer.ids().find(entry.id);
    if (writer.outcomes()[static_cast<size_t>(n)] == AGX_OK) {
      EXPECT_TRUE(id != writer.ids().end() && id->second == n) << entry.id;
    }
  }
  for (size_t n = 0; n < times.size(); ++n) {
    agx_status outcome = writer.outcomes()[n];
    std::string what = "writer " + std::to_string(writer.number()) + ", event " +
                       std::to_string(n) + ", " + agx_status_string(outcome);
    EXPECT_GE(times[n], outcome == AGX_OK ? 1 : 0) << what;
    EXPECT_LE(times[n], IsOutage(outcome) ? 0 : 1) << what;
  }
}

void CheckHeard(const Heard& heard, const std::vector<Stored>& stream) {
  EXPECT_TRUE(heard.ended);
  EXPECT_THAT(heard.odd, testing::IsEmpty());
  std::vector<std::string> ids;
  for (const Stored& entry : stream) {
    if (entry.type != "end") ids.push_back(entry.id);
  }
  EXPECT_EQ(heard.ids.size(), ids.size());
  EXPECT_TRUE(heard.ids == ids) << "something was lost, repeated or reordered";
}

TEST(Restart, LosesRepeatsAndReordersNothing) {
  RedisServer server(Durable());
  agx_options options = Options();
  Owned<agx_client> client = OpenClient(server.url(), &options);
  Owned<agx_session> session = StartSession(client.get(), "s");
  Audience tail(server.url(), "s", 1, 0, 0);
  Audience tails_and_watches(server.url(), "s", 4, 0, 0);
  Audience many(server.url(), "s", 0, 12, 2);
  {
    std::vector<std::unique_ptr<Writer>> writers;
    for (int i = 0; i < 3; ++i) writers.push_back(std::make_unique<Writer>(session.get(), i, 1));
    writers.push_back(std::make_unique<Writer>(session.get(), 3, 200));
    constexpr int kRounds = 4;
    for (int round = 0; round < kRounds; ++round) {
      for (auto& writer : writers) {
        int before = writer->stored();
        ASSERT_TRUE(WaitUntil([&] { return writer->stored() > before + 20; })) << round;
      }
      server.Kill9();
      // In one of the rounds for longer than the lease.
      if (round == 2) OutliveLeases();
      server.Restart();
    }
    for (auto& writer : writers) {
      int before = writer->stored();
      ASSERT_TRUE(WaitUntil([&] { return writer->stored() > before; }));
      writer->Stop();
    }
    // The producer has its lease back.
    ASSERT_TRUE(WaitUntil([&] {
      return server.Command({"GET", KeyOf("s") + ":live"}) != "(nil)";
    }));
    EXPECT_EQ(agx_is_canceled(session.get()), 0);
    ASSERT_EQ(agx_stop(session.get(), 60000), AGX_OK) << agx_last_error();
    std::vector<Stored> stream = ReadStream(server, KeyOf("s"));
    for (auto& writer : writers) CheckWriter(*writer, stream);
  }
  std::vector<Stored> stream = ReadStream(server, KeyOf("s"));
  for (Audience* audience : {&tail, &tails_and_watches, &many}) {
    audience->Join();
    for (auto& heard : audience->heards()) CheckHeard(*heard, stream);
  }
}

TEST(Restart, CancelsStillReachTheProducer) {
  RedisServer server(Durable());
  agx_options options = Options();
  Owned<agx_client> client = OpenClient(server.url(), &options);
  Owned<agx_session> polled = StartSession(client.get(), "polled");
  Owned<agx_session> waited = StartSession(client.get(), "waited");
  agx_status woken = AGX_TIMEOUT;
  std::thread waiter([&] { woken = agx_wait_canceled(waited.get(), 20000); });
  for (bool long_outage : {false, true}) {
    server.Kill9();
    if (long_outage) OutliveLeases();
    server.Restart();
    for (const char* id : {"polled", "waited"}) {
      EXPECT_TRUE(WaitUntil([&] {
        return server.Command({"GET", KeyOf(id) + ":live"}) != "(nil)";
      })) << id;
    }
  }
  EXPECT_EQ(agx_is_canceled(polled.get()), 0);
  EXPECT_EQ(agx_is_canceled(waited.get()), 0);

  agx_options defaults = Options();
  Owned<agx_client> other = OpenClient(server.url(), &defaults);
  for (const char* id : {"polled", "waited"}) {
    Owned<agx_session> session = OpenSession(other.get(), id);
    int was_live = 0;
    EXPECT_EQ(agx_cancel(session.get(), &was_live), AGX_OK) << agx_last_error();
    EXPECT_EQ(was_live, 1) << id;
  }
  waiter.join();
  EXPECT_EQ(woken, AGX_OK) << agx_last_error();
  EXPECT_TRUE(WaitUntil([&] { return agx_is_canceled(polled.get()) == 1; }));
}

// --- A server that comes back with nothing

TEST(RestartWithoutPersistence, TellsListenersOfTheGapAndBeginsAgain) {
  RedisServer server;
  agx_options options = Options();
  Owned<agx_client> client = OpenClient(server.url(), &options);
  Owned<agx_session> session = StartSession(client.get(), "s");
  for (int n = 0; n < 10; ++n) {
    ASSERT_EQ(agx_add(session.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr), AGX_OK);
  }
  Owned<agx_session> watched = OpenSession(client.get(), "s");
  std::vector<Owned<agx_listener>> listeners;
  for (int i = 0; i < 4; ++i) listeners.push_back(Listen(watched.get()));
  agx_mux* mux = nullptr;
  Require(agx_mux_open(client.get(), &mux));
  Owned<agx_mux> owned_mux(mux);
  Owned<agx_listener> in_mux = Listen(watched.get());
  Require(agx_mux_add(mux, in_mux.get()));

  auto next = [&](agx_listener* listener, Numbered* event) {
    agx_event* raw = nullptr;
    agx_listener* whose = nullptr;
    agx_status status = listener != nullptr ? agx_listen_next(listener, 10000, &raw)
                                            : agx_mux_next(mux, 10000, &whose, &raw);
    Owned<agx_event> owned(raw);
    *event = {};
    if (status == AGX_OK) ParseBody(agx_event_body(raw, nullptr), event);
    return status;
  };
  std::vector<agx_listener*> all = {nullptr};
  for (auto& listener : listeners) all.push_back(listener.get());
  for (agx_listener* listener : all) {
    Numbered event;
    while (event.number != 9) ASSERT_EQ(next(listener, &event), AGX_OK) << agx_last_error();
  }

  server.Kill9();
  server.Restart();
  ASSERT_TRUE(WaitUntil([&] { return server.Command({"EXISTS", KeyOf("s") + ":live"}) == "1"; }));
  EXPECT_EQ(agx_is_canceled(session.get()), 0);
  ASSERT_EQ(agx_add(session.get(), "t", "o", BodyOf({1, 0}).c_str(), nullptr), AGX_OK);
  for (agx_listener* listener : all) {
    int gaps = 0;
    Numbered event;
    while (event != Numbered{1, 0}) {
      agx_status status = next(listener, &event);
      if (status == AGX_GAP) ++gaps;
      bool expected = status == AGX_OK || status == AGX_GAP || status == AGX_GONE;
      ASSERT_TRUE(expected || IsOutage(status)) << Explain(status);
    }
    EXPECT_EQ(gaps, 1);
  }
}

// Adds to a stream that something keeps losing.
class Losing : public testing::Test {
 protected:
  void Open(Owned<agx_session> session) {
    session_ = std::move(session);
    Require(agx_start(session_.get(), nullptr));
  }
  static agx_options LongLease() {
    agx_options options = Options();
    options.lease_ms = 30000;  // a flag that is not there has not run out
    return options;
  }

  RedisServer server_;
  Owned<agx_client> client_ = [&] {
    agx_options options = LongLease();
    return OpenClient(server_.url(), &options);
  }();
  Owned<agx_session> session_;
};

TEST_F(Losing, ASessionIsBegunAnewInTheMiddleOfAdding) {
  Open(OpenSession(client_.get(), "s"));
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < 3; ++i) writers.push_back(std::make_unique<Writer>(session_.get(), i, 1));
  writers.push_back(std::make_unique<Writer>(session_.get(), 3, 200));
  for (int round = 0; round < 5; ++round) {
    for (auto& writer : writers) {
      int before = writer->stored();
      ASSERT_TRUE(WaitUntil([&] { return writer->stored() > before + 20; })) << round;
    }
    server_.Kill9();
    server_.Restart();
    ASSERT_TRUE(WaitUntil([&] { return server_.Command({"EXISTS", KeyOf("s")}) == "1"; }));
    EXPECT_EQ(server_.Command({"EXISTS", KeyOf("s") + ":live"}), "1");
  }
  for (auto& writer : writers) {
    int before = writer->stored();
    ASSERT_TRUE(WaitUntil([&] { return writer->stored() > before; }));
    writer->Stop();
  }
  EXPECT_EQ(agx_is_canceled(session_.get()), 0);
  ASSERT_EQ(agx_stop(session_.get(), 60000), AGX_OK) << agx_last_error();

  std::vector<Stored> stream = ReadStream(server_, KeyOf("s"));
  ASSERT_FALSE(stream.empty());
  EXPECT_EQ(stream.front().type, "begin");
  EXPECT_EQ(stream.back().type, "end");
  // Whatever was acknowledged since is there, once and in order.
  for (auto& writer : writers) {
    std::vector<int> kept;
    std::vector<int> acknowledged;
    for (const Stored& entry : stream) {
      if (entry.event.writer != writer->number()) continue;
      auto n = static_cast<size_t>(entry.event.number);
      if (writer->outcomes()[n] == AGX_OK) kept.push_back(entry.event.number);
    }
    for (auto& [id, n] : writer->ids()) {
      if (id.size() >= stream.front().id.size() && id > stream.front().id) {
        acknowledged.push_back(n);
      }
    }
    std::sort(acknowledged.begin(), acknowledged.end());
    EXPECT_EQ(kept, acknowledged) << writer->number();
  }
}

// A cancel of what was begun anew is one.
TEST_F(Losing, ACancelStillReachesIt) {
  Open(OpenSession(client_.get(), "s"));
  Writer writer(session_.get(), 0, 1);
  ASSERT_TRUE(WaitUntil([&] { return writer.stored() > 20; }));
  server_.Kill9();
  server_.Restart();
  ASSERT_TRUE(WaitUntil([&] { return server_.Command({"EXISTS", KeyOf("s")}) == "1"; }));
  agx_options options = Options();
  Owned<agx_client> other = OpenClient(server_.url(), &options);
  int was_live = 0;
  ASSERT_EQ(agx_cancel(OpenSession(other.get(), "s").get(), &was_live), AGX_OK);
  EXPECT_EQ(was_live, 1);
  EXPECT_TRUE(WaitUntil([&] { return agx_is_canceled(session_.get()) == 1; }));
}

TEST_F(Losing, ARunGoesOn) {
  Owned<agx_session> session = OpenSession(client_.get(), "s");
  agx_run* run = nullptr;
  ASSERT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_OK);
  ASSERT_EQ(agx_run_node_begin(run), AGX_OK);
  ASSERT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  server_.Kill9();
  server_.Restart();
  // The first may not know that the connection is gone until it has used it.
  ASSERT_TRUE(WaitUntil([&] { return agx_run_part_delta(run, AGX_LAST_PART, "b") == AGX_OK; }));
  EXPECT_EQ(agx_run_node_end(run, nullptr, nullptr), AGX_OK) << agx_last_error();
  EXPECT_EQ(agx_run_finish(run), AGX_OK) << agx_last_error();
  agx_run_close(run);
  std::vector<Stored> stream = ReadStream(server_, KeyOf("s"));
  ASSERT_GE(stream.size(), 4U);
  EXPECT_EQ(stream.front().type, "begin");
  EXPECT_EQ(stream.back().type, "end");
}

// What a look at the flag is answered while the store has neither flag nor stream counts no more once
// another thread has begun the session anew.
TEST(LosingAtOnce, AnOldAnswerIsNoCancel) {
  RedisServer server;
  FaultProxy proxy(server.port());
  Owned<agx_client> client = OpenClient(proxy.url());
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "openai-agents";
  agx_session* raw = nullptr;
  Require(agx_stream_open(client.get(), "s", &options, &raw));
  Owned<agx_session> session(raw);
  Require(agx_start(raw, nullptr));
  Require(agx_add(raw, "t", "o", "{}", nullptr));
  proxy.HoldReply("EXISTS");
  server.Command({"FLUSHALL"});
  // One from before may have been under way.
  ASSERT_TRUE(WaitUntil([&] {
    std::string reply = proxy.HeldReply("EXISTS");
    if (reply == ":1\r\n") {
      proxy.HoldReply("EXISTS");
      proxy.ReleaseReply("EXISTS");
    }
    return reply == ":0\r\n";
  }));
  // It finds that there is no stream, begins it anew, and has not yet heard that it wrote to it.
  proxy.HoldReply("XADD", 2);
  Background<agx_status> adding([&] { return agx_add(raw, "t", "o", "{}", nullptr); });
  EXPECT_TRUE(WaitUntil([&] { return !proxy.HeldReply("XADD").empty(); }));
  int looks = proxy.commands("EXISTS");
  proxy.ReleaseReply("EXISTS");
  EXPECT_TRUE(
      WaitUntil([&] { return proxy.commands("EXISTS") > looks || agx_is_canceled(raw) == 1; }));
  EXPECT_EQ(agx_is_canceled(raw), 0);
  proxy.ReleaseReply("XADD");
  EXPECT_EQ(adding.Get(), AGX_OK);
  EXPECT_EQ(agx_is_canceled(raw), 0);
}

// An add that finds no stream, and hears of that when another thread has begun the session anew, does not do
// so once more: the flag may have been taken since.
TEST(LosingAtOnce, ACancelOfWhatWasBegunAnewIsNotUndone) {
  RedisServer server;
  FaultProxy proxy(server.port());
  Owned<agx_client> client = OpenClient(proxy.url());
  Owned<agx_session> session = StartSession(client.get(), "s");
  Require(agx_add(session.get(), "t", "o", "{}", nullptr));
  const std::string flag = KeyOf("s") + ":live";
  // The keeper's look waits until the add has been answered, though nobody has heard of that yet.
  proxy.HoldReply("EXISTS");
  server.Command({"FLUSHALL"});
  ASSERT_TRUE(WaitUntil([&] {
    std::string reply = proxy.HeldReply("EXISTS");
    if (reply == ":1\r\n") {
      proxy.HoldReply("EXISTS");
      proxy.ReleaseReply("EXISTS");
    }
    return reply == ":0\r\n";
  }));
  proxy.HoldReply("XADD");
  Background<agx_status> adding([&] { return agx_add(session.get(), "late", "o", "{}", nullptr); });
  EXPECT_TRUE(WaitUntil([&] { return proxy.HeldReply("XADD") == "$-1\r\n"; }));
  proxy.ReleaseReply("EXISTS");
  EXPECT_TRUE(WaitUntil([&] { return server.Command({"EXISTS", flag}) == "1"; }));
  EXPECT_EQ(server.Command({"DEL", flag}), "1");
  proxy.ReleaseReply("XADD");
  EXPECT_EQ(adding.Get(), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return agx_is_canceled(session.get()) == 1; }));
  EXPECT_EQ(server.Command({"EXISTS", flag}), "0");
}

struct FormatCase {
  const char* format;
  const char* key;
  const char* type;
  const char* body;
};

class LosingOf : public Losing, public testing::WithParamInterface<FormatCase> {};

TEST_P(LosingOf, AnotherFormatIsNotTakenForCanceled) {
  const FormatCase& format = GetParam();
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = format.format;
  agx_session* raw = nullptr;
  Require(agx_stream_open(client_.get(), "s", &options, &raw));
  Open(Owned<agx_session>(raw));
  std::atomic<int> stored{0};
  std::atomic<bool> done{false};
  std::thread adding([&] {
    while (!done) {
      agx_status status = agx_add(session_.get(), format.type, format.format, format.body, nullptr);
      if (status == AGX_OK) ++stored;
      bool expected = status == AGX_OK || status == AGX_EUNCERTAIN || IsOutage(status);
      EXPECT_TRUE(expected) << Explain(status);
    }
  });
  for (int round = 0; round < 5; ++round) {
    int before = stored;
    EXPECT_TRUE(WaitUntil([&] { return stored > before + 20; })) << round;
    server_.Kill9();
    server_.Restart();
    EXPECT_TRUE(WaitUntil([&] { return server_.Command({"EXISTS", format.key}) == "1"; }));
    EXPECT_EQ(server_.Command({"EXISTS", std::string(format.key) + ":live"}), "1");
  }
  int before = stored;
  EXPECT_TRUE(WaitUntil([&] { return stored > before + 20; }));
  done = true;
  adding.join();
  EXPECT_EQ(agx_is_canceled(session_.get()), 0);
  if (std::string_view(format.format) == "agent-framework") {
    std::string first = server_.Command({"XRANGE", format.key, "-", "+", "COUNT", "2"});
    EXPECT_THAT(first, testing::HasSubstr("sequence, 0,"));
    EXPECT_THAT(first, testing::HasSubstr("sequence, 1,"));
  }
  EXPECT_EQ(agx_stop(session_.get(), 60000), AGX_OK) << agx_last_error();
}

INSTANTIATE_TEST_SUITE_P(
    Formats, LosingOf,
    testing::Values(FormatCase{"openai-agents", "s", "token", R"({"token":"a"})"},
                    FormatCase{"agent-framework", "agent-stream:s", "event", R"({"text":"a"})"},
                    FormatCase{"ag2", "ag2:stream:s", "my.A", R"({"n":1})"}),
    [](const testing::TestParamInfo<FormatCase>& named) {
      std::string name = named.param.format;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// --- A server that does not come back

using Waiting = std::vector<std::pair<std::string, std::unique_ptr<Background<agx_status>>>>;

// This process's ends of the connections to a port of 127.0.0.1, also of those that it has not
// accepted yet.
std::set<std::string> ConnectionsTo(uint16_t port) {
  constexpr const char* kEstablished = "01";
  std::ifstream table("/proc/self/net/tcp");
  std::set<std::string> ends;
  std::string number, local, remote, state, rest;
  std::ostringstream wanted;
  wanted << ":" << std::uppercase << std::hex << std::setw(4) << std::setfill('0') << port;
  while (table >> number >> local >> remote >> state && std::getline(table, rest)) {
    if (state == kEstablished && remote.substr(remote.find(':')) == wanted.str()) {
      ends.insert(local);
    }
  }
  return ends;
}

class Gone : public testing::Test {
 protected:
  void Open(int64_t reconnect_timeout_ms, int64_t attempts) {
    agx_options options = Options();
    options.reconnect_timeout_ms = reconnect_timeout_ms;
    options.reconnect_attempts = attempts;
    client_ = OpenClient(server_.url(), &options);
    session_ = StartSession(client_.get(), "s");
    idle_ = OpenSession(client_.get(), "idle");
    listener_ = Listen(session_.get());
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client_.get(), &mux));
    mux_.reset(mux);
    in_mux_ = Listen(session_.get());
    Require(agx_mux_add(mux, in_mux_.get()));
    agx_event* event = nullptr;
    Require(agx_listen_next(listener_.get(), 5000, &event));
    agx_event_free(event);
  }

  // Every call, by name. First one that cannot be uncertain: the loss may go unnoticed until then.
  std::vector<std::pair<std::string, std::function<agx_status()>>> Calls() {
    return {
        {"is_live",
         [&] {
           int live = 0;
           return agx_is_live(session_.get(), &live);
         }},
        {"add", [&] { return agx_add(session_.get(), "t", "o", "{}", nullptr); }},
        {"add_many",
         [&] {
           agx_new_event events[3] = {
               {"t", "o", nullptr}, {"t", "o", nullptr}, {"t", "o", nullptr}};
           return agx_add_many(session_.get(), events, 3, nullptr, nullptr);
         }},
        {"start", [&] { return agx_start(idle_.get(), nullptr); }},
        {"renew", [&] { return agx_renew(session_.get()); }},
        {"cancel", [&] { return agx_cancel(session_.get(), nullptr); }},
        {"listen_next",
         [&] {
           agx_event* event = nullptr;
           return agx_listen_next(listener_.get(), 20000, &event);
         }},
        {"mux_next",
         [&] {
           agx_listener* listener = nullptr;
           agx_event* event = nullptr;
           return agx_mux_next(mux_.get(), 20000, &listener, &event);
         }},
        {"listen to what is new",
         [&] {
           agx_listen_options options = Patient("new");
           agx_listener* listener = nullptr;
           return agx_listen(session_.get(), &options, &listener);
         }},
        {"query",
         [&] {
           agx_query* query = nullptr;
           Require(agx_query_open(client_.get(), 1, 2, &query));
           Owned<agx_query> owned(query);
           return agx_query_next(query, nullptr, nullptr, nullptr);
         }},
        {"stop", [&] { return agx_stop(session_.get(), 0); }},
    };
  }

  RedisServer server_;
  Owned<agx_client> client_;
  Owned<agx_session> session_;
  Owned<agx_session> idle_;
  Owned<agx_listener> listener_;
  Owned<agx_mux> mux_;
  Owned<agx_listener> in_mux_;
};

TEST_F(Gone, EveryCallGivesUpWithinTheTimeout) {
  Open(300, 1000);
  server_.Kill9();
  for (auto& [name, call] : Calls()) {
    auto began = SteadyClock::now();
    EXPECT_EQ(call(), AGX_ECONNECT) << name << ": " << agx_last_error();
    EXPECT_THAT(agx_last_error(), testing::HasSubstr("127.0.0.1")) << name;
    EXPECT_LT(SteadyClock::now() - began, milliseconds(3000)) << name;
  }
}

TEST_F(Gone, EveryCallGivesUpAfterTheAttempts) {
  Open(60000, 3);
  server_.Kill9();
  for (auto& [name, call] : Calls()) {
    auto began = SteadyClock::now();
    EXPECT_EQ(call(), AGX_ECONNECT) << name << ": " << agx_last_error();
    EXPECT_LT(SteadyClock::now() - began, milliseconds(3000)) << name;
  }
}

TEST_F(Gone, WithoutReconnectItIsSaidAtOnce) {
  Open(-1, 0);
  server_.Kill9();
  for (auto& [name, call] : Calls()) {
    auto began = SteadyClock::now();
    EXPECT_EQ(call(), AGX_ECONNECT) << name << ": " << agx_last_error();
    EXPECT_LT(SteadyClock::now() - began, milliseconds(1000)) << name;
  }
}

// Threads in every kind of call, all in the middle of reconnecting.
TEST_F(Gone, ClosingTheClientEndsReconnects) {
  Open(60000, 1000);
  server_.Kill9();
  Waiting waiting;
  for (auto& [name, call] : Calls()) {
    if (name == "query") continue;  // opened after the close, it says so by an exception
    waiting.emplace_back(name, std::make_unique<Background<agx_status>>(call));
    // The first of them finds that the connection is lost: from then on nothing is uncertain.
    if (waiting.size() == 1) waiting[0].second->AwaitBlocked();
  }
  for (auto& [name, call] : waiting) call->AwaitBlocked();
  auto began = SteadyClock::now();
  client_.reset();
  EXPECT_LT(SteadyClock::now() - began, milliseconds(1500));
  for (auto& [name, call] : waiting) EXPECT_EQ(call->Get(), AGX_ECLOSED) << name;
  EXPECT_LT(SteadyClock::now() - began, milliseconds(1500));
}

// It takes connections, as a stopped process does, and never answers.
TEST_F(Gone, ClosingTheClientEndsReconnectsToAServerThatStandsStill) {
  Open(60000, 1000);
  server_.Pause();
  const std::set<std::string> before = ConnectionsTo(server_.port());
  Waiting waiting;
  for (auto& [name, call] : Calls()) {
    if (name == "query") continue;
    waiting.emplace_back(name, std::make_unique<Background<agx_status>>(call));
  }
  // Past the command timeout: now there are connections that are new.
  EXPECT_TRUE(WaitUntil([&] {
    const std::set<std::string> now = ConnectionsTo(server_.port());
    return !std::includes(before.begin(), before.end(), now.begin(), now.end());
  }));
  auto began = SteadyClock::now();
  client_.reset();
  EXPECT_LT(SteadyClock::now() - began, milliseconds(1500));
  for (auto& [name, call] : waiting) call->Get();
  EXPECT_LT(SteadyClock::now() - began, milliseconds(1500));
  server_.Continue();
}

}  // namespace
}  // namespace agx::test
