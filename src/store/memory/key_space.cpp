#include "store/memory/key_space.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace agx::memory {
namespace {

constexpr int kSweepAtOnce = 16;
constexpr size_t kScanAtOnce = 1024;

char* PutText(char* to, std::string_view text) {
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  to[text.size()] = '\0';
  return to + text.size() + 1;
}

bool StartsAndEnds(std::string_view key, std::string_view prefix, std::string_view suffix) {
  return key.size() >= prefix.size() + suffix.size() && key.starts_with(prefix) &&
         key.ends_with(suffix);
}

}  // namespace

StoredEntry::Ptr StoredEntry::Copy(NewEntry entry) {
  size_t text_bytes = 0;
  for (size_t i = 0; i < entry.count; ++i) {
    text_bytes += entry.fields[i].name.size() + entry.fields[i].value.size() + 2;
  }
  void* memory = std::malloc(sizeof(StoredEntry) + sizeof(Sizes) * entry.count + text_bytes);
  if (memory == nullptr) throw std::bad_alloc();
  Ptr stored(new (memory) StoredEntry(entry.count, text_bytes));
  char* text = stored->text();
  for (size_t i = 0; i < entry.count; ++i) {
    const Field& field = entry.fields[i];
    new (&stored->sizes()[i]) Sizes{field.name.size(), field.value.size()};
    text = PutText(PutText(text, field.name), field.value);
  }
  return stored;
}

bool StoredEntry::HasOneOf(std::span<const Field> marks) const {
  return std::any_of(marks.begin(), marks.end(), [this](const Field& mark) { return Has(mark); });
}

bool StoredEntry::Has(const Field& mark) const {
  const char* at = text();
  for (size_t i = 0; i < field_count_; ++i) {
    const Sizes& size = sizes()[i];
    std::string_view name(at, size.name);
    std::string_view value(at + size.name + 1, size.value);
    if (name == mark.name) return mark.value.empty() ? !value.empty() : value == mark.value;
    at += size.name + size.value + 2;
  }
  return false;
}

std::string_view StoredEntry::first_value() const {
  if (field_count_ == 0) return {};
  return {text() + sizes()[0].name + 1, sizes()[0].value};
}

size_t StoredEntry::arena_bytes() const {
  constexpr size_t kIdAndPadding = 96;
  return sizeof(Entry) + sizeof(Field) * field_count_ + text_bytes_ + kIdAndPadding;
}

void StoredEntry::AppendTo(Batch* batch) const {
  char id_text[42];
  size_t id_size = PrintEntryId(id, id_text);
  Entry* entry = batch->Append(id, {id_text, id_size}, field_count_);
  auto* copy = static_cast<char*>(batch->Allocate(text_bytes_));
  std::memcpy(copy, text(), text_bytes_);
  for (size_t i = 0; i < field_count_; ++i) {
    const Sizes& size = sizes()[i];
    entry->fields[i].name = {copy, size.name};
    copy += size.name + 1;
    entry->fields[i].value = {copy, size.value};
    copy += size.value + 1;
  }
}

EntryId Stream::NextId(uint64_t wall_ms) const noexcept {
  if (wall_ms > last.ms) return {wall_ms, 0};
  if (last.seq != UINT64_MAX) return {last.ms, last.seq + 1};
  return {last.ms + 1, 0};
}

void Stream::Append(std::span<StoredEntry::Ptr> added, EntryId* ids) {
  size_t at = entries.size();
  entries.resize(at + added.size());
  auto wall_ms = static_cast<uint64_t>(std::max<int64_t>(WallMillis(), 0));
  for (StoredEntry::Ptr& entry : added) {
    last = entry->id = list ? EntryId{at + 1, HashElement(entry->first_value())} : NextId(wall_ms);
    if (ids != nullptr) *ids++ = last;
    entries[at++] = std::move(entry);
  }
}

void Stream::Trim(uint64_t max_length) noexcept {
  if (max_length == 0 || entries.size() <= max_length) return;
  DropFirst(entries.size() - static_cast<size_t>(max_length));
}

uint64_t Stream::DropFirst(size_t count) noexcept {
  for (size_t i = 0; i < count; ++i) {
    dropped = entries.front()->id;
    entries.pop_front();
  }
  return count;
}

uint64_t Stream::Delete(std::span<const EntryId> ids) noexcept {
  uint64_t count = 0;
  for (EntryId id : ids) {
    if (FindEntry(id) == nullptr) continue;
    auto at = NotOlderThan(id);
    if (at == entries.begin()) dropped = id;
    entries.erase(at);
    ++count;
  }
  return count;
}

StoredEntries::const_iterator Stream::NotOlderThan(EntryId id) const {
  return std::partition_point(entries.begin(), entries.end(),
                              [&](const StoredEntry::Ptr& entry) { return entry->id < id; });
}

std::pair<StoredEntries::const_iterator, StoredEntries::const_iterator> Stream::After(
    EntryId id) const {
  if (id == EntryId{}) return {entries.begin(), entries.end()};
  auto first = NotOlderThan(id);
  return {first != entries.end() && (*first)->id == id ? first + 1 : first, entries.end()};
}

const StoredEntry* Stream::FindEntry(EntryId id) const {
  auto at = NotOlderThan(id);
  return at != entries.end() && (*at)->id == id ? at->get() : nullptr;
}

Node* KeySpace::Find(std::string_view key, TimePoint now) noexcept {
  auto it = nodes_.find(key);
  if (it == nodes_.end()) return nullptr;
  Node* node = &it->second;
  if (!Expired(*node, now)) return node;
  bool watched = !node->watches.empty();
  DropValue(node);
  return watched ? node : nullptr;
}

KeySpace::Obtained KeySpace::Obtain(std::string_view key, TimePoint now) {
  Node* node = Find(key, now);
  if (node == nullptr) {
    if (heap_.capacity() <= nodes_.size()) heap_.reserve(2 * nodes_.size() + 16);
    auto it = nodes_.try_emplace(std::string(key)).first;
    node = &it->second;
    node->key = it->first;
  }
  return {this, node};
}

void KeySpace::Tidy(Node* node) noexcept {
  if (!node->has_value() && node->watches.empty()) Erase(node);
}

std::unique_ptr<Stream> KeySpace::NewStream() const {
  auto stream = std::make_unique<Stream>();
  // A cursor into an earlier stream of that key must neither match an entry of this one nor hide
  // that it missed something, even if the clock went back.
  stream->last = stream->dropped = removed_;
  return stream;
}

void KeySpace::SetStream(Node* node, std::unique_ptr<Stream> stream) noexcept {
  std::swap(node->stream, stream);
  if (stream != nullptr) Bury(std::move(stream));
}

KeySpace::Flags::node_type KeySpace::NewFlag(const Node& node) {
  Flags fresh;
  if (!node.is_flag) fresh.insert(node.key);
  return fresh.empty() ? Flags::node_type() : fresh.extract(fresh.begin());
}

void KeySpace::SetFlag(Node* node, std::string token, Flags::node_type fresh) noexcept {
  if (!node->is_flag) flags_.insert(std::move(fresh));
  node->is_flag = true;
  node->token.swap(token);
}

void KeySpace::DropValue(Node* node) noexcept {
  ClearValue(node);
  if (node->watches.empty()) Erase(node);
}

void KeySpace::ClearValue(Node* node) noexcept {
  SetExpiry(node, kNever);
  if (node->stream != nullptr) {
    removed_ = std::max(removed_, node->stream->last);
    Bury(std::move(node->stream));
  }
  if (node->is_flag) flags_.erase(flags_.find(node->key));
  node->is_flag = false;
  Ring(node);
}

void KeySpace::Bury(std::unique_ptr<Stream> stream) noexcept {
  stream->next_dead = std::move(dead_);
  dead_ = std::move(stream);
}

void KeySpace::Sweep(TimePoint now) noexcept {
  for (int i = 0; i < kSweepAtOnce && !heap_.empty() && Expired(*heap_[0], now); ++i) {
    DropValue(heap_[0]);
  }
}

void KeySpace::Ring(Node* node) noexcept {
  if (!node->armed) return;
  node->armed = false;
  for (const Node::Watch& watch : node->watches) watch.watcher->Changed();
}

void KeySpace::TellTaken(Node* flag) noexcept {
  for (const Node::Watch& watch : flag->watches) watch.watcher->Taken(flag->token);
}

void KeySpace::TellStopped(std::string_view key, TimePoint now) noexcept {
  Node* node = Find(key, now);
  if (node == nullptr) return;
  for (const Node::Watch& watch : node->watches) watch.watcher->ProducerStopped();
}

bool KeySpace::Unwatch(Node* node, Watcher* watcher, const void* client) noexcept {
  auto& watches = node->watches;
  auto it = std::find_if(watches.begin(), watches.end(), [&](const Node::Watch& watch) {
    return watch.watcher == watcher && watch.client == client;
  });
  if (it == watches.end()) return false;
  *it = watches.back();
  watches.pop_back();
  if (watches.empty()) node->armed = false;
  Tidy(node);
  return true;
}

void KeySpace::RingAll(const void* client) noexcept {
  for (auto& [key, node] : nodes_) {
    for (const Node::Watch& watch : node.watches) {
      if (watch.client == client) watch.watcher->Changed();
    }
  }
}

void KeySpace::UnwatchAll(const void* client) noexcept {
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    Node& node = it->second;
    std::erase_if(node.watches, [&](const Node::Watch& watch) { return watch.client == client; });
    if (node.watches.empty()) node.armed = false;
    it = node.has_value() || !node.watches.empty() ? std::next(it) : nodes_.erase(it);
  }
}

bool KeySpace::Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
                    std::vector<std::string>* keys, TimePoint now) const {
  auto it = cursor->empty() ? flags_.lower_bound(prefix) : flags_.upper_bound(*cursor);
  for (size_t seen = 0; it != flags_.end() && it->starts_with(prefix); ++it) {
    if (StartsAndEnds(*it, prefix, suffix) && !Expired(nodes_.find(*it)->second, now)) {
      keys->emplace_back(*it);
    }
    if (++seen == kScanAtOnce) {
      cursor->assign(*it);
      return false;
    }
  }
  return true;
}

void KeySpace::SetExpiry(Node* node, TimePoint when) noexcept {
  if (node->expires == when) return;
  if (node->expires != kNever) HeapRemove(node);
  bool sooner = when < node->expires;
  node->expires = when;
  if (when == kNever) return;
  heap_.push_back(node);  // within its capacity
  HeapUp(heap_.size() - 1, node);
  if (sooner) Ring(node);
}

void KeySpace::HeapRemove(Node* node) noexcept {
  size_t index = node->heap_index;
  node->heap_index = Node::kNoExpiry;
  Node* last = heap_.back();
  heap_.pop_back();
  if (last == node) return;
  if (index > 0 && last->expires < heap_[(index - 1) / 2]->expires) {
    HeapUp(index, last);
  } else {
    HeapDown(index, last);
  }
}

void KeySpace::HeapPlace(size_t index, Node* node) noexcept {
  heap_[index] = node;
  node->heap_index = index;
}

void KeySpace::HeapUp(size_t index, Node* node) noexcept {
  for (; index > 0; index = (index - 1) / 2) {
    Node* parent = heap_[(index - 1) / 2];
    if (parent->expires <= node->expires) break;
    HeapPlace(index, parent);
  }
  HeapPlace(index, node);
}

void KeySpace::HeapDown(size_t index, Node* node) noexcept {
  for (size_t child = 2 * index + 1; child < heap_.size(); child = 2 * index + 1) {
    if (child + 1 < heap_.size() && heap_[child + 1]->expires < heap_[child]->expires) ++child;
    if (node->expires <= heap_[child]->expires) break;
    HeapPlace(index, heap_[child]);
    index = child;
  }
  HeapPlace(index, node);
}

}  // namespace agx::memory
