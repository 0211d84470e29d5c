// One configured way to one store, and what its sessions, listeners and muxes share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "base/config.h"
#include "base/status.h"
#include "core/keeper.h"
#include "core/subscription.h"
#include "format/format.h"
#include "store/store.h"

namespace agx {

class Pump;

class Client : public std::enable_shared_from_this<Client> {
 public:
  static Result<std::shared_ptr<Client>> Open(const char* url, const agx_options* options);
  ~Client();

  // Every call on what came from this client returns AGX_ECLOSED, those that are blocked at once.
  void Close() noexcept;
  bool closed() const { return closed_.load(std::memory_order_acquire); }
  static Status ClosedStatus() { return {AGX_ECLOSED, "the client is closed"}; }

  const Config& config() const { return config_; }
  // How the sessions of this client write their events, unless they say otherwise.
  const Format& format() const { return *format_; }
  Store& store() { return *store_; }
  Keeper& keeper() { return keeper_; }
  Dispatcher& dispatcher() { return dispatcher_; }
  // The pump of the listeners that have a descriptor.
  Result<std::shared_ptr<Pump>> DescriptorPump();
  void LogLine(agx_log_level level, const std::string& message);

  // What has to be woken when the client is closed, besides the watchers of its store.
  class Sleeper {
   public:
    virtual void ClientClosed() noexcept = 0;

   protected:
    ~Sleeper() = default;

   private:
    friend class Client;
    Sleeper* next_ = nullptr;
    Sleeper* previous_ = nullptr;
  };
  void AddSleeper(Sleeper* sleeper) noexcept;
  // When it returns, ClientClosed is not being called and will not be.
  void RemoveSleeper(Sleeper* sleeper) noexcept;

 private:
  explicit Client(Config config);

  const Config config_;
  const Format* format_ = &AgxFormat();
  std::mutex log_mutex_;
  std::atomic<bool> closed_{false};
  std::shared_ptr<Store> store_;
  Keeper keeper_;
  Dispatcher dispatcher_;
  std::mutex pump_mutex_;
  std::shared_ptr<Pump> pump_;
  std::mutex sleepers_mutex_;
  Sleeper* sleepers_ = nullptr;
};

}  // namespace agx
