// agx messages.
#include "commands.h"
#include "connect.h"
#include "json.h"
#include "terminal.h"
#include "text.h"

namespace cli {
namespace {

// Appends what was asked for, on one line.
agx_status AppendWanted(const Arguments& arguments, agx_messages* messages, bool is_terminal,
                        std::string* out) {
  const char* text = nullptr;
  size_t length = 0;
  if (arguments.Has("title")) {
    const agx_status status = agx_messages_title(messages, &text, &length);
    *out += Folded({text ? text : "", length});
    return status;
  }
  const agx_status status = arguments.Has("nodes") ? agx_messages_nodes(messages, &text, &length)
                                                   : agx_messages_json(messages, &text, &length);
  const std::string_view json(text ? text : "", length);
  if (is_terminal) {
    *out += EscapedForTerminal(json);
  } else {
    *out += json;
  }
  return status;
}

}  // namespace

int RunMessages(const Arguments& arguments) {
  const Result<Terminal> terminal = LookAtTerminal(arguments);
  if (!terminal.ok() || (arguments.Has("nodes") && arguments.Has("title"))) {
    Complain(terminal.ok() ? "messages: --nodes and --title do not go together" : terminal.error());
    return kUsage;
  }
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  Messages messages;
  if (const int exit = OpenMessages(to.session.get(), &messages); exit != kDone) return exit;
  agx_status status = agx_messages_load(messages.get());
  if (status != AGX_OK) return Fail(status);
  if (agx_messages_count(messages.get()) == 0) {
    Complain(to.name.text + " has no conversation");
    return kNo;
  }
  Output out;
  status = AppendWanted(arguments, messages.get(), terminal->is_terminal, &out.buffer());
  if (status != AGX_OK) return Fail(status);
  out.buffer() += '\n';
  out.Flush();
  return out.ExitForClosed();
}

}  // namespace cli
