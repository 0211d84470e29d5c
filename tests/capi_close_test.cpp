// ctest-labels: redis threads
// A client that is closed while calls wait for a server that does not answer.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/background.h"
#include "support/capi_tools.h"
#include "support/redis_server.h"

namespace agx::test {
namespace {

struct Call {
  std::string name;
  std::function<agx_status()> run;
};

// Handles of one client, and every call that waits for the server, each on handles of its own.
class Handles {
 public:
  explicit Handles(const std::string& url) {
    agx_client* client = nullptr;
    EXPECT_EQ(agx_open(url.c_str(), nullptr, &client), AGX_OK) << agx_last_error();
    client_.reset(client);
    MakeWrites();
    MakeReads();
    MakeWaits();
    MakeGroups();
  }
  void Close() { client_.reset(); }
  const std::vector<Call>& calls() const { return calls_; }

 private:
  // One that stays for as long as this.
  agx_session* Session(const std::string& id) {
    sessions_.push_back(OpenSession(client_, id));
    return sessions_.back().get();
  }
  void Of(const std::string& name, std::function<agx_status(agx_session*)> run) {
    agx_session* session = Session(name);
    calls_.push_back({name, [run = std::move(run), session] { return run(session); }});
  }

  void MakeWrites() {
    Of("start", [](agx_session* s) { return agx_start(s, nullptr); });
    Of("stop", [](agx_session* s) { return agx_stop(s, 0); });
    Of("add", [](agx_session* s) { return agx_add(s, "t", "o", "{}", nullptr); });
    static constexpr agx_new_event kEvents[] = {{"t", "o", nullptr}, {"t", "o", nullptr}};
    Of("add_many", [](agx_session* s) { return agx_add_many(s, kEvents, 2, nullptr, nullptr); });
    Of("add_each", [](agx_session* s) {
      agx_addition one{s, kEvents[0], AGX_OK, ""};
      return agx_add_each(&one, 1);
    });
    Of("add_checked",
       [](agx_session* s) { return agx_add_checked(s, kEvents, 2, "from", "", "1"); });
    Of("renew", [](agx_session* s) { return agx_renew(s); });
    Of("cancel", [](agx_session* s) { return agx_cancel(s, nullptr); });
    Of("trim", [](agx_session* s) { return agx_history_trim(s, 1, nullptr, nullptr); });
    Of("replace", [](agx_session* s) { return agx_history_replace(s, kEvents, 2, nullptr); });
    Of("drop", [](agx_session* s) { return agx_history_drop(s, nullptr); });
    Of("delete", [](agx_session* s) { return agx_history_delete(s); });
    messages_.push_back(OpenMessages("save"));
    EXPECT_EQ(agx_messages_append_user(messages_.back().get(), "hello"), AGX_OK);
    calls_.push_back({"save", [m = messages_.back().get()] { return agx_messages_save(m); }});
  }

  void MakeReads() {
    Of("is_live", [](agx_session* s) {
      int live = 0;
      return agx_is_live(s, &live);
    });
    Of("checkpoint", [](agx_session* s) {
      char position[AGX_NAME_MAX + 1];
      return agx_checkpoint(s, "from", position);
    });
    Of("history_read", [](agx_session* s) {
      agx_event* event = nullptr;
      size_t count = 0;
      return agx_history_read(s, nullptr, &event, 1, &count);
    });
    Of("history_info", [](agx_session* s) {
      agx_history info = AGX_HISTORY_INIT;
      return agx_history_info(s, &info);
    });
    Of("listen to what is new", [](agx_session* s) {
      agx_listen_options options = Patient("new");
      agx_listener* listener = nullptr;
      return agx_listen(s, &options, &listener);
    });
    messages_.push_back(OpenMessages("load"));
    calls_.push_back({"load", [m = messages_.back().get()] { return agx_messages_load(m); }});
    agx_query* query = nullptr;
    EXPECT_EQ(agx_query_open(client_.get(), AGX_ANY, AGX_ANY, &query), AGX_OK);
    query_.reset(query);
    calls_.push_back(
        {"query", [query] { return agx_query_next(query, nullptr, nullptr, nullptr); }});
  }

  void MakeWaits() {
    for (const char* name : {"listen_next", "another", "a third"}) {
      listeners_.push_back(Listen(OpenSession(client_, name)));
      calls_.push_back({name, [listener = listeners_.back().get()] {
                          agx_event* event = nullptr;
                          return agx_listen_next(listener, -1, &event);
                        }});
    }
    mux_ = OpenMux(client_);
    agx_mux* mux = mux_.get();
    listeners_.push_back(Listen(OpenSession(client_, "mux")));
    EXPECT_EQ(agx_mux_add(mux, listeners_.back().get()), AGX_OK);
    calls_.push_back({"mux_next", [mux] {
                        agx_listener* listener = nullptr;
                        agx_event* event = nullptr;
                        return agx_mux_next(mux, -1, &listener, &event);
                      }});
    Of("wait_for", [](agx_session* s) {
      agx_event* event = nullptr;
      return agx_wait_for(s, nullptr, -1, &event);
    });
    agx_session* started = Session("started");
    EXPECT_EQ(agx_start(started, nullptr), AGX_OK);
    calls_.push_back({"wait_canceled", [started] { return agx_wait_canceled(started, -1); }});
  }

  void MakeGroups() {
    OfGroup("group_read", [](agx_group* group) {
      agx_event* event = nullptr;
      size_t count = 0;
      return agx_group_read(group, AGX_GROUP_NEW, -1, &event, 1, &count);
    });
    OfGroup("group_autoclaim", [](agx_group* group) {
      char cursor[AGX_ID_SIZE] = "";
      agx_event* event = nullptr;
      size_t count = 0;
      return agx_group_autoclaim(group, 0, cursor, &event, 1, &count);
    });
    OfGroup("group_ack", [](agx_group* group) {
      const char* id = "1-1";
      return agx_group_ack(group, &id, 1, nullptr);
    });
    OfGroup("group_health", [](agx_group* group) {
      agx_health health = AGX_HEALTH_INIT;
      return agx_group_health(group, &health);
    });
    OfGroup("group_process", [](agx_group* group) {
      const auto handle = [](const agx_event*, int64_t, void*) { return AGX_OK; };
      return agx_group_process(group, nullptr, handle, nullptr);
    });
  }
  void OfGroup(const std::string& name, agx_status (*run)(agx_group*)) {
    agx_group* group = nullptr;
    EXPECT_EQ(agx_group_open(Session(name), "g", nullptr, &group), AGX_OK) << agx_last_error();
    groups_.emplace_back(group);
    calls_.push_back({name, [run, group] { return run(group); }});
  }

  MessagesPtr OpenMessages(const std::string& id) {
    agx_messages* messages = nullptr;
    EXPECT_EQ(agx_messages_open(Session(id), &messages), AGX_OK);
    return MessagesPtr(messages);
  }

  ClientPtr client_;
  std::vector<SessionPtr> sessions_;
  std::vector<MessagesPtr> messages_;
  std::vector<ListenerPtr> listeners_;
  std::vector<GroupPtr> groups_;
  MuxPtr mux_;
  QueryPtr query_;
  std::vector<Call> calls_;
};

class CapiClose : public testing::TestWithParam<const char*> {};

TEST_P(CapiClose, EveryCallThatWaitsSaysThatItIsClosed) {
  RedisServer server;
  for (int round = 0; round < 8; ++round) {
    server.Command({"FLUSHALL"});
    Handles handles(server.url() + GetParam());
    server.Pause();
    std::vector<std::unique_ptr<Background<agx_status>>> waiting;
    for (const Call& call : handles.calls()) {
      waiting.push_back(std::make_unique<Background<agx_status>>(call.run));
    }
    for (auto& one : waiting) one->AwaitBlocked();
    handles.Close();
    for (size_t i = 0; i < waiting.size(); ++i) {
      EXPECT_EQ(waiting[i]->Get(), AGX_ECLOSED) << handles.calls()[i].name;
      EXPECT_EQ(handles.calls()[i].run(), AGX_ECLOSED) << handles.calls()[i].name;
    }
    server.Continue();
  }
}

// One that does not try again has but one chance to know why its connection ended.
INSTANTIATE_TEST_SUITE_P(Clients, CapiClose,
                         testing::Values("?command_timeout=60000",
                                         "?command_timeout=60000&reconnect_timeout=-1"),
                         [](const testing::TestParamInfo<const char*>& of) {
                           return std::string(of.index == 0 ? "Reconnecting" : "Not");
                         });

TEST(CapiClosed, ASessionOfAClosedClientSaysSo) {
  ClientPtr client = OpenClient("memory:");
  SessionPtr session = Started(client);
  EXPECT_EQ(agx_is_canceled(session.get()), 0);
  agx_close(client.release());
  EXPECT_EQ(agx_is_canceled(session.get()), 1);  // whoever loops until it is comes to an end
  EXPECT_EQ(agx_start(session.get(), nullptr), AGX_ECLOSED);
  agx_run* run = nullptr;
  EXPECT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_ECLOSED);
  agx_interceptor* interceptor = nullptr;
  auto nothing = [](agx_intercepted*, void*) { return AGX_OK; };
  EXPECT_EQ(agx_intercept(session.get(), nullptr, nothing, nullptr, &interceptor), AGX_ECLOSED);
  size_t added = 0;
  EXPECT_EQ(agx_add_many(session.get(), nullptr, 0, nullptr, &added), AGX_ECLOSED);
}

}  // namespace
}  // namespace agx::test
