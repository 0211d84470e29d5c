// ctest-labels: redis threads
// ctest-timeout: 120
// What waits for a store that cannot be reached ends at an interrupt, and goes on afterwards.
#include <agx.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/background.h"
#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

// Longer than any test may take.
constexpr int64_t kReconnectMs = 600000;
// Far less, and more than a busy machine needs.
constexpr int64_t kSoonMs = 60000;
constexpr int64_t kLeaseMs = 400;

class Interrupt : public testing::Test {
 protected:
  Interrupt() {
    agx_options options = AGX_OPTIONS_INIT;
    options.reconnect_timeout_ms = kReconnectMs;
    options.reconnect_attempts = 1000000;
    options.lease_ms = kLeaseMs;
    options.log_level = AGX_LOG_WARNING;
    options.log_data = this;
    options.log = [](void* data, agx_log_level, const char* message) {
      auto* self = static_cast<Interrupt*>(data);
      if (std::string_view(message).find("refused") != std::string_view::npos) ++self->refused_;
    };
    client_ = OpenClient(server_.url(), &options);
    session_ = OpenSession(client_.get(), "s");
  }

  // The call waits for the server, which is gone, until it is interrupted; and then the store is there again.
  void EndsIt(const std::function<agx_status()>& call, const std::function<void()>& interrupt,
              agx_status expected = AGX_INTERRUPTED, int64_t outage_ms = 0) {
    Background<agx_status> waiting(call);
    waiting.AwaitBlocked();
    server_.Stop();
    AwaitOutage(outage_ms);
    ASSERT_FALSE(waiting.done());
    Stopwatch watch;
    interrupt();
    EXPECT_EQ(waiting.Get(), expected);
    EXPECT_LT(watch.ms(), kSoonMs);
    server_.Restart();
  }

  void AwaitOutage(int64_t at_least_ms = 0) {
    Stopwatch outage;
    int before = refused_;
    EXPECT_TRUE(WaitUntil([&] { return refused_ >= before + 3 && outage.ms() >= at_least_ms; }));
  }

  // Two threads are in the call, and each interrupt is for one of them.
  void EndsOneOfTwo(const std::function<agx_status()>& call,
                    const std::function<void()>& interrupt) {
    using Waiting = Background<agx_status>;
    std::unique_ptr<Waiting> both[2];
    for (auto& one : both) {
      one = std::make_unique<Waiting>(call);
      one->AwaitBlocked();
    }
    server_.Stop();
    AwaitOutage();
    for (int round = 0; round < 20 && !HasFailure(); ++round) {
      interrupt();
      EXPECT_TRUE(WaitUntil([&] { return both[0]->done() || both[1]->done(); }));
      for (auto& one : both) {
        if (!one->done()) continue;
        EXPECT_EQ(one->Get(), AGX_INTERRUPTED);
        one = std::make_unique<Waiting>(call);
      }
      for (auto& one : both) one->AwaitBlocked();
    }
    for (int left = 2; left > 0; --left) {
      interrupt();
      auto ended = [&](auto& one) { return one != nullptr && one->done(); };
      EXPECT_TRUE(WaitUntil([&] { return ended(both[0]) || ended(both[1]); }));
      for (auto& one : both) {
        if (ended(one)) one.reset();
      }
    }
  }

  RedisServer server_;
  std::atomic<int> refused_{0};
  Owned<agx_client> client_;
  Owned<agx_session> session_;
};

Owned<agx_group> Open(agx_session* session) {
  agx_group* group = nullptr;
  Require(agx_group_open(session, "g", nullptr, &group));
  return Owned<agx_group>(group);
}

Owned<agx_session> OpenList(agx_client* client) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "ag2";
  agx_session* list = nullptr;
  Require(agx_stream_open(client, "l", &options, &list));
  return Owned<agx_session>(list);
}

agx_status ReadOne(agx_group* group, int64_t timeout_ms = -1) {
  agx_event* event = nullptr;
  size_t count = 0;
  agx_status status = agx_group_read(group, AGX_GROUP_NEW, timeout_ms, &event, 1, &count);
  if (count > 0) agx_event_free(event);
  return status;
}

agx_status NextOf(agx_listener* listener) {
  agx_event* event = nullptr;
  agx_status status = agx_listen_next(listener, -1, &event);
  if (status == AGX_OK) agx_event_free(event);
  return status;
}

agx_status NextOf(agx_mux* mux) {
  agx_listener* listener = nullptr;
  agx_event* event = nullptr;
  agx_status status = agx_mux_next(mux, -1, &listener, &event);
  if (status == AGX_OK) agx_event_free(event);
  return status;
}

TEST_F(Interrupt, EndsAReadOfAGroup) {
  Owned<agx_group> group = Open(session_.get());
  EndsIt([&] { return ReadOne(group.get()); }, [&] { agx_group_interrupt(group.get()); });
  // The server came back without its data.
  Owned<agx_group> again = Open(session_.get());
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(ReadOne(group.get()), AGX_OK);
}

TEST_F(Interrupt, ClosingAGroupEndsARead) {
  Owned<agx_group> group = Open(session_.get());
  EndsIt([raw = group.get()] { return ReadOne(raw); }, [&] { group.reset(); }, AGX_ECLOSED);
}

TEST_F(Interrupt, EndsAGroupsProcess) {
  Owned<agx_group> group = Open(session_.get());
  std::atomic<int> handled{0};
  auto handler = [](const agx_event*, int64_t, void* data) {
    ++*static_cast<std::atomic<int>*>(data);
    return AGX_OK;
  };
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  auto process = [&] { return agx_group_process(group.get(), nullptr, handler, &handled); };
  EndsIt(process, [&] { agx_group_interrupt(group.get()); });
  EXPECT_EQ(handled, 1);
  // It was the one that was under way, and not the next.
  Owned<agx_group> again = Open(session_.get());
  EXPECT_EQ(ReadOne(group.get(), 0), AGX_TIMEOUT);
}

// It stops at once, whatever it would do about an outage.
TEST_F(Interrupt, EndsAProcessThatGivesUpInAnOutage) {
  Owned<agx_group> group = Open(session_.get());
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.outage_ms = 0;
  auto handler = [](const agx_event*, int64_t, void*) { return AGX_OK; };
  auto process = [&] { return agx_group_process(group.get(), &options, handler, nullptr); };
  EndsIt(process, [&] { agx_group_interrupt(group.get()); });
  Owned<agx_group> again = Open(session_.get());
  EXPECT_EQ(ReadOne(group.get(), 0), AGX_TIMEOUT);
}

// What failed and waits to be tried again would be given back, if the store were there.
TEST_F(Interrupt, EndsAProcessThatHoldsWhatFailed) {
  Owned<agx_group> group = Open(session_.get());
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.backoff_ms = options.backoff_max_ms = kReconnectMs;
  auto handler = [](const agx_event*, int64_t, void*) { return AGX_EINVAL; };
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  auto process = [&] { return agx_group_process(group.get(), &options, handler, nullptr); };
  EndsIt(process, [&] { agx_group_interrupt(group.get()); });
}

// What was handled cannot be acknowledged: that is tried for as long as the client reconnects, but not
// as long again because of the interrupt.
TEST_F(Interrupt, OfAProcessThatCannotAcknowledgeDoesNotBeginAnew) {
  constexpr int64_t kGivesUpMs = 3000;
  agx_options limited = AGX_OPTIONS_INIT;
  limited.reconnect_timeout_ms = kGivesUpMs;
  limited.reconnect_attempts = 1000000;
  Owned<agx_client> client = OpenClient(server_.url(), &limited);
  Owned<agx_session> session = OpenSession(client.get(), "acknowledged");
  Owned<agx_group> group = Open(session.get());
  Require(agx_add(session.get(), "t", "o", nullptr, nullptr));
  struct Handled {
    RedisServer* server;
    std::atomic<bool> done{false};
  } handled{&server_};
  auto handler = [](const agx_event*, int64_t, void* data) {
    static_cast<Handled*>(data)->server->Stop();
    static_cast<Handled*>(data)->done = true;
    return AGX_OK;
  };
  Background<agx_status> process(
      [&] { return agx_group_process(group.get(), nullptr, handler, &handled); });
  ASSERT_TRUE(WaitUntil([&] { return handled.done.load(); }));
  Stopwatch watch;
  // The acknowledgement is under way.
  ASSERT_TRUE(WaitUntil([&] { return watch.ms() > kGivesUpMs / 2; }));
  agx_group_interrupt(group.get());
  EXPECT_EQ(process.Get(), AGX_ECONNECT);
  EXPECT_LT(watch.ms(), 2 * kGivesUpMs - 500);
}

TEST_F(Interrupt, IsForOneOfTwoThatReadAGroup) {
  Owned<agx_group> group = Open(session_.get());
  EndsOneOfTwo([&] { return ReadOne(group.get()); }, [&] { agx_group_interrupt(group.get()); });
}

TEST_F(Interrupt, AWaitForACancelHasItsTimeoutInAnOutageToo) {
  Require(agx_start(session_.get(), nullptr));
  EXPECT_EQ(agx_wait_canceled(session_.get(), 0), AGX_TIMEOUT);
  server_.Stop();
  AwaitOutage();
  for (int64_t timeout_ms : {0, 100, 0}) {
    Stopwatch watch;
    EXPECT_EQ(agx_wait_canceled(session_.get(), timeout_ms), AGX_TIMEOUT);
    EXPECT_LT(watch.ms(), kSoonMs);
  }
  server_.Restart();
  Owned<agx_client> other = OpenClient(server_.url());
  Owned<agx_session> same = OpenSession(other.get(), "s");
  int was_live = 0;
  EXPECT_TRUE(WaitUntil([&] {
    return agx_add(session_.get(), "t", "o", nullptr, nullptr) == AGX_OK &&
           agx_cancel(same.get(), &was_live) == AGX_OK && was_live == 1;
  }));
  EXPECT_EQ(agx_wait_canceled(session_.get(), kSoonMs), AGX_OK);
}

TEST_F(Interrupt, EndsAListenersWait) {
  Owned<agx_listener> listener = Listen(session_.get());
  EndsIt([&] { return NextOf(listener.get()); }, [&] { agx_listener_interrupt(listener.get()); });
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
}

// However long the outage: by then it wants to know of the flag.
TEST_F(Interrupt, EndsAListenersWaitThatOutlastsALease) {
  Owned<agx_listener> listener = Listen(session_.get());
  EndsIt([&] { return NextOf(listener.get()); }, [&] { agx_listener_interrupt(listener.get()); },
         AGX_INTERRUPTED, 2 * kLeaseMs);
}

TEST_F(Interrupt, ClosingAListenerEndsAWaitThatOutlastsALease) {
  Owned<agx_listener> listener = Listen(session_.get());
  EndsIt([raw = listener.get()] { return NextOf(raw); }, [&] { listener.reset(); }, AGX_ECLOSED,
         2 * kLeaseMs);
}

TEST_F(Interrupt, EndsTheWaitOfOneThatReadsAList) {
  Owned<agx_session> list = OpenList(client_.get());
  Owned<agx_listener> listener = Listen(list.get());
  EndsIt([&] { return NextOf(listener.get()); }, [&] { agx_listener_interrupt(listener.get()); });
  Require(agx_add(list.get(), "app.Answer", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
}

TEST_F(Interrupt, ClosingAListenerThatReadsAListEndsItsWait) {
  Owned<agx_session> list = OpenList(client_.get());
  Owned<agx_listener> listener = Listen(list.get());
  EndsIt([raw = listener.get()] { return NextOf(raw); }, [&] { listener.reset(); }, AGX_ECLOSED);
}

TEST_F(Interrupt, IsForOneOfTwoThatWaitForAList) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "ag2";
  agx_session* list = nullptr;
  Require(agx_stream_open(client_.get(), "l", &options, &list));
  Owned<agx_session> owned(list);
  Owned<agx_listener> listener = Listen(list);
  EndsOneOfTwo([&] { return NextOf(listener.get()); },
               [&] { agx_listener_interrupt(listener.get()); });
}

class MuxInterrupt : public Interrupt {
 protected:
  MuxInterrupt() {
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client_.get(), &mux));
    mux_.reset(mux);
    other_ = OpenSession(client_.get(), "other");
    for (agx_session* session : {session_.get(), other_.get()}) {
      listeners_.push_back(Listen(session));
      Require(agx_mux_add(mux_.get(), listeners_.back().get()));
    }
  }

  Owned<agx_mux> mux_;
  Owned<agx_session> other_;
  std::vector<Owned<agx_listener>> listeners_;
};

TEST_F(MuxInterrupt, EndsItsWait) {
  EndsIt([&] { return NextOf(mux_.get()); }, [&] { agx_mux_interrupt(mux_.get()); });
  // What was given up because of it is no failure that anybody is told of later.
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(mux_.get()), AGX_OK);
}

TEST_F(MuxInterrupt, IsForOneOfTwoThatWait) {
  EndsOneOfTwo([&] { return NextOf(mux_.get()); }, [&] { agx_mux_interrupt(mux_.get()); });
}

// Of a mux with a descriptor it is another thread that waits for the store, and gives up.
TEST_F(MuxInterrupt, IsNoFailureWhereItIsPolled) {
  int fd = -1;
  Require(agx_mux_fd(mux_.get(), &fd));
  server_.Stop();
  AwaitOutage();
  std::atomic<int> told{0};
  std::atomic<bool> over{false};
  std::atomic<agx_status> failure{AGX_OK};
  std::thread polling([&] {
    while (!over) {
      pollfd item{fd, POLLIN, 0};
      if (poll(&item, 1, 10) <= 0) continue;
      agx_listener* listener = nullptr;
      agx_event* event = nullptr;
      // What made it readable is told before anything is read.
      agx_status status = agx_mux_next(mux_.get(), 0, &listener, &event);
      if (status == AGX_INTERRUPTED) {
        ++told;
      } else {
        failure = status;
      }
    }
  });
  for (int round = 0; round < 100 && failure == AGX_OK; ++round) {
    int before = told;
    agx_mux_interrupt(mux_.get());
    EXPECT_TRUE(WaitUntil([&] { return told > before || failure != AGX_OK; }));
  }
  over = true;
  polling.join();
  EXPECT_EQ(failure, AGX_OK);
  server_.Restart();
}

TEST_F(MuxInterrupt, ClosingItEndsItsWait) {
  EndsIt([raw = mux_.get()] { return NextOf(raw); }, [&] { mux_.reset(); }, AGX_ECLOSED);
}

// The connection on which it hears of events is there, but not the one on which it would ask whether
// some are gone.
TEST_F(Interrupt, EndsALookForAGap) {
  FaultProxy proxy(server_.port());
  agx_options options = AGX_OPTIONS_INIT;
  options.reconnect_timeout_ms = kReconnectMs;
  options.reconnect_attempts = 1000000;
  Owned<agx_client> client = OpenClient(proxy.url(), &options);
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Owned<agx_session> other = OpenSession(client.get(), "other");
  Require(agx_add(session.get(), "t", "o", nullptr, nullptr));
  Owned<agx_listener> listener = Listen(session.get());
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
  Background<agx_status> waiting([&] { return NextOf(listener.get()); });
  waiting.AwaitBlocked();
  proxy.RefuseConnections(true);
  proxy.CutAfterReplyBytes(0);
  EXPECT_EQ(agx_add(other.get(), "t", "o", nullptr, nullptr), AGX_EUNCERTAIN);
  int before = proxy.connections();
  std::string add = "redis.call('XADD', KEYS[1], '*', 'type', 't', 'origin', 'o', 'body', '{}') ";
  server_.Command({"EVAL", add + add, "1", KeyOf("s")});
  EXPECT_TRUE(WaitUntil([&] { return proxy.connections() > before + 3; }));
  ASSERT_FALSE(waiting.done());
  agx_listener_interrupt(listener.get());
  EXPECT_EQ(waiting.Get(), AGX_INTERRUPTED);
  proxy.RefuseConnections(false);
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
}

// An interrupt is no business of those who wait for a server that is loading its data: they do not ask
// it the sooner, and so are not refused the sooner.
class InterruptOfAnother : public testing::TestWithParam<const char*> {};

TEST_P(InterruptOfAnother, LeavesTheWaitForALoadingServerAsItIs) {
  RedisServer server;
  FaultProxy proxy(server.port());
  Owned<agx_client> client = OpenClient(proxy.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Owned<agx_listener> listener = Listen(session.get());
  proxy.RefuseCommand("XADD", "LOADING Redis is loading the dataset in memory");
  std::string call = GetParam();
  Background<agx_status> adding([&] {
    agx_new_event event{"t", "o", nullptr};
    if (call == "add") return agx_add(session.get(), "t", "o", nullptr, nullptr);
    if (call == "add_many") return agx_add_many(session.get(), &event, 1, nullptr, nullptr);
    agx_addition one{session.get(), event, AGX_OK, ""};
    return agx_add_each(&one, 1);
  });
  EXPECT_TRUE(WaitUntil([&] { return proxy.commands("XADD") > 0; }));
  for (int i = 0; i < 200 && !adding.done(); ++i) {
    agx_listener_interrupt(listener.get());
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  proxy.ForgetCommandRules();
  EXPECT_EQ(adding.Get(), AGX_OK);
}

INSTANTIATE_TEST_SUITE_P(Calls, InterruptOfAnother, testing::Values("add", "add_many", "add_each"),
                         [](const auto& call) { return std::string(call.param); });

}  // namespace
}  // namespace agx::test
