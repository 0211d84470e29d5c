// A cursor with a made-up clock: what it hands on, and when it says what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "core/listener.h"
#include "format/agx_format.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;

const TimePoint kStart = TimePoint(std::chrono::hours(1000));

TimePoint At(int64_t ms) { return kStart + Millis(ms); }

struct Row {
  uint64_t id;
  std::string type;
};

// A cursor, and a stream and a flag for it to read.
class CursorTest : public testing::Test {
 protected:
  void Make(Cursor::Options options = {}, EntryId after = {}) {
    cursor_.emplace(options, after, kStart);
  }

  BatchPtr MakeBatch(const std::vector<Row>& rows) {
    BatchPtr batch(Batch::Create());
    for (const Row& row : rows) {
      char text[42];
      size_t length = PrintEntryId({row.id, 0}, text);
      Entry* entry = batch->Append({row.id, 0}, batch->Copy({text, length}), 1);
      entry->fields[0] = {batch->Copy("type"), batch->Copy(row.type)};
    }
    return batch;
  }

  // A read at that moment which finds these entries; an existing stream, unless told otherwise.
  bool Read(int64_t ms, const std::vector<Row>& rows, bool exists = true, bool gap = false) {
    ReadRequest request;
    cursor_->Prepare(&request);
    request.batch = MakeBatch(rows);
    request.exists = exists;
    request.gap = gap;
    return cursor_->Absorb(&request, At(ms));
  }

  void Flag(int64_t ms, int64_t ttl_ms) { cursor_->AbsorbFlag({true, ttl_ms}, At(ms)); }
  void NoFlag(int64_t ms) { cursor_->AbsorbFlag({false, -1}, At(ms)); }

  // The type of the event, the outcome's name, or "" if there is nothing. Has agrees.
  std::string Take(int64_t ms) {
    bool has = cursor_->Has(At(ms));
    Status status;
    Entry* entry = nullptr;
    if (!cursor_->Take(At(ms), &status, &entry)) {
      EXPECT_FALSE(has);
      return "";
    }
    EXPECT_TRUE(has);
    EXPECT_EQ(entry != nullptr, status.ok());
    if (entry == nullptr) return agx_status_string(status.code());
    std::string type(entry->type);
    Batch::Release(entry);
    return type;
  }

  std::vector<std::string> TakeAll(int64_t ms) {
    std::vector<std::string> texts;
    for (std::string text; texts.size() < 100 && !(text = Take(ms)).empty();) {
      texts.push_back(text);
      if (text.starts_with("AGX_")) break;
    }
    return texts;
  }

  std::optional<Cursor> cursor_;
};

TEST_F(CursorTest, ReadsAtOnceAndThenWhenSomethingIsDue) {
  Make();
  EXPECT_EQ(cursor_->Due(), TimePoint::min());
  EXPECT_TRUE(cursor_->WantsFlag(At(0)));
  EXPECT_TRUE(Read(0, {}, false));
  NoFlag(0);
  EXPECT_FALSE(cursor_->more());
  EXPECT_GT(cursor_->Due(), At(0));
  EXPECT_LE(cursor_->Due(), At(3000));
  EXPECT_EQ(Take(0), "");
}

TEST_F(CursorTest, HandsOnInOrderAndMovesWithEachEvent) {
  Make();
  ASSERT_TRUE(Read(0, {{1, "begin"}, {2, "a"}, {3, "b"}}));
  EXPECT_EQ(cursor_->position(), (EntryId{0, 0}));
  EXPECT_EQ(Take(0), "begin");
  EXPECT_EQ(cursor_->position(), (EntryId{1, 0}));
  EXPECT_EQ(Take(0), "a");
  EXPECT_EQ(cursor_->position(), (EntryId{2, 0}));
  EXPECT_EQ(Take(0), "b");
  EXPECT_EQ(cursor_->position(), (EntryId{3, 0}));
  EXPECT_EQ(Take(0), "");
}

TEST_F(CursorTest, AsksForWhatComesAfterWhatItHasRead) {
  Make({}, {5, 1});
  ReadRequest request;
  cursor_->Prepare(&request);
  EXPECT_EQ(request.after, (EntryId{5, 1}));
  ASSERT_TRUE(Read(0, {{6, "a"}, {7, "b"}}));
  cursor_->Prepare(&request);
  EXPECT_EQ(request.after, (EntryId{7, 0}));
  EXPECT_EQ(cursor_->position(), (EntryId{5, 1}));
}

TEST_F(CursorTest, ForeseesWhatItWillAskForIfThereMayBeMore) {
  for (size_t count : {size_t{1}, size_t{2}, size_t{3}}) {
    Make();
    ReadRequest answer;
    cursor_->Prepare(&answer);
    answer.count = count;
    answer.batch = MakeBatch({{1, "a"}, {2, "end"}});
    answer.exists = true;
    ReadRequest foreseen;
    Page page = PageOf(answer);
    bool more = cursor_->Foresee(page, &foreseen);
    ASSERT_TRUE(cursor_->Absorb(&answer, At(0)));
    EXPECT_EQ(more, cursor_->more());
    EXPECT_EQ(more, count <= 2);
    if (!more) continue;
    ReadRequest next;
    cursor_->Prepare(&next);
    EXPECT_EQ(foreseen.after, next.after);
    EXPECT_EQ(foreseen.count, next.count);
    EXPECT_FALSE(cursor_->Foresee(page, &foreseen));  // it was asked for before the others came
  }
}

TEST_F(CursorTest, HoldsMoreOnlyIfTheTimeDoesNotMatter) {
  Make({.timeout_ms = 1000});
  EXPECT_FALSE(cursor_->HoldsMore());
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "b"}, {3, "c"}}));
  EXPECT_TRUE(cursor_->HoldsMore());
  Status status;
  Entry* entry = nullptr;
  ASSERT_TRUE(cursor_->Take(TimePoint::min(), &status, &entry));
  EXPECT_EQ(entry->type, "a");
  Batch::Release(entry);
  EXPECT_TRUE(cursor_->HoldsMore());
  EXPECT_EQ(Take(500), "b");
  EXPECT_FALSE(cursor_->HoldsMore());
  // Silence counts from the last.
  EXPECT_EQ(Take(5000), "c");
  cursor_->Nothing(At(5999));
  EXPECT_EQ(Take(5999), "");
  cursor_->Nothing(At(6000));
  EXPECT_EQ(Take(6000), "AGX_SILENT");
}

TEST_F(CursorTest, AnEndAGapAndALimitAreNoEntriesAtHand) {
  Make();
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "end"}}));
  EXPECT_FALSE(cursor_->HoldsMore());
  Make();
  ASSERT_TRUE(Read(0, {{1, "end"}, {2, "a"}, {3, "b"}}));
  EXPECT_FALSE(cursor_->HoldsMore());
  Make();
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "b"}}, true, true));
  EXPECT_FALSE(cursor_->HoldsMore());
  EXPECT_EQ(Take(0), "AGX_GAP");
  EXPECT_TRUE(cursor_->HoldsMore());
  Make({.limit = 1});
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "b"}, {3, "c"}}));
  EXPECT_EQ(Take(0), "a");
  EXPECT_FALSE(cursor_->HoldsMore());
}

TEST_F(CursorTest, TakesNothingInTwice) {
  Make();
  ReadRequest early;
  cursor_->Prepare(&early);
  early.batch = MakeBatch({{1, "a"}});
  early.exists = true;
  ReadRequest late;
  cursor_->Prepare(&late);
  late.batch = MakeBatch({{1, "a"}, {2, "b"}});
  late.exists = true;
  ASSERT_TRUE(cursor_->Absorb(&early, At(0)));
  EXPECT_FALSE(cursor_->Absorb(&late, At(0)));
  EXPECT_THAT(TakeAll(0), ElementsAre("a"));
  EXPECT_FALSE(cursor_->Absorb(&late, At(0)));  // it was asked for before "a" was read
  ASSERT_TRUE(Read(0, {{2, "b"}}));
  EXPECT_THAT(TakeAll(0), ElementsAre("b"));
}

TEST_F(CursorTest, LooksAtTheLastEntryOnlyBehindAnIdAndWithoutAFlag) {
  ReadRequest request;
  auto wants_last = [&] {
    cursor_->Prepare(&request);
    return request.want_last;
  };
  Make({.resumes = true}, {2, 0});
  ASSERT_TRUE(Read(0, {}));
  EXPECT_FALSE(wants_last());
  Flag(0, 15000);
  EXPECT_FALSE(wants_last());
  NoFlag(10);
  EXPECT_TRUE(wants_last());
  EXPECT_LE(cursor_->Due(), At(10));
  cursor_->AbsorbLast(MakeBatch({{2, "a"}}));
  EXPECT_EQ(Take(10), "");
  EXPECT_GT(cursor_->Due(), At(10));
  NoFlag(20);
  EXPECT_FALSE(wants_last()) << "what comes is read";
  // Unless somebody has been there meanwhile.
  Flag(30, 15000);
  NoFlag(40);
  EXPECT_TRUE(wants_last());
  cursor_->AbsorbLast(MakeBatch({{2, "end"}}));
  EXPECT_EQ(Take(40), "AGX_ENDED");

  Make({}, {2, 0});
  ASSERT_TRUE(Read(0, {}));
  NoFlag(0);
  EXPECT_FALSE(wants_last());
  Make({.resumes = true}, {2, 0});
  ASSERT_TRUE(Read(0, {{3, "a"}}));
  NoFlag(0);
  EXPECT_FALSE(wants_last());
}

TEST_F(CursorTest, AnEndThatCameMeanwhileIsReadAsAllElse) {
  Make({.hand_on_end = true, .resumes = true}, {2, 0});
  ASSERT_TRUE(Read(0, {}));
  NoFlag(0);
  cursor_->AbsorbLast(MakeBatch({{4, "end"}}));
  EXPECT_EQ(Take(0), "");
  ASSERT_TRUE(Read(0, {{3, "a"}, {4, "end"}}));
  EXPECT_THAT(TakeAll(0), ElementsAre("a", "end", "AGX_ENDED"));
}

TEST_F(CursorTest, EndsAtTheEndForEver) {
  Make();
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "end"}}));
  EXPECT_THAT(TakeAll(0), ElementsAre("a", "AGX_ENDED"));
  EXPECT_EQ(cursor_->position(), (EntryId{1, 0}));
  EXPECT_TRUE(cursor_->final());
  EXPECT_EQ(Take(1000000), "AGX_ENDED");
  EXPECT_EQ(cursor_->Due(), kNever);
}

TEST_F(CursorTest, HandsTheEndOnIfWanted) {
  Make({.hand_on_end = true});
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "end"}}));
  EXPECT_EQ(Take(0), "a");
  EXPECT_EQ(Take(0), "end");
  EXPECT_EQ(cursor_->position(), (EntryId{2, 0}));
  EXPECT_EQ(Take(0), "AGX_ENDED");
}

TEST_F(CursorTest, PassesOverAnOldEndThatABeginFollows) {
  for (bool hand_on_end : {false, true}) {
    Make({.hand_on_end = hand_on_end});
    ASSERT_TRUE(Read(0, {{1, "a"}, {2, "end"}, {3, "begin"}, {4, "b"}}));
    EXPECT_THAT(TakeAll(0), ElementsAre("a", "begin", "b"));
  }
}

TEST_F(CursorTest, PassesOverAnOldEndAtTheEndOfABatch) {
  Make();
  ReadRequest first;
  cursor_->Prepare(&first);
  std::vector<Row> rows;
  for (size_t i = 1; i < first.count; ++i) rows.push_back({i, "a"});
  rows.push_back({first.count, "end"});
  ASSERT_TRUE(Read(0, rows));
  for (size_t i = 1; i < first.count; ++i) ASSERT_EQ(Take(0), "a");
  // What follows it decides.
  EXPECT_EQ(Take(0), "");
  EXPECT_EQ(cursor_->Due(), TimePoint::min());
  ASSERT_TRUE(Read(0, {{5000, "begin"}, {5001, "b"}}));
  EXPECT_THAT(TakeAll(0), ElementsAre("begin", "b"));
}

TEST_F(CursorTest, EndsAtAnEndThatIsTheLastOfAFullBatch) {
  for (bool other_follows : {false, true}) {
    Make();
    ReadRequest first;
    cursor_->Prepare(&first);
    std::vector<Row> rows;
    for (size_t i = 1; i < first.count; ++i) rows.push_back({i, "a"});
    rows.push_back({first.count, "end"});
    ASSERT_TRUE(Read(0, rows));
    for (size_t i = 1; i < first.count; ++i) ASSERT_EQ(Take(0), "a");
    std::vector<Row> next;
    if (other_follows) next = {{5000, "straggler"}};
    ASSERT_TRUE(Read(0, next));
    EXPECT_EQ(Take(0), "AGX_ENDED");
  }
}

TEST_F(CursorTest, StopsAtItsLimit) {
  Make({.limit = 2});
  ASSERT_TRUE(Read(0, {{1, "a"}, {2, "b"}, {3, "c"}}));
  EXPECT_THAT(TakeAll(0), ElementsAre("a", "b", "AGX_LIMIT"));
  EXPECT_TRUE(cursor_->final());
  EXPECT_EQ(Take(1000000), "AGX_LIMIT");
  EXPECT_EQ(cursor_->position(), (EntryId{2, 0}));
}

TEST_F(CursorTest, TellsOfAGapOnceAndGoesOn) {
  Make({}, {1, 0});
  ASSERT_TRUE(Read(0, {{5, "a"}}, true, true));
  EXPECT_THAT(TakeAll(0), ElementsAre("AGX_GAP"));
  EXPECT_THAT(TakeAll(0), ElementsAre("a"));
}

TEST_F(CursorTest, TellsOfAGapBeforeAnythingIsThereAndThenTakesWhateverComes) {
  Make({}, {9, 0});
  ASSERT_TRUE(Read(0, {}, false, true));
  EXPECT_THAT(TakeAll(0), ElementsAre("AGX_GAP"));
  EXPECT_EQ(Take(0), "");
  ReadRequest request;
  cursor_->Prepare(&request);
  EXPECT_EQ(request.after, (EntryId{0, 0}));
  ASSERT_TRUE(Read(1, {{3, "begin"}}));
  EXPECT_THAT(TakeAll(1), ElementsAre("begin"));
}

TEST_F(CursorTest, IsAbsentAfterItsWaitOnceAndWaitsAnew) {
  Make({.wait_ms = 1000});
  ASSERT_TRUE(Read(0, {}, false));
  NoFlag(0);
  EXPECT_EQ(Take(999), "");
  // Not without a read that came after that moment.
  EXPECT_EQ(Take(1000), "");
  EXPECT_LE(cursor_->Due(), At(1000));
  ASSERT_TRUE(Read(1001, {}, false));
  EXPECT_EQ(Take(1001), "AGX_ABSENT");
  ASSERT_TRUE(Read(1500, {}, false));
  NoFlag(1500);
  EXPECT_EQ(Take(1500), "");
  ASSERT_TRUE(Read(2001, {}, false));
  EXPECT_EQ(Take(2001), "AGX_ABSENT");
}

TEST_F(CursorTest, WaitsWithoutEnd) {
  Make({.wait_ms = -1, .timeout_ms = -1});
  ASSERT_TRUE(Read(0, {}, false));
  NoFlag(0);
  for (int64_t ms = 0; ms < 100'000'000; ms += 10'000'000) {
    ASSERT_TRUE(Read(ms, {}, false));
    NoFlag(ms);
    EXPECT_EQ(Take(ms), "");
  }
  ASSERT_TRUE(Read(100'000'000, {{1, "begin"}}));
  Flag(100'000'000, -1);
  EXPECT_EQ(Take(100'000'000), "begin");
  for (int64_t ms = 100'000'000; ms < 200'000'000; ms += 10'000'000) {
    ASSERT_TRUE(Read(ms, {}));
    Flag(ms, -1);
    EXPECT_EQ(Take(ms), "");
  }
}

TEST_F(CursorTest, AFlagAloneIsASessionThatHasAppeared) {
  Make({.wait_ms = 1000, .timeout_ms = 5000});
  ASSERT_TRUE(Read(0, {}, false));
  Flag(0, -1);
  ASSERT_TRUE(Read(1001, {}, false));
  EXPECT_EQ(Take(1001), "");
  ASSERT_TRUE(Read(5001, {}, false));
  EXPECT_EQ(Take(5001), "AGX_SILENT");
}

TEST_F(CursorTest, IsSilentAfterTheLastEvent) {
  Make({.timeout_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "a"}}));
  Flag(0, -1);
  EXPECT_EQ(Take(100), "a");
  ASSERT_TRUE(Read(900, {{2, "b"}}));
  EXPECT_EQ(Take(900), "b");
  EXPECT_EQ(Take(1800), "");
  ASSERT_TRUE(Read(1899, {}));
  EXPECT_EQ(Take(1899), "");
  ASSERT_TRUE(Read(1901, {}));
  EXPECT_EQ(Take(1901), "AGX_SILENT");
  EXPECT_EQ(Take(1901), "");
  ASSERT_TRUE(Read(2902, {}));
  EXPECT_EQ(Take(2902), "AGX_SILENT");
}

TEST_F(CursorTest, AnEventThatIsThereGoesBeforeSilence) {
  Make({.timeout_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "a"}}));
  EXPECT_EQ(Take(0), "a");
  ASSERT_TRUE(Read(5000, {{2, "b"}}));
  EXPECT_EQ(Take(5000), "b");
  EXPECT_EQ(Take(5000), "");
}

TEST_F(CursorTest, IsGoneWhenALeaseThatWasSeenRanOut) {
  Make({.lease_ms = 15000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 300);
  EXPECT_EQ(Take(0), "begin");
  // Looks again while the lease would still run, and has an answer soon after its end.
  EXPECT_LT(cursor_->Due(), At(300));
  Flag(160, 140);
  EXPECT_LE(cursor_->Due(), At(310));
  NoFlag(305);
  EXPECT_EQ(Take(305), "");  // what was written before the lease ran out comes first
  ASSERT_TRUE(Read(307, {{2, "last words"}}));
  EXPECT_EQ(Take(307), "last words");
}

TEST_F(CursorTest, IsGoneWhenNothingWasLeftToRead) {
  Make({.lease_ms = 15000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 300);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(310);
  ASSERT_TRUE(Read(312, {}));
  EXPECT_EQ(Take(312), "AGX_GONE");
  EXPECT_EQ(Take(312), "");  // once
}

TEST_F(CursorTest, AnEndThatWasWrittenInTimeGoesBeforeGone) {
  Make();
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 300);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(400);
  ASSERT_TRUE(Read(402, {{2, "end"}}));
  EXPECT_EQ(Take(402), "AGX_ENDED");
}

TEST_F(CursorTest, ALeaseThatIsRenewedIsNeverGone) {
  Make({.timeout_ms = -1});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  EXPECT_EQ(Take(0), "begin");
  for (int64_t ms = 0; ms < 3'600'000; ms += 5000) {
    Flag(ms, 15000);
    ASSERT_TRUE(Read(ms, {}));
    ASSERT_EQ(Take(ms), "");
  }
}

TEST_F(CursorTest, AFlagWithoutExpiryIsNeverGone) {
  Make({.timeout_ms = -1, .lease_ms = 300});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, -1);
  EXPECT_EQ(Take(0), "begin");
  for (int64_t ms = 0; ms < 3'600'000; ms += 10000) {
    Flag(ms, -1);
    ASSERT_TRUE(Read(ms, {}));
    ASSERT_EQ(Take(ms), "");
  }
}

TEST_F(CursorTest, ALateReaderWaitsForALeaseAtMost) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "begin"}, {2, "a"}}));
  NoFlag(0);
  EXPECT_THAT(TakeAll(0), ElementsAre("begin", "a"));
  ASSERT_TRUE(Read(999, {}));
  NoFlag(999);
  EXPECT_EQ(Take(999), "");
  ASSERT_TRUE(Read(1002, {}));
  NoFlag(1002);
  EXPECT_EQ(Take(1002), "AGX_GONE");
}

TEST_F(CursorTest, ACancelledProducerHasALeaseOfTimeToSayGoodbye) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 15000);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(100);  // long before the lease's end: it was taken
  ASSERT_TRUE(Read(600, {{2, "error"}}));
  EXPECT_EQ(Take(600), "error");
  ASSERT_TRUE(Read(1200, {}));
  EXPECT_EQ(Take(1200), "");  // it still speaks
  ASSERT_TRUE(Read(1300, {{3, "end"}}));
  EXPECT_EQ(Take(1300), "AGX_ENDED");
}

TEST_F(CursorTest, ACancelledProducerThatSaysNothingIsGone) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 15000);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(100);
  ASSERT_TRUE(Read(1099, {}));
  EXPECT_EQ(Take(1099), "");
  ASSERT_TRUE(Read(1102, {}));
  EXPECT_EQ(Take(1102), "AGX_GONE");
}

TEST_F(CursorTest, ASessionThatIsStartedAgainIsNotGone) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 300);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(400);
  Flag(401, 300);
  ASSERT_TRUE(Read(402, {}));
  EXPECT_EQ(Take(402), "");
}

TEST_F(CursorTest, LooksAtTheFlagOfANewRunAtOnce) {
  Make();
  ASSERT_TRUE(Read(0, {}, false));
  NoFlag(0);
  EXPECT_FALSE(cursor_->WantsFlag(At(1000)));
  ASSERT_TRUE(Read(1000, {{1, "begin"}}));
  EXPECT_TRUE(cursor_->WantsFlag(At(1000)));
  Flag(1000, 300);
  EXPECT_FALSE(cursor_->WantsFlag(At(1001)));
  EXPECT_EQ(Take(1001), "begin");
  ASSERT_TRUE(Read(1100, {{2, "a"}}));
  EXPECT_EQ(Take(1100), "a");
  EXPECT_FALSE(cursor_->WantsFlag(At(1100)));
  ASSERT_TRUE(Read(1110, {{3, "end"}, {4, "begin"}}));
  EXPECT_TRUE(cursor_->WantsFlag(At(1110)));
}

TEST_F(CursorTest, AFlagThatWasReadWithTheFirstEventsIsNotReadAgain) {
  Make();
  ReadRequest request;
  cursor_->Prepare(&request);
  request.live_key = "live";
  request.batch = MakeBatch({{1, "begin"}});
  request.exists = true;
  Flag(0, 15000);
  ASSERT_TRUE(cursor_->Absorb(&request, At(0)));
  EXPECT_FALSE(cursor_->WantsFlag(At(0)));
}

TEST_F(CursorTest, AfterGoneASessionThatComesBackIsFollowed) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "begin"}}));
  Flag(0, 300);
  EXPECT_EQ(Take(0), "begin");
  NoFlag(310);
  ASSERT_TRUE(Read(312, {}));
  EXPECT_EQ(Take(312), "AGX_GONE");
  Flag(320, 300);
  ASSERT_TRUE(Read(321, {{2, "begin"}}));
  EXPECT_EQ(Take(321), "begin");
  NoFlag(700);
  ASSERT_TRUE(Read(702, {}));
  EXPECT_EQ(Take(702), "AGX_GONE");
}

TEST_F(CursorTest, AStopThatWasToldIsGoneOnceAllHasBeenRead) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "a"}}));
  Flag(0, 1000);
  EXPECT_EQ(Take(0), "a");
  cursor_->NoteStop();
  EXPECT_TRUE(cursor_->WantsFlag(At(10)));
  NoFlag(10);
  EXPECT_EQ(Take(20), "");  // nothing was read since
  ASSERT_TRUE(Read(20, {{2, "b"}}));
  EXPECT_EQ(Take(20), "b");
  EXPECT_TRUE(cursor_->WantsFlag(At(22)));
  NoFlag(22);
  ASSERT_TRUE(Read(22, {{3, "c"}}));
  EXPECT_EQ(Take(22), "c");
  EXPECT_EQ(Take(25), "");
  NoFlag(25);
  ASSERT_TRUE(Read(25, {}));
  EXPECT_EQ(Take(25), "AGX_GONE");
}

TEST_F(CursorTest, AStopThatWasToldIsNoneIfSomebodyStartsAgain) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "a"}}));
  EXPECT_EQ(Take(0), "a");
  cursor_->NoteStop();
  NoFlag(10);
  EXPECT_TRUE(cursor_->stopping());
  EXPECT_TRUE(cursor_->WantsFlag(At(20)));
  Flag(20, 1000);
  ASSERT_TRUE(Read(20, {}));
  EXPECT_EQ(Take(20), "");
  EXPECT_FALSE(cursor_->stopping());
}

TEST_F(CursorTest, AStopThatWasToldIsNoneIfThereIsAFlag) {
  Make({.lease_ms = 1000});
  ASSERT_TRUE(Read(0, {{1, "a"}}));
  EXPECT_EQ(Take(0), "a");
  cursor_->NoteStop();
  Flag(10, 1000);
  ASSERT_TRUE(Read(20, {}));
  EXPECT_EQ(Take(20), "");
  NoFlag(100);  // it was taken: whoever had it gets time to say so
  ASSERT_TRUE(Read(120, {}));
  EXPECT_EQ(Take(120), "");
}

}  // namespace
}  // namespace agx::test
