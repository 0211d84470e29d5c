using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Xunit;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Agx.Tests;

/// <summary>The stores that each case runs on. The server is started when the first case wants it.</summary>
public sealed class Stores : IDisposable
{
    readonly Lazy<RedisServer> server = new(() => new RedisServer());

    public static readonly TheoryData<string> All = new() { "memory", "redis" };

    public RedisServer Server => server.Value;

    public string Url(string store) => store == "redis" ? Server.Url : "memory:?lease=5000";

    /// <summary>How many threads there are, but for the runtime's own, such as its pool's, which come and go as
    /// it sees fit.</summary>
    public static int OwnThreads() => ThreadNames().Count(name => !name.StartsWith(".NET", StringComparison.Ordinal));

    public static IEnumerable<string> ThreadNames() => Threads().Values;

    /// <summary>By their number.</summary>
    public static Dictionary<string, string> Threads()
    {
        var names = new Dictionary<string, string>();
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            try { names[Path.GetFileName(task)] = File.ReadAllText(task + "/comm").Trim(); }
            catch (IOException) { } // it has ended
        }
        return names;
    }

    public void Dispose()
    {
        if (server.IsValueCreated) server.Value.Dispose();
    }
}
