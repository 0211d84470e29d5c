import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxException;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxNewEvent;
import io.libagx.AgxOptions;
import io.libagx.AgxSession;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;

final class LibAgx implements Library {
  private final AgxClient client;
  private final Map<String, AgxSession> sessions = new ConcurrentHashMap<>();

  LibAgx(String url) {
    client = AgxClient.open(url, new AgxOptions().parameter("prefix", "agx-bench"));
  }

  @Override
  public String name() {
    return "libagx";
  }

  private AgxSession session(String key) {
    return sessions.computeIfAbsent(key, id -> client.session(1, 1, id));
  }

  @Override
  public void add(String key) {
    session(key).add("event", "bench", BODY);
  }

  @Override
  public void addMany(String key, int count) {
    List<AgxNewEvent> events = new ArrayList<>(count);
    for (int i = 0; i < count; ++i) events.add(new AgxNewEvent("event", "bench", BODY));
    session(key).addAll(events);
  }

  @Override
  public long replay(String key, int count) {
    long characters = 0;
    try (AgxListener listener = session(key).listen(AgxListenOptions.defaults().limit(count))) {
      for (AgxEvent event : listener) {
        characters += event.type().length() + event.origin().length() + event.body().length();
      }
    }
    return characters;
  }

  private AgxListener listen(String key) {
    return session(key)
        .listen(
            AgxListenOptions.defaults()
                .after("new")
                .absentAfter(AgxListenOptions.FOREVER)
                .silentAfter(AgxListenOptions.FOREVER));
  }

  @Override
  public AutoCloseable follow(String key, Runnable event) {
    AgxListener listener = listen(key);
    Bench.thread(
        () -> {
          try {
            while (listener.next() != null) event.run();
          } catch (AgxException.Closed e) {
            // as was asked for
          }
        });
    return listener;
  }

  /** Without a thread for each. */
  @Override
  public List<AutoCloseable> followAll(List<String> keys, Runnable event) {
    List<AutoCloseable> all = new ArrayList<>();
    for (String key : keys) {
      AgxListener listener = listen(key);
      next(listener, event);
      all.add(listener);
    }
    return all;
  }

  private static void next(AgxListener listener, Runnable event) {
    listener
        .nextAsync()
        .whenComplete(
            (got, failure) -> {
              if (got == null) return; // it was closed
              event.run();
              next(listener, event);
            });
  }

  @Override
  public void addToEach(List<String> keys) {
    List<CompletableFuture<String>> adding = new ArrayList<>(keys.size());
    for (String key : keys) adding.add(session(key).addAsync("event", "bench", BODY));
    for (CompletableFuture<String> added : adding) added.join();
  }

  @Override
  public void close() {
    for (AgxSession session : sessions.values()) session.history().delete();
    client.close();
  }
}
