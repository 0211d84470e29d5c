package io.libagx;

import java.util.concurrent.Flow;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Hands a subscriber what it requested, one call at a time, never in the thread that receives. */
final class Subscription implements Flow.Subscription, Runnable {
  /** How long a cancel waits for the subscriber, which may itself be waiting for who cancels. */
  private static final long CANCEL_WAITS_MS = 1000;

  private final AgxListener owner;
  private final ListenerCore listener;
  private final ClientCore client;
  private final Flow.Subscriber<? super AgxEvent> subscriber;
  private final AtomicLong requested = new AtomicLong();
  private final AtomicInteger pending = new AtomicInteger();
  private final Runnable told = this::schedule;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition returned = lock.newCondition();
  private volatile Throwable broken;

  // Guarded by lock, which nobody holds while the subscriber is called.
  /** Nothing is taken any more. */
  private boolean done;
  /** Has taken something, and is giving it to the subscriber. */
  private Thread giving;

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

  /**
   * Either comes before the next event is taken, and then it is not, or waits for the subscriber to
   * have it: so that who goes on with the listener gets what is behind that.
   */
  @Override
  public void cancel() {
    lock.lock();
    try {
      done = true;
      awaitReturn();
    } finally {
      lock.unlock();
    }
    listener.unsubscribe(told);
  }

  /** Also in a thread that was interrupted: it may be what cancels. */
  private void awaitReturn() {
    long left = TimeUnit.MILLISECONDS.toNanos(CANCEL_WAITS_MS);
    boolean interrupted = false;
    while (giving != null && giving != Thread.currentThread() && left > 0) {
      long begin = System.nanoTime();
      try {
        returned.awaitNanos(left);
      } catch (InterruptedException e) {
        interrupted = true;
      }
      left -= System.nanoTime() - begin;
    }
    if (interrupted) Thread.currentThread().interrupt();
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
    Object item = take();
    if (item == null) return false;
    try {
      give(item);
    } finally {
      given();
    }
    return item instanceof AgxEvent;
  }

  /** What the subscriber is to be called with; behind all but an event nothing follows. */
  private Object take() {
    boolean last;
    Object item;
    lock.lock();
    try {
      item = done ? null : next();
      if (item == null) return null;
      giving = Thread.currentThread();
      last = !(item instanceof AgxEvent);
      done = last;
    } finally {
      lock.unlock();
    }
    // Another may subscribe from where this one is told.
    if (last) listener.unsubscribe(told);
    return item;
  }

  private Object next() {
    if (broken != null) return broken;
    if (requested.get() > 0) return listener.poll();
    // The end, whichever it is, needs no request.
    AgxException closed = listener.broken();
    if (closed != null) return closed;
    return listener.ended() ? ListenerCore.END : null;
  }

  private void give(Object item) {
    if (item instanceof AgxEvent event) {
      requested.getAndUpdate(now -> now == Long.MAX_VALUE ? now : now - 1);
      subscriber.onNext(event);
    } else if (item == ListenerCore.END) {
      subscriber.onComplete();
    } else {
      subscriber.onError((Throwable) item);
    }
  }

  private void given() {
    lock.lock();
    try {
      giving = null;
      returned.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
