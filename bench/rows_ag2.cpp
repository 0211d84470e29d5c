// A stream of AG2, followed live: the list is its history, and a channel tells what is new.
#include <atomic>
#include <cstring>
#include <thread>

#include "rows.h"

namespace bench {
namespace {

constexpr char kList[] = "ag2:stream:live";
constexpr char kChannel[] = "ag2:stream:pubsub:live";
// What the sender has under way, and what is there before anyone joins.
constexpr size_t kWindow = 50;
constexpr size_t kHistory = 1000;

const std::string& Element() {
  static const std::string element =
      R"({"__type__": "autogen.beta.events.ModelMessageChunk", )" + std::string(kBody + 1);
  return element;
}

// As ag2 sends: the list, then the channel.
void Send(const Plain& plain, size_t count) {
  size_t answered = 0;
  for (size_t sent = 0; answered < count * 2;) {
    for (size_t i = 0; i < kWindow && sent < count; ++i, ++sent) {
      const std::string& element = Element();
      redisAppendCommand(plain.get(), "RPUSH %s %b", kList, element.data(), element.size());
      redisAppendCommand(plain.get(), "PUBLISH %s %b", kChannel, element.data(), element.size());
    }
    for (; answered < sent * 2; ++answered) {
      void* reply = nullptr;
      if (redisGetReply(plain.get(), &reply) != REDIS_OK) Fail("RPUSH failed");
      freeReplyObject(reply);
    }
  }
}

void TakeAgx(const ClientPtr& client, size_t count, std::atomic<bool>* joined) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "ag2";
  agx_session* opened = nullptr;
  Check(agx_stream_open(client.get(), "live", &options, &opened), "agx_stream_open");
  SessionPtr session(opened);
  ListenerPtr listener = Listen(session);
  for (size_t taken = 0; taken < count;) {
    agx_event* events[64];
    size_t got = 0;
    agx_status status = agx_listen_next_many(listener.get(), 30000, events, 64, &got);
    if (status != AGX_OK) Check(status, "agx_listen_next_many");
    for (size_t i = 0; i < got; ++i) agx_event_free(events[i]);
    taken += got;
    if (taken >= kHistory) *joined = true;
  }
}

// Subscribes, reads the history, and goes on with what is published. A repetition at the seam would
// be counted: nothing is sent before it has joined.
void TakePlain(const Address& address, size_t count, std::atomic<bool>* joined) {
  Plain plain(address);
  plain.Command("SUBSCRIBE %s", kChannel);
  ReplyPtr history = Plain(address).Command("LRANGE %s 0 -1", kList);
  size_t taken = history->elements;
  *joined = true;
  while (taken < count) {
    void* reply = nullptr;
    if (redisGetReply(plain.get(), &reply) != REDIS_OK) Fail("SUBSCRIBE failed");
    freeReplyObject(reply);
    ++taken;
  }
}

// Seconds from the first live event's sending to the last one's arrival.
double Follow(const Plain& sender, size_t count,
              const std::function<void(size_t, std::atomic<bool>*)>& take) {
  ReplyPtr dropped =
      ReplyPtr(static_cast<redisReply*>(redisCommand(sender.get(), "DEL %s", kList)));
  Send(sender, kHistory);
  std::atomic<bool> joined{false};
  std::thread reader([&] { take(kHistory + count, &joined); });
  while (!joined) SleepMicros(100);
  double began = Now();
  Send(sender, count);
  reader.join();
  return Now() - began;
}

}  // namespace

std::vector<Measure> Ag2Live(const Options& options) {
  const auto count = static_cast<size_t>(Scaled(options, 60000));
  ClientPtr client = OpenClient(options.address);
  Plain sender(options.address);
  sender.Command("FLUSHALL SYNC");
  Measure measure{"ag2",
                  "agx_listen_next_many, a live ag2 stream of " + Grouped(count) + " events",
                  "hiredis SUBSCRIBE and LRANGE",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  0.9,
                  {},
                  {}};
  constexpr int kTurns = 2;
  for (int round = 0; round < options.rounds; ++round) {
    Sums seconds = TakeTurns(
        options, kTurns,
        [&] {
          return Follow(sender, count, [&](size_t events, std::atomic<bool>* joined) {
            TakeAgx(client, events, joined);
          });
        },
        [&] {
          return Follow(sender, count, [&](size_t events, std::atomic<bool>* joined) {
            TakePlain(options.address, events, joined);
          });
        });
    measure.agx.push_back(static_cast<double>(count) * kTurns / seconds.agx);
    measure.plain.push_back(static_cast<double>(count) * kTurns / seconds.plain);
  }
  return {measure};
}

}  // namespace bench
