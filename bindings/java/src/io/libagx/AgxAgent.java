package io.libagx;

/**
 * What an agent does in a run.
 *
 * @param <T> what it gives back
 */
@FunctionalInterface
public interface AgxAgent<T> {
  /**
   * Does it. What this throws makes the run fail with its message, and reaches the caller as it is.
   *
   * @param run the run, which has begun and is ended by the caller
   * @param messages the conversation, which is loaded, and saved if this returns
   * @return what the caller gets
   * @throws Exception anything
   */
  T run(AgxRun run, AgxMessages messages) throws Exception;
}
