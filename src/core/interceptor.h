// Functions of the caller's that an event comes by before it is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/futex.h"
#include "base/status.h"
#include "format/condition.h"
#include "format/format.h"

namespace agx {

class Session;

// An event on its way. Its texts are the caller's, which end with a NUL, until they are changed.
class Intercepted {
 public:
  // The texts have been checked.
  explicit Intercepted(const NewEvent& event)
      : type_(event.type), origin_(event.origin), body_(event.body) {}
  Intercepted(const Intercepted&) = delete;
  Intercepted& operator=(const Intercepted&) = delete;

  std::string_view type() const { return type_; }
  std::string_view origin() const { return origin_; }
  // As a listener gets it.
  std::string_view body() const { return body_.data() != nullptr ? body_ : "{}"; }
  bool changed() const { return new_type_ || new_origin_ || new_body_ || body_.data() == nullptr; }
  NewEvent event() const { return {type_, origin_, body_}; }

  Status SetType(const char* text);
  Status SetOrigin(const char* text);
  Status SetBody(const char* text);
  // What is to be said if it is refused.
  void set_message(std::string message) { message_ = std::move(message); }
  std::string TakeMessage() { return std::move(message_); }

 private:
  std::string_view type_;
  std::string_view origin_;
  std::string_view body_;
  // Not in place of one another: what is pointed at stays until it is set anew.
  std::optional<std::string> new_type_;
  std::optional<std::string> new_origin_;
  std::optional<std::string> new_body_;
  std::string message_;
};

class Interceptor {
 public:
  // AGX_OK, AGX_SWALLOWED, or what the event is refused with.
  using Function = std::function<Status(Intercepted* event)>;

  static Result<std::shared_ptr<Interceptor>> Open(const char* where, Function function);

  // From now on the session's events come by.
  void Begin(const std::shared_ptr<Session>& session,
             const std::shared_ptr<Interceptor>& interceptor);
  // Calls the function, if it is for this event and is not what makes it.
  Status Call(Intercepted* event);
  // When it returns no call of the function is running, but those that it was called from.
  void Close() noexcept;

 private:
  class Frame;

  Interceptor(std::shared_ptr<const Condition> where, Function function)
      : where_(std::move(where)), function_(std::move(function)) {}
  bool Enter();
  void Leave() noexcept;

  const std::shared_ptr<const Condition> where_;
  const Function function_;
  std::weak_ptr<Session> session_;

  std::mutex mutex_;
  bool closed_ = false;
  uint32_t running_ = 0;
  Bell left_;
};

Status Swallowed();

}  // namespace agx
