// Events as lines of JSON.
#pragma once

#include <string>

#include "agx.h"
#include "store/entry.h"

namespace agx {

// Appends the entry, after its format has read it, as agx_event_json promises. Always one line of
// valid JSON. A body that agx_add would refuse, not JSON or nested too deep, goes in as a string.
void AppendEventJson(const Entry& entry, agx_json_form form, std::string* out);

}  // namespace agx
