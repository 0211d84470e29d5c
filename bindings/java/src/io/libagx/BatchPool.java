package io.libagx;

import java.util.ArrayDeque;

/** Batches of threads that receive for themselves; there are as many as such threads at one time. */
final class BatchPool {
  private final ArrayDeque<Batch> free = new ArrayDeque<>();
  private boolean closed;

  Batch take() {
    synchronized (this) {
      Batch batch = free.poll();
      if (batch != null) return batch;
    }
    return new Batch();
  }

  void give(Batch batch) {
    synchronized (this) {
      if (!closed) {
        // The last that was used is in the processor's cache.
        free.push(batch);
        return;
      }
    }
    batch.close();
  }

  synchronized void close() {
    closed = true;
    free.forEach(Batch::close);
    free.clear();
  }
}
