/* Loads libagx.so, uses it and unloads it, again and again: it must really leave each time, and
 * leave nothing behind. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agx.h"

#define ROUNDS 200

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

/* In a thread of its own: what a thread keeps for itself holds the library until it ends. */
static void* use(void* library) {
  LOOK_UP(library, agx_open);
  LOOK_UP(library, agx_close);
  LOOK_UP(library, agx_last_error);
  LOOK_UP(library, agx_session_open);
  LOOK_UP(library, agx_session_close);
  LOOK_UP(library, agx_start);
  LOOK_UP(library, agx_add);
  LOOK_UP(library, agx_stop);
  LOOK_UP(library, agx_listen);
  LOOK_UP(library, agx_listen_next);
  LOOK_UP(library, agx_listener_close);
  LOOK_UP(library, agx_event_free);

  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_listener* listener = NULL;
  agx_event* event = NULL;
  check(agx_open_("nonsense", NULL, &client) == AGX_EINVAL, "agx_open of nonsense");
  check(agx_last_error_()[0] != '\0', "agx_last_error");
  check(agx_open_("memory:", NULL, &client) == AGX_OK, "agx_open");
  check(agx_session_open_(client, 1, 2, "loop", &session) == AGX_OK, "agx_session_open");
  check(agx_start_(session, NULL) == AGX_OK, "agx_start");
  check(agx_add_(session, "t", "o", "{}", NULL) == AGX_OK, "agx_add");
  check(agx_listen_(session, NULL, &listener) == AGX_OK, "agx_listen");
  check(agx_listen_next_(listener, 1000, &event) == AGX_OK, "agx_listen_next");
  agx_event_free_(event);
  check(agx_stop_(session, 0) == AGX_OK, "agx_stop");
  agx_listener_close_(listener);
  agx_session_close_(session);
  agx_close_(client);
  return NULL;
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

/* Whether there is but this thread, or soon will be: a thread can be joined just before the kernel
 * has forgotten it. */
static int alone(void) {
  const struct timespec pause = {0, 1000000};
  for (int tries = 0; tries < 2000 && threads_now() != 1; tries++) nanosleep(&pause, NULL);
  return threads_now() == 1;
}

int main(void) {
  const char* path = getenv("AGX_LIBRARY");
  check(path != NULL, "AGX_LIBRARY is not set");
  for (int round = 0; round < ROUNDS; round++) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlopen");
    check(threads_now() == 1, "no thread before one is needed");
    pthread_t thread;
    check(pthread_create(&thread, NULL, use, library) == 0, "pthread_create");
    check(pthread_join(thread, NULL) == 0, "pthread_join");
    check(alone(), "no thread left after the last handle is closed");
    check(dlclose(library) == 0, "dlclose");
    check(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL, "the library is gone after dlclose");
    dlerror();
  }
  printf("%d rounds\n", ROUNDS);
  return 0;
}
