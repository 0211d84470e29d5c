// ctest-labels: threads
// What the memory store promises beyond the contract of all stores: names, and running out of memory.
#include "store/memory/memory_store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <new>

#include "support/wait.h"

namespace {

// How many more allocations succeed; negative: all.
thread_local int allocations_left = -1;

bool MayAllocate() { return allocations_left < 0 || allocations_left-- > 0; }

}  // namespace

// Not inlined, where compilers take malloc and delete, or new and free, for a mismatch.
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = MayAllocate() ? std::malloc(size) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}

namespace agx {
namespace {

const Field kFields[] = {{"type", "event"}, {"body", "{}"}};
constexpr NewEntry kEntry{kFields, 2};
const Field kEndFields[] = {{"type", "end"}};
constexpr NewEntry kEnd{kEndFields, 1};

struct SilentWatcher final : Watcher {
  void Changed() noexcept override { ++rings; }
  int rings = 0;
};

size_t Length(Store* store, std::string_view key) {
  ReadRequest read;
  read.key = key;
  read.count = 100000;
  EXPECT_TRUE(store->Read({&read, 1}).ok());
  return read.batch == nullptr ? 0 : read.batch->size();
}

void Add(Store* store, std::string_view key) {
  EntryId id;
  EXPECT_TRUE(store->Add(key, kEntry, 0, &id).ok());
}

TEST(MemoryStoreTest, TheSameNameIsTheSameData) {
  auto one = OpenMemoryStore("a");
  auto two = OpenMemoryStore("a");
  auto other = OpenMemoryStore("b");
  auto unnamed = OpenMemoryStore("");
  Add(one.get(), "s");
  EXPECT_EQ(Length(two.get(), "s"), 1U);
  EXPECT_EQ(Length(other.get(), "s"), 0U);
  EXPECT_EQ(Length(unnamed.get(), "s"), 0U);
  EXPECT_EQ(Length(OpenMemoryStore("a").get(), "s"), 1U);
}

TEST(MemoryStoreTest, DataLastAsLongAsAnOpenClient) {
  auto one = OpenMemoryStore("a");
  Add(one.get(), "s");
  auto two = OpenMemoryStore("a");
  one.reset();
  EXPECT_EQ(Length(two.get(), "s"), 1U);
  two->Close();  // and not as long as the object
  auto three = OpenMemoryStore("a");
  EXPECT_EQ(Length(three.get(), "s"), 0U);
}

TEST(MemoryStoreTest, HasNoTail) { EXPECT_EQ(OpenMemoryStore("a")->OpenTail(), nullptr); }

TEST(MemoryStoreTest, AClientThatGoesTakesItsWatchesAlong) {
  auto one = OpenMemoryStore("a");
  auto two = OpenMemoryStore("a");
  {
    SilentWatcher watcher;
    ASSERT_TRUE(two->Watch("s", Store::KeyKind::kStream, &watcher).ok());
    Length(two.get(), "s");
    two.reset();
  }
  Add(one.get(), "s");
}

TEST(MemoryStoreTest, AForkedChildHasDataOfItsOwn) {
  auto parents = OpenMemoryStore("a");
  Add(parents.get(), "s");
  pid_t child = fork();
  if (child == 0) _exit(Length(OpenMemoryStore("a").get(), "s") == 0 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(MemoryStoreTest, ManyAbandonedKeysAreForgotten) {
  auto store = OpenMemoryStore("a");
  StartRequest start;
  start.token = "t";
  start.lease_ms = 1;
  start.expire_ms = 1;
  start.begin = kEntry;
  for (int i = 0; i < 2000; ++i) {
    std::string key = Cat("s", i);
    std::string live = key + ":live";
    start.key = key;
    start.live_key = live;
    StartOutcome outcome{};
    ASSERT_TRUE(store->Start(start, &outcome).ok());
  }
  std::vector<std::string> keys;
  TimePoint deadline = DeadlineAfter(20000);
  do {
    keys.clear();
    std::string cursor = "0";
    ASSERT_TRUE(store->Scan("", "", &cursor, &keys).ok());
  } while (!keys.empty() && Clock::now() < deadline);
  EXPECT_TRUE(keys.empty());
}

TEST(MemoryStoreTest, HoweverManyKeysExpireAtOnceNoneIsSeen) {
  auto store = OpenMemoryStore("a");
  constexpr int kKeys = 500;
  StartRequest start;
  start.token = "t";
  start.lease_ms = 20;
  start.begin = kEntry;
  for (int i = 0; i < kKeys; ++i) {
    std::string key = Cat("s", i);
    std::string live = key + ":live";
    start.key = key;
    start.live_key = live;
    StartOutcome outcome{};
    ASSERT_TRUE(store->Start(start, &outcome).ok());
  }
  TimePoint expired = DeadlineAfter(start.lease_ms);
  ASSERT_TRUE(test::WaitUntil([&] { return Clock::now() > expired; }));
  for (int i = kKeys - 1; i >= 0; --i) {
    LiveFlag flag;
    ASSERT_TRUE(store->Live(Cat("s", i, ":live"), &flag).ok());
    ASSERT_FALSE(flag.present) << i;
  }
}

// The call is tried with one allocation more each time, until it succeeds.
void ExpectAllOrNothing(const std::function<void(Store*)>& prepare,
                        const std::function<Status(Store*)>& call) {
  for (int allowed = 0;; ++allowed) {
    ASSERT_LT(allowed, 100);
    auto store = OpenMemoryStore("memory");
    prepare(store.get());
    size_t before = Length(store.get(), "s");
    LiveFlag flag_before;
    ASSERT_TRUE(store->Live("s:live", &flag_before).ok());
    bool failed = false;
    allocations_left = allowed;
    try {
      Status status = call(store.get());
      allocations_left = -1;
      EXPECT_TRUE(status.ok()) << status.message();
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
      failed = true;
    }
    if (!failed) return;
    EXPECT_EQ(Length(store.get(), "s"), before) << "after " << allowed;
    LiveFlag flag;
    ASSERT_TRUE(store->Live("s:live", &flag).ok());
    EXPECT_EQ(flag.present, flag_before.present) << "after " << allowed;
    // And it goes on working.
    EXPECT_TRUE(call(store.get()).ok());
  }
}

void Nothing(Store* /*store*/) {}

Status Start(Store* store, StartMode mode) {
  StartRequest start;
  start.key = "s";
  start.live_key = "s:live";
  start.token = "a token that is longer than what a string holds within itself";
  start.lease_ms = 60000;
  start.expire_ms = 60000;
  start.mode = mode;
  start.begin = kEntry;
  StartOutcome outcome{};
  return store->Start(start, &outcome);
}

Status Stop(Store* store) {
  StopRequest stop;
  stop.key = "s";
  stop.live_key = "s:live";
  stop.end = kEnd;
  stop.end_marks = {kEnd.fields, 1};
  stop.grace_ms = 60000;
  StopOutcome outcome{};
  return store->Stop(stop, &outcome);
}

TEST(MemoryStoreTest, AddIsAllOrNothing) {
  auto add = [](Store* store) {
    EntryId id;
    return store->Add("s", kEntry, 0, &id);
  };
  ExpectAllOrNothing(Nothing, add);
  ExpectAllOrNothing(
      [](Store* store) {
        for (int i = 0; i < 63; ++i) Add(store, "s");
      },
      add);
}

TEST(MemoryStoreTest, AddManyIsAllOrNothing) {
  auto add_many = [](Store* store) {
    std::vector<NewEntry> entries(500, kEntry);
    size_t added = 0;
    return store->AddMany("s", entries, 0, nullptr, &added);
  };
  ExpectAllOrNothing(Nothing, add_many);
  ExpectAllOrNothing([](Store* store) { Add(store, "s"); }, add_many);
}

TEST(MemoryStoreTest, StartIsAllOrNothing) {
  auto start = [](Store* store) { return Start(store, StartMode::kIfNotLive); };
  ExpectAllOrNothing(Nothing, start);
  ExpectAllOrNothing([](Store* store) { Add(store, "s"); }, start);
  auto resume = [](Store* store) { return Start(store, StartMode::kResume); };
  ExpectAllOrNothing([](Store* store) { Add(store, "s"); }, resume);
}

TEST(MemoryStoreTest, StopIsAllOrNothing) {
  ExpectAllOrNothing([](Store* store) { Add(store, "s"); }, Stop);
  ExpectAllOrNothing([](Store* store) { EXPECT_TRUE(Start(store, StartMode::kIfNotLive).ok()); },
                     Stop);
}

TEST(MemoryStoreTest, WatchIsAllOrNothing) {
  SilentWatcher watcher;
  ExpectAllOrNothing(Nothing, [&](Store* store) {
    Status status = store->Watch("s", Store::KeyKind::kStream, &watcher);
    if (status.ok()) store->Unwatch("s", &watcher);
    return status;
  });
}

TEST(MemoryStoreTest, OpeningIsAllOrNothing) {
  for (int allowed = 0; allowed < 100; ++allowed) {
    allocations_left = allowed;
    try {
      auto store = OpenMemoryStore("a name that is longer than what a string holds within itself");
      allocations_left = -1;
      EXPECT_EQ(Length(store.get(), "s"), 0U);
      return;
    } catch (const std::bad_alloc&) {
      allocations_left = -1;
    }
  }
  FAIL();
}

}  // namespace
}  // namespace agx
