// ctest-labels: redis
// ctest-timeout: 240
// Two processes of a group share 100,000 events; one of them is killed in the middle, and the server is killed and
// started again. Each event is handled at least once, and the dead letters are exactly those that had to die.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "support/capi_tools.h"

namespace agx::test {
namespace {

constexpr int kEvents = 100000;
constexpr int kPoisonEvery = 10000;  // these are never handled
constexpr int kMoodyEvery = 500;     // these fail at first
constexpr std::chrono::seconds kLongPatience{180};

bool IsPoison(int number) { return number % kPoisonEvery == 7; }
bool IsMoody(int number) { return number % kMoodyEvery == 3; }

// {"n":NUMBER}
int NumberOf(const agx_event* event) { return std::atoi(agx_event_body(event, nullptr) + 5); }

struct Consumer {
  int record;  // where the numbers of the events go that were handled
};

agx_status Handle(const agx_event* event, int64_t attempt, void* user_data) {
  int number = NumberOf(event);
  if (IsPoison(number) || (IsMoody(number) && attempt == 1)) return AGX_EFAILED;
  auto* consumer = static_cast<Consumer*>(user_data);
  bool written = write(consumer->record, &number, sizeof(number)) == sizeof(number);
  return written ? AGX_OK : AGX_ESYSTEM;
}

agx_group_options Options(const char* consumer) {
  agx_group_options options = AGX_GROUP_OPTIONS_INIT;
  options.consumer = consumer;
  return options;
}

// A process of its own, which handles events until its standard input ends. Returns its exit status.
int Consume(const std::string& url, const char* name, int record, int until) {
  agx_client* client = nullptr;
  agx_session* session = nullptr;
  agx_group* group = nullptr;
  agx_group_options options = Options(name);
  if (agx_open(url.c_str(), nullptr, &client) != AGX_OK) return 1;
  if (agx_session_open(client, 1, 2, "s", &session) != AGX_OK) return 2;
  if (agx_group_open(session, "g", &options, &group) != AGX_OK) return 3;
  std::thread stop([&] {
    char byte = 0;
    while (read(until, &byte, 1) < 0 && errno == EINTR) {
    }
    agx_group_interrupt(group);
  });
  Consumer consumer{record};
  agx_group_process_options process = AGX_GROUP_PROCESS_OPTIONS_INIT;
  process.claim_idle_ms = 2000;
  process.backoff_ms = 5;
  process.count = 200;
  agx_status status = agx_group_process(group, &process, Handle, &consumer);
  stop.join();
  agx_group_close(group);
  agx_session_close(session);
  agx_close(client);
  if (status != AGX_INTERRUPTED) dprintf(STDERR_FILENO, "%s: %s\n", name, agx_last_error());
  return status == AGX_INTERRUPTED ? 0 : 4;
}

class Process {
 public:
  Process(const std::string& url, const char* name, const std::string& record_path)
      : record_path_(record_path) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(ends[1]);
      int record = open(record_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      _exit(record < 0 ? 9 : Consume(url, name, record, ends[0]));
    }
    close(ends[0]);
    stop_ = ends[1];
  }
  ~Process() {
    close(stop_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    unlink(record_path_.c_str());
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // How many events it has handled.
  int64_t handled() const {
    struct stat facts {};
    return stat(record_path_.c_str(), &facts) == 0
               ? facts.st_size / static_cast<int64_t>(sizeof(int))
               : 0;
  }
  void Kill9() {
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it had ended by itself: " << status;
    pid_ = -1;
  }
  // Its exit status.
  int Stop() {
    EXPECT_EQ(write(stop_, "x", 1), 1);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void ReadRecord(std::map<int, int>* times) const {
    std::ifstream file(record_path_, std::ios::binary);
    int number = 0;
    while (file.read(reinterpret_cast<char*>(&number), sizeof(number))) ++(*times)[number];
  }

 private:
  const std::string record_path_;
  pid_t pid_ = -1;
  int stop_ = -1;
};

void AddAll(const SessionPtr& session) {
  constexpr int kAtOnce = 1000;
  for (int first = 0; first < kEvents; first += kAtOnce) {
    std::vector<std::string> bodies;
    for (int i = 0; i < kAtOnce; ++i) bodies.push_back("{\"n\":" + std::to_string(first + i) + "}");
    std::vector<agx_new_event> events;
    events.reserve(bodies.size());
    for (const std::string& body : bodies) events.push_back({"event", "test", body.c_str()});
    size_t added = 0;
    ASSERT_EQ(agx_add_many(session.get(), events.data(), events.size(), nullptr, &added), AGX_OK);
  }
}

TEST(CapiGroupSoak, NothingIsLostWhateverDies) {
  RedisServer server(RedisServer::Options{{}, true});
  std::string base = "/tmp/agx-soak-" + std::to_string(getpid());
  // Forked before this process has a connection or a thread.
  auto doomed = std::make_unique<Process>(server.url(), "doomed", base + "-doomed");
  Process heir(server.url(), "heir", base + "-heir");
  ClientPtr client = OpenClient(server.url());
  SessionPtr session = OpenSession(client);
  AddAll(session);

  auto handled = [&] { return doomed->handled() + heir.handled(); };
  ASSERT_TRUE(WaitUntil([&] { return handled() >= kEvents / 4; }, kLongPatience));
  ASSERT_TRUE(WaitUntil([&] { return doomed->handled() > 0; }, kLongPatience));
  doomed->Kill9();
  ASSERT_TRUE(WaitUntil([&] { return handled() >= kEvents / 2; }, kLongPatience));
  server.Kill9();
  server.Restart();

  agx_group_options options = Options("looks on");
  agx_group* opened = nullptr;
  ASSERT_TRUE(
      WaitUntil([&] { return agx_group_open(session.get(), "g", &options, &opened) == AGX_OK; }));
  GroupPtr group(opened);
  agx_health health = AGX_HEALTH_INIT;
  ASSERT_TRUE(WaitUntil(
      [&] {
        agx_status status = agx_group_health(group.get(), &health);
        return status == AGX_OK && health.lag == 0 && health.pending == 0;
      },
      kLongPatience))
      << "pending " << health.pending << ", lag " << health.lag << ", handled " << handled();
  EXPECT_EQ(heir.Stop(), 0);

  std::map<int, int> times;
  doomed->ReadRecord(&times);
  heir.ReadRecord(&times);
  int64_t total = 0;
  for (int number = 0; number < kEvents; ++number) {
    int count = times.count(number) != 0 ? times[number] : 0;
    total += count;
    if (IsPoison(number)) {
      ASSERT_EQ(count, 0) << number;
    } else {
      ASSERT_GE(count, 1) << number << " is lost";
    }
  }
  RecordProperty("handled_again", static_cast<int>(total - (kEvents - kEvents / kPoisonEvery)));

  std::vector<agx_dead_letter> letters(1000);
  size_t count = 0;
  ASSERT_EQ(agx_group_dead_letters(group.get(), nullptr, letters.data(), letters.size(), &count),
            AGX_OK);
  std::multiset<int> dead;
  for (size_t i = 0; i < count; ++i) {
    EventPtr event(letters[i].event);
    dead.insert(NumberOf(event.get()));
    EXPECT_EQ(letters[i].attempts, 3) << NumberOf(event.get());
  }
  std::multiset<int> had_to_die;
  for (int number = 7; number < kEvents; number += kPoisonEvery) had_to_die.insert(number);
  EXPECT_EQ(dead, had_to_die);
}

}  // namespace
}  // namespace agx::test
