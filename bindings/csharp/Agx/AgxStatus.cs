namespace Agx
{
    /// <summary>What a call of libagx came to: a positive value is an outcome that a caller plans for,
    /// a negative one an error. <see cref="AgxException.Status"/> has it.</summary>
    public enum AgxStatus
    {
        /// <summary>It was done.</summary>
        Ok = 0,
        /// <summary>Nothing came within the call's timeout.</summary>
        Timeout = 1,
        /// <summary>The session ended, or there is nothing further.</summary>
        Ended = 2,
        /// <summary>The session never appeared within the listener's wait.</summary>
        Absent = 3,
        /// <summary>No event for the listener's timeout.</summary>
        Silent = 4,
        /// <summary>The producer's lease ran out and there is no end.</summary>
        Gone = 5,
        /// <summary>The store dropped events that the listener may still have needed.</summary>
        Gap = 6,
        /// <summary>A wait was interrupted.</summary>
        Interrupted = 7,
        /// <summary>The listener handed on as many events as its limit.</summary>
        Limit = 8,
        /// <summary>The session was cancelled.</summary>
        Canceled = 9,
        /// <summary>Another producer took the session over.</summary>
        TakenOver = 10,
        /// <summary>The session is not live.</summary>
        NotLive = 11,
        /// <summary>There is no such message, part, field or session.</summary>
        None = 12,
        /// <summary>A subscription's function is too slow; nothing is lost.</summary>
        Behind = 13,
        /// <summary>An interceptor swallowed the event; it was not written.</summary>
        Swallowed = 14,

        /// <summary>An argument is not valid.</summary>
        Invalid = -1,
        /// <summary>There is no memory; nothing was changed.</summary>
        NoMemory = -2,
        /// <summary>The object, or the client it came from, is closed.</summary>
        Closed = -3,
        /// <summary>The session is live already, or the listener is in use.</summary>
        Busy = -4,
        /// <summary>The store cannot be reached; nothing was written.</summary>
        Unreachable = -5,
        /// <summary>The store did not answer in time; nothing was written.</summary>
        NoAnswer = -6,
        /// <summary>The connection was lost on the way: it may have been written.</summary>
        Uncertain = -7,
        /// <summary>The store refuses the user or password, or wants one.</summary>
        NotAuthenticated = -8,
        /// <summary>The store's user lacks a permission.</summary>
        Denied = -9,
        /// <summary>The store is too old, or this build or a model's API cannot.</summary>
        Unsupported = -10,
        /// <summary>A key of another type is in the way.</summary>
        WrongType = -11,
        /// <summary>The store is out of memory.</summary>
        StoreFull = -12,
        /// <summary>The store takes no writes.</summary>
        ReadOnly = -13,
        /// <summary>The store is still loading its data.</summary>
        Loading = -14,
        /// <summary>The store sent what is not its protocol.</summary>
        Protocol = -15,
        /// <summary>Any other error that the store reports.</summary>
        Server = -16,
        /// <summary>A body, type, origin or id is longer than allowed.</summary>
        TooBig = -17,
        /// <summary>A body is not JSON, or nested too deep.</summary>
        BadJson = -18,
        /// <summary>The operating system refused a thread, descriptor, file or the like.</summary>
        System = -19,
        /// <summary>The call does not fit what the run is in the middle of.</summary>
        BadState = -20,
        /// <summary>Somebody else saved the conversation in between.</summary>
        Conflict = -21,
        /// <summary>The model reported an error, or its stream broke off or is none.</summary>
        Model = -22,
        /// <summary>The agent failed.</summary>
        Failed = -23
    }

    /// <summary>How much a line of the log matters.</summary>
    public enum AgxLogLevel
    {
        /// <summary>Something failed.</summary>
        Error = 0,
        /// <summary>Something is not as it should be.</summary>
        Warning = 1,
        /// <summary>Something happened.</summary>
        Info = 2,
        /// <summary>What it does.</summary>
        Debug = 3
    }

    /// <summary>The kind of a part of a model's response.</summary>
    public enum AgxPartKind
    {
        /// <summary>Text of the answer.</summary>
        Text = 0,
        /// <summary>What the model thinks.</summary>
        Thinking = 1
    }

    /// <summary>The APIs of models whose streams a run reads.</summary>
    public enum AgxModelApi
    {
        /// <summary>OpenAI Chat Completions, and what is compatible with it.</summary>
        OpenAIChat = 1,
        /// <summary>OpenAI Responses.</summary>
        OpenAIResponses = 2,
        /// <summary>Anthropic Messages.</summary>
        Anthropic = 3
    }
}
