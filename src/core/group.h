// A consumer of a group: takes events that the group's consumers share, and acknowledges them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agx.h"
#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "core/client.h"
#include "core/session.h"
#include "format/format.h"
#include "store/groups.h"
#include "store/store.h"

namespace agx {

class Processor;

struct GroupHealth {
  uint64_t length = 0;
  GroupFacts group;
  uint64_t dead_letters = 0;
  int64_t oldest_ms = -1;  // how long ago the oldest pending entry was written; -1: none is pending
};

// What agx_group_process calls for each event. On failure *reason may say why.
using GroupHandler =
    std::function<agx_status(const Entry& event, int64_t attempt, std::string* reason)>;

class Group final : public Watcher, public Client::Sleeper {
 public:
  // Makes the group unless it is there. AGX_NONE if it is to be there and is not.
  static Result<std::shared_ptr<Group>> Open(const Session& session, const char* name,
                                             const agx_group_options& options);
  ~Group();

  // AGX_OK with up to capacity entries, at least one, which are the caller's to release.
  Status Read(agx_group_source source, TimePoint deadline, Entry** entries, size_t capacity,
              size_t* count);
  Status Process(const agx_group_process_options& options, const GroupHandler& handler);
  // Why the event that a handler has is about to fail.
  void SetFailReason(std::string_view reason);
  void Interrupt() noexcept;
  void Close() noexcept;

  Status Acknowledge(const char* const* ids, size_t count, uint64_t* acknowledged);
  Status Claim(int64_t min_idle_ms, const char* const* ids, size_t id_count, Entry** entries,
               size_t* count);
  // *cursor: where to go on; {0,0} after the last.
  Status AutoClaim(int64_t min_idle_ms, EntryId* cursor, Entry** entries, size_t capacity,
                   size_t* count);
  Status Pending(PendingFacts* facts) { return groups().Pending(of(), facts); }
  Status PendingEntries(const char* consumer, int64_t min_idle_ms, const char* after, size_t count,
                        std::vector<PendingEntry>* entries);
  Status ListConsumers(std::vector<ConsumerFacts>* consumers) {
    return groups().ListConsumers(of(), consumers);
  }
  Status DeleteConsumer(const char* consumer, uint64_t* pending);
  Status Delete() { return groups().DeleteGroup(of()); }
  Status Health(GroupHealth* health);

  // Dead letters, in the order in which they died. AGX_ENDED if there is none, or none further.
  Status DeadLetters(const char* after, Entry** entries, size_t capacity, size_t* count);
  Status Replay(const char* const* ids, size_t count, uint64_t* replayed);
  Status DeleteDeadLetters(const char* const* ids, size_t count, uint64_t* deleted);

  const std::string& consumer() const { return consumer_; }
  const std::shared_ptr<Client>& client() const { return client_; }

  void Changed() noexcept override { bell_.Ring(); }
  void ClientClosed() noexcept override { bell_.Ring(); }

 private:
  friend class Processor;

  // One call at a time reads.
  class Turn {
   public:
    explicit Turn(Group* group) : group_(group) {}
    ~Turn() {
      if (!taken_) return;
      group_->processing_ = false;
      group_->busy_ = false;
      group_->bell_.Ring();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    Status Take(TimePoint deadline, bool to_process);

   private:
    Group* const group_;
    bool taken_ = false;
  };

  Group(const Session& session, std::string name, std::string consumer, std::string dead_letters,
        std::optional<EntryId> start, bool recreate);

  // The one place where what was stored becomes an event.
  void MakeEvent(Entry* entry) const { format_.Read(entry); }
  Status Give(BatchPtr batch, Entry** entries, size_t capacity, size_t* count) const;
  Status GiveRest(Entry** entries, size_t capacity, size_t* count);
  Status Refuse(Entry* entry) const;

  GroupOf of() const { return {key_, name_}; }
  Groups& groups() const { return client_->store().groups(); }
  Status Ended() const;
  Status Stopped();
  void RemoveMadeUp() noexcept;
  // One look, which does not wait. *taken may be empty although *again: there may be more.
  // own: how what is pending for this consumer is taken.
  Status Look(agx_group_source source, TakeMode own, size_t count, bool arm, Takings* taken,
              bool* again);
  // What is pending for this consumer is handed on from the first again.
  void PendingAnew() {
    own_done_ = false;
    own_after_ = {};
  }
  Status TakeOwn(TakeMode mode, EntryId* after, size_t count, Takings* taken, bool* done);
  Status ReadNew(size_t count, bool arm, Takings* taken);
  // The group is gone. *absent: so is the stream, and the group can be made when there is one.
  Status MakeAgain(bool* absent);
  Status Watch();
  void Sleep(uint32_t ticket, TimePoint until);
  std::string TakeFailReason();
  // It is given once more: what it was given before counts.
  void KeepAttempts(EntryId id) noexcept;

  const std::shared_ptr<Client> client_;
  const Format& format_;
  const std::string live_key_;
  const std::string key_;
  const std::string name_;
  const std::string consumer_;
  const std::string dead_letters_;
  const int64_t entry_expire_ms_;
  const bool recreate_;

  bool made_up_ = false;  // the consumer's name
  // Something was taken since the consumer was last removed, so that the store may know of it.
  std::atomic<bool> consumed_{false};

  std::atomic<bool> closed_{false};
  std::atomic<bool> interrupted_{false};
  std::atomic<bool> busy_{false};
  std::atomic<bool> processing_{false};
  Bell bell_;

  // Of whoever has the turn.
  bool watched_ = false;
  bool short_ = false;  // the last look found less than there was room for: the next arms the watch
  EntryId begin_;       // what is new to this handle comes behind it
  EntryId last_new_;    // the last that was given as new
  // No read of new ones gives what is not behind this: it is the last that was taken, whoever had it.
  EntryId last_taken_;
  // All that was pending for this consumer before is not behind that.
  std::atomic<bool> taken_known_{false};
  // What a read of new ones has given, whose reply was lost, is looked for behind this.
  bool recovering_ = false;
  EntryId recover_after_;
  bool own_done_ = false;  // all that was pending for this consumer was handed on
  EntryId own_after_;
  BatchPtr rest_;  // was taken, and comes next

  std::mutex given_back_mutex_;
  std::vector<Held> given_back_;  // by a processing, and the store does not know it yet

  std::mutex reason_mutex_;
  std::string reason_;
};

// Of all groups of the session's stream.
Status ListGroups(const Session& session, std::vector<GroupFacts>* groups);

// The fields that a dead letter has besides its event's own. They live as long as the entry.
struct DeadLetterFacts {
  std::string_view original_stream;
  std::string_view original_id;
  std::string_view reason;
  int64_t attempts = 0;
  int64_t time_ms = 0;
};
DeadLetterFacts ReadDeadLetter(const Entry& entry);

inline constexpr std::string_view kOriginalStream = "original_stream";
inline constexpr std::string_view kOriginalId = "original_id";
inline constexpr std::string_view kFailureReason = "failure_reason";
inline constexpr std::string_view kAttempts = "attempts";
inline constexpr std::string_view kDlqTimestamp = "dlq_timestamp";

}  // namespace agx
