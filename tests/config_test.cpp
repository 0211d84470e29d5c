// What agx_open's URL and options mean.
#include "base/config.h"

#include <gtest/gtest.h>

#include <climits>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace agx {
namespace {

using std::string;

Config Resolve(const char* url, const agx_options* options = nullptr) {
  Result<Config> config = ResolveConfig(url, options);
  EXPECT_TRUE(config.ok()) << url << ": " << config.status().message();
  return config.ok() ? *config : Config{};
}

// The message of the refusal; "" if there was none.
string Refused(const char* url, const agx_options* options = nullptr) {
  Result<Config> config = ResolveConfig(url, options);
  if (config.ok()) return "";
  EXPECT_EQ(config.status().code(), AGX_EINVAL);
  EXPECT_NE(config.status().message(), "");
  return config.status().message();
}

string Refused(const string& url) { return Refused(url.c_str()); }

void ExpectContains(const string& text, const string& part) {
  EXPECT_NE(text.find(part), string::npos) << "\"" << part << "\" in: " << text;
}

agx_options Options() { return AGX_OPTIONS_INIT; }

class Environment {
 public:
  explicit Environment(const char* url) { setenv("AGX_URL", url, 1); }
  ~Environment() { unsetenv("AGX_URL"); }
};

TEST(Url, WithoutAnythingTheDefaultsOfAgxH) {
  unsetenv("AGX_URL");
  Config config = Resolve(nullptr);
  EXPECT_EQ(config.kind, StoreKind::kRedis);
  EXPECT_EQ(config.host, "127.0.0.1");
  EXPECT_EQ(config.port, 6379);
  EXPECT_EQ(config.database, 0);
  EXPECT_EQ(config.user, "");
  EXPECT_EQ(config.password, "");
  EXPECT_FALSE(config.tls);
  EXPECT_FALSE(config.tls_insecure);
  EXPECT_EQ(config.prefix, "agx");
  EXPECT_EQ(config.client_name, "agx");
  EXPECT_EQ(config.connect_timeout_ms, 5000);
  EXPECT_EQ(config.command_timeout_ms, 10000);
  EXPECT_EQ(config.reconnect_timeout_ms, 10000);
  EXPECT_EQ(config.reconnect_attempts, 20);
  EXPECT_EQ(config.lease_ms, 15000);
  EXPECT_EQ(config.max_length, 0);
  EXPECT_EQ(config.expire_ms, 0);
  EXPECT_EQ(config.log, nullptr);
}

TEST(Url, NullIsTheEnvironments) {
  Environment environment("redis://elsewhere:7000/3");
  EXPECT_EQ(Resolve(nullptr).host, "elsewhere");
  EXPECT_EQ(Resolve("redis://here").host, "here");
}

TEST(Url, AnEmptyEnvironmentIsNone) {
  Environment environment("");
  EXPECT_EQ(Resolve(nullptr).host, "127.0.0.1");
}

TEST(Url, MessagesSayThatTheEnvironmentIsWrong) {
  Environment environment("redis://host:port");
  ExpectContains(Refused(nullptr), "$AGX_URL: the port");
}

TEST(Url, HostPortAndDatabase) {
  struct {
    const char* url;
    const char* host;
    int port;
    int database;
  } cases[] = {
      {"redis://example.com", "example.com", 6379, 0},
      {"redis://example.com/", "example.com", 6379, 0},
      {"redis://example.com:1", "example.com", 1, 0},
      {"redis://example.com:65535/15", "example.com", 65535, 15},
      {"redis://example.com/2147483647", "example.com", 6379, 2147483647},
      {"redis://example.com?prefix=x", "example.com", 6379, 0},
      {"redis://example.com:7000?prefix=x", "example.com", 7000, 0},
      {"redis://example.com/4?prefix=x", "example.com", 6379, 4},
      {"redis://10.0.0.1:7000", "10.0.0.1", 7000, 0},
      {"redis://my_redis-1.local.", "my_redis-1.local.", 6379, 0},
      {"REDIS://Example.com", "Example.com", 6379, 0},
      // No host is this one.
      {"redis://", "127.0.0.1", 6379, 0},
      {"redis:///2", "127.0.0.1", 6379, 2},
      {"redis://:7000/2", "127.0.0.1", 7000, 2},
      {"redis://?prefix=x", "127.0.0.1", 6379, 0},
      {"redis://:secret@:7000", "127.0.0.1", 7000, 0},
      // IPv6.
      {"redis://[::1]", "::1", 6379, 0},
      {"redis://[2001:db8::1]:7000/1", "2001:db8::1", 7000, 1},
      {"redis://user:pass@[::ffff:10.0.0.1]:7000", "::ffff:10.0.0.1", 7000, 0},
      {"redis://[fe80::1%25eth0]/1", "fe80::1%eth0", 6379, 1},
      // Percent-encoded.
      {"redis://example.com/%31%32", "example.com", 6379, 12},
  };
  for (const auto& c : cases) {
    Config config = Resolve(c.url);
    EXPECT_EQ(config.kind, StoreKind::kRedis) << c.url;
    EXPECT_EQ(config.host, c.host) << c.url;
    EXPECT_EQ(config.port, c.port) << c.url;
    EXPECT_EQ(config.database, c.database) << c.url;
    EXPECT_FALSE(config.tls) << c.url;
  }
}

TEST(Url, UserAndPassword) {
  struct {
    const char* url;
    const char* user;
    const char* password;
  } cases[] = {
      {"redis://host", "", ""},
      {"redis://@host", "", ""},
      {"redis://:secret@host", "", "secret"},
      {"redis://bob@host", "bob", ""},
      {"redis://bob:secret@host", "bob", "secret"},
      {"redis://bob:@host", "bob", ""},
      {"redis://bob:a:b@host", "bob", "a:b"},
      {"redis://bob:a@b@host", "bob", "a@b"},
      {"redis://b%3Ab:%40%2F%3F%23%25%20%C3%A9@host", "b:b", "@/?#% é"},
      {"redis://bob:p+q@host", "bob", "p+q"},
  };
  for (const auto& c : cases) {
    Config config = Resolve(c.url);
    EXPECT_EQ(config.user, c.user) << c.url;
    EXPECT_EQ(config.password, c.password) << c.url;
    EXPECT_EQ(config.host, "host") << c.url;
  }
}

TEST(Url, OptionsGiveTheUserAndPasswordThatItLacks) {
  agx_options options = Options();
  options.user = "carol";
  options.password = "other";
  struct {
    const char* url;
    const char* user;
    const char* password;
  } cases[] = {
      {"redis://host", "carol", "other"},
      {"redis://bob@host", "bob", "other"},
      {"redis://:secret@host", "carol", "secret"},
      {"redis://bob:secret@host", "bob", "secret"},
      {"redis://host?user=dave", "dave", "other"},
      {"redis://:secret@host?user=dave", "dave", "secret"},
      {"unix:///run/redis.sock", "carol", "other"},
      {"unix:///run/redis.sock?user=dave", "dave", "other"},
  };
  for (const auto& c : cases) {
    Config config = Resolve(c.url, &options);
    EXPECT_EQ(config.user, c.user) << c.url;
    EXPECT_EQ(config.password, c.password) << c.url;
  }
}

TEST(Url, UnixSockets) {
  Config config = Resolve("unix:///run/redis%20server/re%23dis.sock?db=3&prefix=p");
  EXPECT_EQ(config.kind, StoreKind::kUnix);
  EXPECT_EQ(config.path, "/run/redis server/re#dis.sock");
  EXPECT_EQ(config.database, 3);
  EXPECT_EQ(config.prefix, "p");
  EXPECT_EQ(Resolve("unix:///s").path, "/s");
  EXPECT_EQ(Resolve(("unix:///" + string(106, 'p')).c_str()).path.size(), 107u);
}

TEST(Url, MemoryStores) {
  EXPECT_EQ(Resolve("memory:").kind, StoreKind::kMemory);
  EXPECT_EQ(Resolve("memory:").name, "");
  EXPECT_EQ(Resolve("memory:tests").name, "tests");
  EXPECT_EQ(Resolve("memory:a%3Fb/c:d").name, "a?b/c:d");
  EXPECT_EQ(Resolve("memory:x?lease=500").lease_ms, 500);
  EXPECT_EQ(Resolve("memory:?lease=500").name, "");
}

TEST(Url, Tls) {
  Config config =
      Resolve("rediss://example.com/1?tls_ca=%2Fetc%2Fca.pem&tls_cert=/c.pem&tls_key=/k.pem");
  EXPECT_TRUE(config.tls);
  EXPECT_FALSE(config.tls_insecure) << "the server's certificate is checked by default";
  EXPECT_EQ(config.port, 6379);
  EXPECT_EQ(config.tls_ca_file, "/etc/ca.pem");
  EXPECT_EQ(config.tls_cert_file, "/c.pem");
  EXPECT_EQ(config.tls_key_file, "/k.pem");
  EXPECT_EQ(config.tls_server_name, "example.com");
  config = Resolve("rediss://10.0.0.1?tls_server_name=redis.internal&tls_insecure=1");
  EXPECT_EQ(config.tls_server_name, "redis.internal");
  EXPECT_TRUE(config.tls_insecure);
  agx_options options = Options();
  options.tls_insecure = 1;
  EXPECT_TRUE(Resolve("rediss://host", &options).tls_insecure);
  EXPECT_FALSE(Resolve("rediss://host?tls_insecure=0", &options).tls_insecure);
}

TEST(Url, ParametersSetWhatOptionsSet) {
  Config config = Resolve(
      "redis://host?prefix=pyaix&client_name=worker-1&user=bob&connect_timeout=1&command_timeout=2&"
      "reconnect_timeout=3&reconnect_attempts=4&lease=500&max_length=6&expire=7");
  EXPECT_EQ(config.prefix, "pyaix");
  EXPECT_EQ(config.client_name, "worker-1");
  EXPECT_EQ(config.user, "bob");
  EXPECT_EQ(config.connect_timeout_ms, 1);
  EXPECT_EQ(config.command_timeout_ms, 2);
  EXPECT_EQ(config.reconnect_timeout_ms, 3);
  EXPECT_EQ(config.reconnect_attempts, 4);
  EXPECT_EQ(config.lease_ms, 500);
  EXPECT_EQ(config.max_length, 6);
  EXPECT_EQ(config.expire_ms, 7);
}

TEST(Url, ParametersWinOverOptions) {
  agx_options options = Options();
  options.prefix = "fromoptions";
  options.lease_ms = 1000;
  options.max_length = 1000;
  Config config = Resolve("redis://host?prefix=a%20%C3%A9%2B&lease=2000&max_length=0", &options);
  EXPECT_EQ(config.prefix, "a é+");
  EXPECT_EQ(config.lease_ms, 2000);
  EXPECT_EQ(config.max_length, 0) << "0 is the default, and the URL says so";
  config = Resolve("redis://host", &options);
  EXPECT_EQ(config.prefix, "fromoptions");
  EXPECT_EQ(config.lease_ms, 1000);
  EXPECT_EQ(config.max_length, 1000);
}

TEST(Url, ParametersMayBeMissingAfterTheQuestionMark) {
  EXPECT_EQ(Resolve("redis://host?").host, "host");
  EXPECT_EQ(Resolve("redis://host?prefix=a&").prefix, "a");
  EXPECT_EQ(Resolve("redis://host?prefix=a=b").prefix, "a=b");
}

TEST(Url, WhatIsMalformedIsRefusedAndThePartNamed) {
  struct {
    string url;
    const char* part;
  } cases[] = {
      {"", "redis://"},
      {"localhost", "redis://"},
      {"localhost:6379", "redis://"},
      {"http://host", "redis://"},
      {"://host", "redis://"},
      {"redis", "redis://"},
      {"redis:", "redis://"},
      {"redis:host", "redis://"},
      {"redis:/host", "redis://"},
      {"unix://run/redis.sock", "unix:///"},
      {"unix:/run/redis.sock", "unix:///"},
      {"unix://", "unix:///"},
      {"unix:///", "socket"},
      {"unix:///run/", "socket"},
      {"unix:///" + string(107, 'p'), "107 bytes"},
      {"memory", "memory:"},
      {"memory://name", "memory:name"},
      {"redis://host:", "port"},
      {"redis://host:0", "port"},
      {"redis://host:65536", "port"},
      {"redis://host:99999999999999999999", "port"},
      {"redis://host:-1", "port"},
      {"redis://host:+1", "port"},
      {"redis://host:6379x", "port"},
      {"redis://host:6379:1", "port"},
      {"redis://::1", "port"},
      {"redis://[::1", "]"},
      {"redis://[::1]6379", "]"},
      {"redis://[]", "IPv6"},
      {"redis://[127.0.0.1]", "IPv6"},
      {"redis://[:::1]", "IPv6"},
      {"redis://[::1%25]", "zone"},
      {"redis://[::1%eth0]", "zone"},
      {"redis://[::1%25a/b]", "]"},
      {"redis://ho%73t", "host"},
      {"redis://h\u00f6st", "host"},
      {"redis://ho$t", "host"},
      {"redis://" + string(256, 'h'), "host"},
      {"redis://host/x", "database"},
      {"redis://host/0x1", "database"},
      {"redis://host/-1", "database"},
      {"redis://host/1/2", "database"},
      {"redis://host/1/", "database"},
      {"redis://host//", "database"},
      {"redis://host/2147483648", "database"},
      {"redis://host/99999999999999999999", "database"},
      {"unix:///s?db=x", "database"},
      {"unix:///s?db=", "database"},
      {"redis://host?db=1", "db"},
      {"memory:?db=1", "db"},
      {"redis://host?prefx=a", "prefx"},
      {"redis://host?password=a", "password"},
      {"redis://host?Prefix=a", "Prefix"},
      {"redis://host?log_level=3", "log_level"},
      {"redis://host?prefix", "name=value"},
      {"redis://host?=a", "name=value"},
      {"redis://host?&prefix=a", "name=value"},
      {"redis://host?prefix=a&prefix=a", "twice"},
      {"redis://bob@host?user=bob", "twice"},
      {"redis://host?tls_ca=/ca.pem", "rediss://"},
      {"redis://host?tls_insecure=0", "rediss://"},
      {"unix:///s?tls_ca=/ca.pem", "rediss://"},
      {"memory:?tls_ca=/ca.pem", "rediss://"},
      {"rediss://host?tls_cert=/c.pem", "tls_key"},
      {"rediss://host?tls_key=/k.pem", "tls_cert"},
      {"rediss://host?tls_insecure=2", "tls_insecure"},
      {"rediss://host?tls_insecure=yes", "tls_insecure"},
      {"rediss://host?tls_ca=", "tls_ca"},
      {"redis://host?prefix=", "prefix"},
      {"redis://host?prefix=" + string(257, 'p'), "prefix"},
      {"redis://host?client_name=", "client_name"},
      {"redis://host?client_name=a%20b", "client_name"},
      {"redis://host?client_name=%C3%A9", "client_name"},
      {"redis://host?lease=", "lease"},
      {"redis://host?lease=99", "lease"},
      {"redis://host?lease=86400001", "lease"},
      {"redis://host?lease=5s", "lease"},
      {"redis://host?lease=1.5", "lease"},
      {"redis://host?lease=+500", "lease"},
      {"redis://host?lease=99999999999999999999", "lease"},
      {"redis://host?connect_timeout=-1", "connect_timeout"},
      {"redis://host?command_timeout=-1", "command_timeout"},
      {"redis://host?reconnect_timeout=-2", "reconnect_timeout"},
      {"redis://host?reconnect_attempts=-1", "reconnect_attempts"},
      {"redis://host?max_length=-1", "max_length"},
      {"redis://host?expire=-1", "expire"},
      // Escapes, and what may not be in a URL or come out of one.
      {"redis://host/%", "path has a '%'"},
      {"redis://host/%3", "path has a '%'"},
      {"redis://host/%3g", "path has a '%'"},
      {"redis://%zz:a@host", "user has a '%'"},
      {"redis://a:%zz@host", "password has a '%'"},
      {"redis://host?prefix=%", "prefix has a '%'"},
      {"memory:%00", "control character"},
      {"memory:a%0Ab", "control character"},
      {"memory:%7F", "control character"},
      {"redis://a%00:b@host", "control character"},
      {"redis://a:b%0D%0A@host", "control character"},
      {"redis://host?prefix=a%1Fb", "control character"},
      {"redis://host\n", "control character"},
      {"memory:%FF", "UTF-8"},
      {"memory:\xFF", "UTF-8"},
      {"redis://host?prefix=%C3", "UTF-8"},
      {"redis://a:%ED%A0%80@host", "UTF-8"},
      {"redis://host /0", "space"},
      {"redis://host/0 ", "space"},
      {"redis://host#0", "'#'"},
      {"redis://host/0?prefix=a@b", "'@'"},
  };
  for (const auto& c : cases) ExpectContains(Refused(c.url), c.part);
}

TEST(Url, AMembersNameThatIsNoParametersHasTheParameterNamed) {
  ExpectContains(Refused("memory:?lease_ms=5"), "no parameter lease_ms, but lease");
  ExpectContains(Refused("memory:?other_ms=5"), "agx_options in agx.h names");
}

TEST(Url, MessagesNeverQuoteAPassword) {
  const string passwords[] = {"hunter2",     "hun/ter2",       "hun?ter2",        "hun#ter2",
                              "hun@ter2",    "hun ter2",       "hun%ter2",        "hun/ter2?hun=er",
                              "12/hun",      "hun?prefix=hun", "hun:ter2",        "hun%00",
                              "hun%FF",      "[hun",           "hun?hun=hun&hun", "6379/hun",
                              "@/hun?hun=1", "hun\n",          "hun\xff"};
  const string rests[] = {"host",         "host:port", "host/db",      "host?no=1",
                          "host?lease=1", "[::1",      "host?prefix=", "",
                          "h$st",         "host#",     "host/%"};
  for (const string& password : passwords) {
    for (const string& rest : rests) {
      for (const char* user : {"", "bob"}) {
        string url = string("redis://") + user + ":" + password + "@" + rest;
        Result<Config> config = ResolveConfig(url.c_str(), nullptr);
        string said = config.ok() ? Describe(*config) : config.status().message();
        EXPECT_EQ(said.find("hun"), string::npos) << url << ": " << said;
      }
    }
  }
  agx_options options = Options();
  options.password = "hun\nter2";
  string said = Refused("redis://host", &options);
  ExpectContains(said, "agx_options.password");
  EXPECT_EQ(said.find("hun"), string::npos) << said;
}

TEST(Options, AreTaken) {
  int log_data = 0;
  agx_options options = Options();
  options.prefix = "pyaix";
  options.client_name = "worker";
  options.user = "bob";
  options.password = "secret";
  options.connect_timeout_ms = 1;
  options.command_timeout_ms = 2;
  options.reconnect_timeout_ms = -1;
  options.reconnect_attempts = 4;
  options.lease_ms = 100;
  options.max_length = 6;
  options.expire_ms = 7;
  options.tls_ca_file = "/ca";
  options.tls_cert_file = "/cert";
  options.tls_key_file = "/key";
  options.tls_server_name = "name";
  options.log_level = AGX_LOG_DEBUG;
  options.log = [](void*, agx_log_level, const char*) {};
  options.log_data = &log_data;
  Config config = Resolve("rediss://host", &options);
  EXPECT_EQ(config.prefix, "pyaix");
  EXPECT_EQ(config.client_name, "worker");
  EXPECT_EQ(config.user, "bob");
  EXPECT_EQ(config.password, "secret");
  EXPECT_EQ(config.connect_timeout_ms, 1);
  EXPECT_EQ(config.command_timeout_ms, 2);
  EXPECT_EQ(config.reconnect_timeout_ms, -1);
  EXPECT_EQ(config.reconnect_attempts, 4);
  EXPECT_EQ(config.lease_ms, 100);
  EXPECT_EQ(config.max_length, 6);
  EXPECT_EQ(config.expire_ms, 7);
  EXPECT_EQ(config.tls_ca_file, "/ca");
  EXPECT_EQ(config.tls_cert_file, "/cert");
  EXPECT_EQ(config.tls_key_file, "/key");
  EXPECT_EQ(config.tls_server_name, "name");
  EXPECT_EQ(config.log_level, AGX_LOG_DEBUG);
  EXPECT_EQ(config.log, options.log);
  EXPECT_EQ(config.log_data, &log_data);
}

TEST(Options, ZeroIsTheDefault) {
  agx_options options{};
  options.size = sizeof(options);
  Config config = Resolve("redis://host", &options);
  EXPECT_EQ(config.prefix, "agx");
  EXPECT_EQ(config.lease_ms, 15000);
  EXPECT_EQ(config.reconnect_timeout_ms, 10000);
  EXPECT_EQ(config.reconnect_attempts, 20);
  EXPECT_EQ(config.log_level, AGX_LOG_ERROR);
}

TEST(Options, AnEmptyUserOrPasswordIsNone) {
  agx_options options = Options();
  options.user = "";
  options.password = "";
  EXPECT_EQ(Resolve("redis://host", &options).user, "");
  EXPECT_EQ(Resolve("redis://bob:secret@host", &options).password, "secret");
}

TEST(Options, WithoutTlsThoseOfTlsDoNotMatter) {
  // So that one program can be pointed at a memory: store and at a rediss:// one.
  agx_options options = Options();
  options.tls_ca_file = "/ca";
  EXPECT_FALSE(Resolve("memory:", &options).tls);
  EXPECT_FALSE(Resolve("redis://host", &options).tls);
}

TEST(Options, HugeTimesAreKeptOrNever) {
  agx_options options = Options();
  options.connect_timeout_ms = INT64_MAX;
  options.expire_ms = INT64_MAX;
  Config config = Resolve("redis://host", &options);
  EXPECT_EQ(config.connect_timeout_ms, INT64_MAX);
  EXPECT_EQ(config.expire_ms, 0);
}

template <class Value>
void ExpectRefused(Value agx_options::*member, Value value, const char* part) {
  agx_options options = Options();
  options.*member = value;
  ExpectContains(Refused("rediss://host", &options), part);
}

TEST(Options, WhatIsOutOfRangeIsRefusedAndNamed) {
  using Number = int64_t;
  ExpectRefused<const char*>(&agx_options::prefix, "", "agx_options.prefix");
  ExpectRefused<const char*>(&agx_options::prefix, "a\nb", "agx_options.prefix");
  ExpectRefused<const char*>(&agx_options::prefix, "a\xff", "agx_options.prefix");
  ExpectRefused<const char*>(&agx_options::prefix, string(257, 'p').c_str(), "256");
  ExpectRefused<const char*>(&agx_options::client_name, "", "agx_options.client_name");
  ExpectRefused<const char*>(&agx_options::client_name, "a b", "client_name");
  ExpectRefused<const char*>(&agx_options::user, "a\nb", "agx_options.user");
  ExpectRefused<const char*>(&agx_options::tls_ca_file, "", "agx_options.tls_ca_file");
  ExpectRefused<const char*>(&agx_options::tls_cert_file, "/c", "tls_key");
  ExpectRefused<const char*>(&agx_options::tls_key_file, "/k", "tls_cert");
  ExpectRefused<Number>(&agx_options::connect_timeout_ms, -1, "agx_options.connect_timeout_ms");
  ExpectRefused<Number>(&agx_options::command_timeout_ms, INT64_MIN, "command_timeout_ms");
  ExpectRefused<Number>(&agx_options::reconnect_timeout_ms, -2, "reconnect_timeout_ms");
  ExpectRefused<Number>(&agx_options::reconnect_attempts, -1, "reconnect_attempts");
  ExpectRefused<Number>(&agx_options::lease_ms, 99, "agx_options.lease_ms");
  ExpectRefused<Number>(&agx_options::lease_ms, 86400001, "86400000");
  ExpectRefused<Number>(&agx_options::max_length, -1, "agx_options.max_length");
  ExpectRefused<Number>(&agx_options::expire_ms, -1, "agx_options.expire_ms");
  ExpectRefused<int>(&agx_options::tls_insecure, 2, "agx_options.tls_insecure");
  ExpectRefused<int>(&agx_options::log_level, 4, "agx_options.log_level");
  ExpectRefused<int>(&agx_options::log_level, -1, "agx_options.log_level");
  ExpectRefused<size_t>(&agx_options::size, 3, "AGX_OPTIONS_INIT");
}

TEST(Options, BoundsAreWithin) {
  agx_options options = Options();
  string longest(256, 'p');
  options.prefix = longest.c_str();
  options.lease_ms = 86400000;
  EXPECT_EQ(Resolve("memory:", &options).prefix, longest);
  EXPECT_EQ(Resolve("memory:?lease=100").lease_ms, 100);
}

TEST(Describe, IsTheUrlWithoutUserPasswordAndParameters) {
  struct {
    const char* url;
    const char* described;
  } cases[] = {
      {"redis://", "redis://127.0.0.1:6379"},
      {"redis://bob:secret@host/2?prefix=x", "redis://host:6379/2"},
      {"rediss://host:7000", "rediss://host:7000"},
      {"redis://[::1]", "redis://[::1]:6379"},
      {"redis://[fe80::1%25eth0]", "redis://[fe80::1%25eth0]:6379"},
      {"unix:///run/a%20b%25?db=1&lease=500", "unix:///run/a%20b%25?db=1"},
      {"unix:///s", "unix:///s"},
      {"memory:", "memory:"},
      {"memory:/%2Fx", "memory:%2F/x"},
      {"memory:a%3Fb%23?lease=500", "memory:a%3Fb%23"},
  };
  for (const auto& c : cases) {
    Config config = Resolve(c.url);
    EXPECT_EQ(Describe(config), c.described);
    EXPECT_EQ(Describe(Resolve(c.described)), c.described) << "and is a URL of the same store";
  }
}

}  // namespace
}  // namespace agx
