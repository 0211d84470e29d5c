#include "core/outbox.h"

#include <utility>

#include "core/interceptor.h"

namespace agx {
namespace {

constexpr std::string_view kType = "event";
// So many entries are read at a time to find out whether one was written.
constexpr size_t kLookBack = 500;
// So many are written in one step with the end: a command has a limit, and a script holds up others.
constexpr size_t kMostWithEnd = 1000;

}  // namespace

Outbox::Outbox(Session* session, std::string_view origin, bool afresh)
    : session_(session), origin_(origin), start_known_(afresh) {}

std::string* Outbox::NewBody() {
  bodies_.resize(committed_bytes());
  return &bodies_;
}

void Outbox::Commit() {
  if (!session_->intercepted()) {
    events_.push_back({bodies_.size()});
    return;
  }
  size_t begin = committed_bytes();
  Intercepted event({kType, origin_, std::string_view(bodies_).substr(begin)});
  Status status = session_->Intercept(&event);
  if (!status.ok()) {
    bodies_.resize(begin);
    if (status.code() != AGX_SWALLOWED && refused_.ok()) refused_ = std::move(status);
    return;
  }
  if (!event.changed()) {
    events_.push_back({bodies_.size()});
    return;
  }
  std::string text = Cat(event.type(), event.origin(), event.body());
  bodies_.replace(begin, std::string::npos, text);
  events_.push_back({bodies_.size(), event.type().size(), event.origin().size()});
}

Status Outbox::TakeRefusal() { return std::exchange(refused_, Status()); }

Status Outbox::Send() {
  if (events_.empty()) return {};
  if (Status status = Resolve(); !status.ok()) return status;
  if (events_.empty()) return {};
  MakeEntries(nullptr);
  ids_.resize(entries_.size());
  size_t added = 0;
  uncertain_ = true;  // also if this throws
  Status status = session_->AddEntries(entries_, ids_.data(), &added);
  if (added > 0) last_id_ = ids_[added - 1];
  Forget(added);
  uncertain_ = status.code() == AGX_EUNCERTAIN && !events_.empty();
  return status;
}

Status Outbox::PrepareStop() {
  if (Status status = Resolve(); !status.ok()) return status;
  return events_.size() > kMostWithEnd ? Send() : Status();
}

Status Outbox::Stop(const NewEvent* last, int64_t grace_ms, bool expect_canceled) {
  MakeEntries(last);
  uncertain_ = !events_.empty();  // also if this throws
  Status status = session_->StopAfter(entries_, grace_ms, expect_canceled);
  uncertain_ = status.code() == AGX_EUNCERTAIN && !events_.empty();
  return status;
}

void Outbox::Clear() {
  refused_ = {};
  Forget(events_.size());
}

// What waits, and `last` behind it, as the store takes it.
void Outbox::MakeEntries(const NewEvent* last) {
  fields_.clear();
  entries_.clear();
  fields_.reserve(events_.size() + 1);  // entries point at them
  entries_.reserve(events_.size() + 1);
  for (size_t i = 0; i < events_.size(); ++i) {
    session_->MakeFields(EventOf(i), &fields_.emplace_back());
  }
  if (last != nullptr) session_->MakeFields(*last, &fields_.emplace_back());
  for (const EventFields& fields : fields_) entries_.push_back(fields.entry());
}

NewEvent Outbox::EventOf(size_t index) const {
  const Pending& event = events_[index];
  size_t begin = index == 0 ? 0 : events_[index - 1].end;
  std::string_view text = std::string_view(bodies_).substr(begin, event.end - begin);
  if (event.type_size == 0) return {kType, origin_, text};
  size_t names = event.type_size + event.origin_size;
  return {text.substr(0, event.type_size), text.substr(event.type_size, event.origin_size),
          text.substr(names)};
}

void Outbox::Forget(size_t count) {
  if (count == events_.size()) {
    bodies_.clear();
    events_.clear();
    return;
  }
  if (count == 0) return;
  size_t bytes = events_[count - 1].end;
  bodies_.erase(0, bytes);
  events_.erase(events_.begin(), events_.begin() + static_cast<ptrdiff_t>(count));
  for (Pending& event : events_) event.end -= bytes;
}

// Afterwards it is known after which entry those that wait come, and that none of them is stored.
Status Outbox::Resolve() {
  if (!start_known_) {
    Status status = session_->client()->store().LastId(session_->key(), &last_id_);
    if (!status.ok()) return status;
    start_known_ = true;
  }
  return uncertain_ ? FindUncertain() : Status();
}

// Looks which of those that wait, from the first on, the store has after all. One that fails leaves
// everything as it was.
Status Outbox::FindUncertain() {
  size_t found = 0;
  EntryId last_found = last_id_;
  EntryId after = last_id_;
  for (;;) {
    ReadRequest read;
    read.key = session_->key();
    read.after = after;
    read.count = kLookBack;
    read.behind_writes = true;
    if (Status status = session_->client()->store().Read({&read, 1}); !status.ok()) return status;
    if (!read.status.ok()) return read.status;
    if (read.batch == nullptr || read.batch->empty()) break;
    for (Entry* entry = read.batch->first(); entry != nullptr; entry = entry->next) {
      after = entry->id;
      if (found == events_.size()) continue;
      session_->format().Read(entry);
      NewEvent wanted = EventOf(found);
      if (entry->body != wanted.body || entry->origin != wanted.origin) continue;
      ++found;
      last_found = entry->id;
    }
  }
  Forget(found);
  last_id_ = last_found;
  uncertain_ = false;
  return {};
}

}  // namespace agx
