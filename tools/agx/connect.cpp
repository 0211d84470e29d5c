#include "connect.h"

namespace cli {
namespace {

void Log(void*, agx_log_level, const char* message) { Complain(message); }

// The format whose streams have names; "" for the one that has none.
std::string NamedFormat(const Arguments& arguments) {
  const std::string* format = arguments.Get("format");
  return format && *format != "agx" ? *format : "";
}

}  // namespace

int OpenClient(const Arguments& arguments, int64_t lease_ms, const char* default_url,
               Client* client) {
  const std::string* url = arguments.Get("url");
  return OpenClientAt(arguments, lease_ms, url ? url->c_str() : default_url, client);
}

int OpenClientAt(const Arguments& arguments, int64_t lease_ms, const char* url, Client* client) {
  agx_options options = AGX_OPTIONS_INIT;
  const std::string* prefix = arguments.Get("prefix");
  if (prefix) options.prefix = prefix->c_str();
  options.lease_ms = lease_ms;
  if (arguments.Has("verbose")) {
    options.log = Log;
    options.log_level = AGX_LOG_DEBUG;
  }
  agx_client* opened = nullptr;
  const agx_status status = agx_open(url, &options, &opened);
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

int OpenStream(agx_client* client, const std::string& format, const std::string& name,
               const char* prefix, Session* session) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = format.c_str();
  // Where there is no prefix it is for the client alone.
  if (format == "ag2") options.prefix = prefix;
  agx_session* opened = nullptr;
  const agx_status status = agx_stream_open(client, name.c_str(), &options, &opened);
  session->reset(opened);
  return status == AGX_OK ? kDone : Fail(status);
}

Result<SessionName> NameOf(const Arguments& arguments, size_t operand) {
  const std::string& text = arguments.operands()[operand];
  if (NamedFormat(arguments).empty()) return ParseSessionName(text);
  return SessionName{0, 0, text, text};
}

int Connect(const Arguments& arguments, int64_t lease_ms, Connection* connection, size_t operand) {
  Result<SessionName> name = NameOf(arguments, operand);
  if (!name.ok()) {
    Complain(name.error());
    return kUsage;
  }
  connection->name = *name;
  const int exit = OpenClient(arguments, lease_ms, nullptr, &connection->client);
  if (exit != kDone) return exit;
  const std::string format = NamedFormat(arguments);
  agx_client* client = connection->client.get();
  if (format.empty()) return OpenSession(client, connection->name, &connection->session);
  const std::string* prefix = arguments.Get("prefix");
  return OpenStream(client, format, connection->name.id, prefix ? prefix->c_str() : nullptr,
                    &connection->session);
}

}  // namespace cli
