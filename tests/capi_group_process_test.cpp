// ctest-labels: redis threads
// ctest-timeout: 120
// What becomes of the events that agx_group_process holds: whose they are, when they are tried again, and
// how they die; and how it takes a store that fails.
#include <atomic>
#include <chrono>
#include <mutex>

#include "support/fault_proxy.h"
#include "support/group_tools.h"

namespace agx::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// What a client logs.
class LogBook {
 public:
  using Then = std::function<void(const std::string& line)>;
  explicit LogBook(Then then = nullptr) : then_(std::move(then)) {}

  ClientPtr Open(const std::string& url) {
    agx_options options = AGX_OPTIONS_INIT;
    options.log = &LogBook::Log;
    options.log_data = this;
    return OpenClient(url, &options);
  }
  std::vector<std::string> lines() const {
    std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  static void Log(void* user_data, agx_log_level level, const char* message) {
    auto* self = static_cast<LogBook*>(user_data);
    EXPECT_LE(level, AGX_LOG_WARNING);
    {
      std::lock_guard lock(self->mutex_);
      self->lines_.emplace_back(message);
    }
    if (self->then_ != nullptr) self->then_(message);
  }

  const Then then_;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

int64_t WallMillis() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

// Whom the event is pending for, how often it was given, and how long ago.
agx_pending_event PendingEvent(const GroupPtr& group, const std::string& id) {
  for (const agx_pending_event& one : PendingEvents(group)) {
    if (one.id == id) return one;
  }
  ADD_FAILURE() << id << " is not pending";
  return {};
}

void ClaimFor(const GroupPtr& group, const std::string& id) {
  const char* text = id.c_str();
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_group_claim(group.get(), 0, &text, 1, &event, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EventPtr owned(event);
}

class CapiGroupProcess : public OnEachStore {
 protected:
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiGroupProcess);

// --- Whose an event is

TEST_P(CapiGroupProcess, WhatAnotherTookBetweenTwoAttemptsIsTheOthers) {
  std::string id = Add(session_, "a");
  GroupPtr other = OpenGroup(OpenSession(other_), "other");
  GroupPtr group = OpenGroup(session_, "me");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    ClaimFor(other, id);
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, &seen, Quick(0, 0)), AGX_TIMEOUT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 1)));
  ASSERT_THAT(PendingEvents(other), SizeIs(1));
  agx_pending_event pending = PendingEvent(other, id);
  EXPECT_STREQ(pending.consumer, "other");
  EXPECT_EQ(pending.attempts, 2) << "by the claim alone";
  EXPECT_THAT(DeadLetters(other), IsEmpty());
}

// A third of claim_idle_ms has passed while it waited for the handler.
TEST_P(CapiGroupProcess, WhatAnotherTookBeforeItsTurnIsTheOthers) {
  Add(session_, "a");
  std::string id = Add(session_, "b");
  GroupPtr other = OpenGroup(OpenSession(other_), "other");
  GroupPtr group = OpenGroup(session_, "me");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    ClaimFor(other, id);
    EXPECT_TRUE(WaitUntil([&] { return PendingEvent(other, id).idle_ms > 200; }));
    return agx_group_interrupt(group.get());
  };
  agx_group_process_options options = Quick();
  options.claim_idle_ms = 600;
  EXPECT_EQ(Process(group, &seen, options), AGX_INTERRUPTED);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 1)));
  ASSERT_THAT(PendingEvents(other), SizeIs(1));
  EXPECT_STREQ(PendingEvent(other, id).consumer, "other");
}

TEST_P(CapiGroupProcess, WhatHasWaitedForItsTurnIsHeldAnewWhenItComes) {
  Add(session_, "a");
  std::string id = Add(session_, "b");
  GroupPtr other = OpenGroup(OpenSession(other_), "other");
  GroupPtr group = OpenGroup(session_, "me");
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t) {
    if (std::string(agx_event_type(event, nullptr)) == "a") {
      EXPECT_TRUE(WaitUntil([&] { return PendingEvent(other, id).idle_ms > 1000; }));
    } else {
      agx_pending_event pending = PendingEvent(other, id);
      EXPECT_LT(pending.idle_ms, 1000) << "nobody takes it from a handler who has just begun";
      EXPECT_EQ(pending.attempts, 1);
    }
    return AGX_OK;
  };
  agx_group_process_options options = Quick(2);
  options.claim_idle_ms = 3000;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 1), std::pair("b", 1)));
  EXPECT_EQ(PendingOf(group).count, 0U);
}

// --- How many it takes

TEST_P(CapiGroupProcess, ItTakesAsManyAtOnceAsItIsTold) {
  for (int i = 0; i < 5; ++i) Add(session_, "t");
  GroupPtr group = OpenGroup(session_);
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    if (seen.calls.size() == 1) {
      EXPECT_EQ(PendingOf(group).count, 2U);
    }
    return AGX_OK;
  };
  agx_group_process_options options = Quick(5);
  options.count = 2;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_EQ(PendingOf(group).count, 0U);
}

// What it would not handle any more is others'.
TEST_P(CapiGroupProcess, ItTakesNoMoreThanItsLimit) {
  for (const char* type : {"a", "b", "c", "d", "e"}) Add(session_, type);
  GroupPtr group = OpenGroup(session_);
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t attempt) {
    bool fails = std::string(agx_event_type(event, nullptr)) == "a" && attempt == 1;
    return fails ? AGX_EFAILED : AGX_OK;
  };
  agx_group_process_options options = Quick(3);
  options.count = 2;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, SizeIs(4));
  EXPECT_EQ(PendingOf(group).count, 0U);
  EXPECT_EQ(HealthOf(group).lag, 2);
  EXPECT_THAT(Read(OpenGroup(session_, "other")).types(), ElementsAre("d", "e"));
}

TEST_P(CapiGroupProcess, WhatWaitsToBeTriedAgainHasABound) {
  for (int i = 0; i < 12; ++i) Add(session_, "t");
  GroupPtr group = OpenGroup(session_);
  GroupPtr other = OpenGroup(OpenSession(other_), "other");
  std::atomic<int> calls{0};
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    ++calls;
    return AGX_EFAILED;
  };
  agx_group_process_options options = Quick();
  options.count = 2;
  options.backoff_ms = options.backoff_max_ms = 3600000;
  Background<agx_status> running([&] { return Process(group, &seen, options); });
  EXPECT_TRUE(WaitUntil([&] { return calls >= 8; }));
  running.AwaitBlocked();
  EXPECT_EQ(calls, 8) << "four times what is taken at once";
  EXPECT_THAT(Read(other).events, SizeIs(4)) << "the rest is others'";
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(running.Get(), AGX_INTERRUPTED);
}

// --- When

TEST_P(CapiGroupProcess, EachPauseIsTwiceTheOneBefore) {
  Add(session_, "x");
  GroupPtr group = OpenGroup(session_);
  std::vector<int64_t> pauses;
  Stopwatch watch;
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    pauses.push_back(watch.ms());
    watch = Stopwatch();
    return AGX_EFAILED;
  };
  agx_group_process_options options = Quick(1);
  options.max_retries = 4;
  options.backoff_ms = 200;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  ASSERT_THAT(pauses, SizeIs(4));
  // Between half and all of it; and a clock of whole milliseconds.
  EXPECT_GE(pauses[1], 99);
  EXPECT_GE(pauses[2], 199);
  EXPECT_GE(pauses[3], 399);
}

TEST_P(CapiGroupProcess, NoPauseIsLongerThanTheLongest) {
  Add(session_, "x");
  GroupPtr group = OpenGroup(session_);
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  agx_group_process_options options = Quick(1);
  options.backoff_ms = 3600000;
  options.backoff_max_ms = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, SizeIs(3));
}

TEST_P(CapiGroupProcess, TheTimeoutCountsFromWhenTheHandlerIsDone) {
  Add(session_, "x");
  GroupPtr group = OpenGroup(session_);
  Stopwatch done;
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    Stopwatch busy;
    EXPECT_TRUE(WaitUntil([&] { return busy.ms() > 400; }));
    done = Stopwatch();
    return AGX_OK;
  };
  EXPECT_EQ(Process(group, &seen, Quick(0, 300)), AGX_TIMEOUT);
  EXPECT_GE(done.ms(), 299);
}

TEST_P(CapiGroupProcess, ItDoesNotTimeOutWhileAnEventIsToBeTriedAgain) {
  Add(session_, "x");
  GroupPtr group = OpenGroup(session_);
  Seen seen;
  seen.say = [](const agx_event*, int64_t attempt) { return attempt == 1 ? AGX_EFAILED : AGX_OK; };
  agx_group_process_options options = Quick(0, 10);
  options.backoff_ms = 200;
  options.claim_idle_ms = 500;  // and it looks for what others left each 50 ms
  EXPECT_EQ(Process(group, &seen, options), AGX_TIMEOUT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("x", 1), std::pair("x", 2)));
  EXPECT_EQ(PendingOf(group).count, 0U);
}

// --- How it dies

TEST_P(CapiGroupProcess, AReasonIsThatOfTheLastAttempt) {
  for (const char* type : {"good", "bad"}) Add(session_, type);
  GroupPtr group = OpenGroup(session_);
  EXPECT_EQ(agx_group_fail_reason(group.get(), "before it began"), AGX_OK);
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t attempt) {
    bool good = std::string(agx_event_type(event, nullptr)) == "good";
    if (good || attempt == 1) {
      EXPECT_EQ(agx_group_fail_reason(group.get(), good ? "another's" : "of the first"), AGX_OK);
    }
    return good ? AGX_OK : AGX_ESTATE;
  };
  agx_group_process_options options = Quick(2);
  options.max_retries = 2;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_STREQ(letters[0].told.reason, "the handler returned AGX_ESTATE");
}

TEST_P(CapiGroupProcess, AReasonFromBeforeIsNoneOfAnEvent) {
  Add(session_, "bad");
  GroupPtr group = OpenGroup(session_);
  EXPECT_EQ(agx_group_fail_reason(group.get(), "before it began"), AGX_OK);
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_ESTATE; };
  agx_group_process_options options = Quick(1);
  options.max_retries = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_STREQ(letters[0].told.reason, "the handler returned AGX_ESTATE");
}

TEST_P(CapiGroupProcess, AReasonIsKeptInUtf8UpTo4096Bytes) {
  std::string longest(4096, 'x');
  std::string euros;  // of three bytes each, so that the bound is in the middle of one
  while (euros.size() < 5000) euros += "\xe2\x82\xac";
  const std::pair<std::string, std::string> cases[] = {
      {longest, longest},
      {longest + "y", longest},
      {euros, euros.substr(0, 4095)},
      {"caf\xe9, \xe2\x82\xac, \xe2\x82", "caf\xef\xbf\xbd, \xe2\x82\xac, \xef\xbf\xbd"},
      {longest.substr(2) + "\xff", longest.substr(2)}};
  GroupPtr group = OpenGroup(session_);
  std::string after;
  for (const auto& [reason, kept] : cases) {
    Add(session_, "x");
    Seen seen;
    seen.say = [&, &said = reason](const agx_event*, int64_t) {
      EXPECT_EQ(agx_group_fail_reason(group.get(), said.c_str()), AGX_OK);
      return AGX_EFAILED;
    };
    EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
    std::vector<Letter> letters = DeadLetters(group, after.empty() ? nullptr : after.c_str());
    ASSERT_THAT(letters, SizeIs(1));
    EXPECT_EQ(letters[0].told.reason, kept);
    after = letters[0].id();
  }
  // And so is what a handler throws.
  Add(session_, "x");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) -> agx_status { throw std::runtime_error(euros); };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group, after.c_str());
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].told.reason, euros.substr(0, 4095));
}

TEST_P(CapiGroupProcess, ALetterSaysWhenItDied) {
  Add(session_, "x");
  GroupPtr group = OpenGroup(session_);
  int64_t before = 0;
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    before = WallMillis();
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  int64_t after = WallMillis();
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_GE(letters[0].told.time_ms, before);
  EXPECT_LE(letters[0].told.time_ms, after);
  const char* seconds = nullptr;
  ASSERT_EQ(agx_event_field(letters[0].event.get(), "dlq_timestamp", &seconds, nullptr), AGX_OK);
  double told = std::stod(seconds);
  EXPECT_GE(told, static_cast<double>(before) / 1000 - 0.001);
  EXPECT_LE(told, static_cast<double>(after) / 1000 + 0.001);
}

TEST_P(CapiGroupProcess, ADeathIsLogged) {
  LogBook log;
  ClientPtr client = log.Open(url());
  GroupPtr group = OpenGroup(OpenSession(client));
  std::string id = Add(session_, "x");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    EXPECT_EQ(agx_group_fail_reason(group.get(), "no\nluck"), AGX_OK);
    return AGX_EFAILED;
  };
  agx_group_process_options options = Quick(1);
  options.max_retries = 2;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(log.lines(),
              ElementsAre(AllOf(HasSubstr(id), HasSubstr("agx:1:2:s "), HasSubstr("2 attempts"),
                                HasSubstr("agx:1:2:s:dlq"), HasSubstr("no luck"))));
}

TEST_P(CapiGroupProcess, HowOldTheOldestPendingEventIs) {
  std::string id = Add(session_, "a");
  GroupPtr group = OpenGroup(session_);
  EXPECT_EQ(HealthOf(group).oldest_pending_ms, -1) << "it was given to nobody yet";
  EXPECT_THAT(Read(group).events, SizeIs(1));
  int64_t written = std::stoll(id);
  EXPECT_TRUE(WaitUntil([&] { return WallMillis() > written + 50; }));
  Add(session_, "b");
  EXPECT_THAT(Read(group).events, SizeIs(1));
  int64_t before = WallMillis();
  int64_t told = HealthOf(group).oldest_pending_ms;
  EXPECT_GE(told, before - written);
  EXPECT_LE(told, WallMillis() - written);
}

// --- What only a server has

class CapiGroupProcessOnRedis : public OnRedis {
 protected:
  SessionPtr session_ = OpenSession(client_);
};

// The last field of a name is the one that dying has added.
TEST_F(CapiGroupProcessOnRedis, AnEventMayHaveFieldsOfALettersNames) {
  GroupPtr group = OpenGroup(session_);
  std::string id = Raw({"XADD", "agx:1:2:s", "*", "type", "x", "failure_reason", "its own",
                        "attempts", "77", "original_id", "9-9", "original_stream", "elsewhere"});
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_ESTATE; };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_STREQ(letters[0].told.original_stream, "agx:1:2:s");
  EXPECT_EQ(letters[0].told.original_id, id);
  EXPECT_THAT(letters[0].told.reason, HasSubstr("AGX_ESTATE"));
  EXPECT_EQ(letters[0].told.attempts, 3);
}

TEST_F(CapiGroupProcessOnRedis, ADeathWaitsForRoomInTheStore) {
  std::atomic<int> waits{0};
  LogBook log([&](const std::string& line) {
    if (line.find("OOM") == std::string::npos) return;
    EXPECT_THAT(Raw({"XPENDING", "agx:1:2:s", "g"}), HasSubstr("me")) << "it is not lost meanwhile";
    if (++waits == 2) Raw({"CONFIG", "SET", "maxmemory", "0"});
  });
  ClientPtr client = log.Open(server_.url());
  GroupPtr group = OpenGroup(OpenSession(client), "me");
  Add(session_, "x");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    Raw({"CONFIG", "SET", "maxmemory", "1"});
    return AGX_EFAILED;
  };
  agx_group_process_options options = Quick(1);
  options.max_retries = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_EQ(waits, 2);
  EXPECT_THAT(seen.calls, SizeIs(1));
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].told.attempts, 1);
  EXPECT_EQ(PendingOf(group).count, 0U);
}

TEST_F(CapiGroupProcessOnRedis, WhatCannotDieStaysPendingAsOftenGiven) {
  GroupPtr group = OpenGroup(session_);
  Raw({"SET", "agx:1:2:s:dlq", "no stream"});
  std::string id = Add(session_, "x");
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  agx_group_process_options options = Quick(1);
  options.max_retries = 2;
  EXPECT_EQ(Process(group, &seen, options), AGX_ETYPE);
  EXPECT_THAT(seen.calls, SizeIs(2));
  agx_pending_event pending = PendingEvent(group, id);
  EXPECT_EQ(pending.attempts, 2);
  EXPECT_GE(pending.idle_ms, 300000) << "whoever looks for what was left takes it";
  Raw({"DEL", "agx:1:2:s:dlq"});
  EXPECT_EQ(Process(OpenGroup(session_, "other"), &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, SizeIs(2)) << "it was given as often as it may be";
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].told.attempts, 2);
}

// Each lasts until it is noticed; the second comes when both together have lasted for too long.
TEST_F(CapiGroupProcessOnRedis, AnOutageThatIsOverDoesNotCountForTheNext) {
  FaultProxy proxy(server_.port());
  std::atomic<int> outages{0};
  LogBook log([&](const std::string&) {
    ++outages;
    proxy.RefuseConnections(false);
  });
  ClientPtr client = log.Open(proxy.url() + "?reconnect_timeout=-1");
  GroupPtr group = OpenGroup(OpenSession(client));
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  Stopwatch watch;
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t) {
    std::string type = agx_event_type(event, nullptr);
    if (type == "c") return AGX_OK;
    if (type == "b") {
      EXPECT_TRUE(WaitUntil([&] { return watch.ms() > 1500; }));
    } else {
      watch = Stopwatch();
    }
    proxy.RefuseConnections(true);
    proxy.CutAll();
    return AGX_OK;
  };
  agx_group_process_options options = Quick(3);
  options.count = 1;
  options.outage_ms = 1400;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_GE(outages, 2);
  EXPECT_EQ(PendingOf(OpenGroup(session_, "looks on")).count, 0U);
}

// As where a server denies that it is there: it is not made, and asked for, without a pause.
TEST_F(CapiGroupProcessOnRedis, AGroupThatIsGoneAgainAtOnceIsAnOutage) {
  FaultProxy proxy(server_.port());
  LogBook log;
  ClientPtr client = log.Open(proxy.url());
  GroupPtr group = OpenGroup(OpenSession(client));
  proxy.RefuseCommand("XREADGROUP", "NOGROUP No such consumer group");
  Add(session_, "x");
  Seen seen;
  agx_group_process_options options = Quick();
  options.outage_ms = 300;
  Background<agx_status> running([&] { return Process(group, &seen, options); });
  EXPECT_TRUE(WaitUntil([&] { return running.done(); }, std::chrono::seconds(5)));
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(running.Get(), AGX_NONE);
  EXPECT_LE(proxy.commands("XREADGROUP"), 10);
  EXPECT_THAT(seen.calls, IsEmpty());
}

TEST_F(CapiGroupProcessOnRedis, TheLongerAnOutageLastsTheLessOftenItTries) {
  LogBook log;
  ClientPtr client = log.Open(server_.url() + "?reconnect_timeout=-1");
  GroupPtr group = OpenGroup(OpenSession(client));
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    server_.Kill9();
    return AGX_OK;
  };
  Add(session_, "x");
  agx_group_process_options options = Quick();
  options.outage_ms = 1500;
  EXPECT_EQ(Process(group, &seen, options), AGX_ECONNECT);
  // After 50, 150, 350, 750 ms and so on.
  EXPECT_THAT(log.lines().size(), testing::AllOf(testing::Ge(1U), testing::Le(6U)));
}

}  // namespace
}  // namespace agx::test
