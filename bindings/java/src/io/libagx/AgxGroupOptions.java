package io.libagx;

/**
 * How a consumer group is opened.
 *
 * @param consumer the consumer's name. Whoever opens the group with it again finds what is still pending for it; for one object at a time. null: one that nobody else has
 * @param start where a group that is made begins. null: with the first event; "new": with what comes from now on; else an event's id: with what came after it
 * @param mustExist a group that is not there is not made, but {@link AgxException.NotFound}
 * @param recreate reading makes the group again if it is gone
 * @param deadLetters key of the stream in which events end up that could not be handled; null: the stream's own key and ":dlq"
 */
public record AgxGroupOptions(
    String consumer, String start, boolean mustExist, boolean recreate, String deadLetters) {
  private static final AgxGroupOptions DEFAULTS =
      new AgxGroupOptions(null, null, false, false, null);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxGroupOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another consumer.
   *
   * @param value the consumer's name. Whoever opens the group with it again finds what is still pending for it; for one object at a time. null: one that nobody else has
   * @return the changed options
   */
  public AgxGroupOptions consumer(String value) {
    return new AgxGroupOptions(value, start, mustExist, recreate, deadLetters);
  }

  /**
   * The same with another start.
   *
   * @param value where a group that is made begins. null: with the first event; "new": with what comes from now on; else an event's id: with what came after it
   * @return the changed options
   */
  public AgxGroupOptions start(String value) {
    return new AgxGroupOptions(consumer, value, mustExist, recreate, deadLetters);
  }

  /**
   * The same with another mustExist.
   *
   * @param value a group that is not there is not made, but {@link AgxException.NotFound}
   * @return the changed options
   */
  public AgxGroupOptions mustExist(boolean value) {
    return new AgxGroupOptions(consumer, start, value, recreate, deadLetters);
  }

  /**
   * The same with another recreate.
   *
   * @param value reading makes the group again if it is gone
   * @return the changed options
   */
  public AgxGroupOptions recreate(boolean value) {
    return new AgxGroupOptions(consumer, start, mustExist, value, deadLetters);
  }

  /**
   * The same with another deadLetters.
   *
   * @param value key of the stream in which events end up that could not be handled; null: the stream's own key and ":dlq"
   * @return the changed options
   */
  public AgxGroupOptions deadLetters(String value) {
    return new AgxGroupOptions(consumer, start, mustExist, recreate, value);
  }
}
