package io.libagx;

import java.time.Duration;

/**
 * Where a subscription begins and what it selects.
 *
 * @param where only events that this condition selects; null: all
 * @param after null: from the beginning; "new": only what comes from now on; else an event's id: what came after it
 * @param absentAfter {@link AgxException.Absent} if the session has not appeared by then; negative, the default: never
 * @param silentAfter {@link AgxException.Silent} after so long without an event; negative, the default: never
 * @param handOnEnd whether the closing {@code end} is an event too
 * @param limit it ends after so many events; 0: it does not
 * @param queue how many events may wait in memory for the function; 0: 10000. What is more waits in the store, and the function is told {@link AgxException.Behind}
 * @param queueBytes and how many bytes their texts may have; 0: 16 MiB
 */
public record AgxSubscribeOptions(String where, String after, Duration absentAfter,
    Duration silentAfter, boolean handOnEnd, long limit, long queue, long queueBytes) {
  private static final AgxSubscribeOptions DEFAULTS = new AgxSubscribeOptions(
      null, null, AgxListenOptions.FOREVER, AgxListenOptions.FOREVER, false, 0, 0, 0);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxSubscribeOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another where.
   *
   * @param value only events that this condition selects; null: all
   * @return the changed options
   */
  public AgxSubscribeOptions where(String value) {
    return new AgxSubscribeOptions(
        value, after, absentAfter, silentAfter, handOnEnd, limit, queue, queueBytes);
  }

  /**
   * The same with another after.
   *
   * @param value null: from the beginning; "new": only what comes from now on; else an event's id: what came after it
   * @return the changed options
   */
  public AgxSubscribeOptions after(String value) {
    return new AgxSubscribeOptions(
        where, value, absentAfter, silentAfter, handOnEnd, limit, queue, queueBytes);
  }

  /**
   * The same with another absentAfter.
   *
   * @param value {@link AgxException.Absent} if the session has not appeared by then; negative: never
   * @return the changed options
   */
  public AgxSubscribeOptions absentAfter(Duration value) {
    return new AgxSubscribeOptions(
        where, after, value, silentAfter, handOnEnd, limit, queue, queueBytes);
  }

  /**
   * The same with another silentAfter.
   *
   * @param value {@link AgxException.Silent} after so long without an event; negative: never
   * @return the changed options
   */
  public AgxSubscribeOptions silentAfter(Duration value) {
    return new AgxSubscribeOptions(
        where, after, absentAfter, value, handOnEnd, limit, queue, queueBytes);
  }

  /**
   * The same with another handOnEnd.
   *
   * @param value whether the closing {@code end} is an event too
   * @return the changed options
   */
  public AgxSubscribeOptions handOnEnd(boolean value) {
    return new AgxSubscribeOptions(
        where, after, absentAfter, silentAfter, value, limit, queue, queueBytes);
  }

  /**
   * The same with another limit.
   *
   * @param value it ends after so many events; 0: it does not
   * @return the changed options
   */
  public AgxSubscribeOptions limit(long value) {
    return new AgxSubscribeOptions(
        where, after, absentAfter, silentAfter, handOnEnd, value, queue, queueBytes);
  }

  /**
   * The same with another queue.
   *
   * @param value how many events may wait in memory for the function; 0: 10000. What is more waits in the store, and the function is told {@link AgxException.Behind}
   * @return the changed options
   */
  public AgxSubscribeOptions queue(long value) {
    return new AgxSubscribeOptions(
        where, after, absentAfter, silentAfter, handOnEnd, limit, value, queueBytes);
  }

  /**
   * The same with another queueBytes.
   *
   * @param value and how many bytes their texts may have; 0: 16 MiB
   * @return the changed options
   */
  public AgxSubscribeOptions queueBytes(long value) {
    return new AgxSubscribeOptions(
        where, after, absentAfter, silentAfter, handOnEnd, limit, queue, value);
  }
}
