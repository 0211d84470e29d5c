// Measures libagx's C# binding beside what its users would otherwise use, on one Redis: see Help.
using System.Diagnostics;
using System.Globalization;
using Agx.Bench;

const string Help = """
    usage: AgxBench --url redis://HOST:PORT [--rows ROW,ROW…] [--quick]

    Measures libagx and its competitor doing the same work, in turns, and prints the median of the rounds:
    row, library, value and unit, with tabs between them. Rows:
      add1       adding one by one, each awaited
      add16      the same from 16 tasks at once
      addmany    adding 512 at a time
      replay     reading 100000 events
      latency    from adding an event to having it in another task
      listeners  10000 live listeners on as many sessions, each library in a process of its own
    The Redis has to allow as many clients as there are listeners (maxclients).

    The competitor is StackExchange.Redis, from NuGet, in the version that is asked for:
      cmake --preset bindings && cmake --build build/bindings --target agx_csharp_package
      AGX_BENCH_STACKEXCHANGE=3.4.35 dotnet run -c Release --project bench/bindings/csharp -- --url …
    Without it libagx alone is measured.
    """;

string url = "", rows = "add1,add16,addmany,replay,latency,listeners", child = "";
bool quick = false;
for (int i = 0; i < args.Length; ++i)
{
    if (args[i] == "--quick") quick = true;
    else if (args[i] == "--url" && i + 1 < args.Length) url = args[++i];
    else if (args[i] == "--rows" && i + 1 < args.Length) rows = args[++i];
    else if (args[i] == "--listeners-of" && i + 1 < args.Length) child = args[++i];
    else
    {
        bool asked = args[i] is "--help" or "-h";
        (asked ? Console.Out : Console.Error).WriteLine(Help);
        return asked ? 0 : 2;
    }
}
if (url == "")
{
    Console.Error.WriteLine(Help);
    return 2;
}

Library[] All() =>
[
    new LibAgx(),
    new LibAgxSync(),
#if STACKEXCHANGE
    new StackExchangeRedis(),
#endif
];

void Print(string row, string library, double value, string unit)
    => Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{row}\t{library}\t{value:0.#}\t{unit}"));

static double Median(List<double> values)
{
    values.Sort();
    return values[values.Count / 2];
}

if (child != "")
{
    await Listeners(All().Single(library => library.Name == child));
    return 0;
}
#if !STACKEXCHANGE
Console.Error.WriteLine("StackExchange.Redis was not asked for, and is left out; --help says how");
#endif

int events = quick ? 2000 : 20000;
int many = quick ? 51200 : 204800;
int replayed = quick ? 20000 : 100000;
foreach (string row in rows.Split(','))
{
    switch (row)
    {
        case "add1":
            await Rate(row, events, library => library.Add(events));
            break;
        case "add16":
            await Rate(row, 16 * events, library => Task.WhenAll(Enumerable.Range(0, 16).Select(n => Task.Run(() => library.Add(events)))));
            break;
        case "addmany":
            await Rate(row, many, library => library.AddMany(many, 512));
            break;
        case "replay":
            await Rate(row, replayed, async library =>
            {
                // begin, or what a stream began with, is among them.
                long bytes = await library.Replay(replayed);
                if (bytes < (long)(replayed - 1) * Library.Body.Length) throw new InvalidOperationException($"{library.Name} lost events");
            }, library => library.AddMany(replayed + 512, 512));
            break;
        case "latency":
            await InTurns(row, "µs", async library => Median(await library.Latency(quick ? 50 : 300)));
            break;
        case "listeners":
            foreach (Library library in All()) await Child(library.Name);
            break;
        default:
            Console.Error.WriteLine($"there is no row {row}");
            return 2;
    }
}
return 0;

// Each library in its turn, in so many rounds, behind a second of each that does not count: what runs for
// hours is compiled.
async Task InTurns(string row, string unit, Func<Library, Task<double>> measure, Func<Library, Task>? prepare = null)
{
    Library[] libraries = All();
    var measured = libraries.ToDictionary(library => library, library => new List<double>());
    foreach (Library library in libraries)
    {
        await library.Open(url);
        if (prepare != null) await prepare(library);
        var warmUp = Stopwatch.StartNew();
        do await measure(library);
        while (warmUp.Elapsed < TimeSpan.FromSeconds(1));
    }
    for (int round = 0; round < 5; ++round)
    {
        foreach (Library library in libraries)
        {
            GC.Collect();
            measured[library].Add(await measure(library));
        }
    }
    foreach (Library library in libraries)
    {
        Print(row, library.Name, Median(measured[library]), unit);
        await library.DisposeAsync();
    }
}

Task Rate(string row, int count, Func<Library, Task> work, Func<Library, Task>? prepare = null) => InTurns(row, "events/s", async library =>
{
    var clock = Stopwatch.StartNew();
    await work(library);
    return count / clock.Elapsed.TotalSeconds;
}, prepare);

async Task Child(string library)
{
    if (library == "libagx-sync") return; // a thread each, or AgxMux
    string[] arguments = ["--url", url, "--listeners-of", library];
    // Itself, whether it was started by the runtime's host or not.
    string self = Environment.ProcessPath!;
    if (Path.GetFileNameWithoutExtension(self) == "dotnet") arguments = [typeof(Library).Assembly.Location, .. arguments];
    if (quick) arguments = [.. arguments, "--quick"];
    using Process process = Process.Start(self, arguments);
    await process.WaitForExitAsync();
    if (process.ExitCode != 0) throw new InvalidOperationException($"the listeners of {library} failed");
}

async Task Listeners(Library library)
{
    // Of one that has a connection and more for each, fewer tell as much.
    int count = library is LibAgx ? 10000 : 1000;
    if (quick) count /= 10;
    (long memory, int threads, int sockets) = Now();
    await using Listening listening = await library.Listen(url, count);
    await listening.AddToEach();
    (long memoryThen, int threadsThen, int socketsThen) = Now();
    string of = $", {count} listeners";
    Print("listeners-connections", library.Name, socketsThen - sockets, "connections" + of);
    Print("listeners-memory", library.Name, (double)(memoryThen - memory) / count, "bytes/listener" + of);
    Print("listeners-threads", library.Name, threadsThen - threads, "threads" + of);
    var rates = new List<double>();
    for (int round = 0; round < 5; ++round)
    {
        var clock = Stopwatch.StartNew();
        await listening.AddToEach();
        rates.Add(count / clock.Elapsed.TotalSeconds);
    }
    Print("listeners", library.Name, Median(rates), "events/s" + of);
}

static (long Memory, int Threads, int Sockets) Now()
{
    GC.Collect();
    GC.WaitForPendingFinalizers();
    string line = File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
    long memory = long.Parse(string.Concat(line.Where(char.IsDigit)), CultureInfo.InvariantCulture) * 1024;
    int sockets = 0;
    foreach (string file in Directory.GetFiles("/proc/self/fd"))
    {
        if (new FileInfo(file).LinkTarget is string target && target.StartsWith("socket:", StringComparison.Ordinal)) ++sockets;
    }
    return (memory, Directory.GetDirectories("/proc/self/task").Length, sockets);
}
