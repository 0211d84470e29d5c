// ctest-labels: redis threads
// ctest-timeout: 120
// Functions that are called with a session's events.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stdexcept>

#include "support/capi_tools.h"
#include "support/fault_proxy.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A door that is closed at first.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

// A function, what it was called with, and what it is to do meanwhile.
class Subscriber {
 public:
  struct Call {
    std::string text;  // the event's type, or the outcome
    std::string body;  // or agx_last_error
    std::thread::id thread;
  };
  using Then = std::function<void(agx_subscription*, const Call&)>;

  explicit Subscriber(Then then = nullptr) : then_(std::move(then)) {}

  agx_status Open(const SessionPtr& session, const char* where = nullptr,
                  const agx_subscribe_options* options = nullptr) {
    agx_subscription* opened = nullptr;
    agx_status status =
        agx_subscribe(session.get(), where, options, &Subscriber::Called, this, &opened);
    EXPECT_EQ(opened != nullptr, status == AGX_OK);
    subscription_ = opened;
    return status;
  }
  void Close() { agx_subscription_close(subscription_.exchange(nullptr)); }
  ~Subscriber() { Close(); }
  agx_subscription* get() const { return subscription_; }

  std::vector<Call> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const Call& call : calls()) texts.push_back(call.text);
    return texts;
  }
  size_t count() const { return calls().size(); }
  bool Await(size_t count) const {
    return WaitUntil([&] { return this->count() >= count; });
  }
  bool Await(const std::string& text) const {
    return WaitUntil([&] {
      std::vector<std::string> texts = this->texts();
      return !texts.empty() && texts.back() == text;
    });
  }
  bool inside() const { return inside_ != 0; }
  bool overlapped() const { return overlapped_; }

 private:
  static void Called(agx_subscription* subscription, agx_status status, const agx_event* event,
                     void* user_data) {
    auto* self = static_cast<Subscriber*>(user_data);
    struct Inside {
      explicit Inside(Subscriber* s) : self(s) {
        if (self->inside_.fetch_add(1) != 0) self->overlapped_ = true;
      }
      ~Inside() { self->inside_.fetch_sub(1); }
      Subscriber* self;
    } inside(self);
    EXPECT_EQ(event != nullptr, status == AGX_OK);
    Call call{status == AGX_OK ? agx_event_type(event, nullptr) : agx_status_string(status),
              status == AGX_OK ? agx_event_body(event, nullptr) : agx_last_error(),
              std::this_thread::get_id()};
    {
      std::lock_guard lock(self->mutex_);
      self->calls_.push_back(call);
    }
    if (self->then_ != nullptr) self->then_(subscription, call);
  }

  const Then then_;
  std::atomic<agx_subscription*> subscription_{nullptr};
  std::atomic<int> inside_{0};
  std::atomic<bool> overlapped_{false};
  mutable std::mutex mutex_;
  std::vector<Call> calls_;
};

// So many threads this process has.
size_t Threads() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("Threads:", 0) == 0) return std::stoul(line.substr(8));
  }
  return 0;
}

class CapiSubscribe : public OnEachStore {
 protected:
  SessionPtr session_ = Started(client_);
};
AGX_ON_EACH_STORE(CapiSubscribe);

// The one that is closed elsewhere waits for the threads that end with it, of which the function's is one.
TEST_P(CapiSubscribe, AFunctionClosesItsClientWhileAnotherThreadClosesAnother) {
  Add(session_, "a");
  for (int round = 0; round < 50; ++round) {
    ClientPtr client = Open();
    SessionPtr session = OpenSession(client);
    Subscriber other;
    std::atomic<bool> closed{false};
    std::thread closer;
    std::atomic<bool> done{false};
    Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
      if (call.text != "a") return;
      closer = std::thread([&] {
        other.Close();
        closed = true;
      });
      agx_close(client.get());
      EXPECT_TRUE(WaitUntil([&] { return closed.load(); }));
      done = true;
    });
    ASSERT_EQ(other.Open(session), AGX_OK);
    ASSERT_EQ(subscriber.Open(session), AGX_OK);
    ASSERT_TRUE(WaitUntil([&] { return done.load(); }));
    closer.join();
    if (HasFailure()) break;
  }
}

TEST_P(CapiSubscribe, EventsComeInTheirOrderAndThenTheEnd) {
  for (int i = 0; i < 500; ++i) Add(session_, "old", std::to_string(i).c_str());
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(OpenSession(other_)), AGX_OK);
  for (int i = 500; i < 1000; ++i) Add(session_, "new", std::to_string(i).c_str());
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ENDED"));
  std::vector<Subscriber::Call> calls = subscriber.calls();
  ASSERT_EQ(calls.size(), 1002U);
  EXPECT_EQ(calls.front().text, "begin");
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(calls[i + 1].body, std::to_string(i));
  EXPECT_THAT(calls.back().body, HasSubstr("ended"));
  for (const Subscriber::Call& call : calls) {
    ASSERT_EQ(call.thread, calls[0].thread);
    ASSERT_NE(call.thread, std::this_thread::get_id());
  }
}

TEST_P(CapiSubscribe, OnlyWhatTheConditionSelects) {
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(OpenSession(other_), "body.n >= 2"), AGX_OK);
  for (int i = 0; i < 4; ++i) Add(session_, "t", ("{\"n\":" + std::to_string(i) + "}").c_str());
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ENDED"));
  EXPECT_THAT(subscriber.texts(), ElementsAre("t", "t", "AGX_ENDED"));
}

TEST_P(CapiSubscribe, OptionsAreThoseOfAListener) {
  std::string a = Add(session_, "a");
  Add(session_, "b");
  Add(session_, "c");
  Add(session_, "d");
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.after = a.c_str();
  options.limit = 2;
  Subscriber limited;
  ASSERT_EQ(limited.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(limited.Await("AGX_LIMIT"));
  EXPECT_THAT(limited.texts(), ElementsAre("b", "c", "AGX_LIMIT"));
  options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.after = "new";
  options.hand_on_end = 1;
  Subscriber latest;
  ASSERT_EQ(latest.Open(session_, nullptr, &options), AGX_OK);
  Add(session_, "e");
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  ASSERT_TRUE(latest.Await("AGX_ENDED"));
  EXPECT_THAT(latest.texts(), ElementsAre("e", "end", "AGX_ENDED"));
}

TEST_P(CapiSubscribe, OutcomesThatAreNotFinalAreToldOnceAndItGoesOn) {
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.wait_ms = 30;
  options.timeout_ms = 200;
  SessionPtr late = OpenSession(client_, "late");
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(late, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ABSENT"));
  ASSERT_EQ(agx_start(late.get(), nullptr), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_SILENT"));
  Add(late, "a");
  ASSERT_TRUE(subscriber.Await(5));
  EXPECT_THAT(subscriber.texts(),
              ElementsAre("AGX_ABSENT", "begin", "AGX_SILENT", "a", "AGX_SILENT"));
}

TEST_P(CapiSubscribe, AProducerThatIsGoneIsTold) {
  ClientPtr dying = Open();
  agx_start_options leased = Leased(300);
  SessionPtr session = Started(dying, "dying", &leased);
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(OpenSession(client_, "dying")), AGX_OK);
  ASSERT_TRUE(subscriber.Await("begin"));
  dying.reset();
  ASSERT_TRUE(subscriber.Await("AGX_GONE"));
}

// Of a stream that gets no `end`; whether its few events are followed or its many are read in batches.
TEST_P(CapiSubscribe, AStopIsToldBehindAllEventsAndAtOnce) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "openai-agents";
  auto open = [&](const ClientPtr& client) {
    agx_session* session = nullptr;
    EXPECT_EQ(agx_stream_open(client.get(), "s", &options, &session), AGX_OK);
    return SessionPtr(session);
  };
  SessionPtr producer = open(client_);
  ASSERT_EQ(agx_start(producer.get(), nullptr), AGX_OK);
  Add(producer, "a");
  SessionPtr reader = open(other_);
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(reader), AGX_OK);
  ASSERT_TRUE(subscriber.Await("a"));
  size_t told = 1;
  for (int round = 0; round < 6; ++round) {
    std::vector<agx_new_event> events(round % 2 == 0 ? 300 : 5000, {"e", "test", nullptr});
    ASSERT_EQ(agx_add_many(producer.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
    ASSERT_EQ(agx_stop(producer.get(), -1), AGX_OK);
    auto stopped = std::chrono::steady_clock::now();
    told += events.size() + 1;
    ASSERT_TRUE(subscriber.Await(told));
    EXPECT_LT(std::chrono::steady_clock::now() - stopped, std::chrono::milliseconds(kAtOnceMs));
    ASSERT_EQ(agx_start(producer.get(), nullptr), AGX_OK);
    ASSERT_EQ(subscriber.texts()[told - 1], "AGX_GONE");
    Add(producer, "a");
    ASSERT_TRUE(subscriber.Await(++told));
  }
}

TEST_P(CapiSubscribe, AGapIsToldAndItGoesOn) {
  Gate gate;
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "a0") gate.Pass();
  });
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue = 1;
  ASSERT_EQ(subscriber.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await("begin"));
  Add(session_, "a0");
  ASSERT_TRUE(subscriber.Await("a0"));
  // One waits in memory, and at most one batch has been read; the store drops the rest.
  for (int i = 1; i < 3000; ++i) Add(session_, "a" + std::to_string(i));
  ASSERT_EQ(agx_history_trim(session_.get(), 1, nullptr, nullptr), AGX_OK);
  gate.Open();
  ASSERT_TRUE(subscriber.Await("a2999"));
  EXPECT_THAT(subscriber.texts(), testing::Contains("AGX_GAP"));
}

TEST_P(CapiSubscribe, OneThreadCallsAllThatAreQuick) {
  constexpr int kSubscribers = 20;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (int i = 0; i < kSubscribers; ++i) {
    subscribers.push_back(std::make_unique<Subscriber>());
    ASSERT_EQ(subscribers[i]->Open(session_), AGX_OK);
  }
  size_t threads = Threads();
  for (int i = 0; i < 50; ++i) Add(session_, "t");
  for (auto& subscriber : subscribers) ASSERT_TRUE(subscriber->Await(51));
  // A machine that is busy may have made one look slow; but there is no thread for each.
  EXPECT_LT(Threads(), threads + kSubscribers / 2);
}

TEST_P(CapiSubscribe, ASlowFunctionDelaysOnlyItself) {
  Gate gate;
  Subscriber slow([&](agx_subscription*, const Subscriber::Call&) { gate.Pass(); });
  Subscriber slow_too([&](agx_subscription*, const Subscriber::Call&) { gate.Pass(); });
  Subscriber quick;
  Subscriber elsewhere;
  ASSERT_EQ(slow.Open(session_), AGX_OK);
  ASSERT_TRUE(slow.Await(1));
  ASSERT_EQ(slow_too.Open(session_), AGX_OK);
  ASSERT_EQ(quick.Open(session_), AGX_OK);
  SessionPtr other = Started(client_, "other");
  ASSERT_EQ(elsewhere.Open(other), AGX_OK);
  for (int i = 0; i < 200; ++i) {
    Add(session_, "t");
    Add(other, "t");
  }
  ASSERT_TRUE(quick.Await(201));
  ASSERT_TRUE(elsewhere.Await(201));
  EXPECT_EQ(slow.count(), 1U);
  EXPECT_EQ(slow_too.count(), 1U);
  gate.Open();
  ASSERT_TRUE(slow.Await(201));
  ASSERT_TRUE(slow_too.Await(201));
  for (Subscriber* subscriber : {&slow, &slow_too, &quick, &elsewhere}) {
    EXPECT_FALSE(subscriber->overlapped());
  }
  // It keeps the thread that it is on.
  std::vector<Subscriber::Call> calls = slow.calls();
  for (const Subscriber::Call& call : calls) EXPECT_EQ(call.thread, calls[0].thread);
}

// Not before it has come to the end of what waits for it.
TEST_P(CapiSubscribe, OneThatHasMuchToBeCalledWithLetsOthersHaveTheirTurn) {
  constexpr int kMany = 8000;
  std::vector<agx_new_event> events(kMany, {"t", "test", nullptr});
  ASSERT_EQ(agx_add_many(session_.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
  SessionPtr elsewhere = Started(client_, "other");
  std::atomic<int> of_busy{0};
  std::atomic<int> when_called{-1};
  Subscriber other([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "now") when_called = of_busy.load();
  });
  ASSERT_EQ(other.Open(elsewhere), AGX_OK);
  ASSERT_TRUE(other.Await("begin"));
  Subscriber busy([&](agx_subscription*, const Subscriber::Call&) {
    if (of_busy++ == 0) Add(elsewhere, "now");
    // Quick, but not as quick as it is read.
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(100);
    while (std::chrono::steady_clock::now() < until) {
    }
  });
  ASSERT_EQ(busy.Open(session_), AGX_OK);
  ASSERT_TRUE(busy.Await(kMany + 1));
  ASSERT_TRUE(other.Await("now"));
  EXPECT_LT(when_called, kMany);
}

TEST_P(CapiSubscribe, HowFarItMayFallBehindHasABoundThatIsTold) {
  Gate gate;
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "first") gate.Pass();
  });
  Subscriber quick;
  ASSERT_EQ(quick.Open(session_), AGX_OK);
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue = 10;
  ASSERT_EQ(subscriber.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await(1));
  Add(session_, "first");
  ASSERT_TRUE(subscriber.Await(2));
  for (int i = 0; i < 1000; ++i) Add(session_, "t", std::to_string(i).c_str());
  ASSERT_TRUE(quick.Await(1002)) << "so that all was read that will be";
  gate.Open();
  Add(session_, "last");
  ASSERT_TRUE(subscriber.Await("last"));
  std::vector<Subscriber::Call> calls = subscriber.calls();
  int next = 0;
  int behind = 0;
  for (const Subscriber::Call& call : calls) {
    if (call.text == "t") {
      EXPECT_EQ(call.body, std::to_string(next++));
    } else if (call.text == "AGX_BEHIND") {
      ++behind;
      EXPECT_THAT(call.body, HasSubstr("too slow"));
    }
  }
  EXPECT_EQ(next, 1000) << "nothing is lost";
  EXPECT_GE(behind, 1);
  EXPECT_EQ(calls[2].text, "AGX_BEHIND") << "before what waits";
}

TEST_P(CapiSubscribe, EachTimeThatItFallsBehindIsToldOnce) {
  Gate gates[2];
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "first") gates[call.body == "0" ? 0 : 1].Pass();
  });
  Subscriber quick;
  ASSERT_EQ(quick.Open(session_), AGX_OK);
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue = 10;
  ASSERT_EQ(subscriber.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await(1));
  size_t events = 1;
  for (size_t round = 0; round < 2; ++round) {
    Add(session_, "first", std::to_string(round).c_str());
    ASSERT_TRUE(subscriber.Await("first"));
    for (int i = 0; i < 1000; ++i) Add(session_, "t");
    events += 1001;
    ASSERT_TRUE(quick.Await(events)) << "so that all was read that will be";
    gates[round].Open();
    ASSERT_TRUE(subscriber.Await(events + round + 1));
    std::vector<std::string> texts = subscriber.texts();
    EXPECT_EQ(std::count(texts.begin(), texts.end(), "AGX_BEHIND"), static_cast<int>(round) + 1);
    EXPECT_EQ(std::count(texts.begin(), texts.end(), "t"), static_cast<int>(round + 1) * 1000);
  }
}

TEST_P(CapiSubscribe, ALongHistoryIsNotBeingBehind) {
  for (int i = 0; i < 3000; ++i) Add(session_, "t");
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue = 2;
  Subscriber subscriber;
  ASSERT_EQ(agx_stop(session_.get(), -1), AGX_OK);
  ASSERT_EQ(subscriber.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ENDED"));
  EXPECT_EQ(subscriber.count(), 3002U);
  EXPECT_THAT(subscriber.texts(), Not(testing::Contains("AGX_BEHIND")));
}

TEST_P(CapiSubscribe, TheBoundCountsBytesAsWell) {
  Gate gate;
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "first") gate.Pass();
  });
  Subscriber quick;
  ASSERT_EQ(quick.Open(session_), AGX_OK);
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue_bytes = 10000;
  ASSERT_EQ(subscriber.Open(session_, nullptr, &options), AGX_OK);
  ASSERT_TRUE(subscriber.Await(1));
  Add(session_, "first");
  ASSERT_TRUE(subscriber.Await(2));
  std::string body = "\"" + std::string(6000, 'x') + "\"";
  for (int i = 0; i < 100; ++i) Add(session_, "t", body.c_str());
  ASSERT_TRUE(quick.Await(102));
  gate.Open();
  Add(session_, "last");
  ASSERT_TRUE(subscriber.Await("last"));
  EXPECT_THAT(subscriber.texts(), testing::Contains("AGX_BEHIND"));
}

// --- Unsubscribing

TEST_P(CapiSubscribe, ClosingWaitsForTheCallThatIsRunning) {
  Gate gate;
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call&) { gate.Pass(); });
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  ASSERT_TRUE(subscriber.Await(1));
  Background<bool> closing([&] {
    subscriber.Close();
    return subscriber.inside();
  });
  closing.AwaitBlocked();
  gate.Open();
  EXPECT_FALSE(closing.Get());
  Add(session_, "t");
  EXPECT_EQ(subscriber.count(), 1U);
}

TEST_P(CapiSubscribe, NoCallComesAfterClosing) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) Add(session_, "t");
  });
  for (int i = 0; i < 50; ++i) {
    auto subscriber = std::make_unique<Subscriber>();
    EXPECT_EQ(subscriber->Open(session_), AGX_OK);
    EXPECT_TRUE(subscriber->Await(1 + i % 5));
    subscriber->Close();
    EXPECT_FALSE(subscriber->inside());
    size_t count = subscriber->count();
    std::this_thread::yield();
    EXPECT_EQ(subscriber->count(), count);
  }
  stop = true;
  writer.join();
}

TEST_P(CapiSubscribe, AFunctionUnsubscribesItself) {
  Subscriber keeps;
  ASSERT_EQ(keeps.Open(session_), AGX_OK);
  Subscriber subscriber([](agx_subscription* subscription, const Subscriber::Call& call) {
    if (call.text != "b") return;
    agx_subscription_close(subscription);
    agx_subscription_close(subscription);  // and is not one any more
  });
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  for (const char* type : {"a", "b", "c", "d"}) Add(session_, type);
  ASSERT_TRUE(keeps.Await(5));
  ASSERT_TRUE(WaitUntil([&] { return subscriber.count() == 3 && !subscriber.inside(); }));
  Add(session_, "e");
  ASSERT_TRUE(keeps.Await(6));
  EXPECT_THAT(subscriber.texts(), ElementsAre("begin", "a", "b"));
}

TEST_P(CapiSubscribe, TheLastUnsubscribesItselfAndSubscribesAnew) {
  Subscriber second;
  Subscriber first([&](agx_subscription* subscription, const Subscriber::Call&) {
    agx_subscription_close(subscription);
    EXPECT_EQ(second.Open(session_), AGX_OK);
  });
  ASSERT_EQ(first.Open(session_), AGX_OK);
  Add(session_, "a");
  ASSERT_TRUE(second.Await("a"));
  EXPECT_EQ(first.count(), 1U);
}

TEST_P(CapiSubscribe, AFunctionUnsubscribesAnother) {
  Subscriber other;
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "close") other.Close();
  });
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  ASSERT_EQ(other.Open(session_), AGX_OK);
  ASSERT_TRUE(other.Await(1));
  ASSERT_TRUE(subscriber.Await(1));
  Add(session_, "close");
  ASSERT_TRUE(WaitUntil([&] { return other.get() == nullptr && !subscriber.inside(); }));
  size_t count = other.count();
  Add(session_, "more");
  ASSERT_TRUE(subscriber.Await("more"));
  EXPECT_EQ(other.count(), count);
}

TEST_P(CapiSubscribe, AFunctionClosesTheSessionAndTheClient) {
  ClientPtr client = Open();
  SessionPtr session = OpenSession(client);
  std::atomic<bool> closed{false};
  Subscriber other;
  Subscriber subscriber([&](agx_subscription* subscription, const Subscriber::Call&) {
    session.reset();
    client.reset();
    agx_subscription_close(subscription);
    closed = true;
  });
  ASSERT_EQ(other.Open(session), AGX_OK);
  ASSERT_TRUE(other.Await(1));
  ASSERT_EQ(subscriber.Open(session), AGX_OK);
  ASSERT_TRUE(WaitUntil([&] { return closed && !subscriber.inside(); }));
  Add(session_, "t");
  EXPECT_EQ(subscriber.count(), 1U);
  EXPECT_EQ(other.count(), 1U);
}

TEST_P(CapiSubscribe, ClosingTheClientEndsTheCallsAndTheThreads) {
  size_t before = Threads();
  ClientPtr client = Open();
  SessionPtr session = OpenSession(client);
  Gate gate;
  Subscriber slow([&](agx_subscription*, const Subscriber::Call&) { gate.Pass(); });
  Subscriber quick;
  ASSERT_EQ(slow.Open(session), AGX_OK);
  ASSERT_TRUE(slow.Await(1));
  ASSERT_EQ(quick.Open(session), AGX_OK);
  ASSERT_TRUE(quick.Await(1));
  Background<bool> closing([&] {
    client.reset();
    return slow.inside() || quick.inside();
  });
  closing.AwaitBlocked();
  gate.Open();
  EXPECT_FALSE(closing.Get());
  EXPECT_TRUE(WaitUntil([&] { return Threads() <= before; })) << Threads();
  size_t count = quick.count();
  Add(session_, "t");
  EXPECT_EQ(quick.count(), count) << "and it is told nothing";
  slow.Close();
  quick.Close();
}

TEST_P(CapiSubscribe, ThreadsEndWhenNothingIsSubscribed) {
  agx_session* session = session_.get();
  size_t before = 0;
  for (int i = 0; i < 5; ++i) {
    Subscriber subscriber;
    ASSERT_EQ(subscriber.Open(session_), AGX_OK);
    ASSERT_TRUE(subscriber.Await(1));
    size_t with = Threads();
    subscriber.Close();
    // The system counts a thread for a moment after it was joined.
    EXPECT_TRUE(WaitUntil([&] { return Threads() + 2 == with; }))
        << "the one that reads and the one that calls";
    if (i == 0) before = Threads();
    EXPECT_EQ(Threads(), before);
  }
  EXPECT_NE(session, nullptr);
}

// The thread that a slow function keeps goes with its subscription, whoever closes it.
TEST_P(CapiSubscribe, AThreadOfItsOwnEndsWithItsSubscription) {
  Subscriber quick;
  ASSERT_EQ(quick.Open(session_), AGX_OK);
  ASSERT_TRUE(quick.Await(1));
  size_t before = Threads();
  size_t told = 1;
  for (bool itself : {false, true}) {
    std::atomic<bool> closed{false};
    auto then = [&, next = told + 1](agx_subscription* subscription, const Subscriber::Call& call) {
      // It keeps the other waiting until that has a thread to be called on.
      if (call.text == "slow") {
        EXPECT_TRUE(quick.Await(next));
      }
      if (call.text != "close") return;
      agx_subscription_close(subscription);
      closed = true;
    };
    Subscriber slow(then);
    agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
    options.after = "new";
    SessionPtr elsewhere = Started(client_, itself ? "itself" : "other");
    ASSERT_EQ(slow.Open(elsewhere, nullptr, &options), AGX_OK);
    Add(elsewhere, "slow");
    ASSERT_TRUE(slow.Await("slow"));
    Add(session_, "t");
    ASSERT_TRUE(quick.Await(++told));
    Add(elsewhere, "next");
    ASSERT_TRUE(slow.Await("next"));
    EXPECT_EQ(slow.calls()[0].thread, slow.calls()[1].thread);
    EXPECT_EQ(Threads(), before + 1);
    if (itself) {
      Add(elsewhere, "close");
      ASSERT_TRUE(WaitUntil([&] { return closed.load(); }));
    } else {
      slow.Close();
    }
    EXPECT_TRUE(WaitUntil([&] { return Threads() == before; })) << Threads();
    Add(session_, "t");
    ASSERT_TRUE(quick.Await(++told)) << "and the others go on";
  }
}

TEST_P(CapiSubscribe, TheSessionHandleMayBeClosed) {
  SessionPtr session = OpenSession(client_);
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(session), AGX_OK);
  session.reset();
  Add(session_, "t");
  EXPECT_TRUE(subscriber.Await("t"));
}

// --- What functions may do

TEST_P(CapiSubscribe, AFunctionMayCallEverything) {
  SessionPtr session = OpenSession(client_);
  Subscriber subscriber([&](agx_subscription*, const Subscriber::Call& call) {
    if (call.text != "question") return;
    EXPECT_EQ(agx_add(session.get(), "answer", "test", call.body.c_str(), nullptr), AGX_OK);
    agx_history info = AGX_HISTORY_INIT;
    EXPECT_EQ(agx_history_info(session.get(), &info), AGX_OK);
    Subscriber within;
    EXPECT_EQ(within.Open(session), AGX_OK);
    EXPECT_TRUE(within.Await(3)) << "another thread calls it, since this one is taken";
  });
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  for (int i = 0; i < 3; ++i) {
    Add(session_, "question", std::to_string(i).c_str());
    agx_event* event = nullptr;
    ASSERT_EQ(agx_wait_for(session_.get(), "type = \"answer\"", kPatienceMs, &event), AGX_OK);
    EXPECT_EQ(agx_event_body(event, nullptr), std::to_string(i));
    agx_event_free(event);
  }
}

TEST_P(CapiSubscribe, AnExceptionIsStoppedAndReported) {
  Subscriber keeps;
  ASSERT_EQ(keeps.Open(session_), AGX_OK);
  Subscriber subscriber([](agx_subscription*, const Subscriber::Call& call) {
    if (call.text == "a") throw std::runtime_error("it does not like a");
  });
  Subscriber stubborn([](agx_subscription*, const Subscriber::Call&) { throw 7; });
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  ASSERT_EQ(stubborn.Open(session_), AGX_OK);
  Add(session_, "a");
  Add(session_, "b");
  ASSERT_TRUE(subscriber.Await("AGX_EFAILED"));
  ASSERT_TRUE(stubborn.Await("AGX_EFAILED"));
  ASSERT_TRUE(keeps.Await("b"));
  EXPECT_THAT(subscriber.texts(), ElementsAre("begin", "a", "AGX_EFAILED"));
  EXPECT_THAT(subscriber.calls().back().body, HasSubstr("it does not like a"));
  EXPECT_THAT(stubborn.texts(), ElementsAre("begin", "AGX_EFAILED"));
}

TEST_P(CapiSubscribe, ManyThreadsSubscribeAndUnsubscribe) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) Add(session_, "t");
  });
  InThreads(4, [&](int) {
    for (int i = 0; i < 25; ++i) {
      Subscriber subscriber;
      EXPECT_EQ(subscriber.Open(session_), AGX_OK);
      EXPECT_TRUE(subscriber.Await(1 + i % 3));
    }
  });
  stop = true;
  writer.join();
}

// The child has the handles and none of the threads, and uses neither.
TEST_P(CapiSubscribe, AChildThatEndsOrRunsAnotherProgramDisturbsNobody) {
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(session_), AGX_OK);
  Add(session_, "before");
  ASSERT_TRUE(subscriber.Await("before"));
  for (bool runs : {false, true}) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (runs) execlp("true", "true", nullptr);
      _exit(runs ? 127 : 0);
    }
    int status = -1;
    ASSERT_TRUE(WaitUntil([&] { return waitpid(child, &status, WNOHANG) == child; }));
    EXPECT_EQ(status, 0);
    Add(session_, runs ? "ran" : "ended");
    EXPECT_TRUE(subscriber.Await(runs ? "ran" : "ended"));
  }
  EXPECT_EQ(agx_stop(session_.get(), kPatienceMs), AGX_OK);
  EXPECT_TRUE(subscriber.Await("AGX_ENDED"));
}

TEST_P(CapiSubscribe, WhatIsWrongIsRefused) {
  agx_subscription* subscription = nullptr;
  agx_subscriber function = [](agx_subscription*, agx_status, const agx_event*, void*) {};
  auto subscribe = [&](const char* where, const agx_subscribe_options* options) {
    agx_status status =
        agx_subscribe(session_.get(), where, options, function, nullptr, &subscription);
    EXPECT_EQ(subscription, nullptr);
    return status;
  };
  EXPECT_EQ(subscribe("type = ", nullptr), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("byte 7"));
  EXPECT_EQ(subscribe(std::string(1 << 20, '(').c_str(), nullptr), AGX_ETOOBIG);
  EXPECT_EQ(subscribe((std::string(10000, '(') + "type").c_str(), nullptr), AGX_EINVAL);
  agx_subscribe_options options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.queue = -1;
  EXPECT_EQ(subscribe(nullptr, &options), AGX_EINVAL);
  options = AGX_SUBSCRIBE_OPTIONS_INIT;
  options.after = "x";
  EXPECT_EQ(subscribe(nullptr, &options), AGX_EINVAL);
  options.size = 4;
  EXPECT_EQ(subscribe(nullptr, &options), AGX_EINVAL);
  EXPECT_EQ(agx_subscribe(session_.get(), nullptr, nullptr, nullptr, nullptr, &subscription),
            AGX_EINVAL);
  EXPECT_EQ(agx_subscribe(session_.get(), nullptr, nullptr, function, nullptr, nullptr),
            AGX_EINVAL);
  EXPECT_EQ(agx_subscribe(nullptr, nullptr, nullptr, function, nullptr, &subscription), AGX_EINVAL);
  ClientPtr client = Open();
  SessionPtr session = OpenSession(client);
  client.reset();
  EXPECT_EQ(agx_subscribe(session.get(), nullptr, nullptr, function, nullptr, &subscription),
            AGX_ECLOSED);
  agx_subscription_close(nullptr);
}

// --- A server that goes away

TEST(SubscribeOnRedis, AnOutageIsToldOnceAndNothingIsLost) {
  RedisServer server;
  ClientPtr client = OpenClient(server.url() + "?reconnect_timeout=-1");
  SessionPtr session = OpenSession(client);
  ASSERT_EQ(server.Command({"SET", "agx:1:2:s", "no stream"}), "OK");
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(session), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ETYPE"));
  ASSERT_EQ(server.Command({"DEL", "agx:1:2:s"}), "1");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  ASSERT_TRUE(subscriber.Await("begin"));
  EXPECT_THAT(subscriber.texts(), ElementsAre("AGX_ETYPE", "begin"));
}

TEST(SubscribeOnRedis, WhatFailsForGoodIsNotReadAllTheTime) {
  RedisServer server;
  FaultProxy proxy(server.port());
  ClientPtr client = OpenClient(proxy.url());
  ASSERT_EQ(server.Command({"SET", "agx:1:2:s", "no stream"}), "OK");
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(OpenSession(client)), AGX_OK);
  ASSERT_TRUE(subscriber.Await("AGX_ETYPE"));
  Stopwatch watch;
  int before = proxy.round_trips();
  EXPECT_TRUE(WaitUntil([&] { return watch.ms() > 1000; }));
  int trips = proxy.round_trips() - before;
  // Each 200 ms, by a few commands.
  EXPECT_GE(trips, 1);
  EXPECT_LE(trips, 10 * (watch.ms() / 200 + 2));
  EXPECT_EQ(subscriber.count(), 1U);
}

// No event that it is called with comes between the two, and each is told.
TEST(SubscribeOnRedis, AGapBehindAGapIsToldAsWell) {
  RedisServer server;
  ClientPtr client = OpenClient(server.url());
  SessionPtr session = Started(client);
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(session, "not type = \"other\""), AGX_OK);
  ASSERT_TRUE(subscriber.Await("begin"));
  for (size_t gaps = 1; gaps <= 3; ++gaps) {
    // Nobody sees what comes and goes in one step; where the reader was late for it, not even that.
    ASSERT_TRUE(WaitUntil([&] {
      server.Command({"EVAL",
                      "for i = 1, 4 do redis.call('XADD', KEYS[1], '*', 'type', 'other') end "
                      "return redis.call('XTRIM', KEYS[1], 'MAXLEN', 2)",
                      "1", "agx:1:2:s"});
      return WaitUntil([&] { return subscriber.count() > gaps; }, std::chrono::milliseconds(200));
    })) << gaps;
  }
  Add(session, "a");
  ASSERT_TRUE(subscriber.Await("a"));
  std::vector<std::string> texts = subscriber.texts();
  EXPECT_GE(std::count(texts.begin(), texts.end(), "AGX_GAP"), 3);
  EXPECT_THAT(texts, testing::Each(testing::AnyOf("begin", "AGX_GAP", "a")));
}

// Each is another entry.
TEST(SubscribeOnRedis, EachEntryThatCannotBeReadIsTold) {
  RedisServer server;
  ClientPtr client = OpenClient(server.url() + "?format=ag2");
  agx_session* opened = nullptr;
  ASSERT_EQ(agx_stream_open(client.get(), "s", nullptr, &opened), AGX_OK);
  SessionPtr session(opened);
  Subscriber subscriber;
  ASSERT_EQ(subscriber.Open(session), AGX_OK);
  // By a serializer that is not read.
  server.Command({"RPUSH", "ag2:stream:s", "\x80one", "\x80two"});
  ASSERT_TRUE(subscriber.Await(2));
  server.Command({"RPUSH", "ag2:stream:s", "{}"});
  ASSERT_TRUE(subscriber.Await(3));
  EXPECT_THAT(subscriber.texts(), ElementsAre("AGX_EUNSUPPORTED", "AGX_EUNSUPPORTED", ""));
}

}  // namespace
}  // namespace agx::test
