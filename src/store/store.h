// Where streams live: the one interface that core/ knows. memory/ and redis/ implement it, and
// tests/store_contract_test.cpp holds both to it.
//
// A store keeps streams, and strings: live flags, which may expire and whose presence means that a
// session is live, and texts. All functions may be called from any thread. They return errors as values;
// what a hostile or broken server sends is one of those. Only bad_alloc is thrown; no function
// leaves anything half done or blocked if it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/futex.h"
#include "base/status.h"
#include "store/entry.h"

namespace agx {

// Told when a watched key may have changed: an entry was added, the key was set, deleted or
// expired, or the store cannot tell (its connection was lost). Called from any thread, also from
// within a call into the store; must be brief, not throw and not call the store.
class Watcher {
 public:
  virtual void Changed() noexcept = 0;
  // A watched flag was taken by Cancel, and held this token. May come besides Changed, never
  // instead of it.
  virtual void Taken(std::string_view /*token*/) noexcept {}
  // The producer of a watched stream, which gets no `end`, was stopped, or the stream was deleted. May
  // be missed.
  virtual void ProducerStopped() noexcept {}

 protected:
  ~Watcher() = default;
};

// Where a stream's checkpoints are: how far copies to it have come. Whatever makes the stream expire, or
// deletes it, does the same to them.
inline constexpr std::string_view kCheckpointsSuffix = ":from";
inline std::string CheckpointsKey(std::string_view stream_key) {
  return Cat(stream_key, kCheckpointsSuffix);
}

struct Checkpoint {
  std::string_view name;  // which of the stream's
  std::string_view expected;
  std::string_view reached;
};

// What a live flag says.
struct LiveFlag {
  bool present = false;
  int64_t ttl_ms = -1;  // until it expires; -1: it has no expiry
};

enum class CheckedOutcome {
  kAdded,
  kDoneBefore,  // nothing was changed, for the checkpoint was there already
  kConflict     // nothing was changed: the checkpoint is another
};

struct NewEntry {
  const Field* fields = nullptr;
  size_t count = 0;
};

// Where entries are added, and what becomes of it with each, in the same step.
struct Target {
  std::string_view key;
  uint64_t max_length = 0;  // > 0: older entries beyond about so many may go
  int64_t expire_ms = 0;    // > 0: it expires so long after
  bool list = false;        // of which nothing else of these is known
  // Of a list: the element is published there, behind the tag.
  std::string_view channel = {};
  std::string_view tag = {};
  // AGX_NONE, and nothing is written, if there is no stream: the store lost its data. An empty list is
  // not there either, so of a list it takes that there is no such flag as well.
  bool existing = false;
  std::string_view live_key = {};
};

// One of many adds, each to a stream of its own, and what became of it.
struct Addition {
  Target target;
  NewEntry entry;
  EntryId id;             // out
  Status status;          // out
  bool answered = false;  // the store's own
};

enum class StartMode {
  // Begin afresh, unless a flag with another token is there. With this token, it has been done:
  // kTakenOver.
  kIfNotLive,
  kTakeOver,  // take the flag whosever it is and leave the stream; begin afresh if there is no flag
  kContinue,  // take the flag whosever it is and leave the stream; begin afresh if there is none
  // Take back a flag that ran out and leave the stream; begin afresh, and without the checkpoints of what
  // was lost, if there is no stream.
  kResume
};

struct StartRequest {
  std::string_view key;
  std::string_view live_key;
  std::string_view token;  // the flag's value: whose lease it is
  int64_t lease_ms = 0;
  int64_t expire_ms = 0;  // > 0: the stream expires so long after the lease
  StartMode mode = StartMode::kIfNotLive;
  NewEntry begin;     // no fields: there is none
  bool keep = false;  // to begin afresh drops nothing, and leaves the stream's expiry as it is
  bool list = false;  // it is a list, which is always kept
};

enum class StartOutcome {
  // The flag is ours; the stream holds `begin` and nothing before it, and has no old expiry, but for
  // one that is kept.
  kStarted,
  kTakenOver,  // the flag is ours; the stream was left as it is, but for its old expiry
  kBusy        // another's flag is there; nothing was changed
};

inline constexpr int64_t kForeignGraceMs = 1000;

struct StopRequest {
  std::string_view key;
  std::string_view live_key;
  std::string_view token;            // empty: stop it whosever it is
  std::span<const NewEntry> before;  // added before `end`, if that is
  NewEntry end;                      // no fields: there is none
  // One whose last entry has one of these has ended, and gets no second `end`. The value "" is any
  // but an empty one.
  std::span<const Field> end_marks;
  // Of a flag that is stopped without its token, kForeignGraceMs at least: its producer tells by
  // the stream that no data was lost.
  int64_t grace_ms = 0;
  bool unless_canceled = false;  // kCanceled, if that is what it is
  bool keep = false;   // the stream's expiry stays as it is, and one that is not live is kAbsent
  bool begun = false;  // it was begun, and is never kAbsent
  bool list = false;   // as in StartRequest; nothing is added
};

enum class StopOutcome {
  kStopped,
  kTakenOver,  // the flag holds another token; nothing was changed
  kCanceled,   // there is no flag, and the stream has not ended; nothing was changed
  kAbsent      // neither the stream nor the flag exists; nothing was changed
};

enum class LeaseState {
  kUnknown,
  kOwn,     // the flag holds our token
  kOther,   // it holds another
  kAbsent,  // there is no flag, but there is a stream
  kLost     // there is neither: the store lost its data
};

struct Lease {
  std::string_view key;
  std::string_view live_key;
  std::string_view token;
  int64_t lease_ms = 0;
  int64_t expire_ms = 0;
  LeaseState state = LeaseState::kUnknown;  // out
};

struct ReadRequest {
  std::string_view key;
  std::string_view live_key;  // empty: `live` is not wanted
  EntryId after;              // {0,0}: from the beginning, and no gap can be
  size_t count = 0;           // at most so many entries
  // The key holds a list. If the element at `after` is another by now, the list was replaced: then
  // `gap`, and what is there from the beginning.
  bool list = false;
  // Of the first request, for all: whatever add before it is uncertain shows if it ever will. Does not
  // arm a watch.
  bool behind_writes = false;
  // Of the first request, for all, or null: once it is set, and Store::Hurry was called, a connection
  // is not waited for.
  const StopFlag* stop = nullptr;
  // The stream's last entry is wanted too, wherever the cursor is.
  bool want_last = false;
  // When it was sent, if its answer may lie there for a while before it is taken.
  std::optional<TimePoint> asked_at;

  // Out.
  BatchPtr batch;  // what is there, in order; null or empty if nothing
  // Entries after `after` may have been dropped: trimmed, or the whole stream is not there.
  bool gap = false;
  bool exists = false;  // there is a stream
  LiveFlag live;
  BatchPtr last;  // null if there is none
  Status status;  // what is wrong with this one, such as a key of another type
};

// What is known of an answer before its entries are taken apart.
struct Page {
  EntryId after;     // as it was asked for
  size_t count = 0;  // so many were wanted
  size_t size = 0;   // so many are there
  EntryId last;      // the id of the last, if there is any
  size_t bytes = 0;  // that they take, about
};

// The same of an answer that is there.
inline Page PageOf(const ReadRequest& answer) {
  Page page;
  page.after = answer.after;
  page.count = answer.count;
  if (answer.batch == nullptr || answer.batch->empty()) return page;
  page.size = answer.batch->size();
  page.last = answer.batch->last()->id;
  page.bytes = answer.batch->bytes();
  return page;
}

// Reads of one stream by one thread, over a way of its own: it can ask for the next entries before
// those at hand are used up, and can wait for entries with one round trip less than a watch. Used
// by one thread at a time, except Wake.
class Tail {
 public:
  enum class Outcome { kDone, kTimeout, kWoken };
  // What is to be asked for next, if that is known; false: it is not. It says so in `after` and `count`.
  using Foresee = std::function<bool(const Page& page, ReadRequest* next)>;

  virtual ~Tail() = default;

  // Asks for up to count entries after `after`; with follow, if there are none, for the first that
  // come. One request at a time.
  virtual Status Request(std::string_view key, EntryId after, size_t count, bool follow) = 0;
  // A request's answer has not been taken yet.
  virtual bool pending() const = 0;
  // Waits for the answer. kDone: of `answer`, after, count, batch, gap and exists are set (an
  // unanswered follow gives an empty batch now and then). A status other than OK: the tail is broken, drop it. alert:
  // an eventfd; kWoken while it is readable, and the request stays pending. -1: none, which saves a
  // system call. foresee is asked about an answer as soon as it has arrived, so that the server looks for
  // the next while this one is taken apart; with kDone, what was last asked for then is pending.
  virtual Status Await(TimePoint deadline, int alert, const Foresee& foresee, ReadRequest* answer,
                       Outcome* outcome) = 0;
  // From here on Await does not try again what failed.
  virtual void FailAtOnce() noexcept = 0;
  // Makes the current or next Await return kWoken; from any thread.
  virtual void Wake() noexcept = 0;
};

// A look back: entries between two ids, neither of which is among them.
struct RangeRequest {
  std::string_view key;
  EntryId after;                  // {0,0}: from the first
  std::optional<EntryId> before;  // none: to the last
  bool reverse = false;           // the newest first
  bool list = false;              // the key holds one, and of the ids the places count
  size_t count = 0;               // at most so many
};

struct StreamFacts {
  bool exists = false;
  bool live = false;  // there is a flag; it may be without a stream
  uint64_t length = 0;
  EntryId first;  // of the entries that are there; {0,0} if there is none
  EntryId last;
  EntryId last_generated;  // as far as the store tells
  int64_t ttl_ms = -1;     // until the stream expires; -1: it does not
  int64_t groups = -1;     // that consume it; -1: the store does not tell
};

// What of a stream is to go: all but the newest, or what is older than an entry.
struct TrimRequest {
  std::string_view key;
  std::optional<uint64_t> max_length;
  EntryId before;  // without max_length
};

struct DeleteRequest {
  std::string_view key;
  std::string_view live_key;
  std::string_view text_key;
  std::string_view token;  // whose flag is the caller's own; empty: none is
  // Of a stream whose flag is another's this stays, alone, for kForeignGraceMs: its producer is to
  // find a stream without a flag, which is a cancel, and not neither, which is lost data. No fields:
  // nothing stays.
  NewEntry end;
  bool list = false;
};

// What a string key holds.
struct KeptText {
  std::string text;
  // Other for every other text, and "" if there is no such key. Means something only to this store.
  std::string version;
};

class Groups;

class Store {
 public:
  virtual ~Store() = default;

  // Consumer groups; lives as long as the store.
  virtual Groups& groups() = 0;

  // Adds an entry with an id greater than every earlier one's.
  virtual Status Add(const Target& target, NewEntry entry, EntryId* id) = 0;
  Status Add(std::string_view key, NewEntry entry, uint64_t max_length, EntryId* id) {
    return Add({key, max_length}, entry, id);
  }
  // In order. *added: how many, from the first on, are known to be stored; ids, or null, has room
  // for all.
  virtual Status AddMany(const Target& target, std::span<const NewEntry> entries, EntryId* ids,
                         size_t* added) = 0;
  Status AddMany(std::string_view key, std::span<const NewEntry> entries, uint64_t max_length,
                 EntryId* ids, size_t* added) {
    return AddMany({key, max_length}, entries, ids, added);
  }

  // Each by itself, whatever becomes of the others; those of one stream in their order, and none is tried
  // again behind which one was stored. All get their status, also if there is no memory.
  virtual void AddEach(std::span<Addition> additions) {
    for (Addition& one : additions) {
      try {
        one.status = Add(one.target, one.entry, &one.id);
      } catch (const std::bad_alloc&) {
        one.status = {AGX_ENOMEM, {}};
      }
    }
  }

  // All that the stream holds, by these entries, in one atomic step; neither bound of the target
  // counts, and nothing is published. *removed: how many went.
  virtual Status Replace(const Target& target, std::span<const NewEntry> entries,
                         uint64_t* removed) = 0;
  // In one atomic step: if the checkpoint is what is expected ("" if there is none), all are added and it
  // is `reached` from now on, for as long as the stream stays. If the connection was lost on the way,
  // kDoneBefore may be of this very call. AGX_NONE, where the stream is to be there and is not, takes
  // what is left of its checkpoints away.
  virtual Status AddChecked(const Target& target, std::span<const NewEntry> entries,
                            const Checkpoint& checkpoint, CheckedOutcome* outcome) = 0;

  // "" if there is none.
  virtual Status GetCheckpoint(std::string_view stream_key, std::string_view name,
                               std::string* position) = 0;

  // Each is one atomic step.
  virtual Status Start(const StartRequest& request, StartOutcome* outcome) = 0;
  virtual Status Stop(const StopRequest& request, StopOutcome* outcome) = 0;
  virtual Status Cancel(std::string_view live_key, bool* was_live) = 0;

  // stop: as in ReadRequest.
  virtual Status Live(std::string_view live_key, LiveFlag* flag,
                      const StopFlag* stop = nullptr) = 0;
  // Gives a flag that has an expiry at least lease_ms more; *present says whether it exists.
  virtual Status Extend(std::string_view live_key, int64_t lease_ms, bool* present) = 0;
  // Renews those that hold their token, and says what became of each.
  virtual Status Renew(std::span<Lease> leases) = 0;
  // Says what became of each, and makes changes of a watched flag ring again.
  virtual Status Check(std::span<Lease> leases) = 0;
  // The same, but fails at once if there is no connection.
  virtual Status CheckIfConnected(std::span<Lease> leases) = 0;

  // Reads each, in the order given, and makes changes of the watched among their keys ring again.
  virtual Status Read(std::span<ReadRequest> requests) = 0;
  // The last id given out in the stream; {0,0} if there is no stream.
  virtual Status LastId(std::string_view key, EntryId* id) = 0;

  // The same of a list.
  virtual Status LastElement(std::string_view key, EntryId* id) = 0;
  virtual Status ListFacts(std::string_view key, std::string_view live_key, StreamFacts* facts) = 0;

  // Null if there is none, as for a stream that is not there.
  virtual Status Range(const RangeRequest& request, BatchPtr* batch) = 0;
  virtual Status Facts(std::string_view key, std::string_view live_key, StreamFacts* facts) = 0;
  // Exactly. *removed: how many went.
  virtual Status Trim(const TrimRequest& request, uint64_t* removed) = 0;
  // In one atomic step. *was_there: one of the three was.
  virtual Status Delete(const DeleteRequest& request, bool* was_there) = 0;

  virtual Status GetText(std::string_view key, KeptText* kept) = 0;
  // In one atomic step: if the key still has the expected version, it holds the text from now on,
  // and does not expire; else *conflict, and nothing is changed. `again`: this was tried before and
  // may have been done, so the text itself is as good as what is expected. AGX_EUNCERTAIN: also if
  // another may have written on top of it.
  virtual Status PutText(std::string_view key, std::string_view expected, std::string_view text,
                         bool again, std::string* version, bool* conflict) = 0;

  // Some of the string keys that begin with `prefix` and end with `suffix` (both taken literally).
  // *cursor is "0" at first and again after the last; a key that exists all the while comes at
  // least once.
  virtual Status Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
                      std::vector<std::string>* keys) = 0;

  // What a watched key holds, for stores that can wait for one kind only.
  enum class KeyKind { kStream, kFlag, kList };

  // From here on the watcher is told of changes of key, once for each time that the key is read by
  // Read or Check (so: watch, then read). Several watchers may watch a key.
  virtual Status Watch(std::string_view key, KeyKind kind, Watcher* watcher) = 0;
  // When it returns, no call of the watcher is under way and none will come.
  virtual void Unwatch(std::string_view key, Watcher* watcher) noexcept = 0;

  // Waits for a bell that watchers ring, as Bell::Wait does. A store that has to listen for changes
  // may do it with this thread meanwhile.
  virtual bool WaitFor(Bell* bell, uint32_t ticket, TimePoint deadline) {
    return bell->Wait(ticket, deadline);
  }

  // Null if the store has none to give: then watch.
  virtual std::unique_ptr<Tail> OpenTail() = 0;

  // The calls that wait for a connection look if they are to stop.
  virtual void Hurry() noexcept {}
  // Makes every call, now and later, return AGX_ECLOSED soon, and tells all watchers.
  virtual void Close() noexcept = 0;
};

// A line for the client's log.
using Log = std::function<void(agx_log_level, const std::string&)>;

}  // namespace agx
