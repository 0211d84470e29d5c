#include "server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace bench {
namespace {

Server* running = nullptr;

int FreePort() {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  bool bound = fd >= 0 && bind(fd, generic, size) == 0 && getsockname(fd, generic, &size) == 0;
  if (fd >= 0) close(fd);
  if (!bound) Fail("no port is free");
  return ntohs(address.sin_port);
}

// Runs the program with these descriptors as its standard input and output. It ends when this one does.
pid_t Run(const std::vector<std::string>& arguments, int in, int out) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0) Fail("cannot fork");
  if (pid > 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  dup2(in, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  execvp(argv[0], argv.data());
  _exit(127);
}

const char* Program(const char* variable, const char* name) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : name;
}

}  // namespace

Server::Server() {
  char name[] = "/tmp/agx-bench-XXXXXX";
  if (mkdtemp(name) == nullptr) Fail("cannot make a directory in /tmp");
  directory_ = name;
  running = this;
  std::at_quick_exit([] {
    if (running != nullptr) running->Stop();
  });
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (Start()) return;
  }
  std::string log = directory_ + "/log";
  Fail("redis-server does not start; its log is " + log);
}

bool Server::Start() {
  port_ = FreePort();
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  pid_ = Run({Program("REDIS_SERVER", "redis-server"), "--bind", "127.0.0.1", "--port",
              std::to_string(port_), "--unixsocket", directory_ + "/socket", "--save", "",
              "--appendonly", "no", "--dir", directory_, "--logfile", directory_ + "/log"},
             null, null);
  close(null);
  for (int i = 0; i < 500; ++i) {
    SleepMicros(10000);
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) break;
    if (Answers()) return Plain(tcp()).Info("server", "process_id") == std::to_string(pid_);
  }
  pid_ = -1;
  return false;
}

bool Server::Answers() const {
  std::unique_ptr<redisContext, void (*)(redisContext*)> context(redisConnect("127.0.0.1", port_),
                                                                 redisFree);
  return context != nullptr && context->err == 0;
}

Server::~Server() {
  Stop();
  running = nullptr;
}

void Server::Stop() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

Child::Child(const std::vector<std::string>& arguments) {
  int down[2];
  int up[2];
  if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0) Fail("no descriptor is left");
  pid_ = Run(arguments, down[0], up[1]);
  close(down[0]);
  close(up[1]);
  to_ = fdopen(down[1], "w");
  from_ = fdopen(up[0], "r");
}

Child::~Child() {
  // The end of its input tells it to end.
  fclose(to_);
  fclose(from_);
  waitpid(pid_, nullptr, 0);
}

void Child::Tell(const std::string& line) {
  std::fprintf(to_, "%s\n", line.c_str());
  std::fflush(to_);
}

std::string Child::Hear() {
  char* line = nullptr;
  size_t size = 0;
  ssize_t length = getline(&line, &size, from_);
  std::string heard(line != nullptr && length > 0 ? line : "", length > 0 ? length - 1 : 0);
  std::free(line);
  if (length <= 0) Fail("a program that the benchmark needs has ended");
  return heard;
}

std::string Child::HearAll() {
  std::string all;
  char buffer[4096];
  for (size_t n = 0; (n = fread(buffer, 1, sizeof(buffer), from_)) > 0;) all.append(buffer, n);
  return all;
}

std::string SelfPath() { return std::filesystem::read_symlink("/proc/self/exe"); }

}  // namespace bench
