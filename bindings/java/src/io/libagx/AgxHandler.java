package io.libagx;

/** Handles an event of a consumer group. */
@FunctionalInterface
public interface AgxHandler {
  /**
   * Handles one event; when it returns, the event is acknowledged. It may use the group, but not read
   * from it or close it: {@link AgxGroup#interrupt()} ends the process, once it has finished what
   * it holds.
   *
   * @param event the event
   * @param attempt how often it was given to a handler, from 1 on
   * @throws Exception it has failed, and is tried again; after so many attempts the event becomes a
   *     dead letter, with the message for its reason. An {@link Error} ends the processing as well,
   *     and reaches its caller as it is; so does an {@link InterruptedException}, which is taken for
   *     an interruption of the thread, and not for a failure: the event keeps the attempts that it had
   */
  void handle(AgxEvent event, long attempt) throws Exception;
}
