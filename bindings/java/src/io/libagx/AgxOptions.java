package io.libagx;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import java.util.function.BiConsumer;

/** How a client is opened, besides its URL. Not for several threads at once. */
public final class AgxOptions {
  private final List<String> parameters = new ArrayList<>();
  BiConsumer<System.Logger.Level, String> logger;
  System.Logger.Level level = System.Logger.Level.WARNING;
  Executor callbacks = ForkJoinPool.commonPool();

  /** The defaults. */
  public AgxOptions() {}

  /**
   * A parameter of the URL, such as "prefix", "lease" (in milliseconds) or "tls_ca"; README.md has
   * them all. It is an error if the URL has it too.
   *
   * @param name its name
   * @param value its value, as it is: it is encoded for the URL here
   * @return this
   */
  public AgxOptions parameter(String name, String value) {
    Text.required("the parameter's name", name);
    Text.required("the parameter's value", value);
    parameters.add(name + "=" + percent(value));
    return this;
  }

  /**
   * Whose streams the client reads and writes, unless a session says otherwise: "agx" (the
   * default), "openai-agents", "agent-framework" or "ag2".
   *
   * @param name the format's name
   * @return this
   */
  public AgxOptions format(String name) {
    return parameter("format", name);
  }

  /**
   * Who gets the library's log, one line at a time, in a thread of its own. Without one nothing is
   * logged.
   *
   * @param mostVerbose what is less severe is left out
   * @param receiver gets the lines; what it throws is ignored
   * @return this
   */
  public AgxOptions logger(
      System.Logger.Level mostVerbose, BiConsumer<System.Logger.Level, String> receiver) {
    level = Text.required("the level", mostVerbose);
    logger = Text.required("the receiver", receiver);
    return this;
  }

  /**
   * Where futures are completed and subscribers called; by default {@link
   * ForkJoinPool#commonPool()}.
   *
   * @param executor where
   * @return this
   */
  public AgxOptions callbacks(Executor executor) {
    callbacks = Text.required("the executor", executor);
    return this;
  }

  String apply(String url) {
    if (parameters.isEmpty()) return url;
    String base = url != null ? url : System.getenv("AGX_URL");
    if (base == null) base = "redis://127.0.0.1:6379";
    return base + (base.indexOf('?') < 0 ? "?" : "&") + String.join("&", parameters);
  }

  private static String percent(String value) {
    StringBuilder out = new StringBuilder();
    for (byte b : Text.encode("a parameter", value)) {
      char c = (char) (b & 0xFF);
      boolean plain = c < 0x80 && (Character.isLetterOrDigit(c) || "-._~/".indexOf(c) >= 0);
      out.append(plain ? String.valueOf(c) : String.format("%%%02X", (int) c));
    }
    return new String(
        out.toString().getBytes(StandardCharsets.US_ASCII), StandardCharsets.US_ASCII);
  }
}
