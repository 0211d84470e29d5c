// Memory that runs out at a chosen allocation. To be included by one file of a program: it replaces the
// program's malloc. Such a file is listed at the end of CMakeLists.txt.
#pragma once

#include <agx.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support/fault_tools.h"
#include "support/redis_server.h"

#if defined(__SANITIZE_ADDRESS__)
#define AGX_REAL(name) __interceptor_##name
#else
#define AGX_REAL(name) __libc_##name
#endif

namespace {

// Of the threads that are armed, the allocation that fails: the one that counts down to 0, or with `on`, all from it on.
std::atomic<int64_t> countdown{-1};
std::atomic<bool> fail_on{false};
thread_local bool armed = false;

bool IsTheOne() {
  if (!armed) return false;
  int64_t left = countdown.load(std::memory_order_relaxed);
  if (left < 0) return false;
  if (left == 0) return fail_on || countdown.exchange(-1) == 0;
  countdown.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

bool Fails() {
  if (!IsTheOne()) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

extern "C" {
void* AGX_REAL(malloc)(size_t);
void* AGX_REAL(calloc)(size_t, size_t);
void* AGX_REAL(realloc)(void*, size_t);
void AGX_REAL(free)(void*);

// These stand before those of the C library, for this program and all libraries in it.
void* malloc(size_t size) { return Fails() ? nullptr : AGX_REAL(malloc)(size); }
void* calloc(size_t count, size_t size) {
  return Fails() ? nullptr : AGX_REAL(calloc)(count, size);
}
void* realloc(void* old, size_t size) { return Fails() ? nullptr : AGX_REAL(realloc)(old, size); }
void free(void* memory) { AGX_REAL(free)(memory); }
}

// AddressSanitizer's would not come by malloc.
void* operator new(size_t size) {
  void* memory = malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t& /*tag*/) noexcept { return malloc(size); }
void* operator new[](size_t size, const std::nothrow_t& /*tag*/) noexcept { return malloc(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t /*size*/) noexcept { free(memory); }
void operator delete[](void* memory, size_t /*size*/) noexcept { free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { free(memory); }
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept { free(memory); }

namespace agx::test {
namespace {

enum class Mode {
  kOnce,  // one allocation fails
  kOn     // it and all that follow, until the call has returned
};

// Makes each call again and again, with the first, second, … allocation failing, until it gets by without.
// So every allocation of every call fails once, and whatever a failure leaves behind is what the next try begins with.
class Exhaustion {
 public:
  explicit Exhaustion(Mode mode) : mode_(mode) {}

  // `call` returns a status. What it may return when memory runs out, besides AGX_ENOMEM, is `others`. Returns its last.
  agx_status Run(const char* name, const std::function<agx_status()>& call,
                 std::vector<agx_status> others = {}) {
    constexpr int kMost = 3000;
    for (int n = 0; n < kMost; ++n) {
      agx_status status = Try(n, call);
      bool exhausted = happened_;
      if (!exhausted) return status;
      ++failures_;
      bool fits = status == AGX_OK || status == AGX_ENOMEM;
      for (agx_status other : others) fits |= status == other;
      EXPECT_TRUE(fits) << name << ", allocation " << n << ": " << Explain(status);
      if (status == AGX_OK) return status;  // it got by without
    }
    ADD_FAILURE() << name << " never gets by";
    return AGX_ENOMEM;
  }

  // One try.
  agx_status Try(int n, const std::function<agx_status()>& call) {
    fail_on = mode_ == Mode::kOn;
    countdown = n;
    armed = true;
    agx_status status = call();
    armed = false;
    happened_ = countdown <= 0;
    countdown = -1;
    fail_on = false;
    return status;
  }
  bool happened() const { return happened_; }
  int failures() const { return failures_; }

 private:
  const Mode mode_;
  bool happened_ = false;
  int failures_ = 0;
};

struct Where {
  bool redis;
  Mode mode;
};

class OutOfMemory : public testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    if (GetParam().redis) server_ = std::make_unique<RedisServer>();
  }
  std::string url() const { return server_ != nullptr ? server_->url() : "memory:exhausted"; }

  std::unique_ptr<RedisServer> server_;
};

#define AGX_ON_EACH_EXHAUSTION()                                                               \
  INSTANTIATE_TEST_SUITE_P(Of, OutOfMemory,                                                    \
                           testing::Values(Where{false, Mode::kOnce}, Where{false, Mode::kOn}, \
                                           Where{true, Mode::kOnce}, Where{true, Mode::kOn}),  \
                           [](const auto& where) {                                             \
                             return std::string(where.param.redis ? "Redis" : "Memory") +      \
                                    (where.param.mode == Mode::kOn ? "On" : "Once");           \
                           })

}  // namespace
}  // namespace agx::test
