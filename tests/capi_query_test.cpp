// ctest-labels: redis threads
// Queries through the C API: which sessions are live.
#include <algorithm>
#include <set>
#include <tuple>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

using Found = std::tuple<int64_t, int64_t, std::string>;

std::vector<Found> All(const ClientPtr& client, int64_t scope = AGX_ANY, int64_t user = AGX_ANY) {
  agx_query* raw = nullptr;
  EXPECT_EQ(agx_query_open(client.get(), scope, user, &raw), AGX_OK);
  QueryPtr query(raw);
  std::vector<Found> found;
  for (;;) {
    int64_t found_scope = -7;
    int64_t found_user = -7;
    const char* id = "?";
    agx_status status = agx_query_next(raw, &found_scope, &found_user, &id);
    if (status != AGX_OK) {
      EXPECT_EQ(status, AGX_ENDED);
      EXPECT_EQ(found_scope, 0);
      EXPECT_EQ(found_user, 0);
      EXPECT_EQ(id, nullptr);
      EXPECT_EQ(agx_query_next(raw, nullptr, nullptr, nullptr), AGX_ENDED);
      return found;
    }
    found.emplace_back(found_scope, found_user, id);
  }
}

class CapiQuery : public OnEachStore {
 protected:
  void Start(int64_t scope, int64_t user, const std::string& id) {
    sessions_.push_back(OpenSession(client_, id, scope, user));
    ASSERT_EQ(agx_start(sessions_.back().get(), nullptr), AGX_OK) << id;
  }

  std::vector<SessionPtr> sessions_;
};
AGX_ON_EACH_STORE(CapiQuery);

TEST_P(CapiQuery, NothingIsLive) { EXPECT_THAT(All(client_), IsEmpty()); }

TEST_P(CapiQuery, OfAScopeAndUserOfAScopeAndAll) {
  Start(1, 2, "a");
  Start(1, 2, "b");
  Start(1, 3, "c");
  Start(2, 2, "d");
  Start(12, 2, "e");
  Start(1, 22, "f");
  Start(-1, 2, "g");
  Start(INT64_MAX, INT64_MAX, "h");
  Start(INT64_MIN + 1, -5, "i");
  EXPECT_THAT(All(client_, 1, 2), UnorderedElementsAre(Found(1, 2, "a"), Found(1, 2, "b")));
  EXPECT_THAT(All(client_, 1), UnorderedElementsAre(Found(1, 2, "a"), Found(1, 2, "b"),
                                                    Found(1, 3, "c"), Found(1, 22, "f")));
  EXPECT_THAT(All(client_, -1, 2), ElementsAre(Found(-1, 2, "g")));
  EXPECT_THAT(All(client_, 7), IsEmpty());
  EXPECT_THAT(All(other_), SizeIs(9));
  EXPECT_THAT(All(other_),
              IsSupersetOf({Found(INT64_MAX, INT64_MAX, "h"), Found(INT64_MIN + 1, -5, "i")}));
}

TEST_P(CapiQuery, AUserWithoutAScopeIsNotValid) {
  agx_query* query = nullptr;
  EXPECT_EQ(agx_query_open(client_.get(), AGX_ANY, 2, &query), AGX_EINVAL);
  EXPECT_EQ(query, nullptr);
  EXPECT_THAT(agx_last_error(), HasSubstr("scope"));
}

TEST_P(CapiQuery, OnlyWhatIsLive) {
  Start(1, 2, "stopped");
  Start(1, 2, "cancelled");
  Start(1, 2, "live");
  Add(OpenSession(client_, "never started"), "a");
  ASSERT_EQ(agx_stop(sessions_[0].get(), -1), AGX_OK);
  ASSERT_EQ(agx_cancel(sessions_[1].get(), nullptr), AGX_OK);
  agx_start_options leased = Leased(100);
  Started(client_, "dies", &leased).reset();
  EXPECT_TRUE(WaitUntil([&] { return All(client_).size() == 1; }));
  EXPECT_THAT(All(client_, 1, 2), ElementsAre(Found(1, 2, "live")));
}

TEST_P(CapiQuery, AnyIdIsFoundAndNoneWidensIt) {
  const std::vector<std::string> ids = {"a:b",   "*",   "?",    "[",        "[a-z]",
                                        "]",     "\\",  "\\*",  "a\nb",     "a/b",
                                        "\"",    "'",   " ",    "  two  ",  "\xF0\x9F\x98\x80",
                                        ":",     "::",  "a:",   ":live:x",  "live",
                                        "1:2:3", "{a}", "%s%n", "\r\n",     "\t",
                                        "--",    "0",   "-1",   "a:live:b", "\x01\x7f"};
  std::vector<Found> expected;
  for (const std::string& id : ids) {
    Start(1, 2, id);
    expected.emplace_back(1, 2, id);
  }
  Start(1, 3, "other");
  Start(12, 2, "other");
  EXPECT_THAT(All(client_, 1, 2), UnorderedElementsAreArray(expected));
  for (const SessionPtr& session : sessions_) EXPECT_TRUE(IsLive(session));
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(test::Next(Listen(sessions_[i])).type(), "begin") << ids[i];
    ASSERT_EQ(agx_stop(sessions_[i].get(), -1), AGX_OK) << ids[i];
    EXPECT_THAT(All(client_, 1, 2), SizeIs(ids.size() - i - 1));
  }
  EXPECT_THAT(All(client_), SizeIs(2));
}

TEST_P(CapiQuery, TheLongestId) {
  std::string id(AGX_SESSION_ID_MAX, '*');
  Start(1, 2, id);
  EXPECT_THAT(All(client_), ElementsAre(Found(1, 2, id)));
}

TEST_P(CapiQuery, PrefixesAreTakenLiterally) {
  ClientPtr star = Open("prefix=*");
  ClientPtr bracket = Open("prefix=%5Ba-z%5D");
  ClientPtr colon = Open("prefix=agx:1");
  SessionPtr in_agx = Started(client_);
  SessionPtr in_star = Started(star);
  EXPECT_THAT(All(client_), ElementsAre(Found(1, 2, "s")));
  EXPECT_THAT(All(star), ElementsAre(Found(1, 2, "s")));
  EXPECT_THAT(All(bracket), IsEmpty());
  SessionPtr in_bracket = Started(bracket);
  EXPECT_THAT(All(bracket), ElementsAre(Found(1, 2, "s")));
  EXPECT_THAT(All(client_), SizeIs(1));
  SessionPtr in_colon = OpenSession(colon, "t", 2, 3);
  ASSERT_EQ(agx_start(in_colon.get(), nullptr), AGX_OK);
  EXPECT_THAT(All(colon), Contains(Found(2, 3, "t")));
}

TEST_P(CapiQuery, EachOnce) {
  constexpr int kCount = 1500;
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.detached = 1;
  std::vector<Found> expected;
  for (int i = 0; i < kCount; ++i) {
    std::string id = std::to_string(i);
    Started(client_, id, &options).reset();
    expected.emplace_back(1, 2, id);
  }
  std::vector<Found> found = All(client_, 1, 2);
  std::sort(found.begin(), found.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(found, expected);
}

TEST_P(CapiQuery, WhatIsLiveAllTheWhileIsFoundWhileOthersComeAndGo) {
  constexpr int kCount = 300;
  agx_start_options options = AGX_START_OPTIONS_INIT;
  options.detached = 1;
  for (int i = 0; i < kCount; ++i) Started(client_, "stays" + std::to_string(i), &options).reset();
  std::atomic<bool> done{false};
  std::thread churn([&] {
    for (int i = 0; !done; i = (i + 1) % 400) {
      SessionPtr session = OpenSession(other_, "goes" + std::to_string(i));
      if (agx_start(session.get(), &options) == AGX_EBUSY) agx_stop(session.get(), 0);
    }
  });
  for (int round = 0; round < 5; ++round) {
    std::vector<Found> found = All(client_);
    EXPECT_THAT(std::set<Found>(found.begin(), found.end()), SizeIs(found.size()));
    EXPECT_EQ(std::count_if(found.begin(), found.end(),
                            [](const Found& f) { return std::get<2>(f).starts_with("stays"); }),
              kCount);
  }
  done = true;
  churn.join();
}

TEST_P(CapiQuery, AfterItsClientIsClosed) {
  Start(1, 2, "a");
  ClientPtr client = Open();
  agx_query* query = nullptr;
  ASSERT_EQ(agx_query_open(client.get(), AGX_ANY, AGX_ANY, &query), AGX_OK);
  client.reset();
  EXPECT_EQ(agx_query_next(query, nullptr, nullptr, nullptr), AGX_ECLOSED);
  agx_query_close(query);
  EXPECT_EQ(agx_query_next(query, nullptr, nullptr, nullptr), AGX_ECLOSED);
}

class CapiQueryRedis : public OnRedis {};

TEST_F(CapiQueryRedis, WhatOthersWrote) {
  Raw({"SET", "agx:1:2:flag without expiry:live", "1"});
  // None of these is a session's live flag.
  for (const char* key : {"agx:1:2::live", "agx:1:live", "agx:x:2:s:live", "agx:1:2:s:LIVE",
                          "agx:01:2:s:live", "agx:1:2:s:live ", "agx2:1:2:s:live", "agx:1:2:s",
                          "agx:99999999999999999999:2:s:live", "agx:1: 2:s:live"}) {
    Raw({"SET", key, "1"});
  }
  Raw({"SET", std::string("agx:1:2:\xff\xfe:live"), "1"});
  Raw({"RPUSH", "agx:1:2:a list:live", "1"});
  EXPECT_THAT(All(client_), ElementsAre(Found(1, 2, "flag without expiry")));
}

}  // namespace
}  // namespace agx::test
