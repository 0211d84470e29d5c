#include "core/client.h"

#include <utility>

#include "core/pump.h"
#include "store/memory/memory_store.h"
#include "store/redis/redis_store.h"

namespace agx {

Client::Client(Config config) : config_(std::move(config)), keeper_(this), dispatcher_(this) {}

Result<std::shared_ptr<Client>> Client::Open(const char* url, const agx_options* options) {
  Result<Config> config = ResolveConfig(url, options);
  if (!config.ok()) return config.status();
  Result<const Format*> format = FindFormat("the option format", config->format);
  if (!format.ok()) return format.status();
  std::shared_ptr<Client> client(new Client(std::move(*config)));
  client->format_ = *format;
  if (client->config_.kind == StoreKind::kMemory) {
    client->store_ = OpenMemoryStore(client->config_.name);
    return client;
  }
  // The store is a member of the client, so the pointer outlives it.
  Log log = [self = client.get()](agx_log_level level, const std::string& message) {
    self->LogLine(level, message);
  };
  Result<std::shared_ptr<Store>> store = OpenRedisStore(client->config_, log);
  if (!store.ok()) return store.status();
  client->store_ = std::move(*store);
  return client;
}

Client::~Client() { Close(); }

void Client::Close() noexcept {
  if (closed_.exchange(true)) return;
  if (store_ != nullptr) store_->Close();
  {
    std::lock_guard lock(sleepers_mutex_);
    for (Sleeper* sleeper = sleepers_; sleeper != nullptr; sleeper = sleeper->next_) {
      sleeper->ClientClosed();
    }
  }
  dispatcher_.Stop();
  keeper_.Stop();
  // Its data may go now.
  std::lock_guard lock(log_mutex_);
}

Result<std::shared_ptr<Pump>> Client::DescriptorPump() {
  std::lock_guard lock(pump_mutex_);
  if (pump_ != nullptr) return pump_;
  auto pump = std::make_shared<Pump>(this, keeper_.bell(), false, true);
  if (Status status = keeper_.AddPump(pump); !status.ok()) return status;
  pump_ = pump;
  return pump;
}

void Client::LogLine(agx_log_level level, const std::string& message) {
  if (config_.log == nullptr || level > config_.log_level) return;
  // A key may contain anything, but a log's line is one line.
  std::string line = message;
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  std::lock_guard lock(log_mutex_);
  if (closed_) return;
  config_.log(config_.log_data, level, line.c_str());
}

void Client::AddSleeper(Sleeper* sleeper) noexcept {
  std::lock_guard lock(sleepers_mutex_);
  sleeper->previous_ = nullptr;
  sleeper->next_ = sleepers_;
  if (sleepers_ != nullptr) sleepers_->previous_ = sleeper;
  sleepers_ = sleeper;
}

void Client::RemoveSleeper(Sleeper* sleeper) noexcept {
  std::lock_guard lock(sleepers_mutex_);
  (sleeper->previous_ != nullptr ? sleeper->previous_->next_ : sleepers_) = sleeper->next_;
  if (sleeper->next_ != nullptr) sleeper->next_->previous_ = sleeper->previous_;
}

}  // namespace agx
