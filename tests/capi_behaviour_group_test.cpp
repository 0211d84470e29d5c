// ctest-labels: redis threads
// ctest-timeout: 120
// The cases of behaviour.txt about groups, callbacks and formats, in C.
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;

class CapiBehaviour : public OnEachStore {
 protected:
  // A session of another client, as somebody in another process sees it.
  SessionPtr Theirs(const std::string& id = "s") const { return OpenSession(other_, id); }
};
AGX_ON_EACH_STORE(CapiBehaviour);

GroupPtr OpenGroup(const SessionPtr& session, const char* consumer) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = consumer;
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(session.get(), "g", &options, &group), AGX_OK);
  return GroupPtr(group);
}

std::vector<EventPtr> Read(const GroupPtr& group, size_t capacity = 100,
                           agx_group_source source = AGX_GROUP_NEW) {
  std::vector<agx_event*> events(capacity);
  size_t count = 0;
  agx_status status = agx_group_read(group.get(), source, 0, events.data(), capacity, &count);
  EXPECT_EQ(status == AGX_OK, count > 0);
  return {events.begin(), events.begin() + static_cast<ptrdiff_t>(count)};
}

std::vector<std::string> Types(const std::vector<EventPtr>& events) {
  std::vector<std::string> types;
  for (const EventPtr& event : events) types.emplace_back(agx_event_type(event.get(), nullptr));
  return types;
}

uint64_t Ack(const GroupPtr& group, const std::vector<EventPtr>& events) {
  std::vector<const char*> ids;
  for (const EventPtr& event : events) ids.push_back(agx_event_id(event.get(), nullptr));
  uint64_t count = 0;
  EXPECT_EQ(agx_group_ack(group.get(), ids.data(), ids.size(), &count), AGX_OK);
  return count;
}

uint64_t Pending(const GroupPtr& group) {
  agx_pending pending = AGX_PENDING_INIT;
  EXPECT_EQ(agx_group_pending(group.get(), &pending), AGX_OK);
  return pending.count;
}

// Calls a lambda with an event and the attempt.
template <class Handler>
agx_status Process(const GroupPtr& group, const agx_group_process_options& options,
                   Handler* handler) {
  return agx_group_process(
      group.get(), &options,
      [](const agx_event* event, int64_t attempt, void* user_data) {
        return (*static_cast<Handler*>(user_data))(agx_event_type(event, nullptr), attempt);
      },
      handler);
}

agx_group_process_options Quickly() {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.backoff_ms = 1;
  options.timeout_ms = 1000;
  return options;
}

// Has every event of the type "bad" die, and says how often it was tried.
int64_t HandleAllBut(const GroupPtr& group, uint64_t* handled) {
  int64_t attempts = 0;
  *handled = 0;
  auto handler = [&](const std::string& type, int64_t attempt) {
    if (type != "bad") return ++*handled, AGX_OK;
    attempts = attempt;
    EXPECT_EQ(agx_group_fail_reason(group.get(), "it is bad"), AGX_OK);
    return AGX_EFAILED;
  };
  EXPECT_EQ(Process(group, Quickly(), &handler), AGX_TIMEOUT);
  return attempts;
}

struct Letter {
  EventPtr event;
  std::string original_id;
  std::string original_stream;
  std::string reason;
  int64_t attempts;
};

std::vector<Letter> Letters(const GroupPtr& group) {
  std::vector<agx_dead_letter> told(10);
  size_t count = 0;
  agx_group_dead_letters(group.get(), nullptr, told.data(), told.size(), &count);
  std::vector<Letter> letters;
  for (size_t i = 0; i < count; ++i) {
    const agx_dead_letter& letter = told[i];
    letters.push_back({EventPtr(letter.event), letter.original_id, letter.original_stream,
                       letter.reason, letter.attempts});
  }
  return letters;
}

TEST_P(CapiBehaviour, group_read_ack) {
  SessionPtr session = OpenSession(client_);
  for (const char* type : {"a", "b", "c"}) Add(session, type);
  GroupPtr first = OpenGroup(session, "first");
  GroupPtr second = OpenGroup(Theirs(), "second");
  std::vector<EventPtr> mine = Read(first, 2);
  EXPECT_THAT(Types(mine), ElementsAre("a", "b"));
  EXPECT_THAT(Types(Read(second)), ElementsAre("c"));
  EXPECT_EQ(Pending(first), 3U);
  mine.pop_back();
  EXPECT_EQ(Ack(first, mine), 1U);
  EXPECT_EQ(Ack(first, mine), 0U);
  EXPECT_EQ(Pending(first), 2U);
  GroupPtr again = OpenGroup(session, "first");
  EXPECT_THAT(Types(Read(again, 100, AGX_GROUP_PENDING_ONLY)), ElementsAre("b"));
}

TEST_P(CapiBehaviour, group_claim) {
  SessionPtr session = OpenSession(client_);
  std::string id = Add(session, "a");
  Add(session, "b");
  ASSERT_EQ(Read(OpenGroup(session, "dead")).size(), 2U);
  GroupPtr group = OpenGroup(Theirs(), "alive");
  const char* ids[] = {id.c_str()};
  agx_event* events[10] = {};
  size_t count = 99;
  EXPECT_EQ(agx_group_claim(group.get(), 3600000, ids, 1, events, &count), AGX_OK);
  EXPECT_EQ(count, 0U) << "it has not been idle for an hour";
  EXPECT_EQ(agx_group_claim(group.get(), 0, ids, 1, events, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_STREQ(agx_event_type(EventPtr(events[0]).get(), nullptr), "a");
  char cursor[AGX_ID_SIZE] = "";
  EXPECT_EQ(agx_group_autoclaim(group.get(), 0, cursor, events, 10, &count), AGX_OK);
  EXPECT_STREQ(cursor, "0-0");
  EXPECT_EQ(count, 2U);
  for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
  EXPECT_THAT(Types(Read(group, 100, AGX_GROUP_PENDING_ONLY)), ElementsAre("a", "b"));
}

TEST_P(CapiBehaviour, group_process) {
  SessionPtr session = OpenSession(client_);
  for (const char* type : {"a", "bad", "b"}) Add(session, type);
  GroupPtr group = OpenGroup(session, "c");
  uint64_t handled = 0;
  EXPECT_EQ(HandleAllBut(group, &handled), 3) << "attempts";
  EXPECT_EQ(handled, 2U);
  EXPECT_EQ(Pending(group), 0U);
  std::vector<Letter> letters = Letters(group);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].reason, "it is bad");
  EXPECT_EQ(letters[0].attempts, 3);
}

TEST_P(CapiBehaviour, group_dead_letters) {
  SessionPtr session = OpenSession(client_);
  std::string id = Add(session, "bad", R"({"n":1})");
  GroupPtr group = OpenGroup(session, "c");
  uint64_t handled = 0;
  HandleAllBut(group, &handled);
  std::vector<Letter> letters = Letters(group);
  ASSERT_EQ(letters.size(), 1U);
  EXPECT_EQ(letters[0].original_id, id);
  EXPECT_THAT(letters[0].original_stream, HasSubstr(":1:2:s"));
  EXPECT_STREQ(agx_event_body(letters[0].event.get(), nullptr), R"({"n":1})");
  const char* ids[] = {agx_event_id(letters[0].event.get(), nullptr)};
  uint64_t count = 0;
  EXPECT_EQ(agx_group_replay(group.get(), ids, 1, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EXPECT_THAT(Letters(group), IsEmpty());
  EXPECT_THAT(Stored(session), ElementsAre("bad", "bad"));
  HandleAllBut(group, &handled);
  letters = Letters(group);
  ASSERT_EQ(letters.size(), 1U);
  ids[0] = agx_event_id(letters[0].event.get(), nullptr);
  EXPECT_EQ(agx_group_delete_dead_letters(group.get(), ids, 1, &count), AGX_OK);
  EXPECT_EQ(count, 1U);
  EXPECT_THAT(Letters(group), IsEmpty());
}

TEST_P(CapiBehaviour, group_info) {
  SessionPtr session = OpenSession(client_);
  std::string id = Add(session, "a");
  Add(session, "b");
  GroupPtr group = OpenGroup(session, "c");
  ASSERT_EQ(Read(group, 1).size(), 1U);
  agx_pending_event pending[10];
  size_t count = 0;
  EXPECT_EQ(agx_group_pending_events(group.get(), nullptr, 0, nullptr, pending, 10, &count),
            AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(pending[0].id, id);
  EXPECT_STREQ(pending[0].consumer, "c");
  EXPECT_EQ(pending[0].attempts, 1);
  agx_group_info groups[10];
  EXPECT_EQ(agx_group_list(session.get(), groups, 10, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_STREQ(groups[0].name, "g");
  EXPECT_EQ(groups[0].lag, 1);
  agx_consumer_info consumers[10];
  EXPECT_EQ(agx_group_consumers(group.get(), consumers, 10, &count), AGX_OK);
  ASSERT_EQ(count, 1U);
  EXPECT_EQ(consumers[0].pending, 1U);
  agx_health health = AGX_HEALTH_INIT;
  EXPECT_EQ(agx_group_health(group.get(), &health), AGX_OK);
  EXPECT_EQ(health.length, 2U);
  EXPECT_EQ(health.pending, 1U);
  EXPECT_EQ(health.dead_letters, 0U);
  EXPECT_EQ(health.last_delivered_id, id);
  uint64_t dropped = 0;
  EXPECT_EQ(agx_group_delete_consumer(group.get(), nullptr, &dropped), AGX_OK);
  EXPECT_EQ(dropped, 1U);
  EXPECT_EQ(agx_group_delete(group.get()), AGX_OK);
  EXPECT_EQ(agx_group_health(group.get(), &health), AGX_NONE);
}

TEST_P(CapiBehaviour, group_interrupt) {
  SessionPtr session = OpenSession(client_);
  GroupPtr group = OpenGroup(session, "c");
  Background<agx_status> reading([&] {
    agx_event* event = nullptr;
    size_t count = 0;
    return agx_group_read(group.get(), AGX_GROUP_NEW, -1, &event, 1, &count);
  });
  reading.AwaitBlocked();
  EXPECT_EQ(agx_group_interrupt(group.get()), AGX_OK);
  EXPECT_EQ(reading.Get(), AGX_INTERRUPTED);

  Add(session, "a");
  Add(session, "b");
  int handled = 0;
  auto handler = [&](const std::string& /*type*/, int64_t /*attempt*/) {
    if (++handled == 1) agx_group_interrupt(group.get());
    return AGX_OK;
  };
  EXPECT_EQ(Process(group, Quickly(), &handler), AGX_INTERRUPTED);
  EXPECT_EQ(handled, 2) << "it holds both";
  EXPECT_EQ(Pending(group), 0U);
}

TEST_P(CapiBehaviour, callback_error) {
  SessionPtr session = OpenSession(client_);
  agx_interceptor* opened = nullptr;
  // C has nothing to throw: what it returns is what its caller gets.
  ASSERT_EQ(agx_intercept(
                session.get(), nullptr,
                [](agx_intercepted* event, void*) {
                  return agx_intercepted_refuse(event, AGX_EDENIED, "not today");
                },
                nullptr, &opened),
            AGX_OK);
  InterceptorPtr interceptor(opened);
  EXPECT_EQ(agx_add(session.get(), "a", "test", nullptr, nullptr), AGX_EDENIED);
  EXPECT_THAT(agx_last_error(), HasSubstr("not today"));
  interceptor.reset();
  Add(session, "b");
  EXPECT_THAT(Stored(session), ElementsAre("b"));
}

TEST_P(CapiBehaviour, intercept) {
  SessionPtr session = OpenSession(client_);
  agx_interceptor* opened = nullptr;
  auto function = [](agx_intercepted* event, void*) {
    std::string type = agx_intercepted_type(event, nullptr);
    if (type == "swallow") return AGX_SWALLOWED;
    if (type == "refuse") return agx_intercepted_refuse(event, AGX_EDENIED, "no such events");
    agx_intercepted_set_type(event, "changed");
    agx_intercepted_set_origin(event, "interceptor");
    return agx_intercepted_set_body(event, R"({"n":2})");
  };
  ASSERT_EQ(agx_intercept(session.get(), "not type = \"left\"", function, nullptr, &opened),
            AGX_OK);
  InterceptorPtr interceptor(opened);
  Add(session, "change", R"({"n":1})");
  EXPECT_EQ(agx_add(session.get(), "swallow", "test", nullptr, nullptr), AGX_SWALLOWED);
  EXPECT_EQ(agx_add(session.get(), "refuse", "test", nullptr, nullptr), AGX_EDENIED);
  EXPECT_THAT(agx_last_error(), HasSubstr("no such events"));
  Add(session, "left");
  interceptor.reset();
  Add(session, "refuse");
  ListenerPtr listener = Listen(Theirs());
  Told told = Next(listener);
  EXPECT_THAT((std::vector{told.type(), told.origin(), told.body()}),
              ElementsAre("changed", "interceptor", R"({"n":2})"));
  EXPECT_EQ(Next(listener).text(), "left");
  EXPECT_EQ(Next(listener).text(), "refuse");
}

TEST_P(CapiBehaviour, subscribe) {
  struct Calls {
    std::mutex mutex;
    std::vector<std::string> texts;

    std::vector<std::string> all() {
      std::lock_guard lock(mutex);
      return texts;
    }
    static void Note(agx_subscription* subscription, agx_status status, const agx_event* event,
                     void* user_data) {
      auto* calls = static_cast<Calls*>(user_data);
      std::string text =
          event == nullptr ? agx_status_string(status) : agx_event_type(event, nullptr);
      {
        std::lock_guard lock(calls->mutex);
        calls->texts.push_back(text);
      }
      if (text == "last") agx_subscription_close(subscription);
    }
  };
  SessionPtr session = Started(client_);
  Calls to_the_end;
  Calls to_the_last;
  agx_subscription* first = nullptr;
  agx_subscription* second = nullptr;
  const char* where = "not type = \"begin\" and not type = \"noise\"";
  ASSERT_EQ(agx_subscribe(Theirs().get(), where, nullptr, Calls::Note, &to_the_end, &first),
            AGX_OK);
  SubscriptionPtr subscription(first);
  ASSERT_EQ(agx_subscribe(Theirs().get(), where, nullptr, Calls::Note, &to_the_last, &second),
            AGX_OK);
  for (const char* type : {"a", "noise", "b"}) Add(session, type);
  ASSERT_TRUE(WaitUntil([&] { return to_the_end.all().size() == 2; }));
  // Another than the first, which would otherwise unsubscribe too.
  subscription.reset();
  EXPECT_THAT(to_the_end.all(), ElementsAre("a", "b"));
  Calls again;
  ASSERT_EQ(agx_subscribe(Theirs().get(), "type = \"b\"", nullptr, Calls::Note, &again, &first),
            AGX_OK);
  subscription.reset(first);
  Add(session, "last");
  Add(session, "behind");
  ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return again.all().size() == 2; }));
  EXPECT_THAT(again.all(), ElementsAre("b", "AGX_ENDED"));
  EXPECT_THAT(to_the_last.all(), ElementsAre("a", "b", "last"));
}

SessionPtr OpenStream(const ClientPtr& client, const char* format) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = format;
  agx_session* session = nullptr;
  EXPECT_EQ(agx_stream_open(client.get(), "a stream", &options, &session), AGX_OK) << format;
  return SessionPtr(session);
}

std::string FieldOf(const Told& told, const char* name) {
  const char* value = nullptr;
  size_t length = 0;
  agx_status status = agx_event_field(told.event.get(), name, &value, &length);
  return status == AGX_OK ? std::string(value, length) : "none";
}

TEST_P(CapiBehaviour, formats) {
  struct {
    const char* format;
    const char* type;
    const char* body;
    const char* field;
    const char* refused;  // a body that the format cannot hold
    bool ends;            // the format has an end
  } cases[] = {
      {"openai-agents", "token", R"({"n":1})", "data", nullptr, false},
      {"agent-framework", "event", R"({"text":"hello"})", "text", R"({"n":1})", true},
      {"ag2", "my.TextEvent", R"({"content":"hello"})", "element", "[1]", false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.format);
    SessionPtr session = OpenStream(client_, c.format);
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    ListenerPtr listener = Listen(OpenStream(other_, c.format));
    ASSERT_EQ(agx_add(session.get(), c.type, c.format, c.body, nullptr), AGX_OK)
        << agx_last_error();
    Told told = Next(listener);
    EXPECT_EQ(told.type(), c.type);
    EXPECT_NE(FieldOf(told, c.field), "none");
    EXPECT_EQ(FieldOf(told, "there is no such field"), "none");
    if (c.refused != nullptr) {
      EXPECT_EQ(agx_add(session.get(), c.type, c.format, c.refused, nullptr), AGX_EUNSUPPORTED);
    }
    ASSERT_EQ(agx_stop(session.get(), -1), AGX_OK);
    if (c.ends) {
      EXPECT_EQ(Next(listener).status, AGX_ENDED);
    }
  }
}

TEST_P(CapiBehaviour, replace_drop) {
  SessionPtr session = Started(client_);
  Add(session, "a");
  const agx_new_event summary[] = {{"summary", "test", R"({"n":2})"}, {"more", "test", nullptr}};
  uint64_t removed = 0;
  EXPECT_EQ(agx_history_replace(session.get(), summary, 2, &removed), AGX_OK);
  EXPECT_EQ(removed, 2U);
  EXPECT_THAT(Stored(Theirs()), ElementsAre("summary", "more"));
  EXPECT_EQ(agx_history_drop(session.get(), &removed), AGX_OK);
  EXPECT_EQ(removed, 2U);
  EXPECT_THAT(Stored(Theirs()), IsEmpty());
}

TEST_P(CapiBehaviour, checkpoint) {
  SessionPtr session = Started(client_);
  char position[AGX_NAME_MAX + 1] = "?";
  EXPECT_EQ(agx_checkpoint(session.get(), "there", position), AGX_OK);
  EXPECT_STREQ(position, "");
  const agx_new_event events[] = {{"a", "test", nullptr}, {"b", "test", nullptr}};
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(agx_add_checked(session.get(), events, 2, "there", "", "2"), AGX_OK);
  }
  EXPECT_EQ(agx_add_checked(session.get(), events, 2, "there", "1", "3"), AGX_ECONFLICT);
  EXPECT_THAT(Stored(Theirs()), ElementsAre("begin", "a", "b"));
  EXPECT_EQ(agx_checkpoint(Theirs().get(), "there", position), AGX_OK);
  EXPECT_STREQ(position, "2");
}

}  // namespace
}  // namespace agx::test
