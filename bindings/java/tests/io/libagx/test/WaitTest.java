package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxOptions;
import io.libagx.AgxSession;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Waits for events that a condition selects, and for a cancel. */
@Timeout(120)
class WaitTest {
  private static final Duration PATIENCE = Behaviour.PATIENCE;
  /** So long that who waits for it is stuck. */
  private static final Duration LONG = Duration.ofMinutes(10);

  private AgxClient client;
  private AgxSession session;
  private AgxSession other;

  @BeforeEach
  void open() {
    client = AgxClient.open("memory:");
    session = client.session(1, 1, "wait");
    other = client.session(1, 1, "wait");
  }

  @AfterEach
  void close() {
    other.close();
    session.close();
    client.close();
  }

  @Test
  void a_wait_needs_no_thread_of_the_programs_executor() throws Exception {
    AgxOptions options = new AgxOptions().callbacks(task -> {});
    try (AgxClient stuck = AgxClient.open("memory:", options);
         AgxSession mine = stuck.session(1, 1, "s"); AgxSession others = stuck.session(1, 1, "s")) {
      mine.start();
      mine.add("answer", "test", "1");
      assertEquals("1", mine.waitFor("type = \"answer\"", PATIENCE).body());
      others.cancel();
      mine.waitCanceled(PATIENCE);
      assertThrows(AgxException.Canceled.class, () -> mine.waitFor("type = \"no\"", LONG));
    }
  }

  @Test
  void one_that_looks_only_is_given_what_is_there() throws Exception {
    session.start();
    session.add("answer", "test", "1");
    assertEquals("1", session.waitFor("type = \"answer\"", Duration.ZERO).body());
    assertThrows(AgxException.Timeout.class,
        () -> session.waitFor("type = \"answer\"", Duration.ZERO));
    session.add("answer", "test", "2");
    assertEquals("2", session.waitForAsync("type = \"answer\"").get(30, TimeUnit.SECONDS).body());
  }

  @Test
  void what_was_given_is_behind_whoever_asks_then() throws Exception {
    AgxOptions options = new AgxOptions().callbacks(Runnable::run);
    try (AgxClient direct = AgxClient.open("memory:", options);
         AgxSession mine = direct.session(1, 1, "s")) {
      mine.start();
      for (int n = 0; n < 100; ++n) mine.add("n", "test", String.valueOf(n));
      List<String> bodies = new ArrayList<>();
      CompletableFuture<Void> all = CompletableFuture.completedFuture(null);
      for (int n = 0; n < 100; ++n) {
        all = all.thenCompose(
            nothing -> mine.waitForAsync("type = \"n\"").thenAccept(e -> bodies.add(e.body())));
      }
      all.get(60, TimeUnit.SECONDS);
      for (int n = 0; n < 100; ++n) assertEquals(String.valueOf(n), bodies.get(n));
    }
  }

  @Test
  void one_that_is_given_up_has_taken_nothing() throws Exception {
    session.start();
    for (int round = 0; round < 200; ++round) {
      CompletableFuture<AgxEvent> wait = session.waitForAsync("type = \"n\"");
      CompletableFuture<Void> adding = CompletableFuture.runAsync(
          () -> other.add("n", "test", "1"));
      for (int spins = round * 50; spins > 0; --spins) Thread.onSpinWait();
      boolean cancelled = wait.cancel(false);
      adding.get(30, TimeUnit.SECONDS);
      if (!cancelled) assertEquals("1", wait.get(30, TimeUnit.SECONDS).body());
      if (cancelled) assertEquals("1", session.waitFor("type = \"n\"", PATIENCE).body());
      assertThrows(
          AgxException.Timeout.class, () -> session.waitFor("type = \"n\"", Duration.ZERO));
    }
  }

  @Test
  void one_on_a_session_that_has_ended_is_told_at_once() throws Exception {
    session.start();
    session.stop(Duration.ofMinutes(1));
    assertThrows(AgxException.Ended.class, () -> session.waitFor("type = \"n\"", LONG));
    // Of another object at the end, too.
    assertThrows(AgxException.Ended.class, () -> other.waitFor("type = \"n\"", LONG));
  }

  @Test
  void one_that_began_before_the_start_is_told_of_a_cancel() throws Exception {
    Waiting wait = new Waiting(() -> session.waitFor("type = \"n\"", LONG));
    CompletableFuture<AgxEvent> future = session.waitForAsync("type = \"n\"");
    wait.awaitBlocked();
    session.start();
    other.cancel();
    assertInstanceOf(AgxException.Canceled.class, wait.failure());
    assertInstanceOf(AgxException.Canceled.class, Behaviour.failure(future));
  }

  @Test
  void a_cancel_is_told_and_not_the_end_that_it_writes() throws Exception {
    for (int round = 0; round < 50; ++round) {
      try (AgxSession mine = client.session(1, 1, "c" + round)) {
        mine.start();
        CompletableFuture<AgxEvent> wait = mine.waitForAsync("type = \"n\"");
        client.session(1, 1, "c" + round).cancel();
        assertInstanceOf(AgxException.Canceled.class, Behaviour.failure(wait));
      }
    }
  }

  @Test
  void closing_the_session_ends_them() throws Exception {
    Waiting blocked = new Waiting(() -> session.waitFor("type = \"n\"", LONG));
    CompletableFuture<AgxEvent> wait = session.waitForAsync("type = \"n\"");
    blocked.awaitBlocked();
    session.close();
    assertInstanceOf(AgxException.Closed.class, Behaviour.failure(wait));
    assertInstanceOf(AgxException.Closed.class, blocked.failure());
    assertThrows(AgxException.Closed.class, () -> session.waitForAsync(null));
  }

  @Test
  void closing_the_client_ends_them() throws Exception {
    AgxClient closing = AgxClient.open("memory:");
    AgxSession mine = closing.session(1, 1, "s");
    Waiting blocked = new Waiting(() -> mine.waitFor("type = \"n\"", LONG));
    CompletableFuture<AgxEvent> wait = mine.waitForAsync("type = \"n\"");
    blocked.awaitBlocked();
    closing.close();
    assertInstanceOf(AgxException.Closed.class, Behaviour.failure(wait));
    assertInstanceOf(AgxException.Closed.class, blocked.failure());
  }

  @Test
  void behind_a_gap_the_next_takes_what_is_left() throws Exception {
    session.start();
    for (int n = 0; n < 4; ++n) session.add("n", "test", String.valueOf(n));
    assertEquals("0", session.waitFor("type = \"n\"", PATIENCE).body());
    session.history().trimTo(2);
    assertThrows(AgxException.Gap.class, () -> session.waitFor("type = \"n\"", PATIENCE));
    assertEquals("2", session.waitFor("type = \"n\"", PATIENCE).body());
    assertEquals("3", session.waitFor("type = \"n\"", PATIENCE).body());
  }

  @Test
  void an_interruption_ends_one_and_loses_nothing() throws Exception {
    session.start();
    Waiting wait = new Waiting(() -> session.waitFor("type = \"n\"", LONG));
    wait.awaitBlocked();
    wait.interrupt();
    assertInstanceOf(InterruptedException.class, wait.failure());
    session.add("n", "test", "1");
    assertEquals("1", session.waitFor("type = \"n\"", PATIENCE).body());
    assertTrue(session.isLive());
  }
}
