// ctest-labels: redis threads
// ctest-timeout: 120
// Consumer groups through the C API.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <stdexcept>

#include "support/group_tools.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class CapiGroup : public OnEachStore {
 protected:
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiGroup);

// --- Reading and acknowledging

TEST_P(CapiGroup, ConsumersShareTheEventsOfASession) {
  GroupPtr a = OpenGroup(session_);
  GroupPtr b = OpenGroup(OpenSession(other_));
  EXPECT_STRNE(agx_group_consumer_name(a.get()), agx_group_consumer_name(b.get()));
  SessionPtr producer = Started(other_);
  Add(producer, "one", R"({"n":1})");
  Add(producer, "two");
  Page first = Read(a, AGX_GROUP_NEW, kPatienceMs, 2);
  EXPECT_THAT(first.types(), ElementsAre("begin", "one"));
  EXPECT_STREQ(agx_event_body(first.events[1].get(), nullptr), R"({"n":1})");
  EXPECT_STREQ(agx_event_origin(first.events[1].get(), nullptr), "test");
  EXPECT_THAT(Read(b).types(), ElementsAre("two"));
  EXPECT_EQ(Read(a).status, AGX_TIMEOUT);
  EXPECT_EQ(Ack(a, first.ids()), 2U);
  EXPECT_EQ(PendingOf(a).count, 1U);
}

TEST_P(CapiGroup, AGroupBeginsWhereItIsTold) {
  std::string one = Add(session_, "one");
  Add(session_, "two");
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.start = "new";
  GroupPtr now = OpenGroup(session_, nullptr, options, "now");
  options.start = one.c_str();
  GroupPtr after = OpenGroup(session_, nullptr, options, "after");
  Add(session_, "three");
  EXPECT_THAT(Read(now).types(), ElementsAre("three"));
  EXPECT_THAT(Read(after).types(), ElementsAre("two", "three"));
  EXPECT_THAT(Read(OpenGroup(session_)).types(), ElementsAre("one", "two", "three"));
}

TEST_P(CapiGroup, AGroupThatIsToBeThereIsNotMade) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.must_exist = 1;
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(session_.get(), "g", &options, &group), AGX_NONE);
  EXPECT_EQ(group, nullptr);
  EXPECT_THAT(agx_last_error(), HasSubstr("g"));
  GroupPtr made = OpenGroup(session_);
  EXPECT_EQ(agx_group_open(session_.get(), "g", &options, &group), AGX_OK);
  GroupPtr owned(group);
}

TEST_P(CapiGroup, WhoComesBackFindsWhatWasPending) {
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  Read(OpenGroup(session_, "me"), AGX_GROUP_NEW, 0, 2);
  GroupPtr again = OpenGroup(OpenSession(other_), "me");
  EXPECT_THAT(Read(again, AGX_GROUP_PENDING_FIRST, 0, 1).types(), ElementsAre("a"));
  EXPECT_THAT(Read(again, AGX_GROUP_PENDING_FIRST, 0, 9).types(), ElementsAre("b"));
  EXPECT_THAT(Read(again, AGX_GROUP_PENDING_FIRST, 0, 9).types(), ElementsAre("c"));
  EXPECT_EQ(Read(again, AGX_GROUP_PENDING_FIRST).status, AGX_TIMEOUT);
  GroupPtr other = OpenGroup(session_, "other");
  EXPECT_EQ(Read(other, AGX_GROUP_PENDING_FIRST).status, AGX_TIMEOUT);
  EXPECT_EQ(Read(other, AGX_GROUP_PENDING_ONLY).status, AGX_ENDED);
  GroupPtr third = OpenGroup(session_, "me");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(Read(third, AGX_GROUP_PENDING_ONLY, 0, 2).types(), ElementsAre("a", "b"));
    EXPECT_THAT(Read(third, AGX_GROUP_PENDING_ONLY, 0, 2).types(), ElementsAre("c"));
    EXPECT_EQ(Read(third, AGX_GROUP_PENDING_ONLY).status, AGX_ENDED);
  }
}

TEST_P(CapiGroup, AcknowledgingWhatWasNeverGivenCountsNothing) {
  GroupPtr group = OpenGroup(session_);
  std::string id = Add(session_, "a");
  EXPECT_EQ(Ack(group, {id, "1-1", "99999999999999-0"}), 0U);
  EXPECT_EQ(Ack(group, {}), 0U);
  Page page = Read(group);
  EXPECT_EQ(Ack(group, {id, id}), 1U);
  EXPECT_EQ(Ack(group, {id}), 0U);
  EXPECT_EQ(agx_group_delete(group.get()), AGX_OK);
  EXPECT_EQ(Ack(group, {id}), 0U);
}

TEST_P(CapiGroup, OthersTakeOverWhatWasLeft) {
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  GroupPtr dead = OpenGroup(session_, "dead");
  Page page = Read(dead);
  GroupPtr heir = OpenGroup(session_, "heir");
  std::vector<std::string> ids = page.ids();
  const char* wanted[] = {ids[1].c_str(), "1-1", ids[1].c_str()};
  agx_event* events[3] = {};
  size_t count = 99;
  EXPECT_EQ(agx_group_claim(heir.get(), 3600000, wanted, 3, events, &count), AGX_OK);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(agx_group_claim(heir.get(), 0, wanted, 3, events, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EventPtr claimed(events[0]);
  EXPECT_STREQ(agx_event_type(claimed.get(), nullptr), "b");
  char cursor[AGX_ID_SIZE] = "";
  std::set<std::string> taken;
  do {
    EXPECT_EQ(agx_group_autoclaim(heir.get(), 0, cursor, events, 2, &count), AGX_OK);
    for (size_t i = 0; i < count; ++i)
      taken.insert(agx_event_type(EventPtr(events[i]).get(), nullptr));
  } while (std::string(cursor) != "0-0");
  EXPECT_THAT(taken, ElementsAre("a", "b", "c"));
  EXPECT_THAT(PendingEvents(dead, "dead"), IsEmpty());
  std::vector<agx_pending_event> pending = PendingEvents(heir, "heir");
  ASSERT_THAT(pending, SizeIs(3));
  EXPECT_EQ(pending[0].id, ids[0]);
  EXPECT_STREQ(pending[0].consumer, "heir");
  EXPECT_EQ(pending[0].attempts, 2);
  EXPECT_EQ(pending[1].attempts, 3);
}

TEST_P(CapiGroup, WhatThereIsToKnow) {
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  GroupPtr group = OpenGroup(session_, "me");
  Page page = Read(group, AGX_GROUP_NEW, 0, 2);
  agx_pending pending = PendingOf(group);
  EXPECT_EQ(pending.count, 2U);
  EXPECT_EQ(pending.lowest_id, page.ids()[0]);
  EXPECT_EQ(pending.highest_id, page.ids()[1]);
  EXPECT_EQ(pending.consumers, 1U);
  agx_health health = HealthOf(group);
  EXPECT_EQ(health.length, 3U);
  EXPECT_EQ(health.pending, 2U);
  EXPECT_EQ(health.lag, 1);
  EXPECT_EQ(health.consumers, 1U);
  EXPECT_EQ(health.dead_letters, 0U);
  EXPECT_GE(health.oldest_pending_ms, 0);
  EXPECT_EQ(health.last_delivered_id, page.ids()[1]);
  Ack(group, page.ids());
  EXPECT_EQ(HealthOf(group).oldest_pending_ms, -1);
  agx_group_info groups[2];
  size_t count = 0;
  EXPECT_EQ(agx_group_list(session_.get(), groups, 2, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_STREQ(groups[0].name, "g");
  EXPECT_EQ(agx_group_list(session_.get(), nullptr, 0, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EXPECT_EQ(agx_group_list(OpenSession(client_, "none").get(), groups, 2, &count), AGX_OK);
  EXPECT_EQ(count, 0U);
  agx_consumer_info consumers[2];
  EXPECT_EQ(agx_group_consumers(group.get(), consumers, 2, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_STREQ(consumers[0].name, "me");
  EXPECT_EQ(consumers[0].pending, 0U);
}

TEST_P(CapiGroup, AConsumerAndAGroupAreDeleted) {
  for (const char* type : {"a", "b"}) Add(session_, type);
  GroupPtr group = OpenGroup(session_, "me");
  Read(group);
  uint64_t pending = 99;
  EXPECT_EQ(agx_group_delete_consumer(group.get(), "nobody", &pending), AGX_OK);
  EXPECT_EQ(pending, 0U);
  EXPECT_EQ(agx_group_delete_consumer(group.get(), nullptr, &pending), AGX_OK);
  EXPECT_EQ(pending, 2U);
  EXPECT_EQ(agx_group_delete(group.get()), AGX_OK);
  EXPECT_EQ(agx_group_delete(group.get()), AGX_NONE);
  EXPECT_EQ(Read(group).status, AGX_NONE);
  agx_pending facts = AGX_PENDING_INIT;
  EXPECT_EQ(agx_group_pending(group.get(), &facts), AGX_NONE);
  agx_health health = AGX_HEALTH_INIT;
  EXPECT_EQ(agx_group_health(group.get(), &health), AGX_NONE);
}

// --- Names that were made up

std::vector<std::string> Consumers(const GroupPtr& group) {
  std::vector<agx_consumer_info> told(100);
  size_t count = 0;
  EXPECT_EQ(agx_group_consumers(group.get(), told.data(), told.size(), &count), AGX_OK);
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.emplace_back(told[i].name);
  return names;
}

TEST_P(CapiGroup, AConsumerWhoseNameWasMadeUpGoesWithItsHandle) {
  GroupPtr watching = OpenGroup(session_, "watching");
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  GroupPtr done = OpenGroup(session_);
  Ack(done, Read(done, AGX_GROUP_NEW, 0, 1).ids());
  GroupPtr owing = OpenGroup(session_);
  Page owed = Read(owing, AGX_GROUP_NEW, 0, 1);
  GroupPtr named = OpenGroup(session_, "named");
  Ack(named, Read(named, AGX_GROUP_NEW, 0, 1).ids());
  std::string owes = agx_group_consumer_name(owing.get());
  EXPECT_THAT(Consumers(watching), SizeIs(3));
  done.reset();
  owing.reset();
  named.reset();
  EXPECT_THAT(Consumers(watching), UnorderedElementsAre(owes, "named"));
  EXPECT_EQ(PendingEvents(watching, owes.c_str()).size(), 1U) << "what it owes is not lost";
  // One that claims is a consumer as well.
  GroupPtr claims = OpenGroup(session_);
  char cursor[AGX_ID_SIZE] = "";
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_group_autoclaim(claims.get(), 0, cursor, &event, 1, &count), AGX_OK);
  EventPtr claimed(event);
  EXPECT_EQ(Ack(claims, owed.ids()), 1U);
  claims.reset();
  EXPECT_THAT(Consumers(watching), UnorderedElementsAre(owes, "named"));
}

TEST_P(CapiGroup, AConsumerWhoseNameWasMadeUpGoesWhenItHasProcessed) {
  GroupPtr watching = OpenGroup(session_, "watching");
  GroupPtr group = OpenGroup(session_);
  GroupPtr named = OpenGroup(session_, "named");
  Seen seen;
  for (const GroupPtr* one : {&group, &named}) {
    Add(session_, "a");
    EXPECT_EQ(Process(*one, &seen, Quick(1)), AGX_LIMIT);
  }
  EXPECT_THAT(Consumers(watching), ElementsAre("named"));
  Add(session_, "b");
  EXPECT_THAT(Read(group).types(), ElementsAre("b")) << "and it may go on";
  EXPECT_EQ(PendingOf(watching).count, 1U);
  group.reset();
  EXPECT_EQ(PendingOf(watching).count, 1U);
}

TEST_P(CapiGroup, AHandleIsClosedThoughItsGroupOrItsClientIsGone) {
  GroupPtr group = OpenGroup(session_);
  EXPECT_EQ(Read(group).status, AGX_TIMEOUT);
  EXPECT_EQ(agx_group_delete(group.get()), AGX_OK);
  group.reset();
  group = OpenGroup(session_);
  EXPECT_EQ(Read(group).status, AGX_TIMEOUT);
  client_.reset();
  group.reset();
}

// --- Waiting

TEST_P(CapiGroup, AWaitEndsWithTheNextEvent) {
  GroupPtr group = OpenGroup(session_);
  for (const char* type : {"a", "b", "c"}) {
    Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, kPatienceMs); });
    waiting.AwaitBlocked();
    Add(OpenSession(other_), type);
    Page page = waiting.Get();
    EXPECT_EQ(page.status, AGX_OK);
    EXPECT_THAT(page.types(), ElementsAre(type));
    EXPECT_LT(waiting.took_ms(), kAtOnceMs + 15000);
  }
}

TEST_P(CapiGroup, ManyWaitAndEachEventComesToOne) {
  constexpr int kConsumers = 6;
  constexpr int kEvents = 60;
  std::vector<GroupPtr> groups;
  for (int i = 0; i < kConsumers; ++i) groups.push_back(OpenGroup(session_));
  std::mutex mutex;
  std::multiset<std::string> seen;
  std::thread producer([&] {
    SessionPtr session = OpenSession(other_);
    for (int i = 0; i < kEvents; ++i) Add(session, std::to_string(i));
  });
  InThreads(kConsumers, [&](int i) {
    for (;;) {
      {
        std::lock_guard lock(mutex);
        if (seen.size() >= kEvents) return;
      }
      Page page = Read(groups[static_cast<size_t>(i)], AGX_GROUP_NEW, 50, 3);
      std::lock_guard lock(mutex);
      for (const std::string& type : page.types()) seen.insert(type);
    }
  });
  producer.join();
  EXPECT_THAT(seen, SizeIs(kEvents));
  EXPECT_THAT(std::set<std::string>(seen.begin(), seen.end()), SizeIs(kEvents));
}

TEST_P(CapiGroup, AnInterruptEndsAWaitAtOnce) {
  GroupPtr group = OpenGroup(session_);
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, -1); });
  waiting.AwaitBlocked();
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(waiting.Get().status, AGX_INTERRUPTED);
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(Read(group).status, AGX_INTERRUPTED) << "the next one, if there is none";
  EXPECT_EQ(Read(group).status, AGX_TIMEOUT);
}

TEST_P(CapiGroup, ClosingEndsAWaitAtOnce) {
  agx_group* group = OpenGroup(session_).release();
  Background<agx_status> waiting([&] {
    agx_event* event = nullptr;
    size_t count = 0;
    return agx_group_read(group, AGX_GROUP_NEW, -1, &event, 1, &count);
  });
  waiting.AwaitBlocked();
  agx_group_close(group);
  EXPECT_EQ(waiting.Get(), AGX_ECLOSED);
  EXPECT_EQ(agx_group_interrupt(group), AGX_ECLOSED);
}

TEST_P(CapiGroup, ClosingTheClientEndsAWaitAtOnce) {
  ClientPtr client = Open();
  GroupPtr group = OpenGroup(OpenSession(client));
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, -1); });
  waiting.AwaitBlocked();
  client.reset();
  EXPECT_EQ(waiting.Get().status, AGX_ECLOSED);
}

TEST_P(CapiGroup, AWaitEndsWhenTheGroupIsDeleted) {
  GroupPtr group = OpenGroup(session_);
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, -1); });
  waiting.AwaitBlocked();
  EXPECT_EQ(agx_group_delete(OpenGroup(OpenSession(other_)).get()), AGX_OK);
  EXPECT_EQ(waiting.Get().status, AGX_NONE);
}

TEST_P(CapiGroup, AWaitEndsWhenTheStreamIsDeleted) {
  GroupPtr group = OpenGroup(session_);
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, -1); });
  waiting.AwaitBlocked();
  EXPECT_EQ(agx_history_delete(OpenSession(other_).get()), AGX_OK);
  EXPECT_EQ(waiting.Get().status, AGX_NONE);
}

TEST_P(CapiGroup, AWaitGoesOnInAGroupThatIsMadeAgain) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.recreate = 1;
  GroupPtr group = OpenGroup(session_, nullptr, options);
  // An older entry is how it knows the stream again.
  std::string first = Add(session_, "first");
  EXPECT_TRUE(
      WaitUntil([&] { return Add(session_, "before").substr(0, 13) > first.substr(0, 13); }));
  EXPECT_THAT(Read(group).events, testing::Not(IsEmpty()));
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, kPatienceMs); });
  waiting.AwaitBlocked();
  EXPECT_EQ(agx_group_delete(OpenGroup(OpenSession(other_)).get()), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] {
    size_t count = 0;
    EXPECT_EQ(agx_group_list(session_.get(), nullptr, 0, &count), AGX_OK);
    return count == 1;
  }));
  Add(session_, "after");
  EXPECT_THAT(waiting.Get().types(), ElementsAre("after")) << "and what was given is not again";
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  Add(session_, "anew");
  EXPECT_THAT(Read(group).types(), ElementsAre("anew"));
}

agx_group_options FromNow() {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.start = "new";
  options.recreate = 1;
  return options;
}

// Whatever goes and comes back in its place: nothing that is added then is lost.
TEST_P(CapiGroup, AGroupFromNowOnThatIsMadeAgainMissesNothing) {
  Add(session_, "old");
  SessionPtr other = OpenSession(other_);
  for (bool given : {false, true}) {
    for (bool stream : {false, true}) {
      for (bool looked : {false, true}) {
        SCOPED_TRACE(testing::Message() << given << stream << looked);
        GroupPtr group = OpenGroup(session_, "c", FromNow());
        if (given) {
          Add(other, "given");
          EXPECT_THAT(Read(group).types(), ElementsAre("given"));
        }
        if (stream) {
          // Within the same millisecond a new stream may give out the old one's ids again.
          auto millis = [] {
            auto now = std::chrono::system_clock::now().time_since_epoch();
            return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
          };
          auto now = millis();
          EXPECT_TRUE(WaitUntil([&] { return millis() > now; }));
          EXPECT_EQ(agx_history_delete(other.get()), AGX_OK);
        } else {
          EXPECT_EQ(agx_group_delete(OpenGroup(other).get()), AGX_OK);
        }
        if (looked) {
          EXPECT_EQ(Read(group, AGX_GROUP_NEW, 20).status, AGX_TIMEOUT);
        }
        std::string added = Add(other, "added");
        std::vector<std::string> ids;
        EXPECT_TRUE(WaitUntil([&] {
          for (const std::string& id : Read(group, AGX_GROUP_NEW, 0).ids()) ids.push_back(id);
          return !ids.empty() && ids.back() == added;
        }));
        EXPECT_EQ(agx_group_delete(group.get()), AGX_OK);
      }
    }
  }
}

TEST_P(CapiGroup, AWorkerFromNowOnMissesNothingOfAStreamThatIsMadeAgain) {
  GroupPtr group = OpenGroup(session_, "c", FromNow());
  Seen seen;
  std::atomic<int> handled{0};
  seen.say = [&](const agx_event*, int64_t) {
    ++handled;
    return AGX_OK;
  };
  agx_group_process_options options = Quick(4);
  Background<agx_status> worker(
      [&] { return agx_group_process(group.get(), &options, Seen::Handle, &seen); });
  worker.AwaitBlocked();
  Add(session_, "a");
  Add(session_, "b");
  ASSERT_TRUE(WaitUntil([&] { return handled == 2; }));
  worker.AwaitBlocked();
  EXPECT_EQ(agx_history_delete(OpenSession(other_).get()), AGX_OK);
  Add(session_, "c");
  Add(session_, "d");
  EXPECT_EQ(worker.Get(), AGX_LIMIT);
  std::vector<std::string> types;
  for (const auto& [type, attempt] : seen.calls) types.push_back(type);
  EXPECT_THAT(types, ElementsAre("a", "b", "c", "d"));
}

bool IsThere(const SessionPtr& session) {
  agx_history info = AGX_HISTORY_INIT;
  return agx_history_info(session.get(), &info) == AGX_OK;
}

TEST_P(CapiGroup, AWaitForAStreamThatHasGoneMakesNone) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.recreate = 1;
  GroupPtr group = OpenGroup(session_, "c", options);
  Add(session_, "a");
  EXPECT_THAT(Read(group).types(), ElementsAre("a"));
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  for (agx_group_source source : {AGX_GROUP_NEW, AGX_GROUP_PENDING_FIRST}) {
    EXPECT_EQ(Read(group, source, 50).status, AGX_TIMEOUT);
  }
  EXPECT_EQ(Read(group, AGX_GROUP_PENDING_ONLY).status, AGX_ENDED);
  EXPECT_FALSE(IsThere(session_));
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, kPatienceMs); });
  waiting.AwaitBlocked();
  EXPECT_FALSE(IsThere(session_));
  SessionPtr producer = Started(other_);
  EXPECT_THAT(waiting.Get().types(), ElementsAre("begin")) << "from the first on";
}

TEST_P(CapiGroup, AWorkerOfAStreamThatHasGoneMakesNone) {
  GroupPtr group = OpenGroup(session_, "c");
  Add(session_, "a");
  Seen seen;
  agx_group_process_options options = Quick(1);
  EXPECT_EQ(agx_group_process(group.get(), &options, Seen::Handle, &seen), AGX_LIMIT);
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  options = Quick(0, 100);
  EXPECT_EQ(agx_group_process(group.get(), &options, Seen::Handle, &seen), AGX_TIMEOUT);
  EXPECT_FALSE(IsThere(session_));
  // It ends when it is told to, and handles another stream from its first event on.
  options = Quick(2);
  Background<agx_status> worker(
      [&] { return agx_group_process(group.get(), &options, Seen::Handle, &seen); });
  worker.AwaitBlocked();
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(worker.Get(), AGX_INTERRUPTED);
  EXPECT_FALSE(IsThere(session_));
  Background<agx_status> again(
      [&] { return agx_group_process(group.get(), &options, Seen::Handle, &seen); });
  again.AwaitBlocked();
  SessionPtr producer = Started(other_);
  Add(producer, "b");
  EXPECT_EQ(again.Get(), AGX_LIMIT);
  ASSERT_EQ(seen.calls.size(), 3u);
  EXPECT_EQ(seen.calls[1].first, "begin");
  EXPECT_EQ(seen.calls[2].first, "b");
}

// --- The robust consumer

TEST_P(CapiGroup, WhatIsHandledIsAcknowledged) {
  GroupPtr group = OpenGroup(session_);
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  Seen seen;
  EXPECT_EQ(Process(group, &seen, Quick(3)), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 1), std::pair("b", 1), std::pair("c", 1)));
  EXPECT_EQ(PendingOf(group).count, 0U);
  EXPECT_EQ(Process(group, &seen, Quick(0, 0)), AGX_TIMEOUT);
}

TEST_P(CapiGroup, WhatFailsIsTriedAgainAndThenDies) {
  GroupPtr group = OpenGroup(session_);
  std::string id = Add(session_, "bad", R"({"n":1})", "me");
  Add(session_, "good");
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t attempt) {
    if (std::string(agx_event_type(event, nullptr)) == "good") return AGX_OK;
    std::string reason = "no luck, attempt " + std::to_string(attempt);
    EXPECT_EQ(agx_group_fail_reason(group.get(), reason.c_str()), AGX_OK);
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, &seen, Quick(2)), AGX_LIMIT);
  std::map<std::string, std::vector<int64_t>> attempts;
  for (const auto& [type, attempt] : seen.calls) attempts[type].push_back(attempt);
  EXPECT_THAT(attempts["bad"], ElementsAre(1, 2, 3));
  EXPECT_THAT(attempts["good"], ElementsAre(1));
  EXPECT_EQ(PendingOf(group).count, 0U);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].type(), "bad");
  EXPECT_STREQ(agx_event_body(letters[0].event.get(), nullptr), R"({"n":1})");
  EXPECT_STREQ(agx_event_origin(letters[0].event.get(), nullptr), "me");
  EXPECT_STREQ(letters[0].told.original_stream, "agx:1:2:s");
  EXPECT_EQ(letters[0].told.original_id, id);
  EXPECT_STREQ(letters[0].told.reason, "no luck, attempt 3");
  EXPECT_EQ(letters[0].told.attempts, 3);
  EXPECT_GT(letters[0].told.time_ms, 1500000000000);
  EXPECT_EQ(HealthOf(group).dead_letters, 1U);
  EXPECT_THAT(Stored(OpenSession(client_, "s:dlq")), ElementsAre("bad")) << "it is a session too";
  EXPECT_THAT(DeadLetters(group, letters[0].id().c_str()), IsEmpty());
}

TEST_P(CapiGroup, WhatFailsSometimesIsHandledInTheEnd) {
  GroupPtr group = OpenGroup(session_);
  constexpr int kEvents = 40;
  for (int i = 0; i < kEvents; ++i) Add(session_, std::to_string(i));
  Seen seen;
  std::set<std::string> handled;
  seen.say = [&](const agx_event* event, int64_t attempt) {
    std::string type = agx_event_type(event, nullptr);
    if (std::stoi(type) % 3 >= attempt) return AGX_EMODEL;
    handled.insert(type);
    return AGX_OK;
  };
  agx_group_process_options options = Quick(kEvents);
  options.count = 5;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(handled, SizeIs(kEvents));
  EXPECT_THAT(DeadLetters(group), IsEmpty());
  EXPECT_EQ(PendingOf(group).count, 0U);
}

TEST_P(CapiGroup, WhatAHandlerThrowsIsAFailure) {
  GroupPtr group = OpenGroup(session_);
  Add(session_, "error");
  Add(session_, "other");
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t) -> agx_status {
    if (std::string(agx_event_type(event, nullptr)) == "error") throw std::runtime_error("thrown");
    throw 7;  // NOLINT: what a handler may do
  };
  agx_group_process_options options = Quick(2);
  options.max_retries = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(2));
  EXPECT_STREQ(letters[0].told.reason, "thrown");
  EXPECT_THAT(letters[1].told.reason, HasSubstr("exception"));
  EXPECT_EQ(letters[1].told.attempts, 1);
}

TEST_P(CapiGroup, AReasonIsTheStatusIfNoneIsGiven) {
  GroupPtr group = OpenGroup(session_);
  Add(session_, "x");
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_ESTATE; };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  EXPECT_THAT(DeadLetters(group)[0].told.reason, HasSubstr("AGX_ESTATE"));
}

TEST_P(CapiGroup, ItTakesWhatOthersLeft) {
  for (const char* type : {"a", "b"}) Add(session_, type);
  GroupPtr dead = OpenGroup(session_, "dead");
  EXPECT_THAT(Read(dead).types(), SizeIs(2));
  GroupPtr heir = OpenGroup(session_, "heir");
  Seen seen;
  agx_group_process_options options = Quick(2);
  options.claim_idle_ms = 50;
  EXPECT_EQ(Process(heir, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 2), std::pair("b", 2)));
  EXPECT_EQ(PendingOf(heir).count, 0U);
}

TEST_P(CapiGroup, ItBeginsWithWhatWasPendingForIt) {
  Add(session_, "a");
  Read(OpenGroup(session_, "me"));
  Add(session_, "b");
  Seen seen;
  EXPECT_EQ(Process(OpenGroup(session_, "me"), &seen, Quick(2)), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 2), std::pair("b", 1)));
}

TEST_P(CapiGroup, WhatEveryoneDiedOfDies) {
  Add(session_, "poison");
  GroupPtr group = OpenGroup(session_, "me");
  Read(group);
  for (int i = 0; i < 2; ++i) Read(OpenGroup(session_, "me"), AGX_GROUP_PENDING_ONLY);
  Seen seen;
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  EXPECT_THAT(seen.calls, IsEmpty());
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].told.attempts, 3);
  EXPECT_THAT(letters[0].told.reason, HasSubstr("never acknowledged"));
}

// Consumers die of the first, again and again; what they had read with it was never handed to anybody.
TEST_P(CapiGroup, WhatLayBesideWhatEveryoneDiedOfDoesNotDie) {
  for (const char* type : {"poison", "a", "b", "c"}) Add(session_, type);
  GroupPtr watching = OpenGroup(session_, "me");
  auto all_are_idle = [&] {
    std::vector<agx_pending_event> pending = PendingEvents(watching);
    return std::all_of(pending.begin(), pending.end(),
                       [](const agx_pending_event& one) { return one.idle_ms >= 2; });
  };
  agx_group_process_options options = Quick();
  options.claim_idle_ms = 1;
  for (int death = 0; death < 3; ++death) {
    // In turns of the same name, and of another which claims what has been idle for long enough.
    ASSERT_TRUE(WaitUntil(all_are_idle));
    ClientPtr dying = Open();
    SessionPtr session = OpenSession(dying);
    GroupPtr group = OpenGroup(session, death == 2 ? "other" : "me");
    Seen seen;
    seen.say = [&](const agx_event*, int64_t) {
      agx_close(dying.release());
      return AGX_OK;
    };
    EXPECT_EQ(Process(group, &seen, options), AGX_ECLOSED);
    EXPECT_THAT(seen.calls, ElementsAre(std::pair("poison", death + 1)));
  }
  ASSERT_TRUE(WaitUntil(all_are_idle));
  GroupPtr group = OpenGroup(session_, "last");
  Seen seen;
  options.limit = 4;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 2), std::pair("b", 2), std::pair("c", 2)));
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].type(), "poison");
  EXPECT_EQ(letters[0].told.attempts, 3);
}

TEST_P(CapiGroup, WhatHasOneAttemptHasIt) {
  for (const char* type : {"poison", "a", "b", "c"}) Add(session_, type);
  agx_group_process_options options = Quick(4);
  options.max_retries = 1;
  {
    ClientPtr dying = Open();
    SessionPtr session = OpenSession(dying);
    GroupPtr group = OpenGroup(session, "me");
    Seen seen;
    seen.say = [&](const agx_event*, int64_t) {
      agx_close(dying.release());
      return AGX_OK;
    };
    EXPECT_EQ(Process(group, &seen, options), AGX_ECLOSED);
    EXPECT_THAT(seen.calls, ElementsAre(std::pair("poison", 1)));
  }
  GroupPtr group = OpenGroup(session_, "me");
  Seen seen;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("a", 1), std::pair("b", 1), std::pair("c", 1)));
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].type(), "poison");
}

// Whoever is told to stop in the middle of an event takes no attempt from it.
TEST_P(CapiGroup, AHandlerThatStopsHasNotFailed) {
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  using Says = std::map<std::string, agx_status>;
  using Calls = std::vector<std::pair<std::string, int64_t>>;
  auto process = [&](const char* consumer, const Says& says, agx_status outcome) {
    GroupPtr group = OpenGroup(session_, consumer);
    Seen seen;
    seen.say = [&](const agx_event* event, int64_t) {
      return says.at(agx_event_type(event, nullptr));
    };
    agx_group_process_options options = Quick(outcome == AGX_LIMIT ? 2 : 0);
    options.max_retries = 2;
    options.backoff_ms = options.backoff_max_ms = 3600000;
    EXPECT_EQ(Process(group, &seen, options), outcome);
    return seen.calls;
  };
  // What is held is still given to it.
  EXPECT_EQ(process("me", {{"a", AGX_OK}, {"b", AGX_INTERRUPTED}, {"c", AGX_INTERRUPTED}},
                    AGX_INTERRUPTED),
            (Calls{{"a", 1}, {"b", 1}, {"c", 1}}));
  EXPECT_EQ(process("me", {{"b", AGX_EFAILED}, {"c", AGX_INTERRUPTED}}, AGX_INTERRUPTED),
            (Calls{{"b", 1}, {"c", 1}}));
  // Another need not wait until it was idle for long enough.
  EXPECT_EQ(process("other", {{"b", AGX_INTERRUPTED}, {"c", AGX_INTERRUPTED}}, AGX_INTERRUPTED),
            (Calls{{"b", 2}, {"c", 1}}));
  EXPECT_EQ(process("last", {{"b", AGX_EFAILED}, {"c", AGX_OK}}, AGX_LIMIT),
            (Calls{{"b", 2}, {"c", 1}}));
  std::vector<Letter> letters = DeadLetters(OpenGroup(session_));
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].type(), "b");
  EXPECT_EQ(letters[0].told.attempts, 2);
}

TEST_P(CapiGroup, WhatAProcessLeavesIsPendingForTheReadBehindIt) {
  for (agx_group_source source : {AGX_GROUP_PENDING_ONLY, AGX_GROUP_PENDING_FIRST}) {
    GroupPtr group = OpenGroup(session_);
    std::string id = Add(session_, "a");
    for (int round = 0; round < 2; ++round) {
      Seen seen;
      seen.say = [](const agx_event*, int64_t) { return AGX_INTERRUPTED; };
      EXPECT_EQ(Process(group, &seen, Quick()), AGX_INTERRUPTED);
      EXPECT_THAT(Read(group, source).types(), ElementsAre("a"));
      EXPECT_EQ(Read(group, source).status,
                source == AGX_GROUP_PENDING_ONLY ? AGX_ENDED : AGX_TIMEOUT);
    }
    EXPECT_EQ(Ack(group, {id}), 1U);
  }
}

TEST_P(CapiGroup, AnInterruptLetsItFinishWhatItHolds) {
  GroupPtr group = OpenGroup(session_);
  for (const char* type : {"a", "bad", "c"}) Add(session_, type);
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t) {
    EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
    return std::string(agx_event_type(event, nullptr)) == "bad" ? AGX_EFAILED : AGX_OK;
  };
  agx_group_process_options options = Quick();
  options.backoff_ms = 3600000;
  options.backoff_max_ms = 3600000;
  EXPECT_EQ(Process(group, &seen, options), AGX_INTERRUPTED);
  EXPECT_THAT(seen.calls, SizeIs(3));
  std::vector<agx_pending_event> pending = PendingEvents(group);
  ASSERT_THAT(pending, SizeIs(1)) << "what waits to be tried again";
  EXPECT_GE(pending[0].idle_ms, 300000) << "others may take it at once";
  EXPECT_EQ(pending[0].attempts, 1);
}

TEST_P(CapiGroup, AnInterruptEndsItWhileItWaits) {
  GroupPtr group = OpenGroup(session_);
  Seen seen;
  Background<agx_status> running([&] { return Process(group, &seen, Quick()); });
  running.AwaitBlocked();
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_group_read(group.get(), AGX_GROUP_NEW, 0, &event, 1, &count), AGX_EBUSY);
  EXPECT_EQ(Process(group, &seen, Quick()), AGX_EBUSY);
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(running.Get(), AGX_INTERRUPTED);
  EXPECT_EQ(Read(group).status, AGX_TIMEOUT) << "and then reading is possible again";
}

TEST_P(CapiGroup, ClosingEndsIt) {
  agx_group* group = OpenGroup(session_).release();
  Seen seen;
  agx_group_process_options options = Quick();
  Background<agx_status> running(
      [&] { return agx_group_process(group, &options, Seen::Handle, &seen); });
  running.AwaitBlocked();
  agx_group_close(group);
  EXPECT_EQ(running.Get(), AGX_ECLOSED);
}

TEST_P(CapiGroup, ClosingTheClientEndsIt) {
  ClientPtr client = Open();
  GroupPtr group = OpenGroup(OpenSession(client));
  Seen seen;
  Background<agx_status> running([&] { return Process(group, &seen, Quick()); });
  running.AwaitBlocked();
  client.reset();
  EXPECT_EQ(running.Get(), AGX_ECLOSED);
}

TEST_P(CapiGroup, AHandlerMayCloseTheClient) {
  GroupPtr group = OpenGroup(session_);
  for (const char* type : {"a", "b"}) Add(session_, type);
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    client_.reset();
    return AGX_OK;
  };
  EXPECT_EQ(Process(group, &seen, Quick()), AGX_ECLOSED);
  EXPECT_THAT(seen.calls, SizeIs(1));
  GroupPtr other = OpenGroup(OpenSession(other_), "other");
  EXPECT_EQ(PendingOf(other).count, 2U) << "what was not acknowledged comes again";
}

TEST_P(CapiGroup, ItGoesOnWhenTheGroupOrTheStreamWasDeleted) {
  GroupPtr group = OpenGroup(session_);
  Add(session_, "a");
  std::atomic<int> handled{0};
  Seen seen;
  seen.say = [&](const agx_event* event, int64_t) {
    // Where nothing older shows that it is the old stream, its last events are given again.
    std::string type = agx_event_type(event, nullptr);
    size_t of_that = 0;
    for (const auto& call : seen.calls) of_that += call.first == type ? 1 : 0;
    if (of_that == 1) ++handled;
    return AGX_OK;
  };
  Background<agx_status> running([&] { return Process(group, &seen, Quick()); });
  EXPECT_TRUE(WaitUntil([&] { return handled == 1; }));
  running.AwaitBlocked();
  EXPECT_EQ(agx_group_delete(OpenGroup(OpenSession(other_)).get()), AGX_OK);
  Add(OpenSession(other_), "b");
  EXPECT_TRUE(WaitUntil([&] { return handled == 2; }));
  running.AwaitBlocked();
  EXPECT_EQ(agx_history_delete(OpenSession(other_).get()), AGX_OK);
  Add(OpenSession(other_), "c");
  EXPECT_TRUE(WaitUntil([&] { return handled == 3; }));
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(running.Get(), AGX_INTERRUPTED);
  EXPECT_EQ(PendingOf(group).count, 0U);
}

// The group goes while its event is with the handler, who fails for good.
TEST_P(CapiGroup, WhatItHeldWhenTheGroupWentIsNotLost) {
  GroupPtr group = OpenGroup(session_);
  Add(session_, "x");
  Seen seen;
  seen.say = [&](const agx_event*, int64_t attempt) {
    if (attempt > 1) return AGX_EFAILED;
    EXPECT_EQ(agx_history_delete(OpenSession(other_).get()), AGX_OK);
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  EXPECT_THAT(seen.calls, SizeIs(3));
  ASSERT_THAT(DeadLetters(group), SizeIs(1));
  EXPECT_EQ(DeadLetters(group)[0].type(), "x");
}

// --- Dead letters

TEST_P(CapiGroup, DeadLettersAreReplayedOrDeleted) {
  GroupPtr group = OpenGroup(session_);
  for (const char* type : {"a", "b", "c"}) Add(session_, type);
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  agx_group_process_options options = Quick(3);
  options.max_retries = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(3));
  std::string a = letters[0].id();
  std::string b = letters[1].id();
  const char* ids[] = {a.c_str(), "1-1"};
  uint64_t count = 99;
  EXPECT_EQ(agx_group_replay(group.get(), ids, 2, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EXPECT_THAT(Read(group).types(), ElementsAre("a"));
  ids[0] = b.c_str();
  EXPECT_EQ(agx_group_delete_dead_letters(group.get(), ids, 2, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  ASSERT_THAT(DeadLetters(group), SizeIs(1));
  EXPECT_EQ(DeadLetters(group)[0].type(), "c");
}

TEST_P(CapiGroup, LettersOfAnotherStreamAreNotReplayed) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.dead_letters = "letters of all";
  GroupPtr group = OpenGroup(session_, nullptr, options);
  GroupPtr other = OpenGroup(OpenSession(client_, "other"), nullptr, options);
  Add(session_, "x");
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  std::vector<Letter> letters = DeadLetters(other);
  ASSERT_THAT(letters, SizeIs(1));
  std::string text = letters[0].id();
  const char* id = text.c_str();
  EXPECT_EQ(agx_group_replay(other.get(), &id, 1, nullptr), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("agx:1:2:other"));
  EXPECT_EQ(agx_group_replay(group.get(), &id, 1, nullptr), AGX_OK);
}

// --- Bad input

TEST_P(CapiGroup, BadArgumentsAreRefused) {
  agx_group* opened = nullptr;
  EXPECT_EQ(agx_group_open(nullptr, "g", nullptr, &opened), AGX_EINVAL);
  EXPECT_EQ(agx_group_open(session_.get(), "g", nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_open(session_.get(), nullptr, nullptr, &opened), AGX_EINVAL);
  EXPECT_EQ(agx_group_open(session_.get(), "", nullptr, &opened), AGX_EINVAL);
  EXPECT_EQ(agx_group_open(session_.get(), "\xff", nullptr, &opened), AGX_EINVAL);
  std::string long_name(AGX_NAME_MAX + 1, 'x');
  EXPECT_EQ(agx_group_open(session_.get(), long_name.c_str(), nullptr, &opened), AGX_ETOOBIG);
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.start = "soon";
  EXPECT_EQ(agx_group_open(session_.get(), "g", &options, &opened), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("soon"));
  options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = "";
  EXPECT_EQ(agx_group_open(session_.get(), "g", &options, &opened), AGX_EINVAL);
  options = AGX_GROUP_OPTIONS_INIT;
  for (const char* key : {"", "agx:1:2:s", "agx:1:2:s:live", "\xff"}) {
    options.dead_letters = key;
    EXPECT_EQ(agx_group_open(session_.get(), "g", &options, &opened), AGX_EINVAL) << key;
  }
  GroupPtr group = OpenGroup(session_);
  agx_event* event = nullptr;
  size_t count = 0;
  uint64_t number = 0;
  agx_group* g = group.get();
  EXPECT_EQ(agx_group_read(g, AGX_GROUP_NEW, 0, nullptr, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_group_read(g, AGX_GROUP_NEW, 0, &event, 0, &count), AGX_EINVAL);
  EXPECT_EQ(agx_group_read(g, AGX_GROUP_NEW, 0, &event, 1, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_read(g, static_cast<agx_group_source>(3), 0, &event, 1, &count), AGX_EINVAL);
  for (const char* id : {"", "x", "1-", "-1", "1-1-1", "18446744073709551616-0"}) {
    EXPECT_EQ(agx_group_ack(g, &id, 1, &number), AGX_EINVAL) << id;
    EXPECT_EQ(agx_group_claim(g, 0, &id, 1, &event, &count), AGX_EINVAL) << id;
    EXPECT_EQ(agx_group_replay(g, &id, 1, &number), AGX_EINVAL) << id;
    EXPECT_EQ(agx_group_delete_dead_letters(g, &id, 1, &number), AGX_EINVAL) << id;
    agx_pending_event pending;
    EXPECT_EQ(agx_group_pending_events(g, nullptr, 0, id, &pending, 1, &count), AGX_EINVAL) << id;
    agx_dead_letter letter;
    EXPECT_EQ(agx_group_dead_letters(g, id, &letter, 1, &count), AGX_EINVAL) << id;
  }
  const char* none = nullptr;
  EXPECT_EQ(agx_group_ack(g, &none, 1, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_ack(g, nullptr, 1, nullptr), AGX_EINVAL);
  char cursor[AGX_ID_SIZE] = "nowhere";
  EXPECT_EQ(agx_group_autoclaim(g, 0, cursor, &event, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_group_autoclaim(g, 0, nullptr, &event, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_group_pending(g, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_health(g, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_process(g, nullptr, nullptr, nullptr), AGX_EINVAL);
  agx_group_process_options process = AGX_GROUP_PROCESS_OPTIONS_INIT;
  process.max_retries = -1;
  EXPECT_EQ(agx_group_process(g, &process, Seen::Handle, nullptr), AGX_EINVAL);
  process = AGX_GROUP_PROCESS_OPTIONS_INIT;
  process.size = 3;
  EXPECT_EQ(agx_group_process(g, &process, Seen::Handle, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_group_fail_reason(g, nullptr), AGX_EINVAL);
  EXPECT_STREQ(agx_group_consumer_name(nullptr), "");
  agx_group_close(nullptr);
}

TEST_P(CapiGroup, AnythingMayBeInANameAndItStaysAName) {
  for (const char* name : {"g h", "g\r\nFLUSHALL", "{g}*?[", "\xe2\x82\xac", "NOACK", "-"}) {
    Add(session_, "x");
    GroupPtr group = OpenGroup(session_, name, AGX_GROUP_OPTIONS_INIT, name);
    Page page = Read(group);
    EXPECT_THAT(page.events, testing::Not(IsEmpty())) << name;
    ASSERT_THAT(PendingEvents(group), testing::Not(IsEmpty())) << name;
    EXPECT_STREQ(PendingEvents(group)[0].consumer, name);
    EXPECT_EQ(Ack(group, page.ids()), page.events.size()) << name;
  }
}

// --- What only a server has

class CapiGroupOnRedis : public OnRedis {
 protected:
  SessionPtr session_ = OpenSession(client_);
};

TEST_F(CapiGroupOnRedis, AFlushEndsAWait) {
  GroupPtr group = OpenGroup(session_);
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, -1); });
  waiting.AwaitBlocked();
  Raw({"FLUSHALL"});
  EXPECT_EQ(waiting.Get().status, AGX_NONE);
}

TEST_F(CapiGroupOnRedis, ManyGroupsShareTheConnections) {
  std::vector<SessionPtr> sessions;
  std::vector<GroupPtr> groups;
  constexpr int kGroups = 30;
  for (int i = 0; i < kGroups; ++i) {
    sessions.push_back(OpenSession(client_, "s" + std::to_string(i)));
    groups.push_back(OpenGroup(sessions.back()));
  }
  std::vector<std::unique_ptr<Background<Page>>> waiting;
  for (const GroupPtr& group : groups) {
    waiting.push_back(std::make_unique<Background<Page>>(
        [&group] { return Read(group, AGX_GROUP_NEW, kPatienceMs); }));
  }
  for (auto& one : waiting) one->AwaitBlocked();
  std::string clients = Raw({"CLIENT", "LIST"});
  auto count = std::count(clients.begin(), clients.end(), '\n');
  EXPECT_LE(count, 6) << clients;
  for (const SessionPtr& session : sessions) Add(session, "x");
  for (auto& one : waiting) EXPECT_EQ(one->Get().status, AGX_OK);
}

// Servers count what was trimmed before anybody was given it.
TEST_F(CapiGroupOnRedis, TheLagIsOfWhatCanStillBeGiven) {
  GroupPtr group = OpenGroup(session_);
  for (int i = 0; i < 6; ++i) Add(session_, "x");
  EXPECT_THAT(Read(group, AGX_GROUP_NEW, 0, 1).events, SizeIs(1));
  EXPECT_EQ(HealthOf(group).lag, 5);
  Raw({"XTRIM", "agx:1:2:s", "MAXLEN", "2"});
  EXPECT_EQ(HealthOf(group).lag, 2);
  agx_group_info info[2];
  size_t count = 0;
  ASSERT_EQ(agx_group_list(session_.get(), info, 2, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(info[0].lag, 2);
}

// As a server before Redis 7 leaves it to its clients, and later ones do once an entry was deleted.
TEST_F(CapiGroupOnRedis, ALagThatHasToBeCountedIsSoUpToALimit) {
  GroupPtr group = OpenGroup(session_);
  auto add = [&](const char* count) {
    Raw({"EVAL",
         "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'type', 't') end return 'OK'", "1",
         "agx:1:2:s", count});
  };
  auto remove_second = [&] {
    std::string second = Raw({"XRANGE", "agx:1:2:s", "-", "+", "COUNT", "2"});
    size_t at = second.rfind('[', second.rfind("[type"));
    at = second.rfind('[', at - 1) + 1;
    Raw({"XDEL", "agx:1:2:s", second.substr(at, second.find(',', at) - at)});
  };
  add("3001");
  EXPECT_THAT(Read(group, AGX_GROUP_NEW, 0, 1).events, SizeIs(1));
  remove_second();
  EXPECT_EQ(HealthOf(group).lag, 2999) << "exactly, up to there";
  add("107000");
  int64_t lag = HealthOf(group).lag;
  EXPECT_GE(lag, 100000);
  EXPECT_LT(lag, 105000);
}

TEST_F(CapiGroupOnRedis, HealthNeedsNoScripts) {
  GroupPtr group = OpenGroup(session_);
  for (int i = 0; i < 4; ++i) Add(session_, "x");
  Page page = Read(group, AGX_GROUP_NEW, 0, 2);
  ASSERT_THAT(page.events, SizeIs(2));
  std::string next = Add(session_, "y");
  Add(session_, "x");
  Raw({"XDEL", "agx:1:2:s", next});
  EXPECT_EQ(HealthOf(group).lag, 3) << "a script counts it";
  Raw({"ACL", "SETUSER", "default", "-eval"});
  agx_health health = HealthOf(group);
  EXPECT_EQ(health.lag, -1) << "not known";
  EXPECT_EQ(health.length, 5U);
  EXPECT_EQ(health.pending, 2U);
  EXPECT_EQ(health.consumers, 1U);
  EXPECT_EQ(health.last_delivered_id, page.ids()[1]);
}

// Without the script that gives the stream its expiry there would be one that stays for good.
TEST_F(CapiGroupOnRedis, WhoeverMayNotGiveAStreamItsExpiryMakesNone) {
  agx_stream_options of = AGX_STREAM_OPTIONS_INIT;
  of.format = "agent-framework";
  agx_session* opened = nullptr;
  ASSERT_EQ(agx_stream_open(client_.get(), "c", &of, &opened), AGX_OK);
  SessionPtr session(opened);
  Raw({"ACL", "SETUSER", "default", "-eval"});
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(session.get(), "g", nullptr, &group), AGX_EDENIED);
  EXPECT_EQ(group, nullptr);
  EXPECT_EQ(Raw({"EXISTS", "agent-stream:c"}), "0");
  Raw({"ACL", "SETUSER", "default", "+eval"});
  ASSERT_EQ(agx_group_open(session.get(), "g", nullptr, &group), AGX_OK) << agx_last_error();
  EXPECT_GT(std::stoll(Raw({"PTTL", "agent-stream:c"})), 500000);
  agx_group_close(group);
}

TEST_F(CapiGroupOnRedis, WhatOthersWroteAndLeftIsHandled) {
  // As the openai-agents package does it: by its names, without libagx.
  Raw({"XGROUP", "CREATE", "agx:1:2:s", "agents", "0", "MKSTREAM"});
  Raw({"XADD", "agx:1:2:s", "*", "type", "token", "timestamp", "1700000000.5", "data",
       R"({"t":"x"})"});
  Raw({"XREADGROUP", "GROUP", "agents", "worker-1", "COUNT", "10", "STREAMS", "agx:1:2:s", ">"});
  GroupPtr group = OpenGroup(session_, nullptr, AGX_GROUP_OPTIONS_INIT, "agents");
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  agx_group_process_options options = Quick(1);
  options.claim_idle_ms = 1;
  EXPECT_EQ(Process(group, &seen, options), AGX_LIMIT);
  EXPECT_THAT(seen.calls, ElementsAre(std::pair("token", 2), std::pair("token", 3)));
  std::string letters = Raw({"XRANGE", "agx:1:2:s:dlq", "-", "+"});
  for (const char* part :
       {"type", "token", "timestamp", "1700000000.5", "data", "original_stream", "agx:1:2:s",
        "original_id", "failure_reason", "attempts", "dlq_timestamp"}) {
    EXPECT_THAT(letters, HasSubstr(part));
  }
  EXPECT_THAT(Raw({"XPENDING", "agx:1:2:s", "agents"}), HasSubstr("0"));
}

// A dead letter that another program wrote, with its fields in another order.
TEST_F(CapiGroupOnRedis, ALetterOfAnotherProgramIsReplayed) {
  GroupPtr group = OpenGroup(session_);
  Raw({"XADD", "agx:1:2:s:dlq", "*", "dlq_timestamp", "1700000000.1", "attempts", "3", "type",
       "tool_call", "original_id", "5-1", "original_stream", "agx:1:2:s", "failure_reason", "why",
       "replayed_from_dlq", "4-1", "data", "{}"});
  std::vector<Letter> letters = DeadLetters(group);
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_STREQ(letters[0].told.original_id, "5-1");
  EXPECT_STREQ(letters[0].told.reason, "why");
  EXPECT_EQ(letters[0].told.attempts, 3);
  std::string text = letters[0].id();
  const char* id = text.c_str();
  EXPECT_EQ(agx_group_replay(group.get(), &id, 1, nullptr), AGX_OK);
  std::string stream = Raw({"XRANGE", "agx:1:2:s", "-", "+"});
  EXPECT_THAT(stream, HasSubstr("replayed_from_dlq, " + text))
      << "and no longer from an earlier one";
  EXPECT_THAT(stream, testing::Not(HasSubstr("4-1")));
  EXPECT_THAT(stream, testing::Not(HasSubstr("failure_reason")));
}

TEST_F(CapiGroupOnRedis, AnEntryOfThousandsOfFieldsDiesWithoutThem) {
  GroupPtr group = OpenGroup(session_);
  std::vector<std::string> add = {"XADD", "agx:1:2:s", "*"};
  for (int i = 0; i < 9000; ++i) {
    add.push_back("f" + std::to_string(i));
    add.emplace_back("v");
  }
  Raw(add);
  Seen seen;
  seen.say = [](const agx_event*, int64_t) { return AGX_EFAILED; };
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  EXPECT_THAT(DeadLetters(group), SizeIs(1));
  EXPECT_THAT(Raw({"XRANGE", "agx:1:2:s:dlq", "-", "+"}), HasSubstr("original_fields_left_out"));
  EXPECT_EQ(PendingOf(group).count, 0U);
}

// The server goes while an event is with the handler, and comes back.
TEST_F(CapiGroupOnRedis, ItGoesOnWhenTheServerComesBackEmpty) {
  ClientPtr client = Open("reconnect_timeout=200&connect_timeout=1000");
  SessionPtr session = OpenSession(client);
  GroupPtr group = OpenGroup(session);
  Add(session, "a");
  std::atomic<int> handled{0};
  std::atomic<bool> killed{false};
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    if (handled++ == 0) {
      server_.Kill9();
      killed = true;
    }
    return AGX_OK;
  };
  Background<agx_status> running([&] { return Process(group, &seen, Quick()); });
  EXPECT_TRUE(WaitUntil([&] { return killed.load(); }));
  running.AwaitBlocked();
  server_.Restart();
  agx_status added = AGX_ECONNECT;
  EXPECT_TRUE(WaitUntil([&] {
    added = agx_add(session.get(), "b", "test", nullptr, nullptr);
    return added == AGX_OK;
  }));
  EXPECT_TRUE(WaitUntil([&] { return handled >= 2; }));
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(running.Get(), AGX_INTERRUPTED);
  EXPECT_EQ(seen.calls.back(), std::pair(std::string("b"), int64_t{1}));
}

TEST_F(CapiGroupOnRedis, ItGivesUpAfterAnOutageThatIsTooLong) {
  ClientPtr client = Open("reconnect_timeout=-1");
  GroupPtr group = OpenGroup(OpenSession(client));
  agx_group_process_options options = Quick();
  options.outage_ms = 100;
  server_.Kill9();
  Seen seen;
  EXPECT_EQ(Process(group, &seen, options), AGX_ECONNECT);
  EXPECT_EQ(Read(group).status, AGX_ECONNECT);
}

// What it failed with is not lost with the server: its event is pending, and comes again.
TEST_F(CapiGroupOnRedis, AHandlerMayFailAfterTheServerIsGone) {
  RedisServer::Options durable;
  durable.append_only = true;
  RedisServer server(durable);
  ClientPtr client = OpenClient(server.url() + "?reconnect_timeout=-1");
  SessionPtr session = OpenSession(client);
  GroupPtr group = OpenGroup(session, "me");
  Add(session, "a");
  agx_group_process_options options = Quick();
  options.outage_ms = 100;
  Seen seen;
  seen.say = [&](const agx_event*, int64_t) {
    server.Kill9();
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, &seen, options), AGX_ECONNECT);
  EXPECT_THAT(seen.calls, SizeIs(1));
  server.Restart();
  seen.say = nullptr;
  EXPECT_EQ(Process(group, &seen, Quick(1)), AGX_LIMIT);
  EXPECT_EQ(seen.calls.back(), std::pair(std::string("a"), int64_t{2}));
  EXPECT_EQ(PendingOf(group).count, 0U);
}

TEST_F(CapiGroupOnRedis, AHandleIsClosedAtOnceWhileTheServerIsAway) {
  ClientPtr client = Open("reconnect_timeout=60000");
  GroupPtr group = OpenGroup(OpenSession(client));
  EXPECT_EQ(Read(group).status, AGX_TIMEOUT);
  server_.Kill9();
  Stopwatch watch;
  group.reset();
  EXPECT_LT(watch.ms(), kAtOnceMs);
}

TEST_F(CapiGroupOnRedis, WithoutTrackingAWaitEndsAllTheSame) {
  Raw({"ACL", "SETUSER", "default", "-client|tracking"});
  ClientPtr client = Open();
  GroupPtr group = OpenGroup(OpenSession(client));
  Background<Page> waiting([&] { return Read(group, AGX_GROUP_NEW, kPatienceMs); });
  waiting.AwaitBlocked();
  Add(session_, "x");
  EXPECT_THAT(waiting.Get().types(), ElementsAre("x"));
}

}  // namespace
}  // namespace agx::test
