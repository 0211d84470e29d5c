// agx add: one event, or one for each line of standard input.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <vector>

#include "commands.h"
#include "connect.h"

namespace cli {
namespace {

constexpr size_t kReadSize = 64 * 1024;
// While the input is silent, the session is kept live this often at least.
constexpr int64_t kRenewMs = 1000;

struct Adding {
  agx_session* session = nullptr;
  const char* type = nullptr;
  const char* origin = nullptr;
  bool quiet = false;
  int64_t renew_ms = kRenewMs;
};

// Whoever adds to a session keeps it live, if it is. The events are in the store all the same if
// this fails, so that it decides nothing.
void Renew(const Adding& adding) {
  const agx_status status = agx_renew(adding.session);
  if (status != AGX_OK && status != AGX_NOT_LIVE) Fail(status, "the session was not kept live");
}

// Reads what there is, waiting for the first of it. Returns false at the end; *error is errno.
bool ReadSome(std::string* buffer, int* error) {
  const size_t before = buffer->size();
  buffer->resize(before + kReadSize);
  ssize_t count = 0;
  do {
    count = read(STDIN_FILENO, buffer->data() + before, kReadSize);
  } while (count < 0 && errno == EINTR);
  *error = count < 0 ? errno : 0;
  buffer->resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return count > 0;
}

int FailRead(int error) {
  Complain("cannot read standard input: " + std::system_category().message(error));
  return kFailed;
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// All of standard input as a body. One byte too many is enough for the library to refuse it.
int ReadBody(std::string* body) {
  int error = 0;
  while (body->size() <= AGX_BODY_MAX && ReadSome(body, &error)) {
  }
  if (error != 0) return FailRead(error);
  *body = Trimmed(*body);
  if (body->find('\0') != body->npos) {
    Complain("the body contains a NUL byte, which JSON does not allow");
    return kUsage;
  }
  return kDone;
}

int AddOne(const Adding& adding, const char* body) {
  char id[AGX_ID_SIZE];
  const agx_status status = agx_add(adding.session, adding.type, adding.origin, body, id);
  if (status != AGX_OK) return Fail(status);
  Output out;
  if (!adding.quiet) out.buffer() = std::string(id) + "\n";
  out.Flush();
  Renew(adding);
  return out.ExitForClosed();
}

// One event for each line. What has arrived is added at once, in one batch; a line that has not
// arrived whole waits for the rest of it.
class LineAdder {
 public:
  explicit LineAdder(const Adding& adding) : adding_(adding) {}

  int Run() {
    int error = 0;
    for (;;) {
      WaitForInput();
      const bool more = ReadSome(&buffer_, &error);
      if (error != 0) return FailRead(error);
      if (!more && !buffer_.empty()) buffer_ += '\n';
      const int exit = AddLines();
      if (exit != kDone) return exit;
      if (!more) return out_.ExitForClosed();
    }
  }

 private:
  struct Line {
    size_t number;
    const char* body;
  };

  void WaitForInput() {
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    while (poll(&input, 1, static_cast<int>(adding_.renew_ms)) == 0) Renew(adding_);
  }

  // Adds the whole lines in the buffer, and leaves what comes after them there.
  int AddLines() {
    std::vector<Line> lines;
    size_t begin = 0;
    size_t end = buffer_.find('\n', scanned_);
    std::string bad;
    for (; end != buffer_.npos && bad.empty(); end = buffer_.find('\n', begin)) {
      bad = TakeLine(begin, end, &lines);
      begin = end + 1;
    }
    scanned_ = buffer_.size() - begin;
    if (bad.empty() && scanned_ > AGX_BODY_MAX) bad = Numbered(number_ + 1, "is too long");
    const int exit = AddBatch(lines);
    buffer_.erase(0, begin);
    if (exit != kDone || bad.empty()) return exit;
    Complain(bad);
    return kUsage;
  }

  // Returns what is wrong with the line, or "".
  std::string TakeLine(size_t begin, size_t end, std::vector<Line>* lines) {
    ++number_;
    const std::string_view line = Trimmed(std::string_view(buffer_).substr(begin, end - begin));
    if (line.empty()) return "";
    if (line.find('\0') != line.npos) return Numbered(number_, "contains a NUL byte");
    const auto offset = static_cast<size_t>(line.data() - buffer_.data());
    buffer_[offset + line.size()] = '\0';  // in place of the line end, or of a blank before it
    lines->push_back({number_, buffer_.data() + offset});
    return "";
  }

  int AddBatch(const std::vector<Line>& lines) {
    if (lines.empty()) return kDone;
    const auto [status, added] = AddMany(lines.data(), lines.size());
    // The library looks at all before it writes any. One by one, those before the bad one get in,
    // and it is known which that is.
    const bool refused = status == AGX_EJSON || status == AGX_ETOOBIG || status == AGX_EINVAL ||
                         status == AGX_EUNSUPPORTED;
    if (!refused || added > 0) return Finish(status, lines.data() + added);
    for (const Line& line : lines) {
      const agx_status one = AddMany(&line, 1).status;
      if (one != AGX_OK) return Finish(one, &line);
    }
    return Finish(AGX_OK, nullptr);
  }

  struct Outcome {
    agx_status status;
    size_t added;
  };

  Outcome AddMany(const Line* lines, size_t count) {
    std::vector<agx_new_event> events;
    for (size_t i = 0; i < count; ++i) {
      events.push_back({adding_.type, adding_.origin, lines[i].body});
    }
    std::vector<char> ids(count * AGX_ID_SIZE);
    size_t added = 0;
    const agx_status status =
        agx_add_many(adding_.session, events.data(), count, ids.data(), &added);
    for (size_t i = 0; i < added && !adding_.quiet; ++i) {
      out_.buffer() += std::string(&ids[i * AGX_ID_SIZE]) + "\n";
    }
    return {status, added};
  }

  // Nobody who reads the ids is no reason to lose the events.
  int Finish(agx_status status, const Line* failed) {
    const int exit = status == AGX_OK ? kDone : ExitFor(status);
    if (status != AGX_OK) {
      const std::string reason = ErrorOfOne();
      Complain("line " + std::to_string(failed->number) + ": " +
               (reason.empty() ? agx_status_string(status) : reason));
    }
    out_.Flush();
    Renew(adding_);
    return exit;
  }

  static std::string Numbered(size_t number, std::string_view what) {
    return "line " + std::to_string(number) + " " + std::string(what);
  }

  Adding adding_;
  Output out_;
  std::string buffer_;
  size_t scanned_ = 0;  // of the buffer, known to hold no line end
  size_t number_ = 0;   // of the last line that was taken
};

// Before anything is read that a wrong word would waste.
std::string CheckWords(const Arguments& arguments) {
  const Result<SessionName> name = NameOf(arguments);
  if (!name.ok()) return name.error();
  if (!arguments.Has("type")) return "add: --type TYPE is needed";
  if (arguments.Has("body") && arguments.Has("lines")) {
    return "add: --body and --lines do not go together";
  }
  return "";
}

}  // namespace

int RunAdd(const Arguments& arguments) {
  const std::string wrong = CheckWords(arguments);
  const Result<int64_t> lease = LeaseOption(arguments);
  if (!wrong.empty() || !lease.ok()) {
    Complain(wrong.empty() ? lease.error() : wrong);
    return kUsage;
  }
  std::optional<std::string> body;
  if (const std::string* given = arguments.Get("body")) body = *given;
  if (body == "-") {
    body = "";
    if (const int exit = ReadBody(&*body); exit != kDone) return exit;
  }
  Connection to;
  if (const int exit = Connect(arguments, *lease, &to); exit != kDone) return exit;
  const std::string* origin = arguments.Get("origin");
  Adding adding = {to.session.get(), arguments.Get("type")->c_str(),
                   origin ? origin->c_str() : "cli", arguments.Has("quiet")};
  if (*lease > 0) adding.renew_ms = std::min(kRenewMs, *lease / 3);
  if (arguments.Has("lines")) return LineAdder(adding).Run();
  return AddOne(adding, body ? body->c_str() : nullptr);
}

}  // namespace cli
