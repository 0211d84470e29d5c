package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;

/** AgxSession.waitFor, as agx_wait_for does it, but with listeners that no thread waits for. */
final class EventWait {
  /** How long a cancel may be heard of after the `end` that it writes. */
  private static final long END_SETTLES_MS = 1000;

  private final AgxSession session;
  private final ClientCore client;
  private final Set<Wait> waits = ConcurrentHashMap.newKeySet();

  EventWait(AgxSession session, ClientCore client) {
    this.session = session;
    this.client = client;
  }

  /** The session was started: from now on it can be cancelled. */
  void started() {
    for (Wait wait : waits) wait.watch();
  }

  /** The session was closed. */
  void close() {
    for (Wait wait : waits) wait.fail(AgxException.of(AgxStatus.ECLOSED, "the session is closed"));
  }

  /** Waits in this thread, without one of the program's executor. */
  AgxEvent next(String where, long nanos) throws InterruptedException {
    if (Thread.interrupted()) throw new InterruptedException();
    byte[] condition = Text.encode("where", where);
    if (nanos == 0) return look(condition);
    long begin = System.nanoTime();
    Wait wait = new Wait(Runnable::run);
    wait.begin(where);
    try {
      if (nanos == Long.MAX_VALUE) return wait.get();
      return wait.get(Math.max(0, nanos - (System.nanoTime() - begin)), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      if (wait.cancel(false)) throw timeout();
    } catch (InterruptedException e) {
      if (wait.cancel(false)) throw e;
      Thread.currentThread().interrupt();
    } catch (ExecutionException e) {
      throw Calls.asSuch(e.getCause());
    }
    // It has just been given something, which is not to be lost.
    try {
      return wait.join();
    } catch (java.util.concurrent.CompletionException e) {
      throw Calls.asSuch(e.getCause());
    }
  }

  private static AgxException timeout() {
    return AgxException.of(AgxStatus.TIMEOUT, "nothing came within the timeout");
  }

  private AgxEvent look(byte[] condition) {
    try (Batch batch = new Batch()) {
      int status =
          session.call(handle -> agxnative.agxb_wait_for_batch(handle, condition, 0, batch.handle));
      AgxException.check(status);
      return batch.events().get(0);
    }
  }

  CompletableFuture<AgxEvent> next(String where) {
    session.check();
    Text.encode("where", where);
    Wait wait = new Wait(client::deliver);
    wait.begin(where);
    return wait;
  }

  /** Behind what the next goes on. */
  private String waited() {
    byte[] out = new byte[agxnativeConstants.AGX_ID_SIZE];
    AgxException.check(session.call(handle -> agxnative.agx_waited(handle, out)));
    return Text.id(out, 0);
  }

  /**
   * The next goes on behind that, unless another wait is further than the one that began where it
   * says. In a list that was replaced, less far is ahead.
   */
  private synchronized void goOnBehind(String begin, String id) {
    String now = waited();
    if (!now.equals(begin) && !isBefore(now, id)) return;
    byte[] place = Arrays.copyOf(Text.encode("the id", id), agxnativeConstants.AGX_ID_SIZE);
    AgxException.check(session.call(handle -> agxnative.agx_set_waited(handle, place)));
  }

  private static boolean isBefore(String one, String other) {
    String[] left = one.split("-", 2);
    String[] right = other.split("-", 2);
    int order = Long.compareUnsigned(number(left, 0), number(right, 0));
    return order != 0 ? order < 0 : Long.compareUnsigned(number(left, 1), number(right, 1)) < 0;
  }

  private static long number(String[] parts, int index) {
    return index < parts.length ? Long.parseUnsignedLong(parts[index]) : 0;
  }

  /** One call. */
  private final class Wait extends ClaimedFuture<AgxEvent> {
    private final Consumer<Runnable> deliver;
    private final AtomicInteger looks = new AtomicInteger();
    private String begin;

    // Guarded by this.
    private ListenerCore listener;
    private CompletableFuture<Void> canceled;
    private boolean released;
    private boolean sawEnd;

    Wait(Consumer<Runnable> deliver) {
      this.deliver = deliver;
      waits.add(this);
    }

    /** May ask the store. */
    void begin(String where) {
      if (isClaimed()) return;
      try {
        begin = waited();
        ListenerCore opened = session.open(AgxListenOptions.defaults()
                                               .after(begin)
                                               .where(where)
                                               .limit(1)
                                               .absentAfter(AgxListenOptions.FOREVER)
                                               .silentAfter(AgxListenOptions.FOREVER));
        if (!keep(opened)) {
          opened.close();
          return;
        }
        watch();
        opened.subscribe(() -> look(opened));
        look(opened);
      } catch (RuntimeException | Error failure) {
        fail(failure);
      }
    }

    private synchronized boolean keep(ListenerCore opened) {
      if (!released) listener = opened;
      return !released;
    }

    /** In one thread at a time: behind the event that it was to bring, a listener with a limit ends. */
    private void look(ListenerCore from) {
      if (looks.getAndIncrement() != 0) return;
      int seen = 1;
      do {
        if (!isClaimed()) lookOnce(from);
        seen = looks.addAndGet(-seen);
      } while (seen != 0);
    }

    private void lookOnce(ListenerCore from) {
      Object item = from.poll();
      if (item instanceof AgxEvent event) {
        found(event);
      } else if (item == ListenerCore.END) {
        ended();
      } else if (item != null) {
        told((AgxException) item);
      }
    }

    private void found(AgxEvent event) {
      if (!claim()) return;
      try {
        goOnBehind(begin, event.id());
        deliver.accept(() -> give(event));
      } catch (Throwable failure) {
        deliver.accept(() -> giveFailure(failure));
      }
    }

    private void told(AgxException failure) {
      try {
        if (failure.status() == AgxStatus.GAP) goOnBehind(begin, "0-0");
        if (failure.entryId() != null) goOnBehind(begin, failure.entryId());
        AgxException lost = lost();
        fail(lost == null || lost.status() == AgxStatus.NOT_LIVE ? failure : lost);
      } catch (AgxException closed) {
        fail(closed);
      }
    }

    /** A cancel counts also if its `end` was seen first. */
    private void ended() {
      AgxException lost = lost();
      if (lost != null) {
        fail(lost.status() == AgxStatus.NOT_LIVE ? over() : lost);
        return;
      }
      synchronized (this) {
        sawEnd = true;
      }
      // Others may write an `end` as they like.
      CompletableFuture.delayedExecutor(END_SETTLES_MS, TimeUnit.MILLISECONDS, Runnable::run)
          .execute(() -> fail(over()));
    }

    private static AgxException over() {
      return AgxException.of(AgxStatus.ENDED, "the session ended");
    }

    /** Why the session is of no use here, NOT_LIVE if it was not started here; null if it is live. */
    private AgxException lost() {
      try {
        int status = session.call(handle -> agxnative.agx_wait_canceled(handle, 0));
        if (status == AgxStatus.TIMEOUT.code()) return null;
        return status == 0 ? canceled() : AgxException.last(status);
      } catch (AgxException closed) {
        return closed;
      }
    }

    private static AgxException canceled() {
      return AgxException.of(AgxStatus.CANCELED, "the session was cancelled");
    }

    /** Hears of a cancel, if the session is started. */
    void watch() {
      CompletableFuture<Void> signal = client.cancels().add(session);
      synchronized (this) {
        if (!released && listener != null && (canceled == null || canceled.isDone())) {
          canceled = signal;
        } else {
          signal.cancel(false);
          return;
        }
      }
      signal.whenComplete((nothing, failure) -> {
        if (failure == null) {
          fail(canceled());
        } else if (failure instanceof AgxException known) {
          if (known.status() != AgxStatus.NOT_LIVE) {
            fail(known);
          } else if (sawEnd()) {
            fail(over());
          }
        }
      });
    }

    private synchronized boolean sawEnd() {
      return sawEnd;
    }

    void fail(Throwable failure) {
      if (claim()) deliver.accept(() -> giveFailure(failure));
    }

    @Override
    void release() {
      waits.remove(this);
      ListenerCore used;
      CompletableFuture<Void> signal;
      synchronized (this) {
        released = true;
        used = listener;
        signal = canceled;
      }
      if (signal != null) signal.cancel(false);
      if (used != null) used.close();
    }

    @Override
    public String toString() {
      return "the next event of " + session;
    }
  }
}
