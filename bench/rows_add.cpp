// Adding: one thread, many threads, batches.
#include <atomic>
#include <barrier>
#include <thread>

#include "rows.h"
#include "server.h"

namespace bench {
namespace {

template <class Function>
double Seconds(Function function) {
  double began = Now();
  function();
  return Now() - began;
}

// Threads that add to sessions of one client, each to its own, while they are timed.
class Team {
 public:
  Team(const ClientPtr& client, int threads) : start_(threads + 1), end_(threads + 1) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, session = OpenSession(client, "team" + std::to_string(i))] {
        for (;;) {
          start_.arrive_and_wait();
          if (stop_) return;
          while (left_.fetch_sub(1, std::memory_order_relaxed) > 0) Add(session);
          end_.arrive_and_wait();
        }
      });
    }
  }
  ~Team() {
    stop_ = true;
    start_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }

  double Work(int64_t adds) {
    left_ = adds;
    start_.arrive_and_wait();
    double began = Now();
    end_.arrive_and_wait();
    return Now() - began;
  }

 private:
  std::barrier<> start_;
  std::barrier<> end_;
  std::atomic<int64_t> left_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

double RequestsPerSecond(const Address& address, int clients, size_t requests) {
  std::vector<std::string> arguments = {"redis-benchmark"};
  if (address.path.empty()) {
    arguments.insert(arguments.end(), {"-h", address.host, "-p", std::to_string(address.port)});
  } else {
    arguments.insert(arguments.end(), {"-s", address.path});
  }
  if (clients > 0) arguments.insert(arguments.end(), {"-c", std::to_string(clients)});
  arguments.insert(arguments.end(),
                   {"-q", "-P", "512", "-n", std::to_string(requests), "XADD", KeyOf("peer"), "*",
                    "type", kType, "origin", kOrigin, "body", kBody});
  std::string said = Child(arguments).HearAll();
  size_t end = said.rfind(" requests per second");
  if (end == std::string::npos) Fail("redis-benchmark says: " + said);
  return std::stod(said.substr(said.rfind(' ', end - 1)));
}

}  // namespace

std::vector<Measure> AddOneThread(const Options& options) {
  const int slice = Scaled(options, 500);
  constexpr int kTurns = 20;
  ClientPtr client = OpenClient(options.address);
  SessionPtr session = OpenSession(client, "one");
  Plain plain(options.address);
  std::string key = KeyOf("peer");

  Measure measure{"add1",
                  "agx_add, one thread",
                  "redisCommand XADD in a loop",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  0.97,
                  {},
                  {}};
  for (int round = 0; round < options.rounds; ++round) {
    plain.Command("FLUSHALL SYNC");
    Sums seconds = TakeTurns(
        options, kTurns,
        [&] {
          return Seconds([&] {
            for (int i = 0; i < slice; ++i) Add(session);
          });
        },
        [&] {
          return Seconds([&] {
            for (int i = 0; i < slice; ++i) plain.Add(key);
          });
        });
    measure.agx.push_back(slice * kTurns / seconds.agx);
    measure.plain.push_back(slice * kTurns / seconds.plain);
  }
  return {measure};
}

std::vector<Measure> AddThreads(const Options& options) {
  const int team_slice = Scaled(options, 10000);
  const int plain_slice = Scaled(options, 2000);
  constexpr int kTurns = 8;
  ClientPtr client = OpenClient(options.address);
  Plain plain(options.address);
  std::string key = KeyOf("peer");
  Team team(client, 16);

  Measure measure{"add16",
                  "agx_add, 16 threads on one client",
                  "the one-thread redisCommand loop",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  6,
                  {},
                  {}};
  for (int round = 0; round < options.rounds; ++round) {
    plain.Command("FLUSHALL SYNC");
    Sums seconds = TakeTurns(
        options, kTurns, [&] { return team.Work(team_slice); },
        [&] {
          return Seconds([&] {
            for (int i = 0; i < plain_slice; ++i) plain.Add(key);
          });
        });
    measure.agx.push_back(team_slice * kTurns / seconds.agx);
    measure.plain.push_back(plain_slice * kTurns / seconds.plain);
  }
  return {measure};
}

std::vector<Measure> AddBatches(const Options& options) {
  constexpr int kBatch = 512;
  const int batches = Scaled(options, 600);
  const auto requests = static_cast<size_t>(kBatch * batches);
  ClientPtr client = OpenClient(options.address);
  SessionPtr session = OpenSession(client, "batches");
  Plain plain(options.address);
  // Each with a body of its own, as real ones have.
  std::vector<std::string> bodies(kBatch, kBody);
  std::vector<agx_new_event> events;
  for (const std::string& body : bodies) events.push_back({kType, kOrigin, body.c_str()});

  auto agx = [&] {
    plain.Command("FLUSHALL SYNC");
    return Seconds([&] {
      for (int i = 0; i < batches; ++i) {
        Check(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr),
              "agx_add_many");
      }
    });
  };
  auto peer = [&](int clients) {
    plain.Command("FLUSHALL SYNC");
    return static_cast<double>(requests) / RequestsPerSecond(options.address, clients, requests);
  };
  Measure measure{"addmany",
                  "agx_add_many, batches of 512",
                  "redis-benchmark -P 512",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  0.95,
                  {},
                  {}};
  Measure single = measure;
  single.id = "addmany-c1";
  single.against = "redis-benchmark -P 512 -c 1";
  single.target = 0;
  constexpr int kTurns = 2;
  for (int round = 0; round < options.rounds; ++round) {
    for (Measure* m : {&measure, &single}) {
      int clients = m == &single ? 1 : 0;
      Sums seconds = TakeTurns(options, kTurns, agx, [&] { return peer(clients); });
      m->agx.push_back(static_cast<double>(requests) * kTurns / seconds.agx);
      m->plain.push_back(static_cast<double>(requests) * kTurns / seconds.plain);
    }
  }
  return {measure, single};
}

}  // namespace bench
