#!/usr/bin/env bash
# Compiles the synchronous part, and its test program, with Mono: mono.sh SOURCES BUILD
# mcs knows C# 7 and nothing of nullable annotations, which are taken out.
set -euo pipefail
sources=$1
build=$2
mkdir -p "$build/mono/source"
for file in "$sources"/Agx/*.cs; do
  sed -E 's/\b(string|byte\[\]|Batch|Delegate|LogPump|Exception|ExceptionDispatchInfo|Target|Frame|Rest|(Action|Func)(<[^>]*>)?|Agx[A-Za-z]+|SubscriptionHandle|Thread|WeakReference)\?([ ,)>])/\1\4/g' \
    "$file" >"$build/mono/source/$(basename "$file")"
done
mcs -langversion:7.2 -warnaserror -nologo -target:library -out:"$build/mono/Agx.dll" \
  "$build"/mono/source/*.cs "$build"/generated/*.cs
mcs -langversion:7.2 -warnaserror -nologo -r:"$build/mono/Agx.dll" -out:"$build/mono/AgxTests.exe" \
  "$sources"/tests/SyncCases.cs "$sources"/tests/RedisServer.cs "$sources"/tests/MonoRunner.cs
