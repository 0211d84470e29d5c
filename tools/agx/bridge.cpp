// agx bridge: copies a session, live, from one format and store to another. How far it has come is
// kept with what it writes, in one step, so that it can be killed at any time and begun again.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "commands.h"
#include "connect.h"
#include "json.h"
#include "signals.h"

namespace cli {
namespace {

constexpr int64_t kWaitMs = 3000;
constexpr int64_t kTimeoutMs = 60000;
// How often it is looked whether the copy was cancelled.
constexpr int64_t kLookMs = 500;
constexpr size_t kBatch = 128;
constexpr size_t kBatchBytes = size_t{1024} * 1024;

// FORMAT:STREAM, and @URL if it is in another store.
struct End {
  std::string format;
  std::string name;
  std::string url;
  std::string text;  // without the URL, which may hold a password
  Client client;
  Session session;
};

Result<End> ParseEnd(const std::string& word) {
  End end;
  size_t at = word.npos;
  for (const char* scheme : {"@redis://", "@rediss://", "@unix:///", "@memory:"}) {
    at = std::min(at, word.find(scheme));
  }
  end.text = word.substr(0, at);
  if (at != word.npos) end.url = word.substr(at + 1);
  const size_t colon = end.text.find(':');
  if (colon == end.text.npos || colon == 0 || colon + 1 == end.text.size()) {
    return Result<End>::Error("\"" + end.text +
                              "\" is not FORMAT:STREAM, such as openai-agents:tokens");
  }
  end.format = end.text.substr(0, colon);
  end.name = end.text.substr(colon + 1);
  return end;
}

// nullptr: the library's choice.
const char* UrlOf(const Arguments& arguments, const End& end) {
  const std::string* url = arguments.Get("url");
  return !end.url.empty() ? end.url.c_str() : url ? url->c_str() : nullptr;
}

// Which words alone tell, before anything is asked of a server.
bool AreTheSame(const Arguments& arguments, const End& from, const End& to) {
  const auto store = [&arguments](const End& end) -> std::string {
    const char* url = UrlOf(arguments, end);
    if (!url) url = std::getenv("AGX_URL");
    return url ? url : "redis://127.0.0.1:6379";
  };
  if (from.format != to.format || store(from) != store(to)) return false;
  if (from.format != "agx") return from.name == to.name;
  const Result<SessionName> one = ParseSessionName(from.name);
  const Result<SessionName> other = ParseSessionName(to.name);
  return one.ok() && other.ok() && one->scope == other->scope && one->user == other->user &&
         one->id == other->id;
}

void SayTheSame(const End& from) {
  Complain("bridge: FROM and TO are the same session, " + from.text);
}

std::string UniqueText() {
  std::random_device random;
  return std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
}

int Open(const Arguments& arguments, End* end) {
  const int exit = OpenClientAt(arguments, 0, UrlOf(arguments, *end), &end->client);
  if (exit != kDone) return exit;
  if (end->format != "agx") {
    return OpenStream(end->client.get(), end->format, end->name, nullptr, &end->session);
  }
  const Result<SessionName> name = ParseSessionName(end->name);
  if (name.ok()) return OpenSession(end->client.get(), *name, &end->session);
  Complain(name.error());
  return kUsage;
}

class Bridge {
 public:
  struct Choices {
    bool skip = false;
    bool stop = false;
  };

  Bridge(const End& from, const End& to, const Choices& choices, const Watcher& watcher)
      : from_(from), to_(to), skip_(choices.skip), stop_(choices.stop), watcher_(watcher) {}

  // Where an earlier bridge was. Changes nothing.
  int Find() {
    const agx_status status = agx_checkpoint(to(), name(), position_);
    if (status != AGX_OK) return Fail(status);
    return *position_ == '\0' ? CheckFree() : kDone;
  }

  int Run(agx_listener* listener) {
    // A copy that is there already is live even while its source is away.
    if (*position_ != '\0' || IsLive(from_)) {
      if (const int exit = Start(); exit != kDone) return exit;
    }
    for (;;) {
      if (const int exit = PassCancelOn(); exit != kDone) return exit;
      std::array<agx_event*, kBatch> events = {};
      size_t count = 0;
      const agx_status status =
          agx_listen_next_many(listener, kLookMs, events.data(), events.size(), &count);
      const std::string reason = LastError();
      const bool unreadable = status == AGX_EUNSUPPORTED && !UnreadableEntry().empty();
      std::vector<Event> owned(events.begin(), events.begin() + static_cast<ptrdiff_t>(count));
      if (!started_ && (HasAppeared(status) || IsLive(from_))) {
        if (const int exit = Start(); exit != kDone) return exit;
      }
      if (const int exit = Copy(owned); exit != kDone) return exit;
      if (status == AGX_OK || status == AGX_TIMEOUT) continue;
      if (status == AGX_INTERRUPTED && watcher_.signal() == 0) continue;
      if (status == AGX_INTERRUPTED) return kSignal + watcher_.signal();
      if (status == AGX_ENDED || (status == AGX_GONE && WasStopped(reason))) return Stop();
      if (MayBeOver(status)) return Finish(status, reason);
      std::string message =
          from_.text + ": " + (reason.empty() ? agx_status_string(status) : reason);
      if (unreadable) message += skip_ ? kSkipped : kSkipHint;
      Complain(message);
      gap_ = gap_ || status == AGX_GAP;
      if (status != AGX_GAP && !(unreadable && skip_)) return ExitFor(status);
    }
  }

  const char* after() const { return AtBeginning() ? kBeginning : position_; }

 private:
  // A checkpoint that begins with this has copied nothing.
  static constexpr const char* kBeginning = "0-0";

  bool AtBeginning() const {
    return *position_ == '\0' || std::strncmp(position_, kBeginning, std::strlen(kBeginning)) == 0;
  }
  static bool HasAppeared(agx_status status) {
    return status == AGX_OK || status == AGX_ENDED || status == AGX_GAP ||
           status == AGX_EUNSUPPORTED;
  }
  static bool IsLive(const End& end) {
    int live = 0;
    return agx_is_live(end.session.get(), &live) == AGX_OK && live != 0;
  }

  int CheckFree() {
    int live = 0;
    const agx_status status = agx_is_live(to(), &live);
    if (status != AGX_OK) return Fail(status);
    if (live == 0) return kDone;
    Complain(to_.text + " is live already: somebody else writes there");
    return kBusy;
  }

  // Becomes the producer of the copy, and goes on where an earlier bridge was.
  int Start() {
    agx_start_options options = AGX_START_OPTIONS_INIT;
    options.take_over = 1;
    options.keep = AtBeginning() ? 0 : 1;
    if (*position_ == '\0') {
      if (const int exit = CheckFree(); exit != kDone) return exit;
    }
    if (AtBeginning()) {
      if (const int exit = Claim(); exit != kDone) return exit;
    }
    const agx_status status = agx_start(to(), &options);
    if (status != AGX_OK) return Fail(status);
    started_ = true;
    return kDone;
  }

  // From here on whoever begins again knows that the copy is its own. A server has many names: if
  // what only this bridge writes for TO is seen at FROM, they are one, and beginning TO afresh would
  // do away with what is to be copied.
  int Claim() {
    const std::string mark = std::string(kBeginning) + " " + UniqueText();
    agx_status status = Move(nullptr, 0, mark.c_str());
    char seen[AGX_NAME_MAX + 1] = "";
    if (status == AGX_OK) status = agx_checkpoint(from_.session.get(), name(), seen);
    if (status != AGX_OK) return Fail(status);
    if (mark != seen) return kDone;
    SayTheSame(from_);
    return kUsage;
  }

  agx_session* to() const { return to_.session.get(); }
  const char* name() const { return from_.text.c_str(); }

  int Copy(const std::vector<Event>& events) {
    size_t begin = 0;
    while (begin < events.size()) {
      size_t end = begin;
      for (size_t bytes = 0; end < events.size() && (end == begin || bytes < kBatchBytes); ++end) {
        size_t length = 0;
        agx_event_body(events[end].get(), &length);
        bytes += length;
      }
      const int exit = CopyAtOnce(events, begin, end);
      if (exit != kDone) return exit;
      begin = end;
    }
    return kDone;
  }

  int CopyAtOnce(const std::vector<Event>& events, size_t begin, size_t end) {
    std::vector<agx_new_event> copies;
    bool has_nul = false;
    for (size_t i = begin; i < end; ++i) {
      const agx_event* event = events[i].get();
      const auto whole = [&](const char* text, size_t length) {
        has_nul = has_nul || std::strlen(text) != length;
        return text;
      };
      const auto or_unknown = [](const char* text) { return *text != '\0' ? text : "unknown"; };
      size_t length = 0;
      const char* type = agx_event_type(event, &length);
      type = or_unknown(whole(type, length));
      const char* origin = agx_event_origin(event, &length);
      origin = or_unknown(whole(origin, length));
      const char* body = agx_event_body(event, &length);
      const agx_new_event copy = {type, origin, whole(body, length)};
      // The copy has a begin of its own.
      if (from_.format != "agx" || std::strcmp(copy.type, "begin") != 0) copies.push_back(copy);
    }
    const std::string last = agx_event_id(events[end - 1].get(), nullptr);
    agx_status status = has_nul ? AGX_EINVAL : Move(copies.data(), copies.size(), last.c_str());
    // One of them cannot be held: which?
    if ((status == AGX_EJSON || IsRefusal(status)) && end - begin > 1) {
      for (size_t i = begin; i < end; ++i) {
        if (const int exit = CopyAtOnce(events, i, i + 1); exit != kDone) return exit;
      }
      return kDone;
    }
    std::string quoted;
    if (status == AGX_EJSON) {
      // What is not JSON is copied as text.
      quoted = Quoted(copies[0].body);
      copies[0].body = quoted.c_str();
      status = Move(copies.data(), 1, last.c_str());
    }
    if (status == AGX_OK) return kDone;
    if (status == AGX_ECONFLICT && LostItsData()) return FailAsLost();
    if (status == AGX_TAKEN_OVER || status == AGX_ECONFLICT) return FailAsSecond();
    const std::string which = "the event " + last + " of " + from_.text;
    if (!IsRefusal(status)) return Fail(status, which);
    if (!skip_) {
      const std::string reason = has_nul ? "it has a U+0000" : ReasonOfRefusal();
      Complain(which + ": " + reason + std::string(kSkipHint));
      return kFailed;
    }
    status = Move(nullptr, 0, last.c_str());
    if (status == AGX_TAKEN_OVER || status == AGX_ECONFLICT) return FailAsSecond();
    if (status != AGX_OK) return Fail(status);
    Complain("passed over " + which + ", which " + to_.format + " cannot hold");
    return kDone;
  }

  // The other format cannot hold it, or another program wrote what the library does not.
  static bool IsRefusal(agx_status status) {
    return status == AGX_EUNSUPPORTED || status == AGX_ETOOBIG || status == AGX_EINVAL;
  }
  // Without its place among those that were copied at once.
  static std::string ReasonOfRefusal() {
    constexpr std::string_view kPlace = "event 0: ";
    std::string reason = LastError();
    return reason.starts_with(kPlace) ? reason.substr(kPlace.size()) : reason;
  }

  // One that is begun again cannot tell whether the one before it lives, and goes on in its place.
  int FailAsSecond() const {
    Complain("another producer, or another bridge from " + from_.text + ", took " + to_.text +
             " over");
    return kTakenOver;
  }

  // The checkpoint is not another's but gone: the server was started again without its data.
  bool LostItsData() const {
    char now[AGX_NAME_MAX + 1] = "";
    return agx_checkpoint(to(), name(), now) == AGX_OK && *now == '\0';
  }
  int FailAsLost() const {
    Complain(to_.text +
             " has lost what was copied to it; run the bridge again to copy it all again");
    return kFailed;
  }

  agx_status Move(const agx_new_event* events, size_t count, const char* to_id) {
    const agx_status status = agx_add_checked(to(), events, count, name(), position_, to_id);
    if (status == AGX_OK) std::strncpy(position_, to_id, sizeof(position_) - 1);
    return status;
  }

  // Whoever cancels the copy means the original.
  int PassCancelOn() {
    if (!started_ || canceled_ || agx_is_canceled(to()) == 0) return kDone;
    canceled_ = true;
    agx_status status = agx_wait_canceled(to(), 0);
    if (status == AGX_TAKEN_OVER) return FailAsSecond();
    if (status != AGX_OK) return kDone;
    status = agx_cancel(from_.session.get(), nullptr);
    if (status != AGX_OK) Fail(status, "the copy was cancelled, the original was not");
    return kDone;
  }

  // In a format without an end a stop takes only the live flag away, as a cancel does: either way
  // it is over. Where there is one, a flag that goes without it is a producer that did not get there.
  bool WasStopped(const std::string& reason) const {
    const bool has_end = from_.format == "agx" || from_.format == "agent-framework";
    return !has_end && reason.find("its live flag was taken away") != reason.npos;
  }

  static bool MayBeOver(agx_status status) {
    return status == AGX_GONE || status == AGX_SILENT || status == AGX_ABSENT;
  }

  // FROM does not say that it has ended; with --stop that it is gone, or silent, is as much, unless
  // it is live.
  int Finish(agx_status status, const std::string& reason) {
    int live = 0;
    if (started_ && status != AGX_GONE) {
      const agx_status asked = agx_is_live(from_.session.get(), &live);
      if (asked != AGX_OK) return Fail(asked);
    }
    const bool can_stop = started_ && live == 0;
    std::string message = from_.text + ": " + reason;
    if (can_stop) {
      message += stop_ ? "; ending " + to_.text : "; --stop ends " + to_.text + " then";
    }
    Complain(message);
    return can_stop && stop_ ? Stop() : static_cast<int>(ExitFor(status));
  }

  int Stop() {
    const agx_status status = agx_stop(to(), -1);
    if (status == AGX_TAKEN_OVER) return FailAsSecond();
    if (status != AGX_OK) return Fail(status);
    return gap_ ? kGap : kDone;
  }

  const End& from_;
  const End& to_;
  const bool skip_;
  const bool stop_;
  const Watcher& watcher_;
  char position_[AGX_NAME_MAX + 1] = "";
  bool started_ = false;
  bool canceled_ = false;
  bool gap_ = false;
};

}  // namespace

int RunBridge(const Arguments& arguments) {
  Result<End> from_end = ParseEnd(arguments.operands()[0]);
  Result<End> to_end = ParseEnd(arguments.operands()[1]);
  const Result<int64_t> wait = arguments.Seconds("wait", kWaitMs, true);
  const Result<int64_t> timeout = arguments.Seconds("timeout", kTimeoutMs, true);
  for (const std::string& error :
       {from_end.error(), to_end.error(), wait.error(), timeout.error()}) {
    if (error.empty()) continue;
    Complain(error);
    return kUsage;
  }
  End from = std::move(from_end.Take());
  End to = std::move(to_end.Take());
  if (AreTheSame(arguments, from, to)) {
    SayTheSame(from);
    return kUsage;
  }
  Watcher watcher;
  if (const int exit = Open(arguments, &from); exit != kDone) return exit;
  if (const int exit = Open(arguments, &to); exit != kDone) return exit;
  const Bridge::Choices choices = {arguments.Has("skip"), arguments.Has("stop")};
  Bridge bridge(from, to, choices, watcher);
  if (const int exit = bridge.Find(); exit != kDone) return exit;
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = bridge.after();
  options.wait_ms = *wait;
  options.timeout_ms = *timeout;
  agx_listener* opened = nullptr;
  const agx_status status = agx_listen(from.session.get(), &options, &opened);
  if (status != AGX_OK) return Fail(status);
  const Listener listener(opened);
  watcher.OnWake([&listener] { agx_listener_interrupt(listener.get()); });
  const int exit = bridge.Run(listener.get());
  watcher.OnWake({});
  return exit;
}

}  // namespace cli
