// ctest-labels: redis threads
// Making a connection: which addresses are tried, for how long, and what ends it early.
#include "store/redis/connection.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"
#include "support/resp.h"

namespace {

// The addresses of "several.test", in this order.
std::vector<const char*> several;

sockaddr_in AddressOf(const char* text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

}  // namespace

// Stands before the C library's, whose freeaddrinfo frees what this makes.
extern "C" int getaddrinfo(const char* host, const char* port, const addrinfo* hints,
                           addrinfo** found) {
  if (std::string(host) != "several.test") {
    static auto* real = reinterpret_cast<decltype(&getaddrinfo)>(dlsym(RTLD_NEXT, "getaddrinfo"));
    return real(host, port, hints, found);
  }
  struct Space {
    addrinfo info;
    sockaddr_in bytes;
  };
  addrinfo** link = found;
  for (const char* text : several) {
    auto* space = static_cast<Space*>(std::calloc(1, sizeof(Space)));
    space->bytes = AddressOf(text, static_cast<uint16_t>(std::stoi(port)));
    space->info.ai_family = AF_INET;
    space->info.ai_addr = reinterpret_cast<sockaddr*>(&space->bytes);
    space->info.ai_addrlen = sizeof(space->bytes);
    *link = &space->info;
    link = &space->info.ai_next;
  }
  return 0;
}

namespace agx::redis {
namespace {

using test::Background;
using test::Fd;
using test::kAtOnceMs;
using test::Stopwatch;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A port that drops whoever knocks: its queue is full, and nobody takes from it.
class Unanswering {
 public:
  explicit Unanswering(const char* address, uint16_t port = 0)
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in where = AddressOf(address, port);
    auto* generic = reinterpret_cast<sockaddr*>(&where);
    socklen_t size = sizeof(where);
    EXPECT_EQ(bind(listener_.get(), generic, size), 0);
    EXPECT_EQ(listen(listener_.get(), 0), 0);
    EXPECT_EQ(getsockname(listener_.get(), generic, &size), 0);
    port_ = ntohs(where.sin_port);
    // Full once one is not let in.
    for (bool full = false; !full;) {
      const Fd& knock =
          knocks_.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      (void)connect(knock.get(), generic, size);
      pollfd waiting{knock.get(), POLLOUT, 0};
      full = poll(&waiting, 1, 200) == 0;
    }
  }
  uint16_t port() const { return port_; }
  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  Fd listener_;
  std::vector<Fd> knocks_;
  uint16_t port_ = 0;
};

// As little of a server as a connection needs.
test::FakeServer::Handler Minimal() {
  return [](int, const std::vector<std::string>&) -> test::FakeReply { return "+OK\r\n"; };
}

Config ConfigOf(const std::string& url) {
  auto config = ResolveConfig(url.c_str(), nullptr);
  EXPECT_TRUE(config.ok()) << config.status().message();
  return *config;
}

Status DialOnce(const std::string& url) {
  Config config = ConfigOf(url);
  Dialer dialer(config);
  return dialer.Dial().status();
}

TEST(Dial, WhoeverNeverAnswersIsGivenUpAtTheConnectTimeout) {
  Unanswering peer("127.0.0.1");
  Stopwatch watch;
  Status status = DialOnce("redis://" + peer.host() + "?connect_timeout=300&command_timeout=60000");
  EXPECT_EQ(status.code(), AGX_ECONNECT);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(peer.host()), HasSubstr("timed out")));
  EXPECT_GE(watch.ms(), 290);
  EXPECT_LE(watch.ms(), 300 + kAtOnceMs);
}

TEST(Dial, WhoeverConnectsAndSaysNothingToo) {
  uint16_t port = 0;
  Fd silent = test::ListenOnLoopback(&port);
  Stopwatch watch;
  Status status = DialOnce("redis://127.0.0.1:" + std::to_string(port) +
                           "?connect_timeout=300&command_timeout=60000");
  EXPECT_EQ(status.code(), AGX_ETIMEOUT);
  EXPECT_THAT(status.message(), HasSubstr("300 ms"));
  EXPECT_GE(watch.ms(), 290);
  EXPECT_LE(watch.ms(), 300 + kAtOnceMs);
}

TEST(Dial, ATrickleOfRepliesDoesNotProlongIt) {
  std::atomic<bool> asked{false};
  test::FakeServer server([&](int, const std::vector<std::string>& command) -> test::FakeReply {
    if (command[0] != "INFO") return "+OK\r\n";
    asked = true;
    return "";
  });
  Config config = ConfigOf(server.url() + "?connect_timeout=500&command_timeout=60000");
  Dialer dialer(config);
  Stopwatch watch;
  Background<agx_status> dial([&] { return dialer.Dial().status().code(); });
  ASSERT_TRUE(test::WaitUntil([&] { return asked.load(); }));
  server.Push(-1, "$1000000\r\n");
  EXPECT_TRUE(test::WaitUntil([&] {
    server.Push(-1, "x");
    return dial.done();
  }));
  EXPECT_EQ(dial.Get(), AGX_ETIMEOUT);
  EXPECT_LE(watch.ms(), 500 + kAtOnceMs);
}

TEST(Dial, CloseEndsItAtOnce) {
  Unanswering dropping("127.0.0.1");
  uint16_t port = 0;
  Fd silent = test::ListenOnLoopback(&port);
  for (const std::string& host : {dropping.host(), "127.0.0.1:" + std::to_string(port)}) {
    Config config = ConfigOf("redis://" + host + "?connect_timeout=60000");
    Dialer dialer(config);
    Background<agx_status> dial([&] { return dialer.Dial().status().code(); });
    dial.AwaitBlocked();
    Stopwatch watch;
    dialer.Close();
    EXPECT_EQ(dial.Get(), AGX_ECLOSED) << host;
    EXPECT_LE(watch.ms(), kAtOnceMs) << host;
    EXPECT_EQ(dialer.Dial().status().code(), AGX_ECLOSED) << host;
  }
}

TEST(Dial, TriesAHostsAddressesInTurn) {
  test::FakeServer server(Minimal());  // on 127.0.0.1 alone
  several = {"127.0.0.3", "127.0.0.2", "127.0.0.1"};
  Status status = DialOnce("redis://several.test:" + std::to_string(server.port()));
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Dial, AnAddressThatNeverAnswersLeavesTimeForTheNext) {
  test::FakeServer server(Minimal());
  Unanswering other("127.0.0.2", server.port());
  several = {"127.0.0.2", "127.0.0.1"};
  Status status =
      DialOnce("redis://several.test:" + std::to_string(server.port()) + "?connect_timeout=2000");
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Dial, AllAddressesTogetherHaveOneConnectTimeout) {
  Unanswering one("127.0.0.1");
  Unanswering two("127.0.0.2", one.port());
  Unanswering three("127.0.0.3", one.port());
  several = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
  Stopwatch watch;
  Status status =
      DialOnce("redis://several.test:" + std::to_string(one.port()) + "?connect_timeout=900");
  EXPECT_EQ(status.code(), AGX_ECONNECT);
  EXPECT_GE(watch.ms(), 890);
  EXPECT_LE(watch.ms(), 900 + kAtOnceMs);
}

TEST(Dial, ErrorsNameHostPortAndEachAddresssReason) {
  uint16_t port = 0;
  { Fd closed = test::ListenOnLoopback(&port); }
  std::string at = ":" + std::to_string(port);
  Status one = DialOnce("redis://127.0.0.1" + at);
  EXPECT_EQ(one.code(), AGX_ECONNECT);
  EXPECT_THAT(one.message(), HasSubstr("127.0.0.1" + at + ": Connection refused"));
  several = {"127.0.0.3", "127.0.0.2"};
  Status all = DialOnce("redis://several.test" + at);
  EXPECT_EQ(all.code(), AGX_ECONNECT);
  EXPECT_THAT(all.message(),
              AllOf(HasSubstr("several.test" + at), HasSubstr("127.0.0.3: Connection refused"),
                    HasSubstr("127.0.0.2: Connection refused")));
  Status unknown = DialOnce("redis://no-such-host.invalid" + at);
  EXPECT_EQ(unknown.code(), AGX_ECONNECT);
  EXPECT_THAT(unknown.message(), HasSubstr("no-such-host.invalid" + at));
  Status socket = DialOnce("unix:///no/such/socket");
  EXPECT_EQ(socket.code(), AGX_ECONNECT);
  EXPECT_THAT(socket.message(), HasSubstr("/no/such/socket: No such file"));
}

// The process' sockets that are connected to the port.
std::vector<int> SocketsTo(uint16_t port) {
  std::vector<int> sockets;
  DIR* folder = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): one thread
    int fd = std::atoi(entry->d_name);
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    bool is = getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
              peer.sin_family == AF_INET && ntohs(peer.sin_port) == port;
    if (is) sockets.push_back(fd);
  }
  closedir(folder);
  return sockets;
}

int OptionOf(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  getsockopt(fd, level, name, &value, &size);
  return value;
}

TEST(Dial, TheSocketIsCloseOnExecKeptAliveAndDoesNotDelay) {
  test::FakeServer server(Minimal());
  Config config = ConfigOf(server.url());
  Dialer dialer(config);
  auto connection = dialer.Dial();
  ASSERT_TRUE(connection.ok()) << connection.status().message();
  std::vector<int> sockets = SocketsTo(server.port());
  ASSERT_EQ(sockets.size(), 1U);
  EXPECT_EQ(fcntl(sockets[0], F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(OptionOf(sockets[0], SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(OptionOf(sockets[0], IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_LE(OptionOf(sockets[0], IPPROTO_TCP, TCP_KEEPIDLE), 60);
  *connection = nullptr;
  EXPECT_THAT(SocketsTo(server.port()), IsEmpty());
}

TEST(Dial, NoSocketIsLeftOfOneThatFailed) {
  test::FakeServer server([](int, const std::vector<std::string>&) -> test::FakeReply {
    return "HTTP/1.1 400 Bad Request\r\n\r\n";
  });
  EXPECT_EQ(DialOnce(server.url()).code(), AGX_EPROTOCOL);
  EXPECT_THAT(SocketsTo(server.port()), IsEmpty());
}

}  // namespace
}  // namespace agx::redis
