package io.libagx.examples;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxListener;
import io.libagx.AgxMessages;
import io.libagx.AgxModelApi;
import io.libagx.AgxRun;
import io.libagx.AgxSession;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/**
 * An agent with a tool: Agent [URL]. The model's streams are canned; they would be the body of an
 * HTTP response, as {@code HttpResponse.BodyHandlers.ofInputStream()} gives it.
 */
public final class Agent {
  private static final String[] STREAMS = {
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\","
          + "\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\"}}]}}]}\n\n"
          + "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
          + "\"function\":{\"arguments\":\"\\\"Rome\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n"
          + "data: [DONE]\n\n",
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"It is\"}}]}\n\n"
          + "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" sunny \u2600\"},"
          + "\"finish_reason\":\"stop\"}]}\n\n"
          + "data: [DONE]\n\n"};

  private int turn;

  private Agent() {}

  /** Here the request would be posted. */
  private InputStream post(String request) {
    if (!request.contains("some-model")) throw new IllegalArgumentException(request);
    return new ByteArrayInputStream(STREAMS[turn++].getBytes(StandardCharsets.UTF_8));
  }

  private void ask(AgxRun run, AgxMessages messages) throws IOException {
    String request = messages.request(AgxModelApi.OPENAI_CHAT, "{\"model\":\"some-model\"}");
    try (InputStream response = post(request)) {
      messages.append(run.feed(AgxModelApi.OPENAI_CHAT, response));
    }
  }

  private String answer(AgxRun run, AgxMessages messages) throws IOException {
    messages.appendUser("How is the weather in Rome?");
    for (;;) {
      ask(run, messages);
      int last = messages.size() - 1;
      String tool = messages.partField(last, 0, "tool_name").orElse(null);
      if (tool == null) return messages.partField(last, 0, "content").get();
      String id = messages.partField(last, 0, "tool_call_id").get();
      System.out.println(
          "the model calls " + tool + " with " + messages.partField(last, 0, "args").get());
      // Its result goes to whoever listens, and to the model.
      run.beginNode();
      run.toolReturn(tool, id, "\"sunny\"");
      messages.appendToolReturn(tool, id, "\"sunny\"");
    }
  }

  /**
   * Runs it.
   *
   * @param args the store's URL
   * @throws Exception whatever fails
   */
  public static void main(String[] args) throws Exception {
    try (AgxClient client = AgxClient.open(args.length > 0 ? args[0] : "memory:");
         AgxSession session = client.session(1, 42, "agent");
         AgxMessages messages = session.messages()) {
      Agent agent = new Agent();
      System.out.println("the agent says: " + session.execute(messages, agent::answer));
      try (AgxListener listener = session.listen()) {
        for (AgxEvent event : listener) System.out.println(event.type() + " " + event.body());
      }
      System.out.println(messages.size() + " messages: " + messages.title());
    }
  }
}
