package io.libagx;

/** What a call of the C library answered, by the names of agx.h without their prefix. */
public enum AgxStatus {
  /** It is done. */
  OK(0),
  /** Nothing came within the call's timeout. */
  TIMEOUT(1),
  /** The session ended, or there is nothing further. */
  ENDED(2),
  /** The session never appeared. */
  ABSENT(3),
  /** The session was silent for as long as the listener bears. */
  SILENT(4),
  /** The producer is gone: its lease ran out without an end. */
  GONE(5),
  /** The store dropped events that the listener may still have needed. */
  GAP(6),
  /** A wait was interrupted. */
  INTERRUPTED(7),
  /** The listener handed on as many events as its limit. */
  LIMIT(8),
  /** The session was cancelled. */
  CANCELED(9),
  /** Another producer took the session over. */
  TAKEN_OVER(10),
  /** The session is not live. */
  NOT_LIVE(11),
  /** There is no such thing. */
  NONE(12),
  /** A subscription's function is too slow; nothing is lost. */
  BEHIND(13),
  /** An interceptor swallowed the event; it was not written. */
  SWALLOWED(14),
  /** An argument is not valid. */
  EINVAL(-1),
  /** Out of memory. */
  ENOMEM(-2),
  /** The handle, or the client it came from, is closed. */
  ECLOSED(-3),
  /** The session is live already, or the handle is in use. */
  EBUSY(-4),
  /** The store cannot be reached; nothing was written. */
  ECONNECT(-5),
  /** The store did not answer in time; nothing was written. */
  ETIMEOUT(-6),
  /** The connection was lost on the way: it may have been written. */
  EUNCERTAIN(-7),
  /** The store refuses the user or password. */
  EAUTH(-8),
  /** The store's user lacks a permission. */
  EDENIED(-9),
  /** The store, this build or a model's API cannot. */
  EUNSUPPORTED(-10),
  /** A key of another type is in the way. */
  ETYPE(-11),
  /** The store is out of memory. */
  EFULL(-12),
  /** The store takes no writes. */
  EREADONLY(-13),
  /** The store is still loading its data. */
  ELOADING(-14),
  /** The store sent what is not its protocol. */
  EPROTOCOL(-15),
  /** Any other error of the store. */
  ESERVER(-16),
  /** A body, type, origin or id is too long. */
  ETOOBIG(-17),
  /** A body is not JSON, not UTF-8 or nested too deep. */
  EJSON(-18),
  /** The operating system refused something. */
  ESYSTEM(-19),
  /** The call does not fit what the run is in the middle of. */
  ESTATE(-20),
  /** Somebody else saved the conversation in between. */
  ECONFLICT(-21),
  /** The model reported an error, or its stream is broken. */
  EMODEL(-22),
  /** The agent's function failed. */
  EFAILED(-23),
  /** A status of a library that is newer than this class. */
  UNKNOWN(Integer.MIN_VALUE);

  private final int code;

  AgxStatus(int code) {
    this.code = code;
  }

  /**
   * The number that agx.h gives it.
   *
   * @return the number
   */
  public int code() {
    return code;
  }

  static AgxStatus of(int code) {
    for (AgxStatus status : values()) {
      if (status.code == code) return status;
    }
    return UNKNOWN;
  }
}
