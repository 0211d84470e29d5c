package io.libagx;

import java.time.Duration;

/**
 * Where a listener begins, what it selects and how long it waits.
 *
 * @param after null: from the beginning; "new": only what comes from now on; else an event's id:
 *     what came after it
 * @param absentAfter {@link AgxException.Absent} if the session has not appeared by then;
 *     negative: never; 3 seconds by default
 * @param silentAfter {@link AgxException.Silent} after so long without an event; negative: never;
 *     60 seconds by default
 * @param handOnEnd whether the closing {@code end} is handed on as an event before the iteration
 *     ends
 * @param limit the iteration ends after so many events; 0: it does not
 * @param where only events that this condition selects, such as {@code type = "event" and body.n >
 *     3}; null: all
 */
public record AgxListenOptions(String after, Duration absentAfter, Duration silentAfter,
    boolean handOnEnd, long limit, String where) {
  /** No bound for a time. */
  public static final Duration FOREVER = Duration.ofMillis(-1);

  private static final AgxListenOptions DEFAULTS =
      new AgxListenOptions(null, Duration.ofSeconds(3), Duration.ofSeconds(60), false, 0, null);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxListenOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another after.
   *
   * @param value null: from the beginning; "new": only what comes from now on; else an event's id:
   *     what came after it
   * @return the changed options
   */
  public AgxListenOptions after(String value) {
    return new AgxListenOptions(value, absentAfter, silentAfter, handOnEnd, limit, where);
  }

  /**
   * The same with another absentAfter.
   *
   * @param value {@link AgxException.Absent} if the session has not appeared by then; negative:
   *     never
   * @return the changed options
   */
  public AgxListenOptions absentAfter(Duration value) {
    return new AgxListenOptions(after, value, silentAfter, handOnEnd, limit, where);
  }

  /**
   * The same with another silentAfter.
   *
   * @param value {@link AgxException.Silent} after so long without an event; negative: never
   * @return the changed options
   */
  public AgxListenOptions silentAfter(Duration value) {
    return new AgxListenOptions(after, absentAfter, value, handOnEnd, limit, where);
  }

  /**
   * The same with another handOnEnd.
   *
   * @param value whether the closing {@code end} is handed on as an event before the iteration ends
   * @return the changed options
   */
  public AgxListenOptions handOnEnd(boolean value) {
    return new AgxListenOptions(after, absentAfter, silentAfter, value, limit, where);
  }

  /**
   * The same with another limit.
   *
   * @param value the iteration ends after so many events; 0: it does not
   * @return the changed options
   */
  public AgxListenOptions limit(long value) {
    return new AgxListenOptions(after, absentAfter, silentAfter, handOnEnd, value, where);
  }

  /**
   * The same with another where.
   *
   * @param value only events that this condition selects, such as {@code type = "event" and body.n
   *     > 3}; null: all
   * @return the changed options
   */
  public AgxListenOptions where(String value) {
    return new AgxListenOptions(after, absentAfter, silentAfter, handOnEnd, limit, value);
  }
}
