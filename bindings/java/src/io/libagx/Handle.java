package io.libagx;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongConsumer;

/**
 * A handle of C's that is closed once: by close, or when its owner is forgotten. C's is closed by
 * whoever leaves it last, lest closing waits for a call that a store that hangs keeps.
 */
final class Handle {
  static final Cleaner CLEANER = Cleaner.create();

  /** A call of C's on a handle. */
  interface Call {
    int of(long handle);
  }

  private static final class State implements Runnable {
    private static final long CLOSED = Long.MIN_VALUE;

    final long value;
    final LongConsumer waker;
    final LongConsumer closer;
    /** How many calls are in it; CLOSED is added once it is. */
    private final AtomicLong calls = new AtomicLong();

    State(long value, LongConsumer waker, LongConsumer closer) {
      this.value = value;
      this.waker = waker;
      this.closer = closer;
    }

    boolean isClosed() {
      return calls.get() < 0;
    }

    boolean enter() {
      return calls.getAndUpdate(now -> now < 0 ? now : now + 1) >= 0;
    }

    void leave() {
      if (calls.decrementAndGet() == CLOSED) closer.accept(value);
    }

    @Override
    public void run() {
      long now = calls.getAndUpdate(before -> before | CLOSED);
      if (now == 0) closer.accept(value);
      if (now > 0) waker.accept(value);
    }
  }

  private final String what;
  private final State state;
  private final Cleaner.Cleanable cleanable;

  /** Of which no call waits. The closer must not hold on to the owner. */
  Handle(Object owner, String what, long value, LongConsumer closer) {
    this(owner, what, value, ignored -> {}, closer);
  }

  /** waker: ends a call that waits. */
  Handle(Object owner, String what, long value, LongConsumer waker, LongConsumer closer) {
    this.what = what;
    this.state = new State(value, waker, closer);
    this.cleanable = CLEANER.register(owner, state);
  }

  /** Throws if it is closed. */
  void check() {
    if (state.isClosed()) throw closedException();
  }

  /** C's handle, for calls that closing is to wait for, or to end. */
  long get() {
    check();
    return state.value;
  }

  AgxException closedException() {
    return AgxException.of(AgxStatus.ECLOSED, "the " + what + " is closed");
  }

  /** C's handle, for a call that leaves it then. */
  long enter() {
    if (!state.enter()) throw closedException();
    return state.value;
  }

  void leave() {
    state.leave();
  }

  int call(Call call) {
    long value = enter();
    try {
      return call.of(value);
    } finally {
      leave();
    }
  }

  /** New calls are refused from here on. */
  void close() {
    cleanable.clean();
  }
}
