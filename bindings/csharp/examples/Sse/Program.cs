// Serves sessions as server-sent events: Sse [URL] [--urls http://127.0.0.1:8080]
// GET /sessions/SCOPE/USER/SESSION; a browser's EventSource sends Last-Event-ID when it comes back, and
// gets what came behind it; 204, which ends its coming back, if the session is over and it has all.
using Agx;

WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
await using AgxClient client = await AgxClient.OpenAsync(args.Length > 0 && !args[0].StartsWith("--") ? args[0] : null);
await using WebApplication app = builder.Build();

app.MapGet("/sessions/{scope:long}/{user:long}/{id}", async (long scope, long user, string id, HttpContext context) =>
{
    CancellationToken gone = context.RequestAborted;
    string? last = context.Request.Headers["Last-Event-ID"];
    await using AgxSession session = client.OpenSession(scope, user, id);
    AgxListener opened;
    try
    {
        opened = await session.OpenListenerAsync(new()
        {
            After = last,
            HandOnEnd = true,
            Timeout = TimeSpan.FromSeconds(15),
        }, gone);
        if (last != null && !await session.IsLiveAsync(gone) && (await session.HistoryAsync(new() { After = last, Count = 1 }, gone)).Count == 0)
        {
            opened.Dispose();
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }
    }
    catch (AgxInvalidException error)
    {
        context.Response.StatusCode = StatusCodes.Status400BadRequest;
        await context.Response.WriteAsync(error.Message, gone);
        return;
    }
    await using AgxListener listener = opened;

    context.Response.ContentType = "text/event-stream";
    context.Response.Headers.CacheControl = "no-store";
    await context.Response.Body.FlushAsync(gone);
    try
    {
        for (;;)
        {
            try
            {
                await foreach (AgxEvent e in listener.ReadAllAsync(gone))
                {
                    // A type of another program's may have anything in it.
                    string type = e.Type.ReplaceLineEndings(" ");
                    string data = e.Body.ReplaceLineEndings("\ndata: ");
                    await context.Response.WriteAsync($"id: {e.Id}\nevent: {type}\ndata: {data}\n\n", gone);
                    await context.Response.Body.FlushAsync(gone);
                }
                return;
            }
            catch (AgxSilentException)
            {
                // So that whoever is in between keeps the connection.
                await context.Response.WriteAsync(":\n\n", gone);
                await context.Response.Body.FlushAsync(gone);
            }
            catch (AgxGapException)
            {
                await context.Response.WriteAsync("event: gap\ndata: {}\n\n", gone);
            }
        }
    }
    catch (AgxException error)
    {
        // EventSource comes back by itself; a client of another kind sees why.
        await context.Response.WriteAsync($"event: failed\ndata: {error.Status}\n\n", gone);
    }
    catch (OperationCanceledException)
    {
    }
});

await app.RunAsync();
