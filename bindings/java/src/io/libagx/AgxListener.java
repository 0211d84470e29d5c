package io.libagx;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Flow;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * Follows a session: first what is there, then what comes, none lost or repeated whatever happens
 * to the connection. The end of the session, or the listener's limit, is the end of the iteration.
 *
 * <p>{@link AgxException.Absent}, {@link AgxException.Silent}, {@link AgxException.Gone}, {@link
 * AgxException.Gap} and what the store fails with are told once, where they belong among the
 * events; the listener can go on behind each. A thread that waits for an event holds itself only;
 * futures and subscribers hold none: however many listeners a client has, one thread waits for all of
 * them. What comes for these and is not taken is kept up to a bound, and beyond it stays in the store.
 *
 * <p>An interrupted thread leaves its wait at once, a cancelled future takes nothing with it, and
 * the listener goes on to be usable. Only where the store has a connection and does not answer, a
 * thread in {@link #next()} or the iterator leaves it after the URL's {@code command_timeout}; {@link
 * #next(Duration)} and futures end in time also then.
 */
public final class AgxListener implements Iterable<AgxEvent>, AutoCloseable {
  private final AgxClient client;
  private final ClientCore core;
  private final ListenerCore listener;
  private final Handle handle;

  AgxListener(AgxClient client, ClientCore core, ListenerCore listener) {
    this.client = client;
    this.core = core;
    this.listener = listener;
    handle = new Handle(this, "listener", listener.token(), ignored -> listener.close());
  }

  /**
   * The next event; waits for it.
   *
   * @return the event, or null if the session ended or the limit is reached
   * @throws InterruptedException if the thread is interrupted
   * @throws AgxException for what the listener tells besides events
   */
  public AgxEvent next() throws InterruptedException {
    return next(Long.MAX_VALUE);
  }

  /**
   * The next event; waits for it so long.
   *
   * <p>Zero looks only. At a listener that nobody has waited for yet it takes what is stored, and so as
   * long as the store to answer, but never more than a second; from then on the client's thread receives,
   * and a look takes what has come.
   *
   * @param timeout how long
   * @return the event, or null if the session ended or the limit is reached
   * @throws InterruptedException if the thread is interrupted
   * @throws AgxException.Timeout if nothing came
   * @throws AgxException for what the listener tells besides events
   */
  public AgxEvent next(Duration timeout) throws InterruptedException {
    return next(Text.waitNanos(Text.required("the timeout", timeout)));
  }

  private AgxEvent next(long nanos) throws InterruptedException {
    try {
      return listener.next(nanos);
    } finally {
      java.lang.ref.Reference.reachabilityFence(this);
    }
  }

  /**
   * The next event, when it comes; null if the session ended or the limit is reached. Cancelling
   * this future (not one that was derived from it), or completing it in another way, such as {@link
   * CompletableFuture#orTimeout}, ends the wait and loses no event: who goes on with the listener then
   * gets the one that this would have got. A cancel that returns false came too late, and the future
   * gets its event.
   *
   * <p>Futures are completed one after the other, each when what the one before is continued with has
   * returned, or waits for another of this listener, or for what was derived from one.
   *
   * @return the event
   */
  public CompletableFuture<AgxEvent> nextAsync() {
    return listener.nextAsync(this);
  }

  /**
   * An iterator that waits for each event. If its thread is interrupted it throws {@link
   * AgxException.Interrupted}, with the thread's interrupt flag set.
   */
  @Override
  public Iterator<AgxEvent> iterator() {
    return new Iterator<>() {
      private AgxEvent ahead;

      @Override
      public boolean hasNext() {
        if (ahead != null) return true;
        try {
          ahead = AgxListener.this.next();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw AgxException.of(AgxStatus.INTERRUPTED, "the thread was interrupted");
        }
        return ahead != null;
      }

      @Override
      public AgxEvent next() {
        if (!hasNext()) throw new NoSuchElementException();
        AgxEvent event = ahead;
        ahead = null;
        return event;
      }
    };
  }

  /**
   * What is left, as a stream that waits as {@link #iterator()} does and closes this.
   *
   * @return the stream
   */
  public Stream<AgxEvent> stream() {
    int traits = Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE;
    return StreamSupport.stream(Spliterators.spliteratorUnknownSize(iterator(), traits), false)
        .onClose(this::close);
  }

  /**
   * What is left, for one subscriber at a time, who gets no more than is requested. The end of the
   * session completes it. What else the listener tells is its onError; as the listener can go on,
   * so can a new subscriber.
   *
   * <p>Cancelling leaves the listener open. It waits for a call of the subscriber that another thread is
   * in, so that none comes later, and who goes on with the listener gets what is behind the event that
   * the subscriber got last; but no longer than a second, lest the two wait for each other. A call that takes
   * longer keeps its event. From within a call it waits for nothing.
   *
   * @return the publisher
   */
  public Flow.Publisher<AgxEvent> publisher() {
    return subscriber -> Subscription.begin(this, listener, core, subscriber);
  }

  /**
   * The id of the last event that was taken, or where the listener began: what to give as {@link
   * AgxListenOptions#after(String)} to resume.
   *
   * @return the id; "0-0" is the beginning
   */
  public String position() {
    return listener.position();
  }

  /**
   * Whether the iteration is known to be over and everything was taken; at the latest when {@link
   * #next()} has given null.
   *
   * @return true if so
   */
  public boolean ended() {
    return listener.ended();
  }

  /**
   * Whether it is over because of the limit, so that there may be more behind {@link #position()}; known
   * when {@link #next()} has given null.
   *
   * @return true if so
   */
  public boolean limitReached() {
    return listener.limited();
  }

  /**
   * What became of the producer, when this last told that it is gone.
   *
   * @return how it went
   */
  public AgxGoneReason goneReason() {
    try {
      handle.check();
      return listener.goneReason();
    } finally {
      java.lang.ref.Reference.reachabilityFence(this);
    }
  }

  /**
   * Closes it. Who waits on it gets {@link AgxException.Closed}; a thread in {@link #next()} that a store
   * which hangs keeps does later, and is not waited for.
   */
  @Override
  public void close() {
    handle.close();
  }

  @Override
  public String toString() {
    return "a listener of " + client + " at " + position();
  }
}
