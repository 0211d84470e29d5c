// agx group: what consumers of a group do.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "child.h"
#include "commands.h"
#include "connect.h"
#include "json.h"
#include "signals.h"
#include "terminal.h"
#include "text.h"
#include "writer.h"

namespace cli {
namespace {

constexpr size_t kPage = 256;
constexpr const char* kDefaultGroup = "agents";
// Of read and claim, whose events stay with their consumer when the command has ended: a name that
// was made up nobody could come back to.
constexpr const char* kDefaultConsumer = "cli";
// That of agx_group_process: whoever has held an event for so long has probably died.
constexpr int64_t kDefaultIdleMs = 300000;

constexpr std::string_view kNoDeadLetters = "there are no dead letters";

using Group = std::unique_ptr<agx_group, Closer<agx_group, agx_group_close>>;

// What the words ask for.
struct Plan {
  std::string action;
  std::vector<std::string> rest;  // ids, or a command
  std::string group;
  bool named = false;  // by the user
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  agx_group_process_options process = AGX_GROUP_PROCESS_OPTIONS_INIT;
  int64_t count = std::numeric_limits<int64_t>::max();
  int64_t block_ms = 0;
  int64_t idle_ms = 0;
  bool pending_only = false;
  bool replay = false;
  bool remove = false;
  bool all = false;
  bool force = false;
  Form form;
};

// A whole number from 1 on, or `otherwise` if it was not given.
Result<int64_t> Count(const Arguments& arguments, std::string_view name, int64_t otherwise) {
  const std::string* text = arguments.Get(name);
  if (text == nullptr) return otherwise;
  const int64_t count = ParseInt(*text).value_or(0);
  if (count > 0) return count;
  return Result<int64_t>::Error("--" + std::string(name) + " is to be a number from 1 on, not \"" +
                                *text + "\"");
}

const char* TextOrNull(const Arguments& arguments, std::string_view name) {
  const std::string* text = arguments.Get(name);
  return text != nullptr ? text->c_str() : nullptr;
}

Result<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  plan.action = arguments.operands()[0];
  plan.rest.assign(arguments.operands().begin() + 2, arguments.operands().end());
  const std::string* group = arguments.Get("group");
  plan.group = group != nullptr ? *group : kDefaultGroup;
  plan.named = group != nullptr;
  plan.options.consumer = TextOrNull(arguments, "consumer");
  if (plan.options.consumer == nullptr && (plan.action == "read" || plan.action == "claim")) {
    plan.options.consumer = kDefaultConsumer;
  }
  plan.options.start = TextOrNull(arguments, "from");
  plan.options.dead_letters = TextOrNull(arguments, "dead-letters");
  const Result<Form> form = ChooseForm(arguments);
  if (!form.ok()) return Result<Plan>::Error(form.error());
  plan.form = *form;
  const auto count = Count(arguments, "count", plan.count);
  const auto retries = Count(arguments, "retries", 0);
  const auto limit = Count(arguments, "limit", 0);
  const auto block = arguments.Seconds("block", 0, true);
  // Of what is named nothing is to be guessed.
  const bool guesses = plan.action == "claim" && plan.rest.empty();
  const auto idle = arguments.Seconds("idle", guesses ? kDefaultIdleMs : 0, false);
  const auto timeout = arguments.Seconds("timeout", -1, true);
  for (const auto* value : {&count, &retries, &limit, &block, &idle, &timeout}) {
    if (!value->ok()) return Result<Plan>::Error(value->error());
  }
  plan.count = *count;
  plan.block_ms = *block;
  plan.idle_ms = *idle;
  plan.pending_only = arguments.Has("pending");
  plan.replay = arguments.Has("replay");
  plan.remove = arguments.Has("delete");
  plan.all = arguments.Has("all");
  plan.force = arguments.Has("force");
  plan.process.max_retries = *retries;
  plan.process.limit = *limit;
  plan.process.timeout_ms = *timeout;
  // 0 is the function's own default; it is meant of what is said.
  plan.process.claim_idle_ms = arguments.Has("idle") ? std::max<int64_t>(*idle, 1) : 0;
  // What it holds when it is told to stop it finishes first.
  plan.process.count = 1;
  return plan;
}

std::string Member(const char* name, const std::string& json) { return Quoted(name) + ":" + json; }
std::string Number(int64_t number) { return number >= 0 ? std::to_string(number) : "null"; }
std::string Number(uint64_t number) { return std::to_string(number); }
std::string Seconds(int64_t milliseconds) {
  std::array<char, 40> text = {};
  snprintf(text.data(), text.size(), "%.1f s", static_cast<double>(milliseconds) / 1000);
  return text.data();
}
std::string TextOrNone(const char* text) { return *text != '\0' ? Quoted(text) : "null"; }

std::string Object(const std::vector<std::string>& members) {
  std::string json = "{";
  for (const std::string& member : members) json += (json.size() > 1 ? "," : "") + member;
  return json + "}";
}

std::string TextOr(const char* text, const char* otherwise) {
  return *text != '\0' ? text : otherwise;
}

// A name and its value as JSON.
struct Fact {
  const char* name;
  std::string value;
};

// Lines of JSON, which a terminal cannot take for anything else, or of words for people.
class Lines {
 public:
  explicit Lines(const Form& form) : terminal_(form.terminal.is_terminal), pretty_(form.pretty) {}

  bool pretty() const { return pretty_; }
  void Add(const std::string& json) {
    out_.buffer() += (terminal_ ? EscapedForTerminal(json) : json) + "\n";
    any_ = true;
  }
  void AddWords(std::string_view words) {
    out_.buffer() += Visible(words) + "\n";
    any_ = true;
  }
  // `none`: what to say, and to fail with, if there was none.
  int End(std::string_view none) {
    out_.Flush();
    if (out_.closed()) return out_.ExitForClosed();
    if (any_) return kDone;
    Complain(none);
    return kNo;
  }

 private:
  bool terminal_;
  bool pretty_;
  Output out_;
  bool any_ = false;
};

// One command, with its group.
class GroupCommand {
 public:
  GroupCommand(const Plan& plan, const Watcher& watcher, agx_session* session, std::string name)
      : plan_(plan), watcher_(watcher), session_(session), name_(std::move(name)) {}

  int Run();
  // From a thread of its own.
  void Interrupt() { agx_group_interrupt(group_.get()); }
  int Open(bool must_exist);

 private:
  int Read(agx_group_source source);
  int Claim();
  int Pending();
  int Info();
  int Process();
  int Delete();
  int DeadLetters();
  template <class F>
  agx_status EachDeadLetter(F take);
  int ChangeAll();
  agx_status Replay(const std::vector<std::string>& ids, uint64_t* count);
  agx_status DeleteLetters(const std::vector<std::string>& ids, uint64_t* count);
  agx_status Consumers(std::vector<agx_consumer_info>* consumers);
  int Print(uint64_t count);
  int Change(agx_status (*change)(agx_group*, const char* const*, size_t, uint64_t*));
  int FailOf(agx_status status);
  std::vector<const char*> Ids() const;

  const Plan& plan_;
  const Watcher& watcher_;
  agx_session* session_;
  const std::string name_;
  Group group_;
};

int GroupCommand::FailOf(agx_status status) {
  if (status != AGX_NONE) return Fail(status);
  Fail(status);
  return kNo;
}

std::vector<const char*> GroupCommand::Ids() const {
  std::vector<const char*> ids;
  for (const std::string& id : plan_.rest) ids.push_back(id.c_str());
  return ids;
}

// Only what reads makes a group that is not there.
int GroupCommand::Open(bool must_exist) {
  agx_group_options options = plan_.options;
  options.must_exist = must_exist ? 1 : 0;
  agx_group* opened = nullptr;
  const agx_status status = agx_group_open(session_, plan_.group.c_str(), &options, &opened);
  group_.reset(opened);
  if (status != AGX_NONE) return status == AGX_OK ? kDone : FailOf(status);
  std::string message = LastError();
  if (!plan_.named) message += "; --group names another";
  // They are the stream's, and outlive its groups.
  if (plan_.action == "dlq") {
    message += "; any group of the stream has its dead letters, and agx history " +
               (plan_.options.dead_letters != nullptr ? "their stream" : name_ + ":dlq") +
               " shows them without one";
  }
  Complain(message);
  return kNo;
}

int GroupCommand::Run() {
  const std::string& action = plan_.action;
  if (action == "read") return Read(plan_.pending_only ? AGX_GROUP_PENDING_ONLY : AGX_GROUP_NEW);
  if (action == "claim") return Claim();
  if (action == "ack") return Change(agx_group_ack);
  if (action == "pending") return Pending();
  if (action == "info") return Info();
  if (action == "process") return Process();
  if (action == "delete") return Delete();
  return plan_.all ? ChangeAll() : DeadLetters();
}

int GroupCommand::Read(agx_group_source source) {
  EventWriter writer(plan_.form);
  std::array<agx_event*, kPage> page = {};
  int64_t left = plan_.count;
  agx_status status = AGX_OK;
  bool any = false;
  while (status == AGX_OK && left > 0 && !writer.output().closed()) {
    size_t count = 0;
    const auto wanted = static_cast<size_t>(std::min<int64_t>(left, kPage));
    status =
        agx_group_read(group_.get(), source, any ? 0 : plan_.block_ms, page.data(), wanted, &count);
    for (size_t i = 0; i < count; ++i) {
      const Event event(page[i]);
      const agx_status written = writer.Write(event.get());
      if (written != AGX_OK) status = written;
    }
    writer.Flush();
    any = any || count > 0;
    left -= static_cast<int64_t>(count);
  }
  const std::string reason = agx_last_error();
  writer.Finish(AGX_OK);
  if (writer.output().closed()) return writer.output().ExitForClosed();
  if (status == AGX_INTERRUPTED)
    return watcher_.signal() != 0 ? kSignal + watcher_.signal() : kDone;
  if (any && (status == AGX_OK || status == AGX_TIMEOUT || status == AGX_ENDED)) return kDone;
  if (status == AGX_TIMEOUT || status == AGX_ENDED) {
    Complain(name_ + " has no such events for " + plan_.group);
    return plan_.block_ms != 0 && status == AGX_TIMEOUT ? kSilent : kNo;
  }
  Complain(reason.empty() ? agx_status_string(status) : reason);
  return status == AGX_NONE ? static_cast<int>(kNo) : ExitFor(status);
}

int GroupCommand::Claim() {
  EventWriter writer(plan_.form);
  std::vector<agx_event*> page(std::max(plan_.rest.size(), kPage));
  char cursor[AGX_ID_SIZE] = "";
  int64_t left = plan_.count;
  bool any = false;
  agx_status status = AGX_OK;
  do {
    size_t count = 0;
    if (plan_.rest.empty()) {
      const auto wanted = static_cast<size_t>(std::min<int64_t>(left, kPage));
      status =
          agx_group_autoclaim(group_.get(), plan_.idle_ms, cursor, page.data(), wanted, &count);
    } else {
      const std::vector<const char*> ids = Ids();
      status =
          agx_group_claim(group_.get(), plan_.idle_ms, ids.data(), ids.size(), page.data(), &count);
    }
    for (size_t i = 0; i < count; ++i) {
      const Event event(page[i]);
      const agx_status written = writer.Write(event.get());
      if (written != AGX_OK) status = written;
    }
    any = any || count > 0;
    left -= static_cast<int64_t>(count);
  } while (status == AGX_OK && plan_.rest.empty() && left > 0 && std::string(cursor) != "0-0");
  const std::string reason = agx_last_error();
  writer.Finish(AGX_OK);
  writer.Flush();
  if (writer.output().closed()) return writer.output().ExitForClosed();
  if (status != AGX_OK) {
    Complain(reason.empty() ? agx_status_string(status) : reason);
    return status == AGX_NONE ? static_cast<int>(kNo) : ExitFor(status);
  }
  if (any) return kDone;
  std::string none = "nothing is pending in " + plan_.group + " that could be claimed";
  if (plan_.rest.empty() && plan_.idle_ms > 0) {
    none +=
        ": nothing was given to somebody " + Seconds(plan_.idle_ms) + " ago or longer, see --idle";
  }
  Complain(none);
  return kNo;
}

int GroupCommand::Change(agx_status (*change)(agx_group*, const char* const*, size_t, uint64_t*)) {
  const std::vector<const char*> ids = Ids();
  uint64_t count = 0;
  const agx_status status = change(group_.get(), ids.data(), ids.size(), &count);
  return status == AGX_OK ? Print(count) : Fail(status);
}

int GroupCommand::Print(uint64_t count) {
  Output out;
  out.buffer() = std::to_string(count) + "\n";
  out.Flush();
  if (out.closed()) return out.ExitForClosed();
  return count > 0 ? kDone : kNo;
}

int GroupCommand::Pending() {
  Lines lines(plan_.form);
  std::vector<agx_pending_event> page(kPage);
  std::string after = "0-0";
  int64_t left = plan_.count;
  size_t count = kPage;
  while (left > 0 && count == kPage) {
    const agx_status status =
        agx_group_pending_events(group_.get(), plan_.options.consumer, plan_.idle_ms, after.c_str(),
                                 page.data(), page.size(), &count);
    if (status != AGX_OK) return FailOf(status);
    for (size_t i = 0; i < count && left > 0; ++i, --left) {
      if (lines.pretty()) {
        lines.AddWords(std::string(page[i].id) + " " + page[i].consumer + ", idle for " +
                       Seconds(page[i].idle_ms) + ", attempts: " + Number(page[i].attempts));
        continue;
      }
      lines.Add(
          Object({Member("id", Quoted(page[i].id)), Member("consumer", Quoted(page[i].consumer)),
                  Member("idle_ms", Number(page[i].idle_ms)),
                  Member("attempts", Number(page[i].attempts))}));
    }
    if (count > 0) after = page[count - 1].id;
  }
  return lines.End("nothing is pending in " + plan_.group);
}

int GroupCommand::Info() {
  agx_health health = AGX_HEALTH_INIT;
  agx_status status = agx_group_health(group_.get(), &health);
  if (status != AGX_OK) return FailOf(status);
  std::vector<agx_consumer_info> consumers;
  status = Consumers(&consumers);
  if (status != AGX_OK) return FailOf(status);
  Lines lines(plan_.form);
  const std::array facts = {
      Fact{"length", Number(health.length)},
      Fact{"pending", Number(health.pending)},
      Fact{"lag", Number(health.lag)},
      Fact{"dead_letters", Number(health.dead_letters)},
      Fact{"oldest_pending_ms", Number(health.oldest_pending_ms)},
  };
  if (lines.pretty()) {
    lines.AddWords("group " + plan_.group);
    for (const Fact& fact : facts) {
      lines.AddWords(std::string(fact.name) + " " + (fact.value == "null" ? "none" : fact.value));
    }
    lines.AddWords("last_delivered_id " + std::string(health.last_delivered_id));
    for (const agx_consumer_info& one : consumers) {
      lines.AddWords(std::string("consumer ") + one.name + ", pending: " + Number(one.pending) +
                     ", idle for " + Seconds(one.idle_ms));
    }
    return lines.End({});
  }
  std::string list;
  for (const agx_consumer_info& one : consumers) {
    list += (list.empty() ? "" : ",") +
            Object({Member("name", Quoted(one.name)), Member("pending", Number(one.pending)),
                    Member("idle_ms", Number(one.idle_ms))});
  }
  std::vector<std::string> members = {Member("group", Quoted(plan_.group))};
  for (const Fact& fact : facts) members.push_back(Member(fact.name, fact.value));
  members.push_back(Member("last_delivered_id", Quoted(health.last_delivered_id)));
  members.push_back(Member("consumers", "[" + list + "]"));
  lines.Add(Object(members));
  return lines.End({});
}

// All of them, however many come meanwhile.
agx_status GroupCommand::Consumers(std::vector<agx_consumer_info>* consumers) {
  size_t count = 16;
  do {
    consumers->resize(count + 16);
    const agx_status status =
        agx_group_consumers(group_.get(), consumers->data(), consumers->size(), &count);
    if (status != AGX_OK) return status;
  } while (count > consumers->size());
  consumers->resize(count);
  return AGX_OK;
}

// The library deletes what is pending too; here that is to be meant.
int GroupCommand::Delete() {
  const char* consumer = plan_.options.consumer;
  const std::string what = consumer != nullptr ? consumer : plan_.group;
  std::vector<agx_consumer_info> consumers;
  agx_status status = Consumers(&consumers);
  if (status != AGX_OK) return FailOf(status);
  uint64_t pending = 0;
  bool found = consumer == nullptr;
  for (const agx_consumer_info& one : consumers) {
    if (consumer != nullptr && what != one.name) continue;
    pending += one.pending;
    found = true;
  }
  if (!found) {
    Complain("the group " + plan_.group + " has no consumer " + what);
    return kNo;
  }
  if (pending > 0 && !plan_.force) {
    Complain(what + " has " + Number(pending) + " pending, which would come to nobody again: " +
             "claim or acknowledge them first, or give --force");
    return kNo;
  }
  status = consumer != nullptr ? agx_group_delete_consumer(group_.get(), consumer, nullptr)
                               : agx_group_delete(group_.get());
  return status == AGX_OK ? kDone : FailOf(status);
}

// What the handler of agx_group_process needs.
struct Handling {
  agx_group* group;
  const std::vector<std::string>* command;
  const Watcher* watcher;

  static agx_status Handle(const agx_event* event, int64_t attempt, void* user_data) {
    const auto* self = static_cast<const Handling*>(user_data);
    const char* json = nullptr;
    size_t length = 0;
    const agx_status status = agx_event_json(event, AGX_JSON_FULL, &json, &length);
    if (status != AGX_OK) return status;
    const std::string input = std::string(json, length) + "\n";
    const ChildEnd end = RunChild(*self->command, input, attempt);
    if (end.failure.empty()) return AGX_OK;
    // A Ctrl-C is for both.
    if (end.signal != 0 && self->watcher->HasCome(end.signal)) return AGX_INTERRUPTED;
    Complain(std::string(agx_event_id(event, nullptr)) + ", attempt " + std::to_string(attempt) +
             ": " + end.failure);
    agx_group_fail_reason(self->group, end.failure.c_str());
    return AGX_EFAILED;
  }
};

int GroupCommand::Process() {
  Handling handling{group_.get(), &plan_.rest, &watcher_};
  const agx_status status =
      agx_group_process(group_.get(), &plan_.process, Handling::Handle, &handling);
  if (status == AGX_INTERRUPTED)
    return watcher_.signal() != 0 ? kSignal + watcher_.signal() : kDone;
  if (status == AGX_LIMIT) return kDone;
  if (status == AGX_TIMEOUT && plan_.process.timeout_ms == 0) return kSilent;
  return FailOf(status);
}

// Hands them to `take`, with their ids.
template <class F>
agx_status GroupCommand::EachDeadLetter(F take) {
  std::vector<agx_dead_letter> page(kPage);
  std::string after = "0-0";
  for (int64_t left = plan_.count; left > 0;) {
    size_t count = 0;
    const auto wanted = static_cast<size_t>(std::min<int64_t>(left, kPage));
    const agx_status status =
        agx_group_dead_letters(group_.get(), after.c_str(), page.data(), wanted, &count);
    if (status == AGX_ENDED) break;
    if (status != AGX_OK) return status;
    std::vector<Event> owned;
    for (size_t i = 0; i < count; ++i) owned.emplace_back(page[i].event);
    for (size_t i = 0; i < count; ++i) {
      after = agx_event_id(page[i].event, nullptr);
      if (const agx_status taken = take(page[i], after); taken != AGX_OK) return taken;
    }
    left -= static_cast<int64_t>(count);
  }
  return AGX_OK;
}

int GroupCommand::DeadLetters() {
  if (plan_.replay) return Change(agx_group_replay);
  if (plan_.remove) return Change(agx_group_delete_dead_letters);
  if (plan_.form.pretty) {
    EventWriter writer(plan_.form);
    bool any = false;
    const agx_status status = EachDeadLetter([&](const agx_dead_letter& one, const auto& id) {
      any = true;
      writer.WriteNotice(id + ", attempts: " + Number(one.attempts) + ", of " +
                         TextOr(one.original_stream, "an unknown stream") + " " +
                         TextOr(one.original_id, "") + ": " + one.reason);
      return writer.Write(one.event);
    });
    writer.Finish(AGX_OK);
    if (status != AGX_OK) return FailOf(status);
    if (writer.output().closed()) return writer.output().ExitForClosed();
    if (any) return kDone;
    Complain(kNoDeadLetters);
    return kNo;
  }
  Lines lines(plan_.form);
  const agx_status status = EachDeadLetter([&](const agx_dead_letter& one, const auto& id) {
    const char* json = nullptr;
    const agx_status made = agx_event_json(one.event, AGX_JSON_BARE, &json, nullptr);
    if (made != AGX_OK) return made;
    lines.Add(Object(
        {Member("id", Quoted(id)), Member("original_stream", TextOrNone(one.original_stream)),
         Member("original_id", TextOrNone(one.original_id)), Member("reason", Quoted(one.reason)),
         Member("attempts", Number(one.attempts)), Member("event", json)}));
    return made;
  });
  return status == AGX_OK ? lines.End(kNoDeadLetters) : FailOf(status);
}

// Those that are there now: what fails again meanwhile is not taken a second time.
int GroupCommand::ChangeAll() {
  std::vector<std::string> ids;
  agx_status status = EachDeadLetter([&ids](const agx_dead_letter&, const std::string& id) {
    ids.push_back(id);
    return AGX_OK;
  });
  if (status != AGX_OK) return FailOf(status);
  if (ids.empty()) {
    Complain(kNoDeadLetters);
    return kNo;
  }
  uint64_t count = 0;
  status = plan_.replay ? Replay(ids, &count) : DeleteLetters(ids, &count);
  if (status == AGX_OK) return Print(count);
  const int exit = FailOf(status);
  Print(count);
  return exit;
}

// Streams may share their dead letters: those of another cannot go into this one, and stay.
agx_status GroupCommand::Replay(const std::vector<std::string>& ids, uint64_t* count) {
  size_t foreign = 0;
  for (const std::string& id : ids) {
    const char* one = id.c_str();
    uint64_t replayed = 0;
    const agx_status status = agx_group_replay(group_.get(), &one, 1, &replayed);
    if (status != AGX_OK && status != AGX_EINVAL) return status;
    foreign += status == AGX_EINVAL ? 1 : 0;
    *count += replayed;
  }
  if (foreign > 0) Complain("of another stream, and left there: " + Number(foreign));
  return AGX_OK;
}

agx_status GroupCommand::DeleteLetters(const std::vector<std::string>& ids, uint64_t* count) {
  std::vector<const char*> page;
  for (size_t i = 0; i < ids.size(); ++i) {
    page.push_back(ids[i].c_str());
    if (page.size() < kPage && i + 1 < ids.size()) continue;
    uint64_t deleted = 0;
    const agx_status status =
        agx_group_delete_dead_letters(group_.get(), page.data(), page.size(), &deleted);
    if (status != AGX_OK) return status;
    *count += deleted;
    page.clear();
  }
  return AGX_OK;
}

constexpr std::array<std::string_view, 8> kActions = {"read", "ack",     "claim", "pending",
                                                      "info", "process", "dlq",   "delete"};

// Options that not all actions have, and whose they are.
struct Belonging {
  std::string_view option;
  std::array<std::string_view, 5> actions;
};
constexpr std::array<Belonging, 16> kBelongings = {{
    {"consumer", {"read", "claim", "pending", "process", "delete"}},
    {"from", {"read", "process"}},
    {"count", {"read", "claim", "pending", "dlq"}},
    {"block", {"read"}},
    {"pending", {"read"}},
    {"idle", {"claim", "pending", "process"}},
    {"retries", {"process"}},
    {"limit", {"process"}},
    {"timeout", {"process"}},
    {"dead-letters", {"info", "process", "dlq"}},
    {"replay", {"dlq"}},
    {"delete", {"dlq"}},
    {"all", {"dlq"}},
    {"force", {"delete"}},
    {"pretty", {"read", "claim", "pending", "info", "dlq"}},
    {"json", {"read", "claim", "pending", "info", "dlq"}},
}};

int Refuse(const Belonging& of, const std::string& action) {
  std::string whose;
  for (const std::string_view one : of.actions) {
    if (one.empty()) continue;
    if (!whose.empty()) whose += ", ";
    whose += one;
  }
  Complain("group " + action + " has no --" + std::string(of.option) + "; it goes with " + whose);
  return kUsage;
}

int CheckOptions(const Arguments& arguments, const std::string& action) {
  for (const Belonging& of : kBelongings) {
    const bool belongs =
        std::find(of.actions.begin(), of.actions.end(), action) != of.actions.end();
    if (arguments.Has(of.option) && !belongs) return Refuse(of, action);
  }
  return kDone;
}

int CheckDeadLetters(const Plan& plan) {
  const bool changes = plan.replay || plan.remove;
  std::string_view wrong;
  if (plan.replay && plan.remove) {
    wrong = "--replay and --delete do not go together";
  } else if (!changes && (plan.all || !plan.rest.empty())) {
    wrong = "ids, and --all, go with --replay or --delete";
  } else if (plan.all && !plan.rest.empty()) {
    wrong = "either ids or --all";
  } else if (changes && !plan.all && plan.rest.empty()) {
    wrong = plan.replay ? "which are to be replayed? give their ids after --replay, or --all"
                        : "which are to be deleted? give their ids after --delete, or --all";
  }
  if (wrong.empty()) return kDone;
  Complain("group dlq: " + std::string(wrong));
  return kUsage;
}

int Check(const Plan& plan, bool has_group) {
  if (std::find(kActions.begin(), kActions.end(), plan.action) == kActions.end()) {
    Complain("agx group does not know \"" + plan.action +
             "\"; it is read, ack, claim, pending, info, process, dlq or delete");
    return kUsage;
  }
  const bool takes_words = plan.action == "ack" || plan.action == "claim" || plan.action == "dlq" ||
                           plan.action == "process";
  if (!takes_words && !plan.rest.empty()) {
    Complain("\"" + plan.rest[0] + "\" is too much");
    return kUsage;
  }
  if (plan.action == "ack" && plan.rest.empty()) {
    Complain("which events? give their ids");
    return kUsage;
  }
  if (plan.action == "dlq") return CheckDeadLetters(plan);
  if (plan.action == "delete" && !has_group) {
    Complain("which group is to be deleted? name it with --group");
    return kUsage;
  }
  if (plan.action != "process") return kDone;
  if (plan.rest.empty()) {
    Complain("which command is to handle the events? agx group process STREAM -- COMMAND");
    return kUsage;
  }
  if (IsProgram(plan.rest[0])) return kDone;
  Complain("there is no command \"" + plan.rest[0] + "\" to handle the events");
  return kUsage;
}

}  // namespace

int RunGroup(const Arguments& arguments) {
  const Result<Plan> plan = MakePlan(arguments);
  if (!plan.ok()) {
    Complain(plan.error());
    return kUsage;
  }
  if (const int exit = Check(*plan, arguments.Has("group")); exit != kDone) return exit;
  if (const int exit = CheckOptions(arguments, plan->action); exit != kDone) return exit;
  Watcher watcher;
  // A handler that is under way is waited for.
  if (plan->action == "process") watcher.WaitForever();
  Connection to;
  if (const int exit = Connect(arguments, 0, &to, 1); exit != kDone) return exit;
  GroupCommand session(*plan, watcher, to.session.get(), to.name.text);
  const bool makes = plan->action == "read" || plan->action == "process";
  if (const int exit = session.Open(!makes); exit != kDone) return exit;
  watcher.OnWake([&session] { session.Interrupt(); });
  const int exit = session.Run();
  watcher.OnWake({});
  return exit;
}

}  // namespace cli
