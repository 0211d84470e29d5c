// ctest-labels: threads
// Entry ids, and the batches in which entries arrive.
#include "store/entry.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace agx {
namespace {

TEST(EntryIdTest, ParsesBothForms) {
  const struct {
    const char* text;
    EntryId id;
  } cases[] = {{"0-0", {0, 0}},
               {"0", {0, 0}},
               {"1-2", {1, 2}},
               {"1526919030474", {1526919030474, 0}},
               {"1526919030474-55", {1526919030474, 55}},
               {"007-08", {7, 8}},
               {"18446744073709551615-18446744073709551615", kLastEntryId},
               {"18446744073709551615", {UINT64_MAX, 0}}};
  for (const auto& c : cases) {
    EntryId id{9, 9};
    EXPECT_TRUE(ParseEntryId(c.text, &id)) << c.text;
    EXPECT_EQ(id, c.id) << c.text;
  }
}

TEST(EntryIdTest, RefusesWhatIsNone) {
  using namespace std::string_view_literals;
  for (std::string_view text : {""sv,
                                "-"sv,
                                "-1"sv,
                                "1-"sv,
                                "1--2"sv,
                                "1-2-3"sv,
                                "+1"sv,
                                "1-+2"sv,
                                "1--0"sv,
                                " 1"sv,
                                "1 "sv,
                                "1- 2"sv,
                                "1-2\n"sv,
                                "1\0"sv,
                                "1-2\0"sv,
                                "x"sv,
                                "1-x"sv,
                                "0x1"sv,
                                "1.5"sv,
                                "$"sv,
                                "*"sv,
                                "1-*"sv,
                                ">"sv,
                                "18446744073709551616"sv,
                                "1-18446744073709551616"sv,
                                "99999999999999999999999999"sv,
                                "\xd9\xa1"sv,
                                std::string_view()}) {
    EntryId id{9, 9};
    EXPECT_FALSE(ParseEntryId(text, &id)) << text;
    EXPECT_EQ(id, (EntryId{9, 9})) << text << ": what was there stays";
  }
}

TEST(EntryIdTest, ReadsNoFurtherThanItsText) {
  const std::string text = "12-345";
  EntryId id;
  ASSERT_TRUE(ParseEntryId(std::string_view(text).substr(0, 4), &id));
  EXPECT_EQ(id, (EntryId{12, 3}));
}

TEST(EntryIdTest, PrintsWhatItParses) {
  for (EntryId id : {EntryId{}, EntryId{1, 0}, EntryId{1700000000000, 42}, kLastEntryId}) {
    char text[42];
    std::memset(text, 'x', sizeof(text));
    size_t size = PrintEntryId(id, text);
    EXPECT_EQ(size, std::strlen(text));
    EntryId parsed{9, 9};
    EXPECT_TRUE(ParseEntryId(text, &parsed));
    EXPECT_EQ(parsed, id) << text;
  }
  char longest[42];
  EXPECT_EQ(PrintEntryId(kLastEntryId, longest), 41U);
  EXPECT_STREQ(longest, "18446744073709551615-18446744073709551615");
}

TEST(EntryIdTest, OrdersByTimeThenSequence) {
  EXPECT_LT((EntryId{1, 9}), (EntryId{2, 0}));
  EXPECT_LT((EntryId{1, 1}), (EntryId{1, 2}));
  EXPECT_LT((EntryId{9, 9}), (EntryId{10, 0})) << "as numbers, not as texts";
  EXPECT_LT((EntryId{UINT64_MAX, 0}), kLastEntryId);
}

std::string Value(size_t i) { return std::string(i % 97, static_cast<char>('a' + i % 26)); }

void Fill(Batch* batch, size_t entries) {
  for (size_t i = 0; i < entries; ++i) {
    std::string id_text = std::to_string(i + 1) + "-0";
    Entry* entry = batch->Append({i + 1, 0}, id_text, i % 4);
    for (size_t f = 0; f < i % 4; ++f) {
      entry->fields[f] = {batch->Copy("name"), batch->Copy(Value(i + f))};
    }
  }
}

void ExpectFilled(const Entry& entry) {
  size_t i = entry.id.ms - 1;
  ASSERT_EQ(entry.id_text, std::to_string(i + 1) + "-0");
  ASSERT_EQ(*entry.id_text.end(), '\0');
  ASSERT_EQ(entry.field_count, i % 4);
  for (size_t f = 0; f < entry.field_count; ++f) {
    ASSERT_EQ(entry.fields[f].name, "name");
    ASSERT_EQ(entry.fields[f].value, Value(i + f));
    ASSERT_EQ(*entry.fields[f].value.end(), '\0');
  }
}

TEST(BatchTest, KeepsItsEntriesInOrderHoweverLargeItWasExpectedToBe) {
  for (size_t expected : {size_t{0}, size_t{1}, size_t{4096}, size_t{1} << 20}) {
    BatchPtr batch(Batch::Create(expected));
    EXPECT_TRUE(batch->empty());
    EXPECT_EQ(batch->TakeFirst(), nullptr);
    Fill(batch.get(), 5000);
    EXPECT_EQ(batch->size(), 5000U);
    EXPECT_EQ(batch->last()->id, (EntryId{5000, 0}));
    size_t seen = 0;
    for (Entry* entry = batch->first(); entry != nullptr; entry = entry->next) {
      EXPECT_EQ(entry->id.ms, ++seen);
      EXPECT_EQ(entry->batch, batch.get());
      ExpectFilled(*entry);
    }
    EXPECT_EQ(seen, 5000U);
  }
}

TEST(BatchTest, AllocatesAlignedWhateverTheSize) {
  BatchPtr batch(Batch::Create());
  std::minstd_rand random(1);
  std::vector<std::pair<char*, size_t>> blocks;
  for (int i = 0; i < 2000; ++i) {
    size_t size = random() % (i % 100 == 0 ? 600000 : 300);
    auto* block = static_cast<char*>(batch->Allocate(size));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignof(Entry), 0U);
    std::memset(block, i % 256, size);
    blocks.emplace_back(block, size);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    auto [block, size] = blocks[i];
    for (size_t at : {size_t{0}, size / 2, size - 1}) {
      if (at >= size) continue;
      EXPECT_EQ(static_cast<unsigned char>(block[at]), i % 256);
    }
  }
  EXPECT_GE(batch->bytes(), 2000U * 100);
}

TEST(BatchTest, TextsLargerThanABlockLeaveTheCurrentBlockInUse) {
  BatchPtr batch(Batch::Create());
  std::string large(3 << 20, 'l');
  std::string_view before = batch->Copy("before");
  std::string_view middle = batch->Copy(large);
  std::string_view after = batch->Copy("after");
  EXPECT_EQ(before, "before");
  EXPECT_TRUE(middle == large);
  EXPECT_EQ(after, "after");
}

TEST(BatchTest, EntriesOutliveTheBatchsOwner) {
  BatchPtr batch(Batch::Create());
  Fill(batch.get(), 100);
  std::vector<Entry*> taken;
  for (int i = 0; i < 40; ++i) taken.push_back(batch->TakeFirst());
  EXPECT_EQ(batch->size(), 60U);
  batch.reset();
  for (Entry* entry : taken) {
    ExpectFilled(*entry);
    Batch::Release(entry);
  }
}

TEST(BatchTest, TheLastEntryTakenLeavesAnEmptyBatchThatCanGrow) {
  BatchPtr batch(Batch::Create());
  Fill(batch.get(), 2);
  Entry* first = batch->TakeFirst();
  Entry* second = batch->TakeFirst();
  EXPECT_EQ(batch->TakeFirst(), nullptr);
  EXPECT_EQ(batch->last(), nullptr);
  EXPECT_TRUE(batch->empty());
  Fill(batch.get(), 1);
  EXPECT_EQ(batch->size(), 1U);
  EXPECT_EQ(batch->first(), batch->last());
  Batch::Release(second);
  Batch::Release(first);
}

TEST(BatchTest, ReleasingAnEntryFreesItsJson) {
  BatchPtr batch(Batch::Create());
  Fill(batch.get(), 1);
  Entry* entry = batch->TakeFirst();
  for (auto& json : entry->json) json = strdup("{}");
  Batch::Release(entry);  // the leak checker sees whether it did
}

TEST(BatchTest, EntriesAreReleasedFromManyThreadsWhileTheOwnerGoes) {
  for (int round = 0; round < 50; ++round) {
    constexpr size_t kThreads = 4;
    BatchPtr batch(Batch::Create());
    Fill(batch.get(), 400);
    std::vector<std::vector<Entry*>> taken(kThreads);
    for (size_t i = 0; i < 300; ++i) taken[i % kThreads].push_back(batch->TakeFirst());
    std::vector<std::thread> threads;
    for (auto& entries : taken) {
      threads.emplace_back([&entries] {
        for (Entry* entry : entries) {
          ExpectFilled(*entry);
          Batch::Release(entry);
        }
      });
    }
    batch.reset();
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(ElementHasher, TakesAnElementInAnyPieces) {
  std::string text = "The quick brown fox jumps over it.";
  for (size_t size = 0; size <= text.size(); ++size) {
    std::string_view whole(text.data(), size);
    for (size_t step = 1; step <= 17; ++step) {
      ElementHasher hasher(size);
      for (size_t at = 0; at < size; at += step) hasher.Add(whole.substr(at, step));
      EXPECT_EQ(hasher.Finish(), HashElement(whole)) << size << " in steps of " << step;
    }
  }
}

}  // namespace
}  // namespace agx
