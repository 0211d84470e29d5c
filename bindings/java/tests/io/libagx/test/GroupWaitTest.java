package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxGroup;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxHandler;
import io.libagx.AgxProcessOptions;
import io.libagx.AgxSession;
import io.libagx.AgxStatus;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What ends a call that waits on a group ends that call and no other. */
@Timeout(120)
class GroupWaitTest {
  /** So long that who waits for it is stuck. */
  private static final Duration LONG = Duration.ofMinutes(10);
  private static final AgxGroup.Source NEW = AgxGroup.Source.NEW;
  private static final AgxProcessOptions ONCE = Behaviour.QUICK.maxRetries(1).timeout(LONG);

  private AgxClient client;
  private AgxSession session;
  private AgxGroup group;

  @BeforeEach
  void open() {
    client = AgxClient.open("memory:");
    session = client.session(1, 1, "wait");
    session.start();
    group = session.group("workers", AgxGroupOptions.defaults().consumer("a").start("$"));
  }

  @AfterEach
  void close() {
    group.close();
    session.close();
    client.close();
  }

  /** Until one of the client's threads that wait is in such a frame. */
  private static void awaitFrame(Predicate<StackTraceElement> frame) {
    Waiting.until(()
                      -> Thread.getAllStackTraces()
                             .entrySet()
                             .stream()
                             .filter(entry -> entry.getKey().getName().startsWith("agx-waiter"))
                             .flatMap(entry -> Arrays.stream(entry.getValue()))
                             .anyMatch(frame));
  }

  private static void awaitCalling() {
    awaitFrame(frame -> frame.isNativeMethod() && frame.getMethodName().startsWith("agxb_group_"));
  }

  private static void awaitTurn() {
    awaitFrame(frame -> frame.getClassName().equals("io.libagx.Turns"));
  }

  /** Until who was cancelled, and may hold the group for a moment yet, does not. */
  private void awaitFree() throws InterruptedException {
    for (;;) {
      try {
        assertEquals(List.of(), group.read(AgxGroup.Source.PENDING_ONLY, LONG, 1));
        return;
      } catch (AgxException.Busy e) {
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void cancelling_one_that_waits_for_its_turn_ends_no_other() throws Exception {
    for (boolean interrupt : new boolean[] {false, true}) {
      CompletableFuture<List<AgxEvent>> first = group.readAsync(NEW, LONG, 1);
      awaitCalling();
      CompletableFuture<List<AgxEvent>> second = group.readAsync(NEW, LONG, 1);
      awaitTurn();
      assertTrue(second.cancel(interrupt));
      String id = session.add("n", "test", "1");
      assertEquals(id, first.get(30, TimeUnit.SECONDS).get(0).id());
      assertEquals(1, group.ack(List.of(id)));
      // Nor the next.
      CompletableFuture<List<AgxEvent>> third = group.readAsync(NEW, LONG, 1);
      awaitCalling();
      id = session.add("n", "test", "2");
      assertEquals(id, third.get(30, TimeUnit.SECONDS).get(0).id());
      assertEquals(1, group.ack(List.of(id)));
    }
  }

  @Test
  void what_comes_as_a_read_is_cancelled_is_what_the_next_gives() throws Exception {
    for (int round = 0; round < 3000; ++round) {
      CompletableFuture<List<AgxEvent>> cancelled = group.readAsync(NEW, LONG, 1);
      if (round % 3 != 0) awaitCalling();
      String first = session.add("n", "test", "1");
      String second = session.add("n", "test", "2");
      for (int spins = round % 100 * 20; spins > 0; --spins) Thread.onSpinWait();
      List<AgxEvent> one = cancelled.cancel(round % 2 == 0) ? group.read(NEW, LONG, 1)
                                                            : cancelled.get(30, TimeUnit.SECONDS);
      List<AgxEvent> two = group.read(NEW, LONG, 1);
      assertEquals(
          List.of(first, second), List.of(one.get(0).id(), two.get(0).id()), "round " + round);
    }
  }

  @Test
  void a_cancelled_one_takes_no_interrupt_that_is_not_its_own() throws Exception {
    for (int round = 0; round < 3000; ++round) {
      CompletableFuture<List<AgxEvent>> cancelled = group.readAsync(NEW, LONG, 1);
      if (round % 3 != 0) awaitCalling();
      assertTrue(cancelled.cancel(round % 2 == 0));
      Waiting next = new Waiting(() -> group.read(NEW, LONG, 1));
      next.awaitCalling();
      group.interrupt();
      assertEquals(AgxException.Interrupted.class, next.failure().getClass(), "round " + round);
    }
  }

  @Test
  void a_future_that_is_completed_otherwise_ends_what_it_waits_for() throws Exception {
    CompletableFuture<AgxStatus> late = group.processAsync(ONCE, (event, attempt) -> {});
    awaitCalling();
    late.orTimeout(1, TimeUnit.MILLISECONDS);
    ExecutionException failure =
        assertThrows(ExecutionException.class, () -> late.get(30, TimeUnit.SECONDS));
    assertEquals(TimeoutException.class, failure.getCause().getClass());
    awaitFree();
    CompletableFuture<AgxStatus> given = group.processAsync(ONCE, (event, attempt) -> {});
    awaitCalling();
    assertTrue(given.complete(AgxStatus.LIMIT));
    awaitFree();
  }

  @Test
  void cancel_true_interrupts_a_handler_whose_event_comes_again() throws Exception {
    String id = session.add("n", "test", "1");
    for (int round = 0; round < 200; ++round) {
      CountDownLatch waiting = new CountDownLatch(1);
      CountDownLatch noticed = new CountDownLatch(1);
      AgxHandler handler = (event, attempt) -> {
        assertEquals(id + " 1", event.id() + " " + attempt);
        waiting.countDown();
        try {
          Thread.sleep(LONG.toMillis());
        } catch (InterruptedException e) {
          noticed.countDown();
          throw e;
        }
      };
      CompletableFuture<AgxStatus> process = group.processAsync(ONCE, handler);
      // The round before may hold the group for a moment yet.
      while (!waiting.await(1, TimeUnit.MILLISECONDS)) {
        if (process.isDone()) {
          Throwable failure = assertThrows(ExecutionException.class, process::get).getCause();
          assertEquals(AgxException.Busy.class, failure.getClass());
          process = group.processAsync(ONCE, handler);
        }
      }
      assertTrue(process.cancel(true));
      assertTrue(noticed.await(30, TimeUnit.SECONDS), "round " + round);
    }
    assertEquals(1, group.ack(List.of(id)));
    assertEquals(List.of(), group.deadLetters(null, 1));
  }

  @Test
  void cancel_false_leaves_a_handler_alone() throws Exception {
    session.add("n", "test", "1");
    CountDownLatch waiting = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    CompletableFuture<Boolean> handled = new CompletableFuture<>();
    CompletableFuture<AgxStatus> process = group.processAsync(ONCE, (event, attempt) -> {
      waiting.countDown();
      go.await();
      handled.complete(Thread.currentThread().isInterrupted());
    });
    assertTrue(waiting.await(30, TimeUnit.SECONDS));
    assertTrue(process.cancel(false));
    assertThrows(AgxException.Busy.class, () -> group.read(NEW, Duration.ZERO, 1));
    go.countDown();
    assertEquals(false, handled.get(30, TimeUnit.SECONDS));
    awaitFree();
  }
}
