/* A listener in a program that has an event loop of its own: poll_loop [URL]
 *
 * epoll, libuv, GLib and asyncio watch the descriptor just as poll does here. */
#include <agx.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int other[2]; /* stands for what else the loop waits for */

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

static void* produce(void* argument) {
  agx_session* session = argument;
  for (int i = 1; i <= 3; ++i) {
    char body[32];
    snprintf(body, sizeof(body), "{\"n\":%d}", i);
    check("add", agx_add_info(session, "worker", body, NULL));
    if (write(other[1], "x", 1) != 1) exit(1);
  }
  check("stop", agx_stop(session, 5000));
  return NULL;
}

/* Takes what there is without waiting. 0: nothing more will come. */
static int drain(agx_listener* listener) {
  for (;;) {
    agx_event* event = NULL;
    agx_status status = agx_listen_next(listener, 0, &event);
    if (status == AGX_TIMEOUT) return 1; /* nothing left: back to poll */
    if (status != AGX_OK) {
      printf("%s\n", agx_status_string(status));
      return 0;
    }
    printf("%s %s\n", agx_event_type(event, NULL), agx_event_body(event, NULL));
    agx_event_free(event);
  }
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_listener* listener = NULL;
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));
  check("session", agx_session_open(client, 1, 42, "poll_loop", &session));
  check("start", agx_start(session, NULL));
  check("listen", agx_listen(session, NULL, &listener));

  struct pollfd fds[2] = {{-1, POLLIN, 0}, {-1, POLLIN, 0}};
  check("fd", agx_listener_fd(listener, &fds[0].fd));
  if (pipe(other) != 0) return 1;
  fds[1].fd = other[0];

  pthread_t producer;
  if (pthread_create(&producer, NULL, produce, session) != 0) return 1;

  int letters = 0;
  int open = 1;
  while (open || letters < 3) {
    if (poll(fds, 2, 5000) <= 0) return 1;
    if (fds[0].revents != 0) open = drain(listener);
    if (!open)
      fds[0].fd = -1; /* poll passes over it: it stays readable, for the outcome is final */
    if (fds[1].revents != 0) {
      char letter;
      if (read(other[0], &letter, 1) == 1) ++letters;
    }
  }
  printf("and %d letters from elsewhere\n", letters);

  pthread_join(producer, NULL);
  agx_listener_close(listener);
  agx_session_close(session);
  agx_close(client);
  close(other[0]);
  close(other[1]);
  return 0;
}
