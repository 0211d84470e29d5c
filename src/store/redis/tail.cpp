#include "store/redis/tail.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace agx::redis {
namespace {

// How long the server holds a blocking read. A connection that is silent for longer is lost.
constexpr int64_t kBlockMs = 5000;

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
  key_ = key;
  after_ = after;
  count_ = count;
  follow_ = follow;
  pending_ = true;
  // If it cannot be sent, Await goes on from there.
  if (connection_ != nullptr && !Send().ok()) SetConnection(nullptr);
  return {};
}

Status RedisTail::Send() {
  Commands commands;
  bool from_start = after_ == EntryId{};
  if (follow_) {
    // From the beginning there is no entry to look at, but the same number of replies makes it one
    // case.
    commands.Add("XRANGE", key_, after_, after_, "COUNT", int64_t{1});
    commands.Add("XREAD", "COUNT", static_cast<int64_t>(count_), "BLOCK", kBlockMs, "STREAMS", key_,
                 after_);
  } else if (from_start) {
    commands.Add("XRANGE", key_, "-", "+", "COUNT", static_cast<int64_t>(count_));
  } else {
    commands.Add("XRANGE", key_, after_, "+", "COUNT", static_cast<int64_t>(count_ + 1));
  }
  sink_->Start(after_, count_, follow_);
  begun_ = checked_ = waited_ = false;
  answer_by_ = DeadlineAfter(config_.command_timeout_ms + (follow_ ? kBlockMs : 0));
  size_t sent = 0;
  return connection_->Send(commands.bytes(), &sent);
}

Status RedisTail::Await(TimePoint deadline, int alert, ReadRequest* answer, Outcome* outcome) {
  for (;;) {
    Status status;
    if (closed_) return {AGX_ECLOSED, "the client is closed"};
    if (connection_ == nullptr) {
      Result<std::unique_ptr<Connection>> opened = dialer_.Dial();
      status = opened.status();
      if (opened.ok()) {
        SetConnection(std::move(*opened));
        status = Send();
      }
    }
    if (status.ok()) status = AwaitReplies(deadline, alert, outcome);
    if (TakeWake()) {
      if (closed_) continue;
      *outcome = Outcome::kWoken;
      return {};
    }
    if (status.ok() && *outcome != Outcome::kDone) return status;
    if (status.ok() && !sink_->error().empty()) {
      status = ServerError(sink_->error(), Cat("reading ", key_));
    }
    if (status.ok()) {
      backoff_.reset();
      status = Answer(answer);
      if (!status.ok() || !pending_) return status;
      continue;
    }
    status = Recover(status, deadline, alert, outcome);
    if (!status.ok() || *outcome != Outcome::kDone) return status;
  }
}

// After a failure: OK and kDone if it is to be tried again now.
Status RedisTail::Recover(const Status& why, TimePoint deadline, int alert, Outcome* outcome) {
  SetConnection(nullptr);
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
Status RedisTail::AwaitReplies(TimePoint deadline, int alert, Outcome* outcome) {
  size_t expected = follow_ ? 2 : 1;
  *outcome = Outcome::kDone;
  while (sink_->replies() < expected) {
    if (follow_ && sink_->replies() == 1 && !sink_->cursor_seen() && !checked_) return {};
    if (!begun_) sink_->BeginReply(sink_->replies());
    begun_ = true;
    Parser::Outcome parsed = connection_->Parse(sink_.get());
    if (parsed == Parser::Outcome::kBroken) return connection_->Broken(*sink_);
    if (parsed == Parser::Outcome::kComplete) {
      sink_->EndReply();
      begun_ = false;
      continue;
    }
    waited_ = sink_->replies() == 1;
    Status status;
    switch (connection_->Receive(std::min(deadline, answer_by_), alert, &status)) {
      case Connection::Received::kData:
        break;
      case Connection::Received::kBroken:
        return status;
      case Connection::Received::kWoken:
        *outcome = Outcome::kWoken;
        return {};
      case Connection::Received::kTimeout:
        if (Clock::now() >= answer_by_) {
          return {AGX_ETIMEOUT, Cat(Describe(config_), " is silent")};
        }
        *outcome = Outcome::kTimeout;
        return {};
    }
  }
  return {};
}

// Sets the answer and pending_ = false, unless a follow turns out to be in order and still has to
// wait.
Status RedisTail::Answer(ReadRequest* answer) {
  bool complete = sink_->replies() == (follow_ ? 2 : 1);
  answer->gap = false;
  answer->exists = true;
  answer->batch = complete ? sink_->Take() : nullptr;
  // One command adds one entry and so ends a blocked read; several at once come from a transaction
  // or a script, which may have trimmed as well. Or the server had a long answer and sent it piece by
  // piece. Before the first entry there is none that could show a gap.
  bool several =
      waited_ && after_ != EntryId{} && answer->batch != nullptr && answer->batch->size() > 1;
  bool suspect = (!sink_->cursor_seen() && !checked_) || several;
  if (suspect) {
    Status status = gap_check_(key_, after_, &answer->gap, &answer->exists, &woken_);
    if (!status.ok()) {
      SetConnection(nullptr);
      return status;
    }
  } else if (after_ == EntryId{}) {
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
  eventfd_t count = 0;
  eventfd_read(wake_fd_, &count);
  return true;
}

void RedisTail::SetConnection(std::unique_ptr<Connection> connection) {
  std::lock_guard lock(connection_mutex_);
  connection_ = std::move(connection);
}

}  // namespace agx::redis
