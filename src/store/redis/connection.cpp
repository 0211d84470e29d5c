#include "store/redis/connection.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>

#if AGX_HAVE_TLS
#include "store/redis/tls.h"
#endif

namespace agx::redis {
namespace {

constexpr size_t kReadSize = size_t{64} * 1024;

timeval ToTimeval(int64_t ms) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(ms / 1000);
  value.tv_usec = static_cast<suseconds_t>(ms % 1000 * 1000);
  return value;
}

redisContext* Connect(const Config& config) {
  timeval timeout = ToTimeval(config.connect_timeout_ms);
  if (config.kind == StoreKind::kUnix) {
    return redisConnectUnixWithTimeout(config.path.c_str(), timeout);
  }
  return redisConnectWithTimeout(config.host.c_str(), config.port, timeout);
}

// The number after "redis_version:" or "valkey_version:" in INFO; Valkey gives a Redis version that
// it is compatible with.
bool FindVersion(std::string_view info, int* major, int* minor) {
  constexpr std::string_view kLabel = "redis_version:";
  size_t at = info.find(kLabel);
  if (at == std::string_view::npos) return false;
  std::string number(info.substr(at + kLabel.size(), 16));
  return std::sscanf(number.c_str(), "%d.%d", major, minor) == 2;
}

}  // namespace

Result<std::unique_ptr<Connection>> Dialer::Dial() {
  redisContext* context = Connect(config_);
  if (context == nullptr) return Status(AGX_ENOMEM, "out of memory");
  std::unique_ptr<Connection> connection;
  try {
    connection.reset(new Connection(this, context));
  } catch (...) {
    redisFree(context);
    throw;
  }
  if (Status status = connection->Begin(); !status.ok()) return status;
  return connection;
}

void Dialer::Close() noexcept {
  std::lock_guard lock(mutex_);
  closed_ = true;
  for (Connection* connection = first_; connection != nullptr; connection = connection->next_) {
    connection->Shutdown();
  }
}

bool Dialer::Add(Connection* connection) noexcept {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  connection->next_ = first_;
  if (first_ != nullptr) first_->previous_ = connection;
  first_ = connection;
  return true;
}

void Dialer::Remove(Connection* connection) noexcept {
  std::lock_guard lock(mutex_);
  (connection->previous_ != nullptr ? connection->previous_->next_ : first_) = connection->next_;
  if (connection->next_ != nullptr) connection->next_->previous_ = connection->previous_;
}

Connection::Connection(Dialer* dialer, redisContext* context)
    : dialer_(dialer),
      config_(dialer->config()),
      context_(nullptr),
      fd_(-1),
      buffer_(new char[kReadSize]) {
  context_ = context;
}

Connection::~Connection() {
  if (added_) dialer_->Remove(this);
  redisFree(context_);
}

Status Connection::Begin() {
  if (context_->err == REDIS_ERR_OOM || !parser_.valid()) return {AGX_ENOMEM, "out of memory"};
  if (context_->err != 0) {
    return {AGX_ECONNECT, Cat("cannot connect to ", Describe(config_), ": ", context_->errstr,
                              "; is the server running, and the address right?")};
  }
  fd_ = context_->fd;
  fcntl(fd_, F_SETFD, FD_CLOEXEC);  // programs that the caller starts are not to have it
  added_ = dialer_->Add(this);
  if (!added_) return {AGX_ECLOSED, "the client is closed"};
  redisSetTimeout(context_, ToTimeval(config_.command_timeout_ms));
  if (config_.kind != StoreKind::kUnix) redisEnableKeepAlive(context_);
  if (config_.tls) {
    if (Status status = StartTls(); !status.ok()) return status;
  }
  return Introduce();
}

Status Connection::StartTls() {
#if AGX_HAVE_TLS
  if (Status status = BeginTls(config_, context_); !status.ok()) return status;
  // From here on poll decides when to read and write, so that one thread can do either while
  // another waits.
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  context_->flags &= ~REDIS_BLOCK;
  tls_ = true;
  return {};
#else
  return {AGX_EUNSUPPORTED,
          "rediss:// needs TLS, which this libagx was built without (its hiredis has none)"};
#endif
}

Status Connection::Introduce() {
  Commands commands;
  if (!config_.password.empty()) {
    if (config_.user.empty()) {
      commands.Add("AUTH", config_.password);
    } else {
      commands.Add("AUTH", config_.user, config_.password);
    }
  }
  size_t auth = commands.count();
  if (config_.database != 0) commands.Add("SELECT", int64_t{config_.database});
  size_t select = commands.count();
  commands.Add("CLIENT", "SETNAME", config_.client_name);
  commands.Add("INFO", "server");

  ValueSink sink;
  if (Status status = Execute(commands, &sink); !status.ok()) return status;
  for (size_t i = 0; i < sink.replies.size(); ++i) {
    const Value& reply = sink.replies[i];
    if (!reply.is_error()) continue;
    if (i < auth) return ServerError(reply.text, Cat("logging in to ", Describe(config_)));
    if (i < select) {
      return {AGX_EINVAL, Cat("database ", config_.database, " of ", Describe(config_),
                              ": the server says \"", reply.text, "\"")};
    }
    // A proxy may know neither CLIENT nor INFO; but a server that wants a password has to be heard.
    if (reply.text.starts_with("NOAUTH")) {
      return ServerError(reply.text, Cat("logging in to ", Describe(config_)));
    }
  }
  int major = 0;
  int minor = 0;
  if (FindVersion(sink.replies.back().text, &major, &minor) &&
      (major < 6 || (major == 6 && minor < 2))) {
    return {AGX_EUNSUPPORTED, Cat(Describe(config_), " is Redis ", major, ".", minor,
                                  "; Redis 6.2 or later, or Valkey, is needed")};
  }
  return {};
}

long Connection::ReadSome(char* buffer, size_t size) {
#if AGX_HAVE_TLS
  if (tls_) {
    std::lock_guard lock(tls_mutex_);
    return ReadTls(context_, buffer, size);
  }
#endif
  return Receivable(recv(fd_, buffer, size, MSG_DONTWAIT));
}

// What recv says: > 0 bytes, 0 nothing yet, -1 broken.
long Connection::Receivable(ssize_t received) {
  if (received > 0) return received;
  if (received == 0) errno = ECONNRESET;
  bool nothing = received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  return nothing ? 0 : -1;
}

long Connection::WriteSome(const char* bytes, size_t size) {
  for (;;) {
    ssize_t n = send(fd_, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
  }
}

int Connection::Poll(short events, TimePoint deadline, int wake_fd) const {
  pollfd fds[2] = {{fd_, events, 0}, {wake_fd, POLLIN, 0}};
  for (;;) {
    int64_t wait = deadline == kNever ? -1 : MillisUntil(deadline);
    int n = poll(fds, wake_fd >= 0 ? 2 : 1, static_cast<int>(wait));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) {
      if (deadline != kNever && Clock::now() >= deadline) return 0;
      continue;
    }
    return fds[0].revents != 0 ? 1 : 2;
  }
}

Status Connection::SendTls(std::string_view bytes, size_t* sent) {
  *sent = bytes.size();  // how much of it arrived is not known
#if AGX_HAVE_TLS
  TimePoint deadline = DeadlineAfter(config_.command_timeout_ms);
  bool done = false;
  bool queued = false;
  while (!done) {
    {
      std::lock_guard lock(tls_mutex_);
      if (!queued && !QueueTls(context_, bytes)) return {AGX_ENOMEM, "out of memory"};
      queued = true;
      if (!FlushTls(context_, &done)) return Lost(context_->errstr);
    }
    if (!done && Poll(POLLOUT, deadline, -1) != 1) return Lost("it takes no more data");
  }
#endif
  return {};
}

Status Connection::Send(std::string_view bytes, size_t* sent) {
  if (tls_) return SendTls(bytes, sent);
  TimePoint deadline = kNever;
  *sent = 0;
  while (*sent < bytes.size()) {
    long n = WriteSome(bytes.data() + *sent, bytes.size() - *sent);
    if (n < 0) return Lost(std::strerror(errno));
    *sent += static_cast<size_t>(n);
    if (n > 0) {
      deadline = kNever;
      continue;
    }
    if (deadline == kNever) deadline = DeadlineAfter(config_.command_timeout_ms);
    if (Poll(POLLOUT, deadline, -1) != 1) return Lost("it takes no more data");
  }
  return {};
}

// Keeps what is set if it is a little less: setting it is a system call.
void Connection::SetReceiveTimeout(Clock::duration timeout) {
  int64_t ms = std::chrono::ceil<Millis>(timeout).count();
  if (ms >= receive_timeout_ms_ && ms * 9 / 10 <= receive_timeout_ms_) return;
  timeval value = ToTimeval(ms);
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value));
  receive_timeout_ms_ = ms;
}

Connection::Received Connection::Receive(TimePoint deadline, int wake_fd, Status* status) {
  char* buffer = buffer_.get();
  // TLS may hold decrypted bytes that poll does not see.
  long n = tls_ ? ReadSome(buffer, kReadSize) : 0;
  // A read that waits by itself saves a poll. Its timeout counts in the kernel's ticks, too coarse
  // for the end of a wait.
  constexpr Millis kTick{20};
  TimePoint now = Clock::now();
  if (!tls_ && wake_fd < 0 && deadline != kNever && deadline - now > kTick) {
    SetReceiveTimeout(deadline - now);
    n = Receivable(recv(fd_, buffer, kReadSize, 0));
  }
  while (n == 0) {
    int ready = Poll(POLLIN, deadline, wake_fd);
    if (ready == 0) return Received::kTimeout;
    if (ready == 2) return Received::kWoken;
    n = ready == 1 ? ReadSome(buffer, kReadSize) : -1;
  }
  return Take(n, status);
}

Connection::Received Connection::WaitReadable(TimePoint deadline, int wake_fd) const {
  int ready = Poll(POLLIN, deadline, wake_fd);
  return ready == 1 ? Received::kData : ready == 0 ? Received::kTimeout : Received::kWoken;
}

Connection::Received Connection::ReceiveNow(Status* status) {
  long n = ReadSome(buffer_.get(), kReadSize);
  return n == 0 ? Received::kTimeout : Take(n, status);
}

// Feeds what was read to the parser.
Connection::Received Connection::Take(long received, Status* status) {
  if (received < 0) {
    *status = Lost(tls_ || errno == ECONNRESET ? "the server closed it" : std::strerror(errno));
    return Received::kBroken;
  }
  if (!parser_.Feed(buffer_.get(), static_cast<size_t>(received))) {
    *status = {AGX_ENOMEM, "out of memory"};
    return Received::kBroken;
  }
  return Received::kData;
}

Status Connection::Lost(std::string_view why) const {
  return {AGX_ECONNECT, Cat("the connection to ", Describe(config_), " was lost: ", why)};
}

Status Connection::Broken(const Sink& sink) const {
  if (sink.out_of_memory()) return {AGX_ENOMEM, "out of memory"};
  return {AGX_EPROTOCOL,
          Cat(Describe(config_), " sent what is not the reply of a Redis server (",
              parser_.refused() ? "of another shape than was asked for" : parser_.error(),
              "); is it one?")};
}

Status Connection::Execute(const Commands& commands, Sink* sink) {
  size_t sent = 0;
  if (Status status = Send(commands.bytes(), &sent); !status.ok()) return status;
  TimePoint deadline = DeadlineAfter(config_.command_timeout_ms);
  for (size_t i = 0; i < commands.count(); ++i) {
    sink->BeginReply(i);
    for (;;) {
      Parser::Outcome outcome = parser_.Next(sink);
      if (outcome == Parser::Outcome::kComplete) break;
      if (outcome == Parser::Outcome::kBroken) return Broken(*sink);
      Status status;
      Received received = Receive(deadline, -1, &status);
      if (received == Received::kBroken) return status;
      if (received == Received::kTimeout) {
        return {AGX_ETIMEOUT, Cat(Describe(config_), " did not answer within ",
                                  config_.command_timeout_ms, " ms")};
      }
    }
    sink->EndReply();
  }
  return {};
}

bool Connection::Stale() {
  if (tls_) return false;
  char byte = 0;
  ssize_t n = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Connection::Shutdown() { shutdown(fd_, SHUT_RDWR); }

Backoff::Backoff(const Config& config)
    : deadline_(DeadlineAfter(std::max<int64_t>(config.reconnect_timeout_ms, 0))),
      attempts_left_(config.reconnect_timeout_ms < 0 ? 0 : config.reconnect_attempts),
      delay_ms_(20) {}

bool Backoff::Next(TimePoint* until) {
  TimePoint now = Clock::now();
  if (attempts_left_-- <= 0 || now >= deadline_) return false;
  // The clock's low digits are jitter enough to keep many clients apart.
  auto ticks = static_cast<uint64_t>(now.time_since_epoch().count());
  std::minstd_rand random(static_cast<unsigned>(ticks ^ (ticks >> 17)));
  int64_t jittered = delay_ms_ / 2 + static_cast<int64_t>(random() % (delay_ms_ / 2 + 1));
  *until = std::min(now + Millis(jittered), deadline_);
  delay_ms_ = std::min<int64_t>(delay_ms_ * 2, 2000);
  return true;
}

}  // namespace agx::redis
