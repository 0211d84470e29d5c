// Finding one text in another, quickly where both are short.
#pragma once

#include <cstddef>
#include <string_view>

namespace agx {

// As text.find(what, from), of a `what` of two bytes or more.
size_t FindText(std::string_view text, std::string_view what, size_t from);
// Whether the text has it, or the byte, in one pass.
bool HasTextOrByte(std::string_view text, std::string_view what, char byte);

}  // namespace agx
