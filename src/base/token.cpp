#include "base/token.h"

#include <sys/random.h>

#include "base/clock.h"

namespace agx {

std::string RandomHex() {
  unsigned char random[16];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
    auto now = static_cast<uint64_t>(Clock::now().time_since_epoch().count());
    for (size_t i = 0; i < sizeof(random); ++i) {
      random[i] = static_cast<unsigned char>(now >> (i % 8 * 8)) ^ static_cast<unsigned char>(i);
    }
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (unsigned char byte : random) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

}  // namespace agx
