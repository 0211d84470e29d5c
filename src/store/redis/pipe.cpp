#include "store/redis/pipe.h"

#include <sched.h>

#include <utility>

namespace agx::redis {
namespace {

// A connection that was idle for so long is looked at before it is used: what is sent into one that
// the server has closed would have to count as possibly written.
constexpr Millis kIdle{5};

// Runs what can fail, for threads on which others depend: running out of memory is one more way to
// fail.
template <class Function>
std::shared_ptr<const Status> Failure(agx_status* code, Function function) noexcept {
  *code = AGX_ENOMEM;
  try {
    Status status = function();
    *code = status.code();
    return status.ok() ? nullptr : std::make_shared<const Status>(std::move(status));
  } catch (const std::bad_alloc&) {
    if (*code == AGX_OK) *code = AGX_ENOMEM;
    return nullptr;
  }
}

// Not for lack of memory may it be said that nothing was written.
Status Uncertain(const Status& why) noexcept {
  try {
    return {AGX_EUNCERTAIN,
            Cat(why.message(), "; whether the command was carried out is not known")};
  } catch (const std::bad_alloc&) {
    return {AGX_EUNCERTAIN, {}};
  }
}

// Where the threads sleep whose commands left together.
struct Cohort {
  std::atomic<uint32_t> word{0};
  std::atomic<uint32_t> sleepers{0};

  void Sleep(uint32_t seen) {
    sleepers.fetch_add(1);
    FutexWait(&word, seen, kNever);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }
  void Wake(int threads) {
    word.fetch_add(1);
    if (sleepers.load() != 0) FutexWake(&word, threads);
  }
};

constexpr uint32_t kCohorts = 8;

}  // namespace

// A first-in first-out list of calls, linked through themselves.
struct Pipe::Calls {
  Call* first = nullptr;
  Call* last = nullptr;

  bool empty() const { return first == nullptr; }
  void Append(Calls* other) {
    if (other->empty()) return;
    (last != nullptr ? last->next_ : first) = other->first;
    last = other->last;
    *other = {};
  }
  Call* Pop() {
    Call* call = first;
    first = call->next_;
    if (first == nullptr) last = nullptr;
    return call;
  }
};

struct Pipe::Wire {
  std::unique_ptr<Connection> connection;
  std::atomic<size_t> under_way{0};  // calls that are not done

  // Under the pipe's lock.
  bool broken = false;
  bool writing = false;
  std::string out;     // waits for the thread that is writing
  Calls filling;       // the calls whose bytes are in it
  Calls sent;          // those that were written since the driver last looked
  uint32_t flush = 0;  // the number of the next write
  size_t last_flush_calls = 0;
  uint64_t given = 0;  // bytes given to this connection
  uint64_t taken = 0;  // and how many of them the system may have
  TimePoint last_use;

  // The driver's.
  std::atomic<bool> driving{false};
  Calls reading;
  bool reply_begun = false;

  Cohort cohorts[kCohorts];

  Cohort& CohortOf(uint32_t number) { return cohorts[number % kCohorts]; }
};

Pipe::Pipe(Dialer& dialer, const Log& log, OnConnect on_connect)
    : dialer_(dialer), config_(dialer.config()), log_(log), on_connect_(std::move(on_connect)) {}

// Throws nothing, nor does Wait: who has submitted several calls has to wait for them all.
Status Pipe::Closed() const noexcept {
  try {
    return {AGX_ECLOSED, "the client is closed"};
  } catch (const std::bad_alloc&) {
    return {AGX_ECLOSED, {}};
  }
}

Status Pipe::NotConnected() const {
  return {AGX_ECONNECT, Cat("not connected to ", Describe(config_))};
}

Status Pipe::Open() {
  Lock lock(mutex_);
  return Connect(lock, nullptr);
}

// Makes connection_ usable, or says why it cannot be. One thread connects for all.
Status Pipe::Connect(Lock& lock, Backoff* backoff) {
  for (;;) {
    if (closed_) return Closed();
    if (wire_ != nullptr) return {};
    uint32_t ticket = connected_.ticket();
    if (connecting_) {
      if (backoff != nullptr && backoff->stopped()) return NotConnected();
      lock.unlock();
      connected_.Wait(ticket, kNever);
      lock.lock();
      continue;
    }
    connecting_ = true;
    uint32_t resets = resets_;
    lock.unlock();
    std::shared_ptr<Wire> fresh;
    Status status;
    try {
      fresh = std::make_shared<Wire>();
      Result<std::unique_ptr<Connection>> opened = dialer_.Dial();
      status = opened.status();
      if (opened.ok()) fresh->connection = std::move(*opened);
      if (opened.ok() && on_connect_) status = on_connect_(*fresh->connection);
    } catch (const std::bad_alloc&) {
      status = {AGX_ENOMEM, {}};
    }
    lock.lock();
    connecting_ = false;
    if (status.ok() && !closed_ && resets == resets_) {
      fresh->last_use = Clock::now();
      wire_ = std::move(fresh);
    }
    connected_.Ring();
    if (closed_ || status.ok()) continue;
    TimePoint until;
    bool worth_it = status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT ||
                    status.code() == AGX_ELOADING;
    if (!worth_it || backoff == nullptr || !backoff->Next(&until)) return status;
    log_(AGX_LOG_WARNING, status.message());
    // Another thread's success ends this wait early, as Close and a stop do; its failure does not.
    for (;;) {
      ticket = connected_.ticket();
      if (closed_ || wire_ != nullptr || backoff->stopped() || Clock::now() >= until) break;
      lock.unlock();
      connected_.Wait(ticket, until);
      lock.lock();
    }
  }
}

Status Pipe::Execute(const Commands& commands, Effect effect, Sink* sink, bool* repeated,
                     const StopFlag* stop) {
  Backoff backoff(config_, stop);
  bool uncertain = false;
  for (;;) {
    Call call;
    bool courtesy = effect == Effect::kIfConnected;
    Status status = Submit(commands, sink, &call, courtesy ? nullptr : &backoff);
    bool again = status.ok();
    if (again) {
      bool may_have_run = false;
      status = Wait(&call, &may_have_run);
      if (status.ok()) return status;
      uncertain |= may_have_run && effect != Effect::kRepeatable;
      if (repeated != nullptr) *repeated |= may_have_run;
      TimePoint until;
      again = (status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT) &&
              !(uncertain && effect == Effect::kOnce) && !courtesy && backoff.Next(&until);
    }
    if (again) {
      log_(AGX_LOG_WARNING, status.message());
    } else {
      return uncertain && status.code() != AGX_ECLOSED ? Uncertain(status) : status;
    }
  }
}

Status Pipe::EnsureUsable(Lock& lock, Backoff* backoff) {
  for (;;) {
    if (closed_) return Closed();
    if (wire_ == nullptr) {
      if (backoff == nullptr) return NotConnected();
      if (Status status = Connect(lock, backoff); !status.ok()) return status;
    }
    TimePoint now = Clock::now();
    bool idle = wire_->under_way.load(std::memory_order_relaxed) == 0;
    bool stale = idle && now - wire_->last_use > kIdle && wire_->connection->Stale();
    wire_->last_use = now;
    if (!stale) return {};
    wire_.reset();
  }
}

Status Pipe::Submit(const Commands& commands, Sink* sink, Call* call, Backoff* backoff,
                    const Call* behind, size_t own) {
  Lock lock(mutex_);
  if (behind != nullptr && behind->wire_ != wire_) {
    if (closed_) return Closed();
    return {AGX_ECONNECT, Cat(Describe(config_), ": the connection was lost")};
  }
  if (Status status = EnsureUsable(lock, backoff); !status.ok()) return status;
  std::shared_ptr<Wire> wire = wire_;
  // Where several threads meet, the one that writes waits a moment for the others.
  bool gather = !wire->writing && (wire->last_flush_calls > 1 || wire->under_way.load() > own);
  bool alone = !wire->writing && !gather;
  if (!alone) wire->out.append(commands.bytes());  // first: it may throw

  call->sink_ = sink;
  call->expected_ = commands.count();
  call->wire_ = wire;
  call->flush_ = wire->flush;
  call->begin_ = wire->given;
  call->end_ = wire->given += commands.bytes().size();
  call->deadline_ = wire->last_use + Millis(config_.command_timeout_ms);
  Calls one{call, call};
  wire->filling.Append(&one);
  wire->under_way.fetch_add(1, std::memory_order_relaxed);
  if (wire->writing) return {};

  wire->writing = true;
  if (gather) {
    lock.unlock();
    sched_yield();
    lock.lock();
  }
  Write(lock, wire.get(), alone ? &commands : nullptr);
  return {};
}

// Sends what waits, and what gathers meanwhile. `alone`: the one call that waits, whose bytes are
// not in `out`.
void Pipe::Write(Lock& lock, Wire* wire, const Commands* alone) noexcept {
  std::string batch;
  while (!wire->broken && !wire->filling.empty()) {
    batch.clear();
    batch.swap(wire->out);
    std::string_view bytes = alone != nullptr ? alone->bytes() : batch;
    alone = nullptr;
    size_t calls = 0;
    for (const Call* call = wire->filling.first; call != nullptr && calls < 2; call = call->next_) {
      ++calls;
    }
    wire->last_flush_calls = calls;
    // They count as sent, and all bytes as taken, before they are: replies, or the loss of the
    // connection, may come at once.
    wire->sent.Append(&wire->filling);
    ++wire->flush;
    wire->taken += bytes.size();
    lock.unlock();
    size_t sent = 0;
    agx_status code = AGX_OK;
    auto status = Failure(&code, [&] { return wire->connection->Send(bytes, &sent); });
    lock.lock();
    if (code == AGX_OK) continue;
    wire->taken -= bytes.size() - sent;
    Break(wire);
    if (wire->driving.exchange(true)) continue;  // the driver will find out
    lock.unlock();
    Fail(wire, code, status);
    HandOver(wire);
    lock.lock();
  }
  wire->writing = false;
}

Status Pipe::Wait(Call* call, bool* may_have_run) noexcept {
  Wire* wire = call->wire_.get();
  Cohort& cohort = wire->CohortOf(call->flush_);
  while (!call->done_.load(std::memory_order_acquire)) {
    uint32_t seen = cohort.word.load();
    if (!wire->driving.exchange(true)) {
      Drive(wire, *call);
      HandOver(wire);
    } else if (!call->done_.load(std::memory_order_acquire)) {
      cohort.Sleep(seen);  // the driver enforces every call's deadline
    }
  }
  *may_have_run = call->may_have_run_;
  if (call->code_ == AGX_OK) return {};
  if (call->code_ == AGX_ECLOSED) return Closed();
  return call->status_ != nullptr ? CopyOf(*call->status_) : Status(call->code_, {});
}

// Reads for all until `own` is done.
void Pipe::Drive(Wire* wire, const Call& own) noexcept {
  while (!own.done_.load(std::memory_order_relaxed)) {
    const Call* oldest = wire->reading.empty() ? &own : wire->reading.first;
    agx_status code = AGX_OK;
    auto failure = Failure(&code, [&] {
      Status status;
      Connection::Received received = wire->connection->Receive(oldest->deadline_, -1, &status);
      if (received == Connection::Received::kTimeout) {
        status = {AGX_ETIMEOUT, Cat(Describe(config_), " did not answer within ",
                                    config_.command_timeout_ms, " ms")};
      }
      return status;
    });
    if (code == AGX_OK) {
      Deliver(wire);
    } else {
      Fail(wire, code, failure);
    }
  }
}

void Pipe::TakeSent(Wire* wire) noexcept {
  std::lock_guard lock(mutex_);
  wire->reading.Append(&wire->sent);
}

// Gives the replies that have arrived to their calls.
void Pipe::Deliver(Wire* wire) noexcept {
  TakeSent(wire);
  uint32_t finished = 0;  // a bit for each cohort
  static_assert(kCohorts <= 32);
  size_t count = 0;
  agx_status code = AGX_OK;
  std::shared_ptr<const Status> failure;
  while (!wire->reading.empty()) {
    Call* call = wire->reading.first;
    Parser::Outcome outcome = Parser::Outcome::kBroken;
    failure = Failure(&code, [&] {
      if (!wire->reply_begun) call->sink_->BeginReply(call->received_);
      wire->reply_begun = true;
      outcome = wire->connection->Parse(call->sink_);
      if (outcome == Parser::Outcome::kComplete) call->sink_->EndReply();
      return outcome == Parser::Outcome::kBroken ? wire->connection->Broken(*call->sink_)
                                                 : Status();
    });
    if (code != AGX_OK || outcome == Parser::Outcome::kIncomplete) break;
    wire->reply_begun = false;
    if (++call->received_ < call->expected_) continue;
    wire->reading.Pop();
    finished |= 1U << (call->flush_ % kCohorts);
    ++count;
    call->done_.store(true, std::memory_order_release);  // it may be gone now
  }
  wire->under_way.fetch_sub(count, std::memory_order_relaxed);
  for (uint32_t i = 0; finished != 0; ++i, finished >>= 1) {
    if ((finished & 1) != 0) wire->cohorts[i].Wake(INT32_MAX);
  }
  if (code == AGX_OK && wire->reading.empty() && wire->connection->HasMore()) {
    failure = Failure(&code, [&]() -> Status {
      return {AGX_EPROTOCOL, Cat(Describe(config_), " sent more than was asked for")};
    });
  }
  if (code != AGX_OK) Fail(wire, code, failure);
}

// Gives up the driver's role, and wakes one of those that wait for the oldest reply to take it.
void Pipe::HandOver(Wire* wire) noexcept {
  uint32_t flush = 0;
  bool any = false;
  {
    std::lock_guard lock(mutex_);
    wire->reading.Append(&wire->sent);
    const Call* oldest = wire->reading.empty() ? wire->filling.first : wire->reading.first;
    any = oldest != nullptr;
    if (any) flush = oldest->flush_;
    wire->driving = false;
  }
  if (any) wire->CohortOf(flush).Wake(1);
}

// Lets no further call onto the wire. Under the lock.
void Pipe::Break(Wire* wire) noexcept {
  wire->broken = true;
  wire->connection->Shutdown();
  if (wire_.get() == wire) wire_.reset();
}

// Ends every call on the wire; called by its driver.
void Pipe::Fail(Wire* wire, agx_status code, const std::shared_ptr<const Status>& status) noexcept {
  Calls calls;
  uint64_t taken = 0;
  {
    std::lock_guard lock(mutex_);
    Break(wire);
    if (closed_) code = AGX_ECLOSED;
    wire->reading.Append(&wire->sent);
    wire->reading.Append(&wire->filling);
    calls = wire->reading;
    wire->reading = {};
    taken = wire->taken;
  }
  while (!calls.empty()) {
    Call* call = calls.Pop();
    // The server cannot run half a command, but it can run the first of several.
    call->may_have_run_ = call->expected_ > 1 ? taken > call->begin_ : taken >= call->end_;
    call->code_ = code;
    call->status_ = status;
    wire->under_way.fetch_sub(1, std::memory_order_relaxed);
    call->done_.store(true, std::memory_order_release);
  }
  for (Cohort& cohort : wire->cohorts) cohort.Wake(INT32_MAX);
}

// Whoever drives finds the connection shut down and ends the calls.
void Pipe::Reset() {
  std::lock_guard lock(mutex_);
  ++resets_;  // one that is being made is void as well
  if (wire_ != nullptr) Break(std::shared_ptr<Wire>(wire_).get());
}

void Pipe::Close() noexcept {
  std::lock_guard lock(mutex_);
  closed_ = true;
  if (wire_ != nullptr) Break(std::shared_ptr<Wire>(wire_).get());
  connected_.Ring();
}

}  // namespace agx::redis
