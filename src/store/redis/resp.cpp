#include "store/redis/resp.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace agx::redis {
namespace {

constexpr const char* kTooLongText = "a text longer than any event's";

// Buffers larger than this are given back once they are empty; batches of entries stay below it.
constexpr size_t kLarge = size_t{1024} * 1024;

// What hiredis stores as a part's object. It only asks whether there is one.
char part_object;

Sink* SinkOf(const redisReadTask* task) { return static_cast<Sink*>(task->privdata); }

// Whether it is of the protocol's second version, which is all that was asked for.
bool IsResp2(const redisReadTask* task) {
  switch (task->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_ARRAY:
    case REDIS_REPLY_INTEGER:
    case REDIS_REPLY_NIL:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
      return true;
    default:
      return false;
  }
}

// Runs a sink's function; a part that it refuses, or has no memory for, stops the parser. hiredis
// is C: nothing may be thrown through it.
template <class Function>
void* Guarded(const redisReadTask* task, Function function) noexcept {
  try {
    return IsResp2(task) && function() ? &part_object : nullptr;
  } catch (const std::bad_alloc&) {
    SinkOf(task)->set_out_of_memory();
    return nullptr;
  }
}

void* OnString(const redisReadTask* task, char* text, size_t size) {
  return Guarded(task, [&] {
    if (task->type == REDIS_REPLY_ERROR && task->parent == nullptr) {
      // Sinks tell that there was an error by its text.
      SinkOf(task)->Error(size > 0 ? std::string_view(text, size) : "ERR");
      return true;
    }
    return SinkOf(task)->String(*task, {text, size});
  });
}

#if HIREDIS_MAJOR >= 1
using ArraySize = size_t;
#else
using ArraySize = int;
#endif

void* OnArray(const redisReadTask* task, ArraySize size) {
  return Guarded(task, [&] { return SinkOf(task)->Array(*task, static_cast<size_t>(size)); });
}

void* OnInteger(const redisReadTask* task, long long number) {
  return Guarded(task, [&] { return SinkOf(task)->Integer(*task, number); });
}

void* OnNil(const redisReadTask* task) {
  return Guarded(task, [&] { return SinkOf(task)->Nil(*task); });
}

#if HIREDIS_MAJOR >= 1
// Without these the reader would take such a part for one that nobody wants to see.
void* OnDouble(const redisReadTask* /*task*/, double /*value*/, char* /*text*/, size_t /*size*/) {
  return nullptr;
}
void* OnBool(const redisReadTask* /*task*/, int /*value*/) { return nullptr; }
#endif

void OnFree(void* /*object*/) {}

redisReplyObjectFunctions* Functions() {
  static constinit redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions table{};
    table.createString = OnString;
    table.createArray = OnArray;
    table.createInteger = OnInteger;
    table.createNil = OnNil;
#if HIREDIS_MAJOR >= 1
    table.createDouble = OnDouble;
    table.createBool = OnBool;
#endif
    table.freeObject = OnFree;
    return table;
  }();
  return &functions;
}

bool HasPrefix(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// What a command in a script was refused with: Redis 6.2 says "ERR Error running script (call to
// f_…): @user_script:2: WRONGTYPE …", at times with the place twice or with a dash before the error.
std::string_view WithoutScript(std::string_view text) {
  constexpr std::string_view kPlace = "@user_script:";
  if (!HasPrefix(text, "ERR Error running script")) return text;
  std::string_view error = text.substr(std::min(text.find(kPlace), text.size()));
  while (HasPrefix(error, kPlace)) {
    error.remove_prefix(kPlace.size());
    error.remove_prefix(std::min(error.find_first_not_of("0123456789: -"), error.size()));
  }
  return error.empty() ? text : error;
}

}  // namespace

void Commands::Header(char kind, uint64_t number) {
  char text[24];
  text[0] = kind;
  char* end = std::to_chars(text + 1, text + 22, number).ptr;
  *end++ = '\r';
  *end++ = '\n';
  bytes_.append(text, static_cast<size_t>(end - text));
}

Commands& Commands::Begin(size_t args) {
  Header('*', args);
  ++count_;
  return *this;
}

Commands& Commands::Arg(std::string_view text, std::string_view rest) {
  Header('$', text.size() + rest.size());
  bytes_.append(text).append(rest);
  bytes_.append("\r\n", 2);
  return *this;
}

Commands& Commands::Arg(int64_t number) {
  char text[24];
  char* end = std::to_chars(text, text + sizeof(text), number).ptr;
  return Arg(std::string_view(text, static_cast<size_t>(end - text)));
}

Commands& Commands::Arg(EntryId id) {
  char text[42];
  return Arg(std::string_view(text, PrintEntryId(id, text)));
}

void Commands::Clear() {
  bytes_.clear();
  count_ = 0;
}

int Depth(const redisReadTask& task) {
  int depth = 0;
  for (const redisReadTask* p = task.parent; p != nullptr; p = p->parent) ++depth;
  return depth;
}

void ValueSink::BeginReply(size_t index) {
  Sink::BeginReply(index);
  if (index == 0) replies.clear();
  replies.resize(index + 1);
  builder_.Begin(&replies[index]);
}

std::string_view ValueSink::error() const {
  for (size_t i = 0; i < replies.size(); ++i) {
    bool answer = i == may_fail && !HasPrefix(replies[i].text, "LOADING");
    if (replies[i].is_error() && !answer) return replies[i].text;
  }
  return {};
}

bool ValueSink::String(const redisReadTask& task, std::string_view text) {
  if (Depth(task) != 0) return false;
  replies[index()].kind = Value::Kind::kString;
  replies[index()].text = text;
  return true;
}

bool ValueSink::Integer(const redisReadTask& task, int64_t number) {
  if (Depth(task) != 0) return false;
  replies[index()].kind = Value::Kind::kInteger;
  replies[index()].integer = number;
  return true;
}

void ValueSink::Error(std::string_view text) {
  replies[index()].kind = Value::Kind::kError;
  replies[index()].text = text;
}

Status ServerError(std::string_view text, std::string_view what) {
  text = WithoutScript(text);
  struct Kind {
    std::string_view prefix;
    agx_status code;
    std::string_view advice;
  };
  static constexpr Kind kKinds[] = {
      {"WRONGTYPE", AGX_ETYPE, ": another kind of key is in the way; use another prefix or id"},
      {"OOM", AGX_EFULL, ": the server is out of memory (its maxmemory)"},
      {"READONLY", AGX_EREADONLY, ": the server is a replica; connect to its master"},
      {"MISCONF", AGX_EREADONLY, ": the server cannot persist and refuses writes"},
      {"NOREPLICAS", AGX_EREADONLY, ""},
      {"LOADING", AGX_ELOADING, ": try again when it has loaded its data"},
      {"MASTERDOWN", AGX_ELOADING, ""},
      {"NOAUTH", AGX_EAUTH, ": give a password, as in redis://:password@host"},
      {"WRONGPASS", AGX_EAUTH, ": the user or the password is wrong"},
      {"ERR invalid password", AGX_EAUTH, ": the password is wrong"},
      {"ERR AUTH", AGX_EAUTH, ""},
      {"ERR Client sent AUTH", AGX_EAUTH, ": the server has no password; leave it out"},
      {"NOPERM", AGX_EDENIED, ": the server's user lacks this permission"},
      // What a script of theirs says of it, up to Redis 7.0 and from 7.2 on.
      {"ERR The user executing the script can't", AGX_EDENIED, ""},
      {"The user executing the script can't", AGX_EDENIED, ""},
      {"ERR ACL failure in script", AGX_EDENIED, ""},
      {"ERR unknown command", AGX_EUNSUPPORTED, ": Redis 6.2 or later, or Valkey, is needed"},
  };
  for (const Kind& kind : kKinds) {
    if (HasPrefix(text, kind.prefix)) {
      return {kind.code, Cat(what, ": the server says \"", text, "\"", kind.advice)};
    }
  }
  return {AGX_ESERVER, Cat(what, ": the server says \"", text, "\"")};
}

Parser::Parser() : reader_(redisReaderCreateWithFunctions(Functions())) {
  // hiredis 0.14 ends the program if it has freed a large buffer and finds no memory for a small one.
  if (reader_ != nullptr) reader_->maxbuf = 0;
}

Parser::~Parser() {
  if (reader_ != nullptr) redisReaderFree(reader_);
  std::free(buffer_);
}

char* Parser::Room(size_t* size) {
  // As much as the system gives in one read.
  constexpr size_t kLeast = size_t{64} * 1024;
  if (begin_ == end_) {
    begin_ = fed_ = end_ = 0;
    if (capacity_ > kLarge) {
      std::free(std::exchange(buffer_, nullptr));
      capacity_ = 0;
    }
  }
  if (capacity_ - end_ < kLeast && begin_ > 0) {
    std::memmove(buffer_, buffer_ + begin_, end_ - begin_);
    fed_ -= begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  if (capacity_ - end_ < kLeast) {
    size_t capacity = std::max(2 * kLeast, 2 * capacity_);
    void* buffer = std::realloc(buffer_, capacity);
    if (buffer == nullptr) return nullptr;
    buffer_ = static_cast<char*>(buffer);
    capacity_ = capacity;
  }
  *size = capacity_ - end_;
  return buffer_ + end_;
}

bool Parser::Feed(const char* bytes, size_t size) {
  while (size > 0) {
    size_t room = 0;
    char* to = Room(&room);
    if (to == nullptr) return false;
    size_t some = std::min(room, size);
    std::memcpy(to, bytes, some);
    Received(some);
    bytes += some;
    size -= some;
  }
  return true;
}

// Gives back what a large text has taken, once nothing is under way.
void Parser::Shrink() {
  if (reader_->ridx >= 0 || reader_->pos < reader_->len) return;
  redisReader* fresh = redisReaderCreateWithFunctions(Functions());
  if (fresh == nullptr) return;
  fresh->maxbuf = 0;
  redisReaderFree(reader_);
  reader_ = fresh;
  large_ = false;
}

Parser::Outcome Parser::Next(Sink* sink) {
  if (refused_ || too_long_ != nullptr) return Outcome::kBroken;
  bool between = reader_->ridx < 0 && list_ == nullptr;
  // The reader, asked for a reply, would take the next one for its own.
  if (between && begin_ == end_) return Outcome::kIncomplete;
  if (between && buffer_[begin_] == '*') list_ = sink->List();
  return list_ != nullptr ? AsList(sink) : ByReader(sink);
}

Parser::Outcome Parser::AsList(Sink* sink) {
  const char* at = buffer_ + begin_;
  try {
    switch (list_->Parse(&at, buffer_ + end_)) {
      case ListBuilder::Outcome::kComplete:
        list_ = nullptr;
        Use(static_cast<size_t>(at - (buffer_ + begin_)));
        return Outcome::kComplete;
      case ListBuilder::Outcome::kIncomplete:
        Use(static_cast<size_t>(at - (buffer_ + begin_)));
        return Outcome::kIncomplete;
      case ListBuilder::Outcome::kTooLong:
        too_long_ = kTooLongText;
        break;
      case ListBuilder::Outcome::kRefused:
        refused_ = true;
        break;
    }
  } catch (const std::bad_alloc&) {
    sink->set_out_of_memory();
    refused_ = true;
  }
  return Outcome::kBroken;
}

// The reader is not to parse what was used without it.
void Parser::Use(size_t size) {
  reader_->pos += std::min(size, fed_ - begin_);
  begin_ += size;
  fed_ = std::max(fed_, begin_);
}

Parser::Outcome Parser::ByReader(Sink* sink) {
  if (fed_ < end_) {
    if (large_) Shrink();
    if (redisReaderFeed(reader_, buffer_ + fed_, end_ - fed_) != REDIS_OK) {
      sink->set_out_of_memory();
      return Outcome::kBroken;
    }
    fed_ = end_;
    // Giving a buffer back costs an allocation.
    large_ |= reader_->len > kLarge;
  }
  reader_->privdata = sink;
  // A reply that is half parsed keeps the sink that it began with.
  void* reply = nullptr;
  if (redisReaderGetReply(reader_, &reply) != REDIS_OK) return Outcome::kBroken;
  if (reply != nullptr) {
    // All before what was fed just now belonged to this reply.
    begin_ = fed_ - (reader_->len - reader_->pos);
    return Outcome::kComplete;
  }
  begin_ = fed_;  // the reader has it
  too_long_ = TooLong();
  return too_long_ != nullptr ? Outcome::kBroken : Outcome::kIncomplete;
}

// Of what has not all arrived: hiredis would wait for as much as is announced.
const char* Parser::TooLong() const {
  constexpr size_t kMostLine = size_t{1024} * 1024;
  if (reader_->pos == reader_->len) return nullptr;
  // Behind the part's type. A number with the end of its line is a text's length: all others would
  // have been taken.
  const char* rest = reader_->buf + reader_->pos;
  const char* end = reader_->buf + reader_->len;
  size_t announced = 0;
  const char* after = std::from_chars(rest, end, announced).ptr;
  bool is_length = after != rest && end - after >= 2 && after[0] == '\r' && after[1] == '\n';
  if (is_length) return announced > kMostText ? kTooLongText : nullptr;
  return reader_->len - reader_->pos > kMostLine ? "a line without end" : nullptr;
}

bool Parser::HasMore() const {
  return begin_ < end_ || (reader_->ridx >= 0 && reader_->pos < reader_->len);
}

bool Parser::refused() const { return refused_ || reader_->err == REDIS_ERR_OOM; }

const char* Parser::error() const { return too_long_ != nullptr ? too_long_ : reader_->errstr; }

}  // namespace agx::redis
