// Measures libagx beside plain hiredis loops and redis-benchmark, on a Redis server of its own.
#include <getopt.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "report.h"
#include "rows.h"
#include "server.h"

namespace bench {

const std::vector<Row>& Rows() {
  static const std::vector<Row> rows = {
      {"add1", "agx_add, one thread", AddOneThread},
      {"add16", "agx_add, 16 threads", AddThreads},
      {"addmany", "agx_add_many beside redis-benchmark", AddBatches},
      {"replay", "agx_listen_next, replay", Replay},
      {"select", "agx_listen_next with a condition, replay", Select},
      {"latency", "from agx_add to agx_listen_next", Latency},
      {"ag2", "a live ag2 stream, beside SUBSCRIBE and LRANGE", Ag2Live},
      {"mux10k", "10,000 listeners", Mux10k},
      {"mux100k", "100,000 listeners", Mux100k},
      {"cancel", "from agx_cancel to agx_wait_canceled", Cancel},
      {"group", "agx_group_read and agx_group_ack", GroupBatches},
      {"feed", "agx_run_feed into memory, beside cJSON", FeedMemory},
      {"feed-redis", "agx_run_feed into Redis, beside agx_add_many", FeedRedis},
  };
  return rows;
}

namespace {

constexpr char kUsage[] =
    "usage: agx-bench [OPTION]...\n"
    "  --row NAME[,NAME]...  only these rows\n"
    "  --rounds N            measure each so many times (default 7; with --quick 3)\n"
    "  --quick               a quarter of the work in each round\n"
    "  --scale X             X times the work in each round\n"
    "  --side agx|plain      only one side, for a profiler\n"
    "  --unix                by a unix socket rather than TCP\n"
    "  --markdown FILE       write the table\n"
    "  --svg FILE            write the plot\n"
    "  --json FILE           write every number\n"
    "rows:\n";

struct Arguments {
  Options options;
  std::vector<std::string> rows;
  bool unix_socket = false;
  std::string markdown;
  std::string svg;
  std::string json;
  std::string consumer;
  std::string feeder;
  std::string tag;
};

[[noreturn]] void Usage(int status) {
  FILE* out = status == 0 ? stdout : stderr;
  std::fputs(kUsage, out);
  for (const Row& row : Rows()) std::fprintf(out, "  %-10s %s\n", row.name, row.about);
  std::exit(status);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Side ParseSide(const std::string& text) {
  if (text == "agx") return Side::kAgx;
  if (text == "plain") return Side::kPlain;
  Usage(2);
}

Arguments Parse(int argc, char** argv) {
  const option options[] = {
      {"row", 1, nullptr, 'r'},      {"rounds", 1, nullptr, 'n'},   {"quick", 0, nullptr, 'q'},
      {"scale", 1, nullptr, 'x'},    {"side", 1, nullptr, 's'},     {"unix", 0, nullptr, 'u'},
      {"markdown", 1, nullptr, 'm'}, {"svg", 1, nullptr, 'g'},      {"json", 1, nullptr, 'j'},
      {"help", 0, nullptr, 'h'},     {"consumer", 1, nullptr, 'C'}, {"feeder", 1, nullptr, 'F'},
      {"port", 1, nullptr, 'P'},     {"socket", 1, nullptr, 'S'},   {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  for (int c = 0; (c = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    std::string value = optarg != nullptr ? optarg : "";
    switch (c) {
      case 'r':
        arguments.rows = Split(value);
        break;
      case 'n':
        arguments.options.rounds = std::atoi(value.c_str());
        break;
      case 'q':
        arguments.options.quick = true;
        break;
      case 'x':
        arguments.options.scale = std::atof(value.c_str());
        break;
      case 's':
        arguments.options.side = ParseSide(value);
        break;
      case 'u':
        arguments.unix_socket = true;
        break;
      case 'm':
        arguments.markdown = value;
        break;
      case 'g':
        arguments.svg = value;
        break;
      case 'j':
        arguments.json = value;
        break;
      case 'C':
        arguments.consumer = value;
        break;
      case 'F':
        arguments.feeder = value;
        break;
      case 'P':
        arguments.options.address = {"127.0.0.1", "", std::atoi(value.c_str())};
        break;
      case 'S':
        arguments.options.address = {"", value, 0};
        break;
      case 'h':
        Usage(0);
      default:
        Usage(2);
    }
  }
  if (optind < argc) arguments.tag = argv[optind];
  if (arguments.options.rounds <= 0) arguments.options.rounds = arguments.options.quick ? 3 : 7;
  return arguments;
}

std::vector<const Row*> Chosen(const std::vector<std::string>& names) {
  std::vector<const Row*> chosen;
  for (const Row& row : Rows()) {
    if (names.empty()) chosen.push_back(&row);
  }
  for (const std::string& name : names) {
    size_t before = chosen.size();
    for (const Row& row : Rows()) {
      if (name == row.name) chosen.push_back(&row);
    }
    if (chosen.size() == before) Usage(2);
  }
  return chosen;
}

void WriteFile(const std::string& path, const std::string& text) {
  if (path.empty()) return;
  std::ofstream file(path);
  file << text;
  if (!file.flush()) Fail("cannot write " + path);
}

// Ctrl-C stops the server too.
void EndOnSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    End(128 + signal);
  }).detach();
}

int Main(int argc, char** argv) {
  Arguments arguments = Parse(argc, argv);
  Options& options = arguments.options;
  if (!arguments.consumer.empty()) {
    return RunConsumer(options, std::stoul(arguments.consumer), arguments.tag);
  }
  if (!arguments.feeder.empty()) {
    return RunFeeder(options, std::stoul(arguments.feeder), arguments.tag);
  }
  if (!arguments.tag.empty()) Usage(2);
  std::vector<const Row*> rows = Chosen(arguments.rows);
  EndOnSignals();

  Server server;
  options.address = arguments.unix_socket ? server.unix_socket() : server.tcp();
  Scene scene = Look(options);
  std::printf("%s; %s; %s; %s; %s\n", scene.library.c_str(), scene.hiredis.c_str(),
              scene.server.c_str(), scene.machine.c_str(), scene.date.c_str());
  std::vector<Measure> measures;
  for (const Row* row : rows) {
    for (Measure& measure : row->run(options)) {
      PrintMeasure(measure);
      measures.push_back(std::move(measure));
    }
  }
  if (options.side != Side::kBoth) return 0;
  WriteFile(arguments.markdown, Markdown(scene, measures));
  WriteFile(arguments.svg, Svg(scene, measures));
  WriteFile(arguments.json, Json(scene, measures));
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) { return bench::Main(argc, argv); }
