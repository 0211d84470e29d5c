package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.lang.ref.WeakReference;
import java.util.Set;

/**
 * A function that is called before a session's events are written, until this is closed. It is there
 * for as long as the session object, whether it is kept or not.
 */
public final class AgxInterceptor implements AutoCloseable {
  /** Has a say in an event that is about to be written. */
  @FunctionalInterface
  public interface Function {
    /**
     * Says what becomes of the event. It may use the session, and close it, or the interceptor;
     * what it adds itself does not come by it. It may call nothing of the run whose event it has.
     *
     * @param event the event, which may be changed until this returns
     * @return {@link AgxIntercepted#write()}, {@link AgxIntercepted#swallow()} or {@link
     *     AgxIntercepted#refuse(AgxStatus, String)}
     * @throws Exception whatever the one who adds is to get; the event is not written then
     */
    AgxIntercepted.Verdict intercept(AgxIntercepted event) throws Exception;
  }

  private final Set<AgxInterceptor> siblings;
  private final Function function;
  private final Calls.Callee callee = this::called;
  private long token;
  private Handle handle;

  private AgxInterceptor(Set<AgxInterceptor> siblings, Function function) {
    this.siblings = siblings;
    this.function = function;
  }

  static AgxInterceptor open(
      AgxSession session, Set<AgxInterceptor> siblings, String where, Function function) {
    Text.required("the interceptor", function);
    byte[] condition = Text.encode("where", where);
    AgxInterceptor opened = new AgxInterceptor(siblings, function);
    // Held on to by the session alone, so that both can be forgotten.
    WeakReference<Calls.Callee> callee = new WeakReference<>(opened.callee);
    long token = Calls.register(callee::get);
    opened.token = token;
    // Before the first call, so that what is queued is added one by one from then on.
    siblings.add(opened);
    long[] out = new long[1];
    try {
      Calls.check(session.call(handle -> agxnative.agxb_intercept(handle, condition, token, out)));
    } catch (RuntimeException | Error e) {
      siblings.remove(opened);
      Calls.forget(token);
      throw e;
    }
    opened.handle = new Handle(opened, "interceptor", out[0], value -> {
      agxnative.agx_interceptor_close(value);
      Calls.forget(token);
    });
    return opened;
  }

  private int called(long event, Records record, long attempt) throws Exception {
    AgxIntercepted intercepted = new AgxIntercepted(event, record);
    try {
      AgxIntercepted.Verdict verdict =
          AddQueue.inside(AddQueue.Place.INTERCEPTOR, () -> function.intercept(intercepted));
      return Text.required("what the interceptor returns", verdict).status();
    } catch (Throwable thrown) {
      // For those who add in another thread than this.
      agxnative.agx_intercepted_refuse(
          event, agxnativeConstants.AGX_EFAILED, Text.encode("the reason", Text.reason(thrown)));
      throw thrown;
    } finally {
      intercepted.end();
    }
  }

  /**
   * Takes the interceptor out. When this returns no call of its function is running and none will
   * come; from within the function that very call goes on.
   */
  @Override
  public void close() {
    siblings.remove(this);
    handle.close();
  }

  @Override
  public String toString() {
    return "interceptor " + token;
  }
}
