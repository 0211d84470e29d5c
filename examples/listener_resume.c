/* A listener that stops and goes on where it was, as after a restart: listener_resume [URL]
 *
 * It writes the session that it reads, so that it can be run by itself. */
#include <agx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

/* Hands on up to `limit` events (0: all) from *position on, and moves *position with them. */
static agx_status follow(agx_session* session, char position[AGX_ID_SIZE], int64_t limit) {
  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = position;
  options.limit = limit;
  agx_listener* listener = NULL;
  check("listen", agx_listen(session, &options, &listener));

  agx_status status = AGX_OK;
  int more = 1;
  while (more) {
    agx_event* event = NULL;
    status = agx_listen_next(listener, 1000, &event);
    switch (status) {
      case AGX_OK:
        printf("%s %s\n", agx_event_type(event, NULL), agx_event_body(event, NULL));
        agx_event_free(event);
        break;
      case AGX_TIMEOUT: /* nothing for a second: a chance to look at something else */
        break;
      case AGX_GAP: /* the store has dropped events; what follows is what it still has */
        printf("(some events are gone)\n");
        break;
      case AGX_ECONNECT: /* reconnecting took longer than one call may: the cursor is kept */
      case AGX_ETIMEOUT:
      case AGX_ELOADING:
        fprintf(stderr, "still trying: %s\n", agx_last_error());
        break;
      default: /* ended, limit, absent, silent, gone, or an error that will not pass */
        more = 0;
    }
  }
  /* What a program would keep with what it made of the events. */
  check("position", agx_listener_position(listener, position));
  agx_listener_close(listener);
  return status;
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));
  check("session", agx_session_open(client, 1, 42, "listener_resume", &session));
  check("start", agx_start(session, NULL));
  for (int i = 1; i <= 5; ++i) {
    char body[32];
    snprintf(body, sizeof(body), "{\"step\":%d}", i);
    check("add", agx_add_info(session, "worker", body, NULL));
  }
  check("stop", agx_stop(session, 5000));

  char position[AGX_ID_SIZE] = "0-0";
  agx_status status = follow(session, position, 3);
  printf("-- %s\n", agx_status_string(status));

  status = follow(session, position, 0);
  printf("-- %s\n", agx_status_string(status));

  agx_session_close(session);
  agx_close(client);
  return status == AGX_ENDED && strcmp(position, "0-0") != 0 ? 0 : 1;
}
