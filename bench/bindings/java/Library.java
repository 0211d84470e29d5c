import java.util.ArrayList;
import java.util.List;

/** One way to do the work. Each key is a stream of its own. */
interface Library extends AutoCloseable {
  /** A hundred bytes. */
  String BODY =
      "{\"event\":\"part_delta\",\"event_idx\":7,\"part_delta_kind\":\"text\","
          + "\"content_delta\":\"some words more\"}";

  /** So many are added at a time. */
  int BATCH = 512;

  String name();

  /** Adds an event and waits until the server has it. */
  void add(String key) throws Exception;

  /** Adds so many events in few round trips. */
  void addMany(String key, int count) throws Exception;

  /** Reads a stream from its beginning; answers how many characters the texts of so many events have. */
  long replay(String key, int count) throws Exception;

  /**
   * Tells of each event that comes from now on, in another thread. Once closed, it may need one more
   * event to end.
   */
  AutoCloseable follow(String key, Runnable event) throws Exception;

  /** The same of many streams at once, as one would who has so many. */
  default List<AutoCloseable> followAll(List<String> keys, Runnable event) throws Exception {
    List<AutoCloseable> all = new ArrayList<>();
    for (String key : keys) all.add(follow(key, event));
    return all;
  }

  /** Adds an event to each of the streams, in as few round trips as it can. */
  void addToEach(List<String> keys) throws Exception;

  /** Deletes what was measured. */
  @Override
  void close();
}
