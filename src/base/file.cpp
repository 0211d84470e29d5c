#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <thread>

#include "base/clock.h"

namespace agx {
namespace {

Status Failed(std::string_view what, const std::string& path, int error = errno) {
  return {AGX_ESYSTEM, Cat(what, " ", path, ": ", std::generic_category().message(error))};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  // A failure to close may be one to write.
  bool Close() { return close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

Status ReadAll(int fd, const std::string& path, size_t size, size_t most, std::string* text) {
  text->clear();
  // One byte more than is expected shows that it grew.
  for (size_t want = size + 1;; want = text->size() + 65536) {
    size_t have = text->size();
    text->resize(std::min(want, most + 1));
    while (have < text->size()) {
      ssize_t n = read(fd, text->data() + have, text->size() - have);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed("reading", path);
      if (n == 0) {
        text->resize(have);
        return {};
      }
      have += static_cast<size_t>(n);
    }
    if (have > most) return {AGX_ETOOBIG, Cat(path, " has more than ", most, " bytes")};
  }
}

Status WriteAll(int fd, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed("writing", path);
    text.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) != 0) return Failed("writing", path);
  return {};
}

// What rename is to replace: the link's target, which need not exist, rather than the link.
Status FollowLinks(std::string* path) {
  constexpr int kMost = 40;
  char target[4096];
  for (int i = 0; i < kMost; ++i) {
    ssize_t size = readlink(path->c_str(), target, sizeof(target));
    if (size < 0 && (errno == EINVAL || errno == ENOENT)) return {};
    if (size < 0) return Failed("reading", *path);
    std::string_view link(target, static_cast<size_t>(size));
    if (!link.starts_with('/')) path->erase(path->rfind('/') + 1);
    if (link.starts_with('/')) path->clear();
    *path += link;
  }
  return Failed("reading", *path, ELOOP);
}

// A lock that dies with its process, and between threads too.
Status LockDirectory(int fd, const std::string& directory) {
  TimePoint deadline = DeadlineAfter(kFileLockWaitMs);
  for (Millis pause(1);; pause = std::min(pause * 2, Millis(50))) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return Failed("locking", directory);
    if (Clock::now() >= deadline) {
      return {AGX_ESYSTEM, Cat("locking ", directory, ": another process has held its lock for ",
                               kFileLockWaitMs, " ms")};
    }
    std::this_thread::sleep_for(pause);
  }
}

std::string TemporaryName(const std::string& path) {
  uint64_t random = 0;
  if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
    random = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
  }
  char suffix[32];
  std::snprintf(suffix, sizeof(suffix), ".%016llx.tmp", static_cast<unsigned long long>(random));
  return path + suffix;
}

// A file that is gone again unless it was renamed.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const std::string& path() const { return path_; }
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

Status WriteInPlaceOf(const std::string& path, std::string_view text, int directory) {
  struct stat old {};
  bool replaces = stat(path.c_str(), &old) == 0;
  std::string name = TemporaryName(path);
  // Nobody may read what is written before the mode is the old file's.
  mode_t mode = replaces ? 0600 : 0666;
  Descriptor fd(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.ok()) return Failed("creating", name);
  Temporary temporary(std::move(name));
  if (replaces) {
    // Only root may give a file away; for others it is theirs as soon as they replace it.
    if (old.st_uid != geteuid() || old.st_gid != getegid()) {
      (void)!fchown(fd.get(), old.st_uid, old.st_gid);
    }
    if (fchmod(fd.get(), old.st_mode & 07777) != 0) return Failed("creating", temporary.path());
  }
  if (Status status = WriteAll(fd.get(), temporary.path(), text); !status.ok()) return status;
  if (!fd.Close()) return Failed("writing", temporary.path());
  if (rename(temporary.path().c_str(), path.c_str()) != 0) return Failed("replacing", path);
  temporary.Keep();
  // Until then a crash of the machine may bring the old file back. Some file systems cannot do it.
  if (fsync(directory) != 0 && errno != EINVAL) return Failed("replacing", path);
  return {};
}

}  // namespace

Result<std::string> AbsolutePath(const char* path) {
  if (path == nullptr || *path == '\0') return Status(AGX_EINVAL, "path is NULL or empty");
  if (*path == '/') return std::string(path);
  std::string directory(4096, '\0');
  if (getcwd(directory.data(), directory.size()) == nullptr) return Failed("finding", path);
  directory.resize(directory.find('\0'));
  return Cat(directory, "/", path);
}

Status CheckDirectoryOf(const std::string& path) {
  std::string target = path;
  if (Status status = FollowLinks(&target); !status.ok()) return status;
  std::string directory = target.substr(0, target.rfind('/') + 1);
  struct stat info {};
  int error = stat(directory.c_str(), &info) != 0 ? errno : S_ISDIR(info.st_mode) ? 0 : ENOTDIR;
  if (error == 0) return {};
  return {AGX_ESYSTEM,
          Cat("there can be no file ", path, ": its directory ", directory, ": ",
              std::generic_category().message(error), error == ENOENT ? "; make it first" : "")};
}

Status ReadFile(const std::string& path, size_t most, std::string* text, bool* present) {
  text->clear();
  *present = false;
  // Opening a pipe would wait for its writer.
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.ok() && errno == ENOENT) return {};
  if (!fd.ok()) return Failed("opening", path);
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return Failed("reading", path);
  if (!S_ISREG(info.st_mode))
    return {AGX_ESYSTEM, Cat("reading ", path, ": it is no regular file")};
  *present = true;
  return ReadAll(fd.get(), path, static_cast<size_t>(info.st_size), most, text);
}

Status ReplaceFile(const std::string& path, FileText expected, std::string_view text, bool again,
                   bool* conflict) {
  *conflict = false;
  std::string target = path;
  if (Status status = FollowLinks(&target); !status.ok()) return status;
  std::string directory = target.substr(0, target.rfind('/') + 1);
  Descriptor lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.ok()) return Failed("opening", directory);
  if (Status status = LockDirectory(lock.get(), directory); !status.ok()) return status;
  std::string now;
  bool present = false;
  Status status = ReadFile(target, std::max(expected.size(), text.size()), &now, &present);
  // What has more bytes than either is neither.
  if (!status.ok() && status.code() != AGX_ETOOBIG) return status;
  bool as_expected = status.ok() && present == (expected.data() != nullptr) && now == expected;
  as_expected |= status.ok() && present && again && now == text;
  if (!as_expected) {
    *conflict = true;
    return {};
  }
  return WriteInPlaceOf(target, text, lock.get());
}

}  // namespace agx
