using System;
using System.Linq;
using System.Reflection;

namespace Agx.Tests
{
    /// <summary>Runs the synchronous cases: MonoRunner memory|redis [CASE…]</summary>
    static class MonoRunner
    {
        static int Main(string[] arguments)
        {
            bool redis = arguments.Length > 0 && arguments[0] == "redis";
            int failed = 0, passed = 0;
            Action<string, Action> run = (name, body) =>
            {
                if (arguments.Length > 1 && !arguments.Skip(1).Contains(name)) return;
                try
                {
                    body();
                    ++passed;
                    Console.WriteLine("passed: " + name);
                }
                catch (Exception error)
                {
                    ++failed;
                    Exception cause = error is TargetInvocationException ? error.InnerException : error;
                    Console.WriteLine("FAILED: " + name + "\n" + cause);
                }
            };
            using (RedisServer server = redis ? new RedisServer() : null)
            {
                string url = redis ? server.Url : "memory:?lease=5000";
                foreach (MethodInfo method in typeof(SyncCases).GetMethods(BindingFlags.Public | BindingFlags.Static))
                {
                    // The cases of the list; what else is here has another shape.
                    ParameterInfo[] parameters = method.GetParameters();
                    if (method.ReturnType != typeof(void) || parameters.Length != 1 || parameters[0].ParameterType != typeof(string)) continue;
                    MethodInfo one = method;
                    run(one.Name, () => one.Invoke(null, new object[] { url }));
                }
                if (redis) run("KilledAndRestarted", () => SyncCases.KilledAndRestarted(server));
                run("NothingIsLeft", () => SyncCases.NothingIsLeft(url, redis ? 5000 : 30000));
            }
            Console.WriteLine(passed + " passed, " + failed + " failed");
            return failed == 0 && passed > 0 ? 0 : 1;
        }
    }
}
