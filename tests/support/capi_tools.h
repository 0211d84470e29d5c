// What tests of the C API share: a store for each test, in memory or on a Redis, handles that close
// themselves, and a listener's outcomes as texts.
#pragma once

#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/background.h"
#include "support/redis_server.h"
#include "support/wait.h"

inline void PrintTo(agx_status status, std::ostream* out) {
  *out << agx_status_string(status);
  if (status != AGX_OK) *out << " (" << agx_last_error() << ")";
}

namespace agx::test {

inline constexpr int64_t kPatienceMs = 20000;
// What a call may take that is to return at once, on a machine that is busy.
inline constexpr int64_t kAtOnceMs = 5000;

struct Closer {
  void operator()(agx_client* handle) const { agx_close(handle); }
  void operator()(agx_session* handle) const { agx_session_close(handle); }
  void operator()(agx_listener* handle) const { agx_listener_close(handle); }
  void operator()(agx_mux* handle) const { agx_mux_close(handle); }
  void operator()(agx_query* handle) const { agx_query_close(handle); }
  void operator()(agx_messages* handle) const { agx_messages_close(handle); }
  void operator()(agx_group* handle) const { agx_group_close(handle); }
  void operator()(agx_subscription* handle) const { agx_subscription_close(handle); }
  void operator()(agx_interceptor* handle) const { agx_interceptor_close(handle); }
  void operator()(agx_run* handle) const { agx_run_close(handle); }
  void operator()(agx_event* event) const { agx_event_free(event); }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Closer>;
using ClientPtr = Owned<agx_client>;
using SessionPtr = Owned<agx_session>;
using ListenerPtr = Owned<agx_listener>;
using MuxPtr = Owned<agx_mux>;
using QueryPtr = Owned<agx_query>;
using MessagesPtr = Owned<agx_messages>;
using GroupPtr = Owned<agx_group>;
using SubscriptionPtr = Owned<agx_subscription>;
using InterceptorPtr = Owned<agx_interceptor>;
using RunPtr = Owned<agx_run>;
using EventPtr = Owned<agx_event>;

// --- Handles; what cannot be opened fails the test and is null.

inline ClientPtr OpenClient(const std::string& url, const agx_options* options = nullptr) {
  agx_client* client = nullptr;
  EXPECT_EQ(agx_open(url.c_str(), options, &client), AGX_OK) << url;
  return ClientPtr(client);
}

inline SessionPtr OpenSession(const ClientPtr& client, const std::string& id = "s",
                              int64_t scope = 1, int64_t user = 2) {
  agx_session* session = nullptr;
  EXPECT_EQ(agx_session_open(client.get(), scope, user, id.c_str(), &session), AGX_OK) << id;
  return SessionPtr(session);
}

inline SessionPtr Started(const ClientPtr& client, const std::string& id = "s",
                          const agx_start_options* options = nullptr) {
  SessionPtr session = OpenSession(client, id);
  EXPECT_EQ(agx_start(session.get(), options), AGX_OK) << id;
  return session;
}

inline agx_start_options TakeOver() {
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.take_over = 1;
  return options;
}

inline agx_start_options Leased(int64_t lease_ms) {
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.lease_ms = lease_ms;
  return options;
}

// Neither waits for the session nor gives up in its silence, unless told to.
inline agx_listen_options Patient(const char* after = nullptr) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = after;
  options.wait_ms = -1;
  options.timeout_ms = -1;
  return options;
}

inline ListenerPtr Listen(const SessionPtr& session,
                          const agx_listen_options& options = Patient()) {
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_listen(session.get(), &options, &listener), AGX_OK);
  return ListenerPtr(listener);
}

inline ListenerPtr ListenAfter(const SessionPtr& session, const char* after) {
  return Listen(session, Patient(after));
}

inline MuxPtr OpenMux(const ClientPtr& client) {
  agx_mux* mux = nullptr;
  EXPECT_EQ(agx_mux_open(client.get(), &mux), AGX_OK);
  return MuxPtr(mux);
}

inline RunPtr BeginRun(const SessionPtr& session, const agx_run_options* options = nullptr) {
  agx_run* run = nullptr;
  EXPECT_EQ(agx_run_begin(session.get(), options, &run), AGX_OK);
  return RunPtr(run);
}

// --- Adding

// The entry's id.
inline std::string Add(const SessionPtr& session, const std::string& type,
                       const char* body = nullptr, const char* origin = "test") {
  char id[AGX_ID_SIZE] = "";
  EXPECT_EQ(agx_add(session.get(), type.c_str(), origin, body, id), AGX_OK) << type;
  return id;
}

inline bool IsLive(const SessionPtr& session) {
  int live = -1;
  EXPECT_EQ(agx_is_live(session.get(), &live), AGX_OK);
  return live == 1;
}

// --- Listening

struct Told {
  agx_status status;
  EventPtr event;
  std::string error;
  agx_listener* listener = nullptr;  // whose it is, if a mux has told it

  std::string type() const { return agx_event_type(event.get(), nullptr); }
  std::string id() const { return agx_event_id(event.get(), nullptr); }
  std::string body() const { return agx_event_body(event.get(), nullptr); }
  std::string origin() const { return agx_event_origin(event.get(), nullptr); }
  // The event's type, or the outcome's name.
  std::string text() const { return status == AGX_OK ? type() : agx_status_string(status); }
};

inline Told Next(const ListenerPtr& listener, int64_t timeout_ms = kPatienceMs) {
  agx_event* event = nullptr;
  agx_status status = agx_listen_next(listener.get(), timeout_ms, &event);
  EXPECT_EQ(event != nullptr, status == AGX_OK);
  return {status, EventPtr(event), status == AGX_OK ? "" : agx_last_error()};
}

inline Told Next(const MuxPtr& mux, int64_t timeout_ms = kPatienceMs) {
  agx_listener* listener = nullptr;
  agx_event* event = nullptr;
  agx_status status = agx_mux_next(mux.get(), timeout_ms, &listener, &event);
  EXPECT_EQ(event != nullptr, status == AGX_OK);
  if (status == AGX_OK) {
    EXPECT_NE(listener, nullptr);
  }
  return {status, EventPtr(event), status == AGX_OK ? "" : agx_last_error(), listener};
}

// Types of the events up to the first other outcome, which comes last.
inline std::vector<std::string> Follow(const ListenerPtr& listener,
                                       int64_t timeout_ms = kPatienceMs) {
  std::vector<std::string> texts;
  for (;;) {
    Told told = Next(listener, timeout_ms);
    texts.push_back(told.text());
    if (told.status != AGX_OK) return texts;
  }
}

// All that is there now.
inline std::vector<std::string> Stored(const SessionPtr& session) {
  agx_listen_options options = Patient();
  options.hand_on_end = 1;
  std::vector<std::string> texts = Follow(Listen(session, options), 0);
  texts.pop_back();
  return texts;
}

inline std::string Position(const ListenerPtr& listener) {
  char position[AGX_ID_SIZE] = "?";
  EXPECT_EQ(agx_listener_position(listener.get(), position), AGX_OK);
  return position;
}

// Whether poll says so, at once or in time.
inline bool Readable(int fd, int64_t timeout_ms = 0) {
  pollfd item{fd, POLLIN, 0};
  return poll(&item, 1, static_cast<int>(timeout_ms)) == 1 && (item.revents & POLLIN) != 0;
}

// --- Threads

// Runs `body(i)` in so many threads, which begin together.
template <class Body>
void InThreads(int count, Body body) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      ready.fetch_add(1);
      while (ready.load() < count) std::this_thread::yield();
      body(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// --- Stores

// A test on each store: the parameter is "memory" or "redis".
class OnEachStore : public testing::TestWithParam<const char*> {
 protected:
  OnEachStore() {
    if (is_redis()) server_.emplace();
    client_ = Open();  // and a memory store lives as long as this
    other_ = Open();
  }

  bool is_redis() const { return std::string(GetParam()) == "redis"; }
  std::string url(const std::string& parameters = "") const {
    std::string base = is_redis() ? server_->url() : "memory:tests";
    return parameters.empty() ? base : base + "?" + parameters;
  }
  ClientPtr Open(const std::string& parameters = "") const { return OpenClient(url(parameters)); }
  // What only a server has.
  RedisServer& server() { return *server_; }

  std::optional<RedisServer> server_;
  ClientPtr client_;
  ClientPtr other_;  // as another process would have it
};

inline std::string StoreName(const testing::TestParamInfo<const char*>& store) {
  return store.param;
}

#define AGX_ON_EACH_STORE(Suite) \
  INSTANTIATE_TEST_SUITE_P(Stores, Suite, testing::Values("memory", "redis"), StoreName)

// A test that looks at the server itself.
class OnRedis : public testing::Test {
 protected:
  std::string Raw(const std::vector<std::string>& command) const {
    return server_.Command(command);
  }
  ClientPtr Open(const std::string& parameters = "") const {
    return OpenClient(parameters.empty() ? server_.url() : server_.url() + "?" + parameters);
  }

  RedisServer server_;
  ClientPtr client_ = Open();
};

}  // namespace agx::test
