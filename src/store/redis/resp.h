// The RESP2 protocol: commands out, replies in. Replies go through hiredis' parser, with objects of
// our own; but for the long ones, lists of entries, which are taken apart here.
#pragma once

#include <hiredis/read.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agx.h"
#include "base/status.h"
#include "store/entry.h"
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

class ListBuilder;

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
  virtual ListBuilder* Entries() { return nullptr; }

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

// Longer than any text, and than all of an entry's, that libagx can have written: a server that
// sends more is broken, or would have it fill its memory.
inline constexpr size_t kMostText = size_t{AGX_BODY_MAX} + size_t{1024} * 1024;
static_assert(kMostText == kMostEntry);
// What other programs write may be longer: up to here, which is as much as a server takes unless it is
// told otherwise, it is passed over where one entry is not to keep the others from being read.
inline constexpr size_t kMostPassedOver = size_t{512} * 1024 * 1024;

// A small reply as a tree.
struct Value {
  enum class Kind { kNil, kString, kInteger, kArray, kError };

  Kind kind = Kind::kNil;
  int64_t integer = 0;
  std::string text;
  std::vector<Value> items;
  // Of a text that is too long to be kept, the hash that an element with it has; otherwise 0.
  uint64_t long_hash = 0;

  bool is_error() const { return kind == Kind::kError; }
};

// Takes in a reply that is a list, as it is sent and as far as it is there.
class ListBuilder {
 public:
  enum class Outcome { kComplete, kIncomplete, kRefused, kTooLong };

  // *at moves behind what was used. Throws bad_alloc.
  virtual Outcome Parse(const char** at, const char* end) = 0;

 protected:
  ~ListBuilder() = default;
};

// A text within a list that is passed over, since it is too long to be kept.
class LongText {
 public:
  // The text that begins at *at is one, and *at moves behind its length.
  bool Begin(const char** at, const char* end);
  bool under_way() const { return left_ > 0; }
  // Takes what is there of it. True if that was all.
  bool Take(const char** at, const char* end);
  uint64_t hash() { return hasher_.Finish(); }

 private:
  size_t left_ = 0;  // with the end of its line
  ElementHasher hasher_;
};

// Builds a Value of a list, without the texts that are too long.
class ValueBuilder final : public ListBuilder {
 public:
  void Begin(Value* root);
  Outcome Parse(const char** at, const char* end) override;

 private:
  struct Open {
    Value* list;
    size_t left;
  };

  Outcome Part(const char** at, const char* end);
  Value* Place();

  Value* root_ = nullptr;
  bool begun_ = false;
  std::vector<Open> open_;
  size_t parts_ = 0;
  size_t text_ = 0;
  LongText long_;
};

class ValueSink final : public Sink {
 public:
  std::vector<Value> replies;
  // The reply whose error is an answer too, unless it will pass.
  size_t may_fail = SIZE_MAX;
  // Texts of lists that are too long to be kept are passed over: see Value::long_hash.
  bool passes_over = false;

  // The first reply that is an error, or "".
  std::string_view error() const;

  void BeginReply(size_t index) override;
  ListBuilder* Entries() override { return passes_over ? &builder_ : nullptr; }
  bool String(const redisReadTask& task, std::string_view text) override;
  bool Array(const redisReadTask& task, size_t size) override;
  bool Integer(const redisReadTask& task, int64_t number) override;
  bool Nil(const redisReadTask& task) override;
  void Error(std::string_view text) override;

 private:
  Value* Place(const redisReadTask& task);

  std::vector<Value*> path_;
  size_t parts_ = 0;
  size_t text_ = 0;
  ValueBuilder builder_;
};

// Builds the entries of an XRANGE reply, or of the list of entries within another, in a batch. One that
// is too large is built without its fields and with a refusal.
class EntriesBuilder final : public ListBuilder {
 public:
  // What the list lies in.
  enum class Within {
    kNothing,
    kStream,     // [[key, entries]] of one stream, or nil
    kScriptsOwn  // where one that is too large comes without fields; for String and Array alone
  };

  // At most so many entries. One with the id `skip` is not built but only noted: the cursor itself.
  void Begin(EntryId skip, size_t most, Within within = Within::kNothing);
  Outcome Parse(const char** at, const char* end) override;
  // The same for a list that another parser takes apart.
  bool String(std::string_view text);
  bool Array(size_t size);

  bool skipped() const { return skipped_; }
  BatchPtr Take() {
    if (batch_ != nullptr) entry_bytes_ = batch_->bytes() / batch_->size() + 1;
    return std::move(batch_);
  }

 private:
  enum class Part { kStreams, kStream, kKey, kList, kEntry, kId, kFields, kField, kNone };

  bool BeginFields(size_t size);
  void EndField() {
    if (--fields_left_ == 0) EndEntry();
  }
  void Refuse();
  void EndEntry() { expected_ = --entries_left_ > 0 ? Part::kEntry : Part::kNone; }

  Part expected_ = Part::kList;
  size_t most_ = 0;
  size_t entries_ = 0;  // in the list
  size_t entries_left_ = 0;
  size_t entry_bytes_ = 0;  // of one in the batch before, on average
  EntryId skip_;
  bool skipped_ = false;
  bool skipping_ = false;  // what is left of the entry
  bool scripts_own_ = false;
  LongText long_;
  EntryId id_;
  char id_text_[42] = {};
  size_t id_length_ = 0;
  size_t fields_left_ = 0;
  size_t text_left_ = 0;
  Entry* entry_ = nullptr;  // null: it is not built
  Field* field_ = nullptr;
  BatchPtr batch_;
};

// Builds entries of an LRANGE reply, from the element after a place on; `after` itself comes first,
// unless that is the beginning.
class ElementsBuilder final : public ListBuilder {
 public:
  void Begin(EntryId after, size_t most);
  Outcome Parse(const char** at, const char* end) override;
  // The same without the element at that place.
  void BeginAt(uint64_t place, size_t most);

  // The element at the place is still the one that it was.
  bool verified() const { return verified_; }
  BatchPtr Take() { return std::move(batch_); }

 private:
  // Null: the text is too long, and that is its hash.
  void Take(const std::string_view* text, uint64_t hash);

  EntryId after_;
  size_t most_ = 0;
  size_t left_ = 0;
  LongText long_;
  uint64_t place_ = 0;
  bool begun_ = false;
  bool looked_ = false;  // at the element of `after`
  bool verified_ = false;
  BatchPtr batch_;
};

// Turns a server's error text into a status; `what` says what was being done, as in "XADD to
// agx:1:2:s".
Status ServerError(std::string_view text, std::string_view what);

// The parser: a buffer for what is received, and hiredis' reader for all but lists of entries. What
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
  // Parses on until a reply is complete.
  Outcome Next(Sink* sink);
  bool HasMore() const;
  // Why it is broken: a sink refused a part, or
  bool refused() const;
  const char* error() const;

 private:
  Outcome AsEntries(Sink* sink);
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
  ListBuilder* entries_ = nullptr;  // takes in a reply that is half here
  bool refused_ = false;
  const char* too_long_ = nullptr;
};

}  // namespace agx::redis
