using System.Diagnostics;

namespace Agx.Bench;

/// <summary>libagx, as it is written with tasks.</summary>
class LibAgx : Library
{
    protected AgxClient client = null!;
    protected AgxSession session = null!;

    internal override string Name => "libagx";

    internal override async Task Open(string url)
    {
        client = await AgxClient.OpenAsync(url);
        session = client.OpenSession(1, 42, $"bench {Guid.NewGuid()}");
        await session.StartAsync();
    }

    internal override async Task Add(int count)
    {
        for (int i = 0; i < count; ++i) await session.AddAsync(Type, Origin, Body);
    }

    protected static List<AgxNewEvent> Batch(int count)
    {
        var events = new List<AgxNewEvent>(count);
        for (int i = 0; i < count; ++i) events.Add(new AgxNewEvent(Type, Origin, Body));
        return events;
    }

    internal override async Task AddMany(int count, int batch)
    {
        for (int i = 0; i < count; i += batch) await session.AddManyAsync(Batch(batch));
    }

    internal override async Task<long> Replay(int count)
    {
        long bytes = 0;
        await foreach (AgxEvent e in session.ListenAsync(new AgxListenOptions { Limit = count }))
        {
            if (e.Type == Type) bytes += e.Body.Length;
        }
        return bytes;
    }

    internal override async Task<List<double>> Latency(int rounds)
    {
        var took = new List<double>();
        await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions { After = AgxListenOptions.New });
        for (int i = 0; i < rounds; ++i)
        {
            Task<long> waiting = Task.Run(async () =>
            {
                await listener.NextAsync();
                return Stopwatch.GetTimestamp();
            });
            await Task.Delay(2);
            long begun = Stopwatch.GetTimestamp();
            await session.AddAsync(Type, Origin, Body);
            took.Add((await waiting - begun) * 1e6 / Stopwatch.Frequency);
        }
        return took;
    }

    internal override async Task<Listening> Listen(string url, int count)
    {
        var all = new Many(await AgxClient.OpenAsync(url), await AgxClient.OpenAsync(url));
        await all.Begin(count);
        return all;
    }

    public override async ValueTask DisposeAsync()
    {
        await session.DeleteAsync();
        await session.DisposeAsync();
        await client.DisposeAsync();
    }

    sealed class Many(AgxClient client, AgxClient producer) : Listening
    {
        readonly List<AgxSession> sessions = new();
        readonly List<AgxListener> listeners = new();

        internal async Task Begin(int count)
        {
            string id = Guid.NewGuid().ToString();
            for (int i = 0; i < count; ++i) sessions.Add(producer.OpenSession(2, 42, $"{id} {i}"));
            await Task.WhenAll(sessions.Select(s => s.AddAsync(Type, Origin, Body)));
            foreach (AgxSession session in sessions)
            {
                using AgxSession same = client.OpenSession(2, 42, session.Id.Id);
                listeners.Add(await same.OpenListenerAsync(new AgxListenOptions { Timeout = TimeSpan.FromMilliseconds(-1) }));
            }
            await Task.WhenAll(listeners.Select(l => l.NextAsync().AsTask()));
        }

        internal override async Task AddToEach()
        {
            Task[] waiting = listeners.Select(l => (Task)l.NextAsync().AsTask()).ToArray();
            await Task.WhenAll(sessions.Select(s => s.AddAsync(Type, Origin, Body)));
            await Task.WhenAll(waiting);
        }

        public override async ValueTask DisposeAsync()
        {
            await Task.WhenAll(sessions.Select(s => s.DeleteAsync()));
            await client.DisposeAsync();
            await producer.DisposeAsync();
        }
    }
}

/// <summary>libagx's synchronous half: one thread, nothing else.</summary>
sealed class LibAgxSync : LibAgx
{
    internal override string Name => "libagx-sync";

    internal override Task Add(int count) => Task.Factory.StartNew(() =>
    {
        for (int i = 0; i < count; ++i) session.Add(Type, Origin, Body);
    }, TaskCreationOptions.LongRunning);

    internal override Task AddMany(int count, int batch)
    {
        for (int i = 0; i < count; i += batch) session.AddMany(Batch(batch));
        return Task.CompletedTask;
    }

    internal override Task<long> Replay(int count)
    {
        long bytes = 0;
        foreach (AgxEvent e in session.Listen(new AgxListenOptions { Limit = count }))
        {
            if (e.Type == Type) bytes += e.Body.Length;
        }
        return Task.FromResult(bytes);
    }

    internal override Task<List<double>> Latency(int rounds)
    {
        var took = new List<double>();
        using AgxListener listener = session.OpenListener(new AgxListenOptions { After = AgxListenOptions.New });
        for (int i = 0; i < rounds; ++i)
        {
            Task<long> waiting = Task.Factory.StartNew(() =>
            {
                listener.Next();
                return Stopwatch.GetTimestamp();
            }, TaskCreationOptions.LongRunning);
            Thread.Sleep(2);
            long begun = Stopwatch.GetTimestamp();
            session.Add(Type, Origin, Body);
            took.Add((waiting.Result - begun) * 1e6 / Stopwatch.Frequency);
        }
        return Task.FromResult(took);
    }

    internal override Task<Listening> Listen(string url, int count) => throw new NotSupportedException();
}
