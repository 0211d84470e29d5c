#include "format/agx_format.h"

#include <charconv>
#include <cstring>

#include "agx.h"
#include "base/json.h"

namespace agx {
namespace {

class Agx final : public Format {
 public:
  constexpr Agx()
      : Format({.name = "agx", .holds_runs = true, .starts_afresh = true, .has_begin = true}) {}

  void Read(Entry* entry) const override { ReadEvent(entry); }
  Status Write(const NewEvent& event, const Stamp& /*stamp*/, EventFields* fields) const override {
    if (event.type.empty() || event.origin.empty()) {
      if (!event.type.empty()) fields->Add(kTypeField, event.type);
      if (!event.origin.empty()) fields->Add(kOriginField, event.origin);
      fields->Add(kBodyField, event.body.data() != nullptr ? event.body : "{}");
    } else {
      *fields = MakeEvent(event.type, event.origin, event.body);
    }
    return {};
  }
  void WriteBegin(std::string_view session_id, std::string_view origin, const Stamp& /*stamp*/,
                  EventFields* fields) const override {
    std::string_view body = fields->Keep(BeginBody(session_id));
    fields->Add(kTypeField, "begin");
    fields->Add(kOriginField, origin);
    fields->Add(kBodyField, body);
  }
  void WriteEnd(std::string_view origin, const Stamp& /*stamp*/,
                EventFields* fields) const override {
    *fields = MakeEvent("end", origin, {});
  }
  std::span<const Field> end_marks() const override {
    static constexpr Field kMarks[] = {{kTypeField, "end"}};
    return kMarks;
  }
};

constinit const Agx agx_format;

// Takes "N:" off the front; N only as std::to_string writes it, or two keys would be one session.
bool TakeInteger(std::string_view* text, int64_t* value) {
  size_t colon = text->find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view digits = text->substr(0, colon);
  const char* end = digits.data() + digits.size();
  auto [stop, error] = std::from_chars(digits.data(), end, *value);
  if (error != std::errc() || stop != end) return false;
  bool leading_zero = digits[digits[0] == '-' ? 1 : 0] == '0';
  if (leading_zero && digits != "0") return false;
  text->remove_prefix(colon + 1);
  return true;
}

Status CheckSessionIdText(std::string_view id, std::string_view what = "session_id") {
  if (id.empty()) {
    return Status(AGX_EINVAL, Cat(what, " is empty: give the session a name of 1 to 512 bytes"));
  }
  if (id.size() > AGX_SESSION_ID_MAX) {
    return Status(AGX_ETOOBIG, Cat(what, " has more than ", AGX_SESSION_ID_MAX, " bytes"));
  }
  if (!ValidateUtf8(id)) return Status(AGX_EINVAL, Cat(what, " is not UTF-8"));
  if (id.ends_with(kLiveSuffix)) {
    return Status(AGX_EINVAL,
                  Cat(what, " ends in \":live\", which would be another session's live flag"));
  }
  if (id.ends_with(kMessagesSuffix)) {
    return Status(AGX_EINVAL, Cat(what,
                                  " ends in \":messages\", which would be another session's "
                                  "conversation"));
  }
  return Status();
}

}  // namespace

std::string StreamKey(std::string_view prefix, int64_t scope, int64_t user,
                      std::string_view session_id) {
  return Cat(prefix, ":", scope, ":", user, ":", session_id);
}

std::string LiveKey(std::string_view stream_key) { return Cat(stream_key, kLiveSuffix); }

std::string MessagesKey(std::string_view stream_key) { return Cat(stream_key, kMessagesSuffix); }

std::string LivePrefix(std::string_view prefix, int64_t scope, int64_t user) {
  if (scope == AGX_ANY) return Cat(prefix, ":");
  if (user == AGX_ANY) return Cat(prefix, ":", scope, ":");
  return Cat(prefix, ":", scope, ":", user, ":");
}

bool ParseLiveKey(std::string_view prefix, std::string_view key, int64_t* scope, int64_t* user,
                  std::string_view* session) {
  if (!key.starts_with(prefix) || !key.ends_with(kLiveSuffix)) return false;
  if (key.size() < prefix.size() + kLiveSuffix.size()) return false;
  key.remove_prefix(prefix.size());
  key.remove_suffix(kLiveSuffix.size());
  if (!key.starts_with(':')) return false;
  key.remove_prefix(1);
  if (!TakeInteger(&key, scope) || !TakeInteger(&key, user)) return false;
  // A C string could not carry it.
  if (key.find('\0') != std::string_view::npos) return false;
  *session = key;
  return CheckSessionIdText(key).ok();
}

Status CheckSessionId(const char* session_id) {
  if (session_id == nullptr) return Status(AGX_EINVAL, "session_id is NULL");
  return CheckSessionIdText({session_id, strnlen(session_id, AGX_SESSION_ID_MAX + 1)});
}

Status CheckStreamName(const char* name) {
  if (name == nullptr) return Status(AGX_EINVAL, "the stream's name is NULL");
  return CheckSessionIdText({name, strnlen(name, AGX_SESSION_ID_MAX + 1)}, "the stream's name");
}

Status CheckName(const char* what, const char* text) {
  if (text == nullptr) return Status(AGX_EINVAL, Cat(what, " is NULL"));
  std::string_view name(text, strnlen(text, AGX_NAME_MAX + 1));
  if (name.empty()) return Status(AGX_EINVAL, Cat(what, " is empty"));
  if (name.size() > AGX_NAME_MAX) {
    return Status(AGX_ETOOBIG, Cat(what, " has more than ", AGX_NAME_MAX, " bytes"));
  }
  if (!ValidateUtf8(name)) return Status(AGX_EINVAL, Cat(what, " is not UTF-8"));
  return Status();
}

Status CheckBody(const char* body, size_t* length) {
  *length = 0;
  if (body == nullptr) return Status();
  size_t size = strnlen(body, size_t{AGX_BODY_MAX} + 1);
  if (size == 0) return Status(AGX_EJSON, "body is empty, which is not JSON: pass NULL for none");
  if (size > AGX_BODY_MAX) {
    return Status(AGX_ETOOBIG, Cat("body has more than ", AGX_BODY_MAX, " bytes"));
  }
  JsonError error;
  if (!ValidateJson({body, size}, AGX_DEPTH_MAX, &error)) {
    return Status(AGX_EJSON,
                  Cat("body is not valid JSON at byte ", error.offset, ": ", error.reason));
  }
  *length = size;
  return Status();
}

EventFields MakeEvent(std::string_view type, std::string_view origin, std::string_view body) {
  EventFields event;
  event.Add(kTypeField, type);
  event.Add(kOriginField, origin);
  if (body.data() != nullptr) event.Add(kBodyField, body);
  return event;
}

void ReadEvent(Entry* entry) {
  const Field* type = nullptr;
  const Field* origin = nullptr;
  const Field* body = nullptr;
  for (size_t i = 0; i < entry->field_count; ++i) {
    const Field& field = entry->fields[i];
    if (type == nullptr && field.name == kTypeField) {
      type = &field;
    } else if (origin == nullptr && field.name == kOriginField) {
      origin = &field;
    } else if (body == nullptr && field.name == kBodyField) {
      body = &field;
    }
  }
  entry->type = type ? type->value : "";
  entry->origin = origin ? origin->value : "";
  entry->body = body ? body->value : "{}";
  entry->begins = entry->type == "begin" && !IsReplayed(*entry);
  entry->ending = IsEnd(*entry) ? Ending::kMark : Ending::kNone;
}

bool IsEnd(const Entry& entry) { return entry.type == "end"; }

const Format& AgxFormat() { return agx_format; }

std::string BeginBody(std::string_view session_id) {
  std::string body = "{\"session_id\": ";
  AppendJsonStringAscii(session_id, &body);
  body += '}';
  return body;
}

}  // namespace agx
