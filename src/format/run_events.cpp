#include "format/run_events.h"

#include <charconv>

#include "base/json.h"

namespace agx {
namespace {

std::string_view NameOf(agx_part_kind kind) {
  return kind == AGX_PART_THINKING ? "thinking" : "text";
}

void AppendNumber(int number, std::string* out) {
  char text[16];
  out->append(text, std::to_chars(text, text + sizeof(text), number).ptr);
}

// {"idx":N,"event":"EVENT"
void AppendHead(int node, std::string_view event, std::string* out) {
  *out += "{\"idx\":";
  AppendNumber(node, out);
  *out += ",\"event\":\"";
  *out += event;
  *out += '"';
}

void AppendPartHead(int node, std::string_view event, int part, std::string* out) {
  AppendHead(node, event, out);
  *out += ",\"event_idx\":";
  AppendNumber(part, out);
}

void AppendTool(std::string_view name, std::string_view id, std::string* out) {
  *out += ",\"tool_name\":";
  AppendJsonString(name, out);
  *out += ",\"tool_call_id\":";
  AppendJsonString(id, out);
}

}  // namespace

void AppendNodeBegin(int node, std::string* out) {
  AppendHead(node, "llm-begin", out);
  *out += '}';
}

void AppendToolReturn(int node, std::string_view name, std::string_view id,
                      std::string_view content, std::string* out) {
  AppendHead(node, "part_start", out);
  *out += ",\"part_kind\":\"tool-return\"";
  AppendTool(name, id, out);
  *out += ",\"content\":";
  AppendJsonCompact(content, out);
  *out += '}';
}

void AppendPartStart(int node, int part, agx_part_kind kind, std::string_view content,
                     std::string* out) {
  AppendPartHead(node, "part_start", part, out);
  *out += ",\"part_kind\":\"";
  *out += NameOf(kind);
  *out += "\",\"content\":";
  AppendJsonString(content, out);
  *out += '}';
}

void AppendPartDelta(int node, int part, agx_part_kind kind, std::string_view delta,
                     std::string* out) {
  AppendPartHead(node, "part_delta", part, out);
  *out += ",\"part_delta_kind\":\"";
  *out += NameOf(kind);
  *out += "\",\"content_delta\":";
  AppendJsonString(delta, out);
  *out += '}';
}

void AppendToolCall(int node, int part, std::string_view name, std::string_view id,
                    std::string_view args, std::string* out) {
  AppendPartHead(node, "part_start", part, out);
  *out += ",\"part_kind\":\"tool-call\"";
  AppendTool(name, id, out);
  *out += ",\"args\":";
  AppendJsonCompact(args, out);
  *out += '}';
}

void AppendAnswer(int node, std::string* out) {
  AppendHead(node, "answer", out);
  *out += '}';
}

void AppendNodeEnd(int node, std::string* out) {
  AppendHead(node, "llm-end", out);
  *out += '}';
}

std::string CanceledBody() { return "{\"msg\": \"canceled\"}"; }

std::string CrashedBody(std::string_view message) {
  std::string text = "crashed - ";
  text += message;
  std::string body = "{\"msg\": ";
  AppendJsonStringAscii(text, &body);
  body += '}';
  return body;
}

std::string_view ErrorOrigin(std::string_view begin_origin) {
  return begin_origin == "pydantic-ai-stream" ? "developer" : begin_origin;
}

}  // namespace agx
