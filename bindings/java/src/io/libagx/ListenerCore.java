package io.libagx;

import io.libagx.internal.agxnative;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What a listener has received and nobody has taken yet. A thread that waits for an event receives it
 * itself, as nothing is handed over then; for whatever holds no thread the dispatcher does. The latter
 * is bounded: a listener that has enough is taken out of the mux and put back when half of it is gone;
 * meanwhile its cursor in C stands.
 */
final class ListenerCore implements Batch.Sink {
  static final int MOST_ITEMS = 4096;
  static final long MOST_BYTES = 1 << 20;
  /** So long a look waits for a store that hangs. */
  private static final long MOST_LOOK_NANOS = 1_000_000_000;

  /** What poll gives when the iteration has ended. */
  static final Object END = new Object();

  private final ClientCore client;
  private final Dispatcher dispatcher;
  private final long token;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition arrived = lock.newCondition();
  private final ArrayDeque<Object> items = new ArrayDeque<>();
  private final ArrayDeque<Waiter> waiters = new ArrayDeque<>();
  /** Who gives the futures what there is; null: nobody. */
  private Server server;
  /** Something came while it did. */
  private boolean missed;
  private long handle;
  private long bytes;
  /** The dispatcher receives. */
  private boolean attached;
  /** A thread in next does, or one of the client's for a look. */
  private boolean receiving;
  /** It does so for whoever looks, since then. */
  private boolean looking;
  private long lookBegan;
  /** The dispatcher did, and does again when there is room. */
  private boolean stalled;
  private boolean finished;
  private boolean limited;
  private boolean closed;
  private Batch.Outcome broken;
  private String position;
  private Runnable subscriber;

  /** A future that holds on to its listener, lest it be closed as forgotten. */
  private final class Waiter extends ClaimedFuture<AgxEvent> {
    private final AgxListener owner;

    Waiter(AgxListener owner) {
      super(ListenerCore.this::leaveServing);
      this.owner = owner;
    }

    @Override
    void release() {
      lock.lock();
      try {
        waiters.remove(this);
      } finally {
        lock.unlock();
      }
    }

    @Override
    public String toString() {
      return "the next event of " + owner;
    }
  }

  ListenerCore(ClientCore client, Dispatcher dispatcher, long token, long handle) {
    this.client = client;
    this.dispatcher = dispatcher;
    this.token = token;
    this.handle = handle;
    byte[] id = new byte[io.libagx.internal.agxnativeConstants.AGX_ID_SIZE];
    AgxException.check(agxnative.agx_listener_position(handle, id));
    position = Text.id(id, 0);
  }

  long token() {
    return token;
  }

  /** From here on it is closed with its client. */
  void begin() {
    dispatcher.register(token, this);
    if (client.closed()) close();
  }

  private void attach() {
    dispatcher.attach(handle);
    attached = true;
  }

  private void detach() {
    if (!attached) return;
    attached = false;
    dispatcher.detach(handle);
  }

  // --- Receiving, in the dispatcher's thread

  void offer(List<Object> received, long size) {
    lock.lock();
    try {
      if (closed) return;
      for (Object item : received) put(item);
      bytes += size;
      stalled |= attached && !finished && full();
      if (finished || stalled) detach();
    } finally {
      lock.unlock();
    }
    tell();
  }

  void offerFailure(Batch.Outcome outcome) {
    lock.lock();
    try {
      if (closed || finished || !attached) return;
      put(outcome);
    } finally {
      lock.unlock();
    }
    tell();
  }

  /** Nothing will come any more, for a reason that is no end. */
  void abort(Batch.Outcome outcome) {
    lock.lock();
    try {
      broken = outcome;
    } finally {
      lock.unlock();
    }
    tell();
  }

  private void put(Object item) {
    if (item instanceof Batch.Outcome outcome) {
      limited = outcome.status() == AgxStatus.LIMIT;
      if (limited || outcome.status() == AgxStatus.ENDED) {
        finished = true;
        return;
      }
      // One that came too late for the call that it was to end.
      if (outcome.status() == AgxStatus.INTERRUPTED) return;
      // Of a look, which says so itself.
      if (outcome.status() == AgxStatus.TIMEOUT) return;
      // What nobody has heard yet is not said twice.
      if (outcome.equals(items.peekLast())) return;
    }
    items.add(item);
  }

  private boolean full() {
    return items.size() >= MOST_ITEMS || bytes >= MOST_BYTES;
  }

  private void tell() {
    Runnable told;
    boolean serve;
    lock.lock();
    try {
      arrived.signalAll();
      told = subscriber;
      serve = !waiters.isEmpty();
    } finally {
      lock.unlock();
    }
    if (serve) serve();
    if (told != null) told.run();
  }

  // --- Taking

  /** An AgxEvent, an AgxException, END, or null if there is nothing yet. */
  Object poll() {
    lock.lock();
    try {
      return take();
    } finally {
      lock.unlock();
    }
  }

  private Object take() {
    return ready() ? takeHeld() : null;
  }

  /** Whether there is something to take; if not, the dispatcher receives from here on. */
  private boolean ready() {
    if (!holds()) resume();
    return holds();
  }

  private boolean holds() {
    return !items.isEmpty() || finished || closed || broken != null;
  }

  private Object takeHeld() {
    if (closed) return closedException();
    Object item = items.poll();
    if (item == null) {
      if (finished) return END;
      return broken != null ? broken.exception() : null;
    }
    if (item instanceof Batch.Outcome outcome) item = outcome.exception();
    if (item instanceof AgxEvent event) {
      bytes -= size(event);
      position = event.id();
    }
    if (items.isEmpty()) bytes = 0;
    if (stalled && items.size() <= MOST_ITEMS / 2 && bytes <= MOST_BYTES / 2) resume();
    return item;
  }

  /** About what the batch counted for it: texts are mostly ASCII, and it is only a bound. */
  private static long size(AgxEvent event) {
    return event.id().length() + event.type().length() + event.origin().length()
        + event.body().length();
  }

  /** The dispatcher receives, if nobody does. What it fails with is told behind what is there. */
  private void resume() {
    if (attached || receiving || finished || closed) return;
    try {
      attach();
      stalled = false;
    } catch (AgxException e) {
      AgxException failure = client.closed() ? closedException() : e;
      put(new Batch.Outcome(failure.status(), failure.getMessage()));
    }
  }

  /** The next event, or null at the end. nanos: Long.MAX_VALUE for no bound. */
  AgxEvent next(long nanos) throws InterruptedException {
    boolean bounded = nanos != Long.MAX_VALUE;
    long begin = bounded ? System.nanoTime() : 0;
    boolean others = false;
    lock.lockInterruptibly();
    try {
      if (nanos == 0) look();
      for (;;) {
        if (Thread.interrupted()) throw new InterruptedException();
        long left = bounded ? nanos - (System.nanoTime() - begin) : nanos;
        // A wait that is bounded is so also while the store hangs, when C cannot end it.
        boolean waits = !bounded && !attached && !receiving && !Threads.isVirtual();
        Object item = waits ? takeHeld() : take();
        if (item == END) return null;
        if (item instanceof AgxEvent event) return event;
        if (item != null) throw(AgxException) item;
        if (waits) {
          boolean open = receive(client.batches().take(), -1);
          others = !waiters.isEmpty() || subscriber != null;
          if (!open) throw closedException();
        } else if (left <= 0) {
          throw AgxException.of(AgxStatus.TIMEOUT, "nothing came within the timeout");
        } else if (bounded) {
          arrived.awaitNanos(left);
        } else {
          arrived.await();
        }
      }
    } finally {
      if (others) resume();
      lock.unlock();
      if (others) tell();
    }
  }

  /**
   * Until what is stored has come, if nobody receives. As the store may hang, a thread of the client's
   * asks it; behind that the dispatcher receives, so that only the first look waits.
   */
  private void look() throws InterruptedException {
    if (!looking) {
      if (attached || receiving || holds()) return;
      Batch batch = client.batches().take();
      looking = receiving = true;
      lookBegan = System.nanoTime();
      try {
        client.await(() -> receiveStored(batch));
      } catch (RuntimeException | Error e) {
        looking = receiving = false;
        client.batches().give(batch);
        throw e;
      }
    }
    long left = MOST_LOOK_NANOS - (System.nanoTime() - lookBegan);
    while (looking && !closed && left > 0) left = arrived.awaitNanos(left);
  }

  private void receiveStored(Batch batch) {
    lock.lock();
    try {
      receive(batch, 0);
      resume();
    } finally {
      looking = false;
      lock.unlock();
    }
    tell();
  }

  /**
   * Waits in C, in this thread, which gives the lock up meanwhile, and closes C's if that was asked
   * for. False: it was closed.
   */
  private boolean receive(Batch batch, long millis) {
    receiving = true;
    lock.unlock();
    Batch.Outcome outcome = null;
    InterruptWatch watch = new InterruptWatch(this::interrupt);
    try {
      int status;
      watch.start();
      try {
        status = agxnative.agxb_listen_batch(
            handle, millis, Dispatcher.MAX_EVENTS, Dispatcher.MAX_BYTES, batch.handle);
      } finally {
        watch.stop();
      }
      if (status != 0) outcome = Batch.Outcome.last(status);
    } finally {
      lock.lock();
      receiving = false;
      arrived.signalAll();
      if (closed) agxnative.agx_listener_close(handle);
    }
    if (outcome == null) {
      keep(batch);
    } else if (outcome.status() != AgxStatus.ECLOSED) {
      put(outcome);
    }
    client.batches().give(batch);
    return outcome == null || outcome.status() != AgxStatus.ECLOSED;
  }

  private void interrupt() {
    agxnative.agx_listener_interrupt(handle);
  }

  private void keep(Batch batch) {
    try {
      batch.read(this);
    } catch (RuntimeException | Error e) {
      broken = new Batch.Outcome(AgxStatus.ESYSTEM, "what came could not be kept: " + e);
    }
  }

  @Override
  public void take(long ignored, Object item, int size) {
    if (closed) return;
    put(item);
    bytes += size;
  }

  @Override
  public void takeOwn(Batch.Outcome outcome) {
    throw new IllegalStateException("of a mux: " + outcome);
  }

  CompletableFuture<AgxEvent> nextAsync(AgxListener owner) {
    Waiter waiter = new Waiter(owner);
    lock.lock();
    try {
      waiters.add(waiter);
    } finally {
      lock.unlock();
    }
    serve();
    return waiter;
  }

  /** Gives the futures what there is, outside of the thread that receives. */
  private void serve() {
    Server started = new Server();
    lock.lock();
    try {
      missed = server != null;
      if (missed) return;
      server = started;
    } finally {
      lock.unlock();
    }
    client.deliver(started);
  }

  /** One at a time, so that futures are completed in their order; until it is to wait for one itself. */
  private final class Server implements Runnable {
    private Thread thread;

    @Override
    public void run() {
      thread = Thread.currentThread();
      do {
        while (serveOne(this)) {
        }
      } while (goesOn());
    }

    private boolean goesOn() {
      lock.lock();
      try {
        if (server != this) return false;
        if (!missed) server = null;
        missed = false;
        return server == this;
      } finally {
        lock.unlock();
      }
    }
  }

  /** What a future is continued with waits for another: somebody else is to serve it. */
  private void leaveServing() {
    lock.lock();
    try {
      if (server == null || server.thread != Thread.currentThread()) return;
      server = null;
    } finally {
      lock.unlock();
    }
    serve();
  }

  private boolean serveOne(Server by) {
    Waiter waiter;
    Object item;
    lock.lock();
    try {
      if (server != by) return false;
      waiter = waiters.peek();
      if (waiter == null || !ready()) return false;
      if (!waiter.claim()) {
        // Given up; who did that waits for the lock to take it out.
        waiters.remove();
        return true;
      }
      item = takeHeld();
    } finally {
      lock.unlock();
    }
    if (item == END) {
      waiter.give(null);
    } else if (item instanceof AgxEvent event) {
      waiter.give(event);
    } else {
      waiter.giveFailure((AgxException) item);
    }
    return true;
  }

  /** Whom to tell that something arrived; false: there is one already. */
  boolean subscribe(Runnable told) {
    lock.lock();
    try {
      if (subscriber != null) return false;
      subscriber = told;
      resume();
      return true;
    } finally {
      lock.unlock();
    }
  }

  void unsubscribe(Runnable told) {
    lock.lock();
    try {
      if (subscriber == told) subscriber = null;
    } finally {
      lock.unlock();
    }
  }

  // --- What it is

  String position() {
    lock.lock();
    try {
      return position;
    } finally {
      lock.unlock();
    }
  }

  boolean ended() {
    lock.lock();
    try {
      return finished && items.isEmpty();
    } finally {
      lock.unlock();
    }
  }

  AgxGoneReason goneReason() {
    return AgxGoneReason.values()[agxnative.agx_listener_gone(handle)];
  }

  /** Why nothing will come any more, if that is no end; else null. */
  AgxException broken() {
    lock.lock();
    try {
      if (closed) return closedException();
      return broken == null || !items.isEmpty() || finished ? null : broken.exception();
    } finally {
      lock.unlock();
    }
  }

  boolean limited() {
    lock.lock();
    try {
      return limited && items.isEmpty();
    } finally {
      lock.unlock();
    }
  }

  private AgxException closedException() {
    String what = client.closed() ? "the client" : "the listener";
    return AgxException.of(AgxStatus.ECLOSED, what + " is closed");
  }

  void close() {
    List<Waiter> left;
    boolean used;
    lock.lock();
    try {
      if (closed) return;
      closed = true;
      used = receiving;
      items.clear();
      left = new ArrayList<>(waiters);
      waiters.clear();
      arrived.signalAll();
    } finally {
      lock.unlock();
    }
    dispatcher.forget(token);
    if (used) {
      // A store that hangs keeps that thread, which closes it.
      interrupt();
    } else {
      agxnative.agx_listener_close(handle);
    }
    if (attached) dispatcher.detached();
    AgxException reason = closedException();
    for (Waiter waiter : left) {
      if (waiter.claim()) client.deliver(() -> waiter.giveFailure(reason));
    }
    tell();
  }
}
