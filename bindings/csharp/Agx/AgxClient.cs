using System;
using System.Collections.Generic;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>One configured way to one store. Any number of sessions, listeners and threads should
    /// share one: it keeps few connections however many they are.
    ///
    /// Every object of libagx may be used by several threads at once. Disposing of one ends what waits
    /// in it with an <see cref="AgxClosedException"/>, as does disposing of its client.</summary>
    public sealed partial class AgxClient : IDisposable
    {
        readonly ClientHandle handle;

        AgxClient(ClientHandle handle)
        {
            this.handle = handle;
            // It does not know the client, which else could never be found unused.
            Subscriptions = new Subscriptions();
            handle.Closing += Subscriptions.Close;
            Opened();
        }

        internal Subscriptions Subscriptions { get; }

        partial void Opened();

        /// <summary>The library's version and what it was built with.</summary>
        public static string LibraryVersion
        {
            get { return Text.Read(agxnative.agx_version_string()); }
        }

        /// <summary>Connects to a store, so that a wrong address or password is known at once.</summary>
        /// <param name="url">redis://[user[:password]@]host[:port][/db][?parameters], rediss://,
        /// unix:///path, memory:[name]; null: $AGX_URL, or else redis://127.0.0.1:6379.</param>
        /// <param name="options">What the URL does not have.</param>
        /// <exception cref="AgxUnavailableException">The store cannot be reached.</exception>
        /// <exception cref="AgxInvalidException">The message says which part of the URL.</exception>
        public static AgxClient Open(string? url = null, AgxClientOptions? options = null)
        {
            byte[]? text = Text.Encode(WithFormat(url, options == null ? null : options.Format), "url");
            LogPump? log = options == null || options.Log == null ? null : new LogPump(options.Log);
            int level = (int)(options == null ? AgxLogLevel.Warning : options.LogLevel);
            IntPtr client;
            int status = agxnative.agxb_open(text, level, log == null ? IntPtr.Zero : log.Log, out client);
            if (status != 0)
            {
                AgxException error = AgxException.Last(status);
                if (log != null) log.Close();
                throw error;
            }
            return new AgxClient(new ClientHandle(client, log));
        }

        // What has no argument of its own is a parameter of the URL; the URL's own wins.
        static string? WithFormat(string? url, string? format)
        {
            if (format == null) return url;
            if (format.IndexOf('\0') >= 0) throw Text.Invalid("format has a U+0000, which libagx cannot carry");
            string given = url ?? Environment.GetEnvironmentVariable("AGX_URL") ?? "redis://127.0.0.1:6379";
            int query = given.IndexOf('?');
            if (query >= 0 && ("&" + given.Substring(query + 1)).Contains("&format=")) return given;
            return given + (query < 0 ? "?" : "&") + "format=" + Uri.EscapeDataString(format);
        }

        internal IntPtr Number
        {
            get { return handle.Number; }
        }

        /// <summary>A session, whether it exists or not; nothing is asked of the store.</summary>
        /// <param name="scope">Any number that means something to you, such as a tenant.</param>
        /// <param name="user">A user of that scope.</param>
        /// <param name="id">Free text, 1 to 512 bytes.</param>
        public AgxSession OpenSession(long scope, long user, string id)
        {
            IntPtr session;
            int status = agxnative.agx_session_open(Number, scope, user, Text.EncodeGiven(id, "id"), out session);
            AgxException.Check(status);
            return new AgxSession(this, new SessionHandle(session), new AgxSessionId(scope, user, id));
        }

        /// <summary>A stream of another framework, by its name, in the form of a session; nothing is asked of
        /// the store. What is added is written as that framework would; what its format cannot hold is an
        /// <see cref="AgxUnsupportedException"/>.</summary>
        /// <param name="name">For "openai-agents" the key itself, for "agent-framework" the conversation's
        /// id, for "ag2" the stream's.</param>
        /// <param name="options">Which format, unless the client has one.</param>
        /// <exception cref="AgxInvalidException">The format is unknown, or its streams have no
        /// names.</exception>
        public AgxSession OpenStream(string name, AgxStreamOptions? options = null)
        {
            AgxStreamOptions given = options ?? new AgxStreamOptions();
            IntPtr session;
            AgxException.Check(agxnative.agxb_stream_open(Number, Text.EncodeGiven(name, "name"),
                Text.Encode(given.Format, "format"), given.MaxLength, Text.Milliseconds(given.Expire),
                Text.Encode(given.Prefix, "prefix"), given.Tagged ? 1 : 0, out session));
            return new AgxSession(this, new SessionHandle(session), new AgxSessionId(0, 0, name));
        }

        /// <summary>The sessions that are live: of all, of a scope, or of a scope and user; each once, in
        /// no order.</summary>
        public IEnumerable<AgxSessionId> LiveSessions(long? scope = null, long? user = null)
        {
            using (QueryHandle query = OpenQuery(scope, user))
            {
                AgxSessionId id;
                while (QueryNext(query, out id)) yield return id;
            }
        }

        QueryHandle OpenQuery(long? scope, long? user)
        {
            IntPtr query;
            int status = agxnative.agx_query_open(Number, scope ?? long.MinValue, user ?? long.MinValue, out query);
            AgxException.Check(status);
            return new QueryHandle(query);
        }

        bool QueryNext(QueryHandle query, out AgxSessionId id)
        {
            long scope, user;
            IntPtr name;
            // The name is the query's until its next call.
            lock (query)
            {
                using (Use use = query.Enter())
                {
                    int status = agxnative.agx_query_next(use.Number, out scope, out user, out name);
                    id = default(AgxSessionId);
                    if (status == (int)AgxStatus.Ended) return false;
                    AgxException.Check(status);
                    id = new AgxSessionId(scope, user, Text.Read(name));
                }
            }
            GC.KeepAlive(this);
            return true;
        }

        /// <summary>Closes the client and its connections. Sessions that were started and not stopped
        /// stay live until their lease runs out. It waits for calls of subscriptions' functions; called from
        /// within one, not for that very call.</summary>
        public void Dispose()
        {
            AgxSubscription.Frame? frame = Within();
            if (frame == null || !frame.IsElsewhere)
            {
                handle.Dispose();
                return;
            }
            Thread closing = new Thread(handle.Dispose);
            closing.IsBackground = true;
            closing.Start();
        }

        AgxSubscription.Frame? Within()
        {
            return AgxSubscription.Within(one => one.IsOf(Subscriptions));
        }
    }
}
