#include "store/redis/pipe.h"

#include <sched.h>

#include <utility>

namespace agx::redis {
namespace {

// A connection that was idle for so long is looked at before it is used: what is sent into one that the server has
// closed would have to count as possibly written.
constexpr Millis kIdle{5};

// Runs what can fail, for threads on which others depend: running out of memory is one more way to fail.
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

}  // namespace

Pipe::Pipe(const Config& config, const Log& log, OnConnect on_connect)
    : config_(config), log_(log), on_connect_(std::move(on_connect)) {}

Status Pipe::Closed() const { return {AGX_ECLOSED, "the client is closed"}; }

Status Pipe::Open() {
  Lock lock(mutex_);
  return Connect(lock, nullptr);
}

// Makes connection_ usable, or says why it cannot be. One thread connects for all.
Status Pipe::Connect(Lock& lock, Backoff* backoff) {
  for (;;) {
    if (closed_) return Closed();
    if (connection_ != nullptr) return {};
    uint32_t ticket = connected_.ticket();
    if (connecting_) {
      lock.unlock();
      connected_.Wait(ticket, kNever);
      lock.lock();
      continue;
    }
    connecting_ = true;
    lock.unlock();
    Result<std::unique_ptr<Connection>> opened = Connection::Open(config_);
    Status status = opened.status();
    if (opened.ok()) status = on_connect_ ? on_connect_(**opened) : Status();
    lock.lock();
    connecting_ = false;
    if (status.ok() && !closed_) {
      connection_ = std::move(*opened);
      given_ = taken_ = 0;
      reply_begun_ = false;
      out_.clear();
      last_use_ = Clock::now();
    }
    connected_.Ring();
    if (closed_ || status.ok()) continue;
    TimePoint until;
    bool worth_it = status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT ||
                    status.code() == AGX_ELOADING;
    if (!worth_it || backoff == nullptr || !backoff->Next(&until)) return status;
    log_(AGX_LOG_WARNING, status.message());
    // Another thread's attempt may end this wait early, as Close does.
    ticket = connected_.ticket();
    lock.unlock();
    connected_.Wait(ticket, until);
    lock.lock();
  }
}

Status Pipe::Execute(const Commands& commands, Effect effect, Sink* sink) {
  Backoff backoff(config_);
  for (;;) {
    Call call;
    if (Status status = Submit(commands, sink, &call, &backoff); !status.ok()) return status;
    bool may_have_run = false;
    Status status = Wait(&call, &may_have_run);
    if (status.ok() || status.code() == AGX_ECLOSED) return status;
    if (may_have_run && effect == Effect::kOnce) {
      return {AGX_EUNCERTAIN,
              Cat(status.message(), "; whether the command was carried out is not known")};
    }
    bool lost = status.code() == AGX_ECONNECT || status.code() == AGX_ETIMEOUT;
    TimePoint until;
    if (!lost || !backoff.Next(&until)) return status;
    log_(AGX_LOG_WARNING, status.message());
  }
}

Status Pipe::Submit(const Commands& commands, Sink* sink, Call* call, Backoff* backoff) {
  Lock lock(mutex_);
  for (;;) {
    if (closed_) return Closed();
    if (connection_ == nullptr) {
      if (Status status = Connect(lock, backoff); !status.ok()) return status;
    }
    TimePoint now = Clock::now();
    if (front_ == nullptr && !writing_ && now - last_use_ > kIdle && connection_->Stale()) {
      connection_.reset();
      continue;
    }
    last_use_ = now;
    call->deadline_ = now + Millis(config_.command_timeout_ms);
    break;
  }
  if (writing_) {
    out_.append(commands.bytes());  // before anything is enqueued: it may throw
    Enqueue(commands, sink, call);
    return {};
  }
  bool busy = front_ != nullptr;
  Enqueue(commands, sink, call);
  writing_ = true;
  if (busy) {
    // Others are at it too: let those that can run add theirs to this write.
    lock.unlock();
    sched_yield();
    lock.lock();
  }
  Write(lock, commands, *call);
  return {};
}

void Pipe::Enqueue(const Commands& commands, Sink* sink, Call* call) {
  call->sink_ = sink;
  call->expected_ = commands.count();
  call->begin_ = given_;
  given_ += commands.bytes().size();
  call->end_ = given_;
  (back_ != nullptr ? back_->next_ : front_) = call;
  back_ = call;
}

// Called with writing_ set by this thread: sends `first`, which was given before anything in out_, and all that gathers
// meanwhile. Nothing may be thrown from here on: the calls are enqueued.
void Pipe::Write(Lock& lock, const Commands& first, const Call& call) {
  if (call.state_.load(std::memory_order_relaxed) != Call::kDone) {
    Send(lock, connection_, first.bytes());
  }
  while (!out_.empty()) {
    std::string batch;
    batch.swap(out_);
    Send(lock, connection_, batch);
  }
  writing_ = false;
}

void Pipe::Send(Lock& lock, const std::shared_ptr<Connection>& current, std::string_view bytes) {
  std::shared_ptr<Connection> connection = current;
  taken_ += bytes.size();  // until it is known how many: whoever finds the connection lost must assume all
  lock.unlock();
  size_t sent = 0;
  agx_status code = AGX_OK;
  auto status = Failure(&code, [&] { return connection->Send(bytes, &sent); });
  lock.lock();
  if (connection != connection_) return;
  taken_ -= bytes.size() - sent;
  if (code != AGX_OK) Fail(code, std::move(status));
}

Status Pipe::Wait(Call* call, bool* may_have_run) {
  for (;;) {
    uint32_t state = call->state_.load(std::memory_order_acquire);
    if (state == Call::kDone) break;
    if (state == Call::kWaiting || state == Call::kDrive) {
      Lock lock(mutex_);
      state = call->state_.load(std::memory_order_acquire);
      if (state == Call::kDone) break;
      if (!driving_) {
        driving_ = true;
        Drive(lock, call);
        driving_ = false;
        HandOver();
        break;
      }
      call->state_.store(Call::kSleeping, std::memory_order_release);
    }
    // The driver enforces every call's deadline.
    FutexWait(&call->state_, Call::kSleeping, kNever);
  }
  *may_have_run = call->may_have_run_;
  if (call->code_ == AGX_OK) return {};
  if (call->code_ == AGX_ECLOSED) return Closed();
  return call->status_ != nullptr ? *call->status_ : Status(call->code_, {});
}

// Reads for all until `own` is done.
void Pipe::Drive(Lock& lock, Call* own) {
  while (own->state_.load(std::memory_order_relaxed) != Call::kDone) {
    std::shared_ptr<Connection> connection = connection_;
    TimePoint deadline = front_->deadline_;
    lock.unlock();
    agx_status code = AGX_OK;
    auto failure = Failure(&code, [&] {
      Status status;
      if (connection->Receive(deadline, -1, &status) == Connection::Received::kTimeout) {
        status = {AGX_ETIMEOUT, Cat(Describe(config_), " did not answer within ",
                                    config_.command_timeout_ms, " ms")};
      }
      return status;
    });
    lock.lock();
    if (connection != connection_) continue;  // it failed meanwhile: `own` is done
    if (code == AGX_OK) {
      Deliver();
    } else {
      Fail(code, std::move(failure));
    }
  }
}

// Gives the replies that have arrived to their calls.
void Pipe::Deliver() {
  while (front_ != nullptr) {
    Call* call = front_;
    Parser::Outcome outcome = Parser::Outcome::kBroken;
    agx_status code = AGX_OK;
    auto failure = Failure(&code, [&] {
      if (!reply_begun_) call->sink_->BeginReply(call->received_);
      reply_begun_ = true;
      outcome = connection_->Parse(call->sink_);
      if (outcome == Parser::Outcome::kComplete) call->sink_->EndReply();
      return outcome == Parser::Outcome::kBroken ? connection_->Broken(*call->sink_) : Status();
    });
    if (code != AGX_OK) return Fail(code, std::move(failure));
    if (outcome == Parser::Outcome::kIncomplete) return;
    reply_begun_ = false;
    if (++call->received_ < call->expected_) continue;
    front_ = call->next_;
    if (front_ == nullptr) back_ = nullptr;
    Finish(call);
  }
}

// The call may be gone when this returns.
void Pipe::Finish(Call* call) noexcept {
  std::atomic<uint32_t>* state = &call->state_;
  if (state->exchange(Call::kDone, std::memory_order_acq_rel) == Call::kSleeping) {
    FutexWake(state, 1);
  }
}

// Wakes one of the threads that wait for replies to read on for the others.
void Pipe::HandOver() noexcept {
  if (driving_) return;
  for (Call* call = front_; call != nullptr; call = call->next_) {
    uint32_t sleeping = Call::kSleeping;
    if (call->state_.compare_exchange_strong(sleeping, Call::kDrive, std::memory_order_acq_rel)) {
      FutexWake(&call->state_, 1);
      return;
    }
  }
  // Those that are not asleep will see that nobody drives.
}

// The connection is of no use any more: ends every call on it.
void Pipe::Fail(agx_status code, std::shared_ptr<const Status> status) noexcept {
  connection_->Shutdown();
  connection_.reset();
  out_.clear();
  reply_begun_ = false;
  Call* call = std::exchange(front_, nullptr);
  back_ = nullptr;
  while (call != nullptr) {
    Call* next = call->next_;
    // The server cannot run half a command, but it can run the first of several.
    call->may_have_run_ = call->expected_ > 1 ? taken_ > call->begin_ : taken_ >= call->end_;
    call->code_ = code;
    call->status_ = status;
    Finish(call);
    call = next;
  }
}

void Pipe::Reset() {
  Lock lock(mutex_);
  if (connection_ != nullptr) Fail(AGX_ECONNECT, nullptr);
}

void Pipe::Close() noexcept {
  Lock lock(mutex_);
  closed_ = true;
  if (connection_ != nullptr) Fail(AGX_ECLOSED, nullptr);
  connected_.Ring();
}

}  // namespace agx::redis
