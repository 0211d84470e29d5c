#include "core/query.h"

#include <utility>

#include "format/agx_format.h"

namespace agx {

Result<std::shared_ptr<Query>> Query::Open(std::shared_ptr<Client> client, int64_t scope,
                                           int64_t user) {
  if (scope == AGX_ANY && user != AGX_ANY) {
    return Status(AGX_EINVAL, "sessions of a user are listed within a scope; give its id too");
  }
  std::string prefix = LivePrefix(client->config().prefix, scope, user);
  return std::shared_ptr<Query>(new Query(std::move(client), std::move(prefix)));
}

Query::Query(std::shared_ptr<Client> client, std::string prefix)
    : client_(std::move(client)), prefix_(std::move(prefix)) {}

Status Query::Next(int64_t* scope, int64_t* user, const char** session_id) {
  std::lock_guard lock(mutex_);
  for (;;) {
    if (client_->closed()) return Client::ClosedStatus();
    if (closed_) return {AGX_ECLOSED, "the query is closed"};
    while (!found_.empty()) {
      const std::string& key = found_.back();
      std::string_view id;
      bool is_new =
          ParseLiveKey(client_->config().prefix, key, scope, user, &id) && !seen_.contains(key);
      if (is_new) {
        // What may throw comes before the key is let go.
        session_id_ = id;
        seen_.insert(key);
      }
      found_.pop_back();
      if (!is_new) continue;
      *session_id = session_id_.c_str();
      return {};
    }
    if (begun_ && cursor_ == "0") return {AGX_ENDED, "there are no more live sessions"};
    Status status = client_->store().Scan(prefix_, kLiveSuffix, &cursor_, &found_);
    if (!status.ok()) return status;
    begun_ = true;
  }
}

}  // namespace agx
