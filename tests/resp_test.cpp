// Replies taken apart: what of them may be kept, whatever a server sends.
#include "store/redis/resp.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace agx::redis {
namespace {

bool Fed(Parser* parser, std::string_view bytes) {
  // As much at once as a connection reads.
  constexpr size_t kAtOnce = size_t{64} * 1024;
  for (; bytes.size() > kAtOnce; bytes.remove_prefix(kAtOnce)) {
    if (!parser->Feed(bytes.data(), kAtOnce)) return false;
  }
  return parser->Feed(bytes.data(), bytes.size());
}

// What comes of the bytes, however they arrive.
Parser::Outcome OutcomeOf(std::string_view bytes, size_t step = SIZE_MAX) {
  Parser parser;
  ValueSink sink;
  sink.BeginReply(0);
  Parser::Outcome outcome = Parser::Outcome::kIncomplete;
  while (!bytes.empty() && outcome == Parser::Outcome::kIncomplete) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    EXPECT_TRUE(Fed(&parser, piece));
    outcome = parser.Next(&sink);
  }
  if (outcome == Parser::Outcome::kBroken) {
    EXPECT_FALSE(parser.refused());
    EXPECT_STRNE(parser.error(), "");
    EXPECT_EQ(parser.Next(&sink), outcome);  // for good
  }
  return outcome;
}

std::string Header(char kind, size_t number) { return kind + std::to_string(number) + "\r\n"; }

TEST(Parser, RefusesATextLongerThanAnyAsSoonAsItIsAnnounced) {
  for (size_t step : {size_t{1}, size_t{3}, SIZE_MAX}) {
    for (size_t length : {kMostText + 1, size_t{1} << 31, size_t{1} << 40, size_t{INT64_MAX}}) {
      EXPECT_EQ(OutcomeOf(Header('$', length), step), Parser::Outcome::kBroken) << length;
      EXPECT_EQ(OutcomeOf(Header('$', length) + "abc", step), Parser::Outcome::kBroken);
      bool passed_over = length <= kMostPassedOver;
      EXPECT_EQ(OutcomeOf("*2\r\n$3\r\nabc\r\n" + Header('$', length), step),
                passed_over ? Parser::Outcome::kIncomplete : Parser::Outcome::kBroken);
    }
    EXPECT_EQ(OutcomeOf("$99999999999999999999999\r\n", step), Parser::Outcome::kBroken);
    EXPECT_EQ(OutcomeOf(Header('$', kMostText) + "abc", step), Parser::Outcome::kIncomplete);
  }
}

TEST(Parser, TakesTheLargestEventsBody) {
  std::string body(AGX_BODY_MAX, 'x');
  EXPECT_EQ(OutcomeOf(Header('$', body.size()) + body + "\r\n", size_t{64} * 1024),
            Parser::Outcome::kComplete);
}

TEST(Parser, TakesNoNumberForALength) {
  for (std::string kind : {":", "+", "-"}) {
    for (std::string_view cut : {"", "\r"}) {
      EXPECT_EQ(OutcomeOf(kind + "999999999999" + std::string(cut)), Parser::Outcome::kIncomplete);
    }
    EXPECT_EQ(OutcomeOf(kind + "999999999999\r\n", 1), Parser::Outcome::kComplete);
  }
  EXPECT_EQ(OutcomeOf("*1\r\n:999999999999\r", 1), Parser::Outcome::kIncomplete);
}

TEST(Parser, RefusesALineWithoutEnd) {
  std::string line(size_t{2} * 1024 * 1024, '1');
  for (const char* kind : {"+", "-", ":", "$", "*"}) {
    EXPECT_EQ(OutcomeOf(kind + line, size_t{64} * 1024), Parser::Outcome::kBroken) << kind;
  }
  EXPECT_EQ(OutcomeOf("-ERR " + line.substr(0, size_t{512} * 1024), 1000),
            Parser::Outcome::kIncomplete);
}

TEST(Parser, GoesOnAfterALargeText) {
  Parser parser;
  std::string text(size_t{8} * 1024 * 1024, 'x');
  for (int round = 0; round < 3; ++round) {
    ValueSink sink;
    sink.BeginReply(0);
    ASSERT_TRUE(Fed(&parser, Header('$', text.size()) + text + "\r\n:1"));
    ASSERT_EQ(parser.Next(&sink), Parser::Outcome::kComplete);
    EXPECT_EQ(sink.replies[0].text, text);
    sink.BeginReply(1);
    EXPECT_EQ(parser.Next(&sink), Parser::Outcome::kIncomplete);
    ASSERT_TRUE(Fed(&parser, "2\r\n"));
    ASSERT_EQ(parser.Next(&sink), Parser::Outcome::kComplete);
    EXPECT_EQ(sink.replies[1].integer, 12);
    EXPECT_FALSE(parser.HasMore());
  }
}

std::string Bulk(std::string_view text) {
  return Header('$', text.size()) + std::string(text) + "\r\n";
}

// Entries of an XRANGE.
class EntriesSink final : public Sink {
 public:
  explicit EntriesSink(size_t most) : most_(most) { Begin(); }

  void Begin() { builder_.Begin({}, most_); }
  EntriesBuilder* List() override { return &builder_; }
  BatchPtr Take() { return builder_.Take(); }

  bool String(const redisReadTask& /*task*/, std::string_view text) override {
    return builder_.String(text);
  }
  bool Array(const redisReadTask& /*task*/, size_t size) override { return builder_.Array(size); }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return false; }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view /*text*/) override {}

 private:
  size_t most_;
  EntriesBuilder builder_;
};

Parser::Outcome OutcomeAsEntries(const std::string& bytes, size_t most) {
  Parser parser;
  EntriesSink sink(most);
  EXPECT_TRUE(Fed(&parser, bytes));
  return parser.Next(&sink);
}

TEST(EntriesBuilder, RefusesMoreEntriesThanWereAskedFor) {
  std::string entry = "*2\r\n" + Bulk("1-1") + "*2\r\n" + Bulk("type") + Bulk("t");
  EXPECT_EQ(OutcomeAsEntries("*2\r\n" + entry + entry, 2), Parser::Outcome::kComplete);
  EXPECT_EQ(OutcomeAsEntries("*3\r\n", 2), Parser::Outcome::kBroken);
}

// Entries of which the one in the middle is too large, in the pieces in which they may arrive.
TEST(EntriesBuilder, PassesOverAnEntryThatIsTooLarge) {
  std::string part = Bulk("name") + Bulk(std::string(kMostText / 4, 'x'));
  std::string small = "*2\r\n" + Bulk("1-1") + "*2\r\n" + Bulk("type") + Bulk("a");
  for (const std::string& fields :
       {"*10\r\n" + part + part + part + part + part,
        "*4\r\n" + Bulk("type") + Bulk(std::string(kMostText + 1, 'x')) + Bulk("k") + Bulk("v"),
        "*2\r\n" + Bulk(std::string(kMostText + 1, 'x')) + Bulk("k")}) {
    std::string list = "*3\r\n" + small + "*2\r\n" + Bulk("1-2") + fields + "*2\r\n" + Bulk("1-3") +
                       "*2\r\n" + Bulk("type") + Bulk("b");
    for (size_t step : {list.size(), size_t{1000003}, size_t{65536}}) {
      Parser parser;
      EntriesSink sink(3);
      Parser::Outcome outcome = Parser::Outcome::kIncomplete;
      for (std::string_view rest = list; !rest.empty();
           rest.remove_prefix(std::min(step, rest.size()))) {
        ASSERT_EQ(outcome, Parser::Outcome::kIncomplete);
        ASSERT_TRUE(Fed(&parser, rest.substr(0, step)));
        outcome = parser.Next(&sink);
      }
      ASSERT_EQ(outcome, Parser::Outcome::kComplete);
      BatchPtr batch = sink.Take();
      ASSERT_EQ(batch->size(), 3u);
      const Entry* entry = batch->first();
      EXPECT_EQ(entry->refusal, nullptr);
      entry = entry->next;
      EXPECT_EQ(entry->id_text, "1-2");
      EXPECT_STREQ(entry->refusal, kTooLarge);
      EXPECT_EQ(entry->field_count, 0u);
      EXPECT_LT(batch->bytes(), kMostText + 10000);
      EXPECT_EQ(entry->next->refusal, nullptr);
      EXPECT_EQ(entry->next->fields[0].value, "b");
    }
  }
}

TEST(ElementsBuilder, PassesOverAnElementThatIsTooLarge) {
  std::string large(kMostText + 5, 'x');
  std::string list = "*4\r\n" + Bulk("before") + Bulk("a") + Bulk(large) + Bulk("b");
  Parser parser;
  struct ElementsOnly final : Sink {
    ListBuilder* List() override { return &builder; }
    bool String(const redisReadTask&, std::string_view) override { return false; }
    bool Array(const redisReadTask&, size_t) override { return false; }
    bool Integer(const redisReadTask&, int64_t) override { return false; }
    bool Nil(const redisReadTask&) override { return false; }
    void Error(std::string_view) override {}
    ElementsBuilder builder;
  } sink;
  sink.builder.Begin({1, HashElement("before")}, 4);
  Parser::Outcome outcome = Parser::Outcome::kIncomplete;
  for (size_t at = 0; at < list.size(); at += 100001) {
    ASSERT_TRUE(Fed(&parser, std::string_view(list).substr(at, 100001)));
    outcome = parser.Next(&sink);
  }
  ASSERT_EQ(outcome, Parser::Outcome::kComplete);
  EXPECT_TRUE(sink.builder.verified());
  BatchPtr batch = sink.builder.Take();
  ASSERT_EQ(batch->size(), 3u);
  const Entry* entry = batch->first()->next;
  EXPECT_EQ(entry->id, (EntryId{3, HashElement(large)}));
  EXPECT_STREQ(entry->refusal, kTooLarge);
  EXPECT_EQ(entry->next->fields[0].value, "b");
  // And where it is the cursor's own.
  sink.builder.Begin({1, HashElement(large)}, 2);
  ASSERT_TRUE(Fed(&parser, "*2\r\n" + Bulk(large) + Bulk("b")));
  ASSERT_EQ(parser.Next(&sink), Parser::Outcome::kComplete);
  EXPECT_TRUE(sink.builder.verified());
}

std::string EntryOf(std::string_view id, size_t fields) {
  std::string entry = "*2\r\n" + Bulk(id) + Header('*', fields * 2);
  for (size_t i = 0; i < fields; ++i) {
    entry += Bulk(i == 1 ? "type" : "name" + std::to_string(i)) + Bulk(std::string(i * 60, 'v'));
  }
  return entry;
}

std::string Seen(EntriesSink* sink) {
  std::string seen;
  BatchPtr batch = sink->Take();
  while (batch != nullptr && !batch->empty()) {
    Entry* entry = batch->TakeFirst();
    seen.append(entry->id_text).append(": ");
    for (size_t i = 0; i < entry->field_count; ++i) {
      const Field& field = entry->fields[i];
      EXPECT_EQ(field.name.data()[field.name.size()], '\0');
      EXPECT_EQ(field.value.data()[field.value.size()], '\0');
      seen.append(field.name).append("=").append(field.value).append(" ");
    }
    seen += '\n';
    Batch::Release(entry);
  }
  return seen;
}

// Three replies, of which the one in the middle is no list and goes another way.
TEST(EntriesBuilder, BuildsTheSameHoweverTheBytesArrive) {
  std::string list =
      "*3\r\n" + EntryOf("1-1", 1) + EntryOf("1795625596164-12", 20) + EntryOf("2-0", 0);
  std::string bytes = list + "-ERR no\r\n" + list;
  std::string whole;
  for (size_t step = bytes.size(); step > 0; step = step > 100 ? step / 2 : step - 1) {
    Parser parser;
    EntriesSink sink(3);
    std::string seen;
    size_t complete = 0;
    for (std::string_view rest = bytes; !rest.empty();) {
      std::string_view piece = rest.substr(0, step);
      rest.remove_prefix(piece.size());
      ASSERT_TRUE(Fed(&parser, piece));
      Parser::Outcome outcome = Parser::Outcome::kComplete;
      while ((outcome = parser.Next(&sink)) == Parser::Outcome::kComplete) {
        ++complete;
        seen += Seen(&sink) + "--\n";
        sink.Begin();
      }
      ASSERT_EQ(outcome, Parser::Outcome::kIncomplete) << parser.error();
    }
    EXPECT_EQ(complete, 3U);
    EXPECT_FALSE(parser.HasMore());
    if (whole.empty()) whole = seen;
    ASSERT_EQ(seen, whole) << "in steps of " << step;
  }
  EXPECT_NE(whole.find("1795625596164-12: name0= type="), std::string::npos) << whole;
}

TEST(EntriesScan, KnowsTheEndHoweverTheBytesArrive) {
  std::string list =
      "*3\r\n" + EntryOf("1-1", 1) + EntryOf("1795625596164-12", 20) + EntryOf("2-0", 0);
  for (size_t step = list.size(); step > 0; --step) {
    EntriesScan scan(3);
    // Each time a buffer of its own, so that nothing beyond it can be read.
    std::string held;
    size_t scanned = 0;
    for (size_t at = 0; at < list.size(); at += step) {
      held += std::string_view(list).substr(at, step);
      std::string buffer(held);
      const char* p = buffer.data() + scanned;
      EntriesScan::Outcome outcome = scan.Scan(&p, buffer.data() + buffer.size());
      scanned = static_cast<size_t>(p - buffer.data());
      bool complete = held.size() == list.size();
      ASSERT_EQ(outcome,
                complete ? EntriesScan::Outcome::kComplete : EntriesScan::Outcome::kIncomplete)
          << held.size() << " bytes in steps of " << step;
    }
    EXPECT_EQ(scanned, list.size());
    EXPECT_EQ(scan.size(), 3U);
    EXPECT_EQ(scan.first(), (EntryId{1, 1}));
    EXPECT_EQ(scan.last(), (EntryId{2, 0}));
  }
}

TEST(EntriesScan, StopsAtTheEndOfItsReply) {
  std::string bytes = "*1\r\n" + EntryOf("7-7", 2) + "*1\r\n";
  EntriesScan scan(3);
  const char* at = bytes.data();
  EXPECT_EQ(scan.Scan(&at, at + bytes.size()), EntriesScan::Outcome::kComplete);
  EXPECT_EQ(at, bytes.data() + bytes.size() - 4);
  EXPECT_EQ(scan.first(), scan.last());
  EntriesScan empty;
  bytes = "*0\r\n";
  at = bytes.data();
  EXPECT_EQ(empty.Scan(&at, at + bytes.size()), EntriesScan::Outcome::kComplete);
  EXPECT_EQ(empty.size(), 0U);
}

TEST(EntriesScan, LeavesOtherRepliesToTheBuilder) {
  for (const std::string& other :
       {std::string("-ERR no\r\n"), std::string("*-1\r\n"), std::string("$1\r\nx\r\n"),
        "*1\r\n" + Bulk("1-1"), std::string("*1\r\n*3\r\n"), "*1\r\n*2\r\n" + Bulk("x") + "*0\r\n",
        "*1\r\n*2\r\n" + Bulk("1-1") + "*-1\r\n", "*1\r\n*2\r\n" + Bulk("1-1") + "*2\r\n:1\r\n",
        // and what is refused as soon as it is announced
        std::string("*4\r\n"), "*1\r\n*2\r\n" + Bulk("1-1") + "*3\r\n",
        "*1\r\n*2\r\n" + Bulk("1-1") + Header('*', 200000)}) {
    EntriesScan scan(3);
    const char* at = other.data();
    EXPECT_EQ(scan.Scan(&at, at + other.size()), EntriesScan::Outcome::kRefused) << other;
  }
}

TEST(EntriesScan, LeavesATextThatIsTooLongToTheBuilder) {
  std::string entry = "*1\r\n*2\r\n" + Bulk("1-1") + "*2\r\n" + Header('$', kMostText + 1);
  EntriesScan scan(3);
  const char* at = entry.data();
  EXPECT_EQ(scan.Scan(&at, at + entry.size()), EntriesScan::Outcome::kTooLong);
}

TEST(EntriesBuilder, RefusesWhatIsNoListOfEntries) {
  std::string id = "*2\r\n" + Bulk("1-1");
  for (const std::string& list :
       {std::string("*-1\r\n"), std::string("*x\r\n"), std::string("*1\n"), "*1\r\n" + Bulk("1-1"),
        std::string("*1\r\n*3\r\n"), "*1\r\n*2\r\n" + Bulk("x"),
        "*1\r\n*2\r\n" + Bulk("1-") + "*0\r\n", "*1\r\n*2\r\n" + Bulk("") + "*0\r\n",
        "*1\r\n*2\r\n" + Bulk("99999999999999999999-0") + "*0\r\n", "*1\r\n" + id + Bulk("type"),
        "*1\r\n" + id + "*3\r\n", "*1\r\n" + id + "*-1\r\n", "*1\r\n" + id + "*2\r\n:1\r\n",
        "*1\r\n" + id + "*2\r\n$-1\r\n", "*1\r\n" + id + "*2\r\n$4\r\ntypeXX",
        "*1\r\n" + id + "*2\r\n*1\r\n", "*1\r\n" + id + Header('*', 200000)}) {
    EXPECT_EQ(OutcomeAsEntries(list, 1), Parser::Outcome::kBroken) << list;
  }
}

TEST(EntriesBuilder, RefusesATextLongerThanAnyAsSoonAsItIsAnnounced) {
  std::string entry = "*1\r\n*2\r\n" + Bulk("1-1") + "*2\r\n";
  EXPECT_EQ(OutcomeAsEntries(entry + Header('$', kMostPassedOver + 1), 1),
            Parser::Outcome::kBroken);
  EXPECT_EQ(OutcomeAsEntries(entry + Header('$', kMostPassedOver), 1),
            Parser::Outcome::kIncomplete);
  EXPECT_EQ(OutcomeAsEntries(entry + "$9999999999999999999999", 1), Parser::Outcome::kBroken);
  EXPECT_EQ(OutcomeAsEntries(entry + Header('$', kMostText), 1), Parser::Outcome::kIncomplete);
}

TEST(ValueSink, ReadsAListInTheSameWayHoweverItIsTakenApart) {
  std::string list = "*7\r\n" + Bulk("text") + ":-5\r\n$-1\r\n*-1\r\n*2\r\n" + Bulk("") +
                     "*0\r\n+status\r\n-ERR no\r\n";
  for (size_t step = list.size(); step > 0; --step) {
    Parser parser;
    ValueSink sink;
    sink.BeginReply(0);
    Parser::Outcome outcome = Parser::Outcome::kIncomplete;
    for (size_t at = 0; at < list.size(); at += step) {
      ASSERT_TRUE(Fed(&parser, std::string_view(list).substr(at, step)));
      outcome = parser.Next(&sink);
    }
    ASSERT_EQ(outcome, Parser::Outcome::kComplete) << step;
    const std::vector<Value>& items = sink.replies[0].items;
    ASSERT_EQ(items.size(), 7u);
    EXPECT_EQ(items[0].text, "text");
    EXPECT_EQ(items[1].integer, -5);
    EXPECT_EQ(items[2].kind, Value::Kind::kNil);
    EXPECT_EQ(items[3].kind, Value::Kind::kNil);
    ASSERT_EQ(items[4].items.size(), 2u);
    EXPECT_EQ(items[4].items[1].kind, Value::Kind::kArray);
    EXPECT_EQ(items[5].text, "status");
    EXPECT_TRUE(items[6].is_error());
  }
}

TEST(ValueSink, PassesOverATextThatIsTooLong) {
  std::string large(kMostText + 1, 'x');
  Parser parser;
  ValueSink sink;
  sink.BeginReply(0);
  ASSERT_TRUE(Fed(&parser, "*2\r\n" + Bulk(large) + Bulk("b")));
  ASSERT_EQ(parser.Next(&sink), Parser::Outcome::kComplete);
  ASSERT_EQ(sink.replies[0].items.size(), 2u);
  EXPECT_EQ(sink.replies[0].items[0].text, "");
  EXPECT_EQ(sink.replies[0].items[0].long_hash, HashElement(large));
  EXPECT_EQ(sink.replies[0].items[1].text, "b");
}

TEST(ValueSink, RefusesAReplyThatIsLongerThanAnyInAll) {
  std::string text = Bulk(std::string(size_t{1024} * 1024, 'x'));
  Parser parser;
  ValueSink sink;
  sink.BeginReply(0);
  ASSERT_TRUE(Fed(&parser, "*200000\r\n"));
  Parser::Outcome outcome = Parser::Outcome::kIncomplete;
  size_t taken = 0;
  for (; outcome == Parser::Outcome::kIncomplete; taken += text.size()) {
    ASSERT_LE(taken, 9 * kMostText);
    ASSERT_TRUE(Fed(&parser, text));
    outcome = parser.Next(&sink);
  }
  EXPECT_EQ(outcome, Parser::Outcome::kBroken);
  EXPECT_TRUE(parser.refused());
}

TEST(ServerError, IsFoundInWhatAScriptOfRedis6SaysOfIt) {
  const std::string script = "ERR Error running script (call to f_ea865a25): @user_script:2: ";
  EXPECT_EQ(ServerError(script + "WRONGTYPE Operation against a key", "w").code(), AGX_ETYPE);
  EXPECT_EQ(ServerError(script + "@user_script: 14: -OOM command not allowed", "w").code(),
            AGX_EFULL);
  EXPECT_EQ(ServerError(script + "-READONLY You can't write", "w").code(), AGX_EREADONLY);
  EXPECT_EQ(ServerError(script + "bad argument #1 to 'unpack'", "w").code(), AGX_ESERVER);
  for (const char* odd : {"", "@user_script:", "@user_script:2: ", "WRONGTYPE"}) {
    std::string text = std::string("ERR Error running script ") + odd;
    EXPECT_EQ(ServerError(text, "w").code(), AGX_ESERVER);
    EXPECT_NE(ServerError(text, "w").message().find(text), std::string::npos);
  }
}

TEST(ServerError, OfAPermissionThatAScriptLacksIsOne) {
  for (const char* text :
       {"NOPERM this user has no permissions to run the 'xadd' command",
        "ERR The user executing the script can't run this command or subcommand",
        "ERR The user executing the script can't access at least one of the keys mentioned",
        "ERR Error running script (call to f_e): @user_script:2: @user_script: 2: The user "
        "executing "
        "the script can't run this command or subcommand",
        "ERR ACL failure in script: User u has no permissions to run the 'xadd' command"}) {
    EXPECT_EQ(ServerError(text, "w").code(), AGX_EDENIED) << text;
  }
}

}  // namespace
}  // namespace agx::redis
