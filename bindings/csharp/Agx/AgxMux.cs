using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>What a mux hands on: an event of one of its listeners, or an outcome.</summary>
    public sealed class AgxMuxItem
    {
        internal AgxMuxItem(AgxListener? listener, AgxEvent? value, AgxException? error)
        {
            Listener = listener;
            Event = value;
            Error = error;
        }

        /// <summary>Whose it is; null if it is the mux's own.</summary>
        public AgxListener? Listener { get; }
        /// <summary>The event. Without one and without an error the listener has come to its
        /// end.</summary>
        public AgxEvent? Event { get; }
        /// <summary>What a listener that was asked by itself would have thrown.</summary>
        public AgxException? Error { get; }
    }

    /// <summary>Waits on any number of listeners of one client in one thread. ListenAsync and NextAsync,
    /// where there are, need none: they share one of the client's own.</summary>
    public sealed class AgxMux : IDisposable
    {
        const int MostEvents = 1024;
        const int MostBytes = 1 << 20;

        readonly AgxClient client;
        readonly MuxHandle handle;
        readonly Dictionary<long, AgxListener> listeners = new Dictionary<long, AgxListener>();

        readonly object reading = new object();
        readonly Batch batch = new Batch();
        // Guarded by listeners, as it is filled by Add as well.
        readonly Queue<Batch.Record> ready = new Queue<Batch.Record>();
        int interrupted;

        /// <summary>Opens a mux of the client's.</summary>
        public AgxMux(AgxClient client)
        {
            if (client == null) throw new ArgumentNullException("client");
            this.client = client;
            IntPtr mux;
            AgxException.Check(agxnative.agx_mux_open(client.Number, out mux));
            handle = new MuxHandle(mux, batch);
        }

        /// <summary>Puts a listener in; until it is taken out, only the mux hands on its events. If the client's own
        /// thread has received for it, what that is reading is waited for.</summary>
        /// <exception cref="AgxBusyException">It is in a mux, or somebody waits in it.</exception>
        public void Add(AgxListener listener)
        {
            if (listener == null) throw new ArgumentNullException("listener");
            listener.LeaveMux();
            bool known;
            lock (listeners)
            {
                known = listeners.ContainsKey(listener.Token);
                listeners[listener.Token] = listener;
            }
            int status;
            using (Use use = handle.Enter()) status = agxnative.agx_mux_add(use.Number, listener.Number);
            if (status != 0)
            {
                AgxException error = AgxException.Last(status);
                if (!known) Forget(listener.Token);
                throw error;
            }
            long token = listener.Token;
            if (!known) listener.Handle.Closing += () => Forget(token);
            Batch.Record[] before = listener.TakeAll();
            if (before.Length == 0) return;
            lock (listeners)
            {
                for (int i = 0; i < before.Length; ++i)
                {
                    before[i].Token = token;
                    ready.Enqueue(before[i]);
                }
            }
            agxnative.agx_mux_interrupt(handle.Number);
        }

        /// <summary>Takes a listener out. What the mux has read of it already it still hands on.</summary>
        public void Remove(AgxListener listener)
        {
            if (listener == null) throw new ArgumentNullException("listener");
            AgxException.Check(agxnative.agx_mux_remove(handle.Number, listener.Number));
        }

        void Forget(long token)
        {
            lock (listeners) listeners.Remove(token);
        }

        /// <summary>Waits for the next event or outcome; false: none came within the timeout, or there is
        /// no listener that can bring one, or <see cref="Interrupt"/> was called.</summary>
        public bool TryNext(TimeSpan timeout, out AgxMuxItem? item)
        {
            item = null;
            long whole = Text.Milliseconds(timeout);
            Stopwatch clock = Stopwatch.StartNew();
            lock (reading)
            {
                for (;;)
                {
                    handle.Check();
                    if (TakeReady(out item)) return true;
                    long left = whole < 0 ? -1 : Math.Max(0, whole - clock.ElapsedMilliseconds);
                    using (Use use = handle.Enter())
                    {
                        int status = agxnative.agxb_mux_batch(use.Number, left, MostEvents, MostBytes, batch.Number);
                        GC.KeepAlive(client);
                        if (status == (int)AgxStatus.Timeout || status == (int)AgxStatus.Ended) return false;
                        if (status == (int)AgxStatus.Interrupted)
                        {
                            // By Add, unless somebody asked for it.
                            if (Interlocked.Exchange(ref interrupted, 0) != 0) return TakeReady(out item);
                            continue;
                        }
                        AgxException.Check(status);
                        batch.Rewind();
                        Batch.Record record;
                        lock (listeners)
                        {
                            while (batch.Read(out record)) ready.Enqueue(record);
                        }
                    }
                }
            }
        }

        bool TakeReady(out AgxMuxItem? item)
        {
            item = null;
            lock (listeners)
            {
                while (ready.Count > 0)
                {
                    Batch.Record record = ready.Dequeue();
                    AgxListener? listener = null;
                    if (record.Kind == Batch.MuxOutcome)
                    {
                        if (record.Status == (int)AgxStatus.Interrupted || record.Status == (int)AgxStatus.Ended) continue;
                    }
                    else if (!listeners.TryGetValue(record.Token, out listener))
                    {
                        continue; // closed meanwhile
                    }
                    AgxException? error = null;
                    if (record.Kind == Batch.Event)
                    {
                        if (listener != null && record.Value != null) listener.HandOn(record.Value);
                    }
                    else if (record.Kind == Batch.MuxOutcome || !AgxListener.IsEnd(record.Status))
                    {
                        error = record.Error();
                    }
                    item = new AgxMuxItem(listener, record.Value, error);
                    return true;
                }
            }
            return false;
        }

        /// <summary>Makes the call that waits, or else the next one, return false.</summary>
        public void Interrupt()
        {
            Interlocked.Exchange(ref interrupted, 1);
            AgxException.Check(agxnative.agx_mux_interrupt(handle.Number));
        }

        /// <summary>Closes the mux. Its listeners stay open. A thread that waits in it gets an
        /// <see cref="AgxClosedException"/>, when the store has answered it, for which this does not
        /// wait.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
