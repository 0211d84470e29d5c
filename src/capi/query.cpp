#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

extern "C" {

agx_status agx_query_open(agx_client* client, int64_t scope_id, int64_t user_id,
                          agx_query** query) {
  if (query == nullptr) return MissingOut("agx_query_open: query is NULL");
  *query = nullptr;
  return Call(client, [&](Client& object) -> Status {
    if (object.closed()) return Client::ClosedStatus();
    auto opened = Query::Open(object.shared_from_this(), scope_id, user_id);
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), query);
  });
}

agx_status agx_query_next(agx_query* query, int64_t* scope_id, int64_t* user_id,
                          const char** session_id) {
  int64_t scope = 0;
  int64_t user = 0;
  const char* id = nullptr;
  agx_status status = Call(query, [&](Query& object) { return object.Next(&scope, &user, &id); });
  if (status != AGX_OK) scope = user = 0;
  if (scope_id != nullptr) *scope_id = scope;
  if (user_id != nullptr) *user_id = user;
  if (session_id != nullptr) *session_id = id;
  return status;
}

void agx_query_close(agx_query* query) { Close(query); }
}
