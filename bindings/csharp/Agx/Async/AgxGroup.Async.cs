using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    public sealed partial class AgxGroup : IAsyncDisposable
    {
        // A thread of its own, which is gone when nothing was read for a while: a read waits for long.
        readonly Workers reader = new(1);

        /// <inheritdoc cref="Read"/>
        public Task<IReadOnlyList<AgxEvent>> ReadAsync(TimeSpan timeout, AgxGroupSource source = AgxGroupSource.PendingFirst, int count = 100, CancellationToken cancellationToken = default)
            => reader.Run(() => Read(timeout, source, count, cancellationToken), cancellationToken);

        /// <summary><see cref="Process(Action{AgxEvent, long}, AgxProcessOptions?, CancellationToken)"/> with a handler whose task is waited for, on a thread of its own.
        /// Events are handled one at a time; open the group several times to handle as many at
        /// once.</summary>
        /// <inheritdoc cref="Process(Action{AgxEvent, long}, AgxProcessOptions?, CancellationToken)"/>
        public Task<AgxStatus> ProcessAsync(Func<AgxEvent, long, Task> handler, AgxProcessOptions? options = null, CancellationToken cancellationToken = default)
        {
            ArgumentNullException.ThrowIfNull(handler);
            return Task.Factory.StartNew(() => Process((value, attempt) => handler(value, attempt).GetAwaiter().GetResult(), options, cancellationToken),
                cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        }

        /// <inheritdoc cref="Ack(string)"/>
        public Task<bool> AckAsync(string id, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Ack(id), cancellationToken);

        /// <inheritdoc cref="Ack(IEnumerable{string})"/>
        public Task<long> AckAsync(IEnumerable<string> ids, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Ack(ids), cancellationToken);

        /// <inheritdoc cref="Ack(IEnumerable{AgxEvent})"/>
        public Task<long> AckAsync(IEnumerable<AgxEvent> events, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Ack(events), cancellationToken);

        /// <inheritdoc cref="Claim"/>
        public Task<IReadOnlyList<AgxEvent>> ClaimAsync(TimeSpan minIdle, IEnumerable<string> ids, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Claim(minIdle, ids), cancellationToken);

        /// <inheritdoc cref="AutoClaim"/>
        public Task<AgxClaim> AutoClaimAsync(TimeSpan minIdle, string? cursor = null, int count = 100, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => AutoClaim(minIdle, cursor, count), cancellationToken);

        /// <inheritdoc cref="Pending"/>
        public Task<AgxPending> PendingAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Pending, cancellationToken);

        /// <inheritdoc cref="PendingEvents"/>
        public Task<IReadOnlyList<AgxPendingEvent>> PendingEventsAsync(AgxPendingOptions? options = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => PendingEvents(options), cancellationToken);

        /// <inheritdoc cref="Consumers"/>
        public Task<IReadOnlyList<AgxConsumerInfo>> ConsumersAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Consumers, cancellationToken);

        /// <inheritdoc cref="Health"/>
        public Task<AgxHealth> HealthAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Health, cancellationToken);

        /// <inheritdoc cref="DeleteConsumer"/>
        public Task<long> DeleteConsumerAsync(string? consumer = null, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => DeleteConsumer(consumer), cancellationToken);

        /// <inheritdoc cref="Delete"/>
        public Task<bool> DeleteAsync(CancellationToken cancellationToken = default)
            => client.Workers.Run(Delete, cancellationToken);

        /// <inheritdoc cref="DeadLetters"/>
        public Task<IReadOnlyList<AgxDeadLetter>> DeadLettersAsync(string? after = null, int count = 100, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => DeadLetters(after, count), cancellationToken);

        /// <inheritdoc cref="Replay"/>
        public Task<long> ReplayAsync(IEnumerable<string> ids, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => Replay(ids), cancellationToken);

        /// <inheritdoc cref="DeleteDeadLetters"/>
        public Task<long> DeleteDeadLettersAsync(IEnumerable<string> ids, CancellationToken cancellationToken = default)
            => client.Workers.Run(() => DeleteDeadLetters(ids), cancellationToken);

        // Not by this object, which the thread would keep.
        partial void Opened() => handle.Closing = reader.Close;

        /// <summary><see cref="Dispose"/>, without waiting in it.</summary>
        public ValueTask DisposeAsync()
        {
            if (IsWithin()) Dispose(); // throws
            return new ValueTask(Task.Factory.StartNew(Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
        }
    }

    public sealed partial class AgxSubscription : IAsyncDisposable
    {
        /// <summary><see cref="Dispose()"/>, without waiting in it.</summary>
        public ValueTask DisposeAsync()
        {
            if (Within() == null) return new ValueTask(Task.Factory.StartNew(Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
            Dispose();
            return default;
        }
    }
}
