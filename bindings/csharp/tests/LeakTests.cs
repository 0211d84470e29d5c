#nullable enable
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using Xunit;
using Xunit.Sdk;

namespace Agx.Tests;

/// <summary>What comes and goes leaves memory, threads and descriptors where they were.</summary>
public sealed class LeakTests(Stores stores) : IClassFixture<Stores>
{
    static readonly TimeSpan Long = TimeSpan.FromSeconds(20);

    static async Task Holds(int count, Func<int, Task> some)
    {
        await some(count / 10);
        long memory = SyncCases.Resident();
        int descriptors = SyncCases.Entries("fd"), threads = SyncCases.OwnThreads();
        await some(count);
        // The runtime's own threads and heaps come and go: what is leaked stays.
        await Comes(() => Assert.InRange(SyncCases.Resident() - memory, long.MinValue, 60000));
        await Comes(() => Assert.InRange(SyncCases.Entries("fd") - descriptors, int.MinValue, 5));
        await Comes(() => Assert.InRange(SyncCases.OwnThreads() - threads, int.MinValue, 15));
    }

    static async Task Comes(Action assertion)
    {
        for (Stopwatch clock = Stopwatch.StartNew(); clock.Elapsed < Long; await Task.Delay(100))
        {
            try
            {
                assertion();
                return;
            }
            catch (XunitException)
            {
            }
        }
        assertion();
    }

    [Theory]
    [InlineData("memory", 1000000)]
    [InlineData("redis", 20000)]
    public async Task ListenersThatComeAndGoLeaveNothing(string store, int count)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession session = client.OpenSession(1, 42, "leak " + store);
        await session.StartAsync();
        await session.AddAsync("info", "test", "1");
        await Holds(count, async times =>
        {
            // As many at once as keeps both cores busy.
            for (int i = 0; i < times; i += 500)
            {
                await Task.WhenAll(Enumerable.Range(0, 500).Select(async n =>
                {
                    await using AgxListener listener = await session.OpenListenerAsync();
                    Assert.Equal("begin", (await listener.NextAsync(Long))!.Type);
                    Assert.Equal("info", (await listener.NextAsync(Long))!.Type);
                }));
            }
        });
        await session.StopAsync();
    }

    [Theory]
    [InlineData("memory", 10000)]
    [InlineData("redis", 2000)]
    public async Task WhatIsCalledBackLeavesNothing(string store, int count)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession session = client.OpenSession(1, 42, "called back " + store);
        await session.StartAsync();
        await session.AddAsync("info", "test", "1");
        // Made once, since a group stays in the store.
        (await session.OpenGroupAsync("workers")).Dispose();
        await Holds(count, async times =>
        {
            for (int i = 0; i < times; i += 50)
            {
                await Task.WhenAll(Enumerable.Range(0, 50).Select(async n =>
                {
                    await using AgxGroup group = await session.OpenGroupAsync("workers", new() { Consumer = "a" });
                    await group.PendingAsync();
                    using AgxInterceptor interceptor = session.Intercept(e => AgxVerdict.Swallow, "type = \"never\"");
                    var first = new TaskCompletionSource();
                    await using AgxSubscription subscription = await session.SubscribeAsync(e => { first.TrySetResult(); });
                    await first.Task.WaitAsync(Long);
                }));
            }
        });
        // Nobody keeps these, and they end with the session.
        for (int i = 0; i < 100; ++i) await session.SubscribeAsync(e => { });
        await session.StopAsync();
    }

    [Theory]
    [InlineData("memory", 1000)]
    [InlineData("redis", 300)]
    public Task ClientsThatComeAndGoLeaveNothing(string store, int count) => Holds(count, async times =>
    {
        for (int i = 0; i < times; ++i)
        {
            await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
            await using AgxSession session = client.OpenSession(1, 43, "leak");
            await session.StartAsync();
            await using AgxListener listener = await session.OpenListenerAsync();
            Assert.Equal("begin", (await listener.NextAsync(Long))!.Type);
            await session.StopAsync();
        }
    });

    [Fact]
    public async Task WhatIsNotDisposedOfIsClosedWhenNobodyHasIt()
    {
        string url = stores.Url("redis");
        await Holds(200, async times =>
        {
            int descriptors = SyncCases.Entries("fd"), threads = SyncCases.OwnThreads();
            for (int i = 0; i < times; ++i) await Abandon(url);
            Stopwatch clock = Stopwatch.StartNew();
            while ((SyncCases.Entries("fd") > descriptors || SyncCases.OwnThreads() > threads) && clock.Elapsed < Long)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                await Task.Delay(5);
            }
        });
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static async Task Abandon(string url)
    {
        AgxClient client = await AgxClient.OpenAsync(url);
        AgxSession session = client.OpenSession(1, 44, "abandoned");
        await session.StartAsync(new AgxStartOptions { TakeOver = true });
        AgxListener listener = await session.OpenListenerAsync();
        Assert.Equal("begin", (await listener.NextAsync(Long))!.Type);
        // They know the client, and do not keep it: but for a subscription, until it ends.
        await session.SubscribeAsync(e => GC.KeepAlive(client), new() { Limit = 1 });
        session.Intercept(e => client == null ? AgxVerdict.Swallow : AgxVerdict.Write);
        AgxGroup group = await session.OpenGroupAsync("workers");
        await group.ReadAsync(TimeSpan.Zero);
        AgxListener waited = await session.OpenListenerAsync(new() { After = AgxListenOptions.New });
        using var source = new CancellationTokenSource();
        Task<AgxEvent?> next = waited.NextAsync(source.Token).AsTask();
        source.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static async Task<WeakReference> Waited(AgxSession session)
    {
        AgxListener listener = await session.OpenListenerAsync(new() { After = AgxListenOptions.New });
        using var source = new CancellationTokenSource();
        Task<AgxEvent?> next = listener.NextAsync(source.Token).AsTask();
        source.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next);
        return new WeakReference(listener);
    }

    [Fact]
    public async Task AListenerWhoseWaitWasCancelledIsCollected()
    {
        await using AgxClient client = await AgxClient.OpenAsync("memory:");
        await using AgxSession session = client.OpenSession(1, 44, "waited");
        await session.StartAsync();
        WeakReference listener = await Waited(session);
        for (Stopwatch clock = Stopwatch.StartNew(); listener.IsAlive && clock.Elapsed < Long; await Task.Delay(5)) GC.Collect();
        Assert.False(listener.IsAlive);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static async Task<WeakReference> Subscribed(string url, Action<AgxEvent> function)
    {
        AgxClient client = await AgxClient.OpenAsync(url);
        return new WeakReference(await client.OpenSession(1, 44, "kept").SubscribeAsync(function));
    }

    [Fact]
    public async Task ASubscriptionGoesOnThoughNobodyHasIt()
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url("redis"));
        await using AgxSession session = client.OpenSession(1, 44, "kept");
        await session.StartAsync();
        int got = 0;
        WeakReference subscription = await Subscribed(stores.Url("redis"), e => ++got);
        await Comes(() => Assert.Equal(1, got));
        for (int i = 0; i < 5; ++i)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            await Task.Delay(20);
            await session.AddAsync("info", "test");
        }
        await Comes(() => Assert.Equal(6, got));
        await session.StopAsync();
        for (Stopwatch clock = Stopwatch.StartNew(); subscription.IsAlive && clock.Elapsed < Long; await Task.Delay(5)) GC.Collect();
        Assert.False(subscription.IsAlive);
    }
}
