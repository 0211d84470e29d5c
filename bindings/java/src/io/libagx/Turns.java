package io.libagx;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** One call at a time on what may be closed meanwhile, which those that wait for theirs are told. */
final class Turns {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Handle handle;
  private boolean taken;

  Turns(Handle handle) {
    this.handle = handle;
  }

  void take() {
    lock.lock();
    try {
      handle.check();
      while (taken) {
        changed.awaitUninterruptibly();
        handle.check();
      }
      taken = true;
    } finally {
      lock.unlock();
    }
  }

  /** millis: negative for ever. False: not in time. */
  boolean take(long millis) throws InterruptedException {
    long left = TimeUnit.MILLISECONDS.toNanos(millis);
    lock.lockInterruptibly();
    try {
      handle.check();
      while (taken) {
        if (millis < 0) {
          changed.await();
        } else if (left <= 0) {
          return false;
        } else {
          left = changed.awaitNanos(left);
        }
        handle.check();
      }
      taken = true;
      return true;
    } finally {
      lock.unlock();
    }
  }

  void give() {
    lock.lock();
    try {
      taken = false;
      changed.signal();
    } finally {
      lock.unlock();
    }
  }

  /** The handle was closed. */
  void closed() {
    lock.lock();
    try {
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
