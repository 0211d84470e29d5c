using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace Agx
{
    /// <summary>One event of a session. It does not change, and may be read by any thread.</summary>
    public sealed partial class AgxEvent
    {
        // The four texts, one behind the other; then the entry's fields, if these do not tell them.
        readonly byte[] bytes;
        readonly int type;
        readonly int origin;
        readonly int body;
        readonly int end;

        internal AgxEvent(byte[] bytes, int id, int type, int origin, int body)
        {
            this.bytes = bytes;
            this.type = id;
            this.origin = id + type;
            this.body = id + type + origin;
            end = this.body + body;
        }

        /// <summary>The entry's id, "milliseconds-sequence": what to give as
        /// <see cref="AgxListenOptions.After"/> to go on behind it.</summary>
        public string Id
        {
            get { return Encoding.UTF8.GetString(bytes, 0, type); }
        }

        /// <summary>The type; "" if the entry has none.</summary>
        public string Type
        {
            get { return Encoding.UTF8.GetString(bytes, type, origin - type); }
        }

        /// <summary>Who says it; "" if the entry has none.</summary>
        public string Origin
        {
            get { return Encoding.UTF8.GetString(bytes, origin, body - origin); }
        }

        /// <summary>The body as it was written: JSON text, unless another program wrote something
        /// else.</summary>
        public string Body
        {
            get { return Encoding.UTF8.GetString(bytes, body, end - body); }
        }

        /// <summary>A copy of the body's bytes, which are UTF-8.</summary>
        public byte[] BodyBytes()
        {
            byte[] copy = new byte[end - body];
            Buffer.BlockCopy(bytes, body, copy, 0, copy.Length);
            return copy;
        }

        /// <summary>All fields of the entry, in their order, as its writer wrote them: also what an event
        /// has no place for. Of an event that has none but these: type, origin and body. They are taken
        /// apart anew each time.</summary>
        public IReadOnlyList<KeyValuePair<string, string>> Fields
        {
            get
            {
                List<KeyValuePair<string, string>> fields = new List<KeyValuePair<string, string>>();
                for (int at = end; at < bytes.Length;)
                {
                    int name = BitConverter.ToInt32(bytes, at);
                    int value = BitConverter.ToInt32(bytes, at + 4);
                    at += 8;
                    fields.Add(new KeyValuePair<string, string>(Encoding.UTF8.GetString(bytes, at, name),
                        Encoding.UTF8.GetString(bytes, at + name, value)));
                    at += name + value;
                }
                if (fields.Count > 0) return fields;
                fields.Add(new KeyValuePair<string, string>("type", Type));
                fields.Add(new KeyValuePair<string, string>("origin", Origin));
                fields.Add(new KeyValuePair<string, string>("body", Body));
                return fields;
            }
        }

        /// <summary>The first field of that name; null: there is none.</summary>
        public string? Field(string name)
        {
            foreach (KeyValuePair<string, string> field in Fields)
            {
                if (field.Key == name) return field.Value;
            }
            return null;
        }

        /// <summary>How much it is, for those who bound what waits.</summary>
        internal int Size
        {
            get { return bytes.Length; }
        }

        /// <summary>When the store took it, from its id.</summary>
        public DateTimeOffset Time
        {
            get
            {
                string id = Id;
                int dash = id.IndexOf('-');
                long milliseconds;
                string digits = dash < 0 ? id : id.Substring(0, dash);
                long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out milliseconds);
                const long most = 253402300799999; // the year 9999
                return DateTimeOffset.FromUnixTimeMilliseconds(Math.Min(milliseconds, most));
            }
        }

        /// <summary>Id, type and body, for people.</summary>
        public override string ToString()
        {
            return Id + " " + Type + " " + Body;
        }
    }

    /// <summary>An event to be added.</summary>
    public sealed class AgxNewEvent
    {
        /// <summary>body: JSON text, or null for none, which listeners read as "{}".</summary>
        public AgxNewEvent(string type, string origin, string? body)
        {
            Type = type;
            Origin = origin;
            Body = body;
        }

        /// <summary>The type, 1 to 256 bytes.</summary>
        public string Type { get; }
        /// <summary>Who says it, 1 to 256 bytes.</summary>
        public string Origin { get; }
        /// <summary>JSON text, or null.</summary>
        public string? Body { get; }
    }

    /// <summary>Which session: a scope, a user, and a name of theirs.</summary>
    public struct AgxSessionId
    {
        internal AgxSessionId(long scope, long user, string id)
        {
            Scope = scope;
            User = user;
            Id = id;
        }

        /// <summary>The scope.</summary>
        public long Scope { get; }
        /// <summary>The user.</summary>
        public long User { get; }
        /// <summary>The session's own id.</summary>
        public string Id { get; }

        /// <summary>scope/user/id, as the command agx takes it.</summary>
        public override string ToString()
        {
            return Scope.ToString(CultureInfo.InvariantCulture) + "/" +
                   User.ToString(CultureInfo.InvariantCulture) + "/" + Id;
        }
    }
}
