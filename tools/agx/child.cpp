#include "child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>

#include "util.h"

extern char** environ;

namespace cli {
namespace {

std::string Why(int error) { return std::system_category().message(error); }

bool IsExecutable(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

// As this process was started: nothing blocked or ignored that it blocks or ignores itself.
class Attributes {
 public:
  Attributes() {
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &pipe);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Attributes() { posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_ = {};
};

int Spawn(const std::vector<std::string>& command, int input, int64_t attempt, pid_t* pid) {
  std::vector<char*> words;
  words.reserve(command.size() + 1);
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  std::string variable = "AGX_ATTEMPT=" + std::to_string(attempt);
  std::vector<char*> environment = {variable.data()};
  for (char** at = environ; *at != nullptr; ++at) {
    if (!std::string_view(*at).starts_with("AGX_ATTEMPT=")) environment.push_back(*at);
  }
  environment.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  const Attributes attributes;
  const int error =
      posix_spawnp(pid, words[0], &actions, attributes.get(), words.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// A command need not read its input.
void WriteInput(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

bool IsProgram(const std::string& name) {
  if (name.empty()) return false;
  if (name.find('/') != std::string::npos) return IsExecutable(name);
  std::string path = Environment("PATH");
  if (path.empty()) path = "/usr/local/bin:/bin:/usr/bin";
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    std::string file = end > at ? path.substr(at, end - at) : ".";
    file.append("/").append(name);
    if (IsExecutable(file)) return true;
    at = end + 1;
  }
  return false;
}

ChildEnd RunChild(const std::vector<std::string>& command, const std::string& input,
                  int64_t attempt) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {"no pipe to the command: " + Why(errno)};
  pid_t pid = -1;
  const int error = Spawn(command, ends[0], attempt, &pid);
  close(ends[0]);
  if (error == 0) WriteInput(ends[1], input);
  close(ends[1]);
  if (error != 0) return {"the command cannot be run: " + Why(error)};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return {"the command cannot be waited for: " + Why(errno)};
  }
  if (WIFSIGNALED(status)) {
    return {"signal " + std::to_string(WTERMSIG(status)), WTERMSIG(status)};
  }
  const int code = WEXITSTATUS(status);
  if (code == 0) return {};
  // As a shell says that what it ran has died of a signal.
  return {"exit status " + std::to_string(code), code > kSignal ? code - kSignal : 0};
}

}  // namespace cli
