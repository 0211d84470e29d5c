#include "core/keeper.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "core/client.h"
#include "core/pump.h"
#include "core/session.h"

namespace agx {
namespace {

// After a failure: the store reconnects within a call, so this is only a breath.
constexpr Millis kRetry{200};

}  // namespace

// A session about whose flag the store is asked, and the run that is meant.
struct Keeper::Asked {
  std::shared_ptr<Session> session;
  Session::RunPtr run;
  TimePoint leased_until;

  // Not under the keeper's lock: a session's is taken first where both are.
  bool TakeRun() {
    run = session->run();
    if (run != nullptr) leased_until = run->leased_until;
    return run != nullptr;
  }
};

Keeper::Keeper(Client* client) : client_(client) {}

Keeper::~Keeper() { Stop(); }

Status Keeper::EnsureRunning() {
  std::lock_guard lock(thread_mutex_);
  if (stop_) return Client::ClosedStatus();
  if (thread_.joinable()) return {};
  try {
    // What it calls may close the client, which has to be there until it has left.
    thread_ = std::thread([this, client = client_->shared_from_this()] { Run(); });
  } catch (const std::system_error&) {
    return {AGX_ESYSTEM, "the system refuses a thread"};
  }
  return {};
}

void Keeper::Stop() noexcept {
  stop_ = true;
  bell_.Ring();
  std::thread thread;
  {
    std::lock_guard lock(thread_mutex_);
    thread.swap(thread_);
  }
  if (thread.get_id() == std::this_thread::get_id()) {
    thread.detach();
  } else if (thread.joinable()) {
    thread.join();
  }
  // Sessions and runs hold the client, and so this: let go of them outside the lock.
  decltype(renewals_) renewals;
  decltype(tasks_) tasks;
  decltype(pumps_) pumps;
  std::lock_guard lock(mutex_);
  renewals.swap(renewals_);
  for (auto& [due, renewal] : renewals) renewal.session->keeper_renews_ = false;
  tasks.swap(tasks_);
  pumps.swap(pumps_);
}

void Keeper::Add(const std::shared_ptr<Session>& session, Millis period) {
  std::lock_guard lock(mutex_);
  if (stop_) return;
  session->keeper_renewal_ = renewals_.emplace(Clock::now() + period, Renewal{session, period});
  session->keeper_renews_ = true;
  bell_.Ring();
}

void Keeper::Renewed(Session* session) noexcept {
  std::lock_guard lock(mutex_);
  if (!session->keeper_renews_) return;
  auto node = renewals_.extract(session->keeper_renewal_);
  node.key() = Clock::now() + node.mapped().period;
  session->keeper_renewal_ = renewals_.insert(std::move(node));
}

void Keeper::Remove(Session* session) noexcept {
  std::shared_ptr<Session> last;  // let go of after the lock
  std::lock_guard lock(mutex_);
  if (session->keeper_renews_) {
    last = std::move(session->keeper_renewal_->second.session);
    renewals_.erase(session->keeper_renewal_);
    session->keeper_renews_ = false;
  }
  if (!session->keeper_poked_) return;
  Session** link = &poked_;
  while (*link != session) link = &(*link)->keeper_next_;
  *link = session->keeper_next_;
  session->keeper_poked_ = false;
}

void Keeper::Poke(Session* session) noexcept {
  {
    std::lock_guard lock(mutex_);
    if (session->keeper_poked_) return;
    session->keeper_poked_ = true;
    session->keeper_next_ = poked_;
    poked_ = session;
  }
  bell_.Ring();
}

void Keeper::RunAt(TimePoint when, std::weak_ptr<Task> task, std::shared_ptr<Task> kept) {
  Timed timed{std::move(task), std::move(kept)};  // goes after the lock, if nobody takes it
  std::lock_guard lock(mutex_);
  if (stop_) return;
  tasks_.emplace(when, timed);
  if (tasks_.begin()->first == when) bell_.Ring();
}

Status Keeper::AddPump(const std::shared_ptr<Pump>& pump) {
  if (Status status = EnsureRunning(); !status.ok()) return status;
  std::lock_guard lock(mutex_);
  pumps_.push_back(pump);
  bell_.Ring();
  return {};
}

void Keeper::RemovePump(Pump* pump) noexcept {
  std::lock_guard lock(mutex_);
  std::erase_if(pumps_, [&](const auto& other) { return other.get() == pump; });
}

void Keeper::Run() noexcept {
  while (!stop_) {
    uint32_t ticket = bell_.ticket();
    TimePoint next = kNever;
    try {
      next = Round();
    } catch (const std::bad_alloc&) {
      next = Clock::now() + kRetry;
    }
    if (!stop_) bell_.Wait(ticket, next);
  }
}

// Does what is due, and says when it wants to be called again.
TimePoint Keeper::Round() {
  TimePoint now = Clock::now();
  Sessions renewals;
  Sessions checks;
  TakeDue(now, &renewals, &checks);
  for (Sessions* due : {&renewals, &checks}) {
    std::erase_if(*due, [](Asked& asked) { return !asked.TakeRun(); });
  }
  if (!renewals.empty()) Renew(renewals);
  RunTasks(now);
  try {
    if (!checks.empty()) Check(checks);
  } catch (const std::bad_alloc&) {
    bell_.Wait(bell_.ticket(), Clock::now() + kRetry);
    for (const Asked& asked : checks) Poke(asked.session.get());
  }

  std::vector<std::shared_ptr<Pump>> pumps;
  {
    std::lock_guard lock(mutex_);
    pumps = pumps_;
  }
  TimePoint next = kNever;
  for (const auto& pump : pumps) next = std::min(next, pump->Work());
  std::lock_guard lock(mutex_);
  if (poked_ != nullptr) return now;
  if (!renewals_.empty()) next = std::min(next, renewals_.begin()->first);
  if (!tasks_.empty()) next = std::min(next, tasks_.begin()->first);
  return next;
}

void Keeper::TakeDue(TimePoint now, Sessions* renewals, Sessions* checks) {
  renewals->reserve(kRound);
  checks->reserve(kRound);
  std::lock_guard lock(mutex_);
  while (!renewals_.empty() && renewals->size() < kRound && renewals_.begin()->first <= now) {
    auto node = renewals_.extract(renewals_.begin());
    const std::shared_ptr<Session>& session = node.mapped().session;
    if (session->state() == Session::State::kLive) renewals->push_back({session, nullptr, {}});
    node.key() = now + node.mapped().period;
    Session* moved = session.get();
    moved->keeper_renewal_ = renewals_.insert(std::move(node));
  }
  while (poked_ != nullptr && checks->size() < kRound) {
    Session* session = std::exchange(poked_, poked_->keeper_next_);
    session->keeper_poked_ = false;
    // Null if it is being destroyed: its destructor waits for this lock.
    std::shared_ptr<Session> shared = session->weak_from_this().lock();
    if (shared == nullptr) continue;
    checks->push_back({std::move(shared), nullptr, {}});
  }
}

void Keeper::RunTasks(TimePoint now) {
  std::unique_lock lock(mutex_);
  while (!tasks_.empty() && tasks_.begin()->first <= now) {
    Timed due = std::exchange(tasks_.begin()->second, {});
    tasks_.erase(tasks_.begin());
    lock.unlock();
    if (std::shared_ptr<Task> task = due.task.lock()) task->Due();
    due = {};  // it may have been the last to hold it
    lock.lock();
  }
}

void Keeper::Renew(const Sessions& sessions) {
  std::vector<Lease> leases;
  leases.reserve(sessions.size());
  for (const Asked& asked : sessions) leases.push_back(asked.session->LeaseOf(*asked.run));
  TimePoint now = Clock::now();
  if (Status status = client_->store().Renew(leases); !status.ok()) {
    client_->LogLine(AGX_LOG_WARNING, Cat("renewing leases: ", status.message()));
    return;
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    const Asked& asked = sessions[i];
    if (leases[i].state == LeaseState::kOwn) {
      asked.run->leased_until = now + Millis(leases[i].lease_ms);
    } else {
      asked.session->Learn(asked.run, leases[i], asked.leased_until);
    }
  }
}

void Keeper::Check(const Sessions& sessions) {
  std::vector<Lease> leases;
  leases.reserve(sessions.size());
  for (const Asked& asked : sessions) {
    asked.session->TellObservers();  // of what is known already
    asked.session->changed_ = false;
    leases.push_back(asked.session->LeaseOf(*asked.run));
  }
  if (Status status = client_->store().Check(leases); !status.ok()) {
    if (client_->closed()) return;
    client_->LogLine(AGX_LOG_WARNING, Cat("looking for cancels: ", status.message()));
    bell_.Wait(bell_.ticket(), Clock::now() + kRetry);
    for (const Asked& asked : sessions) Poke(asked.session.get());
    return;
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    sessions[i].session->Learn(sessions[i].run, leases[i], sessions[i].leased_until);
  }
}

}  // namespace agx
