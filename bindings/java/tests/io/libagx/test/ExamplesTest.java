package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpServer;
import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxSession;
import io.libagx.examples.Agent;
import io.libagx.examples.QuickStart;
import io.libagx.examples.RobustConsumer;
import io.libagx.examples.SseServer;
import io.libagx.examples.Worker;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The examples print what README.md says they do. */
@Timeout(120)
class ExamplesTest {
  private interface Main {
    void run(String[] args) throws Exception;
  }

  private static String readme() throws Exception {
    Path source = Path.of(System.getenv("AGX_SOURCE_DIR"));
    return Files.readString(source.resolve("bindings/java/README.md"));
  }

  /** The block of text under a heading. */
  private static String promised(String heading) throws Exception {
    String section = readme().split("### " + heading + "\n", 2)[1];
    return section.split("```text\n", 2)[1].split("```", 2)[0];
  }

  private static String printed(Main main, String... args) throws Exception {
    PrintStream before = System.out;
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    try {
      main.run(args);
    } finally {
      System.setOut(before);
    }
    return out.toString(StandardCharsets.UTF_8);
  }

  private static void onBothStores(String name, Main main) throws Exception {
    assertEquals(promised(name), printed(main));
    try (RedisServer server = new RedisServer()) {
      assertEquals(promised(name), printed(main, server.url()));
    }
  }

  @Test
  void quick_start() throws Exception {
    onBothStores("QuickStart.java", QuickStart::main);
  }

  @Test
  void robust_consumer() throws Exception {
    onBothStores("RobustConsumer.java", RobustConsumer::main);
  }

  @Test
  void worker() throws Exception {
    onBothStores("Worker.java", Worker::main);
  }

  @Test
  void agent() throws Exception {
    onBothStores("Agent.java", Agent::main);
  }

  private static HttpRequest request(HttpServer server, String path, String lastEventId) {
    HttpRequest.Builder request = HttpRequest.newBuilder(
        URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path));
    if (lastEventId != null) request.header("Last-Event-ID", lastEventId);
    return request.build();
  }

  private static List<String> get(HttpServer server, String lastEventId) throws Exception {
    return HttpClient.newHttpClient()
        .send(request(server, "/1/42/sse", lastEventId), HttpResponse.BodyHandlers.ofString())
        .body()
        .lines()
        .filter(line -> line.startsWith("data: ") || line.startsWith("id: "))
        .map(line -> line.startsWith("id") ? line : line.substring("data: ".length()))
        .collect(Collectors.toList());
  }

  @Test
  void sse_server() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 42, "sse")) {
      session.start();
      session.add("n", "test", "{\"smile\":\"\uD83D\uDE00\"}");
      HttpServer server = SseServer.start(client, 0);
      try {
        // One that is there while the session goes on gets each event as it comes.
        HttpResponse<InputStream> live = HttpClient.newHttpClient().send(
            request(server, "/1/42/sse", null), HttpResponse.BodyHandlers.ofInputStream());
        assertEquals("text/event-stream", live.headers().firstValue("Content-Type").get());
        try (var lines = new java.io.BufferedReader(
                 new java.io.InputStreamReader(live.body(), StandardCharsets.UTF_8))) {
          while (!lines.readLine().contains("\uD83D\uDE00")) {
            // What was before.
          }
          session.add("n", "test", "{\n\"n\":2}");
          List<String> next = new ArrayList<>();
          for (int i = 0; i < 5; ++i) next.add(lines.readLine());
          assertEquals(List.of("event: n", "data: {", "data: \"n\":2}"), next.subList(2, 5));
        }
        session.stop(java.time.Duration.ofMinutes(1));
        List<AgxEvent> events = session.history().stream().collect(Collectors.toList());
        List<String> resumed = get(server, events.get(1).id());
        assertEquals(List.of("id: " + events.get(2).id(), "{", "\"n\":2}", "{}"), resumed);
        assertEquals(3, get(server, null).stream().filter(line -> line.startsWith("id: ")).count());
        for (String bad : List.of("/", "/1/x/s", "/1/42/s:live")) {
          assertEquals(400,
              HttpClient.newHttpClient()
                  .send(request(server, bad, null), HttpResponse.BodyHandlers.discarding())
                  .statusCode());
        }
        assertEquals(400,
            HttpClient.newHttpClient()
                .send(request(server, "/1/42/sse", "not-an-id"),
                    HttpResponse.BodyHandlers.discarding())
                .statusCode());
      } finally {
        server.stop(0);
      }
    }
  }

  @Test
  void sse_goes_on_behind_a_gap() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 42, "sse")) {
      session.start();
      for (int n = 0; n < 3; ++n) session.add("n", "test", String.valueOf(n));
      String first = session.history().stream().findFirst().get().id();
      session.history().trimTo(1);
      session.stop(java.time.Duration.ofMinutes(1));
      HttpServer server = SseServer.start(client, 0);
      try {
        List<String> lines = get(server, first);
        assertEquals(4, lines.size(), lines.toString());
        assertTrue(lines.get(0).contains("dropped events"), lines.toString());
        assertEquals(List.of("2", "{}"), lines.subList(2, 4));
      } finally {
        server.stop(0);
      }
    }
  }

  @Test
  void sse_to_a_browser_that_does_not_read_keeps_no_other_waiting() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 42, "sse");
         AgxSession large = client.session(1, 42, "large")) {
      String body = "\"" + "x".repeat(1 << 20) + "\"";
      for (int i = 0; i < 16; ++i) large.add("n", "test", body);
      session.start();
      session.add("n", "test", "1");
      session.stop(java.time.Duration.ofMinutes(1));
      HttpServer server = SseServer.start(client, 0);
      List<java.net.Socket> slow = new ArrayList<>();
      try {
        for (int i = 0; i < 8; ++i) {
          java.net.Socket socket = new java.net.Socket();
          socket.setReceiveBufferSize(4096);
          socket.connect(server.getAddress());
          slow.add(socket);
          socket.getOutputStream().write("GET /1/42/large HTTP/1.1\r\nHost: x\r\n\r\n".getBytes());
          // It has its first bytes, and takes no more.
          assertTrue(socket.getInputStream().read() >= 0);
        }
        assertEquals("{}", get(server, null).get(4));
      } finally {
        for (java.net.Socket socket : slow) socket.close();
        server.stop(0);
      }
    }
  }

  @Test
  void many_connections_that_wait_hold_no_threads() throws Exception {
    try (AgxClient client = AgxClient.open("memory:");
         AgxSession session = client.session(1, 42, "sse")) {
      session.start();
      HttpServer server = SseServer.start(client, 0);
      HttpClient http = HttpClient.newHttpClient();
      try {
        List<CompletableFuture<HttpResponse<String>>> responses = new ArrayList<>();
        for (int i = 0; i < 50; ++i) {
          responses.add(http.sendAsync(
              request(server, "/1/42/sse", null), HttpResponse.BodyHandlers.ofString()));
        }
        session.add("n", "test", "1");
        session.stop(java.time.Duration.ofMinutes(1));
        for (CompletableFuture<HttpResponse<String>> response : responses) {
          String body = response.get(60, TimeUnit.SECONDS).body();
          assertTrue(
              body.contains("data: 1\n") && body.endsWith("event: done\ndata: {}\n\n"), body);
        }
      } finally {
        server.stop(0);
      }
    }
  }
}
