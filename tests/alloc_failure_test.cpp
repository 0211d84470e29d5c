// ctest-labels: redis
// ctest-timeout: 120
// Memory that runs out at every allocation of a session's life: each call says so, and the next try works.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/background.h"
#include "support/exhaustion.h"
#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/wait.h"

namespace agx::test {
namespace {

TEST_P(OutOfMemory, EachCallSaysSoAndTheNextTryWorks) {
  // Keeps a memory: store while clients of it fail to open.
  Owned<agx_client> keeper = OpenClient(url());
  Exhaustion run(GetParam().mode);
  std::string address = url();

  agx_client* raw_client = nullptr;
  ASSERT_EQ(run.Run("agx_open", [&] { return agx_open(address.c_str(), nullptr, &raw_client); }),
            AGX_OK);
  Owned<agx_client> client(raw_client);

  agx_session* raw_session = nullptr;
  ASSERT_EQ(run.Run("agx_session_open",
                    [&] { return agx_session_open(raw_client, 1, 2, "s", &raw_session); }),
            AGX_OK);
  Owned<agx_session> session(raw_session);
  ASSERT_EQ(run.Run("agx_start", [&] { return agx_start(raw_session, nullptr); },
                    {AGX_ESYSTEM, AGX_EUNCERTAIN}),
            AGX_OK);

  // What was acknowledged, and what may be there.
  std::map<int, agx_status> outcomes;
  int n = 0;
  auto add = [&] {
    armed = false;
    std::string body = BodyOf({0, n});
    armed = true;
    agx_status status = agx_add(raw_session, "t", "o", body.c_str(), nullptr);
    armed = false;
    outcomes[n++] = status;
    return status;
  };
  for (int i = 0; i < 2; ++i) run.Run("agx_add", add, {AGX_EUNCERTAIN});

  auto add_many = [&] {
    armed = false;
    constexpr int kCount = 70;
    std::vector<std::string> bodies;
    for (int i = 0; i < kCount; ++i) bodies.push_back(BodyOf({0, n + i}));
    std::vector<agx_new_event> events;
    for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
    size_t added = 0;
    armed = true;
    agx_status status = agx_add_many(raw_session, events.data(), events.size(), nullptr, &added);
    armed = false;
    for (size_t i = 0; i < kCount; ++i) {
      // Of those after the first `added` nothing is known, whatever the error.
      outcomes[n++] = i < added ? AGX_OK : AGX_EUNCERTAIN;
    }
    return status;
  };
  run.Run("agx_add_many", add_many, {AGX_EUNCERTAIN});

  auto add_each = [&] {
    armed = false;
    constexpr int kCount = 70;
    std::vector<std::string> bodies;
    for (int i = 0; i < kCount; ++i) bodies.push_back(BodyOf({0, n + i}));
    std::vector<agx_addition> additions(kCount);
    for (size_t i = 0; i < kCount; ++i) {
      additions[i].session = raw_session;
      additions[i].event = {"t", "o", bodies[i].c_str()};
    }
    armed = true;
    agx_status status = agx_add_each(additions.data(), additions.size());
    armed = false;
    for (const agx_addition& one : additions) outcomes[n++] = one.status;
    return status;
  };
  run.Run("agx_add_each", add_each, {AGX_EUNCERTAIN});

  agx_listen_options options = Patient();
  agx_listener* listener = nullptr;
  ASSERT_EQ(run.Run("agx_listen", [&] { return agx_listen(raw_session, &options, &listener); }),
            AGX_OK);
  Owned<agx_listener> owned_listener(listener);
  agx_listener* pumped = nullptr;
  ASSERT_EQ(run.Run("agx_listen", [&] { return agx_listen(raw_session, &options, &pumped); }),
            AGX_OK);
  Owned<agx_listener> owned_pumped(pumped);
  agx_listener* in_mux = nullptr;
  ASSERT_EQ(run.Run("agx_listen", [&] { return agx_listen(raw_session, &options, &in_mux); }),
            AGX_OK);
  Owned<agx_listener> owned_in_mux(in_mux);
  agx_mux* mux = nullptr;
  ASSERT_EQ(run.Run("agx_mux_open", [&] { return agx_mux_open(raw_client, &mux); }), AGX_OK);
  Owned<agx_mux> owned_mux(mux);
  ASSERT_EQ(run.Run("agx_mux_add", [&] { return agx_mux_add(mux, in_mux); }, {AGX_ESYSTEM}),
            AGX_OK);
  int fd = -1;
  ASSERT_EQ(run.Run("agx_listener_fd", [&] { return agx_listener_fd(pumped, &fd); }, {AGX_ESYSTEM}),
            AGX_OK);

  int live = 0;
  EXPECT_EQ(run.Run("agx_is_live", [&] { return agx_is_live(raw_session, &live); }), AGX_OK);
  EXPECT_EQ(live, 1);
  EXPECT_EQ(run.Run("agx_renew", [&] { return agx_renew(raw_session); }), AGX_OK);

  agx_query* query = nullptr;
  ASSERT_EQ(run.Run("agx_query_open", [&] { return agx_query_open(raw_client, 1, 2, &query); }),
            AGX_OK);
  Owned<agx_query> owned_query(query);
  const char* found = nullptr;
  EXPECT_EQ(
      run.Run("agx_query_next", [&] { return agx_query_next(query, nullptr, nullptr, &found); }),
      AGX_OK);
  EXPECT_STREQ(found != nullptr ? found : "", "s");

  // With an allocation failing in every call for a while; then all is heard, once and in order.
  std::vector<Numbered> heard[3];
  int sources = 0;
  auto hear = [&](const char* name, const std::function<agx_status(agx_event**)>& next) {
    std::vector<Numbered>& to = heard[sources++];
    agx_status status = AGX_OK;
    for (int failing = 0; status != AGX_TIMEOUT || run.happened();) {
      agx_event* event = nullptr;
      status = run.Try(failing, [&] { return next(&event); });
      // Upward while it fails; and again from the first for the next event.
      failing = status == AGX_OK ? 0 : failing + 1;
      Owned<agx_event> owned(event);
      Numbered numbered;
      if (status == AGX_OK && ParseBody(agx_event_body(event, nullptr), &numbered)) {
        to.push_back(numbered);
      }
      bool fits = status == AGX_OK || status == AGX_ENOMEM || status == AGX_TIMEOUT ||
                  status == AGX_ESYSTEM;
      ASSERT_TRUE(fits) << name << ": " << Explain(status);
      ASSERT_LT(failing, 3000) << name;
    }
  };
  hear("agx_listen_next", [&](agx_event** event) { return agx_listen_next(listener, 100, event); });
  agx_listener* whose = nullptr;
  hear("agx_mux_next", [&](agx_event** event) { return agx_mux_next(mux, 300, &whose, event); });
  hear("agx_listen_next, by descriptor",
       [&](agx_event** event) { return agx_listen_next(pumped, 300, event); });
  for (auto& events : heard) {
    EXPECT_EQ(events, heard[0]);
    std::map<int, int> times;
    for (Numbered event : events) ++times[event.number];
    for (auto [number, status] : outcomes) {
      int least = status == AGX_OK ? 1 : 0;
      int most = status == AGX_ENOMEM ? 0 : 1;
      EXPECT_GE(times[number], least) << number << " " << agx_status_string(status);
      EXPECT_LE(times[number], most) << number << " " << agx_status_string(status);
    }
  }

  // An event's JSON.
  agx_listener* replay = nullptr;
  Require(agx_listen(raw_session, &options, &replay));
  Owned<agx_listener> owned_replay(replay);
  agx_event* event = nullptr;
  Require(agx_listen_next(replay, 5000, &event));
  Owned<agx_event> owned_event(event);
  const char* json = nullptr;
  EXPECT_EQ(run.Run("agx_event_json",
                    [&] { return agx_event_json(event, AGX_JSON_FULL, &json, nullptr); }),
            AGX_OK);
  EXPECT_THAT(json, testing::HasSubstr("\"begin\""));

  agx_history_options selected = AGX_HISTORY_OPTIONS_INIT;
  selected.where = "type = \"begin\"";
  for (const agx_history_options* range : {static_cast<agx_history_options*>(nullptr), &selected}) {
    agx_event* read[2] = {nullptr, nullptr};
    size_t count = 0;
    auto look_back = [&] {
      agx_status status = agx_history_read(raw_session, range, read, 2, &count);
      EXPECT_EQ(read[0] != nullptr, status == AGX_OK);
      return status;
    };
    EXPECT_EQ(run.Run("agx_history_read", look_back), AGX_OK);
    EXPECT_EQ(count, range == nullptr ? 2U : 1U);
    for (agx_event* one : read) agx_event_free(one);
  }
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(run.Run("agx_history_info", [&] { return agx_history_info(raw_session, &info); }),
            AGX_OK);
  EXPECT_EQ(info.live, 1);
  uint64_t removed = 0;
  EXPECT_EQ(run.Run("agx_history_trim",
                    [&] { return agx_history_trim(raw_session, -1, info.last_id, &removed); },
                    {AGX_EUNCERTAIN}),
            AGX_OK);

  // Cancelled while the one who waits has no memory.
  Owned<agx_session> canceller = OpenSession(keeper.get(), "s");
  Require(agx_cancel(canceller.get(), nullptr));
  EXPECT_EQ(run.Run("agx_wait_canceled", [&] { return agx_wait_canceled(raw_session, 20000); }),
            AGX_OK);
  EXPECT_EQ(run.Run("agx_stop", [&] { return agx_stop(raw_session, 60000); }, {AGX_EUNCERTAIN}),
            AGX_OK);
  // One that was carried out without a word leaves nothing to the next.
  EXPECT_THAT(run.Run("agx_history_delete", [&] { return agx_history_delete(raw_session); },
                      {AGX_EUNCERTAIN, AGX_NONE}),
              testing::AnyOf(AGX_OK, AGX_NONE));
  agx_session* other = nullptr;
  Require(agx_session_open(raw_client, 1, 2, "other", &other));
  Owned<agx_session> owned_other(other);
  EXPECT_EQ(run.Run("agx_cancel", [&] { return agx_cancel(other, nullptr); }, {AGX_EUNCERTAIN}),
            AGX_OK);
  // What cannot fail does not.
  for (int at = 0; at < 3; ++at) {
    run.Try(at, [&] {
      if (at == 0) owned_mux.reset();
      if (at == 1) owned_listener.reset();
      if (at == 2) client.reset();
      return AGX_OK;
    });
  }
  RecordProperty("failures", run.failures());
}

// What a subscription's function was told.
struct Heard {
  std::atomic<int> events{0};
};

void Hear(agx_subscription* /*subscription*/, agx_status status, const agx_event* /*event*/,
          void* user_data) {
  auto* heard = static_cast<Heard*>(user_data);
  if (status == AGX_OK) heard->events.fetch_add(1);
}

TEST_P(OutOfMemory, FunctionsAreCalledOrNotAtAll) {
  Owned<agx_client> client = OpenClient(url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Exhaustion run(GetParam().mode);
  Heard heard;
  agx_subscription* subscription = nullptr;
  auto subscribe = [&] {
    agx_status status = agx_subscribe(session.get(), "type = \"t\" or body.a.b = 1", nullptr, Hear,
                                      &heard, &subscription);
    EXPECT_EQ(subscription != nullptr, status == AGX_OK);
    return status;
  };
  ASSERT_EQ(run.Run("agx_subscribe", subscribe, {AGX_ESYSTEM}), AGX_OK);

  int asked = 0;
  agx_interceptor* interceptor = nullptr;
  auto intercept = [&] {
    agx_status status = agx_intercept(
        session.get(), "type = \"t\"",
        [](agx_intercepted* event, void* user_data) {
          ++*static_cast<int*>(user_data);
          // Long enough to need memory, all of them.
          std::string_view body = "{\"text\":\"changed, and longer than what it takes to fit in\"}";
          agx_status said = agx_intercepted_set_type(event, "t");
          if (said == AGX_OK) said = agx_intercepted_set_origin(event, "from somewhere far away");
          return said == AGX_OK ? agx_intercepted_set_body(event, body.data()) : said;
        },
        &asked, &interceptor);
    EXPECT_EQ(interceptor != nullptr, status == AGX_OK);
    return status;
  };
  ASSERT_EQ(run.Run("agx_intercept", intercept), AGX_OK);
  int added = 0;
  int uncertain = 0;
  auto add = [&] {
    agx_status status = agx_add(session.get(), "t", "o", "{}", nullptr);
    if (status == AGX_OK) ++added;
    if (status == AGX_EUNCERTAIN) ++uncertain;
    return status;
  };
  EXPECT_EQ(run.Run("agx_add, intercepted", add, {AGX_EUNCERTAIN}), AGX_OK);
  agx_new_event events[] = {{"t", "o", "1"}, {"u", "o", "2"}, {"t", "o", nullptr}};
  auto add_many = [&] {
    size_t count = 0;
    agx_status status = agx_add_many(session.get(), events, 3, nullptr, &count);
    if (status == AGX_OK) added += 2;
    if (status != AGX_OK) uncertain += 2;
    return status;
  };
  EXPECT_EQ(run.Run("agx_add_many, intercepted", add_many, {AGX_EUNCERTAIN}), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return heard.events >= added; }));
  EXPECT_LE(heard.events, added + uncertain);

  // Closing cannot fail.
  run.Try(0, [&] {
    agx_interceptor_close(interceptor);
    return AGX_OK;
  });
  int before = asked;
  Require(agx_add(session.get(), "t", "o", "{}", nullptr));
  EXPECT_EQ(asked, before);
  run.Try(0, [&] {
    agx_subscription_close(subscription);
    return AGX_OK;
  });
  RecordProperty("failures", run.failures());
}

TEST_P(OutOfMemory, AConversationIsWholeAllTheWhile) {
  Owned<agx_client> client = OpenClient(url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Exhaustion run(GetParam().mode);
  std::string request = R"({"kind":"request","parts":[{"part_kind":"user-prompt","content":")" +
                        std::string(100, 'u') + "\"}]}";
  std::string response = R"({"kind":"response","parts":[{"part_kind":"text","content":")" +
                         std::string(100, 't') + "\"}]}";
  agx_messages* messages = nullptr;
  ASSERT_EQ(
      run.Run("agx_messages_open", [&] { return agx_messages_open(session.get(), &messages); }),
      AGX_OK);
  Owned<agx_messages> owned(messages);
  for (const std::string& message : {request, response}) {
    EXPECT_EQ(
        run.Run("agx_messages_append",
                [&] { return agx_messages_append(messages, message.data(), message.size()); }),
        AGX_OK);
  }
  EXPECT_EQ(agx_messages_count(messages), 2u) << "each once, however often it was tried";
  EXPECT_EQ(
      run.Run("agx_messages_save", [&] { return agx_messages_save(messages); }, {AGX_EUNCERTAIN}),
      AGX_OK)
      << "what may have been written is no conflict";
  EXPECT_EQ(run.Run("agx_messages_append_user",
                    [&] { return agx_messages_append_user(messages, "more"); }),
            AGX_OK);
  EXPECT_EQ(agx_messages_count(messages), 3u);
  EXPECT_EQ(run.Run("agx_messages_load", [&] { return agx_messages_load(messages); }), AGX_OK);
  std::string saved = "[" + request + "," + response + "]";
  const char* json = nullptr;
  Require(agx_messages_json(messages, &json, nullptr));
  EXPECT_EQ(json, saved);
  const char* text = nullptr;
  EXPECT_EQ(run.Run("agx_messages_part_field",
                    [&] {
                      return agx_messages_part_field(messages, 0, 0, "content", &text, nullptr,
                                                     nullptr);
                    }),
            AGX_OK);
  EXPECT_STREQ(text, std::string(100, 'u').c_str());
  EXPECT_EQ(
      run.Run("agx_messages_nodes", [&] { return agx_messages_nodes(messages, &json, nullptr); }),
      AGX_OK);
  EXPECT_EQ(run.Run("agx_messages_request",
                    [&] {
                      return agx_messages_request(messages, AGX_ANTHROPIC, nullptr, &json, nullptr);
                    }),
            AGX_OK);
  EXPECT_THAT(json, testing::HasSubstr("assistant"));

  std::string path = "/tmp/agx-exhausted-" + std::to_string(getpid());
  agx_messages* file = nullptr;
  ASSERT_EQ(run.Run("agx_messages_open_file",
                    [&] { return agx_messages_open_file(path.c_str(), &file); }),
            AGX_OK);
  Owned<agx_messages> owned_file(file);
  Require(agx_messages_append(file, saved.data(), saved.size()));
  EXPECT_EQ(run.Run("agx_messages_save", [&] { return agx_messages_save(file); }), AGX_OK);
  EXPECT_EQ(run.Run("agx_messages_load", [&] { return agx_messages_load(file); }), AGX_OK);
  unlink(path.c_str());
  Require(agx_messages_json(file, &json, nullptr));
  EXPECT_EQ(json, saved);
  RecordProperty("failures", run.failures());
}

// One call of it fails. Whatever that leaves behind, what is written is whole and in order.
TEST_P(OutOfMemory, ARunWritesNothingThatIsBroken) {
  Owned<agx_client> client = OpenClient(url());
  Exhaustion run(GetParam().mode);
  bool more = true;
  for (int n = 0; more; ++n) {
    ASSERT_LT(n, 3000);
    more = false;
    for (int failing = 0; failing < 12; ++failing) {
      Owned<agx_session> session = OpenSession(client.get(), "s");
      agx_run_options options = AGX_RUN_OPTIONS_INIT;
      options.coalesce_ms = failing % 2 == 0 ? 60000 : 0;
      agx_run* r = nullptr;
      Require(agx_run_begin(session.get(), &options, &r));
      const std::string text(100, 't');
      const std::string first = "<" + text;
      const std::string a = "a" + text;
      const std::string b = "b" + text;
      const char* message = nullptr;
      const std::vector<std::function<agx_status()>> calls = {
          [&] { return agx_run_node_begin(r); },
          [&] { return agx_run_part_begin(r, AGX_PART_TEXT, first.c_str(), nullptr); },
          [&] { return agx_run_part_delta(r, 0, a.c_str()); },
          [&] { return agx_run_part_begin(r, AGX_PART_THINKING, text.c_str(), nullptr); },
          [&] { return agx_run_part_delta(r, AGX_LAST_PART, b.c_str()); },
          [&] {
            const char* response = nullptr;
            agx_status status = agx_run_node_end(r, &response, nullptr);
            if (response != nullptr) message = response;
            return status;
          }};
      for (size_t i = 0; i < calls.size(); ++i) {
        bool here = static_cast<int>(i) == failing / 2;
        agx_status status = run.Try(here ? n : -1, calls[i]);
        if (!here) continue;
        more |= run.happened();
        if (status == AGX_OK) continue;
        // Whether it was taken is not said, but it is so wholly or not at all.
        status = calls[i]();
        EXPECT_TRUE(status == AGX_OK || status == AGX_ESTATE) << Explain(status);
      }
      agx_status finished = agx_run_finish(r);
      EXPECT_EQ(finished, AGX_OK) << Explain(finished);
      agx_run_close(r);
      EXPECT_NE(message, nullptr);
      std::string kinds;
      Owned<agx_listener> listener = Listen(session.get());
      for (agx_event* event = nullptr; agx_listen_next(listener.get(), 5000, &event) == AGX_OK;) {
        Owned<agx_event> owned(event);
        const char* body = agx_event_body(event, nullptr);
        std::string json = "[{\"body\":" + std::string(body) + "}]";
        agx_messages* valid = nullptr;
        agx_status parsed = agx_messages_parse(json.data(), json.size(), &valid);
        EXPECT_EQ(parsed, AGX_OK) << n << " " << failing << ": " << body;
        agx_messages_close(valid);
        const std::string seen(body);
        auto has = [&](const char* part) { return seen.find(part) != std::string::npos; };
        if (has("llm-begin")) kinds += '(';
        if (has("\"content\":\"<")) kinds += 'T';
        if (has("\"content\":\"t")) kinds += 'H';
        if (has("_delta\":\"a") && has("event_idx\":0")) kinds += 'a';
        if (has("_delta\":\"b") && !has("event_idx\":0")) kinds += 'b';
        if (has("llm-end")) kinds += ')';
      }
      // A call that was repeated may have been taken twice.
      kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
      EXPECT_EQ(kinds, "(TaHb)") << n << " " << failing;
    }
    if (HasFailure()) break;
  }
}

// Each event is handed out and acknowledged in the end, whichever call ran out of memory in between.
TEST_P(OutOfMemory, AGroupLosesNothing) {
  Owned<agx_client> client = OpenClient(url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Exhaustion run(GetParam().mode);
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = "me";
  agx_group* group = nullptr;
  ASSERT_EQ(run.Run("agx_group_open",
                    [&] { return agx_group_open(session.get(), "g", &options, &group); },
                    {AGX_EUNCERTAIN}),
            AGX_OK);
  Owned<agx_group> owned(group);
  agx_group* opened = nullptr;
  options.consumer = "other";
  Require(agx_group_open(session.get(), "g", &options, &opened));
  Owned<agx_group> other(opened);
  const std::string body = R"({"text":")" + std::string(100, 't') + "\"}";
  constexpr int kEvents = 12;
  for (int i = 0; i < kEvents; ++i) {
    Require(agx_add(session.get(), std::to_string(i).c_str(), "o", body.c_str(), nullptr));
  }

  std::map<std::string, std::string> seen;  // by id
  auto keep = [&](agx_event* event) {
    Owned<agx_event> mine(event);
    seen[agx_event_id(event, nullptr)] = agx_event_type(event, nullptr);
  };
  // From the first allocation on for each event.
  for (int failing = 0; seen.size() < kEvents;) {
    agx_event* event = nullptr;
    size_t count = 0;
    agx_status status = run.Try(
        failing, [&] { return agx_group_read(group, AGX_GROUP_NEW, 200, &event, 1, &count); });
    bool fits =
        status == AGX_OK || status == AGX_ENOMEM || status == AGX_ESYSTEM || status == AGX_TIMEOUT;
    ASSERT_TRUE(fits) << Explain(status);
    ASSERT_LT(failing, 3000);
    ASSERT_EQ(count, status == AGX_OK ? 1U : 0U);
    failing = status == AGX_OK ? 0 : failing + 1;
    if (status == AGX_OK) keep(event);
  }

  std::vector<std::string> ids;
  for (const auto& [id, type] : seen) ids.push_back(id);
  std::vector<const char*> texts;
  for (const std::string& id : ids) texts.push_back(id.c_str());
  agx_pending pending = AGX_PENDING_INIT;
  EXPECT_EQ(run.Run("agx_group_pending", [&] { return agx_group_pending(group, &pending); }),
            AGX_OK);
  EXPECT_EQ(pending.count, size_t{kEvents});
  agx_pending_event entries[kEvents];
  size_t count = 0;
  EXPECT_EQ(run.Run("agx_group_pending_events",
                    [&] {
                      return agx_group_pending_events(group, nullptr, 0, nullptr, entries, kEvents,
                                                      &count);
                    }),
            AGX_OK);
  EXPECT_EQ(count, size_t{kEvents});
  agx_event* claimed[kEvents] = {};
  EXPECT_EQ(
      run.Run("agx_group_claim",
              [&] { return agx_group_claim(other.get(), 0, texts.data(), 2, claimed, &count); },
              {AGX_EUNCERTAIN}),
      AGX_OK);
  for (size_t i = 0; i < count; ++i) keep(claimed[i]);
  char cursor[AGX_ID_SIZE] = "";
  EXPECT_EQ(
      run.Run("agx_group_autoclaim",
              [&] { return agx_group_autoclaim(other.get(), 0, cursor, claimed, kEvents, &count); },
              {AGX_EUNCERTAIN}),
      AGX_OK);
  for (size_t i = 0; i < count; ++i) keep(claimed[i]);
  agx_group_info infos[2];
  EXPECT_EQ(
      run.Run("agx_group_list", [&] { return agx_group_list(session.get(), infos, 2, &count); }),
      AGX_OK);
  agx_consumer_info consumers[2];
  EXPECT_EQ(run.Run("agx_group_consumers",
                    [&] { return agx_group_consumers(group, consumers, 2, &count); }),
            AGX_OK);
  EXPECT_EQ(count, 2U);
  agx_health health = AGX_HEALTH_INIT;
  EXPECT_EQ(run.Run("agx_group_health", [&] { return agx_group_health(group, &health); }), AGX_OK);
  EXPECT_EQ(health.pending, size_t{kEvents});
  uint64_t acknowledged = 0;
  EXPECT_EQ(
      run.Run("agx_group_ack", [&] { return agx_group_ack(group, texts.data(), 4, &acknowledged); },
              {AGX_EUNCERTAIN}),
      AGX_OK);

  // One of its allocations after the other fails; it takes over what is left, and starts again.
  struct Handled {
    std::map<std::string, int> times;
    static agx_status Handle(const agx_event* event, int64_t /*attempt*/, void* user_data) {
      bool was = std::exchange(armed, false);
      std::string type = agx_event_type(event, nullptr);
      ++static_cast<Handled*>(user_data)->times[type];
      armed = was;
      return type == "7" ? AGX_EFAILED : AGX_OK;
    }
  } handled;
  agx_group_process_options process = AGX_GROUP_PROCESS_OPTIONS_INIT;
  process.claim_idle_ms = 1;
  process.backoff_ms = 1;
  process.max_retries = 1000000;
  process.outage_ms = 0;
  process.timeout_ms = 100;
  process.limit = kEvents - 4 - 1;
  agx_status status = AGX_ENOMEM;
  for (int n = 0; status == AGX_ENOMEM || run.happened(); ++n) {
    ASSERT_LT(n, 3000);
    status =
        run.Try(n, [&] { return agx_group_process(group, &process, Handled::Handle, &handled); });
    bool fits = status == AGX_LIMIT || status == AGX_ENOMEM || status == AGX_ESYSTEM ||
                status == AGX_EUNCERTAIN || status == AGX_ECONNECT || status == AGX_TIMEOUT;
    ASSERT_TRUE(fits) << Explain(status);
    Require(agx_group_pending(group, &pending));
    if (pending.count <= 1) break;
  }
  Require(agx_group_pending(group, &pending));
  EXPECT_EQ(pending.count, 1U) << "the one that fails";
  for (size_t i = 4; i < kEvents; ++i) EXPECT_GE(handled.times[seen[ids[i]]], 1) << seen[ids[i]];

  process.max_retries = 1;
  process.limit = 1;
  auto bury = [&] { return agx_group_process(group, &process, Handled::Handle, &handled); };
  status = AGX_ENOMEM;
  for (int n = 0; health.dead_letters == 0; ++n) {
    ASSERT_LT(n, 3000);
    status = run.Try(n, bury);
    Require(agx_group_health(group, &health));
  }
  EXPECT_EQ(health.dead_letters, 1U) << "once";
  agx_dead_letter letter{};
  EXPECT_EQ(run.Run("agx_group_dead_letters",
                    [&] { return agx_group_dead_letters(group, nullptr, &letter, 1, &count); }),
            AGX_OK);
  Owned<agx_event> dead(letter.event);
  EXPECT_STREQ(agx_event_type(letter.event, nullptr), "7");
  const char* id = agx_event_id(letter.event, nullptr);
  uint64_t replayed = 0;
  EXPECT_EQ(run.Run("agx_group_replay", [&] { return agx_group_replay(group, &id, 1, &replayed); },
                    {AGX_EUNCERTAIN}),
            AGX_OK);
  EXPECT_EQ(run.Run("agx_group_delete_dead_letters",
                    [&] { return agx_group_delete_dead_letters(group, &id, 1, &replayed); },
                    {AGX_EUNCERTAIN}),
            AGX_OK);
  Require(agx_group_health(group, &health));
  EXPECT_EQ(health.dead_letters, 0U);
  EXPECT_EQ(health.length, size_t{kEvents} + 1) << "replayed once";
  EXPECT_EQ(
      run.Run("agx_group_delete_consumer",
              [&] { return agx_group_delete_consumer(group, "other", nullptr); }, {AGX_EUNCERTAIN}),
      AGX_OK);
  EXPECT_THAT(run.Run("agx_group_delete", [&] { return agx_group_delete(group); },
                      {AGX_EUNCERTAIN, AGX_NONE}),
              testing::AnyOf(AGX_OK, AGX_NONE));
  RecordProperty("failures", run.failures());
}

// The client is closed while memory is short: whoever waits for an answer is told so.
class ClosedOutOfMemory : public testing::TestWithParam<const char*> {};

TEST_P(ClosedOutOfMemory, TellsWhoWaits) {
  RedisServer server;
  FaultProxy proxy(server.port());
  Owned<agx_client> client = OpenClient(proxy.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  std::string call = GetParam();
  proxy.HoldReply("XADD");
  agx_new_event event{"t", "o", nullptr};
  agx_addition one{session.get(), event, AGX_OK, ""};
  size_t added = 0;
  Background<agx_status> adding([&] {
    armed = true;
    agx_status status = AGX_OK;
    if (call == "add") status = agx_add(session.get(), "t", "o", nullptr, nullptr);
    if (call == "add_many") status = agx_add_many(session.get(), &event, 1, nullptr, &added);
    if (call == "add_each") status = agx_add_each(&one, 1);
    armed = false;
    return status;
  });
  EXPECT_TRUE(WaitUntil([&] { return !proxy.HeldReply("XADD").empty(); }));
  fail_on = true;
  countdown = 0;
  client.reset();
  EXPECT_EQ(adding.Get(), AGX_ECLOSED);
  countdown = -1;
  fail_on = false;
  if (call == "add_each") {
    EXPECT_EQ(one.status, AGX_ECLOSED);
  }
}

INSTANTIATE_TEST_SUITE_P(Calls, ClosedOutOfMemory, testing::Values("add", "add_many", "add_each"),
                         [](const auto& call) { return std::string(call.param); });

AGX_ON_EACH_EXHAUSTION();

}  // namespace
}  // namespace agx::test
