// agx ls.
#include <algorithm>

#include "commands.h"
#include "connect.h"
#include "json.h"
#include "text.h"

namespace cli {
namespace {

void AppendJson(int64_t scope, int64_t user, std::string_view id, std::string* out) {
  *out += "{\"scope\":" + std::to_string(scope) + ",\"user\":" + std::to_string(user) +
          ",\"session\":" + Quoted(id) + "}\n";
}

// A line is a session whatever its id holds, and no id can be taken for another's quoted form.
void AppendLine(int64_t scope, int64_t user, std::string_view id, std::string* out) {
  const bool plain = !id.starts_with('"') && Visible(id) == id;
  *out += std::to_string(scope) + "/" + std::to_string(user) + "/";
  *out += plain ? std::string(id) : Quoted(id);
  *out += '\n';
}

int List(agx_query* query, bool json) {
  Output out;
  bool any = false;
  for (;;) {
    int64_t scope = 0;
    int64_t user = 0;
    const char* id = nullptr;
    const agx_status status = agx_query_next(query, &scope, &user, &id);
    if (status == AGX_ENDED) break;
    if (status != AGX_OK) {
      out.Flush();
      return Fail(status);
    }
    any = true;
    (json ? AppendJson : AppendLine)(scope, user, id, &out.buffer());
    if (out.buffer().size() > 16384 && !out.Flush()) break;
  }
  if (!out.Flush()) return out.ExitForClosed();
  return any ? kDone : kNo;
}

}  // namespace

int RunLs(const Arguments& arguments) {
  const std::string format = FormatOf(arguments);
  if (format != "agx") {
    Complain("ls: only sessions of the format agx can be listed, not those of \"" + format + "\"");
    return kUsage;
  }
  SessionFilter filter;
  if (!arguments.operands().empty()) {
    const Result<SessionFilter> parsed = ParseFilter(arguments.operands()[0]);
    if (!parsed.ok()) {
      Complain(parsed.error());
      return kUsage;
    }
    filter = *parsed;
  }
  Client client;
  if (const int exit = OpenClient(arguments, 0, nullptr, &client); exit != kDone) return exit;
  agx_query* opened = nullptr;
  const agx_status status = agx_query_open(client.get(), filter.scope, filter.user, &opened);
  if (status != AGX_OK) return Fail(status);
  const Query query(opened);
  return List(query.get(), arguments.Has("json"));
}

}  // namespace cli
