// ctest-labels: redis threads
// ctest-timeout: 120
// What every store promises of consumer groups, whatever is behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <thread>

#include "store/groups.h"
#include "support/stores.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr GroupOf kGroup{"s", "g"};

class GroupContract : public testing::TestWithParam<StoreCase> {
 protected:
  void SetUp() override {
    backend_ = GetParam().make();
    store_ = backend_->Open();
    groups_ = &store_->groups();
  }

  EntryId Add(std::string_view type, std::string_view key = "s") {
    EntryId id;
    Field fields[] = {{"type", type}};
    EXPECT_DONE(store_->Add(key, {fields, 1}, 0, &id));
    return id;
  }
  std::vector<EntryId> AddNumbered(int count) {
    std::vector<EntryId> ids;
    for (int i = 0; i < count; ++i) ids.push_back(Add(std::to_string(i)));
    return ids;
  }
  bool Create(std::optional<EntryId> start = EntryId{}, GroupOf of = kGroup) {
    bool created = false;
    EXPECT_DONE(groups_->CreateGroup({of, start, true}, &created));
    return created;
  }
  BatchPtr Read(std::string_view consumer, size_t count = 1000, bool arm = false) {
    BatchPtr batch;
    EXPECT_DONE(groups_->ReadNew({kGroup, consumer, count, arm}, &batch));
    return batch;
  }
  Takings Take(std::string_view consumer, TakeMode mode, int64_t min_idle_ms = 0,
               EntryId after = {}, size_t count = 1000) {
    Takings taken;
    EXPECT_DONE(groups_->Take({kGroup, consumer, mode, min_idle_ms, after, count}, &taken));
    return taken;
  }
  uint64_t Ack(std::vector<EntryId> ids) {
    uint64_t count = 99;
    EXPECT_DONE(groups_->Acknowledge(kGroup, ids, &count));
    return count;
  }
  std::vector<PendingEntry> Pending(std::string_view consumer = {}) {
    std::vector<PendingEntry> entries;
    EXPECT_DONE(groups_->PendingEntries({kGroup, consumer, 0, {}, 1000}, &entries));
    return entries;
  }
  PendingFacts Summary() {
    PendingFacts facts;
    EXPECT_DONE(groups_->Pending(kGroup, &facts));
    return facts;
  }
  bool Bury(std::string_view consumer, EntryId id) {
    Field fields[] = {{"original_stream", "s"}, {"reason", "why"}};
    bool done = false;
    EXPECT_DONE(groups_->Bury({kGroup, consumer, id, "s:dlq", fields}, &done));
    return done;
  }
  std::vector<std::string> Stored(std::string_view key) {
    RangeRequest request;
    request.key = key;
    request.count = 1000;
    BatchPtr batch;
    EXPECT_DONE(store_->Range(request, &batch));
    return TextsOf(batch);
  }
  std::vector<EntryId> StoredIds(std::string_view key) {
    RangeRequest request;
    request.key = key;
    request.count = 1000;
    BatchPtr batch;
    EXPECT_DONE(store_->Range(request, &batch));
    return IdsOf(batch);
  }
  RevivalOutcome Revive(EntryId id, EntryId* fresh, std::string_view proof = "s") {
    constexpr std::string_view kWithout[] = {"original_stream", "reason"};
    Field mark{"again", "yes"};
    Revival revival{"s:dlq", id, "s", kWithout, {&mark, 1}, {"original_stream", proof}};
    RevivalOutcome outcome{};
    EXPECT_DONE(groups_->Revive(revival, fresh, &outcome));
    return outcome;
  }
  // Both stores count whole milliseconds.
  void AwaitIdle(EntryId id, int64_t ms) {
    EXPECT_TRUE(WaitUntil([&] {
      for (const PendingEntry& entry : Pending()) {
        if (entry.id == id) return entry.idle_ms >= ms;
      }
      return false;
    }));
  }

  std::unique_ptr<StoreBackend> backend_;
  std::shared_ptr<Store> store_;
  Groups* groups_ = nullptr;
};

// --- Making and reading

TEST_P(GroupContract, AGroupIsMadeOnceAndWithItsStream) {
  EXPECT_TRUE(Create());
  EXPECT_FALSE(Create());
  EXPECT_EQ(Read("a"), nullptr);
  EntryId id = Add("x");
  EXPECT_THAT(IdsOf(Read("a")), ElementsAre(id));
}

TEST_P(GroupContract, ItBeginsWhereItIsTold) {
  std::vector<EntryId> ids = AddNumbered(3);
  EXPECT_TRUE(Create(std::nullopt, {"s", "now"}));
  EXPECT_TRUE(Create(ids[0], {"s", "after"}));
  EXPECT_TRUE(Create(EntryId{}, {"s", "all"}));
  EntryId fresh = Add("new");
  auto read = [&](std::string_view group) {
    BatchPtr batch;
    EXPECT_DONE(groups_->ReadNew({{"s", group}, "a", 10, false}, &batch));
    return IdsOf(batch);
  };
  EXPECT_THAT(read("now"), ElementsAre(fresh));
  EXPECT_THAT(read("after"), ElementsAre(ids[1], ids[2], fresh));
  EXPECT_THAT(read("all"), ElementsAre(ids[0], ids[1], ids[2], fresh));
}

TEST_P(GroupContract, EachEntryIsGivenToOneConsumer) {
  Create();
  std::vector<EntryId> ids = AddNumbered(5);
  EXPECT_THAT(IdsOf(Read("a", 2)), ElementsAre(ids[0], ids[1]));
  EXPECT_THAT(IdsOf(Read("b", 2)), ElementsAre(ids[2], ids[3]));
  EXPECT_THAT(TextsOf(Read("a")), ElementsAre("type=4"));
  EXPECT_EQ(Read("a"), nullptr);
  EXPECT_THAT(Pending(), SizeIs(5));
  EXPECT_THAT(Pending("b"), SizeIs(2));
}

TEST_P(GroupContract, ManyThreadsShareAllAndNoneTwice) {
  Create();
  constexpr int kEntries = 400;
  AddNumbered(kEntries);
  std::mutex mutex;
  std::multiset<EntryId> given;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string consumer = "c" + std::to_string(t);
      for (BatchPtr batch = Read(consumer, 7); batch != nullptr; batch = Read(consumer, 7)) {
        std::vector<EntryId> ids = IdsOf(batch);
        Ack(ids);
        std::lock_guard lock(mutex);
        given.insert(ids.begin(), ids.end());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(given.size(), size_t{kEntries});
  EXPECT_EQ(std::set<EntryId>(given.begin(), given.end()).size(), size_t{kEntries});
  EXPECT_THAT(Pending(), IsEmpty());
}

TEST_P(GroupContract, WhatIsAskedOfNoGroupIsNone) {
  BatchPtr batch;
  Takings taken;
  PendingFacts facts;
  std::vector<PendingEntry> entries;
  std::vector<ConsumerFacts> consumers;
  std::vector<Held> held = {{{1, 1}, -1, false}};
  std::vector<EntryId> ids = {{1, 1}};
  uint64_t count = 0;
  bool done = false;
  for (bool with_stream : {false, true}) {
    if (with_stream) Add("x");
    std::vector<std::pair<const char*, Status>> outcomes;
    outcomes.emplace_back("ReadNew", groups_->ReadNew({kGroup, "a", 1, false}, &batch));
    outcomes.emplace_back("ReadNew, armed", groups_->ReadNew({kGroup, "a", 1, true}, &batch));
    for (TakeMode mode :
         {TakeMode::kOwn, TakeMode::kSame, TakeMode::kClaim, TakeMode::kClaimSame}) {
      outcomes.emplace_back("Take", groups_->Take({kGroup, "a", mode, 0, {}, 1}, &taken));
    }
    outcomes.emplace_back("Claim", groups_->Claim(kGroup, "a", 0, ids, &taken));
    outcomes.emplace_back("Hold", groups_->Hold(kGroup, "a", 0, held));
    outcomes.emplace_back("Pending", groups_->Pending(kGroup, &facts));
    outcomes.emplace_back("PendingEntries",
                          groups_->PendingEntries({kGroup, {}, 0, {}, 1}, &entries));
    outcomes.emplace_back("ListConsumers", groups_->ListConsumers(kGroup, &consumers));
    outcomes.emplace_back("DeleteConsumer", groups_->DeleteConsumer(kGroup, "a", &count));
    outcomes.emplace_back("DeleteIdleConsumer", groups_->DeleteIdleConsumer(kGroup, "a"));
    outcomes.emplace_back("DeleteGroup", groups_->DeleteGroup(kGroup));
    outcomes.emplace_back("Bury", groups_->Bury({kGroup, "a", {1, 1}, "s:dlq", {}}, &done));
    for (const auto& [name, status] : outcomes) {
      EXPECT_EQ(status.code(), AGX_NONE) << name << " " << with_stream << status.message();
      EXPECT_THAT(status.message(), HasSubstr("group g")) << name;
    }
    EXPECT_EQ(Ack({{1, 1}}), 0U);
    std::vector<GroupFacts> all;
    EXPECT_DONE(groups_->ListGroups("s", &all));
    EXPECT_THAT(all, IsEmpty());
  }
}

TEST_P(GroupContract, AKeyOfAnotherTypeIsSaidToBeOne) {
  std::string version;
  bool conflict = false;
  EXPECT_DONE(store_->PutText("s", "", "text", false, &version, &conflict));
  bool created = false;
  EXPECT_EQ(groups_->CreateGroup({kGroup, EntryId{}, true}, &created).code(), AGX_ETYPE);
  BatchPtr batch;
  EXPECT_EQ(groups_->ReadNew({kGroup, "a", 1, true}, &batch).code(), AGX_ETYPE);
  Takings taken;
  EXPECT_EQ(groups_->Take({kGroup, "a", TakeMode::kOwn, 0, {}, 1}, &taken).code(), AGX_ETYPE);
  std::vector<GroupFacts> all;
  EXPECT_EQ(groups_->ListGroups("s", &all).code(), AGX_ETYPE);
}

TEST_P(GroupContract, AGroupStaysWhenASessionBeginsAnewAndGoesWithItsStream) {
  Create();
  Add("old");
  EXPECT_THAT(TextsOf(Read("a")), ElementsAre("type=old"));
  Field begin[] = {{"type", "begin"}};
  StartRequest start;
  start.key = "s";
  start.live_key = "s:live";
  start.token = "t";
  start.lease_ms = 60000;
  start.begin = {begin, 1};
  StartOutcome outcome{};
  EXPECT_DONE(store_->Start(start, &outcome));
  EXPECT_EQ(outcome, StartOutcome::kStarted);
  EXPECT_THAT(TextsOf(Read("a")), ElementsAre("type=begin"));
  EXPECT_THAT(Pending(), SizeIs(2)) << "the old one is pending, although it is gone";
  DeleteRequest request;
  request.key = "s";
  request.live_key = "s:live";
  request.text_key = "s:messages";
  request.token = "t";
  bool was_there = false;
  EXPECT_DONE(store_->Delete(request, &was_there));
  BatchPtr batch;
  EXPECT_EQ(groups_->ReadNew({kGroup, "a", 1, false}, &batch).code(), AGX_NONE);
}

// Of a session that another producer has live an `end` stays for a while, and the groups with it.
TEST_P(GroupContract, AGroupStaysWithTheEndThatADeletedSessionLeaves) {
  Field begin[] = {{"type", "begin"}};
  StartRequest start;
  start.key = "s";
  start.live_key = "s:live";
  start.token = "t";
  start.lease_ms = 60000;
  start.begin = {begin, 1};
  StartOutcome outcome{};
  EXPECT_DONE(store_->Start(start, &outcome));
  Create();
  EXPECT_THAT(TextsOf(Read("a")), ElementsAre("type=begin"));
  Add("lost");
  Field end[] = {{"type", "end"}};
  DeleteRequest request;
  request.key = "s";
  request.live_key = "s:live";
  request.text_key = "s:messages";
  request.end = {end, 1};
  bool was_there = false;
  EXPECT_DONE(store_->Delete(request, &was_there));
  EXPECT_THAT(TextsOf(Read("a")), ElementsAre("type=end"));
  EXPECT_THAT(Pending("a"), SizeIs(2));
  BatchPtr batch;
  Status status;
  EXPECT_TRUE(WaitUntil([&] {
    status = groups_->ReadNew({kGroup, "a", 1, false}, &batch);
    return !status.ok();
  }));
  EXPECT_EQ(status.code(), AGX_NONE) << "and goes with it";
}

// --- The watch

TEST_P(GroupContract, AnArmedReadRingsForWhatComesAfterIt) {
  Create();
  RingingWatcher watcher;
  EXPECT_DONE(store_->Watch("s", Store::KeyKind::kStream, &watcher));
  for (int i = 0; i < 3; ++i) {
    // Rings that come of the watch itself, or of what was there before, are over when a read finds
    // nothing and none comes any more.
    uint32_t ticket = watcher.bell.ticket();
    EXPECT_EQ(Read("a", 10, true), nullptr);
    Add("x");
    BatchPtr batch;
    EXPECT_TRUE(WaitUntil([&] {
      watcher.bell.Wait(ticket, Clock::now() + kPatience);
      ticket = watcher.bell.ticket();
      batch = Read("a", 10, true);
      return batch != nullptr;
    }));
    EXPECT_EQ(batch->size(), 1U);
  }
  store_->Unwatch("s", &watcher);
}

// --- What is pending

TEST_P(GroupContract, AcknowledgedIsNotPendingAnyMore) {
  Create();
  std::vector<EntryId> ids = AddNumbered(3);
  Read("a");
  EntryId never = Add("never given");
  EXPECT_EQ(Ack({ids[0], ids[2], never, {1, 1}, ids[0]}), 2U);
  EXPECT_EQ(Ack({ids[0]}), 0U) << "acknowledged before";
  EXPECT_EQ(Ack({}), 0U);
  PendingFacts facts = Summary();
  EXPECT_EQ(facts.count, 1U);
  EXPECT_EQ(facts.lowest, ids[1]);
  EXPECT_EQ(facts.highest, ids[1]);
  EXPECT_EQ(facts.consumers, 1U);
  EXPECT_EQ(Ack({ids[1]}), 1U);
  EXPECT_EQ(Summary().count, 0U);
  EXPECT_EQ(Summary().consumers, 0U);
  EXPECT_THAT(IdsOf(Read("a")), ElementsAre(never));
}

TEST_P(GroupContract, OnesOwnComeAgainAndEachTimeCounts) {
  Create();
  std::vector<EntryId> ids = AddNumbered(4);
  Read("a", 3);
  Read("b");
  Takings same = Take("a", TakeMode::kSame);
  EXPECT_THAT(IdsOf(same.batch), ElementsAre(ids[0], ids[1], ids[2]));
  EXPECT_THAT(same.attempts, ElementsAre(1, 1, 1)) << "it was never handed on";
  EXPECT_FALSE(same.more);
  Takings first = Take("a", TakeMode::kOwn, 0, {}, 2);
  EXPECT_THAT(IdsOf(first.batch), ElementsAre(ids[0], ids[1]));
  EXPECT_THAT(TextsOf(first.batch), ElementsAre("type=0", "type=1"));
  EXPECT_THAT(first.attempts, ElementsAre(2, 2));
  EXPECT_TRUE(first.more);
  EXPECT_EQ(first.last, ids[1]);
  Takings rest = Take("a", TakeMode::kOwn, 0, first.last, 2);
  EXPECT_THAT(IdsOf(rest.batch), ElementsAre(ids[2]));
  EXPECT_FALSE(rest.more);
  Takings none = Take("nobody", TakeMode::kOwn);
  EXPECT_EQ(none.batch, nullptr);
  EXPECT_FALSE(none.more);
  std::vector<PendingEntry> pending = Pending("a");
  ASSERT_THAT(pending, SizeIs(3));
  EXPECT_EQ(pending[0].attempts, 2);
  EXPECT_EQ(pending[0].consumer, "a");
}

TEST_P(GroupContract, WhatHasBeenIdleIsTakenOver) {
  Create();
  std::vector<EntryId> ids = AddNumbered(3);
  Read("a");
  EXPECT_EQ(Take("b", TakeMode::kClaim, 3600000).batch, nullptr) << "not idle for so long";
  AwaitIdle(ids[2], 5);
  Takings taken = Take("b", TakeMode::kClaim, 5, {}, 2);
  EXPECT_THAT(IdsOf(taken.batch), ElementsAre(ids[0], ids[1]));
  EXPECT_THAT(taken.attempts, ElementsAre(2, 2));
  EXPECT_TRUE(taken.more);
  EXPECT_THAT(IdsOf(Take("b", TakeMode::kClaim, 0, taken.last).batch), ElementsAre(ids[2]));
  Takings same = Take("b", TakeMode::kClaimSame, 0, {}, 2);
  EXPECT_THAT(IdsOf(same.batch), ElementsAre(ids[0], ids[1]));
  EXPECT_EQ(same.attempts, taken.attempts) << "nobody was given them yet";
  EXPECT_THAT(Pending("a"), IsEmpty());
  EXPECT_THAT(Pending("b"), SizeIs(3));
  EXPECT_EQ(Take("c", TakeMode::kClaim, 3600000).batch, nullptr) << "taking over begins anew";
}

TEST_P(GroupContract, ClaimsAreOfWhatIsPending) {
  Create();
  std::vector<EntryId> ids = AddNumbered(3);
  Read("a", 2);
  Takings taken;
  EXPECT_DONE(groups_->Claim(kGroup, "b", 3600000, ids, &taken));
  EXPECT_EQ(taken.batch, nullptr) << "not idle for so long";
  EXPECT_DONE(groups_->Claim(kGroup, "b", 0, std::vector<EntryId>{ids[1], ids[2], {1, 1}}, &taken));
  EXPECT_THAT(IdsOf(taken.batch), ElementsAre(ids[1])) << "the others were never given";
  EXPECT_THAT(taken.attempts, ElementsAre(2));
  EXPECT_FALSE(taken.more);
  EXPECT_THAT(Pending("b"), SizeIs(1));
  EXPECT_DONE(groups_->Claim(kGroup, "b", 0, {}, &taken));
  EXPECT_EQ(taken.batch, nullptr);
}

TEST_P(GroupContract, PendingEntriesThatTheStreamLacksGo) {
  Create();
  std::vector<EntryId> ids = AddNumbered(4);
  Read("a");
  TrimRequest trim;
  trim.key = "s";
  trim.max_length = 1;
  uint64_t removed = 0;
  EXPECT_DONE(store_->Trim(trim, &removed));
  EXPECT_EQ(Summary().count, 4U);
  Takings claimed;
  EXPECT_DONE(groups_->Claim(kGroup, "b", 0, std::vector<EntryId>{ids[0]}, &claimed));
  EXPECT_EQ(claimed.batch, nullptr);
  EXPECT_EQ(claimed.gone, 1U);
  Takings taken = Take("a", TakeMode::kOwn);
  EXPECT_THAT(IdsOf(taken.batch), ElementsAre(ids[3]));
  EXPECT_EQ(taken.gone, 2U);
  EXPECT_EQ(Summary().count, 1U);
}

TEST_P(GroupContract, HoldingKeepsOthersAway) {
  Create();
  std::vector<EntryId> ids = AddNumbered(4);
  Read("a", 3);
  Read("b");
  AwaitIdle(ids[3], 20);
  std::vector<Held> held = {{ids[0], -1, false},
                            {ids[1], 7, false},
                            {ids[2], 0, false},
                            {ids[3], -1, true},
                            {{1, 1}, -1, true}};
  EXPECT_DONE(groups_->Hold(kGroup, "a", 0, held));
  EXPECT_TRUE(held[0].own && held[1].own && held[2].own);
  EXPECT_FALSE(held[3].own || held[4].own) << "another's, and nobody's";
  std::vector<PendingEntry> pending = Pending("a");
  ASSERT_THAT(pending, SizeIs(3));
  EXPECT_EQ(pending[0].attempts, 1);
  EXPECT_EQ(pending[1].attempts, 7);
  EXPECT_EQ(pending[2].attempts, 0);
  // And giving back: as if it had been idle for so long.
  held.resize(1);
  EXPECT_DONE(groups_->Hold(kGroup, "a", 3600000, held));
  EXPECT_THAT(IdsOf(Take("c", TakeMode::kClaim, 3600000).batch), ElementsAre(ids[0]));
}

TEST_P(GroupContract, PendingEntriesAreListedInRanges) {
  Create();
  std::vector<EntryId> ids = AddNumbered(5);
  Read("a", 3);
  Read("b");
  std::vector<PendingEntry> entries;
  EXPECT_DONE(groups_->PendingEntries({kGroup, {}, 0, {}, 2}, &entries));
  ASSERT_THAT(entries, SizeIs(2));
  EXPECT_EQ(entries[0].id, ids[0]);
  EXPECT_EQ(entries[0].consumer, "a");
  EXPECT_EQ(entries[0].attempts, 1);
  EXPECT_DONE(groups_->PendingEntries({kGroup, "b", 0, ids[3], 10}, &entries));
  ASSERT_THAT(entries, SizeIs(1));
  EXPECT_EQ(entries[0].id, ids[4]);
  EXPECT_DONE(groups_->PendingEntries({kGroup, {}, 3600000, {}, 10}, &entries));
  EXPECT_THAT(entries, IsEmpty());
}

// --- Facts, and the end of consumers and groups

TEST_P(GroupContract, FactsOfGroupsAndConsumers) {
  std::vector<EntryId> ids = AddNumbered(5);
  Create();
  Create(std::nullopt, {"s", "later"});
  Read("a", 2);
  Ack({ids[0]});
  Read("b", 1);
  std::vector<GroupFacts> all;
  EXPECT_DONE(groups_->ListGroups("s", &all));
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].name, "g");
  EXPECT_EQ(all[0].consumers, 2U);
  EXPECT_EQ(all[0].pending, 2U);
  EXPECT_EQ(all[0].last_delivered, ids[2]);
  EXPECT_EQ(all[0].lag, 2);
  EXPECT_EQ(all[1].name, "later");
  EXPECT_EQ(all[1].lag, 0);
  std::vector<ConsumerFacts> consumers;
  EXPECT_DONE(groups_->ListConsumers(kGroup, &consumers));
  ASSERT_THAT(consumers, SizeIs(2));
  EXPECT_EQ(consumers[0].name, "a");
  EXPECT_EQ(consumers[0].pending, 1U);
  EXPECT_GE(consumers[0].idle_ms, 0);
  StreamFacts facts;
  EXPECT_DONE(store_->Facts("s", "s:live", &facts));
  EXPECT_EQ(facts.groups, 2);
}

TEST_P(GroupContract, AConsumerThatAsksIsNotIdle) {
  Create();
  std::vector<EntryId> ids = AddNumbered(2);
  auto idle_ms = [&] {
    std::vector<ConsumerFacts> consumers;
    EXPECT_DONE(groups_->ListConsumers(kGroup, &consumers));
    return consumers.size() == 1 ? consumers[0].idle_ms : -1;
  };
  const std::function<void()> asks[] = {
      [&] { EXPECT_THAT(Read("a", 1), testing::NotNull()); },
      [&] { EXPECT_THAT(Read("a"), testing::NotNull()); },
      [&] { EXPECT_THAT(Take("a", TakeMode::kOwn).batch, testing::NotNull()); },
      [&] { EXPECT_THAT(Take("a", TakeMode::kClaim).batch, testing::NotNull()); },
      [&] {
        Takings taken;
        EXPECT_DONE(groups_->Claim(kGroup, "a", 0, ids, &taken));
        EXPECT_THAT(taken.batch, testing::NotNull());
      }};
  for (const auto& ask : asks) {
    auto start = std::chrono::steady_clock::now();
    ask();
    int64_t idle = idle_ms();
    auto took = std::chrono::steady_clock::now() - start;
    EXPECT_GE(idle, 0);
    EXPECT_LE(std::chrono::milliseconds(idle), took + std::chrono::milliseconds(2));
    EXPECT_TRUE(WaitUntil([&] { return idle_ms() > 200; }));
  }
}

TEST_P(GroupContract, TheLagIsKnownWhereEntriesWereDeleted) {
  std::vector<EntryId> ids = AddNumbered(6);
  Create(ids[1]);
  uint64_t count = 0;
  EXPECT_DONE(groups_->DeleteEntries("s", std::vector<EntryId>{ids[3]}, &count));
  EXPECT_EQ(count, 1U);
  std::vector<GroupFacts> all;
  EXPECT_DONE(groups_->ListGroups("s", &all));
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].lag, 3);
}

TEST_P(GroupContract, AConsumerGoesWithWhatIsPendingForIt) {
  Create();
  std::vector<EntryId> ids = AddNumbered(3);
  Read("a", 2);
  Read("b");
  uint64_t pending = 99;
  EXPECT_DONE(groups_->DeleteIdleConsumer(kGroup, "a"));
  EXPECT_THAT(Pending("a"), SizeIs(2)) << "it has something, and stays";
  EXPECT_DONE(groups_->DeleteConsumer(kGroup, "a", &pending));
  EXPECT_EQ(pending, 2U);
  EXPECT_DONE(groups_->DeleteConsumer(kGroup, "nobody", &pending));
  EXPECT_EQ(pending, 0U);
  EXPECT_EQ(Summary().count, 1U);
  Ack({ids[2]});
  EXPECT_DONE(groups_->DeleteIdleConsumer(kGroup, "b"));
  std::vector<ConsumerFacts> consumers;
  EXPECT_DONE(groups_->ListConsumers(kGroup, &consumers));
  EXPECT_THAT(consumers, IsEmpty());
}

TEST_P(GroupContract, AGroupIsMadeWithoutAStreamOnlyIfThatIsToBeMadeToo) {
  bool created = true;
  EXPECT_EQ(groups_->CreateGroup({kGroup, EntryId{}}, &created).code(), AGX_NONE);
  EXPECT_FALSE(created);
  StreamFacts facts;
  EXPECT_DONE(store_->Facts(kGroup.key, "none", &facts));
  EXPECT_FALSE(facts.exists);
  std::vector<EntryId> ids = AddNumbered(1);
  EXPECT_DONE(groups_->CreateGroup({kGroup, EntryId{}}, &created));
  EXPECT_TRUE(created);
  EXPECT_THAT(IdsOf(Read("a")), ElementsAre(ids[0]));
}

TEST_P(GroupContract, AGroupThatIsMadeAgainBeginsAnew) {
  Create();
  std::vector<EntryId> ids = AddNumbered(2);
  Read("a");
  EXPECT_DONE(groups_->DeleteGroup(kGroup));
  EXPECT_EQ(groups_->DeleteGroup(kGroup).code(), AGX_NONE);
  EXPECT_TRUE(Create(ids[0]));
  EXPECT_EQ(Summary().count, 0U);
  EXPECT_THAT(IdsOf(Read("a")), ElementsAre(ids[1]));
}

// --- Dead letters

TEST_P(GroupContract, ABurialIsACopyAndAnAcknowledgement) {
  Create();
  std::vector<EntryId> ids = AddNumbered(2);
  Read("a");
  EXPECT_TRUE(Bury("a", ids[0]));
  EXPECT_THAT(Stored("s:dlq"), ElementsAre("type=0 original_stream=s reason=why"));
  EXPECT_THAT(Pending(), SizeIs(1));
  EXPECT_FALSE(Bury("a", ids[0])) << "once";
  EXPECT_FALSE(Bury("b", ids[1])) << "another's";
  EXPECT_THAT(Stored("s:dlq"), SizeIs(1));
  EXPECT_THAT(Stored("s"), ElementsAre("type=0", "type=1")) << "the stream keeps it";
}

TEST_P(GroupContract, ABurialThatCannotBeChangesNothing) {
  std::string version;
  bool conflict = false;
  EXPECT_DONE(store_->PutText("s:dlq", "", "in the way", false, &version, &conflict));
  Create();
  EntryId id = Add("x");
  Read("a");
  bool done = false;
  EXPECT_EQ(groups_->Bury({kGroup, "a", id, "s:dlq", {}}, &done).code(), AGX_ETYPE);
  EXPECT_FALSE(done);
  EXPECT_THAT(Pending(), SizeIs(1));
}

TEST_P(GroupContract, AnEntryThatIsGoneIsBuriedWithoutALetter) {
  Create();
  EntryId id = Add("x");
  Read("a");
  uint64_t count = 0;
  EXPECT_DONE(groups_->DeleteEntries("s", std::vector<EntryId>{id}, &count));
  EXPECT_TRUE(Bury("a", id));
  EXPECT_THAT(Pending(), IsEmpty());
  EXPECT_THAT(Stored("s:dlq"), IsEmpty());
}

TEST_P(GroupContract, ARevivalMovesItBack) {
  Create();
  EntryId id = Add("x");
  Read("a");
  Bury("a", id);
  EntryId letter = StoredIds("s:dlq")[0];
  EntryId fresh;
  EXPECT_EQ(Revive(letter, &fresh), RevivalOutcome::kDone);
  EXPECT_GT(fresh, id);
  EXPECT_THAT(Stored("s"), ElementsAre("type=x", "type=x again=yes"));
  EXPECT_THAT(Stored("s:dlq"), IsEmpty());
  EXPECT_THAT(IdsOf(Read("a")), ElementsAre(fresh));
  EXPECT_EQ(Revive(letter, &fresh), RevivalOutcome::kAbsent);
}

TEST_P(GroupContract, ALetterOfAnotherStreamIsNotRevived) {
  Create();
  EntryId id = Add("x");
  Read("a");
  Bury("a", id);
  EntryId fresh;
  EXPECT_EQ(Revive(StoredIds("s:dlq")[0], &fresh, "other"), RevivalOutcome::kForeign);
  EXPECT_THAT(Stored("s:dlq"), SizeIs(1));
  EXPECT_THAT(Stored("s"), SizeIs(1));
}

TEST_P(GroupContract, ARevivalThatCannotBeLeavesTheLetter) {
  Create();
  EntryId id = Add("x");
  Read("a");
  Bury("a", id);
  bool there = false;
  DeleteRequest gone;
  gone.key = "s";
  gone.live_key = "s:live";
  gone.text_key = "s:messages";
  EXPECT_DONE(store_->Delete(gone, &there));
  std::string version;
  bool conflict = false;
  EXPECT_DONE(store_->PutText("s", "", "in the way", false, &version, &conflict));
  std::vector<EntryId> letters = StoredIds("s:dlq");
  ASSERT_THAT(letters, SizeIs(1));
  Revival revival{"s:dlq", letters[0], "s", {}, {}, {"original_stream", "s"}};
  RevivalOutcome outcome{};
  EntryId fresh;
  EXPECT_EQ(groups_->Revive(revival, &fresh, &outcome).code(), AGX_ETYPE);
  EXPECT_EQ(StoredIds("s:dlq"), letters);
  revival.from = "s";
  EXPECT_EQ(groups_->Revive(revival, &fresh, &outcome).code(), AGX_ETYPE) << "of no letters";
}

// An event that has a field of the same name keeps it.
TEST_P(GroupContract, ARevivalTakesAwayOnlyWhatABurialAdded) {
  Create();
  Field fields[] = {{"reason", "my own"}, {"type", "x"}};
  EntryId id;
  EXPECT_DONE(store_->Add("s", {fields, 2}, 0, &id));
  Read("a");
  Bury("a", id);
  EntryId fresh;
  EXPECT_EQ(Revive(StoredIds("s:dlq")[0], &fresh), RevivalOutcome::kDone);
  EXPECT_EQ(Stored("s").back(), "reason=my own type=x again=yes");
}

TEST_P(GroupContract, EntriesAreDeletedWhereverTheyStand) {
  std::vector<EntryId> ids = AddNumbered(4);
  uint64_t count = 0;
  EXPECT_DONE(
      groups_->DeleteEntries("s", std::vector<EntryId>{ids[1], ids[3], {1, 1}, ids[1]}, &count));
  EXPECT_EQ(count, 2U);
  EXPECT_THAT(StoredIds("s"), ElementsAre(ids[0], ids[2]));
  EXPECT_DONE(groups_->DeleteEntries("none", ids, &count));
  EXPECT_EQ(count, 0U);
}

TEST_P(GroupContract, ACursorBehindWhichEntriesWereDeletedHasAGap) {
  std::vector<EntryId> ids = AddNumbered(4);
  auto gap = [&](EntryId after) {
    ReadRequest request;
    request.key = "s";
    request.after = after;
    request.count = 10;
    EXPECT_DONE(store_->Read({&request, 1}));
    EXPECT_DONE(request.status);
    return request.gap;
  };
  uint64_t count = 0;
  EXPECT_DONE(groups_->DeleteEntries("s", std::vector<EntryId>{ids[0]}, &count));
  if (GetParam().exact_gaps) {
    EXPECT_FALSE(gap(ids[0]));
  }
  EXPECT_DONE(groups_->DeleteEntries("s", std::vector<EntryId>{ids[1]}, &count));
  EXPECT_TRUE(gap(ids[0]));
  EXPECT_FALSE(gap(ids[2]));
  EXPECT_FALSE(gap({})) << "from the beginning there is none";
}

TEST_P(GroupContract, AClosedStoreSaysSo) {
  Create();
  store_->Close();
  BatchPtr batch;
  EXPECT_EQ(groups_->ReadNew({kGroup, "a", 1, false}, &batch).code(), AGX_ECLOSED);
  Takings taken;
  EXPECT_EQ(groups_->Take({kGroup, "a", TakeMode::kOwn, 0, {}, 1}, &taken).code(), AGX_ECLOSED);
  uint64_t count = 0;
  std::vector<EntryId> ids = {{1, 1}};
  EXPECT_EQ(groups_->Acknowledge(kGroup, ids, &count).code(), AGX_ECLOSED);
}

AGX_ON_BOTH_STORES(GroupContract);

}  // namespace
}  // namespace agx::test
