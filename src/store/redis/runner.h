// Runs commands on a pipe, again while the server is loading its data; and what the files of the store
// and of its groups have in common besides.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "base/config.h"
#include "base/futex.h"
#include "base/status.h"
#include "store/redis/connection.h"
#include "store/redis/pipe.h"
#include "store/redis/resp.h"
#include "store/store.h"

namespace agx::redis {

inline Status ClosedStore() { return {AGX_ECLOSED, "the client is closed"}; }

class Runner {
 public:
  Runner(const Config& config, const std::atomic<bool>& closed, Bell& closing)
      : config_(config), closed_(closed), closing_(closing) {}

  // Within the limits of a reconnect. `what` names the commands in errors.
  template <class S>
  Status Run(Pipe& pipe, const Commands& commands, Effect effect, std::string_view what, S* sink,
             bool* repeated = nullptr, const StopFlag* stop = nullptr) const;
  // Until the store is closed at most, or who waits is to stop; another's stop does not shorten it.
  void Pause(TimePoint until, const StopFlag* stop = nullptr) const;

 private:
  const Config& config_;
  const std::atomic<bool>& closed_;
  Bell& closing_;
};

template <class S>
Status Runner::Run(Pipe& pipe, const Commands& commands, Effect effect, std::string_view what,
                   S* sink, bool* repeated, const StopFlag* stop) const {
  if (commands.count() == 0) return {};
  std::optional<Backoff> backoff;
  for (;;) {
    if (Status status = pipe.Execute(commands, effect, sink, repeated, stop); !status.ok()) {
      return status;
    }
    if (sink->error().empty()) return {};
    Status status = ServerError(sink->error(), what);
    if (status.code() != AGX_ELOADING || effect == Effect::kIfConnected) return status;
    if (!backoff) backoff.emplace(config_, stop);
    TimePoint until;
    if (closed_) return ClosedStore();
    if (!backoff->Next(&until)) return status;
    Pause(until, stop);
  }
}

inline void Runner::Pause(TimePoint until, const StopFlag* stop) const {
  for (;;) {
    uint32_t ticket = closing_.ticket();
    if (closed_ || (stop != nullptr && *stop) || !closing_.Wait(ticket, until)) return;
  }
}

// What the server sent is a reply, but not to this.
inline Status Unfit(std::string_view what) {
  return {AGX_EPROTOCOL, Cat(what, ": the server's reply is none to this; is it Redis?")};
}

inline void AppendFields(Commands* commands, const NewEntry& entry) {
  for (size_t i = 0; i < entry.count; ++i) {
    commands->Arg(entry.fields[i].name).Arg(entry.fields[i].value);
  }
}

}  // namespace agx::redis
