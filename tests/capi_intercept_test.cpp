// ctest-labels: redis threads
// Functions that an event comes by before it is written.
#include <stdexcept>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Function = std::function<agx_status(agx_intercepted*)>;

// A function that intercepts for as long as this is there.
class Interceptor {
 public:
  Interceptor(const SessionPtr& session, const char* where, Function function)
      : function_(std::move(function)) {
    agx_interceptor* opened = nullptr;
    EXPECT_EQ(agx_intercept(session.get(), where, &Interceptor::Called, this, &opened), AGX_OK);
    interceptor_ = opened;
  }
  Interceptor(const SessionPtr& session, Function function)
      : Interceptor(session, nullptr, std::move(function)) {}
  ~Interceptor() { Close(); }
  void Close() { agx_interceptor_close(interceptor_.exchange(nullptr)); }
  int calls() const { return calls_; }
  bool inside() const { return inside_ != 0; }

 private:
  static agx_status Called(agx_intercepted* event, void* user_data) {
    auto* self = static_cast<Interceptor*>(user_data);
    struct Inside {
      explicit Inside(Interceptor* s) : self(s) { self->inside_.fetch_add(1); }
      ~Inside() { self->inside_.fetch_sub(1); }
      Interceptor* self;
    } inside(self);
    self->calls_.fetch_add(1);
    return self->function_(event);
  }

  const Function function_;
  std::atomic<agx_interceptor*> interceptor_{nullptr};
  std::atomic<int> calls_{0};
  std::atomic<int> inside_{0};
};

agx_status Pass(agx_intercepted* /*event*/) { return AGX_OK; }

// "type origin body" of each event that is there.
std::vector<std::string> Written(const SessionPtr& session) {
  ListenerPtr listener = Listen(session);
  std::vector<std::string> lines;
  for (;;) {
    Told told = Next(listener, 0);
    if (told.status != AGX_OK) return lines;
    if (told.type() == "begin") continue;
    lines.push_back(told.type() + " " + told.origin() + " " + told.body());
  }
}

class CapiIntercept : public OnEachStore {
 protected:
  SessionPtr session_ = Started(client_);
};
AGX_ON_EACH_STORE(CapiIntercept);

TEST_P(CapiIntercept, EachEventOfTheHandleComesByInTheThreadThatAdds) {
  std::vector<std::string> seen;
  std::thread::id thread;
  Interceptor interceptor(session_, [&](agx_intercepted* event) {
    thread = std::this_thread::get_id();
    size_t length = 0;
    std::string type = agx_intercepted_type(event, &length);
    EXPECT_EQ(type.size(), length);
    seen.push_back(type + " " + agx_intercepted_origin(event, nullptr) + " " +
                   agx_intercepted_body(event, nullptr));
    return AGX_OK;
  });
  Add(session_, "a", "{\"n\":1}");
  Add(session_, "b");
  agx_new_event events[] = {{"c", "o", "1"}, {"d", "o", nullptr}};
  ASSERT_EQ(agx_add_many(session_.get(), events, 2, nullptr, nullptr), AGX_OK);
  ASSERT_EQ(agx_add_error(session_.get(), nullptr, "2", nullptr), AGX_OK);
  ASSERT_EQ(agx_add_info(session_.get(), "o", "3", nullptr), AGX_OK);
  Add(OpenSession(client_), "another handle");
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  EXPECT_THAT(seen, ElementsAre("a test {\"n\":1}", "b test {}", "c o 1", "d o {}", "error opale 2",
                                "info o 3"));
  EXPECT_EQ(thread, std::this_thread::get_id());
  EXPECT_EQ(Written(OpenSession(other_)).size(), 7U);
}

TEST_P(CapiIntercept, ItMayChangeWhatIsWritten) {
  Interceptor interceptor(session_, [&](agx_intercepted* event) {
    EXPECT_EQ(agx_intercepted_set_type(event, "t2"), AGX_OK);
    EXPECT_EQ(agx_intercepted_set_origin(event, "o2"), AGX_OK);
    std::string body = "[" + std::string(agx_intercepted_body(event, nullptr)) + "]";
    EXPECT_EQ(agx_intercepted_set_body(event, body.c_str()), AGX_OK);
    EXPECT_EQ(agx_intercepted_body(event, nullptr), body);
    return AGX_OK;
  });
  Add(session_, "t", "1");
  agx_new_event events[] = {{"t", "o", "2"}, {"t", "o", nullptr}};
  ASSERT_EQ(agx_add_many(session_.get(), events, 2, nullptr, nullptr), AGX_OK);
  EXPECT_THAT(Written(session_), ElementsAre("t2 o2 [1]", "t2 o2 [2]", "t2 o2 [{}]"));
}

TEST_P(CapiIntercept, TheyComeInTheirOrderAndSeeWhatTheOthersMadeOfIt) {
  Interceptor first(session_, "type = \"a\"",
                    [](agx_intercepted* event) { return agx_intercepted_set_type(event, "b"); });
  Interceptor second(session_, "type = \"b\" and body.n = 1", [](agx_intercepted* event) {
    return agx_intercepted_set_body(event, "{\"n\":2}");
  });
  Interceptor third(session_, "body.n = 2", [](agx_intercepted* event) {
    EXPECT_STREQ(agx_intercepted_type(event, nullptr), "b");
    return agx_intercepted_set_origin(event, "third");
  });
  Interceptor never(session_, "type = \"a\"", Pass);
  Add(session_, "a", "{\"n\":1}");
  Add(session_, "c", "{\"n\":1}");
  EXPECT_THAT(Written(session_), ElementsAre("b third {\"n\":2}", "c test {\"n\":1}"));
  EXPECT_EQ(never.calls(), 0);
}

TEST_P(CapiIntercept, AConditionOnTheOriginIsOfTheOriginAsItIsByThen) {
  Interceptor first(session_, "origin = \"a\" and type = \"t\"", [](agx_intercepted* event) {
    EXPECT_STREQ(agx_intercepted_origin(event, nullptr), "a");
    return agx_intercepted_set_origin(event, "b");
  });
  Interceptor second(session_, "origin = \"b\"", Pass);
  Interceptor never(session_, "origin = \"a\" or origin = \"t\"", Pass);
  Add(session_, "t", nullptr, "a");
  Add(session_, "t", nullptr, "b");
  Add(session_, "t", nullptr, "c");
  EXPECT_EQ(first.calls(), 1);
  EXPECT_EQ(second.calls(), 2);
  EXPECT_EQ(never.calls(), 0);
  EXPECT_THAT(Written(session_), ElementsAre("t b {}", "t b {}", "t c {}"));
}

TEST_P(CapiIntercept, WhatItChangesIsCheckedLikeAnyOther) {
  Interceptor interceptor(session_, [](agx_intercepted* event) {
    EXPECT_EQ(agx_intercepted_set_body(event, "{"), AGX_EJSON);
    EXPECT_EQ(agx_intercepted_set_type(event, ""), AGX_EINVAL);
    EXPECT_EQ(agx_intercepted_set_type(event, nullptr), AGX_EINVAL);
    EXPECT_EQ(agx_intercepted_set_origin(event, std::string(300, 'x').c_str()), AGX_ETOOBIG);
    EXPECT_EQ(agx_intercepted_set_origin(event, "\xFF"), AGX_EINVAL);
    return AGX_OK;
  });
  Add(session_, "t", "1");
  EXPECT_THAT(Written(session_), ElementsAre("t test 1"));
}

TEST_P(CapiIntercept, ABodyMayBeTakenAway) {
  Interceptor interceptor(session_, [](agx_intercepted* event) {
    EXPECT_EQ(agx_intercepted_set_body(event, nullptr), AGX_OK);
    EXPECT_STREQ(agx_intercepted_body(event, nullptr), "{}");
    return AGX_OK;
  });
  Add(session_, "t", "1");
  EXPECT_THAT(Written(session_), ElementsAre("t test {}"));
}

TEST_P(CapiIntercept, WhatItSwallowsIsNotWritten) {
  Interceptor interceptor(session_, "type = \"noise\"",
                          [](agx_intercepted*) { return AGX_SWALLOWED; });
  char id[AGX_ID_SIZE] = "?";
  EXPECT_EQ(agx_add(session_.get(), "noise", "o", nullptr, id), AGX_SWALLOWED);
  EXPECT_STREQ(id, "");
  agx_new_event events[] = {
      {"noise", "o", nullptr}, {"a", "o", nullptr}, {"noise", "o", nullptr}, {"b", "o", nullptr}};
  char ids[4 * AGX_ID_SIZE];
  size_t added = 0;
  EXPECT_EQ(agx_add_many(session_.get(), events, 4, ids, &added), AGX_SWALLOWED);
  EXPECT_EQ(added, 4U);
  EXPECT_STREQ(ids, "");
  EXPECT_STRNE(ids + AGX_ID_SIZE, "");
  EXPECT_STREQ(ids + 2 * AGX_ID_SIZE, "");
  EXPECT_STRNE(ids + 3 * AGX_ID_SIZE, "");
  EXPECT_EQ(agx_add_many(session_.get(), events, 1, nullptr, &added), AGX_SWALLOWED);
  EXPECT_EQ(agx_add_many(session_.get(), events + 1, 1, nullptr, &added), AGX_OK);
  EXPECT_THAT(Stored(session_), ElementsAre("begin", "a", "b", "a"));
}

TEST_P(CapiIntercept, ARefusalReachesWhoAdds) {
  Interceptor later(session_, [](agx_intercepted* event) {
    if (std::string(agx_intercepted_type(event, nullptr)) != "secret") return AGX_OK;
    return agx_intercepted_refuse(event, AGX_EDENIED, "secrets stay here");
  });
  EXPECT_EQ(agx_add(session_.get(), "secret", "o", nullptr, nullptr), AGX_EDENIED);
  EXPECT_STREQ(agx_last_error(), "secrets stay here");
  agx_new_event events[] = {{"a", "o", nullptr}, {"secret", "o", nullptr}};
  size_t added = 7;
  EXPECT_EQ(agx_add_many(session_.get(), events, 2, nullptr, &added), AGX_EDENIED);
  EXPECT_STREQ(agx_last_error(), "event 1: secrets stay here");
  EXPECT_EQ(added, 0U);
  EXPECT_THAT(Stored(session_), ElementsAre("begin"));
  Interceptor plain(session_, [](agx_intercepted*) { return AGX_EFULL; });
  EXPECT_EQ(agx_add(session_.get(), "t", "o", nullptr, nullptr), AGX_EFULL);
  EXPECT_THAT(agx_last_error(), HasSubstr("interceptor"));
}

TEST_P(CapiIntercept, AnExceptionRefuses) {
  Interceptor interceptor(session_, [](agx_intercepted*) -> agx_status {
    throw std::runtime_error("it cannot look at this");
  });
  EXPECT_EQ(agx_add(session_.get(), "t", "o", nullptr, nullptr), AGX_EFAILED);
  EXPECT_THAT(agx_last_error(), HasSubstr("it cannot look at this"));
  interceptor.Close();
  Add(session_, "t");
  EXPECT_THAT(Stored(session_), ElementsAre("begin", "t"));
}

TEST_P(CapiIntercept, ItsOwnEventsComeByTheOthers) {
  Interceptor copies(session_, [&](agx_intercepted* event) {
    std::string type = agx_intercepted_type(event, nullptr);
    return agx_add(session_.get(), (type + " copy").c_str(), "test", nullptr, nullptr);
  });
  Interceptor other(session_, Pass);
  Add(session_, "a");
  EXPECT_THAT(Stored(session_), ElementsAre("begin", "a copy", "a"));
  EXPECT_EQ(copies.calls(), 1);
  EXPECT_EQ(other.calls(), 2);
}

TEST_P(CapiIntercept, TwoThatAddDoNotAddForEver) {
  auto add = [&](agx_intercepted*) {
    return agx_add(session_.get(), "more", "test", nullptr, nullptr);
  };
  Interceptor one(session_, add);
  Interceptor two(session_, add);
  Add(session_, "a");
  // One's own comes by two, whose own comes by none; then a comes by two, and so on.
  EXPECT_EQ(Stored(session_).size(), 1U + 1U + 2U + 2U);
}

TEST_P(CapiIntercept, ItTakesItselfOut) {
  Interceptor* self = nullptr;
  Interceptor interceptor(session_, [&](agx_intercepted*) {
    self->Close();
    return AGX_SWALLOWED;
  });
  self = &interceptor;
  EXPECT_EQ(agx_add(session_.get(), "a", "o", nullptr, nullptr), AGX_SWALLOWED);
  EXPECT_EQ(agx_add(session_.get(), "b", "o", nullptr, nullptr), AGX_OK);
  EXPECT_EQ(interceptor.calls(), 1);
}

TEST_P(CapiIntercept, ClosingWaitsForTheCallsThatAreRunning) {
  std::atomic<bool> open{false};
  Interceptor interceptor(session_, [&](agx_intercepted*) {
    EXPECT_TRUE(WaitUntil([&] { return open.load(); }));
    return AGX_OK;
  });
  Background<agx_status> adding(
      [&] { return agx_add(session_.get(), "t", "o", nullptr, nullptr); });
  ASSERT_TRUE(WaitUntil([&] { return interceptor.inside(); }));
  Background<bool> closing([&] {
    interceptor.Close();
    return interceptor.inside();
  });
  closing.AwaitBlocked();
  open = true;
  EXPECT_FALSE(closing.Get());
  EXPECT_EQ(adding.Get(), AGX_OK);
}

TEST_P(CapiIntercept, ItMayCloseTheSession) {
  SessionPtr session = OpenSession(client_);
  Interceptor interceptor(session, [&](agx_intercepted*) {
    session.reset();
    return AGX_OK;
  });
  EXPECT_EQ(agx_add(session.get(), "t", "o", nullptr, nullptr), AGX_ECLOSED);
  EXPECT_THAT(Stored(session_), ElementsAre("begin"));
}

TEST_P(CapiIntercept, ItMayCloseTheClient) {
  ClientPtr client = Open();
  SessionPtr session = OpenSession(client);
  Interceptor interceptor(session, [&](agx_intercepted*) {
    client.reset();
    return AGX_OK;
  });
  EXPECT_EQ(agx_add(session.get(), "t", "o", nullptr, nullptr), AGX_ECLOSED);
  EXPECT_EQ(agx_add(session.get(), "t", "o", nullptr, nullptr), AGX_ECLOSED);
}

TEST_P(CapiIntercept, ThreadsAddWhileInterceptorsComeAndGo) {
  std::atomic<bool> stop{false};
  std::atomic<int> added{0};
  std::thread coming([&] {
    while (!stop) {
      Interceptor interceptor(session_, "type = \"t\"", [](agx_intercepted* event) {
        return agx_intercepted_set_origin(event, "changed");
      });
      int before = added;
      EXPECT_TRUE(WaitUntil([&] { return added > before || stop; }));
    }
  });
  InThreads(3, [&](int) {
    for (int i = 0; i < 200; ++i) {
      Add(session_, "t", std::to_string(i).c_str());
      added.fetch_add(1);
    }
  });
  stop = true;
  coming.join();
  EXPECT_EQ(Written(session_).size(), 600U);
}

// --- Runs

class CapiInterceptRun : public OnEachStore {
 protected:
  agx_run* Begin(int64_t coalesce_ms = 0) {
    agx_run_options options = AGX_RUN_OPTIONS_INIT;
    options.coalesce_ms = coalesce_ms;
    agx_run* run = nullptr;
    EXPECT_EQ(agx_run_begin(session_.get(), &options, &run), AGX_OK);
    return run;
  }
  SessionPtr session_ = OpenSession(client_);
};
AGX_ON_EACH_STORE(CapiInterceptRun);

TEST_P(CapiInterceptRun, ItsEventsComeByOnce) {
  std::vector<std::string> seen;
  Interceptor interceptor(session_, [&](agx_intercepted* event) {
    seen.push_back(agx_intercepted_body(event, nullptr));
    EXPECT_STREQ(agx_intercepted_type(event, nullptr), "event");
    EXPECT_STREQ(agx_intercepted_origin(event, nullptr), "pydantic-ai");
    if (seen.back().find("part_delta") == std::string::npos) return AGX_OK;
    EXPECT_EQ(agx_intercepted_set_type(event, "growth"), AGX_OK);
    EXPECT_EQ(agx_intercepted_set_origin(event, "me"), AGX_OK);
    return agx_intercepted_set_body(event, "{\"redacted\":true}");
  });
  agx_run* run = Begin();
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "b"), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "c"), AGX_OK);
  const char* response = nullptr;
  EXPECT_EQ(agx_run_node_end(run, &response, nullptr), AGX_OK);
  EXPECT_THAT(response, HasSubstr("\"abc\"")) << "what the model said is as it was";
  EXPECT_EQ(agx_run_finish(run), AGX_OK);
  agx_run_close(run);
  EXPECT_EQ(seen.size(), 5U);
  std::vector<std::string> written = Written(session_);
  ASSERT_EQ(written.size(), 5U);
  EXPECT_EQ(written[2], "growth me {\"redacted\":true}");
  EXPECT_EQ(written[3], "growth me {\"redacted\":true}");
  EXPECT_THAT(written[4], HasSubstr("event pydantic-ai {\"idx\":0,\"event\":\"llm-end\"}"));
}

TEST_P(CapiInterceptRun, WhatIsSwallowedOrRefusedIsLeftOutAndTheRunGoesOn) {
  Interceptor interceptor(session_, [](agx_intercepted* event) {
    std::string body = agx_intercepted_body(event, nullptr);
    if (body.find("\"bad\"") != std::string::npos) {
      return agx_intercepted_refuse(event, AGX_EDENIED, "not this");
    }
    return body.find("\"noise\"") != std::string::npos ? AGX_SWALLOWED : AGX_OK;
  });
  agx_run* run = Begin();
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "noise"), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "bad"), AGX_EDENIED);
  EXPECT_STREQ(agx_last_error(), "not this");
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "good"), AGX_OK);
  EXPECT_EQ(agx_run_finish(run), AGX_OK);
  agx_run_close(run);
  std::string all;
  for (const std::string& line : Written(session_)) all += line + "\n";
  EXPECT_THAT(all, AllOf(HasSubstr("good"), Not(HasSubstr("bad")), Not(HasSubstr("noise"))));
  EXPECT_THAT(all, HasSubstr("llm-end"));
}

TEST_P(CapiInterceptRun, OfMoreRefusalsInACallTheFirstIsTold) {
  bool refuses = false;
  Interceptor interceptor(session_, [&](agx_intercepted* event) {
    if (!refuses) return AGX_OK;
    std::string body = agx_intercepted_body(event, nullptr);
    bool ends = body.find("llm-end") != std::string::npos;
    return agx_intercepted_refuse(event, AGX_EDENIED, ends ? "no end" : "no tool");
  });
  RunPtr run(Begin());
  EXPECT_EQ(agx_run_node_begin(run.get()), AGX_OK);
  EXPECT_EQ(agx_run_tool_call_begin(run.get(), "tool", "1", "{}", nullptr), AGX_OK);
  refuses = true;
  EXPECT_EQ(agx_run_node_end(run.get(), nullptr, nullptr), AGX_EDENIED);
  EXPECT_STREQ(agx_last_error(), "no tool");
  refuses = false;
  EXPECT_EQ(agx_run_node_begin(run.get()), AGX_OK) << "it is told once";
}

TEST_P(CapiInterceptRun, AWindowThatEndsByItselfAndACancelComeByAsWell) {
  std::atomic<int> growth{0};
  std::atomic<int> ends{0};
  Interceptor interceptor(session_, [&](agx_intercepted* event) {
    std::string body = agx_intercepted_body(event, nullptr);
    if (body.find("part_delta") != std::string::npos) growth.fetch_add(1);
    if (body.find("llm-end") != std::string::npos) ends.fetch_add(1);
    return agx_intercepted_set_origin(event, "seen");
  });
  agx_run* run = Begin(30);
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "b"), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return growth == 1; }));
  ASSERT_EQ(agx_cancel(OpenSession(other_).get(), nullptr), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return ends == 1; }));
  EXPECT_EQ(agx_run_node_begin(run), AGX_CANCELED);
  agx_run_close(run);
  for (const std::string& line : Written(session_)) {
    EXPECT_TRUE(line.find(" seen ") != std::string::npos || line.rfind("error ", 0) == 0) << line;
  }
}

TEST_P(CapiInterceptRun, TheRunItselfIsOutOfReach) {
  agx_run* run = nullptr;
  Interceptor interceptor(session_, [&](agx_intercepted*) {
    EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "x"), AGX_ESTATE);
    EXPECT_EQ(agx_run_finish(run), AGX_ESTATE);
    agx_run_close(run);
    return AGX_OK;
  });
  run = Begin();
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_node_end(run, nullptr, nullptr), AGX_OK);
  EXPECT_EQ(agx_run_finish(run), AGX_OK);
  agx_run_close(run);
  EXPECT_EQ(interceptor.calls(), 2);
}

TEST_P(CapiInterceptRun, TheClientMayBeClosedFromTheThreadOfTheWindow) {
  ClientPtr client = Open();
  session_ = OpenSession(client);
  std::atomic<bool> closed{false};
  Interceptor interceptor(session_, "body.event = \"part_delta\"", [&](agx_intercepted*) {
    client.reset();
    closed = true;
    return AGX_OK;
  });
  agx_run* run = Begin(20);
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run, AGX_LAST_PART, "b"), AGX_OK);
  EXPECT_TRUE(WaitUntil([&] { return closed && !interceptor.inside(); }));
  EXPECT_EQ(agx_run_finish(run), AGX_ECLOSED);
  agx_run_close(run);
}

// --- Bad input

TEST_P(CapiIntercept, WhatIsWrongIsRefused) {
  agx_interceptor* interceptor = nullptr;
  agx_interceptor_function function = [](agx_intercepted*, void*) { return AGX_OK; };
  auto intercept = [&](const char* where) {
    return agx_intercept(session_.get(), where, function, nullptr, &interceptor);
  };
  EXPECT_EQ(intercept("type = "), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("byte 7"));
  EXPECT_EQ(intercept(std::string(1 << 20, '(').c_str()), AGX_ETOOBIG);
  EXPECT_EQ(interceptor, nullptr);
  EXPECT_EQ(agx_intercept(session_.get(), nullptr, nullptr, nullptr, &interceptor), AGX_EINVAL);
  EXPECT_EQ(agx_intercept(session_.get(), nullptr, function, nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_intercept(nullptr, nullptr, function, nullptr, &interceptor), AGX_EINVAL);
  agx_interceptor_close(nullptr);
  EXPECT_EQ(agx_intercepted_set_body(nullptr, "1"), AGX_EINVAL);
  EXPECT_STREQ(agx_intercepted_body(nullptr, nullptr), "");
  EXPECT_EQ(agx_intercepted_refuse(nullptr, AGX_EFULL, "x"), AGX_EINVAL);
  Interceptor refuses(session_, [](agx_intercepted* event) {
    return agx_intercepted_refuse(event, AGX_OK, "nothing");
  });
  EXPECT_EQ(agx_add(session_.get(), "t", "o", nullptr, nullptr), AGX_EINVAL);
}

}  // namespace
}  // namespace agx::test
