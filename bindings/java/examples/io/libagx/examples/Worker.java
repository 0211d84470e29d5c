package io.libagx.examples;

import io.libagx.AgxClient;
import io.libagx.AgxDeadLetter;
import io.libagx.AgxGroup;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxProcessOptions;
import io.libagx.AgxSession;
import java.time.Duration;
import java.util.List;

/** A worker that shares a session's events with others of its group: Worker [URL]. */
public final class Worker {
  private Worker() {}

  /**
   * Runs it.
   *
   * @param args the store's URL
   * @throws Exception whatever fails
   */
  public static void main(String[] args) throws Exception {
    try (AgxClient client = AgxClient.open(args.length > 0 ? args[0] : "memory:");
         AgxSession session = client.session(1, 42, "worker")) {
      for (String order : List.of("tea", "a stone", "cake")) {
        session.add("order", "shop", "\"" + order + "\"");
      }
      // Whoever opens the group with this consumer's name again goes on with what it left.
      AgxGroupOptions options = AgxGroupOptions.defaults().consumer("worker-1");
      try (AgxGroup group = session.group("kitchen", options)) {
        // Until nothing has come for half a second; without a timeout until it is interrupted.
        AgxProcessOptions patience = AgxProcessOptions.defaults()
                                         .maxRetries(2)
                                         .backoff(Duration.ofMillis(10))
                                         .timeout(Duration.ofMillis(500));
        group.process(patience, (event, attempt) -> {
          if (event.body().contains("stone")) throw new Exception("nobody can cook that");
          System.out.println("cooked " + event.body());
        });
        for (AgxDeadLetter letter : group.deadLetters(null, 100)) {
          System.out.println(letter.event().body() + " failed " + letter.attempts()
              + " times: " + letter.reason());
        }
        System.out.println("pending: " + group.pending().count());
      }
      session.history().delete();
    }
  }
}
