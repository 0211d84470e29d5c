// AG2's RedisStream: a list whose elements are JSON objects, with `__type__` the event's class, and a
// channel on which each is published. Newer versions call it `__event__`.
#include <algorithm>

#include "base/json.h"
#include "base/json_value.h"
#include "format/format.h"

namespace agx {
namespace {

constexpr std::string_view kName = "ag2";
constexpr std::string_view kPrefix = "ag2:stream";
constexpr std::string_view kType = "__type__";
constexpr std::string_view kNewType = "__event__";
enum Dialect { kOld = 1, kNew = 2 };
// Classes that only those versions have which know the new name.
constexpr std::string_view kNewPackage = "ag2.";
// What a pickle of each protocol since 2 begins with, and JSON never does.
constexpr char kPickle = '\x80';

// What says of which class an element is: the new name counts where the old one is missing.
JsonValue TypeOf(JsonValue element) {
  JsonValue type = element[kType];
  return type ? type : element[kNewType];
}

// A dotted path, as Python imports one, whose names may have letters of any script, and digits but at
// their beginning; ag2 fails to read what has another type.
bool IsClassPath(std::string_view text) {
  auto allowed = [](char c) {
    if (static_cast<unsigned char>(c) >= 0x80) return true;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '<' || c == '>';
  };
  bool name_begins = true;
  for (char c : text) {
    if (name_begins && c >= '0' && c <= '9') return false;
    name_begins = c == '.';
  }
  return text.find('.') != std::string_view::npos && !text.starts_with('.') &&
         !text.ends_with('.') && text.find("..") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), allowed);
}

Status Refuse(std::string_view what) {
  return {
      AGX_EUNSUPPORTED,
      Cat("the format ", kName,
          " holds events whose type is a Python class's path, such as my_app.events.Answer, and "
          "whose body is a JSON object of its attributes: ",
          what)};
}

class Ag2 final : public Format {
 public:
  constexpr Ag2()
      : Format({.name = kName.data(),
                .named = true,
                .list = true,
                .has_dialects = true,
                .python_json = true}) {}

  Result<std::string> Key(std::string_view prefix, std::string_view name) const override {
    return Cat(prefix.empty() ? kPrefix : prefix, ":", name);
  }
  std::string Channel(std::string_view prefix, std::string_view name) const override {
    return Cat(prefix.empty() ? kPrefix : prefix, ":pubsub:", name);
  }

  void Read(Entry* entry) const override {
    const Field* element = FindField(*entry, kElement);
    entry->type = entry->origin = "";
    entry->body = "{}";
    entry->timeless = true;
    if (element == nullptr) return;
    entry->origin = kName;
    entry->body = element->value;
    if (entry->body.starts_with(kPickle)) {
      entry->refusal =
          "it was written by ag2's PICKLE serializer, and reading that runs whatever code is in "
          "it: let ag2 write with Serializer.JSON";
      return;
    }
    // Python writes numbers that are not JSON's; ag2 reads them.
    if (!ValidatePythonJson(entry->body, AGX_DEPTH_MAX)) return;
    JsonValue type = TypeOf(JsonValue(entry->body));
    if (type.is_string()) entry->type = entry->batch->Copy(type.String());
  }

  int Dialect(const Entry& entry) const override {
    if (entry.type.empty()) return 0;
    JsonValue element(entry.body);
    return element[kType] ? kOld : element[kNewType] ? kNew : 0;
  }

  Status Write(const NewEvent& event, const Stamp& stamp, EventFields* fields) const override {
    if (event.type.empty()) {  // a copy of what has none
      fields->Add(kElement, event.body.data() != nullptr ? event.body : "{}");
      return {};
    }
    if (!IsClassPath(event.type)) return Refuse(Cat("\"", event.type, "\" is none"));
    JsonValue body(event.body.data() != nullptr ? event.body : "{}");
    if (!body.is_object()) return Refuse("this body is no object");
    JsonValue type = TypeOf(body);
    if (type) {
      if (!type.Is(event.type)) return Refuse("this body has another __type__ or __event__");
      fields->Add(kElement, event.body);
      return {};
    }
    bool renamed = stamp.dialect == kNew || event.type.starts_with(kNewPackage);
    std::string_view name = renamed ? kNewType : kType;
    std::string element = Cat("{\"", name, "\": ");
    AppendJsonString(event.type, &element);
    JsonMembers members(body);
    if (members.Next()) element += ", ";
    std::string_view rest = body.text().substr(1);
    element += rest.substr(std::min(rest.find_first_not_of(" \t\r\n"), rest.size()));
    fields->Add(kElement, fields->Keep(element));
    return {};
  }
};

constinit const Ag2 format;

}  // namespace

const Format& Ag2Format() { return format; }

}  // namespace agx
