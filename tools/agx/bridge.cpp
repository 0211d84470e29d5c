// agx bridge: copies a session, live, from one format and store to another. How far it has come is
// kept with what it writes, in one step, so that it can be killed at any time and begun again.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
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
// How often it is looked whether the copy was cancelled, and, while nothing comes, whether it is lost.
constexpr int64_t kLookMs = 500;
constexpr int kLooksUntilLost = 4;
// No exit status: the copy goes on from elsewhere than where the listener is.
constexpr int kAgain = -1;
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

int OpenItsSession(End* end) {
  end->session.reset();
  if (end->format != "agx") {
    return OpenStream(end->client.get(), end->format, end->name, nullptr, &end->session);
  }
  const Result<SessionName> name = ParseSessionName(end->name);
  if (name.ok()) return OpenSession(end->client.get(), *name, &end->session);
  Complain(name.error());
  return kUsage;
}

int Open(const Arguments& arguments, End* end) {
  const int exit = OpenClientAt(arguments, 0, UrlOf(arguments, *end), &end->client);
  return exit == kDone ? OpenItsSession(end) : exit;
}

// Of what is written there nothing goes when somebody begins anew.
bool Appends(const End& end) { return end.format == "openai-agents" || end.format == "ag2"; }

bool HasEnds(const End& end) { return end.format == "agx" || end.format == "agent-framework"; }

class Bridge {
 public:
  struct Choices {
    bool skip = false;
    bool stop = false;
    bool append = false;
    std::optional<int64_t> grace_ms;
  };

  Bridge(const End& from, End& to, const Choices& choices, const Watcher& watcher)
      : from_(from), to_(to), choices_(choices), watcher_(watcher) {}

  // Where an earlier bridge was, and what is there of its copy. A copy that is finished is left alone,
  // but for what was asked for: *finished.
  int Find(bool* finished) {
    agx_status status = agx_checkpoint(to(), name(), position_);
    if (status != AGX_OK) return Fail(status);
    if (*position_ == '\0') {
      if (const int exit = CheckFree(); exit != kAgain) return exit;
    }
    agx_history copy = AGX_HISTORY_INIT;
    status = agx_history_info(to(), &copy);
    if (status != AGX_OK && status != AGX_NONE) return Fail(status);
    if (IsGone(copy) && HasCopied()) {
      SayLost();
      anew_ = true;
      return kDone;
    }
    if (const int exit = HasFinished(copy, finished); exit != kDone || !*finished) return exit;
    Complain(to_.text + " has ended: the copy is finished, and nothing is added to it");
    if (choices_.grace_ms) status = agx_stop(to(), *choices_.grace_ms);
    return status == AGX_OK ? kDone : Fail(status);
  }

  // kAgain: a listener behind what is after() then is to be given to the next call.
  int Run(agx_listener* listener) {
    // A copy that is there already is live even while its source is away.
    if (!started_ && ((*position_ != '\0' && !anew_) || IsLive(from_))) {
      if (const int exit = Start(); exit != kDone) return exit;
    }
    if (CameToAnError()) return Stop();
    for (int idle = 0;;) {
      if (const int exit = PassCancelOn(); exit != kDone) return exit;
      std::array<agx_event*, kBatch> events = {};
      size_t count = 0;
      const agx_status status =
          agx_listen_next_many(listener, kLookMs, events.data(), events.size(), &count);
      const std::string reason = LastError();
      const bool unreadable = IsUnreadable(status);
      std::vector<Event> owned(events.begin(), events.begin() + static_cast<ptrdiff_t>(count));
      if (!started_ && (HasAppeared(status) || IsLive(from_))) {
        if (const int exit = Start(); exit != kDone) return exit;
      }
      if (const int exit = Copy(std::move(owned)); exit != kDone) return exit;
      idle = status == AGX_TIMEOUT ? idle + 1 : 0;
      if (idle % kLooksUntilLost == kLooksUntilLost - 1 && IsLost()) return BeginAnew();
      if (status == AGX_OK || status == AGX_TIMEOUT) continue;
      if (status == AGX_INTERRUPTED && watcher_.signal() == 0) continue;
      if (status == AGX_INTERRUPTED) return kSignal + watcher_.signal();
      if (status == AGX_ENDED || (status == AGX_GONE && WasStopped(listener))) return Stop();
      if (MayBeOver(status)) return Finish(status, reason);
      std::string message =
          from_.text + ": " + (reason.empty() ? agx_status_string(status) : reason);
      if (unreadable) message += choices_.skip ? kSkipped : kSkipHint;
      Complain(message);
      gap_ = gap_ || status == AGX_GAP;
      if (status != AGX_GAP && !(unreadable && choices_.skip)) return ExitFor(status);
    }
  }

  std::string after() const {
    const std::string_view position = AtBeginning() ? kBeginning : position_;
    return std::string(position.substr(0, position.find(' ')));
  }

 private:
  // A checkpoint that begins with this is at the beginning. One that has more is a bridge's claim, which
  // need not have begun the copy yet.
  static constexpr const char* kBeginning = "0-0";
  // One that ends with this is further on, but what it came by left nothing in the copy.
  static constexpr std::string_view kNothingYet = " nothing";

  bool AtBeginning() const {
    return anew_ || *position_ == '\0' ||
           std::strncmp(position_, kBeginning, std::strlen(kBeginning)) == 0;
  }
  bool HasCopied() const {
    return !AtBeginning() && !std::string_view(position_).ends_with(kNothingYet);
  }
  static bool HasAppeared(agx_status status) {
    return status == AGX_OK || status == AGX_ENDED || status == AGX_GAP ||
           status == AGX_EUNSUPPORTED;
  }
  static bool IsLive(const End& end) {
    int live = 0;
    return agx_is_live(end.session.get(), &live) == AGX_OK && live != 0;
  }

  // An empty stream is not gone: whoever trims it has done with what was copied.
  static bool IsGone(const agx_history& copy) {
    return copy.length == 0 && *copy.last_generated_id == '\0';
  }

  // *last is null if there is nothing.
  static agx_status ReadLast(const End& end, Event* last) {
    agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
    options.reverse = 1;
    agx_event* read = nullptr;
    size_t count = 0;
    const agx_status status = agx_history_read(end.session.get(), &options, &read, 1, &count);
    last->reset(read);
    return status == AGX_ENDED ? AGX_OK : status;
  }

  bool IsClaim() const { return AtBeginning() && std::strcmp(position_, kBeginning) != 0; }

  int HasFinished(const agx_history& copy, bool* finished) const {
    *finished = false;
    if (!HasEnds(to_) || copy.live != 0 || IsClaim()) return kDone;
    Event last;
    const agx_status status = ReadLast(to_, &last);
    if (status != AGX_OK) return Fail(status);
    const std::string_view type = last ? agx_event_type(last.get(), nullptr) : "";
    *finished = type == "end" || (to_.format == "agent-framework" && type == "error");
    return kDone;
  }

  // An agent-framework error ends FROM, but a listener behind it is not told again.
  bool CameToAnError() const {
    if (!started_ || AtBeginning() || from_.format != "agent-framework") return false;
    Event last;
    if (ReadLast(from_, &last) != AGX_OK || !last) return false;
    return std::strcmp(agx_event_type(last.get(), nullptr), "error") == 0 &&
           agx_event_id(last.get(), nullptr) == after();
  }

  // kAgain: another bridge of the same two has begun meanwhile, and says how far it is.
  int CheckFree() {
    int live = 0;
    agx_history there = AGX_HISTORY_INIT;
    agx_status status = agx_is_live(to(), &live);
    if (status == AGX_OK) status = agx_history_info(to(), &there);
    if (status != AGX_OK && status != AGX_NONE) return Fail(status);
    // Where starting drops nothing, what is there may be a copy whose place was lost, which would then
    // be there twice.
    const bool twice = Appends(to_) && !choices_.append && there.length != 0;
    if (live == 0 && !twice) return kDone;
    status = agx_checkpoint(to(), name(), position_);
    if (status != AGX_OK) return Fail(status);
    if (*position_ != '\0') return kAgain;
    if (live != 0) {
      Complain(to_.text + " is live already: somebody else writes there");
      return kBusy;
    }
    Complain(to_.text + " has events, and does not say how far it is a copy of " + from_.text +
             ": delete it, name another TO, or, with --append, copy all of it behind them");
    return kFailed;
  }

  // Becomes the producer of the copy, and goes on where an earlier bridge was.
  int Start() {
    agx_start_options options = AGX_START_OPTIONS_INIT;
    options.take_over = options.keep = 1;
    if (*position_ == '\0' && !anew_) {
      if (const int exit = CheckFree(); exit != kDone) return exit;
    }
    const bool begins = AtBeginning();
    agx_status status = AGX_OK;
    if (begins) {
      // Where there is nothing to be dropped, what comes meanwhile is not either.
      agx_history there = AGX_HISTORY_INIT;
      status = agx_history_info(to(), &there);
      if (status != AGX_OK && status != AGX_NONE) return Fail(status);
      options.keep = IsGone(there) ? 1 : 0;
      if (const int exit = Claim(); exit != kDone) return exit;
    }
    status = agx_start(to(), &options);
    if (status != AGX_OK) return Fail(status);
    started_ = true;
    return begins ? Confirm() : kDone;
  }

  // From here on whoever begins again knows that the copy is its own. A server has many names: if
  // what only this bridge writes for TO is seen at FROM, they are one, and beginning TO afresh would
  // do away with what is to be copied.
  int Claim() {
    const std::string mark = std::string(kBeginning) + " " + UniqueText();
    agx_status status = MoveTo(nullptr, 0, mark);
    if (status != AGX_OK) return FailToMove(status);
    char seen[AGX_NAME_MAX + 1] = "";
    status = agx_checkpoint(from_.session.get(), name(), seen);
    if (status != AGX_OK) return Fail(status);
    anew_ = false;
    if (mark != seen) return kDone;
    SayTheSame(from_);
    return kUsage;
  }

  // Another bridge may have come between the claim and the start. If it had ended by then, what it
  // copied went with the start.
  int Confirm() {
    const agx_status status = MoveTo(nullptr, 0, kBeginning);
    if (status == AGX_OK) return kDone;
    const int exit = FailToMove(status);
    if (exit != kAgain || !HasCopied()) return exit;
    bool there = false;
    const agx_status read = HasMoreThanBegin(&there);
    if (read != AGX_OK) return Fail(read);
    return there ? kAgain : BeginAnew();
  }

  agx_session* to() const { return to_.session.get(); }
  const char* name() const { return from_.text.c_str(); }

  int Copy(std::vector<Event> events) {
    // A list that was deleted is an empty one to whoever adds to it.
    if (to_.format == "ag2" && !events.empty() && IsLost()) return BeginAnew();
    // An error ends a session of agent-framework, and none of another format: it is held back until it is
    // known to be the last.
    if (to_.format != "agent-framework" || from_.format == to_.format) return CopyAll(events);
    std::vector<Event> ready;
    for (Event& event : events) {
      if (held_ != nullptr) {
        if (const int exit = CopyAll(ready); exit != kDone) return exit;
        ready.clear();
        const std::string id = agx_event_id(std::exchange(held_, nullptr).get(), nullptr);
        const int exit =
            Refuse(id, "the format agent-framework ends with an error, and more follows");
        if (exit != kDone) return exit;
      }
      const bool is_error = std::strcmp(agx_event_type(event.get(), nullptr), "error") == 0;
      if (is_error) {
        held_ = std::move(event);
      } else {
        ready.push_back(std::move(event));
      }
    }
    return CopyAll(ready);
  }

  int CopyAll(const std::vector<Event>& events) {
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
    std::string refusal;
    for (size_t i = begin; i < end; ++i) {
      const agx_event* event = events[i].get();
      const auto whole = [&](const char* text, size_t length) {
        if (std::strlen(text) != length) refusal = "it has a U+0000";
        return text;
      };
      // Another format's readers may need it; those of the same do without already.
      const auto or_unknown = [this](const char* text) {
        return *text != '\0' || from_.format == to_.format ? text : "unknown";
      };
      size_t length = 0;
      const char* type = agx_event_type(event, &length);
      type = or_unknown(whole(type, length));
      const char* origin = agx_event_origin(event, &length);
      origin = or_unknown(whole(origin, length));
      const char* body = agx_event_body(event, &length);
      const agx_new_event copy = {type, origin, whole(body, length)};
      // The copy has a begin of its own.
      if (from_.format == "agx" && std::strcmp(copy.type, "begin") == 0) continue;
      if (SaysMoreThere(copy.type)) {
        refusal = "its type is \"" + std::string(copy.type) + "\", which would " + copy.type +
                  " the session in the format " + to_.format;
      }
      copies.push_back(copy);
    }
    const std::string last = agx_event_id(events[end - 1].get(), nullptr);
    agx_status status = refusal.empty() ? Move(copies.data(), copies.size(), last) : AGX_EINVAL;
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
      status = Move(copies.data(), 1, last);
    }
    if (status == AGX_OK) return kDone;
    if (!IsRefusal(status)) return FailToMove(status, "the event " + last + " of " + from_.text);
    return Refuse(last, refusal.empty() ? ErrorOfOne() : refusal);
  }

  // Where FROM has such a begin or end itself, no listener hands it on as an event, or it is left out.
  bool SaysMoreThere(std::string_view type) const {
    return (type == "end" && HasEnds(to_)) || (type == "begin" && to_.format == "agx");
  }

  // Of one that the other format cannot hold.
  int Refuse(const std::string& id, const std::string& reason) {
    const std::string which = "the event " + id + " of " + from_.text;
    if (!choices_.skip) {
      Complain(which + ": " + reason + std::string(kSkipHint));
      return kFailed;
    }
    const agx_status status = Move(nullptr, 0, id);
    if (status != AGX_OK) return FailToMove(status);
    Complain("passed over " + which + ": " + reason);
    return kDone;
  }

  // The other format cannot hold it, or another program wrote what the library does not.
  static bool IsRefusal(agx_status status) {
    return status == AGX_EUNSUPPORTED || status == AGX_ETOOBIG || status == AGX_EINVAL;
  }

  int FailToMove(agx_status status, const std::string& what = "") {
    if (status == AGX_TAKEN_OVER) return FailAsSecond();
    return status == AGX_ECONFLICT ? LookAgain() : Fail(status, what);
  }

  // Somebody else has moved the checkpoint. Which bridge goes on the live flag says, which each takes when
  // it starts: the others hear that they were taken over. Until they do they may write, and what they have
  // written is where the one that goes on looks for its place.
  int LookAgain() {
    if (IsLost()) return BeginAnew();
    if (agx_is_canceled(to()) != 0) return FailAsSecond();
    held_.reset();
    anew_ = false;
    const agx_status status = agx_checkpoint(to(), name(), position_);
    return status == AGX_OK ? kAgain : Fail(status);
  }

  // One that is begun again cannot tell whether the one before it lives, and goes on in its place.
  int FailAsSecond() const {
    Complain("another producer, or another bridge from " + from_.text + ", took " + to_.text +
             " over");
    return kTakenOver;
  }

  void SayLost() const {
    Complain(to_.text + " has lost what was copied to it; copying it anew from the beginning");
  }

  // Its server was started again without its data, or somebody deleted the copy.
  bool IsLost() const {
    if (!started_) return false;
    char now[AGX_NAME_MAX + 1] = "";
    if (agx_checkpoint(to(), name(), now) != AGX_OK) return false;
    if (*now == '\0' || !HasCopied()) return *now == '\0';
    agx_history copy = AGX_HISTORY_INIT;
    const agx_status status = agx_history_info(to(), &copy);
    return (status == AGX_OK || status == AGX_NONE) && IsGone(copy);
  }

  // Of what was begun again meanwhile a `begin` and a live flag may be there, and stay. More than that
  // would be there twice.
  int BeginAnew() {
    held_.reset();
    bool more = false;
    agx_status status = HasMoreThanBegin(&more);
    if (status != AGX_OK) return Fail(status);
    if (more) {
      Complain(to_.text +
               " has lost how far the copy has come, but not what was copied: delete it, " +
               "and run the bridge again");
      return kFailed;
    }
    SayLost();
    // This handle is the producer of what is lost, and a stop would end what is there.
    if (const int exit = OpenItsSession(&to_); exit != kDone) return exit;
    anew_ = true;
    started_ = canceled_ = false;
    status = agx_checkpoint(to(), name(), position_);
    return status == AGX_OK ? kAgain : Fail(status);
  }

  agx_status HasMoreThanBegin(bool* more) const {
    agx_event* first[2] = {};
    size_t count = 0;
    const agx_status status = agx_history_read(to(), nullptr, first, 2, &count);
    for (size_t i = 0; i < count; ++i) {
      const Event event(first[i]);
      *more = *more || std::strcmp(agx_event_type(event.get(), nullptr), "begin") != 0;
    }
    return status == AGX_ENDED ? AGX_OK : status;
  }

  agx_status Move(const agx_new_event* events, size_t count, const std::string& id) {
    return MoveTo(events, count, count == 0 && !HasCopied() ? id + std::string(kNothingYet) : id);
  }
  agx_status MoveTo(const agx_new_event* events, size_t count, const std::string& position) {
    const agx_status status =
        agx_add_checked(to(), events, count, name(), position_, position.c_str());
    if (status == AGX_OK) std::strncpy(position_, position.c_str(), sizeof(position_) - 1);
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
  bool WasStopped(agx_listener* listener) const {
    const agx_gone_reason gone = agx_listener_gone(listener);
    return !HasEnds(from_) && (gone == AGX_GONE_STOPPED || gone == AGX_GONE_TAKEN);
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
      message += choices_.stop ? "; ending " + to_.text : "; --stop ends " + to_.text + " then";
    }
    Complain(message);
    return can_stop && choices_.stop ? Stop() : static_cast<int>(ExitFor(status));
  }

  int Stop() {
    if (IsLost()) return BeginAnew();
    if (held_ != nullptr) {
      std::vector<Event> last;
      last.push_back(std::exchange(held_, nullptr));
      if (const int exit = CopyAll(last); exit != kDone) return exit;
    }
    const agx_status status = agx_stop(to(), choices_.grace_ms.value_or(-1));
    if (status == AGX_TAKEN_OVER) return FailAsSecond();
    if (status != AGX_OK) return Fail(status);
    return gap_ ? kGap : kDone;
  }

  const End& from_;
  End& to_;
  const Choices choices_;
  const Watcher& watcher_;
  char position_[AGX_NAME_MAX + 1] = "";
  bool anew_ = false;  // the copy was lost, and its checkpoint, if it is there, says nothing
  bool started_ = false;
  Event held_;  // an error of which it is not known yet whether it is the last
  bool canceled_ = false;
  bool gap_ = false;
};

}  // namespace

int RunBridge(const Arguments& arguments) {
  Result<End> from_end = ParseEnd(arguments.operands()[0]);
  Result<End> to_end = ParseEnd(arguments.operands()[1]);
  const Result<int64_t> wait = arguments.Seconds("wait", kWaitMs, true);
  const Result<int64_t> timeout = arguments.Seconds("timeout", kTimeoutMs, true);
  const Result<int64_t> grace = arguments.Seconds("grace", -1, false);
  for (const std::string& error :
       {from_end.error(), to_end.error(), wait.error(), timeout.error(), grace.error()}) {
    if (error.empty()) continue;
    Complain(error);
    return kUsage;
  }
  End from = std::move(from_end.Take());
  End to = std::move(to_end.Take());
  if (arguments.Has("prefix") && from.format != "agx" && to.format != "agx") {
    Complain("--prefix is of the sessions of the format agx, which neither FROM nor TO is");
    return kUsage;
  }
  if (arguments.Has("append") && !Appends(to)) {
    Complain("--append is for a TO of openai-agents or ag2: another one is begun anew");
    return kUsage;
  }
  if (AreTheSame(arguments, from, to)) {
    SayTheSame(from);
    return kUsage;
  }
  Watcher watcher;
  if (const int exit = Open(arguments, &from); exit != kDone) return exit;
  if (const int exit = Open(arguments, &to); exit != kDone) return exit;
  Bridge::Choices choices = {
      arguments.Has("skip"), arguments.Has("stop"), arguments.Has("append"), {}};
  if (arguments.Has("grace")) choices.grace_ms = *grace;
  Bridge bridge(from, to, choices, watcher);
  bool finished = false;
  if (const int exit = bridge.Find(&finished); exit != kDone || finished) return exit;
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.wait_ms = *wait;
  options.timeout_ms = *timeout;
  int exit = kAgain;
  while (exit == kAgain && watcher.signal() == 0) {
    const std::string after = bridge.after();
    options.after = after.c_str();
    agx_listener* opened = nullptr;
    const agx_status status = agx_listen(from.session.get(), &options, &opened);
    if (status != AGX_OK) return Fail(status);
    const Listener listener(opened);
    watcher.OnWake([&listener] { agx_listener_interrupt(listener.get()); });
    exit = bridge.Run(listener.get());
    watcher.OnWake({});
  }
  return exit == kAgain ? kSignal + watcher.signal() : exit;
}

}  // namespace cli
