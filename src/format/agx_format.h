// The `agx` format: keys, and the fields of an entry {type, origin, body}. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "format/format.h"
#include "store/entry.h"
#include "store/store.h"

namespace agx {

inline constexpr std::string_view kLiveSuffix = ":live";
inline constexpr std::string_view kMessagesSuffix = ":messages";

// {prefix}:{scope}:{user}:{session}
std::string StreamKey(std::string_view prefix, int64_t scope, int64_t user,
                      std::string_view session_id);
// The key of a stream's live flag.
std::string LiveKey(std::string_view stream_key);
// The key of the conversation that a session keeps between runs.
std::string MessagesKey(std::string_view stream_key);

// What the live keys of a scope and user begin with. The user may be AGX_ANY, or both. To be taken
// literally: the prefix may contain a glob's special characters.
std::string LivePrefix(std::string_view prefix, int64_t scope, int64_t user);

// The inverse of LiveKey(StreamKey(…)), for keys that anyone may have written: false unless it is
// a live key of this prefix, with integers as StreamKey writes them and a session id that
// CheckSessionId accepts. *session points into the key.
bool ParseLiveKey(std::string_view prefix, std::string_view key, int64_t* scope, int64_t* user,
                  std::string_view* session);

// AGX_EINVAL or AGX_ETOOBIG, with a message, for what may not be written. `what` is the argument's
// name.
Status CheckSessionId(const char* session_id);
Status CheckStreamName(const char* name);  // in formats that have names
Status CheckName(const char* what, const char* text);
// Null is no body. AGX_EJSON, AGX_ETOOBIG. *length is 0 if it is null.
Status CheckBody(const char* body, size_t* length);

// type, origin and body in this order; no body field if body.data() is null.
EventFields MakeEvent(std::string_view type, std::string_view origin, std::string_view body);

// Sets the entry's type, origin and body from its fields: the first of each name counts; type and
// origin are "" and the body is "{}" where there is none. Allocates nothing.
void ReadEvent(Entry* entry);

// After ReadEvent: does it end its session?
bool IsEnd(const Entry& entry);

// The body of `begin`, byte for byte as the reference implementations write it.
std::string BeginBody(std::string_view session_id);

}  // namespace agx
