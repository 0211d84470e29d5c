// A model's response while it arrives: parts begin, grow and end. What a listener of the session
// should see of that is told to a sink at once; in the end it is a message of a conversation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agx.h"
#include "base/status.h"

namespace agx {

// What becomes of a response's parts, in the order in which it is to be written.
class PartSink {
 public:
  // Text or thinking.
  virtual void PartBegan(int part, agx_part_kind kind, std::string_view content) = 0;
  virtual void PartGrew(int part, agx_part_kind kind, std::string_view delta) = 0;
  // args is JSON: what the model sent if that is JSON, else a string that holds it.
  virtual void ToolCallEnded(int part, std::string_view name, std::string_view id,
                             std::string_view args) = 0;
  virtual void Answered() = 0;

 protected:
  ~PartSink() = default;
};

struct ModelUsage {
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  int64_t cache_read_tokens = 0;
  int64_t cache_write_tokens = 0;
  int64_t reasoning_tokens = 0;  // among the output's
};

// As pydantic-ai writes it: "2026-01-31T12:00:00.123456Z".
std::string TimestampNow();

class Response {
 public:
  explicit Response(PartSink* sink) : sink_(sink) { none_.open = false; }

  // Begins again, for the next node.
  void Reset();

  // Each gives the part's number, counted from 0, and ends every tool call whose arguments are
  // complete: those can only grow by whitespace. Text and thinking may grow on behind it.
  // The message may have AGX_BODY_MAX bytes: a part that would make it larger is not added, nor any
  // after it, and has the number of none.
  int Begin(agx_part_kind kind, std::string_view content);
  int BeginToolCall(std::string_view name, std::string_view id, std::string_view args);
  // AGX_ETOOBIG if these texts are too much for one more part.
  Status CheckRoom(std::string_view text, std::string_view name = {},
                   std::string_view id = {}) const;
  bool IsOpen(int part) const;
  int part_count() const { return static_cast<int>(parts_.size()); }
  agx_part_kind kind(int part) const { return parts_[static_cast<size_t>(part)].kind; }
  // The part is open. AGX_ETOOBIG if the message would have more than AGX_BODY_MAX bytes.
  Status Grow(int part, std::string_view delta);
  // Of a tool call that is open: what some models send in pieces as well, or late.
  void GrowName(int part, std::string_view name);
  void SetCallId(int part, std::string_view id);
  // Tool calls reach the sink now. A part that has ended stays so.
  void End(int part);
  void EndAll();
  void Answer();
  bool answered() const { return answered_; }

  // Of the message. The values of fields are JSON.
  void SetModel(std::string_view name) { model_ = name; }
  void SetResponseId(std::string_view id) { response_id_ = id; }
  void SetProvider(std::string_view name) { provider_ = name; }
  // As pydantic-ai has it: stop, length, content_filter, tool_call, error.
  void SetFinishReason(std::string_view reason) { finish_reason_ = reason; }
  void SetUsage(const ModelUsage& usage) { usage_ = usage; }
  // Of a part; also after it has ended.
  void SetPartId(int part, std::string_view id);
  void AppendSignature(int part, std::string_view signature);

  // The message.
  std::string Json() const;
  // AGX_ETOOBIG once a part was not added.
  const Status& status() const { return status_; }

 private:
  // Where the object that a call's arguments begin with ends. Each byte is looked at once, however
  // often it is asked, and they are validated once.
  struct Arguments {
    size_t seen = 0;
    size_t depth = 0;
    bool in_string = false;
    bool escaped = false;
    bool closed = false;
    bool invalid = false;  // and will not become JSON
    bool grown = true;     // since they were looked at

    void Look(std::string_view args);
  };
  struct Part {
    agx_part_kind kind = AGX_PART_TEXT;
    bool open = true;
    std::string content;  // or a tool call's arguments
    std::string name;
    std::string call_id;
    std::string id;  // the provider's, "" if none
    std::string signature;
    Arguments arguments;  // of a tool call
  };

  Part& at(int part) { return part < part_count() ? parts_[static_cast<size_t>(part)] : none_; }
  int Add(Part part);
  bool Fits(size_t added) const;
  void Replace(std::string* text, std::string_view with);
  void EndComplete();
  void AppendPart(const Part& part, std::string* out) const;

  PartSink* const sink_;
  std::vector<Part> parts_;
  Part none_;                     // stands for those that were not added
  std::vector<int> grown_calls_;  // open calls that may have become complete
  size_t size_ = 0;               // as JSON, about
  Status status_;
  bool answered_ = false;
  std::string model_;
  std::string response_id_;
  std::string provider_;
  std::string finish_reason_;
  ModelUsage usage_;
};

}  // namespace agx
