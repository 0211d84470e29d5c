using System;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    // As agx_wait_for does it, but with a listener that no thread waits for.
    public sealed partial class AgxSession
    {
        static readonly TimeSpan UntilCancelIsKnown = TimeSpan.FromSeconds(5);

        readonly CancellationTokenSource disposing = new();
        readonly object waited = new();

        partial void Disposed()
        {
            queue?.Close();
            disposing.Cancel();
        }

        /// <inheritdoc cref="WaitFor"/>
        /// <remarks>No thread waits. After an <see cref="AgxGapException"/> the next call takes what is
        /// left.</remarks>
        public async Task<AgxEvent?> WaitForAsync(string? where, TimeSpan timeout, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long milliseconds = Text.Milliseconds(timeout);
            if (milliseconds == 0) return await client.Workers.Run(() => WaitFor(where, TimeSpan.Zero), cancellationToken).WaitAsync(cancellationToken).ConfigureAwait(false);
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, disposing.Token);
            if (milliseconds > 0) over.CancelAfter(TimeSpan.FromMilliseconds(Math.Min(milliseconds, int.MaxValue)));
            // Also ends the wait below.
            using CancellationTokenSource stopped = CancellationTokenSource.CreateLinkedTokenSource(over.Token);
            Task<AgxException?> cancel = Canceled(stopped);
            AgxEvent? found = null;
            AgxException? error = null;
            bool ended = false;
            try
            {
                found = await NextFor(where, stopped.Token).ConfigureAwait(false);
                // Where this object has it live, and it has ended, the cancel is about to be heard of.
                ended = found == null;
                if (ended) error = await cancel.WaitAsync(UntilCancelIsKnown, over.Token).ConfigureAwait(false);
            }
            catch (AgxException failed)
            {
                error = failed;
            }
            catch (Exception left) when (left is OperationCanceledException or TimeoutException)
            {
            }
            stopped.Cancel();
            AgxException? canceled = await cancel.ConfigureAwait(false);
            if (found != null) return found;
            if (canceled != null) throw canceled;
            if (disposing.IsCancellationRequested) throw AgxException.Closed("session");
            cancellationToken.ThrowIfCancellationRequested();
            if (error != null) throw error;
            if (ended) throw AgxException.Of(AgxStatus.Ended, "the session has ended");
            return null;
        }

        // What the wait ends with if the session is cancelled or taken over; null if it was not this
        // object that started it, or the wait is over.
        async Task<AgxException?> Canceled(CancellationTokenSource stopped)
        {
            AgxException? outcome;
            try
            {
                await client.CancelWatch.Wait(this, Timeout.InfiniteTimeSpan, stopped.Token).ConfigureAwait(false);
                outcome = AgxException.Of(AgxStatus.Canceled, "the session was cancelled");
            }
            catch (AgxTakenOverException taken)
            {
                outcome = taken;
            }
            catch (Exception error) when (error is OperationCanceledException or AgxException)
            {
                return null;
            }
            stopped.Cancel();
            return outcome;
        }

        async Task<AgxEvent?> NextFor(string? where, CancellationToken token)
        {
            string begin = await client.Workers.Run(Waited, token).WaitAsync(token).ConfigureAwait(false);
            await using AgxListener listener = OpenListener(new AgxListenOptions
            {
                After = begin,
                Where = where,
                Wait = Timeout.InfiniteTimeSpan,
                Timeout = Timeout.InfiniteTimeSpan,
            });
            try
            {
                AgxEvent? next = await listener.NextAsync(token).ConfigureAwait(false);
                if (next != null) GoOnBehind(begin, next.Id);
                return next;
            }
            catch (AgxGapException)
            {
                GoOnBehind(begin, "0-0");
                throw;
            }
            catch (AgxException error) when (error.EntryId != null)
            {
                GoOnBehind(begin, error.EntryId);
                throw;
            }
        }

        string Waited()
        {
            byte[] room = new byte[IdSize];
            using (Use use = handle.Enter()) Done(agxnative.agx_waited(use.Number, room));
            return Text.Read(room, 0);
        }

        // Unless another wait is further.
        void GoOnBehind(string begin, string id)
        {
            lock (waited)
            {
                string now = Waited();
                if (now != begin && Compare(now, id) >= 0) return;
                using (Use use = handle.Enter()) Done(agxnative.agx_set_waited(use.Number, Text.EncodeGiven(id, "id")));
            }
        }

        static int Compare(string one, string other)
        {
            (ulong first, ulong second) = Parts(one);
            (ulong otherFirst, ulong otherSecond) = Parts(other);
            int order = first.CompareTo(otherFirst);
            return order != 0 ? order : second.CompareTo(otherSecond);
        }

        static (ulong, ulong) Parts(string id)
        {
            string[] parts = id.Split('-');
            ulong.TryParse(parts[0], out ulong first);
            ulong.TryParse(parts.Length > 1 ? parts[1] : "", out ulong second);
            return (first, second);
        }
    }
}
