// The RESP2 protocol: commands out, replies in. Replies go through hiredis' parser, with objects of
// our own; but for lists, which builders take apart (lists.h).
#pragma once

#include <hiredis/read.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agx.h"
#include "base/status.h"
#include "store/entry.h"
#include "store/redis/lists.h"
#include "store/store.h"

namespace agx::redis {

// Commands, one after the other, as they go over the wire.
class Commands {
 public:
  // Announces a command of `args` arguments, which are then added one by one.
  Commands& Begin(size_t args);
  Commands& Arg(std::string_view text, std::string_view rest = {});
  Commands& Arg(int64_t number);
  Commands& Arg(EntryId id);

  // A whole command.
  template <class... Args>
  Commands& Add(const Args&... args) {
    Begin(sizeof...(args));
    (Arg(args), ...);
    return *this;
  }

  const std::string& bytes() const { return bytes_; }
  size_t count() const { return count_; }
  void Reserve(size_t bytes) { bytes_.reserve(bytes); }
  void Clear();

 private:
  void Header(char kind, uint64_t number);

  std::string bytes_;
  size_t count_ = 0;
};

// Receives the parts of replies while they are parsed. `task` says where in the reply a part
// stands. Returns false if a part cannot be there: then the connection is broken off.
class Sink {
 public:
  virtual ~Sink() = default;

  // Before the index-th reply is parsed, and after it is complete. 0 begins anew: an earlier
  // attempt may have failed half way.
  virtual void BeginReply(size_t index) { index_ = index; }
  virtual void EndReply() {}

  // What takes in the reply that has begun, should it be a list: as a whole, and without a call of the
  // functions below for each part. Null: nothing does.
  virtual ListBuilder* List() { return nullptr; }

  virtual bool String(const redisReadTask& task, std::string_view text) = 0;
  virtual bool Array(const redisReadTask& task, size_t size) = 0;
  virtual bool Integer(const redisReadTask& task, int64_t number) = 0;
  virtual bool Nil(const redisReadTask& task) = 0;
  // An error at the top of a reply.
  virtual void Error(std::string_view text) = 0;

  // A part was refused because there was no memory for it.
  bool out_of_memory() const { return out_of_memory_; }
  void set_out_of_memory() { out_of_memory_ = true; }

 protected:
  size_t index() const { return index_; }

 private:
  size_t index_ = 0;
  bool out_of_memory_ = false;
};

// How deep in its reply a part stands; the reply itself is at 0.
int Depth(const redisReadTask& task);

// Texts of lists that are too long to be kept are passed over: see Value::long_hash.
class ValueSink final : public Sink {
 public:
  std::vector<Value> replies;
  // The reply whose error is an answer too, unless it will pass.
  size_t may_fail = SIZE_MAX;

  // The first reply that is an error, or "".
  std::string_view error() const;

  void BeginReply(size_t index) override;
  ListBuilder* List() override { return &builder_; }
  bool String(const redisReadTask& task, std::string_view text) override;
  bool Array(const redisReadTask& /*task*/, size_t /*size*/) override { return false; }
  bool Integer(const redisReadTask& task, int64_t number) override;
  bool Nil(const redisReadTask& task) override { return Depth(task) == 0; }
  void Error(std::string_view text) override;

 private:
  ValueBuilder builder_;
};

// Turns a server's error text into a status; `what` says what was being done, as in "XADD to
// agx:1:2:s".
Status ServerError(std::string_view text, std::string_view what);

// The parser: a buffer for what is received, and hiredis' reader for all but lists. What
// it holds of a reply that is not complete has a bound.
class Parser {
 public:
  enum class Outcome { kComplete, kIncomplete, kBroken };

  Parser();
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  bool valid() const { return reader_ != nullptr; }
  // Where what is received next is to be put, and how much may be; null if there is no memory.
  char* Room(size_t* size);
  void Received(size_t size) { end_ += size; }
  // The same for bytes that lie elsewhere.
  bool Feed(const char* bytes, size_t size);
  // What is received and not parsed yet, if no reply is half parsed.
  std::string_view held() const { return {buffer_ + begin_, end_ - begin_}; }
  // Parses on until a reply is complete.
  Outcome Next(Sink* sink);
  bool HasMore() const;
  // Why it is broken: a sink refused a part, or
  bool refused() const;
  const char* error() const;

 private:
  Outcome AsList(Sink* sink);
  Outcome ByReader(Sink* sink);
  void Use(size_t size);
  const char* TooLong() const;
  void Shrink();

  redisReader* reader_;
  bool large_ = false;  // its buffer
  // What is received and not used lies between begin_ and end_. Between replies the reader has a
  // copy of what comes before fed_, and of nothing else.
  char* buffer_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t fed_ = 0;
  size_t end_ = 0;
  ListBuilder* list_ = nullptr;  // takes in a reply that is half here
  bool refused_ = false;
  const char* too_long_ = nullptr;
};

}  // namespace agx::redis
