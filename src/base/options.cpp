#include "base/options.h"

#include <string>

namespace agx {
namespace {

// Larger than any options struct will be: a size like that was never set.
constexpr size_t kLargestSize = size_t{64} * 1024;

bool AllZero(const char* bytes, size_t count) {
  return std::all_of(bytes, bytes + count, [](char byte) { return byte == 0; });
}

}  // namespace

Status CheckSize(size_t size, size_t alignment, const char* type, const char* init) {
  // A compiler pads a struct to its alignment, so no other size is that of an older or newer one.
  if (size < sizeof(size) || size > kLargestSize || size % alignment != 0) {
    return Status(AGX_EINVAL, Cat(type, ".size is ", size, ": start from ", init));
  }
  return Status();
}

Status CopyOptions(const void* given, size_t known, size_t alignment, const char* type,
                   const char* init, void* out) {
  size_t size;
  std::memcpy(&size, given, sizeof(size));
  if (Status status = CheckSize(size, alignment, type, init); !status.ok()) return status;
  if (size > known && !AllZero(static_cast<const char*>(given) + known, size - known)) {
    return Status(
        AGX_EINVAL,
        Cat(type, " sets what this version of the library does not know (.size is ", size,
            ", the library knows ", known, " bytes): leave it at zero, or use a newer libagx"));
  }
  std::memcpy(out, given, std::min(size, known));
  std::memcpy(out, &known, sizeof(known));
  return Status();
}

}  // namespace agx
