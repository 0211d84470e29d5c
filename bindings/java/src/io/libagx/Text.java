package io.libagx;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** Between Java's values and C's. */
final class Text {
  private Text() {}

  private static final VarHandle LONGS =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.nativeOrder());
  private static final long ONES = 0x0101010101010101L;
  private static final byte REPLACEMENT = '?';

  /** UTF-8 of what can be in a C string; null stays null. */
  static byte[] encode(String what, String text) {
    if (text == null) return null;
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    // As long as the text, it is ASCII, and REPLACEMENT where half of a surrogate pair was.
    if (bytes.length != text.length() || mayHaveNulOrReplacement(bytes)) check(what, text);
    return bytes;
  }

  // Eight at a time.
  private static boolean mayHaveNulOrReplacement(byte[] bytes) {
    int i = 0;
    for (; i + Long.BYTES <= bytes.length; i += Long.BYTES) {
      long eight = (long) LONGS.get(bytes, i);
      if ((mayHaveZero(eight) | mayHaveZero(eight ^ ONES * REPLACEMENT)) != 0) return true;
    }
    for (; i < bytes.length; ++i) {
      if (bytes[i] == 0 || bytes[i] == REPLACEMENT) return true;
    }
    return false;
  }

  // Not 0 if one of its bytes is.
  private static long mayHaveZero(long bytes) {
    return (bytes - ONES) & ~bytes & (ONES << 7);
  }

  private static void check(String what, String text) {
    for (int i = 0; i < text.length(); ++i) {
      char c = text.charAt(i);
      if (c == 0) throw invalid(what + " has a U+0000 at " + i);
      if (!Character.isSurrogate(c)) continue;
      boolean pair = Character.isHighSurrogate(c) && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1));
      if (!pair) throw invalid(what + " has half of a surrogate pair at " + i);
      ++i;
    }
  }

  static AgxException invalid(String message) {
    return AgxException.of(AgxStatus.EINVAL, message);
  }

  static <T> T required(String what, T value) {
    if (value == null) throw invalid(what + " is null");
    return value;
  }

  /** Null if it is not UTF-8: other programs write into a store as well. */
  static String decode(byte[] bytes, int at, int length) {
    String text = new String(bytes, at, length, StandardCharsets.UTF_8);
    if (text.indexOf('\uFFFD') < 0) return text;
    // It may have been in there, or have come in the place of what is not UTF-8.
    try {
      return StandardCharsets.UTF_8.newDecoder()
          .onMalformedInput(CodingErrorAction.REPORT)
          .onUnmappableCharacter(CodingErrorAction.REPORT)
          .decode(ByteBuffer.wrap(bytes, at, length))
          .toString();
    } catch (CharacterCodingException e) {
      return null;
    }
  }

  /** A text of the library's own. */
  static String lenient(byte[] bytes) {
    return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
  }

  /** A text of the library's own that has to be UTF-8. */
  static String strict(byte[] bytes) {
    if (bytes == null) return null;
    String text = decode(bytes, 0, bytes.length);
    if (text == null) throw AgxException.of(AgxStatus.EJSON, "the text is not UTF-8");
    return text;
  }

  /** What became of it, for others to read: anything may be in an exception's message. */
  static String reason(Throwable failure) {
    String message = failure.getMessage();
    if (message == null) message = failure.getClass().getSimpleName();
    return new String(message.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8)
        .replace('\0', '\uFFFD');
  }

  /** Texts that lie one behind another, each with a NUL behind it. */
  static byte[] join(String what, java.util.Collection<String> texts) {
    java.io.ByteArrayOutputStream out = new java.io.ByteArrayOutputStream();
    for (String text : texts) {
      out.writeBytes(encode(what, required(what, text)));
      out.write(0);
    }
    return out.toByteArray();
  }

  /** Up to the first NUL, from a place in an array that C filled. */
  static String id(byte[] ids, int at) {
    int end = at;
    while (end < ids.length && ids[end] != 0) ++end;
    return new String(ids, at, end - at, StandardCharsets.ISO_8859_1);
  }

  /**
   * Milliseconds of a wait: rounded up, so that none becomes a look; what is negative is for ever.
   */
  static long waitMillis(Duration duration) {
    if (required("a duration", duration).isNegative()) return -1;
    long millis = clamped(duration);
    return duration.getNano() % 1_000_000 == 0 || millis == Long.MAX_VALUE ? millis : millis + 1;
  }

  private static long clamped(Duration duration) {
    try {
      return duration.toMillis();
    } catch (ArithmeticException e) {
      return duration.isNegative() ? Long.MIN_VALUE : Long.MAX_VALUE;
    }
  }

  /** Nanoseconds of a wait in Java. */
  static long waitNanos(Duration duration) {
    if (required("a duration", duration).isNegative()) return Long.MAX_VALUE;
    try {
      return duration.toNanos();
    } catch (ArithmeticException e) {
      return Long.MAX_VALUE;
    }
  }

  /** Milliseconds of an option that null is the default of. */
  static long millis(Duration duration, long none) {
    return duration == null ? none : clamped(duration);
  }
}
