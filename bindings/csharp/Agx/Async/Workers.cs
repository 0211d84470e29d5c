using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    /// <summary>A few threads of a client's own, for calls that wait for the store: the thread pool's
    /// are for others. Started when there is work, gone when there was none for a while.
    ///
    /// What awaits a call goes on in the thread that made it, as to wake another costs about as much as a
    /// round trip. It may block there: the thread is lent to it, and another takes its place. One that is
    /// alone is not lent.</summary>
    internal sealed class Workers
    {
        const int MostLent = 16;

        readonly int most;
        static readonly TimeSpan Idle = TimeSpan.FromSeconds(10);

        readonly object gate = new();
        readonly Queue<Action> queue = new();
        int threads;
        int waiting;
        int lent; // not among threads
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
                // A closed client answers at once; still, somebody has to ask it.
                Wake();
            }
        }

        // Another for what is in the queue, if there may be one.
        void Wake()
        {
            if (waiting > 0)
            {
                Monitor.Pulse(gate);
                return;
            }
            if (threads >= most) return;
            ++threads;
            new Thread(Work) { IsBackground = true, Name = "agx worker" }.UnsafeStart();
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
                if (queue.Count > 1) Wake();
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
            // Interceptors that wait for this may have all of the threads.
            bool intercepts = AgxInterceptor.IsWithinAny;
            var job = new Job<T>(cancellationToken, continuesHere: most > 1 && !intercepts);
            void Make()
            {
                if (!job.Take()) return;
                Call(job, call);
                Complete(job);
            }
            if (intercepts) ThreadPool.QueueUserWorkItem(_ => Make());
            else Post(Make);
            return job.Task;
        }

        /// <summary>Makes a job's call, and keeps what comes of it.</summary>
        internal static void Call<T>(Job<T> job, Func<T> call)
        {
            try
            {
                job.Keep(call());
            }
            catch (Exception error)
            {
                job.Keep(error);
            }
        }

        /// <summary>Completes a job, as the last thing that a worker does for it.</summary>
        internal void Complete<T>(Job<T> job)
        {
            if (!job.ContinuesHere || !Lend())
            {
                job.CompleteElsewhere();
                return;
            }
            job.Complete();
            lock (gate)
            {
                --lent;
                ++threads;
            }
        }

        bool Lend()
        {
            lock (gate)
            {
                if (lent == MostLent) return false;
                ++lent;
                --threads;
                if (queue.Count > 0) Wake();
                return true;
            }
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
    internal class Job<T> : TaskCompletionSource<T>, IThreadPoolWorkItem
    {
        readonly CancellationToken token;
        CancellationTokenRegistration registration;
        int taken;
        T? result;
        Exception? error;

        /// <param name="token">Cancels it.</param>
        /// <param name="continuesHere">What awaits it goes on where <see cref="Complete"/> is called; else
        /// in the pool.</param>
        internal Job(CancellationToken token, bool continuesHere = false)
            : base(continuesHere ? TaskCreationOptions.None : TaskCreationOptions.RunContinuationsAsynchronously)
        {
            this.token = token;
            ContinuesHere = continuesHere;
            if (token.CanBeCanceled) registration = token.UnsafeRegister(static job => ((Job<T>)job!).Cancel(), this);
        }

        internal bool ContinuesHere { get; }

        /// <summary>Whether somebody completes it, or has.</summary>
        internal bool IsTaken => Volatile.Read(ref taken) != 0;

        /// <summary>true for one caller alone, who then completes it.</summary>
        internal bool Take()
        {
            if (Interlocked.Exchange(ref taken, 1) != 0) return false;
            // Not Dispose, which waits for a Cancel that is running.
            registration.Unregister();
            return true;
        }

        /// <summary>What it is completed with.</summary>
        internal void Keep(T value) => result = value;

        /// <inheritdoc cref="Keep(T)"/>
        internal void Keep(Exception thrown) => error = thrown;

        internal void Complete()
        {
            if (error is OperationCanceledException && token.IsCancellationRequested) SetCanceled(token);
            else if (error != null) SetException(AgxException.OrCanceled(error, token));
            else SetResult(result!);
        }

        /// <summary>What awaits it goes on in the pool.</summary>
        internal void CompleteElsewhere()
        {
            if (ContinuesHere) ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
            else Complete();
        }

        void IThreadPoolWorkItem.Execute() => Complete();

        void Cancel()
        {
            if (Interlocked.Exchange(ref taken, 1) != 0) return;
            Canceled();
            Keep(new OperationCanceledException(token));
            CompleteElsewhere();
        }

        /// <summary>It was cancelled, and nobody takes it any more.</summary>
        protected virtual void Canceled() { }
    }
}
