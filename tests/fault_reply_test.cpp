// ctest-labels: redis threads
// ctest-timeout: 120
// Replies that are lost behind what was done, and servers that refuse one of several: what is written again, and what not.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
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

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Command = std::vector<std::string>;

std::string Bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

constexpr const char* kLoading = "-LOADING Redis is loading the dataset in memory\r\n";
constexpr const char* kAbsent = "$-1\r\n";

// Stores what is added to it, but for what it is told to answer otherwise.
class Adding {
 public:
  // The reply to the nth XADD; "" is a connection that ends without one, behind what was stored.
  using Odd = std::map<int, std::string>;

  explicit Adding(Odd odd = {}) : odd_(std::move(odd)) {}
  std::string url() const { return server_.url(); }
  // How often each body was stored, and how many adds there were.
  std::map<std::string, int> stored() {
    std::lock_guard lock(mutex_);
    return stored_;
  }
  int adds() {
    std::lock_guard lock(mutex_);
    return adds_;
  }

 private:
  FakeReply Handle(const Command& command) {
    std::lock_guard lock(mutex_);
    if (command[0] == "INFO") return Bulk("redis_version:7.0.15\r\n");
    if (command[0] == "EVAL") return Bulk("started");
    if (command[0] != "XADD") return "+OK\r\n";
    auto odd = odd_.find(adds_++);
    bool lost = odd != odd_.end() && odd->second.empty();
    if (odd != odd_.end() && !lost) return odd->second;
    ++stored_[command[1] + " " + command.back()];
    if (lost) return FakeReply("", true);
    return Bulk("1-" + std::to_string(adds_));
  }

  std::mutex mutex_;
  const Odd odd_;
  std::map<std::string, int> stored_;
  int adds_ = 0;
  FakeServer server_{[this](int, const Command& command) { return Handle(command); }};
};

std::vector<std::string> Bodies(int count) {
  std::vector<std::string> bodies;
  for (int n = 0; n < count; ++n) bodies.push_back(std::to_string(n));
  return bodies;
}

// What was refused in passing is written again, unless that would be behind what came after it.
TEST(RefusedAdds, OfManyThoseThatAreStoredLaterAreNotStoredTwice) {
  struct Case {
    const char* what;
    int refused;  // the first of them
    int count;
    const char* reply;
    bool started;
  };
  // In one packet and beyond it, and where somebody else makes the stream meanwhile.
  for (const Case& test :
       {Case{"one", 1, 3, kLoading, false}, Case{"a packet", 64, 200, kLoading, false},
        Case{"absent", 1, 3, kAbsent, true}, Case{"an absent packet", 64, 200, kAbsent, true}}) {
    SCOPED_TRACE(test.what);
    Adding::Odd odd;
    for (int n = 0; n < test.refused; ++n) odd[n] = test.reply;
    Adding server(odd);
    Owned<agx_client> client = OpenClient(server.url());
    Owned<agx_session> session = OpenSession(client.get(), "s");
    if (test.started) Require(agx_start(session.get(), nullptr));
    std::vector<std::string> bodies = Bodies(test.count);
    std::vector<agx_new_event> events;
    for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
    size_t added = 99;
    agx_status status = agx_add_many(session.get(), events.data(), events.size(), nullptr, &added);
    EXPECT_EQ(status, AGX_EUNCERTAIN) << Explain(status);
    EXPECT_EQ(added, 0U);
    EXPECT_EQ(server.adds(), test.count);
    for (const auto& [body, times] : server.stored()) EXPECT_EQ(times, 1) << body;
    EXPECT_EQ(server.stored().size(), static_cast<size_t>(test.count - test.refused));
  }
}

TEST(RefusedAdds, OfManyAllThatAreRefusedAreWrittenAgainInOrder) {
  Adding::Odd odd;
  for (int n = 2; n < 5; ++n) odd[n] = kLoading;
  Adding server(odd);
  Owned<agx_client> client = OpenClient(server.url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  std::vector<std::string> bodies = Bodies(5);
  std::vector<agx_new_event> events;
  for (const std::string& body : bodies) events.push_back({"t", "o", body.c_str()});
  size_t added = 0;
  agx_status status = agx_add_many(session.get(), events.data(), events.size(), nullptr, &added);
  EXPECT_EQ(status, AGX_OK) << Explain(status);
  EXPECT_EQ(added, 5U);
  EXPECT_EQ(server.adds(), 8);
  for (const auto& [body, times] : server.stored()) EXPECT_EQ(times, 1) << body;
}

TEST(RefusedAdds, OfEachNoneIsWrittenBehindALaterOneOfItsSession) {
  // That one is stored, or may be: its reply is lost.
  for (const char* reply : {"1-9", ""}) {
    SCOPED_TRACE(reply);
    // a0 is refused, as is c0; behind a0 comes a1, behind c0 nothing.
    Adding::Odd odd = {{0, kLoading}, {2, kLoading}};
    bool lost = *reply == '\0';
    if (lost) odd[3] = "";
    Adding server(odd);
    Owned<agx_client> client = OpenClient(server.url());
    Owned<agx_session> a = OpenSession(client.get(), "a");
    Owned<agx_session> b = OpenSession(client.get(), "b");
    Owned<agx_session> c = OpenSession(client.get(), "c");
    std::vector<agx_addition> additions(4);
    agx_session* const sessions[] = {a.get(), b.get(), c.get(), a.get()};
    const char* const bodies[] = {"0", "0", "0", "1"};
    for (size_t i = 0; i < additions.size(); ++i) {
      additions[i].session = sessions[i];
      additions[i].event = {"t", "o", bodies[i]};
    }
    EXPECT_EQ(agx_add_each(additions.data(), additions.size()), AGX_ELOADING);
    std::vector<agx_status> statuses;
    for (const agx_addition& one : additions) statuses.push_back(one.status);
    EXPECT_THAT(statuses,
                ElementsAre(AGX_ELOADING, AGX_OK, AGX_OK, lost ? AGX_EUNCERTAIN : AGX_OK));
    EXPECT_THAT(server.stored(),
                ElementsAre(std::pair("agx:1:2:a 1", 1), std::pair("agx:1:2:b 0", 1),
                            std::pair("agx:1:2:c 0", 1)));
  }
}

// --- A reply that is lost

class LostReply : public testing::Test {
 protected:
  // The server has done it, and the connection ends before its reply has come.
  template <class Function>
  agx_status Losing(const char* command, const Function& call) {
    proxy_.HoldReply(command);
    std::atomic<bool> done{false};
    bool lost = false;
    std::thread cutter([&] {
      lost = WaitUntil([&] { return done || !proxy_.HeldReply(command).empty(); }) && !done;
      proxy_.CutAll();
      proxy_.ReleaseReply(command);
    });
    agx_status status = call();
    done = true;
    cutter.join();
    EXPECT_TRUE(lost) << "no reply was lost";
    return status;
  }
  void Open(const std::string& id = "s") { session_ = OpenSession(client_.get(), id); }
  void Add(int number) {
    Require(agx_add(session_.get(), "t", "o", BodyOf({0, number}).c_str(), nullptr));
  }

  RedisServer server_;
  FaultProxy proxy_{server_.port()};
  Owned<agx_client> client_ = OpenClient(proxy_.url());
  Owned<agx_session> session_;
};

// Another may have added meanwhile, to what the first run has made.
TEST_F(LostReply, AReplacementIsNotRepeated) {
  for (bool drop : {false, true}) {
    SCOPED_TRACE(drop);
    Open(drop ? "dropped" : "replaced");
    Add(0);
    Add(1);
    int before = proxy_.commands("EVAL");
    agx_new_event event = {"t", "o", "{\"w\":1,\"n\":7}"};
    agx_status status = Losing("EVAL", [&] {
      return drop ? agx_history_drop(session_.get(), nullptr)
                  : agx_history_replace(session_.get(), &event, 1, nullptr);
    });
    EXPECT_EQ(status, AGX_EUNCERTAIN) << Explain(status);
    EXPECT_EQ(proxy_.commands("EVAL"), before + 1);
    std::vector<Numbered> there =
        EventsIn(ReadStream(server_, KeyOf(drop ? "dropped" : "replaced")));
    EXPECT_EQ(there, drop ? std::vector<Numbered>{} : (std::vector<Numbered>{{1, 7}}));
  }
}

TEST_F(LostReply, ACheckedAddIsRepeatedAndAddsOnce) {
  Open();
  agx_new_event event = {"t", "o", "{\"w\":0,\"n\":1}"};
  agx_status status =
      Losing("EVAL", [&] { return agx_add_checked(session_.get(), &event, 1, "from", "", "1"); });
  EXPECT_EQ(status, AGX_OK) << Explain(status);
  EXPECT_THAT(EventsIn(ReadStream(server_, KeyOf("s"))), ElementsAre(Numbered{0, 1}));
  char position[AGX_NAME_MAX + 1] = "";
  Require(agx_checkpoint(session_.get(), "from", position));
  EXPECT_STREQ(position, "1");
}

class LostReplyOfDeadLetters : public LostReply {
 protected:
  void SetUp() override {
    Open();
    agx_group* group = nullptr;
    Require(agx_group_open(session_.get(), "g", nullptr, &group));
    group_.reset(group);
    for (int n = 0; n < 3; ++n) Add(n);
    agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
    options.limit = 3;
    options.max_retries = 1;
    agx_status status = agx_group_process(
        group, &options, [](const agx_event*, int64_t, void*) { return AGX_EFAILED; }, nullptr);
    ASSERT_EQ(status, AGX_LIMIT) << Explain(status);
    for (const Stored& letter : ReadStream(server_, kLetters)) ids_.push_back(letter.id);
    ASSERT_EQ(ids_.size(), 3U);
    for (const std::string& id : ids_) texts_.push_back(id.c_str());
  }
  std::vector<Numbered> Letters() { return EventsIn(ReadStream(server_, kLetters)); }
  std::vector<Numbered> Events() { return EventsIn(ReadStream(server_, KeyOf("s"))); }

  const std::string kLetters = KeyOf("s") + ":dlq";
  Owned<agx_group> group_;
  std::vector<std::string> ids_;
  std::vector<const char*> texts_;
};

TEST_F(LostReplyOfDeadLetters, AReplayIsRepeatedAndPutsEachBackOnce) {
  uint64_t replayed = 0;
  int before = proxy_.commands("EVAL");
  agx_status status =
      Losing("EVAL", [&] { return agx_group_replay(group_.get(), texts_.data(), 2, &replayed); });
  EXPECT_EQ(status, AGX_OK) << Explain(status);
  EXPECT_EQ(replayed, 2U) << "the one whose reply was lost was there too";
  EXPECT_EQ(proxy_.commands("EVAL"), before + 3) << "one for each, and the second try";
  EXPECT_THAT(Letters(), ElementsAre(Numbered{0, 2}));
  EXPECT_THAT(Events(), ElementsAre(Numbered{0, 0}, Numbered{0, 1}, Numbered{0, 2}, Numbered{0, 0},
                                    Numbered{0, 1}));
}

// Wherever it is cut, a letter is in one place.
TEST_F(LostReplyOfDeadLetters, AReplayIsOneStep) {
  constexpr uint64_t kBytes[] = {0, 10, 1000};
  for (size_t i = 0; i < ids_.size(); ++i) {
    SCOPED_TRACE(kBytes[i]);
    int before = proxy_.cuts();
    proxy_.CutAfterRequestBytes(kBytes[i]);
    agx_status status = agx_group_replay(group_.get(), &texts_[i], 1, nullptr);
    EXPECT_EQ(status, AGX_OK) << Explain(status);
    EXPECT_EQ(proxy_.cuts(), before + 1);
    EXPECT_EQ(Letters().size(), 2 - i);
    EXPECT_EQ(Events().size(), 4 + i);
  }
}

TEST_F(LostReplyOfDeadLetters, ADeletionIsRepeated) {
  int before = proxy_.commands("XDEL");
  agx_status status = Losing("XDEL", [&] {
    return agx_group_delete_dead_letters(group_.get(), texts_.data(), 2, nullptr);
  });
  EXPECT_EQ(status, AGX_OK) << Explain(status);
  EXPECT_EQ(proxy_.commands("XDEL"), before + 2);
  EXPECT_THAT(Letters(), ElementsAre(Numbered{0, 2}));
  EXPECT_EQ(Events().size(), 3U);
}

// What is not there was not put back.
TEST_F(LostReplyOfDeadLetters, AReplayOfNothingCountsNothing) {
  Require(agx_group_delete_dead_letters(group_.get(), texts_.data(), 3, nullptr));
  uint64_t replayed = 99;
  EXPECT_EQ(agx_group_replay(group_.get(), texts_.data(), 3, &replayed), AGX_OK);
  EXPECT_EQ(replayed, 0U);
  EXPECT_THAT(Letters(), IsEmpty());
  EXPECT_EQ(Events().size(), 3U);
}

// --- A server that is still loading when it is introduced to

TEST(Loading, InWhatOpensAConnectionIsSaidAndWaitedForLater) {
  RedisServer server({.args = {"--requirepass", "pw"}, .append_only = false});
  FaultProxy proxy(server.port());
  std::string url = "redis://:pw@127.0.0.1:" + std::to_string(proxy.port()) + "/3";
  for (const char* command : {"AUTH", "SELECT"}) {
    SCOPED_TRACE(command);
    proxy.ReplaceReply(command, kLoading, 1);
    agx_client* none = nullptr;
    EXPECT_EQ(agx_open(url.c_str(), nullptr, &none), AGX_ELOADING) << agx_last_error();
    EXPECT_EQ(none, nullptr);
    Owned<agx_client> client = OpenClient(url);
    Owned<agx_session> session = OpenSession(client.get(), "s");
    int before = proxy.connections();
    proxy.ReplaceReply(command, kLoading, 2);
    proxy.CutAll();
    int live = 1;
    EXPECT_EQ(agx_is_live(session.get(), &live), AGX_OK) << agx_last_error();
    EXPECT_EQ(proxy.connections(), before + 3);
  }
}

}  // namespace
}  // namespace agx::test
