#include "store/redis/doorbell.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

namespace agx::redis {
namespace {

constexpr std::string_view kChannel = "__redis__:invalidate";
// A silent bell is tried so often.
constexpr int64_t kPingMs = 15000;
// Without tracking: how long a blocking read blocks, and so how often flags and new watches are
// looked at.
constexpr int64_t kSliceMs = 100;
constexpr size_t kMostStreams = 512;

// Takes ["message", channel, [key, …] or nil] apart while it is parsed, and ["message", channel,
// "token live-key"] and ["message", channel, "database key"]; everything else is passed over.
class InvalidationSink final : public Sink {
 public:
  explicit InvalidationSink(Doorbell* bell) : bell_(bell) {}

  bool String(const redisReadTask& task, std::string_view text) override {
    if (Depth(task) == 2) bell_->Ring(text);
    if (Depth(task) != 1) return true;
    if (task.idx == 0) is_message_ = text == "message";
    if (task.idx == 1) {
      is_cancel_ = is_message_ && text == bell_->cancel_channel();
      is_stop_ = is_message_ && text == kStopChannel;
    }
    if (task.idx == 2 && is_cancel_) bell_->Taken(text);
    if (task.idx == 2 && is_stop_) bell_->Stopped(text);
    return true;
  }
  bool Array(const redisReadTask& task, size_t /*size*/) override {
    if (Depth(task) == 0) is_message_ = is_cancel_ = is_stop_ = false;
    return Depth(task) < 2;
  }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return true; }
  bool Nil(const redisReadTask& task) override {
    if (Depth(task) == 1) bell_->RingAll();  // the whole database was flushed
    return true;
  }
  void Error(std::string_view /*text*/) override {}

 private:
  Doorbell* bell_;
  bool is_message_ = false;
  bool is_cancel_ = false;
  bool is_stop_ = false;
};

bool AddToEpoll(int epoll_fd, int fd, uint32_t events) {
  epoll_event event{events, {}};
  event.data.fd = fd;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

struct Doorbell::Listening {
  Listening(Doorbell* bell, std::unique_ptr<Connection> c)
      : connection(std::move(c)), guests_fd(epoll_create1(EPOLL_CLOEXEC)), sink(bell) {}
  ~Listening() {
    if (guests_fd >= 0) close(guests_fd);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  // What arrives wakes one thread: a guest that waits, or else the bell's. Linux asks those first
  // whose epoll was the first to have the socket.
  bool Share(int guest_fd, int bells_fd) const {
    constexpr uint32_t kOne = EPOLLIN | EPOLLEXCLUSIVE;
    return AddToEpoll(guests_fd, guest_fd, EPOLLIN) &&
           AddToEpoll(guests_fd, connection->fd(), kOne) &&
           AddToEpoll(bells_fd, connection->fd(), kOne);
  }

  // Reads and dispatches all that is there; false when the connection has broken.
  bool Dispatch(Status* status) {
    std::lock_guard lock(mutex);
    for (;;) {
      Connection::Received received = connection->ReceiveNow(status);
      if (received != Connection::Received::kData) {
        return received != Connection::Received::kBroken;
      }
      heard.fetch_add(1, std::memory_order_relaxed);
      Parser::Outcome outcome = connection->Parse(&sink);
      while (outcome == Parser::Outcome::kComplete) outcome = connection->Parse(&sink);
      if (outcome == Parser::Outcome::kBroken) {
        *status = connection->Broken(sink);
        return false;
      }
    }
  }

  const std::unique_ptr<Connection> connection;
  const int guests_fd;  // an epoll's
  std::atomic<uint64_t> heard{0};
  std::mutex mutex;
  InvalidationSink sink;
};

Doorbell::Doorbell(Dialer& dialer, const Log& log, std::function<void()> reset_reads)
    : dialer_(dialer),
      config_(dialer.config()),
      log_(log),
      reset_reads_(std::move(reset_reads)),
      cancel_channel_(config_.prefix + ":canceled") {}

Doorbell::~Doorbell() {
  Close();
  if (thread_.joinable()) thread_.join();
  if (wakes_fd_ >= 0) close(wakes_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
  if (guest_fd_ >= 0) close(guest_fd_);
}

Status Doorbell::Watch(std::string_view key, Store::KeyKind kind, Watcher* watcher) {
  std::lock_guard lock(mutex_);
  if (closed_) return {AGX_ECLOSED, "the client is closed"};
  if (!thread_.joinable()) {
    if (!MakeWakes()) return {AGX_ESYSTEM, "no file descriptor is left"};
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {
      return {AGX_ESYSTEM, "the system refuses a thread"};
    }
  }
  auto it = watched_.find(key);
  if (it == watched_.end()) it = watched_.emplace(std::string(key), Watched{}).first;
  it->second.kind = kind;
  it->second.watchers.push_back(watcher);
  return {};
}

bool Doorbell::MakeWakes() {
  if (guest_fd_ < 0) guest_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wakes_fd_ < 0) wakes_fd_ = epoll_create1(EPOLL_CLOEXEC);
  return guest_fd_ >= 0 && wake_fd_ >= 0 && wakes_fd_ >= 0 &&
         (AddToEpoll(wakes_fd_, wake_fd_, EPOLLIN) || errno == EEXIST);
}

void Doorbell::Unwatch(std::string_view key, Watcher* watcher) noexcept {
  std::lock_guard lock(mutex_);
  auto it = watched_.find(key);
  if (it == watched_.end()) return;
  std::vector<Watcher*>& watchers = it->second.watchers;
  auto found = std::find(watchers.begin(), watchers.end(), watcher);
  if (found != watchers.end()) watchers.erase(found);
  if (watchers.empty()) watched_.erase(it);
}

void Doorbell::Ring(std::string_view key) noexcept {
  std::lock_guard lock(mutex_);
  auto it = watched_.find(key);
  if (it == watched_.end()) return;
  for (Watcher* watcher : it->second.watchers) watcher->Changed();
}

void Doorbell::Taken(std::string_view message) noexcept {
  size_t space = message.find(' ');
  if (space == std::string_view::npos) return;
  std::lock_guard lock(mutex_);
  auto it = watched_.find(message.substr(space + 1));
  if (it == watched_.end()) return;
  for (Watcher* watcher : it->second.watchers) watcher->Taken(message.substr(0, space));
}

void Doorbell::Stopped(std::string_view message) noexcept {
  // Channels are of all databases.
  int database = -1;
  const char* end = message.data() + message.size();
  const char* space = std::from_chars(message.data(), end, database).ptr;
  if (database != config_.database || space == end || *space != ' ') return;
  std::lock_guard lock(mutex_);
  auto it = watched_.find(std::string_view(space + 1, static_cast<size_t>(end - space - 1)));
  if (it == watched_.end()) return;
  for (Watcher* watcher : it->second.watchers) watcher->ProducerStopped();
}

void Doorbell::RingAll() noexcept {
  std::lock_guard lock(mutex_);
  for (auto& [key, watched] : watched_) {
    for (Watcher* watcher : watched.watchers) watcher->Changed();
  }
}

void Doorbell::SetState(State state, int64_t id) {
  {
    std::lock_guard lock(mutex_);
    state_ = state;
    id_ = id;
  }
  state_changed_.Ring();
}

void Doorbell::SetListening(std::shared_ptr<Listening> listening) noexcept {
  std::lock_guard lock(mutex_);
  listening_.swap(listening);
}

Status Doorbell::Track(Connection& reads) {
  int64_t id = 0;
  TimePoint deadline = DeadlineAfter(config_.connect_timeout_ms);
  for (;;) {
    uint32_t ticket = state_changed_.ticket();
    {
      std::lock_guard lock(mutex_);
      // While the bell is down nothing rings; when it is up again this connection is reset.
      if (state_ != State::kStarting || !thread_.joinable() || closed_) {
        id = state_ == State::kTracking ? id_ : 0;
        break;
      }
    }
    if (!state_changed_.Wait(ticket, deadline)) break;
  }
  if (id != 0) {
    Commands commands;
    commands.Add("CLIENT", "TRACKING", "ON", "REDIRECT", id);
    ValueSink sink;
    if (Status status = reads.Execute(commands, &sink); !status.ok()) return status;
    if (sink.replies[0].is_error()) {
      // The bell's connection is gone and its thread is about to find out.
      return {AGX_ECONNECT, Cat("CLIENT TRACKING: ", sink.replies[0].text)};
    }
    // Told once, and forgotten when the connection closes its socket.
    if (!AddToEpoll(wakes_fd_, reads.fd(), EPOLLRDHUP | EPOLLONESHOT)) {
      log_(AGX_LOG_WARNING, Cat("its end will not be noticed at once: ", std::strerror(errno)));
    }
  }
  RingAll();
  return {};
}

void Doorbell::Close() noexcept {
  closed_ = true;
  closing_.Ring();
  state_changed_.Ring();
  std::lock_guard lock(mutex_);
  if (wake_fd_ >= 0) eventfd_write(wake_fd_, 1);
}

void Doorbell::Run() noexcept {
  int64_t delay_ms = 20;
  while (!closed_) {
    uint32_t ticket = closing_.ticket();
    try {
      TimePoint began = Clock::now();
      Status status = Serve();
      if (closed_) return;
      log_(AGX_LOG_WARNING, Cat("watching for changes: ", status.message()));
      if (Clock::now() - began > Millis(5000)) delay_ms = 20;
    } catch (const std::bad_alloc&) {
      // Like a lost connection: everything is read again once there is memory.
    }
    SetState(State::kDown, 0);
    RingAll();
    closing_.Wait(ticket, DeadlineAfter(delay_ms));
    delay_ms = std::min<int64_t>(delay_ms * 2, 2000);
  }
}

// One connection's life.
Status Doorbell::Serve() {
  Result<std::unique_ptr<Connection>> opened = dialer_.Dial();
  if (!opened.ok()) return opened.status();
  int64_t id = 0;
  std::string refusal;
  if (Status status = Subscribe(**opened, &id, &refusal); !status.ok()) return status;
  // Reads that connected while the bell was down ring nothing: they wait for the new state and
  // begin anew.
  SetState(State::kStarting, 0);
  reset_reads_();
  if (refusal.empty()) {
    auto listening = std::make_shared<Listening>(this, std::move(*opened));
    if (!listening->Share(guest_fd_, wakes_fd_)) {
      return {AGX_ESYSTEM, Cat("epoll: ", std::strerror(errno))};
    }
    SetListening(listening);
    SetState(State::kTracking, id);
    RingAll();
    Status status = FollowTracking(listening.get());
    SetListening(nullptr);
    // A guest may keep it a little longer.
    epoll_ctl(wakes_fd_, EPOLL_CTL_DEL, listening->connection->fd(), nullptr);
    return status;
  }
  log_(AGX_LOG_WARNING,
       Cat("the server refuses key tracking (\"", refusal, "\"): falling back to blocking reads"));
  SetState(State::kRefused, 0);
  RingAll();
  opened = dialer_.Dial();  // what was refused may have left the first in any state
  if (!opened.ok()) return opened.status();
  return FollowReads(**opened);
}

// Finds out if the server tracks keys, and subscribes to what it then tells.
Status Doorbell::Subscribe(Connection& connection, int64_t* id, std::string* refusal) {
  Commands commands;
  commands.Add("CLIENT", "ID");
  commands.Add("CLIENT", "TRACKING", "ON", "OPTIN");
  commands.Add("CLIENT", "TRACKING", "OFF");
  ValueSink sink;
  if (Status status = connection.Execute(commands, &sink); !status.ok()) return status;
  for (const Value& reply : sink.replies) {
    if (reply.is_error() && refusal->empty()) *refusal = reply.text;
  }
  *id = sink.replies[0].integer;
  if (*id <= 0 && refusal->empty()) *refusal = "no client id";
  if (!refusal->empty()) return {};
  commands.Clear();
  commands.Add("SUBSCRIBE", kChannel);
  // These may be refused: then cancels are heard of by tracking alone, and stops by the flag.
  commands.Add("SUBSCRIBE", cancel_channel_);
  commands.Add("SUBSCRIBE", kStopChannel);
  ValueSink subscribed;
  if (Status status = connection.Execute(commands, &subscribed); !status.ok()) return status;
  if (subscribed.replies[0].is_error()) *refusal = subscribed.replies[0].text;
  return {};
}

Status Doorbell::FollowTracking(Listening* listening) {
  Commands ping;
  ping.Add("PING");
  Status status;
  if (!listening->Dispatch(&status)) return status;  // what came with the replies
  bool asked = false;
  uint64_t heard = 0;
  while (!closed_) {
    uint64_t before = std::exchange(heard, listening->heard.load(std::memory_order_relaxed));
    if (heard != before) asked = false;
    epoll_event events[4];
    TimePoint deadline = DeadlineAfter(asked ? config_.command_timeout_ms : kPingMs);
    int count = epoll_wait(wakes_fd_, events, 4, static_cast<int>(MillisUntil(deadline)));
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == listening->connection->fd()) {
        if (!listening->Dispatch(&status)) return status;
      } else if (events[i].data.fd != wake_fd_) {
        RingAll();  // the tracked connection has ended: whoever is rung reads again, on a new one
      }
    }
    if (count != 0 || listening->heard.load(std::memory_order_relaxed) != heard) continue;
    if (asked) return {AGX_ETIMEOUT, Cat(Describe(config_), " is silent")};
    size_t sent = 0;
    status = listening->connection->Send(ping.bytes(), &sent);
    if (!status.ok()) return status;
    asked = true;
  }
  return {AGX_ECLOSED, {}};
}

bool Doorbell::WaitFor(Bell* bell, uint32_t ticket, TimePoint deadline) {
  std::unique_lock guest(guest_mutex_, std::try_to_lock);
  std::shared_ptr<Listening> listening;
  if (guest.owns_lock()) {
    std::lock_guard lock(mutex_);
    listening = listening_;
  }
  if (listening == nullptr) return bell->Wait(ticket, deadline);
  struct Alert {
    Bell* bell;
    ~Alert() { bell->SetAlert(-1); }
  } alert{bell};
  bell->SetAlert(guest_fd_);
  while (bell->ticket() == ticket && Clock::now() < deadline) {
    epoll_event events[2];
    int wait = deadline == kNever ? -1 : static_cast<int>(MillisUntil(deadline));
    int count = epoll_wait(listening->guests_fd, events, 2, wait);
    for (int i = 0; i < count; ++i) {
      eventfd_t rings = 0;
      if (events[i].data.fd == guest_fd_) eventfd_read(guest_fd_, &rings);
    }
    // Whatever woke it: what arrived meanwhile may have woken nobody else.
    Status status;
    if (listening->Dispatch(&status)) continue;
    listening->connection->Shutdown();  // so that the bell's own thread sees to it
    return bell->Wait(ticket, deadline);
  }
  return bell->ticket() != ticket;
}

// Without tracking: blocking reads of all streams, in short slices, between which flags and new
// watches are looked at.
Status Doorbell::FollowReads(Connection& connection) {
  while (!closed_) {
    if (Status status = LookAtNew(connection); !status.ok()) return status;
    if (Status status = LookAtFlags(connection); !status.ok()) return status;
    if (Status status = LookAtLists(connection); !status.ok()) return status;
    if (Status status = ReadStreams(connection); !status.ok()) return status;
  }
  return {AGX_ECLOSED, {}};
}

std::vector<std::string> Doorbell::Keys(Store::KeyKind kind, bool known) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> keys;
  for (const auto& [key, watched] : watched_) {
    if (watched.kind == kind && watched.known == known) keys.push_back(key);
  }
  return keys;
}

void Doorbell::Forget(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto it = watched_.find(key);
  if (it != watched_.end()) it->second.known = false;
}

void Doorbell::Saw(const std::string& key, const std::string& what) {
  std::lock_guard lock(mutex_);
  auto it = watched_.find(key);
  if (it == watched_.end()) return;
  bool changed = !it->second.known || it->second.seen != what;
  it->second.known = true;
  it->second.seen = what;
  if (!changed) return;
  for (Watcher* watcher : it->second.watchers) watcher->Changed();
}

// Notes where a newly watched stream ends, from where it is then followed.
Status Doorbell::LookAtNew(Connection& connection) {
  std::vector<std::string> keys = Keys(Store::KeyKind::kStream, false);
  if (keys.empty()) return {};
  Commands commands;
  for (const std::string& key : keys) {
    commands.Add("XREVRANGE", key, "+", "-", "COUNT", int64_t{1});
  }
  ValueSink sink;
  if (Status status = connection.Execute(commands, &sink); !status.ok()) return status;
  for (size_t i = 0; i < keys.size(); ++i) {
    const Value& reply = sink.replies[i];
    bool any = !reply.items.empty() && !reply.items[0].items.empty();
    Saw(keys[i], any ? reply.items[0].items[0].text : "0-0");
  }
  return {};
}

Status Doorbell::LookAtFlags(Connection& connection) {
  std::vector<std::string> keys = Keys(Store::KeyKind::kFlag, true);
  std::vector<std::string> unknown = Keys(Store::KeyKind::kFlag, false);
  keys.insert(keys.end(), unknown.begin(), unknown.end());
  if (keys.empty()) return {};
  Commands commands;
  for (const std::string& key : keys) commands.Add("GET", key);
  ValueSink sink;
  if (Status status = connection.Execute(commands, &sink); !status.ok()) return status;
  for (size_t i = 0; i < keys.size(); ++i) {
    const Value& reply = sink.replies[i];
    Saw(keys[i], reply.kind == Value::Kind::kString ? "=" + reply.text : "");
  }
  return {};
}

Status Doorbell::LookAtLists(Connection& connection) {
  std::vector<std::string> keys = Keys(Store::KeyKind::kList, true);
  std::vector<std::string> unknown = Keys(Store::KeyKind::kList, false);
  keys.insert(keys.end(), unknown.begin(), unknown.end());
  if (keys.empty()) return {};
  Commands commands;
  for (const std::string& key : keys) {
    commands.Add("LLEN", key).Add("LRANGE", key, int64_t{-1}, int64_t{-1});
  }
  ValueSink sink;
  if (Status status = connection.Execute(commands, &sink); !status.ok()) return status;
  for (size_t i = 0; i < keys.size(); ++i) {
    const Value& ends = sink.replies[i * 2 + 1];
    Value last = ends.items.empty() ? Value() : ends.items[0];
    Saw(keys[i], Cat(sink.replies[i * 2].integer, ":", last.element_hash()));
  }
  return {};
}

Status Doorbell::ReadStreams(Connection& connection) {
  std::vector<std::string> keys = Keys(Store::KeyKind::kStream, true);
  uint32_t ticket = closing_.ticket();
  // One command waits for so many; more are looked at in turns, with pauses.
  bool blocks = !keys.empty() && keys.size() <= kMostStreams;
  bool failed = false;
  if (!keys.empty()) {
    Commands commands;
    for (size_t i = 0; i < keys.size(); i += kMostStreams) {
      size_t count = std::min(kMostStreams, keys.size() - i);
      AppendRead(std::span(keys).subspan(i, count), blocks, &commands);
    }
    ValueSink sink;
    if (Status status = connection.Execute(commands, &sink); !status.ok()) return status;
    for (const Value& reply : sink.replies) {
      failed |= reply.is_error();
      for (const Value& stream : reply.items) {
        // Where it ends now is looked up with the new ones; it may have got more than this entry.
        if (!stream.items.empty()) Forget(stream.items[0].text);
      }
    }
  }
  if (failed) RingAll();  // such as a key of another type: whose it is finds out by reading
  if (failed || !blocks) closing_.Wait(ticket, DeadlineAfter(kSliceMs));
  return {};
}

void Doorbell::AppendRead(std::span<const std::string> keys, bool blocks, Commands* commands) {
  commands->Begin((blocks ? 6 : 4) + keys.size() * 2);
  commands->Arg("XREAD").Arg("COUNT").Arg(int64_t{1});
  if (blocks) commands->Arg("BLOCK").Arg(kSliceMs);
  commands->Arg("STREAMS");
  for (const std::string& key : keys) commands->Arg(key);
  std::lock_guard lock(mutex_);
  for (const std::string& key : keys) {
    auto it = watched_.find(key);
    commands->Arg(it != watched_.end() ? it->second.seen : "$");
  }
}

}  // namespace agx::redis
