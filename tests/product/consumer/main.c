/* A stranger's program; compiled as C and as C++. */
#include <agx.h>
#include <stdio.h>

int main(void) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_listener* listener = NULL;
  agx_event* event = NULL;
  int events = 0;
  if (agx_open("memory:", NULL, &client) != AGX_OK) return 1;
  if (agx_session_open(client, 1, 2, "consumer", &session) != AGX_OK) return 2;
  if (agx_start(session, NULL) != AGX_OK) return 3;
  if (agx_add(session, "greeting", "consumer", "{\"text\":\"hello\"}", NULL) != AGX_OK) return 4;
  if (agx_stop(session, 5000) != AGX_OK) return 5;
  if (agx_listen(session, NULL, &listener) != AGX_OK) return 6;
  while (agx_listen_next(listener, 1000, &event) == AGX_OK) {
    events++;
    agx_event_free(event);
  }
  agx_listener_close(listener);
  agx_session_close(session);
  agx_close(client);
  /* `begin` and the greeting. */
  printf("%d events lost, header and library %s\n", 2 - events,
         agx_version() == AGX_VERSION_NUMBER ? "agree" : "disagree");
  return 0;
}
