package io.libagx;

import io.libagx.internal.agxnative;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/** What a client has besides its handle: threads, each of which starts when it is first needed. */
final class ClientCore {
  private static final int WORKERS = 4;

  private final long handle;
  private final Executor callbacks;
  private final LogPump log;
  private final AtomicLong tokens = new AtomicLong();
  private final ThreadPoolExecutor workers;
  /** For what is queued: who waits for that may do so in any other thread. */
  private final ThreadPoolExecutor adders;
  /** For calls that wait: each has a thread for as long as it does. */
  private final ThreadPoolExecutor waiters;
  private final Adder adder = new Adder(this);
  private final CancelWatch cancels = new CancelWatch();
  private final BatchPool batches = new BatchPool();
  private final Set<AgxSubscription> subscriptions = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;
  private Dispatcher dispatcher;

  ClientCore(long handle, Executor callbacks, LogPump log) {
    this.handle = handle;
    this.callbacks = callbacks;
    this.log = log;
    workers = pool("agx-worker");
    adders = pool("agx-adder");
    waiters = new ThreadPoolExecutor(0, Integer.MAX_VALUE, 10, TimeUnit.SECONDS,
        new SynchronousQueue<>(), daemons("agx-waiter"));
  }

  private static ThreadPoolExecutor pool(String name) {
    ThreadPoolExecutor pool = new ThreadPoolExecutor(
        WORKERS, WORKERS, 10, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), daemons(name));
    pool.allowCoreThreadTimeOut(true);
    return pool;
  }

  static ThreadFactory daemons(String name) {
    AtomicLong count = new AtomicLong();
    return work -> {
      Thread thread = new Thread(work, name + "-" + count.incrementAndGet());
      thread.setDaemon(true);
      return thread;
    };
  }

  long handle() {
    if (closed) throw closedException();
    return handle;
  }

  boolean closed() {
    return closed;
  }

  static AgxException closedException() {
    return AgxException.of(AgxStatus.ECLOSED, "the client is closed");
  }

  /** A call of a program's own code, whose failure is no business of who makes it. */
  private static final class Delivery implements Runnable {
    private final Runnable call;
    private final AtomicBoolean begun = new AtomicBoolean();

    Delivery(Runnable call) {
      this.call = call;
    }

    @Override
    public void run() {
      if (begun.getAndSet(true)) return;
      try {
        call.run();
      } catch (Throwable failure) {
        uncaught(failure);
      }
    }
  }

  /** For what a program's code throws where nobody can catch it. */
  static void uncaught(Throwable failure) {
    Thread thread = Thread.currentThread();
    try {
      thread.getUncaughtExceptionHandler().uncaughtException(thread, failure);
    } catch (Throwable ignored) {
      // As the virtual machine does.
    }
  }

  /**
   * Runs what calls a program's own code: never in the thread that receives, if that can be.
   * Nothing that the code or the executor throws gets out of here.
   */
  void deliver(Runnable call) {
    Delivery delivery = new Delivery(call);
    try {
      callbacks.execute(delivery);
    } catch (Throwable refused) {
      // Nobody is to wait for ever because an executor is full or was shut down first.
      if (!delivery.begun.get()) deliverOtherwise(delivery);
    }
  }

  private void deliverOtherwise(Runnable delivery) {
    try {
      waiters.execute(delivery);
    } catch (Throwable refused) {
      delivery.run();
    }
  }

  Set<AgxSubscription> subscriptions() {
    return subscriptions;
  }

  Adder adder() {
    return adder;
  }

  CancelWatch cancels() {
    return cancels;
  }

  BatchPool batches() {
    return batches;
  }

  long nextToken() {
    return tokens.incrementAndGet();
  }

  synchronized Dispatcher dispatcher() {
    if (closed) throw closedException();
    if (dispatcher == null) dispatcher = new Dispatcher(handle);
    return dispatcher;
  }

  /** A call that blocks. What comes of it is given away from the thread that makes it. */
  static final class Job<T> implements Runnable {
    private final ClientCore client;
    private final Callable<T> call;
    private final CompletableFuture<T> future = new CompletableFuture<>();

    Job(ClientCore client, Callable<T> call) {
      this.client = client;
      this.call = call;
    }

    CompletableFuture<T> future() {
      return future;
    }

    @Override
    public void run() {
      // Cancelled before its turn: nothing is done.
      if (future.isDone()) return;
      try {
        T result = call.call();
        client.deliver(() -> future.complete(result));
      } catch (Throwable failure) {
        fail(failure);
      }
    }

    void fail(Throwable failure) {
      client.deliver(() -> future.completeExceptionally(failure));
    }
  }

  <T> CompletableFuture<T> async(Callable<T> call) {
    Job<T> job = new Job<>(this, call);
    work(job);
    return job.future;
  }

  void work(Runnable work) {
    try {
      workers.execute(work);
    } catch (RejectedExecutionException e) {
      throw closedException();
    }
  }

  /** Runs a round of the adder's. */
  void add(Runnable round) {
    try {
      adders.execute(round);
    } catch (RejectedExecutionException e) {
      throw closedException();
    }
  }

  /** Runs what waits. */
  void await(Runnable work) {
    try {
      waiters.execute(work);
    } catch (RejectedExecutionException e) {
      throw closedException();
    }
  }

  void close() {
    Dispatcher waiting;
    synchronized (this) {
      if (closed) return;
      closed = true;
      waiting = dispatcher;
    }
    // Ends what is blocked in it, in every thread.
    agxnative.agx_close(handle);
    subscriptions.forEach(AgxSubscription::close);
    if (waiting != null) {
      waiting.close();
      List<ListenerCore> left = new ArrayList<>();
      waiting.all().forEach(left::add);
      left.forEach(ListenerCore::close);
    }
    // What is queued still runs, and finds the client closed.
    workers.shutdown();
    adders.shutdown();
    waiters.shutdown();
    batches.close();
    if (log != null) log.close();
  }
}
