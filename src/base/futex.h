// A word that threads sleep on. Unlike a condition variable it is 4 bytes, takes no mutex, and may
// be destroyed as soon as its waiter has seen the value it waited for.
#pragma once

#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "base/clock.h"

namespace agx {

// Sleeps while *word == expected, until woken or the deadline. May wake for no reason.
inline void FutexWait(std::atomic<uint32_t>* word, uint32_t expected, TimePoint deadline) {
  timespec until{};
  if (deadline != kNever) {
    // steady_clock is CLOCK_MONOTONIC, which is what FUTEX_WAIT_BITSET measures by.
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch());
    until.tv_sec = static_cast<time_t>(ns.count() / 1000000000);
    until.tv_nsec = static_cast<long>(ns.count() % 1000000000);
  }
  syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
          deadline == kNever ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
}

// Only the address is used, so *word may be gone by now.
inline void FutexWake(std::atomic<uint32_t>* word, int threads) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

// A bell that is rung by any thread and waited for by one or more. Take a ticket, look at what the
// bell is about, and wait with that ticket: a ring between the look and the wait is not missed.
class Bell {
 public:
  uint32_t ticket() const { return rings_.load(std::memory_order_seq_cst); }

  // Returns at once if the bell rang since the ticket was taken; false when the deadline passed.
  bool Wait(uint32_t ticket, TimePoint deadline) {
    while (rings_.load(std::memory_order_acquire) == ticket) {
      if (Clock::now() >= deadline) return false;
      waiters_.fetch_add(1, std::memory_order_seq_cst);
      FutexWait(&rings_, ticket, deadline);
      waiters_.fetch_sub(1, std::memory_order_relaxed);
    }
    return true;
  }

  void Ring() {
    rings_.fetch_add(1, std::memory_order_seq_cst);
    if (waiters_.load(std::memory_order_seq_cst) != 0) FutexWake(&rings_, INT32_MAX);
    int alert = alert_.load(std::memory_order_seq_cst);
    if (alert >= 0) eventfd_write(alert, 1);
  }

  // An eventfd to be written as well, for one that waits in poll; -1: none.
  void SetAlert(int fd) { alert_.store(fd, std::memory_order_seq_cst); }

 private:
  std::atomic<uint32_t> rings_{0};
  std::atomic<uint32_t> waiters_{0};
  std::atomic<int> alert_{-1};
};

// Set by who wants a call to give up waiting for a connection; looked at when a bell rings.
using StopFlag = std::atomic<bool>;

}  // namespace agx
