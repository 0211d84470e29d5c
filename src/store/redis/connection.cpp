#include "store/redis/connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>

#include "store/redis/tls.h"

namespace agx::redis {
namespace {

timeval ToTimeval(int64_t ms) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(ms / 1000);
  value.tv_usec = static_cast<suseconds_t>(ms % 1000 * 1000);
  return value;
}

// The number after `label` in INFO.
bool FindVersion(std::string_view info, std::string_view label, int* major, int* minor) {
  size_t at = info.find(label);
  if (at == std::string_view::npos) return false;
  std::string number(info.substr(at + label.size(), 16));
  return std::sscanf(number.c_str(), "%d.%d", major, minor) == 2;
}

}  // namespace

Result<std::unique_ptr<Connection>> Dialer::Dial() {
#if !AGX_HAVE_TLS
  if (config_.tls) {
    return Status(
        AGX_EUNSUPPORTED,
        "rediss:// needs TLS, which this libagx was built without (its hiredis has none)");
  }
#endif
  std::unique_ptr<Connection> connection(new Connection(this));
  Status status = connection->Open();
  if (status.ok()) {
    if (log_) log_(AGX_LOG_INFO, Cat("connected to ", Describe(config_), connection->server_));
    return connection;
  }
  if (closed()) return Status(AGX_ECLOSED, "the client is closed");
  return status;
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

// Under the lock, so that Close comes before it, or finds a socket that can be shut down.
int Dialer::Begin(Connection* connection, const Address& address) noexcept {
  std::lock_guard lock(mutex_);
  if (closed_) return ECANCELED;
  if (connection->fd_ >= 0) close(connection->fd_);
  connection->fd_ = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (connection->fd_ < 0) return errno;
  return connect(connection->fd_, address.generic(), address.size) == 0 ? 0 : errno;
}

bool Dialer::closed() {
  std::lock_guard lock(mutex_);
  return closed_;
}

Connection::Connection(Dialer* dialer)
    : dialer_(dialer),
      config_(dialer->config()),
      open_by_(DeadlineAfter(config_.connect_timeout_ms)) {}

Connection::~Connection() {
  if (added_) dialer_->Remove(this);
  tls_.reset();
  if (fd_ >= 0) close(fd_);
}

Status Connection::Open() {
  if (!parser_.valid()) return {AGX_ENOMEM, "out of memory"};
  added_ = dialer_->Add(this);
  if (!added_) return {AGX_ECLOSED, "the client is closed"};
  if (Status status = Connect(); !status.ok()) return status;
  if (config_.tls) {
    if (Status status = StartTls(); !status.ok()) return status;
  }
  if (Status status = Introduce(); !status.ok()) return status;
  open_ = true;
  return {};
}

// To the first of the addresses that takes it.
Status Connection::Connect() {
  Result<std::vector<Address>> addresses = Resolve(config_);
  if (!addresses.ok()) return addresses.status();
  std::string why;
  size_t left = addresses->size();
  for (const Address& address : *addresses) {
    TimePoint until = open_by_;
    // One that does not answer leaves time for those after it.
    TimePoint now = Clock::now();
    if (until != kNever && now < until) until = now + (until - now) / left;
    --left;
    int error = ConnectTo(address, until);
    if (error == 0) {
      SetSocketOptions(address.family());
      return {};
    }
    why = Cat(why, why.empty() ? "" : ", ", address.text, address.text.empty() ? "" : ": ",
              std::strerror(error));
  }
  return {AGX_ECONNECT, Cat("cannot connect to ", Describe(config_), ": ", why,
                            "; is the server running, and the address right?")};
}

// 0 if it is connected, else the system's error.
int Connection::ConnectTo(const Address& address, TimePoint until) {
  for (;;) {
    int error = dialer_->Begin(this, address);
    if (error == EINPROGRESS) {
      int ready = Poll(POLLOUT, until, -1);
      if (ready == 0) return ETIMEDOUT;
      if (ready < 0) return errno;
      socklen_t size = sizeof(error);
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      return error;
    }
    // A Unix socket whose queue is full says so at once, and tells nobody when it is not any more.
    bool full = error == EAGAIN && address.family() == AF_UNIX;
    if (!full || Clock::now() >= until) return error;
    constexpr int kFullMs = 10;
    poll(nullptr, 0, kFullMs);
  }
}

void Connection::SetSocketOptions(int family) const {
  // From here on its reads may wait in the system. TLS never lets them.
  if (!config_.tls) fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) & ~O_NONBLOCK);
  if (family == AF_UNIX) return;
  auto set = [&](int level, int name, int value) {
    setsockopt(fd_, level, name, &value, sizeof(value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // A peer that is gone without a word is noticed after half a minute.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Status Connection::StartTls() {
#if AGX_HAVE_TLS
  Result<std::unique_ptr<Tls>> begun = Tls::Begin(config_, fd_);
  if (!begun.ok()) return begun.status();
  for (;;) {
    short events = 0;
    if (Status status = (*begun)->ShakeHands(&events); !status.ok()) return status;
    if (events == 0) break;
    if (Poll(events, open_by_, -1) != 0) continue;
    return {AGX_ETIMEOUT, Cat("TLS with ", Describe(config_), ": no answer within ",
                              config_.connect_timeout_ms, " ms; does it speak TLS?")};
  }
  tls_ = std::move(*begun);
#endif
  return {};
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
      std::string database = Cat("database ", config_.database, " of ", Describe(config_));
      Status status = ServerError(reply.text, database);
      bool refused = status.code() == AGX_ESERVER || status.code() == AGX_EUNSUPPORTED;
      if (!refused) return status;
      return {AGX_EINVAL, Cat(database, ": the server says \"", reply.text, "\"")};
    }
    // A proxy may know neither CLIENT nor INFO; but a server that wants a password has to be heard.
    if (reply.text.starts_with("NOAUTH")) {
      return ServerError(reply.text, Cat("logging in to ", Describe(config_)));
    }
  }
  return CheckVersion(sink.replies.back().text);
}

Status Connection::CheckVersion(std::string_view info) {
  int major = 0;
  int minor = 0;
  // Valkey also gives a Redis version, which it is compatible with.
  if (FindVersion(info, "valkey_version:", &major, &minor)) {
    server_ = Cat(", Valkey ", major, ".", minor);
    return {};
  }
  if (!FindVersion(info, "redis_version:", &major, &minor)) return {};
  server_ = Cat(", Redis ", major, ".", minor);
  if (major > 6 || (major == 6 && minor >= 2)) return {};
  return {AGX_EUNSUPPORTED, Cat(Describe(config_), " is Redis ", major, ".", minor,
                                "; Redis 6.2 or later, or Valkey, is needed")};
}

long Connection::ReadSome(char* buffer, size_t size) {
#if AGX_HAVE_TLS
  if (tls_ != nullptr) {
    std::lock_guard lock(tls_mutex_);
    return tls_->Read(buffer, size);
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
  TimePoint deadline = GiveUpAt();
  bool done = false;
  bool queued = false;
  while (!done) {
    {
      std::lock_guard lock(tls_mutex_);
      if (!queued && !tls_->Queue(bytes)) return {AGX_ENOMEM, "out of memory"};
      queued = true;
      if (!tls_->Flush(&done)) return Lost(tls_->error());
    }
    if (!done && Poll(POLLOUT, deadline, -1) != 1) return Lost("it takes no more data");
  }
#endif
  return {};
}

Status Connection::Send(std::string_view bytes, size_t* sent) {
  if (tls_ != nullptr) return SendTls(bytes, sent);
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
    if (deadline == kNever) deadline = GiveUpAt();
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
  size_t room = 0;
  char* buffer = parser_.Room(&room);
  if (buffer == nullptr) return OutOfMemory(status);
  // TLS may hold decrypted bytes that poll does not see.
  long n = tls_ != nullptr ? ReadSome(buffer, room) : 0;
  // A read that waits by itself saves a poll. Its timeout counts in the kernel's ticks, too coarse
  // for the end of a wait.
  constexpr Millis kTick{20};
  TimePoint now = Clock::now();
  if (tls_ == nullptr && wake_fd < 0 && deadline != kNever && deadline - now > kTick) {
    SetReceiveTimeout(deadline - now);
    n = Receivable(recv(fd_, buffer, room, 0));
  }
  while (n == 0) {
    int ready = Poll(POLLIN, deadline, wake_fd);
    if (ready == 0) return Received::kTimeout;
    if (ready == 2) return Received::kWoken;
    n = ready == 1 ? ReadSome(buffer, room) : -1;
  }
  return Take(n, status);
}

Connection::Received Connection::ReceiveNow(Status* status) {
  size_t room = 0;
  char* buffer = parser_.Room(&room);
  if (buffer == nullptr) return OutOfMemory(status);
  long n = ReadSome(buffer, room);
  return n == 0 ? Received::kTimeout : Take(n, status);
}

Connection::Received Connection::OutOfMemory(Status* status) {
  *status = {AGX_ENOMEM, "out of memory"};
  return Received::kBroken;
}

// What was read is the parser's.
Connection::Received Connection::Take(long received, Status* status) {
  if (received < 0) {
    *status = Lost(tls_ != nullptr || errno == ECONNRESET ? "the server closed it"
                                                          : std::strerror(errno));
    return Received::kBroken;
  }
  parser_.Received(static_cast<size_t>(received));
  return Received::kData;
}

Status Connection::Lost(std::string_view why) const {
  return {AGX_ECONNECT, Cat("the connection to ", Describe(config_), " was lost: ", why)};
}

TimePoint Connection::GiveUpAt() const {
  TimePoint silent = DeadlineAfter(config_.command_timeout_ms);
  return open_ ? silent : std::min(silent, open_by_);
}

Status Connection::Silent() const {
  bool late = !open_ && Clock::now() >= open_by_;
  int64_t ms = late ? config_.connect_timeout_ms : config_.command_timeout_ms;
  return {AGX_ETIMEOUT, Cat(Describe(config_), " did not answer within ", ms, " ms")};
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
  TimePoint deadline = GiveUpAt();
  for (size_t i = 0; i < commands.count(); ++i) {
    sink->BeginReply(i);
    for (;;) {
      Parser::Outcome outcome = parser_.Next(sink);
      if (outcome == Parser::Outcome::kComplete) break;
      if (outcome == Parser::Outcome::kBroken) return Broken(*sink);
      Status status;
      Received received = Receive(deadline, -1, &status);
      if (received == Received::kBroken) return status;
      if (received == Received::kTimeout) return Silent();
    }
    sink->EndReply();
  }
  return {};
}

bool Connection::Stale() {
  if (tls_ != nullptr) return false;
  char byte = 0;
  ssize_t n = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Connection::Shutdown() { shutdown(fd_, SHUT_RDWR); }

Backoff::Backoff(const Config& config, const StopFlag* stop)
    : stop_(stop),
      deadline_(DeadlineAfter(std::max<int64_t>(config.reconnect_timeout_ms, 0))),
      attempts_left_(config.reconnect_timeout_ms < 0 ? 0 : config.reconnect_attempts),
      delay_ms_(20) {}

bool Backoff::Next(TimePoint* until) {
  TimePoint now = Clock::now();
  if (stopped() || attempts_left_-- <= 0 || now >= deadline_) return false;
  // The clock's low digits are jitter enough to keep many clients apart.
  auto ticks = static_cast<uint64_t>(now.time_since_epoch().count());
  std::minstd_rand random(static_cast<unsigned>(ticks ^ (ticks >> 17)));
  int64_t jittered = delay_ms_ / 2 + static_cast<int64_t>(random() % (delay_ms_ / 2 + 1));
  *until = std::min(now + Millis(jittered), deadline_);
  delay_ms_ = std::min<int64_t>(delay_ms_ * 2, 2000);
  return true;
}

}  // namespace agx::redis
