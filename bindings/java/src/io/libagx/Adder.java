package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Adds what sessions have queued: of all that wait, as much as fits into one call. */
final class Adder {
  private static final int MOST_WORKERS = 4;
  private static final int MOST_EVENTS = 1024;
  private static final long MOST_BYTES = 1 << 20;

  /** What one session has in a round: a call, or else events. */
  private record Portion(AddQueue queue, ClientCore.Job<?> call, List<AddQueue.Packed> events) {}

  private final ClientCore client;
  private final ArrayDeque<AddQueue> ready = new ArrayDeque<>();
  private int workers;

  Adder(ClientCore client) {
    this.client = client;
  }

  /** A queue that is in no worker's hands, and has events. */
  void push(AddQueue queue) {
    synchronized (this) {
      ready.add(queue);
      if (workers == MOST_WORKERS) return;
      ++workers;
    }
    work();
  }

  private void work() {
    try {
      client.add(this::round);
    } catch (Throwable failure) {
      // It was closed, or there is no thread to be had.
      List<AddQueue> left;
      synchronized (this) {
        left = new ArrayList<>(ready);
        ready.clear();
        --workers;
      }
      for (AddQueue queue : left) queue.giveUp(failure);
    }
  }

  private void round() {
    List<Portion> round = new ArrayList<>();
    try {
      take(round);
      AddQueue.inside(AddQueue.Place.ROUND, () -> {
        carryOut(round);
        return null;
      });
    } catch (Exception e) {
      throw Calls.asSuch(e);
    } finally {
      // Whatever a program's executor throws, the others' events go on.
      if (settle(round)) work();
    }
  }

  private static void carryOut(List<Portion> round) {
    if (round.size() > 1) {
      send(round);
    } else if (!round.isEmpty()) {
      Portion only = round.get(0);
      if (only.call != null) {
        only.call.run();
      } else {
        only.queue.send(only.events);
      }
    }
  }

  /** Whether there is another round to be made. */
  private synchronized boolean settle(List<Portion> round) {
    for (Portion portion : round) {
      if (portion.queue.goesOn()) ready.add(portion.queue);
    }
    if (ready.isEmpty()) --workers;
    return !ready.isEmpty();
  }

  private synchronized void take(List<Portion> round) {
    int room = MOST_EVENTS;
    long bytes = MOST_BYTES;
    while (!ready.isEmpty() && room > 0 && bytes > 0) {
      boolean alone = ready.peek().goesAlone();
      if (alone && !round.isEmpty()) break;
      AddQueue queue = ready.poll();
      ClientCore.Job<?> call = queue.takeCall();
      List<AddQueue.Packed> events = call != null ? List.of() : queue.take(room, bytes);
      round.add(new Portion(queue, call, events));
      room -= events.size();
      for (AddQueue.Packed event : events) bytes -= event.size();
      if (alone) break;
    }
  }

  /** Events of many sessions, each of which fares by itself. */
  private static void send(List<Portion> round) {
    List<AddQueue> queues = new ArrayList<>();
    List<AddQueue.Packed> events = new ArrayList<>();
    List<AgxSession> entered = new ArrayList<>();
    ByteBuffer handles =
        ByteBuffer.allocate(MOST_EVENTS * Long.BYTES).order(ByteOrder.nativeOrder());
    for (Portion portion : round) {
      long handle;
      try {
        handle = portion.queue.session().enter();
      } catch (AgxException closed) {
        for (AddQueue.Packed event : portion.events) portion.queue.tell(event, null, closed);
        continue;
      }
      entered.add(portion.queue.session());
      for (AddQueue.Packed event : portion.events) {
        handles.putLong(handle);
        queues.add(portion.queue);
        events.add(event);
      }
    }
    try {
      if (!events.isEmpty()) send(handles, queues, events);
    } finally {
      for (AgxSession session : entered) session.leave();
    }
  }

  private static void send(
      ByteBuffer handles, List<AddQueue> queues, List<AddQueue.Packed> events) {
    int count = events.size();
    byte[] ids = new byte[count * agxnativeConstants.AGX_ID_SIZE];
    byte[] statuses = new byte[count * Integer.BYTES];
    int status;
    Throwable failure;
    try {
      byte[] sessions = Arrays.copyOf(handles.array(), handles.position());
      byte[] bytes = EventBytes.ofPacked(events).array();
      status = agxnative.agxb_add_each(sessions, bytes, count, ids, statuses);
      failure = status == 0 ? null : Calls.failure(status);
    } catch (RuntimeException | Error thrown) {
      for (int i = 0; i < count; ++i) queues.get(i).tell(events.get(i), null, thrown);
      return;
    } finally {
      Reference.reachabilityFence(queues);
    }
    ByteBuffer codes = ByteBuffer.wrap(statuses).order(ByteOrder.nativeOrder());
    for (int i = 0; i < count; ++i) {
      AddQueue queue = queues.get(i);
      AddQueue.Packed event = events.get(i);
      int code = codes.getInt();
      if (code == 0) {
        queue.tell(event, Text.id(ids, i * agxnativeConstants.AGX_ID_SIZE), null);
      } else if (isOfOne(AgxStatus.of(code))) {
        queue.addOne(event);
      } else if (code == status) {
        queue.tell(event, null, failure);
      } else {
        AgxStatus own = AgxStatus.of(code);
        queue.tell(event, null, AgxException.of(own, "adding the event: " + own));
      }
    }
  }

  /** An event itself is at fault, and was not written: tried alone it is told why. */
  private static boolean isOfOne(AgxStatus status) {
    switch (status) {
      case EINVAL:
      case EJSON:
      case ETOOBIG:
      case EUNSUPPORTED:
      case TAKEN_OVER:
        return true;
      default:
        return false;
    }
  }
}
