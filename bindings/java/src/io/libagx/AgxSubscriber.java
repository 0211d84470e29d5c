package io.libagx;

/**
 * What is called with a session's events: one call at a time. It may use everything of the library,
 * and close its subscription, the session and the client.
 */
@FunctionalInterface
public interface AgxSubscriber {
  /**
   * An event.
   *
   * @param event the event
   * @throws Exception ends the subscription, whose {@link AgxSubscription#done()} gets it
   */
  void onEvent(AgxEvent event) throws Exception;

  /**
   * What a listener tells besides events: {@link AgxException.Gap}, {@link AgxException.Gone}, what
   * the store fails with, {@link AgxException.Behind} if this is too slow; and {@link
   * AgxException.Absent} and {@link AgxException.Silent}, if the options have times for them. It
   * goes on behind each. By default they are ignored.
   *
   * @param outcome what it is
   * @throws Exception ends the subscription
   */
  default void onOutcome(AgxException outcome) throws Exception {}

  /**
   * The last call: the session has ended, or the limit is reached.
   *
   * @throws Exception {@link AgxSubscription#done()} gets it
   */
  default void onEnd() throws Exception {}
}
