using System;
using System.Threading;
using Agx.Native;
using Microsoft.Win32.SafeHandles;

namespace Agx
{
    /// <summary>A handle of C's, which closes it once: when it is disposed of, or else when nobody has
    /// it any more.
    ///
    /// A call is given the number and not this object, which would keep it from being closed until
    /// the call has left: closing is what ends a call that waits. C knows a number that was closed.
    /// </summary>
    internal abstract class AgxHandle : SafeHandleZeroOrMinusOneIsInvalid
    {
        readonly IntPtr number;
        bool disposing;

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

        /// <summary>Closing may wait for the store, which the thread of the finalizers should not.</summary>
        protected virtual bool MayBlock
        {
            get { return false; }
        }

        protected abstract void Close(IntPtr number);

        protected override void Dispose(bool disposing)
        {
            this.disposing = disposing;
            base.Dispose(disposing);
        }

        protected override bool ReleaseHandle()
        {
            if (!disposing && MayBlock) ThreadPool.QueueUserWorkItem(state => Close(number));
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
        protected override void Close(IntPtr number) { agxnative.agx_session_close(number); }
    }

    internal sealed class ListenerHandle : AgxHandle
    {
        /// <summary>What else there is to take leave of.</summary>
        internal Action? Closing { get; set; }

        internal ListenerHandle(IntPtr number) : base(number) { }

        protected override void Close(IntPtr number)
        {
            agxnative.agx_listener_close(number);
            Action? closing = Closing;
            if (closing != null) closing();
        }
    }

    internal sealed class MuxHandle : AgxHandle
    {
        internal MuxHandle(IntPtr number) : base(number) { }
        protected override void Close(IntPtr number) { agxnative.agx_mux_close(number); }
    }

    internal sealed class QueryHandle : AgxHandle
    {
        internal QueryHandle(IntPtr number) : base(number) { }
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
        protected override void Close(IntPtr number) { agxnative.agx_messages_close(number); }
    }

    internal sealed class GroupHandle : AgxHandle
    {
        /// <summary>What else there is to end.</summary>
        internal Action? Closing { get; set; }

        internal GroupHandle(IntPtr number) : base(number) { }
        protected override bool MayBlock { get { return true; } }

        protected override void Close(IntPtr number)
        {
            agxnative.agx_group_close(number);
            Action? closing = Closing;
            if (closing != null) closing();
        }
    }

    // Closing these two waits for calls of their functions.
    internal sealed class SubscriptionHandle : AgxHandle
    {
        internal SubscriptionHandle(IntPtr number) : base(number) { }
        protected override bool MayBlock { get { return true; } }
        protected override void Close(IntPtr number) { agxnative.agx_subscription_close(number); }
    }

    internal sealed class InterceptorHandle : AgxHandle
    {
        internal InterceptorHandle(IntPtr number) : base(number) { }
        protected override bool MayBlock { get { return true; } }
        protected override void Close(IntPtr number) { agxnative.agx_interceptor_close(number); }
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
