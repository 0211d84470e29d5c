/* Lists the sessions that are live: query [URL] */
#include <agx.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SCOPE 77 /* so that what else is in the store does not show */

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

static agx_session* start(agx_client* client, int64_t user, const char* name) {
  agx_session* session = NULL;
  check("session", agx_session_open(client, SCOPE, user, name, &session));
  check("start", agx_start(session, NULL));
  return session;
}

static void list(agx_client* client, int64_t user) {
  agx_query* query = NULL;
  check("query", agx_query_open(client, SCOPE, user, &query));
  int64_t scope = 0;
  int64_t whose = 0;
  const char* name = NULL;
  agx_status status = AGX_OK;
  int count = 0;
  while ((status = agx_query_next(query, &scope, &whose, &name)) == AGX_OK) {
    printf("  %" PRId64 "/%" PRId64 "/%s\n", scope, whose, name);
    ++count;
  }
  if (status != AGX_ENDED) check("query_next", status);
  printf("%d live\n", count);
  agx_query_close(query);
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));

  agx_session* sessions[] = {
      start(client, 1, "report"),
      start(client, 1, "a name: with *, [ and /"),
      start(client, 2, "report"),
  };
  printf("all users:\n");
  list(client, AGX_ANY);
  printf("user 1:\n");
  list(client, 1);

  check("stop", agx_stop(sessions[0], 0));
  printf("user 1, one stopped:\n");
  list(client, 1);

  for (size_t i = 0; i < 3; ++i) {
    if (i > 0) check("stop", agx_stop(sessions[i], 0));
    agx_session_close(sessions[i]);
  }
  agx_close(client);
  return 0;
}
