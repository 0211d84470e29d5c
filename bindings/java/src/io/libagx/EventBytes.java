package io.libagx;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;

/** Events as agxb_add_many takes them, one behind another: lengths, then texts with a NUL behind each. */
final class EventBytes {
  private static final int LENGTHS = 3 * Integer.BYTES;
  private static final int NULS = 3;
  private static final int MOST = Integer.MAX_VALUE - 64;

  private ByteBuffer out;
  private int count;
  // One who adds many gives most of them the same type and origin.
  private String lastType;
  private byte[] typeBytes;
  private String lastOrigin;
  private byte[] originBytes;

  private EventBytes(int size) {
    out = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
  }

  /** Checks them, too. */
  static EventBytes of(List<AgxNewEvent> events) {
    EventBytes all = new EventBytes(256);
    int left = events.size();
    for (AgxNewEvent event : events) all.add(event, left--);
    return all;
  }

  static EventBytes ofPacked(List<AddQueue.Packed> events) {
    long size = 0;
    for (AddQueue.Packed event : events) size += size(event.type, event.origin, event.body);
    EventBytes all = new EventBytes(checked(size));
    for (AddQueue.Packed event : events) all.put(event.type, event.origin, event.body);
    return all;
  }

  static long size(byte[] type, byte[] origin, byte[] body) {
    return (long) LENGTHS + NULS + type.length + origin.length + (body == null ? 0 : body.length);
  }

  int count() {
    return count;
  }

  /** All of them. May be what they were gathered in, and not a copy. */
  byte[] array() {
    byte[] bytes = out.array();
    return out.position() == bytes.length ? bytes : Arrays.copyOf(bytes, out.position());
  }

  private void add(AgxNewEvent event, int left) {
    if (event.type() != lastType || lastType == null) {
      typeBytes = Text.encode("the type", Text.required("the type", event.type()));
      lastType = event.type();
    }
    if (event.origin() != lastOrigin || lastOrigin == null) {
      originBytes = Text.encode("the origin", Text.required("the origin", event.origin()));
      lastOrigin = event.origin();
    }
    byte[] body = Text.encode("the body", event.body());
    long size = size(typeBytes, originBytes, body);
    if (size > out.remaining()) grow(size, left);
    put(typeBytes, originBytes, body);
  }

  // As if those that are left were like this one, which they often are.
  private void grow(long size, int left) {
    long needed = out.position() + size;
    long guess = out.position() + size * Math.max(left, 1);
    long room = Math.max(checked(needed), Math.min(guess, 2 * needed + (1 << 20)));
    out = ByteBuffer.wrap(Arrays.copyOf(out.array(), (int) Math.min(room, MOST)))
              .order(ByteOrder.nativeOrder())
              .position(out.position());
  }

  private static int checked(long size) {
    if (size <= MOST) return (int) size;
    throw AgxException.of(
        AgxStatus.ETOOBIG, "the events have more than 2 GiB together; add fewer at once");
  }

  private void put(byte[] type, byte[] origin, byte[] body) {
    out.putInt(type.length).putInt(origin.length).putInt(body == null ? -1 : body.length);
    out.put(type).put((byte) 0).put(origin).put((byte) 0);
    if (body != null) out.put(body);
    out.put((byte) 0);
    ++count;
  }
}
