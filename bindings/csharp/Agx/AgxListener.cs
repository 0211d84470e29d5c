using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>A cursor over a session's events: what is there, then what comes.
    ///
    /// null is the end: of the session, or of what <see cref="AgxListenOptions.Limit"/> allows. After
    /// an <see cref="AgxGapException"/>, <see cref="AgxAbsentException"/>,
    /// <see cref="AgxSilentException"/>, <see cref="AgxGoneException"/> or an
    /// <see cref="AgxUnavailableException"/> the listener can be asked again and goes on.</summary>
    public sealed partial class AgxListener : IDisposable
    {
        const int MostEvents = 256;
        const int MostBytes = 1 << 20;
        const int LargestKept = 1024;

        static long tokens;

        readonly AgxClient client;
        readonly ListenerHandle handle;
        readonly long token;

        // Of what follows. Not held by a thread that waits in C, so that another can end in time.
        readonly object gate = new object();
        readonly Queue<Batch.Record> ready = new Queue<Batch.Record>();
        Batch? batch;
        bool receiving; // a thread is in C, and has the batch
        bool ended;
        volatile bool closed;
        // An id; or the last event that was handed on, unless it is too large to be kept for that.
        volatile object position;

        internal AgxListener(AgxClient client, ListenerHandle handle, long token)
        {
            this.client = client;
            this.handle = handle;
            this.token = token;
            byte[] room = new byte[AgxSession.IdSize];
            AgxException.Check(agxnative.agx_listener_position(handle.Number, room));
            position = Text.Read(room, 0);
        }

        internal static long NextToken()
        {
            return Interlocked.Increment(ref tokens);
        }

        internal IntPtr Number
        {
            get { return handle.Number; }
        }

        internal long Token
        {
            get { return token; }
        }

        internal AgxClient Client
        {
            get { return client; }
        }

        /// <summary>The id of the last event that was handed on, or where the listener began: what to give
        /// as <see cref="AgxListenOptions.After"/> to go on behind it. "0-0" is the beginning.</summary>
        public string Position
        {
            get
            {
                object at = position;
                AgxEvent? last = at as AgxEvent;
                return last != null ? last.Id : (string)at;
            }
        }

        /// <summary>What became of the producer, when the listener last told that it is gone.</summary>
        public AgxGoneReason GoneReason
        {
            get
            {
                int reason = agxnative.agx_listener_gone(Number);
                GC.KeepAlive(this);
                return (AgxGoneReason)reason;
            }
        }

        internal ListenerHandle Handle
        {
            get { return handle; }
        }

        /// <summary>Takes it from the client's waiting thread, unless somebody waits by it.</summary>
        internal void LeaveMux()
        {
            LeaveQueue();
        }

        /// <summary>What came and was not handed on; somebody else does that now.</summary>
        internal Batch.Record[] TakeAll()
        {
            lock (gate)
            {
                Batch.Record[] records = ready.ToArray();
                ready.Clear();
                TakeQueued(ref records);
                return records;
            }
        }

        internal void HandOn(AgxEvent value)
        {
            position = value.Size <= LargestKept ? (object)value : value.Id;
        }

        /// <summary>Waits for the next event; null is the end. The thread waits; without a token it receives
        /// for itself, which is the fastest way, if nobody has waited with one, or otherwise,
        /// before.</summary>
        /// <remarks>As <see cref="TryNext"/> says.</remarks>
        public AgxEvent? Next(CancellationToken cancellationToken = default(CancellationToken))
        {
            return Next(Timeout.InfiniteTimeSpan, cancellationToken);
        }

        /// <summary>Waits for the next event; null is the end.</summary>
        /// <remarks>As <see cref="TryNext"/> says.</remarks>
        /// <exception cref="AgxTimeoutException">Nothing came within the timeout.</exception>
        public AgxEvent? Next(TimeSpan timeout, CancellationToken cancellationToken = default(CancellationToken))
        {
            AgxEvent? next;
            if (TryNext(timeout, out next, cancellationToken)) return next;
            throw AgxException.Of(AgxStatus.Timeout, "nothing came within the timeout");
        }

        /// <summary>As Next; false: nothing came within the timeout.</summary>
        /// <remarks>Any number of threads may wait, each with a time and a token of its own; an event goes to
        /// one of them.
        ///
        /// On .NET the client's own thread receives for a wait that a time or a token may end, as it does for
        /// tasks, so that it ends by them whatever the store does; and from then on for all waits of this
        /// listener, each of which costs a switch of threads more. A timeout of zero looks what there is,
        /// and takes as long as the store to answer unless that thread receives already.
        ///
        /// On .NET Standard, and so on Mono, the thread that waits receives, and a timeout does not count what
        /// reconnecting takes: while the store cannot be reached an <see cref="AgxUnavailableException"/> comes
        /// after the URL's reconnect_timeout; where it holds a connection and does not answer, up to
        /// command_timeout and connect_timeout later. A token ends the former at once, the latter after
        /// command_timeout.</remarks>
        public bool TryNext(TimeSpan timeout, out AgxEvent? next, CancellationToken cancellationToken = default(CancellationToken))
        {
            lock (gate)
            {
                // Most often it came with another.
                if (ready.Count > 0 && IsMyTurn(cancellationToken)) return TakeReady(out next);
            }
            long whole = Text.Milliseconds(timeout);
            Stopwatch clock = Stopwatch.StartNew();
            bool queued = false, came = false;
            next = null;
            // Taken back outside of the lock, which what it calls may wait for.
            CancellationTokenRegistration canceled = default(CancellationTokenRegistration);
            try
            {
                lock (gate)
                {
                    if (receiving) canceled = cancellationToken.Register(WakeAll);
                    if (!AwaitTurn(whole, clock, cancellationToken)) return false;
                    if (TakeReady(out next)) return true;
                    bool bounded = whole > 0 || whole < 0 && cancellationToken.CanBeCanceled;
                    UseQueue(bounded, ref queued);
                    if (!queued) return Receive(whole, clock, cancellationToken) && TakeReady(out next);
                }
            }
            finally
            {
                canceled.Dispose();
            }
            TryNextQueued(Left(whole, clock), cancellationToken, ref came, ref next);
            return came;
        }

        // Of the client's waiting thread, where there is one.
        partial void UseQueue(bool bounded, ref bool queued);
        partial void LeaveQueue();
        partial void TakeQueued(ref Batch.Record[] records);
        partial void TryNextQueued(long left, CancellationToken cancellationToken, ref bool came, ref AgxEvent? next);

        static long Left(long whole, Stopwatch clock)
        {
            return whole < 0 ? -1 : Math.Max(0, whole - clock.ElapsedMilliseconds);
        }

        // Until no other thread is in C. false: one is for longer than there is time.
        bool AwaitTurn(long whole, Stopwatch clock, CancellationToken cancellationToken)
        {
            for (;;)
            {
                if (IsMyTurn(cancellationToken)) return true;
                long left = Left(whole, clock);
                if (left == 0) return false;
                Monitor.Wait(gate, (int)Math.Min(left, int.MaxValue));
            }
        }

        bool IsMyTurn(CancellationToken cancellationToken)
        {
            if (closed) throw AgxException.Closed("listener");
            cancellationToken.ThrowIfCancellationRequested();
            return !receiving;
        }

        void WakeAll()
        {
            lock (gate) Monitor.PulseAll(gate);
        }

        void Interrupt()
        {
            agxnative.agx_listener_interrupt(Number);
        }

        // What came before. Throws what an outcome stands for.
        bool TakeReady(out AgxEvent? next)
        {
            next = null;
            if (ready.Count == 0) return ended;
            Batch.Record record = ready.Dequeue();
            if (record.Kind == Batch.Event && record.Value != null)
            {
                next = record.Value;
                HandOn(next);
                return true;
            }
            if (IsEnd(record.Status))
            {
                ended = true;
                return true;
            }
            throw record.Error();
        }

        internal static bool IsEnd(int status)
        {
            return status == (int)AgxStatus.Ended || status == (int)AgxStatus.Limit;
        }

        // false: nothing came.
        bool Receive(long whole, Stopwatch clock, CancellationToken cancellationToken)
        {
            if (batch == null) batch = new Batch();
            Batch.Record outcome = default(Batch.Record);
            outcome.Kind = Batch.Outcome;
            receiving = true;
            Monitor.Exit(gate);
            try
            {
                using (cancellationToken.Register(Interrupt))
                {
                    do
                    {
                        // One that came too late for the call before is not meant for this one.
                        cancellationToken.ThrowIfCancellationRequested();
                        using (Use use = handle.Enter())
                        {
                            outcome.Status = agxnative.agxb_listen_batch(use.Number, Left(whole, clock), MostEvents, MostBytes, batch.Number);
                        }
                    }
                    while (outcome.Status == (int)AgxStatus.Interrupted);
                    if (outcome.Status != 0)
                    {
                        outcome.Say(Text.Read(agxnative.agx_last_error()), Text.Read(agxnative.agx_last_error_entry()));
                    }
                }
            }
            finally
            {
                Monitor.Enter(gate);
                receiving = false;
                Monitor.PulseAll(gate);
                if (closed) Clear();
                GC.KeepAlive(this);
            }
            if (closed) throw AgxException.Closed("listener");
            if (outcome.Status == (int)AgxStatus.Timeout) return false;
            if (outcome.Status != 0)
            {
                ready.Enqueue(outcome);
                return true;
            }
            batch.Rewind();
            Batch.Record record;
            while (batch.Read(out record))
            {
                if (record.Kind != Batch.Event && record.Status == (int)AgxStatus.Interrupted) continue;
                ready.Enqueue(record);
            }
            return true;
        }

        /// <summary>Closes the listener. Whoever waits in it gets an <see cref="AgxClosedException"/>; a thread
        /// that receives for itself does when the store has answered, for which this does not wait.</summary>
        public void Dispose()
        {
            closed = true;
            WakeAll();
            handle.Dispose();
            lock (gate)
            {
                if (!receiving) Clear();
            }
        }

        // Once it is closed, by whoever is the last to leave.
        void Clear()
        {
            ready.Clear();
            if (batch != null) batch.Dispose();
        }
    }
}
