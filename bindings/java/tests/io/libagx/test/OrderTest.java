package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxInterceptor;
import io.libagx.AgxNewEvent;
import io.libagx.AgxOptions;
import io.libagx.AgxRun;
import io.libagx.AgxSession;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is called on one session happens in the order of the calls, whether they wait or not. */
@Timeout(120)
class OrderTest {
  private static final int MANY = 5000;

  private AgxClient client;
  private AgxSession session;

  @BeforeEach
  void open() {
    client = AgxClient.open("memory:");
    session = client.session(1, 1, "order");
  }

  @AfterEach
  void close() {
    session.close();
    client.close();
  }

  /** Numbers from 0, without waiting for any. */
  private List<CompletableFuture<String>> queueMany() {
    return IntStream.range(0, MANY)
        .mapToObj(n -> session.addAsync("n", "test", String.valueOf(n)))
        .collect(Collectors.toList());
  }

  /** Numbers that come one behind the other as how many they are. */
  private List<String> types() {
    List<String> types = new ArrayList<>();
    int numbers = 0;
    for (AgxEvent event : session.history().stream().collect(Collectors.toList())) {
      if (event.type().equals("n")) {
        assertEquals(String.valueOf(numbers++), event.body());
        continue;
      }
      if (numbers > 0) types.add(numbers + " n");
      numbers = 0;
      types.add(event.type());
    }
    if (numbers > 0) types.add(numbers + " n");
    return types;
  }

  private static List<String> manyAnd(String before, String... after) {
    List<String> types = new ArrayList<>(List.of(before, MANY + " n"));
    types.addAll(List.of(after));
    return types;
  }

  @Test
  void a_stop_comes_behind_what_is_queued() {
    session.start();
    queueMany();
    session.stop();
    assertEquals(manyAnd("begin", "end"), types());
  }

  @Test
  void a_stop_that_is_not_waited_for_does_too() throws Exception {
    session.startAsync(io.libagx.AgxStartOptions.defaults());
    queueMany();
    CompletableFuture<Void> stop = session.stopAsync(Duration.ofMinutes(1));
    // Behind the stop, which drops nothing.
    CompletableFuture<String> late = session.addAsync("late", "test", null);
    stop.get(30, TimeUnit.SECONDS);
    late.get(30, TimeUnit.SECONDS);
    assertEquals(manyAnd("begin", "end", "late"), types());
  }

  @Test
  void events_that_are_waited_for_come_behind_those_that_are_not() throws Exception {
    session.start();
    queueMany();
    session.add("one", "test", null);
    session.addAsync("n2", "test", null);
    session.addAll(List.of(new AgxNewEvent("two", "test", null)));
    session.addAsync("n3", "test", null);
    session.addChecked(List.of(new AgxNewEvent("three", "test", null)), "copy", "", "1-0");
    session.addAsync("n4", "test", null);
    session.addInfo("{\"msg\":\"\"}");
    CompletableFuture<List<String>> all =
        session.addAllAsync(List.of(new AgxNewEvent("four", "test", null)));
    session.addAsync("n5", "test", null);
    session.addError("{\"msg\":\"\"}");
    assertEquals(1, all.get(30, TimeUnit.SECONDS).size());
    assertEquals(manyAnd("begin", "one", "n2", "two", "n3", "three", "n4", "info", "four", "n5",
                     "error"),
        types());
  }

  @Test
  void the_end_of_a_run_and_what_it_writes_come_behind_too() {
    try (AgxRun run = session.beginRun()) {
      queueMany();
      run.beginNode();
      run.endNode();
      session.addAsync("last", "test", null);
      run.finish();
    }
    List<String> types = types();
    assertEquals("end", types.get(types.size() - 1));
    assertEquals("last", types.get(types.size() - 2));
    assertEquals(List.of("begin", MANY + " n", "event"), types.subList(0, 3));
  }

  @Test
  void what_is_dropped_is_all_that_was_queued() {
    session.start();
    queueMany();
    session.history().drop();
    assertEquals(List.of(), types());
  }

  @Test
  void a_call_that_was_cancelled_in_the_queue_is_not_made() throws Exception {
    session.start();
    queueMany();
    CompletableFuture<Void> stop = session.stopAsync(null);
    boolean cancelled = stop.cancel(false);
    assertTrue(cancelled);
    session.add("last", "test", null);
    assertEquals(manyAnd("begin", "last"), types());
  }

  @Test
  void what_an_interceptor_calls_waits_for_nothing_that_waits_for_it() throws Exception {
    session.start();
    try (AgxInterceptor added = session.intercept("type = \"outer\"", event -> {
      session.add("inner", "test", null);
      return event.write();
    })) {
      List<CompletableFuture<String>> ids = new ArrayList<>();
      for (int n = 0; n < 100; ++n) ids.add(session.addAsync("outer", "test", null));
      session.add("outer", "test", null);
      for (CompletableFuture<String> id : ids) assertFalse(id.get(30, TimeUnit.SECONDS).isEmpty());
    }
    List<String> types = types();
    assertEquals(1 + 2 * 101, types.size());
    assertEquals(List.of("begin", "inner", "outer", "inner"), types.subList(0, 4));
  }

  @Test
  void what_continues_in_the_thread_that_adds_waits_for_nothing_that_waits_for_it()
      throws Exception {
    AgxOptions options = new AgxOptions().callbacks(Runnable::run);
    try (AgxClient direct = AgxClient.open("memory:", options);
         AgxSession other = direct.session(1, 1, "s")) {
      other.start();
      List<CompletableFuture<String>> all = new ArrayList<>();
      for (int n = 0; n < 1000; ++n) {
        all.add(other.addAsync("n", "test", null).thenApply(id -> other.add("m", "test", id2(id))));
      }
      for (CompletableFuture<String> each : all) each.get(30, TimeUnit.SECONDS);
      assertEquals(2001, other.history().stream().count());
    }
  }

  private static String id2(String id) {
    return "\"" + id + "\"";
  }

  /** Whatever an interceptor calls, it may wait for. */
  @Test
  void what_an_interceptor_gives_a_future_for_is_done_at_once() throws Exception {
    session.start();
    try (AgxInterceptor added = session.intercept("type = \"outer\"", event -> {
      session.addAsync("a", "test", null).get(30, TimeUnit.SECONDS);
      session.addAllAsync(List.of(new AgxNewEvent("b", "test", null))).get(30, TimeUnit.SECONDS);
      return event.write();
    })) {
      CompletableFuture<String> outer = session.addAsync("outer", "test", null);
      session.addAsync("last", "test", null);
      outer.get(30, TimeUnit.SECONDS);
      session.stop();
    }
    assertEquals(List.of("begin", "a", "b", "outer", "last", "end"), types());
  }

  /** A program's code that a worker runs may call what waits for the queue. */
  @Test
  void workers_that_wait_for_the_queue_do_not_keep_it_waiting() throws Exception {
    AgxOptions options = new AgxOptions().callbacks(Runnable::run);
    try (AgxClient direct = AgxClient.open("memory:", options);
         AgxSession other = direct.session(1, 1, "s")) {
      other.start();
      List<CompletableFuture<String>> all = new ArrayList<>();
      for (int round = 0; round < 200; ++round) {
        for (int n = 0; n < 20; ++n) other.addAsync("n", "test", null);
        for (int n = 0; n < 8; ++n) {
          all.add(other.isLiveAsync().thenApply(live -> other.add("m", "test", null)));
        }
      }
      for (CompletableFuture<String> each : all) each.get(60, TimeUnit.SECONDS);
    }
  }

  @Test
  void what_is_wrong_is_thrown_before_it_is_queued() {
    String half = "\uD83D";
    assertThrows(AgxException.Invalid.class, () -> session.addAsync(half, "test", null));
    assertThrows(AgxException.Invalid.class,
        () -> session.addAllAsync(List.of(new AgxNewEvent(half, "test", null))));
    assertThrows(
        AgxException.Invalid.class, () -> session.addCheckedAsync(List.of(), half, "", "1"));
    assertThrows(AgxException.Invalid.class,
        () -> session.startAsync(io.libagx.AgxStartOptions.defaults().origin(half)));
  }

  @Test
  void who_waits_behind_what_is_queued_when_the_client_closes_is_told() throws Exception {
    try (RedisServer server = new RedisServer()) {
      AgxClient closing = AgxClient.open(server.url());
      AgxSession other = closing.session(1, 1, "s");
      other.start();
      server.kill();
      other.addAsync("n", "test", null);
      Waiting stop = new Waiting(other::stop);
      stop.awaitBlocked();
      closing.close();
      assertInstanceOf(AgxException.Closed.class, stop.failure());
    }
  }
}
