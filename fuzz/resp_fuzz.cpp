// Replies of a broken or hostile server. However the network cuts them into pieces, they mean the
// same; and what is made of them is whole. The first byte of the input says how the rest is cut and
// which sink it goes to.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "format/agx_format.h"
#include "format/event_json.h"
#include "store/redis/resp.h"

namespace {

using agx::redis::Commands;
using agx::redis::EntriesBuilder;
using agx::redis::EntriesScan;
using agx::redis::Parser;
using agx::redis::Sink;
using agx::redis::Value;
using agx::redis::ValueSink;

void Require(bool condition) {
  if (!condition) std::abort();
}

// The entries of each reply, as the readers of streams build them.
class EntriesSink final : public Sink {
 public:
  explicit EntriesSink(int base_depth) : base_depth_(base_depth) {}

  std::string seen;

  void BeginReply(size_t index) override {
    Sink::BeginReply(index);
    builder_.Begin({1, 1}, 1000);
  }
  void EndReply() override {
    seen += builder_.skipped() ? "skipped\n" : "\n";
    agx::BatchPtr batch = builder_.Take();
    while (batch != nullptr && !batch->empty()) See(batch->TakeFirst());
  }
  EntriesBuilder* List() override { return base_depth_ == 0 ? &builder_ : nullptr; }
  bool String(const redisReadTask& task, std::string_view text) override {
    return agx::redis::Depth(task) <= base_depth_ || builder_.String(text);
  }
  bool Array(const redisReadTask& task, size_t size) override {
    return agx::redis::Depth(task) < base_depth_ || builder_.Array(size);
  }
  bool Integer(const redisReadTask& /*task*/, int64_t /*number*/) override { return false; }
  bool Nil(const redisReadTask& /*task*/) override { return false; }
  void Error(std::string_view text) override {
    seen += agx::redis::ServerError(text, "reading").message();
  }

 private:
  void See(agx::Entry* entry) {
    agx::EntryId id;
    Require(agx::ParseEntryId(entry->id_text, &id) && id == entry->id &&
            !(id == agx::EntryId{1, 1}));
    agx::ReadEvent(entry);
    Require(entry->body.data()[entry->body.size()] == '\0');
    agx::AppendEventJson(*entry, AGX_JSON_FULL, &seen);
    for (size_t i = 0; i < entry->field_count; ++i) {
      seen.append(entry->fields[i].name).append("=").append(entry->fields[i].value);
    }
    agx::Batch::Release(entry);
  }

  EntriesBuilder builder_;
  int base_depth_;
};

void Print(const Value& value, std::string* out) {
  *out += agx::Cat(static_cast<int>(value.kind), ":", value.integer, ":", value.text, "(");
  for (const Value& item : value.items) Print(item, out);
  *out += ')';
}

// Feeds the bytes `step` at a time, and hands on every reply. Returns the last outcome.
Parser::Outcome Parse(std::string_view bytes, size_t step, Sink* sink) {
  Parser parser;
  size_t index = 0;
  bool begun = false;
  while (!bytes.empty()) {
    // A buffer of its own, so that nothing beyond it can be read.
    std::string piece(bytes.substr(0, step));
    bytes.remove_prefix(piece.size());
    Require(parser.Feed(piece.data(), piece.size()));
    for (;;) {
      if (!begun) sink->BeginReply(index);
      begun = true;
      Parser::Outcome outcome = parser.Next(sink);
      if (outcome == Parser::Outcome::kBroken) return outcome;
      if (outcome == Parser::Outcome::kIncomplete) break;
      sink->EndReply();
      ++index;
      begun = false;
    }
  }
  return Parser::Outcome::kIncomplete;
}

std::string Replies(std::string_view bytes, size_t step) {
  ValueSink sink;
  Parser::Outcome outcome = Parse(bytes, step, &sink);
  std::string printed = agx::Cat(static_cast<int>(outcome));
  for (const Value& reply : sink.replies) Print(reply, &printed);
  return printed;
}

std::string Entries(std::string_view bytes, size_t step, int base_depth) {
  EntriesSink sink(base_depth);
  Parser::Outcome outcome = Parse(bytes, step, &sink);
  return agx::Cat(static_cast<int>(outcome), sink.seen);
}

// What is known of a list before it is built is so.
void CheckScan(std::string_view bytes, size_t step) {
  EntriesScan scan(SIZE_MAX);
  EntriesScan::Outcome outcome = EntriesScan::Outcome::kIncomplete;
  size_t scanned = 0;
  for (size_t size = 0; outcome == EntriesScan::Outcome::kIncomplete && size < bytes.size();) {
    size = std::min(size + step, bytes.size());
    std::string held(bytes.substr(0, size));
    const char* at = held.data() + scanned;
    outcome = scan.Scan(&at, held.data() + held.size());
    scanned = static_cast<size_t>(at - held.data());
  }
  EntriesBuilder builder;
  builder.Begin({1, 1}, SIZE_MAX);
  const char* at = bytes.data();
  if (builder.Parse(&at, at + bytes.size()) != EntriesBuilder::Outcome::kComplete) return;
  Require(outcome == EntriesScan::Outcome::kComplete && bytes.data() + scanned == at);
  agx::BatchPtr batch = builder.Take();
  size_t built = batch == nullptr ? 0 : batch->size();
  Require(builder.skipped() ? scan.size() > built : scan.size() == built);
  if (builder.skipped() || built == 0) return;
  Require(scan.first() == batch->first()->id && scan.last() == batch->last()->id);
}

// Whatever its arguments contain, a command is read as that command and nothing else.
void CheckCommand(std::string_view text) {
  std::string_view head = text.substr(0, text.size() / 2);
  std::string_view tail = text.substr(head.size());
  Commands commands;
  commands.Add("XADD", head, tail).Add(tail);
  ValueSink sink;
  Parse(commands.bytes(), commands.bytes().size(), &sink);
  // The third is begun, and stays empty.
  Require(sink.replies.size() == 3 && commands.count() == 2);
  const std::vector<Value>& items = sink.replies[0].items;
  Require(items.size() == 3 && items[0].text == "XADD");
  Require(items[1].text == head && items[2].text == tail);
  Require(sink.replies[1].items.size() == 1 && sink.replies[1].items[0].text == tail);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t step = 1 + data[0] % 16;
  CheckCommand(bytes);
  CheckScan(bytes, step);
  Require(Replies(bytes, step) == Replies(bytes, size));
  for (int base_depth : {0, 2}) {
    Require(Entries(bytes, step, base_depth) == Entries(bytes, size, base_depth));
  }
  return 0;
}
