/* One run of an agent, as a producer writes it: producer [URL]
 *
 * The bodies are those that docs/protocol.md describes, so that any program that follows such
 * sessions can follow this one. */
#include <agx.h>
#include <stdio.h>
#include <stdlib.h>

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

/* Adds one event. 0: the run is to stop, since another producer goes on with the session. */
static int add(agx_session* session, const char* body) {
  agx_status status = agx_add(session, "event", "pydantic-ai", body, NULL);
  switch (status) {
    case AGX_OK:
      return 1;
    case AGX_TAKEN_OVER:
      return 0;
    case AGX_EUNCERTAIN:
      /* The connection broke after the event was sent. Adding it again could make it appear twice,
       * going on could leave it out. This program prefers to leave out a piece of text. */
      fprintf(stderr, "one event may be missing: %s\n", agx_last_error());
      return 1;
    default:
      check("add", status);
      return 0;
  }
}

int main(int argc, char** argv) {
  agx_options options = AGX_OPTIONS_INIT;
  options.client_name = "producer";
  options.max_length = 100000; /* about so many events are kept */
  options.expire_ms = 3600000; /* if this process dies, its events go an hour later */

  agx_client* client = NULL;
  agx_session* session = NULL;
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", &options, &client));
  check("session", agx_session_open(client, 1, 42, "producer", &session));

  agx_status status = agx_start(session, NULL);
  if (status == AGX_EBUSY) {
    fprintf(stderr, "somebody else is at it: %s\n", agx_last_error());
    return 1;
  }
  check("start", status);

  /* Each piece as it comes from the model. */
  static const char* const kText[] = {"No", ", it will", " be", " dry", "."};
  int on = add(session, "{\"idx\":0,\"event\":\"llm-begin\"}") &&
           add(session,
               "{\"idx\":0,\"event\":\"part_start\",\"event_idx\":0,"
               "\"part_kind\":\"text\",\"content\":\"\"}");
  for (size_t i = 0; on && i < sizeof(kText) / sizeof(*kText); ++i) {
    char body[256];
    snprintf(body, sizeof(body),
             "{\"idx\":0,\"event\":\"part_delta\",\"event_idx\":0,"
             "\"part_delta_kind\":\"text\",\"content_delta\":\"%s\"}",
             kText[i]);
    on = add(session, body);
  }

  /* What is there at once goes in one round trip. */
  const agx_new_event last[] = {
      {"event", "pydantic-ai", "{\"idx\":0,\"event\":\"answer\"}"},
      {"event", "pydantic-ai", "{\"idx\":0,\"event\":\"llm-end\"}"},
  };
  size_t added = 0;
  if (on) {
    check("add_many", agx_add_many(session, last, 2, NULL, &added));
    printf("added %zu at once\n", added);
  }

  status = agx_stop(session, 5000);
  if (status == AGX_TAKEN_OVER) {
    printf("another producer goes on\n");
  } else {
    check("stop", status);
    printf("stopped\n");
  }
  agx_session_close(session);
  agx_close(client);
  return 0;
}
