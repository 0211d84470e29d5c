// Options structs of callers that were built with an older, this, or a newer header.
#include "base/options.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace agx {
namespace {

const agx_listen_options kDefaults = AGX_LISTEN_OPTIONS_INIT;

// An options struct of any size, in a buffer of just that size: AddressSanitizer sees what is read
// beyond it. Its known part begins as the defaults, the rest as zeros.
class Given {
 public:
  explicit Given(size_t size) : Given(size, size) {}
  Given(size_t size, size_t room) : bytes_(room) {
    std::memcpy(bytes_.data(), &kDefaults, std::min(room, sizeof(kDefaults)));
    std::memcpy(bytes_.data(), &size, std::min(room, sizeof(size)));
  }

  template <class Value>
  void Set(size_t offset, Value value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof(value));
  }

  Status Read(agx_listen_options* out) const {
    return ReadOptions(reinterpret_cast<const agx_listen_options*>(bytes_.data()), kDefaults, out);
  }

 private:
  std::vector<char> bytes_;
};

TEST(ReadOptions, NullIsTheDefaults) {
  agx_listen_options out;
  ASSERT_TRUE(ReadOptions<agx_listen_options>(nullptr, kDefaults, &out).ok());
  EXPECT_EQ(out.size, sizeof(out));
  EXPECT_EQ(out.wait_ms, 3000);
  EXPECT_EQ(out.timeout_ms, 60000);
}

TEST(ReadOptions, TakesWhatIsGiven) {
  agx_listen_options given = AGX_LISTEN_OPTIONS_INIT;
  given.after = "new";
  given.wait_ms = -1;
  given.limit = 7;
  agx_listen_options out;
  ASSERT_TRUE(ReadOptions(&given, kDefaults, &out).ok());
  EXPECT_STREQ(out.after, "new");
  EXPECT_EQ(out.wait_ms, -1);
  EXPECT_EQ(out.timeout_ms, 60000);
  EXPECT_EQ(out.limit, 7);
}

TEST(ReadOptions, AnOlderStructGetsTheDefaultsForWhatItLacks) {
  size_t older = offsetof(agx_listen_options, timeout_ms);
  Given given(older);
  given.Set(offsetof(agx_listen_options, wait_ms), int64_t{5});
  agx_listen_options out;
  ASSERT_TRUE(given.Read(&out).ok());
  EXPECT_EQ(out.size, sizeof(out)) << "what is read is whole";
  EXPECT_EQ(out.wait_ms, 5);
  EXPECT_EQ(out.timeout_ms, 60000);
  EXPECT_EQ(out.limit, 0);
}

TEST(ReadOptions, TheSizeAloneIsAStruct) {
  agx_listen_options out;
  ASSERT_TRUE(Given(sizeof(size_t)).Read(&out).ok());
  EXPECT_EQ(out.wait_ms, 3000);
}

TEST(ReadOptions, ANewerStructIsTakenIfWhatIsUnknownIsZero) {
  for (size_t more : {size_t{8}, size_t{64}, 64 * 1024 - sizeof(agx_listen_options)}) {
    Given given(sizeof(agx_listen_options) + more);
    given.Set(offsetof(agx_listen_options, limit), int64_t{3});
    agx_listen_options out;
    ASSERT_TRUE(given.Read(&out).ok()) << more;
    EXPECT_EQ(out.limit, 3);
    EXPECT_EQ(out.size, sizeof(out));
  }
}

TEST(ReadOptions, ANewerStructThatSetsWhatIsUnknownIsRefused) {
  size_t newer = sizeof(agx_listen_options) + 16;
  for (size_t at = sizeof(agx_listen_options); at < newer; ++at) {
    Given given(newer);
    given.Set(at, char{1});
    agx_listen_options out;
    Status status = given.Read(&out);
    EXPECT_EQ(status.code(), AGX_EINVAL);
    EXPECT_NE(status.message().find("agx_listen_options"), std::string::npos) << status.message();
    EXPECT_EQ(out.wait_ms, 3000);
  }
}

TEST(ReadOptions, SizesThatNoHeaderHasAreRefused) {
  // Zero and small ones, ones that end within a field, ones that were never set.
  for (size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{9}, size_t{12}, size_t{23},
                      sizeof(agx_listen_options) + 1, size_t{64 * 1024 + 8}, SIZE_MAX}) {
    agx_listen_options out;
    Status status = Given(size, 4096).Read(&out);
    EXPECT_EQ(status.code(), AGX_EINVAL) << size;
    EXPECT_EQ(status.message(),
              Cat("agx_listen_options.size is ", size, ": start from AGX_LISTEN_OPTIONS_INIT"));
    EXPECT_EQ(out.wait_ms, 3000);
  }
}

TEST(ReadOptions, NamesEveryStruct) {
  agx_options options{}, out;
  EXPECT_EQ(ReadOptions(&options, options, &out).message(),
            "agx_options.size is 0: start from AGX_OPTIONS_INIT");
  agx_start_options start{}, start_out;
  EXPECT_EQ(ReadOptions(&start, start, &start_out).message(),
            "agx_start_options.size is 0: start from AGX_START_OPTIONS_INIT");
}

}  // namespace
}  // namespace agx
