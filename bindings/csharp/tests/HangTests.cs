#nullable enable
using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Xunit;

namespace Agx.Tests;

/// <summary>While the store hangs, disposing waits for no call that it has not answered. The URL's times
/// are so long that who waits for one of them is stuck.</summary>
public sealed class HangTests : IDisposable
{
    static readonly TimeSpan Long = TimeSpan.FromSeconds(20);
    static readonly TimeSpan Ever = TimeSpan.FromMinutes(10);

    readonly RedisServer server = new();
    readonly AgxClient client;
    readonly AgxClient other;
    readonly AgxSession session;

    public HangTests()
    {
        client = AgxClient.Open(server.Url + "&command_timeout=600000&reconnect_timeout=600000&connect_timeout=600000");
        other = AgxClient.Open(server.Url);
        session = client.OpenSession(1, 1, "hang");
    }

    public void Dispose()
    {
        server.Thaw();
        client.Dispose();
        other.Dispose();
        server.Dispose();
    }

    // Begun, and given up after a moment, in which it has come to C.
    static async Task GivenUp(Task call)
    {
        using var soon = new CancellationTokenSource(100);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.WaitAsync(soon.Token));
    }

    static async Task AtOnce(Action dispose)
    {
        await Task.Factory.StartNew(dispose, TaskCreationOptions.LongRunning).WaitAsync(Long);
    }

    // While the server hangs a call is given up; then what it is on is disposed of, before it has ended.
    async Task Behind(IDisposable disposed, Func<Task> call)
    {
        server.Freeze();
        Task under = call();
        await GivenUp(under);
        await AtOnce(disposed.Dispose);
        if (disposed is IAsyncDisposable again) await again.DisposeAsync().AsTask().WaitAsync(Long);
        Assert.False(under.IsCompleted);
        server.Thaw();
        await under.WaitAsync(Long);
    }

    [Fact]
    public async Task ASessionIsDisposedOfAtOnceBehindACallThatWasGivenUp()
    {
        await Behind(session, () => session.AddAsync("a", "test", "1"));
        Assert.Equal("the session is closed", Assert.Throws<AgxClosedException>(() => session.Add("a", "test", "2")).Message);
        foreach (Func<AgxSession, Task> call in new Func<AgxSession, Task>[]
        {
            one => one.IsLiveAsync(),
            one => one.StartAsync(),
            one => one.HistoryAsync(),
            one => one.DeleteAsync(),
            one => one.AddManyAsync([new("a", "test", "1"), new("a", "test", "2")]),
            one => one.WaitForAsync("type = \"none\"", TimeSpan.Zero),
        })
        {
            AgxSession one = client.OpenSession(1, 2, "hang");
            await Behind(one, () => call(one));
        }
    }

    [Fact]
    public async Task WhatIsUnderWayIsCarriedOutAndWhatIsQueuedIsTold()
    {
        session.Start();
        server.Freeze();
        Task<string> first = session.AddAsync("a", "test", "1");
        await GivenUp(first);
        Task<string> second = session.AddAsync("a", "test", "2");
        Task stop = session.StopAsync();
        Task blocked = Task.Factory.StartNew(() => session.Add("a", "test", "3"), TaskCreationOptions.LongRunning);
        await GivenUp(blocked);
        Task canceled = session.WaitCanceledAsync();
        await AtOnce(session.Dispose);
        foreach (Task told in new[] { second, stop, blocked, canceled })
        {
            AgxClosedException closed = await Assert.ThrowsAsync<AgxClosedException>(() => told.WaitAsync(Long));
            Assert.Equal("the session is closed", closed.Message);
        }
        Assert.True(session.IsCanceled);
        Assert.False(first.IsCompleted);
        server.Thaw();
        string id = await first.WaitAsync(Long);
        AgxEvent[] stored = other.OpenSession(1, 1, "hang").History().ToArray();
        Assert.Equal(new[] { "begin", "a" }, stored.Select(e => e.Type));
        Assert.Equal(id, stored[1].Id);
    }

    [Fact]
    public async Task SessionsWhoseEventsGoTogetherAreDisposedOfAtOnce()
    {
        server.Freeze();
        // Four rounds are under way at most, of which the later ones have several sessions' events.
        AgxSession[] all = Enumerable.Range(0, 12).Select(n => client.OpenSession(1, 3, "hang " + n)).ToArray();
        Task<string>[] adds = all.Select(one => one.AddAsync("a", "test", "1")).ToArray();
        await GivenUp(Task.WhenAll(adds));
        foreach (AgxSession one in all) await AtOnce(one.Dispose);
        server.Thaw();
        int stored = 0;
        for (int i = 0; i < all.Length; ++i)
        {
            try { await adds[i].WaitAsync(Long); }
            catch (AgxClosedException) { continue; }
            Assert.Single(other.OpenSession(1, 3, "hang " + i).History());
            ++stored;
        }
        Assert.NotEqual(0, stored);
    }

    [Fact]
    public async Task AGroupIsDisposedOfAtOnceBehindACallThatWasGivenUp()
    {
        session.Add("a", "test", "1");
        AgxGroup acking = session.OpenGroup("g");
        acking.Ack(acking.Read(Long));
        await Behind(acking, () => acking.AckAsync("1-1"));
        // The last call that left has closed it, so that the consumer went whose name was made up.
        AgxGroup looking = other.OpenSession(1, 1, "hang").OpenGroup("g", new() { Consumer = "me" });
        Assert.True(SpinWait.SpinUntil(() => looking.Consumers().Count == 0, Long));
        AgxGroup reading = session.OpenGroup("g", new() { Consumer = "c" });
        server.Freeze();
        Task<IReadOnlyList<AgxEvent>> read = reading.ReadAsync(Ever);
        await GivenUp(read);
        Task second = Task.Factory.StartNew(() => reading.Read(Ever), TaskCreationOptions.LongRunning);
        await GivenUp(second);
        await AtOnce(reading.Dispose);
        Assert.Equal("the group is closed", (await Assert.ThrowsAsync<AgxClosedException>(() => second.WaitAsync(Long))).Message);
        Assert.False(read.IsCompleted);
    }

    [Fact]
    public async Task DisposingOfAGroupWaitsForItsHandlerStill()
    {
        session.Add("a", "test", "1");
        session.Add("a", "test", "2");
        AgxGroup group = session.OpenGroup("g", new() { Consumer = "c" });
        using var called = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        int ended = 0;
        Task<AgxStatus> process = Task.Factory.StartNew(() => group.Process((value, attempt) =>
        {
            called.Set();
            go.Wait();
            Interlocked.Increment(ref ended);
        }), TaskCreationOptions.LongRunning);
        Assert.True(called.Wait(Long));
        int seen = -1;
        Task closes = Task.Factory.StartNew(() =>
        {
            group.Dispose();
            seen = Volatile.Read(ref ended);
        }, TaskCreationOptions.LongRunning);
        await GivenUp(closes);
        go.Set();
        await closes.WaitAsync(Long);
        Assert.Equal(1, seen);
        Assert.Equal("the group is closed", (await Assert.ThrowsAsync<AgxClosedException>(() => process.WaitAsync(Long))).Message);
        // What was handled is acknowledged, and what was not comes again.
        using AgxGroup again = other.OpenSession(1, 1, "hang").OpenGroup("g", new() { Consumer = "c" });
        Assert.Equal("2", Assert.Single(again.Read(Long, AgxGroupSource.PendingOnly)).Body);
        Assert.Equal(1, ended);
    }

    [Fact]
    public async Task AConversationIsDisposedOfAtOnceBehindACallThatWasGivenUp()
    {
        AgxMessages messages = session.OpenMessages();
        server.Freeze();
        Task load = messages.LoadAsync();
        await GivenUp(load);
        Task behind = Task.Factory.StartNew(() => messages.Json, TaskCreationOptions.LongRunning);
        await GivenUp(behind);
        await AtOnce(messages.Dispose);
        Assert.Equal("the conversation is closed", (await Assert.ThrowsAsync<AgxClosedException>(() => behind.WaitAsync(Long))).Message);
        Assert.False(load.IsCompleted);
        server.Thaw();
        await load.WaitAsync(Long);
    }

    [Fact]
    public async Task AListenerAndAMuxAreDisposedOfAtOnceWhileAThreadWaitsInThem()
    {
        session.Add("a", "test", "1");
        AgxListener listener = session.OpenListener(), ofMux = session.OpenListener();
        var mux = new AgxMux(client);
        mux.Add(ofMux);
        server.Freeze();
        Task receives = Task.Factory.StartNew(() => listener.Next(), TaskCreationOptions.LongRunning);
        Task waits = Task.Factory.StartNew(() => mux.TryNext(Ever, out _), TaskCreationOptions.LongRunning);
        await GivenUp(Task.WhenAny(receives, waits));
        await AtOnce(listener.Dispose);
        await AtOnce(mux.Dispose);
        server.Thaw();
        Assert.Equal("the listener is closed", (await Assert.ThrowsAsync<AgxClosedException>(() => receives.WaitAsync(Long))).Message);
        try { await waits.WaitAsync(Long); } // has what came first, or else:
        catch (AgxClosedException closed) { Assert.Equal("the mux is closed", closed.Message); }
    }

    [Fact]
    public async Task ASubscriptionIsDisposedOfAtOnceButForItsFunction()
    {
        TimeSpan lease = TimeSpan.FromMilliseconds(200);
        other.OpenSession(1, 1, "hang").Start(new() { Lease = lease, Detached = true });
        using var called = new ManualResetEventSlim();
        using var go = new ManualResetEventSlim();
        bool returned = false;
        AgxSubscription subscription = session.Subscribe(value =>
        {
            called.Set();
            go.Wait();
            Volatile.Write(ref returned, true);
        });
        Assert.True(called.Wait(Long));
        server.Freeze();
        // By then the thread that reads has asked whether the producer is there.
        await Task.Delay(5 * lease);
        Task closes = Task.Factory.StartNew(subscription.Dispose, TaskCreationOptions.LongRunning);
        await GivenUp(closes);
        go.Set();
        await closes.WaitAsync(Long);
        Assert.True(Volatile.Read(ref returned));
        await subscription.Completion.WaitAsync(Long);
    }
}
