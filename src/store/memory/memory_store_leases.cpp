// Live flags in a memory store: they are taken, renewed, looked at and dropped, and their streams
// begin, end and go with them.
#include <algorithm>

#include "store/memory/memory_store_impl.h"

namespace agx::memory {
namespace {

using Access = MemoryStore::Access;

TimePoint FlagExpiry(TimePoint now, int64_t lease_ms) {
  return lease_ms > 0 ? DeadlineAfter(lease_ms, now) : kNever;
}

TimePoint StreamExpiry(TimePoint now, int64_t lease_ms, int64_t expire_ms) {
  if (expire_ms <= 0 || expire_ms > kLongestWaitMs) return kNever;
  return DeadlineAfter(lease_ms + expire_ms, now);
}

void TakeOver(Access& access, const StartRequest& request, Node* stream, std::string token) {
  Node* marks = access.FindCheckpoints(request.key);
  KeySpace::Obtained flag = access.keys.Obtain(request.live_key, access.now);
  access.keys.SetFlag(&*flag, std::move(token));
  access.keys.SetExpiry(&*flag, FlagExpiry(access.now, request.lease_ms));
  access.keys.Ring(&*flag);
  if (request.keep && request.expire_ms <= 0) return;
  TimePoint expiry = StreamExpiry(access.now, request.lease_ms, request.expire_ms);
  if (stream != nullptr) access.keys.SetExpiry(stream, expiry);
  if (marks != nullptr) access.keys.SetExpiry(marks, expiry);
}

// What can fail comes first, so that nothing is left half done.
void StartAfresh(Access& access, const StartRequest& request, std::unique_ptr<Stream> stream,
                 StoredEntry::Ptr begin, std::string token) {
  KeySpace& keys = access.keys;
  Node* marks = access.FindCheckpoints(request.key);
  KeySpace::Obtained node = keys.Obtain(request.key, access.now);
  KeySpace::Obtained flag = keys.Obtain(request.live_key, access.now);
  if (node->stream != nullptr) stream->last = stream->dropped = node->stream->last;
  if (begin != nullptr) stream->Append({&begin, 1}, nullptr);
  keys.SetFlag(&*flag, std::move(token));
  if (node->stream != nullptr) stream->groups.swap(node->stream->groups);
  keys.SetExpiry(&*flag, FlagExpiry(access.now, request.lease_ms));
  keys.SetStream(&*node, std::move(stream));
  keys.SetExpiry(&*node, StreamExpiry(access.now, request.lease_ms, request.expire_ms));
  if (marks != nullptr) keys.SetExpiry(marks, node->expires);
  keys.Ring(&*flag);
  keys.Ring(&*node);
}

bool HasEnded(const Stream& stream, const StopRequest& request) {
  return !stream.entries.empty() && stream.entries.back()->HasOneOf(request.end_marks);
}

void AddEnd(Access& access, const StopRequest& request, int64_t grace_ms,
            std::span<StoredEntry::Ptr> entries) {
  Node* marks = access.FindCheckpoints(request.key);
  KeySpace::Obtained node = access.keys.Obtain(request.key, access.now);
  std::unique_ptr<Stream> fresh;
  Stream* stream = node->stream.get();
  if (stream == nullptr) {
    if (entries.empty()) return;
    fresh = access.keys.NewStream();
    stream = fresh.get();
  }
  if (!entries.empty() && !HasEnded(*stream, request)) {
    stream->Append(entries, nullptr);
    if (fresh != nullptr) access.keys.SetStream(&*node, std::move(fresh));
    access.keys.Ring(&*node);
  }
  if (request.keep) return;
  access.keys.SetExpiry(&*node, access.After(grace_ms));
  if (marks != nullptr) access.keys.SetExpiry(marks, node->expires);
}

void LeaveEnd(Access& access, const DeleteRequest& request, StoredEntry::Ptr end) {
  KeySpace::Obtained node = access.keys.Obtain(request.key, access.now);
  std::unique_ptr<Stream> stream = access.keys.NewStream();
  if (node->stream != nullptr) stream->last = stream->dropped = node->stream->last;
  stream->Append({&end, 1}, nullptr);
  if (node->stream != nullptr) stream->groups.swap(node->stream->groups);
  access.keys.SetStream(&*node, std::move(stream));
  access.keys.SetExpiry(&*node, access.After(kForeignGraceMs));
  access.keys.Ring(&*node);
}

Status StateOf(Access& access, Lease* lease, Node** flag, Node** stream,
               Access::Arming arming = Access::kLeave) {
  lease->state = LeaseState::kUnknown;
  Status status = access.FindFlag(lease->live_key, flag, arming);
  if (!status.ok()) return status;
  // A list does as well.
  *stream = access.keys.Find(lease->key, access.now);
  if (*stream != nullptr && (*stream)->is_flag) return NotAStream(lease->key);
  if (*stream != nullptr && (*stream)->stream == nullptr) *stream = nullptr;
  if (*flag != nullptr) {
    lease->state = (*flag)->token == lease->token ? LeaseState::kOwn : LeaseState::kOther;
  } else {
    lease->state = *stream != nullptr ? LeaseState::kAbsent : LeaseState::kLost;
  }
  return {};
}

Status RenewOne(Access& access, Lease* lease) {
  Node* flag;
  Node* stream;
  if (Status status = StateOf(access, lease, &flag, &stream); !status.ok()) return status;
  if (lease->state != LeaseState::kOwn) return {};
  Node* marks = lease->expire_ms > 0 ? access.FindCheckpoints(lease->key) : nullptr;
  access.keys.SetExpiry(flag, FlagExpiry(access.now, lease->lease_ms));
  if (lease->expire_ms <= 0) return {};
  TimePoint expiry = StreamExpiry(access.now, lease->lease_ms, lease->expire_ms);
  if (stream != nullptr) access.keys.SetExpiry(stream, expiry);
  if (marks != nullptr) access.keys.SetExpiry(marks, expiry);
  return {};
}

}  // namespace

Status MemoryStore::Start(const StartRequest& request, StartOutcome* outcome) {
  StoredEntry::Ptr begin;
  if (request.begin.count > 0) begin = StoredEntry::Copy(request.begin);
  std::string token(request.token);
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* stream;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &stream); !status.ok())
    return status;
  bool others = flag != nullptr && flag->token != request.token;
  StartMode mode = request.mode;
  bool leaves = mode == StartMode::kResume || mode == StartMode::kContinue;
  bool afresh = stream == nullptr || (flag == nullptr && !leaves);
  if (stream == nullptr && mode == StartMode::kResume && !others) {
    if (Node* marks = access.FindCheckpoints(request.key)) access.keys.DropValue(marks);
  }
  if (others && mode != StartMode::kTakeOver && mode != StartMode::kContinue) {
    *outcome = StartOutcome::kBusy;
  } else if (afresh && (request.keep || (begin == nullptr && stream == nullptr))) {
    TakeOver(access, request, stream, std::move(token));
    *outcome = StartOutcome::kStarted;
  } else if (afresh) {
    StartAfresh(access, request, access.keys.NewStream(), std::move(begin), std::move(token));
    *outcome = StartOutcome::kStarted;
  } else {
    TakeOver(access, request, stream, std::move(token));
    *outcome = StartOutcome::kTakenOver;
  }
  return {};
}

Status MemoryStore::Stop(const StopRequest& request, StopOutcome* outcome) {
  std::vector<StoredEntry::Ptr> entries;
  entries.reserve(request.before.size() + 1);
  for (const NewEntry& entry : request.before) entries.push_back(StoredEntry::Copy(entry));
  if (request.end.count > 0) entries.push_back(StoredEntry::Copy(request.end));
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* node;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &node); !status.ok())
    return status;
  if (flag == nullptr && !request.begun && (request.keep || node == nullptr)) {
    *outcome = StopOutcome::kAbsent;
    return {};
  }
  if (flag != nullptr && !request.token.empty() && flag->token != request.token) {
    *outcome = StopOutcome::kTakenOver;
    return {};
  }
  bool ended = node != nullptr && HasEnded(*node->stream, request);
  if (flag == nullptr && request.unless_canceled && !ended) {
    *outcome = StopOutcome::kCanceled;
    return {};
  }
  int64_t grace_ms = request.grace_ms;
  if (flag != nullptr && request.token.empty()) grace_ms = std::max(grace_ms, kForeignGraceMs);
  if (grace_ms > 0 || request.keep) {
    AddEnd(access, request, grace_ms, entries);
  } else {
    Node* marks = access.FindCheckpoints(request.key);
    if (node != nullptr) access.keys.DropValue(node);
    if (marks != nullptr) access.keys.DropValue(marks);
  }
  if (flag != nullptr) access.keys.DropValue(flag);
  if (request.keep) access.keys.TellStopped(request.key, access.now);
  *outcome = StopOutcome::kStopped;
  return {};
}

Status MemoryStore::Cancel(std::string_view live_key, bool* was_live) {
  *was_live = false;
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  if (Status status = access.FindFlag(live_key, &flag); !status.ok()) return status;
  *was_live = flag != nullptr;
  if (flag != nullptr) access.keys.DropValue(flag);
  return {};
}

Status MemoryStore::Live(std::string_view live_key, LiveFlag* flag, const StopFlag* /*stop*/) {
  *flag = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindFlag(live_key, &node); !status.ok()) return status;
  *flag = FlagOf(node, access.now);
  return {};
}

Status MemoryStore::Extend(std::string_view live_key, int64_t lease_ms, bool* present) {
  *present = false;
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  if (Status status = access.FindFlag(live_key, &flag); !status.ok()) return status;
  if (flag == nullptr) return {};
  *present = true;
  if (flag->expires == kNever) return {};
  access.keys.SetExpiry(flag, std::max(flag->expires, access.After(lease_ms)));
  return {};
}

// Each lease is one step of its own; one that fails does not hold up the others.
Status MemoryStore::Renew(std::span<Lease> leases) {
  Status first;
  for (Lease& lease : leases) {
    Access access(this);
    if (access.closed) return Closed();
    Status status = RenewOne(access, &lease);
    if (first.ok()) first = std::move(status);
  }
  return first;
}

Status MemoryStore::Check(std::span<Lease> leases) {
  Status first;
  for (Lease& lease : leases) {
    Access access(this);
    if (access.closed) return Closed();
    Node* flag;
    Node* stream;
    Status status = StateOf(access, &lease, &flag, &stream, Access::kArm);
    if (first.ok()) first = std::move(status);
  }
  return first;
}

Status MemoryStore::Delete(const DeleteRequest& request, bool* was_there) {
  *was_there = false;
  StoredEntry::Ptr end;
  if (request.end.count > 0) end = StoredEntry::Copy(request.end);
  Access access(this);
  if (access.closed) return Closed();
  Node* flag;
  Node* node;
  if (Status status = access.FindFlag(request.live_key, &flag); !status.ok()) return status;
  if (Status status = access.FindStream(request.key, request.list, &node); !status.ok())
    return status;
  Node* text = access.keys.Find(request.text_key, access.now);
  if (text != nullptr && text->stream != nullptr) return NotAText(request.text_key);
  if (text != nullptr && !text->has_value()) text = nullptr;
  Node* marks = access.FindCheckpoints(request.key);
  *was_there = flag != nullptr || node != nullptr || text != nullptr || marks != nullptr;
  if (end != nullptr && flag != nullptr && flag->token != request.token) {
    LeaveEnd(access, request, std::move(end));
  } else if (node != nullptr) {
    access.keys.DropValue(node);
  }
  if (flag != nullptr && flag->token != request.token) KeySpace::TellTaken(flag);
  if (flag != nullptr) access.keys.DropValue(flag);
  if (text != nullptr) access.keys.DropValue(text);
  if (marks != nullptr) access.keys.DropValue(marks);
  if (*was_there) access.keys.TellStopped(request.key, access.now);
  return {};
}

}  // namespace agx::memory
