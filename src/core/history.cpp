#include "core/history.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "format/condition.h"
#include "format/format.h"

namespace agx {
namespace {

// As a listener reads: a batch is to be about so large, whatever the events are.
constexpr size_t kBatchBytes = size_t{1024} * 1024;
constexpr size_t kFirstEvents = 64;
constexpr size_t kLeastEvents = 16;
constexpr size_t kMostEvents = 2000;

// Of a batch of which less than this part is kept, the rest is not worth its memory.
constexpr size_t kSparse = 4;

Result<EntryId> ParseId(const char* name, std::string_view text) {
  EntryId id;
  if (ParseEntryId(text, &id)) return id;
  return Status(AGX_EINVAL,
                Cat(name, " is no entry id such as 1734649123456-0: ", text.substr(0, 64)));
}

Status Closed(const Session& session) {
  if (session.client()->closed()) return Client::ClosedStatus();
  if (session.closed()) return {AGX_ECLOSED, "the session is closed"};
  return {};
}

// The same entries in a batch of their own.
BatchPtr Copy(const Batch& batch, const Format& format) {
  BatchPtr copy(Batch::Create());
  for (const Entry* entry = batch.first(); entry != nullptr; entry = entry->next) {
    Entry* fresh = copy->Append(entry->id, entry->id_text, entry->field_count);
    for (size_t i = 0; i < entry->field_count; ++i) {
      fresh->fields[i].name = copy->Copy(entry->fields[i].name);
      fresh->fields[i].value = copy->Copy(entry->fields[i].value);
    }
    fresh->refusal = entry->refusal;
    format.Read(fresh);
  }
  return copy;
}

// One read, batch by batch. Holds what it has until it is known that all of it can be given.
class Reading {
 public:
  Reading(const Session& session, Entry** entries, size_t capacity)
      : session_(session), entries_(entries), capacity_(capacity) {
    range_.key = session.key();
    range_.list = session.is_list();
  }
  ~Reading() {
    for (size_t i = 0; i < count_; ++i) {
      Batch::Release(entries_[i]);
      entries_[i] = nullptr;
    }
  }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Status Take(const agx_history_options& options);
  Status Run();
  // From here on they are the caller's.
  size_t Give() { return std::exchange(count_, 0); }

 private:
  Status Read(Batch* batch) const;
  void GoOnAfter(const Batch& batch);
  void Select(BatchPtr* batch) const;

  const Session& session_;
  Entry** const entries_;
  const size_t capacity_;
  size_t count_ = 0;
  size_t at_once_ = kFirstEvents;
  RangeRequest range_;
  std::shared_ptr<const Condition> where_;  // null: every event
};

Status Reading::Take(const agx_history_options& options) {
  range_.reverse = options.reverse != 0;
  if (options.after != nullptr) {
    Result<EntryId> after = ParseId("the option after", options.after);
    if (!after.ok()) return after.status();
    range_.after = *after;
  }
  if (options.before != nullptr) {
    Result<EntryId> before = ParseId("the option before", options.before);
    if (!before.ok()) return before.status();
    range_.before = *before;
  }
  if (options.where != nullptr) {
    auto where = Condition::Compile(options.where);
    if (!where.ok()) return where.status();
    where_ = std::move(*where);
  }
  return {};
}

Status Reading::Run() {
  while (count_ < capacity_) {
    if (Status status = Closed(session_); !status.ok()) return status;
    // What is not selected makes room for more.
    range_.count = where_ != nullptr ? at_once_ : std::min(at_once_, capacity_ - count_);
    BatchPtr batch;
    Status status = session_.client()->store().Range(range_, &batch);
    if (!status.ok()) return status;
    if (batch == nullptr || batch->empty()) break;
    bool last = batch->size() < range_.count;
    GoOnAfter(*batch);
    Status refused = Read(batch.get());
    if (where_ != nullptr) Select(&batch);
    while (count_ < capacity_ && !batch->empty()) entries_[count_++] = batch->TakeFirst();
    // What is before it is given first.
    if (!refused.ok()) return count_ == 0 ? refused : Status();
    if (last) break;
  }
  if (count_ == 0) return {AGX_ENDED, "there are no events in this range, or no more"};
  return {};
}

// Up to the first that cannot be read; it, and what is behind it, go out of the batch.
Status Reading::Read(Batch* batch) const {
  Entry* entry = batch->first();
  for (; entry != nullptr; entry = entry->next) {
    session_.format().Read(entry);
    if (entry->refusal != nullptr) break;
  }
  if (entry == nullptr) return {};
  Status refused(AGX_EUNSUPPORTED,
                 Cat("the entry ", entry->id_text, " of ", session_.key(), ": ", entry->refusal),
                 entry->id_text);
  bool before = true;
  batch->Filter([&before](const Entry& one, const Entry* /*before*/) {
    return before = before && one.refusal == nullptr;
  });
  return refused;
}

void Reading::GoOnAfter(const Batch& batch) {
  if (range_.reverse) {
    range_.before = batch.last()->id;
  } else {
    range_.after = batch.last()->id;
  }
  size_t average = std::max<size_t>(batch.bytes() / batch.size(), 1);
  at_once_ = std::clamp(kBatchBytes / average, kLeastEvents, kMostEvents);
}

void Reading::Select(BatchPtr* batch) const {
  size_t read = (*batch)->size();
  (*batch)->Filter([&](const Entry& entry, const Entry* /*before*/) {
    return where_->Selects(entry.type, entry.origin, entry.body);
  });
  // An event keeps the batch that it is in.
  if (!(*batch)->empty() && (*batch)->size() < read / kSparse)
    *batch = Copy(**batch, session_.format());
}

}  // namespace

Status ReadHistory(const Session& session, const agx_history_options& options, Entry** entries,
                   size_t capacity, size_t* count) {
  Reading reading(session, entries, capacity);
  if (Status status = reading.Take(options); !status.ok()) return status;
  if (Status status = reading.Run(); !status.ok()) return status;
  *count = reading.Give();
  return {};
}

Status LookAtHistory(const Session& session, StreamFacts* facts) {
  Store& store = session.client()->store();
  Status status = session.is_list() ? store.ListFacts(session.key(), session.live_key(), facts)
                                    : store.Facts(session.key(), session.live_key(), facts);
  if (!status.ok()) return status;
  if (facts->exists || facts->live) return {};
  return {AGX_NONE, Cat("there is no session ", session.key())};
}

Status TrimHistory(const Session& session, int64_t max_length, const char* before_id,
                   uint64_t* removed) {
  if ((max_length < 0) == (before_id == nullptr)) {
    return {AGX_EINVAL, "agx_history_trim wants either a max_length or a before_id"};
  }
  if (session.is_list()) {
    return {AGX_EUNSUPPORTED, Cat("the format ", session.format().name(),
                                  " keeps its history whole: nothing of it can be trimmed")};
  }
  TrimRequest request;
  request.key = session.key();
  if (before_id == nullptr) {
    request.max_length = static_cast<uint64_t>(max_length);
  } else {
    Result<EntryId> before = ParseId("agx_history_trim: before_id", before_id);
    if (!before.ok()) return before.status();
    request.before = *before;
  }
  return session.client()->store().Trim(request, removed);
}

}  // namespace agx
