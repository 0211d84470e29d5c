import io.lettuce.core.Limit;
import io.lettuce.core.Range;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.StreamMessage;
import io.lettuce.core.XReadArgs;
import io.lettuce.core.XReadArgs.StreamOffset;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Lettuce: one connection that all share, another whose commands are held back to be sent together,
 * and one for each who waits.
 */
final class OfLettuce implements Library {
  private static final Map<String, String> FIELDS =
      Map.of("type", "event", "origin", "bench", "body", BODY);

  private final RedisClient client;
  private final StatefulRedisConnection<String, String> shared;
  private final StatefulRedisConnection<String, String> gathering;
  private final Set<String> keys = ConcurrentHashMap.newKeySet();

  OfLettuce(String url) {
    client = RedisClient.create(url);
    shared = client.connect();
    gathering = client.connect();
    gathering.setAutoFlushCommands(false);
  }

  @Override
  public String name() {
    return "Lettuce";
  }

  private String stream(String key) {
    String name = "agx-bench:" + key;
    keys.add(name);
    return name;
  }

  @Override
  public void add(String key) throws Exception {
    shared.async().xadd(stream(key), FIELDS).get();
  }

  @Override
  public void addMany(String key, int count) throws Exception {
    String name = stream(key);
    List<RedisFuture<String>> adding = new ArrayList<>(count);
    for (int i = 0; i < count; ++i) adding.add(gathering.async().xadd(name, FIELDS));
    gathering.flushCommands();
    for (RedisFuture<String> added : adding) added.get();
  }

  @Override
  @SuppressWarnings("unchecked") // an array of offsets
  public long replay(String key, int count) throws Exception {
    long characters = 0;
    String last = "0-0";
    XReadArgs params = XReadArgs.Builder.count(500);
    for (int got = 0; got < count; ) {
      for (StreamMessage<String, String> message :
          shared.async().xread(params, StreamOffset.from(stream(key), last)).get()) {
        Map<String, String> fields = message.getBody();
        characters +=
            fields.get("type").length() + fields.get("origin").length() + fields.get("body").length();
        last = message.getId();
        ++got;
      }
    }
    return characters;
  }

  @Override
  public AutoCloseable follow(String key, Runnable event) throws Exception {
    String name = stream(key);
    // From now on, also for what comes before the first XREAD is there.
    List<StreamMessage<String, String>> newest =
        shared.async().xrevrange(name, Range.unbounded(), Limit.from(1)).get();
    StatefulRedisConnection<String, String> connection = client.connect();
    next(connection.async(), name, newest.isEmpty() ? "0-0" : newest.get(0).getId(), event);
    return connection;
  }

  @SuppressWarnings("unchecked") // likewise
  private static void next(
      RedisAsyncCommands<String, String> commands, String name, String after, Runnable event) {
    commands
        .xread(XReadArgs.Builder.block(0).count(500), StreamOffset.from(name, after))
        .whenComplete(
            (messages, failure) -> {
              if (failure != null) return; // it was closed
              String last = after;
              for (StreamMessage<String, String> message : messages) {
                last = message.getId();
                event.run();
              }
              next(commands, name, last, event);
            });
  }

  @Override
  public void addToEach(List<String> each) throws Exception {
    List<RedisFuture<String>> adding = new ArrayList<>(each.size());
    for (String key : each) {
      adding.add(gathering.async().xadd(stream(key), FIELDS));
      if (adding.size() % BATCH == 0) gathering.flushCommands();
    }
    gathering.flushCommands();
    for (RedisFuture<String> added : adding) added.get();
  }

  @Override
  public void close() {
    for (String name : keys) shared.sync().del(name);
    client.shutdown();
  }
}
