// ctest-labels: redis threads
// ctest-timeout: 120
// What waits for a store that cannot be reached ends at an interrupt, and goes on afterwards.
#include <agx.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "support/background.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

// Longer than any test may take.
constexpr int64_t kReconnectMs = 600000;
// Far less, and more than a busy machine needs.
constexpr int64_t kSoonMs = 60000;

class Interrupt : public testing::Test {
 protected:
  Interrupt() {
    agx_options options = AGX_OPTIONS_INIT;
    options.reconnect_timeout_ms = kReconnectMs;
    options.reconnect_attempts = 1000000;
    options.log_level = AGX_LOG_WARNING;
    options.log_data = this;
    options.log = [](void* data, agx_log_level, const char* message) {
      auto* self = static_cast<Interrupt*>(data);
      if (std::string_view(message).find("refused") != std::string_view::npos) ++self->refused_;
    };
    client_ = OpenClient(server_.url(), &options);
    session_ = OpenSession(client_.get(), "s");
  }

  // The call waits for the server, which is gone, until it is interrupted; and then the store is there again.
  void EndsIt(const std::function<agx_status()>& call, const std::function<void()>& interrupt,
              agx_status expected = AGX_INTERRUPTED) {
    Background<agx_status> waiting(call);
    waiting.AwaitBlocked();
    server_.Stop();
    int before = refused_;
    EXPECT_TRUE(WaitUntil([&] { return refused_ >= before + 3 || waiting.done(); }));
    ASSERT_FALSE(waiting.done());
    Stopwatch watch;
    interrupt();
    EXPECT_EQ(waiting.Get(), expected);
    EXPECT_LT(watch.ms(), kSoonMs);
    server_.Restart();
  }

  RedisServer server_;
  std::atomic<int> refused_{0};
  Owned<agx_client> client_;
  Owned<agx_session> session_;
};

Owned<agx_group> Open(agx_session* session) {
  agx_group* group = nullptr;
  Require(agx_group_open(session, "g", nullptr, &group));
  return Owned<agx_group>(group);
}

Owned<agx_session> OpenList(agx_client* client) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "ag2";
  agx_session* list = nullptr;
  Require(agx_stream_open(client, "l", &options, &list));
  return Owned<agx_session>(list);
}

agx_status ReadOne(agx_group* group, int64_t timeout_ms = -1) {
  agx_event* event = nullptr;
  size_t count = 0;
  agx_status status = agx_group_read(group, AGX_GROUP_NEW, timeout_ms, &event, 1, &count);
  if (count > 0) agx_event_free(event);
  return status;
}

agx_status NextOf(agx_listener* listener) {
  agx_event* event = nullptr;
  agx_status status = agx_listen_next(listener, -1, &event);
  if (status == AGX_OK) agx_event_free(event);
  return status;
}

agx_status NextOf(agx_mux* mux) {
  agx_listener* listener = nullptr;
  agx_event* event = nullptr;
  agx_status status = agx_mux_next(mux, -1, &listener, &event);
  if (status == AGX_OK) agx_event_free(event);
  return status;
}

TEST_F(Interrupt, EndsAReadOfAGroup) {
  Owned<agx_group> group = Open(session_.get());
  EndsIt([&] { return ReadOne(group.get()); }, [&] { agx_group_interrupt(group.get()); });
  // The server came back without its data.
  Owned<agx_group> again = Open(session_.get());
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(ReadOne(group.get()), AGX_OK);
}

TEST_F(Interrupt, ClosingAGroupEndsARead) {
  Owned<agx_group> group = Open(session_.get());
  EndsIt([raw = group.get()] { return ReadOne(raw); }, [&] { group.reset(); }, AGX_ECLOSED);
}

TEST_F(Interrupt, EndsAGroupsProcess) {
  Owned<agx_group> group = Open(session_.get());
  std::atomic<int> handled{0};
  auto handler = [](const agx_event*, int64_t, void* data) {
    ++*static_cast<std::atomic<int>*>(data);
    return AGX_OK;
  };
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  auto process = [&] { return agx_group_process(group.get(), nullptr, handler, &handled); };
  EndsIt(process, [&] { agx_group_interrupt(group.get()); });
  EXPECT_EQ(handled, 1);
  // It was the one that was under way, and not the next.
  Owned<agx_group> again = Open(session_.get());
  EXPECT_EQ(ReadOne(group.get(), 0), AGX_TIMEOUT);
}

TEST_F(Interrupt, EndsAListenersWait) {
  Owned<agx_listener> listener = Listen(session_.get());
  EndsIt([&] { return NextOf(listener.get()); }, [&] { agx_listener_interrupt(listener.get()); });
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
}

TEST_F(Interrupt, EndsTheWaitOfOneThatReadsAList) {
  Owned<agx_session> list = OpenList(client_.get());
  Owned<agx_listener> listener = Listen(list.get());
  EndsIt([&] { return NextOf(listener.get()); }, [&] { agx_listener_interrupt(listener.get()); });
  Require(agx_add(list.get(), "app.Answer", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(listener.get()), AGX_OK);
}

TEST_F(Interrupt, ClosingAListenerThatReadsAListEndsItsWait) {
  Owned<agx_session> list = OpenList(client_.get());
  Owned<agx_listener> listener = Listen(list.get());
  EndsIt([raw = listener.get()] { return NextOf(raw); }, [&] { listener.reset(); }, AGX_ECLOSED);
}

class MuxInterrupt : public Interrupt {
 protected:
  MuxInterrupt() {
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client_.get(), &mux));
    mux_.reset(mux);
    other_ = OpenSession(client_.get(), "other");
    for (agx_session* session : {session_.get(), other_.get()}) {
      listeners_.push_back(Listen(session));
      Require(agx_mux_add(mux_.get(), listeners_.back().get()));
    }
  }

  Owned<agx_mux> mux_;
  Owned<agx_session> other_;
  std::vector<Owned<agx_listener>> listeners_;
};

TEST_F(MuxInterrupt, EndsItsWait) {
  EndsIt([&] { return NextOf(mux_.get()); }, [&] { agx_mux_interrupt(mux_.get()); });
  // What was given up because of it is no failure that anybody is told of later.
  Require(agx_add(session_.get(), "t", "o", nullptr, nullptr));
  EXPECT_EQ(NextOf(mux_.get()), AGX_OK);
}

TEST_F(MuxInterrupt, ClosingItEndsItsWait) {
  EndsIt([raw = mux_.get()] { return NextOf(raw); }, [&] { mux_.reset(); }, AGX_ECLOSED);
}

}  // namespace
}  // namespace agx::test
