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

        internal struct Record
        {
            internal int Kind;
            internal int Status;
            internal long Token;
            internal AgxEvent? Value;
            internal string Message;
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
            IntPtr start = new IntPtr(data.ToInt64() + offset);
            record.Kind = Marshal.ReadInt32(start);
            record.Status = Marshal.ReadInt32(start, 4);
            record.Token = Marshal.ReadInt64(start, 8);
            int id = Marshal.ReadInt32(start, 16);
            int type = Marshal.ReadInt32(start, 20);
            int origin = Marshal.ReadInt32(start, 24);
            int body = Marshal.ReadInt32(start, 28);
            byte[] bytes = new byte[checked(id + type + origin + body)];
            if (bytes.Length > 0) Marshal.Copy(new IntPtr(start.ToInt64() + Header), bytes, 0, bytes.Length);
            offset = (offset + Header + bytes.Length + 7) & ~7L;
            offset = (offset + Marshal.ReadInt32(start, 32) + 7) & ~7L;
            if (record.Kind == Event) record.Value = new AgxEvent(bytes, id, type, origin);
            else record.Message = System.Text.Encoding.UTF8.GetString(bytes);
            return true;
        }
    }
}
