package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;

/** An event on its way, for an interceptor to change until its function returns. */
public final class AgxIntercepted {
  /** What becomes of an event. */
  public static final class Verdict {
    private static final Verdict WRITE = new Verdict(agxnativeConstants.AGX_OK);
    private static final Verdict SWALLOW = new Verdict(agxnativeConstants.AGX_SWALLOWED);

    private final int status;

    private Verdict(int status) {
      this.status = status;
    }

    int status() {
      return status;
    }
  }

  private interface Setter {
    int set(long event);
  }

  private long event;
  private String type;
  private String origin;
  private String body;

  AgxIntercepted(long event, Records record) {
    this.event = event;
    AgxEvent read = record.event();
    type = read.type();
    origin = read.origin();
    body = read.body();
  }

  synchronized void end() {
    event = 0;
  }

  private void set(Setter setter) {
    if (event == 0) {
      throw AgxException.of(
          AgxStatus.ESTATE, "the interceptor's function has returned, and the event is on its way");
    }
    AgxException.check(setter.set(event));
  }

  /**
   * The type as it is by now.
   *
   * @return the type
   */
  public synchronized String type() {
    return type;
  }

  /**
   * The origin as it is by now.
   *
   * @return the origin
   */
  public synchronized String origin() {
    return origin;
  }

  /**
   * The body as it is by now.
   *
   * @return the JSON text; "{}" if there is none
   */
  public synchronized String body() {
    return body;
  }

  /**
   * Changes the type.
   *
   * @param value 1 to 256 bytes of UTF-8
   * @return this
   * @throws AgxException if it is not valid; the event stays as it is
   */
  public synchronized AgxIntercepted type(String value) {
    byte[] text = Text.encode("the type", Text.required("the type", value));
    set(event -> agxnative.agx_intercepted_set_type(event, text));
    type = value;
    return this;
  }

  /**
   * Changes the origin.
   *
   * @param value 1 to 256 bytes of UTF-8
   * @return this
   * @throws AgxException if it is not valid; the event stays as it is
   */
  public synchronized AgxIntercepted origin(String value) {
    byte[] text = Text.encode("the origin", Text.required("the origin", value));
    set(event -> agxnative.agx_intercepted_set_origin(event, text));
    origin = value;
    return this;
  }

  /**
   * Changes the body.
   *
   * @param value its JSON text; null takes it away
   * @return this
   * @throws AgxException.BadJson if it is not JSON; the event stays as it is
   */
  public synchronized AgxIntercepted body(String value) {
    byte[] text = Text.encode("the body", value);
    set(event -> agxnative.agx_intercepted_set_body(event, text));
    body = value == null ? "{}" : value;
    return this;
  }

  /**
   * It is written, as it is by now.
   *
   * @return what to return
   */
  public Verdict write() {
    return Verdict.WRITE;
  }

  /**
   * It is not written; the one who adds gets {@link AgxException.Swallowed}.
   *
   * @return what to return
   */
  public Verdict swallow() {
    return Verdict.SWALLOW;
  }

  /**
   * It is not written; the one who adds gets an exception of this status, with this message.
   *
   * @param status such as {@link AgxStatus#EDENIED}
   * @param message why; null for none
   * @return what to return
   * @throws AgxException.Invalid if the status refuses nothing
   */
  public synchronized Verdict refuse(AgxStatus status, String message) {
    byte[] text = Text.encode("the message", message);
    if (status == AgxStatus.OK || status == AgxStatus.SWALLOWED || status == AgxStatus.UNKNOWN) {
      throw Text.invalid(status + " refuses nothing");
    }
    int code = status.code();
    set(event -> {
      agxnative.agx_intercepted_refuse(event, code, text);
      return agxnativeConstants.AGX_OK;
    });
    return new Verdict(code);
  }
}
