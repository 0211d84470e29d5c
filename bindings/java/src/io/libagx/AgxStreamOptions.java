package io.libagx;

import java.time.Duration;

/**
 * How a stream of another framework is opened.
 *
 * @param format "openai-agents", "agent-framework" or "ag2"; null: the client's
 * @param maxLength about how many events it keeps; 0: the client's, or else the format's. Not of "ag2"
 * @param expire "agent-framework": the stream goes so long after its last entry; null: 10 minutes.
 *     Others refuse it
 * @param prefix "ag2": first part of the keys; null: "ag2:stream". Others have none
 * @param tagged "ag2": what is published is as newer versions of ag2 write it, and older ones cannot read
 *     it. Others refuse it
 */
public record AgxStreamOptions(
    String format, long maxLength, Duration expire, String prefix, boolean tagged) {
  private static final AgxStreamOptions DEFAULTS = new AgxStreamOptions(null, 0, null, null, false);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxStreamOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another format.
   *
   * @param value "openai-agents", "agent-framework" or "ag2"; null: the client's
   * @return the changed options
   */
  public AgxStreamOptions format(String value) {
    return new AgxStreamOptions(value, maxLength, expire, prefix, tagged);
  }

  /**
   * The same with another maxLength.
   *
   * @param value about how many events it keeps; 0: the client's, or else the format's. Not of "ag2"
   * @return the changed options
   */
  public AgxStreamOptions maxLength(long value) {
    return new AgxStreamOptions(format, value, expire, prefix, tagged);
  }

  /**
   * The same with another expire.
   *
   * @param value "agent-framework": the stream goes so long after its last entry; null: 10 minutes
   * @return the changed options
   */
  public AgxStreamOptions expire(Duration value) {
    return new AgxStreamOptions(format, maxLength, value, prefix, tagged);
  }

  /**
   * The same with another prefix.
   *
   * @param value "ag2": first part of the keys; null: "ag2:stream". Others have none
   * @return the changed options
   */
  public AgxStreamOptions prefix(String value) {
    return new AgxStreamOptions(format, maxLength, expire, value, tagged);
  }

  /**
   * The same with another tagged.
   *
   * @param value "ag2": what is published is as newer versions of ag2 write it, and older ones cannot read it
   * @return the changed options
   */
  public AgxStreamOptions tagged(boolean value) {
    return new AgxStreamOptions(format, maxLength, expire, prefix, value);
  }
}
