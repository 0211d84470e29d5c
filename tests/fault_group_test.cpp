// ctest-labels: redis threads
// ctest-timeout: 180
// Consumer groups on connections that are cut at every byte, and on a server that answers anything.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using Command = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSample = 97;
#else
constexpr uint64_t kSample = 11;
#endif

constexpr int kEvents = 4;

Owned<agx_group> OpenGroup(agx_session* session, const char* consumer) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = consumer;
  agx_group* group = nullptr;
  Require(agx_group_open(session, "g", &options, &group));
  return Owned<agx_group>(group);
}

// How often each number was handed on.
using Times = std::map<int, int>;

void Count(const agx_event* event, Times* times) {
  Numbered numbered;
  if (ParseBody(agx_event_body(event, nullptr), &numbered)) ++(*times)[numbered.number];
}

agx_status CountAndFailOnce(const agx_event* event, int64_t attempt, void* user_data) {
  Numbered numbered;
  if (!ParseBody(agx_event_body(event, nullptr), &numbered)) return AGX_EFAILED;
  if (numbered.number == 1 && attempt == 1) return AGX_EFAILED;
  ++(*static_cast<Times*>(user_data))[numbered.number];
  return AGX_OK;
}

// One consumer's work over a proxy that cuts its connections. The other consumer died before.
class Work {
 public:
  Work(const FaultProxy& proxy, const RedisServer& server, const std::string& id)
      : direct_(OpenClient(server.url())), session_(OpenSession(direct_.get(), id)) {
    looker_ = OpenGroup(session_.get(), "looks on");
    for (int n = 0; n < kEvents; ++n) {
      Require(agx_add(session_.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr));
    }
    Owned<agx_group> dead = OpenGroup(session_.get(), "dead");
    agx_event* event = nullptr;
    size_t count = 0;
    Require(agx_group_read(dead.get(), AGX_GROUP_NEW, 0, &event, 1, &count));
    agx_event_free(event);
    client_ = OpenClient(proxy.url());
    through_ = OpenSession(client_.get(), id);
    group_ = OpenGroup(through_.get(), "me");
  }

  // All that is new, and each once.
  void Read() {
    std::vector<std::string> ids;
    Times times;
    for (;;) {
      agx_event* events[2] = {};
      size_t count = 0;
      agx_status status = agx_group_read(group_.get(), AGX_GROUP_NEW, 20, events, 2, &count);
      if (status == AGX_TIMEOUT) break;
      ASSERT_EQ(status, AGX_OK) << Explain(status);
      for (size_t i = 0; i < count; ++i) {
        Owned<agx_event> event(events[i]);
        Count(events[i], &times);
        ids.emplace_back(agx_event_id(events[i], nullptr));
      }
    }
    for (int n = 1; n < kEvents; ++n) EXPECT_EQ(times[n], 1) << n;
    std::vector<const char*> texts;
    for (const std::string& id : ids) texts.push_back(id.c_str());
    agx_status status = agx_group_ack(group_.get(), texts.data(), texts.size(), nullptr);
    EXPECT_EQ(status, AGX_OK) << Explain(status);
    EXPECT_EQ(Pending(), 1U) << "what the other left";
  }

  // All of it, also what the other left; each once, for nobody died.
  void Process() {
    Times times;
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.claim_idle_ms = 1;
    options.backoff_ms = 1;
    options.count = 2;
    options.timeout_ms = 120;
    agx_status status = agx_group_process(group_.get(), &options, CountAndFailOnce, &times);
    EXPECT_EQ(status, AGX_TIMEOUT) << Explain(status);
    for (int n = 0; n < kEvents; ++n) EXPECT_EQ(times[n], 1) << n;
    EXPECT_EQ(Pending(), 0U);
    agx_dead_letter letter;
    size_t count = 0;
    EXPECT_EQ(agx_group_dead_letters(looker_.get(), nullptr, &letter, 1, &count), AGX_ENDED);
  }

  uint64_t Pending() {
    agx_pending pending = AGX_PENDING_INIT;
    Require(agx_group_pending(looker_.get(), &pending));
    return pending.count;
  }

 private:
  Owned<agx_client> direct_;
  Owned<agx_session> session_;
  Owned<agx_group> looker_;
  Owned<agx_client> client_;
  Owned<agx_session> through_;
  Owned<agx_group> group_;
};

// The cuts move on by a few bytes each time, until one comes too late to matter, or far enough.
constexpr uint64_t kFar = 1200;

class CutGroup : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(CutGroup, EachEventComesOnce) {
  auto [replies, process] = GetParam();
  RedisServer server;
  FaultProxy proxy(server.port());
  uint64_t at = 0;
  for (bool cut = true; cut && at < kFar && !HasFailure(); at += kSample) {
    Work work(proxy, server, "s" + std::to_string(at));
    int before = proxy.cuts();
    if (replies) {
      proxy.CutAfterReplyBytes(at);
    } else {
      proxy.CutAfterRequestBytes(at);
    }
    process ? work.Process() : work.Read();
    cut = proxy.cuts() != before;
  }
  EXPECT_GT(at, 100U) << "nothing was cut";
}

INSTANTIATE_TEST_SUITE_P(Of, CutGroup, testing::Combine(testing::Bool(), testing::Bool()),
                         [](const auto& of) {
                           return std::string(std::get<0>(of.param) ? "Replies" : "Requests") +
                                  (std::get<1>(of.param) ? "OfProcess" : "OfRead");
                         });

// --- Attempts, when the connection is cut where they are counted or taken back

class CutAttempts : public testing::Test {
 protected:
  using Calls = std::vector<std::pair<int, int64_t>>;
  using Handler = std::function<agx_status(int number)>;

  void Add(int count) {
    for (int n = 0; n < count; ++n) {
      Require(agx_add(session_.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr));
    }
  }
  Owned<agx_group> OpenThrough(const std::string& query = "") {
    client_ = OpenClient(proxy_.url() + query);
    through_ = OpenSession(client_.get(), "s");
    return OpenGroup(through_.get(), "me");
  }
  agx_status Process(agx_group* group, const Handler& handler,
                     agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT) {
    struct Both {
      const Handler& handler;
      Calls& calls;
    } both{handler, calls_};
    if (options.backoff_ms == 0) options.backoff_ms = 1;
    return agx_group_process(
        group, &options,
        [](const agx_event* event, int64_t attempt, void* user_data) {
          Numbered numbered;
          if (!ParseBody(agx_event_body(event, nullptr), &numbered)) return AGX_EFAILED;
          auto* of = static_cast<Both*>(user_data);
          of->calls.emplace_back(numbered.number, attempt);
          return of->handler(numbered.number);
        },
        &both);
  }
  // Of a consumer that died of its first attempt, and was told to stop in the second.
  void LeaveWithOneAttempt() {
    Owned<agx_group> group = OpenGroup(session_.get(), "another");
    ASSERT_EQ(Process(group.get(),
                      [&](int) { return calls_.size() == 1 ? AGX_EFAILED : AGX_INTERRUPTED; }),
              AGX_INTERRUPTED);
    ASSERT_EQ(calls_, (Calls{{0, 1}, {0, 2}}));
    ASSERT_EQ(StoredAttempts(), 1) << "the second was taken back";
    calls_.clear();
  }
  // Of a consumer that went away with events which it had read, and are idle now.
  void LeaveWithAnother(size_t most) {
    Owned<agx_group> group = OpenGroup(session_.get(), "another");
    std::vector<agx_event*> events(most);
    size_t count = 0;
    Require(agx_group_read(group.get(), AGX_GROUP_NEW, 0, events.data(), most, &count));
    for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
    ASSERT_TRUE(WaitUntil([&] {
      std::vector<agx_pending_event> pending = Pending();
      return std::all_of(pending.begin(), pending.end(),
                         [](const agx_pending_event& one) { return one.idle_ms > 1; });
    }));
  }
  // Of three events one is handled, `fail` is called in the second, and the third is held when it turns
  // out that the first cannot be acknowledged.
  agx_status ProcessUntilItFails(agx_group* group, const std::function<void()>& fail,
                                 int64_t attempt = 1) {
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.outage_ms = 0;
    std::chrono::steady_clock::time_point first;
    agx_status status = Process(
        group,
        [&](int number) {
          if (number == 0) first = std::chrono::steady_clock::now();
          if (number != 1) return AGX_OK;
          fail();
          // The acknowledgement waits for company for 50 ms.
          std::this_thread::sleep_until(first + std::chrono::milliseconds(80));
          return AGX_OK;
        },
        options);
    EXPECT_EQ(calls_, (Calls{{0, attempt}, {1, attempt}}));
    EXPECT_EQ(Pending().size(), 3U);
    calls_.clear();
    return status;
  }
  void FailForLackOfAStore(agx_group* group) {
    agx_status status = ProcessUntilItFails(group, [&] {
      proxy_.RefuseConnections(true);
      proxy_.CutAll();
    });
    EXPECT_TRUE(IsOutage(status) || status == AGX_EUNCERTAIN) << Explain(status);
    proxy_.RefuseConnections(false);
  }
  Calls ProcessUpTo(agx_group* group, int64_t limit, int64_t max_retries = 9) {
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.max_retries = max_retries;
    options.limit = limit;
    options.timeout_ms = 10000;
    agx_status status = Process(
        group, [](int) { return AGX_OK; }, options);
    EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
    EXPECT_TRUE(Pending().empty());
    return std::exchange(calls_, {});
  }
  // The numbers of what comes until nothing does.
  std::vector<int> ReadAll(agx_group* group, agx_group_source source) {
    std::vector<int> numbers;
    for (;;) {
      agx_event* events[2] = {};
      size_t count = 0;
      agx_status status = agx_group_read(group, source, 0, events, 2, &count);
      if (status != AGX_OK) {
        EXPECT_TRUE(status == AGX_TIMEOUT || status == AGX_ENDED) << Explain(status);
        return numbers;
      }
      for (size_t i = 0; i < count; ++i) {
        Owned<agx_event> event(events[i]);
        Numbered numbered;
        EXPECT_TRUE(ParseBody(agx_event_body(events[i], nullptr), &numbered));
        numbers.push_back(numbered.number);
      }
    }
  }
  // Loses the reply to the nth script of what is called.
  template <class Function>
  agx_status LosingReply(int nth, const Function& call) {
    return Losing("EVAL", nth, false, call);
  }
  // Loses the reply to a read of new ones, and the store for a while.
  template <class Function>
  void LosingRead(const Function& call) {
    agx_status status = Losing("XREADGROUP", 1, true, call);
    EXPECT_TRUE(IsOutage(status) || status == AGX_EUNCERTAIN) << Explain(status);
    proxy_.RefuseConnections(false);
  }
  template <class Function>
  agx_status Losing(const char* command, int nth, bool store, const Function& call) {
    proxy_.HoldReply(command, nth);
    std::atomic<bool> done{false};
    std::thread cutter([&] {
      lost_ = WaitUntil([&] { return done || !proxy_.HeldReply(command).empty(); }) && !done;
      if (store) proxy_.RefuseConnections(true);
      proxy_.CutAll();
      proxy_.ReleaseReply(command);
    });
    agx_status status = call();
    done = true;
    cutter.join();
    EXPECT_TRUE(lost_) << "no reply was lost";
    return status;
  }
  std::vector<agx_pending_event> Pending() {
    std::vector<agx_pending_event> pending(10);
    size_t count = 0;
    Require(agx_group_pending_events(looker_.get(), nullptr, 0, nullptr, pending.data(),
                                     pending.size(), &count));
    pending.resize(count);
    return pending;
  }
  int64_t StoredAttempts() {
    std::vector<agx_pending_event> pending = Pending();
    return pending.size() == 1 ? pending[0].attempts : -1;
  }

  RedisServer server_;
  FaultProxy proxy_{server_.port()};
  Owned<agx_client> direct_ = OpenClient(server_.url());
  Owned<agx_session> session_ = OpenSession(direct_.get(), "s");
  Owned<agx_group> looker_ = OpenGroup(session_.get(), "looks on");
  Owned<agx_client> client_;
  Owned<agx_session> through_;
  Calls calls_;
  bool lost_ = false;
};

// The first script claims, the second counts the attempt.
TEST_F(CutAttempts, WhatWasTakenBackIsCountedOnceWhereAReplyIsLost) {
  for (int nth : {1, 2}) {
    Add(1);
    LeaveWithOneAttempt();
    Owned<agx_group> group = OpenThrough();
    int64_t stored = -1;
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.limit = 1;
    agx_status status = LosingReply(nth, [&] {
      return Process(
          group.get(),
          [&](int) {
            stored = StoredAttempts();
            return AGX_OK;
          },
          options);
    });
    EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
    EXPECT_EQ(calls_, (Calls{{0, 2}})) << "script " << nth;
    EXPECT_EQ(stored, 2) << "whoever takes over is to know, script " << nth;
    EXPECT_TRUE(Pending().empty());
    calls_.clear();
  }
}

TEST_F(CutAttempts, WhatWasGivenAsOftenAsItMayDiesThoughTheClaimsReplyIsLost) {
  Add(1);
  LeaveWithOneAttempt();
  Owned<agx_group> group = OpenThrough();
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.limit = options.max_retries = 1;
  agx_status status = LosingReply(1, [&] {
    return Process(
        group.get(), [](int) { return AGX_OK; }, options);
  });
  EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
  EXPECT_EQ(calls_, Calls{});
  EXPECT_TRUE(Pending().empty());
  agx_dead_letter letter{};
  size_t count = 0;
  ASSERT_EQ(agx_group_dead_letters(looker_.get(), nullptr, &letter, 1, &count), AGX_OK);
  EXPECT_EQ(letter.attempts, 1);
  agx_event_free(letter.event);
}

TEST_F(CutAttempts, AnAttemptIsTakenBackThoughTheConnectionIsCutThen) {
  for (bool reply : {true, false}) {
    Add(1);
    Owned<agx_group> group = OpenThrough();
    auto process = [&] {
      return Process(group.get(), [&](int) {
        if (!reply) proxy_.CutAfterRequestBytes(20);
        return AGX_INTERRUPTED;
      });
    };
    // The first two look for what is left and for its own.
    int before = proxy_.cuts();
    agx_status status = reply ? LosingReply(3, process) : process();
    EXPECT_EQ(status, AGX_INTERRUPTED) << Explain(status);
    EXPECT_GE(proxy_.cuts(), reply ? before : before + 1);
    EXPECT_EQ(StoredAttempts(), 0);
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.limit = 1;
    status = Process(
        group.get(), [](int) { return AGX_OK; }, options);
    EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
    EXPECT_EQ(calls_, (Calls{{0, 1}, {0, 1}}));
    calls_.clear();
  }
}

TEST_F(CutAttempts, AnAcknowledgementIsRepeatedAlsoWhenAHandlerStops) {
  Add(2);
  Owned<agx_group> group = OpenThrough();
  agx_status status = Process(group.get(), [&](int number) {
    if (number == 0) return AGX_OK;
    proxy_.CutAfterRequestBytes(10);
    return AGX_INTERRUPTED;
  });
  EXPECT_EQ(status, AGX_INTERRUPTED) << Explain(status);
  EXPECT_EQ(proxy_.cuts(), 1);
  EXPECT_EQ(calls_, (Calls{{0, 1}, {1, 1}}));
  EXPECT_EQ(StoredAttempts(), 0) << "of the second, which alone is pending";
}

// The error is told; what was handled comes again, and what was not has lost no attempt.
TEST_F(CutAttempts, AnAcknowledgementThatFailsWhileAHandlerStops) {
  Add(2);
  Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
  auto start = std::chrono::steady_clock::now();
  agx_status status = Process(group.get(), [&](int number) {
    if (number == 0) return AGX_OK;
    proxy_.RefuseConnections(true);
    proxy_.CutAll();
    return AGX_INTERRUPTED;
  });
  EXPECT_TRUE(IsOutage(status) || status == AGX_EUNCERTAIN) << Explain(status);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(Pending().size(), 2U);
  proxy_.RefuseConnections(false);
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.limit = 2;
  options.max_retries = 2;
  status = Process(
      group.get(), [](int) { return AGX_OK; }, options);
  EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
  EXPECT_EQ(calls_, (Calls{{0, 1}, {1, 1}, {0, 2}, {1, 1}}));
  EXPECT_TRUE(Pending().empty());
}

TEST_F(CutAttempts, WhatWasHeldWhenTheStoreFailedForTooLongHasLostNoAttempt) {
  Add(3);
  Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
  FailForLackOfAStore(group.get());
  EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 2}, {1, 2}, {2, 1}}));
}

TEST_F(CutAttempts, WhatIsHeldIsGivenBackAtOnceWhereTheStoreRefuses) {
  Add(3);
  Owned<agx_group> group = OpenThrough();
  agx_status status = ProcessUntilItFails(
      group.get(), [&] { proxy_.RefuseCommand("XACK", "NOPERM this user has no permissions"); });
  EXPECT_EQ(status, AGX_EDENIED) << Explain(status);
  EXPECT_EQ(Pending().back().attempts, 0);
  EXPECT_GE(Pending().back().idle_ms, 300000) << "whoever looks for what was left takes it";
  proxy_.ForgetCommandRules();
  // What was given back is there for all, and may come first.
  Calls calls = ProcessUpTo(group.get(), 3);
  std::sort(calls.begin(), calls.end());
  EXPECT_EQ(calls, (Calls{{0, 2}, {1, 2}, {2, 1}}));
}

// It is the attempt that has not been that does not count, and none from before.
TEST_F(CutAttempts, WhatIsGivenBackKeepsTheAttemptsThatItHad) {
  Add(3);
  Owned<agx_group> group = OpenThrough();
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), (std::vector<int>{0, 1, 2}));
  agx_status status = ProcessUntilItFails(
      group.get(), [&] { proxy_.RefuseCommand("XACK", "NOPERM this user has no permissions"); }, 2);
  EXPECT_EQ(status, AGX_EDENIED) << Explain(status);
  EXPECT_EQ(Pending().back().attempts, 1);
  proxy_.ForgetCommandRules();
  Calls calls = ProcessUpTo(group.get(), 3);
  std::sort(calls.begin(), calls.end());
  EXPECT_EQ(calls, (Calls{{0, 3}, {1, 3}, {2, 2}}));
}

// Nor where the store refuses that as well, for the time being.
TEST_F(CutAttempts, WhatCannotBeGivenBackIsSoByTheNextProcessing) {
  Add(3);
  Owned<agx_group> group = OpenThrough();
  agx_status status = ProcessUntilItFails(group.get(), [&] {
    proxy_.RefuseCommand("XACK", "NOPERM this user has no permissions");
    proxy_.RefuseCommand("EVAL", "NOPERM this user has no permissions");
  });
  EXPECT_EQ(status, AGX_EDENIED) << Explain(status);
  EXPECT_EQ(Pending().back().attempts, 1);
  proxy_.ForgetCommandRules();
  EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 2}, {1, 2}, {2, 1}}));
}

// Whatever is read between, unless it is that.
TEST_F(CutAttempts, ReadsLeaveTheAttemptsOfWhatTheyDoNotGive) {
  Add(3);
  Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
  FailForLackOfAStore(group.get());
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_group_read(group.get(), AGX_GROUP_NEW, 0, &event, 1, &count), AGX_TIMEOUT);
  Require(agx_group_interrupt(group.get()));
  EXPECT_EQ(agx_group_read(group.get(), AGX_GROUP_PENDING_ONLY, 0, &event, 1, &count),
            AGX_INTERRUPTED);
  EXPECT_EQ(agx_group_read(group.get(), AGX_GROUP_PENDING_ONLY, 0, &event, 1, &count), AGX_OK);
  agx_event_free(event);
  EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 3}, {1, 2}, {2, 1}}));
}

TEST_F(CutAttempts, WhatIsReadOrClaimedCountsAsGiven) {
  for (const char* way : {"read", "claim", "autoclaim"}) {
    Add(3);
    Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
    FailForLackOfAStore(group.get());
    std::vector<agx_pending_event> pending = Pending();
    ASSERT_EQ(pending.size(), 3U);
    const char* ids[] = {pending[0].id, pending[1].id, pending[2].id};
    agx_event* events[3] = {};
    size_t count = 0;
    char cursor[AGX_ID_SIZE] = "";
    std::string_view of = way;
    agx_status status =
        of == "claim" ? agx_group_claim(group.get(), 0, ids, 3, events, &count)
        : of == "autoclaim"
            ? agx_group_autoclaim(group.get(), 0, cursor, events, 3, &count)
            : agx_group_read(group.get(), AGX_GROUP_PENDING_ONLY, 0, events, 3, &count);
    EXPECT_EQ(status, AGX_OK) << Explain(status);
    EXPECT_EQ(count, 3U);
    for (agx_event* event : events) agx_event_free(event);
    EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 3}, {1, 3}, {2, 3}})) << way;
  }
}

// --- What is read, or processed, behind a processing of which a reply was lost

TEST_F(CutAttempts, WhatAClaimTookWhoseReplyWasLostIsPendingAndNotNew) {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.outage_ms = 0;
  options.claim_idle_ms = 1;
  Owned<agx_group> group = OpenThrough();
  auto lose = [&] {
    Add(3);
    LeaveWithAnother(3);
    agx_status status = LosingReply(1, [&] {
      return Process(
          group.get(), [](int) { return AGX_OK; }, options);
    });
    EXPECT_EQ(status, AGX_EUNCERTAIN) << Explain(status);
    EXPECT_EQ(calls_, Calls{});
    EXPECT_EQ(Pending().size(), 3U);
    EXPECT_STREQ(Pending()[0].consumer, "me");
  };
  lose();
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), std::vector<int>{});
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_PENDING_FIRST), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_PENDING_ONLY), std::vector<int>{});
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_PENDING_ONLY), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ProcessUpTo(group.get(), 3).size(), 3U);
  lose();
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_PENDING_ONLY), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 3}, {1, 3}, {2, 3}}));
  lose();
  EXPECT_EQ(ProcessUpTo(group.get(), 3), (Calls{{0, 2}, {1, 2}, {2, 2}}));
}

// Also in the middle of a processing, which has long handled what was pending for it: it does not wait
// until the event has been idle for so long again.
TEST_F(CutAttempts, WhatAClaimTookWhoseReplyWasLostIsHandledAtOnce) {
  Add(1);
  LeaveWithAnother(1);
  std::string id = Pending()[0].id;
  Add(1);
  Owned<agx_group> group = OpenThrough();
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.claim_idle_ms = 20000;
  options.limit = 2;
  options.timeout_ms = 10000;
  std::atomic<bool> done{false};
  std::thread cutter;
  agx_status status = Process(
      group.get(),
      [&](int) {
        if (calls_.size() > 1) return AGX_OK;
        // From here on it is idle for long enough, and what is claimed next is it.
        server_.Command({"XCLAIM", KeyOf("s"), "g", "another", "0", id, "IDLE", "900000",
                         "RETRYCOUNT", "1", "JUSTID"});
        proxy_.HoldReply("EVAL");
        cutter = std::thread([&] {
          lost_ = WaitUntil([&] { return done || !proxy_.HeldReply("EVAL").empty(); }) && !done;
          proxy_.CutAll();
          proxy_.ReleaseReply("EVAL");
        });
        return AGX_OK;
      },
      options);
  done = true;
  cutter.join();
  EXPECT_TRUE(lost_) << "no reply was lost";
  EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
  EXPECT_EQ(calls_, (Calls{{0, 1}, {0, 2}}));
  EXPECT_TRUE(Pending().empty());
}

TEST_F(CutAttempts, WhatAReadTookWhoseReplyWasLostComesOnce) {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.outage_ms = 0;
  options.timeout_ms = 10000;
  Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
  auto lose = [&] {
    Add(3);
    LosingRead([&] {
      return Process(
          group.get(), [](int) { return AGX_OK; }, options);
    });
    EXPECT_EQ(calls_, Calls{});
    EXPECT_EQ(Pending().size(), 3U);
  };
  for (agx_group_source source : {AGX_GROUP_NEW, AGX_GROUP_PENDING_FIRST, AGX_GROUP_PENDING_ONLY}) {
    lose();
    EXPECT_EQ(ReadAll(group.get(), source), (std::vector<int>{0, 1, 2})) << source;
    EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), std::vector<int>{}) << source;
    EXPECT_EQ(ProcessUpTo(group.get(), 3).size(), 3U) << source;
  }
  lose();
  EXPECT_EQ(ProcessUpTo(group.get(), 3, 1), (Calls{{0, 1}, {1, 1}, {2, 1}}));
}

// A handle of the same name knows what was pending before it from what a lost read took.
TEST_F(CutAttempts, WhatWasPendingBeforeIsNoneOfWhatALostReadTook) {
  struct Case {
    bool reads;             // the handle before it read the event, or was told to stop with it
    std::vector<int> news;  // what a read of new ones gives then; none: it processes
    Calls calls;
  };
  const Case cases[] = {{true, {}, {{0, 1}, {0, 2}, {1, 1}}},
                        {false, {}, {{0, 1}, {0, 1}, {1, 1}}},
                        {true, {0, 1}, {{0, 2}, {0, 2}, {1, 2}}}};
  for (const Case& test : cases) {
    Add(1);
    {
      Owned<agx_group> before = OpenGroup(session_.get(), "me");
      if (test.reads) {
        EXPECT_EQ(ReadAll(before.get(), AGX_GROUP_NEW), std::vector<int>{0});
      } else {
        EXPECT_EQ(Process(before.get(), [](int) { return AGX_INTERRUPTED; }), AGX_INTERRUPTED);
        calls_.clear();
      }
    }
    Add(2);
    Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
    LosingRead([&] {
      agx_event* event = nullptr;
      size_t count = 0;
      return agx_group_read(group.get(), AGX_GROUP_NEW, 0, &event, 1, &count);
    });
    EXPECT_EQ(Pending().size(), 2U);
    if (!test.news.empty()) {
      EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), test.news);
    }
    Calls calls = ProcessUpTo(group.get(), 3);
    std::sort(calls.begin(), calls.end());
    EXPECT_EQ(calls, test.calls);
  }
}

// Nor is what it has claimed.
TEST_F(CutAttempts, WhatWasClaimedDoesNotComeAsNewAfterALostRead) {
  auto by_id = [&](agx_group* group, agx_event** events, size_t* count) {
    std::string id = Pending()[2].id;
    const char* ids[] = {id.c_str()};
    return agx_group_claim(group, 0, ids, 1, events, count);
  };
  auto all = [](agx_group* group, agx_event** events, size_t* count) {
    char cursor[AGX_ID_SIZE] = "";
    return agx_group_autoclaim(group, 0, cursor, events, 10, count);
  };
  using Claim = std::function<agx_status(agx_group*, agx_event**, size_t*)>;
  for (const Claim& claim : {Claim(by_id), Claim(all)}) {
    Add(4);
    Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
    agx_event* events[10] = {};
    size_t count = 0;
    Require(agx_group_read(group.get(), AGX_GROUP_NEW, 0, events, 1, &count));
    agx_event_free(events[0]);
    LeaveWithAnother(3);
    Require(claim(group.get(), events, &count));
    EXPECT_GE(count, 1U);
    for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
    Require(agx_add(session_.get(), "t", "o", BodyOf({0, 5}).c_str(), nullptr));
    LosingRead([&] { return agx_group_read(group.get(), AGX_GROUP_NEW, 0, events, 1, &count); });
    EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), std::vector<int>{5});
    // For the next, nothing is pending.
    for (const agx_pending_event& one : Pending()) {
      const char* ids[] = {one.id};
      Require(agx_group_ack(looker_.get(), ids, 1, nullptr));
    }
  }
}

TEST_F(CutAttempts, WhoMayNotAskWhatIsPendingReadsAllTheSame) {
  Add(2);
  Owned<agx_group> group = OpenThrough();
  proxy_.RefuseCommand("XPENDING", "NOPERM this user has no permissions to run it");
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW), (std::vector<int>{0, 1}));
}

// It was given before, to another and to the handler; what the read gave was not.
TEST_F(CutAttempts, WhatWasClaimedIsNoneOfWhatALostReadTook) {
  Add(1);
  LeaveWithAnother(1);
  Owned<agx_group> group = OpenThrough("?reconnect_timeout=-1");
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.outage_ms = 0;
  options.timeout_ms = 10000;
  options.claim_idle_ms = 1;
  options.backoff_ms = options.backoff_max_ms = 600000;
  LosingRead([&] {
    return Process(
        group.get(),
        [&](int) {
          Add(1);
          return AGX_EFAILED;
        },
        options);
  });
  EXPECT_EQ(std::exchange(calls_, {}), (Calls{{0, 2}}));
  ASSERT_EQ(Pending().size(), 2U);
  EXPECT_EQ(ReadAll(group.get(), AGX_GROUP_NEW).size(), 1U);
  agx_status status = Process(
      group.get(), [](int) { return AGX_INTERRUPTED; }, AGX_GROUP_PROCESS_OPTIONS_INIT);
  EXPECT_EQ(status, AGX_INTERRUPTED) << Explain(status);
  EXPECT_EQ(std::exchange(calls_, {}).front(), (std::pair<int, int64_t>(0, 3)));
}

// One command, with what is pending and its attempts: nothing can come between, and a cut leaves all or nothing.
TEST_F(CutAttempts, DeletingAGroupIsOneStep) {
  Owned<agx_group> group = OpenThrough();
  for (bool cut : {false, true}) {
    Add(1);
    agx_status status = Process(group.get(), [](int) { return AGX_INTERRUPTED; });
    ASSERT_EQ(status, AGX_INTERRUPTED) << Explain(status);
    ASSERT_EQ(Pending().size(), 1U);
    int before = proxy_.round_trips();
    if (cut) proxy_.CutAfterRequestBytes(10);
    status = agx_group_delete(group.get());
    EXPECT_EQ(status, AGX_OK) << Explain(status);
    if (!cut) {
      EXPECT_EQ(proxy_.round_trips(), before + 1);
    }
    EXPECT_EQ(agx_group_delete(looker_.get()), AGX_NONE);
    looker_ = OpenGroup(session_.get(), "looks on");
    EXPECT_TRUE(Pending().empty());
    calls_.clear();
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.limit = cut ? 2 : 1;
    status = Process(
        group.get(), [](int) { return AGX_OK; }, options);
    EXPECT_EQ(status, AGX_LIMIT) << Explain(status);
    EXPECT_EQ(calls_.front(), (std::pair<int, int64_t>(0, 1)));
  }
}

// --- A server that answers anything

std::string Bulk(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

// What a command of a group is for; of scripts, by what is in them.
std::string NameOf(const Command& command) {
  if (command[0] != "EVAL") return command[0];
  auto has = [&](const char* word) { return command[1].find(word) != std::string::npos; };
  return has("'same'")       ? "take"
         : has("DELCONSUM")  ? "delete idle"
         : has("'foreign'")  ? "revive"
         : has("left_out")   ? "bury"
         : has("own[#own")   ? "hold"
         : has("ARGV[i], 1") ? "claim"
                             : "other";
}

class OddServer {
 public:
  std::string url() const { return server_.url() + "?reconnect_timeout=-1&command_timeout=60"; }
  // From now on this is the answer to the command; "" as name: to none.
  void Answer(const std::string& name, const std::string& raw) {
    std::lock_guard lock(mutex_);
    odd_ = name;
    raw_ = raw;
  }

 private:
  FakeReply Handle(const Command& command) {
    std::lock_guard lock(mutex_);
    std::string name = NameOf(command);
    if (name == odd_) return raw_;
    if (name == "INFO") return Bulk("redis_version:7.0.15\r\n");
    if (name == "CLIENT") return command[1] == "ID" ? ":7\r\n" : "+OK\r\n";
    if (name == "SUBSCRIBE") return "*3\r\n" + Bulk("subscribe") + Bulk(command[1]) + ":1\r\n";
    if (name == "take") return "*5\r\n*0\r\n*0\r\n" + Bulk("0-0") + ":0\r\n:0\r\n";
    if (name == "XREADGROUP") return Entries();
    if (name == "hold") return "*1\r\n:1\r\n";
    if (name == "XLEN" || name == "PTTL" || name == "EXISTS" || name == "XACK" || name == "bury")
      return ":1\r\n";
    return "+OK\r\n";
  }

  static std::string Entries() {
    return "*1\r\n*2\r\n" + Bulk("agx:1:2:s") + "*1\r\n*2\r\n" + Bulk("5-1") + "*2\r\n" +
           Bulk("type") + Bulk("t");
  }

  std::mutex mutex_;
  std::string odd_;
  std::string raw_;
  FakeServer server_{[this](int, const Command& command) { return Handle(command); }};
};

std::vector<std::string> Oddities() {
  std::string entry = "*2\r\n" + Bulk("5-1") + "*2\r\n" + Bulk("a") + Bulk("b");
  std::string stream = Bulk("agx:1:2:s");
  return {
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "\r\n",
      "$abc\r\n",
      "*9223372036854775807\r\n",
      "$9223372036854775807\r\nabc",
      "+what\r\n",
      "-ERR odd\r\n",
      "-NOGROUP no\r\n",
      "-WRONGTYPE of course\r\n",
      ":-1\r\n",
      "$-1\r\n",
      "*-1\r\n",
      "$0\r\n\r\n",
      "$3\r\nabc\r\n",
      "*0\r\n",
      "*1\r\n*0\r\n",
      "*1\r\n$-1\r\n",
      "*1\r\n-ERR inside\r\n",
      "*1\r\n:1\r\n",
      // What XREADGROUP might answer.
      "*2\r\n*2\r\n" + stream + "*0\r\n*2\r\n" + stream + "*0\r\n",
      "*1\r\n*3\r\n" + stream + "*0\r\n*0\r\n",
      "*1\r\n*2\r\n*0\r\n" + stream,
      "*1\r\n*2\r\n" + stream + stream,
      "*1\r\n*2\r\n" + stream + "*-1\r\n",
      "*1\r\n*2\r\n" + stream + "*1\r\n*2\r\n" + Bulk("5-1") + "*-1\r\n",
      "*1\r\n*2\r\n" + stream + "*1\r\n*2\r\n" + Bulk("none") + "*0\r\n",
      "*1\r\n*2\r\n" + stream + "*3\r\n" + entry + entry + entry,
      // What the scripts might.
      "*5\r\n*0\r\n*0\r\n" + Bulk("0-0") + ":0\r\n:-1\r\n",
      "*5\r\n*1\r\n" + entry + "*0\r\n" + Bulk("5-1") + ":0\r\n:1\r\n",
      "*5\r\n*0\r\n*1\r\n:3\r\n" + Bulk("5-1") + ":0\r\n:1\r\n",
      "*5\r\n*1\r\n" + entry + "*1\r\n" + Bulk("x") + Bulk("5-1") + ":0\r\n:1\r\n",
      "*5\r\n*0\r\n*0\r\n" + Bulk("x") + ":0\r\n:0\r\n",
      "*5\r\n*0\r\n*0\r\n" + Bulk("0-0") + ":0\r\n:1000000\r\n",
      "*4\r\n*0\r\n*0\r\n" + Bulk("0-0") + ":0\r\n",
      "*5\r\n" + Bulk("x") + "*0\r\n" + Bulk("0-0") + ":0\r\n:0\r\n",
      // XPENDING and XINFO.
      "*4\r\n:1\r\n$-1\r\n$-1\r\n*-1\r\n",
      "*4\r\n:-5\r\n" + Bulk("1-1") + Bulk("1-1") + "*0\r\n",
      "*1\r\n*4\r\n" + Bulk("x") + Bulk("c") + ":1\r\n:1\r\n",
      "*2\r\n*4\r\n" + Bulk("5-1") + Bulk("c") + ":1\r\n:1\r\n*4\r\n" + Bulk("5-1") + Bulk("c") +
          ":1\r\n:1\r\n",
      "*1\r\n*2\r\n" + Bulk("name") + Bulk("g"),
      "*1\r\n*8\r\n" + Bulk("name") + Bulk("g") + Bulk("consumers") + ":-1\r\n" + Bulk("pending") +
          ":1\r\n" + Bulk("last-delivered-id") + Bulk("1-1"),
      "*1\r\n*3\r\n" + Bulk("name") + Bulk("g") + Bulk("pending"),
      std::string(100000, '*'),
      "+" + std::string(1000000, 'x') + "\r\n",
  };
}

struct Case {
  const char* name;
  const char* command;
  std::function<agx_status(agx_group*)> call;
};

std::vector<Case> Cases() {
  static agx_event* events[2];
  auto give = [](agx_status status, size_t count) {
    for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
    return status;
  };
  static const char* const kId = "5-1";
  auto read = [give](agx_group* group) {
    size_t count = 0;
    agx_status status = agx_group_read(group, AGX_GROUP_PENDING_FIRST, 0, events, 2, &count);
    return give(status, count);
  };
  auto process = [](agx_group* group) {
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.outage_ms = 0;
    options.max_retries = 2;
    options.backoff_ms = 1;
    options.limit = 1;
    return agx_group_process(
        group, &options, [](const agx_event*, int64_t, void*) { return AGX_EFAILED; }, nullptr);
  };
  return {
      {"agx_group_read", "XREADGROUP", read},
      {"agx_group_read, pending", "take", read},
      {"agx_group_ack", "XACK",
       [](agx_group* group) { return agx_group_ack(group, &kId, 1, nullptr); }},
      {"agx_group_claim", "claim",
       [give](agx_group* group) {
         size_t count = 0;
         agx_status status = agx_group_claim(group, 0, &kId, 1, events, &count);
         return give(status, count);
       }},
      {"agx_group_autoclaim", "take",
       [give](agx_group* group) {
         size_t count = 0;
         char cursor[AGX_ID_SIZE] = "";
         agx_status status = agx_group_autoclaim(group, 0, cursor, events, 2, &count);
         return give(status, count);
       }},
      {"agx_group_pending", "XPENDING",
       [](agx_group* group) {
         agx_pending pending = AGX_PENDING_INIT;
         return agx_group_pending(group, &pending);
       }},
      {"agx_group_pending_events", "XPENDING",
       [](agx_group* group) {
         agx_pending_event entry;
         size_t count = 0;
         return agx_group_pending_events(group, nullptr, 0, nullptr, &entry, 1, &count);
       }},
      {"agx_group_health", "XINFO",
       [](agx_group* group) {
         agx_health health = AGX_HEALTH_INIT;
         return agx_group_health(group, &health);
       }},
      {"agx_group_consumers", "XINFO",
       [](agx_group* group) {
         agx_consumer_info consumers[2];
         size_t count = 0;
         return agx_group_consumers(group, consumers, 2, &count);
       }},
      {"agx_group_delete_consumer", "XGROUP",
       [](agx_group* group) { return agx_group_delete_consumer(group, "c", nullptr); }},
      {"agx_group_delete", "XGROUP", [](agx_group* group) { return agx_group_delete(group); }},
      {"agx_group_process, reading", "XREADGROUP", process},
      {"agx_group_process, holding", "hold", process},
      {"agx_group_process, burying", "bury", process},
      {"agx_group_dead_letters", "XRANGE",
       [](agx_group* group) {
         agx_dead_letter letter{};
         size_t count = 0;
         agx_status status = agx_group_dead_letters(group, nullptr, &letter, 1, &count);
         agx_event_free(letter.event);
         return status;
       }},
      {"agx_group_replay", "revive",
       [](agx_group* group) { return agx_group_replay(group, &kId, 1, nullptr); }},
      {"agx_group_delete_dead_letters", "XDEL",
       [](agx_group* group) { return agx_group_delete_dead_letters(group, &kId, 1, nullptr); }},
  };
}

TEST(HostileGroup, EveryCallSurvivesEveryOddReply) {
  OddServer server;
  Owned<agx_client> client = OpenClient(server.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  for (const Case& test : Cases()) {
    for (const std::string& reply : Oddities()) {
      std::string what =
          std::string(test.name) + " given " + testing::PrintToString(reply.substr(0, 80));
      server.Answer("", "");
      // What was odd has gone with its connection; a starved machine may miss its short timeout.
      agx_group* opened = nullptr;
      EXPECT_TRUE(WaitUntil([&] {
        return agx_group_open(session.get(), "g", nullptr, &opened) == AGX_OK;
      })) << what;
      Owned<agx_group> group(opened);
      server.Answer(test.command, reply);
      // Whoever goes on for as long as the store does is told to stop.
      std::atomic<bool> done{false};
      std::thread watch([&] {
        if (!WaitUntil([&] { return done.load(); }, std::chrono::milliseconds(150))) {
          agx_group_interrupt(group.get());
        }
      });
      agx_status status = test.call(group.get());
      done = true;
      watch.join();
      bool documented = std::string_view(agx_status_string(status)) != "AGX_UNKNOWN" &&
                        status != AGX_ENOMEM && status != AGX_ECLOSED && status != AGX_EINVAL;
      EXPECT_TRUE(documented) << what << ": " << Explain(status);
    }
  }
}

}  // namespace
}  // namespace agx::test
