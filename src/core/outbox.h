// The events of a run, between their making and the store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "core/session.h"
#include "format/format.h"
#include "store/entry.h"

namespace agx {

// What is committed comes by the session's interceptors at once, and once. What they let through
// waits here until the store has it: it is stored in the order in which it was committed, and once,
// also if a call failed and nobody knows what of it was written. Then what is stored is looked for
// before anything is written again. A call that fails, or throws bad_alloc, can be repeated.
//
// Not safe for threads, but an interceptor, which is called in Commit, may use the session.
class Outbox {
 public:
  // afresh: the session's start leaves nothing in the stream that another has written. The session
  // outlives the outbox, and is started before anything is committed.
  Outbox(Session* session, std::string_view origin, bool afresh);
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // Where the body of the next event is to be appended. Without a Commit, which is so when memory
  // ran out in the middle of it, it is dropped.
  std::string* NewBody();
  void Commit();

  size_t bytes() const { return bodies_.size(); }
  Status Send();
  // What the first interceptor that refused an event said, since this was last called.
  Status TakeRefusal();

  // To be called before Stop, after the last Commit: then it is known what is stored, and what waits
  // is not too much for one step.
  Status PrepareStop();
  // Session::StopAfter, with what waits and, unless it is null, `last` behind that. What waits goes
  // on waiting: if nothing more is to be written, Clear.
  Status Stop(const NewEvent* last, int64_t grace_ms, bool expect_canceled);

  // Drops what waits, and what was refused.
  void Clear();

 private:
  // If an interceptor has changed it, its type and origin come before its body.
  struct Pending {
    size_t end;  // in bodies_
    size_t type_size = 0;
    size_t origin_size = 0;
  };

  size_t committed_bytes() const { return events_.empty() ? 0 : events_.back().end; }
  NewEvent EventOf(size_t index) const;
  void MakeEntries(const NewEvent* last);
  Status Resolve();
  Status FindUncertain();
  void Forget(size_t count);

  Session* const session_;
  const std::string origin_;

  std::string bodies_;           // one after the other
  std::vector<Pending> events_;  // of which they are
  Status refused_;
  EntryId last_id_;         // of the last that is known to be stored
  bool start_known_;        // else last_id_ is to be looked up before anything is written
  bool uncertain_ = false;  // the first of the events may be stored

  // Only to be made once.
  std::vector<NewEntry> entries_;
  std::vector<EventFields> fields_;
  std::vector<EntryId> ids_;
};

}  // namespace agx
