// ctest-labels: threads
// A lease that ran out is being taken back at the very moment when its session is stopped or started again.
#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "support/capi_tools.h"

namespace {

// Stops a thread of the library's own, of which a memory: store leaves only the keeper, where it allocates so much.
struct Gate {
  std::atomic<size_t> least{SIZE_MAX};
  std::atomic<size_t> most{SIZE_MAX};
  std::atomic<bool> reached{false};

  void Close(size_t from, size_t to) {
    reached = false;
    most = to;
    least = from;
  }
  void Open() { least = SIZE_MAX; }
  void Pass(size_t size) {
    while (size >= least.load() && size <= most.load()) {
      reached = true;
      std::this_thread::yield();
    }
  }
} gate;

thread_local bool mine = false;  // a thread of the test

}  // namespace

[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept {
  if (!mine) gate.Pass(size);
  return std::malloc(size);
}
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class TakeBack : public testing::Test {
 protected:
  TakeBack() {
    mine = true;
    agx_start_options options = Leased(100);
    client_ = OpenClient("memory:tests");
    other_ = OpenClient("memory:tests");
    session_ = Started(client_, kId, &options);
  }
  ~TakeBack() override { gate.Open(); }

  // The keeper knows that the lease ran out, and is about to take it back.
  void LetTheLeaseRunOut() {
    gate.Close(4096, SIZE_MAX);  // before it renews
    ASSERT_TRUE(WaitUntil([] { return gate.reached.load(); }));
    SessionPtr seen = OpenSession(other_, kId);
    ASSERT_TRUE(WaitUntil([&] { return !IsLive(seen); }));
    gate.Close(kId.size(), 1024);  // where it writes the `begin`, in which the id is
    ASSERT_TRUE(WaitUntil([] { return gate.reached.load(); }));
  }
  // Runs the call, which may or may not wait for the keeper, and then lets the keeper go on.
  agx_status Meanwhile(const std::function<agx_status()>& call) {
    Background<agx_status> background([&] {
      mine = true;
      return call();
    });
    (void)WaitUntil([&] { return background.done(); }, std::chrono::milliseconds(300));
    gate.Open();
    return background.Get();
  }

  const std::string kId = std::string(200, 'i');
  ClientPtr client_;
  ClientPtr other_;
  SessionPtr session_;
};

TEST_F(TakeBack, WhatWasStoppedStaysSo) {
  LetTheLeaseRunOut();
  EXPECT_EQ(Meanwhile([&] { return agx_stop(session_.get(), 60000); }), AGX_OK);
  SessionPtr seen = OpenSession(other_, kId);
  EXPECT_FALSE(WaitUntil([&] { return IsLive(seen); }, std::chrono::milliseconds(300)));
  EXPECT_THAT(Stored(seen), ElementsAre("begin", "end"));
  EXPECT_EQ(agx_is_canceled(session_.get()), 0);
}

TEST_F(TakeBack, WhatWasStoppedWithoutGraceStaysGone) {
  LetTheLeaseRunOut();
  EXPECT_EQ(Meanwhile([&] { return agx_stop(session_.get(), 0); }), AGX_OK);
  SessionPtr seen = OpenSession(other_, kId);
  EXPECT_FALSE(WaitUntil([&] { return IsLive(seen); }, std::chrono::milliseconds(300)));
  EXPECT_THAT(Stored(seen), IsEmpty());
}

TEST_F(TakeBack, WhatWasStoppedAndStartedAgainIsNotTakenForAnothers) {
  LetTheLeaseRunOut();
  EXPECT_EQ(Meanwhile([&] {
              agx_status status = agx_stop(session_.get(), 60000);
              return status == AGX_OK ? agx_start(session_.get(), nullptr) : status;
            }),
            AGX_OK);
  EXPECT_FALSE(WaitUntil([&] { return agx_is_canceled(session_.get()) == 1; },
                         std::chrono::milliseconds(300)));
  EXPECT_TRUE(IsLive(OpenSession(other_, kId)));
  EXPECT_EQ(agx_stop(session_.get(), -1), AGX_OK);
}

TEST_F(TakeBack, OtherwiseItIsTakenBack) {
  LetTheLeaseRunOut();
  gate.Open();
  SessionPtr seen = OpenSession(other_, kId);
  EXPECT_TRUE(WaitUntil([&] { return IsLive(seen); }));
  EXPECT_EQ(agx_is_canceled(session_.get()), 0);
}

}  // namespace
}  // namespace agx::test
