// Handles, and what every function of the C ABI has in common.
//
// A handle is not an address but a slot's number and the generation of what is in it, dressed as a
// pointer. So a handle that was closed, or is none, is recognised instead of followed, and closing
// one can wait for the calls that are still in it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <system_error>
#include <utility>

#include "agx.h"
#include "base/status.h"

namespace agx::capi {

enum class Kind : uint8_t {
  kClient = 1,
  kSession,
  kListener,
  kMux,
  kQuery,
  kRun,
  kMessages,
  kGroup
};

// Keeps the object in the slot of a handle. Null if there is no memory.
void* OpenHandle(Kind kind, std::shared_ptr<void> object) noexcept;
// The object, kept from being closed until ReleaseHandle; null if the handle is not, or not any
// more, one of this kind.
void* AcquireHandle(Kind kind, const void* handle) noexcept;
void ReleaseHandle(const void* handle) noexcept;
// Lets no new call in; null if another is closing it already or it is no handle of this kind. Then
// FinishClose.
std::shared_ptr<void>* BeginClose(Kind kind, const void* handle) noexcept;
// Waits until all calls have left, and frees the handle.
void FinishClose(const void* handle) noexcept;

// Keeps the message for agx_last_error.
agx_status Report(const Status& status) noexcept;
agx_status Report(agx_status code, const char* message) noexcept;

// Which class stands behind a handle's type.
template <class Handle>
struct Traits;

// A handle in use by a call.
template <class Handle>
class Using {
 public:
  using Object = typename Traits<Handle>::Object;

  explicit Using(const Handle* handle)
      : handle_(handle),
        object_(static_cast<Object*>(AcquireHandle(Traits<Handle>::kKind, handle))) {}
  ~Using() {
    if (object_ != nullptr) ReleaseHandle(handle_);
  }
  Using(const Using&) = delete;
  Using& operator=(const Using&) = delete;

  explicit operator bool() const { return object_ != nullptr; }
  Object* operator->() const { return object_; }
  Object& operator*() const { return *object_; }
  // AGX_EINVAL or AGX_ECLOSED, for a handle that is none.
  agx_status Invalid() const {
    if (handle_ == nullptr) return Report(AGX_EINVAL, Traits<Handle>::kNull);
    return Report(AGX_ECLOSED, Traits<Handle>::kStale);
  }

 private:
  const Handle* handle_;
  Object* object_;
};

// Runs what may throw and turns its status into the C ABI's.
template <class Function>
agx_status Guarded(Function function) noexcept {
  try {
    return Report(function());
  } catch (const std::bad_alloc&) {
    return Report(AGX_ENOMEM, "out of memory");
  } catch (const std::system_error& error) {
    return Report(AGX_ESYSTEM, error.what());
  } catch (...) {
    return Report(AGX_ESYSTEM, "an unexpected failure");
  }
}

template <class Handle, class Function>
agx_status Call(const Handle* handle, Function function) noexcept {
  Using<Handle> object(handle);
  if (!object) return object.Invalid();
  return Guarded([&] { return function(*object); });
}

// Gives a new object its handle.
template <class Handle>
Status Give(std::shared_ptr<typename Traits<Handle>::Object> object, Handle** out) {
  *out = static_cast<Handle*>(OpenHandle(Traits<Handle>::kKind, std::move(object)));
  if (*out == nullptr) return {AGX_ENOMEM, "out of memory"};
  return {};
}

template <class Handle>
void Close(Handle* handle) noexcept {
  if (handle == nullptr) return;
  std::shared_ptr<void>* object = BeginClose(Traits<Handle>::kKind, handle);
  if (object == nullptr) return;
  static_cast<typename Traits<Handle>::Object*>(object->get())->Close();
  FinishClose(handle);
}

}  // namespace agx::capi
