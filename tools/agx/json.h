// JSON as the pretty form needs it: read with cJSON, and shown as it was written.
#pragma once

#include <cjson/cJSON.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cli {

class Json {
 public:
  // Of one whole JSON text; what is not JSON gives a value that is none.
  static Json Parse(std::string_view text);

  bool IsObject() const { return cJSON_IsObject(root_.get()) != 0; }
  // The member's text if it is a string. Valid as long as this is.
  std::optional<std::string_view> String(const char* name) const;
  std::optional<long long> Integer(const char* name) const;

 private:
  struct Delete {
    void operator()(cJSON* item) const { cJSON_Delete(item); }
  };
  std::unique_ptr<cJSON, Delete> root_;
};

// Goes through the members of an object's text, without changing how they were written: a number
// keeps its digits. The text must be JSON.
class Members {
 public:
  explicit Members(std::string_view object);
  // The key is what stands between its quotes.
  bool Next(std::string_view* key, std::string_view* value);

 private:
  std::string_view rest_;
};

// The text of one member, or nothing.
std::optional<std::string_view> RawMember(std::string_view object, std::string_view name);

// JSON text without the blanks between its tokens, controls as escapes: one line for a terminal.
std::string Compact(std::string_view json);

// JSON text in which every control that a terminal could obey is escaped; still the same JSON.
std::string EscapedForTerminal(std::string_view json);

// The text as a JSON string, with its quotes.
std::string Quoted(std::string_view text);

}  // namespace cli
