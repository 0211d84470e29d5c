package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What the store holds of a session, read back rather than followed: nothing is waited for, and
 * {@code begin} and {@code end} are events like others. Needs no closing.
 */
public final class AgxHistory {
  private static final int PAGE = 1000;

  private final AgxSession session;
  private final ClientCore core;

  AgxHistory(AgxSession session, ClientCore core) {
    this.session = session;
    this.core = core;
  }

  /**
   * Reads events that are there. To go on, give the last one's id as {@code after}, or with {@code
   * reverse} as {@code before}.
   *
   * @param options which
   * @param most how many at most; at most 4096 are given at once
   * @return the events; none if there are no more. Fewer than asked for are not the last of them if
   *     what comes next cannot be read
   * @throws AgxException.Unsupported if what comes first cannot be read; to go on, give its {@link
   *     AgxException#entryId()} as the last one's id
   */
  public List<AgxEvent> read(AgxHistoryOptions options, int most) {
    byte[] after = Text.encode("after", options.after());
    byte[] before = Text.encode("before", options.before());
    byte[] where = Text.encode("where", options.where());
    if (most <= 0) throw Text.invalid("at least one event has to be asked for, not " + most);
    int reverse = options.reverse() ? 1 : 0;
    try (Batch batch = new Batch()) {
      int status = session.call(handle
          -> agxnative.agxb_history_batch(
              handle, after, before, reverse, where, most, batch.handle));
      if (status == AgxStatus.ENDED.code()) return List.of();
      AgxException.check(status);
      return batch.events();
    }
  }

  /**
   * {@link #read(AgxHistoryOptions, int)}, later.
   *
   * @param options which
   * @param most how many at most
   * @return the events
   */
  public CompletableFuture<List<AgxEvent>> readAsync(AgxHistoryOptions options, int most) {
    return core.async(() -> read(options, most));
  }

  /**
   * All events that are there, read as they are taken. Of an entry that cannot be read it throws
   * {@link AgxException.Unsupported}; an iterator of it can go on.
   *
   * @return the events
   */
  public Stream<AgxEvent> stream() {
    return stream(AgxHistoryOptions.defaults());
  }

  /**
   * All events that are selected, read as they are taken.
   *
   * @param options which
   * @return the events
   */
  public Stream<AgxEvent> stream(AgxHistoryOptions options) {
    int traits = Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE;
    return StreamSupport.stream(
        Spliterators.spliteratorUnknownSize(new Pages(options), traits), false);
  }

  private final class Pages implements Iterator<AgxEvent> {
    private AgxHistoryOptions options;
    private Iterator<AgxEvent> page = List.<AgxEvent>of().iterator();
    private boolean last;

    Pages(AgxHistoryOptions options) {
      this.options = options;
    }

    @Override
    public boolean hasNext() {
      if (page.hasNext()) return true;
      if (last) return false;
      try {
        List<AgxEvent> events = read(options, PAGE);
        last = events.isEmpty();
        if (!last) goOnBehind(events.get(events.size() - 1).id());
        page = events.iterator();
        return !last;
      } catch (AgxException.Unsupported failure) {
        if (failure.entryId() != null) goOnBehind(failure.entryId());
        throw failure;
      }
    }

    private void goOnBehind(String id) {
      options = options.reverse() ? options.before(id) : options.after(id);
    }

    @Override
    public AgxEvent next() {
      if (!hasNext()) throw new NoSuchElementException();
      return page.next();
    }
  }

  /**
   * How much there is.
   *
   * @return the numbers; empty if there is neither a stream nor a live flag
   */
  public Optional<AgxHistoryInfo> info() {
    int idSize = agxnativeConstants.AGX_ID_SIZE;
    byte[] ids = new byte[3 * idSize];
    long[] numbers = new long[4];
    int status = session.call(handle -> agxnative.agxb_history_info(handle, ids, numbers));
    if (status == AgxStatus.NONE.code()) return Optional.empty();
    AgxException.check(status);
    return Optional.of(new AgxHistoryInfo(numbers[0], Text.id(ids, 0), Text.id(ids, idSize),
        Text.id(ids, 2 * idSize), numbers[1] != 0,
        numbers[2] < 0 ? null : Duration.ofMillis(numbers[2]), numbers[3]));
  }

  /**
   * {@link #info()}, later.
   *
   * @return the numbers
   */
  public CompletableFuture<Optional<AgxHistoryInfo>> infoAsync() {
    return core.async(this::info);
  }

  /**
   * Removes all but the newest events.
   *
   * @param most how many stay
   * @return how many went
   */
  public long trimTo(long most) {
    if (most < 0) throw Text.invalid("the number that stays is negative: " + most);
    return trim(most, null);
  }

  /**
   * Removes the events that are older than one.
   *
   * @param id of the oldest that stays
   * @return how many went
   */
  public long trimBefore(String id) {
    return trim(-1, Text.required("the id", id));
  }

  private long trim(long most, String before) {
    long[] out = new long[1];
    byte[] id = Text.encode("the id", before);
    AgxException.check(
        session.inOrder(handle -> agxnative.agx_history_trim(handle, most, id, out)));
    return out[0];
  }

  /**
   * Replaces all that the stream holds by these events, in one atomic step: such as a history by
   * its summary. Interceptors do not see them; who follows is told of a gap.
   *
   * @param events at most 65536; none: as {@link #drop()}
   * @return how many went
   */
  public long replace(List<AgxNewEvent> events) {
    long[] out = new long[1];
    EventBytes packed = EventBytes.of(events);
    byte[] bytes = packed.array();
    AgxException.check(session.inOrder(
        handle -> agxnative.agxb_history_replace(handle, bytes, packed.count(), out)));
    return out[0];
  }

  /**
   * Drops all that the stream holds; the stream stays, with its groups and its last id.
   *
   * @return how many went
   */
  public long drop() {
    long[] out = new long[1];
    AgxException.check(session.inOrder(handle -> agxnative.agx_history_drop(handle, out)));
    return out[0];
  }

  /**
   * Deletes the session: its events, its live flag and its conversation.
   *
   * @return whether anything was there
   */
  public boolean delete() {
    int status = session.inOrder(agxnative::agx_history_delete);
    if (status == AgxStatus.NONE.code()) return false;
    AgxException.check(status);
    return true;
  }
}
