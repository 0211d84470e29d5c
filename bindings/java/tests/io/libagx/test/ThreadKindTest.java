package io.libagx.test;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.libagx.AgxClient;
import io.libagx.AgxEvent;
import io.libagx.AgxGroup;
import io.libagx.AgxGroupOptions;
import io.libagx.AgxListenOptions;
import io.libagx.AgxListener;
import io.libagx.AgxProcessOptions;
import io.libagx.AgxSession;
import io.libagx.AgxStatus;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What waits does so alike in a platform thread and, where Java has them, in a virtual one. */
@Timeout(120)
class ThreadKindTest {
  private static final Duration LONG = Duration.ofMinutes(10);
  private static final AgxListenOptions FROM_NOW = AgxListenOptions.defaults().after("new");
  private static final AgxGroup.Source NEW = AgxGroup.Source.NEW;
  private static final AgxProcessOptions ONCE = Behaviour.QUICK.limit(1).timeout(LONG);
  /** More than there are threads to carry virtual ones. */
  private static final int MANY = 4 * Runtime.getRuntime().availableProcessors() + 4;

  private AgxClient client;
  private AgxSession session;

  static Stream<Named<ThreadFactory>> kinds() throws ReflectiveOperationException {
    List<Named<ThreadFactory>> kinds = new ArrayList<>();
    kinds.add(Named.of("platform", Thread::new));
    if (Runtime.version().feature() >= 21) {
      Object builder = Thread.class.getMethod("ofVirtual").invoke(null);
      Object factory = Class.forName("java.lang.Thread$Builder").getMethod("factory").invoke(builder);
      kinds.add(Named.of("virtual", (ThreadFactory) factory));
    }
    return kinds.stream();
  }

  /** What a thread of that kind makes of a call. */
  private static final class Task<T> extends FutureTask<T> {
    private final Thread thread;

    Task(ThreadFactory kind, Callable<T> call) {
      super(call);
      thread = kind.newThread(this);
      thread.start();
    }

    T result() throws Exception {
      return get(60, TimeUnit.SECONDS);
    }

    Throwable failure() {
      return assertThrows(ExecutionException.class, this::result).getCause();
    }

    /** Until it waits. */
    void interruptWaiting() {
      Waiting.until(()
                        -> isDone() || thread.getState() == Thread.State.WAITING
              || thread.getState() == Thread.State.TIMED_WAITING || isIn("agxb_"));
      if (isDone()) throw new AssertionError("it did not wait");
      thread.interrupt();
    }

    private boolean isIn(String call) {
      for (StackTraceElement frame : thread.getStackTrace()) {
        if (frame.isNativeMethod() && frame.getMethodName().startsWith(call)) return true;
      }
      return false;
    }
  }

  @BeforeEach
  void open() {
    client = AgxClient.open("memory:");
    session = client.session(1, 1, "threads");
    session.start();
  }

  @AfterEach
  void close() {
    session.close();
    client.close();
  }

  private AgxGroup group(String name) {
    return session.group(name, AgxGroupOptions.defaults().consumer("a").start("$"));
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void many_that_listen_keep_none_from_adding(ThreadFactory kind) throws Exception {
    List<Task<AgxEvent>> tasks = new ArrayList<>();
    for (int n = 0; n < MANY; ++n) {
      AgxListener listener = session.listen(FROM_NOW);
      tasks.add(new Task<>(kind, listener::next));
    }
    String id = new Task<>(kind, () -> session.add("n", "test", "1")).result();
    for (Task<AgxEvent> task : tasks) assertEquals(id, task.result().id());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void many_that_look_are_given_what_is_stored(ThreadFactory kind) throws Exception {
    String id = session.add("n", "test", "1");
    AgxListenOptions numbers = AgxListenOptions.defaults().where("type = \"n\"");
    List<Task<AgxEvent>> tasks = new ArrayList<>();
    for (int n = 0; n < MANY; ++n) {
      AgxListener listener = session.listen(numbers);
      tasks.add(new Task<>(kind, () -> listener.next(Duration.ZERO)));
    }
    for (Task<AgxEvent> task : tasks) assertEquals(id, task.result().id());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void many_that_read_of_groups_keep_none_from_adding(ThreadFactory kind) throws Exception {
    List<Task<List<AgxEvent>>> tasks = new ArrayList<>();
    for (int n = 0; n < MANY; ++n) {
      AgxGroup group = group("readers-" + n);
      tasks.add(new Task<>(kind, () -> group.read(NEW, LONG, 1)));
    }
    String id = new Task<>(kind, () -> session.add("n", "test", "1")).result();
    for (Task<List<AgxEvent>> task : tasks) assertEquals(id, task.result().get(0).id());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void many_that_process_keep_none_from_adding(ThreadFactory kind) throws Exception {
    CountDownLatch handled = new CountDownLatch(MANY);
    List<Task<AgxStatus>> tasks = new ArrayList<>();
    for (int n = 0; n < MANY; ++n) {
      AgxGroup group = group("workers-" + n);
      tasks.add(new Task<>(kind, () -> group.process(ONCE, (event, attempt) -> {
        handled.countDown();
        // Handlers of all of them run at the same time.
        handled.await();
      })));
    }
    new Task<>(kind, () -> session.add("n", "test", "1")).result();
    for (Task<AgxStatus> task : tasks) assertEquals(AgxStatus.LIMIT, task.result());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void an_interruption_ends_a_read_and_loses_nothing(ThreadFactory kind) throws Exception {
    AgxGroup group = group("workers");
    for (int round = 0; round < 200; ++round) {
      boolean[] flag = new boolean[1];
      Task<List<AgxEvent>> task = new Task<>(kind, () -> {
        List<AgxEvent> events = group.read(NEW, LONG, 1);
        flag[0] = Thread.currentThread().isInterrupted();
        return events;
      });
      if (round % 2 == 0) {
        task.interruptWaiting();
        assertEquals(InterruptedException.class, task.failure().getClass());
        continue;
      }
      String id = session.add("n", "test", "1");
      task.thread.interrupt();
      List<AgxEvent> events;
      try {
        events = task.result();
      } catch (ExecutionException e) {
        assertEquals(InterruptedException.class, e.getCause().getClass());
        events = group.read(AgxGroup.Source.PENDING_FIRST, Duration.ofSeconds(30), 1);
      }
      assertEquals(List.of(id), events.stream().map(AgxEvent::id).toList(), "round " + round);
      assertEquals(1, group.ack(List.of(id)));
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void a_thread_that_is_interrupted_already_reads_nothing(ThreadFactory kind) throws Exception {
    AgxGroup group = group("workers");
    session.add("n", "test", "1");
    Task<List<AgxEvent>> task = new Task<>(kind, () -> {
      Thread.currentThread().interrupt();
      return group.read(NEW, LONG, 1);
    });
    assertEquals(InterruptedException.class, task.failure().getClass());
    assertEquals(0, group.pending().count());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void an_interruption_reaches_a_handler_that_waits(ThreadFactory kind) throws Exception {
    AgxGroup group = group("workers");
    String id = session.add("n", "test", "1");
    for (int round = 0; round < 50; ++round) {
      CountDownLatch waiting = new CountDownLatch(1);
      Task<AgxStatus> task = new Task<>(kind, () -> group.process(ONCE, (event, attempt) -> {
        assertEquals(id + " 1", event.id() + " " + attempt);
        waiting.countDown();
        Thread.sleep(LONG.toMillis());
      }));
      assertTrue(waiting.await(60, TimeUnit.SECONDS));
      task.thread.interrupt();
      assertEquals(InterruptedException.class, task.failure().getClass(), "round " + round);
    }
    assertEquals(1, group.pending().count());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void an_error_of_a_handler_reaches_the_caller_as_it_is(ThreadFactory kind) throws Exception {
    AgxGroup group = group("workers");
    session.add("n", "test", "1");
    AssertionError error = new AssertionError("a bug");
    Task<AgxStatus> task = new Task<>(kind, () -> group.process(ONCE, (event, attempt) -> {
      throw error;
    }));
    assertEquals(error, task.failure());
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void an_interruption_ends_next_and_loses_nothing(ThreadFactory kind) throws Exception {
    AgxListener listener = session.listen(FROM_NOW);
    for (int round = 0; round < 200; ++round) {
      Task<AgxEvent> task = new Task<>(kind, listener::next);
      task.interruptWaiting();
      assertEquals(InterruptedException.class, task.failure().getClass());
      String id = session.add("n", "test", "1");
      assertEquals(id, new Task<>(kind, listener::next).result().id(), "round " + round);
    }
  }
}
