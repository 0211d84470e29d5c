import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.commons.pool2.impl.GenericObjectPoolConfig;
import redis.clients.jedis.Connection;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.params.XReadParams;
import redis.clients.jedis.resps.StreamEntry;

/** Jedis: a pool of connections, of which each who waits has one, and a thread besides. */
final class OfJedis implements Library {
  private static final Map<String, String> FIELDS =
      Map.of("type", "event", "origin", "bench", "body", BODY);

  private final JedisPooled jedis;
  private final Set<String> keys = ConcurrentHashMap.newKeySet();

  OfJedis(String url) {
    GenericObjectPoolConfig<Connection> pool = new GenericObjectPoolConfig<>();
    pool.setMaxTotal(20000);
    pool.setMaxIdle(32);
    jedis = new JedisPooled(pool, URI.create(url));
  }

  @Override
  public String name() {
    return "Jedis";
  }

  private String stream(String key) {
    String name = "agx-bench:" + key;
    keys.add(name);
    return name;
  }

  @Override
  public void add(String key) {
    jedis.xadd(stream(key), StreamEntryID.NEW_ENTRY, FIELDS);
  }

  @Override
  public void addMany(String key, int count) {
    String name = stream(key);
    try (Connection connection = jedis.getPool().getResource();
        Pipeline pipeline = new Pipeline(connection)) {
      for (int i = 0; i < count; ++i) pipeline.xadd(name, StreamEntryID.NEW_ENTRY, FIELDS);
      pipeline.sync();
    }
  }

  private List<StreamEntry> read(XReadParams params, String name, StreamEntryID after) {
    var streams = jedis.xread(params, Map.of(name, after));
    return streams == null ? List.of() : streams.get(0).getValue();
  }

  @Override
  public long replay(String key, int count) {
    long characters = 0;
    StreamEntryID last = new StreamEntryID(0, 0);
    for (int got = 0; got < count; ) {
      for (StreamEntry entry : read(XReadParams.xReadParams().count(500), stream(key), last)) {
        Map<String, String> fields = entry.getFields();
        characters +=
            fields.get("type").length() + fields.get("origin").length() + fields.get("body").length();
        last = entry.getID();
        ++got;
      }
    }
    return characters;
  }

  @Override
  public AutoCloseable follow(String key, Runnable event) {
    String name = stream(key);
    // From now on, also for what comes before the first XREAD is there.
    List<StreamEntry> newest = jedis.xrevrange(name, "+", "-", 1);
    StreamEntryID from = newest.isEmpty() ? new StreamEntryID(0, 0) : newest.get(0).getID();
    Thread thread =
        Bench.thread(
            () -> {
              XReadParams params = XReadParams.xReadParams().count(500).block(0);
              StreamEntryID last = from;
              while (!Thread.currentThread().isInterrupted()) {
                for (StreamEntry entry : read(params, name, last)) {
                  last = entry.getID();
                  event.run();
                }
              }
            });
    return thread::interrupt;
  }

  @Override
  public void addToEach(List<String> each) {
    try (Connection connection = jedis.getPool().getResource();
        Pipeline pipeline = new Pipeline(connection)) {
      for (int i = 0; i < each.size(); ++i) {
        pipeline.xadd(stream(each.get(i)), StreamEntryID.NEW_ENTRY, FIELDS);
        if ((i + 1) % BATCH == 0) pipeline.sync();
      }
      pipeline.sync();
    }
  }

  @Override
  public void close() {
    for (String name : keys) jedis.del(name);
    jedis.close();
  }
}
