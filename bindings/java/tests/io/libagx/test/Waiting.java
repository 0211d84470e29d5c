package io.libagx.test;

import org.junit.jupiter.api.function.Executable;

/** A thread that waits in a call, and what comes of it. */
final class Waiting {
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

  /** Until it waits, without a thread of C's being blocked in it. */
  void awaitBlocked() {
    while (thread.getState() != Thread.State.WAITING
        && thread.getState() != Thread.State.TIMED_WAITING) {
      if (!thread.isAlive()) throw new AssertionError("it did not wait", failure);
      Thread.onSpinWait();
    }
  }

  /** Until it is in a call of C's on a group, in which it waits. */
  void awaitCalling() {
    for (;;) {
      for (StackTraceElement frame : thread.getStackTrace()) {
        if (frame.isNativeMethod() && frame.getMethodName().startsWith("agxb_group_")) return;
      }
      if (!thread.isAlive()) throw new AssertionError("it did not wait", failure);
    }
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
