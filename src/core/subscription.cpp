#include "core/subscription.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "core/client.h"
#include "core/listener.h"
#include "core/pump.h"
#include "core/session.h"

namespace agx {
namespace {

constexpr int64_t kQueue = 10000;
constexpr int64_t kQueueBytes = int64_t{16} * 1024 * 1024;

// A call that keeps others waiting for longer is slow.
constexpr Millis kSlow{20};
// After a failure of the store: it reconnects within a call, so this is only a breath.
constexpr Millis kRetry{200};
// So many events of one subscription are taken or told before another has its turn.
constexpr int kTurn = 64;
// So many subscriptions are filled before somebody looks for calls that are slow.
constexpr int kFills = 256;

bool IsFinal(agx_status outcome) { return outcome == AGX_ENDED || outcome == AGX_LIMIT; }

void Release(Entry* first) {
  while (first != nullptr) Batch::Release(std::exchange(first, first->next));
}

}  // namespace

struct Dispatcher::Worker {
  std::thread thread;
  Bell bell;
  // The rest under the dispatcher's lock.
  std::shared_ptr<Subscription> subscription;  // that it serves; if it is its own, always
  bool apart = false;
  bool calling = false;
  TimePoint began;  // the call
  bool done = false;
};

namespace {

// The worker that this thread is. Plain memory, so that nothing is left to tear down.
constinit thread_local const void* this_worker = nullptr;

}  // namespace

// --- A subscription

Result<std::shared_ptr<Subscription>> Subscription::Open(const Session& session, const char* where,
                                                         const agx_subscribe_options& options) {
  if (options.queue < 0 || options.queue_bytes < 0) {
    return Status(AGX_EINVAL,
                  "the options queue and queue_bytes are to be 0 (the default) or more");
  }
  agx_listen_options listen = AGX_LISTEN_OPTIONS_INIT;
  listen.after = options.after;
  listen.wait_ms = options.wait_ms;
  listen.timeout_ms = options.timeout_ms;
  listen.hand_on_end = options.hand_on_end;
  listen.limit = options.limit;
  listen.where = where;
  Result<std::shared_ptr<Listener>> listener = Listener::Open(session, listen);
  if (!listener.ok()) return listener.status();
  return std::shared_ptr<Subscription>(new Subscription(std::move(*listener), options));
}

Subscription::Subscription(std::shared_ptr<Listener> listener, const agx_subscribe_options& options)
    : listener_(std::move(listener)),
      most_(static_cast<size_t>(options.queue != 0 ? options.queue : kQueue)),
      most_bytes_(
          static_cast<size_t>(options.queue_bytes != 0 ? options.queue_bytes : kQueueBytes)) {}

Subscription::~Subscription() { Release(Clear()); }

Status Subscription::Begin(Function function) {
  function_ = std::move(function);
  return listener_->client()->dispatcher().Add(shared_from_this());
}

void Subscription::Close() noexcept { listener_->client()->dispatcher().Remove(this); }

void Subscription::Append(Entry* entry) noexcept {
  entry->next = nullptr;
  (last_ != nullptr ? last_->next : first_) = entry;
  last_ = entry;
  ++count_;
  bytes_ += entry->type.size() + entry->origin.size() + entry->body.size();
  last_outcome_ = AGX_OK;
}

Entry* Subscription::TakeFirst() noexcept {
  Entry* entry = first_;
  first_ = entry->next;
  if (first_ == nullptr) last_ = nullptr;
  --count_;
  bytes_ -= entry->type.size() + entry->origin.size() + entry->body.size();
  return entry;
}

bool Subscription::TakeNext(Status* status, Entry** entry) noexcept {
  if (over_ || !has()) return false;
  if (behind_) {
    behind_ = false;
    // No message: that would need memory.
    *status = Status(AGX_BEHIND, {});
  } else if (first_ != nullptr) {
    *entry = TakeFirst();
  } else {
    *status = std::move(*outcome_);
    outcome_.reset();
    over_ = IsFinal(status->code());
  }
  return true;
}

Entry* Subscription::Clear() noexcept {
  behind_ = false;
  outcome_.reset();
  count_ = bytes_ = 0;
  last_ = nullptr;
  return std::exchange(first_, nullptr);
}

// --- Subscribing and unsubscribing

Dispatcher::Dispatcher(Client* client)
    : client_(client),
      pump_(std::make_shared<Pump>(client, &bell_, true, true)),
      follower_(client, pump_.get(), &bell_) {}

Dispatcher::~Dispatcher() { Stop(); }

Status Dispatcher::Add(const std::shared_ptr<Subscription>& subscription) {
  Status status;
  std::vector<std::thread> ended;
  {
    Lock lock(mutex_);
    if (stop_) return Client::ClosedStatus();
    ended = TakeEnded();
    try {
      subscriptions_.emplace(subscription->listener_.get(), subscription);
      subscription->joining_ = true;
      if (caller_ == nullptr) caller_ = Start(&Dispatcher::Work).get();
      if (reader_ == nullptr) reader_ = Start(&Dispatcher::Read).get();
    } catch (const std::bad_alloc&) {
      status = {AGX_ENOMEM, {}};
    } catch (const std::system_error&) {
      status = {AGX_ESYSTEM, "the system refuses a thread"};
    }
  }
  for (std::thread& thread : ended) thread.join();
  // Its function may be called, and close it, before this returns.
  if (status.ok()) status = subscription->listener_->Join(pump_);
  {
    Lock lock(mutex_);
    subscription->joining_ = false;
    left_.Ring();
  }
  if (!status.ok()) Remove(subscription.get());
  return status;
}

void Dispatcher::Remove(Subscription* subscription) noexcept {
  std::shared_ptr<Subscription> kept;
  std::vector<std::thread> ended;
  Entry* left = nullptr;
  {
    Lock lock(mutex_);
    auto found = subscriptions_.find(subscription->listener_.get());
    if (found == subscriptions_.end()) return;
    kept = std::move(found->second);
    subscriptions_.erase(found);
    subscription->closed_ = true;
    UnlinkReady(subscription);
    if (subscription->own_ != nullptr) subscription->own_->bell.Ring();
    auto busy = [&] {
      bool called = subscription->caller_ != nullptr && subscription->caller_ != this_worker;
      return called || subscription->joining_;
    };
    while (busy()) {
      uint32_t ticket = left_.ticket();
      lock.unlock();
      left_.Wait(ticket, kNever);
      lock.lock();
    }
    left = subscription->Clear();
    AwaitThreads(lock, false);
    ended = TakeEnded();
  }
  Release(left);
  try {
    (void)subscription->listener_->Leave(pump_.get());
  } catch (const std::bad_alloc&) {
    // It was not in the pump, and has no memory to say so.
  }
  subscription->listener_->Close();
  for (std::thread& thread : ended) thread.join();
}

void Dispatcher::Stop() noexcept {
  std::vector<std::thread> ended;
  {
    Lock lock(mutex_);
    stop_ = true;
    AwaitThreads(lock, true);
    ended = TakeEnded();
    // Called from within a function: its thread ends when that has returned.
    for (const WorkerPtr& self : threads_) self->thread.detach();
    threads_.clear();
    left_.Ring();  // nobody has to wait for them any more
  }
  for (std::thread& thread : ended) thread.join();
}

// Waits until the threads that nobody needs any more have ended, but for the one that this is.
void Dispatcher::AwaitThreads(Lock& lock, bool all) noexcept {
  if (wanted()) return;
  RingAll();
  auto is_self = [](const WorkerPtr& worker) { return worker.get() == this_worker; };
  // From within a function that closes the last of them the thread cannot end, and none need.
  if (!all && std::any_of(threads_.begin(), threads_.end(), is_self)) return;
  auto awaited = [&](const WorkerPtr& worker) { return !worker->done && !is_self(worker); };
  while (!wanted() && std::any_of(threads_.begin(), threads_.end(), awaited)) {
    uint32_t ticket = left_.ticket();
    lock.unlock();
    left_.Wait(ticket, kNever);
    lock.lock();
  }
}

// The threads that have ended, to be joined after the lock. Null ones if there is no memory: they
// stay for the next time.
std::vector<std::thread> Dispatcher::TakeEnded() {
  std::vector<std::thread> ended;
  try {
    ended.reserve(threads_.size());
  } catch (const std::bad_alloc&) {
    return ended;
  }
  std::erase_if(threads_, [&](const WorkerPtr& worker) {
    if (worker->done) ended.push_back(std::move(worker->thread));
    return worker->done;
  });
  return ended;
}

// Throws bad_alloc and system_error.
Dispatcher::WorkerPtr Dispatcher::Start(void (Dispatcher::*body)(Worker*)) {
  auto worker = std::make_shared<Worker>();
  threads_.push_back(worker);
  try {
    // A function may close the client, which has to be there until its thread has left.
    worker->thread = std::thread([this, worker, body, client = client_->shared_from_this()] {
      (this->*body)(worker.get());
    });
  } catch (...) {
    threads_.pop_back();
    throw;
  }
  return worker;
}

void Dispatcher::Leave(Worker* self) noexcept {
  self->done = true;
  left_.Ring();
}

void Dispatcher::RingAll() noexcept {
  bell_.Ring();
  for (const WorkerPtr& worker : threads_) worker->bell.Ring();
}

// --- The thread that reads

void Dispatcher::Read(Worker* self) noexcept {
  this_worker = self;
  for (;;) {
    uint32_t ticket = bell_.ticket();
    {
      Lock lock(mutex_);
      if (!wanted()) {
        follower_.Rest();
        reader_ = nullptr;
        return Leave(self);
      }
    }
    TimePoint next = kNever;
    try {
      next = ReadRound();
    } catch (const std::bad_alloc&) {
      next = Clock::now() + kRetry;
    }
    next = std::min(next, LookAfterCalls());
    Wait(ticket, next);
  }
}

void Dispatcher::Wait(uint32_t ticket, TimePoint until) noexcept {
  if (until <= Clock::now()) return;
  try {
    follower_.Wait(ticket, until);
  } catch (const std::bad_alloc&) {
    bell_.Wait(ticket, std::min(until, Clock::now() + kRetry));
  }
}

TimePoint Dispatcher::ReadRound() {
  follower_.Look(kNever);
  TimePoint next = pump_->Work();
  for (int i = 0; i < kFills; ++i) {
    std::shared_ptr<Listener> listener = pump_->NextReady();
    if (listener == nullptr) return next;
    Fill(listener);
  }
  return TimePoint::min();
}

// Takes what the listener has, as far as there is room and until another has its turn.
void Dispatcher::Fill(const std::shared_ptr<Listener>& listener) {
  std::shared_ptr<Subscription> subscription;
  {
    Lock lock(mutex_);
    auto found = subscriptions_.find(listener.get());
    if (found == subscriptions_.end()) return;
    subscription = found->second;
    bool full = subscription->full();
    if (full || subscription->outcome_ || subscription->over_) {
      subscription->parked_ = true;
      pump_->Park(listener.get());
      if (!full || !std::exchange(subscription->caught_up_, false)) return;
      subscription->behind_ = true;
      return Wake(subscription.get());
    }
  }
  Entry* entries[kTurn];
  int count = 0;
  Status outcome;
  bool more = false;
  TimePoint due = kNever;
  do {
    Entry* entry = nullptr;
    if (!listener->Take(&outcome, &entry, &more, &due) || entry == nullptr) break;
    entries[count++] = entry;
  } while (more && count < kTurn);
  agx_status told = outcome.code();
  // An entry that cannot be read is passed over, and each is another.
  bool refused = !outcome.entry().empty();
  bool failed = told < 0 && !refused;
  if (failed && client_->closed()) outcome = Status();

  Lock lock(mutex_);
  for (int i = 0; i < count; ++i) {
    subscription->closed_ ? Batch::Release(entries[i]) : subscription->Append(entries[i]);
  }
  if (subscription->closed_) return;
  if (!outcome.ok() && (told == AGX_GAP || refused || told != subscription->last_outcome_)) {
    subscription->last_outcome_ = told;
    subscription->outcome_ = std::move(outcome);
  }
  if (IsFinal(told)) {
    pump_->Finished(listener.get());
  } else if (failed) {
    pump_->ReadAgain(listener.get(), Clock::now() + kRetry);
  } else if (more) {
    pump_->StillReady(listener.get());
  } else {
    if (due != TimePoint::min()) subscription->caught_up_ = true;
    pump_->ReadAgain(listener.get(), due);
  }
  Wake(subscription.get());
}

// If a call keeps others waiting, they go on in another thread. Says when to look again.
TimePoint Dispatcher::LookAfterCalls() noexcept {
  Lock lock(mutex_);
  if (ready_ == nullptr || caller_ == nullptr || stop_) return kNever;
  TimePoint now = Clock::now();
  TimePoint slow_at = (caller_->calling ? caller_->began : now) + kSlow;
  if (now < slow_at) return slow_at;
  Worker* slow = caller_;
  try {
    caller_ = Start(&Dispatcher::Work).get();
  } catch (const std::exception&) {
    return now + kSlow;
  }
  slow->apart = true;
  slow->subscription->own_ = slow;
  return now + kSlow;
}

// --- The threads that call

void Dispatcher::Work(Worker* self) noexcept {
  this_worker = self;
  std::shared_ptr<Subscription> last;  // let go of outside the lock
  Lock lock(mutex_);
  for (;;) {
    bool ends = stop_ || (self->apart ? self->subscription->closed_ : subscriptions_.empty());
    if (ends) break;
    if (!self->apart) self->subscription = PopReady();
    Subscription* subscription = self->subscription.get();
    if (subscription == nullptr || !subscription->has()) {
      uint32_t ticket = self->bell.ticket();
      lock.unlock();
      last = nullptr;
      self->bell.Wait(ticket, kNever);
      lock.lock();
      continue;
    }
    subscription->caller_ = self;
    Serve(lock, self, subscription);
    subscription->caller_ = nullptr;
    if (subscription->closed_) left_.Ring();
    if (self->apart) continue;
    Wake(subscription);
    last.swap(self->subscription);
    if (self->subscription == nullptr) continue;
    lock.unlock();
    self->subscription = nullptr;
    lock.lock();
  }
  if (self->apart && self->subscription != nullptr) self->subscription->own_ = nullptr;
  if (caller_ == self) caller_ = nullptr;
  last.swap(self->subscription);
  Leave(self);
}

// Calls the function with what there is.
void Dispatcher::Serve(Lock& lock, Worker* self, Subscription* subscription) noexcept {
  for (int i = 0; i < kTurn && !stop_ && !subscription->closed_; ++i) {
    Status status;
    Entry* entry = nullptr;
    if (!subscription->TakeNext(&status, &entry)) return;
    GoOnReading(subscription);
    self->began = Clock::now();
    self->calling = true;
    lock.unlock();
    Status failure;
    try {
      subscription->function_(status, entry);
    } catch (const std::exception& error) {
      failure = {AGX_EFAILED, error.what()};
    } catch (...) {
      failure = {AGX_EFAILED, "an exception of an unknown kind"};
    }
    if (entry != nullptr) Batch::Release(entry);
    lock.lock();
    if (!failure.ok()) Fail(lock, subscription, failure);
    self->calling = false;
  }
}

void Dispatcher::GoOnReading(Subscription* subscription) noexcept {
  if (!subscription->parked_ || subscription->over_ || subscription->outcome_) return;
  if (!subscription->has_room()) return;
  subscription->parked_ = false;
  pump_->StillReady(subscription->listener_.get());
}

// It threw. That is its end, which it is told once.
void Dispatcher::Fail(Lock& lock, Subscription* subscription, const Status& why) noexcept {
  bool tell = !subscription->closed_ && !std::exchange(subscription->over_, true) && !stop_;
  Entry* left = subscription->Clear();
  lock.unlock();
  Release(left);
  try {
    client_->LogLine(AGX_LOG_ERROR, Cat("a subscription's function threw: ", why.message()));
    if (tell) subscription->function_(why, nullptr);
  } catch (...) {
    // Once is enough.
  }
  lock.lock();
}

// --- Whose turn it is

// It may have something to tell.
void Dispatcher::Wake(Subscription* subscription) noexcept {
  if (subscription->closed_ || !subscription->has()) return;
  if (subscription->own_ != nullptr) return subscription->own_->bell.Ring();
  if (subscription->caller_ == nullptr) PushReady(subscription);
}

void Dispatcher::PushReady(Subscription* subscription) noexcept {
  if (subscription->in_ready_) return;
  subscription->in_ready_ = true;
  subscription->next_ready_ = nullptr;
  (ready_last_ != nullptr ? ready_last_->next_ready_ : ready_) = subscription;
  ready_last_ = subscription;
  if (caller_ != nullptr) caller_->bell.Ring();
}

std::shared_ptr<Subscription> Dispatcher::PopReady() noexcept {
  Subscription* first = ready_;
  if (first == nullptr) return nullptr;
  UnlinkReady(first);
  return first->shared_from_this();
}

void Dispatcher::UnlinkReady(Subscription* subscription) noexcept {
  if (!subscription->in_ready_) return;
  Subscription* previous = nullptr;
  for (Subscription* at = ready_; at != subscription; at = at->next_ready_) previous = at;
  (previous != nullptr ? previous->next_ready_ : ready_) = subscription->next_ready_;
  if (ready_last_ == subscription) ready_last_ = previous;
  subscription->in_ready_ = false;
}

}  // namespace agx
