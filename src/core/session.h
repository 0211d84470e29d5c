// An identity {scope, user, session id}, and what a producer does to it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "core/client.h"
#include "core/interceptor.h"
#include "format/format.h"
#include "store/store.h"

namespace agx {

// Told, by the keeper's thread, that the session which its handle started was cancelled or taken
// over.
class SessionObserver {
 public:
  virtual void Interrupted() noexcept = 0;

 protected:
  ~SessionObserver() = default;
};

class Session final : public Watcher, public std::enable_shared_from_this<Session> {
 public:
  // Null and a status if the id is not valid.
  static Result<std::shared_ptr<Session>> Open(std::shared_ptr<Client> client, int64_t scope,
                                               int64_t user, const char* session_id);
  // By its name, in a format that has names. options is of this library's size.
  static Result<std::shared_ptr<Session>> OpenStream(std::shared_ptr<Client> client,
                                                     const char* name,
                                                     const agx_stream_options& options);
  ~Session();

  Status Start(const agx_start_options& options);
  Status Stop(int64_t grace_ms);
  // Stop of the session that this handle started, with entries that come before `end`, all in one
  // step; AGX_CANCELED, and nothing is written, if it was cancelled and the caller did not expect
  // that.
  Status StopAfter(std::span<const NewEntry> entries, int64_t grace_ms, bool expect_canceled);
  Status Add(const char* type, const char* origin, const char* body, EntryId* id);
  Status AddMany(std::span<const agx_new_event> events, EntryId* ids, size_t* added);
  // Each to its session; all of one client. None is intercepted.
  struct ToAdd {
    Session* session = nullptr;
    agx_new_event event{};
    EntryId id;     // out
    Status status;  // out, unless bad_alloc is thrown: then nothing was written

    void AddByItself() noexcept;
  };
  static void AddEach(std::span<ToAdd> events);
  // The fields of an event that is of the library's own making.
  void MakeFields(const NewEvent& event, EventFields* fields) const;
  // All that the stream holds, by these.
  Status Replace(std::span<const agx_new_event> events, uint64_t* removed);
  // AGX_ECONFLICT if the checkpoint is not what it is to be.
  Status AddChecked(std::span<const agx_new_event> events, const char* name, const char* from,
                    const char* to);
  Status GetCheckpoint(const char* name, std::string* position) const;
  // Of the library's own making, so not checked.
  Status AddEntries(std::span<const NewEntry> entries, EntryId* ids, size_t* added);
  Status IsLive(bool* live);
  Status Renew();
  Status Cancel(bool* was_live);
  // Stream, live flag and conversation. AGX_NONE if nothing was there.
  Status Delete();

  // From now on it is called before an event is written.
  void AddInterceptor(std::shared_ptr<Interceptor> interceptor);
  void RemoveInterceptor(const Interceptor* interceptor) noexcept;
  // There are any. One load: it is asked for each event.
  bool intercepted() const { return intercepted_.load(std::memory_order_relaxed); }
  // AGX_OK: the event is to be written.
  Status Intercept(Intercepted* event);

  // No I/O. Cancelled or taken over.
  bool IsCanceled() const;
  // AGX_OK: it was cancelled.
  Status WaitCanceled(TimePoint deadline);
  // The next event that the condition selects, or an outcome of a listener.
  Status WaitFor(const char* where, TimePoint deadline, Entry** entry);
  // Behind what WaitFor goes on.
  Status Waited(EntryId* after);
  void SetWaited(EntryId after);

  // Wakes whoever waits and stops renewing: the handle is being closed.
  void Close() noexcept;

  void Changed() noexcept override;
  void Taken(std::string_view token) noexcept override;

  // For as long as it is there, or until StopObserving. alone: AGX_EBUSY if another was added so;
  // to be added before Start.
  Status Observe(const std::shared_ptr<SessionObserver>& observer, bool alone);
  void StopObserving(const SessionObserver* observer) noexcept;
  bool taken_over() const { return state() == State::kTakenOver; }

  const std::shared_ptr<Client>& client() const { return client_; }
  std::string_view key() const { return key_; }
  std::string_view live_key() const { return live_key_; }
  bool is_list() const { return format_->traits().list; }
  // As Format::Traits has it.
  int64_t entry_expire_ms() const { return entry_expire_ms_; }
  // Of the last entry; {0,0} if there is none.
  Status LastId(EntryId* id) const;
  const Format& format() const { return *format_; }
  bool closed() const { return closed_; }

 private:
  friend class Keeper;

  enum class State : uint32_t {
    kIdle,
    kLive,
    kCanceled,
    kTakenOver,
    kStopped,
    kCanceledAndStopped  // by a run: whoever waits for the cancel is still to hear of it
  };

  // What a session is on the wire.
  struct Place {
    const Format* format;
    std::string key;
    std::string id;
    std::string channel;  // as Format::Channel has it
    std::string tag;      // before what is published there
    int64_t max_length = 0;
    int64_t entry_expire_ms = 0;  // as Format::Traits has it
  };

  Session(std::shared_ptr<Client> client, Place place);

  // A value for the live flag: says whose lease it is.
  static std::string NewToken();
  static Status TakenOver();
  static Stamp Now();

  // What one start made of this handle. Shared with whoever is asking the store about it, since the
  // next start replaces it.
  struct Run {
    std::string token;
    std::string origin;
    int64_t lease_ms = 0;
    bool detached = false;
    std::atomic<TimePoint> leased_until{TimePoint::min()};
  };
  using RunPtr = std::shared_ptr<Run>;

  // While it lives, what is seen of the flag is no cancel.
  struct Stopping {
    explicit Stopping(Session* s) : session(s) { session->stopping_ = true; }
    ~Stopping() {
      session->stopping_ = false;
      if (session->state() == State::kLive) session->Changed();
    }
    Stopping(const Stopping&) = delete;
    Stopping& operator=(const Stopping&) = delete;
    Session* session;
  };

  Status Write(const NewEvent& event, EntryId* id);
  Status WriteMany(std::span<const NewEvent> events, const size_t* places, EntryId* ids,
                   size_t* added);
  Status AddIntercepted(const NewEvent& event, EntryId* id);
  Status AddManyIntercepted(std::span<const NewEvent> events, EntryId* ids, size_t* added);
  Status InterceptOpen(Intercepted* event);
  static Result<RunPtr> MakeRun(const agx_start_options& options, const Config& config);
  Status StopWith(const StopRequest& given, bool ours, State then);
  struct Written;
  template <class F>
  Status Onto(F write);
  Status WriteOnce(const NewEvent& event, EntryId* id);
  Status AddOnce(std::span<const NewEntry> entries, EntryId* ids, size_t* added);
  static void AddLost(std::span<ToAdd* const> added);
  Status BeginAnew(const RunPtr& run, TimePoint leased_until);
  Status Resume(const RunPtr& run);
  Status WriteAll(std::span<const NewEvent> events, const size_t* places, Written* written);
  Target target() const;
  Result<Stamp> NextStamp(std::unique_lock<std::mutex>* numbering);
  bool LooksBeforeItWrites() const;
  Status FindDialect();
  Status FindNumber();
  void Numbered(const Status& status, size_t count) noexcept;
  int64_t expire_ms() const;
  int64_t GraceFor(int64_t given) const;
  void TellObservers() noexcept;
  void InterruptObservers() noexcept;
  Status StartLive(const RunPtr& run, StartMode mode);
  Status StartAs(const RunPtr& run, StartMode mode, StartOutcome* outcome);
  Status BeginKeeping(const RunPtr& run);
  void EndKeeping() noexcept;
  RunPtr run() const;
  Lease LeaseOf(const Run& run) const;
  void Learn(const RunPtr& run, const Lease& lease, TimePoint leased_until);
  void LearnAbsent(const RunPtr& run, TimePoint leased_until);
  void TakeBack(const RunPtr& run, TimePoint leased_until);
  void Lose(const RunPtr& run, State to) noexcept;
  // waits: for a connection, if need be.
  Status CheckNow(bool waits) noexcept;
  void SetState(State state) noexcept;
  State state() const { return state_.load(std::memory_order_acquire); }

  const std::shared_ptr<Client> client_;
  const Format* const format_;
  const std::string live_key_;
  const std::string_view key_;  // the part of live_key_ that is the stream's
  const std::string session_id_;
  const std::string channel_;
  const std::string tag_;
  const int64_t max_length_;
  const int64_t entry_expire_ms_;

  std::mutex start_mutex_;  // one Start, Stop, Delete or Close at a time
  bool watched_ = false;
  std::string uncertain_token_;  // of a start of which it is not known whether it was carried out

  // Held while entries are written in a format that numbers them, so that these come in order.
  std::mutex numbering_mutex_;
  std::optional<uint64_t> next_number_;  // none: the stream's last entry tells
  std::atomic<int> dialect_{-1};         // -1: the stream's last entry tells

  std::mutex flag_mutex_;  // one start, stop or taking back of a lease that ran out at a time

  mutable std::mutex run_mutex_;  // held to change the state
  RunPtr run_;                    // null until the first start

  std::atomic<bool> attended_{false};  // by a start that was not detached
  std::atomic<uint64_t> wrote_{0};  // how often: not 0, so that a stream which is not there is lost
  std::atomic<bool> stopping_{false};  // a flag that goes now is no cancel
  std::atomic<State> state_{State::kIdle};
  std::atomic<bool> changed_{false};  // the flag is to be looked at
  std::atomic<uint32_t> waiters_{0};
  std::atomic<bool> closed_{false};
  Bell bell_;

  std::atomic<bool> observed_{false};
  std::mutex observer_mutex_;
  struct Observer {
    std::weak_ptr<SessionObserver> observer;
    bool alone = false;
  };
  std::vector<Observer> observers_;
  Result<std::shared_ptr<Listener>> OpenWait(const char* where, EntryId after);
  void KeepWait(const char* where, EntryId after, std::shared_ptr<Listener> listener);
  void WaitFrom(EntryId after, bool goes_on);
  std::optional<EntryId> waited_to_;  // the last event that WaitFor gave, or where it began
  // The listener of a wait that brought nothing, with what it knows of the producer: for the next.
  struct KeptWait {
    std::optional<std::string> where;
    EntryId after;
    std::shared_ptr<Listener> listener;
  };
  KeptWait kept_wait_;

  using Interceptors = std::vector<std::shared_ptr<Interceptor>>;
  std::atomic<bool> intercepted_{false};
  std::mutex interceptor_mutex_;
  std::shared_ptr<const Interceptors> interceptors_;  // in their order; replaced, never changed

  // The keeper's.
  Session* keeper_next_ = nullptr;
  bool keeper_poked_ = false;
  bool keeper_renews_ = false;
  Keeper::Renewals::iterator keeper_renewal_;
};

}  // namespace agx
