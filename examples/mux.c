/* One thread follows many sessions: mux [URL] */
#include <agx.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SESSIONS 4
#define EVENTS 25

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

static void* produce(void* argument) {
  agx_session* session = argument;
  for (int i = 0; i < EVENTS; ++i) {
    char body[32];
    snprintf(body, sizeof(body), "{\"n\":%d}", i);
    check("add", agx_add_info(session, "worker", body, NULL));
  }
  check("stop", agx_stop(session, 5000));
  return NULL;
}

/* What this program keeps for each listener. */
struct seen {
  int number;
  int events;
};

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_mux* mux = NULL;
  agx_session* sessions[SESSIONS];
  agx_listener* listeners[SESSIONS];
  pthread_t producers[SESSIONS];
  struct seen seen[SESSIONS];
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));
  check("mux", agx_mux_open(client, &mux));

  for (int i = 0; i < SESSIONS; ++i) {
    char name[32];
    snprintf(name, sizeof(name), "mux-%d", i);
    seen[i] = (struct seen){i, 0};
    check("session", agx_session_open(client, 1, 42, name, &sessions[i]));
    check("start", agx_start(sessions[i], NULL));
    check("listen", agx_listen(sessions[i], NULL, &listeners[i]));
    check("set_data", agx_listener_set_data(listeners[i], &seen[i]));
    check("mux_add", agx_mux_add(mux, listeners[i]));
    if (pthread_create(&producers[i], NULL, produce, sessions[i]) != 0) return 1;
  }

  int ended = 0;
  for (;;) {
    agx_listener* listener = NULL;
    agx_event* event = NULL;
    agx_status status = agx_mux_next(mux, 5000, &listener, &event);
    if (listener == NULL) { /* the mux's own outcome: nothing more can come, or nothing came */
      printf("%s\n", agx_status_string(status));
      if (status != AGX_ENDED) return 1;
      break;
    }
    struct seen* whose = agx_listener_data(listener);
    if (status == AGX_OK) {
      ++whose->events;
      agx_event_free(event);
    } else if (status == AGX_ENDED) {
      ++ended;
      check("mux_remove", agx_mux_remove(mux, listener));
    } else { /* absent, silent, gone or a gap, of this listener alone; the others go on */
      printf("session %d: %s\n", whose->number, agx_last_error());
    }
  }

  for (int i = 0; i < SESSIONS; ++i) {
    printf("session %d: %d events\n", i, seen[i].events); /* with its `begin` */
    pthread_join(producers[i], NULL);
    agx_listener_close(listeners[i]);
    agx_session_close(sessions[i]);
  }
  agx_mux_close(mux);
  agx_close(client);
  return ended == SESSIONS ? 0 : 1;
}
