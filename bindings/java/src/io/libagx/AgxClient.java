package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.util.concurrent.CompletableFuture;

/**
 * One configured way to one store. Any number of sessions, listeners and threads should share one:
 * it keeps few connections, and one thread that waits for all of its listeners.
 *
 * <pre>{@code
 * try (AgxClient client = AgxClient.open("redis://127.0.0.1:6379");
 *     AgxSession session = client.session(1, 42, "first")) {
 *   session.start();
 *   session.add("info", "first", "{\"msg\":\"hello\"}");
 *   session.stop();
 *   try (AgxListener listener = session.listen()) {
 *     for (AgxEvent event : listener) System.out.println(event.type() + " " + event.body());
 *   }
 * }
 * }</pre>
 */
public final class AgxClient implements AutoCloseable {
  private static final long ANY = Long.MIN_VALUE;

  private final ClientCore core;
  private final Handle handle;

  private final String place;

  private AgxClient(long value, String url, AgxOptions options, LogPump log) {
    ClientCore opened = new ClientCore(value, options.callbacks, log);
    core = opened;
    place = url == null ? "the default store" : withoutSecrets(url);
    handle = new Handle(this, "client", value, ignored -> opened.close());
  }

  /**
   * Opens a client of the store at $AGX_URL, or else at redis://127.0.0.1:6379.
   *
   * @return the client
   * @throws AgxException if the store cannot be reached or refuses
   */
  public static AgxClient open() {
    return open(null);
  }

  /**
   * Opens a client and connects it.
   *
   * @param url such as "redis://host:6379/0", "rediss://host", "unix:///path" or "memory:"; null as
   *     for {@link #open()}
   * @return the client
   * @throws AgxException if the URL is not valid, or the store cannot be reached or refuses
   */
  public static AgxClient open(String url) {
    return open(url, new AgxOptions());
  }

  /**
   * Opens a client and connects it.
   *
   * @param url as for {@link #open(String)}
   * @param options what else
   * @return the client
   * @throws AgxException if the URL is not valid, or the store cannot be reached or refuses
   */
  public static AgxClient open(String url, AgxOptions options) {
    byte[] text = Text.encode("the URL", Text.required("options", options).apply(url));
    LogPump log = options.logger == null ? null : new LogPump(options.logger);
    long[] out = new long[1];
    int status =
        agxnative.agxb_open(text, LogPump.level(options.level), log == null ? 0 : log.handle, out);
    if (status != 0) {
      AgxException failure = AgxException.last(status);
      if (log != null) log.close();
      throw failure;
    }
    return new AgxClient(out[0], url, options, log);
  }

  /**
   * {@link #open(String, AgxOptions)} in a thread of its own. If the future is cancelled, a client
   * that was opened all the same is closed.
   *
   * @param url as there
   * @param options as there
   * @return the client, when it is there
   */
  public static CompletableFuture<AgxClient> openAsync(String url, AgxOptions options) {
    CompletableFuture<AgxClient> future = new CompletableFuture<>();
    Thread thread = new Thread(() -> {
      try {
        AgxClient client = open(url, options);
        client.core.deliver(() -> {
          if (!future.complete(client)) client.close();
        });
      } catch (RuntimeException | Error failure) {
        future.completeExceptionally(failure);
      }
    }, "agx-open");
    thread.setDaemon(true);
    thread.start();
    return future;
  }

  /**
   * The version of the C library, and what it was built with.
   *
   * @return such as "0.1.0 (hiredis 0.14.1)"
   */
  public static String version() {
    return Text.lenient(agxnative.agx_version_string());
  }

  /**
   * A session, whether it exists or not: no I/O.
   *
   * @param scopeId any number but {@link Long#MIN_VALUE}
   * @param userId likewise
   * @param sessionId 1 to 512 bytes of UTF-8
   * @return the session
   */
  public AgxSession session(long scopeId, long userId, String sessionId) {
    long[] out = new long[1];
    byte[] id = Text.encode("the session id", Text.required("the session id", sessionId));
    AgxException.check(agxnative.agx_session_open(handle.get(), scopeId, userId, id, out));
    return new AgxSession(this, core, new AgxSessionId(scopeId, userId, sessionId), out[0]);
  }

  /**
   * A session, whether it exists or not.
   *
   * @param id what identifies it
   * @return the session
   */
  public AgxSession session(AgxSessionId id) {
    return session(id.scopeId(), id.userId(), id.sessionId());
  }

  /**
   * A stream of another framework, by its name, in the client's format: no I/O.
   *
   * @param name 1 to 512 bytes of UTF-8
   * @return a session, whose id has the name, and 0 for scope and user
   * @throws AgxException.Invalid if the format has no names
   */
  public AgxSession stream(String name) {
    return stream(name, AgxStreamOptions.defaults());
  }

  /**
   * A stream of another framework, by its name: no I/O.
   *
   * @param name 1 to 512 bytes of UTF-8
   * @param options its format, among others
   * @return a session, whose id has the name, and 0 for scope and user
   * @throws AgxException.Invalid if the format has no names
   */
  public AgxSession stream(String name, AgxStreamOptions options) {
    long[] out = new long[1];
    byte[] text = Text.encode("the name", Text.required("the name", name));
    AgxException.check(
        agxnative.agxb_stream_open(handle.get(), text, Text.encode("the format", options.format()),
            options.maxLength(), Text.millis(options.expire(), 0),
            Text.encode("the prefix", options.prefix()), options.tagged() ? 1 : 0, out));
    return new AgxSession(this, core, new AgxSessionId(0, 0, name), out[0]);
  }

  /**
   * Lists what is live.
   *
   * @return an iteration, to be closed
   */
  public AgxQuery live() {
    return query(ANY, ANY);
  }

  /**
   * Lists what is live in a scope.
   *
   * @param scopeId the scope
   * @return an iteration, to be closed
   */
  public AgxQuery live(long scopeId) {
    return query(scopeId, ANY);
  }

  /**
   * Lists what is live of a user.
   *
   * @param scopeId the scope
   * @param userId the user
   * @return an iteration, to be closed
   */
  public AgxQuery live(long scopeId, long userId) {
    return query(scopeId, userId);
  }

  private AgxQuery query(long scopeId, long userId) {
    long[] out = new long[1];
    AgxException.check(agxnative.agx_query_open(handle.get(), scopeId, userId, out));
    return new AgxQuery(this, out[0]);
  }

  /**
   * Closes the client and its connections, and with it every listener, query and session of it. Who
   * waits in one of them gets {@link AgxException.Closed}. Sessions that were started and not
   * stopped stay live until their lease runs out.
   */
  @Override
  public void close() {
    handle.close();
  }

  /** As C takes it apart: first the parameters, and of the rest what is before the last '@'. */
  private static String withoutSecrets(String url) {
    int parameters = url.indexOf('?');
    String rest = parameters < 0 ? url : url.substring(0, parameters);
    int scheme = rest.indexOf("//");
    int host = rest.lastIndexOf('@');
    return scheme < 0 || host < scheme ? rest : rest.substring(0, scheme + 2) + rest.substring(host + 1);
  }

  /**
   * For people to read.
   *
   * @return the store's URL, without user, password and parameters
   */
  @Override
  public String toString() {
    return "a client of " + place + (core.closed() ? ", closed" : "");
  }

  static {
    // The library is loaded, and found to be of this version, before anything else.
    int version = agxnative.agx_version();
    if (version / 1000
        != agxnativeConstants.AGX_VERSION_MAJOR * 1000 + agxnativeConstants.AGX_VERSION_MINOR) {
      throw new UnsatisfiedLinkError("libagx is of another version: " + version());
    }
    Calls.begin();
  }
}
