// One of any number of workers who share a session's events: Workers URL SCOPE USER SESSION GROUP [NAME]
// Each event is done by one of them, and by another if that one dies. What fails three times becomes a
// dead letter, and is told of at the end. A worker that is started again under its name goes on with what
// it had. It ends with Ctrl-C, or when nothing came for a while.
using System.Text.Json;
using Agx;

if (args.Length < 5 || !long.TryParse(args[1], out long scope) || !long.TryParse(args[2], out long user))
{
    Console.Error.WriteLine("usage: Workers URL SCOPE USER SESSION GROUP [NAME]");
    return 2;
}

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, e) =>
{
    e.Cancel = true;
    stop.Cancel();
};

await using AgxClient client = await AgxClient.OpenAsync(args[0]);
await using AgxSession session = client.OpenSession(scope, user, args[3]);
await using AgxGroup group = await session.OpenGroupAsync(args[4], new AgxGroupOptions { Consumer = args.ElementAtOrDefault(5) });
var options = new AgxProcessOptions
{
    MaxRetries = 3,
    ClaimIdle = TimeSpan.FromMinutes(1),
    Timeout = TimeSpan.FromSeconds(3),
    OnFailure = (e, attempt, error) =>
    {
        Console.Error.WriteLine($"{e.Id}, attempt {attempt}: {error.Message}");
        // No attempt helps here, and the events are to stay.
        if (error is UnauthorizedAccessException) throw error;
    },
};

int status = 0;
try
{
    await group.ProcessAsync(Handle, options, stop.Token);
}
catch (OperationCanceledException)
{
    status = 130;
}
catch (AgxUnavailableException error)
{
    Console.Error.WriteLine(error.Message);
    status = 3;
}
foreach (AgxDeadLetter letter in await group.DeadLettersAsync())
{
    Console.WriteLine($"dead: {letter.Event.Body}: {letter.Reason}");
}
return status;

// It may be called twice with an event, if its acknowledgement was lost.
static async Task Handle(AgxEvent e, long attempt)
{
    if (e.Type != "task") return;
    JsonElement task = e.GetBody();
    if (!task.TryGetProperty("say", out JsonElement say)) throw new InvalidOperationException("there is nothing to say");
    await Console.Out.WriteLineAsync($"done: {say.GetString()}");
}
