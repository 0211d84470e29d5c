using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>Tells tasks that their sessions were cancelled. C's client notices that by itself and
    /// wakes only threads that wait; so that none has to, its memory is looked into a hundred times a
    /// second, for as long as there is a task that wants to know. That asks nobody anything.</summary>
    internal sealed class CancelWatch
    {
        const int Interval = 10;

        // A look that has to ask the store may take long; what waits no longer is told all the same.
        const int Late = 100;

        sealed class Watch : Job<bool>
        {
            internal readonly AgxSession Session;
            internal readonly long Deadline;
            internal Timer? Expiry;

            internal Watch(AgxSession session, long deadline, CancellationToken token) : base(token)
            {
                Session = session;
                Deadline = deadline;
            }
        }

        readonly object gate = new();
        readonly Timer timer;
        List<Watch> watches = new();
        bool looking;

        internal CancelWatch()
        {
            timer = new Timer(static watch => ((CancelWatch)watch!).Look(), this, Timeout.Infinite, Timeout.Infinite);
        }

        internal Task<bool> Wait(AgxSession session, TimeSpan timeout, CancellationToken token)
        {
            if (token.IsCancellationRequested) return Task.FromCanceled<bool>(token);
            long milliseconds = Text.Milliseconds(timeout);
            long deadline = milliseconds < 0 ? long.MaxValue : Environment.TickCount64 + milliseconds;
            var watch = new Watch(session, deadline, token);
            if (milliseconds >= 0 && milliseconds < int.MaxValue - Late)
            {
                watch.Expiry = new Timer(static watch => Expire((Watch)watch!), watch, milliseconds + Late, Timeout.Infinite);
            }
            lock (gate)
            {
                watches.Add(watch);
                // Not by who asks: it may be a thread that is not to wait.
                if (!looking && watches.Count == 1) timer.Change(0, Timeout.Infinite);
            }
            return watch.Task;
        }

        void Look()
        {
            List<Watch> now;
            lock (gate)
            {
                now = watches;
                watches = new List<Watch>();
                looking = true;
            }
            now.RemoveAll(Settled);
            lock (gate)
            {
                looking = false;
                now.AddRange(watches);
                watches = now;
                if (watches.Count > 0) timer.Change(Interval, Timeout.Infinite);
            }
        }

        static void Expire(Watch watch)
        {
            if (watch.Take()) watch.SetResult(false);
        }

        static bool Settled(Watch watch)
        {
            bool settled = IsSettled(watch);
            if (settled) watch.Expiry?.Dispose();
            return settled;
        }

        static bool IsSettled(Watch watch)
        {
            if (watch.Task.IsCompleted) return true;
            int status;
            AgxException? error;
            try
            {
                using Use use = watch.Session.Enter();
                status = agxnative.agx_wait_canceled(use.Number, 0);
                error = status == 0 ? null : AgxException.Last(status);
            }
            catch (AgxClosedException closed)
            {
                status = (int)AgxStatus.Closed;
                error = closed;
            }
            if (status == (int)AgxStatus.Timeout)
            {
                if (Environment.TickCount64 < watch.Deadline) return false;
                if (watch.Take()) watch.SetResult(false);
                return true;
            }
            if (!watch.Take()) return true;
            if (error == null) watch.SetResult(true);
            else watch.SetException(error);
            return true;
        }
    }
}
