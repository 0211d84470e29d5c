#include "support/redis_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "support/wait.h"

namespace agx::test {
namespace {

namespace fs = std::filesystem;

std::string FindProgram() {
  const char* named = std::getenv("AGX_REDIS_SERVER");  // NOLINT(concurrency-mt-unsafe)
  std::vector<std::string> names = {"redis-server", "valkey-server"};
  if (named != nullptr && *named != '\0') names = {named};
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe)
  for (const std::string& name : names) {
    if (name.find('/') != std::string::npos && access(name.c_str(), X_OK) == 0) return name;
    std::istringstream directories(path != nullptr ? path : "/usr/bin");
    for (std::string directory; std::getline(directories, directory, ':');) {
      std::string file = directory + "/" + name;
      if (access(file.c_str(), X_OK) == 0) return file;
    }
  }
  throw std::runtime_error("this test needs " + names.front() +
                           ", which is not on the PATH; install it or set AGX_REDIS_SERVER");
}

std::string MakeDirectory() {
  // A socket's path may not be long, so a long TMPDIR will not do.
  const char* temporary = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe)
  std::string base = temporary != nullptr && *temporary != '\0' ? temporary : "/tmp";
  if (base.size() > 60) base = "/tmp";
  std::string directory = base + "/agx-test-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) {
    throw std::runtime_error("cannot make a directory in " + base);
  }
  return directory;
}

// A child that is to die with its parent dies already with the parent's thread that made it. So
// one thread, which never ends, makes all of them.
class Spawner {
 public:
  static Spawner& Get() {
    static auto* spawner = new Spawner;
    return *spawner;
  }

  pid_t Spawn(const std::vector<std::string>& command, const std::string& log) {
    pid_t pid = -1;
    bool done = false;
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return job_ == nullptr; });
    job_ = [&] {
      pid = Fork(command, log);
      done = true;
    };
    changed_.notify_all();
    idle_.wait(lock, [&] { return done; });
    return pid;
  }

 private:
  Spawner() {
    std::thread([this] { Run(); }).detach();
  }

  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return job_ != nullptr; });
      job_();
      job_ = nullptr;
      idle_.notify_all();
    }
  }

  static pid_t Fork(const std::vector<std::string>& command, const std::string& log) {
    std::vector<char*> args;
    for (const std::string& arg : command) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(out, 1);
    dup2(out, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(args[0], args.data());
    _exit(127);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::function<void()> job_;
};

}  // namespace

RedisServer::RedisServer(Options options)
    : options_(std::move(options)), program_(FindProgram()), directory_(MakeDirectory()) {
  try {
    Start();
  } catch (...) {
    fs::remove_all(directory_);
    throw;
  }
}

RedisServer::~RedisServer() {
  Kill9();
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::vector<std::string> RedisServer::CommandLine() const {
  std::vector<std::string> line = {program_,
                                   "--bind",
                                   "127.0.0.1",
                                   "--port",
                                   std::to_string(port_),
                                   "--unixsocket",
                                   socket_path(),
                                   "--dir",
                                   directory_,
                                   "--save",
                                   "",
                                   "--daemonize",
                                   "no",
                                   "--appendonly",
                                   options_.append_only ? "yes" : "no",
                                   "--appendfsync",
                                   "always"};
  line.insert(line.end(), options_.args.begin(), options_.args.end());
  return line;
}

void RedisServer::Start() {
  constexpr int kPorts = 20;
  for (int i = 0; i < kPorts; ++i) {
    { ListenOnLoopback(&port_); }  // free at this moment; somebody else may be faster
    if (TryStart()) return;
  }
  throw std::runtime_error(program_ + " does not start:\n" + Log());
}

void RedisServer::Restart() {
  if (pid_ > 0) throw std::runtime_error("the server still runs");
  // The port is kept from others by connections in TIME_WAIT at best.
  if (!WaitUntil([&] { return TryStart(); })) {
    throw std::runtime_error(program_ + " does not start again:\n" + Log());
  }
}

bool RedisServer::TryStart() {
  fs::remove(socket_path());
  pid_ = Spawner::Get().Spawn(CommandLine(), directory_ + "/log");
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  bool exited = false;
  // Asked through the socket in our own directory: at the port another server might answer.
  bool up = WaitUntil([&] { return (exited = Exited()) || Answers(); });
  if (up && !exited) return true;
  Kill9();
  return false;
}

bool RedisServer::Answers() const {
  Fd fd = ConnectToUnix(socket_path());
  if (!fd.ok()) return false;
  try {
    return !RespConnection(std::move(fd)).Command({"PING"}).starts_with("-LOADING");
  } catch (const std::runtime_error&) {
    return false;
  }
}

bool RedisServer::Exited() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
  return pid_ <= 0;
}

void RedisServer::Kill9() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::Stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  if (!WaitUntil([&] { return Exited(); })) Kill9();
}

void RedisServer::Pause() {
  kill(pid_, SIGSTOP);
  waitpid(pid_, nullptr, WUNTRACED);
}

void RedisServer::Continue() { kill(pid_, SIGCONT); }

RespConnection RedisServer::Connect() const { return RespConnection(ConnectToUnix(socket_path())); }

std::string RedisServer::Command(const std::vector<std::string>& args) const {
  return Connect().Command(args);
}

std::string RedisServer::Log() const {
  std::ifstream file(directory_ + "/log");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace agx::test
