using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;

namespace Agx.Tests
{
    /// <summary>The cases of tests/behaviour.txt, by name, on the synchronous part: what runs on .NET
    /// and on Mono. Each is given the URL of an empty store.</summary>
    public static class SyncCases
    {
        static readonly TimeSpan Long = TimeSpan.FromSeconds(20);
        static readonly TimeSpan Short = TimeSpan.FromMilliseconds(60);
        static int sessions;

        sealed class Failure : Exception
        {
            public Failure(string message) : base(message) { }
        }

        static void True(bool condition, string what)
        {
            if (!condition) throw new Failure("not so: " + what);
        }

        static void Equal<T>(T expected, T actual)
        {
            if (!EqualityComparer<T>.Default.Equals(expected, actual))
            {
                throw new Failure("expected " + expected + ", got " + actual);
            }
        }

        static void Same(string expected, IEnumerable<string> actual)
        {
            Equal(expected, string.Join(" ", actual.ToArray()));
        }

        static T Throws<T>(Action action) where T : Exception
        {
            try
            {
                action();
            }
            catch (T error)
            {
                return error;
            }
            throw new Failure("no " + typeof(T).Name);
        }

        static AgxSession Session(AgxClient client)
        {
            return client.OpenSession(1, 42, "sync " + Interlocked.Increment(ref sessions));
        }

        static AgxListenOptions After(string id)
        {
            return new AgxListenOptions { After = id };
        }

        static IEnumerable<string> Types(IEnumerable<AgxEvent> events)
        {
            return events.Select(e => e.Type);
        }

        static Thread InThread(Action action)
        {
            Thread thread = new Thread(() => action());
            thread.IsBackground = true;
            thread.Start();
            return thread;
        }

        // The thread sleeps in the system when this returns, and goes on doing so: it waits in the call.
        static Thread Blocked(Action action)
        {
            string id = null;
            Thread thread = InThread(() =>
            {
                Volatile.Write(ref id, ThisTask());
                action();
            });
            Until(() => Volatile.Read(ref id) != null, "the thread runs");
            int asleep = 0;
            Until(() => (asleep = Asleep(id) ? asleep + 1 : 0) >= 10, "the call waits");
            return thread;
        }

        static string ThisTask()
        {
            return File.ReadAllText("/proc/thread-self/stat").Split(' ')[0];
        }

        public static bool Asleep(string task)
        {
            try
            {
                string stat = File.ReadAllText("/proc/self/task/" + task + "/stat");
                return stat[stat.LastIndexOf(')') + 2] == 'S';
            }
            catch (IOException)
            {
                return false; // it has ended
            }
        }

        static void Joined(Thread thread)
        {
            True(thread.Join(Long), "the thread ended");
        }

        static void Each(string url, Action<AgxClient, AgxSession> body)
        {
            using (AgxClient client = AgxClient.Open(url))
            using (AgxSession session = Session(client))
            {
                body(client, session);
            }
        }

        public static void start_add_stop(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                string first = session.Add("info", "test", "{\"n\":1}");
                string second = session.Add("event", "test");
                session.Stop();
                List<AgxEvent> events = session.Listen().ToList();
                Same("begin info event", Types(events));
                Equal(first, events[1].Id);
                Equal(second, events[2].Id);
                Equal("{\"n\":1}", events[1].Body);
                Equal("{}", events[2].Body);
                Equal("test", events[1].Origin);
                True((DateTimeOffset.UtcNow - events[1].Time).Duration() < TimeSpan.FromMinutes(5), "its time is now");
            });
        }

        public static void late_listener(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                session.Add("info", "test", "1");
                session.Stop();
                using (AgxClient other = AgxClient.Open(url))
                using (AgxSession same = other.OpenSession(1, 42, session.Id.Id))
                {
                    Same("begin info", Types(same.Listen()));
                }
            });
        }

        public static void follow_live(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxListener listener = session.OpenListener())
                {
                    Equal("begin", listener.Next(Long).Type);
                    AgxEvent got = null;
                    Thread thread = InThread(() => got = listener.Next(Long));
                    session.Add("info", "test", "\"while you wait\"");
                    Joined(thread);
                    Equal("\"while you wait\"", got.Body);
                }
                session.Stop();
            });
        }

        public static void resume(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                for (int i = 0; i < 10; ++i) session.Add("info", "test", i.ToString());
                session.Stop();
                string position;
                using (AgxListener listener = session.OpenListener())
                {
                    Equal("0-0", listener.Position);
                    for (int i = 0; i < 5; ++i) listener.Next(Long);
                    position = listener.Position;
                }
                Same("4 5 6 7 8 9", session.Listen(After(position)).Select(e => e.Body));
            });
        }

        public static void only_new(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                session.Add("info", "test", "1");
                using (AgxListener listener = session.OpenListener(After(AgxListenOptions.New)))
                {
                    session.Add("info", "test", "2");
                    session.Stop();
                    Equal("2", listener.Next(Long).Body);
                    Equal(null, listener.Next(Long));
                }
            });
        }

        public static void limit(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                for (int i = 0; i < 5; ++i) session.Add("info", "test", i.ToString());
                Same("{\"session_id\": \"" + session.Id.Id + "\"} 0 1",
                    session.Listen(new AgxListenOptions { Limit = 3 }).Select(e => e.Body));
                session.Stop();
            });
        }

        public static void where(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                for (int i = 0; i < 6; ++i) session.Add("info", "test", "{\"n\":" + i + "}");
                session.Stop();
                AgxListenOptions options = new AgxListenOptions { Where = "body.n >= 4" };
                Same("{\"n\":4} {\"n\":5}", session.Listen(options).Select(e => e.Body));
                AgxException error = Throws<AgxInvalidException>(() => session.OpenListener(new AgxListenOptions { Where = "type = = 1" }));
                True(error.Message.Contains("byte"), "the message says where: " + error.Message);
            });
        }

        public static void absent(string url)
        {
            Each(url, (client, session) =>
            {
                AgxListenOptions options = new AgxListenOptions { Wait = Short };
                using (AgxListener listener = session.OpenListener(options))
                {
                    Equal(AgxStatus.Absent, Throws<AgxAbsentException>(() => listener.Next(Long)).Status);
                    session.Start();
                    Equal("begin", listener.Next(Long).Type);
                    session.Stop();
                }
            });
        }

        public static void silent(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxListener listener = session.OpenListener(new AgxListenOptions { Timeout = Short }))
                {
                    Equal("begin", listener.Next(Long).Type);
                    Throws<AgxSilentException>(() => listener.Next(Long));
                    session.Add("info", "test", "1");
                    Equal("1", listener.Next(Long).Body);
                }
                session.Stop();
            });
        }

        public static void gone(string url)
        {
            Each(url, (client, session) =>
            {
                using (AgxClient dying = AgxClient.Open(url))
                using (AgxSession same = dying.OpenSession(1, 42, session.Id.Id))
                {
                    same.Start(new AgxStartOptions { Lease = TimeSpan.FromMilliseconds(300) });
                }
                using (AgxListener listener = session.OpenListener())
                {
                    Equal("begin", listener.Next(Long).Type);
                    Equal(AgxGoneReason.Not, listener.GoneReason);
                    Throws<AgxGoneException>(() => listener.Next(Long));
                    Equal(AgxGoneReason.Expired, listener.GoneReason);
                }
            });
        }

        public static void gap(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                string begin = session.History()[0].Id;
                using (AgxListener listener = session.OpenListener(After(begin)))
                {
                    for (int i = 0; i < 5; ++i) session.Add("info", "test", i.ToString());
                    Equal(5L, session.Trim(1));
                    Throws<AgxGapException>(() => listener.Next(Long));
                    Equal("4", listener.Next(Long).Body);
                    session.Stop();
                    Equal(null, listener.Next(Long));
                }
            });
        }

        public static void end_is_iteration_end(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                session.Stop();
                using (AgxListener listener = session.OpenListener())
                {
                    Equal("begin", listener.Next(Long).Type);
                    Equal(null, listener.Next(Long));
                    Equal(null, listener.Next(Long));
                }
                Same("begin end", Types(session.Listen(new AgxListenOptions { HandOnEnd = true })));
            });
        }

        public static void start_busy(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxSession same = client.OpenSession(1, 42, session.Id.Id))
                {
                    Equal(AgxStatus.Busy, Throws<AgxBusyException>(() => same.Start()).Status);
                }
                session.Stop();
            });
        }

        public static void take_over(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxSession same = client.OpenSession(1, 42, session.Id.Id))
                {
                    same.Start(new AgxStartOptions { TakeOver = true });
                    Throws<AgxTakenOverException>(() => session.WaitCanceled(Long));
                    True(session.IsCanceled, "the old producer knows");
                    Throws<AgxTakenOverException>(() => session.Stop());
                    same.Stop();
                }
            });
        }

        public static void cancel(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                True(!session.WaitCanceled(TimeSpan.Zero), "not cancelled yet");
                bool canceled = false;
                Thread thread = InThread(() => canceled = session.WaitCanceled(Timeout.InfiniteTimeSpan));
                True(session.Cancel(), "it was live");
                Joined(thread);
                True(canceled, "the wait says so");
                True(session.IsCanceled, "the session says so");
            });
        }

        public static void cancel_not_live(string url)
        {
            Each(url, (client, session) => True(!session.Cancel(), "it was not live"));
        }

        public static void live(string url)
        {
            Each(url, (client, session) =>
            {
                True(!session.IsLive(), "not before");
                Throws<AgxNotLiveException>(() => session.Renew());
                session.Start();
                True(session.IsLive(), "now");
                session.Renew();
                session.Stop();
                True(!session.IsLive(), "not after");
            });
        }

        public static void add_many(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                List<AgxNewEvent> events = new List<AgxNewEvent>();
                for (int i = 0; i < 100; ++i) events.Add(new AgxNewEvent("info", "test", i.ToString()));
                events.Add(new AgxNewEvent("none", "test", null));
                IReadOnlyList<string> ids = session.AddMany(events);
                session.Stop();
                List<AgxEvent> got = session.Listen().Skip(1).ToList();
                Same(string.Join(" ", ids.ToArray()), got.Select(e => e.Id));
                Same(string.Join(" ", events.Select(e => e.Body ?? "{}").ToArray()), got.Select(e => e.Body));
                events.Insert(1, new AgxNewEvent("info", "test", "{"));
                Equal(0, Throws<AgxJsonException>(() => session.AddMany(events)).Added);
                Equal(0, session.AddMany(new AgxNewEvent[0]).Count);
            });
        }

        static void SameRefusal(AgxSession session, AgxNewEvent refused, string says)
        {
            AgxException one = Throws<AgxInvalidException>(() => session.Add(refused.Type, refused.Origin, refused.Body));
            AgxException many = Throws<AgxInvalidException>(() => session.AddMany(new[] { new AgxNewEvent("good", "test", "1"), refused }));
            True(one.Message.Contains(says), one.Message);
            Equal(one.Message, many.Message);
            Equal(0, many.Added);
        }

        static string Repeat(string text, int count)
        {
            return new StringBuilder().Insert(0, text, count).ToString();
        }

        public static void ManyTextsAreCheckedAsOneIs(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                string odd = "a \u00e4 \u20ac \U0001F600 \u2028 \uFFFD \uFFFF \u007f";
                List<AgxNewEvent> events = new List<AgxNewEvent>();
                // Characters of one to four bytes; and lengths below, at and above what has room before it grows.
                foreach (int length in new[] { 0, 1, 262000, 340, 1300, 1365, 1366, 4000, 4096, 5000, 70000 })
                {
                    foreach (string one in new[] { "x", "\u00e4", "\u20ac", "\U0001F600" })
                    {
                        events.Add(new AgxNewEvent(odd, odd + one, "\"" + Repeat(one, length) + "\""));
                        events.Add(new AgxNewEvent("none", "test", null));
                    }
                }
                List<string> ids = session.AddMany(events).ToList();
                foreach (AgxNewEvent one in events) ids.Add(session.AddMany(new[] { one }).Single());
                foreach (string bad in new[] { "\0", "a\0b", "\0a", "a\0", "\u20ac\0", Repeat("x", 5000) + "\0" })
                {
                    SameRefusal(session, new AgxNewEvent(bad, "test", "1"), "type has a U+0000");
                    SameRefusal(session, new AgxNewEvent("a", bad, "1"), "origin has a U+0000");
                    SameRefusal(session, new AgxNewEvent("a", "test", bad), "body has a U+0000");
                }
                foreach (string bad in new[] { "\ud83d", "\ude00", "a\ud83d", "\ud83da", "\ude00\ud83d", Repeat("x", 500000) + "\ud83d", "\ude00" + Repeat("x", 5000) })
                {
                    SameRefusal(session, new AgxNewEvent(bad, "test", "1"), "type has half of a surrogate pair");
                    SameRefusal(session, new AgxNewEvent("a", bad, "1"), "origin has half of a surrogate pair");
                    SameRefusal(session, new AgxNewEvent("a", "test", bad), "body has half of a surrogate pair");
                }
                Throws<ArgumentNullException>(() => session.AddMany(new[] { new AgxNewEvent(null, "test", "1") }));
                Throws<ArgumentNullException>(() => session.AddMany(new[] { new AgxNewEvent("a", null, "1") }));
                Throws<AgxInvalidException>(() => session.AddMany(new[] { new AgxNewEvent("", "test", "1") }));
                Throws<AgxJsonException>(() => session.AddMany(new[] { new AgxNewEvent("a", "test", "") }));
                session.Stop();
                List<AgxEvent> got = session.Listen().Skip(1).ToList();
                Same(string.Join(" ", ids.ToArray()), got.Select(e => e.Id));
                for (int i = 0; i < got.Count; ++i)
                {
                    AgxNewEvent added = events[i % events.Count];
                    Equal(added.Type, got[i].Type);
                    Equal(added.Origin, got[i].Origin);
                    True(got[i].Body == (added.Body ?? "{}"), "body " + i);
                }
            });
        }

        static AgxNewEvent[] Hundred(string of)
        {
            return Enumerable.Range(0, 100).Select(i => new AgxNewEvent(of, of, "\"" + of + i + "\"")).ToArray();
        }

        // Which adds others before it is through.
        static IEnumerable<AgxNewEvent> AddsMeanwhile(AgxSession session, AgxNewEvent[] events, AgxNewEvent[] others)
        {
            for (int i = 0; i < events.Length; ++i)
            {
                if (i == events.Length / 2) session.AddMany(others);
                yield return events[i];
            }
        }

        public static void AddingManyWithinAndBesideOthersMixesNothing(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                Thread[] threads = Enumerable.Range(0, 4).Select(n => new Thread(() =>
                {
                    for (int i = 0; i < 20; ++i) session.AddMany(AddsMeanwhile(session, Hundred("outer" + n), Hundred("in" + n)));
                })).ToArray();
                foreach (Thread thread in threads) thread.Start();
                foreach (Thread thread in threads) Joined(thread);
                session.Stop();
                ILookup<string, AgxEvent> got = session.Listen().Skip(1).ToLookup(e => e.Type);
                foreach (string of in Enumerable.Range(0, 4).SelectMany(n => new[] { "outer" + n, "in" + n }))
                {
                    string all = string.Join(" ", Enumerable.Repeat(Hundred(of), 20).SelectMany(e => e).Select(e => e.Body).ToArray());
                    Same(all, got[of].Select(e => e.Origin == of ? e.Body : e.Origin));
                }
            });
        }

        public static void ACancelIsToldAlsoWhereEventsAreThere(string url)
        {
            Each(url, (client, session) =>
            {
                session.AddMany(Hundred("some"));
                using (AgxListener listener = session.OpenListener(new AgxListenOptions { Limit = 100 }))
                using (CancellationTokenSource source = new CancellationTokenSource())
                {
                    Equal("\"some0\"", listener.Next().Body);
                    Equal("\"some1\"", listener.Next(source.Token).Body);
                    source.Cancel();
                    Throws<OperationCanceledException>(() => listener.Next(source.Token));
                    for (int i = 2; i < 100; ++i) Equal("\"some" + i + "\"", listener.Next().Body);
                    True(listener.Next() == null, "the limit");
                }
            });
        }

        public static void text(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                string odd = "a \u00e4 \u20ac \U0001F600 \u2028 \uFFFD \uFFFF \u007f \"";
                string json = "\"" + odd.Replace("\"", "\\\"") + "\"";
                session.Add(odd, odd, json);
                string large = "\"" + new string('x', 1 << 20) + "\U0001F600\"";
                session.Add("large", "test", large);
                session.Add("bytes", "test", Encoding.UTF8.GetBytes(json));
                Throws<AgxInvalidException>(() => session.Add("a\0b", "test", "1"));
                Throws<AgxInvalidException>(() => session.Add("a", "te\0st", "1"));
                Throws<AgxInvalidException>(() => session.Add("a", "test", "\"\0\""));
                Throws<AgxInvalidException>(() => session.Add("a", "test", "\"\ud83d\""));
                Throws<AgxInvalidException>(() => session.Add("\ude00", "test", "1"));
                Throws<AgxInvalidException>(() => session.Add("a", "test", new byte[] { 34, 0xed, 0xa0, 0x80, 34 }));
                Throws<AgxInvalidException>(() => session.Add("a", "test", new byte[] { 34, 0, 34 }));
                Throws<AgxInvalidException>(() => client.OpenSession(1, 1, "a\0b"));
                Throws<AgxInvalidException>(() => AgxClient.Open("memory:\0"));
                session.Stop();
                List<AgxEvent> events = session.Listen().ToList();
                Equal(4, events.Count);
                Equal(odd, events[1].Type);
                Equal(odd, events[1].Origin);
                Equal(json, events[1].Body);
                Equal(large, events[2].Body);
                Same(string.Join(",", Encoding.UTF8.GetBytes(json)), new[] { string.Join(",", events[3].BodyBytes()) });
                using (AgxSession other = client.OpenSession(1, 7, odd))
                {
                    other.Start();
                    Equal(odd, client.LiveSessions(1, 7).Single().Id);
                    other.Stop();
                }
            });
        }

        public static void bad_body(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                Equal(AgxStatus.BadJson, Throws<AgxJsonException>(() => session.Add("info", "test", "{\"a\":")).Status);
                session.Stop();
            });
        }

        public static void closed(string url)
        {
            AgxClient client = AgxClient.Open(url);
            AgxSession session = Session(client);
            session.Start();
            AgxListener listener = session.OpenListener();
            AgxMessages messages = session.OpenMessages();
            AgxMux mux = new AgxMux(client);
            Equal("begin", listener.Next(Long).Type);
            listener.Dispose();
            listener.Dispose();
            Throws<AgxClosedException>(() => listener.Next(Long));
            Throws<AgxClosedException>(() => mux.Add(listener));
            mux.Dispose();
            mux.Dispose();
            AgxMuxItem item;
            Throws<AgxClosedException>(() => mux.TryNext(Long, out item));
            messages.Dispose();
            messages.Dispose();
            Throws<AgxClosedException>(() => messages.Save());
            Throws<AgxClosedException>(() => messages.AppendUser("x"));
            Throws<AgxClosedException>(() => messages.Json.ToString());
            AgxSession other = Session(client);
            AgxRun run = other.BeginRun();
            run.Finish();
            run.Dispose();
            run.Dispose();
            Throws<AgxClosedException>(() => run.BeginNode());
            Throws<AgxClosedException>(() => run.EndNode());
            Throws<AgxClosedException>(() => run.Feed(AgxModelApi.OpenAIChat, new byte[1]));
            session.Stop();
            session.Dispose();
            session.Dispose();
            Throws<AgxClosedException>(() => session.Start());
            Equal("the session is closed", Throws<AgxClosedException>(() => session.Add("info", "test", "1")).Message);
            Throws<AgxClosedException>(() => session.OpenListener());
            Throws<AgxClosedException>(() => session.History());
            Throws<AgxClosedException>(() => session.HistoryInfo());
            Throws<AgxClosedException>(() => session.BeginRun());
            Throws<AgxClosedException>(() => session.WaitFor(null, Long));
            client.Dispose();
            client.Dispose();
            Equal("the client is closed", Throws<AgxClosedException>(() => client.OpenSession(1, 1, "x")).Message);
            Throws<AgxClosedException>(() => other.IsLive());
            Throws<AgxClosedException>(() => client.LiveSessions().ToList());
        }

        public static void close_while_waiting(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                AgxListener listener = session.OpenListener();
                listener.Next(Long);
                Exception thrown = null;
                Thread thread = Waiting(listener, e => thrown = e, CancellationToken.None);
                listener.Dispose();
                Joined(thread);
                True(thrown is AgxClosedException, "the closed error, not " + thrown);

                using (AgxClient other = AgxClient.Open(url))
                using (AgxSession same = other.OpenSession(1, 42, session.Id.Id))
                using (AgxListener its = same.OpenListener(After(AgxListenOptions.New)))
                {
                    thread = Waiting(its, e => thrown = e, CancellationToken.None);
                    other.Dispose();
                    Joined(thread);
                    True(thrown is AgxClosedException, "the closed error, not " + thrown);
                }
                session.Stop();
            });
        }

        // It has begun to wait, as far as can be seen from here.
        static Thread Waiting(AgxListener listener, Action<Exception> end, CancellationToken token)
        {
            ManualResetEvent begun = new ManualResetEvent(false);
            Thread thread = InThread(() =>
            {
                begun.Set();
                try
                {
                    listener.Next(Long, token);
                    end(null);
                }
                catch (Exception error)
                {
                    end(error);
                }
            });
            begun.WaitOne();
            while ((thread.ThreadState & ThreadState.Unstarted) != 0) Thread.Yield();
            return thread;
        }

        public static void language_cancel(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxListener listener = session.OpenListener())
                {
                    listener.Next(Long);
                    for (int i = 0; i < 20; ++i)
                    {
                        using (CancellationTokenSource source = new CancellationTokenSource())
                        {
                            Exception thrown = null;
                            Thread thread = Waiting(listener, e => thrown = e, source.Token);
                            source.Cancel();
                            Joined(thread);
                            True(thrown is OperationCanceledException, "the language's own, not " + thrown);
                        }
                    }
                    session.Add("info", "test", "1");
                    Equal("1", listener.Next(Long).Body);
                    using (CancellationTokenSource source = new CancellationTokenSource(Short))
                    {
                        Throws<OperationCanceledException>(() => session.WaitCanceled(Long, source.Token));
                    }
                    Throws<AgxTimeoutException>(() => listener.Next(Short));
                }
                session.Stop();
            });
        }

        public static void query(string url)
        {
            using (AgxClient client = AgxClient.Open(url))
            using (AgxSession a = client.OpenSession(11, 1, "a:*"))
            using (AgxSession b = client.OpenSession(11, 2, "b"))
            using (AgxSession c = client.OpenSession(12, 1, "c"))
            {
                a.Start();
                b.Start();
                c.Start();
                Same("11/1/a:*", client.LiveSessions(11, 1).Select(s => s.ToString()));
                Same("11/1/a:* 11/2/b", client.LiveSessions(11).Select(s => s.ToString()).OrderBy(s => s, StringComparer.Ordinal));
                List<string> all = client.LiveSessions().Select(s => s.ToString()).ToList();
                True(all.Contains("11/1/a:*") && all.Contains("11/2/b") && all.Contains("12/1/c"), "all are in it");
                Throws<AgxInvalidException>(() => client.LiveSessions(null, 1).ToList());
                a.Stop();
                b.Stop();
                c.Stop();
            }
        }

        public static void wait_for(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                session.Add("question", "test", "1");
                session.Add("answer", "test", "{\"to\":1}");
                Equal("{\"to\":1}", session.WaitFor("type = \"answer\"", Long).Body);
                Equal(null, session.WaitFor("type = \"answer\"", TimeSpan.Zero));
                AgxEvent got = null;
                CancellationTokenSource never = new CancellationTokenSource();
                Thread thread = InThread(() => got = session.WaitFor("type = \"answer\"", Long, never.Token));
                session.Add("answer", "test", "2");
                Joined(thread);
                Equal("2", got.Body);
                session.Cancel();
                Throws<AgxCanceledException>(() => session.WaitFor("type = \"answer\"", Long));
            });
            Each(url, (client, session) =>
            {
                session.Start();
                Equal(null, session.WaitFor("type = \"answer\"", TimeSpan.FromMilliseconds(20)));
                session.Stop();
                Throws<AgxEndedException>(() => session.WaitFor("type = \"answer\"", Long));
                Throws<AgxEndedException>(() => session.WaitFor("type = \"answer\"", TimeSpan.Zero));
            });
        }

        public static void history(string url)
        {
            Each(url, (client, session) =>
            {
                Throws<AgxNotFoundException>(() => session.HistoryInfo());
                Equal(0, session.History().Count);
                session.Start();
                List<string> ids = new List<string>();
                for (int i = 0; i < 5; ++i) ids.Add(session.Add("info", "test", i.ToString()));
                Same("begin info info info info info", Types(session.History()));
                Same("4 3", session.History(new AgxHistoryOptions { Reverse = true, Count = 2 }).Select(e => e.Body));
                Same("2 3", session.History(new AgxHistoryOptions { After = ids[1], Before = ids[4] }).Select(e => e.Body));
                Same("begin", Types(session.History(new AgxHistoryOptions { Where = "type = \"begin\"" })));
                AgxHistoryInfo info = session.HistoryInfo();
                Equal(6L, info.Length);
                Equal(ids[4], info.LastId);
                True(info.Live, "it is live");
                Equal(4L, session.TrimBefore(ids[3]));
                Equal(1L, session.Trim(1));
                Same("4", session.History().Select(e => e.Body));
                Equal(ids[4], session.HistoryInfo().FirstId);
                // More than one call into C reads.
                session.AddMany(Enumerable.Range(0, 2500).Select(i => new AgxNewEvent("info", "test", i.ToString())));
                Equal(2501, session.History().Count);
                Equal("2499", session.History(new AgxHistoryOptions { Reverse = true, Count = 2000 })[0].Body);
                session.Stop();
                True(session.Delete(), "there was something");
                True(!session.Delete(), "there is nothing any more");
            });
        }

        public static void many_listeners(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                using (AgxMux mux = new AgxMux(client))
                {
                    const int Count = 1000;
                    List<AgxListener> listeners = new List<AgxListener>();
                    for (int i = 0; i < Count; ++i)
                    {
                        listeners.Add(session.OpenListener());
                        mux.Add(listeners[i]);
                    }
                    session.Add("info", "test", "1");
                    session.Stop();
                    Dictionary<AgxListener, string> got = listeners.ToDictionary(l => l, l => "");
                    AgxMuxItem item;
                    while (mux.TryNext(Long, out item))
                    {
                        if (item.Error != null) throw item.Error;
                        got[item.Listener] += item.Event == null ? "." : item.Event.Type + " ";
                    }
                    Equal(Count, got.Values.Count(t => t == "begin info ."));
                    foreach (AgxListener listener in listeners) listener.Dispose();
                }
            });
        }

        static IEnumerable<string> Bodies(IEnumerable<AgxEvent> events)
        {
            return events.Select(e => e.Body);
        }

        static AgxGroupOptions As(string consumer)
        {
            return new AgxGroupOptions { Consumer = consumer };
        }

        // Started, with so many events of type "task".
        static void Tasks(AgxSession session, int count)
        {
            session.Start();
            for (int i = 0; i < count; ++i) session.Add("task", "test", i.ToString());
        }

        // As soon as it is so, or else never.
        static void Until(Func<bool> condition, string what)
        {
            Until(condition, () => what);
        }

        static void Until(Func<bool> condition, Func<string> what)
        {
            System.Diagnostics.Stopwatch clock = System.Diagnostics.Stopwatch.StartNew();
            while (!condition())
            {
                if (clock.Elapsed > Long) throw new Failure("not so: " + what());
                Thread.Sleep(2);
            }
        }

        public static void group_read_ack(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 9);
                using (AgxGroup a = session.OpenGroup("workers", As("a")))
                using (AgxGroup b = session.OpenGroup("workers", As("b")))
                {
                    Equal("a", a.Consumer);
                    Equal("workers", a.Name);
                    IReadOnlyList<AgxEvent> first = a.Read(Long, AgxGroupSource.New, 4);
                    IReadOnlyList<AgxEvent> second = b.Read(Long, AgxGroupSource.New, 100);
                    Same("begin task task task", Types(first));
                    Same("3 4 5 6 7 8", Bodies(second));
                    Equal(0, a.Read(Short, AgxGroupSource.New).Count);
                    True(a.Ack(first[0].Id), "it was pending");
                    True(!a.Ack(first[0].Id), "it is not any more");
                    Equal(6L, a.Ack(second));
                    Same("0 1 2", Bodies(a.Read(Long, AgxGroupSource.PendingOnly)));
                    Equal(0, b.Read(Long, AgxGroupSource.PendingOnly).Count);
                }
                using (AgxGroup again = session.OpenGroup("workers", As("a")))
                {
                    Same("0 1 2", Bodies(again.Read(Long)));
                    Throws<AgxInvalidException>(() => again.Ack("no id"));
                }
                Throws<AgxNotFoundException>(() => session.OpenGroup("none", new AgxGroupOptions { MustExist = true }));
                session.Stop();
            });
        }

        public static void group_claim(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 3);
                using (AgxGroup a = session.OpenGroup("workers", As("a")))
                using (AgxGroup b = session.OpenGroup("workers", As("b")))
                {
                    IReadOnlyList<AgxEvent> left = a.Read(Long);
                    Equal(0, b.Claim(TimeSpan.FromMinutes(5), left.Select(e => e.Id)).Count);
                    Until(() => a.PendingEvents()[0].Idle >= TimeSpan.FromMilliseconds(5), "it is idle");
                    Same("begin task", Types(b.Claim(TimeSpan.FromMilliseconds(5), left.Take(2).Select(e => e.Id))));
                    AgxClaim rest = b.AutoClaim(TimeSpan.Zero, null, 2);
                    True(!rest.IsEnd, "there are more");
                    AgxClaim end = b.AutoClaim(TimeSpan.Zero, rest.Cursor);
                    True(end.IsEnd, "there are no more");
                    Equal(4, rest.Events.Count + end.Events.Count);
                    Equal(4, b.PendingEvents(new AgxPendingOptions { Consumer = "b" }).Count);
                    Equal(0, b.PendingEvents(new AgxPendingOptions { Consumer = "a" }).Count);
                    Throws<AgxInvalidException>(() => b.AutoClaim(TimeSpan.Zero, "no id"));
                }
                session.Stop();
            });
        }

        static AgxProcessOptions Quick(long limit)
        {
            return new AgxProcessOptions { MaxRetries = 2, Backoff = TimeSpan.FromMilliseconds(1), BackoffMax = TimeSpan.FromMilliseconds(2), Limit = limit };
        }

        public static void group_process(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 5);
                using (AgxGroup group = session.OpenGroup("workers", As("a")))
                {
                    List<string> calls = new List<string>();
                    List<string> failures = new List<string>();
                    AgxProcessOptions options = Quick(0);
                    options.Timeout = TimeSpan.FromMilliseconds(300);
                    options.OnFailure = (e, attempt, error) => failures.Add(attempt + ":" + error.Message);
                    AgxStatus why = group.Process((e, attempt) =>
                    {
                        calls.Add((e.Type == "task" ? e.Body : e.Type) + ":" + attempt);
                        if (e.Body == "1" && attempt == 1 || e.Body == "3") throw new InvalidOperationException("not \U0001F600 " + e.Body);
                    }, options);
                    Equal(AgxStatus.Timeout, why);
                    Same("0:1 1:1 1:2 2:1 3:1 3:2 4:1 begin:1", calls.OrderBy(c => c, StringComparer.Ordinal));
                    Same("1:not \U0001F600 1 1:not \U0001F600 3 2:not \U0001F600 3", failures.OrderBy(c => c, StringComparer.Ordinal));
                    Equal(0L, group.Pending().Count);
                    AgxDeadLetter letter = group.DeadLetters().Single();
                    Equal("not \U0001F600 3", letter.Reason);
                    Equal(2L, letter.Attempts);
                    session.Add("task", "test", "5");
                    Equal(AgxStatus.Limit, group.Process((e, attempt) => { }, Quick(1)));
                }
                session.Stop();
            });
        }

        public static void group_dead_letters(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 3);
                using (AgxGroup group = session.OpenGroup("workers"))
                {
                    Equal(0, group.DeadLetters().Count);
                    AgxProcessOptions options = Quick(4);
                    options.MaxRetries = 1;
                    group.Process((e, attempt) => { if (e.Type == "task") throw new InvalidOperationException("no " + e.Body); }, options);
                    IReadOnlyList<AgxDeadLetter> letters = group.DeadLetters();
                    Same("no 0 no 1 no 2", letters.Select(l => l.Reason));
                    Same("0 1 2", letters.Select(l => l.Event.Body));
                    Equal(session.History()[1].Id, letters[0].OriginalId);
                    True(letters[0].OriginalStream.Contains(session.Id.Id), "it tells the stream: " + letters[0].OriginalStream);
                    True((DateTimeOffset.UtcNow - letters[0].Time).Duration() < TimeSpan.FromMinutes(5), "it died now");
                    Same("no 1", group.DeadLetters(letters[0].Event.Id, 1).Select(l => l.Reason));
                    Equal(1L, group.Replay(new[] { letters[0].Event.Id }));
                    Equal(0L, group.Replay(new[] { letters[0].Event.Id }));
                    AgxEvent replayed = group.Read(Long).Single();
                    Equal("0", replayed.Body);
                    Equal(letters[0].Event.Id, replayed.Field("replayed_from_dlq"));
                    Equal(null, replayed.Field("none"));
                    Equal(2L, group.DeleteDeadLetters(letters.Select(l => l.Event.Id)));
                    Equal(0, group.DeadLetters().Count);
                }
                session.Stop();
            });
        }

        public static void group_info(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 4);
                Equal(0, session.Groups().Count);
                using (AgxGroup a = session.OpenGroup("workers", As("a")))
                using (AgxGroup b = session.OpenGroup("workers", As("b")))
                {
                    Equal("0-0", session.Groups()[0].LastDeliveredId);
                    IReadOnlyList<AgxEvent> read = a.Read(Long, AgxGroupSource.New, 2);
                    AgxEvent other = b.Read(Long, AgxGroupSource.New, 1)[0];
                    AgxPending pending = a.Pending();
                    Equal(3L, pending.Count);
                    Equal(2L, pending.Consumers);
                    Equal(read[0].Id, pending.LowestId);
                    Equal(other.Id, pending.HighestId);
                    Equal("3 pending, from " + read[0].Id + " to " + other.Id + ", consumers: 2", pending.ToString());
                    AgxPendingEvent one = a.PendingEvents(new AgxPendingOptions { After = read[0].Id, Count = 1 }).Single();
                    Equal(read[1].Id, one.Id);
                    Equal("a", one.Consumer);
                    Equal(1L, one.Attempts);
                    AgxGroupInfo group = session.Groups().Single();
                    Equal("workers", group.Name);
                    Equal(2L, group.Consumers);
                    Equal(3L, group.Pending);
                    Equal(2L, group.Lag.Value);
                    Equal(other.Id, group.LastDeliveredId);
                    Same("a:2 b:1", a.Consumers().OrderBy(c => c.Name).Select(c => c.Name + ":" + c.Pending));
                    AgxHealth health = a.Health();
                    Equal(5L, health.Length);
                    Equal(3L, health.Pending);
                    Equal(2L, health.Lag.Value);
                    Equal(2L, health.Consumers);
                    Equal(0L, health.DeadLetters);
                    Equal(other.Id, health.LastDeliveredId);
                    True(health.OldestPending.Value < TimeSpan.FromMinutes(5), "it was written now");
                    Equal(1L, a.DeleteConsumer("b"));
                    Equal("a", a.Consumers().Single().Name);
                    Equal(2L, a.DeleteConsumer());
                    Equal(null, a.Health().OldestPending);
                    True(a.Delete(), "there was a group");
                    True(!a.Delete(), "there is none any more");
                    Throws<AgxNotFoundException>(() => a.Read(Short, AgxGroupSource.New));
                    Throws<AgxNotFoundException>(() => a.Pending());
                }
                session.Stop();
            });
        }

        public static void group_interrupt(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 2);
                using (AgxGroup group = session.OpenGroup("workers"))
                {
                    Equal(3L, group.Ack(group.Read(Long)));
                    for (int i = 0; i < 20; ++i)
                    {
                        using (CancellationTokenSource source = new CancellationTokenSource())
                        {
                            Action read = () => Throws<OperationCanceledException>(() => group.Read(Timeout.InfiniteTimeSpan, AgxGroupSource.New, 1, source.Token));
                            Thread thread = i % 2 == 0 ? Blocked(read) : InThread(read);
                            source.Cancel();
                            Joined(thread);
                        }
                    }
                    Equal(0, group.Read(Short, AgxGroupSource.New).Count);
                    session.Add("task", "test", "2");
                    session.Add("task", "test", "3");
                    int handled = 0;
                    using (CancellationTokenSource source = new CancellationTokenSource())
                    {
                        Throws<OperationCanceledException>(() => group.Process((e, attempt) =>
                        {
                            if (++handled == 1) source.Cancel();
                            Throws<AgxBusyException>(() => group.Read(Short));
                            Throws<AgxException>(() => group.Dispose());
                        }, Quick(0), source.Token));
                    }
                    Equal(2, handled);
                    Equal(0L, group.Pending().Count);
                    session.Add("task", "test", "4");
                    Equal("4", group.Read(Long).Single().Body);

                    // Closing from elsewhere: a read ends at once, and is told so.
                    Exception thrown = null;
                    AgxGroup other = session.OpenGroup("workers");
                    Thread reading = Blocked(() =>
                    {
                        try { other.Read(Timeout.InfiniteTimeSpan, AgxGroupSource.New); }
                        catch (Exception error) { thrown = error; }
                    });
                    other.Dispose();
                    other.Dispose();
                    Joined(reading);
                    True(thrown is AgxClosedException, "the closed error, not " + thrown);
                    Throws<AgxClosedException>(() => other.Read(Short));
                    Throws<AgxClosedException>(() => other.Process((e, attempt) => { }));
                    Throws<AgxClosedException>(() => other.Pending());

                    AgxGroup third = session.OpenGroup("workers");
                    ManualResetEvent begun = new ManualResetEvent(false), go = new ManualResetEvent(false);
                    session.Add("task", "test", "5");
                    Thread processing = InThread(() =>
                    {
                        try { third.Process((e, attempt) => { begun.Set(); go.WaitOne(); }); }
                        catch (Exception error) { thrown = error; }
                    });
                    True(begun.WaitOne(Long), "the handler is called");
                    thrown = null;
                    Thread closing = InThread(() => third.Dispose());
                    Until(() => Closed(third), "it is closing");
                    go.Set();
                    Joined(closing);
                    Joined(processing);
                    True(thrown is AgxClosedException, "the closed error, not " + thrown);
                }
                session.Stop();
            });
        }

        static bool Closed(AgxGroup group)
        {
            try
            {
                group.Pending();
                return false;
            }
            catch (AgxClosedException)
            {
                return true;
            }
        }

        public static void callback_error(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 1);
                InvalidOperationException thrown = new InvalidOperationException("no luck");
                using (AgxGroup group = session.OpenGroup("workers", As("a")))
                {
                    AgxProcessOptions options = Quick(0);
                    options.OnFailure = (e, attempt, error) => { throw error; };
                    True(ReferenceEquals(thrown, Throws<InvalidOperationException>(() => group.Process((e, attempt) => { throw thrown; }, options))),
                        "what stops a process reaches its caller");
                    options.OnFailure = null;
                    options.Limit = 2;
                    int handled = 0;
                    Equal(AgxStatus.Limit, group.Process((e, attempt) => ++handled, options));
                    Equal(2, handled);
                }
                using (session.Intercept(e => { throw thrown; }, "type = \"bad\""))
                {
                    True(ReferenceEquals(thrown, Throws<InvalidOperationException>(() => session.Add("bad", "test"))), "what an interceptor throws reaches who adds");
                    session.Add("good", "test");
                    True(ReferenceEquals(thrown, Throws<InvalidOperationException>(() => session.AddMany(new[] { new AgxNewEvent("good", "test", null), new AgxNewEvent("bad", "test", null) }))), "also of many");
                    Throws<AgxJsonException>(() => session.Add("good", "test", "{"));
                    // One throws within another's call.
                    InvalidOperationException outer = new InvalidOperationException("outer");
                    using (session.Intercept(e =>
                    {
                        Throws<InvalidOperationException>(() => session.Add("bad", "test"));
                        throw outer;
                    }, "type = \"outer\""))
                    {
                        True(ReferenceEquals(outer, Throws<InvalidOperationException>(() => session.Add("outer", "test"))), "each gets its own");
                    }
                }
                session.Add("bad", "test");
                AgxSubscription subscription = session.Subscribe(e => { throw thrown; });
                True(ReferenceEquals(thrown, Throws<AggregateException>(() => subscription.Completion.Wait(Long)).InnerException), "what a function throws is in its completion");
                subscription.Dispose();
                session.Stop();
            });
        }

        public static void intercept(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                AgxIntercepted kept = null;
                AgxInterceptor first = session.Intercept(e =>
                {
                    kept = e;
                    if (e.Type == "drop") return AgxVerdict.Swallow;
                    if (e.Type == "refuse") return AgxVerdict.Refuse(AgxStatus.Denied, "not \U0001F600 here");
                    Throws<AgxJsonException>(() => e.Body = "{");
                    Throws<AgxInvalidException>(() => e.Type = "a\0b");
                    e.Type = e.Type + "!";
                    e.Origin = "\U0001F600";
                    e.Body = "[" + e.Body + "]";
                    return AgxVerdict.Write;
                }, "not type = \"past\"");
                AgxInterceptor second = session.Intercept(e =>
                {
                    e.Body = "[" + e.Body + "," + e.Body + "]";
                    return AgxVerdict.Write;
                }, "type = \"change!\"");
                session.Add("change", "test", "1");
                Equal(AgxStatus.Swallowed, Throws<AgxSwallowedException>(() => session.Add("drop", "test")).Status);
                AgxException error = Throws<AgxDeniedException>(() => session.Add("refuse", "test"));
                Equal("not \U0001F600 here", error.Message);
                session.Add("past", "test", "2");
                IReadOnlyList<string> ids = session.AddMany(new[] { new AgxNewEvent("many", "test", "3"), new AgxNewEvent("drop", "test", null) });
                Equal("", ids[1]);
                Throws<AgxClosedException>(() => kept.Body = "1");
                Throws<AgxInvalidException>(() => AgxVerdict.Refuse(AgxStatus.Ok, "x"));
                Throws<AgxInvalidException>(() => session.Intercept(e => AgxVerdict.Write, "type = = 1"));
                first.Dispose();
                first.Dispose();
                session.Add("change", "test", "4");
                // One that is gone from within its own call.
                AgxInterceptor once = null;
                int calls = 0;
                once = session.Intercept(e => { ++calls; once.Dispose(); return AgxVerdict.Write; });
                session.Add("once", "test", "5");
                session.Add("once", "test", "6");
                Equal(1, calls);
                second.Dispose();
                session.Stop();
                Same("begin {0} change!@\U0001F600:[[1],[1]] past@test:2 many!@\U0001F600:[3] change@test:4 once@test:5 once@test:6".Replace("{0} ", ""),
                    session.Listen().Select(e => e.Type == "begin" ? e.Type : e.Type + "@" + e.Origin + ":" + e.Body));
            });
        }

        public static void subscribe(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                List<string> got = new List<string>();
                AgxSubscribeOptions options = new AgxSubscribeOptions { Where = "type = \"info\"", OnEnd = () => got.Add("end") };
                AgxSubscription all = session.Subscribe(e => got.Add(e.Body), options);
                List<string> some = new List<string>();
                AgxSubscription within = session.Subscribe((e, subscription) =>
                {
                    some.Add(e.Type);
                    if (some.Count == 3) subscription.Dispose();
                });
                List<AgxStatus> outcomes = new List<AgxStatus>();
                AgxSubscription silent = session.Subscribe(e => { }, new AgxSubscribeOptions { Timeout = Short, OnOutcome = error => { lock (outcomes) outcomes.Add(error.Status); } });
                Until(() => { lock (outcomes) return outcomes.Count > 0; }, "silence is told");
                Equal(AgxStatus.Silent, outcomes[0]);
                silent.Dispose();
                True(silent.Completion.Wait(Long), "it is done");
                for (int i = 0; i < 100; ++i) session.Add(i % 2 == 0 ? "info" : "other", "test", i.ToString());
                session.Stop();
                True(all.Completion.Wait(Long), "it ends");
                True(within.Completion.Wait(Long), "it is done");
                Same(string.Join(" ", Enumerable.Range(0, 50).Select(i => (2 * i).ToString()).ToArray()) + " end", got);
                Same("begin info other", some);
                all.Dispose();
                all.Dispose();
                within.Dispose();
                Throws<AgxInvalidException>(() => session.Subscribe(e => { }, new AgxSubscribeOptions { Where = "type = = 1" }));
                // What the client's end does to one that nobody keeps.
                AgxClient other = AgxClient.Open(url);
                AgxSubscription left;
                using (AgxSession same = Session(other)) left = same.Subscribe(e => { });
                other.Dispose();
                True(left.Completion.Wait(Long), "it is done with its client");
                left.Dispose();
            });
        }

        public static void formats(string url)
        {
            Each(url, (client, session) =>
            {
                foreach (string format in new[] { "openai-agents", "agent-framework", "ag2" })
                {
                    using (AgxSession stream = client.OpenStream("stream " + session.Id.Id, new AgxStreamOptions { Format = format, Expire = format == "agent-framework" ? TimeSpan.FromMinutes(1) : TimeSpan.Zero }))
                    using (AgxListener listener = stream.OpenListener(new AgxListenOptions { Wait = Long }))
                    {
                        Equal("stream " + session.Id.Id, stream.Id.Id);
                        string body = "{\"text\":\"\U0001F600\"}";
                        string type = format == "openai-agents" ? "token" : format == "ag2" ? "my_app.events.Answer" : "event";
                        string id = stream.Add(type, format == "openai-agents" ? "openai" : format, body);
                        AgxEvent got = listener.Next(Long);
                        Equal(id, got.Id);
                        True(got.Body.Contains("\U0001F600"), "the body: " + got.Body);
                        True(got.Fields.Count > 0 && got.Fields.Any(f => f.Value.Contains("\U0001F600")), "its fields: " + string.Join(", ", got.Fields.Select(f => f.Key + "=" + f.Value).ToArray()));
                        AgxEvent back = stream.History().Single();
                        Same(string.Join(" ", got.Fields.Select(f => f.ToString()).ToArray()), back.Fields.Select(f => f.ToString()));
                        stream.Drop();
                    }
                }
                using (AgxSession stream = client.OpenStream("odd " + session.Id.Id, new AgxStreamOptions { Format = "ag2" }))
                {
                    Equal(AgxStatus.Unsupported, Throws<AgxUnsupportedException>(() => stream.Add("x", "test", "1")).Status);
                    Equal(0, stream.History().Count);
                }
                Throws<AgxInvalidException>(() => client.OpenStream("x"));
                Throws<AgxInvalidException>(() => client.OpenStream("x", new AgxStreamOptions { Format = "none" }));
                using (AgxClient other = AgxClient.Open(url, new AgxClientOptions { Format = "agent-framework" }))
                using (AgxSession stream = other.OpenStream("by client " + session.Id.Id))
                {
                    stream.Add("event", "agent-framework", "{\"text\":\"hi\"}");
                    Equal(1, stream.History().Count);
                    stream.Drop();
                }
                Throws<AgxInvalidException>(() => AgxClient.Open(url, new AgxClientOptions { Format = "none" }));
                // One of ours tells type, origin and body.
                session.Start();
                session.Add("info", "test", "1");
                Same("type=info origin=test body=1", session.History()[1].Fields.Select(f => f.Key + "=" + f.Value));
                session.Stop();
            });
        }

        public static void replace_drop(string url)
        {
            Each(url, (client, session) =>
            {
                Tasks(session, 3);
                Equal(4L, session.Replace(new[] { new AgxNewEvent("summary", "test", "1"), new AgxNewEvent("more", "test", null) }));
                Same("summary more", Types(session.History()));
                Throws<AgxJsonException>(() => session.Replace(new[] { new AgxNewEvent("summary", "test", "{") }));
                Equal(2, session.History().Count);
                Equal(2L, session.Drop());
                Equal(0, session.History().Count);
                True(session.IsLive(), "it is still live");
                session.Stop();
                // A start that goes on with what is there.
                session.Replace(new[] { new AgxNewEvent("kept", "test", null) });
                session.Start(new AgxStartOptions { TakeOver = true, Keep = true });
                True(session.History().Any(e => e.Type == "kept"), "the stream went on");
                session.Stop();
            });
        }

        public static void checkpoint(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                Equal("", session.Checkpoint("there"));
                AgxNewEvent[] events = { new AgxNewEvent("info", "test", "1"), new AgxNewEvent("info", "test", "2") };
                for (int i = 0; i < 3; ++i) session.AddChecked(events, "there", "", "a \U0001F600");
                Equal("a \U0001F600", session.Checkpoint("there"));
                Throws<AgxConflictException>(() => session.AddChecked(events, "there", "else", "b"));
                session.AddChecked(new AgxNewEvent[0], "there", "a \U0001F600", "b");
                Equal("b", session.Checkpoint("there"));
                Equal("", session.Checkpoint("elsewhere"));
                Same("begin info info", Types(session.History()));
                session.Stop();
            });
        }

        static string Source(string file)
        {
            return Path.Combine(Environment.GetEnvironmentVariable("AGX_SOURCE_DIR"), file);
        }

        public static string Stream
        {
            get
            {
                return "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"}}]}\n\n" +
                       "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo \U0001F600\"}}]}\n\n" +
                       "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" +
                       "data: [DONE]\n\n";
            }
        }

        public static void run_feed(string url)
        {
            Each(url, (client, session) =>
            {
                string response = null;
                using (AgxRun run = session.BeginRun())
                {
                    byte[] bytes = Encoding.UTF8.GetBytes(Stream);
                    for (int at = 0; at < bytes.Length; at += 7) run.Feed(AgxModelApi.OpenAIChat, bytes, at, Math.Min(7, bytes.Length - at));
                    response = run.EndFeed();
                    run.BeginNode();
                    run.ToolReturn("tool", "call", "{\"x\":1}");
                    int part = run.BeginPart(AgxPartKind.Text, "a");
                    run.Delta(part, "b");
                    run.EndPart(part);
                    int tool = run.BeginToolCall("other", null, "{");
                    run.Delta(tool, "}");
                    run.EndPart();
                    run.Flush();
                    True(run.EndNode().Contains("\"ab\""), "the second response has its text");
                    Throws<AgxException>(() => run.EndFeed());
                    run.Finish();
                }
                True(response.Contains("Hello \U0001F600"), "the response has the text: " + response);
                List<AgxEvent> events = session.Listen().ToList();
                Equal("begin", events[0].Type);
                string bodies = string.Join("\n", events.Select(e => e.Body).ToArray());
                True(bodies.Contains("Hel") && bodies.Contains("lo \U0001F600"), "the events have the text: " + bodies);
                True(events.Count > 5, "there are events");
            });
        }

        public static void run_fail(string url)
        {
            Each(url, (client, session) =>
            {
                InvalidOperationException thrown = new InvalidOperationException("no luck");
                True(ReferenceEquals(thrown, Throws<InvalidOperationException>(() => session.Execute(run => { throw thrown; }))),
                    "what the agent throws reaches the caller");
                List<AgxEvent> events = session.Listen(new AgxListenOptions { HandOnEnd = true }).ToList();
                Equal("end", events[events.Count - 1].Type);
                Equal("error", events[events.Count - 2].Type);
                True(events[events.Count - 2].Body.Contains("no luck"), "the error says why");
                using (AgxRun run = session.BeginRun())
                {
                    AgxException error = Throws<AgxModelException>(() =>
                    {
                        run.Feed(AgxModelApi.OpenAIChat, Encoding.UTF8.GetBytes(Stream.Substring(0, 170)));
                        run.EndFeed();
                    });
                    True(error.Response != null, "what there was is kept");
                    run.Fail("the model failed");
                }
                using (AgxRun run = session.BeginRun())
                {
                    session.Cancel();
                    Throws<AgxCanceledException>(() => { for (int i = 0; i < 2000; ++i) { run.BeginNode(); run.EndNode(); Thread.Sleep(5); } });
                }
            });
        }

        public static void messages(string url)
        {
            Each(url, (client, session) =>
            {
                using (AgxMessages messages = session.OpenMessages())
                {
                    session.Execute(run =>
                    {
                        Equal(0, messages.Count);
                        messages.AppendSystem("be kind");
                        messages.AppendUser("What is \U0001F600?");
                        run.Feed(AgxModelApi.OpenAIChat, Encoding.UTF8.GetBytes(Stream));
                        messages.Append(run.EndFeed());
                        messages.AppendToolReturn("tool", "call", "[1]");
                        messages.AppendRetry(null, null, "again");
                    }, messages);
                    using (AgxSession same = client.OpenSession(1, 42, session.Id.Id))
                    using (AgxMessages again = same.OpenMessages())
                    {
                        again.Load();
                        Equal(messages.Json, again.Json);
                        Equal(3, again.Count);
                        Equal("request", again.Field(0, "kind"));
                        Equal(null, again.Field(9, "kind"));
                        Equal(2, again.PartCount(0));
                        Equal("What is \U0001F600?", again.PartField(0, 1, "content"));
                        Equal("What is \U0001F600?", again.Title);
                        True(again.Nodes.StartsWith("["), "the nodes are an array");
                        True(again.Request(AgxModelApi.OpenAIChat, "{\"model\":\"m\"}").Contains("\"model\":\"m\""), "the settings are in the request");
                        again.AppendUser("more");
                        again.Save();
                        messages.AppendUser("else");
                        Throws<AgxConflictException>(() => messages.Save());
                        using (AgxMessages parsed = AgxMessages.Parse(again.Json)) Equal(again.Json, parsed.Json);
                        Throws<AgxJsonException>(() => AgxMessages.Parse("{"));
                    }
                }
            });
        }

        public static void unreachable(string url)
        {
            AgxException error = Throws<AgxUnavailableException>(() => AgxClient.Open("redis://127.0.0.1:1?reconnect_timeout=-1"));
            Equal(AgxStatus.Unreachable, error.Status);
            True(error.Message.Contains("127.0.0.1:1"), "the message has the address: " + error.Message);
        }

        /// <summary>While a thread waits for as long as it takes, others end by their time, their token, or
        /// with the listener.</summary>
        public static void SeveralWaitInOneListener(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                AgxListener listener = session.OpenListener(new AgxListenOptions { After = AgxListenOptions.New, Timeout = Timeout.InfiniteTimeSpan });
                AgxEvent got = null;
                Thread first = Blocked(() => Caught(() => got = listener.Next()));
                bool came = true;
                AgxEvent none = null;
                Joined(InThread(() => Caught(() => came = listener.TryNext(Short, out none))));
                Equal(false, came);
                came = true;
                Joined(InThread(() => Caught(() => came = listener.TryNext(TimeSpan.Zero, out none))));
                Equal(false, came);
                Exception thrown = null;
                using (CancellationTokenSource source = new CancellationTokenSource(Short))
                {
                    Joined(InThread(() => thrown = Caught(() => listener.Next(source.Token))));
                }
                True(thrown is OperationCanceledException, "the language's own, not " + thrown);

                // Each gets an event that comes in time, whoever receives it.
                AgxEvent other = null;
                Thread second = Blocked(() => Caught(() => other = listener.Next(Long)));
                session.Add("info", "test", "1");
                session.Add("info", "test", "2");
                Joined(first);
                Joined(second);
                Same("1 2", new[] { got.Body, other.Body }.OrderBy(body => body));

                Exception[] ends = new Exception[3];
                using (CancellationTokenSource source = new CancellationTokenSource())
                {
                    Thread[] threads =
                    {
                        Blocked(() => ends[0] = Caught(() => listener.Next())),
                        Blocked(() => ends[1] = Caught(() => listener.Next())),
                        Blocked(() => ends[2] = Caught(() => listener.Next(source.Token))),
                    };
                    listener.Dispose();
                    foreach (Thread thread in threads) Joined(thread);
                }
                foreach (Exception end in ends) True(end is AgxClosedException, "the closed error, not " + end);
                session.Stop();
            });
        }

        static Exception Caught(Action action)
        {
            try
            {
                action();
                return null;
            }
            catch (Exception error)
            {
                return error;
            }
        }

        /// <summary>What does not wait gives what there is; and what was waited for in time may go on in a
        /// mux.</summary>
        public static void ALookTakesWhatIsThere(string url)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                for (int i = 0; i < 1000; ++i) session.Add("info", "test", i.ToString());
                using (AgxListener listener = session.OpenListener())
                {
                    int count = 0;
                    AgxEvent one;
                    while (listener.TryNext(TimeSpan.Zero, out one)) ++count;
                    Equal(1001, count);
                }
                using (AgxListener listener = session.OpenListener())
                using (AgxMux mux = new AgxMux(client))
                {
                    Equal("begin", listener.Next(Long).Type);
                    mux.Add(listener);
                    AgxMuxItem item;
                    for (int i = 0; i < 1000; ++i)
                    {
                        True(mux.TryNext(Long, out item), "the mux goes on");
                        Equal(i.ToString(), item.Event.Body);
                    }
                    mux.Remove(listener);
                    session.Stop();
                    Equal(null, listener.Next(Long));
                }
            });
        }

        /// <summary>Not in the list: a server that is killed and started again loses nothing.</summary>
        public static void KilledAndRestarted(RedisServer server)
        {
            Each(server.Url + "&reconnect_timeout=20000&reconnect_attempts=1000", (client, session) =>
            {
                session.Start();
                using (AgxListener listener = session.OpenListener())
                {
                    Equal("begin", listener.Next(Long).Type);
                    AgxEvent got = null;
                    Thread thread = InThread(() => got = listener.Next(Timeout.InfiniteTimeSpan));
                    session.Add("info", "test", "1");
                    Joined(thread);
                    thread = InThread(() => got = listener.Next(Timeout.InfiniteTimeSpan));
                    server.Kill();
                    server.Start();
                    session.Add("info", "test", "2");
                    Joined(thread);
                    Equal("2", got.Body);
                    session.Stop();
                    Equal(null, listener.Next(Long));
                }
                Same("begin 1 2", session.Listen().Select(e => e.Type == "begin" ? e.Type : e.Body));
            });
        }

        /// <summary>Listeners that come and go leave nothing behind.</summary>
        public static void NothingIsLeft(string url, int count)
        {
            Each(url, (client, session) =>
            {
                session.Start();
                session.Add("info", "test", "1");
                Action<int> some = times =>
                {
                    for (int i = 0; i < times; ++i)
                    {
                        if (i % 10 == 0) CallBack(session);
                        using (AgxListener listener = session.OpenListener())
                        {
                            listener.Next(Long);
                            listener.Next(Long);
                        }
                    }
                };
                some(count / 10);
                long memory = Resident(), descriptors = Entries("fd"), threads = OwnThreads();
                some(count);
                // What is closed elsewhere may be under way.
                Until(() => Resident() < memory + 40000, () => "memory: " + memory + " kB before, () => " + Resident() + " kB after");
                Until(() => Entries("fd") <= descriptors + 3, () => "descriptors: " + descriptors + " before, () => " + Entries("fd") + " after");
                Until(() => OwnThreads() <= threads + 5, () => "threads: " + threads + " before, () => " + OwnThreads() + " after");
                session.Stop();
            });
        }

        static void CallBack(AgxSession session)
        {
            ManualResetEvent first = new ManualResetEvent(false);
            using (AgxGroup group = session.OpenGroup("workers", As("a")))
            using (session.Intercept(e => AgxVerdict.Swallow, "type = \"never\""))
            using (session.Subscribe(e => first.Set()))
            {
                group.Pending();
                True(first.WaitOne(Long), "it is called");
            }
            first.Close();
        }

        public static long Resident()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            string line = File.ReadAllLines("/proc/self/status").First(l => l.StartsWith("VmRSS:"));
            return long.Parse(new string(line.Where(char.IsDigit).ToArray()));
        }

        /// <summary>The names of all threads, by their number.</summary>
        public static Dictionary<string, string> Threads()
        {
            Dictionary<string, string> names = new Dictionary<string, string>();
            foreach (string task in Directory.GetDirectories("/proc/self/task"))
            {
                try { names[Path.GetFileName(task)] = File.ReadAllText(task + "/comm").Trim(); }
                catch (IOException) { } // it has ended
            }
            return names;
        }

        /// <summary>How many threads there are, but for the runtime's own, such as its pool's, which come and go as
        /// it sees fit.</summary>
        public static int OwnThreads()
        {
            return Threads().Values.Count(name => !name.StartsWith(".NET", StringComparison.Ordinal) && !name.StartsWith("Thread Pool", StringComparison.Ordinal));
        }

        public static int Entries(string what)
        {
            return Directory.GetFileSystemEntries("/proc/self/" + what).Length;
        }
    }
}
