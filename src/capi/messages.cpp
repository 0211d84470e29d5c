#include "core/messages.h"

#include <memory>

#include "capi/traits.h"

using namespace agx;        // NOLINT: this file is the seam between the two
using namespace agx::capi;  // NOLINT

namespace {

void Put(std::string_view text, const char** out, size_t* length) {
  *out = text.data();
  if (length != nullptr) *length = text.size();
}

// For what gives a text: function(object, &text).
template <class Function>
agx_status GiveText(agx_messages* messages, const char* missing, const char** out, size_t* length,
                    Function function) {
  if (length != nullptr) *length = 0;
  if (out == nullptr) return MissingOut(missing);
  *out = nullptr;
  return Call(messages, [&](Messages& object) -> Status {
    std::string_view text;
    Status status = function(object, &text);
    if (status.ok()) Put(text, out, length);
    return status;
  });
}

template <class Function>
agx_status GiveField(agx_messages* messages, const char* missing, const char** out, size_t* length,
                     int* is_json, Function function) {
  if (is_json != nullptr) *is_json = 0;
  return GiveText(messages, missing, out, length, [&](Messages& object, std::string_view* text) {
    Messages::Field field;
    Status status = function(object, &field);
    *text = field.text;
    if (is_json != nullptr) *is_json = field.is_json ? 1 : 0;
    return status;
  });
}

// For what is not asked for a status.
template <class Function>
size_t Count(agx_messages* messages, Function function) noexcept {
  Using<agx_messages> object(messages);
  if (!object) return 0;
  try {
    return function(*object);
  } catch (...) {
    return 0;
  }
}

}  // namespace

extern "C" {

agx_status agx_messages_parse(const char* json, size_t length, agx_messages** messages) {
  if (messages == nullptr) return MissingOut("agx_messages_parse: messages is NULL");
  *messages = nullptr;
  return Guarded([&]() -> Status {
    Conversation conversation;
    if (json != nullptr) {
      if (length > AGX_BODY_MAX) {
        return {AGX_ETOOBIG, Cat("the conversation has more than ", AGX_BODY_MAX, " bytes")};
      }
      Result<Conversation> parsed = Conversation::Parse({json, length});
      if (!parsed.ok()) return parsed.status();
      conversation = std::move(*parsed);
    }
    return Give(std::make_shared<Messages>(nullptr, std::move(conversation)), messages);
  });
}

agx_status agx_messages_open(agx_session* session, agx_messages** messages) {
  if (messages == nullptr) return MissingOut("agx_messages_open: messages is NULL");
  *messages = nullptr;
  return Call(session, [&](Session& object) -> Status {
    if (object.client()->closed()) return Client::ClosedStatus();
    return Give(std::make_shared<Messages>(MessagesInStore(object)), messages);
  });
}

agx_status agx_messages_open_file(const char* path, agx_messages** messages) {
  if (messages == nullptr) return MissingOut("agx_messages_open_file: messages is NULL");
  *messages = nullptr;
  return Guarded([&]() -> Status {
    Result<std::unique_ptr<MessagesPlace>> place = MessagesInFile(path);
    if (!place.ok()) return place.status();
    return Give(std::make_shared<Messages>(std::move(*place)), messages);
  });
}

agx_status agx_messages_loaded(agx_messages_sink* sink, const char* json, size_t length) {
  if (sink == nullptr) return Report(AGX_EINVAL, "agx_messages_loaded: sink is NULL");
  return Guarded([&] {
    sink->status = {};
    if (json == nullptr) {
      sink->status = {AGX_EINVAL, "agx_messages_loaded: json is NULL; do not call it for nothing"};
    } else if (sink->present) {
      sink->status = {AGX_EINVAL, "agx_messages_loaded was called twice for one conversation"};
    } else if (length > AGX_BODY_MAX) {
      sink->status = {AGX_ETOOBIG, Cat("the conversation has more than ", AGX_BODY_MAX, " bytes")};
    } else {
      sink->text.assign(json, length);
      sink->present = true;
    }
    return sink->status;
  });
}

agx_status agx_messages_open_custom(agx_messages_loader load, agx_messages_saver save,
                                    void* user_data, agx_messages** messages) {
  if (messages == nullptr) return MissingOut("agx_messages_open_custom: messages is NULL");
  *messages = nullptr;
  if (load == nullptr) return Report(AGX_EINVAL, "agx_messages_open_custom: load is NULL");
  if (save == nullptr) return Report(AGX_EINVAL, "agx_messages_open_custom: save is NULL");
  return Guarded([&] {
    return Give(std::make_shared<Messages>(MessagesAtCaller(load, save, user_data)), messages);
  });
}

agx_status agx_messages_load(agx_messages* messages) {
  return Call(messages, [](Messages& object) { return object.Load(); });
}

agx_status agx_messages_save(agx_messages* messages) {
  return Call(messages, [](Messages& object) { return object.Save(); });
}

agx_status agx_messages_json(agx_messages* messages, const char** json, size_t* length) {
  return GiveText(messages, "agx_messages_json: json is NULL", json, length,
                  [](Messages& object, std::string_view* text) {
                    *text = object.Json();
                    return Status();
                  });
}

size_t agx_messages_count(agx_messages* messages) {
  return Count(messages, [](Messages& object) { return object.count(); });
}

size_t agx_messages_part_count(agx_messages* messages, size_t message) {
  return Count(messages, [&](Messages& object) { return object.PartCount(message); });
}

agx_status agx_messages_field(agx_messages* messages, size_t message, const char* name,
                              const char** text, size_t* length, int* is_json) {
  return GiveField(messages, "agx_messages_field: text is NULL", text, length, is_json,
                   [&](Messages& object, Messages::Field* field) {
                     return object.MessageField(message, name, field);
                   });
}

agx_status agx_messages_part_field(agx_messages* messages, size_t message, size_t part,
                                   const char* name, const char** text, size_t* length,
                                   int* is_json) {
  return GiveField(messages, "agx_messages_part_field: text is NULL", text, length, is_json,
                   [&](Messages& object, Messages::Field* field) {
                     return object.PartField(message, part, name, field);
                   });
}

agx_status agx_messages_append(agx_messages* messages, const char* json, size_t length) {
  return Call(messages, [&](Messages& object) -> Status {
    if (json == nullptr) return {AGX_EINVAL, "agx_messages_append: json is NULL"};
    return object.Append({json, length});
  });
}

agx_status agx_messages_append_system(agx_messages* messages, const char* content) {
  return Call(messages, [&](Messages& object) { return object.AppendSystem(content); });
}

agx_status agx_messages_append_user(agx_messages* messages, const char* content) {
  return Call(messages, [&](Messages& object) { return object.AppendUser(content); });
}

agx_status agx_messages_append_tool_return(agx_messages* messages, const char* tool_name,
                                           const char* tool_call_id, const char* content) {
  return Call(messages, [&](Messages& object) {
    return object.AppendToolReturn(tool_name, tool_call_id, content);
  });
}

agx_status agx_messages_append_retry(agx_messages* messages, const char* tool_name,
                                     const char* tool_call_id, const char* content) {
  return Call(messages, [&](Messages& object) {
    return object.AppendRetry(tool_name, tool_call_id, content);
  });
}

agx_status agx_messages_title(agx_messages* messages, const char** title, size_t* length) {
  return GiveText(messages, "agx_messages_title: title is NULL", title, length,
                  [](Messages& object, std::string_view* text) {
                    *text = object.Title();
                    return Status();
                  });
}

agx_status agx_messages_nodes(agx_messages* messages, const char** json, size_t* length) {
  return GiveText(messages, "agx_messages_nodes: json is NULL", json, length,
                  [](Messages& object, std::string_view* text) {
                    *text = object.Nodes();
                    return Status();
                  });
}

agx_status agx_messages_request(agx_messages* messages, agx_model_api api, const char* settings,
                                const char** json, size_t* length) {
  return GiveText(messages, "agx_messages_request: json is NULL", json, length,
                  [&](Messages& object, std::string_view* text) {
                    return object.Request(api, settings, text);
                  });
}

void agx_messages_close(agx_messages* messages) { Close(messages); }
}
