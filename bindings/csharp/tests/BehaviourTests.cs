#nullable enable
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Xunit;

namespace Agx.Tests;

/// <summary>The cases of tests/behaviour.txt, by name, as people write them on .NET.</summary>
public sealed class BehaviourTests(Stores stores) : IClassFixture<Stores>
{
    static readonly TimeSpan Long = TimeSpan.FromSeconds(20);
    static readonly TimeSpan Short = TimeSpan.FromMilliseconds(60);
    static int sessions;

    public static TheoryData<string> All => Stores.All;

    static AgxSession Session(AgxClient client) => client.OpenSession(1, 42, "async " + Interlocked.Increment(ref sessions));

    async Task Each(string store, Func<AgxClient, AgxSession, Task> body)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession session = Session(client);
        await body(client, session);
    }

    static async Task<List<AgxEvent>> ToList(IAsyncEnumerable<AgxEvent> events)
    {
        var list = new List<AgxEvent>();
        await foreach (AgxEvent e in events) list.Add(e);
        return list;
    }

    static async Task<string> Types(IAsyncEnumerable<AgxEvent> events) => string.Join(" ", (await ToList(events)).Select(e => e.Type));
    static async Task<string> Bodies(IAsyncEnumerable<AgxEvent> events) => string.Join(" ", (await ToList(events)).Select(e => e.Body));
    static AgxListenOptions After(string id) => new() { After = id };

    /// <summary>A group's first read, for which it starts a thread: once that sleeps in the system, and goes on
    /// doing so, it waits in the call.</summary>
    static async Task<Task<T>> Blocked<T>(Func<Task<T>> read)
    {
        HashSet<string> before = [.. Workers()];
        Task<T> call = read();
        Stopwatch clock = Stopwatch.StartNew();
        for (int asleep = 0; asleep < 10;)
        {
            Assert.True(clock.Elapsed < Long, "the read does not wait");
            await Task.Delay(1);
            asleep = Workers().Any(task => !before.Contains(task) && SyncCases.Asleep(task)) ? asleep + 1 : 0;
        }
        return call;
    }

    static IEnumerable<string> Workers() => SyncCases.Threads().Where(thread => thread.Value == "agx worker").Select(thread => thread.Key);

    [Theory, MemberData(nameof(All))]
    public Task start_add_stop(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        string first = await session.AddAsync("info", "test", "{\"n\":1}");
        string second = await session.AddAsync("event", "test");
        await session.StopAsync();
        List<AgxEvent> events = await ToList(session.ListenAsync());
        Assert.Equal(["begin", "info", "event"], events.Select(e => e.Type));
        Assert.Equal(first, events[1].Id);
        Assert.Equal(second, events[2].Id);
        Assert.Equal("{\"n\":1}", events[1].Body);
        Assert.Equal(1, events[1].GetBody().GetProperty("n").GetInt32());
        Assert.Equal(1, events[1].GetBody<Dictionary<string, int>>()!["n"]);
        Assert.Equal("{}", events[2].Body);
        Assert.Equal("test", events[1].Origin);
    });

    [Theory, MemberData(nameof(All))]
    public Task late_listener(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.AddAsync("info", "test", "1");
        await session.StopAsync();
        await using AgxClient other = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession same = other.OpenSession(1, 42, session.Id.Id);
        Assert.Equal("begin info", await Types(same.ListenAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task follow_live(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using IAsyncEnumerator<AgxEvent> following = session.ListenAsync(After((await session.HistoryAsync())[0].Id)).GetAsyncEnumerator();
        for (int i = 1; i <= 2; ++i)
        {
            Task<bool> next = following.MoveNextAsync().AsTask();
            await session.AddAsync("info", "test", $"{i}");
            Assert.True(await next.WaitAsync(Long));
            Assert.Equal($"{i}", following.Current.Body);
        }
        await session.StopAsync();
        Assert.False(await following.MoveNextAsync().AsTask().WaitAsync(Long));
    });

    [Theory, MemberData(nameof(All))]
    public Task resume(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        for (int i = 0; i < 10; ++i) await session.AddAsync("info", "test", $"{i}");
        await session.StopAsync();
        await using AgxListener listener = await session.OpenListenerAsync();
        Assert.Equal("0-0", listener.Position);
        for (int i = 0; i < 5; ++i) await listener.NextAsync();
        Assert.Equal("4 5 6 7 8 9", await Bodies(session.ListenAsync(After(listener.Position))));
        Assert.Equal("4 5 6 7 8 9", await Bodies(listener.ReadAllAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task only_new(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.AddAsync("info", "test", "1");
        await using AgxListener listener = await session.OpenListenerAsync(After(AgxListenOptions.New));
        await session.AddAsync("info", "test", "2");
        await session.StopAsync();
        Assert.Equal("2", await Bodies(listener.ReadAllAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task limit(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        for (int i = 0; i < 5; ++i) await session.AddAsync("info", "test", $"{i}");
        Assert.Equal("begin info info", await Types(session.ListenAsync(new AgxListenOptions { Limit = 3 })));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task where(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        for (int i = 0; i < 6; ++i) await session.AddJsonAsync("info", "test", new { n = i });
        await session.StopAsync();
        Assert.Equal("{\"n\":4} {\"n\":5}", await Bodies(session.ListenAsync(new AgxListenOptions { Where = "body.n >= 4" })));
        AgxInvalidException error = await Assert.ThrowsAsync<AgxInvalidException>(() => ToList(session.ListenAsync(new AgxListenOptions { Where = "type = = 1" })));
        Assert.Contains("byte", error.Message);
    });

    [Theory, MemberData(nameof(All))]
    public Task absent(string store) => Each(store, async (client, session) =>
    {
        await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions { Wait = Short });
        AgxNotFoundException error = await Assert.ThrowsAsync<AgxAbsentException>(() => ToList(listener.ReadAllAsync()));
        Assert.Equal(AgxStatus.Absent, error.Status);
        await session.StartAsync();
        await session.StopAsync();
        AgxEvent? next = null;
        while (next == null)
        {
            // It may have told once more that there is none before there was one.
            try { next = await listener.NextAsync(Long); }
            catch (AgxAbsentException) { }
        }
        Assert.Equal("begin", next.Type);
    });

    [Theory, MemberData(nameof(All))]
    public Task silent(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions { Timeout = Short });
        Assert.Equal("begin", (await listener.NextAsync(Long))!.Type);
        await Assert.ThrowsAsync<AgxSilentException>(() => listener.NextAsync(Long).AsTask());
        await session.AddAsync("info", "test", "1");
        AgxEvent? next = null;
        while (next == null)
        {
            try { next = await listener.NextAsync(Long); }
            catch (AgxSilentException) { }
        }
        Assert.Equal("1", next.Body);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task gone(string store) => Each(store, async (client, session) =>
    {
        await using (AgxClient dying = await AgxClient.OpenAsync(stores.Url(store)))
        await using (AgxSession same = dying.OpenSession(1, 42, session.Id.Id))
        {
            await same.StartAsync(new() { Lease = TimeSpan.FromMilliseconds(300) });
        }
        await Assert.ThrowsAsync<AgxGoneException>(() => ToList(session.ListenAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task gap(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        string begin = (await session.HistoryAsync())[0].Id;
        for (int i = 0; i < 5; ++i) await session.AddAsync("info", "test", $"{i}");
        Assert.Equal(5, await session.TrimAsync(1));
        await using AgxListener listener = await session.OpenListenerAsync(After(begin));
        await Assert.ThrowsAsync<AgxGapException>(() => ToList(listener.ReadAllAsync()));
        await session.StopAsync();
        Assert.Equal("4", await Bodies(listener.ReadAllAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task end_is_iteration_end(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.StopAsync();
        await using AgxListener listener = await session.OpenListenerAsync();
        Assert.Equal("begin", await Types(listener.ReadAllAsync()));
        Assert.Null(await listener.NextAsync());
        Assert.Null(listener.Next());
        Assert.Equal("begin end", await Types(session.ListenAsync(new AgxListenOptions { HandOnEnd = true })));
    });

    [Theory, MemberData(nameof(All))]
    public Task start_busy(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxSession same = client.OpenSession(1, 42, session.Id.Id);
        await Assert.ThrowsAsync<AgxBusyException>(() => same.StartAsync());
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task take_over(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        Task waiting = session.WaitCanceledAsync();
        await using AgxSession same = client.OpenSession(1, 42, session.Id.Id);
        await same.StartAsync(new() { TakeOver = true });
        await Assert.ThrowsAsync<AgxTakenOverException>(() => waiting.WaitAsync(Long));
        await Assert.ThrowsAsync<AgxTakenOverException>(() => session.AddAsync("info", "test"));
        await same.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task cancel(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        Assert.False(await session.WaitCanceledAsync(Short));
        Task waiting = session.WaitCanceledAsync();
        Assert.True(await session.CancelAsync());
        await waiting.WaitAsync(Long);
        Assert.True(session.IsCanceled);
    });

    [Theory, MemberData(nameof(All))]
    public Task cancel_not_live(string store) => Each(store, async (client, session) => Assert.False(await session.CancelAsync()));

    [Theory, MemberData(nameof(All))]
    public Task live(string store) => Each(store, async (client, session) =>
    {
        Assert.False(await session.IsLiveAsync());
        await Assert.ThrowsAsync<AgxNotLiveException>(() => session.RenewAsync());
        await Assert.ThrowsAsync<AgxNotLiveException>(() => session.WaitCanceledAsync());
        await session.StartAsync();
        Assert.True(await session.IsLiveAsync());
        await session.RenewAsync();
        await session.StopAsync();
        Assert.False(await session.IsLiveAsync());
    });

    [Theory, MemberData(nameof(All))]
    public Task add_many(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        AgxNewEvent[] events = Enumerable.Range(0, 100).Select(i => new AgxNewEvent("info", "test", $"{i}")).ToArray();
        IReadOnlyList<string> ids = await session.AddManyAsync(events);
        // At once and one by one: in their order, and a bad one alone fails.
        List<Task<string>> adding = Enumerable.Range(0, 1000).Select(i => session.AddAsync("info", "test", i == 500 ? "{" : $"{i}")).ToList();
        await Assert.ThrowsAsync<AgxJsonException>(() => adding[500]);
        adding.RemoveAt(500);
        string[] more = await Task.WhenAll(adding);
        await session.StopAsync();
        List<AgxEvent> got = await ToList(session.ListenAsync());
        Assert.Equal(ids.Concat(more), got.Skip(1).Select(e => e.Id));
        Assert.Equal(Enumerable.Range(0, 100).Concat(Enumerable.Range(0, 1000).Where(i => i != 500)).Select(i => $"{i}"), got.Skip(1).Select(e => e.Body));
    });

    [Theory, MemberData(nameof(All))]
    public Task text(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        string odd = "a ä € \U0001F600 \u2028 \uFFFD \uFFFF \u007f \"";
        string large = "\"" + new string('x', 1 << 20) + "\U0001F600\"";
        await session.AddJsonAsync(odd, odd, odd);
        await session.AddAsync("large", "test", large);
        await session.AddAsync("bytes", "test", Encoding.UTF8.GetBytes("\"€\"").AsMemory());
        await session.AddAsync("parsed", "test", JsonDocument.Parse("[1, \"\U0001F600\"]").RootElement);
        await Assert.ThrowsAsync<AgxInvalidException>(() => session.AddAsync("a\0b", "test"));
        await Assert.ThrowsAsync<AgxInvalidException>(() => session.AddAsync("a", "\ud83d"));
        await Assert.ThrowsAsync<AgxInvalidException>(() => session.AddAsync("a", "test", "\"\ude00\""));
        await Assert.ThrowsAsync<AgxInvalidException>(() => session.AddAsync("a", "test", new byte[] { 34, 0xed, 0xa0, 0x80, 34 }.AsMemory()));
        await session.StopAsync();
        List<AgxEvent> events = await ToList(session.ListenAsync());
        Assert.Equal(odd, events[1].Type);
        Assert.Equal(odd, events[1].Origin);
        Assert.Equal(odd, events[1].GetBody<string>());
        Assert.Equal(large, events[2].Body);
        Assert.Equal("\"€\"", Encoding.UTF8.GetString(events[3].BodyUtf8.Span));
        using JsonDocument parsed = events[4].ParseBody();
        Assert.Equal("\U0001F600", parsed.RootElement[1].GetString());
    });

    [Theory, MemberData(nameof(All))]
    public Task bad_body(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        AgxException error = await Assert.ThrowsAsync<AgxJsonException>(() => session.AddAsync("info", "test", "{\"a\":"));
        Assert.Equal(AgxStatus.BadJson, error.Status);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public async Task closed(string store)
    {
        AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        AgxSession session = Session(client);
        await session.StartAsync();
        AgxListener listener = await session.OpenListenerAsync();
        await listener.NextAsync();
        await listener.DisposeAsync();
        await listener.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => listener.NextAsync().AsTask());
        Assert.Throws<AgxClosedException>(() => listener.Next());
        AgxListener never = await session.OpenListenerAsync();
        never.Dispose();
        await Assert.ThrowsAsync<AgxClosedException>(() => never.NextAsync().AsTask());
        AgxListener open = await session.OpenListenerAsync();
        await session.StopAsync();
        await session.DisposeAsync();
        await session.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => session.StartAsync());
        await Assert.ThrowsAsync<AgxClosedException>(() => session.AddAsync("info", "test"));
        await Assert.ThrowsAsync<AgxClosedException>(() => session.OpenListenerAsync());
        await Assert.ThrowsAsync<AgxClosedException>(() => session.WaitCanceledAsync());
        AgxSession other = Session(client);
        await client.DisposeAsync();
        await client.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => other.AddAsync("info", "test"));
        await Assert.ThrowsAsync<AgxClosedException>(() => other.IsLiveAsync());
        await Assert.ThrowsAsync<AgxClosedException>(() => ToList(other.ListenAsync()));
        await Assert.ThrowsAsync<AgxClosedException>(() => open.NextAsync().AsTask());
        await Assert.ThrowsAsync<AgxClosedException>(async () => { await foreach (AgxSessionId id in client.LiveSessionsAsync()) { } });
    }

    [Theory, MemberData(nameof(All))]
    public Task close_while_waiting(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        AgxListener listener = await session.OpenListenerAsync(After(AgxListenOptions.New));
        Task waiting = listener.NextAsync().AsTask();
        Assert.False(waiting.IsCompleted);
        await listener.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => waiting.WaitAsync(Long));

        AgxClient other = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession same = other.OpenSession(1, 42, session.Id.Id);
        await using AgxListener its = await same.OpenListenerAsync(After(AgxListenOptions.New));
        waiting = its.NextAsync().AsTask();
        await other.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => waiting.WaitAsync(Long));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task language_cancel(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxListener listener = await session.OpenListenerAsync(After(AgxListenOptions.New));
        for (int i = 0; i < 100; ++i)
        {
            using var source = new CancellationTokenSource();
            Task waiting = listener.NextAsync(source.Token).AsTask();
            source.Cancel();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(Long));
        }
        await Assert.ThrowsAsync<AgxTimeoutException>(() => listener.NextAsync(Short).AsTask());
        Assert.False(listener.TryNext(Short, out _));
        await session.AddAsync("info", "test", "1");
        Assert.Equal("1", (await listener.NextAsync(Long))!.Body);
        using var soon = new CancellationTokenSource(Short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ToList(session.ListenAsync(soon.Token)));
        using var sooner = new CancellationTokenSource(Short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.WaitCanceledAsync(sooner.Token));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.AddAsync("info", "test", "2", sooner.Token));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task WhatAwaitsACallMayBlock(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        // More than there are threads for calls, each kept for as long as the others are not there.
        using var all = new Barrier(12);
        async Task AddAndBlock(AgxSession own)
        {
            await own.AddAsync("info", "test", "1").ConfigureAwait(false);
            Assert.True(all.SignalAndWait(Long), "an add did not come back");
            Assert.NotEmpty(own.AddAsync("info", "test", "2").GetAwaiter().GetResult());
            Assert.True(own.IsLiveAsync().Wait(Long));
        }
        AgxSession[] sessions = Enumerable.Range(0, all.ParticipantCount).Select(i => i == 0 ? session : Session(client)).ToArray();
        await Task.WhenAll(sessions.Select(own => Task.Factory.StartNew(() => AddAndBlock(own), TaskCreationOptions.LongRunning).Unwrap())).WaitAsync(Long);
        foreach (AgxSession own in sessions.Skip(1)) await own.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task AnAddThatHasNotBegunCanBeTakenBack(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        // All threads for calls are within these.
        using var within = new CountdownEvent(8);
        using var go = new ManualResetEventSlim();
        AgxSession[] busy = Enumerable.Range(0, 8).Select(i => Session(client)).ToArray();
        Task[] adding = busy.Select(own =>
        {
            own.Intercept(e =>
            {
                within.Signal();
                go.Wait(Long);
                return AgxVerdict.Write;
            });
            return (Task)own.AddAsync("info", "test", "1");
        }).ToArray();
        Assert.True(within.Wait(Long));
        using var source = new CancellationTokenSource();
        Task[] late = [session.AddAsync("info", "test", "1", source.Token), session.AddAsync("info", "test", "2", source.Token), session.IsLiveAsync(source.Token)];
        Task kept = session.AddAsync("info", "test", "3");
        source.Cancel();
        foreach (Task task in late)
        {
            Assert.Equal(source.Token, (await Assert.ThrowsAnyAsync<OperationCanceledException>(() => task.WaitAsync(Long))).CancellationToken);
            Assert.True(task.IsCanceled);
        }
        go.Set();
        await Task.WhenAll([.. adding, kept]).WaitAsync(Long);
        await session.StopAsync();
        Assert.Equal("begin info", await Types(session.ListenAsync()));
        foreach (AgxSession own in busy) await own.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public async Task query(string store)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        AgxSession[] live = Enumerable.Range(0, 250).Select(i => client.OpenSession(21, i % 2, $"s{i}")).ToArray();
        await Task.WhenAll(live.Select(s => s.StartAsync()));
        async Task<int> Count(long? scope, long? user)
        {
            int count = 0;
            await foreach (AgxSessionId id in client.LiveSessionsAsync(scope, user)) ++count;
            return count;
        }
        Assert.Equal(125, await Count(21, 1));
        Assert.Equal(250, await Count(21, null));
        Assert.True(await Count(null, null) >= 250);
        await Task.WhenAll(live.Select(s => s.StopAsync()));
        Assert.Equal(0, await Count(21, null));
    }

    [Theory, MemberData(nameof(All))]
    public Task wait_for(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.AddAsync("answer", "test", "1");
        Assert.Equal("1", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        Assert.Null(await session.WaitForAsync("type = \"answer\"", TimeSpan.Zero));
        Task<AgxEvent?> waiting = session.WaitForAsync("type = \"answer\"", Long);
        await session.AddAsync("answer", "test", "2");
        Assert.Equal("2", (await waiting)!.Body);
        using var soon = new CancellationTokenSource(Short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.WaitForAsync("type = \"answer\"", Long, soon.Token));
        await session.CancelAsync();
        await Assert.ThrowsAsync<AgxCanceledException>(() => session.WaitForAsync("type = \"answer\"", Long));
    });

    [Theory, MemberData(nameof(All))]
    public Task history(string store) => Each(store, async (client, session) =>
    {
        await Assert.ThrowsAsync<AgxNotFoundException>(() => session.HistoryInfoAsync());
        await session.StartAsync();
        string[] ids = new string[5];
        for (int i = 0; i < 5; ++i) ids[i] = await session.AddAsync("info", "test", $"{i}");
        Assert.Equal(["4", "3"], (await session.HistoryAsync(new() { Reverse = true, Count = 2 })).Select(e => e.Body));
        Assert.Equal(["2", "3"], (await session.HistoryAsync(new() { After = ids[1], Before = ids[4] })).Select(e => e.Body));
        Assert.Equal(["begin"], (await session.HistoryAsync(new() { Where = "type = \"begin\"" })).Select(e => e.Type));
        AgxHistoryInfo info = await session.HistoryInfoAsync();
        Assert.Equal(6, info.Length);
        Assert.Equal(ids[4], info.LastId);
        Assert.True(info.Live);
        Assert.Equal(4, await session.TrimBeforeAsync(ids[3]));
        Assert.Equal(1, await session.TrimAsync(1));
        await session.StopAsync(TimeSpan.FromMinutes(1));
        Assert.InRange((await session.HistoryInfoAsync()).Expires!.Value, TimeSpan.Zero, TimeSpan.FromMinutes(1));
        Assert.True(await session.DeleteAsync());
        Assert.False(await session.DeleteAsync());
    });

    [Theory, MemberData(nameof(All))]
    public Task many_listeners(string store) => Many(store, 1000);

    async Task Many(string store, int count)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        AgxSession[] all = Enumerable.Range(0, 10).Select(i => Session(client)).ToArray();
        foreach (AgxSession session in all) await session.StartAsync();
        int before = SyncCases.OwnThreads();
        var listeners = new List<AgxListener>();
        for (int i = 0; i < count; ++i) listeners.Add(await all[i % all.Length].OpenListenerAsync(new AgxListenOptions { Timeout = TimeSpan.FromMinutes(5) }));
        Task<string>[] reading = listeners.Select(l => Types(l.ReadAllAsync())).ToArray();
        foreach (AgxSession session in all) await session.AddAsync("info", "test", "1");
        Assert.True(SyncCases.OwnThreads() - before <= 20, string.Join(", ", SyncCases.Threads().Values.Order()));
        foreach (AgxSession session in all) await session.StopAsync();
        string[] read = await Task.WhenAll(reading).WaitAsync(TimeSpan.FromMinutes(2));
        Assert.All(read, types => Assert.Equal("begin info", types));
        foreach (AgxListener listener in listeners) await listener.DisposeAsync();
    }

    [Theory, MemberData(nameof(All))]
    public Task ThereCanBeTenThousandListeners(string store) => Many(store, 10000);

    [Theory, MemberData(nameof(All))]
    public Task run_feed(string store) => Each(store, async (client, session) =>
    {
        string response;
        await using (AgxRun run = await session.BeginRunAsync(new() { Coalesce = TimeSpan.FromMilliseconds(5) }))
        {
            response = await run.FeedAsync(AgxModelApi.OpenAIChat, new MemoryStream(Encoding.UTF8.GetBytes(SyncCases.Stream)));
            await run.BeginNodeAsync();
            await run.ToolReturnAsync("tool", "call", "[1]");
            int part = await run.BeginPartAsync(AgxPartKind.Thinking, "hm");
            await run.DeltaAsync(part, ", well");
            await run.EndPartAsync();
            await run.BeginToolCallAsync("tool");
            await run.EndPartAsync();
            await run.BeginPartAsync(AgxPartKind.Text, "so");
            await run.AnswerAsync();
            await run.FlushAsync();
            Assert.Contains("hm, well", await run.EndNodeAsync());
            await run.FinishAsync();
        }
        Assert.Contains("Hello \U0001F600", response);
        string bodies = await Bodies(session.ListenAsync());
        Assert.Contains("well", bodies);
    });

    [Theory, MemberData(nameof(All))]
    public Task run_fail(string store) => Each(store, async (client, session) =>
    {
        var thrown = new InvalidOperationException("no luck");
        Assert.Same(thrown, await Assert.ThrowsAsync<InvalidOperationException>(() => session.ExecuteAsync((run, token) => throw thrown)));
        List<AgxEvent> events = await ToList(session.ListenAsync(new AgxListenOptions { HandOnEnd = true }));
        Assert.Equal(["error", "end"], events.Select(e => e.Type).TakeLast(2));
        Assert.Contains("no luck", events[^2].Body);

        // A cancel reaches the agent as its token does, and its caller as what it is.
        var begun = new TaskCompletionSource();
        Task running = session.ExecuteAsync(async (run, token) =>
        {
            begun.SetResult();
            await Task.Delay(Timeout.Infinite, token);
        });
        await begun.Task;
        await session.CancelAsync();
        await Assert.ThrowsAsync<AgxCanceledException>(() => running.WaitAsync(Long));

        using var source = new CancellationTokenSource(Short);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => session.ExecuteAsync((run, token) => Task.Delay(Timeout.Infinite, token), null, null, source.Token));
        Assert.False(await session.IsLiveAsync());
    });

    [Theory, MemberData(nameof(All))]
    public Task messages(string store) => Each(store, async (client, session) =>
    {
        using AgxMessages messages = session.OpenMessages();
        await session.ExecuteAsync(async (run, token) =>
        {
            messages.AppendUser("What is \U0001F600?");
            messages.Append(await run.FeedAsync(AgxModelApi.OpenAIChat, new MemoryStream(Encoding.UTF8.GetBytes(SyncCases.Stream)), token));
        }, messages);
        using AgxMessages again = session.OpenMessages();
        await again.LoadAsync();
        Assert.Equal(messages.Json, again.Json);
        Assert.Equal("What is \U0001F600?", again.Title);
        again.AppendUser("more");
        await again.SaveAsync();
        messages.AppendUser("else");
        await Assert.ThrowsAsync<AgxConflictException>(() => messages.SaveAsync());
        string file = Path.GetTempFileName();
        File.Delete(file);
        using (AgxMessages kept = AgxMessages.OpenFile(file))
        {
            await kept.LoadAsync();
            kept.AppendUser("x");
            await kept.SaveAsync();
        }
        using (AgxMessages kept = AgxMessages.OpenFile(file))
        {
            kept.Load();
            Assert.Equal(1, kept.Count);
        }
        File.Delete(file);
    });

    [Theory, MemberData(nameof(All))]
    public async Task unreachable(string store)
    {
        Assert.NotEmpty(store);
        AgxException error = await Assert.ThrowsAsync<AgxUnavailableException>(() => AgxClient.OpenAsync("redis://127.0.0.1:1?reconnect_timeout=-1"));
        Assert.Contains("127.0.0.1:1", error.Message);
    }

    static AgxGroupOptions As(string consumer) => new() { Consumer = consumer };

    static async Task Tasks(AgxSession session, int count)
    {
        await session.StartAsync();
        await session.AddManyAsync(Enumerable.Range(0, count).Select(i => new AgxNewEvent("task", "test", $"{i}")));
    }

    static AgxProcessOptions Quick(long limit) => new()
    {
        MaxRetries = 2,
        Backoff = TimeSpan.FromMilliseconds(1),
        BackoffMax = TimeSpan.FromMilliseconds(2),
        Limit = limit,
    };

    [Theory, MemberData(nameof(All))]
    public Task group_read_ack(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 9);
        await using AgxGroup a = await session.OpenGroupAsync("workers", As("a"));
        await using AgxGroup b = await session.OpenGroupAsync("workers", As("b"));
        IReadOnlyList<AgxEvent> first = await a.ReadAsync(Long, AgxGroupSource.New, 4);
        IReadOnlyList<AgxEvent> second = await b.ReadAsync(Long);
        Assert.Equal(["begin", "task", "task", "task"], first.Select(e => e.Type));
        Assert.Equal(["3", "4", "5", "6", "7", "8"], second.Select(e => e.Body));
        Assert.Empty(await a.ReadAsync(Short, AgxGroupSource.New));
        Assert.True(await a.AckAsync(first[0].Id));
        Assert.False(await a.AckAsync(first[0].Id));
        Assert.Equal(6, await a.AckAsync(second));
        Assert.Equal(["0", "1", "2"], (await a.ReadAsync(Long, AgxGroupSource.PendingOnly)).Select(e => e.Body));
        // Both wait at once, and each event comes to one.
        Task<IReadOnlyList<AgxEvent>>[] waiting = [a.ReadAsync(Long, AgxGroupSource.New, 1), b.ReadAsync(Long, AgxGroupSource.New, 1)];
        await session.AddAsync("task", "test", "9");
        await session.AddAsync("task", "test", "10");
        Assert.Equal(["10", "9"], (await Task.WhenAll(waiting)).Select(read => read.Single().Body).Order());
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task group_claim(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 3);
        await using AgxGroup a = await session.OpenGroupAsync("workers", As("a"));
        await using AgxGroup b = await session.OpenGroupAsync("workers", As("b"));
        string[] ids = (await a.ReadAsync(Long)).Select(e => e.Id).ToArray();
        Assert.Empty(await b.ClaimAsync(TimeSpan.FromMinutes(5), ids));
        Assert.Equal(2, (await b.ClaimAsync(TimeSpan.Zero, ids.Take(2))).Count);
        AgxClaim rest = await b.AutoClaimAsync(TimeSpan.Zero);
        Assert.True(rest.IsEnd);
        Assert.Equal(4, rest.Events.Count);
        Assert.Equal(4, (await b.PendingEventsAsync(new() { Consumer = "b" })).Count);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task group_process(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 5);
        await using AgxGroup group = await session.OpenGroupAsync("workers");
        var calls = new List<string>();
        var failures = new List<string>();
        AgxProcessOptions options = Quick(0);
        options.Timeout = TimeSpan.FromMilliseconds(300);
        options.OnFailure = (e, attempt, error) => failures.Add($"{e.Body}:{attempt}");
        Assert.Equal(AgxStatus.Timeout, await group.ProcessAsync(async (e, attempt) =>
        {
            await Task.Yield();
            calls.Add($"{e.Body}:{attempt}");
            if (e.Body == "1" && attempt == 1 || e.Body == "3") throw new InvalidOperationException("not " + e.Body);
        }, options));
        Assert.Equal(["0:1", "1:1", "1:2", "2:1", "3:1", "3:2", "4:1"], calls.Where(c => c[0] != '{').Order());
        Assert.Equal(["1:1", "3:1", "3:2"], failures.Order());
        Assert.Equal(0, (await group.PendingAsync()).Count);
        Assert.Equal("not 3", (await group.DeadLettersAsync()).Single().Reason);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task group_dead_letters(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 3);
        await using AgxGroup group = await session.OpenGroupAsync("workers");
        AgxProcessOptions options = Quick(4);
        options.MaxRetries = 1;
        await group.ProcessAsync((e, attempt) => e.Type == "task" ? throw new InvalidOperationException("no " + e.Body) : Task.CompletedTask, options);
        IReadOnlyList<AgxDeadLetter> letters = await group.DeadLettersAsync();
        Assert.Equal(["no 0", "no 1", "no 2"], letters.Select(l => l.Reason));
        Assert.Equal((await session.HistoryAsync())[1].Id, letters[0].OriginalId);
        Assert.Equal(1, await group.ReplayAsync([letters[0].Event.Id]));
        AgxEvent replayed = (await group.ReadAsync(Long)).Single();
        Assert.Equal("0", replayed.Body);
        Assert.Equal("0", Encoding.UTF8.GetString(replayed.BodyUtf8.Span));
        Assert.Equal(letters[0].Event.Id, replayed.Field("replayed_from_dlq"));
        Assert.Equal(2, await group.DeleteDeadLettersAsync(letters.Select(l => l.Event.Id)));
        Assert.Empty(await group.DeadLettersAsync());
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task group_info(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 4);
        Assert.Empty(await session.GroupsAsync());
        await using AgxGroup a = await session.OpenGroupAsync("workers", As("a"));
        await a.ReadAsync(Long, AgxGroupSource.New, 2);
        Assert.Equal(2, (await a.PendingAsync()).Count);
        AgxGroupInfo group = (await session.GroupsAsync()).Single();
        Assert.Equal(("workers", 1, 2, 3L), (group.Name, group.Consumers, group.Pending, group.Lag));
        Assert.Equal("a", (await a.ConsumersAsync()).Single().Name);
        Assert.Equal(5, (await a.HealthAsync()).Length);
        Assert.Equal(2, await a.DeleteConsumerAsync());
        Assert.True(await a.DeleteAsync());
        Assert.False(await a.DeleteAsync());
        await Assert.ThrowsAsync<AgxNotFoundException>(() => a.HealthAsync());
        await Assert.ThrowsAsync<AgxNotFoundException>(() => session.OpenGroupAsync("workers", new() { MustExist = true }));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task group_interrupt(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 2);
        AgxGroup group = await session.OpenGroupAsync("workers");
        await group.AckAsync(await group.ReadAsync(Long));
        AgxGroup another = await session.OpenGroupAsync("workers");
        for (int i = 0; i < 50; ++i)
        {
            using var source = new CancellationTokenSource();
            Task<IReadOnlyList<AgxEvent>> Read() => another.ReadAsync(Timeout.InfiniteTimeSpan, cancellationToken: source.Token);
            // The first waits, the others may have yet to begin.
            Task reading = i == 0 ? await Blocked(Read) : Read();
            source.Cancel();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.WaitAsync(Long));
        }
        await another.DisposeAsync();
        await session.AddAsync("task", "test", "2");
        await session.AddAsync("task", "test", "3");
        var handled = new List<string>();
        using var stop = new CancellationTokenSource();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => group.ProcessAsync(async (e, attempt) =>
        {
            stop.Cancel();
            await Task.Delay(10);
            await Assert.ThrowsAsync<AgxBusyException>(() => group.ReadAsync(Short));
            AgxException error = await Assert.ThrowsAsync<AgxException>(() => group.DisposeAsync().AsTask());
            Assert.Equal(AgxStatus.BadState, error.Status);
            handled.Add(e.Body);
        }, Quick(0), stop.Token).WaitAsync(Long));
        Assert.Equal(["2", "3"], handled);
        Assert.Equal(0, (await group.PendingAsync()).Count);

        await group.DisposeAsync();
        group = await session.OpenGroupAsync("workers");
        Task<IReadOnlyList<AgxEvent>> waiting = await Blocked(() => group.ReadAsync(Timeout.InfiniteTimeSpan));
        await group.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => waiting.WaitAsync(Long));
        await Assert.ThrowsAsync<AgxClosedException>(() => group.ReadAsync(Short).WaitAsync(Long));
        await Assert.ThrowsAsync<AgxClosedException>(() => group.ProcessAsync((e, attempt) => Task.CompletedTask));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task callback_error(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 0);
        var thrown = new InvalidOperationException("no luck");
        await using (AgxGroup group = await session.OpenGroupAsync("workers"))
        {
            AgxProcessOptions options = Quick(1);
            options.OnFailure = (e, attempt, error) => throw error;
            Assert.Same(thrown, await Assert.ThrowsAsync<InvalidOperationException>(() => group.ProcessAsync((e, attempt) => Task.FromException(thrown), options)));
            Assert.Equal(AgxStatus.Limit, await group.ProcessAsync((e, attempt) => Task.CompletedTask, options));
        }
        using (session.Intercept(e => throw thrown, "type = \"bad\""))
        {
            // At once: one that is refused leaves the others alone.
            Task<string>[] adding = [session.AddAsync("good", "test"), session.AddAsync("bad", "test"), session.AddAsync("good", "test")];
            Assert.Same(thrown, await Assert.ThrowsAsync<InvalidOperationException>(() => adding[1]));
            await adding[0];
            await adding[2];
            Assert.Same(thrown, await Assert.ThrowsAsync<InvalidOperationException>(() => session.AddManyAsync([new("bad", "test", null)])));
        }
        AgxSubscription subscription = await session.SubscribeAsync(async e =>
        {
            await Task.Yield();
            throw thrown;
        });
        Assert.Same(thrown, await Assert.ThrowsAsync<InvalidOperationException>(() => subscription.Completion.WaitAsync(Long)));
        await subscription.DisposeAsync();
        await session.StopAsync();
        Assert.Equal("begin good good", await Types(session.ListenAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task intercept(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        using (AgxInterceptor interceptor = session.Intercept(e =>
        {
            if (e.Type == "drop") return AgxVerdict.Swallow;
            if (e.Type == "refuse") return AgxVerdict.Refuse(AgxStatus.Denied, "not here");
            e.Body = $"[{e.Body}]";
            return AgxVerdict.Write;
        }))
        {
            Task<string>[] adding = [session.AddAsync("a", "test", "1"), session.AddAsync("drop", "test"), session.AddAsync("refuse", "test"), session.AddAsync("b", "test", "2")];
            await Assert.ThrowsAsync<AgxSwallowedException>(() => adding[1]);
            Assert.Equal("not here", (await Assert.ThrowsAsync<AgxDeniedException>(() => adding[2])).Message);
            await adding[3];
            Assert.Equal("", (await session.AddManyAsync([new("drop", "test", null), new("c", "test", "3")]))[0]);
        }
        await session.AddAsync("drop", "test", "4");
        await session.StopAsync();
        Assert.Equal("{\"session_id\": \"" + session.Id.Id + "\"} [1] [2] [3] 4", await Bodies(session.ListenAsync()));
    });

    [Theory, MemberData(nameof(All))]
    public Task subscribe(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        var got = new List<string>();
        await using AgxSubscription all = await session.SubscribeAsync(e => got.Add(e.Body), new() { Where = "type = \"info\"", OnEnd = () => got.Add("end") });
        var slow = new List<string>();
        AgxSubscription? itself = null;
        itself = await session.SubscribeAsync(async e =>
        {
            await Task.Delay(1);
            slow.Add(e.Body);
            if (slow.Count == 3) await itself!.DisposeAsync();
        }, new() { Where = "type = \"info\"" });
        await session.AddManyAsync(Enumerable.Range(0, 100).Select(i => new AgxNewEvent(i % 2 == 0 ? "info" : "other", "test", $"{i}")));
        await session.StopAsync();
        await all.Completion.WaitAsync(Long);
        await itself.Completion.WaitAsync(Long);
        Assert.Equal(Enumerable.Range(0, 50).Select(i => $"{2 * i}").Append("end"), got);
        Assert.Equal(["0", "2", "4"], slow);
        await itself.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task formats(string store) => Each(store, async (client, session) =>
    {
        foreach ((string format, string type) in new[] { ("openai-agents", "token"), ("agent-framework", "event"), ("ag2", "my_app.events.Answer") })
        {
            await using AgxSession stream = client.OpenStream($"s {session.Id.Id}", new() { Format = format });
            await using AgxListener listener = await stream.OpenListenerAsync(new() { Wait = Long });
            ValueTask<AgxEvent?> waiting = listener.NextAsync(Long);
            string id = await stream.AddAsync(type, format, "{\"text\":\"\U0001F600\"}");
            AgxEvent got = (await waiting)!;
            Assert.Equal(id, got.Id);
            Assert.Contains("\U0001F600", got.Body);
            Assert.Equal(Encoding.UTF8.GetBytes(got.Body), got.BodyUtf8.ToArray());
            Assert.Contains(got.Fields, field => field.Value.Contains("\U0001F600"));
            Assert.Equal(got.Fields, (await stream.HistoryAsync()).Single().Fields);
            await stream.DropAsync();
        }
        await using AgxSession odd = client.OpenStream($"odd {session.Id.Id}", new() { Format = "ag2" });
        await Assert.ThrowsAsync<AgxUnsupportedException>(() => odd.AddAsync("x", "test", "1"));
        Assert.Empty(await odd.HistoryAsync());
    });

    [Theory, MemberData(nameof(All))]
    public Task replace_drop(string store) => Each(store, async (client, session) =>
    {
        await Tasks(session, 3);
        Assert.Equal(4, await session.ReplaceAsync([new("summary", "test", "1")]));
        Assert.Equal(["summary"], (await session.HistoryAsync()).Select(e => e.Type));
        Assert.Equal(1, await session.DropAsync());
        Assert.Empty(await session.HistoryAsync());
        Assert.True(await session.IsLiveAsync());
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task checkpoint(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        for (int i = 0; i < 3; ++i) await session.AddCheckedAsync([new("info", "test", "1")], "there", "", "a");
        Assert.Equal("a", await session.CheckpointAsync("there"));
        await Assert.ThrowsAsync<AgxConflictException>(() => session.AddCheckedAsync([new("info", "test", "2")], "there", "else", "b"));
        await session.StopAsync();
        Assert.Equal("begin info", await Types(session.ListenAsync()));
    });

    [Fact]
    public async Task AServerThatIsKilledAndStartedAgainLosesNothing()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=20000&reconnect_attempts=1000");
        await using AgxSession session = Session(client);
        await session.StartAsync();
        Task<string>[] listening = Enumerable.Range(0, 20).Select(i => Types(session.ListenAsync())).ToArray();
        for (int i = 0; i < 50; ++i) await session.AddAsync("before", "test");
        server.Kill();
        Task<string> adding = session.AddAsync("during", "test");
        server.Start();
        await adding;
        for (int i = 0; i < 50; ++i) await session.AddAsync("after", "test");
        await session.StopAsync();
        string expected = "begin " + string.Concat(Enumerable.Repeat("before ", 50)) + "during" + string.Concat(Enumerable.Repeat(" after", 50));
        foreach (Task<string> one in listening) Assert.Equal(expected, await one.WaitAsync(Long));
    }

    [Fact]
    public async Task AGroupIsProcessedAcrossARestart()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=20000&reconnect_attempts=1000");
        await using AgxSession session = Session(client);
        await Tasks(session, 20);
        await using AgxGroup group = await session.OpenGroupAsync("workers");
        var handled = new HashSet<string>();
        var begun = new TaskCompletionSource();
        var restarted = new TaskCompletionSource();
        Task<AgxStatus> processing = group.ProcessAsync(async (e, attempt) =>
        {
            handled.Add(e.Body);
            if (handled.Count != 5) return;
            begun.SetResult();
            await restarted.Task;
        }, new() { Timeout = TimeSpan.FromSeconds(1) });
        await begun.Task.WaitAsync(Long);
        server.Kill();
        restarted.SetResult();
        server.Start();
        await session.AddAsync("task", "test", "20");
        Assert.Equal(AgxStatus.Timeout, await processing.WaitAsync(Long));
        Assert.Equal(Enumerable.Range(0, 21).Select(i => $"{i}").Order(), handled.Where(body => body[0] != '{').Order());
        Assert.Equal(0, (await group.PendingAsync()).Count);
        await session.StopAsync();
    }

    [Fact]
    public async Task AListenerGoesOnAfterTheStoreWasUnavailable()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=-1");
        await using AgxClient other = await AgxClient.OpenAsync(server.Url);
        await using AgxSession session = other.OpenSession(1, 1, "x");
        await session.StartAsync(new() { Lease = TimeSpan.FromMinutes(1) });
        await using AgxSession same = client.OpenSession(1, 1, "x");
        await using AgxListener listener = await same.OpenListenerAsync();
        Assert.Equal("begin", (await listener.NextAsync(Long))!.Type);
        Task<AgxEvent?> waiting = listener.NextAsync().AsTask();
        server.Kill();
        await Assert.ThrowsAsync<AgxUnavailableException>(() => waiting.WaitAsync(Long));
        server.Start();
        await session.AddAsync("info", "test", "1");
        Stopwatch clock = Stopwatch.StartNew();
        AgxEvent? next = null;
        while (next == null && clock.Elapsed < Long)
        {
            try { next = await listener.NextAsync(Long); }
            catch (AgxUnavailableException) { }
        }
        Assert.Equal("1", next!.Body);
        await session.StopAsync();
    }

    [Theory, MemberData(nameof(All))]
    public Task WhatWaitsForASlowReaderIsBounded(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        string body = "\"" + new string('x', 10000) + "\"";
        await using AgxListener slow = await session.OpenListenerAsync();
        Assert.Equal("begin", (await slow.NextAsync(Long))!.Type);
        for (int i = 0; i < 50; ++i) await session.AddManyAsync(Enumerable.Range(0, 100).Select(n => new AgxNewEvent("info", "test", body)));
        await session.StopAsync();
        int count = 0;
        await foreach (AgxEvent e in slow.ReadAllAsync())
        {
            Assert.Equal(10002, e.BodyUtf8.Length);
            if (++count % 500 == 0) await Task.Delay(1);
        }
        Assert.Equal(5000, count);
    });

    [Theory, MemberData(nameof(All))]
    public async Task AClientMayBeClosedInTheMiddleOfEverything(string store)
    {
        for (int round = 0; round < 20; ++round)
        {
            AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
            AgxSession[] all = Enumerable.Range(0, 4).Select(i => Session(client)).ToArray();
            await Task.WhenAll(all.Select(s => s.StartAsync()));
            var tasks = new List<Task>();
            foreach (AgxSession session in all)
            {
                tasks.Add(Task.Run(async () => { for (;;) await session.AddAsync("info", "test", "1"); }));
                tasks.Add(Task.Run(async () => { for (;;) await session.HistoryAsync(new() { Count = 10 }); }));
                tasks.Add(session.WaitCanceledAsync());
                for (int i = 0; i < 3; ++i) tasks.Add(ToList(session.ListenAsync()));
                tasks.Add(Task.Run(async () => { for (;;) (await session.OpenListenerAsync()).Dispose(); }));
                tasks.Add(Task.Run(() => session.Listen().Count()));
            }
            await Task.Delay(round);
            await client.DisposeAsync();
            foreach (Task task in tasks)
            {
                // What was under way may be told of its connection's end instead.
                AgxException error = await Assert.ThrowsAnyAsync<AgxException>(() => task.WaitAsync(Long));
                Assert.True(error is AgxClosedException or AgxUncertainException or AgxUnavailableException, error.ToString());
            }
            foreach (AgxSession session in all) await session.DisposeAsync();
        }
    }

    [Theory, MemberData(nameof(All))]
    public Task SeveralMayReadOneListener(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions { Where = "type = \"info\"" });
        Task<string>[] reading = Enumerable.Range(0, 4).Select(i => Bodies(listener.ReadAllAsync())).ToArray();
        await session.AddManyAsync(Enumerable.Range(0, 3000).Select(i => new AgxNewEvent("info", "test", $"{i}")));
        await session.StopAsync();
        string[] read = await Task.WhenAll(reading).WaitAsync(Long);
        IEnumerable<int> numbers = string.Join(" ", read).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse);
        Assert.Equal(Enumerable.Range(0, 3000), numbers.Order());
    });

    [Fact]
    public async Task TheLogReachesItsHandler()
    {
        var line = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=-1", new()
        {
            Log = (level, text) =>
            {
                line.TrySetResult($"{level}: {text}");
                throw new InvalidOperationException("what a handler throws is lost");
            },
        });
        await using AgxSession session = client.OpenSession(1, 1, "x");
        await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions { Wait = TimeSpan.FromMinutes(1) });
        Task<AgxEvent?> waiting = listener.NextAsync().AsTask();
        server.Kill();
        await Assert.ThrowsAsync<AgxUnavailableException>(() => waiting.WaitAsync(Long));
        Assert.StartsWith("Warning: ", await line.Task.WaitAsync(Long));
        server.Start();
    }

    [Fact]
    public void EveryStatusHasAName()
    {
        // The library's own list: a status that it gained is not without a name here.
        foreach (int status in Enumerable.Range(-60, 120))
        {
            bool known = Native(status) != "AGX_UNKNOWN";
            Assert.Equal(known, Enum.IsDefined((AgxStatus)status));
        }
    }

    static string Native(int status)
    {
        Type type = typeof(AgxClient).Assembly.GetType("Agx.Native.agxnative")!;
        var text = (IntPtr)type.GetMethod("agx_status_string")!.Invoke(null, [status])!;
        return System.Runtime.InteropServices.Marshal.PtrToStringUTF8(text)!;
    }
}
