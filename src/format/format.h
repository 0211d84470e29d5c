// How one agent framework writes an event on the wire: pure functions between the fields of an entry
// and an event. One file for each framework; everything above this asks a Format and knows no field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "store/entry.h"
#include "store/store.h"

namespace agx {

// An event to be written; what agx_add takes, checked. body.data() is null if there is none; type and
// origin are empty only in a copy of what has none.
struct NewEvent {
  std::string_view type;
  std::string_view origin;
  std::string_view body;
};

// What an entry says of itself besides, in formats that have room for it.
struct Stamp {
  int64_t now_ms = 0;     // since 1970
  uint64_t sequence = 0;  // from 0 in each run
  int dialect = 0;        // the stream's, where the format has several; 0: nothing tells
};

// The fields of an entry to be written. They point at the caller's texts, or at `texts`.
struct EventFields {
  static constexpr size_t kMost = 5;

  Field fields[kMost];
  size_t count = 0;
  std::unique_ptr<char[]> texts;

  void Add(std::string_view name, std::string_view value) { fields[count++] = {name, value}; }
  // A value of the format's own making; once for each entry. Throws bad_alloc.
  std::string_view Keep(std::string_view text);

  // Points into this.
  NewEntry entry() const { return {fields, count}; }
};

class Format {
 public:
  struct Traits {
    const char* name;  // of the option `format`
    // Streams have names, which are no {scope, user, session}.
    bool named = false;
    // A stream is a list of elements, each an entry with one field.
    bool list = false;
    // Can hold whatever a run writes.
    bool holds_runs = false;
    // Starting drops what an earlier run has left. Otherwise a stream is one for good, and neither
    // starting nor stopping changes what it holds, or when it expires.
    bool starts_afresh = false;
    bool has_begin = false;
    // Entries are numbered from 0 in each run.
    bool numbered = false;
    // Its own versions write it in several ways; what a stream holds says which its readers know.
    bool has_dialects = false;
    // Its own programs write NaN and Infinity, as Python's json does.
    bool python_json = false;
    int64_t max_length = 0;       // by default
    int64_t entry_expire_ms = 0;  // > 0: the stream expires so long after each entry, by default
  };

  const Traits& traits() const { return traits_; }
  std::string_view name() const { return traits_.name; }

  bool has_begin() const { return traits_.has_begin; }
  // Its other producers keep a live flag as well, so that one without has gone.
  bool all_keep_flags() const { return !traits_.named; }

  // The key of the stream of that name, by default the name itself. prefix: "" is the default, where
  // the format has any.
  virtual Result<std::string> Key(std::string_view prefix, std::string_view name) const;

  // Where what is added is published as well; "": nowhere.
  virtual std::string Channel(std::string_view prefix, std::string_view name) const;

  // Sets what an entry says as an event: type, origin and body, whether it begins or ends a run, and
  // if it cannot be read, why. Whatever is in the fields: what is missing is "", a body "{}". Throws
  // bad_alloc, and can be called again.
  virtual void Read(Entry* entry) const = 0;

  // AGX_EUNSUPPORTED if the format cannot hold the event; the message says what it can.
  virtual Status Write(const NewEvent& event, const Stamp& stamp, EventFields* fields) const = 0;
  // What goes before a run's events and after them; no fields if there is no such entry.
  virtual void WriteBegin(std::string_view session_id, std::string_view origin, const Stamp& stamp,
                          EventFields* fields) const;
  virtual void WriteEnd(std::string_view origin, const Stamp& stamp, EventFields* fields) const;
  // What says of a last entry that the run has ended: one of these fields, a value of "" being any
  // but an empty one.
  virtual std::span<const Field> end_marks() const { return {}; }
  // The number of an entry, if it tells one.
  virtual bool ReadSequence(const Entry& /*entry*/, uint64_t* /*sequence*/) const { return false; }
  // How an entry is written; 0 if it does not tell.
  virtual int Dialect(const Entry& /*entry*/) const { return 0; }

 protected:
  constexpr explicit Format(const Traits& traits) : traits_(traits) {}
  ~Format() = default;

 private:
  const Traits traits_;
};

// The first field of that name, or null.
const Field* FindField(const Entry& entry, std::string_view name);

// What an entry has that was a dead letter. It repeats what was: no run begins with it.
inline constexpr std::string_view kReplayed = "replayed_from_dlq";
inline bool IsReplayed(const Entry& entry) { return FindField(entry, kReplayed) != nullptr; }

// A time since 1970 in seconds, as Python prints it: with a point, whatever the locale of the program.
std::string UnixSeconds(int64_t ms);

const Format& AgxFormat();
const Format& OpenAiAgentsFormat();
const Format& AgentFrameworkFormat();
const Format& Ag2Format();

// The format of that name. AGX_EINVAL, with a message that lists those that there are and begins with
// what was asked for, such as "agx_options.format".
Result<const Format*> FindFormat(std::string_view what, std::string_view name);

}  // namespace agx
