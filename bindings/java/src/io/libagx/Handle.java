package io.libagx;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;

/** A handle of C's that is closed once: by close, or when its owner is forgotten. */
final class Handle {
  static final Cleaner CLEANER = Cleaner.create();

  private static final class State implements Runnable {
    final AtomicLong value;
    final LongConsumer closer;

    State(long value, LongConsumer closer) {
      this.value = new AtomicLong(value);
      this.closer = closer;
    }

    @Override
    public void run() {
      long handle = value.getAndSet(0);
      if (handle != 0) closer.accept(handle);
    }
  }

  private final String what;
  private final State state;
  private final Cleaner.Cleanable cleanable;

  /** The closer must not hold on to the owner. */
  Handle(Object owner, String what, long value, LongConsumer closer) {
    this.what = what;
    this.state = new State(value, closer);
    this.cleanable = CLEANER.register(owner, state);
  }

  /** C recognises a handle that is closed while it is in use. */
  long get() {
    long handle = state.value.get();
    if (handle == 0) throw AgxException.of(AgxStatus.ECLOSED, "the " + what + " is closed");
    return handle;
  }

  void close() {
    cleanable.clean();
  }
}
