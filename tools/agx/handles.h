// The library's handles, closed when they go out of scope.
#pragma once

#include <memory>

#include "agx.h"

namespace cli {

template <class Handle, void (*Close)(Handle*)>
struct Closer {
  void operator()(Handle* handle) const { Close(handle); }
};

using Client = std::unique_ptr<agx_client, Closer<agx_client, agx_close>>;
using Session = std::unique_ptr<agx_session, Closer<agx_session, agx_session_close>>;
using Listener = std::unique_ptr<agx_listener, Closer<agx_listener, agx_listener_close>>;
using Event = std::unique_ptr<agx_event, Closer<agx_event, agx_event_free>>;
using Messages = std::unique_ptr<agx_messages, Closer<agx_messages, agx_messages_close>>;
using Query = std::unique_ptr<agx_query, Closer<agx_query, agx_query_close>>;

}  // namespace cli
