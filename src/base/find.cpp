#include "base/find.h"

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace agx {

#if defined(__SSE2__)

// Sixteen places at a time are looked at for two bytes: not the outermost, which in a quoted name are
// quotes, and so everywhere in JSON.
size_t FindText(std::string_view text, std::string_view what, size_t from) {
  constexpr size_t kBlock = 16;
  if (from + what.size() + kBlock - 1 > text.size()) return text.find(what, from);
  const size_t one = what.size() > 2 ? 1 : 0;
  const size_t other = what.size() - 1 - one;
  const __m128i one_byte = _mm_set1_epi8(what[one]);
  const __m128i other_byte = _mm_set1_epi8(what[other]);
  const size_t last_block = text.size() - what.size() + 1 - kBlock;
  for (size_t at = from;;) {
    auto is_at = [place = text.data() + at](size_t offset, __m128i byte) {
      auto* bytes = reinterpret_cast<const __m128i*>(place + offset);
      return _mm_cmpeq_epi8(_mm_loadu_si128(bytes), byte);
    };
    __m128i both = _mm_and_si128(is_at(one, one_byte), is_at(other, other_byte));
    for (auto marks = static_cast<unsigned>(_mm_movemask_epi8(both)); marks != 0;
         marks &= marks - 1) {
      size_t found = at + static_cast<size_t>(std::countr_zero(marks));
      if (std::memcmp(text.data() + found, what.data(), what.size()) == 0) return found;
    }
    if (at == last_block) return text.npos;
    // The last block has again some of the places before it, at which it is not.
    at = at + kBlock < last_block ? at + kBlock : last_block;
  }
}

#else

size_t FindText(std::string_view text, std::string_view what, size_t from) {
  return text.find(what, from);
}

#endif

}  // namespace agx
