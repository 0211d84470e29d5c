#include "bench.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace bench {

void End(int status) {
  static std::mutex ending;
  ending.lock();
  std::quick_exit(status);
}

void Fail(const std::string& why) {
  std::fprintf(stderr, "agx-bench: %s\n", why.c_str());
  End(1);
}

std::string Address::Url() const {
  return path.empty() ? "redis://" + host + ":" + std::to_string(port) : "unix://" + path;
}

void SleepMicros(int64_t micros) {
  timespec time{static_cast<time_t>(micros / 1000000), static_cast<long>(micros % 1000000 * 1000)};
  nanosleep(&time, nullptr);
}

std::string Grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t left = digits.size(); left > 3;) {
    left -= 3;
    digits.insert(digits.begin() + static_cast<std::ptrdiff_t>(left), ',');
  }
  return digits;
}

double Median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 != 0) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::vector<double> Measure::Compared() const {
  if (against.empty()) return agx;
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(agx.size(), plain.size()); ++i) {
    ratios.push_back(agx[i] / plain[i]);
  }
  return ratios;
}

double Measure::Reached() const {
  double value = Median(Compared());
  return goal == Goal::kAtLeast ? value / target : target / value;
}

Sums TakeTurns(const Options& options, int turns, const std::function<double()>& agx,
               const std::function<double()>& plain) {
  Sums sums;
  for (int i = 0; i < turns; ++i) {
    for (bool ours : {i % 2 == 0, i % 2 != 0}) {
      if (ours && options.side != Side::kPlain) sums.agx += agx();
      if (!ours && options.side != Side::kAgx) sums.plain += plain();
    }
  }
  return sums;
}

// --- libagx

void Check(agx_status status, const char* what) {
  if (status == AGX_OK) return;
  Fail(std::string(what) + ": " + agx_status_string(status) + ": " + agx_last_error());
}

ClientPtr OpenClient(const Address& address) {
  agx_options options = AGX_OPTIONS_INIT;
  options.prefix = kPrefix;
  options.log_level = AGX_LOG_WARNING;
  options.log = [](void*, agx_log_level, const char* message) {
    std::fprintf(stderr, "libagx: %s\n", message);
  };
  agx_client* client = nullptr;
  Check(agx_open(address.Url().c_str(), &options, &client), "agx_open");
  return ClientPtr(client);
}

ClientPtr OpenMemory() {
  agx_client* client = nullptr;
  Check(agx_open("memory:bench", nullptr, &client), "agx_open");
  return ClientPtr(client);
}

SessionPtr OpenSession(const ClientPtr& client, const std::string& id) {
  agx_session* session = nullptr;
  Check(agx_session_open(client.get(), 1, 1, id.c_str(), &session), "agx_session_open");
  return SessionPtr(session);
}

ListenerPtr Listen(const SessionPtr& session) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.wait_ms = -1;
  options.timeout_ms = -1;
  agx_listener* listener = nullptr;
  Check(agx_listen(session.get(), &options, &listener), "agx_listen");
  return ListenerPtr(listener);
}

void Add(const SessionPtr& session) {
  agx_status status = agx_add(session.get(), kType, kOrigin, kBody, nullptr);
  if (status != AGX_OK) Check(status, "agx_add");
}

// --- hiredis

Plain::Plain(const Address& address)
    : context_(address.path.empty() ? redisConnect(address.host.c_str(), address.port)
                                    : redisConnectUnix(address.path.c_str())) {
  if (context_ == nullptr) Fail("out of memory");
  if (context_->err != 0) Fail(std::string("hiredis cannot connect: ") + context_->errstr);
}

ReplyPtr Plain::Command(const char* format, ...) {
  va_list args;
  va_start(args, format);
  ReplyPtr reply(static_cast<redisReply*>(redisvCommand(context_.get(), format, args)));
  va_end(args);
  if (reply == nullptr) Fail(std::string("hiredis: ") + context_->errstr);
  if (reply->type == REDIS_REPLY_ERROR) Fail(std::string("the server says: ") + reply->str);
  return reply;
}

void Plain::Add(const std::string& key) {
  ReplyPtr reply(static_cast<redisReply*>(redisCommand(
      context_.get(), "XADD %s * type %s origin %s body %s", key.c_str(), kType, kOrigin, kBody)));
  if (reply == nullptr || reply->type == REDIS_REPLY_ERROR) Fail("XADD failed");
}

void Plain::Fill(size_t count, const std::function<std::string(size_t)>& key_of) {
  constexpr size_t kWindow = 200;
  size_t sent = 0;
  size_t received = 0;
  while (received < count) {
    for (size_t i = 0; i < kWindow && sent < count; ++i, ++sent) {
      redisAppendCommand(context_.get(), "XADD %s * type %s origin %s body %s",
                         key_of(sent).c_str(), kType, kOrigin, kBody);
    }
    while (received < sent) {
      void* reply = nullptr;
      if (redisGetReply(context_.get(), &reply) != REDIS_OK) Fail(context_->errstr);
      ReplyPtr owned(static_cast<redisReply*>(reply));
      if (owned->type == REDIS_REPLY_ERROR) Fail(owned->str);
      ++received;
    }
  }
}

std::string Plain::Info(const char* section, std::string_view field) {
  ReplyPtr reply = Command("INFO %s", section);
  std::string_view text(reply->str, reply->len);
  size_t at = text.find("\n" + std::string(field) + ":");
  if (at == std::string_view::npos) return "";
  at += field.size() + 2;
  return std::string(text.substr(at, text.find('\r', at) - at));
}

std::string KeyOf(const std::string& session_id) {
  return std::string(kPrefix) + ":1:1:" + session_id;
}

}  // namespace bench
