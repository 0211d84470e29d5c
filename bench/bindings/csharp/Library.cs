namespace Agx.Bench;

/// <summary>One way to write and read events; each does the same work. What cannot be done throws
/// NotSupportedException.</summary>
abstract class Library : IAsyncDisposable
{
    // About 100 bytes.
    internal const string Body = """{"event":"part_delta","event_idx":12,"part_delta_kind":"text","content_delta":"some words of it "}""";
    internal const string Type = "event";
    internal const string Origin = "pydantic-ai";

    internal abstract string Name { get; }

    /// <summary>Makes a stream of its own, empty.</summary>
    internal abstract Task Open(string url);

    /// <summary>Adds one by one, each awaited.</summary>
    internal abstract Task Add(int count);

    /// <summary>Adds as many at a time.</summary>
    internal abstract Task AddMany(int count, int batch);

    /// <summary>Reads all that there is; answers how many bytes the bodies have.</summary>
    internal abstract Task<long> Replay(int count);

    /// <summary>Adds an event while another task waits for it; answers how long that took, in
    /// µs.</summary>
    internal abstract Task<List<double>> Latency(int rounds);

    /// <summary>Listens to as many streams at once.</summary>
    internal abstract Task<Listening> Listen(string url, int count);

    public abstract ValueTask DisposeAsync();
}

/// <summary>Many live listeners.</summary>
abstract class Listening : IAsyncDisposable
{
    /// <summary>Adds an event to each, and waits until each was given it.</summary>
    internal abstract Task AddToEach();

    public abstract ValueTask DisposeAsync();
}
