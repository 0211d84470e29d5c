// A cursor over one session's events: replays, then follows live.
//
// The listener itself does no I/O: Cursor, its inner part, is told what was read and what time it
// is, and says what there is to hand on and what it wants next. Whoever waits drives it: a thread
// in Next, over a tail or a watch; a mux; or the keeper.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "core/client.h"
#include "core/pump.h"
#include "core/session.h"
#include "format/condition.h"
#include "format/format.h"
#include "store/store.h"

namespace agx {

// What a listener knows of its session. Not synchronised.
class Cursor {
 public:
  struct Options {
    int64_t wait_ms = 3000;
    int64_t timeout_ms = 60000;
    bool hand_on_end = false;
    int64_t limit = 0;
    int64_t lease_ms = 15000;
    std::shared_ptr<const Condition> where = nullptr;  // null: every event
    const Format* format = &AgxFormat();
    // It begins behind an entry that the caller has named, not where the stream happens to end.
    bool resumes = false;
  };

  Cursor(const Options& options, EntryId after, TimePoint now);

  // Sets *status to an outcome, or to AGX_OK and *entry. If HoldsMore, `now` may be TimePoint::min():
  // silence counts from the last entry at hand. False: there is nothing, and Due() says
  // until when.
  bool Take(TimePoint now, Status* status, Entry** entry);
  // Take would give an entry that is at hand.
  bool Holds() const { return batch_ != nullptr && !batch_->empty() && !gap_ && !limited(); }
  // Take would give an entry, whatever the time is.
  bool HoldsEntry() const;
  // It would, and would again after it.
  bool HoldsMore() const;
  // Take would give something.
  bool Has(TimePoint now) const;
  // When to read (or look at the live flag) next if nothing changes.
  TimePoint Due() const;
  // The same, for when the entries at hand have been taken.
  TimePoint DueAfterEvents() const;
  // The live flag is to be looked at with the next read.
  // From when on it is to be told that nothing came, if a look says so.
  TimePoint TellsAt() const { return std::min(SilentAt(), GoneAt()); }
  bool WantsFlag(TimePoint now) const { return now >= check_at_; }
  // The stream's last entry is to be looked at: the session may have ended before the cursor.
  bool WantsLast() const { return last_ == Last::kWanted; }
  // There may be more than was read so far.
  bool more() const { return more_; }
  bool final() const { return ended_ || limited(); }

  void Prepare(ReadRequest* request) const;
  // What Prepare will ask for once this is absorbed, if there may be more.
  bool Foresee(const Page& page, ReadRequest* next) const;
  // Takes in what was read. False if it cannot: entries are at hand, or it was asked for before
  // they were. Select is to follow.
  bool Absorb(ReadRequest* answer, TimePoint now);
  // Drops what the condition does not select. Before it, only Prepare and more may be asked.
  void Select();
  void AbsorbFlag(const LiveFlag& flag, TimePoint now);
  // Somebody said that the producer was stopped: the flag will tell.
  void NoteStop() {
    stop_told_ = true;
    check_at_ = TimePoint::min();
  }
  // That is being found out.
  bool stopping() const { return stop_told_ || producer_ == Producer::kStopped; }
  void AbsorbLast(BatchPtr last);
  // Nothing came up to now, although it would have.
  void Nothing(TimePoint now) { read_at_ = now; }

  EntryId position() const { return position_; }
  // Of the last AGX_GONE.
  agx_gone_reason gone() const { return gone_; }

 private:
  enum class Producer { kUnseen, kHeld, kLeased, kLost, kVanished, kStopped };
  // Of the stream's last entry, as long as none was read.
  enum class Last { kOfNoUse, kUnknown, kWanted, kSeen };

  bool limited() const { return limit_left_ == 0; }
  bool WantsEntries() const;
  bool Refuse(Status* status);
  agx_status Outcome(TimePoint now) const;
  TimePoint SilentAt() const;
  TimePoint GoneAt() const;
  void LookAgain(TimePoint now);
  void StartAnew(TimePoint now);

  const Options options_;
  EntryId position_;  // handed on
  EntryId read_to_;   // read
  BatchPtr batch_;
  bool unselected_ = false;  // batch_ is as it was read
  size_t count_ = 64;        // how many to read at once
  bool more_ = true;
  bool gap_ = false;
  bool ended_ = false;
  bool appeared_ = false;
  int64_t limit_left_;

  TimePoint since_;    // the last event, or when waiting began
  TimePoint read_at_;  // the last read; TimePoint::min() before the first

  Producer producer_ = Producer::kUnseen;
  TimePoint check_at_;
  TimePoint leased_until_ = kNever;
  TimePoint gone_at_ = kNever;
  agx_gone_reason gone_ = AGX_GONE_NOT;
  bool stop_told_ = false;  // and the flag was not looked at since
  Last last_;
};

class Listener final : public Watcher,
                       public Client::Sleeper,
                       public std::enable_shared_from_this<Listener> {
 public:
  static Result<std::shared_ptr<Listener>> Open(const Session& session,
                                                const agx_listen_options& options);
  ~Listener();

  // An entry, if one can be had without a look at the time, which costs as much as all else; or null.
  Entry* NextAtHand();
  // AGX_OK with up to capacity entries, at least one; or an outcome. The entries are the caller's
  // to release.
  Status Next(TimePoint deadline, Entry** entries, size_t capacity, size_t* count);
  void Interrupt() noexcept;
  Status OpenDescriptor(int* fd);
  EntryId position() const;
  agx_gone_reason gone() const;
  void Close() noexcept;

  void set_data(void* data) { data_ = data; }
  void* data() const { return data_; }
  // What stands for it in the C API, for a mux to give back.
  void set_handle(void* handle) { handle_ = handle; }
  void* handle() const { return handle_; }
  const std::shared_ptr<Client>& client() const { return client_; }

  // A mux takes it, or lets it go.
  Status Join(const std::shared_ptr<Pump>& pump);
  Status Leave(Pump* pump);

  void Changed() noexcept override;
  void ProducerStopped() noexcept override;
  void ClientClosed() noexcept override;

  // For the pump that drives it.
  void Prepare(ReadRequest* request);
  // For whoever follows it. False if it needs no read now; *more: its entries are there already.
  bool PrepareFollow(ReadRequest* request, bool* more);
  // What it will need behind an answer that it has not taken in yet; false if that is not known.
  bool Foresee(const Page& page, ReadRequest* next) const;
  // There is something to be read; under the pump's lock.
  void SetChanged(bool changed) noexcept { changed_ = changed; }
  // Such a read can be made.
  bool can_follow() const { return !list_ && !stop_told_ && !stopping_; }
  // Says whether there is something to take, and when to read next.
  bool Absorb(ReadRequest* answer, Status status, TimePoint* due);
  // *more: there is more at hand; otherwise *due says when to read again.
  bool Take(Status* status, Entry** entry, bool* more, TimePoint* due);
  // The same of events that are at hand, and of nothing else. How many there were.
  size_t TakeEvents(Entry** entries, size_t capacity, bool* more, TimePoint* due);
  Pump::Link link;

 private:
  using Lock = std::unique_lock<std::mutex>;

  Listener(std::shared_ptr<Client> client, std::string live_key, const Cursor::Options& options,
           EntryId after);

  Status Loop(Lock& lock, TimePoint deadline, Entry** entries, size_t capacity, size_t* count);
  bool TakeSome(Status* status, Entry** entries, size_t capacity, size_t* count);
  Status Ended() const;
  Status Stopped();
  bool retries_later() const { return Clock::now() < retry_at_; }
  Status Advance(Lock& lock, TimePoint deadline);
  Status AdvancePumped(Lock& lock, TimePoint deadline);
  Status AdvanceTail(Lock& lock, TimePoint deadline);
  Status AdvanceWatch(Lock& lock, TimePoint deadline);
  Status Sleep(Lock& lock, uint32_t ticket, TimePoint until, TimePoint deadline);
  Status LookAtFlag(Lock& lock);
  Status LookAtLast(Lock& lock);
  void FillRequest(ReadRequest* request);
  void SettleDescriptor() noexcept;
  Status Watch();
  void Unwatch() noexcept;
  void Rewatch() noexcept;
  void Wake() noexcept;
  std::string_view key() const { return {live_key_.data(), live_key_.size() - 5}; }

  const std::shared_ptr<Client> client_;
  const std::string live_key_;  // the stream's key, and ":live"
  const bool list_;             // the stream is one
  const bool endless_;          // it gets no `end`
  std::atomic<void*> data_{nullptr};
  std::atomic<void*> handle_{nullptr};

  mutable std::mutex mutex_;
  Cursor cursor_;
  Status failure_;                         // of a pump's read
  TimePoint retry_at_ = TimePoint::min();  // after a failure
  bool in_next_ = false;                   // a thread is driving
  bool closed_ = false;
  StopFlag interrupted_{false};
  bool watched_ = false;
  bool tail_tried_ = false;
  std::atomic<bool> changed_{true};
  std::atomic<bool> stop_told_{false};
  std::atomic<bool> stopping_{false};  // cursor_'s, for the pump
  Bell bell_;
  std::unique_ptr<Tail> tail_;
  TimePoint tail_asked_at_;
  bool tail_follows_ = false;  // what is pending is a follow
  std::shared_ptr<Pump> pump_;
  std::atomic<Pump*> poked_pump_{nullptr};  // pump_, for Changed
  bool in_mux_ = false;
  Descriptor descriptor_;
  TimePoint pump_due_ = TimePoint::min();  // when the pump reads anyway
};

}  // namespace agx
