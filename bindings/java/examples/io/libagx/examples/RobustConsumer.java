package io.libagx.examples;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxSession;
import java.time.Duration;

/**
 * A consumer that resumes where it was and knows what to do with all that a listener tells:
 * RobustConsumer [URL].
 */
public final class RobustConsumer {
  private RobustConsumer() {}

  /**
   * Handles events until the session is over; gives where to go on, or null if there is nothing.
   */
  private static String consume(AgxSession session, String position, int most)
      throws InterruptedException {
    AgxListenOptions options = AgxListenOptions.defaults()
                                   .after(position)
                                   .limit(most)
                                   .silentAfter(Duration.ofSeconds(30))
                                   .absentAfter(Duration.ofSeconds(3));
    try (AgxListener listener = session.listen(options)) {
      for (;;) {
        try {
          AgxEvent event = listener.next();
          if (event == null) return listener.limitReached() ? listener.position() : null;
          System.out.println(event.type() + " " + event.body());
        } catch (AgxException.Silent e) {
          System.out.println("silent for a while; it may think");
        } catch (AgxException.Gap e) {
          System.out.println("events are missing behind " + listener.position());
        } catch (AgxException.Unavailable e) {
          System.out.println("the store cannot be reached: " + e.getMessage());
        } catch (AgxException.Absent e) {
          System.out.println("there is no such session");
          return null;
        } catch (AgxException.Gone e) {
          System.out.println("its producer is gone");
          return null;
        }
      }
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
         AgxSession session = client.session(1, 42, "robust-consumer")) {
      session.start();
      for (int n = 1; n <= 4; ++n) session.add("n", "robust-consumer", "{\"n\":" + n + "}");
      session.stop();
      // Where it is to go on would be kept with what became of the events.
      for (String position = "0"; position != null;) {
        position = consume(session, position, 2);
        System.out.println(position == null ? "done" : "stored where to go on");
      }
    }
  }
}
