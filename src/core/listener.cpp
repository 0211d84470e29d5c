#include "core/listener.h"

#include <algorithm>
#include <utility>

namespace agx {
namespace {

// What the store refused is not tried again before, however soon it is asked for.
constexpr Millis kRetry{200};

bool IsOfTheStore(const Status& status) {
  agx_status code = status.code();
  return code != AGX_TIMEOUT && code != AGX_ENOMEM && code != AGX_ESYSTEM;
}

Status Closed() { return {AGX_ECLOSED, "the listener is closed"}; }

bool IsNew(std::string_view after) { return after == "new" || after == "$"; }

// Everything, only new, or an entry id.
Result<EntryId> ParseAfter(const char* after, const Session& session) {
  std::string_view text = after != nullptr ? after : "";
  EntryId id;
  if (text.empty()) return id;
  if (IsNew(text)) {
    Status status = session.LastId(&id);
    if (!status.ok()) return status;
    return id;
  }
  if (ParseEntryId(text, &id)) return id;
  return Status(AGX_EINVAL,
                Cat("the option after is neither an entry id such as 1734649123456-0, nor "
                    "\"new\", nor \"0\": ",
                    text.substr(0, 64)));
}

}  // namespace

Result<std::shared_ptr<Listener>> Listener::Open(const Session& session,
                                                 const agx_listen_options& options) {
  if (options.limit < 0) {
    return Status(AGX_EINVAL, "the option limit is to be 0 (none) or more");
  }
  Result<EntryId> after = ParseAfter(options.after, session);
  if (!after.ok()) return after.status();
  Cursor::Options cursor;
  if (options.where != nullptr) {
    auto where = Condition::Compile(options.where);
    if (!where.ok()) return where.status();
    cursor.where = std::move(*where);
  }
  cursor.wait_ms = options.wait_ms;
  cursor.timeout_ms = options.timeout_ms;
  cursor.hand_on_end = options.hand_on_end != 0;
  cursor.limit = options.limit;
  cursor.format = &session.format();
  cursor.resumes = *after != EntryId{} && !IsNew(options.after);
  cursor.lease_ms = session.client()->config().lease_ms;
  return std::shared_ptr<Listener>(
      new Listener(session.client(), std::string(session.live_key()), cursor, *after));
}

Listener::Listener(std::shared_ptr<Client> client, std::string live_key,
                   const Cursor::Options& options, EntryId after)
    : client_(std::move(client)),
      live_key_(std::move(live_key)),
      list_(options.format->traits().list),
      endless_(options.format->end_marks().empty()),
      cursor_(options, after, Clock::now()) {
  client_->AddSleeper(this);
}

Listener::~Listener() {
  Unwatch();
  client_->RemoveSleeper(this);
}

void Listener::Close() noexcept {
  std::shared_ptr<Pump> pump;
  {
    Lock lock(mutex_);
    closed_ = interrupted_ = true;
    pump = std::exchange(pump_, nullptr);
    descriptor_.Set(true);
    Wake();
  }
  if (pump == nullptr) return;
  Unwatch();
  poked_pump_ = nullptr;
  pump->Detach(this);
}

void Listener::Interrupt() noexcept {
  Lock lock(mutex_);
  interrupted_ = true;
  descriptor_.Set(true);
  Wake();
}

void Listener::ClientClosed() noexcept {
  Lock lock(mutex_);
  descriptor_.Set(true);
  Wake();
}

void Listener::Wake() noexcept {
  bell_.Ring();
  if (tail_ != nullptr) tail_->Wake();
  client_->store().Hurry();
}

// Called under the store's lock: only atomics and the pump's lock may be taken.
void Listener::Changed() noexcept {
  changed_ = true;
  if (Pump* pump = poked_pump_.load()) {
    pump->Poke(this);
  } else {
    bell_.Ring();
  }
}

void Listener::ProducerStopped() noexcept {
  if (!endless_) return;
  stop_told_ = true;
  Changed();
}

EntryId Listener::position() const {
  Lock lock(mutex_);
  return cursor_.position();
}

agx_gone_reason Listener::gone() const {
  Lock lock(mutex_);
  return cursor_.gone();
}

// --- Driven by a thread in Next

Entry* Listener::NextAtHand() {
  Lock lock(mutex_);
  bool plain = !in_next_ && !closed_ && !in_mux_ && !interrupted_ && pump_ == nullptr &&
               failure_.ok() && cursor_.HoldsMore() && !client_->closed();
  if (!plain) return nullptr;
  Status status;
  Entry* entry = nullptr;
  (void)cursor_.Take(TimePoint::min(), &status, &entry);
  return entry;
}

Status Listener::Next(TimePoint deadline, Entry** entries, size_t capacity, size_t* count) {
  *count = 0;
  Lock lock(mutex_);
  // One thread drives; another that comes meanwhile waits for its turn.
  while (in_next_) {
    uint32_t ticket = bell_.ticket();
    // An interrupt is the other's: it may give up because of it.
    if (Status status = Ended(); !status.ok()) return status;
    if (Clock::now() >= deadline) return {AGX_TIMEOUT, "another thread waits on this listener"};
    lock.unlock();
    bell_.Wait(ticket, deadline);
    lock.lock();
  }
  in_next_ = true;
  Status status;
  try {
    status = Loop(lock, deadline, entries, capacity, count);
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    in_next_ = false;
    throw;
  }
  in_next_ = false;
  SettleDescriptor();
  bell_.Ring();
  return status;
}

Status Listener::Loop(Lock& lock, TimePoint deadline, Entry** entries, size_t capacity,
                      size_t* count) {
  for (;;) {
    uint32_t ticket = bell_.ticket();
    Status status = Stopped();
    if (!status.ok()) return status;
    if (TakeSome(&status, entries, capacity, count)) return status;
    bool pauses = pump_ == nullptr && retries_later();
    status = pauses ? Sleep(lock, ticket, retry_at_, deadline) : Advance(lock, deadline);
    // An interrupt may be why it gave up, and is told then.
    if (status.ok() || interrupted_) continue;
    if (IsOfTheStore(status)) retry_at_ = Clock::now() + kRetry;
    return status;
  }
}

Status Listener::Ended() const {
  if (closed_) return Closed();
  if (client_->closed()) return Client::ClosedStatus();
  if (in_mux_) return {AGX_EBUSY, "the listener is in a mux; take it out first"};
  return {};
}

Status Listener::Stopped() {
  if (Status status = Ended(); !status.ok()) return status;
  if (interrupted_.exchange(false)) return {AGX_INTERRUPTED, "interrupted"};
  return std::exchange(failure_, Status());
}

bool Listener::TakeSome(Status* status, Entry** entries, size_t capacity, size_t* count) {
  TimePoint now = Clock::now();
  Entry* entry = nullptr;
  // Anything but an event is told by a call of its own.
  while (*count < capacity && (*count == 0 || cursor_.HoldsEntry()) &&
         cursor_.Take(now, status, &entry)) {
    if (entry == nullptr) {
      if (*count == 0) return true;
      *status = Status();  // the limit: the next call tells it
      break;
    }
    entries[(*count)++] = entry;
  }
  return *count > 0;
}

// Reads or waits once. AGX_TIMEOUT when the deadline has passed.
Status Listener::Advance(Lock& lock, TimePoint deadline) {
  if (pump_ != nullptr) return AdvancePumped(lock, deadline);
  if (!tail_tried_) {
    tail_tried_ = true;
    // A stop without an `end` is told by the bell, which a tail does not hear.
    if (!list_ && !endless_) tail_ = client_->store().OpenTail();
  }
  return tail_ != nullptr ? AdvanceTail(lock, deadline) : AdvanceWatch(lock, deadline);
}

Status Listener::Sleep(Lock& lock, uint32_t ticket, TimePoint until, TimePoint deadline) {
  if (Clock::now() >= deadline) return {AGX_TIMEOUT, "nothing came within the timeout"};
  lock.unlock();
  client_->store().WaitFor(&bell_, ticket, std::min(until, deadline));
  lock.lock();
  return {};
}

Status Listener::AdvanceWatch(Lock& lock, TimePoint deadline) {
  uint32_t ticket = bell_.ticket();
  TimePoint now = Clock::now();
  if (!watched_) {
    lock.unlock();
    Status status = Watch();
    lock.lock();
    return status;
  }
  if (!changed_ && now < cursor_.Due()) return Sleep(lock, ticket, cursor_.Due(), deadline);
  ReadRequest request;
  FillRequest(&request);
  request.stop = &interrupted_;
  lock.unlock();
  Status status = client_->store().Read({&request, 1});
  lock.lock();
  if (status.ok()) status = std::move(request.status);
  if (!status.ok()) {
    changed_ = true;
    return status;
  }
  now = Clock::now();
  if (!request.live_key.empty()) cursor_.AbsorbFlag(request.live, now);
  cursor_.Absorb(&request, now);
  cursor_.Select();
  if (request.want_last) cursor_.AbsorbLast(std::move(request.last));
  return {};
}

Status Listener::AdvanceTail(Lock& lock, TimePoint deadline) {
  ReadRequest answer;
  cursor_.Prepare(&answer);
  if (!tail_->pending()) {
    // What is to be told if there is nothing needs an answer, not a wait that is over before it can come.
    tail_follows_ = !cursor_.more() && Clock::now() < cursor_.TellsAt();
    tail_asked_at_ = Clock::now();
    Status status = tail_->Request(key(), answer.after, answer.count, tail_follows_);
    if (!status.ok()) return status;
  }
  TimePoint now = Clock::now();
  if (tail_follows_ && cursor_.WantsFlag(now)) return LookAtFlag(lock);
  if (tail_follows_ && cursor_.WantsLast()) return LookAtLast(lock);
  // A replay is answered at once, so that even a call that does not wait gets what is there.
  TimePoint until = tail_follows_ ? std::min(deadline, cursor_.Due()) : kNever;
  Tail::Outcome outcome = Tail::Outcome::kTimeout;
  lock.unlock();
  if (!tail_follows_) answer.asked_at = tail_asked_at_;
  auto foresee = [this](const Page& page, ReadRequest* next) {
    tail_asked_at_ = Clock::now();
    return Foresee(page, next);
  };
  Status status = tail_->Await(until, -1, foresee, &answer, &outcome);
  lock.lock();
  if (!status.ok()) return status;
  now = Clock::now();
  if (outcome == Tail::Outcome::kDone) {
    if (tail_->pending()) tail_follows_ = false;  // it was asked for what comes behind this
    cursor_.Absorb(&answer, now);
    cursor_.Select();
  } else if (outcome == Tail::Outcome::kTimeout && tail_follows_) {
    cursor_.Nothing(now);
    if (now >= deadline && !cursor_.Has(now)) {
      return {AGX_TIMEOUT, "nothing came within the timeout"};
    }
  }
  return status;
}

Status Listener::LookAtFlag(Lock& lock) {
  LiveFlag flag;
  lock.unlock();
  Status status = client_->store().Live(live_key_, &flag, &interrupted_);
  lock.lock();
  if (status.ok()) cursor_.AbsorbFlag(flag, Clock::now());
  return status;
}

Status Listener::LookAtLast(Lock& lock) {
  RangeRequest range;
  range.key = key();
  range.reverse = true;
  range.count = 1;
  BatchPtr last;
  lock.unlock();
  Status status = client_->store().Range(range, &last);
  lock.lock();
  if (status.ok()) cursor_.AbsorbLast(std::move(last));
  return status;
}

Status Listener::Watch() {
  Store::KeyKind kind = list_ ? Store::KeyKind::kList : Store::KeyKind::kStream;
  Status status = client_->store().Watch(key(), kind, this);
  watched_ = status.ok();
  changed_ = true;
  return status;
}

void Listener::Unwatch() noexcept {
  if (watched_) client_->store().Unwatch(key(), this);
  watched_ = false;
}

// As Unwatch: whoever was calling has returned. But what comes next is heard of.
void Listener::Rewatch() noexcept {
  if (!watched_) return;
  bool again = false;
  try {
    again = Watch().ok();
  } catch (const std::bad_alloc&) {
    again = false;
  }
  client_->store().Unwatch(key(), this);  // the one of before
  watched_ = again;
}

// --- Driven by a pump

Status Listener::AdvancePumped(Lock& lock, TimePoint deadline) {
  uint32_t ticket = bell_.ticket();
  descriptor_.Set(false);
  if (cursor_.more() && !retries_later()) pump_->Poke(this);
  return Sleep(lock, ticket, kNever, deadline);
}

Status Listener::OpenDescriptor(int* fd) {
  Lock lock(mutex_);
  if (closed_) return Closed();
  if (in_mux_) return {AGX_EBUSY, "the listener is in a mux, which has a descriptor of its own"};
  if (pump_ == nullptr) {
    if (in_next_)
      return {AGX_EBUSY, "a thread waits on this listener; ask for the descriptor first"};
    Result<std::shared_ptr<Pump>> pump = client_->DescriptorPump();
    if (!pump.ok()) return pump.status();
    if (Status status = descriptor_.Open(); !status.ok()) return status;
    tail_.reset();
    pump_ = *pump;
    poked_pump_ = pump_.get();
    lock.unlock();
    Status status;
    try {
      (*pump)->Attach(shared_from_this(), false);
      status = watched_ ? Status() : Watch();
    } catch (const std::bad_alloc&) {
      status = {AGX_ENOMEM, {}};
    }
    if (!status.ok()) {
      Unwatch();
      poked_pump_ = nullptr;
      (*pump)->Detach(this);
      lock.lock();
      pump_ = nullptr;
      tail_tried_ = false;
      return status;
    }
    (*pump)->Poke(this);
    lock.lock();
  }
  SettleDescriptor();
  *fd = descriptor_.fd();
  return {};
}

// After something was taken: is there more, and if not, when will there be?
void Listener::SettleDescriptor() noexcept {
  if (!descriptor_.is_open() || pump_ == nullptr) return;
  bool has = interrupted_ || client_->closed() || !failure_.ok() || cursor_.Has(Clock::now());
  descriptor_.Set(has);
  // What the store has refused is read again when its time has come, which the pump knows.
  if (has || retries_later()) return;
  if (changed_ || cursor_.more()) {
    pump_->Poke(this);
  } else if (cursor_.Due() < pump_due_) {
    pump_due_ = cursor_.Due();
    pump_->ReadAgain(this, pump_due_);
  }
}

Status Listener::Join(const std::shared_ptr<Pump>& pump) {
  bool has = false;
  TimePoint due;
  TimePoint not_before;
  {
    Lock lock(mutex_);
    if (closed_) return Closed();
    if (in_mux_) return {AGX_EBUSY, "the listener is in a mux already"};
    if (in_next_ || pump_ != nullptr) {
      return {AGX_EBUSY, "the listener has a descriptor, or a thread that waits on it"};
    }
    in_mux_ = true;
    tail_.reset();
    pump_ = pump;
    TimePoint now = Clock::now();
    has = cursor_.Has(now);
    due = cursor_.Due();
    not_before = now < retry_at_ ? retry_at_ : TimePoint::min();
  }
  Status status;
  try {
    pump->Attach(shared_from_this(), has, due, not_before);
    poked_pump_ = pump.get();
    status = watched_ ? Status() : Watch();
  } catch (const std::bad_alloc&) {
    status = {AGX_ENOMEM, {}};
  }
  if (status.ok()) {
    {
      Lock lock(mutex_);
      changed_ = true;  // what came before Watch is to be read, once there is room for it
      has = cursor_.Has(Clock::now());
    }
    if (has) {
      // A read that was under way when it left may have brought it just now.
      pump->StillReady(this);
    } else if (not_before == TimePoint::min()) {
      pump->Poke(this);
    }
  } else {
    (void)Leave(pump.get());
  }
  return status;
}

Status Listener::Leave(Pump* pump) {
  {
    Lock lock(mutex_);
    if (!in_mux_ || pump_.get() != pump) return {AGX_EINVAL, "the listener is not in this mux"};
  }
  poked_pump_ = nullptr;
  if (endless_) {
    Rewatch();  // nobody tells later that the producer was stopped meanwhile
  } else {
    Unwatch();
  }
  pump->Detach(this);
  Lock lock(mutex_);
  pump_ = nullptr;
  in_mux_ = false;
  tail_tried_ = false;
  changed_ = true;
  return {};
}

void Listener::Prepare(ReadRequest* request) {
  Lock lock(mutex_);
  FillRequest(request);
}

void Listener::FillRequest(ReadRequest* request) {
  changed_ = false;
  if (stop_told_) {
    stopping_ = true;
    stop_told_ = false;
    cursor_.NoteStop();
  }
  request->key = key();
  request->list = list_;
  if (cursor_.WantsFlag(Clock::now())) request->live_key = live_key_;
  cursor_.Prepare(request);
}

bool Listener::PrepareFollow(ReadRequest* request, bool* more) {
  Lock lock(mutex_);
  if (cursor_.Has(Clock::now())) return false;
  request->key = key();
  cursor_.Prepare(request);
  *more = cursor_.more();
  return true;
}

bool Listener::Foresee(const Page& page, ReadRequest* next) const {
  Lock lock(mutex_);
  return cursor_.Foresee(page, next);
}

bool Listener::Absorb(ReadRequest* answer, Status status, TimePoint* due) {
  Lock lock(mutex_);
  TimePoint now = Clock::now();
  if (status.ok()) {
    retry_at_ = TimePoint::min();
    if (!answer->live_key.empty()) cursor_.AbsorbFlag(answer->live, now);
    bool absorbed = cursor_.Absorb(answer, now);
    cursor_.Select();
    if (answer->want_last) cursor_.AbsorbLast(std::move(answer->last));
    stopping_ = cursor_.stopping();
    // What cannot be taken in yet is read again when there is room.
    if (!absorbed) changed_ = true;
  } else {
    failure_ = std::move(status);
  }
  bool has = !failure_.ok() || cursor_.Has(now);
  *due = has ? kNever : cursor_.Due();
  if (!failure_.ok()) *due = retry_at_ = now + kRetry;
  if (descriptor_.is_open()) {
    // Nobody need come back after the last event, or an outcome, has been taken, and who takes it may be
    // quicker than whoever waits until `due`: so the next time is set already.
    if (has && failure_.ok() && !cursor_.final()) {
      *due = cursor_.DueAfterEvents();
      // An outcome that nobody takes is not looked for all the time.
      if (!cursor_.Holds()) *due = std::max(*due, now + kRetry);
    }
    pump_due_ = *due;
    descriptor_.Set(has || interrupted_ || client_->closed());
    if (has) bell_.Ring();
  }
  return has;
}

size_t Listener::TakeEvents(Entry** entries, size_t capacity, bool* more, TimePoint* due) {
  Lock lock(mutex_);
  size_t count = 0;
  Status status;
  while (count < capacity && failure_.ok() && cursor_.HoldsEntry()) {
    *more = cursor_.HoldsMore();
    (void)cursor_.Take(*more ? TimePoint::min() : Clock::now(), &status, &entries[count]);
    if (entries[count] == nullptr) break;
    ++count;
  }
  if (count == 0) return 0;
  if (!*more) *more = cursor_.Has(Clock::now());
  *due = changed_ ? TimePoint::min() : cursor_.Due();
  return count;
}

bool Listener::Take(Status* status, Entry** entry, bool* more, TimePoint* due) {
  Lock lock(mutex_);
  *entry = nullptr;
  if (failure_.ok() && cursor_.HoldsMore()) {
    *more = true;
    *due = kNever;
    return cursor_.Take(TimePoint::min(), status, entry);
  }
  TimePoint now = Clock::now();
  bool taken = true;
  if (!failure_.ok()) {
    *status = std::exchange(failure_, Status());
  } else {
    taken = cursor_.Take(now, status, entry);
  }
  stopping_ = cursor_.stopping();
  bool told_last = taken && *entry == nullptr && cursor_.final();
  *more = !told_last && cursor_.Has(now);
  *due = changed_ ? TimePoint::min() : cursor_.Due();
  if (*more || told_last) *due = kNever;
  return taken;
}

}  // namespace agx
