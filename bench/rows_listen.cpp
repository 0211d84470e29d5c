// Listening and cancelling: replay, latency, the way of a cancel.
#include <atomic>
#include <cstring>
#include <thread>

#include "rows.h"

namespace bench {
namespace {

// What both sides do with an event: look at each of its texts.
uint64_t Touch(const char* text, size_t length) {
  return length + (length != 0 ? static_cast<unsigned char>(text[length - 1]) : 0);
}

uint64_t ReplayAgx(const ClientPtr& client, size_t count) {
  ListenerPtr listener = Listen(OpenSession(client, "replay"));
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    agx_event* event = nullptr;
    agx_status status = agx_listen_next(listener.get(), 10000, &event);
    if (status != AGX_OK) Check(status, "agx_listen_next");
    size_t length = 0;
    const char* text = agx_event_type(event, &length);
    sum += Touch(text, length);
    text = agx_event_origin(event, &length);
    sum += Touch(text, length);
    text = agx_event_body(event, &length);
    sum += Touch(text, length);
    agx_event_free(event);
  }
  return sum;
}

uint64_t ReplayPlain(const Plain& plain, size_t count) {
  std::string key = KeyOf("replay");
  std::string last = "0-0";
  uint64_t sum = 0;
  for (size_t read = 0; read < count;) {
    ReplyPtr reply(static_cast<redisReply*>(
        redisCommand(plain.get(), "XREAD COUNT 500 STREAMS %s %s", key.c_str(), last.c_str())));
    if (reply == nullptr || reply->type != REDIS_REPLY_ARRAY) Fail("XREAD failed");
    const redisReply* entries = reply->element[0]->element[1];
    for (size_t i = 0; i < entries->elements; ++i) {
      const redisReply* fields = entries->element[i]->element[1];
      for (size_t j = 1; j < fields->elements; j += 2) {
        sum += Touch(fields->element[j]->str, fields->element[j]->len);
      }
    }
    last = entries->element[entries->elements - 1]->element[0]->str;
    read += entries->elements;
  }
  return sum;
}

// Two threads and one sample at a time: one does something, the other sees it.
class Relay {
 public:
  // `see` returns when it has seen one, or false at the end.
  explicit Relay(std::function<bool()> see)
      : thread_([this, see = std::move(see)] {
          while (see()) {
            seen_at_ = Now();
            seen_.fetch_add(1, std::memory_order_release);
            seen_.notify_one();
          }
        }) {}
  ~Relay() { thread_.join(); }

  // Seconds from before `act` until it was seen.
  template <class Act>
  double Sample(Act act) {
    uint32_t before = seen_.load(std::memory_order_acquire);
    double began = Now();
    act();
    seen_.wait(before, std::memory_order_acquire);
    return seen_at_ - began;
  }

 private:
  std::atomic<uint32_t> seen_{0};
  double seen_at_ = 0;
  std::thread thread_;
};

// So long nothing is done before each sample, so that whoever waits is asleep.
constexpr int64_t kRestMicros = 300;

}  // namespace

std::vector<Measure> Replay(const Options& options) {
  const auto count = static_cast<size_t>(Scaled(options, 400000));
  ClientPtr client = OpenClient(options.address);
  Plain plain(options.address);
  plain.Command("FLUSHALL SYNC");
  plain.Fill(count, [key = KeyOf("replay")](size_t) { return key; });

  Measure measure{"replay",
                  "agx_listen_next, replay of " + Grouped(count) + " events",
                  "hiredis XREAD COUNT 500",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  2,
                  {},
                  {}};
  constexpr int kTurns = 2;
  uint64_t sums[2] = {0, 0};
  for (int round = 0; round < options.rounds; ++round) {
    Sums seconds = TakeTurns(
        options, kTurns,
        [&] {
          double began = Now();
          sums[0] = ReplayAgx(client, count);
          return Now() - began;
        },
        [&] {
          double began = Now();
          sums[1] = ReplayPlain(plain, count);
          return Now() - began;
        });
    if (options.side == Side::kBoth && sums[0] != sums[1]) Fail("the two replays differ");
    measure.agx.push_back(static_cast<double>(count) * kTurns / seconds.agx);
    measure.plain.push_back(static_cast<double>(count) * kTurns / seconds.plain);
  }
  return {measure};
}

std::vector<Measure> Latency(const Options& options) {
  constexpr int kSlice = 50;
  const int turns = Scaled(options, 20);
  Plain writer(options.address);
  writer.Command("FLUSHALL SYNC");

  ClientPtr client = OpenClient(options.address);
  SessionPtr session = OpenSession(client, "latency");
  ListenerPtr listener = Listen(session);
  Relay agx([&listener] {
    agx_event* event = nullptr;
    if (agx_listen_next(listener.get(), -1, &event) != AGX_OK) return false;
    agx_event_free(event);
    return true;
  });

  Plain reader(options.address);
  std::string key = KeyOf("peer");
  std::string last = "0-0";
  std::atomic<bool> stop{false};
  Relay plain([&] {
    ReplyPtr reply(static_cast<redisReply*>(
        redisCommand(reader.get(), "XREAD BLOCK 0 STREAMS %s %s", key.c_str(), last.c_str())));
    if (reply == nullptr || reply->type != REDIS_REPLY_ARRAY || stop) return false;
    const redisReply* entries = reply->element[0]->element[1];
    last = entries->element[entries->elements - 1]->element[0]->str;
    return true;
  });

  Measure measure{"latency",
                  "from agx_add to agx_listen_next in another thread",
                  "hiredis XADD to blocking XREAD",
                  "µs",
                  Measure::Goal::kAtMost,
                  1.15,
                  {},
                  {}};
  for (int round = 0; round < options.rounds; ++round) {
    std::vector<double> samples[2];
    auto sample = [&](bool ours) {
      for (int i = 0; i < kSlice; ++i) {
        SleepMicros(kRestMicros);
        samples[ours ? 0 : 1].push_back(1e6 * (ours ? agx.Sample([&] { Add(session); })
                                                    : plain.Sample([&] { writer.Add(key); })));
      }
      return 0.0;
    };
    TakeTurns(
        options, turns, [&] { return sample(true); }, [&] { return sample(false); });
    measure.agx.push_back(Median(samples[0]));
    measure.plain.push_back(Median(samples[1]));
  }
  agx_listener_interrupt(listener.get());
  stop = true;
  writer.Add(key);
  return {measure};
}

std::vector<Measure> Cancel(const Options& options) {
  constexpr int kSlice = 10;
  const int turns = Scaled(options, 30);
  Plain plain(options.address);
  plain.Command("FLUSHALL SYNC");
  // Who cancels has a client of its own, as in another process.
  ClientPtr producer = OpenClient(options.address);
  ClientPtr canceller = OpenClient(options.address);
  SessionPtr session = OpenSession(producer, "cancel");
  SessionPtr seen_by_canceller = OpenSession(canceller, "cancel");

  std::atomic<uint32_t> started{0};
  std::atomic<bool> stop{false};
  uint32_t turn = 0;
  Relay relay([&] {
    started.wait(turn);
    turn = started;
    return !stop && agx_wait_canceled(session.get(), -1) == AGX_OK;
  });
  auto start = [&] {
    started.fetch_add(1);
    started.notify_one();
  };

  Measure measure{"cancel",
                  "from agx_cancel to the return of agx_wait_canceled",
                  "a round trip (hiredis GETDEL)",
                  "µs",
                  Measure::Goal::kAtMost,
                  2,
                  {},
                  {}};
  for (int round = 0; round < options.rounds; ++round) {
    std::vector<double> samples[2];
    auto cancel = [&] {
      for (int i = 0; i < kSlice; ++i) {
        Check(agx_start(session.get(), nullptr), "agx_start");
        start();
        SleepMicros(kRestMicros);
        samples[0].push_back(1e6 * relay.Sample([&] {
          Check(agx_cancel(seen_by_canceller.get(), nullptr), "agx_cancel");
        }));
      }
      return 0.0;
    };
    auto round_trip = [&] {
      std::string flag = KeyOf("peer:live");
      for (int i = 0; i < kSlice; ++i) {
        plain.Command("SET %s 1", flag.c_str());
        SleepMicros(kRestMicros);
        double began = Now();
        plain.Command("GETDEL %s", flag.c_str());
        samples[1].push_back(1e6 * (Now() - began));
      }
      return 0.0;
    };
    TakeTurns(options, turns, cancel, round_trip);
    measure.agx.push_back(Median(samples[0]));
    measure.plain.push_back(Median(samples[1]));
  }
  stop = true;
  start();
  return {measure};
}

}  // namespace bench
