package io.libagx;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.AbstractMap;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** An event's fields, taken apart when they are first looked at. */
final class Fields extends AbstractMap<String, String> {
  private byte[] packed;
  private Map<String, String> fields;

  Fields(byte[] data, int at, int size) {
    packed = Arrays.copyOfRange(data, at, at + size);
  }

  /** Those of an event that has no other. */
  static Map<String, String> of(String type, String origin, String body) {
    Map<String, String> fields = new LinkedHashMap<>();
    fields.put("type", type);
    fields.put("origin", origin);
    fields.put("body", body);
    return Collections.unmodifiableMap(fields);
  }

  private synchronized Map<String, String> fields() {
    if (fields == null) {
      fields = Collections.unmodifiableMap(unpack(packed));
      packed = null;
    }
    return fields;
  }

  private static Map<String, String> unpack(byte[] packed) {
    Map<String, String> fields = new LinkedHashMap<>();
    ByteBuffer in = ByteBuffer.wrap(packed).order(ByteOrder.nativeOrder());
    for (int at = 0; at < packed.length;) {
      int name = in.getInt(at);
      int value = in.getInt(at + 4);
      at += 8;
      fields.putIfAbsent(new String(packed, at, name, StandardCharsets.UTF_8),
          new String(packed, at + name, value, StandardCharsets.UTF_8));
      at += name + value;
    }
    return fields;
  }

  @Override
  public Set<Entry<String, String>> entrySet() {
    return fields().entrySet();
  }

  @Override
  public String get(Object name) {
    return fields().get(name);
  }

  @Override
  public boolean containsKey(Object name) {
    return fields().containsKey(name);
  }
}
