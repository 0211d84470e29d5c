// Elapsed time and deadlines.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace agx {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Millis = std::chrono::milliseconds;

inline constexpr TimePoint kNever = TimePoint::max();

// Longer waits than this are waits without end.
inline constexpr int64_t kLongestWaitMs = int64_t{1000} * 60 * 60 * 24 * 365 * 10;

// The moment that a C ABI timeout names: negative and huge ones never come.
inline TimePoint DeadlineAfter(int64_t timeout_ms, TimePoint now = Clock::now()) {
  if (timeout_ms < 0 || timeout_ms > kLongestWaitMs) return kNever;
  return now + Millis(timeout_ms);
}

// Whole milliseconds until then, rounded up so that a wait does not end early; at most `cap`.
inline int64_t MillisUntil(TimePoint then, TimePoint now = Clock::now(), int64_t cap = INT32_MAX) {
  if (then <= now) return 0;
  if (then == kNever) return cap;
  return std::min<int64_t>(cap, std::chrono::ceil<Millis>(then - now).count());
}

// Milliseconds since 1970, for entry ids.
inline int64_t WallMillis() {
  return std::chrono::duration_cast<Millis>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace agx
