// ctest-labels: redis threads
// ctest-timeout: 180
// What may not be given to the C API, and servers that may not be written to: each gets a status and a message.
#include <cstring>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The status, which has to come with a message.
agx_status Explained(agx_status status) {
  if (status != AGX_OK) {
    EXPECT_STRNE(agx_last_error(), "") << agx_status_string(status);
  }
  return status;
}

class CapiBadInput : public OnEachStore {
 protected:
  agx_status OpenSessionStatus(const char* id) {
    agx_session* session = nullptr;
    agx_status status = agx_session_open(client_.get(), 1, 2, id, &session);
    EXPECT_EQ(session != nullptr, status == AGX_OK);
    agx_session_close(session);
    return Explained(status);
  }

  agx_status AddStatus(const SessionPtr& session, const char* type, const char* origin,
                       const char* body) {
    char id[AGX_ID_SIZE] = "?";
    agx_status status = agx_add(session.get(), type, origin, body, id);
    EXPECT_EQ(status == AGX_OK, *id != '\0');
    agx_new_event event = {type, origin, body};
    size_t added = 9;
    if (status != AGX_OK) {
      EXPECT_EQ(agx_add_many(session.get(), &event, 1, nullptr, &added), status);
      EXPECT_EQ(added, 0U);
    }
    return Explained(status);
  }

  agx_status ListenStatus(const SessionPtr& session, const agx_listen_options* options) {
    agx_listener* listener = nullptr;
    agx_status status = agx_listen(session.get(), options, &listener);
    EXPECT_EQ(listener != nullptr, status == AGX_OK);
    agx_listener_close(listener);
    return Explained(status);
  }
};
AGX_ON_EACH_STORE(CapiBadInput);

// --- NULL

TEST_P(CapiBadInput, NullHandles) {
  agx_session* session = nullptr;
  agx_listener* listener = nullptr;
  agx_mux* mux = nullptr;
  agx_query* query = nullptr;
  agx_event* event = nullptr;
  agx_new_event added = {"t", "o", nullptr};
  size_t count = 0;
  int number = 0;
  char id[AGX_ID_SIZE];
  const char* text = nullptr;
  EXPECT_EQ(agx_session_open(nullptr, 1, 2, "s", &session), AGX_EINVAL);
  EXPECT_STRNE(agx_last_error(), "");
  EXPECT_EQ(agx_start(nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_stop(nullptr, 0), AGX_EINVAL);
  EXPECT_EQ(agx_add(nullptr, "t", "o", "{}", id), AGX_EINVAL);
  *id = 'x';
  EXPECT_EQ(agx_add_many(nullptr, &added, 1, id, &count), AGX_EINVAL);
  EXPECT_STREQ(id, "");
  EXPECT_EQ(agx_add_error(nullptr, "o", "{}", id), AGX_EINVAL);
  EXPECT_EQ(agx_add_info(nullptr, "o", "{}", id), AGX_EINVAL);
  EXPECT_EQ(agx_is_live(nullptr, &number), AGX_EINVAL);
  EXPECT_EQ(agx_renew(nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_cancel(nullptr, &number), AGX_EINVAL);
  EXPECT_EQ(agx_is_canceled(nullptr), 1);
  EXPECT_EQ(agx_wait_canceled(nullptr, -1), AGX_EINVAL);
  EXPECT_EQ(agx_listen(nullptr, nullptr, &listener), AGX_EINVAL);
  EXPECT_EQ(agx_listen_next(nullptr, -1, &event), AGX_EINVAL);
  EXPECT_EQ(agx_listen_next_many(nullptr, -1, &event, 1, &count), AGX_EINVAL);
  EXPECT_EQ(agx_listener_interrupt(nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listener_fd(nullptr, &number), AGX_EINVAL);
  EXPECT_EQ(agx_listener_position(nullptr, id), AGX_EINVAL);
  EXPECT_EQ(agx_listener_gone(nullptr), AGX_GONE_NOT);
  EXPECT_EQ(agx_listener_set_data(nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listener_data(nullptr), nullptr);
  EXPECT_EQ(agx_event_json(nullptr, AGX_JSON_FULL, &text, &count), AGX_EINVAL);
  EXPECT_EQ(agx_mux_open(nullptr, &mux), AGX_EINVAL);
  EXPECT_EQ(agx_mux_add(nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_remove(nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_next(nullptr, -1, &listener, &event), AGX_EINVAL);
  EXPECT_EQ(agx_mux_interrupt(nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_fd(nullptr, &number), AGX_EINVAL);
  EXPECT_EQ(agx_query_open(nullptr, AGX_ANY, AGX_ANY, &query), AGX_EINVAL);
  EXPECT_EQ(agx_query_next(nullptr, nullptr, nullptr, nullptr), AGX_EINVAL);
  agx_close(nullptr);
  agx_session_close(nullptr);
  agx_listener_close(nullptr);
  agx_mux_close(nullptr);
  agx_query_close(nullptr);
  agx_event_free(nullptr);
}

TEST_P(CapiBadInput, NullOutPointers) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  Told told = Next(Listen(session));
  MuxPtr mux = OpenMux(client_);
  agx_event* events[2];
  size_t count = 9;
  EXPECT_EQ(agx_open(url().c_str(), nullptr, nullptr), AGX_EINVAL);
  EXPECT_STRNE(agx_last_error(), "");
  EXPECT_EQ(agx_session_open(client_.get(), 1, 2, "s", nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_is_live(session.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listen(session.get(), nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listen_next(listener.get(), -1, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listen_next_many(listener.get(), -1, nullptr, 2, &count), AGX_EINVAL);
  EXPECT_EQ(count, 0U);
  EXPECT_EQ(agx_listen_next_many(listener.get(), -1, events, 2, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listener_fd(listener.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_listener_position(listener.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_event_json(told.event.get(), AGX_JSON_FULL, nullptr, &count), AGX_EINVAL);
  EXPECT_EQ(agx_mux_open(client_.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_add(mux.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_remove(mux.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_next(mux.get(), -1, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_mux_fd(mux.get(), nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_query_open(client_.get(), AGX_ANY, AGX_ANY, nullptr), AGX_EINVAL);
  // Nothing of that took an event.
  EXPECT_EQ(Next(listener).type(), "begin");
}

TEST_P(CapiBadInput, NullTexts) {
  SessionPtr session = Started(client_);
  EXPECT_EQ(OpenSessionStatus(nullptr), AGX_EINVAL);
  EXPECT_EQ(AddStatus(session, nullptr, "o", "{}"), AGX_EINVAL);
  EXPECT_EQ(AddStatus(session, "t", nullptr, "{}"), AGX_EINVAL);
  EXPECT_EQ(agx_add_many(session.get(), nullptr, 3, nullptr, nullptr), AGX_EINVAL);
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
}

// --- Session ids

TEST_P(CapiBadInput, SessionIds) {
  EXPECT_EQ(OpenSessionStatus(""), AGX_EINVAL);
  EXPECT_EQ(OpenSessionStatus(":live"), AGX_EINVAL);
  EXPECT_EQ(OpenSessionStatus("a:live"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr(":live"));
  EXPECT_EQ(OpenSessionStatus("a:messages"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr(":messages"));
  EXPECT_EQ(OpenSessionStatus("a:live:live"), AGX_EINVAL);
  EXPECT_EQ(OpenSessionStatus(std::string(AGX_SESSION_ID_MAX, 'x').c_str()), AGX_OK);
  EXPECT_EQ(OpenSessionStatus(std::string(AGX_SESSION_ID_MAX + 1, 'x').c_str()), AGX_ETOOBIG);
  EXPECT_EQ(OpenSessionStatus(std::string(1 << 20, 'x').c_str()), AGX_ETOOBIG);
  for (const char* id :
       {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(OpenSessionStatus(id), AGX_EINVAL);
    EXPECT_THAT(agx_last_error(), HasSubstr("UTF-8"));
  }
  for (const char* id : {"a:b", "*", "?", "[", "a\nb", "/", "\"'", " ", "\xF0\x9F\x98\x80", "live",
                         ":live2", "a:LIVE"}) {
    EXPECT_EQ(OpenSessionStatus(id), AGX_OK) << id;
  }
}

TEST_P(CapiBadInput, OddSessionIdsDoNotMeetEachOther) {
  const std::vector<std::string> ids = {
      "a", "a:", ":a", "*", "?", "[a]", "a\n", "a/", "\"", " ", "\xF0\x9F\x98\x80", "2:a"};
  std::vector<SessionPtr> sessions;
  for (const std::string& id : ids) {
    sessions.push_back(Started(client_, id));
    Add(sessions.back(), "t", "{}");
  }
  for (const std::string& id : ids) {
    SessionPtr session = OpenSession(other_, id);
    EXPECT_THAT(Stored(session), ElementsAre("begin", "t"));
    ASSERT_EQ(agx_cancel(session.get(), nullptr), AGX_OK);
    EXPECT_FALSE(IsLive(session));
  }
  for (const SessionPtr& session : sessions) {
    EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
  }
}

// --- Types and origins

TEST_P(CapiBadInput, TypesAndOrigins) {
  SessionPtr session = Started(client_);
  std::string longest(AGX_NAME_MAX, 'x');
  std::string longer(AGX_NAME_MAX + 1, 'x');
  EXPECT_EQ(AddStatus(session, "", "o", "{}"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("type"));
  EXPECT_EQ(AddStatus(session, "t", "", "{}"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("origin"));
  EXPECT_EQ(AddStatus(session, longer.c_str(), "o", "{}"), AGX_ETOOBIG);
  EXPECT_EQ(AddStatus(session, "t", longer.c_str(), "{}"), AGX_ETOOBIG);
  EXPECT_EQ(AddStatus(session, "\xff", "o", "{}"), AGX_EINVAL);
  EXPECT_EQ(AddStatus(session, "t", "\xc0\x80", "{}"), AGX_EINVAL);
  EXPECT_EQ(agx_add_error(session.get(), "", "{}", nullptr), AGX_EINVAL);
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
  EXPECT_EQ(AddStatus(session, longest.c_str(), longest.c_str(), "{}"), AGX_OK);
  EXPECT_EQ(AddStatus(session, "*\n?\" \xF0\x9F\x98\x80", "\r\n", "{}"), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", longest, "*\n?\" \xF0\x9F\x98\x80"));
  agx_start_options options = TakeOver();
  options.origin = "";
  EXPECT_EQ(Explained(agx_start(OpenSession(client_, "t").get(), &options)), AGX_EINVAL);
  options.origin = longer.c_str();
  EXPECT_EQ(Explained(agx_start(OpenSession(client_, "t").get(), &options)), AGX_ETOOBIG);
}

// --- Bodies

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST_P(CapiBadInput, BodiesThatAreNotJson) {
  SessionPtr session = Started(client_);
  for (const char* body :
       {"", " ", "{", "}", "{]", "nul", "01", "1 2", "'a'", "{a:1}", "[1,]", "\"\n\"", "\"a",
        "{\"a\"}", "NaN", "{} x", "\"\\x\"", "\"\\ud800\\u0\""}) {
    EXPECT_EQ(AddStatus(session, "t", "o", body), AGX_EJSON) << body;
  }
  for (const char* body :
       {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf0\x9f\"", "\xef\xbb\xbf{}"}) {
    EXPECT_EQ(AddStatus(session, "t", "o", body), AGX_EJSON) << body;
  }
  EXPECT_EQ(AddStatus(session, "t", "o", Nested(AGX_DEPTH_MAX).c_str()), AGX_OK);
  EXPECT_EQ(AddStatus(session, "deep", "o", Nested(AGX_DEPTH_MAX + 1).c_str()), AGX_EJSON);
  EXPECT_EQ(AddStatus(session, "deep", "o", Nested(2'000'000).c_str()), AGX_EJSON);
  EXPECT_EQ(AddStatus(session, "deep", "o", std::string(2'000'000, '[').c_str()), AGX_EJSON);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "t"));
}

TEST_P(CapiBadInput, TheLargestBodyAndOneByteMore) {
  SessionPtr session = Started(client_);
  std::string body(AGX_BODY_MAX + 1, 'x');
  body.front() = body.back() = '"';
  EXPECT_EQ(AddStatus(session, "t", "o", body.c_str()), AGX_ETOOBIG);
  body.pop_back();
  body.back() = '"';
  ASSERT_EQ(body.size(), static_cast<size_t>(AGX_BODY_MAX));
  EXPECT_EQ(AddStatus(session, "t", "o", body.c_str()), AGX_OK);
  Add(session, "after");
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  Told told = Next(listener, 3 * kPatienceMs);
  ASSERT_EQ(told.status, AGX_OK);
  size_t length = 0;
  const char* read = agx_event_body(told.event.get(), &length);
  EXPECT_EQ(length, body.size());
  EXPECT_EQ(std::memcmp(read, body.c_str(), body.size() + 1), 0);
  EXPECT_EQ(Next(listener).type(), "after");
}

// --- Entry ids

TEST_P(CapiBadInput, EntryIds) {
  SessionPtr session = Started(client_);
  for (const char* after : {"x", "-", "1-", "-1", "1-x", "1-2-3", " 1", "1 ", "+1", "0x1", "1.5",
                            "NEW", "news", "$$", "18446744073709551616", "1-18446744073709551616",
                            "1\n", "99999999999999999999999999999999999999999999999999", "\xff"}) {
    agx_listen_options options = Patient(after);
    EXPECT_EQ(ListenStatus(session, &options), AGX_EINVAL) << after;
  }
  std::string huge(1 << 20, '1');
  agx_listen_options options = Patient(huge.c_str());
  EXPECT_EQ(ListenStatus(session, &options), AGX_EINVAL);
  for (const char* after : {"0", "1", "1-1", "000-001", "18446744073709551615"}) {
    options = Patient(after);
    EXPECT_EQ(ListenStatus(session, &options), AGX_OK) << after;
  }
}

// --- Options of other headers

// An options struct as an older or newer header has it. What comes after its size is garbage that
// may not be looked at.
template <class Options>
struct Sized {
  union {
    Options options;
    unsigned char bytes[sizeof(Options) + 64];
  };
  explicit Sized(const Options& init, size_t size, int rest) {
    std::memset(bytes, rest, sizeof(bytes));
    std::memcpy(bytes, &init, std::min(size, sizeof(Options)));
    options.size = size;
  }
};

TEST_P(CapiBadInput, StartOptionsOfOtherHeaders) {
  agx_start_options init = AGX_START_OPTIONS_INIT;
  auto start = [&](size_t size, int rest) {
    Sized<agx_start_options> sized(init, size, rest);
    SessionPtr session = OpenSession(client_, "s" + std::to_string(size));
    return Explained(agx_start(session.get(), &sized.options));
  };
  EXPECT_EQ(start(sizeof(size_t), 0xee), AGX_OK);
  EXPECT_EQ(start(offsetof(agx_start_options, lease_ms), 0xee), AGX_OK);
  EXPECT_EQ(start(sizeof(init) + 8, 0), AGX_OK);
  EXPECT_EQ(start(sizeof(init) + 16, 0xee), AGX_EINVAL);
  for (size_t absurd : {size_t{0}, size_t{1}, size_t{7}, size_t{1} << 40, SIZE_MAX}) {
    EXPECT_EQ(start(absurd, 0), AGX_EINVAL) << absurd;
  }
}

TEST_P(CapiBadInput, ListenOptionsOfOtherHeaders) {
  SessionPtr session = OpenSession(client_);
  agx_listen_options init = AGX_LISTEN_OPTIONS_INIT;
  auto listen = [&](size_t size, int rest) {
    Sized<agx_listen_options> sized(init, size, rest);
    return ListenStatus(session, &sized.options);
  };
  EXPECT_EQ(listen(sizeof(size_t), 0xee), AGX_OK);
  EXPECT_EQ(listen(offsetof(agx_listen_options, timeout_ms), 0xee), AGX_OK);
  EXPECT_EQ(listen(sizeof(init) + 8, 0), AGX_OK);
  EXPECT_EQ(listen(sizeof(init) + 8, 1), AGX_EINVAL);
  for (size_t absurd : {size_t{0}, size_t{1}, size_t{7}, size_t{1} << 40, SIZE_MAX}) {
    EXPECT_EQ(listen(absurd, 0), AGX_EINVAL) << absurd;
  }
  // A smaller one gets the defaults for what it lacks: the wait of 3 seconds, here.
  Sized<agx_listen_options> sized(init, offsetof(agx_listen_options, wait_ms), 0);
  agx_listener* raw = nullptr;
  Stopwatch watch;
  ASSERT_EQ(agx_listen(session.get(), &sized.options, &raw), AGX_OK);
  ListenerPtr listener(raw);
  EXPECT_EQ(Next(listener).status, AGX_ABSENT);
  EXPECT_GE(watch.ms(), 3000);
}

TEST_P(CapiBadInput, OpenOptionsOfOtherHeaders) {
  agx_options init = AGX_OPTIONS_INIT;
  auto open = [&](size_t size, int rest) {
    Sized<agx_options> sized(init, size, rest);
    agx_client* client = nullptr;
    agx_status status = agx_open(url().c_str(), &sized.options, &client);
    EXPECT_EQ(client != nullptr, status == AGX_OK);
    agx_close(client);
    return Explained(status);
  };
  EXPECT_EQ(open(sizeof(size_t), 0xee), AGX_OK);
  EXPECT_EQ(open(offsetof(agx_options, lease_ms), 0xee), AGX_OK);
  EXPECT_EQ(open(sizeof(init) + 8, 0), AGX_OK);
  EXPECT_EQ(open(sizeof(init) + 8, 1), AGX_EINVAL);
  for (size_t absurd : {size_t{0}, size_t{1}, size_t{7}, size_t{1} << 40, SIZE_MAX}) {
    EXPECT_EQ(open(absurd, 0), AGX_EINVAL) << absurd;
  }
}

TEST_P(CapiBadInput, LeasesOutOfRange) {
  for (int64_t lease_ms :
       {int64_t{-1}, int64_t{1}, int64_t{99}, int64_t{86400001}, INT64_MAX, INT64_MIN}) {
    agx_start_options options = Leased(lease_ms);
    SessionPtr session = OpenSession(client_);
    EXPECT_EQ(Explained(agx_start(session.get(), &options)), AGX_EINVAL) << lease_ms;
    EXPECT_FALSE(IsLive(session));
  }
  for (int64_t lease_ms : {int64_t{100}, int64_t{86400000}}) {
    agx_start_options options = Leased(lease_ms);
    EXPECT_EQ(agx_start(OpenSession(client_, std::to_string(lease_ms)).get(), &options), AGX_OK);
  }
}

TEST_P(CapiBadInput, NegativeAndHugeTimes) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(agx_stop(session.get(), INT64_MIN), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  ASSERT_EQ(agx_stop(session.get(), INT64_MAX - 1), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "end"));
  ListenerPtr listener = Listen(session);
  for (int64_t timeout_ms : {INT64_MIN, INT64_MAX, int64_t{0}}) {
    EXPECT_THAT(Next(listener, timeout_ms).status, AnyOf(AGX_OK, AGX_ENDED));
  }
}

// --- Servers that may not be written to

class CapiBadServer : public OnRedis {
 protected:
  const std::string key_ = "agx:1:2:s";
};

TEST_F(CapiBadServer, AKeyOfAnotherTypeIsInTheStreamsWay) {
  ASSERT_EQ(Raw({"SET", key_, "text"}), "OK");
  SessionPtr session = OpenSession(client_);
  agx_new_event event = {"t", "o", nullptr};
  size_t added = 9;
  EXPECT_EQ(Explained(agx_add(session.get(), "t", "o", "{}", nullptr)), AGX_ETYPE);
  EXPECT_THAT(agx_last_error(), HasSubstr(key_));
  EXPECT_EQ(agx_add_many(session.get(), &event, 1, nullptr, &added), AGX_ETYPE);
  EXPECT_EQ(added, 0U);
  agx_start_options take_over = TakeOver();
  EXPECT_EQ(Explained(agx_start(session.get(), nullptr)), AGX_ETYPE);
  EXPECT_EQ(Explained(agx_start(session.get(), &take_over)), AGX_ETYPE);
  EXPECT_EQ(Explained(agx_stop(session.get(), -1)), AGX_ETYPE);
  EXPECT_EQ(Next(Listen(session)).status, AGX_ETYPE);
  agx_listen_options options = Patient("new");
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_listen(session.get(), &options, &listener), AGX_ETYPE);
  EXPECT_EQ(Raw({"GET", key_}), "text");
  EXPECT_EQ(Raw({"EXISTS", key_ + ":live"}), "0");
  // A further call tries again.
  ListenerPtr again = Listen(session);
  EXPECT_EQ(Next(again).status, AGX_ETYPE);
  Raw({"DEL", key_});
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Next(again).type(), "begin");
}

TEST_F(CapiBadServer, AKeyOfAnotherTypeIsInAWatchedStreamsWay) {
  SessionPtr session = Started(client_);
  ListenerPtr in_mux = ListenAfter(session, "new");
  ListenerPtr with_descriptor = ListenAfter(session, "new");
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(agx_mux_add(mux.get(), in_mux.get()), AGX_OK);
  int fd = -1;
  ASSERT_EQ(agx_listener_fd(with_descriptor.get(), &fd), AGX_OK);
  agx_event* event = nullptr;
  EXPECT_EQ(agx_mux_next(mux.get(), 0, nullptr, &event), AGX_TIMEOUT);
  ASSERT_EQ(Raw({"SET", key_, "text"}), "OK");
  EXPECT_EQ(Next(with_descriptor).status, AGX_ETYPE);
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_mux_next(mux.get(), kPatienceMs, &listener, &event), AGX_ETYPE);
  Raw({"DEL", key_});
}

TEST_F(CapiBadServer, AKeyOfAnotherTypeIsInTheFlagsWay) {
  for (const char* type : {"list", "stream"}) {
    Raw({"FLUSHALL"});
    if (std::string(type) == "list") {
      Raw({"RPUSH", key_ + ":live", "a"});
    } else {
      Raw({"XADD", key_ + ":live", "*", "a", "b"});
    }
    SessionPtr session = OpenSession(client_);
    EXPECT_THAT(Explained(agx_start(session.get(), nullptr)), AnyOf(AGX_ETYPE, AGX_EBUSY)) << type;
    EXPECT_EQ(Explained(agx_cancel(session.get(), nullptr)), AGX_ETYPE) << type;
    EXPECT_EQ(Raw({"TYPE", key_ + ":live"}), type);
    EXPECT_EQ(Raw({"EXISTS", key_}), "0");
  }
}

TEST_F(CapiBadServer, OutOfMemory) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Raw({"CONFIG", "SET", "maxmemory-policy", "noeviction"}), "OK");
  ASSERT_EQ(Raw({"CONFIG", "SET", "maxmemory", "1"}), "OK");
  EXPECT_EQ(Explained(agx_add(session.get(), "t", "o", "{}", nullptr)), AGX_EFULL);
  std::vector<agx_new_event> events(10, {"t", "o", "{}"});
  size_t added = 9;
  EXPECT_EQ(agx_add_many(session.get(), events.data(), 10, nullptr, &added), AGX_EFULL);
  EXPECT_EQ(added, 0U);
  SessionPtr other = OpenSession(client_, "other");
  EXPECT_EQ(Explained(agx_start(other.get(), nullptr)), AGX_EFULL);
  // What was there can be read.
  EXPECT_THAT(Follow(Listen(session), 0), ElementsAre("begin", "AGX_TIMEOUT"));
  EXPECT_FALSE(IsLive(other));
  ASSERT_EQ(Raw({"CONFIG", "SET", "maxmemory", "0"}), "OK");
  Add(session, "a");
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("begin", "a", "end"));
}

TEST_F(CapiBadServer, AReplicaTakesNoWrites) {
  SessionPtr before = Started(client_);
  RedisServer replica;
  ASSERT_EQ(replica.Command({"REPLICAOF", "127.0.0.1", std::to_string(server_.port())}), "OK");
  ASSERT_TRUE(WaitUntil([&] { return replica.Command({"EXISTS", key_ + ":live"}) == "1"; }));
  agx_options options = AGX_OPTIONS_INIT;
  options.reconnect_timeout_ms = 500;
  ClientPtr client = OpenClient(replica.url(), &options);
  SessionPtr session = OpenSession(client);
  EXPECT_EQ(Explained(agx_add(session.get(), "t", "o", "{}", nullptr)), AGX_EREADONLY);
  EXPECT_EQ(Explained(agx_start(OpenSession(client, "t").get(), nullptr)), AGX_EREADONLY);
  EXPECT_EQ(Explained(agx_stop(session.get(), -1)), AGX_EREADONLY);
  EXPECT_EQ(Explained(agx_cancel(session.get(), nullptr)), AGX_EREADONLY);
  // But may be read, and followed.
  EXPECT_TRUE(IsLive(session));
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  Add(before, "a");
  EXPECT_EQ(Next(listener).type(), "a");
}

TEST_F(CapiBadServer, OneThatStandsStill) {
  agx_options options = AGX_OPTIONS_INIT;
  options.command_timeout_ms = 300;
  options.reconnect_timeout_ms = -1;
  ClientPtr client = OpenClient(server_.url(), &options);
  SessionPtr session = OpenSession(client);
  Add(session, "a");
  server_.Pause();
  Stopwatch watch;
  int live = 9;
  EXPECT_THAT(Explained(agx_is_live(session.get(), &live)), AnyOf(AGX_ETIMEOUT, AGX_ECONNECT));
  EXPECT_EQ(live, 0);
  EXPECT_THAT(Explained(agx_add(session.get(), "b", "o", "{}", nullptr)),
              AnyOf(AGX_EUNCERTAIN, AGX_ETIMEOUT, AGX_ECONNECT));
  EXPECT_LE(watch.ms(), 2 * 300 + kAtOnceMs + 5000);
  server_.Continue();
  EXPECT_TRUE(WaitUntil([&] { return agx_add(session.get(), "c", "o", "{}", nullptr) == AGX_OK; }));
}

TEST(CapiHostileServer, RepliesThatAreNotWhatWasAskedFor) {
  const std::vector<std::string> replies = {
      "*0\r\n",
      ":7\r\n",
      "$-1\r\n",
      "*-1\r\n",
      "+what\r\n",
      "$3\r\nabc\r\n",
      "*1\r\n*1\r\n:1\r\n",
      "-ERR something else\r\n",
      "*2\r\n$1\r\na\r\n*1\r\n*2\r\n$3\r\nx-y\r\n*0\r\n",
      "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n$4\r\ntype\r\n",
      "*999999999\r\n",
      "$99999999999999999999\r\n",
      "!\r\n",
      "\r\n"};
  for (const std::string& reply : replies) {
    FakeServer server([=](int, const std::vector<std::string>& command) -> FakeReply {
      if (command[0] == "INFO") return "$21\r\nredis_version:7.0.0\r\n\r\n";
      if (command[0] == "CLIENT" || command[0] == "AUTH") return "+OK\r\n";
      return reply;
    });
    agx_options options = AGX_OPTIONS_INIT;
    options.command_timeout_ms = 500;
    options.connect_timeout_ms = 500;
    options.reconnect_timeout_ms = 200;
    agx_client* raw = nullptr;
    agx_status status = agx_open(server.url().c_str(), &options, &raw);
    ClientPtr client(raw);
    EXPECT_STRNE(status == AGX_OK ? "" : agx_last_error(), nullptr);
    if (client == nullptr) continue;
    // None of these crashes or hangs; a lie that looks right cannot be told from the truth.
    SessionPtr session = OpenSession(client);
    int live = 0;
    agx_event* event = nullptr;
    agx_new_event events[3] = {{"t", "o", "{}"}, {"t", "o", "{}"}, {"t", "o", "{}"}};
    EXPECT_NE(agx_add(session.get(), "t", "o", "{}", nullptr), AGX_OK) << reply;
    EXPECT_STRNE(agx_last_error(), "");
    EXPECT_NE(agx_add_many(session.get(), events, 3, nullptr, nullptr), AGX_OK) << reply;
    agx_is_live(session.get(), &live);
    agx_cancel(session.get(), &live);
    agx_renew(session.get());
    EXPECT_NE(agx_start(session.get(), nullptr), AGX_OK) << reply;
    agx_stop(session.get(), 0);
    ListenerPtr listener = Listen(session);
    if (agx_listen_next(listener.get(), 200, &event) == AGX_OK) agx_event_free(event);
    agx_query* query = nullptr;
    ASSERT_EQ(agx_query_open(client.get(), AGX_ANY, AGX_ANY, &query), AGX_OK);
    for (int i = 0; i < 10 && agx_query_next(query, nullptr, nullptr, nullptr) == AGX_OK; ++i) {
    }
    agx_query_close(query);
  }
}

}  // namespace
}  // namespace agx::test
