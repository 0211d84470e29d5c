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

    public void Dispose()
    {
        if (server.IsValueCreated) server.Value.Dispose();
    }
}
