using System;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>A conversation: what a session keeps between runs, as pydantic-ai writes it. Where JSON is
    /// given it has to be valid.</summary>
    public sealed partial class AgxMessages : IDisposable
    {
        const int Slice = 50;

        readonly MessagesHandle handle;
        readonly AgxClient? client;
        // A text that C gives is there until the conversation is changed or closed.
        readonly object gate = new object();

        internal AgxMessages(MessagesHandle handle, AgxClient? client)
        {
            this.handle = handle;
            this.client = client;
        }

        /// <summary>A conversation from its JSON text; null: an empty one. It is kept nowhere.</summary>
        public static AgxMessages Parse(string? json)
        {
            byte[]? text = Text.Encode(json, "json");
            IntPtr messages;
            AgxException.Check(agxnative.agx_messages_parse(text, Length(text), out messages));
            return new AgxMessages(new MessagesHandle(messages), null);
        }

        /// <summary>A conversation that is kept in a file. Empty until loaded.</summary>
        public static AgxMessages OpenFile(string path)
        {
            IntPtr messages;
            AgxException.Check(agxnative.agx_messages_open_file(Text.EncodeGiven(path, "path"), out messages));
            return new AgxMessages(new MessagesHandle(messages), null);
        }

        static ulong Length(byte[]? text)
        {
            return text == null ? 0 : (ulong)text.Length - 1;
        }

        IntPtr Number
        {
            get { return handle.Number; }
        }

        delegate int Giver(out IntPtr text, out ulong length);

        // One call at a time: who waits for another is told if it is closed meanwhile.
        T InTurn<T>(Func<T> call)
        {
            do handle.Check();
            while (!Monitor.TryEnter(gate, Slice));
            try
            {
                using (handle.Enter()) return call();
            }
            finally
            {
                Monitor.Exit(gate);
                GC.KeepAlive(client);
            }
        }

        string Give(Giver call)
        {
            return InTurn(() =>
            {
                IntPtr text;
                ulong length;
                AgxException.Check(call(out text, out length));
                return Text.Read(text, length);
            });
        }

        void Change(Func<int> call)
        {
            InTurn(() =>
            {
                AgxException.Check(call());
                return true;
            });
        }

        /// <summary>Replaces what is held by what is kept. Nothing kept is an empty conversation.</summary>
        public void Load()
        {
            Change(() => agxnative.agx_messages_load(Number));
        }

        /// <summary>Keeps what is held, in one step.</summary>
        /// <exception cref="AgxConflictException">Somebody else saved in between; nothing was
        /// written.</exception>
        public void Save()
        {
            Change(() => agxnative.agx_messages_save(Number));
        }

        /// <summary>The whole conversation as JSON.</summary>
        public string Json
        {
            get { return Give((out IntPtr text, out ulong length) => agxnative.agx_messages_json(Number, out text, out length)); }
        }

        /// <summary>How many messages.</summary>
        public int Count
        {
            get { return InTurn(() => (int)agxnative.agx_messages_count(Number)); }
        }

        /// <summary>How many parts a message has.</summary>
        public int PartCount(int message)
        {
            return InTurn(() => (int)agxnative.agx_messages_part_count(Number, Index(message)));
        }

        static ulong Index(int index)
        {
            if (index < 0) throw new ArgumentOutOfRangeException("index");
            return (ulong)index;
        }

        /// <summary>A message's field, such as "kind": a string as its text, anything else as JSON; null:
        /// there is none.</summary>
        public string? Field(int message, string name)
        {
            byte[] field = Text.EncodeGiven(name, "name");
            return Look((out IntPtr text, out ulong length) =>
            {
                int json;
                return agxnative.agx_messages_field(Number, Index(message), field, out text, out length, out json);
            });
        }

        /// <summary>A part's field, such as "content".</summary>
        public string? PartField(int message, int part, string name)
        {
            byte[] field = Text.EncodeGiven(name, "name");
            return Look((out IntPtr text, out ulong length) =>
            {
                int json;
                return agxnative.agx_messages_part_field(Number, Index(message), Index(part), field, out text, out length, out json);
            });
        }

        string? Look(Giver call)
        {
            try
            {
                return Give(call);
            }
            catch (AgxNotFoundException)
            {
                return null;
            }
        }

        /// <summary>Appends messages: a JSON object, or an array of them.</summary>
        public void Append(string json)
        {
            byte[] text = Text.EncodeGiven(json, "json");
            Change(() => agxnative.agx_messages_append(Number, text, Length(text)));
        }

        /// <summary>Adds a system prompt.</summary>
        public void AppendSystem(string content)
        {
            byte[] text = Text.EncodeGiven(content, "content");
            Change(() => agxnative.agx_messages_append_system(Number, text));
        }

        /// <summary>Adds what the user says.</summary>
        public void AppendUser(string content)
        {
            byte[] text = Text.EncodeGiven(content, "content");
            Change(() => agxnative.agx_messages_append_user(Number, text));
        }

        /// <summary>Adds a tool's result: JSON text; null is null.</summary>
        public void AppendToolReturn(string toolName, string toolCallId, string? content)
        {
            byte[] name = Text.EncodeGiven(toolName, "toolName");
            byte[] id = Text.EncodeGiven(toolCallId, "toolCallId");
            byte[]? text = Text.Encode(content, "content");
            Change(() => agxnative.agx_messages_append_tool_return(Number, name, id, text));
        }

        /// <summary>Asks the model to try again, after a tool refused or, without one, after anything
        /// else.</summary>
        public void AppendRetry(string? toolName, string? toolCallId, string content)
        {
            byte[]? name = Text.Encode(toolName, "toolName");
            byte[]? id = Text.Encode(toolCallId, "toolCallId");
            byte[] text = Text.EncodeGiven(content, "content");
            Change(() => agxnative.agx_messages_append_retry(Number, name, id, text));
        }

        /// <summary>The user's first prompt, or "No title".</summary>
        public string Title
        {
            get { return Give((out IntPtr text, out ulong length) => agxnative.agx_messages_title(Number, out text, out length)); }
        }

        /// <summary>The nodes, as a JSON array.</summary>
        public string Nodes
        {
            get { return Give((out IntPtr text, out ulong length) => agxnative.agx_messages_nodes(Number, out text, out length)); }
        }

        /// <summary>The body of a request to the model that continues the conversation, with streaming
        /// asked for.</summary>
        /// <param name="api">Whose request.</param>
        /// <param name="settings">A JSON object whose members become the body's own, such as
        /// "model".</param>
        public string Request(AgxModelApi api, string? settings = null)
        {
            byte[]? given = Text.Encode(settings, "settings");
            return Give((out IntPtr text, out ulong length) => agxnative.agx_messages_request(Number, (int)api, given, out text, out length));
        }

        /// <summary>Closes the conversation; what was not saved is lost. A load or save that is under way is
        /// carried out and not waited for; who waits for a turn behind it gets an
        /// <see cref="AgxClosedException"/>.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
