package io.libagx;

/**
 * What is read back of a session.
 *
 * @param after an event's id: what came after it; null: from the first on
 * @param before an event's id: what came before it; null: up to the last
 * @param reverse the newest first
 * @param where only events that this condition selects; null: all
 */
public record AgxHistoryOptions(String after, String before, boolean reverse, String where) {
  private static final AgxHistoryOptions DEFAULTS = new AgxHistoryOptions(null, null, false, null);

  /**
   * The defaults.
   *
   * @return options to go on from
   */
  public static AgxHistoryOptions defaults() {
    return DEFAULTS;
  }

  /**
   * The same with another after.
   *
   * @param value an event's id: what came after it; null: from the first on
   * @return the changed options
   */
  public AgxHistoryOptions after(String value) {
    return new AgxHistoryOptions(value, before, reverse, where);
  }

  /**
   * The same with another before.
   *
   * @param value an event's id: what came before it; null: up to the last
   * @return the changed options
   */
  public AgxHistoryOptions before(String value) {
    return new AgxHistoryOptions(after, value, reverse, where);
  }

  /**
   * The same with another reverse.
   *
   * @param value the newest first
   * @return the changed options
   */
  public AgxHistoryOptions reverse(boolean value) {
    return new AgxHistoryOptions(after, before, value, where);
  }

  /**
   * The same with another where.
   *
   * @param value only events that this condition selects; null: all
   * @return the changed options
   */
  public AgxHistoryOptions where(String value) {
    return new AgxHistoryOptions(after, before, reverse, value);
  }
}
