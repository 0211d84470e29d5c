/* Writes a session and reads it back: first [URL] */
#include <agx.h>
#include <stdio.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, agx_last_error());
  return 1;
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_listener* listener = NULL;
  agx_event* event = NULL;
  agx_status status;

  if (agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client)) return failed("open");
  if (agx_session_open(client, 1, 42, "first", &session)) return failed("session");
  if (agx_start(session, NULL)) return failed("start");
  if (agx_add(session, "info", "first", "{\"msg\":\"hello\"}", NULL)) return failed("add");
  if (agx_stop(session, 5000)) return failed("stop");

  if (agx_listen(session, NULL, &listener)) return failed("listen");
  while ((status = agx_listen_next(listener, 1000, &event)) == AGX_OK) {
    printf("%s %s\n", agx_event_type(event, NULL), agx_event_body(event, NULL));
    agx_event_free(event);
  }
  if (status != AGX_ENDED) return failed("next");

  agx_listener_close(listener);
  agx_session_close(session);
  agx_close(client);
  return 0;
}
