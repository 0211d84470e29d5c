// Texts that have to be cut short.
#pragma once

#include <cstddef>
#include <string_view>

namespace agx {

// Up to so many bytes of it, and not in the middle of a character.
inline std::string_view CutShort(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return text.substr(0, most);
}

}  // namespace agx
