package io.libagx;

import io.libagx.internal.agxnative;
import java.util.function.IntSupplier;

/**
 * Ends a call that waits in C on a group, when its thread is interrupted, its future is cancelled or
 * somebody asks for it.
 */
final class Interrupter {
  /** One call that waits, which can be ended before it has begun; another never ends in its place. */
  static final class Turn {
    /** Guarded by the interrupter. */
    private boolean ended;
  }

  private final long group;
  /** Whose call is in C; null: nobody's. */
  private Turn waiting;
  /** Somebody asked that this call, or the next, be ended. */
  private boolean asked;

  // Of the thread that waits.
  private InterruptWatch watch;
  private boolean interrupted;

  Interrupter(long group) {
    this.group = group;
  }

  private synchronized void send() {
    if (waiting != null) agxnative.agx_group_interrupt(group);
  }

  /** Ends the call that is under way, or else the next one. */
  synchronized void ask() {
    asked = true;
    send();
  }

  /** Ends this call and no other. */
  synchronized void end(Turn turn) {
    turn.ended = true;
    if (waiting == turn) send();
  }

  /** Whether the call that has just ended was asked to. */
  synchronized boolean takeAsked() {
    boolean was = asked;
    asked = false;
    return was;
  }

  boolean interrupted() {
    return interrupted;
  }

  /** What was called back has noticed an interruption of the thread, of which the watch need not know. */
  void noteInterrupted() {
    interrupted = true;
  }

  /** Makes a call that waits, again if an interruption that came too late for another ended it. */
  int call(Turn turn, IntSupplier waits) {
    interrupted = false;
    for (;;) {
      boolean ended;
      synchronized (this) {
        waiting = turn;
        if (asked || turn.ended) send();
      }
      resume();
      int status;
      try {
        status = waits.getAsInt();
      } finally {
        pause();
        synchronized (this) {
          waiting = null;
          ended = asked || turn.ended || interrupted;
        }
      }
      if (ended || status != AgxStatus.INTERRUPTED.code()) return status;
    }
  }

  /** Looks whether the thread was interrupted; a call back may have waited for something else. */
  void pause() {
    if (watch == null) return;
    if (watch.stop()) interrupted = true;
    watch = null;
  }

  void resume() {
    watch = new InterruptWatch(this::send);
    watch.start();
  }
}
