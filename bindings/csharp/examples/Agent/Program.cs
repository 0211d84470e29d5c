// An agent that streams a model's answer into a session: Agent [URL]
// The model is canned here; with an HttpClient it is the response's ReadAsStreamAsync instead.
using System.Text;
using Agx;

await using AgxClient client = await AgxClient.OpenAsync(args.Length > 0 ? args[0] : "memory:");
await using AgxSession session = client.OpenSession(1, 42, "agent");
using AgxMessages messages = session.OpenMessages();

await session.ExecuteAsync(async (run, canceled) =>
{
    messages.AppendUser("What is the capital of France?");
    string request = messages.Request(AgxModelApi.OpenAIChat, """{"model":"gpt-4o-mini"}""");
    using Stream response = await CannedModelAsync(request, canceled);
    messages.Append(await run.FeedAsync(AgxModelApi.OpenAIChat, response, canceled));
}, messages, new AgxRunOptions { Coalesce = TimeSpan.FromMilliseconds(20) });

await foreach (AgxEvent e in session.ListenAsync()) Console.WriteLine($"{e.Type} {e.Body}");
Console.WriteLine($"{messages.Title}: {messages.PartField(1, 0, "content")}");

static Task<Stream> CannedModelAsync(string request, CancellationToken canceled)
{
    canceled.ThrowIfCancellationRequested();
    if (!request.Contains("France")) throw new ArgumentException("this model knows one question");
    const string Chunk = """data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"canned","choices":[{"index":0,""";
    string body = Chunk + """
        "delta":{"role":"assistant","content":"It is "}}]}


        """ + Chunk + """
        "delta":{"content":"Paris."}}]}


        """ + Chunk + """
        "delta":{},"finish_reason":"stop"}]}

        data: [DONE]


        """;
    return Task.FromResult<Stream>(new MemoryStream(Encoding.UTF8.GetBytes(body)));
}
