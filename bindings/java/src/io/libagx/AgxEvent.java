package io.libagx;

/**
 * One event of a session. It does not change.
 *
 * @param id the entry's id in the store, "milliseconds-sequence": what to resume behind
 * @param type what it is, such as "info"; "" if the entry has none
 * @param origin who wrote it; "" if the entry has none
 * @param body its JSON text, as it was written; "{}" if the entry has none
 */
public record AgxEvent(String id, String type, String origin, String body) {
  /**
   * When the store took it.
   *
   * @return the time that is in the id
   */
  public java.time.Instant time() {
    return java.time.Instant.ofEpochMilli(Long.parseLong(id, 0, id.indexOf('-'), 10));
  }
}
