/* Copies a session from one format to another: what an agent of Microsoft Agent Framework streams
 * becomes a session of the agx format. How far the copy has come is kept with it, in one atomic step
 * with each batch: the copier may die at any time, and the next goes on where it was.
 *
 * SPDX-License-Identifier: MIT */
#include <agx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(agx_status status, const char* what) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s\n", what, agx_last_error());
  exit(1);
}

static agx_session* open_stream(agx_client* client, const char* name) {
  agx_stream_options options = AGX_STREAM_OPTIONS_INIT;
  options.format = "agent-framework";
  agx_session* session = NULL;
  check(agx_stream_open(client, name, &options, &session), "agx_stream_open");
  return session;
}

/* Copies at most `most` events, or up to the end. 1 if that was reached. */
static int copy(agx_session* from, agx_session* to, int most) {
  char position[AGX_NAME_MAX + 1];
  check(agx_checkpoint(to, "answer", position), "agx_checkpoint");
  printf("copying from %s\n", *position != '\0' ? "where the last one was" : "the beginning");

  agx_start_options start = AGX_START_OPTIONS_INIT;
  start.take_over = start.keep = *position != '\0';
  check(agx_start(to, &start), "agx_start");

  agx_listen_options options = AGX_LISTEN_OPTIONS_INIT;
  options.after = position;
  options.limit = most;
  agx_listener* listener = NULL;
  check(agx_listen(from, &options, &listener), "agx_listen");
  agx_event* event = NULL;
  agx_status status;
  while ((status = agx_listen_next(listener, -1, &event)) == AGX_OK || status == AGX_GAP) {
    if (status == AGX_GAP) continue; /* the original was begun anew */
    const agx_new_event added = {agx_event_type(event, NULL), agx_event_origin(event, NULL),
                                 agx_event_body(event, NULL)};
    const char* id = agx_event_id(event, NULL);
    check(agx_add_checked(to, &added, 1, "answer", position, id), "agx_add_checked");
    snprintf(position, sizeof(position), "%s", id);
    agx_event_free(event);
  }
  agx_listener_close(listener);
  if (status == AGX_ENDED) check(agx_stop(to, -1), "agx_stop");
  return status == AGX_ENDED;
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  check(agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client), "agx_open");

  /* The agent. Its own framework would write the same entries. */
  agx_session* from = open_stream(client, "trip");
  check(agx_start(from, NULL), "agx_start");
  const char* words[] = {"{\"text\":\"Day 1: \"}", "{\"text\":\"Asakusa, \"}",
                         "{\"text\":\"then Ueno.\"}"};
  for (size_t i = 0; i < 3; ++i) check(agx_add(from, "event", "agent", words[i], NULL), "agx_add");
  check(agx_stop(from, -1), "agx_stop");

  /* Two copiers, of which the first gives up after two events. */
  for (int most = 2; most >= 0; most -= 2) {
    agx_session* to = NULL;
    check(agx_session_open(client, 1, 1, "trip", &to), "agx_session_open");
    copy(from, to, most);
    agx_session_close(to);
  }

  agx_session* copied = NULL;
  check(agx_session_open(client, 1, 1, "trip", &copied), "agx_session_open");
  agx_history_options history = AGX_HISTORY_OPTIONS_INIT;
  agx_event* events[8];
  size_t count = 0;
  check(agx_history_read(copied, &history, events, 8, &count), "agx_history_read");
  for (size_t i = 0; i < count; ++i) {
    const char* text = strstr(agx_event_body(events[i], NULL), "\"content_delta\":");
    printf("%s%s%s\n", agx_event_type(events[i], NULL), text != NULL ? " " : "",
           text != NULL ? text : "");
    agx_event_free(events[i]);
  }
  /* With its checkpoint. Without this it goes 5 seconds after its end, and the original in 10 minutes. */
  check(agx_history_delete(copied), "agx_history_delete");
  check(agx_history_delete(from), "agx_history_delete");
  agx_session_close(copied);
  agx_session_close(from);
  agx_close(client);
  return 0;
}
