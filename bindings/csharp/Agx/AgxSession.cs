using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>A session: what its producer does to it, and what anybody may.</summary>
    public sealed partial class AgxSession : IDisposable
    {
        internal const int IdSize = 42;
        const int CheckpointSize = 257;
        const int Slice = 50;
        const int LongSlice = 1000;

        readonly AgxClient client;
        readonly SessionHandle handle;
        readonly HashSet<AgxInterceptor> interceptors = new HashSet<AgxInterceptor>();

        internal AgxSession(AgxClient client, SessionHandle handle, AgxSessionId id)
        {
            this.client = client;
            this.handle = handle;
            Id = id;
        }

        /// <summary>Which session it is; of a stream that was opened by its name, that is the
        /// id.</summary>
        public AgxSessionId Id { get; }

        /// <summary>The client that it came from.</summary>
        public AgxClient Client
        {
            get { return client; }
        }

        internal Use Enter()
        {
            return handle.Enter();
        }

        internal Use TryEnter()
        {
            return handle.TryEnter();
        }

        // After each call: what it used was not to be closed meanwhile for want of an owner.
        void Done(int status)
        {
            AgxException? error = status == 0 ? null : AgxException.Last(status);
            GC.KeepAlive(this);
            Callbacks.Rethrow(status);
            if (error != null) throw error;
        }

        /// <summary>Starts the session: drops what an earlier run of it left, and adds begin. From here on
        /// the lease is renewed and cancels are watched for, until it is stopped or disposed of.</summary>
        /// <exception cref="AgxBusyException">It is live already.</exception>
        public void Start(AgxStartOptions? options = null)
        {
            Behind();
            StartNow(options);
        }

        void StartNow(AgxStartOptions? options)
        {
            AgxStartOptions given = options ?? new AgxStartOptions();
            using (Use use = handle.Enter()) Done(agxnative.agxb_start(use.Number, given.TakeOver ? 1 : 0, given.Detached ? 1 : 0,
                Text.Milliseconds(given.Lease), Text.Encode(given.Origin, "origin"), given.Keep ? 1 : 0));
        }

        /// <summary>Ends the session. Its events go after the grace, 5 seconds if none is given.</summary>
        /// <exception cref="AgxTakenOverException">Another producer has it.</exception>
        /// <exception cref="AgxNotLiveException">There is no such session.</exception>
        public void Stop(TimeSpan? grace = null)
        {
            Behind();
            StopNow(grace);
        }

        void StopNow(TimeSpan? grace)
        {
            using (Use use = handle.Enter()) Done(agxnative.agx_stop(use.Number, grace == null ? -1 : Text.Milliseconds(grace.Value)));
        }

        /// <summary>Adds an event, and waits until the store has it. Anyone may add, whether the session is
        /// live or not, and so an add succeeds also after a cancel and after <see cref="Stop"/>, where listeners
        /// that have come to the end do not see it any more: who is to stop then looks at
        /// <see cref="IsCanceled"/> or <see cref="WaitCanceled"/>, or writes by a run, whose calls throw an
        /// <see cref="AgxCanceledException"/>.</summary>
        /// <exception cref="AgxTakenOverException">This object has started the session, and knows that another
        /// producer took it over.</exception>
        /// <param name="type">1 to 256 bytes.</param>
        /// <param name="origin">Who says it; 1 to 256 bytes.</param>
        /// <param name="body">JSON text; null for none, which listeners read as "{}".</param>
        /// <returns>The event's id.</returns>
        /// <exception cref="AgxSwallowedException">An interceptor swallowed it.</exception>
        [OverloadResolutionPriority(1)] // for null
        public string Add(string type, string origin, string? body = null)
        {
            return Add(new Packed(type, origin, Text.Encode(body, "body")));
        }

        /// <summary>The same with a body that is UTF-8 already.</summary>
        public string Add(string type, string origin, byte[] body)
        {
            return Add(new Packed(type, origin, Text.Encode(body, "body")));
        }

        string Add(Packed one)
        {
            Behind();
            return AddNow(one);
        }

        // What was queued for the session by tasks goes first.
        partial void Behind();

        string AddNow(Packed one)
        {
            byte[] id = new byte[IdSize];
            using (Use use = handle.Enter()) Done(agxnative.agx_add(use.Number, one.Type, one.Origin, one.Body, id));
            return Text.Read(id, 0);
        }

        /// <summary>Adds events in their order, in as few round trips as possible; not atomic. Of an
        /// exception, <see cref="AgxException.Added"/> tells how many are known to be stored. If an
        /// interceptor refuses one, none is.</summary>
        /// <returns>The events' ids; "" of one that an interceptor swallowed.</returns>
        public IReadOnlyList<string> AddMany(IEnumerable<AgxNewEvent> events)
        {
            Behind();
            return AddManyNow(events);
        }

        IReadOnlyList<string> AddManyNow(IEnumerable<AgxNewEvent> events)
        {
            using (PackedEvents packed = new PackedEvents(events))
            {
                string[] ids = new string[packed.Count];
                AgxException? error = AddManyNow(packed, ids);
                if (error != null) throw error;
                return ids;
            }
        }

        /// <summary>What went wrong, if anything; the ids of those that are stored, in any case.</summary>
        AgxException? AddManyNow(PackedEvents events, string[] ids)
        {
            byte[] room = new byte[Math.Max(1, events.Count) * IdSize];
            ulong added;
            int status;
            using (Use use = handle.Enter()) status = agxnative.agxb_add_many(use.Number, events.Bytes, events.Size, (ulong)events.Count, room, out added);
            AgxException? error = status == 0 || status == (int)AgxStatus.Swallowed ? null : AgxException.Last(status);
            GC.KeepAlive(this);
            Callbacks.Rethrow(status);
            for (int i = 0; i < (int)added; ++i) ids[i] = Text.Read(room, i * IdSize);
            if (error != null) error.Added = (int)added;
            return error;
        }

        /// <summary>Adds events and moves a checkpoint of the session, in one atomic step: for who copies
        /// from elsewhere, and is to know after any crash how far that came. If it is at `to` already, that
        /// was done before, and nothing is written again.</summary>
        /// <param name="events">What to add; none is allowed, too.</param>
        /// <param name="name">The checkpoint's name, such as where the events are from.</param>
        /// <param name="from">What it is now; "" if there is none.</param>
        /// <param name="to">What it is then.</param>
        /// <exception cref="AgxConflictException">Somebody else has moved it; nothing is
        /// written.</exception>
        public void AddChecked(IEnumerable<AgxNewEvent> events, string name, string from, string to)
        {
            Behind();
            AddCheckedNow(events, name, from, to);
        }

        void AddCheckedNow(IEnumerable<AgxNewEvent> events, string name, string from, string to)
        {
            using (PackedEvents packed = new PackedEvents(events))
            using (Use use = handle.Enter()) Done(agxnative.agxb_add_checked(use.Number, packed.Bytes, packed.Size, (ulong)packed.Count, Text.EncodeGiven(name, "name"),
                Text.EncodeGiven(from, "from"), Text.EncodeGiven(to, "to")));
        }

        /// <summary>What the checkpoint of that name is; "" if there is none.</summary>
        public string Checkpoint(string name)
        {
            byte[] room = new byte[CheckpointSize];
            using (Use use = handle.Enter()) Done(agxnative.agx_checkpoint(use.Number, Text.EncodeGiven(name, "name"), room));
            return Text.Read(room, 0);
        }

        /// <summary>Whether the session is live.</summary>
        public bool IsLive()
        {
            int live;
            using (Use use = handle.Enter()) Done(agxnative.agx_is_live(use.Number, out live));
            return live != 0;
        }

        /// <summary>Gives a live session's lease its full length again, without owning it.</summary>
        /// <exception cref="AgxNotLiveException">It is not live.</exception>
        public void Renew()
        {
            using (Use use = handle.Enter()) Done(agxnative.agx_renew(use.Number));
        }

        /// <summary>Cancels the session; its producer learns of it at once. Anyone may.</summary>
        /// <returns>Whether it was live.</returns>
        public bool Cancel()
        {
            int live;
            using (Use use = handle.Enter()) Done(agxnative.agx_cancel(use.Number, out live));
            return live != 0;
        }

        /// <summary>Whether the session that this object started was cancelled or taken over; true as well
        /// once the object is closed. Asks nobody: for an agent's inner loop.</summary>
        public bool IsCanceled
        {
            get
            {
                bool canceled = handle.IsDisposed || agxnative.agx_is_canceled(handle.Number) != 0;
                GC.KeepAlive(this);
                return canceled;
            }
        }

        /// <summary>Waits until the session that this object started is cancelled.</summary>
        /// <returns>false: it was not within the timeout.</returns>
        /// <exception cref="AgxTakenOverException">Another producer took it over.</exception>
        /// <exception cref="AgxNotLiveException">This object did not start it, or has stopped it.</exception>
        public bool WaitCanceled(TimeSpan timeout, CancellationToken cancellationToken = default(CancellationToken))
        {
            return Sliced(timeout, cancellationToken, (session, ms) => agxnative.agx_wait_canceled(session, ms));
        }

        /// <summary>Waits for an event that a condition (as of <see cref="AgxListenOptions.Where"/>; null: any
        /// event) selects: how an agent waits for what a person
        /// answers. The first call after an object has started the session looks at everything from its begin
        /// on, on another at what comes from now on; each later call goes on behind the event that the
        /// last one gave, until <see cref="Start"/> begins another run.</summary>
        /// <returns>The event; null: none within the timeout, and it still may come.</returns>
        /// <exception cref="AgxEndedException">The session has ended: none will come.</exception>
        /// <exception cref="AgxCanceledException">The session was cancelled.</exception>
        /// <exception cref="AgxTakenOverException">Another producer has it.</exception>
        /// <exception cref="AgxGoneException">Its producer is gone without an end.</exception>
        /// <exception cref="AgxGapException">Events are gone; the next call takes what is left.</exception>
        public AgxEvent? WaitFor(string? where, TimeSpan timeout, CancellationToken cancellationToken = default(CancellationToken))
        {
            byte[]? condition = Text.Encode(where, "where");
            using (Batch batch = new Batch())
            {
                bool found = Sliced(timeout, cancellationToken, (session, ms) => agxnative.agxb_wait_for_batch(session, condition, ms, batch.Number));
                if (!found) return null;
                batch.Rewind();
                Batch.Record record;
                batch.Read(out record);
                return record.Value;
            }
        }

        // A wait that C cannot be told to leave but by closing its handle, in slices: for the token, and
        // as another call may keep the handle from being closed.
        bool Sliced(TimeSpan timeout, CancellationToken cancellationToken, Func<IntPtr, long, int> wait)
        {
            long whole = Text.Milliseconds(timeout);
            Stopwatch clock = Stopwatch.StartNew();
            for (;;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                long left = whole < 0 ? -1 : Math.Max(0, whole - clock.ElapsedMilliseconds);
                int most = cancellationToken.CanBeCanceled ? Slice : LongSlice;
                bool sliced = left < 0 || left > most;
                int status = Waited(wait, sliced ? most : left);
                if (status == (int)AgxStatus.Timeout)
                {
                    if (sliced) continue;
                    GC.KeepAlive(this);
                    return false;
                }
                try
                {
                    Done(status);
                }
                catch (AgxUnavailableException error) when (cancellationToken.IsCancellationRequested)
                {
                    throw AgxException.OrCanceled(error, cancellationToken);
                }
                return true;
            }
        }

        /// <summary>Opens a listener. Asks the store only if it is to begin at what is new.</summary>
        public AgxListener OpenListener(AgxListenOptions? options = null)
        {
            AgxListenOptions given = options ?? new AgxListenOptions();
            long token = AgxListener.NextToken();
            IntPtr listener;
            using (Use use = handle.Enter()) Done(agxnative.agxb_listen(use.Number, Text.Encode(given.After, "after"), Text.Milliseconds(given.Wait),
                Text.Milliseconds(given.Timeout), given.HandOnEnd ? 1 : 0, given.Limit,
                Text.Encode(given.Where, "where"), token, out listener));
            return new AgxListener(client, new ListenerHandle(listener), token);
        }

        /// <summary>The session's events: those that are there, and then those that come, until its
        /// end.</summary>
        public IEnumerable<AgxEvent> Listen(AgxListenOptions? options = null, CancellationToken cancellationToken = default(CancellationToken))
        {
            using (AgxListener listener = OpenListener(options))
            {
                AgxEvent? next;
                while ((next = listener.Next(cancellationToken)) != null) yield return next;
            }
        }

        /// <summary>Calls a function with the session's events, in their order, one call at a time, on a
        /// thread of the library's. A slow function delays but itself. What it throws ends the subscription,
        /// and fails its <see cref="AgxSubscription.Completion"/>.</summary>
        public AgxSubscription Subscribe(Action<AgxEvent> function, AgxSubscribeOptions? options = null)
        {
            if (function == null) throw new ArgumentNullException("function");
            return Subscribe((value, subscription) => function(value), options);
        }

        /// <summary>The same with a function that is given the subscription, which it may dispose
        /// of.</summary>
        public AgxSubscription Subscribe(Action<AgxEvent, AgxSubscription> function, AgxSubscribeOptions? options = null)
        {
            if (function == null) throw new ArgumentNullException("function");
            AgxSubscription subscription = new AgxSubscription(this, function, options ?? new AgxSubscribeOptions());
            GC.KeepAlive(this);
            return subscription;
        }

        /// <summary>The same with a function whose task is waited for before the next call.</summary>
        public AgxSubscription Subscribe(Func<AgxEvent, Task> function, AgxSubscribeOptions? options = null)
        {
            if (function == null) throw new ArgumentNullException("function");
            return Subscribe((value, subscription) => function(value).GetAwaiter().GetResult(), options);
        }

        /// <inheritdoc cref="Subscribe(Func{AgxEvent, Task}, AgxSubscribeOptions?)"/>
        public AgxSubscription Subscribe(Func<AgxEvent, AgxSubscription, Task> function, AgxSubscribeOptions? options = null)
        {
            if (function == null) throw new ArgumentNullException("function");
            return Subscribe((value, subscription) => function(value, subscription).GetAwaiter().GetResult(), options);
        }

        /// <summary>Calls a function before each event that the condition selects is written by this object
        /// and its runs, in the thread that adds it. Several threads may be in it at once. What it throws
        /// keeps the event from being written, and reaches who adds it. Those that were registered earlier
        /// are called first. What the session's start, stop and a run's end write by themselves does not
        /// come by.
        ///
        /// The function may add to the session, itself or in tasks that it waits for: that is written at once,
        /// before its event, and comes by the other interceptors. It must not wait for somebody else's add to
        /// its session, such as that of a thread that was there before, which waits for the function.</summary>
        /// <param name="function">May change the event, and says whether it is written.</param>
        /// <param name="where">A condition as of <see cref="AgxListenOptions.Where"/>; null: all events.</param>
        public AgxInterceptor Intercept(Func<AgxIntercepted, AgxVerdict> function, string? where = null)
        {
            if (function == null) throw new ArgumentNullException("function");
            AgxInterceptor interceptor = new AgxInterceptor(this, function, Text.Encode(where, "where"));
            lock (interceptors) interceptors.Add(interceptor);
            GC.KeepAlive(this);
            return interceptor;
        }

        internal void Forget(AgxInterceptor interceptor)
        {
            lock (interceptors) interceptors.Remove(interceptor);
        }

        internal bool IsIntercepted
        {
            get { lock (interceptors) return interceptors.Count > 0; }
        }

        /// <summary>Opens a group of the session's stream, and makes it unless it is there.</summary>
        /// <exception cref="AgxNotFoundException">It is not, and
        /// <see cref="AgxGroupOptions.MustExist"/>.</exception>
        public AgxGroup OpenGroup(string name, AgxGroupOptions? options = null)
        {
            AgxGroupOptions given = options ?? new AgxGroupOptions();
            IntPtr group;
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_open(use.Number, Text.EncodeGiven(name, "name"), Text.Encode(given.Consumer, "consumer"),
                Text.Encode(given.Start, "start"), given.MustExist ? 1 : 0, given.Recreate ? 1 : 0,
                Text.Encode(given.DeadLetters, "deadLetters"), out group));
            return new AgxGroup(client, new GroupHandle(group), name);
        }

        /// <summary>The groups of the session's stream.</summary>
        public IReadOnlyList<AgxGroupInfo> Groups()
        {
            List<AgxGroupInfo> groups = new List<AgxGroupInfo>();
            using (Batch batch = new Batch())
            {
                using (Use use = handle.Enter()) Done(agxnative.agxb_group_list(use.Number, batch.Number));
                batch.Rewind();
                Batch.Record record;
                while (batch.Read(out record)) groups.Add(new AgxGroupInfo(record));
            }
            return groups;
        }

        /// <summary>What the session's stream holds; nothing is waited for, and begin and end are events
        /// like others.</summary>
        /// <exception cref="AgxUnsupportedException">An entry cannot be read. What is before it can be had
        /// with its <see cref="AgxException.EntryId"/> as Before, what is behind it with that as
        /// After.</exception>
        public IReadOnlyList<AgxEvent> History(AgxHistoryOptions? options = null)
        {
            AgxHistoryOptions given = options ?? new AgxHistoryOptions();
            if (given.Count <= 0) throw Text.Invalid("Count has to be 1 or more");
            byte[]? after = Text.Encode(given.After, "after");
            byte[]? before = Text.Encode(given.Before, "before");
            byte[]? where = Text.Encode(given.Where, "where");
            List<AgxEvent> events = new List<AgxEvent>();
            using (Batch batch = new Batch())
            using (Use use = handle.Enter())
            {
                while (events.Count < given.Count)
                {
                    ulong wanted = (ulong)Math.Min(1000, given.Count - events.Count);
                    int status = agxnative.agxb_history_batch(use.Number, after, before, given.Reverse ? 1 : 0, where, wanted, batch.Number);
                    if (status == (int)AgxStatus.Ended) break;
                    Done(status);
                    batch.Rewind();
                    Batch.Record record;
                    while (batch.Read(out record))
                    {
                        if (record.Value != null) events.Add(record.Value);
                    }
                    byte[]? last = Text.Encode(events[events.Count - 1].Id, "id");
                    if (given.Reverse) before = last;
                    else after = last;
                }
            }
            return events;
        }

        /// <summary>How much there is of the session.</summary>
        /// <exception cref="AgxNotFoundException">There is nothing.</exception>
        public AgxHistoryInfo HistoryInfo()
        {
            byte[] ids = new byte[3 * IdSize];
            long[] numbers = new long[4];
            using (Use use = handle.Enter()) Done(agxnative.agxb_history_info(use.Number, ids, numbers));
            return new AgxHistoryInfo(numbers[0], Text.Read(ids, 0), Text.Read(ids, IdSize),
                Text.Read(ids, 2 * IdSize), numbers[1] != 0, numbers[2], numbers[3]);
        }

        /// <summary>Removes the oldest events, exactly: all but the newest so many.</summary>
        /// <returns>How many went.</returns>
        public long Trim(long keep)
        {
            if (keep < 0) throw Text.Invalid("keep is negative");
            ulong removed;
            using (Use use = handle.Enter()) Done(agxnative.agx_history_trim(use.Number, keep, null, out removed));
            return (long)removed;
        }

        /// <summary>Removes the events that are older than the one with this id.</summary>
        /// <returns>How many went.</returns>
        public long TrimBefore(string id)
        {
            ulong removed;
            using (Use use = handle.Enter()) Done(agxnative.agx_history_trim(use.Number, -1, Text.EncodeGiven(id, "id"), out removed));
            return (long)removed;
        }

        /// <summary>Replaces all that the session's stream holds, in one atomic step: such as a history by
        /// its summary. Interceptors do not see it. Listeners that had not got to what went get an
        /// <see cref="AgxGapException"/>, and then the new events.</summary>
        /// <returns>How many went.</returns>
        public long Replace(IEnumerable<AgxNewEvent> events)
        {
            Behind();
            return ReplaceNow(events);
        }

        long ReplaceNow(IEnumerable<AgxNewEvent> events)
        {
            ulong removed;
            using (PackedEvents packed = new PackedEvents(events))
            using (Use use = handle.Enter()) Done(agxnative.agxb_history_replace(use.Number, packed.Bytes, packed.Size, (ulong)packed.Count, out removed));
            return (long)removed;
        }

        /// <summary>Drops all that the session's stream holds. The session stays live, if it is.</summary>
        /// <returns>How many went.</returns>
        public long Drop()
        {
            Behind();
            return DropNow();
        }

        long DropNow()
        {
            ulong removed;
            using (Use use = handle.Enter()) Done(agxnative.agx_history_drop(use.Number, out removed));
            return (long)removed;
        }

        /// <summary>Deletes the session: its stream, its live flag and its conversation. A producer that
        /// has it live sees a cancel.</summary>
        /// <returns>Whether anything was there.</returns>
        public bool Delete()
        {
            Behind();
            return DeleteNow();
        }

        bool DeleteNow()
        {
            int status;
            using (Use use = handle.Enter()) status = agxnative.agx_history_delete(use.Number);
            if (status == (int)AgxStatus.None) return false;
            Done(status);
            return true;
        }

        /// <summary>Starts the session and opens a run in it, which ends it.</summary>
        public AgxRun BeginRun(AgxRunOptions? options = null)
        {
            AgxRunOptions given = options ?? new AgxRunOptions();
            AgxStartOptions start = given.Start ?? new AgxStartOptions();
            if (start.Detached) throw Text.Invalid("a run cannot be detached: nobody would notice a cancel");
            IntPtr run;
            using (Use use = handle.Enter()) Done(agxnative.agxb_run_begin(use.Number, Text.Milliseconds(given.Coalesce), given.CoalesceBytes,
                start.TakeOver ? 1 : 0, Text.Milliseconds(start.Lease), Text.Encode(start.Origin, "origin"),
                Text.Encode(given.Origin, "origin"), Text.Milliseconds(given.Grace), out run));
            return new AgxRun(this, new RunHandle(run));
        }

        /// <summary>One whole run: begins it, loads the conversation, calls the agent, saves the
        /// conversation, and ends the session, whatever happens. What the agent throws ends the session
        /// with an error event, and is thrown on.</summary>
        /// <exception cref="AgxCanceledException">The session was cancelled.</exception>
        public void Execute(Action<AgxRun> agent, AgxMessages? messages = null, AgxRunOptions? options = null)
        {
            if (agent == null) throw new ArgumentNullException("agent");
            using (AgxRun run = BeginRun(options))
            {
                try
                {
                    if (messages != null) messages.Load();
                    agent(run);
                    if (messages != null) messages.Save();
                }
                catch (Exception error)
                {
                    run.Abandon(error);
                    throw;
                }
                run.Finish();
            }
        }

        /// <summary>The same with an agent whose task is waited for.</summary>
        public void Execute(Func<AgxRun, Task> agent, AgxMessages? messages = null, AgxRunOptions? options = null)
        {
            if (agent == null) throw new ArgumentNullException("agent");
            Execute(run => agent(run).GetAwaiter().GetResult(), messages, options);
        }

        // What only looks may be given up, and is not to be waited for.
        int Waited(Func<IntPtr, long, int> wait, long milliseconds)
        {
            handle.Check();
            if (milliseconds != 0) return wait(handle.Number, milliseconds);
            using (Use use = handle.Enter()) return wait(use.Number, 0);
        }

        /// <summary>The conversation that is kept in the store beside the session. Empty until
        /// loaded.</summary>
        public AgxMessages OpenMessages()
        {
            IntPtr messages;
            using (Use use = handle.Enter()) Done(agxnative.agx_messages_open(use.Number, out messages));
            return new AgxMessages(new MessagesHandle(messages), client);
        }

        /// <summary>Closes the object. A session that it started and did not stop stays live until its
        /// lease runs out. What waits on it, or is queued and not begun, gets an
        /// <see cref="AgxClosedException"/>. A call that the store has not answered yet is not waited for: it
        /// is carried out, and who made it told; but an event that an interceptor would still have to be asked
        /// about is refused, also of a run. Only a <see cref="WaitFor"/> that looks into the store in another
        /// thread is.</summary>
        public void Dispose()
        {
            // Not closed: what calls under way, and runs, still write is not to come past them.
            lock (interceptors)
            {
                foreach (AgxInterceptor interceptor in interceptors) interceptor.Refuse();
            }
            handle.Dispose();
            Disposed();
        }

        partial void Disposed();
    }
}
