// From the bytes of a model's streaming HTTP response to a Response: server-sent events, and the
// three APIs' own events in them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "agx.h"
#include "base/status.h"
#include "model/decoder.h"
#include "model/response.h"
#include "model/sse.h"

namespace agx {

// One response's stream.
class Feed {
 public:
  // The response outlives it.
  Feed(agx_model_api api, Response* response);
  ~Feed() = default;

  agx_model_api api() const { return api_; }
  // Cut anywhere. After an error the same error again, and the bytes are ignored.
  Status Take(std::string_view bytes);
  // No more bytes will come. AGX_EMODEL if the response is not complete. Ends all parts.
  Status Finish();

 private:
  // What the bytes are, by the first that says so.
  enum class Body : uint8_t { kUnknown, kEvents, kJson, kOther };

  Status Read(std::string_view bytes);
  Status ReadEvents(std::string_view bytes);
  Status ReadJson(std::string_view bytes);
  Status AtEnd();
  Body Sniff(std::string_view bytes);
  Status Dispatch(const SseEvent& event);
  Status Decode(std::string_view name, std::string_view data);
  std::string_view Repeated(std::string_view name, std::string_view data) const;
  Status JsonBody();
  Status NoStream(std::string_view beginning) const;
  Status NoStreamOfApi() const;

  const agx_model_api api_;
  Response* const response_;
  const std::unique_ptr<Decoder> decoder_;
  SseReader reader_;
  Status error_;
  bool reading_ = false;  // still true when Take is called: memory ran out in the call before
  bool event_seen_ = false;
  Body body_ = Body::kUnknown;
  size_t bom_ = 0;        // how many bytes of a byte order mark have come
  std::string repaired_;  // an event's data, once it is UTF-8

  // The event before, if that was repeatable: most differ from it in their text alone, and what is
  // equal need not be looked at again.
  std::string first_;  // the first event, while none is of this API
  std::string last_name_;
  std::string last_;
  size_t before_text_ = 0;  // how many bytes of it; 0: it was not
  size_t after_text_ = 0;

  // Of a body that is JSON and no event stream.
  std::string json_;
  size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace agx
