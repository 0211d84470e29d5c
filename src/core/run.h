// One execution of an agent inside a session: what its model says becomes the session's events, and
// the session ends once, whatever happens.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "agx.h"
#include "base/clock.h"
#include "base/status.h"
#include "core/keeper.h"
#include "core/outbox.h"
#include "core/session.h"
#include "format/agx_format.h"
#include "model/feed.h"
#include "model/response.h"

namespace agx {

class Run final : public SessionObserver,
                  public Keeper::Task,
                  private PartSink,
                  public std::enable_shared_from_this<Run> {
 public:
  // options.start is set, and of this library's size.
  static Result<std::shared_ptr<Run>> Begin(std::shared_ptr<Session> session,
                                            const agx_run_options& options);
  ~Run();

  Status NodeBegin();
  Status ToolReturn(std::string_view name, std::string_view id, std::string_view content);
  Status PartBegin(agx_part_kind kind, std::string_view content, int* part);
  Status ToolCallBegin(std::string_view name, std::string_view id, std::string_view args,
                       int* part);
  Status PartDelta(int part, std::string_view delta);
  Status PartEnd(int part);
  Status Answer();
  // *response is the run's until the next node begins; both may be null.
  Status NodeEnd(const char** response, size_t* length);
  Status Feed(agx_model_api api, std::string_view bytes);
  Status FeedEnd(const char** response, size_t* length);
  Status Flush();
  Status Finish();
  Status Fail(std::string_view message);
  void Close() noexcept;

  // What happens in a run from its beginning to its end.
  struct Steps {
    std::function<Status()> load;   // the conversation
    std::function<Status()> agent;  // may throw
    std::function<Status()> save;
  };
  Status Execute(const Steps& steps);

  // The keeper's thread: the session was cancelled or taken over; a coalescing window is over.
  void Interrupted() noexcept override { Attend(); }
  void Due() noexcept override;
  // This thread is in a call of the run: an interceptor is being called.
  bool InTurn() const { return owner_ == std::this_thread::get_id(); }

 private:
  enum class State : uint8_t {
    kOpen,
    kEnded,     // by Finish
    kFailed,    // by Fail
    kCanceled,  // and all is written
    kTakenOver
  };
  class Turn;

  Run(std::shared_ptr<Session> session, const agx_run_options& options);

  // Each under the lock.
  Status CheckOpen();
  Status CheckNode();
  Status CheckParts();
  Status Locate(int* part) const;
  void OpenNode();
  void CloseNode();
  Status GiveResponse(const char** response, size_t* length) const;
  Status End(State state, std::string_view error);
  Status EndAs(State state, std::string_view error);
  Status EndInterrupted();
  void EndClosed() noexcept;
  void Settle();
  void WakeAt(TimePoint when);
  void Attend() noexcept;
  void AttendLocked() noexcept;

  // Events wait in the outbox; the growth of a part, before that, in growth_.
  std::string* NewEvent();
  void FlushGrowth();
  bool WindowIsOver() const;
  Status Write();
  Status Send();

  void PartBegan(int part, agx_part_kind kind, std::string_view content) override;
  void PartGrew(int part, agx_part_kind kind, std::string_view delta) override;
  void ToolCallEnded(int part, std::string_view name, std::string_view id,
                     std::string_view args) override;
  void Answered() override;

  const std::shared_ptr<Session> session_;
  const std::string error_origin_;
  const Millis window_;
  const size_t window_bytes_;
  const int64_t grace_ms_;

  // One call at a time. What the keeper wants, and finds busy, the call does when it leaves.
  std::mutex mutex_;
  std::atomic<std::thread::id> owner_{};
  std::atomic<bool> attention_{false};
  std::atomic<bool> woken_{false};  // by the keeper, at the time that it was asked for

  State state_ = State::kOpen;
  TimePoint wake_at_ = kNever;     // the keeper was asked for
  State wanted_ = State::kFailed;  // how it was to end when that failed
  std::string wanted_error_;       // "" with kFailed: nothing was wanted yet
  bool closed_ = false;            // nobody but the keeper has it any more
  int node_ = -1;
  bool node_open_ = false;
  bool tool_returns_allowed_ = false;
  Response response_{this};
  std::string response_json_;
  std::optional<agx::Feed> feed_;

  Outbox outbox_;
  int growing_ = -1;  // the part whose growth is held back; -1: none
  agx_part_kind growing_kind_ = AGX_PART_TEXT;
  std::string growth_;
  TimePoint growth_due_;
};

// With what a caller of the C ABI gave as options, or null.
Result<std::shared_ptr<Run>> BeginRun(Session& session, const agx_run_options* options);

}  // namespace agx
