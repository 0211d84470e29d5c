using System.Diagnostics;
using StackExchange.Redis;

namespace Agx.Bench;

/// <summary>StackExchange.Redis. It has no blocking reads, since all share a connection: who wants to be told at
/// once gives each listener a multiplexer of its own, and sends XREAD BLOCK by it.</summary>
sealed class StackExchangeRedis : Library
{
    ConnectionMultiplexer multiplexer = null!;
    IDatabase database = null!;
    RedisKey key;
    string url = "";

    internal override string Name => "StackExchange.Redis";

    static Task<ConnectionMultiplexer> Connect(string url)
    {
        var address = new Uri(url);
        var options = new ConfigurationOptions { AbortOnConnectFail = true, AsyncTimeout = 120000, SyncTimeout = 120000, ConnectTimeout = 60000, Protocol = RedisProtocol.Resp2 };
        options.EndPoints.Add(address.Host, address.Port > 0 ? address.Port : 6379);
        // Without the second connection, which it does not need here.
        options.CommandMap = CommandMap.Create(["SUBSCRIBE"], available: false);
        return ConnectionMultiplexer.ConnectAsync(options);
    }

    internal override async Task Open(string url)
    {
        this.url = url;
        multiplexer = await Connect(url);
        database = multiplexer.GetDatabase();
        key = $"bench:{Guid.NewGuid()}";
        await Add(1);
    }

    static NameValueEntry[] Entry() => [new("type", Type), new("origin", Origin), new("body", Body)];

    internal override async Task Add(int count)
    {
        for (int i = 0; i < count; ++i) await database.StreamAddAsync(key, Entry());
    }

    internal override async Task AddMany(int count, int batch)
    {
        var adding = new Task[batch];
        for (int i = 0; i < count; i += batch)
        {
            for (int n = 0; n < batch; ++n) adding[n] = database.StreamAddAsync(key, Entry());
            await Task.WhenAll(adding);
        }
    }

    internal override async Task<long> Replay(int count)
    {
        long bytes = 0;
        RedisValue at = "0-0";
        while (count > 0)
        {
            StreamEntry[] entries = await database.StreamReadAsync(key, at, 1000);
            foreach (StreamEntry entry in entries)
            {
                if (count-- <= 0) break;
                string? type = null, body = null;
                foreach (NameValueEntry field in entry.Values)
                {
                    if (field.Name == "type") type = field.Value;
                    else if (field.Name == "body") body = field.Value;
                }
                if (type == Type) bytes += body!.Length;
            }
            at = entries[^1].Id;
        }
        return bytes;
    }

    static async Task<string> Wait(IDatabase database, RedisKey key, string after)
    {
        for (;;)
        {
            RedisResult read = await database.ExecuteAsync("XREAD", "COUNT", "100", "BLOCK", "60000", "STREAMS", key, after);
            if (read.IsNull) continue;
            RedisResult entries = read[0][1];
            return (string)entries[entries.Length - 1][0]!;
        }
    }

    internal override async Task<List<double>> Latency(int rounds)
    {
        var took = new List<double>();
        await using ConnectionMultiplexer waiter = await Connect(url);
        IDatabase waiting = waiter.GetDatabase();
        string last = (await database.StreamRangeAsync(key, "-", "+", 1, Order.Descending))[0].Id!;
        for (int i = 0; i < rounds; ++i)
        {
            Task<(long When, string Id)> come = Task.Run(async () =>
            {
                string id = await Wait(waiting, key, last);
                return (Stopwatch.GetTimestamp(), id);
            });
            await Task.Delay(2);
            long begun = Stopwatch.GetTimestamp();
            await database.StreamAddAsync(key, Entry());
            (long when, last) = await come;
            took.Add((when - begun) * 1e6 / Stopwatch.Frequency);
        }
        return took;
    }

    internal override async Task<Listening> Listen(string url, int count)
    {
        var all = new Many(await Connect(url));
        await all.Begin(url, count);
        return all;
    }

    public override async ValueTask DisposeAsync()
    {
        await database.KeyDeleteAsync(key);
        await multiplexer.DisposeAsync();
    }

    sealed class Many(ConnectionMultiplexer producer) : Listening
    {
        readonly List<ConnectionMultiplexer> listeners = new();
        readonly List<RedisKey> keys = new();
        readonly List<string> last = new();

        internal async Task Begin(string url, int count)
        {
            string id = Guid.NewGuid().ToString();
            IDatabase database = producer.GetDatabase();
            for (int i = 0; i < count; ++i)
            {
                listeners.Add(await Connect(url));
                keys.Add($"bench:{id}:{i}");
                last.Add((string)(await database.StreamAddAsync(keys[i], Entry()))!);
            }
        }

        internal override async Task AddToEach()
        {
            IDatabase database = producer.GetDatabase();
            Task<string>[] waiting = listeners.Select((l, i) => Wait(l.GetDatabase(), keys[i], last[i])).ToArray();
            await Task.WhenAll(keys.Select(key => database.StreamAddAsync(key, Entry())));
            string[] ids = await Task.WhenAll(waiting);
            for (int i = 0; i < ids.Length; ++i) last[i] = ids[i];
        }

        public override async ValueTask DisposeAsync()
        {
            await producer.GetDatabase().KeyDeleteAsync(keys.ToArray());
            foreach (ConnectionMultiplexer listener in listeners) await listener.DisposeAsync();
            await producer.DisposeAsync();
        }
    }
}
