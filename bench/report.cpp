#include "report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

namespace bench {
namespace {

__attribute__((format(printf, 1, 2))) std::string Print(const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  return text;
}

// 1234567.8 as 1,234,568; small numbers with their fraction.
std::string Number(double value) {
  if (!std::isfinite(value)) return "–";
  if (std::abs(value) < 100 && value != std::floor(value)) return Print("%.1f", value);
  return (value < 0 ? "-" : "") + Grouped(static_cast<uint64_t>(std::llround(std::abs(value))));
}

std::string WithUnit(double value, const std::string& unit) {
  return unit.empty() ? Number(value) : Number(value) + " " + unit;
}

std::string Compared(const Measure& measure, double value) {
  return measure.against.empty() ? Number(value) : Print("%.2f", value);
}

std::string Target(const Measure& measure) {
  if (measure.target == 0) return "–";
  std::string bound = measure.goal == Measure::Goal::kAtLeast ? "≥ " : "≤ ";
  return bound + (measure.against.empty() ? Number(measure.target) : Print("%g", measure.target));
}

std::string Verdict(const Measure& measure) {
  if (measure.target == 0) return "–";
  return measure.Reached() >= 1 ? "yes" : "no";
}

std::string Range(const Measure& measure) {
  std::vector<double> values = measure.Compared();
  if (values.size() < 2) return "–";
  auto [low, high] = std::minmax_element(values.begin(), values.end());
  return Compared(measure, *low) + " to " + Compared(measure, *high);
}

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

std::string Escaped(const std::string& text, bool xml) {
  std::string escaped;
  for (char c : text) {
    if (xml && c == '&') {
      escaped += "&amp;";
    } else if (xml && c == '<') {
      escaped += "&lt;";
    } else if (!xml && (c == '"' || c == '\\')) {
      escaped += {'\\', c};
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Quoted(const std::string& text) { return '"' + Escaped(text, false) + '"'; }

std::string List(const std::vector<double>& values) {
  std::string list;
  for (double value : values) {
    if (!list.empty()) list += ", ";
    list += std::isfinite(value) ? Print("%.9g", value) : "null";
  }
  return "[" + list + "]";
}

}  // namespace

Scene Look(const Options& options) {
  Plain plain(options.address);
  Scene scene;
  std::time_t now = std::time(nullptr);
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  scene.date = date;
  utsname system{};
  uname(&system);
  std::string release = system.release;
  scene.system = Print("%s %s %s", system.sysname, release.substr(0, release.find('-')).c_str(),
                       system.machine);
  scene.machine =
      CpuModel() + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
  std::string valkey = plain.Info("server", "valkey_version");
  scene.server =
      valkey.empty() ? "Redis " + plain.Info("server", "redis_version") : "Valkey " + valkey;
  scene.hiredis = Print("hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
  scene.library = std::string("libagx ") + agx_version_string();
  scene.network = options.address.path.empty() ? "TCP over the loopback" : "a unix socket";
  if (getloadavg(&scene.load, 1) != 1) scene.load = std::nan("");
  scene.rounds = options.rounds;
  return scene;
}

void PrintMeasure(const Measure& m) {
  double value = Median(m.Compared());
  if (!std::isfinite(value) || value == 0) {  // one side alone
    std::printf("%-24s agx %s, plain %s %s\n", m.id.c_str(), Number(Median(m.agx)).c_str(),
                Number(Median(m.plain)).c_str(), m.unit.c_str());
    return;
  }
  std::string compared = Compared(m, Median(m.Compared()));
  if (m.against.empty()) {
    std::printf("%-24s %s", m.id.c_str(), WithUnit(Median(m.agx), m.unit).c_str());
  } else {
    std::printf("%-24s agx %s, plain %s %s: ratio %s (%s)", m.id.c_str(),
                Number(Median(m.agx)).c_str(), Number(Median(m.plain)).c_str(), m.unit.c_str(),
                compared.c_str(), Range(m).c_str());
  }
  if (m.target != 0) {
    std::printf(", target %s: %s", Target(m).c_str(), Verdict(m).c_str());
  }
  std::printf("\n");
  std::fflush(stdout);
}

std::string Markdown(const Scene& scene, const std::vector<Measure>& measures) {
  std::string text = "Measured on " + scene.date + ": " + scene.library + ", " + scene.hiredis +
                     ", " + scene.server + " by " + scene.network + ", " + scene.machine + ", " +
                     scene.system + ". Medians of " + std::to_string(scene.rounds) +
                     " rounds. Load average just before: " + Number(scene.load) + ".\n\n";
  text +=
      "| work | against | libagx | opponent | ratio | lowest to highest | to reach | reached |\n"
      "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n";
  for (const Measure& m : measures) {
    bool ratio = !m.against.empty();
    text += "| " + m.work + " | " + (ratio ? m.against : "–") + " | " +
            WithUnit(Median(m.agx), m.unit) + " | " +
            (ratio ? WithUnit(Median(m.plain), m.unit) : "–") + " | " +
            (ratio ? Compared(m, Median(m.Compared())) : "–") + " | " + Range(m) + " | " +
            Target(m) + " | " + Verdict(m) + " |\n";
  }
  size_t targets = 0;
  std::string missed;
  for (const Measure& m : measures) {
    if (m.target == 0) continue;
    ++targets;
    if (m.Reached() < 1)
      missed += "- " + m.work + (m.against.empty() ? "" : ", against " + m.against) + "\n";
  }
  auto misses = static_cast<size_t>(std::count(missed.begin(), missed.end(), '\n'));
  text += "\nReached: " + std::to_string(targets - misses) + " of " + std::to_string(targets) +
          " targets.";
  if (misses > 0) text += " Not reached:\n\n" + missed.substr(0, missed.size() - 1);
  return text + "\n";
}

std::string Svg(const Scene& scene, const std::vector<Measure>& measures) {
  constexpr int kWidth = 860;
  constexpr int kLeft = 20;
  constexpr int kBarLeft = 20;
  constexpr int kTop = 76;
  constexpr int kRow = 46;
  constexpr double kFull = 3;     // times the target: longer bars are cut off
  constexpr double kScale = 230;  // for each time
  std::vector<const Measure*> shown;
  for (const Measure& m : measures) {
    if (m.target != 0) shown.push_back(&m);
  }
  int height = kTop + static_cast<int>(shown.size()) * kRow + 34;
  double target_x = kBarLeft + kScale;

  std::string svg = Print(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
      "viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"How far each target was reached\">\n",
      kWidth, height, kWidth, height);
  svg +=
      "<style>\n"
      "text { font: 13px system-ui, sans-serif; fill: #24292f }\n"
      ".title { font-size: 16px; font-weight: 600 }\n"
      ".quiet { fill: #6e7781; font-size: 12px }\n"
      ".reached { fill: #4a86b8 }\n"
      ".short { fill: #c9802b }\n"
      ".target { stroke: #6e7781; stroke-width: 1.5; stroke-dasharray: 4 3 }\n"
      "@media (prefers-color-scheme: dark) {\n"
      "  text { fill: #e6edf3 }\n"
      "  .quiet { fill: #9aa4ae }\n"
      "  .target { stroke: #9aa4ae }\n"
      "}\n"
      "</style>\n";
  svg += Print(
      "<text class=\"title\" x=\"%d\" y=\"26\">libagx: what was reached, as a multiple of "
      "the target</text>\n",
      kLeft);
  svg += Print(
      "<text class=\"quiet\" x=\"%d\" y=\"46\">%s</text>\n", kLeft,
      Escaped(scene.date + " · " + scene.machine + " · " + scene.server + " · " + scene.hiredis,
              true)
          .c_str());
  svg += Print("<text class=\"quiet\" x=\"%.0f\" y=\"66\" text-anchor=\"middle\">target</text>\n",
               target_x);

  int y = kTop;
  for (const Measure* m : shown) {
    double reached = m->Reached();
    double length = kScale * std::min(reached, kFull);
    std::string value = Compared(*m, Median(m->Compared()));
    std::string label = m->work + (m->against.empty() ? "" : ", against " + m->against);
    svg +=
        Print("<text x=\"%d\" y=\"%d\">%s</text>\n", kLeft, y + 14, Escaped(label, true).c_str());
    svg += Print("<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" rx=\"2\"/>\n",
                 reached >= 1 ? "reached" : "short", kBarLeft, y + 21, length);
    svg +=
        Print("<text class=\"quiet\" x=\"%.1f\" y=\"%d\">%s (%s)%s</text>\n", kBarLeft + length + 8,
              y + 33, value.c_str(), Target(*m).c_str(), reached > kFull ? " …" : "");
    svg += Print("<line class=\"target\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", target_x,
                 target_x, y + 18, y + 38);
    y += kRow;
  }
  svg += Print(
      "<text class=\"quiet\" x=\"%d\" y=\"%d\">Beside each bar: the median, and what was to "
      "be reached. Longer is better.</text>\n",
      kLeft, y + 18);
  svg += "</svg>\n";
  return svg;
}

std::string Json(const Scene& scene, const std::vector<Measure>& measures) {
  std::string json =
      "{\"date\": " + Quoted(scene.date) + ",\n \"machine\": " + Quoted(scene.machine) +
      ",\n \"system\": " + Quoted(scene.system) + ",\n \"server\": " + Quoted(scene.server) +
      ",\n \"hiredis\": " + Quoted(scene.hiredis) + ",\n \"library\": " + Quoted(scene.library) +
      ",\n \"network\": " + Quoted(scene.network) + Print(",\n \"load\": %.2f", scene.load) +
      ",\n \"measures\": [\n";
  for (const Measure& m : measures) {
    json += "  {\"id\": " + Quoted(m.id) + ", \"work\": " + Quoted(m.work) +
            ", \"against\": " + Quoted(m.against) + ", \"unit\": " + Quoted(m.unit) +
            ", \"goal\": " + (m.goal == Measure::Goal::kAtLeast ? "\"at least\"" : "\"at most\"") +
            Print(", \"target\": %g", m.target) + ",\n   \"agx\": " + List(m.agx) +
            ",\n   \"opponent\": " + List(m.plain) + ",\n   \"compared\": " + List(m.Compared()) +
            "}" + (&m == &measures.back() ? "\n" : ",\n");
  }
  return json + " ]}\n";
}

}  // namespace bench
