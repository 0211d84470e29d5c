// The store inside the process.
#pragma once

#include <memory>
#include <string>

#include "store/store.h"

namespace agx {

// A client of the data of that name, which last for as long as a client of them is open.
// Nothing waits in it, and it has no thread: a key's expiry is noticed, and its watchers are told,
// by the next call on the same data. Throws bad_alloc.
std::shared_ptr<Store> OpenMemoryStore(const std::string& name);

}  // namespace agx
