package io.libagx.examples;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxSession;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Flow;
import java.util.concurrent.ThreadFactory;

/**
 * Serves sessions as server-sent events at /SCOPE/USER/SESSION: SseServer [URL [PORT]]. A browser's
 * EventSource resumes by itself: it sends the last id it has seen as Last-Event-ID. A connection
 * that waits for events holds no thread; one whose browser is slow to read holds one of its own.
 */
public final class SseServer {
  private static final Duration HEARTBEAT = Duration.ofSeconds(15);

  /** This server's responses are written by threads that wait; those are not to be the listeners'. */
  private static final ExecutorService WRITERS = Executors.newCachedThreadPool(daemons("writer"));

  private SseServer() {}

  /** One connection. It asks for the next event when the last is written. */
  private static final class Connection implements Flow.Subscriber<AgxEvent> {
    private final AgxListener listener;
    private final HttpExchange exchange;
    private Flow.Subscription subscription;
    /** What is written, one behind the other. */
    private CompletableFuture<Void> written = CompletableFuture.completedFuture(null);

    Connection(AgxListener listener, HttpExchange exchange) {
      this.listener = listener;
      this.exchange = exchange;
    }

    @Override
    public void onSubscribe(Flow.Subscription given) {
      subscription = given;
      given.request(1);
    }

    @Override
    public void onNext(AgxEvent event) {
      written = written.thenRunAsync(() -> send(event), WRITERS);
    }

    private void send(AgxEvent event) {
      StringBuilder text = new StringBuilder("id: ").append(event.id());
      text.append("\nevent: ").append(event.type().replaceAll("\\R", " "));
      for (String line : event.body().split("\\R")) text.append("\ndata: ").append(line);
      if (write(text.append("\n\n").toString())) {
        subscription.request(1);
      } else {
        subscription.cancel();
        close();
      }
    }

    @Override
    public void onError(Throwable failure) {
      written = written.thenRunAsync(() -> tell(failure), WRITERS);
    }

    private void tell(Throwable failure) {
      String why = String.valueOf(failure.getMessage()).replaceAll("\\R", " ");
      // The listener goes on behind these; so does this, if the browser is still there.
      String text = null;
      if (failure instanceof AgxException.Silent) {
        text = ": still here\n\n";
      } else if (failure instanceof AgxException.Gap || failure instanceof AgxException.Unsupported
          || failure instanceof AgxException.Unavailable) {
        text = "event: warning\ndata: " + why + "\n\n";
      }
      if (text != null && write(text)) {
        listener.publisher().subscribe(this);
        return;
      }
      if (text == null) write("event: failed\ndata: " + why + "\n\n");
      close();
    }

    @Override
    public void onComplete() {
      written = written.thenRunAsync(() -> {
        write("event: done\ndata: {}\n\n");
        close();
      }, WRITERS);
    }

    private boolean write(String text) {
      try {
        OutputStream out = exchange.getResponseBody();
        out.write(text.getBytes(StandardCharsets.UTF_8));
        out.flush();
        return true;
      } catch (IOException e) {
        return false;
      }
    }

    private void close() {
      listener.close();
      exchange.close();
    }
  }

  private static void refuse(HttpExchange exchange, String why) throws IOException {
    byte[] reason = why.getBytes(StandardCharsets.UTF_8);
    exchange.sendResponseHeaders(400, reason.length);
    exchange.getResponseBody().write(reason);
    exchange.close();
  }

  private static void serve(AgxClient client, HttpExchange exchange) throws IOException {
    String[] path = exchange.getRequestURI().getPath().split("/", 4);
    if (path.length < 4 || !path[1].matches("-?\\d{1,18}") || !path[2].matches("-?\\d{1,18}")) {
      refuse(exchange, "a session is /SCOPE/USER/SESSION, of which the first two are integers");
      return;
    }
    String last = exchange.getRequestHeaders().getFirst("Last-Event-ID");
    AgxListener listener;
    try (AgxSession session =
             client.session(Long.parseLong(path[1]), Long.parseLong(path[2]), path[3])) {
      listener = session.listen(AgxListenOptions.defaults().after(last).silentAfter(HEARTBEAT));
    } catch (AgxException.Invalid e) {
      refuse(exchange, e.getMessage());
      return;
    }
    exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
    exchange.getResponseHeaders().set("Cache-Control", "no-store");
    exchange.sendResponseHeaders(200, 0);
    exchange.getResponseBody().flush();
    listener.publisher().subscribe(new Connection(listener, exchange));
  }

  private static ThreadFactory daemons(String name) {
    return work -> {
      Thread thread = new Thread(work, name);
      thread.setDaemon(true);
      return thread;
    };
  }

  /**
   * Starts a server on this machine alone.
   *
   * @param client where the sessions are
   * @param port its port; 0 for any
   * @return the server
   * @throws IOException if it cannot be started
   */
  public static HttpServer start(AgxClient client, int port) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 0);
    server.setExecutor(Executors.newFixedThreadPool(2, daemons("http")));
    server.createContext("/", exchange -> serve(client, exchange));
    server.start();
    return server;
  }

  /**
   * Runs it until it is killed.
   *
   * @param args the store's URL, and the port
   * @throws Exception whatever fails
   */
  public static void main(String[] args) throws Exception {
    AgxClient client = AgxClient.open(args.length > 0 ? args[0] : null);
    HttpServer server = start(client, args.length > 1 ? Integer.parseInt(args[1]) : 8080);
    System.out.println("http://127.0.0.1:" + server.getAddress().getPort() + "/SCOPE/USER/SESSION");
  }
}
