// Waiting in tests: for a condition and with a deadline, never for a time.
#pragma once

#include <chrono>
#include <thread>

namespace agx::test {

inline constexpr std::chrono::seconds kPatience{20};

// Whether the predicate came true in time. The caller asserts it.
template <class Predicate>
[[nodiscard]] bool WaitUntil(Predicate predicate, std::chrono::milliseconds patience = kPatience) {
  auto deadline = std::chrono::steady_clock::now() + patience;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() >= deadline) return predicate();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace agx::test
