using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    // Tokens: a call that has not begun yet is not made; one that has is carried out, as nobody could
    // tell otherwise whether it was. Waits end at once.
    public sealed partial class AgxSession : IAsyncDisposable
    {
        AddQueue? queue;

        AddQueue Queue => queue ?? Interlocked.CompareExchange(ref queue, new AddQueue(this), null) ?? queue;

        // Behind what was queued before it, and before what is queued after it.
        Task<T> InTurn<T>(Func<T> call, CancellationToken cancellationToken)
        {
            if (AgxInterceptor.IsWithin(client)) return Now(call, cancellationToken);
            if (cancellationToken.IsCancellationRequested) return Task.FromCanceled<T>(cancellationToken);
            var job = new Job<T>(cancellationToken, continuesHere: true);
            Queue.Add(client.Adder, () =>
            {
                bool taken = job.Take();
                if (taken) Workers.Call(job, call);
                Queue.GoOn(client.Adder);
                if (taken) client.Workers.Complete(job);
            }, error =>
            {
                if (!job.Take()) return;
                job.Keep(error);
                job.CompleteElsewhere();
            });
            return job.Task;
        }

        Task InTurn(Action call, CancellationToken cancellationToken)
            => InTurn(() => { call(); return true; }, cancellationToken);

        // The queue waits for the interceptor that asks for this.
        static Task<T> Now<T>(Func<T> call, CancellationToken cancellationToken)
        {
            if (cancellationToken.IsCancellationRequested) return Task.FromCanceled<T>(cancellationToken);
            try
            {
                return Task.FromResult(call());
            }
            catch (Exception error)
            {
                return Task.FromException<T>(error);
            }
        }

        partial void Behind()
        {
            if (queue == null || queue.IsIdle || AgxInterceptor.IsWithin(client)) return;
            InTurn(static () => { }, CancellationToken.None).GetAwaiter().GetResult();
        }

        /// <inheritdoc cref="Start"/>
        public Task StartAsync(AgxStartOptions? options = null, CancellationToken cancellationToken = default)
            => InTurn(() => StartNow(options), cancellationToken);

        /// <inheritdoc cref="Stop"/>
        public Task StopAsync(TimeSpan? grace = null, CancellationToken cancellationToken = default)
            => InTurn(() => StopNow(grace), cancellationToken);

        /// <inheritdoc cref="IsLive"/>
        public Task<bool> IsLiveAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(IsLive, cancellationToken);

        /// <inheritdoc cref="Renew"/>
        public Task RenewAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Renew, cancellationToken);

        /// <inheritdoc cref="Cancel"/>
        public Task<bool> CancelAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Cancel, cancellationToken);

        /// <summary>Adds an event; done when the store has it. Those that are added to a session at once
        /// keep their order; all of a client's share round trips. Also after a cancel and after a stop an add succeeds, as
        /// <see cref="Add(string, string, string?)"/> says: who is to stop then looks at <see cref="IsCanceled"/>
        /// or awaits <see cref="WaitCanceledAsync(CancellationToken)"/>, or uses <see cref="ExecuteAsync"/>, whose
        /// token that cancels.</summary>
        /// <exception cref="AgxTakenOverException">This object has started the session, and knows that another
        /// producer took it over.</exception>
        /// <param name="type">1 to 256 bytes.</param>
        /// <param name="origin">Who says it; 1 to 256 bytes.</param>
        /// <param name="body">JSON text; null for none, which listeners read as "{}".</param>
        /// <param name="cancellationToken">Takes back what was not sent yet.</param>
        /// <returns>The event's id.</returns>
        [OverloadResolutionPriority(1)] // for null
        public Task<string> AddAsync(string type, string origin, string? body = null, CancellationToken cancellationToken = default)
            => AddAsync(() => new Packed(type, origin, Text.Encode(body, "body")), cancellationToken);

        /// <summary>The same with a body that is UTF-8 already.</summary>
        public Task<string> AddAsync(string type, string origin, ReadOnlyMemory<byte> body, CancellationToken cancellationToken = default)
            => AddAsync(() => new Packed(type, origin, Text.Encode(body.ToArray(), "body")), cancellationToken);

        /// <summary>The same with a body that was parsed.</summary>
        public Task<string> AddAsync(string type, string origin, JsonElement body, CancellationToken cancellationToken = default)
            => AddAsync(() => new Packed(type, origin, Text.Encode(Raw(body), "body")), cancellationToken);

        static string Raw(JsonElement body)
        {
            if (body.ValueKind == JsonValueKind.Undefined) throw Text.Invalid("body is no JSON: it was never parsed");
            return body.GetRawText();
        }

        /// <summary>The same with a body that a value becomes by System.Text.Json.</summary>
        public Task<string> AddJsonAsync<T>(string type, string origin, T body, JsonSerializerOptions? options = null, CancellationToken cancellationToken = default)
            => AddAsync(() => new Packed(type, origin, Text.Encode(JsonSerializer.SerializeToUtf8Bytes(body, options), "body")), cancellationToken);

        Task<string> AddAsync(Func<Packed> pack, CancellationToken cancellationToken)
        {
            if (cancellationToken.IsCancellationRequested) return Task.FromCanceled<string>(cancellationToken);
            Packed packed;
            try
            {
                packed = pack();
            }
            catch (Exception error)
            {
                return Task.FromException<string>(error);
            }
            if (AgxInterceptor.IsWithin(client)) return Now(() => AddNow(packed), cancellationToken);
            return Queue.Add(client.Adder, packed, cancellationToken);
        }

        // All are complete then but the one that is returned, which is to be.
        internal Adding? AddNow(List<Adding> now)
        {
            if (now.Count == 0) return null;
            if (now.Count == 1)
            {
                AddOne(now[0]);
                return now[0];
            }
            // What an interceptor refuses keeps those from being written that go with it.
            if (IsIntercepted) return AddEach(now);
            var ids = new string[now.Count];
            AgxException? error;
            try
            {
                using var packed = new PackedEvents();
                foreach (Adding one in now) packed.Add(one.Event);
                error = AddManyNow(packed, ids);
            }
            catch (Exception other)
            {
                foreach (Adding one in now) one.Keep(other);
                return CompleteAllButOne(now);
            }
            // One that is not valid keeps all from being written; it is the only one that should.
            if (error != null && error.Added == 0 && error is AgxInvalidException or AgxJsonException or { Status: AgxStatus.TooBig }) return AddEach(now);
            for (int i = 0; i < now.Count; ++i)
            {
                if (ids[i] == "") now[i].Keep(AgxException.Of(AgxStatus.Swallowed, "an interceptor swallowed the event"));
                else if (ids[i] != null) now[i].Keep(ids[i]);
                else now[i].Keep(error == null ? AgxException.Of(AgxStatus.Failed, "no id came") : AgxException.Of(error.Status, error.Message));
            }
            return CompleteAllButOne(now);
        }

        Adding? AddEach(List<Adding> now)
        {
            foreach (Adding one in now)
            {
                AddOne(one);
                one.CompleteElsewhere();
            }
            return null;
        }

        internal static Adding CompleteAllButOne(List<Adding> now)
        {
            for (int i = 1; i < now.Count; ++i) now[i].CompleteElsewhere();
            return now[0];
        }

        internal void AddOne(Adding one)
        {
            try
            {
                one.Keep(AddNow(one.Event));
            }
            catch (Exception error)
            {
                one.Keep(error);
            }
        }

        /// <inheritdoc cref="AddMany(IEnumerable{AgxNewEvent})"/>
        public Task<IReadOnlyList<string>> AddManyAsync(IEnumerable<AgxNewEvent> events, CancellationToken cancellationToken = default)
            => InTurn(() => AddManyNow(events), cancellationToken);

        /// <inheritdoc cref="AddChecked"/>
        public Task AddCheckedAsync(IEnumerable<AgxNewEvent> events, string name, string from, string to, CancellationToken cancellationToken = default)
            => InTurn(() => AddCheckedNow(events, name, from, to), cancellationToken);

        /// <inheritdoc cref="Checkpoint"/>
        public Task<string> CheckpointAsync(string name, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Checkpoint(name), cancellationToken);

        /// <summary>Waits until the session that this object started is cancelled.</summary>
        /// <exception cref="AgxTakenOverException">Another producer took it over.</exception>
        /// <exception cref="AgxNotLiveException">This object did not start it, or has stopped it.</exception>
        public Task WaitCanceledAsync(CancellationToken cancellationToken = default)
            => client.CancelWatch.Wait(this, Timeout.InfiniteTimeSpan, cancellationToken);

        /// <inheritdoc cref="WaitCanceled"/>
        public Task<bool> WaitCanceledAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
            => client.CancelWatch.Wait(this, timeout, cancellationToken);

        /// <inheritdoc cref="OpenListener"/>
        public Task<AgxListener> OpenListenerAsync(AgxListenOptions? options = null, CancellationToken cancellationToken = default)
        {
            if (cancellationToken.IsCancellationRequested) return Task.FromCanceled<AgxListener>(cancellationToken);
            if (options?.After is AgxListenOptions.New or "$") return client.Workers.Run(() => OpenListener(options), cancellationToken);
            try
            {
                return Task.FromResult(OpenListener(options));
            }
            catch (AgxException error)
            {
                return Task.FromException<AgxListener>(error);
            }
        }

        /// <summary>The session's events: those that are there, and then those that come, until its end. No
        /// thread waits. What an exception ends can be gone on with by <see cref="OpenListenerAsync"/> and
        /// <see cref="AgxListener.ReadAllAsync"/>.</summary>
        /// <exception cref="AgxGapException">The store dropped events that were still needed.</exception>
        /// <exception cref="AgxAbsentException">The session does not appear.</exception>
        /// <exception cref="AgxSilentException">Nothing comes.</exception>
        /// <exception cref="AgxGoneException">The producer is gone, without an end.</exception>
        public async IAsyncEnumerable<AgxEvent> ListenAsync(AgxListenOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            using AgxListener listener = await OpenListenerAsync(options, cancellationToken).ConfigureAwait(false);
            while (await listener.NextAsync(cancellationToken).ConfigureAwait(false) is AgxEvent next) yield return next;
        }

        /// <inheritdoc cref="ListenAsync(AgxListenOptions?, CancellationToken)"/>
        [OverloadResolutionPriority(-1)] // for new() { … }
        public IAsyncEnumerable<AgxEvent> ListenAsync(CancellationToken cancellationToken) => ListenAsync(null, cancellationToken);

        /// <summary><see cref="Subscribe(Action{AgxEvent}, AgxSubscribeOptions?)"/>, without waiting in
        /// it.</summary>
        public Task<AgxSubscription> SubscribeAsync(Action<AgxEvent> function, AgxSubscribeOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Subscribe(function, options), cancellationToken);

        /// <summary><see cref="Subscribe(Action{AgxEvent, AgxSubscription}, AgxSubscribeOptions?)"/>, without
        /// waiting in it.</summary>
        public Task<AgxSubscription> SubscribeAsync(Action<AgxEvent, AgxSubscription> function, AgxSubscribeOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Subscribe(function, options), cancellationToken);

        /// <summary>The same with a function whose task is waited for before the next call; a thread of the
        /// library's is its own for as long as it takes. ListenAsync needs none.</summary>
        public Task<AgxSubscription> SubscribeAsync(Func<AgxEvent, Task> function, AgxSubscribeOptions? options = null, CancellationToken cancellationToken = default)
        {
            ArgumentNullException.ThrowIfNull(function);
            return SubscribeAsync(value => function(value).GetAwaiter().GetResult(), options, cancellationToken);
        }

        /// <inheritdoc cref="SubscribeAsync(Func{AgxEvent, Task}, AgxSubscribeOptions?, CancellationToken)"/>
        public Task<AgxSubscription> SubscribeAsync(Func<AgxEvent, AgxSubscription, Task> function, AgxSubscribeOptions? options = null, CancellationToken cancellationToken = default)
        {
            ArgumentNullException.ThrowIfNull(function);
            return SubscribeAsync((value, subscription) => function(value, subscription).GetAwaiter().GetResult(), options, cancellationToken);
        }

        /// <inheritdoc cref="OpenGroup"/>
        public Task<AgxGroup> OpenGroupAsync(string name, AgxGroupOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => OpenGroup(name, options), cancellationToken);

        /// <inheritdoc cref="Groups"/>
        public Task<IReadOnlyList<AgxGroupInfo>> GroupsAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Groups, cancellationToken);

        /// <inheritdoc cref="History"/>
        public Task<IReadOnlyList<AgxEvent>> HistoryAsync(AgxHistoryOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => History(options), cancellationToken);

        /// <inheritdoc cref="HistoryInfo"/>
        public Task<AgxHistoryInfo> HistoryInfoAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(HistoryInfo, cancellationToken);

        /// <inheritdoc cref="Trim"/>
        public Task<long> TrimAsync(long keep, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Trim(keep), cancellationToken);

        /// <inheritdoc cref="TrimBefore"/>
        public Task<long> TrimBeforeAsync(string id, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => TrimBefore(id), cancellationToken);

        /// <inheritdoc cref="Replace"/>
        public Task<long> ReplaceAsync(IEnumerable<AgxNewEvent> events, CancellationToken cancellationToken = default)
            => InTurn(() => ReplaceNow(events), cancellationToken);

        /// <inheritdoc cref="Drop"/>
        public Task<long> DropAsync(CancellationToken cancellationToken = default)
            => InTurn(DropNow, cancellationToken);

        /// <inheritdoc cref="Delete"/>
        public Task<bool> DeleteAsync(CancellationToken cancellationToken = default)
            => InTurn(DeleteNow, cancellationToken);

        /// <inheritdoc cref="BeginRun"/>
        public Task<AgxRun> BeginRunAsync(AgxRunOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => BeginRun(options), cancellationToken);

        /// <summary>One whole run: begins it, loads the conversation, calls the agent, saves the
        /// conversation, and ends the session, whatever happens. The agent's token is cancelled when the
        /// session is. What the agent throws ends the session with an error event, and is thrown
        /// on.</summary>
        /// <exception cref="AgxCanceledException">The session was cancelled.</exception>
        public async Task ExecuteAsync(Func<AgxRun, CancellationToken, Task> agent, AgxMessages? messages = null, AgxRunOptions? options = null, CancellationToken cancellationToken = default)
        {
            ArgumentNullException.ThrowIfNull(agent);
            await using AgxRun run = await BeginRunAsync(options, cancellationToken).ConfigureAwait(false);
            using CancellationTokenSource source = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            using var done = new CancellationTokenSource();
            Task watch = CancelWhenCanceled(source, done.Token);
            try
            {
                if (messages != null) await messages.LoadAsync(source.Token).ConfigureAwait(false);
                await agent(run, source.Token).ConfigureAwait(false);
                if (messages != null) await messages.SaveAsync(source.Token).ConfigureAwait(false);
            }
            catch (Exception error)
            {
                // The session's cancel is told as such, by what every call of the run says then.
                if (error is OperationCanceledException && IsCanceled) await run.FlushAsync(CancellationToken.None).ConfigureAwait(false);
                await client.Workers.Run(() => run.Abandon(error), CancellationToken.None).ConfigureAwait(false);
                throw;
            }
            finally
            {
                done.Cancel();
                await watch.ConfigureAwait(false);
            }
            await run.FinishAsync(CancellationToken.None).ConfigureAwait(false);
        }

        async Task CancelWhenCanceled(CancellationTokenSource source, CancellationToken done)
        {
            try
            {
                await WaitCanceledAsync(done).ConfigureAwait(false);
            }
            catch (AgxTakenOverException)
            {
            }
            catch (Exception error) when (error is OperationCanceledException or AgxException)
            {
                return; // the run is over, or its client is closed, which its calls say
            }
            source.Cancel();
        }

        /// <summary><see cref="Dispose"/>, without waiting in it.</summary>
        public ValueTask DisposeAsync() => new(Task.Run(Dispose));
    }
}
