package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListener;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** On a Redis of its own. */
class RedisBehaviourTest extends OwnBehaviour {
  private static RedisServer server;

  @BeforeAll
  static void startServer() throws Exception {
    server = new RedisServer();
  }

  @AfterAll
  static void stopServer() {
    server.close();
  }

  @Override
  String url() {
    return server.url();
  }

  /** Adds until it is stored; what is uncertain may be there, or may not. */
  private boolean add(int n) {
    for (;;) {
      try {
        session.add("n", "test", String.valueOf(n));
        return true;
      } catch (AgxException.Uncertain e) {
        return false;
      } catch (AgxException.Unavailable e) {
        // Nothing was written: again.
      }
    }
  }

  /** The clocks of whoever waits for a time, or is interrupted, do not stop with the server. */
  @Test
  void a_wait_for_a_time_ends_in_time_while_the_server_hangs() throws Exception {
    session.start();
    try (AgxListener listener = other.listen()) {
      server.hang(true);
      long begin = System.nanoTime();
      assertThrows(AgxException.Timeout.class, () -> listener.next(Duration.ofMillis(100)));
      Waiting thread = new Waiting(() -> listener.next(PATIENCE));
      thread.awaitBlocked();
      thread.interrupt();
      assertEquals(InterruptedException.class, thread.failure().getClass());
      CompletableFuture<AgxEvent> future = listener.nextAsync();
      assertTrue(future.cancel(true));
      long took = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
      assertTrue(took < 2000, took + " ms");
    } finally {
      server.hang(false);
    }
  }

  @Test
  void killed_and_restarted() throws Exception {
    restart(true);
  }

  /** Of which a thread receives for itself. */
  @Test
  void killed_and_restarted_under_a_thread_that_receives() throws Exception {
    restart(false);
  }

  private void restart(boolean dispatched) throws Exception {
    session.start();
    try (AgxListener listener = other.listen()) {
      AgxEvent first = dispatched ? listener.next(PATIENCE) : listener.next();
      assertEquals("begin", first.type());
      CompletableFuture<List<AgxEvent>> seen = CompletableFuture.supplyAsync(() -> {
        List<AgxEvent> events = new ArrayList<>();
        for (AgxEvent event : listener) events.add(event);
        return events;
      });
      List<Integer> stored = new ArrayList<>();
      for (int n = 0; n < 300; ++n) {
        if (n % 100 == 50) {
          CompletableFuture<Boolean> during = new CompletableFuture<>();
          server.kill();
          int number = n;
          Thread adding = new Thread(() -> during.complete(add(number)));
          adding.start();
          server.start();
          if (during.get(60, TimeUnit.SECONDS)) stored.add(n);
        } else if (add(n)) {
          stored.add(n);
        }
      }
      session.stop();
      List<Integer> got = new ArrayList<>();
      String last = "";
      for (AgxEvent event : seen.get(60, TimeUnit.SECONDS)) {
        got.add(Integer.valueOf(event.body()));
        assertTrue(!event.id().equals(last));
        last = event.id();
      }
      assertTrue(got.containsAll(stored), "stored " + stored + " got " + got);
      assertEquals(got.stream().sorted().distinct().toList(), got);
      assertTrue(stored.size() >= 290, stored.size() + " were stored");
      assertNull(listener.next(PATIENCE));
    }
  }
}
