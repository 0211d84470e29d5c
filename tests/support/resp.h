// The servers' protocol and sockets to speak it over, independent of the library and of hiredis, so
// that tests see what is really there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace agx::test {

// A descriptor that is closed when it goes.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  void Reset();

 private:
  int fd_ = -1;
};

// A listening socket on a free port of 127.0.0.1. Throws runtime_error.
Fd ListenOnLoopback(uint16_t* port);
// Not ok() if nobody listens there.
Fd ConnectToLoopback(uint16_t port);
Fd ConnectToUnix(const std::string& path);
void SetNonBlocking(int fd);

// A command as clients send it.
std::string EncodeCommand(const std::vector<std::string>& args);
// Takes the first whole command off the buffer; false if there is none. Throws runtime_error.
bool TakeCommand(std::string* buffer, std::vector<std::string>* args);

// Finds where values of the protocol end, byte by byte. Throws runtime_error for what is not one.
class RespFramer {
 public:
  // How many of the bytes belong to the value that is under way; *done if it ends with them.
  size_t Consume(std::string_view bytes, bool* done);

  // Of the value under way or done: its type character and its first two strings.
  char type() const { return type_; }
  const std::vector<std::string>& words() const { return words_; }

 private:
  void OnLine(bool* done);
  void OnValue(bool* done);

  std::string line_;
  std::string bulk_;
  int64_t bulk_left_ = 0;
  std::vector<int64_t> open_;  // how many values each array still lacks
  char type_ = 0;
  bool fresh_ = true;
  std::vector<std::string> words_;
};

// "OK", "-ERR …", "12", "(nil)", "[a, [b, c]]".
std::string PrintReply(std::string_view raw);

// A blocking connection. Every wait has a deadline; what goes wrong is thrown as runtime_error.
class RespConnection {
 public:
  explicit RespConnection(Fd fd);

  void Send(std::string_view bytes);
  // The next whole value as it came.
  std::string ReadRaw();
  std::string Read() { return PrintReply(ReadRaw()); }
  std::string Command(const std::vector<std::string>& args);
  // True once the other side has closed.
  bool AtEnd();

 private:
  Fd fd_;
  std::string buffer_;
};

}  // namespace agx::test
