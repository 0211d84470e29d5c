#include "format/event_json.h"

#include "base/json.h"

namespace agx {
namespace {

void AppendBody(std::string_view body, std::string* out) {
  if (ValidateJson(body, AGX_DEPTH_MAX, nullptr)) {
    AppendJsonOneLine(body, out);
  } else {
    AppendJsonString(body, out);
  }
}

}  // namespace

void AppendEventJson(const Entry& entry, agx_json_form form, std::string* out) {
  out->push_back('{');
  if (form == AGX_JSON_FULL) {
    out->append("\"id\":");
    AppendJsonString(entry.id_text, out);
    out->push_back(',');
  }
  out->append("\"type\":");
  AppendJsonString(entry.type, out);
  out->append(",\"origin\":");
  AppendJsonString(entry.origin, out);
  out->append(",\"body\":");
  AppendBody(entry.body, out);
  out->push_back('}');
}

}  // namespace agx
