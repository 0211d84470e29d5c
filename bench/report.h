// What a run writes: a table, a plot, and every number.
#pragma once

#include <string>
#include <vector>

#include "bench.h"

namespace bench {

// Where and on what was measured.
struct Scene {
  std::string date;
  std::string machine;
  std::string system;
  std::string server;
  std::string hiredis;
  std::string library;
  std::string network;
  double load = 0;  // how much else the machine did, just before
  int rounds = 0;
};
Scene Look(const Options& options);

void PrintMeasure(const Measure& measure);
std::string Markdown(const Scene& scene, const std::vector<Measure>& measures);
std::string Svg(const Scene& scene, const std::vector<Measure>& measures);
std::string Json(const Scene& scene, const std::vector<Measure>& measures);

}  // namespace bench
