#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

extern "C" {

agx_status agx_open(const char* url, const agx_options* options, agx_client** client) {
  if (client == nullptr) return MissingOut("agx_open: client is NULL");
  *client = nullptr;
  return Guarded([&]() -> Status {
    Result<std::shared_ptr<Client>> opened = Client::Open(url, options);
    if (!opened.ok()) return opened.status();
    return Give(std::move(*opened), client);
  });
}

void agx_close(agx_client* client) { Close(client); }
}
