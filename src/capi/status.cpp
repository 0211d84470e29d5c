// Status, last error and version.
#include <hiredis/hiredis.h>

#include <algorithm>
#include <cstring>

#include "capi/handles.h"

namespace agx::capi {
namespace {

// Plain memory, so that no thread has anything to tear down after the library was unloaded.
constinit thread_local char last_error[1024];
constinit thread_local char last_error_entry[AGX_ID_SIZE];

template <size_t kSize>
void Keep(const char* text, char (&room)[kSize]) {
  size_t length = std::min(std::strlen(text), kSize - 1);
  std::memcpy(room, text, length);
  room[length] = '\0';
}

agx_status Report(agx_status code, const char* message, const char* entry) noexcept {
  if (code == AGX_OK) return code;
  Keep(message, last_error);
  Keep(entry, last_error_entry);
  return code;
}

}  // namespace

agx_status Report(agx_status code, const char* message) noexcept {
  return Report(code, message, "");
}

agx_status Report(const Status& status) noexcept {
  if (status.ok()) return AGX_OK;
  const char* message = status.message().c_str();
  if (status.message().empty()) message = agx_status_string(status.code());
  return Report(status.code(), message, status.entry().c_str());
}

}  // namespace agx::capi

#define AGX_TEXT_(x) #x
#define AGX_TEXT(x) AGX_TEXT_(x)

extern "C" {

int agx_version(void) { return AGX_VERSION_NUMBER; }

const char* agx_version_string(void) {
#if AGX_HAVE_TLS
#define AGX_TLS_TEXT ", with TLS"
#else
#define AGX_TLS_TEXT ", without TLS"
#endif
  return AGX_TEXT(AGX_VERSION_MAJOR) "." AGX_TEXT(AGX_VERSION_MINOR) "." AGX_TEXT(
      AGX_VERSION_PATCH) " (hiredis " AGX_TEXT(HIREDIS_MAJOR) "." AGX_TEXT(HIREDIS_MINOR) "." AGX_TEXT(
      HIREDIS_PATCH) AGX_TLS_TEXT ")";
}

const char* agx_status_string(agx_status status) {
  switch (status) {
    case AGX_OK:
      return "AGX_OK";
    case AGX_TIMEOUT:
      return "AGX_TIMEOUT";
    case AGX_ENDED:
      return "AGX_ENDED";
    case AGX_ABSENT:
      return "AGX_ABSENT";
    case AGX_SILENT:
      return "AGX_SILENT";
    case AGX_GONE:
      return "AGX_GONE";
    case AGX_GAP:
      return "AGX_GAP";
    case AGX_INTERRUPTED:
      return "AGX_INTERRUPTED";
    case AGX_LIMIT:
      return "AGX_LIMIT";
    case AGX_CANCELED:
      return "AGX_CANCELED";
    case AGX_TAKEN_OVER:
      return "AGX_TAKEN_OVER";
    case AGX_NOT_LIVE:
      return "AGX_NOT_LIVE";
    case AGX_NONE:
      return "AGX_NONE";
    case AGX_BEHIND:
      return "AGX_BEHIND";
    case AGX_SWALLOWED:
      return "AGX_SWALLOWED";
    case AGX_EINVAL:
      return "AGX_EINVAL";
    case AGX_ENOMEM:
      return "AGX_ENOMEM";
    case AGX_ECLOSED:
      return "AGX_ECLOSED";
    case AGX_EBUSY:
      return "AGX_EBUSY";
    case AGX_ECONNECT:
      return "AGX_ECONNECT";
    case AGX_ETIMEOUT:
      return "AGX_ETIMEOUT";
    case AGX_EUNCERTAIN:
      return "AGX_EUNCERTAIN";
    case AGX_EAUTH:
      return "AGX_EAUTH";
    case AGX_EDENIED:
      return "AGX_EDENIED";
    case AGX_EUNSUPPORTED:
      return "AGX_EUNSUPPORTED";
    case AGX_ETYPE:
      return "AGX_ETYPE";
    case AGX_EFULL:
      return "AGX_EFULL";
    case AGX_EREADONLY:
      return "AGX_EREADONLY";
    case AGX_ELOADING:
      return "AGX_ELOADING";
    case AGX_EPROTOCOL:
      return "AGX_EPROTOCOL";
    case AGX_ESERVER:
      return "AGX_ESERVER";
    case AGX_ETOOBIG:
      return "AGX_ETOOBIG";
    case AGX_EJSON:
      return "AGX_EJSON";
    case AGX_ESYSTEM:
      return "AGX_ESYSTEM";
    case AGX_ESTATE:
      return "AGX_ESTATE";
    case AGX_ECONFLICT:
      return "AGX_ECONFLICT";
    case AGX_EMODEL:
      return "AGX_EMODEL";
    case AGX_EFAILED:
      return "AGX_EFAILED";
  }
  return "AGX_UNKNOWN";
}

const char* agx_last_error(void) { return agx::capi::last_error; }
const char* agx_last_error_entry(void) { return agx::capi::last_error_entry; }
}
