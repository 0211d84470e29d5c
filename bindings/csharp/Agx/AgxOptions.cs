using System;

namespace Agx
{
    /// <summary>What <see cref="AgxClient.Open"/> wants to know besides the URL, whose parameters have
    /// the rest.</summary>
    public sealed class AgxClientOptions
    {
        /// <summary>Gets the lines of the log, one at a time, within about a tenth of a second. What it
        /// throws is lost.</summary>
        public Action<AgxLogLevel, string>? Log { get; set; }
        /// <summary>The most verbose level that Log gets.</summary>
        public AgxLogLevel LogLevel { get; set; } = AgxLogLevel.Warning;
        /// <summary>Whose streams <see cref="AgxClient.OpenStream"/> opens, unless it is told otherwise:
        /// "agx", "openai-agents", "agent-framework" or "ag2"; null: "agx". The URL wins.</summary>
        public string? Format { get; set; }
    }

    /// <summary>How a stream of another framework is written.</summary>
    public sealed class AgxStreamOptions
    {
        /// <summary>"openai-agents", "agent-framework" or "ag2"; null: as the client has it.</summary>
        public string? Format { get; set; }
        /// <summary>About how many events the stream keeps; 0: as the client has it, or else the format.
        /// Not of "ag2".</summary>
        public long MaxLength { get; set; }
        /// <summary>"agent-framework": how long the stream stays behind its last event; zero: 10
        /// minutes. Others refuse it.</summary>
        public TimeSpan Expire { get; set; }
        /// <summary>"ag2": first part of the keys; null: "ag2:stream".</summary>
        public string? Prefix { get; set; }
        /// <summary>"ag2": what is published is marked as newer versions of ag2 do, which older ones cannot
        /// read. Others refuse it.</summary>
        public bool Tagged { get; set; }
    }

    /// <summary>How a session is started.</summary>
    public sealed class AgxStartOptions
    {
        /// <summary>Become the producer even if the session is live; the other one learns of it.</summary>
        public bool TakeOver { get; set; }
        /// <summary>The lease is not renewed and cancels are not watched: for a program that starts a
        /// session and exits.</summary>
        public bool Detached { get; set; }
        /// <summary>How long the session stays live without a sign of its producer; zero: as the client
        /// has it.</summary>
        public TimeSpan Lease { get; set; }
        /// <summary>The origin of begin and end; null: "opale".</summary>
        public string? Origin { get; set; }
        /// <summary>With TakeOver: the stream goes on where it was also if the session is not live any
        /// more.</summary>
        public bool Keep { get; set; }
    }

    /// <summary>What a listener hands on, and how long it waits.</summary>
    public sealed class AgxListenOptions
    {
        /// <summary>Only what comes from now on.</summary>
        public const string New = "new";

        /// <summary>null: everything from the beginning; <see cref="New"/>; or the id of an event: what
        /// came after it.</summary>
        public string? After { get; set; }
        /// <summary>How long the session may take to appear (<see cref="AgxAbsentException"/>); negative:
        /// for ever; 3 seconds by default.</summary>
        public TimeSpan Wait { get; set; } = TimeSpan.FromSeconds(3);
        /// <summary>How long it may be silent (<see cref="AgxSilentException"/>); negative: for
        /// ever; 60 seconds by default.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(60);
        /// <summary>The closing end is handed on as an event, too.</summary>
        public bool HandOnEnd { get; set; }
        /// <summary>After so many events the listener has come to its end; 0: there is no limit.</summary>
        public long Limit { get; set; }
        /// <summary>A condition, such as <c>type = "event" and body.n &gt; 3</c>: only events that it
        /// selects are handed on.
        ///
        /// Asked is <c>type</c>, <c>origin</c>, or <c>body</c> with a path of <c>.name</c>,
        /// <c>."any name"</c> and <c>[0]</c>; by <c>=</c>, <c>!=</c>, <c>&lt;</c>, <c>&lt;=</c>, <c>&gt;</c>
        /// and <c>&gt;=</c> with a JSON string in double quotes, a number, <c>true</c>, <c>false</c> or
        /// <c>null</c>; or alone: whether it is there. <c>not</c>, <c>and</c> and <c>or</c> bind in this order;
        /// parentheses. A field that is not there, or of another kind, is unequal and neither less nor more.
        /// The package's README has examples. A mistake is an <see cref="AgxInvalidException"/>, whose message
        /// tells the byte.</summary>
        public string? Where { get; set; }
    }

    /// <summary>What of a session's stream is read back.</summary>
    public sealed class AgxHistoryOptions
    {
        /// <summary>The id of an event: what came after it; null: from the first.</summary>
        public string? After { get; set; }
        /// <summary>The id of an event: what came before it; null: up to the last.</summary>
        public string? Before { get; set; }
        /// <summary>The newest first.</summary>
        public bool Reverse { get; set; }
        /// <summary>Only events that this condition selects: see <see cref="AgxListenOptions.Where"/>.</summary>
        public string? Where { get; set; }
        /// <summary>How many at most; all, if it is not set.</summary>
        public int Count { get; set; } = int.MaxValue;
    }

    /// <summary>How much there is of a session.</summary>
    public sealed class AgxHistoryInfo
    {
        internal AgxHistoryInfo(long length, string first, string last, string generated, bool live, long expire, long groups)
        {
            Length = length;
            FirstId = first;
            LastId = last;
            LastGeneratedId = generated;
            Live = live;
            Expires = expire < 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(expire);
            Groups = groups;
        }

        /// <summary>How many events the stream has.</summary>
        public long Length { get; }
        /// <summary>The id of the oldest that is there, or "".</summary>
        public string FirstId { get; }
        /// <summary>The id of the newest that is there, or "".</summary>
        public string LastId { get; }
        /// <summary>The highest id that was given out, of an event that may be gone.</summary>
        public string LastGeneratedId { get; }
        /// <summary>Whether the session is live.</summary>
        public bool Live { get; }
        /// <summary>Until the stream goes; null: it stays.</summary>
        public TimeSpan? Expires { get; }
        /// <summary>Consumer groups of the stream; -1 where the store's user may not ask.</summary>
        public long Groups { get; }
    }

    /// <summary>How a run writes.</summary>
    public sealed class AgxRunOptions
    {
        /// <summary>The growth of a part is gathered for so long and written as one event; zero: every
        /// growth is one.</summary>
        public TimeSpan Coalesce { get; set; }
        /// <summary>but no longer than until there are so many bytes; 0: 16384.</summary>
        public long CoalesceBytes { get; set; }
        /// <summary>How the session is started. It cannot be detached.</summary>
        public AgxStartOptions? Start { get; set; }
        /// <summary>The origin of the model's events; null: "pydantic-ai".</summary>
        public string? Origin { get; set; }
        /// <summary>How long the events stay behind the end; negative: 5 seconds.</summary>
        public TimeSpan Grace { get; set; } = TimeSpan.FromMilliseconds(-1);
    }
}
