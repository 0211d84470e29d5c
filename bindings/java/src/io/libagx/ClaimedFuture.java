package io.libagx;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;

/**
 * A future that is claimed by what settles it, a cancel or a time of the program's included, before
 * anything is taken for it. So one that was given up has taken nothing, and what was taken is given.
 */
abstract class ClaimedFuture<T> extends ServedFuture<T> {
  private final AtomicBoolean claimed = new AtomicBoolean();

  ClaimedFuture() {
    this(() -> {});
  }

  /** waits: is told when a thread is to wait for it. */
  ClaimedFuture(Runnable waits) {
    super(waits);
  }

  /** Lets go of what it waits for; called once, by whoever claims it. */
  abstract void release();

  final boolean isClaimed() {
    return claimed.get();
  }

  /** False: it is settled, or about to be. */
  final boolean claim() {
    if (claimed.getAndSet(true)) return false;
    release();
    return true;
  }

  /** What whoever claimed it owes it. */
  final void give(T result) {
    super.complete(result);
  }

  /** Likewise. */
  final void giveFailure(Throwable failure) {
    super.completeExceptionally(failure);
  }

  @Override
  public boolean cancel(boolean mayInterrupt) {
    return claim() ? super.cancel(mayInterrupt) : isCancelled();
  }

  @Override
  public boolean complete(T result) {
    return claim() && super.complete(result);
  }

  @Override
  public boolean completeExceptionally(Throwable failure) {
    return claim() && super.completeExceptionally(failure);
  }

  @Override
  public CompletableFuture<T> completeAsync(Supplier<? extends T> supplier, Executor executor) {
    java.util.Objects.requireNonNull(supplier);
    executor.execute(() -> {
      if (isClaimed()) return;
      try {
        complete(supplier.get());
      } catch (Throwable failure) {
        completeExceptionally(failure);
      }
    });
    return this;
  }

  @Override
  public void obtrudeValue(T value) {
    claim();
    super.obtrudeValue(value);
  }

  @Override
  public void obtrudeException(Throwable failure) {
    claim();
    super.obtrudeException(failure);
  }
}
