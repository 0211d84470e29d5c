#include "model/sse.h"

#include <algorithm>
#include <cstring>

namespace agx {
namespace {

constexpr std::string_view kBom = "\xEF\xBB\xBF";
// What a line may have beside its data: a byte order mark, the field's name.
constexpr size_t kLineSlack = 64;
// Buffers above this size are given back after use: events are small, all but a few.
constexpr size_t kKeptCapacity = size_t{1} << 20;
constexpr size_t kStrayMax = 512;

const char* Find(const char* begin, const char* end, char c) {
  if (begin == end) return end;
  auto* at = static_cast<const char*>(std::memchr(begin, c, static_cast<size_t>(end - begin)));
  return at == nullptr ? end : at;
}

bool CanBeFieldName(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

void Clear(std::string* buffer) {
  if (buffer->capacity() > kKeptCapacity) {
    std::string().swap(*buffer);
  } else {
    buffer->clear();
  }
}

}  // namespace

void SseReader::Take(std::string_view bytes) {
  p_ = bytes.data();
  end_ = p_ + bytes.size();
  lf_ = nullptr;
}

bool SseReader::Next(SseEvent* event) {
  if (given_) Forget();
  for (std::string_view line; !too_big_ && Line(&line);) {
    if (!line.empty()) {
      Field(line);
    } else if (has_data_) {
      *event = {name_, data_};
      given_ = true;
      return true;
    } else {
      name_.clear();
    }
  }
  Own();
  return false;
}

bool SseReader::Flush(SseEvent* event) {
  if (given_) Forget();
  if (!held_used_ && !held_.empty() && !too_big_) {
    held_used_ = true;
    std::string_view line = held_;
    if (first_line_ && line.starts_with(kBom)) line.remove_prefix(kBom.size());
    Field(line);
  }
  if (!has_data_ || too_big_) return false;
  *event = {name_, data_};
  given_ = true;
  return true;
}

// Without its end.
bool SseReader::Line(std::string_view* line) {
  if (held_used_) {
    Clear(&held_);
    held_used_ = false;
  }
  if (skip_lf_ && p_ != end_) {
    if (*p_ == '\n') ++p_;
    skip_lf_ = false;
  }
  const char* stop = LineEnd();
  auto length = static_cast<size_t>(stop - p_);
  if (stop == end_) {
    if (length > 0) held_.append(p_, length);
    p_ = end_;
    too_big_ = held_.size() > limit_ + kLineSlack;
    return false;
  }
  if (held_.empty()) {
    *line = {p_, length};
  } else {
    *line = held_.append(p_, length);
    held_used_ = true;
  }
  p_ = stop + 1;
  if (*stop == '\r') {
    if (p_ == end_) {
      skip_lf_ = true;
    } else if (*p_ == '\n') {
      ++p_;
    }
  }
  if (first_line_ && line->starts_with(kBom)) line->remove_prefix(kBom.size());
  first_line_ = false;
  return true;
}

// Each byte is looked at once, also where lines end with CR alone and no LF is ever found.
const char* SseReader::LineEnd() {
  if (lf_ == nullptr || lf_ < p_) lf_ = Find(p_, end_, '\n');
  const char* cr = Find(p_, lf_, '\r');
  return cr == lf_ ? lf_ : cr;
}

void SseReader::Field(std::string_view line) {
  size_t colon = std::min(line.find(':'), line.size());
  std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    AddData(value);
  } else if (name == "event") {
    name_ = value;
  } else if (stray_.empty() && !CanBeFieldName(name)) {
    stray_ = line.substr(0, kStrayMax);
  }
}

void SseReader::AddData(std::string_view value) {
  if (has_data_) {
    Own();
    size_t before = store_.size() - data_.size();
    store_ += '\n';
    store_ += value;
    data_ = std::string_view(store_).substr(before);
  } else if (held_used_) {
    // The line's buffer becomes the data's: a large event that came in pieces is not copied again.
    store_.swap(held_);
    data_ = std::string_view(store_).substr(store_.size() - value.size());
    owned_ = true;
  } else {
    data_ = value;
  }
  has_data_ = true;
  too_big_ = data_.size() > limit_;
}

// The given bytes are about to go away.
void SseReader::Own() {
  if (!has_data_ || owned_) return;
  store_ = data_;
  data_ = store_;
  owned_ = true;
}

void SseReader::Forget() {
  name_.clear();
  Clear(&store_);
  data_ = {};
  has_data_ = false;
  owned_ = false;
  given_ = false;
}

}  // namespace agx
