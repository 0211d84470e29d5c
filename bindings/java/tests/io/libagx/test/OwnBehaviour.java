package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxNewEvent;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** What Java has of its own, on every store too. */
abstract class OwnBehaviour extends Behaviour {
  private static <T> T unchecked(Callable<T> call) {
    try {
      return call.call();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  private static final List<Function<CompletableFuture<AgxEvent>, AgxEvent>> WAYS_TO_WAIT =
      List.of(CompletableFuture::join,
          next
          -> unchecked(next::get),
          next
          -> unchecked(() -> next.get(30, TimeUnit.SECONDS)),
          next -> next.thenApply(event -> event).thenApply(event -> event).join());

  @Test
  void what_continues_a_future_may_wait_for_the_next_event() throws Exception {
    session.start();
    for (Function<CompletableFuture<AgxEvent>, AgxEvent> way : WAYS_TO_WAIT) {
      try (AgxListener listener = other.listen(AgxListenOptions.defaults().after("new"))) {
        CompletableFuture<String> both = listener.nextAsync().thenApply(
            first -> first.body() + way.apply(listener.nextAsync()).body());
        CompletableFuture<AgxEvent> between = listener.nextAsync();
        for (int n = 1; n <= 3; ++n) session.add("n", "test", String.valueOf(n));
        assertEquals("13", both.get(60, TimeUnit.SECONDS));
        assertEquals("2", between.get(60, TimeUnit.SECONDS).body());
      }
    }
  }

  /** Looks until something comes. */
  static AgxEvent lookUntil(AgxListener listener) throws InterruptedException {
    long begin = System.nanoTime();
    for (;;) {
      try {
        return listener.next(Duration.ZERO);
      } catch (AgxException.Timeout e) {
        if (System.nanoTime() - begin > PATIENCE.toNanos()) throw e;
        Thread.yield();
      }
    }
  }

  @Test
  void who_only_looks_gets_what_is_stored_and_then_what_comes() throws Exception {
    session.start();
    session.add("n", "test", "0");
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(Duration.ZERO).type());
      assertEquals("0", listener.next(Duration.ZERO).body());
      assertThrows(AgxException.Timeout.class, () -> listener.next(Duration.ZERO));
      for (int n = 1; n < 50; ++n) {
        session.add("n", "test", String.valueOf(n));
        AgxEvent event = lookUntil(listener);
        assertEquals(String.valueOf(n), event.body());
        assertEquals(event.id(), listener.position());
      }
      session.stop();
      assertNull(lookUntil(listener));
      assertNull(listener.next(Duration.ZERO));
      assertTrue(listener.ended());
    }
  }

  @Test
  void who_only_looks_gets_all_of_a_long_session_in_order() throws Exception {
    session.start();
    int count = 5000;
    for (int n = 0; n < count; n += 1000) {
      session.addAll(IntStream.range(n, n + 1000)
                         .mapToObj(i -> new AgxNewEvent("n", "test", String.valueOf(i)))
                         .toList());
    }
    try (AgxListener listener = other.listen(AgxListenOptions.defaults().where("type = \"n\""))) {
      for (int n = 0; n < count; ++n) assertEquals(String.valueOf(n), lookUntil(listener).body());
      assertThrows(AgxException.Timeout.class, () -> listener.next(Duration.ZERO));
    }
    // The limit's end is at hand as well.
    try (AgxListener listener = other.listen(AgxListenOptions.defaults().limit(1))) {
      assertEquals("begin", listener.next(Duration.ZERO).type());
      assertNull(lookUntil(listener));
      assertTrue(listener.limitReached());
    }
  }

  @Test
  void who_only_looks_is_told_what_there_is_besides_events() throws Exception {
    Duration soon = Duration.ofMillis(50);
    AgxListenOptions options =
        AgxListenOptions.defaults().after("new").absentAfter(soon).silentAfter(soon);
    try (AgxListener listener = other.listen(options)) {
      assertThrows(AgxException.Absent.class, () -> lookUntil(listener));
      session.start();
      assertEquals("begin", lookUntilAppeared(listener).type());
      assertThrows(AgxException.Silent.class, () -> lookUntil(listener));
      assertThrows(AgxException.Silent.class, () -> lookUntil(listener));
    }
  }

  private static AgxEvent lookUntilAppeared(AgxListener listener) throws InterruptedException {
    for (long begin = System.nanoTime();;) {
      try {
        return lookUntil(listener);
      } catch (AgxException.Absent e) {
        // Once more, before it was started.
        if (System.nanoTime() - begin > PATIENCE.toNanos()) throw e;
      }
    }
  }

  @Test
  void who_looks_beside_others_gets_what_is_stored_too() throws Exception {
    session.start();
    for (int n = 0; n < 20; ++n) session.add("n", "test", String.valueOf(n));
    try (AgxListener listener = other.listen()) {
      List<CompletableFuture<AgxEvent>> looks = new ArrayList<>();
      for (int i = 0; i < 8; ++i) {
        CompletableFuture<AgxEvent> look = new CompletableFuture<>();
        looks.add(look);
        new Thread(() -> {
          try {
            look.complete(listener.next(Duration.ZERO));
          } catch (Throwable e) {
            look.completeExceptionally(e);
          }
        }).start();
      }
      Set<String> ids = new HashSet<>();
      for (CompletableFuture<AgxEvent> look : looks) ids.add(look.get(30, TimeUnit.SECONDS).id());
      assertEquals(8, ids.size());
    }
    // Also behind a thread that received for itself, and with futures that wait.
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next().type());
      for (int n = 0; n < 20; ++n) assertEquals(String.valueOf(n), listener.next().body());
      session.add("n", "test", "20");
      assertEquals("20", lookUntil(listener).body());
      CompletableFuture<AgxEvent> next = listener.nextAsync();
      session.add("n", "test", "21");
      assertEquals("21", next.get(30, TimeUnit.SECONDS).body());
    }
  }

  @Test
  void what_no_text_may_hold_is_found_wherever_it_is() {
    session.start();
    for (String good : List.of("what? why?", "\u00E9?", "\uD83D\uDE00?"))
      session.add(good, good, "1");
    for (int length = 1; length <= 40; ++length) {
      for (int at = 0; at < length; ++at) {
        for (String bad : List.of("\0", "\uD83D", "\uDE00")) {
          String text = "a".repeat(at) + bad + "a".repeat(length - at - 1);
          String said =
              assertThrows(AgxException.Invalid.class, () -> session.add(text, "test", "1"))
                  .getMessage();
          assertTrue(said.startsWith("the type has ") && said.endsWith(" at " + at), said);
        }
      }
    }
  }

  @Test
  void many_of_every_kind_are_added_as_they_are() throws Exception {
    session.start();
    List<AgxNewEvent> events = new ArrayList<>();
    for (int i = 0; i < 300; ++i) {
      String body = i % 7 == 0
          ? null
          : "\"" + (i % 3 == 0 ? "\u00E9\uD83D\uDE00?" : "a?").repeat(i % 50 * i) + "\"";
      // The same in a row, others between them, and equal ones that are another object.
      String type = i % 11 == 0 ? new String("even") : i % 2 == 0 ? "even" : "odd" + i;
      events.add(new AgxNewEvent(type, i % 5 == 0 ? "\u4E2D" : "test", body));
    }
    List<String> ids = session.addAll(events);
    assertEquals(events.size(), ids.size());
    session.stop();
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(PATIENCE).type());
      for (int i = 0; i < events.size(); ++i) {
        AgxNewEvent event = events.get(i);
        AgxEvent got = listener.next(PATIENCE);
        assertEquals(ids.get(i), got.id());
        assertEquals(event.type(), got.type());
        assertEquals(event.origin(), got.origin());
        assertEquals(event.body() == null ? "{}" : event.body(), got.body());
      }
      assertNull(listener.next(PATIENCE));
    }
  }
}
