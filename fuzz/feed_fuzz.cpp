// Models' streams. The first byte picks the API, the second how many bytes come at a time: cut or
// whole, a stream must become the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/feed.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// What a listener relies on: parts are numbered in their order, only what has begun grows, and all that is written is UTF-8 and JSON.
class Listener final : public agx::PartSink {
 public:
  void PartBegan(int part, agx_part_kind kind, std::string_view content) override {
    Require(kind != AGX_PART_TOOL_CALL && part > last_);
    last_ = part;
    begun_[part] = kind;
    Note(content);
  }
  void PartGrew(int part, agx_part_kind kind, std::string_view delta) override {
    auto begun = begun_.find(part);
    Require(begun != begun_.end() && begun->second == kind);
    Note(delta);
  }
  void ToolCallEnded(int part, std::string_view name, std::string_view id,
                     std::string_view args) override {
    Require(part >= 0 && !name.empty() && agx::ValidateUtf8(id));
    Require(agx::ValidateJson(args, AGX_DEPTH_MAX, nullptr));
    Note(name);
    Note(args);
  }
  void Answered() override {
    Require(!answered_ && begun_.at(last_) == AGX_PART_TEXT);
    answered_ = true;
  }
  const std::string& told() const { return told_; }

 private:
  void Note(std::string_view text) {
    Require(agx::ValidateUtf8(text));
    told_ += text;
    told_ += '\0';
  }

  int last_ = -1;
  std::map<int, agx_part_kind> begun_;
  bool answered_ = false;
  std::string told_;
};

struct Outcome {
  std::string told;
  agx_status status;
};

Outcome Feed(agx_model_api api, std::string_view bytes, size_t cut) {
  Listener listener;
  agx::Response response(&listener);
  agx::Feed feed(api, &response);
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, cut);
    bytes.remove_prefix(piece.size());
    // In a buffer that ends where the piece ends, and is then gone.
    std::unique_ptr<char[]> buffer(new char[piece.size()]);
    std::memcpy(buffer.get(), piece.data(), piece.size());
    agx::Status status = feed.Take({buffer.get(), piece.size()});
    Require(status.ok() || (!status.message().empty() && agx::ValidateUtf8(status.message())));
  }
  agx::Status status = feed.Finish();
  Require(status.ok() || status.code() == AGX_EMODEL || status.code() == AGX_ETOOBIG);
  for (int i = 0; i < response.part_count(); ++i) Require(!response.IsOpen(i));
  Require(agx::ValidateJson(response.Json(), AGX_DEPTH_MAX, nullptr));
  return {listener.told(), status.code()};
}

// With an event that says nothing after each other: then none is read as the one before.
std::string Apart(std::string_view bytes) {
  std::string apart;
  for (size_t i = 0; i < bytes.size(); ++i) {
    apart += bytes[i];
    if (i > 0 && bytes[i] == '\n' && bytes[i - 1] == '\n') apart += "data: {}\n\n";
  }
  return apart;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  constexpr agx_model_api kApis[] = {AGX_OPENAI_CHAT, AGX_OPENAI_RESPONSES, AGX_ANTHROPIC};
  agx_model_api api = kApis[data[0] % 3];
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Outcome whole = Feed(api, bytes, size);
  Outcome cut = Feed(api, bytes, size_t{data[1]} + 1);
  Require(whole.told == cut.told && whole.status == cut.status);
  if (whole.status != AGX_OK) return 0;
  std::string apart = Apart(bytes);
  Outcome again = Feed(api, apart, apart.size());
  Require(again.told == whole.told && again.status == AGX_OK);
  return 0;
}
