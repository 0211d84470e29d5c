#include "support/fault_proxy.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <stdexcept>

namespace agx::test {
namespace {

using Clock = std::chrono::steady_clock;

// Bytes that are there; nullopt once the other side has closed or the connection broke.
std::optional<std::string> Receive(int fd) {
  std::string bytes(65536, '\0');
  ssize_t got = recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return "";
  if (got <= 0) return std::nullopt;
  bytes.resize(static_cast<size_t>(got));
  return bytes;
}

// Takes off what could be sent, at most `limit` bytes; false if the connection broke.
bool SendSome(int fd, std::string* bytes, size_t limit) {
  ssize_t sent =
      send(fd, bytes->data(), std::min(limit, bytes->size()), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  bytes->erase(0, static_cast<size_t>(sent));
  return true;
}

Fd AcceptFrom(const Fd& listener) {
  Fd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  int on = 1;
  if (fd.ok()) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

}  // namespace

Poller::Poller() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("no pipe");
  wake_read_ = Fd(ends[0]);
  wake_write_ = Fd(ends[1]);
}

void Poller::Run(std::function<void()> round) {
  thread_ = std::thread([this, round = std::move(round)] {
    for (;;) {
      {
        std::lock_guard lock(mutex_);
        if (stopping_) return;
      }
      round();
    }
  });
}

void Poller::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Poller::Wake() {
  char byte = 0;
  [[maybe_unused]] ssize_t written = write(wake_write_.get(), &byte, 1);
}

void Poller::Wait(std::vector<Item>* items, int timeout_ms) {
  std::vector<pollfd> fds = {{wake_read_.get(), POLLIN, 0}};
  for (const Item& item : *items) fds.push_back({item.fd, item.events, 0});
  poll(fds.data(), fds.size(), timeout_ms);
  for (size_t i = 0; i < items->size(); ++i) (*items)[i].revents = fds[i + 1].revents;
  char bytes[256];
  while (read(wake_read_.get(), bytes, sizeof(bytes)) > 0) {
  }
}

struct FaultProxy::Link {
  struct Expected {
    std::optional<std::string> instead;  // of the server's reply
    bool from_server = true;
    std::string hold;  // the command whose reply it is, if it is to be held
  };
  struct Held {
    Clock::time_point due;
    std::string bytes;
  };

  Fd client;
  Fd server;
  bool dead = false;
  std::string to_server;
  std::string to_client;
  std::deque<Held> held;
  std::string holds;  // as Expected::hold, of the first of what is held
  RespFramer request_framer;
  std::string request;
  RespFramer reply_framer;
  std::string reply;
  std::deque<Expected> expected;
};

FaultProxy::FaultProxy(uint16_t server_port)
    : server_port_(server_port), listener_(ListenOnLoopback(&port_)) {
  poller_.Run([this] { Round(); });
}

FaultProxy::~FaultProxy() { poller_.Stop(); }

void FaultProxy::Round() {
  std::vector<Poller::Item> items = {{listener_.get(), POLLIN, 0}};
  int timeout_ms = -1;
  size_t served = 0;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(links_, [](const auto& link) { return link->dead; });
    served = links_.size();
    for (const auto& link : links_) {
      short to_client = link->to_client.empty() ? 0 : POLLOUT;
      short to_server = link->to_server.empty() ? 0 : POLLOUT;
      // A negative descriptor is passed over: in a black hole not even a hang-up is noticed.
      items.push_back(
          {blackhole_ ? -1 : link->client.get(), static_cast<short>(POLLIN | to_client), 0});
      items.push_back(
          {blackhole_ ? -1 : link->server.get(), static_cast<short>(POLLIN | to_server), 0});
      if (!link->held.empty()) timeout_ms = 1;
    }
  }
  poller_.Wait(&items, timeout_ms);
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < served && !blackhole_; ++i) {
    Link* link = links_[i].get();
    if (!link->dead) Serve(link, items[1 + 2 * i].revents, items[2 + 2 * i].revents);
  }
  if (items[0].revents != 0) Accept();
}

void FaultProxy::Accept() {
  Fd client = AcceptFrom(listener_);
  if (!client.ok()) return;
  ++connections_;
  if (refuse_) return;
  auto link = std::make_unique<Link>();
  link->client = std::move(client);
  link->server = ConnectToLoopback(server_port_);
  if (link->server.ok()) links_.push_back(std::move(link));
}

void FaultProxy::Serve(Link* link, short client_events, short server_events) {
  try {
    if (client_events != 0 && (client_events & ~POLLOUT) != 0) {
      auto bytes = Receive(link->client.get());
      if (!bytes) link->dead = true;
      if (bytes) OnRequestBytes(link, *bytes);
    }
    if (!link->dead && (server_events & ~POLLOUT) != 0) {
      auto bytes = Receive(link->server.get());
      // What the server said before it closed still arrives.
      if (!bytes) Flush(link);
      if (!bytes) link->dead = true;
      if (bytes) OnReplyBytes(link, *bytes);
    }
    if (!link->dead) Flush(link);
  } catch (const std::runtime_error&) {
    link->dead = true;  // not the protocol
  }
  if (link->dead) {
    link->client.Reset();
    link->server.Reset();
  }
}

void FaultProxy::OnRequestBytes(Link* link, std::string_view bytes) {
  if (!bytes.empty() && link->expected.empty() && link->request.empty()) ++round_trips_;
  while (!bytes.empty()) {
    bool done = false;
    size_t size = link->request_framer.Consume(bytes, &done);
    link->request += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (done) OnRequest(link);
    if (link->dead) return;
  }
}

void FaultProxy::OnRequest(Link* link) {
  const auto& words = link->request_framer.words();
  std::string name = words.empty() ? "" : Upper(words[0]);
  std::string two = words.size() < 2 ? name : name + " " + Upper(words[1]);
  ++commands_[name];
  if (two != name) ++commands_[two];

  auto rule = rules_.find(two);
  if (rule == rules_.end()) rule = rules_.find(name);
  Link::Expected expected;
  if (rule != rules_.end() && rule->second.times != 0) {
    expected.instead = rule->second.reply;
    expected.from_server = rule->second.forward;
    if (rule->second.times > 0) --rule->second.times;
  }
  for (const std::string& command : {name, two}) {
    auto hold = holds_.find(command);
    if (hold == holds_.end() || --hold->second > 0) continue;
    expected.hold = command;
    holds_.erase(hold);
  }
  std::string request = std::exchange(link->request, {});
  if (expected.from_server && !Cut(link, &request_budget_, &request)) {
    link->to_server += request;
  } else if (expected.from_server) {
    SendSome(link->server.get(), &(link->to_server += request), SIZE_MAX);
    return;
  }
  link->expected.push_back(std::move(expected));
  DeliverInjected(link);
}

void FaultProxy::OnReplyBytes(Link* link, std::string_view bytes) {
  while (!bytes.empty() && !link->dead) {
    bool done = false;
    size_t size = link->reply_framer.Consume(bytes, &done);
    link->reply += bytes.substr(0, size);
    bytes.remove_prefix(size);
    if (done) OnReply(link);
  }
}

void FaultProxy::OnReply(Link* link) {
  const auto& words = link->reply_framer.words();
  bool unasked = link->reply_framer.type() == '>' ||
                 (!words.empty() && (words[0] == "message" || words[0] == "pmessage"));
  std::string reply = std::exchange(link->reply, {});
  if (!unasked && !link->expected.empty()) {
    if (link->expected.front().instead) reply = *link->expected.front().instead;
    link->holds += link->expected.front().hold;
    link->expected.pop_front();
  }
  Deliver(link, std::move(reply));
  DeliverInjected(link);
}

void FaultProxy::DeliverInjected(Link* link) {
  while (!link->dead && !link->expected.empty() && !link->expected.front().from_server) {
    Deliver(link, *link->expected.front().instead);
    link->expected.pop_front();
  }
}

void FaultProxy::Deliver(Link* link, std::string bytes) {
  if (Cut(link, &reply_budget_, &bytes)) {
    link->to_client += bytes;
    while (!link->to_client.empty() && SendSome(link->client.get(), &link->to_client, SIZE_MAX)) {
    }
    return;
  }
  if (!link->holds.empty() && link->held.empty()) {
    link->held.push_back({Clock::time_point::max(), std::move(bytes)});
  } else if (delay_.count() > 0 || !link->held.empty()) {
    link->held.push_back({Clock::now() + delay_, std::move(bytes)});
  } else {
    link->to_client += bytes;
  }
}

// Shortens the bytes to what may still go; true if the link is dead after them.
bool FaultProxy::Cut(Link* link, int64_t* budget, std::string* bytes) {
  if (*budget < 0) return false;
  if (static_cast<int64_t>(bytes->size()) <= *budget) {
    *budget -= static_cast<int64_t>(bytes->size());
    return false;
  }
  bytes->resize(static_cast<size_t>(*budget));
  *budget = -1;
  link->dead = true;
  ++cuts_;
  return true;
}

void FaultProxy::Flush(Link* link) {
  while (!link->held.empty() && link->held.front().due <= Clock::now()) {
    link->to_client += link->held.front().bytes;
    link->held.pop_front();
  }
  bool good = true;
  if (!link->to_client.empty()) {
    good = SendSome(link->client.get(), &link->to_client, chunk_ == 0 ? SIZE_MAX : chunk_);
  }
  if (!link->to_server.empty()) good &= SendSome(link->server.get(), &link->to_server, SIZE_MAX);
  if (!good) link->dead = true;
}

void FaultProxy::CutAfterReplyBytes(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  reply_budget_ = static_cast<int64_t>(bytes);
}

void FaultProxy::CutAfterRequestBytes(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  request_budget_ = static_cast<int64_t>(bytes);
}

void FaultProxy::CutAll() {
  std::lock_guard lock(mutex_);
  for (auto& link : links_) {
    if (link->dead) continue;
    // Not closed: the thread may be waiting for them.
    shutdown(link->client.get(), SHUT_RDWR);
    shutdown(link->server.get(), SHUT_RDWR);
    link->dead = true;
    ++cuts_;
  }
  poller_.Wake();
}

void FaultProxy::RefuseConnections(bool refuse) {
  std::lock_guard lock(mutex_);
  refuse_ = refuse;
}

void FaultProxy::Blackhole(bool on) {
  std::lock_guard lock(mutex_);
  blackhole_ = on;
  poller_.Wake();
}

void FaultProxy::DelayReplies(std::chrono::milliseconds delay) {
  std::lock_guard lock(mutex_);
  delay_ = delay;
}

void FaultProxy::ChunkReplies(size_t bytes) {
  std::lock_guard lock(mutex_);
  chunk_ = bytes;
}

void FaultProxy::RefuseCommand(const std::string& command, const std::string& error) {
  std::lock_guard lock(mutex_);
  rules_[Upper(command)] = {"-" + error + "\r\n", -1, false};
}

void FaultProxy::ReplaceReply(const std::string& command, const std::string& raw, int times) {
  std::lock_guard lock(mutex_);
  rules_[Upper(command)] = {raw, times, true};
}

void FaultProxy::ForgetCommandRules() {
  std::lock_guard lock(mutex_);
  rules_.clear();
}

void FaultProxy::HoldReply(const std::string& command, int nth) {
  std::lock_guard lock(mutex_);
  holds_[Upper(command)] = nth;
}

std::string FaultProxy::HeldReply(const std::string& command) const {
  std::lock_guard lock(mutex_);
  for (const auto& link : links_) {
    if (link->holds == Upper(command) && !link->held.empty()) return link->held.front().bytes;
  }
  return "";
}

void FaultProxy::ReleaseReply(const std::string& command) {
  std::lock_guard lock(mutex_);
  for (auto& link : links_) {
    if (link->holds != Upper(command)) continue;
    link->holds.clear();
    if (!link->held.empty()) link->held.front().due = Clock::now();
  }
  poller_.Wake();
}

int FaultProxy::connections() const {
  std::lock_guard lock(mutex_);
  return connections_;
}

int FaultProxy::open_connections() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(
      std::count_if(links_.begin(), links_.end(), [](const auto& link) { return !link->dead; }));
}

int FaultProxy::round_trips() const {
  std::lock_guard lock(mutex_);
  return round_trips_;
}

int FaultProxy::commands(const std::string& command) const {
  std::lock_guard lock(mutex_);
  auto it = commands_.find(Upper(command));
  return it == commands_.end() ? 0 : it->second;
}

int FaultProxy::cuts() const {
  std::lock_guard lock(mutex_);
  return cuts_;
}

struct FakeServer::Peer {
  int number = 0;
  Fd fd;
  bool dead = false;
  bool closing = false;
  std::string in;
  std::string out;
};

FakeServer::FakeServer(Handler handler)
    : handler_(std::move(handler)), listener_(ListenOnLoopback(&port_)) {
  poller_.Run([this] { Round(); });
}

FakeServer::~FakeServer() { poller_.Stop(); }

void FakeServer::Round() {
  std::vector<Poller::Item> items = {{listener_.get(), POLLIN, 0}};
  size_t served = 0;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(peers_, [](const auto& peer) { return peer->dead; });
    served = peers_.size();
    for (const auto& peer : peers_) {
      short out = peer->out.empty() ? 0 : POLLOUT;
      items.push_back({peer->fd.get(), static_cast<short>(POLLIN | out), 0});
    }
  }
  poller_.Wait(&items, -1);
  for (size_t i = 0; i < served; ++i) {
    if (items[1 + i].revents != 0) Serve(peers_[i].get());
  }
  if (items[0].revents == 0) return;
  auto peer = std::make_unique<Peer>();
  peer->fd = AcceptFrom(listener_);
  if (!peer->fd.ok()) return;
  std::lock_guard lock(mutex_);
  peer->number = connections_++;
  peers_.push_back(std::move(peer));
}

// The handler runs without the lock, so that it may call the server.
void FakeServer::Serve(Peer* peer) {
  auto bytes = Receive(peer->fd.get());
  std::vector<std::string> command;
  if (bytes) peer->in += *bytes;
  try {
    while (bytes && TakeCommand(&peer->in, &command)) {
      FakeReply reply = handler_(peer->number, command);
      std::lock_guard lock(mutex_);
      if (!peer->closing) peer->out += reply.bytes;
      peer->closing |= reply.close;
    }
  } catch (const std::runtime_error&) {
    bytes.reset();
  }
  std::lock_guard lock(mutex_);
  Flush(peer);
  if (!bytes || (peer->closing && peer->out.empty())) peer->dead = true;
}

void FakeServer::Flush(Peer* peer) {
  while (!peer->out.empty()) {
    size_t before = peer->out.size();
    if (!SendSome(peer->fd.get(), &peer->out, SIZE_MAX)) peer->dead = true;
    if (peer->dead || peer->out.size() == before) return;
  }
}

int FakeServer::connections() const {
  std::lock_guard lock(mutex_);
  return connections_;
}

void FakeServer::Push(int connection, const std::string& raw) {
  std::lock_guard lock(mutex_);
  for (auto& peer : peers_) {
    if (peer->dead || (connection >= 0 && peer->number != connection)) continue;
    peer->out += raw;
    Flush(peer.get());
  }
  poller_.Wake();
}

void FakeServer::CloseAll() {
  std::lock_guard lock(mutex_);
  for (auto& peer : peers_) {
    shutdown(peer->fd.get(), SHUT_RDWR);
    peer->dead = true;
  }
  poller_.Wake();
}

}  // namespace agx::test
