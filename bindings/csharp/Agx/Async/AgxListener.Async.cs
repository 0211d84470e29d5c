using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    public sealed partial class AgxListener : IAsyncDisposable
    {
        volatile ListenerQueue? queue;

        /// <summary>The next event; null is the end. No thread waits: one of the client's serves all of
        /// its listeners. A token that is cancelled ends the wait and leaves the listener as it
        /// was.</summary>
        /// <exception cref="AgxBusyException">A thread receives for itself: it waits without a time and a
        /// token.</exception>
        public ValueTask<AgxEvent?> NextAsync(CancellationToken cancellationToken = default)
        {
            try
            {
                return (queue ?? Attach()).Next(this, cancellationToken);
            }
            catch (AgxException error)
            {
                return ValueTask.FromException<AgxEvent?>(error);
            }
        }

        /// <summary>The next event; null is the end.</summary>
        /// <exception cref="AgxTimeoutException">Nothing came within the timeout.</exception>
        public async ValueTask<AgxEvent?> NextAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
        {
            using CancellationTokenSource source = Limited(timeout, cancellationToken);
            try
            {
                return await NextAsync(source.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw queue?.TakeUnheard() ?? AgxException.Of(AgxStatus.Timeout, "nothing came within the timeout");
            }
        }

        static CancellationTokenSource Limited(TimeSpan timeout, CancellationToken cancellationToken)
        {
            CancellationTokenSource source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            long milliseconds = Text.Milliseconds(timeout);
            if (milliseconds >= 0) source.CancelAfter(TimeSpan.FromMilliseconds(Math.Min(milliseconds, int.MaxValue)));
            return source;
        }

        /// <summary>What comes, until the end. After an exception that a listener goes on from it can be
        /// called again.</summary>
        public async IAsyncEnumerable<AgxEvent> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            while (await NextAsync(cancellationToken).ConfigureAwait(false) is AgxEvent next) yield return next;
        }

        ListenerQueue Attach()
        {
            lock (gate)
            {
                if (closed) throw AgxException.Closed("listener");
                if (queue is ListenerQueue already) return already;
                if (receiving) throw AgxException.Of(AgxStatus.Busy, "a thread waits on the listener");
                var attached = new ListenerQueue(client.Dispatcher, Number, token, ready, ended);
                ready.Clear();
                handle.Closing += () => attached.Close("listener");
                // Closed meanwhile: nobody else would tell it.
                if (handle.IsDisposed) attached.Close("listener");
                queue = attached;
                return attached;
            }
        }

        // C cannot be left before a server that hangs is given up: what has to end sooner does not wait there.
        partial void UseQueue(bool bounded, ref bool queued)
        {
            if (bounded && queue == null) Attach();
            queued = queue != null;
        }

        partial void TryNextQueued(long left, CancellationToken cancellationToken, ref bool came, ref AgxEvent? next)
        {
            came = queue!.TryNext(this, left, cancellationToken, out next);
        }

        partial void LeaveQueue()
        {
            queue?.Leave();
        }

        partial void TakeQueued(ref Batch.Record[] records)
        {
            if (queue is ListenerQueue its) records = its.TakeAll();
        }

        /// <summary>Closes the listener. Whoever waits in it gets an
        /// <see cref="AgxClosedException"/>.</summary>
        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
