using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>The one thread of a client that waits for all of its listeners. It knows their queues
    /// and not them, so that one that nobody has any more is closed.</summary>
    internal sealed class Dispatcher
    {
        const int MostEvents = 1024;
        const int MostBytes = 1 << 20;
        const int PauseAfterFailure = 50;

        readonly object gate = new();
        readonly Dictionary<long, ListenerQueue> queues = new();
        readonly List<Batch.Record> run = new(); // the thread's own
        readonly IntPtr client;
        IntPtr mux;
        Thread? thread;
        long additions;
        bool closed;

        internal Dispatcher(IntPtr client)
        {
            this.client = client;
        }

        internal void Add(ListenerQueue queue)
        {
            lock (gate)
            {
                if (closed) throw AgxException.Closed("client");
                if (thread == null)
                {
                    AgxException.Check(agxnative.agx_mux_open(client, out mux));
                    thread = new Thread(Work) { IsBackground = true, Name = "agx listeners" };
                    thread.Start();
                }
                queues[queue.Token] = queue;
            }
        }

        internal void Forget(long token)
        {
            lock (gate) queues.Remove(token);
        }

        internal int Join(IntPtr listener)
        {
            int status = agxnative.agx_mux_add(mux, listener);
            if (status != 0) return status;
            lock (gate)
            {
                ++additions;
                Monitor.PulseAll(gate);
            }
            return 0;
        }

        internal void Leave(IntPtr listener)
        {
            // One that was closed has left.
            agxnative.agx_mux_remove(mux, listener);
        }

        void Work()
        {
            string ended = "client";
            try
            {
                using var batch = new Batch();
                while (Step(batch)) { }
            }
            catch (Exception error) when (error is OutOfMemoryException or AgxException)
            {
                // What was on its way is lost, so that nobody can go on as if it were not.
                ended = "listener, for want of memory,";
            }
            ListenerQueue[] all;
            lock (gate)
            {
                closed = true;
                all = new ListenerQueue[queues.Count];
                queues.Values.CopyTo(all, 0);
                queues.Clear();
            }
            agxnative.agx_mux_close(mux);
            foreach (ListenerQueue queue in all) queue.Close(ended);
        }

        bool Step(Batch batch)
        {
            long seen;
            lock (gate)
            {
                if (closed) return false;
                seen = additions;
            }
            int status = agxnative.agxb_mux_batch(mux, -1, MostEvents, MostBytes, batch.Number);
            switch (status)
            {
                case 0:
                    batch.Rewind();
                    while (batch.Read(out Batch.Record record))
                    {
                        if (run.Count > 0 && (record.Token != run[0].Token || record.Kind == Batch.MuxOutcome)) Deliver();
                        if (record.Kind == Batch.MuxOutcome) Outcome(record);
                        else run.Add(record);
                    }
                    Deliver();
                    return true;
                case (int)AgxStatus.Ended:
                    // Nothing can come before a listener does.
                    lock (gate)
                    {
                        while (!closed && additions == seen) Monitor.Wait(gate);
                    }
                    return true;
                case (int)AgxStatus.Closed:
                    return false;
                case (int)AgxStatus.Interrupted:
                case (int)AgxStatus.Timeout:
                    return true;
                default:
                    Fail(status, Text.Read(agxnative.agx_last_error()));
                    return true;
            }
        }

        // What came for one listener, at once: its reader is disturbed once.
        void Deliver()
        {
            if (run.Count == 0) return;
            ListenerQueue? queue;
            lock (gate) queues.TryGetValue(run[0].Token, out queue);
            queue?.Deliver(run);
            run.Clear();
        }

        void Outcome(Batch.Record record)
        {
            if (record.Status < 0 && record.Status != (int)AgxStatus.Closed) Fail(record.Status, record.Message);
        }

        // The store cannot be reached: whoever waits is told, and may go on waiting.
        void Fail(int status, string message)
        {
            ListenerQueue[] all;
            lock (gate)
            {
                all = new ListenerQueue[queues.Count];
                queues.Values.CopyTo(all, 0);
            }
            foreach (ListenerQueue queue in all) queue.Fail(status, message);
            lock (gate)
            {
                if (!closed) Monitor.Wait(gate, PauseAfterFailure);
            }
        }

        /// <summary>After the client was closed.</summary>
        internal void Close()
        {
            lock (gate)
            {
                closed = true;
                Monitor.PulseAll(gate);
                if (thread == null) return;
            }
            agxnative.agx_mux_interrupt(mux);
            if (thread != Thread.CurrentThread) thread.Join();
        }
    }

    /// <summary>What came for a listener and was not asked for yet, or who asks for what did not come
    /// yet. When there is much of the former, the listener leaves the mux until it was taken.</summary>
    internal sealed class ListenerQueue
    {
        // A few of the batches that the store is read in, so that coming and going is rare.
        const int MostEvents = 4096;
        const long MostBytes = 1 << 20;

        sealed class Waiter : Job<AgxEvent?>
        {
            // Keeps the listener for as long as somebody waits.
            internal AgxListener? Owner { get; private set; }

            internal Waiter(AgxListener owner, CancellationToken token) : base(token)
            {
                Owner = owner;
            }

            protected override void Canceled() => Owner = null;
        }

        readonly object gate = new();
        readonly Dispatcher dispatcher;
        readonly IntPtr listener;
        readonly Queue<Batch.Record> records = new();
        readonly Queue<Waiter> waiters = new();
        long bytes;
        bool joined;
        bool told; // an outcome: it waits again when somebody asks for what comes behind it
        bool finished; // nothing further will come
        string? closed;

        internal ListenerQueue(Dispatcher dispatcher, IntPtr listener, long token, Batch.Record[] before, bool ended)
        {
            this.dispatcher = dispatcher;
            this.listener = listener;
            Token = token;
            finished = ended;
            foreach (Batch.Record record in before) Keep(record);
            dispatcher.Add(this);
            if (finished) return;
            int status = dispatcher.Join(listener);
            joined = status == 0;
            if (joined) return;
            AgxException error = AgxException.Last(status);
            dispatcher.Forget(token);
            throw error;
        }

        internal long Token { get; }

        void Keep(Batch.Record record)
        {
            records.Enqueue(record);
            bytes += Size(record);
            if (IsEnd(record)) finished = true;
        }

        static long Size(Batch.Record record)
        {
            return 64 + (record.Value?.Size ?? 0);
        }

        static bool IsEnd(Batch.Record record)
        {
            return record.Kind != Batch.Event && AgxListener.IsEnd(record.Status);
        }

        static bool IsOfNow(Batch.Record record)
        {
            return record.Kind != Batch.Event && record.Status is (int)AgxStatus.Silent or (int)AgxStatus.Absent;
        }

        internal ValueTask<AgxEvent?> Next(AgxListener owner, CancellationToken cancellationToken)
        {
            if (cancellationToken.IsCancellationRequested) return ValueTask.FromCanceled<AgxEvent?>(cancellationToken);
            lock (gate)
            {
                if (closed != null) return ValueTask.FromException<AgxEvent?>(AgxException.Closed(closed));
                bool any = records.TryDequeue(out Batch.Record record);
                if (any) bytes -= Size(record);
                // Half: so that it does not come and go with each event.
                bool wanted = told ? !any : records.Count <= MostEvents / 2 && bytes <= MostBytes / 2;
                if (wanted && Join() is AgxException error && !any) return ValueTask.FromException<AgxEvent?>(error);
                if (any) return HandOn(owner, record);
                if (finished) return new ValueTask<AgxEvent?>((AgxEvent?)null);
                // Those that were cancelled, if nothing came since.
                HasWaiter();
                var waiter = new Waiter(owner, cancellationToken);
                waiters.Enqueue(waiter);
                return new ValueTask<AgxEvent?>(waiter.Task);
            }
        }

        AgxException? Join()
        {
            if (joined || finished) return null;
            int status = dispatcher.Join(listener);
            joined = status == 0;
            if (!joined) return AgxException.Last(status);
            told = false;
            return null;
        }

        static ValueTask<AgxEvent?> HandOn(AgxListener owner, Batch.Record record)
        {
            if (record.Value != null)
            {
                owner.HandOn(record.Value);
                return new ValueTask<AgxEvent?>(record.Value);
            }
            if (IsEnd(record)) return new ValueTask<AgxEvent?>((AgxEvent?)null);
            return ValueTask.FromException<AgxEvent?>(record.Error());
        }

        internal void Deliver(List<Batch.Record> run)
        {
            lock (gate)
            {
                if (closed != null) return;
                foreach (Batch.Record record in run)
                {
                    if (IsEnd(record)) finished = true;
                    else if (record.Value == null) told = true;
                    Waiter? waiter = waiters.Count == 0 ? null : NextWaiter();
                    // That nothing comes may not be true any more when somebody asks: it is told then.
                    if (waiter == null && IsOfNow(record)) continue;
                    if (waiter == null) Keep(record);
                    else Complete(waiter, record);
                }
                // The end is everybody's.
                while (finished && records.Count == 0 && NextWaiter() is Waiter other) other.SetResult(null);
                if (joined && (finished || told || records.Count >= MostEvents || bytes >= MostBytes))
                {
                    dispatcher.Leave(listener);
                    joined = false;
                }
                if (!told || !HasWaiter() || Join() is not AgxException error) return;
                while (NextWaiter() is Waiter other) other.SetException(AgxException.Of(error.Status, error.Message));
            }
        }

        bool HasWaiter()
        {
            while (waiters.TryPeek(out Waiter? first))
            {
                if (!first.Task.IsCompleted) return true;
                waiters.Dequeue();
            }
            return false;
        }

        Waiter? NextWaiter()
        {
            while (waiters.TryDequeue(out Waiter? waiter))
            {
                if (waiter.Take()) return waiter;
            }
            return null;
        }

        static void Complete(Waiter waiter, Batch.Record record)
        {
            if (record.Value != null)
            {
                waiter.Owner?.HandOn(record.Value);
                waiter.SetResult(record.Value);
            }
            else if (IsEnd(record))
            {
                waiter.SetResult(null);
            }
            else
            {
                waiter.SetException(record.Error());
            }
        }

        internal void Fail(int status, string message)
        {
            lock (gate)
            {
                while (NextWaiter() is Waiter waiter) waiter.SetException(AgxException.Of((AgxStatus)status, message));
            }
        }

        internal void Close(string what)
        {
            lock (gate)
            {
                closed ??= what;
                records.Clear();
                while (NextWaiter() is Waiter waiter) waiter.SetException(AgxException.Closed(closed));
            }
            dispatcher.Forget(Token);
        }
    }
}
