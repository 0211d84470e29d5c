package io.libagx;

import java.util.ArrayDeque;
import java.util.HashSet;
import java.util.Set;

/**
 * Batches of threads that receive for themselves; there are as many as such threads at one time. Of those
 * that a replay has made large only a few are kept.
 */
final class BatchPool {
  private static final int MOST_LARGE = 8;

  private final ArrayDeque<Batch> free = new ArrayDeque<>();
  /** Those that are kept, free or not. */
  private final Set<Batch> large = new HashSet<>();
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
      if (!closed && isKept(batch)) {
        // The last that was used is in the processor's cache.
        free.push(batch);
        return;
      }
    }
    batch.close();
  }

  private boolean isKept(Batch batch) {
    if (!batch.large() || large.contains(batch)) return true;
    return large.size() < MOST_LARGE && large.add(batch);
  }

  synchronized void close() {
    closed = true;
    free.forEach(Batch::close);
    free.clear();
  }
}
