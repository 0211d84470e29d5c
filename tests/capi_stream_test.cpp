// ctest-labels: redis threads
// Streams of other frameworks: their side is played by raw commands, as their own processes send
// them, and ours by the C API; in both directions, and on both stores.
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

SessionPtr OpenStream(const ClientPtr& client, const std::string& name, const char* format,
                      agx_stream_options options = AGX_STREAM_OPTIONS_INIT) {
  agx_session* session = nullptr;
  options.format = format;
  EXPECT_EQ(agx_stream_open(client.get(), name.c_str(), &options, &session), AGX_OK)
      << agx_last_error();
  return SessionPtr(session);
}

std::string FieldOf(const Told& told, const char* name) {
  const char* value = nullptr;
  size_t length = 0;
  if (agx_event_field(told.event.get(), name, &value, &length) != AGX_OK) return "(none)";
  return {value, length};
}

agx_status AddText(const SessionPtr& session, const std::string& text) {
  std::string body = "{\"text\":\"" + text + "\"}";
  return agx_add(session.get(), "event", "test", body.c_str(), nullptr);
}

agx_listen_options Brief() {
  agx_listen_options options = Patient();
  options.timeout_ms = 300;
  return options;
}

// --- Opening

class CapiStream : public OnEachStore {};
AGX_ON_EACH_STORE(CapiStream);

TEST_P(CapiStream, AnOptionThatIsOfAnotherFormatIsRefused) {
  agx_session* session = nullptr;
  for (const char* format : {"openai-agents", "agent-framework", "ag2"}) {
    agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
    options.format = format;
    options.expire_ms = 1000;
    bool expires = std::string(format) == "agent-framework";
    EXPECT_EQ(agx_stream_open(client_.get(), "s", &options, &session),
              expires ? AGX_OK : AGX_EINVAL);
    if (!expires) {
      EXPECT_THAT(agx_last_error(), HasSubstr("expire_ms"));
    }
    agx_session_close(session);
    options.expire_ms = 0;
    options.tagged = 1;
    bool tags = std::string(format) == "ag2";
    EXPECT_EQ(agx_stream_open(client_.get(), "s", &options, &session), tags ? AGX_OK : AGX_EINVAL);
    if (!tags) {
      EXPECT_THAT(agx_last_error(), HasSubstr("tagged"));
    }
    agx_session_close(session);
  }
}

TEST_P(CapiStream, IsOpenedByNameInAFormatThatHasNames) {
  agx_session* session = nullptr;
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  EXPECT_EQ(agx_stream_open(client_.get(), "s", nullptr, &session), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("agx_session_open"));
  EXPECT_EQ(session, nullptr);
  options.format = "openai";
  EXPECT_EQ(agx_stream_open(client_.get(), "s", &options, &session), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("one of agx, openai-agents, agent-framework, ag2"));
  options.format = "openai-agents";
  for (const char* name : {"", "a:live", "a:messages", "\xff"}) {
    EXPECT_EQ(agx_stream_open(client_.get(), name, &options, &session), AGX_EINVAL) << name;
  }
  EXPECT_EQ(agx_stream_open(client_.get(), nullptr, &options, &session), AGX_EINVAL);
  EXPECT_EQ(agx_stream_open(client_.get(), std::string(513, 'n').c_str(), &options, &session),
            AGX_ETOOBIG);
  options.prefix = "p";
  EXPECT_EQ(agx_stream_open(client_.get(), "s", &options, &session), AGX_EINVAL);
  options.prefix = nullptr;
  options.max_length = -1;
  EXPECT_EQ(agx_stream_open(client_.get(), "s", &options, &session), AGX_EINVAL);
  EXPECT_EQ(agx_stream_open(client_.get(), "s", nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_stream_open(nullptr, "s", nullptr, &session), AGX_EINVAL);
}

TEST_P(CapiStream, AFormatOfTheClientIsThatOfItsSessions) {
  ClientPtr client = Open("format=openai-agents");
  agx_session* session = nullptr;
  EXPECT_EQ(agx_session_open(client.get(), 1, 2, "s", &session), AGX_EINVAL);
  EXPECT_THAT(agx_last_error(), HasSubstr("agx_stream_open"));
  ASSERT_EQ(agx_stream_open(client.get(), "s", nullptr, &session), AGX_OK);
  SessionPtr owned(session);
  Add(owned, "token", R"({"token":"Hi"})");
  EXPECT_THAT(Stored(OpenStream(client_, "s", "openai-agents")), ElementsAre("token"));
  agx_client* none = nullptr;
  EXPECT_EQ(agx_open((url() + "?format=agy").c_str(), nullptr, &none), AGX_EINVAL);
}

TEST_P(CapiStream, NamesMayHaveAnyCharacter) {
  for (const char* name : {"a b", "*", "[x]?", "a:live:b", "{tag}", "é\n"}) {
    SessionPtr session = OpenStream(client_, name, "openai-agents");
    Add(session, "token");
    EXPECT_THAT(Stored(OpenStream(other_, name, "openai-agents")), ElementsAre("token")) << name;
  }
}

TEST_P(CapiStream, HasStartStopCancelAndLeases) {
  for (const char* format : {"openai-agents", "agent-framework", "ag2"}) {
    SessionPtr session = OpenStream(client_, format, format);
    SessionPtr elsewhere = OpenStream(other_, format, format);
    EXPECT_FALSE(IsLive(elsewhere));
    EXPECT_EQ(agx_stop(elsewhere.get(), -1), AGX_NOT_LIVE) << format;
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK) << agx_last_error();
    EXPECT_TRUE(IsLive(elsewhere));
    EXPECT_EQ(agx_start(elsewhere.get(), nullptr), AGX_EBUSY);
    EXPECT_EQ(agx_renew(elsewhere.get()), AGX_OK);
    int was_live = 0;
    EXPECT_EQ(agx_cancel(elsewhere.get(), &was_live), AGX_OK);
    EXPECT_EQ(was_live, 1);
    EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK) << format;
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    EXPECT_EQ(agx_start(elsewhere.get(), nullptr), AGX_EBUSY);
    agx_start_options take = TakeOver();
    EXPECT_EQ(agx_start(elsewhere.get(), &take), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_TAKEN_OVER) << format;
    EXPECT_EQ(agx_stop(elsewhere.get(), -1), AGX_OK);
    EXPECT_FALSE(IsLive(session));
  }
}

TEST_P(CapiStream, TellsThatItsProducerIsGone) {
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  agx_start_options options = Leased(300);
  options.detached = 1;
  ASSERT_EQ(agx_start(session.get(), &options), AGX_OK);
  Add(session, "token");
  EXPECT_THAT(Follow(Listen(OpenStream(other_, "s", "openai-agents"))),
              ElementsAre("token", "AGX_GONE"));
}

// Their own producers keep none, and may be silent for long.
TEST_P(CapiStream, OneWithoutALiveFlagIsNotTakenForAbandoned) {
  ClientPtr client = Open("lease=100");
  for (const char* format : {"openai-agents", "agent-framework", "ag2"}) {
    SessionPtr session = OpenStream(client_, format, format);
    if (std::string(format) == "agent-framework") {
      ASSERT_EQ(AddText(session, "Hi"), AGX_OK) << agx_last_error();
    } else {
      Add(session, "test.Event");
    }
    agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
    options.timeout_ms = 1000;
    ListenerPtr listener = Listen(OpenStream(client, format, format), options);
    EXPECT_EQ(Next(listener).status, AGX_OK) << format;
    EXPECT_EQ(Next(listener).text(), "AGX_SILENT") << format;
  }
}

TEST_P(CapiStream, SaysHowItsProducerLeft) {
  ClientPtr client = Open("lease=300");
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  agx_start_options leased = Leased(1000);
  ASSERT_EQ(agx_start(session.get(), &leased), AGX_OK);
  Add(session, "token");
  ListenerPtr listener = Listen(OpenStream(client, "s", "openai-agents"));
  EXPECT_EQ(Next(listener).text(), "token");
  EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");  // it has seen the flag
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_NOT);
  EXPECT_EQ(agx_cancel(session.get(), nullptr), AGX_OK);
  Told gone = Next(listener);
  EXPECT_EQ(gone.text(), "AGX_GONE");
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_TAKEN);
  EXPECT_THAT(gone.error, HasSubstr("taken away"));
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  Add(session, "token");
  EXPECT_EQ(Next(listener).text(), "token");
  EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_TAKEN) << "the last time";
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  gone = Next(listener);
  EXPECT_EQ(gone.text(), "AGX_GONE");
  EXPECT_THAT(gone.error, HasSubstr("was stopped"));
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_STOPPED);
  leased.detached = 1;
  leased.lease_ms = 300;
  ASSERT_EQ(agx_start(session.get(), &leased), AGX_OK);
  Add(session, "token");
  EXPECT_EQ(Next(listener).text(), "token");
  EXPECT_EQ(Next(listener).text(), "AGX_GONE");
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_EXPIRED);
}

TEST_P(CapiStream, SaysByAMuxHowItsProducerLeft) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  Add(session, "test.Event");
  ListenerPtr listener = Listen(session);
  MuxPtr mux = OpenMux(client_);
  ASSERT_EQ(agx_mux_add(mux.get(), listener.get()), AGX_OK);
  auto next = [&](int64_t timeout_ms) {
    agx_listener* of = nullptr;
    agx_event* event = nullptr;
    agx_status status = agx_mux_next(mux.get(), timeout_ms, &of, &event);
    agx_event_free(event);
    return status;
  };
  EXPECT_EQ(next(kPatienceMs), AGX_OK);
  EXPECT_EQ(next(50), AGX_TIMEOUT);
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_EQ(next(kPatienceMs), AGX_GONE);
  EXPECT_EQ(agx_listener_gone(listener.get()), AGX_GONE_STOPPED);
}

// Listeners of streams that get no `end`, in each way in which one can be waited for. The lease is of
// 15 s, so that what is told within kAtOnceMs is not told because of it.
class CapiStreamStop : public OnEachStore {
 protected:
  using Wait = std::function<Told(const ListenerPtr&, int64_t timeout_ms)>;

  static const char* Formats(size_t i) { return i == 0 ? "openai-agents" : "ag2"; }

  // What a listener is told that has seen an event when the session gets another and then `end`.
  std::vector<std::string> Tell(const char* format, const Wait& wait, ListenerPtr* listener,
                                const std::function<void(const SessionPtr&)>& end) {
    SessionPtr session = OpenStream(client_, "s", format);
    EXPECT_EQ(agx_start(session.get(), nullptr), AGX_OK) << agx_last_error();
    Add(session, "test.First");
    *listener = Listen(OpenStream(other_, "s", format));
    std::vector<std::string> told = {wait(*listener, kPatienceMs).text()};
    auto rest = std::async(std::launch::async, [&] {
      std::vector<std::string> texts;
      do {
        texts.push_back(wait(*listener, kAtOnceMs).text());
      } while (texts.back() == "test.Last" || texts.back() == "AGX_GAP");
      return texts;
    });
    Add(session, "test.Last");
    end(session);
    for (std::string& text : rest.get()) told.push_back(std::move(text));
    listener->reset();
    agx_status deleted = agx_history_delete(session.get());
    EXPECT_TRUE(deleted == AGX_OK || deleted == AGX_NONE) << agx_last_error();
    return told;
  }

  static void Stop(const SessionPtr& session) { EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK); }

  static Told InNext(const ListenerPtr& listener, int64_t timeout_ms) {
    return Next(listener, timeout_ms);
  }
};
AGX_ON_EACH_STORE(CapiStreamStop);

TEST_P(CapiStreamStop, IsToldAtOnceToAThreadThatWaits) {
  for (size_t i : {0, 1}) {
    ListenerPtr listener;
    EXPECT_THAT(Tell(Formats(i), InNext, &listener, Stop),
                ElementsAre("test.First", "test.Last", "AGX_GONE"))
        << Formats(i);
  }
}

TEST_P(CapiStreamStop, IsToldAtOnceThroughAMux) {
  for (size_t i : {0, 1}) {
    for (bool alone : {true, false}) {
      MuxPtr mux = OpenMux(other_);
      ListenerPtr idle = Listen(OpenStream(other_, "idle", Formats(i)));
      if (!alone) {
        ASSERT_EQ(agx_mux_add(mux.get(), idle.get()), AGX_OK);
      }
      ListenerPtr listener;
      bool added = false;
      auto wait = [&](const ListenerPtr& waiting, int64_t timeout_ms) {
        if (!std::exchange(added, true)) {
          EXPECT_EQ(agx_mux_add(mux.get(), waiting.get()), AGX_OK);
        }
        return Next(mux, timeout_ms);
      };
      EXPECT_THAT(Tell(Formats(i), wait, &listener, Stop),
                  ElementsAre("test.First", "test.Last", "AGX_GONE"))
          << Formats(i) << alone;
    }
  }
}

TEST_P(CapiStreamStop, IsToldAtOnceThroughADescriptor) {
  for (size_t i : {0, 1}) {
    int fd = -1;
    auto wait = [&](const ListenerPtr& waiting, int64_t timeout_ms) {
      if (fd < 0) {
        EXPECT_EQ(agx_listener_fd(waiting.get(), &fd), AGX_OK);
      }
      EXPECT_TRUE(Readable(fd, timeout_ms));
      return Next(waiting, 0);
    };
    ListenerPtr listener;
    EXPECT_THAT(Tell(Formats(i), wait, &listener, Stop),
                ElementsAre("test.First", "test.Last", "AGX_GONE"))
        << Formats(i);
  }
}

TEST_P(CapiStreamStop, IsToldAtOnceWhoeverStops) {
  auto elsewhere = [&](const SessionPtr& /*session*/) {
    Stop(OpenStream(other_, "s", "openai-agents"));
  };
  auto deleted = [](const SessionPtr& session) {
    EXPECT_EQ(agx_history_delete(session.get()), AGX_OK);
  };
  auto canceled = [&](const SessionPtr& session) {
    EXPECT_EQ(agx_cancel(OpenStream(other_, "s", "openai-agents").get(), nullptr), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
    Stop(session);
  };
  ListenerPtr listener;
  EXPECT_EQ(Tell("openai-agents", InNext, &listener, elsewhere).back(), "AGX_GONE");
  EXPECT_EQ(Tell("openai-agents", InNext, &listener, deleted).back(), "AGX_GONE");
  EXPECT_EQ(Tell("openai-agents", InNext, &listener, canceled).back(), "AGX_GONE");
}

// A stop of one that somebody else has taken over stops nothing.
TEST_P(CapiStreamStop, IsNotToldIfItFails) {
  auto taken_over = [&](const SessionPtr& session) {
    SessionPtr successor = OpenStream(other_, "s", "openai-agents");
    agx_start_options take = TakeOver();
    EXPECT_EQ(agx_start(successor.get(), &take), AGX_OK);
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_TAKEN_OVER);
    Add(successor, "test.Last");
    Stop(successor);
  };
  // Stopped without a word of the cancel, it has not said its last yet.
  auto canceled = [&](const SessionPtr& session) {
    EXPECT_EQ(agx_cancel(OpenStream(other_, "s", "openai-agents").get(), nullptr), AGX_OK);
    agx_status stopped = agx_stop(session.get(), -1);
    EXPECT_TRUE(stopped == AGX_OK || stopped == AGX_CANCELED) << agx_last_error();
    if (stopped == AGX_OK) {
      ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    }
    Add(session, "test.Last");
    Stop(session);
  };
  ListenerPtr listener;
  for (const auto& end : {std::function<void(const SessionPtr&)>(taken_over),
                          std::function<void(const SessionPtr&)>(canceled)}) {
    EXPECT_THAT(Tell("openai-agents", InNext, &listener, end),
                ElementsAre("test.First", "test.Last", "test.Last", "AGX_GONE"));
  }
}

// More than is read at once.
TEST_P(CapiStreamStop, IsToldBehindAllEvents) {
  constexpr size_t kMany = 6000;
  auto many = [](const SessionPtr& session) {
    std::vector<agx_new_event> events(kMany, {"test.Last", "test", nullptr});
    EXPECT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, nullptr), AGX_OK);
    Stop(session);
  };
  for (size_t i : {0, 1}) {
    ListenerPtr listener;
    std::vector<std::string> told = Tell(Formats(i), InNext, &listener, many);
    EXPECT_EQ(told.size(), kMany + 3) << Formats(i);
    EXPECT_EQ(told.back(), "AGX_GONE") << Formats(i);
    MuxPtr mux = OpenMux(other_);
    bool added = false;
    auto through_mux = [&](const ListenerPtr& waiting, int64_t timeout_ms) {
      if (!std::exchange(added, true)) {
        EXPECT_EQ(agx_mux_add(mux.get(), waiting.get()), AGX_OK);
      }
      return Next(mux, timeout_ms);
    };
    told = Tell(Formats(i), through_mux, &listener, many);
    EXPECT_EQ(told.size(), kMany + 3) << Formats(i);
    EXPECT_EQ(told.back(), "AGX_GONE") << Formats(i);
  }
}

TEST_P(CapiStreamStop, IsNotToldOfOneThatWasStartedAgain) {
  for (size_t i : {0, 1}) {
    SessionPtr session = OpenStream(client_, "s", Formats(i));
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    Add(session, "test.First");
    ListenerPtr listener = Listen(OpenStream(other_, "s", Formats(i)));
    EXPECT_EQ(Next(listener).text(), "test.First");
    Stop(session);
    EXPECT_THAT(Next(listener, 0).text(), testing::AnyOf("AGX_TIMEOUT", "AGX_GONE"));
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    Add(session, "test.Again");
    Told again = Next(listener);
    if (again.text() == "AGX_GONE") again = Next(listener);  // it was seen before it was started
    EXPECT_EQ(again.text(), "test.Again");
    EXPECT_EQ(Next(listener, 100).text(), "AGX_TIMEOUT");
    Stop(session);
    EXPECT_EQ(Next(listener, kAtOnceMs).text(), "AGX_GONE");
  }
}

TEST_P(CapiStreamStop, IsToldToAListenerThatWasInAMux) {
  for (size_t i : {0, 1}) {
    for (bool goes_back : {true, false}) {
      SessionPtr session = OpenStream(client_, "s", Formats(i));
      ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
      Add(session, "test.First");
      ListenerPtr listener = Listen(OpenStream(other_, "s", Formats(i)));
      EXPECT_EQ(Next(listener).text(), "test.First");
      MuxPtr mux = OpenMux(other_);
      ASSERT_EQ(agx_mux_add(mux.get(), listener.get()), AGX_OK);
      Add(session, "test.Second");
      EXPECT_EQ(Next(mux).text(), "test.Second");
      ASSERT_EQ(agx_mux_remove(mux.get(), listener.get()), AGX_OK);
      if (!goes_back) {
        EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
      }
      Stop(session);
      if (goes_back) {
        ASSERT_EQ(agx_mux_add(mux.get(), listener.get()), AGX_OK);
      }
      Told told = goes_back ? Next(mux, kAtOnceMs) : Next(listener, kAtOnceMs);
      EXPECT_EQ(told.text(), "AGX_GONE") << Formats(i) << goes_back;
      EXPECT_THAT(told.error, HasSubstr("stopped"));
      listener.reset();
      EXPECT_EQ(agx_history_delete(session.get()), AGX_OK);
    }
  }
}

TEST_P(CapiStreamStop, IsToldOfARunThatWasOverBeforeItWasLookedAt) {
  for (size_t i : {0, 1}) {
    SessionPtr session = OpenStream(client_, "s", Formats(i));
    ListenerPtr listener = Listen(OpenStream(other_, "s", Formats(i)));
    EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    Add(session, "test.Only");
    Stop(session);
    EXPECT_EQ(Next(listener).text(), "test.Only");
    EXPECT_EQ(Next(listener, kAtOnceMs).text(), "AGX_GONE") << Formats(i);
  }
}

class StreamStopOnRedis : public OnRedis {};

TEST_F(StreamStopOnRedis, IsOfItsDatabaseAndOfAnyPrefix) {
  ClientPtr here = OpenClient(server_.url());
  ClientPtr there = OpenClient(server_.url() + "/1?prefix=another");
  ClientPtr like_here = OpenClient(server_.url() + "?prefix=another");
  SessionPtr foreign = OpenStream(here, "s", "openai-agents");
  Add(foreign, "test.First");
  ListenerPtr listener = Listen(OpenStream(here, "s", "openai-agents"));
  EXPECT_EQ(Next(listener).text(), "test.First");
  EXPECT_EQ(Next(listener, 50).text(), "AGX_TIMEOUT");
  for (const ClientPtr* client : {&there, &like_here}) {
    SessionPtr session = OpenStream(*client, "s", "openai-agents");
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
    bool is_here = client == &like_here;
    EXPECT_EQ(Next(listener, is_here ? kAtOnceMs : 200).text(),
              is_here ? "AGX_GONE" : "AGX_TIMEOUT");
  }
}

TEST_P(CapiStream, OpenAiStreamsHaveNoEndAndAreFollowedUntilSilence) {
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  Add(session, "token");
  Add(session, "complete");
  Add(session, "end");
  EXPECT_THAT(Follow(Listen(session, Brief())),
              ElementsAre("token", "complete", "end", "AGX_SILENT"));
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(agx_stop(session.get(), 0), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("token", "complete", "end")) << "nothing is dropped";
}

TEST_P(CapiStream, OpenAiStreamsHoldRuns) {
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  Add(session, "token");
  agx_run* run = nullptr;
  ASSERT_EQ(agx_run_begin(session.get(), nullptr, &run), AGX_OK) << agx_last_error();
  EXPECT_EQ(agx_run_node_begin(run), AGX_OK);
  EXPECT_EQ(agx_run_part_begin(run, AGX_PART_TEXT, "Hi", nullptr), AGX_OK);
  EXPECT_EQ(agx_run_finish(run), AGX_OK);
  agx_run_close(run);
  EXPECT_THAT(Stored(session), ElementsAre("token", "event", "event", "event"));
  EXPECT_EQ(agx_run_begin(OpenStream(client_, "t", "agent-framework").get(), nullptr, &run),
            AGX_EUNSUPPORTED);
}

TEST_P(CapiStream, AgentStreamsEndWhenTheyAreStoppedAndBeginAfresh) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  SessionPtr reader = OpenStream(other_, "c", "agent-framework");
  for (int run = 0; run < 2; ++run) {
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
    ListenerPtr listener = Listen(reader);
    EXPECT_EQ(AddText(session, "Hello"), AGX_OK);
    EXPECT_EQ(AddText(session, "world"), AGX_OK);
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
    Told first = Next(listener);
    EXPECT_THAT(first.body(), HasSubstr(R"("content_delta":"Hello")"));
    EXPECT_EQ(FieldOf(first, "sequence"), "0");
    EXPECT_EQ(FieldOf(Next(listener), "sequence"), "1");
    EXPECT_EQ(Next(listener).text(), "AGX_ENDED");
    EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK) << "a second one adds no second end";
    EXPECT_THAT(Stored(reader), ElementsAre("event", "event", "end"));
  }
}

TEST_P(CapiStream, WhatIsNoClassOrPlaceOfAnAg2StreamIsRefused) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  EXPECT_EQ(agx_add(session.get(), "a.1B", "o", "{}", nullptr), AGX_EUNSUPPORTED);
  Add(session, "a.B1");
  agx_listen_options options = Patient("a.1B");
  agx_listener* listener = nullptr;
  EXPECT_EQ(agx_listen(session.get(), &options, &listener), AGX_EINVAL);
  EXPECT_THAT(Stored(session), ElementsAre("a.B1"));
}

TEST_P(CapiStream, AnErrorOfAnAgentStreamIsHandedOnAndThenItsEnd) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(AddText(session, "Hello"), AGX_OK);
  EXPECT_EQ(agx_add_error(session.get(), nullptr, R"({"msg":"no"})", nullptr), AGX_OK);
  EXPECT_THAT(Follow(Listen(session)), ElementsAre("event", "error", "AGX_ENDED"));
  agx_listen_options only = Patient();
  only.where = "type = \"event\"";
  EXPECT_THAT(Follow(Listen(session, only)), ElementsAre("event", "AGX_ENDED"));
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_THAT(Stored(session), ElementsAre("event", "error")) << "it has ended already";
}

TEST_P(CapiStream, OneThatBeginsBehindTheEndOfAnAgentStreamIsToldSoAtOnce) {
  for (const char* last : {"end", "error"}) {
    SessionPtr session = OpenStream(client_, last, "agent-framework");
    EXPECT_EQ(AddText(session, "Hello"), AGX_OK);
    std::string end = Add(session, last, R"({"msg":"no"})");
    Stopwatch watch;
    for (const std::string& after : {end, end + "7"}) {
      EXPECT_THAT(Follow(ListenAfter(session, after.c_str())), ElementsAre("AGX_ENDED")) << last;
    }
    EXPECT_LE(watch.ms(), kAtOnceMs);
    EXPECT_EQ(AddText(session, "b"), AGX_OK);
    EXPECT_THAT(Follow(ListenAfter(session, end.c_str()), 50), ElementsAre("event", "AGX_TIMEOUT"));
  }
  // A format without one.
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  std::string end = Add(session, "end");
  EXPECT_THAT(Follow(ListenAfter(session, end.c_str()), 50), ElementsAre("AGX_TIMEOUT"));
}

TEST_P(CapiStream, ARunAfterAnEndDoesNotEndThere) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  EXPECT_EQ(AddText(session, "a"), AGX_OK);
  Add(session, "end");
  EXPECT_EQ(AddText(session, "b"), AGX_OK) << "nobody has started it: the numbers begin again";
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(FieldOf(Next(listener), "sequence"), "0");
  EXPECT_EQ(FieldOf(Next(listener), "sequence"), "0");
  Add(session, "end");
  EXPECT_EQ(Next(listener).text(), "AGX_ENDED");
}

TEST_P(CapiStream, NumbersGoOnWhereTheStreamIs) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  SessionPtr second = OpenStream(other_, "c", "agent-framework");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(AddText(session, "a"), AGX_OK);
    EXPECT_EQ(AddText(second, "b"), AGX_OK);
  }
  agx_new_event many[] = {{"event", "o", R"({"text":"c"})"}, {"event", "o", R"({"text":"d"})"}};
  EXPECT_EQ(agx_add_many(session.get(), many, 2, nullptr, nullptr), AGX_OK);
  ListenerPtr listener = Listen(session);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(FieldOf(Next(listener), "sequence"), std::to_string(i));
}

TEST_P(CapiStream, NumbersHaveNoGapWhereACheckedAddWasDoneBefore) {
  SessionPtr session = OpenStream(client_, "s", "agent-framework");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  agx_new_event events[] = {{"event", "o", R"({"text":"a"})"}, {"event", "o", R"({"text":"b"})"}};
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(agx_add_checked(session.get(), events, 2, "elsewhere", "", "1"), AGX_OK);
  }
  EXPECT_EQ(AddText(session, "c"), AGX_OK);
  ListenerPtr listener = Listen(OpenStream(other_, "s", "agent-framework"));
  for (const char* number : {"0", "1", "2"}) EXPECT_EQ(FieldOf(Next(listener), "sequence"), number);
}

TEST_P(CapiStream, ManyThreadsNumbersAreInOrder) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  InThreads(4, [&](int) {
    for (int i = 0; i < 25; ++i) EXPECT_EQ(AddText(session, "a"), AGX_OK);
  });
  ListenerPtr listener = Listen(session);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(FieldOf(Next(listener), "sequence"), std::to_string(i));
}

TEST_P(CapiStream, WhatAFormatCannotHoldIsNotWritten) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  EXPECT_EQ(agx_add(session.get(), "event", "o", R"({"event":"llm-begin"})", nullptr),
            AGX_EUNSUPPORTED);
  EXPECT_THAT(agx_last_error(), HasSubstr("agent-framework holds text alone"));
  agx_new_event many[] = {{"event", "o", R"({"text":"c"})"}, {"info", "o", nullptr}};
  EXPECT_EQ(agx_add_many(session.get(), many, 2, nullptr, nullptr), AGX_EUNSUPPORTED);
  EXPECT_THAT(agx_last_error(), StartsWith("event 1: "));
  EXPECT_THAT(Stored(session), IsEmpty());
}

TEST_P(CapiStream, EveryFieldOfAnEntryCanBeHad) {
  SessionPtr session = OpenStream(client_, "s", "openai-agents");
  Add(session, "token", "{}", "me");
  Told told = Next(Listen(session));
  EXPECT_EQ(agx_event_field_count(told.event.get()), 4u);
  EXPECT_EQ(FieldOf(told, "metadata"), R"({"origin": "me"})");
  EXPECT_EQ(FieldOf(told, "Metadata"), "(none)");
  const char* name = nullptr;
  const char* value = nullptr;
  size_t name_length = 0;
  size_t length = 0;
  ASSERT_EQ(agx_event_field_at(told.event.get(), 0, &name, &name_length, &value, &length), AGX_OK);
  EXPECT_STREQ(name, "type");
  EXPECT_STREQ(value, "token");
  EXPECT_EQ(name_length, 4u);
  EXPECT_EQ(length, 5u);
  EXPECT_EQ(agx_event_field_at(told.event.get(), 3, nullptr, nullptr, nullptr, nullptr), AGX_OK);
  EXPECT_EQ(agx_event_field_at(told.event.get(), 4, &name, nullptr, &value, nullptr), AGX_NONE);
  EXPECT_EQ(name, nullptr);
  EXPECT_EQ(agx_event_field(told.event.get(), "none", &value, &length), AGX_NONE);
  EXPECT_EQ(value, nullptr);
  EXPECT_EQ(agx_event_field(nullptr, "type", &value, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_event_field(told.event.get(), nullptr, &value, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_event_field(told.event.get(), "type", nullptr, nullptr), AGX_EINVAL);
  EXPECT_EQ(agx_event_field_count(nullptr), 0u);
}

TEST_P(CapiStream, HistoryAndInfoReadEachFormat) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  EXPECT_EQ(AddText(session, "a"), AGX_OK);
  EXPECT_EQ(AddText(session, "b"), AGX_OK);
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.reverse = 1;
  options.where = "body.content_delta = \"b\"";
  agx_event* event = nullptr;
  size_t count = 0;
  ASSERT_EQ(agx_history_read(session.get(), &options, &event, 1, &count), AGX_OK);
  EXPECT_STREQ(agx_event_origin(event, nullptr), "agent-framework");
  agx_event_free(event);
  agx_history info = AGX_HISTORY_INIT;
  ASSERT_EQ(agx_history_info(session.get(), &info), AGX_OK);
  EXPECT_EQ(info.length, 2u);
  EXPECT_GT(info.expire_ms, 590000);
  EXPECT_EQ(agx_history_delete(session.get()), AGX_OK);
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_NONE);
}

int64_t ExpiryOf(const SessionPtr& session) {
  agx_history info = AGX_HISTORY_INIT;
  EXPECT_EQ(agx_history_info(session.get(), &info), AGX_OK) << agx_last_error();
  return info.expire_ms;
}

agx_status Fail(const agx_event*, int64_t, void*) { return AGX_EFAILED; }

// The first event becomes a dead letter.
void Bury(agx_group* group) {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.max_retries = options.limit = 1;
  EXPECT_EQ(agx_group_process(group, &options, Fail, nullptr), AGX_LIMIT) << agx_last_error();
}

void ReplayFirst(agx_group* group) {
  agx_dead_letter letter = {};
  size_t count = 0;
  ASSERT_EQ(agx_group_dead_letters(group, nullptr, &letter, 1, &count), AGX_OK);
  const char* id = agx_event_id(letter.event, nullptr);
  uint64_t replayed = 0;
  EXPECT_EQ(agx_group_replay(group, &id, 1, &replayed), AGX_OK) << agx_last_error();
  EXPECT_EQ(replayed, 1u);
  agx_event_free(letter.event);
}

using GroupHandle = std::unique_ptr<agx_group, decltype(&agx_group_close)>;

GroupHandle OpenGroupOf(const SessionPtr& session) {
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(session.get(), "g", nullptr, &group), AGX_OK) << agx_last_error();
  return {group, agx_group_close};
}

TEST_P(CapiStream, WhateverMakesAnExpiringStreamHasItExpire) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  agx_new_event event = {"event", "o", R"({"text":"a"})"};
  EXPECT_EQ(agx_history_replace(session.get(), &event, 1, nullptr), AGX_OK);
  EXPECT_GT(ExpiryOf(session), 0);
  EXPECT_EQ(agx_history_delete(session.get()), AGX_OK);
  GroupHandle group = OpenGroupOf(session);
  EXPECT_GT(ExpiryOf(session), 0);
  EXPECT_EQ(AddText(session, "a"), AGX_OK);
  Bury(group.get());
  // It has expired.
  EXPECT_EQ(agx_history_delete(session.get()), AGX_OK);
  ReplayFirst(group.get());
  EXPECT_GT(ExpiryOf(session), 0);
}

TEST_P(CapiStream, WhateverIsWrittenRenewsTheExpiry) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.expire_ms = kPatienceMs;
  SessionPtr session = OpenStream(client_, "c", "agent-framework", options);
  GroupHandle group = OpenGroupOf(session);
  EXPECT_EQ(AddText(session, "a"), AGX_OK);
  Bury(group.get());
  const int64_t less = kPatienceMs - 20;
  EXPECT_TRUE(WaitUntil([&] { return ExpiryOf(session) < less; }));
  ReplayFirst(group.get());
  EXPECT_GE(ExpiryOf(session), less);
  EXPECT_TRUE(WaitUntil([&] { return ExpiryOf(session) < less; }));
  agx_new_event event = {"event", "o", R"({"text":"a"})"};
  EXPECT_EQ(agx_history_replace(session.get(), &event, 1, nullptr), AGX_OK);
  EXPECT_GE(ExpiryOf(session), less);
}

TEST_P(CapiStream, WhatIsReplayedBeginsNoRun) {
  for (const char* format : {"agx", "agent-framework"}) {
    bool named = std::string(format) != "agx";
    SessionPtr session = named ? OpenStream(client_, "c", format) : OpenSession(client_, "c");
    ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK) << agx_last_error();
    EXPECT_EQ(AddText(session, "a"), AGX_OK);
    EXPECT_EQ(agx_stop(session.get(), kPatienceMs), AGX_OK);
    GroupHandle group = OpenGroupOf(session);
    Bury(group.get());
    ReplayFirst(group.get());
    ListenerPtr listener = Listen(session);
    EXPECT_EQ(Next(listener).type(), named ? "event" : "begin");
    if (!named) {
      EXPECT_EQ(Next(listener).type(), "event");
    }
    EXPECT_EQ(Next(listener).status, AGX_ENDED) << format;
  }
}

TEST_P(CapiStream, ItsProducerSeesThatAnotherDeletedIt) {
  for (const char* format : {"openai-agents", "agent-framework", "ag2"}) {
    SCOPED_TRACE(format);
    SessionPtr producer = OpenStream(other_, "d", format);
    ASSERT_EQ(agx_start(producer.get(), nullptr), AGX_OK);
    const char* type = format == std::string_view("ag2") ? "my.A" : "event";
    ASSERT_EQ(agx_add(producer.get(), type, "test", R"({"text":"a"})", nullptr), AGX_OK)
        << agx_last_error();
    EXPECT_EQ(agx_history_delete(OpenStream(client_, "d", format).get()), AGX_OK);
    EXPECT_EQ(agx_wait_canceled(producer.get(), kPatienceMs), AGX_OK) << agx_last_error();
  }
}

TEST_P(CapiStream, AMuxTakesListenersOfEachFormat) {
  MuxPtr mux = OpenMux(client_);
  SessionPtr sessions[] = {OpenSession(client_), OpenStream(client_, "s", "openai-agents"),
                           OpenStream(client_, "s", "agent-framework"),
                           OpenStream(client_, "s", "ag2")};
  std::vector<ListenerPtr> listeners;
  for (const SessionPtr& session : sessions) {
    listeners.push_back(Listen(session));
    ASSERT_EQ(agx_mux_add(mux.get(), listeners.back().get()), AGX_OK);
    if (listeners.size() < 4) {
      EXPECT_EQ(AddText(session, "a"), AGX_OK);
    } else {
      Add(session, "my.Event");
    }
  }
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(Next(mux).status, AGX_OK);
  }
}

// --- ag2

TEST_P(CapiStream, ListsAreReadFollowedAndLookedBackAt) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  std::string first = Add(session, "my.A", R"({"n":1})");
  std::string second = Add(session, "my.B", R"({"n":2})");
  EXPECT_THAT(first, StartsWith("1-"));
  EXPECT_THAT(second, StartsWith("2-"));
  SessionPtr reader = OpenStream(other_, "s", "ag2");
  ListenerPtr listener = Listen(reader);
  Told told = Next(listener);
  EXPECT_EQ(told.text(), "my.A");
  EXPECT_EQ(told.id(), first);
  EXPECT_EQ(told.origin(), "ag2");
  EXPECT_EQ(told.body(), R"({"__type__": "my.A", "n":1})");
  EXPECT_EQ(FieldOf(told, "element"), told.body());
  EXPECT_EQ(agx_event_time(told.event.get()), 0);
  EXPECT_EQ(Next(listener).text(), "my.B");
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  Add(session, "my.C");
  EXPECT_EQ(next.Get().text(), "my.C");
  EXPECT_THAT(Position(listener), StartsWith("3-"));

  EXPECT_THAT(Follow(ListenAfter(reader, first.c_str()), 0),
              ElementsAre("my.B", "my.C", "AGX_TIMEOUT"));
  EXPECT_THAT(Follow(ListenAfter(reader, "2"), 0), ElementsAre("my.C", "AGX_TIMEOUT"))
      << "a place alone is taken as it is";
  ListenerPtr later = ListenAfter(reader, "new");
  Add(session, "my.D");
  EXPECT_EQ(Next(later).text(), "my.D");

  auto read = [&](const char* after, const char* before, int reverse, size_t capacity) {
    agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
    options.after = after;
    options.before = before;
    options.reverse = reverse;
    std::vector<agx_event*> events(capacity);
    size_t count = 0;
    agx_status status = agx_history_read(reader.get(), &options, events.data(), capacity, &count);
    std::string text = status == AGX_OK ? "" : agx_status_string(status);
    for (size_t i = 0; i < count; ++i) {
      text += agx_event_type(events[i], nullptr) + 3;
      agx_event_free(events[i]);
    }
    return text;
  };
  EXPECT_EQ(read(nullptr, nullptr, 0, 9), "ABCD");
  EXPECT_EQ(read(nullptr, nullptr, 1, 9), "DCBA");
  EXPECT_EQ(read(nullptr, nullptr, 1, 2), "DC");
  EXPECT_EQ(read(nullptr, nullptr, 0, 2), "AB");
  EXPECT_EQ(read(first.c_str(), nullptr, 0, 9), "BCD");
  EXPECT_EQ(read("1", "4", 0, 9), "BC");
  EXPECT_EQ(read(nullptr, second.c_str(), 1, 9), "A");
  EXPECT_EQ(read("1", "4", 1, 1), "C");
  EXPECT_EQ(read("4", nullptr, 0, 1), "AGX_ENDED");
  EXPECT_EQ(read(nullptr, "1", 1, 1), "AGX_ENDED");
  EXPECT_EQ(read(nullptr, "0", 1, 1), "AGX_ENDED");
  EXPECT_EQ(read("18446744073709551615", nullptr, 0, 1), "AGX_ENDED");

  agx_history info = AGX_HISTORY_INIT;
  ASSERT_EQ(agx_history_info(reader.get(), &info), AGX_OK);
  EXPECT_EQ(info.length, 4u);
  EXPECT_EQ(info.first_id, first);
  EXPECT_THAT(info.last_id, StartsWith("4-"));
  EXPECT_EQ(info.expire_ms, -1);
  uint64_t removed = 0;
  EXPECT_EQ(agx_history_trim(reader.get(), 1, nullptr, &removed), AGX_EUNSUPPORTED);
}

TEST_P(CapiStream, AListThatWasReplacedIsAGap) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  Add(session, "my.A");
  Add(session, "my.B");
  ListenerPtr listener = Listen(OpenStream(other_, "s", "ag2"));
  EXPECT_EQ(Next(listener).text(), "my.A");
  EXPECT_EQ(Next(listener).text(), "my.B");
  ASSERT_EQ(agx_history_delete(session.get()), AGX_OK);
  EXPECT_EQ(Next(listener).text(), "AGX_GAP");
  for (const char* type : {"my.C", "my.D", "my.E"}) Add(session, type);
  for (const char* type : {"my.C", "my.D", "my.E"}) EXPECT_EQ(Next(listener).text(), type);
  std::string position = Position(listener);
  ASSERT_EQ(agx_history_delete(session.get()), AGX_OK);
  for (const char* type : {"my.F", "my.G", "my.H"}) Add(session, type);
  ListenerPtr resumed = ListenAfter(session, position.c_str());
  EXPECT_EQ(Next(resumed).text(), "AGX_GAP");
  EXPECT_THAT(Follow(resumed, 0), ElementsAre("my.F", "my.G", "my.H", "AGX_TIMEOUT"));
}

TEST_P(CapiStream, ListsTakeManyFromManyThreads) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  std::vector<agx_new_event> events(300, {"my.A", "o", R"({"n":1})"});
  InThreads(3, [&](int) {
    std::vector<char> ids(events.size() * AGX_ID_SIZE);
    size_t added = 0;
    EXPECT_EQ(agx_add_many(session.get(), events.data(), events.size(), ids.data(), &added),
              AGX_OK);
    EXPECT_EQ(added, events.size());
    EXPECT_NE(std::string(&ids[0]).find('-'), std::string::npos);
  });
  EXPECT_EQ(Stored(session).size(), 900u);
  EXPECT_EQ(agx_run_begin(session.get(), nullptr, nullptr), AGX_EINVAL);
}

TEST_P(CapiStream, AListIsNoStreamNorTheOtherWayRound) {
  Add(OpenStream(client_, "s", "ag2"), "my.A");
  Add(OpenStream(client_, "ag2:stream:t", "openai-agents"), "token");
  agx_event* event = nullptr;
  size_t count = 0;
  SessionPtr as_stream = OpenStream(client_, "ag2:stream:s", "openai-agents");
  SessionPtr as_list = OpenStream(client_, "t", "ag2");
  for (const SessionPtr* session : {&as_stream, &as_list}) {
    EXPECT_EQ(agx_add(session->get(), "my.A", "o", nullptr, nullptr), AGX_ETYPE);
    EXPECT_EQ(agx_start(session->get(), nullptr), AGX_ETYPE);
    EXPECT_EQ(agx_history_delete(session->get()), AGX_ETYPE);
    EXPECT_EQ(agx_history_read(session->get(), nullptr, &event, 1, &count), AGX_ETYPE);
    EXPECT_EQ(Next(Listen(*session), 0).status, AGX_ETYPE);
  }
}

// --- Checkpoints

std::string Checkpoint(const SessionPtr& session, const char* name) {
  char position[AGX_NAME_MAX + 1] = "?";
  EXPECT_EQ(agx_checkpoint(session.get(), name, position), AGX_OK) << agx_last_error();
  return position;
}

TEST_P(CapiStream, ACheckpointMovesWithWhatIsAdded) {
  for (const char* format : {"openai-agents", "agent-framework", "ag2"}) {
    SessionPtr session = OpenStream(client_, "s", format);
    SessionPtr other = OpenStream(other_, "s", format);
    bool text = std::string(format) == "agent-framework";
    agx_new_event events[] = {{text ? "event" : "my.A", "o", R"({"text":"a"})"},
                              {text ? "event" : "my.B", "o", R"({"text":"b"})"}};
    EXPECT_EQ(Checkpoint(session, "x"), "");
    EXPECT_EQ(agx_add_checked(session.get(), events, 2, "x", "", "1"), AGX_OK) << agx_last_error();
    EXPECT_EQ(Checkpoint(other, "x"), "1");
    EXPECT_EQ(Checkpoint(other, "y"), "") << "each name has its own";
    EXPECT_EQ(agx_add_checked(session.get(), events, 2, "x", "", "1"), AGX_OK)
        << "it was done before";
    EXPECT_EQ(agx_add_checked(other.get(), events, 2, "x", "", "2"), AGX_ECONFLICT);
    EXPECT_THAT(agx_last_error(), HasSubstr("s:from"));
    EXPECT_EQ(Stored(session).size(), 2u);
    EXPECT_EQ(agx_add(session.get(), "", "o", "{}", nullptr), AGX_EINVAL) << "a copy alone may";
    EXPECT_EQ(agx_add_checked(other.get(), nullptr, 0, "x", "1", "2"), AGX_OK);
    EXPECT_EQ(agx_add_checked(other.get(), events, 1, "x", "2", "3"), AGX_OK);
    EXPECT_EQ(Stored(session).size(), 3u);
  }
}

TEST_P(CapiStream, ACopyOfAg2KeepsTheNumbersOfPythonsJson) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  const char* typed = R"({"__type__":"my.A","a":NaN})";
  const char* untyped = R"([Infinity, -Infinity])";
  agx_new_event events[] = {{"my.A", "", typed}, {"", "", untyped}, {"my.B", "", R"({"a":NaN})"}};
  EXPECT_EQ(agx_add_checked(session.get(), events, 3, "x", "", "1"), AGX_OK) << agx_last_error();
  std::vector<agx_event*> stored(4);
  size_t count = 0;
  ASSERT_EQ(agx_history_read(session.get(), nullptr, stored.data(), stored.size(), &count), AGX_OK);
  std::vector<std::string> bodies;
  for (size_t i = 0; i < count; ++i) {
    bodies.emplace_back(agx_event_body(stored[i], nullptr));
    agx_event_free(stored[i]);
  }
  EXPECT_THAT(bodies, ElementsAre(typed, untyped, R"({"__type__": "my.B", "a":NaN})"));
  agx_new_event wrong[] = {{"", "", "nan"}};
  EXPECT_EQ(agx_add_checked(session.get(), wrong, 1, "x", "1", "2"), AGX_EJSON);
  EXPECT_EQ(agx_add(session.get(), "my.A", "o", typed, nullptr), AGX_EJSON) << "a copy alone may";
  SessionPtr other = OpenStream(client_, "o", "openai-agents");
  EXPECT_EQ(agx_add_checked(other.get(), events, 1, "x", "", "1"), AGX_EJSON);
}

TEST_P(CapiStream, WhatIsRefusedMovesNoCheckpoint) {
  SessionPtr session = OpenStream(client_, "c", "agent-framework");
  agx_new_event events[] = {{"event", "o", R"({"text":"a"})"}, {"info", "o", nullptr}};
  EXPECT_EQ(agx_add_checked(session.get(), events, 2, "x", "", "1"), AGX_EUNSUPPORTED);
  EXPECT_EQ(Checkpoint(session, "x"), "");
  EXPECT_THAT(Stored(session), IsEmpty());
  EXPECT_EQ(agx_add_checked(session.get(), nullptr, 1, "x", "", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, nullptr, "", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, "", "", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, "x", nullptr, "1"), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, "x", "", ""), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, "x", "1", "1"), AGX_EINVAL);
  EXPECT_EQ(agx_add_checked(session.get(), events, 1, "x", "", std::string(257, '1').c_str()),
            AGX_ETOOBIG);
  EXPECT_EQ(agx_checkpoint(session.get(), "x", nullptr), AGX_EINVAL);
}

TEST_P(CapiStream, WhoeverKeepsAStreamDropsNothingOfIt) {
  SessionPtr session = OpenSession(client_);
  agx_start_options keep = TakeOver();
  keep.keep = 1;
  ASSERT_EQ(agx_start(session.get(), &keep), AGX_OK) << "there is none: it begins";
  Add(session, "event");
  int was_live = 0;
  ASSERT_EQ(agx_cancel(session.get(), &was_live), AGX_OK);
  SessionPtr second = OpenSession(other_);
  ASSERT_EQ(agx_start(second.get(), &keep), AGX_OK);
  EXPECT_THAT(Stored(second), ElementsAre("begin", "event"));
  EXPECT_TRUE(IsLive(session));
  agx_start_options alone = AGX_START_OPTIONS_INIT;
  alone.keep = 1;
  EXPECT_EQ(agx_start(OpenSession(client_, "t").get(), &alone), AGX_EINVAL);
}

// --- The wire

class CapiStreamWire : public OnRedis {
 protected:
  int64_t Ttl(const std::string& key) const { return std::stoll(Raw({"PTTL", key})); }
  // The fields of a stream's entries, in turn.
  std::string Entries(const std::string& key) const {
    std::string text;
    RespConnection connection = server_.Connect();
    return connection.Command({"XRANGE", key, "-", "+"});
  }
};

TEST_F(CapiStreamWire, OpenAiEntriesAreAsItsReadersExpectThem) {
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  int64_t before = std::stoll(Raw({"TIME"}).substr(1));
  EXPECT_EQ(agx_add(session.get(), "token", "openai-agents", R"({"token": "Hi"})", nullptr),
            AGX_OK);
  std::string entries = Entries("out");
  EXPECT_THAT(entries, HasSubstr("[type, token, timestamp, "));
  EXPECT_THAT(entries, HasSubstr(R"(, data, {"token": "Hi"}]])"));
  size_t at = entries.find("timestamp, ") + 11;
  double timestamp = std::stod(entries.substr(at));
  EXPECT_GE(timestamp, static_cast<double>(before) - 1);
  EXPECT_LE(timestamp, static_cast<double>(before) + 60);
  EXPECT_EQ(Raw({"DBSIZE"}), "1") << "no flag, no group";
}

TEST_F(CapiStreamWire, OpenAiStreamsAreBounded) {
  auto logged = [&](const SessionPtr& session) {
    RespConnection monitor = server_.Connect();
    EXPECT_EQ(monitor.Command({"MONITOR"}), "OK");
    Add(session, "token");
    std::string line;
    while (line.find("XADD") == std::string::npos) line = monitor.Read();
    return line;
  };
  EXPECT_THAT(logged(OpenStream(client_, "a", "openai-agents")),
              HasSubstr(R"("MAXLEN" "~" "10000")"));
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.max_length = 7;
  EXPECT_THAT(logged(OpenStream(client_, "a", "openai-agents", options)),
              HasSubstr(R"("MAXLEN" "~" "7")"));
  EXPECT_THAT(logged(OpenStream(Open("max_length=8"), "a", "openai-agents")),
              HasSubstr(R"("MAXLEN" "~" "8")"));
}

TEST_F(CapiStreamWire, OpenAiPublishersAreFollowed) {
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  Raw({"XGROUP", "CREATE", "out", "agents", "0", "MKSTREAM"});
  ListenerPtr listener = Listen(session);
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  Raw({"XADD", "out", "MAXLEN", "~", "10000", "*", "type", "token", "timestamp", "1734649123.25",
       "data", R"({"token": "Hi"})", "metadata", R"({"a": 1})"});
  Told told = next.Get();
  EXPECT_EQ(told.text(), "token");
  EXPECT_EQ(told.origin(), "openai-agents");
  EXPECT_EQ(told.body(), R"({"token": "Hi"})");
  EXPECT_EQ(FieldOf(told, "timestamp"), "1734649123.25");
  EXPECT_EQ(FieldOf(told, "metadata"), R"({"a": 1})");
}

TEST_F(CapiStreamWire, StartingAnOpenAiStreamLeavesItAndItsExpiry) {
  Raw({"XADD", "out", "*", "type", "token"});
  Raw({"EXPIRE", "out", "100"});
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(Raw({"TYPE", "out:live"}), "string");
  EXPECT_EQ(Raw({"XLEN", "out"}), "1");
  EXPECT_GT(Ttl("out"), 90000);
  ASSERT_EQ(agx_stop(session.get(), 0), AGX_OK);
  EXPECT_EQ(Raw({"EXISTS", "out:live"}), "0");
  EXPECT_EQ(Raw({"XLEN", "out"}), "1");
  EXPECT_GT(Ttl("out"), 90000);
}

TEST_F(CapiStreamWire, ACancelBeforeTheFirstEntryIsNoLossOfData) {
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  Raw({"GETDEL", "out:live"});
  EXPECT_EQ(agx_wait_canceled(session.get(), kPatienceMs), AGX_OK);
}

TEST_F(CapiStreamWire, AFlushIsNoCancelOnceThereWasAnEntry) {
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  agx_start_options options = Leased(1000);
  ASSERT_EQ(agx_start(session.get(), &options), AGX_OK);
  Add(session, "token");
  Raw({"FLUSHALL"});
  EXPECT_TRUE(WaitUntil([&] { return Raw({"EXISTS", "out:live"}) == "1"; }));
  EXPECT_EQ(agx_is_canceled(session.get()), 0);
}

TEST_F(CapiStreamWire, AgentEntriesAreAsItsReadersExpectThem) {
  SessionPtr session = OpenStream(client_, "conv", "agent-framework");
  ASSERT_EQ(agx_start(session.get(), nullptr), AGX_OK);
  EXPECT_EQ(AddText(session, "Hi"), AGX_OK);
  EXPECT_GT(Ttl("agent-stream:conv"), 590000);
  EXPECT_LE(Ttl("agent-stream:conv"), 600000);
  Raw({"PERSIST", "agent-stream:conv"});
  EXPECT_EQ(agx_stop(session.get(), -1), AGX_OK);
  EXPECT_GT(Ttl("agent-stream:conv"), 590000) << "each entry renews it";
  std::string entries = Entries("agent-stream:conv");
  EXPECT_THAT(entries, HasSubstr("[text, Hi, sequence, 0, timestamp, 1"));
  EXPECT_THAT(entries, HasSubstr("[text, , sequence, 1, timestamp, 1"));
  EXPECT_THAT(entries, HasSubstr(", done, true]]"));
}

TEST_F(CapiStreamWire, AgentEntriesExpireAsWanted) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.expire_ms = 5000;
  options.max_length = 1;
  SessionPtr session = OpenStream(client_, "conv", "agent-framework", options);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(AddText(session, "Hi"), AGX_OK);
  EXPECT_GT(Ttl("agent-stream:conv"), 0);
  EXPECT_LE(Ttl("agent-stream:conv"), 5000);
  EXPECT_LT(std::stoll(Raw({"XLEN", "agent-stream:conv"})), 300);
}

TEST_F(CapiStreamWire, AgentEntriesFromOutsideTakeNoNumber) {
  auto write = [&](const char* sequence, const char* done = "false") {
    Raw({"XADD", "agent-stream:conv", "*", "text", "x", "sequence", sequence, "done", done});
  };
  SessionPtr session = OpenStream(client_, "conv", "agent-framework");
  ListenerPtr listener = Listen(session);
  write("-1");
  EXPECT_EQ(AddText(session, "none before"), AGX_OK);
  write("6");
  write("-1");
  EXPECT_EQ(AddText(session, "behind it"), AGX_OK);
  for (int i = 0; i < 15; ++i) write("-1");
  EXPECT_EQ(AddText(session, "behind some"), AGX_OK);
  for (int i = 0; i < 300; ++i) write("-1");
  EXPECT_EQ(AddText(session, "behind many"), AGX_OK);
  std::vector<std::string> numbers;
  for (int i = 0; i < 322; ++i) {
    std::string number = FieldOf(Next(listener), "sequence");
    if (number != "-1") numbers.push_back(number);
  }
  EXPECT_THAT(numbers, ElementsAre("0", "6", "7", "8", "9"));
  write("7");
  write("-1", "true");
  write("-1");
  EXPECT_EQ(AddText(session, "another run"), AGX_OK);
  EXPECT_THAT(Raw({"XREVRANGE", "agent-stream:conv", "+", "-", "COUNT", "1"}),
              HasSubstr("another run, sequence, 0,"));
}

TEST_F(CapiStreamWire, AgentWritersAreFollowedToTheirEnd) {
  SessionPtr session = OpenStream(client_, "conv", "agent-framework");
  auto write = [&](const std::string& text, const std::string& sequence, bool done) {
    std::vector<std::string> command = {"XADD",         "agent-stream:conv", "*",      "text",
                                        text,           "sequence",          sequence, "timestamp",
                                        "1734649123007"};
    if (done) command.insert(command.end(), {"done", "true"});
    Raw(command);
    Raw({"EXPIRE", "agent-stream:conv", "600"});
  };
  write("Hel", "0", false);
  ListenerPtr listener = Listen(session);
  EXPECT_THAT(Next(listener).body(), HasSubstr(R"("content_delta":"Hel")"));
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  write("lo", "1", false);
  Told told = next.Get();
  EXPECT_EQ(FieldOf(told, "text"), "lo");
  EXPECT_EQ(FieldOf(told, "timestamp"), "1734649123007");
  std::string cursor = told.id();
  write("", "2", true);
  EXPECT_EQ(Next(listener).text(), "AGX_ENDED");
  EXPECT_THAT(Follow(ListenAfter(session, cursor.c_str())), ElementsAre("AGX_ENDED"));
  Raw({"XADD", "agent-stream:conv", "*", "error", "it broke"});
  EXPECT_THAT(Follow(ListenAfter(session, cursor.c_str())), ElementsAre("AGX_ENDED"));
}

// A process of ag2: it writes the list, then publishes.
class Ag2Process {
 public:
  Ag2Process(RespConnection connection, bool tagged)
      : connection_(std::move(connection)), tagged_(tagged) {}

  void Send(const std::string& element) {
    connection_.Command({"RPUSH", "ag2:stream:s", element});
    std::string payload = tagged_ ? "0f8fad5b-d9cb-469f-a165-70867728950e\x1e" + element : element;
    connection_.Command({"PUBLISH", "ag2:stream:pubsub:s", payload});
  }
  void Send(int number) {
    Send("{\"__type__\": \"my.Event\", \"n\": " + std::to_string(number) + "}");
  }
  void Replace(const std::vector<std::string>& elements) {
    connection_.Command({"MULTI"});
    connection_.Command({"DEL", "ag2:stream:s"});
    for (const std::string& element : elements) {
      connection_.Command({"RPUSH", "ag2:stream:s", element});
    }
    connection_.Command({"EXEC"});
  }

 private:
  RespConnection connection_;
  const bool tagged_;
};

TEST_F(CapiStreamWire, Ag2SendersAreJoinedWithoutAGapOrARepetition) {
  constexpr int kEvents = 3000;
  for (bool tagged : {false, true}) {
    Raw({"DEL", "ag2:stream:s"});
    std::thread sender([&] {
      Ag2Process process(server_.Connect(), tagged);
      for (int i = 0; i < kEvents; ++i) process.Send(i);
    });
    // In the middle of it, at different moments.
    SessionPtr session = OpenStream(client_, "s", "ag2");
    for (int from : {0, 50, 700}) {
      ASSERT_TRUE(WaitUntil([&] { return std::stoi(Raw({"LLEN", "ag2:stream:s"})) >= from; }));
      ListenerPtr listener = Listen(session);
      int expected = 0;
      for (; expected < kEvents; ++expected) {
        Told told = Next(listener);
        if (told.body() !=
            "{\"__type__\": \"my.Event\", \"n\": " + std::to_string(expected) + "}") {
          ADD_FAILURE() << expected << ": " << told.text() << " " << told.body();
          break;
        }
      }
      if (expected < kEvents) break;
    }
    sender.join();
  }
}

TEST_F(CapiStreamWire, Ag2ReadersGetWhatTheyExpect) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  for (int tagged : {0, 1}) {
    options.tagged = tagged;
    options.prefix = "my";
    RespConnection reader = server_.Connect();
    EXPECT_EQ(reader.Command({"SUBSCRIBE", "my:pubsub:s"}), "[subscribe, my:pubsub:s, 1]");
    SessionPtr session = OpenStream(client_, "s", "ag2", options);
    const char* element = R"({"__type__": "my.Event", "n": 1})";
    Add(session, "my.Event", R"({"n": 1})");
    std::string message = reader.Read();
    EXPECT_EQ(Raw({"LINDEX", "my:s", "-1"}), element) << "the list comes first";
    if (tagged == 0) {
      EXPECT_EQ(message, std::string("[message, my:pubsub:s, ") + element + "]");
    } else {
      EXPECT_THAT(message, StartsWith("[message, my:pubsub:s, "));
      size_t separator = message.find('\x1e');
      ASSERT_NE(separator, std::string::npos);
      EXPECT_GT(separator, 30u) << "an instance id is before it";
      EXPECT_EQ(message.substr(separator + 1), std::string(element) + "]");
    }
  }
}

// Versions of ag2 differ in the name, and none reads another's; what is there says which one reads.
TEST_F(CapiStreamWire, AnAg2EventNamesItsClassAsTheListDoes) {
  Ag2Process process(server_.Connect(), false);
  auto last = [&] { return Raw({"LINDEX", "ag2:stream:s", "-1"}); };
  constexpr const char* kOld = R"({"__type__": "autogen.beta.A", "n":1})";
  constexpr const char* kNew = R"({"__event__": "autogen.beta.A", "n":1})";
  SessionPtr session = OpenStream(client_, "s", "ag2");
  Add(session, "autogen.beta.A", R"({"n":1})");
  EXPECT_EQ(last(), kOld) << "nothing says anything";
  for (const char* seen : {kNew, kOld}) {
    process.Send(seen);
    session = OpenStream(client_, "s", "ag2");
    Add(session, "autogen.beta.A", R"({"n":1})");
    EXPECT_EQ(last(), seen);
    std::vector<agx_new_event> many(2, {"autogen.beta.A", "o", R"({"n":1})"});
    EXPECT_EQ(agx_add_many(session.get(), many.data(), many.size(), nullptr, nullptr), AGX_OK);
    EXPECT_EQ(last(), seen);
    session = OpenStream(client_, "s", "ag2");
    for (int round = 0; round < 2; ++round) {
      agx_addition addition = {session.get(), many[0], AGX_OK, {}};
      EXPECT_EQ(agx_add_each(&addition, 1), AGX_OK);
      EXPECT_EQ(last(), seen);
    }
    Add(session, "ag2.A", R"({"n":1})");
    EXPECT_EQ(last(), R"({"__event__": "ag2.A", "n":1})") << "an older one has no such class";
    Add(session, "my.A", seen == kNew ? R"({"__type__": "my.A"})" : R"({"__event__": "my.A"})");
    EXPECT_THAT(last(), HasSubstr(seen == kNew ? "__type__" : "__event__")) << "as was asked for";
  }
  process.Send("\x80\x04\x95pickle");
  session = OpenStream(client_, "s", "ag2");
  EXPECT_EQ(agx_add(session.get(), "my.A", "o", nullptr, nullptr), AGX_EUNSUPPORTED);
  EXPECT_THAT(agx_last_error(), HasSubstr("PICKLE"));
}

TEST_F(CapiStreamWire, WhoeverMayNotPublishAddsNothing) {
  Raw({"ACL", "SETUSER", "mute", "on", ">p", "~*", "&none", "+@all"});
  ClientPtr client = OpenClient("redis://mute:p@127.0.0.1:" + std::to_string(server_.port()));
  SessionPtr session = OpenStream(client, "s", "ag2");
  EXPECT_EQ(agx_add(session.get(), "my.Event", "o", nullptr, nullptr), AGX_EDENIED);
  EXPECT_EQ(Raw({"EXISTS", "ag2:stream:s"}), "0");
  // Nor is a copy further on.
  agx_new_event events[] = {{"my.Event", "o", nullptr}, {"my.Event", "o", nullptr}};
  EXPECT_EQ(agx_add_checked(session.get(), events, 2, "x", "", "1"), AGX_EDENIED);
  EXPECT_EQ(Raw({"EXISTS", "ag2:stream:s", "ag2:stream:s:from"}), "0");
  SessionPtr other = OpenStream(client_, "s", "ag2");
  EXPECT_EQ(agx_add_checked(other.get(), events, 2, "x", "", "1"), AGX_OK);
  EXPECT_EQ(agx_add_checked(session.get(), events, 2, "x", "1", "2"), AGX_EDENIED);
  EXPECT_EQ(Raw({"LLEN", "ag2:stream:s"}), "2");
  EXPECT_EQ(Raw({"HGET", "ag2:stream:s:from", "x"}), "1");
}

// Whoever gave the stream its expiry, or took it away.
TEST_F(CapiStreamWire, ACheckpointLivesAsLongAsItsStream) {
  const std::string key = "agx:1:2:s";
  SessionPtr session = OpenSession(client_);
  agx_new_event event = {"t", "o", nullptr};
  int position = 0;
  auto move = [&](size_t count) {
    std::string from = position == 0 ? "" : std::to_string(position);
    std::string to = std::to_string(++position);
    EXPECT_EQ(agx_add_checked(session.get(), &event, count, "x", from.c_str(), to.c_str()), AGX_OK)
        << agx_last_error();
  };
  move(1);
  EXPECT_EQ(Ttl(key), -1);
  EXPECT_EQ(Ttl(key + ":from"), -1);
  for (size_t count : {1, 0}) {
    Raw({"PEXPIRE", key, "600000"});
    move(count);
    EXPECT_GT(Ttl(key + ":from"), 500000);
    EXPECT_LE(Ttl(key + ":from"), 600000);
    EXPECT_LE(Ttl(key), 600000);
    EXPECT_EQ(Raw({"PERSIST", key}), "1");
    move(count);
    EXPECT_EQ(Ttl(key), -1);
    EXPECT_EQ(Ttl(key + ":from"), -1);
  }
}

// What adds nothing is no sign of life.
TEST_F(CapiStreamWire, ACheckpointThatMovesAloneRenewsNoExpiry) {
  const std::string key = "agent-stream:conv";
  SessionPtr session = OpenStream(client_, "conv", "agent-framework");
  agx_new_event event = {"event", "o", R"({"text":"Hi"})"};
  EXPECT_EQ(agx_add_checked(session.get(), &event, 1, "x", "", "1"), AGX_OK);
  EXPECT_GT(Ttl(key), 500000);
  EXPECT_GT(Ttl(key + ":from"), 500000);
  Raw({"PEXPIRE", key, "100000"});
  EXPECT_EQ(agx_add_checked(session.get(), nullptr, 0, "x", "1", "2"), AGX_OK);
  EXPECT_LE(Ttl(key), 100000);
  EXPECT_LE(Ttl(key + ":from"), 100000);
  EXPECT_GT(Ttl(key + ":from"), 0);
}

TEST_F(CapiStreamWire, AReplacedHistoryOfAg2IsAGapAndThenWhatThereIs) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  Ag2Process process(server_.Connect(), true);
  process.Send(1);
  process.Send(2);
  ListenerPtr listener = Listen(session);
  Next(listener);
  Next(listener);
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  process.Replace({R"({"__type__": "my.Summary"})", R"({"__type__": "my.Last"})"});
  EXPECT_EQ(next.Get().text(), "AGX_GAP");
  EXPECT_EQ(Next(listener).text(), "my.Summary");
  EXPECT_EQ(Next(listener).text(), "my.Last");
  Background<Told> dropped([&] { return Next(listener); });
  dropped.AwaitBlocked();
  Raw({"DEL", "ag2:stream:s"});
  EXPECT_EQ(dropped.Get().text(), "AGX_GAP");
  process.Send(3);
  EXPECT_EQ(Next(listener).text(), "my.Event");
}

TEST_F(CapiStreamWire, APickleIsRefusedAndPassedOver) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  Ag2Process process(server_.Connect(), true);
  process.Send(1);
  process.Send("\x80\x04\x95pickle");
  process.Send("no JSON");
  process.Send(2);
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).text(), "my.Event");
  Told refused = Next(listener);
  EXPECT_EQ(refused.status, AGX_EUNSUPPORTED);
  EXPECT_THAT(refused.error, HasSubstr("PICKLE"));
  EXPECT_THAT(refused.error, HasSubstr("the entry 2-"));
  EXPECT_EQ(Next(listener).body(), "no JSON");
  EXPECT_EQ(Next(listener).text(), "my.Event");
  // Nor is it lost among events that come together.
  agx_event* events[4] = {};
  size_t count = 0;
  ListenerPtr together = Listen(session);
  std::vector<std::string> told;
  for (int call = 0; call < 3; ++call) {
    agx_status status =
        agx_listen_next_many(together.get(), kPatienceMs, events, std::size(events), &count);
    told.push_back(status == AGX_OK ? std::to_string(count) : agx_status_string(status));
    for (size_t i = 0; status == AGX_OK && i < count; ++i) agx_event_free(events[i]);
  }
  EXPECT_THAT(told, ElementsAre("1", "AGX_EUNSUPPORTED", "2"));
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  std::string behind;
  for (size_t expected : {1u, 0u, 2u}) {
    agx_status status = agx_history_read(session.get(), &options, events, 4, &count);
    EXPECT_EQ(status, expected == 0 ? AGX_EUNSUPPORTED : AGX_OK);
    ASSERT_EQ(count, expected);
    behind = count == 0 ? agx_last_error_entry() : agx_event_id(events[count - 1], nullptr);
    options.after = behind.c_str();
    for (size_t i = 0; i < count; ++i) agx_event_free(events[i]);
  }
  EXPECT_EQ(agx_history_read(session.get(), &options, events, 4, &count), AGX_ENDED);
}

// Each is another, and is told.
TEST_F(CapiStreamWire, ASubscriptionIsToldOfEachPickle) {
  SessionPtr session = OpenStream(client_, "s", "ag2");
  Ag2Process process(server_.Connect(), true);
  process.Send(1);
  for (int i = 0; i < 10; ++i) process.Send("\x80\x04\x95pickle");
  process.Send(2);
  struct Heard {
    std::mutex mutex;
    std::vector<std::string> entries;
    static void Note(agx_subscription* /*subscription*/, agx_status outcome, const agx_event* event,
                     void* data) {
      auto* heard = static_cast<Heard*>(data);
      std::lock_guard lock(heard->mutex);
      if (event != nullptr) heard->entries.emplace_back(agx_event_id(event, nullptr));
      if (outcome == AGX_EUNSUPPORTED) heard->entries.emplace_back(agx_last_error_entry());
    }
    size_t count() {
      std::lock_guard lock(mutex);
      return entries.size();
    }
  } heard;
  agx_subscription* opened = nullptr;
  ASSERT_EQ(agx_subscribe(session.get(), nullptr, nullptr, Heard::Note, &heard, &opened), AGX_OK);
  SubscriptionPtr subscription(opened);
  EXPECT_TRUE(WaitUntil([&] { return heard.count() >= 12; }));
  subscription.reset();
  std::set<std::string> each(heard.entries.begin(), heard.entries.end());
  EXPECT_EQ(heard.entries.size(), 12u);
  EXPECT_EQ(each.size(), 12u);
}

TEST_F(CapiStreamWire, ListsAreFollowedWithoutTracking) {
  Raw({"ACL", "SETUSER", "plain", "on", ">p", "~*", "&*", "+@all", "-client|tracking"});
  ClientPtr client = OpenClient("redis://plain:p@127.0.0.1:" + std::to_string(server_.port()));
  SessionPtr session = OpenStream(client, "s", "ag2");
  ListenerPtr listener = Listen(session);
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  Ag2Process process(server_.Connect(), false);
  process.Send(1);
  EXPECT_EQ(next.Get().text(), "my.Event");
  process.Replace({R"({"__type__": "my.Other"})"});
  EXPECT_EQ(Next(listener).text(), "AGX_GAP") << "of the same length";
  EXPECT_EQ(Next(listener).text(), "my.Other");
}

TEST_F(CapiStreamWire, AFlushUnderAWaitingReaderIsSurvived) {
  SessionPtr session = OpenStream(client_, "out", "openai-agents");
  Raw({"XADD", "out", "*", "type", "one"});
  ListenerPtr listener = Listen(session);
  EXPECT_EQ(Next(listener).text(), "one");
  Background<Told> next([&] { return Next(listener); });
  next.AwaitBlocked();
  Raw({"FLUSHALL"});
  Raw({"XADD", "out", "*", "type", "two"});
  Told told = next.Get();
  if (told.status == AGX_GAP) told = Next(listener);
  EXPECT_EQ(told.text(), "two");
}

TEST_F(CapiStreamWire, KeysOfOtherTypesAreErrors) {
  Raw({"SET", "out", "text"});
  Raw({"RPUSH", "agent-stream:c", "x"});
  EXPECT_EQ(agx_add(OpenStream(client_, "out", "openai-agents").get(), "t", "o", nullptr, nullptr),
            AGX_ETYPE);
  EXPECT_EQ(AddText(OpenStream(client_, "c", "agent-framework"), "x"), AGX_ETYPE);
  EXPECT_EQ(agx_start(OpenStream(client_, "c", "agent-framework").get(), nullptr), AGX_ETYPE);
}

}  // namespace
}  // namespace agx::test
