package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;

/**
 * What a session has queued, in its order: events that are to be added, and calls that are not to
 * overtake them. The client's {@link Adder} takes it, one round at a time.
 */
final class AddQueue {
  /** Where a thread is, so that what it calls cannot wait for what is queued. */
  enum Place {
    /** In a round, of which a program's executor may continue something at once. */
    ROUND,
    /** In an interceptor, for which a round may wait. */
    INTERCEPTOR
  }

  private static final ThreadLocal<Place> INSIDE = new ThreadLocal<>();

  /** An event as C takes it. */
  static final class Packed {
    final byte[] type;
    final byte[] origin;
    final byte[] body;
    final CompletableFuture<String> future = new CompletableFuture<>();

    Packed(String type, String origin, String body) {
      this.type = Text.encode("the type", Text.required("the type", type));
      this.origin = Text.encode("the origin", Text.required("the origin", origin));
      this.body = Text.encode("the body", body);
    }

    long size() {
      return EventBytes.size(type, origin, body);
    }
  }

  /** What agxb_add_many answered. failure: what it is to become, or null. */
  record Added(AgxStatus status, Throwable failure, List<String> ids) {}

  private final AgxSession session;
  private final ClientCore client;
  /** Packed, or a ClientCore.Job. */
  private final ArrayDeque<Object> items = new ArrayDeque<>();
  private boolean working;
  // How many were ever queued, how many of them are done with, and how many a round has now.
  private long queued;
  private long settled;
  private int inHand;
  /** Why nothing is taken any more; null: it is. */
  private Throwable ended;

  AddQueue(AgxSession session, ClientCore client) {
    this.session = session;
    this.client = client;
  }

  static Added addMany(AgxSession session, byte[] events, int count) {
    byte[] ids = new byte[count * agxnativeConstants.AGX_ID_SIZE];
    long[] added = new long[1];
    int status = session.call(handle -> agxnative.agxb_add_many(handle, events, count, ids, added));
    Throwable failure = status == 0 ? null : Calls.failure(status);
    List<String> texts = new ArrayList<>((int) added[0]);
    for (int i = 0; i < added[0]; ++i) texts.add(Text.id(ids, i * agxnativeConstants.AGX_ID_SIZE));
    return new Added(AgxStatus.of(status), failure, texts);
  }

  CompletableFuture<String> add(Packed event) {
    if (INSIDE.get() == Place.INTERCEPTOR) {
      addOne(event);
    } else {
      push(event);
    }
    return event.future;
  }

  /** Makes a call later, in its turn. */
  <T> CompletableFuture<T> call(Callable<T> call) {
    ClientCore.Job<T> job = new ClientCore.Job<>(client, call);
    if (INSIDE.get() == Place.INTERCEPTOR) {
      job.run();
    } else {
      push(job);
    }
    return job.future();
  }

  private void push(Object item) {
    Throwable why;
    synchronized (this) {
      why = ended;
      if (why == null) {
        items.add(item);
        ++queued;
        if (working) return;
        working = true;
      }
    }
    if (why == null) {
      client.adder().push(this);
    } else {
      refuse(item, why);
    }
  }

  /** Runs what calls a program's own code while events are under way. */
  static <T> T inside(Place place, Callable<T> call) throws Exception {
    Place before = INSIDE.get();
    INSIDE.set(place);
    try {
      return call.call();
    } finally {
      if (before == null) {
        INSIDE.remove();
      } else {
        INSIDE.set(before);
      }
    }
  }

  /** Waits for what was queued before; who is called while it is added goes ahead. */
  void settle() {
    boolean interrupted = false;
    synchronized (this) {
      long mark = queued;
      if (settled >= mark || INSIDE.get() != null) return;
      while (settled < mark && ended == null) {
        try {
          wait();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) Thread.currentThread().interrupt();
  }

  /** The call that comes next, if one does. */
  synchronized ClientCore.Job<?> takeCall() {
    if (!(items.peek() instanceof ClientCore.Job<?> call)) return null;
    items.poll();
    ++inHand;
    return call;
  }

  /** Events up to the next call, as many as fit, without what was cancelled before its turn: that is not added. */
  synchronized List<Packed> take(int most, long mostBytes) {
    List<Packed> taken = new ArrayList<>();
    long bytes = 0;
    while (taken.size() < most && bytes < mostBytes && items.peek() instanceof Packed event) {
      items.poll();
      ++inHand;
      if (event.future.isDone()) continue;
      taken.add(event);
      bytes += event.size();
    }
    return taken;
  }

  /** After what was taken has been told of: whether there is more. */
  synchronized boolean goesOn() {
    settled += inHand;
    inHand = 0;
    notifyAll();
    working = !items.isEmpty();
    return working;
  }

  /** Nobody will take what is here. */
  void giveUp(Throwable why) {
    List<Object> left;
    synchronized (this) {
      left = new ArrayList<>(items);
      items.clear();
      settled = queued;
      notifyAll();
      working = false;
    }
    for (Object item : left) refuse(item, why);
  }

  /** The session was closed. What a round has now is told by that. */
  void close() {
    List<Object> left;
    AgxException why = AgxException.of(AgxStatus.ECLOSED, "the session is closed");
    synchronized (this) {
      if (ended != null) return;
      ended = why;
      left = new ArrayList<>(items);
      items.clear();
      settled = queued - inHand;
      notifyAll();
    }
    for (Object item : left) refuse(item, why);
  }

  private void refuse(Object item, Throwable why) {
    if (item instanceof Packed event) {
      tell(event, null, why);
    } else {
      ((ClientCore.Job<?>) item).fail(why);
    }
  }

  /** What comes next goes without other sessions' events. */
  synchronized boolean goesAlone() {
    return session.isIntercepted() || items.peek() instanceof ClientCore.Job<?>;
  }

  AgxSession session() {
    return session;
  }

  /** Adds what was taken, by a call of its own. */
  void send(List<Packed> taken) {
    if (session.isIntercepted()) {
      // Each is asked about once, and one that is refused is nothing to the others.
      for (Packed event : taken) addOne(event);
    } else if (!taken.isEmpty()) {
      add(taken);
    }
  }

  void addOne(Packed event) {
    try {
      tell(event, session.add(event), null);
    } catch (Throwable failure) {
      tell(event, null, failure);
    }
  }

  private void add(List<Packed> round) {
    Added added;
    try {
      added = addMany(session, EventBytes.ofPacked(round).array(), round.size());
    } catch (RuntimeException | Error failure) {
      for (Packed event : round) tell(event, null, failure);
      return;
    }
    int done = added.ids.size();
    for (int i = 0; i < done; ++i) {
      String id = added.ids.get(i);
      tell(round.get(i), id, id.isEmpty() ? added.failure : null);
    }
    AgxStatus status = added.status;
    boolean argument =
        status == AgxStatus.EINVAL || status == AgxStatus.EJSON || status == AgxStatus.ETOOBIG;
    if (argument && done == 0 && round.size() > 1) {
      // Nothing was written: one of them is bad, and the others are not to suffer from it.
      for (Packed event : round) add(List.of(event));
      return;
    }
    for (Packed event : round.subList(done, round.size())) tell(event, null, added.failure);
  }

  void tell(Packed event, String id, Throwable failure) {
    client.deliver(() -> {
      if (failure == null) {
        event.future.complete(id);
      } else {
        event.future.completeExceptionally(failure);
      }
    });
  }
}
