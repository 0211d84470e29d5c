/* An agent in one function: run [URL]
 *
 * agx_run_execute starts the session, loads the conversation, calls the agent, saves what it has
 * appended, and ends the session. The model's stream would come from an HTTP client; here it is
 * canned, so that the program needs no network. */
#include <agx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const char* what, agx_status status) {
  if (status == AGX_OK) return;
  fprintf(stderr, "%s: %s: %s\n", what, agx_status_string(status), agx_last_error());
  exit(1);
}

/* What a server answers that is compatible with OpenAI's Chat Completions. */
static const char* const kCallsATool =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\","
    "\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\"}}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
    "\"function\":{\"arguments\":\"\\\"Rome\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n"
    "data: [DONE]\n\n";
static const char* const kAnswers =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"It is\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" sunny.\"},"
    "\"finish_reason\":\"stop\"}]}\n\n"
    "data: [DONE]\n\n";

/* Sends the conversation to the model and feeds the run what comes back, as it comes. Each step
 * that fails, or finds the run cancelled, ends the agent: agx_run_execute does the rest. */
static agx_status ask(agx_run* run, agx_messages* messages, const char* stream) {
  const char* request = NULL;
  const char* response = NULL;
  size_t length = 0;
  agx_status status =
      agx_messages_request(messages, AGX_OPENAI_CHAT, "{\"model\":\"some-model\"}", &request, NULL);
  if (status != AGX_OK) return status;
  /* Here the request would be posted. The answer may be cut anywhere. */
  for (size_t at = 0; at < strlen(stream); at += 10) {
    size_t left = strlen(stream) - at;
    status = agx_run_feed(run, AGX_OPENAI_CHAT, stream + at, left < 10 ? left : 10);
    if (status != AGX_OK) return status;
  }
  status = agx_run_feed_end(run, &response, &length);
  if (status != AGX_OK) return status;
  return agx_messages_append(messages, response, length);
}

static agx_status agent(agx_run* run, agx_messages* messages, void* prompt) {
  agx_status status = agx_messages_append_user(messages, prompt);
  if (status == AGX_OK) status = ask(run, messages, kCallsATool);
  if (status != AGX_OK) return status;

  /* The response's last part is a call of a tool. */
  size_t message = agx_messages_count(messages) - 1;
  const char* name = NULL;
  const char* args = NULL;
  status = agx_messages_part_field(messages, message, 0, "tool_name", &name, NULL, NULL);
  if (status == AGX_OK) {
    status = agx_messages_part_field(messages, message, 0, "args", &args, NULL, NULL);
  }
  if (status != AGX_OK) return status;
  printf("the model calls %s with %s\n", name, args);

  /* Its result goes to whoever listens, and to the model. */
  status = agx_run_node_begin(run);
  if (status == AGX_OK) status = agx_run_tool_return(run, "weather", "call_1", "\"sunny\"");
  if (status == AGX_OK) {
    status = agx_messages_append_tool_return(messages, "weather", "call_1", "\"sunny\"");
  }
  if (status == AGX_OK) status = ask(run, messages, kAnswers);
  return status;
}

int main(int argc, char** argv) {
  agx_client* client = NULL;
  agx_session* session = NULL;
  agx_messages* messages = NULL;
  check("open", agx_open(argc > 1 ? argv[1] : "memory:", NULL, &client));
  check("session", agx_session_open(client, 1, 42, "run", &session));
  check("messages", agx_messages_open(session, &messages));
  check("execute", agx_run_execute(session, messages, agent, "How is the weather in Rome?"));

  /* What everybody else sees of it, live or later. */
  agx_listener* listener = NULL;
  agx_event* event = NULL;
  check("listen", agx_listen(session, NULL, &listener));
  while (agx_listen_next(listener, 1000, &event) == AGX_OK) {
    printf("%s %s\n", agx_event_type(event, NULL), agx_event_body(event, NULL));
    agx_event_free(event);
  }
  agx_listener_close(listener);

  const char* title = NULL;
  check("title", agx_messages_title(messages, &title, NULL));
  printf("%zu messages: %s\n", agx_messages_count(messages), title);

  /* The next run would go on with the conversation. This one leaves nothing behind. */
  agx_messages_close(messages);
  check("delete", agx_history_delete(session));
  agx_session_close(session);
  agx_close(client);
  return 0;
}
