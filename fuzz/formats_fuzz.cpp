// Entries of any fields, read as each format would, and written again where that format holds it. The
// input is split at its NULs into the names and values of an entry's fields.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/agx_format.h"
#include "format/event_json.h"
#include "format/format.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

agx::Entry* MakeEntry(agx::Batch* batch, const std::vector<agx::Field>& fields) {
  agx::Entry* entry = batch->Append({1, 2}, "1-2", fields.size());
  for (size_t i = 0; i < fields.size(); ++i) {
    entry->fields[i] = {batch->Copy(fields[i].name), batch->Copy(fields[i].value)};
  }
  return entry;
}

void CheckTexts(const agx::Entry& entry) {
  for (std::string_view text : {entry.type, entry.origin, entry.body}) {
    Require(text.data() != nullptr && text.data()[text.size()] == '\0');
  }
  std::string json;
  agx::AppendEventJson(entry, AGX_JSON_FULL, &json);
  Require(agx::ValidateJson(json, AGX_DEPTH_MAX + 1, nullptr));
}

// What agx_add takes, and the format holds, is read back with the same type and a body that it holds
// as well.
void CheckRoundTrip(const agx::Format& format, const agx::Entry& entry) {
  std::string type(entry.type), origin(entry.origin), body(entry.body);
  size_t length = 0;
  bool fits = agx::CheckName("type", type.c_str()).ok() &&
              agx::CheckName("origin", origin.c_str()).ok() &&
              agx::CheckBody(body.c_str(), &length).ok() && length == body.size() &&
              type.find('\0') == std::string::npos && origin.find('\0') == std::string::npos;
  if (!fits || entry.refusal != nullptr) return;
  agx::EventFields written;
  if (!format.Write({type, origin, body}, {.now_ms = 1, .sequence = 7}, &written).ok()) return;
  agx::BatchPtr batch(agx::Batch::Create());
  agx::Entry* again = MakeEntry(batch.get(), {written.fields, written.fields + written.count});
  format.Read(again);
  CheckTexts(*again);
  Require(again->type == type && again->refusal == nullptr);
  agx::EventFields twice;
  Require(format.Write({again->type, again->origin, again->body}, {}, &twice).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<agx::Field> fields;
  while (!input.empty() && fields.size() < 64) {
    auto take = [&input] {
      std::string_view text = input.substr(0, input.find('\0'));
      input.remove_prefix(std::min(text.size() + 1, input.size()));
      return text;
    };
    std::string_view name = take();
    fields.push_back({name, take()});
  }
  for (const char* name : {"agx", "openai-agents", "agent-framework", "ag2"}) {
    agx::Result<const agx::Format*> format = agx::FindFormat("format", name);
    Require(format.ok());
    agx::BatchPtr batch(agx::Batch::Create());
    agx::Entry* entry = MakeEntry(batch.get(), fields);
    (*format)->Read(entry);
    CheckTexts(*entry);
    uint64_t sequence = 0;
    (*format)->ReadSequence(*entry, &sequence);
    CheckRoundTrip(**format, *entry);
  }
  return 0;
}
