// Many listeners in one mux. Each number of listeners is a process of its own, so that its memory can be told; and it has a
// process beside it that feeds it with plain XADDs.
#include <malloc.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "rows.h"
#include "server.h"

namespace bench {
namespace {

std::string SessionId(const std::string& tag, size_t i) { return tag + "-" + std::to_string(i); }

size_t Resident() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0;
  file >> pages >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t Allocated() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

struct Memory {
  size_t resident = Resident();
  size_t allocated = Allocated();
};

double Each(size_t after, size_t before, size_t count) {
  return (static_cast<double>(after) - static_cast<double>(before)) / static_cast<double>(count);
}

class Consumer {
 public:
  Consumer(const Address& address, size_t listeners, const std::string& tag)
      : client_(OpenClient(address)) {
    agx_mux* mux = nullptr;
    Check(agx_mux_open(client_.get(), &mux), "agx_mux_open");
    mux_.reset(mux);
    sessions_.reserve(listeners);
    listeners_.reserve(listeners);

    Memory before;
    for (size_t i = 0; i < listeners; ++i) {
      sessions_.push_back(OpenSession(client_, SessionId(tag, i)));
    }
    Memory opened;
    for (const SessionPtr& session : sessions_) {
      listeners_.push_back(Listen(session));
      Check(agx_mux_add(mux, listeners_.back().get()), "agx_mux_add");
    }
    Take(listeners);  // each session has one event
    Settle();
    Memory settled;
    session_resident = Each(opened.resident, before.resident, listeners);
    session_allocated = Each(opened.allocated, before.allocated, listeners);
    listener_resident = Each(settled.resident, opened.resident, listeners);
    listener_allocated = Each(settled.allocated, opened.allocated, listeners);
  }

  // Hands on so many events.
  void Take(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      agx_listener* listener = nullptr;
      agx_event* event = nullptr;
      agx_status status = agx_mux_next(mux_.get(), 30000, &listener, &event);
      if (status != AGX_OK) Check(status, "agx_mux_next");
      agx_event_free(event);
    }
  }

  // Until it has been quiet for a moment.
  void Settle() {
    agx_listener* listener = nullptr;
    agx_event* event = nullptr;
    agx_status status = agx_mux_next(mux_.get(), 100, &listener, &event);
    if (status == AGX_OK) Fail("an event too many");
    if (status != AGX_TIMEOUT) Check(status, "agx_mux_next");
  }

  // Two threads add to all sessions in turn.
  double TakeAdds(size_t count) {
    Settle();
    auto produce = [this, count, first = next_](size_t thread) {
      for (size_t i = thread; i < count; i += 2) Add(sessions_[(first + i) % sessions_.size()]);
    };
    next_ = (next_ + count) % sessions_.size();
    double began = Now();
    std::thread one(produce, 0);
    std::thread other(produce, 1);
    Take(count);
    double seconds = Now() - began;
    one.join();
    other.join();
    return seconds;
  }

  double TakeFed(size_t count, Child* feeder) {
    Settle();
    double began = Now();
    feeder->Tell(std::to_string(count));
    Take(count);
    double seconds = Now() - began;
    feeder->Hear();
    return seconds;
  }

  double session_resident = 0;
  double session_allocated = 0;
  double listener_resident = 0;
  double listener_allocated = 0;

 private:
  ClientPtr client_;
  MuxPtr mux_;
  std::vector<SessionPtr> sessions_;
  std::vector<ListenerPtr> listeners_;
  size_t next_ = 0;
};

std::vector<std::string> Arguments(const Options& options, const char* what, size_t count,
                                   const std::string& tag) {
  std::vector<std::string> arguments = {SelfPath(), what, std::to_string(count), tag};
  if (options.address.path.empty()) {
    arguments.insert(arguments.end(), {"--port", std::to_string(options.address.port)});
  } else {
    arguments.insert(arguments.end(), {"--socket", options.address.path});
  }
  return arguments;
}

size_t Connections(Plain& plain) {
  return static_cast<size_t>(std::stoul(plain.Info("clients", "connected_clients")));
}

// What a consumer says of itself.
struct Told {
  explicit Told(const std::string& line) {
    std::istringstream(line) >> listener_resident >> listener_allocated >> session_resident >>
        session_allocated;
  }
  double listener_resident = 0;
  double listener_allocated = 0;
  double session_resident = 0;
  double session_allocated = 0;
};

std::vector<Measure> Mux(const Options& options, size_t listeners, const std::string& name) {
  Plain plain(options.address);
  plain.Command("FLUSHALL SYNC");
  auto fill = [&](size_t count, const std::string& tag) {
    plain.Fill(count, [&](size_t i) { return KeyOf(SessionId(tag, i)); });
    for (size_t i = 0; i < count; ++i) {
      redisAppendCommand(plain.get(), "SET %s:live 1", KeyOf(SessionId(tag, i)).c_str());
    }
    for (size_t i = 0; i < count; ++i) {
      void* reply = nullptr;
      if (redisGetReply(plain.get(), &reply) != REDIS_OK) Fail("SET failed");
      freeReplyObject(reply);
    }
  };
  fill(listeners, name);
  fill(1, "single");

  size_t others = Connections(plain);
  Child many(Arguments(options, "--consumer", listeners, name));
  Told told(many.Hear());
  many.Tell("adds 100");
  many.Hear();
  // One of them is the feeder's.
  size_t connections = Connections(plain) - others - 1;
  Child single(Arguments(options, "--consumer", 1, "single"));
  single.Hear();

  std::string work = Grouped(listeners) + " listeners, one mux: ";
  auto value = [&](const char* id, const char* what, const char* unit, double target, double v) {
    return Measure{name + id, work + what, "", unit, Measure::Goal::kAtMost, target, {v}, {}};
  };
  std::vector<Measure> measures = {
      value("-connections", "connections", "", 4, static_cast<double>(connections)),
      value("-memory", "memory of each idle listener", "bytes", 2048, told.listener_resident),
      value("-memory-malloc", "of that, from malloc", "bytes", 0, told.listener_allocated),
      value("-memory-session", "memory of each session handle, which may be closed", "bytes", 0,
            told.session_resident)};

  auto rate = [&](const std::string& command, size_t count) {
    auto ask = [&](Child* child) {
      child->Tell(command + " " + std::to_string(count));
      return std::stod(child->Hear());
    };
    constexpr int kTurns = 2;
    Measure measure{name + "-" + command,
                    "",
                    "one listener on one session, with the same producers",
                    "events/s",
                    Measure::Goal::kAtLeast,
                    0.5,
                    {},
                    {}};
    for (int round = 0; round < options.rounds; ++round) {
      Sums seconds = TakeTurns(
          options, kTurns, [&] { return ask(&many); }, [&] { return ask(&single); });
      measure.agx.push_back(static_cast<double>(count) * kTurns / seconds.agx);
      measure.plain.push_back(static_cast<double>(count) * kTurns / seconds.plain);
    }
    return measure;
  };
  Measure adds = rate("adds", static_cast<size_t>(Scaled(options, 20000)));
  adds.work = work + "events of two threads of agx_add";
  Measure fed = rate("fed", static_cast<size_t>(Scaled(options, 100000)));
  fed.work = work + "events of another process's pipelined XADDs";
  measures.push_back(adds);
  measures.push_back(fed);
  return measures;
}

}  // namespace

std::vector<Measure> Mux10k(const Options& options) { return Mux(options, 10000, "mux10k"); }
std::vector<Measure> Mux100k(const Options& options) { return Mux(options, 100000, "mux100k"); }

int RunConsumer(const Options& options, size_t listeners, const std::string& tag) {
  Child feeder(Arguments(options, "--feeder", listeners, tag));
  feeder.Hear();
  Consumer consumer(options.address, listeners, tag);
  std::printf("%f %f %f %f\n", consumer.listener_resident, consumer.listener_allocated,
              consumer.session_resident, consumer.session_allocated);
  std::fflush(stdout);
  std::string command;
  size_t count = 0;
  while (std::cin >> command >> count) {
    double seconds =
        command == "adds" ? consumer.TakeAdds(count) : consumer.TakeFed(count, &feeder);
    std::printf("%.9f\n", seconds);
    std::fflush(stdout);
  }
  return 0;
}

int RunFeeder(const Options& options, size_t sessions, const std::string& tag) {
  Plain plain(options.address);
  plain.Command("PING");
  std::printf("ready\n");
  std::fflush(stdout);
  size_t next = 0;
  size_t count = 0;
  while (std::cin >> count) {
    plain.Fill(count, [&](size_t i) { return KeyOf(SessionId(tag, (next + i) % sessions)); });
    next = (next + count) % sessions;
    std::printf("done\n");
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace bench
