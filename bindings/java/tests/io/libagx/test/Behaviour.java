package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClaimed;
import io.libagx.AgxClient;
import io.libagx.AgxDeadLetter;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxGoneReason;
import io.libagx.AgxGroup;
import io.libagx.AgxGroupInfo;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxHealth;
import io.libagx.AgxHistoryInfo;
import io.libagx.AgxHistoryOptions;
import io.libagx.AgxIntercepted;
import io.libagx.AgxInterceptor;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxMessages;
import io.libagx.AgxModelApi;
import io.libagx.AgxNewEvent;
import io.libagx.AgxOptions;
import io.libagx.AgxPending;
import io.libagx.AgxPendingEvent;
import io.libagx.AgxProcessOptions;
import io.libagx.AgxQuery;
import io.libagx.AgxRun;
import io.libagx.AgxSession;
import io.libagx.AgxSessionId;
import io.libagx.AgxStartOptions;
import io.libagx.AgxStatus;
import io.libagx.AgxStreamOptions;
import io.libagx.AgxSubscribeOptions;
import io.libagx.AgxSubscriber;
import io.libagx.AgxSubscription;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The cases of tests/behaviour.txt, by their names, on whatever store url() is of. */
@Timeout(120)
abstract class Behaviour {
  static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final AtomicInteger COUNT = new AtomicInteger();

  AgxClient client;
  AgxSession session;
  /** Another handle of the same session, from the same client. */
  AgxSession other;

  abstract String url();

  static String separator(String url) {
    return url.contains("?") ? "&" : "?";
  }

  @BeforeEach
  void open() {
    client = AgxClient.open(url());
    String id = "test-" + COUNT.incrementAndGet();
    session = client.session(1, 42, id);
    other = client.session(1, 42, id);
  }

  @AfterEach
  void close() {
    session.close();
    other.close();
    client.close();
  }

  static String described(AgxEvent event) {
    return event.type() + " " + event.origin() + " " + event.body();
  }

  static List<String> bodies(AgxListener listener) {
    List<String> bodies = new ArrayList<>();
    for (AgxEvent event : listener) bodies.add(event.body());
    return bodies;
  }

  String begin() {
    return "{\"session_id\": \"" + session.id().sessionId() + "\"}";
  }

  AgxListener listen(String after) {
    return other.listen(AgxListenOptions.defaults().after(after));
  }

  /** How many threads this process has, the virtual machine's and C's among them. */
  static int threads() throws Exception {
    try (var tasks = Files.list(Path.of("/proc/self/task"))) {
      return (int) tasks.count();
    }
  }

  @Test
  void start_add_stop() {
    session.start();
    String first = session.add("info", "test", "{\"n\":1}");
    String second = session.add("note", "other", null);
    String third = session.addInfo("{\"n\":3}");
    String fourth = session.addError("{\"n\":4}");
    session.stop();
    List<AgxEvent> events;
    try (AgxListener listener = other.listen()) {
      events = listener.stream().collect(Collectors.toList());
      assertTrue(listener.ended());
      assertFalse(listener.limitReached());
    }
    assertEquals(List.of("begin opale " + begin(), "info test {\"n\":1}", "note other {}",
                     "info opale {\"n\":3}", "error opale {\"n\":4}"),
        events.stream().map(Behaviour::described).collect(Collectors.toList()));
    assertEquals(List.of(first, second, third, fourth),
        events.stream().skip(1).map(AgxEvent::id).collect(Collectors.toList()));
    assertTrue(events.get(1).time().toEpochMilli() > 0);
  }

  @Test
  void late_listener() throws Exception {
    session.start();
    session.add("info", "test", "1");
    session.stop();
    try (AgxListener listener = other.listen(AgxListenOptions.defaults().handOnEnd(true))) {
      List<String> types = new ArrayList<>();
      for (AgxEvent event; (event = listener.next()) != null;) types.add(event.type());
      assertEquals(List.of("begin", "info", "end"), types);
      assertNull(listener.next());
    }
  }

  @Test
  void follow_live() throws Exception {
    session.start();
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(PATIENCE).type());
      CompletableFuture<AgxEvent> next = listener.nextAsync();
      assertThrows(AgxException.Timeout.class, () -> listener.next(Duration.ofMillis(20)));
      assertFalse(next.isDone());
      session.add("info", "test", "1");
      assertEquals("1", next.get(30, TimeUnit.SECONDS).body());
      session.add("info", "test", "2");
      assertEquals("2", listener.next(PATIENCE).body());
    }
    session.stop();
  }

  @Test
  void resume() throws Exception {
    session.start();
    for (int i = 0; i < 5; ++i) session.add("info", "test", String.valueOf(i));
    session.stop();
    String position;
    try (AgxListener listener = other.listen()) {
      assertEquals("0-0", listener.position());
      for (int i = 0; i < 3; ++i) listener.next(PATIENCE);
      position = listener.position();
    }
    try (AgxListener listener = listen(position)) {
      assertEquals(List.of("2", "3", "4"), bodies(listener));
    }
  }

  @Test
  void only_new() throws Exception {
    session.start();
    session.add("info", "test", "1");
    try (AgxListener listener = listen("new")) {
      session.add("info", "test", "2");
      session.stop();
      assertEquals(List.of("2"), bodies(listener));
    }
  }

  @Test
  void limit() throws Exception {
    session.start();
    session.add("info", "test", "1");
    session.add("info", "test", "2");
    try (AgxListener listener = other.listen(AgxListenOptions.defaults().limit(2))) {
      assertEquals(List.of(begin(), "1"), bodies(listener));
      assertTrue(listener.limitReached());
      try (AgxListener rest =
               other.listen(AgxListenOptions.defaults().after(listener.position()).limit(1))) {
        assertEquals(List.of("2"), bodies(rest));
      }
    }
  }

  @Test
  void where() {
    session.start();
    for (int i = 0; i < 6; ++i) session.add("info", "test", "{\"n\":" + i + "}");
    session.stop();
    AgxListenOptions options = AgxListenOptions.defaults().where("body.n >= 4 and type = \"info\"");
    try (AgxListener listener = other.listen(options)) {
      assertEquals(List.of("{\"n\":4}", "{\"n\":5}"), bodies(listener));
    }
    AgxException.Invalid mistake =
        assertThrows(AgxException.Invalid.class, () -> other.listen(options.where("body.n >=")));
    assertTrue(mistake.getMessage().contains("byte"), mistake.getMessage());
    assertEquals(AgxStatus.EINVAL, mistake.status());
    assertEquals(-1, mistake.code());
  }

  @Test
  void absent() {
    AgxListenOptions options = AgxListenOptions.defaults().absentAfter(Duration.ofMillis(50));
    try (AgxListener listener = other.listen(options)) {
      assertThrows(AgxException.Absent.class, () -> listener.next(PATIENCE));
    }
  }

  @Test
  void silent() throws Exception {
    session.start();
    AgxListenOptions options =
        AgxListenOptions.defaults().after("new").silentAfter(Duration.ofMillis(50));
    try (AgxListener listener = other.listen(options)) {
      assertThrows(AgxException.Silent.class, () -> listener.next(PATIENCE));
      session.add("info", "test", "1");
      assertEquals("1", nextEvent(listener).body());
    }
  }

  /** The next event behind any number of silences. */
  private static AgxEvent nextEvent(AgxListener listener) throws InterruptedException {
    for (;;) {
      try {
        return listener.next(PATIENCE);
      } catch (AgxException.Silent again) {
        // It goes on.
      }
    }
  }

  @Test
  void gone() throws Exception {
    AgxClient producer = AgxClient.open(url());
    AgxSession dying = producer.session(session.id());
    dying.start(AgxStartOptions.defaults().lease(Duration.ofMillis(300)));
    producer.close();
    dying.close();
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(PATIENCE).type());
      assertEquals(AgxGoneReason.NOT, listener.goneReason());
      assertThrows(AgxException.Gone.class, () -> listener.next(PATIENCE));
      assertEquals(AgxGoneReason.EXPIRED, listener.goneReason());
    }
  }

  @Test
  void gap() throws Exception {
    session.start();
    String first = session.add("info", "test", "1");
    for (int i = 2; i < 6; ++i) session.add("info", "test", String.valueOf(i));
    assertEquals(4, other.history().trimTo(2));
    session.stop();
    try (AgxListener listener = listen(first)) {
      assertThrows(AgxException.Gap.class, () -> listener.next(PATIENCE));
      assertEquals(List.of("4", "5"), bodies(listener));
    }
  }

  @Test
  void end_is_iteration_end() throws Exception {
    session.start();
    try (AgxListener listener = other.listen()) {
      CompletableFuture<List<String>> seen = CompletableFuture.supplyAsync(() -> bodies(listener));
      session.add("info", "test", "1");
      session.stop();
      assertEquals(List.of(begin(), "1"), seen.get(30, TimeUnit.SECONDS));
      assertNull(listener.nextAsync().get(30, TimeUnit.SECONDS));
      assertFalse(listener.iterator().hasNext());
      assertEquals(0, listener.stream().count());
    }
  }

  @Test
  void start_busy() {
    session.start();
    AgxException busy = assertThrows(AgxException.Busy.class, other::start);
    assertEquals(AgxStatus.EBUSY, busy.status());
    assertFalse(busy.getMessage().isEmpty());
  }

  @Test
  void take_over() throws Exception {
    session.start();
    other.start(AgxStartOptions.defaults().takeOver(true));
    assertThrows(AgxException.TakenOver.class, () -> session.waitCanceled(PATIENCE));
    assertTrue(session.isCanceled());
    assertThrows(AgxException.TakenOver.class, () -> session.add("info", "test", "1"));
    assertThrows(AgxException.TakenOver.class, session::stop);
    assertFalse(other.isCanceled());
    other.stop();
  }

  @Test
  void cancel() throws Exception {
    session.start();
    assertFalse(session.isCanceled());
    assertThrows(AgxException.Timeout.class, () -> session.waitCanceled(Duration.ofMillis(20)));
    CompletableFuture<Void> canceled = session.whenCanceled();
    assertTrue(other.cancel());
    canceled.get(30, TimeUnit.SECONDS);
    session.waitCanceled(PATIENCE);
    assertTrue(session.isCanceled());
    assertThrows(AgxException.NotLive.class, () -> other.waitCanceled(PATIENCE));
  }

  @Test
  void cancel_not_live() throws Exception {
    assertFalse(other.cancel());
    session.start();
    assertTrue(other.cancelAsync().get(30, TimeUnit.SECONDS));
    assertFalse(other.cancel());
    assertThrows(AgxException.NotLive.class, other::renew);
  }

  @Test
  void live() throws Exception {
    assertFalse(other.isLive());
    session.startAsync(AgxStartOptions.defaults()).get(30, TimeUnit.SECONDS);
    assertTrue(other.isLive());
    other.renew();
    session.stopAsync(null).get(30, TimeUnit.SECONDS);
    assertFalse(other.isLiveAsync().get(30, TimeUnit.SECONDS));
  }

  @Test
  void add_many() throws Exception {
    session.start();
    List<AgxNewEvent> events = new ArrayList<>();
    for (int i = 0; i < 3000; ++i) {
      events.add(new AgxNewEvent("n", "test", i % 3 == 0 ? null : "{\"n\":" + i + "}"));
    }
    List<String> ids = session.addAll(events);
    List<String> more = session.addAllAsync(events.subList(0, 2)).get(30, TimeUnit.SECONDS);
    session.stop();
    List<AgxEvent> read = other.history().stream().collect(Collectors.toList());
    List<AgxEvent> added = read.subList(1, read.size() - 1);
    assertEquals(3002, added.size());
    for (int i = 0; i < 3000; ++i) {
      assertEquals(ids.get(i), added.get(i).id());
      assertEquals(i % 3 == 0 ? "{}" : "{\"n\":" + i + "}", added.get(i).body());
    }
    assertEquals(more.get(1), added.get(3001).id());
    assertEquals(List.of(), session.addAll(List.of()));
    List<AgxNewEvent> bad = List.of(events.get(1), new AgxNewEvent("n", "test", "no"));
    assertThrows(AgxException.BadJson.class, () -> session.addAll(bad));
  }

  /** A JSON string of every character that one may hold, each as it is but where it must not be. */
  private static String everyCharacter() {
    StringBuilder out = new StringBuilder("\"");
    for (int c = 1; c <= Character.MAX_CODE_POINT; ++c) {
      if (c == 0xD800) c = 0xE000;
      if (c < 0x20) {
        out.append(String.format("\\u%04x", c));
      } else if (c == '"' || c == '\\') {
        out.append('\\').append((char) c);
      } else {
        out.appendCodePoint(c);
      }
    }
    return out.append('"').toString();
  }

  @Test
  void text() throws Exception {
    AgxSession named = client.session(1, 42, session.id().sessionId() + " \uD83D\uDE00*:\u00E9");
    named.start();
    String type = "t\uD83D\uDE00\u00E9\u4E2D";
    String every = everyCharacter();
    String large = "\""
        + "\uD83D\uDE00".repeat(1 << 18) + "\"";
    named.add(type, "\uD834\uDD1E", every);
    named.addAll(List.of(new AgxNewEvent("x", "\uFFFD", large)));
    named.stop();
    try (AgxListener listener = named.listen()) {
      assertEquals("{\"session_id\": \"" + named.id().sessionId() + "\"}",
          unescaped(listener.next(PATIENCE).body()));
      AgxEvent event = listener.next(PATIENCE);
      assertEquals(type, event.type());
      assertEquals("\uD834\uDD1E", event.origin());
      assertEquals(every, event.body());
      event = listener.next(PATIENCE);
      assertEquals("\uFFFD", event.origin());
      assertEquals(large, event.body());
    }
    for (String bad : List.of("a\0b", "\uD83D", "\uDE00", "\uD83Dx", "\uDE00\uD83D")) {
      assertThrows(AgxException.Invalid.class, () -> session.add(bad, "test", "1"));
      assertThrows(AgxException.Invalid.class, () -> session.add("x", bad, "1"));
      assertThrows(AgxException.Invalid.class, () -> session.add("x", "x", "\"" + bad + "\""));
      assertThrows(AgxException.Invalid.class, () -> session.addAsync("x", "x", "\"" + bad + "\""));
      assertThrows(AgxException.Invalid.class,
          () -> session.addAll(List.of(new AgxNewEvent("x", "x", bad))));
      assertThrows(AgxException.Invalid.class, () -> client.session(1, 1, bad));
      assertThrows(AgxException.Invalid.class, () -> AgxClient.open("memory:" + bad));
      assertThrows(
          AgxException.Invalid.class, () -> other.waitFor("type = \"" + bad + "\"", PATIENCE));
    }
    named.close();
  }

  /** What `begin` writes of a session id: characters beyond ASCII may be escaped. */
  private static String unescaped(String json) {
    StringBuilder out = new StringBuilder();
    for (int i = 0; i < json.length(); ++i) {
      if (json.startsWith("\\u", i)) {
        out.append((char) Integer.parseInt(json.substring(i + 2, i + 6), 16));
        i += 5;
      } else {
        out.append(json.charAt(i));
      }
    }
    return out.toString();
  }

  @Test
  void bad_body() {
    session.start();
    AgxException bad =
        assertThrows(AgxException.BadJson.class, () -> session.add("info", "test", "{"));
    assertEquals(AgxStatus.EJSON, bad.status());
    assertThrows(AgxException.TooBig.class, () -> session.add("x".repeat(257), "test", "1"));
    CompletableFuture<String> later = session.addAsync("info", "test", "nope");
    assertEquals(AgxException.BadJson.class, failure(later).getClass());
  }

  static Throwable failure(CompletableFuture<?> future) {
    return assertThrows(
        java.util.concurrent.ExecutionException.class, () -> future.get(30, TimeUnit.SECONDS))
        .getCause();
  }

  private static void closed(org.junit.jupiter.api.function.Executable call) {
    AgxException failure = assertThrows(AgxException.Closed.class, call);
    assertEquals(AgxStatus.ECLOSED, failure.status());
    assertTrue(failure.getMessage().endsWith(" is closed"), failure.getMessage());
  }

  private static void sessionIsClosed(AgxSession session) {
    closed(session::start);
    closed(session::stop);
    closed(() -> session.add("a", "b", "1"));
    closed(() -> session.addAsync("a", "b", "1"));
    closed(() -> session.addAll(List.of(new AgxNewEvent("a", "b", null))));
    closed(() -> session.addInfo("1"));
    closed(() -> session.addError("1"));
    closed(session::isLive);
    closed(session::renew);
    closed(session::cancel);
    closed(session::isCanceled);
    closed(session::whenCanceled);
    closed(() -> session.waitCanceled(PATIENCE));
    closed(() -> session.waitFor(null, PATIENCE));
    closed(session::listen);
    closed(session::messages);
    closed(session::beginRun);
    closed(() -> session.history().info());
    closed(() -> session.history().read(AgxHistoryOptions.defaults(), 1));
    closed(() -> session.history().trimTo(1));
    closed(() -> session.history().delete());
  }

  private static void messagesAreClosed(AgxMessages messages) {
    closed(messages::json);
    closed(messages::title);
    closed(messages::nodes);
    closed(messages::size);
    closed(() -> messages.partCount(0));
    closed(() -> messages.field(0, "kind"));
    closed(() -> messages.partField(0, 0, "content"));
    closed(() -> messages.append("[]"));
    closed(() -> messages.appendUser("x"));
    closed(() -> messages.appendSystem("x"));
    closed(() -> messages.appendToolReturn("x", "y", "1"));
    closed(() -> messages.appendRetry("x", "y", "z"));
    closed(() -> messages.request(AgxModelApi.ANTHROPIC, null));
    closed(messages::load);
    closed(messages::save);
  }

  private static void runIsClosed(AgxRun run) {
    closed(run::beginNode);
    closed(() -> run.toolReturn("a", "b", "1"));
    closed(() -> run.beginText("x"));
    closed(() -> run.beginThinking("x"));
    closed(() -> run.beginToolCall("a", "b", "{}"));
    closed(() -> run.grow(AgxRun.LAST_PART, "x"));
    closed(() -> run.endPart(0));
    closed(run::answer);
    closed(run::endNode);
    closed(run::flush);
    closed(() -> run.feed(AgxModelApi.ANTHROPIC, new byte[1]));
    closed(run::endFeed);
    closed(run::finish);
    closed(() -> run.fail("x"));
  }

  private static void listenerIsClosed(AgxListener listener) {
    closed(listener::next);
    closed(() -> listener.next(Duration.ZERO));
    closed(() -> listener.iterator().hasNext());
    assertEquals(AgxException.Closed.class, failure(listener.nextAsync()).getClass());
    listener.position();
  }

  @Test
  void closed() throws Exception {
    AgxSession lone = client.session(7, 7, "closed");
    AgxListener listener = lone.listen();
    AgxMessages messages = lone.messages();
    AgxRun run = session.beginRun();
    AgxQuery query = client.live();
    for (int i = 0; i < 2; ++i) {
      lone.close();
      listener.close();
      messages.close();
      run.close();
      query.close();
    }
    sessionIsClosed(lone);
    listenerIsClosed(listener);
    messagesAreClosed(messages);
    runIsClosed(run);
    closed(query::hasNext);

    AgxClient owner = AgxClient.open(url());
    AgxSession session = owner.session(7, 7, "owned");
    AgxListener owned = session.listen();
    AgxQuery listing = owner.live();
    AgxMessages kept = session.messages();
    owner.close();
    owner.close();
    sessionIsClosed(session);
    listenerIsClosed(owned);
    closed(listing::hasNext);
    closed(kept::load);
    assertEquals("[]", kept.json());
    closed(() -> owner.session(1, 1, "x"));
    closed(owner::live);
    for (AutoCloseable handle : List.of(owned, session, listing, kept)) handle.close();
  }

  @Test
  void close_while_waiting() throws Exception {
    session.start();
    AgxListener listener = listen("new");
    CompletableFuture<AgxEvent> future = listener.nextAsync();
    Waiting waiting = new Waiting(() -> listener.next());
    waiting.awaitBlocked();
    listener.close();
    assertEquals(AgxException.Closed.class, waiting.failure().getClass());
    assertEquals(AgxException.Closed.class, failure(future).getClass());

    // The client likewise ends whatever waits.
    AgxClient owner = AgxClient.open(url());
    AgxSession mine = owner.session(1, 42, "waiting-" + session.id().sessionId());
    mine.start();
    AgxListener followed = mine.listen(AgxListenOptions.defaults().after("new"));
    Waiting following = new Waiting(() -> followed.next());
    Waiting forCancel = new Waiting(() -> mine.waitCanceled(PATIENCE.multipliedBy(10)));
    Waiting forEvent = new Waiting(() -> mine.waitFor("type = \"x\"", PATIENCE.multipliedBy(10)));
    for (Waiting each : List.of(following, forCancel, forEvent)) each.awaitBlocked();
    owner.close();
    for (Waiting each : List.of(following, forCancel, forEvent)) {
      assertEquals(AgxException.Closed.class, each.failure().getClass());
    }
    followed.close();
    mine.close();
  }

  @Test
  void language_cancel() throws Exception {
    session.start();
    try (AgxListener listener = listen("new")) {
      Waiting blocked = new Waiting(() -> listener.next());
      blocked.awaitBlocked();
      blocked.interrupt();
      assertEquals(InterruptedException.class, blocked.failure().getClass());

      Waiting iterating = new Waiting(() -> listener.iterator().hasNext());
      iterating.awaitBlocked();
      iterating.interrupt();
      assertEquals(AgxException.Interrupted.class, iterating.failure().getClass());
      assertTrue(iterating.wasInterruptedStill());

      CompletableFuture<AgxEvent> future = listener.nextAsync();
      assertTrue(future.cancel(false));
      assertTrue(future.isCancelled());

      Waiting waiting = new Waiting(() -> session.waitCanceled(PATIENCE.multipliedBy(10)));
      waiting.awaitBlocked();
      waiting.interrupt();
      assertEquals(InterruptedException.class, waiting.failure().getClass());
      waiting = new Waiting(() -> session.waitFor("type = \"x\"", PATIENCE.multipliedBy(10)));
      waiting.awaitBlocked();
      waiting.interrupt();
      assertEquals(InterruptedException.class, waiting.failure().getClass());

      session.add("info", "test", "1");
      session.add("info", "test", "2");
      assertEquals("1", listener.next(PATIENCE).body());
      assertEquals("2", listener.nextAsync().get(30, TimeUnit.SECONDS).body());
    }
  }

  @Test
  void query() throws Exception {
    Set<AgxSessionId> expected = new HashSet<>();
    List<AgxSession> sessions = new ArrayList<>();
    for (long scope : new long[] {100, 200}) {
      for (long user : new long[] {1, 2}) {
        AgxSession each = client.session(scope, user, "q\uD83D\uDE00:" + scope);
        each.start();
        sessions.add(each);
        expected.add(each.id());
      }
    }
    try (AgxQuery query = client.live(100, 1)) {
      assertEquals(new AgxSessionId(100, 1, "q\uD83D\uDE00:100"), query.next());
      assertFalse(query.hasNext());
    }
    try (AgxQuery query = client.live(200)) {
      assertEquals(2, query.stream().filter(id -> id.scopeId() == 200).count());
    }
    try (AgxQuery query = client.live()) {
      assertEquals(
          expected, query.stream().filter(id -> id.scopeId() >= 100).collect(Collectors.toSet()));
    }
    for (AgxSession each : sessions) {
      each.stop();
      each.close();
    }
    try (AgxQuery query = client.live(100)) {
      assertFalse(query.hasNext());
    }
  }

  @Test
  void wait_for() throws Exception {
    session.start();
    String where = "type = \"answer\" and body.to = 1";
    other.add("answer", "person", "{\"to\":2}");
    other.add("answer", "person", "{\"to\":1,\"n\":1}");
    assertEquals("{\"to\":1,\"n\":1}", session.waitFor(where, PATIENCE).body());
    assertThrows(AgxException.Timeout.class, () -> session.waitFor(where, Duration.ofMillis(20)));
    CompletableFuture<AgxEvent> later = session.waitForAsync(where);
    CompletableFuture<AgxEvent> elsewhere = other.waitForAsync(where);
    assertFalse(later.isDone());
    other.add("answer", "person", "{\"to\":1,\"n\":2}");
    assertEquals("{\"to\":1,\"n\":2}", later.get(30, TimeUnit.SECONDS).body());
    assertEquals("{\"to\":1,\"n\":2}", elsewhere.get(30, TimeUnit.SECONDS).body());
    CompletableFuture<AgxEvent> never = session.waitForAsync(where);
    CompletableFuture<AgxEvent> ended = other.waitForAsync(where);
    other.cancel();
    assertEquals(AgxException.Canceled.class, failure(never).getClass());
    session.stop();
    assertEquals(AgxException.Ended.class, failure(ended).getClass());
  }

  @Test
  void history() throws Exception {
    assertTrue(other.history().info().isEmpty());
    assertEquals(List.of(), other.history().read(AgxHistoryOptions.defaults(), 10));
    session.start();
    for (int i = 0; i < 5; ++i) session.add("info", "test", "{\"n\":" + i + "}");
    AgxHistoryOptions options = AgxHistoryOptions.defaults();
    List<AgxEvent> all = other.history().read(options, 100);
    assertEquals(6, all.size());
    assertEquals(all.subList(0, 2), other.history().read(options, 2));
    List<AgxEvent> back =
        other.history().readAsync(options.reverse(true), 2).get(30, TimeUnit.SECONDS);
    assertEquals(List.of(all.get(5), all.get(4)), back);
    assertEquals(all.subList(3, 5),
        other.history().read(options.after(all.get(2).id()).before(all.get(5).id()), 9));
    assertEquals(all.subList(5, 6), other.history().read(options.where("body.n > 3"), 9));
    assertThrows(AgxException.Invalid.class, () -> other.history().read(options.where("("), 9));
    assertThrows(AgxException.Invalid.class, () -> other.history().read(options, 0));
    assertEquals(all, other.history().stream().collect(Collectors.toList()));

    AgxHistoryInfo info = other.history().info().get();
    assertEquals(6, info.length());
    assertEquals(all.get(0).id(), info.firstId());
    assertEquals(all.get(5).id(), info.lastId());
    assertEquals(all.get(5).id(), info.lastGeneratedId());
    assertTrue(info.live());
    assertNull(info.expiresIn());
    assertEquals(0, info.groups());

    assertEquals(2, other.history().trimTo(4));
    assertEquals(1, other.history().trimBefore(all.get(3).id()));
    assertEquals(all.subList(3, 6), other.history().read(options, 100));
    session.stop(Duration.ofSeconds(100));
    assertNotEquals(null, other.history().infoAsync().get(30, TimeUnit.SECONDS).get().expiresIn());
    assertTrue(session.history().delete());
    assertFalse(other.history().delete());
  }

  @Test
  void many_listeners() throws Exception {
    session.start();
    session.add("info", "test", "1");
    int before = threads();
    List<AgxListener> listeners = new ArrayList<>();
    List<CompletableFuture<AgxEvent>> waits = new ArrayList<>();
    for (int i = 0; i < 1000; ++i) listeners.add(other.listen());
    for (AgxListener listener : listeners) {
      assertEquals("begin", listener.next(PATIENCE).type());
      assertEquals("1", listener.next(PATIENCE).body());
      waits.add(listener.nextAsync());
    }
    // One to wait, those of C and of the pool that completes futures.
    int grown = threads() - before;
    assertTrue(grown <= 3 + Runtime.getRuntime().availableProcessors(), grown + " threads more");
    session.add("info", "test", "2");
    for (CompletableFuture<AgxEvent> wait : waits)
      assertEquals("2", wait.get(60, TimeUnit.SECONDS).body());
    session.stop();
    for (AgxListener listener : listeners) {
      assertNull(listener.next(PATIENCE));
      listener.close();
    }
  }

  static final String CALLS_A_TOOL =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\","
      + "\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"city\\\":\"}}]}}]}\n\n"
      + "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
      + "\"function\":{\"arguments\":\"\\\"Rome\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n"
      + "data: [DONE]\n\n";
  static final String ANSWERS =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"It is\"}}]}\n\n"
      + "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" sunny \uD83C\uDF1E.\"},"
      + "\"finish_reason\":\"stop\"}]}\n\n"
      + "data: [DONE]\n\n";

  private static String feed(AgxRun run, String stream) {
    byte[] bytes = stream.getBytes(StandardCharsets.UTF_8);
    // Cut in the middle of whatever it is.
    for (int at = 0; at < bytes.length; at += 7) {
      run.feed(AgxModelApi.OPENAI_CHAT, bytes, at, Math.min(7, bytes.length - at));
    }
    return run.endFeed();
  }

  @Test
  void run_feed() throws Exception {
    String response;
    try (AgxRun run = session.beginRun()) {
      assertTrue(feed(run, CALLS_A_TOOL).contains("\"weather\""));
      run.beginNode();
      run.toolReturn("weather", "call_1", "\"sunny\"");
      response = feed(run, ANSWERS);
      run.finish();
      assertThrows(AgxException.BadState.class, run::beginNode);
    }
    assertTrue(response.contains("It is sunny \uD83C\uDF1E."), response);
    try (AgxListener listener = other.listen()) {
      List<String> bodies = bodies(listener);
      assertEquals(
          List.of(begin(), "{\"idx\":0,\"event\":\"llm-begin\"}",
              "{\"idx\":0,\"event\":\"part_start\",\"event_idx\":0,\"part_kind\":\"tool-call\",\"tool_name\":\"weather\",\"tool_call_id\":\"call_1\",\"args\":{\"city\":\"Rome\"}}",
              "{\"idx\":0,\"event\":\"llm-end\"}", "{\"idx\":1,\"event\":\"llm-begin\"}",
              "{\"idx\":1,\"event\":\"part_start\",\"part_kind\":\"tool-return\",\"tool_name\":\"weather\",\"tool_call_id\":\"call_1\",\"content\":\"sunny\"}",
              "{\"idx\":1,\"event\":\"part_start\",\"event_idx\":0,\"part_kind\":\"text\",\"content\":\"It is\"}",
              "{\"idx\":1,\"event\":\"answer\"}",
              "{\"idx\":1,\"event\":\"part_delta\",\"event_idx\":0,\"part_delta_kind\":\"text\",\"content_delta\":\" sunny \uD83C\uDF1E.\"}",
              "{\"idx\":1,\"event\":\"llm-end\"}"),
          bodies);
    }
    // The same by hand, and with a stream that breaks off.
    try (AgxRun run = session.beginRun()) {
      run.beginNode();
      int thinking = run.beginThinking(null);
      run.grow(thinking, "hm");
      run.endPart(thinking);
      int call = run.beginToolCall("weather", null, "{}");
      run.endPart(call);
      run.beginText("so");
      run.answer();
      run.grow(AgxRun.LAST_PART, " be it");
      run.flush();
      assertTrue(run.endNode().contains("so be it"));
      run.feed(AgxModelApi.ANTHROPIC, new byte[0]);
      assertThrows(AgxException.Model.class, run::endFeed);
      run.finish();
    }
  }

  @Test
  void run_fail() throws Exception {
    try (AgxRun run = session.beginRun()) {
      run.fail("no more");
    }
    assertFalse(other.isLive());
    try (AgxListener listener = other.listen(AgxListenOptions.defaults().handOnEnd(true))) {
      List<AgxEvent> events = listener.stream().collect(Collectors.toList());
      assertEquals(List.of("begin", "error", "end"),
          events.stream().map(AgxEvent::type).collect(Collectors.toList()));
      assertTrue(events.get(1).body().contains("crashed - no more"), events.get(1).body());
    }
    // What an agent throws reaches its caller as it is.
    IllegalStateException thrown = new IllegalStateException("my own");
    assertEquals(thrown,
        assertThrows(IllegalStateException.class,
            () -> session.execute(null, (run, messages) -> { throw thrown; })));
    try (AgxListener listener = other.listen()) {
      assertTrue(bodies(listener).get(1).contains("crashed - my own"));
    }
    // And one that is cancelled ends as that.
    assertThrows(AgxException.Canceled.class, () -> session.execute(null, (run, messages) -> {
      other.cancel();
      for (;;) run.flush();
    }));
    try (AgxListener listener = other.listen()) {
      assertTrue(bodies(listener).get(1).contains("canceled"));
    }
  }

  @Test
  void messages() throws Exception {
    try (AgxMessages messages = session.messages()) {
      String answer = session.execute(messages, (run, conversation) -> {
        assertEquals(0, conversation.size());
        conversation.appendSystem("be short");
        conversation.appendUser("How is the weather in Rome? \uD83D\uDE00");
        assertTrue(
            conversation.request(AgxModelApi.OPENAI_CHAT, "{\"model\":\"m\"}").contains("\"m\""));
        conversation.append(feed(run, CALLS_A_TOOL));
        String args = conversation.partField(1, 0, "args").get();
        assertEquals("weather", conversation.partField(1, 0, "tool_name").get());
        run.beginNode();
        run.toolReturn("weather", "call_1", "\"sunny\"");
        conversation.appendToolReturn("weather", "call_1", "\"sunny\"");
        conversation.append(feed(run, ANSWERS));
        return args;
      });
      assertEquals("{\"city\":\"Rome\"}", answer);
    }
    try (AgxMessages messages = other.messages()) {
      messages.loadAsync().get(30, TimeUnit.SECONDS);
      assertEquals(4, messages.size());
      assertEquals(2, messages.partCount(0));
      assertEquals("How is the weather in Rome? \uD83D\uDE00", messages.title());
      assertEquals("response", messages.field(3, "kind").get());
      assertEquals("It is sunny \uD83C\uDF1E.", messages.partField(3, 0, "content").get());
      assertTrue(messages.field(9, "kind").isEmpty());
      assertTrue(messages.nodes().startsWith("["));
      try (AgxMessages copy = AgxMessages.parse(messages.json())) {
        assertEquals(messages.json(), copy.json());
        copy.appendRetry(null, null, "again");
        assertEquals(5, copy.size());
      }
      try (AgxMessages rival = other.messages()) {
        rival.load();
        rival.appendUser("first");
        rival.save();
      }
      messages.appendUser("second");
      assertThrows(AgxException.Conflict.class, messages::save);
    }
    assertThrows(AgxException.BadJson.class, () -> AgxMessages.parse("{"));
  }

  @Test
  void unreachable() throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = free.getLocalPort();
    }
    AgxException.Unavailable failure = assertThrows(
        AgxException.Unavailable.class, () -> AgxClient.open("redis://127.0.0.1:" + port));
    assertTrue(failure.getMessage().contains("127.0.0.1:" + port), failure.getMessage());
    assertEquals(AgxStatus.ECONNECT, failure.status());
    CompletableFuture<AgxClient> later =
        AgxClient.openAsync("redis://127.0.0.1:" + port, new io.libagx.AgxOptions());
    assertEquals(AgxException.Unavailable.class, failure(later).getClass());
  }

  // --- Groups

  private AgxGroup group(String consumer) {
    return other.group("workers", AgxGroupOptions.defaults().consumer(consumer));
  }

  private static List<String> ids(List<AgxEvent> events) {
    return events.stream().map(AgxEvent::id).collect(Collectors.toList());
  }

  private static List<String> texts(List<AgxEvent> events) {
    return events.stream().map(AgxEvent::body).collect(Collectors.toList());
  }

  private void addNumbers(int count) {
    for (int i = 1; i <= count; ++i) session.add("n", "test", String.valueOf(i));
  }

  @Test
  void group_read_ack() throws Exception {
    addNumbers(4);
    AgxGroup first = group("first");
    try (AgxGroup second = group("second")) {
      List<AgxEvent> a = first.read(AgxGroup.Source.NEW, PATIENCE, 2);
      List<AgxEvent> b =
          second.readAsync(AgxGroup.Source.NEW, PATIENCE, 10).get(30, TimeUnit.SECONDS);
      assertEquals(List.of("1", "2"), texts(a));
      assertEquals(List.of("3", "4"), texts(b));
      assertEquals(List.of(), first.read(AgxGroup.Source.NEW, Duration.ofMillis(20), 10));
      assertTrue(first.ack(a.get(0)));
      assertFalse(first.ack(a.get(0)));
      assertEquals(2, second.ackAsync(ids(b)).get(30, TimeUnit.SECONDS));
      assertEquals(1, first.pending().count());
      assertEquals("first", first.consumer());
      assertEquals("workers", first.name());
    }
    first.close();
    try (AgxGroup again = group("first")) {
      assertEquals(
          List.of("2"), texts(again.read(AgxGroup.Source.PENDING_ONLY, Duration.ZERO, 10)));
      assertEquals(List.of(), again.read(AgxGroup.Source.PENDING_ONLY, Duration.ZERO, 10));
    }
    try (AgxGroup again = group("first")) {
      session.add("n", "test", "5");
      List<String> all = new ArrayList<>();
      while (all.size() < 2) {
        all.addAll(texts(again.read(AgxGroup.Source.PENDING_FIRST, PATIENCE, 10)));
      }
      assertEquals(List.of("2", "5"), all);
      assertThrows(AgxException.Invalid.class, () -> again.ack(List.of("not-an-id")));
      assertThrows(AgxException.Invalid.class, () -> again.ack(List.of("1-0\0")));
      assertThrows(AgxException.Invalid.class, () -> again.read(AgxGroup.Source.NEW, PATIENCE, 0));
    }
    assertThrows(AgxException.NotFound.class,
        () -> other.group("none", AgxGroupOptions.defaults().mustExist(true)));
  }

  @Test
  void group_claim() throws Exception {
    addNumbers(3);
    AgxGroup lost = group("lost");
    List<AgxEvent> left = lost.read(AgxGroup.Source.NEW, PATIENCE, 10);
    lost.close();
    try (AgxGroup heir = group("heir")) {
      assertEquals(List.of(), heir.claim(Duration.ofHours(1), ids(left)));
      assertEquals(List.of(), heir.autoClaim(Duration.ofHours(1), "", 10).events());
      assertEquals(left.subList(0, 1), heir.claim(Duration.ZERO, ids(left.subList(0, 1))));
      // The same once they have been idle for long enough.
      List<String> taken = new ArrayList<>();
      long deadline = System.nanoTime() + PATIENCE.toNanos();
      while (taken.size() < 2 && System.nanoTime() < deadline) {
        for (AgxEvent event : heir.autoClaim(Duration.ofMillis(50), "", 10).events()) {
          if (!event.id().equals(left.get(0).id())) taken.add(event.body());
        }
      }
      assertEquals(List.of("2", "3"), taken);
      AgxClaimed none = heir.autoClaimAsync(Duration.ofHours(1), "", 10).get(30, TimeUnit.SECONDS);
      assertEquals("0-0", none.cursor());
      assertEquals(List.of("heir"),
          heir.pendingEvents(null, Duration.ZERO, null, 10)
              .stream()
              .map(AgxPendingEvent::consumer)
              .distinct()
              .collect(Collectors.toList()));
      assertEquals(3, heir.claimAsync(Duration.ZERO, ids(left)).get(30, TimeUnit.SECONDS).size());
    }
  }

  static final AgxProcessOptions QUICK = AgxProcessOptions.defaults()
                                             .backoff(Duration.ofMillis(1))
                                             .backoffMax(Duration.ofMillis(2))
                                             .timeout(PATIENCE);

  @Test
  void group_process() throws Exception {
    addNumbers(5);
    List<String> seen = new ArrayList<>();
    List<String> failures = new ArrayList<>();
    try (AgxGroup group = group("worker")) {
      AgxStatus status = group.process(
          QUICK.maxRetries(3).limit(5).onFailure(
              (event, attempt, failure)
                  -> failures.add(event.body() + " " + attempt + " " + failure.getMessage())),
          (event, attempt) -> {
            seen.add(event.body() + " " + attempt);
            if (event.body().equals("2")) throw new java.io.IOException("no \uD83D\uDE00");
            if (event.body().equals("4") && attempt == 1) throw new IllegalStateException("once");
          });
      assertEquals(AgxStatus.LIMIT, status);
      assertEquals(List.of("1 1", "2 1", "2 2", "2 3", "3 1", "4 1", "4 2", "5 1"),
          seen.stream().sorted().collect(Collectors.toList()));
      assertEquals(
          List.of("2 1 no \uD83D\uDE00", "2 2 no \uD83D\uDE00", "2 3 no \uD83D\uDE00", "4 1 once"),
          failures.stream().sorted().collect(Collectors.toList()));
      assertEquals(0, group.pending().count());
      List<AgxDeadLetter> letters = group.deadLetters(null, 10);
      assertEquals(1, letters.size());
      assertEquals("2", letters.get(0).event().body());
      assertEquals("no \uD83D\uDE00", letters.get(0).reason());
      assertEquals(3, letters.get(0).attempts());
      assertEquals(AgxStatus.TIMEOUT,
          group.process(QUICK.timeout(Duration.ofMillis(20)), (event, attempt) -> {}));
      // In a thread of the client's, until a handler asks for the end.
      session.add("n", "test", "6");
      assertEquals(AgxStatus.INTERRUPTED,
          group.processAsync(QUICK, (event, attempt) -> group.interrupt())
              .get(30, TimeUnit.SECONDS));
    }
  }

  @Test
  void group_dead_letters() throws Exception {
    session.start();
    addNumbers(2);
    try (AgxGroup group = group("worker")) {
      group.process(QUICK.maxRetries(1).limit(3), (event, attempt) -> {
        if (event.type().equals("n")) throw new Exception("reason " + event.body());
      });
      List<AgxDeadLetter> letters = group.deadLetters(null, 10);
      assertEquals(2, letters.size());
      AgxDeadLetter letter = letters.get(0);
      List<AgxEvent> all = other.history().stream().collect(Collectors.toList());
      assertEquals(all.get(1).id(), letter.originalId());
      assertTrue(letter.originalStream().contains(session.id().sessionId()));
      assertEquals("reason 1", letter.reason());
      assertEquals("n", letter.event().type());
      assertTrue(letter.time().toEpochMilli() > 0);
      assertEquals(letters.subList(1, 2), group.deadLetters(letter.event().id(), 10));
      assertEquals(1, group.replayAsync(List.of(letter.event().id())).get(30, TimeUnit.SECONDS));
      List<AgxEvent> replayed = group.read(AgxGroup.Source.NEW, PATIENCE, 10);
      assertEquals(List.of("1"), texts(replayed));
      assertEquals(letter.event().id(), replayed.get(0).fields().get("replayed_from_dlq"));
      assertEquals("1", replayed.get(0).fields().get("body"));
      assertEquals(1, group.deleteDeadLetters(List.of(letters.get(1).event().id())));
      assertEquals(List.of(), group.deadLetters(null, 10));
      assertEquals(0, group.replay(List.of(letter.event().id())));
    }
  }

  @Test
  void group_info() throws Exception {
    addNumbers(3);
    try (AgxGroup group = group("worker"); AgxGroup idle = group("idle")) {
      List<AgxEvent> got = group.read(AgxGroup.Source.NEW, PATIENCE, 2);
      assertEquals(List.of(), idle.read(AgxGroup.Source.PENDING_ONLY, Duration.ZERO, 1));
      AgxPending pending = group.pending();
      assertEquals(new AgxPending(2, got.get(0).id(), got.get(1).id(), 1), pending);
      List<AgxPendingEvent> events =
          group.pendingEvents("worker", Duration.ZERO, got.get(0).id(), 9);
      assertEquals(1, events.size());
      assertEquals(got.get(1).id(), events.get(0).id());
      assertEquals("worker", events.get(0).consumer());
      assertEquals(1, events.get(0).attempts());
      List<AgxGroupInfo> groups = other.groups();
      assertEquals(1, groups.size());
      assertEquals("workers", groups.get(0).name());
      assertEquals(2, groups.get(0).pending());
      assertEquals(1, groups.get(0).lag());
      assertEquals(got.get(1).id(), groups.get(0).lastDeliveredId());
      assertEquals(2,
          group.consumers()
              .stream()
              .filter(consumer -> consumer.name().equals("worker"))
              .findFirst()
              .get()
              .pending());
      AgxHealth health = group.healthAsync().get(30, TimeUnit.SECONDS);
      assertEquals(3, health.length());
      assertEquals(2, health.pending());
      assertEquals(1, health.lag());
      assertEquals(0, health.deadLetters());
      assertEquals(got.get(1).id(), health.lastDeliveredId());
      assertNotEquals(null, health.oldestPending());
      assertEquals(2, group.deleteConsumer("worker"));
      assertEquals(0, group.pending().count());
      assertEquals(null, group.health().oldestPending());
      group.delete();
      assertThrows(AgxException.NotFound.class, group::pending);
      assertThrows(AgxException.NotFound.class, group::delete);
      assertEquals(List.of(), other.groups());
    }
  }

  @Test
  void group_interrupt() throws Exception {
    try (AgxGroup group = group("worker")) {
      Waiting reading =
          new Waiting(() -> group.read(AgxGroup.Source.NEW, PATIENCE.multipliedBy(10), 1));
      reading.awaitCalling();
      reading.interrupt();
      assertEquals(InterruptedException.class, reading.failure().getClass());
      group.interrupt();
      assertThrows(
          AgxException.Interrupted.class, () -> group.read(AgxGroup.Source.NEW, PATIENCE, 1));
      CompletableFuture<List<AgxEvent>> later =
          group.readAsync(AgxGroup.Source.NEW, PATIENCE.multipliedBy(10), 1);
      assertTrue(later.cancel(false));
      // It goes on as if nothing had been.
      addNumbers(4);
      List<AgxEvent> first = group.read(AgxGroup.Source.NEW, PATIENCE, 1);
      assertEquals(List.of("1"), texts(first));
      assertTrue(group.ack(first.get(0)));

      // What it holds is handled, though a handler that waits may notice.
      java.util.concurrent.CountDownLatch begun = new java.util.concurrent.CountDownLatch(1);
      java.util.concurrent.CountDownLatch interrupted = new java.util.concurrent.CountDownLatch(1);
      List<String> handled = java.util.Collections.synchronizedList(new ArrayList<>());
      Waiting processing = new Waiting(() -> group.process(QUICK, (event, attempt) -> {
        begun.countDown();
        boolean noticed = false;
        try {
          interrupted.await();
        } catch (InterruptedException e) {
          noticed = true;
          interrupted.await();
        }
        if (!noticed) Thread.sleep(1);
        handled.add(event.body());
      }));
      begun.await();
      processing.interrupt();
      interrupted.countDown();
      assertEquals(InterruptedException.class, processing.failure().getClass());
      assertEquals(
          List.of("2", "3", "4"), handled.stream().sorted().collect(Collectors.toList()));
      assertEquals(0, group.pending().count());

      // One that lets the interruption out has not failed.
      String id = session.add("n", "test", "9");
      for (int stop = 0; stop < 2; ++stop) {
        java.util.concurrent.CountDownLatch handling = new java.util.concurrent.CountDownLatch(1);
        Waiting stopped = new Waiting(() -> group.process(QUICK.maxRetries(1), (event, attempt) -> {
          assertEquals(id + " 1", event.id() + " " + attempt);
          handling.countDown();
          Thread.sleep(PATIENCE.toMillis());
        }));
        handling.await();
        stopped.interrupt();
        assertEquals(InterruptedException.class, stopped.failure().getClass());
      }
      // Also one that has waited for a file before, which hides the interruption from who watches.
      java.nio.file.Path file = java.nio.file.Files.createTempFile("agx", null);
      Waiting stopped = new Waiting(() -> group.process(QUICK.maxRetries(1), (event, attempt) -> {
        assertEquals(id + " 1", event.id() + " " + attempt);
        java.nio.file.Files.readString(file);
        Thread.currentThread().interrupt();
        Thread.sleep(PATIENCE.toMillis());
      }));
      assertEquals(InterruptedException.class, stopped.failure().getClass());
      java.nio.file.Files.delete(file);
      // Or that throws it itself.
      Waiting throwing = new Waiting(() -> group.process(QUICK.maxRetries(1),
          (event, attempt) -> { throw new InterruptedException(); }));
      assertEquals(InterruptedException.class, throwing.failure().getClass());
      assertEquals(0, group.deadLetters(null, 10).size());
      assertEquals(1, group.ack(List.of(id)));

      // One that waits ends at once.
      Waiting idle = new Waiting(() -> group.process(QUICK, (event, attempt) -> {}));
      idle.awaitCalling();
      idle.interrupt();
      assertEquals(InterruptedException.class, idle.failure().getClass());
      CompletableFuture<AgxStatus> process = group.processAsync(QUICK, (event, attempt) -> {});
      assertTrue(process.cancel(false));
      session.add("n", "test", "5");
      assertEquals(List.of("5"), readWhenFree(group));
    }
    AgxGroup closing = group("closing");
    Waiting reading =
        new Waiting(() -> closing.read(AgxGroup.Source.NEW, PATIENCE.multipliedBy(10), 1));
    reading.awaitCalling();
    closing.close();
    assertEquals(AgxException.Closed.class, reading.failure().getClass());
    assertThrows(AgxException.Closed.class, closing::pending);
    assertThrows(AgxException.Closed.class, closing::interrupt);
    assertThrows(AgxException.Closed.class, () -> closing.process(QUICK, (event, attempt) -> {}));
  }

  /** A process that was cancelled holds the group for as long as it takes it to end. */
  private static List<String> readWhenFree(AgxGroup group) throws InterruptedException {
    for (;;) {
      try {
        List<AgxEvent> events = group.read(AgxGroup.Source.PENDING_FIRST, PATIENCE, 1);
        if (!events.isEmpty()) return texts(events);
      } catch (AgxException.Busy e) {
        Thread.onSpinWait();
      }
    }
  }

  // --- Calls back

  private static final class Mine extends Exception {
    private static final long serialVersionUID = 1;
  }

  @Test
  void callback_error() throws Exception {
    addNumbers(1);
    try (AgxGroup group = group("worker")) {
      AssertionError error = new AssertionError("mine");
      assertEquals(error,
          assertThrows(AssertionError.class,
              () -> group.process(QUICK, (event, attempt) -> { throw error; })));
      IllegalStateException thrown = new IllegalStateException("enough");
      assertEquals(thrown,
          assertThrows(IllegalStateException.class,
              ()
                  -> group.process(QUICK.onFailure((event, attempt, failure) -> { throw thrown; }),
                      (event, attempt) -> { throw new Mine(); })));
      assertEquals(AgxStatus.LIMIT, group.process(QUICK.limit(1), (event, attempt) -> {
        assertTrue(attempt >= 3, "attempt " + attempt);
        assertThrows(AgxException.BadState.class, group::close);
        assertThrows(
            AgxException.Busy.class, () -> group.read(AgxGroup.Source.NEW, Duration.ZERO, 1));
        assertThrows(AgxException.Busy.class, () -> group.process(QUICK, (e, n) -> {}));
      }));
    }
    Mine mine = new Mine();
    try (AgxInterceptor thrower = session.intercept(event -> { throw mine; })) {
      assertEquals(mine, assertThrows(Mine.class, () -> session.add("n", "test", "1")));
      assertEquals(mine, assertThrows(Mine.class, () -> session.addInfo("1")));
      assertEquals(mine,
          assertThrows(
              Mine.class, () -> session.addAll(List.of(new AgxNewEvent("n", "test", null)))));
      assertEquals(mine, failure(session.addAsync("n", "test", "1")));
      AgxRun run = session.beginRun();
      assertEquals(mine, assertThrows(Mine.class, run::beginNode));
      run.close();
    }
    session.add("n", "test", "1");
    assertThrows(AgxException.BadJson.class, () -> session.add("n", "test", "{"));
    // A stack that is full is an error as any other.
    try (AgxInterceptor deep = session.intercept(event -> {
      session.add("n", "deeper", "1");
      return endless(event, 0);
    })) {
      assertThrows(StackOverflowError.class, () -> session.add("n", "test", "1"));
    }
    session.add("n", "test", "2");
  }

  private static AgxIntercepted.Verdict endless(AgxIntercepted event, int depth) {
    AgxIntercepted.Verdict verdict = endless(event, depth + 1);
    return depth < 0 ? null : verdict;
  }

  @Test
  void intercept() throws Exception {
    session.start();
    AgxIntercepted[] kept = new AgxIntercepted[1];
    AgxInterceptor interceptor = session.intercept("type = \"x\" or type = \"y\"", event -> {
      kept[0] = event;
      switch (event.body()) {
        case "1":
          return event.type("y").origin("o\uD83D\uDE00").body("{\"was\":1}").write();
        case "2":
          return event.swallow();
        case "3":
          return event.refuse(AgxStatus.EDENIED, "not \uD83D\uDE00");
        case "4":
          assertThrows(AgxException.BadJson.class, () -> event.body("{"));
          assertThrows(AgxException.TooBig.class, () -> event.type("x".repeat(257)));
          assertThrows(AgxException.Invalid.class, () -> event.refuse(AgxStatus.OK, null));
          assertThrows(AgxException.Invalid.class, () -> event.origin("\0"));
          return event.body(null).write();
        default:
          return event.write();
      }
    });
    session.add("x", "test", "1");
    assertThrows(AgxException.BadState.class, () -> kept[0].type("late"));
    assertThrows(AgxException.Swallowed.class, () -> session.add("x", "test", "2"));
    AgxException refused =
        assertThrows(AgxException.Denied.class, () -> session.add("x", "test", "3"));
    assertEquals("not \uD83D\uDE00", refused.getMessage());
    session.add("x", "test", "4");
    session.add("other", "test", "2");
    other.add("x", "elsewhere", "2");
    List<String> ids = session.addAll(
        List.of(new AgxNewEvent("x", "many", "2"), new AgxNewEvent("x", "many", "5")));
    assertEquals("", ids.get(0));
    assertFalse(ids.get(1).isEmpty());
    CompletableFuture<String> swallowed = session.addAsync("x", "later", "2");
    CompletableFuture<String> denied = session.addAsync("x", "later", "3");
    CompletableFuture<String> written = session.addAsync("x", "later", "6");
    assertEquals(AgxException.Swallowed.class, failure(swallowed).getClass());
    assertEquals("not \uD83D\uDE00", failure(denied).getMessage());
    written.get(30, TimeUnit.SECONDS);
    interceptor.close();
    interceptor.close();
    session.add("x", "after", "2");
    assertThrows(AgxException.Invalid.class, () -> session.intercept("type =", event -> null));
    // One that closes itself is called no more.
    AgxInterceptor[] once = new AgxInterceptor[1];
    AtomicInteger calls = new AtomicInteger();
    once[0] = session.intercept(event -> {
      calls.incrementAndGet();
      once[0].close();
      return event.write();
    });
    session.add("x", "after", "3");
    session.add("x", "after", "4");
    assertEquals(1, calls.get());
    session.stop();
    try (AgxListener listener = other.listen()) {
      assertEquals(List.of("begin opale " + begin(), "y o\uD83D\uDE00 {\"was\":1}", "x test {}",
                       "other test 2", "x elsewhere 2", "x many 5", "x later 6", "x after 2",
                       "x after 3", "x after 4"),
          listener.stream().map(Behaviour::described).collect(Collectors.toList()));
    }
  }

  /** What a subscription was called with, as it comes. */
  private static final class Told implements AgxSubscriber {
    final java.util.concurrent.LinkedBlockingQueue<String> told =
        new java.util.concurrent.LinkedBlockingQueue<>();

    @Override
    public void onEvent(AgxEvent event) {
      told.add(event.body());
    }

    @Override
    public void onOutcome(AgxException outcome) {
      told.add(outcome.status().name());
    }

    @Override
    public void onEnd() {
      told.add("end");
    }

    String next() throws InterruptedException {
      String next = told.poll(30, TimeUnit.SECONDS);
      return next == null ? "nothing" : next;
    }
  }

  @Test
  void subscribe() throws Exception {
    session.start();
    addNumbers(3);
    Told told = new Told();
    AgxSubscription subscription =
        other.subscribe(AgxSubscribeOptions.defaults().where("type = \"n\""), told);
    for (int i = 1; i <= 3; ++i) assertEquals(String.valueOf(i), told.next());
    session.add("other", "test", "4");
    session.add("n", "test", "5");
    assertEquals("5", told.next());
    // From within.
    CompletableFuture<AgxSubscription> within = new CompletableFuture<>();
    AtomicInteger calls = new AtomicInteger();
    AgxSubscription once = other.subscribe(event -> {
      calls.incrementAndGet();
      within.get(30, TimeUnit.SECONDS).close();
    });
    within.complete(once);
    once.done().get(30, TimeUnit.SECONDS);
    // What it throws ends it, and nothing else.
    Mine mine = new Mine();
    CompletableFuture<Void> begin = new CompletableFuture<>();
    AgxSubscription thrower = other.subscribe(event -> {
      begin.get(30, TimeUnit.SECONDS);
      throw mine;
    });
    CompletableFuture<Void> thrown = thrower.done();
    begin.complete(null);
    assertEquals(mine, failure(thrown));
    Told silent = new Told();
    AgxSubscription quiet = other.subscribe(
        AgxSubscribeOptions.defaults().after("new").silentAfter(Duration.ofMillis(30)), silent);
    assertEquals("SILENT", silent.next());
    quiet.close();
    quiet.close();
    session.stop();
    assertEquals("end", told.next());
    subscription.done().get(30, TimeUnit.SECONDS);
    assertEquals(1, calls.get());
    subscription.close();
    assertThrows(AgxException.Invalid.class,
        () -> other.subscribe(AgxSubscribeOptions.defaults().where("type ="), told));
    // The client's closing ends one that waits.
    AgxClient owner = AgxClient.open(url());
    AgxSession mineToo = owner.session(session.id());
    AgxSubscription waiting =
        mineToo.subscribe(AgxSubscribeOptions.defaults().after("new"), new Told());
    owner.close();
    waiting.done().get(30, TimeUnit.SECONDS);
    assertThrows(AgxException.Closed.class, () -> mineToo.subscribe(new Told()));
    mineToo.close();
  }

  @Test
  void formats() throws Exception {
    for (String format : List.of("openai-agents", "agent-framework", "ag2")) {
      boolean ag2 = format.equals("ag2");
      AgxStreamOptions options = AgxStreamOptions.defaults().format(format);
      String name = format + " " + session.id().sessionId();
      try (AgxSession stream = client.stream(name, options)) {
        assertEquals(name, stream.id().sessionId());
        String type = ag2 ? "m.Note" : "event";
        try (AgxListener listener =
                 stream.listen(AgxListenOptions.defaults().absentAfter(AgxListenOptions.FOREVER))) {
          stream.add(type, format, "{\"text\":\"\uD83D\uDE00\"}");
          AgxEvent event = listener.next(PATIENCE);
          while (!event.body().contains("\uD83D\uDE00")) event = listener.next(PATIENCE);
          assertTrue(event.fields().size() >= 1, event.fields().toString());
          assertTrue(
              event.fields().values().stream().anyMatch(value -> value.contains("\uD83D\uDE00")),
              event.fields().toString());
          assertEquals(ag2, event.fields().containsKey("element"));
          assertEquals(ag2, event.time().toEpochMilli() == 0);
          List<AgxEvent> back = stream.history().read(AgxHistoryOptions.defaults(), 10);
          assertTrue(back.contains(event), back.toString());
          assertThrows(UnsupportedOperationException.class, () -> back.get(0).fields().clear());
        }
        // What it cannot hold; openai-agents holds everything.
        if (!format.equals("openai-agents")) {
          assertThrows(AgxException.Unsupported.class, () -> stream.add("no class", "x", "[1]"));
        }
        stream.history().delete();
      }
    }
    assertThrows(AgxException.Invalid.class, () -> client.stream("x"));
    try (AgxClient ag2 = AgxClient.open(url(), new AgxOptions().format("ag2"));
         AgxSession stream = ag2.stream("by the client " + session.id().sessionId())) {
      stream.add("m.Note", "ag2", "{\"n\":1}");
      assertEquals(1, stream.history().read(AgxHistoryOptions.defaults(), 10).size());
      stream.history().delete();
    }
    // An event of this library's own has three fields.
    session.add("n", "test", "1");
    AgxEvent plain = other.history().read(AgxHistoryOptions.defaults(), 1).get(0);
    assertEquals(List.of("type", "origin", "body"), new ArrayList<>(plain.fields().keySet()));
    assertEquals("1", plain.fields().get("body"));
  }

  @Test
  void replace_drop() throws Exception {
    session.start();
    addNumbers(3);
    try (AgxListener listener = other.listen()) {
      assertEquals("begin", listener.next(PATIENCE).type());
      assertEquals(
          4, session.history().replace(List.of(new AgxNewEvent("summary", "test", "\"short\""))));
    }
    assertEquals(
        List.of("\"short\""), texts(other.history().read(AgxHistoryOptions.defaults(), 10)));
    assertThrows(AgxException.BadJson.class,
        () -> session.history().replace(List.of(new AgxNewEvent("x", "test", "{"))));
    assertEquals(1, session.history().drop());
    assertEquals(0, session.history().drop());
    assertEquals(List.of(), other.history().read(AgxHistoryOptions.defaults(), 10));
    assertTrue(other.isLive());
  }

  @Test
  void checkpoint() throws Exception {
    session.start();
    List<AgxNewEvent> events =
        List.of(new AgxNewEvent("n", "test", "1"), new AgxNewEvent("n", "test", "2"));
    assertEquals("", session.checkpoint("there \uD83D\uDE00"));
    for (int i = 0; i < 3; ++i) session.addChecked(events, "there \uD83D\uDE00", "", "5-1");
    assertEquals("5-1", other.checkpoint("there \uD83D\uDE00"));
    assertThrows(AgxException.Conflict.class,
        () -> session.addChecked(events, "there \uD83D\uDE00", "", "6-1"));
    session.addCheckedAsync(List.of(), "there \uD83D\uDE00", "5-1", "p\uD83D\uDE00")
        .get(30, TimeUnit.SECONDS);
    assertEquals("p\uD83D\uDE00", other.checkpoint("there \uD83D\uDE00"));
    assertEquals(
        List.of(begin(), "1", "2"), texts(other.history().read(AgxHistoryOptions.defaults(), 10)));
    // Who goes on with what an earlier process began.
    session.stop(Duration.ofMinutes(1));
    other.start(AgxStartOptions.defaults().takeOver(true).keep(true));
    assertEquals(1, other.history().stream().filter(e -> e.type().equals("begin")).count());
    other.stop();
  }
}
