// agx history and agx info.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "commands.h"
#include "connect.h"
#include "json.h"
#include "writer.h"

namespace cli {
namespace {

constexpr size_t kPage = 256;

struct Plan {
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  int64_t count = std::numeric_limits<int64_t>::max();
  Form form;
  bool skip = false;
};

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  const Result<Form> form = ChooseForm(arguments);
  if (!form.ok()) return Result<Plan>::Error(form.error());
  plan.form = *form;
  if (const std::string* count = arguments.Get("count")) {
    plan.count = ParseInt(*count).value_or(0);
    if (plan.count <= 0) {
      return Result<Plan>::Error("--count is to be a number from 1 on, not \"" + *count + "\"");
    }
  }
  if (const std::string* after = arguments.Get("after")) plan.options.after = after->c_str();
  if (const std::string* before = arguments.Get("before")) plan.options.before = before->c_str();
  if (const std::string* where = arguments.Get("where")) plan.options.where = where->c_str();
  plan.skip = arguments.Has("skip");
  plan.options.reverse = arguments.Has("reverse") ? 1 : 0;
  return plan;
}

// Writes page after page.
class Reading {
 public:
  Reading(const Plan& plan, agx_session* session)
      : options_(plan.options),
        skip_(plan.skip),
        left_(plan.count),
        session_(session),
        writer_(plan.form) {}

  int Run(const SessionName& name) {
    agx_status status = AGX_OK;
    std::string reason;
    while (status == AGX_OK && left_ > 0 && !writer_.output().closed()) {
      status = Next();
      reason = LastError();
      if (!IsUnreadable(status)) continue;
      if (skip_) {
        Complain(reason + std::string(kSkipped));
        GoOnBehind(agx_last_error_entry());
        status = AGX_OK;
      } else {
        reason += kSkipHint;
      }
    }
    // What is left out says nothing of an end.
    writer_.Finish(AGX_OK);
    if (writer_.output().closed()) return writer_.output().ExitForClosed();
    if (status != AGX_OK && status != AGX_ENDED) {
      Complain(reason.empty() ? agx_status_string(status) : reason);
      return ExitFor(status);
    }
    if (any_) return kDone;
    Complain(name.text + " has no such events");
    return kNo;
  }

 private:
  agx_status Next() {
    std::array<agx_event*, kPage> page = {};
    size_t count = 0;
    const auto wanted = static_cast<size_t>(std::min<int64_t>(left_, kPage));
    agx_status status = agx_history_read(session_, &options_, page.data(), wanted, &count);
    for (size_t i = 0; i < count; ++i) {
      const Event event(page[i]);
      GoOnBehind(agx_event_id(event.get(), nullptr));
      const agx_status written = writer_.Write(event.get());
      if (written != AGX_OK) status = written;
    }
    if (status != AGX_OK) return status;
    writer_.Flush();
    any_ = true;
    left_ -= static_cast<int64_t>(count);
    return AGX_OK;
  }

  void GoOnBehind(const char* id) {
    last_ = id;
    (options_.reverse != 0 ? options_.before : options_.after) = last_.c_str();
  }

  agx_history_options options_;
  const bool skip_;
  int64_t left_;
  agx_session* session_;
  EventWriter writer_;
  bool any_ = false;
  std::string last_;  // behind which the next page begins
};

struct Fact {
  const char* name;
  std::string value;  // JSON
};

std::string IdOrNull(const char* id) { return *id != '\0' ? Quoted(id) : "null"; }
std::string NumberOrNull(int64_t number) { return number >= 0 ? std::to_string(number) : "null"; }

void AppendObject(const std::array<Fact, 7>& facts, std::string* out) {
  const char* before = "{";
  for (const Fact& fact : facts) {
    *out += before + Quoted(fact.name) + ":" + fact.value;
    before = ",";
  }
  *out += "}\n";
}

void AppendLines(const std::array<Fact, 7>& facts, std::string* out) {
  for (const Fact& fact : facts) {
    std::string value = fact.value == "null" ? "none" : fact.value;
    std::erase(value, '"');
    *out += std::string(fact.name) + " " + value + "\n";
  }
}

}  // namespace

int RunHistory(const Arguments& arguments) {
  const Result<Plan> plan = MakePlan(arguments);
  if (!plan.ok()) {
    Complain(plan.error());
    return kUsage;
  }
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  return Reading(*plan, to.session.get()).Run(to.name);
}

int RunInfo(const Arguments& arguments) {
  const Result<Form> form = ChooseForm(arguments);
  if (!form.ok()) {
    Complain(form.error());
    return kUsage;
  }
  Connection to;
  if (const int exit = Connect(arguments, 0, &to); exit != kDone) return exit;
  agx_history info = AGX_HISTORY_INIT;
  const agx_status status = agx_history_info(to.session.get(), &info);
  if (status == AGX_NONE) {
    Complain(to.name.text + " is not there");
    return kNo;
  }
  if (status != AGX_OK) return Fail(status);
  const std::array facts = {
      Fact{"length", std::to_string(info.length)},
      Fact{"first_id", IdOrNull(info.first_id)},
      Fact{"last_id", IdOrNull(info.last_id)},
      Fact{"last_generated_id", IdOrNull(info.last_generated_id)},
      Fact{"live", info.live != 0 ? "true" : "false"},
      Fact{"expire_ms", NumberOrNull(info.expire_ms)},
      Fact{"groups", NumberOrNull(info.groups)},
  };
  Output out;
  (form->pretty ? AppendLines : AppendObject)(facts, &out.buffer());
  out.Flush();
  return out.ExitForClosed();
}

}  // namespace cli
