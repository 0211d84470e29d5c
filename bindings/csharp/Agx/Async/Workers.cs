using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    /// <summary>A few threads of a client's own, for calls that wait for the store: the thread pool's
    /// are for others. Started when there is work, gone when there was none for a while.</summary>
    internal sealed class Workers
    {
        readonly int most;
        static readonly TimeSpan Idle = TimeSpan.FromSeconds(10);

        readonly object gate = new();
        readonly Queue<Action> queue = new();
        int threads;
        int waiting;
        bool closed;

        internal Workers(int most = 8)
        {
            this.most = most;
        }

        internal void Post(Action work)
        {
            lock (gate)
            {
                queue.Enqueue(work);
                if (waiting > 0) Monitor.Pulse(gate);
                // A closed client answers at once; still, somebody has to ask it.
                else if (threads < most) Start();
            }
        }

        void Start()
        {
            ++threads;
            new Thread(Work) { IsBackground = true, Name = "agx worker" }.Start();
        }

        void Work()
        {
            while (Step()) { }
        }

        // A frame of its own, so that a thread that waits holds nothing of what it did last.
        bool Step()
        {
            Action? work = Take();
            work?.Invoke();
            return work != null;
        }

        Action? Take()
        {
            lock (gate)
            {
                while (queue.Count == 0)
                {
                    ++waiting;
                    bool woken = !closed && Monitor.Wait(gate, Idle);
                    --waiting;
                    if (woken || queue.Count > 0) continue;
                    --threads;
                    return null;
                }
                // Who was woken for one may find others behind it.
                if (queue.Count > 1)
                {
                    if (waiting > 0) Monitor.Pulse(gate);
                    else if (threads < most) Start();
                }
                return queue.Dequeue();
            }
        }

        internal void Close()
        {
            lock (gate)
            {
                closed = true;
                Monitor.PulseAll(gate);
            }
        }

        internal Task<T> Run<T>(Func<T> call, CancellationToken cancellationToken)
        {
            if (cancellationToken.IsCancellationRequested) return Task.FromCanceled<T>(cancellationToken);
            var job = new Job<T>(cancellationToken);
            Post(() =>
            {
                if (!job.Take()) return;
                try
                {
                    job.SetResult(call());
                }
                catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
                {
                    job.SetCanceled(cancellationToken);
                }
                catch (Exception error)
                {
                    job.SetException(error);
                }
            });
            return job.Task;
        }

        internal Task Run(Action call, CancellationToken cancellationToken)
        {
            return Run(() =>
            {
                call();
                return true;
            }, cancellationToken);
        }
    }

    /// <summary>What can be cancelled for as long as nobody has taken it.</summary>
    internal class Job<T> : TaskCompletionSource<T>
    {
        readonly CancellationToken token;
        CancellationTokenRegistration registration;
        int taken;

        internal Job(CancellationToken token) : base(TaskCreationOptions.RunContinuationsAsynchronously)
        {
            this.token = token;
            if (token.CanBeCanceled) registration = token.UnsafeRegister(static job => ((Job<T>)job!).Cancel(), this);
        }

        /// <summary>true for one caller alone, who then completes it.</summary>
        internal bool Take()
        {
            if (Interlocked.Exchange(ref taken, 1) != 0) return false;
            // Not Dispose, which waits for a Cancel that is running.
            registration.Unregister();
            return true;
        }

        void Cancel()
        {
            if (Interlocked.Exchange(ref taken, 1) == 0) TrySetCanceled(token);
        }
    }
}
