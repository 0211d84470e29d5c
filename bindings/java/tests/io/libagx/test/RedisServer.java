package io.libagx.test;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A redis-server of the test's own, on a socket in a directory of its own. */
final class RedisServer implements AutoCloseable {
  private final Path directory;
  private Process process;

  RedisServer() throws IOException {
    directory = Files.createTempDirectory("agx-java-redis");
    start();
  }

  String url() {
    return "unix://" + directory.resolve("redis.sock");
  }

  /** What was acknowledged before kill is there again. */
  void start() throws IOException {
    Path log = directory.resolve("log");
    process = new ProcessBuilder("redis-server", "--port", "0", "--unixsocket", "redis.sock",
        "--save", "", "--appendonly", "yes", "--appendfsync", "always")
                  .directory(directory.toFile())
                  .redirectErrorStream(true)
                  .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                  .start();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    UnixDomainSocketAddress address = UnixDomainSocketAddress.of(directory.resolve("redis.sock"));
    while (!answers(address)) {
      if (!process.isAlive() || System.nanoTime() > deadline) {
        throw new IOException("redis-server did not start:\n" + Files.readString(log));
      }
      Thread.onSpinWait();
    }
  }

  private static boolean answers(UnixDomainSocketAddress address) {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(address);
      channel.write(java.nio.ByteBuffer.wrap("PING\r\n".getBytes()));
      java.nio.ByteBuffer in = java.nio.ByteBuffer.allocate(1);
      return channel.read(in) == 1 && in.get(0) == '+';
    } catch (IOException e) {
      return false;
    }
  }

  void kill() {
    process.destroyForcibly();
    boolean gone = false;
    while (!gone) {
      try {
        process.waitFor();
        gone = true;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        gone = !process.isAlive();
      }
    }
  }

  /** It holds its connections, and answers nothing; or goes on. */
  void hang(boolean hangs) throws IOException, InterruptedException {
    String pid = String.valueOf(process.pid());
    int status = new ProcessBuilder("kill", hangs ? "-STOP" : "-CONT", pid).start().waitFor();
    if (status != 0) throw new IOException("kill gave " + status);
  }

  @Override
  public void close() {
    kill();
    try (Stream<Path> files = Files.walk(directory)) {
      files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
