package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Events as C packs them: agx_bind.h says how. Its buffer of C's is one thread's. */
final class Batch implements AutoCloseable {
  /** What a record that is not an event says. */
  record Outcome(AgxStatus status, String message, String entryId) {
    Outcome(AgxStatus status, String message) {
      this(status, message, "");
    }

    /** What a call of this thread has just answered. */
    static Outcome last(int status) {
      return new Outcome(AgxStatus.of(status), AgxException.lastError(),
          Text.lenient(agxnative.agx_last_error_entry()));
    }

    AgxException exception() {
      return AgxException.of(status, message, entryId);
    }
  }

  interface Sink {
    /** item: an AgxEvent or an Outcome. */
    void take(long token, Object item, int size);

    /** An outcome of the mux itself. */
    void takeOwn(Outcome outcome);
  }

  private static final int LARGE = 16 * 1024;

  final long handle;
  private boolean large;
  private final Records records = new Records();

  Batch() {
    handle = agxnative.agxb_batch_new();
    if (handle == 0) throw AgxException.of(AgxStatus.ENOMEM, "no memory for a batch");
  }

  @Override
  public void close() {
    agxnative.agxb_batch_free(handle);
  }

  private byte[] data() {
    byte[] data = agxnative.agxb_batch_data(handle);
    large |= data != null && data.length > LARGE;
    return data == null ? new byte[0] : data;
  }

  /** Its buffer is larger than what many who wait should each hold on to. */
  boolean large() {
    return large;
  }

  void read(Sink sink) {
    for (records.over(data()); records.next();) {
      Object item = records.item();
      if (records.kind() == agxnativeConstants.AGXB_MUX_OUTCOME) {
        sink.takeOwn((Outcome) item);
      } else {
        sink.take(records.token(), item, records.size());
      }
    }
  }

  /** The events of a batch that has no listener. */
  List<AgxEvent> events() {
    return list(Records::event);
  }

  /** What each record tells. */
  <T> List<T> list(Function<Records, T> told) {
    List<T> all = new ArrayList<>();
    for (records.over(data()); records.next();) all.add(told.apply(records));
    return all;
  }
}
