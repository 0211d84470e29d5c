// Entries, ids and keys as a store may deliver them, whoever wrote them. The input is split at its
// NULs into an id, a key and the names and values of an entry's fields.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/agx_format.h"
#include "format/event_json.h"
#include "store/entry.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

std::vector<std::string> Split(std::string_view input) {
  std::vector<std::string> texts;
  for (;;) {
    texts.emplace_back(input.substr(0, input.find('\0')));
    if (texts.back().size() == input.size()) return texts;
    input.remove_prefix(texts.back().size() + 1);
  }
}

void CheckId(const std::string& text) {
  agx::EntryId id;
  if (!agx::ParseEntryId(text, &id)) return;
  char printed[AGX_ID_SIZE];
  size_t length = agx::PrintEntryId(id, printed);
  agx::EntryId again;
  Require(length < sizeof(printed) && printed[length] == '\0');
  Require(agx::ParseEntryId({printed, length}, &again) && again == id);
}

void CheckKey(const std::string& key) {
  int64_t scope, user;
  std::string_view session;
  if (!agx::ParseLiveKey("agx", key, &scope, &user, &session)) return;
  Require(agx::LiveKey(agx::StreamKey("agx", scope, user, session)) == key);
  Require(agx::CheckSessionId(std::string(session).c_str()).ok());
}

void CheckJson(const agx::Entry& entry) {
  for (agx_json_form form : {AGX_JSON_FULL, AGX_JSON_BARE}) {
    std::string json;
    agx::AppendEventJson(entry, form, &json);
    Require(agx::ValidateJson(json, AGX_DEPTH_MAX + 1, nullptr));
    Require(json.find_first_of("\r\n") == std::string::npos);
  }
}

// What may be written is read back as it was.
void CheckRoundTrip(const agx::Entry& entry) {
  std::string type(entry.type), origin(entry.origin), body(entry.body);
  size_t length;
  if (!agx::CheckName("type", type.c_str()).ok()) return;
  if (!agx::CheckName("origin", origin.c_str()).ok()) return;
  if (!agx::CheckBody(body.c_str(), &length).ok()) return;
  agx::EventFields event = agx::MakeEvent(type, origin, body);
  agx::Entry read;
  read.fields = event.fields;
  read.field_count = event.count;
  agx::ReadEvent(&read);
  Require(read.type == type && read.origin == origin && read.body == body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> texts = Split({reinterpret_cast<const char*>(data), size});
  CheckId(texts[0]);
  if (texts.size() > 1) CheckKey(texts[1]);

  agx::BatchPtr batch(agx::Batch::Create());
  size_t fields = texts.size() < 4 ? 0 : (texts.size() - 2) / 2;
  agx::Entry* entry = batch->Append({}, batch->Copy(texts[0]), fields);
  for (size_t i = 0; i < fields; ++i) {
    entry->fields[i] = {batch->Copy(texts[2 + 2 * i]), batch->Copy(texts[3 + 2 * i])};
  }
  agx::ReadEvent(entry);
  CheckJson(*entry);
  CheckRoundTrip(*entry);
  std::string begin = agx::BeginBody(texts[0]);
  Require(agx::ValidateJson(begin, 1, nullptr));
  return 0;
}
