using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;
using Agx.Native;

namespace Agx
{
    /// <summary>What C calls back: one function takes all calls, and finds by the token whose it is.
    /// Nothing is thrown through C: what a call throws is kept, and thrown on by what called C in the
    /// same thread.</summary>
    internal static class Callbacks
    {
        internal const int Handle = 0;
        internal const int Intercept = 1;
        internal const int Tell = 2;

        internal abstract class Target
        {
            /// <summary>Returns a status. What it throws is kept for the caller, who gets
            /// <see cref="AgxStatus.Failed"/>.</summary>
            internal abstract int Call(IntPtr handle, Batch.Record record, long attempt);

            /// <summary>Told of what Call threw before C is.</summary>
            internal virtual void Threw(IntPtr handle, Exception error) { }
        }

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        delegate int Function(int kind, IntPtr handle, IntPtr record, UIntPtr size, long attempt);

        // C has its address, which the collector does not see.
        static readonly Function function = Call;

        // Weak: a target belongs to the object that it is of, which its function may know; from here that
        // would never be found unused.
        static readonly Dictionary<long, WeakReference> targets = new Dictionary<long, WeakReference>();
        static long tokens;

        [ThreadStatic]
        static ExceptionDispatchInfo? thrown;

        static Callbacks()
        {
            agxnative.agxb_set_function(Marshal.GetFunctionPointerForDelegate(function));
        }

        /// <summary>An async function that returns no task goes on by itself, and what it throws ends the
        /// program.</summary>
        internal static T NotAsync<T>(T function, string instead)
        {
            Delegate? given = function as Delegate;
            if (given == null) return function;
            foreach (Delegate one in given.GetInvocationList())
            {
                if (one.Method.IsDefined(typeof(AsyncStateMachineAttribute), false))
                {
                    throw new ArgumentException("an async function without a task would not be waited for: " + instead);
                }
            }
            return function;
        }

        internal static long Register(Target target)
        {
            long token = Interlocked.Increment(ref tokens);
            lock (targets) targets[token] = new WeakReference(target);
            return token;
        }

        internal static void Forget(long token)
        {
            lock (targets) targets.Remove(token);
        }

        static Target? Find(long token)
        {
            WeakReference? found;
            lock (targets)
            {
                if (!targets.TryGetValue(token, out found)) return null;
            }
            return found == null ? null : found.Target as Target;
        }

        static int Call(int kind, IntPtr handle, IntPtr start, UIntPtr size, long attempt)
        {
            // A function may use the library, in which other functions are called and throw.
            ExceptionDispatchInfo? before = thrown;
            thrown = null;
            int status;
            ExceptionDispatchInfo? now = null;
            try
            {
                Batch.Record record;
                Batch.Parse(start, out record);
                Target? target = Find(record.Token);
                status = target == null ? 0 : Ask(target, handle, record, attempt, out now);
            }
            catch (Exception error)
            {
                now = ExceptionDispatchInfo.Capture(error);
                status = (int)AgxStatus.Failed;
            }
            thrown = before ?? now;
            return status;
        }

        static int Ask(Target target, IntPtr handle, Batch.Record record, long attempt, out ExceptionDispatchInfo? error)
        {
            error = null;
            try
            {
                return target.Call(handle, record, attempt);
            }
            catch (Exception one)
            {
                error = ExceptionDispatchInfo.Capture(one);
                target.Threw(handle, one);
                return (int)AgxStatus.Failed;
            }
        }

        /// <summary>After each call into C that may have called back: throws what that threw, if the call
        /// failed of it.</summary>
        internal static void Rethrow(int status)
        {
            ExceptionDispatchInfo? kept = thrown;
            if (kept == null) return;
            thrown = null;
            if (status == (int)AgxStatus.Failed) kept.Throw();
        }

        /// <summary>The same for who has several calls' statuses.</summary>
        internal static Exception? TakeThrown()
        {
            ExceptionDispatchInfo? kept = thrown;
            thrown = null;
            return kept == null ? null : kept.SourceException;
        }
    }
}
