// Functions of the caller's: subscriptions and interceptors.
#include <exception>

#include "base/options.h"
#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

const agx_event* ToEvent(const Entry* entry) { return reinterpret_cast<const agx_event*>(entry); }

agx_intercepted* ToC(Intercepted* event) { return reinterpret_cast<agx_intercepted*>(event); }

Intercepted* FromC(agx_intercepted* event) { return reinterpret_cast<Intercepted*>(event); }

void TellWords(const Status& status) {
  if (status.code() == AGX_BEHIND) {
    Report(AGX_BEHIND,
           "the subscription's function is too slow: its queue is full, and what follows "
           "waits in the store");
  } else {
    Report(status);
  }
}

// What the function says of the event.
Status Ask(agx_interceptor_function function, void* user_data, Intercepted* event) {
  agx_status said = AGX_OK;
  try {
    said = function(ToC(event), user_data);
  } catch (const std::exception& error) {
    return {AGX_EFAILED, Cat("an interceptor threw: ", error.what())};
  } catch (...) {
    return {AGX_EFAILED, "an interceptor threw an exception of an unknown kind"};
  }
  if (said == AGX_OK) return {};
  if (said == AGX_SWALLOWED) return Swallowed();
  std::string why = event->TakeMessage();
  return {said, why.empty() ? "an interceptor refused the event" : std::move(why)};
}

agx_status Change(agx_intercepted* event, Status (Intercepted::*set)(const char*),
                  const char* text) {
  if (event == nullptr) return Report(AGX_EINVAL, "the intercepted event is NULL");
  return Guarded([&] { return (FromC(event)->*set)(text); });
}

const char* Text(const agx_intercepted* event, std::string_view (Intercepted::*get)() const,
                 size_t* length) {
  std::string_view text = "";
  if (event != nullptr) text = (reinterpret_cast<const Intercepted*>(event)->*get)();
  if (length != nullptr) *length = text.size();
  return text.data();
}

}  // namespace

extern "C" {

agx_status agx_subscribe(agx_session* session, const char* where,
                         const agx_subscribe_options* options, agx_subscriber function,
                         void* user_data, agx_subscription** subscription) {
  if (subscription == nullptr) return MissingOut("agx_subscribe: subscription is NULL");
  *subscription = nullptr;
  if (function == nullptr) return Report(AGX_EINVAL, "agx_subscribe: function is NULL");
  return Call(session, [&](Session& object) -> Status {
    agx_subscribe_options read = AGX_SUBSCRIBE_OPTIONS_INIT;
    const agx_subscribe_options defaults = AGX_SUBSCRIBE_OPTIONS_INIT;
    if (Status status = ReadOptions(options, defaults, &read); !status.ok()) return status;
    if (object.client()->closed()) return Client::ClosedStatus();
    Result<std::shared_ptr<Subscription>> opened = Subscription::Open(object, where, read);
    if (!opened.ok()) return opened.status();
    std::shared_ptr<Subscription> kept = *opened;
    agx_subscription* handle = nullptr;
    if (Status status = Give(std::move(*opened), &handle); !status.ok()) return status;
    // The function may be called, and close the handle, before this returns.
    *subscription = handle;
    Status status;
    try {
      status = kept->Begin([handle, function, user_data](const Status& told, const Entry* entry) {
        TellWords(told);
        function(handle, told.code(), ToEvent(entry), user_data);
      });
    } catch (const std::bad_alloc&) {
      status = {AGX_ENOMEM, {}};
    }
    if (!status.ok()) {
      *subscription = nullptr;
      Close(handle);
    }
    return status;
  });
}

void agx_subscription_close(agx_subscription* subscription) { Close(subscription); }

agx_status agx_intercept(agx_session* session, const char* where, agx_interceptor_function function,
                         void* user_data, agx_interceptor** interceptor) {
  if (interceptor == nullptr) return MissingOut("agx_intercept: interceptor is NULL");
  *interceptor = nullptr;
  if (function == nullptr) return Report(AGX_EINVAL, "agx_intercept: function is NULL");
  return Call(session, [&](Session& object) -> Status {
    if (object.client()->closed()) return Client::ClosedStatus();
    Result<std::shared_ptr<Interceptor>> opened = Interceptor::Open(
        where,
        [function, user_data](Intercepted* event) { return Ask(function, user_data, event); });
    if (!opened.ok()) return opened.status();
    std::shared_ptr<Interceptor> kept = *opened;
    if (Status status = Give(std::move(*opened), interceptor); !status.ok()) return status;
    try {
      kept->Begin(object.shared_from_this(), kept);
    } catch (const std::bad_alloc&) {
      Close(std::exchange(*interceptor, nullptr));
      throw;
    }
    return {};
  });
}

void agx_interceptor_close(agx_interceptor* interceptor) { Close(interceptor); }

const char* agx_intercepted_type(const agx_intercepted* event, size_t* length) {
  return Text(event, &Intercepted::type, length);
}

const char* agx_intercepted_origin(const agx_intercepted* event, size_t* length) {
  return Text(event, &Intercepted::origin, length);
}

const char* agx_intercepted_body(const agx_intercepted* event, size_t* length) {
  return Text(event, &Intercepted::body, length);
}

agx_status agx_intercepted_set_type(agx_intercepted* event, const char* type) {
  return Change(event, &Intercepted::SetType, type);
}

agx_status agx_intercepted_set_origin(agx_intercepted* event, const char* origin) {
  return Change(event, &Intercepted::SetOrigin, origin);
}

agx_status agx_intercepted_set_body(agx_intercepted* event, const char* body) {
  return Change(event, &Intercepted::SetBody, body);
}

agx_status agx_intercepted_refuse(agx_intercepted* event, agx_status status, const char* message) {
  if (event == nullptr) return Report(AGX_EINVAL, "the intercepted event is NULL");
  if (status == AGX_OK || status == AGX_SWALLOWED) {
    return Report(AGX_EINVAL, "agx_intercepted_refuse: this status refuses nothing");
  }
  return Guarded([&]() -> Status {
    FromC(event)->set_message(message != nullptr ? message : "");
    return {status, message != nullptr ? message : ""};
  });
}
}
