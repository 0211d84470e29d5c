package io.libagx.test;

import java.util.Arrays;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.function.Executable;

/** A thread that waits in a call, and what comes of it. */
final class Waiting {
  private static final long MOST_NANOS = 30_000_000_000L;

  private final Thread thread;
  private volatile Throwable failure;
  private volatile boolean interrupted;

  Waiting(Executable call) {
    thread = new Thread(() -> {
      try {
        call.execute();
      } catch (Throwable e) {
        failure = e;
      }
      interrupted = Thread.currentThread().isInterrupted();
    });
    thread.start();
  }

  /** Until it waits for what another thread is to bring, or in a call of C's. */
  void awaitBlocked() {
    await(()
              -> thread.getState() == Thread.State.WAITING
            || thread.getState() == Thread.State.TIMED_WAITING || isIn("agxb_listen_batch"));
  }

  /** Until it is in a call of C's on a group, in which it waits. */
  void awaitCalling() {
    await(() -> isIn("agxb_group_"));
  }

  private void await(BooleanSupplier waits) {
    until(() -> !thread.isAlive() || waits.getAsBoolean());
    if (!thread.isAlive()) throw new AssertionError("it did not wait", failure);
  }

  /** As soon as it is so, or else never. */
  static void until(BooleanSupplier condition) {
    for (long began = System.nanoTime(); !condition.getAsBoolean(); Thread.onSpinWait()) {
      if (System.nanoTime() - began > MOST_NANOS) throw new AssertionError("it does not come");
    }
  }

  private boolean isIn(String call) {
    return Arrays.stream(thread.getStackTrace())
        .anyMatch(frame -> frame.isNativeMethod() && frame.getMethodName().startsWith(call));
  }

  void interrupt() {
    thread.interrupt();
  }

  Throwable failure() throws InterruptedException {
    thread.join(30_000);
    if (thread.isAlive()) throw new AssertionError("it waits still");
    if (failure == null) throw new AssertionError("it did not fail");
    return failure;
  }

  boolean wasInterruptedStill() {
    return interrupted;
  }
}
