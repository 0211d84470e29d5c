// ctest-labels: redis threads
// ctest-timeout: 180
// Entries that other programs wrote, larger than any that can be read: they keep nobody from what is
// before them and behind.
#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr size_t kLimit = 68157440;

struct Stream {
  std::string format;
  std::string key;
  SessionPtr session;
};

// Told as a type, or as "too large" with the entry's id.
std::string Text(const Told& told, const std::string& large) {
  if (told.status != AGX_EUNSUPPORTED) return told.text();
  EXPECT_THAT(told.error, StartsWith("the entry " + large + ": "));
  EXPECT_THAT(told.error, HasSubstr(std::to_string(kLimit)));
  return "too large";
}

class CapiTooLarge : public OnRedis {
 protected:
  Stream Open(const std::string& format) {
    Stream stream{format, "big", nullptr};
    if (format == "agx") {
      stream.session = OpenSession(client_);
      stream.key = "agx:1:2:s";
      return stream;
    }
    agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
    options.format = format.c_str();
    agx_session* session = nullptr;
    EXPECT_EQ(agx_stream_open(client_.get(), "big", &options, &session), AGX_OK);
    stream.session = SessionPtr(session);
    if (format == "agent-framework") stream.key = "agent-stream:big";
    if (format == "ag2") stream.key = "ag2:stream:big";
    return stream;
  }

  // As the framework's own process would write it; its type, but of agent-framework, says which it is.
  std::string AddRaw(const Stream& stream, const std::string& type, size_t size) {
    std::string text(size, 'x');
    std::string reply;
    if (stream.format == "ag2") {
      Raw({"RPUSH", stream.key, R"({"__type__":")" + type + R"(","text":")" + text + R"("})"});
    } else if (stream.format == "agent-framework") {
      reply = Raw({"XADD", stream.key, "*", "text", text, "sequence", "1"});
    } else {
      const char* body = stream.format == "agx" ? "body" : "data";
      reply = Raw({"XADD", stream.key, "*", "type", type, body, "\"" + text + "\""});
    }
    return reply;
  }
  std::string LastId(const Stream& stream) {
    agx_history info = AGX_HISTORY_INIT;
    EXPECT_EQ(agx_history_info(stream.session.get(), &info), AGX_OK);
    return info.last_id;
  }
  // a, one that is too large, b. The id of the large one.
  std::string AddThree(const Stream& stream) {
    AddRaw(stream, "m.a", 1);
    AddRaw(stream, "m.large", kLimit);
    std::string id = LastId(stream);
    AddRaw(stream, "m.b", 1);
    return id;
  }
  static std::vector<std::string> Types(const Stream& stream) {
    if (stream.format == "agent-framework") return {"event", "too large", "event"};
    return {"m.a", "too large", "m.b"};
  }
};

class TooLargeInEachFormat : public CapiTooLarge,
                             public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, TooLargeInEachFormat,
                         testing::Values("agx", "openai-agents", "agent-framework", "ag2"),
                         [](const testing::TestParamInfo<const char*>& format) {
                           std::string name = format.param;
                           name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
                           return name;
                         });

TEST_P(TooLargeInEachFormat, AListenerIsToldAndGoesOnBehindIt) {
  Stream stream = Open(GetParam());
  std::string large = AddThree(stream);
  ListenerPtr listener = Listen(stream.session);
  std::vector<std::string> texts;
  for (int i = 0; i < 3; ++i) texts.push_back(Text(Next(listener), large));
  EXPECT_EQ(texts, Types(stream));
  EXPECT_EQ(Next(listener, 0).text(), "AGX_TIMEOUT");
  // Also one that begins behind it, and in a mux.
  ListenerPtr behind = ListenAfter(stream.session, large.c_str());
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(agx_mux_add(mux.get(), behind.get()), AGX_OK);
  EXPECT_EQ(Next(mux).text(), Types(stream)[2]);
  ListenerPtr all = Listen(stream.session);
  ASSERT_EQ(agx_mux_remove(mux.get(), behind.get()), AGX_OK);
  ASSERT_EQ(agx_mux_add(mux.get(), all.get()), AGX_OK);
  texts.clear();
  for (int i = 0; i < 3; ++i) texts.push_back(Text(Next(mux), large));
  EXPECT_EQ(texts, Types(stream));
}

TEST_P(TooLargeInEachFormat, OneThatWaitsIsToldToo) {
  Stream stream = Open(GetParam());
  AddRaw(stream, "m.a", 1);
  ListenerPtr listener = ListenAfter(stream.session, "new");
  Background<std::string> next([&] {
    Told told = Next(listener);
    return std::string(agx_status_string(told.status)) + " " + told.error;
  });
  next.AwaitBlocked();
  AddRaw(stream, "m.large", kLimit);
  EXPECT_THAT(next.Get(), StartsWith("AGX_EUNSUPPORTED the entry " + LastId(stream) + ": "));
  AddRaw(stream, "m.b", 1);
  EXPECT_EQ(Next(listener).text(), Types(stream)[2]);
}

TEST_P(TooLargeInEachFormat, OneForWhatIsNewMayBeginBehindIt) {
  Stream stream = Open(GetParam());
  AddRaw(stream, "m.large", kLimit);
  ListenerPtr listener = ListenAfter(stream.session, "new");
  EXPECT_EQ(Position(listener), LastId(stream));
  AddRaw(stream, "m.b", 1);
  EXPECT_EQ(Next(listener).text(), Types(stream)[2]);
}

TEST_P(TooLargeInEachFormat, HistoryNamesItAndHasTheRest) {
  Stream stream = Open(GetParam());
  std::string large = AddThree(stream);
  agx_history info = AGX_HISTORY_INIT;
  ASSERT_EQ(agx_history_info(stream.session.get(), &info), AGX_OK);
  EXPECT_EQ(info.length, 3u);
  agx_event* events[3] = {};
  size_t count = 0;
  for (int reverse : {0, 1}) {
    agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
    options.reverse = reverse;
    std::string behind;
    const char*& begin = reverse != 0 ? options.before : options.after;
    for (size_t type : {reverse != 0 ? 2u : 0u, 1u, reverse != 0 ? 0u : 2u}) {
      agx_status status = agx_history_read(stream.session.get(), &options, events, 3, &count);
      if (type == 1) {
        EXPECT_EQ(status, AGX_EUNSUPPORTED);
        EXPECT_THAT(agx_last_error(), StartsWith("the entry " + large + " "));
        EXPECT_EQ(agx_last_error_entry(), large);
        EXPECT_EQ(count, 0u);
        behind = agx_last_error_entry();
      } else {
        ASSERT_EQ(status, AGX_OK);
        ASSERT_EQ(count, 1u);
        EXPECT_EQ(agx_event_type(events[0], nullptr), Types(stream)[type]);
        behind = agx_event_id(events[0], nullptr);
        agx_event_free(events[0]);
      }
      begin = behind.c_str();
    }
    EXPECT_EQ(agx_history_read(stream.session.get(), &options, events, 3, &count), AGX_ENDED);
    EXPECT_STREQ(agx_last_error_entry(), "");
  }
}

TEST_F(CapiTooLarge, ManyFieldsMayBeTooLargeTogether) {
  Stream stream = Open("openai-agents");
  std::string text(kLimit / 3, 'x');
  Raw({"XADD", stream.key, "*", "type", "large", "a", text, "b", text, "c", text, "d", text});
  std::string large = LastId(stream);
  AddRaw(stream, "m.b", 1);
  ListenerPtr listener = Listen(stream.session);
  EXPECT_EQ(Text(Next(listener), large), "too large");
  EXPECT_EQ(Next(listener).text(), "m.b");
}

TEST_F(CapiTooLarge, WhatIsJustSmallEnoughIsRead) {
  Stream stream = Open("openai-agents");
  Raw({"XADD", stream.key, "*", "type", "t", "x", std::string(kLimit - 6, 'x')});
  EXPECT_EQ(Next(Listen(stream.session)).text(), "t");
}

TEST_F(CapiTooLarge, AListenerBehindTheEndLooksAtNoneThatIsTooLargeForOne) {
  Stream stream = Open("agent-framework");
  AddRaw(stream, "m.large", kLimit);
  EXPECT_EQ(Next(ListenAfter(stream.session, (LastId(stream) + "7").c_str()), 0).text(),
            "AGX_TIMEOUT");
}

// --- Groups

struct Taken {
  agx_status status;
  std::vector<std::string> types;
  std::string error;
};

Taken Take(const GroupPtr& group, agx_group_source source) {
  agx_event* events[10] = {};
  size_t count = 0;
  Taken taken;
  taken.status = agx_group_read(group.get(), source, 0, events, 10, &count);
  if (taken.status != AGX_OK) taken.error = agx_last_error();
  for (size_t i = 0; i < count; ++i) {
    taken.types.emplace_back(agx_event_type(events[i], nullptr));
    agx_event_free(events[i]);
  }
  return taken;
}

GroupPtr OpenGroup(const Stream& stream, const char* consumer) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = consumer;
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(stream.session.get(), "g", &options, &group), AGX_OK);
  return GroupPtr(group);
}

TEST_F(CapiTooLarge, AConsumerIsToldAndItStaysPending) {
  Stream stream = Open("openai-agents");
  std::string large = AddThree(stream);
  GroupPtr group = OpenGroup(stream, "c");
  // As new ones, and again as those that are pending.
  for (agx_group_source source : {AGX_GROUP_NEW, AGX_GROUP_PENDING_ONLY, AGX_GROUP_PENDING_FIRST}) {
    EXPECT_THAT(Take(group, source).types, ElementsAre("m.a"));
    Taken told = Take(group, source);
    EXPECT_EQ(told.status, AGX_EUNSUPPORTED);
    EXPECT_THAT(told.error, StartsWith("the entry " + large + ": "));
    EXPECT_EQ(agx_last_error_entry(), large);
    EXPECT_THAT(Take(group, source).types, ElementsAre("m.b"));
    EXPECT_EQ(Take(group, source).status,
              source == AGX_GROUP_PENDING_ONLY ? AGX_ENDED : AGX_TIMEOUT);
  }
  agx_pending pending = AGX_PENDING_INIT;
  ASSERT_EQ(agx_group_pending(group.get(), &pending), AGX_OK);
  EXPECT_EQ(pending.count, 3u);
  // Another takes over what can be read.
  GroupPtr other = OpenGroup(stream, "d");
  char cursor[AGX_ID_SIZE] = "";
  agx_event* events[10] = {};
  size_t count = 0;
  ASSERT_EQ(agx_group_autoclaim(other.get(), 0, cursor, events, 10, &count), AGX_OK);
  ASSERT_EQ(count, 2u);
  for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
  const char* ids[] = {large.c_str()};
  EXPECT_EQ(agx_group_claim(group.get(), 0, ids, 1, events, &count), AGX_EUNSUPPORTED);
  EXPECT_EQ(count, 0u);
  uint64_t acknowledged = 0;
  EXPECT_EQ(agx_group_ack(group.get(), ids, 1, &acknowledged), AGX_OK);
  EXPECT_EQ(acknowledged, 1u);
}

TEST_F(CapiTooLarge, ItBecomesADeadLetterThatNoHandlerSees) {
  Stream stream = Open("openai-agents");
  std::string large = AddThree(stream);
  GroupPtr group = OpenGroup(stream, "c");
  std::vector<std::string> seen;
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.limit = 3;
  auto handle = [](const agx_event* event, int64_t /*attempt*/, void* data) {
    static_cast<std::vector<std::string>*>(data)->emplace_back(agx_event_type(event, nullptr));
    return AGX_OK;
  };
  EXPECT_EQ(agx_group_process(group.get(), &options, handle, &seen), AGX_LIMIT);
  EXPECT_THAT(seen, ElementsAre("m.a", "m.b"));
  agx_dead_letter letter{};
  size_t count = 0;
  ASSERT_EQ(agx_group_dead_letters(group.get(), nullptr, &letter, 1, &count), AGX_OK);
  EventPtr event(letter.event);
  EXPECT_EQ(letter.original_id, large);
  EXPECT_THAT(letter.reason, HasSubstr(std::to_string(kLimit)));
  EXPECT_EQ(letter.attempts, 0);
  const char* value = nullptr;
  EXPECT_EQ(agx_event_field(event.get(), "original_fields_left_out", &value, nullptr), AGX_OK);
  EXPECT_STREQ(value, "2");
  // There is nothing to be put back, and the letter stays.
  const char* own = agx_event_id(event.get(), nullptr);
  uint64_t replayed = 7;
  EXPECT_EQ(agx_group_replay(group.get(), &own, 1, &replayed), AGX_EUNSUPPORTED);
  EXPECT_EQ(replayed, 0u);
  EXPECT_THAT(agx_last_error(), HasSubstr("nothing to replay"));
  agx_health health = AGX_HEALTH_INIT;
  ASSERT_EQ(agx_group_health(group.get(), &health), AGX_OK);
  EXPECT_EQ(health.dead_letters, 1u);
  agx_pending pending = AGX_PENDING_INIT;
  ASSERT_EQ(agx_group_pending(group.get(), &pending), AGX_OK);
  EXPECT_EQ(pending.count, 0u);
}

}  // namespace
}  // namespace agx::test
