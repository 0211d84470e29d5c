// A conversation as the body of a request to a model.
#pragma once

#include <string>
#include <string_view>

#include "agx.h"
#include "base/status.h"
#include "format/conversation.h"

namespace agx {

// settings: the text of a JSON object, whose members become the body's own, before those that would
// be here otherwise. AGX_EJSON: they are none. AGX_EINVAL: there is no such API. AGX_EUNSUPPORTED:
// the API has no form for something in a user's prompt.
Result<std::string> MakeModelRequest(const Conversation& conversation, agx_model_api api,
                                     std::string_view settings);

}  // namespace agx
