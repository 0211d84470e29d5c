package io.libagx;

/** What became of a producer that is gone. */
public enum AgxGoneReason {
  /** The listener has not told that it is gone. */
  NOT,
  /** Its lease ran out, or there was no live flag: it may have died. */
  EXPIRED,
  /**
   * Its live flag was taken away before that, and nothing came for a lease: it was cancelled, or it
   * was stopped and nobody could say so.
   */
  TAKEN,
  /** It was stopped, or the session deleted, in a format without an end. */
  STOPPED
}
