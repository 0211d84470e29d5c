// The rows. Each says in its Measures what it compares.
#pragma once

#include "bench.h"

namespace bench {

std::vector<Measure> AddOneThread(const Options& options);
std::vector<Measure> AddThreads(const Options& options);
std::vector<Measure> AddBatches(const Options& options);
std::vector<Measure> Replay(const Options& options);
std::vector<Measure> Select(const Options& options);
std::vector<Measure> Latency(const Options& options);
std::vector<Measure> Cancel(const Options& options);
std::vector<Measure> GroupBatches(const Options& options);
std::vector<Measure> Ag2Live(const Options& options);
std::vector<Measure> FeedMemory(const Options& options);
std::vector<Measure> FeedRedis(const Options& options);
std::vector<Measure> Mux10k(const Options& options);
std::vector<Measure> Mux100k(const Options& options);

// The processes that the mux rows run beside this one.
int RunConsumer(const Options& options, size_t listeners, const std::string& tag);
int RunFeeder(const Options& options, size_t sessions, const std::string& tag);

inline int Scaled(const Options& options, int work) {
  double scaled = work * options.scale * (options.quick ? 0.25 : 1);
  return scaled < 1 ? 1 : static_cast<int>(scaled);
}

}  // namespace bench
