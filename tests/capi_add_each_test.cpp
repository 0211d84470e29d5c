// ctest-labels: redis threads
// Events for many sessions in one call.
#include "support/background.h"
#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

agx_addition Of(const SessionPtr& session, const char* type, const char* body = nullptr) {
  agx_addition one{};
  one.session = session.get();
  one.event = {type, "test", body};
  return one;
}

std::vector<agx_status> StatusesOf(const std::vector<agx_addition>& additions) {
  std::vector<agx_status> statuses;
  for (const agx_addition& one : additions) statuses.push_back(one.status);
  return statuses;
}

class CapiAddEach : public OnEachStore {
 protected:
  SessionPtr Stream(const char* format, const char* name) {
    agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
    options.format = format;
    agx_session* session = nullptr;
    EXPECT_EQ(agx_stream_open(client_.get(), name, &options, &session), AGX_OK);
    return SessionPtr(session);
  }
};

TEST_P(CapiAddEach, EachEventGoesToItsOwnSession) {
  constexpr size_t kSessions = 700;  // more than fit into a few writes
  std::vector<SessionPtr> sessions;
  std::vector<std::string> types;
  for (size_t i = 0; i < kSessions; ++i) {
    sessions.push_back(OpenSession(client_, "s" + std::to_string(i)));
    types.push_back("t" + std::to_string(i));
  }
  std::vector<agx_addition> additions;
  for (size_t i = 0; i < kSessions; ++i) additions.push_back(Of(sessions[i], types[i].c_str()));
  ASSERT_EQ(agx_add_each(additions.data(), additions.size()), AGX_OK);
  for (size_t i = 0; i < kSessions; ++i) {
    EXPECT_EQ(additions[i].status, AGX_OK);
    ListenerPtr listener = Listen(sessions[i]);
    Told told = Next(listener, 0);
    ASSERT_EQ(told.text(), types[i]);
    EXPECT_EQ(told.id(), additions[i].id);
    EXPECT_EQ(told.origin(), "test");
    EXPECT_EQ(Next(listener, 0).status, AGX_TIMEOUT);
  }
}

TEST_P(CapiAddEach, ThoseOfOneSessionStayInTheirOrder) {
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(client_, "b");
  std::vector<std::string> types;
  for (int i = 0; i < 300; ++i) types.push_back("t" + std::to_string(i));
  std::vector<agx_addition> additions;
  for (const std::string& type : types) {
    additions.push_back(Of(a, type.c_str()));
    additions.push_back(Of(b, type.c_str()));
  }
  ASSERT_EQ(agx_add_each(additions.data(), additions.size()), AGX_OK);
  EXPECT_EQ(Stored(a), types);
  EXPECT_EQ(Stored(b), types);
}

TEST_P(CapiAddEach, WhatFailsIsNothingToTheOthers) {
  SessionPtr good = OpenSession(client_, "good");
  SessionPtr closed = OpenSession(client_, "closed");
  agx_session* stale = closed.get();
  closed.reset();
  SessionPtr old = Started(client_, "taken");
  agx_start_options take_over = TakeOver();
  SessionPtr taken = Started(client_, "taken", &take_over);
  ASSERT_EQ(agx_wait_canceled(old.get(), kPatienceMs), AGX_TAKEN_OVER);
  std::vector<agx_addition> additions = {Of(good, "first"),
                                         Of(good, "no json", "{"),
                                         Of(good, ""),
                                         {stale, {"t", "o", nullptr}, {}, {}},
                                         {nullptr, {"t", "o", nullptr}, {}, {}},
                                         Of(old, "late"),
                                         Of(good, "last")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_EJSON);
  EXPECT_THAT(agx_last_error(), HasSubstr("event 1"));
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_OK, AGX_EJSON, AGX_EINVAL, AGX_ECLOSED,
                                                 AGX_EINVAL, AGX_TAKEN_OVER, AGX_OK));
  for (const agx_addition& one : additions) EXPECT_EQ(*one.id != '\0', one.status == AGX_OK);
  EXPECT_THAT(Stored(good), ElementsAre("first", "last"));
  EXPECT_THAT(Stored(taken), ElementsAre("begin"));
}

TEST_P(CapiAddEach, NoneIsNothing) {
  EXPECT_EQ(agx_add_each(nullptr, 0), AGX_OK);
  EXPECT_EQ(agx_add_each(nullptr, 1), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("additions is NULL"));
}

TEST_P(CapiAddEach, TheSessionsAreOfOneClient) {
  ClientPtr other = Open();
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(other, "b");
  std::vector<agx_addition> additions = {Of(a, "t"), Of(b, "t")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("another client"));
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_OK, AGX_EINVAL));
}

TEST_P(CapiAddEach, FormatsMayDiffer) {
  SessionPtr agx = OpenSession(client_, "s");
  SessionPtr numbered = Stream("agent-framework", "n");
  SessionPtr plain = Stream("openai-agents", "p");
  SessionPtr list = Stream("ag2", "l");
  std::vector<agx_addition> additions = {Of(numbered, "event", "{\"text\":\"1\"}"),
                                         Of(agx, "t"),
                                         Of(plain, "t", "{\"b\":2}"),
                                         Of(list, "app.Event", "{}"),
                                         Of(numbered, "event", "{\"text\":\"2\"}"),
                                         Of(list, "not a class", "{}")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_EUNSUPPORTED);
  EXPECT_THAT(StatusesOf(additions),
              ElementsAre(AGX_OK, AGX_OK, AGX_OK, AGX_OK, AGX_OK, AGX_EUNSUPPORTED));
  for (const SessionPtr* session : {&agx, &plain, &list}) {
    ListenerPtr listener = Listen(*session);
    Told told = Next(listener, 0);
    ASSERT_EQ(told.status, AGX_OK);
    EXPECT_EQ(told.id(), additions[session == &agx ? 1 : session == &plain ? 2 : 3].id);
  }
  ListenerPtr listener = Listen(numbered);
  for (int i : {1, 2}) {
    Told told = Next(listener, 0);
    EXPECT_THAT(told.body(), HasSubstr("\"content_delta\":\"" + std::to_string(i)));
    const char* number = nullptr;
    ASSERT_EQ(agx_event_field(told.event.get(), "sequence", &number, nullptr), AGX_OK);
    EXPECT_EQ(number, std::to_string(i - 1));
  }
}

// What a function does when events come by before they are written.
struct Intercepting {
  agx_status (*function)(agx_intercepted*, void*);
  void* data = nullptr;

  InterceptorPtr On(const SessionPtr& session) const {
    agx_interceptor* interceptor = nullptr;
    EXPECT_EQ(agx_intercept(session.get(), nullptr, function, data, &interceptor), AGX_OK);
    return InterceptorPtr(interceptor);
  }
};

TEST_P(CapiAddEach, InterceptorsSeeTheirSessionsEvents) {
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(client_, "b");
  auto function = [](agx_intercepted* event, void*) {
    std::string type = agx_intercepted_type(event, nullptr);
    if (type == "swallow") return AGX_SWALLOWED;
    if (type == "refuse") return AGX_EDENIED;
    return agx_intercepted_set_type(event, "changed");
  };
  InterceptorPtr interceptor = Intercepting{function}.On(a);
  std::vector<agx_addition> additions = {Of(a, "swallow"), Of(b, "swallow"), Of(a, "refuse"),
                                         Of(a, "t")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_SWALLOWED);
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_SWALLOWED, AGX_OK, AGX_EDENIED, AGX_OK));
  EXPECT_THAT(Stored(a), ElementsAre("changed"));
  EXPECT_THAT(Stored(b), ElementsAre("swallow"));
}

TEST_P(CapiAddEach, AnInterceptorMayCloseSessionsOfTheCall) {
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(client_, "b");
  std::pair<agx_session*, agx_session*> both(a.get(), b.get());
  auto function = [](agx_intercepted*, void* data) {
    auto* sessions = static_cast<std::pair<agx_session*, agx_session*>*>(data);
    agx_session_close(sessions->first);
    agx_session_close(sessions->second);
    return AGX_OK;
  };
  InterceptorPtr interceptor = Intercepting{function, &both}.On(a);
  std::vector<agx_addition> additions = {Of(a, "t"), Of(b, "t"), Of(a, "t")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_ECLOSED);
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_ECLOSED, AGX_OK, AGX_ECLOSED));
  (void)a.release();
  (void)b.release();
}

TEST_P(CapiAddEach, HandlesOfOneSessionKeepItsOrderIfOneIsIntercepted) {
  SessionPtr a = OpenSession(client_, "s");
  SessionPtr b = OpenSession(client_, "s");
  InterceptorPtr interceptor = Intercepting{[](agx_intercepted*, void*) { return AGX_OK; }}.On(a);
  std::vector<agx_addition> additions = {Of(b, "1"), Of(a, "2"), Of(b, "3"), Of(a, "4"),
                                         Of(b, "5")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_OK);
  EXPECT_THAT(Stored(a), ElementsAre("1", "2", "3", "4", "5"));
}

AGX_ON_EACH_STORE(CapiAddEach);

// --- Of a Redis alone

using RedisAddEach = OnRedis;

TEST_F(RedisAddEach, AKeyOfAnotherTypeIsItsOwnTrouble) {
  SessionPtr a = OpenSession(client_, "a");
  SessionPtr b = OpenSession(client_, "b");
  Raw({"SET", "agx:1:2:a", "text"});
  std::vector<agx_addition> additions = {Of(b, "1"), Of(a, "1"), Of(b, "2")};
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_ETYPE);
  EXPECT_THAT(agx_last_error(), HasSubstr("agx:1:2:a"));
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_OK, AGX_ETYPE, AGX_OK));
  EXPECT_THAT(Stored(b), ElementsAre("1", "2"));
}

TEST_F(RedisAddEach, WhatTheServerLostIsBegunAnew) {
  std::vector<SessionPtr> sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(Started(client_, "s" + std::to_string(i)));
    Add(sessions.back(), "before");
  }
  SessionPtr other = OpenSession(client_, "other");
  Raw({"FLUSHALL"});
  std::vector<agx_addition> additions;
  for (const SessionPtr& session : sessions) {
    additions.push_back(Of(session, "1"));
    additions.push_back(Of(session, "2"));
  }
  additions.push_back(Of(other, "1"));
  EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_OK);
  for (const SessionPtr& session : sessions) {
    EXPECT_THAT(Stored(session), ElementsAre("begin", "1", "2"));
    EXPECT_EQ(agx_is_canceled(session.get()), 0);
    EXPECT_TRUE(IsLive(session));
  }
  EXPECT_THAT(Stored(other), ElementsAre("1"));
}

// The call holds the handle by then, so it does not wait for what the interceptor does to that.
TEST_F(RedisAddEach, AnInterceptorThatComesMeanwhileIsNotAsked) {
  FaultProxy proxy(server_.port());
  ClientPtr client = OpenClient(proxy.url());
  SessionPtr first = OpenSession(client, "s");
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "agent-framework";
  agx_session* numbered = nullptr;
  ASSERT_EQ(agx_stream_open(client.get(), "n", &options, &numbered), AGX_OK);
  SessionPtr second(numbered);
  std::vector<agx_addition> additions = {Of(first, "t"), Of(second, "event", "{\"text\":\"1\"}")};
  proxy.HoldReply("XADD");
  Background<agx_status> adding([&] { return agx_add_each(additions.data(), additions.size()); });
  EXPECT_TRUE(WaitUntil([&] { return !proxy.HeldReply("XADD").empty(); }));
  auto close = [](agx_intercepted*, void* session) {
    agx_session_close(static_cast<agx_session*>(session));
    return AGX_OK;
  };
  InterceptorPtr interceptor = Intercepting{close, numbered}.On(second);
  proxy.ReleaseReply("XADD");
  EXPECT_EQ(adding.Get(), AGX_OK);
  EXPECT_THAT(StatusesOf(additions), ElementsAre(AGX_OK, AGX_OK));
}

TEST_F(RedisAddEach, AllGoInAFewWrites) {
  constexpr size_t kSessions = 64;
  std::vector<SessionPtr> sessions;
  std::vector<agx_addition> additions;
  for (size_t i = 0; i < kSessions; ++i) {
    sessions.push_back(OpenSession(client_, "s" + std::to_string(i)));
    additions.push_back(Of(sessions.back(), "t"));
  }
  // The server writes its answers to what it reads at once in one go.
  auto writes = [&] {
    std::string info = Raw({"INFO", "stats"});
    size_t at = info.find("total_writes_processed:");
    EXPECT_NE(at, std::string::npos);
    return at == std::string::npos ? 0 : std::stol(info.substr(at + 23));
  };
  long before = writes();
  ASSERT_EQ(agx_add_each(additions.data(), additions.size()), AGX_OK);
  EXPECT_LE(writes() - before, 8);
}

}  // namespace
}  // namespace agx::test
