package io.libagx;

import java.time.Instant;
import java.util.Map;

/**
 * One event of a session. It does not change. Other programs write into a store as well: what of
 * its texts is not UTF-8 becomes U+FFFD.
 *
 * @param id the entry's id in the store, "milliseconds-sequence": what to resume behind
 * @param type what it is, such as "info"; "" if the entry has none
 * @param origin who wrote it; "" if the entry has none
 * @param body its JSON text, as it was written; "{}" if the entry has none
 * @param fields all fields of the entry as its writer wrote them, by their names, in their order:
 *     also what an event has no place for, such as those of other frameworks. Of several with the
 *     same name the first counts. null: type, origin and body
 */
public record AgxEvent(
    String id, String type, String origin, String body, Map<String, String> fields) {
  /**
   * An event without other fields.
   *
   * @param id the entry's id in the store
   * @param type what it is
   * @param origin who wrote it
   * @param body its JSON text
   */
  public AgxEvent(String id, String type, String origin, String body) {
    this(id, type, origin, body, null);
  }

  /**
   * All fields of the entry, by their names, in their order. They are taken apart when they are
   * first looked at.
   *
   * @return the fields, which cannot be changed
   */
  @Override
  public Map<String, String> fields() {
    return fields != null ? fields : Fields.of(type, origin, body);
  }

  /**
   * When the store took it.
   *
   * @return the time that is in the id; 1970 in the format "ag2", whose entries have none, and of an
   *     id that is none
   */
  public Instant time() {
    if (fields != null && fields.size() == 1 && fields.containsKey("element")) return Instant.EPOCH;
    int end = id.indexOf('-');
    try {
      return Instant.ofEpochMilli(Long.parseLong(id, 0, end < 0 ? id.length() : end, 10));
    } catch (NumberFormatException e) {
      return Instant.EPOCH;
    }
  }

  /**
   * For people to read: without the fields, of which most events have no others.
   *
   * @return id, type, origin and body
   */
  @Override
  public String toString() {
    return "AgxEvent[" + id + " " + type + " of " + origin + ": " + body + "]";
  }
}
