/* An agent that asks a person before it does something: human [URL]
 *
 * One thread is the agent, the other the person with their screen. They share nothing but the store,
 * and could be programs on two machines. An interceptor keeps what is secret out of the session. */
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

/* --- The person */

typedef struct screen {
  agx_session* session;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int over;
} screen;

/* Called on a thread of the client's, with one question after the other. A real person takes longer,
 * and then answers from elsewhere. */
static void show(agx_subscription* subscription, agx_status status, const agx_event* event,
                 void* user_data) {
  screen* s = user_data;
  (void)subscription;
  if (status == AGX_OK) {
    const char* question = agx_event_body(event, NULL);
    const char* answer = strstr(question, "delete") != NULL ? "no" : "yes";
    char body[64];
    printf("asked %s: %s\n", question, answer);
    /* The question's id tells which one is answered. */
    snprintf(body, sizeof(body), "{\"to\":\"%s\",\"answer\":\"%s\"}", agx_event_id(event, NULL),
             answer);
    check("answer", agx_add(s->session, "answer", "person", body, NULL));
    return;
  }
  printf("the session: %s\n", agx_status_string(status));
  pthread_mutex_lock(&s->mutex);
  s->over = 1;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->mutex);
}

static void* person(void* unused) {
  agx_client* client = NULL;
  agx_subscription* subscription = NULL;
  screen s = {NULL, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
  check("open", agx_open(url, NULL, &client));
  check("session", agx_session_open(client, 1, 42, "human", &s.session));
  check("subscribe",
        agx_subscribe(s.session, "type = \"question\"", NULL, show, &s, &subscription));
  pthread_mutex_lock(&s.mutex);
  while (!s.over) pthread_cond_wait(&s.changed, &s.mutex);
  pthread_mutex_unlock(&s.mutex);
  agx_subscription_close(subscription);
  agx_session_close(s.session);
  agx_close(client);
  return unused;
}

/* --- The agent */

static agx_status hide_secrets(agx_intercepted* event, void* unused) {
  (void)unused;
  if (strstr(agx_intercepted_body(event, NULL), "hunter2") == NULL) return AGX_OK;
  return agx_intercepted_set_body(event, "{\"log\":\"(a secret)\"}");
}

/* Asks, and waits for the answer. What came before the wait began is not missed. */
static int may(agx_session* session, const char* action) {
  char body[64];
  char id[AGX_ID_SIZE];
  char where[128];
  agx_event* event = NULL;
  snprintf(body, sizeof(body), "{\"may_i\":\"%s\"}", action);
  check("ask", agx_add(session, "question", "agent", body, id));
  snprintf(where, sizeof(where), "type = \"answer\" and body.to = \"%s\"", id);
  agx_status status = agx_wait_for(session, where, 60000, &event);
  /* Nobody answers, or somebody cancels: then it may not. */
  if (status != AGX_OK) {
    printf("no answer: %s\n", agx_status_string(status));
    return 0;
  }
  int yes = strstr(agx_event_body(event, NULL), "\"answer\":\"yes\"") != NULL;
  agx_event_free(event);
  return yes;
}

int main(int argc, char** argv) {
  if (argc > 1) url = argv[1];
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_interceptor* interceptor = NULL;
  check("open", agx_open(url, NULL, &client));
  check("session", agx_session_open(client, 1, 42, "human", &session));
  check("intercept", agx_intercept(session, "type = \"info\"", hide_secrets, NULL, &interceptor));
  check("start", agx_start(session, NULL));

  pthread_t thread;
  if (pthread_create(&thread, NULL, person, NULL) != 0) return 1;
  int reads = may(session, "read the file");
  check("info", agx_add_info(session, "agent", "{\"log\":\"the password is hunter2\"}", NULL));
  int deletes = may(session, "delete the file");
  check("stop", agx_stop(session, 5000));
  pthread_join(thread, NULL);
  printf("it reads: %s, it deletes: %s\n", reads ? "yes" : "no", deletes ? "yes" : "no");

  agx_event* logged = NULL;
  size_t count = 0;
  agx_history_options options = AGX_HISTORY_OPTIONS_INIT;
  options.where = "type = \"info\"";
  check("history", agx_history_read(session, &options, &logged, 1, &count));
  printf("logged %s\n", agx_event_body(logged, NULL));
  agx_event_free(logged);
  agx_interceptor_close(interceptor);
  agx_session_close(session);
  agx_close(client);
  return 0;
}
