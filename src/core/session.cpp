#include "core/session.h"

#include <algorithm>
#include <utility>

#include "base/token.h"
#include "core/history.h"
#include "core/listener.h"
#include "format/agx_format.h"

namespace agx {

std::string Session::NewToken() { return "agx:" + RandomHex(); }

Stamp Session::Now() { return {.now_ms = WallMillis()}; }

Status Session::TakenOver() {
  return {AGX_TAKEN_OVER, "another producer has taken the session over; nothing was written"};
}

Result<std::shared_ptr<Session>> Session::Open(std::shared_ptr<Client> client, int64_t scope,
                                               int64_t user, const char* session_id) {
  if (scope == AGX_ANY || user == AGX_ANY) {
    return Status(AGX_EINVAL, "AGX_ANY is no scope or user; it is for agx_query_open");
  }
  if (client->format().traits().named) {
    return Status(AGX_EINVAL, Cat("streams of the format ", client->format().name(),
                                  " have names: open them with agx_stream_open"));
  }
  if (Status status = CheckSessionId(session_id); !status.ok()) return status;
  const Config& config = client->config();
  Place place;
  place.format = &client->format();
  place.key = StreamKey(config.prefix, scope, user, session_id);
  place.id = session_id;
  place.max_length = config.max_length;
  return std::shared_ptr<Session>(new Session(std::move(client), std::move(place)));
}

Result<std::shared_ptr<Session>> Session::OpenStream(std::shared_ptr<Client> client,
                                                     const char* name,
                                                     const agx_stream_options& options) {
  const Format* format = &client->format();
  if (options.format != nullptr) {
    Result<const Format*> found = FindFormat("the option format", options.format);
    if (!found.ok()) return found.status();
    format = *found;
  }
  const Format::Traits& traits = format->traits();
  if (!traits.named) {
    return Status(AGX_EINVAL, Cat("streams of the format ", traits.name,
                                  " have no names: open them with agx_session_open, or choose a "
                                  "format, by the option of the client or the stream"));
  }
  if (Status status = CheckStreamName(name); !status.ok()) return status;
  if (options.max_length < 0 || options.expire_ms < 0) {
    return Status(AGX_EINVAL, "the options max_length and expire_ms are to be 0 or more");
  }
  Place place;
  place.format = format;
  place.id = name;
  std::string_view prefix = options.prefix != nullptr ? options.prefix : "";
  Result<std::string> key = format->Key(prefix, name);
  if (!key.ok()) return key.status();
  place.key = std::move(*key);
  if (traits.list && options.max_length > 0) {
    return Status(AGX_EUNSUPPORTED, "the option max_length: a list of ag2 has no bound");
  }
  if (traits.entry_expire_ms == 0 && options.expire_ms > 0) {
    return Status(
        AGX_EINVAL,
        Cat("the option expire_ms is for the streams of agent-framework, not of ", traits.name));
  }
  if (!traits.list && options.tagged != 0) {
    return Status(AGX_EINVAL,
                  Cat("the option tagged is for the streams of ag2, not of ", traits.name));
  }
  place.channel = format->Channel(prefix, name);
  if (traits.list && options.tagged != 0) place.tag = NewToken() + '\x1e';
  int64_t given = options.max_length > 0 ? options.max_length : client->config().max_length;
  place.max_length = given > 0 ? given : traits.max_length;
  place.entry_expire_ms = traits.entry_expire_ms;
  if (traits.entry_expire_ms > 0 && options.expire_ms > 0) {
    place.entry_expire_ms = std::min(options.expire_ms, kLongestWaitMs);
  }
  return std::shared_ptr<Session>(new Session(std::move(client), std::move(place)));
}

Session::Session(std::shared_ptr<Client> client, Place place)
    : client_(std::move(client)),
      format_(place.format),
      live_key_(LiveKey(place.key)),
      key_(live_key_.data(), live_key_.size() - kLiveSuffix.size()),
      session_id_(std::move(place.id)),
      channel_(std::move(place.channel)),
      tag_(std::move(place.tag)),
      max_length_(place.max_length),
      entry_expire_ms_(place.entry_expire_ms) {}

Session::~Session() { EndKeeping(); }

void Session::Close() noexcept {
  closed_ = true;
  bell_.Ring();
  InterruptObservers();
  KeptWait kept;  // goes after the locks
  {
    std::lock_guard lock(observer_mutex_);
    std::swap(kept_wait_, kept);
  }
  std::lock_guard lock(start_mutex_);
  EndKeeping();
}

Status Session::LastId(EntryId* id) const {
  Store& store = client_->store();
  return is_list() ? store.LastElement(key_, id) : store.LastId(key_, id);
}

// --- Intercepting

void Session::AddInterceptor(std::shared_ptr<Interceptor> interceptor) {
  std::lock_guard lock(interceptor_mutex_);
  auto list = std::make_shared<Interceptors>();
  if (interceptors_ != nullptr) *list = *interceptors_;
  list->push_back(std::move(interceptor));
  interceptors_ = std::move(list);
  intercepted_ = true;
}

void Session::RemoveInterceptor(const Interceptor* interceptor) noexcept {
  std::shared_ptr<const Interceptors> last;  // goes after the lock
  std::lock_guard lock(interceptor_mutex_);
  if (interceptors_ == nullptr) return;
  try {
    auto list = std::make_shared<Interceptors>(*interceptors_);
    std::erase_if(*list, [&](const auto& other) { return other.get() == interceptor; });
    last = std::move(interceptors_);
    intercepted_ = !list->empty();
    interceptors_ = std::move(list);
  } catch (const std::bad_alloc&) {
    // It stays, and is not called any more.
  }
}

Status Session::Intercept(Intercepted* event) {
  std::shared_ptr<const Interceptors> list;
  {
    std::lock_guard lock(interceptor_mutex_);
    list = interceptors_;
  }
  if (list == nullptr) return {};
  for (const std::shared_ptr<Interceptor>& interceptor : *list) {
    if (Status status = interceptor->Call(event); !status.ok()) return status;
  }
  return {};
}

// --- Observing

Status Session::Observe(const std::shared_ptr<SessionObserver>& observer, bool alone) {
  std::lock_guard lock(observer_mutex_);
  std::erase_if(observers_, [](const Observer& other) { return other.observer.expired(); });
  bool taken = std::any_of(observers_.begin(), observers_.end(),
                           [](const Observer& other) { return other.alone; });
  if (alone && taken) return {AGX_EBUSY, "a run is open in this session handle already"};
  observers_.push_back({observer, alone});
  observed_ = true;
  return {};
}

void Session::StopObserving(const SessionObserver* observer) noexcept {
  std::lock_guard lock(observer_mutex_);
  std::erase_if(observers_, [&](const Observer& other) {
    std::shared_ptr<SessionObserver> there = other.observer.lock();
    return there == nullptr || there.get() == observer;
  });
  observed_ = !observers_.empty();
}

void Session::TellObservers() noexcept {
  if (observed_ && IsCanceled()) InterruptObservers();
}

void Session::InterruptObservers() noexcept {
  for (size_t i = 0;; ++i) {
    std::shared_ptr<SessionObserver> observer;
    {
      std::lock_guard lock(observer_mutex_);
      if (i >= observers_.size()) return;
      observer = observers_[i].observer.lock();
    }
    if (observer != nullptr) observer->Interrupted();
  }
}

// --- Waiting for an event

namespace {

// Wakes a listener when the session is cancelled.
class Waiter final : public SessionObserver {
 public:
  explicit Waiter(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}
  void Interrupted() noexcept override { listener_->Interrupt(); }

 private:
  const std::shared_ptr<Listener> listener_;
};

}  // namespace

Result<std::shared_ptr<Listener>> Session::OpenWait(const char* where, EntryId after) {
  KeptWait kept;  // what it holds goes after the lock
  {
    std::lock_guard lock(observer_mutex_);
    std::swap(kept_wait_, kept);
  }
  bool same = kept.listener != nullptr && kept.after == after &&
              kept.where.has_value() == (where != nullptr) &&
              (where == nullptr || *kept.where == where);
  if (same) return std::move(kept.listener);
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.where = where;
  options.wait_ms = options.timeout_ms = -1;
  char id[AGX_ID_SIZE];
  PrintEntryId(after, id);
  options.after = id;
  return Listener::Open(*this, options);
}

void Session::KeepWait(const char* where, EntryId after, std::shared_ptr<Listener> listener) {
  KeptWait kept{where != nullptr ? std::optional<std::string>(where) : std::nullopt, after,
                std::move(listener)};
  std::lock_guard lock(observer_mutex_);
  if (!closed_) std::swap(kept_wait_, kept);
}

Status Session::Waited(EntryId* after) {
  // What this handle has ended, and is not there any more, brings nothing more.
  if (state() == State::kStopped) {
    StreamFacts facts;
    Status status = LookAtHistory(*this, &facts);
    if (status.code() == AGX_NONE) {
      return {AGX_ENDED, Cat("the session ", key_, " has ended, and its events are gone")};
    }
    if (!status.ok()) return status;
  }
  {
    std::lock_guard lock(observer_mutex_);
    if (waited_to_) {
      *after = *waited_to_;
      return {};
    }
  }
  // It was started elsewhere: from now on.
  if (Status status = LastId(after); !status.ok()) return status;
  std::lock_guard lock(observer_mutex_);
  if (!waited_to_) waited_to_ = *after;
  *after = *waited_to_;
  return {};
}

// A run has begun, for which what was waited for in an earlier one is over; or goes on.
void Session::WaitFrom(EntryId after, bool goes_on) {
  KeptWait kept;  // what it holds goes after the lock
  std::lock_guard lock(observer_mutex_);
  if (goes_on && waited_to_) return;
  std::swap(kept_wait_, kept);
  waited_to_ = after;
}

void Session::SetWaited(EntryId after) {
  std::lock_guard lock(observer_mutex_);
  waited_to_ = after;
}

Status Session::WaitFor(const char* where, TimePoint deadline, Entry** entry) {
  EntryId after;
  if (Status status = Waited(&after); !status.ok()) return status;
  Result<std::shared_ptr<Listener>> listener = OpenWait(where, after);
  if (!listener.ok()) return listener.status();
  auto waiter = std::make_shared<Waiter>(*listener);
  if (Status status = Observe(waiter, false); !status.ok()) return status;
  Status status;
  if (IsCanceled() || closed_) {
    status = {AGX_INTERRUPTED, {}};
  } else {
    size_t count = 0;
    status = (*listener)->Next(deadline, entry, 1, &count);
  }
  StopObserving(waiter.get());
  bool over = status.ok() || status.code() == AGX_ENDED || status.code() == AGX_INTERRUPTED;
  if (!over) KeepWait(where, after, *listener);
  if (status.ok()) {
    std::lock_guard lock(observer_mutex_);
    // Another thread may be further; in a list that was replaced, less far is ahead.
    if (is_list() || *waited_to_ < (*entry)->id) waited_to_ = (*entry)->id;
  } else if (IsCanceled()) {
    // Also if its `end` was seen first.
    if (taken_over()) return TakenOver();
    return {AGX_CANCELED, "the session was cancelled"};
  } else if (status.code() == AGX_INTERRUPTED) {
    return {AGX_ECLOSED, "the session is closed"};
  } else if (status.code() == AGX_GAP) {
    std::lock_guard lock(observer_mutex_);
    if (waited_to_ == after) waited_to_.emplace();  // the next call takes what is left
  }
  return status;
}

}  // namespace agx
