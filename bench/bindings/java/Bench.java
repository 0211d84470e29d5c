import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Measures libagx's binding beside what its users would otherwise use, doing the same work on one
 * server. run.sh builds it, with those of the others that it finds.
 */
final class Bench {
  private static final String HELP =
      """
      usage: run.sh [--url URL] [--rows LIST] [--quick]

      Measures libagx and its opponents on one server, and prints
      row<TAB>library<TAB>value<TAB>unit; of each row the median of 5 rounds, in which they take turns,
      behind a second of each that does not count.

        --url URL    the server, redis://127.0.0.1:6379 if not said; what is measured stays under
                     agx-bench:*, and is deleted
        --rows LIST  what to measure: add1,add16,addmany,replay,latency,listeners
        --quick      little of it, to see that it works

      run.sh says where libagx and its opponents have to be. What is not there is said, and left out.
      """;

  private static final int ROUNDS = 5;
  private static final long WARM_UP_NANOS = 1_000_000_000;

  private record Scale(int add, int addMany, int replay, int latency, int listeners) {}

  private static final Scale FULL = new Scale(5000, 512 * 100, 100000, 300, 10000);
  private static final Scale QUICK = new Scale(200, 512 * 4, 5000, 30, 200);

  private interface Measure {
    double of(Library library) throws Exception;
  }

  interface Work {
    void run() throws Exception;
  }

  private final String url;
  private final Scale scale;
  private final List<Library> libraries = new ArrayList<>();
  private int keys;

  private Bench(String url, Scale scale) {
    this.url = url;
    this.scale = scale;
  }

  public static void main(String[] args) throws Exception {
    String url = "redis://127.0.0.1:6379";
    String rows = "add1,add16,addmany,replay,latency,listeners";
    String one = null; // used by the program itself: the library whose listeners to measure
    Scale scale = FULL;
    for (int i = 0; i < args.length; ++i) {
      boolean more = i + 1 < args.length;
      if (args[i].equals("--quick")) {
        scale = QUICK;
      } else if (args[i].equals("--url") && more) {
        url = args[++i];
      } else if (args[i].equals("--rows") && more) {
        rows = args[++i];
      } else if (args[i].equals("--one") && more) {
        one = args[++i];
      } else {
        boolean asked = args[i].equals("--help") || args[i].equals("-h");
        (asked ? System.out : System.err).print(HELP);
        System.exit(asked ? 0 : 2);
      }
    }
    Bench bench = new Bench(url, scale);
    try {
      if (one != null) bench.listenersOf(one);
      else bench.measure(rows);
    } catch (Exception e) {
      e.printStackTrace();
      System.exit(1);
    }
    System.exit(0); // whoever still waits
  }

  /** Those that were compiled. */
  private static final List<String> NAMES = names();

  private static List<String> names() {
    List<String> names = new ArrayList<>(List.of("libagx"));
    for (String name : List.of("Jedis", "Lettuce")) {
      if (Bench.class.getResource("Of" + name + ".class") != null) names.add(name);
    }
    return names;
  }

  private Library open(String name) throws Exception {
    if (name.equals("libagx")) return new LibAgx(url);
    var constructor = Class.forName("Of" + name).getDeclaredConstructor(String.class);
    return (Library) constructor.newInstance(url);
  }

  private void measure(String rows) throws Exception {
    for (String name : NAMES) libraries.add(open(name));
    for (String row : rows.split(",")) {
      switch (row) {
        case "add1" -> add1();
        case "add16" -> add16();
        case "addmany" -> addMany();
        case "replay" -> replay();
        case "latency" -> latency();
        case "listeners" -> listeners();
        default -> throw new IllegalArgumentException("no such row: " + row);
      }
    }
    for (Library library : libraries) library.close();
  }

  private String key() {
    return ProcessHandle.current().pid() + "-" + ++keys;
  }

  /** Has each library do something in turn, and prints each one's median. */
  private void turns(String row, String unit, Measure measure) throws Exception {
    List<List<Double>> got = new ArrayList<>();
    for (Library library : libraries) {
      // What runs for hours is compiled.
      long began = System.nanoTime();
      do measure.of(library); while (System.nanoTime() - began < WARM_UP_NANOS);
      got.add(new ArrayList<>());
    }
    for (int round = 0; round < ROUNDS; ++round) {
      for (int i = 0; i < libraries.size(); ++i) {
        int at = (i + round) % libraries.size();
        System.gc();
        got.get(at).add(measure.of(libraries.get(at)));
      }
    }
    for (int i = 0; i < libraries.size(); ++i) {
      print(row, libraries.get(i).name(), median(got.get(i)), unit);
    }
  }

  private static void print(String row, String library, double value, String unit) {
    System.out.printf(Locale.ROOT, "%s\t%s\t%.1f\t%s%n", row, library, value, unit);
  }

  private static double median(List<Double> values) {
    Collections.sort(values);
    return values.get(values.size() / 2);
  }

  /** How many of count events were done in a second. */
  private static double perSecond(int count, Work work) throws Exception {
    long began = System.nanoTime();
    work.run();
    return count / ((System.nanoTime() - began) / 1e9);
  }

  private void add1() throws Exception {
    turns("add1", "events/s", library -> {
      String key = key();
      return perSecond(scale.add, () -> {
        for (int i = 0; i < scale.add; ++i) library.add(key);
      });
    });
  }

  private void add16() throws Exception {
    final int tasks = 16;
    int each = scale.add * 4 / tasks;
    ExecutorService threads = Executors.newFixedThreadPool(tasks);
    turns("add16", "events/s", library -> {
      String key = key();
      Callable<Void> task = () -> {
        for (int i = 0; i < each; ++i) library.add(key);
        return null;
      };
      return perSecond(each * tasks, () -> {
        for (Future<Void> done : threads.invokeAll(Collections.nCopies(tasks, task))) done.get();
      });
    });
    threads.shutdown();
  }

  private void addMany() throws Exception {
    turns("addmany", "events/s", library -> {
      String key = key();
      return perSecond(scale.addMany, () -> fill(library, key, scale.addMany));
    });
  }

  private static void fill(Library library, String key, int count) throws Exception {
    for (int n = 0; n < count; n += Library.BATCH) {
      library.addMany(key, Math.min(Library.BATCH, count - n));
    }
  }

  private void replay() throws Exception {
    Map<Library, String> filled = new HashMap<>();
    for (Library library : libraries) {
      filled.put(library, key());
      fill(library, filled.get(library), scale.replay);
    }
    long expected = (long) scale.replay * ("event" + "bench" + Library.BODY).length();
    turns("replay", "events/s", library -> perSecond(scale.replay, () -> {
      if (library.replay(filled.get(library), scale.replay) != expected) {
        throw new IllegalStateException(library.name() + " lost events");
      }
    }));
  }

  private void latency() throws Exception {
    turns("latency", "µs", library -> {
      String key = key();
      BlockingQueue<Long> came = new LinkedBlockingQueue<>();
      AutoCloseable following = library.follow(key, () -> came.add(System.nanoTime()));
      List<Double> all = new ArrayList<>();
      for (int i = 0; i < scale.latency; ++i) {
        long began = System.nanoTime();
        library.add(key);
        Long at = came.poll(1, TimeUnit.MINUTES);
        if (at == null) throw new IllegalStateException("an event did not come in a minute");
        all.add((at - began) / 1000.0);
      }
      following.close();
      library.add(key); // for those whose wait nothing else ends
      return median(all);
    });
  }

  private static final String[][] LISTENER_ROWS = {
    {"listeners-connections", "connections"},
    {"listeners-memory", "bytes/listener"},
    {"listeners-threads", "threads"},
    {"listeners", "events/s"},
  };

  /** What came of so many listeners, by LISTENER_ROWS. */
  private record Listened(int count, double[] values) {}

  /** Has each library's be measured in a process of its own. */
  private void listeners() throws Exception {
    Map<Library, List<Listened>> got = new HashMap<>();
    for (int round = 0; round < ROUNDS; ++round) {
      for (Library library : libraries) {
        got.computeIfAbsent(library, l -> new ArrayList<>()).add(listenersIn(library.name()));
      }
    }
    for (int i = 0; i < LISTENER_ROWS.length; ++i) {
      for (Library library : libraries) {
        List<Double> values = new ArrayList<>();
        for (Listened listened : got.get(library)) values.add(listened.values[i]);
        String unit = LISTENER_ROWS[i][1] + ", " + got.get(library).get(0).count + " listeners";
        print(LISTENER_ROWS[i][0], library.name(), median(values), unit);
      }
    }
  }

  private static final int FEWER = 1000;

  /** Measures in a process, with fewer listeners if so many connections or threads are not to be had. */
  private Listened listenersIn(String name) throws Exception {
    Listened listened = listenersIn(name, scale.listeners);
    if (listened == null && scale.listeners > FEWER) listened = listenersIn(name, FEWER);
    if (listened == null) throw new IllegalStateException("the listeners of " + name + " failed");
    return listened;
  }

  private Listened listenersIn(String name, int count) throws Exception {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElse("java"));
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), "Bench"));
    command.addAll(List.of("--one", name + "," + count, "--url", url));
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String said = new String(process.getInputStream().readAllBytes());
    if (process.waitFor() != 0) return null;
    return new Listened(
        count, Stream.of(said.trim().split(" ")).mapToDouble(Double::parseDouble).toArray());
  }

  /** Prints connections, bytes for each listener, threads, and events delivered in a second. */
  private void listenersOf(String one) throws Exception {
    String[] parts = one.split(",");
    int count = Integer.parseInt(parts[1]);
    try (Library library = open(parts[0])) {
      List<String> each = new ArrayList<>();
      for (int i = 0; i < count; ++i) each.add(key());
      // What any use of it costs is there before.
      library.addToEach(each.subList(0, 1));
      long before = resident();
      long sockets = connections();
      CountDownLatch came = new CountDownLatch(count);
      List<AutoCloseable> following = library.followAll(each, came::countDown);
      double rate = perSecond(count, () -> {
        library.addToEach(each);
        if (!came.await(1, TimeUnit.MINUTES)) {
          throw new IllegalStateException(came.getCount() + " events did not come in a minute");
        }
      });
      Thread.sleep(1000); // until all wait again
      double used = (double) (resident() - before) / count;
      System.out.printf(
          Locale.ROOT,
          "%d %f %d %f%n",
          connections() - sockets,
          used,
          entries("/proc/self/task").size(),
          rate);
      for (AutoCloseable closing : following) closing.close();
      library.addToEach(each); // for those whose wait nothing else ends
    }
  }

  private static long resident() throws IOException {
    System.gc();
    String[] fields = Files.readString(Path.of("/proc/self/statm")).split(" ");
    return Long.parseLong(fields[1]) * 4096;
  }

  private static long connections() throws IOException {
    long count = 0;
    for (Path path : entries("/proc/self/fd")) {
      try {
        if (Files.readSymbolicLink(path).toString().startsWith("socket:")) ++count;
      } catch (IOException e) {
        // the directory's own, closed by now
      }
    }
    return count;
  }

  private static List<Path> entries(String directory) throws IOException {
    try (Stream<Path> list = Files.list(Path.of(directory))) {
      return list.toList();
    }
  }

  /** Starts a thread that ends the program if it fails. */
  static Thread thread(Work work) {
    Thread thread = new Thread(() -> {
      try {
        work.run();
      } catch (InterruptedException e) {
        // as was asked for
      } catch (Exception e) {
        if (Thread.currentThread().isInterrupted()) return;
        e.printStackTrace();
        System.exit(1);
      }
    });
    thread.setDaemon(true);
    thread.start();
    return thread;
  }
}
