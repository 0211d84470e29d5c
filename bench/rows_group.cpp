// A consumer group: reading and acknowledging in batches.
#include "rows.h"

namespace bench {
namespace {

constexpr size_t kBatch = 500;

struct CloseGroup {
  void operator()(agx_group* group) const { agx_group_close(group); }
};

void MakeGroup(const Plain& plain) {
  std::string key = KeyOf("group");
  ReplyPtr gone(
      static_cast<redisReply*>(redisCommand(plain.get(), "XGROUP DESTROY %s g", key.c_str())));
  ReplyPtr made(
      static_cast<redisReply*>(redisCommand(plain.get(), "XGROUP CREATE %s g 0", key.c_str())));
  if (made == nullptr || made->type != REDIS_REPLY_STATUS) Fail("XGROUP CREATE failed");
}

double ShareAgx(const ClientPtr& client, const Plain& plain, size_t count) {
  MakeGroup(plain);
  SessionPtr session = OpenSession(client, "group");
  agx_group* opened = nullptr;
  Check(agx_group_open(session.get(), "g", nullptr, &opened), "agx_group_open");
  std::unique_ptr<agx_group, CloseGroup> group(opened);
  std::vector<agx_event*> events(kBatch);
  std::vector<const char*> ids(kBatch);
  double began = Now();
  for (size_t done = 0; done < count;) {
    size_t got = 0;
    Check(agx_group_read(group.get(), AGX_GROUP_NEW, 1000, events.data(), kBatch, &got),
          "agx_group_read");
    for (size_t i = 0; i < got; ++i) ids[i] = agx_event_id(events[i], nullptr);
    Check(agx_group_ack(group.get(), ids.data(), got, nullptr), "agx_group_ack");
    for (size_t i = 0; i < got; ++i) agx_event_free(events[i]);
    done += got;
  }
  return Now() - began;
}

double SharePlain(const Plain& plain, size_t count) {
  MakeGroup(plain);
  std::string key = KeyOf("group");
  double began = Now();
  for (size_t done = 0; done < count;) {
    ReplyPtr reply(static_cast<redisReply*>(redisCommand(
        plain.get(), "XREADGROUP GROUP g c COUNT %d STREAMS %s >", int{kBatch}, key.c_str())));
    if (reply == nullptr || reply->type != REDIS_REPLY_ARRAY) Fail("XREADGROUP failed");
    const redisReply* entries = reply->element[0]->element[1];
    std::vector<const char*> words = {"XACK", key.c_str(), "g"};
    std::vector<size_t> sizes = {4, key.size(), 1};
    for (size_t i = 0; i < entries->elements; ++i) {
      words.push_back(entries->element[i]->element[0]->str);
      sizes.push_back(entries->element[i]->element[0]->len);
    }
    ReplyPtr acknowledged(static_cast<redisReply*>(
        redisCommandArgv(plain.get(), static_cast<int>(words.size()), words.data(), sizes.data())));
    if (acknowledged == nullptr || acknowledged->type != REDIS_REPLY_INTEGER) Fail("XACK failed");
    done += entries->elements;
  }
  return Now() - began;
}

}  // namespace

std::vector<Measure> GroupBatches(const Options& options) {
  const auto count = static_cast<size_t>(Scaled(options, 200000));
  ClientPtr client = OpenClient(options.address);
  Plain plain(options.address);
  plain.Command("FLUSHALL SYNC");
  plain.Fill(count, [key = KeyOf("group")](size_t) { return key; });
  Measure measure{"group",
                  "agx_group_read and agx_group_ack, batches of " + Grouped(kBatch),
                  "hiredis XREADGROUP and XACK",
                  "events/s",
                  Measure::Goal::kAtLeast,
                  0.95,
                  {},
                  {}};
  constexpr int kTurns = 2;
  for (int round = 0; round < options.rounds; ++round) {
    Sums seconds = TakeTurns(
        options, kTurns, [&] { return ShareAgx(client, plain, count); },
        [&] { return SharePlain(plain, count); });
    double work = static_cast<double>(count) * kTurns;
    measure.agx.push_back(work / seconds.agx);
    measure.plain.push_back(work / seconds.plain);
  }
  return {measure};
}

}  // namespace bench
