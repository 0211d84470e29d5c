#include "store/redis/tail.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace agx::redis {
namespace {

// How long the server holds a blocking read. A connection that is silent for longer is lost.
constexpr int64_t kBlockMs = 5000;
// A reply that is longer is parsed as it comes, and not kept until it is all there.
constexpr size_t kMostHeld = size_t{2} * 1024 * 1024;

}  // namespace

// The replies of one request: of a replay an XRANGE from the cursor's own entry on; of a follow the
// cursor's own entry, and then XREAD. The cursor's entry being there proves that nothing after it
// was dropped.
class RedisTail::ReplySink final : public Sink {
 public:
  void Start(EntryId after, size_t count, bool follow) {
    after_ = after;
    count_ = count;
    follow_ = follow;
    error_.clear();
    replies_ = 0;
  }

  size_t replies() const { return replies_; }
  bool cursor_seen() const { return cursor_seen_; }
  const std::string& error() const { return error_; }
  BatchPtr Take() { return builder_.Take(); }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    // Without a cursor nothing is to be skipped, but for an id that no entry has.
    using Within = EntriesBuilder::Within;
    builder_.Begin(index == 0 ? after_ : EntryId{}, follow_ && index == 0 ? 1 : count_ + 1,
                   index == 0 ? Within::kNothing : Within::kStream);
  }
  void EndReply() override {
    if (index() == 0) cursor_seen_ = builder_.skipped() || after_ == EntryId{};
    ++replies_;
  }
  ListBuilder* List() override { return &builder_; }
  bool String(const redisReadTask& /*task*/, std::string_view /*text*/) override { return false; }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return false; }
  bool Nil(const redisReadTask& task) override { return Depth(task) == 0; }
  void Error(std::string_view text) override {
    if (error_.empty()) error_ = text;
  }

 private:
  EntryId after_;
  size_t count_ = 0;
  bool follow_ = false;
  EntriesBuilder builder_;
  bool cursor_seen_ = false;
  size_t replies_ = 0;
  std::string error_;
};

RedisTail::RedisTail(Dialer& dialer, const Log& log, GapCheck gap_check, int wake_fd,
                     std::function<void(RedisTail*)> released)
    : dialer_(dialer),
      config_(dialer.config()),
      log_(log),
      gap_check_(std::move(gap_check)),
      wake_fd_(wake_fd),
      released_(std::move(released)),
      sink_(std::make_unique<ReplySink>()) {}

RedisTail::~RedisTail() {
  released_(this);  // from here on Close is not called
  close(wake_fd_);
}

Status RedisTail::Request(std::string_view key, EntryId after, size_t count, bool follow) {
  asked_ = {std::string(key), after, count, follow};
  pending_ = true;
  next_.reset();
  // If it cannot be sent, Await goes on from there.
  if (connection_ != nullptr && !Send(&asked_).ok()) SetConnection(nullptr);
  ExpectReplies();
  return {};
}

Status RedisTail::Send(Asked* asked) {
  Commands commands;
  bool from_start = asked->after == EntryId{};
  auto count = static_cast<int64_t>(asked->count);
  if (asked->follow) {
    // From the beginning there is no entry to look at, but the same number of replies makes it one
    // case.
    commands.Add("XRANGE", asked->key, asked->after, asked->after, "COUNT", int64_t{1});
    commands.Add("XREAD", "COUNT", count, "BLOCK", kBlockMs, "STREAMS", asked->key, asked->after);
  } else if (from_start) {
    commands.Add("XRANGE", asked->key, "-", "+", "COUNT", count);
  } else {
    commands.Add("XRANGE", asked->key, asked->after, "+", "COUNT", count + 1);
  }
  asked->answer_by = AnswerBy(*asked);
  size_t sent = 0;
  return connection_->Send(commands.bytes(), &sent);
}

TimePoint RedisTail::AnswerBy(const Asked& asked) const {
  return DeadlineAfter(config_.command_timeout_ms + (asked.follow ? kBlockMs : 0));
}

// From here on they are those to asked_.
void RedisTail::ExpectReplies() {
  sink_->Start(asked_.after, asked_.count, asked_.follow);
  begun_ = checked_ = waited_ = foreseen_ = false;
  scans_ = !asked_.follow;
  scan_ = EntriesScan(asked_.count + 1);
  scanned_ = 0;
}

Status RedisTail::Await(TimePoint deadline, int alert, const Foresee& foresee, ReadRequest* answer,
                        Outcome* outcome) {
  // It may have lain here: that nobody came for it is not the server's silence.
  if (!std::exchange(asked_.awaited, true)) asked_.answer_by = AnswerBy(asked_);
  for (;;) {
    Status status;
    if (closed_) return {AGX_ECLOSED, "the client is closed"};
    if (connection_ == nullptr) {
      Result<std::unique_ptr<Connection>> opened = dialer_.Dial();
      status = opened.status();
      if (opened.ok()) {
        SetConnection(std::move(*opened));
        status = Send(&asked_);
        ExpectReplies();
      }
    }
    if (status.ok()) status = AwaitReplies(deadline, alert, foresee, outcome);
    if (TakeWake()) {
      if (closed_) continue;
      *outcome = Outcome::kWoken;
      return {};
    }
    if (status.ok() && *outcome != Outcome::kDone) return status;
    if (status.ok() && !sink_->error().empty()) {
      status = ServerError(sink_->error(), Cat("reading ", asked_.key));
    }
    if (status.ok()) {
      backoff_.reset();
      status = Answer(answer);
      if (!status.ok()) return status;
      if (pending_) continue;
      GoOn(*answer, foresee);
      return status;
    }
    status = Recover(status, deadline, alert, outcome);
    if (!status.ok() || *outcome != Outcome::kDone) return status;
  }
}

// Asks for what comes behind an answer that is there.
void RedisTail::AskAhead(const Page& page, const Foresee& foresee) {
  foreseen_ = true;
  ReadRequest next;
  if (!foresee || !foresee(page, &next)) return;
  next_ = {asked_.key, next.after, next.count};
  next_->sent = connection_ != nullptr && Send(&*next_).ok();
}

// An answer was taken: what comes next is what is asked for.
void RedisTail::GoOn(const ReadRequest& answer, const Foresee& foresee) {
  if (!foreseen_) AskAhead(PageOf(answer), foresee);
  if (!next_) return;
  asked_ = std::move(*next_);
  next_.reset();
  pending_ = true;
  if (!asked_.sent) SetConnection(nullptr);  // Await goes on from there
  ExpectReplies();
}

// After a failure: OK and kDone if it is to be tried again now.
Status RedisTail::Recover(const Status& why, TimePoint deadline, int alert, Outcome* outcome) {
  SetConnection(nullptr);
  next_.reset();
  bool passing =
      why.code() == AGX_ECONNECT || why.code() == AGX_ETIMEOUT || why.code() == AGX_ELOADING;
  if (fails_at_once_) return why;
  if (!backoff_) backoff_.emplace(config_);
  TimePoint until;
  if (!passing || !backoff_->Next(&until)) {
    backoff_.reset();
    return why;
  }
  log_(AGX_LOG_WARNING, why.message());
  pollfd wakes[] = {{wake_fd_, POLLIN, 0}, {alert, POLLIN, 0}};
  TimePoint stop = std::min(until, deadline);
  poll(wakes, 2, static_cast<int>(MillisUntil(stop)));
  *outcome = deadline <= until ? Outcome::kTimeout : Outcome::kDone;
  if (TakeWake() || wakes[1].revents != 0) *outcome = Outcome::kWoken;
  return {};
}

// Until all replies are here, or the first of two says that the cursor's entry is not.
Status RedisTail::AwaitReplies(TimePoint deadline, int alert, const Foresee& foresee,
                               Outcome* outcome) {
  size_t expected = asked_.follow ? 2 : 1;
  *outcome = Outcome::kDone;
  while (sink_->replies() < expected) {
    if (asked_.follow && sink_->replies() == 1 && !sink_->cursor_seen() && !checked_) return {};
    Parser::Outcome parsed = Parser::Outcome::kIncomplete;
    if (!scans_ || !Scan(foresee)) {
      if (!begun_) sink_->BeginReply(sink_->replies());
      begun_ = true;
      parsed = connection_->Parse(sink_.get());
    }
    if (parsed == Parser::Outcome::kBroken) return connection_->Broken(*sink_);
    if (parsed == Parser::Outcome::kComplete) {
      sink_->EndReply();
      begun_ = false;
      continue;
    }
    waited_ = sink_->replies() == 1;
    Status status;
    switch (connection_->Receive(std::min(deadline, asked_.answer_by), alert, &status)) {
      case Connection::Received::kData:
        break;
      case Connection::Received::kBroken:
        return status;
      case Connection::Received::kWoken:
        *outcome = Outcome::kWoken;
        return {};
      case Connection::Received::kTimeout:
        if (Clock::now() >= asked_.answer_by) {
          return {AGX_ETIMEOUT, Cat(Describe(config_), " is silent")};
        }
        *outcome = Outcome::kTimeout;
        return {};
    }
  }
  return {};
}

// Goes over the answer to a replay before it is parsed. True if there is more to come of it.
bool RedisTail::Scan(const Foresee& foresee) {
  std::string_view held = connection_->held();
  const char* at = held.data() + scanned_;
  EntriesScan::Outcome outcome = scan_.Scan(&at, held.data() + held.size());
  scanned_ = static_cast<size_t>(at - held.data());
  scans_ = outcome == EntriesScan::Outcome::kIncomplete && held.size() <= kMostHeld;
  if (outcome != EntriesScan::Outcome::kComplete || scan_.size() == 0) return scans_;
  // Where the cursor's entry is not there, that is looked into first.
  bool resumes = asked_.after != EntryId{};
  size_t size = scan_.size() - (resumes ? 1 : 0);
  if (size == 0 || (resumes && scan_.first() != asked_.after)) return false;
  AskAhead({asked_.after, asked_.count, size, scan_.last(), scanned_}, foresee);
  return false;
}

// Sets the answer and pending_ = false, unless a follow turns out to be in order and still has to
// wait.
Status RedisTail::Answer(ReadRequest* answer) {
  bool complete = sink_->replies() == (asked_.follow ? 2 : 1);
  answer->after = asked_.after;
  answer->count = asked_.count;
  answer->gap = false;
  answer->exists = true;
  answer->batch = complete ? sink_->Take() : nullptr;
  // One command adds one entry and so ends a blocked read; several at once come from a transaction
  // or a script, which may have trimmed as well. Or the server had a long answer and sent it piece by
  // piece. Before the first entry there is none that could show a gap.
  bool several =
      waited_ && asked_.after != EntryId{} && answer->batch != nullptr && answer->batch->size() > 1;
  bool suspect = (!sink_->cursor_seen() && !checked_) || several;
  if (suspect) {
    Status status = gap_check_(asked_.key, asked_.after, &answer->gap, &answer->exists, &woken_);
    if (!status.ok()) {
      SetConnection(nullptr);
      return status;
    }
  } else if (asked_.after == EntryId{}) {
    answer->exists = answer->batch != nullptr;
  }
  checked_ = true;
  if (!complete && !answer->gap) return {};
  if (!complete) SetConnection(nullptr);  // the server still holds the blocking read
  pending_ = false;
  return {};
}

// A read that waits by itself hears only the end of its connection. That is the price of a wake,
// which is rare, for every event's arrival.
void RedisTail::Wake() noexcept {
  std::lock_guard lock(connection_mutex_);
  woken_ = true;
  if (connection_ != nullptr) connection_->Shutdown();
  eventfd_write(wake_fd_, 1);
}

void RedisTail::Close() noexcept {
  closed_ = true;
  Wake();
}

bool RedisTail::TakeWake() {
  std::lock_guard lock(connection_mutex_);
  if (!woken_) return false;
  woken_ = false;
  connection_.reset();
  next_.reset();
  eventfd_t count = 0;
  eventfd_read(wake_fd_, &count);
  return true;
}

void RedisTail::SetConnection(std::unique_ptr<Connection> connection) {
  std::lock_guard lock(connection_mutex_);
  connection_ = std::move(connection);
}

}  // namespace agx::redis
