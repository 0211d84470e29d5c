using System;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>What libagx could not do. <see cref="Exception.Message"/> says what to do about it, and
    /// never contains a password. What a caller may want to catch has a type of its own.</summary>
    public class AgxException : Exception
    {
        internal AgxException(AgxStatus status, string message) : base(message)
        {
            Status = status;
        }

        /// <summary>Which outcome or error it is.</summary>
        public AgxStatus Status { get; }

        /// <summary>With <see cref="AgxStatus.Unsupported"/>: which entry of a stream cannot be read; else
        /// null.</summary>
        public string? EntryId { get; internal set; }

        /// <summary>Of adding many: how many events, from the first on, are known to be stored.</summary>
        public int Added { get; internal set; }

        /// <summary>Of the end of a model's response: what there was of it, or null.</summary>
        public string? Response { get; internal set; }

        /// <summary>The exception for a status, with what the last call in this thread said.</summary>
        internal static AgxException Last(int status)
        {
            AgxException error = Of((AgxStatus)status, Text.Read(agxnative.agx_last_error()));
            error.SetEntry(Text.Read(agxnative.agx_last_error_entry()));
            return error;
        }

        internal void SetEntry(string? id)
        {
            if (!string.IsNullOrEmpty(id)) EntryId = id;
        }

        /// <summary>Throws if a call in this thread did not return AGX_OK.</summary>
        internal static void Check(int status)
        {
            if (status != 0) throw Last(status);
        }

        /// <summary>What a call is to throw whose token may have been cancelled: while the store was
        /// unavailable, so that nothing was written, that is what it is told as.</summary>
        internal static Exception OrCanceled(Exception error, CancellationToken token)
        {
            AgxUnavailableException? unavailable = error as AgxUnavailableException;
            if (unavailable == null || unavailable.Added > 0 || !token.IsCancellationRequested) return error;
            return new OperationCanceledException("it was cancelled while the store was unavailable: " + error.Message, error, token);
        }

        internal static AgxException Closed(string what)
        {
            return new AgxClosedException(AgxStatus.Closed, "the " + what + " is closed");
        }

        internal static AgxException Of(AgxStatus status, string message)
        {
            if (message.Length == 0) message = "libagx: " + status;
            // C cannot tell a handle that was closed from what is none, which there is not here.
            int other = status == AgxStatus.Closed ? message.IndexOf(" is closed, or no", StringComparison.Ordinal) : -1;
            if (other >= 0) message = message.Substring(0, other) + " is closed";
            switch (status)
            {
                case AgxStatus.Canceled: return new AgxCanceledException(status, message);
                case AgxStatus.TakenOver: return new AgxTakenOverException(status, message);
                case AgxStatus.Busy: return new AgxBusyException(status, message);
                case AgxStatus.Ended: return new AgxEndedException(status, message);
                case AgxStatus.Timeout: return new AgxTimeoutException(status, message);
                case AgxStatus.Gap: return new AgxGapException(status, message);
                case AgxStatus.Silent: return new AgxSilentException(status, message);
                case AgxStatus.Gone: return new AgxGoneException(status, message);
                case AgxStatus.None: return new AgxNotFoundException(status, message);
                case AgxStatus.Absent: return new AgxAbsentException(status, message);
                case AgxStatus.NotLive: return new AgxNotLiveException(status, message);
                case AgxStatus.Invalid: return new AgxInvalidException(status, message);
                case AgxStatus.BadJson: return new AgxJsonException(status, message);
                case AgxStatus.Closed: return new AgxClosedException(status, message);
                case AgxStatus.Unreachable:
                case AgxStatus.NoAnswer:
                case AgxStatus.Loading: return new AgxUnavailableException(status, message);
                case AgxStatus.Uncertain: return new AgxUncertainException(status, message);
                case AgxStatus.NotAuthenticated:
                case AgxStatus.Denied: return new AgxDeniedException(status, message);
                case AgxStatus.Conflict: return new AgxConflictException(status, message);
                case AgxStatus.Unsupported: return new AgxUnsupportedException(status, message);
                case AgxStatus.Swallowed: return new AgxSwallowedException(status, message);
                case AgxStatus.Model: return new AgxModelException(status, message);
                default: return new AgxException(status, message);
            }
        }
    }

    /// <summary>The session was cancelled. (What a <see cref="System.Threading.CancellationToken"/> ends throws <see cref="OperationCanceledException"/>.)</summary>
    public sealed class AgxCanceledException : AgxException
    {
        internal AgxCanceledException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>Another producer took the session over; nothing was written.</summary>
    public sealed class AgxTakenOverException : AgxException
    {
        internal AgxTakenOverException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The session has ended, so that what was waited for does not come any more. (To who listens the
    /// end is none, but that of the events.)</summary>
    public sealed class AgxEndedException : AgxException
    {
        internal AgxEndedException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The session is live already, or the listener or group is in use.</summary>
    public sealed class AgxBusyException : AgxException
    {
        internal AgxBusyException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>Nothing came within the time that the call was given.</summary>
    public sealed class AgxTimeoutException : AgxException
    {
        internal AgxTimeoutException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The store dropped events that the listener may still have needed. It can go on with the first that is left.</summary>
    public sealed class AgxGapException : AgxException
    {
        internal AgxGapException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>No event came for as long as <see cref="AgxListenOptions.Timeout"/>. The listener can go on.</summary>
    public sealed class AgxSilentException : AgxException
    {
        internal AgxSilentException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The producer is gone without an end. The listener can go on, in case another producer does;
    /// <see cref="AgxListener.GoneReason"/> tells what became of it.</summary>
    public sealed class AgxGoneException : AgxException
    {
        internal AgxGoneException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>What became of a producer that is gone.</summary>
    public enum AgxGoneReason
    {
        /// <summary>The listener has not told that it is gone.</summary>
        Not = 0,
        /// <summary>Its lease ran out, or there was no live flag: it may have died.</summary>
        Expired = 1,
        /// <summary>Its live flag was taken away before that, and nothing came for a lease: it was
        /// cancelled, or it was stopped and nobody could say so.</summary>
        Taken = 2,
        /// <summary>It was stopped, or the session deleted, in a format without an end.</summary>
        Stopped = 3,
    }

    /// <summary>There is no such session, group, message or part.</summary>
    public class AgxNotFoundException : AgxException
    {
        internal AgxNotFoundException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The session never appeared within <see cref="AgxListenOptions.Wait"/>. The listener can go on waiting.</summary>
    public sealed class AgxAbsentException : AgxNotFoundException
    {
        internal AgxAbsentException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The session is not live.</summary>
    public sealed class AgxNotLiveException : AgxNotFoundException
    {
        internal AgxNotLiveException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>An argument is not valid; the message says which and why.</summary>
    public sealed class AgxInvalidException : AgxException
    {
        internal AgxInvalidException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>A body or a conversation is not JSON, or nested too deep.</summary>
    public sealed class AgxJsonException : AgxException
    {
        internal AgxJsonException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The object, or the client that it came from, was closed.</summary>
    public sealed class AgxClosedException : AgxException
    {
        internal AgxClosedException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The store cannot be reached, does not answer, or is still loading. Nothing was written; it may be tried again.</summary>
    public sealed class AgxUnavailableException : AgxException
    {
        internal AgxUnavailableException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The connection was lost on the way: it may have been written.</summary>
    public sealed class AgxUncertainException : AgxException
    {
        internal AgxUncertainException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The store refuses the user or password, or the user lacks a permission.</summary>
    public sealed class AgxDeniedException : AgxException
    {
        internal AgxDeniedException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>Somebody else saved the conversation, or moved the checkpoint, in between.</summary>
    public sealed class AgxConflictException : AgxException
    {
        internal AgxConflictException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The model reported an error, or its stream broke off or is none.</summary>
    public sealed class AgxModelException : AgxException
    {
        internal AgxModelException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>The store, this build, or the stream's format has no way to do it; nothing was written.</summary>
    public sealed class AgxUnsupportedException : AgxException
    {
        internal AgxUnsupportedException(AgxStatus status, string message) : base(status, message) { }
    }

    /// <summary>An interceptor swallowed the event: it was not written.</summary>
    public sealed class AgxSwallowedException : AgxException
    {
        internal AgxSwallowedException(AgxStatus status, string message) : base(status, message) { }
    }
}
