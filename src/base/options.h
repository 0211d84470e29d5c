// Options structs of callers that were built with an older or a newer header.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "agx.h"
#include "base/status.h"

namespace agx {

// What the caller calls the struct, and what to start from.
template <class T>
struct OptionsName;
template <>
struct OptionsName<agx_options> {
  static constexpr const char* kType = "agx_options";
  static constexpr const char* kInit = "AGX_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_stream_options> {
  static constexpr const char* kType = "agx_stream_options";
  static constexpr const char* kInit = "AGX_STREAM_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_start_options> {
  static constexpr const char* kType = "agx_start_options";
  static constexpr const char* kInit = "AGX_START_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_listen_options> {
  static constexpr const char* kType = "agx_listen_options";
  static constexpr const char* kInit = "AGX_LISTEN_OPTIONS_INIT";
};

template <>
struct OptionsName<agx_subscribe_options> {
  static constexpr const char* kType = "agx_subscribe_options";
  static constexpr const char* kInit = "AGX_SUBSCRIBE_OPTIONS_INIT";
};

template <>
struct OptionsName<agx_run_options> {
  static constexpr const char* kType = "agx_run_options";
  static constexpr const char* kInit = "AGX_RUN_OPTIONS_INIT";
};

template <>
struct OptionsName<agx_history_options> {
  static constexpr const char* kType = "agx_history_options";
  static constexpr const char* kInit = "AGX_HISTORY_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_history> {
  static constexpr const char* kType = "agx_history";
  static constexpr const char* kInit = "AGX_HISTORY_INIT";
};

template <>
struct OptionsName<agx_group_options> {
  static constexpr const char* kType = "agx_group_options";
  static constexpr const char* kInit = "AGX_GROUP_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_group_process_options> {
  static constexpr const char* kType = "agx_group_process_options";
  static constexpr const char* kInit = "AGX_GROUP_PROCESS_OPTIONS_INIT";
};
template <>
struct OptionsName<agx_pending> {
  static constexpr const char* kType = "agx_pending";
  static constexpr const char* kInit = "AGX_PENDING_INIT";
};
template <>
struct OptionsName<agx_health> {
  static constexpr const char* kType = "agx_health";
  static constexpr const char* kInit = "AGX_HEALTH_INIT";
};

// Untyped part of ReadOptions: `given` may be shorter or longer than what it is copied to.
Status CopyOptions(const void* given, size_t known, size_t alignment, const char* type,
                   const char* init, void* out);

// Takes the caller's options over the defaults. null: the defaults. A smaller struct leaves the
// defaults for what it lacks; a larger one is taken if what is unknown here is zero. Otherwise
// AGX_EINVAL, and *out holds the defaults.
template <class T>
Status ReadOptions(const T* given, const T& defaults, T* out) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, size) == 0);
  *out = defaults;
  out->size = sizeof(T);
  if (given == nullptr) return Status();
  return CopyOptions(given, sizeof(T), alignof(T), OptionsName<T>::kType, OptionsName<T>::kInit,
                     out);
}

// Untyped part of GiveResult.
Status CheckSize(size_t size, size_t alignment, const char* type, const char* init);

// The other way: fills the caller's struct as far as it goes, and leaves what is unknown here.
template <class T>
Status GiveResult(const T& result, T* given) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, size) == 0);
  size_t size = given->size;
  Status status = CheckSize(size, alignof(T), OptionsName<T>::kType, OptionsName<T>::kInit);
  if (!status.ok()) return status;
  std::memcpy(given, &result, std::min(size, sizeof(T)));
  given->size = size;
  return status;
}

}  // namespace agx
