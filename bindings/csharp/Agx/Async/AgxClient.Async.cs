using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    public sealed partial class AgxClient : IAsyncDisposable
    {
        internal Workers Workers { get; private set; } = null!;
        internal Adder Adder { get; private set; } = null!;
        internal Dispatcher Dispatcher { get; private set; } = null!;
        internal CancelWatch CancelWatch { get; private set; } = null!;

        partial void Opened()
        {
            // None of these knows the client, which else could never be found unused.
            var workers = new Workers();
            var dispatcher = new Dispatcher(Number);
            Workers = workers;
            Adder = new Adder(workers);
            Dispatcher = dispatcher;
            CancelWatch = new CancelWatch();
            handle.Closing += () =>
            {
                workers.Close();
                dispatcher.Close();
            };
        }

        /// <summary><see cref="Open"/>, without waiting in it.</summary>
        public static async Task<AgxClient> OpenAsync(string? url = null, AgxClientOptions? options = null, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Task<AgxClient> opening = Task.Factory.StartNew(() => Open(url, options), CancellationToken.None,
                TaskCreationOptions.LongRunning, TaskScheduler.Default);
            try
            {
                return await opening.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                _ = opening.ContinueWith(static late =>
                {
                    if (late.IsCompletedSuccessfully) late.Result.Dispose();
                    else _ = late.Exception;
                }, TaskScheduler.Default);
                throw;
            }
        }

        /// <summary><see cref="LiveSessions"/>, without waiting in it.</summary>
        public async IAsyncEnumerable<AgxSessionId> LiveSessionsAsync(long? scope = null, long? user = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            using QueryHandle query = OpenQuery(scope, user);
            for (;;)
            {
                List<AgxSessionId> page = await Workers.Run(() => Page(query), cancellationToken).ConfigureAwait(false);
                if (page.Count == 0) yield break;
                foreach (AgxSessionId id in page) yield return id;
            }
        }

        List<AgxSessionId> Page(QueryHandle query)
        {
            var page = new List<AgxSessionId>();
            while (page.Count < 100 && QueryNext(query, out AgxSessionId id)) page.Add(id);
            return page;
        }

        /// <summary><see cref="Dispose"/>, without waiting in it.</summary>
        public ValueTask DisposeAsync()
        {
            if (Within() != null)
            {
                Dispose();
                return default;
            }
            return new ValueTask(Task.Factory.StartNew(Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
        }
    }
}
