package io.libagx.internal;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Finds and loads libagxjni.so, once. */
final class NativeLibrary {
  /** A path to libagxjni.so, which goes before every other place. */
  private static final String PROPERTY = "io.libagx.library";

  private static final String[] NAMES = {"libagx.so.0", "libagxjni.so"};

  private NativeLibrary() {}

  static void load() {
    String path = System.getProperty(PROPERTY);
    if (path != null) {
      System.load(Path.of(path).toAbsolutePath().toString());
      return;
    }
    if (!loadFromJar()) System.loadLibrary("agxjni");
  }

  private static String platform() {
    String machine = System.getProperty("os.arch");
    if (machine.equals("amd64")) machine = "x86_64";
    return System.getProperty("os.name").toLowerCase(java.util.Locale.ROOT) + "-" + machine;
  }

  /** False: this jar has none for this machine. */
  private static boolean loadFromJar() {
    String folder = "/META-INF/native/" + platform() + "/";
    if (NativeLibrary.class.getResource(folder + NAMES[1]) == null) return false;
    Path directory = null;
    try {
      // Only this user can look into it, and thus nobody can put another library there.
      directory = Files.createTempDirectory("libagx");
      for (String name : NAMES) {
        try (InputStream in = NativeLibrary.class.getResourceAsStream(folder + name)) {
          if (in != null) Files.copy(in, directory.resolve(name));
        }
      }
      System.load(directory.resolve(NAMES[1]).toString());
      return true;
    } catch (IOException | UnsatisfiedLinkError e) {
      // It may be mounted without the right to run what is in it; or a library that it wants is missing.
      UnsatisfiedLinkError error = new UnsatisfiedLinkError(
          "the native library cannot be unpacked below java.io.tmpdir and loaded: " + e
          + "; put it somewhere and say where with -D" + PROPERTY + "=/path/to/libagxjni.so");
      error.initCause(e);
      throw error;
    } finally {
      remove(directory);
    }
  }

  /** What is loaded stays loaded without its file. */
  private static void remove(Path directory) {
    if (directory == null) return;
    try {
      for (String name : NAMES) Files.deleteIfExists(directory.resolve(name));
      Files.deleteIfExists(directory);
    } catch (IOException e) {
      directory.toFile().deleteOnExit();
    }
  }
}
