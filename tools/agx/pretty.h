// Events as a person reads a run: thinking dimmed, text as it grows, the rest a line each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agx.h"
#include "json.h"
#include "page.h"

namespace cli {

// Appends what to show to *out. Nothing in an event reaches the terminal but as visible text.
class Pretty {
 public:
  explicit Pretty(Page::Style style) : page_(std::move(style)) {}

  void Show(const agx_event* event, std::string* out);
  // The session ended; nothing if its `end` was shown already.
  void ShowEnded(std::string* out);
  // Something of our own, between the lines of events; text that grows goes on after it.
  void ShowNotice(std::string_view text, std::string* out);
  // Ends the line that is being written, if there is one.
  void EndLine(std::string* out) { page_.Close(out); }

 private:
  // A part of what a model says.
  struct Part {
    long long node = -1;
    long long index = -1;
    bool thinking = false;
    bool operator==(const Part&) const = default;
  };

  void ShowBegin(int64_t time, std::string* out);
  void ShowEnd(int64_t time, std::string* out);
  void ShowError(const Json& body, std::string_view raw, std::string* out);
  void ShowInfo(const Json& body, std::string_view raw, std::string* out);
  // These say if they knew what it is.
  bool ShowModelEvent(const Json& body, std::string_view raw, std::string* out);
  bool ShowPartStart(const Json& body, std::string_view raw, std::string* out);
  bool ShowPartDelta(const Json& body, std::string* out);
  bool ShowToolCall(const Json& body, std::string_view raw, std::string* out);
  bool ShowToolReturn(const Json& body, std::string_view raw, std::string* out);
  void ShowOther(const agx_event* event, const Json& body, std::string* out);
  void GrowPart(const Part& part, std::string_view text, std::string* out);

  Page page_;
  std::optional<Part> part_;  // whose text was shown last
  std::optional<int64_t> begin_time_;
  bool ended_ = false;
  enum class Failure { kNone, kCanceled, kError } failure_ = Failure::kNone;
};

}  // namespace cli
