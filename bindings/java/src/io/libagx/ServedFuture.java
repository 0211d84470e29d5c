package io.libagx;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A future that says when a thread is to wait for it, or for what was derived from it. */
class ServedFuture<T> extends CompletableFuture<T> {
  private final Runnable waits;

  ServedFuture(Runnable waits) {
    this.waits = waits;
  }

  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new ServedFuture<>(waits);
  }

  @Override
  public T get() throws InterruptedException, ExecutionException {
    if (!isDone()) waits.run();
    return super.get();
  }

  @Override
  public T get(long timeout, TimeUnit unit)
      throws InterruptedException, ExecutionException, TimeoutException {
    if (!isDone()) waits.run();
    return super.get(timeout, unit);
  }

  @Override
  public T join() {
    if (!isDone()) waits.run();
    return super.join();
  }
}
