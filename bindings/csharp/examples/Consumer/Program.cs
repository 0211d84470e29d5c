// A consumer that loses nothing whatever happens: Consumer URL SCOPE USER SESSION [FILE]
// It keeps where it is in a file, and goes on there when it is started again.
using Agx;

if (args.Length < 4 || !long.TryParse(args[1], out long scope) || !long.TryParse(args[2], out long user))
{
    Console.Error.WriteLine("usage: Consumer URL SCOPE USER SESSION [FILE]");
    return 2;
}
string file = args.Length > 4 ? args[4] : "position";

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stop.Cancel();
};

await using AgxClient client = await AgxClient.OpenAsync(args[0]);
await using AgxSession session = client.OpenSession(scope, user, args[3]);
await using AgxListener listener = await session.OpenListenerAsync(new AgxListenOptions
{
    After = File.Exists(file) ? await File.ReadAllTextAsync(file) : null,
});

for (;;)
{
    try
    {
        await foreach (AgxEvent e in listener.ReadAllAsync(stop.Token))
        {
            Console.WriteLine($"{e.Type} {e.Body}");
            // First what is to be done with it, then the position: it may be done twice, and is done.
            await File.WriteAllTextAsync(file, listener.Position);
        }
        return 0;
    }
    catch (OperationCanceledException)
    {
        return 130;
    }
    catch (AgxGapException)
    {
        Console.Error.WriteLine("events in between are missing");
    }
    catch (AgxSilentException)
    {
        Console.Error.WriteLine("still waiting");
    }
    catch (AgxUnavailableException error)
    {
        Console.Error.WriteLine(error.Message);
        await Task.Delay(1000);
    }
    catch (AgxAbsentException)
    {
        Console.Error.WriteLine("there is no such session");
        return 1;
    }
    catch (AgxGoneException)
    {
        Console.Error.WriteLine("its producer is gone");
        return 8;
    }
}
