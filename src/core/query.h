// An iteration over the live sessions of a scope and user, of a scope, or of all.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/client.h"

namespace agx {

class Query {
 public:
  static Result<std::shared_ptr<Query>> Open(std::shared_ptr<Client> client, int64_t scope,
                                             int64_t user);

  // AGX_ENDED after the last. *session_id lives until the next call.
  Status Next(int64_t* scope, int64_t* user, const char** session_id);
  // Ends a Next that is under way, after the command that it is in.
  void Close() noexcept { closed_ = true; }

 private:
  Query(std::shared_ptr<Client> client, std::string prefix);

  const std::shared_ptr<Client> client_;
  const std::string prefix_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::string cursor_ = "0";
  bool begun_ = false;
  std::vector<std::string> found_;
  std::unordered_set<std::string> seen_;  // a scan may give a key more than once
  std::string session_id_;
};

}  // namespace agx
