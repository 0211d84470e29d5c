using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>A consumer of a group. Consumers of a group share a session's events: each is given to one
    /// of them, and stays pending for it until it is acknowledged. <see cref="Process(Action{AgxEvent, long}, AgxProcessOptions?, CancellationToken)"/> is the whole of a
    /// robust consumer; the rest are its parts.</summary>
    public sealed partial class AgxGroup : IDisposable
    {
        const int Slice = 50;

        readonly AgxClient client;
        readonly GroupHandle handle;
        // One call of Read or Process at a time is in C.
        readonly object reading = new object();
        volatile bool processing;
        readonly object handlingGate = new object();
        bool handling; // a handler is called

        internal AgxGroup(AgxClient client, GroupHandle handle, string name)
        {
            this.client = client;
            this.handle = handle;
            Name = name;
            Consumer = Text.Read(agxnative.agx_group_consumer_name(handle.Number));
            Opened();
        }

        partial void Opened();

        /// <summary>The group's name.</summary>
        public string Name { get; }

        /// <summary>The consumer's name.</summary>
        public string Consumer { get; }

        void Done(int status)
        {
            AgxException? error = status == 0 ? null : AgxException.Last(status);
            GC.KeepAlive(this);
            GC.KeepAlive(client);
            if (error != null) throw error;
        }

        /// <summary>Takes events that are there, or else waits for the first. They are to be
        /// acknowledged. None: nothing came within the timeout, or, of
        /// <see cref="AgxGroupSource.PendingOnly"/>, nothing further is pending.</summary>
        /// <exception cref="AgxNotFoundException">There is no such group.</exception>
        /// <exception cref="AgxBusyException">The group is being processed by this object.</exception>
        public IReadOnlyList<AgxEvent> Read(TimeSpan timeout, AgxGroupSource source = AgxGroupSource.PendingFirst, int count = 100, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (count <= 0) throw Text.Invalid("count has to be 1 or more");
            long whole = Text.Milliseconds(timeout);
            Stopwatch clock = Stopwatch.StartNew();
            using (Batch batch = new Batch())
            {
                int status = Waiting(cancellationToken, group =>
                    agxnative.agxb_group_batch(group, (int)source, Left(whole, clock), (ulong)count, batch.Number));
                if (status == (int)AgxStatus.Timeout || status == (int)AgxStatus.Ended) return new AgxEvent[0];
                Done(status);
                return Events(batch);
            }
        }

        static long Left(long whole, Stopwatch clock)
        {
            return whole < 0 ? -1 : Math.Max(0, whole - clock.ElapsedMilliseconds);
        }

        // A call that waits, and is interrupted when the token is cancelled.
        int Waiting(CancellationToken cancellationToken, Func<IntPtr, int> call)
        {
            Enter(cancellationToken);
            try
            {
                using (cancellationToken.Register(Interrupt))
                {
                    for (;;)
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        int status;
                        using (Use use = handle.Enter()) status = call(use.Number);
                        // One that came too late for the call before is not meant for this one.
                        if (status != (int)AgxStatus.Interrupted) return status;
                    }
                }
            }
            finally
            {
                Monitor.Exit(reading);
                GC.KeepAlive(this);
            }
        }

        void Enter(CancellationToken cancellationToken)
        {
            do
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (processing) throw AgxException.Of(AgxStatus.Busy, "the group is being processed by this object");
                handle.Check();
            } while (!Monitor.TryEnter(reading, Slice));
        }

        void Interrupt()
        {
            agxnative.agx_group_interrupt(handle.Number);
        }

        static IReadOnlyList<AgxEvent> Events(Batch batch)
        {
            batch.Rewind();
            List<AgxEvent> events = new List<AgxEvent>();
            Batch.Record record;
            while (batch.Read(out record))
            {
                if (record.Value != null) events.Add(record.Value);
            }
            return events;
        }

        sealed class Target : Callbacks.Target
        {
            internal readonly AgxGroup Group;
            internal readonly Action<AgxEvent, long> Handler;
            internal readonly Action<AgxEvent, long, Exception>? OnFailure;
            readonly CancellationToken token;
            internal ExceptionDispatchInfo? Stop;
            internal long Calls;

            internal Target(AgxGroup group, Action<AgxEvent, long> handler, Action<AgxEvent, long, Exception>? onFailure, CancellationToken token)
            {
                this.token = token;
                Group = group;
                Handler = handler;
                OnFailure = onFailure;
            }

            internal override int Call(IntPtr handle, Batch.Record record, long attempt)
            {
                // What it still holds comes again, as if it had not been given to it.
                if (Stop != null) return (int)AgxStatus.Interrupted;
                ++Calls;
                if (record.Value == null) return (int)AgxStatus.Failed;
                if (!Group.BeginHandling()) return (int)AgxStatus.Interrupted;
                try
                {
                    Handler(record.Value, attempt);
                    return 0;
                }
                catch (OperationCanceledException) when (token.IsCancellationRequested)
                {
                    return (int)AgxStatus.Interrupted;
                }
                catch (Exception error)
                {
                    Fail(handle, record.Value, attempt, error);
                    return (int)AgxStatus.Failed;
                }
                finally
                {
                    Group.EndHandling();
                }
            }

            void Fail(IntPtr handle, AgxEvent value, long attempt, Exception error)
            {
                try
                {
                    if (OnFailure != null) OnFailure(value, attempt, error);
                }
                catch (Exception fatal)
                {
                    Stop = ExceptionDispatchInfo.Capture(fatal);
                    agxnative.agx_group_interrupt(handle);
                }
                string reason = error.Message.Length > 0 ? error.Message : error.GetType().Name;
                agxnative.agx_group_fail_reason(handle, Text.Lossy(reason));
            }
        }

        /// <summary>Hands the group's events to a handler, in this thread: first what is pending for this
        /// consumer, then new ones and those that other consumers have left. An event whose handler returns
        /// is acknowledged; one whose handler throws is tried again after a pause, and after so many
        /// attempts becomes a dead letter, with the exception's message for a reason. So an event is
        /// handled at least once, or becomes a dead letter, whatever dies. It goes on when the store is
        /// lost and comes back.
        ///
        /// A token that is cancelled ends it once it has handled what it holds, by an
        /// <see cref="OperationCanceledException"/>. The handler is still called for that; one that throws
        /// an <see cref="OperationCanceledException"/> itself then has not failed: its event comes again,
        /// with the attempts that it had. What <see cref="AgxProcessOptions.OnFailure"/> throws ends it at
        /// once, and what it holds comes again.</summary>
        /// <param name="handler">Gets the event, and how often it was given to a handler, from 1 on. It may
        /// use the group's other methods, but not Read or Dispose.</param>
        /// <param name="options">When it is done, and what becomes of failures.</param>
        /// <param name="cancellationToken">Ends it.</param>
        /// <returns><see cref="AgxStatus.Limit"/> or <see cref="AgxStatus.Timeout"/>: why it is
        /// done.</returns>
        /// <exception cref="AgxBusyException">The group is being processed or read by this
        /// object.</exception>
        public AgxStatus Process(Action<AgxEvent, long> handler, AgxProcessOptions? options = null, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (handler == null) throw new ArgumentNullException("handler");
            AgxProcessOptions given = options ?? new AgxProcessOptions();
            Target target = new Target(this, (value, attempt) => Within(handler, value, attempt), given.Failed, cancellationToken);
            long token = Callbacks.Register(target);
            try
            {
                int status = Waiting(cancellationToken, group => ProcessNow(group, target, given, token));
                if (target.Stop != null) target.Stop.Throw();
                if (status == (int)AgxStatus.Timeout || status == (int)AgxStatus.Limit) return (AgxStatus)status;
                Done(status);
                return AgxStatus.Ok;
            }
            finally
            {
                Callbacks.Forget(token);
                GC.KeepAlive(target);
            }
        }

        /// <summary>The same with a handler whose task is waited for.</summary>
        public AgxStatus Process(Func<AgxEvent, long, Task> handler, AgxProcessOptions? options = null, CancellationToken cancellationToken = default(CancellationToken))
        {
            if (handler == null) throw new ArgumentNullException("handler");
            return Process((value, attempt) => handler(value, attempt).GetAwaiter().GetResult(), options, cancellationToken);
        }

        int ProcessNow(IntPtr group, Target target, AgxProcessOptions given, long token)
        {
            long limit = given.Limit == 0 ? 0 : Math.Max(1, given.Limit - target.Calls);
            processing = true;
            try
            {
                int status = agxnative.agxb_group_process(group, given.MaxRetries, Text.Milliseconds(given.ClaimIdle),
                    given.Count, Text.Milliseconds(given.Backoff), Text.Milliseconds(given.BackoffMax),
                    Text.Milliseconds(given.Outage), Text.Milliseconds(given.Timeout), limit, token);
                // The interrupt was its own.
                return target.Stop != null && status == (int)AgxStatus.Interrupted ? (int)AgxStatus.Limit : status;
            }
            finally
            {
                processing = false;
            }
        }

        // Closing waits for it; false: none is called any more.
        bool BeginHandling()
        {
            lock (handlingGate)
            {
                handling = !handle.IsDisposed;
                return handling;
            }
        }

        void EndHandling()
        {
            lock (handlingGate)
            {
                handling = false;
                Monitor.PulseAll(handlingGate);
            }
        }

        // Which groups' handlers this is a call in: closing one of these would wait for itself.
        sealed class Frame
        {
            internal readonly AgxGroup Group;
            internal readonly Frame? Outer;
            internal volatile bool Over;

            internal Frame(AgxGroup group, Frame? outer)
            {
                Group = group;
                Outer = outer;
            }
        }

        static readonly AsyncLocal<Frame?> frames = new AsyncLocal<Frame?>();

        void Within(Action<AgxEvent, long> handler, AgxEvent value, long attempt)
        {
            Frame? outer = frames.Value;
            Frame frame = new Frame(this, outer);
            frames.Value = frame;
            try
            {
                handler(value, attempt);
            }
            finally
            {
                frame.Over = true;
                frames.Value = outer;
            }
        }

        bool IsWithin()
        {
            for (Frame? frame = frames.Value; frame != null; frame = frame.Outer)
            {
                if (frame.Group == this && !frame.Over) return true;
            }
            return false;
        }

        /// <summary>Acknowledges an event, whoever it is pending for. May be repeated.</summary>
        /// <returns>Whether it was pending.</returns>
        public bool Ack(string id)
        {
            return Ack(new[] { id }) > 0;
        }

        /// <summary>The same of many.</summary>
        /// <returns>How many of them were pending.</returns>
        public long Ack(IEnumerable<string> ids)
        {
            ulong count, done;
            byte[] packed = Text.PackIds(ids, out count);
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_ack(use.Number, packed, (ulong)packed.Length, count, out done));
            return (long)done;
        }

        /// <summary>The same of what was read.</summary>
        /// <returns>How many of them were pending.</returns>
        public long Ack(IEnumerable<AgxEvent> events)
        {
            if (events == null) throw new ArgumentNullException("events");
            List<string> ids = new List<string>();
            foreach (AgxEvent one in events) ids.Add(one.Id);
            return Ack(ids);
        }

        /// <summary>Takes events over from whomever they are pending for, if they have been idle for so
        /// long.</summary>
        /// <returns>Those that came along.</returns>
        public IReadOnlyList<AgxEvent> Claim(TimeSpan minIdle, IEnumerable<string> ids)
        {
            ulong count;
            byte[] packed = Text.PackIds(ids, out count);
            using (Batch batch = new Batch())
            {
                using (Use use = handle.Enter()) Done(agxnative.agxb_group_claim(use.Number, Text.Milliseconds(minIdle), packed, (ulong)packed.Length, count, batch.Number));
                return Events(batch);
            }
        }

        /// <summary>The same of whatever has been idle for so long.</summary>
        /// <param name="minIdle">For how long.</param>
        /// <param name="cursor">null at first, then the last result's.</param>
        /// <param name="count">How many are looked at; there may be none among them.</param>
        public AgxClaim AutoClaim(TimeSpan minIdle, string? cursor = null, int count = 100)
        {
            if (count <= 0) throw Text.Invalid("count has to be 1 or more");
            byte[] given = Text.Encode(cursor, "cursor") ?? new byte[1];
            if (given.Length > AgxSession.IdSize) throw Text.Invalid("the cursor is none");
            byte[] room = new byte[AgxSession.IdSize];
            Buffer.BlockCopy(given, 0, room, 0, given.Length);
            using (Batch batch = new Batch())
            {
                using (Use use = handle.Enter()) Done(agxnative.agxb_group_autoclaim(use.Number, Text.Milliseconds(minIdle), room, (ulong)count, batch.Number));
                return new AgxClaim(Events(batch), Text.Read(room, 0));
            }
        }

        /// <summary>How much is pending in the group.</summary>
        public AgxPending Pending()
        {
            byte[] ids = new byte[2 * AgxSession.IdSize];
            long[] numbers = new long[2];
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_pending(use.Number, ids, numbers));
            return new AgxPending(Text.Read(ids, 0), Text.Read(ids, AgxSession.IdSize), numbers);
        }

        /// <summary>Events that are pending, in the order of their ids.</summary>
        public IReadOnlyList<AgxPendingEvent> PendingEvents(AgxPendingOptions? options = null)
        {
            AgxPendingOptions given = options ?? new AgxPendingOptions();
            if (given.Count <= 0) throw Text.Invalid("Count has to be 1 or more");
            byte[]? consumer = Text.Encode(given.Consumer, "consumer");
            byte[]? after = Text.Encode(given.After, "after");
            List<AgxPendingEvent> events = new List<AgxPendingEvent>();
            using (Batch batch = new Batch())
            using (Use use = handle.Enter())
            {
                while (events.Count < given.Count)
                {
                    ulong wanted = (ulong)Math.Min(1000, given.Count - events.Count);
                    Done(agxnative.agxb_group_pending_batch(use.Number, consumer, Text.Milliseconds(given.MinIdle), after, wanted, batch.Number));
                    ulong came = 0;
                    batch.Rewind();
                    Batch.Record record;
                    for (; batch.Read(out record); ++came) events.Add(new AgxPendingEvent(record));
                    if (came < wanted) break;
                    after = Text.Encode(events[events.Count - 1].Id, "id");
                }
            }
            return events;
        }

        /// <summary>The consumers of the group.</summary>
        public IReadOnlyList<AgxConsumerInfo> Consumers()
        {
            List<AgxConsumerInfo> consumers = new List<AgxConsumerInfo>();
            using (Batch batch = new Batch())
            {
                using (Use use = handle.Enter()) Done(agxnative.agxb_group_consumers(use.Number, batch.Number));
                batch.Rewind();
                Batch.Record record;
                while (batch.Read(out record)) consumers.Add(new AgxConsumerInfo(record));
            }
            return consumers;
        }

        /// <summary>How the group is doing.</summary>
        public AgxHealth Health()
        {
            byte[] ids = new byte[AgxSession.IdSize];
            long[] numbers = new long[6];
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_health(use.Number, ids, numbers));
            return new AgxHealth(Text.Read(ids, 0), numbers);
        }

        /// <summary>Deletes a consumer; null: this one. What was pending for it comes to nobody again; to
        /// keep it, claim it first.</summary>
        /// <returns>How many events these were.</returns>
        public long DeleteConsumer(string? consumer = null)
        {
            ulong pending;
            using (Use use = handle.Enter()) Done(agxnative.agx_group_delete_consumer(use.Number, Text.Encode(consumer, "consumer"), out pending));
            return (long)pending;
        }

        /// <summary>Deletes the group, with what is pending in it. The object stays open.</summary>
        /// <returns>Whether there was one.</returns>
        public bool Delete()
        {
            int status;
            using (Use use = handle.Enter()) status = agxnative.agx_group_delete(use.Number);
            if (status == (int)AgxStatus.None) return false;
            Done(status);
            return true;
        }

        /// <summary>The dead letters, in the order in which they died.</summary>
        /// <param name="after">The id of a dead letter: only those after it; null: from the first.</param>
        /// <param name="count">How many at most.</param>
        public IReadOnlyList<AgxDeadLetter> DeadLetters(string? after = null, int count = 100)
        {
            if (count <= 0) throw Text.Invalid("count has to be 1 or more");
            List<AgxDeadLetter> letters = new List<AgxDeadLetter>();
            using (Batch batch = new Batch())
            {
                int status;
                using (Use use = handle.Enter()) status = agxnative.agxb_group_dead_letters(use.Number, Text.Encode(after, "after"), (ulong)count, batch.Number);
                if (status == (int)AgxStatus.Ended) return letters;
                Done(status);
                batch.Rewind();
                Batch.Record value, letter;
                while (batch.Read(out value) && batch.Read(out letter))
                {
                    if (value.Value != null) letters.Add(new AgxDeadLetter(value.Value, letter));
                }
            }
            return letters;
        }

        /// <summary>Puts dead letters back into the stream, as new events, for all groups of it.</summary>
        /// <returns>How many there were.</returns>
        public long Replay(IEnumerable<string> ids)
        {
            ulong count, done;
            byte[] packed = Text.PackIds(ids, out count);
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_replay(use.Number, packed, (ulong)packed.Length, count, out done));
            return (long)done;
        }

        /// <summary>Deletes dead letters.</summary>
        /// <returns>How many there were.</returns>
        public long DeleteDeadLetters(IEnumerable<string> ids)
        {
            ulong count, done;
            byte[] packed = Text.PackIds(ids, out count);
            using (Use use = handle.Enter()) Done(agxnative.agxb_group_delete_dead_letters(use.Number, packed, (ulong)packed.Length, count, out done));
            return (long)done;
        }

        /// <summary>Closes the object. What is pending for its consumer stays so. A Read that waits throws an
        /// <see cref="AgxClosedException"/>; a Process does once its handler has returned, which is waited
        /// for. A call that the store has not answered yet is carried out and not waited for. If the
        /// consumer's name was made up, and no call is under way, this takes a command, by which the consumer
        /// goes.</summary>
        /// <exception cref="AgxException">A handler of the group's own Process calls it: cancel its token
        /// there, and close the group behind it.</exception>
        public void Dispose()
        {
            if (IsWithin()) throw AgxException.Of(AgxStatus.BadState, "a handler cannot close the group that calls it: cancel its token, and close the group behind Process");
            handle.Dispose();
            lock (handlingGate)
            {
                while (handling) Monitor.Wait(handlingGate);
            }
        }
    }
}
