package io.libagx;

import java.time.Duration;

/**
 * How {@link AgxGroup#process(AgxProcessOptions, AgxHandler)} handles events.
 *
 * @param maxRetries so often an event is given to a handler in all, the first time counted, before it goes to the dead letters; 0: 3
 * @param claimIdle events that others were given and have not acknowledged for so long are taken over. Longer than a handler takes; null: 5 minutes; negative: none
 * @param count events that are taken at once; 0: 16; at most 1000
 * @param backoff the pause before the second attempt, and twice as long before each further one; null: 100 ms
 * @param backoffMax up to so much; null: 30 s
 * @param outage for so long it goes on while the store fails; negative: for ever
 * @param timeout it ends after so long without an event; negative: never
 * @param limit it ends after so many events; 0: it does not
 * @param onFailure is called with what the handler threw, before the event is tried again or given up; null: nothing is
 */
public record AgxProcessOptions(long maxRetries, Duration claimIdle, long count, Duration backoff,
    Duration backoffMax, Duration outage, Duration timeout, long limit, Failure onFailure) {
  private static final AgxProcessOptions DEFAULTS = new AgxProcessOptions(
      0, null, 0, null, null, AgxListenOptions.FOREVER, AgxListenOptions.FOREVER, 0, null);

  /** What is called when a handler has failed. */
  @FunctionalInterface
  public interface Failure {
    /**
     * A handler has failed. What this throws ends the processing, and reaches its caller as it is.
     *
     * @param event the event
     * @param attempt how often it was given to a handler, from 1 on
     * @param failure what the handler threw
     */
    void failed(AgxEvent event, long attempt, Exception failure);
  }

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxProcessOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another maxRetries.
   *
   * @param value so often an event is given to a handler in all, the first time counted, before it goes to the dead letters; 0: 3
   * @return the changed options
   */
  public AgxProcessOptions maxRetries(long value) {
    return new AgxProcessOptions(
        value, claimIdle, count, backoff, backoffMax, outage, timeout, limit, onFailure);
  }

  /**
   * The same with another claimIdle.
   *
   * @param value events that others were given and have not acknowledged for so long are taken over. Longer than a handler takes; null: 5 minutes; negative: none
   * @return the changed options
   */
  public AgxProcessOptions claimIdle(Duration value) {
    return new AgxProcessOptions(
        maxRetries, value, count, backoff, backoffMax, outage, timeout, limit, onFailure);
  }

  /**
   * The same with another count.
   *
   * @param value events that are taken at once; 0: 16; at most 1000
   * @return the changed options
   */
  public AgxProcessOptions count(long value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, value, backoff, backoffMax, outage, timeout, limit, onFailure);
  }

  /**
   * The same with another backoff.
   *
   * @param value the pause before the second attempt, and twice as long before each further one; null: 100 ms
   * @return the changed options
   */
  public AgxProcessOptions backoff(Duration value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, value, backoffMax, outage, timeout, limit, onFailure);
  }

  /**
   * The same with another backoffMax.
   *
   * @param value up to so much; null: 30 s
   * @return the changed options
   */
  public AgxProcessOptions backoffMax(Duration value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, backoff, value, outage, timeout, limit, onFailure);
  }

  /**
   * The same with another outage.
   *
   * @param value for so long it goes on while the store fails; negative: for ever
   * @return the changed options
   */
  public AgxProcessOptions outage(Duration value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, backoff, backoffMax, value, timeout, limit, onFailure);
  }

  /**
   * The same with another timeout.
   *
   * @param value it ends after so long without an event; negative: never
   * @return the changed options
   */
  public AgxProcessOptions timeout(Duration value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, backoff, backoffMax, outage, value, limit, onFailure);
  }

  /**
   * The same with another limit.
   *
   * @param value it ends after so many events; 0: it does not
   * @return the changed options
   */
  public AgxProcessOptions limit(long value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, backoff, backoffMax, outage, timeout, value, onFailure);
  }

  /**
   * The same with another onFailure.
   *
   * @param value is called with what the handler threw, before the event is tried again or given up; null: nothing is
   * @return the changed options
   */
  public AgxProcessOptions onFailure(Failure value) {
    return new AgxProcessOptions(
        maxRetries, claimIdle, count, backoff, backoffMax, outage, timeout, limit, value);
  }
}
