using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Agx.Native;

namespace Agx
{
    /// <summary>An event that is to be added; done when it is known what became of it.</summary>
    internal sealed class Adding : Job<string>
    {
        internal readonly Packed Event;

        internal Adding(Packed one, CancellationToken token, bool continuesHere) : base(token, continuesHere)
        {
            Event = one;
        }
    }

    /// <summary>What a session has queued, in its order: events, and calls that are not to overtake
    /// them. One thread at a time has it.</summary>
    internal sealed class AddQueue
    {
        internal readonly AgxSession Session;
        readonly Queue<object> items = new(); // Adding, or Call
        bool busy;
        bool closed;

        sealed record Call(Action Run, Action<Exception> Refuse);

        internal AddQueue(AgxSession session)
        {
            Session = session;
        }

        /// <summary>Whether nothing is before what would be queued now.</summary>
        internal bool IsIdle
        {
            get { lock (items) return !busy; }
        }

        internal Task<string> Add(Adder adder, Packed packed, CancellationToken token)
        {
            Adding one;
            lock (items)
            {
                // Of those that go together, one.
                one = new Adding(packed, token, continuesHere: !busy && !closed);
                if (!TryQueue(one)) return one.Task;
            }
            adder.Push(this);
            return one.Task;
        }

        /// <summary>A call that goes alone, and gives the queue back by <see cref="GoOn"/>.</summary>
        /// <param name="adder">The client's.</param>
        /// <param name="run">Makes it.</param>
        /// <param name="refuse">Fails it; it is not made then.</param>
        internal void Add(Adder adder, Action run, Action<Exception> refuse)
        {
            lock (items)
            {
                if (!TryQueue(new Call(run, refuse))) return;
            }
            adder.Push(this);
        }

        // false: nobody has to be told of the queue.
        bool TryQueue(object item)
        {
            if (closed)
            {
                Refuse(item);
                return false;
            }
            items.Enqueue(item);
            if (busy) return false;
            busy = true;
            return true;
        }

        static void Refuse(object item)
        {
            Exception error = AgxException.Closed("session");
            if (item is Call call)
            {
                call.Refuse(error);
            }
            else if (item is Adding one && one.Take())
            {
                one.Keep(error);
                one.CompleteElsewhere();
            }
        }

        /// <summary>The session was disposed of. Who has something of it in hand goes on with that.</summary>
        internal void Close()
        {
            lock (items)
            {
                closed = true;
                while (items.TryDequeue(out object? item)) Refuse(item);
            }
        }

        /// <summary>The call that comes next, if one does.</summary>
        internal Action? TakeCall()
        {
            lock (items)
            {
                if (!items.TryPeek(out object? first) || first is not Call call) return null;
                items.Dequeue();
                return call.Run;
            }
        }

        /// <summary>Events up to the next call, without those that were cancelled before their
        /// turn.</summary>
        internal void Take(List<Adding> into, int most, long mostBytes)
        {
            lock (items)
            {
                long size = 0;
                int end = into.Count + most;
                while (into.Count < end && size < mostBytes && items.TryPeek(out object? first) && first is Adding one)
                {
                    items.Dequeue();
                    if (!one.Take()) continue;
                    into.Add(one);
                    size += one.Event.Size;
                }
            }
        }

        /// <summary>After what was taken has been settled.</summary>
        internal void GoOn(Adder adder)
        {
            lock (items)
            {
                busy = items.Count > 0;
                if (!busy) return;
            }
            adder.Push(this);
        }
    }

    /// <summary>Adds what a client's sessions have queued: of all that wait, as much as fits into one
    /// call. So few threads wait for the store, however many sessions there are.</summary>
    internal sealed class Adder
    {
        const int MostRounds = 4;
        const int MostEvents = 1024;
        const long MostBytes = 1 << 20;

        readonly Workers workers;
        readonly object gate = new();
        readonly Queue<AddQueue> ready = new();
        int rounds;

        internal Adder(Workers workers)
        {
            this.workers = workers;
        }

        /// <summary>One that no thread has, and that is not empty.</summary>
        internal void Push(AddQueue queue)
        {
            lock (gate)
            {
                ready.Enqueue(queue);
                if (rounds == MostRounds) return;
                ++rounds;
            }
            workers.Post(Round);
        }

        void Round()
        {
            var queues = new List<AddQueue>();
            var ends = new List<int>(); // of each queue's events
            var events = new List<Adding>();
            Action? call = Take(queues, ends, events);
            // With nothing else to do, this thread makes it; else it would wait for events, and for who awaits them.
            if (call != null && events.Count > 0)
            {
                workers.Post(call);
                call = null;
            }
            Adding? last = null;
            if (queues.Count == 1) last = queues[0].Session.AddNow(events);
            else if (events.Count > 0) last = AddEach(queues, ends, events);
            foreach (AddQueue queue in queues) queue.GoOn(this);
            bool more;
            lock (gate)
            {
                more = ready.Count > 0;
                if (!more) --rounds;
            }
            if (more) workers.Post(Round);
            if (last != null) workers.Complete(last);
            call?.Invoke();
        }

        // The first call that was found; the others are on their way.
        Action? Take(List<AddQueue> queues, List<int> ends, List<Adding> events)
        {
            Action? first = null;
            lock (gate)
            {
                long size = 0;
                while (events.Count < MostEvents && size < MostBytes && ready.TryDequeue(out AddQueue? queue))
                {
                    if (queue.TakeCall() is Action call)
                    {
                        if (first == null) first = call;
                        else workers.Post(call);
                        continue;
                    }
                    // A function of the user's is called, for which the others do not wait.
                    if (queue.Session.IsIntercepted)
                    {
                        workers.Post(() => Alone(queue));
                        continue;
                    }
                    int begin = events.Count;
                    queue.Take(events, MostEvents - begin, MostBytes - size);
                    for (int i = begin; i < events.Count; ++i) size += events[i].Event.Size;
                    queues.Add(queue);
                    ends.Add(events.Count);
                }
            }
            return first;
        }

        void Alone(AddQueue queue)
        {
            var events = new List<Adding>();
            queue.Take(events, MostEvents, MostBytes);
            Adding? last = queue.Session.AddNow(events);
            queue.GoOn(this);
            if (last != null) workers.Complete(last);
        }

        // Events of several sessions, each of which fares by itself.
        static Adding AddEach(List<AddQueue> queues, List<int> ends, List<Adding> events)
        {
            try
            {
                AddEachNow(queues, ends, events);
            }
            catch (Exception error)
            {
                foreach (Adding one in events) one.Keep(error);
            }
            return AgxSession.CompleteAllButOne(events);
        }

        static void AddEachNow(List<AddQueue> queues, List<int> ends, List<Adding> events)
        {
            var sessions = new byte[events.Count * sizeof(long)];
            var statuses = new byte[events.Count * sizeof(int)];
            var ids = new byte[events.Count * AgxSession.IdSize];
            var owners = new AgxSession[events.Count];
            using var packed = new PackedEvents();
            foreach (Adding one in events) packed.Add(one.Event);
            var uses = new List<Use>();
            int status;
            AgxException? error;
            try
            {
                for (int i = 0, queue = -1; i < events.Count; ++i)
                {
                    while (queue < 0 || i >= ends[queue]) uses.Add(queues[++queue].Session.TryEnter());
                    owners[i] = queues[queue].Session;
                    // One that was disposed of is none: tried alone it is told.
                    BitConverter.TryWriteBytes(sessions.AsSpan(i * sizeof(long)), uses[queue].Number.ToInt64());
                }
                status = agxnative.agxb_add_each(sessions, (ulong)sessions.Length, packed.Bytes, packed.Size, (ulong)events.Count, ids, statuses);
                error = status == 0 ? null : AgxException.Last(status);
            }
            finally
            {
                foreach (Use use in uses) use.Dispose();
            }
            GC.KeepAlive(owners);
            Exception? thrown = Callbacks.TakeThrown();
            for (int i = 0; i < events.Count; ++i)
            {
                int own = BitConverter.ToInt32(statuses, i * sizeof(int));
                if (own == 0) events[i].Keep(Text.Read(ids, i * AgxSession.IdSize));
                // It is itself at fault, and was not written: tried alone it is told why.
                else if (IsOfOne((AgxStatus)own)) owners[i].AddOne(events[i]);
                else if (thrown != null && own == (int)AgxStatus.Failed) events[i].Keep(thrown);
                else events[i].Keep(AgxException.Of((AgxStatus)own, own == status && error != null ? error.Message : ""));
            }
        }

        static bool IsOfOne(AgxStatus status)
        {
            return status is AgxStatus.Invalid or AgxStatus.BadJson or AgxStatus.TooBig or AgxStatus.Unsupported or AgxStatus.TakenOver;
        }
    }
}
