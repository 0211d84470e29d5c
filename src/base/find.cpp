#include "base/find.h"

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace agx {

#if defined(__SSE2__)

namespace {

constexpr size_t kBlock = 16;

// Sixteen places at a time are looked at for two bytes: not the outermost, which in a quoted name are
// quotes, and so everywhere in JSON. `also` is called with each place. For texts of a block of places
// or more.
template <class Also>
size_t Find(std::string_view text, std::string_view what, size_t from, Also also) {
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
    also(is_at);
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

bool HasPlaces(std::string_view text, std::string_view what, size_t from) {
  return from + what.size() + kBlock - 1 <= text.size();
}

}  // namespace

size_t FindText(std::string_view text, std::string_view what, size_t from) {
  if (!HasPlaces(text, what, from)) return text.find(what, from);
  return Find(text, what, from, [](const auto& /*is_at*/) {});
}

bool HasTextOrByte(std::string_view text, std::string_view what, char byte) {
  if (!HasPlaces(text, what, 0)) {
    return text.find(byte) != text.npos || text.find(what) != text.npos;
  }
  const __m128i wanted = _mm_set1_epi8(byte);
  __m128i seen = _mm_setzero_si128();
  size_t found =
      Find(text, what, 0, [&](const auto& is_at) { seen = _mm_or_si128(seen, is_at(0, wanted)); });
  // Behind the last place are as many bytes as the other text has, but for one.
  return found != text.npos || _mm_movemask_epi8(seen) != 0 ||
         text.find(byte, text.size() - what.size() + 1) != text.npos;
}

#else

size_t FindText(std::string_view text, std::string_view what, size_t from) {
  return text.find(what, from);
}

bool HasTextOrByte(std::string_view text, std::string_view what, char byte) {
  return text.find(byte) != text.npos || text.find(what) != text.npos;
}

#endif

}  // namespace agx
