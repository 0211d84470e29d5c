// The store on a server is opened and closed.
#include "store/redis/redis_store.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "store/redis/redis_store_impl.h"
#include "store/redis/tail.h"

namespace agx {
namespace redis {

RedisStore::RedisStore(const Config& config, Log log)
    : config_(config),
      log_(std::move(log)),
      dialer_(config_, log_),
      bell_(dialer_, log_, [this] { reads_.Reset(); }),
      commands_(dialer_, log_, nullptr),
      reads_(dialer_, log_, [this](Connection& connection) { return bell_.Track(connection); }) {}

std::unique_ptr<Tail> RedisStore::OpenTail() {
  std::lock_guard lock(tails_mutex_);
  auto free = std::find(tails_.begin(), tails_.end(), nullptr);
  if (closed_ || free == tails_.end()) return nullptr;
  int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) return nullptr;  // a watch needs none
  auto check = [this](std::string_view key, EntryId after, bool* gap, bool* exists,
                      const StopFlag* stop) { return CheckGap(key, after, gap, exists, stop); };
  auto released = [this](redis::RedisTail* tail) {
    std::lock_guard released_lock(tails_mutex_);
    std::replace(tails_.begin(), tails_.end(), tail, static_cast<RedisTail*>(nullptr));
  };
  auto tail = std::make_unique<RedisTail>(dialer_, log_, check, wake_fd, released);
  *free = tail.get();
  return tail;
}

void RedisStore::Hurry() noexcept {
  closing_.Ring();
  commands_.Hurry();
  reads_.Hurry();
}

void RedisStore::Close() noexcept {
  closed_ = true;
  closing_.Ring();
  // First those that know why their connections end.
  commands_.Close();
  reads_.Close();
  bell_.Close();
  bell_.RingAll();
  std::lock_guard lock(tails_mutex_);
  for (RedisTail* tail : tails_) {
    if (tail != nullptr) tail->Close();
  }
  dialer_.Close();
}

}  // namespace redis

Result<std::shared_ptr<Store>> OpenRedisStore(const Config& config, const Log& log) {
  auto store = std::make_shared<redis::RedisStore>(config, log);
  if (Status status = store->Open(); !status.ok()) return status;
  return std::shared_ptr<Store>(std::move(store));
}

}  // namespace agx
