// A file descriptor that is readable while something is to be had.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/status.h"

namespace agx {

// Not synchronised; its owner holds a lock.
class Descriptor {
 public:
  Descriptor() = default;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  Status Open() {
    if (fd_ < 0) fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd_ < 0) return {AGX_ESYSTEM, "no file descriptor is left"};
    return {};
  }

  void Set(bool readable) noexcept {
    if (fd_ < 0 || readable == readable_) return;
    readable_ = readable;
    eventfd_t value = 0;
    if (readable) {
      eventfd_write(fd_, 1);
    } else {
      eventfd_read(fd_, &value);
    }
  }

 private:
  int fd_ = -1;
  bool readable_ = false;
};

}  // namespace agx
