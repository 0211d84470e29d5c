package io.libagx;

import java.time.Duration;

/**
 * How a run is begun.
 *
 * @param coalesce gather the growth of a part for so long and write it as one event; null: each
 *     growth is one
 * @param coalesceBytes but no longer than until it has so many bytes; 0: 16384
 * @param start how the session is started
 * @param origin of the model's events; null: "pydantic-ai"
 * @param grace how long the events stay after the end; null: 5 s
 */
public record AgxRunOptions(
    Duration coalesce, long coalesceBytes, AgxStartOptions start, String origin, Duration grace) {
  private static final AgxRunOptions DEFAULTS =
      new AgxRunOptions(null, 0, AgxStartOptions.defaults(), null, null);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxRunOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another coalesce.
   *
   * @param value gather the growth of a part for so long and write it as one event; null: each
   *     growth is one
   * @return the changed options
   */
  public AgxRunOptions coalesce(Duration value) {
    return new AgxRunOptions(value, coalesceBytes, start, origin, grace);
  }

  /**
   * The same with another coalesceBytes.
   *
   * @param value but no longer than until it has so many bytes; 0: 16384
   * @return the changed options
   */
  public AgxRunOptions coalesceBytes(long value) {
    return new AgxRunOptions(coalesce, value, start, origin, grace);
  }

  /**
   * The same with another start.
   *
   * @param value how the session is started
   * @return the changed options
   */
  public AgxRunOptions start(AgxStartOptions value) {
    return new AgxRunOptions(coalesce, coalesceBytes, value, origin, grace);
  }

  /**
   * The same with another origin.
   *
   * @param value of the model's events; null: "pydantic-ai"
   * @return the changed options
   */
  public AgxRunOptions origin(String value) {
    return new AgxRunOptions(coalesce, coalesceBytes, start, value, grace);
  }

  /**
   * The same with another grace.
   *
   * @param value how long the events stay after the end; null: 5 s
   * @return the changed options
   */
  public AgxRunOptions grace(Duration value) {
    return new AgxRunOptions(coalesce, coalesceBytes, start, origin, value);
  }
}
