using System;
using System.Globalization;
using System.Text;

namespace Agx
{
    /// <summary>One event of a session. It does not change, and may be read by any thread.</summary>
    public sealed partial class AgxEvent
    {
        // The four texts, one behind the other.
        readonly byte[] bytes;
        readonly int type;
        readonly int origin;
        readonly int body;

        internal AgxEvent(byte[] bytes, int id, int type, int origin)
        {
            this.bytes = bytes;
            this.type = id;
            this.origin = id + type;
            body = id + type + origin;
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
            get { return Encoding.UTF8.GetString(bytes, body, bytes.Length - body); }
        }

        /// <summary>A copy of the body's bytes, which are UTF-8.</summary>
        public byte[] BodyBytes()
        {
            byte[] copy = new byte[bytes.Length - body];
            Buffer.BlockCopy(bytes, body, copy, 0, copy.Length);
            return copy;
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
