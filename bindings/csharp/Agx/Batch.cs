using System;
using System.Runtime.InteropServices;
using Agx.Native;
using Microsoft.Win32.SafeHandles;

namespace Agx
{
    /// <summary>Many events or outcomes that cross from C at once. For one thread at a time; whoever has
    /// it sees to that.</summary>
    internal sealed class Batch : SafeHandleZeroOrMinusOneIsInvalid
    {
        internal const int Event = 0;
        internal const int Outcome = 1;
        internal const int MuxOutcome = 2;

        const int Header = 40;

        /// <summary>Small, as events are many: what they do not have is elsewhere.</summary>
        internal struct Record
        {
            internal int Kind;
            internal int Status;
            internal long Token;
            internal AgxEvent? Value;
            Rest? rest;

            internal string Message
            {
                get { return rest == null ? "" : rest.Message; }
            }

            internal string EntryId
            {
                get { return rest == null ? "" : rest.EntryId; }
            }

            /// <summary>Of what tells of something: its texts, and its numbers.</summary>
            internal AgxEvent? Texts
            {
                get { return rest == null ? null : rest.Texts; }
            }

            internal long[] Numbers
            {
                get { return rest == null ? NoNumbers : rest.Numbers; }
            }

            internal void Say(string message, string entryId)
            {
                rest = new Rest { Message = message, EntryId = entryId };
            }

            internal void Tell(AgxEvent texts, long[] numbers)
            {
                rest = new Rest { Texts = texts, Numbers = numbers };
            }

            /// <summary>What an outcome is to whoever asked.</summary>
            internal AgxException Error()
            {
                AgxException error = AgxException.Of((AgxStatus)Status, Message);
                error.SetEntry(EntryId);
                return error;
            }
        }

        sealed class Rest
        {
            internal string Message = "";
            internal string EntryId = "";
            internal AgxEvent? Texts;
            internal long[] Numbers = NoNumbers;
        }

        IntPtr at;
        IntPtr data;
        long offset;
        ulong left;

        internal Batch() : base(true)
        {
            SetHandle(agxnative.agxb_batch_new());
            if (IsInvalid) throw AgxException.Of(AgxStatus.NoMemory, "out of memory");
            at = handle;
        }

        internal IntPtr Number
        {
            get { return at; }
        }

        protected override bool ReleaseHandle()
        {
            agxnative.agxb_batch_free(handle);
            return true;
        }

        /// <summary>After C has filled it.</summary>
        internal void Rewind()
        {
            data = agxnative.agxb_batch_data(at);
            left = agxnative.agxb_batch_count(at);
            offset = 0;
        }

        internal ulong Count
        {
            get { return left; }
        }

        internal bool Read(out Record record)
        {
            record = default(Record);
            if (left == 0) return false;
            --left;
            offset += Parse(new IntPtr(data.ToInt64() + offset), out record);
            return true;
        }

        /// <summary>One record, wherever it lies. Answers how far it is to the next.</summary>
        internal static long Parse(IntPtr start, out Record record)
        {
            record = default(Record);
            record.Kind = Marshal.ReadInt32(start);
            record.Status = Marshal.ReadInt32(start, 4);
            record.Token = Marshal.ReadInt64(start, 8);
            int id = Marshal.ReadInt32(start, 16);
            int type = Marshal.ReadInt32(start, 20);
            int origin = Marshal.ReadInt32(start, 24);
            int body = Marshal.ReadInt32(start, 28);
            int extra = Marshal.ReadInt32(start, 32);
            int texts = checked(id + type + origin + body);
            long end = Header + (long)texts;
            long extraAt = extra == 0 ? end : Aligned(end);
            int kept = record.Kind == Event ? extra : 0;
            byte[] bytes = new byte[checked(texts + kept)];
            if (texts > 0) Marshal.Copy(new IntPtr(start.ToInt64() + Header), bytes, 0, texts);
            if (kept > 0) Marshal.Copy(new IntPtr(start.ToInt64() + extraAt), bytes, texts, kept);
            if (record.Kind == Event)
            {
                record.Value = new AgxEvent(bytes, id, type, origin, body);
            }
            else if (record.Kind == Outcome || record.Kind == MuxOutcome)
            {
                record.Say(System.Text.Encoding.UTF8.GetString(bytes, texts - body, body), System.Text.Encoding.UTF8.GetString(bytes, 0, id));
            }
            else
            {
                record.Tell(new AgxEvent(bytes, id, type, origin, body), ReadNumbers(new IntPtr(start.ToInt64() + extraAt), extra / 8));
            }
            return Aligned(extraAt + extra);
        }

        static readonly long[] NoNumbers = new long[0];

        static long[] ReadNumbers(IntPtr at, int count)
        {
            if (count == 0) return NoNumbers;
            long[] numbers = new long[count];
            Marshal.Copy(at, numbers, 0, count);
            return numbers;
        }

        static long Aligned(long size)
        {
            return (size + 7) & ~7L;
        }
    }
}
