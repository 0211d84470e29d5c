// Consumer groups on a Redis server.
#pragma once

#include "store/groups.h"
#include "store/redis/pipe.h"
#include "store/redis/runner.h"

namespace agx::redis {

class RedisGroups final : public Groups {
 public:
  // What gives entries to a consumer goes over `reads`, whose keys the server tracks: what was sent
  // on a connection that is lost is carried out before what is sent on the one that takes its
  // place, so that a look at what is pending finds whatever a lost reply has given.
  RedisGroups(const Runner& runner, Pipe& commands, Pipe& reads)
      : runner_(runner), commands_(commands), reads_(reads) {}

  Status CreateGroup(const NewGroup& group, bool* created) override;
  Status DeleteGroup(const GroupOf& of) override;
  Status ReadNew(const NewRequest& request, BatchPtr* batch) override;
  Status Take(const TakeRequest& request, Takings* taken) override;
  Status Claim(const GroupOf& of, std::string_view consumer, int64_t min_idle_ms,
               std::span<const EntryId> ids, Takings* taken) override;
  Status Hold(const GroupOf& of, std::string_view consumer, int64_t idle_ms, std::span<Held> held,
              const StopFlag* stop) override;
  Status Acknowledge(const GroupOf& of, std::span<const EntryId> ids, uint64_t* count) override;
  Status Pending(const GroupOf& of, PendingFacts* facts, const StopFlag* stop) override;
  Status PendingEntries(const PendingRange& range, std::vector<PendingEntry>* entries) override;
  Status ListGroups(std::string_view key, std::vector<GroupFacts>* groups) override;
  Status ListConsumers(const GroupOf& of, std::vector<ConsumerFacts>* consumers) override;
  Status DeleteConsumer(const GroupOf& of, std::string_view consumer, uint64_t* pending) override;
  Status DeleteIdleConsumer(const GroupOf& of, std::string_view consumer) override;
  Status Bury(const Burial& burial, bool* done) override;
  Status Revive(const Revival& revival, EntryId* id, RevivalOutcome* outcome) override;
  Status DeleteEntries(std::string_view key, std::span<const EntryId> ids,
                       uint64_t* count) override;

 private:
  // As Runner::Run; AGX_NONE if the server says that there is no such group.
  template <class S>
  Status Run(Pipe& pipe, const Commands& commands, Effect effect, const GroupOf& of,
             std::string_view what, S* sink, bool* repeated = nullptr,
             const StopFlag* stop = nullptr);
  Status RunTake(const Commands& commands, Effect effect, const TakeRequest& request,
                 Takings* taken);
  Status RunInteger(const Commands& commands, const GroupOf& of, std::string_view what,
                    uint64_t* number, bool* repeated = nullptr);
  Status CountLag(std::string_view key, GroupFacts* group);

  const Runner& runner_;
  Pipe& commands_;
  Pipe& reads_;
};

}  // namespace agx::redis
