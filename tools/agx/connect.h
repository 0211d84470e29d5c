// From the command line's words to a client and a session.
#pragma once

#include "args.h"
#include "handles.h"
#include "util.h"

namespace cli {

// Whose streams the operands name: what --format says, or else the URL that is used, or "agx".
std::string FormatOf(const Arguments& arguments);

// These complain, and return an exit status that is not kDone, if they fail.

// lease_ms 0: the default. default_url, or null: $AGX_URL, or else a Redis on this machine.
int OpenClient(const Arguments& arguments, int64_t lease_ms, const char* default_url,
               Client* client);
// The same at this URL, or null, whatever --url says. The URL's parameter `format` is for FormatOf alone:
// commands say of each stream whose it is.
int OpenClientAt(const Arguments& arguments, int64_t lease_ms, const char* url, Client* client);
int OpenSession(agx_client* client, const SessionName& name, Session* session);
// format: as --format has it; prefix: null for the default.
int OpenStream(agx_client* client, const std::string& format, const std::string& name,
               const char* prefix, Session* session);

// The client and the session that an operand, the first unless said otherwise, names.
struct Connection {
  SessionName name;
  Client client;
  Session session;
};
int Connect(const Arguments& arguments, int64_t lease_ms, Connection* connection,
            size_t operand = 0);
// The name alone.
Result<SessionName> NameOf(const Arguments& arguments, size_t operand = 0);

// The session's conversation, not yet loaded.
int OpenMessages(agx_session* session, Messages* messages);

}  // namespace cli
