package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxIntercepted;
import io.libagx.AgxListener;
import io.libagx.AgxSession;
import io.libagx.AgxSubscription;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Listeners that come and go leave nothing behind. AGX_LEAK_COUNT says how many; a day has a
 * million.
 */
@Tag("long")
class LeakTest {
  private static final int WORKERS = 4;

  private static long count() {
    String said = System.getenv("AGX_LEAK_COUNT");
    return said == null ? 1_000_000 : Long.parseLong(said);
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

  private interface Opening {
    void openAndClose(long i) throws Exception;
  }

  /** By several threads at once, as listeners come and go on a server. */
  private static void comeAndGo(long times, Opening opening) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(WORKERS);
    try {
      List<Future<?>> all = new ArrayList<>();
      for (int worker = 0; worker < WORKERS; ++worker) {
        int first = worker;
        all.add(threads.submit(() -> {
          for (long i = first; i < times; i += WORKERS) opening.openAndClose(i);
          return null;
        }));
      }
      for (Future<?> one : all) one.get();
    } finally {
      threads.shutdown();
      assertTrue(threads.awaitTermination(1, TimeUnit.MINUTES));
    }
  }

  private static void noMoreThanBefore(String what, long count, Opening opening) throws Exception {
    comeAndGo(count / 5, opening);
    long memory = memoryKb();
    long threads = Behaviour.threads();
    long descriptors = descriptors();
    comeAndGo(count, opening);
    // The collector and the cleaner have their own time.
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (Behaviour.threads() > threads + 2 || descriptors() > descriptors) {
      assertTrue(System.nanoTime() < deadline,
          what + ": " + Behaviour.threads() + " threads, not " + threads + "; " + descriptors()
              + " descriptors, not " + descriptors);
      System.gc();
    }
    long grown = memoryKb() - memory;
    System.out.println(what + ": " + count + ", " + grown + " KiB more");
    assertTrue(grown < 32 * 1024, what + ": " + grown + " KiB more");
  }

  private static void listeners(String url, long count) throws Exception {
    try (AgxClient client = AgxClient.open(url); AgxSession session = client.session(1, 1, "s")) {
      session.start();
      noMoreThanBefore("listeners on " + url, count, i -> {
        try (AgxSession own = client.session(1, 1, "s"); AgxListener listener = own.listen()) {
          if (i % 30 == 0) {
            CompletableFuture<AgxEvent> wait = listener.nextAsync();
            if (i % 20 == 0) wait.cancel(false);
          } else if (i % 30 == 1) {
            assertEquals("begin", listener.next().type());
          }
        }
      });
    }
  }

  private static void others(String url, long count) throws Exception {
    try (AgxClient client = AgxClient.open(url); AgxSession session = client.session(1, 1, "o")) {
      session.start();
      noMoreThanBefore("groups on " + url, count, i -> {
        String consumer = "c" + i % WORKERS;
        session.group("g", AgxGroupOptions.defaults().consumer(consumer)).close();
      });
      noMoreThanBefore("interceptors on " + url, count,
          i -> session.intercept("body.never", AgxIntercepted::write).close());
      noMoreThanBefore("subscriptions on " + url, count, i -> {
        try (AgxSubscription subscription = session.subscribe(event -> {})) {
          assertFalse(subscription.done().isDone());
        }
      });
    }
  }

  @Test
  void in_memory() throws Exception {
    listeners("memory:leaks", count());
    others("memory:leaks", count() / 100);
  }

  @Test
  void on_redis() throws Exception {
    try (RedisServer server = new RedisServer()) {
      listeners(server.url(), count() / 50);
      others(server.url(), count() / 500);
    }
  }
}
