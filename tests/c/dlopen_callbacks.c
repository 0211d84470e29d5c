/* Loads libagx.so, has it call functions from its own threads and from this one, and unloads it, twice: when
 * everything is closed no thread of it is left that would run in what is not there any more. */
/* ctest-labels: dlopen */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agx.h"

#define ROUNDS 2
#define EVENTS 20

static void check(int ok, const char* what) {
  if (ok) return;
  const char* reason = dlerror();
  fprintf(stderr, "%s: %s\n", what, reason ? reason : "no reason given");
  exit(1);
}

/* ISO C has no cast from an object pointer to a function; POSIX promises that this works. */
#define LOOK_UP(library, name)                   \
  __typeof__(&name) name##_;                     \
  do {                                           \
    void* address = dlsym(library, #name);       \
    check(address != NULL, #name);               \
    memcpy(&name##_, &address, sizeof(name##_)); \
  } while (0)

static void hear(agx_subscription* subscription, agx_status status, const agx_event* event,
                 void* user_data) {
  (void)subscription;
  (void)event;
  if (status == AGX_OK) atomic_fetch_add((atomic_int*)user_data, 1);
}

static agx_status let_by(agx_intercepted* event, void* user_data) {
  (void)event;
  atomic_fetch_add((atomic_int*)user_data, 1);
  return AGX_OK;
}

static agx_status handle(const agx_event* event, int64_t attempt, void* user_data) {
  (void)event;
  (void)attempt;
  atomic_fetch_add((atomic_int*)user_data, 1);
  return AGX_OK;
}

static void pause_a_moment(void) {
  const struct timespec pause = {0, 1000000};
  nanosleep(&pause, NULL);
}

static void use(void* library) {
  LOOK_UP(library, agx_open);
  LOOK_UP(library, agx_close);
  LOOK_UP(library, agx_session_open);
  LOOK_UP(library, agx_session_close);
  LOOK_UP(library, agx_add);
  LOOK_UP(library, agx_subscribe);
  LOOK_UP(library, agx_subscription_close);
  LOOK_UP(library, agx_intercept);
  LOOK_UP(library, agx_interceptor_close);
  LOOK_UP(library, agx_group_open);
  LOOK_UP(library, agx_group_process);
  LOOK_UP(library, agx_group_close);

  atomic_int heard = 0;
  atomic_int passed = 0;
  atomic_int handled = 0;
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_subscription* subscription = NULL;
  agx_interceptor* interceptor = NULL;
  agx_group* group = NULL;
  check(agx_open_("memory:", NULL, &client) == AGX_OK, "agx_open");
  check(agx_session_open_(client, 1, 2, "callbacks", &session) == AGX_OK, "agx_session_open");
  check(agx_subscribe_(session, "type = \"t\"", NULL, hear, &heard, &subscription) == AGX_OK,
        "agx_subscribe");
  check(agx_intercept_(session, NULL, let_by, &passed, &interceptor) == AGX_OK, "agx_intercept");
  check(agx_group_open_(session, "g", NULL, &group) == AGX_OK, "agx_group_open");
  for (int i = 0; i < EVENTS; i++)
    check(agx_add_(session, "t", "o", "{}", NULL) == AGX_OK, "agx_add");
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.limit = EVENTS;
  check(agx_group_process_(group, &options, handle, &handled) == AGX_LIMIT, "agx_group_process");
  for (int tries = 0; tries < 20000 && heard < EVENTS; tries++) pause_a_moment();
  check(heard == EVENTS, "each event was heard once");
  check(passed == EVENTS, "each event came by once");
  check(handled == EVENTS, "each event was handled once");
  agx_group_close_(group);
  agx_interceptor_close_(interceptor);
  agx_subscription_close_(subscription);
  agx_session_close_(session);
  agx_close_(client);
}

static long threads_now(void) {
  FILE* status = fopen("/proc/self/status", "r");
  check(status != NULL, "/proc/self/status");
  char line[256];
  long threads = -1;
  while (fgets(line, sizeof(line), status))
    if (strncmp(line, "Threads:", 8) == 0) threads = strtol(line + 8, NULL, 10);
  fclose(status);
  return threads;
}

int main(void) {
  const char* path = getenv("AGX_LIBRARY");
  check(path != NULL, "AGX_LIBRARY is not set");
  for (int round = 0; round < ROUNDS; round++) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    use(library);
    /* The kernel may forget a thread a moment after it was joined. */
    for (int tries = 0; tries < 2000 && threads_now() != 1; tries++) pause_a_moment();
    check(threads_now() == 1, "no thread left after the last handle is closed");
    check(dlclose(library) == 0, "dlclose");
    dlerror();
  }
  printf("%d rounds\n", ROUNDS);
  return 0;
}
