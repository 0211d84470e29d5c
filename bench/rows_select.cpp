// Listening with a condition, beside listening without.
#include <string>
#include <vector>

#include "rows.h"

namespace bench {
namespace {

// Each so many are selected.
constexpr size_t kEvery = 100;
constexpr char kRareType[] = "tool-call";
constexpr char kRareBody[] =
    R"({"message":"msg_01H8ZK","index":99,"delta":{"type":"text","text":"and so the two of them went on until it was morning"}})";

void Fill(const ClientPtr& client, size_t count) {
  SessionPtr session = OpenSession(client, "select");
  Check(agx_start(session.get(), nullptr), "agx_start");
  constexpr size_t kPiece = 1000;
  std::vector<agx_new_event> events;
  for (size_t done = 0; done < count; done += kPiece) {
    events.clear();
    for (size_t i = done; i < count && i < done + kPiece; ++i) {
      bool rare = i % kEvery == kEvery - 1;
      events.push_back({rare ? kRareType : kType, kOrigin, rare ? kRareBody : kBody});
    }
    size_t added = 0;
    Check(agx_add_many(session.get(), events.data(), events.size(), nullptr, &added),
          "agx_add_many");
  }
  Check(agx_stop(session.get(), int64_t{3600} * 1000), "agx_stop");
}

// Seconds from the first event to the session's end.
double Listen(const ClientPtr& client, const char* where, size_t expected) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.where = where;
  agx_listener* opened = nullptr;
  double began = Now();
  Check(agx_listen(OpenSession(client, "select").get(), &options, &opened), "agx_listen");
  ListenerPtr listener(opened);
  size_t count = 0;
  for (;;) {
    agx_event* event = nullptr;
    agx_status status = agx_listen_next(listener.get(), 10000, &event);
    if (status == AGX_ENDED) break;
    if (status != AGX_OK) Check(status, "agx_listen_next");
    ++count;
    agx_event_free(event);
  }
  if (count != expected) Fail("the condition selected " + Grouped(count));
  return Now() - began;
}

struct Place {
  const char* id;
  const char* what;
  ClientPtr client;
};

struct Selection {
  const char* id;
  const char* what;
  const char* where;
};

Measure Compare(const Options& options, const Place& place, const Selection& selection,
                size_t count) {
  constexpr int kTurns = 2;
  Measure measure{
      std::string(selection.id) + place.id,
      std::string("a listener that takes one event in 100, ") + selection.what + place.what,
      "a listener that takes all",
      "events/s",
      Measure::Goal::kAtLeast,
      1.2,
      {},
      {}};
  for (int round = 0; round < options.rounds; ++round) {
    Sums seconds = TakeTurns(
        options, kTurns, [&] { return Listen(place.client, selection.where, count / kEvery); },
        [&] { return Listen(place.client, nullptr, count + 1); });  // and `begin`
    measure.agx.push_back(static_cast<double>(count) * kTurns / seconds.agx);
    measure.plain.push_back(static_cast<double>(count) * kTurns / seconds.plain);
  }
  return measure;
}

}  // namespace

std::vector<Measure> Select(const Options& options) {
  const auto count = static_cast<size_t>(Scaled(options, 400000));
  Plain(options.address).Command("FLUSHALL SYNC");
  const Place places[] = {
      {"", "", OpenClient(options.address)},
      {"-memory", ", in memory:", OpenMemory()},
  };
  constexpr Selection kSelections[] = {
      {"select-type", "by its type", "type = \"tool-call\""},
      {"select-body", "by a field of its body", "body.index = 99"},
  };
  std::vector<Measure> measures;
  for (const Place& place : places) {
    Fill(place.client, count);
    for (const Selection& selection : kSelections) {
      measures.push_back(Compare(options, place, selection, count));
    }
  }
  return measures;
}

}  // namespace bench
