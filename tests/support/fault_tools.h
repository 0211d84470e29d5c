// What the tests of faults share: handles that close themselves, numbered events, and what a stream really holds.
#pragma once

#include <agx.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/redis_server.h"

namespace agx::test {

struct Closer {
  void operator()(agx_client* handle) const { agx_close(handle); }
  void operator()(agx_session* handle) const { agx_session_close(handle); }
  void operator()(agx_listener* handle) const { agx_listener_close(handle); }
  void operator()(agx_mux* handle) const { agx_mux_close(handle); }
  void operator()(agx_query* handle) const { agx_query_close(handle); }
  void operator()(agx_messages* handle) const { agx_messages_close(handle); }
  void operator()(agx_group* handle) const { agx_group_close(handle); }
  void operator()(agx_event* event) const { agx_event_free(event); }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Closer>;

inline std::string Explain(agx_status status) {
  return std::string(agx_status_string(status)) + " (" + agx_last_error() + ")";
}

inline void Require(agx_status status) {
  if (status != AGX_OK) throw std::runtime_error(Explain(status));
}

inline Owned<agx_client> OpenClient(const std::string& url, const agx_options* options = nullptr) {
  agx_client* client = nullptr;
  Require(agx_open(url.c_str(), options, &client));
  return Owned<agx_client>(client);
}

inline Owned<agx_session> OpenSession(agx_client* client, const std::string& id) {
  agx_session* session = nullptr;
  Require(agx_session_open(client, 1, 2, id.c_str(), &session));
  return Owned<agx_session>(session);
}

inline Owned<agx_session> StartSession(agx_client* client, const std::string& id) {
  Owned<agx_session> session = OpenSession(client, id);
  Require(agx_start(session.get(), nullptr));
  return session;
}

inline std::string KeyOf(const std::string& id) { return "agx:1:2:" + id; }

// Neither waits for the session nor gives up in its silence.
inline agx_listen_options Patient(const char* after = nullptr) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = after;
  options.wait_ms = -1;
  options.timeout_ms = -1;
  return options;
}

inline Owned<agx_listener> Listen(agx_session* session,
                                  const agx_listen_options& options = Patient()) {
  agx_listener* listener = nullptr;
  Require(agx_listen(session, &options, &listener));
  return Owned<agx_listener>(listener);
}

// The number-th event of a writer.
struct Numbered {
  int writer = -1;
  int number = -1;
  bool operator==(const Numbered&) const = default;
  auto operator<=>(const Numbered&) const = default;
};

inline std::string BodyOf(Numbered event) {
  return "{\"w\":" + std::to_string(event.writer) + ",\"n\":" + std::to_string(event.number) + "}";
}

inline bool ParseBody(std::string_view body, Numbered* event) {
  return std::sscanf(std::string(body).c_str(), "{\"w\":%d,\"n\":%d}", &event->writer,
                     &event->number) == 2;
}

struct Stored {
  std::string id;
  std::string type;
  Numbered event;  // {-1, -1} if its body is none of BodyOf
};

// The stream's entries as the server has them.
inline std::vector<Stored> ReadStream(const RedisServer& server, const std::string& key) {
  std::string reply = server.Command({"XRANGE", key, "-", "+"});
  std::vector<Stored> entries;
  constexpr std::string_view kType = ", [type, ";
  constexpr std::string_view kBody = "body, ";
  for (size_t at = 0; (at = reply.find(kType, at)) != std::string::npos; at += kType.size()) {
    Stored entry;
    size_t id = reply.rfind('[', at) + 1;
    entry.id = reply.substr(id, at - id);
    size_t type = at + kType.size();
    entry.type = reply.substr(type, reply.find(',', type) - type);
    size_t body = reply.find(kBody, type);
    if (body < reply.find(kType, type))
      ParseBody(reply.substr(body + kBody.size(), 64), &entry.event);
    entries.push_back(std::move(entry));
  }
  return entries;
}

// The numbered ones among them.
inline std::vector<Numbered> EventsIn(const std::vector<Stored>& entries) {
  std::vector<Numbered> events;
  for (const Stored& entry : entries) {
    if (entry.event.writer >= 0) events.push_back(entry.event);
  }
  return events;
}

// What a call may return when the store cannot be reached and nothing was written.
inline bool IsOutage(agx_status status) {
  return status == AGX_ECONNECT || status == AGX_ETIMEOUT || status == AGX_ELOADING;
}

}  // namespace agx::test
