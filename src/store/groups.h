// Consumer groups, as every store keeps them: consumers who share a stream's entries. An entry that
// was given to a consumer stays pending until it is acknowledged, whatever becomes of the consumer.
//
// The same rules as for Store. What is asked of a group that is not there, or whose stream is not
// there, is AGX_NONE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/futex.h"
#include "base/status.h"
#include "store/entry.h"

namespace agx {

// Which group, of which stream.
struct GroupOf {
  std::string_view key;
  std::string_view group;
};

// Entries that were never given to anybody, for this consumer.
struct NewRequest {
  GroupOf of;
  std::string_view consumer;
  size_t count = 0;
  bool arm = false;                // makes the stream's next change ring its watchers
  const StopFlag* stop = nullptr;  // as in ReadRequest
};

enum class TakeMode {
  kOwn,       // this consumer's own, which counts as a delivery
  kSame,      // this consumer's own; it was never handed on, so it is still the same delivery
  kClaim,     // whosever, once idle for long enough, which counts as a delivery
  kClaimSame  // the same without counting: whoever hands it on does that, by Hold
};

inline bool IsClaim(TakeMode mode) {
  return mode == TakeMode::kClaim || mode == TakeMode::kClaimSame;
}

// Entries that are pending.
struct TakeRequest {
  GroupOf of;
  std::string_view consumer;
  TakeMode mode = TakeMode::kOwn;
  int64_t min_idle_ms = 0;  // of a claim
  EntryId after;
  size_t count = 0;                // looks at no more than so many
  const StopFlag* stop = nullptr;  // as in ReadRequest
};

// Of a claim, what was taken; in the order of the ids.
struct Takings {
  BatchPtr batch;                 // null if nothing was
  std::vector<int64_t> attempts;  // of each entry: how often it was delivered, as it is counted now
  EntryId last;                   // the last that was looked at
  bool more = false;              // there may be more after it
  bool given_now = false;  // by a read of new ones whose reply was lost, and not by one before
  // Pending entries that the stream does not have any more: they cannot be delivered, and are
  // acknowledged.
  uint64_t gone = 0;
};

// An entry that a consumer holds on to.
struct Held {
  EntryId id;
  int64_t attempts = -1;  // it is to count as delivered so often; -1: as before
  bool own = false;       // out: it still is this consumer's
};

struct PendingFacts {
  uint64_t count = 0;
  EntryId lowest;  // {0,0} if none is
  EntryId highest;
  uint64_t consumers = 0;  // that have any
};

struct PendingRange {
  GroupOf of;
  std::string_view consumer;  // empty: whosever
  int64_t min_idle_ms = 0;
  EntryId after;
  size_t count = 0;
};

struct PendingEntry {
  EntryId id;
  std::string consumer;
  int64_t idle_ms = 0;
  int64_t attempts = 0;
};

struct ConsumerFacts {
  std::string name;
  uint64_t pending = 0;
  int64_t idle_ms = 0;
};

struct GroupFacts {
  std::string name;
  uint64_t consumers = 0;
  uint64_t pending = 0;
  EntryId last_delivered;
  int64_t lag = -1;  // entries that were never given to anybody; -1: the store does not tell
};

// An entry that is to die.
struct Burial {
  GroupOf of;
  std::string_view consumer;  // whose it is
  EntryId id;
  std::string_view to;  // the stream of dead letters
  // The fields that it gets behind its own.
  std::span<const Field> fields;
};

struct Revival {
  std::string_view from;  // the stream of dead letters
  EntryId id;
  std::string_view key;  // where the entry goes
  // Fields that it loses, and those that it gets behind its others.
  std::span<const std::string_view> without;
  std::span<const Field> fields;
  // It has to have this field, or it is another stream's.
  Field proof;
  int64_t expire_ms = 0;  // > 0: the stream expires so long after
};

enum class RevivalOutcome {
  kDone,
  kAbsent,
  kForeign,
  kBare  // its fields were left out
};

struct NewGroup {
  GroupOf of;
  std::optional<EntryId> start;  // what it gives comes after this; none: from now on
  bool make_stream = false;      // if there is none
  int64_t expire_ms = 0;         // > 0: a stream that is made expires after so long
};

class Groups {
 public:
  // Makes the group unless it is there. AGX_NONE: there is no stream.
  virtual Status CreateGroup(const NewGroup& group, bool* created) = 0;
  virtual Status DeleteGroup(const GroupOf& of) = 0;

  // *batch is null if there is nothing new. AGX_EUNCERTAIN: entries may have been given, which are
  // pending now; Take finds them.
  virtual Status ReadNew(const NewRequest& request, BatchPtr* batch) = 0;
  virtual Status Take(const TakeRequest& request, Takings* taken) = 0;
  // Those of the ids that are pending and idle for long enough.
  virtual Status Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
                       std::span<const EntryId> ids, Takings* taken) = 0;
  // Of those that are this consumer's: they count as delivered just now, or so long ago. stop: as in
  // ReadRequest.
  virtual Status Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms,
                      std::span<Held> held, const StopFlag* stop = nullptr) = 0;
  // *count: how many were pending. Where there is no group none was.
  virtual Status Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) = 0;

  // stop: as in ReadRequest.
  virtual Status Pending(const GroupOf& of, PendingFacts* facts,
                         const StopFlag* stop = nullptr) = 0;
  virtual Status PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) = 0;
  // Without a stream there are none.
  virtual Status ListGroups(std::string_view key, std::vector<GroupFacts>* groups) = 0;
  virtual Status ListConsumers(const GroupOf& of, std::vector<ConsumerFacts>* consumers) = 0;
  // And what is pending for it: *pending of them go.
  virtual Status DeleteConsumer(const GroupOf& of, std::string_view consumer,
                                uint64_t* pending) = 0;
  // In one atomic step, unless something is pending for it. A courtesy: it waits for no connection
  // that is not there.
  virtual Status DeleteIdleConsumer(const GroupOf& of, std::string_view consumer) = 0;

  // In one atomic step: if the entry is this consumer's, a copy of it goes to the dead letters, and
  // it is acknowledged. *done: it was. One whose stream does not have it any more is acknowledged
  // alone.
  virtual Status Bury(const Burial& burial, bool* done) = 0;
  // In one atomic step: a dead letter becomes a new entry of the stream, and is deleted.
  virtual Status Revive(const Revival& revival, EntryId* id, RevivalOutcome* outcome) = 0;
  // Entries of any stream. *count: how many were there.
  virtual Status DeleteEntries(std::string_view key, std::span<const EntryId> ids,
                               uint64_t* count) = 0;

 protected:
  ~Groups() = default;
};

}  // namespace agx
