using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>Which events a subscription's function is called with, and what else is told.</summary>
    public sealed class AgxSubscribeOptions
    {
        /// <summary>As <see cref="AgxListenOptions.After"/>: null: everything from the beginning.</summary>
        public string? After { get; set; }
        /// <summary>A condition: only events that it selects. See <see cref="AgxListenOptions.Where"/>.</summary>
        public string? Where { get; set; }
        /// <summary>How long the session may take to appear, before <see cref="OnOutcome"/> is told;
        /// negative: for ever.</summary>
        public TimeSpan Wait { get; set; } = TimeSpan.FromMilliseconds(-1);
        /// <summary>How long it may be silent, likewise.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromMilliseconds(-1);
        /// <summary>The closing end is handed on as an event, too.</summary>
        public bool HandOnEnd { get; set; }
        /// <summary>After so many events it has come to its end; 0: there is no limit.</summary>
        public long Limit { get; set; }
        /// <summary>How many events may wait in memory for the function; 0: 10000. What follows waits in the
        /// store.</summary>
        public long Queue { get; set; }
        /// <summary>and how many bytes; 0: 16 MiB.</summary>
        public long QueueBytes { get; set; }
        /// <summary>Called in its turn with what a listener would throw; the subscription goes on. Also with
        /// the status <see cref="AgxStatus.Behind"/>: the function is too slow.</summary>
        /// <exception cref="ArgumentException">It is async, and would not be waited for.</exception>
        public Action<AgxException>? OnOutcome
        {
            get { return onOutcome; }
            set { onOutcome = Callbacks.NotAsync(value, "wait in it"); }
        }

        Action<AgxException>? onOutcome;
        /// <summary>The last call: the session has ended, or the limit was reached.</summary>
        /// <exception cref="ArgumentException">It is async, and would not be waited for.</exception>
        public Action? OnEnd
        {
            get { return onEnd; }
            set { onEnd = Callbacks.NotAsync(value, "await Completion"); }
        }

        Action? onEnd;
    }

    /// <summary>A function that is called with a session's events, in their order, one call at a time, on a
    /// thread of the library's. It is the client's, and goes on until it ends, or it or the client is
    /// disposed of, whether anybody still has these or not.</summary>
    public sealed partial class AgxSubscription : IDisposable
    {
        sealed class Target : Callbacks.Target
        {
            internal readonly AgxSubscription Owner;

            internal Target(AgxSubscription owner)
            {
                Owner = owner;
            }

            internal override int Call(IntPtr handle, Batch.Record record, long attempt)
            {
                Owner.Opened(handle);
                Owner.Told(record);
                return 0;
            }
        }

        readonly object gate = new object();
        readonly Subscriptions subscriptions;
        readonly Action<AgxEvent, AgxSubscription> function;
        readonly AgxSubscribeOptions options;
        readonly Target target;
        readonly long token;
        readonly TaskCompletionSource<bool> done = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        // Guarded by gate.
        SubscriptionHandle? handle;
        Frame? running;
        bool closed;

        /// <summary>A call of the function, also behind an await; and the thread that waits for it.</summary>
        internal sealed class Frame
        {
            internal readonly AgxSubscription Owner;
            internal readonly Thread Caller = Thread.CurrentThread;
            internal readonly Frame? Outer;
            internal volatile bool Over;

            internal Frame(AgxSubscription owner, Frame? outer)
            {
                Owner = owner;
                Outer = outer;
            }

            /// <summary>Whoever waited for the call here would wait for themselves, which C cannot
            /// know.</summary>
            internal bool IsElsewhere
            {
                get { return Caller != Thread.CurrentThread; }
            }
        }

        static readonly AsyncLocal<Frame?> frames = new AsyncLocal<Frame?>();

        /// <summary>The call of one of these that this is in; null: it is in none.</summary>
        internal static Frame? Within(Func<AgxSubscription, bool> which)
        {
            for (Frame? frame = frames.Value; frame != null; frame = frame.Outer)
            {
                if (!frame.Over && which(frame.Owner)) return frame;
            }
            return null;
        }

        internal Frame? Within()
        {
            return Within(one => one == this);
        }

        internal bool IsOf(Subscriptions client)
        {
            return subscriptions == client;
        }

        internal AgxSubscription(AgxSession session, Action<AgxEvent, AgxSubscription> function, AgxSubscribeOptions options)
        {
            this.function = function;
            this.options = options;
            byte[]? where = Text.Encode(options.Where, "where");
            byte[]? after = Text.Encode(options.After, "after");
            subscriptions = session.Client.Subscriptions;
            target = new Target(this);
            token = Callbacks.Register(target);
            subscriptions.Add(this, session);
            IntPtr subscription;
            try
            {
                using (Use use = session.Enter())
                {
                    AgxException.Check(agxnative.agxb_subscribe(use.Number, where, after, Text.Milliseconds(options.Wait),
                        Text.Milliseconds(options.Timeout), options.HandOnEnd ? 1 : 0, options.Limit, options.Queue,
                        options.QueueBytes, token, out subscription));
                }
            }
            catch (AgxException)
            {
                Finish(null);
                throw;
            }
            Opened(subscription);
        }

        // The first call may come before C has given the handle to who subscribes.
        void Opened(IntPtr number)
        {
            lock (gate)
            {
                if (handle == null) handle = new SubscriptionHandle(number);
            }
        }

        /// <summary>Done when no further call will come: the end was told, or it or the client was disposed
        /// of. Failed with what the function threw, which is the last call, too.</summary>
        public Task Completion
        {
            get { return done.Task; }
        }

        void Told(Batch.Record record)
        {
            Frame? outer = frames.Value;
            Frame frame = new Frame(this, outer);
            lock (gate)
            {
                if (closed) return;
                running = frame;
            }
            frames.Value = frame;
            try
            {
                if (record.Value != null) function(record.Value, this);
                else if (!AgxListener.IsEnd(record.Status)) Outcome(record);
                else if (options.OnEnd != null) options.OnEnd();
            }
            catch (Exception error)
            {
                // Its last words: C goes on with others.
                Dispose(error);
                return;
            }
            finally
            {
                frame.Over = true;
                frames.Value = outer;
                lock (gate)
                {
                    running = null;
                    Monitor.PulseAll(gate);
                }
            }
            if (record.Value == null && (AgxListener.IsEnd(record.Status) || record.Status == (int)AgxStatus.Failed)) Finish(null);
        }

        void Outcome(Batch.Record record)
        {
            if (options.OnOutcome != null) options.OnOutcome(record.Error());
        }

        void Finish(Exception? error)
        {
            Callbacks.Forget(token);
            subscriptions.Remove(this);
            if (error == null) done.TrySetResult(true);
            else done.TrySetException(error);
        }

        /// <summary>Unsubscribes. When it returns no call of the function is running and none will come;
        /// called from within the function, that very call goes on, and is the last.</summary>
        public void Dispose()
        {
            Dispose(null);
        }

        void Dispose(Exception? error)
        {
            bool within = Within() != null;
            SubscriptionHandle? known;
            lock (gate)
            {
                closed = true;
                known = handle;
                // Who waits for the function that asks for this would wait for ever.
                while (running != null && !within) Monitor.Wait(gate);
            }
            if (known != null) known.Dispose();
            Finish(error);
        }

        /// <summary>After the client was closed, which takes all of its functions out.</summary>
        internal void ClientClosed()
        {
            lock (gate) closed = true;
            Finish(null);
        }
    }

    /// <summary>A client's subscriptions, which nobody else has to keep.</summary>
    internal sealed class Subscriptions
    {
        // Of all clients: one that nobody has any more goes on, and so do its session and client.
        static readonly Dictionary<AgxSubscription, AgxSession> live = new Dictionary<AgxSubscription, AgxSession>();

        readonly HashSet<AgxSubscription> all = new HashSet<AgxSubscription>();

        internal void Add(AgxSubscription one, AgxSession session)
        {
            lock (all) all.Add(one);
            lock (live) live[one] = session;
        }

        internal void Remove(AgxSubscription one)
        {
            lock (all) all.Remove(one);
            lock (live) live.Remove(one);
        }

        internal void Close()
        {
            AgxSubscription[] left;
            lock (all)
            {
                left = new AgxSubscription[all.Count];
                all.CopyTo(left);
            }
            foreach (AgxSubscription one in left) one.ClientClosed();
        }
    }
}
