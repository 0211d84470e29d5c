package io.libagx.examples;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxListener;
import io.libagx.AgxSession;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** A producer, a listener that comes late, and a cancel: QuickStart [URL]. */
public final class QuickStart {
  private QuickStart() {}

  /** An agent that works until it is asked to stop. */
  private static void produce(AgxSession session) throws Exception {
    session.start();
    session.add("info", "quick-start", "{\"msg\":\"hello \uD83D\uDC4B\"}");
    session.waitCanceled(Duration.ofMinutes(1));
    session.add("info", "quick-start", "{\"msg\":\"I was asked to stop\"}");
    session.stop();
  }

  /**
   * Runs it.
   *
   * @param args the store's URL
   * @throws Exception whatever fails
   */
  public static void main(String[] args) throws Exception {
    try (AgxClient client = AgxClient.open(args.length > 0 ? args[0] : "memory:");
         AgxSession producer = client.session(1, 42, "quick-start");
         AgxSession watcher = client.session(1, 42, "quick-start")) {
      Thread agent = new Thread(() -> {
        try {
          produce(producer);
        } catch (Exception e) {
          e.printStackTrace();
        }
      });
      agent.start();
      // It gets what was before it as well, in the same order.
      try (AgxListener listener = watcher.listen()) {
        for (AgxEvent event : listener) {
          System.out.println(event.type() + " " + event.body());
          if (event.body().contains("hello")) {
            System.out.println("cancelled: " + watcher.cancelAsync().get(10, TimeUnit.SECONDS));
          }
        }
      }
      agent.join();
    }
  }
}
