// What becomes of the replies to adds and reads while they are parsed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "store/redis/resp.h"
#include "store/store.h"

namespace agx::redis {

// The ids of XADD replies.
class IdsSink final : public Sink {
 public:
  IdsSink() = default;
  // Of elements, instead of ids, for each the length of the list that it was added to.
  IdsSink(EntryId* ids, size_t first, const Target& target)
      : ids_(ids), first_(first), elements_(target.list), existing_(target.existing) {}

  // How many are stored, from the first to the one before the first error.
  size_t stored() const { return stored_; }
  // One after the first error is stored.
  bool stored_later() const { return stored_later_; }
  std::string_view error() const { return error_; }
  // Instead of an error: there is no stream.
  bool absent() const { return absent_; }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    if (index != 0) return;
    stored_ = 0;
    stored_later_ = absent_ = false;
    error_.clear();
  }
  bool String(const redisReadTask& task, std::string_view text) override {
    EntryId id;
    return !elements_ && Depth(task) == 0 && ParseEntryId(text, &id) && Store(id);
  }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& task, int64_t number) override {
    if (!elements_ || Depth(task) != 0) return false;
    if (number == 0) return Absent();
    return number > 0 && Store({static_cast<uint64_t>(number), 0});
  }
  bool Nil(const redisReadTask& task) override {
    return !elements_ && Depth(task) == 0 && Absent();
  }
  void Error(std::string_view text) override {
    if (!failed()) error_ = text;
  }

 private:
  bool failed() const { return absent_ || !error_.empty(); }
  bool Absent() {
    absent_ = error_.empty();
    return existing_;
  }
  bool Store(EntryId id) {
    if (failed()) {
      stored_later_ = true;
      return true;
    }
    if (ids_ != nullptr) ids_[first_ + index()] = id;
    ++stored_;
    return true;
  }

  EntryId* ids_ = nullptr;
  size_t first_ = 0;
  bool elements_ = false;
  bool existing_ = false;
  size_t stored_ = 0;
  bool stored_later_ = false;
  bool absent_ = false;
  std::string error_;
};

// For each request the entries of an XRANGE or the elements of an LRANGE; if its live flag is wanted,
// a PTTL; and if the last entry is, an XREVRANGE.
class ReadSink final : public Sink {
 public:
  explicit ReadSink(std::span<ReadRequest> requests) : requests_(requests) {}

  std::string_view error() const { return error_; }
  // Whose cursor's entry is not there.
  const std::vector<ReadRequest*>& suspects() const { return suspects_; }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    if (index == 0) {
      at_ = 0;
      part_ = Part::kEntries;
      suspects_.clear();
      error_.clear();
    }
    ReadRequest& request = requests_[at_];
    if (part_ == Part::kLast) builder_.Begin({}, 1);
    if (part_ != Part::kEntries) return;
    if (request.list) {
      elements_.Begin(request.after, request.count + 1);
    } else {
      builder_.Begin(request.after, request.count + 1);
    }
    request.status = Status();
  }
  ListBuilder* List() override {
    if (part_ == Part::kFlag) return nullptr;
    bool elements = part_ == Part::kEntries && requests_[at_].list;
    return elements ? static_cast<ListBuilder*>(&elements_) : &builder_;
  }
  bool String(const redisReadTask& /*task*/, std::string_view /*text*/) override { return false; }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& task, int64_t number) override {
    if (part_ != Part::kFlag || Depth(task) != 0) return false;
    requests_[at_].live = {number != -2, number};
    return true;
  }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view text) override {
    if (text.starts_with("LOADING")) {
      error_ = text;
      return;
    }
    ReadRequest& request = requests_[at_];
    request.status =
        ServerError(text, Cat("reading ", part_ == Part::kFlag ? request.live_key : request.key));
  }
  void EndReply() override {
    ReadRequest& request = requests_[at_];
    if (part_ == Part::kLast) request.last = builder_.Take();
    if (part_ == Part::kEntries) {
      request.batch = request.list ? elements_.Take() : builder_.Take();
      request.gap = false;
      bool resumes = request.after != EntryId{};
      bool seen = request.list ? resumes && elements_.verified() : builder_.skipped();
      request.exists = seen || request.batch != nullptr;
      bool suspect = !seen && resumes && request.status.ok();
      if (suspect) suspects_.push_back(&request);
    }
    if (part_ == Part::kEntries && !request.live_key.empty()) {
      part_ = Part::kFlag;
    } else if (part_ != Part::kLast && request.want_last) {
      part_ = Part::kLast;
    } else {
      part_ = Part::kEntries;
      ++at_;
    }
  }

 private:
  enum class Part { kEntries, kFlag, kLast };

  std::span<ReadRequest> requests_;
  size_t at_ = 0;
  Part part_ = Part::kEntries;
  EntriesBuilder builder_;
  ElementsBuilder elements_;
  std::vector<ReadRequest*> suspects_;
  std::string error_;
};

// The elements of one LRANGE.
class ElementsSink final : public Sink {
 public:
  ElementsSink(uint64_t before_first, size_t most) : before_first_(before_first), most_(most) {}

  std::string_view error() const { return error_; }
  BatchPtr Take() { return builder_.Take(); }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    error_.clear();
    builder_.BeginAt(before_first_, most_);
  }
  ListBuilder* List() override { return &builder_; }
  bool String(const redisReadTask& /*task*/, std::string_view /*text*/) override { return false; }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return false; }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view text) override { error_ = text; }

 private:
  const uint64_t before_first_;
  const size_t most_;
  std::string error_;
  ElementsBuilder builder_;
};

// The entries of one XRANGE or XREVRANGE.
class RangeSink final : public Sink {
 public:
  explicit RangeSink(size_t most) : most_(most) {}

  std::string_view error() const { return error_; }
  BatchPtr Take() { return builder_.Take(); }

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    error_.clear();
    builder_.Begin({}, most_);
  }
  ListBuilder* List() override { return &builder_; }
  bool String(const redisReadTask& /*task*/, std::string_view /*text*/) override { return false; }
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return false; }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view text) override { error_ = text; }

 private:
  size_t most_;
  std::string error_;
  EntriesBuilder builder_;
};

}  // namespace agx::redis
