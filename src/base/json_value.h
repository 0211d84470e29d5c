// Reading JSON in place: a value is a view of its own text, and nothing is copied, decoded or
// allocated before it is asked for. What nobody asks for stays as it came.
//
// Only for text that ValidateJson has accepted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace agx {

class JsonValue {
 public:
  enum class Kind : uint8_t { kAbsent, kNull, kBool, kNumber, kString, kArray, kObject };

  JsonValue() = default;  // absent
  explicit JsonValue(std::string_view valid_text);

  Kind kind() const;
  explicit operator bool() const { return !text_.empty(); }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_object() const { return kind() == Kind::kObject; }
  bool is_true() const { return text_ == "true"; }

  // As it came, without the whitespace around it; "" if absent.
  std::string_view text() const { return text_; }

  // A string's text; of anything else nothing. Escaped surrogates that make no pair become U+FFFD.
  void AppendString(std::string* out) const;
  std::string String() const;
  // Is it a string with this text? Allocates nothing.
  bool Is(std::string_view text) const;
  // Of a string: less than, equal to or greater than 0, as its text is to the other, by bytes.
  // Allocates nothing.
  int Compare(std::string_view text) const;
  // An integer that fits, written as one.
  std::optional<int64_t> Integer() const;

  // An object's member; absent if there is none or it is no object. Of several with one name the
  // last, as most readers have it.
  JsonValue operator[](std::string_view name) const;

 private:
  std::string_view text_;
};

// for (JsonElements e(array); e.Next();) … e.value(). Of anything else no elements.
class JsonElements {
 public:
  explicit JsonElements(JsonValue array);
  bool Next();
  JsonValue value() const { return value_; }

 private:
  const char* p_ = nullptr;  // null: at the end
  JsonValue value_;
};

// for (JsonMembers m(object); m.Next();) … m.name(), m.value(). Of anything else no members.
class JsonMembers {
 public:
  explicit JsonMembers(JsonValue object);
  bool Next();
  JsonValue name() const { return name_; }
  JsonValue value() const { return value_; }

 private:
  const char* p_ = nullptr;
  JsonValue name_;
  JsonValue value_;
};

}  // namespace agx
