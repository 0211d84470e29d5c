using System;
using System.Buffers;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace Agx
{
    // Await each call before the next: a run's order is the order of its calls.
    public sealed partial class AgxRun : IAsyncDisposable
    {
        Workers Workers => session.Client.Workers;

        /// <inheritdoc cref="BeginNode"/>
        public Task BeginNodeAsync(CancellationToken cancellationToken = default)
            => Workers.Run(BeginNode, cancellationToken);

        /// <inheritdoc cref="ToolReturn"/>
        public Task ToolReturnAsync(string toolName, string toolCallId, string? content, CancellationToken cancellationToken = default)
            => Workers.Run(() => ToolReturn(toolName, toolCallId, content), cancellationToken);

        /// <inheritdoc cref="BeginPart"/>
        public Task<int> BeginPartAsync(AgxPartKind kind, string content = "", CancellationToken cancellationToken = default)
            => Workers.Run(() => BeginPart(kind, content), cancellationToken);

        /// <inheritdoc cref="BeginToolCall"/>
        public Task<int> BeginToolCallAsync(string toolName, string? toolCallId = null, string args = "", CancellationToken cancellationToken = default)
            => Workers.Run(() => BeginToolCall(toolName, toolCallId, args), cancellationToken);

        /// <inheritdoc cref="Delta"/>
        public Task DeltaAsync(int part, string delta, CancellationToken cancellationToken = default)
            => Workers.Run(() => Delta(part, delta), cancellationToken);

        /// <inheritdoc cref="EndPart"/>
        public Task EndPartAsync(int part = LastPart, CancellationToken cancellationToken = default)
            => Workers.Run(() => EndPart(part), cancellationToken);

        /// <inheritdoc cref="Answer"/>
        public Task AnswerAsync(CancellationToken cancellationToken = default)
            => Workers.Run(Answer, cancellationToken);

        /// <inheritdoc cref="EndNode"/>
        public Task<string> EndNodeAsync(CancellationToken cancellationToken = default)
            => Workers.Run(EndNode, cancellationToken);

        /// <summary>Takes bytes of the body of a model's streaming HTTP response, cut anywhere, and writes
        /// what they say as the session's events. They may be changed when it is done.</summary>
        /// <exception cref="AgxModelException">The stream reports an error, or is none of this
        /// API.</exception>
        public Task FeedAsync(AgxModelApi api, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken = default)
            => Workers.Run(() => FeedNow(api, bytes), cancellationToken);

        void FeedNow(AgxModelApi api, ReadOnlyMemory<byte> bytes)
        {
            if (MemoryMarshal.TryGetArray(bytes, out ArraySegment<byte> part) && part.Array != null) Feed(api, part.Array, part.Offset, part.Count);
            else Feed(api, bytes.ToArray());
        }

        /// <summary>Feeds all of a response's body, as it comes, and ends it.</summary>
        /// <returns>The response as a message for <see cref="AgxMessages.Append"/>.</returns>
        /// <exception cref="AgxModelException">The stream reported an error or broke off.</exception>
        public async Task<string> FeedAsync(AgxModelApi api, Stream stream, CancellationToken cancellationToken = default)
        {
            ArgumentNullException.ThrowIfNull(stream);
            byte[] buffer = ArrayPool<byte>.Shared.Rent(16 << 10);
            try
            {
                await FeedAsync(api, ReadOnlyMemory<byte>.Empty, cancellationToken).ConfigureAwait(false);
                int count;
                while ((count = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
                {
                    await FeedAsync(api, buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
            return await EndFeedAsync(cancellationToken).ConfigureAwait(false);
        }

        /// <inheritdoc cref="EndFeed"/>
        public Task<string> EndFeedAsync(CancellationToken cancellationToken = default)
            => Workers.Run(EndFeed, cancellationToken);

        /// <inheritdoc cref="Flush"/>
        public Task FlushAsync(CancellationToken cancellationToken = default)
            => Workers.Run(Flush, cancellationToken);

        /// <inheritdoc cref="Finish"/>
        public Task FinishAsync(CancellationToken cancellationToken = default)
            => Workers.Run(Finish, cancellationToken);

        /// <inheritdoc cref="Fail"/>
        public Task FailAsync(string? message, CancellationToken cancellationToken = default)
            => Workers.Run(() => Fail(message), cancellationToken);

        /// <summary><see cref="Dispose"/>, without waiting in it.</summary>
        public ValueTask DisposeAsync() => new(Workers.Run(Dispose, CancellationToken.None));
    }

    public sealed partial class AgxMessages
    {
        /// <inheritdoc cref="Load"/>
        public Task LoadAsync(CancellationToken cancellationToken = default) => Run(Load, cancellationToken);

        /// <inheritdoc cref="Save"/>
        public Task SaveAsync(CancellationToken cancellationToken = default) => Run(Save, cancellationToken);

        Task Run(Action call, CancellationToken cancellationToken)
            => client != null ? client.Workers.Run(call, cancellationToken) : Task.Run(call, cancellationToken);
    }
}
