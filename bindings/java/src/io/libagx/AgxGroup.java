package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.lang.ref.Reference;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A consumer of a group: consumers of a group share a session's events. Each event is given to one of
 * them and stays pending for it until somebody acknowledges it, so that it is not lost when a
 * consumer dies: others take it over once it has been idle for long enough.
 *
 * <p>{@link #process(AgxProcessOptions, AgxHandler)} does all of that. The other methods are its
 * parts, for programs that do it their own way. Each may throw {@link AgxException.NotFound} if
 * there is no such group any more, and blocks for a command of the store unless it says otherwise.
 *
 * <p>What waits holds a thread: the caller's, or with a future or in a virtual thread one of the
 * client's, which then calls the handler too. It ends at once if the caller's thread is interrupted or
 * the future cancelled.
 */
public final class AgxGroup implements AutoCloseable {
  private static final int ID_SIZE = agxnativeConstants.AGX_ID_SIZE;

  /** What {@link AgxGroup#read(Source, Duration, int)} gives. */
  public enum Source {
    /** Events that were given to nobody yet. */
    NEW(0),
    /** First what is pending for this consumer, each event once for this object; then new ones. */
    PENDING_FIRST(1),
    /** What is pending for this consumer; after the last none, and then from the first again. */
    PENDING_ONLY(2);

    /** The number that agx.h gives it. */
    private final int code;

    Source(int code) {
      this.code = code;
    }
  }

  private final AgxClient client;
  private final ClientCore core;
  private final String name;
  private final Handle handle;
  private final Interrupter interrupter;
  /** Of calls that wait. */
  private final Turns turns;

  private volatile Thread processing;
  /** Read for a future that was cancelled; of who has the turn. */
  private final List<AgxEvent> left = new ArrayList<>();
  private final Handling handling = new Handling();

  private AgxGroup(AgxClient client, ClientCore core, String name, long value) {
    this.client = client;
    this.core = core;
    this.name = name;
    handle = new Handle(
        this, "group", value, agxnative::agx_group_interrupt, agxnative::agx_group_close);
    turns = new Turns(handle);
    interrupter = new Interrupter(value);
  }

  static AgxGroup open(AgxSession session, ClientCore core, String name, AgxGroupOptions options) {
    byte[] group = Text.encode("the group's name", Text.required("the group's name", name));
    byte[] consumer = Text.encode("the consumer's name", options.consumer());
    byte[] start = Text.encode("start", options.start());
    byte[] letters = Text.encode("the dead letters' key", options.deadLetters());
    long[] out = new long[1];
    AgxException.check(session.call(handle
        -> agxnative.agxb_group_open(handle, group, consumer, start, options.mustExist() ? 1 : 0,
            options.recreate() ? 1 : 0, letters, out)));
    return new AgxGroup(session.client(), core, name, out[0]);
  }

  private int call(Handle.Call call) {
    try {
      if (core.closed()) throw ClientCore.closedException();
      return handle.call(call);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  private void checked(Handle.Call call) {
    Calls.check(call(call));
  }

  private static byte[] bytes(Collection<String> ids) {
    return Text.join("an event's id", ids);
  }

  /**
   * The group's name.
   *
   * @return the name
   */
  public String name() {
    return name;
  }

  /**
   * The consumer's name.
   *
   * @return the name
   */
  public String consumer() {
    long group = handle.enter();
    try {
      return Text.lenient(agxnative.agx_group_consumer_name(group));
    } finally {
      handle.leave();
      Reference.reachabilityFence(this);
    }
  }

  // --- What waits

  /**
   * Takes events that are there; waits only for the first. Each is to be acknowledged. If the thread
   * is interrupted when there are some already, they are given, and its interrupt flag stays set.
   *
   * @param source which
   * @param timeout how long it waits; negative for ever
   * @param most how many at most; at most 4096 are given at once
   * @return the events; none if there were none in time, or none that is pending
   * @throws InterruptedException if the thread is interrupted
   * @throws AgxException.Interrupted if {@link #interrupt()} was called
   * @throws AgxException.Busy if a process is under way
   */
  public List<AgxEvent> read(Source source, Duration timeout, int most)
      throws InterruptedException {
    if (Threads.isVirtual()) return elsewhere(wait -> read(wait, source, timeout, most));
    return read(new Wait<>(), source, timeout, most);
  }

  private List<AgxEvent> read(Wait<List<AgxEvent>> wait, Source source, Duration timeout, int most)
      throws InterruptedException {
    int from = Text.required("the source", source).code;
    long millis = Text.waitMillis(Text.required("the timeout", timeout));
    if (most <= 0) throw Text.invalid("at least one event has to be asked for, not " + most);
    if (Thread.interrupted()) throw new InterruptedException();
    if (!take(millis)) return wait.claim() ? List.of() : null;
    try {
      List<AgxEvent> events =
          left.isEmpty() ? readNow(wait.call, from, millis, most) : takeLeft(most);
      if (wait.claim()) return events;
      // The next to have the turn gives them.
      left.addAll(0, events);
      return null;
    } finally {
      turns.give();
    }
  }

  /** Takes the turn; false: not in time. */
  private boolean take(long millis) throws InterruptedException {
    handle.check();
    if (processing != null) throw busy();
    return turns.take(millis);
  }

  private static AgxException busy() {
    return AgxException.of(AgxStatus.EBUSY, "the group is in a process or a read already");
  }

  private List<AgxEvent> takeLeft(int most) {
    List<AgxEvent> some = left.subList(0, Math.min(most, left.size()));
    List<AgxEvent> taken = List.copyOf(some);
    some.clear();
    return taken;
  }

  private List<AgxEvent> readNow(Interrupter.Turn call, int source, long millis, int most)
      throws InterruptedException {
    long begin = System.nanoTime();
    try (Batch batch = new Batch()) {
      int status = interrupter.call(call, () -> call(group -> {
        long gone = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
        long rest = millis < 0 ? millis : Math.max(millis - gone, 0);
        return agxnative.agxb_group_batch(group, source, rest, most, batch.handle);
      }));
      if (status == 0) {
        return batch.events();
      }
      if (status == AgxStatus.INTERRUPTED.code()) {
        boolean asked = interrupter.takeAsked();
        if (Thread.interrupted() || !asked) throw new InterruptedException();
      }
      if (status == AgxStatus.TIMEOUT.code() || status == AgxStatus.ENDED.code()) return List.of();
      throw AgxException.last(status);
    }
  }

  /** A future that ends what it waits for, if it is completed otherwise. */
  private final class Wait<T> extends ClaimedFuture<T> {
    private final Interrupter.Turn call = new Interrupter.Turn();
    /** That waits, while it does; guarded by this. */
    private Thread thread;
    /** It was to be interrupted before it began; likewise. */
    private boolean interrupted;

    @Override
    void release() {
      interrupter.end(call);
    }

    /** False: it was cancelled before. */
    synchronized boolean begin() {
      if (isClaimed()) return false;
      thread = Thread.currentThread();
      if (interrupted) thread.interrupt();
      return true;
    }

    /** From here on nobody interrupts the thread, which is the client's, for this call. */
    synchronized void end() {
      thread = null;
      Thread.interrupted();
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
      boolean cancelled = super.cancel(mayInterrupt);
      if (cancelled && mayInterrupt) interrupt();
      return cancelled;
    }

    synchronized void interrupt() {
      interrupted = true;
      if (thread != null) thread.interrupt();
    }
  }

  private interface Waits<T> {
    /** Null: the wait was claimed by what gave it up, else by this. */
    T get(Wait<T> wait) throws InterruptedException;
  }

  private <T> CompletableFuture<T> await(Waits<T> waits) {
    Wait<T> future = new Wait<>();
    await(future, waits, core::deliver);
    return future;
  }

  private <T> void await(Wait<T> future, Waits<T> waits, Consumer<Runnable> deliver) {
    handle.check();
    core.await(() -> {
      // Cancelled before its turn: nothing is done.
      if (!future.begin()) return;
      try {
        T result = waits.get(future);
        future.end();
        if (result != null) deliver.accept(() -> future.give(result));
      } catch (Throwable failure) {
        future.end();
        if (future.claim()) deliver.accept(() -> future.giveFailure(failure));
      }
    });
  }

  /**
   * A virtual thread that waits in C keeps the thread that carries it from all others, which may be
   * those that it waits for; so one of the client's waits instead, and is interrupted with it.
   */
  private <T> T elsewhere(Waits<T> waits) throws InterruptedException {
    if (Thread.interrupted()) throw new InterruptedException();
    Wait<T> future = new Wait<>();
    await(future, waits, Runnable::run);
    boolean interrupted = false;
    try {
      for (;;) {
        try {
          return future.get();
        } catch (InterruptedException e) {
          interrupted = true;
          future.interrupt();
        }
      }
    } catch (ExecutionException e) {
      if (e.getCause() instanceof InterruptedException) {
        interrupted = false;
        throw new InterruptedException();
      }
      throw Calls.asSuch(e.getCause());
    } finally {
      if (interrupted) Thread.currentThread().interrupt();
    }
  }

  /**
   * {@link #read(Source, Duration, int)}, later. If the future is cancelled when there are some
   * already, the next read gives them.
   *
   * @param source which
   * @param timeout how long it waits; negative for ever
   * @param most how many at most
   * @return the events; none if there were none in time, or none that is pending
   */
  public CompletableFuture<List<AgxEvent>> readAsync(Source source, Duration timeout, int most) {
    return await(wait -> read(wait, source, timeout, most));
  }

  /**
   * Makes the read or process that is under way, or else the next one, end; the latter once it has
   * finished what it holds.
   */
  public void interrupt() {
    handle.check();
    interrupter.ask();
  }

  /**
   * Hands the group's events to a handler, in this thread unless it is a virtual one: first what is pending for this consumer,
   * then new ones and those that other consumers have left. An event that was handled is
   * acknowledged; one that failed is tried again after a pause, and after so many attempts becomes a
   * dead letter. It goes on when the connection is lost and the store is restarted.
   *
   * <p>It ends when the thread is interrupted (a handler that waits at that moment notices, and if it
   * lets the {@link InterruptedException} out it has not failed; what else it holds is finished first),
   * when {@link #interrupt()} is called, by the options' timeout or limit, by an {@link Error} of the
   * handler, or by what the options' {@code onFailure} throws. What it holds after these two, or did not
   * finish, comes again.
   *
   * @param options how
   * @param handler what to do with each
   * @return {@link AgxStatus#INTERRUPTED} by {@link #interrupt()}, {@link AgxStatus#TIMEOUT} or
   *     {@link AgxStatus#LIMIT}
   * @throws InterruptedException if the thread was interrupted
   * @throws AgxException.Busy if it, or a read, is under way on this object
   */
  public AgxStatus process(AgxProcessOptions options, AgxHandler handler)
      throws InterruptedException {
    if (Threads.isVirtual()) return elsewhere(wait -> process(wait, options, handler));
    return process(new Wait<>(), options, handler);
  }

  private AgxStatus process(Wait<AgxStatus> wait, AgxProcessOptions options, AgxHandler handler)
      throws InterruptedException {
    Text.required("the handler", handler);
    if (Thread.interrupted()) throw new InterruptedException();
    handle.check();
    if (processing != null || !turns.take(0)) throw busy();
    try {
      AgxStatus status = new Process(wait.call, options, handler).run();
      return wait.claim() ? status : null;
    } finally {
      turns.give();
    }
  }

  /**
   * {@link #process(AgxProcessOptions, AgxHandler)} in a thread of the client's, until it ends or
   * the future is cancelled; what it holds then is still handled, and the group is busy until that is
   * done. {@code cancel(true)} interrupts that thread, so that a handler that waits notices.
   *
   * @param options how
   * @param handler what to do with each
   * @return how it ended
   */
  public CompletableFuture<AgxStatus> processAsync(AgxProcessOptions options, AgxHandler handler) {
    return await(wait -> process(wait, options, handler));
  }

  /** A call of a handler, which closing waits for. */
  private static final class Handling {
    private boolean now;
    private boolean closed;

    /** False: none is made any more. */
    synchronized boolean begin() {
      now = !closed;
      return now;
    }

    synchronized void end() {
      now = false;
      notifyAll();
    }

    void close() {
      boolean interrupted = false;
      synchronized (this) {
        closed = true;
        while (now) {
          try {
            wait();
          } catch (InterruptedException e) {
            interrupted = true;
          }
        }
      }
      if (interrupted) Thread.currentThread().interrupt();
    }
  }

  /** One call of process. */
  private final class Process {
    private final Interrupter.Turn call;
    private final AgxProcessOptions options;
    private final AgxHandler handler;
    /** What ended it. */
    private Throwable thrown;

    private boolean interrupted;

    Process(Interrupter.Turn call, AgxProcessOptions options, AgxHandler handler) {
      this.call = call;
      this.options = options;
      this.handler = handler;
    }

    AgxStatus run() throws InterruptedException {
      Calls.Callee callee = this::called;
      long token = Calls.register(() -> callee);
      processing = Thread.currentThread();
      int status;
      try {
        status = interrupter.call(call,
            ()
                -> call(group
                    -> agxnative.agxb_group_process(group, options.maxRetries(),
                        Text.millis(options.claimIdle(), 0), options.count(),
                        Text.millis(options.backoff(), 0), Text.millis(options.backoffMax(), 0),
                        Text.waitMillis(options.outage()), Text.waitMillis(options.timeout()),
                        options.limit(), token)));
      } finally {
        processing = null;
        Calls.forget(token);
      }
      return end(status);
    }

    private AgxStatus end(int status) throws InterruptedException {
      AgxException failure = AgxException.last(status);
      if (thrown != null) {
        interrupter.takeAsked();
        if (interrupted) Thread.currentThread().interrupt();
        throw Calls.asSuch(thrown);
      }
      if (Thread.interrupted() | interrupted) throw new InterruptedException();
      if (status < 0) throw failure;
      if (failure.status() == AgxStatus.INTERRUPTED) interrupter.takeAsked();
      if (failure.status() == AgxStatus.NONE) throw failure;
      return failure.status();
    }

    private int called(long group, Records record, long attempt) {
      // What it still holds comes again, as if it had not been given to it.
      if (thrown != null || !handling.begin()) return agxnativeConstants.AGX_INTERRUPTED;
      settle();
      try {
        return handle(group, record, attempt);
      } finally {
        handling.end();
        settle();
        if (interrupted) agxnative.agx_group_interrupt(group);
      }
    }

    /** The handler is to finish what it has, without a flag from before; the process ends then. */
    private void settle() {
      interrupter.pause();
      interrupted |= Thread.interrupted() | interrupter.interrupted();
      if (interrupted) interrupter.noteInterrupted();
      interrupter.resume();
    }

    private int handle(long group, Records record, long attempt) {
      AgxEvent event = record.event();
      try {
        handler.handle(event, attempt);
        return agxnativeConstants.AGX_OK;
      } catch (Exception failure) {
        if (failure instanceof InterruptedException) {
          interrupted = true;
          return agxnativeConstants.AGX_INTERRUPTED;
        }
        failed(event, attempt, failure);
        return refuse(group, failure);
      } catch (Throwable error) {
        stop(error);
        return refuse(group, error);
      }
    }

    private int refuse(long group, Throwable failure) {
      agxnative.agx_group_fail_reason(group, Text.encode("the reason", Text.reason(failure)));
      return agxnativeConstants.AGX_EFAILED;
    }

    private void failed(AgxEvent event, long attempt, Exception failure) {
      if (options.onFailure() == null) return;
      try {
        options.onFailure().failed(event, attempt, failure);
      } catch (Throwable error) {
        stop(error);
      }
    }

    /** The first is what the caller gets. */
    private void stop(Throwable error) {
      if (thrown == null) {
        thrown = error;
      } else if (thrown != error) {
        thrown.addSuppressed(error);
      }
      interrupter.end(call);
    }
  }

  // --- Its parts

  /**
   * Acknowledges events of this group, whoever they are pending for. May be repeated.
   *
   * @param ids the events'
   * @return how many of them were pending
   */
  public long ack(Collection<String> ids) {
    byte[] list = bytes(ids);
    long[] out = new long[1];
    checked(group -> agxnative.agxb_group_ack(group, list, ids.size(), out));
    return out[0];
  }

  /**
   * Acknowledges an event.
   *
   * @param event the event
   * @return whether it was pending
   */
  public boolean ack(AgxEvent event) {
    return ack(List.of(event.id())) != 0;
  }

  /**
   * {@link #ack(Collection)}, later.
   *
   * @param ids the events'
   * @return how many of them were pending
   */
  public CompletableFuture<Long> ackAsync(Collection<String> ids) {
    List<String> copy = List.copyOf(ids);
    return core.async(() -> ack(copy));
  }

  /**
   * Takes events over from whomever they are pending for, if nobody was given them for so long.
   *
   * @param minIdle how long
   * @param ids the events'
   * @return those that came along, in the order of their ids
   */
  public List<AgxEvent> claim(Duration minIdle, Collection<String> ids) {
    byte[] list = bytes(ids);
    try (Batch batch = new Batch()) {
      checked(group
          -> agxnative.agxb_group_claim(
              group, Text.waitMillis(minIdle), list, ids.size(), batch.handle));
      return batch.events();
    }
  }

  /**
   * {@link #claim(Duration, Collection)}, later.
   *
   * @param minIdle how long
   * @param ids the events'
   * @return those that came along
   */
  public CompletableFuture<List<AgxEvent>> claimAsync(Duration minIdle, Collection<String> ids) {
    List<String> copy = List.copyOf(ids);
    return core.async(() -> claim(minIdle, copy));
  }

  /**
   * Takes over whatever has been idle for so long.
   *
   * @param minIdle how long
   * @param cursor "" at first, then {@link AgxClaimed#cursor()}
   * @param most how many events are looked at, at most; there may be none among them
   * @return the events, and where to go on
   */
  public AgxClaimed autoClaim(Duration minIdle, String cursor, int most) {
    byte[] from = Text.encode("the cursor", Text.required("the cursor", cursor));
    if (from.length >= ID_SIZE) throw Text.invalid("\"" + cursor + "\" is no cursor");
    byte[] place = java.util.Arrays.copyOf(from, ID_SIZE);
    try (Batch batch = new Batch()) {
      checked(group
          -> agxnative.agxb_group_autoclaim(
              group, Text.waitMillis(minIdle), place, most, batch.handle));
      return new AgxClaimed(Text.id(place, 0), batch.events());
    }
  }

  /**
   * {@link #autoClaim(Duration, String, int)}, later.
   *
   * @param minIdle how long
   * @param cursor where it begins
   * @param most how many events are looked at
   * @return the events, and where to go on
   */
  public CompletableFuture<AgxClaimed> autoClaimAsync(Duration minIdle, String cursor, int most) {
    return core.async(() -> autoClaim(minIdle, cursor, most));
  }

  // --- What there is

  /**
   * How much is pending in the group.
   *
   * @return the numbers
   */
  public AgxPending pending() {
    byte[] ids = new byte[2 * ID_SIZE];
    long[] numbers = new long[2];
    checked(group -> agxnative.agxb_group_pending(group, ids, numbers));
    return new AgxPending(numbers[0], Text.id(ids, 0), Text.id(ids, ID_SIZE), numbers[1]);
  }

  /**
   * Lists events that are pending, in the order of their ids.
   *
   * @param consumer whose; null for all
   * @param minIdle idle for so long or longer
   * @param after behind this id; null from the first
   * @param most how many at most; at most 4096 are given at once
   * @return the events; fewer than asked for if there are no more
   */
  public List<AgxPendingEvent> pendingEvents(
      String consumer, Duration minIdle, String after, int most) {
    byte[] whose = Text.encode("the consumer's name", consumer);
    byte[] behind = Text.encode("after", after);
    try (Batch batch = new Batch()) {
      checked(group
          -> agxnative.agxb_group_pending_batch(
              group, whose, Text.waitMillis(minIdle), behind, most, batch.handle));
      return batch.list(record
          -> new AgxPendingEvent(
              record.id(), record.type(), Duration.ofMillis(record.number(0)), record.number(1)));
    }
  }

  /**
   * The consumers of the group.
   *
   * @return what there is to tell of each
   */
  public List<AgxConsumerInfo> consumers() {
    try (Batch batch = new Batch()) {
      checked(group -> agxnative.agxb_group_consumers(group, batch.handle));
      return batch.list(record
          -> new AgxConsumerInfo(
              record.type(), record.number(0), Duration.ofMillis(record.number(1))));
    }
  }

  /**
   * How the group is doing. Blocks for a few commands.
   *
   * @return the numbers
   */
  public AgxHealth health() {
    byte[] last = new byte[ID_SIZE];
    long[] numbers = new long[6];
    checked(group -> agxnative.agxb_group_health(group, last, numbers));
    Duration oldest = numbers[5] < 0 ? null : Duration.ofMillis(numbers[5]);
    return new AgxHealth(
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], oldest, Text.id(last, 0));
  }

  /**
   * {@link #health()}, later.
   *
   * @return the numbers
   */
  public CompletableFuture<AgxHealth> healthAsync() {
    return core.async(this::health);
  }

  /**
   * Deletes a consumer. What was pending for it comes to nobody again; to keep it, claim it first.
   *
   * @param consumer its name; null for this one
   * @return how many events were pending for it
   */
  public long deleteConsumer(String consumer) {
    byte[] whose = Text.encode("the consumer's name", consumer);
    long[] out = new long[1];
    checked(group -> agxnative.agx_group_delete_consumer(group, whose, out));
    return out[0];
  }

  /** Deletes the group, with what is pending in it. This object stays open. */
  public void delete() {
    checked(agxnative::agx_group_delete);
  }

  // --- Dead letters

  /**
   * Lists the group's dead letters, in the order in which they died.
   *
   * @param after behind this one's id; null from the first
   * @param most how many at most; at most 4096 are given at once
   * @return the dead letters; none if there is none further
   */
  public List<AgxDeadLetter> deadLetters(String after, int most) {
    byte[] behind = Text.encode("after", after);
    try (Batch batch = new Batch()) {
      int status =
          call(group -> agxnative.agxb_group_dead_letters(group, behind, most, batch.handle));
      if (status == AgxStatus.ENDED.code()) return List.of();
      AgxException.check(status);
      List<AgxDeadLetter> letters = new ArrayList<>();
      AgxEvent[] event = new AgxEvent[1];
      batch.list(record -> {
        if (record.kind() == agxnativeConstants.AGXB_EVENT) {
          event[0] = record.event();
        } else {
          letters.add(new AgxDeadLetter(event[0], record.type(), record.id(), record.body(),
              record.number(0), Instant.ofEpochMilli(record.number(1))));
        }
        return null;
      });
      return letters;
    }
  }

  /**
   * Puts dead letters back into the stream, as new events with a field {@code replayed_from_dlq},
   * and deletes them. Blocks for a command for each.
   *
   * @param ids the dead letters' own
   * @return how many there were
   */
  public long replay(Collection<String> ids) {
    byte[] list = bytes(ids);
    long[] out = new long[1];
    checked(group -> agxnative.agxb_group_replay(group, list, ids.size(), out));
    return out[0];
  }

  /**
   * {@link #replay(Collection)}, later.
   *
   * @param ids the dead letters' own
   * @return how many there were
   */
  public CompletableFuture<Long> replayAsync(Collection<String> ids) {
    List<String> copy = List.copyOf(ids);
    return core.async(() -> replay(copy));
  }

  /**
   * Deletes dead letters.
   *
   * @param ids the dead letters' own
   * @return how many there were
   */
  public long deleteDeadLetters(Collection<String> ids) {
    byte[] list = bytes(ids);
    long[] out = new long[1];
    checked(group -> agxnative.agxb_group_delete_dead_letters(group, list, ids.size(), out));
    return out[0];
  }

  /**
   * Closes it. Who waits in it gets {@link AgxException.Closed}; what is pending for its consumer
   * stays so. It waits for a handler that is under way, which therefore must not wait for it; a call
   * that the store has not answered yet is carried out and not waited for. If the consumer's name was
   * made up, and no call is under way, it blocks for a command, which takes the consumer out.
   *
   * @throws AgxException.BadState in a handler of its own process; {@link #interrupt()} ends that, and
   *     whoever called it closes the group then
   */
  @Override
  public void close() {
    if (processing == Thread.currentThread()) {
      throw AgxException.of(AgxStatus.ESTATE,
          "a handler cannot close the group that called it; interrupt() ends the process");
    }
    handle.close();
    turns.closed();
    handling.close();
  }

  @Override
  public String toString() {
    return "group " + name + " of " + client;
  }
}
