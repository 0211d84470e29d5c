package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListener;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** On a Redis of its own. */
class RedisBehaviourTest extends Behaviour {
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

  @Test
  void killed_and_restarted() throws Exception {
    session.start();
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(PATIENCE).type());
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
