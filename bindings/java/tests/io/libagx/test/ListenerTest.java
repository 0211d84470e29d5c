package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxNewEvent;
import io.libagx.AgxOptions;
import io.libagx.AgxSession;
import java.lang.reflect.Field;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Ways to listen: publishers, futures, bounds. */
@Timeout(240)
class ListenerTest {
  private AgxClient client;
  private AgxSession session;

  @Test
  void an_event_is_readable_in_a_log() throws Exception {
    String id = session.add("info", "me", "{\"a\":1}");
    List<AgxEvent> events = session.history().stream().toList();
    assertEquals("AgxEvent[" + id + " info of me: {\"a\":1}]", events.get(1).toString());
  }

  @BeforeEach
  void open() {
    client = AgxClient.open("memory:");
    session = client.session(1, 1, "listener");
    session.start();
  }

  @AfterEach
  void close() {
    session.close();
    client.close();
  }

  private void addNumbers(int from, int to) {
    List<AgxNewEvent> events = new ArrayList<>();
    for (int n = from; n < to; ++n) events.add(new AgxNewEvent("n", "test", String.valueOf(n)));
    session.addAll(events);
  }

  private AgxListener numbers() {
    return session.listen(AgxListenOptions.defaults().where("type = \"n\""));
  }

  /** Keeps what it is called with. */
  private static class Subscriber implements Flow.Subscriber<AgxEvent> {
    final LinkedBlockingQueue<Object> calls = new LinkedBlockingQueue<>();
    final AtomicInteger concurrent = new AtomicInteger();
    volatile Flow.Subscription subscription;

    final void called(Object call) {
      if (concurrent.incrementAndGet() != 1) calls.add("concurrent calls");
      calls.add(call);
      concurrent.decrementAndGet();
    }

    @Override
    public void onSubscribe(Flow.Subscription given) {
      subscription = given;
    }

    @Override
    public void onNext(AgxEvent event) {
      called(event.body());
    }

    @Override
    public void onError(Throwable failure) {
      called(failure);
    }

    @Override
    public void onComplete() {
      called("complete");
    }

    Object take() throws InterruptedException {
      Object call = calls.poll(30, TimeUnit.SECONDS);
      if (call == null) throw new AssertionError("nothing came");
      return call;
    }

    /** Nothing comes; whatever could have has had its chance. */
    void assertQuiet() throws InterruptedException {
      assertNull(calls.poll(50, TimeUnit.MILLISECONDS));
    }
  }

  @Test
  void a_subscriber_gets_what_it_requests_and_no_more() throws Exception {
    addNumbers(0, 5000);
    try (AgxListener listener = numbers()) {
      Subscriber subscriber = new Subscriber();
      listener.publisher().subscribe(subscriber);
      subscriber.assertQuiet();
      subscriber.subscription.request(2);
      assertEquals("0", subscriber.take());
      assertEquals("1", subscriber.take());
      subscriber.assertQuiet();
      assertEquals("1", bodyAt(listener.position()));
      subscriber.subscription.request(1);
      assertEquals("2", subscriber.take());
      subscriber.assertQuiet();
      for (int n = 3; n < 5000; ++n) {
        if (n % 10 == 3) subscriber.subscription.request(10);
        assertEquals(String.valueOf(n), subscriber.take());
      }
      subscriber.subscription.request(Long.MAX_VALUE);
      subscriber.subscription.request(Long.MAX_VALUE);
      addNumbers(5000, 5001);
      assertEquals("5000", subscriber.take());
      session.stop();
      assertEquals("complete", subscriber.take());
      subscriber.assertQuiet();
    }
  }

  private String bodyAt(String id) {
    return session.history()
        .stream()
        .filter(event -> event.id().equals(id))
        .findFirst()
        .get()
        .body();
  }

  @Test
  void the_end_needs_no_request() throws Exception {
    try (AgxListener listener = session.listen(AgxListenOptions.defaults().after("new"))) {
      Subscriber subscriber = new Subscriber();
      listener.publisher().subscribe(subscriber);
      session.stop();
      assertEquals("complete", subscriber.take());
    }
  }

  @Test
  void a_subscription_that_is_cancelled_leaves_the_listener_usable() throws Exception {
    addNumbers(0, 3);
    try (AgxListener listener = numbers()) {
      Subscriber subscriber = new Subscriber();
      listener.publisher().subscribe(subscriber);
      subscriber.subscription.request(1);
      assertEquals("0", subscriber.take());
      Subscriber second = new Subscriber();
      listener.publisher().subscribe(second);
      assertInstanceOf(IllegalStateException.class, second.take());
      subscriber.subscription.cancel();
      assertEquals("1", listener.next().body());
      Subscriber third = new Subscriber();
      listener.publisher().subscribe(third);
      third.subscription.request(1);
      assertEquals("2", third.take());
      third.subscription.request(0);
      assertInstanceOf(IllegalArgumentException.class, third.take());
      subscriber.assertQuiet();
    }
  }

  /** Whoever goes on with the listener gets what is behind what the subscriber got. */
  @Test
  void a_subscription_that_is_cancelled_as_events_come_loses_none() throws Exception {
    int count = 200_000;
    for (int n = 0; n < count; n += 5000) addNumbers(n, n + 5000);
    try (AgxListener listener = numbers()) {
      for (int n = 0, round = 0; n < count - 100; ++round) {
        AtomicBoolean cancelled = new AtomicBoolean();
        Subscriber subscriber = new Subscriber() {
          @Override
          public void onNext(AgxEvent event) {
            calls.add(cancelled.get() ? "too late: " + event.body() : event.body());
          }
        };
        listener.publisher().subscribe(subscriber);
        subscriber.subscription.request(50);
        spin(1000);
        subscriber.subscription.cancel();
        cancelled.set(true);
        for (Object call; (call = subscriber.calls.poll()) != null; ++n) {
          assertEquals(String.valueOf(n), call);
        }
        if (round % 3 == 0) {
          assertEquals(String.valueOf(n++), listener.next().body());
        } else if (round % 3 == 1) {
          assertEquals(
              String.valueOf(n++), listener.nextAsync().get(30, TimeUnit.SECONDS).body());
        }
        assertNull(subscriber.calls.poll());
      }
    }
  }

  /** One whose calls return when they are let. */
  private static final class SlowSubscriber extends Subscriber {
    final CountDownLatch called = new CountDownLatch(1);
    final CountDownLatch go = new CountDownLatch(1);

    @Override
    public void onNext(AgxEvent event) {
      called.countDown();
      try {
        go.await();
      } catch (InterruptedException e) {
        calls.add(e);
      }
      super.onNext(event);
    }
  }

  @Test
  void cancelling_waits_for_the_call_that_is_under_way() throws Exception {
    addNumbers(0, 4);
    try (AgxListener listener = numbers()) {
      for (int n = 0; n < 4; n += 2) {
        SlowSubscriber subscriber = new SlowSubscriber();
        listener.publisher().subscribe(subscriber);
        subscriber.subscription.request(4);
        assertTrue(subscriber.called.await(30, TimeUnit.SECONDS));
        LinkedBlockingQueue<Object> behind = new LinkedBlockingQueue<>();
        boolean interrupted = n > 0;
        Thread cancelling = new Thread(() -> {
          if (interrupted) Thread.currentThread().interrupt();
          subscriber.subscription.cancel();
          if (subscriber.calls.isEmpty()) behind.add("it did not wait");
          behind.add(Thread.currentThread().isInterrupted());
        });
        cancelling.start();
        Waiting.until(
            () -> cancelling.getState() == Thread.State.TIMED_WAITING || !behind.isEmpty());
        subscriber.go.countDown();
        assertEquals(interrupted, behind.poll(30, TimeUnit.SECONDS));
        assertEquals(String.valueOf(n), subscriber.take());
        assertEquals(String.valueOf(n + 1), listener.next().body());
        subscriber.assertQuiet();
      }
    }
  }

  @Test
  void cancelling_does_not_wait_for_ever() throws Exception {
    addNumbers(0, 2);
    try (AgxListener listener = numbers()) {
      SlowSubscriber subscriber = new SlowSubscriber();
      listener.publisher().subscribe(subscriber);
      subscriber.subscription.request(2);
      assertTrue(subscriber.called.await(30, TimeUnit.SECONDS));
      Thread cancelling = new Thread(subscriber.subscription::cancel);
      cancelling.start();
      cancelling.join(30_000);
      assertFalse(cancelling.isAlive());
      assertEquals("1", listener.next().body());
      subscriber.go.countDown();
      assertEquals("0", subscriber.take());
      subscriber.assertQuiet();
    }
  }

  @Test
  void cancelling_within_a_call_waits_for_nothing_and_takes_nothing_more() throws Exception {
    addNumbers(0, 2);
    try (AgxListener listener = numbers()) {
      Subscriber subscriber = new Subscriber() {
        @Override
        public void onNext(AgxEvent event) {
          super.onNext(event);
          long begin = System.nanoTime();
          subscription.cancel();
          called(System.nanoTime() - begin < TimeUnit.MILLISECONDS.toNanos(900));
          called(listener.nextAsync().join().body());
        }
      };
      listener.publisher().subscribe(subscriber);
      subscriber.subscription.request(2);
      assertEquals("0", subscriber.take());
      assertEquals(true, subscriber.take());
      assertEquals("1", subscriber.take());
      subscriber.assertQuiet();
    }
  }

  @Test
  void what_a_listener_tells_is_the_subscribers_error_and_another_goes_on() throws Exception {
    AgxListenOptions options =
        AgxListenOptions.defaults().after("new").silentAfter(Duration.ofMillis(30));
    try (AgxListener listener = session.listen(options)) {
      Subscriber subscriber = new Subscriber();
      listener.publisher().subscribe(subscriber);
      subscriber.subscription.request(1);
      assertInstanceOf(AgxException.Silent.class, subscriber.take());
      addNumbers(7, 8);
      for (Object call = null; !"7".equals(call);) {
        Subscriber next = new Subscriber();
        listener.publisher().subscribe(next);
        next.subscription.request(1);
        call = next.take();
        next.subscription.cancel();
      }
    }
  }

  @Test
  void closing_is_a_subscribers_error() throws Exception {
    AgxListener listener = numbers();
    Subscriber subscriber = new Subscriber();
    listener.publisher().subscribe(subscriber);
    subscriber.subscription.request(1);
    listener.close();
    assertInstanceOf(AgxException.Closed.class, subscriber.take());
  }

  @Test
  void closing_needs_no_request() throws Exception {
    AgxListener listener = numbers();
    Subscriber subscriber = new Subscriber();
    listener.publisher().subscribe(subscriber);
    listener.close();
    assertInstanceOf(AgxException.Closed.class, subscriber.take());
  }

  @SuppressWarnings("unchecked")
  private static <T extends Throwable> void sneak(Throwable thrown) throws T {
    throw(T) thrown;
  }

  @Test
  void a_subscriber_that_throws_whatever_it_is_makes_room_for_another() throws Exception {
    addNumbers(0, 3);
    try (AgxListener listener = numbers()) {
      assertThrows(IllegalStateException.class, () -> listener.publisher().subscribe(new Subscriber() {
        @Override
        public void onSubscribe(Flow.Subscription given) {
          throw new IllegalStateException("a bug");
        }
      }));
      Subscriber throwing = new Subscriber() {
        @Override
        public void onNext(AgxEvent event) {
          super.onNext(event);
          ListenerTest.<RuntimeException>sneak(new java.io.IOException("a bug"));
        }
      };
      listener.publisher().subscribe(throwing);
      throwing.subscription.request(2);
      assertEquals("0", throwing.take());
      for (Object call = null; !"1".equals(call);) {
        // Until the one before has been taken out.
        Subscriber next = new Subscriber();
        listener.publisher().subscribe(next);
        next.subscription.request(1);
        call = next.take();
        if (!"1".equals(call)) assertInstanceOf(IllegalStateException.class, call);
        next.subscription.cancel();
      }
      throwing.assertQuiet();
    }
  }

  @Test
  void what_a_programs_code_throws_ends_no_other_listener() throws Exception {
    AtomicBoolean full = new AtomicBoolean();
    // It runs what it is given in the thread that gives it, or fails in a way of its own.
    Executor executor = call -> {
      if (full.get()) throw new IllegalStateException("full");
      call.run();
    };
    try (AgxClient own = AgxClient.open("memory:", new AgxOptions().callbacks(executor));
         AgxSession first = own.session(1, 1, "first"); AgxListener failing = first.listen();
         AgxSession second = own.session(1, 1, "second"); AgxListener listener = second.listen()) {
      second.start();
      assertEquals("begin", listener.next(Behaviour.PATIENCE).type());
      CountDownLatch thrown = new CountDownLatch(1);
      Subscriber throwing = new Subscriber() {
        @Override
        public void onNext(AgxEvent event) {
          thrown.countDown();
          throw new AssertionError("a bug");
        }
      };
      failing.publisher().subscribe(throwing);
      throwing.subscription.request(1);
      first.start();
      assertTrue(thrown.await(30, TimeUnit.SECONDS));
      second.add("n", "test", "1");
      assertEquals("1", listener.next(Behaviour.PATIENCE).body());
      CompletableFuture<AgxEvent> next = listener.nextAsync();
      full.set(true);
      second.add("n", "test", "2");
      assertEquals("2", next.get(30, TimeUnit.SECONDS).body());
      assertTrue(second.isLiveAsync().get(30, TimeUnit.SECONDS));
      second.add("n", "test", "3");
      assertEquals("3", listener.next(Behaviour.PATIENCE).body());
    }
  }

  @Test
  void futures_are_completed_one_after_the_other() throws Exception {
    int count = 10;
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch leave = new CountDownLatch(1);
    AtomicInteger within = new AtomicInteger();
    List<String> got = Collections.synchronizedList(new ArrayList<>());
    List<CompletableFuture<Void>> all = new ArrayList<>();
    Executor threads = call -> new Thread(call).start();
    try (AgxClient own = AgxClient.open("memory:", new AgxOptions().callbacks(threads));
         AgxSession numbered = own.session(1, 1, "numbered"); AgxListener listener = numbered.listen();
         AgxListener others = numbered.listen()) {
      for (int n = 0; n < count; ++n) {
        all.add(listener.nextAsync().thenAccept(event -> {
          if (within.incrementAndGet() != 1) got.add("two at once");
          entered.countDown();
          try {
            leave.await();
          } catch (InterruptedException e) {
            got.add(e.toString());
          }
          got.add(event.body());
          within.decrementAndGet();
        }));
      }
      numbered.add("n", "test", "0");
      assertTrue(entered.await(30, TimeUnit.SECONDS));
      // The same thread receives for both: the first's have had their chance.
      assertEquals("0", others.nextAsync().get(30, TimeUnit.SECONDS).body());
      for (int n = 1; n < count; ++n) {
        numbered.add("n", "test", String.valueOf(n));
        assertEquals(String.valueOf(n), others.nextAsync().get(30, TimeUnit.SECONDS).body());
      }
      leave.countDown();
      for (CompletableFuture<Void> one : all) one.get(30, TimeUnit.SECONDS);
    }
    List<String> numbers = new ArrayList<>();
    for (int n = 0; n < count; ++n) numbers.add(String.valueOf(n));
    assertEquals(numbers, got);
  }

  @Test
  void futures_that_are_cancelled_lose_nothing() throws Exception {
    int count = 20_000;
    CompletableFuture<Void> adding = CompletableFuture.runAsync(() -> {
      for (int n = 0; n < count; n += 50) addNumbers(n, n + 50);
      session.stop();
    });
    List<String> got = new ArrayList<>();
    try (AgxListener listener = numbers()) {
      for (;;) {
        CompletableFuture<AgxEvent> next = listener.nextAsync();
        if (ThreadLocalRandom.current().nextInt(3) == 0) next.cancel(false);
        try {
          AgxEvent event = next.join();
          if (event == null) break;
          got.add(event.body());
        } catch (CancellationException e) {
          // The next future gets what this one would have got.
        }
      }
    }
    adding.join();
    assertEquals(count, got.size());
    for (int n = 0; n < count; ++n) assertEquals(String.valueOf(n), got.get(n));
  }

  private interface GivingUp {
    /** False: it was too late, and the future has an event. */
    boolean giveUp(CompletableFuture<AgxEvent> future);
  }

  private static void spin(int most) {
    for (int spins = ThreadLocalRandom.current().nextInt(most); spins > 0; --spins) {
      Thread.onSpinWait();
    }
  }

  /** Whoever goes on with the listener gets what comes next, as if that future had not been. */
  private void assertTakesNothing(GivingUp way) throws Exception {
    int count = 20_000;
    for (int n = 0; n < count; n += 5000) addNumbers(n, n + 5000);
    try (AgxListener listener = numbers()) {
      for (int n = 0; n < count; ++n) {
        CompletableFuture<AgxEvent> future = listener.nextAsync();
        spin(2000);
        AgxEvent event;
        if (!way.giveUp(future)) {
          event = future.get(30, TimeUnit.SECONDS);
        } else if (n % 3 == 0) {
          event = listener.next();
        } else if (n % 3 == 1) {
          event = listener.next(Behaviour.PATIENCE);
        } else {
          event = listener.nextAsync().get(30, TimeUnit.SECONDS);
        }
        assertEquals(String.valueOf(n), event.body());
        assertEquals(event.id(), listener.position());
      }
    }
  }

  @Test
  void a_future_that_is_cancelled_as_its_event_comes_takes_nothing() throws Exception {
    assertTakesNothing(future -> future.cancel(true));
  }

  @Test
  void a_future_that_the_program_completes_as_its_event_comes_takes_nothing() throws Exception {
    IllegalStateException reason = new IllegalStateException("no longer needed");
    AtomicInteger turn = new AtomicInteger();
    assertTakesNothing(future -> {
      switch (turn.getAndIncrement() % 4) {
        case 0:
          return future.complete(null);
        case 1:
          return future.completeExceptionally(reason);
        case 2:
          return future.completeAsync(() -> null, Runnable::run).isDone() && future.join() == null;
        default:
          future.completeAsync(() -> { throw reason; }, Runnable::run);
          return future.handle((event, failure) -> failure != null).join();
      }
    });
  }

  @Test
  void a_future_whose_time_is_over_as_its_event_comes_takes_nothing() throws Exception {
    AtomicInteger turn = new AtomicInteger();
    assertTakesNothing(future -> {
      int micros = 1 + ThreadLocalRandom.current().nextInt(50);
      if (turn.getAndIncrement() % 2 == 0) {
        return future.completeOnTimeout(null, micros, TimeUnit.MICROSECONDS).join() == null;
      }
      future.orTimeout(micros, TimeUnit.MICROSECONDS);
      return future.handle((event, failure) -> failure != null).join();
    });
  }

  @Test
  void a_future_whose_value_is_set_before_its_event_comes_takes_nothing() throws Exception {
    try (AgxListener listener = numbers()) {
      CompletableFuture<AgxEvent> set = listener.nextAsync();
      set.obtrudeValue(null);
      CompletableFuture<AgxEvent> failed = listener.nextAsync();
      failed.obtrudeException(new IllegalStateException("no longer needed"));
      CompletableFuture<AgxEvent> next = listener.nextAsync();
      addNumbers(0, 1);
      assertEquals("0", next.get(30, TimeUnit.SECONDS).body());
      assertNull(set.join());
      assertTrue(failed.isCompletedExceptionally());
    }
  }

  @Test
  void a_thread_that_is_interrupted_again_and_again_loses_nothing() throws Exception {
    int count = 5000;
    List<String> got = new ArrayList<>();
    AgxListener listener = numbers();
    Thread reading = new Thread(() -> {
      for (;;) {
        try {
          AgxEvent event = listener.next();
          if (event == null) return;
          got.add(event.body());
        } catch (InterruptedException again) {
          // The listener goes on.
        }
      }
    });
    reading.start();
    for (int n = 0; n < count; n += 10) {
      addNumbers(n, n + 10);
      reading.interrupt();
    }
    session.stop();
    reading.join(60_000);
    assertFalse(reading.isAlive());
    assertEquals(count, got.size());
    for (int n = 0; n < count; ++n) assertEquals(String.valueOf(n), got.get(n));
    listener.close();
  }

  @Test
  void a_future_is_served_when_the_thread_that_received_is_gone() throws Exception {
    try (AgxListener listener = numbers()) {
      Waiting thread = new Waiting(listener::next);
      thread.awaitBlocked();
      CompletableFuture<AgxEvent> future = listener.nextAsync();
      thread.interrupt();
      assertInstanceOf(InterruptedException.class, thread.failure());
      addNumbers(0, 1);
      assertEquals("0", future.get(30, TimeUnit.SECONDS).body());
    }
  }

  @Test
  void a_subscriber_is_served_when_the_thread_that_received_is_gone() throws Exception {
    try (AgxListener listener = numbers()) {
      Waiting thread = new Waiting(listener::next);
      thread.awaitBlocked();
      Subscriber subscriber = new Subscriber();
      listener.publisher().subscribe(subscriber);
      thread.interrupt();
      assertInstanceOf(InterruptedException.class, thread.failure());
      session.stop();
      assertEquals("complete", subscriber.take());
    }
  }

  @Test
  void threads_and_futures_share_what_comes() throws Exception {
    int count = 20_000;
    List<String> got = Collections.synchronizedList(new ArrayList<>());
    try (AgxListener listener = numbers()) {
      List<CompletableFuture<Void>> takers = new ArrayList<>();
      for (int i = 0; i < 3; ++i) {
        takers.add(CompletableFuture.runAsync(() -> {
          for (AgxEvent event : listener) got.add(event.body());
        }, task -> new Thread(task).start()));
      }
      takers.add(CompletableFuture.runAsync(() -> {
        for (AgxEvent event; (event = listener.nextAsync().join()) != null;) got.add(event.body());
      }, task -> new Thread(task).start()));
      for (int n = 0; n < count; n += 10) addNumbers(n, n + 10);
      session.stop();
      for (CompletableFuture<Void> taker : takers) taker.get(60, TimeUnit.SECONDS);
    }
    assertEquals(count, got.size());
    assertEquals(count, new java.util.HashSet<>(got).size());
  }

  @Test
  void a_thousand_threads_wait_each_for_itself() throws Exception {
    List<AgxListener> listeners = new ArrayList<>();
    List<CompletableFuture<String>> got = new ArrayList<>();
    for (int i = 0; i < 1000; ++i) {
      AgxListener listener = numbers();
      listeners.add(listener);
      CompletableFuture<String> next = new CompletableFuture<>();
      got.add(next);
      new Thread(() -> {
        try {
          next.complete(listener.next().body());
          listener.next();
        } catch (Exception e) {
          next.completeExceptionally(e);
        }
      }).start();
    }
    addNumbers(7, 8);
    for (CompletableFuture<String> next : got) assertEquals("7", next.get(60, TimeUnit.SECONDS));
    listeners.forEach(AgxListener::close);
  }

  private static Object inside(Object of, String field) throws Exception {
    Field found = of.getClass().getDeclaredField(field);
    found.setAccessible(true);
    return found.get(of);
  }

  /** What waits in Java for a listener to be taken. */
  private static int waiting(AgxListener listener) throws Exception {
    return ((Collection<?>) inside(inside(listener, "listener"), "items")).size();
  }

  @Test
  void what_nobody_takes_is_bounded_and_nothing_is_lost() throws Exception {
    int count = 50_000;
    for (int n = 0; n < count; n += 5000) addNumbers(n, n + 5000);
    session.stop(Duration.ofMinutes(10));
    try (AgxListener slow = numbers(); AgxListener fast = numbers()) {
      // While one stands still, having asked for more than it takes, the other gets all.
      assertEquals("0", slow.nextAsync().get(30, TimeUnit.SECONDS).body());
      int most = 0;
      for (int n = 0; n < count; ++n) {
        assertEquals(String.valueOf(n), fast.next().body());
        most = Math.max(most, waiting(slow));
      }
      assertNull(fast.next());
      assertTrue(most > 0 && most <= 5 * 1024, most + " are waiting");
      for (int n = 1; n < count; ++n) assertEquals(String.valueOf(n), slow.next().body());
      assertNull(slow.next());
    }
  }

  @Test
  void large_bodies_are_bounded_by_their_bytes() throws Exception {
    String body = "\""
        + "x".repeat(200_000) + "\"";
    for (int n = 0; n < 100; ++n) session.add("n", "test", body);
    session.stop(Duration.ofMinutes(10));
    try (AgxListener listener = numbers()) {
      int got = 0;
      int most = 0;
      while (listener.next() != null) {
        ++got;
        most = Math.max(most, waiting(listener));
      }
      assertEquals(100, got);
      assertTrue(most <= 16, most + " are waiting");
    }
  }

  @Test
  void outcomes_that_nobody_hears_do_not_pile_up() throws Exception {
    AgxListenOptions options =
        AgxListenOptions.defaults().after("new").silentAfter(Duration.ofMillis(1));
    try (AgxListener listener = session.listen(options);
         AgxListener clock = session.listen(options)) {
      assertThrows(AgxException.class, () -> listener.next(Duration.ZERO));
      for (int i = 0; i < 100; ++i) {
        try {
          clock.next();
        } catch (AgxException.Silent silence) {
          // One of many.
        }
      }
      while (waiting(listener) == 0) Thread.sleep(1);
      assertEquals(1, waiting(listener));
    }
  }

  @Test
  void a_listener_that_is_forgotten_is_closed() throws Exception {
    for (int i = 0; i < 500; ++i) session.listen();
    Object core = inside(session, "core");
    Object listeners = inside(inside(core, "dispatcher"), "listeners");
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (((java.util.Map<?, ?>) listeners).size() > 0) {
      assertTrue(System.nanoTime() < deadline, "they are kept");
      System.gc();
      Thread.sleep(10);
    }
  }

  @Test
  void a_future_holds_on_to_a_listener_that_is_forgotten() throws Exception {
    CompletableFuture<AgxEvent> next =
        session.listen(AgxListenOptions.defaults().after("new")).nextAsync();
    for (int i = 0; i < 10; ++i) System.gc();
    addNumbers(1, 2);
    assertEquals("1", next.get(30, TimeUnit.SECONDS).body());
  }

  @Test
  void many_threads_share_a_listener() throws Exception {
    int count = 10_000;
    AtomicInteger got = new AtomicInteger();
    try (AgxListener listener = numbers()) {
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < 4; ++i) {
        Thread thread = new Thread(() -> {
          try {
            while (listener.next() != null) got.incrementAndGet();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
        });
        thread.start();
        threads.add(thread);
      }
      addNumbers(0, count);
      session.stop();
      for (Thread thread : threads) thread.join();
    }
    assertEquals(count, got.get());
  }
}
