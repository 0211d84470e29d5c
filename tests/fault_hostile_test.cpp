// ctest-labels: redis threads
// ctest-timeout: 120
// What a broken or hostile server might send: each call ends with a status and a message, and the next one works.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/fault_proxy.h"
#include "support/fault_tools.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;
using Command = std::vector<std::string>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int64_t kCommandTimeoutMs = 300;
#else
constexpr int64_t kCommandTimeoutMs = 100;
#endif

std::string Bulk(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

std::string Entry(std::string_view id, std::string_view body) {
  return "*2\r\n" + Bulk(id) + "*6\r\n" + Bulk("type") + Bulk("t") + Bulk("origin") + Bulk("o") +
         Bulk("body") + Bulk(body);
}

// Says that a key has changed.
std::string Message(std::string_view key) {
  return "*3\r\n" + Bulk("message") + Bulk("__redis__:invalidate") + "*1\r\n" + Bulk(key);
}

// A command's name; of scripts, what they are for.
std::string NameOf(const Command& command) {
  if (command[0] != "EVAL") return command[0];
  auto has = [&](const char* word) { return command[1].find(word) != std::string::npos; };
  return has("XTRIM")    ? "start"
         : has("XADD")   ? "stop"
         : has("GETDEL") ? "cancel"
         : has("PTTL")   ? "extend"
                         : "renew";
}

// Answers as a server would that has little in it, but for one command.
class OddServer {
 public:
  std::string url(int64_t command_timeout_ms = kCommandTimeoutMs) const {
    return server_.url() +
           "?reconnect_timeout=-1&command_timeout=" + std::to_string(command_timeout_ms);
  }
  // From now on this is the answer to the command; "" as name: to none.
  void Answer(const std::string& name, const std::string& raw) {
    std::lock_guard lock(mutex_);
    odd_ = name;
    raw_ = raw;
  }
  void Answer(const std::string& name, std::function<std::string()> make) {
    std::lock_guard lock(mutex_);
    odd_ = name;
    make_ = std::move(make);
  }
  void AddEntry(std::string body) {
    std::lock_guard lock(mutex_);
    entries_.push_back(std::move(body));
  }
  // To every connection.
  void Push(const std::string& raw) { server_.Push(-1, raw); }
  int seen(const std::string& name) {
    std::lock_guard lock(mutex_);
    return seen_[name];
  }

 private:
  FakeReply Handle(const Command& command) {
    std::lock_guard lock(mutex_);
    std::string name = NameOf(command);
    ++seen_[name];
    if (name == odd_) return make_ ? make_() : raw_;
    if (name == "INFO") return Bulk("redis_version:7.0.15\r\n");
    if (name == "CLIENT") return command[1] == "ID" ? ":7\r\n" : "+OK\r\n";
    if (name == "SUBSCRIBE") return "*3\r\n" + Bulk("subscribe") + Bulk(command[1]) + ":1\r\n";
    if (name == "XADD") return Bulk("1-" + std::to_string(++last_));
    if (name == "start") return Bulk("started");
    if (name == "stop") return Bulk("stopped");
    if (name == "renew") return Bulk("own");
    if (name == "PTTL") return ":60000\r\n";
    if (name == "SCAN") return "*2\r\n" + Bulk("0") + "*0\r\n";
    if (name == "XRANGE") return Range(command);
    if (name == "XREVRANGE") return "*0\r\n";
    if (name == "XREAD") return "";  // it blocks
    if (name == "cancel" || name == "extend" || name == "EXISTS") return ":1\r\n";
    if (name == "GET" || name == "GETDEL") return "$-1\r\n";
    return "+OK\r\n";
  }

  std::string Range(const Command& command) {
    size_t first = 1;
    if (command[2] != "-") first = std::stoul(command[2].substr(command[2].find('-') + 1));
    std::string reply;
    size_t count = 0;
    size_t most = command.size() > 5 ? std::stoul(command[5]) : SIZE_MAX;
    for (size_t i = first; i <= entries_.size() && i > 0 && count < most; ++i, ++count) {
      reply += Entry("1-" + std::to_string(i), entries_[i - 1]);
      if (command[3] == command[2]) break;  // a single entry
    }
    return "*" + std::to_string(count) + "\r\n" + reply;
  }

  std::mutex mutex_;
  std::string odd_;
  std::string raw_;
  std::function<std::string()> make_;
  std::vector<std::string> entries_;
  std::map<std::string, int> seen_;
  int last_ = 0;
  FakeServer server_{[this](int, const Command& command) { return Handle(command); }};
};

const std::vector<std::string>& Oddities() {
  static const auto* oddities = [] {
    auto* list = new std::vector<std::string>{
        // Not the protocol, or not all of it.
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\r\n", "+", "$", "*\r\n", "$\r\n", ":\r\n",
        std::string("\0\0\0\0\0\0\0\0", 8), "\xff\xfe\xfd\xfc\r\n", ":abc\r\n", ":1.5\r\n",
        ":99999999999999999999\r\n", ":9223372036854775808\r\n", "$abc\r\n", "*abc\r\n",
        "$3\r\nabcde\r\n", "$5\r\nabc\r\n", "$-5\r\n", "*-7\r\n", "$9223372036854775807\r\nabc",
        "$9223372036854775806\r\n", "$18446744073709551615\r\n", "*9223372036854775807\r\n",
        "*2147483647\r\n", "*1000000000\r\n:1\r\n", "$1000000000\r\nabc", "*4294967297\r\n",
        // Of another version of the protocol.
        ">2\r\n+invalidate\r\n*1\r\n+k\r\n", "%1\r\n+a\r\n+b\r\n", "~1\r\n+a\r\n", "_\r\n",
        "#t\r\n", ",1.5\r\n", "=7\r\ntxt:abc\r\n", "(12345678901234567890\r\n", "!5\r\nERR a\r\n",
        "|1\r\n+a\r\n+b\r\n:1\r\n",
        // Well-formed, but of another kind.
        "+\r\n", "+what\r\n", "-\r\n", "-ERR odd\r\n", "-WRONGTYPE of course\r\n",
        "-READONLY no\r\n", "-NOSCRIPT no\r\n", "-MOVED 1 2.3.4.5:6\r\n", ":0\r\n", ":-1\r\n",
        ":-9223372036854775808\r\n", "$-1\r\n", "*-1\r\n", "$0\r\n\r\n", "$3\r\nabc\r\n", "*0\r\n",
        "*1\r\n*0\r\n", "*1\r\n$-1\r\n", "*1\r\n-ERR inside\r\n", "*2\r\n$1\r\na\r\n:5\r\n",
        "*2\r\n*0\r\n*0\r\n", "*1\r\n:1\r\n",
        // Entries that are none.
        "*1\r\n*2\r\n$3\r\n1-1\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        "*1\r\n*2\r\n$4\r\nnone\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*1\r\n*2\r\n$47\r\n11111111111111111111111-11111111111111111111111\r\n*0\r\n",
        "*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n", "*1\r\n*2\r\n$3\r\n1-1\r\n$1\r\na\r\n",
        "*1\r\n*1\r\n$3\r\n1-1\r\n", "*1\r\n*3\r\n$3\r\n1-1\r\n*0\r\n*0\r\n",
        "*1\r\n*2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$3\r\n1-1\r\n",
        "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n*0\r\n*0\r\n",
        "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n:1\r\n:2\r\n",
        "*1\r\n*2\r\n$3\r\n1-1\r\n*2000000000\r\n$1\r\na\r\n",
        "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$4\r\ntype\r\n$-1\r\n",
        // A scan that is none.
        "*2\r\n$1\r\n0\r\n$1\r\nx\r\n", "*2\r\n*0\r\n$1\r\n0\r\n", "*3\r\n$1\r\n0\r\n*0\r\n*0\r\n",
        "*2\r\n:0\r\n*1\r\n*1\r\n$1\r\na\r\n", "*2\r\n$2\r\n-1\r\n*0\r\n", "*2\r\n$-1\r\n*0\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n",
        // More than was asked for.
        "+OK\r\n+OK\r\n", ":1\r\n:1\r\n:1\r\n", "$3\r\n1-1\r\n$3\r\n1-2\r\n",
        "*0\r\n*0\r\n*0\r\n*0\r\n"};
    std::string deep;
    for (int i = 0; i < 100; ++i) deep += "*1\r\n";
    list->push_back(deep + ":1\r\n");
    list->push_back(std::string(100000, '*'));
    list->push_back("+" + std::string(1000000, 'x') + "\r\n");
    list->push_back("-ERR " + std::string(1000000, 'x') + "\r\n");
    return list;
  }();
  return *oddities;
}

bool IsDocumented(agx_status status) {
  return std::string_view(agx_status_string(status)) != "AGX_UNKNOWN" && status != AGX_ENOMEM &&
         status != AGX_ECLOSED && status != AGX_EINVAL;
}

// A call, the command whose reply it depends on, and which replies it may take for good.
struct Case {
  const char* name;
  const char* command;
  std::function<agx_status(agx_session*)> call;
  std::function<bool(const std::string& reply)> fits;
};

bool IsInteger(const std::string& reply) {
  return reply == ":0\r\n" || reply == ":-1\r\n" || reply == ":-9223372036854775808\r\n" ||
         reply == ":1\r\n:1\r\n:1\r\n";
}
bool IsNothing(const std::string& /*reply*/) { return false; }

// What a call returns once its command was answered in time.
template <class Function>
agx_status AfterTimeouts(Function call) {
  agx_status status = AGX_OK;
  EXPECT_TRUE(WaitUntil([&] {
    status = call();
    return status != AGX_ETIMEOUT && status != AGX_EUNCERTAIN;
  }));
  return status;
}

agx_status NextOf(agx_session* session) {
  Owned<agx_listener> listener = Listen(session);
  agx_event* event = nullptr;
  agx_status status = agx_listen_next(listener.get(), 20, &event);
  agx_event_free(event);
  return status;
}

std::vector<Case> Cases() {
  auto is_entries = [](const std::string& reply) { return reply.starts_with("*0\r\n"); };
  return {
      {"agx_start", "start",
       [](agx_session* session) {
         agx_start_options options = AGX_START_OPTIONS_INIT;
         options.detached = 1;
         return agx_start(session, &options);
       },
       IsNothing},
      {"agx_stop", "stop", [](agx_session* session) { return agx_stop(session, 0); }, IsNothing},
      {"agx_add", "XADD",
       [](agx_session* session) { return agx_add(session, "t", "o", "{}", nullptr); },
       [](const std::string& reply) { return reply == "$3\r\n1-1\r\n$3\r\n1-2\r\n"; }},
      {"agx_add_many", "XADD",
       [](agx_session* session) {
         agx_new_event events[3] = {{"t", "o", nullptr}, {"t", "o", nullptr}, {"t", "o", nullptr}};
         size_t added = 9;
         agx_status status = agx_add_many(session, events, 3, nullptr, &added);
         EXPECT_LE(added, 3U);
         return status;
       },
       [](const std::string& reply) { return reply == "$3\r\n1-1\r\n$3\r\n1-2\r\n"; }},
      {"agx_is_live", "PTTL",
       [](agx_session* session) {
         int live = 0;
         return agx_is_live(session, &live);
       },
       IsInteger},
      {"agx_renew", "extend", [](agx_session* session) { return agx_renew(session); }, IsInteger},
      {"agx_cancel", "cancel", [](agx_session* session) { return agx_cancel(session, nullptr); },
       IsInteger},
      {"agx_listen", "XREVRANGE",
       [](agx_session* session) {
         agx_listen_options options = Patient("new");
         agx_listener* listener = nullptr;
         agx_status status = agx_listen(session, &options, &listener);
         agx_listener_close(listener);
         return status;
       },
       [](const std::string& reply) {  // only the id matters
         return reply.starts_with("*0\r\n") || reply.starts_with("*1\r\n*2\r\n$3\r\n1-1\r\n");
       }},
      {"agx_listen_next", "XRANGE", [](agx_session* session) { return NextOf(session); },
       is_entries},
      {"agx_listen_next, following", "XREAD", [](agx_session* session) { return NextOf(session); },
       [](const std::string& reply) {
         return reply.starts_with("*-1") || reply.starts_with("$-1") || reply.starts_with("*0");
       }},
  };
}

class Hostile : public testing::Test {
 protected:
  OddServer server_;
};

// Also with a second command's replies behind, so that what is left of an odd one would be taken for them.
TEST_F(Hostile, EveryCallSurvivesEveryOddReply) {
  Owned<agx_client> client = OpenClient(server_.url());
  for (const Case& test : Cases()) {
    for (const std::string& reply : Oddities()) {
      std::string what =
          std::string(test.name) + " given " + testing::PrintToString(reply.substr(0, 80));
      Owned<agx_session> session = OpenSession(client.get(), "s");
      server_.Answer(test.command, reply);
      auto began = SteadyClock::now();
      agx_status status = test.call(session.get());
      EXPECT_LT(SteadyClock::now() - began, milliseconds(4000)) << what;
      EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
      if (!test.fits(reply)) {
        EXPECT_NE(status, AGX_OK) << what;
      }
      if (status != AGX_OK) {
        EXPECT_STRNE(agx_last_error(), "") << what;
      }
      // What was odd has gone with its connection. The timeout is short: a starved machine may miss
      // it, and only that is tried again.
      server_.Answer("", "");
      char id[AGX_ID_SIZE];
      int live = 0;
      status = AfterTimeouts([&] { return agx_is_live(session.get(), &live); });
      if (status != AGX_OK) status = agx_is_live(session.get(), &live);
      EXPECT_EQ(status, AGX_OK) << what << ": " << Explain(status);
      EXPECT_EQ(live, 1) << what;
      status = AfterTimeouts([&] { return agx_add(session.get(), "t", "o", "{}", id); });
      EXPECT_EQ(status, AGX_OK) << what << ": " << Explain(status);
    }
  }
}

class HostileToAMux : public Hostile, public testing::WithParamInterface<const char*> {};

TEST_P(HostileToAMux, ItSurvivesEveryOddReply) {
  const char* command = GetParam();
  Owned<agx_client> client = OpenClient(server_.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  agx_mux* mux = nullptr;
  Require(agx_mux_open(client.get(), &mux));
  Owned<agx_mux> owned_mux(mux);
  int n = 0;
  for (const std::string& reply : Oddities()) {
    std::string what =
        std::string(command) + " given " + testing::PrintToString(reply.substr(0, 80));
    Owned<agx_listener> listener = Listen(session.get());
    agx_listener* whose = nullptr;
    agx_event* event = nullptr;
    server_.Answer(command, reply);
    ASSERT_EQ(agx_mux_add(mux, listener.get()), AGX_OK) << what;
    agx_status status = agx_mux_next(mux, 10, &whose, &event);
    agx_event_free(event);
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
    server_.Answer("", "");
    server_.AddEntry(BodyOf({0, n++}));
    // Whatever it was, the listener gets on.
    Numbered heard;
    EXPECT_TRUE(WaitUntil([&] {
      server_.Push(Message(KeyOf("s")));
      status = agx_mux_next(mux, 100, &whose, &event);
      if (status == AGX_OK) ParseBody(agx_event_body(event, nullptr), &heard);
      agx_event_free(event);
      return heard.number == n - 1;
    })) << what
        << ": " << Explain(status);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, HostileToAMux, testing::Values("XRANGE", "PTTL", "EXISTS"),
                         [](const auto& command) { return std::string(command.param); });

TEST_F(Hostile, AQueryEndsWhateverIsSent) {
  Owned<agx_client> client = OpenClient(server_.url());
  for (const std::string& reply : Oddities()) {
    std::string what = testing::PrintToString(reply.substr(0, 80));
    agx_query* query = nullptr;
    Require(agx_query_open(client.get(), 1, 2, &query));
    Owned<agx_query> owned(query);
    server_.Answer("SCAN", reply);
    agx_status status = agx_query_next(query, nullptr, nullptr, nullptr);
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
    EXPECT_NE(status, AGX_OK) << what;
  }
}

TEST_F(Hostile, ALookBackEndsWhateverIsSent) {
  Owned<agx_client> client = OpenClient(server_.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  for (const std::string& reply : Oddities()) {
    std::string what = testing::PrintToString(reply.substr(0, 80));
    agx_event* events[2] = {nullptr, nullptr};
    size_t count = 0;
    server_.Answer("XRANGE", reply);
    agx_status status = agx_history_read(session.get(), nullptr, events, 2, &count);
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
    for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
    agx_history info = AGX_HISTORY_INIT;
    server_.Answer("XINFO", reply);
    status = agx_history_info(session.get(), &info);
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
    uint64_t removed = 0;
    server_.Answer("XTRIM", reply);
    status = agx_history_trim(session.get(), 1, nullptr, &removed);
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
    server_.Answer("EVAL", reply);
    status = agx_history_delete(session.get());
    EXPECT_TRUE(IsDocumented(status)) << what << ": " << Explain(status);
  }
}

TEST_F(Hostile, ARangeThatStandsStillIsAnError) {
  std::string entries = "*64\r\n";
  for (int i = 0; i < 64; ++i) entries += "*2\r\n" + Bulk("5-" + std::to_string(i + 1)) + "*0\r\n";
  server_.Answer("XRANGE", entries);
  Owned<agx_client> client = OpenClient(server_.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.where = "type = \"none\"";
  agx_event* event = nullptr;
  size_t count = 0;
  EXPECT_EQ(agx_history_read(session.get(), &options, &event, 1, &count), AGX_EPROTOCOL)
      << agx_last_error();
}

TEST_F(Hostile, AScanThatStandsStillIsAnError) {
  server_.Answer("SCAN", "*2\r\n" + Bulk("17") + "*0\r\n");
  Owned<agx_client> client = OpenClient(server_.url());
  agx_query* query = nullptr;
  Require(agx_query_open(client.get(), 1, 2, &query));
  Owned<agx_query> owned(query);
  EXPECT_EQ(agx_query_next(query, nullptr, nullptr, nullptr), AGX_EPROTOCOL) << agx_last_error();
}

TEST_F(Hostile, AScanWithoutEndCanBeClosed) {
  std::atomic<int> cursor{0};
  server_.Answer("SCAN", [&] { return "*2\r\n" + Bulk(std::to_string(++cursor)) + "*0\r\n"; });
  Owned<agx_client> client = OpenClient(server_.url());
  agx_query* query = nullptr;
  Require(agx_query_open(client.get(), 1, 2, &query));
  agx_status status = AGX_OK;
  std::thread asking([&] { status = agx_query_next(query, nullptr, nullptr, nullptr); });
  EXPECT_TRUE(WaitUntil([&] { return cursor > 100; }));
  agx_query_close(query);
  asking.join();
  EXPECT_EQ(status, AGX_ECLOSED);
}

TEST_F(Hostile, OpeningSurvivesEveryOddReply) {
  for (const char* command : {"INFO", "CLIENT", "SELECT", "AUTH"}) {
    for (const std::string& reply : Oddities()) {
      server_.Answer(command, reply);
      std::string url = server_.url() + "&user=u";
      url.insert(url.find('?'), "/3");
      agx_options options = AGX_OPTIONS_INIT;
      options.password = "p";
      agx_client* client = nullptr;
      agx_status status = agx_open(url.c_str(), &options, &client);
      EXPECT_TRUE(IsDocumented(status) || status == AGX_EINVAL) << Explain(status);
      agx_close(client);
    }
  }
}

// What is said through the bell's connection, and what nobody has asked for on any other.
TEST_F(Hostile, OddMessagesRingNothingAndLoseNothing) {
  Owned<agx_client> client = OpenClient(server_.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Owned<agx_listener> listener = Listen(session.get());
  agx_mux* mux = nullptr;
  Require(agx_mux_open(client.get(), &mux));
  Owned<agx_mux> owned_mux(mux);
  Require(agx_mux_add(mux, listener.get()));
  const std::string message = Bulk("message") + Bulk("__redis__:invalidate");
  std::vector<std::string> pushes = {
      "*3\r\n" + message + "$-1\r\n",
      "*3\r\n" + message + "*1\r\n$-1\r\n",
      "*3\r\n" + message + "*1\r\n:5\r\n",
      "*3\r\n" + message + "*1\r\n*1\r\n" + Bulk("k"),
      "*3\r\n" + message + ":7\r\n",
      "*2\r\n" + message,
      "*3\r\n" + message + "*0\r\n",
      "*3\r\n" + message + "*-1\r\n",
      "*3\r\n" + message + Bulk("x"),
      "*4\r\n" + message + Bulk("x") + Bulk("y"),
      "*3\r\n" + message + "*1\r\n" + Bulk(std::string(100000, 'k')),
      "*3\r\n" + Bulk("message") + Bulk("agx:canceled") + Bulk("no token"),
      "*3\r\n" + Bulk("message") + Bulk("agx:canceled") + Bulk(""),
      "*3\r\n" + Bulk("message") + Bulk("agx:canceled") + "*2\r\n:1\r\n:2\r\n"};
  pushes.insert(pushes.end(), Oddities().begin(), Oddities().end());
  int n = 0;
  for (const std::string& push : pushes) {
    std::string what = testing::PrintToString(push.substr(0, 80));
    server_.Push(push);
    server_.AddEntry(BodyOf({0, n++}));
    Numbered heard;
    agx_status status = AGX_OK;
    EXPECT_TRUE(WaitUntil([&] {
      server_.Push(Message(KeyOf("s")));
      agx_event* event = nullptr;
      agx_listener* whose = nullptr;
      status = agx_mux_next(mux, 100, &whose, &event);
      Numbered next;
      if (status == AGX_OK) {
        ParseBody(agx_event_body(event, nullptr), &next);
        EXPECT_EQ(next.number, heard.number < 0 ? n - 1 : heard.number + 1) << what;
        heard = next;
      }
      agx_event_free(event);
      return heard.number == n - 1;
    })) << what
        << ": " << Explain(status);
    ASSERT_FALSE(HasFailure());
  }
}

// It may send on and on: what is kept of it has a bound.
TEST_F(Hostile, AReplyWithoutEndIsCutOff) {
  std::string endless = "*1000000000\r\n";
  for (int i = 0; i < 1000000; ++i) endless += ":1\r\n";
  Owned<agx_client> client = OpenClient(server_.url(10000));
  Owned<agx_session> session = OpenSession(client.get(), "s");
  int live = 0;
  server_.Answer("PTTL", endless);
  EXPECT_EQ(agx_is_live(session.get(), &live), AGX_EPROTOCOL) << agx_last_error();
  agx_query* query = nullptr;
  Require(agx_query_open(client.get(), 1, 2, &query));
  Owned<agx_query> owned(query);
  server_.Answer("SCAN", endless);
  EXPECT_EQ(agx_query_next(query, nullptr, nullptr, nullptr), AGX_EPROTOCOL) << agx_last_error();
}

// Before any of it has come, and without waiting for it.
TEST_F(Hostile, ATextLongerThanAnyIsRefusedWhenItIsAnnounced) {
  Owned<agx_client> client = OpenClient(server_.url(60000));
  const std::string huge = "$1000000000\r\nabc";
  for (const Case& test : Cases()) {
    Owned<agx_session> session = OpenSession(client.get(), "s");
    for (const std::string& reply : {huge, "*1\r\n*2\r\n" + Bulk("1-1") + "*2\r\n" + huge}) {
      server_.Answer(test.command, reply);
      auto began = SteadyClock::now();
      agx_status status = AGX_TIMEOUT;
      EXPECT_TRUE(WaitUntil([&] {  // of a follow the reply comes later
        status = test.call(session.get());
        return status != AGX_TIMEOUT;
      })) << test.name;
      // What wrote may have written.
      EXPECT_TRUE(status == AGX_EPROTOCOL || status == AGX_EUNCERTAIN)
          << test.name << ": " << Explain(status);
      EXPECT_LT(SteadyClock::now() - began, milliseconds(10000)) << test.name;
    }
  }
}

}  // namespace
}  // namespace agx::test
