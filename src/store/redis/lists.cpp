#include "store/redis/lists.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace agx::redis {
namespace {

using Built = ListBuilder::Outcome;

// More than any tree that is built here can have: a server that sends on and on is broken.
constexpr size_t kMostParts = 262144;
constexpr size_t kMostTextInReply = 8 * kMostText;

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

// Of names and values. A larger number of fields than any server takes is a broken one's; memory is not
// reserved for it.
bool IsFieldCount(size_t texts) {
  constexpr size_t kMostFields = 65536;
  return texts % 2 == 0 && texts <= kMostFields * 2;
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
  if (!IsFieldCount(size)) return false;
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

EntriesScan::Outcome EntriesScan::Scan(const char** at, const char* end) {
  if (!begun_) {
    Outcome header = ReadHeader('*', at, end, &entries_left_);
    if (header != Outcome::kComplete) return header;
    if (entries_left_ > most_) return Outcome::kRefused;
    begun_ = true;
    size_ = entries_left_;
  }
  for (;;) {
    size_t passed = std::min(passing_, static_cast<size_t>(end - *at));
    *at += passed;
    passing_ -= passed;
    if (passing_ > 0) return Outcome::kIncomplete;
    if (texts_left_ > 0) {
      size_t size = 0;
      Outcome header = ReadHeader('$', at, end, &size);
      if (header != Outcome::kComplete) return header;
      if (size > kMostText) return Outcome::kTooLong;
      passing_ = size + 2;
      --texts_left_;
    } else if (entries_left_ == 0) {
      return Outcome::kComplete;
    } else if (Outcome head = EntryHead(at, end); head != Outcome::kComplete) {
      return head;
    }
  }
}

// All that comes before an entry's fields.
EntriesScan::Outcome EntriesScan::EntryHead(const char** at, const char* end) {
  const char* p = *at;
  size_t parts = 0;
  size_t texts = 0;
  std::string_view id;
  if (Outcome part = ReadHeader('*', &p, end, &parts); part != Outcome::kComplete) return part;
  if (parts != 2) return Outcome::kRefused;
  if (Outcome part = ReadText(&p, end, &id); part != Outcome::kComplete) return part;
  if (Outcome part = ReadHeader('*', &p, end, &texts); part != Outcome::kComplete) return part;
  if (!IsFieldCount(texts)) return Outcome::kRefused;
  if (entries_left_ == size_ && !ParseEntryId(id, &first_)) return Outcome::kRefused;
  if (entries_left_ == 1 && !ParseEntryId(id, &last_)) return Outcome::kRefused;
  --entries_left_;
  texts_left_ = texts;
  *at = p;
  return Outcome::kComplete;
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

}  // namespace agx::redis
