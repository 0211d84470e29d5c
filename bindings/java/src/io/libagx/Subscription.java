package io.libagx;

import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Hands a subscriber what it requested, one call at a time, never in the thread that receives. */
final class Subscription implements Flow.Subscription, Runnable {
  private final AgxListener owner;
  private final ListenerCore listener;
  private final ClientCore client;
  private final Flow.Subscriber<? super AgxEvent> subscriber;
  private final AtomicLong requested = new AtomicLong();
  private final AtomicInteger pending = new AtomicInteger();
  private final Runnable told = this::schedule;
  private volatile boolean done;
  private volatile Throwable broken;

  private Subscription(AgxListener owner, ListenerCore listener, ClientCore client,
      Flow.Subscriber<? super AgxEvent> subscriber) {
    this.owner = owner;
    this.listener = listener;
    this.client = client;
    this.subscriber = subscriber;
  }

  static void begin(AgxListener owner, ListenerCore listener, ClientCore client,
      Flow.Subscriber<? super AgxEvent> subscriber) {
    java.util.Objects.requireNonNull(subscriber);
    Subscription subscription = new Subscription(owner, listener, client, subscriber);
    // Nothing else is called before onSubscribe has returned.
    subscription.pending.set(1);
    if (!listener.subscribe(subscription.told)) {
      subscription.broken = new IllegalStateException("the listener has a subscriber already");
    }
    try {
      subscriber.onSubscribe(subscription);
    } catch (Throwable e) {
      subscription.cancel();
      throw e;
    }
    client.deliver(subscription);
  }

  @Override
  public void request(long count) {
    if (count <= 0) {
      broken = new IllegalArgumentException("at least 1 has to be requested, not " + count);
    } else {
      requested.getAndUpdate(now -> now + count < 0 ? Long.MAX_VALUE : now + count);
    }
    schedule();
  }

  @Override
  public void cancel() {
    done = true;
    listener.unsubscribe(told);
  }

  private void schedule() {
    if (pending.getAndIncrement() == 0) client.deliver(this);
  }

  @Override
  public void run() {
    int seen = pending.get();
    do {
      try {
        while (step()) {
        }
      } catch (Throwable e) {
        // A subscriber that throws, checked exceptions too, gets no more.
        cancel();
        pending.addAndGet(-seen);
        throw e;
      }
      seen = pending.addAndGet(-seen);
    } while (seen != 0);
    java.lang.ref.Reference.reachabilityFence(owner);
  }

  private boolean step() {
    if (done) return false;
    if (broken != null) return fail(broken);
    if (requested.get() == 0) {
      // The end, whichever it is, needs no request.
      AgxException closed = listener.broken();
      if (closed != null) return fail(closed);
      if (!listener.ended()) return false;
      cancel();
      subscriber.onComplete();
      return false;
    }
    Object item = listener.poll();
    if (item == null) return false;
    if (item == ListenerCore.END) {
      cancel();
      subscriber.onComplete();
      return false;
    }
    if (item instanceof AgxException failure) return fail(failure);
    requested.getAndUpdate(now -> now == Long.MAX_VALUE ? now : now - 1);
    subscriber.onNext((AgxEvent) item);
    return true;
  }

  private boolean fail(Throwable failure) {
    cancel();
    subscriber.onError(failure);
    return false;
  }
}
