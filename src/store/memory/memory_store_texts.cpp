// The strings in a memory store: texts and their versions, and which keys there are.
#include "store/memory/memory_store_impl.h"

namespace agx::memory {
namespace {

// A text is its own version, marked so that an empty one is other than an absent key's.
std::string VersionOf(std::string_view text) { return Cat("=", text); }

// Checkpoints are a string of names and positions by turns, with a NUL behind each, which neither has.
std::string_view TakePart(std::string_view* packed) {
  size_t size = packed->find('\0');
  std::string_view part = packed->substr(0, size);
  packed->remove_prefix(size + 1);
  return part;
}

}  // namespace

std::string_view CheckpointIn(std::string_view packed, std::string_view name) {
  while (!packed.empty()) {
    std::string_view found = TakePart(&packed);
    std::string_view position = TakePart(&packed);
    if (found == name) return position;
  }
  return {};
}

std::string WithCheckpoint(std::string_view packed, std::string_view name,
                           std::string_view position) {
  std::string changed(name);
  changed += '\0';
  changed += position;
  changed += '\0';
  while (!packed.empty()) {
    std::string_view other = packed;
    bool same = TakePart(&packed) == name;
    TakePart(&packed);
    if (!same) changed += other.substr(0, other.size() - packed.size());
  }
  return changed;
}

Node* MemoryStore::Access::FindCheckpoints(std::string_view stream_key) {
  Node* node = keys.Find(CheckpointsKey(stream_key), now);
  return node != nullptr && node->is_flag ? node : nullptr;
}

Status MemoryStore::GetCheckpoint(std::string_view stream_key, std::string_view name,
                                  std::string* position) {
  std::string key = CheckpointsKey(stream_key);
  Access access(this);
  if (access.closed) return Closed();
  Node* node;
  if (Status status = access.FindFlag(key, &node); !status.ok()) return NotAText(key);
  position->assign(node != nullptr ? CheckpointIn(node->token, name) : std::string_view());
  return {};
}

Status MemoryStore::GetText(std::string_view key, KeptText* kept) {
  *kept = {};
  Access access(this);
  if (access.closed) return Closed();
  Node* node = access.keys.Find(key, access.now);
  if (node == nullptr || !node->has_value()) return {};
  if (!node->is_flag) return NotAText(key);
  *kept = {node->token, VersionOf(node->token)};
  return {};
}

Status MemoryStore::PutText(std::string_view key, std::string_view expected, std::string_view text,
                            bool again, std::string* version, bool* conflict) {
  *conflict = false;
  std::string fresh(text);
  std::string fresh_version = VersionOf(text);
  Access access(this);
  if (access.closed) return Closed();
  KeySpace::Obtained node = access.keys.Obtain(key, access.now);
  if (node->stream != nullptr) return NotAText(key);
  bool same = again && node->is_flag && node->token == text;
  bool expected_now = node->is_flag ? expected == VersionOf(node->token) : expected.empty();
  if (!same && !expected_now) {
    *conflict = true;
    return {};
  }
  if (!same) {
    access.keys.SetFlag(&*node, std::move(fresh));
    access.keys.SetExpiry(&*node, kNever);
    access.keys.Ring(&*node);
  }
  version->swap(fresh_version);
  return {};
}

Status MemoryStore::Scan(std::string_view prefix, std::string_view suffix, std::string* cursor,
                         std::vector<std::string>* keys) {
  Access access(this);
  if (access.closed) return Closed();
  // Between the first and the last call, the cursor is the last key that was looked at.
  std::string after;
  if (*cursor != "0") {
    if (!cursor->starts_with('>')) return {AGX_EINVAL, "the cursor of a scan is not one"};
    after = cursor->substr(1);
  }
  bool done = access.keys.Scan(prefix, suffix, &after, keys, access.now);
  *cursor = done ? "0" : Cat(">", after);
  return {};
}

}  // namespace agx::memory
