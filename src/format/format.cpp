#include "format/format.h"

#include <cstring>

namespace agx {
namespace {

constexpr const Format& (*kFormats[])() = {AgxFormat, OpenAiAgentsFormat, AgentFrameworkFormat,
                                           Ag2Format};

}  // namespace

std::string_view EventFields::Keep(std::string_view text) {
  texts = std::make_unique<char[]>(text.size() + 1);
  std::memcpy(texts.get(), text.data(), text.size());
  return {texts.get(), text.size()};
}

Result<std::string> Format::Key(std::string_view prefix, std::string_view name) const {
  if (prefix.empty()) return std::string(name);
  return Status(AGX_EINVAL, Cat("streams of the format ", traits_.name, " have no prefix"));
}

std::string Format::Channel(std::string_view /*prefix*/, std::string_view /*name*/) const {
  return {};
}

void Format::WriteBegin(std::string_view /*session_id*/, std::string_view /*origin*/,
                        const Stamp& /*stamp*/, EventFields* /*fields*/) const {}

void Format::WriteEnd(std::string_view /*origin*/, const Stamp& /*stamp*/,
                      EventFields* /*fields*/) const {}

std::string UnixSeconds(int64_t ms) {
  std::string fraction = std::to_string(1000 + ms % 1000);
  return Cat(ms / 1000, ".", fraction.substr(1));
}

const Field* FindField(const Entry& entry, std::string_view name) {
  for (size_t i = 0; i < entry.field_count; ++i) {
    if (entry.fields[i].name == name) return &entry.fields[i];
  }
  return nullptr;
}

Result<const Format*> FindFormat(std::string_view what, std::string_view name) {
  std::string names;
  for (auto* format : kFormats) {
    if (format().name() == name) return &format();
    names += Cat(names.empty() ? "" : ", ", format().name());
  }
  return Status(AGX_EINVAL, Cat(what, " is to be one of ", names));
}

}  // namespace agx
