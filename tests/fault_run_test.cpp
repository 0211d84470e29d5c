// ctest-labels: redis threads
// ctest-timeout: 120
// Runs whose store cannot be reached when they are to end.
#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;

class FaultRun : public OnRedis {
 protected:
  FaultRun() {
    EXPECT_EQ(agx_run_begin(session_.get(), nullptr, &run_), AGX_OK);
    EXPECT_EQ(agx_run_node_begin(run_), AGX_OK);
  }
  ~FaultRun() override { agx_run_close(run_); }

  void GoAway() {
    proxy_.RefuseConnections(true);
    proxy_.CutAll();
  }
  void ComeBack() { proxy_.RefuseConnections(false); }
  void Close() { agx_run_close(std::exchange(run_, nullptr)); }

  FaultProxy proxy_{server_.port()};
  ClientPtr far_ = OpenClient(proxy_.url() + "?reconnect_timeout=50&lease=2000");
  SessionPtr session_ = OpenSession(far_);
  SessionPtr seen_ = OpenSession(client_);
  agx_run* run_ = nullptr;
};

TEST_F(FaultRun, OneThatIsClosedEndsWhenTheStoreIsBack) {
  GoAway();
  EXPECT_NE(agx_run_fail(run_, "boom"), AGX_OK);
  Close();
  agx_run* other = nullptr;
  EXPECT_EQ(agx_run_begin(session_.get(), nullptr, &other), AGX_EBUSY);
  ComeBack();
  EXPECT_THAT(Follow(Listen(seen_)), ElementsAre("begin", "event", "event", "error", "AGX_ENDED"));
  EXPECT_TRUE(WaitUntil([&] { return agx_run_begin(session_.get(), nullptr, &run_) == AGX_OK; }));
}

TEST_F(FaultRun, OneThatHadFinishedEndsSo) {
  GoAway();
  EXPECT_NE(agx_run_finish(run_), AGX_OK);
  Close();
  session_.reset();
  ComeBack();
  EXPECT_THAT(Follow(Listen(seen_)), ElementsAre("begin", "event", "event", "AGX_ENDED"));
}

TEST_F(FaultRun, OneThatIsClosedGoesWithItsClient) {
  GoAway();
  Close();
  session_.reset();
  far_.reset();
  ComeBack();
  EXPECT_THAT(Follow(Listen(seen_)), ElementsAre("begin", "event", "AGX_GONE"));
}

// The end's reply is lost, and with it the knowledge that all was written.
TEST_F(FaultRun, WhatItsEndMayHaveWrittenIsNotWrittenAgain) {
  proxy_.DelayReplies(std::chrono::milliseconds(kPatienceMs));
  Background<agx_status> finish([&] { return agx_run_finish(run_); });
  EXPECT_TRUE(WaitUntil([&] { return Stored(seen_).back() == "end"; }));
  GoAway();
  EXPECT_EQ(finish.Get(), AGX_EUNCERTAIN);
  proxy_.DelayReplies(std::chrono::milliseconds(0));
  ComeBack();
  EXPECT_THAT(agx_run_flush(run_), AnyOf(AGX_OK, AGX_CANCELED));
  (void)agx_run_finish(run_);
  EXPECT_THAT(Stored(seen_), ElementsAre("begin", "event", "event", "end"));
  EXPECT_EQ(Raw({"XLEN", "agx:1:2:s"}), "4") << "and nothing behind it";
}

// What an interceptor has made of an event is what is looked for, and it is not asked again.
TEST_F(FaultRun, WhatAnInterceptorChangedIsFoundAgain) {
  int calls = 0;
  agx_interceptor* interceptor = nullptr;
  auto change = [](agx_intercepted* event, void* count) {
    ++*static_cast<int*>(count);
    EXPECT_EQ(agx_intercepted_set_type(event, "changed"), AGX_OK);
    return agx_intercepted_set_body(event, "{\"changed\":true}");
  };
  ASSERT_EQ(agx_intercept(session_.get(), nullptr, change, &calls, &interceptor), AGX_OK);
  InterceptorPtr owned(interceptor);
  proxy_.DelayReplies(std::chrono::milliseconds(kPatienceMs));
  Background<agx_status> begin(
      [&] { return agx_run_part_begin(run_, AGX_PART_TEXT, "a", nullptr); });
  EXPECT_TRUE(WaitUntil([&] { return Stored(seen_).back() == "changed"; }));
  GoAway();
  EXPECT_EQ(begin.Get(), AGX_EUNCERTAIN);
  proxy_.DelayReplies(std::chrono::milliseconds(0));
  ComeBack();
  EXPECT_EQ(agx_run_part_delta(run_, AGX_LAST_PART, "b"), AGX_OK);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(agx_run_finish(run_), AGX_OK);
  EXPECT_THAT(Stored(seen_), ElementsAre("begin", "event", "changed", "changed", "changed", "end"));
}

TEST_F(FaultRun, WhereverAConnectionBreaksEachEventIsStoredOnceAndInOrder) {
  constexpr int kEvents = 700;
  const std::pair<bool, uint64_t> cuts[] = {{true, 0},    {true, 10000}, {true, 100000},
                                            {false, 0},   {false, 5000}, {false, 14000},
                                            {true, 50000}};
  std::string expected;
  int number = 0;
  for (const auto& [request, bytes] : cuts) {
    std::string stream;
    for (int i = 0; i < kEvents; ++i) {
      std::string text = std::to_string(number++) + ";";
      expected += text;
      stream += R"(data: {"choices":[{"index":0,"delta":{"content":")" + text + "\"}}]}\n\n";
    }
    int before = proxy_.cuts();
    if (request) {
      proxy_.CutAfterRequestBytes(bytes);
    } else {
      proxy_.CutAfterReplyBytes(bytes);
    }
    (void)agx_run_feed(run_, AGX_OPENAI_CHAT, stream.data(), stream.size());
    EXPECT_EQ(proxy_.cuts(), before + 1) << bytes;
    if (number == kEvents * std::ssize(cuts)) break;  // the end has to find out by itself
    EXPECT_TRUE(WaitUntil([&] { return agx_run_flush(run_) == AGX_OK; }));
  }
  EXPECT_TRUE(WaitUntil([&] { return agx_run_finish(run_) == AGX_OK; }));
  std::string stored;
  ListenerPtr listener = Listen(seen_);
  for (Told told = Next(listener); told.status == AGX_OK; told = Next(listener)) {
    std::string body = told.body();
    for (const std::string_view key : {"\"content\":\"", "\"content_delta\":\""}) {
      size_t at = body.find(key);
      if (at == std::string::npos) continue;
      at += key.size();
      stored += body.substr(at, body.find('"', at) - at);
    }
  }
  size_t same =
      std::mismatch(stored.begin(), stored.end(), expected.begin(), expected.end()).first -
      stored.begin();
  EXPECT_EQ(stored.size(), expected.size());
  EXPECT_EQ(stored.substr(same, 40), expected.substr(same, 40)) << "after " << same << " bytes";
}

// The other producer's first event is the same as this one's, which never reached the store.
TEST_F(FaultRun, WhatThePreviousProducerWroteIsNotTakenForItsOwn) {
  Close();
  EXPECT_TRUE(WaitUntil([&] { return !IsLive(seen_); }));
  SessionPtr session = OpenSession(client_, "other");
  RunPtr previous = BeginRun(session);
  EXPECT_EQ(agx_run_node_begin(previous.get()), AGX_OK);
  agx_start_options start = TakeOver();
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.start = &start;
  RunPtr run = BeginRun(OpenSession(far_, "other"), &options);
  size_t stored = Stored(session).size();
  proxy_.CutAfterRequestBytes(120);  // so that what asks for the last entry reaches it
  EXPECT_EQ(agx_run_node_begin(run.get()), AGX_EUNCERTAIN);
  EXPECT_EQ(Stored(session).size(), stored);
  EXPECT_TRUE(WaitUntil([&] { return agx_run_flush(run.get()) == AGX_OK; }));
  EXPECT_EQ(Stored(session).size(), stored + 1);
}

// The second of two that are the same never reached the store.
TEST_F(FaultRun, WhatLooksLikeAnEarlierOneIsNotTakenForIt) {
  EXPECT_EQ(agx_run_part_begin(run_, AGX_PART_TEXT, "a", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_part_delta(run_, AGX_LAST_PART, "b"), AGX_OK);
  proxy_.CutAfterRequestBytes(0);
  EXPECT_EQ(agx_run_part_delta(run_, AGX_LAST_PART, "b"), AGX_EUNCERTAIN);
  EXPECT_EQ(Stored(seen_).size(), 4U);
  EXPECT_TRUE(WaitUntil([&] { return agx_run_flush(run_) == AGX_OK; }));
  EXPECT_EQ(Stored(seen_).size(), 5U);
}

// Others have written so much since that it is read in pieces, of which the second breaks off.
TEST_F(FaultRun, ALookForWhatIsWrittenThatFailsIsRepeated) {
  constexpr size_t kOthers = 1000;
  constexpr size_t kBytes = 500;
  proxy_.DelayReplies(std::chrono::milliseconds(kPatienceMs));
  Background<agx_status> begin(
      [&] { return agx_run_part_begin(run_, AGX_PART_TEXT, "a", nullptr); });
  EXPECT_TRUE(WaitUntil([&] { return Stored(seen_).size() == 3; }));
  GoAway();
  EXPECT_EQ(begin.Get(), AGX_EUNCERTAIN);
  const std::string body = "{\"text\":\"" + std::string(kBytes, 'a') + "\"}";
  for (size_t i = 0; i < kOthers; ++i) Add(seen_, "other", body.c_str());
  proxy_.DelayReplies(std::chrono::milliseconds(0));
  ComeBack();
  EXPECT_TRUE(WaitUntil([&] { return agx_renew(session_.get()) == AGX_OK; }));

  proxy_.RefuseConnections(true);
  proxy_.CutAfterReplyBytes(kOthers * kBytes * 9 / 10);
  EXPECT_NE(agx_run_flush(run_), AGX_OK);
  ComeBack();
  EXPECT_TRUE(WaitUntil([&] { return agx_run_flush(run_) == AGX_OK; }));
  EXPECT_EQ(Stored(seen_).size(), 3 + kOthers) << "nothing came twice";
}

}  // namespace
}  // namespace agx::test
