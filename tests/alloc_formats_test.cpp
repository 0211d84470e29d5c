// ctest-labels: redis
// ctest-timeout: 120
// Memory that runs out at every allocation, in every format: what is said to be written is, once and whole, and
// nothing else.
#include <agx.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/exhaustion.h"
#include "support/fault_tools.h"

namespace agx::test {
namespace {

struct Kind {
  const char* format;
  const char* type;  // of an event that it can hold
};
constexpr Kind kKinds[] = {{"agx", "event"},
                           {"openai-agents", "token"},
                           {"agent-framework", "event"},
                           {"ag2", "my_app.events.Said"}};

// Bodies tell the events apart, and are long enough to need memory.
std::string TextBody(int n) {
  return "{\"text\": \"" + std::to_string(n) + std::string(80, '.') + "\"}";
}

// -1: none of ours.
int NumberIn(const agx_event* event) {
  std::string_view body = agx_event_body(event, nullptr);
  size_t end = body.find(std::string(80, '.'));
  if (end == std::string_view::npos) return -1;
  size_t begin = body.rfind('"', end);
  return std::atoi(std::string(body.substr(begin + 1, end - begin - 1)).c_str());
}

// A producer in one format, its memory, and what became of the events that it tried to add.
class Producer {
 public:
  Producer(agx_client* client, const Kind& kind, Exhaustion* run) : kind_(kind), run_(*run) {
    auto open = [&] {
      if (std::string(kind.format) == "agx") {
        return agx_session_open(client, 1, 2, "s", &session_);
      }
      agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
      options.format = kind.format;
      return agx_stream_open(client, kind.format, &options, &session_);
    };
    EXPECT_EQ(run_.Run("open", open), AGX_OK);
  }
  ~Producer() { agx_session_close(session_); }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  void Start() {
    EXPECT_EQ(run_.Run("agx_start", [&] { return agx_start(session_, nullptr); },
                       {AGX_ESYSTEM, AGX_EUNCERTAIN}),
              AGX_OK);
  }
  void Add() {
    auto add = [&] {
      armed = false;
      std::string body = TextBody(next_);
      armed = true;
      agx_status status = agx_add(session_, kind_.type, "o", body.c_str(), nullptr);
      armed = false;
      outcomes_.push_back(status);
      ++next_;
      return status;
    };
    EXPECT_EQ(run_.Run("agx_add", add, {AGX_EUNCERTAIN}), AGX_OK);
  }
  void AddMany(int count) {
    auto add_many = [&] {
      armed = false;
      Events events(kind_, next_, count);
      size_t added = 0;
      armed = true;
      agx_status status = agx_add_many(session_, events.data(), events.size(), nullptr, &added);
      armed = false;
      EXPECT_EQ(added == events.size(), status == AGX_OK);
      // Of those after the first `added` nothing is known, whatever the error.
      for (size_t i = 0; i < events.size(); ++i) {
        outcomes_.push_back(i < added ? AGX_OK : AGX_EUNCERTAIN);
      }
      next_ += count;
      return status;
    };
    EXPECT_EQ(run_.Run("agx_add_many", add_many, {AGX_EUNCERTAIN}), AGX_OK);
  }
  // However often it has to be tried they are there once.
  void AddChecked(int count) {
    Events events(kind_, next_, count);
    std::string from = std::to_string(next_);
    std::string to = std::to_string(next_ + count);
    if (next_ == 0) from.clear();
    EXPECT_EQ(run_.Run("agx_add_checked",
                       [&] {
                         return agx_add_checked(session_, events.data(), events.size(), "origin",
                                                from.c_str(), to.c_str());
                       },
                       {AGX_EUNCERTAIN}),
              AGX_OK);
    char position[AGX_NAME_MAX + 1];
    EXPECT_EQ(
        run_.Run("agx_checkpoint", [&] { return agx_checkpoint(session_, "origin", position); }),
        AGX_OK);
    EXPECT_EQ(position, to);
    outcomes_.insert(outcomes_.end(), static_cast<size_t>(count), AGX_OK);
    next_ += count;
  }
  void Replace(int count) {
    Events events(kind_, next_, count);
    EXPECT_EQ(
        run_.Run(
            "agx_history_replace",
            [&] { return agx_history_replace(session_, events.data(), events.size(), nullptr); },
            {AGX_EUNCERTAIN}),
        AGX_OK);
    outcomes_.assign(static_cast<size_t>(next_), AGX_ENOMEM);
    outcomes_.insert(outcomes_.end(), static_cast<size_t>(count), AGX_OK);
    next_ += count;
  }
  void Drop() {
    EXPECT_EQ(run_.Run("agx_history_drop", [&] { return agx_history_drop(session_, nullptr); },
                       {AGX_EUNCERTAIN}),
              AGX_OK);
    outcomes_.assign(static_cast<size_t>(next_), AGX_ENOMEM);
  }
  void Stop() {
    EXPECT_THAT(run_.Run("agx_stop", [&] { return agx_stop(session_, 60000); },
                         {AGX_EUNCERTAIN, AGX_NOT_LIVE}),
                testing::AnyOf(AGX_OK, AGX_NOT_LIVE));
  }

  // What a listener hears, with the first, the second, … allocation of each call failing.
  void ExpectHeard() {
    agx_listen_options options = Patient();
    options.hand_on_end = 1;
    agx_listener* listener = nullptr;
    EXPECT_EQ(run_.Run("agx_listen", [&] { return agx_listen(session_, &options, &listener); }),
              AGX_OK);
    Owned<agx_listener> owned(listener);
    std::vector<int> heard;
    std::vector<std::string> sequence;
    agx_status status = AGX_OK;
    for (int failing = 0; (status != AGX_TIMEOUT && status != AGX_ENDED) || run_.happened();) {
      agx_event* event = nullptr;
      status = run_.Try(failing, [&] { return agx_listen_next(listener, 100, &event); });
      Owned<agx_event> taken(event);
      failing = status == AGX_OK ? 0 : failing + 1;
      const char* field = nullptr;
      if (status == AGX_OK && agx_event_field(event, "sequence", &field, nullptr) == AGX_OK) {
        sequence.emplace_back(field);
      }
      if (status == AGX_OK && NumberIn(event) >= 0) heard.push_back(NumberIn(event));
      ASSERT_TRUE(status == AGX_OK || status == AGX_ENOMEM || status == AGX_TIMEOUT ||
                  status == AGX_ESYSTEM || status == AGX_ENDED)
          << Explain(status);
      ASSERT_LT(failing, 6000);
      if (status == AGX_ENDED) break;
    }
    ExpectOutcomes(heard);
    // Without a gap and without a repetition, whatever failed in between.
    for (size_t i = 1; i < sequence.size(); ++i) {
      EXPECT_EQ(std::stoi(sequence[i]), std::stoi(sequence[i - 1]) + 1) << i;
    }
  }

 private:
  // Events that are numbered from one on.
  class Events {
   public:
    Events(const Kind& kind, int first, int count) {
      for (int i = 0; i < count; ++i) bodies_.push_back(TextBody(first + i));
      for (const std::string& body : bodies_) events_.push_back({kind.type, "o", body.c_str()});
    }
    const agx_new_event* data() const { return events_.data(); }
    size_t size() const { return events_.size(); }

   private:
    std::vector<std::string> bodies_;
    std::vector<agx_new_event> events_;
  };

  void ExpectOutcomes(const std::vector<int>& heard) const {
    EXPECT_TRUE(std::is_sorted(heard.begin(), heard.end()));
    for (size_t n = 0; n < outcomes_.size(); ++n) {
      auto times = std::count(heard.begin(), heard.end(), static_cast<int>(n));
      EXPECT_GE(times, outcomes_[n] == AGX_OK ? 1 : 0) << kind_.format << " " << n;
      EXPECT_LE(times, outcomes_[n] == AGX_ENOMEM ? 0 : 1) << kind_.format << " " << n;
    }
  }

  const Kind& kind_;
  Exhaustion& run_;
  agx_session* session_ = nullptr;
  int next_ = 0;
  std::vector<agx_status> outcomes_;
};

TEST_P(OutOfMemory, EveryFormatLosesAndRepeatsNothing) {
  Owned<agx_client> client = OpenClient(url());
  Exhaustion run(GetParam().mode);
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.format);
    Producer producer(client.get(), kind, &run);
    producer.Start();
    for (int i = 0; i < 3; ++i) producer.Add();
    producer.AddMany(70);
    producer.ExpectHeard();
    producer.Stop();
  }
  RecordProperty("failures", run.failures());
}

TEST_P(OutOfMemory, CheckedAddsAndReplacementsAreWholeInEveryFormat) {
  Owned<agx_client> client = OpenClient(url());
  Exhaustion run(GetParam().mode);
  for (const Kind& kind : kKinds) {
    SCOPED_TRACE(kind.format);
    Producer producer(client.get(), kind, &run);
    producer.Start();
    producer.AddChecked(5);
    producer.AddChecked(3);
    producer.ExpectHeard();
    producer.Replace(4);
    producer.ExpectHeard();
    producer.Drop();
    producer.ExpectHeard();
    producer.Add();
    producer.ExpectHeard();
    producer.Stop();
  }
  RecordProperty("failures", run.failures());
}

TEST_P(OutOfMemory, WhoWaitsForAnEventHearsOfItOrOfTheMemory) {
  Owned<agx_client> client = OpenClient(url());
  Owned<agx_session> session = OpenSession(client.get(), "s");
  Exhaustion run(GetParam().mode);
  agx_event* event = nullptr;
  EXPECT_EQ(run.Run("agx_wait_for",
                    [&] {
                      agx_status status =
                          agx_wait_for(session.get(), "type = \"answer\"", 30, &event);
                      EXPECT_EQ(event, nullptr);
                      return status;
                    },
                    {AGX_TIMEOUT, AGX_ESYSTEM}),
            AGX_TIMEOUT);
  RecordProperty("failures", run.failures());
}

AGX_ON_EACH_EXHAUSTION();

}  // namespace
}  // namespace agx::test
