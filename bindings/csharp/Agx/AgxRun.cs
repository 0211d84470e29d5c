using System;
using System.Runtime.InteropServices;
using Agx.Native;

namespace Agx
{
    /// <summary>One execution of an agent inside a session. A node is a request to the model and its
    /// response: it is opened, told of tool results, then parts begin, grow and end; or a model's own
    /// stream is fed. Last, <see cref="Finish"/> or <see cref="Fail"/>.
    ///
    /// Once the session is cancelled, every call throws <see cref="AgxCanceledException"/>: the run has
    /// ended by itself then.</summary>
    public sealed partial class AgxRun : IDisposable
    {
        /// <summary>The part that was begun last.</summary>
        public const int LastPart = -1;

        readonly AgxSession session;
        readonly RunHandle handle;
        // A response that C gives is there until the next node begins or the run is closed.
        readonly object gate = new object();

        internal AgxRun(AgxSession session, RunHandle handle)
        {
            this.session = session;
            this.handle = handle;
        }

        /// <summary>The session that it is a run of.</summary>
        public AgxSession Session
        {
            get { return session; }
        }

        IntPtr Number
        {
            get { return handle.Number; }
        }

        void Done(int status)
        {
            AgxException? error = status == 0 ? null : AgxException.Last(status);
            GC.KeepAlive(this);
            Callbacks.Rethrow(status);
            if (error != null) throw error;
        }

        /// <summary>Opens the next node.</summary>
        public void BeginNode()
        {
            lock (gate) Done(agxnative.agx_run_node_begin(Number));
        }

        /// <summary>A tool's result that goes into the request of the node that has just been
        /// opened.</summary>
        /// <param name="toolName">Which tool.</param>
        /// <param name="toolCallId">Which call of it.</param>
        /// <param name="content">JSON text; null is null.</param>
        public void ToolReturn(string toolName, string toolCallId, string? content)
        {
            Done(agxnative.agx_run_tool_return(Number, Text.EncodeGiven(toolName, "toolName"),
                Text.EncodeGiven(toolCallId, "toolCallId"), Text.Encode(content, "content")));
        }

        /// <summary>A part of the response begins.</summary>
        /// <returns>Its number.</returns>
        public int BeginPart(AgxPartKind kind, string content = "")
        {
            int part;
            Done(agxnative.agx_run_part_begin(Number, (int)kind, Text.Encode(content, "content"), out part));
            return part;
        }

        /// <summary>A tool call begins, with the first of its arguments. Nothing is written before it
        /// ends.</summary>
        /// <returns>Its number.</returns>
        public int BeginToolCall(string toolName, string? toolCallId = null, string args = "")
        {
            int part;
            Done(agxnative.agx_run_tool_call_begin(Number, Text.EncodeGiven(toolName, "toolName"),
                Text.Encode(toolCallId, "toolCallId"), Text.Encode(args, "args"), out part));
            return part;
        }

        /// <summary>A part grows.</summary>
        public void Delta(int part, string delta)
        {
            Done(agxnative.agx_run_part_delta(Number, part, Text.EncodeGiven(delta, "delta")));
        }

        /// <summary>A part ends.</summary>
        public void EndPart(int part = LastPart)
        {
            Done(agxnative.agx_run_part_end(Number, part));
        }

        /// <summary>The part that was begun last is the final answer.</summary>
        public void Answer()
        {
            Done(agxnative.agx_run_answer(Number));
        }

        /// <summary>Ends the node, and what is open in it.</summary>
        /// <returns>The response as a message for <see cref="AgxMessages.Append"/>.</returns>
        public string EndNode()
        {
            lock (gate)
            {
                IntPtr response;
                ulong length;
                int status = agxnative.agx_run_node_end(Number, out response, out length);
                return Response(status, response, length);
            }
        }

        /// <summary>Takes bytes of the body of a model's streaming HTTP response, cut anywhere, and writes
        /// what they say as the session's events.</summary>
        /// <exception cref="AgxModelException">The stream reports an error, or is none of this
        /// API.</exception>
        public void Feed(AgxModelApi api, byte[] bytes, int offset, int count)
        {
            if (bytes == null) throw new ArgumentNullException("bytes");
            if (offset < 0 || count < 0 || count > bytes.Length - offset) throw new ArgumentOutOfRangeException("count");
            GCHandle pin = GCHandle.Alloc(bytes, GCHandleType.Pinned);
            try
            {
                IntPtr start = new IntPtr(pin.AddrOfPinnedObject().ToInt64() + offset);
                lock (gate) Done(agxnative.agx_run_feed(Number, (int)api, start, (ulong)count));
            }
            finally
            {
                pin.Free();
            }
        }

        /// <summary>The same of a whole array.</summary>
        public void Feed(AgxModelApi api, byte[] bytes)
        {
            if (bytes == null) throw new ArgumentNullException("bytes");
            Feed(api, bytes, 0, bytes.Length);
        }

        /// <summary>No more of the response will come.</summary>
        /// <returns>The response as a message for <see cref="AgxMessages.Append"/>.</returns>
        /// <exception cref="AgxModelException">The stream reported an error or broke off;
        /// <see cref="AgxException.Response"/> has what there was.</exception>
        public string EndFeed()
        {
            lock (gate)
            {
                IntPtr response;
                ulong length;
                int status = agxnative.agx_run_feed_end(Number, out response, out length);
                return Response(status, response, length);
            }
        }

        string Response(int status, IntPtr response, ulong length)
        {
            AgxException? error = status == 0 ? null : AgxException.Last(status);
            string? text = response == IntPtr.Zero ? null : Text.Read(response, length);
            GC.KeepAlive(this);
            Callbacks.Rethrow(status);
            if (error == null) return text ?? "";
            error.Response = text;
            throw error;
        }

        /// <summary>Writes what a coalescing window holds back.</summary>
        public void Flush()
        {
            Done(agxnative.agx_run_flush(Number));
        }

        /// <summary>Ends the run and the session. After an <see cref="AgxUnavailableException"/> it may be
        /// called again.</summary>
        public void Finish()
        {
            Done(agxnative.agx_run_finish(Number));
        }

        /// <summary>The same, after an error event with the message.</summary>
        public void Fail(string? message)
        {
            Done(agxnative.agx_run_fail(Number, Text.Encode(message, "message")));
        }

        /// <summary>Fails with what the agent threw. What stands in the way of that is not what its caller
        /// wants to know: the run ends when it is closed.</summary>
        internal void Abandon(Exception error)
        {
            try
            {
                // Words for people: rather changed than lost.
                Done(agxnative.agx_run_fail(Number, Text.Lossy(error.Message)));
            }
            catch (AgxException)
            {
            }
        }

        /// <summary>Ends the run, if need be as failed, and closes it.</summary>
        public void Dispose()
        {
            lock (gate) handle.Dispose();
        }
    }
}
