// A producer, a listener that joins late, and a cancel: QuickStart [URL]
using Agx;

await using AgxClient client = await AgxClient.OpenAsync(args.Length > 0 ? args[0] : "memory:");
await using AgxSession session = client.OpenSession(1, 42, "quick start");

await session.StartAsync();
Task producing = ProduceAsync(session);
await session.AddAsync("info", "main", """{"msg":"a listener joins"}""");

int progress = 0;
await foreach (AgxEvent e in session.ListenAsync())
{
    Console.WriteLine($"{e.Type} {e.Body}");
    // Anyone may cancel, from anywhere; here it is the listener.
    if (e.Type == "progress" && ++progress == 3) await session.CancelAsync();
}
await producing;

static async Task ProduceAsync(AgxSession session)
{
    using var canceled = new CancellationTokenSource();
    Task watching = session.WaitCanceledAsync().ContinueWith(_ => canceled.Cancel(), TaskScheduler.Default);
    try
    {
        for (int n = 1; ; ++n)
        {
            await session.AddJsonAsync("progress", "producer", new { n });
            await Task.Delay(50, canceled.Token);
        }
    }
    catch (OperationCanceledException)
    {
        await session.AddAsync("info", "producer", """{"msg":"canceled"}""");
    }
    await session.StopAsync();
    await watching;
}
