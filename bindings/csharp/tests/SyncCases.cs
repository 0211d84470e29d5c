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
                    Throws<AgxGoneException>(() => listener.Next(Long));
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
            Throws<AgxClosedException>(() => session.Add("info", "test", "1"));
            Throws<AgxClosedException>(() => session.OpenListener());
            Throws<AgxClosedException>(() => session.History());
            Throws<AgxClosedException>(() => session.HistoryInfo());
            Throws<AgxClosedException>(() => session.BeginRun());
            Throws<AgxClosedException>(() => session.WaitFor(null, Long));
            client.Dispose();
            client.Dispose();
            Throws<AgxClosedException>(() => client.OpenSession(1, 1, "x"));
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
                        using (AgxListener listener = session.OpenListener())
                        {
                            listener.Next(Long);
                            listener.Next(Long);
                        }
                    }
                };
                some(count / 10);
                long memory = Resident(), descriptors = Entries("fd"), threads = Entries("task");
                some(count);
                True(Resident() < memory + 40000, "memory: " + memory + " kB before, " + Resident() + " kB after");
                True(Entries("fd") <= descriptors + 3, "descriptors: " + descriptors + " before, " + Entries("fd") + " after");
                True(Entries("task") <= threads + 5, "threads: " + threads + " before, " + Entries("task") + " after");
                session.Stop();
            });
        }

        public static long Resident()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            string line = File.ReadAllLines("/proc/self/status").First(l => l.StartsWith("VmRSS:"));
            return long.Parse(new string(line.Where(char.IsDigit).ToArray()));
        }

        public static int Entries(string what)
        {
            return Directory.GetFileSystemEntries("/proc/self/" + what).Length;
        }
    }
}
