package io.libagx;

import io.libagx.internal.agxnative;
import java.util.function.BiConsumer;

/** Fetches a client's log lines and hands them on, in a thread of its own. */
final class LogPump implements Runnable {
  private static final long PERIOD_MS = 50;
  private static final int LINE = 512;
  private static final System.Logger.Level[] LEVELS = {System.Logger.Level.ERROR,
      System.Logger.Level.WARNING, System.Logger.Level.INFO, System.Logger.Level.DEBUG};

  final long handle;
  private final BiConsumer<System.Logger.Level, String> logger;
  private final Thread thread = new Thread(this, "agx-log");
  private boolean closed;

  LogPump(BiConsumer<System.Logger.Level, String> logger) {
    this.logger = logger;
    handle = agxnative.agxb_log_new();
    if (handle == 0) throw AgxException.of(AgxStatus.ENOMEM, "no memory for a log");
    thread.setDaemon(true);
    thread.start();
  }

  /** What C calls the level. */
  static int level(System.Logger.Level level) {
    for (int i = 0; i < LEVELS.length; ++i) {
      if (level.getSeverity() >= LEVELS[i].getSeverity()) return i;
    }
    return LEVELS.length - 1;
  }

  @Override
  public void run() {
    while (pause()) drain();
    drain();
    agxnative.agxb_log_free(handle);
  }

  private synchronized boolean pause() {
    try {
      if (!closed) wait(PERIOD_MS);
    } catch (InterruptedException e) {
      // Nobody has this thread to interrupt.
    }
    return !closed;
  }

  private void drain() {
    int[] level = new int[1];
    byte[] line = new byte[LINE];
    while (agxnative.agxb_log_take(handle, level, line) != 0) {
      int end = 0;
      while (end < line.length && line[end] != 0) ++end;
      String text = new String(line, 0, end, java.nio.charset.StandardCharsets.UTF_8);
      try {
        logger.accept(LEVELS[level[0]], text);
      } catch (RuntimeException e) {
        // A logger that fails does not end the log.
      }
    }
  }

  /** After the client was closed. */
  synchronized void close() {
    closed = true;
    notifyAll();
  }
}
