// How whatever takes long learns that the agent is to stop.
#pragma once

#include <functional>

namespace chat {

// Asked again and again meanwhile; cheap.
using Stop = std::function<bool()>;

}  // namespace chat
