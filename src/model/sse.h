// Server-sent events (the HTML standard, section 9.2), out of bytes that are cut anywhere.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace agx {

struct SseEvent {
  std::string_view name;  // "" if it has none
  std::string_view data;  // its lines, with '\n' between them
};

// Reads in place: an event that lies wholly in the bytes of one Take is a view of them, if its data
// is one line. UTF-8 is not looked at.
class SseReader {
 public:
  // The most bytes of data that an event may have.
  explicit SseReader(size_t limit) : limit_(limit) {}

  // The bytes must stay where they are until Next has returned false.
  void Take(std::string_view bytes);
  // The next event that is complete; its views hold until the next call. False: it wants more
  // bytes, or is too_big.
  bool Next(SseEvent* event);
  // No more bytes will come: what has come of an event that nothing ended.
  bool Flush(SseEvent* event);

  // An event is larger than the limit. Nothing more is read.
  bool too_big() const { return too_big_; }
  // How the first line begins whose field's name cannot be one; "" if all could. Events look
  // otherwise.
  const std::string& stray() const { return stray_; }

 private:
  bool Line(std::string_view* line);
  const char* LineEnd();
  void Field(std::string_view line);
  void AddData(std::string_view value);
  void Own();
  void Forget();

  const size_t limit_;
  const char* p_ = nullptr;
  const char* end_ = nullptr;
  const char* lf_ = nullptr;  // the next at or after p_, end_ if there is none; null: not known

  std::string held_;        // of a line that has not ended, or has ended just now
  bool held_used_ = false;  // it has
  bool skip_lf_ = false;    // the line before ended with a CR, which may have been half of its end
  bool first_line_ = true;

  std::string name_;
  std::string_view data_;  // in the given bytes, or the end of store_
  bool has_data_ = false;
  bool owned_ = false;
  std::string store_;
  bool given_ = false;  // the event was handed out, and goes with the next call
  bool too_big_ = false;
  std::string stray_;
};

}  // namespace agx
