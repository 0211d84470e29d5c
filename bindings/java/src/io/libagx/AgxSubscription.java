package io.libagx;

import io.libagx.internal.agxnative;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A function that is called with a session's events, until this is closed, its end has come, or the
 * client is closed. Until then it goes on, whether this is kept or not.
 */
public final class AgxSubscription implements AutoCloseable {
  /** Open ones are not forgotten, nor is their client. */
  private final AgxClient client;

  private final ClientCore core;
  private final AgxSubscriber subscriber;
  private final CompletableFuture<Void> done = new CompletableFuture<>();
  private final AtomicBoolean ended = new AtomicBoolean();
  private final long token;
  /** 0: not known yet, or closed. Guarded by this. */
  private long handle;

  private boolean closed;
  /** Who is in the function; likewise. */
  private Thread caller;

  private AgxSubscription(AgxClient client, ClientCore core, AgxSubscriber subscriber) {
    this.client = client;
    this.core = core;
    this.subscriber = subscriber;
    Calls.Callee callee = this::called;
    token = Calls.register(() -> callee);
    core.subscriptions().add(this);
  }

  static AgxSubscription open(
      AgxSession session, ClientCore core, AgxSubscribeOptions options, AgxSubscriber subscriber) {
    Text.required("the subscriber", subscriber);
    byte[] where = Text.encode("where", options.where());
    byte[] after = Text.encode("after", options.after());
    long absent = Text.waitMillis(options.absentAfter());
    long silent = Text.waitMillis(options.silentAfter());
    AgxSubscription opened = new AgxSubscription(session.client(), core, subscriber);
    long[] out = new long[1];
    try {
      Calls.check(session.call(handle
          -> agxnative.agxb_subscribe(handle, where, after, absent, silent,
              options.handOnEnd() ? 1 : 0, options.limit(), options.queue(), options.queueBytes(),
              opened.token, out)));
      opened.know(out[0]);
    } catch (RuntimeException | Error e) {
      opened.forget();
      throw e;
    }
    if (core.closed()) opened.close();
    return opened;
  }

  /** C's handle, which a call may know first. Closes it if that was asked for before. */
  private void know(long value) {
    synchronized (this) {
      if (!closed) {
        handle = value;
        return;
      }
    }
    closeInC(value);
  }

  /** Elsewhere: the last one waits for the thread that reads, which a store that hangs keeps. */
  private void closeInC(long value) {
    if (!core.closed()) {
      try {
        core.await(() -> agxnative.agx_subscription_close(value));
        return;
      } catch (AgxException | OutOfMemoryError e) {
        // It was closed a moment ago, or there is no thread to be had.
      }
    }
    agxnative.agx_subscription_close(value);
  }

  private int called(long value, Records record, long attempt) {
    synchronized (this) {
      if (closed) return 0;
      handle = value;
      caller = Thread.currentThread();
    }
    try {
      if (tell(record.item())) return 0;
    } catch (Throwable failure) {
      if (done.getNumberOfDependents() == 0) ClientCore.uncaught(failure);
      end(failure);
    } finally {
      synchronized (this) {
        caller = null;
        notifyAll();
      }
    }
    close();
    return 0;
  }

  private synchronized void awaitReturn() {
    boolean interrupted = false;
    while (caller != null && caller != Thread.currentThread()) {
      try {
        wait();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) Thread.currentThread().interrupt();
  }

  /** It is over, the first time for this reason. */
  private void end(Throwable failure) {
    if (ended.getAndSet(true)) return;
    core.deliver(() -> {
      if (failure == null) {
        done.complete(null);
      } else {
        done.completeExceptionally(failure);
      }
    });
  }

  /** False: it was the last call. */
  private boolean tell(Object item) throws Exception {
    if (item instanceof AgxEvent event) {
      subscriber.onEvent(event);
      return true;
    }
    AgxException outcome = ((Batch.Outcome) item).exception();
    if (outcome.status() == AgxStatus.ENDED || outcome.status() == AgxStatus.LIMIT) {
      subscriber.onEnd();
      return false;
    }
    subscriber.onOutcome(outcome);
    return true;
  }

  /**
   * Completes when there will be no more calls: because it has come to its end, or was closed; with
   * what the function threw, if that ended it. What it throws and nobody has asked for here goes to
   * the thread's handler of uncaught exceptions.
   *
   * @return when it is over; cancelling it changes nothing
   */
  public CompletableFuture<Void> done() {
    return done.copy();
  }

  private void forget() {
    Calls.forget(token);
    core.subscriptions().remove(this);
  }

  /**
   * Unsubscribes. When this returns no call of the function is running and none will come; from
   * within the function that very call goes on, and is the last. It does not wait for the store.
   */
  @Override
  public void close() {
    long value;
    synchronized (this) {
      value = handle;
      handle = 0;
      closed = true;
    }
    if (value != 0) closeInC(value);
    awaitReturn();
    forget();
    end(null);
  }

  @Override
  public String toString() {
    return "a subscription of " + client;
  }
}
