using System;
using System.Collections.Generic;
using System.Threading.Tasks;

namespace Agx
{
    /// <summary>How a group is opened.</summary>
    public sealed class AgxGroupOptions
    {
        /// <summary>The consumer's name. Who opens the group with it again finds what is still pending for
        /// it; to be used by one object at a time. null: one that nobody else has.</summary>
        public string? Consumer { get; set; }
        /// <summary>Where a group that is made begins. null: with the first event; "new": with what comes
        /// from now on; or an id: with what came after it.</summary>
        public string? Start { get; set; }
        /// <summary>A group that is not there is not made, but an
        /// <see cref="AgxNotFoundException"/>.</summary>
        public bool MustExist { get; set; }
        /// <summary>Reading makes the group again if it is gone.</summary>
        public bool Recreate { get; set; }
        /// <summary>Key of the stream in which events end up that could not be handled; null: the stream's
        /// own and ":dlq".</summary>
        public string? DeadLetters { get; set; }
    }

    /// <summary>What reading a group gives.</summary>
    public enum AgxGroupSource
    {
        /// <summary>Events that were given to nobody yet.</summary>
        New = 0,
        /// <summary>First what is pending for this consumer, each event once for this object; then new
        /// ones.</summary>
        PendingFirst = 1,
        /// <summary>What is pending for this consumer; after none, from the first again.</summary>
        PendingOnly = 2
    }

    /// <summary>How a group's events are handed to a handler.</summary>
    public sealed class AgxProcessOptions
    {
        /// <summary>So often an event is given to the handler, the first time included, before it goes to the
        /// dead letters: 1 tries nothing again. 0, the default: 3.</summary>
        public long MaxRetries { get; set; }
        /// <summary>Events that others have not acknowledged for so long are taken over; longer than a
        /// handler takes. Zero: 5 minutes; negative: none.</summary>
        public TimeSpan ClaimIdle { get; set; }
        /// <summary>Events that are taken at once, 1000 at most; 0: 16.</summary>
        public long Count { get; set; }
        /// <summary>The pause before the second attempt, twice as long before each further one; zero: 100
        /// ms.</summary>
        public TimeSpan Backoff { get; set; }
        /// <summary>but no longer than this; zero: 30 seconds.</summary>
        public TimeSpan BackoffMax { get; set; }
        /// <summary>For so long it goes on while the store fails, beside what a call may take to
        /// reconnect; negative, the default: for ever.</summary>
        public TimeSpan Outage { get; set; } = TimeSpan.FromMilliseconds(-1);
        /// <summary>It is done after so long without an event; negative, the default: never.</summary>
        public TimeSpan Timeout { get; set; } = TimeSpan.FromMilliseconds(-1);
        /// <summary>It is done after so many events; 0: never.</summary>
        public long Limit { get; set; }
        /// <summary>Called with the event, the attempt and what the handler threw. What this throws stops
        /// the process, and reaches its caller: for what trying again does not help.</summary>
        /// <exception cref="ArgumentException">It is async, and would not be waited for: see
        /// <see cref="OnFailureAsync"/>.</exception>
        public Action<AgxEvent, long, Exception>? OnFailure
        {
            get { return onFailure; }
            set { onFailure = Callbacks.NotAsync(value, "OnFailureAsync is for that"); }
        }

        Action<AgxEvent, long, Exception>? onFailure;

        /// <summary>The same with a function whose task is waited for.</summary>
        public Func<AgxEvent, long, Exception, Task>? OnFailureAsync { get; set; }

        internal void Failed(AgxEvent value, long attempt, Exception error)
        {
            if (onFailure != null) onFailure(value, attempt, error);
            if (OnFailureAsync != null) OnFailureAsync(value, attempt, error).GetAwaiter().GetResult();
        }
    }

    /// <summary>Events that were claimed, and where to go on.</summary>
    public sealed class AgxClaim
    {
        internal AgxClaim(IReadOnlyList<AgxEvent> events, string cursor)
        {
            Events = events;
            Cursor = cursor;
        }

        /// <summary>The events, which are pending for this consumer now.</summary>
        public IReadOnlyList<AgxEvent> Events { get; }
        /// <summary>What to give to the next call.</summary>
        public string Cursor { get; }
        /// <summary>Whether it has come to the end.</summary>
        public bool IsEnd
        {
            get { return Cursor == "0-0"; }
        }
    }

    /// <summary>How much is pending in a group.</summary>
    public sealed class AgxPending
    {
        internal AgxPending(string lowest, string highest, long[] numbers)
        {
            Count = numbers[0];
            LowestId = lowest;
            HighestId = highest;
            Consumers = numbers[1];
        }

        /// <summary>How many events.</summary>
        public long Count { get; }
        /// <summary>The id of the oldest of them, or "".</summary>
        public string LowestId { get; }
        /// <summary>The id of the newest, or "".</summary>
        public string HighestId { get; }
        /// <summary>How many consumers have any.</summary>
        public long Consumers { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            if (Count == 0) return "nothing is pending";
            return Count + " pending, from " + LowestId + " to " + HighestId + ", consumers: " + Consumers;
        }
    }

    /// <summary>Which pending events are listed.</summary>
    public sealed class AgxPendingOptions
    {
        /// <summary>Whom they are pending for; null: of all.</summary>
        public string? Consumer { get; set; }
        /// <summary>Only those that have been idle for so long.</summary>
        public TimeSpan MinIdle { get; set; }
        /// <summary>The id of an event: only those after it.</summary>
        public string? After { get; set; }
        /// <summary>How many at most.</summary>
        public int Count { get; set; } = 1000;
    }

    /// <summary>An event that is pending.</summary>
    public sealed class AgxPendingEvent
    {
        internal AgxPendingEvent(Batch.Record record)
        {
            AgxEvent? texts = record.Texts;
            Id = texts == null ? "" : texts.Id;
            Consumer = texts == null ? "" : texts.Type;
            Idle = TimeSpan.FromMilliseconds(record.Numbers[0]);
            Attempts = record.Numbers[1];
        }

        /// <summary>The event's id.</summary>
        public string Id { get; }
        /// <summary>Whom it is pending for.</summary>
        public string Consumer { get; }
        /// <summary>Since it was given to the consumer; of one that was given back, as long as it takes
        /// until others may take it.</summary>
        public TimeSpan Idle { get; }
        /// <summary>How often it was given to one.</summary>
        public long Attempts { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            return Id + " of " + Consumer + ", idle for " + Idle + ", attempts: " + Attempts;
        }
    }

    /// <summary>A group of a stream.</summary>
    public sealed class AgxGroupInfo
    {
        internal AgxGroupInfo(Batch.Record record)
        {
            AgxEvent? texts = record.Texts;
            Name = texts == null ? "" : texts.Type;
            LastDeliveredId = texts == null ? "" : texts.Id;
            Consumers = record.Numbers[0];
            Pending = record.Numbers[1];
            Lag = record.Numbers[2] < 0 ? (long?)null : record.Numbers[2];
        }

        /// <summary>Its name.</summary>
        public string Name { get; }
        /// <summary>How many consumers it has.</summary>
        public long Consumers { get; }
        /// <summary>How many events are pending in it.</summary>
        public long Pending { get; }
        /// <summary>"0-0" before the first.</summary>
        public string LastDeliveredId { get; }
        /// <summary>How many events were given to nobody yet; null: not known.</summary>
        public long? Lag { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            return Name + ", consumers: " + Consumers + ", pending: " + Pending + ", lag: " + (Lag == null ? "not known" : Lag.ToString());
        }
    }

    /// <summary>A consumer of a group.</summary>
    public sealed class AgxConsumerInfo
    {
        internal AgxConsumerInfo(Batch.Record record)
        {
            Name = record.Texts == null ? "" : record.Texts.Type;
            Pending = record.Numbers[0];
            Idle = TimeSpan.FromMilliseconds(record.Numbers[1]);
        }

        /// <summary>Its name.</summary>
        public string Name { get; }
        /// <summary>How many events are pending for it.</summary>
        public long Pending { get; }
        /// <summary>Since it last asked for something.</summary>
        public TimeSpan Idle { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            return Name + ", pending: " + Pending + ", idle for " + Idle;
        }
    }

    /// <summary>How a group is doing.</summary>
    public sealed class AgxHealth
    {
        internal AgxHealth(string last, long[] numbers)
        {
            LastDeliveredId = last;
            Length = numbers[0];
            Pending = numbers[1];
            Lag = numbers[2] < 0 ? (long?)null : numbers[2];
            Consumers = numbers[3];
            DeadLetters = numbers[4];
            OldestPending = numbers[5] < 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(numbers[5]);
        }

        /// <summary>How many events the stream has.</summary>
        public long Length { get; }
        /// <summary>How many were given to a consumer and not acknowledged.</summary>
        public long Pending { get; }
        /// <summary>How many were given to nobody yet; null: not known.</summary>
        public long? Lag { get; }
        /// <summary>How many consumers there are.</summary>
        public long Consumers { get; }
        /// <summary>How many dead letters there are.</summary>
        public long DeadLetters { get; }
        /// <summary>How long ago the oldest event that is pending was written; null: none is.</summary>
        public TimeSpan? OldestPending { get; }
        /// <summary>"0-0" before the first.</summary>
        public string LastDeliveredId { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            return "events: " + Length + ", pending: " + Pending + ", lag: " + (Lag == null ? "not known" : Lag.ToString()) +
                   ", consumers: " + Consumers + ", dead letters: " + DeadLetters;
        }
    }

    /// <summary>An event that could not be handled.</summary>
    public sealed class AgxDeadLetter
    {
        internal AgxDeadLetter(AgxEvent value, Batch.Record record)
        {
            Event = value;
            AgxEvent? texts = record.Texts;
            OriginalId = texts == null ? "" : texts.Id;
            OriginalStream = texts == null ? "" : texts.Type;
            Reason = texts == null ? "" : texts.Body;
            Attempts = record.Numbers[0];
            Time = DateTimeOffset.FromUnixTimeMilliseconds(Math.Max(0, Math.Min(record.Numbers[1], 253402300799999)));
        }

        /// <summary>The event; its id is the dead letter's own.</summary>
        public AgxEvent Event { get; }
        /// <summary>Key of the stream that it comes from; "" if it does not tell.</summary>
        public string OriginalStream { get; }
        /// <summary>Its id there.</summary>
        public string OriginalId { get; }
        /// <summary>Why it failed.</summary>
        public string Reason { get; }
        /// <summary>How often it was given to a handler.</summary>
        public long Attempts { get; }
        /// <summary>When it died.</summary>
        public DateTimeOffset Time { get; }

        /// <summary>For people to read.</summary>
        public override string ToString()
        {
            return OriginalId + " of " + OriginalStream + ", attempts: " + Attempts + ", failed with: " + Reason;
        }
    }
}
