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
  path_.clear();
  parts_ = 0;
  text_ = 0;
}

std::string_view ValueSink::error() const {
  for (size_t i = 0; i < replies.size(); ++i) {
    bool answer = i == may_fail && !HasPrefix(replies[i].text, "LOADING");
    if (replies[i].is_error() && !answer) return replies[i].text;
  }
  return {};
}

// More than any reply that is taken apart here can have: a server that sends on and on is broken.
constexpr size_t kMostParts = 262144;
constexpr size_t kMostTextInReply = 8 * kMostText;

// A finished sibling's address may change when the next is appended; those of the open ancestors,
// in path_, do not.
Value* ValueSink::Place(const redisReadTask& task) {
  auto depth = static_cast<size_t>(Depth(task));
  Value* value = nullptr;
  if (++parts_ > kMostParts) return nullptr;
  if (depth == 0) {
    value = &replies[index()];
  } else {
    if (path_.size() < depth) return nullptr;
    value = &path_[depth - 1]->items.emplace_back();
  }
  path_.resize(depth);
  path_.push_back(value);
  return value;
}

bool ValueSink::String(const redisReadTask& task, std::string_view text) {
  Value* value = Place(task);
  text_ += text.size();
  if (value == nullptr || text_ > kMostTextInReply) return false;
  value->kind = task.type == REDIS_REPLY_ERROR ? Value::Kind::kError : Value::Kind::kString;
  value->text = text;
  return true;
}

bool ValueSink::Array(const redisReadTask& task, size_t /*size*/) {
  Value* value = Place(task);
  if (value == nullptr) return false;
  value->kind = Value::Kind::kArray;
  return true;
}

bool ValueSink::Integer(const redisReadTask& task, int64_t number) {
  Value* value = Place(task);
  if (value == nullptr) return false;
  value->kind = Value::Kind::kInteger;
  value->integer = number;
  return true;
}

bool ValueSink::Nil(const redisReadTask& task) { return Place(task) != nullptr; }

void ValueSink::Error(std::string_view text) {
  replies[index()].kind = Value::Kind::kError;
  replies[index()].text = text;
}

namespace {

using Built = ListBuilder::Outcome;

// "*3" or "$3" and the end of the line; *at moves behind it.
Built ReadLongHeader(char kind, const char** at, const char* end, size_t* number) {
  constexpr ptrdiff_t kMostDigits = 18;
  const char* digits = *at;
  if (digits == end) return Built::kIncomplete;
  if (*digits++ != kind) return Built::kRefused;
  const char* p = digits;
  size_t value = 0;
  for (; p != end && *p >= '0' && *p <= '9'; ++p) {
    if (p - digits == kMostDigits) return Built::kTooLong;
    value = value * 10 + static_cast<size_t>(*p - '0');
  }
  if (p == end) return Built::kIncomplete;
  if (p == digits || *p != '\r') return Built::kRefused;
  if (++p == end) return Built::kIncomplete;
  if (*p != '\n') return Built::kRefused;
  *at = p + 1;
  *number = value;
  return Built::kComplete;
}

// The same, without a loop for a number of one, two or three digits.
inline Built ReadHeader(char kind, const char** at, const char* end, size_t* number) {
  const char* p = *at;
  if (end - p < 6 || p[0] != kind) return ReadLongHeader(kind, at, end, number);
  auto digit = [p](int i) { return static_cast<unsigned>(p[i]) - '0'; };
  auto line_ends = [p](int i) { return p[i] == '\r' && p[i + 1] == '\n'; };
  unsigned value = digit(1);
  if (value > 9) return ReadLongHeader(kind, at, end, number);
  int length = 2;
  while (length < 4 && digit(length) <= 9) value = value * 10 + digit(length++);
  if (!line_ends(length)) return ReadLongHeader(kind, at, end, number);
  *number = value;
  *at = p + length + 2;
  return Built::kComplete;
}

// A text that is all there; *at moves behind it.
inline Built ReadText(const char** at, const char* end, std::string_view* text) {
  const char* p = *at;
  size_t size = 0;
  Built header = ReadHeader('$', &p, end, &size);
  if (header != Built::kComplete) return header;
  if (size > kMostText) return Built::kTooLong;
  if (static_cast<size_t>(end - p) < size + 2) return Built::kIncomplete;
  if (p[size] != '\r' || p[size + 1] != '\n') return Built::kRefused;
  *text = {p, size};
  *at = p + size + 2;
  return Built::kComplete;
}

// The names that nearly all fields have need no copy.
std::string_view CopyName(std::string_view name, Batch* batch) {
  if (name == kTypeField) return kTypeField;
  if (name == kOriginField) return kOriginField;
  if (name == kBodyField) return kBodyField;
  return batch->Copy(name);
}

}  // namespace

bool LongText::Begin(const char** at, const char* end) {
  const char* p = *at;
  size_t size = 0;
  if (ReadHeader('$', &p, end, &size) != Built::kComplete) return false;
  if (size <= kMostText || size > kMostPassedOver) return false;
  left_ = size + 2;
  hasher_ = ElementHasher(size);
  *at = p;
  return true;
}

bool LongText::Take(const char** at, const char* end) {
  size_t size = std::min(left_, static_cast<size_t>(end - *at));
  size_t text = left_ > 2 ? std::min(size, left_ - 2) : 0;
  hasher_.Add({*at, text});
  left_ -= size;
  *at += size;
  return left_ == 0;
}

void ValueBuilder::Begin(Value* root) {
  root_ = root;
  begun_ = false;
  open_.clear();
  parts_ = text_ = 0;
  long_ = {};
}

ListBuilder::Outcome ValueBuilder::Parse(const char** at, const char* end) {
  do {
    if (long_.under_way()) {
      if (!long_.Take(at, end)) return Outcome::kIncomplete;
      Value* value = Place();
      if (value == nullptr) return Outcome::kRefused;
      value->kind = Value::Kind::kString;
      value->long_hash = long_.hash();
    } else if (Outcome part = Part(at, end); part != Outcome::kComplete) {
      return part;
    }
    while (!open_.empty() && open_.back().left == 0) open_.pop_back();
  } while (!open_.empty() || long_.under_way());
  return Outcome::kComplete;
}

// Where the next part goes.
Value* ValueBuilder::Place() {
  if (++parts_ > kMostParts) return nullptr;
  if (!std::exchange(begun_, true)) return root_;
  --open_.back().left;
  return &open_.back().list->items.emplace_back();
}

ListBuilder::Outcome ValueBuilder::Part(const char** at, const char* end) {
  constexpr size_t kMostLine = 1024;
  constexpr size_t kDeepest = 8;
  constexpr std::string_view kNil = "-1\r\n";
  const char* p = *at;
  if (p == end) return Outcome::kIncomplete;
  std::string_view rest(p + 1, static_cast<size_t>(end - p - 1));
  bool sized = *p == '$' || *p == '*';
  if (sized && rest.starts_with('-')) {
    if (!kNil.starts_with(rest.substr(0, kNil.size()))) return Outcome::kRefused;
    if (rest.size() < kNil.size()) return Outcome::kIncomplete;
    *at = p + 1 + kNil.size();
    return Place() != nullptr ? Outcome::kComplete : Outcome::kRefused;
  }
  if (*p == '*') {
    size_t size = 0;
    if (Outcome header = ReadHeader('*', &p, end, &size); header != Outcome::kComplete)
      return header;
    Value* value = open_.size() < kDeepest ? Place() : nullptr;
    if (value == nullptr) return Outcome::kRefused;
    value->kind = Value::Kind::kArray;
    open_.push_back({value, size});
    *at = p;
    return Outcome::kComplete;
  }
  std::string_view text;
  if (*p == '$') {
    Outcome part = ReadText(&p, end, &text);
    if (part == Outcome::kTooLong && long_.Begin(at, end)) return Outcome::kComplete;
    if (part != Outcome::kComplete) return part;
  } else {
    size_t line = rest.find("\r\n");
    if (line == std::string_view::npos) {
      return rest.size() > kMostLine ? Outcome::kRefused : Outcome::kIncomplete;
    }
    text = rest.substr(0, line);
    p += line + 3;
  }
  Value* value = Place();
  text_ += text.size();
  if (value == nullptr || text_ > kMostTextInReply) return Outcome::kRefused;
  value->kind = **at == '-' ? Value::Kind::kError : Value::Kind::kString;
  if (**at == ':') {
    value->kind = Value::Kind::kInteger;
    auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value->integer);
    if (error != std::errc() || stop != text.data() + text.size()) return Outcome::kRefused;
  } else if (sized || **at == '+' || **at == '-') {
    value->text = text;
  } else {
    return Outcome::kRefused;
  }
  *at = p;
  return Outcome::kComplete;
}

void EntriesBuilder::Begin(EntryId skip, size_t most, Within within) {
  expected_ = within == Within::kStream ? Part::kStreams : Part::kList;
  scripts_own_ = within == Within::kScriptsOwn;
  most_ = most;
  skip_ = skip;
  skipped_ = false;
  long_ = {};
  batch_.reset();
}

ListBuilder::Outcome EntriesBuilder::Parse(const char** at, const char* end) {
  constexpr std::string_view kNil = "*-1\r\n";
  while (expected_ != Part::kNone) {
    const char* p = *at;
    if (long_.under_way()) {
      if (!long_.Take(at, end)) return Outcome::kIncomplete;
      EndField();
      continue;
    }
    if (expected_ == Part::kStreams) {
      std::string_view first(p, std::min(static_cast<size_t>(end - p), kNil.size()));
      if (first == kNil) {
        expected_ = Part::kNone;
        *at = p + kNil.size();
        break;
      }
      if (first.size() < kNil.size() && kNil.starts_with(first)) return Outcome::kIncomplete;
    }
    bool is_text = expected_ == Part::kField || expected_ == Part::kId || expected_ == Part::kKey;
    std::string_view text;
    size_t size = 0;
    Outcome part = is_text ? ReadText(&p, end, &text) : ReadHeader('*', &p, end, &size);
    if (part == Outcome::kTooLong && expected_ == Part::kField && long_.Begin(at, end)) {
      Refuse();
      continue;
    }
    if (part != Outcome::kComplete) return part;
    if (!(is_text ? String(text) : Array(size))) return Outcome::kRefused;
    *at = p;
  }
  return Outcome::kComplete;
}

// The entry is too large. What is left of it is passed over.
void EntriesBuilder::Refuse() {
  skipping_ = true;
  if (entry_ == nullptr) return;
  entry_->refusal = kTooLarge;
  entry_->field_count = 0;
}

// The parts come in the order in which they are written, and an array has as many as it says: what
// is expected next says where a part stands.
bool EntriesBuilder::Array(size_t size) {
  switch (expected_) {
    case Part::kStreams:
      expected_ = Part::kStream;
      return size == 1;
    case Part::kStream:
      expected_ = Part::kKey;
      return size == 2;
    case Part::kList:
      expected_ = size > 0 ? Part::kEntry : Part::kNone;
      entries_left_ = entries_ = size;
      return size <= most_;
    case Part::kEntry:
      expected_ = Part::kId;
      return size == 2;
    case Part::kFields:
      return BeginFields(size);
    default:
      return false;
  }
}

bool EntriesBuilder::BeginFields(size_t size) {
  // A larger number of fields than any server takes is a broken one's; memory is not reserved for
  // it.
  constexpr size_t kMostFields = 65536;
  if (size % 2 != 0 || size > kMostFields * 2) return false;
  fields_left_ = size;
  text_left_ = kMostText;
  expected_ = Part::kField;
  if (size == 0) EndEntry();
  entry_ = nullptr;
  skipping_ = id_ == skip_;
  if (skipping_) {
    skipped_ = true;
    return true;
  }
  if (batch_ == nullptr) {
    // In one block: malloc would give many small ones back to the system each time.
    constexpr size_t kMostReserved = size_t{1024} * 1024;
    batch_.reset(Batch::Create(std::min(entries_ * entry_bytes_, kMostReserved)));
  }
  entry_ = batch_->Append(id_, {id_text_, id_length_}, size / 2);
  field_ = entry_->fields;
  if (scripts_own_ && size == 0) Refuse();
  return true;
}

bool EntriesBuilder::String(std::string_view text) {
  if (expected_ == Part::kField) {
    bool is_name = fields_left_ % 2 == 0;
    EndField();
    if (skipping_) return true;
    if (text.size() > text_left_) {
      Refuse();
      return true;
    }
    text_left_ -= text.size();
    if (is_name) {
      field_->name = CopyName(text, batch_.get());
    } else {
      field_++->value = batch_->Copy(text);
    }
    return true;
  }
  if (expected_ == Part::kKey) {
    expected_ = Part::kList;
    return true;
  }
  if (expected_ != Part::kId || text.size() >= sizeof(id_text_)) return false;
  if (!ParseEntryId(text, &id_)) return false;
  std::memcpy(id_text_, text.data(), text.size());
  id_length_ = text.size();
  expected_ = Part::kFields;
  return true;
}

void ElementsBuilder::Begin(EntryId after, size_t most) {
  after_ = after;
  most_ = most;
  place_ = after.ms;
  long_ = {};
  begun_ = looked_ = false;
  verified_ = after.ms == 0;
  batch_.reset();
}

void ElementsBuilder::BeginAt(uint64_t place, size_t most) {
  Begin({place, 0}, most);
  verified_ = true;
}

ListBuilder::Outcome ElementsBuilder::Parse(const char** at, const char* end) {
  if (!begun_) {
    Outcome header = ReadHeader('*', at, end, &left_);
    if (header != Outcome::kComplete) return header;
    begun_ = true;
    if (left_ > most_) return Outcome::kRefused;
  }
  for (; left_ > 0; --left_) {
    std::string_view text;
    if (!long_.under_way()) {
      Outcome part = ReadText(at, end, &text);
      if (part == Outcome::kComplete) {
        Take(&text, HashElement(text));
        continue;
      }
      if (part != Outcome::kTooLong || !long_.Begin(at, end)) return part;
    }
    if (!long_.Take(at, end)) return Outcome::kIncomplete;
    Take(nullptr, long_.hash());
  }
  return Outcome::kComplete;
}

void ElementsBuilder::Take(const std::string_view* text, uint64_t hash) {
  if (!looked_ && !verified_) {
    looked_ = true;
    verified_ = after_.seq == 0 || after_.seq == hash;
    return;
  }
  if (!verified_) return;  // it is of another list
  if (batch_ == nullptr) batch_.reset(Batch::Create());
  EntryId id{++place_, hash};
  char id_text[42];
  size_t id_length = PrintEntryId(id, id_text);
  Entry* entry = batch_->Append(id, {id_text, id_length}, text != nullptr ? 1 : 0);
  if (text != nullptr) {
    entry->fields[0] = {kElement, batch_->Copy(*text)};
  } else {
    entry->refusal = kTooLarge;
  }
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
  bool between = reader_->ridx < 0 && entries_ == nullptr;
  // The reader, asked for a reply, would take the next one for its own.
  if (between && begin_ == end_) return Outcome::kIncomplete;
  if (between && buffer_[begin_] == '*') entries_ = sink->Entries();
  return entries_ != nullptr ? AsEntries(sink) : ByReader(sink);
}

Parser::Outcome Parser::AsEntries(Sink* sink) {
  const char* at = buffer_ + begin_;
  try {
    switch (entries_->Parse(&at, buffer_ + end_)) {
      case ListBuilder::Outcome::kComplete:
        entries_ = nullptr;
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
