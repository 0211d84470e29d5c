// Server-sent events out of bytes that are cut anywhere.
#include "model/sse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace agx {
namespace {

using std::string;
using std::string_view;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace std::string_literals;
using Texts = std::vector<string>;

constexpr size_t kLimit = 100;

string Show(const SseEvent& event) {
  return event.name.empty() ? string(event.data) : string(event.name) + "|" + string(event.data);
}

// What of the bytes comes out at once, in a buffer that ends where they end and is then gone.
void TakePiece(string_view piece, SseReader* reader, Texts* events) {
  std::unique_ptr<char[]> bytes(new char[piece.size()]);
  std::memcpy(bytes.get(), piece.data(), piece.size());
  reader->Take({bytes.get(), piece.size()});
  for (SseEvent event; reader->Next(&event);) events->push_back(Show(event));
}

Texts ReadCut(const std::vector<string_view>& pieces) {
  SseReader reader(kLimit);
  Texts events;
  for (string_view piece : pieces) TakePiece(piece, &reader, &events);
  if (SseEvent event; reader.Flush(&event)) events.push_back("unended " + Show(event));
  return events;
}

// The same however it is cut.
Texts Read(string_view bytes) {
  Texts whole = ReadCut({bytes});
  std::vector<string_view> single;
  for (size_t i = 0; i < bytes.size(); ++i) {
    single.push_back(bytes.substr(i, 1));
    EXPECT_EQ(ReadCut({bytes.substr(0, i), bytes.substr(i)}), whole) << "cut at " << i;
  }
  EXPECT_EQ(ReadCut(single), whole);
  return whole;
}

TEST(Sse, AnEventEndsWithAnEmptyLine) {
  EXPECT_THAT(Read("data: one\n\ndata: two\n\n"), ElementsAre("one", "two"));
}

TEST(Sse, LinesEndInAnyOfThreeWays) {
  EXPECT_THAT(Read("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata: d\n\ndata: e\r\n\n"),
              ElementsAre("a\nb", "c", "d", "e"));
}

TEST(Sse, EventsHaveNames) {
  EXPECT_THAT(Read("event: x\ndata: 1\n\ndata: 2\n\ndata: 3\nevent:y\n\n"),
              ElementsAre("x|1", "2", "y|3"));
}

TEST(Sse, AnEventWithoutDataIsNone) {
  EXPECT_THAT(Read("event: x\n\nid: 3\n\n\n\ndata: 1\n\n"), ElementsAre("1"));
}

TEST(Sse, EmptyDataIsData) {
  EXPECT_THAT(Read("data:\n\ndata\n\ndata:\ndata:\n\n"), ElementsAre("", "", "\n"));
}

TEST(Sse, OneSpaceAfterTheColonIsNotOfTheValue) {
  EXPECT_THAT(Read("data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n"),
              ElementsAre("a", "b", " c", "\td"));
}

TEST(Sse, CommentsAndOtherFieldsArePassedOver) {
  EXPECT_THAT(Read(": hello\n\n:\ndata: 1\nid: 7\nretry: 10\nfoo: bar\n: more\n\n"),
              ElementsAre("1"));
}

TEST(Sse, AByteOrderMarkMayComeFirst) {
  EXPECT_THAT(Read("\xEF\xBB\xBF"
                   "data: 1\n\n"),
              ElementsAre("1"));
  EXPECT_THAT(Read("\xEF\xBB\xBF"
                   "data: 1"),
              ElementsAre("unended 1"));
  EXPECT_THAT(Read("data: 1\n\n\xEF\xBB\xBF"
                   "data: 2\n\n"),
              ElementsAre("1"));
}

TEST(Sse, WhatIsNotEndedIsGivenAtTheEnd) {
  EXPECT_THAT(Read("data: 1\n\nevent: x\ndata: 2"), ElementsAre("1", "unended x|2"));
  EXPECT_THAT(Read("data: 1\n"), ElementsAre("unended 1"));
  EXPECT_THAT(Read("event: x\n"), IsEmpty());
  EXPECT_THAT(Read(""), IsEmpty());
}

TEST(Sse, NulAndAnyByteIsData) { EXPECT_THAT(Read("data: \0\xFF\n\n"s), ElementsAre("\0\xFF"s)); }

TEST(Sse, AnEventMayBeAsLargeAsTheLimit) {
  string most(kLimit, 'x');
  EXPECT_THAT(Read("data: " + most + "\n\n"), ElementsAre(most));
  string half(kLimit / 2, 'x');
  string rest(kLimit / 2 - 1, 'y');
  EXPECT_THAT(Read("data: " + half + "\ndata: " + rest + "\n\n"), ElementsAre(half + "\n" + rest));
}

TEST(Sse, MoreThanTheLimitIsTooBig) {
  for (const string& bytes :
       {"data: " + string(kLimit + 1, 'x') + "\n\n", "data: " + string(kLimit, 'x') + "\ndata:\n\n",
        "data: " + string(kLimit * 2, 'x'), string(kLimit * 2, ':')}) {
    SseReader reader(kLimit);
    Texts events;
    for (char c : bytes) TakePiece({&c, 1}, &reader, &events);
    EXPECT_TRUE(reader.too_big()) << bytes;
    TakePiece("\n\ndata: 1\n\n", &reader, &events);
    SseEvent event;
    EXPECT_FALSE(reader.Flush(&event));
    EXPECT_THAT(events, IsEmpty());
  }
}

TEST(Sse, ALineThatCanBeNoFieldIsRemembered) {
  SseReader reader(kLimit);
  Texts events;
  TakePiece("x-y_1: 2\nnothing\n: c\n", &reader, &events);
  EXPECT_EQ(reader.stray(), "");
  TakePiece("Bad Gateway\n<html>\n", &reader, &events);
  EXPECT_EQ(reader.stray(), "Bad Gateway");
  TakePiece("data: 1\n\n", &reader, &events);
  EXPECT_THAT(events, ElementsAre("1"));
}

TEST(Sse, AnEventInOnePieceIsNotCopied) {
  string bytes = "event: x\ndata: something\n\n";
  SseReader reader(kLimit);
  reader.Take(bytes);
  SseEvent event;
  ASSERT_TRUE(reader.Next(&event));
  EXPECT_EQ(event.data.data(), bytes.data() + bytes.find("something"));
}

}  // namespace
}  // namespace agx
