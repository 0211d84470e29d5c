#include "writer.h"

#include "json.h"

namespace cli {

Result<Form> ChooseForm(const Arguments& arguments) {
  const Result<Terminal> terminal = LookAtTerminal(arguments);
  if (!terminal.ok()) return Result<Form>::Error(terminal.error());
  if (arguments.Has("pretty") && arguments.Has("json")) {
    return Result<Form>::Error(std::string(arguments.command()->name) +
                               ": --pretty and --json do not go together");
  }
  const bool pretty = arguments.Has("pretty") || (terminal->is_terminal && !arguments.Has("json"));
  return Form{*terminal, pretty};
}

EventWriter::EventWriter(const Form& form)
    : form_(form),
      pretty_(Page::Style{form.terminal.color, form.terminal.utf8,
                          [terminal = form.terminal] { return terminal.Width(); }}) {}

void EventWriter::WriteNotice(std::string_view text) {
  if (form_.pretty) pretty_.ShowNotice(text, &out_.buffer());
}

agx_status EventWriter::Write(const agx_event* event) {
  if (form_.pretty) {
    pretty_.Show(event, &out_.buffer());
    return AGX_OK;
  }
  const char* json = nullptr;
  size_t length = 0;
  const agx_status status = agx_event_json(event, AGX_JSON_FULL, &json, &length);
  if (status != AGX_OK) return status;
  const std::string_view line(json, length);
  if (form_.terminal.is_terminal) {
    out_.buffer() += EscapedForTerminal(line);
  } else {
    out_.buffer() += line;
  }
  out_.buffer() += '\n';
  return AGX_OK;
}

void EventWriter::Finish(agx_status status) {
  if (!form_.pretty) return;
  pretty_.EndLine(&out_.buffer());
  if (status == AGX_ENDED) pretty_.ShowEnded(&out_.buffer());
  out_.Flush();
}

}  // namespace cli
