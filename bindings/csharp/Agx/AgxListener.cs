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

        // One call of Next at a time is in C, and has these.
        readonly object reading = new object();
        readonly Queue<Batch.Record> ready = new Queue<Batch.Record>();
        Batch? batch;
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

        /// <summary>What came and was not handed on; somebody else does that now.</summary>
        internal Batch.Record[] TakeAll()
        {
            lock (reading)
            {
                Batch.Record[] records = ready.ToArray();
                ready.Clear();
                return records;
            }
        }

        internal void HandOn(AgxEvent value)
        {
            position = value.Size <= LargestKept ? (object)value : value.Id;
        }

        /// <summary>Waits for the next event; null is the end. The thread waits.</summary>
        public AgxEvent? Next(CancellationToken cancellationToken = default(CancellationToken))
        {
            return Next(Timeout.InfiniteTimeSpan, cancellationToken);
        }

        /// <summary>Waits for the next event; null is the end.</summary>
        /// <exception cref="AgxTimeoutException">Nothing came within the timeout.</exception>
        public AgxEvent? Next(TimeSpan timeout, CancellationToken cancellationToken = default(CancellationToken))
        {
            AgxEvent? next;
            if (TryNext(timeout, out next, cancellationToken)) return next;
            throw AgxException.Of(AgxStatus.Timeout, "nothing came within the timeout");
        }

        /// <summary>As Next; false: nothing came within the timeout.</summary>
        public bool TryNext(TimeSpan timeout, out AgxEvent? next, CancellationToken cancellationToken = default(CancellationToken))
        {
            bool attached = false, came = false;
            next = null;
            TryNextAttached(timeout, cancellationToken, ref attached, ref came, ref next);
            if (attached) return came;
            lock (reading)
            {
                // The batch is there for as long as this is false, or the lock is held.
                if (closed) throw AgxException.Closed("listener");
                cancellationToken.ThrowIfCancellationRequested();
                if (TakeReady(out next)) return true;
                if (!cancellationToken.CanBeCanceled) return Fill(timeout, cancellationToken) && TakeReady(out next);
                using (cancellationToken.Register(Interrupt))
                {
                    return Fill(timeout, cancellationToken) && TakeReady(out next);
                }
            }
        }

        // For one that is served by the client's waiting thread, where there is one.
        partial void TryNextAttached(TimeSpan timeout, CancellationToken cancellationToken, ref bool attached, ref bool came, ref AgxEvent? next);

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
        bool Fill(TimeSpan timeout, CancellationToken cancellationToken)
        {
            if (batch == null) batch = new Batch();
            long whole = Text.Milliseconds(timeout);
            Stopwatch clock = Stopwatch.StartNew();
            for (;;)
            {
                long left = whole < 0 ? -1 : Math.Max(0, whole - clock.ElapsedMilliseconds);
                int status = agxnative.agxb_listen_batch(Number, left, MostEvents, MostBytes, batch.Number);
                if (status == 0) break;
                if (status == (int)AgxStatus.Timeout) return false;
                if (status == (int)AgxStatus.Interrupted)
                {
                    // One that came too late for the call before is not meant for this one.
                    cancellationToken.ThrowIfCancellationRequested();
                    continue;
                }
                Batch.Record outcome = default(Batch.Record);
                outcome.Kind = Batch.Outcome;
                outcome.Status = status;
                outcome.Message = Text.Read(agxnative.agx_last_error());
                outcome.EntryId = Text.Read(agxnative.agx_last_error_entry());
                ready.Enqueue(outcome);
                GC.KeepAlive(this);
                return true;
            }
            batch.Rewind();
            Batch.Record record;
            while (batch.Read(out record))
            {
                if (record.Kind != Batch.Event && record.Status == (int)AgxStatus.Interrupted) continue;
                ready.Enqueue(record);
            }
            GC.KeepAlive(this);
            return true;
        }

        /// <summary>Closes the listener. Whoever waits in it gets an
        /// <see cref="AgxClosedException"/>.</summary>
        public void Dispose()
        {
            closed = true;
            handle.Dispose();
            lock (reading)
            {
                ready.Clear();
                if (batch != null) batch.Dispose();
            }
        }
    }
}
