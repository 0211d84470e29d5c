package io.libagx;

import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.spi.AbstractInterruptibleChannel;

/** By this the virtual machine tells of an interruption of a thread while it is in C. */
final class InterruptWatch extends AbstractInterruptibleChannel {
  private final Runnable told;

  /** told: is called by whoever interrupts. */
  InterruptWatch(Runnable told) {
    this.told = told;
  }

  /** Of this thread, which may be interrupted already. */
  void start() {
    begin();
  }

  /** True: the thread was interrupted; its flag stays set. */
  boolean stop() {
    try {
      end(true);
      return false;
    } catch (ClosedByInterruptException e) {
      return true;
    } catch (AsynchronousCloseException e) {
      return false;
    }
  }

  @Override
  protected void implCloseChannel() {
    told.run();
  }
}
