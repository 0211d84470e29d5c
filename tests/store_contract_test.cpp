// ctest-labels: redis threads
// ctest-timeout: 120
// What every store promises, whatever is behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
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

constexpr int64_t kLong = 60000;
constexpr int64_t kShort = 120;

// An entry to add: "type", and "body" unless it is empty.
struct Event {
  Event(std::string_view type, std::string_view body = {})  // NOLINT: implicit, for brevity
      : fields{{"type", type}, {"body", body}}, count(body.empty() ? 1 : 2) {}
  operator NewEntry() const { return {fields, count}; }  // NOLINT: the same

  Field fields[2];
  size_t count;
};

std::vector<const Entry*> Entries(const ReadRequest& read) { return EntriesIn(read.batch); }
std::vector<std::string> Texts(const ReadRequest& read) { return TextsOf(read.batch); }
std::vector<EntryId> Ids(const ReadRequest& read) { return IdsOf(read.batch); }

// An element to add.
struct Element {
  explicit Element(std::string_view text) : field{kElement, text} {}
  operator NewEntry() const { return {&field, 1}; }  // NOLINT: the same

  Field field;
};

// Runs `body(i)` in so many threads, which begin together.
template <class Body>
void InThreads(int count, Body body) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < count) std::this_thread::yield();
      body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class StoreContract : public testing::TestWithParam<StoreCase> {
 protected:
  void SetUp() override {
    backend_ = GetParam().make();
    store_ = backend_->Open();
  }
  void TearDown() override { store_.reset(); }

  EntryId Add(std::string_view key, NewEntry entry, uint64_t max_length = 0) {
    EntryId id;
    Status status = store_->Add(key, entry, max_length, &id);
    EXPECT_TRUE(status.ok()) << status.message();
    return id;
  }

  ReadRequest Read(std::string_view key, EntryId after = {}, size_t count = 100000,
                   std::string_view live_key = {}) {
    ReadRequest request;
    request.key = key;
    request.live_key = live_key;
    request.after = after;
    request.count = count;
    Status status = store_->Read({&request, 1});
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(request.status.ok()) << request.status.message();
    return request;
  }
  std::vector<std::string> ReadTexts(std::string_view key) { return Texts(Read(key)); }
  bool Exists(std::string_view key) { return Read(key).exists; }

  StartRequest StartOf(std::string_view token, int64_t lease_ms = kLong) {
    StartRequest request;
    request.key = "s";
    request.live_key = "s:live";
    request.token = token;
    request.lease_ms = lease_ms;
    request.begin = begin_;
    return request;
  }
  StartOutcome Start(const StartRequest& request) {
    StartOutcome outcome{};
    Status status = store_->Start(request, &outcome);
    EXPECT_TRUE(status.ok()) << status.message();
    return outcome;
  }
  StartOutcome Start(std::string_view token, int64_t lease_ms = kLong) {
    return Start(StartOf(token, lease_ms));
  }
  // The other session, with the same times, by whose end one knows that the time has passed.
  void StartControl(int64_t lease_ms, int64_t expire_ms = 0) {
    StartRequest request = StartOf("control", lease_ms);
    request.key = "control";
    request.live_key = "control:live";
    request.expire_ms = expire_ms;
    ASSERT_EQ(Start(request), StartOutcome::kStarted);
  }

  StopRequest StopOf(std::string_view token, int64_t grace_ms = kLong) {
    StopRequest request;
    request.key = "s";
    request.live_key = "s:live";
    request.token = token;
    request.grace_ms = grace_ms;
    request.end = end_;
    request.end_marks = {end_.fields, 1};
    return request;
  }
  StopOutcome Stop(const StopRequest& request) {
    StopOutcome outcome{};
    Status status = store_->Stop(request, &outcome);
    EXPECT_TRUE(status.ok()) << status.message();
    return outcome;
  }
  StopOutcome Stop(std::string_view token, int64_t grace_ms = kLong) {
    return Stop(StopOf(token, grace_ms));
  }

  bool Cancel(std::string_view live_key) {
    bool was_live = false;
    Status status = store_->Cancel(live_key, &was_live);
    EXPECT_TRUE(status.ok()) << status.message();
    return was_live;
  }
  LiveFlag Live(std::string_view live_key) {
    LiveFlag flag;
    Status status = store_->Live(live_key, &flag);
    EXPECT_TRUE(status.ok()) << status.message();
    return flag;
  }
  EntryId LastId(std::string_view key) {
    EntryId id{1, 1};
    Status status = store_->LastId(key, &id);
    EXPECT_TRUE(status.ok()) << status.message();
    return id;
  }

  Lease LeaseOf(std::string_view token, int64_t lease_ms = kLong, int64_t expire_ms = 0) {
    return {"s", "s:live", token, lease_ms, expire_ms, LeaseState::kUnknown};
  }
  LeaseState Renew(Lease lease) {
    Status status = store_->Renew({&lease, 1});
    EXPECT_TRUE(status.ok()) << status.message();
    return lease.state;
  }
  LeaseState Check(Lease lease) {
    Status status = store_->Check({&lease, 1});
    EXPECT_TRUE(status.ok()) << status.message();
    return lease.state;
  }

  std::multiset<std::string> Scan(std::string_view prefix, std::string_view suffix) {
    std::multiset<std::string> found;
    std::string cursor = "0";
    do {
      std::vector<std::string> keys;
      Status status = store_->Scan(prefix, suffix, &cursor, &keys);
      EXPECT_TRUE(status.ok()) << status.message();
      if (!status.ok()) break;
      found.insert(keys.begin(), keys.end());
    } while (cursor != "0");
    return found;
  }

  std::vector<EntryId> AddNumbered(std::string_view key, int count) {
    std::vector<EntryId> ids;
    for (int i = 0; i < count; ++i) ids.push_back(Add(key, Event(std::to_string(i))));
    return ids;
  }
  // The types of its entries.
  std::vector<std::string> Range(const RangeRequest& request) {
    BatchPtr batch;
    Status status = store_->Range(request, &batch);
    EXPECT_TRUE(status.ok()) << status.message();
    std::vector<std::string> types;
    for (Entry* e = batch ? batch->first() : nullptr; e != nullptr; e = e->next) {
      types.emplace_back(e->fields[0].value);
    }
    return types;
  }
  StreamFacts Facts(const std::string& key) {
    StreamFacts facts;
    Status status = store_->Facts(key, key + ":live", &facts);
    EXPECT_TRUE(status.ok()) << status.message();
    return facts;
  }
  uint64_t Trim(const TrimRequest& request) {
    uint64_t removed = 99;
    Status status = store_->Trim(request, &removed);
    EXPECT_TRUE(status.ok()) << status.message();
    return removed;
  }
  uint64_t Trim(std::string_view key, uint64_t max_length) {
    return Trim(TrimRequest{key, max_length, {}});
  }
  uint64_t TrimBefore(std::string_view key, EntryId before) {
    return Trim(TrimRequest{key, {}, before});
  }
  DeleteRequest DeleteOf(std::string_view token) {
    return {"s", "s:live", "s:messages", token, end_};
  }
  bool Delete(std::string_view token) {
    bool was_there = false;
    Status status = store_->Delete(DeleteOf(token), &was_there);
    EXPECT_TRUE(status.ok()) << status.message();
    return was_there;
  }
  void Put(std::string_view key, std::string_view text) {
    std::string version;
    bool conflict = false;
    Status status = store_->PutText(key, {}, text, false, &version, &conflict);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_FALSE(conflict);
  }

  void StartFlag(std::string_view live_key) {
    StartRequest request = StartOf("t");
    std::string key = Cat("stream of ", live_key);
    request.key = key;
    request.live_key = live_key;
    EXPECT_EQ(Start(request), StartOutcome::kStarted);
  }

  // Of a list of ag2's kind.
  Target ListAt(std::string_view key) {
    Target target{key};
    target.list = true;
    target.channel = "channel";
    return target;
  }
  EntryId Push(std::string_view element, std::string_view key = "l") {
    EntryId id;
    EXPECT_DONE(store_->Add(ListAt(key), Element(element), &id));
    return id;
  }
  ReadRequest ReadList(EntryId after = {}, size_t count = 1000, std::string_view key = "l") {
    ReadRequest request;
    request.key = key;
    request.list = true;
    request.after = after;
    request.count = count;
    EXPECT_DONE(store_->Read({&request, 1}));
    EXPECT_DONE(request.status);
    return request;
  }
  StreamFacts FactsOfList(const std::string& key = "l") {
    StreamFacts facts;
    EXPECT_DONE(store_->ListFacts(key, key + ":live", &facts));
    return facts;
  }
  uint64_t Replace(const Target& target, const std::vector<NewEntry>& entries) {
    uint64_t removed = 99;
    EXPECT_DONE(store_->Replace(target, entries, &removed));
    return removed;
  }
  CheckedOutcome AddChecked(const Target& target, const std::vector<NewEntry>& entries,
                            std::string_view expected, std::string_view reached) {
    CheckedOutcome outcome{};
    EXPECT_DONE(store_->AddChecked(target, entries, {"a", expected, reached}, &outcome));
    return outcome;
  }
  std::string CheckpointOf(std::string_view stream_key, std::string_view name = "a") {
    std::string position;
    EXPECT_DONE(store_->GetCheckpoint(stream_key, name, &position));
    return position;
  }

  Event begin_{"begin", "{}"};
  Event end_{"end"};
  std::unique_ptr<StoreBackend> backend_;
  std::shared_ptr<Store> store_;
};

// --- Entries -----------------------------------------------------------------------------------

TEST_P(StoreContract, EntriesAreReadAsAndInTheOrderTheyWereAdded) {
  EntryId first = Add("s", Event("a", "1"));
  EntryId second = Add("s", Event("b"));
  EXPECT_LT(EntryId{}, first);
  EXPECT_LT(first, second);

  ReadRequest read = Read("s");
  EXPECT_TRUE(read.exists);
  EXPECT_FALSE(read.gap);
  EXPECT_THAT(Texts(read), ElementsAre("type=a body=1", "type=b"));
  EXPECT_THAT(Ids(read), ElementsAre(first, second));
}

TEST_P(StoreContract, IdsTellTheTimeAndIncreaseWithinAMillisecond) {
  EntryId last;
  for (int i = 0; i < 3000; ++i) {
    EntryId id = Add("s", Event("x"));
    ASSERT_LT(last, id);
    last = id;
  }
  int64_t off = WallMillis() - static_cast<int64_t>(last.ms);
  EXPECT_LT(std::abs(off), 60000);
  EXPECT_EQ(LastId("s"), last);
}

TEST_P(StoreContract, TextsOfAnEntryEndWithANulAndItsIdIsPrinted) {
  EntryId id = Add("s", Event("type", "body"));
  ReadRequest read = Read("s");
  ASSERT_EQ(Entries(read).size(), 1U);
  const Entry& entry = *Entries(read)[0];
  char printed[42];
  PrintEntryId(id, printed);
  EXPECT_STREQ(entry.id_text.data(), printed);
  EXPECT_EQ(entry.id_text, printed);
  EXPECT_STREQ(entry.fields[0].name.data(), "type");
  EXPECT_STREQ(entry.fields[0].value.data(), "type");
  EXPECT_STREQ(entry.fields[1].value.data(), "body");
}

TEST_P(StoreContract, AnyBytesCanBeInAnEntryAndInAKey) {
  using namespace std::string_view_literals;
  const std::vector<std::string_view> texts = {""sv,   "\0"sv,       "a\0b\0"sv,           "\r\n"sv,
                                               "$5"sv, "\xff\xfe"sv, "\xf0\x9f\x98\x80"sv, " "sv};
  for (std::string_view text : texts) {
    std::string key = Cat("key ", text);
    Field fields[3] = {{text, "value"}, {"name", text}, {text, text}};
    EntryId id;
    ASSERT_TRUE(store_->Add(key, {fields, 3}, 0, &id).ok());
    ReadRequest read = Read(key);
    ASSERT_EQ(Entries(read).size(), 1U);
    const Entry& entry = *Entries(read)[0];
    ASSERT_EQ(entry.field_count, 3U);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(entry.fields[i].name, fields[i].name);
      EXPECT_EQ(entry.fields[i].value, fields[i].value);
    }
  }
}

TEST_P(StoreContract, AValueCanBe64MiB) {
  std::string body(size_t{64} << 20, 'x');
  body.back() = 'y';
  Add("s", Event("before"));
  Add("s", Event("large", body));
  Add("s", Event("after"));
  ReadRequest read = Read("s");
  ASSERT_EQ(Entries(read).size(), 3U);
  EXPECT_TRUE(Entries(read)[1]->fields[1].value == body);
  EXPECT_EQ(TextOf(*Entries(read)[2]), "type=after");
}

TEST_P(StoreContract, AddManyAddsInOrder) {
  std::vector<std::string> bodies;
  std::vector<Event> events;
  for (int i = 0; i < 1500; ++i) bodies.push_back(std::to_string(i));
  events.reserve(bodies.size());
  for (const std::string& body : bodies) events.emplace_back("e", body);
  std::vector<NewEntry> entries(events.begin(), events.end());
  std::vector<EntryId> ids(entries.size());
  size_t added = 0;
  ASSERT_TRUE(store_->AddMany("s", entries, 0, ids.data(), &added).ok());
  EXPECT_EQ(added, entries.size());
  ReadRequest read = Read("s");
  EXPECT_EQ(Ids(read), ids);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  ASSERT_EQ(Entries(read).size(), bodies.size());
  for (size_t i = 0; i < bodies.size(); ++i) {
    ASSERT_EQ(Entries(read)[i]->fields[1].value, bodies[i]);
  }
}

TEST_P(StoreContract, AddManyTakesNoneAndNeedsNoRoomForIds) {
  size_t added = 7;
  EXPECT_TRUE(store_->AddMany("s", {}, 0, nullptr, &added).ok());
  EXPECT_EQ(added, 0U);
  EXPECT_FALSE(Exists("s"));
  std::vector<NewEntry> entries = {begin_, end_};
  EXPECT_TRUE(store_->AddMany("s", entries, 0, nullptr, &added).ok());
  EXPECT_EQ(added, 2U);
  EXPECT_THAT(ReadTexts("s"), SizeIs(2));
}

TEST_P(StoreContract, ReadsFromEveryPositionAndAsManyAsAsked) {
  std::vector<EntryId> ids;
  for (int i = 0; i < 13; ++i) ids.push_back(Add("s", Event("e")));
  std::vector<EntryId> cursors = {EntryId{}, kLastEntryId, {ids.back().ms, ids.back().seq + 1}};
  cursors.insert(cursors.end(), ids.begin(), ids.end());
  for (EntryId after : cursors) {
    for (size_t count : {1U, 2U, 12U, 13U, 14U, 1000U}) {
      auto first = std::upper_bound(ids.begin(), ids.end(), after);
      auto size = std::min<size_t>(count, static_cast<size_t>(ids.end() - first));
      std::vector<EntryId> expected(first, first + static_cast<std::ptrdiff_t>(size));
      ReadRequest read = Read("s", after, count);
      EXPECT_EQ(Ids(read), expected) << after.ms << '-' << after.seq << " count " << count;
      EXPECT_FALSE(read.gap);
      EXPECT_TRUE(read.exists);
    }
  }
}

TEST_P(StoreContract, ARequestMayAskForTheLastEntryToo) {
  std::vector<EntryId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(Add("s", Event("e")));
  Add("t", Event("e"));
  StartRequest start;
  start.key = "t";
  start.live_key = "t:live";
  start.token = "me";
  start.lease_ms = kLong;
  start.mode = StartMode::kContinue;
  ASSERT_EQ(Start(start), StartOutcome::kTakenOver);
  std::vector<ReadRequest> requests(4);
  for (ReadRequest& request : requests) request.count = 2;
  requests[0].key = "s";
  requests[0].after = ids[2];
  requests[0].want_last = true;
  requests[1].key = "t";
  requests[1].live_key = "t:live";
  requests[1].want_last = true;
  requests[2].key = "none";
  requests[2].want_last = true;
  requests[3].key = "s";
  ASSERT_TRUE(store_->Read(requests).ok());
  EXPECT_THAT(IdsOf(requests[0].last), ElementsAre(ids[2]));
  EXPECT_THAT(Ids(requests[0]), IsEmpty());
  EXPECT_THAT(TextsOf(requests[1].last), SizeIs(1));
  EXPECT_TRUE(requests[1].live.present);
  EXPECT_EQ(requests[2].last, nullptr);
  EXPECT_EQ(requests[3].last, nullptr);
  EXPECT_THAT(Ids(requests[3]), ElementsAre(ids[0], ids[1]));
}

TEST_P(StoreContract, ReadsOnFromWhereABatchEnded) {
  constexpr size_t kEntries = 5000;
  std::string body(100, 'b');
  std::vector<Event> events(kEntries, Event("e", body));
  std::vector<NewEntry> entries(events.begin(), events.end());
  std::vector<EntryId> ids(kEntries);
  size_t added = 0;
  ASSERT_TRUE(store_->AddMany("s", entries, 0, ids.data(), &added).ok());
  std::vector<EntryId> got;
  EntryId after;
  for (;;) {
    ReadRequest read = Read("s", after, 499);
    if (Entries(read).empty()) break;
    for (EntryId id : Ids(read)) got.push_back(id);
    after = got.back();
  }
  EXPECT_EQ(got, ids);
}

TEST_P(StoreContract, AStreamThatIsNotThereReadsAsNothing) {
  ReadRequest read = Read("none");
  EXPECT_FALSE(read.exists);
  EXPECT_FALSE(read.gap);
  EXPECT_THAT(Texts(read), IsEmpty());
  EXPECT_EQ(LastId("none"), EntryId{});
  EXPECT_FALSE(Exists("none")) << "looking made it";
}

TEST_P(StoreContract, ReadsManyKeysAtOnceEachFromItsCursor) {
  std::vector<std::string> keys;
  std::vector<EntryId> cursors;
  for (size_t i = 0; i < 300; ++i) {
    keys.push_back(Cat("s", i));
    cursors.emplace_back();
    if (i % 3 == 0) continue;
    Add(keys[i], Event("first", keys[i]));
    if (i % 3 == 2) cursors[i] = LastId(keys[i]);
    Add(keys[i], Event("second", keys[i]));
  }
  StartFlag("live");
  std::vector<ReadRequest> reads(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    reads[i].key = keys[i];
    reads[i].after = cursors[i];
    reads[i].count = 10;
    if (i % 2 == 1) reads[i].live_key = i % 4 == 1 ? "live" : "not live";
  }
  ASSERT_TRUE(store_->Read(reads).ok());
  for (size_t i = 0; i < keys.size(); ++i) {
    std::vector<std::string> expected;
    if (i % 3 == 1) expected.push_back(Cat("type=first body=", keys[i]));
    if (i % 3 != 0) expected.push_back(Cat("type=second body=", keys[i]));
    EXPECT_EQ(Texts(reads[i]), expected);
    EXPECT_EQ(reads[i].exists, i % 3 != 0);
    EXPECT_EQ(reads[i].live.present, i % 4 == 1);
    EXPECT_TRUE(reads[i].status.ok());
  }
}

TEST_P(StoreContract, ARequestCanBeUsedAgain) {
  EntryId first = Add("s", Event("a"));
  ReadRequest read = Read("s");
  ASSERT_THAT(Texts(read), SizeIs(1));
  read.after = first;
  ASSERT_TRUE(store_->Read({&read, 1}).ok());
  EXPECT_THAT(Texts(read), IsEmpty());
  Add("s", Event("b"));
  ASSERT_TRUE(store_->Read({&read, 1}).ok());
  EXPECT_THAT(Texts(read), ElementsAre("type=b"));
}

TEST_P(StoreContract, ClientsShareTheData) {
  std::shared_ptr<Store> other = backend_->Open();
  EntryId id;
  ASSERT_TRUE(other->Add("s", Event("e"), 0, &id).ok());
  EXPECT_THAT(Ids(Read("s")), ElementsAre(id));
  EXPECT_LT(id, Add("s", Event("e")));
}

TEST_P(StoreContract, ManyThreadsAddAndEachFindsItsOwnInOrder) {
  constexpr int kThreads = 8;
  constexpr int kEach = 200;
  std::vector<std::vector<EntryId>> ids(kThreads);
  InThreads(kThreads, [&](int thread) {
    std::string name = std::to_string(thread);
    for (int i = 0; i < kEach; ++i)
      ids[static_cast<size_t>(thread)].push_back(Add("s", Event(name)));
  });
  ReadRequest read = Read("s");
  std::vector<std::vector<EntryId>> found(kThreads);
  EntryId last;
  for (const Entry* entry : Entries(read)) {
    EXPECT_LT(last, entry->id);
    last = entry->id;
    found[static_cast<size_t>(std::stoi(std::string(entry->fields[0].value)))].push_back(last);
  }
  EXPECT_EQ(found, ids);
}

// --- Trimming and gaps -------------------------------------------------------------------------

TEST_P(StoreContract, MaxLengthKeepsTheNewest) {
  constexpr size_t kEntries = 5000;
  constexpr size_t kMax = 500;
  std::vector<EntryId> ids;
  for (size_t i = 0; i < kEntries; ++i) ids.push_back(Add("s", Event("e"), kMax));
  std::vector<EntryId> kept = Ids(Read("s"));
  ASSERT_GE(kept.size(), kMax);
  EXPECT_LT(kept.size(), kMax + 500) << "approximately";
  EXPECT_TRUE(std::equal(kept.rbegin(), kept.rend(), ids.rbegin()));
  EXPECT_EQ(LastId("s"), ids.back());
}

TEST_P(StoreContract, MaxLengthHoldsForAddMany) {
  std::vector<NewEntry> entries(3000, begin_);
  size_t added = 0;
  ASSERT_TRUE(store_->AddMany("s", entries, 100, nullptr, &added).ok());
  EXPECT_EQ(added, 3000U);
  EXPECT_THAT(ReadTexts("s"), SizeIs(testing::AllOf(testing::Ge(100U), testing::Lt(600U))));
}

TEST_P(StoreContract, ACursorBehindWhatWasTrimmedHasAGap) {
  std::vector<EntryId> ids;
  for (size_t i = 0; i < 2000; ++i) ids.push_back(Add("s", Event("e"), 300));
  size_t kept = Ids(Read("s")).size();
  ASSERT_LT(kept, ids.size());
  size_t dropped = ids.size() - kept;
  EXPECT_FALSE(Read("s").gap) << "from the beginning there is none";
  for (size_t i = 0; i < ids.size(); i += 50) {
    if (i + 1 == dropped) continue;
    ReadRequest read = Read("s", ids[i], 1);
    EXPECT_EQ(read.gap, i + 1 < dropped) << i << " of " << dropped << " dropped";
    EXPECT_TRUE(read.exists);
  }
  EXPECT_TRUE(Read("s", {1, 0}).gap);
  EXPECT_TRUE(Read("s", ids[dropped - 2]).gap);
  EXPECT_FALSE(Read("s", ids[dropped]).gap);
  EXPECT_FALSE(Read("s", ids.back()).gap);
  if (GetParam().exact_gaps) {
    EXPECT_FALSE(Read("s", ids[dropped - 1]).gap);
  }
}

TEST_P(StoreContract, AnUntouchedStreamHasNoGapBetweenItsEntries) {
  EntryId first = Add("s", Event("a"));
  ASSERT_TRUE(WaitUntil([&] { return Add("s", Event("b")).ms > first.ms; }));
  EXPECT_FALSE(Read("s", {first.ms, first.seq + 1000}).gap) << "an id that no entry has";
}

TEST_P(StoreContract, ACursorIntoWhatARestartDroppedHasAGap) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EntryId begin = LastId("s");
  EntryId middle = Add("s", Event("e"));
  ASSERT_EQ(Stop("one"), StopOutcome::kStopped);
  ASSERT_EQ(Start("two"), StartOutcome::kStarted);
  EXPECT_TRUE(Read("s", begin).gap);
  EXPECT_TRUE(Read("s", middle).gap);
  EXPECT_FALSE(Read("s").gap);
  EXPECT_FALSE(Read("s", LastId("s")).gap);
}

TEST_P(StoreContract, ACursorIntoAStreamThatIsGoneHasAGap) {
  Add("s", Event("a"));
  EntryId cursor = LastId("s");
  Add("s", Event("b"));
  ASSERT_EQ(Stop("", 0), StopOutcome::kStopped);
  ReadRequest read = Read("s", cursor);
  EXPECT_FALSE(read.exists);
  EXPECT_TRUE(read.gap);
  EXPECT_FALSE(Read("s").gap);
}

TEST_P(StoreContract, NothingIsAddedToWhatIsToBeThereAndIsNot) {
  Event one("one");
  NewEntry entries[] = {one, one};
  for (bool expires : {false, true}) {
    for (uint64_t max_length : {0U, 5U}) {
      Target target{.key = "s", .max_length = max_length};
      target.expire_ms = expires ? kLong : 0;
      target.existing = true;
      auto add = [&] {
        EntryId id;
        return store_->Add(target, one, &id).code();
      };
      auto add_many = [&] {
        EntryId ids[2];
        size_t added = 9;
        Status status = store_->AddMany(target, entries, ids, &added);
        EXPECT_EQ(added, status.ok() ? 2U : 0U);
        return status.code();
      };
      auto add_checked = [&] {
        CheckedOutcome outcome{};
        Status status = store_->AddChecked(target, entries, {"a", "", "1"}, &outcome);
        EXPECT_EQ(outcome, CheckedOutcome::kAdded);
        return status.code();
      };
      auto replace = [&] {
        uint64_t removed = 0;
        return store_->Replace(target, entries, &removed).code();
      };
      EXPECT_EQ(add(), AGX_NONE);
      EXPECT_EQ(add_many(), AGX_NONE);
      EXPECT_EQ(add_checked(), AGX_NONE);
      EXPECT_EQ(replace(), AGX_NONE);
      StreamFacts facts;
      ASSERT_TRUE(store_->Facts("s", "s:live", &facts).ok());
      EXPECT_FALSE(facts.exists);
      EXPECT_EQ(CheckpointOf("s"), "");

      // One that is empty is there.
      Add("s", one);
      uint64_t removed = 0;
      ASSERT_TRUE(store_->Replace({.key = "s"}, {}, &removed).ok());
      EXPECT_EQ(add(), AGX_OK);
      EXPECT_EQ(add_many(), AGX_OK);
      EXPECT_EQ(add_checked(), AGX_OK);
      EXPECT_EQ(replace(), AGX_OK);
      bool was_there = false;
      DeleteRequest request;
      request.key = "s";
      request.live_key = "s:live";
      request.text_key = "s:messages";
      ASSERT_TRUE(store_->Delete(request, &was_there).ok());
    }
  }
}

TEST_P(StoreContract, AnEmptyListIsThereWhileItsFlagIs) {
  Event one("one");
  NewEntry entry = one;
  Target target{.key = "l", .list = true, .channel = "c"};
  target.existing = true;
  target.live_key = "l:live";
  EntryId id;
  size_t added = 9;
  uint64_t removed = 0;
  CheckedOutcome outcome{};
  EXPECT_EQ(store_->Add(target, entry, &id).code(), AGX_NONE);
  EXPECT_EQ(store_->AddMany(target, {&entry, 1}, nullptr, &added).code(), AGX_NONE);
  EXPECT_EQ(added, 0U);
  EXPECT_EQ(store_->AddChecked(target, {&entry, 1}, {"a", "", "1"}, &outcome).code(), AGX_NONE);
  EXPECT_EQ(store_->Replace(target, {&entry, 1}, &removed).code(), AGX_NONE);
  StartRequest request;
  request.key = "l";
  request.live_key = "l:live";
  request.token = "t";
  request.lease_ms = kLong;
  request.keep = request.list = true;
  StartOutcome started = StartOutcome::kBusy;
  ASSERT_TRUE(store_->Start(request, &started).ok());
  EXPECT_EQ(store_->Add(target, entry, &id).code(), AGX_OK);
  EXPECT_EQ(store_->Replace(target, {}, &removed).code(), AGX_OK);
  EXPECT_EQ(store_->AddChecked(target, {&entry, 1}, {"a", "", "1"}, &outcome).code(), AGX_OK);
  bool was_live = false;
  ASSERT_TRUE(store_->Cancel("l:live", &was_live).ok());
  EXPECT_EQ(store_->Add(target, entry, &id).code(), AGX_OK) << "the list is there";
}

TEST_P(StoreContract, ACursorIntoAStreamThatWasReplacedHasAGap) {
  Add("s", Event("a"));
  EntryId cursor = LastId("s");
  Add("s", Event("b"));
  ASSERT_EQ(Stop("", 0), StopOutcome::kStopped);
  // Within the same millisecond a new stream may give out the old one's ids again.
  ASSERT_TRUE(WaitUntil([&] { return WallMillis() > static_cast<int64_t>(cursor.ms); }));
  Add("s", Event("c"));
  EXPECT_TRUE(Read("s", cursor).gap) << "b was dropped";
  EXPECT_FALSE(Read("s").gap);
}

// --- Start, stop, cancel -----------------------------------------------------------------------

TEST_P(StoreContract, StartSetsTheFlagAndAddsBegin) {
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
  LiveFlag flag = Live("s:live");
  EXPECT_TRUE(flag.present);
  EXPECT_GT(flag.ttl_ms, kLong / 2);
  EXPECT_LE(flag.ttl_ms, kLong);
  ReadRequest read = Read("s", {}, 1, "s:live");
  EXPECT_TRUE(read.live.present);
  EXPECT_GT(read.live.ttl_ms, kLong / 2);
}

TEST_P(StoreContract, StartOfALiveSessionIsBusyAndChangesNothing) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  StartRequest second = StartOf("two");
  EXPECT_EQ(Start(second), StartOutcome::kBusy);
  second.mode = StartMode::kResume;
  EXPECT_EQ(Start(second), StartOutcome::kBusy);
  EXPECT_THAT(ReadTexts("s"), SizeIs(1));
  EXPECT_EQ(Renew(LeaseOf("one")), LeaseState::kOwn);
}

TEST_P(StoreContract, AStartThatIsRepeatedWithItsTokenLeavesTheStream) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Add("s", Event("e"));
  EXPECT_EQ(Start("one"), StartOutcome::kTakenOver);
  EXPECT_THAT(ReadTexts("s"), SizeIs(2));
}

TEST_P(StoreContract, AFreshStartDropsTheOldStreamAndItsExpiry) {
  StartControl(kLong);
  StopRequest stop_control = StopOf("control", kShort);
  stop_control.key = "control";
  stop_control.live_key = "control:live";
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Add("s", Event("old"));
  EntryId old = LastId("s");
  ASSERT_EQ(Stop("one", kShort), StopOutcome::kStopped);
  ASSERT_EQ(Start("two"), StartOutcome::kStarted);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
  EXPECT_LT(old, LastId("s")) << "ids go on increasing";

  ASSERT_EQ(Stop(stop_control), StopOutcome::kStopped);
  ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
  EXPECT_TRUE(Exists("s"));
}

TEST_P(StoreContract, AnAbandonedStreamExpiresIfToldTo) {
  StartRequest request = StartOf("one", kShort);
  request.expire_ms = kShort;
  ASSERT_EQ(Start(request), StartOutcome::kStarted);
  EXPECT_TRUE(Exists("s"));
  ASSERT_TRUE(WaitUntil([&] { return !Live("s:live").present; }));
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
}

TEST_P(StoreContract, AnAbandonedStreamStaysUnlessToldTo) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  StartControl(kShort, kShort);
  ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_TRUE(Exists("s"));
}

TEST_P(StoreContract, TakeOverOfALiveSessionLeavesItsStream) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Add("s", Event("e"));
  StartRequest second = StartOf("two");
  second.mode = StartMode::kTakeOver;
  EXPECT_EQ(Start(second), StartOutcome::kTakenOver);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}", "type=e"));
  EXPECT_EQ(Renew(LeaseOf("one")), LeaseState::kOther);
  EXPECT_EQ(Renew(LeaseOf("two")), LeaseState::kOwn);
}

TEST_P(StoreContract, TakeOverOfASessionThatIsNotLiveBeginsIt) {
  Add("s", Event("old"));
  StartRequest request = StartOf("one");
  request.mode = StartMode::kTakeOver;
  EXPECT_EQ(Start(request), StartOutcome::kStarted);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
}

TEST_P(StoreContract, TakeOverClearsTheStreamsExpiry) {
  StartRequest first = StartOf("one", kShort);
  first.expire_ms = kShort;
  ASSERT_EQ(Start(first), StartOutcome::kStarted);
  StartRequest second = StartOf("two");
  second.mode = StartMode::kTakeOver;
  ASSERT_EQ(Start(second), StartOutcome::kTakenOver);
  StartControl(kShort, kShort);
  ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
  EXPECT_TRUE(Exists("s"));
  EXPECT_TRUE(Live("s:live").present);
}

TEST_P(StoreContract, ResumeTakesBackAFlagThatRanOut) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Add("s", Event("e"));
  ASSERT_TRUE(Cancel("s:live"));
  StartRequest again = StartOf("two");
  again.mode = StartMode::kResume;
  EXPECT_EQ(Start(again), StartOutcome::kTakenOver);
  EXPECT_THAT(ReadTexts("s"), SizeIs(2));
  EXPECT_EQ(Check(LeaseOf("two")), LeaseState::kOwn);

  ASSERT_EQ(Stop("two", 0), StopOutcome::kStopped);
  EXPECT_EQ(Start(again), StartOutcome::kStarted) << "there is no stream";
  EXPECT_THAT(ReadTexts("s"), SizeIs(1));
}

TEST_P(StoreContract, StopAddsEndDeletesTheFlagAndLetsTheStreamExpire) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_EQ(Stop("one", 2 * kShort), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}", "type=end"));
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
}

TEST_P(StoreContract, StopWithoutGraceRemovesTheStreamAtOnce) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_EQ(Stop("one", 0), StopOutcome::kStopped);
  EXPECT_FALSE(Exists("s"));
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_EQ(LastId("s"), EntryId{});
}

TEST_P(StoreContract, StopOfWhatIsNotThereSaysSo) {
  EXPECT_EQ(Stop(""), StopOutcome::kAbsent);
  EXPECT_EQ(Stop("one"), StopOutcome::kAbsent);
  EXPECT_FALSE(Exists("s"));
}

TEST_P(StoreContract, StopOfAStreamWithoutAFlagEndsIt) {
  Add("s", Event("e"));
  EXPECT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=e", "type=end"));
}

TEST_P(StoreContract, StopOfAFlagWithoutAStreamMakesAnEndedOne) {
  StartRequest request = StartOf("one");
  request.key = "elsewhere";
  ASSERT_EQ(Start(request), StartOutcome::kStarted);
  EXPECT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=end"));
  EXPECT_FALSE(Live("s:live").present);
}

TEST_P(StoreContract, AnEndedStreamGetsNoSecondEnd) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  ASSERT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_EQ(Stop(""), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}", "type=end"));
  EXPECT_EQ(Stop("", kShort), StopOutcome::kStopped);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); })) << "but the newer grace";
}

TEST_P(StoreContract, AnEndIsKnownByItsFirstFieldOnly) {
  Field foreign[2] = {{"origin", "other"}, {"type", "end"}};
  EntryId id;
  ASSERT_TRUE(store_->Add("s", {foreign, 2}, 0, &id).ok());
  EXPECT_EQ(Stop(""), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("origin=other type=end"));
  Add("s", Event("more", "end"));
  EXPECT_EQ(Stop(""), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"),
              ElementsAre("origin=other type=end", "type=more body=end", "type=end"));
}

TEST_P(StoreContract, StopDeletesTheFlagOfAStreamThatHasEnded) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Add("s", end_);
  EXPECT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_THAT(ReadTexts("s"), SizeIs(2));
  EXPECT_FALSE(Live("s:live").present);
}

TEST_P(StoreContract, StopIsFencedByTheToken) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  StartRequest second = StartOf("two");
  second.mode = StartMode::kTakeOver;
  ASSERT_EQ(Start(second), StartOutcome::kTakenOver);
  EXPECT_EQ(Stop("one", 0), StopOutcome::kTakenOver);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
  EXPECT_EQ(Renew(LeaseOf("two")), LeaseState::kOwn);
  EXPECT_EQ(Stop(""), StopOutcome::kStopped) << "whosever it is";
}

TEST_P(StoreContract, CancelTakesTheFlagOnce) {
  EXPECT_FALSE(Cancel("s:live"));
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_TRUE(Cancel("s:live"));
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_FALSE(Cancel("s:live"));
  EXPECT_THAT(ReadTexts("s"), SizeIs(1)) << "the stream is left alone";
  EXPECT_EQ(Renew(LeaseOf("one")), LeaseState::kAbsent);
}

TEST_P(StoreContract, OfManyStartsOneWins) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> started{0};
    std::atomic<int> busy{0};
    InThreads(6, [&](int thread) {
      std::string token = std::to_string(thread);
      StartOutcome outcome = Start(token);
      (outcome == StartOutcome::kStarted ? started : busy).fetch_add(1);
    });
    EXPECT_EQ(started, 1);
    EXPECT_EQ(busy, 5);
    EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
    ASSERT_EQ(Stop("", kLong), StopOutcome::kStopped);
  }
}

TEST_P(StoreContract, OfManyCancelsOneTakesTheFlag) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(Start(std::to_string(round)), StartOutcome::kStarted);
    std::atomic<int> took{0};
    InThreads(6, [&](int) { took.fetch_add(Cancel("s:live") ? 1 : 0); });
    EXPECT_EQ(took, 1);
  }
}

TEST_P(StoreContract, OfManyStopsOneWritesTheEnd) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(Start("one"), StartOutcome::kStarted);
    InThreads(6, [&](int thread) {
      EXPECT_EQ(Stop(thread % 2 == 0 ? "one" : ""), StopOutcome::kStopped);
    });
    EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}", "type=end"));
  }
}

TEST_P(StoreContract, TakeOversAndFencedStopsNeverBothWin) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(Start("one"), StartOutcome::kStarted);
    StopOutcome stopped{};
    StartOutcome taken{};
    StartRequest second = StartOf("two");
    second.mode = StartMode::kTakeOver;
    InThreads(2, [&](int thread) {
      if (thread == 0) stopped = Stop("one");
      if (thread == 1) taken = Start(second);
    });
    if (stopped == StopOutcome::kTakenOver) {
      EXPECT_EQ(taken, StartOutcome::kTakenOver);
    } else {
      EXPECT_EQ(taken, StartOutcome::kStarted);
    }
    EXPECT_THAT(ReadTexts("s"), ElementsAre("type=begin body={}"));
    EXPECT_EQ(Stop("two"), StopOutcome::kStopped);
  }
}

// --- Leases ------------------------------------------------------------------------------------

TEST_P(StoreContract, ALeaseRunsOut) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  EXPECT_TRUE(WaitUntil([&] { return !Live("s:live").present; }));
  EXPECT_FALSE(Cancel("s:live"));
  EXPECT_EQ(Renew(LeaseOf("one")), LeaseState::kAbsent) << "and is not brought back";
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_FALSE(Read("s", {}, 1, "s:live").live.present);
  EXPECT_EQ(Start("two"), StartOutcome::kStarted);
}

TEST_P(StoreContract, RenewKeepsALeaseAlive) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  ASSERT_EQ(Renew(LeaseOf("one")), LeaseState::kOwn);
  StartControl(kShort);
  ASSERT_TRUE(WaitUntil([&] { return !Live("control:live").present; }));
  EXPECT_GT(Live("s:live").ttl_ms, kLong / 2);
}

TEST_P(StoreContract, RenewMovesTheStreamsExpiryAlong) {
  StartRequest request = StartOf("one", kShort);
  request.expire_ms = kShort;
  ASSERT_EQ(Start(request), StartOutcome::kStarted);
  ASSERT_EQ(Renew(LeaseOf("one", kLong, kShort)), LeaseState::kOwn);
  StartControl(kShort, kShort);
  ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
  EXPECT_TRUE(Exists("s"));
}

TEST_P(StoreContract, OthersAndTheDeadAreNotRenewed) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  EXPECT_EQ(Renew(LeaseOf("two")), LeaseState::kOther);
  EXPECT_EQ(Check(LeaseOf("one", kLong)), LeaseState::kOwn) << "which renews nothing";
  EXPECT_TRUE(WaitUntil([&] { return !Live("s:live").present; }));
}

TEST_P(StoreContract, RenewAndCheckTellTheStatesOfManyApart) {
  for (const char* live : {"own:live", "other:live", "absent:live"}) StartFlag(live);
  ASSERT_TRUE(Cancel("absent:live"));
  auto leases = [] {
    return std::vector<Lease>{
        {"stream of own:live", "own:live", "t", kLong, 0, LeaseState::kUnknown},
        {"stream of other:live", "other:live", "x", kLong, 0, LeaseState::kUnknown},
        {"stream of absent:live", "absent:live", "t", kLong, 0, LeaseState::kUnknown},
        {"stream of lost:live", "lost:live", "t", kLong, 0, LeaseState::kUnknown},
        {"stream of lost:live", "own:live", "t", kLong, 0, LeaseState::kUnknown}};
  };
  auto states = [](const std::vector<Lease>& of) {
    std::vector<LeaseState> result;
    for (const Lease& lease : of) result.push_back(lease.state);
    return result;
  };
  auto expected = ElementsAre(LeaseState::kOwn, LeaseState::kOther, LeaseState::kAbsent,
                              LeaseState::kLost, LeaseState::kOwn);
  std::vector<Lease> renewed = leases();
  ASSERT_TRUE(store_->Renew(renewed).ok());
  EXPECT_THAT(states(renewed), expected);
  std::vector<Lease> checked = leases();
  ASSERT_TRUE(store_->Check(checked).ok());
  EXPECT_THAT(states(checked), expected);
  EXPECT_TRUE(store_->Renew({}).ok());
  EXPECT_TRUE(store_->Check({}).ok());
}

TEST_P(StoreContract, ExtendGivesAtLeastSoMuch) {
  bool present = true;
  ASSERT_TRUE(store_->Extend("s:live", kLong, &present).ok());
  EXPECT_FALSE(present);
  EXPECT_FALSE(Live("s:live").present);

  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  ASSERT_TRUE(store_->Extend("s:live", kLong, &present).ok());
  EXPECT_TRUE(present);
  EXPECT_GT(Live("s:live").ttl_ms, kLong / 2);
  ASSERT_TRUE(store_->Extend("s:live", kShort, &present).ok());
  EXPECT_TRUE(present);
  EXPECT_GT(Live("s:live").ttl_ms, kLong / 2) << "and takes nothing away";
  EXPECT_EQ(Check(LeaseOf("one")), LeaseState::kOwn) << "nor changes whose it is";
}

// --- Scan --------------------------------------------------------------------------------------

TEST_P(StoreContract, ScanTakesPrefixAndSuffixLiterally) {
  const std::vector<std::string> ids = {"plain", "a:b", "*",         "?",  "[a-z]",
                                        "\\",    "\\*", "new\nline", "^a", "\xf0\x9f\x98\x80",
                                        " ",     "a-b", "{x}"};
  for (const std::string& id : ids) StartFlag(Cat("p:1:2:", id, ":live"));
  StartFlag("p:1:20:other user:live");
  StartFlag("p:1:2:another:suffix");

  std::multiset<std::string> expected;
  for (const std::string& id : ids) expected.insert(Cat("p:1:2:", id, ":live"));
  EXPECT_EQ(Scan("p:1:2:", ":live"), expected);
  EXPECT_EQ(Scan("p:1:2", ":live").size(), ids.size() + 1);
  for (const std::string& id : ids) {
    EXPECT_EQ(Scan(Cat("p:1:2:", id), ":live").count(Cat("p:1:2:", id, ":live")), 1U);
    EXPECT_THAT(Scan(Cat("p:1:2:", id, ":"), "live"), SizeIs(1)) << id;
  }
  EXPECT_THAT(Scan("p:1:[2]:", ":live"), IsEmpty());
  EXPECT_THAT(Scan("p:1:?:", ":live"), IsEmpty());
  EXPECT_THAT(Scan("q", ""), IsEmpty());
}

TEST_P(StoreContract, ScanFindsFlagsThatAreThereAndNothingElse) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  Add("stream:live", Event("e"));
  StartFlag("p:live");
  EXPECT_EQ(Scan("", ":live"), (std::multiset<std::string>{"p:live", "s:live"}));
  ASSERT_TRUE(Cancel("p:live"));
  ASSERT_TRUE(WaitUntil([&] { return !Live("s:live").present; }));
  EXPECT_THAT(Scan("", ":live"), IsEmpty());
}

TEST_P(StoreContract, ScanFindsWhatIsThereAllTheWhile) {
  constexpr int kKeys = 3000;
  for (int i = 0; i < kKeys; ++i) StartFlag(Cat("p:", i, ":live"));
  std::atomic<bool> done{false};
  std::thread changes([&] {
    for (int i = 0; !done; i = (i + 1) % 500) {
      StartFlag(Cat("p:x", i, ":live"));
      Cancel(Cat("p:x", i, ":live"));
    }
  });
  std::multiset<std::string> found = Scan("p:", ":live");
  done = true;
  changes.join();
  for (int i = 0; i < kKeys; ++i) EXPECT_GE(found.count(Cat("p:", i, ":live")), 1U) << i;
}

// --- Watches -----------------------------------------------------------------------------------

TEST_P(StoreContract, AWatchRingsForEachKindOfChangeByWhomever) {
  std::shared_ptr<Store> other = backend_->Open();
  for (Store* writer : {store_.get(), other.get()}) {
    RingingWatcher stream;
    RingingWatcher flag;
    ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &stream).ok());
    ASSERT_TRUE(store_->Watch("s:live", Store::KeyKind::kFlag, &flag).ok());
    auto expect_rings = [&](const char* what, bool of_stream, bool of_flag, auto change) {
      if (HasFailure()) return;
      Read("s", {}, 1, "s:live");
      int stream_before = stream.rings;
      int flag_before = flag.rings;
      ASSERT_TRUE(change().ok()) << what;
      EXPECT_TRUE(WaitUntil([&] { return !of_stream || stream.rings > stream_before; })) << what;
      EXPECT_TRUE(WaitUntil([&] { return !of_flag || flag.rings > flag_before; })) << what;
    };
    StartOutcome started{};
    StopOutcome stopped{};
    bool was_live = false;
    EntryId id;
    size_t added = 0;
    NewEntry one = begin_;
    StartRequest over = StartOf("two");
    over.mode = StartMode::kTakeOver;
    expect_rings("start", true, true, [&] { return writer->Start(StartOf("one"), &started); });
    expect_rings("add", true, false, [&] { return writer->Add("s", Event("e"), 0, &id); });
    expect_rings("add many", true, false, [&] {
      return writer->AddMany("s", {&one, 1}, 0, nullptr, &added);
    });
    expect_rings("take over", false, true, [&] { return writer->Start(over, &started); });
    expect_rings("cancel", false, true, [&] { return writer->Cancel("s:live", &was_live); });
    expect_rings("restart", true, true, [&] { return writer->Start(StartOf("3"), &started); });
    expect_rings("stop", true, true, [&] { return writer->Stop(StopOf("3"), &stopped); });
    expect_rings("remove", true, false, [&] { return writer->Stop(StopOf("", 0), &stopped); });
    store_->Unwatch("s", &stream);
    store_->Unwatch("s:live", &flag);
  }
}

TEST_P(StoreContract, AWatchRingsAgainAfterEachRead) {
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &watcher).ok());
  for (int i = 0; i < 50; ++i) {
    Read("s");
    int before = watcher.rings;
    Add("s", Event("e"));
    ASSERT_TRUE(WaitUntil([&] { return watcher.rings > before; })) << i;
  }
  store_->Unwatch("s", &watcher);
}

TEST_P(StoreContract, CheckMakesAFlagRingAgain) {
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("s:live", Store::KeyKind::kFlag, &watcher).ok());
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(Start("one"), StartOutcome::kStarted);
    ASSERT_EQ(Check(LeaseOf("one")), LeaseState::kOwn);
    int before = watcher.rings;
    ASSERT_TRUE(Cancel("s:live"));
    ASSERT_TRUE(WaitUntil([&] { return watcher.rings > before; })) << i;
  }
  store_->Unwatch("s:live", &watcher);
}

TEST_P(StoreContract, AWatchRingsWhenAFlagRunsOut) {
  ASSERT_EQ(Start("one", kShort), StartOutcome::kStarted);
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("s:live", Store::KeyKind::kFlag, &watcher).ok());
  for (;;) {
    int before = watcher.rings;
    if (!Read("s", {}, 1, "s:live").live.present) break;
    // A store without a thread notices it when it is called for whatever reason.
    ASSERT_TRUE(WaitUntil([&] {
      LastId("another");
      return watcher.rings > before;
    }));
  }
  store_->Unwatch("s:live", &watcher);
}

TEST_P(StoreContract, EveryWatcherOfAKeyIsTold) {
  RingingWatcher watchers[3];
  for (auto& watcher : watchers) {
    ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &watcher).ok());
  }
  Read("s");
  Add("s", Event("e"));
  for (auto& watcher : watchers) EXPECT_TRUE(WaitUntil([&] { return watcher.rings > 0; }));

  store_->Unwatch("s", &watchers[1]);
  int gone = watchers[1].rings;
  int first = watchers[0].rings;
  int last = watchers[2].rings;
  Read("s");
  Add("s", Event("e"));
  EXPECT_TRUE(WaitUntil([&] { return watchers[0].rings > first && watchers[2].rings > last; }));
  EXPECT_EQ(watchers[1].rings, gone);
  store_->Unwatch("s", &watchers[0]);
  store_->Unwatch("s", &watchers[2]);
}

TEST_P(StoreContract, OneWatcherCanWatchManyKeys) {
  RingingWatcher watcher;
  std::vector<std::string> keys;
  for (int i = 0; i < 100; ++i) keys.push_back(Cat("s", i));
  for (const std::string& key : keys) {
    ASSERT_TRUE(store_->Watch(key, Store::KeyKind::kStream, &watcher).ok());
  }
  for (const std::string& key : keys) {
    Read(key);
    int before = watcher.rings;
    Add(key, Event("e"));
    ASSERT_TRUE(WaitUntil([&] { return watcher.rings > before; })) << key;
  }
  for (const std::string& key : keys) store_->Unwatch(key, &watcher);
}

TEST_P(StoreContract, WhoeverWatchesThenReadsMissesNothing) {
  constexpr size_t kEntries = 2000;
  std::shared_ptr<Store> other = backend_->Open();
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &watcher).ok());
  std::thread producer([&] {
    EntryId id;
    for (size_t i = 0; i < kEntries; ++i) {
      ASSERT_TRUE(other->Add("s", Event("e", std::to_string(i)), 0, &id).ok());
    }
  });
  size_t got = 0;
  EntryId after;
  while (got < kEntries) {
    uint32_t ticket = watcher.bell.ticket();
    ReadRequest read = Read("s", after, 7);
    for (const Entry* entry : Entries(read)) {
      EXPECT_EQ(entry->fields[1].value, std::to_string(got++));
      after = entry->id;
    }
    EXPECT_FALSE(read.gap);
    if (!Entries(read).empty()) continue;
    ASSERT_TRUE(watcher.bell.Wait(ticket, Clock::now() + kPatience)) << "not told after " << got;
  }
  producer.join();
  store_->Unwatch("s", &watcher);
}

TEST_P(StoreContract, NoCallOfAWatcherComesAfterUnwatch) {
  std::atomic<bool> done{false};
  std::shared_ptr<Store> other = backend_->Open();
  std::thread producer([&] {
    EntryId id;
    while (!done) EXPECT_TRUE(other->Add("s", Event("e"), 10, &id).ok());
  });
  InThreads(3, [&](int) {
    for (int i = 0; i < 100; ++i) {
      struct Fragile final : Watcher {
        void Changed() noexcept override { value.fetch_add(*alive); }
        ~Fragile() { alive.reset(); }
        std::unique_ptr<int> alive = std::make_unique<int>(1);
        std::atomic<int> value{0};
      };
      auto watcher = std::make_unique<Fragile>();
      ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, watcher.get()).ok());
      Read("s", {}, 1);
      store_->Unwatch("s", watcher.get());
    }
  });
  done = true;
  producer.join();
}

// --- Keys of another type ----------------------------------------------------------------------

TEST_P(StoreContract, AFlagInAStreamsPlaceIsAnErrorThatNamesIt) {
  StartFlag("odd");
  auto expect_type = [](const Status& status) {
    EXPECT_EQ(status.code(), AGX_ETYPE) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("odd"));
  };
  EntryId id;
  size_t added = 0;
  NewEntry one = begin_;
  StartOutcome started{};
  StopOutcome stopped{};
  expect_type(store_->Add("odd", Event("e"), 0, &id));
  expect_type(store_->AddMany("odd", {&one, 1}, 0, nullptr, &added));
  EXPECT_EQ(added, 0U);
  expect_type(store_->LastId("odd", &id));
  StartRequest start = StartOf("one");
  start.key = "odd";
  expect_type(store_->Start(start, &started));
  EXPECT_FALSE(Live("s:live").present) << "nothing was changed";
  StopRequest stop = StopOf("");
  stop.key = "odd";
  expect_type(store_->Stop(stop, &stopped));
  EXPECT_TRUE(Live("odd").present);
}

TEST_P(StoreContract, AStreamInAFlagsPlaceIsAnErrorThatNamesIt) {
  Add("odd", Event("e"));
  auto expect_type = [](const Status& status) {
    EXPECT_EQ(status.code(), AGX_ETYPE) << status.message();
    EXPECT_THAT(status.message(), HasSubstr("odd"));
  };
  bool was_live = false;
  StartOutcome started{};
  StopOutcome stopped{};
  expect_type(store_->Cancel("odd", &was_live));
  StartRequest start = StartOf("one");
  start.live_key = "odd";
  expect_type(store_->Start(start, &started));
  EXPECT_FALSE(Exists("s")) << "nothing was changed";
  StopRequest stop = StopOf("");
  stop.live_key = "odd";
  expect_type(store_->Stop(stop, &stopped));
  EXPECT_THAT(ReadTexts("odd"), SizeIs(1));
}

TEST_P(StoreContract, OneBadKeyDoesNotSpoilTheReadOfOthers) {
  StartFlag("odd");
  Add("a", Event("1"));
  Add("b", Event("2"));
  ReadRequest reads[3];
  const char* keys[] = {"a", "odd", "b"};
  for (size_t i = 0; i < 3; ++i) {
    reads[i].key = keys[i];
    reads[i].live_key = "odd";
    reads[i].count = 10;
  }
  ASSERT_TRUE(store_->Read(reads).ok());
  EXPECT_THAT(Texts(reads[0]), ElementsAre("type=1"));
  EXPECT_EQ(reads[1].status.code(), AGX_ETYPE);
  EXPECT_THAT(reads[1].status.message(), HasSubstr("odd"));
  EXPECT_THAT(Texts(reads[1]), IsEmpty());
  EXPECT_THAT(Texts(reads[2]), ElementsAre("type=2"));
  EXPECT_TRUE(reads[0].status.ok());
  EXPECT_TRUE(reads[2].status.ok());
}

// --- Tails -------------------------------------------------------------------------------------

// Reads what a request is answered with, however often an unanswered one says that there is nothing.
std::optional<ReadRequest> Await(Tail* tail, const Tail::Foresee& foresee = {}) {
  ReadRequest answer;
  Tail::Outcome outcome{};
  Status status = tail->Await(Clock::now() + kPatience, -1, foresee, &answer, &outcome);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(outcome, Tail::Outcome::kDone);
  if (!status.ok() || outcome != Tail::Outcome::kDone) return std::nullopt;
  return answer;
}

TEST_P(StoreContract, ATailReadsAheadAndFollows) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  constexpr size_t kEntries = 3000;
  for (size_t i = 0; i < kEntries / 2; ++i) Add("s", Event("e", std::to_string(i)));
  std::thread producer([&] {
    for (size_t i = kEntries / 2; i < kEntries; ++i) Add("s", Event("e", std::to_string(i)));
  });
  size_t got = 0;
  EntryId after;
  EXPECT_FALSE(tail->pending());
  while (got < kEntries) {
    ASSERT_TRUE(tail->Request("s", after, 100, true).ok());
    EXPECT_TRUE(tail->pending());
    std::optional<ReadRequest> answer = Await(tail.get());
    if (!answer) break;
    EXPECT_FALSE(tail->pending());
    EXPECT_FALSE(answer->gap);
    for (const Entry* entry : Entries(*answer)) {
      ASSERT_EQ(entry->fields[1].value, std::to_string(got++));
      after = entry->id;
    }
  }
  producer.join();
  EXPECT_EQ(got, kEntries);
}

TEST_P(StoreContract, ATailFromTheStartHasNoGapHoweverItsAnswerArrives) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  constexpr size_t kEntries = 40;  // too long in all for one packet
  for (size_t i = 0; i < kEntries; ++i) Add("s", Event("e", std::string(100000, 'x')));
  ASSERT_TRUE(tail->Request("s", {}, kEntries, true).ok());
  std::optional<ReadRequest> answer = Await(tail.get());
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->gap);
  EXPECT_TRUE(answer->exists);
  EXPECT_THAT(Entries(*answer), SizeIs(kEntries));
}

TEST_P(StoreContract, ATailThatDoesNotFollowIsAnsweredAtOnce) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  ASSERT_TRUE(tail->Request("s", {}, 10, false).ok());
  std::optional<ReadRequest> answer = Await(tail.get());
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->exists);
  EXPECT_THAT(Texts(*answer), IsEmpty());

  EntryId id = Add("s", Event("e"));
  ASSERT_TRUE(tail->Request("s", id, 10, false).ok());
  answer = Await(tail.get());
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->exists);
  EXPECT_FALSE(answer->gap);
  EXPECT_THAT(Texts(*answer), IsEmpty());
}

// Follows what is asked of a tail, and asks for so many behind each answer that is full.
class Foreseeing {
 public:
  explicit Foreseeing(size_t count) : count_(count) {}

  Tail::Foresee function() {
    return [this](const Page& page, ReadRequest* next) {
      pages_.push_back(page);
      if (page.size < page.count) return false;
      next->after = page.last;
      next->count = count_;
      return true;
    };
  }
  const std::vector<Page>& pages() const { return pages_; }

 private:
  size_t count_;
  std::vector<Page> pages_;
};

TEST_P(StoreContract, ATailIsToldOfAnAnswerWhatComesNext) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  std::vector<EntryId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(Add("s", Event("e", std::to_string(i))));
  Foreseeing foreseeing(2);
  ASSERT_TRUE(tail->Request("s", {}, 3, false).ok());
  std::optional<ReadRequest> answer = Await(tail.get(), foreseeing.function());
  ASSERT_TRUE(answer);
  EXPECT_THAT(Entries(*answer), SizeIs(3));
  ASSERT_TRUE(tail->pending());
  answer = Await(tail.get(), foreseeing.function());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->after, ids[2]);
  EXPECT_EQ(answer->count, 2U);
  EXPECT_FALSE(answer->gap);
  EXPECT_THAT(Entries(*answer), SizeIs(2));
  ASSERT_TRUE(tail->pending());
  answer = Await(tail.get(), foreseeing.function());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->after, ids[4]);
  EXPECT_THAT(Entries(*answer), SizeIs(1));
  EXPECT_FALSE(tail->pending());

  ASSERT_THAT(foreseeing.pages(), SizeIs(3));
  for (size_t i = 0; i < 3; ++i) {
    const Page& page = foreseeing.pages()[i];
    EXPECT_EQ(page.after, i == 0 ? EntryId{} : ids[2 * i]);
    EXPECT_EQ(page.count, i == 0 ? 3U : 2U);
    EXPECT_EQ(page.size, 3 - i);
    EXPECT_EQ(page.last, ids[i == 2 ? 5 : 2 * i + 2]);
    EXPECT_GE(page.bytes, page.size);
  }
}

// Also where the answer is too long to lie there until it is complete, and where an entry is missing.
TEST_P(StoreContract, ATailIsToldOfEveryAnswerWhatComesNext) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  constexpr size_t kEntries = 40;
  std::vector<EntryId> ids;
  for (size_t i = 0; i < 2 * kEntries; ++i) {
    ids.push_back(Add("s", Event("e", std::string(100000, 'x'))));
  }
  Foreseeing foreseeing(kEntries);
  ASSERT_TRUE(tail->Request("s", {}, kEntries, false).ok());
  for (size_t i = 0; i < 2; ++i) {
    std::optional<ReadRequest> answer = Await(tail.get(), foreseeing.function());
    ASSERT_TRUE(answer);
    EXPECT_THAT(Entries(*answer), SizeIs(kEntries));
    EXPECT_TRUE(tail->pending());
    EXPECT_THAT(foreseeing.pages(), SizeIs(i + 1));
    EXPECT_EQ(foreseeing.pages().back().last, ids[(i + 1) * kEntries - 1]);
  }

  Trim("s", 10);
  tail = store_->OpenTail();
  ASSERT_NE(tail, nullptr);
  Foreseeing behind_a_gap(3);
  ASSERT_TRUE(tail->Request("s", ids[0], 3, false).ok());
  std::optional<ReadRequest> answer = Await(tail.get(), behind_a_gap.function());
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->gap);
  EXPECT_TRUE(tail->pending());
  ASSERT_THAT(behind_a_gap.pages(), SizeIs(1));
  EXPECT_EQ(behind_a_gap.pages()[0].last, answer->batch->last()->id);
}

TEST_P(StoreContract, ATailThatIsToldOfNothingNextHasNothingPending) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  for (int i = 0; i < 4; ++i) Add("s", Event("e"));
  for (bool follow : {false, true}) {
    ASSERT_TRUE(tail->Request("s", {}, 2, follow).ok());
    std::optional<ReadRequest> answer =
        Await(tail.get(), [](const Page& /*page*/, ReadRequest* /*next*/) { return false; });
    ASSERT_TRUE(answer);
    EXPECT_THAT(Entries(*answer), SizeIs(2));
    EXPECT_FALSE(tail->pending());
  }
}

TEST_P(StoreContract, ATailIsWokenAndTimesOutAndKeepsItsRequest) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  ASSERT_TRUE(tail->Request("s", {}, 10, true).ok());
  ReadRequest answer;
  Tail::Outcome outcome{};
  ASSERT_TRUE(tail->Await(Clock::now() + Millis(20), -1, {}, &answer, &outcome).ok());
  EXPECT_EQ(outcome, Tail::Outcome::kTimeout);
  tail->Wake();
  ASSERT_TRUE(tail->Await(Clock::now() + kPatience, -1, {}, &answer, &outcome).ok());
  EXPECT_EQ(outcome, Tail::Outcome::kWoken);
  std::thread waker([&] { tail->Wake(); });
  ASSERT_TRUE(tail->Await(Clock::now() + kPatience, -1, {}, &answer, &outcome).ok());
  EXPECT_EQ(outcome, Tail::Outcome::kWoken);
  waker.join();
  EXPECT_TRUE(tail->pending());
  Add("s", Event("e"));
  std::optional<ReadRequest> late = Await(tail.get());
  ASSERT_TRUE(late);
  EXPECT_THAT(Texts(*late), ElementsAre("type=e"));
}

TEST_P(StoreContract, ATailSeesGaps) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EntryId old = LastId("s");
  ASSERT_EQ(Stop("one"), StopOutcome::kStopped);
  ASSERT_EQ(Start("two"), StartOutcome::kStarted);
  ASSERT_TRUE(tail->Request("s", old, 10, false).ok());
  std::optional<ReadRequest> answer = Await(tail.get());
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->gap);
}

// --- Close -------------------------------------------------------------------------------------

TEST_P(StoreContract, ATextIsWhatWasPutThere) {
  KeptText kept{"x", "x"};
  ASSERT_TRUE(store_->GetText("t", &kept).ok());
  EXPECT_EQ(kept.text, "");
  EXPECT_EQ(kept.version, "") << "there is no such key";

  std::string version;
  bool conflict = true;
  std::string text("a\0\r\nb\xff", 6);
  ASSERT_TRUE(store_->PutText("t", "", text, false, &version, &conflict).ok());
  EXPECT_FALSE(conflict);
  EXPECT_NE(version, "");
  ASSERT_TRUE(backend_->Open()->GetText("t", &kept).ok());
  EXPECT_EQ(kept.text, text);
  EXPECT_EQ(kept.version, version);

  ASSERT_TRUE(store_->PutText("t", version, "", false, &version, &conflict).ok());
  EXPECT_FALSE(conflict);
  ASSERT_TRUE(store_->GetText("t", &kept).ok());
  EXPECT_EQ(kept.text, "");
  EXPECT_NE(kept.version, "") << "an empty text is not an absent one";
  EXPECT_EQ(kept.version, version);
}

TEST_P(StoreContract, ATextIsNotPutInTheWrongOnesPlace) {
  std::string first, second;
  bool conflict = true;
  ASSERT_TRUE(store_->PutText("t", "", "one", false, &first, &conflict).ok());
  ASSERT_TRUE(store_->PutText("t", first, "two", false, &second, &conflict).ok());
  ASSERT_FALSE(conflict);
  EXPECT_NE(first, second);
  for (const std::string& stale : {first, std::string()}) {
    std::string version = "as it was";
    ASSERT_TRUE(store_->PutText("t", stale, "three", false, &version, &conflict).ok());
    EXPECT_TRUE(conflict);
    EXPECT_EQ(version, "as it was");
  }
  KeptText kept;
  ASSERT_TRUE(store_->GetText("t", &kept).ok());
  EXPECT_EQ(kept.text, "two");
  EXPECT_EQ(kept.version, second);
}

TEST_P(StoreContract, ATextThatIsThereAlreadyIsNoConflictOnlyForWhoTriesAgain) {
  std::string version, again;
  bool conflict = true;
  ASSERT_TRUE(store_->PutText("t", "", "one", false, &version, &conflict).ok());
  ASSERT_TRUE(store_->PutText("t", "", "one", false, &again, &conflict).ok());
  EXPECT_TRUE(conflict) << "somebody else put it there";
  ASSERT_TRUE(store_->PutText("t", "", "one", true, &again, &conflict).ok());
  EXPECT_FALSE(conflict);
  EXPECT_EQ(again, version);
  ASSERT_TRUE(store_->PutText("t", "", "two", true, &again, &conflict).ok());
  EXPECT_TRUE(conflict);
}

TEST_P(StoreContract, OfThoseThatPutATextAtOnceOneSucceeds) {
  std::string before;
  bool conflict = true;
  ASSERT_TRUE(store_->PutText("t", "", "before", false, &before, &conflict).ok());
  constexpr int kWriters = 8;
  std::atomic<int> succeeded{0};
  InThreads(kWriters, [&](int i) {
    std::string version;
    bool beaten = false;
    EXPECT_TRUE(store_->PutText("t", before, std::to_string(i), false, &version, &beaten).ok());
    if (!beaten) succeeded.fetch_add(1);
  });
  EXPECT_EQ(succeeded.load(), 1);
}

TEST_P(StoreContract, ATextIsOfNoOtherType) {
  Add("s", Event("e"));
  KeptText kept;
  std::string version;
  bool conflict = false;
  Status status = store_->GetText("s", &kept);
  EXPECT_EQ(status.code(), AGX_ETYPE);
  EXPECT_THAT(status.message(), HasSubstr("s"));
  EXPECT_EQ(store_->PutText("s", "", "text", false, &version, &conflict).code(), AGX_ETYPE);
}

TEST_P(StoreContract, AClosedStoreRefusesEverything) {
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &watcher).ok());
  Read("s");
  store_->Close();
  EXPECT_TRUE(WaitUntil([&] { return watcher.rings > 0; })) << "and tells the watchers";
  EntryId id;
  size_t added = 0;
  NewEntry one = begin_;
  StartOutcome started{};
  StopOutcome stopped{};
  bool flag = false;
  LiveFlag live;
  Lease lease = LeaseOf("one");
  ReadRequest read;
  read.key = "s";
  read.count = 1;
  std::string cursor = "0";
  std::vector<std::string> keys;
  EXPECT_EQ(store_->Add("s", one, 0, &id).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->AddMany("s", {&one, 1}, 0, nullptr, &added).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Start(StartOf("one"), &started).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Stop(StopOf("one"), &stopped).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Cancel("s:live", &flag).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Live("s:live", &live).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Extend("s:live", 1, &flag).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Renew({&lease, 1}).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Check({&lease, 1}).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Read({&read, 1}).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->LastId("s", &id).code(), AGX_ECLOSED);
  KeptText kept;
  std::string version;
  EXPECT_EQ(store_->GetText("t", &kept).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->PutText("t", "", "text", false, &version, &flag).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Scan("", "", &cursor, &keys).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Watch("t", Store::KeyKind::kStream, &watcher).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->OpenTail(), nullptr);
  store_->Unwatch("s", &watcher);
  store_->Close();
}

TEST_P(StoreContract, ClosingOneClientLeavesTheOthers) {
  std::shared_ptr<Store> other = backend_->Open();
  Add("s", Event("e"));
  other->Close();
  EXPECT_THAT(ReadTexts("s"), SizeIs(1));
  other.reset();
  EXPECT_THAT(ReadTexts("s"), SizeIs(1));
}

TEST_P(StoreContract, CloseEndsCallsThatAreUnderWay) {
  std::atomic<int> calls{0};
  std::thread closer([&] {
    EXPECT_TRUE(WaitUntil([&] { return calls > 200; }));
    store_->Close();
  });
  InThreads(4, [&](int thread) {
    Status status;
    while (status.ok()) {
      EntryId id;
      ReadRequest read;
      read.key = "s";
      read.count = 10;
      status = thread % 2 == 0 ? store_->Add("s", Event("e"), 10, &id) : store_->Read({&read, 1});
      calls.fetch_add(1);
    }
    EXPECT_TRUE(status.code() == AGX_ECLOSED || status.code() == AGX_EUNCERTAIN)
        << status.message();
  });
  closer.join();
}

// --- Lists ---------------------------------------------------------------------------------------

TEST_P(StoreContract, AnElementsIdIsItsPlaceAndItsHash) {
  EXPECT_EQ(Push("one"), (EntryId{1, HashElement("one")}));
  EXPECT_EQ(Push("two"), (EntryId{2, HashElement("two")}));
  const Element three("three");
  const Element two("two");
  const NewEntry entries[] = {three, two};
  EntryId ids[2];
  size_t added = 0;
  EXPECT_DONE(store_->AddMany(ListAt("l"), entries, ids, &added));
  EXPECT_EQ(added, 2U);
  EXPECT_THAT(ids, ElementsAre(EntryId{3, HashElement("three")}, EntryId{4, HashElement("two")}));
  ReadRequest read = ReadList();
  EXPECT_TRUE(read.exists);
  EXPECT_FALSE(read.gap);
  EXPECT_THAT(Texts(read),
              ElementsAre("element=one", "element=two", "element=three", "element=two"));
  EXPECT_EQ(Ids(read)[3], ids[1]);
}

TEST_P(StoreContract, AListIsReadFromAnyPlaceAndAsMuchAsAsked) {
  std::vector<EntryId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(Push(std::to_string(i)));
  for (size_t from = 0; from < ids.size(); ++from) {
    for (size_t count : {size_t{1}, size_t{3}, size_t{100}}) {
      ReadRequest read = ReadList(ids[from], count);
      EXPECT_FALSE(read.gap) << from;
      size_t end = std::min(ids.size(), from + 1 + count);
      EXPECT_EQ(Ids(read), std::vector<EntryId>(ids.begin() + static_cast<int>(from) + 1,
                                                ids.begin() + static_cast<int>(end)))
          << from << " " << count;
    }
  }
  EXPECT_THAT(Ids(ReadList({}, 2)), ElementsAre(ids[0], ids[1]));
}

TEST_P(StoreContract, AListThatIsNotThereReadsAsNothingAndAsAGapForACursor) {
  ReadRequest read = ReadList();
  EXPECT_FALSE(read.exists);
  EXPECT_FALSE(read.gap);
  EXPECT_THAT(Texts(read), IsEmpty());
  read = ReadList({1, 7});
  EXPECT_FALSE(read.exists);
  EXPECT_TRUE(read.gap);
}

TEST_P(StoreContract, ACursorIntoAListThatWasReplacedHasAGapAndBeginsAnew) {
  EntryId second;
  for (const char* element : {"a", "b", "c"}) {
    EntryId id = Push(element);
    if (*element == 'b') second = id;
  }
  struct Case {
    std::vector<NewEntry> entries;
    bool gap;
    std::vector<std::string> read;
  };
  const Element a("a");
  const Element b("b");
  const Element x("x");
  const Element y("y");
  const Case cases[] = {
      {{x}, true, {"element=x"}},
      {{x, y}, true, {"element=x", "element=y"}},
      {{x, y, a, b}, true, {"element=x", "element=y", "element=a", "element=b"}},
      // Nobody can tell that this is another list.
      {{x, b, y}, false, {"element=y"}},
      {{a, b}, false, {}},
      {{}, true, {}},
  };
  for (const Case& one : cases) {
    Replace(ListAt("l"), one.entries);
    ReadRequest read = ReadList(second);
    EXPECT_EQ(read.gap, one.gap) << one.entries.size();
    EXPECT_EQ(Texts(read), one.read) << one.entries.size();
    EXPECT_EQ(read.exists, !one.entries.empty());
  }
}

TEST_P(StoreContract, TheEndsAndFactsOfAList) {
  EntryId last{9, 9};
  EXPECT_DONE(store_->LastElement("l", &last));
  EXPECT_EQ(last, EntryId{});
  StreamFacts facts = FactsOfList();
  EXPECT_FALSE(facts.exists);
  EXPECT_FALSE(facts.live);
  EntryId first = Push("one");
  Push("two");
  EntryId third = Push("three");
  EXPECT_DONE(store_->LastElement("l", &last));
  EXPECT_EQ(last, third);
  StartFlag("l:live");
  facts = FactsOfList();
  EXPECT_TRUE(facts.exists);
  EXPECT_TRUE(facts.live);
  EXPECT_EQ(facts.length, 3U);
  EXPECT_EQ(facts.first, first);
  EXPECT_EQ(facts.last, third);
  EXPECT_EQ(facts.last_generated, third);
  EXPECT_EQ(facts.ttl_ms, -1);
  EXPECT_EQ(facts.groups, 0);
}

TEST_P(StoreContract, ARangeOfAListIsBetweenTwoPlaces) {
  for (int i = 1; i <= 6; ++i) Push(std::to_string(i));
  RangeRequest request;
  request.key = "l";
  request.list = true;
  request.count = 100;
  EXPECT_THAT(Range(request), ElementsAre("1", "2", "3", "4", "5", "6"));
  request.after = {2, 0};
  request.before = EntryId{5, 0};
  EXPECT_THAT(Range(request), ElementsAre("3", "4"));
  request.reverse = true;
  EXPECT_THAT(Range(request), ElementsAre("4", "3"));
  request.count = 1;
  EXPECT_THAT(Range(request), ElementsAre("4"));
  request.before.reset();
  EXPECT_THAT(Range(request), ElementsAre("6"));
  request.after = {6, 0};
  EXPECT_THAT(Range(request), IsEmpty());
  request.key = "none";
  EXPECT_THAT(Range(request), IsEmpty());
}

TEST_P(StoreContract, AWatchRingsForEachChangeOfAList) {
  std::shared_ptr<Store> other = backend_->Open();
  const Element one("one");
  const NewEntry entry = one;
  for (Store* writer : {store_.get(), other.get()}) {
    RingingWatcher watcher;
    ASSERT_TRUE(store_->Watch("l", Store::KeyKind::kList, &watcher).ok());
    EntryId id;
    size_t added = 0;
    uint64_t removed = 0;
    CheckedOutcome outcome{};
    std::string reached = Cat("by ", writer == other.get());
    auto expect_ring = [&](const char* what, auto change) {
      if (HasFailure()) return;
      ReadList();
      int before = watcher.rings;
      EXPECT_DONE(change());
      EXPECT_TRUE(WaitUntil([&] { return watcher.rings > before; })) << what;
    };
    expect_ring("add", [&] { return writer->Add(ListAt("l"), one, &id); });
    expect_ring("add many", [&] {
      return writer->AddMany(ListAt("l"), {&entry, 1}, nullptr, &added);
    });
    expect_ring("add checked", [&] {
      return writer->AddChecked(ListAt("l"), {&entry, 1}, {reached, "", "1"}, &outcome);
    });
    expect_ring("replace", [&] { return writer->Replace(ListAt("l"), {&entry, 1}, &removed); });
    expect_ring("drop", [&] { return writer->Replace(ListAt("l"), {}, &removed); });
    store_->Unwatch("l", &watcher);
  }
}

TEST_P(StoreContract, AListStaysThroughStartAndStopAndGoesWithItsSession) {
  Push("one", "s");
  StartRequest start = StartOf("t");
  start.begin = {};
  start.keep = start.list = true;
  EXPECT_EQ(Start(start), StartOutcome::kStarted);
  Push("two", "s");
  StopRequest stop = StopOf("t");
  stop.end = {};
  stop.end_marks = {};
  stop.keep = stop.list = true;
  EXPECT_EQ(Stop(stop), StopOutcome::kStopped);
  EXPECT_FALSE(Live("s:live").present);
  EXPECT_THAT(Texts(ReadList({}, 9, "s")), ElementsAre("element=one", "element=two"));
  DeleteRequest gone = DeleteOf("");
  gone.end = {};
  gone.list = true;
  bool was_there = false;
  EXPECT_DONE(store_->Delete(gone, &was_there));
  EXPECT_TRUE(was_there);
  EXPECT_FALSE(ReadList({}, 9, "s").exists);
}

TEST_P(StoreContract, AListIsNoStreamAndAStreamNoList) {
  Push("one");
  Add("s", Event("e"));
  EntryId id;
  uint64_t removed = 0;
  CheckedOutcome outcome{};
  StreamFacts facts;
  const Element element("x");
  const Event event("e");
  const Checkpoint checkpoint{"a", "", "1"};
  EXPECT_EQ(store_->Add("l", event, 0, &id).code(), AGX_ETYPE);
  EXPECT_EQ(store_->Add(ListAt("s"), element, &id).code(), AGX_ETYPE);
  EXPECT_EQ(store_->LastElement("s", &id).code(), AGX_ETYPE);
  EXPECT_EQ(store_->LastId("l", &id).code(), AGX_ETYPE);
  EXPECT_EQ(store_->ListFacts("s", "s:live", &facts).code(), AGX_ETYPE);
  EXPECT_EQ(store_->Facts("l", "l:live", &facts).code(), AGX_ETYPE);
  for (const std::vector<NewEntry>& entries : {std::vector<NewEntry>{element}, {}}) {
    EXPECT_EQ(store_->Replace(ListAt("s"), entries, &removed).code(), AGX_ETYPE);
    EXPECT_EQ(store_->Replace({"l"}, entries, &removed).code(), AGX_ETYPE);
    EXPECT_EQ(store_->AddChecked(ListAt("s"), entries, checkpoint, &outcome).code(), AGX_ETYPE);
    EXPECT_EQ(store_->AddChecked({"l"}, entries, checkpoint, &outcome).code(), AGX_ETYPE);
  }
  ReadRequest requests[2];
  requests[0].key = "s";
  requests[0].list = true;
  requests[1].key = "l";
  for (ReadRequest& request : requests) request.count = 1;
  EXPECT_DONE(store_->Read(requests));
  EXPECT_EQ(requests[0].status.code(), AGX_ETYPE);
  EXPECT_EQ(requests[1].status.code(), AGX_ETYPE);
  EXPECT_THAT(Texts(ReadList()), ElementsAre("element=one"));
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=e"));
  EXPECT_EQ(CheckpointOf("s"), "");
}

// --- Replacing -----------------------------------------------------------------------------------

TEST_P(StoreContract, ReplacingLeavesTheNewEntriesAlone) {
  std::vector<EntryId> ids = AddNumbered("s", 5);
  const Event a("a");
  const Event b("b", "2");
  EXPECT_EQ(Replace({"s"}, {a, b}), 5U);
  ReadRequest read = Read("s");
  EXPECT_THAT(Texts(read), ElementsAre("type=a", "type=b body=2"));
  EXPECT_LT(ids.back(), Ids(read)[0]) << "a cursor never lies ahead of them";
  EXPECT_TRUE(Read("s", ids[2]).gap);
  EXPECT_THAT(Texts(Read("s", ids[4])), SizeIs(2));
}

TEST_P(StoreContract, ADroppedStreamIsEmptyAndGoesOnAfterItsLastId) {
  std::vector<EntryId> ids = AddNumbered("s", 3);
  bool created = false;
  EXPECT_DONE(store_->groups().CreateGroup({{"s", "g"}, EntryId{}, true}, &created));
  EXPECT_EQ(Replace({"s"}, {}), 3U);
  EXPECT_THAT(ReadTexts("s"), IsEmpty());
  StreamFacts facts = Facts("s");
  EXPECT_TRUE(facts.exists);
  EXPECT_EQ(facts.length, 0U);
  EXPECT_EQ(facts.groups, 1);
  EXPECT_EQ(facts.last_generated, ids[2]);
  EXPECT_EQ(Replace({"s"}, {}), 0U) << "and once more";
  EXPECT_LT(ids[2], Add("s", Event("e")));
}

TEST_P(StoreContract, ReplacingKeepsTheFlagRenewsAnExpiryAndBoundsNothing) {
  StartFlag("s:live");
  Target expiring{"s"};
  expiring.expire_ms = kLong;
  EntryId id;
  EXPECT_DONE(store_->Add(expiring, Event("e"), &id));
  int64_t left = Facts("s").ttl_ms;
  ASSERT_GT(left, 0);
  const Event a("a");
  Target bounded{"s", 1};
  bounded.expire_ms = 10 * kLong;
  EXPECT_EQ(Replace(bounded, {a, a, a}), 1U);
  StreamFacts facts = Facts("s");
  EXPECT_EQ(facts.length, 3U);
  EXPECT_GT(facts.ttl_ms, left);
  EXPECT_TRUE(facts.live);
  const Event b("b");
  EXPECT_EQ(Replace({"s"}, {b}), 3U);
  EXPECT_GT(Facts("s").ttl_ms, left) << "one without an expiry leaves it";
  EXPECT_EQ(Replace({"s"}, {}), 1U);
  EXPECT_GT(Facts("s").ttl_ms, left);
}

TEST_P(StoreContract, ReplacingAListKeepsItsExpiry) {
  Push("old", "s");
  StartRequest start = StartOf("t");
  start.begin = {};
  start.keep = start.list = true;
  start.expire_ms = kLong;
  EXPECT_EQ(Start(start), StartOutcome::kStarted);
  ASSERT_GT(FactsOfList("s").ttl_ms, 0);
  const Element fresh("new");
  EXPECT_EQ(Replace(ListAt("s"), {fresh}), 1U);
  EXPECT_GT(FactsOfList("s").ttl_ms, 0);
}

TEST_P(StoreContract, ReplacingWhatIsNotThereMakesItUnlessThereIsNothingToPut) {
  EXPECT_EQ(Replace({"s"}, {}), 0U);
  EXPECT_FALSE(Exists("s"));
  EXPECT_EQ(Replace(ListAt("l"), {}), 0U);
  EXPECT_FALSE(ReadList().exists);
  const Event a("a");
  const Element x("x");
  EXPECT_EQ(Replace({"s"}, {a}), 0U);
  EXPECT_EQ(Replace(ListAt("l"), {x}), 0U);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=a"));
  EXPECT_THAT(Texts(ReadList()), ElementsAre("element=x"));
}

TEST_P(StoreContract, AReaderSeesAReplacementWholeOrNotAtAll) {
  constexpr int kRounds = 200;
  const Event a("a");
  Replace({"s"}, {a, a});
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      std::vector<std::string> texts = ReadTexts("s");
      EXPECT_THAT(texts, SizeIs(2));
      EXPECT_THAT(std::set<std::string>(texts.begin(), texts.end()), SizeIs(1));
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    std::string type = std::to_string(i);
    const Event event(type);
    EXPECT_EQ(Replace({"s"}, {event, event}), 2U);
  }
  done = true;
  reader.join();
}

// --- Checkpoints ---------------------------------------------------------------------------------

TEST_P(StoreContract, EntriesAreAddedWithTheirCheckpointOnce) {
  const Event a("a");
  const Event b("b");
  EXPECT_EQ(AddChecked({"s"}, {a, b}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_EQ(CheckpointOf("s"), "1");
  EXPECT_EQ(AddChecked({"s"}, {a, b}, "", "1"), CheckedOutcome::kDoneBefore);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=a", "type=b"));
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "2"), CheckedOutcome::kConflict);
  EXPECT_EQ(AddChecked({"s"}, {a}, "0", "2"), CheckedOutcome::kConflict);
  EXPECT_THAT(ReadTexts("s"), SizeIs(2));
  EXPECT_EQ(AddChecked({"s"}, {}, "1", "2"), CheckedOutcome::kAdded)
      << "nothing to add, and yet further on";
  EXPECT_EQ(AddChecked({"s"}, {a}, "2", "3"), CheckedOutcome::kAdded);
  EXPECT_THAT(ReadTexts("s"), ElementsAre("type=a", "type=b", "type=a"));
  EXPECT_EQ(CheckpointOf("s"), "3");
}

TEST_P(StoreContract, ElementsAreAddedWithTheirCheckpointOnce) {
  const Element one("one");
  const Element two("two");
  EXPECT_EQ(AddChecked(ListAt("l"), {one, two}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_EQ(AddChecked(ListAt("l"), {one, two}, "", "1"), CheckedOutcome::kDoneBefore);
  EXPECT_EQ(AddChecked(ListAt("l"), {one}, "", "2"), CheckedOutcome::kConflict);
  EXPECT_THAT(Texts(ReadList()), ElementsAre("element=one", "element=two"));
}

TEST_P(StoreContract, OfThoseThatMoveACheckpointAtOnceOneAdds) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> added{0};
    std::string expected = CheckpointOf("s");
    InThreads(4, [&](int thread) {
      std::shared_ptr<Store> own = backend_->Open();
      const Event event("e");
      const NewEntry entry = event;
      CheckedOutcome outcome{};
      std::string reached = Cat(round, " by ", thread);
      EXPECT_DONE(own->AddChecked({"s"}, {&entry, 1}, {"a", expected, reached}, &outcome));
      if (outcome == CheckedOutcome::kAdded) ++added;
    });
    EXPECT_EQ(added, 1);
    EXPECT_THAT(ReadTexts("s"), SizeIs(round + 1));
  }
}

TEST_P(StoreContract, ACheckedAddKeepsTheTargetsBounds) {
  const Event a("a");
  Target target{"s", 2};
  target.expire_ms = kLong;
  EXPECT_EQ(AddChecked(target, std::vector<NewEntry>(300, a), "", "1"), CheckedOutcome::kAdded);
  EXPECT_LT(ReadTexts("s").size(), 300U) << "of which about so many are kept";
  int64_t left = Facts("s").ttl_ms;
  EXPECT_GT(left, 0);
  EXPECT_LE(left, kLong);
}

TEST_P(StoreContract, EachNameHasACheckpointOfItsOwn) {
  const Event a("a");
  const NewEntry entry = a;
  for (const char* position : {"1", "2"}) {
    for (const char* name : {"a", "aa", "x:y"}) {
      CheckedOutcome outcome{};
      std::string now = CheckpointOf("s", name);
      EXPECT_EQ(now, *position == '1' ? "" : "1");
      EXPECT_DONE(store_->AddChecked({"s"}, {&entry, 1}, {name, now, position}, &outcome));
      EXPECT_EQ(outcome, CheckedOutcome::kAdded);
      EXPECT_EQ(CheckpointOf("s", name), position);
    }
  }
  EXPECT_EQ(CheckpointOf("s", "b"), "");
  EXPECT_EQ(CheckpointOf("t"), "");
}

TEST_P(StoreContract, ACheckpointGoesWithItsStoppedStream) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  const Event a("a");
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  ASSERT_EQ(Stop("one", kShort), StopOutcome::kStopped);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
  EXPECT_TRUE(WaitUntil([&] { return CheckpointOf("s").empty(); }));
  // At once where there is no grace.
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  ASSERT_EQ(Stop("one", 0), StopOutcome::kStopped);
  EXPECT_EQ(CheckpointOf("s"), "");
}

TEST_P(StoreContract, ACheckpointThatMovesWithinAGraceGoesWithItsStream) {
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  ASSERT_EQ(Stop("one", kShort), StopOutcome::kStopped);
  const Event a("a");
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
  EXPECT_TRUE(WaitUntil([&] { return CheckpointOf("s").empty(); }));
}

TEST_P(StoreContract, ACheckpointStaysWithAStreamThatIsStartedWithinItsGrace) {
  const Event a("a");
  for (StartMode mode : {StartMode::kIfNotLive, StartMode::kTakeOver, StartMode::kContinue}) {
    ASSERT_EQ(Start("one"), StartOutcome::kStarted);
    EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
    ASSERT_EQ(Stop("one", kShort), StopOutcome::kStopped);
    StartRequest again = StartOf("two");
    again.mode = mode;
    Start(again);
    StartControl(kShort, kShort);
    ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
    EXPECT_TRUE(Exists("s"));
    EXPECT_EQ(CheckpointOf("s"), "1");
    EXPECT_TRUE(Delete("two"));
  }
}

TEST_P(StoreContract, ACheckpointExpiresWithAnAbandonedStream) {
  StartRequest request = StartOf("one", kShort);
  request.expire_ms = kShort;
  ASSERT_EQ(Start(request), StartOutcome::kStarted);
  const Event a("a");
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_EQ(Renew(LeaseOf("one", kShort, kShort)), LeaseState::kOwn);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
  EXPECT_TRUE(WaitUntil([&] { return CheckpointOf("s").empty(); }));
}

TEST_P(StoreContract, WhatRenewsAStreamsExpiryRenewsItsCheckpoints) {
  const Event a("a");
  const NewEntry entry = a;
  EntryId id;
  for (bool by_add : {true, false}) {
    StartRequest request = StartOf("one");
    request.expire_ms = kLong;
    ASSERT_EQ(Start(request), StartOutcome::kStarted);
    Target brief{.key = "s", .expire_ms = kShort};
    EXPECT_EQ(AddChecked(brief, {a}, "", "1"), CheckedOutcome::kAdded);
    if (by_add) {
      EXPECT_DONE(store_->Add({.key = "s", .expire_ms = kLong}, entry, &id));
    } else {
      EXPECT_EQ(Renew(LeaseOf("one", kLong, kLong)), LeaseState::kOwn);
    }
    StartControl(kShort, kShort);
    ASSERT_TRUE(WaitUntil([&] { return !Exists("control"); }));
    EXPECT_TRUE(Exists("s"));
    EXPECT_EQ(CheckpointOf("s"), "1");
    EXPECT_TRUE(Delete("one"));
  }
}

TEST_P(StoreContract, ACheckpointIsDeletedWithItsSession) {
  const Event a("a");
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_TRUE(Delete(""));
  EXPECT_EQ(CheckpointOf("s"), "");
  EXPECT_FALSE(Delete(""));
  // Also under another producer.
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_EQ(AddChecked({"s"}, {a}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_TRUE(Delete(""));
  EXPECT_EQ(CheckpointOf("s"), "");
}

TEST_P(StoreContract, ACheckpointIsLostWithItsStream) {
  Target target{.key = "s"};
  target.existing = true;
  const Event a("a");
  const NewEntry entry = a;
  CheckedOutcome outcome{};
  // Without a stream as well: a claim.
  EXPECT_EQ(AddChecked({"s"}, {}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_EQ(CheckpointOf("s"), "1");
  EXPECT_EQ(store_->AddChecked(target, {&entry, 1}, {"a", "1", "2"}, &outcome).code(), AGX_NONE);
  EXPECT_EQ(CheckpointOf("s"), "");

  EXPECT_EQ(AddChecked({"s"}, {}, "", "1"), CheckedOutcome::kAdded);
  EXPECT_EQ(Start("one"), StartOutcome::kStarted);
  EXPECT_EQ(CheckpointOf("s"), "1") << "who begins afresh may have claimed it";
  EXPECT_TRUE(Delete("one"));
  EXPECT_EQ(AddChecked({"s"}, {}, "", "1"), CheckedOutcome::kAdded);
  StartRequest resume = StartOf("one");
  resume.mode = StartMode::kResume;
  EXPECT_EQ(Start(resume), StartOutcome::kStarted);
  EXPECT_EQ(CheckpointOf("s"), "");
}

TEST_P(StoreContract, ASessionWhoseStreamHasTheCheckpointsKeyIsLeftAlone) {
  Add("s:from", Event("e"));
  ASSERT_EQ(Start("one"), StartOutcome::kStarted);
  Lease lease = LeaseOf("one", kLong, kShort);
  EXPECT_EQ(Renew(lease), LeaseState::kOwn);
  const Event a("a");
  EntryId id;
  EXPECT_DONE(store_->Add({.key = "s", .expire_ms = kLong}, a, &id));
  ASSERT_EQ(Stop("one"), StopOutcome::kStopped);
  EXPECT_TRUE(Delete(""));
  EXPECT_EQ(Facts("s:from").ttl_ms, -1);
  EXPECT_THAT(ReadTexts("s:from"), ElementsAre("type=e"));
  std::string position;
  EXPECT_EQ(store_->GetCheckpoint("s", "a", &position).code(), AGX_ETYPE);
}

TEST_P(StoreContract, ACheckpointIsNoStreamAndACheckedAddRings) {
  Add("s:from", Event("e"));
  const Event a("a");
  const NewEntry entry = a;
  CheckedOutcome outcome{};
  Status status = store_->AddChecked({"s"}, {&entry, 1}, {"a", "", "1"}, &outcome);
  EXPECT_EQ(status.code(), AGX_ETYPE);
  EXPECT_THAT(status.message(), HasSubstr("s:from"));
  EXPECT_FALSE(Exists("s")) << "nothing is added where the checkpoint cannot be moved";
  RingingWatcher watcher;
  ASSERT_TRUE(store_->Watch("t", Store::KeyKind::kStream, &watcher).ok());
  Read("t");
  EXPECT_DONE(store_->AddChecked({"t"}, {&entry, 1}, {"a", "", "1"}, &outcome));
  EXPECT_TRUE(WaitUntil([&] { return watcher.rings > 0; }));
  store_->Unwatch("t", &watcher);
}

TEST_P(StoreContract, AClosedStoreHasNoListsEither) {
  store_->Close();
  const Element one("one");
  const NewEntry entry = one;
  EntryId id;
  uint64_t removed = 0;
  CheckedOutcome outcome{};
  StreamFacts facts;
  EXPECT_EQ(store_->Add(ListAt("l"), one, &id).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->LastElement("l", &id).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->ListFacts("l", "l:live", &facts).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->Replace(ListAt("l"), {&entry, 1}, &removed).code(), AGX_ECLOSED);
  EXPECT_EQ(store_->AddChecked(ListAt("l"), {&entry, 1}, {"c", "", "1"}, &outcome).code(),
            AGX_ECLOSED);
}

// --- Looking back -------------------------------------------------------------------------------

TEST_P(StoreContract, ARangeIsBetweenTwoIdsOfWhichNeitherIsInIt) {
  std::vector<EntryId> ids = AddNumbered("s", 6);
  RangeRequest request;
  request.key = "s";
  request.count = 100;
  EXPECT_THAT(Range(request), ElementsAre("0", "1", "2", "3", "4", "5"));
  request.after = ids[1];
  EXPECT_THAT(Range(request), ElementsAre("2", "3", "4", "5"));
  request.before = ids[4];
  EXPECT_THAT(Range(request), ElementsAre("2", "3"));
  request.count = 1;
  EXPECT_THAT(Range(request), ElementsAre("2"));
  request.reverse = true;
  EXPECT_THAT(Range(request), ElementsAre("3"));
  request.count = 100;
  EXPECT_THAT(Range(request), ElementsAre("3", "2"));
  request.before.reset();
  EXPECT_THAT(Range(request), ElementsAre("5", "4", "3", "2"));
  request.after = {};
  EXPECT_THAT(Range(request), ElementsAre("5", "4", "3", "2", "1", "0"));
}

TEST_P(StoreContract, ARangeInWhichNothingIsIsEmpty) {
  RangeRequest request;
  request.key = "s";
  request.count = 100;
  EXPECT_THAT(Range(request), IsEmpty()) << "there is no stream";
  std::vector<EntryId> ids = AddNumbered("s", 3);
  for (bool reverse : {false, true}) {
    request.reverse = reverse;
    request.after = ids[2];
    request.before.reset();
    EXPECT_THAT(Range(request), IsEmpty());
    request.after = kLastEntryId;
    EXPECT_THAT(Range(request), IsEmpty());
    request.after = ids[0];
    request.before = ids[1];
    EXPECT_THAT(Range(request), IsEmpty());
    request.before = ids[0];
    EXPECT_THAT(Range(request), IsEmpty()) << "the wrong way round";
    request.after = {};
    EXPECT_THAT(Range(request), IsEmpty());
    request.before = EntryId{};
    EXPECT_THAT(Range(request), IsEmpty());
    request.before = kLastEntryId;
    EXPECT_THAT(Range(request), SizeIs(3));
    request.count = 0;
    EXPECT_THAT(Range(request), IsEmpty());
    request.count = 100;
  }
}

TEST_P(StoreContract, FactsOfAStream) {
  EXPECT_FALSE(Facts("s").exists);
  EXPECT_FALSE(Facts("s").live);
  std::vector<EntryId> ids = AddNumbered("s", 3);
  StreamFacts facts = Facts("s");
  EXPECT_TRUE(facts.exists);
  EXPECT_FALSE(facts.live);
  EXPECT_EQ(facts.length, 3U);
  EXPECT_EQ(facts.first, ids[0]);
  EXPECT_EQ(facts.last, ids[2]);
  EXPECT_EQ(facts.last_generated, ids[2]);
  EXPECT_EQ(facts.ttl_ms, -1);
  EXPECT_EQ(facts.groups, 0);
  EXPECT_EQ(Trim("s", 0), 3U);
  facts = Facts("s");
  EXPECT_TRUE(facts.exists);
  EXPECT_EQ(facts.length, 0U);
  EXPECT_EQ(facts.first, EntryId{});
  EXPECT_EQ(facts.last, EntryId{});
  EXPECT_EQ(facts.last_generated, ids[2]);
}

TEST_P(StoreContract, FactsOfASession) {
  StartRequest start = StartOf("t");
  start.expire_ms = kLong;
  ASSERT_EQ(Start(start), StartOutcome::kStarted);
  EXPECT_TRUE(Facts("s").live);
  EXPECT_GT(Facts("s").ttl_ms, kLong);
  ASSERT_EQ(Stop("t"), StopOutcome::kStopped);
  EXPECT_FALSE(Facts("s").live);
  EXPECT_GT(Facts("s").ttl_ms, 0);
  EXPECT_LE(Facts("s").ttl_ms, kLong);
  StartFlag("other:live");
  StreamFacts facts;
  ASSERT_TRUE(store_->Facts("none", "other:live", &facts).ok());
  EXPECT_FALSE(facts.exists);
  EXPECT_TRUE(facts.live);
}

TEST_P(StoreContract, TrimmingIsExact) {
  std::vector<EntryId> ids = AddNumbered("s", 1000);
  EXPECT_EQ(Trim("s", 1000), 0U);
  EXPECT_EQ(Trim("s", INT64_MAX), 0U);
  EXPECT_EQ(Trim("s", 997), 3U);
  EXPECT_EQ(Ids(Read("s")).front(), ids[3]);
  EXPECT_EQ(TrimBefore("s", ids[10]), 7U);
  EXPECT_EQ(TrimBefore("s", ids[10]), 0U);
  EXPECT_EQ(TrimBefore("s", {}), 0U);
  EXPECT_EQ(Ids(Read("s")).front(), ids[10]);
  EXPECT_EQ(LastId("s"), ids.back());
  EXPECT_EQ(TrimBefore("s", kLastEntryId), 990U);
  EXPECT_LT(ids.back(), Add("s", Event("e"))) << "ids go on rising";
  EXPECT_EQ(Trim("none", 0), 0U);
  EXPECT_FALSE(Facts("none").exists);
}

TEST_P(StoreContract, ACursorBehindWhatIsTrimmedHasAGap) {
  std::vector<EntryId> ids = AddNumbered("s", 10);
  EXPECT_EQ(TrimBefore("s", ids[5]), 5U);
  EXPECT_TRUE(Read("s", ids[3]).gap);
  EXPECT_FALSE(Read("s", ids[5]).gap);
  EXPECT_FALSE(Read("s").gap);
}

TEST_P(StoreContract, DeletingTakesStreamFlagAndText) {
  EXPECT_FALSE(Delete("t"));
  ASSERT_EQ(Start("t"), StartOutcome::kStarted);
  EntryId id = Add("s", Event("e"));
  Put("s:messages", "[]");
  EXPECT_TRUE(Delete("t"));
  EXPECT_FALSE(Facts("s").exists);
  EXPECT_FALSE(Facts("s").live);
  EXPECT_TRUE(Read("s", id).gap);
  KeptText kept;
  ASSERT_TRUE(store_->GetText("s:messages", &kept).ok());
  EXPECT_EQ(kept.version, "");
  EXPECT_FALSE(Delete("t"));
  Put("s:messages", "[]");
  EXPECT_TRUE(Delete(""));
  Add("s", Event("e"));
  EXPECT_TRUE(Delete(""));
  EXPECT_FALSE(Exists("s"));
}

TEST_P(StoreContract, OfASessionThatAnotherHasLiveAnEndStaysForAWhile) {
  ASSERT_EQ(Start("t"), StartOutcome::kStarted);
  EntryId begin = LastId("s");
  EntryId id = Add("s", Event("e"));
  Put("s:messages", "[]");
  EXPECT_TRUE(Delete("other"));
  ReadRequest read = Read("s", begin);
  EXPECT_THAT(Texts(read), ElementsAre("type=end"));
  EXPECT_TRUE(read.gap);
  EXPECT_LT(id, Ids(read)[0]);
  EXPECT_FALSE(Facts("s").live);
  EXPECT_GT(Facts("s").ttl_ms, 0);
  EXPECT_LE(Facts("s").ttl_ms, kForeignGraceMs);
  EXPECT_EQ(Check(LeaseOf("t")), LeaseState::kAbsent);
  EXPECT_TRUE(WaitUntil([&] { return !Exists("s"); }));
  EXPECT_EQ(Check(LeaseOf("t")), LeaseState::kLost);
}

TEST_P(StoreContract, DeletingAFlagWithoutAStreamLeavesItsProducerAnEnd) {
  StartFlag("s:live");
  EXPECT_TRUE(Delete(""));
  EXPECT_EQ(Check(LeaseOf("t")), LeaseState::kAbsent);
}

TEST_P(StoreContract, WatchersHearOfWhatIsTrimmedAndDeleted) {
  ASSERT_EQ(Start("t"), StartOutcome::kStarted);
  RingingWatcher stream;
  RingingWatcher flag;
  ASSERT_TRUE(store_->Watch("s", Store::KeyKind::kStream, &stream).ok());
  ASSERT_TRUE(store_->Watch("s:live", Store::KeyKind::kFlag, &flag).ok());
  Read("s", {}, 10, "s:live");
  int before = stream.rings;
  EXPECT_EQ(Trim("s", 0), 1U);
  EXPECT_TRUE(WaitUntil([&] { return stream.rings > before; }));
  Read("s", {}, 10, "s:live");
  before = stream.rings;
  int flag_before = flag.rings;
  EXPECT_TRUE(Delete("other"));
  EXPECT_TRUE(WaitUntil([&] { return stream.rings > before && flag.rings > flag_before; }));
  store_->Unwatch("s", &stream);
  store_->Unwatch("s:live", &flag);
}

TEST_P(StoreContract, LookingBackAtOtherTypes) {
  Add("s:live", Event("e"));
  StartFlag("flag");
  RangeRequest range;
  range.key = "flag";
  range.count = 1;
  BatchPtr batch;
  EXPECT_EQ(store_->Range(range, &batch).code(), AGX_ETYPE);
  StreamFacts facts;
  EXPECT_EQ(store_->Facts("flag", "other:live", &facts).code(), AGX_ETYPE);
  TrimRequest trim;
  trim.key = "flag";
  uint64_t removed = 9;
  EXPECT_EQ(store_->Trim(trim, &removed).code(), AGX_ETYPE);
  EXPECT_EQ(removed, 0U);

  Add("s", Event("e"));
  DeleteRequest request = DeleteOf("");
  bool was_there = true;
  EXPECT_EQ(store_->Delete(request, &was_there).code(), AGX_ETYPE) << "the flag";
  request.live_key = "none:live";
  request.key = "flag";
  EXPECT_EQ(store_->Delete(request, &was_there).code(), AGX_ETYPE) << "the stream";
  request.key = "s";
  request.text_key = "s:live";
  EXPECT_EQ(store_->Delete(request, &was_there).code(), AGX_ETYPE) << "the text";
  EXPECT_FALSE(was_there);
  EXPECT_TRUE(Exists("s"));
  EXPECT_TRUE(Live("flag").present);
}

TEST_P(StoreContract, AClosedStoreIsNotLookedBackAt) {
  store_->Close();
  RangeRequest range;
  range.key = "s";
  range.count = 1;
  BatchPtr batch;
  EXPECT_EQ(store_->Range(range, &batch).code(), AGX_ECLOSED);
  StreamFacts facts;
  EXPECT_EQ(store_->Facts("s", "s:live", &facts).code(), AGX_ECLOSED);
  TrimRequest trim;
  trim.key = "s";
  uint64_t removed = 0;
  EXPECT_EQ(store_->Trim(trim, &removed).code(), AGX_ECLOSED);
  bool was_there = false;
  EXPECT_EQ(store_->Delete(DeleteOf(""), &was_there).code(), AGX_ECLOSED);
}

TEST_P(StoreContract, CloseEndsATailsWait) {
  std::unique_ptr<Tail> tail = store_->OpenTail();
  if (tail == nullptr) return;
  ASSERT_TRUE(tail->Request("s", {}, 10, true).ok());
  store_->Close();
  tail->Wake();
  ReadRequest answer;
  Tail::Outcome outcome{};
  Status status = tail->Await(Clock::now() + kPatience, -1, {}, &answer, &outcome);
  EXPECT_TRUE(!status.ok() || outcome == Tail::Outcome::kWoken);
}

AGX_ON_BOTH_STORES(StoreContract);

}  // namespace
}  // namespace agx::test
