// redis-openai-agents: {type, timestamp, data, metadata} in a stream of any name.
#include "base/json.h"
#include "base/json_value.h"
#include "format/format.h"

namespace agx {
namespace {

constexpr std::string_view kName = "openai-agents";
constexpr std::string_view kType = "type";
constexpr std::string_view kData = "data";
constexpr std::string_view kMetadata = "metadata";

// What libagx has put into an entry's metadata.
std::string_view OriginOf(const Entry& entry) {
  const Field* metadata = FindField(entry, kMetadata);
  if (metadata == nullptr || !ValidateJson(metadata->value, AGX_DEPTH_MAX, nullptr)) return kName;
  JsonValue origin = JsonValue(metadata->value)["origin"];
  return origin.is_string() ? entry.batch->Copy(origin.String()) : kName;
}

class OpenAiAgents final : public Format {
 public:
  constexpr OpenAiAgents()
      : Format({.name = kName.data(), .named = true, .holds_runs = true, .max_length = 10000}) {}

  void Read(Entry* entry) const override {
    const Field* type = FindField(*entry, kType);
    const Field* data = FindField(*entry, kData);
    bool ours = type != nullptr || data != nullptr;
    entry->type = type != nullptr ? type->value : "";
    entry->origin = ours ? OriginOf(*entry) : "";
    entry->body = data != nullptr ? data->value : "{}";
  }

  Status Write(const NewEvent& event, const Stamp& stamp, EventFields* fields) const override {
    std::string own = UnixSeconds(stamp.now_ms);
    size_t length = own.size();
    if (event.origin != kName && !event.origin.empty()) {
      own += "{\"origin\": ";
      AppendJsonString(event.origin, &own);
      own += '}';
    }
    std::string_view kept = fields->Keep(own);
    if (!event.type.empty()) fields->Add(kType, event.type);
    fields->Add("timestamp", kept.substr(0, length));
    fields->Add(kData, event.body.data() != nullptr ? event.body : "{}");
    if (kept.size() > length) fields->Add(kMetadata, kept.substr(length));
    return {};
  }
};

constinit const OpenAiAgents format;

}  // namespace

const Format& OpenAiAgentsFormat() { return format; }

}  // namespace agx
