package io.libagx;

import io.libagx.internal.agxnative;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** AgxSession.waitFor, as agx_wait_for does it, but with a listener that no thread waits for. */
final class EventWait {
  private final AgxSession session;
  private final ClientCore client;
  private boolean started;
  private String position;

  EventWait(AgxSession session, ClientCore client) {
    this.session = session;
    this.client = client;
  }

  synchronized void started() {
    started = true;
  }

  synchronized void stopped() {
    started = false;
  }

  CompletableFuture<AgxEvent> next(String where) {
    String after;
    boolean producer;
    synchronized (this) {
      producer = started;
      if (position == null && producer) position = "0";
      after = position == null ? "new" : position;
    }
    AgxListenOptions options = AgxListenOptions.defaults()
                                   .after(after)
                                   .where(where)
                                   .absentAfter(AgxListenOptions.FOREVER)
                                   .silentAfter(AgxListenOptions.FOREVER);
    AgxListener listener = session.listen(options);
    synchronized (this) {
      if (position == null) position = listener.position();
    }
    CompletableFuture<AgxEvent> result = new CompletableFuture<>();
    CompletableFuture<AgxEvent> event = listener.nextAsync();
    CompletableFuture<Void> canceled = producer ? session.whenCanceled() : null;
    event.whenComplete((got, failure) -> settle(result, got, failure));
    if (canceled != null) canceled.whenComplete((got, failure) -> stop(result, failure));
    result.whenComplete((got, failure) -> {
      event.cancel(false);
      if (canceled != null) canceled.cancel(false);
      listener.close();
    });
    return result;
  }

  private void settle(CompletableFuture<AgxEvent> result, AgxEvent event, Throwable failure) {
    if (event != null) {
      synchronized (this) {
        // Whoever gave up meanwhile gets it from the next call.
        if (result.complete(event)) position = event.id();
      }
      return;
    }
    try {
      // A cancel counts also if its `end` was seen first.
      int status = session.call(handle -> agxnative.agx_wait_canceled(handle, 0));
      if (status == 0) {
        result.completeExceptionally(canceledException());
      } else if (status == AgxStatus.TAKEN_OVER.code()) {
        result.completeExceptionally(AgxException.last(status));
      } else if (failure != null) {
        result.completeExceptionally(plain(failure));
      } else {
        result.completeExceptionally(AgxException.of(AgxStatus.ENDED, "the session ended"));
      }
    } catch (AgxException closed) {
      result.completeExceptionally(closed);
    }
  }

  private static void stop(CompletableFuture<AgxEvent> result, Throwable failure) {
    if (failure == null) {
      result.completeExceptionally(canceledException());
    } else if (plain(failure) instanceof AgxException known
        && known.status() != AgxStatus.NOT_LIVE) {
      result.completeExceptionally(known);
    }
  }

  private static AgxException canceledException() {
    return AgxException.of(AgxStatus.CANCELED, "the session was cancelled");
  }

  private static Throwable plain(Throwable failure) {
    return failure instanceof CompletionException && failure.getCause() != null ? failure.getCause()
                                                                                : failure;
  }
}
