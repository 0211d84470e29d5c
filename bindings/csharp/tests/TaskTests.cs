#nullable enable
using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Xunit;

namespace Agx.Tests;

/// <summary>What tasks promise beyond the cases that all languages have.</summary>
public sealed class TaskTests(Stores stores) : IClassFixture<Stores>
{
    static readonly TimeSpan Long = TimeSpan.FromSeconds(20);
    static int sessions;

    public static TheoryData<string> All => Stores.All;

    static AgxSession Session(AgxClient client) => client.OpenSession(1, 45, "tasks " + Interlocked.Increment(ref sessions));

    async Task Each(string store, Func<AgxClient, AgxSession, Task> body)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        await using AgxSession session = Session(client);
        await body(client, session);
    }

    static async Task<string> Types(AgxSession session)
    {
        var types = new List<string>();
        await foreach (AgxEvent e in session.ListenAsync()) types.Add(e.Type);
        return string.Join(" ", types);
    }

    static void Push(RedisServer server, string element)
    {
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        socket.Connect(new System.Net.Sockets.UnixDomainSocketEndPoint(new Uri(server.Url).LocalPath));
        socket.Send(System.Text.Encoding.ASCII.GetBytes($"RPUSH p:s {element}\r\n"));
        byte[] answer = new byte[64];
        int count = socket.Receive(answer);
        Assert.StartsWith(":", System.Text.Encoding.ASCII.GetString(answer, 0, count));
    }

    [Theory, MemberData(nameof(All))]
    public async Task NothingComesPastTheInterceptorsOfASessionThatIsDisposedOf(string store)
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
        AgxSession session = Session(client);
        AgxRun run = session.BeginRun();
        run.BeginNode();
        session.Intercept(e =>
        {
            if (e.Type == "last") session.Dispose();
            if (e.Type == "secret") e.Body = "\"redacted\"";
            return AgxVerdict.Write;
        });
        session.Add("secret", "test", "\"raw\"");
        AgxException told = Assert.Throws<AgxClosedException>(() => session.AddMany([new("last", "test", null), new("secret", "test", "\"raw\"")]));
        Assert.EndsWith("the session is closed", told.Message);
        Assert.Throws<AgxClosedException>(() => { run.ToolReturn("raw", "1", "\"raw\""); run.Flush(); });
        using AgxSession other = client.OpenSession(1, 45, session.Id.Id);
        Assert.Equal(["\"redacted\""], other.History().Where(e => e.Type == "secret").Select(e => e.Body));
        Assert.DoesNotContain(other.History(), e => e.Body.Contains("raw"));
        run.Dispose();
    }

    [Fact]
    public async Task AnEntryThatCannotBeReadIsNamed()
    {
        const string pickle = "\"\\x80pickle\"";
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url);
        await using AgxSession session = client.OpenStream("s", new() { Format = "ag2", Prefix = "p" });
        Push(server, "[1]");
        Push(server, pickle);
        Push(server, "[3]");
        AgxUnsupportedException told = Assert.Throws<AgxUnsupportedException>(() => session.History());
        string id = told.EntryId!;
        Assert.Equal("[1]", Assert.Single(session.History(new() { Before = id })).Body);
        Assert.Equal("[3]", Assert.Single(session.History(new() { After = id })).Body);
        told = Assert.Throws<AgxUnsupportedException>(() => session.History(new() { Reverse = true }));
        Assert.Equal(id, told.EntryId);

        await using (AgxListener listener = session.OpenListener())
        {
            Assert.Equal("[1]", (await listener.NextAsync())!.Body);
            told = await Assert.ThrowsAsync<AgxUnsupportedException>(async () => await listener.NextAsync());
            Assert.Equal(id, told.EntryId);
            Assert.Contains("PICKLE", told.Message);
            Assert.Equal("[3]", (await listener.NextAsync())!.Body);
        }
        using (AgxListener listener = session.OpenListener())
        {
            Assert.Equal("[1]", listener.Next()!.Body);
            Assert.Equal(id, Assert.Throws<AgxUnsupportedException>(() => listener.Next()).EntryId);
            Assert.Equal("[3]", listener.Next()!.Body);
        }

        Assert.Null(session.WaitFor(null, TimeSpan.Zero));
        Push(server, pickle);
        Push(server, "[5]");
        told = await Assert.ThrowsAsync<AgxUnsupportedException>(() => session.WaitForAsync(null, Long));
        Assert.NotEqual(id, told.EntryId);
        Assert.Equal("[5]", (await session.WaitForAsync(null, Long))!.Body);
        Assert.Null(Assert.Throws<AgxInvalidException>(() => { session.Add("", "o"); }).EntryId);
    }

    [Fact]
    public async Task AddsToManySessionsFailTogether()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=1000");
        AgxSession[] all = Enumerable.Range(0, 200).Select(i => Session(client)).ToArray();
        await Task.WhenAll(all.Select(s => s.AddAsync("info", "test")));
        server.Kill();
        Stopwatch clock = Stopwatch.StartNew();
        foreach (Task add in all.Select(s => s.AddAsync("info", "test")).ToArray())
        {
            await Assert.ThrowsAnyAsync<AgxException>(() => add.WaitAsync(Long));
        }
        // Ten at a time it would take 20 s.
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(8));
        server.Start();
    }

    [Theory, MemberData(nameof(All))]
    public Task AddsToManySessionsFareByThemselves(string store) => Each(store, async (client, session) =>
    {
        AgxSession[] all = Enumerable.Range(0, 50).Select(i => Session(client)).ToArray();
        await Task.WhenAll(all.Select(s => s.StartAsync()));
        int asked = 0;
        all[7].Intercept(e => ++asked % 2 == 0 ? AgxVerdict.Swallow : throw new InvalidOperationException("mine"));
        var adding = new List<(int Session, int Event, Task<string> Task)>();
        for (int e = 0; e < 20; ++e)
        {
            for (int s = 0; s < all.Length; ++s) adding.Add((s, e, all[s].AddAsync("info", "test", s == 3 && e == 5 ? "{" : $"{e}")));
        }
        foreach ((int s, int e, Task<string> task) in adding)
        {
            if (s == 7 && e % 2 == 0) await Assert.ThrowsAsync<InvalidOperationException>(() => task);
            else if (s == 7) await Assert.ThrowsAsync<AgxSwallowedException>(() => task);
            else if (s == 3 && e == 5) await Assert.ThrowsAsync<AgxJsonException>(() => task);
            else Assert.NotEmpty(await task);
        }
        for (int s = 0; s < all.Length; ++s)
        {
            string[] bodies = (await all[s].HistoryAsync()).Skip(1).Select(e => e.Body).ToArray();
            if (s == 7) Assert.Empty(bodies);
            else Assert.Equal(Enumerable.Range(0, 20).Where(e => s != 3 || e != 5).Select(e => $"{e}"), bodies);
            await all[s].DisposeAsync();
        }
    });

    [Theory, MemberData(nameof(All))]
    public Task NobodyWaitsForACallThatTakesLong(string store) => Each(store, async (client, session) =>
    {
        using var begun = new SemaphoreSlim(0);
        using var go = new ManualResetEventSlim();
        IEnumerable<AgxNewEvent> Late()
        {
            begun.Release();
            Assert.True(go.Wait(Long));
            yield return new AgxNewEvent("late", "test", null);
        }
        // More than there are rounds of adding at once.
        AgxSession[] slow = Enumerable.Range(0, 6).Select(_ => Session(client)).ToArray();
        var calls = new List<Task<IReadOnlyList<string>>>();
        foreach (AgxSession one in slow)
        {
            calls.Add(one.AddManyAsync(Late()));
            Assert.True(await begun.WaitAsync(Long));
        }
        await session.AddAsync("one", "test").WaitAsync(Long);
        await session.AddManyAsync([new AgxNewEvent("many", "test", null)]).WaitAsync(Long);
        await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => session.AddAsync("one", "test"))).WaitAsync(Long);
        Assert.DoesNotContain(calls, call => call.IsCompleted);
        go.Set();
        foreach (IReadOnlyList<string> ids in await Task.WhenAll(calls).WaitAsync(Long)) Assert.Single(ids);
        foreach (AgxSession one in slow) await one.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task NothingOvertakesWhatWasAddedBefore(string store) => Each(store, async (client, session) =>
    {
        for (int round = 0; round < 20; ++round)
        {
            await using AgxSession own = Session(client);
            string some = string.Join(" ", Enumerable.Repeat("queued", 100));
            var tasks = new List<Task>();
            void Some() => tasks.AddRange(Enumerable.Range(0, 100).Select(i => own.AddAsync("queued", "test")));
            tasks.Add(own.StartAsync());
            Some();
            own.Add("one", "test");
            Some();
            own.AddMany([new AgxNewEvent("many", "test", null)]);
            Some();
            tasks.Add(own.AddManyAsync([new AgxNewEvent("later", "test", null)]));
            Some();
            if (round % 2 == 0) own.Stop();
            else await own.StopAsync();
            await Task.WhenAll(tasks).WaitAsync(Long);
            Assert.Equal($"begin {some} one {some} many {some} later {some}", await Types(own));
        }
    });

    [Theory, MemberData(nameof(All))]
    public Task AnInterceptorMayWaitForAnAdd(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        using AgxInterceptor interceptor = session.Intercept(e =>
        {
            session.AddAsync("audit", "test").GetAwaiter().GetResult();
            session.AddManyAsync([new AgxNewEvent("many", "test", null)]).GetAwaiter().GetResult();
            session.Add("sync", "test");
            return AgxVerdict.Write;
        }, "type = \"x\"");
        await session.AddAsync("x", "test").WaitAsync(Long);
        await Task.WhenAll(session.AddAsync("y", "test"), session.AddAsync("x", "test")).WaitAsync(Long);
        await session.StopAsync();
        Assert.Equal("begin audit many sync x y audit many sync x", await Types(session));
    });

    // Its tasks are its own as its thread is.
    [Theory, MemberData(nameof(All))]
    public Task AnInterceptorMayWaitForATaskThatAdds(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        int others = 0;
        using AgxInterceptor other = session.Intercept(e =>
        {
            ++others;
            return AgxVerdict.Write;
        }, "type = \"audit\"");
        using AgxInterceptor interceptor = session.Intercept(e =>
        {
            Task.Run(() => session.AddAsync("audit", "test")).GetAwaiter().GetResult();
            Task.Run(async () =>
            {
                await Task.Yield();
                await session.AddManyAsync([new AgxNewEvent("many", "test", null)]);
                session.Add("sync", "test");
                await session.AddAsync("x", "test");
            }).GetAwaiter().GetResult();
            return AgxVerdict.Write;
        }, "type = \"x\"");
        await session.AddAsync("x", "test").WaitAsync(Long);
        await Task.Run(() => session.Add("x", "test")).WaitAsync(Long);
        await Task.WhenAll(session.AddAsync("y", "test"), session.AddAsync("x", "test")).WaitAsync(Long);
        await session.StopAsync();
        Assert.Equal("begin audit many sync x x audit many sync x x y audit many sync x x", await Types(session));
        Assert.Equal(3, others);
    });

    // What goes on when the function has returned is not the function any more.
    [Theory, MemberData(nameof(All))]
    public Task ATaskThatOutlivesItsInterceptorAddsInItsTurn(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        var returned = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task? late = null;
        int calls = 0;
        using AgxInterceptor interceptor = session.Intercept(e =>
        {
            if (Interlocked.Increment(ref calls) > 1) return AgxVerdict.Write;
            late = Task.Run(async () =>
            {
                await returned.Task;
                await session.AddAsync("late", "test");
            });
            return AgxVerdict.Write;
        });
        await session.AddAsync("x", "test").WaitAsync(Long);
        returned.SetResult();
        await late!.WaitAsync(Long);
        Assert.Equal(2, calls);
        await session.StopAsync();
        Assert.Equal("begin x late", await Types(session));
    });

    [Theory, MemberData(nameof(All))]
    public Task ManyInterceptorsMayWaitForCallsAtOnce(string store) => Each(store, async (client, session) =>
    {
        AgxSession[] all = Enumerable.Range(0, 12).Select(i => Session(client)).ToArray();
        using var together = new CountdownEvent(8);
        foreach (AgxSession s in all)
        {
            await s.StartAsync();
            s.Intercept(e =>
            {
                if (!together.IsSet) together.Signal();
                together.Wait();
                return s.IsLiveAsync().GetAwaiter().GetResult() ? AgxVerdict.Write : AgxVerdict.Swallow;
            });
        }
        await Task.WhenAll(all.Select(s => s.AddAsync("x", "test"))).WaitAsync(Long);
        foreach (AgxSession s in all) await s.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task NoEventIsADeadLetterThatNoHandlerSaw(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        for (int i = 0; i < 10; ++i) await session.AddAsync("task", "test", $"{i}");
        var seen = new HashSet<string>();
        int failures = 0;
        for (int start = 0; start < 23; ++start)
        {
            await using AgxGroup group = await session.OpenGroupAsync("workers", new() { Consumer = "a" });
            Task processing = group.ProcessAsync((e, attempt) =>
            {
                seen.Add(e.Id);
                throw new TimeZoneNotFoundException("the database is down");
            }, new() { MaxRetries = 2, Timeout = TimeSpan.FromMilliseconds(500), OnFailure = (e, attempt, error) => { ++failures; throw error; } });
            try { await processing.WaitAsync(Long); }
            catch (TimeZoneNotFoundException) { }
            IReadOnlyList<AgxDeadLetter> letters = await group.DeadLettersAsync();
            Assert.All(letters, letter => Assert.Contains(letter.OriginalId, seen));
            Assert.All(letters, letter => Assert.Equal(2, letter.Attempts));
            Assert.Equal((start + 1) / 2, letters.Count);
        }
        // Each start ended at its first failure.
        Assert.Equal(11, seen.Count);
        Assert.Equal(22, failures);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task AHandlerThatIsToldToStopHasNotFailed(string store) => Each(store, async (client, session) =>
    {
        for (int i = 0; i < 2; ++i) await session.AddAsync("task", "test", $"{i}");
        await using AgxGroup group = await session.OpenGroupAsync("workers");
        AgxProcessOptions once = new() { MaxRetries = 1, OnFailure = (e, attempt, error) => Assert.Fail(error.ToString()) };
        for (int stop = 0; stop < 3; ++stop)
        {
            using var source = new CancellationTokenSource();
            Task processing = group.ProcessAsync(async (e, attempt) =>
            {
                Assert.Equal(1, attempt);
                source.Cancel();
                await Task.Delay(Long, source.Token);
            }, once, source.Token);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => processing.WaitAsync(Long));
        }
        once.Limit = 2;
        Assert.Equal(AgxStatus.Limit, await group.ProcessAsync((e, attempt) =>
        {
            Assert.Equal(1, attempt);
            return Task.CompletedTask;
        }, once).WaitAsync(Long));
        Assert.Empty(await group.DeadLettersAsync());
        // One that is cancelled by something else has failed.
        await session.AddAsync("task", "test");
        await group.ProcessAsync((e, attempt) => Task.FromCanceled(new CancellationToken(true)), new() { MaxRetries = 1, Limit = 1 }).WaitAsync(Long);
        Assert.Single(await group.DeadLettersAsync());
    });

    [Theory, MemberData(nameof(All))]
    public Task AWaitForAnEventHasNoThread(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.AddAsync("answer", "test", "0");
        Assert.Equal("0", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        Assert.Null(await session.WaitForAsync("type = \"answer\"", TimeSpan.Zero));
        Assert.Null(await session.WaitForAsync("type = \"answer\"", TimeSpan.FromMilliseconds(30)));
        AgxSession[] all = Enumerable.Range(0, 100).Select(i => Session(client)).ToArray();
        foreach (AgxSession s in all) await s.StartAsync();
        static int Threads() => SyncCases.Threads().Values.Count(name => !name.StartsWith(".NET TP", StringComparison.Ordinal));
        int threads = Threads();
        Task<AgxEvent?>[] waiting = all.Select(s => s.WaitForAsync("type = \"answer\"", Long)).ToArray();
        Assert.InRange(Threads() - threads, int.MinValue, all.Length / 2);
        foreach (AgxSession s in all) await s.AddAsync("answer", "test", "1");
        Assert.All(await Task.WhenAll(waiting).WaitAsync(Long), e => Assert.Equal("1", e!.Body));
        // Each goes on behind the last, tasks or not.
        await session.AddManyAsync([new("answer", "test", "1"), new("answer", "test", "2"), new("answer", "test", "3")]);
        Assert.Equal("1", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        Assert.Equal("2", session.WaitFor("type = \"answer\"", Long)!.Body);
        Assert.Equal("3", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        await session.StopAsync();
        await Assert.ThrowsAsync<AgxEndedException>(() => session.WaitForAsync("type = \"answer\"", Long).WaitAsync(Long));
        foreach (AgxSession s in all) await s.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task AWaitForAnEventEndsWithItsSession(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        Task waiting = session.WaitForAsync("type = \"never\"", Timeout.InfiniteTimeSpan);
        await using AgxSession same = client.OpenSession(1, 45, session.Id.Id);
        Task watching = same.WaitForAsync("type = \"never\"", Timeout.InfiniteTimeSpan);
        await same.CancelAsync();
        await Assert.ThrowsAsync<AgxCanceledException>(() => waiting.WaitAsync(Long));
        await Assert.ThrowsAsync<AgxCanceledException>(() => session.WaitForAsync("type = \"never\"", Long).WaitAsync(Long));

        await using AgxSession own = Session(client);
        await own.StartAsync();
        waiting = own.WaitForAsync("type = \"never\"", Timeout.InfiniteTimeSpan);
        await using AgxSession other = client.OpenSession(1, 45, own.Id.Id);
        await other.StartAsync(new() { TakeOver = true });
        await Assert.ThrowsAsync<AgxTakenOverException>(() => waiting.WaitAsync(Long));

        waiting = other.WaitForAsync("type = \"never\"", Timeout.InfiniteTimeSpan);
        await other.DisposeAsync();
        await Assert.ThrowsAsync<AgxClosedException>(() => waiting.WaitAsync(Long));
        await Assert.ThrowsAsync<AgxClosedException>(() => other.WaitForAsync(null, Long));
        Assert.False(watching.IsFaulted);
    });

    [Theory, MemberData(nameof(All))]
    public Task AnAddSucceedsAfterACancelAndAStop(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.CancelAsync();
        await session.WaitCanceledAsync().WaitAsync(Long);
        await session.AddAsync("canceled", "test");
        session.Add("canceled", "test");
        Assert.True(session.IsCanceled);
        await session.StopAsync();
        await session.AddAsync("stopped", "test");
        Assert.Equal("begin canceled canceled", await Types(session));
        Assert.Equal("begin canceled canceled end stopped", string.Join(" ", session.History().Select(e => e.Type)));
    });

    // "Not yet" and "never" are told apart.
    [Theory, MemberData(nameof(All))]
    public Task AWaitTellsTheEndFromATimeout(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxSession same = client.OpenSession(1, 45, session.Id.Id);
        Assert.Null(await same.WaitForAsync("type = \"answer\"", TimeSpan.Zero));
        Task<AgxEvent?>[] waiting = [same.WaitForAsync("type = \"answer\"", Timeout.InfiniteTimeSpan), same.WaitForAsync("type = \"answer\"", Long)];
        Task<AgxEvent?> sync = Task.Run(() => same.WaitFor("type = \"answer\"", Long));
        Assert.Null(await same.WaitForAsync("type = \"answer\"", TimeSpan.FromMilliseconds(30)));
        Assert.Null(same.WaitFor("type = \"answer\"", TimeSpan.FromMilliseconds(30)));
        await session.StopAsync();
        foreach (Task one in waiting.Append(sync)) Assert.Equal(AgxStatus.Ended, (await Assert.ThrowsAsync<AgxEndedException>(() => one.WaitAsync(Long))).Status);
        foreach (AgxSession one in new[] { session, same })
        {
            Assert.Throws<AgxEndedException>(() => { one.WaitFor("type = \"answer\"", TimeSpan.Zero); });
            foreach (TimeSpan time in new[] { TimeSpan.Zero, Long, Timeout.InfiniteTimeSpan })
            {
                await Assert.ThrowsAsync<AgxEndedException>(() => one.WaitForAsync("type = \"answer\"", time).WaitAsync(Long));
            }
        }
    });

    [Theory, MemberData(nameof(All))]
    public Task AfterAGapAWaitTakesWhatIsLeft(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await session.AddAsync("answer", "test", "0");
        Assert.Equal("0", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        for (int i = 1; i < 5; ++i) await session.AddAsync("answer", "test", $"{i}");
        await session.TrimAsync(1);
        await Assert.ThrowsAsync<AgxGapException>(() => session.WaitForAsync("type = \"answer\"", Long));
        Assert.Equal("4", (await session.WaitForAsync("type = \"answer\"", Long))!.Body);
        await session.StopAsync();
    });

    [Fact]
    public async Task WaitsEndByTheirTokenWhileTheStoreIsDown()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=20000");
        await using AgxSession session = Session(client);
        await session.StartAsync();
        Task early = session.WaitCanceledAsync();
        server.Kill();
        // Until it looks for itself whether it still is live, which asks the store.
        for (int i = 0; i < 30; ++i)
        {
            using var source = new CancellationTokenSource();
            Stopwatch clock = Stopwatch.StartNew();
            Task[] waits = [session.WaitForAsync("type = \"never\"", Timeout.InfiniteTimeSpan, source.Token), session.WaitCanceledAsync(source.Token)];
            await Task.Delay(20);
            source.Cancel();
            foreach (Task wait in waits)
            {
                try { await wait.WaitAsync(Long); }
                catch (Exception error) when (error is OperationCanceledException or AgxUnavailableException) { }
            }
            Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(3));
        }
        Stopwatch timed = Stopwatch.StartNew();
        Assert.False(await session.WaitCanceledAsync(TimeSpan.FromMilliseconds(50)).WaitAsync(Long));
        Assert.InRange(timed.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(3));
        server.Start();
        _ = early;
    }

    // The interceptor cancels what is under way by then, and not before.
    [Fact]
    public async Task ATokenThatIsCancelledWhileTheStoreIsDownSaysSo()
    {
        using var server = new RedisServer();
        await using AgxClient client = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=300&command_timeout=300");
        await using AgxClient slow = await AgxClient.OpenAsync(server.Url + "&reconnect_timeout=3000");
        await using AgxSession patient = Session(slow);
        AgxSession[] all = Enumerable.Range(0, 2).Select(i => Session(client)).ToArray();
        foreach (AgxSession s in all) await s.StartAsync();
        CancellationTokenSource? source = null;
        foreach (AgxSession s in all)
        {
            s.Intercept(e =>
            {
                source?.Cancel();
                return AgxVerdict.Write;
            });
        }
        IEnumerable<Func<CancellationToken, Task>> calls =
        [
            token => all[0].AddAsync("x", "test", null, token),
            token => all[0].AddManyAsync([new AgxNewEvent("x", "test", null)], token),
            token => Task.WhenAll(all.Select(s => s.AddAsync("x", "test", null, token))),
        ];
        server.Kill();
        foreach (Func<CancellationToken, Task> call in calls)
        {
            source = null;
            await Assert.ThrowsAsync<AgxUnavailableException>(() => call(new CancellationTokenSource().Token).WaitAsync(Long));
            using var now = source = new CancellationTokenSource();
            var canceled = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call(now.Token).WaitAsync(Long));
            Assert.Equal(now.Token, canceled.CancellationToken);
            // Of several that were to be added one may not have begun.
            if (!ReferenceEquals(call, calls.Last())) Assert.IsType<AgxUnavailableException>(canceled.InnerException);
        }
        // So does a wait that is not told of the token.
        using (var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(100)))
        {
            Task wait = Task.Factory.StartNew(() => patient.WaitFor(null, Timeout.InfiniteTimeSpan, soon.Token), TaskCreationOptions.LongRunning);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait.WaitAsync(Long));
        }
        // What may have been written is told as such.
        server.Start();
        source = null;
        await all[0].AddAsync("x", "test");
        server.Freeze();
        using var late = source = new CancellationTokenSource();
        await Assert.ThrowsAsync<AgxUncertainException>(() => all[0].AddAsync("x", "test", null, late.Token).WaitAsync(Long));
    }

    [Theory, MemberData(nameof(All))]
    public Task SilenceIsToldOnce(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxListener listener = await session.OpenListenerAsync(new() { Timeout = TimeSpan.FromMilliseconds(20) });
        Assert.Equal("begin", (await listener.NextAsync())!.Type);
        await Assert.ThrowsAsync<AgxSilentException>(() => listener.NextAsync().AsTask());
        // Nobody asks: nothing is to be told of this time.
        await Task.Delay(300);
        await session.AddAsync("info", "test", "1");
        Assert.Equal("1", (await listener.NextAsync().AsTask().WaitAsync(Long))!.Body);
        // Nor behind an event, after which it waits by itself.
        await Task.Delay(300);
        await session.AddAsync("info", "test", "2");
        Assert.Equal("2", (await listener.NextAsync().AsTask().WaitAsync(Long))!.Body);
        // Who waits on is told each time.
        Task<AgxEvent?>[] several = [listener.NextAsync().AsTask(), listener.NextAsync().AsTask()];
        foreach (Task one in several) await Assert.ThrowsAsync<AgxSilentException>(() => one.WaitAsync(Long));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public async Task AFunctionMayDisposeOfWhatCallsIt(string store)
    {
        foreach (string what in new[] { "client", "client sync", "client yields", "session", "session yields", "subscription", "subscription yields" })
        {
            AgxClient client = await AgxClient.OpenAsync(stores.Url(store));
            AgxSession session = Session(client);
            await session.StartAsync();
            AgxSubscription? own = null;
            var known = new TaskCompletionSource();
            var returned = new TaskCompletionSource();
            own = await session.SubscribeAsync(async e =>
            {
                if (what.StartsWith("subscription", StringComparison.Ordinal)) await known.Task;
                if (what.EndsWith("yields", StringComparison.Ordinal)) await Task.Yield();
                if (what == "client sync") client.Dispose();
                else if (what == "client yields") { await Task.Delay(1); client.Dispose(); }
                else if (what == "client") await client.DisposeAsync();
                else if (what.StartsWith("session", StringComparison.Ordinal)) await session.DisposeAsync();
                else await own!.DisposeAsync();
                returned.TrySetResult();
            });
            known.SetResult();
            await returned.Task.WaitAsync(Long);
            await client.DisposeAsync().AsTask().WaitAsync(Long);
            await own.Completion.WaitAsync(Long);
        }
    }

    [Fact]
    public void AThreadThatIsToWaitForATimeDoesSoWhileTheServerHangs()
    {
        using var server = new RedisServer();
        TimeSpan hangs = TimeSpan.FromSeconds(10), some = TimeSpan.FromMilliseconds(200);
        using AgxClient client = AgxClient.Open(server.Url + "&command_timeout=" + (long)hangs.TotalMilliseconds);
        using AgxSession session = Session(client);
        session.Start();
        AgxListener used = session.OpenListener(), unused = session.OpenListener(), waiting = session.OpenListener();
        Assert.Equal("begin", used.Next(Long)!.Type);
        Assert.Equal("begin", waiting.Next()!.Type);
        void Wait() => Assert.Throws<AgxClosedException>(() => waiting.Next());
        Task receives = Task.Factory.StartNew(Wait, TaskCreationOptions.LongRunning);
        server.Freeze();
        var clock = Stopwatch.StartNew();
        foreach (AgxListener listener in new[] { used, unused, waiting })
        {
            Assert.False(listener.TryNext(some, out _));
            Assert.Throws<AgxTimeoutException>(() => listener.Next(some));
            using var source = new CancellationTokenSource(some);
            Assert.Throws<OperationCanceledException>(() => listener.Next(source.Token));
            using var both = new CancellationTokenSource(some);
            Assert.Throws<OperationCanceledException>(() => listener.TryNext(Long, out _, both.Token));
        }
        // Whoever does not receive leaves at once, the other with the command that it may have given.
        Task waits = Task.Factory.StartNew(Wait, TaskCreationOptions.LongRunning);
        used.Dispose();
        unused.Dispose();
        Task closes = Task.Factory.StartNew(waiting.Dispose, TaskCreationOptions.LongRunning);
        Assert.True(waits.Wait(Long));
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, hangs / 2);
        Assert.True(Task.WaitAll([receives, closes], Long));
    }

    [Theory, MemberData(nameof(All))]
    public Task AThreadThatWaitsWantsNothingOfThePool(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        await using AgxListener listener = await session.OpenListenerAsync();
        Assert.Equal("begin", (await listener.NextAsync())!.Type);
        ThreadPool.GetMaxThreads(out int most, out int ports);
        var free = new ManualResetEventSlim(); // which who is late still asks
        bool timedOut = false;
        string? body = null;
        // From here on not even a timer's function has a thread.
        ThreadPool.SetMaxThreads(Environment.ProcessorCount, ports);
        try
        {
            var wait = Stopwatch.StartNew();
            for (int available = 1; available > 0; ThreadPool.GetAvailableThreads(out available, out _))
            {
                Assert.True(wait.Elapsed < Long, "the pool's threads are not taken");
                ThreadPool.QueueUserWorkItem(_ => free.Wait());
                Thread.Sleep(1);
            }
            Task waiting = Task.Factory.StartNew(() =>
            {
                timedOut = !listener.TryNext(TimeSpan.FromMilliseconds(50), out _);
                session.Add("info", "test", "1");
                body = listener.Next(Long)?.Body;
            }, TaskCreationOptions.LongRunning);
            bool ended = waiting.Wait(Long / 2);
            free.Set();
            Assert.True(ended, "the thread waits for the pool");
            Assert.True(timedOut);
            Assert.Equal("1", body);
        }
        finally
        {
            free.Set();
            ThreadPool.SetMaxThreads(most, ports);
        }
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task SeveralThreadsMayAskFirst(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        const int Rounds = 1000;
        using var round = new Barrier(4);
        AgxListener? listener = null;
        var wrong = new ConcurrentBag<Exception>();
        void Ask(Action<AgxListener> ask)
        {
            for (int i = 0; i < Rounds; ++i)
            {
                round.SignalAndWait(Long);
                try
                {
                    ask(listener!);
                }
                catch (Exception error)
                {
                    wrong.Add(error);
                }
                round.SignalAndWait(Long);
            }
        }
        void ByTask(AgxListener its)
        {
            ValueTask<AgxEvent?> next = its.NextAsync();
            if (next.IsFaulted) next.GetAwaiter().GetResult();
        }
        Task[] asking =
        [
            .. Enumerable.Range(0, 2).Select(_ => Task.Factory.StartNew(() => Ask(ByTask), TaskCreationOptions.LongRunning)),
            Task.Factory.StartNew(() => Ask(its => its.TryNext(TimeSpan.FromTicks(1), out _)), TaskCreationOptions.LongRunning),
        ];
        for (int i = 0; i < Rounds; ++i)
        {
            listener = session.OpenListener(new() { After = AgxListenOptions.New });
            round.SignalAndWait(Long);
            round.SignalAndWait(Long);
            listener.Dispose();
        }
        await Task.WhenAll(asking).WaitAsync(Long);
        Assert.Empty(wrong);
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task WhatWasAwaitedMayGoOnInAMux(string store) => Each(store, async (client, session) =>
    {
        const int Count = 100;
        await session.StartAsync();
        for (int i = 0; i < 40; ++i)
        {
            await using AgxListener listener = await session.OpenListenerAsync(new() { After = AgxListenOptions.New });
            using var mux = new AgxMux(client);
            Task<AgxEvent?> first = listener.NextAsync().AsTask();
            Assert.Throws<AgxBusyException>(() => mux.Add(listener));
            Task adding = Task.Run(() =>
            {
                for (int n = 0; n < Count; ++n) session.Add("info", "test", $"{n}");
            });
            Assert.Equal("0", (await first.WaitAsync(Long))!.Body);
            // Some are on their way.
            int next = 1;
            for (; next <= i; ++next) Assert.Equal($"{next}", (await listener.NextAsync().AsTask().WaitAsync(Long))!.Body);
            mux.Add(listener);
            for (; next < Count; ++next)
            {
                Assert.True(mux.TryNext(Long, out AgxMuxItem? item));
                Assert.Equal($"{next}", item!.Event!.Body);
            }
            await adding;
            mux.Remove(listener);
            session.Add("info", "test", "-1");
            Assert.Equal("-1", (await listener.NextAsync().AsTask().WaitAsync(Long))!.Body);
        }
        await session.StopAsync();
    });

    // Who asks now and then is hardly ever there when the time is over.
    [Theory, MemberData(nameof(All))]
    public Task SilenceIsToldToWhoAsksNowAndThen(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        TimeSpan moment = TimeSpan.FromMilliseconds(1);
        async Task<bool> AsksInVain(AgxListener listener, bool blocks)
        {
            try
            {
                if (blocks) listener.Next(moment);
                else await listener.NextAsync(moment);
                return false;
            }
            catch (AgxTimeoutException)
            {
                return true;
            }
        }
        foreach (bool blocks in new[] { true, false })
        {
            await using AgxListener listener = await session.OpenListenerAsync(new() { Timeout = TimeSpan.FromMilliseconds(500) });
            Assert.Equal("begin", (await listener.NextAsync())!.Type);
            await Assert.ThrowsAsync<AgxSilentException>(async () =>
            {
                // For three times as long; a slow machine takes fewer.
                for (int i = 0; i < 9; ++i)
                {
                    await Task.Delay(170);
                    Assert.True(await AsksInVain(listener, blocks));
                }
            });
        }
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task WhatAwaitsAnEventMayBlock(string store) => Each(store, async (client, session) =>
    {
        // More than there are threads for it, each kept until the last is there.
        using var all = new Barrier(18);
        var threads = new ConcurrentBag<string?>();
        async Task ListenAndBlock(AgxListener listener)
        {
            Assert.Equal("1", (await listener.NextAsync().ConfigureAwait(false))!.Body);
            threads.Add(Thread.CurrentThread.Name);
            Assert.True(all.SignalAndWait(Long), "an event did not come");
            Task<AgxEvent?> next = listener.NextAsync().AsTask();
            Assert.True(next.Wait(Long), "the next event did not come");
            Assert.Equal("2", next.Result!.Body);
        }
        AgxSession[] own = Enumerable.Range(0, all.ParticipantCount).Select(_ => Session(client)).ToArray();
        var listeners = new List<AgxListener>();
        var listening = new List<Task>();
        foreach (AgxSession one in own)
        {
            await one.StartAsync();
            listeners.Add(await one.OpenListenerAsync(new() { After = AgxListenOptions.New }));
            listening.Add(ListenAndBlock(listeners[^1]));
            await one.AddAsync("info", "test", "1");
            for (var waited = Stopwatch.StartNew(); threads.Count < listening.Count;)
            {
                Assert.True(waited.Elapsed < Long, $"listener {listening.Count} is not told");
                await Task.Delay(1);
            }
        }
        foreach (AgxSession one in own) await one.AddAsync("info", "test", "2");
        await Task.WhenAll(listening).WaitAsync(Long);
        // Nobody had to wake the first.
        Assert.Contains("agx listeners", threads);
        foreach (AgxListener one in listeners) await one.DisposeAsync();
        foreach (AgxSession one in own) await one.DisposeAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task WhatAwaitsAnEventMayDisposeOfTheClient(string store) => Each(store, async (client, session) =>
    {
        foreach (string what in new[] { "client", "client sync", "listener", "after another" })
        {
            AgxClient other = await AgxClient.OpenAsync(stores.Url(store));
            await using AgxSession own = Session(other);
            await own.StartAsync();
            AgxListener listener = await own.OpenListenerAsync(new() { After = AgxListenOptions.New });
            AgxListener second = await own.OpenListenerAsync(new() { After = AgxListenOptions.New });
            async Task ListenAndDispose()
            {
                await listener.NextAsync().ConfigureAwait(false);
                if (what == "after another") Assert.NotNull(await listener.NextAsync().ConfigureAwait(false));
                if (what == "client") await other.DisposeAsync();
                else if (what == "listener") listener.Dispose();
                else other.Dispose();
            }
            Task listening = ListenAndDispose();
            Task<AgxEvent?> waiting = second.NextAsync().AsTask();
            await own.AddAsync("info", "test", "1");
            Assert.Equal("1", (await waiting.WaitAsync(Long))!.Body);
            waiting = second.NextAsync().AsTask();
            if (what == "after another")
            {
                await own.AddAsync("info", "test", "2");
                Assert.Equal("2", (await waiting.WaitAsync(Long))!.Body);
                waiting = second.NextAsync().AsTask();
            }
            await listening.WaitAsync(Long);
            await other.DisposeAsync().AsTask().WaitAsync(Long);
            await Assert.ThrowsAsync<AgxClosedException>(() => waiting.WaitAsync(Long));
        }
    });

    // What people write, and what of it a compiler might misunderstand.
    [Theory, MemberData(nameof(All))]
    public Task WhatIsWrittenShortMeansWhatItSays(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        session.Add("x", "test", null);
        await session.AddAsync("x", "test", null);
        await session.AddAsync("x", "test", null, CancellationToken.None);
        await session.AddAsync("x", "test", default, CancellationToken.None);
        await session.AddAsync("x", "test", "1"u8.ToArray());
        await foreach (AgxEvent e in session.ListenAsync(new() { Limit = 1 })) Assert.Equal("begin", e.Type);
        await foreach (AgxEvent e in session.ListenAsync(CancellationToken.None)) break;
        await foreach (AgxEvent e in session.ListenAsync()) break;

        static async Task Late()
        {
            await Task.Yield();
            throw new TimeZoneNotFoundException();
        }
        AgxSubscription[] subscriptions =
        [
            session.Subscribe(async e => await Late()),
            session.Subscribe(async (e, own) => await Late()),
            await session.SubscribeAsync(async e => await Late()),
            await session.SubscribeAsync(async (e, own) => await Late()),
            await session.SubscribeAsync(e => throw new TimeZoneNotFoundException()),
        ];
        foreach (AgxSubscription one in subscriptions) await Assert.ThrowsAsync<TimeZoneNotFoundException>(() => one.Completion.WaitAsync(Long));
        Assert.Throws<ArgumentException>(() => new AgxSubscribeOptions { OnEnd = async () => await Late() });
        Assert.Throws<ArgumentException>(() => new AgxSubscribeOptions { OnOutcome = async error => await Late() });

        using AgxGroup group = session.OpenGroup("workers");
        Assert.Throws<ArgumentException>(() => new AgxProcessOptions { OnFailure = async (e, attempt, error) => await Late() });
        var options = new AgxProcessOptions { OnFailureAsync = async (e, attempt, error) => await Late() };
        Assert.Throws<TimeZoneNotFoundException>(() => { group.Process(async (e, attempt) => { await Task.Yield(); throw new InvalidOperationException(); }, options); });
        await using AgxSession run = Session(client);
        Assert.Throws<TimeZoneNotFoundException>(() => run.Execute(async own => await Late()));
        await session.StopAsync();
    });

    [Theory, MemberData(nameof(All))]
    public Task TextsOfExceptionsAreNotLost(string store) => Each(store, async (client, session) =>
    {
        const string odd = "a\0b \ud800 \U0001F600";
        await Assert.ThrowsAsync<InvalidOperationException>(() => session.ExecuteAsync((run, token) => throw new InvalidOperationException(odd)));
        AgxEvent crash = (await session.HistoryAsync()).Single(e => e.Type == "error");
        Assert.Equal("crashed - a\ufffdb \ufffd \U0001F600", crash.GetBody().GetProperty("msg").GetString());
        await using AgxGroup group = await session.OpenGroupAsync("workers");
        await group.ProcessAsync((e, attempt) => throw new InvalidOperationException(odd), new() { MaxRetries = 1, Limit = 1 });
        Assert.Equal("a\ufffdb \ufffd \U0001F600", (await group.DeadLettersAsync())[0].Reason);
    });

    [Theory, MemberData(nameof(All))]
    public Task WhatIsMissingIsSaid(string store) => Each(store, async (client, session) =>
    {
        await session.StartAsync();
        Assert.Throws<ArgumentException>(() => session.AddMany([null!]));
        await Assert.ThrowsAsync<ArgumentException>(() => session.AddManyAsync([null!]));
        Task<string> add = session.AddAsync("x", "test", default(System.Text.Json.JsonElement));
        await Assert.ThrowsAsync<AgxInvalidException>(() => add);
        AgxMessages messages = session.OpenMessages();
        Assert.Equal(0, messages.Count);
        messages.Dispose();
        Assert.Throws<AgxClosedException>(() => messages.Count);
        Assert.Throws<AgxClosedException>(() => messages.PartCount(0));
        await session.StopAsync();
    });
}
