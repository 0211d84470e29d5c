// ctest-labels: redis threads
// A whole run at once: the conversation is loaded and saved, the agent called, the session ended.
#include <functional>
#include <stdexcept>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Agent = std::function<agx_status(agx_run*, agx_messages*)>;

agx_status Execute(const SessionPtr& session, agx_messages* messages, Agent agent) {
  auto call = [](agx_run* run, agx_messages* given, void* data) {
    return (*static_cast<Agent*>(data))(run, given);
  };
  return agx_run_execute(session.get(), messages, call, &agent);
}

MessagesPtr OpenMessages(const SessionPtr& session) {
  agx_messages* messages = nullptr;
  EXPECT_EQ(agx_messages_open(session.get(), &messages), AGX_OK);
  return MessagesPtr(messages);
}

std::string Kept(const SessionPtr& session) {
  MessagesPtr messages = OpenMessages(session);
  EXPECT_EQ(agx_messages_load(messages.get()), AGX_OK);
  const char* json = nullptr;
  EXPECT_EQ(agx_messages_json(messages.get(), &json, nullptr), AGX_OK);
  return json;
}

// Types, and the body of `error`.
std::vector<std::string> Written(const SessionPtr& session) {
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  ListenerPtr listener = Listen(session, options);
  std::vector<std::string> texts;
  for (;;) {
    Told told = Next(listener, 0);
    if (told.status != AGX_OK) return texts;
    texts.push_back(told.type() == "error" ? told.body() : told.type());
  }
}

class CapiExecute : public OnEachStore {
 protected:
  SessionPtr session_ = OpenSession(client_);
  MessagesPtr messages_ = OpenMessages(session_);
};
AGX_ON_EACH_STORE(CapiExecute);

agx_status Say(agx_run* run, agx_messages* messages) {
  const char* response = nullptr;
  size_t length = 0;
  if (agx_status status = agx_run_node_begin(run)) return status;
  if (agx_status status = agx_run_part_begin(run, AGX_PART_TEXT, "hello", nullptr)) return status;
  if (agx_status status = agx_run_node_end(run, &response, &length)) return status;
  if (agx_status status = agx_messages_append_user(messages, "hi")) return status;
  return agx_messages_append(messages, response, length);
}

TEST_P(CapiExecute, KeepsTheConversationBetweenRuns) {
  size_t before = 99;
  auto agent = [&](agx_run* run, agx_messages* messages) {
    before = agx_messages_count(messages);
    return Say(run, messages);
  };
  ASSERT_EQ(Execute(session_, messages_.get(), agent), AGX_OK);
  EXPECT_EQ(before, 0U);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "event", "event", "event", "end"));
  SessionPtr elsewhere = OpenSession(other_);
  MessagesPtr loaded = OpenMessages(elsewhere);
  ASSERT_EQ(Execute(elsewhere, loaded.get(), agent), AGX_OK);
  EXPECT_EQ(before, 2U);
  EXPECT_EQ(agx_messages_count(loaded.get()), 4U);
  EXPECT_THAT(Kept(session_), HasSubstr("\"content\":\"hello\""));
  EXPECT_FALSE(IsLive(session_));
}

TEST_P(CapiExecute, GoesWithoutAConversation) {
  agx_messages* given = messages_.get();
  EXPECT_EQ(Execute(session_, nullptr,
                    [&](agx_run*, agx_messages* messages) {
                      given = messages;
                      return AGX_OK;
                    }),
            AGX_OK);
  EXPECT_EQ(given, nullptr);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "end"));
}

TEST_P(CapiExecute, AFailureBecomesAnErrorAndNothingIsSaved) {
  auto fail = [](agx_run*, agx_messages* messages) {
    EXPECT_EQ(agx_messages_append_user(messages, "hi"), AGX_OK);
    return agx_messages_append(messages, "{", 1);  // AGX_EJSON, and says why
  };
  EXPECT_EQ(Execute(session_, messages_.get(), fail), AGX_EJSON);
  std::vector<std::string> written = Written(session_);
  ASSERT_EQ(written.size(), 3U);
  EXPECT_THAT(written[1], HasSubstr("{\"msg\": \"crashed - "));
  EXPECT_EQ(written[2], "end");
  EXPECT_EQ(Kept(session_), "[]");
  EXPECT_FALSE(IsLive(session_));
}

TEST_P(CapiExecute, AFailureWithoutWordsIsNamed) {
  EXPECT_EQ(Execute(session_, nullptr, [](agx_run*, agx_messages*) { return AGX_EMODEL; }),
            AGX_EMODEL);
  EXPECT_THAT(Written(session_),
              ElementsAre("begin", "{\"msg\": \"crashed - AGX_EMODEL\"}", "end"));
}

TEST_P(CapiExecute, TheAgentMaySayBetterWhy) {
  EXPECT_EQ(Execute(session_, nullptr,
                    [](agx_run* run, agx_messages*) { return agx_run_fail(run, "no luck"); }),
            AGX_EFAILED);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "{\"msg\": \"crashed - no luck\"}", "end"));
}

TEST_P(CapiExecute, AnExceptionIsAFailure) {
  auto agent = [](agx_run*, agx_messages*) -> agx_status { throw std::runtime_error("thrown"); };
  EXPECT_EQ(Execute(session_, nullptr, agent), AGX_EFAILED);
  EXPECT_STREQ(agx_last_error(), "thrown");
  EXPECT_THAT(Written(session_), ElementsAre("begin", "{\"msg\": \"crashed - thrown\"}", "end"));
}

TEST_P(CapiExecute, ACancelEndsItAndSavesNothing) {
  auto agent = [&](agx_run* run, agx_messages* messages) {
    EXPECT_EQ(agx_messages_append_user(messages, "hi"), AGX_OK);
    EXPECT_EQ(agx_cancel(OpenSession(other_).get(), nullptr), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(session_.get(), kPatienceMs), AGX_OK);
    EXPECT_EQ(agx_run_node_begin(run), AGX_CANCELED);
    return AGX_OK;
  };
  EXPECT_EQ(Execute(session_, messages_.get(), agent), AGX_CANCELED);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "{\"msg\": \"canceled\"}", "end"));
  EXPECT_EQ(Kept(session_), "[]");
}

TEST_P(CapiExecute, AnAgentCanCancelItself) {
  EXPECT_EQ(Execute(session_, nullptr, [](agx_run*, agx_messages*) { return AGX_CANCELED; }),
            AGX_CANCELED);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "{\"msg\": \"canceled\"}", "end"));
}

TEST_P(CapiExecute, OneThatWasTakenOverWritesAndSavesNothing) {
  SessionPtr other = OpenSession(other_);
  auto agent = [&](agx_run*, agx_messages* messages) {
    EXPECT_EQ(agx_messages_append_user(messages, "hi"), AGX_OK);
    agx_start_options take_over = TakeOver();
    EXPECT_EQ(agx_start(other.get(), &take_over), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(session_.get(), kPatienceMs), AGX_TAKEN_OVER);
    return AGX_OK;
  };
  EXPECT_EQ(Execute(session_, messages_.get(), agent), AGX_TAKEN_OVER);
  EXPECT_THAT(Written(session_), ElementsAre("begin"));
  EXPECT_TRUE(IsLive(other));
  EXPECT_EQ(Kept(session_), "[]");
}

TEST_P(CapiExecute, WhatSomebodyElseSavedIsNotOverwritten) {
  auto agent = [&](agx_run*, agx_messages* messages) {
    EXPECT_EQ(agx_messages_append_user(messages, "mine"), AGX_OK);
    MessagesPtr theirs = OpenMessages(OpenSession(other_));
    EXPECT_EQ(agx_messages_append_user(theirs.get(), "theirs"), AGX_OK);
    EXPECT_EQ(agx_messages_save(theirs.get()), AGX_OK);
    return AGX_OK;
  };
  EXPECT_EQ(Execute(session_, messages_.get(), agent), AGX_ECONFLICT);
  EXPECT_THAT(Kept(session_), HasSubstr("theirs"));
  std::vector<std::string> written = Written(session_);
  ASSERT_EQ(written.size(), 3U);
  EXPECT_THAT(written[1], HasSubstr("crashed - saving the conversation: "));
}

TEST_P(CapiExecute, ALiveSessionIsLeftAlone) {
  SessionPtr other = Started(other_);
  bool called = false;
  auto agent = [&](agx_run*, agx_messages*) {
    called = true;
    return AGX_OK;
  };
  EXPECT_EQ(Execute(session_, nullptr, agent), AGX_EBUSY);
  EXPECT_FALSE(called);
  EXPECT_THAT(Written(session_), ElementsAre("begin"));
}

TEST_P(CapiExecute, TheAgentMayFinishAndCloseWhatItWasGiven) {
  EXPECT_EQ(
      Execute(session_, nullptr, [](agx_run* run, agx_messages*) { return agx_run_finish(run); }),
      AGX_OK);
  EXPECT_THAT(Written(session_), ElementsAre("begin", "end"));
  auto close = [](agx_run* run, agx_messages*) {
    agx_run_close(run);
    return AGX_OK;
  };
  EXPECT_EQ(Execute(session_, nullptr, close), AGX_EFAILED);
}

TEST_P(CapiExecute, InvalidArguments) {
  EXPECT_EQ(agx_run_execute(session_.get(), nullptr, nullptr, nullptr), AGX_EINVAL);
  auto agent = [](agx_run*, agx_messages*, void*) { return AGX_OK; };
  EXPECT_EQ(agx_run_execute(nullptr, nullptr, agent, nullptr), AGX_EINVAL);
  agx_messages* closed = messages_.release();
  agx_messages_close(closed);
  EXPECT_EQ(agx_run_execute(session_.get(), closed, agent, nullptr), AGX_ECLOSED);
  EXPECT_THAT(Written(session_), IsEmpty());
}

}  // namespace
}  // namespace agx::test
