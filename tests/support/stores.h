// What the tests of the store's interface share: both stores, a watcher that counts, and entries as texts.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/futex.h"
#include "store/memory/memory_store.h"
#include "store/redis/redis_store.h"
#include "store/store.h"
#include "support/redis_server.h"

namespace agx::test {

// One set of data, of which clients can be opened.
class StoreBackend {
 public:
  virtual ~StoreBackend() = default;
  virtual std::shared_ptr<Store> Open() = 0;
};

class MemoryBackend final : public StoreBackend {
 public:
  std::shared_ptr<Store> Open() override { return OpenMemoryStore("contract"); }
};

class RedisBackend final : public StoreBackend {
 public:
  std::shared_ptr<Store> Open() override {
    Config config;
    config.port = server_.port();
    auto store = OpenRedisStore(config, [](agx_log_level, const std::string&) {});
    if (!store.ok()) throw std::runtime_error(store.status().message());
    return *store;
  }

 private:
  RedisServer server_;
};

struct StoreCase {
  std::string name;
  // Tells a cursor whose own entry was the last to be dropped from one that lost entries.
  bool exact_gaps;
  std::function<std::unique_ptr<StoreBackend>()> make;

  friend void PrintTo(const StoreCase& store, std::ostream* out) { *out << store.name; }
};

inline std::vector<StoreCase> BothStores() {
  return {{"Memory", true, [] { return std::make_unique<MemoryBackend>(); }},
          {"Redis", false, [] { return std::make_unique<RedisBackend>(); }}};
}

#define AGX_ON_BOTH_STORES(Suite)                                          \
  INSTANTIATE_TEST_SUITE_P(Stores, Suite, testing::ValuesIn(BothStores()), \
                           [](const auto& of) { return of.param.name; })

#define EXPECT_DONE(call)                                   \
  do {                                                      \
    Status done_status = (call);                            \
    EXPECT_TRUE(done_status.ok()) << done_status.message(); \
  } while (false)

struct RingingWatcher final : Watcher {
  void Changed() noexcept override {
    rings.fetch_add(1);
    bell.Ring();
  }
  std::atomic<int> rings{0};
  Bell bell;
};

inline std::string TextOf(const Entry& entry) {
  std::string text;
  for (size_t i = 0; i < entry.field_count; ++i) {
    if (i != 0) text += ' ';
    text += entry.fields[i].name;
    text += '=';
    text += entry.fields[i].value;
  }
  return text;
}

inline std::vector<const Entry*> EntriesIn(const BatchPtr& batch) {
  std::vector<const Entry*> entries;
  for (Entry* e = batch ? batch->first() : nullptr; e != nullptr; e = e->next) {
    entries.push_back(e);
  }
  return entries;
}

inline std::vector<std::string> TextsOf(const BatchPtr& batch) {
  std::vector<std::string> texts;
  for (const Entry* entry : EntriesIn(batch)) texts.push_back(TextOf(*entry));
  return texts;
}

inline std::vector<EntryId> IdsOf(const BatchPtr& batch) {
  std::vector<EntryId> ids;
  for (const Entry* entry : EntriesIn(batch)) ids.push_back(entry->id);
  return ids;
}

}  // namespace agx::test
