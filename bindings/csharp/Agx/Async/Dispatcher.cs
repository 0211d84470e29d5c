using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>The one thread of a client that waits for all of its listeners. It knows their queues
    /// and not them, so that one that nobody has any more is closed.
    ///
    /// Of those who await an event one at a time goes on in the thread that received it, as to wake
    /// another costs about as much as the way from the store. It may block there: whenever such a thread
    /// is lent, another takes its turn to receive.</summary>
    internal sealed class Dispatcher
    {
        const int MostEvents = 1024;
        const int MostBytes = 1 << 20;
        const int PauseAfterFailure = 50;
        const int MostLent = 16;
        const int MostSpare = 2;

        static readonly TimeSpan Idle = TimeSpan.FromSeconds(10);

        readonly object gate = new();
        readonly Dictionary<long, ListenerQueue> queues = new();
        readonly IntPtr client;
        IntPtr mux;
        bool begun;
        bool closed;
        long additions;
        long steps; // that were begun

        readonly object turns = new();
        Thread? receiver; // whose turn it is
        bool ended;
        int spare; // threads that wait for their turn
        int lent;

        // Of the thread whose turn it is.
        readonly List<Batch.Record> run = new();
        Batch? batch;
        ListenerQueue.Waiter? reader;

        volatile ListenerQueue.Waiter? favoured;

        internal Dispatcher(IntPtr client)
        {
            this.client = client;
        }

        internal void Add(ListenerQueue queue)
        {
            lock (gate)
            {
                if (closed) throw AgxException.Closed("client");
                if (!begun)
                {
                    AgxException.Check(agxnative.agx_mux_open(client, out mux));
                    Start();
                    begun = true;
                }
                queues[queue.Token] = queue;
            }
        }

        void Start()
        {
            new Thread(Work) { IsBackground = true, Name = "agx listeners" }.UnsafeStart();
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

        /// <summary>Until what was read before is delivered.</summary>
        internal void Settle()
        {
            lock (gate)
            {
                long seen = steps;
                // Also where there is nothing to be read.
                ++additions;
                Monitor.PulseAll(gate);
                agxnative.agx_mux_interrupt(mux);
                while (!closed && steps == seen) Monitor.Wait(gate);
            }
        }

        /// <summary>A waiter, of which one at a time is to go on in the thread that received. That there
        /// are two for a moment does no harm.</summary>
        internal ListenerQueue.Waiter Wait(AgxListener owner, CancellationToken token)
        {
            ListenerQueue.Waiter? other = favoured;
            bool favours = other == null || other.IsTaken;
            var waiter = new ListenerQueue.Waiter(owner, token, favours);
            if (favours) favoured = waiter;
            return waiter;
        }

        void Work()
        {
            while (TakeTurn())
            {
                if (Receive() is not ListenerQueue.Waiter next) continue;
                next.Complete();
                lock (turns) --lent;
            }
        }

        // Waits for it; false: this thread is not needed.
        bool TakeTurn()
        {
            lock (turns)
            {
                while (!ended && receiver != null)
                {
                    if (spare == MostSpare) return false;
                    ++spare;
                    bool woken = Monitor.Wait(turns, Idle);
                    --spare;
                    if (!woken && receiver != null) return false;
                }
                if (ended) return false;
                receiver = Thread.CurrentThread;
                return true;
            }
        }

        // False: nobody can take it.
        bool GiveTurn()
        {
            lock (turns)
            {
                if (lent == MostLent) return false;
                if (spare > 0) Monitor.PulseAll(turns);
                else if (!TryStart()) return false;
                ++lent;
                receiver = null;
                return true;
            }
        }

        bool TryStart()
        {
            try
            {
                Start();
                return true;
            }
            catch (OutOfMemoryException)
            {
                return false;
            }
        }

        // Until somebody goes on in this thread, whose turn is over then; null: everything is.
        ListenerQueue.Waiter? Receive()
        {
            string what = "client";
            try
            {
                batch ??= new Batch();
                while (Step())
                {
                    ListenerQueue.Waiter? next = reader;
                    reader = null;
                    if (next == null) continue;
                    if (GiveTurn()) return next;
                    next.CompleteElsewhere();
                }
            }
            catch (Exception error) when (error is OutOfMemoryException or AgxException)
            {
                // What was on its way is lost, so that nobody can go on as if it were not.
                what = "listener, for want of memory,";
            }
            End(what);
            return null;
        }

        bool Step()
        {
            long seen;
            lock (gate)
            {
                if (closed) return false;
                seen = additions;
                ++steps;
                Monitor.PulseAll(gate);
            }
            int status = agxnative.agxb_mux_batch(mux, -1, MostEvents, MostBytes, batch!.Number);
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

        /// <summary>In the thread that receives: a waiter has what it waited for.</summary>
        internal void Complete(ListenerQueue.Waiter waiter)
        {
            if (reader == null && waiter.ContinuesHere) reader = waiter;
            else waiter.CompleteElsewhere();
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

        void End(string what)
        {
            ListenerQueue[] all;
            lock (gate)
            {
                closed = true;
                all = new ListenerQueue[queues.Count];
                queues.Values.CopyTo(all, 0);
                queues.Clear();
            }
            reader?.CompleteElsewhere();
            // From here on none of them uses the mux.
            foreach (ListenerQueue queue in all) queue.Close(what);
            lock (turns)
            {
                agxnative.agx_mux_close(mux);
                batch?.Dispose();
                ended = true;
                receiver = null;
                Monitor.PulseAll(turns);
            }
        }

        /// <summary>After the client was closed.</summary>
        internal void Close()
        {
            lock (gate)
            {
                closed = true;
                Monitor.PulseAll(gate);
                if (!begun) return;
            }
            lock (turns)
            {
                if (ended || receiver == Thread.CurrentThread) return;
                agxnative.agx_mux_interrupt(mux);
                while (!ended && receiver != null) Monitor.Wait(turns);
                if (ended) return;
                receiver = Thread.CurrentThread;
            }
            End("client");
        }
    }

    /// <summary>What came for a listener and was not asked for yet, or who asks for what did not come
    /// yet. When there is much of the former, the listener leaves the mux until it was taken.</summary>
    internal sealed class ListenerQueue
    {
        // A few of the batches that the store is read in, so that coming and going is rare.
        const int MostEvents = 4096;
        const long MostBytes = 1 << 20;

        internal sealed class Waiter : Job<AgxEvent?>
        {
            // Keeps the listener for as long as somebody waits.
            internal AgxListener? Owner { get; private set; }

            internal Waiter(AgxListener owner, CancellationToken token, bool continuesHere) : base(token, continuesHere)
            {
                Owner = owner;
            }

            /// <summary>It is to be completed with what came.</summary>
            internal void Keep(Batch.Record record)
            {
                if (record.Value != null)
                {
                    Owner?.HandOn(record.Value);
                    Keep(record.Value);
                }
                else if (!IsEnd(record))
                {
                    Keep(record.Error());
                }
                Owner = null;
            }

            /// <summary>Nobody waits any more. false: somebody completes it, or has.</summary>
            internal bool Withdraw()
            {
                if (!Take()) return false;
                Owner = null;
                return true;
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
        Batch.Record? unheard; // that nothing comes, and nobody was asking
        string? closed;

        internal ListenerQueue(Dispatcher dispatcher, IntPtr listener, long token, IEnumerable<Batch.Record> before, bool ended)
        {
            this.dispatcher = dispatcher;
            this.listener = listener;
            Token = token;
            finished = ended;
            foreach (Batch.Record record in before) Keep(record);
            dispatcher.Add(this);
            AgxException? error;
            lock (gate) error = closed == null ? Join() : AgxException.Closed(closed);
            if (error == null) return;
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
            return Next(owner, cancellationToken, blocks: false, out _);
        }

        /// <summary>The thread waits, and needs nobody to end its wait in time. false: nothing
        /// came.</summary>
        internal bool TryNext(AgxListener owner, long milliseconds, CancellationToken cancellationToken, out AgxEvent? next)
        {
            next = null;
            ValueTask<AgxEvent?> asked = Next(owner, CancellationToken.None, blocks: true, out Waiter? waiter);
            if (waiter != null)
            {
                try
                {
                    waiter.Task.Wait((int)Math.Min(milliseconds, int.MaxValue), cancellationToken);
                }
                catch (Exception told) when (told is AggregateException or OperationCanceledException)
                {
                }
                if (waiter.Withdraw())
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    if (TakeUnheard() is AgxException error) throw error;
                    return false;
                }
                // Has it, or is just about to.
            }
            next = asked.AsTask().GetAwaiter().GetResult();
            return true;
        }

        /// <summary>What is to be told to one who has asked in vain, and was not asking when it was so.</summary>
        internal AgxException? TakeUnheard()
        {
            lock (gate)
            {
                AgxException? error = unheard?.Error();
                unheard = null;
                return error;
            }
        }

        ValueTask<AgxEvent?> Next(AgxListener owner, CancellationToken cancellationToken, bool blocks, out Waiter? waiter)
        {
            waiter = null;
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
                waiter = blocks ? new Waiter(owner, cancellationToken, continuesHere: false) : dispatcher.Wait(owner, cancellationToken);
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
                    unheard = null;
                    // That nothing comes may not be true any more when somebody asks: it is told then.
                    if (waiter == null && IsOfNow(record))
                    {
                        unheard = record;
                        continue;
                    }
                    if (waiter == null)
                    {
                        Keep(record);
                        continue;
                    }
                    waiter.Keep(record);
                    dispatcher.Complete(waiter);
                }
                // The end is everybody's.
                while (finished && records.Count == 0 && NextWaiter() is Waiter other) dispatcher.Complete(other);
                if (joined && (finished || told || records.Count >= MostEvents || bytes >= MostBytes))
                {
                    dispatcher.Leave(listener);
                    joined = false;
                }
                if (!told || !HasWaiter() || Join() is not AgxException error) return;
                while (NextWaiter() is Waiter other) Refuse(other, AgxException.Of(error.Status, error.Message));
            }
        }

        static void Refuse(Waiter waiter, AgxException error)
        {
            waiter.Keep(error);
            waiter.CompleteElsewhere();
        }

        bool HasWaiter()
        {
            while (waiters.TryPeek(out Waiter? first))
            {
                if (!first.IsTaken) return true;
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

        /// <summary>So that another may put the listener into a mux.</summary>
        internal void Leave()
        {
            lock (gate)
            {
                if (HasWaiter()) throw AgxException.Of(AgxStatus.Busy, "somebody waits on the listener");
                if (joined) dispatcher.Leave(listener);
                joined = false;
            }
            // What was read of it before still comes here.
            dispatcher.Settle();
        }

        /// <summary>What came and was not asked for yet; it is asked for elsewhere.</summary>
        internal Batch.Record[] TakeAll()
        {
            lock (gate)
            {
                Batch.Record[] left = records.ToArray();
                records.Clear();
                bytes = 0;
                unheard = null;
                return left;
            }
        }

        internal void Fail(int status, string message)
        {
            lock (gate)
            {
                while (NextWaiter() is Waiter waiter) Refuse(waiter, AgxException.Of((AgxStatus)status, message));
            }
        }

        internal void Close(string what)
        {
            lock (gate)
            {
                closed ??= what;
                records.Clear();
                while (NextWaiter() is Waiter waiter) Refuse(waiter, AgxException.Closed(closed));
            }
            dispatcher.Forget(Token);
        }
    }
}
