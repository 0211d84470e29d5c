package io.libagx;

import io.libagx.internal.agxnativeConstants;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Goes through records as C packs them: agx_bind.h says how. For one thread. */
final class Records {
  private static final int NAMES = 64;
  private static final int LENGTHS = 16;
  private static final int EXTRA = 32;

  /** Types and origins are few, and come again and again. */
  private final byte[][] nameBytes = new byte[NAMES][];

  private final String[] names = new String[NAMES];
  /** By the text, where the name is that came last: mostly it is the same. */
  private final int[] lastSlot = new int[3];
  private byte[] data;
  private ByteBuffer in;
  private int at;
  private int next;

  void over(byte[] records) {
    data = records;
    in = ByteBuffer.wrap(records).order(ByteOrder.nativeOrder());
    next = 0;
  }

  boolean next() {
    at = next;
    if (at >= data.length) return false;
    next = extra() + ((in.getInt(at + EXTRA) + 7) & ~7);
    return true;
  }

  int kind() {
    return in.getInt(at);
  }

  AgxStatus status() {
    return AgxStatus.of(in.getInt(at + 4));
  }

  long token() {
    return in.getLong(at + 8);
  }

  private int length(int text) {
    return in.getInt(at + LENGTHS + 4 * text);
  }

  /** How many bytes its texts have. */
  int size() {
    return length(0) + length(1) + length(2) + length(3);
  }

  private int place(int text) {
    int place = at + agxnativeConstants.AGXB_HEADER;
    for (int i = 0; i < text; ++i) place += length(i);
    return place;
  }

  private int extra() {
    return (at + agxnativeConstants.AGXB_HEADER + size() + 7) & ~7;
  }

  private String text(int text) {
    return new String(data, place(text), length(text), StandardCharsets.UTF_8);
  }

  String id() {
    return new String(data, place(0), length(0), StandardCharsets.ISO_8859_1);
  }

  String type() {
    return text(1);
  }

  String body() {
    return text(3);
  }

  long number(int index) {
    return in.getLong(extra() + 8 * index);
  }

  /** An AgxEvent, or an Outcome. */
  Object item() {
    return kind() == agxnativeConstants.AGXB_EVENT ? event()
                                                   : new Batch.Outcome(status(), body(), id());
  }

  AgxEvent event() {
    int size = in.getInt(at + EXTRA);
    return new AgxEvent(
        id(), name(1), name(2), body(), size == 0 ? null : new Fields(data, extra(), size));
  }

  private String name(int text) {
    int place = place(text);
    int length = length(text);
    int slot = lastSlot[text];
    if (isName(slot, place, length)) return names[slot];
    int hash = length;
    for (int i = place; i < place + length; ++i) hash = hash * 31 + data[i];
    slot = lastSlot[text] = hash & (NAMES - 1);
    if (isName(slot, place, length)) return names[slot];
    nameBytes[slot] = Arrays.copyOfRange(data, place, place + length);
    return names[slot] = text(text);
  }

  private boolean isName(int slot, int place, int length) {
    byte[] known = nameBytes[slot];
    return known != null
        && known.length == length
        && Arrays.equals(known, 0, length, data, place, place + length);
  }
}
