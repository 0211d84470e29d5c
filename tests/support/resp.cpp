#include "support/resp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>

namespace agx::test {
namespace {

[[noreturn]] void Fail(const std::string& what) { throw std::runtime_error(what); }

std::string Reason() { return std::strerror(errno); }  // NOLINT(concurrency-mt-unsafe)

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int64_t Number(std::string_view text) {
  int64_t value = 0;
  auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    Fail("not a number in the protocol: " + std::string(text));
  }
  return value;
}

std::string PrintValue(std::string_view* raw);

std::string PrintArray(std::string_view* raw, int64_t count) {
  std::string text = "[";
  for (int64_t i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + PrintValue(raw);
  return text + "]";
}

std::string PrintValue(std::string_view* raw) {
  size_t end = raw->find("\r\n");
  if (end == std::string_view::npos) Fail("a reply without an end");
  char type = raw->front();
  std::string_view line = raw->substr(1, end - 1);
  raw->remove_prefix(end + 2);
  if (type == '+' || type == ':') return std::string(line);
  if (type == '-') return "-" + std::string(line);
  int64_t count = Number(line);
  if (count < 0) return "(nil)";
  if (type == '*' || type == '>') return PrintArray(raw, count);
  if (type != '$') Fail(std::string("an unknown type of reply: ") + type);
  std::string text(raw->substr(0, static_cast<size_t>(count)));
  raw->remove_prefix(static_cast<size_t>(count) + 2);
  return text;
}

}  // namespace

void Fd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Fd ListenOnLoopback(uint16_t* port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!fd.ok() || bind(fd.get(), generic, size) != 0 || listen(fd.get(), 1024) != 0 ||
      getsockname(fd.get(), generic, &size) != 0) {
    Fail("cannot listen on 127.0.0.1: " + Reason());
  }
  *port = ntohs(address.sin_port);
  return fd;
}

Fd ConnectToLoopback(uint16_t port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(port);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return {};
  int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return fd;
}

Fd ConnectToUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) Fail("too long for a socket: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return {};
  return fd;
}

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

std::string EncodeCommand(const std::vector<std::string>& args) {
  std::string text = "*" + std::to_string(args.size()) + "\r\n";
  for (const std::string& arg : args) {
    text += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
  }
  return text;
}

bool TakeCommand(std::string* buffer, std::vector<std::string>* args) {
  args->clear();
  std::string_view rest = *buffer;
  auto line = [&rest](char type, int64_t* value) {
    size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) return false;
    if (rest.front() != type) Fail("a client sent what is not a command: " + std::string(rest));
    *value = Number(rest.substr(1, end - 1));
    rest.remove_prefix(end + 2);
    return true;
  };
  int64_t count = 0;
  if (!line('*', &count)) return false;
  for (int64_t i = 0; i < count; ++i) {
    int64_t size = 0;
    if (!line('$', &size) || rest.size() < static_cast<size_t>(size) + 2) return false;
    args->emplace_back(rest.substr(0, static_cast<size_t>(size)));
    rest.remove_prefix(static_cast<size_t>(size) + 2);
  }
  buffer->erase(0, buffer->size() - rest.size());
  return true;
}

size_t RespFramer::Consume(std::string_view bytes, bool* done) {
  *done = false;
  if (fresh_) words_.clear();
  fresh_ = false;
  size_t at = 0;
  while (at < bytes.size() && !*done) {
    if (bulk_left_ > 0) {
      auto take = std::min(static_cast<size_t>(bulk_left_), bytes.size() - at);
      if (words_.size() < 2 && bulk_.size() < 64)
        bulk_ += bytes.substr(at, std::min<size_t>(take, 64));
      at += take;
      bulk_left_ -= static_cast<int64_t>(take);
      if (bulk_left_ == 0) {
        if (words_.size() < 2) words_.push_back(bulk_.substr(0, bulk_.rfind("\r\n")));
        OnValue(done);
      }
      continue;
    }
    line_ += bytes[at++];
    if (line_.ends_with("\r\n")) OnLine(done);
  }
  fresh_ = *done;
  return at;
}

void RespFramer::OnLine(bool* done) {
  char type = line_[0];
  if (open_.empty()) type_ = type;
  bool counted = std::strchr("*~>%$=!", type) != nullptr;
  int64_t count = counted ? Number(std::string_view(line_).substr(1, line_.size() - 3)) : 0;
  if (!counted && std::strchr("+-:,_#(", type) == nullptr) Fail("not of the protocol: " + line_);
  line_.clear();
  bulk_.clear();
  bool text = type == '$' || type == '=' || type == '!';
  if (text && count >= 0) {
    bulk_left_ = count + 2;
  } else if (counted && !text && count > 0) {
    open_.push_back(type == '%' ? count * 2 : count);
  } else {
    OnValue(done);
  }
}

void RespFramer::OnValue(bool* done) {
  while (!open_.empty()) {
    if (--open_.back() > 0) return;
    open_.pop_back();
  }
  *done = true;
}

std::string PrintReply(std::string_view raw) { return PrintValue(&raw); }

RespConnection::RespConnection(Fd fd) : fd_(std::move(fd)) {
  if (!fd_.ok()) Fail("nobody answers there");
  timeval patience{20, 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

void RespConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) Fail("cannot send: " + Reason());
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string RespConnection::ReadRaw() {
  RespFramer framer;
  std::string value;
  for (;;) {
    bool done = false;
    size_t size = framer.Consume(buffer_, &done);
    value += buffer_.substr(0, size);
    buffer_.erase(0, size);
    if (done) return value;
    char bytes[16384];
    ssize_t got = recv(fd_.get(), bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) Fail("the connection was closed");
    if (got < 0) Fail("no reply: " + Reason());
    buffer_.assign(bytes, static_cast<size_t>(got));
  }
}

std::string RespConnection::Command(const std::vector<std::string>& args) {
  Send(EncodeCommand(args));
  return Read();
}

bool RespConnection::AtEnd() {
  char byte;
  return recv(fd_.get(), &byte, 1, MSG_PEEK) <= 0;
}

}  // namespace agx::test
