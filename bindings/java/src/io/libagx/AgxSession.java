package io.libagx;

import io.libagx.internal.agxnative;
import io.libagx.internal.agxnativeConstants;
import java.lang.ref.Reference;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * An identity {scope, user, session id} and what a producer does to it.
 *
 * <p>What blocks does so for a command of the store, within the client's timeouts; each such method
 * has a form that gives a future, which a few threads of the client's own carry out. Cancelling the
 * future (not one that was derived from it) before its turn keeps it from being done. A future is
 * completed in {@link AgxOptions#callbacks}'s executor. What can be seen to be wrong at once, such
 * as half of a surrogate pair or a closed session, is thrown; all else is what the future fails with.
 *
 * <p>What changes the session's events happens in the order of the calls on this object, and of its
 * run's and history's: one that blocks waits for what futures were given for before. What an
 * interceptor calls goes ahead of that.
 */
public final class AgxSession implements AutoCloseable {
  private final AgxClient client;
  private final ClientCore core;
  private final AgxSessionId id;
  private final Handle handle;
  private final AddQueue adds;
  private final EventWait waits;
  /** They are for as long as this is, unless they are closed. */
  private final Set<AgxInterceptor> interceptors = ConcurrentHashMap.newKeySet();

  AgxSession(AgxClient client, ClientCore core, AgxSessionId id, long value) {
    this.client = client;
    this.core = core;
    this.id = id;
    handle = new Handle(this, "session", value, agxnative::agx_session_close);
    adds = new AddQueue(this, core);
    waits = new EventWait(this, core);
  }

  void check() {
    if (core.closed()) throw ClientCore.closedException();
    handle.check();
  }

  /** For a call on it and others, which leaves it then. */
  long enter() {
    if (core.closed()) throw ClientCore.closedException();
    return handle.enter();
  }

  void leave() {
    handle.leave();
  }

  /** Makes it, while this, and its interceptors, are not forgotten. */
  int call(Handle.Call call) {
    try {
      if (core.closed()) throw ClientCore.closedException();
      return handle.call(call);
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  private void checked(Handle.Call call) {
    Calls.check(call(call));
  }

  /** Waits for what is queued. */
  void settle() {
    adds.settle();
  }

  /** A call that does not overtake what is queued. */
  int inOrder(Handle.Call call) {
    adds.settle();
    return call(call);
  }

  private void checkedInOrder(Handle.Call call) {
    Calls.check(inOrder(call));
  }

  boolean isIntercepted() {
    return !interceptors.isEmpty();
  }

  ClientCore core() {
    return core;
  }

  EventWait waits() {
    return waits;
  }

  /**
   * What identifies it.
   *
   * @return scope, user and session id
   */
  public AgxSessionId id() {
    return id;
  }

  /**
   * The client that it came from.
   *
   * @return the client
   */
  public AgxClient client() {
    return client;
  }

  /**
   * Starts the session: drops what an earlier run of it left, and adds {@code begin}. Its lease is
   * renewed until it is stopped or this is closed.
   *
   * @throws AgxException.Busy if it is live already
   */
  public void start() {
    start(AgxStartOptions.defaults());
  }

  /**
   * Starts the session.
   *
   * @param options how
   * @throws AgxException.Busy if it is live already, and is not to be taken over
   */
  public void start(AgxStartOptions options) {
    Runnable starting = starting(options);
    adds.settle();
    starting.run();
  }

  private Runnable starting(AgxStartOptions options) {
    byte[] origin = Text.encode("the origin", options.origin());
    return () -> {
      checked(session
          -> agxnative.agxb_start(session, options.takeOver() ? 1 : 0, options.detached() ? 1 : 0,
              Text.millis(options.lease(), 0), origin, options.keep() ? 1 : 0));
      waits.started();
    };
  }

  /**
   * {@link #start(AgxStartOptions)}, later.
   *
   * @param options how
   * @return when it is done
   */
  public CompletableFuture<Void> startAsync(AgxStartOptions options) {
    return asyncInOrder(starting(options));
  }

  /** Ends the session: adds {@code end}, and lets its events go after 5 seconds. */
  public void stop() {
    stop(null);
  }

  /**
   * Ends the session.
   *
   * @param grace how long its events stay; null for 5 seconds
   * @throws AgxException.TakenOver if another producer has it now
   * @throws AgxException.NotLive if there is no such session
   */
  public void stop(Duration grace) {
    checkedInOrder(session -> agxnative.agx_stop(session, Text.millis(grace, -1)));
  }

  /**
   * {@link #stop(Duration)}, later.
   *
   * @param grace how long its events stay; null for 5 seconds
   * @return when it is done
   */
  public CompletableFuture<Void> stopAsync(Duration grace) {
    return asyncInOrder(() -> stop(grace));
  }

  /**
   * Adds an event and waits until the store has it, whatever state the session is in: also before a
   * start, after a cancel, of which {@link #isCanceled()} tells, and behind the end, where listeners
   * that have seen the end do not come.
   *
   * @param type what it is, 1 to 256 bytes of UTF-8
   * @param origin who writes it, likewise
   * @param body its JSON text; null for none
   * @return the event's id
   * @throws AgxException.BadJson if the body is not JSON
   * @throws AgxException.TakenOver if another producer has the session now, once this object has heard
   *     of it; nothing is written
   * @throws AgxException.Uncertain if the connection was lost on the way
   */
  public String add(String type, String origin, String body) {
    AddQueue.Packed event = new AddQueue.Packed(type, origin, body);
    adds.settle();
    return add(event);
  }

  String add(AddQueue.Packed event) {
    byte[] out = new byte[agxnativeConstants.AGX_ID_SIZE];
    checked(session -> agxnative.agx_add(session, event.type, event.origin, event.body, out));
    return Text.id(out, 0);
  }

  /**
   * Adds an event, later, in the order of the calls on this object. Those that are waiting are
   * added together.
   *
   * @param type as for {@link #add(String, String, String)}
   * @param origin likewise
   * @param body likewise
   * @return the event's id
   */
  public CompletableFuture<String> addAsync(String type, String origin, String body) {
    check();
    return adds.add(new AddQueue.Packed(type, origin, body));
  }

  /**
   * Adds events in their order, in as few round trips as possible; not atomic. All are checked
   * before any is written.
   *
   * @param events the events
   * @return their ids; "" of one that an interceptor swallowed
   * @throws AgxException as {@link #add(String, String, String)} does; some may be stored then
   */
  public List<String> addAll(List<AgxNewEvent> events) {
    EventBytes packed = EventBytes.of(events);
    adds.settle();
    return addAllNow(packed.array(), packed.count());
  }

  private List<String> addAllNow(byte[] events, int count) {
    AddQueue.Added added = AddQueue.addMany(this, events, count);
    if (added.failure() != null && added.status() != AgxStatus.SWALLOWED) {
      throw Calls.asSuch(added.failure());
    }
    return added.ids();
  }

  /**
   * {@link #addAll(List)}, later.
   *
   * @param events the events
   * @return their ids
   */
  public CompletableFuture<List<String>> addAllAsync(List<AgxNewEvent> events) {
    check();
    EventBytes packed = EventBytes.of(events);
    byte[] bytes = packed.array();
    int count = packed.count();
    return adds.call(() -> addAllNow(bytes, count));
  }

  /**
   * Adds events and moves a checkpoint of the session, in one atomic step: for who copies from
   * elsewhere, and is to know after any crash how far that came. If the checkpoint is {@code to}
   * already, that was done before, and nothing is written.
   *
   * @param events the events; may be none
   * @param name the checkpoint's, such as where the events are from
   * @param from what the checkpoint is now; "" if there is none
   * @param to what it is then, such as the id of the last of them there
   * @throws AgxException.Conflict if it is neither: somebody else has moved it; nothing is written
   */
  public void addChecked(List<AgxNewEvent> events, String name, String from, String to) {
    Runnable adding = addingChecked(events, name, from, to);
    adds.settle();
    adding.run();
  }

  private Runnable addingChecked(List<AgxNewEvent> events, String name, String from, String to) {
    EventBytes packed = EventBytes.of(events);
    byte[] bytes = packed.array();
    int count = packed.count();
    byte[] what = Text.encode("the name", Text.required("the name", name));
    byte[] before = Text.encode("from", Text.required("from", from));
    byte[] after = Text.encode("to", Text.required("to", to));
    return ()
               -> checked(session
                   -> agxnative.agxb_add_checked(session, bytes, count, what, before, after));
  }

  /**
   * {@link #addChecked(List, String, String, String)}, later.
   *
   * @param events the events; may be none
   * @param name the checkpoint's
   * @param from what the checkpoint is now
   * @param to what it is then
   * @return when it is done
   */
  public CompletableFuture<Void> addCheckedAsync(
      List<AgxNewEvent> events, String name, String from, String to) {
    return asyncInOrder(addingChecked(events, name, from, to));
  }

  /**
   * What a checkpoint is.
   *
   * @param name the checkpoint's
   * @return the position; "" if there is none
   */
  public String checkpoint(String name) {
    byte[] what = Text.encode("the name", Text.required("the name", name));
    byte[] out = new byte[agxnativeConstants.AGX_NAME_MAX + 1];
    checked(session -> agxnative.agx_checkpoint(session, what, out));
    int end = 0;
    while (end < out.length && out[end] != 0) ++end;
    return Text.strict(java.util.Arrays.copyOf(out, end));
  }

  /**
   * Adds an event of the type "error" and the origin "opale".
   *
   * @param body its JSON text
   * @return the event's id
   */
  public String addError(String body) {
    byte[] text = Text.encode("the body", body);
    byte[] out = new byte[agxnativeConstants.AGX_ID_SIZE];
    checkedInOrder(session -> agxnative.agx_add_error(session, null, text, out));
    return Text.id(out, 0);
  }

  /**
   * Adds an event of the type "info" and the origin "opale".
   *
   * @param body its JSON text
   * @return the event's id
   */
  public String addInfo(String body) {
    byte[] text = Text.encode("the body", body);
    byte[] out = new byte[agxnativeConstants.AGX_ID_SIZE];
    checkedInOrder(session -> agxnative.agx_add_info(session, null, text, out));
    return Text.id(out, 0);
  }

  /**
   * Asks the store whether the session is live.
   *
   * @return true if it is
   */
  public boolean isLive() {
    int[] out = new int[1];
    checked(session -> agxnative.agx_is_live(session, out));
    return out[0] != 0;
  }

  /**
   * {@link #isLive()}, later.
   *
   * @return true if it is
   */
  public CompletableFuture<Boolean> isLiveAsync() {
    return core.async(this::isLive);
  }

  /**
   * Gives a live session's lease its full length again, without owning it.
   *
   * @throws AgxException.NotLive if it is not live
   */
  public void renew() {
    checked(session -> agxnative.agx_renew(session));
  }

  /**
   * Cancels the session. Anyone may; its producer learns of it at once.
   *
   * @return whether it was live
   */
  public boolean cancel() {
    int[] out = new int[1];
    checked(session -> agxnative.agx_cancel(session, out));
    return out[0] != 0;
  }

  /**
   * {@link #cancel()}, later.
   *
   * @return whether it was live
   */
  public CompletableFuture<Boolean> cancelAsync() {
    return core.async(this::cancel);
  }

  /**
   * Whether the session that this object started was cancelled or taken over: no I/O, for an
   * agent's inner loop.
   *
   * @return true if so
   */
  public boolean isCanceled() {
    return call(agxnative::agx_is_canceled) != 0;
  }

  /**
   * Waits until the session that this object started is cancelled.
   *
   * @param timeout how long; negative for ever
   * @throws InterruptedException if the thread is interrupted
   * @throws AgxException.Timeout if it was not
   * @throws AgxException.TakenOver if another producer took it over
   * @throws AgxException.NotLive if this object did not start it, or stopped it
   */
  public void waitCanceled(Duration timeout) throws InterruptedException {
    check();
    CompletableFuture<Void> told = core.cancels().add(this);
    try {
      long nanos = Text.waitNanos(timeout);
      if (nanos == Long.MAX_VALUE) {
        told.get();
      } else {
        told.get(nanos, TimeUnit.NANOSECONDS);
      }
    } catch (TimeoutException e) {
      throw AgxException.of(AgxStatus.TIMEOUT, "nothing came within the timeout");
    } catch (ExecutionException e) {
      throw Calls.asSuch(e.getCause());
    } finally {
      told.cancel(false);
    }
  }

  /**
   * Completes when the session that this object started is cancelled, and fails as {@link
   * #waitCanceled(Duration)} does.
   *
   * @return when it is
   */
  public CompletableFuture<Void> whenCanceled() {
    check();
    CompletableFuture<Void> told = core.cancels().add(this);
    CompletableFuture<Void> future = new CompletableFuture<>();
    told.whenComplete((nothing, failure) -> {
      if (told.isCancelled()) return;
      core.deliver(() -> {
        if (failure == null) {
          future.complete(null);
        } else {
          future.completeExceptionally(failure);
        }
      });
    });
    future.whenComplete((nothing, failure) -> told.cancel(false));
    return future;
  }

  /**
   * Waits for the next event that a condition selects: how an agent waits for what a person
   * answers. The first call after an object has started the session looks at everything from its
   * begin on, on another at what comes from now on; each later call goes on behind the event that
   * the last gave, until {@code start} begins another run. A call that is given up has taken nothing. Several may wait, each for a condition
   * of its own: a call looks at all behind where it began, and so two that wait for the same are
   * given the same. No thread but the caller's waits.
   *
   * @param where the condition; null for any event
   * @param timeout how long; zero to look only, negative for ever
   * @return the event
   * @throws InterruptedException if the thread is interrupted
   * @throws AgxException.Timeout if there was none
   * @throws AgxException.Ended if the session ended before
   * @throws AgxException.Canceled if this object started it and it was cancelled; at once
   * @throws AgxException.TakenOver if another producer took it over; at once
   * @throws AgxException.Gone if its producer is gone without an end
   * @throws AgxException.Gap if events that nobody saw are gone; the next call takes what is left
   */
  public AgxEvent waitFor(String where, Duration timeout) throws InterruptedException {
    return waits.next(where, Text.waitNanos(Text.required("the timeout", timeout)));
  }

  /**
   * {@link #waitFor(String, Duration)} as a future, without a timeout but its own {@link
   * CompletableFuture#orTimeout}. The first on an object that did not start the session blocks for
   * one command.
   *
   * @param where the condition; null for any event
   * @return the event
   */
  public CompletableFuture<AgxEvent> waitForAsync(String where) {
    return waits.next(where);
  }

  /**
   * Follows the session, from its beginning.
   *
   * @return a listener, to be closed
   */
  public AgxListener listen() {
    return listen(AgxListenOptions.defaults());
  }

  /**
   * Follows the session. Does not block, but for "new": one command. This object may be closed
   * afterwards.
   *
   * @param options from where, what, and how long it waits
   * @return a listener, to be closed
   * @throws AgxException.Invalid if an id or a condition is not valid; the message says where
   */
  public AgxListener listen(AgxListenOptions options) {
    return new AgxListener(client, core, open(options));
  }

  ListenerCore open(AgxListenOptions options) {
    Dispatcher dispatcher = core.dispatcher();
    long token = core.nextToken();
    long[] out = new long[1];
    checked(session
        -> agxnative.agxb_listen(session, Text.encode("after", options.after()),
            Text.waitMillis(options.absentAfter()), Text.waitMillis(options.silentAfter()),
            options.handOnEnd() ? 1 : 0, options.limit(), Text.encode("where", options.where()),
            token, out));
    ListenerCore listener = null;
    try {
      listener = new ListenerCore(core, dispatcher, token, out[0]);
      listener.begin();
      return listener;
    } catch (RuntimeException | Error e) {
      if (listener != null) {
        listener.close();
      } else {
        agxnative.agx_listener_close(out[0]);
      }
      throw e;
    }
  }

  /**
   * Calls a function with the session's events, from the beginning, in their order, one call at a
   * time, until it is closed, it has come to the end, or the client is closed. It need not be kept.
   *
   * @param subscriber what is called, in a thread of the client's
   * @return what to close
   */
  public AgxSubscription subscribe(AgxSubscriber subscriber) {
    return subscribe(AgxSubscribeOptions.defaults(), subscriber);
  }

  /**
   * Calls a function with the session's events that a condition selects. Blocks for one command, or
   * two with "new". This object may be closed afterwards.
   *
   * <p>A function that is slow delays but itself. What it throws ends the subscription: see {@link
   * AgxSubscription#done()}.
   *
   * @param options from where, and what
   * @param subscriber what is called, in a thread of the client's
   * @return what to close
   * @throws AgxException.Invalid if an id or a condition is not valid; the message says where
   */
  public AgxSubscription subscribe(AgxSubscribeOptions options, AgxSubscriber subscriber) {
    return AgxSubscription.open(this, core, options, subscriber);
  }

  /**
   * Calls a function before each event that this object, or a run of it, writes.
   *
   * @param interceptor what is called, in the thread that adds
   * @return what to close; without that it is there for as long as this object
   */
  public AgxInterceptor intercept(AgxInterceptor.Function interceptor) {
    return intercept(null, interceptor);
  }

  /**
   * Calls a function before each event that a condition selects is written by this object, or by a
   * run of it; it may change, swallow or refuse the event. Those that were registered earlier are
   * called first. What {@code start}, {@code stop} and the end of a run write by themselves does
   * not come by, nor what {@link #addChecked} and {@link AgxHistory#replace} write. Several threads
   * that add call it at the same time. What it calls on this object goes ahead of what is queued; for
   * another thread that adds here it must not wait.
   *
   * <p>What it throws keeps the event from being written, and reaches whoever adds, as it is; if it
   * is called in a thread of C's own, the run's next call fails with its message.
   *
   * @param where the condition; null for all events
   * @param interceptor what is called, in the thread that adds
   * @return what to close; without that it is there for as long as this object
   * @throws AgxException.Invalid if the condition is not valid; the message says where
   */
  public AgxInterceptor intercept(String where, AgxInterceptor.Function interceptor) {
    return AgxInterceptor.open(this, interceptors, where, interceptor);
  }

  /**
   * Opens a consumer group of the session, from its first event on, with a consumer that nobody
   * else is.
   *
   * @param name the group's
   * @return the group, to be closed
   */
  public AgxGroup group(String name) {
    return group(name, AgxGroupOptions.defaults());
  }

  /**
   * Opens a consumer group of the session, and makes it unless it is there. This object may be
   * closed afterwards.
   *
   * @param name the group's, 1 to 256 bytes of UTF-8
   * @param options how, and as whom
   * @return the group, to be closed
   * @throws AgxException.NotFound if there is none, and none is to be made
   */
  public AgxGroup group(String name, AgxGroupOptions options) {
    return AgxGroup.open(this, core, name, options);
  }

  /**
   * {@link #group(String, AgxGroupOptions)}, later.
   *
   * @param name the group's
   * @param options how, and as whom
   * @return the group, to be closed
   */
  public CompletableFuture<AgxGroup> groupAsync(String name, AgxGroupOptions options) {
    return core.async(() -> group(name, options));
  }

  /**
   * The consumer groups that the session has.
   *
   * @return what there is to tell of each
   */
  public List<AgxGroupInfo> groups() {
    try (Batch batch = new Batch()) {
      checked(session -> agxnative.agxb_group_list(session, batch.handle));
      return batch.list(record
          -> new AgxGroupInfo(
              record.type(), record.number(0), record.number(1), record.id(), record.number(2)));
    }
  }

  /**
   * What the store holds of it, to be read back rather than followed.
   *
   * @return its history
   */
  public AgxHistory history() {
    return new AgxHistory(this, core);
  }

  /**
   * Starts the session and opens a run in it.
   *
   * @return the run, to be closed
   * @throws AgxException.Busy if the session is live already
   */
  public AgxRun beginRun() {
    return beginRun(AgxRunOptions.defaults());
  }

  /**
   * Starts the session and opens a run in it.
   *
   * @param options how
   * @return the run, to be closed
   * @throws AgxException.Busy if the session is live already
   */
  public AgxRun beginRun(AgxRunOptions options) {
    return AgxRun.begin(this, options);
  }

  /**
   * One whole run: begins it, loads the conversation, calls the agent, saves the conversation if
   * the agent returned, and ends the run. What the agent throws reaches the caller as it is, after
   * the run was ended as failed, or as cancelled.
   *
   * @param messages the conversation; null for none
   * @param agent what to do
   * @param <T> what it gives
   * @return what the agent returned
   * @throws Exception what the agent threw, or an {@link AgxException}
   */
  public <T> T execute(AgxMessages messages, AgxAgent<T> agent) throws Exception {
    return execute(AgxRunOptions.defaults(), messages, agent);
  }

  /**
   * {@link #execute(AgxMessages, AgxAgent)} with options for the run.
   *
   * @param options how the run is begun
   * @param messages the conversation; null for none
   * @param agent what to do
   * @param <T> what it gives
   * @return what the agent returned
   * @throws Exception what the agent threw, or an {@link AgxException}
   */
  public <T> T execute(AgxRunOptions options, AgxMessages messages, AgxAgent<T> agent)
      throws Exception {
    return AgxRun.execute(this, options, messages, agent);
  }

  /**
   * The conversation that is kept beside the session; empty until it is loaded.
   *
   * @return the conversation, to be closed
   */
  public AgxMessages messages() {
    long[] out = new long[1];
    checked(session -> agxnative.agx_messages_open(session, out));
    return new AgxMessages(core, client, out[0]);
  }

  /**
   * Closes it. A session that it started and did not stop is no longer renewed, and stays live
   * until its lease runs out. What waits on it, or is queued and not added yet, gets {@link
   * AgxException.Closed}. A call that the store has not answered yet is not waited for: it is
   * carried out, and its caller or future told.
   */
  @Override
  public void close() {
    handle.close();
    adds.close();
    waits.close();
  }

  @Override
  public String toString() {
    return "session " + id.scopeId() + "/" + id.userId() + "/" + id.sessionId();
  }

  private CompletableFuture<Void> asyncInOrder(Runnable call) {
    check();
    return adds.call(() -> {
      call.run();
      return null;
    });
  }
}
