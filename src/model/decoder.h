// What the events of a model's stream mean, for each API, and what it takes to read them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "agx.h"
#include "base/json_value.h"
#include "base/status.h"
#include "model/response.h"

namespace agx {

// One response's events. Parts begin and grow as pydantic-ai's do for the same events, so that who
// listens sees the same; docs/architecture.md says where they differ.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // name: of the server-sent event, "" if it has none. AGX_EMODEL for an error that the model
  // reports. What is of an unknown kind or an unexpected type is passed over.
  virtual Status Event(std::string_view name, JsonValue data, Response* response) = 0;
  // Where in the data of the last event its text is, if growing a part by it is all that the event
  // does and nothing in it is escaped; else "". Again is then as another such event with another
  // text, which is not "".
  virtual std::string_view repeatable() const { return {}; }
  virtual Status Again(std::string_view, Response*) { return {}; }
  // An event of this API has come; what is of unknown kinds alone is no stream of it.
  bool known() const { return known_; }
  // The event [DONE].
  virtual void Done() {}
  // The stream has said that the response is complete.
  virtual bool complete() const = 0;
  // And that nothing follows.
  virtual bool ended() const = 0;
  // As pydantic-ai calls it.
  virtual std::string_view provider() const = 0;

 protected:
  bool known_ = false;
};

std::unique_ptr<Decoder> MakeOpenAiChatDecoder();
std::unique_ptr<Decoder> MakeOpenAiResponsesDecoder();
std::unique_ptr<Decoder> MakeAnthropicDecoder();

// A string's text, in place if nothing in it is escaped, else in *scratch; "" of anything else.
std::string_view TextOf(JsonValue value, std::string* scratch);
inline bool IsFilled(JsonValue value) { return value.is_string() && value.text().size() > 2; }

// The first text of a response is taken for its answer.
int BeginText(std::string_view content, Response* response);
// Grows a part that may have ended: then there is nowhere to put it.
Status GrowIfOpen(int part, std::string_view delta, Response* response);

// Texts which a response keeps beside its contents may not be larger than these.
Status CheckSize(size_t bytes);

// Usage as both of OpenAI's APIs give it.
ModelUsage OpenAiUsage(JsonValue usage);

// What the server says in what it sent instead of a response, or as an event: {"error": …} and
// what else is in use. "" if it is no error.
std::string ErrorText(JsonValue body);
Status ModelError(std::string_view text);

// At most max bytes of a text, for a message: UTF-8, and one line.
std::string Excerpt(std::string_view text, size_t max);

}  // namespace agx
