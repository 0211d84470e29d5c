using System;
using System.Threading;
using Agx.Native;
using Microsoft.Win32.SafeHandles;

namespace Agx
{
    /// <summary>A call's use of a handle, until it is disposed of.</summary>
    internal struct Use : IDisposable
    {
        readonly AgxHandle? handle;

        internal Use(AgxHandle handle)
        {
            this.handle = handle;
        }

        /// <summary>0: it is of none.</summary>
        internal IntPtr Number
        {
            get { return handle == null ? IntPtr.Zero : handle.Number; }
        }

        public void Dispose()
        {
            if (handle != null) handle.DangerousRelease();
        }
    }

    /// <summary>A handle of C's, which closes it once: when it is disposed of, or else when nobody has
    /// it any more.
    ///
    /// C's is closed by whoever uses it last, lest disposing waits for a call that a store that hangs
    /// keeps. What only closing it ends is given the number without a use; C knows a number that was
    /// closed.</summary>
    internal abstract class AgxHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        readonly IntPtr number;
        bool disposing;
        volatile bool disposed;
        volatile bool released;

        protected AgxHandle(IntPtr number) : base(true)
        {
            this.number = number;
            SetHandle(number);
        }

        /// <summary>For calls, also after it was closed. Keep the owner alive until they return.</summary>
        internal IntPtr Number
        {
            get { return number; }
        }

        /// <summary>What it is to a user.</summary>
        protected virtual string What
        {
            get { return "object"; }
        }

        /// <summary>Whether it was disposed of, be it in use still.</summary>
        internal bool IsDisposed
        {
            get { return disposed; }
        }

        internal void Check()
        {
            if (disposed) throw AgxException.Closed(What);
        }

        internal Use Enter()
        {
            Use use = TryEnter();
            if (use.Number == IntPtr.Zero) throw AgxException.Closed(What);
            return use;
        }

        /// <summary>Of none, if it was disposed of.</summary>
        internal Use TryEnter()
        {
            bool entered = false;
            try
            {
                if (!disposed) DangerousAddRef(ref entered);
            }
            catch (ObjectDisposedException)
            {
                // just now
            }
            return entered ? new Use(this) : default(Use);
        }

        /// <summary>Closing may wait for the store, which the thread of the finalizers should not.</summary>
        protected virtual bool MayBlock
        {
            get { return false; }
        }

        /// <summary>Nor should who disposes of it.</summary>
        protected virtual bool ClosesElsewhere
        {
            get { return false; }
        }

        protected abstract void Close(IntPtr number);

        /// <summary>Ends a call that waits.</summary>
        protected virtual void Wake(IntPtr number) { }

        /// <summary>It was disposed of.</summary>
        protected virtual void Disposed() { }

        protected override void Dispose(bool disposing)
        {
            this.disposing = disposing;
            disposed = true;
            base.Dispose(disposing);
            if (!released) Wake(number);
            Disposed();
        }

        protected override bool ReleaseHandle()
        {
            released = true;
            if (ClosesElsewhere || !disposing && MayBlock) ThreadPool.QueueUserWorkItem(state => Close(number));
            else Close(number);
            return true;
        }
    }

    internal sealed class ClientHandle : AgxHandle
    {
        readonly LogPump? log;
        /// <summary>What else there is to end.</summary>
        internal Action? Closing { get; set; }

        internal ClientHandle(IntPtr number, LogPump? log) : base(number)
        {
            this.log = log;
        }

        protected override bool MayBlock
        {
            get { return true; }
        }

        protected override void Close(IntPtr number)
        {
            agxnative.agx_close(number);
            Action? closing = Closing;
            if (closing != null) closing();
            if (log != null) log.Close();
        }
    }

    internal sealed class SessionHandle : AgxHandle
    {
        internal SessionHandle(IntPtr number) : base(number) { }
        protected override string What { get { return "session"; } }
        protected override void Close(IntPtr number) { agxnative.agx_session_close(number); }
    }

    internal sealed class ListenerHandle : AgxHandle
    {
        /// <summary>What else there is to take leave of.</summary>
        internal Action? Closing { get; set; }

        internal ListenerHandle(IntPtr number) : base(number) { }
        protected override string What { get { return "listener"; } }
        protected override void Wake(IntPtr number) { agxnative.agx_listener_interrupt(number); }
        protected override void Close(IntPtr number) { agxnative.agx_listener_close(number); }

        protected override void Disposed()
        {
            Action? closing = Closing;
            Closing = null;
            if (closing != null) closing();
        }
    }

    internal sealed class MuxHandle : AgxHandle
    {
        readonly Batch batch;

        /// <param name="number">C's.</param>
        /// <param name="batch">Goes with it.</param>
        internal MuxHandle(IntPtr number, Batch batch) : base(number)
        {
            this.batch = batch;
        }

        protected override string What { get { return "mux"; } }
        protected override void Wake(IntPtr number) { agxnative.agx_mux_interrupt(number); }

        protected override void Close(IntPtr number)
        {
            agxnative.agx_mux_close(number);
            batch.Dispose();
        }
    }

    internal sealed class QueryHandle : AgxHandle
    {
        internal QueryHandle(IntPtr number) : base(number) { }
        protected override string What { get { return "query"; } }
        protected override void Close(IntPtr number) { agxnative.agx_query_close(number); }
    }

    internal sealed class RunHandle : AgxHandle
    {
        internal RunHandle(IntPtr number) : base(number) { }
        protected override bool MayBlock { get { return true; } }
        protected override void Close(IntPtr number) { agxnative.agx_run_close(number); }
    }

    internal sealed class MessagesHandle : AgxHandle
    {
        internal MessagesHandle(IntPtr number) : base(number) { }
        protected override string What { get { return "conversation"; } }
        protected override void Close(IntPtr number) { agxnative.agx_messages_close(number); }
    }

    internal sealed class GroupHandle : AgxHandle
    {
        /// <summary>What else there is to end.</summary>
        internal Action? Closing { get; set; }

        internal GroupHandle(IntPtr number) : base(number) { }
        protected override bool MayBlock { get { return true; } }
        protected override string What { get { return "group"; } }
        protected override void Wake(IntPtr number) { agxnative.agx_group_interrupt(number); }
        protected override void Close(IntPtr number) { agxnative.agx_group_close(number); }

        protected override void Disposed()
        {
            Action? closing = Closing;
            Closing = null;
            if (closing != null) closing();
        }
    }

    // Closing these two waits for calls of their functions.
    internal sealed class SubscriptionHandle : AgxHandle
    {
        internal SubscriptionHandle(IntPtr number) : base(number) { }
        // The last one of a client waits for the thread that reads.
        protected override bool ClosesElsewhere { get { return true; } }
        protected override void Close(IntPtr number) { agxnative.agx_subscription_close(number); }
    }

    internal sealed class InterceptorHandle : AgxHandle
    {
        readonly long token;

        internal InterceptorHandle(IntPtr number, long token) : base(number)
        {
            this.token = token;
        }

        protected override bool MayBlock { get { return true; } }

        protected override void Close(IntPtr number)
        {
            agxnative.agx_interceptor_close(number);
            Callbacks.Forget(token);
        }
    }

    /// <summary>Fetches a client's log, and hands it on.</summary>
    internal sealed class LogPump
    {
        readonly object gate = new object();
        readonly Action<AgxLogLevel, string> handler;
        readonly byte[] room = new byte[1024];
        readonly Timer timer;
        IntPtr log;

        internal LogPump(Action<AgxLogLevel, string> handler)
        {
            this.handler = handler;
            log = agxnative.agxb_log_new();
            if (log == IntPtr.Zero) throw AgxException.Of(AgxStatus.NoMemory, "out of memory");
            timer = new Timer(state => Fetch(), null, 100, 100);
        }

        internal IntPtr Log
        {
            get { return log; }
        }

        void Fetch()
        {
            // A handler that is slow is not called twice at once.
            if (!Monitor.TryEnter(gate)) return;
            try
            {
                int level;
                while (log != IntPtr.Zero && agxnative.agxb_log_take(log, out level, room, (ulong)room.Length) != 0)
                {
                    // A log that fails is no reason to fail.
                    try { handler((AgxLogLevel)level, Text.Read(room, 0)); }
                    catch (Exception) { }
                }
            }
            finally
            {
                Monitor.Exit(gate);
            }
        }

        /// <summary>After the client was closed.</summary>
        internal void Close()
        {
            timer.Dispose();
            lock (gate)
            {
                Fetch();
                if (log != IntPtr.Zero) agxnative.agxb_log_free(log);
                log = IntPtr.Zero;
            }
        }
    }
}
