package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxGroup;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxHistoryOptions;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxMessages;
import io.libagx.AgxProcessOptions;
import io.libagx.AgxQuery;
import io.libagx.AgxSession;
import io.libagx.AgxStartOptions;
import io.libagx.AgxSubscription;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * While the store hangs, closing waits for no call that it has not answered. The URL's times are so
 * long that who waits for one of them is stuck.
 */
@Timeout(240)
class HangTest {
  private static final Duration LONG = Duration.ofMinutes(10);
  private static final String TIMES =
      "?command_timeout=600000&reconnect_timeout=600000&connect_timeout=600000";

  private static RedisServer server;
  private AgxClient client;
  private AgxClient other;
  private AgxSession session;

  @BeforeAll
  static void startServer() throws Exception {
    server = new RedisServer();
  }

  @AfterAll
  static void stopServer() {
    server.close();
  }

  @BeforeEach
  void open() {
    client = AgxClient.open(server.url() + TIMES);
    other = AgxClient.open(server.url());
    session = client.session(1, 1, "hang" + System.nanoTime());
  }

  @AfterEach
  void close() throws Exception {
    server.hang(false);
    client.close();
    other.close();
  }

  /** Until a thread is in a call of C's whose name begins so. */
  private static void awaitInC(String call) {
    Waiting.until(() -> isInC(call));
  }

  private static boolean isInC(String call) {
    return Thread.getAllStackTraces()
        .values()
        .stream()
        .flatMap(Arrays::stream)
        .anyMatch(frame -> frame.isNativeMethod() && frame.getMethodName().startsWith(call));
  }

  /** In a thread of its own, so that one that waits is noticed. */
  private static void closeAtOnce(AutoCloseable closed) throws Exception {
    CompletableFuture<Void> closing = new CompletableFuture<>();
    Thread thread = new Thread(() -> {
      try {
        closed.close();
        closing.complete(null);
      } catch (Throwable failure) {
        closing.completeExceptionally(failure);
      }
    });
    thread.setDaemon(true);
    thread.start();
    try {
      closing.get(20, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new AssertionError("closing waits for the store", e);
    }
  }

  /** While the server hangs a call is begun and given up; then what it is on is closed. */
  private void closeBehind(AutoCloseable closed, String call, Supplier<CompletableFuture<?>> begins)
      throws Exception {
    server.hang(true);
    CompletableFuture<?> givenUp = begins.get();
    awaitInC(call);
    givenUp.cancel(true);
    closeAtOnce(closed);
    assertTrue(isInC(call), "the call has left, and nothing was tested");
    server.hang(false);
  }

  private AgxSession same() {
    return other.session(session.id());
  }

  // --- A session

  @Test
  void a_session_is_closed_at_once_behind_a_call_that_was_given_up() throws Exception {
    session.add("a", "test", "1");
    closeBehind(session, "agx", () -> session.addAsync("a", "test", "2"));
    assertEquals("the session is closed",
        assertThrows(AgxException.Closed.class, () -> session.add("a", "test", "3")).getMessage());
    AgxSession live = client.session(1, 1, "live");
    closeBehind(live, "agx_is_live", live::isLiveAsync);
    AgxSession started = client.session(1, 1, "started");
    closeBehind(started, "agxb_start", () -> started.startAsync(AgxStartOptions.defaults()));
    AgxSession read = client.session(1, 1, "read");
    closeBehind(read, "agxb_history_batch",
        () -> read.history().readAsync(AgxHistoryOptions.defaults(), 10));
  }

  @Test
  void what_is_under_way_is_carried_out_and_what_is_queued_is_told() throws Exception {
    server.hang(true);
    CompletableFuture<String> first = session.addAsync("a", "test", "1");
    awaitInC("agx");
    CompletableFuture<String> second = session.addAsync("a", "test", "2");
    CompletableFuture<Void> stop = session.stopAsync(null);
    Waiting blocked = new Waiting(() -> session.add("a", "test", "3"));
    blocked.awaitBlocked();
    closeAtOnce(session);
    assertInstanceOf(AgxException.Closed.class, Behaviour.failure(second));
    assertInstanceOf(AgxException.Closed.class, Behaviour.failure(stop));
    assertEquals("the session is closed", blocked.failure().getMessage());
    assertFalse(first.isDone());
    server.hang(false);
    String id = first.get(30, TimeUnit.SECONDS);
    List<AgxEvent> stored = same().history().read(AgxHistoryOptions.defaults(), 10);
    assertEquals(List.of(id), stored.stream().map(AgxEvent::id).toList());
  }

  @Test
  void one_session_of_a_round_is_closed_and_the_round_is_carried_out() throws Exception {
    AgxSession[] sessions = new AgxSession[6];
    for (int i = 0; i < sessions.length; ++i) sessions[i] = client.session(1, 1, "round" + i);
    server.hang(true);
    // Four go by themselves; the others gather behind them, for one call.
    CompletableFuture<?>[] adds = new CompletableFuture<?>[ sessions.length ];
    for (int i = 0; i < sessions.length; ++i) adds[i] = sessions[i].addAsync("a", "test", "1");
    awaitInC("agx");
    server.hang(false);
    CompletableFuture.allOf(adds).get(30, TimeUnit.SECONDS);
    server.hang(true);
    for (int round = 0; !isInC("agxb_add_each"); ++round) {
      assertTrue(round < 1000, "no two sessions' events went together");
      server.hang(false);
      for (CompletableFuture<?> add : adds) add.get(30, TimeUnit.SECONDS);
      server.hang(true);
      for (int i = 0; i < sessions.length; ++i) adds[i] = sessions[i].addAsync("a", "test", "2");
      awaitInC("agx");
    }
    for (AgxSession one : sessions) closeAtOnce(one);
    assertTrue(isInC("agxb_add_each"));
    server.hang(false);
    int stored = 0;
    for (CompletableFuture<?> add : adds) {
      try {
        add.get(30, TimeUnit.SECONDS);
        ++stored;
      } catch (java.util.concurrent.ExecutionException e) {
        assertInstanceOf(AgxException.Closed.class, e.getCause());
      }
    }
    assertTrue(stored >= 2, "those of the call that was under way");
  }

  @Test
  void a_session_is_closed_at_once_behind_a_wait_that_was_given_up() throws Exception {
    session.start();
    server.hang(true);
    CompletableFuture<AgxEvent> wait = session.waitForAsync("type = \"no\"");
    awaitInC("agxb_mux_batch");
    closeAtOnce(() -> wait.cancel(false));
    closeAtOnce(session);
  }

  // --- A group

  @Test
  void a_group_is_closed_at_once_behind_a_call_that_was_given_up() throws Exception {
    session.add("a", "test", "1");
    AgxGroup acking = session.group("g");
    closeBehind(acking, "agxb_group_ack", () -> acking.ackAsync(List.of("1-1")));
    AgxGroup reading = session.group("g", AgxGroupOptions.defaults().start("$"));
    closeBehind(reading, "agxb_group_batch",
        () -> reading.readAsync(AgxGroup.Source.PENDING_FIRST, LONG, 10));
    AgxGroup processing = session.group("h", AgxGroupOptions.defaults());
    server.hang(true);
    CompletableFuture<?> process =
        processing.processAsync(AgxProcessOptions.defaults(), (event, attempt) -> {});
    awaitInC("agxb_group_process");
    process.cancel(true);
    closeAtOnce(processing);
    assertTrue(isInC("agxb_group_process"));
  }

  @Test
  void who_waits_for_a_turn_behind_a_read_is_told_that_the_group_is_closed() throws Exception {
    AgxGroup group = session.group("g", AgxGroupOptions.defaults().consumer("c"));
    server.hang(true);
    CompletableFuture<?> first = group.readAsync(AgxGroup.Source.PENDING_FIRST, LONG, 1);
    awaitInC("agxb_group_batch");
    first.cancel(false);
    Waiting second = new Waiting(() -> group.read(AgxGroup.Source.NEW, LONG, 1));
    Waiting third = new Waiting(() -> group.read(AgxGroup.Source.NEW, Duration.ofMillis(-1), 1));
    second.awaitBlocked();
    third.awaitBlocked();
    closeAtOnce(group);
    assertEquals("the group is closed", second.failure().getMessage());
    assertEquals("the group is closed", third.failure().getMessage());
    assertTrue(isInC("agxb_group_batch"));
  }

  /** C's handle is closed then, which takes the consumer out whose name was made up. */
  @Test
  void the_last_call_that_leaves_a_group_closes_it() throws Exception {
    session.add("a", "test", "1");
    AgxGroup group = session.group("g");
    group.ack(group.read(AgxGroup.Source.NEW, LONG, 1).get(0));
    AgxGroup looking = same().group("g", AgxGroupOptions.defaults().consumer("me"));
    assertEquals(1, looking.consumers().size());
    closeBehind(group, "agxb_group_ack", () -> group.ackAsync(List.of("1-1")));
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!looking.consumers().isEmpty()) assertTrue(System.nanoTime() < deadline);
  }

  @Test
  void closing_a_group_waits_for_its_handler_still() throws Exception {
    session.add("a", "test", "1");
    session.add("a", "test", "2");
    AgxGroup group = session.group("g", AgxGroupOptions.defaults().consumer("c"));
    CountDownLatch called = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    List<String> bodies = new java.util.concurrent.CopyOnWriteArrayList<>();
    Waiting process = new Waiting(() -> group.process(AgxProcessOptions.defaults(), (event, n) -> {
      bodies.add(event.body() + " begins");
      called.countDown();
      go.await();
      bodies.add(event.body() + " ends");
    }));
    called.await();
    List<String> seen = new java.util.concurrent.CopyOnWriteArrayList<>();
    Thread closing = new Thread(() -> {
      group.close();
      seen.addAll(bodies);
    });
    closing.start();
    Waiting.until(()
                      -> !closing.isAlive() || closing.getState() == Thread.State.WAITING
            || isInC("agx_group_close"));
    assertTrue(closing.isAlive(), "it did not wait");
    go.countDown();
    closing.join(30_000);
    assertFalse(closing.isAlive());
    assertEquals(List.of("1 begins", "1 ends"), seen);
    assertEquals("the group is closed", process.failure().getMessage());
    // What was handled is acknowledged, and what was not comes again.
    AgxGroup again = same().group("g", AgxGroupOptions.defaults().consumer("c"));
    List<AgxEvent> pending = again.read(AgxGroup.Source.PENDING_ONLY, LONG, 10);
    assertEquals(List.of("2"), pending.stream().map(AgxEvent::body).toList());
    assertEquals(List.of("1 begins", "1 ends"), bodies);
  }

  // --- The others

  @Test
  void a_conversation_is_closed_at_once_behind_a_call_that_was_given_up() throws Exception {
    AgxMessages messages = session.messages();
    server.hang(true);
    CompletableFuture<Void> load = messages.loadAsync();
    awaitInC("agx_messages_load");
    load.cancel(true);
    Waiting behind = new Waiting(messages::json);
    behind.awaitBlocked();
    closeAtOnce(messages);
    assertEquals("the conversation is closed", behind.failure().getMessage());
    assertTrue(isInC("agx_messages_load"));
  }

  @Test
  void a_query_is_closed_at_once_and_who_is_in_it_gets_the_answer() throws Exception {
    session.start();
    AgxQuery query = client.live(1, 1);
    server.hang(true);
    CompletableFuture<Boolean> any = CompletableFuture.supplyAsync(query::hasNext);
    awaitInC("agx_query_next");
    closeAtOnce(query);
    server.hang(false);
    assertTrue(any.get(30, TimeUnit.SECONDS));
    assertThrows(AgxException.Closed.class, query::next);
    session.stop();
  }

  @Test
  void a_listener_is_closed_at_once_while_a_thread_receives() throws Exception {
    session.add("a", "test", "1");
    AgxListener listener = session.listen();
    AgxListener interrupted = session.listen();
    server.hang(true);
    Waiting waiting = new Waiting(listener::next);
    Waiting givingUp = new Waiting(interrupted::next);
    waiting.awaitBlocked();
    givingUp.awaitBlocked();
    givingUp.interrupt();
    closeAtOnce(listener);
    closeAtOnce(interrupted);
    server.hang(false);
    assertEquals("the listener is closed", waiting.failure().getMessage());
    assertInstanceOf(InterruptedException.class, givingUp.failure());
  }

  @Test
  void who_looks_does_not_wait_for_a_store_that_hangs() throws Exception {
    session.start();
    AgxListener listener = session.listen();
    AgxListener closed = session.listen();
    AgxListener empty = session.listen(AgxListenOptions.defaults().after("new"));
    AgxListener followed = session.listen();
    assertEquals("begin", followed.next(Duration.ZERO).type());
    server.hang(true);
    for (int i = 0; i < 3; ++i) {
      assertThrows(AgxException.Timeout.class, () -> listener.next(Duration.ZERO));
      assertThrows(AgxException.Timeout.class, () -> closed.next(Duration.ZERO));
      assertThrows(AgxException.Timeout.class, () -> empty.next(Duration.ZERO));
      assertThrows(AgxException.Timeout.class, () -> followed.next(Duration.ZERO));
    }
    assertTrue(isInC("agxb_listen_batch"), "nobody looks, and nothing was tested");
    closeAtOnce(closed);
    assertThrows(AgxException.Closed.class, () -> closed.next(Duration.ZERO));
    Waiting interrupted = new Waiting(() -> listener.next(LONG));
    interrupted.awaitBlocked();
    interrupted.interrupt();
    assertInstanceOf(InterruptedException.class, interrupted.failure());
    CompletableFuture<AgxEvent> begin = listener.nextAsync();
    CompletableFuture<AgxEvent> next = empty.nextAsync();
    server.hang(false);
    assertEquals("begin", begin.get(30, TimeUnit.SECONDS).type());
    session.add("a", "test", "1");
    assertEquals("1", next.get(30, TimeUnit.SECONDS).body());
    assertEquals("1", OwnBehaviour.lookUntil(listener).body());
    assertEquals("1", OwnBehaviour.lookUntil(followed).body());
  }

  @Test
  void who_waits_beside_one_that_looks_gets_what_comes() throws Exception {
    session.start();
    AgxListener listener = session.listen();
    server.hang(true);
    Waiting looking = new Waiting(() -> listener.next(Duration.ZERO));
    awaitInC("agxb_listen_batch");
    CompletableFuture<AgxEvent> first = new CompletableFuture<>();
    Waiting waiting = new Waiting(() -> first.complete(listener.next()));
    assertInstanceOf(AgxException.Timeout.class, looking.failure());
    waiting.awaitBlocked();
    server.hang(false);
    assertEquals("begin", first.get(30, TimeUnit.SECONDS).type());
  }

  @Test
  void a_subscription_is_closed_at_once_but_for_its_function() throws Exception {
    String id = "subscribed" + System.nanoTime();
    Duration lease = Duration.ofMillis(200);
    other.session(1, 1, id).start(AgxStartOptions.defaults().lease(lease).detached(true));
    CountDownLatch called = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    AgxSubscription subscription = client.session(1, 1, id).subscribe(event -> {
      called.countDown();
      go.await();
    });
    called.await();
    server.hang(true);
    // By then the thread that reads has asked whether the producer is there.
    Thread.sleep(5 * lease.toMillis());
    Thread closing = new Thread(subscription::close);
    closing.start();
    Waiting.until(()
                      -> !closing.isAlive() || closing.getState() == Thread.State.WAITING
            || isInC("agx_subscription_close"));
    assertTrue(closing.isAlive(), "it did not wait for the function");
    assertFalse(subscription.done().isDone());
    go.countDown();
    closing.join(20_000);
    assertFalse(closing.isAlive(), "closing waits for the store");
    subscription.done().get(30, TimeUnit.SECONDS);
  }
}
