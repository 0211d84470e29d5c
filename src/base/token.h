// Names that nobody else has.
#pragma once

#include <string>

namespace agx {

// 32 random hexadecimal digits.
std::string RandomHex();

}  // namespace agx
