package io.libagx;

import io.libagx.internal.agxnative;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * One thread for all who wait until their session is cancelled. C tells one thread for each session
 * only, so it asks, which costs no I/O, every few milliseconds, while somebody waits.
 */
final class CancelWatch {
  private static final long PERIOD_MS = 2;
  private static final long IDLE_MS = 1000;

  private record Wait(AgxSession session, CompletableFuture<Void> future) {}

  private final List<Wait> waits = new ArrayList<>();
  private Thread thread;

  /** What is completed in a thread that nothing of the program's is to keep. */
  CompletableFuture<Void> add(AgxSession session) {
    CompletableFuture<Void> future = new CompletableFuture<>();
    Wait wait = new Wait(session, future);
    if (told(wait)) return future;
    synchronized (this) {
      waits.add(wait);
      if (thread == null) {
        Thread started = new Thread(this::run, "agx-cancels");
        started.setDaemon(true);
        started.start();
        thread = started;
      }
      notifyAll();
    }
    return future;
  }

  private void run() {
    List<Wait> round = new ArrayList<>();
    while (next(round)) {
      List<Wait> done = new ArrayList<>();
      for (Wait wait : round) {
        if (told(wait)) done.add(wait);
      }
      synchronized (this) {
        if (!done.isEmpty()) waits.removeAll(done);
      }
    }
  }

  /** Waits for a round; false: nobody has waited for a while, and the thread ends. */
  private synchronized boolean next(List<Wait> round) {
    round.clear();
    try {
      wait(waits.isEmpty() ? IDLE_MS : PERIOD_MS);
    } catch (InterruptedException e) {
      // Nobody has this thread to interrupt.
    }
    if (waits.isEmpty()) {
      thread = null;
      return false;
    }
    round.addAll(waits);
    return true;
  }

  private static boolean told(Wait wait) {
    if (wait.future.isDone()) return true;
    AgxException failure = null;
    try {
      int status = wait.session.call(session -> agxnative.agx_wait_canceled(session, 0));
      if (status == AgxStatus.TIMEOUT.code()) return false;
      if (status != 0) failure = AgxException.last(status);
    } catch (AgxException e) {
      failure = e;
    }
    if (failure == null) {
      wait.future.complete(null);
    } else {
      wait.future.completeExceptionally(failure);
    }
    return true;
  }
}
