#nullable enable
using System.Linq;
using System.Reflection;
using Xunit;

namespace Agx.Tests;

/// <summary>The synchronous cases, which run on Mono as well.</summary>
public sealed class SyncTests(Stores stores) : IClassFixture<Stores>
{
    public static TheoryData<string, string> Cases
    {
        get
        {
            var cases = new TheoryData<string, string>();
            foreach (MethodInfo method in typeof(SyncCases).GetMethods(BindingFlags.Public | BindingFlags.Static))
            {
                ParameterInfo[] parameters = method.GetParameters();
                if (method.ReturnType != typeof(void) || parameters.Length != 1 || parameters[0].ParameterType != typeof(string)) continue;
                foreach (string store in new[] { "memory", "redis" }) cases.Add(method.Name, store);
            }
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Case(string name, string store)
    {
        typeof(SyncCases).GetMethod(name)!.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [stores.Url(store)], null);
    }

    [Fact]
    public void AServerThatIsKilledAndStartedAgainLosesNothing() => SyncCases.KilledAndRestarted(stores.Server);
}
