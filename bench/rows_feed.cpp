// A model's stream: from its bytes to the session's events.
#include <cjson/cJSON.h>

#include <algorithm>

#include "rows.h"

namespace bench {
namespace {

// As much as an HTTP client hands on at a time.
constexpr size_t kPiece = 16384;

// An answer in OpenAI's Chat Completions, in the shape that it is sent in.
std::string StreamOf(size_t deltas) {
  std::string stream;
  auto chunk = [&](const std::string& delta, const char* finish) {
    stream +=
        R"(data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,)"
        R"("model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_fc9f1d7035",)"
        R"("choices":[{"index":0,"delta":)" +
        delta + R"(,"logprobs":null,"finish_reason":)" + finish + "}]}\n\n";
  };
  constexpr const char* kWords[] = {
      " and",   " so", " the", " two", " of",      " them", " went",      " on",
      " until", " it", " was", " a",   " morning", ",\\n",  " \\\"x\\\"", " caf\xC3\xA9"};
  chunk(R"({"role":"assistant","content":"","refusal":null})", "null");
  for (size_t i = 0; i < deltas; ++i) {
    chunk(R"({"content":")" + std::string(kWords[i * 7 % std::size(kWords)]) + "\"}", "null");
  }
  chunk("{}", R"("stop")");
  return stream + "data: [DONE]\n\n";
}

struct CloseRun {
  void operator()(agx_run* run) const { agx_run_close(run); }
};

double FeedSeconds(const ClientPtr& client, const std::string& stream, int64_t coalesce_ms) {
  SessionPtr session = OpenSession(client, "feed");
  agx_run_options options = AGX_RUN_OPTIONS_INIT;
  options.coalesce_ms = coalesce_ms;
  options.grace_ms = 0;
  agx_run* opened = nullptr;
  Check(agx_run_begin(session.get(), &options, &opened), "agx_run_begin");
  std::unique_ptr<agx_run, CloseRun> run(opened);
  double began = Now();
  for (size_t at = 0; at < stream.size(); at += kPiece) {
    Check(agx_run_feed(run.get(), AGX_OPENAI_CHAT, stream.data() + at,
                       std::min(kPiece, stream.size() - at)),
          "agx_run_feed");
  }
  Check(agx_run_feed_end(run.get(), nullptr, nullptr), "agx_run_feed_end");
  double seconds = Now() - began;
  Check(agx_run_finish(run.get()), "agx_run_finish");
  return seconds;
}

double ParseSeconds(const std::string& stream) {
  double began = Now();
  std::string_view rest = stream;
  size_t parsed = 0;
  for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
    std::string_view line = rest.substr(0, end);
    if (!line.starts_with("data: {")) continue;
    cJSON* json = cJSON_ParseWithLength(line.data() + 6, line.size() - 6);
    if (json == nullptr) Fail("cJSON does not take an event");
    cJSON_Delete(json);
    ++parsed;
  }
  if (parsed == 0) Fail("there are no events");
  return Now() - began;
}

}  // namespace

std::vector<Measure> FeedMemory(const Options& options) {
  const auto deltas = static_cast<size_t>(Scaled(options, 100000));
  const std::string stream = StreamOf(deltas);
  ClientPtr client = OpenMemory();
  Measure events{"feed",
                 "agx_run_feed, " + Grouped(deltas) + " deltas, into memory:",
                 "cJSON_Parse of the same bytes",
                 "events/s",
                 Measure::Goal::kAtLeast,
                 0.5,
                 {},
                 {}};
  Measure bytes = events;
  bytes.id = "feed-bytes";
  bytes.unit = "bytes/s";
  bytes.target = 0;
  constexpr int kTurns = 3;
  for (int round = 0; round < options.rounds; ++round) {
    Sums seconds = TakeTurns(
        options, kTurns, [&] { return FeedSeconds(client, stream, 0); },
        [&] { return ParseSeconds(stream); });
    for (Measure* measure : {&events, &bytes}) {
      double work = static_cast<double>(measure == &bytes ? stream.size() : deltas) * kTurns;
      measure->agx.push_back(work / seconds.agx);
      measure->plain.push_back(work / seconds.plain);
    }
  }
  return {events, bytes};
}

std::vector<Measure> FeedRedis(const Options& options) {
  constexpr size_t kBatch = 512;
  const auto deltas = static_cast<size_t>(Scaled(options, 100000));
  const std::string stream = StreamOf(deltas);
  ClientPtr client = OpenClient(options.address);
  SessionPtr session = OpenSession(client, "batches");
  Plain plain(options.address);
  std::vector<agx_new_event> batch(kBatch, {kType, kOrigin, kBody});
  const size_t batches = std::max<size_t>(deltas / kBatch, 1);
  auto add_many = [&] {
    plain.Command("FLUSHALL SYNC");
    double began = Now();
    for (size_t i = 0; i < batches; ++i) {
      Check(agx_add_many(session.get(), batch.data(), batch.size(), nullptr, nullptr),
            "agx_add_many");
    }
    return (Now() - began) / static_cast<double>(batches * kBatch);
  };
  std::vector<Measure> measures;
  for (int64_t window : {int64_t{5}, int64_t{0}}) {
    Measure measure{window != 0 ? "feed-redis" : "feed-redis-each",
                    "agx_run_feed into Redis, " +
                        std::string(window != 0 ? "gathered for 5 ms" : "an event for each delta"),
                    "agx_add_many, batches of 512",
                    "deltas/s",
                    Measure::Goal::kAtLeast,
                    window != 0 ? 0.9 : 0.0,
                    {},
                    {}};
    for (int round = 0; round < options.rounds; ++round) {
      Sums seconds = TakeTurns(
          options, 2,
          [&] { return FeedSeconds(client, stream, window) / static_cast<double>(deltas); },
          add_many);
      measure.agx.push_back(2 / seconds.agx);
      measure.plain.push_back(2 / seconds.plain);
    }
    measures.push_back(measure);
  }
  return measures;
}

}  // namespace bench
