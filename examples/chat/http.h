// A POST whose answer is handed on while it arrives, and which can be stopped at any moment.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "stop.h"

namespace chat {

struct Post {
  std::string url;
  std::vector<std::string> headers;
  std::string body;
  std::chrono::milliseconds patience;  // with a server that says nothing
};

struct PostResult {
  bool stopped = false;  // by `stop`, or because `take` wanted no more
  std::string error;     // what went wrong, for people; "" if the whole answer was taken
};

// `take` gets the body of an answer that is a success, piece by piece, and says whether it wants
// more of it. What else a server answers becomes an error that quotes it.
PostResult Send(const Post& post, const std::function<bool(std::string_view)>& take,
                const Stop& stop);

// An API's address and what is to follow its path; a query stays at the end. "" if the address is
// not one of http or https.
std::string JoinUrl(const std::string& base, const std::string& path);

}  // namespace chat
