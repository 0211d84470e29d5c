#nullable enable
using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Xunit;

namespace Agx.Tests;

/// <summary>The examples, as programs.</summary>
public sealed class ExampleTests(Stores stores) : IClassFixture<Stores>
{
    static readonly TimeSpan Long = TimeSpan.FromSeconds(60);

    // Built beside these tests, in the same configuration.
    static Process Start(string example, params string[] arguments)
    {
        string configuration = Path.GetFileName(AppContext.BaseDirectory.TrimEnd('/'));
        string bin = Path.Combine(AppContext.BaseDirectory, "..", "..");
        string host = Environment.ProcessPath is string path && Path.GetFileName(path) == "dotnet" ? path : "dotnet";
        var start = new ProcessStartInfo(host) { RedirectStandardOutput = true };
        start.ArgumentList.Add(Path.Combine(bin, example, configuration, example + ".dll"));
        foreach (string argument in arguments) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    static async Task<string> Run(string example, params string[] arguments)
    {
        using Process process = Start(example, arguments);
        try
        {
            string output = await process.StandardOutput.ReadToEndAsync().WaitAsync(Long);
            await process.WaitForExitAsync().WaitAsync(Long);
            Assert.Equal(0, process.ExitCode);
            return output;
        }
        finally
        {
            if (!process.HasExited) process.Kill();
        }
    }

    [Theory, MemberData(nameof(Stores.All), MemberType = typeof(Stores))]
    public async Task QuickStart(string store)
    {
        string output = await Run("QuickStart", stores.Url(store));
        Assert.StartsWith("begin {\"session_id\": \"quick start\"}\n", output);
        Assert.Contains("progress {\"n\":3}\n", output);
        Assert.EndsWith("info {\"msg\":\"canceled\"}\n", output);
    }

    [Theory, MemberData(nameof(Stores.All), MemberType = typeof(Stores))]
    public async Task Agent(string store)
    {
        Assert.EndsWith("What is the capital of France?: It is Paris.\n", await Run("Agent", stores.Url(store)));
    }

    [Fact]
    public async Task Consumer()
    {
        string file = Path.GetTempFileName();
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url("redis"));
        await using AgxSession session = client.OpenSession(1, 42, "consumed");
        await session.StartAsync();
        await session.AddAsync("info", "test", "1");
        // As if it had been stopped behind the begin.
        File.WriteAllText(file, (await session.HistoryAsync())[0].Id);
        await session.StopAsync(TimeSpan.FromMinutes(1));
        Assert.Equal("info 1\n", await Run("Consumer", stores.Url("redis"), "1", "42", "consumed", file));
        Assert.Equal("", await Run("Consumer", stores.Url("redis"), "1", "42", "consumed", file));
        File.Delete(file);
    }

    [Fact]
    public async Task Workers()
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url("redis"));
        await using AgxSession session = client.OpenSession(1, 42, "shared");
        await session.StartAsync();
        for (int i = 0; i < 20; ++i) await session.AddJsonAsync("task", "test", new { say = $"{i}" });
        await session.AddJsonAsync("task", "test", new { sing = "no" });
        // Another worker has died with some of the events.
        await using (AgxGroup dead = await session.OpenGroupAsync("workers", new() { Consumer = "b" })) await dead.ReadAsync(Long, AgxGroupSource.New, 5);
        string[] outputs = await Task.WhenAll(
            Run("Workers", stores.Url("redis"), "1", "42", "shared", "workers", "a"),
            Run("Workers", stores.Url("redis"), "1", "42", "shared", "workers", "b"));
        string[] lines = string.Concat(outputs).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(Enumerable.Range(0, 20).Select(i => $"done: {i}").Order(), lines.Where(line => line.StartsWith("done", StringComparison.Ordinal)).Order());
        Assert.Contains("dead: {\"sing\":\"no\"}: there is nothing to say", lines);
        await using (AgxGroup group = await session.OpenGroupAsync("workers")) Assert.Equal(0, (await group.PendingAsync()).Count);
        await session.StopAsync();
    }

    [Fact]
    public async Task Sse()
    {
        await using AgxClient client = await AgxClient.OpenAsync(stores.Url("redis"));
        await using AgxSession session = client.OpenSession(1, 42, "served");
        await session.StartAsync();
        string first = await session.AddAsync("info", "test", "{\"a\":\n1}");
        string second = await session.AddAsync("info", "test", "\"\U0001F600\"");
        using Process process = Start("Sse", stores.Url("redis"), "--urls", "http://127.0.0.1:0");
        try
        {
            string? address = null;
            while (address == null && await process.StandardOutput.ReadLineAsync().WaitAsync(Long) is string line)
            {
                const string Says = "Now listening on: ";
                int at = line.IndexOf(Says, StringComparison.Ordinal);
                if (at >= 0) address = line[(at + Says.Length)..];
            }
            using var http = new HttpClient();
            string url = $"{address}/sessions/1/42/served";
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            using HttpResponseMessage response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
            using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
            var got = new StringBuilder();
            while (!got.ToString().Contains(second + "\n")) got.Append(await reader.ReadLineAsync().WaitAsync(Long)).Append('\n');
            Assert.Contains($"id: {first}\nevent: info\ndata: {{\"a\":\ndata: 1}}\n\n", got.ToString());

            using var again = new HttpRequestMessage(HttpMethod.Get, url);
            again.Headers.Add("Last-Event-ID", first);
            using HttpResponseMessage resumed = await http.SendAsync(again, HttpCompletionOption.ResponseHeadersRead);
            await session.StopAsync();
            string rest = await resumed.Content.ReadAsStringAsync().WaitAsync(Long);
            Assert.StartsWith($"id: {second}\nevent: info\ndata: \"\U0001F600\"\n\n", rest);
            Assert.Contains("event: end\n", rest);

            string end = (await session.HistoryAsync(new() { Reverse = true, Count = 1 }))[0].Id;
            foreach ((string id, int status) in new[] { (end, 204), ("no id", 400) })
            {
                using var last = new HttpRequestMessage(HttpMethod.Get, url);
                last.Headers.Add("Last-Event-ID", id);
                using HttpResponseMessage answer = await http.SendAsync(last).WaitAsync(Long);
                Assert.Equal(status, (int)answer.StatusCode);
            }
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
    }
}
