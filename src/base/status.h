// Errors as values: a code of the C ABI and a message that a user can act on.
#pragma once

#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "agx.h"

namespace agx {

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(agx_status code, std::string message) : code_(code), message_(std::move(message)) {}
  Status(agx_status code, std::string message, std::string_view entry)
      : code_(code), message_(std::move(message)), entry_(entry) {}

  bool ok() const { return code_ == AGX_OK; }
  agx_status code() const { return code_; }
  const std::string& message() const { return message_; }
  // The id of the entry of a stream that it is about; "" if it is about none.
  const std::string& entry() const { return entry_; }

 private:
  agx_status code_ = AGX_OK;
  std::string message_;
  std::string entry_;
};

// Without its message, if there is no memory for that.
inline Status CopyOf(const Status& status) noexcept {
  try {
    return status;
  } catch (const std::bad_alloc&) {
    return {status.code(), {}};
  }
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(Status status) : status_(std::move(status)) {}  // NOLINT: implicit, as in `return status`
  Result(T value) : value_(std::move(value)) {}          // NOLINT: implicit, as in `return value`

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  T* operator->() { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

// "XRANGE on " + key + …, without a stream.
template <class... Parts>
std::string Cat(const Parts&... parts) {
  std::string text;
  auto append = [&text](const auto& part) {
    using Part = std::decay_t<decltype(part)>;
    if constexpr (std::is_arithmetic_v<Part>) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  };
  (append(parts), ...);
  return text;
}

}  // namespace agx
