package io.libagx;

import io.libagx.internal.agxnative;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * An iteration over live sessions, each once, in no order; it can be gone through once. Blocks for a
 * few commands at a time.
 */
public final class AgxQuery
    implements Iterator<AgxSessionId>, Iterable<AgxSessionId>, AutoCloseable {
  private final AgxClient client;
  private final Handle handle;
  private AgxSessionId next;
  private boolean ended;

  AgxQuery(AgxClient client, long value) {
    this.client = client;
    handle = new Handle(this, "query", value, agxnative::agx_query_close);
  }

  @Override
  public synchronized boolean hasNext() {
    handle.check();
    if (next != null) return true;
    if (ended) return false;
    long[] scope = new long[1];
    long[] user = new long[1];
    byte[][] id = new byte[1][];
    int status = handle.call(query -> agxnative.agx_query_next(query, scope, user, id));
    ended = status == AgxStatus.ENDED.code();
    if (ended) return false;
    AgxException.check(status);
    next = new AgxSessionId(scope[0], user[0], Text.strict(id[0]));
    return true;
  }

  @Override
  public synchronized AgxSessionId next() {
    if (!hasNext()) throw new NoSuchElementException();
    AgxSessionId result = next;
    next = null;
    return result;
  }

  /**
   * What is left.
   *
   * @return this
   */
  @Override
  public Iterator<AgxSessionId> iterator() {
    return this;
  }

  /**
   * What is left, as a stream that closes this.
   *
   * @return the stream
   */
  public Stream<AgxSessionId> stream() {
    int traits = Spliterator.NONNULL | Spliterator.DISTINCT;
    return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, traits), false)
        .onClose(this::close);
  }

  /** Closes it. Does not wait for who is in it, and gets what the store answers. */
  @Override
  public void close() {
    handle.close();
  }

  @Override
  public String toString() {
    return "a query of " + client;
  }
}
