// ctest-labels: redis threads
// ctest-timeout: 120
// Reading back through the C API: ranges, facts, trimming and deleting.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Page {
  agx_status status;
  std::vector<EventPtr> events;

  std::vector<std::string> types() const {
    std::vector<std::string> types;
    for (const EventPtr& event : events) types.emplace_back(agx_event_type(event.get(), nullptr));
    return types;
  }
  std::vector<std::string> bodies() const {
    std::vector<std::string> bodies;
    for (const EventPtr& event : events) bodies.emplace_back(agx_event_body(event.get(), nullptr));
    return bodies;
  }
  std::string last_id() const { return agx_event_id(events.back().get(), nullptr); }
};

Page Read(const SessionPtr& session, const agx_history_options& options, size_t capacity = 100) {
  std::vector<agx_event*> events(capacity, nullptr);
  size_t count = 99;
  Page page;
  page.status = agx_history_read(session.get(), &options, events.data(), capacity, &count);
  EXPECT_LE(count, capacity);
  EXPECT_EQ(count > 0, page.status == AGX_OK);
  for (size_t i = 0; i < count; ++i) page.events.emplace_back(events[i]);
  EXPECT_TRUE(std::all_of(events.begin() + static_cast<std::ptrdiff_t>(count), events.end(),
                          [](agx_event* event) { return event == nullptr; }));
  return page;
}

agx_history_options Between(const char* after, const char* before, bool reverse = false,
                            const char* where = nullptr) {
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.after = after;
  options.before = before;
  options.reverse = reverse ? 1 : 0;
  options.where = where;
  return options;
}
agx_history_options Where(const char* where) { return Between(nullptr, nullptr, false, where); }

agx_history InfoOf(const SessionPtr& session) {
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_OK);
  return info;
}

uint64_t Trim(const SessionPtr& session, int64_t max_length, const char* before = nullptr) {
  uint64_t removed = 99;
  EXPECT_EQ(agx_history_trim(session.get(), max_length, before, &removed), AGX_OK);
  return removed;
}

// Adds so many, with bodies {"n":0}, {"n":1}, …
void AddNumbers(const SessionPtr& session, int count) {
  std::vector<std::string> bodies;
  for (int i = 0; i < count; ++i) bodies.push_back("{\"n\":" + std::to_string(i) + "}");
  std::vector<agx_new_event> events;
  events.reserve(bodies.size());
  for (const std::string& body : bodies) events.push_back({"event", "test", body.c_str()});
  size_t added = 0;
  EXPECT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, &added), AGX_OK);
}

class CapiHistory : public OnEachStore {
 protected:
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiHistory);

// --- Reading

TEST_P(CapiHistory, EverythingThatIsThere) {
  SessionPtr producer = Started(other_);
  Add(producer, "event", "{\"n\": 1}", "me");
  EXPECT_EQ(agx_stop(producer.get(), kPatienceMs), AGX_OK);
  Page page = Read(session_, AGX_HISTORY_OPTIONS_INIT);
  EXPECT_THAT(page.types(), ElementsAre("begin", "event", "end"));
  EXPECT_EQ(page.bodies()[1], "{\"n\": 1}");
  EXPECT_STREQ(agx_event_origin(page.events[1].get(), nullptr), "me");
  const char* json = nullptr;
  EXPECT_EQ(agx_event_json(page.events[1].get(), AGX_JSON_BARE, &json, nullptr), AGX_OK);
  EXPECT_STREQ(json, "{\"type\":\"event\",\"origin\":\"me\",\"body\":{\"n\": 1}}");
  agx_event* events[1];
  size_t count = 0;
  EXPECT_EQ(agx_history_read(session_.get(), nullptr, events, 1, &count), AGX_OK);
  EventPtr first(events[0]);
  EXPECT_STREQ(agx_event_type(first.get(), nullptr), "begin");
}

TEST_P(CapiHistory, ARangeExcludesItsBounds) {
  std::vector<std::string> ids;
  for (const char* type : {"a", "b", "c", "d", "e"}) ids.push_back(Add(session_, type));
  const char* first = ids[0].c_str();
  const char* last = ids[4].c_str();
  EXPECT_THAT(Read(session_, Between(first, nullptr)).types(), ElementsAre("b", "c", "d", "e"));
  EXPECT_THAT(Read(session_, Between(nullptr, last)).types(), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Read(session_, Between(first, last)).types(), ElementsAre("b", "c", "d"));
  EXPECT_THAT(Read(session_, Between(first, last), 2).types(), ElementsAre("b", "c"));
  EXPECT_THAT(Read(session_, Between(first, last, true)).types(), ElementsAre("d", "c", "b"));
  EXPECT_THAT(Read(session_, Between(first, last, true), 2).types(), ElementsAre("d", "c"));
  EXPECT_THAT(Read(session_, Between("0", nullptr), 1).types(), ElementsAre("a"));
  EXPECT_THAT(Read(session_, Between(nullptr, nullptr, true), 2).types(), ElementsAre("e", "d"));
}

TEST_P(CapiHistory, NothingIsThere) {
  EXPECT_EQ(Read(session_, AGX_HISTORY_OPTIONS_INIT).status, AGX_ENDED);
  EXPECT_STRNE(agx_last_error(), "");
  std::string id = Add(session_, "a");
  for (bool reverse : {false, true}) {
    EXPECT_EQ(Read(session_, Between(id.c_str(), nullptr, reverse)).status, AGX_ENDED);
    EXPECT_EQ(Read(session_, Between(nullptr, id.c_str(), reverse)).status, AGX_ENDED);
    EXPECT_EQ(Read(session_, Between(nullptr, "0", reverse)).status, AGX_ENDED);
    EXPECT_EQ(Read(session_, Between("18446744073709551615-18446744073709551615", nullptr, reverse))
                  .status,
              AGX_ENDED);
    EXPECT_EQ(Read(session_, Between("2", "1", reverse)).status, AGX_ENDED);
  }
  EXPECT_EQ(Trim(session_, 0), 1U);
  EXPECT_EQ(Read(session_, AGX_HISTORY_OPTIONS_INIT).status, AGX_ENDED);
}

TEST_P(CapiHistory, PageAfterPage) {
  constexpr size_t kEvents = 5000;
  AddNumbers(session_, kEvents);
  for (bool reverse : {false, true}) {
    for (size_t capacity : {size_t{300}, size_t{2500}, size_t{10000}}) {
      std::vector<std::string> found;
      agx_history_options options = Between(nullptr, nullptr, reverse);
      std::string last;
      for (;;) {
        Page page = Read(session_, options, capacity);
        if (page.status != AGX_OK) {
          EXPECT_EQ(page.status, AGX_ENDED);
          break;
        }
        EXPECT_THAT(page.events, SizeIs(std::min(capacity, kEvents - found.size())));
        std::vector<std::string> bodies = page.bodies();
        std::move(bodies.begin(), bodies.end(), std::back_inserter(found));
        last = page.last_id();
        (reverse ? options.before : options.after) = last.c_str();
      }
      if (reverse) std::reverse(found.begin(), found.end());
      ASSERT_THAT(found, SizeIs(kEvents));
      for (size_t i = 0; i < kEvents; ++i) {
        ASSERT_EQ(found[i], "{\"n\":" + std::to_string(i) + "}");
      }
    }
  }
}

TEST_P(CapiHistory, LargeBodies) {
  std::string body = '"' + std::string(size_t{300} * 1024, 'x') + '"';
  for (int i = 0; i < 40; ++i) Add(session_, "event", body.c_str());
  EXPECT_THAT(Read(session_, AGX_HISTORY_OPTIONS_INIT).bodies(),
              testing::AllOf(SizeIs(40), testing::Each(body)));
}

TEST_P(CapiHistory, OnlyWhatTheConditionSelectsCounts) {
  AddNumbers(session_, 3000);
  Page page = Read(session_, Where("body.n >= 2500"), 3);
  EXPECT_THAT(page.bodies(), ElementsAre("{\"n\":2500}", "{\"n\":2501}", "{\"n\":2502}"));
  page = Read(session_, Between(page.last_id().c_str(), nullptr, false, "body.n >= 2990"));
  EXPECT_THAT(page.events, SizeIs(10));
  page = Read(session_, Between(nullptr, nullptr, true, "body.n = 7 or body.n = 1111"));
  EXPECT_THAT(page.bodies(), ElementsAre("{\"n\":1111}", "{\"n\":7}"));
  EXPECT_STREQ(agx_event_origin(page.events[0].get(), nullptr), "test");
  EXPECT_EQ(Read(session_, Where("type = \"none\"")).status, AGX_ENDED);
  EXPECT_THAT(Read(session_, Where("type = \"event\""), 3000).events, SizeIs(3000));
}

TEST_P(CapiHistory, BadArguments) {
  Add(session_, "a");
  for (const char* id : {"", "new", "$", "-", "+", "(1-1", "1-", "-1", "1-1-1", "1 ", "0x1",
                         "18446744073709551616"}) {
    EXPECT_EQ(Read(session_, Between(id, nullptr)).status, AGX_EINVAL) << id;
    EXPECT_THAT(agx_last_error(), HasSubstr("after"));
    EXPECT_EQ(Read(session_, Between(nullptr, id)).status, AGX_EINVAL) << id;
    EXPECT_THAT(agx_last_error(), HasSubstr("before"));
    EXPECT_EQ(agx_history_trim(session_.get(), -1, id, nullptr), AGX_EINVAL) << id;
  }
  EXPECT_EQ(Read(session_, Where("type =")).status, AGX_EINVAL);
  EXPECT_EQ(Read(session_, Where(std::string(100000, ' ').c_str())).status, AGX_ETOOBIG);
  agx_history_options sized = AGX_HISTORY_OPTIONS_INIT;
  sized.size = 3;
  EXPECT_EQ(Read(session_, sized).status, AGX_EINVAL);
  agx_event* event = nullptr;
  size_t count = 9;
  EXPECT_EQ(agx_history_read(session_.get(), nullptr, &event, 0, &count), AGX_EINVAL);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(agx_history_read(session_.get(), nullptr, nullptr, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_history_read(session_.get(), nullptr, &event, 1, nullptr), AGX_EINVAL);
  EXPECT_EQ(event, nullptr);
  EXPECT_EQ(agx_history_info(session_.get(), nullptr), AGX_EINVAL);
  uint64_t removed = 9;
  EXPECT_EQ(agx_history_trim(session_.get(), -1, nullptr, &removed), AGX_EINVAL) << "neither";
  EXPECT_EQ(removed, 0U);
  EXPECT_EQ(agx_history_trim(session_.get(), 1, "1-1", nullptr), AGX_EINVAL) << "both";
  EXPECT_THAT(Stored(session_), ElementsAre("a"));
}

void ExpectAll(agx_session* session, agx_status status) {
  agx_event* event = nullptr;
  size_t count = 9;
  EXPECT_EQ(agx_history_read(session, nullptr, &event, 1, &count), status);
  EXPECT_EQ(count, 0U);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session, &info), status);
  EXPECT_EQ(agx_history_trim(session, 1, nullptr, nullptr), status);
  EXPECT_EQ(agx_history_delete(session), status);
}

TEST_P(CapiHistory, ClosedHandles) {
  ExpectAll(nullptr, AGX_EINVAL);
  SessionPtr session = OpenSession(other_);
  agx_session* closed = session.get();
  session.reset();
  ExpectAll(closed, AGX_ECLOSED);
  session = OpenSession(other_);
  other_.reset();
  ExpectAll(session.get(), AGX_ECLOSED);
}

TEST_P(CapiHistory, AnOlderPrograms) {
  SessionPtr producer = Started(other_);
  // Of a struct that had no member behind length.
  agx_history info = AGX_HISTORY_INIT;
  info.size = offsetof(agx_history, first_id);
  info.live = 77;
  EXPECT_EQ(agx_history_info(session_.get(), &info), AGX_OK);
  EXPECT_EQ(info.length, 1U);
  EXPECT_EQ(info.size, offsetof(agx_history, first_id));
  EXPECT_STREQ(info.first_id, "");
  EXPECT_EQ(info.live, 77);
  info.size = 0;
  EXPECT_EQ(agx_history_info(session_.get(), &info), AGX_EINVAL);
}

// --- Facts

TEST_P(CapiHistory, WhatThereIsOfASession) {
  agx_history info = AGX_HISTORY_INIT;
  info.length = 9;
  info.live = 9;
  EXPECT_EQ(agx_history_info(session_.get(), &info), AGX_NONE);
  EXPECT_EQ(info.length, 0U);
  EXPECT_EQ(info.live, 0);
  EXPECT_EQ(info.expire_ms, -1);

  SessionPtr producer = Started(other_);
  std::string last = Add(producer, "event");
  info = InfoOf(session_);
  EXPECT_EQ(info.length, 2U);
  EXPECT_STREQ(info.last_id, last.c_str());
  EXPECT_STREQ(info.last_generated_id, last.c_str());
  EXPECT_EQ(Read(session_, AGX_HISTORY_OPTIONS_INIT, 1).last_id(), info.first_id);
  EXPECT_EQ(info.live, 1);
  EXPECT_EQ(info.expire_ms, -1);
  EXPECT_EQ(info.groups, 0);

  EXPECT_EQ(agx_stop(producer.get(), kPatienceMs), AGX_OK);
  info = InfoOf(session_);
  EXPECT_EQ(info.length, 3U);
  EXPECT_EQ(info.live, 0);
  EXPECT_GT(info.expire_ms, 0);
  EXPECT_LE(info.expire_ms, kPatienceMs);

  last = info.last_id;
  EXPECT_EQ(Trim(session_, 0), 3U);
  info = InfoOf(session_);
  EXPECT_EQ(info.length, 0U);
  EXPECT_STREQ(info.first_id, "");
  EXPECT_STREQ(info.last_id, "");
  EXPECT_STREQ(info.last_generated_id, last.c_str());
}

// A live flag is enough.
TEST_P(CapiHistory, ALiveSessionWithoutEventsIsThere) {
  agx_stream_options list = AGX_STREAM_OPTIONS_INIT;
  list.format = "ag2";
  agx_session* opened = nullptr;
  ASSERT_EQ(agx_stream_open(client_.get(), "list", &list, &opened), AGX_OK);
  SessionPtr session(opened);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_NONE);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  info = InfoOf(session);
  EXPECT_EQ(info.live, 1);
  EXPECT_EQ(info.length, 0U);
  EXPECT_STREQ(info.last_id, "");
}

// --- Trimming

TEST_P(CapiHistory, TrimmingIsExact) {
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(Add(session_, std::to_string(i)));
  EXPECT_EQ(Trim(session_, 8), 2U);
  EXPECT_EQ(Trim(session_, -1, ids[5].c_str()), 3U);
  EXPECT_THAT(Stored(session_), ElementsAre("5", "6", "7", "8", "9"));
  EXPECT_EQ(Trim(session_, INT64_MAX), 0U);
  EXPECT_EQ(agx_history_trim(session_.get(), 1, nullptr, nullptr), AGX_OK);
  EXPECT_THAT(Stored(session_), ElementsAre("9"));
  EXPECT_EQ(Trim(OpenSession(client_, "none"), 0), 0U);
}

TEST_P(CapiHistory, AListenerBehindWhatIsTrimmedIsTold) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Add(session_, std::to_string(i)));
  ListenerPtr listener = ListenAfter(session_, ids[0].c_str());
  EXPECT_EQ(Trim(session_, 1), 4U);
  EXPECT_EQ(Next(listener).status, AGX_GAP);
  EXPECT_EQ(Next(listener).type(), "4");
}

TEST_P(CapiHistory, ReadWhileItIsTrimmed) {
  AddNumbers(session_, 4000);
  std::atomic<bool> done{false};
  std::thread trimmer([&] {
    for (int64_t left = 3900; left > 0; left -= 100) Trim(session_, left);
    done = true;
  });
  for (bool ended = false; !ended;) {
    ended = done;
    Page page = Read(session_, Where("body.n >= 3900"), 1000);
    EXPECT_EQ(page.status, AGX_OK);
    EXPECT_LE(page.events.size(), 100U);
    std::vector<std::string> bodies = page.bodies();
    EXPECT_TRUE(std::is_sorted(bodies.begin(), bodies.end()));
    EXPECT_EQ(bodies.back(), "{\"n\":3999}");
  }
  trimmer.join();
  EXPECT_THAT(Read(session_, AGX_HISTORY_OPTIONS_INIT, 1000).events, SizeIs(100));
}

// --- Deleting

TEST_P(CapiHistory, AllOfASessionIsDeleted) {
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_NONE);
  SessionPtr producer = Started(other_);
  EXPECT_EQ(agx_stop(producer.get(), kPatienceMs), AGX_OK);
  agx_messages* raw = nullptr;
  ASSERT_EQ(agx_messages_open(producer.get(), &raw), AGX_OK);
  MessagesPtr messages(raw);
  EXPECT_EQ(agx_messages_append_user(raw, "hello"), AGX_OK);
  EXPECT_EQ(agx_messages_save(raw), AGX_OK);

  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  EXPECT_EQ(Read(session_, AGX_HISTORY_OPTIONS_INIT).status, AGX_ENDED);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session_.get(), &info), AGX_NONE);
  EXPECT_EQ(agx_messages_save(raw), AGX_ECONFLICT) << "it is not brought back";
  EXPECT_EQ(agx_messages_load(raw), AGX_OK);
  EXPECT_EQ(agx_messages_count(raw), 0U);
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_NONE);

  EXPECT_EQ(agx_messages_append_user(raw, "again"), AGX_OK);
  EXPECT_EQ(agx_messages_save(raw), AGX_OK);
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK) << "of a conversation alone";
}

TEST_P(CapiHistory, ItsProducerSeesACancel) {
  SessionPtr producer = Started(other_);
  Add(producer, "event");
  ListenerPtr listener = Listen(session_);
  Background<agx_status> waiting([&] { return agx_wait_canceled(producer.get(), kPatienceMs); });
  waiting.AwaitBlocked();
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  EXPECT_EQ(waiting.Get(), AGX_OK);
  EXPECT_EQ(agx_is_canceled(producer.get()), 1);
  EXPECT_FALSE(IsLive(session_));
  EXPECT_THAT(Stored(session_), ElementsAre("end"));
  EXPECT_EQ(Follow(listener).back(), "AGX_ENDED");
  // It comes to its end, and takes with it what it still adds.
  Add(producer, "error", "{}");
  EXPECT_EQ(agx_stop(producer.get(), 0), AGX_OK);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_TRUE(WaitUntil([&] { return agx_history_info(session_.get(), &info) == AGX_NONE; }));
}

TEST_P(CapiHistory, WhatIsLeftOfALiveOneGoesByItself) {
  SessionPtr producer = Started(other_);
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  EXPECT_EQ(agx_wait_canceled(producer.get(), kPatienceMs), AGX_OK);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_TRUE(WaitUntil([&] { return agx_history_info(session_.get(), &info) == AGX_NONE; }));
}

TEST_P(CapiHistory, ItsOwnProducerDeletesIt) {
  SessionPtr producer = Started(other_, "s");
  Add(producer, "event");
  EXPECT_EQ(agx_history_delete(producer.get()), AGX_OK);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session_.get(), &info), AGX_NONE);
  EXPECT_EQ(agx_is_canceled(producer.get()), 0);
  EXPECT_EQ(agx_wait_canceled(producer.get(), 0), AGX_NOT_LIVE);
  EXPECT_EQ(agx_stop(producer.get(), 0), AGX_NOT_LIVE);
  EXPECT_EQ(agx_start(producer.get(), nullptr), AGX_OK);
  EXPECT_THAT(Stored(session_), ElementsAre("begin"));
  EXPECT_TRUE(IsLive(session_));
}

TEST_P(CapiHistory, TheOtherSessionsStay) {
  SessionPtr producer = Started(other_, "s2");
  Started(other_, "s");
  EXPECT_EQ(agx_history_delete(session_.get()), AGX_OK);
  EXPECT_TRUE(IsLive(producer));
  EXPECT_THAT(Stored(producer), ElementsAre("begin"));
}

// --- On a server

using CapiHistoryRedis = OnRedis;

TEST_F(CapiHistoryRedis, ConsumerGroupsAreCounted) {
  SessionPtr session = Started(client_);
  Raw({"XGROUP", "CREATE", "agx:1:2:s", "readers", "0"});
  EXPECT_EQ(InfoOf(session).groups, 1);
}

TEST_F(CapiHistoryRedis, ALiveFlagWithoutAStreamIsASession) {
  SessionPtr session = Started(client_);
  Raw({"DEL", "agx:1:2:s"});
  agx_history info = InfoOf(session);
  EXPECT_EQ(info.live, 1);
  EXPECT_EQ(info.length, 0U);
  EXPECT_STREQ(info.last_generated_id, "");
}

TEST_F(CapiHistoryRedis, AUserWhoMayOnlyReadLooksBackAllTheSame) {
  SessionPtr producer = Started(client_);
  std::string last = Add(producer, "event");
  Raw({"ACL", "SETUSER", "reader", "on", ">pw", "~agx:*", "-@all", "+xrange", "+xrevrange", "+xlen",
       "+pttl", "+client", "+info"});
  agx_options options = AGX_OPTIONS_INIT;
  options.user = "reader";
  options.password = "pw";
  ClientPtr reader = OpenClient(server_.url(), &options);
  SessionPtr session = OpenSession(reader);
  EXPECT_THAT(Read(session, AGX_HISTORY_OPTIONS_INIT).types(), ElementsAre("begin", "event"));
  agx_history info = InfoOf(session);
  EXPECT_EQ(info.length, 2U);
  EXPECT_STRNE(info.first_id, "");
  EXPECT_STREQ(info.last_id, last.c_str());
  EXPECT_STREQ(info.last_generated_id, last.c_str());
  EXPECT_EQ(info.live, 1);
  EXPECT_EQ(info.groups, -1);
  EXPECT_EQ(agx_history_info(OpenSession(reader, "none").get(), &info), AGX_NONE);
  EXPECT_EQ(agx_history_trim(session.get(), 0, nullptr, nullptr), AGX_EDENIED);
  EXPECT_EQ(agx_history_delete(session.get()), AGX_EDENIED);
}

TEST_F(CapiHistoryRedis, KeysOfAnotherTypeAreInTheWay) {
  SessionPtr session = OpenSession(client_);
  Raw({"SET", "agx:1:2:s", "text"});
  EXPECT_EQ(Read(session, AGX_HISTORY_OPTIONS_INIT).status, AGX_ETYPE);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_ETYPE);
  EXPECT_EQ(agx_history_trim(session.get(), 0, nullptr, nullptr), AGX_ETYPE);
  EXPECT_EQ(agx_history_delete(session.get()), AGX_ETYPE);
  EXPECT_THAT(Raw({"GET", "agx:1:2:s"}), HasSubstr("text"));
}

TEST_F(CapiHistoryRedis, WhatOthersWroteIsReadAsItIs) {
  SessionPtr session = OpenSession(client_);
  Raw({"XADD", "agx:1:2:s", "5-7", "body", "no JSON", "type", "odd"});
  Raw({"XADD", "agx:1:2:s", "5-8", "other", "field"});
  Page page = Read(session, Between("5-6", nullptr));
  EXPECT_THAT(page.types(), ElementsAre("odd", ""));
  EXPECT_THAT(page.bodies(), ElementsAre("no JSON", "{}"));
  EXPECT_EQ(page.last_id(), "5-8");
  EXPECT_THAT(Read(session, Between("5", "5-8")).types(), ElementsAre("odd"));
  EXPECT_EQ(Trim(session, -1, "5-8"), 1U);
}

// --- Replacing and dropping

class CapiHistoryReplace : public OnEachStore {
 protected:
  static uint64_t Replace(const SessionPtr& session, const std::vector<agx_new_event>& events,
                          agx_status expected = AGX_OK) {
    uint64_t removed = 99;
    EXPECT_EQ(agx_history_replace(session.get(), events.data(), events.size(), &removed), expected);
    return removed;
  }
};
AGX_ON_EACH_STORE(CapiHistoryReplace);

TEST_P(CapiHistoryReplace, WhatWasThereGoesAndTheNewStays) {
  SessionPtr session = Started(client_);
  AddNumbers(session, 3);
  SessionPtr theirs = OpenSession(other_);
  EXPECT_EQ(Replace(theirs, {{"summary", "test", R"({"of":3})"}, {"event", "test", nullptr}}), 4U);
  EXPECT_THAT(Stored(session), ElementsAre("summary", "event"));
  EXPECT_TRUE(IsLive(session)) << "the live flag stays";
  Add(session, "after");
  EXPECT_THAT(Stored(theirs), ElementsAre("summary", "event", "after"));
}

TEST_P(CapiHistoryReplace, AListenerIsToldOfTheGapAndGoesOnWithTheNew) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(OpenSession(other_));
  ASSERT_EQ(Next(listener).text(), "begin");
  std::string position = Position(listener);
  listener.reset();
  AddNumbers(session, 2);
  Replace(session, {{"summary", "test", nullptr}});
  listener = ListenAfter(OpenSession(other_), position.c_str());
  EXPECT_EQ(Next(listener).text(), "AGX_GAP");
  EXPECT_EQ(Next(listener).text(), "summary");
}

TEST_P(CapiHistoryReplace, DroppingLeavesAnEmptyStreamThatGoesOn) {
  SessionPtr session = Started(client_);
  AddNumbers(session, 3);
  std::string last = InfoOf(session).last_id;
  uint64_t removed = 0;
  ASSERT_EQ(agx_history_drop(session.get(), &removed), AGX_OK);
  EXPECT_EQ(removed, 4U);
  agx_history info = InfoOf(session);
  EXPECT_EQ(info.length, 0U);
  EXPECT_STREQ(info.last_generated_id, last.c_str()) << "no id is given out twice";
  EXPECT_EQ(agx_history_drop(session.get(), &removed), AGX_OK);
  EXPECT_EQ(removed, 0U);
}

TEST_P(CapiHistoryReplace, GroupsStay) {
  SessionPtr session = Started(client_);
  agx_group* opened = nullptr;
  ASSERT_EQ(agx_group_open(session.get(), "workers", nullptr, &opened), AGX_OK);
  GroupPtr group(opened);
  Replace(session, {{"summary", "test", nullptr}});
  agx_event* event = nullptr;
  size_t count = 0;
  ASSERT_EQ(agx_group_read(group.get(), AGX_GROUP_NEW, kPatienceMs, &event, 1, &count), AGX_OK);
  EXPECT_STREQ(agx_event_type(event, nullptr), "summary");
  agx_event_free(event);
}

TEST_P(CapiHistoryReplace, WhatIsRefusedChangesNothing) {
  SessionPtr session = Started(client_);
  AddNumbers(session, 1);
  EXPECT_EQ(Replace(session, {{"event", "test", "{}"}, {"event", "test", "{"}}, AGX_EJSON), 0U);
  EXPECT_EQ(agx_history_replace(session.get(), nullptr, 1, nullptr), AGX_EINVAL);
  std::vector<agx_new_event> many(AGX_REPLACE_MAX + 1, {"event", "test", nullptr});
  EXPECT_EQ(Replace(session, many, AGX_ETOOBIG), 0U);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "event"));
}

TEST_P(CapiHistoryReplace, OfAg2TheListIsReplaced) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "ag2";
  agx_session* opened = nullptr;
  ASSERT_EQ(agx_stream_open(client_.get(), "chat", &options, &opened), AGX_OK);
  SessionPtr session(opened);
  Add(session, "my.A", R"({"n":1})");
  Add(session, "my.B", R"({"n":2})");
  ListenerPtr listener = Listen(session);
  ASSERT_EQ(Next(listener).text(), "my.A");
  ASSERT_EQ(Next(listener).text(), "my.B");
  EXPECT_EQ(Replace(session, {{"my.Summary", "ag2", R"({"n":3})"}}), 2U);
  EXPECT_EQ(Next(listener).text(), "AGX_GAP");
  EXPECT_EQ(Next(listener).text(), "my.Summary");
  uint64_t removed = 0;
  ASSERT_EQ(agx_history_drop(session.get(), &removed), AGX_OK);
  EXPECT_EQ(removed, 1U);
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_NONE);
}

}  // namespace
}  // namespace agx::test
