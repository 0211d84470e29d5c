// What the rows of the benchmark share: the event that is written, the two sides, measures, and turns.
#pragma once

#include <agx.h>
#include <hiredis/hiredis.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

// The event of all rows.
inline constexpr char kType[] = "text-delta";
inline constexpr char kOrigin[] = "agents/writer";
inline constexpr char kBody[] =
    R"({"message":"msg_01H8ZK","index":17,"delta":{"type":"text","text":"and so the two of them went on until it was morning"}})";
inline constexpr size_t kBodySize = sizeof(kBody) - 1;
static_assert(kBodySize >= 112 && kBodySize <= 128);

inline constexpr char kPrefix[] = "bench";

// Stops the server and ends the program; from any thread, the first decides.
[[noreturn]] void End(int status);
// Says why, and ends the program.
[[noreturn]] void Fail(const std::string& why);

// Where the server is.
struct Address {
  std::string host;  // or
  std::string path;  // of a unix socket
  int port = 0;

  std::string Url() const;
};

enum class Side { kBoth, kAgx, kPlain };

struct Options {
  Address address;
  int rounds = 0;
  bool quick = false;
  Side side = Side::kBoth;
  double scale = 1;  // of the work in each round
};

inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void SleepMicros(int64_t micros);
// 1234567 as 1,234,567.
std::string Grouped(uint64_t number);
double Median(std::vector<double> values);

// One number to be reached, and what each round gave.
struct Measure {
  enum class Goal { kAtLeast, kAtMost };

  std::string id;
  std::string work;
  std::string against;  // the opponent; empty: `agx` itself is compared with the target
  std::string unit;
  Goal goal = Goal::kAtLeast;
  double target = 0;  // 0: none
  std::vector<double> agx;
  std::vector<double> plain;

  // Each round's: agx / plain, or agx.
  std::vector<double> Compared() const;
  // At least 1 if the target is reached.
  double Reached() const;
};

struct Row {
  const char* name;
  const char* about;
  std::vector<Measure> (*run)(const Options& options);
};
const std::vector<Row>& Rows();

// Runs both sides in turn, `turns` times each, and gives each side's sum of what its function gave. The side that goes
// first changes with every turn.
struct Sums {
  double agx = 0;
  double plain = 0;
};
Sums TakeTurns(const Options& options, int turns, const std::function<double()>& agx,
               const std::function<double()>& plain);

// --- libagx

void Check(agx_status status, const char* what);

template <class Handle, void (*close)(Handle*)>
struct Closer {
  void operator()(Handle* handle) const { close(handle); }
};
using ClientPtr = std::unique_ptr<agx_client, Closer<agx_client, agx_close>>;
using SessionPtr = std::unique_ptr<agx_session, Closer<agx_session, agx_session_close>>;
using ListenerPtr = std::unique_ptr<agx_listener, Closer<agx_listener, agx_listener_close>>;
using MuxPtr = std::unique_ptr<agx_mux, Closer<agx_mux, agx_mux_close>>;

ClientPtr OpenClient(const Address& address);
// On `memory:`.
ClientPtr OpenMemory();
SessionPtr OpenSession(const ClientPtr& client, const std::string& id);
// Everything from the beginning, without giving up.
ListenerPtr Listen(const SessionPtr& session);
void Add(const SessionPtr& session);

// --- hiredis

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using ReplyPtr = std::unique_ptr<redisReply, FreeReply>;

class Plain {
 public:
  explicit Plain(const Address& address);

  redisContext* get() const { return context_.get(); }
  ReplyPtr Command(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void Add(const std::string& key);
  // Pipelined: `count` events, the i-th to key_of(i).
  void Fill(size_t count, const std::function<std::string(size_t)>& key_of);
  // The value of a field of INFO.
  std::string Info(const char* section, std::string_view field);

 private:
  struct Free {
    void operator()(redisContext* context) const { redisFree(context); }
  };
  std::unique_ptr<redisContext, Free> context_;
};

// A session's stream, as libagx names it.
std::string KeyOf(const std::string& session_id);

}  // namespace bench
