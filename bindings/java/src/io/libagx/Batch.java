package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Events as C packs them: agx_bind.h says how. Its buffer of C's is one thread's. */
final class Batch implements AutoCloseable {
  /** What a record that is not an event says. */
  record Outcome(AgxStatus status, String message) {
    AgxException exception() {
      return AgxException.of(status, message);
    }
  }

  interface Sink {
    /** item: an AgxEvent or an Outcome. */
    void take(long token, Object item, int size);

    /** An outcome of the mux itself. */
    void takeOwn(Outcome outcome);
  }

  private static final int NAMES = 64;

  final long handle;
  /** Types and origins are few, and come again and again. */
  private final byte[][] nameBytes = new byte[NAMES][];

  private final String[] names = new String[NAMES];

  Batch() {
    handle = agxnative.agxb_batch_new();
    if (handle == 0) throw AgxException.of(AgxStatus.ENOMEM, "no memory for a batch");
  }

  @Override
  public void close() {
    agxnative.agxb_batch_free(handle);
  }

  void read(Sink sink) {
    byte[] data = agxnative.agxb_batch_data(handle);
    if (data == null) return;
    ByteBuffer in = ByteBuffer.wrap(data).order(ByteOrder.nativeOrder());
    for (int at = 0; at < data.length;) {
      int kind = in.getInt(at);
      AgxStatus status = AgxStatus.of(in.getInt(at + 4));
      long token = in.getLong(at + 8);
      int id = in.getInt(at + 16);
      int type = in.getInt(at + 20);
      int origin = in.getInt(at + 24);
      int body = in.getInt(at + 28);
      int text = at + agxnativeConstants.AGXB_HEADER;
      int size = id + type + origin + body;
      if (kind == agxnativeConstants.AGXB_EVENT) {
        sink.take(token, event(data, text, id, type, origin, body), size);
      } else {
        String message =
            new String(data, text + size - body, body, java.nio.charset.StandardCharsets.UTF_8);
        Outcome outcome = new Outcome(status, message);
        if (kind == agxnativeConstants.AGXB_OUTCOME) {
          sink.take(token, outcome, size);
        } else {
          sink.takeOwn(outcome);
        }
      }
      int extra = in.getInt(text - agxnativeConstants.AGXB_HEADER + 32);
      at = ((text + size + 7) & ~7) + ((extra + 7) & ~7);
    }
  }

  private Object event(
      byte[] data, int at, int idLength, int typeLength, int originLength, int bodyLength) {
    String id = new String(data, at, idLength, java.nio.charset.StandardCharsets.ISO_8859_1);
    String type = name(data, at + idLength, typeLength);
    String origin = name(data, at + idLength + typeLength, originLength);
    String body = Text.decode(data, at + idLength + typeLength + originLength, bodyLength);
    if (type != null && origin != null && body != null) return new AgxEvent(id, type, origin, body);
    return new Outcome(AgxStatus.EJSON, "event " + id + " has a text that is not UTF-8");
  }

  private String name(byte[] data, int at, int length) {
    int hash = length;
    for (int i = at; i < at + length; ++i) hash = hash * 31 + data[i];
    int slot = hash & (NAMES - 1);
    byte[] known = nameBytes[slot];
    if (known != null && Arrays.equals(known, 0, known.length, data, at, at + length))
      return names[slot];
    String name = Text.decode(data, at, length);
    if (name != null) {
      nameBytes[slot] = Arrays.copyOfRange(data, at, at + length);
      names[slot] = name;
    }
    return name;
  }

  /** The events of a batch that has no listener. */
  List<AgxEvent> events() {
    List<AgxEvent> events = new ArrayList<>();
    read(new Sink() {
      @Override
      public void take(long token, Object item, int size) {
        if (item instanceof Outcome) throw((Outcome) item).exception();
        events.add((AgxEvent) item);
      }

      @Override
      public void takeOwn(Outcome outcome) {
        throw outcome.exception();
      }
    });
    return events;
  }
}
