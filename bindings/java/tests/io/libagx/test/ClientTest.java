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
import io.libagx.AgxGroup;
import io.libagx.AgxHistoryOptions;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxMessages;
import io.libagx.AgxOptions;
import io.libagx.AgxQuery;
import io.libagx.AgxRun;
import io.libagx.AgxSession;
import io.libagx.AgxSessionId;
import io.libagx.AgxStartOptions;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** What a client does besides the behaviour that all languages share. */
@Timeout(240)
class ClientTest {
  @Test
  void options_are_parameters_of_the_url() throws Exception {
    AgxOptions options =
        new AgxOptions().parameter("prefix", "a b/\u00E9&=%").parameter("lease", "150");
    try (AgxClient client = AgxClient.openAsync("memory:", options).get(30, TimeUnit.SECONDS);
         AgxSession session = client.session(1, 1, "s")) {
      session.start();
      assertTrue(session.isLive());
    }
    AgxException.Invalid failure = assertThrows(AgxException.Invalid.class,
        () -> AgxClient.open("memory:", new AgxOptions().parameter("no_such", "1")));
    assertTrue(failure.getMessage().contains("no_such"), failure.getMessage());
    assertTrue(AgxClient.version().matches("\\d+\\.\\d+\\.\\d+.*"), AgxClient.version());
  }

  private static String closed(Executable call) {
    return assertThrows(AgxException.Closed.class, call).getMessage();
  }

  @Test
  void what_is_closed_is_said_to_be_closed_and_no_more() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 1, "s"); AgxRun run = session.beginRun();
         AgxMessages messages = session.messages(); AgxGroup group = session.group("g");
         AgxQuery query = client.live()) {
      run.close();
      assertEquals("the run is closed", closed(run::beginNode));
      messages.close();
      assertEquals("the conversation is closed", closed(messages::load));
      assertEquals("the conversation is closed", closed(messages::size));
      group.close();
      assertEquals("the group is closed", closed(group::health));
      assertEquals("the group is closed", closed(group::consumer));
      assertEquals("the group is closed",
          closed(() -> group.read(AgxGroup.Source.NEW, Duration.ofMinutes(10), 1)));
      query.close();
      assertEquals("the query is closed", closed(query::hasNext));
      session.close();
      assertEquals("the session is closed", closed(session::isLive));
      assertEquals("the session is closed", closed(session::listen));
      assertEquals("the session is closed", closed(() -> session.history().info()));
      assertEquals("the session is closed", closed(() -> session.add("a", "b", null)));
      assertEquals("the session is closed", closed(() -> session.addAsync("a", "b", null)));
    }
  }

  @Test
  void a_wait_that_closing_ends_says_what_is_closed() throws Exception {
    try (AgxClient client = AgxClient.open("memory:"); AgxSession session = client.session(1, 1, "s")) {
      AgxGroup group = session.group("g");
      Waiting reading =
          new Waiting(() -> group.read(AgxGroup.Source.NEW, Duration.ofMinutes(10), 1));
      reading.awaitCalling();
      group.close();
      assertEquals("the group is closed", reading.failure().getMessage());
      AgxListener listener = session.listen();
      Waiting listening = new Waiting(listener::next);
      listening.awaitBlocked();
      listener.close();
      assertEquals("the listener is closed", listening.failure().getMessage());
    }
  }

  @Test
  void a_client_opens_whatever_the_executor_does_and_tells_no_secret() throws Exception {
    AgxOptions options = new AgxOptions().callbacks(task -> {
      throw new java.util.concurrent.RejectedExecutionException("full");
    });
    try (AgxClient client = AgxClient.openAsync("memory:", options).get(30, TimeUnit.SECONDS)) {
      assertEquals("a client of memory:", client.toString());
    }
    try (RedisServer server = new RedisServer()) {
      int port;
      try (java.net.ServerSocket free = new java.net.ServerSocket(0)) {
        port = free.getLocalPort();
      }
      Process cli = new ProcessBuilder("redis-cli", "-s",
          server.url().substring("unix://".length()), "CONFIG", "SET", "port",
          String.valueOf(port), "requirepass", "p/w@x").start();
      assertEquals(0, cli.waitFor());
      String place = "redis://127.0.0.1:" + port;
      AgxClient client =
          AgxClient.open("redis://:p%2Fw%40x@127.0.0.1:" + port + "?lease=5000");
      assertEquals("a client of " + place, client.toString());
      for (AgxSessionId id : client.live()) assertNull(id);
      client.close();
      assertEquals("a client of " + place + ", closed", client.toString());
    }
  }

  @Test
  void events_are_added_later_in_their_order_and_a_bad_one_spoils_no_other() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 1, "s")) {
      session.start();
      List<CompletableFuture<String>> ids = new ArrayList<>();
      for (int n = 0; n < 10_000; ++n) {
        ids.add(session.addAsync("n", "test", n % 1000 == 500 ? "nope" : String.valueOf(n)));
      }
      List<String> stored = new ArrayList<>();
      for (int n = 0; n < 10_000; ++n) {
        CompletableFuture<String> id = ids.get(n);
        if (n % 1000 == 500) {
          assertInstanceOf(AgxException.BadJson.class, Behaviour.failure(id));
        } else {
          stored.add(id.get(30, TimeUnit.SECONDS));
        }
      }
      List<AgxEvent> events = session.history().stream().skip(1).collect(Collectors.toList());
      assertEquals(stored, events.stream().map(AgxEvent::id).collect(Collectors.toList()));
      assertEquals(
          stored.stream().sorted(ClientTest::compareIds).collect(Collectors.toList()), stored);
    }
  }

  @Test
  void events_of_many_sessions_go_together_and_each_fares_by_itself() throws Exception {
    try (RedisServer server = new RedisServer(); AgxClient client = AgxClient.open(server.url())) {
      List<AgxSession> sessions = new ArrayList<>();
      List<List<CompletableFuture<String>>> ids = new ArrayList<>();
      for (int i = 0; i < 300; ++i) {
        sessions.add(client.session(1, 1, "s" + i));
        ids.add(new ArrayList<>());
      }
      for (int n = 0; n < 5; ++n) {
        for (int i = 0; i < sessions.size(); ++i) {
          String body = i == 3 && n == 2 ? "nope" : String.valueOf(n);
          ids.get(i).add(sessions.get(i).addAsync("n", "test", body));
        }
      }
      sessions.get(7).close();
      for (int i = 0; i < sessions.size(); ++i) {
        List<String> stored = new ArrayList<>();
        for (int n = 0; n < 5; ++n) {
          CompletableFuture<String> id = ids.get(i).get(n);
          if (i == 3 && n == 2) {
            assertInstanceOf(AgxException.BadJson.class, Behaviour.failure(id));
            continue;
          }
          try {
            stored.add(id.get(30, TimeUnit.SECONDS));
          } catch (java.util.concurrent.ExecutionException e) {
            assertEquals(7, i);
            assertInstanceOf(AgxException.Closed.class, e.getCause());
          }
        }
        if (i == 7) continue;
        List<String> found = sessions.get(i).history().stream().map(AgxEvent::id)
            .collect(Collectors.toList());
        assertEquals(stored, found, "session " + i);
      }
      sessions.forEach(AgxSession::close);
    }
  }

  private static int compareIds(String left, String right) {
    String[] a = left.split("-");
    String[] b = right.split("-");
    int time = Long.compare(Long.parseLong(a[0]), Long.parseLong(b[0]));
    return time != 0 ? time : Long.compare(Long.parseLong(a[1]), Long.parseLong(b[1]));
  }

  @Test
  void what_waits_to_be_added_when_the_client_closes_fails() throws Exception {
    List<CompletableFuture<String>> adds = new ArrayList<>();
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 1, "s")) {
      session.start();
      for (int n = 0; n < 20_000; ++n) adds.add(session.addAsync("n", "test", "1"));
    }
    for (CompletableFuture<String> add : adds) {
      try {
        add.get(30, TimeUnit.SECONDS);
      } catch (java.util.concurrent.ExecutionException e) {
        assertInstanceOf(AgxException.Closed.class, e.getCause());
      }
    }
  }

  @Test
  void a_call_that_is_cancelled_before_its_turn_is_not_made() throws Exception {
    try (RedisServer server = new RedisServer(); AgxClient client = AgxClient.open(server.url());
         AgxSession session = client.session(1, 1, "s")) {
      session.start(AgxStartOptions.defaults().lease(Duration.ofMinutes(5)));
      server.kill();
      // More than there are workers: they wait for the server, and the last call for them.
      List<CompletableFuture<Boolean>> calls = new ArrayList<>();
      for (int i = 0; i < 8; ++i) calls.add(session.isLiveAsync());
      CompletableFuture<Boolean> cancel = session.cancelAsync();
      assertTrue(cancel.cancel(false));
      server.start();
      for (CompletableFuture<Boolean> call : calls) assertTrue(call.get(60, TimeUnit.SECONDS));
      assertTrue(session.isLiveAsync().get(60, TimeUnit.SECONDS));
    }
  }

  @Test
  void the_log_reaches_its_receiver() throws Exception {
    LinkedBlockingQueue<String> lines = new LinkedBlockingQueue<>();
    AgxOptions options = new AgxOptions().logger(
        System.Logger.Level.DEBUG, (level, line) -> lines.add(level + " " + line));
    try (RedisServer server = new RedisServer();
         AgxClient client = AgxClient.open(server.url(), options);
         AgxSession session = client.session(1, 1, "s")) {
      session.start();
      server.kill();
      server.start();
      session.isLive();
      String line = lines.poll(30, TimeUnit.SECONDS);
      assertTrue(line != null && line.matches("(?s)[A-Z]+ .+"), line);
    }
  }

  @Test
  void a_store_that_cannot_be_reached_is_told_to_a_listener_which_goes_on() throws Exception {
    AgxOptions options =
        new AgxOptions().parameter("reconnect_timeout", "-1").parameter("command_timeout", "1000");
    try (RedisServer server = new RedisServer();
         AgxClient client = AgxClient.open(server.url(), options);
         AgxSession session = client.session(1, 1, "s")) {
      session.start(AgxStartOptions.defaults().lease(Duration.ofMinutes(5)));
      try (AgxListener listener = session.listen()) {
        assertEquals("begin", listener.next(Behaviour.PATIENCE).type());
        server.kill();
        assertThrows(AgxException.Unavailable.class, () -> listener.next(Behaviour.PATIENCE));
        server.start();
        String body = "1";
        CompletableFuture<String> added = CompletableFuture.supplyAsync(() -> again(session, body));
        AgxEvent event = null;
        while (event == null) {
          try {
            event = listener.next(Behaviour.PATIENCE);
          } catch (AgxException.Unavailable unavailable) {
            // It goes on from where it was.
          }
        }
        assertEquals(body, event.body());
        added.get(30, TimeUnit.SECONDS);
      }
    }
  }

  private static String again(AgxSession session, String body) {
    for (;;) {
      try {
        return session.add("n", "test", body);
      } catch (AgxException.Unavailable e) {
        // Nothing was written.
      }
    }
  }

  /** Adds an entry that only another program would; its output, to be shown. */
  private static void addRaw(RedisServer server, String value, String... command)
      throws Exception {
    List<String> words = new ArrayList<>(List.of("bash", "-c",
        "value=$1; shift; printf \"$value\" | redis-cli -s \"$@\"", "bash", value,
        server.url().substring("unix://".length()), "-x"));
    words.addAll(List.of(command));
    Process cli = new ProcessBuilder(words).redirectErrorStream(true).start();
    String said = new String(cli.getInputStream().readAllBytes());
    assertEquals(0, cli.waitFor(), said);
    assertTrue(said.matches("\\d+(-\\d+)?\\s*"), said);
  }

  @Test
  void a_text_that_is_not_utf8_spoils_nothing() throws Exception {
    try (RedisServer server = new RedisServer(); AgxClient client = AgxClient.open(server.url());
         AgxSession session = client.session(1, 1, "s"); AgxGroup group = session.group("g")) {
      session.add("info", "test", "1");
      addRaw(server, "a\\xff", "XADD", "agx:1:1:s", "*", "body", "2", "type");
      addRaw(server, "\"\\xff\"", "XADD", "agx:1:1:s", "*", "type", "info", "body");
      session.add("info", "test", "4");
      List<AgxEvent> read = session.history().read(AgxHistoryOptions.defaults(), 10);
      assertEquals(List.of("1", "2", "\"\uFFFD\"", "4"),
          read.stream().map(AgxEvent::body).collect(Collectors.toList()));
      assertEquals("a\uFFFD", read.get(1).type());
      assertEquals(read, group.read(AgxGroup.Source.NEW, Behaviour.PATIENCE, 10));
      assertEquals(read, group.autoClaim(Duration.ZERO, "", 10).events());
      try (AgxListener listener = session.listen()) {
        for (AgxEvent event : read) assertEquals(event, listener.next(Behaviour.PATIENCE));
      }
    }
  }

  private static void addElement(RedisServer server, String element) throws Exception {
    addRaw(server, element, "RPUSH", "p:s");
  }

  @Test
  void an_entry_that_cannot_be_read_is_named_and_passed_over() throws Exception {
    io.libagx.AgxStreamOptions ag2 =
        io.libagx.AgxStreamOptions.defaults().format("ag2").prefix("p");
    try (RedisServer server = new RedisServer(); AgxClient client = AgxClient.open(server.url());
         AgxSession session = client.stream("s", ag2)) {
      addElement(server, "{}");
      addElement(server, "\\x80pickle");
      addElement(server, "{}");
      List<AgxEvent> good = new ArrayList<>();
      List<String> bad = new ArrayList<>();
      java.util.Iterator<AgxEvent> all = session.history().stream().iterator();
      for (boolean more = true; more;) {
        try {
          more = all.hasNext();
          if (more) good.add(all.next());
        } catch (AgxException.Unsupported e) {
          bad.add(e.entryId());
        }
      }
      assertEquals(2, good.size());
      assertEquals(1, bad.size());
      assertTrue(compareIds(good.get(0).id(), bad.get(0)) < 0);
      assertTrue(compareIds(bad.get(0), good.get(1).id()) < 0);

      AgxHistoryOptions backwards = AgxHistoryOptions.defaults().reverse(true);
      assertEquals(List.of(good.get(1)), session.history().read(backwards, 10));
      AgxHistoryOptions next = backwards.before(good.get(1).id());
      AgxException.Unsupported told =
          assertThrows(AgxException.Unsupported.class, () -> session.history().read(next, 10));
      assertEquals(bad.get(0), told.entryId());
      assertEquals(
          List.of(good.get(0)), session.history().read(backwards.before(told.entryId()), 10));

      try (AgxListener listener = session.listen()) {
        assertEquals(good.get(0), listener.next(Behaviour.PATIENCE));
        told = assertThrows(
            AgxException.Unsupported.class, () -> listener.next(Behaviour.PATIENCE));
        assertEquals(bad.get(0), told.entryId());
        assertEquals(good.get(1), listener.next(Behaviour.PATIENCE));
      }

      assertThrows(AgxException.Timeout.class, () -> session.waitFor(null, Duration.ofMillis(1)));
      addElement(server, "\\x80pickle");
      addElement(server, "[5]");
      assertThrows(
          AgxException.Unsupported.class, () -> session.waitFor(null, Behaviour.PATIENCE));
      assertEquals("[5]", session.waitFor(null, Behaviour.PATIENCE).body());
      assertNull(assertThrows(AgxException.BadJson.class, () -> session.add("n", "test", "nope"))
                     .entryId());
    }
  }

  @Test
  void ten_thousand_listeners_wait_without_threads() throws Exception {
    try (RedisServer server = new RedisServer(); AgxClient client = AgxClient.open(server.url());
         AgxSession session = client.session(1, 1, "s")) {
      session.start();
      List<AgxListener> listeners = new ArrayList<>();
      List<CompletableFuture<AgxEvent>> waits = new ArrayList<>();
      AgxListenOptions options = AgxListenOptions.defaults()
                                     .after("0")
                                     .where("type = \"go\"")
                                     .silentAfter(AgxListenOptions.FOREVER);
      int before = Behaviour.threads();
      for (int i = 0; i < 10_000; ++i) {
        AgxListener listener = session.listen(options);
        listeners.add(listener);
        waits.add(listener.nextAsync());
      }
      session.add("go", "test", "1");
      for (CompletableFuture<AgxEvent> wait : waits) {
        assertEquals("1", wait.get(120, TimeUnit.SECONDS).body());
      }
      int grown = Behaviour.threads() - before;
      assertTrue(grown <= 3 + Runtime.getRuntime().availableProcessors(), grown + " threads more");
      for (AgxListener listener : listeners) listener.close();
    }
  }

  @Test
  void a_conversation_can_be_kept_in_a_file(@TempDir Path directory) throws Exception {
    Path file = directory.resolve("talk \u00E9.json");
    try (AgxMessages messages = AgxMessages.file(file)) {
      messages.load();
      messages.appendUser("hello");
      messages.save();
    }
    assertTrue(Files.readString(file).contains("hello"));
    try (AgxMessages messages = AgxMessages.file(file)) {
      messages.loadAsync().get(30, TimeUnit.SECONDS);
      assertEquals("hello", messages.title());
    }
    assertFalse(Files.list(directory).anyMatch(each -> !each.equals(file)));
  }
}
