package io.libagx;

import io.libagx.internal.agxnative;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The one thread that waits for all listeners that no thread waits for, and gives each what is its own. */
final class Dispatcher implements Runnable, Batch.Sink {
  static final int MAX_EVENTS = 1024;
  static final int MAX_BYTES = 256 * 1024;

  private final Map<Long, ListenerCore> listeners = new ConcurrentHashMap<>();
  private final Thread thread = new Thread(this, "agx-listeners");
  private final long mux;
  /** How many listeners are in the mux; guarded by this. */
  private int attached;

  private boolean closed;
  private Batch.Outcome failure;

  // Of the thread: what came for one listener, gathered so that it is told once.
  private long token;
  private final List<Object> items = new ArrayList<>();
  private long bytes;

  Dispatcher(long client) {
    long[] out = new long[1];
    AgxException.check(agxnative.agx_mux_open(client, out));
    mux = out[0];
    thread.setDaemon(true);
    thread.start();
  }

  void register(long token, ListenerCore listener) {
    listeners.put(token, listener);
  }

  void forget(long token) {
    listeners.remove(token);
  }

  Iterable<ListenerCore> all() {
    return listeners.values();
  }

  /** Puts a listener into the mux, and wakes the thread if it has nobody to wait for. */
  void attach(long listener) {
    synchronized (this) {
      if (failure != null) throw failure.exception();
      ++attached;
      notifyAll();
    }
    int status = agxnative.agx_mux_add(mux, listener);
    if (status == 0) return;
    AgxException failure = AgxException.last(status);
    detached();
    throw failure;
  }

  void detach(long listener) {
    agxnative.agx_mux_remove(mux, listener);
    detached();
  }

  /** A listener that was in the mux is no longer. */
  synchronized void detached() {
    --attached;
  }

  /** After the client was closed, which ends the thread's wait. */
  void close() {
    synchronized (this) {
      closed = true;
      notifyAll();
    }
    boolean interrupted = false;
    while (thread.isAlive() && thread != Thread.currentThread()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) Thread.currentThread().interrupt();
  }

  @Override
  public void run() {
    try (Batch batch = new Batch()) {
      // A mux that is asked once more when it is empty gives back what it followed its last listener with.
      boolean empty = true;
      while (empty ? waitForAny() : isOpen()) {
        int status = agxnative.agxb_mux_batch(mux, -1, MAX_EVENTS, MAX_BYTES, batch.handle);
        empty = status == AgxStatus.ENDED.code();
        if (status == 0) {
          batch.read(this);
          flush();
          continue;
        }
        AgxStatus answer = AgxStatus.of(status);
        if (answer == AgxStatus.ECLOSED) break;
        if (answer.code() < 0) fail(new Batch.Outcome(answer, AgxException.lastError()));
      }
    } catch (RuntimeException | Error e) {
      abort(new Batch.Outcome(AgxStatus.ESYSTEM, "the thread that waits ended: " + e));
      throw e;
    } finally {
      agxnative.agx_mux_close(mux);
    }
  }

  /** Tells the listeners, and leaves the store, or the memory, a moment to recover. */
  private void fail(Batch.Outcome outcome) {
    takeOwn(outcome);
    try {
      Thread.sleep(20);
    } catch (InterruptedException e) {
      // Nobody has this thread to interrupt.
    }
  }

  /** Nobody waits in vain for a thread that is no more. */
  private void abort(Batch.Outcome outcome) {
    synchronized (this) {
      failure = outcome;
    }
    for (ListenerCore listener : all()) listener.abort(outcome);
  }

  private synchronized boolean isOpen() {
    return !closed;
  }

  private synchronized boolean waitForAny() {
    while (attached == 0 && !closed) {
      try {
        wait();
      } catch (InterruptedException e) {
        // Nobody has this thread to interrupt.
      }
    }
    return !closed;
  }

  @Override
  public void take(long newToken, Object item, int size) {
    if (newToken != token) flush();
    token = newToken;
    items.add(item);
    bytes += size;
  }

  private void flush() {
    if (items.isEmpty()) return;
    ListenerCore listener = listeners.get(token);
    try {
      if (listener != null) listener.offer(items, bytes);
    } catch (RuntimeException | Error e) {
      // Of this listener events are missing; the others go on.
      listener.abort(new Batch.Outcome(AgxStatus.ESYSTEM, "what came could not be kept: " + e));
    } finally {
      items.clear();
      bytes = 0;
    }
  }

  /** The store could not be read for as long as a call may try: each listener says so. */
  @Override
  public void takeOwn(Batch.Outcome outcome) {
    flush();
    if (outcome.status().code() >= 0) return;
    for (ListenerCore listener : all()) listener.offerFailure(outcome);
  }
}
