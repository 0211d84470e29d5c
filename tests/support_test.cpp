// ctest-labels: redis threads
// The tests' own server and its faults do what they say.
#include <gtest/gtest.h>

#include <thread>

#include "support/fault_proxy.h"
#include "support/redis_server.h"
#include "support/wait.h"

namespace agx::test {
namespace {

using namespace std::chrono_literals;

std::string PingOn(RespConnection connection) { return connection.Command({"PING"}); }

TEST(RedisServerTest, AnswersOnBothSockets) {
  RedisServer server;
  EXPECT_EQ(PingOn(RespConnection(ConnectToLoopback(server.port()))), "PONG");
  EXPECT_EQ(PingOn(RespConnection(ConnectToUnix(server.socket_path()))), "PONG");
  EXPECT_EQ(server.Command({"RPUSH", "list", "a", ""}), "2");
  EXPECT_EQ(server.Command({"LRANGE", "list", "0", "-1"}), "[a, ]");
  EXPECT_EQ(server.Command({"GET", "none"}), "(nil)");
  EXPECT_TRUE(server.Command({"GET", "list"}).starts_with("-WRONGTYPE"));
}

TEST(RedisServerTest, KeepsWhatItAcknowledgedThroughKill9) {
  RedisServer server({.args = {}, .append_only = true});
  ASSERT_EQ(server.Command({"SET", "key", "value"}), "OK");
  uint16_t port = server.port();
  server.Kill9();
  EXPECT_FALSE(ConnectToLoopback(port).ok());
  std::thread([&] { server.Restart(); }).join();  // and does not die with that thread
  EXPECT_EQ(server.port(), port);
  EXPECT_EQ(server.Command({"GET", "key"}), "value");
}

TEST(RedisServerTest, TakesArgumentsAndSaysWhyItDoesNotStart) {
  RedisServer server({.args = {"--requirepass", "secret"}, .append_only = false});
  EXPECT_TRUE(server.Command({"GET", "key"}).starts_with("-NOAUTH"));
  try {
    RedisServer broken({.args = {"--no-such-option", "1"}, .append_only = false});
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("no-such-option"), std::string::npos) << error.what();
  }
}

class FaultProxyTest : public testing::Test {
 protected:
  RespConnection Connect() { return RespConnection(ConnectToLoopback(proxy_.port())); }

  RedisServer server_;
  FaultProxy proxy_{server_.port()};
};

TEST_F(FaultProxyTest, ForwardsAndCounts) {
  RespConnection connection = Connect();
  std::string large(3 << 20, 'x');
  EXPECT_EQ(connection.Command({"SET", "key", large}), "OK");
  EXPECT_EQ(connection.Command({"GET", "key"}), large);
  connection.Send(EncodeCommand({"PING"}) + EncodeCommand({"ECHO", "hi"}));
  EXPECT_EQ(connection.Read(), "PONG");
  EXPECT_EQ(connection.Read(), "hi");
  EXPECT_EQ(proxy_.round_trips(), 3);
  EXPECT_EQ(proxy_.connections(), 1);
  EXPECT_EQ(proxy_.open_connections(), 1);
  EXPECT_EQ(proxy_.commands("get"), 1);
  EXPECT_EQ(proxy_.commands("PING"), 1);
}

TEST_F(FaultProxyTest, CutsAtEveryByteOfAReply) {
  const std::string reply = "$5\r\nhello\r\n";
  for (size_t at = 0; at < reply.size(); ++at) {
    RespConnection connection = Connect();
    ASSERT_EQ(connection.Command({"PING"}), "PONG");
    proxy_.CutAfterReplyBytes(at);
    connection.Send(EncodeCommand({"ECHO", "hello"}));
    EXPECT_THROW(connection.ReadRaw(), std::runtime_error);
    EXPECT_EQ(proxy_.cuts(), static_cast<int>(at) + 1);
  }
  proxy_.CutAfterReplyBytes(reply.size());
  EXPECT_EQ(Connect().Command({"ECHO", "hello"}), "hello");
}

TEST_F(FaultProxyTest, CutsRequests) {
  const std::string request = EncodeCommand({"SET", "key", "value"});
  proxy_.CutAfterRequestBytes(request.size() - 1);
  EXPECT_THROW(Connect().Command({"SET", "key", "value"}), std::runtime_error);
  EXPECT_EQ(server_.Command({"EXISTS", "key"}), "0");
  EXPECT_EQ(Connect().Command({"SET", "key", "value"}), "OK");
}

TEST_F(FaultProxyTest, CutsAllAndRefuses) {
  RespConnection connection = Connect();
  ASSERT_EQ(connection.Command({"PING"}), "PONG");
  proxy_.CutAll();
  EXPECT_TRUE(connection.AtEnd());
  proxy_.RefuseConnections(true);
  EXPECT_THROW(Connect().Command({"PING"}), std::runtime_error);
  proxy_.RefuseConnections(false);
  EXPECT_EQ(Connect().Command({"PING"}), "PONG");
}

TEST_F(FaultProxyTest, SwallowsUntilTold) {
  RespConnection connection = Connect();
  ASSERT_EQ(connection.Command({"PING"}), "PONG");
  proxy_.Blackhole(true);
  connection.Send(EncodeCommand({"SET", "key", "value"}));
  EXPECT_EQ(server_.Command({"EXISTS", "key"}), "0");
  proxy_.Blackhole(false);
  EXPECT_EQ(connection.Read(), "OK");
}

TEST_F(FaultProxyTest, DelaysAndChunks) {
  RespConnection connection = Connect();
  proxy_.DelayReplies(50ms);
  proxy_.ChunkReplies(1);
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(connection.Command({"ECHO", "hello"}), "hello");
  EXPECT_GE(std::chrono::steady_clock::now() - start, 50ms);
}

TEST_F(FaultProxyTest, RefusesAndReplacesInOrder) {
  proxy_.RefuseCommand("CLIENT TRACKING", "ERR unknown command");
  proxy_.ReplaceReply("get", "*1\r\n:7\r\n");
  RespConnection connection = Connect();
  connection.Send(EncodeCommand({"PING"}) + EncodeCommand({"client", "tracking", "on"}) +
                  EncodeCommand({"GET", "key"}) + EncodeCommand({"CLIENT", "GETNAME"}) +
                  EncodeCommand({"GET", "key"}));
  EXPECT_EQ(connection.Read(), "PONG");
  EXPECT_EQ(connection.Read(), "-ERR unknown command");
  EXPECT_EQ(connection.Read(), "[7]");
  EXPECT_EQ(connection.Read(), "(nil)");
  EXPECT_EQ(connection.Read(), "(nil)");
  EXPECT_EQ(proxy_.commands("CLIENT TRACKING"), 1);
  proxy_.ForgetCommandRules();
  EXPECT_EQ(connection.Command({"CLIENT", "TRACKING", "off"}), "OK");
}

TEST_F(FaultProxyTest, LetsPushedMessagesPass) {
  RespConnection subscriber = Connect();
  ASSERT_EQ(subscriber.Command({"SUBSCRIBE", "news"}), "[subscribe, news, 1]");
  ASSERT_EQ(server_.Command({"PUBLISH", "news", "now"}), "1");
  EXPECT_EQ(subscriber.Read(), "[message, news, now]");
  EXPECT_EQ(subscriber.Command({"PING"}), "[pong, ]");
}

TEST(FakeServerTest, AnswersWhatItIsTold) {
  FakeServer server([](int connection, const std::vector<std::string>& command) -> FakeReply {
    if (command[0] == "QUIT") return {"+BYE\r\n", true};
    if (command[0] == "NOTHING") return "";
    return ":" + std::to_string(connection) + "\r\n";
  });
  RespConnection first(ConnectToLoopback(server.port()));
  EXPECT_EQ(first.Command({"PING"}), "0");
  RespConnection second(ConnectToLoopback(server.port()));
  EXPECT_EQ(second.Command({"PING", "a\r\nb", ""}), "1");
  EXPECT_EQ(server.connections(), 2);
  first.Send(EncodeCommand({"NOTHING"}));
  server.Push(0, "+pushed\r\n");
  EXPECT_EQ(first.Read(), "pushed");
  EXPECT_EQ(second.Command({"QUIT"}), "BYE");
  EXPECT_TRUE(second.AtEnd());
  server.CloseAll();
  EXPECT_TRUE(first.AtEnd());
}

}  // namespace
}  // namespace agx::test
