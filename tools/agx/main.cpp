// agx: the command line of libagx.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <exception>
#include <span>

#include "args.h"
#include "commands.h"
#include "util.h"

namespace cli {
namespace {

constexpr std::string_view kSession = "SCOPE/USER/SESSION";
constexpr std::string_view kSessionAndType = "SCOPE/USER/SESSION --type TYPE";

constexpr Option kLease = {"lease", "S", "seconds that it stays live without a sign; default 15"};

constexpr std::array kStartOptions = {
    kLease,
    Option{"take-over", "", "become the producer of a session that is live already"},
    Option{"origin", "ORIGIN", "origin of the begin event; default opale"},
};
constexpr std::array kStopOptions = {
    Option{"grace", "S", "seconds until its events are gone; default 5"},
};
constexpr std::array kAddOptions = {
    Option{"type", "TYPE", "the event's type (needed)"},
    Option{"origin", "ORIGIN", "who says so; default cli"},
    Option{"body", "JSON", "the event's body; - reads it from standard input"},
    Option{"lines", "", "one event for each line of standard input, which is its body"},
    Option{"lease", "S", "seconds that the session stays live from here; default 15"},
    Option{"quiet", "", "do not print the ids"},
};
constexpr std::array kListenOptions = {
    Option{"after", "ID|new", "what came after this id, or comes from now on; default: everything"},
    Option{"wait", "S", "give up if it has not appeared by then; default 3; never"},
    Option{"timeout", "S", "give up after so long without an event; default 60; never"},
    Option{"limit", "N", "end after N events"},
    Option{"where", "EXPR", "only events that this condition selects"},
    Option{"skip", "", "pass over entries that cannot be read, instead of stopping there"},
    Option{"end", "", "show the closing end event as well"},
    Option{"pretty", "", "for people; the default on a terminal"},
    Option{"json", "", "a line of JSON for each event; the default elsewhere"},
};
constexpr std::array kHistoryOptions = {
    Option{"after", "ID", "what came after this id; default: from the first on"},
    Option{"before", "ID", "what came before this id; default: up to the last"},
    Option{"count", "N", "at most N events"},
    Option{"reverse", "", "the newest first"},
    Option{"where", "EXPR", "only events that this condition selects"},
    Option{"skip", "", "pass over entries that cannot be read, instead of stopping there"},
    Option{"pretty", "", "for people; the default on a terminal"},
    Option{"json", "", "a line of JSON for each event; the default elsewhere"},
};
constexpr std::array kInfoOptions = {
    Option{"pretty", "", "a line for each fact; the default on a terminal"},
    Option{"json", "", "a JSON object; the default elsewhere"},
};
constexpr std::array kGroupOptions = {
    Option{"group", "G", "the group; default agents"},
    Option{"consumer", "C", "whose turn it is; default cli, process: one that nobody else has"},
    Option{"from", "ID|new", "where a group that is made begins; default: with the first event"},
    Option{"count", "N", "at most N"},
    Option{"block", "S", "read: wait for an event; default 0; never"},
    Option{"pending", "", "read: what is pending for the consumer, instead of new events"},
    Option{"idle", "S",
           "claim, process, pending: idle for so long; default 300, pending and ids 0"},
    Option{"retries", "N", "process: attempts before an event is given up; default 3"},
    Option{"limit", "N", "process: end after N events"},
    Option{"timeout", "S", "process: end after so long without an event; default never"},
    Option{"dead-letters", "KEY", "where events go that were given up; default: the stream's :dlq"},
    Option{"replay", "", "dlq: put these back into the stream"},
    Option{"delete", "", "dlq: delete these"},
    Option{"all", "", "dlq: replay or delete all"},
    Option{"force", "", "delete: what is pending as well"},
    Option{"pretty", "", "for people; the default on a terminal"},
    Option{"json", "", "a line of JSON for each event; the default elsewhere"},
};
constexpr std::array kChatOptions = {
    Option{"model", "MODEL", "which model answers; default $OPENAI_MODEL"},
    Option{"system", "TEXT", "what the model is told first, in a new conversation"},
    Option{"timeout", "S", "give up after so long without a byte; default 300; never"},
    Option{"grace", "S", "seconds until its events are gone; default 60"},
    Option{"pretty", "", "for people; the default on a terminal"},
    Option{"json", "", "a line of JSON for each event; the default elsewhere"},
};
constexpr std::array kRunOptions = {
    Option{"feed", "API", "openai-chat (the default), openai-responses or anthropic"},
    Option{"grace", "S", "seconds until its events are gone; default 5"},
    Option{"save", "", "append the response to the session's conversation"},
    Option{"quiet", "", "do not print the response"},
};
constexpr std::array kMessagesOptions = {
    Option{"nodes", "", "its nodes: each request and response as one"},
    Option{"title", "", "its title: what the user asked first"},
};
constexpr std::array kBridgeOptions = {
    Option{"skip", "", "pass over what cannot be read, or held by TO, instead of stopping there"},
    Option{"stop", "", "end TO too if FROM is gone or silent, and not live, without an end"},
    Option{"append", "", "copy behind what is in TO, though nothing says how far that is a copy"},
    Option{"grace", "S", "seconds until a finished copy is gone; default 5"},
    Option{"wait", "S", "give up if FROM has not appeared by then; default 3; never"},
    Option{"timeout", "S", "give up after so long without an event; default 60; never"},
};
constexpr std::array kLsOptions = {
    Option{"json", "", "a line of JSON for each session"},
};
constexpr std::array kDemoOptions = {
    Option{"fast", "", "do not pause for the reader; the default where there is no terminal"},
};

int RunVersion(const Arguments&) {
  Output out;
  out.buffer() = "agx " + std::to_string(AGX_VERSION_MAJOR) + "." +
                 std::to_string(AGX_VERSION_MINOR) + "." + std::to_string(AGX_VERSION_PATCH) +
                 ", libagx " + agx_version_string() + "\n";
  out.Flush();
  return out.ExitForClosed();
}

constexpr std::array kCommands = {
    Command{"demo", "", 0, 0, "show what this is about: needs no server",
            "Shows an agent's run as it is followed live, a second listener that joins late, and\n"
            "a cancel that takes effect. In this process alone, or with --url on that store.",
            kDemoOptions, RunDemo},
    Command{"start", kSession, 1, 1, "begin a session",
            "Begins the session afresh: it is live from here on, for as long as events are added\n"
            "or its lease lasts. Exit status 5: it is live already.",
            kStartOptions, RunStart},
    Command{"add", kSessionAndType, 1, 1, "add an event, or many",
            "Adds an event and prints its id. If the session is live it stays so. --lines adds\n"
            "each line as it comes; at one that cannot be added it stops, and says which it was.",
            kAddOptions, RunAdd},
    Command{"stop", kSession, 1, 1, "end a session",
            "Ends the session: adds its end event, after which listeners end too.\n"
            "Exit status 1: it has ended already, or there is none.",
            kStopOptions, RunStop},
    Command{"cancel",
            kSession,
            1,
            1,
            "cancel a session",
            "Asks the producer of the session to stop. Exit status 1: it was not live.",
            {},
            RunCancel},
    Command{"live",
            kSession,
            1,
            1,
            "ask whether a session is live",
            "Answers by its exit status: 0 live, 1 not live.",
            {},
            RunLive},
    Command{"listen", kSession, 1, 1, "follow a session's events",
            "Shows what has happened and what happens, until the session ends. Exit status 1: it\n"
            "never appeared; 7: silent for too long; 8: its producer is gone; 9: ended, but some\n"
            "events were missing. After Ctrl-C, --after goes on where it was.",
            kListenOptions, RunListen},
    Command{
        "history", kSession, 1, 1, "show what is in a session",
        "Shows the events that are there, and waits for none. With --reverse, --count N is the\n"
        "last N. Exit status 1: there is no such event.",
        kHistoryOptions, RunHistory},
    Command{"info", kSession, 1, 1, "tell how much is in a session",
            "Tells how many events there are, from which to which, and when they expire: a line\n"
            "each on a terminal, elsewhere a JSON object. Exit status 1: there is no session.",
            kInfoOptions, RunInfo},
    Command{
        "group", "ACTION SCOPE/USER/SESSION [ID…|-- COMMAND…]", 2, SIZE_MAX,
        "share a session's events among consumers",
        "ACTION is what a consumer of a group does:\n"
        "  read      takes events that nobody was given yet, and shows them\n"
        "  ack       acknowledges those with these ids\n"
        "  claim     takes over what others were given: these ids, or all that is idle\n"
        "  pending   lists what was given to somebody and not acknowledged\n"
        "  info      tells how the group is doing\n"
        "  process   runs COMMAND for each event, with its JSON on standard input; exit status 0\n"
        "            acknowledges it, others try it again, and in the end give it up\n"
        "  dlq       lists what was given up; --replay or --delete these ids, or --all\n"
        "  delete    deletes the group, or only the --consumer\n"
        "read and process make the group if need be. Exit status 1: no such group, or nothing\n"
        "there; 7: nothing came.",
        kGroupOptions, RunGroup},
    Command{
        "chat", "SCOPE/USER/SESSION [PROMPT]", 1, 2, "let a model answer, with two tools",
        "An agent: a model of an OpenAI-compatible server answers, and may ask for the time and\n"
        "for arithmetic. The session keeps the conversation for the next time. Without a PROMPT\n"
        "it is read from standard input; on a terminal, line by line. Ctrl-C cancels.\n"
        "From $OPENAI_BASE_URL and $OPENAI_API_KEY. Exit status 10: canceled; 12: no answer.",
        kChatOptions, RunChat},
    Command{"run", kSession, 1, 1, "make a run of a model's raw stream",
            "Reads the body of a model's streaming HTTP response from standard input as it comes,\n"
            "and writes it as a run: the session begins, has its events, and ends. Prints the\n"
            "response as one message, a line of JSON. Exit status 10: canceled; 11: another\n"
            "producer took the session over; 12: the stream is broken or reports an error.",
            kRunOptions, RunFeed},
    Command{"messages", kSession, 1, 1, "print a session's conversation",
            "Prints what the session keeps between runs, as JSON. Exit status 1: nothing.",
            kMessagesOptions, RunMessages},
    Command{"bridge", "FROM TO", 2, 2, "copy a session to another format or store",
            "FROM and TO are FORMAT:STREAM, or agx:SCOPE/USER/SESSION, each with @URL if it is in\n"
            "another store. Copies what has happened and what happens, until FROM ends, and then\n"
            "ends TO. openai-agents and ag2 have no end: there FROM ends when it is stopped or\n"
            "cancelled while this looks on, and --stop is for what says nothing.\n"
            "Killed and begun again it goes on where it was, without loss or repetition.\n"
            "Exit status as for listen; 5: somebody else writes to TO; 11: another bridge, begun\n"
            "with the same FROM and TO, goes on in its place.",
            kBridgeOptions, RunBridge},
    Command{"ls", "[SCOPE[/USER]]", 0, 1, "list live sessions",
            "Lists the sessions that are live, of all, a scope, or a scope and user.\n"
            "Exit status 1: there is none.",
            kLsOptions, RunLs},
    Command{"version",
            "",
            0,
            0,
            "show the versions of agx and of the library",
            "Shows the versions of agx and of the library.",
            {},
            RunVersion},
};

// A descriptor that the caller closed would otherwise become that of a connection, and what is
// printed would go to the store.
void OpenStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // Opened the wrong way round, so that using it is an error still.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

int Help(const Command* command) {
  Output out;
  out.buffer() = command ? CommandHelp(*command) : GeneralHelp(kCommands);
  out.Flush();
  return out.ExitForClosed();
}

int Main(std::span<const char* const> words) {
  OpenStandardDescriptors();
  std::signal(SIGPIPE, SIG_IGN);  // a write says so too
  const Result<Arguments> parsed = ParseArguments(kCommands, words);
  if (!parsed.ok()) {
    Complain(parsed.error());
    return kUsage;
  }
  if (parsed->Has("help")) return Help(parsed->command());
  return parsed->command()->run(*parsed);
}

}  // namespace
}  // namespace cli

int main(int argc, char** argv) {
  try {
    const std::span<const char* const> words(argv, static_cast<size_t>(argc));
    return cli::Main(words.subspan(words.empty() ? 0 : 1));
  } catch (const std::exception& error) {
    cli::Complain(error.what());  // out of memory, or of threads
    return cli::kFailed;
  }
}
