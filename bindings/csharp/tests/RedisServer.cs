using System;
using System.Diagnostics;
using System.IO;
using System.Threading;

namespace Agx.Tests
{
    /// <summary>A server of a test's own, on a socket in a directory of its own. What it holds survives
    /// being killed.</summary>
    public sealed class RedisServer : IDisposable
    {
        readonly string directory;
        Process process;

        public RedisServer()
        {
            directory = Path.Combine("/tmp", "agx-cs-" + Guid.NewGuid().ToString("N").Substring(0, 12));
            Directory.CreateDirectory(directory);
            Start();
        }

        public string Url
        {
            get { return "unix://" + directory + "/s?lease=5000"; }
        }

        public void Start()
        {
            string program = Environment.GetEnvironmentVariable("AGX_REDIS_SERVER");
            ProcessStartInfo start = new ProcessStartInfo(string.IsNullOrEmpty(program) ? "redis-server" : program,
                "--port 0 --unixsocket " + directory + "/s --dir " + directory +
                " --save \"\" --appendonly yes --appendfsync always --logfile " + directory + "/log --maxclients 20000");
            start.UseShellExecute = false;
            process = Process.Start(start);
            Stopwatch clock = Stopwatch.StartNew();
            for (;;)
            {
                try
                {
                    using (AgxClient.Open("unix://" + directory + "/s?reconnect_timeout=-1")) return;
                }
                catch (AgxUnavailableException)
                {
                    if (process.HasExited || clock.Elapsed > TimeSpan.FromSeconds(30)) throw;
                    Thread.Sleep(20);
                }
            }
        }

        /// <summary>Without a warning, as a machine that fails does it.</summary>
        public void Kill()
        {
            if (process == null) return;
            process.Kill();
            process.WaitForExit();
            process.Dispose();
            process = null;
            File.Delete(directory + "/s");
        }

        /// <summary>It is there, and answers nothing any more.</summary>
        public void Freeze()
        {
            using (Process kill = Process.Start("kill", "-STOP " + process.Id)) kill.WaitForExit();
        }

        /// <summary>It answers again.</summary>
        public void Thaw()
        {
            using (Process kill = Process.Start("kill", "-CONT " + process.Id)) kill.WaitForExit();
        }

        public void Dispose()
        {
            Kill();
            Directory.Delete(directory, true);
        }
    }
}
