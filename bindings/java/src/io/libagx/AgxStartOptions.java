package io.libagx;

import java.time.Duration;

/**
 * How a session is started.
 *
 * @param takeOver become the producer even if the session is live; the other learns of it
 * @param detached the lease is not renewed and cancels are not watched
 * @param lease how long the session stays live without a sign of its producer; null: the client's
 * @param origin of {@code begin} and {@code end}; null: "opale"
 * @param keep with takeOver: the stream goes on where it was also if the session is not live any
 *     more: for who goes on with what an earlier process began
 */
public record AgxStartOptions(
    boolean takeOver, boolean detached, Duration lease, String origin, boolean keep) {
  private static final AgxStartOptions DEFAULTS =
      new AgxStartOptions(false, false, null, null, false);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxStartOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another takeOver.
   *
   * @param value become the producer even if the session is live; the other learns of it
   * @return the changed options
   */
  public AgxStartOptions takeOver(boolean value) {
    return new AgxStartOptions(value, detached, lease, origin, keep);
  }

  /**
   * The same with another detached.
   *
   * @param value the lease is not renewed and cancels are not watched
   * @return the changed options
   */
  public AgxStartOptions detached(boolean value) {
    return new AgxStartOptions(takeOver, value, lease, origin, keep);
  }

  /**
   * The same with another lease.
   *
   * @param value how long the session stays live without a sign of its producer; null: the client's
   * @return the changed options
   */
  public AgxStartOptions lease(Duration value) {
    return new AgxStartOptions(takeOver, detached, value, origin, keep);
  }

  /**
   * The same with another origin.
   *
   * @param value of {@code begin} and {@code end}; null: "opale"
   * @return the changed options
   */
  public AgxStartOptions origin(String value) {
    return new AgxStartOptions(takeOver, detached, lease, value, keep);
  }

  /**
   * The same with another keep.
   *
   * @param value with takeOver: the stream goes on where it was also if the session is not live any
   *     more
   * @return the changed options
   */
  public AgxStartOptions keep(boolean value) {
    return new AgxStartOptions(takeOver, detached, lease, origin, value);
  }
}
