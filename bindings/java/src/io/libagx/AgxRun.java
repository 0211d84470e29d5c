package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One execution of an agent inside a session: it starts the session, turns what the model says into
 * the session's events, and ends the session, once, whatever happens. Calls on one object take
 * turns.
 *
 * <p>Once the session is cancelled every method throws {@link AgxException.Canceled}, once it is
 * taken over {@link AgxException.TakenOver}; a call in the wrong order is {@link
 * AgxException.BadState} and writes nothing. A store error does not end a run: what could not be
 * written is kept and goes first with the next call, so that the call is not to be repeated.
 */
public final class AgxRun implements AutoCloseable {
  /** The part that was begun last. */
  public static final int LAST_PART = agxnativeConstants.AGX_LAST_PART;

  private final AgxSession session;
  private final Handle handle;
  private final ReentrantLock lock = new ReentrantLock();

  private AgxRun(AgxSession session, long value) {
    this.session = session;
    handle = new Handle(this, "run", value, agxnative::agx_run_close);
  }

  static AgxRun begin(AgxSession session, AgxRunOptions options) {
    AgxStartOptions start = options.start() == null ? AgxStartOptions.defaults() : options.start();
    if (start.detached())
      throw Text.invalid("a run cannot be detached: nobody would notice a cancel");
    byte[] startOrigin = Text.encode("the origin", start.origin());
    byte[] origin = Text.encode("the origin", options.origin());
    long[] out = new long[1];
    AgxException.check(session.inOrder(handle
        -> agxnative.agxb_run_begin(handle, Text.millis(options.coalesce(), 0),
            options.coalesceBytes(), start.takeOver() ? 1 : 0, Text.millis(start.lease(), 0),
            startOrigin, origin, Text.millis(options.grace(), -1), out)));
    session.waits().started();
    return new AgxRun(session, out[0]);
  }

  static <T> T execute(AgxSession session, AgxRunOptions options, AgxMessages messages,
      AgxAgent<T> agent) throws Exception {
    Text.required("the agent", agent);
    try (AgxRun run = begin(session, options)) {
      T result;
      try {
        if (messages != null) messages.load();
        result = agent.run(run, messages);
        if (messages != null) messages.save();
      } catch (Throwable failure) {
        run.failQuietly(failure);
        throw failure;
      }
      run.finish();
      return result;
    }
  }

  /** The agent's failure is what the caller has to learn of; closing ends what this cannot. */
  private void failQuietly(Throwable failure) {
    try {
      fail(Text.reason(failure));
    } catch (AgxException e) {
      if (e.status() != AgxStatus.CANCELED && e.status() != AgxStatus.TAKEN_OVER
          && e.status() != AgxStatus.ESTATE) {
        failure.addSuppressed(e);
      }
    }
  }

  private interface Call {
    int of(long run);
  }

  private interface TextCall {
    int of(long run, byte[][] out);
  }

  private void call(Call call) {
    session.settle();
    lock.lock();
    try {
      Calls.check(call.of(handle.get()));
    } finally {
      lock.unlock();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  private String text(TextCall call) {
    byte[][] out = new byte[1][];
    session.settle();
    lock.lock();
    try {
      Calls.check(call.of(handle.get(), out));
      return Text.strict(out[0]);
    } finally {
      lock.unlock();
      // A Cleaner must not close what is in use.
      Reference.reachabilityFence(this);
    }
  }

  /**
   * The session that it runs in.
   *
   * @return the session
   */
  public AgxSession session() {
    return session;
  }

  /**
   * Whether the session was cancelled or taken over: no I/O, for an agent's own waits.
   *
   * @return true if so
   */
  public boolean isCanceled() {
    return session.isCanceled();
  }

  /** Opens the next node: a request to the model and its response. */
  public void beginNode() {
    call(agxnative::agx_run_node_begin);
  }

  /**
   * A tool's result that goes into the request of the node that has just been opened.
   *
   * @param toolName the tool
   * @param toolCallId the call's id
   * @param content JSON text; null is null
   */
  public void toolReturn(String toolName, String toolCallId, String content) {
    byte[] name = Text.encode("the tool's name", toolName);
    byte[] id = Text.encode("the call's id", toolCallId);
    byte[] text = Text.encode("the content", content);
    call(run -> agxnative.agx_run_tool_return(run, name, id, text));
  }

  /**
   * A text of the response begins.
   *
   * @param content its first piece; null: none
   * @return the part's number in this node
   */
  public int beginText(String content) {
    return beginPart(agxnativeConstants.AGX_PART_TEXT, content);
  }

  /**
   * A thought of the response begins.
   *
   * @param content its first piece; null: none
   * @return the part's number in this node
   */
  public int beginThinking(String content) {
    return beginPart(agxnativeConstants.AGX_PART_THINKING, content);
  }

  private int beginPart(int kind, String content) {
    byte[] text = Text.encode("the content", content);
    int[] part = new int[1];
    call(run -> agxnative.agx_run_part_begin(run, kind, text, part));
    return part[0];
  }

  /**
   * A tool call begins; nothing is written before it ends.
   *
   * @param toolName the tool
   * @param toolCallId the call's id; null: one is made up
   * @param args the first of its arguments, JSON text; null: none
   * @return the part's number in this node
   */
  public int beginToolCall(String toolName, String toolCallId, String args) {
    byte[] name = Text.encode("the tool's name", toolName);
    byte[] id = Text.encode("the call's id", toolCallId);
    byte[] text = Text.encode("the arguments", args);
    int[] part = new int[1];
    call(run -> agxnative.agx_run_tool_call_begin(run, name, id, text, part));
    return part[0];
  }

  /**
   * A part grows.
   *
   * @param part its number, or {@link #LAST_PART}
   * @param delta by what
   */
  public void grow(int part, String delta) {
    byte[] text = Text.encode("the delta", Text.required("the delta", delta));
    call(run -> agxnative.agx_run_part_delta(run, part, text));
  }

  /**
   * A part ends. Parts that are open when the node ends are ended then.
   *
   * @param part its number, or {@link #LAST_PART}
   */
  public void endPart(int part) {
    call(run -> agxnative.agx_run_part_end(run, part));
  }

  /** The part that was begun last is recognised as the final answer. */
  public void answer() {
    call(agxnative::agx_run_answer);
  }

  /**
   * Ends the node, and what is open in it.
   *
   * @return the response as a message, for {@link AgxMessages#append(String)}
   */
  public String endNode() {
    return text(agxnative::agx_run_node_end);
  }

  /** Writes what a coalescing window holds back. */
  public void flush() {
    call(agxnative::agx_run_flush);
  }

  /**
   * Takes bytes of a model's streaming HTTP response, cut anywhere, and writes what they say as the
   * run's events. Opens a node if none is open. After the last call {@link #endFeed()}.
   *
   * @param api whose stream it is
   * @param bytes the bytes
   * @throws AgxException.Model if the stream reports an error or is none of this API
   */
  public void feed(AgxModelApi api, byte[] bytes) {
    int code = Text.required("the API", api).code;
    Text.required("the bytes", bytes);
    call(run -> agxnative.agx_run_feed(run, code, bytes));
  }

  /**
   * {@link #feed(AgxModelApi, byte[])} of a piece of an array.
   *
   * @param api whose stream it is
   * @param bytes the array
   * @param offset where the piece begins
   * @param length how long it is
   */
  public void feed(AgxModelApi api, byte[] bytes, int offset, int length) {
    java.util.Objects.checkFromIndexSize(offset, length, bytes.length);
    feed(api, Arrays.copyOfRange(bytes, offset, offset + length));
  }

  /**
   * Feeds a whole stream as it comes, and ends it.
   *
   * @param api whose stream it is
   * @param in the body of the model's HTTP response; not closed
   * @return the response as a message, for {@link AgxMessages#append(String)}
   * @throws java.io.IOException if it cannot be read; the node is ended with what there was
   */
  public String feed(AgxModelApi api, java.io.InputStream in) throws java.io.IOException {
    byte[] buffer = new byte[8192];
    feed(api, buffer, 0, 0);
    try {
      for (int count; (count = in.read(buffer)) >= 0;) feed(api, buffer, 0, count);
    } catch (java.io.IOException e) {
      try {
        endFeed();
      } catch (AgxException brokenOff) {
        e.addSuppressed(brokenOff);
      }
      throw e;
    }
    return endFeed();
  }

  /**
   * The response is complete, or no more of it will come; ends the node.
   *
   * @return the response as a message, for {@link AgxMessages#append(String)}
   * @throws AgxException.Model if the stream reported an error or broke off
   */
  public String endFeed() {
    return text(agxnative::agx_run_feed_end);
  }

  /** Ends the run and the session. After a store error it may be called again. */
  public void finish() {
    call(agxnative::agx_run_finish);
  }

  /**
   * The same, after an event {@code error} that says why.
   *
   * @param message why; null is "unknown"
   */
  public void fail(String message) {
    byte[] text = Text.encode("the message", message);
    call(run -> agxnative.agx_run_fail(run, text));
  }

  /** Ends the run, if need be as abandoned, and frees it. */
  @Override
  public void close() {
    session.settle();
    lock.lock();
    try {
      handle.close();
      // What an interceptor threw meanwhile has no caller to reach.
      Calls.forget();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public String toString() {
    return "a run of " + session;
  }
}
