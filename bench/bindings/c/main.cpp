// What the bindings are measured beside: the same work by agx.h itself. Prints, as their programs do,
// row, library, value and unit with tabs between them.
#include <agx.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr char kBody[] =
    R"({"event":"part_delta","event_idx":7,"part_delta_kind":"text","content_delta":"some words more"})";
constexpr int kRounds = 5;
constexpr int kBatch = 512;

struct Scale {
  int add, add_many, replay, latency, listeners;
};

void Check(agx_status status, const char* what) {
  if (status == AGX_OK) return;
  std::fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  std::exit(1);
}

class Bench {
 public:
  Bench(const std::string& url, const Scale& scale) : scale_(scale) {
    agx_options options = AGX_OPTIONS_INIT;
    options.prefix = "agx-bench";
    Check(agx_open(url.c_str(), &options, &client_), "agx_open");
  }
  ~Bench() { agx_close(client_); }

  void Add1() {
    Rate("add1", scale_.add, [this](agx_session* session) { Add(session, scale_.add); });
  }
  void Add16() {
    constexpr int kThreads = 16;
    int count = scale_.add * 4 / kThreads;
    Rate("add16", count * kThreads, [this, count](agx_session* session) {
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i) threads.emplace_back([=, this] { Add(session, count); });
      for (std::thread& thread : threads) thread.join();
    });
  }
  void AddMany() {
    Rate("addmany", scale_.add_many,
         [this](agx_session* session) { Fill(session, scale_.add_many); });
  }
  void Replay() {
    agx_session* session = Session();
    Fill(session, scale_.replay);
    Print("replay", "events/s", Median([&] {
            auto began = Clock::now();
            ReadAll(session);
            return scale_.replay / Seconds(began);
          }));
    Drop(session);
  }
  void Latency() {
    Print("latency", "µs", Median([this] { return LatencyOnce(); }));
  }
  void Listeners() {
    std::vector<double> rates;
    double memory = 0;
    long threads = 0;
    for (int round = 0; round < kRounds; ++round) rates.push_back(ListenOnce(&memory, &threads));
    std::sort(rates.begin(), rates.end());
    std::string count = ", " + std::to_string(scale_.listeners) + " listeners";
    Print("listeners-memory", "bytes/listener" + count, memory);
    Print("listeners-threads", "threads" + count, static_cast<double>(threads));
    Print("listeners", "events/s" + count, rates[rates.size() / 2]);
  }

 private:
  static double Seconds(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
  }
  static void Print(const char* row, const std::string& unit, double value) {
    std::printf("%s\tC\t%.1f\t%s\n", row, value, unit.c_str());
    std::fflush(stdout);
  }
  // Behind a second that does not count.
  static double Median(const std::function<double()>& once) {
    for (auto began = Clock::now(); Seconds(began) < 1;) once();
    std::vector<double> values;
    for (int round = 0; round < kRounds; ++round) values.push_back(once());
    std::sort(values.begin(), values.end());
    return values[kRounds / 2];
  }

  void Rate(const char* row, int count, const std::function<void(agx_session*)>& work) {
    Print(row, "events/s", Median([&] {
            agx_session* session = Session();
            auto began = Clock::now();
            work(session);
            double rate = count / Seconds(began);
            Drop(session);
            return rate;
          }));
  }

  agx_session* Session() {
    std::string id = std::to_string(getpid()) + "-" + std::to_string(++sessions_);
    agx_session* session = nullptr;
    Check(agx_session_open(client_, 1, 1, id.c_str(), &session), "agx_session_open");
    return session;
  }
  static void Drop(agx_session* session) {
    agx_history_delete(session);
    agx_session_close(session);
  }
  static void Add(agx_session* session, int count) {
    char id[AGX_ID_SIZE];
    for (int i = 0; i < count; ++i) Check(agx_add(session, "event", "bench", kBody, id), "agx_add");
  }
  static void Fill(agx_session* session, int count) {
    std::vector<agx_new_event> events(kBatch, {"event", "bench", kBody});
    std::vector<char> ids(static_cast<size_t>(kBatch) * AGX_ID_SIZE);
    for (int left = count; left > 0; left -= kBatch) {
      auto size = static_cast<size_t>(std::min(left, kBatch));
      size_t added = 0;
      Check(agx_add_many(session, events.data(), size, ids.data(), &added), "agx_add_many");
    }
  }
  static void AddToEach(const std::vector<agx_session*>& sessions) {
    std::vector<agx_addition> additions(sessions.size());
    for (size_t i = 0; i < sessions.size(); ++i) {
      additions[i].session = sessions[i];
      additions[i].event = {"event", "bench", kBody};
    }
    Check(agx_add_each(additions.data(), additions.size()), "agx_add_each");
  }
  void ReadAll(agx_session* session) const {
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.limit = scale_.replay;
    agx_listener* listener = nullptr;
    Check(agx_listen(session, &options, &listener), "agx_listen");
    agx_event* events[kBatch];
    size_t count = 0;
    size_t bytes = 0;
    while (agx_listen_next_many(listener, -1, events, kBatch, &count) == AGX_OK) {
      for (size_t i = 0; i < count; ++i) {
        size_t length = 0;
        agx_event_body(events[i], &length);
        bytes += length;
        agx_event_free(events[i]);
      }
    }
    agx_listener_close(listener);
    if (bytes != static_cast<size_t>(scale_.replay) * std::strlen(kBody)) std::abort();
  }

  static agx_listener* ListenToNew(agx_session* session) {
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.after = "new";
    options.wait_ms = options.timeout_ms = -1;
    agx_listener* listener = nullptr;
    Check(agx_listen(session, &options, &listener), "agx_listen");
    return listener;
  }

  double LatencyOnce() {
    agx_session* session = Session();
    agx_listener* listener = ListenToNew(session);
    std::vector<double> all;
    for (int i = 0; i < scale_.latency; ++i) {
      auto waiting = std::async(std::launch::async, [listener] {
        agx_event* event = nullptr;
        Check(agx_listen_next(listener, -1, &event), "agx_listen_next");
        agx_event_free(event);
        return Clock::now();
      });
      // So that it waits; the add is what is timed.
      while (waiting.wait_for(std::chrono::milliseconds(1)) == std::future_status::ready)
        std::abort();
      auto began = Clock::now();
      Add(session, 1);
      all.push_back(std::chrono::duration<double, std::micro>(waiting.get() - began).count());
    }
    agx_listener_close(listener);
    Drop(session);
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  }

  static long Resident() {
    std::ifstream file("/proc/self/statm");
    long size = 0;
    long pages = 0;
    file >> size >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  }
  static long Threads() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("Threads:", 0) == 0) return std::stol(line.substr(8));
    }
    return 0;
  }

  double ListenOnce(double* memory, long* threads) {
    long before = Resident();
    std::vector<agx_session*> sessions;
    std::vector<agx_listener*> listeners;
    agx_mux* mux = nullptr;
    Check(agx_mux_open(client_, &mux), "agx_mux_open");
    for (int i = 0; i < scale_.listeners; ++i) {
      sessions.push_back(Session());
      listeners.push_back(ListenToNew(sessions.back()));
      Check(agx_mux_add(mux, listeners.back()), "agx_mux_add");
    }
    if (*memory == 0) {
      *memory = static_cast<double>(Resident() - before) / scale_.listeners;
    }
    *threads = std::max(*threads, Threads());
    auto began = Clock::now();
    std::thread adder([&] { AddToEach(sessions); });
    for (int i = 0; i < scale_.listeners; ++i) {
      agx_listener* listener = nullptr;
      agx_event* event = nullptr;
      Check(agx_mux_next(mux, -1, &listener, &event), "agx_mux_next");
      agx_event_free(event);
    }
    double rate = scale_.listeners / Seconds(began);
    adder.join();
    agx_mux_close(mux);
    for (agx_listener* listener : listeners) agx_listener_close(listener);
    for (agx_session* session : sessions) Drop(session);
    return rate;
  }

  const Scale scale_;
  agx_client* client_ = nullptr;
  int sessions_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::string url = "redis://127.0.0.1:6379";
  std::string rows = "add1,add16,addmany,replay,latency,listeners";
  Scale scale{5000, 512 * 100, 100000, 300, 10000};
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    if (option == "--quick") {
      scale = {200, 512 * 4, 5000, 30, 200};
    } else if (option == "--url" && i + 1 < argc) {
      url = argv[++i];
    } else if (option == "--rows" && i + 1 < argc) {
      rows = argv[++i];
    } else {
      std::fprintf(stderr, "usage: agx-bench-c [--url URL] [--rows ROW,ROW...] [--quick]\n");
      return 2;
    }
  }
  Bench bench(url, scale);
  for (const auto& [row, measure] :
       {std::pair{"add1", &Bench::Add1}, std::pair{"add16", &Bench::Add16},
        std::pair{"addmany", &Bench::AddMany}, std::pair{"replay", &Bench::Replay},
        std::pair{"latency", &Bench::Latency}, std::pair{"listeners", &Bench::Listeners}}) {
    if (("," + rows + ",").find("," + std::string(row) + ",") != std::string::npos) {
      (bench.*measure)();
    }
  }
  return 0;
}
