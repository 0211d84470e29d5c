using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Agx
{
    /// <summary>Texts on their way into C and out of it: UTF-8, with a NUL behind them on the way
    /// in.</summary>
    internal static class Text
    {
        internal static readonly UTF8Encoding Strict = new UTF8Encoding(false, true);

        /// <summary>null stays null. What cannot be said in C is refused.</summary>
        internal static byte[]? Encode(string? text, string what)
        {
            if (text == null) return null;
            if (text.IndexOf('\0') >= 0) throw HasNul(what);
            try
            {
                byte[] bytes = new byte[Strict.GetByteCount(text) + 1];
                Strict.GetBytes(text, 0, text.Length, bytes, 0);
                return bytes;
            }
            catch (EncoderFallbackException)
            {
                throw HasHalf(what);
            }
        }

        /// <summary>As Encode, of what may not be null.</summary>
        internal static byte[] EncodeGiven(string text, string what)
        {
            if (text == null) throw new ArgumentNullException(what);
            return Encode(text, what) ?? new byte[1];
        }

        /// <summary>Bytes that are UTF-8 already.</summary>
        internal static byte[]? Encode(byte[]? text, string what)
        {
            if (text == null) return null;
            if (Array.IndexOf(text, (byte)0) >= 0) throw HasNul(what);
            try
            {
                Strict.GetCharCount(text);
            }
            catch (DecoderFallbackException)
            {
                throw Invalid(what + " is not UTF-8");
            }
            byte[] bytes = new byte[text.Length + 1];
            Buffer.BlockCopy(text, 0, bytes, 0, text.Length);
            return bytes;
        }

        /// <summary>Words for people, which are carried as far as they can be.</summary>
        internal static byte[] Lossy(string text)
        {
            return Encoding.UTF8.GetBytes(text.Replace('\0', '\uFFFD') + "\0");
        }

        internal static AgxException Invalid(string message)
        {
            return AgxException.Of(AgxStatus.Invalid, message);
        }

        internal static AgxException HasNul(string what)
        {
            return Invalid(what + " has a U+0000, which libagx cannot carry");
        }

        internal static AgxException HasHalf(string what)
        {
            return Invalid(what + " has half of a surrogate pair");
        }

        /// <summary>A text of C's that ends with a NUL. What is not UTF-8 becomes U+FFFD.</summary>
        internal static string Read(IntPtr text)
        {
            if (text == IntPtr.Zero) return "";
            int length = 0;
            while (Marshal.ReadByte(text, length) != 0) ++length;
            return Read(text, (ulong)length);
        }

        internal static string Read(IntPtr text, ulong length)
        {
            return Encoding.UTF8.GetString(ReadBytes(text, length));
        }

        internal static byte[] ReadBytes(IntPtr text, ulong length)
        {
            byte[] bytes = new byte[checked((int)length)];
            if (bytes.Length > 0) Marshal.Copy(text, bytes, 0, bytes.Length);
            return bytes;
        }

        /// <summary>A text that C wrote into room of ours.</summary>
        internal static string Read(byte[] room, int offset)
        {
            int end = Array.IndexOf(room, (byte)0, offset);
            return Encoding.UTF8.GetString(room, offset, (end < 0 ? room.Length : end) - offset);
        }

        /// <summary>Milliseconds: rounded up, so that a short time is not none; negative is without
        /// end.</summary>
        internal static long Milliseconds(TimeSpan time)
        {
            if (time < TimeSpan.Zero) return -1;
            return time == TimeSpan.MaxValue ? -1 : (long)Math.Ceiling(time.TotalMilliseconds);
        }

        /// <summary>Packs ids as agxb_group_ack and its like take them.</summary>
        internal static byte[] PackIds(IEnumerable<string> ids, out ulong count)
        {
            if (ids == null) throw new ArgumentNullException("ids");
            List<byte> packed = new List<byte>();
            count = 0;
            foreach (string id in ids)
            {
                packed.AddRange(EncodeGiven(id, "id"));
                ++count;
            }
            return packed.ToArray();
        }
    }

    /// <summary>An event to be added, checked and encoded; each text with its NUL.</summary>
    internal struct Packed
    {
        internal byte[] Type;
        internal byte[] Origin;
        internal byte[]? Body;

        internal Packed(string type, string origin, byte[]? body)
        {
            Type = Text.EncodeGiven(type, "type");
            Origin = Text.EncodeGiven(origin, "origin");
            Body = body;
        }

        internal long Size
        {
            get { return 12L + Type.Length + Origin.Length + (Body == null ? 1 : Body.Length); }
        }
    }
}
