using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;

namespace Agx
{
    /// <summary>Events as agxb_add_many and its like take them, checked and encoded one behind the other
    /// into one buffer.</summary>
    internal sealed class PackedEvents : IDisposable
    {
        const int Numbers = 3 * sizeof(int);
        const int LargestKept = 1 << 20;
        const int LargestArray = 0x7FFFFFC7;

        // For whoever packs next.
        static byte[]? spare;

        byte[] buffer;
        int size;

        internal PackedEvents()
        {
            buffer = Interlocked.Exchange(ref spare, null) ?? new byte[4096];
        }

        internal PackedEvents(IEnumerable<AgxNewEvent> events) : this()
        {
            if (events == null) throw new ArgumentNullException("events");
            foreach (AgxNewEvent one in events)
            {
                if (one == null) throw new ArgumentException("an event is null", "events");
                Add(one);
            }
        }

        internal int Count { get; private set; }

        /// <summary>What is behind the size means nothing.</summary>
        internal byte[] Bytes
        {
            get { return buffer; }
        }

        internal ulong Size
        {
            get { return (ulong)size; }
        }

        void Add(AgxNewEvent one)
        {
            if (one.Type == null) throw new ArgumentNullException("type");
            if (one.Origin == null) throw new ArgumentNullException("origin");
            int start = size;
            Reserve(Numbers);
            size += Numbers;
            int type = Put(one.Type, "type");
            int origin = Put(one.Origin, "origin");
            int body = Put(one.Body ?? "", "body");
            PutNumbers(start, type, origin, one.Body == null ? -1 : body);
            ++Count;
        }

        internal void Add(Packed one)
        {
            int start = size;
            Reserve(one.Size);
            size += Numbers;
            Put(one.Type);
            Put(one.Origin);
            if (one.Body == null) buffer[size++] = 0;
            else Put(one.Body);
            PutNumbers(start, one.Type.Length - 1, one.Origin.Length - 1, one.Body == null ? -1 : one.Body.Length - 1);
            ++Count;
        }

        // Answers how long it is, without its NUL.
        int Put(string text, string what)
        {
            if (text.IndexOf('\0') >= 0) throw Text.HasNul(what);
            try
            {
                // Counted only where it may not fit.
                if (buffer.Length - size <= 3L * text.Length) Reserve(Text.Strict.GetByteCount(text) + 1L);
                int length = Text.Strict.GetBytes(text, 0, text.Length, buffer, size);
                size += length;
                buffer[size++] = 0;
                return length;
            }
            catch (EncoderFallbackException)
            {
                throw Text.HasHalf(what);
            }
        }

        void Put(byte[] bytes)
        {
            Buffer.BlockCopy(bytes, 0, buffer, size, bytes.Length);
            size += bytes.Length;
        }

        void PutNumbers(int at, int type, int origin, int body)
        {
            Put(at, type);
            Put(at + sizeof(int), origin);
            Put(at + 2 * sizeof(int), body);
        }

        void Put(int at, int number)
        {
            buffer[at] = (byte)number;
            buffer[at + 1] = (byte)(number >> 8);
            buffer[at + 2] = (byte)(number >> 16);
            buffer[at + 3] = (byte)(number >> 24);
        }

        void Reserve(long more)
        {
            long wanted = size + more;
            if (wanted <= buffer.Length) return;
            if (wanted > LargestArray) throw AgxException.Of(AgxStatus.TooBig, "the events are larger than 2 GiB together");
            Array.Resize(ref buffer, (int)Math.Min(LargestArray, Math.Max(wanted, 2L * buffer.Length)));
        }

        /// <summary>Nobody uses its bytes any more.</summary>
        public void Dispose()
        {
            if (buffer.Length <= LargestKept) Volatile.Write(ref spare, buffer);
        }
    }
}
