/* An agent that stops when somebody cancels it: cancel [URL]
 *
 * One thread is the agent; the other is somebody who watches it and has seen enough. They share
 * nothing but the store, and could be programs on two machines. */
#include <agx.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char* url = "memory:";

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

static void* watch_and_cancel(void* unused) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_listener* listener = NULL;
  check("open", agx_open(url, NULL, &client));
  check("session", agx_session_open(client, 1, 42, "cancel", &session));
  check("listen", agx_listen(session, NULL, &listener));

  agx_event* event = NULL;
  agx_status status = AGX_OK;
  int sheep = 0;
  while ((status = agx_listen_next(listener, 5000, &event)) == AGX_OK) {
    const char* type = agx_event_type(event, NULL);
    if (strcmp(type, "info") == 0 && ++sheep == 3) {
      int was_live = 0;
      check("cancel", agx_cancel(session, &was_live));
      printf("cancelled, it was %s\n", was_live ? "live" : "not live");
    }
    if (strcmp(type, "error") == 0) printf("it says %s\n", agx_event_body(event, NULL));
    agx_event_free(event);
  }
  printf("watched until %s\n", agx_status_string(status));
  agx_listener_close(listener);
  agx_session_close(session);
  agx_close(client);
  (void)unused;
  return NULL;
}

int main(int argc, char** argv) {
  if (argc > 1) url = argv[1];
  agx_client* client = NULL;
  agx_session* session = NULL;
  check("open", agx_open(url, NULL, &client));
  check("session", agx_session_open(client, 1, 42, "cancel", &session));
  check("start", agx_start(session, NULL));

  pthread_t watcher;
  if (pthread_create(&watcher, NULL, watch_and_cancel, NULL) != 0) return 1;

  /* agx_is_canceled costs no I/O, so it may be asked for every token. */
  int counted = 0;
  while (!agx_is_canceled(session)) {
    char body[32];
    snprintf(body, sizeof(body), "{\"sheep\":%d}", ++counted);
    agx_status status = agx_add_info(session, "agent", body, NULL);
    if (status == AGX_TAKEN_OVER) break;
    check("add", status);
    /* Here the agent would wait for its model. This wait ends early if it is cancelled. */
    (void)agx_wait_canceled(session, 20);
  }

  /* Why it stopped. Taken over is not cancelled: then the session is another's to end. */
  agx_status why = agx_wait_canceled(session, 0);
  if (why == AGX_OK) {
    check("error", agx_add_error(session, NULL, "{\"msg\":\"canceled\"}", NULL));
    check("stop", agx_stop(session, 5000));
  }
  pthread_join(watcher, NULL);
  printf("counted at least 3: %s\n", counted >= 3 ? "yes" : "no");
  agx_session_close(session);
  agx_close(client);
  return why == AGX_OK ? 0 : 1;
}
