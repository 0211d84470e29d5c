/* Workers that share a session's events: group [URL]
 *
 * Two threads are consumers of the group "workers". Each event is handled by one of them; the one
 * that nobody can handle becomes a dead letter after three attempts. */
#include <agx.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 2
#define TASKS 20

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

struct worker {
  agx_group* group;
  int handled;
};

/* What is not AGX_OK is tried again later, by this worker, or by another if this one dies. */
static agx_status handle(const agx_event* event, int64_t attempt, void* user_data) {
  struct worker* worker = user_data;
  if (strstr(agx_event_body(event, NULL), "impossible") != NULL) {
    printf("attempt %d fails\n", (int)attempt);
    agx_group_fail_reason(worker->group, "nobody can do this");
    return AGX_EFAILED;
  }
  ++worker->handled;
  return AGX_OK;
}

static void* work(void* argument) {
  struct worker* worker = argument;
  agx_group_process_options options = AGX_GROUP_PROCESS_OPTIONS_INIT;
  options.backoff_ms = 10;  /* before the second attempt */
  options.timeout_ms = 500; /* of silence; a real worker goes on until agx_group_interrupt */
  agx_status status = agx_group_process(worker->group, &options, handle, worker);
  if (status != AGX_TIMEOUT) check("process", status);
  return NULL;
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  struct worker workers[WORKERS];
  pthread_t threads[WORKERS];
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));
  check("session", agx_session_open(client, 1, 42, "tasks", &session));

  for (int i = 0; i < WORKERS; ++i) {
    workers[i] = (struct worker){NULL, 0};
    check("group", agx_group_open(session, "workers", NULL, &workers[i].group));
    if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) return 1;
  }
  for (int i = 0; i < TASKS; ++i) {
    const char* task = i == 7 ? "{\"task\":\"impossible\"}" : "{\"task\":\"easy\"}";
    check("add", agx_add(session, "task", "planner", task, NULL));
  }

  int handled = 0;
  for (int i = 0; i < WORKERS; ++i) {
    pthread_join(threads[i], NULL);
    handled += workers[i].handled;
  }
  agx_dead_letter letters[10];
  size_t count = 0;
  check("dead letters", agx_group_dead_letters(workers[0].group, NULL, letters, 10, &count));
  for (size_t i = 0; i < count; ++i) {
    printf("given up: %s: %s\n", agx_event_body(letters[i].event, NULL), letters[i].reason);
    agx_event_free(letters[i].event);
  }
  printf("%d tasks were handled\n", handled);

  for (int i = 0; i < WORKERS; ++i) agx_group_close(workers[i].group);
  agx_history_delete(session);
  agx_session_close(session);
  /* The dead letters are a stream of their own, which outlives the session and its groups. */
  check("dead letters", agx_session_open(client, 1, 42, "tasks:dlq", &session));
  agx_history_delete(session);
  agx_session_close(session);
  agx_close(client);
  return handled == TASKS - 1 && count == 1 ? 0 : 1;
}
