// Events on standard output: for people, or as lines of JSON.
#pragma once

#include "pretty.h"
#include "terminal.h"

namespace cli {

struct Form {
  Terminal terminal;
  bool pretty = false;
};

// Follows --pretty, --json and --color.
Result<Form> ChooseForm(const Arguments& arguments);

class EventWriter {
 public:
  // The form outlives it.
  explicit EventWriter(const Form& form);

  // Appends a line about the next event; in the pretty form alone.
  void WriteNotice(std::string_view text);
  // Appends an event to what Flush writes.
  agx_status Write(const agx_event* event);
  bool Flush() { return out_.Flush(); }
  // No more events come: `status` says why.
  void Finish(agx_status status);

  const Output& output() const { return out_; }

 private:
  const Form& form_;
  Output out_;
  Pretty pretty_;
};

}  // namespace cli
