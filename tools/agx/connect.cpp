#include "connect.h"

#include <algorithm>
#include <cctype>

namespace cli {
namespace {

void Log(void*, agx_log_level, const char* message) { Complain(message); }

// What a URL's parameters may have as %XX; "" if that is not what it is.
std::string Decoded(std::string_view text) {
  const auto is_hex = [](unsigned char c) { return std::isxdigit(c) != 0; };
  std::string decoded;
  while (!text.empty()) {
    const bool escaped = text[0] == '%';
    const std::string digits(text.substr(0, 3).substr(1));
    if (escaped && (digits.size() != 2 || !std::all_of(digits.begin(), digits.end(), is_hex))) {
      return "";
    }
    decoded += escaped ? static_cast<char>(std::stoi(digits, nullptr, 16)) : text[0];
    text.remove_prefix(escaped ? 3 : 1);
  }
  return decoded;
}

// Takes the parameter `format` out of a URL; "" if there is none, or none that the library would take: it
// is left there then, for the library to say so.
std::string TakeFormat(std::string* url) {
  constexpr std::string_view kName = "format=";
  for (size_t at = url->find('?'); at != url->npos; at = url->find('&', at + 1)) {
    if (std::string_view(*url).substr(at + 1, kName.size()) != kName) continue;
    const size_t end = std::min(url->find('&', at + 1), url->size());
    const size_t value = at + 1 + kName.size();
    std::string format = Decoded(std::string_view(*url).substr(value, end - value));
    if (format.empty()) return "";
    // Another parameter takes its place, or else the separator goes too.
    std::string bare = *url;
    end < url->size() ? bare.erase(at + 1, end - at) : bare.erase(at);
    std::string rest = bare;
    if (!TakeFormat(&rest).empty()) return "";
    url->swap(bare);
    return format;
  }
  return "";
}

// The format whose streams have names; "" for the one that has none.
std::string NamedFormat(const Arguments& arguments) {
  std::string format = FormatOf(arguments);
  return format != "agx" ? format : "";
}

// Of --prefix, where it would be of no effect.
int CheckPrefix(const Arguments& arguments, const std::string& format) {
  if (!arguments.Has("prefix") || format.empty() || format == "ag2") return kDone;
  Complain("--prefix: the streams of the format " + format + " have no prefix");
  return kUsage;
}

}  // namespace

std::string FormatOf(const Arguments& arguments) {
  if (const std::string* format = arguments.Get("format")) return *format;
  const std::string* given = arguments.Get("url");
  std::string url = given ? *given : Environment("AGX_URL");
  std::string format = TakeFormat(&url);
  return format.empty() ? "agx" : format;
}

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
  std::string bare = url ? url : Environment("AGX_URL");
  if (!TakeFormat(&bare).empty()) url = bare.c_str();
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
  const std::string format = NamedFormat(arguments);
  if (const int exit = CheckPrefix(arguments, format); exit != kDone) return exit;
  const int exit = OpenClient(arguments, lease_ms, nullptr, &connection->client);
  if (exit != kDone) return exit;
  agx_client* client = connection->client.get();
  if (format.empty()) return OpenSession(client, connection->name, &connection->session);
  const std::string* prefix = arguments.Get("prefix");
  return OpenStream(client, format, connection->name.id, prefix ? prefix->c_str() : nullptr,
                    &connection->session);
}

}  // namespace cli
