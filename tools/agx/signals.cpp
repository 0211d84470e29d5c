#include "signals.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>

#include "util.h"

namespace cli {
namespace {

// How long a command may take to end after a signal, if, say, it is writing to a full pipe.
constexpr int kPatienceMs = 2000;
constexpr std::chrono::milliseconds kMoment(100);
constexpr std::chrono::milliseconds kTick(1);

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

bool IsPipe(int fd) {
  struct stat about = {};
  return fstat(fd, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode));
}

}  // namespace

Watcher::Watcher() {
  const sigset_t set = Watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC);
  if (signals_ < 0) pthread_sigmask(SIG_UNBLOCK, &set, nullptr);  // better ended than deaf
  stop_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { Run(); });
}

Watcher::~Watcher() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_, &one, sizeof one);
  thread_.join();
  close(stop_);
  close(signals_);
  const sigset_t set = Watched();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void Watcher::OnWake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
  if (wake_ && (signal_ != 0 || output_closed_)) wake_();
}

bool Watcher::HasCome(int signal) const {
  const sigset_t set = Watched();
  if (sigismember(&set, signal) != 1) return false;
  for (auto left = kMoment; signal_ == 0 && left > left.zero(); left -= kTick) {
    std::this_thread::sleep_for(kTick);
  }
  return signal_ != 0;
}

void Watcher::Run() {
  std::array<pollfd, 3> waits = {{{signals_, POLLIN, 0},
                                  {stop_, POLLIN, 0},
                                  {IsPipe(STDOUT_FILENO) ? STDOUT_FILENO : -1, 0, 0}}};
  for (;;) {
    const int ready =
        poll(waits.data(), waits.size(), signal_ != 0 && !patient_ ? kPatienceMs : -1);
    if (ready == 0) _exit(kSignal + signal_);
    if (ready < 0) continue;
    if (waits[1].revents != 0) return;
    if (waits[0].revents != 0) {
      signalfd_siginfo info = {};
      if (read(signals_, &info, sizeof info) != sizeof info) continue;
      if (signal_ != 0) _exit(kSignal + signal_);  // they mean it
      signal_ = static_cast<int>(info.ssi_signo);
      Wake();
    }
    if ((waits[2].revents & (POLLERR | POLLHUP)) != 0) {
      waits[2].fd = -1;
      output_closed_ = true;
      Wake();
    }
  }
}

void Watcher::Wake() {
  const std::lock_guard lock(mutex_);
  if (wake_) {
    wake_();
  } else if (signal_ != 0) {
    _exit(kSignal + signal_);
  }
}

}  // namespace cli
