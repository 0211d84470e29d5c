// A conversation: what a session keeps between runs, and where it is kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agx.h"
#include "base/status.h"
#include "core/session.h"
#include "format/conversation.h"

// Behind the C ABI's type. Lives for as long as the call of a caller's function that loads.
struct agx_messages_sink {
  std::string text;
  bool present = false;
  agx::Status status;  // of agx_messages_loaded
};

namespace agx {

// Where a conversation is kept.
class MessagesPlace {
 public:
  // What is kept, and its version: "" if nothing is. Means something only to this place.
  struct Kept {
    std::string text;
    bool present = false;
    std::string version;
  };

  virtual ~MessagesPlace() = default;
  virtual Status Load(Kept* kept) = 0;
  // In one atomic step: AGX_ECONFLICT if the expected version is not the one that is kept. `again`:
  // this may have been done already, so the text itself may be kept as well.
  virtual Status Save(std::string_view text, const std::string& expected, bool again,
                      std::string* version) = 0;
};

std::unique_ptr<MessagesPlace> MessagesInStore(const Session& session);
Result<std::unique_ptr<MessagesPlace>> MessagesInFile(const char* path);
std::unique_ptr<MessagesPlace> MessagesAtCaller(agx_messages_loader load, agx_messages_saver save,
                                                void* user_data);

class Messages {
 public:
  // Null: nowhere; then Load and Save do nothing.
  explicit Messages(std::unique_ptr<MessagesPlace> place, Conversation conversation = {})
      : place_(std::move(place)), conversation_(std::move(conversation)) {}

  Status Load();
  Status Save();
  Status Append(std::string_view json);

  Status AppendSystem(const char* content);
  Status AppendUser(const char* content);
  // content: JSON text; null is null.
  Status AppendToolReturn(const char* tool_name, const char* tool_call_id, const char* content);
  Status AppendRetry(const char* tool_name, const char* tool_call_id, const char* content);

  // The texts live until the next change, and there is a NUL behind each.
  std::string_view Json();
  std::string_view Title();
  std::string_view Nodes();
  Status Request(agx_model_api api, const char* settings, std::string_view* json);

  struct Field {
    std::string_view text;
    bool is_json = false;
  };
  size_t count();
  size_t PartCount(size_t message);
  // AGX_NONE.
  Status MessageField(size_t message, const char* name, Field* field);
  Status PartField(size_t message, size_t part, const char* name, Field* field);

  void Close() noexcept {}

 private:
  class Transferring;

  Status BeginTransfer(std::unique_lock<std::mutex>* lock);
  Status AppendPart(std::string_view part, std::string_view timestamp);
  void Changed() noexcept;
  const std::vector<JsonValue>& PartsOf(size_t message);
  Status FieldOf(JsonValue object, const char* name, Field* field);
  std::string_view Keep(JsonValue value);

  // Load and Save are one at a time, and hold up nothing else.
  std::mutex transfer_mutex_;
  std::atomic<std::thread::id> transferring_{};
  const std::unique_ptr<MessagesPlace> place_;
  std::string version_;     // of what was loaded or saved last
  bool uncertain_ = false;  // the last Save may have been done though it failed

  std::mutex mutex_;  // guards all below
  Conversation conversation_;
  // Texts that were handed out, all until the next change: members by where they stand, request
  // bodies by what was asked for.
  std::unordered_map<size_t, std::string> members_;
  std::map<std::pair<agx_model_api, std::string>, std::string> requests_;
  std::optional<std::string> nodes_;
  // Of the message whose parts were asked for last.
  std::optional<size_t> parts_of_;
  std::vector<JsonValue> parts_;
};

}  // namespace agx
