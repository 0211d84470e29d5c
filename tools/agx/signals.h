// Ctrl-C and its kin, and a reader of our output that went away, for commands that wait.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace cli {

// While one exists, SIGINT, SIGTERM and SIGHUP do not end the process but wake it. It must be made
// before any other thread: threads inherit which signals they are spared.
class Watcher {
 public:
  Watcher();
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // From now on `wake` is called, from another thread, when there is a reason to stop, at once if
  // there was one before; until then a signal ends the process where it stands. An empty function
  // takes it back; the old one is not being called any more when this returns.
  void OnWake(std::function<void()> wake);

  // After a signal a command that does not end is waited for without end, or until a second one.
  void WaitForever() { patient_ = true; }
  // The signal that came, or 0.
  int signal() const { return signal_; }
  // Whether that one came, if need be in a moment: of two processes that get it at once the other may
  // have died of it before.
  bool HasCome(int signal) const;
  // Standard output is a pipe that nobody reads any more.
  bool output_closed() const { return output_closed_; }

 private:
  void Run();
  void Wake();

  int signals_ = -1;
  int stop_ = -1;
  std::atomic<int> signal_ = 0;
  std::atomic<bool> patient_ = false;
  std::atomic<bool> output_closed_ = false;
  std::mutex mutex_;
  std::function<void()> wake_;
  std::thread thread_;
};

}  // namespace cli
