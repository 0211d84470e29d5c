package io.libagx;

import io.libagx.internal.agxnative;

/**
 * What libagx could not do. The message says what to do about it; {@link #status()} is the C
 * library's answer, and the classes in here are the answers that a program may want to catch.
 */
public class AgxException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** What the C library answered. */
  private final AgxStatus status;

  /** Of the entry that cannot be read, or null. */
  private String entryId;

  AgxException(AgxStatus status, String message) {
    super(message == null || message.isEmpty() ? status.name() : message);
    this.status = status;
  }

  /**
   * What the C library answered.
   *
   * @return the status
   */
  public AgxStatus status() {
    return status;
  }

  /**
   * The number of {@link #status()}.
   *
   * @return the number that agx.h gives it
   */
  public int code() {
    return status.code();
  }

  /**
   * Which entry of a stream cannot be read, with {@link AgxStatus#EUNSUPPORTED}: what there is
   * behind it can be had as behind an event of this id.
   *
   * @return the entry's id; null if it is about none
   */
  public String entryId() {
    return entryId;
  }

  /** The exception for a status, with the message of this thread's last call. */
  static AgxException last(int code) {
    return of(AgxStatus.of(code), lastError(), Text.lenient(agxnative.agx_last_error_entry()));
  }

  static AgxException of(AgxStatus status, String message, String entryId) {
    AgxException made = of(status, message);
    if (!entryId.isEmpty()) made.entryId = entryId;
    return made;
  }

  static String lastError() {
    return Text.lenient(agxnative.agx_last_error());
  }

  /** Throws if a call of this thread has just answered anything but AGX_OK. */
  static void check(int code) {
    if (code != 0) throw last(code);
  }

  /** C cannot tell a handle that was closed from what is none, which there is not here. */
  private static String whatIsClosed(String message) {
    int other = message.indexOf(" is closed, or no");
    return other < 0 ? message : message.substring(0, other) + " is closed";
  }

  static AgxException of(AgxStatus status, String message) {
    switch (status) {
      case EINVAL:
        return new Invalid(status, message);
      case ECLOSED:
        return new Closed(status, whatIsClosed(message));
      case EBUSY:
        return new Busy(status, message);
      case ECONNECT:
      case ETIMEOUT:
      case ELOADING:
        return new Unavailable(status, message);
      case EUNCERTAIN:
        return new Uncertain(status, message);
      case EAUTH:
      case EDENIED:
        return new Denied(status, message);
      case TIMEOUT:
        return new Timeout(status, message);
      case INTERRUPTED:
        return new Interrupted(status, message);
      case ABSENT:
        return new Absent(status, message);
      case SILENT:
        return new Silent(status, message);
      case GONE:
        return new Gone(status, message);
      case GAP:
        return new Gap(status, message);
      case ENDED:
        return new Ended(status, message);
      case CANCELED:
        return new Canceled(status, message);
      case TAKEN_OVER:
        return new TakenOver(status, message);
      case NOT_LIVE:
        return new NotLive(status, message);
      case NONE:
        return new NotFound(status, message);
      case EJSON:
        return new BadJson(status, message);
      case ETOOBIG:
        return new TooBig(status, message);
      case ESTATE:
        return new BadState(status, message);
      case ECONFLICT:
        return new Conflict(status, message);
      case EMODEL:
        return new Model(status, message);
      case EUNSUPPORTED:
        return new Unsupported(status, message);
      case BEHIND:
        return new Behind(status, message);
      case SWALLOWED:
        return new Swallowed(status, message);
      default:
        return new AgxException(status, message);
    }
  }

  /** An argument is not valid; the message says which and why. */
  public static final class Invalid extends AgxException {
    private static final long serialVersionUID = 1;

    Invalid(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The object, or the client it came from, is closed. */
  public static final class Closed extends AgxException {
    private static final long serialVersionUID = 1;

    Closed(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The session is live already, or the object is in use. */
  public static final class Busy extends AgxException {
    private static final long serialVersionUID = 1;

    Busy(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The store cannot be reached, does not answer or is still loading; nothing was written. */
  public static final class Unavailable extends AgxException {
    private static final long serialVersionUID = 1;

    Unavailable(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The connection was lost on the way: it may have been written. */
  public static final class Uncertain extends AgxException {
    private static final long serialVersionUID = 1;

    Uncertain(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The store refuses the user, the password, or what the user wants. */
  public static final class Denied extends AgxException {
    private static final long serialVersionUID = 1;

    Denied(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** Nothing came within the time that the call was given. */
  public static final class Timeout extends AgxException {
    private static final long serialVersionUID = 1;

    Timeout(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /**
   * The thread was interrupted in a method that cannot throw {@link InterruptedException}; its
   * interrupt flag is set.
   */
  public static final class Interrupted extends AgxException {
    private static final long serialVersionUID = 1;

    Interrupted(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The session has not appeared within the listener's time. The listener can go on. */
  public static final class Absent extends AgxException {
    private static final long serialVersionUID = 1;

    Absent(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** There was no event for the listener's time. The listener can go on. */
  public static final class Silent extends AgxException {
    private static final long serialVersionUID = 1;

    Silent(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /**
   * The producer is gone without an end. The listener can go on, in case another takes over; {@link
   * AgxListener#goneReason()} tells what became of it.
   */
  public static final class Gone extends AgxException {
    private static final long serialVersionUID = 1;

    Gone(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** Events are missing: the store dropped them. The listener can go on behind the gap. */
  public static final class Gap extends AgxException {
    private static final long serialVersionUID = 1;

    Gap(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The session ended before what was waited for came. */
  public static final class Ended extends AgxException {
    private static final long serialVersionUID = 1;

    Ended(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The session was cancelled. */
  public static final class Canceled extends AgxException {
    private static final long serialVersionUID = 1;

    Canceled(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** Another producer took the session over; nothing was written. */
  public static final class TakenOver extends AgxException {
    private static final long serialVersionUID = 1;

    TakenOver(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The session is not live. */
  public static final class NotLive extends AgxException {
    private static final long serialVersionUID = 1;

    NotLive(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** There is no such session, group, message, part or field. */
  public static final class NotFound extends AgxException {
    private static final long serialVersionUID = 1;

    NotFound(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** A text is not JSON, not UTF-8 or nested too deep. */
  public static final class BadJson extends AgxException {
    private static final long serialVersionUID = 1;

    BadJson(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** A body, type, origin or id is longer than allowed. */
  public static final class TooBig extends AgxException {
    private static final long serialVersionUID = 1;

    TooBig(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The call does not fit what the run is in the middle of. */
  public static final class BadState extends AgxException {
    private static final long serialVersionUID = 1;

    BadState(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** Somebody else saved the conversation, or moved the checkpoint, in between. */
  public static final class Conflict extends AgxException {
    private static final long serialVersionUID = 1;

    Conflict(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The model reported an error, or its stream broke off or is none. */
  public static final class Model extends AgxException {
    private static final long serialVersionUID = 1;

    Model(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** The store, the build, a model's API, or the stream's format cannot; nothing was written. */
  public static final class Unsupported extends AgxException {
    private static final long serialVersionUID = 1;

    Unsupported(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** A subscription's function is too slow; nothing is lost. */
  public static final class Behind extends AgxException {
    private static final long serialVersionUID = 1;

    Behind(AgxStatus status, String message) {
      super(status, message);
    }
  }

  /** An interceptor swallowed the event; it was not written. */
  public static final class Swallowed extends AgxException {
    private static final long serialVersionUID = 1;

    Swallowed(AgxStatus status, String message) {
      super(status, message);
    }
  }
}
