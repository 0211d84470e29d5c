#include <cstdlib>
#include <cstring>
#include <string>

#include "capi/traits.h"
#include "format/event_json.h"
#include "format/format.h"
#include "store/entry.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

Entry* ToEntry(const agx_event* event) {
  return const_cast<Entry*>(reinterpret_cast<const Entry*>(event));  // NOLINT: json is a cache
}

const char* Text(std::string_view text, size_t* length) {
  if (length != nullptr) *length = text.size();
  return text.data() != nullptr ? text.data() : "";
}

// The JSON form, made once. Null if there is no memory.
const char* JsonOf(Entry* entry, agx_json_form form) {
  std::atomic<char*>& kept = entry->json[form];
  char* json = kept.load(std::memory_order_acquire);
  if (json != nullptr) return json;
  std::string text;
  AppendEventJson(*entry, form, &text);
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) return nullptr;
  std::memcpy(copy, text.c_str(), text.size() + 1);
  if (kept.compare_exchange_strong(json, copy, std::memory_order_acq_rel)) return copy;
  std::free(copy);
  return json;
}

}  // namespace

extern "C" {

const char* agx_event_id(const agx_event* event, size_t* length) {
  return Text(event != nullptr ? ToEntry(event)->id_text : "", length);
}

const char* agx_event_type(const agx_event* event, size_t* length) {
  return Text(event != nullptr ? ToEntry(event)->type : "", length);
}

const char* agx_event_origin(const agx_event* event, size_t* length) {
  return Text(event != nullptr ? ToEntry(event)->origin : "", length);
}

const char* agx_event_body(const agx_event* event, size_t* length) {
  return Text(event != nullptr ? ToEntry(event)->body : "", length);
}

int64_t agx_event_time(const agx_event* event) {
  if (event == nullptr || ToEntry(event)->timeless) return 0;
  return static_cast<int64_t>(ToEntry(event)->id.ms);
}

agx_status agx_event_field(const agx_event* event, const char* name, const char** value,
                           size_t* length) {
  if (length != nullptr) *length = 0;
  if (value == nullptr) return MissingOut("agx_event_field: value is NULL");
  *value = nullptr;
  if (event == nullptr) return Report(AGX_EINVAL, "agx_event_field: event is NULL");
  if (name == nullptr) return Report(AGX_EINVAL, "agx_event_field: name is NULL");
  const Field* field = FindField(*ToEntry(event), name);
  if (field == nullptr) return Report(AGX_NONE, "the entry has no field of this name");
  *value = Text(field->value, length);
  return AGX_OK;
}

size_t agx_event_field_count(const agx_event* event) {
  return event != nullptr ? ToEntry(event)->field_count : 0;
}

agx_status agx_event_field_at(const agx_event* event, size_t index, const char** name,
                              size_t* name_length, const char** value, size_t* length) {
  if (name != nullptr) *name = nullptr;
  if (value != nullptr) *value = nullptr;
  if (name_length != nullptr) *name_length = 0;
  if (length != nullptr) *length = 0;
  if (event == nullptr) return Report(AGX_EINVAL, "agx_event_field_at: event is NULL");
  const Entry& entry = *ToEntry(event);
  if (index >= entry.field_count) return Report(AGX_NONE, "the entry has no such field");
  const Field& field = entry.fields[index];
  const char* name_text = Text(field.name, name_length);
  const char* value_text = Text(field.value, length);
  if (name != nullptr) *name = name_text;
  if (value != nullptr) *value = value_text;
  return AGX_OK;
}

agx_status agx_event_json(const agx_event* event, agx_json_form form, const char** json,
                          size_t* length) {
  if (length != nullptr) *length = 0;
  if (json == nullptr) return MissingOut("agx_event_json: json is NULL");
  *json = nullptr;
  if (event == nullptr) return Report(AGX_EINVAL, "agx_event_json: event is NULL");
  if (form != AGX_JSON_FULL && form != AGX_JSON_BARE) {
    return Report(AGX_EINVAL, "agx_event_json: form is neither AGX_JSON_FULL nor AGX_JSON_BARE");
  }
  return Guarded([&]() -> Status {
    const char* text = JsonOf(ToEntry(event), form);
    if (text == nullptr) return {AGX_ENOMEM, "out of memory"};
    *json = text;
    if (length != nullptr) *length = std::strlen(text);
    return {};
  });
}

void agx_event_free(agx_event* event) {
  if (event != nullptr) Batch::Release(ToEntry(event));
}
}
