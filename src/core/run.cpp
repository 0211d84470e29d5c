#include "core/run.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/json.h"
#include "base/options.h"
#include "format/run_events.h"

namespace agx {
namespace {

constexpr std::string_view kOrigin = "pydantic-ai";
constexpr std::string_view kBeginOrigin = "opale";
constexpr int64_t kWindowBytes = 16384;
// After a failure to end what was cancelled.
constexpr Millis kRetry{1000};
// Escaped, it has to fit into a body.
constexpr size_t kGrowthMax = AGX_BODY_MAX / 6;

Status Canceled() { return {AGX_CANCELED, "the session was cancelled; the run has ended"}; }

Status TakenOver() {
  return {AGX_TAKEN_OVER, "another producer has taken the session over; the run has ended"};
}

}  // namespace

Result<std::shared_ptr<Run>> BeginRun(Session& session, const agx_run_options* options) {
  const agx_run_options defaults = AGX_RUN_OPTIONS_INIT;
  const agx_start_options start_defaults = AGX_START_OPTIONS_INIT;
  agx_run_options read = defaults;
  agx_start_options start = start_defaults;
  if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
  if (Status status = ReadOptions(read.start, start_defaults, &start); !status.ok()) return status;
  read.start = &start;
  return Run::Begin(session.shared_from_this(), read);
}

// A call's time with the run. What the keeper wanted meanwhile is done when it leaves.
class Run::Turn {
 public:
  explicit Turn(Run* run) : run_(run) {
    run_->mutex_.lock();
    run_->owner_ = std::this_thread::get_id();
  }
  ~Turn() {
    run_->owner_ = std::thread::id();
    run_->mutex_.unlock();
    if (run_->attention_) run_->Attend();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Run* const run_;
};

Run::Run(std::shared_ptr<Session> session, const agx_run_options& options)
    : session_(std::move(session)),
      error_origin_(
          ErrorOrigin(options.start->origin != nullptr ? options.start->origin : kBeginOrigin)),
      window_(std::max<int64_t>(options.coalesce_ms, 0)),
      window_bytes_(
          static_cast<size_t>(options.coalesce_bytes != 0 ? options.coalesce_bytes : kWindowBytes)),
      grace_ms_(options.grace_ms),
      outbox_(session_.get(), options.origin != nullptr ? options.origin : kOrigin,
              options.start->take_over == 0 && session_->format().traits().starts_afresh) {}

Run::~Run() = default;

// --- Beginning and ending

Result<std::shared_ptr<Run>> Run::Begin(std::shared_ptr<Session> session,
                                        const agx_run_options& options) {
  const agx_start_options& start = *options.start;
  if (start.detached != 0) {
    return Status(AGX_EINVAL, "a run cannot be detached: nobody would notice a cancel");
  }
  if (!session->format().traits().holds_runs) {
    return Status(AGX_EUNSUPPORTED, Cat("the format ", session->format().name(),
                                        " cannot hold a run's events: add them with agx_add"));
  }
  if (options.origin != nullptr) {
    if (Status status = CheckName("origin", options.origin); !status.ok()) return status;
  }
  if (options.coalesce_ms < 0 || options.coalesce_ms > 60000) {
    return Status(AGX_EINVAL, "the option coalesce_ms is to be 0 to 60000");
  }
  if (options.coalesce_bytes < 0 || options.coalesce_bytes > AGX_BODY_MAX / 8) {
    return Status(AGX_EINVAL, Cat("the option coalesce_bytes is to be 0 to ", AGX_BODY_MAX / 8));
  }
  std::shared_ptr<Run> run(new Run(std::move(session), options));
  Session& object = *run->session_;
  Turn turn(run.get());  // what the keeper still has to say is of an earlier start
  if (Status status = object.Observe(run, true); !status.ok()) return status;
  if (Status status = object.Start(start); !status.ok()) {
    run->state_ = State::kEnded;
    object.StopObserving(run.get());
    return status;
  }
  return run;
}

Status Run::CheckOpen() {
  if (state_ == State::kOpen && session_->IsCanceled()) {
    Status ended = EndInterrupted();
    if (!ended.ok()) return session_->taken_over() ? TakenOver() : Canceled();
  }
  switch (state_) {
    case State::kOpen:
      // What waits has its bound.
      return outbox_.bytes() > AGX_BODY_MAX ? outbox_.Send() : Status();
    case State::kCanceled:
      return Canceled();
    case State::kTakenOver:
      return TakenOver();
    case State::kEnded:
    case State::kFailed:
      return {AGX_ESTATE, "the run has ended"};
  }
  return {};
}

// Ends the session, with `error` before `end` if there is one. What is open is closed, and what
// waits is written, in the same step; only of a long backlog the most goes before it.
Status Run::EndAs(State state, std::string_view error) {
  if (Status status = outbox_.PrepareStop(); !status.ok()) return status;
  Settle();
  if (Status status = outbox_.PrepareStop(); !status.ok()) return status;
  const agx::NewEvent last{"error", error_origin_, error};
  Status status =
      outbox_.Stop(error.empty() ? nullptr : &last, grace_ms_, state == State::kCanceled);
  if (status.code() == AGX_TAKEN_OVER) {
    state = State::kTakenOver;
  } else if (status.code() == AGX_NOT_LIVE) {
    // The store has lost the session; there is nothing left to end.
  } else if (!status.ok()) {
    return status;
  }
  state_ = state;
  outbox_.Clear();
  return status;
}

// The session was cancelled or taken over.
Status Run::EndInterrupted() {
  if (session_->taken_over()) {
    state_ = State::kTakenOver;
    outbox_.Clear();
    return {};
  }
  Status status = EndAs(State::kCanceled, CanceledBody());
  if (state_ != State::kOpen) return {};
  try {
    WakeAt(Clock::now() + kRetry);
  } catch (const std::bad_alloc&) {
    // The next call tries again.
  }
  return status;
}

// As it was to end before, if it was. Until then the keeper has it.
void Run::EndClosed() noexcept {
  try {
    if (wanted_ == State::kFailed && wanted_error_.empty()) {
      wanted_error_ = CrashedBody("the run was abandoned");
    }
    if (!session_->IsCanceled()) (void)EndAs(wanted_, wanted_error_);
    if (state_ == State::kOpen && session_->IsCanceled()) (void)EndInterrupted();
  } catch (const std::bad_alloc&) {
    // As if the store could not be reached.
  }
  try {
    if (state_ == State::kOpen) WakeAt(Clock::now() + kRetry);
  } catch (const std::bad_alloc&) {
    state_ = State::kEnded;  // nobody will come by again
  }
  if (state_ != State::kOpen) session_->StopObserving(this);
}

// Closes what is open, so that a listener sees no half of anything. What this adds stays if the
// store cannot be reached, and is not added twice.
void Run::Settle() {
  if (!node_open_) return;
  feed_.reset();
  response_.EndAll();
  CloseNode();
}

Status Run::End(State state, std::string_view error) {
  Turn turn(this);
  if (Status status = CheckOpen(); !status.ok()) return status;
  wanted_error_ = error;
  wanted_ = state;
  Status status = EndAs(state, error);
  // Somebody was quicker.
  if (status.code() == AGX_CANCELED && state_ == State::kOpen) return CheckOpen();
  return status;
}

Status Run::Finish() { return End(State::kEnded, {}); }

Status Run::Fail(std::string_view message) { return End(State::kFailed, CrashedBody(message)); }

Status Run::Execute(const Steps& steps) {
  Status status = steps.load();
  if (!status.ok()) {
    (void)Fail(Cat("loading the conversation: ", status.message()));
    return status;
  }
  try {
    status = steps.agent();
  } catch (const std::exception& error) {
    status = {AGX_EFAILED, error.what()};
  } catch (...) {
    status = {AGX_EFAILED, "an exception of an unknown kind"};
  }
  State state;
  {
    Turn turn(this);
    Status open = CheckOpen();
    if (open.code() == AGX_CANCELED || open.code() == AGX_TAKEN_OVER) return open;
    state = state_;
  }
  if (state == State::kFailed) {
    if (status.ok()) return {AGX_EFAILED, "the agent said that it failed"};
    return status;
  }
  if (status.code() == AGX_CANCELED) {
    (void)End(State::kCanceled, CanceledBody());
    return status;
  }
  if (!status.ok()) {
    Status failed = Fail(status.message());
    return failed.code() == AGX_CANCELED || failed.code() == AGX_TAKEN_OVER ? failed : status;
  }
  if (status = steps.save(); !status.ok()) {
    (void)Fail(Cat("saving the conversation: ", status.message()));
    return status;
  }
  return state == State::kEnded ? Status() : Finish();
}

void Run::Close() noexcept {
  Turn turn(this);
  closed_ = true;
  wake_at_ = kNever;  // from now on the keeper is to keep it
  if (state_ == State::kOpen) return EndClosed();
  session_->StopObserving(this);
}

// At that time, or earlier, if the keeper has been asked already.
void Run::WakeAt(TimePoint when) {
  if (when >= wake_at_) return;
  std::shared_ptr<Run> kept;
  if (closed_) kept = shared_from_this();
  session_->client()->keeper().RunAt(when, weak_from_this(), std::move(kept));
  wake_at_ = when;
}

void Run::Due() noexcept {
  woken_ = true;
  Attend();
}

// The keeper's wishes, once nobody is in a call; whoever is does it in leaving.
void Run::Attend() noexcept {
  attention_ = true;
  if (InTurn()) return;  // from within an interceptor
  while (attention_ && mutex_.try_lock()) {
    owner_ = std::this_thread::get_id();
    attention_ = false;
    AttendLocked();
    owner_ = std::thread::id();
    mutex_.unlock();
  }
}

void Run::AttendLocked() noexcept try {
  if (woken_.exchange(false)) wake_at_ = kNever;
  if (state_ != State::kOpen) return;
  if (closed_) {
    EndClosed();
  } else if (session_->IsCanceled()) {
    (void)EndInterrupted();
  } else if (growing_ >= 0 && WindowIsOver()) {
    FlushGrowth();
    (void)outbox_.Send();  // the next call tells, if it fails as well; and what was refused
  } else if (growing_ >= 0) {
    WakeAt(growth_due_);
  }
} catch (const std::bad_alloc&) {
  // The next call does it.
}

// --- Nodes and parts

void Run::OpenNode() {
  AppendNodeBegin(node_ + 1, NewEvent());
  outbox_.Commit();
  ++node_;
  node_open_ = true;
  tool_returns_allowed_ = true;
  response_.Reset();
  response_json_.clear();
}

void Run::CloseNode() {
  std::string json = response_.Json();
  AppendNodeEnd(node_, NewEvent());
  outbox_.Commit();
  response_json_.swap(json);
  node_open_ = false;
}

Status Run::CheckNode() {
  if (Status status = CheckOpen(); !status.ok()) return status;
  if (!node_open_) return {AGX_ESTATE, "no node is open: call agx_run_node_begin first"};
  return {};
}

Status Run::CheckParts() {
  if (Status status = CheckNode(); !status.ok()) return status;
  if (feed_) return {AGX_ESTATE, "the node is being fed: call agx_run_feed_end first"};
  return {};
}

Status Run::NodeBegin() {
  Turn turn(this);
  if (Status status = CheckOpen(); !status.ok()) return status;
  if (node_open_) return {AGX_ESTATE, "a node is open already: call agx_run_node_end first"};
  OpenNode();
  return Write();
}

Status Run::ToolReturn(std::string_view name, std::string_view id, std::string_view content) {
  Turn turn(this);
  if (Status status = CheckNode(); !status.ok()) return status;
  if (!tool_returns_allowed_) {
    return {AGX_ESTATE, "the response has begun: tool results come right after agx_run_node_begin"};
  }
  if (JsonStringSize(name) + JsonStringSize(id) + content.size() > AGX_BODY_MAX) {
    return {AGX_ETOOBIG, Cat("the tool's return has more than ", AGX_BODY_MAX, " bytes")};
  }
  AppendToolReturn(node_, name, id, content, NewEvent());
  outbox_.Commit();
  return Write();
}

Status Run::PartBegin(agx_part_kind kind, std::string_view content, int* part) {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  if (Status status = response_.CheckRoom(content); !status.ok()) return status;
  tool_returns_allowed_ = false;
  *part = response_.Begin(kind, content);
  return Write();
}

Status Run::ToolCallBegin(std::string_view name, std::string_view id, std::string_view args,
                          int* part) {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  if (Status status = response_.CheckRoom(args, name, id); !status.ok()) return status;
  tool_returns_allowed_ = false;
  *part = response_.BeginToolCall(name, id, args);
  return Write();
}

Status Run::Locate(int* part) const {
  if (*part == AGX_LAST_PART) *part = response_.part_count() - 1;
  if (response_.IsOpen(*part)) return {};
  return {AGX_ESTATE, Cat("part ", *part, " is not open in this node")};
}

Status Run::PartDelta(int part, std::string_view delta) {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  if (Status status = Locate(&part); !status.ok()) return status;
  if (Status status = response_.Grow(part, delta); !status.ok()) return status;
  return Write();
}

Status Run::PartEnd(int part) {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  if (Status status = Locate(&part); !status.ok()) return status;
  response_.End(part);
  return Write();
}

Status Run::Answer() {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  if (response_.part_count() == 0) {
    return {AGX_ESTATE, "there is no part yet that could be the answer"};
  }
  if (response_.answered()) return {AGX_ESTATE, "the answer was recognised already"};
  response_.Answer();
  return Write();
}

Status Run::NodeEnd(const char** response, size_t* length) {
  Turn turn(this);
  if (Status status = CheckParts(); !status.ok()) return status;
  Settle();
  *response = response_json_.c_str();
  *length = response_json_.size();
  return Write();
}

Status Run::Feed(agx_model_api api, std::string_view bytes) {
  Turn turn(this);
  if (Status status = CheckOpen(); !status.ok()) return status;
  if (feed_ && feed_->api() != api) {
    return {AGX_ESTATE, "a stream of another API is being fed: call agx_run_feed_end first"};
  }
  if (!feed_) {
    if (node_open_ && response_.part_count() > 0) {
      return {AGX_ESTATE, "the node's response was begun by hand: end the node first"};
    }
    if (!node_open_) OpenNode();
    tool_returns_allowed_ = false;
    feed_.emplace(api, &response_);
  }
  Status fed = feed_->Take(bytes);
  Status written = Write();
  return fed.ok() ? written : fed;
}

Status Run::FeedEnd(const char** response, size_t* length) {
  Turn turn(this);
  if (Status status = CheckOpen(); !status.ok()) return status;
  if (!feed_) return {AGX_ESTATE, "nothing was fed"};
  Status fed = feed_->Finish();
  Settle();
  *response = response_json_.c_str();
  *length = response_json_.size();
  Status written = Write();
  return fed.ok() ? written : fed;
}

Status Run::Flush() {
  Turn turn(this);
  if (Status status = CheckOpen(); !status.ok()) return status;
  FlushGrowth();
  return Send();
}

void Run::PartBegan(int part, agx_part_kind kind, std::string_view content) {
  AppendPartStart(node_, part, kind, content, NewEvent());
  outbox_.Commit();
}

void Run::PartGrew(int part, agx_part_kind kind, std::string_view delta) {
  if (window_ <= Millis(0)) {
    AppendPartDelta(node_, part, kind, delta, NewEvent());
    outbox_.Commit();
    return;
  }
  if (growing_ != part || growth_.size() + delta.size() > kGrowthMax) {
    FlushGrowth();
    growing_kind_ = kind;
    growth_due_ = Clock::now() + window_;
    WakeAt(growth_due_);
    growing_ = part;
  }
  growth_ += delta;
  if (growth_.size() >= window_bytes_) FlushGrowth();
}

void Run::ToolCallEnded(int part, std::string_view name, std::string_view id,
                        std::string_view args) {
  AppendToolCall(node_, part, name, id, args, NewEvent());
  outbox_.Commit();
}

void Run::Answered() {
  AppendAnswer(node_, NewEvent());
  outbox_.Commit();
}

// --- Writing

// Where the next event's body goes. What a part has grown by comes before it.
std::string* Run::NewEvent() {
  FlushGrowth();
  return outbox_.NewBody();
}

void Run::FlushGrowth() {
  if (growing_ >= 0 && !growth_.empty()) {
    AppendPartDelta(node_, growing_, growing_kind_, growth_, outbox_.NewBody());
    outbox_.Commit();
    growth_.clear();
  }
  growing_ = -1;
}

bool Run::WindowIsOver() const { return Clock::now() >= growth_due_; }

Status Run::Write() {
  if (growing_ >= 0 && WindowIsOver()) FlushGrowth();
  return Send();
}

// A store's error says more than what was refused.
Status Run::Send() {
  Status sent = outbox_.Send();
  Status refused = outbox_.TakeRefusal();
  return sent.ok() ? refused : sent;
}

}  // namespace agx
