#include "core/messages.h"

#include <sys/random.h>

#include <chrono>
#include <cstring>

#include "base/file.h"
#include "base/json.h"
#include "format/agx_format.h"
#include "format/model_request.h"

namespace agx {
namespace {

Status Conflict(std::string_view where) {
  return {AGX_ECONFLICT, Cat("somebody else has saved the conversation ", where,
                             " in between; nothing was written: load it and append again")};
}

class InStore final : public MessagesPlace {
 public:
  explicit InStore(const Session& session)
      : client_(session.client()), key_(MessagesKey(session.key())) {}

  Status Load(Kept* kept) override {
    KeptText text;
    Status status = client_->store().GetText(key_, &text);
    kept->present = !text.version.empty();
    kept->text = std::move(text.text);
    kept->version = std::move(text.version);
    return status;
  }
  Status Save(std::string_view text, const std::string& expected, bool again,
              std::string* version) override {
    bool conflict = false;
    Status status = client_->store().PutText(key_, expected, text, again, version, &conflict);
    return status.ok() && conflict ? Conflict(key_) : status;
  }

 private:
  const std::shared_ptr<Client> client_;
  const std::string key_;
};

// A file's version is its text, marked so that an empty file is other than none.
class InFile final : public MessagesPlace {
 public:
  explicit InFile(std::string path) : path_(std::move(path)) {}

  Status Load(Kept* kept) override {
    Status status = ReadFile(path_, AGX_BODY_MAX, &kept->text, &kept->present);
    if (kept->present) kept->version = Cat("=", kept->text);
    return status;
  }
  Status Save(std::string_view text, const std::string& expected, bool again,
              std::string* version) override {
    std::string saved = Cat("=", text);
    FileText old;
    if (!expected.empty()) old = std::string_view(expected).substr(1);
    bool conflict = false;
    Status status = ReplaceFile(path_, old, text, again, &conflict);
    if (status.ok() && conflict) return Conflict(Cat("in ", path_));
    if (status.ok()) version->swap(saved);
    return status;
  }

 private:
  const std::string path_;
};

class AtCaller final : public MessagesPlace {
 public:
  AtCaller(agx_messages_loader load, agx_messages_saver save, void* user_data)
      : load_(load), save_(save), user_data_(user_data) {}

  Status Load(Kept* kept) override {
    agx_messages_sink sink;
    agx_status code = load_(user_data_, &sink);
    if (code != AGX_OK && code == sink.status.code()) return sink.status;
    if (Status status = Told("loads", code); !status.ok()) return status;
    kept->text = std::move(sink.text);
    kept->present = sink.present;
    return {};
  }
  // Whether somebody else has saved is for the caller's function to say.
  Status Save(std::string_view text, const std::string& /*expected*/, bool /*again*/,
              std::string* /*version*/) override {
    return Told("saves", save_(user_data_, text.data(), text.size()));
  }

 private:
  static Status Told(std::string_view what, agx_status code) {
    if (code == AGX_OK) return {};
    return {code, Cat("the caller's function that ", what, " the conversation returned ",
                      agx_status_string(code))};
  }

  const agx_messages_loader load_;
  const agx_messages_saver save_;
  void* const user_data_;
};

Status Missing(std::string_view what) { return {AGX_EINVAL, Cat(what, " is NULL")}; }

std::string Now() { return Timestamp(std::chrono::system_clock::now()); }

// As pydantic-ai makes them up, where there was no call.
std::string NewToolCallId() {
  unsigned char random[16];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
    auto now = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    std::memcpy(random, &now, sizeof(now));
    std::memcpy(random + sizeof(now), &now, sizeof(now));
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string id = "pyd_ai_";
  for (unsigned char byte : random) {
    id += kHex[byte >> 4];
    id += kHex[byte & 15];
  }
  return id;
}

}  // namespace

std::unique_ptr<MessagesPlace> MessagesInStore(const Session& session) {
  return std::make_unique<InStore>(session);
}

Result<std::unique_ptr<MessagesPlace>> MessagesInFile(const char* path) {
  Result<std::string> absolute = AbsolutePath(path);
  if (!absolute.ok()) return absolute.status();
  if (Status status = CheckDirectoryOf(*absolute); !status.ok()) return status;
  return std::unique_ptr<MessagesPlace>(std::make_unique<InFile>(std::move(*absolute)));
}

std::unique_ptr<MessagesPlace> MessagesAtCaller(agx_messages_loader load, agx_messages_saver save,
                                                void* user_data) {
  return std::make_unique<AtCaller>(load, save, user_data);
}

// --- Loading and saving

// A caller's own function runs within it, so the same thread may come by again.
Status Messages::BeginTransfer(std::unique_lock<std::mutex>* lock) {
  if (transferring_.load() == std::this_thread::get_id()) {
    return {AGX_EBUSY, "the conversation is being loaded or saved by this very call"};
  }
  *lock = std::unique_lock(transfer_mutex_);
  return {};
}

// Set while the thread is in the place's functions, however they end.
class Messages::Transferring {
 public:
  explicit Transferring(std::atomic<std::thread::id>* id) : id_(id) {
    id_->store(std::this_thread::get_id());
  }
  ~Transferring() { id_->store({}); }
  Transferring(const Transferring&) = delete;
  Transferring& operator=(const Transferring&) = delete;

 private:
  std::atomic<std::thread::id>* id_;
};

Status Messages::Load() {
  if (place_ == nullptr) return {};
  std::unique_lock<std::mutex> transfer;
  if (Status status = BeginTransfer(&transfer); !status.ok()) return status;
  Transferring transferring(&transferring_);
  MessagesPlace::Kept kept;
  if (Status status = place_->Load(&kept); !status.ok()) return status;
  Conversation loaded;
  if (kept.present) {
    Result<Conversation> parsed = Conversation::Parse(std::move(kept.text));
    if (!parsed.ok()) return parsed.status();
    loaded = std::move(*parsed);
  }
  std::lock_guard lock(mutex_);
  conversation_ = std::move(loaded);
  version_ = std::move(kept.version);
  uncertain_ = false;
  Changed();
  return {};
}

Status Messages::Save() {
  if (place_ == nullptr) return {};
  std::unique_lock<std::mutex> transfer;
  if (Status status = BeginTransfer(&transfer); !status.ok()) return status;
  Transferring transferring(&transferring_);
  std::string text;
  {
    std::lock_guard lock(mutex_);
    text = conversation_.json();
  }
  bool again = std::exchange(uncertain_, true);  // also if this throws
  Status status = place_->Save(text, version_, again, &version_);
  uncertain_ = !status.ok() && status.code() != AGX_ECONFLICT;
  return status;
}

// --- Changing

void Messages::Changed() noexcept {
  members_.clear();
  requests_.clear();
  nodes_.reset();
  parts_of_.reset();
}

Status Messages::Append(std::string_view json) {
  std::lock_guard lock(mutex_);
  Status status = conversation_.Append(json);
  if (status.ok()) Changed();
  return status;
}

Status Messages::AppendPart(std::string_view part, std::string_view timestamp) {
  std::lock_guard lock(mutex_);
  Status status = conversation_.AppendPart(part, timestamp);
  if (status.ok()) Changed();
  return status;
}

Status Messages::AppendSystem(const char* content) {
  if (content == nullptr) return Missing("content");
  std::string now = Now();
  return AppendPart(SystemPromptPart(content, now), now);
}

Status Messages::AppendUser(const char* content) {
  if (content == nullptr) return Missing("content");
  std::string now = Now();
  return AppendPart(UserPromptPart(content, now), now);
}

Status Messages::AppendToolReturn(const char* tool_name, const char* tool_call_id,
                                  const char* content) {
  if (tool_name == nullptr) return Missing("tool_name");
  if (tool_call_id == nullptr) return Missing("tool_call_id");
  std::string_view json = content != nullptr ? content : "null";
  JsonError error;
  if (!ValidateJson(json, kPartValueDepth, &error)) {
    return {AGX_EJSON, Cat("content is not valid JSON at byte ", error.offset, ": ", error.reason)};
  }
  std::string now = Now();
  return AppendPart(ToolReturnPart(tool_name, tool_call_id, JsonValue(json).text(), now), now);
}

Status Messages::AppendRetry(const char* tool_name, const char* tool_call_id, const char* content) {
  if (content == nullptr) return Missing("content");
  if (tool_name != nullptr && tool_call_id == nullptr) return Missing("tool_call_id");
  std::string_view name;
  if (tool_name != nullptr) name = tool_name;
  std::string id = tool_call_id != nullptr ? tool_call_id : NewToolCallId();
  std::string now = Now();
  return AppendPart(RetryPromptPart(name, id, content, now), now);
}

// --- Reading

std::string_view Messages::Json() {
  std::lock_guard lock(mutex_);
  return conversation_.json();
}

std::string_view Messages::Title() {
  std::lock_guard lock(mutex_);
  JsonValue content = conversation_.TitleContent();
  return content ? Keep(content) : kNoTitle;
}

std::string_view Messages::Nodes() {
  std::lock_guard lock(mutex_);
  if (!nodes_) nodes_ = conversation_.Nodes();
  return *nodes_;
}

Status Messages::Request(agx_model_api api, const char* settings, std::string_view* json) {
  std::string key = settings != nullptr ? settings : "{}";
  std::lock_guard lock(mutex_);
  auto found = requests_.find({api, key});
  if (found == requests_.end()) {
    Result<std::string> made = MakeModelRequest(conversation_, api, key);
    if (!made.ok()) return made.status();
    found = requests_.emplace(std::pair(api, std::move(key)), std::move(*made)).first;
  }
  *json = found->second;
  return {};
}

size_t Messages::count() {
  std::lock_guard lock(mutex_);
  return conversation_.count();
}

const std::vector<JsonValue>& Messages::PartsOf(size_t message) {
  if (parts_of_ == message) return parts_;
  parts_of_.reset();
  parts_.clear();
  for (JsonElements part(conversation_.message(message)["parts"]); part.Next();) {
    parts_.push_back(part.value());
  }
  parts_of_ = message;
  return parts_;
}

size_t Messages::PartCount(size_t message) {
  std::lock_guard lock(mutex_);
  return PartsOf(message).size();
}

Status Messages::MessageField(size_t message, const char* name, Field* field) {
  if (name == nullptr) return Missing("name");
  std::lock_guard lock(mutex_);
  if (message >= conversation_.count()) {
    return {AGX_NONE, Cat("there is no message ", message)};
  }
  return FieldOf(conversation_.message(message), name, field);
}

Status Messages::PartField(size_t message, size_t part, const char* name, Field* field) {
  if (name == nullptr) return Missing("name");
  std::lock_guard lock(mutex_);
  const std::vector<JsonValue>& parts = PartsOf(message);
  if (part >= parts.size()) {
    return {AGX_NONE, Cat("there is no part ", part, " in message ", message)};
  }
  return FieldOf(parts[part], name, field);
}

Status Messages::FieldOf(JsonValue object, const char* name, Field* field) {
  JsonValue value = object[name];
  if (!value) return {AGX_NONE, Cat("there is no field ", name)};
  *field = {Keep(value), !value.is_string()};
  return {};
}

// A string's text, of anything else its JSON.
std::string_view Messages::Keep(JsonValue value) {
  auto at = static_cast<size_t>(value.text().data() - conversation_.json().data());
  auto found = members_.find(at);
  if (found == members_.end()) {
    std::string text = value.is_string() ? value.String() : std::string(value.text());
    found = members_.emplace(at, std::move(text)).first;
  }
  return found->second;
}

}  // namespace agx
