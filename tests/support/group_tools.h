// What tests of groups share: calls that check what they return, and a handler that notes what it was given.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "support/capi_tools.h"

namespace agx::test {

struct Page {
  agx_status status = AGX_OK;
  std::vector<EventPtr> events;

  std::vector<std::string> types() const {
    std::vector<std::string> types;
    for (const EventPtr& event : events) types.emplace_back(agx_event_type(event.get(), nullptr));
    return types;
  }
  std::vector<std::string> ids() const {
    std::vector<std::string> ids;
    for (const EventPtr& event : events) ids.emplace_back(agx_event_id(event.get(), nullptr));
    return ids;
  }
};

inline GroupPtr OpenGroup(const SessionPtr& session, const char* consumer = nullptr,
                          agx_group_options options = AGX_GROUP_OPTIONS_INIT,
                          const char* name = "g") {
  options.consumer = consumer;
  agx_group* group = nullptr;
  EXPECT_EQ(agx_group_open(session.get(), name, &options, &group), AGX_OK);
  return GroupPtr(group);
}

inline Page Read(const GroupPtr& group, agx_group_source source = AGX_GROUP_NEW,
                 int64_t timeout_ms = 0, size_t capacity = 100) {
  std::vector<agx_event*> events(capacity, nullptr);
  size_t count = 99;
  Page page;
  page.status = agx_group_read(group.get(), source, timeout_ms, events.data(), capacity, &count);
  EXPECT_EQ(count > 0, page.status == AGX_OK);
  for (size_t i = 0; i < count; ++i) page.events.emplace_back(events[i]);
  return page;
}

inline uint64_t Ack(const GroupPtr& group, const std::vector<std::string>& ids) {
  std::vector<const char*> texts;
  for (const std::string& id : ids) texts.push_back(id.c_str());
  uint64_t count = 99;
  EXPECT_EQ(agx_group_ack(group.get(), texts.data(), texts.size(), &count), AGX_OK);
  return count;
}

inline agx_pending PendingOf(const GroupPtr& group) {
  agx_pending pending = AGX_PENDING_INIT;
  EXPECT_EQ(agx_group_pending(group.get(), &pending), AGX_OK);
  return pending;
}

inline std::vector<agx_pending_event> PendingEvents(const GroupPtr& group,
                                                    const char* consumer = nullptr) {
  std::vector<agx_pending_event> events(100);
  size_t count = 0;
  EXPECT_EQ(agx_group_pending_events(group.get(), consumer, 0, nullptr, events.data(),
                                     events.size(), &count),
            AGX_OK);
  events.resize(count);
  return events;
}

inline agx_health HealthOf(const GroupPtr& group) {
  agx_health health = AGX_HEALTH_INIT;
  EXPECT_EQ(agx_group_health(group.get(), &health), AGX_OK);
  return health;
}

struct Letter {
  EventPtr event;
  agx_dead_letter told;
  std::string type() const { return agx_event_type(event.get(), nullptr); }
  std::string id() const { return agx_event_id(event.get(), nullptr); }
};

inline std::vector<Letter> DeadLetters(const GroupPtr& group, const char* after = nullptr) {
  std::vector<agx_dead_letter> told(100);
  size_t count = 0;
  agx_status status = agx_group_dead_letters(group.get(), after, told.data(), told.size(), &count);
  EXPECT_EQ(status, count > 0 ? AGX_OK : AGX_ENDED);
  std::vector<Letter> letters;
  for (size_t i = 0; i < count; ++i) letters.push_back({EventPtr(told[i].event), told[i]});
  return letters;
}

// What a handler saw, and what it is to say.
struct Seen {
  std::function<agx_status(const agx_event*, int64_t)> say;
  std::vector<std::pair<std::string, int64_t>> calls;  // type and attempt

  static agx_status Handle(const agx_event* event, int64_t attempt, void* user_data) {
    auto* seen = static_cast<Seen*>(user_data);
    seen->calls.emplace_back(agx_event_type(event, nullptr), attempt);
    return seen->say ? seen->say(event, attempt) : AGX_OK;
  }
};

inline agx_group_process_options Quick(int64_t limit = 0, int64_t timeout_ms = -1) {
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.backoff_ms = 1;
  options.limit = limit;
  options.timeout_ms = timeout_ms;
  return options;
}

inline agx_status Process(const GroupPtr& group, Seen* seen,
                          const agx_group_process_options& options) {
  return agx_group_process(group.get(), &options, Seen::Handle, seen);
}

}  // namespace agx::test
