package io.libagx.internal;

/** Where C calls back to: typemaps.i has the way here. */
public final class NativeCalls {
  /** Takes the calls. */
  public interface Target {
    /**
     * One call.
     *
     * @param kind as agx_bind.h numbers them
     * @param handle C's own, for this call
     * @param record what it is about
     * @param attempt which one, of an event of a group
     * @return an agx_status
     */
    int call(int kind, long handle, byte[] record, long attempt);
  }

  private static final ThreadLocal<Throwable> THROWN = new ThreadLocal<>();
  private static volatile Target target;

  private NativeCalls() {}

  /**
   * Says who takes the calls; before there can be any.
   *
   * @param value who
   */
  public static void target(Target value) {
    target = value;
  }

  // C looks for these two by their names.

  static int call(int kind, long handle, byte[] record, long attempt) {
    return target.call(kind, handle, record, attempt);
  }

  /**
   * Keeps what was thrown for the caller of what called back, in this thread.
   *
   * @param thrown what was thrown
   */
  public static void keep(Throwable thrown) {
    THROWN.set(thrown);
  }

  /**
   * What was thrown in this thread since this was asked last.
   *
   * @return the throwable, or null
   */
  public static Throwable takeThrown() {
    Throwable thrown = THROWN.get();
    if (thrown != null) THROWN.remove();
    return thrown;
  }
}
