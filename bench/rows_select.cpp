// Listening with a condition, beside listening without.
#include <string>

#include "rows.h"

namespace bench {
namespace {

// Each so many are selected.
constexpr size_t kEvery = 100;
constexpr char kRareType[] = "tool-call";
constexpr char kRareBody[] =
    R"({"message":"msg_01H8ZK","index":99,"delta":{"type":"text","text":"and so the two of them went on until it was morning"}})";

void Fill(const Plain& plain, size_t count) {
  std::string key = KeyOf("select");
  constexpr size_t kPiece = 1000;
  for (size_t done = 0; done < count; done += kPiece) {
    size_t piece = count - done < kPiece ? count - done : kPiece;
    for (size_t i = 0; i < piece; ++i) {
      bool rare = (done + i) % kEvery == kEvery - 1;
      redisAppendCommand(plain.get(), "XADD %s * type %s origin %s body %s", key.c_str(),
                         rare ? kRareType : kType, kOrigin, rare ? kRareBody : kBody);
    }
    for (size_t i = 0; i < piece; ++i) {
      void* reply = nullptr;
      if (redisGetReply(plain.get(), &reply) != REDIS_OK) Fail("XADD failed");
      freeReplyObject(reply);
    }
  }
  ReplyPtr end(static_cast<redisReply*>(
      redisCommand(plain.get(), "XADD %s * type end origin %s", key.c_str(), kOrigin)));
  if (end == nullptr) Fail("XADD failed");
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

}  // namespace

std::vector<Measure> Select(const Options& options) {
  const auto count = static_cast<size_t>(Scaled(options, 400000));
  ClientPtr client = OpenClient(options.address);
  Plain plain(options.address);
  plain.Command("FLUSHALL SYNC");
  Fill(plain, count);

  struct Selection {
    const char* id;
    const char* what;
    const char* where;
  };
  constexpr Selection kSelections[] = {
      {"select-type", "by its type", "type = \"tool-call\""},
      {"select-body", "by a field of its body", "body.index = 99"},
  };
  constexpr int kTurns = 2;
  std::vector<Measure> measures;
  for (const Selection& selection : kSelections) {
    Measure measure{selection.id,
                    std::string("a listener that takes one event in 100, ") + selection.what,
                    "a listener that takes all",
                    "events/s",
                    Measure::Goal::kAtLeast,
                    1.2,
                    {},
                    {}};
    for (int round = 0; round < options.rounds; ++round) {
      Sums seconds = TakeTurns(
          options, kTurns, [&] { return Listen(client, selection.where, count / kEvery); },
          [&] { return Listen(client, nullptr, count); });
      measure.agx.push_back(static_cast<double>(count) * kTurns / seconds.agx);
      measure.plain.push_back(static_cast<double>(count) * kTurns / seconds.plain);
    }
    measures.push_back(measure);
  }
  return measures;
}

}  // namespace bench
