// The bodies of the events that a run writes in the `agx` format, byte for byte as the reference
// implementations write them. Each is appended to *out.
#pragma once

#include <string>
#include <string_view>

#include "agx.h"

namespace agx {

void AppendNodeBegin(int node, std::string* out);
// content is JSON.
void AppendToolReturn(int node, std::string_view name, std::string_view id,
                      std::string_view content, std::string* out);
// Text or thinking.
void AppendPartStart(int node, int part, agx_part_kind kind, std::string_view content,
                     std::string* out);
void AppendPartDelta(int node, int part, agx_part_kind kind, std::string_view delta,
                     std::string* out);
// args is JSON.
void AppendToolCall(int node, int part, std::string_view name, std::string_view id,
                    std::string_view args, std::string* out);
void AppendAnswer(int node, std::string* out);
void AppendNodeEnd(int node, std::string* out);

// Of `error`.
std::string CanceledBody();
std::string CrashedBody(std::string_view message);

// The origin of a run's `error`, of whose `begin` it is known.
std::string_view ErrorOrigin(std::string_view begin_origin);

}  // namespace agx
