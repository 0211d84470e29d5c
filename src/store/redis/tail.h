// A connection lent to one listener that has a thread waiting: the next entries are asked for
// before those at hand are used up, and blocking XREAD saves the round trip that a bell costs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/config.h"
#include "store/redis/connection.h"
#include "store/store.h"

namespace agx::redis {

class RedisTail final : public Tail {
 public:
  // Says whether entries after `after` may have been dropped, now that its own entry is not there. stop:
  // as in ReadRequest.
  using GapCheck = std::function<Status(std::string_view key, EntryId after, bool* gap,
                                        bool* exists, const StopFlag* stop)>;

  // `released` is called when the tail is destroyed. wake_fd is an eventfd, owned from here on.
  RedisTail(Dialer& dialer, const Log& log, GapCheck gap_check, int wake_fd,
            std::function<void(RedisTail*)> released);
  ~RedisTail() override;

  Status Request(std::string_view key, EntryId after, size_t count, bool follow) override;
  bool pending() const override { return pending_; }
  Status Await(TimePoint deadline, int alert, const Foresee& foresee, ReadRequest* answer,
               Outcome* outcome) override;
  void FailAtOnce() noexcept override { fails_at_once_ = true; }
  void Wake() noexcept override;
  // Makes Await return AGX_ECLOSED, now and later.
  void Close() noexcept;

 private:
  class ReplySink;

  struct Asked {
    std::string key;
    EntryId after;
    size_t count = 0;
    bool follow = false;
    TimePoint answer_by = kNever;
    bool sent = false;
    bool awaited = false;
  };

  bool TakeWake();
  void SetConnection(std::unique_ptr<Connection> connection);
  Status Send(Asked* asked);
  TimePoint AnswerBy(const Asked& asked) const;
  void ExpectReplies();
  Status Recover(const Status& why, TimePoint deadline, int alert, Outcome* outcome);
  Status AwaitReplies(TimePoint deadline, int alert, const Foresee& foresee, Outcome* outcome);
  bool Scan(const Foresee& foresee);
  void AskAhead(const Page& page, const Foresee& foresee);
  void GoOn(const ReadRequest& answer, const Foresee& foresee);
  Status Answer(ReadRequest* answer);

  Dialer& dialer_;
  const Config& config_;
  const Log& log_;
  const GapCheck gap_check_;
  const int wake_fd_;
  const std::function<void(RedisTail*)> released_;

  std::mutex connection_mutex_;  // for Wake, which is another thread's
  StopFlag woken_{false};
  std::atomic<bool> closed_{false};
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<ReplySink> sink_;
  std::optional<Backoff> backoff_;

  Asked asked_;
  std::optional<Asked> next_;  // was asked for while the answer to asked_ lies here
  bool pending_ = false;
  bool fails_at_once_ = false;
  bool begun_ = false;     // a reply is half parsed
  EntriesScan scan_;       // over a reply that is not begun
  size_t scanned_ = 0;     // so much of it
  bool scans_ = false;     // it is gone over before it is parsed
  bool foreseen_ = false;  // what comes next has been asked about
  bool checked_ = false;   // the cursor's entry is not there, but that is no gap
  bool waited_ = false;    // the second reply did not come with the first
};

}  // namespace agx::redis
