#!/usr/bin/env bash
# Installs the package into an empty project, and runs there what README.md begins with:
# package.sh DIRECTORY VERSION README
set -euo pipefail
packages=$(realpath "$1")
version=$2
readme=$(realpath "$3")
project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
unset LD_LIBRARY_PATH AGX_CSHARP_BUILD
# Nothing that another test or user has installed.
export NUGET_PACKAGES=$project/packages MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
cd "$project"

cat >nuget.config <<END
<configuration>
  <packageSources>
    <clear />
    <add key="here" value="$packages" />
  </packageSources>
</configuration>
END
cat >first.csproj <<END
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net\$(BundledNETCoreAppTargetFrameworkVersion)</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
    <Nullable>enable</Nullable>
    <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
    <UseSharedCompilation>false</UseSharedCompilation>
  </PropertyGroup>
</Project>
END
# shellcheck disable=SC2016
sed -n '/^```csharp$/,/^```$/p' "$readme" | sed '1d; /^```$/,$d' >Program.cs
dotnet add package Agx --version "$version" >add.log || { cat add.log >&2 && exit 1; }
dotnet build -nologo -v:quiet -o out
cat >expected <<'END'
begin {"session_id": "first"}
info {"msg":"hello"}
END
dotnet out/first.dll >output
head -n 2 output | diff expected -
# System.Text.Json writes what is not ASCII as it sees fit.
grep -q '^info {"msg":"hello ' <(tail -n 1 output)
[[ $(wc -l <output) == 3 ]]

# The same package's other half.
if command -v mono >/dev/null && command -v mcs >/dev/null; then
  cat >mono.cs <<'END'
class Program {
  static void Main() {
    using (Agx.AgxClient client = Agx.AgxClient.Open("memory:"))
    using (Agx.AgxSession session = client.OpenSession(1, 42, "first")) {
      session.Start();
      session.Add("info", "first", "{\"msg\":\"hello\"}");
      session.Stop();
      foreach (Agx.AgxEvent e in session.Listen()) System.Console.WriteLine(e.Type + " " + e.Body);
    }
  }
}
END
  cp packages/agx/"$version"/lib/netstandard2.0/Agx.dll .
  facades=$(dirname "$(realpath "$(command -v mono)")")/../lib/mono/4.5/Facades
  mcs -nologo -r:Agx.dll -lib:"$facades" -r:netstandard.dll mono.cs
  LD_LIBRARY_PATH=packages/agx/$version/runtimes/linux-x64/native mono mono.exe | diff expected -
fi
echo "the package works"
