// What stands behind each handle.
#pragma once

#include "capi/handles.h"
#include "core/client.h"
#include "core/group.h"
#include "core/interceptor.h"
#include "core/listener.h"
#include "core/messages.h"
#include "core/mux.h"
#include "core/query.h"
#include "core/run.h"
#include "core/session.h"
#include "core/subscription.h"

namespace agx::capi {

template <>
struct Traits<agx_client> {
  using Object = Client;
  static constexpr Kind kKind = Kind::kClient;
  static constexpr const char* kNull = "the client is NULL";
  static constexpr const char* kStale = "the client is closed, or no client";
};

template <>
struct Traits<agx_session> {
  using Object = Session;
  static constexpr Kind kKind = Kind::kSession;
  static constexpr const char* kNull = "the session is NULL";
  static constexpr const char* kStale = "the session is closed, or no session";
};

template <>
struct Traits<agx_listener> {
  using Object = Listener;
  static constexpr Kind kKind = Kind::kListener;
  static constexpr const char* kNull = "the listener is NULL";
  static constexpr const char* kStale = "the listener is closed, or no listener";
};

template <>
struct Traits<agx_mux> {
  using Object = Mux;
  static constexpr Kind kKind = Kind::kMux;
  static constexpr const char* kNull = "the mux is NULL";
  static constexpr const char* kStale = "the mux is closed, or no mux";
};

template <>
struct Traits<agx_query> {
  using Object = Query;
  static constexpr Kind kKind = Kind::kQuery;
  static constexpr const char* kNull = "the query is NULL";
  static constexpr const char* kStale = "the query is closed, or no query";
};

template <>
struct Traits<agx_run> {
  using Object = Run;
  static constexpr Kind kKind = Kind::kRun;
  static constexpr const char* kNull = "the run is NULL";
  static constexpr const char* kStale = "the run is closed, or no run";
};

template <>
struct Traits<agx_messages> {
  using Object = Messages;
  static constexpr Kind kKind = Kind::kMessages;
  static constexpr const char* kNull = "the messages handle is NULL";
  static constexpr const char* kStale = "the messages handle is closed, or none";
};

template <>
struct Traits<agx_group> {
  using Object = Group;
  static constexpr Kind kKind = Kind::kGroup;
  static constexpr const char* kNull = "the group is NULL";
  static constexpr const char* kStale = "the group is closed, or no group";
};

template <>
struct Traits<agx_subscription> {
  using Object = Subscription;
  static constexpr Kind kKind = Kind::kSubscription;
  static constexpr const char* kNull = "the subscription is NULL";
  static constexpr const char* kStale = "the subscription is closed, or no subscription";
};

template <>
struct Traits<agx_interceptor> {
  using Object = Interceptor;
  static constexpr Kind kKind = Kind::kInterceptor;
  static constexpr const char* kNull = "the interceptor is NULL";
  static constexpr const char* kStale = "the interceptor is closed, or no interceptor";
};

// Null out-pointers: `name` is the parameter's.
inline agx_status MissingOut(const char* message) { return Report(AGX_EINVAL, message); }

}  // namespace agx::capi
