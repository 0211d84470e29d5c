/* A C11 caller: the header's macros, structs and functions as C sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agx.h"

_Static_assert(sizeof(agx_new_event) == 3 * sizeof(char*), "this struct does not grow");
_Static_assert(AGX_VERSION_NUMBER >= 0, "a constant expression");

static void check(agx_status got, agx_status wanted, const char* what) {
  if (got == wanted) return;
  fprintf(stderr, "%s: %s, not %s: %s\n", what, agx_status_string(got), agx_status_string(wanted),
          agx_last_error());
  exit(1);
}

static void log_line(void* data, agx_log_level level, const char* message) {
  (void)level;
  (void)message;
  ++*(int*)data;
}

int main(void) {
  int lines = 0;
  agx_options options = AGX_OPTIONS_INIT;
  options.log = log_line;
  options.log_data = &lines;
  agx_client* client = NULL;
  check(agx_open("memory:c", &options, &client), AGX_OK, "agx_open");

  agx_session* session = NULL;
  check(agx_session_open(client, 1, 2, "c", &session), AGX_OK, "agx_session_open");
  agx_start_options start = AGX_START_OPTIONS_INIT;
  start.origin = "c11";
  check(agx_start(session, &start), AGX_OK, "agx_start");
  char id[AGX_ID_SIZE];
  check(agx_add(session, "text", "c11", "{\"n\":1}", id), AGX_OK, "agx_add");
  agx_new_event events[] = {{"text", "c11", "2"}, {"text", "c11", NULL}};
  char ids[2 * AGX_ID_SIZE];
  size_t added = 0;
  check(agx_add_many(session, events, 2, ids, &added), AGX_OK, "agx_add_many");
  if (added != 2 || strcmp(id, ids) == 0 || strcmp(ids, ids + AGX_ID_SIZE) == 0) return 1;
  check(agx_stop(session, -1), AGX_OK, "agx_stop");

  agx_listen_options listen = AGX_LISTEN_OPTIONS_INIT;
  listen.after = "0";
  agx_listener* listener = NULL;
  check(agx_listen(session, &listen, &listener), AGX_OK, "agx_listen");
  const char* bodies[] = {"{\"session_id\": \"c\"}", "{\"n\":1}", "2", "{}"};
  for (size_t i = 0; i < 4; i++) {
    agx_event* event = NULL;
    check(agx_listen_next(listener, 10000, &event), AGX_OK, "agx_listen_next");
    size_t length = 0;
    if (strcmp(agx_event_body(event, &length), bodies[i]) != 0) return 1;
    if (length != strlen(bodies[i])) return 1;
    agx_event_free(event);
  }
  agx_event* event = NULL;
  check(agx_listen_next(listener, 10000, &event), AGX_ENDED, "agx_listen_next");
  if (event != NULL) return 1;

  agx_query* query = NULL;
  check(agx_query_open(client, AGX_ANY, AGX_ANY, &query), AGX_OK, "agx_query_open");
  check(agx_query_next(query, NULL, NULL, NULL), AGX_ENDED, "agx_query_next");
  agx_query_close(query);
  agx_listener_close(listener);
  agx_session_close(session);
  agx_close(client);
  return 0;
}
