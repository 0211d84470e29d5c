package io.libagx;

import io.libagx.internal.NativeCalls;
import io.libagx.internal.agxnativeConstants;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/**
 * What C calls, by tokens. C is above these functions, so nothing is thrown through it: what they
 * throw is kept for the call of this thread that they were called from.
 */
final class Calls implements NativeCalls.Target {
  /** A call that C makes. */
  interface Callee {
    /** Gives an agx_status. */
    int called(long handle, Records record, long attempt) throws Throwable;
  }

  private static final Calls CALLS = new Calls();
  private static final AtomicLong TOKENS = new AtomicLong();
  private static final Map<Long, Supplier<? extends Callee>> CALLEES = new ConcurrentHashMap<>();

  private Calls() {}

  static void begin() {
    NativeCalls.target(CALLS);
  }

  /** The callee lives for as long as the supplier says. */
  static long register(Supplier<? extends Callee> callee) {
    long token = TOKENS.incrementAndGet();
    CALLEES.put(token, callee);
    return token;
  }

  static void forget(long token) {
    CALLEES.remove(token);
  }

  @Override
  public int call(int kind, long handle, byte[] bytes, long attempt) {
    Records record = new Records();
    record.over(bytes);
    record.next();
    Supplier<? extends Callee> callee = CALLEES.get(record.token());
    Callee called = callee == null ? null : callee.get();
    // It was closed, or forgotten, a moment ago: an event that it had a say in is written.
    if (called == null) return agxnativeConstants.AGX_OK;
    try {
      return called.called(handle, record, attempt);
    } catch (Throwable thrown) {
      NativeCalls.keep(thrown);
      return agxnativeConstants.AGX_EFAILED;
    }
  }

  /** Throws if a call of this thread, which may have called back, has just answered with that. */
  static void check(int status) {
    if (status != 0) throw asSuch(failure(status));
  }

  /** What a call of this thread fails with: what was thrown in it, or else C's words. */
  static Throwable failure(int status) {
    AgxException failure = AgxException.last(status);
    Throwable thrown = NativeCalls.takeThrown();
    return thrown == null ? failure : thrown;
  }

  /** What was thrown and has no caller to reach. */
  static void forget() {
    NativeCalls.takeThrown();
  }

  /** Throws it, whatever it is. */
  static RuntimeException asSuch(Throwable thrown) {
    return Calls.<RuntimeException>thrown(thrown);
  }

  @SuppressWarnings("unchecked")
  private static <T extends Throwable> RuntimeException thrown(Throwable thrown) throws T {
    throw(T) thrown;
  }
}
