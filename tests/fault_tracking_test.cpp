// ctest-labels: redis threads
// ctest-timeout: 120
// Servers and proxies that refuse key tracking, and a bell that is lost again and again.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr milliseconds kPromptly{4000};
#else
constexpr milliseconds kPromptly{1000};
#endif

// What the log said.
class LogLines {
 public:
  void Set(agx_options* options) {
    options->log_level = AGX_LOG_INFO;
    options->log = [](void* self, agx_log_level, const char* message) {
      auto* lines = static_cast<LogLines*>(self);
      std::lock_guard lock(lines->mutex_);
      lines->lines_.emplace_back(message);
    };
    options->log_data = this;
  }
  int Count(const std::string& text) {
    std::lock_guard lock(mutex_);
    return static_cast<int>(std::count_if(lines_.begin(), lines_.end(), [&](const auto& line) {
      return line.find(text) != std::string::npos;
    }));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

// One number for each session: the last event that was heard.
struct Progress {
  std::atomic<int> last{-1};
  std::atomic<bool> lost{false};

  void Hear(agx_event* event) {
    Owned<agx_event> owned(event);
    Numbered numbered;
    if (!ParseBody(agx_event_body(event, nullptr), &numbered)) return;
    if (numbered.number != last + 1) lost = true;
    last = numbered.number;
  }
};

// Listeners of all kinds on many sessions, one each.
class Followers {
 public:
  Followers(agx_client* client, int in_mux, int threads, int descriptors) {
    agx_mux* mux = nullptr;
    Require(agx_mux_open(client, &mux));
    mux_.reset(mux);
    for (int i = 0; i < in_mux; ++i) {
      agx_listener* listener = Add(client);
      Require(agx_listener_set_data(listener, progress_.back().get()));
      Require(agx_mux_add(mux, listener));
    }
    threads_.emplace_back([this] { DriveMux(); });
    for (int i = 0; i < threads + descriptors; ++i) {
      agx_listener* listener = Add(client);
      Progress* progress = progress_.back().get();
      pollfd waiting{-1, POLLIN, 0};
      if (i >= threads) Require(agx_listener_fd(listener, &waiting.fd));
      threads_.emplace_back([=, this] { Drive(listener, waiting, progress); });
    }
  }
  ~Followers() {
    done_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  size_t size() const { return progress_.size(); }
  Progress& progress(size_t i) { return *progress_[i]; }
  static std::string SessionOf(size_t i) { return "s" + std::to_string(i); }
  // All have heard the number-th event of their sessions.
  bool AllAt(int number) {
    return std::all_of(progress_.begin(), progress_.end(),
                       [=](const auto& progress) { return progress->last == number; });
  }
  bool AnyLost() {
    return std::any_of(progress_.begin(), progress_.end(),
                       [](const auto& progress) { return progress->lost.load(); });
  }

 private:
  agx_listener* Add(agx_client* client) {
    Owned<agx_session> session = OpenSession(client, SessionOf(listeners_.size()));
    listeners_.push_back(Listen(session.get()));
    progress_.push_back(std::make_unique<Progress>());
    return listeners_.back().get();
  }

  void DriveMux() {
    while (!done_) {
      agx_listener* listener = nullptr;
      agx_event* event = nullptr;
      agx_status status = agx_mux_next(mux_.get(), 50, &listener, &event);
      if (status == AGX_OK) static_cast<Progress*>(agx_listener_data(listener))->Hear(event);
      Note(status);
    }
  }

  void Drive(agx_listener* listener, pollfd waiting, Progress* progress) {
    while (!done_) {
      if (waiting.fd >= 0) poll(&waiting, 1, 50);
      agx_event* event = nullptr;
      agx_status status = agx_listen_next(listener, waiting.fd >= 0 ? 0 : 50, &event);
      if (status == AGX_OK) progress->Hear(event);
      Note(status);
    }
  }

  void Note(agx_status status) {
    bool fits = status == AGX_OK || status == AGX_TIMEOUT || IsOutage(status);
    if (!fits && !done_.exchange(true)) ADD_FAILURE() << Explain(status);
  }

  std::atomic<bool> done_{false};
  std::vector<Owned<agx_listener>> listeners_;
  std::vector<std::unique_ptr<Progress>> progress_;
  Owned<agx_mux> mux_;
  std::vector<std::thread> threads_;
};

void AddToAll(agx_client* writer, size_t sessions, int number) {
  for (size_t i = 0; i < sessions; ++i) {
    Owned<agx_session> session = OpenSession(writer, Followers::SessionOf(i));
    Require(agx_add(session.get(), "t", "o", BodyOf({0, number}).c_str(), nullptr));
  }
}

// --- Refusals

struct Refusal {
  const char* name;
  std::vector<std::string> commands;
};

class Refused : public testing::TestWithParam<Refusal> {
 protected:
  RedisServer server_;
};

void ExpectToFollow(const RedisServer& server, agx_client* reader, int rounds) {
  Owned<agx_client> writer = OpenClient(server.url());
  Followers followers(reader, 20, 4, 2);
  for (int n = 0; n < rounds; ++n) {
    AddToAll(writer.get(), followers.size(), n);
    auto began = SteadyClock::now();
    ASSERT_TRUE(WaitUntil([&] { return followers.AllAt(n) || followers.AnyLost(); })) << n;
    EXPECT_LT(SteadyClock::now() - began, kPromptly) << "event " << n;
  }
  EXPECT_FALSE(followers.AnyLost());
}

void ExpectToHearCancels(const RedisServer& server, agx_client* client) {
  Owned<agx_session> polled = StartSession(client, "polled");
  Owned<agx_session> waited = StartSession(client, "waited");
  agx_status woken = AGX_TIMEOUT;
  std::thread waiter([&] { woken = agx_wait_canceled(waited.get(), 20000); });
  Owned<agx_client> other = OpenClient(server.url());
  for (const char* id : {"polled", "waited"}) {
    EXPECT_EQ(agx_cancel(OpenSession(other.get(), id).get(), nullptr), AGX_OK);
  }
  auto began = SteadyClock::now();
  EXPECT_TRUE(WaitUntil([&] { return agx_is_canceled(polled.get()) == 1; }));
  waiter.join();
  EXPECT_LT(SteadyClock::now() - began, kPromptly);
  EXPECT_EQ(woken, AGX_OK) << agx_last_error();
}

TEST_P(Refused, EventsAndCancelsStillArrivePromptly) {
  FaultProxy proxy(server_.port());
  for (const std::string& command : GetParam().commands) {
    proxy.RefuseCommand(command, "ERR unknown command '" + command + "'");
  }
  LogLines log;
  agx_options options = AGX_OPTIONS_INIT;
  log.Set(&options);
  {
    Owned<agx_client> client = OpenClient(proxy.url(), &options);
    ExpectToFollow(server_, client.get(), 5);
    ExpectToHearCancels(server_, client.get());
  }
  EXPECT_EQ(log.Count("falling back"), 1);
}

INSTANTIATE_TEST_SUITE_P(Of, Refused,
                         testing::Values(Refusal{"Tracking", {"CLIENT TRACKING"}},
                                         Refusal{"Client", {"CLIENT"}},
                                         Refusal{"ClientAndInfo", {"CLIENT", "INFO"}},
                                         Refusal{"Subscribe", {"SUBSCRIBE"}}),
                         [](const auto& refusal) { return std::string(refusal.param.name); });

TEST(RefusedByAcl, EventsAndCancelsStillArrivePromptly) {
  RedisServer server;
  server.Command({"ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-client|tracking"});
  LogLines log;
  agx_options options = AGX_OPTIONS_INIT;
  options.user = "u";
  options.password = "p";
  log.Set(&options);
  {
    Owned<agx_client> client = OpenClient(server.url(), &options);
    ExpectToFollow(server, client.get(), 3);
    ExpectToHearCancels(server, client.get());
  }
  EXPECT_EQ(log.Count("falling back"), 1);
}

// More than one blocking read is to carry.
TEST(RefusedToMany, EachOfManyStreamsIsFollowed) {
  RedisServer server;
  FaultProxy proxy(server.port());
  proxy.RefuseCommand("CLIENT TRACKING", "ERR unknown command");
  Owned<agx_client> client = OpenClient(proxy.url());
  Owned<agx_client> writer = OpenClient(server.url());
  Followers followers(client.get(), 1300, 0, 0);
  for (int n = 0; n < 2; ++n) {
    AddToAll(writer.get(), followers.size(), n);
    auto began = SteadyClock::now();
    EXPECT_TRUE(WaitUntil([&] { return followers.AllAt(n) || followers.AnyLost(); }));
    EXPECT_LT(SteadyClock::now() - began, kPromptly * 2);
  }
  EXPECT_FALSE(followers.AnyLost());
}

// --- A lost bell

class LostBell : public testing::TestWithParam<std::vector<std::string>> {
 protected:
  RedisServer server_;
};

TEST_P(LostBell, NothingIsLostWithIt) {
  Owned<agx_client> writer = OpenClient(server_.unix_url());
  Owned<agx_client> reader = OpenClient(server_.url());
  Followers followers(reader.get(), 30, 0, 2);
  constexpr int kRounds = 12;
  for (int n = 0; n < kRounds; ++n) {
    // Before, between and after the adds.
    if (n % 3 == 0) server_.Command(GetParam());
    AddToAll(writer.get(), followers.size() / 2, n);
    if (n % 3 == 1) server_.Command(GetParam());
    for (size_t i = followers.size() / 2; i < followers.size(); ++i) {
      Owned<agx_session> session = OpenSession(writer.get(), Followers::SessionOf(i));
      agx_status status = agx_add(session.get(), "t", "o", BodyOf({0, n}).c_str(), nullptr);
      ASSERT_EQ(status, AGX_OK) << Explain(status);
    }
    if (n % 3 == 2) server_.Command(GetParam());
    auto began = SteadyClock::now();
    ASSERT_TRUE(WaitUntil([&] { return followers.AllAt(n) || followers.AnyLost(); })) << n;
    ASSERT_FALSE(followers.AnyLost());
    // The bell comes back with a back-off of at most two seconds.
    EXPECT_LT(SteadyClock::now() - began, milliseconds(2500) + kPromptly) << n;
  }
}

INSTANTIATE_TEST_SUITE_P(
    ByKilling, LostBell,
    testing::Values(std::vector<std::string>{"CLIENT", "KILL", "TYPE", "pubsub"},
                    std::vector<std::string>{"CLIENT", "KILL", "TYPE", "normal"}),
    [](const auto& command) { return command.param.back(); });

}  // namespace
}  // namespace agx::test
