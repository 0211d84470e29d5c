package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxListener;
import io.libagx.AgxSession;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Listeners that come and go leave nothing behind. AGX_LEAK_COUNT says how many; a day has a
 * million.
 */
@Tag("long")
class LeakTest {
  private static long count() {
    String said = System.getenv("AGX_LEAK_COUNT");
    return said == null ? 100_000 : Long.parseLong(said);
  }

  private static long memoryKb() throws Exception {
    System.gc();
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) return Long.parseLong(line.replaceAll("\\D", ""));
    }
    throw new AssertionError("no VmRSS");
  }

  private static long descriptors() throws Exception {
    try (var files = Files.list(Path.of("/proc/self/fd"))) {
      return files.count();
    }
  }

  private static void come_and_go(AgxClient client, long times) throws Exception {
    for (long i = 0; i < times; ++i) {
      try (AgxSession session = client.session(1, 1, "s");
           AgxListener listener = session.listen()) {
        if (i % 3 == 0) {
          CompletableFuture<AgxEvent> wait = listener.nextAsync();
          if (i % 2 == 0) wait.cancel(false);
        } else if (i % 3 == 1) {
          assertEquals("begin", listener.next().type());
        }
      }
    }
  }

  private static void noMoreThanBefore(String url) throws Exception {
    try (AgxClient client = AgxClient.open(url); AgxSession session = client.session(1, 1, "s")) {
      session.start();
      come_and_go(client, count() / 5);
      long memory = memoryKb();
      long threads = Behaviour.threads();
      long descriptors = descriptors();
      come_and_go(client, count());
      long grown = memoryKb() - memory;
      System.out.println(url + ": " + count() + " listeners, " + grown + " KiB more");
      assertTrue(grown < 16 * 1024, grown + " KiB more");
      assertTrue(
          Behaviour.threads() <= threads + 1, Behaviour.threads() + " threads, not " + threads);
      assertEquals(descriptors, descriptors());
    }
  }

  @Test
  void in_memory() throws Exception {
    noMoreThanBefore("memory:leaks");
  }

  @Test
  void on_redis() throws Exception {
    try (RedisServer server = new RedisServer()) {
      noMoreThanBefore(server.url());
    }
  }
}
