// ctest-labels: redis threads
// ctest-timeout: 120
// The cases of behaviour.txt, which every language's suite has by the same names, in C.
#include <algorithm>
#include <map>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Lt;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class CapiBehaviour : public OnEachStore {
 protected:
  // Of `other_`: as somebody in another process sees it.
  SessionPtr Theirs(const std::string& id = "s") const { return OpenSession(other_, id); }
};
AGX_ON_EACH_STORE(CapiBehaviour);

agx_status Stop(const SessionPtr& session, int64_t grace_ms = -1) {
  return agx_stop(session.get(), grace_ms);
}

TEST_P(CapiBehaviour, start_add_stop) {
  SessionPtr session = Started(client_);
  std::string first = Add(session, "event", R"({"n":1})");
  std::string second = Add(session, "info", R"({"n":2})");
  ASSERT_EQ(Stop(session), AGX_OK);
  ListenerPtr listener = Listen(Theirs());
  EXPECT_EQ(Next(listener).text(), "begin");
  Told told = Next(listener);
  EXPECT_THAT((std::vector{told.id(), told.type(), told.origin(), told.body()}),
              ElementsAre(first, "event", "test", R"({"n":1})"));
  EXPECT_EQ(Next(listener).id(), second);
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

TEST_P(CapiBehaviour, late_listener) {
  SessionPtr session = Started(client_);
  Add(session, "event");
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Follow(Listen(Theirs())), ElementsAre("begin", "event", "AGX_ENDED"));
}

TEST_P(CapiBehaviour, follow_live) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(Theirs());
  ASSERT_EQ(Next(listener).text(), "begin");
  Background<std::string> waiting([&] { return Next(listener).text(); });
  waiting.AwaitBlocked();
  Add(session, "event");
  EXPECT_EQ(waiting.Get(), "event");
}

TEST_P(CapiBehaviour, resume) {
  SessionPtr session = Started(client_);
  Add(session, "one");
  Add(session, "two");
  ListenerPtr first = Listen(Theirs());
  Next(first);
  ASSERT_EQ(Next(first).text(), "one");
  std::string position = Position(first);
  first.reset();
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_THAT(Follow(ListenAfter(Theirs(), position.c_str())), ElementsAre("two", "AGX_ENDED"));
}

TEST_P(CapiBehaviour, only_new) {
  SessionPtr session = Started(client_);
  Add(session, "old");
  ListenerPtr listener = ListenAfter(Theirs(), "new");
  Add(session, "new");
  EXPECT_EQ(Next(listener).text(), "new");
}

TEST_P(CapiBehaviour, limit) {
  SessionPtr session = Started(client_);
  Add(session, "event");
  agx_listen_options options = Patient();
  options.limit = 2;
  EXPECT_THAT(Follow(Listen(Theirs(), options)), ElementsAre("begin", "event", "AGX_LIMIT"));
}

TEST_P(CapiBehaviour, where) {
  SessionPtr session = Started(client_);
  Add(session, "event", R"({"n":1})");
  Add(session, "event", R"({"n":2})");
  ASSERT_EQ(Stop(session), AGX_OK);
  agx_listen_options options = Patient();
  options.where = "body.n = 2";
  ListenerPtr listener = Listen(Theirs(), options);
  EXPECT_EQ(Next(listener).body(), R"({"n":2})");
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
  options.where = "type = = 3";
  agx_listener* none = nullptr;
  EXPECT_EQ(agx_listen(session.get(), &options, &none), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("byte 7"));
}

TEST_P(CapiBehaviour, absent) {
  agx_listen_options options = Patient();
  options.wait_ms = 20;
  EXPECT_EQ(Next(Listen(Theirs("nowhere"), options)).status, AGX_ABSENT);
}

TEST_P(CapiBehaviour, silent) {
  SessionPtr session = Started(client_);
  agx_listen_options options = Patient();
  options.timeout_ms = 20;
  ListenerPtr listener = Listen(Theirs(), options);
  ASSERT_EQ(Next(listener).text(), "begin");
  ASSERT_EQ(Next(listener).status, AGX_SILENT);
  Add(session, "event");
  EXPECT_EQ(Next(listener).text(), "event");
}

TEST_P(CapiBehaviour, gone) {
  agx_start_options options = Leased(100);
  options.detached = 1;
  SessionPtr session = Started(client_, "s", &options);
  ListenerPtr listener = Listen(Theirs());
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "AGX_GONE"));
}

TEST_P(CapiBehaviour, gap) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(Theirs());
  ASSERT_EQ(Next(listener).text(), "begin");
  Add(session, "one");
  Add(session, "two");
  ASSERT_EQ(agx_history_trim(session.get(), 1, nullptr, nullptr), AGX_OK);
  ASSERT_EQ(Stop(session), AGX_OK);
  // What the listener had read before the trimming it still has.
  std::vector<std::string> rest = Follow(listener);
  if (rest.front() == "AGX_GAP") {
    EXPECT_THAT(Follow(listener), ElementsAre("two", "AGX_ENDED"));
  } else {
    EXPECT_THAT(rest, ElementsAre("one", "two", "AGX_ENDED"));
  }
  std::string begin = "1-1";  // before everything that is there
  EXPECT_EQ(Next(ListenAfter(Theirs(), begin.c_str())).status, AGX_GAP);
}

TEST_P(CapiBehaviour, end_is_iteration_end) {
  SessionPtr session = Started(client_);
  ASSERT_EQ(Stop(session), AGX_OK);
  ListenerPtr listener = Listen(Theirs());
  EXPECT_THAT(Follow(listener), ElementsAre("begin", "AGX_ENDED"));
  EXPECT_EQ(Next(listener).status, AGX_ENDED) << "and stays so";
}

TEST_P(CapiBehaviour, start_busy) {
  SessionPtr session = Started(client_);
  EXPECT_EQ(agx_start(Theirs().get(), nullptr), AGX_EBUSY);
}

TEST_P(CapiBehaviour, take_over) {
  SessionPtr session = Started(client_);
  agx_start_options options = TakeOver();
  SessionPtr theirs = Theirs();
  ASSERT_EQ(agx_start(theirs.get(), &options), AGX_OK);
  EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_TAKEN_OVER);
  EXPECT_EQ(agx_add(session.get(), "event", "test", nullptr, nullptr), AGX_TAKEN_OVER);
  EXPECT_EQ(Stop(session), AGX_TAKEN_OVER);
  EXPECT_TRUE(IsLive(theirs));
}

TEST_P(CapiBehaviour, cancel) {
  SessionPtr session = Started(client_);
  EXPECT_EQ(agx_is_canceled(session.get()), 0);
  Background<agx_status> waiting([&] { return agx_wait_canceled(session.get(), kPatienceMs); });
  waiting.AwaitBlocked();
  int was_live = 0;
  ASSERT_EQ(agx_cancel(Theirs().get(), &was_live), AGX_OK);
  EXPECT_EQ(was_live, 1);
  EXPECT_EQ(waiting.Get(), AGX_OK);
  EXPECT_EQ(agx_is_canceled(session.get()), 1);
}

TEST_P(CapiBehaviour, cancel_not_live) {
  int was_live = 1;
  EXPECT_EQ(agx_cancel(Theirs().get(), &was_live), AGX_OK);
  EXPECT_EQ(was_live, 0);
}

TEST_P(CapiBehaviour, live) {
  SessionPtr session = OpenSession(client_);
  SessionPtr theirs = Theirs();
  EXPECT_FALSE(IsLive(theirs));
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_TRUE(IsLive(theirs));
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_FALSE(IsLive(theirs));
}

TEST_P(CapiBehaviour, add_many) {
  SessionPtr session = Started(client_);
  constexpr size_t kCount = 1000;
  std::vector<std::string> bodies;
  for (size_t i = 0; i < kCount; ++i) bodies.push_back("{\"n\":" + std::to_string(i) + "}");
  std::vector<agx_new_event> events;
  events.reserve(kCount);
  for (const std::string& body : bodies) events.push_back({"event", "test", body.c_str()});
  std::vector<char> ids(kCount * AGX_ID_SIZE);
  size_t added = 0;
  ASSERT_EQ(agx_add_many(session.get(), events.data(), kCount, ids.data(), &added), AGX_OK);
  EXPECT_EQ(added, kCount);
  ListenerPtr listener = Listen(Theirs());
  ASSERT_EQ(Next(listener).text(), "begin");
  for (size_t i = 0; i < kCount; ++i) {
    Told told = Next(listener);
    ASSERT_EQ(told.body(), bodies[i]);
    ASSERT_EQ(told.id(), std::string(&ids[i * AGX_ID_SIZE]));
  }
}

TEST_P(CapiBehaviour, text) {
  SessionPtr session = Started(client_, "\xF0\x9F\xA6\x8A s");
  std::string large = "{\"t\":\"" + std::string(size_t{1} << 20, 'x') + "\"}";
  std::vector<std::string> bodies = {"{\"t\":\"\xF0\x9F\x98\x80 \xC3\xA9 \\u0000\"}", large};
  for (const std::string& body : bodies) Add(session, "\xF0\x9F\x90\x9D", body.c_str(), "\xC3\xA9");
  ListenerPtr listener = Listen(Theirs("\xF0\x9F\xA6\x8A s"));
  ASSERT_EQ(Next(listener).text(), "begin");
  for (const std::string& body : bodies) {
    Told told = Next(listener);
    EXPECT_EQ(told.type(), "\xF0\x9F\x90\x9D");
    EXPECT_EQ(told.origin(), "\xC3\xA9");
    EXPECT_EQ(told.body(), body);
  }
  // A surrogate as it would stand in UTF-8; a NUL ends a text in C.
  EXPECT_EQ(agx_add(session.get(), "\xED\xA0\x80", "test", nullptr, nullptr), AGX_EINVAL);
}

TEST_P(CapiBehaviour, bad_body) {
  SessionPtr session = Started(client_);
  EXPECT_EQ(agx_add(session.get(), "event", "test", "{", nullptr), AGX_EJSON);
  EXPECT_EQ(agx_add(session.get(), "event", "test", "\"\xFF\"", nullptr), AGX_EJSON);
  EXPECT_THAT(Stored(session), ElementsAre("begin"));
}

TEST_P(CapiBehaviour, closed) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  agx_session* closed_session = session.get();
  agx_listener* closed_listener = listener.release();
  agx_listener_close(closed_listener);
  agx_listener_close(closed_listener);
  agx_event* event = nullptr;
  EXPECT_EQ(agx_listen_next(closed_listener, 0, &event), AGX_ECLOSED);
  ClientPtr mine = std::move(client_);
  mine.reset();
  int live = 0;
  EXPECT_EQ(agx_is_live(closed_session, &live), AGX_ECLOSED);
  session.reset();
  EXPECT_EQ(agx_is_live(closed_session, &live), AGX_ECLOSED);
}

TEST_P(CapiBehaviour, close_while_waiting) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  ASSERT_EQ(Next(listener).text(), "begin");
  agx_listener* handle = listener.get();
  Background<agx_status> waiting([&] {
    agx_event* event = nullptr;
    return agx_listen_next(handle, -1, &event);
  });
  waiting.AwaitBlocked();
  listener.reset();
  EXPECT_EQ(waiting.Get(), AGX_ECLOSED);
}

TEST_P(CapiBehaviour, language_cancel) {
  SessionPtr session = Started(client_);
  ListenerPtr listener = Listen(session);
  ASSERT_EQ(Next(listener).text(), "begin");
  Background<std::string> waiting([&] { return Next(listener, -1).text(); });
  waiting.AwaitBlocked();
  ASSERT_EQ(agx_listener_interrupt(listener.get()), AGX_OK);
  EXPECT_EQ(waiting.Get(), "AGX_INTERRUPTED");
  Add(session, "event");
  EXPECT_EQ(Next(listener).text(), "event");
}

TEST_P(CapiBehaviour, query) {
  std::vector<SessionPtr> sessions;
  using Place = std::pair<int64_t, int64_t>;
  for (Place place : {Place{1, 2}, Place{1, 3}, Place{4, 2}}) {
    sessions.push_back(OpenSession(client_, "s", place.first, place.second));
    ASSERT_EQ(agx_start(sessions.back().get(), nullptr), AGX_OK);
  }
  auto live = [&](int64_t scope, int64_t user) {
    agx_query* query = nullptr;
    EXPECT_EQ(agx_query_open(other_.get(), scope, user, &query), AGX_OK);
    QueryPtr owned(query);
    std::vector<Place> places;
    Place place;
    const char* id = nullptr;
    agx_status status;
    while ((status = agx_query_next(query, &place.first, &place.second, &id)) == AGX_OK) {
      places.push_back(place);
    }
    EXPECT_EQ(status, AGX_ENDED);
    return places;
  };
  EXPECT_THAT(live(1, 2), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(live(1, AGX_ANY), UnorderedElementsAre(Pair(1, 2), Pair(1, 3)));
  EXPECT_THAT(live(AGX_ANY, AGX_ANY), SizeIs(3));
}

TEST_P(CapiBehaviour, wait_for) {
  SessionPtr session = Started(client_);
  SessionPtr theirs = Theirs();
  Add(theirs, "event", R"({"answer":"no"})");
  Add(theirs, "approval", R"({"answer":"yes"})");
  agx_event* event = nullptr;
  ASSERT_EQ(agx_wait_for(session.get(), "type = \"approval\"", kPatienceMs, &event), AGX_OK);
  EXPECT_STREQ(agx_event_body(event, nullptr), R"({"answer":"yes"})");
  agx_event_free(event);
}

TEST_P(CapiBehaviour, history) {
  SessionPtr session = Started(client_);
  Add(session, "one");
  Add(session, "two");
  Add(session, "three");
  SessionPtr theirs = Theirs();
  auto read = [&](bool reverse, const char* where, size_t most) {
    agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
    options.reverse = reverse ? 1 : 0;
    options.where = where;
    std::vector<agx_event*> events(most);
    size_t count = 0;
    EXPECT_EQ(agx_history_read(theirs.get(), &options, events.data(), most, &count), AGX_OK);
    std::vector<std::string> types;
    for (size_t i = 0; i < count; ++i) {
      types.emplace_back(agx_event_type(events[i], nullptr));
      agx_event_free(events[i]);
    }
    return types;
  };
  EXPECT_THAT(read(false, nullptr, 9), ElementsAre("begin", "one", "two", "three"));
  EXPECT_THAT(read(true, nullptr, 2), ElementsAre("three", "two"));
  EXPECT_THAT(read(false, "type = \"two\"", 9), ElementsAre("two"));
  agx_history info = AGX_HISTORY_INIT;
  ASSERT_EQ(agx_history_info(theirs.get(), &info), AGX_OK);
  EXPECT_EQ(info.length, 4U);
  EXPECT_EQ(info.live, 1);
  uint64_t removed = 0;
  ASSERT_EQ(agx_history_trim(theirs.get(), 1, nullptr, &removed), AGX_OK);
  EXPECT_EQ(removed, 3U);
  EXPECT_THAT(read(false, nullptr, 9), ElementsAre("three"));
  ASSERT_EQ(agx_history_delete(session.get()), AGX_OK);
  EXPECT_EQ(agx_history_info(theirs.get(), &info), AGX_NONE);
}

TEST_P(CapiBehaviour, many_listeners) {
  constexpr size_t kCount = 1000;
  MuxPtr mux = OpenMux(other_);
  std::vector<SessionPtr> sessions;
  std::map<agx_listener*, size_t> numbers;
  std::vector<ListenerPtr> listeners;
  for (size_t i = 0; i < kCount; ++i) {
    std::string id = std::to_string(i);
    sessions.push_back(OpenSession(client_, id));
    listeners.push_back(Listen(Theirs(id)));
    ASSERT_EQ(agx_mux_add(mux.get(), listeners.back().get()), AGX_OK);
    numbers[listeners.back().get()] = i;
  }
  for (size_t i = 0; i < kCount; ++i) Add(sessions[i], "event", std::to_string(i).c_str());
  std::vector<int> seen(kCount, 0);
  for (size_t i = 0; i < kCount; ++i) {
    Told told = Next(mux);
    ASSERT_EQ(told.status, AGX_OK);
    EXPECT_EQ(told.body(), std::to_string(numbers.at(told.listener)));
    ++seen[numbers.at(told.listener)];
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<std::ptrdiff_t>(kCount));
}

TEST_P(CapiBehaviour, run_feed) {
  SessionPtr session = OpenSession(client_);
  agx_run* run = nullptr;
  ASSERT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_OK);
  std::string stream =
      "data: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"He\"}}]}\n\n"
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"}}]}\n\n"
      "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
      "data: [DONE]\n\n";
  ASSERT_EQ(agx_run_feed(run, AGX_OPENAI_CHAT, stream.data(), stream.size()), AGX_OK);
  const char* response = nullptr;
  size_t length = 0;
  ASSERT_EQ(agx_run_feed_end(run, &response, &length), AGX_OK);
  EXPECT_THAT(std::string(response, length),
              AllOf(HasSubstr(R"("kind":"response")"), HasSubstr("Hello")));
  ASSERT_EQ(agx_run_finish(run), AGX_OK);
  agx_run_close(run);
  EXPECT_THAT(Follow(Listen(Theirs())),
              ElementsAre("begin", "event", "event", "event", "event", "event", "AGX_ENDED"));
}

TEST_P(CapiBehaviour, run_fail) {
  SessionPtr session = OpenSession(client_);
  agx_run* run = nullptr;
  ASSERT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_OK);
  ASSERT_EQ(agx_run_fail(run, "no luck"), AGX_OK);
  agx_run_close(run);
  ListenerPtr listener = Listen(Theirs());
  EXPECT_EQ(Next(listener).text(), "begin");
  Told told = Next(listener);
  EXPECT_EQ(told.type(), "error");
  EXPECT_THAT(told.body(), HasSubstr("crashed - no luck"));
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

TEST_P(CapiBehaviour, messages) {
  SessionPtr session = OpenSession(client_);
  agx_messages* opened = nullptr;
  ASSERT_EQ(agx_messages_open(session.get(), &opened), AGX_OK);
  MessagesPtr messages(opened);
  ASSERT_EQ(agx_messages_append_user(opened, "Hello \xF0\x9F\x98\x80"), AGX_OK);
  ASSERT_EQ(agx_messages_save(opened), AGX_OK);
  const char* json = nullptr;
  size_t length = 0;
  ASSERT_EQ(agx_messages_json(opened, &json, &length), AGX_OK);
  agx_messages* again = nullptr;
  ASSERT_EQ(agx_messages_open(Theirs().get(), &again), AGX_OK);
  MessagesPtr theirs(again);
  ASSERT_EQ(agx_messages_load(again), AGX_OK);
  const char* loaded = nullptr;
  ASSERT_EQ(agx_messages_json(again, &loaded, nullptr), AGX_OK);
  EXPECT_STREQ(loaded, json);
  const char* title = nullptr;
  ASSERT_EQ(agx_messages_title(again, &title, nullptr), AGX_OK);
  EXPECT_STREQ(title, "Hello \xF0\x9F\x98\x80");
}

TEST_P(CapiBehaviour, unreachable) {
  agx_client* client = nullptr;
  EXPECT_EQ(agx_open("redis://127.0.0.1:1?reconnect_timeout=-1", nullptr, &client), AGX_ECONNECT);
  EXPECT_THAT(agx_last_error(), HasSubstr("127.0.0.1:1"));
}

// Each language's suite has this besides the list: a store in memory has nothing to restart.
TEST(CapiRestart, AServerThatIsKilledCostsNothingThatWasAcknowledged) {
  RedisServer kept({.args = {}, .append_only = true});
  ClientPtr client = OpenClient(kept.url());
  ClientPtr other = OpenClient(kept.url());
  SessionPtr session = Started(client);
  ListenerPtr listener = Listen(OpenSession(other));
  ASSERT_EQ(Next(listener).text(), "begin");
  Background<std::string> waiting([&] { return Next(listener).text(); });
  waiting.AwaitBlocked();
  kept.Kill9();
  kept.Restart();
  Add(session, "after");
  EXPECT_EQ(waiting.Get(), "after");
  ASSERT_EQ(Stop(session), AGX_OK);
  EXPECT_EQ(Next(listener).status, AGX_ENDED);
}

}  // namespace
}  // namespace agx::test
