#include "connect.h"

namespace cli {
namespace {

void Log(void*, agx_log_level, const char* message) { Complain(message); }

}  // namespace

int OpenClient(const Arguments& arguments, int64_t lease_ms, const char* default_url,
               Client* client) {
  agx_options options = AGX_OPTIONS_INIT;
  const std::string* prefix = arguments.Get("prefix");
  const std::string* url = arguments.Get("url");
  if (prefix) options.prefix = prefix->c_str();
  options.lease_ms = lease_ms;
  if (arguments.Has("verbose")) {
    options.log = Log;
    options.log_level = AGX_LOG_DEBUG;
  }
  agx_client* opened = nullptr;
  const agx_status status = agx_open(url ? url->c_str() : default_url, &options, &opened);
  client->reset(opened);
  return status == AGX_OK ? kDone : Fail(status);
}

int OpenSession(agx_client* client, const SessionName& name, Session* session) {
  agx_session* opened = nullptr;
  const agx_status status =
      agx_session_open(client, name.scope, name.user, name.id.c_str(), &opened);
  session->reset(opened);
  return status == AGX_OK ? kDone : Fail(status);
}

int OpenMessages(agx_session* session, Messages* messages) {
  agx_messages* opened = nullptr;
  const agx_status status = agx_messages_open(session, &opened);
  messages->reset(opened);
  return status == AGX_OK ? kDone : Fail(status);
}

int Connect(const Arguments& arguments, int64_t lease_ms, Connection* connection, size_t operand) {
  Result<SessionName> name = ParseSessionName(arguments.operands()[operand]);
  if (!name.ok()) {
    Complain(name.error());
    return kUsage;
  }
  connection->name = *name;
  const int exit = OpenClient(arguments, lease_ms, nullptr, &connection->client);
  if (exit != kDone) return exit;
  return OpenSession(connection->client.get(), connection->name, &connection->session);
}

}  // namespace cli
