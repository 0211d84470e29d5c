// The parts of replies that are lists, taken apart as they come: entries and elements of streams, and
// small trees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agx.h"
#include "store/entry.h"

namespace agx::redis {

// Longer than any text, and than all of an entry's, that libagx can have written: a server that
// sends more is broken, or would have it fill its memory.
inline constexpr size_t kMostText = kMostEntry;
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
  // Of an element of a list, which may be too long.
  uint64_t element_hash() const { return long_hash != 0 ? long_hash : HashElement(text); }
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

// Goes over the reply to an XRANGE as it arrives, to know its end before it is taken apart.
class EntriesScan {
 public:
  using Outcome = ListBuilder::Outcome;

  // Of at most so many entries.
  explicit EntriesScan(size_t most = 0) : most_(most) {}

  // *at moves behind what was gone over. Neither complete nor incomplete: it is another reply, or none,
  // and what is wrong the builder says.
  Outcome Scan(const char** at, const char* end);

  // Of a complete one.
  size_t size() const { return size_; }
  EntryId first() const { return first_; }  // {0,0} if there is none
  EntryId last() const { return last_; }

 private:
  Outcome EntryHead(const char** at, const char* end);

  size_t most_;
  bool begun_ = false;
  size_t size_ = 0;
  size_t entries_left_ = 0;
  size_t texts_left_ = 0;  // of the entry's fields
  size_t passing_ = 0;     // so many bytes of a text
  EntryId first_;
  EntryId last_;
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

}  // namespace agx::redis
