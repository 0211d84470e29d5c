using System;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>What an interceptor's function says of an event.</summary>
    public struct AgxVerdict
    {
        internal readonly AgxStatus Status;
        internal readonly string? Message;

        AgxVerdict(AgxStatus status, string? message)
        {
            Status = status;
            Message = message;
        }

        /// <summary>It is written, as it is by now.</summary>
        public static AgxVerdict Write
        {
            get { return new AgxVerdict(AgxStatus.Ok, null); }
        }

        /// <summary>It is not written, and who adds it gets an
        /// <see cref="AgxSwallowedException"/>.</summary>
        public static AgxVerdict Swallow
        {
            get { return new AgxVerdict(AgxStatus.Swallowed, null); }
        }

        /// <summary>It is not written, and who adds it gets the exception of this status, with this
        /// message.</summary>
        public static AgxVerdict Refuse(AgxStatus status, string message)
        {
            if (status == AgxStatus.Ok || status == AgxStatus.Swallowed) throw Text.Invalid(status + " refuses nothing");
            if (message == null) throw new ArgumentNullException("message");
            return new AgxVerdict(status, message);
        }
    }

    /// <summary>An event on its way: what it is can be changed until the interceptor's function
    /// returns.</summary>
    public sealed class AgxIntercepted
    {
        readonly object gate = new object();
        IntPtr handle;
        string type;
        string origin;
        string body;

        internal AgxIntercepted(IntPtr handle, AgxEvent value)
        {
            this.handle = handle;
            type = value.Type;
            origin = value.Origin;
            body = value.Body;
        }

        /// <summary>The type, as it is by now.</summary>
        public string Type
        {
            get { return type; }
            set
            {
                byte[] text = Text.EncodeGiven(value, "type");
                Change(() => agxnative.agx_intercepted_set_type(handle, text));
                type = value;
            }
        }

        /// <summary>The origin, as it is by now.</summary>
        public string Origin
        {
            get { return origin; }
            set
            {
                byte[] text = Text.EncodeGiven(value, "origin");
                Change(() => agxnative.agx_intercepted_set_origin(handle, text));
                origin = value;
            }
        }

        /// <summary>The body, as it is by now: JSON text.</summary>
        /// <exception cref="AgxJsonException">It is not JSON; the event stays as it is.</exception>
        public string Body
        {
            get { return body; }
            set
            {
                byte[] text = Text.EncodeGiven(value, "body");
                Change(() => agxnative.agx_intercepted_set_body(handle, text));
                body = value;
            }
        }

        void Change(Func<int> set)
        {
            lock (gate)
            {
                if (handle == IntPtr.Zero) throw AgxException.Closed("call of the interceptor's function");
                AgxException.Check(set());
            }
        }

        internal void End()
        {
            lock (gate) handle = IntPtr.Zero;
        }
    }

    /// <summary>A function that is called before a session's events are written. It is the session's, and
    /// goes on until it or the session is disposed of.</summary>
    public sealed class AgxInterceptor : IDisposable
    {
        sealed class Target : Callbacks.Target
        {
            internal Func<AgxIntercepted, AgxVerdict>? Function;
            internal volatile bool Refuses;
            internal readonly AgxClient Client;

            internal Target(AgxClient client)
            {
                Client = client;
            }

            internal override int Call(IntPtr handle, Batch.Record record, long attempt)
            {
                if (Refuses)
                {
                    agxnative.agx_intercepted_refuse(handle, (int)AgxStatus.Closed, Text.Lossy("the session is closed"));
                    return (int)AgxStatus.Closed;
                }
                Func<AgxIntercepted, AgxVerdict>? function = Function;
                if (function == null || record.Value == null) return 0;
                Frame? outer = frames.Value;
                // C leaves out the one whose thread adds, and knows nothing of tasks.
                if (IsIn(this, null)) return 0;
                AgxIntercepted value = new AgxIntercepted(handle, record.Value);
                AgxVerdict verdict;
                Frame frame = new Frame(this, outer);
                frames.Value = frame;
                try
                {
                    verdict = function(value);
                }
                finally
                {
                    frame.Target = null;
                    frames.Value = outer;
                    value.End();
                }
                if (verdict.Message != null) agxnative.agx_intercepted_refuse(handle, (int)verdict.Status, Text.Lossy(verdict.Message));
                return (int)verdict.Status;
            }

            // For who adds in another thread, such as that of a run's window.
            internal override void Threw(IntPtr handle, Exception error)
            {
                agxnative.agx_intercepted_refuse(handle, (int)AgxStatus.Failed, Text.Lossy(error.Message));
            }
        }

        // A call of a function, also in the tasks that it starts.
        sealed class Frame
        {
            internal readonly Frame? Outer;
            // null: the call is over, which what goes on with this need not keep.
            internal volatile Target? Target;

            internal Frame(Target target, Frame? outer)
            {
                Target = target;
                Outer = outer;
            }
        }

        static readonly AsyncLocal<Frame?> frames = new AsyncLocal<Frame?>();

        // Of those that this is in: that one, or any of the client's, or any.
        static bool IsIn(Target? target, AgxClient? client)
        {
            for (Frame? frame = frames.Value; frame != null; frame = frame.Outer)
            {
                Target? one = frame.Target;
                if (one != null && (target == null || one == target) && (client == null || one.Client == client)) return true;
            }
            return false;
        }

        /// <summary>Whether this is called from within an interceptor of the client's, or a task of one's: who
        /// adds waits for it.</summary>
        internal static bool IsWithin(AgxClient client)
        {
            return IsIn(null, client);
        }

        /// <summary>The same of anybody's.</summary>
        internal static bool IsWithinAny
        {
            get { return IsIn(null, null); }
        }

        readonly AgxSession session;
        readonly Target target;
        readonly long token;
        readonly InterceptorHandle handle;

        internal AgxInterceptor(AgxSession session, Func<AgxIntercepted, AgxVerdict> function, byte[]? where)
        {
            this.session = session;
            target = new Target(session.Client) { Function = function };
            token = Callbacks.Register(target);
            IntPtr interceptor;
            try
            {
                using (Use use = session.Enter()) AgxException.Check(agxnative.agxb_intercept(use.Number, where, token, out interceptor));
            }
            catch (AgxException)
            {
                Callbacks.Forget(token);
                throw;
            }
            handle = new InterceptorHandle(interceptor, token);
        }

        /// <summary>Takes it out. When it returns no call of the function is running and none will come;
        /// called from within the function, only that very call goes on.</summary>
        public void Dispose()
        {
            handle.Dispose();
            target.Function = null;
            session.Forget(this);
        }

        /// <summary>The session is disposed of: no event comes by any more.</summary>
        internal void Refuse()
        {
            target.Refuses = true;
        }
    }
}
