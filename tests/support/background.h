// A call in a thread of its own, of which a test can tell that it blocks.
#pragma once

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "support/wait.h"

namespace agx::test {

class Stopwatch {
 public:
  int64_t ms() const {
    using std::chrono::steady_clock;
    return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - start_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs one call in a thread of its own.
template <class Result>
class Background {
 public:
  explicit Background(std::function<Result()> call)
      : thread_([this, call = std::move(call)] {
          tid_ = static_cast<pid_t>(syscall(SYS_gettid));
          result_ = call();
          took_ms_ = watch_.ms();
          done_ = true;
        }) {}
  ~Background() {
    if (thread_.joinable()) thread_.join();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Returns once the thread sleeps in the system and goes on doing so.
  void AwaitBlocked() {
    int asleep = 0;
    EXPECT_TRUE(WaitUntil([&] {
      asleep = Sleeps() ? asleep + 1 : 0;
      return asleep >= 10 || done_;
    }));
    EXPECT_FALSE(done_) << "the call did not block";
  }
  bool done() const { return done_; }
  Result Get() {
    thread_.join();
    return std::move(*result_);
  }
  int64_t took_ms() const { return took_ms_; }

 private:
  bool Sleeps() const {
    if (tid_ == 0) return false;
    std::ifstream file("/proc/self/task/" + std::to_string(tid_) + "/stat");
    std::string text;
    std::getline(file, text);
    size_t name_end = text.rfind(')');
    return name_end != std::string::npos && text.size() > name_end + 2 && text[name_end + 2] == 'S';
  }

  Stopwatch watch_;
  std::atomic<pid_t> tid_{0};
  std::atomic<bool> done_{false};
  std::atomic<int64_t> took_ms_{0};
  std::optional<Result> result_;
  std::thread thread_;
};

}  // namespace agx::test
