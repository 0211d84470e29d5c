// ctest-labels: redis threads
// ctest-timeout: 120
// Clients through the C API: opening, closing, statuses, the log, and handles of every state.
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// The status of an open that is to fail.
agx_status OpenStatus(const std::string& url, const agx_options* options = nullptr) {
  int dummy = 0;
  auto* client = reinterpret_cast<agx_client*>(&dummy);
  agx_status status = agx_open(url.c_str(), options, &client);
  if (status != AGX_OK) {
    EXPECT_EQ(client, nullptr);
    EXPECT_STRNE(agx_last_error(), "");
  } else {
    agx_close(client);
  }
  return status;
}

void SetEnvironmentUrl(const char* url) {
  if (url != nullptr) {
    setenv("AGX_URL", url, 1);  // NOLINT(concurrency-mt-unsafe)
  } else {
    unsetenv("AGX_URL");  // NOLINT(concurrency-mt-unsafe)
  }
}

// --- Version and status

TEST(CapiVersion, OfTheHeaderAndOfTheLibrary) {
  EXPECT_EQ(agx_version(), AGX_VERSION_NUMBER);
  std::string text = std::to_string(AGX_VERSION_MAJOR) + "." + std::to_string(AGX_VERSION_MINOR) +
                     "." + std::to_string(AGX_VERSION_PATCH);
  EXPECT_THAT(agx_version_string(), StartsWith(text + " ("));
  EXPECT_THAT(agx_version_string(), HasSubstr("hiredis"));
}

TEST(CapiStatus, EveryOneHasItsName) {
  const std::map<int, std::string> names = {{0, "AGX_OK"},
                                            {1, "AGX_TIMEOUT"},
                                            {2, "AGX_ENDED"},
                                            {3, "AGX_ABSENT"},
                                            {4, "AGX_SILENT"},
                                            {5, "AGX_GONE"},
                                            {6, "AGX_GAP"},
                                            {7, "AGX_INTERRUPTED"},
                                            {8, "AGX_LIMIT"},
                                            {9, "AGX_CANCELED"},
                                            {10, "AGX_TAKEN_OVER"},
                                            {11, "AGX_NOT_LIVE"},
                                            {12, "AGX_NONE"},
                                            {13, "AGX_BEHIND"},
                                            {14, "AGX_SWALLOWED"},
                                            {-1, "AGX_EINVAL"},
                                            {-2, "AGX_ENOMEM"},
                                            {-3, "AGX_ECLOSED"},
                                            {-4, "AGX_EBUSY"},
                                            {-5, "AGX_ECONNECT"},
                                            {-6, "AGX_ETIMEOUT"},
                                            {-7, "AGX_EUNCERTAIN"},
                                            {-8, "AGX_EAUTH"},
                                            {-9, "AGX_EDENIED"},
                                            {-10, "AGX_EUNSUPPORTED"},
                                            {-11, "AGX_ETYPE"},
                                            {-12, "AGX_EFULL"},
                                            {-13, "AGX_EREADONLY"},
                                            {-14, "AGX_ELOADING"},
                                            {-15, "AGX_EPROTOCOL"},
                                            {-16, "AGX_ESERVER"},
                                            {-17, "AGX_ETOOBIG"},
                                            {-18, "AGX_EJSON"},
                                            {-19, "AGX_ESYSTEM"},
                                            {-20, "AGX_ESTATE"},
                                            {-21, "AGX_ECONFLICT"},
                                            {-22, "AGX_EMODEL"},
                                            {-23, "AGX_EFAILED"}};
  for (const auto& [value, name] : names) {
    EXPECT_EQ(agx_status_string(static_cast<agx_status>(value)), name);
  }
  for (int value : {15, -24}) {
    EXPECT_STREQ(agx_status_string(static_cast<agx_status>(value)), "AGX_UNKNOWN");
  }
}

TEST(CapiStatus, TheLastErrorIsThisThreads) {
  EXPECT_STREQ(agx_last_error(), "");
  EXPECT_EQ(OpenStatus("nonsense"), AGX_EINVAL);
  std::string mine = agx_last_error();
  EXPECT_NE(mine, "");
  std::thread([&] {
    EXPECT_STREQ(agx_last_error(), "");
    EXPECT_EQ(OpenStatus("memory:?lease=1"), AGX_EINVAL);
    EXPECT_NE(agx_last_error(), mine);
  }).join();
  EXPECT_EQ(agx_last_error(), mine);
  // It explains the last status that was not AGX_OK.
  ClientPtr client = OpenClient("memory:");
  EXPECT_EQ(agx_last_error(), mine);
}

// --- URLs

TEST(CapiUrl, MalformedOnesAreRefusedAndThePartNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"nonsense", ""},
      {"http://127.0.0.1", "redis://"},

      {"redis://host:port", "port"},
      {"redis://host:70000", "port"},
      {"redis://host/x", "database"},
      {"redis://host?colour=blue", "colour"},
      {"redis://host?lease=soon", "lease"},
      {"redis://host?lease=99", "lease"},
      {"redis://[::1", ""},
      {"unix://", "unix:///"},
      {"memory:a/b?prefix=", "prefix"},
      {"redis://host?client_name=a%20b", "client_name"}};
  for (const auto& [url, part] : cases) {
    EXPECT_EQ(OpenStatus(url), AGX_EINVAL) << url;
    EXPECT_THAT(agx_last_error(), HasSubstr(part)) << url;
  }
}

TEST(CapiUrl, NullIsTheEnvironments) {
  SetEnvironmentUrl("memory:environment");
  agx_client* client = nullptr;
  ASSERT_EQ(agx_open(nullptr, nullptr, &client), AGX_OK);
  ClientPtr owned(client);
  SessionPtr session = Started(owned);
  ClientPtr same = OpenClient("memory:environment");
  EXPECT_TRUE(IsLive(OpenSession(same)));
  SetEnvironmentUrl("nonsense");
  EXPECT_EQ(agx_open(nullptr, nullptr, &client), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("AGX_URL"));
  EXPECT_EQ(client, nullptr);
  SetEnvironmentUrl(nullptr);
}

TEST(CapiUrl, MemoryStoresOfANameAreOne) {
  ClientPtr one = OpenClient("memory:one");
  ClientPtr same = OpenClient("memory:one");
  ClientPtr two = OpenClient("memory:two");
  ClientPtr unnamed = OpenClient("memory:");
  SessionPtr session = Started(one);
  EXPECT_TRUE(IsLive(OpenSession(same)));
  EXPECT_FALSE(IsLive(OpenSession(two)));
  EXPECT_FALSE(IsLive(OpenSession(unnamed)));
  one.reset();
  EXPECT_TRUE(IsLive(OpenSession(same)));
  same.reset();
  session.reset();
  same = OpenClient("memory:one");
  EXPECT_FALSE(IsLive(OpenSession(same)));
  EXPECT_THAT(Stored(OpenSession(same)), IsEmpty());
}

TEST(CapiUrl, NobodyListensThere) {
  agx_options options = AGX_OPTIONS_INIT;
  options.connect_timeout_ms = 2000;
  uint16_t port = 0;
  { Fd closed = ListenOnLoopback(&port); }
  std::string host = "127.0.0.1:" + std::to_string(port);
  Stopwatch watch;
  EXPECT_EQ(OpenStatus("redis://" + host, &options), AGX_ECONNECT);
  EXPECT_THAT(agx_last_error(), HasSubstr(host));
  EXPECT_EQ(OpenStatus("unix:///no/such/socket", &options), AGX_ECONNECT);
  EXPECT_THAT(agx_last_error(), HasSubstr("/no/such/socket"));
  EXPECT_EQ(OpenStatus("redis://no-such-host.invalid", &options), AGX_ECONNECT);
  EXPECT_THAT(agx_last_error(), HasSubstr("no-such-host.invalid"));
  EXPECT_EQ(OpenStatus("redis://[::1]:" + std::to_string(port), &options), AGX_ECONNECT);
  EXPECT_LE(watch.ms(), 4 * 2000 + kAtOnceMs);
}

// Whatever of opening it is that takes so long.
TEST(CapiUrl, SomebodyListensButSaysNothing) {
  uint16_t port = 0;
  Fd silent = ListenOnLoopback(&port);
  std::string host = "127.0.0.1:" + std::to_string(port);
  agx_options options = AGX_OPTIONS_INIT;
  options.connect_timeout_ms = 300;
  options.command_timeout_ms = 60000;
  std::vector<std::string> urls = {"redis://" + host, "redis://u:p@" + host + "/3"};
#ifdef AGX_HAVE_TLS
  urls.push_back("rediss://" + host);
#endif
  for (const std::string& url : urls) {
    Stopwatch watch;
    EXPECT_EQ(OpenStatus(url, &options), AGX_ETIMEOUT) << url;
    EXPECT_THAT(agx_last_error(), HasSubstr("300 ms"));
    EXPECT_GE(watch.ms(), 290);
    EXPECT_LE(watch.ms(), 300 + kAtOnceMs);
  }
}

class CapiClientRedis : public OnRedis {};

TEST_F(CapiClientRedis, UnixSocketsAndDatabases) {
  SessionPtr session = Started(client_);
  ClientPtr by_socket = OpenClient(server_.unix_url());
  EXPECT_TRUE(IsLive(OpenSession(by_socket)));
  ClientPtr third = OpenClient(server_.url() + "/3");
  EXPECT_FALSE(IsLive(OpenSession(third)));
  ClientPtr third_by_socket = OpenClient(server_.unix_url() + "?db=3");
  SessionPtr in_third = Started(third, "third");
  EXPECT_TRUE(IsLive(OpenSession(third_by_socket, "third")));
  EXPECT_FALSE(IsLive(OpenSession(client_, "third")));
  EXPECT_THAT(Follow(Listen(OpenSession(third_by_socket, "third")), 0),
              ElementsAre("begin", "AGX_TIMEOUT"));
  // A cancel is heard in its database too.
  ASSERT_EQ(agx_cancel(OpenSession(third_by_socket, "third").get(), nullptr), AGX_OK);
  EXPECT_EQ(agx_wait_canceled(in_third.get(), kPatienceMs), AGX_OK);
  EXPECT_EQ(OpenStatus(server_.url() + "/99"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("99"));
}

TEST(CapiClient, IPv6) {
  RedisServer server({.args = {"--bind", "127.0.0.1", "::1"}, .append_only = false});
  ClientPtr client = OpenClient("redis://[::1]:" + std::to_string(server.port()));
  SessionPtr session = Started(client);
  EXPECT_EQ(server.Command({"EXISTS", "agx:1:2:s:live"}), "1");
}

#ifdef AGX_HAVE_TLS
TEST_F(CapiClientRedis, AServerThatDoesNotSpeakTlsIsSaidNotTo) {
  agx_options options = AGX_OPTIONS_INIT;
  options.connect_timeout_ms = 1000;
  options.reconnect_timeout_ms = -1;
  EXPECT_THAT(OpenStatus("rediss://127.0.0.1:" + std::to_string(server_.port()), &options),
              AnyOf(AGX_ECONNECT, AGX_EPROTOCOL, AGX_ETIMEOUT));
  EXPECT_THAT(agx_last_error(), HasSubstr("TLS"));
}
#else
TEST(CapiUrl, WithoutTlsNothingIsConnected) {
  FakeServer server([](int, const std::vector<std::string>&) -> FakeReply { return "+OK\r\n"; });
  EXPECT_EQ(OpenStatus("rediss://127.0.0.1:" + std::to_string(server.port())), AGX_EUNSUPPORTED);
  EXPECT_THAT(agx_last_error(), HasSubstr("TLS"));
  EXPECT_EQ(OpenStatus("rediss://no-such-host.invalid"), AGX_EUNSUPPORTED);
  EXPECT_EQ(server.connections(), 0);
}
#endif

TEST_F(CapiClientRedis, PrefixesAreApart) {
  SessionPtr session = Started(client_);
  ClientPtr pyaix = Open("prefix=pyaix");
  EXPECT_FALSE(IsLive(OpenSession(pyaix)));
  SessionPtr other = Started(pyaix);
  EXPECT_EQ(Raw({"EXISTS", "pyaix:1:2:s", "pyaix:1:2:s:live", "agx:1:2:s"}), "3");
  agx_options options = AGX_OPTIONS_INIT;
  options.prefix = "from options";
  ClientPtr third = OpenClient(server_.url(), &options);
  SessionPtr in_third = Started(third);
  EXPECT_EQ(Raw({"EXISTS", "from options:1:2:s"}), "1");
  // What the URL says wins.
  ClientPtr fourth = OpenClient(server_.url() + "?prefix=pyaix", &options);
  EXPECT_TRUE(IsLive(OpenSession(fourth)));
}

TEST_F(CapiClientRedis, ItsNameIsInTheServersList) {
  EXPECT_THAT(Raw({"CLIENT", "LIST"}), HasSubstr("name=agx"));
  ClientPtr named = Open("client_name=the%2Dname");
  EXPECT_THAT(Raw({"CLIENT", "LIST"}), HasSubstr("name=the-name"));
}

TEST_F(CapiClientRedis, ClosedItHasNoConnectionsLeft) {
  auto connected = [&] {
    std::string list = Raw({"CLIENT", "LIST"});
    size_t count = 0;
    for (size_t at = 0; (at = list.find("name=mine", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  ClientPtr client = Open("client_name=mine");
  SessionPtr session = Started(client);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).type(), "begin");
  EXPECT_EQ(Next(listener, 20).status, AGX_TIMEOUT);
  EXPECT_GE(connected(), 1U);
  client.reset();
  EXPECT_TRUE(WaitUntil([&] { return connected() == 0; }));
}

// --- Passwords

TEST(CapiPassword, WrongOrMissing) {
  RedisServer server({.args = {"--requirepass", "right-secret"}, .append_only = false});
  std::string host = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(OpenStatus("redis://" + host), AGX_EAUTH);
  EXPECT_THAT(agx_last_error(), HasSubstr("password"));
  EXPECT_EQ(OpenStatus("redis://:wrong-secret@" + host), AGX_EAUTH);
  EXPECT_THAT(agx_last_error(), Not(HasSubstr("wrong-secret")));
  EXPECT_THAT(agx_last_error(), HasSubstr(host));
  EXPECT_EQ(OpenStatus("redis://nobody:wrong-secret@" + host), AGX_EAUTH);
  EXPECT_THAT(agx_last_error(), Not(HasSubstr("wrong-secret")));
  EXPECT_EQ(OpenStatus("redis://:right-secret@" + host), AGX_OK);
  EXPECT_EQ(OpenStatus("redis://:right%2Dsecret@" + host), AGX_OK);
  agx_options options = AGX_OPTIONS_INIT;
  options.password = "right-secret";
  EXPECT_EQ(OpenStatus("redis://" + host, &options), AGX_OK);
  options.password = "wrong-secret";
  EXPECT_EQ(OpenStatus("redis://" + host, &options), AGX_EAUTH);
  EXPECT_EQ(OpenStatus("redis://:right-secret@" + host, &options), AGX_OK);
}

TEST(CapiPassword, OfAUser) {
  RedisServer server;
  ASSERT_EQ(server.Command({"ACL", "SETUSER", "agent", "on", ">s3cret", "~*", "&*", "+@all"}),
            "OK");
  std::string host = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(OpenStatus("redis://agent:s3cret@" + host), AGX_OK);
  EXPECT_EQ(OpenStatus("redis://agent:other@" + host), AGX_EAUTH);
  EXPECT_EQ(OpenStatus("redis://agent:s3cret@" + host + "?user=other"), AGX_EINVAL);  // which?
  agx_options options = AGX_OPTIONS_INIT;
  options.user = "agent";
  options.password = "s3cret";
  EXPECT_EQ(OpenStatus("redis://" + host, &options), AGX_OK);
}

TEST(CapiPassword, AUserWhoMayNotDoWhatIsNeeded) {
  RedisServer server;
  ASSERT_EQ(server.Command({"ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read",
                            "+@connection", "+info", "-@write"}),
            "OK");
  ASSERT_EQ(server.Command({"ACL", "SETUSER", "fenced", "on", ">pw", "~other:*", "&*", "+@all"}),
            "OK");
  for (const char* user : {"reader", "fenced"}) {
    ClientPtr client = OpenClient("redis://" + std::string(user) +
                                  ":pw@127.0.0.1:" + std::to_string(server.port()));
    ASSERT_NE(client, nullptr);
    SessionPtr session = OpenSession(client);
    EXPECT_EQ(agx_add(session.get(), "t", "o", "{}", nullptr), AGX_EDENIED) << user;
    EXPECT_STRNE(agx_last_error(), "");
    EXPECT_EQ(agx_start(session.get(), nullptr), AGX_EDENIED) << user;
    EXPECT_EQ(agx_cancel(session.get(), nullptr), AGX_EDENIED) << user;
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_EDENIED) << user;
  }
  EXPECT_EQ(server.Command({"DBSIZE"}), "0");
}

// What stands before the number of a database is not for want of the database.
TEST(CapiPassword, WrongOrMissingWhereADatabaseIsNamed) {
  RedisServer server({.args = {"--requirepass", "right-secret"}, .append_only = false});
  std::string host = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(OpenStatus("redis://" + host + "/3"), AGX_EAUTH) << agx_last_error();
  EXPECT_THAT(agx_last_error(), HasSubstr("password"));
  EXPECT_EQ(OpenStatus("redis://:wrong-secret@" + host + "/3"), AGX_EAUTH);
  EXPECT_EQ(OpenStatus("redis://:right-secret@" + host + "/3"), AGX_OK);
  EXPECT_EQ(OpenStatus("redis://:right-secret@" + host + "/9999"), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("database 9999"));
  RespConnection raw = server.Connect();
  raw.Command({"AUTH", "right-secret"});
  raw.Command({"ACL", "SETUSER", "fenced", "on", ">pw", "~*", "&*", "+@all", "-select"});
  EXPECT_EQ(OpenStatus("redis://fenced:pw@" + host + "/3"), AGX_EDENIED);
  EXPECT_EQ(OpenStatus("redis://fenced:pw@" + host), AGX_OK);
}

TEST(CapiPassword, NeverInTheLog) {
  RedisServer server({.args = {"--requirepass", "right-secret"}, .append_only = false});
  struct Lines {
    std::mutex mutex;
    std::vector<std::string> all;
  } lines;
  agx_options options = AGX_OPTIONS_INIT;
  options.log_level = AGX_LOG_DEBUG;
  options.log_data = &lines;
  options.log = [](void* data, agx_log_level, const char* message) {
    auto* to = static_cast<Lines*>(data);
    std::lock_guard lock(to->mutex);
    to->all.emplace_back(message);
  };
  options.reconnect_timeout_ms = 5000;
  std::string host = "127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(OpenStatus("redis://:wrong-secret@" + host, &options), AGX_EAUTH);
  {
    ClientPtr client = OpenClient("redis://:right-secret@" + host, &options);
    SessionPtr session = Started(client);
    server.Kill9();
    server.Restart();
    EXPECT_TRUE(
        WaitUntil([&] { return agx_add(session.get(), "t", "o", nullptr, nullptr) == AGX_OK; }));
  }
  std::lock_guard lock(lines.mutex);
  EXPECT_THAT(lines.all, Not(IsEmpty()));
  for (const std::string& line : lines.all) {
    EXPECT_THAT(line, Not(HasSubstr("secret")));
    EXPECT_THAT(line, Not(HasSubstr("\n")));
  }
}

// --- Servers that are not as they should be

// Answers as a server of that version whose every other reply is `reply`.
FakeServer::Handler Version(const std::string& version, const std::string& reply = "+OK\r\n") {
  return [=](int, const std::vector<std::string>& command) -> FakeReply {
    if (command[0] == "INFO" || command[0] == "info") {
      std::string info = "# Server\r\nredis_version:" + version + "\r\n";
      return "$" + std::to_string(info.size()) + "\r\n" + info + "\r\n";
    }
    return reply;
  };
}

TEST(CapiServer, TooOld) {
  for (const char* version : {"5.0.14", "6.0.16", "2.8.0"}) {
    FakeServer server(Version(version));
    EXPECT_EQ(OpenStatus(server.url()), AGX_EUNSUPPORTED);
    EXPECT_THAT(agx_last_error(), HasSubstr("6.2"));
  }
}

TEST(CapiServer, StillLoading) {
  // As a real one: while it loads it answers INFO, but does nothing with keys.
  FakeServer server(Version("7.0.0", "-LOADING Redis is loading the dataset in memory\r\n"));
  agx_options options = AGX_OPTIONS_INIT;
  options.reconnect_timeout_ms = 300;
  ClientPtr client = OpenClient(server.url(), &options);
  SessionPtr session = OpenSession(client);
  int live = 0;
  Stopwatch watch;
  EXPECT_EQ(agx_is_live(session.get(), &live), AGX_ELOADING);
  EXPECT_EQ(agx_add(session.get(), "t", "o", "{}", nullptr), AGX_ELOADING);
  EXPECT_THAT(agx_last_error(), HasSubstr("load"));
  EXPECT_LE(watch.ms(), 2 * 300 + kAtOnceMs);
}

TEST(CapiServer, NotItsProtocol) {
  for (const char* reply :
       {"HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x01\r\n", "*-7\r\n", "$x\r\n"}) {
    FakeServer server([=](int, const std::vector<std::string>&) -> FakeReply { return reply; });
    agx_options options = AGX_OPTIONS_INIT;
    options.connect_timeout_ms = 1000;
    options.reconnect_timeout_ms = -1;
    EXPECT_THAT(OpenStatus(server.url(), &options), AnyOf(AGX_EPROTOCOL, AGX_ECONNECT)) << reply;
  }
}

// --- Sharing a client

// What it logs to may go then.
TEST(CapiClient, NothingIsLoggedOnceItIsClosed) {
  RedisServer server;
  FaultProxy proxy(server.port());
  struct Seen {
    std::atomic<bool> inside{false};
    std::atomic<bool> closing{false};
  } seen;
  agx_options options = AGX_OPTIONS_INIT;
  options.log_data = &seen;
  options.log = [](void* data, agx_log_level, const char*) {
    auto* to = static_cast<Seen*>(data);
    to->inside = true;
    EXPECT_TRUE(WaitUntil([&] { return to->closing.load(); }));
    // As long as a close that does not wait for this would take.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    to->inside = false;
  };
  ClientPtr client = OpenClient(proxy.url(), &options);
  SessionPtr session = OpenSession(client);
  proxy.RefuseConnections(true);
  proxy.CutAll();
  // There is no connection to be had, which is logged in its thread.
  std::thread adder([&] {
    int live = 0;
    EXPECT_NE(agx_is_live(session.get(), &live), AGX_OK);
  });
  EXPECT_TRUE(WaitUntil([&] { return seen.inside.load(); }));
  seen.closing = true;
  client.reset();
  EXPECT_FALSE(seen.inside);
  adder.join();
}

TEST(CapiClient, TheLogIsToldOneLineAtATime) {
  RedisServer server;
  FaultProxy proxy(server.port());
  proxy.RefuseCommand("CLIENT TRACKING", "ERR unknown command");
  struct Seen {
    std::atomic<int> inside{0};
    std::atomic<int> lines{0};
    std::atomic<bool> overlapped{false};
    std::mutex mutex;
    std::string text;
  } seen;
  agx_options options = AGX_OPTIONS_INIT;
  options.log_level = AGX_LOG_DEBUG;
  options.log_data = &seen;
  options.log = [](void* data, agx_log_level, const char* message) {
    auto* to = static_cast<Seen*>(data);
    if (to->inside.fetch_add(1) != 0) to->overlapped = true;
    {
      std::lock_guard lock(to->mutex);
      to->text += std::string(message) + "\n";
    }
    to->lines.fetch_add(1);
    to->inside.fetch_sub(1);
  };
  {
    ClientPtr client = OpenClient(proxy.url(), &options);
    SessionPtr session = Started(client);
    // Without tracking it still works.
    InThreads(6, [&](int i) {
      SessionPtr own = Started(client, std::to_string(i));
      Add(own, "a");
      EXPECT_EQ(Next(Listen(own)).type(), "begin");
      EXPECT_EQ(agx_stop(own.get(), -1), AGX_OK);
    });
    ASSERT_EQ(agx_cancel(OpenSession(client).get(), nullptr), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
  }
  EXPECT_FALSE(seen.overlapped);
  EXPECT_THAT(seen.text, HasSubstr("tracking"));
}

TEST_F(CapiClientRedis, AThousandSessionsAndListenersShareFewConnections) {
  ClientPtr client = Open("client_name=mine");
  std::vector<SessionPtr> sessions;
  std::vector<ListenerPtr> listeners;
  for (int i = 0; i < 300; ++i) {
    sessions.push_back(Started(client, std::to_string(i)));
    listeners.push_back(Listen(sessions.back()));
    int fd = -1;
    ASSERT_EQ(agx_listener_fd(listeners.back().get(), &fd), AGX_OK);
  }
  for (const ListenerPtr& listener : listeners) EXPECT_EQ(Next(listener).type(), "begin");
  std::string list = Raw({"CLIENT", "LIST"});
  size_t count = 0;
  for (size_t at = 0; (at = list.find("name=mine", at)) != std::string::npos; ++at) ++count;
  EXPECT_LE(count, 4U);
}

// --- After the close, and what is not a handle

class CapiHandles : public OnEachStore {};
AGX_ON_EACH_STORE(CapiHandles);

// Every function that takes such a handle, which is not one or no more.
void ExpectClient(agx_client* client, agx_status expected) {
  agx_session* session = nullptr;
  agx_mux* mux = nullptr;
  agx_query* query = nullptr;
  EXPECT_EQ(agx_session_open(client, 1, 2, "s", &session), expected);
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(agx_mux_open(client, &mux), expected);
  EXPECT_EQ(mux, nullptr);
  EXPECT_EQ(agx_query_open(client, AGX_ANY, AGX_ANY, &query), expected);
  EXPECT_EQ(query, nullptr);
}

void ExpectSession(agx_session* session, agx_status expected) {
  agx_new_event event = {"t", "o", "{}"};
  char id[AGX_ID_SIZE] = "?";
  size_t added = 9;
  int flag = 9;
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_start(session, nullptr), expected);
  EXPECT_EQ(agx_stop(session, -1), expected);
  EXPECT_EQ(agx_add(session, "t", "o", "{}", id), expected);
  EXPECT_STREQ(id, "");
  EXPECT_EQ(agx_add_many(session, &event, 1, id, &added), expected);
  EXPECT_EQ(added, 0U);
  EXPECT_EQ(agx_add_error(session, "o", "{}", id), expected);
  EXPECT_EQ(agx_add_info(session, "o", "{}", id), expected);
  EXPECT_EQ(agx_is_live(session, &flag), expected);
  EXPECT_EQ(flag, 0);
  EXPECT_EQ(agx_renew(session), expected);
  EXPECT_EQ(agx_cancel(session, &(flag = 9)), expected);
  EXPECT_EQ(flag, 0);
  EXPECT_EQ(agx_wait_canceled(session, -1), expected);
  EXPECT_EQ(agx_listen(session, nullptr, &listener), expected);
  EXPECT_EQ(listener, nullptr);
}

void ExpectListener(agx_listener* listener, agx_status expected) {
  agx_event* events[2] = {};
  size_t count = 9;
  EXPECT_EQ(agx_listen_next(listener, -1, events), expected);
  EXPECT_EQ(events[0], nullptr);
  EXPECT_EQ(agx_listen_next_many(listener, -1, events, 2, &count), expected);
  EXPECT_EQ(count, 0U);
}

void ExpectMux(agx_mux* mux, agx_status expected) {
  agx_event* event = nullptr;
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_mux_next(mux, -1, &listener, &event), expected);
  EXPECT_EQ(event, nullptr);
  EXPECT_EQ(listener, nullptr);
}

struct Handles {
  agx_client* client = nullptr;
  agx_session* session = nullptr;
  agx_listener* listener = nullptr;
  agx_mux* mux = nullptr;
  agx_query* query = nullptr;

  explicit Handles(const std::string& url) {
    EXPECT_EQ(agx_open(url.c_str(), nullptr, &client), AGX_OK);
    EXPECT_EQ(agx_session_open(client, 1, 2, "s", &session), AGX_OK);
    EXPECT_EQ(agx_listen(session, nullptr, &listener), AGX_OK);
    EXPECT_EQ(agx_mux_open(client, &mux), AGX_OK);
    EXPECT_EQ(agx_query_open(client, AGX_ANY, AGX_ANY, &query), AGX_OK);
  }
  void Close() const {
    agx_query_close(query);
    agx_mux_close(mux);
    agx_listener_close(listener);
    agx_session_close(session);
    agx_close(client);
  }
};

TEST_P(CapiHandles, UsedAfterTheClose) {
  Handles handles(url());
  handles.Close();
  ExpectClient(handles.client, AGX_ECLOSED);
  ExpectSession(handles.session, AGX_ECLOSED);
  EXPECT_EQ(agx_is_canceled(handles.session), 1);
  ExpectListener(handles.listener, AGX_ECLOSED);
  int fd = 9;
  char position[AGX_ID_SIZE] = "?";
  EXPECT_EQ(agx_listener_interrupt(handles.listener), AGX_ECLOSED);
  EXPECT_EQ(agx_listener_fd(handles.listener, &fd), AGX_ECLOSED);
  EXPECT_EQ(agx_listener_position(handles.listener, position), AGX_ECLOSED);
  EXPECT_EQ(agx_listener_gone(handles.listener), AGX_GONE_NOT);
  EXPECT_EQ(agx_listener_set_data(handles.listener, &fd), AGX_ECLOSED);
  EXPECT_EQ(agx_listener_data(handles.listener), nullptr);
  ExpectMux(handles.mux, AGX_ECLOSED);
  EXPECT_EQ(agx_mux_add(handles.mux, handles.listener), AGX_ECLOSED);
  EXPECT_EQ(agx_mux_remove(handles.mux, handles.listener), AGX_ECLOSED);
  EXPECT_EQ(agx_mux_interrupt(handles.mux), AGX_ECLOSED);
  EXPECT_EQ(agx_mux_fd(handles.mux, &fd), AGX_ECLOSED);
  EXPECT_EQ(agx_query_next(handles.query, nullptr, nullptr, nullptr), AGX_ECLOSED);
  EXPECT_STRNE(agx_last_error(), "");
}

TEST_P(CapiHandles, ClosedTwice) {
  Handles handles(url());
  handles.Close();
  handles.Close();
  // And nothing that was opened since is closed by that.
  Handles later(url());
  handles.Close();
  EXPECT_EQ(agx_add(later.session, "t", "o", "{}", nullptr), AGX_OK);
  agx_event* event = nullptr;
  EXPECT_EQ(agx_listen_next(later.listener, kPatienceMs, &event), AGX_OK);
  agx_event_free(event);
  EXPECT_EQ(agx_mux_next(later.mux, 0, nullptr, &event), AGX_ENDED);
  EXPECT_EQ(agx_query_next(later.query, nullptr, nullptr, nullptr), AGX_ENDED);
  ExpectSession(handles.session, AGX_ECLOSED);
  later.Close();
}

TEST_P(CapiHandles, AfterTheClientsClose) {
  Handles handles(url());
  agx_close(handles.client);
  ExpectClient(handles.client, AGX_ECLOSED);
  ExpectSession(handles.session, AGX_ECLOSED);
  ExpectListener(handles.listener, AGX_ECLOSED);
  ExpectMux(handles.mux, AGX_ECLOSED);
  EXPECT_EQ(agx_query_next(handles.query, nullptr, nullptr, nullptr), AGX_ECLOSED);
  handles.Close();
}

TEST_P(CapiHandles, OfTheWrongKind) {
  Handles handles(url());
  void* const all[] = {handles.client, handles.session, handles.listener, handles.mux,
                       handles.query};
  auto wrong = [&](void* right, const std::function<agx_status(void*)>& call) {
    for (void* handle : all) {
      if (handle == right) continue;
      EXPECT_THAT(call(handle), AnyOf(AGX_EINVAL, AGX_ECLOSED));
    }
  };
  agx_event* event = nullptr;
  wrong(handles.client, [](void* h) {
    agx_session* session = nullptr;
    return agx_session_open(static_cast<agx_client*>(h), 1, 2, "s", &session);
  });
  wrong(handles.session, [](void* h) {
    EXPECT_EQ(agx_is_canceled(static_cast<agx_session*>(h)), 1);
    return agx_start(static_cast<agx_session*>(h), nullptr);
  });
  wrong(handles.listener, [&](void* h) {
    EXPECT_EQ(agx_listener_data(static_cast<agx_listener*>(h)), nullptr);
    return agx_listen_next(static_cast<agx_listener*>(h), 0, &event);
  });
  wrong(handles.mux, [&](void* h) {
    if (h != handles.listener) {
      EXPECT_NE(agx_mux_add(handles.mux, static_cast<agx_listener*>(h)), AGX_OK);
    }
    return agx_mux_next(static_cast<agx_mux*>(h), 0, nullptr, &event);
  });
  wrong(handles.query, [](void* h) {
    return agx_query_next(static_cast<agx_query*>(h), nullptr, nullptr, nullptr);
  });
  // Closing by another's function does nothing.
  agx_close(reinterpret_cast<agx_client*>(handles.session));
  agx_session_close(reinterpret_cast<agx_session*>(handles.listener));
  agx_listener_close(reinterpret_cast<agx_listener*>(handles.mux));
  agx_mux_close(reinterpret_cast<agx_mux*>(handles.query));
  agx_query_close(reinterpret_cast<agx_query*>(handles.client));
  EXPECT_EQ(agx_add(handles.session, "t", "o", "{}", nullptr), AGX_OK);
  EXPECT_EQ(agx_mux_next(handles.mux, 0, nullptr, &event), AGX_ENDED);
  handles.Close();
}

TEST_P(CapiHandles, ThatNeverWere) {
  for (uintptr_t bits : {uintptr_t{1}, uintptr_t{16}, uintptr_t{0xffffffffffffffff},
                         uintptr_t{0x7ffffffff000}, uintptr_t{0x100000001}}) {
    void* made_up = reinterpret_cast<void*>(bits);
    EXPECT_THAT(agx_stop(static_cast<agx_session*>(made_up), 0), AnyOf(AGX_EINVAL, AGX_ECLOSED));
    agx_event* event = nullptr;
    EXPECT_THAT(agx_listen_next(static_cast<agx_listener*>(made_up), 0, &event),
                AnyOf(AGX_EINVAL, AGX_ECLOSED));
    agx_session_close(static_cast<agx_session*>(made_up));
    agx_close(static_cast<agx_client*>(made_up));
    EXPECT_EQ(agx_is_canceled(static_cast<agx_session*>(made_up)), 1);
  }
}

TEST_P(CapiHandles, AreUsedAndClosedByManyThreadsAtOnce) {
  for (int round = 0; round < 20; ++round) {
    Handles handles(url());
    InThreads(6, [&](int thread) {
      agx_event* event = nullptr;
      agx_status status = AGX_OK;
      switch (thread) {
        case 0:
          while (agx_add(handles.session, "t", "o", "{}", nullptr) == AGX_OK) {
          }
          break;
        case 1:
          while ((status = agx_listen_next(handles.listener, 5, &event)) >= AGX_OK) {
            agx_event_free(event);
          }
          EXPECT_EQ(status, AGX_ECLOSED);
          break;
        case 2:
          while (agx_mux_next(handles.mux, 5, nullptr, &event) >= AGX_OK) {
          }
          break;
        case 3:
          while (agx_query_next(handles.query, nullptr, nullptr, nullptr) >= AGX_OK) {
          }
          break;
        default: {
          int live = 0;
          EXPECT_THAT(agx_is_live(handles.session, &live), AnyOf(AGX_OK, AGX_ECLOSED));
          handles.Close();
        }
      }
    });
  }
}

TEST_P(CapiHandles, AreManyAndComeBack) {
  std::vector<SessionPtr> sessions;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 10000; ++i) sessions.push_back(OpenSession(client_, std::to_string(i)));
    EXPECT_FALSE(IsLive(sessions.front()));
    EXPECT_FALSE(IsLive(sessions.back()));
    sessions.clear();
  }
}

}  // namespace
}  // namespace agx::test
